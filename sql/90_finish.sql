-- Ownership, grants and tables: the last part of CREATE EXTENSION. What an upgrade has to repeat is in functions.

CREATE FUNCTION sec.settle_functions() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
BEGIN
    -- Everybody's EXECUTE goes, and everything that runs with its owner's rights belongs to mps_owner.
    FOR v IN
        SELECT format('%s %s', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure) AS target
        FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
          AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'mps')
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', v.target);
        EXECUTE format('ALTER %s OWNER TO mps_owner', v.target);
    END LOOP;
    -- What ALTER DEFAULT PRIVILEGES gave to others on the way goes as well: only sec.grant_api() grants.
    FOR v IN
        SELECT DISTINCT format('REVOKE ALL ON %s %s FROM %I', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END,
                               p.oid::regprocedure, pg_get_userbyid(a.grantee)) AS command
        FROM pg_proc p, aclexplode(p.proacl) a
        WHERE p.pronamespace IN ('app'::regnamespace, 'audit'::regnamespace, 'sec'::regnamespace)
          AND a.grantee NOT IN (0, p.proowner)
        UNION ALL
        SELECT DISTINCT format('REVOKE ALL ON SCHEMA %I FROM %s', n.nspname,
                               CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
        FROM pg_namespace n, aclexplode(n.nspacl) a
        WHERE n.nspname IN ('app', 'audit', 'sec') AND a.grantee <> n.nspowner AND current_setting('row_security') <> 'off'
    LOOP
        EXECUTE v.command;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.settle_functions() IS
    'Gives the extension''s functions to mps_owner and takes every grant on them and on the schemas back; sec.install() grants anew. Internal: CREATE EXTENSION and ALTER EXTENSION UPDATE call it.';

CREATE FUNCTION sec.disown_data() RETURNS void
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
        ORDER BY d.classid = 'pg_type'::regclass, o.identity LIKE '%[]'
    LOOP
        -- Newer servers let a table take its row type along, and a type its array.
        IF EXISTS (SELECT FROM pg_depend d WHERE d.classid = v.classid AND d.objid = v.objid AND d.deptype = 'e') THEN
            EXECUTE format('ALTER EXTENSION mps DROP %s %s', v.type, v.identity);
        END IF;
    END LOOP;
    -- A grant inside CREATE EXTENSION counts as the extension's own and pg_dump leaves it out, also on what is no member. Ours
    -- are to be dumped like anybody's.
    DELETE FROM pg_init_privs i
    USING pg_namespace n
    WHERE n.nspname IN ('app', 'audit', 'sec')
      AND ((i.classoid = 'pg_namespace'::regclass AND i.objoid = n.oid)
        OR (i.classoid = 'pg_class'::regclass AND i.objoid IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = n.oid))
        OR (i.classoid = 'pg_proc'::regclass AND i.objoid IN (SELECT p.oid FROM pg_proc p WHERE p.pronamespace = n.oid)));
END
$$;
COMMENT ON FUNCTION sec.disown_data() IS
    'Takes tables, sequences, views, types and schemas out of the extension, so that nothing takes a row with it. Internal: CREATE EXTENSION and ALTER EXTENSION UPDATE call it.';

DO $finish$
DECLARE
    v record;
BEGIN
    PERFORM sec.settle_functions();
    -- pg_dump and pg_restore bring the tables themselves, and switch row_security off in every session of theirs.
    IF current_setting('row_security') <> 'off' THEN
        PERFORM sec.install();
        FOR v_ahead IN 0 .. 3 LOOP
            PERFORM sec.make_month(((now() AT TIME ZONE 'UTC')::date + make_interval(months => v_ahead))::date);
        END LOOP;
        IF EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'authenticated') THEN
            PERFORM sec.grant_api('authenticated', 'client');
        END IF;
        IF EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'service_role') THEN
            PERFORM sec.grant_api('service_role', 'backend');
        END IF;
        -- The owner of Supabase's users may switch on that each of them becomes a member.
        FOR v IN SELECT pg_get_userbyid(c.relowner) AS owner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
                 WHERE c.oid = pg_catalog.to_regclass('auth.users') AND NOT r.rolsuper
        LOOP
            PERFORM sec.grant_api(v.owner, 'signup');
        END LOOP;
    ELSE
        IF EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'authenticated') THEN
            PERFORM sec.apply_grants('authenticated', 'client', true);
        END IF;
        IF EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'service_role') THEN
            PERFORM sec.apply_grants('service_role', 'backend', true);
        END IF;
    END IF;
    PERFORM sec.disown_data();
END
$finish$;
