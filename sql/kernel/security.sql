-- Who is calling: what policies, views and RPCs ask. Members of the extension, owned by mps_owner (finish.sql).

CREATE FUNCTION sec.uid() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'uid_wrapper';
COMMENT ON FUNCTION sec.uid() IS
    E'The signed-in user: the sub of request.jwt.claims as a uuid.\n'
    'NULL without claims, without a sub, where the sub is no uuid, and in what maintenance evaluates, whatever the claims.\n'
    'Level: client.';

-- Marker functions: whoever may execute one has that level. They do nothing.
CREATE FUNCTION sec.level_client() RETURNS void
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS '';
COMMENT ON FUNCTION sec.level_client() IS
    E'Marker: a role that may execute it has client level.\n'
    'Level: client.';

CREATE FUNCTION sec.level_backend() RETURNS void
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS '';
COMMENT ON FUNCTION sec.level_backend() IS
    E'Marker: a role that may execute it has backend level.\n'
    'Level: backend.';

CREATE FUNCTION sec.level_operator() RETURNS void
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS '';
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
