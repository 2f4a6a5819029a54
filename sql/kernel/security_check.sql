-- What the tests assert of rights, and what a DBA can ask any day.

CREATE FUNCTION sec.security_check() RETURNS TABLE (rule text, ok boolean, detail text)
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
