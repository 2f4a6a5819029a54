-- What may be read past the functions. As sec.api_functions(): one list, to grant from and to compare with.

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
