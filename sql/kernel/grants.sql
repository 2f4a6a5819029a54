-- Giving levels and taking them back: whatever is granted on what is of mps is granted and revoked here.

CREATE FUNCTION sec.strip_grants(p_relation regclass) RETURNS void
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
COMMENT ON FUNCTION sec.strip_grants(regclass) IS
    'Takes back what ALTER DEFAULT PRIVILEGES gave away on a new relation: only sec.grant_api() grants. Internal.';

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

CREATE FUNCTION sec.apply_grants(p_role text, p_level text, p_grant boolean) RETURNS void
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

CREATE FUNCTION sec.grant_api(p_role text, p_level text) RETURNS void
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

CREATE FUNCTION sec.revoke_api(p_role text, p_level text) RETURNS void
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
