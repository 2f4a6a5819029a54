-- What the columns of the views are: for \d+, and for PostgREST's page.
CREATE FUNCTION sec.describe_views() RETURNS void
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
            ('app.v_reconciliation', 'adjustment_total', 'What they changed balances by, signed.')
        ) AS c (view, col, says)
        JOIN pg_attribute a ON a.attrelid = c.view::regclass AND a.attname = c.col
        -- What a shop says instead stays.
        WHERE col_description(a.attrelid, a.attnum) IS NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', v.view, v.col, v.says);
    END LOOP;
END
$describe$;
COMMENT ON FUNCTION sec.describe_views() IS
    'Describes the columns of the views that nobody has described. Internal: sec.install() calls it.';
