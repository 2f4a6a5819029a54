-- Bill, books and callbacks of a day, line by line. Each function below returns what is not alike. The plans go by indexes whatever the
-- statistics say, because the lines have just been written: so a day costs what it has, however large the tables are.

CREATE FUNCTION sec.recon_months(p_ids bigint[]) RETURNS TABLE (tab text, lowest bigint, beyond bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'transactions_20' || lpad(x.yymm::text, 4, '0'), x.yymm * 100000000000, (x.yymm + 1) * 100000000000
    FROM unnest(p_ids) x (yymm)
    WHERE sec.month_of_id(x.yymm * 100000000000) IS NOT NULL
      AND sec.has_month(sec.month_of_id(x.yymm * 100000000000) AT TIME ZONE 'UTC')
$$;
COMMENT ON FUNCTION sec.recon_months(bigint[]) IS
    'Of months, as yymm, those that are here: the table of each, and the ids that it can have. Internal.';

CREATE FUNCTION sec.recon_claimed(p_account text, p_bill bigint, p_day date)
    RETURNS TABLE (entry text, class text, ref text, tx_no text, trade_no text, order_no text, refund_no text, book_amount numeric,
        bill_amount numeric, settled boolean)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off SET standard_conforming_strings = on AS $claimed$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT m.* FROM sec.recon_months(ARRAY(
            SELECT DISTINCT l.owner / 100000000000 FROM app.gateway_bill_lines l
            WHERE l.bill_id = p_bill AND l.owner > 0 AND l.entry = 'payment')) m
    LOOP
        RETURN QUERY EXECUTE format($q$
            SELECT 'payment', x.class, l.trade_no,
                   CASE WHEN x.class = 'status_differs' AND l.order_no ~ '^CZ[0-9]{10,15}$' THEN l.order_no ELSE t.tx_no END, l.trade_no,
                   l.order_no, NULL::text, t.final_amount::numeric, l.amount::numeric, x.class = 'timing'
            FROM app.gateway_bill_lines l
            JOIN app.%I t ON t.id = l.owner
            CROSS JOIN LATERAL (SELECT CASE
                WHEN t.final_amount <> l.amount THEN 'amount_differs'
                -- It is there after all.
                WHEN EXISTS (SELECT FROM app.transaction_compensations c JOIN app.recon_items i ON i.result_tx_no = c.compensation_tx_no
                             WHERE c.tx_no = t.tx_no AND i.entry = 'payment') THEN 'status_differs'
                -- Paid for another recharge of ours than the one that a backend gave it to.
                WHEN l.order_no <> t.tx_no AND l.order_no ~ '^CZ[0-9]{10,15}$'
                     AND NOT EXISTS (SELECT FROM app.suspense_payments s WHERE s.gateway_trade_no = l.trade_no) THEN 'status_differs'
                WHEN t.posted_at >= $3 AND t.posted_at < $4 AND l.at >= $3 AND l.at < $4 THEN NULL
                WHEN sec.recon_is_said(l.trade_no) THEN NULL
                WHEN sec.recon_day(coalesce((SELECT min(e.happened_at) FILTER (WHERE e.account = $2 AND e.kind = 'payment')
                                             FROM app.gateway_events e WHERE e.trade_no = l.trade_no),
                                            (SELECT min(s.created_at) FROM app.suspense_payments s WHERE s.gateway_trade_no = l.trade_no),
                                            t.posted_at)) <> $5 THEN 'timing'
                END AS class) x
            WHERE l.bill_id = $1 AND l.owner >= %s AND l.owner < %s AND l.entry = 'payment' AND NOT l.is_copy AND x.class IS NOT NULL$q$,
            v.tab, v.lowest, v.beyond)
            USING p_bill, p_account, sec.recon_day_start(p_day), sec.recon_day_start(p_day + 1), p_day;
    END LOOP;
END
$claimed$;
COMMENT ON FUNCTION sec.recon_claimed(text, bigint, date) IS
    'Payments of a bill whose recharge has another amount, is another one, or is of another day. Internal: sec.recon_note().';

CREATE FUNCTION sec.recon_suspended(p_account text, p_bill bigint, p_day date)
    RETURNS TABLE (entry text, class text, ref text, tx_no text, trade_no text, order_no text, refund_no text, book_amount numeric,
        bill_amount numeric, settled boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off AS $suspended$
    SELECT 'payment', x.class, l.trade_no, s.tx_no, l.trade_no, l.order_no, NULL, s.amount, l.amount, x.class = 'timing'
    FROM app.gateway_bill_lines l
    JOIN app.suspense_payments s ON s.id = -l.owner
    CROSS JOIN LATERAL (SELECT min(e.happened_at) FILTER (WHERE e.account = p_account AND e.kind = 'payment') AS at,
                               bool_or(e.amount = l.amount) FILTER (WHERE e.account = p_account AND e.kind = 'payment') AS is_so
                        FROM app.gateway_events e WHERE e.trade_no = l.trade_no) e
    CROSS JOIN LATERAL (SELECT CASE
        -- Of what went back in part, the row is of what is left.
        WHEN s.amount <> l.amount AND e.is_so IS NOT TRUE
             AND NOT (s.amount < l.amount AND (s.reason = 'partly_refunded' OR s.idempotency_keys::text LIKE '%"\\u0001%'))
            THEN 'amount_differs'
        WHEN sec.recon_day(coalesce(e.at, s.created_at)) <> p_day AND NOT sec.recon_is_said(l.trade_no) THEN 'timing'
        END AS class) x
    WHERE l.bill_id = p_bill AND l.owner < 0 AND l.entry = 'payment' AND NOT l.is_copy AND x.class IS NOT NULL
    UNION ALL
    SELECT 'payment', 'duplicate', l.trade_no || ' line ' || l.line, NULL, l.trade_no, l.order_no, NULL, NULL, l.amount, false
    FROM app.gateway_bill_lines l WHERE l.bill_id = p_bill AND l.is_copy
$suspended$;
COMMENT ON FUNCTION sec.recon_suspended(text, bigint, date) IS
    'Payments of a bill that are in suspense with another amount or of another day, and those that it has once more. Internal: '
    'sec.recon_note().';

CREATE FUNCTION sec.recon_candidate(p_order_no text) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN p_order_no ~ '^CZ[0-9]{10,15}$' THEN sec.id_of_number(p_order_no)
                ELSE (SELECT min(o.tx_id) FROM app.external_orders o
                      WHERE o.scope_no IN (1, 2, 3) AND o.scope = 2 AND o.order_id = p_order_no HAVING count(DISTINCT o.tx_id) = 1) END
$$;
COMMENT ON FUNCTION sec.recon_candidate(text) IS
    'The recharge that an order at a gateway names: its number, or the order id of a backend''s, where one alone has it. Internal: '
    'sec.recon_unclaimed().';

CREATE FUNCTION sec.recon_unclaimed(p_account text, p_bill bigint, p_day date)
    RETURNS TABLE (entry text, class text, ref text, tx_no text, trade_no text, order_no text, refund_no text, book_amount numeric,
        bill_amount numeric, settled boolean)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off SET standard_conforming_strings = on AS $unclaimed$
DECLARE
    v record;
    v_here bigint[] := '{}';
BEGIN
    FOR v IN
        SELECT m.* FROM sec.recon_months(ARRAY(
            SELECT DISTINCT sec.recon_candidate(l.order_no) / 100000000000 FROM app.gateway_bill_lines l
            WHERE l.bill_id = p_bill AND l.owner IS NULL AND l.entry = 'payment' AND NOT l.is_copy)) m
    LOOP
        v_here := v_here || v.lowest / 100000000000;
        RETURN QUERY EXECUTE format($q$
            SELECT 'payment', x.class, l.trade_no, t.tx_no, l.trade_no, l.order_no, NULL::text, t.final_amount::numeric, l.amount::numeric,
                   false
            FROM app.gateway_bill_lines l
            CROSS JOIN LATERAL (SELECT sec.recon_candidate(l.order_no) AS id OFFSET 0) c
            LEFT JOIN app.%I t ON t.id = c.id AND t.tx_type = 'recharge'
            CROSS JOIN LATERAL (SELECT CASE
                WHEN t.id IS NULL THEN 'only_in_bill'
                WHEN t.status = 'completed' AND t.gateway_trade_no IS NOT NULL AND btrim(t.gateway_trade_no) <> l.trade_no THEN 'duplicate'
                WHEN t.status = 'completed' AND t.payment_method = 'cash' THEN 'duplicate'
                WHEN t.final_amount <> l.amount THEN 'amount_differs'
                WHEN t.status <> 'completed' OR sec.recon_taken_back(t.tx_no) IS NOT NULL THEN 'status_differs'
                -- It has been paid by the first of them.
                WHEN EXISTS (SELECT FROM app.gateway_bill_lines y JOIN app.gateway_bills b ON b.id = y.bill_id
                             WHERE y.order_no = l.order_no AND y.owner IS NULL AND y.entry = 'payment' AND y.amount = l.amount
                               AND y.trade_no <> l.trade_no AND (b.bill_date, b.account, y.line) < ($2, $3, l.line)) THEN 'duplicate'
                END AS class) x
            WHERE l.bill_id = $1 AND l.owner IS NULL AND l.entry = 'payment' AND NOT l.is_copy AND c.id >= %s AND c.id < %s
              AND x.class IS NOT NULL$q$, v.tab, v.lowest, v.beyond) USING p_bill, p_day, p_account;
    END LOOP;
    RETURN QUERY
        SELECT 'payment', 'only_in_bill', l.trade_no, NULL::text, l.trade_no, l.order_no, NULL::text, NULL::numeric, l.amount::numeric,
               false
        FROM app.gateway_bill_lines l
        WHERE l.bill_id = p_bill AND l.owner IS NULL AND l.entry = 'payment' AND NOT l.is_copy
          AND (sec.recon_candidate(l.order_no) / 100000000000 = ANY (v_here)) IS NOT TRUE;
END
$unclaimed$;
COMMENT ON FUNCTION sec.recon_unclaimed(text, bigint, date) IS
    'Payments of a bill whose trade number is nobody''s: what their order says of them. Internal: sec.recon_note().';

CREATE FUNCTION sec.recon_refunds(p_account text, p_bill bigint, p_day date)
    RETURNS TABLE (entry text, class text, ref text, tx_no text, trade_no text, order_no text, refund_no text, book_amount numeric,
        bill_amount numeric, settled boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off AS $refunds$
    SELECT 'refund', x.class,
           concat_ws(' ', l.trade_no, coalesce(l.out_refund_no, l.refund_no), CASE WHEN x.is_unnamed THEN 'line ' || l.line END),
           CASE WHEN l.order_no ~ '^CZ[0-9]{10,15}$' THEN l.order_no END, l.trade_no, l.order_no, coalesce(l.out_refund_no, l.refund_no),
           coalesce(w.amount, s.amount), l.amount, false
    FROM (SELECT y.*, count(*) OVER (PARTITION BY y.trade_no, coalesce(y.out_refund_no, y.refund_no, y.line::text) ORDER BY y.line) AS nth
          FROM app.gateway_bill_lines y WHERE y.bill_id = p_bill AND y.entry = 'refund') l
    LEFT JOIN app.withdrawals w ON w.refund_no = l.out_refund_no
    LEFT JOIN app.suspense_payments s ON s.out_refund_no = l.out_refund_no
    LEFT JOIN app.suspense_payments o ON w.refund_no IS NULL AND s.id IS NULL AND o.gateway_trade_no = l.trade_no AND o.status <> 'credited'
    CROSS JOIN LATERAL (SELECT l.nth > 1 OR coalesce(l.out_refund_no, l.refund_no) IS NULL AS is_unnamed, CASE
        WHEN l.nth > 1 OR EXISTS (
            SELECT FROM app.gateway_bill_lines y JOIN app.gateway_bills b ON b.id = y.bill_id
            WHERE y.trade_no = l.trade_no AND y.entry = 'refund' AND (b.bill_date, b.account) < (p_day, p_account)
              AND coalesce(y.out_refund_no, y.refund_no) = coalesce(l.out_refund_no, l.refund_no)) THEN 'duplicate'
        WHEN w.refund_no IS NOT NULL AND (w.amount <> l.amount OR w.gateway_trade_no IS DISTINCT FROM l.trade_no) THEN 'amount_differs'
        WHEN w.status = 'completed' THEN NULL
        -- Before the gateway's own word; or after the money was given back to the card.
        WHEN w.refund_no IS NOT NULL THEN
            -- Neither has it that the payer got it, where the gateway says FAIL.
            CASE WHEN coalesce(l.refund_state, 'SUCCESS') = 'SUCCESS' OR w.status = 'paid_after_return'
                      OR w.status = 'returned' AND l.refund_state <> 'FAIL' THEN 'status_differs' END
        WHEN s.id IS NOT NULL AND (s.amount <> l.amount OR s.gateway_trade_no <> l.trade_no) THEN 'amount_differs'
        -- Before the gateway's own word, which the bill may come ahead of.
        WHEN s.status = 'refunding' THEN CASE WHEN coalesce(l.refund_state, 'SUCCESS') = 'SUCCESS' THEN 'status_differs' END
        WHEN s.status = 'refunded' THEN NULL
        WHEN s.id IS NOT NULL THEN 'status_differs'
        -- Refunds that nobody asked for here, and that a gateway told of.
        WHEN o.id IS NOT NULL AND sec.refunded_of(o.id) = (
            SELECT sum(r.amount)
            FROM (SELECT DISTINCT ON (coalesce(y.out_refund_no, y.refund_no, y.bill_id || ' ' || y.line)) y.amount
                  FROM app.gateway_bill_lines y WHERE y.trade_no = l.trade_no AND y.entry = 'refund') r) THEN NULL
        ELSE 'only_in_bill'
        END AS class) x
    WHERE x.class IS NOT NULL
$refunds$;
COMMENT ON FUNCTION sec.recon_refunds(text, bigint, date) IS
    'Refunds of a bill that nobody asked for here, or that are not as they were asked for. Internal: sec.recon_note().';

CREATE FUNCTION sec.refunded_of(p_suspense_id bigint) RETURNS numeric
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT max(l.amount) FROM app.gateway_bill_lines l WHERE l.trade_no = s.gateway_trade_no AND l.entry = 'payment'),
                    (SELECT max(e.amount) FROM app.gateway_events e WHERE e.trade_no = s.gateway_trade_no AND e.kind = 'payment'),
                    s.amount)
           - CASE WHEN s.status = 'refunded' THEN 0 ELSE s.amount END
    FROM app.suspense_payments s WHERE s.id = p_suspense_id
$$;
COMMENT ON FUNCTION sec.refunded_of(bigint) IS 'How much of a payment in suspense went back, by the books. Internal: sec.recon_refunds().';

CREATE FUNCTION sec.recon_fees(p_bill bigint, p_rate numeric)
    RETURNS TABLE (entry text, class text, ref text, tx_no text, trade_no text, order_no text, refund_no text, book_amount numeric,
        bill_amount numeric, settled boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $fees$
    -- A gateway rounds each fee to the cent, one way or the other.
    SELECT 'fee', 'fee_differs', format('%s line %s', l.trade_no, l.line), NULL, l.trade_no, l.order_no,
           coalesce(l.out_refund_no, l.refund_no), round(x.fee, 2), round(l.fee, 2), false
    FROM app.gateway_bill_lines l
    CROSS JOIN LATERAL (SELECT l.settled * p_rate * CASE l.entry WHEN 'refund' THEN -1 ELSE 1 END AS fee) x
    WHERE l.bill_id = p_bill AND l.fee IS NOT NULL AND l.entry IN ('payment', 'refund') AND abs(l.fee - x.fee) >= 0.01
$fees$;
COMMENT ON FUNCTION sec.recon_fees(bigint, numeric) IS
    'Lines of a bill whose fee is not what the account''s rate makes of them. Internal: sec.recon_note().';

CREATE FUNCTION sec.recon_missing(p_account text, p_day date, p_entry text, p_tx_no text, p_trade_no text, p_order_id text,
                                  p_refund_no text, p_at timestamptz, p_told boolean) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_hashjoin = off
    SET enable_mergejoin = off AS $missing$
DECLARE
    -- Gateways cut their days by clocks of their own, and who credits does so a little later.
    c_border constant interval := '1 hour';
    v_day date;
BEGIN
    IF p_trade_no IS NULL THEN
        SELECT b.bill_date INTO v_day FROM app.gateway_bill_lines l JOIN app.gateway_bills b ON b.id = l.bill_id
        WHERE l.owner IS NULL AND l.order_no IN (p_tx_no, p_order_id) AND l.entry = p_entry
          AND sec.recon_candidate(l.order_no) = sec.id_of_number(p_tx_no) ORDER BY b.bill_date <> p_day LIMIT 1;
    ELSIF p_entry = 'refund' AND EXISTS (SELECT FROM app.withdrawals w WHERE w.refund_no = p_refund_no) THEN
        -- One of several of its payment.
        SELECT b.bill_date INTO v_day FROM app.gateway_bill_lines l JOIN app.gateway_bills b ON b.id = l.bill_id
        WHERE l.out_refund_no = p_refund_no AND l.entry = 'refund' ORDER BY b.bill_date <> p_day LIMIT 1;
    ELSE
        SELECT b.bill_date INTO v_day FROM app.gateway_bill_lines l JOIN app.gateway_bills b ON b.id = l.bill_id
        WHERE l.trade_no = p_trade_no AND l.entry = p_entry ORDER BY b.bill_date <> p_day LIMIT 1;
    END IF;
    IF v_day = p_day THEN
        RETURN NULL;
    ELSIF v_day IS NOT NULL THEN
        RETURN 'settled';
    END IF;
    SELECT x.day INTO v_day
    FROM (VALUES (p_day - 1, p_at < sec.recon_day_start(p_day) + c_border),
                 (p_day + 1, p_at >= sec.recon_day_start(p_day + 1) - c_border)) x (day, is_near)
    WHERE x.is_near AND NOT EXISTS (SELECT FROM app.gateway_bills b
                                    WHERE b.account = p_account AND b.bill_date = x.day AND b.kind = 'trade' AND b.replaced_at IS NULL);
    RETURN CASE
        WHEN v_day IS NOT NULL THEN 'timing'
        -- Another account's bill of that day, which is not here, may have it.
        WHEN NOT p_told AND EXISTS (
            SELECT FROM app.gateway_accounts a JOIN app.gateway_accounts o ON o.provider = a.provider AND o.code <> a.code AND o.active
            WHERE a.code = p_account
              AND EXISTS (SELECT FROM app.gateway_bills b WHERE b.account = o.code AND b.kind = 'trade')
              AND NOT EXISTS (SELECT FROM app.gateway_bills b
                              WHERE b.account = o.code AND b.bill_date = p_day AND b.kind = 'trade' AND b.replaced_at IS NULL))
            THEN 'timing'
        ELSE 'only_in_books' END;
END
$missing$;
COMMENT ON FUNCTION sec.recon_missing(text, date, text, text, text, text, text, timestamptz, boolean) IS
    'What is to be said of a book entry of a day: NULL, its bill has it; settled, the bill of another day has it; timing, the bill of a '
    'neighbouring day or another account, which is not here, may have it; only_in_books. Internal: sec.recon_note().';

CREATE FUNCTION sec.recon_note(p_account text, p_bill bigint, p_day date, p_at timestamptz, p_role text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $note$
DECLARE
    v_rate numeric := (SELECT (a.config ->> 'fee_rate')::numeric FROM app.gateway_accounts a WHERE a.code = p_account);
BEGIN
    -- Whose each trade number is by now: a recharge's is so for good.
    UPDATE app.gateway_bill_lines l
    SET owner = (SELECT o.tx_id FROM app.external_orders o WHERE o.scope_no = 0 AND o.scope = 3 AND o.order_id = l.trade_no)
    WHERE l.bill_id = p_bill AND (l.owner IS NULL OR l.owner < 0)
      AND (SELECT o.tx_id FROM app.external_orders o WHERE o.scope_no = 0 AND o.scope = 3 AND o.order_id = l.trade_no)
          <> coalesce(l.owner, 0);
    PERFORM sec.recon_mark_copies(p_bill, p_day, p_account);

    INSERT INTO app.recon_items AS i (first_seen, last_seen, account, bill_date, entry, class, ref, tx_no, trade_no, order_no, refund_no,
                                      book_amount, bill_amount, status, resolution, resolved_at, resolved_role)
    SELECT p_at, p_at, p_account, p_day, f.entry, f.class, f.ref, f.tx_no, f.trade_no, f.order_no, f.refund_no, f.book_amount,
           f.bill_amount, CASE WHEN f.settled THEN 'resolved' ELSE 'open' END, CASE WHEN f.settled THEN 'settled' END,
           CASE WHEN f.settled THEN p_at END, CASE WHEN f.settled THEN p_role END
    FROM (SELECT * FROM sec.recon_claimed(p_account, p_bill, p_day)
          UNION ALL SELECT * FROM sec.recon_suspended(p_account, p_bill, p_day)
          UNION ALL SELECT * FROM sec.recon_unclaimed(p_account, p_bill, p_day)
          UNION ALL SELECT * FROM sec.recon_refunds(p_account, p_bill, p_day)
          UNION ALL SELECT * FROM sec.recon_fees(p_bill, v_rate) WHERE v_rate IS NOT NULL
          UNION ALL SELECT * FROM sec.recon_booked(p_account, p_bill, p_day)) f
    ON CONFLICT (account, bill_date, entry, ref) DO UPDATE
        SET last_seen = excluded.last_seen, class = excluded.class, tx_no = excluded.tx_no, trade_no = excluded.trade_no,
            order_no = excluded.order_no, refund_no = excluded.refund_no, book_amount = excluded.book_amount,
            bill_amount = excluded.bill_amount,
            -- Somebody's word holds as long as it is about the same.
            (status, resolution, resolved_at, resolved_role) = (
                SELECT x.status, x.resolution, x.resolved_at, x.resolved_role
                FROM (VALUES (i.status, i.resolution, i.resolved_at, i.resolved_role,
                              i.status = 'resolved' AND (excluded.status = 'resolved' OR i.resolution <> 'settled'
                                  AND (i.class, i.book_amount, i.bill_amount)
                                      IS NOT DISTINCT FROM (excluded.class, excluded.book_amount, excluded.bill_amount))),
                             (excluded.status, excluded.resolution, excluded.resolved_at, excluded.resolved_role, true))
                     x (status, resolution, resolved_at, resolved_role, holds)
                WHERE x.holds LIMIT 1);

    -- What is not so any more has settled itself; and what another day waited for, this bill may have.
    UPDATE app.recon_items i SET status = 'resolved', resolution = 'settled', resolved_at = p_at, resolved_role = p_role
    WHERE i.account = p_account AND i.status = 'open'
      AND (i.bill_date = p_day AND i.last_seen <> p_at
           OR i.bill_date <> p_day AND i.class IN ('timing', 'only_in_books')
              -- Not by the index of bills: that would be the whole bill for each item.
              AND coalesce((SELECT true FROM app.gateway_bill_lines l
                            WHERE l.trade_no = i.trade_no AND l.bill_id + 0 = p_bill AND l.entry = i.entry LIMIT 1),
                           (SELECT true FROM app.gateway_bill_lines l
                            WHERE i.trade_no IS NULL AND l.order_no = i.ref AND l.owner IS NULL AND l.bill_id + 0 = p_bill
                              AND l.entry = i.entry LIMIT 1), false));
END
$note$;
COMMENT ON FUNCTION sec.recon_note(text, bigint, date, timestamptz, text) IS
    'Compares a bill with books and callbacks, and writes down what differs, with the sums of the day. Internal: app.reconcile().';

CREATE FUNCTION sec.recon_mark_copies(p_bill bigint, p_day date, p_account text) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off AS $copies$
    UPDATE app.gateway_bill_lines l SET is_copy = NOT l.is_copy
    WHERE l.bill_id = p_bill AND l.entry = 'payment'
      AND l.is_copy IS DISTINCT FROM EXISTS (
          SELECT FROM app.gateway_bill_lines x JOIN app.gateway_bills b ON b.id = x.bill_id
          WHERE x.trade_no = l.trade_no AND x.entry = 'payment' AND (x.bill_id, x.line) <> (p_bill, l.line)
            AND (b.bill_date, b.account, x.line) < (p_day, p_account, l.line))
$copies$;
COMMENT ON FUNCTION sec.recon_mark_copies(bigint, date, text) IS
    'Marks payments of a bill that stand in an earlier line of it, or in an earlier bill. Internal: sec.recon_note().';

CREATE FUNCTION sec.recon_booked(p_account text, p_bill bigint, p_day date)
    RETURNS TABLE (entry text, class text, ref text, tx_no text, trade_no text, order_no text, refund_no text, book_amount numeric,
        bill_amount numeric, settled boolean)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off AS $booked$
    WITH e AS MATERIALIZED (SELECT * FROM sec.recon_entries(p_account, p_day)),
    noted AS (
        UPDATE app.recon_days d SET (book_payments, book_payment_total, book_refunds, book_refund_total, callbacks, callback_total) = (
            SELECT count(*) FILTER (WHERE e.entry = 'payment' AND e.in_books),
                   coalesce(sum(e.amount) FILTER (WHERE e.entry = 'payment' AND e.in_books), 0),
                   count(*) FILTER (WHERE e.entry = 'refund'), coalesce(sum(e.amount) FILTER (WHERE e.entry = 'refund'), 0),
                   count(*) FILTER (WHERE e.told), coalesce(sum(e.amount) FILTER (WHERE e.told), 0) FROM e)
        WHERE d.account = p_account AND d.bill_date = p_day)
    SELECT e.entry, CASE WHEN x.word = 'settled' THEN 'timing'
                         WHEN x.word = 'only_in_books' AND e.told AND sec.recon_told_later(e.trade_no, e.tx_no) THEN 'status_differs'
                         ELSE x.word END, coalesce(e.refund_no, e.trade_no, e.tx_no), e.tx_no,
           e.trade_no, e.order_id, e.refund_no, e.amount, NULL::numeric, x.word = 'settled'
    FROM (SELECT y.* FROM e y
          -- By the index of trade numbers, one entry after the other: the bill is as long as the day.
          WHERE y.in_books AND (y.entry = 'refund' OR (SELECT true FROM app.gateway_bill_lines l
                                WHERE l.trade_no = y.trade_no AND l.bill_id + 0 = p_bill AND l.entry = y.entry LIMIT 1) IS NULL)
          OFFSET 0) e
    CROSS JOIN LATERAL (SELECT sec.recon_missing(p_account, p_day, e.entry, e.tx_no, e.trade_no, e.order_id, e.refund_no, e.at,
                                                   e.told) AS word
                        OFFSET 0) x
    WHERE x.word IS NOT NULL
    UNION ALL
    -- What was taken back from a card for a refund that the bill has no more.
    SELECT 'refund', 'only_in_books', i.ref, i.tx_no, i.trade_no, i.order_no, i.refund_no, coalesce(i.bill_amount, i.book_amount), NULL,
           false
    FROM app.recon_items i
    WHERE i.account = p_account AND i.bill_date = p_day AND i.entry = 'refund' AND i.result_tx_no IS NOT NULL
      AND NOT EXISTS (SELECT FROM app.gateway_bill_lines l
                      WHERE l.bill_id = p_bill AND l.trade_no = i.trade_no AND l.entry = 'refund'
                        AND coalesce(l.out_refund_no, l.refund_no) IS NOT DISTINCT FROM i.refund_no)
$booked$;
COMMENT ON FUNCTION sec.recon_booked(text, bigint, date) IS
    'Book entries of a day that its bill does not have; notes the sums of books and callbacks on the day. Internal: sec.recon_note().';
