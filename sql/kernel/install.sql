-- The tables: each family has a function of its own, beside what works with it; sec.install() calls them all. They are not
-- members of the extension: DROP EXTENSION must never take a row with it, and pg_dump must carry them like anybody's tables.
-- What is missing is made and what exists is not touched, so this serves a fresh database, one where the extension was dropped
-- and created again, and app.migrate().

CREATE FUNCTION sec.install() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $install$
DECLARE
    v_name text;
    -- The very first installation: only then are there defaults to be granted.
    v_first boolean := NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                   WHERE n.nspname IN ('app', 'audit', 'sec') AND c.relkind IN ('r', 'p'));
    v_there oid[] := ARRAY(SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                           WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'v', 'S'));
BEGIN
    -- Types ------------------------------------------------------------------------------------------------------------
    IF to_regtype('app.card_type') IS NULL THEN
        CREATE TYPE app.card_type AS ENUM ('personal', 'enterprise');
        COMMENT ON TYPE app.card_type IS 'The two kinds of cards';
    END IF;
    IF to_regtype('app.card_status') IS NULL THEN
        CREATE TYPE app.card_status AS ENUM ('active', 'frozen', 'lost', 'expired', 'closed');
        COMMENT ON TYPE app.card_status IS 'What may be done with a card: only an active one pays; closed is final';
    END IF;
    IF to_regtype('app.tx_type') IS NULL THEN
        CREATE TYPE app.tx_type AS ENUM ('payment', 'refund', 'recharge', 'adjustment');
        COMMENT ON TYPE app.tx_type IS 'What a transaction is: numbers ZF, TK, CZ, TZ';
    END IF;
    IF to_regtype('app.tx_status') IS NULL THEN
        CREATE TYPE app.tx_status AS ENUM ('processing', 'completed', 'failed', 'cancelled');
        COMMENT ON TYPE app.tx_status IS 'Only completed transactions have moved money';
    END IF;
    IF to_regtype('app.pay_method') IS NULL THEN
        CREATE TYPE app.pay_method AS ENUM ('balance', 'cash', 'wechat', 'alipay');
        COMMENT ON TYPE app.pay_method IS 'Where the money came from: the card''s balance, or outside (recharges)';
    END IF;
    IF to_regtype('app.bind_role') IS NULL THEN
        CREATE TYPE app.bind_role AS ENUM ('admin', 'member');
        COMMENT ON TYPE app.bind_role IS 'Who manages an enterprise card (admin) and who only pays with it (member)';
    END IF;

    -- Sequences --------------------------------------------------------------------------------------------------------
    IF to_regclass('app.member_no_seq') IS NULL THEN
        CREATE SEQUENCE app.member_no_seq AS bigint;
        CREATE SEQUENCE app.personal_card_no_seq AS bigint;
        CREATE SEQUENCE app.enterprise_card_no_seq AS bigint;
        CREATE SEQUENCE app.merchant_id_seq AS integer;
        CREATE SEQUENCE app.tx_no_seq AS bigint MAXVALUE 99999999999;
        CREATE SEQUENCE audit.event_id_seq AS bigint;
        COMMENT ON SEQUENCE app.member_no_seq IS 'Numbers of members (M00000001); may skip, never repeats';
        COMMENT ON SEQUENCE app.personal_card_no_seq IS 'Numbers of personal cards (VIP00000001); may skip, never repeats';
        COMMENT ON SEQUENCE app.enterprise_card_no_seq IS 'Numbers of enterprise cards (ENT00001); may skip, never repeats';
        COMMENT ON SEQUENCE app.merchant_id_seq IS 'Ids of merchants';
        COMMENT ON SEQUENCE app.tx_no_seq IS 'Running part of every transaction number, across months and types; may skip, never repeats';
        COMMENT ON SEQUENCE audit.event_id_seq IS 'Ids of audit events; may skip, never repeats';
    END IF;

    IF to_regclass('app.suspense_id_seq') IS NULL THEN
        CREATE SEQUENCE app.suspense_id_seq AS bigint;
        COMMENT ON SEQUENCE app.suspense_id_seq IS 'Ids of app.suspense_payments; may skip, never repeats';
    END IF;

    PERFORM sec.install_settings();
    PERFORM sec.install_cards();
    PERFORM sec.install_movements();
    PERFORM sec.install_claims();
    PERFORM sec.install_jobs();
    PERFORM sec.install_rehearsals();
    PERFORM sec.install_grants();
    PERFORM sec.install_compat();
    PERFORM sec.install_books();
    PERFORM sec.install_days();
    PERFORM sec.install_closing();

    -- Ownership, and row-level security on everything ------------------------------------------------------------------
    -- The grants on what was there, also where it was restored without owners, are not ours to take back.
    PERFORM sec.strip_grants(c.oid::regclass)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'v', 'S') AND c.oid <> ALL (v_there)
      -- It says who has which level, and was stripped when it was made.
      AND c.oid <> 'sec.level_holders'::regclass;
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

    PERFORM sec.install_attachments();
    PERFORM sec.describe_columns();

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
