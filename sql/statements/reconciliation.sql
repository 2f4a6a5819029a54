-- The totals of days, as a view.

CREATE FUNCTION sec.make_reconciliation() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE OR REPLACE VIEW app.v_reconciliation WITH (security_invoker = true) AS
        SELECT x.day, m.code AS merchant_code, x.payment_method, x.payments, x.payment_total, x.refunds, x.refund_total,
               x.recharges, x.recharge_total, x.adjustments, x.adjustment_total,
               x.recharge_total + x.refund_total + x.adjustment_total - x.payment_total - x.withdrawal_total AS net, x.withdrawals,
               x.withdrawal_total
        FROM (SELECT app.business_day(t.posted_at) AS day, t.merchant_id, t.payment_method::text AS payment_method,
                     count(*) FILTER (WHERE t.tx_type = 'payment') AS payments,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'payment'), 0.00) AS payment_total,
                     count(*) FILTER (WHERE t.tx_type = 'refund') AS refunds,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'refund'), 0.00) AS refund_total,
                     count(*) FILTER (WHERE t.tx_type = 'recharge') AS recharges,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'recharge'), 0.00) AS recharge_total,
                     count(*) FILTER (WHERE t.tx_type = 'adjustment') AS adjustments,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'adjustment'), 0.00) AS adjustment_total,
                     -- The last type, by what it is not: an upgrade has only just added it.
                     count(*) FILTER (WHERE t.tx_type NOT IN ('payment', 'refund', 'recharge', 'adjustment')) AS withdrawals,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type NOT IN ('payment', 'refund', 'recharge', 'adjustment')), 0.00)
                         AS withdrawal_total
              FROM app.transactions t WHERE t.posted_at IS NOT NULL GROUP BY 1, 2, 3) x
             LEFT JOIN app.merchants m ON m.id = x.merchant_id;
    COMMENT ON VIEW app.v_reconciliation IS
        'What was posted, by business day, merchant and payment method: counts and totals in currency units, as far as the '
        'reader may see transactions. Archived months are not in it. It reads every month, whatever day is asked for: '
        'app.day_totals() gives the same of a day at the cost of that day.';
    COMMENT ON COLUMN app.v_reconciliation.day IS 'The business day of posted_at, by app.business_day().';
    COMMENT ON COLUMN app.v_reconciliation.merchant_code IS 'NULL where no merchant is concerned (or none that the reader may see).';
    COMMENT ON COLUMN app.v_reconciliation.net IS
        'What the balances of all cards changed by: recharges + refunds + adjustments - payments - withdrawals.';
END
$$;
COMMENT ON FUNCTION sec.make_reconciliation() IS 'Makes app.v_reconciliation, or makes it anew. Internal.';
