-- Ownership, grants and tables: the last part of CREATE EXTENSION. What an upgrade has to repeat is in functions.

CREATE FUNCTION sec.settle_functions() RETURNS void
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

DO $finish$
DECLARE
    v record;
    -- Where some are there already, they may be those of an older release, which app.migrate() changes.
    v_first boolean := to_regclass('app.settings') IS NULL;
BEGIN
    -- The one time that the owner is found by its name: preflight.sql has looked at the role. From here on it is whoever owns
    -- this function, and nobody has a level before it is granted.
    ALTER FUNCTION sec.level_client() OWNER TO mps_owner;
    -- A dump brings the schemas first. Without mps_compat it is of a release that had other functions, and grants on them.
    IF current_setting('mps.restoring')::boolean AND to_regnamespace('mps_compat') IS NULL THEN
        PERFORM sec.stand_in_functions();
    END IF;
    PERFORM sec.settle_functions();
    FOR v IN SELECT m.marker, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS role
             FROM sec.level_markers() m JOIN pg_catalog.pg_proc p ON p.oid = m.marker::regprocedure,
                  pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a WHERE a.grantee <> p.proowner
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s CASCADE', v.marker, v.role);
    END LOOP;
    IF NOT current_setting('mps.restoring')::boolean THEN
        IF current_setting('row_security') = 'off' THEN
            RAISE WARNING 'mps: row_security is off here, so clients are refused every view and table of mps'
                USING HINT = 'Set it on, where it was set off (ALTER DATABASE, ALTER ROLE, configuration).';
        END IF;
        PERFORM sec.install();
        FOR v_ahead IN 0 .. 3 LOOP
            PERFORM sec.make_month(((now() AT TIME ZONE 'UTC')::date + make_interval(months => v_ahead))::date);
        END LOOP;
        IF v_first THEN
            PERFORM sec.parse_functions();
        END IF;
    END IF;
    PERFORM sec.disown_data();
END
$finish$;
