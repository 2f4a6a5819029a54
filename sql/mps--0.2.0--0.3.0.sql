-- From 0.2.0 to 0.3.0. Run by ALTER EXTENSION mps UPDATE, in one transaction. Tables keep their rows and change only by
-- sec.migrate_tables(), which also serves an old dump restored under this release.

SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL quote_all_identifiers = off;

DO $$
BEGIN
    IF pg_catalog.to_regnamespace('mps_gateway') IS NOT NULL THEN
        RAISE EXCEPTION 'the schema mps_gateway is there and not of mps'
            USING HINT = 'Rename or drop it, then ALTER EXTENSION mps UPDATE.';
    END IF;
END
$$;
-- As in sql/kernel/preflight.sql and sql/gateways/way_in.sql: no tool writes what is no function.
CREATE SCHEMA mps_gateway;
COMMENT ON SCHEMA mps_gateway IS 'MPS: where what payment gateways send comes in';
CREATE DOMAIN mps_gateway."*/*" AS bytea;
COMMENT ON DOMAIN mps_gateway."*/*" IS 'Bytes that PostgREST answers as they are, whatever the request accepts';

-- Functions, written by tools/upgrade-script --

CREATE OR REPLACE FUNCTION sec.uid() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'uid_wrapper';
COMMENT ON FUNCTION sec.uid() IS
    E'The signed-in user: the sub of request.jwt.claims as a uuid.\n'
    'NULL without claims, without a sub, where the sub is no uuid, and in what maintenance evaluates, whatever the claims.\n'
    'Level: client.';
COMMENT ON FUNCTION sec.level_client() IS
    E'Marker: a role that may execute it has client level.\n'
    'Level: client.';
COMMENT ON FUNCTION sec.level_backend() IS
    E'Marker: a role that may execute it has backend level.\n'
    'Level: backend.';
COMMENT ON FUNCTION sec.level_operator() IS
    E'Marker: a role that may execute it has operator level.\n'
    'Level: operator.';
CREATE FUNCTION sec.level_gateway() RETURNS void
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS '';
COMMENT ON FUNCTION sec.level_gateway() IS
    E'Marker: a role that may execute it has gateway level.\n'
    'Level: gateway.';
CREATE FUNCTION sec.level_markers() RETURNS TABLE (level text, marker text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'sec.level_client()'),
           ('backend', 'sec.level_backend()'),
           ('operator', 'sec.level_operator()'),
           ('signup', 'app.enable_supabase_signup()'),
           ('gateway', 'sec.level_gateway()')
$$;
COMMENT ON FUNCTION sec.level_markers() IS
    'Each level with the function that only who has it may execute. A backend may execute the marker of clients, too. Internal.';
CREATE FUNCTION sec.owner() RETURNS regrole
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.proowner::regrole FROM pg_proc p WHERE p.oid = 'sec.level_client()'::regprocedure
$$;
COMMENT ON FUNCTION sec.owner() IS
    'The role that owns what is of mps: mps_owner, whatever it is called by now. A name can be given to somebody else. Internal.';
CREATE FUNCTION sec.require_operator() RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'require_operator_wrapper';
COMMENT ON FUNCTION sec.require_operator() IS
    'Refuses a batch that somebody calls through the function of an operator without being one, or that maintenance evaluates; '
    'and like sec.require_sound_tables(). Internal. Errors: NOT_ALLOWED, STATUS_CONFLICT.';
CREATE FUNCTION sec.require_sound_tables() RETURNS void
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'require_sound_tables_wrapper';
COMMENT ON FUNCTION sec.require_sound_tables() IS
    'Refuses to go on where row-level security hides rows from the owner of the tables (FORCE, another owner): whatever is asked '
    'would look empty. Every RPC asks it by itself. Internal. Errors: STATUS_CONFLICT.';
CREATE FUNCTION sec.caller_role() RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'caller_role_wrapper';
COMMENT ON FUNCTION sec.caller_role() IS
    'Who is responsible for what a SECURITY DEFINER function or a trigger of mps does, for the audit log: the role that the '
    'session runs under. Internal.';
CREATE FUNCTION sec.refuse_outdated() RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_answer text;
    v_detail text;
    v_versions text[];
    v_is_empty boolean;
BEGIN
    -- Any RPC answers SCHEMA_OUTDATED before anything else.
    BEGIN
        PERFORM app.get_settings();
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS v_answer = MESSAGE_TEXT, v_detail = PG_EXCEPTION_DETAIL;
    END;
    IF v_answer = 'SCHEMA_OUTDATED' THEN
        -- app.migrate() helps where the tables are the older ones, and nowhere else.
        v_versions := regexp_match(v_detail, 'version (\d+), the library (\d+)');
        IF v_versions IS NULL AND to_regclass('app.settings') IS NOT NULL THEN
            v_is_empty := NOT EXISTS (SELECT FROM app.settings);
        END IF;
        PERFORM sec.raise(v_answer, v_detail || CASE
            WHEN v_versions[1]::integer < v_versions[2]::integer THEN ': SELECT app.migrate()'
            WHEN v_versions IS NOT NULL THEN ': install the release of mps that they are of, then ALTER EXTENSION mps UPDATE'
            WHEN v_is_empty THEN ': load it, or SELECT app.migrate() to begin with default settings'
            ELSE ': when that has ended, they work' END);
    ELSIF to_regclass('app.settings') IS NOT NULL
          AND NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                          WHERE n.nspname IN ('app', 'audit', 'sec') AND c.relkind = 'r' AND c.relowner = sec.owner()) THEN
        PERFORM sec.raise('SCHEMA_OUTDATED', 'the tables were restored without their owner: SELECT app.migrate()');
    END IF;
END
$$;
COMMENT ON FUNCTION sec.refuse_outdated() IS
    'Refuses where the tables are those of another release, as RPCs do, or not mps_owner''s: for the SQL parts of mps, which would '
    'ask for what is not there. Internal. Errors: SCHEMA_OUTDATED.';
CREATE FUNCTION sec.run_ddl(p_statements text) RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'run_ddl_wrapper';
COMMENT ON FUNCTION sec.run_ddl(text) IS
    'Runs CREATE TABLE, ALTER TABLE, COMMENT, CREATE TRIGGER, DROP INDEX, GRANT and REVOKE without event triggers, which '
    'would run as mps_owner and could stop a charge. Has no rights of its own. Internal. Errors: INVALID_ARGUMENT for other statements.';
CREATE OR REPLACE FUNCTION sec.raise(p_token text, p_detail text) RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'raise_token_wrapper';
COMMENT ON FUNCTION sec.raise(text, text) IS
    E'Raises one of the errors of app.error_codes, for the SQL parts of mps. Internal.\n'
    'Level: operator, signup.';
CREATE OR REPLACE FUNCTION app.error_list() RETURNS TABLE (token text, sqlstate text, http_status integer, message_en text, message_zh text)
    LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'error_list_wrapper';
COMMENT ON FUNCTION app.error_list() IS
    E'The closed list of errors: what app.error_codes shows.\n'
    'Level: client.\n'
    'Results: token (the message of an error), sqlstate (PTnnn), http_status (the nnn), message_en, message_zh (what to tell a '
    'person).';
CREATE FUNCTION sec.make_error_codes() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE VIEW app.error_codes WITH (security_invoker = true) AS
        SELECT e.token, e.sqlstate, e.http_status, e.message_en, e.message_zh FROM app.error_list() e;
    COMMENT ON VIEW app.error_codes IS
        'The closed list of errors: MESSAGE is the token, SQLSTATE PTnnn becomes HTTP nnn behind PostgREST';
END
$$;
COMMENT ON FUNCTION sec.make_error_codes() IS 'Makes app.error_codes. Internal.';
CREATE FUNCTION sec.record_event(p_action text, p_object_type text, p_object_id text, p_context jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Where the log is a copy of another server's, an event of our own would have the id of one that is to arrive.
    IF EXISTS (SELECT FROM pg_subscription_rel r WHERE r.srrelid = 'audit.event_log'::regclass
                 OR r.srrelid IN (SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = 'audit.event_log'::regclass)) THEN
        RAISE LOG 'mps: % by %: % % %, not in the audit log, which is subscribed to',
            p_action, sec.caller_role(), p_object_type, p_object_id, p_context;
        RETURN;
    END IF;
    -- Whoever does something rare must not fail because nobody has made this month.
    IF to_regclass('audit.event_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')) IS NULL THEN
        PERFORM sec.make_month((now() AT TIME ZONE 'UTC')::date);
    END IF;
    INSERT INTO audit.event_log (id, happened_at, actor_user_id, actor_role, action, object_type, object_id, context)
    VALUES (sec.next_event_id(), now(), sec.uid(), sec.caller_role(), p_action, p_object_type, p_object_id, p_context);
END
$$;
COMMENT ON FUNCTION sec.record_event(text, text, text, jsonb) IS
    'Writes one audit event for the SQL parts of mps, and makes this month if it is missing. Internal.';
CREATE OR REPLACE FUNCTION sec.install() RETURNS void
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
CREATE OR REPLACE FUNCTION sec.install_attachments() RETURNS void
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
CREATE FUNCTION sec.describe_columns() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $describe$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT * FROM (SELECT d.rel, d.col, d.says FROM sec.descriptions() d
                       UNION ALL SELECT 'app.settings', s.setting, s.en FROM sec.settings() s) c
        -- The months too, as those that are made later have it from their parent.
        JOIN LATERAL (SELECT c.rel::regclass AS one
                      UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = c.rel::regclass) r ON true
        JOIN pg_attribute a ON a.attrelid = r.one AND a.attname = c.col
        -- What a shop says instead stays.
        WHERE col_description(a.attrelid, a.attnum) IS NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', v.one::regclass, v.col, v.says);
    END LOOP;
END
$describe$;
COMMENT ON FUNCTION sec.describe_columns() IS
    'Describes columns where nobody has described them. Internal: sec.install() and sec.migrate_comments_3() call it.';
CREATE FUNCTION sec.install_jobs() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.job_runs') IS NULL THEN
        CREATE TABLE app.job_runs (
            job         text        NOT NULL PRIMARY KEY,
            started_at  timestamptz NOT NULL,
            finished_at timestamptz,
            rows_done   bigint      NOT NULL DEFAULT 0
        );
        COMMENT ON TABLE app.job_runs IS
            'The last run of each maintenance procedure; finished_at is NULL while it runs or if it was interrupted';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_jobs() IS
    'Makes the table of job runs, where it is missing. Internal: sec.install() calls it.';
CREATE OR REPLACE FUNCTION sec.job_batch(p_job text, p_rows bigint, p_first boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_read_only();
    IF p_job IS NULL OR NOT EXISTS (SELECT FROM sec.jobs() j WHERE j.job = p_job) AND p_job <> 'archive_partitions'
       OR p_rows IS NULL OR p_rows < 0 OR p_first IS NULL THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'no batch of a job of mps');
    END IF;
    PERFORM sec.refuse_shadows();
    INSERT INTO app.job_runs AS j (job, started_at, finished_at, rows_done)
    VALUES (p_job, clock_timestamp(), CASE WHEN p_rows = 0 THEN clock_timestamp() END, p_rows)
    ON CONFLICT (job) DO UPDATE SET
        started_at = CASE WHEN p_first THEN excluded.started_at ELSE j.started_at END,
        finished_at = excluded.finished_at,
        rows_done = CASE WHEN p_first THEN excluded.rows_done ELSE j.rows_done + excluded.rows_done END;
    RETURN p_rows = 0;
END
$$;
COMMENT ON FUNCTION sec.job_batch(text, bigint, boolean) IS
    E'Notes one batch of a maintenance job; true when it was the last. Internal.\n'
    'Level: operator.';
CREATE OR REPLACE FUNCTION app.schedule_jobs() RETURNS TABLE (job text, schedule text, command text, done text)
    -- SECURITY INVOKER: a job belongs to, and runs as, who schedules it.
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_cron boolean := EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron');
    v_known record;
BEGIN
    FOR v IN SELECT 'mps_' || j.job AS name, j.schedule, j.command FROM sec.jobs() j LOOP
        job := v.name; schedule := v.schedule; command := v.command;
        IF NOT v_cron THEN
            -- Names are per database, so that several with mps can be served by one pg_cron.
            command := format('SELECT cron.schedule_in_database(%L, %L, %L, %L);', v.name || '_' || current_database(),
                              v.schedule, v.command, current_database());
            done := format('nothing: pg_cron is not in this database; run the command, as the role the job is to run as, in '
                           'the one that has '
                           'it, or let the system''s cron run: %s', v.command);
        ELSE
            EXECUTE 'SELECT j.schedule, j.command, j.active FROM cron.job j '
                    'WHERE j.jobname = $1 AND j.username = current_user AND j.database = current_database()'
                INTO v_known USING v.name;
            IF v_known.schedule IS NULL THEN
                EXECUTE 'SELECT cron.schedule($1, $2, $3)' USING v.name, v.schedule, v.command;
                done := 'scheduled';
            ELSE
                -- What somebody chose otherwise is theirs: when it runs, whether it runs, and what.
                done := concat_ws(
                    ', but ', 'scheduled already',
                    CASE WHEN v_known.schedule <> v.schedule THEN 'by another schedule, which is kept: ' || v_known.schedule END,
                    CASE WHEN v_known.command <> v.command THEN 'with another command, which is kept: ' || v_known.command END,
                    CASE WHEN NOT v_known.active THEN 'not active' END);
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION app.schedule_jobs() IS
    E'Registers the maintenance procedures with pg_cron, or says how to.\n'
    'As jobs of the caller, if pg_cron is in this database; else it returns the commands to run in the database that has it. '
    'A job of the same name keeps its schedule, its command and whether it is active; done says what differs. Without pg_cron '
    'the system''s cron does as well: six CALLs, docs/operations.md has them. '
    'For operators.\n'
    'Level: operator.\n'
    'Results: job (its name), schedule (as of cron), command, done (what was done, or is to be done).';
CREATE FUNCTION sec.columns_of_kernel() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.error_codes', NULL)
$$;
COMMENT ON FUNCTION sec.columns_of_kernel() IS 'What may be read of the kernel. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.descriptions_of_kernel() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.error_codes', 'token', 'What an error says as its message; a program goes by it.'),
           ('app.error_codes', 'sqlstate', 'Its SQLSTATE: PTnnn.'),
           ('app.error_codes', 'http_status', 'What PostgREST makes of it: the nnn.'),
           ('app.error_codes', 'message_en', 'What to tell a person, in English.'),
           ('app.error_codes', 'message_zh', 'What to tell a person, in Chinese.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_kernel() IS 'What columns of the kernel are. Internal: sec.describe_columns().';
CREATE OR REPLACE FUNCTION sec.api_functions() RETURNS TABLE (func text, level text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('sec.uid', 'client'),
           ('sec.level_client', 'client'),
           ('sec.level_backend', 'backend'),
           ('sec.level_operator', 'operator'),
           ('sec.level_gateway', 'gateway'),
           ('sec.raise', 'operator'),
           ('sec.raise', 'signup'),
           ('app.error_list', 'client'),
           ('sec.job_batch', 'operator'),
           ('app.schedule_jobs', 'operator'),
           ('sec.security_check', 'operator'),
           ('sec.jobs_rest', 'operator'),
           ('app.set_mode', 'operator'),
           ('app.health', 'operator'),
           ('app.bucket_of_card', 'client'),
           ('app.bucket_of_code', 'client'),
           ('app.bucket_of_tx', 'client'),
           ('app.rebuild_from_log', 'operator'),
           ('app.expire_keys_batch', 'operator'),
           ('app.expire_keys', 'operator'),
           ('app.rehearse_month_batch', 'operator'),
           ('app.maintain_partitions_batch', 'operator'),
           ('app.maintain_partitions', 'operator'),
           ('sec.check_months_ahead', 'operator'),
           ('app.close_months_note_batch', 'operator'),
           ('app.close_months_mark_batch', 'operator'),
           ('sec.closing_is_ready', 'operator'),
           ('app.close_month_batch', 'operator'),
           ('app.close_months', 'operator'),
           ('sec.months_to_archive', 'operator'),
           ('app.archive_partitions', 'operator'),
           ('app.archive_month_batch', 'operator'),
           ('app.business_day', 'client'),
           ('app.business_day', 'operator'),
           ('app.business_day_start', 'client'),
           ('app.business_day_start', 'operator'),
           ('app.verify_books', 'operator'),
           ('audit.seal_note', 'operator'),
           ('audit.seal_ready', 'operator'),
           ('audit.seal_batch', 'operator'),
           ('audit.seal', 'operator'),
           ('audit.head', 'operator'),
           ('audit.verify', 'operator'),
           ('app.register_member', 'client'),
           ('app.set_member_status', 'backend'),
           ('sec.on_signup', 'signup'),
           ('sec.signup_triggers', 'signup'),
           ('app.enable_supabase_signup', 'signup'),
           ('app.rotate_card_qr', 'client'),
           ('app.create_enterprise_card', 'backend'),
           ('app.enterprise_add_member', 'client'),
           ('app.enterprise_remove_member', 'client'),
           ('app.set_card_status', 'client'),
           ('app.set_card_expiry', 'backend'),
           ('app.replace_card', 'backend'),
           ('app.adjust_points', 'backend'),
           ('sec.admin_card_ids', 'client'),
           ('app.expire_cards_batch', 'operator'),
           ('app.expire_cards', 'operator'),
           ('app.expire_qrcodes_batch', 'operator'),
           ('app.expire_qrcodes', 'operator'),
           ('app.recompute_levels_batch', 'operator'),
           ('app.recompute_levels', 'operator'),
           ('app.create_merchant', 'backend'),
           ('app.set_merchant_status', 'backend'),
           ('app.set_merchant_user', 'client'),
           ('app.remove_merchant_user', 'client'),
           ('sec.merchant_ids', 'client'),
           ('app.merchant_charge_by_qr', 'client'),
           ('app.quote_charge', 'client'),
           ('app.merchant_refund_tx', 'client'),
           ('app.cancel_payment', 'client'),
           ('app.compensate_tx', 'backend'),
           ('app.gateway_notify', 'backend'),
           ('app.reverify_event', 'backend'),
           ('mps_gateway.notify', 'gateway'),
           ('app.tx_proof', 'client'),
           ('app.liability_proof', 'client'),
           ('app.head_proof', 'client'),
           ('audit.receipts_are_on', 'operator'),
           ('audit.grow_tree', 'operator'),
           ('audit.sign_head', 'operator'),
           ('audit.declare_restore', 'operator'),
           ('audit.note_balances', 'operator'),
           ('audit.balances_ready', 'operator'),
           ('audit.publish_balances', 'operator'),
           ('audit.sign_heads', 'operator'),
           ('app.user_recharge_personal_card', 'client'),
           ('app.user_recharge_enterprise_card_admin', 'client'),
           ('app.confirm_recharge', 'backend'),
           ('app.fail_recharge', 'backend'),
           ('app.resolve_suspense', 'backend'),
           ('app.expire_recharges_batch', 'operator'),
           ('app.expire_recharges', 'operator'),
           ('app.import_bill', 'backend'),
           ('app.reconcile', 'backend'),
           ('app.resolve_recon_item', 'backend'),
           ('app.close_recon_day', 'backend'),
           ('app.get_settings', 'backend'),
           ('app.update_settings', 'backend'),
           ('app.card_statement', 'client'),
           ('app.usage_page', 'client'),
           ('app.merchant_statement', 'client'),
           ('app.balance_as_of', 'client'),
           ('app.tx_by_no', 'client'),
           ('sec.shown_tag', 'client'),
           ('app.day_totals', 'backend'),
           ('app.day_totals', 'operator'),
           ('app.withdraw', 'backend'),
           ('app.confirm_withdrawal', 'backend'),
           ('app.fail_withdrawal', 'backend'),
           ('sec.coupon_no', 'client'),
           ('app.create_coupon', 'backend'),
           ('app.update_coupon', 'backend'),
           ('app.set_coupon_status', 'backend'),
           ('app.issue_coupon', 'backend'),
           ('app.claim_coupon', 'client'),
           ('app.revoke_coupon', 'backend'),
           ('app.issue_coupon_to_all_batch', 'operator'),
           ('app.issue_coupon_to_all', 'operator'),
           ('app.create_campaign', 'backend'),
           ('app.update_campaign', 'backend'),
           ('app.set_campaign_status', 'backend'),
           ('app.campaign_report', 'backend'),
           ('sec.jobs', 'operator')
$$;
COMMENT ON FUNCTION sec.api_functions() IS
    'Every function that a level may call, from the line `Level:` of its comment; what is not here is internal. A backend may also '
    'call what a client may. Grants are made from it, and sec.security_check() compares with it. Internal.';
CREATE FUNCTION sec.tables() RETURNS TABLE (tab text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.archived_months'),
           ('app.asked_methods'),
           ('app.business_day_rules'),
           ('app.campaign_terms'),
           ('app.campaigns'),
           ('app.closed_months'),
           ('app.coupon_budget_parts'),
           ('app.coupon_terms'),
           ('app.coupons'),
           ('app.enterprise_card_bindings'),
           ('app.enterprise_cards'),
           ('app.external_orders'),
           ('app.gateway_accounts'),
           ('app.gateway_bill_files'),
           ('app.gateway_bill_lines'),
           ('app.gateway_bills'),
           ('app.gateway_events'),
           ('app.gateway_tallies'),
           ('app.idempotency_keys'),
           ('app.job_runs'),
           ('app.late_postings'),
           ('app.member_coupons'),
           ('app.member_months'),
           ('app.member_profiles'),
           ('app.membership_levels'),
           ('app.merchant_months'),
           ('app.merchant_users'),
           ('app.merchants'),
           ('app.month_rehearsals'),
           ('app.operating_mode'),
           ('app.pending_recharges'),
           ('app.personal_cards'),
           ('app.point_ledger'),
           ('app.recon_days'),
           ('app.recon_items'),
           ('app.settings'),
           ('app.suspense_payments'),
           ('app.transaction_compensations'),
           ('app.transactions'),
           ('app.withdrawals'),
           ('audit.event_log'),
           ('audit.heads'),
           ('audit.seal_cut'),
           ('audit.seals'),
           ('audit.tree_chunks'),
           ('audit.tree_nodes'),
           ('audit.trees'),
           ('sec.gateway_keys')
$$;
COMMENT ON FUNCTION sec.tables() IS
    'The tables of mps that calls read and write: all but those of who has which level. Internal.';
CREATE OR REPLACE FUNCTION sec.jobs() RETURNS TABLE (job text, schedule text, command text, every interval)
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.jobs_of_ledger()
    UNION ALL SELECT * FROM sec.jobs_of_cards()
    UNION ALL SELECT * FROM sec.jobs_of_recharges()
$$;
COMMENT ON FUNCTION sec.jobs() IS
    E'The procedures that are to run by themselves, and how often. app.recompute_levels() and app.archive_partitions() are run by '
    'hand.\n'
    'Level: operator.';
CREATE FUNCTION sec.monthly_tables() RETURNS TABLE (nsp text, tab text, pk text, is_append_only boolean)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.monthly_tables_of_ledger()
    UNION ALL SELECT * FROM sec.monthly_tables_of_gateways()
$$;
COMMENT ON FUNCTION sec.monthly_tables() IS
    'The tables that are kept by month, with the primary key of each month, and whether a row of them is never changed. Whatever '
    'locks several of them does so in this order. Internal.';
CREATE FUNCTION sec.settings()
    RETURNS TABLE (place integer, setting text, kind text, fallback text, lowest text, highest text, choices text[], en text, zh text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.settings_of_ledger()
    UNION ALL SELECT * FROM sec.settings_of_members()
    UNION ALL SELECT * FROM sec.settings_of_cards()
    UNION ALL SELECT * FROM sec.settings_of_recharges()
$$;
COMMENT ON FUNCTION sec.settings() IS
    'The settings, by place: kind, default as SQL, bounds or choices, what it is in English and Chinese. sec.setting_kinds() says '
    'what a kind is. Internal.';
CREATE FUNCTION sec.columns_by_level() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.columns_of_kernel()
    UNION ALL SELECT * FROM sec.columns_of_ledger()
    UNION ALL SELECT * FROM sec.columns_of_members()
    UNION ALL SELECT * FROM sec.columns_of_cards()
    UNION ALL SELECT * FROM sec.columns_of_merchants()
    UNION ALL SELECT * FROM sec.columns_of_gateways()
    UNION ALL SELECT * FROM sec.columns_of_recharges()
    UNION ALL SELECT * FROM sec.columns_of_reconciliation()
    UNION ALL SELECT * FROM sec.columns_of_settings()
    UNION ALL SELECT * FROM sec.columns_of_statements()
    UNION ALL SELECT * FROM sec.columns_of_withdrawals()
    UNION ALL SELECT * FROM sec.columns_of_coupons()
    UNION ALL SELECT * FROM sec.columns_of_campaigns()
$$;
COMMENT ON FUNCTION sec.columns_by_level() IS
    'What may be read past the functions, by level. Internal.';
CREATE FUNCTION sec.policies() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.policies_of_ledger()
    UNION ALL SELECT * FROM sec.policies_of_members()
    UNION ALL SELECT * FROM sec.policies_of_cards()
    UNION ALL SELECT * FROM sec.policies_of_merchants()
    UNION ALL SELECT * FROM sec.policies_of_gateways()
    UNION ALL SELECT * FROM sec.policies_of_recharges()
    UNION ALL SELECT * FROM sec.policies_of_reconciliation()
    UNION ALL SELECT * FROM sec.policies_of_settings()
    UNION ALL SELECT * FROM sec.policies_of_withdrawals()
    UNION ALL SELECT * FROM sec.policies_of_coupons()
    UNION ALL SELECT * FROM sec.policies_of_campaigns()
$$;
COMMENT ON FUNCTION sec.policies() IS
    'The policies, all for SELECT: table, name, condition, and the condition as the server shows it, without white space and '
    'brackets. Internal.';
CREATE FUNCTION sec.standing_triggers() RETURNS TABLE (tab text, trig text, events text, each text, func text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.standing_triggers_of_kernel()
    UNION ALL SELECT * FROM sec.standing_triggers_of_ledger()
    UNION ALL SELECT * FROM sec.standing_triggers_of_receipts()
    UNION ALL SELECT * FROM sec.standing_triggers_of_settings()
    UNION ALL SELECT * FROM sec.standing_triggers_of_campaigns()
$$;
COMMENT ON FUNCTION sec.standing_triggers() IS
    'The triggers that fire whatever session_replication_role says; every month of the log has its own append_only besides. '
    'sec.install_triggers() makes them, sec.security_check() looks for them. Internal.';
CREATE FUNCTION sec.descriptions() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.descriptions_of_kernel()
    UNION ALL SELECT * FROM sec.descriptions_of_ledger()
    UNION ALL SELECT * FROM sec.descriptions_of_members()
    UNION ALL SELECT * FROM sec.descriptions_of_cards()
    UNION ALL SELECT * FROM sec.descriptions_of_merchants()
    UNION ALL SELECT * FROM sec.descriptions_of_gateways()
    UNION ALL SELECT * FROM sec.descriptions_of_recharges()
    UNION ALL SELECT * FROM sec.descriptions_of_reconciliation()
    UNION ALL SELECT * FROM sec.descriptions_of_settings()
    UNION ALL SELECT * FROM sec.descriptions_of_statements()
    UNION ALL SELECT * FROM sec.descriptions_of_withdrawals()
    UNION ALL SELECT * FROM sec.descriptions_of_coupons()
    UNION ALL SELECT * FROM sec.descriptions_of_campaigns()
$$;
COMMENT ON FUNCTION sec.descriptions() IS
    'What columns are: those that clients and backends read, and those that a release added to a table of before. Internal.';
CREATE FUNCTION sec.health_rows() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.health_of_kernel()
    UNION ALL SELECT * FROM sec.health_of_ledger()
    UNION ALL SELECT * FROM sec.health_of_members()
    UNION ALL SELECT * FROM sec.health_of_cards()
    UNION ALL SELECT * FROM sec.health_of_gateways()
    UNION ALL SELECT * FROM sec.health_of_receipts()
    UNION ALL SELECT * FROM sec.health_of_recharges()
    UNION ALL SELECT * FROM sec.health_of_reconciliation()
    UNION ALL SELECT * FROM sec.health_of_withdrawals()
$$;
COMMENT ON FUNCTION sec.health_rows() IS
    'What the families have to say in app.health(). Internal.';
CREATE FUNCTION sec.sequence_states() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.sequences_of_ledger()
    UNION ALL SELECT * FROM sec.sequences_of_members()
    UNION ALL SELECT * FROM sec.sequences_of_cards()
    UNION ALL SELECT * FROM sec.sequences_of_merchants()
    UNION ALL SELECT * FROM sec.sequences_of_gateways()
    UNION ALL SELECT * FROM sec.sequences_of_recharges()
    UNION ALL SELECT * FROM sec.sequences_of_reconciliation()
    UNION ALL SELECT * FROM sec.sequences_of_coupons()
    UNION ALL SELECT * FROM sec.sequences_of_campaigns()
$$;
COMMENT ON FUNCTION sec.sequence_states() IS
    'Every sequence that numbers rows: what it gave last, and the greatest that is used. Internal.';
CREATE FUNCTION sec.logged_actions() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.logged_of_kernel()
    UNION ALL SELECT * FROM sec.logged_of_ledger()
    UNION ALL SELECT * FROM sec.logged_of_members()
    UNION ALL SELECT * FROM sec.logged_of_cards()
    UNION ALL SELECT * FROM sec.logged_of_merchants()
    UNION ALL SELECT * FROM sec.logged_of_gateways()
    UNION ALL SELECT * FROM sec.logged_of_receipts()
    UNION ALL SELECT * FROM sec.logged_of_recharges()
    UNION ALL SELECT * FROM sec.logged_of_reconciliation()
    UNION ALL SELECT * FROM sec.logged_of_settings()
    UNION ALL SELECT * FROM sec.logged_of_withdrawals()
    UNION ALL SELECT * FROM sec.logged_of_coupons()
    UNION ALL SELECT * FROM sec.logged_of_campaigns()
$$;
COMMENT ON FUNCTION sec.logged_actions() IS
    'Every kind of event that this release writes, and what its context must have for the books to be written anew from the log. '
    'Internal.';
CREATE FUNCTION sec.rebuild_steps() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.rebuilds_of_ledger()
    UNION ALL SELECT * FROM sec.rebuilds_of_members()
    UNION ALL SELECT * FROM sec.rebuilds_of_cards()
    UNION ALL SELECT * FROM sec.rebuilds_of_merchants()
    UNION ALL SELECT * FROM sec.rebuilds_of_payments()
    UNION ALL SELECT * FROM sec.rebuilds_of_gateways()
    UNION ALL SELECT * FROM sec.rebuilds_of_recharges()
    UNION ALL SELECT * FROM sec.rebuilds_of_reconciliation()
    UNION ALL SELECT * FROM sec.rebuilds_of_settings()
    UNION ALL SELECT * FROM sec.rebuilds_of_withdrawals()
    UNION ALL SELECT * FROM sec.rebuilds_of_coupons()
    UNION ALL SELECT * FROM sec.rebuilds_of_campaigns()
$$;
COMMENT ON FUNCTION sec.rebuild_steps() IS
    'The steps of app.rebuild_from_log(): functions in sec, by their place. Internal.';
CREATE FUNCTION sec.books_families() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.rules_of_ledger()
    UNION ALL SELECT * FROM sec.rules_of_payments()
    UNION ALL SELECT * FROM sec.rules_of_gateways()
    UNION ALL SELECT * FROM sec.rules_of_recharges()
    UNION ALL SELECT * FROM sec.rules_of_reconciliation()
    UNION ALL SELECT * FROM sec.rules_of_withdrawals()
    UNION ALL SELECT * FROM sec.rules_of_coupons()
    UNION ALL SELECT * FROM sec.rules_of_campaigns()
$$;
COMMENT ON FUNCTION sec.books_families() IS
    'The rules that the families name, for sec.books_rules() and sec.books_proofs(). Internal.';
CREATE OR REPLACE FUNCTION sec.api_columns() RETURNS TABLE (tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.tab, c.cols FROM sec.columns_by_level() c WHERE c.level = 'client'
$$;
COMMENT ON FUNCTION sec.api_columns() IS
    'What client and backend level may SELECT, under row-level security: by column (never a hash, never another''s key), or a '
    'whole view (NULL). Internal.';
CREATE FUNCTION sec.backend_columns() RETURNS TABLE (tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.tab, c.cols FROM sec.columns_by_level() c WHERE c.level = 'backend'
$$;
COMMENT ON FUNCTION sec.backend_columns() IS 'As sec.api_columns(): what backend level alone may SELECT. Internal.';
CREATE FUNCTION sec.levels_held() RETURNS TABLE (role regrole, level text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.grantee::regrole, t.attname::text
    FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid AND NOT t.attisdropped, aclexplode(t.attacl) a
    -- Given by the owner: what a holder passed on is no level.
    WHERE c.oid = to_regclass('sec.level_holders') AND a.privilege_type = 'SELECT' AND a.grantor = c.relowner
      AND a.grantee NOT IN (0, c.relowner, sec.owner())
$$;
COMMENT ON FUNCTION sec.levels_held() IS 'Which role has which level: who may SELECT which column of sec.level_holders. Internal.';
CREATE FUNCTION sec.levels_in_force() RETURNS TABLE (role regrole, level text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.grantee::regrole, m.level
    FROM sec.level_markers() m JOIN pg_proc p ON p.oid = to_regprocedure(m.marker), aclexplode(p.proacl) a
    WHERE a.privilege_type = 'EXECUTE' AND a.grantor = p.proowner AND a.grantee NOT IN (0, p.proowner)
$$;
COMMENT ON FUNCTION sec.levels_in_force() IS
    'Which role may execute which level''s marker; that of clients is executed by backends, too. Internal.';
CREATE FUNCTION sec.holders_are_known() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Every list begins with the owner. Where it is missing, the table came from a dump, and its privileges did not.
    SELECT EXISTS (SELECT FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
                   WHERE c.oid = to_regclass('sec.level_holders') AND a.grantee IN (c.relowner, sec.owner()))
$$;
COMMENT ON FUNCTION sec.holders_are_known() IS 'Whether sec.level_holders has its privileges: not after a restore without them. Internal.';
CREATE FUNCTION sec.cluster() RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') THEN
        RETURN (SELECT s.system_identifier::text FROM pg_control_system() s);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.cluster() IS
    'Which cluster this is: only there does the oid of a role mean that role. NULL where nobody may ask. Internal.';
CREATE FUNCTION sec.noted_role(p_role_name text, p_role_oid oid, p_cluster text) RETURNS regrole
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.oid::regrole FROM pg_roles r
    WHERE CASE WHEN p_role_oid IS NOT NULL AND p_cluster = sec.cluster() THEN r.oid = p_role_oid ELSE r.rolname = p_role_name END
$$;
COMMENT ON FUNCTION sec.noted_role(text, oid, text) IS
    'Which role a note in sec.api_grants means here: the very role in its own cluster, elsewhere the one of that name. Internal.';
CREATE FUNCTION sec.install_grants() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    IF to_regclass('sec.api_grants') IS NULL THEN
        CREATE TABLE sec.api_grants (
            role_name text NOT NULL,
            level     text NOT NULL CHECK (level IN ('client', 'backend', 'operator', 'signup', 'gateway')),
            role_oid  oid,
            cluster   text,
            gone_at   timestamptz,
            PRIMARY KEY (role_name, level)
        );
    END IF;
    IF to_regclass('sec.level_holders') IS NULL THEN
        CREATE TABLE sec.level_holders (
            client   boolean,
            backend  boolean,
            operator boolean,
            signup   boolean,
            gateway  boolean,
            -- So that it can be part of a publication.
            PRIMARY KEY (client, backend, operator, signup, gateway),
            CONSTRAINT never_a_row CHECK (false)
        );
        PERFORM sec.strip_grants('sec.level_holders');
        COMMENT ON TABLE sec.level_holders IS
            'Has no rows. Who may SELECT a column has the level of that name: sec.grant_api() and sec.revoke_api() keep it';
        PERFORM sec.migrate_api_grants();
    ELSIF NOT sec.holders_are_known() THEN
        -- Nothing but notes came along. In their own cluster they say which role, elsewhere what it was called.
        FOR v IN
            SELECT g.role_name, g.level, sec.noted_role(g.role_name, g.role_oid, g.cluster) AS role
            FROM sec.api_grants g WHERE g.gone_at IS NULL
        LOOP
            IF v.role IS NOT NULL THEN
                EXECUTE format('GRANT SELECT (%I) ON sec.level_holders TO %s', v.level, v.role);
            ELSE
                RAISE NOTICE 'mps: % had % level where this database comes from; there is no such role here', v.role_name, v.level;
            END IF;
        END LOOP;
        DELETE FROM sec.api_grants;
    END IF;
    COMMENT ON TABLE sec.api_grants IS 'What sec.level_holders says, noted by name: read only where a dump was restored without privileges';
    COMMENT ON COLUMN sec.api_grants.role_name IS 'The role''s name when this was last noted.';
    COMMENT ON COLUMN sec.api_grants.role_oid IS 'The role, in its cluster; means nothing in another one.';
    COMMENT ON COLUMN sec.api_grants.cluster IS 'System identifier of the cluster whose oid it is.';
    COMMENT ON COLUMN sec.api_grants.gone_at IS
        'When it was noticed that no role has this level any more that had it by this name: dropped, or taken back by hand. Gives '
        'nobody anything.';
    EXECUTE format('GRANT SELECT (client, backend, operator, signup, gateway) ON sec.level_holders TO %s',
                   (SELECT c.relowner::regrole FROM pg_class c WHERE c.oid = 'sec.level_holders'::regclass));
END
$$;
COMMENT ON FUNCTION sec.install_grants() IS
    'Makes sec.level_holders and sec.api_grants where they are missing, and fills the one from the other after a restore without '
    'privileges. Internal.';
CREATE FUNCTION sec.migrate_api_grants() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_markers boolean := EXISTS (SELECT FROM sec.levels_in_force());
BEGIN
    ALTER TABLE sec.api_grants ADD COLUMN IF NOT EXISTS role_oid oid, ADD COLUMN IF NOT EXISTS cluster text,
                               ADD COLUMN IF NOT EXISTS gone_at timestamptz,
                               DROP CONSTRAINT IF EXISTS api_grants_level_check,
                               ADD CONSTRAINT api_grants_level_check
                                   CHECK (level IN ('client', 'backend', 'operator', 'signup', 'gateway'));
    FOR v IN
        -- The markers say who has which level, whatever a role is called by now. Only whether a backend is a client besides is
        -- to be learned from the list.
        SELECT f.role, f.level FROM sec.levels_in_force() f JOIN pg_roles r ON r.oid = f.role
        WHERE f.level <> 'client'
           OR NOT EXISTS (SELECT FROM sec.levels_in_force() b WHERE b.role = f.role AND b.level = 'backend')
           OR EXISTS (SELECT FROM sec.api_grants g WHERE g.role_name = r.rolname AND g.level = 'client')
        UNION
        -- DROP EXTENSION has taken the markers along, but not the schema, on which every level has USAGE.
        SELECT r.oid::regrole, g.level FROM sec.api_grants g JOIN pg_roles r ON r.rolname = g.role_name
        WHERE NOT v_markers
          AND EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) a
                      WHERE n.nspname = 'sec' AND a.grantee = r.oid AND a.grantor = n.nspowner)
    LOOP
        EXECUTE format('GRANT SELECT (%I) ON sec.level_holders TO %s', v.level, v.role);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.migrate_api_grants() IS
    'Fills the new sec.level_holders from the list of names of 0.2.0 and older: a name counts only where its role was really '
    'granted the level. Internal: sec.install_grants() calls it.';
CREATE FUNCTION sec.note_grants() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_here text := sec.cluster();
BEGIN
    -- Before app.migrate() has read them, notes from a restore without privileges are all there is.
    IF sec.holders_are_known() THEN
        -- Renamed: noted anew below.
        DELETE FROM sec.api_grants g USING sec.levels_held() h, pg_roles r
        WHERE g.role_oid = h.role AND g.level = h.level AND g.cluster = v_here AND r.oid = h.role AND r.rolname <> g.role_name;
        UPDATE sec.api_grants g SET gone_at = now()
        WHERE g.gone_at IS NULL
          AND NOT EXISTS (SELECT FROM sec.levels_held() h JOIN pg_roles r ON r.oid = h.role
                          WHERE r.rolname = g.role_name AND h.level = g.level);
    END IF;
    INSERT INTO sec.api_grants AS g (role_name, level, role_oid, cluster)
    SELECT r.rolname, h.level, r.oid, v_here FROM sec.levels_held() h JOIN pg_roles r ON r.oid = h.role
    ON CONFLICT (role_name, level) DO UPDATE SET role_oid = excluded.role_oid, cluster = excluded.cluster, gone_at = NULL
    WHERE (g.role_oid, g.cluster, g.gone_at) IS DISTINCT FROM (excluded.role_oid, excluded.cluster, NULL);
END
$$;
COMMENT ON FUNCTION sec.note_grants() IS 'Notes in sec.api_grants what sec.level_holders says, by the names of today. Internal.';
CREATE OR REPLACE FUNCTION sec.strip_grants(p_relation regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT DISTINCT a.grantee, c.relkind FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = p_relation AND a.grantee <> c.relowner
    LOOP
        PERFORM sec.run_ddl(format('REVOKE ALL ON %s %s FROM %s CASCADE',
                                   CASE v.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, p_relation,
                                   CASE v.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(v.grantee)) END));
    END LOOP;
END
$$;
CREATE FUNCTION sec.strip_schema(p_schema regnamespace) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
BEGIN
    FOR v IN SELECT DISTINCT a.grantee FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.oid = p_schema AND a.grantee <> n.nspowner LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %s FROM %s CASCADE', p_schema,
                       CASE v.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(v.grantee)) END);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.strip_schema(regnamespace) IS 'As sec.strip_grants(), for a new schema. Internal.';
CREATE FUNCTION sec.apply_level(p_role regrole, p_level text, p_grant boolean) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
    v_name text := p_role;
    v_verb text := CASE WHEN p_grant THEN 'GRANT' ELSE 'REVOKE' END;
    -- CASCADE: what somebody passed on goes along, and is nothing that this fails because of.
    v_whom text := CASE WHEN p_grant THEN 'TO ' || v_name ELSE format('FROM %s CASCADE', v_name) END;
BEGIN
    -- Who brings what a gateway sent has business in no other schema.
    PERFORM sec.run_ddl(format('%s USAGE ON SCHEMA %s %s', v_verb,
                               CASE p_level WHEN 'gateway' THEN 'mps_gateway' ELSE 'app, audit, sec' END, v_whom));
    IF p_level = 'gateway' THEN
        PERFORM sec.run_ddl(format('%s USAGE ON DOMAIN mps_gateway."*/*" %s', v_verb, v_whom));
    END IF;
    FOR v IN
        SELECT format('%s %s', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure) AS target,
               n.nspname = 'mps_compat' AS compat
        FROM sec.api_functions() f
        -- As it was in an earlier release, a function is granted with the one of now.
        JOIN pg_namespace n ON n.nspname IN ('app', 'audit', 'sec', 'mps_compat', 'mps_gateway')
        JOIN pg_proc p ON p.pronamespace = n.oid
            AND format('%s.%s', CASE n.nspname WHEN 'mps_compat' THEN 'app' ELSE n.nspname END, p.proname) = f.func
        WHERE f.level = p_level OR (p_level = 'backend' AND f.level = 'client')
    LOOP
        IF v.compat AND p_grant THEN
            PERFORM sec.run_ddl(format('GRANT USAGE ON SCHEMA mps_compat %s', v_whom));
        END IF;
        PERFORM sec.run_ddl(format('%s EXECUTE ON %s %s', v_verb, v.target, v_whom));
    END LOOP;
    IF NOT p_grant AND to_regnamespace('mps_compat') IS NOT NULL
       AND NOT EXISTS (SELECT FROM pg_proc p, aclexplode(p.proacl) a
                       WHERE p.pronamespace = to_regnamespace('mps_compat') AND a.grantee = p_role) THEN
        PERFORM sec.run_ddl(format('REVOKE USAGE ON SCHEMA mps_compat %s', v_whom));
    END IF;
    IF p_level IN ('client', 'backend') THEN
        FOR v IN SELECT c.tab, c.cols
                 FROM (SELECT * FROM sec.api_columns() UNION ALL SELECT * FROM sec.backend_columns() WHERE p_level = 'backend') c
                 WHERE to_regclass(c.tab) IS NOT NULL
        LOOP
            PERFORM sec.run_ddl(format('%s SELECT %s ON %s %s', v_verb, '(' || v.cols || ')', v.tab, v_whom));
        END LOOP;
    END IF;
    PERFORM sec.run_ddl(format('%s SELECT (%I) ON sec.level_holders %s', v_verb, p_level, v_whom));
    IF v_name <> p_role::text THEN
        PERFORM sec.raise('STATUS_CONFLICT', format('the role %s was renamed meanwhile', v_name));
    END IF;
END
$$;
COMMENT ON FUNCTION sec.apply_level(regrole, text, boolean) IS
    'Grants or revokes everything of one level. Internal: sec.give_level(), sec.revoke_api() and sec.install() call it.';
CREATE OR REPLACE FUNCTION sec.apply_grants(p_role text, p_level text, p_grant boolean) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.apply_level(r.oid::regrole, p_level, p_grant) FROM pg_roles r WHERE r.rolname = p_role
$$;
COMMENT ON FUNCTION sec.apply_grants(text, text, boolean) IS
    'As sec.apply_level(), by name. Here because dumps of 0.2.0 and older name it. Internal.';
CREATE FUNCTION sec.give_level(p_role regrole, p_level text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_had boolean;
BEGIN
    -- One at a time: two would meet in the server's catalogs, and one of them would fail.
    LOCK TABLE sec.api_grants IN SHARE ROW EXCLUSIVE MODE;
    v_had := EXISTS (SELECT FROM sec.levels_held() h JOIN sec.levels_in_force() f USING (role, level)
                     WHERE h.role = p_role AND h.level = p_level);
    PERFORM sec.apply_level(p_role, p_level, true);
    PERFORM sec.note_grants();
    IF NOT v_had THEN
        PERFORM sec.record_event('level.granted', 'role', r.rolname, jsonb_build_object('level', p_level, 'role_oid', r.oid::bigint))
        FROM pg_roles r WHERE r.oid = p_role;
    END IF;
END
$$;
COMMENT ON FUNCTION sec.give_level(regrole, text) IS
    'Gives a role a level, and records it if it did not have it. Internal: sec.grant_api() calls it.';
CREATE FUNCTION sec.grant_defaults() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    -- Supabase's roles by their names, and the owner of its users, who may switch on that each of them becomes a member. Only at
    -- the very first installation: what is taken back later stays taken back.
    SELECT sec.give_level(d.role, d.level)
    FROM (SELECT r.oid::regrole AS role, CASE r.rolname WHEN 'authenticated' THEN 'client' ELSE 'backend' END AS level
          FROM pg_roles r WHERE r.rolname IN ('authenticated', 'service_role')
          UNION ALL
          SELECT r.oid::regrole, 'signup' FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
          WHERE c.oid = to_regclass('auth.users') AND NOT r.rolsuper AND r.oid <> sec.owner()) d
$$;
COMMENT ON FUNCTION sec.grant_defaults() IS
    'Gives Supabase''s roles their levels. Internal: sec.install() calls it where nothing of mps was before.';
CREATE OR REPLACE FUNCTION sec.grant_api(p_role text, p_level text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_role regrole := (SELECT r.oid FROM pg_roles r WHERE r.rolname = p_role);
BEGIN
    IF p_level IS NULL OR p_level NOT IN (SELECT m.level FROM sec.level_markers() m) THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_level is client, backend, operator, signup or gateway');
    END IF;
    IF v_role IS NULL THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_role is no role of this cluster');
    END IF;
    IF p_role = 'anon' OR v_role = sec.owner() THEN
        PERFORM sec.raise('NOT_ALLOWED', 'this role gets nothing of mps');
    END IF;
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_shadows();
    PERFORM sec.give_level(v_role, p_level);
END
$$;
COMMENT ON FUNCTION sec.grant_api(text, text) IS
    E'Gives a role everything it needs at a level.\n'
    'p_level: client (behind PostgREST or one''s own server), backend (the shop''s own server), operator (maintenance), signup '
    '(app.enable_supabase_signup()), gateway (mps_gateway.notify(), and nothing else). Remembered for the role, whatever it is called '
    'later, so that updates reach new functions; audited. For a superuser.\n'
    'Errors: INVALID_ARGUMENT, NOT_ALLOWED, SCHEMA_OUTDATED.';
CREATE OR REPLACE FUNCTION sec.revoke_api(p_role text, p_level text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_role regrole := (SELECT r.oid FROM pg_roles r WHERE r.rolname = p_role);
    v_had boolean;
    v_noted oid;
BEGIN
    IF p_level IS NULL OR p_level NOT IN (SELECT m.level FROM sec.level_markers() m) THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_level is client, backend, operator, signup or gateway');
    END IF;
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_shadows();
    LOCK TABLE sec.api_grants IN SHARE ROW EXCLUSIVE MODE;
    -- Remembered, or given past sec.grant_api(): both are taken back. A backend has the clients' marker anyway.
    v_had := EXISTS (SELECT FROM sec.levels_held() h WHERE h.role = v_role AND h.level = p_level)
          OR EXISTS (SELECT FROM sec.levels_in_force() f WHERE f.role = v_role AND f.level = p_level
                       AND (p_level <> 'client' OR NOT EXISTS (SELECT FROM sec.levels_held() h
                                                               WHERE h.role = v_role AND h.level = 'backend')));
    DELETE FROM sec.api_grants g WHERE g.role_name = p_role AND g.level = p_level
    RETURNING coalesce(g.role_oid, 0) INTO v_noted;
    IF v_role IS NOT NULL THEN
        PERFORM sec.apply_level(v_role, p_level, false);
        -- Levels overlap: what another one still gives comes back.
        PERFORM sec.apply_level(h.role, h.level, true) FROM sec.levels_held() h WHERE h.role = v_role;
        PERFORM sec.note_grants();
    END IF;
    IF v_had OR v_noted IS NOT NULL THEN
        PERFORM sec.record_event('level.revoked', 'role', p_role,
                                 jsonb_build_object('level', p_level, 'role_oid', CASE WHEN v_had THEN v_role ELSE v_noted END::bigint));
    END IF;
END
$$;
COMMENT ON FUNCTION sec.revoke_api(text, text) IS
    E'Takes back what sec.grant_api() gave, for good; audited.\n'
    'p_level: client, backend, operator, signup, gateway. Also forgets a grant whose role is gone. For a superuser.\n'
    'Errors: INVALID_ARGUMENT, SCHEMA_OUTDATED.';
CREATE FUNCTION sec.careless_code() RETURNS TABLE (what text)
    -- Not in SQL: that would be planned at every call.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    RETURN QUERY
    -- From the functions on, which are few, not from the tables, which are many.
    WITH RECURSIVE
    -- A body that was parsed when it was made (BEGIN ATOMIC) finds its names, but what it calls inherits the path.
    careless AS (
        SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE l.lanname NOT IN ('internal', 'c')
          AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c
                          WHERE c ~ '^search_path=(.*, )?"?pg_temp"?$' AND cardinality(regexp_split_to_array(c, 'pg_temp')) = 2)
          -- What comes with the server has been looked at by others.
          AND p.oid >= 16384
    ),
    -- Our tables, and those of others that ours take along: the action of a foreign key runs as their owner, under our path.
    reached (oid) AS (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('app', 'audit', 'sec') AND c.relkind IN ('r', 'p')
        UNION
        SELECT k.conrelid FROM reached r JOIN pg_constraint k ON k.confrelid = r.oid AND k.contype = 'f'
        WHERE k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')
    ),
    users AS (
        SELECT c.oid AS func, d.classid, d.objid
        FROM careless c JOIN pg_depend d ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = c.oid
        UNION
        SELECT c.oid, d.classid, d.objid
        FROM careless c JOIN pg_operator o ON o.oprcode = c.oid
        JOIN pg_depend d ON d.refclassid = 'pg_operator'::regclass AND d.refobjid = o.oid
    ),
    -- Domains that call one, in a CHECK or by default, and what is made of them.
    types (func, classid, objid, typ) AS (
        SELECT u.func, u.classid, u.objid, k.contypid
        FROM users u JOIN pg_constraint k ON u.classid = 'pg_constraint'::regclass AND k.oid = u.objid WHERE k.contypid <> 0
        UNION
        SELECT u.func, u.classid, u.objid, u.objid FROM users u WHERE u.classid = 'pg_type'::regclass
        UNION
        SELECT t.func, t.classid, t.objid, x.oid
        FROM types t CROSS JOIN LATERAL (
            SELECT y.oid FROM pg_type y WHERE y.typbasetype = t.typ OR y.typelem = t.typ
            UNION ALL
            SELECT y.oid FROM pg_attribute a JOIN pg_type y ON y.typrelid = a.attrelid WHERE a.atttypid = t.typ AND a.attnum > 0
            UNION ALL
            SELECT g.rngtypid FROM pg_range g WHERE g.rngsubtype = t.typ) x
    ),
    holders (func, classid, objid, relation) AS (
        SELECT u.func, u.classid, u.objid, t.tgrelid
        FROM users u JOIN pg_trigger t ON u.classid = 'pg_trigger'::regclass AND t.oid = u.objid
        UNION ALL
        SELECT u.func, u.classid, u.objid, k.conrelid
        FROM users u JOIN pg_constraint k ON u.classid = 'pg_constraint'::regclass AND k.oid = u.objid
        UNION ALL
        SELECT t.func, t.classid, t.objid, a.attrelid FROM types t JOIN pg_attribute a ON a.atttypid = t.typ AND a.attnum > 0
        UNION ALL
        SELECT u.func, u.classid, u.objid, x.stxrelid
        FROM users u JOIN pg_statistic_ext x ON u.classid = 'pg_statistic_ext'::regclass AND x.oid = u.objid
        UNION ALL
        -- Of an operator class: whose indexes are.
        SELECT f.func, 'pg_class'::regclass, i.indexrelid, i.indrelid
        FROM (SELECT c.oid AS func, p.amprocfamily AS family FROM careless c JOIN pg_amproc p ON p.amproc = c.oid
              UNION
              SELECT c.oid, m.amopfamily FROM careless c JOIN pg_operator o ON o.oprcode = c.oid JOIN pg_amop m ON m.amopopr = o.oid) f
        JOIN pg_opclass k ON k.opcfamily = f.family JOIN pg_index i ON k.oid = ANY (i.indclass)
        UNION ALL
        SELECT u.func, u.classid, u.objid, d.adrelid
        FROM users u JOIN pg_attrdef d ON u.classid = 'pg_attrdef'::regclass AND d.oid = u.objid
        UNION ALL
        SELECT u.func, u.classid, u.objid, i.indrelid
        FROM users u JOIN pg_index i ON u.classid = 'pg_class'::regclass AND i.indexrelid = u.objid
        UNION ALL
        SELECT u.func, u.classid, u.objid, r.ev_class
        FROM users u JOIN pg_rewrite r ON u.classid = 'pg_rewrite'::regclass AND r.oid = u.objid
        UNION ALL
        -- They bind us only then.
        SELECT u.func, u.classid, u.objid, p.polrelid
        FROM users u JOIN pg_policy p ON u.classid = 'pg_policy'::regclass AND p.oid = u.objid
        JOIN pg_class c ON c.oid = p.polrelid AND c.relforcerowsecurity
    ),
    -- Partitions repeat what their table has.
    found AS (
        SELECT h.func, min(pg_describe_object(h.classid, h.objid, 0)) AS holder, count(*) AS holders
        FROM holders h JOIN reached r ON r.oid = h.relation
        GROUP BY h.func
    )
    SELECT format('%s%s runs %s', f.holder, CASE WHEN f.holders > 1 THEN format(' and %s more', f.holders - 1) ELSE '' END,
                  f.func::regprocedure)
    FROM found f;
END
$$;
COMMENT ON FUNCTION sec.careless_code() IS
    'What others put on the tables of mps (triggers, checks, defaults, indexes, rules, domains) that runs a function without a '
    'search_path of its own which ends in pg_temp. Internal.';
CREATE FUNCTION sec.refuse_shadows() RETURNS boolean
    -- STABLE, so that whoever asks says as of when.
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_what text;
BEGIN
    IF pg_my_temp_schema() = 0 THEN
        RETURN false;
    END IF;
    SELECT string_agg(c.what, '; ' ORDER BY c.what) INTO v_what FROM sec.careless_code() c;
    IF v_what IS NOT NULL AND (EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = pg_my_temp_schema())
                               OR EXISTS (SELECT FROM pg_type t WHERE t.typnamespace = pg_my_temp_schema())) THEN
        PERFORM sec.raise('STATUS_CONFLICT', format(
            'this session has temporary tables or types, whose names could be taken for others by code on the tables of mps: '
            '%s. Give that function a search_path that ends in pg_temp, or DISCARD TEMP here', v_what));
    END IF;
    RETURN v_what IS NULL;
END
$$;
COMMENT ON FUNCTION sec.refuse_shadows() IS
    'Refuses to write in a session with temporary objects as long as sec.careless_code() has something; returns whether it '
    'certainly has nothing. Internal. Errors: STATUS_CONFLICT.';
CREATE OR REPLACE FUNCTION sec.security_check() RETURNS TABLE (rule text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    -- Compiling it takes a hundred times as long as running it; and names are compared as text.
    SET jit = off SET quote_all_identifiers = off AS $check$
#variable_conflict use_column
BEGIN
    PERFORM sec.refuse_outdated();
    RETURN QUERY
    WITH
    -- Everything in the three schemas, in those of archived months and of functions as they were, and in that of gateways.
    spaces AS (
        SELECT n.oid, n.nspname, n.nspacl, n.nspowner
        FROM pg_namespace n WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway')
    ),
    relations AS (
        SELECT c.oid, format('%I.%I', s.nspname, c.relname) AS name, c.relkind, c.relacl, c.relowner,
               c.relrowsecurity, c.relforcerowsecurity, c.reloptions
        FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    ),
    functions AS (
        -- As it was, a function may be granted to whom the one of now is.
        SELECT p.oid, p.oid::regprocedure::text AS name,
               format('%s.%s', CASE s.nspname WHEN 'mps_compat' THEN 'app' ELSE s.nspname END, p.proname) AS func,
               p.proacl, p.proowner, p.prosecdef, p.proconfig,
               p.prolang = (SELECT l.oid FROM pg_language l WHERE l.lanname = 'c') AS is_native,
               s.nspname = 'mps_compat' AND NOT p.prosecdef AS compat
        FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
    ),
    -- The policies that sec.install_policies() makes, as the server shows them, without white space and brackets.
    policies (tab, policy, condition) AS (SELECT p.tab, p.policy, p.shown FROM sec.policies() p),
    found_policies AS (
        SELECT r.name AS tab, p.polname::text AS policy, p.polcmd, p.polpermissive AND p.polroles = ARRAY[0::oid] AS for_everyone,
               regexp_replace(pg_get_expr(p.polqual, p.polrelid), '[\s()]', '', 'g') AS condition
        FROM pg_policy p JOIN relations r ON r.oid = p.polrelid
    ),
    owner AS (
        SELECT r.oid, r.rolcanlogin, r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication AS powerful
        FROM pg_roles r WHERE r.oid = sec.owner()
    ),
    -- Who has which level, by role: two queries of the server's catalogs, made once.
    held AS MATERIALIZED (SELECT h.role::oid AS role, h.level FROM sec.levels_held() h),
    in_force AS MATERIALIZED (SELECT f.role::oid AS role, f.level FROM sec.levels_in_force() f),
    -- Every privilege on every object, by whom it is held (0: PUBLIC). A NULL acl of a function means PUBLIC may execute it.
    grants AS (
        SELECT 'schema ' || s.nspname AS object, 'schema' AS kind, s.nspname::text AS name, NULL::text AS col, a.grantee, a.privilege_type
        FROM spaces s, aclexplode(s.nspacl) a WHERE a.grantee <> s.nspowner
        UNION ALL
        SELECT r.name, CASE r.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, r.name, NULL, a.grantee, a.privilege_type
        FROM relations r, aclexplode(r.relacl) a WHERE a.grantee <> r.relowner
        UNION ALL
        SELECT format('%s.%s', r.name, t.attname), 'column', r.name, t.attname, a.grantee, a.privilege_type
        FROM relations r JOIN pg_attribute t ON t.attrelid = r.oid, aclexplode(t.attacl) a WHERE a.grantee <> r.relowner
        UNION ALL
        SELECT f.name, 'function', f.func, NULL, a.grantee, a.privilege_type
        FROM functions f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a WHERE a.grantee <> f.proowner
        UNION ALL
        -- The enumerations of app are everybody's.
        SELECT 'type ' || t.oid::regtype, 'type', t.oid::regtype::text, NULL, a.grantee, a.privilege_type
        FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a
        WHERE s.nspname = 'mps_gateway' AND t.typtype = 'd' AND a.grantee <> t.typowner
    ),
    named AS (SELECT g.*, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END AS who FROM grants g),
    allowed_functions AS (
        SELECT h.role, f.func FROM held h
        JOIN sec.api_functions() f ON f.level = h.level OR (h.level = 'backend' AND f.level = 'client')
    ),
    allowed_columns AS (
        SELECT h.role, c.tab, trim(x.col) AS col FROM held h
        CROSS JOIN LATERAL (SELECT * FROM sec.api_columns() UNION ALL SELECT * FROM sec.backend_columns() WHERE h.level = 'backend') c
        LEFT JOIN LATERAL string_to_table(c.cols, ',') x(col) ON true
        WHERE h.level IN ('client', 'backend')
        UNION
        SELECT h.role, 'sec.level_holders', h.level FROM held h
    ),
    -- Who has a level, whatever list says so: the right to execute its marker.
    leveled AS (
        SELECT r.oid, has_function_privilege(r.oid, 'sec.level_client()', 'EXECUTE') AS is_client,
               has_function_privilege(r.oid, 'sec.level_backend()', 'EXECUTE') AS is_backend
        FROM pg_roles r, owner o WHERE NOT r.rolsuper AND r.oid <> o.oid
    ),
    findings (rule, problem) AS (
        SELECT 'row-level security is on for every table', r.name FROM relations r WHERE r.relkind IN ('r', 'p') AND NOT r.relrowsecurity
        UNION ALL
        -- Its owner would then see nothing, and every check would find nothing.
        SELECT 'row-level security is on for every table', format('%s binds its owner, too (FORCE)', r.name)
        FROM relations r WHERE r.relforcerowsecurity
        UNION ALL
        SELECT 'nothing is granted to PUBLIC or anon', format('%s: %s to %s', n.object, n.privilege_type, n.who)
        FROM named n WHERE n.grantee = 0 OR n.who = 'anon'
        UNION ALL
        SELECT 'nothing is granted to PUBLIC or anon', format('anon is a member of %s', l.oid::regrole)
        FROM leveled l, pg_roles a
        WHERE a.rolname = 'anon' AND l.oid <> a.oid AND (l.is_client OR l.is_backend) AND pg_has_role(a.oid, l.oid, 'MEMBER')
        UNION ALL
        SELECT 'SECURITY DEFINER functions belong to mps_owner', format('%s belongs to %s', f.name, pg_get_userbyid(f.proowner))
        FROM functions f WHERE (f.prosecdef OR f.is_native OR f.func LIKE 'sec.level%')
          AND f.proowner IS DISTINCT FROM (SELECT o.oid FROM owner o)
        UNION ALL
        SELECT 'SECURITY DEFINER functions have a fixed search_path ending in pg_temp', f.name
        FROM functions f
        WHERE f.prosecdef AND NOT EXISTS (SELECT FROM unnest(f.proconfig) c WHERE c ~ '^search_path=("?pg_catalog"?, )?"?pg_temp"?$')
        UNION ALL
        -- It would take its owner for the immediate caller, and whoever stands between would not be seen. That of gateways asks
        -- nothing but who runs the session.
        SELECT 'native functions see who calls them (are not SECURITY DEFINER)', f.name
        FROM functions f WHERE f.prosecdef AND f.is_native AND f.func <> 'mps_gateway.notify'
        UNION ALL
        SELECT 'clients create nothing where backends may find it', format('%s may CREATE in schema %s', x.who, x.nspname)
        FROM (SELECT n.oid, n.nspname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS who
              FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
              WHERE a.privilege_type = 'CREATE' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                AND (a.grantee = 0 OR EXISTS (SELECT FROM leveled l WHERE l.is_client AND NOT l.is_backend
                                 AND pg_has_role(l.oid, a.grantee, 'MEMBER')))) x
        UNION ALL
        SELECT 'clients create nothing where backends may find it', format('%s may CREATE schemas', l.oid::regrole)
        FROM leveled l WHERE l.is_client AND NOT l.is_backend AND has_database_privilege(l.oid, current_database(), 'CREATE')
        UNION ALL
        SELECT 'mps_owner cannot log in, is no superuser and has no members', 'mps_owner can log in or has powers of its own'
        FROM owner o WHERE o.rolcanlogin OR o.powerful
        UNION ALL
        SELECT 'mps_owner cannot log in, is no superuser and has no members',
               format('%s is a member of %s', pg_get_userbyid(m.member), pg_get_userbyid(m.roleid))
        FROM pg_auth_members m JOIN owner o ON o.oid IN (m.roleid, m.member)
        UNION ALL
        SELECT 'no client role inherits from a backend or operator role', format('%s from %s', cr.rolname, pg_get_userbyid(b.role))
        FROM held c JOIN pg_roles cr ON cr.oid = c.role
        JOIN held b ON b.level IN ('backend', 'operator')
        WHERE c.level IN ('client', 'gateway') AND cr.oid <> b.role AND NOT cr.rolsuper AND pg_has_role(cr.oid, b.role, 'MEMBER')
          AND NOT EXISTS (SELECT FROM held x WHERE x.role = c.role AND x.level = b.level)
        UNION ALL
        SELECT 'the schemas hold no functions but those of mps', f.name
        FROM functions f
        WHERE NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'mps'
                          WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid
                            AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
          AND NOT (f.compat AND f.proowner IN (SELECT o.oid FROM owner o))
        UNION ALL
        SELECT 'every relation and schema belongs to mps_owner', format('%s belongs to %s', x.name, pg_get_userbyid(x.who))
        FROM (SELECT r.name, r.relowner AS who FROM relations r UNION ALL SELECT 'schema ' || s.nspname, s.nspowner FROM spaces s) x
        WHERE x.who IS DISTINCT FROM (SELECT o.oid FROM owner o)
        UNION ALL
        -- The other functions of mps: whoever owns one says what the rest of mps gets when it asks that one.
        SELECT 'every relation and schema belongs to mps_owner', format('%s belongs to %s', f.name, pg_get_userbyid(f.proowner))
        FROM functions f JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e'
        WHERE NOT (f.prosecdef OR f.is_native OR f.func LIKE 'sec.level%')
          AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'mps')
          AND f.proowner IS DISTINCT FROM (SELECT o.oid FROM owner o)
        UNION ALL
        SELECT 'every relation and schema belongs to mps_owner', format('type %s.%s', s.nspname, t.typname)
        FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace
        WHERE t.typrelid = 0 AND t.typelem = 0
          AND (t.typowner IS DISTINCT FROM (SELECT o.oid FROM owner o)
               OR t.typtype <> 'e' AND t.oid IS DISTINCT FROM to_regtype('mps_gateway."*/*"'))
        UNION ALL
        SELECT 'no role but the owner may write', format('%s: %s to %s', n.object, n.privilege_type, n.who)
        FROM named n WHERE n.kind IN ('table', 'column', 'sequence', 'schema') AND n.privilege_type NOT IN ('SELECT', 'USAGE')
        UNION ALL
        SELECT 'no role but the owner may write', format('%s: %s to %s', n.object, n.privilege_type, n.who)
        FROM named n WHERE n.kind = 'sequence'
        UNION ALL
        SELECT 'SELECT is granted only on the columns of the API', format('%s to %s', n.object, n.who)
        FROM named n
        WHERE n.privilege_type = 'SELECT' AND n.kind IN ('table', 'column')
          AND NOT EXISTS (SELECT FROM allowed_columns a WHERE a.role = n.grantee AND a.tab = n.name AND a.col IS NOT DISTINCT FROM n.col)
        UNION ALL
        SELECT 'functions are granted only to the levels of the API', format('%s to %s', n.object, n.who)
        FROM named n
        WHERE n.kind = 'function' AND NOT EXISTS (SELECT FROM allowed_functions a WHERE a.role = n.grantee AND a.func = n.name)
        UNION ALL
        -- A renamed role is noted by its old name until the next note; it has its level.
        SELECT 'remembered grants belong to roles that exist',
               format('%s (%s): %s', g.role_name, g.level,
                      CASE WHEN sec.holders_are_known() THEN 'no role has this level by this name any more: sec.revoke_api() forgets it'
                           ELSE 'restored without privileges: app.migrate() gives it to the role of that time' END)
        FROM sec.api_grants g
        WHERE NOT EXISTS (SELECT FROM held h JOIN pg_roles r ON r.oid = h.role
                          WHERE h.level = g.level AND (r.rolname = g.role_name OR (h.role = g.role_oid AND g.cluster = sec.cluster())))
          AND (sec.holders_are_known() OR EXISTS (SELECT FROM pg_roles r WHERE r.oid = sec.noted_role(g.role_name, g.role_oid, g.cluster)))
        UNION ALL
        SELECT 'remembered grants belong to roles that exist',
               format('%s (%s): remembered, but may not execute its marker', pg_get_userbyid(h.role), h.level)
        FROM held h WHERE NOT EXISTS (SELECT FROM in_force f WHERE f.role = h.role AND f.level = h.level)
        UNION ALL
        SELECT 'views run with the rights of who asks (security_invoker)', r.name
        FROM relations r WHERE r.relkind = 'v'
          AND NOT coalesce(r.reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false)
        UNION ALL
        SELECT 'policies are those of mps, and only let read', format('%s on %s', coalesce(f.policy, p.policy), coalesce(f.tab, p.tab))
        FROM policies p FULL JOIN found_policies f ON f.tab = p.tab AND f.policy = p.policy
        WHERE p.policy IS NULL OR f.policy IS NULL OR f.polcmd <> 'r' OR NOT f.for_everyone OR f.condition IS DISTINCT FROM p.condition
        UNION ALL
        -- As it was declared: one that fires at other times, or under a condition, stands for nothing.
        SELECT CASE x.func WHEN 'sec.append_only' THEN 'the event log is append-only' ELSE 'settings and levels announce their changes' END,
               format('%s has no enabled trigger %s', x.tab, x.trig)
        FROM sec.triggers_that_stand() x
        WHERE NOT EXISTS (SELECT FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid AND r.name = x.tab
                          WHERE t.tgname = x.trig AND t.tgenabled = 'A' AND t.tgtype = x.fires AND t.tgqual IS NULL
                            AND cardinality(t.tgattr::int2[]) = 0 AND NOT t.tgdeferrable
                            AND t.tgfoid IN (SELECT f.oid FROM functions f WHERE f.func = x.func))
        UNION ALL
        SELECT 'code of others on the tables fixes its search_path', c.what FROM sec.careless_code() c
        UNION ALL
        SELECT 'sequences give each number once, in the order of time', o.problem FROM sec.odd_sequences() o
        UNION ALL
        SELECT p.rule, p.problem FROM sec.powers() p
        UNION ALL
        SELECT g.rule, g.problem FROM sec.odd_grants() g
        UNION ALL
        SELECT 'secrets of payment gateways are sealed', s.problem FROM sec.plain_secrets() s
    ),
    rules (place, rule) AS (
        VALUES (1, 'row-level security is on for every table'),
               (2, 'nothing is granted to PUBLIC or anon'),
               (3, 'no role but the owner may write'),
               (4, 'SELECT is granted only on the columns of the API'),
               (5, 'functions are granted only to the levels of the API'),
               (6, 'SECURITY DEFINER functions belong to mps_owner'),
               (7, 'SECURITY DEFINER functions have a fixed search_path ending in pg_temp'),
               (8, 'mps_owner cannot log in, is no superuser and has no members'),
               (9, 'every relation and schema belongs to mps_owner'),
               (10, 'views run with the rights of who asks (security_invoker)'),
               (11, 'policies are those of mps, and only let read'),
               (12, 'no client role inherits from a backend or operator role'),
               (13, 'the schemas hold no functions but those of mps'),
               (14, 'the event log is append-only'),
               (15, 'settings and levels announce their changes'),
               (16, 'native functions see who calls them (are not SECURITY DEFINER)'),
               (17, 'clients create nothing where backends may find it'),
               (18, 'code of others on the tables fixes its search_path'),
               (19, 'remembered grants belong to roles that exist'),
               (20, 'sequences give each number once, in the order of time'),
               -- Superusers and operators are known: see sec.powers().
               (21, 'nobody else makes himself a member of mps_owner'),
               (22, 'nobody else passes on levels of the API'),
               (23, 'nobody else reaches files and programs of the server'),
               (24, 'nobody else reads or writes every table'),
               (25, 'whoever has a level of the API cannot read past it'),
               (26, 'nobody else creates in pg_catalog'),
               (27, 'schemas are used only by the levels of the API'),
               (28, 'levels and mps_owner have all their rights'),
               (29, 'secrets of payment gateways are sealed')
    )
    SELECT r.rule, count(f.rule) = 0, coalesce(string_agg(f.problem, '; ' ORDER BY f.problem), 'ok')
    FROM rules r LEFT JOIN findings f ON f.rule = r.rule GROUP BY r.place, r.rule ORDER BY r.place;
END
$check$;
COMMENT ON FUNCTION sec.security_check() IS
    E'One row per rule of the security model: whether it holds, and what breaks it.\n'
    'For operators.\n'
    'Level: operator.\n'
    'Results: rule, ok (whether it holds), detail (what breaks it).\n'
    'Errors: SCHEMA_OUTDATED.';
CREATE FUNCTION sec.powers() RETURNS TABLE (rule text, problem text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    WITH
    held AS MATERIALIZED (SELECT h.role::oid AS role, h.level FROM sec.levels_held() h),
    -- Superusers may do all of this. A role that was made an operator, and nothing else, is somebody who administers: known. Roles
    -- that come with the server are no persons, and mps_owner has a rule of its own.
    roles AS (
        SELECT r.oid, r.rolname, r.rolcreaterole, r.rolreplication, r.rolbypassrls,
               has_function_privilege(r.oid, 'sec.level_client()', 'EXECUTE') AS is_client,
               has_function_privilege(r.oid, 'sec.level_backend()', 'EXECUTE') AS is_backend,
               has_function_privilege(r.oid, 'sec.level_gateway()', 'EXECUTE') AS is_gateway,
               EXISTS (SELECT FROM held h WHERE h.role = r.oid AND h.level = 'operator')
                 AND NOT EXISTS (SELECT FROM held h WHERE h.role = r.oid AND h.level IN ('client', 'backend', 'gateway')) AS is_known
        FROM pg_roles r WHERE NOT r.rolsuper AND r.oid >= 16384 AND r.oid <> sec.owner()
    ),
    strangers AS (SELECT r.* FROM roles r WHERE NOT r.is_known),
    -- Itself, and whom it may become.
    becomes AS (
        SELECT s.oid, s.rolname, s.is_client, s.is_backend, s.is_gateway, r.oid AS as_oid,
               CASE WHEN r.oid <> s.oid THEN format(' as %s', r.rolname) ELSE '' END AS how
        FROM strangers s JOIN roles r ON pg_has_role(s.oid, r.oid, 'MEMBER')
    )
    SELECT 'nobody else makes himself a member of mps_owner',
           format('%s%s has CREATEROLE, which before PostgreSQL 16 grants itself every role', b.rolname, b.how)
    FROM becomes b JOIN roles r ON r.oid = b.as_oid
    WHERE r.rolcreaterole AND current_setting('server_version_num')::integer < 160000
    UNION ALL
    -- Its creator, from 16 on; and whoever was given it so.
    SELECT 'nobody else makes himself a member of mps_owner', format('%s has ADMIN OPTION on %s', s.rolname, sec.owner())
    FROM strangers s JOIN pg_auth_members m ON m.member = s.oid AND m.admin_option AND m.roleid = sec.owner()
    UNION ALL
    SELECT 'nobody else passes on levels of the API', format('%s has ADMIN OPTION on %s', s.rolname, pg_get_userbyid(m.roleid))
    FROM strangers s JOIN pg_auth_members m ON m.member = s.oid AND m.admin_option
    WHERE m.roleid IN (SELECT h.role FROM held h)
    UNION ALL
    SELECT 'nobody else reaches files and programs of the server', format('%s is a member of %s', s.rolname, p.rolname)
    FROM strangers s
    JOIN pg_roles p ON p.rolname IN ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files') AND p.oid < 16384
    WHERE pg_has_role(s.oid, p.oid, 'MEMBER')
    UNION ALL
    SELECT 'nobody else reads or writes every table', format('%s is a member of %s', s.rolname, p.rolname)
    FROM strangers s JOIN pg_roles p ON p.rolname IN ('pg_read_all_data', 'pg_write_all_data') AND p.oid < 16384
    WHERE pg_has_role(s.oid, p.oid, 'MEMBER')
    UNION ALL
    -- A standby's role replicates, and a backend's view of the tables may be that of all rows: neither may be a client's.
    SELECT 'whoever has a level of the API cannot read past it', format('%s%s has REPLICATION', b.rolname, b.how)
    FROM becomes b JOIN roles r ON r.oid = b.as_oid
    WHERE r.rolreplication AND (b.is_client OR b.is_backend OR b.is_gateway)
    UNION ALL
    SELECT 'whoever has a level of the API cannot read past it', format('%s%s bypasses row-level security', b.rolname, b.how)
    FROM becomes b JOIN roles r ON r.oid = b.as_oid
    WHERE r.rolbypassrls AND NOT r.is_backend AND b.is_client AND NOT b.is_backend
    UNION ALL
    SELECT 'whoever has a level of the API cannot read past it', format('%s may become %s, a superuser', s.rolname, r.rolname)
    FROM strangers s JOIN pg_roles r ON r.rolsuper AND pg_has_role(s.oid, r.oid, 'MEMBER')
    WHERE s.is_client OR s.is_backend OR s.is_gateway
    UNION ALL
    SELECT 'nobody else creates in pg_catalog',
           format('%s may CREATE in %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END, n.nspname)
    FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    WHERE n.nspname IN ('pg_catalog', 'information_schema') AND a.privilege_type = 'CREATE'
      AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = a.grantee AND r.rolsuper)
$$;
COMMENT ON FUNCTION sec.powers() IS
    'Which roles can do what the rules of mps cannot keep from them, by the rule of sec.security_check() that says so. Internal.';
CREATE FUNCTION sec.odd_grants() RETURNS TABLE (rule text, problem text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    WITH
    -- Whoever may not execute the marker has a rule of its own.
    held AS MATERIALIZED (
        SELECT h.role::oid AS role, h.level,
               EXISTS (SELECT FROM sec.levels_in_force() f WHERE (f.role, f.level) = (h.role, h.level)) AS in_force
        FROM sec.levels_held() h
    ),
    owner AS (SELECT sec.owner()::oid AS oid),
    spaces AS (
        SELECT n.oid, n.nspname::text AS name, n.nspacl, n.nspowner
        FROM pg_namespace n WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway')
    ),
    -- Those of app are everybody's.
    types AS (
        SELECT t.oid, t.oid::regtype::text AS name, t.typacl, t.typowner
        FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace WHERE s.name = 'mps_gateway' AND t.typtype = 'd'
    ),
    relations AS (
        SELECT c.oid, format('%I.%I', s.name, c.relname) AS name, c.relacl, c.relowner
        FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
    ),
    -- What is another's has a rule of its own.
    functions AS (
        SELECT p.oid, p.oid::regprocedure::text AS name, p.proacl, p.proowner, s.name AS space,
               format('%s.%s', CASE s.name WHEN 'mps_compat' THEN 'app' ELSE s.name END, p.proname) AS func
        FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace JOIN owner o ON o.oid = p.proowner
    ),
    executes AS MATERIALIZED (
        SELECT h.role, f.oid, f.name, f.space, bool_or(h.in_force) AS in_force FROM held h
        JOIN sec.api_functions() a ON a.level = h.level OR (h.level = 'backend' AND a.level = 'client')
        JOIN functions f ON f.func = a.func GROUP BY h.role, f.oid, f.name, f.space
    ),
    reads AS (
        SELECT DISTINCT h.role, r.oid, r.name, t.attname::text AS col, t.attnum FROM held h
        CROSS JOIN LATERAL (SELECT * FROM sec.api_columns() UNION ALL SELECT * FROM sec.backend_columns() WHERE h.level = 'backend') c
        JOIN relations r ON r.name = c.tab
        LEFT JOIN LATERAL string_to_table(c.cols, ',') x(col) ON true
        LEFT JOIN pg_attribute t ON t.attrelid = r.oid AND t.attname = trim(x.col)
        WHERE h.level IN ('client', 'backend') AND h.in_force
    ),
    uses AS (
        SELECT h.role, 'schema' AS kind, s.name, h.in_force FROM held h
        JOIN spaces s ON CASE h.level WHEN 'gateway' THEN s.name = 'mps_gateway' ELSE s.name IN ('app', 'audit', 'sec') END
        UNION ALL
        SELECT e.role, 'schema', e.space, e.in_force FROM executes e WHERE e.space = 'mps_compat'
        UNION ALL
        SELECT h.role, 'type', t.name, h.in_force FROM held h JOIN types t ON h.level = 'gateway'
    ),
    missing (role, what) AS (
        SELECT e.role, 'EXECUTE ' || e.name FROM executes e
        WHERE e.in_force AND NOT has_function_privilege(e.role, e.oid, 'EXECUTE')
        UNION ALL
        SELECT r.role, format('SELECT %s', concat_ws('.', r.name, r.col)) FROM reads r
        WHERE NOT CASE WHEN r.col IS NULL THEN has_table_privilege(r.role, r.oid, 'SELECT')
                       ELSE has_column_privilege(r.role, r.oid, r.attnum, 'SELECT') END
        UNION ALL
        SELECT DISTINCT u.role, format('USAGE %s %s', u.kind, u.name) FROM uses u
        WHERE u.in_force AND NOT CASE u.kind WHEN 'schema' THEN has_schema_privilege(u.role, u.name, 'USAGE')
                                             ELSE has_type_privilege(u.role, u.name, 'USAGE') END
        UNION ALL
        -- An owner can take from itself. What it lacks on tables and sequences, app.health() says.
        SELECT o.oid, 'EXECUTE ' || f.name FROM owner o, functions f WHERE NOT has_function_privilege(o.oid, f.oid, 'EXECUTE')
        UNION ALL
        SELECT o.oid, format('%s schema %s', p.privilege, s.name)
        FROM owner o JOIN spaces s ON s.nspowner = o.oid, unnest(ARRAY['USAGE', 'CREATE']) p (privilege)
        WHERE NOT has_schema_privilege(o.oid, s.oid, p.privilege)
        UNION ALL
        SELECT o.oid, 'USAGE type ' || t.name FROM owner o JOIN types t ON t.typowner = o.oid
        WHERE NOT has_type_privilege(o.oid, t.oid, 'USAGE')
    ),
    privileges AS (
        SELECT 'schema ' || s.name AS object, s.nspowner AS owner, a.* FROM spaces s, aclexplode(s.nspacl) a
        UNION ALL
        SELECT 'type ' || t.name, t.typowner, a.* FROM types t, aclexplode(t.typacl) a
        UNION ALL
        SELECT r.name, r.relowner, a.* FROM relations r, aclexplode(r.relacl) a
        UNION ALL
        SELECT format('%s.%s', r.name, t.attname), r.relowner, a.*
        FROM relations r JOIN pg_attribute t ON t.attrelid = r.oid, aclexplode(t.attacl) a
        UNION ALL
        SELECT f.name, f.proowner, a.* FROM functions f, aclexplode(f.proacl) a
    )
    SELECT 'levels and mps_owner have all their rights', format('%s lacks %s', m.role::regrole, m.what) FROM missing m
    UNION ALL
    SELECT 'schemas are used only by the levels of the API', format('%s: USAGE to %s', p.object, pg_get_userbyid(p.grantee))
    FROM privileges p
    -- PUBLIC and anon have a rule of their own, too.
    WHERE p.object ~ '^(schema|type) ' AND p.privilege_type = 'USAGE'
      AND p.grantee NOT IN (0, p.owner) AND pg_get_userbyid(p.grantee) <> 'anon'
      AND NOT EXISTS (SELECT FROM uses u WHERE u.role = p.grantee AND format('%s %s', u.kind, u.name) = p.object)
    UNION ALL
    SELECT 'nobody else passes on levels of the API', format('%s may pass on %s %s', pg_get_userbyid(p.grantee), p.privilege_type, p.object)
    FROM privileges p WHERE p.is_grantable AND p.grantee <> p.owner
$$;
COMMENT ON FUNCTION sec.odd_grants() IS
    'Privileges that a level should have and has not, that can be passed on, and on schemas that are nobody''s business; by the rule '
    'of sec.security_check() that says so. Internal.';
CREATE FUNCTION sec.published_without_identity() RETURNS TABLE (relation regclass, problem text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    WITH
    published AS (
        SELECT p.pubname, c.oid, c.relreplident, r.prrelid, r.prattrs, r.prqual,
               (SELECT i.indkey FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid
                  AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END) AS identity
        FROM pg_publication p
        JOIN pg_class c ON c.relkind = 'r'
             AND c.relnamespace IN (SELECT n.oid FROM pg_namespace n WHERE n.nspname IN ('app', 'audit', 'sec'))
        LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid
             AND (r.prrelid = c.oid OR r.prrelid IN (SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = c.oid))
        WHERE (p.pubupdate OR p.pubdelete)
          AND (p.puballtables OR r.oid IS NOT NULL
               OR EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace))
    ),
    named AS (
        SELECT p.*,
               ARRAY(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = p.oid AND a.attnum = ANY (p.identity::int2[])) AS key,
               ARRAY(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = p.prrelid AND a.attnum = ANY (p.prattrs::int2[])) AS listed,
               ARRAY(SELECT a.attname FROM regexp_matches(p.prqual::text, ':varattno (\d+)', 'g') f
                     JOIN pg_attribute a ON a.attrelid = p.prrelid AND a.attnum = f[1]::integer) AS filtered
        FROM published p
    )
    SELECT n.oid::regclass,
           format('%s is in publication %s %s: no row of it can be changed', n.oid::regclass, n.pubname,
                  CASE WHEN n.relreplident <> 'f' AND n.identity IS NULL THEN 'without a replica identity'
                       WHEN n.prattrs IS NOT NULL AND (n.relreplident = 'f' OR NOT n.key <@ n.listed)
                           THEN 'with a column list that lacks its replica identity'
                       ELSE 'with a row filter on columns outside its replica identity' END)
    FROM named n
    WHERE (n.relreplident <> 'f' AND n.identity IS NULL)
       OR (n.prattrs IS NOT NULL AND (n.relreplident = 'f' OR NOT n.key <@ n.listed))
       OR (n.prqual IS NOT NULL AND n.relreplident <> 'f' AND NOT n.filtered <@ n.key)
$$;
COMMENT ON FUNCTION sec.published_without_identity() IS
    'Tables of mps that are in a publication of changes in such a way that the server refuses every UPDATE and DELETE. Internal.';
CREATE FUNCTION sec.table_problems() RETURNS TABLE (problem text, is_unreadable boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    WITH
    relations AS (
        SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, n.nspname, c.relkind, c.relpersistence, c.relispartition,
               -- Nothing changes a row of these.
               c.relname = 'seals' OR EXISTS (SELECT FROM sec.monthly_tables() t WHERE t.is_append_only
                                                AND c.relname ~ format('^%s(_[0-9]{6})?$', t.tab)) AS is_append_only
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        -- Another's are nobody's business here; one of ours that became another's stops every call, which says so.
        WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'S') AND c.relowner = sec.owner()
    )
    SELECT format('%s is UNLOGGED, and a crash empties it: ALTER %s %s SET LOGGED',
                  r.name, CASE r.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, r.name), false
    FROM relations r WHERE r.relpersistence = 'u'
    UNION ALL
    SELECT format('%s is detached: no statement and no book has what is in it', r.name), false
    FROM relations r
    WHERE EXISTS (SELECT FROM sec.monthly_tables() t WHERE r.name ~ format('^%s\.%s_[0-9]{6}$', t.nsp, t.tab))
      AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = r.oid AND NOT i.inhdetachpending)
    UNION ALL
    SELECT format('%s may not %s %s: GRANT it', sec.owner(), string_agg(p.privilege, ', ' ORDER BY p.privilege), r.name),
           bool_or(p.privilege = 'SELECT')
    FROM relations r
    JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'USAGE']) p (privilege)
         ON CASE r.relkind WHEN 'S' THEN p.privilege IN ('SELECT', 'UPDATE', 'USAGE')
                           ELSE p.privilege <> 'USAGE' AND NOT (r.is_append_only AND p.privilege IN ('UPDATE', 'DELETE')) END
    WHERE r.nspname <> 'mps_archive'
      AND NOT CASE r.relkind WHEN 'S' THEN has_sequence_privilege(sec.owner(), r.oid, p.privilege)
                             ELSE has_table_privilege(sec.owner(), r.oid, p.privilege) END
    GROUP BY r.name
    UNION ALL
    SELECT format('a trigger of %1$s that mps relies on does not fire: ALTER TABLE %1$s ENABLE TRIGGER %2$s',
                  r.name, string_agg(quote_ident(t.tgname), ', ' ORDER BY t.tgname)), false
    FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid JOIN pg_proc f ON f.oid = t.tgfoid
    WHERE t.tgenabled IN ('D', 'R') AND (t.tgisinternal OR f.pronamespace = 'sec'::regnamespace) AND r.nspname <> 'mps_archive'
    GROUP BY r.name
    UNION ALL
    -- One of this name that calls something else, or at another time, is somebody else's.
    SELECT CASE WHEN t.oid IS NULL THEN format('%s lacks its trigger %s, which %s: SELECT app.migrate()', x.tab, x.trig, x.does)
                ELSE format('trigger %1$s of %2$s is not the one of mps: DROP TRIGGER %1$s ON %2$s (or rename another''s), then '
                            'SELECT app.migrate()', x.trig, x.tab) END, false
    FROM (VALUES ('app.external_orders', 'mps_refuse_old_claim', 'holds calls of earlier releases to the rules of now',
                  'BEFORE INSERT ON app.external_orders FOR EACH ROW WHEN new.scope = 2 OR new.scope = 3 AND new.scope_no <> 0 '
                  'EXECUTE FUNCTION sec.refuse_old_claim'),
                 ('app.transactions', 'mps_count_recharge', 'holds calls of earlier releases to the rules of now',
                  'AFTER INSERT OR UPDATE OF status ON app.transactions FOR EACH ROW WHEN new.tx_type = ''recharge''::app.tx_type '
                  'EXECUTE FUNCTION sec.count_recharge'),
                 ('app.membership_levels', 'audited', 'writes what changes into the log',
                  'AFTER INSERT OR DELETE OR UPDATE ON app.membership_levels FOR EACH ROW EXECUTE FUNCTION sec.level_changed'),
                 ('app.membership_levels', 'audited_truncate', 'writes what changes into the log',
                  'AFTER TRUNCATE ON app.membership_levels FOR EACH STATEMENT EXECUTE FUNCTION sec.level_changed'))
         x (tab, trig, does, shown)
    LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(x.tab) AND t.tgname = x.trig
    -- As the server shows it, without brackets.
    WHERE replace(replace(pg_get_triggerdef(t.oid), '(', ''), ')', '') IS DISTINCT FROM format('CREATE TRIGGER %s %s', x.trig, x.shown)
    UNION ALL
    SELECT p.problem, false FROM sec.published_without_identity() p JOIN relations r ON r.oid = p.relation WHERE NOT r.is_append_only
$$;
COMMENT ON FUNCTION sec.table_problems() IS
    E'What stops calls, or will lose rows, in how the tables of mps are set up now.\n'
    'A sentence each, and whether a table cannot be read: unlogged tables and sequences, detached months, rights that mps_owner '
    'lacks, missing and disabled triggers, publications. Internal: app.health() shows it.';
CREATE FUNCTION sec.next_event_id() RETURNS bigint
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'next_event_id_wrapper';
COMMENT ON FUNCTION sec.next_event_id() IS
    'The next id of an audit event, never one that this session took in store (CACHE): seals rely on it that what is drawn later is '
    'higher. Internal.';
CREATE FUNCTION sec.odd_sequences() RETURNS TABLE (problem text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%1$s.%2$s has %3$s: ALTER SEQUENCE %1$s.%2$s %4$s', n.nspname, c.relname, x.what, x.mend)
    FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace,
         LATERAL (VALUES
             (q.seqcache <> 1, 'CACHE 1',
              CASE WHEN c.relname = 'event_id_seq' THEN format('CACHE %s, so every event uses up as many ids', q.seqcache)
                   ELSE format('CACHE %s, so every session takes as many numbers in store: they are not in the order of time, and those it '
                               'does not use are lost', q.seqcache) END),
             (q.seqincrement < 1, 'INCREMENT 1', format('INCREMENT %s, so numbers would come again', q.seqincrement)),
             (q.seqcycle, 'NO CYCLE', 'CYCLE, so numbers would come again')) x (is_so, mend, what)
    WHERE n.nspname IN ('app', 'audit') AND x.is_so
$$;
COMMENT ON FUNCTION sec.odd_sequences() IS
    'Sequences of mps that somebody has altered, what that does, and the statement that mends it. Internal: app.health() and '
    'sec.security_check() ask it.';
CREATE FUNCTION sec.cut(p_else text) RETURNS xid8
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        -- This transaction's id is from before the point: others that began since could have looked before it was noted.
        PERFORM sec.raise('STATUS_CONFLICT', p_else);
    END IF;
    -- The snapshot's xmax would not do: it is the next after the last one that ended, and transactions beyond it may be running.
    RETURN pg_current_xact_id();
END
$$;
COMMENT ON FUNCTION sec.cut(text) IS
    'Takes a cut: every transaction that could have looked before this call has an id below the one returned, or none. Must come before '
    'anything that writes. Errors: STATUS_CONFLICT with p_else as its detail, this transaction has an id already. Internal.';
CREATE FUNCTION sec.cut_has_passed(p_cut xid8) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_snapshot_xmin(pg_current_snapshot()) >= p_cut
$$;
COMMENT ON FUNCTION sec.cut_has_passed(xid8) IS
    'Whether every transaction with an id below a cut has ended, and what it wrote is to be seen. NULL for no cut. Internal.';
CREATE FUNCTION sec.cut_is_of_here(p_cut xid8) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p_cut < pg_snapshot_xmax(pg_current_snapshot())
$$;
COMMENT ON FUNCTION sec.cut_is_of_here(xid8) IS
    'Whether a cut that is kept in a table can be of this cluster: ids of another, which a dump brings along, may be far ahead, and are to '
    'be taken anew. NULL for no cut. Internal.';
CREATE FUNCTION sec.outdated_view() RETURNS text
    -- STABLE, so that its own queries of the catalogs are answered as of the caller's snapshot. Names as the server prints them.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off AS $$
DECLARE
    v record;
BEGIN
    -- First the locks that reading takes, on every table that is looked at below, and all their months; they are kept until the
    -- transaction ends. So nothing is archived, truncated or rewritten from here on, and what was is found. In the order of
    -- app.archive_month_batch().
    FOR v IN SELECT t.tab AS name FROM sec.tables() t
             LEFT JOIN sec.monthly_tables() WITH ORDINALITY m (nsp, tab, pk, is_append_only, nth) ON t.tab = format('%I.%I', m.nsp, m.tab)
             ORDER BY m.nth NULLS LAST, t.tab
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', v.name);
    END LOOP;
    BEGIN
        FOR v IN SELECT c.relname FROM pg_class c
                 WHERE c.relnamespace = to_regnamespace('mps_archive') AND c.relkind = 'r'
                   AND EXISTS (SELECT FROM sec.monthly_tables() t WHERE c.relname ~ format('^%s_[0-9]{6}$', t.tab))
                 ORDER BY 1
        LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM mps_archive.%I)', v.relname);
        END LOOP;
    EXCEPTION WHEN undefined_table THEN
        RETURN 'mps_archive.' || v.relname;
    END;

    RETURN (
        WITH parents (oid) AS (SELECT format('%I.%I', t.nsp, t.tab)::regclass FROM sec.monthly_tables() t),
        months_then AS (SELECT i.inhrelid AS oid FROM parents p JOIN pg_inherits i ON i.inhparent = p.oid),
        months_now AS (SELECT t.relid::oid AS oid FROM parents p, pg_partition_tree(p.oid) t WHERE t.level = 1)
        SELECT min(x.name) FROM (
            -- Was moved, dropped, truncated or rewritten.
            SELECT format('%I.%I', n.nspname, c.relname) AS name
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname IN ('app', 'audit', 'mps_archive') AND c.relkind = 'r'
              AND (c.oid::regclass::text, pg_relation_filenode(c.oid))
                  IS DISTINCT FROM (format('%I.%I', n.nspname, c.relname), c.relfilenode)
            UNION ALL
            -- Was attached or detached. A month that was made since is not in this view of pg_class, and none of its rows is in view.
            SELECT c.oid::regclass::text
            FROM pg_class c
            WHERE (c.oid IN (SELECT m.oid FROM months_then m)) <> (c.oid IN (SELECT m.oid FROM months_now m))) x);
END
$$;
COMMENT ON FUNCTION sec.outdated_view() IS
    'A table that was archived, detached, truncated or rewritten after the caller''s snapshot was taken, so that what a query sees in '
    'it is neither of then nor of now; NULL: none, and none will be before the transaction ends. Internal: app.verify_books() and '
    'audit.verify() ask it.';
CREATE FUNCTION sec.outdated_view_row(p_changed text) RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'snapshot'::text, NULL::boolean,
           format('nothing was checked: %s was archived or changed after this transaction or statement began; ask again in a new one',
                  p_changed)
$$;
COMMENT ON FUNCTION sec.outdated_view_row(text) IS
    'The only row of app.verify_books() and audit.verify() where sec.outdated_view() names a table. Internal.';
CREATE FUNCTION sec.install_mode() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.operating_mode') IS NULL THEN
        CREATE TABLE app.operating_mode (
            singleton boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (singleton),
            mode      text        NOT NULL CHECK (mode IN ('normal', 'read_only')),
            since     timestamptz NOT NULL,
            reason    text        CHECK (length(reason) BETWEEN 1 AND 500),
            CHECK (mode = 'normal' OR reason IS NOT NULL)
        );
        COMMENT ON TABLE app.operating_mode IS
            'Whether what writes is refused: app.set_mode() changes it. Without a row the mode is normal, and always was';
        COMMENT ON COLUMN app.operating_mode.since IS 'When this mode began.';
        COMMENT ON COLUMN app.operating_mode.reason IS 'What whoever is refused is told, word for word.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_mode() IS 'Makes the table of the mode, where it is missing. Internal: sec.install() calls it.';
CREATE FUNCTION sec.standing_triggers_of_kernel() RETURNS TABLE (tab text, trig text, events text, each text, func text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.operating_mode', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
           ('app.operating_mode', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed')
$$;
COMMENT ON FUNCTION sec.standing_triggers_of_kernel() IS 'The standing triggers of the kernel. Internal: sec.standing_triggers().';
CREATE FUNCTION sec.refuse_read_only() RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'refuse_read_only_wrapper';
COMMENT ON FUNCTION sec.refuse_read_only() IS
    'Refuses while read_only is on, and has app.set_mode() wait for this transaction: for the SQL parts of mps that write, before they '
    'do. Internal. Errors: READ_ONLY, SCHEMA_OUTDATED.';
CREATE FUNCTION sec.announce_mode() RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'announce_mode_wrapper';
COMMENT ON FUNCTION sec.announce_mode() IS
    'Has every backend look at the mode again, at once, also where this transaction is rolled back. Internal: sec.change_mode() calls it.';
CREATE FUNCTION sec.jobs_rest() RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE NOTICE 'standby: nothing to do';
        RETURN true;
    END IF;
    PERFORM sec.require_sound_tables();
    IF to_regclass('app.operating_mode') IS NOT NULL THEN
        SELECT m.since, m.reason INTO v FROM app.operating_mode m WHERE m.mode = 'read_only';
        IF FOUND THEN
            RAISE NOTICE 'read_only since %: nothing to do (%)', date_trunc('second', v.since), v.reason;
            RETURN true;
        END IF;
    END IF;
    RETURN false;
END
$$;
COMMENT ON FUNCTION sec.jobs_rest() IS
    E'Whether there is nothing to do for a job, on a standby or while read_only is on; says so. Internal.\n'
    'Level: operator.';
CREATE FUNCTION sec.who_writes() RETURNS text
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    -- Ours alone: who vacuums or reads is no writer. Who makes a month writes into tables that only itself can see.
    SELECT string_agg(DISTINCT coalesce('process ' || l.pid, 'a prepared transaction (pg_prepared_xacts)'), ', ')
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock')
      AND c.relnamespace::regnamespace::text IN ('app', 'audit') AND c.relkind IN ('r', 'p')
$$;
COMMENT ON FUNCTION sec.who_writes() IS
    'Who holds a writer''s lock on a table of mps at this moment; NULL: nobody. Internal: sec.wait_for_writers() asks it.';
CREATE FUNCTION sec.wait_for_writers() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- After how long whoever waits is told for whom.
    c_silence constant interval := '1 second';
    v_began constant timestamptz := clock_timestamp();
    v_patience constant interval := nullif(current_setting('lock_timeout')::interval, '0');
    v_waited interval;
    v_for text;
    v_said text;
BEGIN
    LOOP
        v_for := sec.who_writes();
        EXIT WHEN v_for IS NULL;
        v_waited := clock_timestamp() - v_began;
        IF v_waited > v_patience THEN
            PERFORM sec.raise('STATUS_CONFLICT', format('writers are still under way after lock_timeout: %s', v_for));
        ELSIF v_waited > c_silence AND v_for IS DISTINCT FROM v_said THEN
            RAISE NOTICE 'mps: waits for %', v_for;
            v_said := v_for;
        END IF;
        PERFORM pg_sleep(CASE WHEN v_waited > c_silence THEN 0.1 ELSE 0.005 END);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.wait_for_writers() IS
    'Waits until no other transaction holds a writer''s lock on a table of mps, as long as lock_timeout and statement_timeout allow. '
    'Holds nobody up. Internal. Errors: STATUS_CONFLICT.';
CREATE FUNCTION sec.change_mode(p_mode text, p_reason text)
    RETURNS TABLE (mode text, since timestamptz, reason text, changed boolean)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_was text;
    v_reason text;
    v_changed boolean;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'under READ COMMITTED only: SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
    ELSIF p_mode = 'read_only' AND pg_current_xact_id_if_assigned() IS NOT NULL THEN
        -- Somebody could be waiting for what this transaction has written, and this for them.
        PERFORM sec.raise('STATUS_CONFLICT', 'read_only is turned on first thing in a transaction');
    END IF;
    -- One change at a time. Whoever finds the stronger of the two knows that read_only is being turned on.
    IF p_mode = 'read_only' THEN
        LOCK TABLE app.operating_mode IN SHARE ROW EXCLUSIVE MODE;
    ELSE
        LOCK TABLE app.operating_mode IN SHARE UPDATE EXCLUSIVE MODE;
    END IF;
    SELECT m.mode, m.reason INTO v_was, v_reason FROM app.operating_mode m;
    v_was := coalesce(v_was, 'normal');
    IF p_mode = 'read_only' AND v_was = 'normal' THEN
        PERFORM sec.announce_mode();
        PERFORM sec.wait_for_writers();
    END IF;
    v_changed := p_mode <> v_was OR p_mode = 'read_only' AND p_reason <> v_reason;
    IF v_changed THEN
        INSERT INTO app.operating_mode AS m (mode, since, reason) VALUES (p_mode, clock_timestamp(), p_reason)
        ON CONFLICT (singleton) DO UPDATE SET mode = excluded.mode, reason = excluded.reason,
            since = CASE WHEN m.mode = excluded.mode THEN m.since ELSE excluded.since END;
    END IF;
    RETURN QUERY SELECT coalesce(m.mode, 'normal'), m.since, m.reason, v_changed
                 FROM (SELECT) one LEFT JOIN app.operating_mode m ON true;
END
$$;
COMMENT ON FUNCTION sec.change_mode(text, text) IS
    'Changes the mode, once no writer is under way any more. Internal: app.set_mode() calls it. Errors: STATUS_CONFLICT.';
CREATE FUNCTION app.set_mode(p_mode text, p_reason text DEFAULT NULL)
    RETURNS TABLE (mode text, since timestamptz, reason text, changed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_mode_wrapper';
COMMENT ON FUNCTION app.set_mode(text, text) IS
    E'Turns read_only on, for maintenance, or off again.\n'
    'p_mode: read_only refuses whatever writes, with READ_ONLY, while reads go on; normal ends that. p_reason: 1 to 500 characters, '
    'required for read_only; everybody who is refused is shown it. From the call on what is new is refused; it answers when the '
    'writers that were under way have ended, prepared transactions included, and after its commit nothing of mps changes until '
    'normal: no RPC writes, and jobs do nothing. What a superuser does by SQL, with grants, by ALTER EXTENSION UPDATE and '
    'app.migrate() goes on. Stays on over a restart, in a dump and on a standby that is promoted. Under READ COMMITTED, read_only '
    'first thing in a transaction. Waits at most lock_timeout, if that is set. Audited.\n'
    'Level: operator.\n'
    'Results: mode, since (NULL: it was never another), reason, changed (whether this call changed anything).\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT.';
CREATE FUNCTION sec.health_of_kernel() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'mode', false, format('read_only since %s (%s): what writes is refused until app.set_mode(''normal'')',
                                 date_trunc('second', m.since), m.reason)
    FROM app.operating_mode m WHERE m.mode = 'read_only'
$$;
COMMENT ON FUNCTION sec.health_of_kernel() IS
    'What app.health() says of the mode: only while it is read_only. Internal: sec.health_rows().';
CREATE FUNCTION sec.patience() RETURNS integer
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS 'SELECT 3';
COMMENT ON FUNCTION sec.patience() IS
    'After how many of its intervals without a run of a job somebody is told: it may miss two. Internal: app.health().';
CREATE OR REPLACE FUNCTION app.health() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off SET timezone = 'UTC' AS $$
DECLARE
    v record;
    v_answer text;
    v_message text;
    v_hint text;
BEGIN
    BEGIN
        PERFORM sec.refuse_outdated();
        PERFORM sec.require_sound_tables();
    EXCEPTION WHEN OTHERS THEN
        -- There is no more to say: the rest asks tables that an older release may not have, or whose rows are hidden from this
        -- function, too.
        GET STACKED DIAGNOSTICS v_answer = MESSAGE_TEXT, v_message = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
        RETURN QUERY
            SELECT x.name, false, x.what
            FROM (VALUES ('SCHEMA_OUTDATED', 'schema_version', v_message),
                         ('STATUS_CONFLICT', 'tables', format('%s. %s', v_message, v_hint))) x (answer, name, what)
            WHERE x.answer = v_answer;
        RETURN;
    END;
    SELECT string_agg(p.problem, '; ' ORDER BY p.problem) AS problems, coalesce(bool_or(p.is_unreadable), false) AS unreadable INTO v
    FROM sec.table_problems() p;
    RETURN QUERY SELECT 'tables'::text, v.problems IS NULL, coalesce(v.problems, 'as mps needs them');
    IF v.unreadable THEN
        RETURN;
    END IF;

    RETURN QUERY SELECT * FROM sec.health_rows();

    -- After a takeover without their values the sequences begin again: numbers would repeat.
    SELECT string_agg(format('%s gave %s, but %s is used', x.seq, x.given, x.used), '; ') AS behind INTO v
    FROM sec.sequence_states() x WHERE x.used > x.given;
    SELECT string_agg(o.problem, '; ' ORDER BY o.problem) INTO v_message FROM sec.odd_sequences() o;
    v_message := nullif(concat_ws('; ', v.behind || ': setval() them before anybody writes', v_message), '');
    RETURN QUERY SELECT 'sequences'::text, v_message IS NULL, coalesce(v_message, 'none is behind its table');

    RETURN QUERY
        SELECT 'job ' || coalesce(j.job, r.job),
               coalesce(coalesce(r.finished_at, r.started_at) > now() - sec.patience() * j.every, r.job IS NOT NULL AND j.job IS NULL),
               CASE WHEN r.job IS NULL THEN format('has never run: %s, by pg_cron (app.schedule_jobs()) or by the system''s cron, %s',
                                                   j.command, j.schedule)
                    ELSE format('%s %s ago, %s rows',
                                CASE WHEN r.finished_at IS NULL THEN 'began, but has not finished,' ELSE 'finished' END,
                                date_trunc('second', greatest(clock_timestamp() - coalesce(r.finished_at, r.started_at), interval '0')),
                                r.rows_done) END
        FROM sec.jobs() j FULL JOIN app.job_runs r ON r.job = j.job ORDER BY j.job IS NULL, 1;

    RETURN QUERY
        SELECT 'schema_version'::text, true, format('tables %s, extension %s', s.schema_version, coalesce(e.extversion, 'missing'))
        FROM (SELECT) one LEFT JOIN app.settings s ON true LEFT JOIN pg_extension e ON e.extname = 'mps';
END
$$;
COMMENT ON FUNCTION app.health() IS
    E'One row per thing to watch.\n'
    'How the tables are set up, months made ahead, whether the next one could be made, audit events not sealed, recharges nobody '
    'confirmed, closed cards that were credited, gateway money in suspense, sequences behind their tables, how many transaction '
    'numbers are given, the last run of each job, the version of the tables. For operators, also on a standby.\n'
    'Level: operator.\n'
    'Results: check_name, ok (whether nothing has to be done), detail.';
CREATE OR REPLACE FUNCTION app.migrate() RETURNS integer
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'migrate_wrapper';
COMMENT ON FUNCTION app.migrate() IS
    E'Brings the tables up to this library, after a dump of an older release was restored; returns the schema version.\n'
    'Again: mends what calls of an older release left behind. For a superuser.\n'
    'Errors: SCHEMA_OUTDATED where the tables are newer than the library, STATUS_CONFLICT under another isolation level than READ '
    'COMMITTED.';
CREATE OR REPLACE FUNCTION sec.migrate_tables() RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $migrate$
DECLARE
    c_version constant integer := 3;
    -- The last version whose step changes tables that calls write to. A release that changes none holds nobody up.
    c_waits_before constant integer := 3;
    v_found integer;
BEGIN
    IF to_regclass('sec.api_grants') IS NOT NULL THEN
        -- One at a time: two would meet in the server's catalogs.
        LOCK TABLE sec.api_grants IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    -- From a dump of the schema alone there is no row yet.
    v_found := coalesce((SELECT s.schema_version FROM app.settings s), sec.default_version());
    IF v_found > c_version THEN
        PERFORM sec.raise('SCHEMA_OUTDATED',
                          format('the tables have schema version %s, the extension only %s: install a newer one', v_found, c_version));
    END IF;
    IF v_found < c_waits_before THEN
        PERFORM sec.wait_for_calls();
    ELSIF sec.recharges_are_astray() THEN
        PERFORM sec.wait_for_calls();
        PERFORM sec.count_pending();
    END IF;
    PERFORM sec.supersede_functions();
    PERFORM sec.install();
    IF v_found < 2 THEN
        -- 0.2.0: a change of a level leaves an audit event, and what a subscription applies to settings and levels is announced
        -- (both are triggers that were missing, so sec.install() has made them). A page costs the page for heavy users, too.
        PERFORM sec.expect_many_rows(i.inhrelid::regclass) FROM pg_inherits i WHERE i.inhparent = 'app.transactions'::regclass;
    END IF;
    IF v_found < 3 THEN
        -- 0.3.0: grants are remembered by role; sec.install() has called sec.migrate_api_grants(), before it granted anything.
        PERFORM sec.migrate_recharges();
        PERFORM sec.migrate_signup();
        PERFORM sec.migrate_days();
        PERFORM sec.migrate_views_3();
        PERFORM sec.migrate_comments_3();
    END IF;
    PERFORM sec.note_late_postings();
    PERFORM sec.drop_replaced_index();
    UPDATE app.settings SET schema_version = c_version WHERE schema_version <> c_version;
    -- At last: from here to the end of the transaction who does not know the settings yet waits.
    PERFORM sec.note_default_version();
    RETURN c_version;
END
$migrate$;
COMMENT ON FUNCTION sec.migrate_tables() IS
    'Brings the tables of an older release to this one, whichever it was; returns the schema version. Again: mends what calls of '
    'an older release left behind, and else changes nothing. Errors: SCHEMA_OUTDATED where they are newer, STATUS_CONFLICT under '
    'another isolation level than READ COMMITTED. Internal: app.migrate() and ALTER EXTENSION UPDATE call it.';
CREATE FUNCTION sec.note_default_version() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_version integer := (SELECT s.schema_version FROM app.settings s);
BEGIN
    IF v_version <> sec.default_version() THEN
        -- Without waiting: behind this would wait who does not know the settings yet, for as long as somebody reads them (pg_dump).
        LOCK TABLE app.settings IN ACCESS EXCLUSIVE MODE NOWAIT;
        PERFORM sec.run_ddl(format('ALTER TABLE app.settings ALTER COLUMN schema_version SET DEFAULT %s', v_version));
    END IF;
EXCEPTION WHEN lock_not_available THEN
    -- Another time: only a dump of the schema alone goes by it.
    NULL;
END
$$;
COMMENT ON FUNCTION sec.note_default_version() IS
    'Has a dump of the schema alone say which layout the tables have, if nobody is in the way; else the next app.maintain_partitions() '
    'does. Internal.';
CREATE FUNCTION sec.default_version() RETURNS integer
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_get_expr(d.adbin, d.adrelid)::integer
    FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE d.adrelid = to_regclass('app.settings') AND a.attname = 'schema_version'
$$;
COMMENT ON FUNCTION sec.default_version() IS
    'Which layout the tables have by the default of settings.schema_version, also where they have no rows. Internal.';
CREATE FUNCTION sec.wait_for_calls() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'under READ COMMITTED only: an older view would miss what calls write that are waited for');
    END IF;
    -- There can be millions: calls go on meanwhile. What they claim until they are waited for are a few more.
    PERFORM sec.mend_trade_numbers();
    IF sec.lacks_price_columns() THEN
        PERFORM sec.lock_out_readers();
    ELSE
        PERFORM sec.lock_calls('SHARE ROW EXCLUSIVE');
    END IF;
    PERFORM sec.mend_trade_numbers();
END
$$;
COMMENT ON FUNCTION sec.wait_for_calls() IS
    'Waits for every call that has claimed an order or written a transaction, and keeps others from it until the end of the '
    'transaction; mends trade numbers in between. Errors: STATUS_CONFLICT under another isolation level than READ COMMITTED. '
    'Internal: sec.migrate_tables() calls it.';
CREATE FUNCTION sec.lock_calls(p_transactions text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- What calls under way have written is there to be seen once these are had. Settings first: a session that does not know
    -- them begins with them. Who comes later waits, and goes on as an older release does: app.external_orders and
    -- app.transactions have triggers for that.
    LOCK TABLE app.settings IN ACCESS EXCLUSIVE MODE;
    LOCK TABLE app.external_orders IN SHARE ROW EXCLUSIVE MODE;
    -- As whoever makes a month: months may have to be completed (sec.complete_months()).
    LOCK TABLE app.archived_months IN SHARE ROW EXCLUSIVE MODE;
    EXECUTE format('LOCK TABLE app.transactions IN %s MODE', p_transactions);
END
$$;
COMMENT ON FUNCTION sec.lock_calls(text) IS
    'The locks of sec.wait_for_calls(), that on app.transactions in the mode given. Internal.';
CREATE FUNCTION sec.lock_out_readers() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_patience interval := current_setting('lock_timeout')::interval;
    v_began timestamptz := clock_timestamp();
    v_tries integer := 0;
BEGIN
    -- Columns are added where nobody reads. A call that has read a transaction may wait for one of the other locks, so none of them
    -- is held for long without the others: who is in the way is let through, and then it is tried again.
    LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '300ms', true);
            PERFORM sec.lock_calls('ACCESS EXCLUSIVE');
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF v_patience > interval '0' AND clock_timestamp() - v_began > v_patience THEN
                RAISE;
            END IF;
        END;
        v_tries := v_tries + 1;
        -- No lock on a table is held here. Who waits for this transaction waits for a trade number that it has mended, and would keep
        -- what it has read for as long: a confirmation that is being repeated, and will be again.
        PERFORM pg_cancel_backend(l.pid) FROM pg_locks l
        WHERE l.locktype = 'transactionid' AND l.transactionid = pg_current_xact_id()::xid AND NOT l.granted;
        IF v_tries = 10 THEN
            RAISE NOTICE 'mps: waiting for who reads or writes app.transactions: see pg_locks';
        END IF;
        PERFORM pg_sleep(0.1 * least(v_tries, 10));
    END LOOP;
    PERFORM set_config('lock_timeout', (extract(epoch FROM v_patience) * 1000)::bigint::text, true);
END
$$;
COMMENT ON FUNCTION sec.lock_out_readers() IS
    'The locks of sec.wait_for_calls(), with readers of app.transactions kept out as well; all of them are had at once, or it is tried '
    'again, for as long as lock_timeout says. Internal.';
CREATE FUNCTION sec.migrate_views_3() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_view text;
BEGIN
    -- One that is a member of the extension was missing, and is new. A script replaces a view of the extension's own only: the
    -- others become that for the moment, because dropping them would take others' views that stand on them.
    FOR v_view IN
        SELECT x.name FROM (VALUES ('app.v_usage_logs'), ('app.v_reconciliation')) x (name)
        WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = x.name::regclass AND d.deptype = 'e')
    LOOP
        EXECUTE format('ALTER EXTENSION mps ADD VIEW %s', v_view);
        CASE v_view
            WHEN 'app.v_usage_logs' THEN PERFORM sec.make_usage_logs();
            WHEN 'app.v_reconciliation' THEN PERFORM sec.make_reconciliation();
        END CASE;
        EXECUTE format('ALTER EXTENSION mps DROP VIEW %s', v_view);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.migrate_views_3() IS
    'The views of 0.3.0 in the place of those of older releases. Internal: sec.migrate_tables() calls it.';
CREATE FUNCTION sec.migrate_comments_3() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_log regclass;
BEGIN
    -- What 0.3.0 says otherwise of columns that are as they were is said no more, and then anew, with what is new.
    FOR v_log IN SELECT 'audit.event_log'::regclass
                 UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = 'audit.event_log'::regclass LOOP
        EXECUTE format('COMMENT ON COLUMN %s.actor_role IS NULL', v_log);
    END LOOP;
    FOR v_log IN SELECT 'app.transactions'::regclass
                 UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = 'app.transactions'::regclass LOOP
        EXECUTE format('COMMENT ON COLUMN %s.final_amount IS NULL', v_log);
    END LOOP;
    IF obj_description('app.transactions'::regclass) LIKE 'Every payment, refund, recharge and adjustment,%' THEN
        EXECUTE format('COMMENT ON TABLE app.transactions IS %L',
                       replace(obj_description('app.transactions'::regclass), 'recharge and adjustment,',
                               'recharge, adjustment and withdrawal,'));
    END IF;
    COMMENT ON COLUMN app.external_orders.scope IS NULL;
    COMMENT ON COLUMN app.idempotency_keys.operation IS NULL;
    PERFORM sec.describe_columns();
END
$$;
COMMENT ON FUNCTION sec.migrate_comments_3() IS
    'Describes the columns that 0.3.0 added or says something else of. Internal: sec.migrate_tables() calls it.';
CREATE FUNCTION sec.superseded_functions() RETURNS TABLE (was text, now text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.confirm_recharge(text,numeric,text,jsonb)', 'app.confirm_recharge(text,numeric,text,jsonb,text)'),
           ('app.set_card_expiry(uuid,text,timestamp with time zone,text)',
            'app.set_card_expiry(uuid,text,timestamp with time zone,text,date)'),
           ('app.merchant_statement(text,timestamp with time zone,timestamp with time zone,text,integer)',
            'app.merchant_statement(text,timestamp with time zone,timestamp with time zone,text,integer,date)'),
           ('app.merchant_charge_by_qr(text,text,numeric,text,jsonb,text,text)',
            'app.merchant_charge_by_qr(text,text,numeric,text,jsonb,text,text,text,numeric)')
$$;
COMMENT ON FUNCTION sec.superseded_functions() IS
    'Functions of earlier releases that got other arguments, and what they are now. The first arguments of both are the same, by '
    'name and type. Internal.';
CREATE FUNCTION sec.install_compat() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
BEGIN
    IF to_regnamespace('mps_compat') IS NULL THEN
        CREATE SCHEMA mps_compat;
        PERFORM sec.strip_schema('mps_compat');
        COMMENT ON SCHEMA mps_compat IS 'MPS: functions as they were in earlier releases, for views and functions that still use them';
    END IF;
    IF (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'mps_compat') <> sec.owner() THEN
        -- New, or restored without owners; nothing in it may be a stranger's.
        IF EXISTS (SELECT FROM pg_depend d LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
                   WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'mps_compat'::regnamespace
                     AND NOT coalesce((SELECT r.rolsuper OR r.oid = sec.owner() FROM pg_roles r WHERE r.oid = p.proowner), false)) THEN
            PERFORM sec.raise('STATUS_CONFLICT', 'the schema mps_compat holds objects that are not of mps: rename it');
        END IF;
        EXECUTE format('ALTER SCHEMA mps_compat OWNER TO %s', sec.owner());
    END IF;
    FOR v IN SELECT p.oid::regprocedure AS func, p.proowner <> sec.owner() AS unowned, p.proacl IS NULL AS ungranted
             FROM pg_proc p WHERE p.pronamespace = 'mps_compat'::regnamespace
    LOOP
        IF v.unowned THEN
            EXECUTE format('ALTER FUNCTION %s OWNER TO %s', v.func, sec.owner());
        END IF;
        -- Restored without privileges: then everybody may execute it. Those of the levels come back with the levels.
        IF v.ungranted THEN
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', v.func);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.install_compat() IS
    'Makes the schema mps_compat where it is missing, and mps_owner the owner of what '
    'is in it, which is not everybody''s to execute. Internal.';
CREATE FUNCTION sec.forward_function(p_schema text, p_arguments text, p_types text[], p_like oid, p_to oid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v_like pg_proc;
    v_to text;
    v_arguments text;
    v_columns text;
BEGIN
    SELECT * INTO v_like FROM pg_proc p WHERE p.oid = p_like;
    SELECT format('%s.%I', p.pronamespace::regnamespace, p.proname) INTO v_to FROM pg_proc p WHERE p.oid = p_to;
    SELECT string_agg(format('%I => $%s', a.name, a.n), ', ' ORDER BY a.n) INTO v_arguments
    FROM unnest(v_like.proargnames) WITH ORDINALITY a (name, n) WHERE a.n <= cardinality(p_types);
    SELECT string_agg(format('r.%I', v_like.proargnames[a.n]), ', ' ORDER BY a.n) INTO v_columns
    FROM unnest(v_like.proargmodes) WITH ORDINALITY a (mode, n) WHERE a.mode = 't';
    -- With the rights of who calls, so that nobody comes by it to what they may not call themselves. No SET: every name has
    -- its schema, and there is no operator.
    EXECUTE format('CREATE OR REPLACE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE sql %s SECURITY INVOKER AS %L',
                   p_schema, v_like.proname, p_arguments, pg_get_function_result(p_like),
                   CASE v_like.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
                   CASE WHEN v_columns IS NULL THEN format('SELECT %s(%s)', v_to, v_arguments)
                        ELSE format('SELECT %s FROM %s(%s) r', v_columns, v_to, v_arguments) END);
    EXECUTE format('COMMENT ON FUNCTION %I.%I(%s) IS %L', p_schema, v_like.proname, array_to_string(p_types, ','),
                   format('As %s was in an earlier release; calls the one of now. For views and functions made before; '
                          'to be dropped when nothing uses it.', v_to));
END
$$;
COMMENT ON FUNCTION sec.forward_function(text, text, text[], oid, oid) IS
    'Makes or replaces a function that does nothing but call p_to: with the arguments given and the name, result and argument '
    'names of p_like. Internal.';
CREATE FUNCTION sec.copy_execute(p_from oid, p_to oid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
    v_role text := current_setting('role');
    v_grant text;
BEGIN
    FOR v IN
        WITH RECURSIVE acl AS (
            SELECT a.grantor, a.grantee, a.is_grantable, p.proowner FROM pg_proc p, aclexplode(p.proacl) a
            WHERE p.oid = p_from AND a.grantee <> p.proowner
        ),
        -- Who grants must have been granted first.
        given AS (
            SELECT a.grantor, a.grantee, a.is_grantable, 0 AS depth FROM acl a WHERE a.grantor = a.proowner
            UNION ALL
            SELECT a.grantor, a.grantee, a.is_grantable, g.depth + 1 FROM given g JOIN acl a ON a.grantor = g.grantee WHERE g.is_grantable
        )
        SELECT g.grantor, g.grantee, g.is_grantable, max(g.depth) AS depth
        FROM given g GROUP BY g.grantor, g.grantee, g.is_grantable ORDER BY 4
    LOOP
        v_grant := format('GRANT EXECUTE ON FUNCTION %s TO %s%s', p_to::regprocedure,
                          CASE v.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(v.grantee)) END,
                          CASE WHEN v.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
        BEGIN
            IF v.depth > 0 THEN
                PERFORM set_config('role', pg_get_userbyid(v.grantor), true);
            END IF;
            EXECUTE v_grant;
            PERFORM set_config('role', v_role, true);
        EXCEPTION WHEN insufficient_privilege THEN
            -- It may no longer look into the schema, or we may not become it: then the owner is who granted.
            EXECUTE v_grant;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.copy_execute(oid, oid) IS
    'Grants EXECUTE on the second function to whoever has it on the first, with grant options, by whoever granted it. Internal.';
CREATE FUNCTION sec.supersede_functions() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
    v_moved text;
    v_used boolean;
    v_grantee oid;
BEGIN
    PERFORM sec.install_compat();
    PERFORM sec.drop_unused_compat();
    -- After the dump of an older release: sec.stand_in_functions() has put them there.
    FOR v IN SELECT to_regprocedure(regexp_replace(s.now, '^app', 'sec')) AS func
             FROM sec.superseded_functions() s WHERE to_regprocedure(s.now) IS NULL LOOP
        EXECUTE format('ALTER FUNCTION %s SET SCHEMA app', v.func);
    END LOOP;
    FOR v IN
        SELECT p.oid, p.oid::regprocedure::text AS name, p.proname, s.now::regprocedure::oid AS now,
               pg_get_function_arguments(p.oid) AS arguments,
               string_to_array(pg_catalog.oidvectortypes(p.proargtypes), ', ') AS types
        FROM sec.superseded_functions() s JOIN pg_proc p ON p.oid = to_regprocedure(s.was)
    LOOP
        PERFORM sec.copy_execute(v.oid, v.now);
        v_used := EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = v.oid);
        -- Not dropped in any case: a call of it that is under way asks for it once more when it has its answer.
        EXECUTE format('ALTER FUNCTION %s SET SCHEMA mps_compat', v.name);
        PERFORM sec.forward_function('mps_compat', v.arguments, v.types, v.oid, v.now);
        -- No member of the extension: pg_dump writes it like the views that use it.
        -- Who granted it must see the schema where a dump is restored, which grants anew in their name.
        v_moved := format('mps_compat.%I(%s)', v.proname, array_to_string(v.types, ','));
        FOR v_grantee IN
            SELECT DISTINCT a.grantee FROM pg_proc p, aclexplode(p.proacl) a WHERE p.oid = v.oid AND a.grantee NOT IN (0, p.proowner)
        LOOP
            IF v_used THEN
                EXECUTE format('GRANT USAGE ON SCHEMA mps_compat TO %I', pg_get_userbyid(v_grantee));
            ELSE
                EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I CASCADE', v_moved, pg_get_userbyid(v_grantee));
            END IF;
        END LOOP;
        EXECUTE format('ALTER EXTENSION mps DROP FUNCTION %s', v_moved);
        IF NOT v_used THEN
            -- No name that anybody is granted something on.
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', v_moved);
            EXECUTE format('ALTER FUNCTION %s RENAME TO %I', v_moved, v.proname || '_under_way');
        ELSE
            RAISE NOTICE 'mps: % is used by objects of others and is now %', v.name, v_moved;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.supersede_functions() IS
    'Moves the functions of earlier releases that got other arguments to mps_compat, where they call those of now: somebody''s view or '
    'function uses one, which keeps its grants, or a call of it may be under way, and then it is nobody''s to call. Grants on the old one '
    'are made on the new one. Internal: ALTER EXTENSION UPDATE and app.migrate() call it.';
CREATE FUNCTION sec.drop_unused_compat() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_func regprocedure;
BEGIN
    FOR v_func IN
        SELECT p.oid::regprocedure FROM sec.superseded_functions() s
        JOIN pg_proc p ON p.oid = to_regprocedure(regexp_replace(s.was, '^app[.](\w+)', 'mps_compat.\1_under_way'))
            AND p.proowner = sec.owner()
        WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid)
    LOOP
        EXECUTE format('DROP FUNCTION %s', v_func);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.drop_unused_compat() IS
    'Drops what an update has kept in mps_compat for calls that were under way. Internal: app.migrate() calls it.';
CREATE FUNCTION sec.stand_in_functions() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT p.oid::regprocedure AS func, p.proname, pg_get_function_result(p.oid) AS result,
               (SELECT string_agg(concat_ws(' DEFAULT ', format('%I %s', a.name, a.type),
                                            pg_get_function_arg_default(p.oid, a.n::integer)), ', ' ORDER BY a.n)
                FROM unnest(p.proargnames, string_to_array(substring(s.was from '\((.*)\)$'), ','))
                         WITH ORDINALITY a (name, type, n)
                WHERE a.type IS NOT NULL) AS arguments
        FROM sec.superseded_functions() s JOIN pg_proc p ON p.oid = s.now::regprocedure
    LOOP
        -- Out of the way: beside it, a call of the old one would be ambiguous.
        EXECUTE format('ALTER FUNCTION %s SET SCHEMA sec', v.func);
        EXECUTE format('CREATE FUNCTION app.%I(%s) RETURNS %s LANGUAGE plpgsql '
                       'SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
                       v.proname, v.arguments, v.result,
                       'BEGIN PERFORM sec.raise(''SCHEMA_OUTDATED'', ''the tables are those of an earlier release''); END');
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.stand_in_functions() IS
    'While the dump of an older release is being restored: makes the functions that it uses and grants on and that are no more, in '
    'place of those of now, which wait in the schema sec until app.migrate(). Internal.';
CREATE FUNCTION app.bucket_of_card(p_card_id uuid)
    RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'bucket_of_card_wrapper';
COMMENT ON FUNCTION app.bucket_of_card IS
    E'The bucket that a card''s id carries.\n'
    'Of a personal card its member''s, (get_byte(sha256(uuid_send(member_id)), 0) & 63) + 1; of an enterprise card its first '
    'admin''s, or any. IMMUTABLE.\n'
    'Level: client.\n'
    'Results: 1 to 64; null for the id of a card that was issued before 0.3.0, and for anything else.';
CREATE FUNCTION app.bucket_of_code(p_qr_plain text)
    RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'bucket_of_code_wrapper';
COMMENT ON FUNCTION app.bucket_of_code IS
    E'The bucket of the card that a pay code names.\n'
    'As bucket_of_card, whether or not there is such a card. IMMUTABLE.\n'
    'Level: client.\n'
    'Results: 1 to 64; null for anything that is no code of a card with a bucket.';
CREATE FUNCTION app.bucket_of_tx(p_tx_no text)
    RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'bucket_of_tx_wrapper';
COMMENT ON FUNCTION app.bucket_of_tx IS
    E'The bucket that a transaction number carries.\n'
    'Only the numbers of many machines carry one. IMMUTABLE.\n'
    'Level: client.\n'
    'Results: 1 to 64; null for the numbers of one machine, which are all that there are yet, and for anything else.';
CREATE OR REPLACE FUNCTION sec.destroy_everything(p_confirm text) RETURNS TABLE (statement text, remark text)
    -- SECURITY INVOKER: mps_owner may neither drop what is another's nor be the one who did this. Whoever works in the tables
    -- is not kept waiting for long.
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET lock_timeout = '5s' AS $$
DECLARE
    v record;
    v_owner regrole := sec.owner();
    v_spaces oid[] := ARRAY(SELECT n.oid FROM pg_namespace n
                            WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway'));
    v_what text;
    v_in_the_way text;
    v_elsewhere text;
BEGIN
    IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
        PERFORM sec.raise('NOT_ALLOWED', 'only a superuser destroys everything');
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'under READ COMMITTED only: an older view would count what was there before the locks');
    END IF;
    -- Twice: without locks, so that who only asks what would be lost keeps nobody waiting; and again when nothing can change.
    FOR v_try IN 1 .. 2 LOOP
        v_what := sec.what_there_is();
        IF p_confirm IS DISTINCT FROM 'destroy ' || v_what THEN
            PERFORM sec.raise('INVALID_ARGUMENT', format('nothing was destroyed; p_confirm has to be: destroy %s', v_what));
        END IF;
        EXIT WHEN v_try = 2;
        -- First the lock of sec.make_month(), then the tables.
        LOCK TABLE app.archived_months IN ACCESS EXCLUSIVE MODE;
        FOR v IN SELECT c.oid::regclass AS tab FROM pg_class c
                 WHERE c.relnamespace = ANY (v_spaces) AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.oid::regclass::text
        LOOP
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', v.tab);
        END LOOP;
    END LOOP;

    -- A partition goes with its table, whoever's it is.
    SELECT string_agg(format('table %s', c.oid::regclass), ', ' ORDER BY c.oid::regclass::text) INTO v_in_the_way
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
    WHERE p.relnamespace = ANY (v_spaces) AND p.relowner = v_owner AND p.relkind = 'p'
      AND (c.relowner <> v_owner OR c.relnamespace <> ALL (v_spaces)) AND c.relkind IN ('r', 'p', 'f');
    IF v_in_the_way IS NULL THEN
        BEGIN
            FOR v IN
                SELECT format('DROP TRIGGER %I ON %s', g.tgname, g.tgrelid::regclass) AS command, 1 AS place
                FROM pg_trigger g WHERE g.tgname IN (SELECT t.name FROM sec.signup_triggers() t)
                  AND g.tgfoid = 'sec.on_signup()'::regprocedure
                  AND NOT g.tgisinternal
                UNION ALL
                -- Each kind at once, so that what hangs together does; RESTRICT, so that nothing else goes along.
                SELECT format('DROP %s %s', x.kind, string_agg(c.oid::regclass::text, ', ')), x.place
                FROM pg_class c JOIN (VALUES ('v', 'VIEW', 2), ('r', 'TABLE', 3), ('p', 'TABLE', 3), ('S', 'SEQUENCE', 4))
                              x (relkind, kind, place)
                     ON x.relkind = c.relkind
                WHERE c.relnamespace = ANY (v_spaces) AND c.relowner = v_owner AND NOT c.relispartition
                GROUP BY x.kind, x.place
                UNION ALL
                SELECT 'DROP TYPE ' || string_agg(t.oid::regtype::text, ', '), 5
                FROM pg_type t WHERE t.typnamespace = ANY (v_spaces) AND t.typowner = v_owner AND t.typtype = 'e'
                HAVING count(*) > 0
                UNION ALL
                SELECT 'DROP FUNCTION ' || string_agg(p.oid::regprocedure::text, ', '), 6
                FROM pg_proc p WHERE p.pronamespace = to_regnamespace('mps_compat') AND p.proowner = v_owner
                HAVING count(*) > 0
                UNION ALL
                SELECT format('DROP SCHEMA %I', n.nspname), 7 FROM pg_namespace n
                WHERE n.nspname IN ('mps_archive', 'mps_compat') AND n.nspowner = v_owner
                ORDER BY 2
            LOOP
                EXECUTE v.command;
            END LOOP;
        EXCEPTION WHEN dependent_objects_still_exist THEN
            GET STACKED DIAGNOSTICS v_in_the_way = PG_EXCEPTION_DETAIL;
        END;
    END IF;
    IF v_in_the_way IS NULL THEN
        -- What the next steps would stumble over: whatever else lies in the schemas or uses a function of the extension.
        SELECT string_agg(DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), ', ') INTO v_in_the_way
        FROM pg_depend d, pg_extension e
        WHERE e.extname = 'mps' AND d.deptype = 'n' AND (d.classid, d.objid) <> ('pg_extension'::regclass, e.oid)
          AND ((d.refclassid = 'pg_namespace'::regclass AND d.refobjid = ANY (v_spaces))
               OR (d.refclassid, d.refobjid) IN (SELECT m.classid, m.objid FROM pg_depend m
                                                 WHERE m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e'))
          AND (d.classid, d.objid) NOT IN (SELECT m.classid, m.objid FROM pg_depend m
                                           WHERE m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e');
    END IF;
    IF v_in_the_way IS NOT NULL THEN
        PERFORM sec.raise('STATUS_CONFLICT', format('nothing was destroyed, because these are not of mps: %s', v_in_the_way));
    END IF;

    RAISE LOG 'mps: % (logged in as %, from %) destroyed %',
        current_user, session_user, coalesce(host(inet_client_addr()), 'this machine'), v_what;
    SELECT string_agg(d.datname, ', ' ORDER BY d.datname) INTO v_elsewhere
    FROM pg_database d
    WHERE d.datname <> current_database()
      AND EXISTS (SELECT FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = v_owner AND s.dbid = d.oid);
    IF EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
        RETURN QUERY EXECUTE
            'SELECT format(''SELECT cron.unschedule(%s);'', j.jobid), format(''job %s of %s'', '
            'coalesce(j.jobname, ''?''), j.username) FROM cron.job j '
            'WHERE j.database = current_database() AND j.jobname = ANY ($1) ORDER BY j.jobid'
            USING ARRAY(SELECT 'mps_' || j.job FROM sec.jobs() j);
    END IF;
    RETURN QUERY
        VALUES ('DROP EXTENSION mps;', 'after this transaction; CREATE EXTENSION mps then starts afresh'),
               ('DROP SCHEMA app, audit, sec, mps_gateway;', 'they are empty then'),
               (format('DROP ROLE %s;', v_owner), CASE WHEN v_elsewhere IS NULL THEN 'no other database of this server uses it'
                                             ELSE 'not as long as other databases use it: ' || v_elsewhere END);
END
$$;
COMMENT ON FUNCTION sec.destroy_everything(text) IS
    E'Destroys every card, transaction, setting and audit event of this database for good.\n'
    'Archived months included. p_confirm is a sentence that says how much there is at this moment: any other text is refused '
    'with the sentence in the detail. Refused also while anything that is not of mps depends on it. The server''s log gets a '
    'line. For a superuser.\n'
    'Results: statement, remark (what is left to be run by hand, and why).\n'
    'Errors: INVALID_ARGUMENT, NOT_ALLOWED, STATUS_CONFLICT.';
CREATE OR REPLACE FUNCTION sec.what_there_is() RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_rows bigint;
    v_transactions bigint := 0;
    v_events bigint := 0;
    v_cards bigint;
    v_balance numeric;
    v_accounts bigint;
    v_keys bigint;
    v_coupons bigint;
BEGIN
    SELECT count(*), coalesce(sum(c.balance), 0.00) INTO v_cards, v_balance
    FROM (SELECT p.balance FROM app.personal_cards p UNION ALL SELECT e.balance FROM app.enterprise_cards e) c;
    FOR v IN
        SELECT 'app.transactions' AS tab, true AS moves UNION ALL SELECT 'audit.event_log', false
        UNION ALL
        SELECT c.oid::regclass::text, c.relname ~ '^transactions_' FROM pg_class c
        WHERE c.relnamespace = to_regnamespace('mps_archive') AND c.relkind = 'r' AND c.relname ~ '^(transactions|event_log)_[0-9]{6}$'
    LOOP
        EXECUTE 'SELECT count(*) FROM ' || v.tab INTO v_rows;
        v_transactions := v_transactions + CASE WHEN v.moves THEN v_rows ELSE 0 END;
        v_events := v_events + CASE WHEN v.moves THEN 0 ELSE v_rows END;
    END LOOP;
    SELECT count(*) INTO v_accounts FROM app.gateway_accounts;
    SELECT count(*) INTO v_keys FROM sec.gateway_keys;
    SELECT count(*) INTO v_coupons FROM app.member_coupons m WHERE m.status = 'active';
    RETURN format('%s cards holding %s, %s transactions and the audit log of %s events of database %s',
                  v_cards, v_balance, v_transactions, v_events, current_database())
           || CASE WHEN v_accounts > 0 THEN format(', with %s accounts at payment gateways and %s keys', v_accounts, v_keys) ELSE '' END
           || CASE WHEN v_coupons > 0 THEN format(', with %s coupons that members can use', v_coupons) ELSE '' END;
END
$$;
COMMENT ON FUNCTION sec.what_there_is() IS
    'In words, what sec.destroy_everything() would destroy at this moment, archived months included. Internal.';
CREATE FUNCTION sec.logged_of_kernel() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('level.granted', '{}'::text[]), ('level.revoked', '{}'), ('books.rebuilt', '{}'), ('mode.set', '{}')
$$;
COMMENT ON FUNCTION sec.logged_of_kernel() IS 'The events of the kernel. Internal: sec.logged_actions().';
CREATE FUNCTION sec.refuse_log(p_event bigint, p_why text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.raise('STATUS_CONFLICT', format('event %s of the log: %s. Nothing was rebuilt', p_event, p_why));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.refuse_log(bigint, text) IS
    'Refuses to rebuild from a log that has this event; in the place of what could not be found. Internal. Errors: STATUS_CONFLICT.';
CREATE FUNCTION sec.require_empty_books() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- What a database has before anybody uses it, and the log itself.
    c_there constant text[] := ARRAY['app.settings', 'app.membership_levels', 'app.business_day_rules', 'app.job_runs',
                                     'app.month_rehearsals', 'app.closed_months', 'app.operating_mode', 'audit.event_log', 'audit.seals',
                                     'audit.seal_cut', 'audit.trees', 'audit.tree_chunks', 'audit.tree_nodes', 'audit.heads'];
    v_table text;
    v_has_rows boolean;
BEGIN
    -- Who registers or charges waits, and finds the books as they are then.
    LOCK TABLE app.archived_months IN SHARE ROW EXCLUSIVE MODE;
    FOR v_table IN SELECT t.tab FROM sec.tables() t ORDER BY t.tab LOOP
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', v_table);
        CONTINUE WHEN v_table = ANY (c_there);
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', v_table) INTO v_has_rows;
        IF v_has_rows THEN
            PERFORM sec.raise('STATUS_CONFLICT',
                              format('only where there is nothing but the log: %s has rows. Nothing was rebuilt', v_table));
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.require_empty_books() IS
    'Locks every table against others'' writing, and refuses where one has rows that the log is to bring. Internal. Errors: '
    'STATUS_CONFLICT.';
CREATE FUNCTION sec.require_whole_events() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    SELECT e.id, e.action, e.object_id, e.happened_at, a.action IS NULL AS is_unknown,
           (SELECT string_agg(n.name, ', ') FROM unnest(a.needs) n (name) WHERE NOT e.context ? n.name) AS lacks
    INTO v
    FROM audit.event_log e LEFT JOIN sec.logged_actions() a ON a.action = e.action
    WHERE (e.context ?& a.needs) IS NOT TRUE ORDER BY e.id LIMIT 1;
    IF v.is_unknown THEN
        PERFORM sec.refuse_log(v.id, format('nothing of this release writes %s of %s', v.action, v.object_id));
    ELSIF FOUND THEN
        PERFORM sec.refuse_log(v.id, format('%s of %s, %s, does not say: %s, as those of 0.3.0 and later do',
                                            v.action, v.object_id, v.happened_at, v.lacks));
    END IF;
END
$$;
COMMENT ON FUNCTION sec.require_whole_events() IS
    'Refuses a log in which an event is unknown, or lacks what the books need of it, and names the first. Internal. Errors: '
    'STATUS_CONFLICT.';
CREATE FUNCTION sec.move_sequences() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT setval(s.seq, s.used) FROM sec.sequence_states() s WHERE s.used > s.given
$$;
COMMENT ON FUNCTION sec.move_sequences() IS 'Has every sequence go on after the greatest number that is used. Internal.';
CREATE FUNCTION app.rebuild_from_log() RETURNS TABLE (what text, n bigint)
    -- Without statistics of what has just been loaded the planner takes millions of events for a few.
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off SET timezone = 'UTC' SET datestyle = 'ISO' SET work_mem = '256MB' SET jit = off
    SET enable_nestloop = off SET enable_mergejoin = off AS $rebuild$
DECLARE
    v record;
    v_done jsonb := '{}';
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'under READ COMMITTED only: an older view would not show what was there before the locks');
    END IF;
    -- One at a time, and no job meanwhile, which locks the log before all else: of two that have it neither would get what it locks next.
    LOCK TABLE audit.event_log IN SHARE ROW EXCLUSIVE MODE;
    PERFORM sec.refuse_read_only();
    PERFORM sec.require_empty_books();
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    PERFORM sec.require_whole_events();
    -- At once, so that events of what follows come after all others.
    PERFORM sec.move_sequences();
    FOR v IN SELECT DISTINCT date_trunc('month', e.happened_at)::date AS month FROM audit.event_log e ORDER BY 1 LOOP
        PERFORM sec.make_month(v.month);
    END LOOP;
    FOR v IN SELECT s.step FROM sec.rebuild_steps() s ORDER BY s.place LOOP
        FOR what, n IN EXECUTE format('SELECT x.what, x.n FROM sec.%I() x', v.step) LOOP
            v_done := v_done || jsonb_build_object(what, n);
            RETURN NEXT;
        END LOOP;
    END LOOP;
    PERFORM sec.move_sequences();
    PERFORM sec.record_event('books.rebuilt', 'books', 'books', v_done);
END
$rebuild$;
COMMENT ON FUNCTION app.rebuild_from_log() IS
    E'Writes the books anew from the audit log alone, into a database that has nothing else.\n'
    'Members, cards, bindings, merchants and their operators, settings, levels, every movement with its number and the balance after it, '
    'points, refunds, recharges that wait, money in suspense: balances, points, levels and refunds to the last digit. What the log does '
    'not have is lost: names of members, phones and e-mails, pay codes, idempotency keys and order ids, reasons and tags of payments. '
    'First of all audit.verify() tells whether the log is whole. Under READ COMMITTED only; all or nothing. Audited.\n'
    'Level: operator.\n'
    'Results: what, n (how many of it were written).\n'
    'Errors: STATUS_CONFLICT where something is there already, or an event of the log is not enough, which the detail names; '
    'NOT_ALLOWED, SCHEMA_OUTDATED.';
CREATE FUNCTION sec.jobs_of_ledger() RETURNS TABLE (job text, schedule text, command text, every interval)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('maintain_partitions', '10 2 * * *', 'CALL app.maintain_partitions()', interval '1 day'),
           ('expire_keys', '40 2 * * *', 'CALL app.expire_keys()', interval '1 day'),
           ('seal', '*/5 * * * *', 'CALL audit.seal()', interval '5 minutes')
$$;
COMMENT ON FUNCTION sec.jobs_of_ledger() IS 'The jobs of the ledger. Internal: sec.jobs().';
CREATE FUNCTION sec.monthly_tables_of_ledger() RETURNS TABLE (nsp text, tab text, pk text, is_append_only boolean)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app', 'transactions', 'id', false), ('app', 'point_ledger', 'card_id, point_seq', true), ('audit', 'event_log', 'id', true)
$$;
COMMENT ON FUNCTION sec.monthly_tables_of_ledger() IS 'The tables of the ledger that are kept by month. Internal: sec.monthly_tables().';
CREATE FUNCTION sec.columns_of_ledger() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.transactions',
            'id, created_at, posted_at, card_seq, points_earned, merchant_id, tx_type, status, card_type, payment_method, card_id, '
            'member_id, discount, raw_amount, final_amount, balance_after, refunded_amount, tx_no, original_tx_no, reason, tag, '
            'excluded_amount, coupon_discount, member_coupon_id, points_base, points_bonus, campaigns'),
           ('client', 'app.point_ledger', 'card_id, point_seq, created_at, change, balance_after, level, tx_no, reason')
$$;
COMMENT ON FUNCTION sec.columns_of_ledger() IS 'What may be read of the ledger. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.policies_of_ledger() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES -- With the balance of a company card in them, only as long as one is bound to it.
           ('app.transactions', 'own_transaction',
            'member_id = (SELECT sec.uid()) AND (card_type = ''personal'' OR card_id IN (SELECT b.enterprise_card_id FROM '
            'app.enterprise_card_bindings b WHERE b.member_id = (SELECT sec.uid())))',
            'member_id=SELECTsec.uidASuidANDcard_type=''personal''::app.card_typeORcard_idIN'
            'SELECTb.enterprise_card_idFROMapp.enterprise_card_bindingsbWHEREb.member_id=SELECTsec.uidASuid'),
           ('app.point_ledger', 'points_of_own_card',
            'card_id IN (SELECT c.id FROM app.personal_cards c WHERE c.member_id = (SELECT sec.uid()))',
            'card_idINSELECTc.idFROMapp.personal_cardscWHEREc.member_id=SELECTsec.uidASuid')
$$;
COMMENT ON FUNCTION sec.policies_of_ledger() IS 'The policies of the ledger. Internal: sec.policies().';
CREATE FUNCTION sec.standing_triggers_of_ledger() RETURNS TABLE (tab text, trig text, events text, each text, func text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.closed_months', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
           ('app.closed_months', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed'),
           ('audit.event_log', 'append_only', 'BEFORE UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.append_only'),
           ('audit.seals', 'append_only', 'BEFORE UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.append_only')
$$;
COMMENT ON FUNCTION sec.standing_triggers_of_ledger() IS 'The standing triggers of the ledger. Internal: sec.standing_triggers().';
CREATE FUNCTION sec.descriptions_of_ledger() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.transactions', 'merchant_id', 'The merchant; NULL where none is concerned.'),
           ('app.transactions', 'tx_type', 'payment, refund, recharge, adjustment, withdrawal.'),
           ('app.transactions', 'status', 'processing, completed, failed, cancelled; only completed ones have moved money.'),
           ('app.transactions', 'card_type', 'personal, enterprise.'),
           ('app.transactions', 'payment_method', 'balance, or of recharges wechat, alipay, cash.'),
           ('app.transactions', 'card_id', 'The card that was used.'),
           ('app.transactions', 'discount', 'What the price was multiplied by: 0.950 is five percent off.'),
           ('app.transactions', 'excluded_amount',
            'Of raw_amount, what took no part: no discount, no coupon, no points. NULL: all of it took part.'),
           ('app.transactions', 'coupon_discount', 'What the coupon took off. NULL: no coupon was used.'),
           ('app.transactions', 'member_coupon_id', 'The coupon that was used: app.member_coupons. NULL: none.'),
           ('app.transactions', 'points_base', 'Of points_earned, what the payment earned without campaigns. NULL: none applied.'),
           ('app.transactions', 'points_bonus', 'Of points_earned, what campaigns gave. NULL: none applied.'),
           ('app.transactions', 'campaigns',
            'The campaigns that applied: for each its id and the version of its terms ("3.1"), and the points it gave. NULL: none.'),
           ('app.transactions', 'balance_after', 'The card''s balance after it; NULL until it is completed.'),
           ('app.transactions', 'tx_no',
            'ZF (payment), TK (refund), CZ (recharge), TZ (adjustment) or TX (withdrawal), then year, month, running number.'),
           ('app.transactions', 'final_amount',
            'What moved: payment and withdrawal take it from the card, refund and recharge add it, an adjustment adds it with its sign.'),
           ('app.transactions', 'reason', 'As it was given.'),
           ('app.transactions', 'tag', 'As it was given; a JSON object.'),
           ('app.point_ledger', 'card_id', 'The personal card.'),
           ('app.point_ledger', 'created_at', 'When.'),
           ('app.point_ledger', 'change', 'Signed.'),
           ('app.point_ledger', 'balance_after', 'The points after it.'),
           ('app.point_ledger', 'level', 'The level after it.'),
           ('app.point_ledger', 'reason', 'As it was given, of points adjusted by hand.'),
           ('app.idempotency_keys', 'operation',
            '1 charge, 2 refund, 3 recharge (scope: merchant); 11 recharge, 12 compensation, 13 points, 14 withdrawal (scope: personal '
            'card); 21 recharge, 22 compensation, 24 withdrawal (scope: enterprise card); 31 coupons issued (scope: coupon), 32 coupon '
            'claimed (scope: member), whose ref_id is yymm x 10^11 + the id of the first one'),
           ('app.external_orders', 'scope',
            '1 payment order (scope_no: merchant); 2 recharge order, 3 gateway trade number (scope_no: payment method, 1 cash, 2 wechat, '
            '3 alipay; of trade numbers 0, but where two methods had credited one before 0.3.0); 4 and 5 order of a member''s recharge '
            '(scope_no: number of the personal, enterprise card)'),
           ('app.external_orders', 'tx_id',
            'The transaction; of a trade number in suspense the id in app.suspense_payments, with a minus.'),
           ('audit.event_log', 'actor_role',
            'The database role that is responsible: the one that the server ran the caller under, or whose code made the call if that '
            'has the lesser level.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_ledger() IS 'What columns of the ledger are. Internal: sec.describe_columns().';
CREATE FUNCTION sec.settings_of_ledger()
    RETURNS TABLE (place integer, setting text, kind text, fallback text, lowest text, highest text, choices text[], en text, zh text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (3, 'points_per_unit', 'rate', '1', '0', '1000', NULL::text[], 'Points for one currency unit paid.', '每消费一元得多少积分。'),
           (4, 'max_amount', 'money', '50000.00', '0.01', '10000000000', NULL, 'The largest single amount of any RPC.',
            '单笔金额上限。'),
           (5, 'max_balance', 'money', '1000000.00', '0.01', '100000000000', NULL,
            'The largest balance that a recharge or a correction may lead to.', '申请充值或调账后允许的最高余额。'),
           (8, 'key_retention_days', 'whole', '90', '90', '3650', NULL,
            'How long idempotency keys and payment order ids are remembered, at least.', '幂等键和支付订单号至少保留的天数。'),
           (11, 'business_time_zone', 'time_zone', '''UTC''', NULL, NULL, NULL,
            'By whose clocks a business day begins.', '营业日所用的时区。'),
           (12, 'business_day_starts_at', 'minute_of_day', '''00:00:00''', NULL, NULL, NULL,
            'When a business day begins. A change of either counts from the next day that begins by it.',
            '营业日开始的时间；两项修改后，从按新设置开始的下一个营业日起生效。')
$$;
COMMENT ON FUNCTION sec.settings_of_ledger() IS 'The settings of the ledger. Internal: sec.settings().';
CREATE FUNCTION sec.install_transactions() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regtype('app.tx_type') IS NULL THEN
        CREATE TYPE app.tx_type AS ENUM ('payment', 'refund', 'recharge', 'adjustment', 'withdrawal');
        COMMENT ON TYPE app.tx_type IS 'What a transaction is: numbers ZF, TK, CZ, TZ, TX';
    ELSIF NOT EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid = 'app.tx_type'::regtype AND e.enumlabel = 'withdrawal') THEN
        -- Nothing that the same transaction makes or runs may name it: the server allows that once it is committed.
        ALTER TYPE app.tx_type ADD VALUE 'withdrawal';
        COMMENT ON TYPE app.tx_type IS 'What a transaction is: numbers ZF, TK, CZ, TZ, TX';
    END IF;
    IF to_regtype('app.tx_status') IS NULL THEN
        CREATE TYPE app.tx_status AS ENUM ('processing', 'completed', 'failed', 'cancelled');
        COMMENT ON TYPE app.tx_status IS 'Only completed transactions have moved money';
    END IF;
    IF to_regtype('app.pay_method') IS NULL THEN
        CREATE TYPE app.pay_method AS ENUM ('balance', 'cash', 'wechat', 'alipay');
        COMMENT ON TYPE app.pay_method IS 'Where the money came from: the card''s balance, or outside (recharges)';
    END IF;
    IF to_regclass('app.tx_no_seq') IS NULL THEN
        CREATE SEQUENCE app.tx_no_seq AS bigint MAXVALUE 99999999999;
        COMMENT ON SEQUENCE app.tx_no_seq IS 'Running part of every transaction number, across months and types; may skip, never repeats';
    END IF;
    IF to_regclass('app.transactions') IS NULL THEN
        CREATE TABLE app.transactions (
            id                bigint         NOT NULL,
            created_at        timestamptz    NOT NULL,
            posted_at         timestamptz,
            card_seq          bigint,
            prev_tx_id        bigint,
            skip_tx_id        bigint,
            refund_chain_id   bigint,
            points_earned     bigint         NOT NULL DEFAULT 0,
            merchant_id       integer,
            tx_type           app.tx_type    NOT NULL,
            status            app.tx_status  NOT NULL,
            card_type         app.card_type  NOT NULL,
            payment_method    app.pay_method NOT NULL,
            card_id           uuid           NOT NULL,
            member_id         uuid,
            processed_by      uuid,
            discount          numeric(4,3)   NOT NULL DEFAULT 1,
            raw_amount        numeric(14,2)  NOT NULL,
            final_amount      numeric(14,2)  NOT NULL,
            balance_after     numeric(14,2),
            refunded_amount   numeric(14,2),
            refundable_left   numeric(14,2),
            tx_no             text           NOT NULL,
            original_tx_no    text,
            idempotency_key   text,
            external_order_id text,
            gateway_trade_no  text,
            reason            text,
            failure_reason    text,
            tag               jsonb          NOT NULL DEFAULT '{}',
            excluded_amount   numeric(14,2),
            coupon_discount   numeric(14,2),
            member_coupon_id  bigint,
            points_base       bigint,
            points_bonus      bigint,
            campaigns         jsonb
            -- No CHECK here: the server parses each one anew at every INSERT (a tenth of a charge for five of them). The
            -- library asserts the same things before it writes, and the books are verified.
        ) PARTITION BY RANGE (created_at);
        CREATE INDEX transactions_member_id_idx ON app.transactions (member_id, created_at) WHERE member_id IS NOT NULL;
        CREATE INDEX transactions_merchant_posted_idx ON app.transactions (merchant_id, posted_at);
        CREATE INDEX transactions_processing_idx ON app.transactions (created_at) WHERE status = 'processing';
        COMMENT ON TABLE app.transactions IS
            'Every payment, refund, recharge, adjustment and withdrawal, by month of created_at (UTC). Each partition has its own '
            'primary key (id); the id carries the month, so ids are unique for ever.';
        COMMENT ON COLUMN app.transactions.id IS 'yymm x 10^11 + running number; the same facts as tx_no.';
        COMMENT ON COLUMN app.transactions.created_at IS 'When it was asked for; picks the month and the number.';
        COMMENT ON COLUMN app.transactions.posted_at IS
            'When it moved the balance, read from the clock under the card''s lock; later than that of the card''s movement '
            'before. NULL until then.';
        COMMENT ON COLUMN app.transactions.card_seq IS 'The card''s own sequence of movements, without gaps, from 1. NULL until posted.';
        COMMENT ON COLUMN app.transactions.prev_tx_id IS
            'id of the card''s movement before this one (card_seq - 1), so that a statement costs its page.';
        COMMENT ON COLUMN app.transactions.skip_tx_id IS
            'Only where card_seq is a multiple of 64: id of the movement 64 before, so that old balances are found quickly.';
        COMMENT ON COLUMN app.transactions.refund_chain_id IS
            'On a payment: id of its latest refund. On a refund: id of the refund of the same payment before it.';
        COMMENT ON COLUMN app.transactions.raw_amount IS 'Before discount. Signed for adjustments.';
        COMMENT ON COLUMN app.transactions.refunded_amount IS 'On a payment: the sum of its refunds so far. NULL elsewhere.';
        COMMENT ON COLUMN app.transactions.refundable_left IS 'On a refund: what was left of the payment after it. NULL elsewhere.';
        COMMENT ON COLUMN app.transactions.points_earned IS 'Points added by it; negative where taken back.';
        COMMENT ON COLUMN app.transactions.original_tx_no IS
            'On a refund: the payment. On an adjustment: what it corrects, or the other half of a card''s replacement.';
        COMMENT ON COLUMN app.transactions.member_id IS
            'Whose card it is, or who used or recharged the enterprise card. NULL where a backend did.';
        COMMENT ON COLUMN app.transactions.processed_by IS 'sec.uid() of who called; NULL for a backend without one.';
    ELSIF sec.lacks_price_columns() THEN
        -- Of older releases. What has no default is the catalog's alone, whatever the number of rows.
        ALTER TABLE app.transactions
            ADD COLUMN excluded_amount numeric(14,2), ADD COLUMN coupon_discount numeric(14,2), ADD COLUMN member_coupon_id bigint,
            ADD COLUMN points_base bigint, ADD COLUMN points_bonus bigint, ADD COLUMN campaigns jsonb;
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_transactions() IS
    'Makes the table of transactions, its types and the sequence of its numbers, where they are missing. Internal: sec.install() calls it.';
CREATE FUNCTION sec.lacks_price_columns() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('app.transactions') AND a.attname = 'excluded_amount')
$$;
COMMENT ON FUNCTION sec.lacks_price_columns() IS
    'Whether app.transactions is as releases before 0.3.0 made it: without what decides a price. Internal.';
CREATE FUNCTION sec.install_points() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.point_ledger') IS NULL THEN
        CREATE TABLE app.point_ledger (
            card_id       uuid        NOT NULL,
            point_seq     bigint      NOT NULL,
            created_at    timestamptz NOT NULL,
            change        bigint      NOT NULL,
            balance_after bigint      NOT NULL,
            level         smallint    NOT NULL,
            tx_no         text,
            reason        text
        ) PARTITION BY RANGE (created_at);
        COMMENT ON TABLE app.point_ledger IS
            'Every change of points, with the points and the level after it, by month of created_at (UTC). Each partition has its '
            'own primary key (card_id, point_seq).';
        COMMENT ON COLUMN app.point_ledger.point_seq IS 'The card''s own sequence of changes of points, without gaps, from 1.';
        COMMENT ON COLUMN app.point_ledger.tx_no IS 'The payment or refund it belongs to; NULL where adjusted by hand.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_points() IS 'Makes the ledger of points, where it is missing. Internal: sec.install() calls it.';
CREATE FUNCTION sec.install_events() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('audit.event_id_seq') IS NULL THEN
        CREATE SEQUENCE audit.event_id_seq AS bigint;
        COMMENT ON SEQUENCE audit.event_id_seq IS 'Ids of audit events; may skip, never repeats';
    END IF;
    IF to_regclass('audit.event_log') IS NULL THEN
        CREATE TABLE audit.event_log (
            id            bigint      NOT NULL,
            happened_at   timestamptz NOT NULL,
            actor_user_id uuid,
            actor_role    text        NOT NULL,
            action        text        NOT NULL,
            object_type   text        NOT NULL,
            object_id     text        NOT NULL,
            context       jsonb       NOT NULL DEFAULT '{}'
        ) PARTITION BY RANGE (happened_at);
        COMMENT ON TABLE audit.event_log IS
            'Who did what, when, to what, in which context. Append-only; by month of happened_at (UTC). Each partition has its own '
            'primary key (id).';
        COMMENT ON COLUMN audit.event_log.actor_user_id IS 'sec.uid() of the caller; NULL for a backend without one.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_events() IS
    'Makes the event log and the sequence of its ids, where they are missing. Internal: sec.install() calls it.';
CREATE FUNCTION sec.install_archived_months() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.archived_months') IS NULL THEN
        CREATE TABLE app.archived_months (
            month       date        NOT NULL PRIMARY KEY CHECK (extract(day FROM month) = 1),
            archived_at timestamptz NOT NULL
        );
        COMMENT ON TABLE app.archived_months IS 'Months whose partitions were detached: what is asked of them answers ARCHIVED';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_archived_months() IS
    'Makes the list of archived months, where it is missing. Internal: sec.install() calls it.';
CREATE FUNCTION sec.install_claims() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.idempotency_keys') IS NULL THEN
        CREATE TABLE app.idempotency_keys (
            scope_no        bigint   NOT NULL,
            ref_id          bigint   NOT NULL,
            operation       smallint NOT NULL,
            idempotency_key text     NOT NULL,
            PRIMARY KEY (scope_no, operation, idempotency_key)
        );
        COMMENT ON TABLE app.idempotency_keys IS
            'Keys of requests that moved money, each in its scope (merchant and operation, or card and operation); '
            'app.expire_keys() forgets old ones';
        COMMENT ON COLUMN app.idempotency_keys.scope_no IS 'The merchant''s id, or the number inside the card_no.';
        COMMENT ON COLUMN app.idempotency_keys.ref_id IS 'id of the transaction; for points yymm x 10^11 + point_seq.';
    END IF;
    IF to_regclass('app.external_orders') IS NULL THEN
        CREATE TABLE app.external_orders (
            scope_no bigint   NOT NULL,
            tx_id    bigint   NOT NULL,
            scope    smallint NOT NULL,
            order_id text     NOT NULL,
            PRIMARY KEY (scope_no, scope, order_id)
        );
        COMMENT ON TABLE app.external_orders IS 'Order ids and gateway trade numbers, each in its scope';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_claims() IS
    'Makes the tables of keys and orders, where they are missing. Internal: sec.install() calls it.';
CREATE OR REPLACE FUNCTION app.expire_keys_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_keys_batch_wrapper';
COMMENT ON FUNCTION app.expire_keys_batch(text) IS
    E'One batch of app.expire_keys(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.\n'
    'Level: operator.';
CREATE OR REPLACE PROCEDURE app.expire_keys()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_after := app.expire_keys_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.expire_keys_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.expire_keys() IS
    E'Forgets idempotency keys and payment order ids of months that ended more than settings.key_retention_days ago.\n'
    'Recharge order ids and gateway trade numbers stay for ever.\n'
    'Level: operator.';
CREATE OR REPLACE FUNCTION sec.expect_many_rows(p_transactions regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Who asks for a page may be the one with the most rows, but the planner, who plans before it knows for whom, expects an
    -- average one: a few rows, which it would fetch whole and sort. With fewer members and merchants in its statistics it walks
    -- the index and stops after the page. Takes a lock that lets charges pass.
    PERFORM sec.run_ddl(format('ALTER TABLE %s ALTER COLUMN member_id SET (n_distinct = 200), '
                               'ALTER COLUMN merchant_id SET (n_distinct = 20)', p_transactions));
END
$$;
COMMENT ON FUNCTION sec.expect_many_rows(regclass) IS
    'Has the planner expect many rows for each member and merchant in a month of app.transactions, from its next ANALYZE on. '
    'Internal.';
CREATE FUNCTION sec.missing_tables(p_month date) RETURNS TABLE (nsp text, tab text, pk text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.nsp, t.tab, t.pk FROM sec.monthly_tables() t
    WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = format('%I.%I', t.nsp, t.tab)::regclass
                        AND i.inhrelid = to_regclass(format('%I.%I', t.nsp, t.tab || to_char(p_month::timestamp, '_YYYYMM'))))
$$;
COMMENT ON FUNCTION sec.missing_tables(date) IS 'The tables of a month that are not there, or hang on nothing. Internal.';
CREATE FUNCTION sec.who_holds_months() RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- What conflicts with the lock that attaching a month takes, on what making one locks first.
    SELECT string_agg(format('process %s (%s on %s)', l.pid, l.mode, l.relation::regclass), ', '
                      ORDER BY l.pid, l.relation::regclass::text)
    FROM pg_locks l
    WHERE l.granted AND l.pid <> pg_backend_pid() AND l.locktype = 'relation'
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND l.relation IN (SELECT format('%I.%I', t.nsp, t.tab)::regclass FROM sec.monthly_tables() t
                         UNION ALL SELECT 'app.archived_months'::regclass)
$$;
COMMENT ON FUNCTION sec.who_holds_months() IS
    'Who holds a lock at this moment that keeps months from being made (ANALYZE and VACUUM of the partitioned tables do); NULL: '
    'nobody. Internal.';
CREATE FUNCTION sec.lock_months() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- One maker at a time, whichever month; taken before any row lock, held to the end of the transaction. A lock on a table
    -- of our own, because an advisory lock is anybody's to take.
    LOCK TABLE app.archived_months IN SHARE ROW EXCLUSIVE MODE;
    -- What attaching takes, all of it before anything else: where a foreign key of a shop's has attaching lock a table that
    -- charges write to, nobody waits for ANALYZE with that lock in hand. ONLY: the months themselves are left to autovacuum.
    EXECUTE (SELECT 'LOCK TABLE ' || string_agg(format('ONLY %I.%I', t.nsp, t.tab), ', ') || ' IN SHARE UPDATE EXCLUSIVE MODE'
             FROM sec.monthly_tables() t);
END
$$;
COMMENT ON FUNCTION sec.lock_months() IS
    'The locks of who makes a month; readers and charges pass them. Waits as long as lock_timeout says. Internal.';
CREATE FUNCTION sec.make_month_tables(p_day date) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $month$
DECLARE
    v_suffix text := to_char(p_day::timestamp, '_YYYYMM');
    v_from text := to_char(p_day::timestamp, 'YYYY-MM-DD') || ' 00:00:00+00';
    v_to text := to_char(p_day::timestamp + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00';
    v record;
    v_model regclass;
    v_made boolean := false;
BEGIN
    PERFORM sec.lock_months();
    IF EXISTS (SELECT FROM app.archived_months a WHERE a.month = p_day) THEN
        RETURN false;
    END IF;
    FOR v IN SELECT m.nsp, m.tab, m.pk, format('%I.%I', m.nsp, m.tab) AS parent, format('%I.%I', m.nsp, m.tab || v_suffix) AS part
             FROM sec.missing_tables(p_day) m LOOP
        IF to_regclass(v.part) IS NOT NULL THEN
            PERFORM sec.raise('STATUS_CONFLICT', format('%s is there, but is no partition of %s', v.part, v.parent));
        END IF;
        v_model := sec.model_month(v.parent::regclass);
        -- A table of its own first, attached when it is complete: ATTACH takes a lock that lets charges pass, while
        -- CREATE TABLE ... PARTITION OF would stop every reader and writer of the parent.
        PERFORM sec.run_ddl(format('CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED '
                                   'INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING COMMENTS)%s%s',
                                   v.part, v.parent, sec.access_method_of(v.parent::regclass),
                                   sec.tablespace_like(' TABLESPACE', v.parent::regclass, v_model)));
        PERFORM sec.run_ddl(format('ALTER TABLE %s OWNER TO %s', v.part, sec.owner()));
        PERFORM sec.run_ddl(format('ALTER TABLE %s ADD PRIMARY KEY (%s)%s', v.part, v.pk,
                                   sec.tablespace_like(' USING INDEX TABLESPACE', sec.primary_key_of(v_model))));
        PERFORM sec.strip_grants(v.part::regclass);
        PERFORM sec.run_ddl(format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', v.part));
        PERFORM sec.run_ddl(format('COMMENT ON TABLE %s IS %L', v.part,
                                   format('%s.%s of %s (UTC)', v.nsp, v.tab, to_char(p_day::timestamp, 'YYYY-MM'))));
        IF v.tab = 'transactions' THEN
            PERFORM sec.expect_many_rows(v.part::regclass);
        END IF;
        IF v.tab = 'event_log' THEN
            PERFORM sec.run_ddl(format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s '
                                       'FOR EACH STATEMENT EXECUTE FUNCTION sec.append_only()', v.part));
            PERFORM sec.run_ddl(format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', v.part));
        END IF;
        PERFORM sec.run_ddl(format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', v.parent, v.part, v_from, v_to));
        PERFORM sec.dress_month(v.part::regclass, v.parent::regclass, v_model, true);
        v_made := true;
    END LOOP;
    RETURN v_made;
END
$month$;
COMMENT ON FUNCTION sec.make_month_tables(date) IS
    'Makes the missing tables of the month that begins on the day, as the present month has them; returns whether it made any. '
    'Internal: sec.make_month() and the rehearsal call it.';
CREATE FUNCTION sec.complete_months() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_month date;
BEGIN
    -- A month of which a table is there and detached is somebody's work: app.health() names it.
    FOR v_month IN
        SELECT m.day FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND c.relname ~ '_20[0-9]{4}$',
               LATERAL (SELECT to_date(right(c.relname, 6), 'YYYYMM') AS day) m
        WHERE i.inhparent = 'app.transactions'::regclass
          AND (SELECT bool_and(to_regclass(format('%I.%I', t.nsp, t.tab || to_char(m.day::timestamp, '_YYYYMM'))) IS NULL)
               FROM sec.missing_tables(m.day) t)
        ORDER BY m.day
    LOOP
        PERFORM sec.make_month_tables(v_month);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.complete_months() IS
    'Gives the months that are here the tables that they lack, because a family that keeps one by month has joined since. Internal: '
    'sec.install() calls it.';
CREATE OR REPLACE FUNCTION sec.make_month(p_month date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $month$
DECLARE
    -- Somebody stands at the till.
    c_patience constant integer := 2000;
    v_day date := date_trunc('month', p_month::timestamp)::date;
    v_caller_waits text := current_setting('lock_timeout');
    v_made boolean;
    v_holders text;
BEGIN
    IF v_day < date '2000-01-01' OR v_day > date '2099-12-01' THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'months are those of the years 2000 to 2099');
    END IF;
    PERFORM sec.refuse_shadows();
    IF (SELECT s.setting::integer NOT BETWEEN 1 AND c_patience FROM pg_settings s WHERE s.name = 'lock_timeout') THEN
        PERFORM set_config('lock_timeout', c_patience::text, true);
    END IF;
    BEGIN
        v_made := sec.make_month_tables(v_day);
    EXCEPTION WHEN lock_not_available THEN
        v_holders := sec.who_holds_months();
        RAISE LOG 'mps: the tables of % could not be made, because of locks: %',
            to_char(v_day::timestamp, 'YYYY-MM'), coalesce(v_holders, 'gone by now');
        PERFORM sec.raise('STATUS_CONFLICT',
                          format('the tables of %s are missing, and while somebody holds a lock on those of the other months '
                                 '(as ANALYZE does) they cannot be made: try again', to_char(v_day::timestamp, 'YYYY-MM')));
    END;
    PERFORM set_config('lock_timeout', v_caller_waits, true);
    RETURN v_made;
END
$month$;
COMMENT ON FUNCTION sec.make_month(date) IS
    'Makes the partitions of the month that holds the date, where they are missing; returns whether it made any. Waits at most two '
    'seconds for each lock. Internal: app.maintain_partitions() and the RPCs call it. Errors: INVALID_ARGUMENT, STATUS_CONFLICT where '
    'a lock was not to be had.';
CREATE FUNCTION sec.model_month(p_parent regclass) RETURNS regclass
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.oid::regclass FROM pg_class p JOIN pg_inherits i ON i.inhparent = p.oid JOIN pg_class c ON c.oid = i.inhrelid
    WHERE p.oid = p_parent AND c.relnamespace = p.relnamespace AND c.relkind = 'r' AND c.relname ~ ('^' || p.relname || '_[0-9]{6}$')
      AND right(c.relname, 6) <= to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')
    ORDER BY right(c.relname, 6) DESC LIMIT 1
$$;
COMMENT ON FUNCTION sec.model_month(regclass) IS
    'The month of a table whose settings the months to come get: the present one, or the newest before it. Internal.';
CREATE FUNCTION sec.access_method_of(p_parent regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- From PostgreSQL 17 on a partitioned table can have one for its partitions.
    SELECT coalesce((SELECT format(' USING %I', a.amname) FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.oid = p_parent), '')
$$;
COMMENT ON FUNCTION sec.access_method_of(regclass) IS 'The clause that gives a month the access method that its table asks for. Internal.';
CREATE FUNCTION sec.primary_key_of(p_table regclass) RETURNS regclass
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT x.indexrelid::regclass FROM pg_index x WHERE x.indrelid = p_table AND x.indisprimary
$$;
COMMENT ON FUNCTION sec.primary_key_of(regclass) IS 'The index of a table''s primary key. Internal.';
CREATE FUNCTION sec.tablespace_like(p_clause text, VARIADIC p_relations regclass[]) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Where the owner may make nothing in it the month is made in the database's own: that must not stop a charge.
    -- sec.month_remarks() says so.
    SELECT coalesce((SELECT format('%s %I', p_clause, s.spcname)
                     FROM unnest(p_relations) WITH ORDINALITY r (relation, place) JOIN pg_class c ON c.oid = r.relation
                     JOIN pg_tablespace s ON s.oid = c.reltablespace
                     WHERE has_tablespace_privilege(sec.owner(), s.oid, 'CREATE') ORDER BY r.place LIMIT 1), '')
$$;
COMMENT ON FUNCTION sec.tablespace_like(text, regclass[]) IS
    'The clause that puts a new table or index where the first of these is that is in a tablespace of its own. Internal.';
CREATE FUNCTION sec.missing_options(p_model oid, p_month oid, p_prefix text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(format('%s%I = %L', p_prefix, split_part(o.option, '=', 1), substr(o.option, strpos(o.option, '=') + 1)), ', '
                      ORDER BY o.option)
    FROM (SELECT unnest(c.reloptions) AS option FROM pg_class c WHERE c.oid = p_model
          EXCEPT SELECT unnest(c.reloptions) FROM pg_class c WHERE c.oid = p_month) o
    -- What the server keeps there for itself.
    WHERE o.option NOT LIKE 'pg\_%'
$$;
COMMENT ON FUNCTION sec.missing_options(oid, oid, text) IS
    'The storage settings of one relation that another has not, for ALTER TABLE ... SET; NULL: none. Internal.';
CREATE FUNCTION sec.dress_columns(p_month regclass, p_parent regclass, p_model regclass, p_new boolean) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_changes text[] := '{}';
BEGIN
    FOR v IN
        SELECT quote_ident(n.attname) AS col,
               coalesce(nullif(p.attstattarget::integer, -1), nullif(m.attstattarget::integer, -1)) AS target,
               nullif(n.attstattarget::integer, -1) AS has_target,
               (SELECT string_agg(format('%I = %L', split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)), ', ')
                FROM unnest(m.attoptions) o WHERE o LIKE 'n\_distinct%' AND o <> ALL (coalesce(n.attoptions, '{}'))) AS options,
               CASE WHEN p.attstorage <> t.typstorage THEN p.attstorage ELSE coalesce(m.attstorage, p.attstorage) END AS storage,
               n.attstorage AS has_storage,
               coalesce(nullif(p.attcompression, ''), m.attcompression, '') AS compression, n.attcompression AS has_compression
        FROM pg_attribute n JOIN pg_attribute p ON p.attrelid = p_parent AND p.attname = n.attname AND NOT p.attisdropped
        JOIN pg_type t ON t.oid = p.atttypid
        LEFT JOIN pg_attribute m ON m.attrelid = p_model AND m.attname = n.attname AND NOT m.attisdropped
        WHERE n.attrelid = p_month AND n.attnum > 0 AND NOT n.attisdropped ORDER BY n.attnum
    LOOP
        IF v.target IS DISTINCT FROM v.has_target AND v.target IS NOT NULL THEN
            v_changes := v_changes || format('ALTER COLUMN %s SET STATISTICS %s', v.col, v.target);
        END IF;
        IF v.options IS NOT NULL THEN
            v_changes := v_changes || format('ALTER COLUMN %s SET (%s)', v.col, v.options);
        END IF;
        -- These would take a lock that stops whoever reads all months.
        CONTINUE WHEN NOT p_new;
        IF v.storage <> v.has_storage THEN
            v_changes := v_changes || format('ALTER COLUMN %s SET STORAGE %s', v.col,
                CASE v.storage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END);
        END IF;
        IF v.compression <> v.has_compression AND v.compression <> '' THEN
            v_changes := v_changes || format('ALTER COLUMN %s SET COMPRESSION %s', v.col,
                                             CASE v.compression WHEN 'l' THEN 'lz4' ELSE 'pglz' END);
        END IF;
    END LOOP;
    RETURN nullif(array_to_string(v_changes, ', '), '');
END
$$;
COMMENT ON FUNCTION sec.dress_columns(regclass, regclass, regclass, boolean) IS
    'What ALTER TABLE does to a month so that its columns have the settings of its table and of the present month; NULL: nothing. '
    'Internal.';
CREATE FUNCTION sec.replica_identity_like(p_month regclass, p_parent regclass, p_model regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN p.relreplident = 'f' OR m.relreplident = 'f' THEN 'FULL'
        WHEN m.relreplident = 'n' THEN 'NOTHING'
        WHEN m.relreplident = 'i' THEN (
            -- The index that hangs on the same one of the table.
            SELECT format('USING INDEX %I', c.relname) FROM pg_index x JOIN pg_inherits xi ON xi.inhrelid = x.indexrelid
            JOIN pg_inherits ni ON ni.inhparent = xi.inhparent JOIN pg_index n ON n.indexrelid = ni.inhrelid
            JOIN pg_class c ON c.oid = n.indexrelid
            WHERE x.indrelid = m.oid AND x.indisreplident AND n.indrelid = p_month)
    END
    FROM pg_class p LEFT JOIN pg_class m ON m.oid = p_model WHERE p.oid = p_parent
$$;
COMMENT ON FUNCTION sec.replica_identity_like(regclass, regclass, regclass) IS
    'The replica identity that a new month is to have, where that is not the default. Internal.';
CREATE FUNCTION sec.dress_month(p_month regclass, p_parent regclass, p_model regclass, p_new boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_settings text;
    v_identity text;
BEGIN
    v_settings := concat_ws(', ', sec.missing_options(p_model, p_month, ''),
                            sec.missing_options((SELECT c.reltoastrelid FROM pg_class c WHERE c.oid = p_model),
                                                (SELECT c.reltoastrelid FROM pg_class c WHERE c.oid = p_month), 'toast.'));
    IF v_settings <> '' THEN
        PERFORM sec.run_ddl(format('ALTER TABLE %s SET (%s)', p_month, v_settings));
    END IF;
    v_settings := sec.dress_columns(p_month, p_parent, p_model, p_new);
    IF v_settings IS NOT NULL THEN
        PERFORM sec.run_ddl(format('ALTER TABLE %s %s', p_month, v_settings));
    END IF;
    v_identity := sec.replica_identity_like(p_month, p_parent, p_model);
    IF p_new AND v_identity IS NOT NULL THEN
        PERFORM sec.run_ddl(format('ALTER TABLE %s REPLICA IDENTITY %s', p_month, v_identity));
    END IF;
    FOR v IN
        SELECT n.attname, col_description(p_parent, p.attnum) AS says
        FROM pg_attribute p JOIN pg_attribute n ON n.attrelid = p_month AND n.attname = p.attname AND NOT n.attisdropped
        WHERE p.attrelid = p_parent AND p.attnum > 0 AND NOT p.attisdropped
          AND col_description(p_parent, p.attnum) IS DISTINCT FROM coalesce(col_description(p_month, n.attnum), '')
    LOOP
        CONTINUE WHEN v.says IS NULL;
        PERFORM sec.run_ddl(format('COMMENT ON COLUMN %s.%I IS %L', p_month, v.attname, v.says));
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.dress_month(regclass, regclass, regclass, boolean) IS
    'Gives a month what its table and the present month have and it has not: storage settings, statistics targets and options of '
    'columns, comments; a new one also storage, compression and replica identity. Nothing is taken away. Internal.';
CREATE FUNCTION sec.dress_made_month(p_day date) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    FOR v IN SELECT x.parent, x.part, sec.model_month(x.parent) AS model
             FROM (SELECT format('%I.%I', t.nsp, t.tab)::regclass AS parent,
                          to_regclass(format('%I.%I', t.nsp, t.tab || to_char(p_day::timestamp, '_YYYYMM'))) AS part
                   FROM sec.monthly_tables() t) x
             WHERE x.part IS NOT NULL LOOP
        IF v.part <> v.model THEN
            PERFORM sec.dress_month(v.part, v.parent, v.model, false);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.dress_made_month(date) IS
    'Gives the tables of a month that was made before what the present month has got since, as far as that keeps nobody waiting. '
    'Internal.';
CREATE FUNCTION sec.month_remarks() RETURNS TABLE (remark text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH parents AS (SELECT p.oid, p.oid::regclass AS parent, p.reltablespace, sec.model_month(p.oid::regclass) AS model
                     FROM sec.monthly_tables() t JOIN pg_class p ON p.oid = format('%I.%I', t.nsp, t.tab)::regclass),
    alone (object, month) AS (
        SELECT 'index ' || x.indexrelid::regclass, p.model FROM parents p JOIN pg_index x ON x.indrelid = p.model
        WHERE NOT x.indisprimary AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = x.indexrelid)
        UNION ALL
        SELECT format('constraint %I', k.conname), p.model FROM parents p JOIN pg_constraint k ON k.conrelid = p.model
        WHERE k.contype IN ('c', 'f', 'u', 'x') AND k.coninhcount = 0 AND k.conparentid = 0
        UNION ALL
        SELECT format('trigger %I', g.tgname), p.model FROM parents p JOIN pg_trigger g ON g.tgrelid = p.model
        WHERE NOT g.tgisinternal AND g.tgparentid = 0 AND g.tgfoid <> 'sec.append_only()'::regprocedure
        UNION ALL
        SELECT format('policy %I', q.polname), p.model FROM parents p JOIN pg_policy q ON q.polrelid = p.model
        UNION ALL
        SELECT format('rule %I', r.rulename), p.model FROM parents p JOIN pg_rewrite r ON r.ev_class = p.model
        UNION ALL
        SELECT format('statistics %I.%I', n.nspname, s.stxname), p.model
        FROM parents p JOIN pg_statistic_ext s ON s.stxrelid = p.model JOIN pg_namespace n ON n.oid = s.stxnamespace
        UNION ALL
        SELECT format('publication %I', b.pubname), p.model
        FROM parents p JOIN pg_publication_rel r ON r.prrelid = p.model JOIN pg_publication b ON b.oid = r.prpubid
        UNION ALL
        SELECT format('default of column %I', a.attname), p.model
        FROM parents p JOIN pg_attrdef d ON d.adrelid = p.model JOIN pg_attribute a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
        JOIN pg_attribute o ON o.attrelid = p.oid AND o.attname = a.attname
        LEFT JOIN pg_attrdef e ON (e.adrelid, e.adnum) = (o.attrelid, o.attnum)
        WHERE pg_get_expr(d.adbin, d.adrelid) IS DISTINCT FROM pg_get_expr(e.adbin, e.adrelid)
        UNION ALL
        SELECT format('rights of %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END), p.model
        FROM parents p JOIN pg_class c ON c.oid = p.model, aclexplode(c.relacl) a WHERE a.grantee <> c.relowner
        UNION ALL
        SELECT 'forced row-level security', p.model FROM parents p JOIN pg_class c ON c.oid = p.model WHERE c.relforcerowsecurity
        UNION ALL
        SELECT 'replica identity', p.model FROM parents p JOIN pg_class c ON c.oid = p.model
        WHERE c.relreplident = 'i' AND NOT EXISTS (SELECT FROM pg_index x JOIN pg_inherits i ON i.inhrelid = x.indexrelid
                                                   WHERE x.indrelid = p.model AND x.indisreplident)
        UNION ALL
        SELECT format('access method %I', a.amname), p.model
        FROM parents p JOIN pg_class c ON c.oid = p.model JOIN pg_am a ON a.oid = c.relam JOIN pg_class o ON o.oid = p.oid
        WHERE a.amname <> 'heap' AND o.relam <> c.relam)
    SELECT format('%s has %s, which later months do not get', a.month, string_agg(DISTINCT a.object, ', ' ORDER BY a.object))
    FROM alone a GROUP BY a.month
    UNION ALL
    SELECT format('tablespace %I of %s is not for later months: %s may not CREATE in it', s.spcname, c.oid::regclass, sec.owner())
    FROM parents p JOIN pg_class c ON c.oid IN (p.oid, p.model, sec.primary_key_of(p.model)) JOIN pg_tablespace s ON s.oid = c.reltablespace
    WHERE NOT has_tablespace_privilege(sec.owner(), s.oid, 'CREATE')
    UNION ALL
    SELECT format('trigger %I on %s does not fire: the RPCs write to the months', g.tgname, p.parent)
    FROM parents p JOIN pg_trigger g ON g.tgrelid = p.oid
    WHERE NOT g.tgisinternal AND g.tgtype & 1 = 0 AND g.tgfoid <> 'sec.append_only()'::regprocedure
    UNION ALL
    SELECT format('rule %I on %s is not followed: the RPCs write to the months', r.rulename, p.parent)
    FROM parents p JOIN pg_rewrite r ON r.ev_class = p.oid
    UNION ALL
    SELECT format('trigger %I on %s calls %s, which %s may not execute: that stops the making of months',
                  g.tgname, p.parent, g.tgfoid::regprocedure, sec.owner())
    FROM parents p JOIN pg_trigger g ON g.tgrelid = p.oid
    WHERE NOT g.tgisinternal AND NOT has_function_privilege(sec.owner(), g.tgfoid, 'EXECUTE')
    UNION ALL
    SELECT format('foreign key %I: making a month keeps writers of %s waiting for a moment', k.conname,
                  CASE k.conrelid WHEN p.oid THEN k.confrelid ELSE k.conrelid END::regclass)
    FROM parents p JOIN pg_constraint k ON k.contype = 'f' AND p.oid IN (k.conrelid, k.confrelid) AND k.conparentid = 0
    ORDER BY 1
$$;
COMMENT ON FUNCTION sec.month_remarks() IS
    'What a shop added to the monthly tables or to the present month and later months do not get, or that costs something when they '
    'are made. Internal: app.health() shows it.';
CREATE FUNCTION sec.install_rehearsals() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.month_rehearsals') IS NULL THEN
        CREATE TABLE app.month_rehearsals (
            singleton    boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (singleton),
            month        date        NOT NULL,
            rehearsed_at timestamptz NOT NULL,
            problem      text
        );
        COMMENT ON TABLE app.month_rehearsals IS
            'The last time that app.maintain_partitions() tried out whether the next missing month could be made and written to';
        COMMENT ON COLUMN app.month_rehearsals.problem IS 'What would stop it; NULL: nothing.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_rehearsals() IS
    'Makes the table of rehearsals, where it is missing. Internal: sec.install() calls it.';
CREATE FUNCTION sec.next_missing_month() RETURNS date
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_month date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
BEGIN
    WHILE NOT EXISTS (SELECT FROM sec.missing_tables(v_month)) LOOP
        v_month := (v_month + interval '1 month')::date;
    END LOOP;
    RETURN CASE WHEN v_month < date '2100-01-01' THEN v_month END;
END
$$;
COMMENT ON FUNCTION sec.next_missing_month() IS 'The first month from now on that is not there whole; NULL: all are. Internal.';
CREATE FUNCTION sec.try_columns(p_row jsonb, p_table text, p_columns text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_names text := (SELECT string_agg(split_part(trim(c), ' ', 1), ', ') FROM string_to_table(p_columns, ',') c);
BEGIN
    EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM jsonb_to_record($1) AS r (%s)', p_table, v_names, v_names, p_columns) USING p_row;
END
$$;
COMMENT ON FUNCTION sec.try_columns(jsonb, text, text) IS 'Writes one row of our own columns, as the RPCs do. Internal: the rehearsal.';
CREATE FUNCTION sec.last_payment() RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_model regclass := sec.model_month('app.transactions');
    v_row jsonb;
BEGIN
    -- Of the server's types and ours alone: to make JSON of another its owner's functions would run as ours.
    IF v_model IS NOT NULL THEN
        EXECUTE format('SELECT to_jsonb(x) FROM (SELECT t.card_id, t.member_id, t.merchant_id, t.processed_by, t.tx_type, t.status, '
                       't.card_type, t.payment_method, t.discount, t.raw_amount, t.final_amount, t.balance_after, t.refunded_amount, '
                       't.points_earned, t.card_seq, t.reason FROM (SELECT * FROM %s ORDER BY id DESC LIMIT 1000) t '
                       'WHERE t.tx_type = ''payment'' ORDER BY t.id DESC LIMIT 1) x', v_model) INTO v_row;
    END IF;
    RETURN coalesce(v_row, (SELECT jsonb_build_object('card_id', c.id, 'member_id', c.member_id) FROM app.personal_cards c LIMIT 1),
                    jsonb_build_object('card_id', gen_random_uuid(), 'member_id', gen_random_uuid()));
END
$$;
COMMENT ON FUNCTION sec.last_payment() IS
    'What a payment of this shop looks like: its last one, or one of any card. Internal: the rehearsal.';
CREATE FUNCTION sec.try_month(p_month date) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_suffix text := to_char(p_month::timestamp, '_YYYYMM');
    v_at timestamptz := p_month::timestamp AT TIME ZONE 'UTC';
    -- The number 0 is nobody's: the sequence begins with 1, and nothing is taken from it.
    v_id bigint := to_char(p_month::timestamp, 'YYMM')::bigint * 100000000000;
    v_tx_no text := to_char(p_month::timestamp, '"ZF"YYMM"000000"');
    v_row jsonb;
    v record;
BEGIN
    -- What a shop's triggers do before a row is written decides whether it can be; what they do after it (mail, say) is for
    -- payments that took place.
    FOR v IN SELECT g.tgrelid::regclass AS part, g.tgname FROM sec.monthly_tables() t
             JOIN pg_trigger g ON g.tgrelid = format('%I.%I', t.nsp, t.tab || v_suffix)::regclass
             WHERE NOT g.tgisinternal AND g.tgtype & 2 = 0 LOOP
        PERFORM sec.run_ddl(format('ALTER TABLE %s DISABLE TRIGGER %I', v.part, v.tgname));
    END LOOP;
    v_row := jsonb_build_object('tx_type', 'payment', 'status', 'completed', 'card_type', 'personal', 'payment_method', 'balance',
                                'points_earned', 1, 'discount', 1, 'raw_amount', 1, 'final_amount', 1, 'balance_after', 0,
                                'refunded_amount', 0, 'card_seq', 1, 'tag', '{}'::jsonb,
                                'merchant_id', (SELECT m.id FROM app.merchants m ORDER BY m.id LIMIT 1))
             || sec.last_payment() || jsonb_build_object('id', v_id, 'created_at', v_at, 'posted_at', v_at, 'tx_no', v_tx_no);
    PERFORM sec.try_columns(v_row, 'app.transactions' || v_suffix,
        'id bigint, created_at timestamptz, posted_at timestamptz, card_seq bigint, prev_tx_id bigint, skip_tx_id bigint, '
        'refund_chain_id bigint, points_earned bigint, merchant_id integer, tx_type app.tx_type, status app.tx_status, '
        'card_type app.card_type, payment_method app.pay_method, card_id uuid, member_id uuid, processed_by uuid, discount numeric, '
        'raw_amount numeric, final_amount numeric, balance_after numeric, refunded_amount numeric, refundable_left numeric, '
        'tx_no text, original_tx_no text, idempotency_key text, external_order_id text, gateway_trade_no text, reason text, '
        'failure_reason text, tag jsonb, excluded_amount numeric, coupon_discount numeric, member_coupon_id bigint, '
        'points_base bigint, points_bonus bigint, campaigns jsonb');
    IF v_row ->> 'card_type' <> 'personal' THEN
        v_row := v_row || coalesce((SELECT jsonb_build_object('card_id', c.id) FROM app.personal_cards c LIMIT 1), '{}');
    END IF;
    PERFORM sec.try_columns(
        v_row || '{"point_seq": 1, "change": 1, "balance_after": 1, "level": 0, "reason": null}', 'app.point_ledger' || v_suffix,
        'card_id uuid, point_seq bigint, created_at timestamptz, change bigint, balance_after bigint, level smallint, tx_no text, '
        'reason text');
    PERFORM sec.try_columns(
        jsonb_build_object('id', 0, 'happened_at', v_at, 'actor_user_id', v_row -> 'processed_by', 'actor_role', sec.caller_role(),
                           'action', 'payment', 'object_type', 'transaction', 'object_id', v_tx_no, 'context', '{}'::jsonb),
        'audit.event_log' || v_suffix, 'id bigint, happened_at timestamptz, actor_user_id uuid, actor_role text, action text, '
        'object_type text, object_id text, context jsonb');
    -- As a refund does. Where a publication lacks an identity this is what fails.
    EXECUTE format('UPDATE app.transactions%s SET refund_chain_id = id, refunded_amount = final_amount WHERE id = $1', v_suffix) USING v_id;
END
$$;
COMMENT ON FUNCTION sec.try_month(date) IS
    'Writes a charge''s rows into a month that was made a moment ago, and a refund''s change; takes no numbers. Triggers that fire '
    'after a row are left out. Internal: the rehearsal.';
CREATE FUNCTION app.rehearse_month_batch() RETURNS boolean
    -- Charges that meet a lock of this wait no longer than this waits for it, and for the few milliseconds that it is held.
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $$
DECLARE
    v_month date;
    v_problem text;
    v_state text;
    v_detail text;
    v_where text;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_read_only();
    PERFORM sec.refuse_shadows();
    v_month := sec.next_missing_month();
    IF v_month IS NULL THEN
        RETURN true;
    END IF;
    BEGIN
        PERFORM sec.make_month_tables(v_month);
        PERFORM sec.try_month(v_month);
        RAISE EXCEPTION USING ERRCODE = 'MPSOK';
    EXCEPTION
        -- Whichever it is, everything since BEGIN is undone, and its locks are free.
        WHEN SQLSTATE 'MPSOK' THEN NULL;
        WHEN lock_not_available OR deadlock_detected THEN RETURN false;
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS v_problem = MESSAGE_TEXT, v_state = RETURNED_SQLSTATE, v_detail = PG_EXCEPTION_DETAIL,
                v_where = PG_EXCEPTION_CONTEXT;
            -- No detail but of our own errors: it may show a row.
            v_problem := CASE WHEN v_state LIKE 'PT%' THEN v_detail ELSE v_problem END;
            v_problem := concat(v_problem, ' (' || left(
                substring(v_where FROM 'SQL statement "((?:CREATE|ALTER|INSERT|UPDATE|COMMENT)[^"\n(]*[^"\n( ])'), 200) || ')');
    END;
    INSERT INTO app.month_rehearsals AS r (month, rehearsed_at, problem) VALUES (v_month, clock_timestamp(), v_problem)
    ON CONFLICT (singleton) DO UPDATE SET month = excluded.month, rehearsed_at = excluded.rehearsed_at, problem = excluded.problem;
    RETURN true;
END
$$;
COMMENT ON FUNCTION app.rehearse_month_batch() IS
    E'Tries out whether the next missing month could be made and written to.\n'
    'In a subtransaction, which is rolled back; the answer is noted in app.month_rehearsals, for app.health(). False: a lock was not to '
    'be had, and nothing is noted. One batch of app.maintain_partitions(). Errors: NOT_ALLOWED.\n'
    'Level: operator.';
CREATE FUNCTION sec.health_of_months(p_patience interval) RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_this date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    v_next date := coalesce(sec.next_missing_month(), date '2100-01-01');
    v_ahead integer := 12 * (extract(year FROM v_next) - extract(year FROM v_this))
                       + extract(month FROM v_next) - extract(month FROM v_this) - 1;
    v_holders text := sec.who_holds_months();
    v_remarks text := (SELECT string_agg(m.remark, '; ') FROM sec.month_remarks() m);
    v record;
BEGIN
    SELECT r.month, r.problem, greatest(clock_timestamp() - r.rehearsed_at, interval '0') AS age INTO v FROM app.month_rehearsals r;
    RETURN QUERY
        SELECT 'partitions'::text, v_ahead >= 1 AND v.problem IS NULL,
               CASE WHEN v_ahead < 0 THEN 'THE PRESENT MONTH IS NOT MADE: the next charge has to, or fails'
                    ELSE format('%s months ahead are made', v_ahead) END
               || CASE WHEN v_ahead < 1 THEN ': CALL app.maintain_partitions()' ELSE '' END
               || CASE WHEN v.problem IS NULL THEN '' ELSE '; another could not be: see next_month' END
               || CASE WHEN v_ahead < 1 AND v_holders IS NOT NULL
                       THEN '; no month can be made as long as locks are held by ' || v_holders ELSE '' END;
    RETURN QUERY
        SELECT 'next_month'::text, v.month IS NOT NULL AND v.problem IS NULL AND v.age < p_patience,
               CASE WHEN v.month IS NULL THEN 'it was never tried out whether it can be made: CALL app.maintain_partitions()'
                    ELSE format('%s, tried out %s ago: %s', to_char(v.month, 'YYYY-MM'), date_trunc('second', v.age),
                                coalesce('CANNOT BE MADE AND WRITTEN TO: ' || v.problem, 'can be made and written to')) END
               || coalesce('; ' || v_remarks, '');
END
$$;
COMMENT ON FUNCTION sec.health_of_months(interval) IS
    'What app.health() says of the months: how many are made ahead, whether the next one could be, what later ones do not get. Only '
    'reads. Internal.';
CREATE OR REPLACE FUNCTION app.maintain_partitions_batch(p_ahead integer) RETURNS boolean
    -- As in the rehearsal. Shorter than deadlock_timeout, so that no autovacuum gives way to this.
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $$
DECLARE
    v_month date;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_read_only();
    PERFORM sec.check_months_ahead(p_ahead);
    v_month := date_trunc('month', (now() AT TIME ZONE 'UTC')::date + make_interval(months => p_ahead))::date;
    PERFORM sec.refuse_shadows();
    BEGIN
        -- So that a dump without privileges says by which names roles go today.
        PERFORM sec.note_grants();
        IF EXISTS (SELECT FROM sec.missing_tables(v_month)) THEN
            RETURN sec.make_month_tables(v_month);
        END IF;
        PERFORM sec.dress_made_month(v_month);
        PERFORM sec.drop_replaced_index();
        PERFORM sec.note_default_version();
    EXCEPTION WHEN lock_not_available THEN
        RETURN NULL;
    END;
    RETURN false;
END
$$;
COMMENT ON FUNCTION app.maintain_partitions_batch(integer) IS
    E'Makes the month that is p_ahead months from now, if it is missing, or gives it the settings that the present month has got since.\n'
    'NULL: a lock was not to be had at once. One batch of app.maintain_partitions().\n'
    'Level: operator.';
CREATE OR REPLACE PROCEDURE app.maintain_partitions(p_months_ahead integer DEFAULT 3)
    LANGUAGE plpgsql AS $$
DECLARE
    v_made boolean;
    v_any boolean;
    v_done boolean;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    PERFORM sec.check_months_ahead(p_months_ahead);
    PERFORM sec.job_batch('maintain_partitions', 1, true);
    COMMIT;
    -- First the rehearsal: what would stop a month is noted before it stops one. Again where months were made: of the next.
    FOR v_round IN 1 .. 2 LOOP
        FOR v_try IN 1 .. 5 LOOP
            v_done := app.rehearse_month_batch();
            COMMIT;
            EXIT WHEN v_done;
            PERFORM pg_catalog.pg_sleep(0.25);
            COMMIT;
        END LOOP;
        EXIT WHEN v_any IS NOT NULL;
        v_any := false;
        FOR v_ahead IN 0 .. p_months_ahead LOOP
            FOR v_try IN 1 .. 20 LOOP
                v_made := app.maintain_partitions_batch(v_ahead);
                COMMIT;
                EXIT WHEN v_made IS NOT NULL;
                -- So that who queued behind the attempt gets through first.
                PERFORM pg_catalog.pg_sleep(0.25);
                COMMIT;
            END LOOP;
            IF v_made IS NULL THEN
                PERFORM sec.raise('STATUS_CONFLICT',
                                  'not all months are made or have what the present one has: in 20 tries a lock was not to be had '
                                  '(who runs ANALYZE of the partitioned tables keeps it until the transaction ends)');
            END IF;
            v_any := v_any OR v_made;
        END LOOP;
        EXIT WHEN NOT v_any;
    END LOOP;
    IF NOT v_done THEN
        RAISE WARNING 'mps: whether the next month can be made was not tried out: in 5 tries a lock was not to be had';
    END IF;
    CALL app.close_months();
    PERFORM sec.job_batch('maintain_partitions', 0, false);
    COMMIT;
END
$$;
COMMENT ON PROCEDURE app.maintain_partitions(integer) IS
    E'Makes the partitions of this month and of p_months_ahead (0 to 120) more, where they are missing.\n'
    'Tries out whether the next one could be made and written to, for app.health(); gives months made before the settings that the '
    'present one has got since. Also closes the months that are over (app.close_months). Charges go on meanwhile.\n'
    'Level: operator.\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT where a lock was not to be had in 20 tries.';
COMMENT ON FUNCTION sec.check_months_ahead(integer) IS
    E'Refuses a number of months out of bounds. Internal.\n'
    'Level: operator.';
CREATE FUNCTION sec.install_closing() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.closed_months') IS NULL THEN
        CREATE TABLE app.closed_months (
            singleton     boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (singleton),
            noted_through date        NOT NULL CHECK (extract(day FROM noted_through) = 1),
            through       date        CHECK (through <= noted_through),
            xid           xid8,
            noted_at      timestamptz NOT NULL
        );
        COMMENT ON TABLE app.closed_months IS
            'Up to which month app.merchant_months and app.member_months say who has transactions; without a row, no month is closed';
        COMMENT ON COLUMN app.closed_months.noted_through IS
            'Who writes into this month (its first day) or an older one adds to the two tables what is missing there.';
        COMMENT ON COLUMN app.closed_months.through IS 'This month and all older ones are in the two tables.';
        COMMENT ON COLUMN app.closed_months.xid IS
            'Every transaction that could have written before it knew of noted_through had an id of its own below this one. Worth '
            'nothing in another cluster, and noted anew there.';
    END IF;
    IF to_regclass('app.merchant_months') IS NULL THEN
        CREATE TABLE app.merchant_months (
            merchant_id integer NOT NULL,
            month       date    NOT NULL,
            PRIMARY KEY (merchant_id, month)
        );
        COMMENT ON TABLE app.merchant_months IS 'In which closed months (UTC, by created_at) a merchant has transactions';
    END IF;
    IF to_regclass('app.member_months') IS NULL THEN
        CREATE TABLE app.member_months (
            member_id uuid NOT NULL,
            month     date NOT NULL,
            PRIMARY KEY (member_id, month)
        );
        COMMENT ON TABLE app.member_months IS
            'In which closed months (UTC, by created_at) a member has transactions with company cards; those with its own cards are '
            'found along the card';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_closing() IS 'Makes the tables of closed months, where they are missing. Internal: sec.install() calls it.';
CREATE FUNCTION app.close_months_note_batch() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- A month's end is a day past.
    v_through date := (date_trunc('month', (now() - interval '1 day') AT TIME ZONE 'UTC') - interval '1 month')::date;
    v record;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_read_only();
    LOCK TABLE app.closed_months IN SHARE ROW EXCLUSIVE MODE;
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    SELECT c.noted_through, c.through IS DISTINCT FROM c.noted_through
               AND sec.cut_is_of_here(c.xid) IS NOT TRUE AS unmarked INTO v
    FROM app.closed_months c;
    IF NOT FOUND THEN
        INSERT INTO app.closed_months (noted_through, noted_at) VALUES (v_through, clock_timestamp());
    ELSIF v.noted_through < v_through OR v.unmarked THEN
        UPDATE app.closed_months SET noted_through = greatest(noted_through, v_through), xid = NULL, noted_at = clock_timestamp();
    ELSE
        RETURN false;
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION app.close_months_note_batch() IS
    E'Notes which months are over, so that whoever writes into them says so; returns whether anything is new.\n'
    'The first batch of app.close_months(); app.close_months_mark_batch() is the next, in a transaction of its own.\n'
    'Level: operator.';
CREATE FUNCTION app.close_months_mark_batch() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_cut xid8;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_read_only();
    -- So that the cut marks no note that came after it.
    LOCK TABLE app.closed_months IN SHARE ROW EXCLUSIVE MODE;
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    -- Who has inserted a row looks then whether its month is noted, and has a transaction id by that time. So whoever looked
    -- before the note was there has one below this.
    v_cut := sec.cut('months are marked first thing in a transaction: CALL app.maintain_partitions()');
    UPDATE app.closed_months SET xid = v_cut WHERE xid IS NULL;
END
$$;
COMMENT ON FUNCTION app.close_months_mark_batch() IS
    E'Marks the moment from which on every transaction knows which months are noted.\n'
    'One batch of app.close_months().\n'
    'Level: operator.\n'
    'Errors: STATUS_CONFLICT, not by itself in a transaction.';
CREATE FUNCTION sec.closing_is_ready() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.refuse_outdated();
    RETURN coalesce((SELECT c.through = c.noted_through OR sec.cut_has_passed(c.xid)
                     FROM app.closed_months c), false);
END
$$;
COMMENT ON FUNCTION sec.closing_is_ready() IS
    E'Whether every transaction has ended that may write into a noted month without saying so. Internal.\n'
    'Level: operator.';
CREATE FUNCTION app.close_month_batch(p_after date) RETURNS date
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET jit = off AS $$
DECLARE
    v record;
    v_ready boolean;
    v_month date;
    v_table text;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_read_only();
    LOCK TABLE app.closed_months IN SHARE ROW EXCLUSIVE MODE;
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    v_ready := sec.closing_is_ready();
    SELECT c.noted_through, coalesce(c.through, '-infinity') AS through INTO v FROM app.closed_months c;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Never beyond a month that is not closed yet, whatever is asked for.
    SELECT m.month INTO v_month
    FROM (SELECT to_date(right(c.relname::text, 6), 'YYYYMM') AS month
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = 'app.transactions'::regclass AND c.relname ~ '^transactions_20[0-9]{4}$') m
    WHERE m.month > least(coalesce(p_after, '-infinity'), v.through)
      AND m.month <= CASE WHEN v_ready THEN v.noted_through ELSE v.through END
    ORDER BY m.month LIMIT 1;
    IF NOT FOUND THEN
        IF v_ready THEN
            UPDATE app.closed_months SET through = noted_through WHERE through IS DISTINCT FROM noted_through;
        END IF;
        RETURN NULL;
    END IF;
    v_table := 'transactions_' || to_char(v_month, 'YYYYMM');
    BEGIN
        EXECUTE format($q$
            INSERT INTO app.merchant_months (merchant_id, month)
            WITH RECURSIVE merchants (id) AS (
                (SELECT x.merchant_id FROM app.%1$I x WHERE x.merchant_id IS NOT NULL ORDER BY x.merchant_id LIMIT 1)
                UNION ALL
                SELECT (SELECT x.merchant_id FROM app.%1$I x WHERE x.merchant_id > m.id ORDER BY x.merchant_id LIMIT 1)
                FROM merchants m WHERE m.id IS NOT NULL)
            SELECT m.id, $1 FROM merchants m WHERE m.id IS NOT NULL ON CONFLICT DO NOTHING$q$, v_table) USING v_month;
        IF v_month > v.through THEN
            EXECUTE format($q$
                INSERT INTO app.member_months (member_id, month)
                SELECT DISTINCT x.member_id, $1 FROM app.%1$I x WHERE x.card_type = 'enterprise' AND x.member_id IS NOT NULL
                ON CONFLICT DO NOTHING$q$, v_table) USING v_month;
            UPDATE app.closed_months SET through = v_month;
        END IF;
    EXCEPTION WHEN undefined_table THEN
        -- Archived since it was looked up: nothing to close.
        IF NOT EXISTS (SELECT FROM app.archived_months a WHERE a.month = v_month) THEN
            RAISE;
        END IF;
    END;
    RETURN v_month;
END
$$;
COMMENT ON FUNCTION app.close_month_batch(date) IS
    E'Closes the month after p_after (NULL: the first), or looks again into one that is closed.\n'
    'Returns that month; NULL when all is done or an older transaction is still running. One batch of app.close_months().\n'
    'Level: operator.';
CREATE PROCEDURE app.close_months()
    LANGUAGE plpgsql AS $$
DECLARE
    v_month date;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF app.close_months_note_batch() THEN
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        PERFORM app.close_months_mark_batch();
    END IF;
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    -- At most a second for the transactions that were running; what they hold up is left to the next run.
    FOR v_try IN 1 .. 20 LOOP
        EXIT WHEN sec.closing_is_ready();
        COMMIT;
        PERFORM pg_catalog.pg_sleep(0.05);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    END LOOP;
    LOOP
        v_month := app.close_month_batch(v_month);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        EXIT WHEN v_month IS NULL;
    END LOOP;
    COMMIT;
END
$$;
COMMENT ON PROCEDURE app.close_months() IS
    E'Notes who has transactions in each month that has been over for a day.\n'
    'So that a page costs the page however many months there are. app.maintain_partitions() calls it. What a long transaction holds '
    'up is left to the next run.\n'
    'Level: operator.';
CREATE FUNCTION sec.partition_bounds(p_partition oid) RETURNS TABLE (starts timestamptz, ends timestamptz)
    -- Read as the server prints them, so in one zone and style.
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET timezone = 'UTC' SET datestyle = 'ISO, YMD' AS $$
    SELECT CASE WHEN b.bounds[1] = 'MINVALUE' THEN '-infinity' ELSE trim(b.bounds[1], '''') END::timestamptz,
           CASE WHEN b.bounds[2] = 'MAXVALUE' THEN 'infinity' ELSE trim(b.bounds[2], '''') END::timestamptz
    FROM pg_class c, regexp_match(pg_get_expr(c.relpartbound, c.oid), '^FOR VALUES FROM \((.+)\) TO \((.+)\)$') b (bounds)
    WHERE c.oid = p_partition
$$;
COMMENT ON FUNCTION sec.partition_bounds(oid) IS 'From and to before when a partition has rows; NULLs for a DEFAULT one. Internal.';
CREATE OR REPLACE FUNCTION sec.months_to_archive(p_older_than date) RETURNS TABLE (month date)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
    SET timezone = 'UTC' AS $$
DECLARE
    v record;
BEGIN
    IF p_older_than IS NULL THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_older_than is missing');
    END IF;
    FOR v IN
        SELECT i.inhrelid::regclass AS part, b.starts, b.ends
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, sec.partition_bounds(c.oid) b
        WHERE i.inhparent = 'app.transactions'::regclass AND b.ends <= p_older_than::timestamptz
        ORDER BY 2
    LOOP
        -- The first that stays is the last that is looked at: what is older than an archived month is archived.
        IF v.ends > now() THEN
            RAISE NOTICE '% is not over yet: it stays', v.part;
            EXIT;
        ELSIF v.starts <> date_trunc('month', v.starts) OR v.ends <> v.starts + interval '1 month'
              OR v.part::text <> 'app.transactions_' || to_char(v.starts, 'YYYYMM') THEN
            RAISE NOTICE '% is not a month that mps made: it stays, and what is newer stays with it', v.part;
            EXIT;
        END IF;
        month := v.starts::date;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.months_to_archive(date) IS
    E'The months whose partitions end at or before 00:00 UTC of the day and are over, oldest first, up to the first partition that '
    'cannot be archived. Internal. Errors: INVALID_ARGUMENT.\n'
    'Level: operator.';
CREATE OR REPLACE PROCEDURE app.archive_partitions(p_older_than date)
    LANGUAGE plpgsql AS $$
DECLARE
    v_first boolean := true;
    v_months date[];
    v_month date;
    v_answer text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_months := ARRAY(SELECT m.month FROM sec.months_to_archive(p_older_than) m);
    -- Every batch sees what was committed before its locks, whatever the session's default is.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    FOREACH v_month IN ARRAY v_months LOOP
        FOR v_try IN 1 .. 20 LOOP
            v_answer := app.archive_month_batch(v_month);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
            EXIT WHEN coalesce(v_answer, '') OPERATOR(pg_catalog.<>) 'busy';
            -- So that who queued behind the attempt gets through first.
            PERFORM pg_catalog.pg_sleep(0.25);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        END LOOP;
        IF v_answer IS NOT NULL THEN
            RAISE NOTICE '% stays, and what is newer stays with it: %', v_month, v_answer;
            EXIT;
        END IF;
        PERFORM sec.job_batch('archive_partitions', 1, v_first);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        v_first := false;
    END LOOP;
    PERFORM sec.job_batch('archive_partitions', 0, v_first);
    COMMIT;
END
$$;
COMMENT ON PROCEDURE app.archive_partitions(date) IS
    E'Detaches the months that ended at or before 00:00 UTC of p_older_than, oldest first; deletes nothing.\n'
    'They move to the schema mps_archive. What is asked of them answers ARCHIVED from then on. A month with a recharge still '
    'processing or with unsealed audit events stays, and every newer one with it, with a NOTICE that says why.\n'
    'Level: operator.\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT.';
CREATE OR REPLACE FUNCTION app.archive_month_batch(p_month date) RETURNS text
    -- Shorter than deadlock_timeout: whatever this waits for, it gives way, and nobody queues behind it for longer.
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off SET timezone = 'UTC' SET lock_timeout = '500ms' AS $$
DECLARE
    v_month date;
    v_older text;
    v_suffix text := to_char(p_month, 'YYYYMM');
    v_sealed bigint;
    v_unsealed bigint;
    v record;
BEGIN
    PERFORM sec.require_operator();
    IF p_month IS NULL OR p_month <> date_trunc('month', p_month)::date THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_month is the first day of a month');
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        -- An older view would not show what became pending before the locks were there.
        PERFORM sec.raise('STATUS_CONFLICT', 'under READ COMMITTED only: SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
    END IF;
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_shadows();
    IF to_regnamespace('mps_archive') IS NULL
       OR (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'mps_archive') <> sec.owner() THEN
        PERFORM sec.raise('STATUS_CONFLICT',
                          format('there is no schema mps_archive of %1$s: CREATE SCHEMA mps_archive AUTHORIZATION %1$s', sec.owner()));
    END IF;
    BEGIN
        -- First the lock of sec.make_month(), then the tables, so that nothing is decided on what may still change.
        LOCK TABLE app.archived_months IN SHARE ROW EXCLUSIVE MODE;
        EXECUTE (SELECT 'LOCK TABLE ' || string_agg(format('%I.%I', t.nsp, t.tab), ', ') || ' IN ACCESS EXCLUSIVE MODE'
                 FROM sec.monthly_tables() t);
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RETURN 'busy';
    END;
    -- Not before: of two that hold a writer's lock here neither would get that of the other's tables.
    PERFORM sec.refuse_read_only();
    -- Once more: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    -- A month is archived only if all older ones are: else the books would have holes, and statements would end before them.
    SELECT min(i.inhrelid::regclass::text) INTO v_older
    FROM pg_inherits i, sec.partition_bounds(i.inhrelid) b
    WHERE i.inhparent IN (SELECT format('%I.%I', t.nsp, t.tab)::regclass FROM sec.monthly_tables() t)
      AND b.starts < p_month::timestamptz;
    SELECT m.month INTO v_month FROM sec.months_to_archive((p_month + interval '1 month')::date) m WHERE m.month = p_month;
    IF NOT FOUND AND (v_older IS NULL OR to_regclass('app.transactions_' || v_suffix) IS NULL OR p_month + interval '1 month' > now()) THEN
        RETURN 'not there, or not over yet';
    ELSIF v_older IS NOT NULL THEN
        RETURN format('%s is older, and is not archived', v_older);
    END IF;
    FOR v IN SELECT x.name FROM (SELECT format('%I.%I', t.nsp, t.tab) AS name FROM sec.monthly_tables() t) x
             WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = x.name::regclass
                                 AND i.inhrelid = to_regclass(x.name || '_' || v_suffix)) LOOP
        RETURN format('%s has no such month', v.name);
    END LOOP;
    IF EXISTS (SELECT FROM app.transactions t WHERE t.status = 'processing' AND t.created_at >= p_month::timestamptz
                 AND t.created_at < p_month + interval '1 month') THEN
        RETURN 'a recharge of it is still processing: confirm it, fail it, or let app.expire_recharges() end it';
    END IF;
    SELECT max(s.last_id) INTO v_sealed FROM audit.seals s;
    SELECT count(*) INTO v_unsealed FROM audit.event_log e
    WHERE e.happened_at >= p_month::timestamptz AND e.happened_at < p_month + interval '1 month' AND e.id > coalesce(v_sealed, 0);
    IF v_unsealed > 0 THEN
        RETURN format('%s audit events of it are not sealed: CALL audit.seal()', v_unsealed);
    END IF;

    INSERT INTO app.archived_months (month, archived_at) VALUES (p_month, clock_timestamp());
    FOR v IN SELECT * FROM sec.monthly_tables() LOOP
        PERFORM sec.run_ddl(format('ALTER TABLE %1$I.%2$I DETACH PARTITION %1$I.%3$I', v.nsp, v.tab, v.tab || '_' || v_suffix));
        PERFORM sec.run_ddl(format('ALTER TABLE %I.%I SET SCHEMA mps_archive', v.nsp, v.tab || '_' || v_suffix));
    END LOOP;
    PERFORM sec.record_event('month.archived', 'month', to_char(p_month, 'YYYY-MM'), '{}');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION app.archive_month_batch(date) IS
    E'Archives one month, if all older ones are: notes it in app.archived_months, detaches its tables and '
    'moves them to mps_archive.\n'
    'Under READ COMMITTED only. NULL: done; busy: a lock was not to be had within half a second; else why the month stays. One batch of '
    'app.archive_partitions().\n'
    'Level: operator.\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT, SCHEMA_OUTDATED.';
CREATE FUNCTION sec.install_days() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.business_day_rules') IS NULL THEN
        CREATE TABLE app.business_day_rules (
            from_at   timestamptz NOT NULL PRIMARY KEY,
            from_day  date        NOT NULL UNIQUE,
            time_zone text        NOT NULL,
            starts_at time        NOT NULL
        );
        COMMENT ON TABLE app.business_day_rules IS
            'What a business day was, is and will be: each rule from the beginning of a day on. Follows settings.business_time_zone '
            'and settings.business_day_starts_at; read by app.business_day()';
        COMMENT ON COLUMN app.business_day_rules.from_at IS 'The moment from which the rule counts; -infinity for the first.';
        COMMENT ON COLUMN app.business_day_rules.from_day IS 'The day that begins then.';
        COMMENT ON COLUMN app.business_day_rules.time_zone IS 'By whose clocks: a name of pg_timezone_names.';
        COMMENT ON COLUMN app.business_day_rules.starts_at IS 'The time at which a day begins.';
    END IF;
    -- New, or from a dump of the schema alone.
    IF NOT EXISTS (SELECT FROM app.business_day_rules) THEN
        INSERT INTO app.business_day_rules (from_at, from_day, time_zone, starts_at) VALUES ('-infinity', '-infinity', 'UTC', '00:00');
    END IF;
    IF to_regclass('app.late_postings') IS NULL THEN
        CREATE TABLE app.late_postings (
            tx_id       bigint      NOT NULL PRIMARY KEY,
            merchant_id integer,
            card_id     uuid        NOT NULL,
            member_id   uuid,
            created_at  timestamptz NOT NULL,
            posted_at   timestamptz NOT NULL
        );
        CREATE INDEX late_postings_merchant_id_idx ON app.late_postings (merchant_id, posted_at);
        CREATE INDEX late_postings_card_id_idx ON app.late_postings (card_id, posted_at);
        CREATE INDEX late_postings_posted_at_idx ON app.late_postings (posted_at);
        COMMENT ON TABLE app.late_postings IS
            'Transactions that were posted in another month (UTC) than that of created_at, in whose partition they lie: a charge that '
            'waited over the turn of the month, a recharge confirmed later';
        COMMENT ON COLUMN app.late_postings.tx_id IS 'id of the transaction; the other columns are as there.';
    END IF;
    IF to_regclass('app.v_reconciliation') IS NULL THEN
        PERFORM sec.make_reconciliation();
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_days() IS
    'Makes the tables of days and the view of their totals, where they are missing. Internal: sec.install() calls it.';
CREATE FUNCTION sec.end_of_business_day(p_day date) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT app.business_day_start(p_day + 1)
$$;
COMMENT ON FUNCTION sec.end_of_business_day(date) IS
    'The moment at which a business day is over. Internal: app.set_card_expiry() calls it.';
CREATE FUNCTION app.business_day(p_at timestamptz)
    RETURNS date
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'business_day_wrapper';
COMMENT ON FUNCTION app.business_day IS
    E'The business day that a moment lies in.\n'
    'By the rule that counted then (app.business_day_rules), never by the session''s TimeZone. STABLE.\n'
    'Level: client, operator.\n'
    'Results: the day.\n'
    'Errors: INVALID_ARGUMENT, the day is out of range.';
CREATE FUNCTION app.business_day_start(p_day date)
    RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'business_day_start_wrapper';
COMMENT ON FUNCTION app.business_day_start IS
    E'When a business day begins.\n'
    'It ends where the next one begins, so that each moment is of exactly one day. Days are longer or shorter on the turns of summer '
    'time and where the settings were changed. STABLE.\n'
    'Level: client, operator.\n'
    'Results: the moment.\n'
    'Errors: INVALID_ARGUMENT, the day is out of range.';
CREATE FUNCTION sec.note_late_postings() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    INSERT INTO app.late_postings (tx_id, merchant_id, card_id, member_id, created_at, posted_at)
    SELECT t.id, t.merchant_id, t.card_id, t.member_id, t.created_at, t.posted_at FROM app.transactions t
    WHERE date_trunc('month', t.posted_at) <> date_trunc('month', t.created_at)
    ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION sec.note_late_postings() IS
    'Notes the late postings that are not noted: of before 0.3.0, and of calls that an update found under way. Internal: '
    'sec.migrate_tables() calls it.';
CREATE FUNCTION sec.migrate_days() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    -- Lines of a merchant go by when they were posted.
    IF to_regclass('app.transactions_merchant_posted_idx') IS NULL THEN
        CREATE INDEX transactions_merchant_posted_idx ON app.transactions (merchant_id, posted_at);
    END IF;
END
$$;
COMMENT ON FUNCTION sec.migrate_days() IS
    'The step to schema version 3 of what a day is and what was posted in it. Internal: sec.migrate_tables() calls it.';
CREATE FUNCTION sec.drop_replaced_index() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
BEGIN
    IF to_regclass('app.transactions_merchant_id_idx') IS NOT NULL THEN
        -- Without waiting: a call of the release before may wait for what the update holds, and hold what this asks for. On a
        -- busy machine the server may come to look for a deadlock before a time to wait, however short, is over.
        LOCK TABLE app.transactions IN ACCESS EXCLUSIVE MODE NOWAIT;
        PERFORM sec.run_ddl('DROP INDEX app.transactions_merchant_id_idx');
    END IF;
EXCEPTION WHEN lock_not_available THEN
    -- Another time: it only costs.
    NULL;
END
$$;
COMMENT ON FUNCTION sec.drop_replaced_index() IS
    'Drops the index of transactions on merchant_id and created_at that releases before 0.3.0 had, if nobody is in the way; else '
    'the next app.maintain_partitions() does. Internal.';
CREATE FUNCTION sec.has_month(p_month timestamp) RETURNS boolean
    -- STABLE, so that its query of the catalog is answered as of the caller's snapshot; a name is looked up as of now.
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_table text := 'transactions_' || to_char(p_month, 'YYYYMM');
BEGIN
    IF to_regclass('app.' || v_table) IS NOT NULL THEN
        RETURN true;
    ELSIF EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'app'::regnamespace AND c.relname = v_table) THEN
        PERFORM sec.raise('ARCHIVED', 'part of the period was archived after this transaction or statement began');
    END IF;
    RETURN false;
END
$$;
COMMENT ON FUNCTION sec.has_month(timestamp) IS
    'Whether a month of app.transactions is here. Internal: app.day_totals() asks it. Errors: ARCHIVED where the caller''s snapshot has '
    'it, and it is gone.';
CREATE FUNCTION sec.rules_of_ledger() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (10, ARRAY['balances'], 'books_balances'),
           (20, ARRAY['sequence', 'running_balance', 'posted_at', 'links'], 'books_chain'),
           (30, ARRAY['amounts', 'numbers'], 'books_numbers'),
           (40, ARRAY['points', 'point_ledger'], 'books_points'),
           (50, ARRAY['points_of_transactions'], 'books_points_of_transactions'),
           (70, ARRAY['audit'], 'books_audit'),
           (80, ARRAY['keys'], 'books_keys'),
           (90, ARRAY['orders'], 'books_orders'),
           (120, ARRAY['late_postings'], 'books_late_postings'),
           (130, ARRAY['closed_months'], 'books_closed_months')
$$;
COMMENT ON FUNCTION sec.rules_of_ledger() IS 'What app.verify_books() checks of the ledger. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_call(p_name text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    SELECT format('sec.%I(%s)', p.proname, (
        -- In the order in which app.verify_books() gives them.
        SELECT string_agg(format('$%s', array_position(ARRAY[
                   'p_from', 'p_to', 'p_archived', 'p_everything', 'p_events_before', 'p_months_from', 'p_months_to', 'p_keys_from',
                   'p_ids_from', 'p_ids_to', 'p_month_ids_from', 'p_month_ids_to', 'p_away'], a.name)), ', ' ORDER BY a.nth)
        FROM unnest(p.proargnames) WITH ORDINALITY a (name, nth) WHERE a.nth <= p.pronargs))
    FROM pg_proc p WHERE p.pronamespace = 'sec'::regnamespace AND p.proname = p_name AND p.proowner = sec.owner()
$$;
COMMENT ON FUNCTION sec.books_call(text) IS
    'How app.verify_books() calls a rule or a proof, with the parameters that it asks for; NULL: there is none of this name. Internal.';
CREATE OR REPLACE FUNCTION sec.books_rules() RETURNS TABLE (place integer, checks text[], finds text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.place, r.checks, sec.books_call(r.rule) FROM sec.books_families() r
$$;
COMMENT ON FUNCTION sec.books_rules() IS
    'The checks of app.verify_books(), by their place, and how it calls the rule that finds what breaks them. Internal.';
CREATE OR REPLACE FUNCTION sec.books_proofs() RETURNS TABLE (place integer, sound text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.place, sec.books_call(r.rule || '_proof') FROM sec.books_families() r
$$;
COMMENT ON FUNCTION sec.books_proofs() IS
    'For rules of sec.books_rules(), by place: how app.verify_books() calls the proof that nothing breaks them; NULL: it has none. '
    'Internal.';
CREATE FUNCTION sec.month_of_id(p_id bigint) RETURNS timestamptz
    -- Taken into the queries of the rules, like these.
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    SELECT CASE WHEN p_id / 10000000000000 BETWEEN 0 AND 99 AND p_id / 100000000000 % 100 BETWEEN 1 AND 12
                THEN make_timestamptz((2000 + p_id / 10000000000000)::integer, (p_id / 100000000000 % 100)::integer, 1, 0, 0, 0) END
$rule$;
COMMENT ON FUNCTION sec.month_of_id(bigint) IS
    'The first moment of the month that an id of a transaction names, or NULL: as a bound it leaves one partition to look in. Internal: '
    'the rules of app.verify_books().';
CREATE FUNCTION sec.books_cards()
    RETURNS TABLE (id uuid, card_no text, balance numeric, card_seq bigint, last_tx_id bigint, last_posted_at timestamptz)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    SELECT c.id, c.card_no, c.balance, c.card_seq, c.last_tx_id, c.last_posted_at FROM app.personal_cards c
    UNION ALL
    SELECT c.id, c.card_no, c.balance, c.card_seq, c.last_tx_id, c.last_posted_at FROM app.enterprise_cards c
$rule$;
COMMENT ON FUNCTION sec.books_cards() IS 'Every card, for the rules of app.verify_books(). Internal.';
CREATE FUNCTION sec.books_movements(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (id bigint, tx_no text, tx_type text, card_id uuid, card_seq bigint, prev_tx_id bigint, skip_tx_id bigint,
        posted_at timestamptz, balance_after numeric, change numeric)
    -- Types of mps are made after its functions: none in what a function takes and returns.
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    SELECT t.id, t.tx_no, t.tx_type::text, t.card_id, t.card_seq, t.prev_tx_id, t.skip_tx_id, t.posted_at, t.balance_after,
           CASE WHEN t.tx_type IN ('payment', 'withdrawal') THEN -t.final_amount ELSE t.final_amount END
    FROM app.transactions t WHERE t.posted_at IS NOT NULL AND t.created_at >= p_from AND t.created_at < p_to
$rule$;
COMMENT ON FUNCTION sec.books_movements(timestamptz, timestamptz) IS
    'What moved a balance, and by how much, for the rules of app.verify_books(). Internal.';
CREATE FUNCTION sec.points_after(p_card_id uuid, p_point_seq bigint) RETURNS bigint
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
    SET timezone = 'UTC' AS $$
DECLARE
    v_points bigint;
    v_ledger regclass;
BEGIN
    SELECT l.balance_after INTO v_points FROM app.point_ledger l WHERE l.card_id = p_card_id AND l.point_seq = p_point_seq LIMIT 1;
    FOR v_ledger IN
        SELECT to_regclass('mps_archive.point_ledger_' || to_char(a.month, 'YYYYMM')) FROM app.archived_months a ORDER BY a.month DESC
    LOOP
        EXIT WHEN v_points IS NOT NULL;
        CONTINUE WHEN v_ledger IS NULL;
        EXECUTE format('SELECT l.balance_after FROM %s l WHERE l.card_id = $1 AND l.point_seq = $2', v_ledger)
            INTO v_points USING p_card_id, p_point_seq;
    END LOOP;
    RETURN v_points;
END
$$;
COMMENT ON FUNCTION sec.points_after(uuid, bigint) IS
    'The points of a card after its entry of this number, also where its month is archived and still in this database; NULL: there is '
    'no such entry. Internal: the rules of app.verify_books().';
CREATE FUNCTION sec.books_chain(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH cards AS (SELECT * FROM sec.books_cards()),
    moved AS NOT MATERIALIZED (SELECT * FROM sec.books_movements(p_from, p_to)),
    linked AS (
        SELECT m.*, lag(m.id) OVER w AS b_id, lag(m.card_seq) OVER w AS b_seq, lag(m.balance_after) OVER w AS b_balance,
               lag(m.posted_at) OVER w AS b_posted, lag(m.id, 64) OVER w AS far_id, lag(m.card_seq, 64) OVER w AS far_seq
        FROM moved m WINDOW w AS (PARTITION BY m.card_id ORDER BY m.card_seq, m.id)),
    -- Whoever follows the movement before it within the range is right or wrong at once; the others (few: one per card
    -- where the range begins later than the card) are looked at one by one.
    odd AS (
        SELECT l.* FROM linked l WHERE NOT coalesce(
            (CASE WHEN l.card_seq = 1 THEN l.prev_tx_id IS NULL AND l.b_id IS NULL AND l.balance_after = l.change
                  ELSE l.b_seq = l.card_seq - 1 AND l.b_id = l.prev_tx_id AND l.balance_after = l.b_balance + l.change
                       AND l.posted_at > l.b_posted END)
            AND (CASE WHEN l.card_seq % 64 <> 0 OR l.card_seq = 64 THEN l.skip_tx_id IS NULL
                      ELSE l.far_seq = l.card_seq - 64 AND l.far_id = l.skip_tx_id END), false)),
    seen AS (
        SELECT o.*, c.card_no, p.id AS p_id, p.tx_no AS p_no, p.card_id AS p_card, p.card_seq AS p_seq,
               s.card_id AS s_card, s.card_seq AS s_seq,
               CASE WHEN o.b_seq = o.card_seq - 1 THEN o.b_balance ELSE p.balance_after END AS was,
               CASE WHEN o.b_seq = o.card_seq - 1 THEN o.b_posted ELSE p.posted_at END AS was_posted,
               coalesce(o.prev_tx_id / 100000000000 = ANY (p_archived), false) AS p_is_archived,
               coalesce(o.skip_tx_id / 100000000000 = ANY (p_archived), false) AS s_is_archived
        FROM odd o
        LEFT JOIN cards c ON c.id = o.card_id
        LEFT JOIN app.transactions p ON p.id = o.prev_tx_id AND p.posted_at IS NOT NULL
            AND p.created_at >= sec.month_of_id(o.prev_tx_id) AND p.created_at < sec.month_of_id(o.prev_tx_id) + interval '1 month'
        LEFT JOIN app.transactions s ON s.id = o.skip_tx_id AND s.posted_at IS NOT NULL
            AND s.created_at >= sec.month_of_id(o.skip_tx_id) AND s.created_at < sec.month_of_id(o.skip_tx_id) + interval '1 month')
    SELECT x.rule, format('%s: %s %s', coalesce(s.card_no, 'card ' || s.card_id), s.tx_no, x.what)
    FROM seen s CROSS JOIN LATERAL (
        SELECT 'sequence' AS rule, CASE
            WHEN s.card_seq < 1 THEN format('is number %s', s.card_seq)
            WHEN s.b_seq = s.card_seq THEN format('is number %s, and so is another movement', s.card_seq)
            WHEN s.card_seq > 1 AND s.prev_tx_id IS NULL THEN format('is number %s, but follows nothing', s.card_seq)
            WHEN s.card_seq > 1 AND s.p_id IS NULL AND NOT s.p_is_archived AND s.b_seq IS DISTINCT FROM s.card_seq - 1
                THEN format('is number %s, and number %s is missing', s.card_seq, s.card_seq - 1)
            WHEN s.card_seq > 1 AND s.b_seq IS DISTINCT FROM s.card_seq - 1 AND s.p_card = s.card_id AND s.p_seq < s.card_seq - 1
                THEN format('is number %s after %s, number %s', s.card_seq, s.p_no, s.p_seq)
            END AS what
        UNION ALL
        SELECT 'running_balance', CASE WHEN s.balance_after <> CASE WHEN s.card_seq = 1 THEN 0 ELSE s.was END + s.change
            THEN format('left %s, but %s %s %s is %s', s.balance_after, CASE WHEN s.card_seq = 1 THEN 0 ELSE s.was END,
                        CASE WHEN s.change < 0 THEN '-' ELSE '+' END, abs(s.change),
                        CASE WHEN s.card_seq = 1 THEN 0 ELSE s.was END + s.change) END
        UNION ALL
        SELECT 'posted_at', CASE WHEN s.card_seq > 1 AND s.posted_at <= s.was_posted
            THEN 'was not posted later than the movement before it' END
        UNION ALL
        SELECT 'links', CASE
            WHEN s.card_seq = 1 AND s.prev_tx_id IS NOT NULL THEN 'is the first, but names one before it'
            WHEN s.card_seq > 1 AND (s.p_card <> s.card_id OR s.p_seq >= s.card_seq
                                  OR (s.b_seq = s.card_seq - 1 AND s.b_id <> s.prev_tx_id))
                THEN format('names %s as the movement before it, which is not', coalesce(s.p_no, s.prev_tx_id::text)) END
        UNION ALL
        SELECT 'links', CASE
            WHEN s.card_seq % 64 <> 0 OR s.card_seq = 64 THEN
                CASE WHEN s.skip_tx_id IS NOT NULL THEN format('is number %s, but has a link 64 back', s.card_seq) END
            WHEN s.s_is_archived THEN NULL
            WHEN s.s_card IS DISTINCT FROM s.card_id OR s.s_seq IS DISTINCT FROM s.card_seq - 64
                THEN format('does not lead to number %s, 64 back', s.card_seq - 64) END) x
    WHERE x.what IS NOT NULL
$rule$;
COMMENT ON FUNCTION sec.books_chain(timestamptz, timestamptz, bigint[]) IS
    'Movements that do not follow the one before them: by number, balance, moment and links. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_chain_proof(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (sound boolean)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    -- Each movement follows the one that it names, or is the one of its card that begins here (the first, or it names one
    -- of an archived month); and there are as many as their numbers say. So none is there twice and none is missing.
    WITH moved AS NOT MATERIALIZED (SELECT * FROM sec.books_movements(p_from, p_to))
    SELECT NOT EXISTS (
            SELECT FROM moved m LEFT JOIN moved b ON b.id = m.prev_tx_id
            WHERE NOT coalesce(
                (CASE WHEN m.card_seq = 1 THEN m.prev_tx_id IS NULL AND m.balance_after = m.change
                      WHEN b.id IS NULL THEN m.card_seq > 1 AND m.prev_tx_id / 100000000000 = ANY (p_archived)
                      ELSE b.card_id = m.card_id AND b.card_seq = m.card_seq - 1 AND m.balance_after = b.balance_after + m.change
                           AND m.posted_at > b.posted_at END)
                AND (m.skip_tx_id IS NULL) = (m.card_seq % 64 <> 0 OR m.card_seq = 64), false))
        AND NOT EXISTS (
            SELECT FROM moved m LEFT JOIN moved b ON b.id = m.skip_tx_id AND b.card_seq % 64 = 0
            WHERE m.skip_tx_id IS NOT NULL AND (m.skip_tx_id / 100000000000 = ANY (p_archived)) IS NOT TRUE
              AND (b.card_id = m.card_id AND b.card_seq = m.card_seq - 64) IS NOT TRUE)
        AND NOT EXISTS (
            SELECT FROM moved m GROUP BY m.card_id
            HAVING count(*) <> max(m.card_seq) - min(m.card_seq) + 1
                OR count(*) FILTER (WHERE m.card_seq = 1 OR m.prev_tx_id / 100000000000 = ANY (p_archived)) <> 1)
$rule$;
COMMENT ON FUNCTION sec.books_chain_proof(timestamptz, timestamptz, bigint[]) IS
    'Whether nothing breaks sec.books_chain(). Internal: sec.books_rules().';
CREATE FUNCTION sec.books_balances(p_from timestamptz, p_to timestamptz, p_archived bigint[], p_everything boolean)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH cards AS (SELECT * FROM sec.books_cards()),
    moved AS NOT MATERIALIZED (SELECT * FROM sec.books_movements(p_from, p_to)),
    lasts AS MATERIALIZED (SELECT m.* FROM moved m WHERE m.id IN (SELECT c.last_tx_id FROM cards c))
    SELECT 'balances', format('%s: %s', coalesce(c.card_no, 'card ' || s.card_id), x.what)
    FROM cards c
    FULL JOIN (SELECT m.card_id, sum(m.change) AS total, count(*) AS movements, max(m.card_seq) AS top FROM moved m GROUP BY m.card_id) s
        ON s.card_id = c.id
    LEFT JOIN lasts l ON l.id = c.last_tx_id
    CROSS JOIN LATERAL (SELECT CASE
        WHEN c.id IS NULL THEN 'has movements, but there is no such card'
        WHEN c.card_seq = 0 THEN
            CASE WHEN c.balance <> 0 OR c.last_tx_id IS NOT NULL OR s.top IS NOT NULL
                 THEN format('balance %s and no movement counted, but the movements sum up to %s', c.balance, coalesce(s.total, 0)) END
        WHEN c.last_tx_id IS NULL OR (l.id IS NULL AND p_everything AND c.last_tx_id / 100000000000 <> ALL (p_archived))
            THEN 'its last movement is not there'
        WHEN l.card_id <> c.id THEN format('its last movement, %s, is another card''s', l.tx_no)
        WHEN l.balance_after <> c.balance THEN format('balance %s, but its last movement, %s, left %s', c.balance, l.tx_no, l.balance_after)
        WHEN l.card_seq <> c.card_seq OR l.posted_at <> c.last_posted_at OR s.top > c.card_seq
            THEN format('says its last movement is number %s (%s), but that is not the last', c.card_seq, l.tx_no)
        WHEN p_everything AND cardinality(p_archived) = 0 AND (s.total <> c.balance OR s.movements <> c.card_seq)
            THEN format('balance %s after %s movements, but %s movements sum up to %s', c.balance, c.card_seq, s.movements, s.total)
        END AS what) x
    WHERE x.what IS NOT NULL
$rule$;
COMMENT ON FUNCTION sec.books_balances(timestamptz, timestamptz, bigint[], boolean) IS
    'Cards whose balance is not what their movements make of it. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_numbers(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH odd AS (
        SELECT t.*, CASE t.tx_type WHEN 'payment' THEN 'ZF' WHEN 'refund' THEN 'TK' WHEN 'recharge' THEN 'CZ'
                        WHEN 'withdrawal' THEN 'TX' ELSE 'TZ' END || to_char(t.created_at, 'YYMM') AS head,
               CASE WHEN t.id % 100000000000 < 1000000 THEN lpad((t.id % 100000000000)::text, 6, '0')
                    ELSE (t.id % 100000000000)::text END AS tail
        FROM app.transactions t
        WHERE t.created_at >= p_from AND t.created_at < p_to
          -- What nearly every row is: all of the cases below in one cheap condition.
          AND NOT coalesce(
              t.status = 'completed' AND t.card_seq > 0 AND t.posted_at IS NOT NULL AND t.balance_after >= 0 AND t.final_amount > 0
              AND num_nonnulls(t.excluded_amount, t.coupon_discount, t.member_coupon_id) = 0
              AND t.final_amount = CASE WHEN t.tx_type = 'payment' THEN round(t.raw_amount * t.discount, 2) ELSE t.raw_amount END
              AND t.tx_no = CASE t.tx_type WHEN 'payment' THEN 'ZF' WHEN 'refund' THEN 'TK' WHEN 'recharge' THEN 'CZ'
                                 WHEN 'withdrawal' THEN 'TX' ELSE 'TZ' END
                            || to_char(t.created_at, 'YYMM')
                            || CASE WHEN t.id % 100000000000 < 1000000 THEN lpad((t.id % 100000000000)::text, 6, '0')
                                 ELSE (t.id % 100000000000)::text END
              AND to_char(t.created_at, 'YYMM')::bigint = t.id / 100000000000, false))
    SELECT x.rule, format('%s %s', o.tx_no, x.what) FROM odd o CROSS JOIN LATERAL (
        SELECT 'amounts' AS rule, CASE
            -- What a coupon paid all of is cancelled after it was posted.
            WHEN num_nonnulls(o.card_seq, o.posted_at, o.balance_after)
                    <> CASE WHEN o.status = 'completed' OR (o.status = 'cancelled' AND o.tx_type = 'payment') THEN 3 ELSE 0 END
                THEN format('is %s, and yet %s', o.status, CASE WHEN o.status = 'completed' THEN 'not posted' ELSE 'posted' END)
            WHEN o.status = 'cancelled' AND o.tx_type = 'payment' AND o.final_amount <> 0
                THEN format('is cancelled, and paid %s', o.final_amount)
            WHEN (o.final_amount = 0 AND o.coupon_discount IS NULL AND o.tx_type <> 'refund') OR o.balance_after < 0
                    OR (o.final_amount < 0 AND o.tx_type <> 'adjustment')
                THEN format('moves %s and leaves %s', o.final_amount, o.balance_after)
            WHEN o.tx_type <> 'payment' AND num_nonnulls(o.excluded_amount, o.coupon_discount, o.member_coupon_id) > 0
                THEN 'has a price, but is no payment'
            WHEN o.excluded_amount <= 0 OR o.excluded_amount > o.raw_amount OR o.coupon_discount <= 0
                    OR num_nonnulls(o.coupon_discount, o.member_coupon_id) = 1
                THEN format('of %s excludes %s, and the coupon %s takes off %s', o.raw_amount, coalesce(o.excluded_amount, 0),
                            coalesce(o.member_coupon_id::text, 'that is none'), coalesce(o.coupon_discount, 0))
            WHEN o.final_amount <> CASE WHEN o.tx_type = 'payment'
                                   THEN round((o.raw_amount - coalesce(o.excluded_amount, 0)) * o.discount, 2)
                                        - coalesce(o.coupon_discount, 0) + coalesce(o.excluded_amount, 0)
                                   ELSE o.raw_amount END
                THEN format('moves %s, but %s at %s is asked for%s%s', o.final_amount, o.raw_amount, o.discount,
                            ', of which ' || o.excluded_amount || ' takes no part', ', less ' || o.coupon_discount || ' by a coupon')
            END AS what
        UNION ALL
        SELECT 'numbers', CASE
            WHEN (o.id / 100000000000)::text <> ltrim(to_char(o.created_at, 'YYMM'), '0')
                THEN format('of %s has the id %s, of another month', to_char(o.created_at, 'YYYY-MM'), o.id)
            WHEN o.tx_no <> o.head || o.tail THEN format('is not the number of %s %s', o.tx_type, o.id) END) x
    WHERE x.what IS NOT NULL
    UNION ALL
    -- A number follows from id and type, and an id is one month's, so that no number is there twice as long as each
    -- month has its primary key.
    SELECT 'numbers', format('%s has no primary key', i.inhrelid::regclass) FROM pg_inherits i
    WHERE i.inhparent IN ('app.transactions'::regclass, 'app.point_ledger'::regclass, 'audit.event_log'::regclass)
      AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = i.inhrelid AND x.indisprimary AND x.indisvalid)
$rule$;
COMMENT ON FUNCTION sec.books_numbers(timestamptz, timestamptz) IS
    'Transactions whose amounts or numbers are not as they must be, and months without a primary key. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_points(p_from timestamptz, p_to timestamptz, p_archived bigint[], p_everything boolean, p_away date[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH cards AS (SELECT * FROM sec.books_cards()),
    chain AS (
        SELECT l.card_id, l.point_seq, l.created_at, l.change, l.balance_after, l.tx_no,
               lag(l.point_seq) OVER w AS b_seq, lag(l.balance_after) OVER w AS b_points, lead(l.point_seq) OVER w AS next_seq
        FROM app.point_ledger l WHERE l.created_at >= p_from AND l.created_at < p_to
        WINDOW w AS (PARTITION BY l.card_id ORDER BY l.point_seq)),
    odd AS (
        SELECT l.card_id, l.point_seq, x.what
        FROM chain l
        -- The entry before is not among these where it was asked for earlier, but booked later, or lies in an archived month.
        CROSS JOIN LATERAL (SELECT CASE
            WHEN l.point_seq = coalesce(l.b_seq, 0) + 1 THEN coalesce(l.b_points, 0)
            WHEN l.b_seq < l.point_seq
                THEN sec.points_after(l.card_id, l.point_seq - 1)
            END AS was) b
        CROSS JOIN LATERAL (SELECT CASE
            WHEN l.b_seq IS NULL AND l.point_seq > 1 AND (NOT p_everything OR cardinality(p_archived) > 0) THEN NULL
            WHEN b.was IS NULL AND (l.b_seq < l.point_seq AND l.created_at > ANY (p_away)) IS NOT TRUE
                THEN format('entry %s follows entry %s', l.point_seq, coalesce(l.b_seq, 0))
            WHEN l.balance_after <> b.was + l.change
                THEN format('entry %s left %s points, but %s and %s are %s', l.point_seq, l.balance_after, b.was, l.change,
                            b.was + l.change)
            END AS what) x
        WHERE x.what IS NOT NULL)
    SELECT 'point_ledger', format('%s: %s', coalesce(c.card_no, 'card ' || o.card_id), o.what)
    FROM odd o LEFT JOIN app.personal_cards c ON c.id = o.card_id
    UNION ALL
    SELECT 'points', format('%s: %s points after %s changes, but the ledger''s last entry, %s, left %s',
                            coalesce(c.card_no, 'card ' || l.card_id),
                            c.points, c.point_seq, coalesce(l.point_seq::text, 'none'), coalesce(l.balance_after, 0))
    FROM app.personal_cards c
    FULL JOIN (SELECT h.card_id, h.point_seq, h.balance_after FROM chain h WHERE h.next_seq IS NULL) l ON l.card_id = c.id
    -- Without the whole ledger, only cards with an entry in it can be compared; and a range may end before the last.
    WHERE CASE WHEN l.card_id IS NULL THEN p_everything AND cardinality(p_archived) = 0 AND (c.points, c.point_seq) <> (0, 0)
               WHEN c.id IS NULL THEN true
               WHEN p_everything AND c.point_seq > l.point_seq AND cardinality(p_archived) > 0
                   THEN c.points IS DISTINCT FROM coalesce(
                       sec.points_after(c.id, c.point_seq),
                       CASE WHEN cardinality(p_away) > 0 THEN c.points END)
               WHEN p_everything THEN (c.points, c.point_seq) <> (l.balance_after, l.point_seq)
               ELSE c.point_seq < l.point_seq OR (c.point_seq = l.point_seq AND c.points <> l.balance_after) END
$rule$;
COMMENT ON FUNCTION sec.books_points(timestamptz, timestamptz, bigint[], boolean, date[]) IS
    'Cards whose points are not what the ledger of points makes of them, and gaps in that ledger. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_points_proof(p_archived bigint[])
    RETURNS TABLE (sound boolean)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    -- As of movements: each entry follows another or begins, one of each card begins, and there are as many as their numbers say.
    SELECT NOT EXISTS (
        SELECT FROM app.personal_cards c
        FULL JOIN (
            SELECT l.card_id, count(*) AS entries, min(l.point_seq) AS first_seq, max(l.point_seq) AS last_seq,
                   count(*) FILTER (WHERE b.card_id IS NULL) AS begin_here,
                   bool_and(coalesce(CASE WHEN b.card_id IS NOT NULL THEN l.balance_after = b.balance_after + l.change
                                          WHEN l.point_seq = 1 THEN l.balance_after = l.change
                                          ELSE l.point_seq > 1 AND cardinality(p_archived) > 0 END, false)) AS follow,
                   sum(l.change) + sum(l.balance_after - l.change) FILTER (WHERE b.card_id IS NULL) AS points
            FROM app.point_ledger l LEFT JOIN app.point_ledger b ON b.card_id = l.card_id AND b.point_seq = l.point_seq - 1
            GROUP BY l.card_id) l ON l.card_id = c.id
        WHERE CASE WHEN l.card_id IS NULL THEN cardinality(p_archived) = 0 AND (c.points, c.point_seq) <> (0, 0)
                   ELSE (c.id IS NOT NULL AND l.follow AND l.begin_here = 1 AND l.entries = l.last_seq - l.first_seq + 1
                         AND c.point_seq = l.last_seq AND c.points = l.points) IS NOT TRUE END)
$rule$;
COMMENT ON FUNCTION sec.books_points_proof(bigint[]) IS 'Whether nothing breaks sec.books_points(). Internal: sec.books_rules().';
CREATE FUNCTION sec.books_points_of_transactions(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    SELECT 'points_of_transactions', CASE
        WHEN t.tx_no IS NULL THEN format('%s: the ledger has %s points for it, but there is no such transaction', l.tx_no, l.points)
        ELSE format('%s: %s points, but the ledger has %s for it', t.tx_no, t.points_earned, coalesce(l.points, 0)) END
    FROM (SELECT t.tx_no, t.card_id, t.tx_type, t.points_earned FROM app.transactions t
          WHERE t.posted_at IS NOT NULL AND t.created_at >= p_from AND t.created_at < p_to) t
    FULL JOIN (SELECT l.tx_no, l.card_id, sum(l.change) AS points, count(*) AS entries FROM app.point_ledger l
               WHERE l.tx_no IS NOT NULL AND l.created_at >= p_from AND l.created_at < p_to
               GROUP BY l.tx_no, l.card_id) l ON l.tx_no = t.tx_no
    WHERE t.tx_no IS NULL
       OR (t.tx_type IN ('payment', 'refund') AND t.points_earned <> coalesce(l.points, 0))
       OR l.entries > 1 OR l.card_id <> t.card_id
$rule$;
COMMENT ON FUNCTION sec.books_points_of_transactions(timestamptz, timestamptz) IS
    'Transactions whose points are not those that the ledger has for them. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_points_of_transactions_proof(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (sound boolean)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    -- Nothing differs, no transaction has met two entries, and every entry has met one.
    WITH moved AS NOT MATERIALIZED (SELECT * FROM sec.books_movements(p_from, p_to))
    SELECT count(*) = (SELECT count(*) FROM moved)
       AND count(l.tx_no) = (SELECT count(l.tx_no) FROM app.point_ledger l)
       AND count(*) FILTER (WHERE (t.tx_type IN ('payment', 'refund') AND t.points_earned <> coalesce(l.change, 0))
                               OR l.card_id <> t.card_id) = 0
    FROM app.transactions t LEFT JOIN app.point_ledger l ON l.tx_no = t.tx_no
    WHERE t.posted_at IS NOT NULL
$rule$;
COMMENT ON FUNCTION sec.books_points_of_transactions_proof(timestamptz, timestamptz) IS
    'Whether nothing breaks sec.books_points_of_transactions(). Internal: sec.books_rules().';
CREATE FUNCTION sec.books_audit(p_from timestamptz, p_to timestamptz, p_archived bigint[], p_events_before timestamptz)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH moved AS NOT MATERIALIZED (SELECT * FROM sec.books_movements(p_from, p_to)),
    events AS (
        SELECT e.object_id, count(*) AS events, min(e.id) AS id, min(e.action) AS action, min(e.context ->> 'change') AS change
        FROM audit.event_log e
        WHERE e.object_type = 'transaction' AND e.action IN ('payment', 'refund', 'recharge', 'adjustment', 'withdrawal')
          AND e.happened_at >= p_from AND e.happened_at < p_events_before
        GROUP BY e.object_id)
    SELECT 'audit', x.what FROM moved m FULL JOIN events e ON e.object_id = m.tx_no CROSS JOIN LATERAL (SELECT CASE
        -- That of a recharge is of when it was confirmed; the call may have begun in the month before.
        WHEN e.object_id IS NULL AND m.tx_type = 'recharge' AND (to_char(m.posted_at, 'YYMM')::bigint = ANY (p_archived)
                OR to_char(m.posted_at - interval '1 day', 'YYMM')::bigint = ANY (p_archived)) THEN NULL
        WHEN e.object_id IS NULL THEN format('%s: no event', m.tx_no)
        -- One of before the range, posted or audited within it; or of after it.
        WHEN m.tx_no IS NULL THEN CASE WHEN e.object_id !~ '^(ZF|TK|CZ|TZ|TX)[0-9]{10,15}$' OR (
                substr(e.object_id, 3, 4)::bigint <> ALL (p_archived)
                AND (SELECT count(*) FROM app.transactions t
                     WHERE t.tx_no = e.object_id AND t.posted_at IS NOT NULL
                       AND t.id = substr(e.object_id, 3, 4)::bigint * 100000000000 + substr(e.object_id, 7)::bigint
                       AND t.created_at >= sec.month_of_id(substr(e.object_id, 3, 4)::bigint * 100000000000)
                       AND t.created_at < sec.month_of_id(substr(e.object_id, 3, 4)::bigint * 100000000000) + interval '1 month') = 0)
            THEN format('%s: event %s, but there is no such movement', e.object_id, e.id) END
        WHEN e.events > 1 THEN format('%s: %s events', m.tx_no, e.events)
        WHEN e.action <> m.tx_type THEN format('%s: event %s says %s', m.tx_no, e.id, e.action)
        WHEN e.change IS DISTINCT FROM m.change::text
            THEN format('%s: event %s says %s, the movement %s', m.tx_no, e.id, coalesce(e.change, '?'), m.change)
        END AS what) x
    WHERE x.what IS NOT NULL
$rule$;
COMMENT ON FUNCTION sec.books_audit(timestamptz, timestamptz, bigint[], timestamptz) IS
    'Movements without their one event in the audit log, and events without their movement. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_audit_proof(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (sound boolean)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    -- Nothing differs, no movement has met two events, and every event has met one.
    WITH moved AS NOT MATERIALIZED (SELECT * FROM sec.books_movements(p_from, p_to)),
    events AS NOT MATERIALIZED (
        SELECT e.object_id, e.action, e.context ->> 'change' AS change FROM audit.event_log e
        WHERE e.object_type = 'transaction' AND e.action IN ('payment', 'refund', 'recharge', 'adjustment', 'withdrawal'))
    SELECT count(*) = (SELECT count(*) FROM moved)
       AND count(e.object_id) = (SELECT count(*) FROM events)
       AND count(*) FILTER (WHERE (e.action = m.tx_type AND e.change = m.change::text) IS NOT TRUE) = 0
    FROM moved m LEFT JOIN events e ON e.object_id = m.tx_no
$rule$;
COMMENT ON FUNCTION sec.books_audit_proof(timestamptz, timestamptz) IS
    'Whether nothing breaks sec.books_audit(). Internal: sec.books_rules().';
CREATE FUNCTION sec.books_keys(p_archived bigint[], p_months_from timestamptz, p_months_to timestamptz, p_keys_from bigint,
    p_ids_from bigint, p_ids_to bigint, p_month_ids_from bigint, p_month_ids_to bigint)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH asked AS NOT MATERIALIZED (SELECT t.id, t.tx_no, t.tx_type, t.merchant_id, t.idempotency_key FROM app.transactions t
                WHERE t.created_at >= p_months_from AND t.created_at < p_months_to AND t.id >= p_ids_from AND t.id < p_ids_to),
    keys AS NOT MATERIALIZED (SELECT k.* FROM app.idempotency_keys k
             WHERE k.ref_id >= CASE WHEN k.operation = 13 THEN p_month_ids_from ELSE p_ids_from END
               AND k.ref_id < CASE WHEN k.operation = 13 THEN p_month_ids_to ELSE p_ids_to END
               AND (cardinality(p_archived) = 0 OR k.ref_id / 100000000000 <> ALL (p_archived)))
    SELECT 'keys', format('%s: its key is not remembered', a.tx_no)
    FROM asked a LEFT JOIN keys k ON k.ref_id = a.id AND k.idempotency_key = a.idempotency_key AND k.operation < 31
    WHERE a.idempotency_key IS NOT NULL AND a.id >= p_keys_from AND k.ref_id IS NULL
    UNION ALL
    SELECT 'keys', format('key %L of scope %s/%s: %s', left(k.idempotency_key, 40), k.operation, k.scope_no,
                          CASE WHEN a.id IS NULL THEN format('there is no transaction %s', k.ref_id) ELSE 'leads to ' || a.tx_no END)
    FROM keys k LEFT JOIN asked a ON a.id = k.ref_id
    WHERE k.operation NOT IN (13, 31, 32)
      AND (a.id IS NULL
           OR a.tx_type <> CASE WHEN k.operation = 1 THEN 'payment' WHEN k.operation = 2 THEN 'refund'
                                WHEN k.operation IN (3, 11, 21) THEN 'recharge'
                                WHEN k.operation IN (14, 24) THEN 'withdrawal' ELSE 'adjustment' END::app.tx_type
           OR (k.operation IN (1, 2, 3) AND a.merchant_id IS DISTINCT FROM k.scope_no))
    UNION ALL
    SELECT 'keys', format('key %L of scope 13/%s: there is no such change of points', left(k.idempotency_key, 40), k.scope_no)
    FROM keys k
    LEFT JOIN app.personal_cards c ON c.card_no = 'VIP' || lpad(k.scope_no::text, greatest(8, length(k.scope_no::text)), '0')
    LEFT JOIN app.point_ledger l ON l.card_id = c.id AND l.point_seq = k.ref_id % 100000000000
        AND l.created_at >= p_months_from AND l.created_at < p_months_to
    WHERE k.operation = 13 AND l.card_id IS NULL
$rule$;
COMMENT ON FUNCTION sec.books_keys(bigint[], timestamptz, timestamptz, bigint, bigint, bigint, bigint, bigint) IS
    'Keys that are not remembered or lead elsewhere. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_keys_proof(p_archived bigint[], p_keys_from bigint)
    RETURNS TABLE (sound boolean)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH keys AS NOT MATERIALIZED (SELECT k.* FROM app.idempotency_keys k
             WHERE cardinality(p_archived) = 0 OR k.ref_id / 100000000000 <> ALL (p_archived)),
    -- Every key has met the transaction it leads to, every transaction with a key has met it, and they agree.
    met AS (
        SELECT count(k.ref_id) AS keys,
               count(*) FILTER (WHERE CASE WHEN k.ref_id IS NULL THEN t.idempotency_key IS NOT NULL AND t.id >= p_keys_from
                   ELSE (k.idempotency_key = t.idempotency_key
                         AND t.tx_type = CASE WHEN k.operation = 1 THEN 'payment' WHEN k.operation = 2 THEN 'refund'
                                              WHEN k.operation IN (3, 11, 21) THEN 'recharge'
                                              WHEN k.operation IN (14, 24) THEN 'withdrawal' ELSE 'adjustment' END::app.tx_type
                         AND (k.operation NOT IN (1, 2, 3) OR t.merchant_id = k.scope_no)) IS NOT TRUE END) AS odd
        FROM app.transactions t LEFT JOIN keys k ON k.ref_id = t.id AND k.operation NOT IN (13, 31, 32))
    SELECT met.odd = 0 AND met.keys = (SELECT count(*) FROM keys k WHERE k.operation NOT IN (13, 31, 32))
       AND NOT EXISTS (
           SELECT FROM keys k
           LEFT JOIN app.personal_cards c ON c.card_no = 'VIP' || lpad(k.scope_no::text, greatest(8, length(k.scope_no::text)), '0')
           LEFT JOIN app.point_ledger l ON l.card_id = c.id AND l.point_seq = k.ref_id % 100000000000
           WHERE k.operation = 13 AND l.card_id IS NULL)
    FROM met
$rule$;
COMMENT ON FUNCTION sec.books_keys_proof(bigint[], bigint) IS 'Whether nothing breaks sec.books_keys(). Internal: sec.books_rules().';
CREATE FUNCTION sec.books_orders(p_archived bigint[], p_months_from timestamptz, p_months_to timestamptz, p_keys_from bigint,
    p_ids_from bigint, p_ids_to bigint)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH asked AS NOT MATERIALIZED (SELECT t.id, t.tx_no, t.tx_type, t.merchant_id, t.external_order_id, t.gateway_trade_no
                FROM app.transactions t
                WHERE t.created_at >= p_months_from AND t.created_at < p_months_to AND t.id >= p_ids_from AND t.id < p_ids_to
                  AND (t.external_order_id IS NOT NULL OR t.gateway_trade_no IS NOT NULL)),
    orders AS NOT MATERIALIZED (SELECT o.* FROM app.external_orders o
               WHERE o.tx_id > 0 AND o.tx_id >= p_ids_from AND o.tx_id < p_ids_to
                 AND (cardinality(p_archived) = 0 OR o.tx_id / 100000000000 <> ALL (p_archived)))
    SELECT 'orders', format('%s: its order id is not remembered', a.tx_no)
    FROM asked a
    WHERE a.external_order_id IS NOT NULL AND (a.tx_type <> 'payment' OR a.id >= p_keys_from)
      AND NOT EXISTS (SELECT FROM orders o WHERE o.tx_id = a.id AND o.order_id = a.external_order_id AND o.scope <> 3)
      -- A recharge that came to nothing gives its order to the one that is asked for again.
      AND NOT (a.tx_type = 'recharge'
               AND EXISTS (SELECT FROM app.external_orders o WHERE o.order_id = a.external_order_id
                           AND o.scope IN (4, 5) AND o.tx_id > a.id))
    UNION ALL
    SELECT 'orders', format('%s: its gateway trade number is not remembered', a.tx_no)
    FROM asked a
    WHERE a.gateway_trade_no IS NOT NULL
      AND NOT EXISTS (SELECT FROM orders o WHERE o.tx_id = a.id AND o.order_id = a.gateway_trade_no AND o.scope = 3)
    UNION ALL
    SELECT 'orders', format('order %L of scope %s/%s: %s', left(o.order_id, 40), o.scope, o.scope_no,
                            CASE WHEN a.id IS NULL THEN format('there is no transaction %s of it', o.tx_id) ELSE 'leads to ' || a.tx_no END)
    FROM orders o LEFT JOIN asked a ON a.id = o.tx_id
    WHERE a.id IS NULL
       OR o.order_id IS DISTINCT FROM CASE WHEN o.scope = 3 THEN a.gateway_trade_no ELSE a.external_order_id END
       OR a.tx_type <> CASE WHEN o.scope = 1 THEN 'payment' ELSE 'recharge' END::app.tx_type
       OR (o.scope = 1 AND a.merchant_id IS DISTINCT FROM o.scope_no)
    UNION ALL
    SELECT 'orders', format('%s: trade number %L %s', coalesce(a.tx_no, o.tx_id::text), left(o.order_id, 40),
                            CASE WHEN EXISTS (SELECT FROM app.external_orders x WHERE x.scope_no = 0 AND x.scope = 3
                                               AND x.order_id = o.order_id)
                                 THEN 'credited another recharge, too, before 0.3.0'
                                 ELSE 'is claimed as before 0.3.0: SELECT app.migrate()' END)
    FROM orders o LEFT JOIN asked a ON a.id = o.tx_id WHERE o.scope = 3 AND o.scope_no <> 0
$rule$;
COMMENT ON FUNCTION sec.books_orders(bigint[], timestamptz, timestamptz, bigint, bigint, bigint) IS
    'Order ids and trade numbers that are not remembered or lead elsewhere. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_orders_proof(p_archived bigint[], p_keys_from bigint)
    RETURNS TABLE (sound boolean)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH orders AS NOT MATERIALIZED (SELECT o.* FROM app.external_orders o
             WHERE o.tx_id > 0 AND (cardinality(p_archived) = 0 OR o.tx_id / 100000000000 <> ALL (p_archived))),
    -- As for keys: first the order ids, then the gateways' trade numbers.
    met AS (
        SELECT count(o.tx_id) AS orders,
               count(*) FILTER (WHERE CASE WHEN o.tx_id IS NULL THEN t.external_order_id IS NOT NULL
                                       AND (t.tx_type <> 'payment' OR t.id >= p_keys_from)
                   ELSE (o.order_id = t.external_order_id
                         AND t.tx_type = CASE WHEN o.scope = 1 THEN 'payment' ELSE 'recharge' END::app.tx_type
                         AND (o.scope <> 1 OR t.merchant_id = o.scope_no)) IS NOT TRUE END) AS odd
        FROM app.transactions t LEFT JOIN orders o ON o.tx_id = t.id AND o.scope <> 3),
    traded AS (
        SELECT count(o.tx_id) AS numbers,
               count(*) FILTER (WHERE (o.order_id = t.gateway_trade_no AND t.tx_type = 'recharge' AND o.scope_no = 0) IS NOT TRUE) AS odd
        FROM app.transactions t LEFT JOIN orders o ON o.tx_id = t.id AND o.scope = 3 WHERE t.gateway_trade_no IS NOT NULL)
    SELECT met.odd = 0 AND met.orders = (SELECT count(*) FROM orders o WHERE o.scope <> 3)
       AND traded.odd = 0 AND traded.numbers = (SELECT count(*) FROM orders o WHERE o.scope = 3)
    FROM met, traded
$rule$;
COMMENT ON FUNCTION sec.books_orders_proof(bigint[], bigint) IS 'Whether nothing breaks sec.books_orders(). Internal: sec.books_rules().';
CREATE FUNCTION sec.books_late_postings(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH late AS (
        SELECT l.* FROM app.late_postings l
        WHERE l.created_at >= p_from AND l.created_at < p_to AND l.tx_id / 100000000000 <> ALL (p_archived)),
    posted AS (
        SELECT t.id, t.tx_no, t.merchant_id, t.card_id, t.member_id, t.created_at, t.posted_at FROM app.transactions t
        WHERE t.created_at >= p_from AND t.created_at < p_to AND date_trunc('month', t.posted_at) <> date_trunc('month', t.created_at))
    SELECT 'late_postings', format('%s: %s', coalesce(p.tx_no, 'id ' || l.tx_id),
                                   CASE WHEN l.tx_id IS NULL THEN 'was posted in another month, but is not noted: SELECT app.migrate()'
                                        WHEN p.id IS NULL THEN 'is noted, but was not posted in another month'
                                        ELSE 'is noted otherwise than it is' END)
    FROM posted p FULL JOIN late l ON l.tx_id = p.id
    WHERE (p.merchant_id, p.card_id, p.member_id, p.created_at, p.posted_at, p.id)
        IS DISTINCT FROM (l.merchant_id, l.card_id, l.member_id, l.created_at, l.posted_at, l.tx_id)
$rule$;
COMMENT ON FUNCTION sec.books_late_postings(timestamptz, timestamptz, bigint[]) IS
    'Transactions posted in another month that are not noted, or otherwise than they are. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_closed_months(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    -- A month that is closed is looked into for those alone who are named.
    SELECT 'closed_months', format('merchant %s has transactions of %s, but is not named for it: CALL app.maintain_partitions()',
                                   x.merchant_id, to_char(x.month, 'YYYY-MM'))
    FROM (SELECT DISTINCT t.merchant_id, date_trunc('month', t.created_at)::date AS month FROM app.transactions t, app.closed_months c
          WHERE t.created_at >= p_from AND t.created_at < p_to
            AND t.created_at < c.through + interval '1 month' AND t.merchant_id IS NOT NULL) x
    WHERE NOT EXISTS (SELECT FROM app.merchant_months m WHERE m.merchant_id = x.merchant_id AND m.month = x.month)
    UNION ALL
    SELECT 'closed_months', format('member %s used a company card in %s, but is not named for it', x.member_id, to_char(x.month, 'YYYY-MM'))
    FROM (SELECT DISTINCT t.member_id, date_trunc('month', t.created_at)::date AS month FROM app.transactions t, app.closed_months c
          WHERE t.created_at >= p_from AND t.created_at < p_to AND t.created_at < c.through + interval '1 month'
            AND t.member_id IS NOT NULL AND t.card_type = 'enterprise') x
    WHERE NOT EXISTS (SELECT FROM app.member_months m WHERE m.member_id = x.member_id AND m.month = x.month)
$rule$;
COMMENT ON FUNCTION sec.books_closed_months(timestamptz, timestamptz) IS
    'Who has transactions in a closed month and is not named for it. Internal: sec.books_rules().';
CREATE OR REPLACE FUNCTION sec.install_books() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    -- Where archived months go. Made here, because mps_owner may not make schemas.
    IF to_regnamespace('mps_archive') IS NULL THEN
        CREATE SCHEMA mps_archive;
        PERFORM sec.strip_schema('mps_archive');
        EXECUTE format('ALTER SCHEMA mps_archive OWNER TO %s', sec.owner());
        COMMENT ON SCHEMA mps_archive IS 'MPS: the tables of archived months';
    END IF;
    IF to_regclass('audit.seals') IS NULL THEN
        CREATE TABLE audit.seals (
            seal_no     bigint      NOT NULL PRIMARY KEY,
            first_id    bigint      NOT NULL,
            last_id     bigint      NOT NULL,
            events      integer     NOT NULL,
            first_at    timestamptz NOT NULL,
            last_at     timestamptz NOT NULL,
            sealed_at   timestamptz NOT NULL,
            ids         bigint[]    NOT NULL,
            digests     bigint[]    NOT NULL,
            events_hash bytea       NOT NULL,
            prev_hash   bytea       NOT NULL,
            hash        bytea       NOT NULL,
            CHECK (cardinality(ids) = events AND cardinality(digests) = events AND events > 0 AND first_id <= last_id)
        );
        COMMENT ON TABLE audit.seals IS
            'One seal per batch of up to 1000 audit events, each chained to the one before. Append-only. audit.verify() compares '
            'it with the log.';
        COMMENT ON COLUMN audit.seals.first_at IS 'The earliest happened_at of its events; last_at the latest.';
        COMMENT ON COLUMN audit.seals.ids IS 'The ids of its events, ascending.';
        COMMENT ON COLUMN audit.seals.digests IS
            'For each id the first 8 bytes of the SHA-256 of everything else in the event: names the event that was changed.';
        COMMENT ON COLUMN audit.seals.events_hash IS 'SHA-256 over id (8 bytes, big-endian) and SHA-256 of each event in the order of ids.';
        COMMENT ON COLUMN audit.seals.prev_hash IS 'hash of the seal before; 32 zero bytes in the first.';
        COMMENT ON COLUMN audit.seals.hash IS 'SHA-256 over everything else in the row; see audit.seal_hash().';
    END IF;
    IF to_regclass('audit.seal_cut') IS NULL THEN
        CREATE TABLE audit.seal_cut (
            singleton boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (singleton),
            up_to     bigint      NOT NULL,
            xid       xid8        NOT NULL,
            noted_at  timestamptz NOT NULL
        );
        COMMENT ON TABLE audit.seal_cut IS
            'How far audit.seal() goes next: every transaction that drew an event id up to up_to had an id of its own below xid. '
            'Worth nothing in another cluster, and noted anew there.';
    END IF;
END
$install$;
CREATE OR REPLACE FUNCTION app.verify_books(p_from timestamptz DEFAULT NULL, p_to timestamptz DEFAULT NULL)
    RETURNS TABLE (check_name text, ok boolean, detail text)
    -- STABLE: all checks see one moment, and it runs on a standby. Months are those of UTC. A sort of a million rows wants
    -- more memory than a charge.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off SET timezone = 'UTC' SET work_mem = '128MB' SET jit = off
    SET enable_nestloop = on SET enable_mergejoin = on AS $verify$
DECLARE
    v record;
    v_from timestamptz := coalesce(p_from, '-infinity');
    v_to timestamptz := coalesce(p_to, 'infinity');
    v_months_from timestamptz := date_trunc('month', v_from);
    v_months_to timestamptz := CASE WHEN isfinite(v_to) THEN date_trunc('month', v_to - interval '1 microsecond') + interval '1 month'
                                    ELSE v_to END;
    v_everything boolean := p_from IS NULL AND p_to IS NULL;
    v_archived bigint[];
    v_away date[];
    v_changed text;
    v_sound boolean;
    v_numbered boolean := false;
    v_found text[];
    v_places integer[] := '{}';
    v_names text[] := '{}';
    v_details text[] := '{}';
    v_events_before timestamptz := 'infinity';
    -- Keys of these months are remembered whatever settings.key_retention_days was in the meantime: 90 days is its least.
    v_keys_from bigint := to_char(now() - interval '90 days', 'YYMM')::bigint * 100000000000;
    v_month_ids_from bigint := CASE WHEN isfinite(v_months_from) THEN to_char(v_months_from, 'YYMM')::bigint * 100000000000
                                    ELSE (-1)::bigint << 62 END;
    v_month_ids_to bigint := CASE WHEN isfinite(v_months_to) THEN to_char(v_months_to, 'YYMM')::bigint * 100000000000
                                  ELSE 1::bigint << 62 END;
    v_ids_from bigint := v_month_ids_from;
    v_ids_to bigint := v_month_ids_to;
BEGIN
    PERFORM sec.refuse_outdated();
    IF v_from >= v_to THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_from is before p_to');
    END IF;
    PERFORM sec.require_sound_tables();
    v_changed := sec.outdated_view();
    IF v_changed IS NOT NULL THEN
        RETURN QUERY SELECT * FROM sec.outdated_view_row(v_changed);
        RETURN;
    END IF;
    SELECT coalesce(array_agg(to_char(a.month, 'YYMM')::bigint), '{}'),
           coalesce(array_agg(a.month) FILTER (WHERE to_regclass('mps_archive.point_ledger_' || to_char(a.month, 'YYYYMM')) IS NULL), '{}')
    INTO v_archived, v_away
    FROM app.archived_months a;
    IF isfinite(v_to) THEN
        -- A recharge is audited when it is confirmed, which may be long after it was asked for.
        SELECT greatest(v_to, max(t.posted_at)) + interval '1 hour' INTO v_events_before
        FROM app.transactions t WHERE t.created_at >= v_from AND t.created_at < v_to;
    END IF;
    IF v_everything THEN
        -- Autovacuum makes no statistics of partitioned tables. Without them the planner takes a million rows for a few, and
        -- would look each of them up.
        PERFORM set_config('enable_nestloop', 'off', true), set_config('enable_mergejoin', 'off', true);
    ELSE
        -- Within a month, keys and orders know no time, but numbers: those between the lowest and the highest of the range.
        SELECT CASE WHEN v_from = v_months_from THEN v_month_ids_from ELSE coalesce(min(t.id), 0) END,
               CASE WHEN v_to = v_months_to THEN v_month_ids_to ELSE coalesce(max(t.id) + 1, 0) END
        INTO v_ids_from, v_ids_to
        FROM app.transactions t WHERE t.created_at >= v_from AND t.created_at < v_to;
    END IF;
    -- Numbers first: on them the short proofs build.
    FOR v IN SELECT r.place, r.checks, r.finds, p.sound, 'numbers' = ANY (r.checks) AS is_numbers
             FROM sec.books_rules() r LEFT JOIN sec.books_proofs() p ON p.place = r.place ORDER BY 5 DESC, 1 LOOP
        v_sound := false;
        IF v.sound IS NOT NULL AND v_everything AND v_numbered THEN
            EXECUTE 'SELECT x.sound FROM ' || v.sound || ' x' INTO v_sound
                USING v_from, v_to, v_archived, v_everything, v_events_before, v_months_from, v_months_to, v_keys_from,
                      v_ids_from, v_ids_to, v_month_ids_from, v_month_ids_to, v_away;
            IF v_sound IS NOT TRUE THEN
                RAISE DEBUG 'no short proof of %', v.checks;
            END IF;
        END IF;
        IF v_sound THEN
            v_found := array_fill('ok'::text, ARRAY[cardinality(v.checks)]);
        ELSE
            EXECUTE
                'SELECT array_agg(y.detail ORDER BY y.place) FROM ('
                || 'SELECT c.place, CASE WHEN count(f.what) = 0 THEN ''ok'' ELSE string_agg(f.what, ''; '' ORDER BY f.what) '
                || '            || CASE WHEN max(f.found) > 10 '
                || 'THEN format(''; and %s more'', max(f.found) - 10) ELSE '''' END END AS detail '
                || 'FROM unnest($14::text[]) WITH ORDINALITY c (name, place) LEFT JOIN ('
                || '    SELECT x.name, x.what, row_number() OVER (PARTITION BY x.name ORDER BY x.what) AS nth, '
                || '           count(*) OVER (PARTITION BY x.name) AS found FROM ' || v.finds || ' x'
                || ') f ON f.name = c.name AND f.nth <= 10 GROUP BY c.place, c.name) y'
                INTO v_found
                USING v_from, v_to, v_archived, v_everything, v_events_before, v_months_from, v_months_to, v_keys_from,
                      v_ids_from, v_ids_to, v_month_ids_from, v_month_ids_to, v_away, v.checks;
        END IF;
        v_numbered := v_numbered OR (v.is_numbers AND v_found = array_fill('ok'::text, ARRAY[cardinality(v.checks)]));
        v_places := v_places || array_fill(v.place, ARRAY[cardinality(v.checks)]);
        v_names := v_names || v.checks;
        v_details := v_details || v_found;
    END LOOP;
    RETURN QUERY
        SELECT x.name, x.detail = 'ok', x.detail FROM unnest(v_places, v_names, v_details) WITH ORDINALITY x (place, name, detail, nth)
        ORDER BY x.place, x.nth;
END
$verify$;
COMMENT ON FUNCTION app.verify_books(timestamptz, timestamptz) IS
    E'Proves the books: one row per check, with up to ten cards or transactions that break it.\n'
    'Of transactions asked for (created_at) from p_from to before p_to; NULL: everything that is not archived. A range reads its '
    'months only, so it compares a card with its movements where the last one lies in it; of keys and orders it looks at those '
    'whose numbers lie between the range''s. For operators, also on a standby.\n'
    'ok NULL, in one row named snapshot: nothing was checked, because a month was archived or a table changed after the snapshot '
    'was taken; ask again.\n'
    'Level: operator.\n'
    'Results: check_name, ok (whether it holds), detail (ok, or what breaks it).\n'
    'Errors: INVALID_ARGUMENT, SCHEMA_OUTDATED.';
COMMENT ON FUNCTION audit.event_digest() IS
    E'The SQL expression for the SHA-256 of an event e without its id: a JSON array of its columns, the time in microseconds since '
    '1970.\n'
    'One text for sealing and verifying; inlined, because a call per event would cost more than the hash. Internal.';
CREATE OR REPLACE FUNCTION audit.seal_hash(p_seal_no bigint, p_ids bigint[], p_digests bigint[], p_first_at timestamptz,
    p_last_at timestamptz, p_sealed_at timestamptz, p_events_hash bytea, p_prev_hash bytea)
    RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sha256(convert_to(jsonb_build_array('mps seal 1', p_seal_no, p_ids, p_digests,
        (extract(epoch FROM p_first_at) * 1000000)::bigint, (extract(epoch FROM p_last_at) * 1000000)::bigint,
        (extract(epoch FROM p_sealed_at) * 1000000)::bigint, encode(p_events_hash, 'hex'), encode(p_prev_hash, 'hex'))::text, 'UTF8'))
$$;
COMMENT ON FUNCTION audit.seal_hash(bigint, bigint[], bigint[], timestamptz, timestamptz, timestamptz, bytea, bytea) IS
    E'The hash of a seal: SHA-256 over a JSON array of everything in it and the hash of the seal before.\n'
    'Internal.';
CREATE OR REPLACE FUNCTION audit.seal_note() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_up_to bigint;
    v_cut xid8;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_read_only();
    -- One sealer at a time. A lock on a table of our own, because an advisory lock is anybody's to take.
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    IF EXISTS (SELECT FROM audit.seal_cut c WHERE sec.cut_is_of_here(c.xid)) THEN
        RETURN false;
    END IF;
    -- Event ids are drawn before the commit, so a lower one may become visible later. Whoever drew one has a transaction id by
    -- then: the cut comes after the look at the sequence.
    SELECT CASE WHEN q.is_called THEN q.last_value ELSE 0 END INTO v_up_to FROM audit.event_id_seq q;
    v_cut := sec.cut('the cut is noted first thing in a transaction: CALL audit.seal()');
    INSERT INTO audit.seal_cut AS c (up_to, xid, noted_at) VALUES (v_up_to, v_cut, clock_timestamp())
    ON CONFLICT (singleton) DO UPDATE SET up_to = excluded.up_to, xid = excluded.xid, noted_at = excluded.noted_at;
    RETURN true;
END
$$;
COMMENT ON FUNCTION audit.seal_note() IS
    E'Notes how far audit.seal() may go, unless that is noted already; returns whether it did.\n'
    'Internal. Errors: STATUS_CONFLICT.\n'
    'Level: operator.';
CREATE OR REPLACE FUNCTION audit.seal_ready() RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.require_sound_tables();
    SELECT EXISTS (SELECT FROM audit.seal_cut c WHERE sec.cut_has_passed(c.xid))
$$;
COMMENT ON FUNCTION audit.seal_ready() IS
    E'Whether every transaction has ended that could have drawn an event id up to the noted cut.\n'
    'Internal.\n'
    'Level: operator.';
CREATE OR REPLACE FUNCTION audit.seal_batch() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off AS $$
DECLARE
    c_batch_events constant integer := 1000;
    v_up_to bigint;
    v_last_no bigint;
    v_last_id bigint;
    v_last_hash bytea;
    v record;
    v_sealed_at timestamptz := clock_timestamp();
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_read_only();
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    SELECT c.up_to INTO v_up_to FROM audit.seal_cut c WHERE sec.cut_has_passed(c.xid);
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT s.seal_no, s.last_id, s.hash INTO v_last_no, v_last_id, v_last_hash FROM audit.seals s ORDER BY s.seal_no DESC LIMIT 1;
    EXECUTE format($q$
        SELECT count(*)::integer AS events, min(x.happened_at) AS first_at, max(x.happened_at) AS last_at,
               array_agg(x.id ORDER BY x.id) AS ids,
               array_agg(('x' || encode(substr(x.digest, 1, 8), 'hex'))::bit(64)::bigint ORDER BY x.id) AS digests,
               sha256(string_agg(int8send(x.id) || x.digest, '' ORDER BY x.id)) AS events_hash
        FROM (SELECT e.id, e.happened_at, %s AS digest FROM audit.event_log e WHERE e.id > $1 AND e.id <= $2 ORDER BY e.id LIMIT $3) x
        $q$, audit.event_digest())
        INTO v USING coalesce(v_last_id, 0), v_up_to, c_batch_events;
    IF v.events > 0 THEN
        v_last_hash := coalesce(v_last_hash, decode(repeat('00', 32), 'hex'));
        INSERT INTO audit.seals (seal_no, first_id, last_id, events, first_at, last_at, sealed_at,
                                 ids, digests, events_hash, prev_hash, hash)
        VALUES (coalesce(v_last_no, 0) + 1, v.ids[1], v.ids[v.events], v.events, v.first_at, v.last_at, v_sealed_at,
                v.ids, v.digests, v.events_hash, v_last_hash,
                audit.seal_hash(coalesce(v_last_no, 0) + 1, v.ids, v.digests, v.first_at, v.last_at, v_sealed_at,
                                v.events_hash, v_last_hash));
    END IF;
    IF v.events < c_batch_events THEN
        -- All of it is sealed: the next cut may be noted.
        DELETE FROM audit.seal_cut;
    END IF;
    RETURN v.events;
END
$$;
COMMENT ON FUNCTION audit.seal_batch() IS
    E'Seals the next 1000 events up to the noted cut, if that is ready; returns how many.\n'
    'One batch of audit.seal().\n'
    'Level: operator.';
CREATE OR REPLACE PROCEDURE audit.seal()
    LANGUAGE plpgsql AS $$
DECLARE
    v_first boolean := true;
    v_events bigint;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    -- Every batch must see what was committed before it, whatever the session's default is: an older snapshot would read the
    -- last seal as it was before the wait for it.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    -- Twice: what an earlier run had to leave, and what has come since.
    FOR v_round IN 1 .. 2 LOOP
        PERFORM audit.seal_note();
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        -- At most three seconds for the transactions that were running; what they hold up is left to the next run.
        FOR v_try IN 1 .. 60 LOOP
            EXIT WHEN audit.seal_ready();
            COMMIT;
            PERFORM pg_catalog.pg_sleep(0.05);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        END LOOP;
        LOOP
            v_events := audit.seal_batch();
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
            EXIT WHEN v_events OPERATOR(pg_catalog.=) 0;
            PERFORM sec.job_batch('seal', v_events, v_first);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
            v_first := false;
        END LOOP;
    END LOOP;
    PERFORM sec.job_batch('seal', 0, v_first);
    COMMIT;
    CALL audit.sign_heads();
END
$$;
COMMENT ON PROCEDURE audit.seal() IS
    E'Seals the audit events of every transaction that has ended: SHA-256, chained in batches of 1000 (audit.seals).\n'
    'Charges neither wait nor pay for it. Safe beside itself. What a long transaction holds up is left to the next run. Where '
    'mps.seal_key_file is set, receipts come from it: audit.sign_heads().\n'
    'Level: operator.';
CREATE OR REPLACE FUNCTION audit.head() RETURNS TABLE (seal_no bigint, last_event_id bigint, hash text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.require_sound_tables();
    SELECT s.seal_no, s.last_id, encode(s.hash, 'hex') FROM audit.seals s ORDER BY s.seal_no DESC LIMIT 1
$$;
COMMENT ON FUNCTION audit.head() IS
    E'The last seal: its number, its last event and its hash in hexadecimal.\n'
    'Keep the hash somewhere else: audit.verify(p_head => ...) proves later that nothing before it was changed, not even the '
    'seals. No row before the first seal.\n'
    'Level: operator.\n'
    'Results: seal_no, last_event_id (the last event it covers), hash (64 digits).';
CREATE OR REPLACE FUNCTION audit.verify(p_from timestamptz DEFAULT NULL, p_to timestamptz DEFAULT NULL, p_head text DEFAULT NULL)
    RETURNS TABLE (check_name text, ok boolean, detail text)
    -- Seals are few, but each stands for a thousand events to hash: worth several processes.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off SET timezone = 'UTC' SET work_mem = '64MB' SET jit = off
    SET min_parallel_table_scan_size = 0 AS $verify$
DECLARE
    c_piece constant integer := 16;
    v record;
    v_from timestamptz := coalesce(p_from, '-infinity');
    v_to timestamptz := coalesce(p_to, 'infinity');
    v_found text[] := '{}';
    v_broken bigint[];
    v_intact int8multirange;
    v_same int8multirange;
    v_chosen int8range;
    v_unsure int8multirange := '{}';
    v_missing text[];
    v_missing_at tstzmultirange;
    v_changed text[];
    v_removed text[];
    v_inserted text[];
    v_reordered text[];
    v_events bigint;
    v_seals bigint;
BEGIN
    PERFORM sec.refuse_outdated();
    IF v_from >= v_to THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_from is before p_to');
    END IF;
    PERFORM sec.require_sound_tables();
    detail := sec.outdated_view();
    IF detail IS NOT NULL THEN
        RETURN QUERY SELECT * FROM sec.outdated_view_row(detail);
        RETURN;
    END IF;

    SELECT coalesce(array_agg(to_char(a.month, 'YYYY-MM') ORDER BY a.month), '{}'),
           coalesce(range_agg(tstzrange(a.month, a.month + interval '1 month')), '{}')
    INTO v_missing, v_missing_at
    FROM app.archived_months a WHERE to_regclass('mps_archive.event_log_' || to_char(a.month, 'YYYYMM')) IS NULL;
    SELECT int8range(min(s.seal_no) FILTER (WHERE s.last_at >= v_from), max(s.seal_no) FILTER (WHERE s.first_at < v_to), '[]') INTO v_chosen
    FROM audit.seals s
    HAVING min(s.seal_no) FILTER (WHERE s.last_at >= v_from) <= max(s.seal_no) FILTER (WHERE s.first_at < v_to);
    -- The costly part, and so cut in pieces that several processes can share: which seals are not what their hash says, and
    -- which of the chosen ones have exactly their events. What no piece vouches for, be it because its first seal is gone, is
    -- looked at event by event below. (EXECUTE, because a SELECT ... INTO would ask for two rows, and that is never shared.)
    EXECUTE $q$
        SELECT coalesce(array_agg(x.seal_no) FILTER (WHERE x.whole IS NOT TRUE), '{}'), coalesce(range_agg(x.intact), '{}')
        FROM (SELECT s.seal_no,
                     s.hash = audit.seal_hash(s.seal_no, s.ids, s.digests, s.first_at, s.last_at, s.sealed_at, s.events_hash, s.prev_hash)
                         AND (s.first_id, s.last_id, s.events) = (s.ids[1], s.ids[cardinality(s.ids)], cardinality(s.ids)) AS whole,
                     CASE WHEN s.seal_no % $2 = 1 AND int8range(s.seal_no, s.seal_no + $2) && $1
                          THEN audit.intact_seals(int8range(s.seal_no, s.seal_no + $2) * $1) END AS intact
              FROM audit.seals s OFFSET 0) x$q$
        INTO v_broken, v_intact USING v_chosen, c_piece;

    -- The chain, always all of it: every seal is what its hash says, and follows the one before.
    FOR v IN
        SELECT s.seal_no, s.first_id, s.last_id, coalesce(lag(s.seal_no) OVER w, 0) AS before_no,
               coalesce(lag(s.last_id) OVER w, 0) AS before_last,
               coalesce(lead(s.first_id) OVER w, s.last_id + 1) AS next_first,
               s.prev_hash = coalesce(lag(s.hash) OVER w, decode(repeat('00', 32), 'hex')) AS follows,
               s.seal_no <> ALL (v_broken) AS whole
        FROM audit.seals s WINDOW w AS (ORDER BY s.seal_no)
    LOOP
        IF v.seal_no <> v.before_no + 1 THEN
            v_found := v_found || format('seal %s follows seal %s: what was between them is missing', v.seal_no, v.before_no);
            v_unsure := v_unsure + int8multirange(int8range(v.before_last, greatest(v.first_id, v.before_last), '()'));
        ELSIF NOT v.follows THEN
            v_found := v_found || format('seal %s does not follow seal %s as that is now', v.seal_no, v.before_no);
        END IF;
        IF NOT v.whole THEN
            -- Whatever it says: its events are those between its neighbours', and cannot be compared with anything.
            v_found := v_found || format('seal %s was changed: events %s to %s cannot be checked',
                                 v.seal_no, v.before_last + 1, v.next_first - 1);
            v_unsure := v_unsure + int8multirange(int8range(v.before_last, greatest(v.next_first, v.before_last), '()'));
        END IF;
    END LOOP;
    check_name := 'seals'; ok := cardinality(v_found) = 0; detail := sec.first_ten(v_found);
    RETURN NEXT;

    SELECT count(*) > 0, max(s.seal_no) INTO ok, v_seals FROM audit.seals s
    WHERE s.hash = CASE WHEN p_head ~* '^([0-9a-f]{2})+$' THEN decode(p_head, 'hex') END;
    check_name := 'head';
    detail := CASE WHEN p_head IS NULL THEN 'ok; not checked: no head was given'
                   WHEN ok THEN format('ok; it is seal %s', v_seals)
                   ELSE 'no seal has this hash: these are not the seals that it was taken from' END;
    ok := ok OR p_head IS NULL;
    RETURN NEXT;

    IF EXISTS (SELECT FROM audit.heads) THEN
        v_found := ARRAY(SELECT sec.check_heads());
        check_name := 'heads'; ok := cardinality(v_found) = 0; detail := sec.first_ten(v_found);
        RETURN NEXT;
    END IF;

    -- The ids between two whole seals, where what is there has the hash of the second: nothing of it was changed, removed,
    -- inserted or reordered. What is left of the chosen is compared event by event.
    SELECT coalesce(range_agg(int8range(coalesce(b.last_id, -1), s.last_id, '(]')) FILTER (WHERE x.same), '{}'),
           coalesce(sum(s.events) FILTER (WHERE x.same), 0)
    INTO v_same, v_events
    FROM audit.seals s LEFT JOIN audit.seals b ON b.seal_no = s.seal_no - 1,
         LATERAL (SELECT s.seal_no <@ v_intact AND s.seal_no <> ALL (v_broken)
                         AND (s.seal_no = 1 OR b.seal_no <> ALL (v_broken)) IS TRUE AS same) x
    WHERE s.seal_no <@ v_chosen;
    EXECUTE format($q$
        WITH chosen AS (
            SELECT s.seal_no, s.first_id, s.last_id, s.first_at, s.last_at, s.ids, s.digests, s.events_hash,
                   tstzrange(s.first_at, s.last_at, '[]') && $5 AS has_missing
            FROM audit.seals s
            WHERE s.seal_no <@ $6),
        -- One stretch of ids: whatever lies in it and is in none of its seals was inserted.
        stretch AS (
            SELECT CASE WHEN $1 = '-infinity' THEN 0 ELSE min(c.first_id) END AS first_id, max(c.last_id) AS last_id,
                   least($1, min(c.first_at)) AS first_at, greatest($2, max(c.last_at) + interval '1 microsecond') AS last_at
            FROM chosen c),
        sealed AS (SELECT c.seal_no, c.has_missing, u.id, u.digest FROM chosen c, unnest(c.ids, c.digests) u (id, digest)
                   WHERE c.seal_no <> ALL ($3) AND NOT c.last_id <@ $7),
        present AS (
            SELECT e.id, %s AS digest FROM (%s) e
            WHERE e.id >= (SELECT s.first_id FROM stretch s) AND e.id <= (SELECT s.last_id FROM stretch s)
              AND e.happened_at >= (SELECT s.first_at FROM stretch s) AND e.happened_at < (SELECT s.last_at FROM stretch s)
              AND NOT e.id <@ $7),
        compared AS MATERIALIZED (
            SELECT s.seal_no, s.id AS sealed_id, s.has_missing, s.digest AS was, p.id, p.digest AS full_digest,
                   ('x' || encode(substr(p.digest, 1, 8), 'hex'))::bit(64)::bigint AS now
            FROM sealed s FULL JOIN present p ON p.id = s.id),
        odd AS MATERIALIZED (
            SELECT c.* FROM compared c
            WHERE (c.sealed_id IS NULL AND NOT c.id <@ $4) OR (c.id IS NULL AND NOT c.has_missing) OR c.now <> c.was),
        named AS (
            SELECT coalesce(o.sealed_id, o.id) AS id,
                   CASE WHEN o.sealed_id IS NULL THEN 'inserted' WHEN o.id IS NULL THEN 'removed'
                        WHEN t.id IS NULL THEN 'changed' ELSE 'reordered' END AS kind,
                   CASE WHEN t.id IS NULL THEN format('event %%s', coalesce(o.sealed_id, o.id))
                        ELSE format('event %%s is what was sealed as %%s', o.id, t.id) END AS what
            FROM odd o LEFT JOIN LATERAL (SELECT x.sealed_id AS id FROM odd x WHERE x.was = o.now AND x.sealed_id <> o.id
                                          ORDER BY 1 LIMIT 1) t ON true
            UNION ALL
            -- An event that was forged to the first eight bytes.
            SELECT min(d.sealed_id), 'changed', format('one of the events of seal %%s', d.seal_no)
            FROM compared d JOIN chosen c ON c.seal_no = d.seal_no
            WHERE d.seal_no IS NOT NULL AND NOT d.has_missing
            GROUP BY d.seal_no, c.events_hash
            HAVING sha256(string_agg(int8send(d.id) || d.full_digest, '' ORDER BY d.id)) IS DISTINCT FROM c.events_hash
               AND d.seal_no <> ALL (ARRAY(SELECT o.seal_no FROM odd o WHERE o.seal_no IS NOT NULL)))
        SELECT coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'changed'), '{}'),
               coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'removed'), '{}'),
               coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'inserted'), '{}'),
               coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'reordered'), '{}'),
               (SELECT count(*) FROM compared c WHERE c.id = c.sealed_id) + $8, (SELECT count(*) FROM chosen)
        FROM named n
        $q$, audit.event_digest(), audit.event_logs())
        INTO v_changed, v_removed, v_inserted, v_reordered, v_events, v_seals
        USING v_from, v_to, v_broken, v_unsure, v_missing_at, v_chosen, v_same, v_events;
    RETURN QUERY
        SELECT x.name, cardinality(x.found) = 0, sec.first_ten(x.found)
        FROM (VALUES ('events_changed', v_changed), ('events_removed', v_removed),
                     ('events_inserted', v_inserted), ('events_reordered', v_reordered)) x (name, found);
    check_name := 'compared';
    ok := true;
    detail := format('ok; %s events with %s seals', v_events, v_seals)
              || CASE WHEN cardinality(v_missing) > 0
                   THEN '; not checked, archived and no longer here: ' || array_to_string(v_missing, ', ') ELSE '' END;
    RETURN NEXT;
END
$verify$;
COMMENT ON FUNCTION audit.verify(timestamptz, timestamptz, text) IS
    E'Compares the audit log with its seals: one row per check, with up to ten events or seals that break it.\n'
    'From p_from to before p_to (happened_at); NULL: everything, archived months included. p_head: a hash of audit.head() that '
    'was kept elsewhere; without it, whoever rewrote the log and all its seals, or took the last ones away, is not found. Events '
    'that are not sealed yet are not looked at. Where heads are signed (audit.sign_heads()), also whether they, and the trees under '
    'them, are as they were signed. For operators, also on a standby.\n'
    'ok NULL, in one row named snapshot: nothing was checked, because a month was archived or a table changed after the snapshot '
    'was taken; ask again.\n'
    'Level: operator.\n'
    'Results: check_name, ok (whether it holds), detail (ok, or what breaks it).\n'
    'Errors: INVALID_ARGUMENT, SCHEMA_OUTDATED.';
CREATE OR REPLACE FUNCTION audit.event_logs() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT 'SELECT e.* FROM audit.event_log e' || coalesce(
           string_agg(format(' UNION ALL SELECT e.* FROM %s e', x.log), '' ORDER BY a.month), '')
    FROM app.archived_months a, LATERAL (SELECT to_regclass('mps_archive.event_log_' || to_char(a.month, 'YYYYMM')) AS log) x
    WHERE x.log IS NOT NULL
$$;
COMMENT ON FUNCTION audit.event_logs() IS
    E'The query for every event that is in this database, archived months included.\n'
    'Internal.';
COMMENT ON FUNCTION audit.intact_seals(int8range) IS
    E'Which of these seals have exactly their events between the end of the seal before and their own: the same ids with the same '
    'contents, none more and none less.\n'
    'Internal.';
CREATE FUNCTION sec.health_of_ledger() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_unsealed_age constant interval := '1 hour';
    -- What the library refuses to go beyond, and the part of it from which on somebody is told.
    c_tx_numbers constant bigint := 35000000000;
    c_numbers_alarm constant numeric := 0.8;
    v record;
BEGIN
    RETURN QUERY SELECT * FROM sec.health_of_months(sec.patience() * interval '1 day');

    SELECT count(*) AS events, clock_timestamp() - min(e.happened_at) AS age INTO v
    FROM audit.event_log e WHERE e.id > coalesce((SELECT max(s.last_id) FROM audit.seals s), 0);
    RETURN QUERY SELECT 'unsealed_events'::text, v.events = 0 OR v.age < c_unsealed_age,
                        CASE WHEN v.events = 0 THEN 'none' ELSE format('%s, the oldest %s old', v.events, date_trunc('second', v.age)) END;

    -- One sequence for all months, which ends (see docs/decisions.md): that is known long before.
    SELECT q.last_value - (NOT q.is_called)::integer AS given INTO v FROM app.tx_no_seq q;
    RETURN QUERY SELECT 'transaction_numbers'::text, v.given < c_tx_numbers * c_numbers_alarm,
                        format('%s of %s are given (%s %%)', v.given, c_tx_numbers, round(100.0 * v.given / c_tx_numbers, 1));
END
$$;
COMMENT ON FUNCTION sec.health_of_ledger() IS 'What app.health() says of the ledger. Internal: sec.health_rows().';
CREATE FUNCTION sec.sequences_of_ledger() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.tx_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.tx_no_seq q),
           (SELECT max(t.id) % 100000000000 FROM app.transactions t)
    UNION ALL
    SELECT 'audit.event_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM audit.event_id_seq q),
           greatest((SELECT max(e.id) FROM audit.event_log e), (SELECT max(s.last_id) FROM audit.seals s))
$$;
COMMENT ON FUNCTION sec.sequences_of_ledger() IS
    'The sequences of the ledger: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
CREATE FUNCTION sec.logged_of_ledger() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('payment', ARRAY['card', 'change', 'at']), ('refund', ARRAY['card', 'change', 'at', 'original']),
           ('recharge', ARRAY['card', 'change', 'method']), ('adjustment', ARRAY['card', 'change', 'original']),
           ('withdrawal', ARRAY['card', 'change']), ('month.archived', '{}')
$$;
COMMENT ON FUNCTION sec.logged_of_ledger() IS 'The events of the ledger. Internal: sec.logged_actions().';
CREATE FUNCTION sec.rebuilds_of_ledger() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (100, 'rebuild_movements'), (110, 'rebuild_points'), (120, 'rebuild_balances')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_ledger() IS 'The steps of the ledger. Internal: sec.rebuild_steps().';
CREATE FUNCTION sec.id_of_number(p_tx_no text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $rule$
    SELECT substr(p_tx_no, 3, 4)::bigint * 100000000000 + substr(p_tx_no, 7)::bigint
$rule$;
COMMENT ON FUNCTION sec.id_of_number(text) IS 'The id of the transaction that has a number. Internal.';
CREATE FUNCTION sec.logged_movements()
    RETURNS TABLE (event_id bigint, happened_at timestamptz, actor_user_id uuid, actor_role text, tx_no text, id bigint, tx_type text,
        card_no text, seq bigint, change numeric, points bigint, merchant_id integer, member_id uuid, original_tx_no text, method text,
        raw numeric, discount numeric, level text, excluded numeric, coupon text, campaigns jsonb)
    LANGUAGE sql STABLE AS $rule$
    SELECT e.id, e.happened_at, e.actor_user_id, e.actor_role, e.object_id, sec.id_of_number(e.object_id), e.action,
           split_part(e.context ->> 'card', '/', 1), split_part(e.context ->> 'card', '/', 2)::bigint,
           (e.context ->> 'change')::numeric, (e.context ->> 'points')::bigint, (e.context ->> 'at')::integer,
           (e.context ->> 'member')::uuid, e.context ->> 'original', e.context ->> 'method', (e.context ->> 'raw')::numeric,
           (e.context ->> 'discount')::numeric, e.context ->> 'level', (e.context ->> 'excluded')::numeric, e.context ->> 'coupon',
           (e.context ->> 'campaigns')::jsonb
    FROM audit.event_log e WHERE e.action IN ('payment', 'refund', 'recharge', 'adjustment', 'withdrawal')
$rule$;
COMMENT ON FUNCTION sec.logged_movements() IS
    'Every event of a movement: the card with its number of the movement, what was added to it, and of the rest what is not as usual '
    '(no points, the card''s own member, no discount, nothing excluded, no coupon, no campaign, the level as before). Internal: '
    'app.rebuild_from_log().';
CREATE FUNCTION sec.logged_cards() RETURNS TABLE (id uuid, card_no text, member_id uuid, card_type text)
    LANGUAGE sql STABLE AS $rule$
    SELECT c.id, c.card_no, c.member_id, 'personal' FROM app.personal_cards c
    UNION ALL SELECT c.id, c.card_no, NULL, 'enterprise' FROM app.enterprise_cards c
$rule$;
COMMENT ON FUNCTION sec.logged_cards() IS 'The cards by number, as far as rebuilding has come. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.rebuild_balances() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.personal_cards c
    SET balance = coalesce(m.balance, 0), card_seq = coalesce(m.card_seq, 0), last_tx_id = m.last_tx_id, skip_tx_id = m.skip_tx_id,
        last_posted_at = m.last_posted_at, points = coalesce(p.points, 0), point_seq = coalesce(p.point_seq, 0),
        level = split_part(l.level, '/', 1)::smallint, discount = split_part(l.level, '/', 2)::numeric
    FROM app.personal_cards b
    LEFT JOIN sec.last_movements() m ON m.card_id = b.id
    LEFT JOIN (SELECT x.card_id, sum(x.change) AS points, max(x.point_seq) AS point_seq FROM app.point_ledger x GROUP BY x.card_id) p
        ON p.card_id = b.id
    JOIN (SELECT DISTINCT ON (x.card_no) x.card_no, x.level FROM sec.logged_points() x WHERE x.level IS NOT NULL
          ORDER BY x.card_no, x.event_id DESC, x.part DESC) l ON l.card_no = b.card_no
    WHERE c.id = b.id;
    UPDATE app.enterprise_cards c
    SET balance = m.balance, card_seq = m.card_seq, last_tx_id = m.last_tx_id, skip_tx_id = m.skip_tx_id, last_posted_at = m.last_posted_at
    FROM sec.last_movements() m WHERE m.card_id = c.id;
    PERFORM sec.note_late_postings();
    RETURN;
END
$$;
COMMENT ON FUNCTION sec.rebuild_balances() IS
    'What its last movement, its last change of points and the last change of its level left on each card. Internal: '
    'app.rebuild_from_log().';
CREATE FUNCTION sec.last_movements()
    RETURNS TABLE (card_id uuid, balance numeric, card_seq bigint, last_tx_id bigint, skip_tx_id bigint, last_posted_at timestamptz)
    LANGUAGE sql STABLE AS $rule$
    SELECT x.card_id, t.balance_after, t.card_seq, t.id, k.id, t.posted_at
    FROM (SELECT m.card_id, max(m.card_seq) AS top FROM app.transactions m WHERE m.card_seq IS NOT NULL GROUP BY m.card_id) x
    JOIN app.transactions t ON t.card_id = x.card_id AND t.card_seq = x.top
    -- The head of the chain of every 64th.
    LEFT JOIN (SELECT s.card_id, s.card_seq, s.id FROM app.transactions s WHERE s.card_seq % 64 = 0) k
        ON k.card_id = x.card_id AND k.card_seq = x.top / 64 * 64
$rule$;
COMMENT ON FUNCTION sec.last_movements() IS
    'The last movement of each card that has one, and its last of which the number is a multiple of 64. Internal: sec.rebuild_balances().';
CREATE FUNCTION sec.logged_refunds()
    RETURNS TABLE (event_id bigint, id bigint, payment_id bigint, paid numeric, so_far numeric, before_id bigint, is_last boolean)
    LANGUAGE sql STABLE AS $rule$
    -- A payment is locked by its refund: the events of its refunds are in their order.
    SELECT r.event_id, r.id, p.id, -p.change, sum(r.change) OVER w, lag(r.id) OVER w, lead(r.id) OVER w IS NULL
    FROM (SELECT m.event_id, m.id, m.change, m.original_tx_no FROM sec.logged_movements() m WHERE m.tx_type = 'refund') r
    LEFT JOIN (SELECT m.tx_no, m.id, m.change FROM sec.logged_movements() m WHERE m.tx_type = 'payment') p ON p.tx_no = r.original_tx_no
    WINDOW w AS (PARTITION BY r.original_tx_no COLLATE "C" ORDER BY r.event_id ROWS UNBOUNDED PRECEDING)
$rule$;
COMMENT ON FUNCTION sec.logged_refunds() IS
    'Every refund with its payment, what that had paid and what was refunded of it by then. Internal: sec.rebuild_movements().';
CREATE FUNCTION sec.chained_movements()
    RETURNS TABLE (event_id bigint, id bigint, created_at timestamptz, posted_at timestamptz, seq bigint, nth bigint, prev_tx_id bigint,
        far_tx_id bigint, points bigint, merchant_id integer, tx_type text, card_type text, method text, card_no text, card_id uuid,
        member_id uuid, processed_by uuid, discount numeric, raw numeric, final numeric, balance_after numeric, tx_no text,
        original_tx_no text, excluded numeric, coupon text, campaigns jsonb)
    LANGUAGE sql STABLE AS $rule$
    -- Without the moment of posting in the log, it is that of the event, a microsecond or more after the movement before.
    SELECT m.event_id, m.id, m.created_at,
           max(greatest(m.happened_at, m.created_at) - m.seq * interval '1 microsecond') OVER w + m.seq * interval '1 microsecond',
           m.seq, row_number() OVER w, lag(m.id) OVER w, lag(m.id, 64) OVER w, m.points, m.merchant_id, m.tx_type, m.card_type, m.method,
           m.card_no, m.card_id, m.member_id, m.processed_by, m.discount, m.raw,
           CASE WHEN m.tx_type IN ('payment', 'withdrawal') THEN -m.change ELSE m.change END, sum(m.change) OVER w, m.tx_no,
           m.original_tx_no, m.excluded, m.coupon, m.campaigns
    FROM (SELECT l.event_id, l.id, l.happened_at, l.seq, l.points, l.merchant_id, l.tx_type, l.method, l.card_no, l.discount, l.raw,
                 l.change, l.tx_no, l.original_tx_no, l.excluded, l.coupon, l.campaigns, c.id AS card_id, c.card_type,
                 coalesce(l.member_id, c.member_id) AS member_id,
                 coalesce(a.happened_at, l.happened_at) AS created_at,
                 CASE WHEN a.object_id IS NULL THEN l.actor_user_id ELSE a.actor_user_id END AS processed_by
          FROM sec.logged_movements() l
          LEFT JOIN sec.logged_cards() c ON c.card_no = l.card_no
          -- A recharge that waited is of when it was asked for.
          LEFT JOIN audit.event_log a ON a.object_id = l.tx_no AND a.action = 'recharge.requested') m
    WINDOW w AS (PARTITION BY m.card_no COLLATE "C" ORDER BY m.seq ROWS UNBOUNDED PRECEDING)
$rule$;
COMMENT ON FUNCTION sec.chained_movements() IS
    'Every movement with the one before it on its card, and the balance after it. Internal: sec.rebuild_movements().';
CREATE FUNCTION sec.rebuild_movements() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.transactions (
        id, created_at, posted_at, card_seq, prev_tx_id, skip_tx_id, refund_chain_id, points_earned, merchant_id, tx_type, status,
        card_type, payment_method, card_id, member_id, processed_by, discount, raw_amount, final_amount, balance_after, refunded_amount,
        refundable_left, tx_no, original_tx_no, gateway_trade_no, failure_reason, excluded_amount, coupon_discount,
        member_coupon_id, points_base, points_bonus, campaigns)
    WITH refunds AS MATERIALIZED (SELECT * FROM sec.logged_refunds())
    SELECT m.id, m.created_at, m.posted_at,
           CASE WHEN m.card_id IS NULL THEN sec.refuse_log(m.event_id, format('there is no card %s, which %s moved', m.card_no, m.tx_no))
                WHEN m.nth IS DISTINCT FROM m.seq
                    THEN sec.refuse_log(m.event_id, format('%s is movement %s of %s, but in the log it follows movement %s', m.tx_no, m.seq,
                                                           m.card_no, m.nth - 1))
                WHEN m.balance_after < 0
                    THEN sec.refuse_log(m.event_id, format('%s would leave %s on %s', m.tx_no, m.balance_after, m.card_no))
                WHEN m.tx_type = 'refund' AND r.payment_id IS NULL
                    THEN sec.refuse_log(m.event_id, format('%s gives back %s, which is not there', m.tx_no, m.original_tx_no))
                WHEN r.so_far > r.paid
                    THEN sec.refuse_log(m.event_id, format('with %s more is given back than %s paid', m.tx_no, m.original_tx_no))
                WHEN m.tx_type = 'refund' AND m.final = 0 AND (r.paid > 0 OR r.before_id IS NOT NULL)
                    THEN sec.refuse_log(m.event_id, format('%s cancels %s, which it cannot', m.tx_no, m.original_tx_no))
                ELSE m.seq END,
           m.prev_tx_id, CASE WHEN m.seq % 64 = 0 THEN m.far_tx_id END, coalesce(r.before_id, l.id), coalesce(m.points, 0), m.merchant_id,
           m.tx_type::app.tx_type,
           -- A refund of nothing is what cancels a payment of 0.00.
           CASE WHEN m.tx_type = 'payment' AND m.final = 0 AND l.id IS NOT NULL THEN 'cancelled' ELSE 'completed' END::app.tx_status,
           m.card_type::app.card_type, coalesce(g.method, m.method, 'balance')::app.pay_method, m.card_id,
           m.member_id, m.processed_by, coalesce(m.discount, 1), coalesce(m.raw, m.final), m.final, m.balance_after,
           CASE WHEN m.tx_type = 'payment' THEN coalesce(l.so_far, 0) END, r.paid - r.so_far, m.tx_no, m.original_tx_no, g.gateway_trade_no,
           d.failure_reason, m.excluded,
           CASE WHEN m.coupon IS NOT NULL THEN round((m.raw - coalesce(m.excluded, 0)) * coalesce(m.discount, 1), 2)
                                               + coalesce(m.excluded, 0) - m.final END,
           substr(m.coupon, 3)::bigint, coalesce(m.points, 0) - b.points, b.points, m.campaigns
    FROM sec.chained_movements() m
    LEFT JOIN refunds r ON r.id = m.id
    LEFT JOIN refunds l ON l.payment_id = m.id AND l.is_last
    LEFT JOIN sec.logged_trades() g ON g.tx_no = m.tx_no
    -- Of one that failed and was paid after all.
    LEFT JOIN sec.logged_ends() d ON d.tx_no = m.tx_no
    LEFT JOIN LATERAL (SELECT sum(u.value::bigint)::bigint AS points FROM jsonb_each_text(m.campaigns) u) b ON m.campaigns IS NOT NULL;
    RETURN QUERY SELECT x.what, (SELECT count(*) FROM app.transactions t WHERE t.tx_type::text = x.tx_type)
                 FROM (VALUES ('payments', 'payment'), ('refunds', 'refund'), ('recharges', 'recharge'), ('adjustments', 'adjustment'),
                              ('withdrawals', 'withdrawal')) x (what, tx_type);
END
$$;
COMMENT ON FUNCTION sec.rebuild_movements() IS
    'Every transaction that moved a balance. Internal: app.rebuild_from_log(). Errors: STATUS_CONFLICT where a movement is missing, or '
    'what is there cannot be.';
CREATE FUNCTION sec.logged_points()
    RETURNS TABLE (event_id bigint, part integer, happened_at timestamptz, card_no text, change bigint, tx_no text, reason text, level text,
        seq bigint, points bigint)
    LANGUAGE sql STABLE AS $rule$
    SELECT m.event_id, 0, m.happened_at, m.card_no, m.points, m.tx_no, NULL::text, m.level, NULL::bigint, NULL::bigint
    FROM sec.logged_movements() m WHERE m.points IS NOT NULL OR m.level IS NOT NULL
    UNION ALL
    -- One look at what is rare: the others have no part.
    SELECT e.id, x.part, e.happened_at, x.card_no, nullif(x.change, 0), x.tx_no, x.reason, x.level, x.seq, x.points
    FROM audit.event_log e CROSS JOIN LATERAL (
        SELECT 1 AS part, e.context ->> 'card_no' AS card_no, NULL::bigint AS change, NULL::text AS tx_no, NULL::text AS reason,
               e.context ->> 'level' AS level, NULL::bigint AS seq, NULL::bigint AS points
        WHERE e.action = 'member.registered'
        UNION ALL SELECT 1, e.object_id, NULL, NULL, NULL, e.context ->> 'level', NULL, NULL WHERE e.action = 'card.issued'
        UNION ALL
        SELECT 1, e.object_id, (e.context ->> 'change')::bigint, NULL, e.context ->> 'reason', e.context ->> 'level',
               (e.context ->> 'point_seq')::bigint, (e.context ->> 'points')::bigint
        WHERE e.action = 'points.adjusted'
        UNION ALL
        SELECT 1, e.object_id, -(e.context ->> 'points')::bigint, e.context ->> 'out', e.context ->> 'reason', e.context ->> 'old_level',
               NULL, NULL
        WHERE e.action = 'card.replaced'
        UNION ALL
        SELECT 2, e.context ->> 'by', (e.context ->> 'points')::bigint, e.context ->> 'into', e.context ->> 'reason', e.context ->> 'level',
               NULL, NULL
        WHERE e.action = 'card.replaced'
        UNION ALL
        SELECT 1, l.key, NULL, NULL, NULL, l.value, NULL, NULL FROM jsonb_each_text(e.context -> 'levels') l
        WHERE e.action = 'levels.recomputed') x
    WHERE e.action IN ('member.registered', 'card.issued', 'points.adjusted', 'card.replaced', 'levels.recomputed')
$rule$;
COMMENT ON FUNCTION sec.logged_points() IS
    'Every change of a card''s points (change) or of its level with its discount (level), in the order of event_id and part. '
    'Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.rebuild_points() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.point_ledger (card_id, point_seq, created_at, change, balance_after, level, tx_no, reason)
    SELECT c.id,
           CASE WHEN c.id IS NULL
                    THEN sec.refuse_log(x.event_id, format('there is no personal card %s, whose points it changed', x.card_no))
                WHEN x.seq <> x.nth OR x.points <> x.after
                    THEN sec.refuse_log(x.event_id, format('it is change %s of the points of %s and leaves %s, but in the log it is number '
                                                           '%s and leaves %s', x.seq, x.card_no, x.points, x.nth, x.after))
                ELSE x.nth END,
           x.happened_at, x.change, x.after, x.level % 65536, x.tx_no, x.reason
    FROM (SELECT p.*, count(p.change) OVER w AS nth, sum(p.change) OVER w AS after,
                 -- The last level that was said, packed behind its event.
                 max(p.event_id * 65536 + p.said) OVER w AS level
          FROM (SELECT l.event_id, l.part, l.happened_at, l.card_no, l.change, l.tx_no, l.reason, l.seq, l.points,
                       split_part(l.level, '/', 1)::bigint AS said FROM sec.logged_points() l) p
          WINDOW w AS (PARTITION BY p.card_no COLLATE "C" ORDER BY p.event_id, p.part ROWS UNBOUNDED PRECEDING)) x
    LEFT JOIN app.personal_cards c ON c.card_no = x.card_no
    WHERE x.change IS NOT NULL;
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'changes of points';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_points() IS
    'Every change of points, with the points and the level after it. Internal: app.rebuild_from_log(). Errors: STATUS_CONFLICT where a '
    'change is missing.';
CREATE FUNCTION sec.columns_of_members() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.member_profiles', 'id, created_at, member_no, status, name, phone, email')
$$;
COMMENT ON FUNCTION sec.columns_of_members() IS 'What may be read of members. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.policies_of_members() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.member_profiles', 'own_profile', 'id = (SELECT sec.uid())', 'id=SELECTsec.uidASuid')
$$;
COMMENT ON FUNCTION sec.policies_of_members() IS 'The policies of members. Internal: sec.policies().';
CREATE FUNCTION sec.descriptions_of_members() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.member_profiles', 'id', 'The user''s id at the identity provider.'),
           ('app.member_profiles', 'created_at', 'When it registered.'),
           ('app.member_profiles', 'member_no', 'M and eight digits.'),
           ('app.member_profiles', 'status', 'active, suspended, closed.'),
           ('app.member_profiles', 'name', 'As given when it registered.'),
           ('app.member_profiles', 'phone', 'As given when it registered.'),
           ('app.member_profiles', 'email', 'As given when it registered.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_members() IS 'What columns of members are. Internal: sec.describe_columns().';
CREATE FUNCTION sec.settings_of_members()
    RETURNS TABLE (place integer, setting text, kind text, fallback text, lowest text, highest text, choices text[], en text, zh text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (10, 'signup_anonymous', 'switch', 'false', NULL, NULL, NULL::text[],
            'Whether users who are signed in anonymously become members at once; if not, once they have an identity.',
            '匿名登录的用户是否立即成为会员；否则在绑定邮箱、手机等身份后自动成为会员。')
$$;
COMMENT ON FUNCTION sec.settings_of_members() IS 'The settings of members. Internal: sec.settings().';
CREATE FUNCTION sec.install_members() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.member_no_seq') IS NULL THEN
        CREATE SEQUENCE app.member_no_seq AS bigint;
        COMMENT ON SEQUENCE app.member_no_seq IS 'Numbers of members (M00000001); may skip, never repeats';
    END IF;
    IF to_regclass('app.member_profiles') IS NULL THEN
        CREATE TABLE app.member_profiles (
            id         uuid        NOT NULL PRIMARY KEY,
            created_at timestamptz NOT NULL,
            member_no  text        NOT NULL UNIQUE,
            status     text        NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'closed')),
            name       text        NOT NULL,
            phone      text,
            email      text
        );
        COMMENT ON TABLE app.member_profiles IS 'Members. id is the id of the user at the identity provider (no foreign key to it).';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_members() IS
    'Makes the table of members and the sequence of their numbers, where they are missing. Internal: sec.install() calls it.';
CREATE OR REPLACE FUNCTION app.register_member(p_name text, p_phone text DEFAULT NULL, p_email text DEFAULT NULL, p_user_id uuid DEFAULT NULL)
    RETURNS TABLE (member_id uuid, member_no text, card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'register_member_wrapper';
COMMENT ON FUNCTION app.register_member IS
    E'Registers a member and issues its personal card.\n'
    'Called again for the same user it returns the same member unchanged. A signed-in user registers itself (one who is signed in '
    'anonymously only where settings.signup_anonymous is on); a backend may name any p_user_id, or none for a new id.\n'
    'Level: client.\n'
    'Results: member_id (the user''s id), member_no (M and eight digits), card_id and card_no (VIP and eight digits) of the '
    'personal card.\n'
    'Errors: NOT_AUTHENTICATED, NOT_ALLOWED, INVALID_ARGUMENT.';
CREATE OR REPLACE FUNCTION app.set_member_status(p_member_id uuid, p_status text, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_member_status_wrapper';
COMMENT ON FUNCTION app.set_member_status IS
    E'Sets the status of a member.\n'
    'By a backend. p_status: active, suspended, closed (final; closes the member''s personal card, which must be empty).\n'
    'Level: backend.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: MEMBER_NOT_FOUND, STATUS_CONFLICT, CARD_NOT_EMPTY, INVALID_ARGUMENT.';
CREATE OR REPLACE FUNCTION sec.register_signup(p_user_id uuid, p_name text, p_phone text, p_email text) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'register_signup_wrapper';
CREATE OR REPLACE FUNCTION sec.on_signup() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    v_columns text;
    v_row jsonb;
    v_said jsonb;
    v_name text;
BEGIN
    -- A sign-up must never fail because of us: whatever goes wrong is a warning, and the app's own register_member mends it.
    -- An anonymous user becomes no member; the trigger of app.enable_supabase_signup() calls again once it has an identity.
    BEGIN
        -- Only what is of the server's own types: to make text or JSON of another, its owner's functions would run as ours.
        SELECT string_agg(format('%L, ($1).%I', a.attname, a.attname), ', ') INTO v_columns
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = TG_RELID AND a.attname IN ('id', 'email', 'phone', 'raw_user_meta_data', 'is_anonymous')
          AND t.typnamespace = 'pg_catalog'::regnamespace;
        EXECUTE format('SELECT jsonb_build_object(%s)', v_columns) INTO v_row USING NEW;
        IF v_row ->> 'is_anonymous' = 'true' AND NOT (SELECT s.signup_anonymous FROM app.settings s) THEN
            RETURN NULL;
        END IF;
        -- A name is a string. Whoever signs up writes there what they like, and a list of short numbers can be half a gigabyte as text.
        FOREACH v_said IN ARRAY ARRAY[v_row #> '{raw_user_meta_data,name}', v_row #> '{raw_user_meta_data,full_name}'] LOOP
            IF v_name IS NULL AND jsonb_typeof(v_said) = 'string' THEN
                v_name := v_said #>> '{}';
            END IF;
        END LOOP;
        PERFORM sec.register_signup((v_row ->> 'id')::uuid, v_name, v_row ->> 'phone', v_row ->> 'email');
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'mps: no member for the new user %: %', v_row ->> 'id', SQLERRM;
    END;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.on_signup() IS
    E'Trigger on auth.users: registers as a member who is new, or was anonymous and is no more; never blocks the sign-up. Internal.\n'
    'Level: signup.';
CREATE FUNCTION sec.signup_triggers() RETURNS TABLE (name text, missing boolean, wanted boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- From the catalog: who asks may have no right to look a name up in that schema.
    WITH users AS (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'auth' AND c.relname = 'users'
    )
    SELECT t.name,
           NOT EXISTS (SELECT FROM users u JOIN pg_trigger g ON g.tgrelid = u.oid JOIN pg_proc p ON p.oid = g.tgfoid
                       WHERE g.tgname = t.name AND p.proname = 'on_signup' AND p.pronamespace::regnamespace::text = 'sec'),
           EXISTS (SELECT FROM users u
                   WHERE t.name <> 'mps_signup_identity'
                      OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = u.oid AND a.attname = 'is_anonymous'
                                   AND a.atttypid = 'boolean'::regtype AND NOT a.attisdropped))
    FROM (VALUES ('mps_signup'), ('mps_signup_identity')) t (name)
$$;
COMMENT ON FUNCTION sec.signup_triggers() IS
    E'The triggers of app.enable_supabase_signup() on auth.users: which are missing, and which that table can have (an older one has no '
    'is_anonymous). Internal.\n'
    'Level: signup.';
CREATE FUNCTION sec.signup_is_whole() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT bool_and(t.missing) OR NOT bool_or(t.missing AND t.wanted) FROM sec.signup_triggers() t
$$;
COMMENT ON FUNCTION sec.signup_is_whole() IS
    'Whether registering new users is off, or has all of its triggers. Internal: app.health() and sec.migrate_signup() ask it.';
CREATE OR REPLACE FUNCTION app.enable_supabase_signup() RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_made boolean := false;
    v_name text;
BEGIN
    IF to_regclass('auth.users') IS NULL THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'there is no table auth.users in this database');
    END IF;
    FOR v_name IN SELECT t.name FROM sec.signup_triggers() t WHERE t.missing AND t.wanted LOOP
        CASE v_name
            WHEN 'mps_signup' THEN
                CREATE TRIGGER mps_signup AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION sec.on_signup();
            WHEN 'mps_signup_identity' THEN
                CREATE TRIGGER mps_signup_identity AFTER UPDATE ON auth.users FOR EACH ROW
                    WHEN (OLD.is_anonymous AND NOT NEW.is_anonymous) EXECUTE FUNCTION sec.on_signup();
        END CASE;
        v_made := true;
    END LOOP;
    RETURN v_made;
END
$$;
COMMENT ON FUNCTION app.enable_supabase_signup() IS
    E'Registers every new auth.users row as a member from now on; for a superuser or the owner of auth.users, once.\n'
    'An anonymous one (unless settings.signup_anonymous is on) once it has an identity. Returns whether anything of it was off.\n'
    'Level: signup.\n'
    'Errors: INVALID_ARGUMENT where there is no auth.users.';
CREATE FUNCTION sec.migrate_signup() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.mend_signup();
END
$$;
COMMENT ON FUNCTION sec.migrate_signup() IS
    'The step to schema version 3 of sign-ups: the trigger for those who get an identity where sign-up is on. '
    'Internal: sec.migrate_tables() calls it.';
CREATE FUNCTION sec.mend_signup() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF NOT sec.signup_is_whole() THEN
        PERFORM app.enable_supabase_signup();
    END IF;
EXCEPTION WHEN OTHERS THEN
    -- Whose table it is may be another's, and it may be busy: an upgrade does not fail for it. app.health() goes on saying so.
    RAISE NOTICE 'mps: anonymous users who get an identity become no members (%): SELECT app.enable_supabase_signup()', SQLERRM;
END
$$;
COMMENT ON FUNCTION sec.mend_signup() IS
    'Adds the trigger that sign-up of an older release lacks, if it can be had within '
    'two seconds. Internal: sec.migrate_signup() calls it.';
CREATE FUNCTION sec.health_of_members() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT 'signup'::text, sec.signup_is_whole(),
                        CASE WHEN sec.signup_is_whole() THEN 'whole, or off'
                             ELSE 'no trigger for anonymous users who get an identity: SELECT app.enable_supabase_signup()' END;
END
$$;
COMMENT ON FUNCTION sec.health_of_members() IS 'What app.health() says of members. Internal: sec.health_rows().';
CREATE FUNCTION sec.sequences_of_members() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.member_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.member_no_seq q),
           -- As of cards: by the text, right up to 99,999,999.
           (SELECT substr(max(m.member_no), 2)::bigint FROM app.member_profiles m)
$$;
COMMENT ON FUNCTION sec.sequences_of_members() IS
    'The sequences of members: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
CREATE FUNCTION sec.logged_of_members() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('member.registered', ARRAY['member_id', 'card_no', 'card_id', 'level']), ('member.status_set', ARRAY['status'])
$$;
COMMENT ON FUNCTION sec.logged_of_members() IS 'The events of members. Internal: sec.logged_actions().';
CREATE FUNCTION sec.rebuilds_of_members() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (30, 'rebuild_members')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_members() IS 'The step of members. Internal: sec.rebuild_steps().';
CREATE FUNCTION sec.rebuild_members() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.member_profiles (id, created_at, member_no, status, name)
    SELECT (e.context ->> 'member_id')::uuid, e.happened_at, e.object_id, coalesce(s.status, 'active'), e.object_id
    FROM audit.event_log e
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context ->> 'status' AS status
               FROM audit.event_log x WHERE x.action = 'member.status_set' ORDER BY x.object_id, x.id DESC) s ON s.object_id = e.object_id
    WHERE e.action = 'member.registered';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'members';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_members() IS
    'Every member, under its number in place of a name, which is not in the log. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.jobs_of_cards() RETURNS TABLE (job text, schedule text, command text, every interval)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('expire_cards', '5 * * * *', 'CALL app.expire_cards()', interval '1 hour'),
           ('expire_qrcodes', '15 * * * *', 'CALL app.expire_qrcodes()', interval '1 hour')
$$;
COMMENT ON FUNCTION sec.jobs_of_cards() IS 'The jobs of cards. Internal: sec.jobs().';
CREATE FUNCTION sec.columns_of_cards() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.personal_cards',
            'id, member_id, replaced_by, created_at, expires_at, status, level, points, card_seq, last_posted_at, qr_expires_at, '
            'balance, discount, card_no'),
           ('client', 'app.enterprise_cards',
            'id, created_at, expires_at, status, card_seq, last_posted_at, balance, fixed_discount, card_no, company_name'),
           ('client', 'app.enterprise_card_bindings', 'enterprise_card_id, member_id, created_at, qr_expires_at, role'),
           ('client', 'app.v_user_cards', NULL)
$$;
COMMENT ON FUNCTION sec.columns_of_cards() IS 'What may be read of cards. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.policies_of_cards() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.personal_cards', 'own_card', 'member_id = (SELECT sec.uid())', 'member_id=SELECTsec.uidASuid'),
           ('app.enterprise_cards', 'bound_card',
            'id IN (SELECT b.enterprise_card_id FROM app.enterprise_card_bindings b WHERE b.member_id = (SELECT sec.uid()))',
            'idINSELECTb.enterprise_card_idFROMapp.enterprise_card_bindingsbWHEREb.member_id=SELECTsec.uidASuid'),
           ('app.enterprise_card_bindings', 'own_binding_or_administered_card',
            'member_id = (SELECT sec.uid()) OR enterprise_card_id IN (SELECT sec.admin_card_ids())',
            'member_id=SELECTsec.uidASuidORenterprise_card_idINSELECTsec.admin_card_idsASadmin_card_ids')
$$;
COMMENT ON FUNCTION sec.policies_of_cards() IS 'The policies of cards. Internal: sec.policies().';
CREATE FUNCTION sec.descriptions_of_cards() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.v_user_cards', 'card_type', 'personal, enterprise.'),
           ('app.v_user_cards', 'card_id', 'For rotate_card_qr, card_statement and the recharges.'),
           ('app.v_user_cards', 'card_no', 'VIP and eight digits, or ENT and at least five.'),
           ('app.v_user_cards', 'balance', 'Currency units.'),
           ('app.v_user_cards', 'points', 'Of a personal card; NULL for an enterprise card.'),
           ('app.v_user_cards', 'level', '0 to 4, by the points; NULL for an enterprise card.'),
           ('app.v_user_cards', 'level_name', 'What the level is called; NULL for an enterprise card.'),
           ('app.v_user_cards', 'discount', 'What a price is multiplied by: 0.950 is five percent off.'),
           ('app.v_user_cards', 'status', 'active, frozen, lost, expired, closed; only an active one pays.'),
           ('app.v_user_cards', 'expires_at', 'Until when it is good; NULL: for ever.'),
           ('app.v_user_cards', 'qr_expires_at', 'Until when the last pay code lives; NULL where there is none.'),
           ('app.v_user_cards', 'role', 'owner (of a personal card); admin, member (of an enterprise card).'),
           ('app.v_user_cards', 'company_name', 'Of an enterprise card; NULL for a personal card.'),
           ('app.v_user_cards', 'member_id', 'The signed-in user.'),
           ('app.personal_cards', 'id', 'For rotate_card_qr, card_statement and the recharges.'),
           ('app.personal_cards', 'member_id', 'Whose it is.'),
           ('app.personal_cards', 'created_at', 'When it was issued.'),
           ('app.personal_cards', 'expires_at', 'Until when it is good; NULL: for ever.'),
           ('app.personal_cards', 'status', 'active, frozen, lost, expired, closed; only an active one pays.'),
           ('app.personal_cards', 'level', '0 to 4, by the points; see app.membership_levels.'),
           ('app.personal_cards', 'points', 'May be below zero after a refund.'),
           ('app.personal_cards', 'last_posted_at', 'When its balance last moved.'),
           ('app.personal_cards', 'qr_expires_at', 'Until when the last pay code lives; NULL where there is none.'),
           ('app.personal_cards', 'discount', 'What a price is multiplied by: 0.950 is five percent off.'),
           ('app.personal_cards', 'card_no', 'VIP and eight digits.'),
           ('app.enterprise_cards', 'id', 'For rotate_card_qr, card_statement and the recharges.'),
           ('app.enterprise_cards', 'created_at', 'When it was issued.'),
           ('app.enterprise_cards', 'expires_at', 'Until when it is good; NULL: for ever.'),
           ('app.enterprise_cards', 'status', 'active, frozen, lost, expired, closed; only an active one pays.'),
           ('app.enterprise_cards', 'card_seq', 'Number of movements of the balance; the last one''s card_seq.'),
           ('app.enterprise_cards', 'last_posted_at', 'When its balance last moved.'),
           ('app.enterprise_cards', 'balance', 'Currency units; equals balance_after of the last movement.'),
           ('app.enterprise_cards', 'fixed_discount', 'What a price is multiplied by: 0.880 is twelve percent off.'),
           ('app.enterprise_cards', 'card_no', 'ENT and at least five digits.'),
           ('app.enterprise_cards', 'company_name', 'Whose it is.'),
           ('app.enterprise_card_bindings', 'enterprise_card_id', 'The card.'),
           ('app.enterprise_card_bindings', 'member_id', 'Who is bound to it.'),
           ('app.enterprise_card_bindings', 'created_at', 'Since when.'),
           ('app.enterprise_card_bindings', 'qr_expires_at', 'Until when this member''s last pay code lives; NULL where there is none.'),
           ('app.enterprise_card_bindings', 'role', 'admin, member.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_cards() IS 'What columns of cards are. Internal: sec.describe_columns().';
CREATE FUNCTION sec.settings_of_cards()
    RETURNS TABLE (place integer, setting text, kind text, fallback text, lowest text, highest text, choices text[], en text, zh text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (1, 'qr_ttl_seconds', 'whole', '900', '10', '86400', NULL::text[], 'How long a pay code lives.', '付款码有效秒数。'),
           (2, 'qr_single_use', 'switch', 'true', NULL, NULL, NULL, 'Whether a successful charge uses its pay code up.',
            '收款成功后付款码是否作废。')
$$;
COMMENT ON FUNCTION sec.settings_of_cards() IS 'The settings of cards. Internal: sec.settings().';
CREATE FUNCTION sec.install_cards() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regtype('app.card_type') IS NULL THEN
        CREATE TYPE app.card_type AS ENUM ('personal', 'enterprise');
        COMMENT ON TYPE app.card_type IS 'The two kinds of cards';
    END IF;
    IF to_regtype('app.card_status') IS NULL THEN
        CREATE TYPE app.card_status AS ENUM ('active', 'frozen', 'lost', 'expired', 'closed');
        COMMENT ON TYPE app.card_status IS 'What may be done with a card: only an active one pays; closed is final';
    END IF;
    IF to_regtype('app.bind_role') IS NULL THEN
        CREATE TYPE app.bind_role AS ENUM ('admin', 'member');
        COMMENT ON TYPE app.bind_role IS 'Who manages an enterprise card (admin) and who only pays with it (member)';
    END IF;
    IF to_regclass('app.personal_card_no_seq') IS NULL THEN
        CREATE SEQUENCE app.personal_card_no_seq AS bigint;
        COMMENT ON SEQUENCE app.personal_card_no_seq IS 'Numbers of personal cards (VIP00000001); may skip, never repeats';
    END IF;
    IF to_regclass('app.enterprise_card_no_seq') IS NULL THEN
        CREATE SEQUENCE app.enterprise_card_no_seq AS bigint;
        COMMENT ON SEQUENCE app.enterprise_card_no_seq IS 'Numbers of enterprise cards (ENT00001); may skip, never repeats';
    END IF;
    IF to_regclass('app.personal_cards') IS NULL THEN
        CREATE TABLE app.personal_cards (
            id             uuid            NOT NULL PRIMARY KEY,
            member_id      uuid            NOT NULL REFERENCES app.member_profiles,
            replaced_by    uuid            REFERENCES app.personal_cards,
            created_at     timestamptz     NOT NULL,
            expires_at     timestamptz,
            status         app.card_status NOT NULL DEFAULT 'active',
            level          smallint        NOT NULL DEFAULT 0,
            points         bigint          NOT NULL DEFAULT 0,
            point_seq      bigint          NOT NULL DEFAULT 0,
            card_seq       bigint          NOT NULL DEFAULT 0,
            last_tx_id     bigint,
            skip_tx_id     bigint,
            last_posted_at timestamptz,
            qr_expires_at  timestamptz,
            balance        numeric(14,2)   NOT NULL DEFAULT 0 CHECK (balance >= 0),
            discount       numeric(4,3)    NOT NULL DEFAULT 1,
            card_no        text            NOT NULL UNIQUE,
            qr_hash        bytea
        ) WITH (fillfactor = 75);
        -- Room on every page, and no index on anything that a charge changes: its update stays on the page (HOT).
        CREATE INDEX personal_cards_member_id_idx ON app.personal_cards (member_id);
        CREATE INDEX personal_cards_replaced_by_idx ON app.personal_cards (replaced_by) WHERE replaced_by IS NOT NULL;
        CREATE UNIQUE INDEX personal_cards_one_open_idx ON app.personal_cards (member_id) WHERE status <> 'closed';
        CREATE INDEX personal_cards_expires_at_idx ON app.personal_cards (expires_at) WHERE status = 'active';
        COMMENT ON TABLE app.personal_cards IS
            'One open card per member: balance, points, level, discount, status and the hash of its live pay code';
        COMMENT ON COLUMN app.personal_cards.replaced_by IS 'The card that took over from this one (app.replace_card).';
        COMMENT ON COLUMN app.personal_cards.card_seq IS 'Number of movements of the balance; the last one''s card_seq.';
        COMMENT ON COLUMN app.personal_cards.last_tx_id IS 'The last movement: head of the chain that transactions.prev_tx_id continues.';
        COMMENT ON COLUMN app.personal_cards.skip_tx_id IS
            'The last movement whose card_seq is a multiple of 64: head of the chain that transactions.skip_tx_id continues.';
        COMMENT ON COLUMN app.personal_cards.point_seq IS 'Number of changes of points; the last one''s point_seq.';
        COMMENT ON COLUMN app.personal_cards.balance IS 'Currency units; equals balance_after of the last movement.';
        COMMENT ON COLUMN app.personal_cards.qr_hash IS 'SHA-256 of the live pay code; nobody but the owner of the table may read it.';
    END IF;
    IF to_regclass('app.enterprise_cards') IS NULL THEN
        CREATE TABLE app.enterprise_cards (
            id             uuid            NOT NULL PRIMARY KEY,
            created_at     timestamptz     NOT NULL,
            expires_at     timestamptz,
            status         app.card_status NOT NULL DEFAULT 'active',
            card_seq       bigint          NOT NULL DEFAULT 0,
            last_tx_id     bigint,
            skip_tx_id     bigint,
            last_posted_at timestamptz,
            balance        numeric(14,2)   NOT NULL DEFAULT 0 CHECK (balance >= 0),
            fixed_discount numeric(4,3)    NOT NULL CHECK (fixed_discount > 0 AND fixed_discount <= 1),
            card_no        text            NOT NULL UNIQUE,
            company_name   text            NOT NULL
        ) WITH (fillfactor = 50);
        CREATE INDEX enterprise_cards_expires_at_idx ON app.enterprise_cards (expires_at) WHERE status = 'active';
        COMMENT ON TABLE app.enterprise_cards IS
            'Company cards: one balance, a fixed discount, no points, many users (enterprise_card_bindings)';
    END IF;
    IF to_regclass('app.enterprise_card_bindings') IS NULL THEN
        CREATE TABLE app.enterprise_card_bindings (
            enterprise_card_id uuid          NOT NULL REFERENCES app.enterprise_cards,
            member_id          uuid          NOT NULL REFERENCES app.member_profiles,
            created_at         timestamptz   NOT NULL,
            qr_expires_at      timestamptz,
            role               app.bind_role NOT NULL DEFAULT 'member',
            qr_hash            bytea,
            PRIMARY KEY (enterprise_card_id, member_id)
        ) WITH (fillfactor = 75);
        CREATE INDEX enterprise_card_bindings_member_id_idx ON app.enterprise_card_bindings (member_id);
        COMMENT ON TABLE app.enterprise_card_bindings IS
            'Who may use (member) or manage (admin) an enterprise card, with each one''s own live pay code';
        COMMENT ON COLUMN app.enterprise_card_bindings.qr_hash IS
            'SHA-256 of this member''s live pay code; nobody but the owner of the table may read it.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_cards() IS
    'Makes the types, the sequences and the tables of cards, where they are missing. Internal: sec.install() calls it.';
CREATE OR REPLACE FUNCTION app.rotate_card_qr(p_card_id uuid, p_card_type text DEFAULT 'personal', p_member_id uuid DEFAULT NULL)
    RETURNS TABLE (qr_plain text, qr_expires_at timestamptz)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'rotate_card_qr_wrapper';
COMMENT ON FUNCTION app.rotate_card_qr IS
    E'Makes a new pay code for a card and forgets the one before.\n'
    'The plain code is returned this once and never stored. p_card_type: personal, enterprise. A member gets its own code; a '
    'backend names the member (p_member_id) of an enterprise card.\n'
    'Level: client.\n'
    'Results: qr_plain (the pay code, to be shown as a QR), qr_expires_at (until when it pays).\n'
    'Errors: CARD_NOT_FOUND, NOT_CARD_USER, CARD_NOT_ACTIVE, CARD_EXPIRED, MEMBER_NOT_ACTIVE, NOT_AUTHENTICATED, NOT_ALLOWED, '
    'INVALID_ARGUMENT.';
CREATE OR REPLACE FUNCTION app.create_enterprise_card(p_company_name text, p_fixed_discount numeric DEFAULT 1.000, p_admin_member_id uuid DEFAULT NULL)
    RETURNS TABLE (card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_enterprise_card_wrapper';
COMMENT ON FUNCTION app.create_enterprise_card IS
    E'Issues an enterprise card, with its first admin if one is named.\n'
    'By a backend. p_fixed_discount is above 0 and at most 1, three decimals at most: 0.880 is twelve percent off.\n'
    'Level: backend.\n'
    'Results: card_id, card_no (ENT and at least five digits).\n'
    'Errors: INVALID_ARGUMENT, MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE.';
CREATE OR REPLACE FUNCTION app.enterprise_add_member(p_card_no text, p_member_id uuid, p_role text DEFAULT 'member')
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'enterprise_add_member_wrapper';
COMMENT ON FUNCTION app.enterprise_add_member IS
    E'Binds a member to an enterprise card, or sets the role of one bound already.\n'
    'By an admin of the card or a backend. p_role: admin, member.\n'
    'Level: client.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: CARD_NOT_FOUND, NOT_CARD_ADMIN, CARD_NOT_ACTIVE (closed card), MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE, LAST_ADMIN, '
    'INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE OR REPLACE FUNCTION app.enterprise_remove_member(p_card_no text, p_member_id uuid)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'enterprise_remove_member_wrapper';
COMMENT ON FUNCTION app.enterprise_remove_member IS
    E'Unbinds a member from an enterprise card.\n'
    'By an admin of the card, the member itself or a backend. Its pay code goes too.\n'
    'Level: client.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: CARD_NOT_FOUND, NOT_CARD_ADMIN, LAST_ADMIN, INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE OR REPLACE FUNCTION app.set_card_status(p_card_id uuid, p_card_type text, p_status text, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_card_status_wrapper';
COMMENT ON FUNCTION app.set_card_status IS
    E'Moves a card between its states.\n'
    'By a backend; the owner of a personal card may report it lost. p_card_type: personal, enterprise. p_status: active, frozen, '
    'lost, closed (final; balance 0 and nothing pending).\n'
    'Level: client.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: CARD_NOT_FOUND, STATUS_CONFLICT, CARD_NOT_EMPTY, NOT_ALLOWED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE FUNCTION app.set_card_expiry(p_card_id uuid, p_card_type text, p_expires_at timestamptz, p_reason text,
    p_expires_on date DEFAULT NULL)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_card_expiry_v3_wrapper';
COMMENT ON FUNCTION app.set_card_expiry(uuid,text,timestamp with time zone,text,date) IS
    E'Sets when a card expires: at a moment, at the end of a day, or never.\n'
    'By a backend. p_card_type: personal, enterprise. p_expires_at: the moment; p_expires_on: the business day (2000 to 9999) to '
    'whose end it is good (app.business_day_start() of the next one); both null: never. A later expiry makes an expired card active '
    'again; one in the past expires an active card at once.\n'
    'Level: backend.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: CARD_NOT_FOUND, STATUS_CONFLICT (closed), INVALID_ARGUMENT (both given, too).';
CREATE OR REPLACE FUNCTION app.replace_card(p_card_id uuid, p_reason text)
    RETURNS TABLE (card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'replace_card_wrapper';
COMMENT ON FUNCTION app.replace_card IS
    E'Replaces a lost personal card by a new one.\n'
    'By a backend. The new one takes over balance, points and level by a linked pair of adjustments, the old one is closed. '
    'Again: the same new card.\n'
    'Level: backend.\n'
    'Results: card_id, card_no (of the new card).\n'
    'Errors: CARD_NOT_FOUND, STATUS_CONFLICT (not lost), INVALID_ARGUMENT.';
CREATE OR REPLACE FUNCTION app.adjust_points(p_card_id uuid, p_change bigint, p_reason text, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (points bigint, level integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'adjust_points_wrapper';
COMMENT ON FUNCTION app.adjust_points IS
    E'Adds to (or takes from) the points of a personal card by hand.\n'
    'By a backend. The level follows.\n'
    'Level: backend.\n'
    'Results: points, level (0 to 4), both after the change.\n'
    'Errors: INVALID_ARGUMENT, CARD_NOT_FOUND, CARD_NOT_ACTIVE (closed card), IDEMPOTENCY_KEY_REUSED, ARCHIVED.';
CREATE OR REPLACE FUNCTION sec.admin_card_ids() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.require_sound_tables();
    SELECT b.enterprise_card_id FROM app.enterprise_card_bindings b
    WHERE b.member_id = (SELECT sec.uid()) AND b.role = 'admin'::app.bind_role
$$;
COMMENT ON FUNCTION sec.admin_card_ids() IS
    E'The enterprise cards that the signed-in user administers.\n'
    'Level: client.';
CREATE FUNCTION sec.make_user_cards() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE VIEW app.v_user_cards WITH (security_invoker = true) AS
        SELECT 'personal'::text AS card_type, c.id AS card_id, c.card_no, c.balance, c.points, c.level::integer AS level,
               l.name AS level_name, c.discount, c.status::text AS status, c.expires_at, c.qr_expires_at,
               'owner'::text AS role, NULL::text AS company_name, c.member_id
        FROM app.personal_cards c LEFT JOIN app.membership_levels l ON l.level = c.level
        WHERE c.member_id = (SELECT sec.uid())
        UNION ALL
        SELECT 'enterprise', e.id, e.card_no, e.balance, NULL, NULL, NULL, e.fixed_discount, e.status::text, e.expires_at,
               b.qr_expires_at, b.role::text, e.company_name, b.member_id
        FROM app.enterprise_card_bindings b JOIN app.enterprise_cards e ON e.id = b.enterprise_card_id
        WHERE b.member_id = (SELECT sec.uid());
    COMMENT ON VIEW app.v_user_cards IS 'The cards of the signed-in user: the personal one and the enterprise cards it is bound to';
END
$$;
COMMENT ON FUNCTION sec.make_user_cards() IS 'Makes app.v_user_cards. Internal.';
CREATE OR REPLACE FUNCTION app.expire_cards_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_cards_batch_wrapper';
COMMENT ON FUNCTION app.expire_cards_batch(text) IS
    E'One batch of app.expire_cards(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.\n'
    'Level: operator.';
CREATE OR REPLACE PROCEDURE app.expire_cards()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_after := app.expire_cards_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.expire_cards_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.expire_cards() IS
    E'Marks active cards whose expires_at has passed as expired.\n'
    'Level: operator.';
CREATE OR REPLACE FUNCTION app.expire_qrcodes_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_qrcodes_batch_wrapper';
COMMENT ON FUNCTION app.expire_qrcodes_batch(text) IS
    E'One batch of app.expire_qrcodes(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.\n'
    'Level: operator.';
CREATE OR REPLACE PROCEDURE app.expire_qrcodes()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_after := app.expire_qrcodes_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.expire_qrcodes_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.expire_qrcodes() IS
    E'Forgets the hashes of pay codes that have expired; they are refused from their expiry on in any case.\n'
    'Level: operator.';
CREATE OR REPLACE FUNCTION app.recompute_levels_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'recompute_levels_batch_wrapper';
COMMENT ON FUNCTION app.recompute_levels_batch(text) IS
    E'One batch of app.recompute_levels(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.\n'
    'Level: operator.';
CREATE OR REPLACE PROCEDURE app.recompute_levels()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_after := app.recompute_levels_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.recompute_levels_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.recompute_levels() IS
    E'Applies app.membership_levels to every personal card.\n'
    'Level: operator.';
CREATE FUNCTION sec.health_of_cards() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    SELECT count(*) AS cards, (array_agg(format('%s (%s)', c.card_no, c.balance) ORDER BY c.card_no))[1:10] AS numbers INTO v
    FROM (SELECT p.card_no, p.balance FROM app.personal_cards p WHERE p.status = 'closed' AND p.balance <> 0
          UNION ALL SELECT e.card_no, e.balance FROM app.enterprise_cards e WHERE e.status = 'closed' AND e.balance <> 0) c;
    RETURN QUERY SELECT 'closed_cards_with_balance'::text, v.cards = 0,
                        CASE WHEN v.cards = 0 THEN 'none'
                             ELSE format('%s, credited after they were closed: %s', v.cards, array_to_string(v.numbers, ', ')) END;
END
$$;
COMMENT ON FUNCTION sec.health_of_cards() IS 'What app.health() says of cards. Internal: sec.health_rows().';
CREATE FUNCTION sec.sequences_of_cards() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.personal_card_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.personal_card_no_seq q),
           -- Of a padded number the greatest is found by its text: one probe of its index, right up to 99,999,999.
           (SELECT substr(max(c.card_no), 4)::bigint FROM app.personal_cards c)
    UNION ALL
    SELECT 'app.enterprise_card_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.enterprise_card_no_seq q),
           (SELECT max(substr(c.card_no, 4)::bigint) FROM app.enterprise_cards c)
$$;
COMMENT ON FUNCTION sec.sequences_of_cards() IS
    'The sequences of cards: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
CREATE FUNCTION sec.logged_of_cards() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('card.issued', ARRAY['card_id']), ('card.member_bound', ARRAY['member_id', 'role']),
           ('card.member_unbound', ARRAY['member_id']), ('card.code_rotated', '{}'), ('card.expired', '{}'),
           ('card.status_set', ARRAY['status']), ('card.expiry_set', ARRAY['status', 'expires_at']),
           ('card.replaced', ARRAY['by', 'card_id', 'member_id', 'expires_at', 'points', 'out', 'into', 'level', 'old_level']),
           ('points.adjusted', ARRAY['change', 'points', 'point_seq']), ('levels.recomputed', ARRAY['levels'])
$$;
COMMENT ON FUNCTION sec.logged_of_cards() IS 'The events of cards. Internal: sec.logged_actions().';
CREATE FUNCTION sec.rebuilds_of_cards() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (50, 'rebuild_cards'), (60, 'rebuild_bindings')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_cards() IS 'The steps of cards. Internal: sec.rebuild_steps().';
CREATE FUNCTION sec.logged_card_states()
    RETURNS TABLE (card_no text, status text, expiry_set boolean, expires_at timestamptz, replaced_by uuid)
    LANGUAGE sql STABLE AS $rule$
    SELECT e.object_id,
           (array_agg(CASE e.action WHEN 'card.expired' THEN 'expired' WHEN 'card.replaced' THEN 'closed' ELSE e.context ->> 'status' END
                      ORDER BY e.id DESC))[1],
           bool_or(e.action = 'card.expiry_set'),
           (array_agg((e.context ->> 'expires_at')::timestamptz ORDER BY e.id DESC) FILTER (WHERE e.action = 'card.expiry_set'))[1],
           (array_agg((e.context ->> 'card_id')::uuid) FILTER (WHERE e.action = 'card.replaced'))[1]
    FROM audit.event_log e WHERE e.action IN ('card.status_set', 'card.expired', 'card.expiry_set', 'card.replaced')
    GROUP BY e.object_id
$rule$;
COMMENT ON FUNCTION sec.logged_card_states() IS
    'What the log says last of each card that it says anything of: status, expiry, replacement. Internal: sec.rebuild_cards().';
CREATE FUNCTION sec.logged_personal_cards()
    RETURNS TABLE (card_no text, id uuid, member_id uuid, created_at timestamptz, expires_at timestamptz)
    LANGUAGE sql STABLE AS $rule$
    SELECT CASE e.action WHEN 'member.registered' THEN e.context ->> 'card_no' WHEN 'card.replaced' THEN e.context ->> 'by'
                         ELSE e.object_id END,
           (e.context ->> 'card_id')::uuid, (e.context ->> 'member_id')::uuid, e.happened_at,
           CASE e.action WHEN 'card.replaced' THEN (e.context ->> 'expires_at')::timestamptz END
    FROM audit.event_log e
    WHERE e.action IN ('member.registered', 'card.replaced') OR (e.action = 'card.issued' AND e.context ? 'member_id')
$rule$;
COMMENT ON FUNCTION sec.logged_personal_cards() IS 'Every personal card, as it was issued. Internal: sec.rebuild_cards().';
CREATE FUNCTION sec.rebuild_cards() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.personal_cards (id, member_id, replaced_by, created_at, expires_at, status, card_no)
    SELECT c.id, c.member_id, s.replaced_by, c.created_at, CASE WHEN s.expiry_set THEN s.expires_at ELSE c.expires_at END,
           coalesce(s.status, 'active')::app.card_status, c.card_no
    FROM sec.logged_personal_cards() c LEFT JOIN sec.logged_card_states() s ON s.card_no = c.card_no;
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'personal cards';
    RETURN NEXT;

    INSERT INTO app.enterprise_cards (id, created_at, expires_at, status, fixed_discount, card_no, company_name)
    SELECT (e.context ->> 'card_id')::uuid, e.happened_at, s.expires_at, coalesce(s.status, 'active')::app.card_status,
           (e.context ->> 'discount_thousandths')::numeric / 1000, e.object_id, e.context ->> 'company'
    FROM audit.event_log e LEFT JOIN sec.logged_card_states() s ON s.card_no = e.object_id
    WHERE e.action = 'card.issued' AND e.context ? 'company';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'enterprise cards';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_cards() IS
    'Every card with its number, status and expiry; without a pay code. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.rebuild_bindings() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.enterprise_card_bindings (enterprise_card_id, member_id, created_at, role)
    SELECT c.id, b.member_id, (array_agg(b.happened_at ORDER BY b.id))[1], (array_agg(b.role ORDER BY b.id DESC))[1]::app.bind_role
    FROM (SELECT x.*, coalesce(max(x.id) FILTER (WHERE x.role IS NULL) OVER (PARTITION BY x.card_no, x.member_id), 0) AS unbound
          FROM (SELECT e.id, e.object_id AS card_no, e.happened_at,
                       coalesce(e.context ->> 'admin', e.context ->> 'member_id')::uuid AS member_id,
                       CASE WHEN e.action = 'card.issued' THEN 'admin' ELSE e.context ->> 'role' END AS role
                FROM audit.event_log e
                WHERE e.action IN ('card.member_bound', 'card.member_unbound')
                   OR (e.action = 'card.issued' AND e.context ->> 'admin' IS NOT NULL)) x) b
    JOIN app.enterprise_cards c ON c.card_no = b.card_no
    WHERE b.id > b.unbound GROUP BY c.id, b.member_id;
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'bindings';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_bindings() IS 'Who is bound to an enterprise card now. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.columns_of_merchants() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.merchants', 'id, active, created_at, code, name'),
           ('client', 'app.merchant_users', 'merchant_id, user_id, created_at, role')
$$;
COMMENT ON FUNCTION sec.columns_of_merchants() IS 'What may be read of merchants. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.policies_of_merchants() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.merchants', 'operated_merchant', 'id IN (SELECT sec.merchant_ids())', 'idINSELECTsec.merchant_idsASmerchant_ids'),
           ('app.merchant_users', 'operators_of_operated_merchant', 'merchant_id IN (SELECT sec.merchant_ids())',
            'merchant_idINSELECTsec.merchant_idsASmerchant_ids')
$$;
COMMENT ON FUNCTION sec.policies_of_merchants() IS 'The policies of merchants. Internal: sec.policies().';
CREATE FUNCTION sec.descriptions_of_merchants() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.merchants', 'id', 'merchant_id elsewhere.'),
           ('app.merchants', 'active', 'Whether it takes payments.'),
           ('app.merchants', 'created_at', 'When it was created.'),
           ('app.merchants', 'code', 'By which the RPCs name it.'),
           ('app.merchants', 'name', 'What it is called.'),
           ('app.merchant_users', 'merchant_id', 'The merchant.'),
           ('app.merchant_users', 'user_id', 'The user''s id at the identity provider.'),
           ('app.merchant_users', 'created_at', 'Since when.'),
           ('app.merchant_users', 'role', 'owner, admin, cashier.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_merchants() IS 'What columns of merchants are. Internal: sec.describe_columns().';
CREATE FUNCTION sec.install_merchants() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.merchant_id_seq') IS NULL THEN
        CREATE SEQUENCE app.merchant_id_seq AS integer;
        COMMENT ON SEQUENCE app.merchant_id_seq IS 'Ids of merchants';
    END IF;
    IF to_regclass('app.merchants') IS NULL THEN
        CREATE TABLE app.merchants (
            id         integer     NOT NULL DEFAULT nextval('app.merchant_id_seq') PRIMARY KEY,
            active     boolean     NOT NULL DEFAULT true,
            created_at timestamptz NOT NULL,
            code       text        NOT NULL UNIQUE,
            name       text        NOT NULL
        );
        COMMENT ON TABLE app.merchants IS 'Merchants by code; an inactive one takes no payments';
    END IF;
    IF to_regclass('app.merchant_users') IS NULL THEN
        CREATE TABLE app.merchant_users (
            merchant_id integer     NOT NULL REFERENCES app.merchants,
            user_id     uuid        NOT NULL,
            created_at  timestamptz NOT NULL,
            role        text        NOT NULL CHECK (role IN ('owner', 'admin', 'cashier')),
            PRIMARY KEY (merchant_id, user_id)
        );
        CREATE INDEX merchant_users_user_id_idx ON app.merchant_users (user_id);
        COMMENT ON TABLE app.merchant_users IS 'Operators of merchants; user_id is the id at the identity provider, a member or not';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_merchants() IS
    'Makes the tables of merchants and the sequence of their ids, where they are missing. Internal: sec.install() calls it.';
CREATE OR REPLACE FUNCTION app.create_merchant(p_code text, p_name text)
    RETURNS TABLE (merchant_id integer, code text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_merchant_wrapper';
COMMENT ON FUNCTION app.create_merchant IS
    E'Creates a merchant.\n'
    'By a backend. The same code and name again returns the same merchant.\n'
    'Level: backend.\n'
    'Results: merchant_id, code (the merchant''s code, by which the other calls name it).\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT (code taken under another name).';
CREATE OR REPLACE FUNCTION app.set_merchant_status(p_merchant_code text, p_active boolean, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_merchant_status_wrapper';
COMMENT ON FUNCTION app.set_merchant_status IS
    E'Activates or deactivates a merchant.\n'
    'By a backend. An inactive one takes no payments; its payments are refunded by a backend only.\n'
    'Level: backend.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: MERCHANT_NOT_FOUND, INVALID_ARGUMENT.';
CREATE OR REPLACE FUNCTION app.set_merchant_user(p_merchant_code text, p_user_id uuid, p_role text DEFAULT 'cashier')
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_merchant_user_wrapper';
COMMENT ON FUNCTION app.set_merchant_user IS
    E'Makes a user an operator of a merchant, or changes its role.\n'
    'By a backend, an owner, or an admin (who can neither make nor change an owner). p_role: owner, admin, cashier. p_user_id is '
    'the id at the identity provider, a member or not.\n'
    'Level: client.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, NOT_ALLOWED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE OR REPLACE FUNCTION app.remove_merchant_user(p_merchant_code text, p_user_id uuid)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'remove_merchant_user_wrapper';
COMMENT ON FUNCTION app.remove_merchant_user IS
    E'Removes an operator of a merchant.\n'
    'By a backend, an owner, or an admin (who cannot remove an owner).\n'
    'Level: client.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: MERCHANT_NOT_FOUND, NOT_MERCHANT_USER (the caller is no operator), NOT_ALLOWED (a cashier; or an admin who would '
    'remove an owner), INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE OR REPLACE FUNCTION sec.merchant_ids() RETURNS SETOF integer
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.require_sound_tables();
    SELECT u.merchant_id FROM app.merchant_users u WHERE u.user_id = (SELECT sec.uid())
$$;
COMMENT ON FUNCTION sec.merchant_ids() IS
    E'The merchants that the signed-in user operates, in whatever role.\n'
    'Level: client.';
CREATE FUNCTION sec.sequences_of_merchants() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.merchant_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.merchant_id_seq q),
           (SELECT max(m.id) FROM app.merchants m)
$$;
COMMENT ON FUNCTION sec.sequences_of_merchants() IS
    'The sequences of merchants: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
CREATE FUNCTION sec.logged_of_merchants() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('merchant.created', ARRAY['merchant_id', 'name']), ('merchant.status_set', ARRAY['active']),
           ('merchant.user_set', ARRAY['user_id', 'role']), ('merchant.user_removed', ARRAY['user_id'])
$$;
COMMENT ON FUNCTION sec.logged_of_merchants() IS 'The events of merchants. Internal: sec.logged_actions().';
CREATE FUNCTION sec.rebuilds_of_merchants() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (40, 'rebuild_merchants')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_merchants() IS 'The step of merchants. Internal: sec.rebuild_steps().';
CREATE FUNCTION sec.rebuild_merchants() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.merchants (id, active, created_at, code, name)
    SELECT (e.context ->> 'merchant_id')::integer, coalesce(s.active, true), e.happened_at, e.object_id, e.context ->> 'name'
    FROM audit.event_log e
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, (x.context ->> 'active')::boolean AS active
               FROM audit.event_log x WHERE x.action = 'merchant.status_set' ORDER BY x.object_id, x.id DESC) s ON s.object_id = e.object_id
    WHERE e.action = 'merchant.created';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'merchants';
    RETURN NEXT;

    INSERT INTO app.merchant_users (merchant_id, user_id, created_at, role)
    SELECT m.id, u.user_id, (array_agg(u.happened_at ORDER BY u.id))[1], (array_agg(u.role ORDER BY u.id DESC))[1]
    FROM (SELECT e.id, e.object_id AS code, (e.context ->> 'user_id')::uuid AS user_id, e.happened_at, e.context ->> 'role' AS role,
                 coalesce(max(e.id) FILTER (WHERE e.action = 'merchant.user_removed')
                          OVER (PARTITION BY e.object_id, e.context ->> 'user_id'), 0) AS removed
          FROM audit.event_log e WHERE e.action IN ('merchant.user_set', 'merchant.user_removed')) u
    JOIN app.merchants m ON m.code = u.code
    WHERE u.id > u.removed GROUP BY m.id, u.user_id;
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'operators of merchants';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_merchants() IS 'Every merchant, and who operates it now. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.install_compensations() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.transaction_compensations') IS NULL THEN
        CREATE TABLE app.transaction_compensations (
            compensation_tx_no text          NOT NULL PRIMARY KEY,
            tx_no              text          NOT NULL,
            created_at         timestamptz   NOT NULL,
            actor_user_id      uuid,
            actor_role         text          NOT NULL,
            amount             numeric(14,2) NOT NULL CHECK (amount <> 0),
            reason             text          NOT NULL
        );
        CREATE INDEX transaction_compensations_tx_no_idx ON app.transaction_compensations (tx_no);
        COMMENT ON TABLE app.transaction_compensations IS 'Manual corrections: what each corrects, its movement, who did it and why';
        COMMENT ON COLUMN app.transaction_compensations.amount IS 'Signed: what was added to the card.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_compensations() IS 'Makes the table of corrections, where it is missing. Internal: sec.install() calls it.';
CREATE FUNCTION app.merchant_charge_by_qr(p_merchant_code text, p_qr_plain text, p_amount numeric, p_reason text DEFAULT NULL,
    p_tag jsonb DEFAULT '{}', p_idempotency_key text DEFAULT NULL, p_external_order_id text DEFAULT NULL,
    p_coupon_code text DEFAULT NULL, p_excluded_amount numeric DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_type text, card_id uuid, raw_amount numeric, discount numeric,
                   final_amount numeric, points_earned bigint, status text, created_at timestamptz, replayed boolean,
                   coupon_discount numeric, points_bonus bigint)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'merchant_charge_by_qr_v3_wrapper';
COMMENT ON FUNCTION app.merchant_charge_by_qr(text,text,numeric,text,jsonb,text,text,text,numeric) IS
    E'Takes a payment from the card that a pay code names.\n'
    'By an operator of the merchant (owner, admin, cashier) or a backend. p_amount is before discount, in currency units with at '
    'most two decimals; p_excluded_amount (0 to p_amount) of it takes no part: no discount, no coupon, no points. final_amount = what '
    'takes part x discount, rounded half away from zero, less the coupon (p_coupon_code, one of the member''s, used up by it), and the '
    'rest in full. The same key (or order id) with the same request '
    'answers the first result with replayed = true.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (the payment; ZF, year, month, running number), card_type (personal, enterprise), card_id, raw_amount '
    '(before discount), discount (what it was multiplied by), final_amount (what was paid), points_earned, status (completed; '
    'cancelled: one of 0.00 that was given back since), created_at, replayed (whether this answers an earlier request again), '
    'coupon_discount (what a coupon took off), points_bonus (of points_earned, what campaigns gave).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT, NOT_AUTHENTICATED, MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, MERCHANT_INACTIVE, '
    'QR_EXPIRED_OR_INVALID, CARD_NOT_ACTIVE, CARD_EXPIRED, MEMBER_NOT_ACTIVE, COUPON_NOT_FOUND, COUPON_NOT_USABLE (the detail says which '
    'condition), INSUFFICIENT_BALANCE, IDEMPOTENCY_KEY_REUSED, EXTERNAL_ORDER_CONFLICT.';
CREATE FUNCTION app.quote_charge(p_merchant_code text, p_qr_plain text, p_amount numeric, p_coupon_code text DEFAULT NULL,
    p_excluded_amount numeric DEFAULT NULL)
    RETURNS TABLE (final_amount numeric, discount numeric, coupon_discount numeric, points_earned bigint, covered boolean, lines jsonb,
                   coupons jsonb)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'quote_charge_wrapper';
COMMENT ON FUNCTION app.quote_charge IS
    E'What a charge would cost now, and why; nothing is used up.\n'
    'By an operator of the merchant (owner, admin, cashier) or a backend. Arguments as those of merchant_charge_by_qr; by POST alone, '
    'because the code would stand in logs.\n'
    'Level: client.\n'
    'Results: final_amount (what would be paid), discount (what is multiplied by), coupon_discount (what the coupon takes off), '
    'points_earned (those of campaigns included), covered (whether the balance is enough; never the balance), lines '
    '([{step, amount}]: asked, level_discount or company_discount, coupon; they add up to final_amount), coupons ([{coupon_code, name, '
    'saves, final_amount, valid_until}]: which of '
    'the member''s could be used for it, the best first, twenty at most).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT, NOT_AUTHENTICATED, MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, MERCHANT_INACTIVE, '
    'QR_EXPIRED_OR_INVALID, CARD_NOT_ACTIVE, CARD_EXPIRED, MEMBER_NOT_ACTIVE, COUPON_NOT_FOUND, COUPON_NOT_USABLE.';
CREATE OR REPLACE FUNCTION app.merchant_refund_tx(p_merchant_code text, p_original_tx_no text, p_refund_amount numeric,
    p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}', p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (refund_tx_id bigint, refund_tx_no text, refunded_amount numeric, points_reversed bigint,
                   refundable_left numeric, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'merchant_refund_tx_wrapper';
COMMENT ON FUNCTION app.merchant_refund_tx IS
    E'Gives back part or all of what a payment took.\n'
    'By an operator of the merchant that took it (owner, admin, cashier) or a backend. It goes to the card that paid (or its '
    'replacement), and the points are taken back in proportion. p_refund_amount is of what was paid (final_amount); the same key '
    'with the same request answers the first result with replayed = true.\n'
    'Level: client.\n'
    'Results: refund_tx_id, refund_tx_no (the refund; TK, year, month, running number), refunded_amount (of this call), '
    'points_reversed (taken back), refundable_left (what of the payment can still be refunded), created_at, replayed (whether '
    'this answers an earlier request again).\n'
    'Errors: INVALID_AMOUNT, TX_NOT_FOUND, NOT_REFUNDABLE, REFUND_EXCEEDS_REMAINING, CARD_NOT_ACTIVE (closed card), ARCHIVED, '
    'MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, MERCHANT_INACTIVE, IDEMPOTENCY_KEY_REUSED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE FUNCTION app.cancel_payment(p_merchant_code text, p_tx_no text DEFAULT NULL, p_external_order_id text DEFAULT NULL,
    p_reason text DEFAULT NULL, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (tx_no text, refund_tx_no text, refunded_amount numeric, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'cancel_payment_wrapper';
COMMENT ON FUNCTION app.cancel_payment IS
    E'Gives back all that is left of a payment.\n'
    'By an operator of the merchant that took it (owner, admin, cashier) or a backend. Exactly one of p_tx_no and p_external_order_id '
    '(the shop''s own number) names it. As a refund of what is left, whatever was refunded before; a payment of 0.00, which a coupon '
    'paid all of, becomes cancelled by a refund of 0.00, and its coupon comes back by its terms. Where nothing is left it answers '
    'the refund that took the last, with replayed = true. An order that is not there is TX_NOT_FOUND, and may still come.\n'
    'Level: client.\n'
    'Results: tx_no (the payment), refund_tx_no (the refund that took the last of it), refunded_amount (of that refund), replayed '
    '(whether nothing was left: given back before, by whomever).\n'
    'Errors: TX_NOT_FOUND, NOT_REFUNDABLE, CARD_NOT_ACTIVE (closed card), ARCHIVED, MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, '
    'MERCHANT_INACTIVE, IDEMPOTENCY_KEY_REUSED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE OR REPLACE FUNCTION app.compensate_tx(p_tx_no text, p_amount numeric, p_reason text, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, balance_after numeric, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'compensate_tx_wrapper';
COMMENT ON FUNCTION app.compensate_tx IS
    E'Corrects the card of a transaction by a signed amount.\n'
    'By a backend. It is an adjustment in the books, never below zero, and does not change what is refundable.\n'
    'Level: backend.\n'
    'Results: tx_id, tx_no (the adjustment; TZ, year, month, running number), card_id, amount (signed), balance_after, '
    'created_at, replayed (whether this answers an earlier request again).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT, TX_NOT_FOUND, STATUS_CONFLICT (it has moved no money, or so much of a withdrawal is not to '
    'come back), INSUFFICIENT_BALANCE, BALANCE_LIMIT, CARD_NOT_ACTIVE (closed card), ARCHIVED, IDEMPOTENCY_KEY_REUSED.';
CREATE FUNCTION sec.rules_of_payments() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (60, ARRAY['refunds', 'refund_points', 'refund_chain'], 'books_refunds'),
           (100, ARRAY['compensations'], 'books_compensations')
$$;
COMMENT ON FUNCTION sec.rules_of_payments() IS 'What app.verify_books() checks of the payments. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_compensations(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH adjusted AS (SELECT t.id, t.tx_no, t.card_id, t.original_tx_no, t.final_amount FROM app.transactions t
                   WHERE t.tx_type = 'adjustment' AND t.status = 'completed' AND t.created_at >= p_from AND t.created_at < p_to)
    SELECT 'compensations', format('%s: %s', k.compensation_tx_no,
                                   CASE WHEN a.tx_no IS NULL THEN 'there is no such adjustment'
                                        ELSE format('%s for %s, but the adjustment is %s for %s', k.amount, k.tx_no,
                                                    a.final_amount, a.original_tx_no) END)
    FROM (SELECT k.*, CASE WHEN k.compensation_tx_no ~ '^TZ[0-9]{10,15}$'
                      THEN substr(k.compensation_tx_no, 3, 4)::bigint * 100000000000 + substr(k.compensation_tx_no, 7)::bigint END AS id
          FROM app.transaction_compensations k WHERE k.created_at >= p_from AND k.created_at < p_to) k
    LEFT JOIN app.transactions a ON a.id = k.id AND a.tx_type = 'adjustment' AND a.status = 'completed'
        AND a.created_at >= sec.month_of_id(k.id) AND a.created_at < sec.month_of_id(k.id) + interval '1 month'
    WHERE (k.id / 100000000000 = ANY (p_archived)) IS NOT TRUE AND (a.final_amount, a.original_tx_no) IS DISTINCT FROM (k.amount, k.tx_no)
    UNION ALL
    -- The others come in pairs: a card was replaced.
    SELECT 'compensations', format('%s: nobody noted why', a.tx_no)
    FROM adjusted a
    WHERE NOT EXISTS (SELECT FROM app.transaction_compensations k WHERE k.compensation_tx_no = a.tx_no)
      AND NOT EXISTS (
          SELECT FROM adjusted b
          JOIN app.personal_cards o ON o.id = CASE WHEN a.final_amount < 0 THEN a.card_id ELSE b.card_id END
          WHERE b.tx_no = a.original_tx_no AND b.original_tx_no = a.tx_no AND b.final_amount = -a.final_amount
            AND o.replaced_by = CASE WHEN a.final_amount < 0 THEN b.card_id ELSE a.card_id END)
$rule$;
COMMENT ON FUNCTION sec.books_compensations(timestamptz, timestamptz, bigint[]) IS
    'Corrections that are not noted, or otherwise than they are. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_refunds(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH refunds AS (
        -- Refunds come after their payment, in whatever later month.
        SELECT t.id, t.tx_no, t.original_tx_no, t.created_at, t.final_amount, t.points_earned, t.refundable_left,
               t.refund_chain_id, t.merchant_id,
               CASE WHEN t.original_tx_no ~ '^ZF[0-9]{10,15}$'
                    THEN substr(t.original_tx_no, 3, 4)::bigint * 100000000000 + substr(t.original_tx_no, 7)::bigint END AS payment_id
        FROM app.transactions t WHERE t.tx_type = 'refund' AND t.status = 'completed' AND t.created_at >= p_from),
    -- What is left shrinks with every refund: their order, also where the month turned between two of them.
    running AS (
        SELECT r.*, sum(r.final_amount) OVER w AS so_far, lag(r.id) OVER w AS before, lead(r.id) OVER w AS after
        FROM refunds r WINDOW w AS (PARTITION BY r.payment_id ORDER BY r.refundable_left DESC NULLS FIRST, r.id)),
    paid AS (
        SELECT t.id, t.tx_no, t.created_at, t.final_amount, t.refunded_amount, t.points_earned,
               t.refund_chain_id, t.merchant_id, t.status FROM app.transactions t
        WHERE t.tx_type = 'payment' AND t.posted_at IS NOT NULL AND t.created_at >= p_from AND t.created_at < p_to
          AND (t.refunded_amount IS DISTINCT FROM 0 OR t.refund_chain_id IS NOT NULL OR t.status = 'cancelled')),
    -- Releases before 0.3.0 could archive a month and leave an older one, whose payments then miss refunds.
    sums AS (
        SELECT r.payment_id, sum(r.final_amount) AS total, sum(r.points_earned) AS points,
               count(*) AS refunds, count(*) FILTER (WHERE r.final_amount = 0) AS cancellations,
               max(r.id) FILTER (WHERE r.after IS NULL) AS last_id,
               bool_or(coalesce(r.refund_chain_id / 100000000000 = ANY (p_archived), false)) AS has_gap
        FROM running r GROUP BY r.payment_id),
    sides AS (
        SELECT p.*, s.total, s.points, s.last_id, s.refunds, s.cancellations,
               coalesce(p.refund_chain_id / 100000000000 = ANY (p_archived), false) AS last_archived,
               coalesce(s.has_gap, false) OR coalesce(p.refund_chain_id / 100000000000 = ANY (p_archived), false) AS has_gap
        FROM paid p LEFT JOIN sums s ON s.payment_id = p.id),
    -- Nearly every refund has its payment among those that know of a refund. What has not is looked for.
    lost AS MATERIALIZED (
        SELECT r.* FROM refunds r
        WHERE r.created_at < p_to AND (r.payment_id / 100000000000 = ANY (p_archived)) IS NOT TRUE
          AND NOT EXISTS (SELECT FROM paid q WHERE q.id = r.payment_id AND q.merchant_id = r.merchant_id
                            AND q.created_at >= sec.month_of_id(r.payment_id)
                            AND q.created_at < sec.month_of_id(r.payment_id) + interval '1 month'))
    SELECT x.rule, x.what FROM sides p CROSS JOIN LATERAL (
        SELECT 'refunds' AS rule, CASE
            WHEN CASE WHEN p.has_gap THEN p.refunded_amount < coalesce(p.total, 0)
                      ELSE p.refunded_amount IS DISTINCT FROM coalesce(p.total, 0) END
                THEN format('%s: %s refunded, but its refunds sum up to %s', p.tx_no, p.refunded_amount, coalesce(p.total, 0))
            WHEN p.total > p.final_amount THEN format('%s: %s refunded of %s', p.tx_no, p.total, p.final_amount)
            -- One of 0.00 is given back by being cancelled, with one refund of 0.00; no other one has such a refund.
            WHEN p.cancellations > 0 AND p.status <> 'cancelled'
                THEN format('%s: cancelled by a refund of 0.00, and is %s', p.tx_no, p.status)
            WHEN p.status = 'cancelled' AND NOT p.has_gap AND p.refunds IS DISTINCT FROM 1
                THEN format('%s: is cancelled, and has %s refunds', p.tx_no, coalesce(p.refunds, 0)) END AS what
        UNION ALL
        SELECT 'refund_points', CASE
            WHEN NOT p.has_gap AND -p.points <>
                CASE WHEN p.final_amount = 0 THEN p.points_earned
                     ELSE div(p.points_earned * least(p.total, p.final_amount), p.final_amount) END
            THEN format('%s: %s of %s points taken back for %s of %s', p.tx_no, -p.points, p.points_earned, p.total, p.final_amount) END
        UNION ALL
        SELECT 'refund_chain', CASE WHEN NOT p.last_archived AND p.refund_chain_id IS DISTINCT FROM p.last_id
            THEN format('%s: does not lead to its latest refund', p.tx_no) END) x
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'refund_chain', CASE WHEN NOT p.has_gap AND r.refundable_left IS DISTINCT FROM p.final_amount - r.so_far
        THEN format('%s: says that %s were left of %s', r.tx_no, r.refundable_left, p.tx_no)
        ELSE format('%s: does not lead to the refund of %s before it', r.tx_no, p.tx_no) END
    FROM running r JOIN sides p ON p.id = r.payment_id
    WHERE (NOT p.has_gap AND r.refundable_left IS DISTINCT FROM p.final_amount - r.so_far)
       OR (r.refund_chain_id IS DISTINCT FROM r.before AND (r.refund_chain_id / 100000000000 = ANY (p_archived)) IS NOT TRUE)
    UNION ALL
    SELECT 'refunds', CASE WHEN p.id IS NULL THEN format('%s: its payment %s is not there', r.tx_no, coalesce(r.original_tx_no, '?'))
                           ELSE format('%s: nothing refunded, but %s refunds it', p.tx_no, r.tx_no) END
    FROM lost r LEFT JOIN app.transactions p ON p.id = r.payment_id AND p.tx_type = 'payment' AND p.posted_at IS NOT NULL
        AND p.merchant_id = r.merchant_id AND p.created_at >= sec.month_of_id(r.payment_id)
        AND p.created_at < sec.month_of_id(r.payment_id) + interval '1 month'
    WHERE p.id IS NULL OR (p.refunded_amount = 0 AND p.refund_chain_id IS NULL)
$rule$;
COMMENT ON FUNCTION sec.books_refunds(timestamptz, timestamptz, bigint[]) IS
    'Payments and refunds that do not fit together: sums, points and the chain of refunds. Internal: sec.books_rules().';
CREATE FUNCTION sec.rebuilds_of_payments() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (130, 'rebuild_compensations')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_payments() IS 'The step of payments. Internal: sec.rebuild_steps().';
CREATE FUNCTION sec.rebuild_compensations() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.transaction_compensations (compensation_tx_no, tx_no, created_at, actor_user_id, actor_role, amount, reason)
    SELECT m.tx_no, m.original_tx_no, m.happened_at, m.actor_user_id, m.actor_role, m.change, 'not in the log'
    FROM sec.logged_movements() m
    WHERE m.tx_type = 'adjustment'
      -- The two halves of a card's replacement name each other.
      AND NOT EXISTS (SELECT FROM sec.logged_movements() o
                      WHERE o.tx_type = 'adjustment' AND o.tx_no = m.original_tx_no AND o.original_tx_no = m.tx_no);
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'corrections';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_compensations() IS
    'Who corrected what by which amount; why is not in the log. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.columns_of_gateways() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('backend', 'app.gateway_accounts', 'code, provider, active, merchant_id, created_at, config'),
           ('backend', 'app.gateway_events',
            'id, received_at, happened_at, amount, verified, account, provider, kind, event_key, key_id, outcome, reason, tx_no, '
            'trade_no, out_trade_no, headers, body'),
           ('backend', 'app.gateway_tallies', 'account, hour, kind, callbacks, last_at, first_event')
$$;
COMMENT ON FUNCTION sec.columns_of_gateways() IS
    'What may be read of payment gateways; of keys nothing. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.policies_of_gateways() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Clients see nothing of it, and nobody anything of the keys.
    SELECT t.tab, 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
           'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege'
    FROM (VALUES ('app.gateway_accounts'), ('app.gateway_events'), ('app.gateway_tallies')) t (tab)
$$;
COMMENT ON FUNCTION sec.policies_of_gateways() IS 'The policies of payment gateways. Internal: sec.policies().';
CREATE FUNCTION sec.descriptions_of_gateways() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.gateway_accounts', 'code', 'By which the functions and the proxy name it.'),
           ('app.gateway_accounts', 'provider', 'wechat, alipay.'),
           ('app.gateway_accounts', 'active', 'Whether notices of it are taken.'),
           ('app.gateway_accounts', 'merchant_id', 'The merchant whose bank receives; NULL: the platform.'),
           ('app.gateway_accounts', 'created_at', 'When it was first set.'),
           ('app.gateway_accounts', 'config', 'Whose notices are its own, as app.set_gateway_account() was given it.'),
           ('app.gateway_events', 'id', 'For app.reverify_event().'),
           ('app.gateway_events', 'received_at', 'When it came here.'),
           ('app.gateway_events', 'happened_at', 'When what it tells of happened, by the gateway.'),
           ('app.gateway_events', 'amount', 'The order''s total, or what was refunded, in currency units.'),
           ('app.gateway_events', 'verified', 'Whether a key of the account has signed it.'),
           ('app.gateway_events', 'account', 'The account that it came for.'),
           ('app.gateway_events', 'provider', 'wechat, alipay.'),
           ('app.gateway_events', 'kind', 'payment, refund, other; NULL: it was refused.'),
           ('app.gateway_events', 'event_key', 'The gateway''s id of it, the same whenever it is repeated.'),
           ('app.gateway_events', 'key_id', 'Of the key that has signed it.'),
           ('app.gateway_events', 'outcome', 'credited, replayed, suspense, conflict, failed, noted, refused.'),
           ('app.gateway_events', 'reason', 'Why, in one word.'),
           ('app.gateway_events', 'tx_no', 'The recharge or the withdrawal that it is about, where that is known.'),
           ('app.gateway_events', 'trade_no', 'The gateway''s number of the payment.'),
           ('app.gateway_events', 'out_trade_no', 'The order''s number at the gateway, which the shop had sent.'),
           ('app.gateway_events', 'headers', 'Those that are signed.'),
           ('app.gateway_events', 'body', 'As it came; of one that nobody has signed its first 2,048 bytes.'),
           ('app.gateway_tallies', 'account', 'The account that they came for.'),
           ('app.gateway_tallies', 'hour', 'The hour that begins then.'),
           ('app.gateway_tallies', 'kind', 'The reason why they were refused; repeated: they changed nothing any more.'),
           ('app.gateway_tallies', 'callbacks', 'How many of them are counted here.'),
           ('app.gateway_tallies', 'last_at', 'When the last of them came.'),
           ('app.gateway_tallies', 'first_event', 'The id of the first of these; of the first of all there is a row of app.gateway_events.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_gateways() IS 'What columns of payment gateways are. Internal: sec.describe_columns().';
CREATE FUNCTION sec.install_gateways() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.gateway_accounts') IS NULL THEN
        CREATE TABLE app.gateway_accounts (
            code        text        NOT NULL PRIMARY KEY,
            provider    text        NOT NULL CHECK (provider IN ('wechat', 'alipay')),
            active      boolean     NOT NULL DEFAULT true,
            merchant_id integer     REFERENCES app.merchants,
            created_at  timestamptz NOT NULL,
            config      jsonb       NOT NULL
        );
        CREATE INDEX gateway_accounts_merchant_id_idx ON app.gateway_accounts (merchant_id);
        COMMENT ON TABLE app.gateway_accounts IS 'Accounts at payment gateways, whose notices are taken';
    END IF;
    IF to_regclass('sec.gateway_keys') IS NULL THEN
        CREATE TABLE sec.gateway_keys (
            account     text        NOT NULL REFERENCES app.gateway_accounts,
            kind        text        NOT NULL CHECK (kind IN ('wechat_apiv3_key', 'wechat_public_key', 'alipay_public_key')),
            key_id      text        NOT NULL,
            created_at  timestamptz NOT NULL,
            valid_from  timestamptz,
            valid_until timestamptz,
            sealed      boolean     NOT NULL,
            key         bytea       NOT NULL,
            PRIMARY KEY (account, kind, key_id)
        );
        COMMENT ON TABLE sec.gateway_keys IS 'What notices of payment gateways are verified and decrypted with; for nobody to read';
        COMMENT ON COLUMN sec.gateway_keys.sealed IS 'Whether the key is under the master key, which is in no database.';
        COMMENT ON COLUMN sec.gateway_keys.valid_from IS 'NULL: since ever.';
        COMMENT ON COLUMN sec.gateway_keys.valid_until IS 'NULL: for ever.';
        COMMENT ON COLUMN sec.gateway_keys.key IS 'A public key as it was given, or a secret.';
    END IF;
    PERFORM sec.install_gateway_events();
END
$install$;
COMMENT ON FUNCTION sec.install_gateways() IS
    'Makes the tables of payment gateways, where they are missing. Internal: sec.install() calls it.';
CREATE FUNCTION sec.install_gateway_events() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.gateway_event_id_seq') IS NULL THEN
        CREATE SEQUENCE app.gateway_event_id_seq AS bigint;
        COMMENT ON SEQUENCE app.gateway_event_id_seq IS 'Ids of app.gateway_events; may skip, never repeats';
    END IF;
    IF to_regclass('app.gateway_events') IS NULL THEN
        CREATE TABLE app.gateway_events (
            id           bigint      NOT NULL,
            received_at  timestamptz NOT NULL,
            happened_at  timestamptz,
            amount       numeric(14,2),
            verified     boolean     NOT NULL,
            account      text        NOT NULL,
            provider     text        NOT NULL,
            kind         text,
            event_key    text,
            key_id       text,
            outcome      text        NOT NULL,
            reason       text,
            tx_no        text,
            trade_no     text,
            out_trade_no text,
            headers      jsonb       NOT NULL DEFAULT '{}',
            body         bytea       NOT NULL
        ) PARTITION BY RANGE (received_at);
        CREATE INDEX gateway_events_event_key_idx ON app.gateway_events (event_key) WHERE event_key IS NOT NULL;
        CREATE INDEX gateway_events_odd_idx ON app.gateway_events (received_at)
            WHERE outcome = 'conflict' OR (outcome = 'refused' AND verified);
        CREATE INDEX gateway_events_happened_at_idx ON app.gateway_events (account, happened_at) WHERE kind = 'payment';
        CREATE INDEX gateway_events_trade_no_idx ON app.gateway_events (trade_no) WHERE trade_no IS NOT NULL;
        COMMENT ON TABLE app.gateway_events IS
            'Callbacks of payment gateways, with what was signed, so that they can be proved again; by month of received_at (UTC). Each '
            'partition has its own primary key (id). What was refused stands here once an hour and reason (more than once only where it '
            'came at once), and so does what came again and changed nothing: app.gateway_tallies counts the others.';
    END IF;
    IF to_regclass('app.gateway_tallies') IS NULL THEN
        CREATE TABLE app.gateway_tallies (
            account     text        NOT NULL,
            hour        timestamptz NOT NULL,
            kind        text        NOT NULL,
            callbacks   bigint      NOT NULL,
            last_at     timestamptz NOT NULL,
            first_event bigint      NOT NULL,
            PRIMARY KEY (account, hour, kind, first_event)
        );
        COMMENT ON TABLE app.gateway_tallies IS
            'How many callbacks of an account were refused in an hour, by reason, or came again, so that nobody fills a disk by sending. '
            'Those that came at once may stand in several rows, so that none waits for another: their sum is the number';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_gateway_events() IS
    'Makes the tables of callbacks and the sequence of their ids, where they are missing. Internal: sec.install_gateways() calls it.';
CREATE FUNCTION sec.monthly_tables_of_gateways() RETURNS TABLE (nsp text, tab text, pk text, is_append_only boolean)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app', 'gateway_events', 'id', true)
$$;
COMMENT ON FUNCTION sec.monthly_tables_of_gateways() IS 'The tables of gateways that are kept by month. Internal: sec.monthly_tables().';
CREATE FUNCTION sec.sequences_of_gateways() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.gateway_event_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.gateway_event_id_seq q),
           (SELECT max(e.id) FROM app.gateway_events e)
$$;
COMMENT ON FUNCTION sec.sequences_of_gateways() IS
    'The sequences of gateways: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
CREATE FUNCTION sec.rebuild_gateway_numbers() RETURNS TABLE (what text, n bigint)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    -- The log names callbacks that are not there any more: no other one gets such a number.
    SELECT 'callbacks that are named, and lost', count(*)
    FROM (SELECT max((e.context ->> 'gateway_event')::bigint) AS last FROM audit.event_log e
          WHERE e.context ? 'gateway_event') x,
         LATERAL (SELECT setval('app.gateway_event_id_seq', x.last)) s
    WHERE x.last > (SELECT q.last_value - (NOT q.is_called)::integer FROM app.gateway_event_id_seq q)
$$;
COMMENT ON FUNCTION sec.rebuild_gateway_numbers() IS
    'Has ids of callbacks go on after those that the log names. Internal: app.rebuild_from_log().';
CREATE FUNCTION app.set_gateway_account(p_code text, p_provider text, p_config jsonb) RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_gateway_account_wrapper';
COMMENT ON FUNCTION app.set_gateway_account IS
    E'Sets an account at a payment gateway: whose notices are taken, and whose bank they pay.\n'
    'The same code again replaces the configuration; the provider stays. p_code: 1 to 64 ASCII letters, digits and - _ . p_provider: '
    'wechat, alipay. p_config: wechat {"mchid", "appids"}, of a service provider {"sp_mchid", "sub_mchids", "sp_appids"} (the last may be '
    'left out); alipay {"app_id", "seller_ids"}. Of both, where wanted: "merchant" (the code of the merchant whose bank receives, where it '
    'is not the platform''s), "fee_rate" (what the gateway keeps, 0 to 1 with at most 6 decimals), "item_days" (for how many days '
    'a difference of its bills may stay open before app.health() names it, 0 to 365, by itself 3), "active" (false turns the account off). '
    'What is left out is so no longer. For a superuser.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: INVALID_ARGUMENT, MERCHANT_NOT_FOUND, STATUS_CONFLICT (the code is of the other provider), NOT_ALLOWED.';
CREATE FUNCTION app.set_gateway_key(p_account text, p_kind text, p_key_id text, p_key text, p_valid_from timestamptz DEFAULT NULL,
                                    p_valid_until timestamptz DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_gateway_key_wrapper';
COMMENT ON FUNCTION app.set_gateway_key IS
    E'Sets a key that notices of an account are verified or decrypted with.\n'
    'The same id again replaces; several live at once. p_kind: wechat_apiv3_key (32 characters), wechat_public_key (PEM: a certificate, '
    'whose serial number p_key_id is, or a public key with its PUB_KEY_ID_...), alipay_public_key (as Alipay''s page shows it, PEM, or a '
    'certificate, whose serial number p_key_id is). A certificate is valid no longer than it says. NULL: since ever, for ever. '
    'A secret is sealed under the key of mps.master_key_file, where that is set. '
    'A statement can stand in the server''s log: app.set_gateway_key_from_file() keeps the key out of it. For a superuser.\n'
    'Results: true if anything changed, false if all was so already; a secret that is sealed is always sealed anew.\n'
    'Errors: GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, STATUS_CONFLICT (the master key cannot be used), NOT_ALLOWED.';
CREATE FUNCTION app.set_gateway_key_from_file(p_account text, p_kind text, p_key_id text, p_path text,
                                              p_valid_from timestamptz DEFAULT NULL, p_valid_until timestamptz DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_gateway_key_from_file_wrapper';
COMMENT ON FUNCTION app.set_gateway_key_from_file IS
    E'As app.set_gateway_key(), of a key that stands in a file on the server.\n'
    'p_path: from the root on. The file of a secret belongs to the server''s user, and nobody else may read it. For a superuser.\n'
    'Results: as app.set_gateway_key().\n'
    'Errors: GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, STATUS_CONFLICT (the master key cannot be used), NOT_ALLOWED.';
CREATE FUNCTION app.gateway_notify(p_account text, p_headers jsonb, p_body bytea)
    RETURNS TABLE (status integer, body text, outcome text, reason text, tx_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'gateway_notify_wrapper';
COMMENT ON FUNCTION app.gateway_notify IS
    E'Takes a callback of a payment gateway that a backend''s own web server was sent: verified, decrypted, recorded, and credited.\n'
    'By a backend. All in this one transaction: answer the gateway with status and body once it is committed. p_headers: those of the '
    'request, an object of texts, names in any case. p_body: its bytes as they came, at most 65,536. What is refused is recorded and '
    'answered, and is no error. What holds it up for more than 3 seconds ends it (SQLSTATE 57014): answer 503, so that it comes again.\n'
    'Level: backend.\n'
    'Results: status (HTTP), body (what to answer), outcome (credited; replayed: it was credited or kept before; suspense: a row of '
    'app.suspense_payments; conflict: the trade number is another''s; failed: the recharge; noted: nothing changes; refused), reason '
    '(one word, NULL for what needs none), tx_no (the recharge, where it is known).\n'
    'Errors: GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, NOT_ALLOWED, STATUS_CONFLICT (the account was changed meanwhile).';
CREATE FUNCTION app.reverify_event(p_id bigint)
    RETURNS TABLE (id bigint, received_at timestamptz, account text, provider text, key_id text, outcome text)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'reverify_event_wrapper';
COMMENT ON FUNCTION app.reverify_event IS
    E'Proves again that a gateway has signed a callback, from what is kept of it.\n'
    'By a backend. With every public key that the account has, also one that has run out since.\n'
    'Level: backend.\n'
    'Results: id, received_at, account, provider (wechat, alipay), key_id (of the key that proves it), outcome (what was done).\n'
    'Errors: SIGNATURE_INVALID (what is kept is not signed by any key of now: the detail says why), TX_NOT_FOUND (no such event here), '
    'GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION mps_gateway.notify(bytea) RETURNS mps_gateway."*/*"
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'notify_wrapper';
COMMENT ON FUNCTION mps_gateway.notify(bytea) IS
    E'Takes what a payment gateway sends, as it came: verified, decrypted, recorded and credited in this one transaction.\n'
    'The argument has no name, so that PostgREST hands over the bytes of the body. The setting request.headers has the headers, by '
    'lower-case names: x-mps-gateway (wechat, alipay) and x-mps-account (the code of the account), which the proxy sets, and those that '
    'the gateway signed. Sets response.status and response.headers. What is refused is recorded and answered with 4xx, and is no error. '
    'What holds it up for more than 3 seconds ends it (SQLSTATE 57014, HTTP 500), so that it comes again.\n'
    'Level: gateway.\n'
    'Results: the body of the answer: nothing or {"code": "FAIL", "message"} for WeChat, success or failure for Alipay.\n'
    'Errors: GATEWAY_ACCOUNT_NOT_FOUND, NOT_ALLOWED, STATUS_CONFLICT (the account was changed meanwhile), READ_ONLY, SCHEMA_OUTDATED.';
CREATE FUNCTION sec.gateway_secrets() RETURNS TABLE (account text, key_id text, state text)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'gateway_secrets_wrapper';
COMMENT ON FUNCTION sec.gateway_secrets IS
    'Each secret that is live or kept plain: whether it is sealed, and if it cannot be opened, why. Internal: sec.health_of_gateways().';
CREATE FUNCTION sec.plain_secrets() RETURNS TABLE (problem text)
    -- Without a call of ours, so that it answers whatever is wrong with other tables.
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%s %s is kept plain', k.account, k.key_id) FROM sec.gateway_keys k WHERE k.kind = 'wechat_apiv3_key' AND NOT k.sealed
$$;
COMMENT ON FUNCTION sec.plain_secrets() IS
    'Which secrets of payment gateways every dump carries as they are: set before mps.master_key_file was. Internal: '
    'sec.security_check().';
CREATE FUNCTION sec.odd_callbacks() RETURNS TABLE (problem text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Signed by the gateway, and yet not taken as what they say.
    SELECT format('%s: %s (%s), the last at %s', e.account, e.outcome, e.reason, max(e.received_at))
    FROM app.gateway_events e
    WHERE e.received_at > now() - interval '2 days' AND (e.outcome = 'conflict' OR (e.outcome = 'refused' AND e.verified))
    GROUP BY e.account, e.outcome, e.reason
    UNION ALL
    -- Anybody can send them; but where none was taken since, the gateway may sign with a key that is not here.
    SELECT format('%s: refused (%s), the last at %s, and none was taken since', t.account, t.kind, t.last_at)
    FROM (SELECT x.account, x.kind, max(x.last_at) AS last_at, max(x.first_event) AS event
          FROM app.gateway_tallies x WHERE x.hour > now() - interval '2 days' AND x.kind IN ('serial_unknown', 'key_none')
          GROUP BY x.account, x.kind) t
    WHERE NOT EXISTS (SELECT FROM app.gateway_events e
                      WHERE e.id > t.event AND e.account = t.account AND e.verified AND e.received_at > t.last_at)
      AND NOT EXISTS (SELECT FROM app.gateway_tallies r WHERE r.account = t.account AND r.kind = 'repeated' AND r.last_at > t.last_at)
$$;
COMMENT ON FUNCTION sec.odd_callbacks() IS
    'Which callbacks of the last two days, by account and reason, somebody should look at: after a day the gateway sends them no more. '
    'Internal: sec.health_of_gateways().';
CREATE FUNCTION sec.health_of_gateways() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'gateway_secrets'::text, bool_and(s.state = 'sealed'),
           coalesce(string_agg(format('%s %s: %s', s.account, s.key_id, s.state), '; ' ORDER BY s.account, s.key_id)
                        FILTER (WHERE s.state <> 'sealed'), 'all are sealed')
    FROM sec.gateway_secrets() s
    HAVING count(*) > 0
    UNION ALL
    SELECT 'gateway_callbacks', count(c.problem) = 0, coalesce(string_agg(c.problem, '; ' ORDER BY c.problem), 'none to look at')
    FROM (SELECT FROM app.gateway_accounts LIMIT 1) a LEFT JOIN sec.odd_callbacks() c ON true
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION sec.health_of_gateways() IS
    'What app.health() says of payment gateways: secrets that are kept plain, or that the master key does not open; callbacks that '
    'contradict the books, or are refused. No row where there is no secret, and no account. Internal: sec.health_rows().';
CREATE FUNCTION sec.logged_of_gateways() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('gateway.account_set', '{provider,active,config,merchant}'::text[]), ('gateway.key_set', '{}')
$$;
COMMENT ON FUNCTION sec.logged_of_gateways() IS 'The events of payment gateways. Internal: sec.logged_actions().';
CREATE FUNCTION sec.rebuilds_of_gateways() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (45, 'rebuild_gateway_accounts'), (160, 'rebuild_gateway_numbers')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_gateways() IS 'The step of payment gateways. Internal: sec.rebuild_steps().';
CREATE FUNCTION sec.rebuild_gateway_accounts() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.gateway_accounts (code, provider, active, merchant_id, created_at, config)
    SELECT e.object_id, e.context ->> 'provider', (e.context ->> 'active')::boolean,
           CASE WHEN e.context ->> 'merchant' IS NOT NULL THEN
               coalesce(m.id, sec.refuse_log(e.id, format('no merchant %s is in the log', e.context ->> 'merchant'))::integer) END,
           e.first_set, e.context -> 'config'
    FROM (SELECT DISTINCT ON (x.object_id) x.id, x.object_id, x.context,
                 min(x.happened_at) OVER (PARTITION BY x.object_id) AS first_set
          FROM audit.event_log x WHERE x.action = 'gateway.account_set' ORDER BY x.object_id, x.id DESC) e
    LEFT JOIN app.merchants m ON m.code = e.context ->> 'merchant';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'accounts at payment gateways, without their keys';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_gateway_accounts() IS
    'Every account at a payment gateway, as it was set last; its keys are not in the log. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.rules_of_gateways() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (140, ARRAY['callbacks'], 'books_callbacks')
$$;
COMMENT ON FUNCTION sec.rules_of_gateways() IS 'What app.verify_books() checks of callbacks. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_callbacks(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH credited AS (
        SELECT e.id, e.received_at, e.account, e.verified, e.tx_no, e.trade_no, e.amount, count(*) OVER (PARTITION BY e.tx_no) AS times,
               CASE WHEN e.tx_no ~ '^CZ[0-9]{10,15}$'
                    THEN substr(e.tx_no, 3, 4)::bigint * 100000000000 + substr(e.tx_no, 7)::bigint END AS tx_id
        FROM app.gateway_events e
        WHERE e.outcome = 'credited' AND e.received_at >= p_from AND e.received_at < p_to),
    -- What no account has ever brought is not looked for in the log.
    confirmed AS (
        SELECT a.id, a.happened_at, a.object_id AS tx_no, a.context ->> 'gateway_trade_no' AS trade_no,
               (a.context ->> 'gateway_event')::bigint AS event_id
        FROM audit.event_log a
        WHERE a.action = 'recharge.confirmed' AND a.context ->> 'gateway_event' ~ '^[0-9]{1,18}$'
          AND a.happened_at >= p_from AND a.happened_at < p_to AND EXISTS (SELECT FROM app.gateway_events))
    SELECT 'callbacks', format('callback %s of %s: %s', c.id, c.account, x.what)
    FROM credited c
    LEFT JOIN app.transactions t ON t.id = c.tx_id AND t.created_at >= sec.month_of_id(c.tx_id)
        AND t.created_at < sec.month_of_id(c.tx_id) + interval '1 month'
    LEFT JOIN confirmed a ON a.event_id = c.id AND a.happened_at = c.received_at
    CROSS JOIN LATERAL (SELECT CASE
        WHEN NOT c.verified THEN 'credited, but nobody has signed it'
        WHEN c.times > 1 THEN format('credited %s, and so did another', c.tx_no)
        WHEN c.tx_id IS NULL THEN 'credited no recharge'
        WHEN a.id IS NULL OR a.tx_no <> c.tx_no OR a.trade_no IS DISTINCT FROM c.trade_no
            THEN format('credited %s, and the log does not say so', c.tx_no)
        WHEN c.tx_id / 100000000000 = ANY (p_archived) THEN NULL
        WHEN t.id IS NULL THEN format('credited %s, which is not there', c.tx_no)
        WHEN t.status <> 'completed' OR t.gateway_trade_no IS DISTINCT FROM c.trade_no OR t.final_amount IS DISTINCT FROM c.amount
            THEN format('credited %s of %s to %s, which is %s with %s of %s', c.amount, c.trade_no, c.tx_no, t.status, t.final_amount,
                        coalesce(t.gateway_trade_no, 'nothing'))
        END AS what) x
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'callbacks', format('%s: the log says that callback %s has credited it, and there is none that did', a.tx_no, a.event_id)
    FROM confirmed a
    -- Books that were written anew from the log have none of those that it names.
    WHERE a.event_id >= (SELECT min(e.id) FROM app.gateway_events e)
      AND NOT EXISTS (SELECT FROM credited c WHERE c.id = a.event_id AND c.tx_no = a.tx_no)
$rule$;
COMMENT ON FUNCTION sec.books_callbacks(timestamptz, timestamptz, bigint[]) IS
    'Callbacks that are said to have credited what they have not, and recharges that are said to have been credited by one that has not. '
    'Internal: sec.books_rules().';
CREATE FUNCTION sec.health_of_receipts() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'heads'::text, (s.sealed_at < now() - interval '1 hour') IS NOT TRUE,
           CASE WHEN h.head_no IS NULL THEN format('none was signed, and %s seals are waiting', coalesce(s.waiting, 0))
                ELSE format('head %s of %s, %s seals since', h.head_no, h.signed_at, coalesce(s.waiting, 0)) END
    FROM audit.trees t
    LEFT JOIN LATERAL (SELECT x.head_no, x.seal_no, x.signed_at FROM audit.heads x ORDER BY x.head_no DESC LIMIT 1) h ON true
    LEFT JOIN LATERAL (SELECT count(*) AS waiting, min(x.sealed_at) AS sealed_at FROM audit.seals x
                       WHERE x.seal_no > coalesce(h.seal_no, 0)) s ON true
    WHERE t.tree = 0
$$;
COMMENT ON FUNCTION sec.health_of_receipts() IS
    'What app.health() says of receipts: seals for which no head was signed within the hour. No row where there is no tree. '
    'Internal: sec.health_rows().';
CREATE FUNCTION sec.standing_triggers_of_receipts() RETURNS TABLE (tab text, trig text, events text, each text, func text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('audit.heads', 'append_only', 'BEFORE UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.append_only')
$$;
COMMENT ON FUNCTION sec.standing_triggers_of_receipts() IS 'The standing triggers of receipts. Internal: sec.standing_triggers().';
CREATE FUNCTION sec.logged_of_receipts() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('restore.declared', '{}'::text[])
$$;
COMMENT ON FUNCTION sec.logged_of_receipts() IS 'The events of receipts. Internal: sec.logged_actions().';
CREATE FUNCTION sec.install_receipts() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('audit.trees') IS NULL THEN
        CREATE TABLE audit.trees (
            tree          integer     NOT NULL PRIMARY KEY CHECK (tree = 0 OR tree BETWEEN 200001 AND 209912),
            begun_at      timestamptz NOT NULL,
            leaves        bigint      NOT NULL DEFAULT 0 CHECK (leaves >= 0),
            total_cents   bigint      NOT NULL DEFAULT 0,
            through_event bigint,
            cut           xid8,
            root          bytea,
            head_no       bigint,
            restore_why   text,
            secret        bytea       NOT NULL CHECK (length(secret) = 32)
        );
        COMMENT ON TABLE audit.trees IS
            'Merkle trees: one over all movements, in the order of the log, and one for each month over what each card held at its end';
        COMMENT ON COLUMN audit.trees.tree IS '0: the movements. Else the month, as yyyymm.';
        COMMENT ON COLUMN audit.trees.total_cents IS 'What the leaves add up to: changes of balances, or balances.';
        COMMENT ON COLUMN audit.trees.through_event IS 'Of the movements: the event up to which they are in the tree.';
        COMMENT ON COLUMN audit.trees.cut IS 'Of a month: what must have ended before its balances are certain (sec.cut()).';
        COMMENT ON COLUMN audit.trees.root IS 'Of a month: the root once it is made. That of the movements is in each head.';
        COMMENT ON COLUMN audit.trees.head_no IS 'Of a month: the head that published it.';
        COMMENT ON COLUMN audit.trees.restore_why IS
            'Of the movements: what audit.declare_restore() was told, until the next head has said it.';
        COMMENT ON COLUMN audit.trees.secret IS
            'What blinds the leaves, so that nobody finds out by trying what those beside their own say.';
    END IF;
    IF to_regclass('audit.tree_chunks') IS NULL THEN
        CREATE TABLE audit.tree_chunks (
            tree       integer NOT NULL,
            chunk_no   bigint  NOT NULL,
            posted     tstzrange,
            first_hash bytea,
            labels     bytea   NOT NULL,
            PRIMARY KEY (tree, chunk_no)
        );
        -- Hashes do not become shorter.
        ALTER TABLE audit.tree_chunks ALTER COLUMN labels SET STORAGE EXTERNAL;
        CREATE INDEX tree_chunks_posted_idx ON audit.tree_chunks USING gist (posted) WHERE tree = 0;
        CREATE INDEX tree_chunks_first_hash_idx ON audit.tree_chunks (tree, first_hash) WHERE tree > 0;
        COMMENT ON TABLE audit.tree_chunks IS 'The leaves of the trees, 256 to a row';
        COMMENT ON COLUMN audit.tree_chunks.posted IS 'Of movements: from when to when they were posted.';
        COMMENT ON COLUMN audit.tree_chunks.first_hash IS 'Of balances, which are ordered by their hash: that of the first.';
        COMMENT ON COLUMN audit.tree_chunks.labels IS
            'One after the other: of a movement its hash; of a balance its cents (8 bytes) and hash.';
    END IF;
    IF to_regclass('audit.tree_nodes') IS NULL THEN
        CREATE TABLE audit.tree_nodes (
            tree    integer  NOT NULL,
            level   smallint NOT NULL,
            node_no bigint   NOT NULL,
            label   bytea    NOT NULL,
            PRIMARY KEY (tree, level, node_no)
        );
        COMMENT ON TABLE audit.tree_nodes IS 'The full nodes of the trees, from those of a full chunk (level 8) upwards';
    END IF;
    IF to_regclass('audit.heads') IS NULL THEN
        CREATE TABLE audit.heads (
            head_no    bigint      NOT NULL PRIMARY KEY CHECK (head_no > 0),
            signed_at  timestamptz NOT NULL,
            seal_no    bigint      NOT NULL,
            leaves     bigint      NOT NULL,
            restores   boolean     NOT NULL,
            head       text        NOT NULL,
            signature  bytea       NOT NULL,
            public_key bytea       NOT NULL
        );
        CREATE INDEX heads_restores_idx ON audit.heads (head_no) WHERE restores;
        COMMENT ON TABLE audit.heads IS
            'Signed heads: what the log, the movements and the balances of a month were, by a key that is not in the database';
        COMMENT ON COLUMN audit.heads.head IS 'What is signed, as a JSON array; docs/receipts.md says what stands in it.';
        COMMENT ON COLUMN audit.heads.leaves IS 'How many movements it stands for.';
        COMMENT ON COLUMN audit.heads.restores IS 'Whether it says that the database was restored to the head before.';
        COMMENT ON COLUMN audit.heads.signature IS 'Ed25519 over the bytes of head.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_receipts() IS
    'Makes the tables of trees and heads, where they are missing. Internal: sec.install() calls it.';
CREATE FUNCTION app.tx_proof(p_tx_no text)
    RETURNS jsonb
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'tx_proof_wrapper';
COMMENT ON FUNCTION app.tx_proof IS
    E'A receipt for a movement: that it, and the balance after it, stand under a signed head.\n'
    'By whoever may see the card: its owner, everyone bound to the enterprise card, a backend. Once kept, it needs no server any more: '
    'docs/receipts.md says how it is verified, and what it proves. Under 2 kB. There is none before the next audit.seal(), where '
    'mps.seal_key_file is not set, and for movements of before it was set whose month is archived. STABLE.\n'
    'Level: client.\n'
    'Results: one JSON object: kind (mps receipt 1), leaf (what it is about, as text), index, path (base64), head (as text), signature '
    '(base64).\n'
    'Errors: TX_NOT_FOUND, STATUS_CONFLICT (it moved no money; there is no signed head with it yet), ARCHIVED, INVALID_ARGUMENT, '
    'NOT_AUTHENTICATED.';
CREATE FUNCTION app.liability_proof(p_month date, p_card_id uuid DEFAULT NULL, p_card_type text DEFAULT 'personal')
    RETURNS TABLE (card_no text, month date, balance numeric, proof jsonb)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'liability_proof_wrapper';
COMMENT ON FUNCTION app.liability_proof IS
    E'That what cards held at the end of a month is in the total which a signed head published.\n'
    'By the signed-in user for all its cards, and the enterprise cards that it is bound to; of one card, p_card_id, by whoever may see '
    'it. p_month: any day of a month of UTC that is over. p_card_type: personal, enterprise. A card that had not moved by then is in '
    'no total and has no row. STABLE.\n'
    'Level: client.\n'
    'Results: card_no, month (its first day), balance (at its end, in currency units), proof (one JSON object: kind (mps liability '
    '1), leaf, index, path, head, signature, as in app.tx_proof()).\n'
    'Errors: CARD_NOT_FOUND, STATUS_CONFLICT (the month is not published yet), ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE FUNCTION app.head_proof(p_head_no bigint DEFAULT NULL)
    RETURNS jsonb
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'head_proof_wrapper';
COMMENT ON FUNCTION app.head_proof IS
    E'The newest signed head, and that it goes on from an earlier one.\n'
    'By a signed-in user or a backend. p_head_no: the number of the head in a receipt that was kept. Heads are for everybody: publish '
    'them where you cannot change them any more. STABLE.\n'
    'Level: client.\n'
    'Results: one JSON object: kind (mps heads 1), latest (head, signature), at (the same of p_head_no; null if there is none), path '
    '(base64; null without at), restores (the newest 20 heads that say the database was restored), key (the public key of latest, '
    'base64: to be compared with the one that was published).\n'
    'Errors: STATUS_CONFLICT (there is no head yet), INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE FUNCTION audit.receipts_are_on() RETURNS boolean
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'receipts_are_on_wrapper';
COMMENT ON FUNCTION audit.receipts_are_on IS
    E'Whether mps.seal_key_file is set.\n'
    'Part of audit.seal().\n'
    'Level: operator.';
CREATE FUNCTION audit.grow_tree() RETURNS bigint
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'grow_tree_wrapper';
COMMENT ON FUNCTION audit.grow_tree IS
    E'Takes the movements of the next 10,000 sealed events into the tree; returns how many.\n'
    'Part of audit.seal(). A movement whose month is archived, or whose row is missing, is left out; the latter is said in the log of '
    'the server.\n'
    'Level: operator.\n'
    'Errors: STATUS_CONFLICT, SCHEMA_OUTDATED.';
CREATE FUNCTION audit.sign_head() RETURNS bigint
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'sign_head_wrapper';
COMMENT ON FUNCTION audit.sign_head IS
    E'Signs a head for what is sealed and in the trees, if there is anything new; returns its number, else NULL.\n'
    'Part of audit.seal(). Not in the transaction that sealed, and only where the commit is waited for (synchronous_commit), so that '
    'no head is ever seen whose seal could be lost in a crash. Where the server is another one than that of the head before, or on '
    'another timeline, the head says so: the database was restored.\n'
    'Level: operator.\n'
    'Errors: STATUS_CONFLICT (no key, one that cannot be used, commits are not waited for), SCHEMA_OUTDATED.';
CREATE FUNCTION audit.declare_restore(p_reason text) RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'declare_restore_wrapper';
COMMENT ON FUNCTION audit.declare_restore IS
    E'Has the next head say that the database was restored to an earlier point, and why; false where that waits to be said already.\n'
    'To be called before audit.seal() runs again where neither the system identifier nor the timeline shows it: a snapshot of the disk '
    'was put back. Everywhere else heads say it by themselves. Whoever holds a receipt of what was lost sees what is said here.\n'
    'Level: operator.\n'
    'Results: whether it was noted now.\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT (no head was ever signed), SCHEMA_OUTDATED.';
CREATE FUNCTION sec.finish_tree(p_tree integer) RETURNS bigint
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'finish_tree_wrapper';
COMMENT ON FUNCTION sec.finish_tree IS
    'Makes nodes, root and total of a month''s tree from its leaves; returns how many there are. Internal: audit.publish_balances().';
CREATE FUNCTION sec.check_heads() RETURNS SETOF text
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'check_heads_wrapper';
COMMENT ON FUNCTION sec.check_heads IS
    'What of heads and trees is not as it was signed. Internal: audit.verify() calls it.';
CREATE FUNCTION sec.months_with_balances() RETURNS TABLE (month date, tree integer)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT m.month::date, to_char(m.month, 'YYYYMM')::integer
    FROM audit.trees b, generate_series(date_trunc('month', b.begun_at), date_trunc('month', now()) - interval '1 month',
                                        interval '1 month') m (month)
    -- What moved since is looked at to know what was held before: all of it must be here.
    WHERE b.tree = 0 AND NOT EXISTS (
        SELECT FROM app.archived_months a
        WHERE a.month >= m.month OR EXISTS (SELECT FROM app.late_postings l
                                            WHERE l.posted_at >= m.month + interval '1 month'
                                              AND l.created_at >= a.month AND l.created_at < a.month + interval '1 month'))
$$;
COMMENT ON FUNCTION sec.months_with_balances() IS
    'The months that are over since receipts began, of which it can be told what every card held at the end. Internal: '
    'audit.note_balances().';
CREATE FUNCTION audit.note_balances() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_month date;
    v_cut xid8;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    PERFORM sec.refuse_read_only();
    -- The months since the first in which movements were taken up, one after the other.
    SELECT m.month INTO v_month FROM sec.months_with_balances() m
    WHERE NOT EXISTS (SELECT FROM audit.trees t WHERE t.tree = m.tree AND t.root IS NOT NULL)
    ORDER BY m.month LIMIT 1;
    IF v_month IS NULL THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (SELECT FROM audit.trees t WHERE t.tree = to_char(v_month, 'YYYYMM')::integer AND sec.cut_is_of_here(t.cut)) THEN
        v_cut := sec.cut('the cut is noted first thing in a transaction: CALL audit.seal()');
        INSERT INTO audit.trees AS t (tree, begun_at, cut, secret)
        VALUES (to_char(v_month, 'YYYYMM')::integer, clock_timestamp(), v_cut, sec.secret())
        ON CONFLICT (tree) DO UPDATE SET cut = excluded.cut, begun_at = excluded.begun_at;
    END IF;
    RETURN to_char(v_month, 'YYYYMM')::integer;
END
$$;
COMMENT ON FUNCTION audit.note_balances() IS
    E'The month, as yyyymm, whose balances are to be published next, and notes what has to end before that; NULL: none.\n'
    'Part of audit.seal().\n'
    'Level: operator.\n'
    'Errors: STATUS_CONFLICT.';
CREATE FUNCTION sec.secret() RETURNS bytea
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'secret_wrapper';
COMMENT ON FUNCTION sec.secret IS 'A secret: 32 random bytes of the server''s strong source. Internal.';
CREATE FUNCTION audit.balances_ready(p_tree integer) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    RETURN EXISTS (SELECT FROM audit.trees t WHERE t.tree = p_tree AND sec.cut_has_passed(t.cut));
END
$$;
COMMENT ON FUNCTION audit.balances_ready(integer) IS
    E'Whether every transaction has ended that could have posted in the month.\n'
    'Part of audit.seal().\n'
    'Level: operator.';
CREATE FUNCTION sec.balances_at(p_end timestamptz) RETURNS TABLE (card_no text, card_seq bigint, balance numeric)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH late AS (
        -- What was posted since and lies in an earlier month.
        SELECT t.card_id, t.card_seq, t.balance_after, t.tx_type, t.final_amount
        FROM app.late_postings l JOIN app.transactions t ON t.id = l.tx_id AND t.created_at = l.created_at
        WHERE l.posted_at >= p_end AND l.created_at < p_end),
    since AS (
        SELECT DISTINCT ON (x.card_id) x.card_id, x.card_seq - 1 AS card_seq,
               x.balance_after - CASE WHEN x.tx_type IN ('payment', 'withdrawal') THEN -x.final_amount ELSE x.final_amount END AS balance
        FROM (SELECT t.card_id, t.card_seq, t.balance_after, t.tx_type, t.final_amount FROM app.transactions t
              WHERE t.created_at >= p_end AND t.posted_at >= p_end
              UNION ALL SELECT l.* FROM late l) x
        ORDER BY x.card_id, x.card_seq),
    cards AS (
        SELECT c.id, c.card_no, c.card_seq, c.balance FROM app.personal_cards c
        UNION ALL SELECT c.id, c.card_no, c.card_seq, c.balance FROM app.enterprise_cards c)
    SELECT c.card_no, coalesce(s.card_seq, c.card_seq), coalesce(s.balance, c.balance)
    FROM cards c LEFT JOIN since s ON s.card_id = c.id
    WHERE coalesce(s.card_seq, c.card_seq) > 0
$$;
COMMENT ON FUNCTION sec.balances_at(timestamptz) IS
    'What each card that had moved by then held at the end of a month, and how many movements it had. Internal: audit.publish_balances().';
CREATE FUNCTION audit.publish_balances(p_tree integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET work_mem = '64MB' SET jit = off AS $$
DECLARE
    c_chunk constant integer := 256;
    v_end timestamptz;
    v_month text;
    v_secret bytea;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    PERFORM sec.refuse_shadows();
    PERFORM sec.refuse_read_only();
    SELECT to_char(m, 'YYYY-MM'), m + interval '1 month', t.secret INTO v_month, v_end, v_secret
    FROM audit.trees t, LATERAL (SELECT make_timestamptz(t.tree / 100, t.tree % 100, 1, 0, 0, 0, 'UTC') AS m) x
    WHERE t.tree = p_tree AND t.tree > 0 AND t.root IS NULL AND sec.cut_has_passed(t.cut)
      AND p_tree IN (SELECT b.tree FROM sec.months_with_balances() b);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    DELETE FROM audit.tree_chunks c WHERE c.tree = p_tree;
    DELETE FROM audit.tree_nodes n WHERE n.tree = p_tree;
    -- Ordered by what nobody can foresee: where a card stands says nothing about it.
    INSERT INTO audit.tree_chunks (tree, chunk_no, first_hash, labels)
    SELECT p_tree, z.chunk_no, substr(z.labels, 9, 32), z.labels
    FROM (
    SELECT x.place / c_chunk AS chunk_no, string_agg(int8send(x.cents) || x.hash, '' ORDER BY x.place) AS labels
    FROM (SELECT y.cents, y.hash, row_number() OVER (ORDER BY y.hash) - 1 AS place
          FROM (SELECT (b.balance * 100)::bigint AS cents,
                       sha256('\x00'::bytea || convert_to(format('["mps balance 1","%s","%s",%s,"%s","%s"]', v_month, b.card_no,
                                    b.card_seq, b.balance,
                                    encode(substr(sha256(v_secret || convert_to(b.card_no, 'UTF8')), 1, 16), 'hex')), 'UTF8')) AS hash
                FROM sec.balances_at(v_end) b) y) x
    GROUP BY x.place / c_chunk) z;
    RETURN sec.finish_tree(p_tree);
END
$$;
COMMENT ON FUNCTION audit.publish_balances(integer) IS
    E'Makes the tree of what every card held at the end of a month; returns of how many cards, NULL where that is done or too early.\n'
    'Part of audit.seal(): the next head publishes it.\n'
    'Level: operator.\n'
    'Errors: STATUS_CONFLICT.';
CREATE PROCEDURE audit.sign_heads()
    LANGUAGE plpgsql AS $$
DECLARE
    v_tree integer;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    IF NOT audit.receipts_are_on() THEN
        RETURN;
    END IF;
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    LOOP
        EXIT WHEN audit.grow_tree() OPERATOR(pg_catalog.=) 0;
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    END LOOP;
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    v_tree := audit.note_balances();
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF v_tree IS NOT NULL THEN
        -- At most three seconds for the transactions that were running; what they hold up is left to the next run.
        FOR v_try IN 1 .. 60 LOOP
            EXIT WHEN audit.balances_ready(v_tree);
            COMMIT;
            PERFORM pg_catalog.pg_sleep(0.05);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        END LOOP;
        PERFORM audit.publish_balances(v_tree);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    END IF;
    -- Whoever sees a head may rely on it: its commit is waited for, and so is all that came before.
    IF pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off' THEN
        SET LOCAL synchronous_commit = on;
    END IF;
    PERFORM audit.sign_head();
    COMMIT;
END
$$;
COMMENT ON PROCEDURE audit.sign_heads() IS
    E'Takes what is sealed into the trees, publishes the balances of the month that ended, and signs a head.\n'
    'The last part of audit.seal(); nothing where mps.seal_key_file is not set. Charges neither wait nor pay for it.\n'
    'Level: operator.\n'
    'Errors: STATUS_CONFLICT, SCHEMA_OUTDATED.';
CREATE FUNCTION sec.jobs_of_recharges() RETURNS TABLE (job text, schedule text, command text, every interval)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('expire_recharges', '*/10 * * * *', 'CALL app.expire_recharges()', interval '10 minutes')
$$;
COMMENT ON FUNCTION sec.jobs_of_recharges() IS 'The jobs of recharges. Internal: sec.jobs().';
CREATE FUNCTION sec.columns_of_recharges() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('backend', 'app.suspense_payments',
            'id, created_at, gateway_trade_no, tx_no, amount, payment_method, reason, payload, status, resolution, resolved_at, '
            'resolved_by, resolved_role, note, credited_tx_no, out_refund_no')
$$;
COMMENT ON FUNCTION sec.columns_of_recharges() IS 'What may be read of recharges. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.policies_of_recharges() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES -- Clients see nothing of it.
           ('app.suspense_payments', 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
            'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege')
$$;
COMMENT ON FUNCTION sec.policies_of_recharges() IS 'The policies of recharges. Internal: sec.policies().';
CREATE FUNCTION sec.descriptions_of_recharges() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.suspense_payments', 'id', 'For resolve_suspense.'),
           ('app.suspense_payments', 'created_at', 'When it was put there.'),
           ('app.suspense_payments', 'payment_method', 'wechat, alipay, cash.'),
           ('app.suspense_payments', 'resolved_at', 'When the last word was said.'),
           ('app.suspense_payments', 'resolved_by', 'The sub of the claims of who said it, if any.'),
           ('app.suspense_payments', 'resolved_role', 'The database role of who said it.'),
           ('app.suspense_payments', 'note', 'Why.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_recharges() IS 'What columns of recharges are. Internal: sec.describe_columns().';
CREATE FUNCTION sec.settings_of_recharges()
    RETURNS TABLE (place integer, setting text, kind text, fallback text, lowest text, highest text, choices text[], en text, zh text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (6, 'recharge_confirmation', 'choice', '''gateway''', NULL, NULL, ARRAY['gateway', 'trusted'],
            'gateway: a member''s recharge waits for confirm_recharge; trusted: it completes at once.',
            '会员充值是等待 confirm_recharge（gateway），还是立即到账（trusted）。'),
           (7, 'recharge_ttl_minutes', 'whole', '1440', '5', '43200', NULL,
            'After this, app.expire_recharges() cancels a recharge that nobody confirmed.',
            '超过该时长仍未确认的充值，由 app.expire_recharges() 取消。'),
           (9, 'max_pending_recharges', 'whole', '20', '1', '1000', NULL, 'How many recharges of one card may wait for their payment.',
            '每张卡最多有几笔充值等待确认。')
$$;
COMMENT ON FUNCTION sec.settings_of_recharges() IS 'The settings of recharges. Internal: sec.settings().';
CREATE FUNCTION sec.install_recharges() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.pending_recharges') IS NULL THEN
        CREATE TABLE app.pending_recharges (
            tx_id   bigint NOT NULL PRIMARY KEY,
            card_id uuid   NOT NULL
        );
        CREATE INDEX pending_recharges_card_id_idx ON app.pending_recharges (card_id);
        COMMENT ON TABLE app.pending_recharges IS
            'The recharges that wait for their payment, by card: what settings.max_pending_recharges bounds';
    END IF;
    IF to_regclass('app.asked_methods') IS NULL THEN
        CREATE TABLE app.asked_methods (
            tx_id          bigint         NOT NULL PRIMARY KEY,
            payment_method app.pay_method NOT NULL
        );
        COMMENT ON TABLE app.asked_methods IS
            'The recharges that were paid by another method than the one asked for, which payment_method has: whoever repeats the '
            'request is known by it';
    END IF;
    IF to_regclass('app.suspense_id_seq') IS NULL THEN
        CREATE SEQUENCE app.suspense_id_seq AS bigint;
        COMMENT ON SEQUENCE app.suspense_id_seq IS 'Ids of app.suspense_payments; may skip, never repeats';
    END IF;
    IF to_regclass('app.suspense_payments') IS NULL THEN
        CREATE TABLE app.suspense_payments (
            id               bigint         NOT NULL PRIMARY KEY,
            created_at       timestamptz    NOT NULL,
            gateway_trade_no text           NOT NULL UNIQUE,
            tx_no            text,
            amount           numeric(14,2)  NOT NULL CHECK (amount > 0),
            payment_method   app.pay_method NOT NULL,
            reason           text           NOT NULL,
            payload          jsonb          NOT NULL DEFAULT '{}',
            status           text           NOT NULL DEFAULT 'open'
                CHECK (status IN ('open', 'credited', 'refunding', 'refunded', 'written_off')),
            resolution       text,
            resolved_at      timestamptz,
            resolved_by      uuid,
            resolved_role    text,
            note             text,
            credited_tx_no   text,
            out_refund_no    text           UNIQUE,
            idempotency_keys jsonb          NOT NULL DEFAULT '{}',
            CHECK ((status = 'credited') = (credited_tx_no IS NOT NULL))
        );
        CREATE INDEX suspense_payments_open_idx ON app.suspense_payments (created_at) WHERE status IN ('open', 'refunding');
        COMMENT ON TABLE app.suspense_payments IS
            'Gateway money that came and could not be credited, until app.resolve_suspense() says what becomes of it';
        COMMENT ON COLUMN app.suspense_payments.gateway_trade_no IS 'The gateway''s number of the payment; each is here at most once.';
        COMMENT ON COLUMN app.suspense_payments.tx_no IS 'The recharge that it was paid for, if known.';
        COMMENT ON COLUMN app.suspense_payments.amount IS 'What the gateway has taken and not given back by itself, in currency units.';
        COMMENT ON COLUMN app.suspense_payments.reason IS
            'Why it was not credited: already_settled (the recharge has its money already); of callbacks amount_differs, order_unknown, '
            'order_ambiguous, archived, balance_limit, partly_refunded (amount is what is left), refunded; '
            'in_a_bill (app.resolve_recon_item() sends it back).';
        COMMENT ON COLUMN app.suspense_payments.payload IS 'What the gateway or the backend said of it.';
        COMMENT ON COLUMN app.suspense_payments.status IS
            'open; credited to a card; refunding (the gateway was asked); refunded; written_off.';
        COMMENT ON COLUMN app.suspense_payments.resolution IS
            'The last word of app.resolve_suspense(), by resolved_by under resolved_role at resolved_at, with its note.';
        COMMENT ON COLUMN app.suspense_payments.credited_tx_no IS 'The recharge that credited it.';
        COMMENT ON COLUMN app.suspense_payments.out_refund_no IS 'The number under which the gateway was asked to pay it back.';
        COMMENT ON COLUMN app.suspense_payments.idempotency_keys IS
            'Each key that a word came with, and what it was answered; the row is their scope.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_recharges() IS
    'Makes the tables of pending recharges, of methods that were asked for and of suspense, and the sequence of its ids, where they '
    'are missing. Internal: sec.install() calls it.';
CREATE OR REPLACE FUNCTION app.user_recharge_personal_card(p_personal_card_id uuid, p_amount numeric, p_payment_method text DEFAULT 'wechat',
    p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}', p_external_order_id text DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL, p_merchant_code text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'user_recharge_personal_card_wrapper';
COMMENT ON FUNCTION app.user_recharge_personal_card IS
    E'Recharges a personal card.\n'
    'By its owner, with wechat or alipay, it is recorded as processing and credits nothing until confirm_recharge; by a backend '
    '(also cash, also p_merchant_code, where it was taken) it completes at once. p_payment_method: wechat, alipay, cash (backends '
    'only). An order of the owner''s that was cancelled or failed may be asked for again.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (the recharge; CZ, year, month, running number), card_id, amount, status (processing until it is '
    'confirmed, then completed; failed, cancelled), created_at, replayed (whether this answers an earlier request again).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT, INVALID_PAYMENT_METHOD, CARD_NOT_FOUND, CARD_NOT_ACTIVE, CARD_EXPIRED, '
    'MEMBER_NOT_ACTIVE, BALANCE_LIMIT, TOO_MANY_PENDING, MERCHANT_NOT_FOUND, MERCHANT_INACTIVE, NOT_ALLOWED, NOT_AUTHENTICATED, '
    'IDEMPOTENCY_KEY_REUSED, EXTERNAL_ORDER_CONFLICT.';
CREATE OR REPLACE FUNCTION app.user_recharge_enterprise_card_admin(p_enterprise_card_id uuid, p_amount numeric,
    p_payment_method text DEFAULT 'wechat', p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}',
    p_external_order_id text DEFAULT NULL, p_idempotency_key text DEFAULT NULL, p_merchant_code text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'user_recharge_enterprise_card_admin_wrapper';
COMMENT ON FUNCTION app.user_recharge_enterprise_card_admin IS
    E'Recharges an enterprise card.\n'
    'By an admin of the card, with wechat or alipay, it is recorded as processing and credits nothing until confirm_recharge; by '
    'a backend (also cash, also p_merchant_code, where it was taken) it completes at once. p_payment_method: wechat, alipay, cash '
    '(backends only). An order of an admin''s that was cancelled or failed may be asked for again.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (the recharge; CZ, year, month, running number), card_id, amount, status (processing until it is '
    'confirmed, then completed; failed, cancelled), created_at, replayed (whether this answers an earlier request again).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT, INVALID_PAYMENT_METHOD, CARD_NOT_FOUND, NOT_CARD_ADMIN, CARD_NOT_ACTIVE, '
    'CARD_EXPIRED, MEMBER_NOT_ACTIVE, BALANCE_LIMIT, TOO_MANY_PENDING, MERCHANT_NOT_FOUND, MERCHANT_INACTIVE, NOT_ALLOWED, '
    'NOT_AUTHENTICATED, IDEMPOTENCY_KEY_REUSED, EXTERNAL_ORDER_CONFLICT.';
CREATE FUNCTION app.confirm_recharge(p_tx_no text, p_amount numeric, p_gateway_trade_no text, p_payload jsonb DEFAULT '{}',
    p_payment_method text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'confirm_recharge_v3_wrapper';
COMMENT ON FUNCTION app.confirm_recharge(text,numeric,text,jsonb,text) IS
    E'Credits a recharge that the gateway has captured.\n'
    'By a backend. Idempotent. p_amount is the order''s total, in currency units (yuan, not fen), and must be what was asked for: '
    'not what the payer paid after coupons of the gateway''s own. p_payment_method (wechat, alipay, cash) is what the payer '
    'really used, where that differs. Credits a cancelled or failed recharge too, because the gateway has the money. Another '
    'trade number for a recharge that is settled becomes a row of app.suspense_payments and answers status suspense; one that has '
    'credited another recharge is EXTERNAL_ORDER_CONFLICT. A recharge that was credited without a trade number (not cash) takes '
    'the first one of equal amount.\n'
    'Level: backend.\n'
    'Results: tx_id, tx_no (the recharge), card_id (the card that was credited), amount, status (completed, suspense), replayed '
    '(whether nothing had to be done any more).\n'
    'Errors: TX_NOT_FOUND, AMOUNT_MISMATCH (also in the server log), EXTERNAL_ORDER_CONFLICT, ARCHIVED, INVALID_AMOUNT, '
    'INVALID_PAYMENT_METHOD, INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE OR REPLACE FUNCTION app.fail_recharge(p_tx_no text, p_reason text)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'fail_recharge_wrapper';
COMMENT ON FUNCTION app.fail_recharge IS
    E'Marks a pending recharge as failed: the gateway declined it.\n'
    'By a backend.\n'
    'Level: backend.\n'
    'Results: tx_id, tx_no (the recharge), card_id, amount, status (failed), replayed (whether it had failed already).\n'
    'Errors: TX_NOT_FOUND, RECHARGE_NOT_PENDING, ARCHIVED, INVALID_ARGUMENT.';
CREATE FUNCTION app.resolve_suspense(p_suspense_id bigint, p_resolution text, p_note text, p_card_id uuid DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (suspense_id bigint, status text, gateway_trade_no text, amount numeric, tx_no text, out_refund_no text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'resolve_suspense_wrapper';
COMMENT ON FUNCTION app.resolve_suspense IS
    E'Says what becomes of gateway money in app.suspense_payments, once.\n'
    'By a backend. p_resolution: credited (a recharge of the card p_card_id; no limit stops it), refunded (refunding from now on; '
    'out_refund_no is what to send to the gateway), then refund_completed, or refund_failed, which opens it again; written_off '
    '(nothing more). The same again answers the first result with replayed = true.\n'
    'Level: backend.\n'
    'Results: suspense_id, status (open, credited, refunding, refunded, written_off), gateway_trade_no, amount, tx_no (of the '
    'recharge that credited it), out_refund_no (of the refund at the gateway), replayed (whether this answers an earlier request '
    'again).\n'
    'Errors: TX_NOT_FOUND (no such row), STATUS_CONFLICT, CARD_NOT_FOUND, CARD_NOT_ACTIVE (closed card), IDEMPOTENCY_KEY_REUSED, '
    'INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION sec.rules_of_recharges() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (110, ARRAY['suspense', 'pending'], 'books_suspense')
$$;
COMMENT ON FUNCTION sec.rules_of_recharges() IS 'What app.verify_books() checks of the recharges. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_suspense(p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH claimed AS (
        SELECT s.id, s.gateway_trade_no, s.amount, s.status, s.credited_tx_no, o.tx_id,
               CASE WHEN s.credited_tx_no ~ '^CZ[0-9]{10,15}$'
                    THEN substr(s.credited_tx_no, 3, 4)::bigint * 100000000000 + substr(s.credited_tx_no, 7)::bigint END AS credited_id
        FROM app.suspense_payments s
        LEFT JOIN app.external_orders o ON o.scope_no = 0 AND o.scope = 3 AND o.order_id = s.gateway_trade_no)
    SELECT 'suspense', format('row %s, trade number %L: %s', c.id, left(c.gateway_trade_no, 40), x.what)
    FROM claimed c
    LEFT JOIN app.transactions t ON t.id = c.credited_id AND t.tx_type = 'recharge' AND t.status = 'completed'
        AND t.created_at >= sec.month_of_id(c.credited_id) AND t.created_at < sec.month_of_id(c.credited_id) + interval '1 month'
    CROSS JOIN LATERAL (SELECT CASE
        WHEN c.tx_id IS NULL THEN 'is not claimed'
        WHEN c.status <> 'credited'
            THEN CASE WHEN c.tx_id <> -c.id THEN format('is %s, but its trade number belongs to %s', c.status, c.tx_id) END
        WHEN c.tx_id <> c.credited_id THEN format('was credited by %s, but its trade number belongs to %s', c.credited_tx_no, c.tx_id)
        WHEN c.credited_id / 100000000000 = ANY (p_archived) THEN NULL
        WHEN t.id IS NULL THEN format('was credited by %s, which is not there', c.credited_tx_no)
        WHEN t.gateway_trade_no IS DISTINCT FROM c.gateway_trade_no OR t.final_amount <> c.amount
            THEN format('was credited by %s, which says %s of %s', t.tx_no, t.final_amount, coalesce(t.gateway_trade_no, 'nothing'))
        END AS what) x
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'suspense', format('trade number %L belongs to row %s, which is not there', left(o.order_id, 40), -o.tx_id)
    FROM app.external_orders o
    WHERE o.tx_id < 0 AND NOT EXISTS (SELECT FROM app.suspense_payments s
        WHERE s.id = -o.tx_id AND s.gateway_trade_no = o.order_id AND o.scope = 3)
    UNION ALL
    SELECT 'pending', format('%s: %s', coalesce(t.tx_no, r.tx_id::text),
                             CASE WHEN r.tx_id IS NULL THEN 'waits, but is not counted'
                                  WHEN t.id IS NULL THEN 'is counted, but does not wait' ELSE 'is counted for another card' END)
    FROM app.pending_recharges r FULL JOIN (SELECT t.* FROM app.transactions t WHERE t.status = 'processing') t ON t.id = r.tx_id
    WHERE r.tx_id IS NULL OR t.id IS NULL OR r.card_id <> t.card_id
$rule$;
COMMENT ON FUNCTION sec.books_suspense(bigint[]) IS
    'Gateway money in suspense whose trade number is not its own, and recharges that wait and '
    'are not counted. Internal: sec.books_rules().';
CREATE OR REPLACE FUNCTION app.expire_recharges_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_recharges_batch_wrapper';
COMMENT ON FUNCTION app.expire_recharges_batch(text) IS
    E'One batch of app.expire_recharges(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.\n'
    'Level: operator.';
CREATE OR REPLACE PROCEDURE app.expire_recharges()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_after := app.expire_recharges_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.expire_recharges_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.expire_recharges() IS
    E'Cancels recharges that nobody confirmed within settings.recharge_ttl_minutes; a later confirmation credits them all the same.\n'
    'Level: operator.';
CREATE FUNCTION sec.refuse_old_claim() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The order of a recharge (2) is claimed by backends alone, and a trade number (3) is one whatever the method.
    IF NEW.scope = 3 OR NOT has_function_privilege(sec.caller_role()::name, 'sec.level_backend()', 'EXECUTE') THEN
        PERFORM sec.raise('SCHEMA_OUTDATED', 'this call began in the library of an earlier release');
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sec.refuse_old_claim() IS
    'Trigger: refuses an order or trade number that is claimed as before 0.3.0. Internal. Errors: SCHEMA_OUTDATED.';
CREATE FUNCTION sec.count_recharge() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.status = 'processing' THEN
        INSERT INTO app.pending_recharges (tx_id, card_id) VALUES (NEW.id, NEW.card_id) ON CONFLICT DO NOTHING;
    ELSIF TG_OP = 'UPDATE' THEN
        DELETE FROM app.pending_recharges r WHERE r.tx_id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.count_recharge() IS
    'Trigger: has app.pending_recharges say which recharges wait, for who writes app.transactions without saying so itself. Internal.';
CREATE FUNCTION sec.migrate_recharges() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.count_pending();
    -- Confirming a member's recharge claimed its order id for everybody; it is the card's alone.
    DELETE FROM app.external_orders o
    WHERE o.scope = 2 AND EXISTS (
        SELECT FROM app.external_orders m WHERE m.scope IN (4, 5) AND m.tx_id = o.tx_id AND m.order_id = o.order_id);
    IF (SELECT s.recharge_confirmation FROM app.settings s) = 'trusted' THEN
        -- So did the members' own recharges where they are trusted. Of an order that two methods were paid under the later one stays
        -- as it is.
        UPDATE app.external_orders o SET scope = m.scope, scope_no = m.scope_no
        FROM (SELECT DISTINCT ON (c.scope, c.scope_no, r.order_id) r.scope_no AS method, r.order_id, c.scope, c.scope_no
              FROM app.external_orders r JOIN app.transactions t ON t.id = r.tx_id
              JOIN (SELECT p.id, 4 AS scope, substr(p.card_no, 4)::bigint AS scope_no FROM app.personal_cards p
                    UNION ALL SELECT e.id, 5, substr(e.card_no, 4)::bigint FROM app.enterprise_cards e) c ON c.id = t.card_id
              WHERE r.scope = 2 AND t.tx_type = 'recharge' AND t.processed_by = t.member_id
              ORDER BY c.scope, c.scope_no, r.order_id, r.tx_id) m
        WHERE o.scope = 2 AND o.scope_no = m.method AND o.order_id = m.order_id
          AND NOT EXISTS (SELECT FROM app.external_orders x
                          WHERE x.scope = m.scope AND x.scope_no = m.scope_no AND x.order_id = m.order_id);
    END IF;
END
$$;
COMMENT ON FUNCTION sec.migrate_recharges() IS
    'The step to schema version 3 of what recharges claim: trade numbers, order ids, pending ones. Internal: sec.migrate_tables() '
    'calls it.';
CREATE FUNCTION sec.recharges_are_astray() RETURNS boolean
    -- In PL/pgSQL, because an older release has not all of these tables.
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM app.pending_recharges r
                   FULL JOIN (SELECT t.id, t.card_id FROM app.transactions t WHERE t.status = 'processing') t ON t.id = r.tx_id
                   WHERE r.card_id IS DISTINCT FROM t.card_id)
        OR EXISTS (SELECT FROM app.external_orders o
                   LEFT JOIN app.external_orders x ON x.scope_no = 0 AND x.scope = 3 AND x.order_id = o.order_id
                   WHERE o.scope_no IN (1, 2, 3) AND o.scope = 3 AND (x.tx_id IS NULL OR x.tx_id = o.tx_id));
END
$$;
COMMENT ON FUNCTION sec.recharges_are_astray() IS
    'Whether there is something for sec.mend_trade_numbers() or sec.count_pending() to do. Internal.';
CREATE FUNCTION sec.mend_trade_numbers() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A trade number is one whatever the method. Of two that were credited under one number the later one stays as it is, to be seen.
    DELETE FROM app.external_orders o
    WHERE o.scope = 3 AND o.scope_no IN (1, 2, 3)
      AND EXISTS (SELECT FROM app.external_orders x WHERE x.scope = 3 AND x.scope_no = 0 AND x.order_id = o.order_id AND x.tx_id = o.tx_id);
    UPDATE app.external_orders o SET scope_no = 0
    WHERE o.scope = 3 AND o.scope_no IN (1, 2, 3)
      AND NOT EXISTS (SELECT FROM app.external_orders x WHERE x.scope = 3 AND x.order_id = o.order_id AND x.scope_no <> o.scope_no
                        AND (x.scope_no = 0 OR (x.tx_id, x.scope_no) < (o.tx_id, o.scope_no)));
END
$$;
COMMENT ON FUNCTION sec.mend_trade_numbers() IS
    'Has trade numbers claimed as they are from 0.3.0 on. Internal: sec.wait_for_calls() calls it.';
CREATE FUNCTION sec.count_pending() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM app.pending_recharges r
    WHERE NOT EXISTS (SELECT FROM app.transactions t WHERE t.id = r.tx_id AND t.card_id = r.card_id AND t.status = 'processing');
    INSERT INTO app.pending_recharges (tx_id, card_id)
    SELECT t.id, t.card_id FROM app.transactions t WHERE t.status = 'processing' ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION sec.count_pending() IS
    'Has app.pending_recharges say which recharges wait. After sec.wait_for_calls(). Internal: sec.migrate_tables() calls it.';
CREATE FUNCTION sec.health_of_recharges() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- expire_recharges cancels what is due; between its runs something always is.
    c_recharge_grace constant interval := '1 hour';
    v record;
BEGIN
    SELECT count(*) AS recharges, min(t.created_at) AS oldest, (array_agg(t.tx_no ORDER BY t.created_at))[1:10] AS numbers INTO v
    FROM app.transactions t, app.settings s
    WHERE t.status = 'processing' AND t.created_at < now() - make_interval(mins => s.recharge_ttl_minutes);
    RETURN QUERY
        SELECT 'stale_recharges'::text,
               NOT coalesce((SELECT v.oldest < now() - make_interval(mins => s.recharge_ttl_minutes) - c_recharge_grace
                             FROM app.settings s), false),
               CASE WHEN v.recharges = 0 THEN 'none'
                    ELSE format('%s older than settings.recharge_ttl_minutes: %s', v.recharges, array_to_string(v.numbers, ', ')) END;

    SELECT count(*) AS rows, coalesce(sum(s.amount), 0.00) AS total, min(s.created_at) AS oldest,
           (array_agg(format('%s (%s %s, %s)', s.id, s.amount, s.payment_method, s.status) ORDER BY s.created_at))[1:10] AS items INTO v
    FROM app.suspense_payments s WHERE s.status IN ('open', 'refunding');
    RETURN QUERY SELECT 'suspense'::text, v.rows = 0,
                        CASE WHEN v.rows = 0 THEN 'none'
                             ELSE format('%s payments, %s, the oldest %s old; rows of app.suspense_payments, '
                                         'for app.resolve_suspense(): %s',
                                         v.rows, v.total, date_trunc('second', greatest(clock_timestamp() - v.oldest, interval '0')),
                                         array_to_string(v.items, ', ')) END;
END
$$;
COMMENT ON FUNCTION sec.health_of_recharges() IS 'What app.health() says of recharges. Internal: sec.health_rows().';
CREATE FUNCTION sec.sequences_of_recharges() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.suspense_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.suspense_id_seq q),
           (SELECT max(s.id) FROM app.suspense_payments s)
$$;
COMMENT ON FUNCTION sec.sequences_of_recharges() IS
    'The sequences of recharges: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
CREATE FUNCTION sec.logged_of_recharges() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('recharge.requested', ARRAY['card_no', 'amount', 'method']), ('recharge.confirmed', ARRAY['gateway_trade_no', 'was']),
           ('recharge.failed', ARRAY['reason']), ('recharge.cancelled', '{}'),
           ('suspense.opened', ARRAY['gateway_trade_no', 'amount', 'method', 'why']), ('suspense.resolved', ARRAY['status']),
           ('suspense.reduced', ARRAY['amount'])
$$;
COMMENT ON FUNCTION sec.logged_of_recharges() IS 'The events of recharges. Internal: sec.logged_actions().';
CREATE FUNCTION sec.rebuilds_of_recharges() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (140, 'rebuild_waiting'), (150, 'rebuild_suspense')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_recharges() IS 'The steps of recharges. Internal: sec.rebuild_steps().';
CREATE FUNCTION sec.logged_trades() RETURNS TABLE (tx_no text, gateway_trade_no text, method text)
    LANGUAGE sql STABLE AS $rule$
    SELECT e.object_id, e.context ->> 'gateway_trade_no', e.context ->> 'method'
    FROM audit.event_log e WHERE e.action = 'recharge.confirmed'
    UNION ALL
    -- One that a confirmation took out of suspense names no trade number: the confirmation does.
    SELECT e.context ->> 'tx_no', e.context ->> 'gateway_trade_no', NULL FROM audit.event_log e
    WHERE e.action = 'suspense.resolved' AND e.context ->> 'status' = 'credited' AND e.context ? 'gateway_trade_no'
$rule$;
COMMENT ON FUNCTION sec.logged_trades() IS
    'The recharges that have a gateway''s trade number, and how the payer paid, where the gateway said so. Internal: '
    'app.rebuild_from_log().';
CREATE FUNCTION sec.logged_ends() RETURNS TABLE (tx_no text, status text, failure_reason text)
    LANGUAGE sql STABLE AS $rule$
    SELECT e.object_id, CASE e.action WHEN 'recharge.failed' THEN 'failed' ELSE 'cancelled' END,
           CASE e.action WHEN 'recharge.failed' THEN e.context ->> 'reason' ELSE 'not confirmed in time' END
    FROM audit.event_log e WHERE e.action IN ('recharge.failed', 'recharge.cancelled')
$rule$;
COMMENT ON FUNCTION sec.logged_ends() IS
    'The recharges that failed or were cancelled, and why, also of those that were paid after all. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.rebuild_waiting() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.transactions (id, created_at, tx_type, status, card_type, payment_method, card_id, member_id, processed_by, raw_amount,
                                  final_amount, tx_no, failure_reason)
    SELECT sec.id_of_number(e.object_id), e.happened_at, 'recharge',
           coalesce(d.status, 'processing')::app.tx_status, c.card_type::app.card_type, (e.context ->> 'method')::app.pay_method, c.id,
           coalesce(c.member_id, e.actor_user_id), e.actor_user_id, (e.context ->> 'amount')::numeric, (e.context ->> 'amount')::numeric,
           e.object_id, d.failure_reason
    FROM audit.event_log e
    JOIN sec.logged_cards() c ON c.card_no = e.context ->> 'card_no'
    LEFT JOIN sec.logged_ends() d ON d.tx_no = e.object_id
    WHERE e.action = 'recharge.requested'
      AND NOT EXISTS (SELECT FROM audit.event_log m WHERE m.action = 'recharge' AND m.object_id = e.object_id);
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'recharges that were not credited';
    -- Where no trigger has counted them.
    INSERT INTO app.pending_recharges (tx_id, card_id)
    SELECT t.id, t.card_id FROM app.transactions t WHERE t.status = 'processing' ON CONFLICT DO NOTHING;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_waiting() IS
    'Recharges that wait, failed or were cancelled. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.rebuild_suspense() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.suspense_payments (id, created_at, gateway_trade_no, tx_no, amount, payment_method, reason, payload, status, resolution,
                                       resolved_at, resolved_by, resolved_role, note, credited_tx_no, out_refund_no)
    SELECT e.object_id::bigint, e.happened_at, e.context ->> 'gateway_trade_no', e.context ->> 'tx_no',
           coalesce(l.amount, e.context ->> 'amount')::numeric,
           (e.context ->> 'method')::app.pay_method, e.context ->> 'why', coalesce(e.context -> 'payload', '{}'),
           coalesce(r.context ->> 'status', 'open'),
           -- Of a confirmation, which says no more.
           CASE WHEN r.context IS NOT NULL THEN coalesce(r.context ->> 'resolution', 'credited') END, r.happened_at, r.actor_user_id,
           r.actor_role, CASE WHEN r.context IS NOT NULL THEN coalesce(r.context ->> 'note', 'confirmed') END, r.context ->> 'tx_no',
           o.number
    FROM audit.event_log e
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.* FROM audit.event_log x WHERE x.action = 'suspense.resolved'
               ORDER BY x.object_id, x.id DESC) r ON r.object_id = e.object_id
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context ->> 'out_refund_no' AS number FROM audit.event_log x
               WHERE x.action = 'suspense.resolved' AND x.context ->> 'out_refund_no' IS NOT NULL
               ORDER BY x.object_id, x.id DESC) o ON o.object_id = e.object_id
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context ->> 'amount' AS amount FROM audit.event_log x
               WHERE x.action = 'suspense.reduced' ORDER BY x.object_id, x.id DESC) l ON l.object_id = e.object_id
    WHERE e.action = 'suspense.opened';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'payments in suspense';
    RETURN NEXT;

    INSERT INTO app.asked_methods (tx_id, payment_method)
    SELECT sec.id_of_number(e.object_id), (e.context ->> 'asked_method')::app.pay_method
    FROM audit.event_log e WHERE e.action = 'recharge.confirmed' AND e.context ? 'asked_method';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'recharges that were paid otherwise than asked for';
    RETURN NEXT;

    -- So that what a gateway tells once more is not credited once more.
    INSERT INTO app.external_orders (scope_no, tx_id, scope, order_id)
    SELECT 0, t.id, 3, t.gateway_trade_no FROM app.transactions t WHERE t.gateway_trade_no IS NOT NULL
    UNION ALL
    SELECT 0, -s.id, 3, s.gateway_trade_no FROM app.suspense_payments s WHERE s.status <> 'credited';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'trade numbers';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_suspense() IS
    'Money in suspense, methods that were asked for, and what every trade number of a gateway belongs to. Internal: '
    'app.rebuild_from_log().';
CREATE FUNCTION sec.columns_of_reconciliation() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('backend', 'app.gateway_bills',
            'id, imported_at, replaced_at, account, bill_date, kind, lines, payments, payment_total, payment_settled, refunds, '
            'refund_total, refund_settled, fee_total, incoming, incoming_total, outgoing, outgoing_total, sha256, warnings'),
           ('backend', 'app.gateway_bill_files', 'bill_id, content'),
           ('backend', 'app.gateway_bill_lines',
            'bill_id, line, at, owner, amount, settled, fee, is_copy, entry, trade_no, order_no, refund_no, out_refund_no, state, '
            'refund_state'),
           ('backend', 'app.recon_days',
            'account, bill_date, reconciled_at, closed_at, closed_by, closed_role, reopened_at, matched_payments, matched_payment_total, '
            'matched_refunds, matched_refund_total, book_payments, book_payment_total, book_refunds, book_refund_total, callbacks, '
            'callback_total'),
           ('backend', 'app.recon_items',
            'id, first_seen, last_seen, account, bill_date, entry, class, ref, tx_no, trade_no, order_no, refund_no, book_amount, '
            'bill_amount, status, resolution, resolved_at, resolved_by, resolved_role, note, result_tx_no, suspense_id, receivable, '
            'uncovered, source_tx_no'),
           ('backend', 'app.v_recon_days', NULL)
$$;
COMMENT ON FUNCTION sec.columns_of_reconciliation() IS
    'What may be read of bills and reconciliation. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.policies_of_reconciliation() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Clients see nothing of it.
    SELECT t.tab, 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
           'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege'
    FROM (VALUES ('app.gateway_bills'), ('app.gateway_bill_files'), ('app.gateway_bill_lines'), ('app.recon_days'), ('app.recon_items'))
         t (tab)
$$;
COMMENT ON FUNCTION sec.policies_of_reconciliation() IS 'The policies of bills and reconciliation. Internal: sec.policies().';
CREATE FUNCTION sec.descriptions_of_reconciliation() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.gateway_bills', 'id', 'Of the bill; a corrected one has another.'),
           ('app.gateway_bills', 'imported_at', 'When it was imported.'),
           ('app.gateway_bills', 'replaced_at', 'When another of the same day and kind took its place; NULL: it counts.'),
           ('app.gateway_bills', 'account', 'The account that it is of.'),
           ('app.gateway_bills', 'bill_date', 'The gateway''s day, in Shanghai.'),
           ('app.gateway_bills', 'kind', 'trade: payments and refunds; fundflow: every movement of the account with the gateway.'),
           ('app.gateway_bills', 'lines', 'How many lines it has.'),
           ('app.gateway_bills', 'payments', 'How many payments.'),
           ('app.gateway_bills', 'payment_total', 'What was ordered, in currency units.'),
           ('app.gateway_bills', 'payment_settled', 'What the gateway settles of it.'),
           ('app.gateway_bills', 'refunds', 'How many refunds.'),
           ('app.gateway_bills', 'refund_total', 'What was given back, positive.'),
           ('app.gateway_bills', 'refund_settled', 'What the account pays of it.'),
           ('app.gateway_bills', 'fee_total', 'What the gateway takes for its service, less what it gives back of that.'),
           ('app.gateway_bills', 'incoming', 'Of a fundflow: how many movements in.'),
           ('app.gateway_bills', 'incoming_total', 'Their sum.'),
           ('app.gateway_bills', 'outgoing', 'Of a fundflow: how many movements out.'),
           ('app.gateway_bills', 'outgoing_total', 'Their sum, positive.'),
           ('app.gateway_bills', 'sha256', 'Of the file.'),
           ('app.gateway_bills', 'warnings', 'What is odd in it, as texts.'),
           ('app.gateway_bill_files', 'bill_id', 'The bill.'),
           ('app.gateway_bill_files', 'content', 'The file, byte for byte.'),
           ('app.gateway_bill_lines', 'bill_id', 'The bill.'),
           ('app.gateway_bill_lines', 'line', 'The line of the unzipped file, from 1.'),
           ('app.gateway_bill_lines', 'at', 'When it was paid, or the refund accepted.'),
           ('app.gateway_bill_lines', 'owner',
            'What the trade number belonged to when that was asked last: the id of a recharge, or with a minus of a row in suspense.'),
           ('app.gateway_bill_lines', 'amount', 'The order''s amount, or what was refunded; never negative.'),
           ('app.gateway_bill_lines', 'settled', 'What the gateway settles of it.'),
           ('app.gateway_bill_lines', 'fee', 'For the gateway''s service; negative where it is given back.'),
           ('app.gateway_bill_lines', 'is_copy', 'Whether the payment is in an earlier line or bill already.'),
           ('app.gateway_bill_lines', 'entry', 'payment, refund, other.'),
           ('app.gateway_bill_lines', 'trade_no', 'The gateway''s number of the payment.'),
           ('app.gateway_bill_lines', 'order_no', 'The order''s number, which the shop had sent.'),
           ('app.gateway_bill_lines', 'refund_no', 'The gateway''s number of the refund.'),
           ('app.gateway_bill_lines', 'out_refund_no', 'The refund''s number, which the shop had sent.'),
           ('app.gateway_bill_lines', 'state', 'As the file has it.'),
           ('app.gateway_bill_lines', 'refund_state', 'As the file has it, when it was made.'),
           ('app.recon_days', 'account', 'The account.'),
           ('app.recon_days', 'bill_date', 'The gateway''s day, in Shanghai.'),
           ('app.recon_days', 'reconciled_at', 'When app.reconcile() looked last; NULL: not since the bill that counts.'),
           ('app.recon_days', 'closed_at', 'When it was closed; NULL: it is not.'),
           ('app.recon_days', 'closed_by', 'The sub of the claims of who closed it, if any.'),
           ('app.recon_days', 'closed_role', 'The database role of who closed it.'),
           ('app.recon_days', 'reopened_at', 'When a new bill opened it again, the last time.'),
           ('app.recon_days', 'matched_payments', 'Payments that bill and books have alike.'),
           ('app.recon_days', 'matched_payment_total', 'Their sum.'),
           ('app.recon_days', 'matched_refunds', 'Refunds that bill and books have alike.'),
           ('app.recon_days', 'matched_refund_total', 'Their sum.'),
           ('app.recon_days', 'book_payments', 'Payments of that day that the books have.'),
           ('app.recon_days', 'book_payment_total', 'Their sum.'),
           ('app.recon_days', 'book_refunds', 'Refunds that ended a row of suspense, or were a withdrawal''s, that day.'),
           ('app.recon_days', 'book_refund_total', 'Their sum.'),
           ('app.recon_days', 'callbacks', 'Payments of that day that callbacks told of.'),
           ('app.recon_days', 'callback_total', 'Their sum.')
    UNION ALL SELECT * FROM sec.descriptions_of_recon_items()
$$;
COMMENT ON FUNCTION sec.descriptions_of_reconciliation() IS
    'What columns of bills and reconciliation are. Internal: sec.describe_columns().';
CREATE FUNCTION sec.descriptions_of_recon_items() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.recon_items', 'id', 'For app.resolve_recon_item().'),
           ('app.recon_items', 'first_seen', 'When app.reconcile() found it first.'),
           ('app.recon_items', 'last_seen', 'When app.reconcile() found it last.'),
           ('app.recon_items', 'account', 'The account.'),
           ('app.recon_items', 'bill_date', 'The gateway''s day, in Shanghai.'),
           ('app.recon_items', 'entry', 'What differs: payment, refund, fee.'),
           ('app.recon_items', 'class',
            'status_differs, only_in_bill, only_in_books, amount_differs, fee_differs, duplicate, timing (of a neighbouring day).'),
           ('app.recon_items', 'ref', 'What tells it from the others of its day.'),
           ('app.recon_items', 'tx_no', 'The recharge, where one is known.'),
           ('app.recon_items', 'trade_no', 'The gateway''s number of the payment.'),
           ('app.recon_items', 'order_no', 'The order''s number, which the shop had sent.'),
           ('app.recon_items', 'refund_no', 'The number of the refund that the shop had sent, else the gateway''s.'),
           ('app.recon_items', 'book_amount', 'By the books; of a fee, what the account''s rate makes of it.'),
           ('app.recon_items', 'bill_amount', 'By the bill.'),
           ('app.recon_items', 'status', 'open, resolved.'),
           ('app.recon_items', 'resolution', 'credit, debit, refund, write_off, explained; settled: by itself.'),
           ('app.recon_items', 'resolved_at', 'When that was said.'),
           ('app.recon_items', 'resolved_by', 'The sub of the claims of who said it, if any.'),
           ('app.recon_items', 'resolved_role', 'The database role of who said it.'),
           ('app.recon_items', 'note', 'Why.'),
           ('app.recon_items', 'result_tx_no', 'What it moved: a recharge, or the adjustment that took money back.'),
           ('app.recon_items', 'suspense_id', 'The row of app.suspense_payments that has the money.'),
           ('app.recon_items', 'receivable', 'What is still owed by who had the money back, where the card did not cover it.'),
           ('app.recon_items', 'uncovered', 'The same, also once it was written off: the money is gone, and cannot be withdrawn.'),
           ('app.recon_items', 'source_tx_no', 'What debit took, or could not take, back: a recharge, or what gave a refund back.'),
           ('app.v_recon_days', 'account', 'The account.'),
           ('app.v_recon_days', 'bill_date', 'The gateway''s day, in Shanghai.'),
           ('app.v_recon_days', 'reconciled_at', 'When app.reconcile() looked last.'),
           ('app.v_recon_days', 'closed_at', 'When it was closed; NULL: it is not.'),
           ('app.v_recon_days', 'reopened_at', 'When a new bill, or a difference, opened it again, the last time.'),
           ('app.v_recon_days', 'bill_payments', 'Payments of the bill; NULL: there is none.'),
           ('app.v_recon_days', 'bill_payment_total', 'Their sum, in currency units.'),
           ('app.v_recon_days', 'bill_refunds', 'Refunds of the bill.'),
           ('app.v_recon_days', 'bill_refund_total', 'Their sum, positive.'),
           ('app.v_recon_days', 'book_payments', 'Payments of that day that the books have.'),
           ('app.v_recon_days', 'book_payment_total', 'Their sum.'),
           ('app.v_recon_days', 'book_refunds', 'Refunds that ended a row of suspense, or were a withdrawal''s, that day.'),
           ('app.v_recon_days', 'book_refund_total', 'Their sum.'),
           ('app.v_recon_days', 'callbacks', 'Payments of that day that callbacks told of.'),
           ('app.v_recon_days', 'callback_total', 'Their sum.'),
           ('app.v_recon_days', 'matched_payments', 'Payments that bill and books have alike.'),
           ('app.v_recon_days', 'matched_payment_total', 'Their sum.'),
           ('app.v_recon_days', 'matched_refunds', 'Refunds that bill and books have alike.'),
           ('app.v_recon_days', 'matched_refund_total', 'Their sum.'),
           ('app.v_recon_days', 'open_items', 'Differences that nobody has resolved.'),
           ('app.v_recon_days', 'receivables', 'What members still owe for what was taken back.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_recon_items() IS
    'What columns of differences are. Internal: sec.descriptions_of_reconciliation().';
CREATE FUNCTION sec.sequences_of_reconciliation() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.gateway_bill_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.gateway_bill_id_seq q),
           (SELECT max(b.id) FROM app.gateway_bills b)
    UNION ALL
    SELECT 'app.recon_item_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.recon_item_id_seq q),
           (SELECT max(i.id) FROM app.recon_items i)
$$;
COMMENT ON FUNCTION sec.sequences_of_reconciliation() IS
    'The sequences of bills and differences: the number that each gave last, and the greatest that a table has. Internal: '
    'sec.sequence_states().';
CREATE FUNCTION sec.install_reconciliation() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.gateway_bill_id_seq') IS NULL THEN
        CREATE SEQUENCE app.gateway_bill_id_seq AS bigint;
        COMMENT ON SEQUENCE app.gateway_bill_id_seq IS 'Ids of app.gateway_bills; may skip, never repeats';
    END IF;
    IF to_regclass('app.gateway_bills') IS NULL THEN
        CREATE TABLE app.gateway_bills (
            id              bigint        NOT NULL PRIMARY KEY,
            imported_at     timestamptz   NOT NULL,
            replaced_at     timestamptz,
            account         text          NOT NULL REFERENCES app.gateway_accounts,
            bill_date       date          NOT NULL,
            kind            text          NOT NULL CHECK (kind IN ('trade', 'fundflow')),
            lines           bigint        NOT NULL,
            payments        bigint        NOT NULL,
            payment_total   numeric(20,2) NOT NULL,
            payment_settled numeric(20,2) NOT NULL,
            refunds         bigint        NOT NULL,
            refund_total    numeric(20,2) NOT NULL,
            refund_settled  numeric(20,2) NOT NULL,
            fee_total       numeric(20,5) NOT NULL,
            incoming        bigint        NOT NULL,
            incoming_total  numeric(20,2) NOT NULL,
            outgoing        bigint        NOT NULL,
            outgoing_total  numeric(20,2) NOT NULL,
            sha256          bytea         NOT NULL,
            warnings        jsonb         NOT NULL DEFAULT '[]'
        );
        CREATE UNIQUE INDEX gateway_bills_current_idx ON app.gateway_bills (account, bill_date, kind) WHERE replaced_at IS NULL;
        COMMENT ON TABLE app.gateway_bills IS
            'The bills of payment gateways that were imported; of a day and kind one counts, and those before it are kept';
    END IF;
    IF to_regclass('app.gateway_bill_files') IS NULL THEN
        CREATE TABLE app.gateway_bill_files (
            bill_id bigint NOT NULL PRIMARY KEY REFERENCES app.gateway_bills,
            content bytea  NOT NULL
        );
        -- Most are packed already.
        ALTER TABLE app.gateway_bill_files ALTER COLUMN content SET STORAGE EXTERNAL;
        COMMENT ON TABLE app.gateway_bill_files IS 'The files of app.gateway_bills, as they were downloaded';
    END IF;
    IF to_regclass('app.gateway_bill_lines') IS NULL THEN
        CREATE TABLE app.gateway_bill_lines (
            bill_id       bigint        NOT NULL,
            line          bigint        NOT NULL,
            at            timestamptz   NOT NULL,
            owner         bigint,
            amount        numeric(14,2) NOT NULL,
            settled       numeric(14,2) NOT NULL,
            fee           numeric(20,5),
            is_copy       boolean       NOT NULL,
            entry         text          NOT NULL,
            trade_no      text          NOT NULL,
            order_no      text,
            refund_no     text,
            out_refund_no text,
            state         text,
            refund_state  text,
            PRIMARY KEY (bill_id, line)
        );
        CREATE INDEX gateway_bill_lines_trade_no_idx ON app.gateway_bill_lines (trade_no);
        CREATE INDEX gateway_bill_lines_order_no_idx ON app.gateway_bill_lines (order_no) WHERE owner IS NULL;
        CREATE INDEX gateway_bill_lines_out_refund_no_idx ON app.gateway_bill_lines (out_refund_no) WHERE out_refund_no IS NOT NULL;
        COMMENT ON TABLE app.gateway_bill_lines IS 'The payments and refunds of the trade bills that count, a row for each line';
    END IF;
    IF to_regclass('app.recon_days') IS NULL THEN
        CREATE TABLE app.recon_days (
            account               text          NOT NULL REFERENCES app.gateway_accounts,
            bill_date             date          NOT NULL,
            reconciled_at         timestamptz,
            closed_at             timestamptz,
            closed_by             uuid,
            closed_role           text,
            reopened_at           timestamptz,
            matched_payments      bigint        NOT NULL DEFAULT 0,
            matched_payment_total numeric(20,2) NOT NULL DEFAULT 0,
            matched_refunds       bigint        NOT NULL DEFAULT 0,
            matched_refund_total  numeric(20,2) NOT NULL DEFAULT 0,
            book_payments         bigint        NOT NULL DEFAULT 0,
            book_payment_total    numeric(20,2) NOT NULL DEFAULT 0,
            book_refunds          bigint        NOT NULL DEFAULT 0,
            book_refund_total     numeric(20,2) NOT NULL DEFAULT 0,
            callbacks             bigint        NOT NULL DEFAULT 0,
            callback_total        numeric(20,2) NOT NULL DEFAULT 0,
            PRIMARY KEY (account, bill_date)
        );
        CREATE INDEX recon_days_reopened_idx ON app.recon_days (bill_date) WHERE reopened_at IS NOT NULL AND closed_at IS NULL;
        COMMENT ON TABLE app.recon_days IS
            'Days of accounts at payment gateways: as app.reconcile() found them last, and whether they are closed';
    END IF;
    PERFORM sec.install_recon_items();
END
$install$;
COMMENT ON FUNCTION sec.install_reconciliation() IS
    'Makes the tables of bills and reconciliation, where they are missing. Internal: sec.install() calls it.';
CREATE FUNCTION sec.install_recon_items() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.recon_item_id_seq') IS NULL THEN
        CREATE SEQUENCE app.recon_item_id_seq AS bigint;
        COMMENT ON SEQUENCE app.recon_item_id_seq IS 'Ids of app.recon_items; may skip, never repeats';
    END IF;
    IF to_regclass('app.recon_items') IS NULL THEN
        CREATE TABLE app.recon_items (
            id            bigint        NOT NULL PRIMARY KEY DEFAULT nextval('app.recon_item_id_seq'),
            first_seen    timestamptz   NOT NULL,
            last_seen     timestamptz   NOT NULL,
            account       text          NOT NULL REFERENCES app.gateway_accounts,
            bill_date     date          NOT NULL,
            entry         text          NOT NULL CHECK (entry IN ('payment', 'refund', 'fee')),
            class         text          NOT NULL CHECK (class IN ('status_differs', 'only_in_bill', 'only_in_books', 'amount_differs',
                                                                  'fee_differs', 'duplicate', 'timing')),
            ref           text          NOT NULL,
            tx_no         text,
            trade_no      text,
            order_no      text,
            refund_no     text,
            book_amount   numeric(14,2),
            bill_amount   numeric(14,2),
            status        text          NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'resolved')),
            resolution    text          CHECK (resolution IN ('credit', 'debit', 'refund', 'write_off', 'explained', 'settled')),
            resolved_at   timestamptz,
            resolved_by   uuid,
            resolved_role text,
            note          text,
            result_tx_no  text,
            suspense_id   bigint,
            receivable    numeric(14,2) NOT NULL DEFAULT 0 CHECK (receivable >= 0),
            uncovered     numeric(14,2) NOT NULL DEFAULT 0 CHECK (uncovered >= receivable),
            source_tx_no  text,
            UNIQUE (account, bill_date, entry, ref),
            CHECK ((status = 'resolved') = (resolution IS NOT NULL))
        );
        CREATE INDEX recon_items_open_idx ON app.recon_items (account, bill_date) WHERE status = 'open';
        CREATE INDEX recon_items_trade_no_idx ON app.recon_items (trade_no);
        CREATE INDEX recon_items_result_idx ON app.recon_items (result_tx_no) WHERE result_tx_no IS NOT NULL;
        CREATE INDEX recon_items_source_tx_no_idx ON app.recon_items (source_tx_no) WHERE uncovered > 0;
        CREATE INDEX recon_items_receivable_idx ON app.recon_items (account) WHERE receivable > 0;
        COMMENT ON TABLE app.recon_items IS
            'Where bill, callbacks and books of a day differ, until app.resolve_recon_item() says what becomes of it, or it is so no more';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_recon_items() IS
    'Makes the table of differences and the sequence of its ids, where they are missing. Internal: sec.install_reconciliation() calls it.';
CREATE FUNCTION app.import_bill(p_account text, p_bill_date date, p_kind text, p_content bytea)
    RETURNS TABLE (bill_id bigint, lines bigint, payments bigint, payment_total numeric, refunds bigint, refund_total numeric,
        fee_total numeric, replaced boolean, replayed boolean, warnings text[])
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'import_bill_wrapper';
COMMENT ON FUNCTION app.import_bill IS
    E'Imports the file in which a payment gateway says what it did in a day.\n'
    'By a backend. p_bill_date: the gateway''s day, in Shanghai. p_kind: trade, fundflow. p_content: the file as it was downloaded: CSV of '
    'WeChat Pay, also gzip; ZIP or CSV of Alipay, in UTF-8, GBK or GB18030. Of a past day without any, the gateway''s answer '
    'NO_STATEMENT_EXIST or isp.bill_not_exist. Unless its own totals are those of its lines, nothing is imported. The same file again '
    'changes nothing; another one of the same day replaces the former, which is kept, and opens a closed day again. At most 2 GiB '
    'unzipped.\n'
    'Level: backend.\n'
    'Results: bill_id, lines, payments, payment_total, refunds, refund_total, fee_total (currency units, to the hundred-thousandth), '
    'replaced (whether there was another one), replayed (whether this file is there already), warnings (what is odd in it).\n'
    'Errors: BILL_INVALID (the detail names the line and why), GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION app.reconcile(p_account text, p_bill_date date)
    RETURNS TABLE (class text, items bigint, amount numeric)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'reconcile_wrapper';
COMMENT ON FUNCTION app.reconcile IS
    E'Compares a day''s trade bill with the books and with the callbacks, and writes down what differs in app.recon_items.\n'
    'By a backend, as often as wanted: what is not so any more settles itself. A difference that a closed day turns out to have opens it '
    'again.\n'
    'Level: backend.\n'
    'Results: class (matched; status_differs: the bill says paid, the recharge is pending or failed; only_in_bill; only_in_books; '
    'amount_differs; fee_differs; duplicate; timing: of a neighbouring day), items (how many of it, also those that are resolved), amount '
    '(their sum by the bill, else by the books).\n'
    'Errors: RECON_CONFLICT (the day has no trade bill), GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION app.resolve_recon_item(p_id bigint, p_resolution text, p_note text)
    RETURNS TABLE (id bigint, status text, resolution text, tx_no text, suspense_id bigint, out_refund_no text, receivable numeric,
        replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'resolve_recon_item_wrapper';
COMMENT ON FUNCTION app.resolve_recon_item IS
    E'Says what becomes of a difference in app.recon_items, once.\n'
    'By a backend. p_resolution: credit (the payment of the bill goes to its recharge as if its callback came now, or into suspense), '
    'debit (a recharge whose money is not there, or went back, is taken back from its card; what that does not cover is a receivable, and '
    'debit again takes more of it), refund (the payment of the bill is sent back: out_refund_no is what to send to the gateway), '
    'write_off, explained (nothing moves). The same again answers replayed = true; write_off ends a receivable.\n'
    'Level: backend.\n'
    'Results: id, status (resolved), resolution, tx_no (what was moved: the recharge, or the adjustment), suspense_id (the row that has '
    'the money), out_refund_no, receivable (what is still owed), replayed.\n'
    'Errors: RECON_CONFLICT (no such item, another word was said, or this word moves nothing here), INVALID_ARGUMENT, NOT_ALLOWED, '
    'STATUS_CONFLICT.';
CREATE FUNCTION app.close_recon_day(p_account text, p_bill_date date)
    RETURNS TABLE (account text, bill_date date, closed_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'close_recon_day_wrapper';
COMMENT ON FUNCTION app.close_recon_day IS
    E'Closes a day of an account at a payment gateway: it has its bill, and nothing of it is open.\n'
    'By a backend. Reconciles it first. A later bill of the day opens it again.\n'
    'Level: backend.\n'
    'Results: account, bill_date, closed_at, replayed (whether it was closed already).\n'
    'Errors: RECON_CONFLICT (no bill, or something is open), GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION sec.recon_day(p_at timestamptz) RETURNS date
    -- Both gateways live in +08:00 the whole year.
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (p_at AT TIME ZONE 'UTC' + interval '8 hours')::date
$$;
COMMENT ON FUNCTION sec.recon_day(timestamptz) IS 'The gateways'' day that a moment lies in. Internal.';
CREATE FUNCTION sec.recon_day_start(p_day date) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (p_day - interval '8 hours') AT TIME ZONE 'UTC'
$$;
COMMENT ON FUNCTION sec.recon_day_start(date) IS 'The first moment of a gateways'' day. Internal.';
CREATE FUNCTION sec.is_told(p_trade_no text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM app.gateway_events e WHERE e.trade_no = p_trade_no AND e.kind = 'payment' AND e.happened_at IS NOT NULL)
$$;
COMMENT ON FUNCTION sec.is_told(text) IS 'Whether a callback has told of a payment, and when it was made. Internal: sec.recon_entries().';
CREATE FUNCTION sec.recon_is_said(p_trade_no text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM app.recon_items i
                   -- Not by a copy of it.
                   WHERE i.trade_no = p_trade_no AND i.ref = i.trade_no AND i.entry = 'payment'
                     AND i.resolution IN ('credit', 'refund'))
$$;
COMMENT ON FUNCTION sec.recon_is_said(text) IS
    'Whether a payment came into the books by app.resolve_recon_item(): it is of the day whose bill had it. Internal: '
    'sec.recon_entries().';
CREATE FUNCTION sec.recon_is_of(p_account text, p_trade_no text, p_else boolean) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT bool_or(b.account = p_account) FROM app.gateway_bill_lines l JOIN app.gateway_bills b ON b.id = l.bill_id
                     WHERE l.trade_no = p_trade_no), p_else)
$$;
COMMENT ON FUNCTION sec.recon_is_of(text, text, boolean) IS
    'Whether a payment that no callback told of is of an account: of the one whose bill has it, else as p_else says. Internal: '
    'sec.recon_entries().';
CREATE FUNCTION sec.recon_posted(p_method text, p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (tx_no text, trade_no text, order_id text, amount numeric, at timestamptz, merchant_id integer)
    -- Of each month by its index on merchants and moments, as app.day_totals().
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off SET enable_seqscan = off
    SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_nestloop = on
    SET standard_conforming_strings = on AS $posted$
DECLARE
    v_month timestamp;
BEGIN
    FOR v_month IN SELECT generate_series(date_trunc('month', p_from), p_to - interval '1 microsecond', interval '1 month') LOOP
        CONTINUE WHEN NOT sec.has_month(v_month);
        RETURN QUERY EXECUTE format($q$
            WITH RECURSIVE merchants (id) AS (
                (SELECT x.merchant_id FROM app.%1$I x WHERE x.merchant_id IS NOT NULL ORDER BY x.merchant_id LIMIT 1)
                UNION ALL
                SELECT (SELECT x.merchant_id FROM app.%1$I x WHERE x.merchant_id > m.id ORDER BY x.merchant_id LIMIT 1)
                FROM merchants m WHERE m.id IS NOT NULL)
            SELECT t.tx_no, t.gateway_trade_no, t.external_order_id, t.final_amount, t.posted_at, t.merchant_id
            FROM (SELECT x.* FROM app.%1$I x WHERE x.merchant_id IS NULL AND x.posted_at >= $2 AND x.posted_at < $3
                  UNION ALL
                  SELECT x.* FROM merchants m JOIN app.%1$I x ON x.merchant_id = m.id
                  WHERE m.id IS NOT NULL AND x.posted_at >= $2 AND x.posted_at < $3) t
            WHERE t.tx_type = 'recharge' AND t.status = 'completed' AND t.payment_method = $1::app.pay_method$q$,
            'transactions_' || to_char(v_month, 'YYYYMM')) USING p_method, p_from, p_to;
    END LOOP;
    -- And what lies in other months.
    FOR v_month IN
        SELECT DISTINCT date_trunc('month', l.created_at) FROM app.late_postings l WHERE l.posted_at >= p_from AND l.posted_at < p_to
    LOOP
        CONTINUE WHEN NOT sec.has_month(v_month);
        RETURN QUERY EXECUTE format($q$
            SELECT t.tx_no, t.gateway_trade_no, t.external_order_id, t.final_amount, t.posted_at, t.merchant_id
            FROM app.late_postings l JOIN app.%1$I t ON t.id = l.tx_id
            WHERE l.posted_at >= $2 AND l.posted_at < $3
              AND t.tx_type = 'recharge' AND t.status = 'completed' AND t.payment_method = $1::app.pay_method$q$,
            'transactions_' || to_char(v_month, 'YYYYMM')) USING p_method, p_from, p_to;
    END LOOP;
END
$posted$;
COMMENT ON FUNCTION sec.recon_posted(text, timestamptz, timestamptz) IS
    'The recharges of a payment method that were credited in a period, in whichever month they lie. Internal: sec.recon_entries().';
CREATE FUNCTION sec.recon_told(p_account text, p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (tx_no text, trade_no text, amount numeric, happened_at timestamptz, outcome text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $told$
    -- Without what is long, because they are sorted.
    SELECT DISTINCT ON (x.trade_no) x.tx_no, x.trade_no, x.amount, x.happened_at, x.outcome
    FROM app.gateway_events x
    WHERE x.account = p_account AND x.kind = 'payment' AND x.happened_at >= p_from AND x.happened_at < p_to AND x.trade_no IS NOT NULL
    ORDER BY x.trade_no, x.outcome = 'conflict', x.id
$told$;
COMMENT ON FUNCTION sec.recon_told(text, timestamptz, timestamptz) IS
    'The payments of a period that callbacks told of, each once. Internal: sec.recon_entries().';
CREATE FUNCTION sec.recon_untold(p_account text, p_method text, p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (tx_no text, trade_no text, order_id text, amount numeric, at timestamptz, merchant_id integer)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_nestloop = off
    SET enable_mergejoin = off AS $untold$
    SELECT t.* FROM sec.recon_posted(p_method, p_from, p_to) t
    WHERE NOT EXISTS (SELECT FROM app.gateway_events x
                      WHERE x.account = p_account AND x.kind = 'payment' AND x.happened_at >= p_from AND x.happened_at < p_to
                        AND x.trade_no = t.trade_no)
$untold$;
COMMENT ON FUNCTION sec.recon_untold(text, text, timestamptz, timestamptz) IS
    'The recharges that were credited in a period, but those that callbacks told of as paid in it: these are most, and go out at once. '
    'Internal: sec.recon_entries().';
CREATE FUNCTION sec.recon_entries(p_account text, p_day date)
    RETURNS TABLE (entry text, tx_no text, trade_no text, order_id text, refund_no text, amount numeric, at timestamptz, told boolean,
        in_books boolean)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off AS $entries$
DECLARE
    v_from timestamptz := sec.recon_day_start(p_day);
    v_to timestamptz := sec.recon_day_start(p_day + 1);
    v_method text;
    -- A recharge at a shop's counter is of that shop's account, the others are of the platform's, if it has one.
    v_merchant integer;
    v_is_platform boolean;
    -- What nobody else knows is of the account of them that was there first.
    v_is_first boolean;
    v_is_alone boolean;
BEGIN
    SELECT a.provider, a.merchant_id, a.merchant_id IS NULL OR bool_and(x.merchant_id IS NOT NULL),
           bool_and((a.created_at, a.code) <= (x.created_at, x.code) OR x.merchant_id IS DISTINCT FROM a.merchant_id), count(*) = 1
        INTO v_method, v_merchant, v_is_platform, v_is_first, v_is_alone
    FROM app.gateway_accounts a JOIN app.gateway_accounts x ON x.provider = a.provider
    WHERE a.code = p_account GROUP BY a.provider, a.merchant_id;

    -- Subqueries that give a value go by their index for each row, as no plan makes joins or tables in memory of them.
    RETURN QUERY
        SELECT 'payment', e.tx_no, e.trade_no, NULL::text, NULL::text, e.amount, e.happened_at, true,
               e.outcome <> 'conflict' AND (SELECT o.tx_id FROM app.external_orders o
                                            WHERE o.scope_no = 0 AND o.scope = 3 AND o.order_id = e.trade_no) IS NOT NULL
        FROM sec.recon_told(p_account, v_from, v_to) e;

    RETURN QUERY
        SELECT 'payment', t.tx_no, t.trade_no, t.order_id, NULL::text, t.amount, t.at, false, true
        FROM sec.recon_untold(p_account, v_method, v_from, v_to) t
        WHERE (t.trade_no IS NULL
               OR (SELECT true FROM app.gateway_events e
                   WHERE e.trade_no = t.trade_no AND e.kind = 'payment' AND e.happened_at IS NOT NULL LIMIT 1) IS NULL
                  AND (SELECT true FROM app.recon_items i
                       WHERE i.trade_no = t.trade_no AND i.ref = t.trade_no AND i.entry = 'payment'
                         AND i.resolution IN ('credit', 'refund') LIMIT 1) IS NULL
                  AND (SELECT true FROM app.suspense_payments s WHERE s.gateway_trade_no = t.trade_no) IS NULL)
          AND CASE
              WHEN t.merchant_id IS NULL AND v_is_platform OR t.merchant_id = v_merchant
                  THEN v_is_alone OR sec.recon_is_of(p_account, t.trade_no, v_is_first)
              ELSE sec.recon_is_of(p_account, t.trade_no, false) END;

    RETURN QUERY
        SELECT 'payment', s.tx_no, s.gateway_trade_no, NULL::text, NULL::text, s.amount, s.created_at, false, true
        FROM app.suspense_payments s
        WHERE s.created_at >= v_from AND s.created_at < v_to AND s.payment_method::text = v_method
          AND NOT sec.is_told(s.gateway_trade_no) AND NOT sec.recon_is_said(s.gateway_trade_no)
          AND (v_is_alone OR sec.recon_is_of(p_account, s.gateway_trade_no, v_is_first));

    RETURN QUERY
        SELECT 'payment', coalesce(i.result_tx_no, i.tx_no), i.trade_no, i.order_no, NULL::text, i.bill_amount, v_from, false, true
        FROM app.recon_items i
        WHERE i.account = p_account AND i.bill_date = p_day AND i.entry = 'payment' AND i.resolution IN ('credit', 'refund')
          AND i.ref = i.trade_no AND NOT sec.is_told(i.trade_no);

    RETURN QUERY
        SELECT 'refund', NULL::text, s.gateway_trade_no, NULL::text, s.out_refund_no, s.amount, s.resolved_at, false, true
        FROM app.suspense_payments s
        WHERE s.status = 'refunded' AND s.resolved_at >= v_from AND s.resolved_at < v_to AND s.payment_method::text = v_method
          AND (v_is_alone OR sec.recon_is_of(p_account, s.gateway_trade_no, v_is_first));

    RETURN QUERY
        SELECT 'refund', w.tx_no, w.gateway_trade_no, NULL::text, w.refund_no, w.amount, w.settled_at, false, true
        FROM app.withdrawals w
        WHERE w.status = 'completed' AND w.payout = 'source' AND w.gateway_trade_no IS NOT NULL
          AND w.settled_at >= v_from AND w.settled_at < v_to AND w.payment_method::text = v_method
          AND (v_is_alone OR coalesce(w.gateway_account = p_account, sec.recon_is_of(p_account, w.gateway_trade_no, v_is_first)));
END
$entries$;
COMMENT ON FUNCTION sec.recon_entries(text, date) IS
    'What books and callbacks have of a gateways'' day: payments by the time that a callback says, else by when they were posted; refunds '
    'that ended a row of suspense or were a withdrawal''s. Internal: sec.recon_note().';
CREATE FUNCTION sec.recon_months(p_ids bigint[]) RETURNS TABLE (tab text, lowest bigint, beyond bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'transactions_20' || lpad(x.yymm::text, 4, '0'), x.yymm * 100000000000, (x.yymm + 1) * 100000000000
    FROM unnest(p_ids) x (yymm)
    WHERE sec.month_of_id(x.yymm * 100000000000) IS NOT NULL
      AND sec.has_month(sec.month_of_id(x.yymm * 100000000000) AT TIME ZONE 'UTC')
$$;
COMMENT ON FUNCTION sec.recon_months(bigint[]) IS
    'Of months, as yymm, those that are here: the table of each, and the ids that it can have. Internal.';
CREATE FUNCTION sec.recon_claimed(p_account text, p_bill bigint, p_day date)
    RETURNS TABLE (entry text, class text, ref text, tx_no text, trade_no text, order_no text, refund_no text, book_amount numeric,
        bill_amount numeric, settled boolean)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off SET standard_conforming_strings = on AS $claimed$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT m.* FROM sec.recon_months(ARRAY(
            SELECT DISTINCT l.owner / 100000000000 FROM app.gateway_bill_lines l
            WHERE l.bill_id = p_bill AND l.owner > 0 AND l.entry = 'payment')) m
    LOOP
        RETURN QUERY EXECUTE format($q$
            SELECT 'payment', x.class, l.trade_no,
                   CASE WHEN x.class = 'status_differs' AND l.order_no ~ '^CZ[0-9]{10,15}$' THEN l.order_no ELSE t.tx_no END, l.trade_no,
                   l.order_no, NULL::text, t.final_amount::numeric, l.amount::numeric, x.class = 'timing'
            FROM app.gateway_bill_lines l
            JOIN app.%I t ON t.id = l.owner
            CROSS JOIN LATERAL (SELECT CASE
                WHEN t.final_amount <> l.amount THEN 'amount_differs'
                -- It is there after all.
                WHEN EXISTS (SELECT FROM app.transaction_compensations c JOIN app.recon_items i ON i.result_tx_no = c.compensation_tx_no
                             WHERE c.tx_no = t.tx_no AND i.entry = 'payment') THEN 'status_differs'
                -- Paid for another recharge of ours than the one that a backend gave it to.
                WHEN l.order_no <> t.tx_no AND l.order_no ~ '^CZ[0-9]{10,15}$'
                     AND NOT EXISTS (SELECT FROM app.suspense_payments s WHERE s.gateway_trade_no = l.trade_no) THEN 'status_differs'
                WHEN t.posted_at >= $3 AND t.posted_at < $4 AND l.at >= $3 AND l.at < $4 THEN NULL
                WHEN sec.recon_is_said(l.trade_no) THEN NULL
                WHEN sec.recon_day(coalesce((SELECT min(e.happened_at) FILTER (WHERE e.account = $2 AND e.kind = 'payment')
                                             FROM app.gateway_events e WHERE e.trade_no = l.trade_no),
                                            (SELECT min(s.created_at) FROM app.suspense_payments s WHERE s.gateway_trade_no = l.trade_no),
                                            t.posted_at)) <> $5 THEN 'timing'
                END AS class) x
            WHERE l.bill_id = $1 AND l.owner >= %s AND l.owner < %s AND l.entry = 'payment' AND NOT l.is_copy AND x.class IS NOT NULL$q$,
            v.tab, v.lowest, v.beyond)
            USING p_bill, p_account, sec.recon_day_start(p_day), sec.recon_day_start(p_day + 1), p_day;
    END LOOP;
END
$claimed$;
COMMENT ON FUNCTION sec.recon_claimed(text, bigint, date) IS
    'Payments of a bill whose recharge has another amount, is another one, or is of another day. Internal: sec.recon_note().';
CREATE FUNCTION sec.recon_suspended(p_account text, p_bill bigint, p_day date)
    RETURNS TABLE (entry text, class text, ref text, tx_no text, trade_no text, order_no text, refund_no text, book_amount numeric,
        bill_amount numeric, settled boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off AS $suspended$
    SELECT 'payment', x.class, l.trade_no, s.tx_no, l.trade_no, l.order_no, NULL, s.amount, l.amount, x.class = 'timing'
    FROM app.gateway_bill_lines l
    JOIN app.suspense_payments s ON s.id = -l.owner
    CROSS JOIN LATERAL (SELECT min(e.happened_at) FILTER (WHERE e.account = p_account AND e.kind = 'payment') AS at,
                               bool_or(e.amount = l.amount) FILTER (WHERE e.account = p_account AND e.kind = 'payment') AS is_so
                        FROM app.gateway_events e WHERE e.trade_no = l.trade_no) e
    CROSS JOIN LATERAL (SELECT CASE
        -- Of what went back in part, the row is of what is left.
        WHEN s.amount <> l.amount AND e.is_so IS NOT TRUE
             AND NOT (s.amount < l.amount AND (s.reason = 'partly_refunded' OR s.idempotency_keys::text LIKE '%"\\u0001%'))
            THEN 'amount_differs'
        WHEN sec.recon_day(coalesce(e.at, s.created_at)) <> p_day AND NOT sec.recon_is_said(l.trade_no) THEN 'timing'
        END AS class) x
    WHERE l.bill_id = p_bill AND l.owner < 0 AND l.entry = 'payment' AND NOT l.is_copy AND x.class IS NOT NULL
    UNION ALL
    SELECT 'payment', 'duplicate', l.trade_no || ' line ' || l.line, NULL, l.trade_no, l.order_no, NULL, NULL, l.amount, false
    FROM app.gateway_bill_lines l WHERE l.bill_id = p_bill AND l.is_copy
$suspended$;
COMMENT ON FUNCTION sec.recon_suspended(text, bigint, date) IS
    'Payments of a bill that are in suspense with another amount or of another day, and those that it has once more. Internal: '
    'sec.recon_note().';
CREATE FUNCTION sec.recon_candidate(p_order_no text) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN p_order_no ~ '^CZ[0-9]{10,15}$' THEN sec.id_of_number(p_order_no)
                ELSE (SELECT min(o.tx_id) FROM app.external_orders o
                      WHERE o.scope_no IN (1, 2, 3) AND o.scope = 2 AND o.order_id = p_order_no HAVING count(DISTINCT o.tx_id) = 1) END
$$;
COMMENT ON FUNCTION sec.recon_candidate(text) IS
    'The recharge that an order at a gateway names: its number, or the order id of a backend''s, where one alone has it. Internal: '
    'sec.recon_unclaimed().';
CREATE FUNCTION sec.recon_unclaimed(p_account text, p_bill bigint, p_day date)
    RETURNS TABLE (entry text, class text, ref text, tx_no text, trade_no text, order_no text, refund_no text, book_amount numeric,
        bill_amount numeric, settled boolean)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off SET standard_conforming_strings = on AS $unclaimed$
DECLARE
    v record;
    v_here bigint[] := '{}';
BEGIN
    FOR v IN
        SELECT m.* FROM sec.recon_months(ARRAY(
            SELECT DISTINCT sec.recon_candidate(l.order_no) / 100000000000 FROM app.gateway_bill_lines l
            WHERE l.bill_id = p_bill AND l.owner IS NULL AND l.entry = 'payment' AND NOT l.is_copy)) m
    LOOP
        v_here := v_here || v.lowest / 100000000000;
        RETURN QUERY EXECUTE format($q$
            SELECT 'payment', x.class, l.trade_no, t.tx_no, l.trade_no, l.order_no, NULL::text, t.final_amount::numeric, l.amount::numeric,
                   false
            FROM app.gateway_bill_lines l
            CROSS JOIN LATERAL (SELECT sec.recon_candidate(l.order_no) AS id OFFSET 0) c
            LEFT JOIN app.%I t ON t.id = c.id AND t.tx_type = 'recharge'
            CROSS JOIN LATERAL (SELECT CASE
                WHEN t.id IS NULL THEN 'only_in_bill'
                WHEN t.status = 'completed' AND t.gateway_trade_no IS NOT NULL AND btrim(t.gateway_trade_no) <> l.trade_no THEN 'duplicate'
                WHEN t.status = 'completed' AND t.payment_method = 'cash' THEN 'duplicate'
                WHEN t.final_amount <> l.amount THEN 'amount_differs'
                WHEN t.status <> 'completed' OR sec.recon_taken_back(t.tx_no) IS NOT NULL THEN 'status_differs'
                -- It has been paid by the first of them.
                WHEN EXISTS (SELECT FROM app.gateway_bill_lines y JOIN app.gateway_bills b ON b.id = y.bill_id
                             WHERE y.order_no = l.order_no AND y.owner IS NULL AND y.entry = 'payment' AND y.amount = l.amount
                               AND y.trade_no <> l.trade_no AND (b.bill_date, b.account, y.line) < ($2, $3, l.line)) THEN 'duplicate'
                END AS class) x
            WHERE l.bill_id = $1 AND l.owner IS NULL AND l.entry = 'payment' AND NOT l.is_copy AND c.id >= %s AND c.id < %s
              AND x.class IS NOT NULL$q$, v.tab, v.lowest, v.beyond) USING p_bill, p_day, p_account;
    END LOOP;
    RETURN QUERY
        SELECT 'payment', 'only_in_bill', l.trade_no, NULL::text, l.trade_no, l.order_no, NULL::text, NULL::numeric, l.amount::numeric,
               false
        FROM app.gateway_bill_lines l
        WHERE l.bill_id = p_bill AND l.owner IS NULL AND l.entry = 'payment' AND NOT l.is_copy
          AND (sec.recon_candidate(l.order_no) / 100000000000 = ANY (v_here)) IS NOT TRUE;
END
$unclaimed$;
COMMENT ON FUNCTION sec.recon_unclaimed(text, bigint, date) IS
    'Payments of a bill whose trade number is nobody''s: what their order says of them. Internal: sec.recon_note().';
CREATE FUNCTION sec.recon_refunds(p_account text, p_bill bigint, p_day date)
    RETURNS TABLE (entry text, class text, ref text, tx_no text, trade_no text, order_no text, refund_no text, book_amount numeric,
        bill_amount numeric, settled boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off AS $refunds$
    SELECT 'refund', x.class,
           concat_ws(' ', l.trade_no, coalesce(l.out_refund_no, l.refund_no), CASE WHEN x.is_unnamed THEN 'line ' || l.line END),
           CASE WHEN l.order_no ~ '^CZ[0-9]{10,15}$' THEN l.order_no END, l.trade_no, l.order_no, coalesce(l.out_refund_no, l.refund_no),
           coalesce(w.amount, s.amount), l.amount, false
    FROM (SELECT y.*, count(*) OVER (PARTITION BY y.trade_no, coalesce(y.out_refund_no, y.refund_no, y.line::text) ORDER BY y.line) AS nth
          FROM app.gateway_bill_lines y WHERE y.bill_id = p_bill AND y.entry = 'refund') l
    LEFT JOIN app.withdrawals w ON w.refund_no = l.out_refund_no
    LEFT JOIN app.suspense_payments s ON s.out_refund_no = l.out_refund_no
    LEFT JOIN app.suspense_payments o ON w.refund_no IS NULL AND s.id IS NULL AND o.gateway_trade_no = l.trade_no AND o.status <> 'credited'
    CROSS JOIN LATERAL (SELECT l.nth > 1 OR coalesce(l.out_refund_no, l.refund_no) IS NULL AS is_unnamed, CASE
        WHEN l.nth > 1 OR EXISTS (
            SELECT FROM app.gateway_bill_lines y JOIN app.gateway_bills b ON b.id = y.bill_id
            WHERE y.trade_no = l.trade_no AND y.entry = 'refund' AND (b.bill_date, b.account) < (p_day, p_account)
              AND coalesce(y.out_refund_no, y.refund_no) = coalesce(l.out_refund_no, l.refund_no)) THEN 'duplicate'
        WHEN w.refund_no IS NOT NULL AND (w.amount <> l.amount OR w.gateway_trade_no IS DISTINCT FROM l.trade_no) THEN 'amount_differs'
        WHEN w.status = 'completed' THEN NULL
        -- Before the gateway's own word; or after the money was given back to the card.
        WHEN w.refund_no IS NOT NULL THEN
            -- Neither has it that the payer got it, where the gateway says FAIL.
            CASE WHEN coalesce(l.refund_state, 'SUCCESS') = 'SUCCESS' OR w.status = 'paid_after_return'
                      OR w.status = 'returned' AND l.refund_state <> 'FAIL' THEN 'status_differs' END
        WHEN s.id IS NOT NULL AND (s.amount <> l.amount OR s.gateway_trade_no <> l.trade_no) THEN 'amount_differs'
        -- Before the gateway's own word, which the bill may come ahead of.
        WHEN s.status = 'refunding' THEN CASE WHEN coalesce(l.refund_state, 'SUCCESS') = 'SUCCESS' THEN 'status_differs' END
        WHEN s.status = 'refunded' THEN NULL
        WHEN s.id IS NOT NULL THEN 'status_differs'
        -- Refunds that nobody asked for here, and that a gateway told of.
        WHEN o.id IS NOT NULL AND sec.refunded_of(o.id) = (
            SELECT sum(r.amount)
            FROM (SELECT DISTINCT ON (coalesce(y.out_refund_no, y.refund_no, y.bill_id || ' ' || y.line)) y.amount
                  FROM app.gateway_bill_lines y WHERE y.trade_no = l.trade_no AND y.entry = 'refund') r) THEN NULL
        ELSE 'only_in_bill'
        END AS class) x
    WHERE x.class IS NOT NULL
$refunds$;
COMMENT ON FUNCTION sec.recon_refunds(text, bigint, date) IS
    'Refunds of a bill that nobody asked for here, or that are not as they were asked for. Internal: sec.recon_note().';
CREATE FUNCTION sec.refunded_of(p_suspense_id bigint) RETURNS numeric
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT max(l.amount) FROM app.gateway_bill_lines l WHERE l.trade_no = s.gateway_trade_no AND l.entry = 'payment'),
                    (SELECT max(e.amount) FROM app.gateway_events e WHERE e.trade_no = s.gateway_trade_no AND e.kind = 'payment'),
                    s.amount)
           - CASE WHEN s.status = 'refunded' THEN 0 ELSE s.amount END
    FROM app.suspense_payments s WHERE s.id = p_suspense_id
$$;
COMMENT ON FUNCTION sec.refunded_of(bigint) IS 'How much of a payment in suspense went back, by the books. Internal: sec.recon_refunds().';
CREATE FUNCTION sec.recon_fees(p_bill bigint, p_rate numeric)
    RETURNS TABLE (entry text, class text, ref text, tx_no text, trade_no text, order_no text, refund_no text, book_amount numeric,
        bill_amount numeric, settled boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $fees$
    -- A gateway rounds each fee to the cent, one way or the other.
    SELECT 'fee', 'fee_differs', format('%s line %s', l.trade_no, l.line), NULL, l.trade_no, l.order_no,
           coalesce(l.out_refund_no, l.refund_no), round(x.fee, 2), round(l.fee, 2), false
    FROM app.gateway_bill_lines l
    CROSS JOIN LATERAL (SELECT l.settled * p_rate * CASE l.entry WHEN 'refund' THEN -1 ELSE 1 END AS fee) x
    WHERE l.bill_id = p_bill AND l.fee IS NOT NULL AND l.entry IN ('payment', 'refund') AND abs(l.fee - x.fee) >= 0.01
$fees$;
COMMENT ON FUNCTION sec.recon_fees(bigint, numeric) IS
    'Lines of a bill whose fee is not what the account''s rate makes of them. Internal: sec.recon_note().';
CREATE FUNCTION sec.recon_missing(p_account text, p_day date, p_entry text, p_tx_no text, p_trade_no text, p_order_id text,
                                  p_refund_no text, p_at timestamptz, p_told boolean) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_hashjoin = off
    SET enable_mergejoin = off AS $missing$
DECLARE
    -- Gateways cut their days by clocks of their own, and who credits does so a little later.
    c_border constant interval := '1 hour';
    v_day date;
BEGIN
    IF p_trade_no IS NULL THEN
        SELECT b.bill_date INTO v_day FROM app.gateway_bill_lines l JOIN app.gateway_bills b ON b.id = l.bill_id
        WHERE l.owner IS NULL AND l.order_no IN (p_tx_no, p_order_id) AND l.entry = p_entry
          AND sec.recon_candidate(l.order_no) = sec.id_of_number(p_tx_no) ORDER BY b.bill_date <> p_day LIMIT 1;
    ELSIF p_entry = 'refund' AND EXISTS (SELECT FROM app.withdrawals w WHERE w.refund_no = p_refund_no) THEN
        -- One of several of its payment.
        SELECT b.bill_date INTO v_day FROM app.gateway_bill_lines l JOIN app.gateway_bills b ON b.id = l.bill_id
        WHERE l.out_refund_no = p_refund_no AND l.entry = 'refund' ORDER BY b.bill_date <> p_day LIMIT 1;
    ELSE
        SELECT b.bill_date INTO v_day FROM app.gateway_bill_lines l JOIN app.gateway_bills b ON b.id = l.bill_id
        WHERE l.trade_no = p_trade_no AND l.entry = p_entry ORDER BY b.bill_date <> p_day LIMIT 1;
    END IF;
    IF v_day = p_day THEN
        RETURN NULL;
    ELSIF v_day IS NOT NULL THEN
        RETURN 'settled';
    END IF;
    SELECT x.day INTO v_day
    FROM (VALUES (p_day - 1, p_at < sec.recon_day_start(p_day) + c_border),
                 (p_day + 1, p_at >= sec.recon_day_start(p_day + 1) - c_border)) x (day, is_near)
    WHERE x.is_near AND NOT EXISTS (SELECT FROM app.gateway_bills b
                                    WHERE b.account = p_account AND b.bill_date = x.day AND b.kind = 'trade' AND b.replaced_at IS NULL);
    RETURN CASE
        WHEN v_day IS NOT NULL THEN 'timing'
        -- Another account's bill of that day, which is not here, may have it.
        WHEN NOT p_told AND EXISTS (
            SELECT FROM app.gateway_accounts a JOIN app.gateway_accounts o ON o.provider = a.provider AND o.code <> a.code AND o.active
            WHERE a.code = p_account
              AND EXISTS (SELECT FROM app.gateway_bills b WHERE b.account = o.code AND b.kind = 'trade')
              AND NOT EXISTS (SELECT FROM app.gateway_bills b
                              WHERE b.account = o.code AND b.bill_date = p_day AND b.kind = 'trade' AND b.replaced_at IS NULL))
            THEN 'timing'
        ELSE 'only_in_books' END;
END
$missing$;
COMMENT ON FUNCTION sec.recon_missing(text, date, text, text, text, text, text, timestamptz, boolean) IS
    'What is to be said of a book entry of a day: NULL, its bill has it; settled, the bill of another day has it; timing, the bill of a '
    'neighbouring day or another account, which is not here, may have it; only_in_books. Internal: sec.recon_note().';
CREATE FUNCTION sec.recon_note(p_account text, p_bill bigint, p_day date, p_at timestamptz, p_role text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $note$
DECLARE
    v_rate numeric := (SELECT (a.config ->> 'fee_rate')::numeric FROM app.gateway_accounts a WHERE a.code = p_account);
BEGIN
    -- Whose each trade number is by now: a recharge's is so for good.
    UPDATE app.gateway_bill_lines l
    SET owner = (SELECT o.tx_id FROM app.external_orders o WHERE o.scope_no = 0 AND o.scope = 3 AND o.order_id = l.trade_no)
    WHERE l.bill_id = p_bill AND (l.owner IS NULL OR l.owner < 0)
      AND (SELECT o.tx_id FROM app.external_orders o WHERE o.scope_no = 0 AND o.scope = 3 AND o.order_id = l.trade_no)
          <> coalesce(l.owner, 0);
    PERFORM sec.recon_mark_copies(p_bill, p_day, p_account);

    INSERT INTO app.recon_items AS i (first_seen, last_seen, account, bill_date, entry, class, ref, tx_no, trade_no, order_no, refund_no,
                                      book_amount, bill_amount, status, resolution, resolved_at, resolved_role)
    SELECT p_at, p_at, p_account, p_day, f.entry, f.class, f.ref, f.tx_no, f.trade_no, f.order_no, f.refund_no, f.book_amount,
           f.bill_amount, CASE WHEN f.settled THEN 'resolved' ELSE 'open' END, CASE WHEN f.settled THEN 'settled' END,
           CASE WHEN f.settled THEN p_at END, CASE WHEN f.settled THEN p_role END
    FROM (SELECT * FROM sec.recon_claimed(p_account, p_bill, p_day)
          UNION ALL SELECT * FROM sec.recon_suspended(p_account, p_bill, p_day)
          UNION ALL SELECT * FROM sec.recon_unclaimed(p_account, p_bill, p_day)
          UNION ALL SELECT * FROM sec.recon_refunds(p_account, p_bill, p_day)
          UNION ALL SELECT * FROM sec.recon_fees(p_bill, v_rate) WHERE v_rate IS NOT NULL
          UNION ALL SELECT * FROM sec.recon_booked(p_account, p_bill, p_day)) f
    ON CONFLICT (account, bill_date, entry, ref) DO UPDATE
        SET last_seen = excluded.last_seen, class = excluded.class, tx_no = excluded.tx_no, trade_no = excluded.trade_no,
            order_no = excluded.order_no, refund_no = excluded.refund_no, book_amount = excluded.book_amount,
            bill_amount = excluded.bill_amount,
            -- Somebody's word holds as long as it is about the same.
            (status, resolution, resolved_at, resolved_role) = (
                SELECT x.status, x.resolution, x.resolved_at, x.resolved_role
                FROM (VALUES (i.status, i.resolution, i.resolved_at, i.resolved_role,
                              i.status = 'resolved' AND (excluded.status = 'resolved' OR i.resolution <> 'settled'
                                  AND (i.class, i.book_amount, i.bill_amount)
                                      IS NOT DISTINCT FROM (excluded.class, excluded.book_amount, excluded.bill_amount))),
                             (excluded.status, excluded.resolution, excluded.resolved_at, excluded.resolved_role, true))
                     x (status, resolution, resolved_at, resolved_role, holds)
                WHERE x.holds LIMIT 1);

    -- What is not so any more has settled itself; and what another day waited for, this bill may have.
    UPDATE app.recon_items i SET status = 'resolved', resolution = 'settled', resolved_at = p_at, resolved_role = p_role
    WHERE i.account = p_account AND i.status = 'open'
      AND (i.bill_date = p_day AND i.last_seen <> p_at
           OR i.bill_date <> p_day AND i.class IN ('timing', 'only_in_books')
              -- Not by the index of bills: that would be the whole bill for each item.
              AND coalesce((SELECT true FROM app.gateway_bill_lines l
                            WHERE l.trade_no = i.trade_no AND l.bill_id + 0 = p_bill AND l.entry = i.entry LIMIT 1),
                           (SELECT true FROM app.gateway_bill_lines l
                            WHERE i.trade_no IS NULL AND l.order_no = i.ref AND l.owner IS NULL AND l.bill_id + 0 = p_bill
                              AND l.entry = i.entry LIMIT 1), false));
END
$note$;
COMMENT ON FUNCTION sec.recon_note(text, bigint, date, timestamptz, text) IS
    'Compares a bill with books and callbacks, and writes down what differs, with the sums of the day. Internal: app.reconcile().';
CREATE FUNCTION sec.recon_mark_copies(p_bill bigint, p_day date, p_account text) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off AS $copies$
    UPDATE app.gateway_bill_lines l SET is_copy = NOT l.is_copy
    WHERE l.bill_id = p_bill AND l.entry = 'payment'
      AND l.is_copy IS DISTINCT FROM EXISTS (
          SELECT FROM app.gateway_bill_lines x JOIN app.gateway_bills b ON b.id = x.bill_id
          WHERE x.trade_no = l.trade_no AND x.entry = 'payment' AND (x.bill_id, x.line) <> (p_bill, l.line)
            AND (b.bill_date, b.account, x.line) < (p_day, p_account, l.line))
$copies$;
COMMENT ON FUNCTION sec.recon_mark_copies(bigint, date, text) IS
    'Marks payments of a bill that stand in an earlier line of it, or in an earlier bill. Internal: sec.recon_note().';
CREATE FUNCTION sec.recon_booked(p_account text, p_bill bigint, p_day date)
    RETURNS TABLE (entry text, class text, ref text, tx_no text, trade_no text, order_no text, refund_no text, book_amount numeric,
        bill_amount numeric, settled boolean)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off AS $booked$
    WITH e AS MATERIALIZED (SELECT * FROM sec.recon_entries(p_account, p_day)),
    noted AS (
        UPDATE app.recon_days d SET (book_payments, book_payment_total, book_refunds, book_refund_total, callbacks, callback_total) = (
            SELECT count(*) FILTER (WHERE e.entry = 'payment' AND e.in_books),
                   coalesce(sum(e.amount) FILTER (WHERE e.entry = 'payment' AND e.in_books), 0),
                   count(*) FILTER (WHERE e.entry = 'refund'), coalesce(sum(e.amount) FILTER (WHERE e.entry = 'refund'), 0),
                   count(*) FILTER (WHERE e.told), coalesce(sum(e.amount) FILTER (WHERE e.told), 0) FROM e)
        WHERE d.account = p_account AND d.bill_date = p_day)
    SELECT e.entry, CASE WHEN x.word = 'settled' THEN 'timing'
                         WHEN x.word = 'only_in_books' AND e.told AND sec.recon_told_later(e.trade_no, e.tx_no) THEN 'status_differs'
                         ELSE x.word END, coalesce(e.refund_no, e.trade_no, e.tx_no), e.tx_no,
           e.trade_no, e.order_id, e.refund_no, e.amount, NULL::numeric, x.word = 'settled'
    FROM (SELECT y.* FROM e y
          -- By the index of trade numbers, one entry after the other: the bill is as long as the day.
          WHERE y.in_books AND (y.entry = 'refund' OR (SELECT true FROM app.gateway_bill_lines l
                                WHERE l.trade_no = y.trade_no AND l.bill_id + 0 = p_bill AND l.entry = y.entry LIMIT 1) IS NULL)
          OFFSET 0) e
    CROSS JOIN LATERAL (SELECT sec.recon_missing(p_account, p_day, e.entry, e.tx_no, e.trade_no, e.order_id, e.refund_no, e.at,
                                                   e.told) AS word
                        OFFSET 0) x
    WHERE x.word IS NOT NULL
    UNION ALL
    -- What was taken back from a card for a refund that the bill has no more.
    SELECT 'refund', 'only_in_books', i.ref, i.tx_no, i.trade_no, i.order_no, i.refund_no, coalesce(i.bill_amount, i.book_amount), NULL,
           false
    FROM app.recon_items i
    WHERE i.account = p_account AND i.bill_date = p_day AND i.entry = 'refund' AND i.result_tx_no IS NOT NULL
      AND NOT EXISTS (SELECT FROM app.gateway_bill_lines l
                      WHERE l.bill_id = p_bill AND l.trade_no = i.trade_no AND l.entry = 'refund'
                        AND coalesce(l.out_refund_no, l.refund_no) IS NOT DISTINCT FROM i.refund_no)
$booked$;
COMMENT ON FUNCTION sec.recon_booked(text, bigint, date) IS
    'Book entries of a day that its bill does not have; notes the sums of books and callbacks on the day. Internal: sec.recon_note().';
CREATE FUNCTION sec.recon_taken_back(p_tx_no text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.result_tx_no FROM app.transaction_compensations c JOIN app.recon_items i ON i.result_tx_no = c.compensation_tx_no
    WHERE c.tx_no = p_tx_no AND i.entry = 'payment' LIMIT 1
$$;
COMMENT ON FUNCTION sec.recon_taken_back(text) IS
    'By which adjustment app.resolve_recon_item() took a recharge back from its card, because no bill had it; NULL: by none. Internal.';
CREATE FUNCTION sec.recon_told_later(p_trade_no text, p_tx_no text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
    SELECT EXISTS (SELECT FROM app.transaction_compensations c JOIN app.recon_items i ON i.result_tx_no = c.compensation_tx_no
                   JOIN app.gateway_events e ON e.trade_no = p_trade_no
                   WHERE c.tx_no = p_tx_no AND i.entry = 'payment' AND e.kind = 'payment' AND e.verified
                     -- It may have waited behind the other.
                     AND e.received_at > c.created_at - interval '10 seconds')
$$;
COMMENT ON FUNCTION sec.recon_told_later(text, text) IS
    'Whether a callback has told of a payment after app.resolve_recon_item() had taken its recharge back from the card, because no bill '
    'had it. Internal: sec.recon_booked(), sec.health_of_reconciliation().';
CREATE FUNCTION sec.recon_is_so(p_id bigint) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Lines are of the bills that count.
    SELECT CASE i.entry || ' ' || i.class
        WHEN 'refund only_in_bill' THEN EXISTS (
            SELECT FROM app.gateway_bill_lines l JOIN app.gateway_bills b ON b.id = l.bill_id
            WHERE l.trade_no = i.trade_no AND l.entry = 'refund' AND l.amount = i.bill_amount AND b.account = i.account
              AND b.bill_date = i.bill_date AND coalesce(l.out_refund_no, l.refund_no) IS NOT DISTINCT FROM i.refund_no)
        WHEN 'payment only_in_books' THEN NOT EXISTS (
            SELECT FROM app.gateway_bill_lines l WHERE l.trade_no = i.trade_no AND l.entry = 'payment')
            AND NOT EXISTS (
            SELECT FROM app.gateway_bill_lines l
            WHERE i.trade_no IS NULL AND l.order_no IN (i.tx_no, i.order_no) AND l.owner IS NULL AND l.entry = 'payment')
        WHEN 'payment amount_differs' THEN EXISTS (
            SELECT FROM app.gateway_bill_lines l JOIN app.gateway_bills b ON b.id = l.bill_id
            WHERE l.trade_no = i.trade_no AND l.entry = 'payment' AND l.amount = i.bill_amount AND b.account = i.account
              AND b.bill_date = i.bill_date)
        ELSE true
        END
    FROM app.recon_items i WHERE i.id = p_id
$$;
COMMENT ON FUNCTION sec.recon_is_so(bigint) IS
    'Whether the bills of now are still as an item has it, by which money is to be taken back. Internal: app.resolve_recon_item().';
CREATE FUNCTION sec.recon_taken_for(p_id bigint) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(o.result_tx_no, 'item ' || o.id) FROM app.recon_items i JOIN app.recon_items o ON o.trade_no = i.trade_no
    WHERE i.id = p_id AND i.entry = 'refund' AND o.id <> i.id AND o.entry = 'refund' AND o.refund_no = i.refund_no
      AND (o.result_tx_no IS NOT NULL OR o.uncovered > 0)
    LIMIT 1
$$;
COMMENT ON FUNCTION sec.recon_taken_for(bigint) IS
    'What another item of the same refund has taken back already; NULL: there is none. Internal: app.resolve_recon_item().';
CREATE FUNCTION sec.make_recon_days() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE VIEW app.v_recon_days WITH (security_invoker = true) AS
        SELECT d.account, d.bill_date, d.reconciled_at, d.closed_at, d.reopened_at,
               b.payments AS bill_payments, b.payment_total AS bill_payment_total, b.refunds AS bill_refunds,
               b.refund_total AS bill_refund_total, d.book_payments, d.book_payment_total, d.book_refunds, d.book_refund_total,
               d.callbacks, d.callback_total, d.matched_payments, d.matched_payment_total, d.matched_refunds, d.matched_refund_total,
               b.fee_total AS fees, round(b.payment_settled - b.refund_settled - b.fee_total, 2) AS net,
               f.incoming_total AS flow_in, f.outgoing_total AS flow_out,
               (SELECT count(*) FROM app.recon_items i
                WHERE i.account = d.account AND i.bill_date = d.bill_date AND i.status = 'open') AS open_items,
               (SELECT coalesce(sum(i.receivable), 0.00) FROM app.recon_items i
                WHERE i.account = d.account AND i.bill_date = d.bill_date AND i.receivable > 0) AS receivables
        FROM app.recon_days d
             LEFT JOIN app.gateway_bills b
                 ON b.account = d.account AND b.bill_date = d.bill_date AND b.kind = 'trade' AND b.replaced_at IS NULL
             LEFT JOIN app.gateway_bills f
                 ON f.account = d.account AND f.bill_date = d.bill_date AND f.kind = 'fundflow' AND f.replaced_at IS NULL;
    COMMENT ON VIEW app.v_recon_days IS
        'Days of accounts at payment gateways: what bill, books and callbacks say of each, what is open, and whether it is closed. Books '
        'and callbacks as app.reconcile() found them at reconciled_at.';
    COMMENT ON COLUMN app.v_recon_days.fees IS 'What the gateway takes for its service.';
    COMMENT ON COLUMN app.v_recon_days.net IS 'What the gateway owes the bank for that day: settled payments less refunds less fees.';
    COMMENT ON COLUMN app.v_recon_days.flow_in IS 'What came into the account with the gateway, by the fundflow; NULL: not imported.';
    COMMENT ON COLUMN app.v_recon_days.flow_out IS 'What went out of it, by the fundflow; NULL: not imported.';
END
$$;
COMMENT ON FUNCTION sec.make_recon_days() IS 'Makes app.v_recon_days. Internal.';
CREATE FUNCTION sec.missing_bills() RETURNS TABLE (account text, bill_date date)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- A bill is there at ten in the morning of the next day; what lies back two months, nobody waits for.
    SELECT f.account, d.day::date
    FROM (SELECT b.account, min(b.bill_date) AS first FROM app.gateway_bills b JOIN app.gateway_accounts a ON a.code = b.account
          WHERE b.kind = 'trade' AND a.active GROUP BY b.account) f
    CROSS JOIN LATERAL generate_series(greatest(f.first, sec.recon_day(now()) - 60)::timestamp,
                                       (sec.recon_day(now() - interval '10 hours') - 1)::timestamp, interval '1 day') d (day)
    WHERE NOT EXISTS (SELECT FROM app.gateway_bills b
                      WHERE b.account = f.account AND b.bill_date = d.day::date AND b.kind = 'trade' AND b.replaced_at IS NULL)
$$;
COMMENT ON FUNCTION sec.missing_bills() IS
    'The days of the last two months, since the first bill of each active account, whose bill is not here. Internal: '
    'sec.health_of_reconciliation().';
CREATE FUNCTION sec.health_of_reconciliation() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_days constant integer := 3;
    c_item constant text := '%s %s: %s items open for more than %s days, for app.resolve_recon_item()';
BEGIN
    IF NOT EXISTS (SELECT FROM app.gateway_bills) THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT 'gateway_bills'::text, count(*) = 0,
               CASE WHEN count(*) = 0 THEN 'every day has its bill'
                    ELSE format('%s days without a bill, for app.import_bill(): %s', count(*),
                                array_to_string((array_agg(format('%s %s', m.account, m.bill_date) ORDER BY m.bill_date))[1:10], ', ')) END
        FROM sec.missing_bills() m;
    RETURN QUERY
        SELECT 'gateway_days'::text, count(*) = 0,
               CASE WHEN count(*) = 0 THEN 'none to look at'
                    ELSE array_to_string((array_agg(x.what ORDER BY x.what))[1:10], '; ') END
        FROM (SELECT format(c_item, i.account, i.bill_date, count(*), a.days) AS what
              FROM app.recon_items i
              JOIN (SELECT g.code, coalesce((g.config ->> 'item_days')::integer, c_days) AS days FROM app.gateway_accounts g) a
                ON a.code = i.account
              WHERE i.status = 'open' AND i.first_seen < now() - make_interval(days => a.days) GROUP BY i.account, i.bill_date, a.days
              UNION ALL
              -- No bill had it, so the card gave it back; and then its callback came.
              SELECT format('%s %s: %s was taken back by %s, and a callback has told of its payment since: app.compensate_tx()', i.account,
                            i.bill_date, i.tx_no, i.result_tx_no)
              FROM app.recon_items i
              WHERE i.result_tx_no IS NOT NULL AND i.class = 'only_in_books' AND i.entry = 'payment'
                AND sec.recon_told_later(i.trade_no, i.tx_no)
                -- Until it is given back, or somebody says of the day that the callback is of what it is.
                AND (SELECT sum(c.amount) FROM app.transaction_compensations c WHERE c.tx_no IN (i.tx_no, i.result_tx_no)) < 0
                AND NOT EXISTS (SELECT FROM app.recon_items x
                                WHERE x.trade_no = i.trade_no AND x.entry = 'payment' AND x.id <> i.id AND x.resolution <> 'settled'
                                  AND x.resolved_at > i.resolved_at)
              UNION ALL
              SELECT format('%s %s: was closed, and a new bill or a difference has opened it again', d.account, d.bill_date)
              FROM app.recon_days d WHERE d.reopened_at IS NOT NULL AND d.closed_at IS NULL) x;
    RETURN QUERY
        SELECT 'gateway_receivables'::text, false,
               format('%s: items of app.recon_items whose card did not cover what was taken back: %s', sum(i.receivable),
                      array_to_string((array_agg(format('%s (%s)', i.id, i.receivable) ORDER BY i.id))[1:10], ', '))
        FROM app.recon_items i WHERE i.receivable > 0 HAVING count(*) > 0;
END
$$;
COMMENT ON FUNCTION sec.health_of_reconciliation() IS
    'What app.health() says of bills and days; no row where no bill was ever imported. Internal: sec.health_rows().';
CREATE FUNCTION sec.logged_of_reconciliation() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('gateway.bill_imported', '{}'::text[]), ('gateway.day_closed', '{}'), ('gateway.day_reopened', '{}'),
           ('recon.item_resolved', ARRAY['account', 'bill_date', 'entry', 'class', 'ref', 'resolution', 'first_seen'])
$$;
COMMENT ON FUNCTION sec.logged_of_reconciliation() IS 'The events of bills and days. Internal: sec.logged_actions().';
CREATE FUNCTION sec.rebuilds_of_reconciliation() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (180, 'rebuild_recon_items')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_reconciliation() IS 'The step of bills and days. Internal: sec.rebuild_steps().';
CREATE FUNCTION sec.rebuild_recon_items() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.recon_items (id, first_seen, last_seen, account, bill_date, entry, class, ref, tx_no, trade_no, order_no, refund_no,
                                 book_amount, bill_amount, status, resolution, resolved_at, resolved_by, resolved_role, note,
                                 result_tx_no, suspense_id, receivable, uncovered, source_tx_no)
    SELECT e.object_id::bigint, 'epoch'::timestamptz + (e.context ->> 'first_seen')::bigint * interval '1 microsecond', e.happened_at,
           e.context ->> 'account',
           (e.context ->> 'bill_date')::date, e.context ->> 'entry', e.context ->> 'class', e.context ->> 'ref', e.context ->> 'tx_no',
           e.context ->> 'trade_no', e.context ->> 'order_no', e.context ->> 'refund_no', (e.context ->> 'book_amount')::numeric,
           (e.context ->> 'bill_amount')::numeric, 'resolved', e.context ->> 'resolution', e.happened_at, e.actor_user_id, e.actor_role,
           e.context ->> 'note', e.context ->> 'result_tx_no', (e.context ->> 'suspense_id')::bigint,
           coalesce((e.context ->> 'receivable')::numeric, 0), coalesce((e.context ->> 'uncovered')::numeric, 0),
           e.context ->> 'source_tx_no'
    FROM (SELECT DISTINCT ON (x.object_id) x.* FROM audit.event_log x WHERE x.action = 'recon.item_resolved'
          ORDER BY x.object_id, x.id DESC) e
    -- One that was found anew under another id after a day of its bill was imported again.
    ON CONFLICT (account, bill_date, entry, ref) DO NOTHING;
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM setval('app.recon_item_id_seq', x.last) FROM (SELECT max(i.id) AS last FROM app.recon_items i) x
    WHERE x.last > (SELECT q.last_value - (NOT q.is_called)::integer FROM app.recon_item_id_seq q);
    what := 'differences that were resolved, without bills and days';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_recon_items() IS
    'What somebody said becomes of a difference; bills and days are not in the log. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.rules_of_reconciliation() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (160, ARRAY['gateway_days'], 'books_gateway_days'), (170, ARRAY['gateway_words'], 'books_gateway_words')
$$;
COMMENT ON FUNCTION sec.rules_of_reconciliation() IS
    'What app.verify_books() checks of days and gateways'' words. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_gateway_days(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH closed AS (
        SELECT d.*, b.id AS bill_id, b.payments, b.payment_total, b.refunds, b.refund_total
        FROM app.recon_days d
        LEFT JOIN app.gateway_bills b
            ON b.account = d.account AND b.bill_date = d.bill_date AND b.kind = 'trade' AND b.replaced_at IS NULL
        WHERE d.closed_at IS NOT NULL AND d.closed_at >= p_from AND d.closed_at < p_to),
    lines AS (
        SELECT l.bill_id, count(*) FILTER (WHERE l.entry = 'payment') AS payments, sum(l.amount) FILTER (WHERE l.entry = 'payment') AS paid,
               count(*) FILTER (WHERE l.entry = 'refund') AS refunds, sum(l.amount) FILTER (WHERE l.entry = 'refund') AS refunded,
               -- Somebody's still, unless an item says otherwise.
               count(*) FILTER (WHERE l.owner IS NOT NULL AND o.tx_id IS NULL) AS lost
        FROM closed c
        JOIN app.gateway_bill_lines l ON l.bill_id = c.bill_id
        LEFT JOIN app.external_orders o ON o.scope_no = 0 AND o.scope = 3 AND o.order_id = l.trade_no
            AND (o.tx_id = l.owner OR l.owner < 0 AND o.tx_id > 0)
        GROUP BY l.bill_id),
    items AS (
        SELECT c.account, c.bill_date, count(*) FILTER (WHERE i.status = 'open') AS open,
               count(*) FILTER (WHERE i.entry = 'payment' AND i.bill_amount IS NOT NULL AND i.last_seen = c.reconciled_at) AS payments,
               sum(i.bill_amount) FILTER (WHERE i.entry = 'payment' AND i.last_seen = c.reconciled_at) AS paid,
               count(*) FILTER (WHERE i.entry = 'refund' AND i.bill_amount IS NOT NULL AND i.last_seen = c.reconciled_at) AS refunds,
               sum(i.bill_amount) FILTER (WHERE i.entry = 'refund' AND i.last_seen = c.reconciled_at) AS refunded
        FROM closed c JOIN app.recon_items i ON i.account = c.account AND i.bill_date = c.bill_date
        GROUP BY c.account, c.bill_date)
    SELECT 'gateway_days', format('%s %s: %s', c.account, c.bill_date, x.what)
    FROM closed c
    LEFT JOIN lines l ON l.bill_id = c.bill_id
    LEFT JOIN items i ON i.account = c.account AND i.bill_date = c.bill_date
    CROSS JOIN LATERAL (VALUES
        (c.bill_id IS NULL, 'is closed, and has no bill'),
        (i.open > 0, format('is closed, and has %s open items', i.open)),
        (c.bill_id IS NOT NULL AND (coalesce(l.payments, 0), coalesce(l.paid, 0), coalesce(l.refunds, 0), coalesce(l.refunded, 0))
             IS DISTINCT FROM (c.payments, c.payment_total, c.refunds, c.refund_total),
         format('the bill says %s payments of %s and %s refunds of %s, its lines %s of %s and %s of %s', c.payments, c.payment_total,
                c.refunds, c.refund_total, coalesce(l.payments, 0), coalesce(l.paid, 0), coalesce(l.refunds, 0), coalesce(l.refunded, 0))),
        (c.bill_id IS NOT NULL AND (c.matched_payments + coalesce(i.payments, 0), c.matched_payment_total + coalesce(i.paid, 0),
                                    c.matched_refunds + coalesce(i.refunds, 0), c.matched_refund_total + coalesce(i.refunded, 0))
             IS DISTINCT FROM (c.payments, c.payment_total, c.refunds, c.refund_total),
         format('matched and differing payments and refunds are %s of %s and %s of %s, the bill says %s of %s and %s of %s',
                c.matched_payments + coalesce(i.payments, 0), c.matched_payment_total + coalesce(i.paid, 0),
                c.matched_refunds + coalesce(i.refunds, 0), c.matched_refund_total + coalesce(i.refunded, 0), c.payments,
                c.payment_total, c.refunds, c.refund_total)),
        (l.lost > 0, format('%s lines were matched with what the books do not have any more', l.lost))) x (is_so, what)
    WHERE x.is_so
$rule$;
COMMENT ON FUNCTION sec.books_gateway_days(timestamptz, timestamptz) IS
    'Closed days of gateways that do not add up. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_gateway_words(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH given AS (
        SELECT t.tx_no, t.gateway_trade_no FROM app.transactions t
        WHERE t.gateway_trade_no IS NOT NULL AND t.tx_type = 'recharge' AND t.status = 'completed'
          AND t.created_at >= p_from AND t.created_at < p_to),
    words AS (
        SELECT a.object_id AS tx_no FROM audit.event_log a WHERE a.action = 'recharge.confirmed' AND a.happened_at >= p_from
        UNION ALL
        SELECT a.context ->> 'tx_no' FROM audit.event_log a
        WHERE a.action = 'suspense.resolved' AND a.context ->> 'status' = 'credited' AND a.happened_at >= p_from)
    SELECT 'gateway_words', format('%s was credited with %s, and neither a callback nor a backend has said so', g.tx_no, g.gateway_trade_no)
    FROM given g LEFT JOIN words w ON w.tx_no = g.tx_no
    WHERE w.tx_no IS NULL
$rule$;
COMMENT ON FUNCTION sec.books_gateway_words(timestamptz, timestamptz) IS
    'Recharges with a gateway''s trade number that nobody''s word has credited. Internal: sec.books_rules().';
CREATE FUNCTION sec.columns_of_settings() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.membership_levels', 'level, name, min_points, discount')
$$;
COMMENT ON FUNCTION sec.columns_of_settings() IS 'What may be read of settings. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.policies_of_settings() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.membership_levels', 'everyone', 'true', 'true')
$$;
COMMENT ON FUNCTION sec.policies_of_settings() IS 'The policies of settings. Internal: sec.policies().';
CREATE FUNCTION sec.standing_triggers_of_settings() RETURNS TABLE (tab text, trig text, events text, each text, func text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.settings', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
           ('app.membership_levels', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
           ('app.settings', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed'),
           ('app.membership_levels', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed'),
           ('app.settings', 'business_day_changed', 'AFTER UPDATE', 'ROW', 'sec.business_day_changed')
$$;
COMMENT ON FUNCTION sec.standing_triggers_of_settings() IS 'The standing triggers of settings. Internal: sec.standing_triggers().';
CREATE FUNCTION sec.descriptions_of_settings() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.membership_levels', 'level', '0 to 4.'),
           ('app.membership_levels', 'name', 'What it is called.'),
           ('app.membership_levels', 'min_points', 'From how many points on.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_settings() IS 'What columns of settings are. Internal: sec.describe_columns().';
CREATE FUNCTION sec.setting_kinds() RETURNS TABLE (kind text, type text, checked text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('whole', 'integer', '%1$I BETWEEN %2$s AND %3$s'),
           ('money', 'numeric(14,2)', '%1$I BETWEEN %2$s AND %3$s'),
           ('rate', 'numeric(8,4)', '%1$I BETWEEN %2$s AND %3$s'),
           ('switch', 'boolean', NULL),
           ('choice', 'text', '%1$I IN (%4$s)'),
           ('time_zone', 'text', '%1$I <> '''''),
           ('minute_of_day', 'time', '%1$I < ''24:00'' AND extract(second FROM %1$I) = 0')
$$;
COMMENT ON FUNCTION sec.setting_kinds() IS
    'What a kind of setting is as a column: its type, and its CHECK, of the name, the lowest, the highest and the choices. Internal: '
    'sec.add_settings().';
CREATE FUNCTION sec.add_settings() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT format('ALTER TABLE app.settings ADD COLUMN %I %s NOT NULL DEFAULT %s', s.setting, k.type, s.fallback)
               || coalesce(format(' CHECK (' || k.checked || ')', s.setting, s.lowest, s.highest, c.list), '') AS ddl
        FROM sec.settings() s JOIN sec.setting_kinds() k ON k.kind = s.kind,
             LATERAL (SELECT string_agg(quote_literal(x.choice), ', ' ORDER BY x.nth) AS list
                      FROM unnest(s.choices) WITH ORDINALITY x (choice, nth)) c
        WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = 'app.settings'::regclass AND a.attname = s.setting)
        ORDER BY s.place
    LOOP
        EXECUTE v.ddl;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.add_settings() IS
    'Gives app.settings the settings that it lacks: all of a new one, those of this release of an older one. Internal: '
    'sec.install_settings() calls it.';
CREATE FUNCTION sec.change_settings(p_changes jsonb) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_set text := (SELECT string_agg(format('%1$I = ($1 ->> %1$L)::%2$s', s.setting, k.type), ', ')
                   FROM sec.settings() s JOIN sec.setting_kinds() k ON k.kind = s.kind WHERE p_changes ? s.setting);
    v_written bigint := 1;
BEGIN
    IF v_set IS NOT NULL THEN
        EXECUTE 'UPDATE app.settings SET ' || v_set USING p_changes;
        GET DIAGNOSTICS v_written = ROW_COUNT;
    END IF;
    RETURN v_written = 1;
END
$$;
COMMENT ON FUNCTION sec.change_settings(jsonb) IS
    'Writes settings, of which p_changes has the new values as text; false where something keeps the row from being written. Internal: '
    'app.update_settings() has looked at the values.';
CREATE FUNCTION sec.begin_with_defaults() RETURNS void
    -- They are nobody's doing and leave no event, also where the triggers are there already: what is restored may be a log, and theirs
    -- would come after it.
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
BEGIN
    INSERT INTO app.settings DEFAULT VALUES;
    INSERT INTO app.membership_levels
    SELECT * FROM (VALUES (0, 'Basic', 0, 1.000), (1, 'Silver', 5000, 0.950), (2, 'Gold', 10000, 0.900),
                          (3, 'Platinum', 15000, 0.850), (4, 'Diamond', 20000, 0.800)) d
    WHERE NOT EXISTS (SELECT FROM app.membership_levels);
END
$$;
COMMENT ON FUNCTION sec.begin_with_defaults() IS
    'Writes the settings and levels that a database begins with. Internal: sec.install_settings() calls it.';
CREATE FUNCTION sec.install_settings() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.settings') IS NULL THEN
        CREATE TABLE app.settings (
            singleton      boolean NOT NULL DEFAULT true PRIMARY KEY,
            schema_version integer NOT NULL DEFAULT 3,
            CONSTRAINT mps_stamp_8f1d6c52 CHECK (singleton)
        );
        COMMENT ON TABLE app.settings IS
            'The one row of settings; units are in the column names. Read and changed by app.get_settings and app.update_settings.';
        COMMENT ON COLUMN app.settings.schema_version IS
            'Which layout these tables have; the library checks it and answers SCHEMA_OUTDATED until app.migrate() has run.';
    END IF;
    PERFORM sec.add_settings();
    IF to_regclass('app.membership_levels') IS NULL THEN
        CREATE TABLE app.membership_levels (
            level      smallint     NOT NULL PRIMARY KEY CHECK (level >= 0),
            name       text         NOT NULL CHECK (length(name) BETWEEN 1 AND 500),
            min_points bigint       NOT NULL UNIQUE CHECK (min_points >= 0),
            discount   numeric(4,3) NOT NULL CHECK (discount > 0 AND discount <= 1)
        );
        COMMENT ON TABLE app.membership_levels IS
            'Levels of personal cards: the highest whose min_points is reached. A change takes effect at the next charge; '
            'app.recompute_levels() applies it to every card.';
        COMMENT ON COLUMN app.membership_levels.discount IS 'What a price is multiplied by: 0.950 is five percent off.';
    END IF;
    -- New, or from a dump of the schema alone.
    IF NOT EXISTS (SELECT FROM app.settings) THEN
        PERFORM sec.begin_with_defaults();
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_settings() IS
    'Makes the settings and the levels, with a row each to begin with, where they are missing. Internal: sec.install() calls it.';
CREATE OR REPLACE FUNCTION app.get_settings()
    RETURNS jsonb
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'get_settings_wrapper';
COMMENT ON FUNCTION app.get_settings IS
    E'The settings, as one object.\n'
    'By a backend. Units are in the names. STABLE.\n'
    'Level: backend.\n'
    'Results: one JSON object: name, value.';
CREATE OR REPLACE FUNCTION app.update_settings(p_settings jsonb)
    RETURNS jsonb
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'update_settings_wrapper';
COMMENT ON FUNCTION app.update_settings IS
    E'Changes the settings that are named, all or none.\n'
    'By a backend.\n'
    'Level: backend.\n'
    'Results: one JSON object with all settings after the change.\n'
    'Errors: INVALID_ARGUMENT (unknown names, wrong types, values out of range).';
CREATE OR REPLACE FUNCTION sec.config_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'config_changed_trigger_wrapper';
CREATE FUNCTION sec.business_day_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'business_day_changed_trigger_wrapper';
COMMENT ON FUNCTION sec.business_day_changed() IS
    'Trigger: has app.business_day_rules follow the settings, from the next business day on. Internal.';
CREATE OR REPLACE FUNCTION sec.level_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_before jsonb;
    v_after jsonb;
BEGIN
    -- Our columns alone: to make JSON of another type, its owner's functions would run as ours.
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        v_before := jsonb_build_object('level', OLD.level, 'name', OLD.name, 'min_points', OLD.min_points, 'discount', OLD.discount);
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        v_after := jsonb_build_object('level', NEW.level, 'name', NEW.name, 'min_points', NEW.min_points, 'discount', NEW.discount);
    END IF;
    IF TG_OP = 'UPDATE' AND v_after = v_before THEN
        RETURN NULL;
    END IF;
    PERFORM sec.refuse_shadows();
    PERFORM sec.record_event('level.' || CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'changed' ELSE 'removed' END,
                             'membership_level', coalesce(v_after ->> 'level', v_before ->> 'level', 'all'),
                             jsonb_strip_nulls(jsonb_build_object('before', v_before, 'after', v_after)));
    RETURN NULL;
END
$$;
CREATE FUNCTION sec.logged_of_settings() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('settings.updated', ARRAY['now']), ('level.created', ARRAY['after']), ('level.changed', ARRAY['before', 'after']),
           ('level.removed', '{}')
$$;
COMMENT ON FUNCTION sec.logged_of_settings() IS 'The events of settings and levels. Internal: sec.logged_actions().';
CREATE FUNCTION sec.rebuilds_of_settings() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (10, 'rebuild_settings'), (20, 'rebuild_levels')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_settings() IS 'The steps of settings. Internal: sec.rebuild_steps().';
CREATE FUNCTION sec.rebuild_settings() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now jsonb;
    v_days jsonb;
BEGIN
    SELECT e.context -> 'now' INTO v_now FROM audit.event_log e WHERE e.action = 'settings.updated' ORDER BY e.id DESC LIMIT 1;
    IF FOUND AND NOT sec.change_settings(v_now) THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'something keeps the settings from being written');
    END IF;
    SELECT e.context -> 'business_days' INTO v_days
    FROM audit.event_log e WHERE e.action = 'settings.updated' AND e.context ? 'business_days' ORDER BY e.id DESC LIMIT 1;
    IF FOUND THEN
        -- That of a trigger counts from now on; these counted when they did.
        DELETE FROM app.business_day_rules;
        INSERT INTO app.business_day_rules (from_at, from_day, time_zone, starts_at)
        SELECT d.from_at, d.from_day, d.time_zone, d.starts_at
        FROM jsonb_to_recordset(v_days) d (from_at timestamptz, from_day date, time_zone text, starts_at time);
    END IF;
    RETURN QUERY SELECT 'settings', count(*) FROM jsonb_object_keys(v_now);
END
$$;
COMMENT ON FUNCTION sec.rebuild_settings() IS
    'The settings as the last change left them, and what a business day was and is. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.rebuild_levels() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_levels jsonb := (SELECT coalesce(jsonb_object_agg(l.level, to_jsonb(l)), '{}')
                       FROM (SELECT x.level, x.name, x.min_points, x.discount FROM app.membership_levels x) l);
BEGIN
    FOR v IN SELECT e.context -> 'before' AS before, e.context -> 'after' AS after FROM audit.event_log e
             WHERE e.action IN ('level.created', 'level.changed', 'level.removed') ORDER BY e.id LOOP
        v_levels := CASE WHEN v.before IS NULL AND v.after IS NULL THEN '{}' ELSE v_levels - coalesce(v.before ->> 'level', '') END;
        IF v.after IS NOT NULL THEN
            v_levels := v_levels || jsonb_build_object(v.after ->> 'level', v.after);
        END IF;
    END LOOP;
    -- What is as it is to be is not touched: each change leaves an event.
    DELETE FROM app.membership_levels l
    WHERE NOT EXISTS (SELECT FROM jsonb_each(v_levels) x
                      WHERE x.value = jsonb_build_object('level', l.level, 'name', l.name, 'min_points', l.min_points,
                                                         'discount', l.discount));
    INSERT INTO app.membership_levels (level, name, min_points, discount)
    SELECT d.level, d.name, d.min_points, d.discount
    FROM jsonb_each(v_levels) x, jsonb_to_record(x.value) d (level smallint, name text, min_points bigint, discount numeric)
    WHERE NOT EXISTS (SELECT FROM app.membership_levels l WHERE l.level = d.level);
    RETURN QUERY SELECT 'levels', count(*) FROM jsonb_object_keys(v_levels);
END
$$;
COMMENT ON FUNCTION sec.rebuild_levels() IS
    'The levels of membership, from those that a database begins with. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.columns_of_statements() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.v_usage_logs', NULL)
$$;
COMMENT ON FUNCTION sec.columns_of_statements() IS 'What may be read of statements. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.descriptions_of_statements() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.v_usage_logs', 'tx_id', 'Its id: yymm x 10^11 + running number.'),
           ('app.v_usage_logs', 'tx_no',
            'ZF (payment), TK (refund), CZ (recharge), TZ (adjustment) or TX (withdrawal), then year, month, running number.'),
           ('app.v_usage_logs', 'tx_type', 'payment, refund, recharge, adjustment, withdrawal.'),
           ('app.v_usage_logs', 'status', 'processing, completed, failed, cancelled; only completed ones have moved money.'),
           ('app.v_usage_logs', 'card_type', 'personal, enterprise.'),
           ('app.v_usage_logs', 'card_id', 'The card that was used.'),
           ('app.v_usage_logs', 'member_id', 'The signed-in user.'),
           ('app.v_usage_logs', 'merchant_id', 'The merchant; NULL where none is concerned.'),
           ('app.v_usage_logs', 'raw_amount', 'Before discount; signed for adjustments.'),
           ('app.v_usage_logs', 'discount', 'What it was multiplied by: 0.950 is five percent off.'),
           ('app.v_usage_logs', 'final_amount', 'What was paid, given back, recharged or withdrawn; signed for adjustments.'),
           ('app.v_usage_logs', 'points_earned', 'Points added by it; negative where taken back.'),
           ('app.v_usage_logs', 'balance_after', 'The card''s balance after it; NULL until it is completed.'),
           ('app.v_usage_logs', 'payment_method', 'balance, or of recharges wechat, alipay, cash.'),
           ('app.v_usage_logs', 'original_tx_no', 'What a refund or an adjustment belongs to.'),
           ('app.v_usage_logs', 'refunded_amount', 'Of a payment: the sum of its refunds so far.'),
           ('app.v_usage_logs', 'reason', 'As it was given.'),
           ('app.v_usage_logs', 'created_at', 'When it was asked for.'),
           ('app.v_usage_logs', 'posted_at', 'When it moved the balance; NULL until then.'),
           ('app.v_reconciliation', 'payment_method', 'balance, or of recharges wechat, alipay, cash.'),
           ('app.v_reconciliation', 'payments', 'How many payments.'),
           ('app.v_reconciliation', 'payment_total', 'What they took from cards.'),
           ('app.v_reconciliation', 'refunds', 'How many refunds.'),
           ('app.v_reconciliation', 'refund_total', 'What they gave back to cards.'),
           ('app.v_reconciliation', 'recharges', 'How many recharges.'),
           ('app.v_reconciliation', 'recharge_total', 'What they put on cards.'),
           ('app.v_reconciliation', 'adjustments', 'How many corrections and replacements of cards; a replacement has two.'),
           ('app.v_reconciliation', 'adjustment_total', 'What they changed balances by, signed.'),
           ('app.v_reconciliation', 'withdrawals', 'How many withdrawals.'),
           ('app.v_reconciliation', 'withdrawal_total', 'What they took from cards; what came back of it is an adjustment.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_statements() IS 'What columns of statements are. Internal: sec.describe_columns().';
CREATE OR REPLACE FUNCTION app.card_statement(p_card_id uuid, p_card_type text DEFAULT 'personal', p_before text DEFAULT NULL,
    p_limit integer DEFAULT 50)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, change numeric, raw_amount numeric, discount numeric,
        final_amount numeric, points_earned bigint, balance_after numeric, card_seq bigint, payment_method text,
        merchant_code text, member_id uuid, original_tx_no text, refunded_amount numeric, reason text, tag jsonb,
        created_at timestamptz, posted_at timestamptz)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'card_statement_wrapper';
COMMENT ON FUNCTION app.card_statement IS
    E'A page of a card''s movements, newest first.\n'
    'By whoever may see the card: its owner, everyone bound to the enterprise card, a backend. By card_seq; p_before (a tx_no of '
    'the card) continues below it; p_limit: 1 to 500 rows. p_card_type: personal, enterprise. Recharges still processing are not '
    'movements. STABLE.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (of the movement), tx_type (payment, refund, recharge, adjustment, withdrawal), status (completed; '
    'cancelled: a payment of 0.00 that was given back), '
    'change (of the balance, signed), raw_amount (before discount), discount, final_amount (what was moved), points_earned '
    '(negative where taken back), balance_after, card_seq (the card''s own count of movements), payment_method (balance, wechat, '
    'alipay, cash), merchant_code, member_id (who used the card), original_tx_no (what a refund or adjustment belongs to), '
    'refunded_amount (of a payment, so far), reason, tag (one whose text would be longer than 16 KiB is shown as sec.shown_tag() '
    'says), created_at, posted_at (when it moved the balance).\n'
    'Errors: CARD_NOT_FOUND, TX_NOT_FOUND, ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE FUNCTION app.usage_page(p_before text DEFAULT NULL, p_limit integer DEFAULT 20)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, change numeric, raw_amount numeric, discount numeric,
        final_amount numeric, points_earned bigint, balance_after numeric, card_seq bigint, payment_method text, merchant_code text,
        member_id uuid, original_tx_no text, refunded_amount numeric, reason text, tag jsonb, created_at timestamptz,
        posted_at timestamptz, card_type text, card_id uuid, card_no text)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'usage_page_wrapper';
COMMENT ON FUNCTION app.usage_page IS
    E'A page of what the signed-in user did with all its cards, newest first.\n'
    'By the user, for itself. Its personal card and those that it replaced, and its own part of the enterprise cards that it is bound '
    'to. By posted_at; a recharge that waits for its money by created_at. p_before (a tx_no of the page) continues below it; p_limit: '
    '1 to 500 rows. Costs the page, however long the history is. STABLE.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (of the transaction), tx_type (payment, refund, recharge, adjustment, withdrawal), status (completed; '
    'processing, of a recharge that waits), change (of the balance, signed), raw_amount (before discount), discount, final_amount '
    '(what was moved), points_earned (negative where taken back), balance_after, card_seq (the card''s own count of movements), '
    'payment_method (balance, wechat, alipay, cash), merchant_code, member_id (the user), original_tx_no (what a refund or '
    'adjustment belongs to), refunded_amount (of a payment, so far), reason, tag (one whose text would be longer than 16 KiB is '
    'shown as sec.shown_tag() says), created_at, posted_at (when it moved the balance), card_type (personal, enterprise), card_id, '
    'card_no.\n'
    'Errors: TX_NOT_FOUND, ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE FUNCTION app.merchant_statement(p_merchant_code text, p_from timestamptz DEFAULT NULL, p_to timestamptz DEFAULT NULL,
    p_before text DEFAULT NULL, p_limit integer DEFAULT 50, p_day date DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, card_type text, card_id uuid, raw_amount numeric, discount numeric,
        final_amount numeric, points_earned bigint, payment_method text, original_tx_no text, refunded_amount numeric, reason text,
        tag jsonb, external_order_id text, processed_by uuid, created_at timestamptz, posted_at timestamptz, business_day date)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'merchant_statement_v3_wrapper';
COMMENT ON FUNCTION app.merchant_statement(text,timestamp with time zone,timestamp with time zone,text,integer,date) IS
    E'A page of a merchant''s transactions, newest first.\n'
    'By an operator of the merchant (owner, admin, cashier) or a backend. From p_from (inclusive) to p_to (exclusive), or of the '
    'business day p_day: all of it by posted_at, and by created_at what is not posted. p_before (a tx_no of the merchant) continues '
    'below it; p_limit: 1 to 500 rows. The lines of a business day that were posted add up to that day in app.v_reconciliation. Never '
    'shows a balance. STABLE.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (of the transaction), tx_type (payment, refund, recharge, adjustment, withdrawal), status (processing, '
    'completed, failed, cancelled), card_type (personal, enterprise), card_id, raw_amount (before discount), discount, final_amount '
    '(what was moved), points_earned (negative where taken back), payment_method (balance, wechat, alipay, cash), original_tx_no '
    '(the payment of a refund), refunded_amount (of a payment, so far), reason, tag (one whose text would be longer than 16 KiB is '
    'shown as sec.shown_tag() says), external_order_id (the shop''s own number), processed_by (the operator; NULL for a backend), '
    'created_at, posted_at (when it moved the balance), business_day (the day that it counts for).\n'
    'Errors: MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, TX_NOT_FOUND, ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE OR REPLACE FUNCTION app.balance_as_of(p_card_id uuid, p_at timestamptz, p_card_type text DEFAULT 'personal')
    RETURNS numeric
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'balance_as_of_wrapper';
COMMENT ON FUNCTION app.balance_as_of IS
    E'The balance of a card at a moment.\n'
    'By whoever may see the card: its owner, everyone bound to the enterprise card, a backend. It is that after the last movement '
    'posted at or before p_at; 0 before the first. p_card_type: personal, enterprise. STABLE.\n'
    'Level: client.\n'
    'Results: the balance, in currency units.\n'
    'Errors: CARD_NOT_FOUND, ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';
CREATE OR REPLACE FUNCTION app.tx_by_no(p_tx_no text)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, card_type text, card_id uuid, member_id uuid, merchant_code text,
        raw_amount numeric, discount numeric, final_amount numeric, points_earned bigint, balance_after numeric, payment_method text,
        original_tx_no text, refunded_amount numeric, reason text, tag jsonb, created_at timestamptz, posted_at timestamptz)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'tx_by_no_wrapper';
COMMENT ON FUNCTION app.tx_by_no IS
    E'A transaction by its number, and below a payment its newest refunds.\n'
    'By whoever may see the card, the member of the transaction, the operators of its merchant, a backend. Refunds newest first, '
    '500 at most; all of them are in the card''s and the merchant''s statement. STABLE.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (of the transaction), tx_type (payment, refund, recharge, adjustment, withdrawal), status (processing, '
    'completed, failed, cancelled), card_type (personal, enterprise), card_id, member_id (who used the card), merchant_code, '
    'raw_amount (before discount), discount, final_amount (what was moved), points_earned (negative where taken back), '
    'balance_after (only for those who may see the card), payment_method (balance, wechat, alipay, cash), original_tx_no (what a '
    'refund or adjustment belongs to), refunded_amount (of a payment, so far), reason, tag (one whose text would be longer than 16 '
    'KiB is shown as sec.shown_tag() says), created_at, posted_at (when it moved the balance).\n'
    'Errors: TX_NOT_FOUND (also for what the caller may not see), ARCHIVED, NOT_AUTHENTICATED.';
CREATE FUNCTION sec.shown_tag(p_tag jsonb) RETURNS jsonb
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'shown_tag_wrapper';
COMMENT ON FUNCTION sec.shown_tag(jsonb) IS
    E'The tag of a transaction as views and statements show it: itself, or where its text would be longer than 16 KiB (older '
    'releases let such in) {"mps_omitted": "tag", "bytes_of_text": how many}.\n'
    'Level: client.';
CREATE FUNCTION sec.make_usage_logs() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE OR REPLACE VIEW app.v_usage_logs WITH (security_invoker = true) AS
        SELECT t.id AS tx_id, t.tx_no, t.tx_type::text AS tx_type, t.status::text AS status, t.card_type::text AS card_type,
               t.card_id, t.member_id, t.merchant_id, t.raw_amount, t.discount, t.final_amount, t.points_earned,
               t.balance_after, t.payment_method::text AS payment_method, t.original_tx_no, t.refunded_amount,
               t.reason, sec.shown_tag(t.tag) AS tag, t.created_at, t.posted_at
        -- Of two things, so that nobody takes it for a view that can be written to; the planner drops the second.
        FROM app.transactions t, (SELECT) read_only WHERE t.member_id = (SELECT sec.uid());
    COMMENT ON COLUMN app.v_usage_logs.tag IS 'As sec.shown_tag() shows it: one whose text would be longer than 16 KiB is left out.';
    COMMENT ON VIEW app.v_usage_logs IS
        'The transactions that the signed-in user made, with enterprise cards as long as it is bound to them. It costs the months '
        'that a constant condition on created_at names, without one every month that is not archived; for a page, '
        'app.usage_page() costs the page.';
END
$$;
COMMENT ON FUNCTION sec.make_usage_logs() IS 'Makes app.v_usage_logs, or makes it anew. Internal.';
CREATE FUNCTION sec.make_reconciliation() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE OR REPLACE VIEW app.v_reconciliation WITH (security_invoker = true) AS
        SELECT x.day, m.code AS merchant_code, x.payment_method, x.payments, x.payment_total, x.refunds, x.refund_total,
               x.recharges, x.recharge_total, x.adjustments, x.adjustment_total,
               x.recharge_total + x.refund_total + x.adjustment_total - x.payment_total - x.withdrawal_total AS net, x.withdrawals,
               x.withdrawal_total
        FROM (SELECT app.business_day(t.posted_at) AS day, t.merchant_id, t.payment_method::text AS payment_method,
                     count(*) FILTER (WHERE t.tx_type = 'payment') AS payments,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'payment'), 0.00) AS payment_total,
                     count(*) FILTER (WHERE t.tx_type = 'refund') AS refunds,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'refund'), 0.00) AS refund_total,
                     count(*) FILTER (WHERE t.tx_type = 'recharge') AS recharges,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'recharge'), 0.00) AS recharge_total,
                     count(*) FILTER (WHERE t.tx_type = 'adjustment') AS adjustments,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'adjustment'), 0.00) AS adjustment_total,
                     -- The last type, by what it is not: an upgrade has only just added it.
                     count(*) FILTER (WHERE t.tx_type NOT IN ('payment', 'refund', 'recharge', 'adjustment')) AS withdrawals,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type NOT IN ('payment', 'refund', 'recharge', 'adjustment')), 0.00)
                         AS withdrawal_total
              FROM app.transactions t WHERE t.posted_at IS NOT NULL GROUP BY 1, 2, 3) x
             LEFT JOIN app.merchants m ON m.id = x.merchant_id;
    COMMENT ON VIEW app.v_reconciliation IS
        'What was posted, by business day, merchant and payment method: counts and totals in currency units, as far as the '
        'reader may see transactions. Archived months are not in it. It reads every month, whatever day is asked for: '
        'app.day_totals() gives the same of a day at the cost of that day.';
    COMMENT ON COLUMN app.v_reconciliation.day IS 'The business day of posted_at, by app.business_day().';
    COMMENT ON COLUMN app.v_reconciliation.merchant_code IS 'NULL where no merchant is concerned (or none that the reader may see).';
    COMMENT ON COLUMN app.v_reconciliation.net IS
        'What the balances of all cards changed by: recharges + refunds + adjustments - payments - withdrawals.';
END
$$;
COMMENT ON FUNCTION sec.make_reconciliation() IS 'Makes app.v_reconciliation, or makes it anew. Internal.';
CREATE FUNCTION app.day_totals(p_from_day date DEFAULT NULL, p_to_day date DEFAULT NULL)
    RETURNS TABLE (day date, merchant_code text, payment_method text, payments bigint, payment_total numeric, refunds bigint,
        refund_total numeric, recharges bigint, recharge_total numeric, adjustments bigint, adjustment_total numeric, net numeric,
        withdrawals bigint, withdrawal_total numeric)
    -- Of each month by its index on merchants and moments, whatever the statistics say.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET timezone = 'UTC' SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off
    SET enable_mergejoin = off AS $totals$
DECLARE
    c_days constant integer := 366;
    v_from_day date;
    v_to_day date;
    v_from timestamptz;
    v_to timestamptz;
    v_late text;
    v_rows text := '';
    v_month timestamp;
BEGIN
    PERFORM sec.refuse_outdated();
    PERFORM sec.require_sound_tables();
    v_from_day := coalesce(p_from_day, app.business_day(now()));
    v_to_day := coalesce(p_to_day, v_from_day);
    IF NOT isfinite(v_from_day) OR NOT isfinite(v_to_day) OR v_from_day > v_to_day OR v_to_day - v_from_day >= c_days THEN
        PERFORM sec.raise('INVALID_ARGUMENT', format('p_from_day to p_to_day are 1 to %s days, in this order', c_days));
    END IF;
    v_from := app.business_day_start(v_from_day);
    v_to := app.business_day_start(v_to_day + 1);
    IF EXISTS (SELECT FROM app.archived_months a WHERE a.month + interval '1 month' > v_from AND a.month < v_to) THEN
        PERFORM sec.raise('ARCHIVED', 'part of the period is archived');
    END IF;
    -- What was posted in the months of the range, of those asked for in them: the merchants of a month one after the other, then
    -- each one's moments.
    FOR v_month IN SELECT generate_series(date_trunc('month', v_from), v_to - interval '1 microsecond', interval '1 month') LOOP
        CONTINUE WHEN NOT sec.has_month(v_month);
        v_rows := v_rows || format($q$
            UNION ALL
            SELECT t.* FROM (
                WITH RECURSIVE merchants (id) AS (
                    (SELECT x.merchant_id FROM app.%1$I x WHERE x.merchant_id IS NOT NULL ORDER BY x.merchant_id LIMIT 1)
                    UNION ALL
                    SELECT (SELECT x.merchant_id FROM app.%1$I x WHERE x.merchant_id > m.id ORDER BY x.merchant_id LIMIT 1)
                    FROM merchants m WHERE m.id IS NOT NULL)
                SELECT m.id FROM merchants m WHERE m.id IS NOT NULL) m
            CROSS JOIN LATERAL (
                SELECT x.merchant_id, x.posted_at, x.tx_type, x.payment_method, x.final_amount FROM app.%1$I x
                WHERE x.merchant_id = m.id AND x.posted_at >= greatest($1, %2$L) AND x.posted_at < least($2, %3$L)) t
            UNION ALL
            SELECT x.merchant_id, x.posted_at, x.tx_type, x.payment_method, x.final_amount FROM app.%1$I x
            WHERE x.merchant_id IS NULL AND x.posted_at >= greatest($1, %2$L) AND x.posted_at < least($2, %3$L)$q$,
            'transactions_' || to_char(v_month, 'YYYYMM'), v_month::timestamptz, (v_month + interval '1 month')::timestamptz);
    END LOOP;
    -- And what lies in other months.
    FOR v_month IN
        SELECT DISTINCT date_trunc('month', l.created_at) FROM app.late_postings l WHERE l.posted_at >= v_from AND l.posted_at < v_to
    LOOP
        CONTINUE WHEN NOT sec.has_month(v_month);
        v_rows := v_rows || format($q$
            UNION ALL
            SELECT x.merchant_id, x.posted_at, x.tx_type, x.payment_method, x.final_amount
            FROM app.late_postings l JOIN app.%1$I x ON x.id = l.tx_id
            WHERE l.posted_at >= $1 AND l.posted_at < $2$q$, 'transactions_' || to_char(v_month, 'YYYYMM'));
    END LOOP;
    IF v_rows = '' THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format($q$
        SELECT x.day, (SELECT m.code FROM app.merchants m WHERE m.id = x.merchant_id), x.payment_method, x.payments, x.payment_total,
               x.refunds, x.refund_total, x.recharges, x.recharge_total, x.adjustments, x.adjustment_total,
               x.recharge_total + x.refund_total + x.adjustment_total - x.payment_total - x.withdrawal_total, x.withdrawals,
               x.withdrawal_total
        FROM (SELECT app.business_day(t.posted_at) AS day, t.merchant_id, t.payment_method::text AS payment_method,
                     count(*) FILTER (WHERE t.tx_type = 'payment') AS payments,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'payment'), 0.00) AS payment_total,
                     count(*) FILTER (WHERE t.tx_type = 'refund') AS refunds,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'refund'), 0.00) AS refund_total,
                     count(*) FILTER (WHERE t.tx_type = 'recharge') AS recharges,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'recharge'), 0.00) AS recharge_total,
                     count(*) FILTER (WHERE t.tx_type = 'adjustment') AS adjustments,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'adjustment'), 0.00) AS adjustment_total,
                     count(*) FILTER (WHERE t.tx_type = 'withdrawal') AS withdrawals,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'withdrawal'), 0.00) AS withdrawal_total
              FROM (%s) t GROUP BY 1, 2, 3) x
        ORDER BY 1, 2, 3$q$, substr(ltrim(v_rows, E' \n'), length('UNION ALL ')))
        USING v_from, v_to;
EXCEPTION WHEN undefined_table THEN
    PERFORM sec.raise('ARCHIVED', 'part of the period was archived meanwhile');
END
$totals$;
COMMENT ON FUNCTION app.day_totals(date, date) IS
    E'The totals of business days by day, merchant and payment method.\n'
    'By a backend or an operator. What app.v_reconciliation says of the days from p_from_day (NULL: today) to p_to_day (NULL: the '
    'same; at most 366 days), at the cost of those days. STABLE.\n'
    'Level: backend, operator.\n'
    'Results: day, merchant_code (NULL where no merchant is concerned), payment_method (balance, wechat, alipay, cash), payments '
    '(how many), payment_total, refunds, refund_total, recharges, recharge_total, adjustments, adjustment_total, net (what balances '
    'changed by), withdrawals, withdrawal_total.\n'
    'Errors: INVALID_ARGUMENT, ARCHIVED.';
CREATE FUNCTION sec.columns_of_withdrawals() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('backend', 'app.withdrawals',
            'created_at, settled_at, card_type, payment_method, card_id, amount, refund_no, tx_no, source_tx_no, gateway_account, '
            'gateway_trade_no, asked, payout, status, gateway_state, gateway_refund_no, returned_tx_no, reason')
$$;
COMMENT ON FUNCTION sec.columns_of_withdrawals() IS
    'What may be read of withdrawals. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.policies_of_withdrawals() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES -- Clients see the movement in their statement, and nothing of this.
           ('app.withdrawals', 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
            'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege')
$$;
COMMENT ON FUNCTION sec.policies_of_withdrawals() IS 'The policies of withdrawals. Internal: sec.policies().';
CREATE FUNCTION sec.descriptions_of_withdrawals() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.withdrawals', 'created_at', 'When it was asked for.'),
           ('app.withdrawals', 'card_type', 'personal, enterprise.'),
           ('app.withdrawals', 'card_id', 'The card that it was taken off.'),
           ('app.withdrawals', 'amount', 'What the payer gets, in currency units.'),
           ('app.withdrawals', 'tx_no', 'The withdrawal: its movement, of all its refund numbers.'),
           ('app.withdrawals', 'asked', 'The p_payout of the withdrawal: source, transfer, cash.'),
           ('app.withdrawals', 'reason', 'Why it was given back to the card.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_withdrawals() IS 'What columns of withdrawals are. Internal: sec.describe_columns().';
CREATE FUNCTION sec.install_withdrawals() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.withdrawals') IS NULL THEN
        CREATE TABLE app.withdrawals (
            created_at        timestamptz    NOT NULL,
            settled_at        timestamptz,
            card_type         app.card_type  NOT NULL,
            payment_method    app.pay_method NOT NULL,
            card_id           uuid           NOT NULL,
            amount            numeric(14,2)  NOT NULL CHECK (amount > 0),
            refund_no         text           NOT NULL PRIMARY KEY,
            tx_no             text           NOT NULL,
            source_tx_no      text,
            gateway_account   text,
            gateway_trade_no  text,
            asked             text           NOT NULL CHECK (asked IN ('source', 'transfer', 'cash')),
            payout            text           NOT NULL CHECK (payout IN ('source', 'transfer', 'cash')),
            status            text           NOT NULL CHECK (status IN ('processing', 'completed', 'returned', 'paid_after_return')),
            gateway_state     text,
            gateway_refund_no text,
            returned_tx_no    text           UNIQUE,
            reason            text,
            CHECK ((status = 'processing') = (settled_at IS NULL)),
            CHECK ((status IN ('returned', 'paid_after_return')) = (returned_tx_no IS NOT NULL))
        );
        CREATE INDEX withdrawals_tx_no_idx ON app.withdrawals (tx_no);
        CREATE INDEX withdrawals_source_tx_no_idx ON app.withdrawals (source_tx_no) WHERE source_tx_no IS NOT NULL;
        CREATE INDEX withdrawals_gateway_trade_no_idx ON app.withdrawals (gateway_trade_no) WHERE gateway_trade_no IS NOT NULL;
        CREATE INDEX withdrawals_open_idx ON app.withdrawals (created_at) WHERE status IN ('processing', 'paid_after_return');
        COMMENT ON TABLE app.withdrawals IS
            'What a withdrawal takes of each source, under a refund number of its own. The withdrawal is over when none of them is '
            'processing';
        COMMENT ON COLUMN app.withdrawals.settled_at IS 'When the last word was said of it. NULL: it is processing.';
        COMMENT ON COLUMN app.withdrawals.payment_method IS
            'How it came in: cash, wechat, alipay; balance where that lies in archived months.';
        COMMENT ON COLUMN app.withdrawals.refund_no IS
            'tx_no, a hyphen, and which of its sources: what is sent to a gateway as out_refund_no or out_request_no.';
        COMMENT ON COLUMN app.withdrawals.source_tx_no IS
            'The recharge that it came in by, of the card or of one that this took over from. NULL: of archived months.';
        COMMENT ON COLUMN app.withdrawals.gateway_account IS 'The account whose callback has credited that recharge, if one has.';
        COMMENT ON COLUMN app.withdrawals.gateway_trade_no IS 'The gateway''s number of the payment that is refunded, if it has one.';
        COMMENT ON COLUMN app.withdrawals.payout IS
            'How it goes out: source (by the gateway, or by who had said that it came), transfer (somebody makes it), cash.';
        COMMENT ON COLUMN app.withdrawals.status IS
            'processing; completed, the payer has it; returned, the card has it again; paid_after_return, the payer was paid after that.';
        COMMENT ON COLUMN app.withdrawals.gateway_state IS 'What the gateway said while it is processing: ABNORMAL asks for somebody.';
        COMMENT ON COLUMN app.withdrawals.gateway_refund_no IS 'The number that the gateway or the bank has for it, if somebody noted it.';
        COMMENT ON COLUMN app.withdrawals.returned_tx_no IS 'The adjustment that gave it back to the card.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_withdrawals() IS 'Makes the table of withdrawals, where it is missing. Internal: sec.install() calls it.';
CREATE FUNCTION app.withdraw(p_card_id uuid, p_amount numeric, p_reason text, p_idempotency_key text,
    p_card_type text DEFAULT 'personal', p_payout text DEFAULT 'source', p_merchant_code text DEFAULT NULL)
    RETURNS TABLE (tx_no text, refund_no text, source_tx_no text, gateway_account text, gateway_trade_no text, payment_method text,
        payout text, amount numeric, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE ROWS 3
    AS 'MODULE_PATHNAME', 'withdraw_wrapper';
COMMENT ON FUNCTION app.withdraw IS
    E'Takes a member''s own money off a card at once, to go back to where it came from.\n'
    'By a backend; one row for each refund number. Of a card of any status, or of the one that replaced it, never below zero. The '
    'sources are its recharges and those of the cards that it replaced, newest first, each up to what it credited, less what was '
    'taken back or withdrawn of it. p_card_type: personal, enterprise. p_payout: source (the way it came in; a payment older than '
    'some 360 days, in an archived month, or a member''s own without a trade number goes by transfer), transfer, cash. '
    'p_merchant_code: the shop that pays it out. The same key with the same request answers the same rows with replayed = true, and '
    'the status of now.\n'
    'Level: backend.\n'
    'Results: tx_no (the withdrawal, of all rows; TX, year, month, running number), refund_no (tx_no-1, -2 ...; what to send to the '
    'gateway), source_tx_no (the recharge; NULL: of archived months), gateway_account (whose callback credited that, if one did), '
    'gateway_trade_no (of its payment, if known), payment_method (how it came in: cash, wechat, alipay; balance: not known any '
    'more), payout (how it goes out: source, transfer, cash), amount, status (completed; processing until the gateway''s notice, '
    'confirm_withdrawal or fail_withdrawal; later returned, paid_after_return), created_at, replayed (whether this answers an '
    'earlier request again).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT (also more than 200 sources), CARD_NOT_FOUND, INSUFFICIENT_BALANCE (also where recharges '
    'do not cover it), MERCHANT_NOT_FOUND, MERCHANT_INACTIVE, IDEMPOTENCY_KEY_REUSED, ARCHIVED, NOT_ALLOWED.';
CREATE FUNCTION app.confirm_withdrawal(p_refund_no text, p_amount numeric, p_gateway_refund_no text DEFAULT NULL)
    RETURNS TABLE (refund_no text, tx_no text, card_id uuid, amount numeric, status text, returned_tx_no text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'confirm_withdrawal_wrapper';
COMMENT ON FUNCTION app.confirm_withdrawal IS
    E'Says that the payer has what a refund number is for.\n'
    'By a backend, once. p_amount is compared. p_gateway_refund_no: the gateway''s or the bank''s own number, to be kept. What the card '
    'has again already becomes paid_after_return: nothing is taken off the card by that, and app.health() is not ok.\n'
    'Level: backend.\n'
    'Results: refund_no, tx_no (the withdrawal), card_id (the card that it was taken off), amount, status (completed, '
    'paid_after_return), returned_tx_no (the adjustment that had given it back, if one had), replayed (whether nothing had to be done '
    'any more).\n'
    'Errors: TX_NOT_FOUND, AMOUNT_MISMATCH, EXTERNAL_ORDER_CONFLICT (confirmed with another p_gateway_refund_no), INVALID_AMOUNT, '
    'INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION app.fail_withdrawal(p_refund_no text, p_reason text)
    RETURNS TABLE (refund_no text, tx_no text, card_id uuid, amount numeric, status text, returned_tx_no text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'fail_withdrawal_wrapper';
COMMENT ON FUNCTION app.fail_withdrawal IS
    E'Gives what a refund number is for back to the card, because it cannot be paid.\n'
    'By a backend, once: an adjustment, to the card or the one that replaced it, whatever its status. First make sure that the gateway '
    'will not pay it.\n'
    'Level: backend.\n'
    'Results: refund_no, tx_no (the withdrawal), card_id (the card that it was taken off), amount, status (returned, '
    'paid_after_return), returned_tx_no (the adjustment; TZ, year, month, running number), replayed (whether it was given back '
    'already).\n'
    'Errors: TX_NOT_FOUND, STATUS_CONFLICT (the payer has it), BALANCE_LIMIT (no card can hold so much), INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION sec.rules_of_withdrawals() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (150, ARRAY['withdrawals'], 'books_withdrawals')
$$;
COMMENT ON FUNCTION sec.rules_of_withdrawals() IS 'What app.verify_books() checks of withdrawals. Internal: sec.books_rules().';
CREATE FUNCTION sec.id_of_written(p_tx_no text, p_prefix text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $rule$
    SELECT CASE WHEN p_tx_no ~ '^[A-Z]{2}[0-9]{10,15}$' AND left(p_tx_no, 2) = p_prefix
                THEN substr(p_tx_no, 3, 4)::bigint * 100000000000 + substr(p_tx_no, 7)::bigint END
$rule$;
COMMENT ON FUNCTION sec.id_of_written(text, text) IS
    'The id of the transaction whose number this is, of a kind; NULL: it is none. Internal: the rules of app.verify_books().';
CREATE FUNCTION sec.books_withdrawals(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH parts AS (
        SELECT w.*, sec.id_of_written(w.tx_no, 'TX') AS id, sec.id_of_written(w.source_tx_no, 'CZ') AS source_id,
               sec.id_of_written(w.returned_tx_no, 'TZ') AS returned_id
        FROM app.withdrawals w),
    sums AS (SELECT p.tx_no, min(p.id) AS id, sum(p.amount) AS total,
                    coalesce(sum(p.amount) FILTER (WHERE p.status = 'processing'), 0) AS waiting,
                    (SELECT coalesce(sum(c.amount), 0) FROM app.transaction_compensations c WHERE c.tx_no = p.tx_no) AS back,
                    array_agg(DISTINCT p.card_id) AS cards,
                    bool_and(p.refund_no ~ ('^' || p.tx_no || '-[1-9][0-9]{0,2}$')) AS numbered
             FROM parts p GROUP BY p.tx_no),
    sources AS (SELECT p.source_tx_no, min(p.source_id) AS id, sum(p.amount) FILTER (WHERE p.status IN ('processing', 'completed')) AS total
                FROM parts p WHERE p.source_tx_no IS NOT NULL GROUP BY p.source_tx_no)
    -- Parts add up to the movement.
    SELECT 'withdrawals', format('%s: %s', s.tx_no, x.what)
    FROM sums s
    LEFT JOIN app.transactions t ON t.id = s.id AND t.tx_type = 'withdrawal' AND t.status = 'completed'
        AND t.created_at >= sec.month_of_id(s.id) AND t.created_at < sec.month_of_id(s.id) + interval '1 month'
    CROSS JOIN LATERAL (SELECT CASE
        WHEN s.id IS NULL OR NOT s.numbered THEN 'its refund numbers are not its own'
        WHEN s.back > s.total - s.waiting
            THEN format('took %s, of which %s waits to be paid, and the card has %s again', s.total, s.waiting, s.back)
        WHEN s.id / 100000000000 = ANY (p_archived) THEN NULL
        WHEN t.id IS NULL THEN 'has refund numbers, and there is no such withdrawal'
        WHEN t.final_amount <> s.total THEN format('took %s, and its refund numbers are for %s', t.final_amount, s.total)
        WHEN s.cards <> ARRAY[t.card_id] THEN 'took from another card than its refund numbers say'
        END AS what) x
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'withdrawals', format('%s: has no refund numbers', t.tx_no)
    FROM app.transactions t
    WHERE t.tx_type = 'withdrawal' AND t.created_at >= p_from AND t.created_at < p_to
      AND NOT EXISTS (SELECT FROM app.withdrawals w WHERE w.tx_no = t.tx_no)
    UNION ALL
    -- No source gives more than it got. What was paid after it had come back is not what was decided here.
    SELECT 'withdrawals', format('%s: %s', s.source_tx_no, x.what)
    FROM sources s
    LEFT JOIN app.transactions t ON t.id = s.id AND t.tx_type = 'recharge' AND t.status = 'completed'
        AND t.created_at >= sec.month_of_id(s.id) AND t.created_at < sec.month_of_id(s.id) + interval '1 month'
    CROSS JOIN LATERAL (SELECT CASE
        WHEN s.id / 100000000000 = ANY (p_archived) THEN NULL
        WHEN t.id IS NULL THEN 'was withdrawn of, and there is no such recharge'
        WHEN s.total > t.final_amount THEN format('credited %s, and %s was withdrawn of it', t.final_amount, s.total)
        END AS what) x
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'withdrawals', format('%s: %s', p.refund_no, x.what)
    FROM parts p
    LEFT JOIN app.transactions s ON s.id = p.source_id AND s.tx_type = 'recharge'
        AND s.created_at >= sec.month_of_id(p.source_id) AND s.created_at < sec.month_of_id(p.source_id) + interval '1 month'
    LEFT JOIN app.transactions r ON r.id = p.returned_id AND r.tx_type = 'adjustment' AND r.status = 'completed'
        AND r.created_at >= sec.month_of_id(p.returned_id) AND r.created_at < sec.month_of_id(p.returned_id) + interval '1 month'
    CROSS JOIN LATERAL (SELECT CASE
        WHEN s.card_id <> p.card_id AND NOT sec.took_over(p.card_id, s.card_id)
            THEN format('gives back %s, which was on another card', p.source_tx_no)
        WHEN p.gateway_trade_no <> s.gateway_trade_no
            THEN format('is of trade number %L, and %s of %L', left(p.gateway_trade_no, 40), p.source_tx_no, left(s.gateway_trade_no, 40))
        WHEN p.payout <> p.asked AND p.asked <> 'source' THEN format('goes by %s, and %s was asked for', p.payout, p.asked)
        END AS what
        UNION ALL
        -- Returned ones have their adjustment.
        SELECT CASE
        WHEN p.returned_tx_no IS NULL OR p.returned_id / 100000000000 = ANY (p_archived) THEN NULL
        WHEN r.id IS NULL THEN format('was given back by %s, which is not there', p.returned_tx_no)
        WHEN r.final_amount <> p.amount OR r.original_tx_no IS DISTINCT FROM p.tx_no
            THEN format('was given back by %s, which is %s for %s', r.tx_no, r.final_amount, coalesce(r.original_tx_no, 'nothing'))
        WHEN r.card_id <> p.card_id AND NOT sec.took_over(r.card_id, p.card_id)
            THEN format('was given back by %s to another card', r.tx_no)
        END) x
    WHERE x.what IS NOT NULL
$rule$;
COMMENT ON FUNCTION sec.books_withdrawals(timestamptz, timestamptz, bigint[]) IS
    'Withdrawals whose refund numbers do not add up, that took more of a recharge than it credited, or that were given back otherwise '
    'than is said. Internal: sec.books_rules().';
CREATE FUNCTION sec.took_over(p_card uuid, p_older uuid) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $rule$
    WITH RECURSIVE chain (id) AS (
        SELECT p_older UNION SELECT c.replaced_by FROM chain x JOIN app.personal_cards c ON c.id = x.id WHERE c.replaced_by IS NOT NULL)
    SELECT EXISTS (SELECT FROM chain x WHERE x.id = p_card)
$rule$;
COMMENT ON FUNCTION sec.took_over(uuid, uuid) IS
    'Whether a card is another one, or has, by however many replacements, taken over from it. Internal: the rules of app.verify_books().';
CREATE FUNCTION sec.health_of_withdrawals() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Gateways pay within days, and who makes a transfer does.
    c_patience constant interval := '7 days';
    v record;
BEGIN
    SELECT count(*) AS rows, coalesce(sum(w.amount), 0.00) AS total,
           count(*) FILTER (WHERE w.is_odd) AS odd,
           (array_agg(format('%s (%s, %s)', w.refund_no, w.amount, w.state) ORDER BY w.is_odd DESC, w.created_at))[1:10] AS items INTO v
    FROM (SELECT x.refund_no, x.amount, x.created_at,
                 x.status = 'paid_after_return' OR x.gateway_state = 'ABNORMAL' OR x.created_at < now() - c_patience AS is_odd,
                 concat_ws(' ', x.payout, x.status, x.gateway_state) AS state
          FROM app.withdrawals x
          -- What the card has given back since is over.
          WHERE x.status = 'processing'
             OR x.status = 'paid_after_return' AND x.amount > coalesce((SELECT -sum(c.amount) FROM app.transaction_compensations c
                                                                        WHERE c.tx_no = x.returned_tx_no), 0)) w;
    IF v.rows = 0 THEN
        RETURN QUERY SELECT 'withdrawals'::text, true, 'none is open'::text;
    ELSE
        RETURN QUERY SELECT 'withdrawals'::text, v.odd = 0,
                            format('%s refunds of app.withdrawals are open, %s, of which %s to look at (ABNORMAL, paid after it was '
                                   'returned, or older than %s): %s', v.rows, v.total, v.odd, c_patience, array_to_string(v.items, ', '));
    END IF;
END
$$;
COMMENT ON FUNCTION sec.health_of_withdrawals() IS 'What app.health() says of withdrawals. Internal: sec.health_rows().';
CREATE FUNCTION sec.logged_of_withdrawals() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('withdrawal.asked', ARRAY['tx_no', 'card_no', 'amount', 'asked', 'payout', 'method', 'status']),
           ('withdrawal.completed', '{}'), ('withdrawal.paid_after_return', '{}'), ('withdrawal.returned', ARRAY['returned', 'reason']),
           ('withdrawal.told', ARRAY['state']), ('withdrawal.numbered', ARRAY['gateway_refund_no'])
$$;
COMMENT ON FUNCTION sec.logged_of_withdrawals() IS 'The events of withdrawals. Internal: sec.logged_actions().';
CREATE FUNCTION sec.rebuilds_of_withdrawals() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (170, 'rebuild_withdrawals')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_withdrawals() IS 'The step of withdrawals. Internal: sec.rebuild_steps().';
CREATE FUNCTION sec.rebuild_withdrawals() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.withdrawals (created_at, settled_at, card_type, payment_method, card_id, amount, refund_no, tx_no, source_tx_no,
                                 gateway_account, gateway_trade_no, asked, payout, status, gateway_state, gateway_refund_no,
                                 returned_tx_no, reason)
    SELECT e.happened_at, CASE WHEN e.context ->> 'status' = 'completed' THEN e.happened_at ELSE s.happened_at END,
           coalesce(c.card_type, sec.refuse_log(e.id, format('there is no card %s', e.context ->> 'card_no'))::text)::app.card_type,
           (e.context ->> 'method')::app.pay_method, c.id, (e.context ->> 'amount')::numeric, e.object_id, e.context ->> 'tx_no',
           e.context ->> 'source', e.context ->> 'gateway_account', e.context ->> 'gateway_trade_no', e.context ->> 'asked',
           e.context ->> 'payout', coalesce(substr(s.action, length('withdrawal.') + 1), e.context ->> 'status'),
           t.context ->> 'state', coalesce(g.context, s.context) ->> 'gateway_refund_no', r.context ->> 'returned', r.context ->> 'reason'
    FROM audit.event_log e
    LEFT JOIN sec.logged_cards() c ON c.card_no = e.context ->> 'card_no'
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.* FROM audit.event_log x
               WHERE x.action IN ('withdrawal.completed', 'withdrawal.returned', 'withdrawal.paid_after_return')
               ORDER BY x.object_id, x.id DESC) s ON s.object_id = e.object_id
    LEFT JOIN audit.event_log g ON g.action = 'withdrawal.numbered' AND g.object_id = e.object_id
    LEFT JOIN audit.event_log r ON r.action = 'withdrawal.returned' AND r.object_id = e.object_id
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context FROM audit.event_log x
               WHERE x.action = 'withdrawal.told' ORDER BY x.object_id, x.id DESC) t ON t.object_id = e.object_id
    WHERE e.action = 'withdrawal.asked';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'refund numbers of withdrawals';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_withdrawals() IS 'What withdrawals took of each source. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.columns_of_coupons() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.member_coupons',
            'id, issued_at, valid_from, valid_until, member_id, coupon_id, terms_version, tx_no, status, how'),
           ('client', 'app.coupons', 'id, code'),
           ('client', 'app.coupon_terms',
            'coupon_id, version, hours_from, hours_until, goes_with_level_discount, first_purchase_only, name, kind, value, min_spend, '
            'max_discount, weekdays, levels, card_types'),
           ('client', 'app.v_member_coupons', NULL),
           ('backend', 'app.member_coupons', 'issued_with'),
           ('backend', 'app.coupons', 'terms_version, issued, created_at, budget_amount, status'),
           ('backend', 'app.coupon_terms',
            'created_at, valid_from, valid_until, issue_limit, per_member_limit, per_member_per_day, valid_days_after_issue, '
            'starts_after_days, claimable, budget_amount, on_full_refund, merchants'),
           ('backend', 'app.coupon_budget_parts', 'coupon_id, part, left_amount')
$$;
COMMENT ON FUNCTION sec.columns_of_coupons() IS 'What may be read of coupons. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.policies_of_coupons() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.tab, 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
           'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege'
    FROM (VALUES ('app.coupon_budget_parts')) t (tab)
    UNION ALL
    -- A member sees what it has, and of coupons those; a backend all.
    SELECT t.tab, t.policy, t.own || ' OR (SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
           t.shown || 'ORSELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege'
    FROM (VALUES ('app.member_coupons', 'own_coupons_or_backend', 'member_id = (SELECT sec.uid())', 'member_id=SELECTsec.uidASuid'),
                 ('app.coupons', 'held_coupons_or_backend',
                  'id IN (SELECT m.coupon_id FROM app.member_coupons m WHERE m.member_id = (SELECT sec.uid()))',
                  'idINSELECTm.coupon_idFROMapp.member_couponsmWHEREm.member_id=SELECTsec.uidASuid'),
                 ('app.coupon_terms', 'held_terms_or_backend',
                  '(coupon_id, version) IN (SELECT m.coupon_id, m.terms_version FROM app.member_coupons m '
                  'WHERE m.member_id = (SELECT sec.uid()))',
                  'coupon_id,versionINSELECTm.coupon_id,m.terms_versionFROMapp.member_couponsmWHEREm.member_id=SELECTsec.uidASuid'))
         t (tab, policy, own, shown)
$$;
COMMENT ON FUNCTION sec.policies_of_coupons() IS 'The policies of coupons. Internal: sec.policies().';
CREATE FUNCTION sec.descriptions_of_coupons() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.coupons', 'id', 'coupon_id elsewhere.'),
           ('app.coupons', 'created_at', 'When it was created.'),
           ('app.coupons', 'code', 'By which the RPCs name it.'),
           ('app.coupon_terms', 'coupon_id', 'The coupon.'),
           ('app.coupon_terms', 'version', '1, 2, ...: which edit it is.'),
           ('app.coupon_terms', 'created_at', 'When they were made.'),
           ('app.coupon_terms', 'name', 'What it is called.'),
           ('app.coupon_terms', 'kind', 'amount_off, percent_off, fixed_price.'),
           ('app.coupon_terms', 'max_discount', 'It takes off no more than this. NULL: no limit.'),
           ('app.coupon_terms', 'valid_from', 'From when it can be used. NULL: from its issue.'),
           ('app.coupon_terms', 'valid_until', 'Until before when it can be used. NULL: see valid_days_after_issue, else for ever.'),
           ('app.coupon_terms', 'weekdays', 'The days on which its hours begin: Monday is 1. NULL: all.'),
           ('app.coupon_terms', 'card_types', 'personal, enterprise: the cards that it can be used with. NULL: any.'),
           ('app.coupon_terms', 'first_purchase_only', 'Whether it can be used only by who has not paid before.'),
           ('app.coupon_terms', 'per_member_limit', 'How many a member gets at most. NULL: no limit.'),
           ('app.coupon_terms', 'per_member_per_day', 'How many a member gets in a business day at most. NULL: no limit.'),
           ('app.coupon_terms', 'claimable', 'Whether members may claim it themselves.'),
           ('app.coupon_terms', 'on_full_refund', 'return, keep_used: what a full refund of the payment does to it.'),
           ('app.coupon_terms', 'budget_amount', 'What the edit made the budget of the coupon. NULL: none.'),
           ('app.coupon_budget_parts', 'coupon_id', 'The coupon.'),
           ('app.coupon_budget_parts', 'part', '0 to 15.'),
           ('app.coupon_budget_parts', 'left_amount', 'What can still be drawn from it.'),
           ('app.member_coupons', 'id', 'The number in coupon_code.'),
           ('app.member_coupons', 'issued_at', 'When it was issued.'),
           ('app.member_coupons', 'valid_from', 'From when it can be used.'),
           ('app.member_coupons', 'valid_until', 'Until before when; NULL: for ever.'),
           ('app.member_coupons', 'member_id', 'Whose it is.'),
           ('app.member_coupons', 'coupon_id', 'Of which coupon.'),
           ('app.member_coupons', 'terms_version', 'The terms that it was issued under.'),
           ('app.member_coupons', 'tx_no', 'The payment that used it.'),
           ('app.member_coupons', 'how', 'issued, claimed, to_all: how the member came by it.')
    UNION ALL SELECT * FROM sec.descriptions_of_v_member_coupons()
$$;
COMMENT ON FUNCTION sec.descriptions_of_coupons() IS 'What columns of coupons are. Internal: sec.describe_columns().';
CREATE FUNCTION sec.descriptions_of_v_member_coupons() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.v_member_coupons', 'coupon_code', 'CP and at least eight digits: what is shown at the till.'),
           ('app.v_member_coupons', 'code', 'The code of the coupon that it is one of.'),
           ('app.v_member_coupons', 'name', 'What it is called.'),
           ('app.v_member_coupons', 'kind', 'amount_off, percent_off, fixed_price.'),
           ('app.v_member_coupons', 'value', 'What is taken off, per cent, or the price that is left, by the kind.'),
           ('app.v_member_coupons', 'min_spend', 'Of what takes part in the payment, before any discount. NULL: none.'),
           ('app.v_member_coupons', 'max_discount', 'It takes off no more than this. NULL: no limit.'),
           ('app.v_member_coupons', 'goes_with_level_discount', 'Whether it comes on top of the card''s own discount, or takes its place.'),
           ('app.v_member_coupons', 'status', 'active, used, expired, revoked.'),
           ('app.v_member_coupons', 'valid_from', 'From when it can be used.'),
           ('app.v_member_coupons', 'valid_until', 'Until before when; NULL: for ever.'),
           ('app.v_member_coupons', 'weekdays', 'The days on which its hours begin: Monday is 1. NULL: all.'),
           ('app.v_member_coupons', 'hours_from', 'HH:MM, in the shop''s time. NULL: all day.'),
           ('app.v_member_coupons', 'hours_until', 'HH:MM; earlier than hours_from: of the next day.'),
           ('app.v_member_coupons', 'levels', 'Levels of personal cards that it can be used with. NULL: any card.'),
           ('app.v_member_coupons', 'card_types', 'personal, enterprise: the cards that it can be used with. NULL: any.'),
           ('app.v_member_coupons', 'first_purchase_only', 'Whether it can be used only by who has not paid before.'),
           ('app.v_member_coupons', 'issued_at', 'When it was issued.'),
           ('app.v_member_coupons', 'how', 'issued, claimed, to_all: how the member came by it.'),
           ('app.v_member_coupons', 'tx_no', 'The payment that used it.'),
           ('app.v_member_coupons', 'member_id', 'Whose it is.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_v_member_coupons() IS
    'What columns of app.v_member_coupons are. Internal: sec.descriptions_of_coupons().';
CREATE FUNCTION sec.install_coupons() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.coupon_id_seq') IS NULL THEN
        CREATE SEQUENCE app.coupon_id_seq AS integer;
        COMMENT ON SEQUENCE app.coupon_id_seq IS 'Ids of coupons';
    END IF;
    IF to_regclass('app.coupon_no_seq') IS NULL THEN
        CREATE SEQUENCE app.coupon_no_seq AS bigint;
        COMMENT ON SEQUENCE app.coupon_no_seq IS 'Numbers of coupons that members have (CP00000001); may skip, never repeats';
    END IF;
    IF to_regclass('app.coupons') IS NULL THEN
        CREATE TABLE app.coupons (
            id            integer       NOT NULL DEFAULT nextval('app.coupon_id_seq') PRIMARY KEY,
            terms_version integer       NOT NULL,
            issued        bigint        NOT NULL DEFAULT 0 CHECK (issued >= 0),
            created_at    timestamptz   NOT NULL,
            budget_amount numeric(14,2) CHECK (budget_amount > 0),
            status        text          NOT NULL CHECK (status IN ('draft', 'active', 'paused', 'ended')),
            code          text          NOT NULL UNIQUE
        );
        COMMENT ON TABLE app.coupons IS
            'Coupons that can be issued, by code; what one gives, when and to whom is in app.coupon_terms';
        COMMENT ON COLUMN app.coupons.terms_version IS 'The newest of app.coupon_terms: what is issued now is issued under it.';
        COMMENT ON COLUMN app.coupons.issued IS 'How many were issued so far, revoked ones included. What its issue_limit limits.';
        COMMENT ON COLUMN app.coupons.budget_amount IS 'What all payments together may be reduced by. NULL: no limit.';
        COMMENT ON COLUMN app.coupons.status IS
            'draft; active; paused (nothing is issued and nothing used meanwhile); ended (nothing more is issued, for ever).';
    END IF;
    PERFORM sec.install_coupon_terms();
    IF to_regclass('app.coupon_budget_parts') IS NULL THEN
        CREATE TABLE app.coupon_budget_parts (
            coupon_id   integer       NOT NULL REFERENCES app.coupons,
            part        smallint      NOT NULL CHECK (part BETWEEN 0 AND 15),
            left_amount numeric(14,2) NOT NULL CHECK (left_amount >= 0),
            PRIMARY KEY (coupon_id, part)
        );
        COMMENT ON TABLE app.coupon_budget_parts IS
            'What is left of the budget of a coupon, in sixteen parts, so that charges of many cards do not wait for one row';
    END IF;
    IF to_regclass('app.member_coupons') IS NULL THEN
        CREATE TABLE app.member_coupons (
            id            bigint      NOT NULL PRIMARY KEY,
            issued_with   bigint      NOT NULL,
            issued_at     timestamptz NOT NULL,
            valid_from    timestamptz NOT NULL,
            valid_until   timestamptz,
            member_id     uuid        NOT NULL,
            coupon_id     integer     NOT NULL,
            terms_version integer     NOT NULL,
            tx_no         text,
            status        text        NOT NULL CHECK (status IN ('active', 'used', 'revoked')),
            how           text        NOT NULL CHECK (how IN ('issued', 'claimed', 'to_all')),
            CHECK (valid_until > valid_from),
            CHECK ((status = 'used') = (tx_no IS NOT NULL))
            -- Nearly every one is used, and then is another version of its row: on the same page, no index needs to know.
        ) WITH (fillfactor = 70);
        CREATE INDEX member_coupons_member_id_idx ON app.member_coupons (member_id, coupon_id);
        COMMENT ON TABLE app.member_coupons IS
            'What members have: a row for each right to use a coupon once. The row is what is locked and spent';
        COMMENT ON COLUMN app.member_coupons.issued_with IS 'id of the first one that the same request issued.';
        COMMENT ON COLUMN app.member_coupons.status IS
            'active, used, revoked. An active one whose valid_until has come is over: nothing has to be written for that.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_coupons() IS
    'Makes the tables of coupons and the sequences of their ids and numbers, where they are missing. Internal: sec.install() calls it.';
CREATE FUNCTION sec.install_coupon_terms() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.coupon_terms') IS NULL THEN
        CREATE TABLE app.coupon_terms (
            coupon_id                integer       NOT NULL REFERENCES app.coupons,
            version                  integer       NOT NULL CHECK (version > 0),
            created_at               timestamptz   NOT NULL,
            valid_from               timestamptz,
            valid_until              timestamptz,
            issue_limit              bigint        CHECK (issue_limit > 0),
            per_member_limit         integer       CHECK (per_member_limit > 0),
            per_member_per_day       integer       CHECK (per_member_per_day > 0),
            valid_days_after_issue   integer       CHECK (valid_days_after_issue >= 0),
            starts_after_days        integer       CHECK (starts_after_days >= 0),
            hours_from               smallint      CHECK (hours_from BETWEEN 0 AND 1439),
            hours_until              smallint      CHECK (hours_until BETWEEN 0 AND 1439),
            goes_with_level_discount boolean       NOT NULL,
            first_purchase_only      boolean       NOT NULL,
            claimable                boolean       NOT NULL,
            name                     text          NOT NULL,
            kind                     text          NOT NULL CHECK (kind IN ('amount_off', 'percent_off', 'fixed_price')),
            value                    numeric(14,2) NOT NULL CHECK (value >= 0),
            min_spend                numeric(14,2) CHECK (min_spend > 0),
            max_discount             numeric(14,2) CHECK (max_discount > 0),
            budget_amount            numeric(14,2) CHECK (budget_amount > 0),
            on_full_refund           text          NOT NULL CHECK (on_full_refund IN ('return', 'keep_used')),
            weekdays                 smallint[],
            merchants                integer[],
            levels                   smallint[],
            card_types               text[],
            PRIMARY KEY (coupon_id, version),
            CHECK (valid_until > valid_from),
            CHECK (valid_until IS NULL OR valid_days_after_issue IS NULL),
            CHECK ((hours_from IS NULL) = (hours_until IS NULL) AND hours_from <> hours_until),
            CHECK (CASE kind WHEN 'amount_off' THEN value > 0 AND value < 'NaN' WHEN 'percent_off' THEN value > 0 AND value <= 100
                             ELSE value < 'NaN' END),
            CHECK (min_spend < 'NaN' AND max_discount < 'NaN' AND budget_amount < 'NaN'),
            CHECK (cardinality(weekdays) > 0 AND weekdays <@ '{1,2,3,4,5,6,7}'::smallint[]),
            CHECK (cardinality(merchants) > 0 AND array_position(merchants, NULL) IS NULL),
            CHECK (cardinality(levels) > 0 AND array_position(levels, NULL) IS NULL),
            CHECK (cardinality(card_types) > 0 AND card_types <@ '{personal,enterprise}'::text[])
        );
        COMMENT ON TABLE app.coupon_terms IS
            'What a coupon gives, when, where and to whom: a row for each edit, never changed. A right to use one keeps the terms that '
            'it was issued under';
        COMMENT ON COLUMN app.coupon_terms.value IS
            'amount_off: what is taken off; percent_off: how many per cent of it; fixed_price: the price that is left.';
        COMMENT ON COLUMN app.coupon_terms.min_spend IS 'Of what takes part in the payment, before any discount. NULL: none.';
        COMMENT ON COLUMN app.coupon_terms.goes_with_level_discount IS
            'Whether it comes on top of the card''s own discount, or takes its place.';
        COMMENT ON COLUMN app.coupon_terms.valid_days_after_issue IS 'To the end of so many business days after the one of the issue.';
        COMMENT ON COLUMN app.coupon_terms.starts_after_days IS 'From the beginning of so many business days after the one of the issue.';
        COMMENT ON COLUMN app.coupon_terms.hours_from IS 'From this minute of the day, by the business time zone. NULL: all day.';
        COMMENT ON COLUMN app.coupon_terms.hours_until IS 'To before this minute; where it comes before hours_from, of the next day.';
        COMMENT ON COLUMN app.coupon_terms.issue_limit IS 'How many are issued at most. The newest terms say it for all.';
        COMMENT ON COLUMN app.coupon_terms.merchants IS 'Ids of those where it can be used. NULL: everywhere.';
        COMMENT ON COLUMN app.coupon_terms.levels IS 'Levels of personal cards that it can be used with. NULL: any card.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_coupon_terms() IS
    'Makes the table of the terms of coupons, where it is missing. Internal: sec.install_coupons() calls it.';
CREATE FUNCTION sec.coupon_no(p_id bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'CP' || lpad(p_id::text, greatest(8, length(p_id::text)), '0')
$$;
COMMENT ON FUNCTION sec.coupon_no(bigint) IS
    E'The number people read of a row of app.member_coupons.\n'
    'Level: client.';
CREATE FUNCTION sec.make_member_coupons() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE VIEW app.v_member_coupons WITH (security_invoker = true) AS
        SELECT sec.coupon_no(m.id) AS coupon_code, c.code, t.name, t.kind, t.value, t.min_spend, t.max_discount,
               t.goes_with_level_discount,
               CASE WHEN m.status = 'active' AND m.valid_until <= statement_timestamp() THEN 'expired' ELSE m.status END AS status,
               m.valid_from, m.valid_until, t.weekdays,
               to_char(make_time(t.hours_from / 60, t.hours_from % 60, 0), 'HH24:MI') AS hours_from,
               to_char(make_time(t.hours_until / 60, t.hours_until % 60, 0), 'HH24:MI') AS hours_until,
               t.levels, t.card_types, t.first_purchase_only, m.issued_at, m.how, m.tx_no, m.member_id
        -- A member's own by the index, whatever there is of others; those only where a backend asks.
        FROM (SELECT o.id, o.coupon_id, o.terms_version, o.valid_from, o.valid_until, o.issued_at, o.status, o.how, o.tx_no, o.member_id
              FROM app.member_coupons o WHERE o.member_id = (SELECT sec.uid())
              UNION ALL
              SELECT o.id, o.coupon_id, o.terms_version, o.valid_from, o.valid_until, o.issued_at, o.status, o.how, o.tx_no, o.member_id
              FROM app.member_coupons o WHERE (SELECT has_function_privilege('sec.level_backend()', 'EXECUTE'))
                AND o.member_id IS DISTINCT FROM (SELECT sec.uid())) m
             JOIN app.coupons c ON c.id = m.coupon_id
             JOIN app.coupon_terms t ON t.coupon_id = m.coupon_id AND t.version = m.terms_version;
    COMMENT ON VIEW app.v_member_coupons IS
        'The coupons of the signed-in member, used ones and those that are over included; for a backend those of all members';
END
$$;
COMMENT ON FUNCTION sec.make_member_coupons() IS 'Makes app.v_member_coupons. Internal.';
CREATE FUNCTION app.create_coupon(p_coupon jsonb)
    RETURNS TABLE (code text, status text, terms_version integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_coupon_wrapper';
COMMENT ON FUNCTION app.create_coupon IS
    E'Creates a coupon, as a draft of which nothing is issued yet.\n'
    'By a backend. p_coupon is an object of code, name, kind {amount_off, percent_off, fixed_price} and value, and of what is not to '
    'have its default: min_spend, max_discount, goes_with_level_discount (true), valid_from, valid_until or valid_days_after_issue, '
    'starts_after_days, weekdays [1 to 7, Monday 1], hours_from, hours_until (HH:MM in the shop''s time), merchants (their codes), '
    'levels, card_types, first_purchase_only (false), issue_limit, per_member_limit, per_member_per_day, claimable (false), '
    'on_full_refund {return, keep_used}, budget_amount. Another key is refused. The same again, while nobody has edited it, returns '
    'the same coupon.\n'
    'Level: backend.\n'
    'Results: code, status (draft), terms_version (1).\n'
    'Errors: INVALID_ARGUMENT, MERCHANT_NOT_FOUND, STATUS_CONFLICT (the code belongs to another coupon), NOT_ALLOWED.';
CREATE FUNCTION app.update_coupon(p_code text, p_coupon jsonb)
    RETURNS TABLE (code text, status text, terms_version integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'update_coupon_wrapper';
COMMENT ON FUNCTION app.update_coupon IS
    E'Changes what a coupon gives from now on.\n'
    'By a backend. p_coupon has what is to change, as in create_coupon; what is not named stays, NULL takes a condition away. What '
    'members have already keeps the terms that it was issued under; limits of number and the budget are those of the newest. A budget '
    'begins and ends only before the first one is issued, and is never made less than what is spent of it.\n'
    'Level: backend.\n'
    'Results: code, status, terms_version (one more, if anything changed).\n'
    'Errors: COUPON_NOT_FOUND, INVALID_ARGUMENT, MERCHANT_NOT_FOUND, STATUS_CONFLICT (it has ended; a budget that begins or ends too '
    'late), NOT_ALLOWED.';
CREATE FUNCTION app.set_coupon_status(p_code text, p_status text, p_reason text)
    RETURNS TABLE (code text, status text, terms_version integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_coupon_status_wrapper';
COMMENT ON FUNCTION app.set_coupon_status IS
    E'Begins, pauses or ends a coupon.\n'
    'By a backend. p_status: active, paused (nothing is issued and nothing used meanwhile), ended (nothing more is issued, for ever; '
    'what members have can be used to its own end). A status that it has already is answered as if it were set.\n'
    'Level: backend.\n'
    'Results: code, status, terms_version (the newest).\n'
    'Errors: COUPON_NOT_FOUND, STATUS_CONFLICT, INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION app.issue_coupon(p_code text, p_member_id uuid, p_count integer DEFAULT 1, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (coupon_code text, valid_from timestamptz, valid_until timestamptz, replayed boolean)
    LANGUAGE c VOLATILE ROWS 3
    AS 'MODULE_PATHNAME', 'issue_coupon_wrapper';
COMMENT ON FUNCTION app.issue_coupon IS
    E'Gives a member a coupon, or several.\n'
    'By a backend; a row for each. p_count: 1 to 1,000, all or none. The same key with the same request answers the same rows with '
    'replayed = true.\n'
    'Level: backend.\n'
    'Results: coupon_code (CP and at least eight digits: what is used at the till), valid_from, valid_until (NULL: for ever), replayed '
    '(whether this answers an earlier request again).\n'
    'Errors: COUPON_NOT_FOUND, MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE, STATUS_CONFLICT (the coupon is not active), COUPON_NOT_USABLE (its '
    'time is over), COUPON_LIMIT, IDEMPOTENCY_KEY_REUSED, ARCHIVED, INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION app.claim_coupon(p_code text, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (coupon_code text, valid_from timestamptz, valid_until timestamptz, replayed boolean)
    LANGUAGE c VOLATILE ROWS 1
    AS 'MODULE_PATHNAME', 'claim_coupon_wrapper';
COMMENT ON FUNCTION app.claim_coupon IS
    E'Gives the signed-in member a coupon that members may claim.\n'
    'By the member. One that is not there, not active or not claimable is not found. The same key with the same code answers the same '
    'coupon with replayed = true.\n'
    'Level: client.\n'
    'Results: coupon_code (CP and at least eight digits: what is used at the till), valid_from, valid_until (NULL: for ever), replayed '
    '(whether this answers an earlier request again).\n'
    'Errors: COUPON_NOT_FOUND, MEMBER_NOT_FOUND (not registered), MEMBER_NOT_ACTIVE, COUPON_NOT_USABLE (its time is over), COUPON_LIMIT, '
    'IDEMPOTENCY_KEY_REUSED, ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED, NOT_ALLOWED.';
CREATE FUNCTION app.revoke_coupon(p_coupon_code text, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'revoke_coupon_wrapper';
COMMENT ON FUNCTION app.revoke_coupon IS
    E'Takes a coupon back from the member who has it.\n'
    'By a backend. One that has paid stays used. Limits of number count it on.\n'
    'Level: backend.\n'
    'Results: true if anything changed, false if it was revoked already.\n'
    'Errors: COUPON_NOT_FOUND, STATUS_CONFLICT (it has paid), INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION app.issue_coupon_to_all_batch(p_code text, p_level integer, p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'issue_coupon_to_all_batch_wrapper';
COMMENT ON FUNCTION app.issue_coupon_to_all_batch(text, integer, text) IS
    E'One batch of app.issue_coupon_to_all(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.\n'
    'p_level: only members whose personal card has it.\n'
    'Level: operator.';
CREATE PROCEDURE app.issue_coupon_to_all(p_code text, p_level integer DEFAULT NULL)
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_after := app.issue_coupon_to_all_batch(p_code, p_level, NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.issue_coupon_to_all_batch(p_code, p_level, v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.issue_coupon_to_all(text, integer) IS
    E'Gives a coupon to every active member who has got none of it so far.\n'
    'p_level: only to those whose personal card has this level. Commits in batches; interrupted, or where issue_limit '
    'ends it, what was given stays, and run again it goes on. Who registers meanwhile may be left out: run it again.\n'
    'Level: operator.\n'
    'Errors: COUPON_NOT_FOUND, STATUS_CONFLICT (the coupon is not active), COUPON_NOT_USABLE (its time is over), COUPON_LIMIT, '
    'INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION sec.sequences_of_coupons() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.coupon_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.coupon_id_seq q),
           (SELECT max(c.id)::bigint FROM app.coupons c)
    UNION ALL
    SELECT 'app.coupon_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.coupon_no_seq q),
           (SELECT max(m.id) FROM app.member_coupons m)
$$;
COMMENT ON FUNCTION sec.sequences_of_coupons() IS
    'The sequences of coupons: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
CREATE FUNCTION sec.logged_of_coupons() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('coupon.created', ARRAY['coupon_id', 'version', 'terms']), ('coupon.updated', ARRAY['version', 'terms']),
           ('coupon.status_set', ARRAY['status']), ('coupon.issued', ARRAY['version', 'how', 'ids', 'members', 'valid_from']),
           ('coupon.claimed', ARRAY['version', 'how', 'ids', 'members', 'valid_from']), ('coupon.revoked', '{}'),
           ('coupon.returned', ARRAY['payment'])
$$;
COMMENT ON FUNCTION sec.logged_of_coupons() IS 'The events of coupons. Internal: sec.logged_actions().';
CREATE FUNCTION sec.rebuilds_of_coupons() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (190, 'rebuild_coupons'), (191, 'rebuild_member_coupons'), (192, 'rebuild_coupon_uses'),
           (193, 'rebuild_coupon_budgets')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_coupons() IS 'The steps of coupons. Internal: sec.rebuild_steps().';
CREATE FUNCTION sec.rebuild_coupons() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.coupons (id, terms_version, created_at, budget_amount, status, code)
    SELECT (e.context ->> 'coupon_id')::integer, (t.context ->> 'version')::integer, e.happened_at,
           (t.context -> 'terms' ->> 'budget_amount')::numeric, coalesce(s.status, 'draft'), e.object_id
    FROM audit.event_log e
    JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context FROM audit.event_log x
          WHERE x.action IN ('coupon.created', 'coupon.updated') ORDER BY x.object_id, x.id DESC) t ON t.object_id = e.object_id
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context ->> 'status' AS status FROM audit.event_log x
               WHERE x.action = 'coupon.status_set' ORDER BY x.object_id, x.id DESC) s ON s.object_id = e.object_id
    WHERE e.action = 'coupon.created';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'coupons';
    RETURN NEXT;

    INSERT INTO app.coupon_terms (coupon_id, version, created_at, name, kind, value, min_spend, max_discount, goes_with_level_discount,
                                  valid_from, valid_until, weekdays, hours_from, hours_until, valid_days_after_issue, starts_after_days,
                                  merchants, levels, card_types, first_purchase_only, issue_limit, per_member_limit, per_member_per_day,
                                  claimable, on_full_refund, budget_amount)
    SELECT c.id, (e.context ->> 'version')::integer, e.happened_at, t.name, t.kind, t.value, t.min_spend, t.max_discount,
           t.goes_with_level_discount, t.valid_from, t.valid_until, t.weekdays, extract(epoch FROM t.hours_from) / 60,
           extract(epoch FROM t.hours_until) / 60, t.valid_days_after_issue, t.starts_after_days, t.merchants, t.levels, t.card_types,
           t.first_purchase_only, t.issue_limit, t.per_member_limit, t.per_member_per_day, t.claimable, t.on_full_refund, t.budget_amount
    FROM audit.event_log e
    JOIN app.coupons c ON c.code = e.object_id
    CROSS JOIN LATERAL jsonb_to_record(e.context -> 'terms') AS t (
        name text, kind text, value numeric, min_spend numeric, max_discount numeric, goes_with_level_discount boolean,
        valid_from timestamptz, valid_until timestamptz, weekdays smallint[], hours_from time, hours_until time,
        valid_days_after_issue integer, starts_after_days integer, merchants integer[], levels smallint[], card_types text[],
        first_purchase_only boolean, issue_limit bigint, per_member_limit integer, per_member_per_day integer, claimable boolean,
        on_full_refund text, budget_amount numeric)
    WHERE e.action IN ('coupon.created', 'coupon.updated');
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'terms of coupons';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_coupons() IS 'Every coupon, and every version of its terms. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.rebuild_member_coupons() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.member_coupons (id, issued_with, issued_at, valid_from, valid_until, member_id, coupon_id, terms_version, status, how)
    SELECT i.id::bigint, (e.context -> 'ids' ->> 0)::bigint, e.happened_at, (e.context ->> 'valid_from')::timestamptz,
           (e.context ->> 'valid_until')::timestamptz,
           -- All are of the one that is named, or each is of its own.
           coalesce(e.context -> 'members' ->> (i.nth - 1)::integer, e.context -> 'members' ->> 0)::uuid,
           coalesce(c.id, sec.refuse_log(e.id, format('there is no coupon %s', e.object_id))), (e.context ->> 'version')::integer,
           CASE WHEN r.object_id IS NULL THEN 'active' ELSE 'revoked' END, e.context ->> 'how'
    FROM audit.event_log e
    CROSS JOIN LATERAL jsonb_array_elements_text(e.context -> 'ids') WITH ORDINALITY i (id, nth)
    LEFT JOIN app.coupons c ON c.code = e.object_id
    LEFT JOIN audit.event_log r ON r.action = 'coupon.revoked' AND r.object_id = sec.coupon_no(i.id::bigint)
    WHERE e.action IN ('coupon.issued', 'coupon.claimed');
    GET DIAGNOSTICS n = ROW_COUNT;
    UPDATE app.coupons c SET issued = x.issued
    FROM (SELECT m.coupon_id, count(*) AS issued FROM app.member_coupons m GROUP BY m.coupon_id) x WHERE x.coupon_id = c.id;
    what := 'coupons of members';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_member_coupons() IS 'What members have of coupons. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.rebuild_coupon_budgets() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Shared out evenly, as when they were made: which part a payment drew from is not in the log.
    INSERT INTO app.coupon_budget_parts (coupon_id, part, left_amount)
    SELECT c.id, p.part, (div(c.cents, 16) + (p.part < mod(c.cents, 16))::integer) / 100
    FROM (SELECT b.id, (b.budget_amount - coalesce(s.spent, 0)) * 100 AS cents
          FROM app.coupons b LEFT JOIN sec.spent_of_coupons() s ON s.coupon_id = b.id WHERE b.budget_amount IS NOT NULL) c
    CROSS JOIN generate_series(0, 15) p (part);
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'parts of budgets';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_coupon_budgets() IS
    'What is left of the budgets of coupons, in even parts. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.rules_of_coupons() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (200, ARRAY['coupons', 'coupon_limits'], 'books_coupons'), (201, ARRAY['coupon_budgets'], 'books_coupon_budgets'),
           (202, ARRAY['coupon_log', 'coupon_keys'], 'books_coupon_log'), (203, ARRAY['coupon_uses', 'coupon_prices'], 'books_coupon_uses')
$$;
COMMENT ON FUNCTION sec.rules_of_coupons() IS 'What app.verify_books() checks of coupons. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_coupons() RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH rights AS (SELECT m.coupon_id, count(*) AS rows FROM app.member_coupons m GROUP BY m.coupon_id),
    versions AS (SELECT t.coupon_id, count(*) AS rows, max(t.version) AS newest FROM app.coupon_terms t GROUP BY t.coupon_id),
    under AS (SELECT m.coupon_id, m.terms_version, count(*) AS rows FROM app.member_coupons m GROUP BY m.coupon_id, m.terms_version),
    -- Of those members whom a limit may concern.
    per_member AS (SELECT m.coupon_id, m.member_id, m.terms_version, count(*) AS rows FROM app.member_coupons m
                   WHERE EXISTS (SELECT FROM app.coupon_terms t WHERE t.coupon_id = m.coupon_id AND t.per_member_limit IS NOT NULL)
                   GROUP BY m.coupon_id, m.member_id, m.terms_version)
    SELECT 'coupons', format('%s: %s', c.code, x.what)
    FROM app.coupons c LEFT JOIN rights r ON r.coupon_id = c.id LEFT JOIN versions v ON v.coupon_id = c.id
    LEFT JOIN app.coupon_terms t ON t.coupon_id = c.id AND t.version = c.terms_version
    CROSS JOIN LATERAL (
        SELECT CASE WHEN c.issued <> coalesce(r.rows, 0) THEN format('%s issued, and members have %s', c.issued, coalesce(r.rows, 0)) END
        UNION ALL
        SELECT CASE WHEN v.rows IS DISTINCT FROM c.terms_version OR v.newest IS DISTINCT FROM c.terms_version
            THEN format('has %s terms up to %s, and %s are the newest', coalesce(v.rows, 0), v.newest, c.terms_version) END
        UNION ALL
        SELECT CASE WHEN t.budget_amount IS DISTINCT FROM c.budget_amount
            THEN format('its budget is %s, and its terms say %s', c.budget_amount, t.budget_amount) END
        UNION ALL
        SELECT CASE WHEN c.status = 'draft' AND r.rows > 0 THEN 'is a draft, and was issued' END) x (what)
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'coupons', format('%s: %s', sec.coupon_no(m.id), x.what)
    FROM app.member_coupons m
    LEFT JOIN app.coupons c ON c.id = m.coupon_id
    LEFT JOIN app.coupon_terms t ON t.coupon_id = m.coupon_id AND t.version = m.terms_version
    LEFT JOIN app.member_profiles p ON p.id = m.member_id
    LEFT JOIN app.member_coupons f ON f.id = m.issued_with
    CROSS JOIN LATERAL (SELECT CASE
        WHEN c.id IS NULL THEN format('there is no coupon %s', m.coupon_id)
        WHEN t.coupon_id IS NULL THEN format('there are no terms %s of %s', m.terms_version, c.code)
        WHEN p.id IS NULL THEN format('there is no member %s', m.member_id)
        WHEN f.id > m.id OR (f.coupon_id, f.terms_version, f.issued_at, f.how) IS DISTINCT FROM
                            (m.coupon_id, m.terms_version, m.issued_at, m.how)
            THEN format('was not issued together with %s', sec.coupon_no(m.issued_with))
        WHEN m.valid_from < greatest(m.issued_at, t.valid_from) THEN 'can be used before its terms let it'
        WHEN t.valid_days_after_issue IS NULL AND m.valid_until IS DISTINCT FROM t.valid_until
          OR t.valid_days_after_issue IS NOT NULL AND m.valid_until IS NULL THEN 'ends at another time than its terms say'
        WHEN m.how = 'claimed' AND NOT t.claimable THEN 'was claimed, and could not be'
        END) x (what)
    WHERE x.what IS NOT NULL
    UNION ALL
    -- Who issues goes by the newest terms: at the last one of a version all so far were within the limit of that.
    SELECT 'coupon_limits', format('%s: %s were issued while %s was the limit', c.code, x.rows, t.issue_limit)
    FROM (SELECT u.coupon_id, u.terms_version, sum(u.rows) OVER (PARTITION BY u.coupon_id ORDER BY u.terms_version) AS rows FROM under u) x
    JOIN app.coupon_terms t ON t.coupon_id = x.coupon_id AND t.version = x.terms_version
    JOIN app.coupons c ON c.id = x.coupon_id
    WHERE x.rows > t.issue_limit
    UNION ALL
    SELECT 'coupon_limits', format('%s: member %s got %s while %s was the limit', c.code, p.member_no, x.rows, t.per_member_limit)
    FROM (SELECT u.coupon_id, u.member_id, u.terms_version,
                 sum(u.rows) OVER (PARTITION BY u.coupon_id, u.member_id ORDER BY u.terms_version) AS rows FROM per_member u) x
    JOIN app.coupon_terms t ON t.coupon_id = x.coupon_id AND t.version = x.terms_version
    JOIN app.coupons c ON c.id = x.coupon_id
    LEFT JOIN app.member_profiles p ON p.id = x.member_id
    WHERE x.rows > t.per_member_limit
$rule$;
COMMENT ON FUNCTION sec.books_coupons() IS
    'Coupons that count otherwise than members have of them, rights without a coupon, terms or member, and more than a limit allowed. '
    'Internal: sec.books_rules().';
CREATE FUNCTION sec.books_coupon_budgets(p_archived bigint[]) RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH parts AS (SELECT b.coupon_id, count(*) AS rows, sum(b.left_amount) AS total FROM app.coupon_budget_parts b GROUP BY b.coupon_id)
    SELECT 'coupon_budgets', format('%s: %s', coalesce(c.code, p.coupon_id::text), x.what)
    FROM app.coupons c FULL JOIN parts p ON p.coupon_id = c.id
    LEFT JOIN sec.spent_of_coupons() s ON s.coupon_id = c.id AND c.budget_amount IS NOT NULL
    CROSS JOIN LATERAL (SELECT CASE
        WHEN c.id IS NULL OR c.budget_amount IS NULL AND p.rows > 0 THEN 'has parts of a budget, and no budget'
        WHEN c.budget_amount IS NOT NULL AND p.rows IS DISTINCT FROM 16 THEN format('its budget has %s parts', coalesce(p.rows, 0))
        -- What was spent in archived months is not here to be seen.
        WHEN CASE WHEN cardinality(p_archived) = 0 THEN p.total <> c.budget_amount - coalesce(s.spent, 0)
                  ELSE p.total > c.budget_amount - coalesce(s.spent, 0) END
            THEN format('%s is left of its budget of %s, and %s was spent', p.total, c.budget_amount, coalesce(s.spent, 0))
        END) x (what)
    WHERE x.what IS NOT NULL
$rule$;
COMMENT ON FUNCTION sec.books_coupon_budgets(bigint[]) IS
    'Budgets whose parts do not come to what is left of them. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_coupon_log(p_from timestamptz, p_to timestamptz, p_archived bigint[], p_month_ids_from bigint,
    p_month_ids_to bigint)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH logged AS (
        SELECT i.id::bigint AS id, e.object_id AS code,
               coalesce(e.context -> 'members' ->> (i.nth - 1)::integer, e.context -> 'members' ->> 0) AS member
        FROM audit.event_log e CROSS JOIN LATERAL jsonb_array_elements_text(e.context -> 'ids') WITH ORDINALITY i (id, nth)
        WHERE e.action IN ('coupon.issued', 'coupon.claimed') AND e.happened_at >= p_from AND e.happened_at < p_to),
    rights AS (
        SELECT m.id, m.member_id, c.code FROM app.member_coupons m LEFT JOIN app.coupons c ON c.id = m.coupon_id
        WHERE m.issued_at >= p_from AND m.issued_at < p_to
          AND to_char(m.issued_at AT TIME ZONE 'UTC', 'YYMM')::bigint <> ALL (p_archived))
    SELECT 'coupon_log', format('%s: %s', sec.coupon_no(coalesce(r.id, l.id)), CASE
        WHEN l.id IS NULL THEN 'is not in the log'
        WHEN r.id IS NULL THEN 'was issued by the log, and is not there'
        ELSE 'is of another coupon or member than the log says' END)
    FROM rights r FULL JOIN logged l ON l.id = r.id
    WHERE l.id IS NULL OR r.id IS NULL OR (l.code, l.member) IS DISTINCT FROM (r.code, r.member_id::text)
    UNION ALL
    SELECT 'coupon_keys', format('key %L of scope %s/%s: there is no such coupon', left(k.idempotency_key, 40), k.operation, k.scope_no)
    FROM app.idempotency_keys k
    LEFT JOIN app.member_coupons m ON m.id = k.ref_id % 100000000000
    LEFT JOIN app.member_profiles p ON p.id = m.member_id
    WHERE k.operation IN (31, 32) AND k.ref_id >= p_month_ids_from AND k.ref_id < p_month_ids_to
      AND CASE k.operation WHEN 31 THEN m.coupon_id = k.scope_no AND m.how = 'issued'
                           ELSE substr(p.member_no, 2)::bigint = k.scope_no AND m.how = 'claimed' END IS NOT TRUE
$rule$;
COMMENT ON FUNCTION sec.books_coupon_log(timestamptz, timestamptz, bigint[], bigint, bigint) IS
    'Coupons of members that the log does not have, or has otherwise, and keys that lead to none. Internal: sec.books_rules().';
CREATE FUNCTION sec.coupon_takes_off(p_kind text, p_value numeric, p_max_discount numeric, p_price numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $rule$
    SELECT least(p_price - CASE p_kind WHEN 'amount_off' THEN greatest(p_price - p_value, 0)
                                       WHEN 'percent_off' THEN round(p_price * (100 - p_value) * 0.01, 2)
                                       ELSE least(p_value, p_price) END, p_max_discount)
$rule$;
COMMENT ON FUNCTION sec.coupon_takes_off(text, numeric, numeric, numeric) IS
    'What a coupon takes off a price, whatever else is asked of it. Internal: sec.books_coupon_uses().';
CREATE FUNCTION sec.books_coupon_uses(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH paid AS MATERIALIZED (
        SELECT t.tx_no, t.member_id, t.merchant_id, t.created_at, t.discount, t.raw_amount - coalesce(t.excluded_amount, 0) AS part,
               t.coupon_discount, t.member_coupon_id,
               -- What was given back in full is as if it had not been.
               t.refunded_amount < t.final_amount OR (t.final_amount = 0 AND t.status = 'completed') AS lives
        FROM app.transactions t
        WHERE t.member_coupon_id IS NOT NULL AND t.tx_type = 'payment' AND t.created_at >= p_from AND t.created_at < p_to)
    SELECT x.rule, format('%s: %s', p.tx_no, x.what)
    FROM paid p
    LEFT JOIN app.member_coupons m ON m.id = p.member_coupon_id
    LEFT JOIN app.coupon_terms t ON t.coupon_id = m.coupon_id AND t.version = m.terms_version
    CROSS JOIN LATERAL (
        SELECT 'coupon_uses' AS rule, CASE
            WHEN m.id IS NULL THEN format('used the coupon %s, which is not there', sec.coupon_no(p.member_coupon_id))
            WHEN m.member_id IS DISTINCT FROM p.member_id THEN format('used the coupon %s of another member', sec.coupon_no(m.id))
            WHEN p.lives AND m.tx_no IS DISTINCT FROM p.tx_no
                THEN format('used the coupon %s, which is %s', sec.coupon_no(m.id), coalesce('used by ' || m.tx_no, m.status)) END AS what
        UNION ALL
        SELECT 'coupon_prices', CASE
            WHEN p.created_at < m.valid_from OR p.created_at >= m.valid_until
                OR p.part < t.min_spend OR p.merchant_id <> ALL (t.merchants)
                THEN format('the coupon %s could not be used for it', sec.coupon_no(m.id))
            WHEN NOT t.goes_with_level_discount AND p.discount <> 1
                THEN format('the coupon %s takes the place of a discount, and %s was given', sec.coupon_no(m.id), p.discount)
            WHEN p.coupon_discount <> sec.coupon_takes_off(t.kind, t.value, t.max_discount, round(p.part * p.discount, 2))
                THEN format('%s off by the coupon %s, which takes off %s', p.coupon_discount, sec.coupon_no(m.id),
                            sec.coupon_takes_off(t.kind, t.value, t.max_discount, round(p.part * p.discount, 2))) END) x
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'coupon_uses', format('%s: used by %s, which %s', sec.coupon_no(m.id), m.tx_no,
                                 CASE WHEN t.id IS NULL THEN 'is not there' ELSE 'did not use it' END)
    FROM (SELECT u.id, u.tx_no, CASE WHEN u.tx_no ~ '^ZF[0-9]{10,15}$' THEN sec.id_of_number(u.tx_no) END AS tx_id
          FROM app.member_coupons u WHERE u.status = 'used') m
    LEFT JOIN app.transactions t ON t.id = m.tx_id AND t.tx_type = 'payment' AND t.posted_at IS NOT NULL
        AND t.created_at >= sec.month_of_id(m.tx_id) AND t.created_at < sec.month_of_id(m.tx_id) + interval '1 month'
    WHERE (m.tx_id / 100000000000 = ANY (p_archived)) IS NOT TRUE AND t.member_coupon_id IS DISTINCT FROM m.id
      AND (m.tx_id IS NULL OR sec.month_of_id(m.tx_id) >= p_from AND sec.month_of_id(m.tx_id) < p_to)
$rule$;
COMMENT ON FUNCTION sec.books_coupon_uses(timestamptz, timestamptz, bigint[]) IS
    'Payments whose coupon is not spent by them and nothing else, or took off another amount than its terms say. Internal: '
    'sec.books_rules().';
CREATE FUNCTION sec.spent_of_coupons() RETURNS TABLE (coupon_id integer, spent numeric)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    SELECT m.coupon_id, sum(t.coupon_discount)
    FROM app.transactions t JOIN app.member_coupons m ON m.id = t.member_coupon_id
    WHERE t.tx_type = 'payment' AND t.member_coupon_id IS NOT NULL
      AND (t.refunded_amount < t.final_amount OR (t.final_amount = 0 AND t.status = 'completed'))
    GROUP BY m.coupon_id
$rule$;
COMMENT ON FUNCTION sec.spent_of_coupons() IS
    'What payments that were not given back in full were reduced by, for each coupon; of the months that are here. Internal.';
CREATE FUNCTION sec.rebuild_coupon_uses() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Whoever spends one or gives it back holds its row: the last event says what it is.
    UPDATE app.member_coupons m SET status = 'used', tx_no = x.tx_no
    FROM (SELECT DISTINCT ON (e.coupon_no) e.coupon_no, e.tx_no
          FROM (SELECT l.event_id, l.coupon AS coupon_no, l.tx_no FROM sec.logged_movements() l WHERE l.coupon IS NOT NULL
                UNION ALL SELECT r.id, r.object_id, NULL FROM audit.event_log r WHERE r.action = 'coupon.returned') e
          ORDER BY e.coupon_no, e.event_id DESC) x
    WHERE x.coupon_no = sec.coupon_no(m.id) AND x.tx_no IS NOT NULL;
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'coupons that were used';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_coupon_uses() IS 'Which payment used a coupon. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.columns_of_campaigns() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('backend', 'app.campaigns', 'id, terms_version, created_at, status, code'),
           ('backend', 'app.campaign_terms',
            'campaign_id, version, created_at, valid_from, valid_until, priority, hours_from, hours_until, exclusive, name, kind, value, '
            'min_spend, weekdays, merchants, levels, card_types'),
           ('backend', 'app.campaign_uses', NULL)
$$;
COMMENT ON FUNCTION sec.columns_of_campaigns() IS 'What may be read of campaigns. Internal: sec.api_columns(), sec.backend_columns().';
CREATE FUNCTION sec.policies_of_campaigns() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.tab, 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
           'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege'
    FROM (VALUES ('app.campaigns'), ('app.campaign_terms')) t (tab)
$$;
COMMENT ON FUNCTION sec.policies_of_campaigns() IS 'The policies of campaigns. Internal: sec.policies().';
CREATE FUNCTION sec.standing_triggers_of_campaigns() RETURNS TABLE (tab text, trig text, events text, each text, func text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.campaigns', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
           ('app.campaigns', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed'),
           ('app.campaign_terms', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
           ('app.campaign_terms', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed')
$$;
COMMENT ON FUNCTION sec.standing_triggers_of_campaigns() IS 'The standing triggers of campaigns. Internal: sec.standing_triggers().';
CREATE FUNCTION sec.descriptions_of_campaigns() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.campaigns', 'id', 'campaign_id elsewhere.'),
           ('app.campaigns', 'created_at', 'When it was created.'),
           ('app.campaigns', 'code', 'By which the RPCs name it.'),
           ('app.campaign_terms', 'campaign_id', 'The campaign.'),
           ('app.campaign_terms', 'version', '1, 2, ...: which edit it is.'),
           ('app.campaign_terms', 'created_at', 'When they were made.'),
           ('app.campaign_terms', 'name', 'What it is called.'),
           ('app.campaign_terms', 'kind', 'points_multiplier, points_bonus.'),
           ('app.campaign_terms', 'valid_from', 'From when it applies. NULL: from its beginning.'),
           ('app.campaign_terms', 'valid_until', 'Until before when it applies. NULL: until it ends.'),
           ('app.campaign_terms', 'weekdays', 'The days on which its hours begin: Monday is 1. NULL: all.'),
           ('app.campaign_terms', 'card_types',
            'personal, enterprise: the cards that it applies to; only personal ones earn points. NULL: any.'),
           ('app.campaign_uses', 'tx_no', 'The payment.'),
           ('app.campaign_uses', 'created_at', 'When it was asked for.'),
           ('app.campaign_uses', 'campaign_id', 'The campaign that applied.'),
           ('app.campaign_uses', 'code', 'The code of the campaign.'),
           ('app.campaign_uses', 'terms_version', 'The terms that it applied by.'),
           ('app.campaign_uses', 'points', 'What it gave: a multiplier what it added to those before it.'),
           ('app.campaign_uses', 'member_id', 'Whose card it was.'),
           ('app.campaign_uses', 'merchant_id', 'Who took the payment.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_campaigns() IS 'What columns of campaigns are. Internal: sec.describe_columns().';
CREATE FUNCTION sec.install_campaigns() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.campaign_id_seq') IS NULL THEN
        CREATE SEQUENCE app.campaign_id_seq AS integer;
        COMMENT ON SEQUENCE app.campaign_id_seq IS 'Ids of campaigns';
    END IF;
    IF to_regclass('app.campaigns') IS NULL THEN
        CREATE TABLE app.campaigns (
            id            integer     NOT NULL DEFAULT nextval('app.campaign_id_seq') PRIMARY KEY,
            terms_version integer     NOT NULL,
            created_at    timestamptz NOT NULL,
            status        text        NOT NULL CHECK (status IN ('draft', 'active', 'paused', 'ended')),
            code          text        NOT NULL UNIQUE
        );
        COMMENT ON TABLE app.campaigns IS
            'Campaigns, by code; what one gives, when and to whom is in app.campaign_terms. Every backend keeps those that are active';
        COMMENT ON COLUMN app.campaigns.terms_version IS 'The newest of app.campaign_terms: payments go by them.';
        COMMENT ON COLUMN app.campaigns.status IS 'draft; active; paused (gives nothing meanwhile); ended (for ever).';
    END IF;
    IF to_regclass('app.campaign_terms') IS NULL THEN
        CREATE TABLE app.campaign_terms (
            campaign_id integer       NOT NULL REFERENCES app.campaigns,
            version     integer       NOT NULL CHECK (version > 0),
            created_at  timestamptz   NOT NULL,
            valid_from  timestamptz,
            valid_until timestamptz,
            priority    integer       NOT NULL,
            hours_from  smallint      CHECK (hours_from BETWEEN 0 AND 1439),
            hours_until smallint      CHECK (hours_until BETWEEN 0 AND 1439),
            exclusive   boolean       NOT NULL,
            name        text          NOT NULL,
            kind        text          NOT NULL CHECK (kind IN ('points_multiplier', 'points_bonus')),
            value       numeric(14,2) NOT NULL CHECK (value > 0),
            min_spend   numeric(14,2) CHECK (min_spend > 0),
            weekdays    smallint[],
            merchants   integer[],
            levels      smallint[],
            card_types  text[],
            PRIMARY KEY (campaign_id, version),
            CHECK (valid_until > valid_from),
            CHECK ((hours_from IS NULL) = (hours_until IS NULL) AND hours_from <> hours_until),
            -- Every payment reads those that are on: a row that is none would stop it.
            CHECK (CASE kind WHEN 'points_multiplier' THEN value > 1 AND value <= 100
                             ELSE value = trunc(value) AND value BETWEEN 1 AND 1000000 END),
            CHECK (min_spend < 'NaN'),
            CHECK (cardinality(weekdays) > 0 AND weekdays <@ '{1,2,3,4,5,6,7}'::smallint[]),
            CHECK (cardinality(merchants) > 0 AND array_position(merchants, NULL) IS NULL),
            CHECK (cardinality(levels) > 0 AND array_position(levels, NULL) IS NULL),
            CHECK (cardinality(card_types) > 0 AND card_types <@ '{personal,enterprise}'::text[])
        );
        COMMENT ON TABLE app.campaign_terms IS
            'What a campaign gives, when, where and to whom: a row for each edit, never changed. A payment keeps which it went by';
        COMMENT ON COLUMN app.campaign_terms.value IS
            'points_multiplier: how many times the points; points_bonus: how many points more.';
        COMMENT ON COLUMN app.campaign_terms.min_spend IS 'Of what takes part in the payment, before any discount. NULL: none.';
        COMMENT ON COLUMN app.campaign_terms.priority IS 'Among exclusive campaigns that apply the greatest counts.';
        COMMENT ON COLUMN app.campaign_terms.exclusive IS 'Whether no other gives anything where this one applies.';
        COMMENT ON COLUMN app.campaign_terms.hours_from IS 'From this minute of the day, by the business time zone. NULL: all day.';
        COMMENT ON COLUMN app.campaign_terms.hours_until IS 'To before this minute; where it comes before hours_from, of the next day.';
        COMMENT ON COLUMN app.campaign_terms.merchants IS 'Ids of those where it applies. NULL: everywhere.';
        COMMENT ON COLUMN app.campaign_terms.levels IS 'Levels of the cards that it applies to. NULL: all.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_campaigns() IS
    'Makes the tables of campaigns and the sequence of their ids, where they are missing. Internal: sec.install() calls it.';
CREATE FUNCTION sec.make_campaign_uses() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE VIEW app.campaign_uses WITH (security_invoker = true) AS
        SELECT t.tx_no, t.created_at, c.id AS campaign_id, c.code, split_part(u.key, '.', 2)::integer AS terms_version,
               u.value::bigint AS points, t.member_id, t.merchant_id
        FROM app.transactions t CROSS JOIN LATERAL jsonb_each_text(t.campaigns) u
        LEFT JOIN app.campaigns c ON c.id = split_part(u.key, '.', 1)::integer
        WHERE t.campaigns IS NOT NULL;
    COMMENT ON VIEW app.campaign_uses IS
        'Each campaign that applied to a payment, and what it gave; of the months that are here. Ask for a range of created_at';
END
$$;
COMMENT ON FUNCTION sec.make_campaign_uses() IS 'Makes app.campaign_uses. Internal.';
CREATE FUNCTION app.create_campaign(p_campaign jsonb)
    RETURNS TABLE (code text, status text, terms_version integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_campaign_wrapper';
COMMENT ON FUNCTION app.create_campaign IS
    E'Creates a campaign, as a draft that gives nothing yet.\n'
    'By a backend. p_campaign is an object of code, name, kind {points_multiplier, points_bonus} and value (above 1 and at most 100; a '
    'whole number of points), and of what is not to have its default: min_spend, valid_from, valid_until, weekdays [1 to 7, Monday 1], '
    'hours_from, hours_until (HH:MM in the shop''s time), merchants (their codes), levels, card_types, priority (0), exclusive (false). '
    'Another key is refused. The same again, while nobody has edited it, returns the same campaign.\n'
    'Level: backend.\n'
    'Results: code, status (draft), terms_version (1).\n'
    'Errors: INVALID_ARGUMENT, MERCHANT_NOT_FOUND, STATUS_CONFLICT (the code belongs to another campaign), NOT_ALLOWED.';
CREATE FUNCTION app.update_campaign(p_code text, p_campaign jsonb)
    RETURNS TABLE (code text, status text, terms_version integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'update_campaign_wrapper';
COMMENT ON FUNCTION app.update_campaign IS
    E'Changes what a campaign gives from now on.\n'
    'By a backend. p_campaign has what is to change, as in create_campaign; what is not named stays, NULL takes a condition away. '
    'Payments that were made keep what they were given.\n'
    'Level: backend.\n'
    'Results: code, status, terms_version (one more, if anything changed).\n'
    'Errors: CAMPAIGN_NOT_FOUND, INVALID_ARGUMENT, MERCHANT_NOT_FOUND, STATUS_CONFLICT (it has ended), NOT_ALLOWED.';
CREATE FUNCTION app.set_campaign_status(p_code text, p_status text, p_reason text)
    RETURNS TABLE (code text, status text, terms_version integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_campaign_status_wrapper';
COMMENT ON FUNCTION app.set_campaign_status IS
    E'Begins, pauses or ends a campaign.\n'
    'By a backend. p_status: active, paused (it gives nothing meanwhile), ended (for ever). A status that it has already is answered as '
    'if it were set.\n'
    'Level: backend.\n'
    'Results: code, status, terms_version (the newest).\n'
    'Errors: CAMPAIGN_NOT_FOUND, STATUS_CONFLICT, INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION app.campaign_report(p_code text)
    RETURNS TABLE (times bigint, members bigint, points_given bigint, payments bigint, sales numeric)
    LANGUAGE c STABLE ROWS 1
    AS 'MODULE_PATHNAME', 'campaign_report_wrapper';
COMMENT ON FUNCTION app.campaign_report IS
    E'What a campaign has given so far.\n'
    'By a backend. Of the months that are here; it reads the payments since the campaign was created. Payments that were given back in '
    'full do not count, but for times.\n'
    'Level: backend.\n'
    'Results: times (how often it applied), members (how many were given something), points_given (points; what refunds took back in part '
    'included), payments (that were not given back in full), sales (their final amounts less what was given back, '
    'in the shop''s currency).\n'
    'Errors: CAMPAIGN_NOT_FOUND, INVALID_ARGUMENT, NOT_ALLOWED.';
CREATE FUNCTION sec.sequences_of_campaigns() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.campaign_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.campaign_id_seq q),
           (SELECT max(c.id)::bigint FROM app.campaigns c)
$$;
COMMENT ON FUNCTION sec.sequences_of_campaigns() IS
    'The sequence of campaigns: the number that it gave last, and the greatest that a table has. Internal: sec.sequence_states().';
CREATE FUNCTION sec.logged_of_campaigns() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('campaign.created', ARRAY['campaign_id', 'version', 'terms']), ('campaign.updated', ARRAY['version', 'terms']),
           ('campaign.status_set', ARRAY['status'])
$$;
COMMENT ON FUNCTION sec.logged_of_campaigns() IS 'The events of campaigns. Internal: sec.logged_actions().';
CREATE FUNCTION sec.rebuilds_of_campaigns() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (195, 'rebuild_campaigns')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_campaigns() IS 'The steps of campaigns. Internal: sec.rebuild_steps().';
CREATE FUNCTION sec.rebuild_campaigns() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.campaigns (id, terms_version, created_at, status, code)
    SELECT (e.context ->> 'campaign_id')::integer, (t.context ->> 'version')::integer, e.happened_at, coalesce(s.status, 'draft'),
           e.object_id
    FROM audit.event_log e
    JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context FROM audit.event_log x
          WHERE x.action IN ('campaign.created', 'campaign.updated') ORDER BY x.object_id, x.id DESC) t ON t.object_id = e.object_id
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context ->> 'status' AS status FROM audit.event_log x
               WHERE x.action = 'campaign.status_set' ORDER BY x.object_id, x.id DESC) s ON s.object_id = e.object_id
    WHERE e.action = 'campaign.created';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'campaigns';
    RETURN NEXT;

    INSERT INTO app.campaign_terms (campaign_id, version, created_at, name, kind, value, min_spend, valid_from, valid_until, weekdays,
                                    hours_from, hours_until, merchants, levels, card_types, priority, exclusive)
    SELECT c.id, (e.context ->> 'version')::integer, e.happened_at, t.name, t.kind, t.value, t.min_spend, t.valid_from, t.valid_until,
           t.weekdays, extract(epoch FROM t.hours_from) / 60, extract(epoch FROM t.hours_until) / 60, t.merchants, t.levels, t.card_types,
           t.priority, t.exclusive
    FROM audit.event_log e
    JOIN app.campaigns c ON c.code = e.object_id
    CROSS JOIN LATERAL jsonb_to_record(e.context -> 'terms') AS t (
        name text, kind text, value numeric, min_spend numeric, valid_from timestamptz, valid_until timestamptz, weekdays smallint[],
        hours_from time, hours_until time, merchants integer[], levels smallint[], card_types text[], priority integer, exclusive boolean)
    WHERE e.action IN ('campaign.created', 'campaign.updated');
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'terms of campaigns';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_campaigns() IS 'Every campaign, and every version of its terms. Internal: app.rebuild_from_log().';
CREATE FUNCTION sec.rules_of_campaigns() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (210, ARRAY['campaigns'], 'books_campaigns'), (211, ARRAY['campaign_points'], 'books_campaign_points')
$$;
COMMENT ON FUNCTION sec.rules_of_campaigns() IS 'What app.verify_books() checks of campaigns. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_campaigns() RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    SELECT 'campaigns', format('%s: has %s terms up to %s, and %s are the newest', c.code, coalesce(v.rows, 0), v.newest, c.terms_version)
    FROM app.campaigns c
    LEFT JOIN (SELECT t.campaign_id, count(*) AS rows, max(t.version) AS newest FROM app.campaign_terms t GROUP BY t.campaign_id) v
        ON v.campaign_id = c.id
    WHERE v.rows IS DISTINCT FROM c.terms_version OR v.newest IS DISTINCT FROM c.terms_version
$rule$;
COMMENT ON FUNCTION sec.books_campaigns() IS 'Campaigns whose terms are not there. Internal: sec.books_rules().';
CREATE FUNCTION sec.books_campaign_points(p_from timestamptz, p_to timestamptz) RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH given AS MATERIALIZED (
        SELECT t.tx_no, t.tx_type, t.card_type, t.merchant_id, t.created_at, t.points_earned, t.points_base, t.points_bonus, t.campaigns,
               t.raw_amount - coalesce(t.excluded_amount, 0) AS part, t.final_amount - coalesce(t.excluded_amount, 0) AS pointable
        FROM app.transactions t
        WHERE num_nonnulls(t.points_base, t.points_bonus, t.campaigns) > 0 AND t.created_at >= p_from AND t.created_at < p_to),
    uses AS (
        SELECT g.tx_no, u.key, u.value AS points, c.code, c.status, t.*
        FROM given g CROSS JOIN LATERAL jsonb_each_text(CASE WHEN jsonb_typeof(g.campaigns) = 'object' THEN g.campaigns ELSE '{}' END) u
        LEFT JOIN app.campaign_terms t ON u.key = t.campaign_id || '.' || t.version
        LEFT JOIN app.campaigns c ON c.id = t.campaign_id),
    sums AS (
        SELECT u.tx_no, sum(CASE WHEN u.points ~ '^[0-9]{1,18}$' THEN u.points::bigint END) AS points, count(*) AS n,
               1 + coalesce(sum(u.value - 1) FILTER (WHERE u.kind = 'points_multiplier'), 0) AS times,
               coalesce(sum(u.value) FILTER (WHERE u.kind = 'points_bonus'), 0) AS fixed, bool_or(u.exclusive) AS is_exclusive
        FROM uses u GROUP BY u.tx_no)
    SELECT 'campaign_points', format('%s: %s', g.tx_no, x.what)
    FROM given g LEFT JOIN sums s ON s.tx_no = g.tx_no
    CROSS JOIN LATERAL (SELECT CASE
        WHEN g.tx_type <> 'payment' OR g.card_type <> 'personal' OR num_nonnulls(g.points_base, g.points_bonus, g.campaigns) < 3
            OR s.n IS NULL THEN 'has points of campaigns, and no campaigns, or no card that earns any'
        WHEN g.points_base + g.points_bonus <> g.points_earned OR s.points IS DISTINCT FROM g.points_bonus
            THEN format('earned %s, of which %s without campaigns and %s by them, which say %s', g.points_earned, g.points_base,
                        g.points_bonus, s.points)
        WHEN g.pointable <= 0 OR g.points_base < 0 THEN 'has points of campaigns, and nothing was paid for that takes part'
        WHEN s.is_exclusive AND s.n > 1 THEN 'has others beside an exclusive campaign'
        -- The rate of then lies between what base points can come of.
        WHEN g.points_earned < floor(g.points_base * s.times) + s.fixed
            OR g.points_earned > ceil((g.points_base + 1) * s.times) - 1 + s.fixed
            THEN format('earned %s, and %s times %s and %s were to be given', g.points_earned, s.times, g.points_base, s.fixed)
        END) x (what)
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'campaign_points', format('%s: %s', g.tx_no, CASE
        WHEN u.kind IS NULL THEN format('the campaign %s is not there', u.key)
        ELSE format('the campaign %s could not apply to it', u.code) END)
    FROM uses u JOIN given g ON g.tx_no = u.tx_no
    WHERE u.kind IS NULL OR u.status = 'draft' OR g.part < u.min_spend OR g.merchant_id <> ALL (u.merchants)
       OR 'personal' <> ALL (u.card_types)
       OR g.created_at < u.valid_from OR g.created_at >= u.valid_until
       OR u.kind = 'points_bonus' AND u.points <> u.value::bigint::text
$rule$;
COMMENT ON FUNCTION sec.books_campaign_points(timestamptz, timestamptz) IS
    'Payments whose points are not what their campaigns'' terms make of them. Internal: sec.books_rules().';
CREATE OR REPLACE FUNCTION sec.settle_functions() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
    v_grantee oid;
BEGIN
    -- What is new still belongs to whoever runs this. What mps_owner has already keeps the grants that it has.
    FOR v IN
        SELECT format('%s %s', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure) AS target, p.proowner,
               coalesce(p.proacl, acldefault('f', p.proowner)) AS acl
        FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
          AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'mps')
          AND p.proowner <> sec.owner()
        UNION ALL
        SELECT 'SCHEMA mps_gateway', n.nspowner, n.nspacl
        FROM pg_namespace n WHERE n.nspname = 'mps_gateway' AND n.nspowner <> sec.owner()
        UNION ALL
        SELECT 'DOMAIN mps_gateway."*/*"', t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
        FROM pg_type t WHERE t.oid = 'mps_gateway."*/*"'::regtype AND t.typowner <> sec.owner()
    LOOP
        -- Everybody's EXECUTE goes, and what ALTER DEFAULT PRIVILEGES gave to others: only sec.grant_api() grants.
        FOR v_grantee IN SELECT DISTINCT a.grantee FROM aclexplode(v.acl) a WHERE a.grantee <> v.proowner LOOP
            EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', v.target,
                           CASE v_grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(v_grantee)) END);
        END LOOP;
        EXECUTE format('ALTER %s OWNER TO %s', v.target, sec.owner());
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.settle_functions() IS
    'Gives the extension''s new functions, its domain and the schema of that to mps_owner, without any grant on them; sec.install() '
    'grants. Internal: CREATE EXTENSION and ALTER EXTENSION UPDATE call it.';
CREATE OR REPLACE FUNCTION sec.disown_data() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
BEGIN
    -- Data is not the extension's: DROP EXTENSION must not take it.
    FOR v IN
        SELECT d.classid, d.objid, o.type, o.identity
        FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) o
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
          AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'mps')
          AND d.classid IN ('pg_class'::regclass, 'pg_type'::regclass, 'pg_namespace'::regclass)
          -- No column has that type, but a function of ours has it in its signature.
          AND o.schema IS DISTINCT FROM 'mps_gateway'
        ORDER BY d.classid = 'pg_type'::regclass, o.identity LIKE '%[]'
    LOOP
        -- Newer servers let a table take its row type along, and a type its array.
        IF EXISTS (SELECT FROM pg_depend d WHERE d.classid = v.classid AND d.objid = v.objid AND d.deptype = 'e') THEN
            EXECUTE format('ALTER EXTENSION mps DROP %s %s', v.type, v.identity);
        END IF;
    END LOOP;
    -- A grant inside CREATE EXTENSION counts as the extension's own and pg_dump leaves it out, also on what is no member. Ours
    -- are to be dumped like anybody's. From 17 on the server also notes which roles are in them, and keeps those from being dropped.
    FOR v IN
        SELECT 'pg_namespace'::regclass AS classid, n.oid AS objid FROM pg_namespace n
        WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway')
        UNION ALL
        SELECT 'pg_type'::regclass, t.oid FROM pg_type t WHERE t.typnamespace = to_regnamespace('mps_gateway')
        UNION ALL
        SELECT 'pg_class'::regclass, c.oid FROM pg_class c WHERE c.relnamespace::regnamespace::text IN ('app', 'audit', 'sec')
        UNION ALL
        SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p
        WHERE p.pronamespace::regnamespace::text IN ('app', 'audit', 'sec', 'mps_compat', 'mps_gateway')
    LOOP
        DELETE FROM pg_init_privs i WHERE i.classoid = v.classid AND i.objoid = v.objid;
        DELETE FROM pg_shdepend d
        WHERE d.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
          AND d.classid = v.classid AND d.objid = v.objid AND d.deptype = 'i';
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.disown_data() IS
    'Takes tables, sequences, views, types and schemas out of the extension, so that nothing takes a row with it; not the '
    'domain of mps_gateway. Internal: CREATE EXTENSION and ALTER EXTENSION UPDATE call it.';
CREATE FUNCTION sec.parse_functions() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET check_function_bodies = on AS $$
BEGIN
    -- CREATE EXTENSION takes bodies as they are, because the tables come after the functions.
    PERFORM fmgr_sql_validator(p.oid)
    FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid JOIN pg_language l ON l.oid = p.prolang
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND l.lanname = 'sql'
      AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'mps');
END
$$;
COMMENT ON FUNCTION sec.parse_functions() IS
    'Parses every SQL function of the extension against the tables, the rules of the books among them; fails where one names what is '
    'not there. Internal: CREATE EXTENSION calls it where it has made all the tables.';

-- End of the functions --

-- Owner and grants of what is new, then the tables, then nothing of the data is left to the extension.
SELECT sec.settle_functions();
SELECT sec.migrate_tables();
SELECT sec.disown_data();
