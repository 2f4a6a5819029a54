-- Rules: keys and orders, each there once and leading to its transaction.

CREATE FUNCTION sec.books_keys(p_archived bigint[], p_months_from timestamptz, p_months_to timestamptz, p_keys_from bigint,
    p_ids_from bigint, p_ids_to bigint, p_month_ids_from bigint, p_month_ids_to bigint)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH asked AS NOT MATERIALIZED (SELECT t.id, t.tx_no, t.tx_type, t.merchant_id, t.idempotency_key FROM app.transactions t
                WHERE t.created_at >= p_months_from AND t.created_at < p_months_to AND t.id >= p_ids_from AND t.id < p_ids_to),
    keys AS NOT MATERIALIZED (SELECT k.* FROM app.idempotency_keys k
             WHERE k.ref_id >= CASE WHEN k.operation = 13 THEN p_month_ids_from ELSE p_ids_from END
               AND k.ref_id < CASE WHEN k.operation = 13 THEN p_month_ids_to ELSE p_ids_to END
               AND (cardinality(p_archived) = 0 OR k.ref_id / 100000000000 <> ALL (p_archived)))
    SELECT 'keys', format('%s: its key is not remembered', a.tx_no)
    FROM asked a LEFT JOIN keys k ON k.ref_id = a.id AND k.idempotency_key = a.idempotency_key AND k.operation < 31
    WHERE a.idempotency_key IS NOT NULL AND a.id >= p_keys_from AND k.ref_id IS NULL
    UNION ALL
    SELECT 'keys', format('key %L of scope %s/%s: %s', left(k.idempotency_key, 40), k.operation, k.scope_no,
                          CASE WHEN a.id IS NULL THEN format('there is no transaction %s', k.ref_id) ELSE 'leads to ' || a.tx_no END)
    FROM keys k LEFT JOIN asked a ON a.id = k.ref_id
    WHERE k.operation NOT IN (13, 31, 32)
      AND (a.id IS NULL
           OR a.tx_type <> CASE WHEN k.operation = 1 THEN 'payment' WHEN k.operation = 2 THEN 'refund'
                                WHEN k.operation IN (3, 11, 21) THEN 'recharge'
                                WHEN k.operation IN (14, 24) THEN 'withdrawal' ELSE 'adjustment' END::app.tx_type
           OR (k.operation IN (1, 2, 3) AND a.merchant_id IS DISTINCT FROM k.scope_no))
    UNION ALL
    SELECT 'keys', format('key %L of scope 13/%s: there is no such change of points', left(k.idempotency_key, 40), k.scope_no)
    FROM keys k
    LEFT JOIN app.personal_cards c ON c.card_no = 'VIP' || lpad(k.scope_no::text, greatest(8, length(k.scope_no::text)), '0')
    LEFT JOIN app.point_ledger l ON l.card_id = c.id AND l.point_seq = k.ref_id % 100000000000
        AND l.created_at >= p_months_from AND l.created_at < p_months_to
    WHERE k.operation = 13 AND l.card_id IS NULL
$rule$;
COMMENT ON FUNCTION sec.books_keys(bigint[], timestamptz, timestamptz, bigint, bigint, bigint, bigint, bigint) IS
    'Keys that are not remembered or lead elsewhere. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_keys_proof(p_archived bigint[], p_keys_from bigint)
    RETURNS TABLE (sound boolean)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH keys AS NOT MATERIALIZED (SELECT k.* FROM app.idempotency_keys k
             WHERE cardinality(p_archived) = 0 OR k.ref_id / 100000000000 <> ALL (p_archived)),
    -- Every key has met the transaction it leads to, every transaction with a key has met it, and they agree.
    met AS (
        SELECT count(k.ref_id) AS keys,
               count(*) FILTER (WHERE CASE WHEN k.ref_id IS NULL THEN t.idempotency_key IS NOT NULL AND t.id >= p_keys_from
                   ELSE (k.idempotency_key = t.idempotency_key
                         AND t.tx_type = CASE WHEN k.operation = 1 THEN 'payment' WHEN k.operation = 2 THEN 'refund'
                                              WHEN k.operation IN (3, 11, 21) THEN 'recharge'
                                              WHEN k.operation IN (14, 24) THEN 'withdrawal' ELSE 'adjustment' END::app.tx_type
                         AND (k.operation NOT IN (1, 2, 3) OR t.merchant_id = k.scope_no)) IS NOT TRUE END) AS odd
        FROM app.transactions t LEFT JOIN keys k ON k.ref_id = t.id AND k.operation NOT IN (13, 31, 32))
    SELECT met.odd = 0 AND met.keys = (SELECT count(*) FROM keys k WHERE k.operation NOT IN (13, 31, 32))
       AND NOT EXISTS (
           SELECT FROM keys k
           LEFT JOIN app.personal_cards c ON c.card_no = 'VIP' || lpad(k.scope_no::text, greatest(8, length(k.scope_no::text)), '0')
           LEFT JOIN app.point_ledger l ON l.card_id = c.id AND l.point_seq = k.ref_id % 100000000000
           WHERE k.operation = 13 AND l.card_id IS NULL)
    FROM met
$rule$;
COMMENT ON FUNCTION sec.books_keys_proof(bigint[], bigint) IS 'Whether nothing breaks sec.books_keys(). Internal: sec.books_rules().';

CREATE FUNCTION sec.books_orders(p_archived bigint[], p_months_from timestamptz, p_months_to timestamptz, p_keys_from bigint,
    p_ids_from bigint, p_ids_to bigint)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH asked AS NOT MATERIALIZED (SELECT t.id, t.tx_no, t.tx_type, t.merchant_id, t.external_order_id, t.gateway_trade_no
                FROM app.transactions t
                WHERE t.created_at >= p_months_from AND t.created_at < p_months_to AND t.id >= p_ids_from AND t.id < p_ids_to
                  AND (t.external_order_id IS NOT NULL OR t.gateway_trade_no IS NOT NULL)),
    orders AS NOT MATERIALIZED (SELECT o.* FROM app.external_orders o
               WHERE o.tx_id > 0 AND o.tx_id >= p_ids_from AND o.tx_id < p_ids_to
                 AND (cardinality(p_archived) = 0 OR o.tx_id / 100000000000 <> ALL (p_archived)))
    SELECT 'orders', format('%s: its order id is not remembered', a.tx_no)
    FROM asked a
    WHERE a.external_order_id IS NOT NULL AND (a.tx_type <> 'payment' OR a.id >= p_keys_from)
      AND NOT EXISTS (SELECT FROM orders o WHERE o.tx_id = a.id AND o.order_id = a.external_order_id AND o.scope <> 3)
      -- A recharge that came to nothing gives its order to the one that is asked for again.
      AND NOT (a.tx_type = 'recharge'
               AND EXISTS (SELECT FROM app.external_orders o WHERE o.order_id = a.external_order_id
                           AND o.scope IN (4, 5) AND o.tx_id > a.id))
    UNION ALL
    SELECT 'orders', format('%s: its gateway trade number is not remembered', a.tx_no)
    FROM asked a
    WHERE a.gateway_trade_no IS NOT NULL
      AND NOT EXISTS (SELECT FROM orders o WHERE o.tx_id = a.id AND o.order_id = a.gateway_trade_no AND o.scope = 3)
    UNION ALL
    SELECT 'orders', format('order %L of scope %s/%s: %s', left(o.order_id, 40), o.scope, o.scope_no,
                            CASE WHEN a.id IS NULL THEN format('there is no transaction %s of it', o.tx_id) ELSE 'leads to ' || a.tx_no END)
    FROM orders o LEFT JOIN asked a ON a.id = o.tx_id
    WHERE a.id IS NULL
       OR o.order_id IS DISTINCT FROM CASE WHEN o.scope = 3 THEN a.gateway_trade_no ELSE a.external_order_id END
       OR a.tx_type <> CASE WHEN o.scope = 1 THEN 'payment' ELSE 'recharge' END::app.tx_type
       OR (o.scope = 1 AND a.merchant_id IS DISTINCT FROM o.scope_no)
    UNION ALL
    SELECT 'orders', format('%s: trade number %L %s', coalesce(a.tx_no, o.tx_id::text), left(o.order_id, 40),
                            CASE WHEN EXISTS (SELECT FROM app.external_orders x WHERE x.scope_no = 0 AND x.scope = 3
                                               AND x.order_id = o.order_id)
                                 THEN 'credited another recharge, too, before 0.3.0'
                                 ELSE 'is claimed as before 0.3.0: SELECT app.migrate()' END)
    FROM orders o LEFT JOIN asked a ON a.id = o.tx_id WHERE o.scope = 3 AND o.scope_no <> 0
$rule$;
COMMENT ON FUNCTION sec.books_orders(bigint[], timestamptz, timestamptz, bigint, bigint, bigint) IS
    'Order ids and trade numbers that are not remembered or lead elsewhere. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_orders_proof(p_archived bigint[], p_keys_from bigint)
    RETURNS TABLE (sound boolean)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH orders AS NOT MATERIALIZED (SELECT o.* FROM app.external_orders o
             WHERE o.tx_id > 0 AND (cardinality(p_archived) = 0 OR o.tx_id / 100000000000 <> ALL (p_archived))),
    -- As for keys: first the order ids, then the gateways' trade numbers.
    met AS (
        SELECT count(o.tx_id) AS orders,
               count(*) FILTER (WHERE CASE WHEN o.tx_id IS NULL THEN t.external_order_id IS NOT NULL
                                       AND (t.tx_type <> 'payment' OR t.id >= p_keys_from)
                   ELSE (o.order_id = t.external_order_id
                         AND t.tx_type = CASE WHEN o.scope = 1 THEN 'payment' ELSE 'recharge' END::app.tx_type
                         AND (o.scope <> 1 OR t.merchant_id = o.scope_no)) IS NOT TRUE END) AS odd
        FROM app.transactions t LEFT JOIN orders o ON o.tx_id = t.id AND o.scope <> 3),
    traded AS (
        SELECT count(o.tx_id) AS numbers,
               count(*) FILTER (WHERE (o.order_id = t.gateway_trade_no AND t.tx_type = 'recharge' AND o.scope_no = 0) IS NOT TRUE) AS odd
        FROM app.transactions t LEFT JOIN orders o ON o.tx_id = t.id AND o.scope = 3 WHERE t.gateway_trade_no IS NOT NULL)
    SELECT met.odd = 0 AND met.orders = (SELECT count(*) FROM orders o WHERE o.scope <> 3)
       AND traded.odd = 0 AND traded.numbers = (SELECT count(*) FROM orders o WHERE o.scope = 3)
    FROM met, traded
$rule$;
COMMENT ON FUNCTION sec.books_orders_proof(bigint[], bigint) IS 'Whether nothing breaks sec.books_orders(). Internal: sec.books_rules().';
