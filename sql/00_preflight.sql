-- Who will own everything, and what must hold before anything is made. Runs inside CREATE EXTENSION.

-- For the whole script: nothing that somebody left in a schema of these names is found by an unqualified name.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL quote_all_identifiers = off;

DO $preflight$
DECLARE
    v_role record;
    v_stray text;
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'mps needs a database in UTF8, this one is %', current_setting('server_encoding');
    END IF;

    SELECT r.oid, r.rolcanlogin, r.rolsuper, r.rolbypassrls INTO v_role FROM pg_catalog.pg_roles r WHERE r.rolname = 'mps_owner';
    IF NOT FOUND THEN
        CREATE ROLE mps_owner NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        COMMENT ON ROLE mps_owner IS 'Owns the objects of the extension mps. Nobody logs in as it and nobody is a member of it.';
    ELSIF v_role.rolcanlogin OR v_role.rolsuper
       OR EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.roleid = v_role.oid) THEN
        RAISE EXCEPTION 'the role mps_owner exists and can log in, is a superuser or has members: it must be none of these'
            USING HINT = 'ALTER ROLE mps_owner NOLOGIN NOSUPERUSER, and REVOKE mps_owner FROM its members.';
    END IF;

    -- The three schemas are ours or empty; a stranger's tables are never taken up.
    -- What is ours carries a constraint of this name (a comment would not survive pg_dump --no-comments).
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
                   WHERE k.conrelid = pg_catalog.to_regclass('app.settings') AND k.conname = 'mps_stamp_8f1d6c52') THEN
        SELECT pg_catalog.string_agg(c.oid::regclass::text, ', ') INTO v_stray
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('app', 'audit', 'sec') AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S');
        -- A restore brings the schemas before the tables: then there is nothing to find here.
        IF v_stray IS NOT NULL THEN
            RAISE EXCEPTION 'the schemas app, audit and sec hold relations that are not of mps: %', v_stray
                USING HINT = 'Install mps into a database where these three schemas do not exist yet or are empty.';
        END IF;
    END IF;

    -- Nor is a function or an operator that somebody has put there: nothing of ours exists yet, or any more.
    SELECT pg_catalog.string_agg(x.name, ', ') INTO v_stray
    FROM (SELECT p.oid::regprocedure::text AS name, p.pronamespace AS nsp FROM pg_catalog.pg_proc p
          UNION ALL
          SELECT o.oid::regoperator::text, o.oprnamespace FROM pg_catalog.pg_operator o) x
    JOIN pg_catalog.pg_namespace n ON n.oid = x.nsp
    WHERE n.nspname IN ('app', 'audit', 'sec');
    IF v_stray IS NOT NULL THEN
        RAISE EXCEPTION 'the schemas app, audit and sec hold functions or operators that are not of mps: %', v_stray
            USING HINT = 'Move or drop them, then install mps.';
    END IF;

    IF pg_catalog.to_regnamespace('audit') IS NULL THEN
        CREATE SCHEMA audit;
        ALTER EXTENSION mps DROP SCHEMA audit;
    END IF;
    IF pg_catalog.to_regnamespace('sec') IS NULL THEN
        CREATE SCHEMA sec;
        ALTER EXTENSION mps DROP SCHEMA sec;
    END IF;
    ALTER SCHEMA app OWNER TO mps_owner;
    ALTER SCHEMA audit OWNER TO mps_owner;
    ALTER SCHEMA sec OWNER TO mps_owner;
END
$preflight$;

COMMENT ON SCHEMA app IS 'MPS: business tables, views, RPCs and procedures';
COMMENT ON SCHEMA audit IS 'MPS: the append-only event log';
COMMENT ON SCHEMA sec IS 'MPS: who is calling, grants, self-checks';
