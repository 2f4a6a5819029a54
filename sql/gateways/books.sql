-- Rules: what a callback did, and what it is said to have done.

CREATE FUNCTION sec.rules_of_gateways() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (140, ARRAY['callbacks'], 'books_callbacks')
$$;
COMMENT ON FUNCTION sec.rules_of_gateways() IS 'What app.verify_books() checks of callbacks. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_callbacks(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH credited AS (
        SELECT e.id, e.received_at, e.account, e.verified, e.tx_no, e.trade_no, e.amount, count(*) OVER (PARTITION BY e.tx_no) AS times,
               CASE WHEN e.tx_no ~ '^CZ[0-9]{10,15}$'
                    THEN substr(e.tx_no, 3, 4)::bigint * 100000000000 + substr(e.tx_no, 7)::bigint END AS tx_id
        FROM app.gateway_events e
        WHERE e.outcome = 'credited' AND e.received_at >= p_from AND e.received_at < p_to),
    -- What no account has ever brought is not looked for in the log.
    confirmed AS (
        SELECT a.id, a.happened_at, a.object_id AS tx_no, a.context ->> 'gateway_trade_no' AS trade_no,
               (a.context ->> 'gateway_event')::bigint AS event_id
        FROM audit.event_log a
        WHERE a.action = 'recharge.confirmed' AND a.context ->> 'gateway_event' ~ '^[0-9]{1,18}$'
          AND a.happened_at >= p_from AND a.happened_at < p_to AND EXISTS (SELECT FROM app.gateway_events))
    SELECT 'callbacks', format('callback %s of %s: %s', c.id, c.account, x.what)
    FROM credited c
    LEFT JOIN app.transactions t ON t.id = c.tx_id AND t.created_at >= sec.month_of_id(c.tx_id)
        AND t.created_at < sec.month_of_id(c.tx_id) + interval '1 month'
    LEFT JOIN confirmed a ON a.event_id = c.id AND a.happened_at = c.received_at
    CROSS JOIN LATERAL (SELECT CASE
        WHEN NOT c.verified THEN 'credited, but nobody has signed it'
        WHEN c.times > 1 THEN format('credited %s, and so did another', c.tx_no)
        WHEN c.tx_id IS NULL THEN 'credited no recharge'
        WHEN a.id IS NULL OR a.tx_no <> c.tx_no OR a.trade_no IS DISTINCT FROM c.trade_no
            THEN format('credited %s, and the log does not say so', c.tx_no)
        WHEN c.tx_id / 100000000000 = ANY (p_archived) THEN NULL
        WHEN t.id IS NULL THEN format('credited %s, which is not there', c.tx_no)
        WHEN t.status <> 'completed' OR t.gateway_trade_no IS DISTINCT FROM c.trade_no OR t.final_amount IS DISTINCT FROM c.amount
            THEN format('credited %s of %s to %s, which is %s with %s of %s', c.amount, c.trade_no, c.tx_no, t.status, t.final_amount,
                        coalesce(t.gateway_trade_no, 'nothing'))
        END AS what) x
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'callbacks', format('%s: the log says that callback %s has credited it, and there is none that did', a.tx_no, a.event_id)
    FROM confirmed a
    -- Books that were written anew from the log have none of those that it names.
    WHERE a.event_id >= (SELECT min(e.id) FROM app.gateway_events e)
      AND NOT EXISTS (SELECT FROM credited c WHERE c.id = a.event_id AND c.tx_no = a.tx_no)
$rule$;
COMMENT ON FUNCTION sec.books_callbacks(timestamptz, timestamptz, bigint[]) IS
    'Callbacks that are said to have credited what they have not, and recharges that are said to have been credited by one that has not. '
    'Internal: sec.books_rules().';
