-- The tables: each family has a function of its own, beside what works with it; sec.install() calls them all. They are not
-- members of the extension: DROP EXTENSION must never take a row with it, and pg_dump must carry them like anybody's tables.
-- What is missing is made and what exists is not touched, so this serves a fresh database, one where the extension was dropped
-- and created again, and app.migrate().

CREATE FUNCTION sec.install() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $install$
DECLARE
    -- The very first installation: only then are there defaults to be granted.
    v_first boolean := NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                   WHERE n.nspname IN ('app', 'audit', 'sec') AND c.relkind IN ('r', 'p'));
    v_there oid[] := ARRAY(SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                           WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'v', 'S'));
BEGIN
    -- What refers to something comes after it.
    PERFORM sec.install_settings();
    PERFORM sec.install_members();
    PERFORM sec.install_cards();
    PERFORM sec.install_merchants();
    PERFORM sec.install_gateways();
    PERFORM sec.install_transactions();
    PERFORM sec.install_points();
    PERFORM sec.install_events();
    PERFORM sec.install_archived_months();
    PERFORM sec.install_compensations();
    PERFORM sec.install_claims();
    PERFORM sec.install_recharges();
    PERFORM sec.install_reconciliation();
    PERFORM sec.install_withdrawals();
    PERFORM sec.install_coupons();
    PERFORM sec.install_campaigns();
    PERFORM sec.install_jobs();
    PERFORM sec.install_mode();
    PERFORM sec.install_rehearsals();
    PERFORM sec.install_grants();
    PERFORM sec.install_compat();
    PERFORM sec.install_books();
    PERFORM sec.install_days();
    PERFORM sec.install_closing();
    PERFORM sec.install_receipts();

    -- The grants on what was there, also where it was restored without owners, are not ours to take back.
    PERFORM sec.strip_grants(c.oid::regclass)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'v', 'S') AND c.oid <> ALL (v_there)
      -- It says who has which level, and was stripped when it was made.
      AND c.oid <> 'sec.level_holders'::regclass;
    PERFORM sec.own_tables();
    PERFORM sec.install_attachments();
    PERFORM sec.describe_columns();
    PERFORM sec.complete_months();

    -- What is granted to who has a level, on what is new as well. What else was granted by hand stays as it is.
    PERFORM sec.apply_level(h.role, h.level, true) FROM sec.levels_held() h ORDER BY h.level, h.role;
    PERFORM sec.note_grants();
    IF v_first THEN
        PERFORM sec.grant_defaults();
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install() IS
    'Makes the types, sequences, tables, policies, triggers and views of mps that are missing; changes nothing that exists. Internal.';

CREATE FUNCTION sec.own_tables() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_name text;
BEGIN
    FOR v_name IN
        SELECT format('ALTER %s %s OWNER TO %s',
                      CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass, sec.owner())
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'S')
          AND c.relowner <> sec.owner()
        ORDER BY c.relkind = 'S'
    LOOP
        EXECUTE v_name;
    END LOOP;
    FOR v_name IN
        SELECT format('ALTER TYPE %s OWNER TO %s', t.oid::regtype, sec.owner())
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = 'app' AND t.typtype = 'e' AND t.typowner <> sec.owner()
    LOOP
        EXECUTE v_name;
    END LOOP;
    FOR v_name IN
        SELECT format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', c.oid::regclass)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
    LOOP
        EXECUTE v_name;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.own_tables() IS
    'Gives types, sequences and tables of mps that are not its owner''s to it, and every table row-level security. Internal: '
    'sec.install() calls it.';
