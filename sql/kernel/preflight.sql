-- Who will own everything, and what must hold before anything is made. Runs inside CREATE EXTENSION.

-- For the whole script: nothing that somebody left in a schema of these names is found by an unqualified name.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL quote_all_identifiers = off;
SET LOCAL standard_conforming_strings = on;

-- Whether a dump is being restored, which brings the tables and the rights itself. pg_dump and pg_restore switch row_security off
-- and say how XML is read by a SET in every session of theirs, and bring the schemas before the extension and the tables after it.
-- As a setting of the database, of a role, of the server or by itself, row_security is no sign of a dump.
SELECT pg_catalog.set_config('mps.restoring',
                             (pg_catalog.count(*) = 2 AND pg_catalog.to_regnamespace('sec') IS NOT NULL
                              AND pg_catalog.to_regclass('app.settings') IS NULL)::text, true)
FROM pg_catalog.pg_settings s
WHERE s.source = 'session' AND (s.name, s.setting) IN (('row_security', 'off'), ('xmloption', 'content'));

DO $preflight$
DECLARE
    v_role record;
    v_stray text;
    v_schema record;
    v_grantee oid;
    v_made oid;
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'mps needs a database in UTF8, this one is %', current_setting('server_encoding');
    END IF;

    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'mps_owner') THEN
        BEGIN
            CREATE ROLE mps_owner NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
            COMMENT ON ROLE mps_owner IS 'Owns the objects of the extension mps. Nobody logs in as it and nobody is a member of it.';
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- Somebody makes it at this moment for another database.
            NULL;
        END;
    END IF;
    SELECT r.oid, r.rolcanlogin, r.rolsuper, r.rolbypassrls INTO v_role FROM pg_catalog.pg_roles r WHERE r.rolname = 'mps_owner';
    IF v_role.rolcanlogin OR v_role.rolsuper
       OR EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.roleid = v_role.oid) THEN
        RAISE EXCEPTION 'the role mps_owner exists and can log in, is a superuser or has members: it must be none of these'
            USING HINT = 'ALTER ROLE mps_owner NOLOGIN NOSUPERUSER, and REVOKE mps_owner FROM its members.';
    END IF;

    -- The schemas hold what belongs to mps_owner, which only a superuser can give it, or nothing: a stranger's relations,
    -- types, functions and operators are never taken up. A restore brings the schemas first, so it finds them empty.
    SELECT pg_catalog.string_agg(x.name, ', ') INTO v_stray
    FROM (SELECT c.oid::regclass::text AS name, c.relnamespace AS nsp, c.relowner AS owner FROM pg_catalog.pg_class c
          WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
          UNION ALL
          SELECT t.oid::regtype::text, t.typnamespace, t.typowner FROM pg_catalog.pg_type t
          WHERE t.typrelid = 0 AND t.typelem = 0
          UNION ALL
          -- None of ours exists yet, or any more, but those of mps_compat.
          SELECT p.oid::regprocedure::text, p.pronamespace,
                 CASE WHEN p.pronamespace = pg_catalog.to_regnamespace('mps_compat') THEN p.proowner ELSE 0 END FROM pg_catalog.pg_proc p
          UNION ALL
          SELECT o.oid::regoperator::text, o.oprnamespace, 0 FROM pg_catalog.pg_operator o) x
    JOIN pg_catalog.pg_namespace n ON n.oid = x.nsp
    WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway')
      AND x.owner IS DISTINCT FROM (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = 'mps_owner');
    IF v_stray IS NOT NULL THEN
        RAISE EXCEPTION 'the schemas app, audit, sec, mps_archive, mps_compat and mps_gateway hold objects that are not of mps: %', v_stray
            USING HINT = 'Move or drop them, then install mps.';
    END IF;
    -- A name that somebody may have given to a schema of his own: even an empty one is not taken up.
    IF pg_catalog.to_regnamespace('mps_gateway') IS NULL THEN
        CREATE SCHEMA mps_gateway;
        ALTER EXTENSION mps DROP SCHEMA mps_gateway;
        v_made := pg_catalog.to_regnamespace('mps_gateway');
    ELSIF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n
                      WHERE n.nspname = 'mps_gateway'
                        AND (n.nspowner = 'mps_owner'::regrole
                             -- A dump without owners has brought it.
                             OR current_setting('mps.restoring')::boolean AND n.nspowner = current_user::regrole)) THEN
        RAISE EXCEPTION 'the schema mps_gateway is there and not of mps'
            USING HINT = 'Rename or drop it, then install mps.';
    END IF;
    -- What is there of ours carries a constraint of this name (a comment would not survive pg_dump --no-comments).
    IF EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'app' AND c.relkind IN ('r', 'p'))
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
                       WHERE k.conrelid = pg_catalog.to_regclass('app.settings') AND k.conname = 'mps_stamp_8f1d6c52') THEN
        RAISE EXCEPTION 'the schema app holds tables without the stamp of mps';
    END IF;

    IF pg_catalog.to_regnamespace('audit') IS NULL THEN
        CREATE SCHEMA audit;
        ALTER EXTENSION mps DROP SCHEMA audit;
    END IF;
    IF pg_catalog.to_regnamespace('sec') IS NULL THEN
        CREATE SCHEMA sec;
        ALTER EXTENSION mps DROP SCHEMA sec;
    END IF;
    FOR v_schema IN
        SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n
        WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway') AND n.nspowner <> 'mps_owner'::regrole
    LOOP
        -- What ALTER DEFAULT PRIVILEGES gave to others on the way goes.
        FOR v_grantee IN
            SELECT DISTINCT a.grantee FROM pg_catalog.aclexplode(v_schema.nspacl) a
            WHERE a.grantee <> v_schema.nspowner AND (v_schema.oid = v_made OR NOT current_setting('mps.restoring')::boolean)
        LOOP
            EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %s CASCADE', v_schema.nspname,
                           CASE v_grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(v_grantee)) END);
        END LOOP;
        EXECUTE format('ALTER SCHEMA %I OWNER TO mps_owner', v_schema.nspname);
    END LOOP;
END
$preflight$;

COMMENT ON SCHEMA app IS 'MPS: business tables, views, RPCs and procedures';
COMMENT ON SCHEMA audit IS 'MPS: the append-only event log';
COMMENT ON SCHEMA sec IS 'MPS: who is calling, grants, self-checks';
COMMENT ON SCHEMA mps_gateway IS 'MPS: where what payment gateways send comes in';
