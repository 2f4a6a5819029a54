-- Rules: the ledger of points, and the points of transactions.

CREATE FUNCTION sec.books_points(p_from timestamptz, p_to timestamptz, p_archived bigint[], p_everything boolean, p_away date[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH cards AS (SELECT * FROM sec.books_cards()),
    chain AS (
        SELECT l.card_id, l.point_seq, l.created_at, l.change, l.balance_after, l.tx_no,
               lag(l.point_seq) OVER w AS b_seq, lag(l.balance_after) OVER w AS b_points, lead(l.point_seq) OVER w AS next_seq
        FROM app.point_ledger l WHERE l.created_at >= p_from AND l.created_at < p_to
        WINDOW w AS (PARTITION BY l.card_id ORDER BY l.point_seq)),
    odd AS (
        SELECT l.card_id, l.point_seq, x.what
        FROM chain l
        -- The entry before is not among these where it was asked for earlier, but booked later, or lies in an archived month.
        CROSS JOIN LATERAL (SELECT CASE
            WHEN l.point_seq = coalesce(l.b_seq, 0) + 1 THEN coalesce(l.b_points, 0)
            WHEN l.b_seq < l.point_seq
                THEN sec.points_after(l.card_id, l.point_seq - 1)
            END AS was) b
        CROSS JOIN LATERAL (SELECT CASE
            WHEN l.b_seq IS NULL AND l.point_seq > 1 AND (NOT p_everything OR cardinality(p_archived) > 0) THEN NULL
            WHEN b.was IS NULL AND (l.b_seq < l.point_seq AND l.created_at > ANY (p_away)) IS NOT TRUE
                THEN format('entry %s follows entry %s', l.point_seq, coalesce(l.b_seq, 0))
            WHEN l.balance_after <> b.was + l.change
                THEN format('entry %s left %s points, but %s and %s are %s', l.point_seq, l.balance_after, b.was, l.change,
                            b.was + l.change)
            END AS what) x
        WHERE x.what IS NOT NULL)
    SELECT 'point_ledger', format('%s: %s', coalesce(c.card_no, 'card ' || o.card_id), o.what)
    FROM odd o LEFT JOIN app.personal_cards c ON c.id = o.card_id
    UNION ALL
    SELECT 'points', format('%s: %s points after %s changes, but the ledger''s last entry, %s, left %s',
                            coalesce(c.card_no, 'card ' || l.card_id),
                            c.points, c.point_seq, coalesce(l.point_seq::text, 'none'), coalesce(l.balance_after, 0))
    FROM app.personal_cards c
    FULL JOIN (SELECT h.card_id, h.point_seq, h.balance_after FROM chain h WHERE h.next_seq IS NULL) l ON l.card_id = c.id
    -- Without the whole ledger, only cards with an entry in it can be compared; and a range may end before the last.
    WHERE CASE WHEN l.card_id IS NULL THEN p_everything AND cardinality(p_archived) = 0 AND (c.points, c.point_seq) <> (0, 0)
               WHEN c.id IS NULL THEN true
               WHEN p_everything AND c.point_seq > l.point_seq AND cardinality(p_archived) > 0
                   THEN c.points IS DISTINCT FROM coalesce(
                       sec.points_after(c.id, c.point_seq),
                       CASE WHEN cardinality(p_away) > 0 THEN c.points END)
               WHEN p_everything THEN (c.points, c.point_seq) <> (l.balance_after, l.point_seq)
               ELSE c.point_seq < l.point_seq OR (c.point_seq = l.point_seq AND c.points <> l.balance_after) END
$rule$;
COMMENT ON FUNCTION sec.books_points(timestamptz, timestamptz, bigint[], boolean, date[]) IS
    'Cards whose points are not what the ledger of points makes of them, and gaps in that ledger. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_points_proof(p_archived bigint[])
    RETURNS TABLE (sound boolean)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    -- As of movements: each entry follows another or begins, one of each card begins, and there are as many as their numbers say.
    SELECT NOT EXISTS (
        SELECT FROM app.personal_cards c
        FULL JOIN (
            SELECT l.card_id, count(*) AS entries, min(l.point_seq) AS first_seq, max(l.point_seq) AS last_seq,
                   count(*) FILTER (WHERE b.card_id IS NULL) AS begin_here,
                   bool_and(coalesce(CASE WHEN b.card_id IS NOT NULL THEN l.balance_after = b.balance_after + l.change
                                          WHEN l.point_seq = 1 THEN l.balance_after = l.change
                                          ELSE l.point_seq > 1 AND cardinality(p_archived) > 0 END, false)) AS follow,
                   sum(l.change) + sum(l.balance_after - l.change) FILTER (WHERE b.card_id IS NULL) AS points
            FROM app.point_ledger l LEFT JOIN app.point_ledger b ON b.card_id = l.card_id AND b.point_seq = l.point_seq - 1
            GROUP BY l.card_id) l ON l.card_id = c.id
        WHERE CASE WHEN l.card_id IS NULL THEN cardinality(p_archived) = 0 AND (c.points, c.point_seq) <> (0, 0)
                   ELSE (c.id IS NOT NULL AND l.follow AND l.begin_here = 1 AND l.entries = l.last_seq - l.first_seq + 1
                         AND c.point_seq = l.last_seq AND c.points = l.points) IS NOT TRUE END)
$rule$;
COMMENT ON FUNCTION sec.books_points_proof(bigint[]) IS 'Whether nothing breaks sec.books_points(). Internal: sec.books_rules().';

CREATE FUNCTION sec.books_points_of_transactions(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    SELECT 'points_of_transactions', CASE
        WHEN t.tx_no IS NULL THEN format('%s: the ledger has %s points for it, but there is no such transaction', l.tx_no, l.points)
        ELSE format('%s: %s points, but the ledger has %s for it', t.tx_no, t.points_earned, coalesce(l.points, 0)) END
    FROM (SELECT t.tx_no, t.card_id, t.tx_type, t.points_earned FROM app.transactions t
          WHERE t.posted_at IS NOT NULL AND t.created_at >= p_from AND t.created_at < p_to) t
    FULL JOIN (SELECT l.tx_no, l.card_id, sum(l.change) AS points, count(*) AS entries FROM app.point_ledger l
               WHERE l.tx_no IS NOT NULL AND l.created_at >= p_from AND l.created_at < p_to
               GROUP BY l.tx_no, l.card_id) l ON l.tx_no = t.tx_no
    WHERE t.tx_no IS NULL
       OR (t.tx_type IN ('payment', 'refund') AND t.points_earned <> coalesce(l.points, 0))
       OR l.entries > 1 OR l.card_id <> t.card_id
$rule$;
COMMENT ON FUNCTION sec.books_points_of_transactions(timestamptz, timestamptz) IS
    'Transactions whose points are not those that the ledger has for them. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_points_of_transactions_proof(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (sound boolean)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    -- Nothing differs, no transaction has met two entries, and every entry has met one.
    WITH moved AS NOT MATERIALIZED (SELECT * FROM sec.books_movements(p_from, p_to))
    SELECT count(*) = (SELECT count(*) FROM moved)
       AND count(l.tx_no) = (SELECT count(l.tx_no) FROM app.point_ledger l)
       AND count(*) FILTER (WHERE (t.tx_type IN ('payment', 'refund') AND t.points_earned <> coalesce(l.change, 0))
                               OR l.card_id <> t.card_id) = 0
    FROM app.transactions t LEFT JOIN app.point_ledger l ON l.tx_no = t.tx_no
    WHERE t.posted_at IS NOT NULL
$rule$;
COMMENT ON FUNCTION sec.books_points_of_transactions_proof(timestamptz, timestamptz) IS
    'Whether nothing breaks sec.books_points_of_transactions(). Internal: sec.books_rules().';
