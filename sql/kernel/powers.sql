-- What sec.security_check() asks about the cluster's roles.

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
