-- What the books and the callbacks have of a gateway's day.

CREATE FUNCTION sec.recon_day(p_at timestamptz) RETURNS date
    -- Both gateways live in +08:00 the whole year.
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (p_at AT TIME ZONE 'UTC' + interval '8 hours')::date
$$;
COMMENT ON FUNCTION sec.recon_day(timestamptz) IS 'The gateways'' day that a moment lies in. Internal.';

CREATE FUNCTION sec.recon_day_start(p_day date) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (p_day - interval '8 hours') AT TIME ZONE 'UTC'
$$;
COMMENT ON FUNCTION sec.recon_day_start(date) IS 'The first moment of a gateways'' day. Internal.';

CREATE FUNCTION sec.is_told(p_trade_no text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM app.gateway_events e WHERE e.trade_no = p_trade_no AND e.kind = 'payment' AND e.happened_at IS NOT NULL)
$$;
COMMENT ON FUNCTION sec.is_told(text) IS 'Whether a callback has told of a payment, and when it was made. Internal: sec.recon_entries().';

CREATE FUNCTION sec.recon_is_said(p_trade_no text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM app.recon_items i
                   -- Not by a copy of it.
                   WHERE i.trade_no = p_trade_no AND i.ref = i.trade_no AND i.entry = 'payment'
                     AND i.resolution IN ('credit', 'refund'))
$$;
COMMENT ON FUNCTION sec.recon_is_said(text) IS
    'Whether a payment came into the books by app.resolve_recon_item(): it is of the day whose bill had it. Internal: '
    'sec.recon_entries().';

CREATE FUNCTION sec.recon_is_of(p_account text, p_trade_no text, p_else boolean) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT bool_or(b.account = p_account) FROM app.gateway_bill_lines l JOIN app.gateway_bills b ON b.id = l.bill_id
                     WHERE l.trade_no = p_trade_no), p_else)
$$;
COMMENT ON FUNCTION sec.recon_is_of(text, text, boolean) IS
    'Whether a payment that no callback told of is of an account: of the one whose bill has it, else as p_else says. Internal: '
    'sec.recon_entries().';

CREATE FUNCTION sec.recon_posted(p_method text, p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (tx_no text, trade_no text, order_id text, amount numeric, at timestamptz, merchant_id integer)
    -- Of each month by its index on merchants and moments, as app.day_totals().
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off SET enable_seqscan = off
    SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_nestloop = on
    SET standard_conforming_strings = on AS $posted$
DECLARE
    v_month timestamp;
BEGIN
    FOR v_month IN SELECT generate_series(date_trunc('month', p_from), p_to - interval '1 microsecond', interval '1 month') LOOP
        CONTINUE WHEN NOT sec.has_month(v_month);
        RETURN QUERY EXECUTE format($q$
            WITH RECURSIVE merchants (id) AS (
                (SELECT x.merchant_id FROM app.%1$I x WHERE x.merchant_id IS NOT NULL ORDER BY x.merchant_id LIMIT 1)
                UNION ALL
                SELECT (SELECT x.merchant_id FROM app.%1$I x WHERE x.merchant_id > m.id ORDER BY x.merchant_id LIMIT 1)
                FROM merchants m WHERE m.id IS NOT NULL)
            SELECT t.tx_no, t.gateway_trade_no, t.external_order_id, t.final_amount, t.posted_at, t.merchant_id
            FROM (SELECT x.* FROM app.%1$I x WHERE x.merchant_id IS NULL AND x.posted_at >= $2 AND x.posted_at < $3
                  UNION ALL
                  SELECT x.* FROM merchants m JOIN app.%1$I x ON x.merchant_id = m.id
                  WHERE m.id IS NOT NULL AND x.posted_at >= $2 AND x.posted_at < $3) t
            WHERE t.tx_type = 'recharge' AND t.status = 'completed' AND t.payment_method = $1::app.pay_method$q$,
            'transactions_' || to_char(v_month, 'YYYYMM')) USING p_method, p_from, p_to;
    END LOOP;
    -- And what lies in other months.
    FOR v_month IN
        SELECT DISTINCT date_trunc('month', l.created_at) FROM app.late_postings l WHERE l.posted_at >= p_from AND l.posted_at < p_to
    LOOP
        CONTINUE WHEN NOT sec.has_month(v_month);
        RETURN QUERY EXECUTE format($q$
            SELECT t.tx_no, t.gateway_trade_no, t.external_order_id, t.final_amount, t.posted_at, t.merchant_id
            FROM app.late_postings l JOIN app.%1$I t ON t.id = l.tx_id
            WHERE l.posted_at >= $2 AND l.posted_at < $3
              AND t.tx_type = 'recharge' AND t.status = 'completed' AND t.payment_method = $1::app.pay_method$q$,
            'transactions_' || to_char(v_month, 'YYYYMM')) USING p_method, p_from, p_to;
    END LOOP;
END
$posted$;
COMMENT ON FUNCTION sec.recon_posted(text, timestamptz, timestamptz) IS
    'The recharges of a payment method that were credited in a period, in whichever month they lie. Internal: sec.recon_entries().';

CREATE FUNCTION sec.recon_told(p_account text, p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (tx_no text, trade_no text, amount numeric, happened_at timestamptz, outcome text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $told$
    -- Without what is long, because they are sorted.
    SELECT DISTINCT ON (x.trade_no) x.tx_no, x.trade_no, x.amount, x.happened_at, x.outcome
    FROM app.gateway_events x
    WHERE x.account = p_account AND x.kind = 'payment' AND x.happened_at >= p_from AND x.happened_at < p_to AND x.trade_no IS NOT NULL
    ORDER BY x.trade_no, x.outcome = 'conflict', x.id
$told$;
COMMENT ON FUNCTION sec.recon_told(text, timestamptz, timestamptz) IS
    'The payments of a period that callbacks told of, each once. Internal: sec.recon_entries().';

CREATE FUNCTION sec.recon_untold(p_account text, p_method text, p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (tx_no text, trade_no text, order_id text, amount numeric, at timestamptz, merchant_id integer)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_nestloop = off
    SET enable_mergejoin = off AS $untold$
    SELECT t.* FROM sec.recon_posted(p_method, p_from, p_to) t
    WHERE NOT EXISTS (SELECT FROM app.gateway_events x
                      WHERE x.account = p_account AND x.kind = 'payment' AND x.happened_at >= p_from AND x.happened_at < p_to
                        AND x.trade_no = t.trade_no)
$untold$;
COMMENT ON FUNCTION sec.recon_untold(text, text, timestamptz, timestamptz) IS
    'The recharges that were credited in a period, but those that callbacks told of as paid in it: these are most, and go out at once. '
    'Internal: sec.recon_entries().';

CREATE FUNCTION sec.recon_entries(p_account text, p_day date)
    RETURNS TABLE (entry text, tx_no text, trade_no text, order_id text, refund_no text, amount numeric, at timestamptz, told boolean,
        in_books boolean)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off AS $entries$
DECLARE
    v_from timestamptz := sec.recon_day_start(p_day);
    v_to timestamptz := sec.recon_day_start(p_day + 1);
    v_method text;
    -- A recharge at a shop's counter is of that shop's account, the others are of the platform's, if it has one.
    v_merchant integer;
    v_is_platform boolean;
    -- What nobody else knows is of the account of them that was there first.
    v_is_first boolean;
    v_is_alone boolean;
BEGIN
    SELECT a.provider, a.merchant_id, a.merchant_id IS NULL OR bool_and(x.merchant_id IS NOT NULL),
           bool_and((a.created_at, a.code) <= (x.created_at, x.code) OR x.merchant_id IS DISTINCT FROM a.merchant_id), count(*) = 1
        INTO v_method, v_merchant, v_is_platform, v_is_first, v_is_alone
    FROM app.gateway_accounts a JOIN app.gateway_accounts x ON x.provider = a.provider
    WHERE a.code = p_account GROUP BY a.provider, a.merchant_id;

    -- Subqueries that give a value go by their index for each row, as no plan makes joins or tables in memory of them.
    RETURN QUERY
        SELECT 'payment', e.tx_no, e.trade_no, NULL::text, NULL::text, e.amount, e.happened_at, true,
               e.outcome <> 'conflict' AND (SELECT o.tx_id FROM app.external_orders o
                                            WHERE o.scope_no = 0 AND o.scope = 3 AND o.order_id = e.trade_no) IS NOT NULL
        FROM sec.recon_told(p_account, v_from, v_to) e;

    RETURN QUERY
        SELECT 'payment', t.tx_no, t.trade_no, t.order_id, NULL::text, t.amount, t.at, false, true
        FROM sec.recon_untold(p_account, v_method, v_from, v_to) t
        WHERE (t.trade_no IS NULL
               OR (SELECT true FROM app.gateway_events e
                   WHERE e.trade_no = t.trade_no AND e.kind = 'payment' AND e.happened_at IS NOT NULL LIMIT 1) IS NULL
                  AND (SELECT true FROM app.recon_items i
                       WHERE i.trade_no = t.trade_no AND i.ref = t.trade_no AND i.entry = 'payment'
                         AND i.resolution IN ('credit', 'refund') LIMIT 1) IS NULL
                  AND (SELECT true FROM app.suspense_payments s WHERE s.gateway_trade_no = t.trade_no) IS NULL)
          AND CASE
              WHEN t.merchant_id IS NULL AND v_is_platform OR t.merchant_id = v_merchant
                  THEN v_is_alone OR sec.recon_is_of(p_account, t.trade_no, v_is_first)
              ELSE sec.recon_is_of(p_account, t.trade_no, false) END;

    RETURN QUERY
        SELECT 'payment', s.tx_no, s.gateway_trade_no, NULL::text, NULL::text, s.amount, s.created_at, false, true
        FROM app.suspense_payments s
        WHERE s.created_at >= v_from AND s.created_at < v_to AND s.payment_method::text = v_method
          AND NOT sec.is_told(s.gateway_trade_no) AND NOT sec.recon_is_said(s.gateway_trade_no)
          AND (v_is_alone OR sec.recon_is_of(p_account, s.gateway_trade_no, v_is_first));

    RETURN QUERY
        SELECT 'payment', coalesce(i.result_tx_no, i.tx_no), i.trade_no, i.order_no, NULL::text, i.bill_amount, v_from, false, true
        FROM app.recon_items i
        WHERE i.account = p_account AND i.bill_date = p_day AND i.entry = 'payment' AND i.resolution IN ('credit', 'refund')
          AND i.ref = i.trade_no AND NOT sec.is_told(i.trade_no);

    RETURN QUERY
        SELECT 'refund', NULL::text, s.gateway_trade_no, NULL::text, s.out_refund_no, s.amount, s.resolved_at, false, true
        FROM app.suspense_payments s
        WHERE s.status = 'refunded' AND s.resolved_at >= v_from AND s.resolved_at < v_to AND s.payment_method::text = v_method
          AND (v_is_alone OR sec.recon_is_of(p_account, s.gateway_trade_no, v_is_first));

    RETURN QUERY
        SELECT 'refund', w.tx_no, w.gateway_trade_no, NULL::text, w.refund_no, w.amount, w.settled_at, false, true
        FROM app.withdrawals w
        WHERE w.status = 'completed' AND w.payout = 'source' AND w.gateway_trade_no IS NOT NULL
          AND w.settled_at >= v_from AND w.settled_at < v_to AND w.payment_method::text = v_method
          AND (v_is_alone OR coalesce(w.gateway_account = p_account, sec.recon_is_of(p_account, w.gateway_trade_no, v_is_first)));
END
$entries$;
COMMENT ON FUNCTION sec.recon_entries(text, date) IS
    'What books and callbacks have of a gateways'' day: payments by the time that a callback says, else by when they were posted; refunds '
    'that ended a row of suspense or were a withdrawal''s. Internal: sec.recon_note().';
