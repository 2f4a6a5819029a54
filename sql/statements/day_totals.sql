-- The totals of days, at the cost of those days.

CREATE FUNCTION app.day_totals(p_from_day date DEFAULT NULL, p_to_day date DEFAULT NULL)
    RETURNS TABLE (day date, merchant_code text, payment_method text, payments bigint, payment_total numeric, refunds bigint,
        refund_total numeric, recharges bigint, recharge_total numeric, adjustments bigint, adjustment_total numeric, net numeric,
        withdrawals bigint, withdrawal_total numeric)
    -- Of each month by its index on merchants and moments, whatever the statistics say.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET timezone = 'UTC' SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off
    SET enable_mergejoin = off AS $totals$
DECLARE
    c_days constant integer := 366;
    v_from_day date;
    v_to_day date;
    v_from timestamptz;
    v_to timestamptz;
    v_late text;
    v_rows text := '';
    v_month timestamp;
BEGIN
    PERFORM sec.refuse_outdated();
    PERFORM sec.require_sound_tables();
    v_from_day := coalesce(p_from_day, app.business_day(now()));
    v_to_day := coalesce(p_to_day, v_from_day);
    IF NOT isfinite(v_from_day) OR NOT isfinite(v_to_day) OR v_from_day > v_to_day OR v_to_day - v_from_day >= c_days THEN
        PERFORM sec.raise('INVALID_ARGUMENT', format('p_from_day to p_to_day are 1 to %s days, in this order', c_days));
    END IF;
    v_from := app.business_day_start(v_from_day);
    v_to := app.business_day_start(v_to_day + 1);
    IF EXISTS (SELECT FROM app.archived_months a WHERE a.month + interval '1 month' > v_from AND a.month < v_to) THEN
        PERFORM sec.raise('ARCHIVED', 'part of the period is archived');
    END IF;
    -- What was posted in the months of the range, of those asked for in them: the merchants of a month one after the other, then
    -- each one's moments.
    FOR v_month IN SELECT generate_series(date_trunc('month', v_from), v_to - interval '1 microsecond', interval '1 month') LOOP
        CONTINUE WHEN NOT sec.has_month(v_month);
        v_rows := v_rows || format($q$
            UNION ALL
            SELECT t.* FROM (
                WITH RECURSIVE merchants (id) AS (
                    (SELECT x.merchant_id FROM app.%1$I x WHERE x.merchant_id IS NOT NULL ORDER BY x.merchant_id LIMIT 1)
                    UNION ALL
                    SELECT (SELECT x.merchant_id FROM app.%1$I x WHERE x.merchant_id > m.id ORDER BY x.merchant_id LIMIT 1)
                    FROM merchants m WHERE m.id IS NOT NULL)
                SELECT m.id FROM merchants m WHERE m.id IS NOT NULL) m
            CROSS JOIN LATERAL (
                SELECT x.merchant_id, x.posted_at, x.tx_type, x.payment_method, x.final_amount FROM app.%1$I x
                WHERE x.merchant_id = m.id AND x.posted_at >= greatest($1, %2$L) AND x.posted_at < least($2, %3$L)) t
            UNION ALL
            SELECT x.merchant_id, x.posted_at, x.tx_type, x.payment_method, x.final_amount FROM app.%1$I x
            WHERE x.merchant_id IS NULL AND x.posted_at >= greatest($1, %2$L) AND x.posted_at < least($2, %3$L)$q$,
            'transactions_' || to_char(v_month, 'YYYYMM'), v_month::timestamptz, (v_month + interval '1 month')::timestamptz);
    END LOOP;
    -- And what lies in other months.
    FOR v_month IN
        SELECT DISTINCT date_trunc('month', l.created_at) FROM app.late_postings l WHERE l.posted_at >= v_from AND l.posted_at < v_to
    LOOP
        CONTINUE WHEN NOT sec.has_month(v_month);
        v_rows := v_rows || format($q$
            UNION ALL
            SELECT x.merchant_id, x.posted_at, x.tx_type, x.payment_method, x.final_amount
            FROM app.late_postings l JOIN app.%1$I x ON x.id = l.tx_id
            WHERE l.posted_at >= $1 AND l.posted_at < $2$q$, 'transactions_' || to_char(v_month, 'YYYYMM'));
    END LOOP;
    IF v_rows = '' THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format($q$
        SELECT x.day, (SELECT m.code FROM app.merchants m WHERE m.id = x.merchant_id), x.payment_method, x.payments, x.payment_total,
               x.refunds, x.refund_total, x.recharges, x.recharge_total, x.adjustments, x.adjustment_total,
               x.recharge_total + x.refund_total + x.adjustment_total - x.payment_total - x.withdrawal_total, x.withdrawals,
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
                     count(*) FILTER (WHERE t.tx_type = 'withdrawal') AS withdrawals,
                     coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'withdrawal'), 0.00) AS withdrawal_total
              FROM (%s) t GROUP BY 1, 2, 3) x
        ORDER BY 1, 2, 3$q$, substr(ltrim(v_rows, E' \n'), length('UNION ALL ')))
        USING v_from, v_to;
EXCEPTION WHEN undefined_table THEN
    PERFORM sec.raise('ARCHIVED', 'part of the period was archived meanwhile');
END
$totals$;
COMMENT ON FUNCTION app.day_totals(date, date) IS
    E'The totals of business days by day, merchant and payment method.\n'
    'By a backend or an operator. What app.v_reconciliation says of the days from p_from_day (NULL: today) to p_to_day (NULL: the '
    'same; at most 366 days), at the cost of those days. STABLE.\n'
    'Level: backend, operator.\n'
    'Results: day, merchant_code (NULL where no merchant is concerned), payment_method (balance, wechat, alipay, cash), payments '
    '(how many), payment_total, refunds, refund_total, recharges, recharge_total, adjustments, adjustment_total, net (what balances '
    'changed by), withdrawals, withdrawal_total.\n'
    'Errors: INVALID_ARGUMENT, ARCHIVED.';
