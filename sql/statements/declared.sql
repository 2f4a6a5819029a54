-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.columns_of_statements() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.v_usage_logs', NULL)
$$;
COMMENT ON FUNCTION sec.columns_of_statements() IS 'What may be read of statements. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.descriptions_of_statements() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.v_usage_logs', 'tx_id', 'Its id: yymm x 10^11 + running number.'),
           ('app.v_usage_logs', 'tx_no',
            'ZF (payment), TK (refund), CZ (recharge), TZ (adjustment) or TX (withdrawal), then year, month, running number.'),
           ('app.v_usage_logs', 'tx_type', 'payment, refund, recharge, adjustment, withdrawal.'),
           ('app.v_usage_logs', 'status', 'processing, completed, failed, cancelled; only completed ones have moved money.'),
           ('app.v_usage_logs', 'card_type', 'personal, enterprise.'),
           ('app.v_usage_logs', 'card_id', 'The card that was used.'),
           ('app.v_usage_logs', 'member_id', 'The signed-in user.'),
           ('app.v_usage_logs', 'merchant_id', 'The merchant; NULL where none is concerned.'),
           ('app.v_usage_logs', 'raw_amount', 'Before discount; signed for adjustments.'),
           ('app.v_usage_logs', 'discount', 'What it was multiplied by: 0.950 is five percent off.'),
           ('app.v_usage_logs', 'final_amount', 'What was paid, given back, recharged or withdrawn; signed for adjustments.'),
           ('app.v_usage_logs', 'points_earned', 'Points added by it; negative where taken back.'),
           ('app.v_usage_logs', 'balance_after', 'The card''s balance after it; NULL until it is completed.'),
           ('app.v_usage_logs', 'payment_method', 'balance, or of recharges wechat, alipay, cash.'),
           ('app.v_usage_logs', 'original_tx_no', 'What a refund or an adjustment belongs to.'),
           ('app.v_usage_logs', 'refunded_amount', 'Of a payment: the sum of its refunds so far.'),
           ('app.v_usage_logs', 'reason', 'As it was given.'),
           ('app.v_usage_logs', 'created_at', 'When it was asked for.'),
           ('app.v_usage_logs', 'posted_at', 'When it moved the balance; NULL until then.'),
           ('app.v_reconciliation', 'payment_method', 'balance, or of recharges wechat, alipay, cash.'),
           ('app.v_reconciliation', 'payments', 'How many payments.'),
           ('app.v_reconciliation', 'payment_total', 'What they took from cards.'),
           ('app.v_reconciliation', 'refunds', 'How many refunds.'),
           ('app.v_reconciliation', 'refund_total', 'What they gave back to cards.'),
           ('app.v_reconciliation', 'recharges', 'How many recharges.'),
           ('app.v_reconciliation', 'recharge_total', 'What they put on cards.'),
           ('app.v_reconciliation', 'adjustments', 'How many corrections and replacements of cards; a replacement has two.'),
           ('app.v_reconciliation', 'adjustment_total', 'What they changed balances by, signed.'),
           ('app.v_reconciliation', 'withdrawals', 'How many withdrawals.'),
           ('app.v_reconciliation', 'withdrawal_total', 'What they took from cards; what came back of it is an adjustment.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_statements() IS 'What columns of statements are. Internal: sec.describe_columns().';
