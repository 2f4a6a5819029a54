-- What hangs on the tables and calls functions of the extension: DROP EXTENSION ... CASCADE takes these along, so they are
-- looked for one by one.

CREATE FUNCTION sec.install_policies() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT p.tab, p.policy, p.condition FROM sec.policies() p
        WHERE NOT EXISTS (SELECT FROM pg_policy q WHERE q.polrelid = p.tab::regclass AND q.polname = p.policy)
    LOOP
        EXECUTE format('CREATE POLICY %I ON %s FOR SELECT USING (%s)', v.policy, v.tab, v.condition);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.install_policies() IS 'Makes the policies of mps that are missing. Internal: sec.install_attachments() calls it.';

CREATE FUNCTION sec.triggers_that_stand() RETURNS TABLE (tab text, trig text, events text, each text, func text, fires smallint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    SELECT x.*,
           -- As pg_trigger.tgtype has it.
           ((x.each = 'ROW')::integer + 2 * (x.events ~ '^BEFORE')::integer + 4 * (x.events ~ 'INSERT')::integer
            + 8 * (x.events ~ 'DELETE')::integer + 16 * (x.events ~ 'UPDATE')::integer + 32 * (x.events ~ 'TRUNCATE')::integer)::smallint
    FROM (SELECT * FROM sec.standing_triggers()
          UNION
          -- Every month of the log, archived ones included.
          SELECT c.oid::regclass::text, s.trig, s.events, s.each, s.func
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, sec.standing_triggers() s
          WHERE s.tab = 'audit.event_log' AND c.relkind = 'r'
            AND (n.nspname IN ('audit', 'mps_archive') AND c.relname ~ '^event_log_[0-9]{6}$'
                 -- By its name in the catalogs: whoever asks need not have any right on the schema.
                 OR c.oid IN (SELECT i.inhrelid FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
                              WHERE p.relname = 'event_log' AND p.relnamespace::regnamespace::text = 'audit'))) x
$$;
COMMENT ON FUNCTION sec.triggers_that_stand() IS
    'The triggers that are declared to stand and those of the log''s months, with when they fire as the server notes it. Internal.';

CREATE FUNCTION sec.install_triggers() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    FOR v IN SELECT * FROM sec.triggers_that_stand() LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = v.tab::regclass AND g.tgname = v.trig) THEN
            EXECUTE format('CREATE TRIGGER %I %s ON %s FOR EACH %s EXECUTE FUNCTION %s()', v.trig, v.events, v.tab, v.each, v.func);
        END IF;
        -- ALWAYS: session_replication_role = replica must not open the log. (A dump of the data alone leaves another mode behind.)
        IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = v.tab::regclass AND g.tgname = v.trig AND g.tgenabled = 'A') THEN
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', v.tab, v.trig);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = 'app.membership_levels'::regclass AND g.tgname = 'audited') THEN
        -- Not ALWAYS: what a replica applies was recorded where it was done.
        CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON app.membership_levels
            FOR EACH ROW EXECUTE FUNCTION sec.level_changed();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger g
                   WHERE g.tgrelid = 'app.membership_levels'::regclass AND g.tgname = 'audited_truncate') THEN
        CREATE TRIGGER audited_truncate AFTER TRUNCATE ON app.membership_levels
            FOR EACH STATEMENT EXECUTE FUNCTION sec.level_changed();
    END IF;

    -- Where another's has the name, app.health() says so.
    IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = 'app.external_orders'::regclass AND g.tgname = 'mps_refuse_old_claim') THEN
        CREATE TRIGGER mps_refuse_old_claim BEFORE INSERT ON app.external_orders
            FOR EACH ROW WHEN (NEW.scope = 2 OR NEW.scope = 3 AND NEW.scope_no <> 0) EXECUTE FUNCTION sec.refuse_old_claim();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = 'app.transactions'::regclass AND g.tgname = 'mps_count_recharge') THEN
        CREATE TRIGGER mps_count_recharge AFTER INSERT OR UPDATE OF status ON app.transactions
            FOR EACH ROW WHEN (NEW.tx_type = 'recharge') EXECUTE FUNCTION sec.count_recharge();
    END IF;
END
$$;
COMMENT ON FUNCTION sec.install_triggers() IS 'Makes the triggers of mps that are missing. Internal: sec.install_attachments() calls it.';

CREATE FUNCTION sec.install_attachments() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
DECLARE
    v record;
BEGIN
    PERFORM sec.install_policies();
    PERFORM sec.install_triggers();
    IF to_regclass('app.error_codes') IS NULL THEN
        PERFORM sec.make_error_codes();
        PERFORM sec.strip_grants('app.error_codes');
    END IF;
    IF to_regclass('app.v_user_cards') IS NULL THEN
        PERFORM sec.make_user_cards();
        PERFORM sec.strip_grants('app.v_user_cards');
    END IF;
    IF to_regclass('app.v_usage_logs') IS NULL THEN
        PERFORM sec.make_usage_logs();
        PERFORM sec.strip_grants('app.v_usage_logs');
    END IF;
    IF to_regclass('app.v_recon_days') IS NULL THEN
        PERFORM sec.make_recon_days();
        PERFORM sec.strip_grants('app.v_recon_days');
    END IF;
    IF to_regclass('app.v_member_coupons') IS NULL THEN
        PERFORM sec.make_member_coupons();
        PERFORM sec.strip_grants('app.v_member_coupons');
    END IF;
    IF to_regclass('app.campaign_uses') IS NULL THEN
        PERFORM sec.make_campaign_uses();
        PERFORM sec.strip_grants('app.campaign_uses');
    END IF;
    FOR v IN SELECT c.oid::regclass AS view
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname IN ('app', 'audit', 'sec') AND c.relkind = 'v' AND c.relowner <> sec.owner()
    LOOP
        EXECUTE format('ALTER VIEW %s OWNER TO %s', v.view, sec.owner());
    END LOOP;
END
$install$;
COMMENT ON FUNCTION sec.install_attachments() IS 'The policies, triggers and views of mps that are missing. Internal.';
