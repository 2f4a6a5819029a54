-- Who is calling: what policies, views and RPCs ask. Members of the extension, owned by mps_owner (90_finish.sql).

CREATE FUNCTION sec.uid() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'uid_wrapper';
COMMENT ON FUNCTION sec.uid() IS
    E'The signed-in user: the sub of request.jwt.claims as a uuid.\n'
    'NULL without claims, without a sub, where the sub is no uuid, and in what maintenance evaluates, whatever the claims.';

-- Marker functions: whoever may execute one has that level. They do nothing.
CREATE FUNCTION sec.level_client() RETURNS void
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS '';
COMMENT ON FUNCTION sec.level_client() IS 'Marker: a role that may execute it has client level.';
CREATE FUNCTION sec.level_backend() RETURNS void
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS '';
COMMENT ON FUNCTION sec.level_backend() IS 'Marker: a role that may execute it has backend level.';
CREATE FUNCTION sec.level_operator() RETURNS void
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS '';
COMMENT ON FUNCTION sec.level_operator() IS 'Marker: a role that may execute it has operator level.';

CREATE FUNCTION sec.level_markers() RETURNS TABLE (level text, marker text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'sec.level_client()'),
           ('backend', 'sec.level_backend()'),
           ('operator', 'sec.level_operator()'),
           ('signup', 'app.enable_supabase_signup()')
$$;
COMMENT ON FUNCTION sec.level_markers() IS
    'Each level with the function that only who has it may execute. A backend may execute the marker of clients, too.';

CREATE FUNCTION sec.owner() RETURNS regrole
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.proowner::regrole FROM pg_proc p WHERE p.oid = 'sec.level_client()'::regprocedure
$$;
COMMENT ON FUNCTION sec.owner() IS
    'The role that owns what is of mps: mps_owner, whatever it is called by now. A name can be given to somebody else. Internal.';

CREATE FUNCTION sec.raise(p_token text, p_detail text) RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'raise_token_wrapper';
COMMENT ON FUNCTION sec.raise(text, text) IS
    'Raises one of the errors of app.error_codes, for the SQL parts of mps. Internal.';

CREATE FUNCTION sec.run_ddl(p_statements text) RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'run_ddl_wrapper';
COMMENT ON FUNCTION sec.run_ddl(text) IS
    'Runs CREATE TABLE, ALTER TABLE, COMMENT, CREATE TRIGGER, DROP INDEX, GRANT and REVOKE without event triggers, which '
    'would run as mps_owner and could stop a charge. Has no rights of its own. Internal. Errors: INVALID_ARGUMENT for other statements.';

CREATE FUNCTION sec.config_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'config_changed_trigger_wrapper';
COMMENT ON FUNCTION sec.config_changed() IS
    'Trigger: makes every backend read settings and levels anew once the change commits. Internal.';

CREATE FUNCTION sec.business_day_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'business_day_changed_trigger_wrapper';
COMMENT ON FUNCTION sec.business_day_changed() IS
    'Trigger: has app.business_day_rules follow the settings, from the next business day on. Internal.';

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

CREATE FUNCTION sec.append_only() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.raise('NOT_ALLOWED', pg_catalog.format('%I.%I is append-only: %s is refused to everyone',
                                            TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.append_only() IS 'Trigger: refuses UPDATE, DELETE and TRUNCATE on the event log. Internal.';

-- Sets that policies ask for. SECURITY DEFINER, because a policy that reads its own table under its own policy never ends. Where
-- the owner is bound by policies it would not end either, so that is asked first.
CREATE FUNCTION sec.admin_card_ids() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.require_sound_tables();
    SELECT b.enterprise_card_id FROM app.enterprise_card_bindings b
    WHERE b.member_id = (SELECT sec.uid()) AND b.role = 'admin'::app.bind_role
$$;
COMMENT ON FUNCTION sec.admin_card_ids() IS 'The enterprise cards that the signed-in user administers.';

CREATE FUNCTION sec.merchant_ids() RETURNS SETOF integer
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.require_sound_tables();
    SELECT u.merchant_id FROM app.merchant_users u WHERE u.user_id = (SELECT sec.uid())
$$;
COMMENT ON FUNCTION sec.merchant_ids() IS 'The merchants that the signed-in user operates, in whatever role.';

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

-- COST: so that a page is sorted and cut before its tags are looked at.
CREATE FUNCTION sec.shown_tag(p_tag jsonb) RETURNS jsonb
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'shown_tag_wrapper';
COMMENT ON FUNCTION sec.shown_tag(jsonb) IS
    'The tag of a transaction as views and statements show it: itself, or where its text would be longer than 16 KiB (older '
    'releases let such in) {"mps_omitted": "tag", "bytes_of_text": how many}.';

CREATE FUNCTION sec.level_changed() RETURNS trigger
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
COMMENT ON FUNCTION sec.level_changed() IS
    'Trigger: writes an audit event for every change of app.membership_levels, which has no RPC. Internal.';
