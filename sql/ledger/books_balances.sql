-- Rule: each card's balance.

CREATE FUNCTION sec.books_balances(p_from timestamptz, p_to timestamptz, p_archived bigint[], p_everything boolean)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH cards AS (SELECT * FROM sec.books_cards()),
    moved AS NOT MATERIALIZED (SELECT * FROM sec.books_movements(p_from, p_to)),
    lasts AS MATERIALIZED (SELECT m.* FROM moved m WHERE m.id IN (SELECT c.last_tx_id FROM cards c))
    SELECT 'balances', format('%s: %s', coalesce(c.card_no, 'card ' || s.card_id), x.what)
    FROM cards c
    FULL JOIN (SELECT m.card_id, sum(m.change) AS total, count(*) AS movements, max(m.card_seq) AS top FROM moved m GROUP BY m.card_id) s
        ON s.card_id = c.id
    LEFT JOIN lasts l ON l.id = c.last_tx_id
    CROSS JOIN LATERAL (SELECT CASE
        WHEN c.id IS NULL THEN 'has movements, but there is no such card'
        WHEN c.card_seq = 0 THEN
            CASE WHEN c.balance <> 0 OR c.last_tx_id IS NOT NULL OR s.top IS NOT NULL
                 THEN format('balance %s and no movement counted, but the movements sum up to %s', c.balance, coalesce(s.total, 0)) END
        WHEN c.last_tx_id IS NULL OR (l.id IS NULL AND p_everything AND c.last_tx_id / 100000000000 <> ALL (p_archived))
            THEN 'its last movement is not there'
        WHEN l.card_id <> c.id THEN format('its last movement, %s, is another card''s', l.tx_no)
        WHEN l.balance_after <> c.balance THEN format('balance %s, but its last movement, %s, left %s', c.balance, l.tx_no, l.balance_after)
        WHEN l.card_seq <> c.card_seq OR l.posted_at <> c.last_posted_at OR s.top > c.card_seq
            THEN format('says its last movement is number %s (%s), but that is not the last', c.card_seq, l.tx_no)
        WHEN p_everything AND cardinality(p_archived) = 0 AND (s.total <> c.balance OR s.movements <> c.card_seq)
            THEN format('balance %s after %s movements, but %s movements sum up to %s', c.balance, c.card_seq, s.movements, s.total)
        END AS what) x
    WHERE x.what IS NOT NULL
$rule$;
COMMENT ON FUNCTION sec.books_balances(timestamptz, timestamptz, bigint[], boolean) IS
    'Cards whose balance is not what their movements make of it. Internal: sec.books_rules().';
