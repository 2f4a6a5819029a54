-- Rules: closed days still add up, and what was credited has somebody's word.

CREATE FUNCTION sec.rules_of_reconciliation() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (160, ARRAY['gateway_days'], 'books_gateway_days'), (170, ARRAY['gateway_words'], 'books_gateway_words')
$$;
COMMENT ON FUNCTION sec.rules_of_reconciliation() IS
    'What app.verify_books() checks of days and gateways'' words. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_gateway_days(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH closed AS (
        SELECT d.*, b.id AS bill_id, b.payments, b.payment_total, b.refunds, b.refund_total
        FROM app.recon_days d
        LEFT JOIN app.gateway_bills b
            ON b.account = d.account AND b.bill_date = d.bill_date AND b.kind = 'trade' AND b.replaced_at IS NULL
        WHERE d.closed_at IS NOT NULL AND d.closed_at >= p_from AND d.closed_at < p_to),
    lines AS (
        SELECT l.bill_id, count(*) FILTER (WHERE l.entry = 'payment') AS payments, sum(l.amount) FILTER (WHERE l.entry = 'payment') AS paid,
               count(*) FILTER (WHERE l.entry = 'refund') AS refunds, sum(l.amount) FILTER (WHERE l.entry = 'refund') AS refunded,
               -- Somebody's still, unless an item says otherwise.
               count(*) FILTER (WHERE l.owner IS NOT NULL AND o.tx_id IS NULL) AS lost
        FROM closed c
        JOIN app.gateway_bill_lines l ON l.bill_id = c.bill_id
        LEFT JOIN app.external_orders o ON o.scope_no = 0 AND o.scope = 3 AND o.order_id = l.trade_no
            AND (o.tx_id = l.owner OR l.owner < 0 AND o.tx_id > 0)
        GROUP BY l.bill_id),
    items AS (
        SELECT c.account, c.bill_date, count(*) FILTER (WHERE i.status = 'open') AS open,
               count(*) FILTER (WHERE i.entry = 'payment' AND i.bill_amount IS NOT NULL AND i.last_seen = c.reconciled_at) AS payments,
               sum(i.bill_amount) FILTER (WHERE i.entry = 'payment' AND i.last_seen = c.reconciled_at) AS paid,
               count(*) FILTER (WHERE i.entry = 'refund' AND i.bill_amount IS NOT NULL AND i.last_seen = c.reconciled_at) AS refunds,
               sum(i.bill_amount) FILTER (WHERE i.entry = 'refund' AND i.last_seen = c.reconciled_at) AS refunded
        FROM closed c JOIN app.recon_items i ON i.account = c.account AND i.bill_date = c.bill_date
        GROUP BY c.account, c.bill_date)
    SELECT 'gateway_days', format('%s %s: %s', c.account, c.bill_date, x.what)
    FROM closed c
    LEFT JOIN lines l ON l.bill_id = c.bill_id
    LEFT JOIN items i ON i.account = c.account AND i.bill_date = c.bill_date
    CROSS JOIN LATERAL (VALUES
        (c.bill_id IS NULL, 'is closed, and has no bill'),
        (i.open > 0, format('is closed, and has %s open items', i.open)),
        (c.bill_id IS NOT NULL AND (coalesce(l.payments, 0), coalesce(l.paid, 0), coalesce(l.refunds, 0), coalesce(l.refunded, 0))
             IS DISTINCT FROM (c.payments, c.payment_total, c.refunds, c.refund_total),
         format('the bill says %s payments of %s and %s refunds of %s, its lines %s of %s and %s of %s', c.payments, c.payment_total,
                c.refunds, c.refund_total, coalesce(l.payments, 0), coalesce(l.paid, 0), coalesce(l.refunds, 0), coalesce(l.refunded, 0))),
        (c.bill_id IS NOT NULL AND (c.matched_payments + coalesce(i.payments, 0), c.matched_payment_total + coalesce(i.paid, 0),
                                    c.matched_refunds + coalesce(i.refunds, 0), c.matched_refund_total + coalesce(i.refunded, 0))
             IS DISTINCT FROM (c.payments, c.payment_total, c.refunds, c.refund_total),
         format('matched and differing payments and refunds are %s of %s and %s of %s, the bill says %s of %s and %s of %s',
                c.matched_payments + coalesce(i.payments, 0), c.matched_payment_total + coalesce(i.paid, 0),
                c.matched_refunds + coalesce(i.refunds, 0), c.matched_refund_total + coalesce(i.refunded, 0), c.payments,
                c.payment_total, c.refunds, c.refund_total)),
        (l.lost > 0, format('%s lines were matched with what the books do not have any more', l.lost))) x (is_so, what)
    WHERE x.is_so
$rule$;
COMMENT ON FUNCTION sec.books_gateway_days(timestamptz, timestamptz) IS
    'Closed days of gateways that do not add up. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_gateway_words(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH given AS (
        SELECT t.tx_no, t.gateway_trade_no FROM app.transactions t
        WHERE t.gateway_trade_no IS NOT NULL AND t.tx_type = 'recharge' AND t.status = 'completed'
          AND t.created_at >= p_from AND t.created_at < p_to),
    words AS (
        SELECT a.object_id AS tx_no FROM audit.event_log a WHERE a.action = 'recharge.confirmed' AND a.happened_at >= p_from
        UNION ALL
        SELECT a.context ->> 'tx_no' FROM audit.event_log a
        WHERE a.action = 'suspense.resolved' AND a.context ->> 'status' = 'credited' AND a.happened_at >= p_from)
    SELECT 'gateway_words', format('%s was credited with %s, and neither a callback nor a backend has said so', g.tx_no, g.gateway_trade_no)
    FROM given g LEFT JOIN words w ON w.tx_no = g.tx_no
    WHERE w.tx_no IS NULL
$rule$;
COMMENT ON FUNCTION sec.books_gateway_words(timestamptz, timestamptz) IS
    'Recharges with a gateway''s trade number that nobody''s word has credited. Internal: sec.books_rules().';
