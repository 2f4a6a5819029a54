-- Rule: the chain of a card's movements.

CREATE FUNCTION sec.books_chain(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH cards AS (SELECT * FROM sec.books_cards()),
    moved AS NOT MATERIALIZED (SELECT * FROM sec.books_movements(p_from, p_to)),
    linked AS (
        SELECT m.*, lag(m.id) OVER w AS b_id, lag(m.card_seq) OVER w AS b_seq, lag(m.balance_after) OVER w AS b_balance,
               lag(m.posted_at) OVER w AS b_posted, lag(m.id, 64) OVER w AS far_id, lag(m.card_seq, 64) OVER w AS far_seq
        FROM moved m WINDOW w AS (PARTITION BY m.card_id ORDER BY m.card_seq, m.id)),
    -- Whoever follows the movement before it within the range is right or wrong at once; the others (few: one per card
    -- where the range begins later than the card) are looked at one by one.
    odd AS (
        SELECT l.* FROM linked l WHERE NOT coalesce(
            (CASE WHEN l.card_seq = 1 THEN l.prev_tx_id IS NULL AND l.b_id IS NULL AND l.balance_after = l.change
                  ELSE l.b_seq = l.card_seq - 1 AND l.b_id = l.prev_tx_id AND l.balance_after = l.b_balance + l.change
                       AND l.posted_at > l.b_posted END)
            AND (CASE WHEN l.card_seq % 64 <> 0 OR l.card_seq = 64 THEN l.skip_tx_id IS NULL
                      ELSE l.far_seq = l.card_seq - 64 AND l.far_id = l.skip_tx_id END), false)),
    seen AS (
        SELECT o.*, c.card_no, p.id AS p_id, p.tx_no AS p_no, p.card_id AS p_card, p.card_seq AS p_seq,
               s.card_id AS s_card, s.card_seq AS s_seq,
               CASE WHEN o.b_seq = o.card_seq - 1 THEN o.b_balance ELSE p.balance_after END AS was,
               CASE WHEN o.b_seq = o.card_seq - 1 THEN o.b_posted ELSE p.posted_at END AS was_posted,
               coalesce(o.prev_tx_id / 100000000000 = ANY (p_archived), false) AS p_is_archived,
               coalesce(o.skip_tx_id / 100000000000 = ANY (p_archived), false) AS s_is_archived
        FROM odd o
        LEFT JOIN cards c ON c.id = o.card_id
        LEFT JOIN app.transactions p ON p.id = o.prev_tx_id AND p.posted_at IS NOT NULL
            AND p.created_at >= sec.month_of_id(o.prev_tx_id) AND p.created_at < sec.month_of_id(o.prev_tx_id) + interval '1 month'
        LEFT JOIN app.transactions s ON s.id = o.skip_tx_id AND s.posted_at IS NOT NULL
            AND s.created_at >= sec.month_of_id(o.skip_tx_id) AND s.created_at < sec.month_of_id(o.skip_tx_id) + interval '1 month')
    SELECT x.rule, format('%s: %s %s', coalesce(s.card_no, 'card ' || s.card_id), s.tx_no, x.what)
    FROM seen s CROSS JOIN LATERAL (
        SELECT 'sequence' AS rule, CASE
            WHEN s.card_seq < 1 THEN format('is number %s', s.card_seq)
            WHEN s.b_seq = s.card_seq THEN format('is number %s, and so is another movement', s.card_seq)
            WHEN s.card_seq > 1 AND s.prev_tx_id IS NULL THEN format('is number %s, but follows nothing', s.card_seq)
            WHEN s.card_seq > 1 AND s.p_id IS NULL AND NOT s.p_is_archived AND s.b_seq IS DISTINCT FROM s.card_seq - 1
                THEN format('is number %s, and number %s is missing', s.card_seq, s.card_seq - 1)
            WHEN s.card_seq > 1 AND s.b_seq IS DISTINCT FROM s.card_seq - 1 AND s.p_card = s.card_id AND s.p_seq < s.card_seq - 1
                THEN format('is number %s after %s, number %s', s.card_seq, s.p_no, s.p_seq)
            END AS what
        UNION ALL
        SELECT 'running_balance', CASE WHEN s.balance_after <> CASE WHEN s.card_seq = 1 THEN 0 ELSE s.was END + s.change
            THEN format('left %s, but %s %s %s is %s', s.balance_after, CASE WHEN s.card_seq = 1 THEN 0 ELSE s.was END,
                        CASE WHEN s.change < 0 THEN '-' ELSE '+' END, abs(s.change),
                        CASE WHEN s.card_seq = 1 THEN 0 ELSE s.was END + s.change) END
        UNION ALL
        SELECT 'posted_at', CASE WHEN s.card_seq > 1 AND s.posted_at <= s.was_posted
            THEN 'was not posted later than the movement before it' END
        UNION ALL
        SELECT 'links', CASE
            WHEN s.card_seq = 1 AND s.prev_tx_id IS NOT NULL THEN 'is the first, but names one before it'
            WHEN s.card_seq > 1 AND (s.p_card <> s.card_id OR s.p_seq >= s.card_seq
                                  OR (s.b_seq = s.card_seq - 1 AND s.b_id <> s.prev_tx_id))
                THEN format('names %s as the movement before it, which is not', coalesce(s.p_no, s.prev_tx_id::text)) END
        UNION ALL
        SELECT 'links', CASE
            WHEN s.card_seq % 64 <> 0 OR s.card_seq = 64 THEN
                CASE WHEN s.skip_tx_id IS NOT NULL THEN format('is number %s, but has a link 64 back', s.card_seq) END
            WHEN s.s_is_archived THEN NULL
            WHEN s.s_card IS DISTINCT FROM s.card_id OR s.s_seq IS DISTINCT FROM s.card_seq - 64
                THEN format('does not lead to number %s, 64 back', s.card_seq - 64) END) x
    WHERE x.what IS NOT NULL
$rule$;
COMMENT ON FUNCTION sec.books_chain(timestamptz, timestamptz, bigint[]) IS
    'Movements that do not follow the one before them: by number, balance, moment and links. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_chain_proof(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (sound boolean)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    -- Each movement follows the one that it names, or is the one of its card that begins here (the first, or it names one
    -- of an archived month); and there are as many as their numbers say. So none is there twice and none is missing.
    WITH moved AS NOT MATERIALIZED (SELECT * FROM sec.books_movements(p_from, p_to))
    SELECT NOT EXISTS (
            SELECT FROM moved m LEFT JOIN moved b ON b.id = m.prev_tx_id
            WHERE NOT coalesce(
                (CASE WHEN m.card_seq = 1 THEN m.prev_tx_id IS NULL AND m.balance_after = m.change
                      WHEN b.id IS NULL THEN m.card_seq > 1 AND m.prev_tx_id / 100000000000 = ANY (p_archived)
                      ELSE b.card_id = m.card_id AND b.card_seq = m.card_seq - 1 AND m.balance_after = b.balance_after + m.change
                           AND m.posted_at > b.posted_at END)
                AND (m.skip_tx_id IS NULL) = (m.card_seq % 64 <> 0 OR m.card_seq = 64), false))
        AND NOT EXISTS (
            SELECT FROM moved m LEFT JOIN moved b ON b.id = m.skip_tx_id AND b.card_seq % 64 = 0
            WHERE m.skip_tx_id IS NOT NULL AND (m.skip_tx_id / 100000000000 = ANY (p_archived)) IS NOT TRUE
              AND (b.card_id = m.card_id AND b.card_seq = m.card_seq - 64) IS NOT TRUE)
        AND NOT EXISTS (
            SELECT FROM moved m GROUP BY m.card_id
            HAVING count(*) <> max(m.card_seq) - min(m.card_seq) + 1
                OR count(*) FILTER (WHERE m.card_seq = 1 OR m.prev_tx_id / 100000000000 = ANY (p_archived)) <> 1)
$rule$;
COMMENT ON FUNCTION sec.books_chain_proof(timestamptz, timestamptz, bigint[]) IS
    'Whether nothing breaks sec.books_chain(). Internal: sec.books_rules().';
