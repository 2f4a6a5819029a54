-- What sec.security_check() asks of privileges besides whether each is allowed: which are missing, and which can be passed on.

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
