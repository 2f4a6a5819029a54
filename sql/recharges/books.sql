-- Rules: suspense and pending recharges. Few rows: looked at whole, whatever the range.

CREATE FUNCTION sec.rules_of_recharges() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (110, ARRAY['suspense', 'pending'], 'books_suspense')
$$;
COMMENT ON FUNCTION sec.rules_of_recharges() IS 'What app.verify_books() checks of the recharges. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_suspense(p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH claimed AS (
        SELECT s.id, s.gateway_trade_no, s.amount, s.status, s.credited_tx_no, o.tx_id,
               CASE WHEN s.credited_tx_no ~ '^CZ[0-9]{10,15}$'
                    THEN substr(s.credited_tx_no, 3, 4)::bigint * 100000000000 + substr(s.credited_tx_no, 7)::bigint END AS credited_id
        FROM app.suspense_payments s
        LEFT JOIN app.external_orders o ON o.scope_no = 0 AND o.scope = 3 AND o.order_id = s.gateway_trade_no)
    SELECT 'suspense', format('row %s, trade number %L: %s', c.id, left(c.gateway_trade_no, 40), x.what)
    FROM claimed c
    LEFT JOIN app.transactions t ON t.id = c.credited_id AND t.tx_type = 'recharge' AND t.status = 'completed'
        AND t.created_at >= sec.month_of_id(c.credited_id) AND t.created_at < sec.month_of_id(c.credited_id) + interval '1 month'
    CROSS JOIN LATERAL (SELECT CASE
        WHEN c.tx_id IS NULL THEN 'is not claimed'
        WHEN c.status <> 'credited'
            THEN CASE WHEN c.tx_id <> -c.id THEN format('is %s, but its trade number belongs to %s', c.status, c.tx_id) END
        WHEN c.tx_id <> c.credited_id THEN format('was credited by %s, but its trade number belongs to %s', c.credited_tx_no, c.tx_id)
        WHEN c.credited_id / 100000000000 = ANY (p_archived) THEN NULL
        WHEN t.id IS NULL THEN format('was credited by %s, which is not there', c.credited_tx_no)
        WHEN t.gateway_trade_no IS DISTINCT FROM c.gateway_trade_no OR t.final_amount <> c.amount
            THEN format('was credited by %s, which says %s of %s', t.tx_no, t.final_amount, coalesce(t.gateway_trade_no, 'nothing'))
        END AS what) x
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'suspense', format('trade number %L belongs to row %s, which is not there', left(o.order_id, 40), -o.tx_id)
    FROM app.external_orders o
    WHERE o.tx_id < 0 AND NOT EXISTS (SELECT FROM app.suspense_payments s
        WHERE s.id = -o.tx_id AND s.gateway_trade_no = o.order_id AND o.scope = 3)
    UNION ALL
    SELECT 'pending', format('%s: %s', coalesce(t.tx_no, r.tx_id::text),
                             CASE WHEN r.tx_id IS NULL THEN 'waits, but is not counted'
                                  WHEN t.id IS NULL THEN 'is counted, but does not wait' ELSE 'is counted for another card' END)
    FROM app.pending_recharges r FULL JOIN (SELECT t.* FROM app.transactions t WHERE t.status = 'processing') t ON t.id = r.tx_id
    WHERE r.tx_id IS NULL OR t.id IS NULL OR r.card_id <> t.card_id
$rule$;
COMMENT ON FUNCTION sec.books_suspense(bigint[]) IS
    'Gateway money in suspense whose trade number is not its own, and recharges that wait and '
    'are not counted. Internal: sec.books_rules().';
