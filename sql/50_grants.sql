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
        ('app.balance_as_of', 'client'),
        ('app.tx_by_no', 'client'),
        ('sec.job_batch', 'operator'),
        ('sec.check_months_ahead', 'operator'),
        ('sec.raise', 'operator'),
        ('app.maintain_partitions', 'operator'),
        ('app.maintain_partitions_batch', 'operator'),
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
        ('app.enable_supabase_signup', 'signup')
$$;
COMMENT ON FUNCTION sec.api_functions() IS 'Every function that a level may call; what is not here is internal. A backend may also call what a client may.';

CREATE FUNCTION sec.api_columns() RETURNS TABLE (tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES
        ('app.member_profiles', 'id, created_at, member_no, status, name, phone, email'),
        ('app.personal_cards', 'id, member_id, replaced_by, created_at, expires_at, status, level, points, card_seq, last_posted_at, qr_expires_at, balance, discount, card_no'),
        ('app.enterprise_cards', 'id, created_at, expires_at, status, card_seq, last_posted_at, balance, fixed_discount, card_no, company_name'),
        ('app.enterprise_card_bindings', 'enterprise_card_id, member_id, created_at, qr_expires_at, role'),
        ('app.membership_levels', 'level, name, min_points, discount'),
        ('app.merchants', 'id, active, created_at, code, name'),
        ('app.merchant_users', 'merchant_id, user_id, created_at, role'),
        ('app.transactions', 'id, created_at, posted_at, card_seq, points_earned, merchant_id, tx_type, status, card_type, payment_method, card_id, member_id, discount, raw_amount, final_amount, balance_after, refunded_amount, tx_no, original_tx_no, reason, tag'),
        ('app.point_ledger', 'card_id, point_seq, created_at, change, balance_after, level, tx_no, reason'),
        ('app.v_user_cards', NULL),
        ('app.v_usage_logs', NULL),
        ('app.error_codes', NULL)
$$;
COMMENT ON FUNCTION sec.api_columns() IS 'What client and backend level may SELECT, under row-level security: by column (never a hash, never another''s key), or a whole view (NULL).';

CREATE FUNCTION sec.apply_grants(p_role text, p_level text, p_grant boolean) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
    v_verb text := CASE WHEN p_grant THEN 'GRANT' ELSE 'REVOKE' END;
    v_to text := CASE WHEN p_grant THEN 'TO' ELSE 'FROM' END;
BEGIN
    EXECUTE format('%s USAGE ON SCHEMA app, audit, sec %s %I', v_verb, v_to, p_role);
    FOR v IN
        SELECT format('%s %s', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure) AS target
        FROM sec.api_functions() f
        JOIN pg_proc p ON format('%s.%s', p.pronamespace::regnamespace, p.proname) = f.func
        WHERE f.level = p_level OR (p_level = 'backend' AND f.level = 'client')
    LOOP
        EXECUTE format('%s EXECUTE ON %s %s %I', v_verb, v.target, v_to, p_role);
    END LOOP;
    IF p_level IN ('client', 'backend') THEN
        FOR v IN SELECT c.tab, c.cols FROM sec.api_columns() c WHERE to_regclass(c.tab) IS NOT NULL LOOP
            EXECUTE format('%s SELECT %s ON %s %s %I', v_verb, '(' || v.cols || ')', v.tab, v_to, p_role);
        END LOOP;
    END IF;
END
$$;
COMMENT ON FUNCTION sec.apply_grants(text, text, boolean) IS 'Grants or revokes one level. Internal: sec.grant_api() and sec.revoke_api() call it.';

CREATE FUNCTION sec.grant_api(p_role text, p_level text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_level IS NULL OR p_level NOT IN ('client', 'backend', 'operator', 'signup') THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_level is client, backend, operator or signup');
    END IF;
    IF p_role IS NULL OR NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = p_role) THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_role is no role of this cluster');
    END IF;
    IF p_role IN ('anon', 'mps_owner') THEN
        PERFORM sec.raise('NOT_ALLOWED', 'this role gets nothing of mps');
    END IF;
    INSERT INTO sec.api_grants VALUES (p_role, p_level) ON CONFLICT DO NOTHING;
    PERFORM sec.apply_grants(p_role, p_level, true);
END
$$;
COMMENT ON FUNCTION sec.grant_api(text, text) IS
    'Gives a role everything it needs at a level: client (behind PostgREST or one''s own server), backend (the shop''s own server) operator (maintenance) or signup (app.enable_supabase_signup()). Remembered, so that updates reach new functions. For a superuser. Errors: INVALID_ARGUMENT, NOT_ALLOWED.';

CREATE FUNCTION sec.revoke_api(p_role text, p_level text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    IF p_level IS NULL OR p_level NOT IN ('client', 'backend', 'operator', 'signup') THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_level is client, backend, operator or signup');
    END IF;
    DELETE FROM sec.api_grants g WHERE g.role_name = p_role AND g.level = p_level;
    IF EXISTS (SELECT FROM pg_roles r WHERE r.rolname = p_role) THEN
        PERFORM sec.apply_grants(p_role, p_level, false);
        -- Levels overlap: what another one still gives comes back.
        FOR v IN SELECT g.level FROM sec.api_grants g WHERE g.role_name = p_role LOOP
            PERFORM sec.apply_grants(p_role, v.level, true);
        END LOOP;
    END IF;
END
$$;
COMMENT ON FUNCTION sec.revoke_api(text, text) IS 'Takes back what sec.grant_api() gave. For a superuser. Errors: INVALID_ARGUMENT.';
