-- Rule: withdrawals and their refund numbers. Few rows: looked at whole, but for the movements.

CREATE FUNCTION sec.rules_of_withdrawals() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (150, ARRAY['withdrawals'], 'books_withdrawals')
$$;
COMMENT ON FUNCTION sec.rules_of_withdrawals() IS 'What app.verify_books() checks of withdrawals. Internal: sec.books_rules().';

CREATE FUNCTION sec.id_of_written(p_tx_no text, p_prefix text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $rule$
    SELECT CASE WHEN p_tx_no ~ '^[A-Z]{2}[0-9]{10,15}$' AND left(p_tx_no, 2) = p_prefix
                THEN substr(p_tx_no, 3, 4)::bigint * 100000000000 + substr(p_tx_no, 7)::bigint END
$rule$;
COMMENT ON FUNCTION sec.id_of_written(text, text) IS
    'The id of the transaction whose number this is, of a kind; NULL: it is none. Internal: the rules of app.verify_books().';

CREATE FUNCTION sec.books_withdrawals(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH parts AS (
        SELECT w.*, sec.id_of_written(w.tx_no, 'TX') AS id, sec.id_of_written(w.source_tx_no, 'CZ') AS source_id,
               sec.id_of_written(w.returned_tx_no, 'TZ') AS returned_id
        FROM app.withdrawals w),
    sums AS (SELECT p.tx_no, min(p.id) AS id, sum(p.amount) AS total,
                    coalesce(sum(p.amount) FILTER (WHERE p.status = 'processing'), 0) AS waiting,
                    (SELECT coalesce(sum(c.amount), 0) FROM app.transaction_compensations c WHERE c.tx_no = p.tx_no) AS back,
                    array_agg(DISTINCT p.card_id) AS cards,
                    bool_and(p.refund_no ~ ('^' || p.tx_no || '-[1-9][0-9]{0,2}$')) AS numbered
             FROM parts p GROUP BY p.tx_no),
    sources AS (SELECT p.source_tx_no, min(p.source_id) AS id, sum(p.amount) FILTER (WHERE p.status IN ('processing', 'completed')) AS total
                FROM parts p WHERE p.source_tx_no IS NOT NULL GROUP BY p.source_tx_no)
    -- Parts add up to the movement.
    SELECT 'withdrawals', format('%s: %s', s.tx_no, x.what)
    FROM sums s
    LEFT JOIN app.transactions t ON t.id = s.id AND t.tx_type = 'withdrawal' AND t.status = 'completed'
        AND t.created_at >= sec.month_of_id(s.id) AND t.created_at < sec.month_of_id(s.id) + interval '1 month'
    CROSS JOIN LATERAL (SELECT CASE
        WHEN s.id IS NULL OR NOT s.numbered THEN 'its refund numbers are not its own'
        WHEN s.back > s.total - s.waiting
            THEN format('took %s, of which %s waits to be paid, and the card has %s again', s.total, s.waiting, s.back)
        WHEN s.id / 100000000000 = ANY (p_archived) THEN NULL
        WHEN t.id IS NULL THEN 'has refund numbers, and there is no such withdrawal'
        WHEN t.final_amount <> s.total THEN format('took %s, and its refund numbers are for %s', t.final_amount, s.total)
        WHEN s.cards <> ARRAY[t.card_id] THEN 'took from another card than its refund numbers say'
        END AS what) x
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'withdrawals', format('%s: has no refund numbers', t.tx_no)
    FROM app.transactions t
    WHERE t.tx_type = 'withdrawal' AND t.created_at >= p_from AND t.created_at < p_to
      AND NOT EXISTS (SELECT FROM app.withdrawals w WHERE w.tx_no = t.tx_no)
    UNION ALL
    -- No source gives more than it got. What was paid after it had come back is not what was decided here.
    SELECT 'withdrawals', format('%s: %s', s.source_tx_no, x.what)
    FROM sources s
    LEFT JOIN app.transactions t ON t.id = s.id AND t.tx_type = 'recharge' AND t.status = 'completed'
        AND t.created_at >= sec.month_of_id(s.id) AND t.created_at < sec.month_of_id(s.id) + interval '1 month'
    CROSS JOIN LATERAL (SELECT CASE
        WHEN s.id / 100000000000 = ANY (p_archived) THEN NULL
        WHEN t.id IS NULL THEN 'was withdrawn of, and there is no such recharge'
        WHEN s.total > t.final_amount THEN format('credited %s, and %s was withdrawn of it', t.final_amount, s.total)
        END AS what) x
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'withdrawals', format('%s: %s', p.refund_no, x.what)
    FROM parts p
    LEFT JOIN app.transactions s ON s.id = p.source_id AND s.tx_type = 'recharge'
        AND s.created_at >= sec.month_of_id(p.source_id) AND s.created_at < sec.month_of_id(p.source_id) + interval '1 month'
    LEFT JOIN app.transactions r ON r.id = p.returned_id AND r.tx_type = 'adjustment' AND r.status = 'completed'
        AND r.created_at >= sec.month_of_id(p.returned_id) AND r.created_at < sec.month_of_id(p.returned_id) + interval '1 month'
    CROSS JOIN LATERAL (SELECT CASE
        WHEN s.card_id <> p.card_id AND NOT sec.took_over(p.card_id, s.card_id)
            THEN format('gives back %s, which was on another card', p.source_tx_no)
        WHEN p.gateway_trade_no <> s.gateway_trade_no
            THEN format('is of trade number %L, and %s of %L', left(p.gateway_trade_no, 40), p.source_tx_no, left(s.gateway_trade_no, 40))
        WHEN p.payout <> p.asked AND p.asked <> 'source' THEN format('goes by %s, and %s was asked for', p.payout, p.asked)
        END AS what
        UNION ALL
        -- Returned ones have their adjustment.
        SELECT CASE
        WHEN p.returned_tx_no IS NULL OR p.returned_id / 100000000000 = ANY (p_archived) THEN NULL
        WHEN r.id IS NULL THEN format('was given back by %s, which is not there', p.returned_tx_no)
        WHEN r.final_amount <> p.amount OR r.original_tx_no IS DISTINCT FROM p.tx_no
            THEN format('was given back by %s, which is %s for %s', r.tx_no, r.final_amount, coalesce(r.original_tx_no, 'nothing'))
        WHEN r.card_id <> p.card_id AND NOT sec.took_over(r.card_id, p.card_id)
            THEN format('was given back by %s to another card', r.tx_no)
        END) x
    WHERE x.what IS NOT NULL
$rule$;
COMMENT ON FUNCTION sec.books_withdrawals(timestamptz, timestamptz, bigint[]) IS
    'Withdrawals whose refund numbers do not add up, that took more of a recharge than it credited, or that were given back otherwise '
    'than is said. Internal: sec.books_rules().';

CREATE FUNCTION sec.took_over(p_card uuid, p_older uuid) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $rule$
    WITH RECURSIVE chain (id) AS (
        SELECT p_older UNION SELECT c.replaced_by FROM chain x JOIN app.personal_cards c ON c.id = x.id WHERE c.replaced_by IS NOT NULL)
    SELECT EXISTS (SELECT FROM chain x WHERE x.id = p_card)
$rule$;
COMMENT ON FUNCTION sec.took_over(uuid, uuid) IS
    'Whether a card is another one, or has, by however many replacements, taken over from it. Internal: the rules of app.verify_books().';
