-- Who may call what. One list; grants are made from it and sec.security_check() compares with it.

CREATE FUNCTION sec.api_functions() RETURNS TABLE (func text, level text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES
        ('sec.uid', 'client'),
        ('sec.level_client', 'client'),
        ('sec.level_backend', 'backend'),
        ('sec.level_operator', 'operator'),
        ('sec.admin_card_ids', 'client'),
        ('sec.merchant_ids', 'client'),
        ('sec.shown_tag', 'client'),
        ('app.error_list', 'client'),
        ('app.register_member', 'client'),
        ('app.rotate_card_qr', 'client'),
        ('app.merchant_charge_by_qr', 'client'),
        ('app.merchant_refund_tx', 'client'),
        ('app.user_recharge_personal_card', 'client'),
        ('app.user_recharge_enterprise_card_admin', 'client'),
        ('app.confirm_recharge', 'backend'),
        ('app.fail_recharge', 'backend'),
        ('app.resolve_suspense', 'backend'),
        ('app.enterprise_add_member', 'client'),
        ('app.enterprise_remove_member', 'client'),
        ('app.create_merchant', 'backend'),
        ('app.set_merchant_user', 'client'),
        ('app.remove_merchant_user', 'client'),
        ('app.set_merchant_status', 'backend'),
        ('app.create_enterprise_card', 'backend'),
        ('app.set_member_status', 'backend'),
        ('app.set_card_status', 'client'),
        ('app.set_card_expiry', 'backend'),
        ('app.replace_card', 'backend'),
        ('app.adjust_points', 'backend'),
        ('app.compensate_tx', 'backend'),
        ('app.get_settings', 'backend'),
        ('app.update_settings', 'backend'),
        ('app.card_statement', 'client'),
        ('app.merchant_statement', 'client'),
        ('app.usage_page', 'client'),
        ('app.business_day', 'client'),
        ('app.business_day', 'operator'),
        ('app.business_day_start', 'client'),
        ('app.business_day_start', 'operator'),
        ('app.day_totals', 'backend'),
        ('app.day_totals', 'operator'),
        ('app.balance_as_of', 'client'),
        ('app.tx_by_no', 'client'),
        ('app.bucket_of_card', 'client'),
        ('app.bucket_of_code', 'client'),
        ('app.bucket_of_tx', 'client'),
        ('sec.job_batch', 'operator'),
        ('sec.check_months_ahead', 'operator'),
        ('sec.raise', 'operator'),
        ('app.maintain_partitions', 'operator'),
        ('app.maintain_partitions_batch', 'operator'),
        ('app.rehearse_month_batch', 'operator'),
        ('app.close_months', 'operator'),
        ('app.close_months_note_batch', 'operator'),
        ('app.close_months_mark_batch', 'operator'),
        ('app.close_month_batch', 'operator'),
        ('sec.closing_is_ready', 'operator'),
        ('app.expire_cards', 'operator'),
        ('app.expire_cards_batch', 'operator'),
        ('app.expire_qrcodes', 'operator'),
        ('app.expire_qrcodes_batch', 'operator'),
        ('app.expire_recharges', 'operator'),
        ('app.expire_recharges_batch', 'operator'),
        ('app.expire_keys', 'operator'),
        ('app.expire_keys_batch', 'operator'),
        ('app.recompute_levels', 'operator'),
        ('app.recompute_levels_batch', 'operator'),
        ('sec.security_check', 'operator'),
        ('app.verify_books', 'operator'),
        ('app.health', 'operator'),
        ('app.schedule_jobs', 'operator'),
        ('app.archive_partitions', 'operator'),
        ('app.archive_month_batch', 'operator'),
        ('sec.months_to_archive', 'operator'),
        ('sec.jobs', 'operator'),
        ('audit.seal', 'operator'),
        ('audit.seal_note', 'operator'),
        ('audit.seal_ready', 'operator'),
        ('audit.seal_batch', 'operator'),
        ('audit.verify', 'operator'),
        ('audit.head', 'operator'),
        ('sec.raise', 'signup'),
        ('sec.on_signup', 'signup'),
        ('sec.signup_triggers', 'signup'),
        ('app.enable_supabase_signup', 'signup')
$$;
COMMENT ON FUNCTION sec.api_functions() IS
    'Every function that a level may call; what is not here is internal. A backend may also call what a client may.';

CREATE FUNCTION sec.api_columns() RETURNS TABLE (tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES
        ('app.member_profiles', 'id, created_at, member_no, status, name, phone, email'),
        ('app.personal_cards',
        'id, member_id, replaced_by, created_at, expires_at, status, level, points, card_seq, last_posted_at, qr_expires_at, '
        'balance, discount, card_no'),
        ('app.enterprise_cards',
        'id, created_at, expires_at, status, card_seq, last_posted_at, balance, fixed_discount, card_no, company_name'),
        ('app.enterprise_card_bindings', 'enterprise_card_id, member_id, created_at, qr_expires_at, role'),
        ('app.membership_levels', 'level, name, min_points, discount'),
        ('app.merchants', 'id, active, created_at, code, name'),
        ('app.merchant_users', 'merchant_id, user_id, created_at, role'),
        ('app.transactions',
        'id, created_at, posted_at, card_seq, points_earned, merchant_id, tx_type, status, card_type, payment_method, card_id, '
        'member_id, discount, raw_amount, final_amount, balance_after, refunded_amount, tx_no, original_tx_no, reason, tag'),
        ('app.point_ledger', 'card_id, point_seq, created_at, change, balance_after, level, tx_no, reason'),
        ('app.v_user_cards', NULL),
        ('app.v_usage_logs', NULL),
        ('app.error_codes', NULL)
$$;
COMMENT ON FUNCTION sec.api_columns() IS
    'What client and backend level may SELECT, under row-level security: by column (never a hash, never another''s key), or a '
    'whole view (NULL).';

CREATE FUNCTION sec.backend_columns() RETURNS TABLE (tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.suspense_payments',
        'id, created_at, gateway_trade_no, tx_no, amount, payment_method, reason, payload, status, resolution, resolved_at, '
        'resolved_by, resolved_role, note, credited_tx_no, out_refund_no')
$$;
COMMENT ON FUNCTION sec.backend_columns() IS 'As sec.api_columns(): what backend level alone may SELECT.';

CREATE FUNCTION sec.strip_grants(p_relation regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT DISTINCT a.grantee, c.relkind FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = p_relation AND a.grantee <> c.relowner
    LOOP
        PERFORM sec.run_ddl(format('REVOKE ALL ON %s %s FROM %s CASCADE', CASE v.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, p_relation,
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

-- Who has which level -----------------------------------------------------------------------------------------------------
-- The server keeps it, by role and not by name: in the privileges of a table without rows, sec.level_holders, that has a column
-- for each level. So a renamed role keeps its levels, DROP ROLE is refused until they are taken back, DROP OWNED takes them
-- back, and a dump carries them by the name of its day, as it carries every GRANT. The table is no member of the extension:
-- it outlives DROP EXTENSION. The privileges on functions and on the columns of the API are made from it. Beside it
-- sec.api_grants notes the same by name, for one case: a dump that is restored without privileges (--no-acl).

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
            level     text NOT NULL CHECK (level IN ('client', 'backend', 'operator', 'signup')),
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
            -- So that it can be part of a publication.
            PRIMARY KEY (client, backend, operator, signup),
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
    EXECUTE format('GRANT SELECT (client, backend, operator, signup) ON sec.level_holders TO %s',
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
                               ADD COLUMN IF NOT EXISTS gone_at timestamptz;
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

CREATE FUNCTION sec.apply_level(p_role regrole, p_level text, p_grant boolean) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
    v_name text := p_role;
    v_verb text := CASE WHEN p_grant THEN 'GRANT' ELSE 'REVOKE' END;
    -- CASCADE: what somebody passed on goes along, and is nothing that this fails because of.
    v_whom text := CASE WHEN p_grant THEN 'TO ' || v_name ELSE format('FROM %s CASCADE', v_name) END;
BEGIN
    PERFORM sec.run_ddl(format('%s USAGE ON SCHEMA app, audit, sec %s', v_verb, v_whom));
    FOR v IN
        SELECT format('%s %s', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure) AS target, n.nspname = 'mps_compat' AS compat
        FROM sec.api_functions() f
        -- As it was in an earlier release, a function is granted with the one of now.
        JOIN pg_namespace n ON n.nspname IN ('app', 'audit', 'sec', 'mps_compat')
        JOIN pg_proc p ON p.pronamespace = n.oid AND format('%s.%s', CASE n.nspname WHEN 'mps_compat' THEN 'app' ELSE n.nspname END, p.proname) = f.func
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
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_level is client, backend, operator or signup');
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
    '(app.enable_supabase_signup()). Remembered for the role, whatever it is called later, so that updates reach new functions; '
    'audited. For a superuser.\n'
    'Errors: INVALID_ARGUMENT, NOT_ALLOWED, SCHEMA_OUTDATED.';

CREATE FUNCTION sec.revoke_api(p_role text, p_level text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_role regrole := (SELECT r.oid FROM pg_roles r WHERE r.rolname = p_role);
    v_had boolean;
    v_noted oid;
BEGIN
    IF p_level IS NULL OR p_level NOT IN (SELECT m.level FROM sec.level_markers() m) THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_level is client, backend, operator or signup');
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
    'p_level: client, backend, operator, signup. Also forgets a grant whose role is gone. For a superuser.\n'
    'Errors: INVALID_ARGUMENT, SCHEMA_OUTDATED.';
