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
