-- Who has which level. The server keeps it, by role and not by name: in the privileges of a table without rows,
-- sec.level_holders, that has a column for each level. So a renamed role keeps its levels, DROP ROLE is refused until they are
-- taken back, DROP OWNED takes them back, and a dump carries them by the name of its day, as it carries every GRANT. The table is
-- no member of the extension: it outlives DROP EXTENSION. The privileges on functions and on the columns of the API are made from
-- it. Beside it sec.api_grants notes the same by name, for one case: a dump that is restored without privileges (--no-acl).

CREATE FUNCTION sec.levels_held() RETURNS TABLE (role regrole, level text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.grantee::regrole, t.attname::text
    FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid AND NOT t.attisdropped, aclexplode(t.attacl) a
    -- Given by the owner: what a holder passed on is no level.
    WHERE c.oid = to_regclass('sec.level_holders') AND a.privilege_type = 'SELECT' AND a.grantor = c.relowner
      AND a.grantee NOT IN (0, c.relowner, sec.owner())
$$;
COMMENT ON FUNCTION sec.levels_held() IS 'Which role has which level: who may SELECT which column of sec.level_holders. Internal.';

CREATE FUNCTION sec.levels_in_force() RETURNS TABLE (role regrole, level text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.grantee::regrole, m.level
    FROM sec.level_markers() m JOIN pg_proc p ON p.oid = to_regprocedure(m.marker), aclexplode(p.proacl) a
    WHERE a.privilege_type = 'EXECUTE' AND a.grantor = p.proowner AND a.grantee NOT IN (0, p.proowner)
$$;
COMMENT ON FUNCTION sec.levels_in_force() IS
    'Which role may execute which level''s marker; that of clients is executed by backends, too. Internal.';

CREATE FUNCTION sec.holders_are_known() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Every list begins with the owner. Where it is missing, the table came from a dump, and its privileges did not.
    SELECT EXISTS (SELECT FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
                   WHERE c.oid = to_regclass('sec.level_holders') AND a.grantee IN (c.relowner, sec.owner()))
$$;
COMMENT ON FUNCTION sec.holders_are_known() IS 'Whether sec.level_holders has its privileges: not after a restore without them. Internal.';

CREATE FUNCTION sec.cluster() RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') THEN
        RETURN (SELECT s.system_identifier::text FROM pg_control_system() s);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.cluster() IS
    'Which cluster this is: only there does the oid of a role mean that role. NULL where nobody may ask. Internal.';

CREATE FUNCTION sec.noted_role(p_role_name text, p_role_oid oid, p_cluster text) RETURNS regrole
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.oid::regrole FROM pg_roles r
    WHERE CASE WHEN p_role_oid IS NOT NULL AND p_cluster = sec.cluster() THEN r.oid = p_role_oid ELSE r.rolname = p_role_name END
$$;
COMMENT ON FUNCTION sec.noted_role(text, oid, text) IS
    'Which role a note in sec.api_grants means here: the very role in its own cluster, elsewhere the one of that name. Internal.';

CREATE FUNCTION sec.install_grants() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    IF to_regclass('sec.api_grants') IS NULL THEN
        CREATE TABLE sec.api_grants (
            role_name text NOT NULL,
            level     text NOT NULL CHECK (level IN ('client', 'backend', 'operator', 'signup', 'gateway')),
            role_oid  oid,
            cluster   text,
            gone_at   timestamptz,
            PRIMARY KEY (role_name, level)
        );
    END IF;
    IF to_regclass('sec.level_holders') IS NULL THEN
        CREATE TABLE sec.level_holders (
            client   boolean,
            backend  boolean,
            operator boolean,
            signup   boolean,
            gateway  boolean,
            -- So that it can be part of a publication.
            PRIMARY KEY (client, backend, operator, signup, gateway),
            CONSTRAINT never_a_row CHECK (false)
        );
        PERFORM sec.strip_grants('sec.level_holders');
        COMMENT ON TABLE sec.level_holders IS
            'Has no rows. Who may SELECT a column has the level of that name: sec.grant_api() and sec.revoke_api() keep it';
        PERFORM sec.migrate_api_grants();
    ELSIF NOT sec.holders_are_known() THEN
        -- Nothing but notes came along. In their own cluster they say which role, elsewhere what it was called.
        FOR v IN
            SELECT g.role_name, g.level, sec.noted_role(g.role_name, g.role_oid, g.cluster) AS role
            FROM sec.api_grants g WHERE g.gone_at IS NULL
        LOOP
            IF v.role IS NOT NULL THEN
                EXECUTE format('GRANT SELECT (%I) ON sec.level_holders TO %s', v.level, v.role);
            ELSE
                RAISE NOTICE 'mps: % had % level where this database comes from; there is no such role here', v.role_name, v.level;
            END IF;
        END LOOP;
        DELETE FROM sec.api_grants;
    END IF;
    COMMENT ON TABLE sec.api_grants IS 'What sec.level_holders says, noted by name: read only where a dump was restored without privileges';
    COMMENT ON COLUMN sec.api_grants.role_name IS 'The role''s name when this was last noted.';
    COMMENT ON COLUMN sec.api_grants.role_oid IS 'The role, in its cluster; means nothing in another one.';
    COMMENT ON COLUMN sec.api_grants.cluster IS 'System identifier of the cluster whose oid it is.';
    COMMENT ON COLUMN sec.api_grants.gone_at IS
        'When it was noticed that no role has this level any more that had it by this name: dropped, or taken back by hand. Gives '
        'nobody anything.';
    EXECUTE format('GRANT SELECT (client, backend, operator, signup, gateway) ON sec.level_holders TO %s',
                   (SELECT c.relowner::regrole FROM pg_class c WHERE c.oid = 'sec.level_holders'::regclass));
END
$$;
COMMENT ON FUNCTION sec.install_grants() IS
    'Makes sec.level_holders and sec.api_grants where they are missing, and fills the one from the other after a restore without '
    'privileges. Internal.';

CREATE FUNCTION sec.migrate_api_grants() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_markers boolean := EXISTS (SELECT FROM sec.levels_in_force());
BEGIN
    ALTER TABLE sec.api_grants ADD COLUMN IF NOT EXISTS role_oid oid, ADD COLUMN IF NOT EXISTS cluster text,
                               ADD COLUMN IF NOT EXISTS gone_at timestamptz,
                               DROP CONSTRAINT IF EXISTS api_grants_level_check,
                               ADD CONSTRAINT api_grants_level_check
                                   CHECK (level IN ('client', 'backend', 'operator', 'signup', 'gateway'));
    FOR v IN
        -- The markers say who has which level, whatever a role is called by now. Only whether a backend is a client besides is
        -- to be learned from the list.
        SELECT f.role, f.level FROM sec.levels_in_force() f JOIN pg_roles r ON r.oid = f.role
        WHERE f.level <> 'client'
           OR NOT EXISTS (SELECT FROM sec.levels_in_force() b WHERE b.role = f.role AND b.level = 'backend')
           OR EXISTS (SELECT FROM sec.api_grants g WHERE g.role_name = r.rolname AND g.level = 'client')
        UNION
        -- DROP EXTENSION has taken the markers along, but not the schema, on which every level has USAGE.
        SELECT r.oid::regrole, g.level FROM sec.api_grants g JOIN pg_roles r ON r.rolname = g.role_name
        WHERE NOT v_markers
          AND EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) a
                      WHERE n.nspname = 'sec' AND a.grantee = r.oid AND a.grantor = n.nspowner)
    LOOP
        EXECUTE format('GRANT SELECT (%I) ON sec.level_holders TO %s', v.level, v.role);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.migrate_api_grants() IS
    'Fills the new sec.level_holders from the list of names of 0.2.0 and older: a name counts only where its role was really '
    'granted the level. Internal: sec.install_grants() calls it.';

CREATE FUNCTION sec.note_grants() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_here text := sec.cluster();
BEGIN
    -- Before app.migrate() has read them, notes from a restore without privileges are all there is.
    IF sec.holders_are_known() THEN
        -- Renamed: noted anew below.
        DELETE FROM sec.api_grants g USING sec.levels_held() h, pg_roles r
        WHERE g.role_oid = h.role AND g.level = h.level AND g.cluster = v_here AND r.oid = h.role AND r.rolname <> g.role_name;
        UPDATE sec.api_grants g SET gone_at = now()
        WHERE g.gone_at IS NULL
          AND NOT EXISTS (SELECT FROM sec.levels_held() h JOIN pg_roles r ON r.oid = h.role
                          WHERE r.rolname = g.role_name AND h.level = g.level);
    END IF;
    INSERT INTO sec.api_grants AS g (role_name, level, role_oid, cluster)
    SELECT r.rolname, h.level, r.oid, v_here FROM sec.levels_held() h JOIN pg_roles r ON r.oid = h.role
    ON CONFLICT (role_name, level) DO UPDATE SET role_oid = excluded.role_oid, cluster = excluded.cluster, gone_at = NULL
    WHERE (g.role_oid, g.cluster, g.gone_at) IS DISTINCT FROM (excluded.role_oid, excluded.cluster, NULL);
END
$$;
COMMENT ON FUNCTION sec.note_grants() IS 'Notes in sec.api_grants what sec.level_holders says, by the names of today. Internal.';
