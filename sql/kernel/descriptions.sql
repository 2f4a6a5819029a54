-- What columns are: those that clients and backends read, for \d+ and for PostgREST's page; and those that a release added to a
-- table of before, or says something else of, so that it is said once for new tables and old ones.
CREATE FUNCTION sec.describe_columns() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $describe$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT * FROM (VALUES
            ('app.error_codes', 'token', 'What an error says as its message; a program goes by it.'),
            ('app.error_codes', 'sqlstate', 'Its SQLSTATE: PTnnn.'),
            ('app.error_codes', 'http_status', 'What PostgREST makes of it: the nnn.'),
            ('app.error_codes', 'message_en', 'What to tell a person, in English.'),
            ('app.error_codes', 'message_zh', 'What to tell a person, in Chinese.'),

            ('app.v_user_cards', 'card_type', 'personal, enterprise.'),
            ('app.v_user_cards', 'card_id', 'For rotate_card_qr, card_statement and the recharges.'),
            ('app.v_user_cards', 'card_no', 'VIP and eight digits, or ENT and at least five.'),
            ('app.v_user_cards', 'balance', 'Currency units.'),
            ('app.v_user_cards', 'points', 'Of a personal card; NULL for an enterprise card.'),
            ('app.v_user_cards', 'level', '0 to 4, by the points; NULL for an enterprise card.'),
            ('app.v_user_cards', 'level_name', 'What the level is called; NULL for an enterprise card.'),
            ('app.v_user_cards', 'discount', 'What a price is multiplied by: 0.950 is five percent off.'),
            ('app.v_user_cards', 'status', 'active, frozen, lost, expired, closed; only an active one pays.'),
            ('app.v_user_cards', 'expires_at', 'Until when it is good; NULL: for ever.'),
            ('app.v_user_cards', 'qr_expires_at', 'Until when the last pay code lives; NULL where there is none.'),
            ('app.v_user_cards', 'role', 'owner (of a personal card); admin, member (of an enterprise card).'),
            ('app.v_user_cards', 'company_name', 'Of an enterprise card; NULL for a personal card.'),
            ('app.v_user_cards', 'member_id', 'The signed-in user.'),

            ('app.v_usage_logs', 'tx_id', 'Its id: yymm x 10^11 + running number.'),
            ('app.v_usage_logs', 'tx_no', 'ZF (payment), TK (refund), CZ (recharge) or TZ (adjustment), then year, month, running number.'),
            ('app.v_usage_logs', 'tx_type', 'payment, refund, recharge, adjustment.'),
            ('app.v_usage_logs', 'status', 'processing, completed, failed, cancelled; only completed ones have moved money.'),
            ('app.v_usage_logs', 'card_type', 'personal, enterprise.'),
            ('app.v_usage_logs', 'card_id', 'The card that was used.'),
            ('app.v_usage_logs', 'member_id', 'The signed-in user.'),
            ('app.v_usage_logs', 'merchant_id', 'The merchant; NULL where none is concerned.'),
            ('app.v_usage_logs', 'raw_amount', 'Before discount; signed for adjustments.'),
            ('app.v_usage_logs', 'discount', 'What it was multiplied by: 0.950 is five percent off.'),
            ('app.v_usage_logs', 'final_amount', 'What was paid, given back or recharged; signed for adjustments.'),
            ('app.v_usage_logs', 'points_earned', 'Points added by it; negative where taken back.'),
            ('app.v_usage_logs', 'balance_after', 'The card''s balance after it; NULL until it is completed.'),
            ('app.v_usage_logs', 'payment_method', 'balance (payments, refunds, adjustments), wechat, alipay, cash (recharges).'),
            ('app.v_usage_logs', 'original_tx_no', 'What a refund or an adjustment belongs to.'),
            ('app.v_usage_logs', 'refunded_amount', 'Of a payment: the sum of its refunds so far.'),
            ('app.v_usage_logs', 'reason', 'As it was given.'),
            ('app.v_usage_logs', 'created_at', 'When it was asked for.'),
            ('app.v_usage_logs', 'posted_at', 'When it moved the balance; NULL until then.'),

            ('app.v_reconciliation', 'payment_method', 'balance (payments, refunds, adjustments), wechat, alipay, cash (recharges).'),
            ('app.v_reconciliation', 'payments', 'How many payments.'),
            ('app.v_reconciliation', 'payment_total', 'What they took from cards.'),
            ('app.v_reconciliation', 'refunds', 'How many refunds.'),
            ('app.v_reconciliation', 'refund_total', 'What they gave back to cards.'),
            ('app.v_reconciliation', 'recharges', 'How many recharges.'),
            ('app.v_reconciliation', 'recharge_total', 'What they put on cards.'),
            ('app.v_reconciliation', 'adjustments', 'How many corrections and replacements of cards; a replacement has two.'),
            ('app.v_reconciliation', 'adjustment_total', 'What they changed balances by, signed.'),

            ('app.member_profiles', 'id', 'The user''s id at the identity provider.'),
            ('app.member_profiles', 'created_at', 'When it registered.'),
            ('app.member_profiles', 'member_no', 'M and eight digits.'),
            ('app.member_profiles', 'status', 'active, suspended, closed.'),
            ('app.member_profiles', 'name', 'As given when it registered.'),
            ('app.member_profiles', 'phone', 'As given when it registered.'),
            ('app.member_profiles', 'email', 'As given when it registered.'),

            ('app.personal_cards', 'id', 'For rotate_card_qr, card_statement and the recharges.'),
            ('app.personal_cards', 'member_id', 'Whose it is.'),
            ('app.personal_cards', 'created_at', 'When it was issued.'),
            ('app.personal_cards', 'expires_at', 'Until when it is good; NULL: for ever.'),
            ('app.personal_cards', 'status', 'active, frozen, lost, expired, closed; only an active one pays.'),
            ('app.personal_cards', 'level', '0 to 4, by the points; see app.membership_levels.'),
            ('app.personal_cards', 'points', 'May be below zero after a refund.'),
            ('app.personal_cards', 'last_posted_at', 'When its balance last moved.'),
            ('app.personal_cards', 'qr_expires_at', 'Until when the last pay code lives; NULL where there is none.'),
            ('app.personal_cards', 'discount', 'What a price is multiplied by: 0.950 is five percent off.'),
            ('app.personal_cards', 'card_no', 'VIP and eight digits.'),

            ('app.enterprise_cards', 'id', 'For rotate_card_qr, card_statement and the recharges.'),
            ('app.enterprise_cards', 'created_at', 'When it was issued.'),
            ('app.enterprise_cards', 'expires_at', 'Until when it is good; NULL: for ever.'),
            ('app.enterprise_cards', 'status', 'active, frozen, lost, expired, closed; only an active one pays.'),
            ('app.enterprise_cards', 'card_seq', 'Number of movements of the balance; the last one''s card_seq.'),
            ('app.enterprise_cards', 'last_posted_at', 'When its balance last moved.'),
            ('app.enterprise_cards', 'balance', 'Currency units; equals balance_after of the last movement.'),
            ('app.enterprise_cards', 'fixed_discount', 'What a price is multiplied by: 0.880 is twelve percent off.'),
            ('app.enterprise_cards', 'card_no', 'ENT and at least five digits.'),
            ('app.enterprise_cards', 'company_name', 'Whose it is.'),

            ('app.enterprise_card_bindings', 'enterprise_card_id', 'The card.'),
            ('app.enterprise_card_bindings', 'member_id', 'Who is bound to it.'),
            ('app.enterprise_card_bindings', 'created_at', 'Since when.'),
            ('app.enterprise_card_bindings', 'qr_expires_at', 'Until when this member''s last pay code lives; NULL where there is none.'),
            ('app.enterprise_card_bindings', 'role', 'admin, member.'),

            ('app.membership_levels', 'level', '0 to 4.'),
            ('app.membership_levels', 'name', 'What it is called.'),
            ('app.membership_levels', 'min_points', 'From how many points on.'),

            ('app.merchants', 'id', 'merchant_id elsewhere.'),
            ('app.merchants', 'active', 'Whether it takes payments.'),
            ('app.merchants', 'created_at', 'When it was created.'),
            ('app.merchants', 'code', 'By which the RPCs name it.'),
            ('app.merchants', 'name', 'What it is called.'),

            ('app.merchant_users', 'merchant_id', 'The merchant.'),
            ('app.merchant_users', 'user_id', 'The user''s id at the identity provider.'),
            ('app.merchant_users', 'created_at', 'Since when.'),
            ('app.merchant_users', 'role', 'owner, admin, cashier.'),

            ('app.transactions', 'merchant_id', 'The merchant; NULL where none is concerned.'),
            ('app.transactions', 'tx_type', 'payment, refund, recharge, adjustment.'),
            ('app.transactions', 'status', 'processing, completed, failed, cancelled; only completed ones have moved money.'),
            ('app.transactions', 'card_type', 'personal, enterprise.'),
            ('app.transactions', 'payment_method', 'balance (payments, refunds, adjustments), wechat, alipay, cash (recharges).'),
            ('app.transactions', 'card_id', 'The card that was used.'),
            ('app.transactions', 'discount', 'What the price was multiplied by: 0.950 is five percent off.'),
            ('app.transactions', 'balance_after', 'The card''s balance after it; NULL until it is completed.'),
            ('app.transactions', 'tx_no', 'ZF (payment), TK (refund), CZ (recharge) or TZ (adjustment), then year, month, running number.'),
            ('app.transactions', 'reason', 'As it was given.'),
            ('app.transactions', 'tag', 'As it was given; a JSON object.'),

            ('app.point_ledger', 'card_id', 'The personal card.'),
            ('app.point_ledger', 'created_at', 'When.'),
            ('app.point_ledger', 'change', 'Signed.'),
            ('app.point_ledger', 'balance_after', 'The points after it.'),
            ('app.point_ledger', 'level', 'The level after it.'),
            ('app.point_ledger', 'reason', 'As it was given, of points adjusted by hand.'),

            ('app.suspense_payments', 'id', 'For resolve_suspense.'),
            ('app.suspense_payments', 'created_at', 'When it was put there.'),
            ('app.suspense_payments', 'payment_method', 'wechat, alipay, cash.'),
            ('app.suspense_payments', 'resolved_at', 'When the last word was said.'),
            ('app.suspense_payments', 'resolved_by', 'The sub of the claims of who said it, if any.'),
            ('app.suspense_payments', 'resolved_role', 'The database role of who said it.'),
            ('app.suspense_payments', 'note', 'Why.'),

            ('app.settings', 'max_pending_recharges', 'How many recharges of one card may wait for their payment.'),
            ('app.settings', 'signup_anonymous',
             'Whether users who are signed in anonymously become members. If not, they do when they get an identity.'),
            ('app.settings', 'business_time_zone', 'By whose clocks a business day begins: a name of pg_timezone_names.'),
            ('app.settings', 'business_day_starts_at',
             'The time at which a business day begins. A change of either counts from the next day that begins by it '
             '(app.business_day_rules).'),
            ('app.external_orders', 'scope',
             '1 payment order (scope_no: merchant); 2 recharge order, 3 gateway trade number (scope_no: payment method, 1 cash, 2 '
             'wechat, 3 alipay; of trade numbers 0, but where two methods had credited one before 0.3.0); 4 and 5 order of a '
             'member''s recharge (scope_no: number of the personal, enterprise card)'),
            ('app.external_orders', 'tx_id',
             'The transaction; of a trade number in suspense the id in app.suspense_payments, with a minus.'),
            ('audit.event_log', 'actor_role',
             'The database role that is responsible: the one that the server ran the caller under, or whose code made the call if '
             'that has the lesser level.')
        ) AS c (rel, col, says)
        -- The months too, as those that are made later have it from their parent.
        JOIN LATERAL (SELECT c.rel::regclass AS one
                      UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = c.rel::regclass) r ON true
        JOIN pg_attribute a ON a.attrelid = r.one AND a.attname = c.col
        -- What a shop says instead stays.
        WHERE col_description(a.attrelid, a.attnum) IS NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', v.one::regclass, v.col, v.says);
    END LOOP;
END
$describe$;
COMMENT ON FUNCTION sec.describe_columns() IS
    'Describes columns where nobody has described them. Internal: sec.install() and sec.migrate_comments_3() call it.';
