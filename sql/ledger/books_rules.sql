-- What app.verify_books() checks: each rule with the query that finds what breaks it, and cheap proofs that nothing does.

CREATE FUNCTION sec.books_rules() RETURNS TABLE (place integer, checks text[], finds text)
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $rules$
    -- Each query finds what breaks its checks: (check, what). They may read the WITH queries of verify_books and
    --   $1, $2  from and before when (created_at; -infinity, infinity)    $3  the archived months, as yymm
    --   $4  whether everything is asked for    $5  events happen before it    $6, $7  the same as $1, $2, by whole months
    --   $8  lowest id whose key must be known ($9 is the checks)    $10, $11  lowest and one above the highest id of $1 to $2
    --   $12, $13  the same of $6 to $7    $14  the first days of archived months whose points are not in this database any more
    -- {month ID} is the first moment of the month that an id names, or NULL: as a bound it leaves one partition to look in.
    SELECT * FROM (VALUES
    (1, ARRAY['balances'], $q$
        , lasts AS MATERIALIZED (SELECT m.* FROM moved m WHERE m.id IN (SELECT c.last_tx_id FROM cards c))
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
            WHEN c.last_tx_id IS NULL OR (l.id IS NULL AND $4 AND c.last_tx_id / 100000000000 <> ALL ($3)) THEN 'its last movement is not there'
            WHEN l.card_id <> c.id THEN format('its last movement, %s, is another card''s', l.tx_no)
            WHEN l.balance_after <> c.balance THEN format('balance %s, but its last movement, %s, left %s', c.balance, l.tx_no, l.balance_after)
            WHEN l.card_seq <> c.card_seq OR l.posted_at <> c.last_posted_at OR s.top > c.card_seq
                THEN format('says its last movement is number %s (%s), but that is not the last', c.card_seq, l.tx_no)
            WHEN $4 AND cardinality($3) = 0 AND (s.total <> c.balance OR s.movements <> c.card_seq)
                THEN format('balance %s after %s movements, but %s movements sum up to %s', c.balance, c.card_seq, s.movements, s.total)
            END AS what) x
        WHERE x.what IS NOT NULL$q$),
    (2, ARRAY['sequence', 'running_balance', 'posted_at', 'links'], $q$
        , linked AS (
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
            SELECT o.*, c.card_no, p.id AS p_id, p.tx_no AS p_no, p.card_id AS p_card, p.card_seq AS p_seq, s.card_id AS s_card, s.card_seq AS s_seq,
                   CASE WHEN o.b_seq = o.card_seq - 1 THEN o.b_balance ELSE p.balance_after END AS was,
                   CASE WHEN o.b_seq = o.card_seq - 1 THEN o.b_posted ELSE p.posted_at END AS was_posted,
                   coalesce(o.prev_tx_id / 100000000000 = ANY ($3), false) AS p_archived,
                   coalesce(o.skip_tx_id / 100000000000 = ANY ($3), false) AS s_archived
            FROM odd o
            LEFT JOIN cards c ON c.id = o.card_id
            LEFT JOIN app.transactions p ON p.id = o.prev_tx_id AND p.status = 'completed'
                AND p.created_at >= {month o.prev_tx_id} AND p.created_at < {month o.prev_tx_id} + interval '1 month'
            LEFT JOIN app.transactions s ON s.id = o.skip_tx_id AND s.status = 'completed'
                AND s.created_at >= {month o.skip_tx_id} AND s.created_at < {month o.skip_tx_id} + interval '1 month')
        SELECT x.rule, format('%s: %s %s', coalesce(s.card_no, 'card ' || s.card_id), s.tx_no, x.what)
        FROM seen s CROSS JOIN LATERAL (
            SELECT 'sequence' AS rule, CASE
                WHEN s.card_seq < 1 THEN format('is number %s', s.card_seq)
                WHEN s.b_seq = s.card_seq THEN format('is number %s, and so is another movement', s.card_seq)
                WHEN s.card_seq > 1 AND s.prev_tx_id IS NULL THEN format('is number %s, but follows nothing', s.card_seq)
                WHEN s.card_seq > 1 AND s.p_id IS NULL AND NOT s.p_archived AND s.b_seq IS DISTINCT FROM s.card_seq - 1
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
                WHEN s.card_seq > 1 AND (s.p_card <> s.card_id OR s.p_seq >= s.card_seq OR (s.b_seq = s.card_seq - 1 AND s.b_id <> s.prev_tx_id))
                    THEN format('names %s as the movement before it, which is not', coalesce(s.p_no, s.prev_tx_id::text)) END
            UNION ALL
            SELECT 'links', CASE
                WHEN s.card_seq % 64 <> 0 OR s.card_seq = 64 THEN
                    CASE WHEN s.skip_tx_id IS NOT NULL THEN format('is number %s, but has a link 64 back', s.card_seq) END
                WHEN s.s_archived THEN NULL
                WHEN s.s_card IS DISTINCT FROM s.card_id OR s.s_seq IS DISTINCT FROM s.card_seq - 64
                    THEN format('does not lead to number %s, 64 back', s.card_seq - 64) END) x
        WHERE x.what IS NOT NULL$q$),
    (3, ARRAY['amounts', 'numbers'], $q$
        , odd AS (
            SELECT t.*, CASE t.tx_type WHEN 'payment' THEN 'ZF' WHEN 'refund' THEN 'TK' WHEN 'recharge' THEN 'CZ' ELSE 'TZ' END
                        || to_char(t.created_at, 'YYMM') AS head,
                   CASE WHEN t.id % 100000000000 < 1000000 THEN lpad((t.id % 100000000000)::text, 6, '0') ELSE (t.id % 100000000000)::text END AS tail
            FROM app.transactions t
            WHERE t.created_at >= $1 AND t.created_at < $2
              -- What nearly every row is: all of the cases below in one cheap condition.
              AND NOT coalesce(
                  t.status = 'completed' AND t.card_seq > 0 AND t.posted_at IS NOT NULL AND t.balance_after >= 0 AND t.final_amount > 0
                  AND t.final_amount = CASE WHEN t.tx_type = 'payment' THEN round(t.raw_amount * t.discount, 2) ELSE t.raw_amount END
                  AND t.tx_no = CASE t.tx_type WHEN 'payment' THEN 'ZF' WHEN 'refund' THEN 'TK' WHEN 'recharge' THEN 'CZ' ELSE 'TZ' END
                                || to_char(t.created_at, 'YYMM')
                                || CASE WHEN t.id % 100000000000 < 1000000 THEN lpad((t.id % 100000000000)::text, 6, '0') ELSE (t.id % 100000000000)::text END
                  AND to_char(t.created_at, 'YYMM')::bigint = t.id / 100000000000, false))
        SELECT x.rule, format('%s %s', o.tx_no, x.what) FROM odd o CROSS JOIN LATERAL (
            SELECT 'amounts' AS rule, CASE
                WHEN num_nonnulls(o.card_seq, o.posted_at, o.balance_after) <> CASE WHEN o.status = 'completed' THEN 3 ELSE 0 END
                    THEN format('is %s, and yet %s', o.status, CASE WHEN o.status = 'completed' THEN 'not posted' ELSE 'posted' END)
                WHEN o.final_amount = 0 OR (o.final_amount < 0 AND o.tx_type <> 'adjustment') OR o.balance_after < 0
                    THEN format('moves %s and leaves %s', o.final_amount, o.balance_after)
                WHEN o.final_amount <> CASE WHEN o.tx_type = 'payment' THEN round(o.raw_amount * o.discount, 2) ELSE o.raw_amount END
                    THEN format('moves %s, but %s at %s is asked for', o.final_amount, o.raw_amount, o.discount)
                END AS what
            UNION ALL
            SELECT 'numbers', CASE
                WHEN (o.id / 100000000000)::text <> ltrim(to_char(o.created_at, 'YYMM'), '0')
                    THEN format('of %s has the id %s, of another month', to_char(o.created_at, 'YYYY-MM'), o.id)
                WHEN o.tx_no <> o.head || o.tail THEN format('is not the number of %s %s', o.tx_type, o.id) END) x
        WHERE x.what IS NOT NULL
        UNION ALL
        -- A number follows from id and type, and an id is one month's, so that no number is there twice as long as each
        -- month has its primary key.
        SELECT 'numbers', format('%s has no primary key', i.inhrelid::regclass) FROM pg_inherits i
        WHERE i.inhparent IN ('app.transactions'::regclass, 'app.point_ledger'::regclass, 'audit.event_log'::regclass)
          AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = i.inhrelid AND x.indisprimary AND x.indisvalid)$q$),
    (4, ARRAY['points', 'point_ledger'], $q$
        , chain AS (
            SELECT l.card_id, l.point_seq, l.created_at, l.change, l.balance_after, l.tx_no,
                   lag(l.point_seq) OVER w AS b_seq, lag(l.balance_after) OVER w AS b_points, lead(l.point_seq) OVER w AS next_seq
            FROM app.point_ledger l WHERE l.created_at >= $1 AND l.created_at < $2
            WINDOW w AS (PARTITION BY l.card_id ORDER BY l.point_seq)),
        odd AS (
            SELECT l.card_id, l.point_seq, x.what
            FROM chain l
            -- The entry before is not among these where it was asked for earlier, but booked later, or lies in an archived month.
            CROSS JOIN LATERAL (SELECT CASE
                WHEN l.point_seq = coalesce(l.b_seq, 0) + 1 THEN coalesce(l.b_points, 0)
                WHEN l.b_seq < l.point_seq
                    THEN (SELECT p.balance_after FROM ledgers p WHERE p.card_id = l.card_id AND p.point_seq = l.point_seq - 1 LIMIT 1)
                END AS was) b
            CROSS JOIN LATERAL (SELECT CASE
                WHEN l.b_seq IS NULL AND l.point_seq > 1 AND (NOT $4 OR cardinality($3) > 0) THEN NULL
                WHEN b.was IS NULL AND (l.b_seq < l.point_seq AND l.created_at > ANY ($14)) IS NOT TRUE
                    THEN format('entry %s follows entry %s', l.point_seq, coalesce(l.b_seq, 0))
                WHEN l.balance_after <> b.was + l.change
                    THEN format('entry %s left %s points, but %s and %s are %s', l.point_seq, l.balance_after, b.was, l.change,
                                b.was + l.change)
                END AS what) x
            WHERE x.what IS NOT NULL)
        SELECT 'point_ledger', format('%s: %s', coalesce(c.card_no, 'card ' || o.card_id), o.what)
        FROM odd o LEFT JOIN app.personal_cards c ON c.id = o.card_id
        UNION ALL
        SELECT 'points', format('%s: %s points after %s changes, but the ledger''s last entry, %s, left %s', coalesce(c.card_no, 'card ' || l.card_id),
                                c.points, c.point_seq, coalesce(l.point_seq::text, 'none'), coalesce(l.balance_after, 0))
        FROM app.personal_cards c
        FULL JOIN (SELECT h.card_id, h.point_seq, h.balance_after FROM chain h WHERE h.next_seq IS NULL) l ON l.card_id = c.id
        -- Without the whole ledger, only cards with an entry in it can be compared; and a range may end before the last.
        WHERE CASE WHEN l.card_id IS NULL THEN $4 AND cardinality($3) = 0 AND (c.points, c.point_seq) <> (0, 0)
                   WHEN c.id IS NULL THEN true
                   WHEN $4 AND c.point_seq > l.point_seq AND cardinality($3) > 0
                       THEN c.points IS DISTINCT FROM coalesce(
                           (SELECT p.balance_after FROM ledgers p WHERE p.card_id = c.id AND p.point_seq = c.point_seq LIMIT 1),
                           CASE WHEN cardinality($14) > 0 THEN c.points END)
                   WHEN $4 THEN (c.points, c.point_seq) <> (l.balance_after, l.point_seq)
                   ELSE c.point_seq < l.point_seq OR (c.point_seq = l.point_seq AND c.points <> l.balance_after) END$q$),
    (5, ARRAY['points_of_transactions'], $q$
        SELECT 'points_of_transactions', CASE
            WHEN t.tx_no IS NULL THEN format('%s: the ledger has %s points for it, but there is no such transaction', l.tx_no, l.points)
            ELSE format('%s: %s points, but the ledger has %s for it', t.tx_no, t.points_earned, coalesce(l.points, 0)) END
        FROM (SELECT t.tx_no, t.card_id, t.tx_type, t.points_earned FROM app.transactions t
              WHERE t.status = 'completed' AND t.created_at >= $1 AND t.created_at < $2) t
        FULL JOIN (SELECT l.tx_no, l.card_id, sum(l.change) AS points, count(*) AS entries FROM app.point_ledger l
                   WHERE l.tx_no IS NOT NULL AND l.created_at >= $1 AND l.created_at < $2 GROUP BY l.tx_no, l.card_id) l ON l.tx_no = t.tx_no
        WHERE t.tx_no IS NULL
           OR (t.tx_type IN ('payment', 'refund') AND t.points_earned <> coalesce(l.points, 0))
           OR l.entries > 1 OR l.card_id <> t.card_id$q$),
    (6, ARRAY['refunds', 'refund_points', 'refund_chain'], $q$
        , refunds AS (
            -- Refunds come after their payment, in whatever later month.
            SELECT t.id, t.tx_no, t.original_tx_no, t.created_at, t.final_amount, t.points_earned, t.refundable_left, t.refund_chain_id, t.merchant_id,
                   CASE WHEN t.original_tx_no ~ '^ZF[0-9]{10,15}$'
                        THEN substr(t.original_tx_no, 3, 4)::bigint * 100000000000 + substr(t.original_tx_no, 7)::bigint END AS payment_id
            FROM app.transactions t WHERE t.tx_type = 'refund' AND t.status = 'completed' AND t.created_at >= $1),
        -- What is left shrinks with every refund: their order, also where the month turned between two of them.
        running AS (
            SELECT r.*, sum(r.final_amount) OVER w AS so_far, lag(r.id) OVER w AS before, lead(r.id) OVER w AS after
            FROM refunds r WINDOW w AS (PARTITION BY r.payment_id ORDER BY r.refundable_left DESC NULLS FIRST, r.id)),
        paid AS (
            SELECT t.id, t.tx_no, t.created_at, t.final_amount, t.refunded_amount, t.points_earned, t.refund_chain_id, t.merchant_id FROM app.transactions t
            WHERE t.tx_type = 'payment' AND t.status = 'completed' AND t.created_at >= $1 AND t.created_at < $2
              AND (t.refunded_amount IS DISTINCT FROM 0 OR t.refund_chain_id IS NOT NULL)),
        -- Releases before 0.3.0 could archive a month and leave an older one, whose payments then miss refunds.
        sums AS (
            SELECT r.payment_id, sum(r.final_amount) AS total, sum(r.points_earned) AS points,
                   max(r.id) FILTER (WHERE r.after IS NULL) AS last_id,
                   bool_or(coalesce(r.refund_chain_id / 100000000000 = ANY ($3), false)) AS has_gap
            FROM running r GROUP BY r.payment_id),
        sides AS (
            SELECT p.*, s.total, s.points, s.last_id, coalesce(p.refund_chain_id / 100000000000 = ANY ($3), false) AS last_archived,
                   coalesce(s.has_gap, false) OR coalesce(p.refund_chain_id / 100000000000 = ANY ($3), false) AS has_gap
            FROM paid p LEFT JOIN sums s ON s.payment_id = p.id),
        -- Nearly every refund has its payment among those that know of a refund. What has not is looked for.
        lost AS MATERIALIZED (
            SELECT r.* FROM refunds r
            WHERE r.created_at < $2 AND (r.payment_id / 100000000000 = ANY ($3)) IS NOT TRUE
              AND NOT EXISTS (SELECT FROM paid q WHERE q.id = r.payment_id AND q.merchant_id = r.merchant_id
                                AND q.created_at >= {month r.payment_id} AND q.created_at < {month r.payment_id} + interval '1 month'))
        SELECT x.rule, x.what FROM sides p CROSS JOIN LATERAL (
            SELECT 'refunds' AS rule, CASE
                WHEN CASE WHEN p.has_gap THEN p.refunded_amount < coalesce(p.total, 0)
                          ELSE p.refunded_amount IS DISTINCT FROM coalesce(p.total, 0) END
                    THEN format('%s: %s refunded, but its refunds sum up to %s', p.tx_no, p.refunded_amount, coalesce(p.total, 0))
                WHEN p.total > p.final_amount THEN format('%s: %s refunded of %s', p.tx_no, p.total, p.final_amount) END AS what
            UNION ALL
            SELECT 'refund_points', CASE
                WHEN NOT p.has_gap AND -p.points <> div(p.points_earned * least(p.total, p.final_amount), p.final_amount)
                THEN format('%s: %s of %s points taken back for %s of %s', p.tx_no, -p.points, p.points_earned, p.total, p.final_amount) END
            UNION ALL
            SELECT 'refund_chain', CASE WHEN NOT p.last_archived AND p.refund_chain_id IS DISTINCT FROM p.last_id
                THEN format('%s: does not lead to its latest refund', p.tx_no) END) x
        WHERE x.what IS NOT NULL
        UNION ALL
        SELECT 'refund_chain', CASE WHEN NOT p.has_gap AND r.refundable_left IS DISTINCT FROM p.final_amount - r.so_far
            THEN format('%s: says that %s were left of %s', r.tx_no, r.refundable_left, p.tx_no)
            ELSE format('%s: does not lead to the refund of %s before it', r.tx_no, p.tx_no) END
        FROM running r JOIN sides p ON p.id = r.payment_id
        WHERE (NOT p.has_gap AND r.refundable_left IS DISTINCT FROM p.final_amount - r.so_far)
           OR (r.refund_chain_id IS DISTINCT FROM r.before AND (r.refund_chain_id / 100000000000 = ANY ($3)) IS NOT TRUE)
        UNION ALL
        SELECT 'refunds', CASE WHEN p.id IS NULL THEN format('%s: its payment %s is not there', r.tx_no, coalesce(r.original_tx_no, '?'))
                               ELSE format('%s: nothing refunded, but %s refunds it', p.tx_no, r.tx_no) END
        FROM lost r LEFT JOIN app.transactions p ON p.id = r.payment_id AND p.tx_type = 'payment' AND p.status = 'completed'
            AND p.merchant_id = r.merchant_id AND p.created_at >= {month r.payment_id} AND p.created_at < {month r.payment_id} + interval '1 month'
        WHERE p.id IS NULL OR (p.refunded_amount = 0 AND p.refund_chain_id IS NULL)$q$),
    (7, ARRAY['audit'], $q$
        , events AS (
            SELECT e.object_id, count(*) AS events, min(e.id) AS id, min(e.action) AS action, min(e.context ->> 'change') AS change
            FROM audit.event_log e
            WHERE e.object_type = 'transaction' AND e.action IN ('payment', 'refund', 'recharge', 'adjustment')
              AND e.happened_at >= $1 AND e.happened_at < $5
            GROUP BY e.object_id)
        SELECT 'audit', x.what FROM moved m FULL JOIN events e ON e.object_id = m.tx_no CROSS JOIN LATERAL (SELECT CASE
            -- That of a recharge is of when it was confirmed; the call may have begun in the month before.
            WHEN e.object_id IS NULL AND m.tx_type = 'recharge' AND (to_char(m.posted_at, 'YYMM')::bigint = ANY ($3)
                    OR to_char(m.posted_at - interval '1 day', 'YYMM')::bigint = ANY ($3)) THEN NULL
            WHEN e.object_id IS NULL THEN format('%s: no event', m.tx_no)
            -- One of before the range, posted or audited within it; or of after it.
            WHEN m.tx_no IS NULL THEN CASE WHEN e.object_id !~ '^(ZF|TK|CZ|TZ)[0-9]{10,15}$' OR (
                    substr(e.object_id, 3, 4)::bigint <> ALL ($3)
                    AND (SELECT count(*) FROM app.transactions t
                         WHERE t.tx_no = e.object_id AND t.status = 'completed'
                           AND t.id = substr(e.object_id, 3, 4)::bigint * 100000000000 + substr(e.object_id, 7)::bigint
                           AND t.created_at >= {month substr(e.object_id, 3, 4)::bigint * 100000000000}
                           AND t.created_at < {month substr(e.object_id, 3, 4)::bigint * 100000000000} + interval '1 month') = 0)
                THEN format('%s: event %s, but there is no such movement', e.object_id, e.id) END
            WHEN e.events > 1 THEN format('%s: %s events', m.tx_no, e.events)
            WHEN e.action <> m.tx_type::text THEN format('%s: event %s says %s', m.tx_no, e.id, e.action)
            WHEN e.change IS DISTINCT FROM m.change::text
                THEN format('%s: event %s says %s, the movement %s', m.tx_no, e.id, coalesce(e.change, '?'), m.change)
            END AS what) x
        WHERE x.what IS NOT NULL$q$),
    (8, ARRAY['keys'], $q$
        , asked AS NOT MATERIALIZED (SELECT t.id, t.tx_no, t.tx_type, t.merchant_id, t.idempotency_key FROM app.transactions t
                    WHERE t.created_at >= $6 AND t.created_at < $7 AND t.id >= $10 AND t.id < $11),
        keys AS NOT MATERIALIZED (SELECT k.* FROM app.idempotency_keys k
                 WHERE k.ref_id >= CASE WHEN k.operation = 13 THEN $12 ELSE $10 END AND k.ref_id < CASE WHEN k.operation = 13 THEN $13 ELSE $11 END
                   AND (cardinality($3) = 0 OR k.ref_id / 100000000000 <> ALL ($3)))
        SELECT 'keys', format('%s: its key is not remembered', a.tx_no)
        FROM asked a LEFT JOIN keys k ON k.ref_id = a.id AND k.idempotency_key = a.idempotency_key
        WHERE a.idempotency_key IS NOT NULL AND a.id >= $8 AND k.ref_id IS NULL
        UNION ALL
        SELECT 'keys', format('key %L of scope %s/%s: %s', left(k.idempotency_key, 40), k.operation, k.scope_no,
                              CASE WHEN a.id IS NULL THEN format('there is no transaction %s', k.ref_id) ELSE 'leads to ' || a.tx_no END)
        FROM keys k LEFT JOIN asked a ON a.id = k.ref_id
        WHERE k.operation <> 13
          AND (a.id IS NULL
               OR a.tx_type <> CASE WHEN k.operation = 1 THEN 'payment' WHEN k.operation = 2 THEN 'refund'
                                    WHEN k.operation IN (3, 11, 21) THEN 'recharge' ELSE 'adjustment' END::app.tx_type
               OR (k.operation IN (1, 2, 3) AND a.merchant_id IS DISTINCT FROM k.scope_no))
        UNION ALL
        SELECT 'keys', format('key %L of scope 13/%s: there is no such change of points', left(k.idempotency_key, 40), k.scope_no)
        FROM keys k
        LEFT JOIN app.personal_cards c ON c.card_no = 'VIP' || lpad(k.scope_no::text, greatest(8, length(k.scope_no::text)), '0')
        LEFT JOIN app.point_ledger l ON l.card_id = c.id AND l.point_seq = k.ref_id % 100000000000 AND l.created_at >= $6 AND l.created_at < $7
        WHERE k.operation = 13 AND l.card_id IS NULL$q$),
    (9, ARRAY['orders'], $q$
        , asked AS NOT MATERIALIZED (SELECT t.id, t.tx_no, t.tx_type, t.merchant_id, t.external_order_id, t.gateway_trade_no FROM app.transactions t
                    WHERE t.created_at >= $6 AND t.created_at < $7 AND t.id >= $10 AND t.id < $11
                      AND (t.external_order_id IS NOT NULL OR t.gateway_trade_no IS NOT NULL)),
        orders AS NOT MATERIALIZED (SELECT o.* FROM app.external_orders o
                   WHERE o.tx_id > 0 AND o.tx_id >= $10 AND o.tx_id < $11 AND (cardinality($3) = 0 OR o.tx_id / 100000000000 <> ALL ($3)))
        SELECT 'orders', format('%s: its order id is not remembered', a.tx_no)
        FROM asked a
        WHERE a.external_order_id IS NOT NULL AND (a.tx_type <> 'payment' OR a.id >= $8)
          AND NOT EXISTS (SELECT FROM orders o WHERE o.tx_id = a.id AND o.order_id = a.external_order_id AND o.scope <> 3)
          -- A recharge that came to nothing gives its order to the one that is asked for again.
          AND NOT (a.tx_type = 'recharge'
                   AND EXISTS (SELECT FROM app.external_orders o WHERE o.order_id = a.external_order_id AND o.scope IN (4, 5) AND o.tx_id > a.id))
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
                                CASE WHEN EXISTS (SELECT FROM app.external_orders x WHERE x.scope_no = 0 AND x.scope = 3 AND x.order_id = o.order_id)
                                     THEN 'credited another recharge, too, before 0.3.0' ELSE 'is claimed as before 0.3.0: SELECT app.migrate()' END)
        FROM orders o LEFT JOIN asked a ON a.id = o.tx_id WHERE o.scope = 3 AND o.scope_no <> 0$q$),
    (10, ARRAY['compensations'], $q$
        , adjusted AS (SELECT t.id, t.tx_no, t.card_id, t.original_tx_no, t.final_amount FROM app.transactions t
                       WHERE t.tx_type = 'adjustment' AND t.status = 'completed' AND t.created_at >= $1 AND t.created_at < $2)
        SELECT 'compensations', format('%s: %s', k.compensation_tx_no,
                                       CASE WHEN a.tx_no IS NULL THEN 'there is no such adjustment'
                                            ELSE format('%s for %s, but the adjustment is %s for %s', k.amount, k.tx_no, a.final_amount, a.original_tx_no) END)
        FROM (SELECT k.*, CASE WHEN k.compensation_tx_no ~ '^TZ[0-9]{10,15}$'
                          THEN substr(k.compensation_tx_no, 3, 4)::bigint * 100000000000 + substr(k.compensation_tx_no, 7)::bigint END AS id
              FROM app.transaction_compensations k WHERE k.created_at >= $1 AND k.created_at < $2) k
        LEFT JOIN app.transactions a ON a.id = k.id AND a.tx_type = 'adjustment' AND a.status = 'completed'
            AND a.created_at >= {month k.id} AND a.created_at < {month k.id} + interval '1 month'
        WHERE (k.id / 100000000000 = ANY ($3)) IS NOT TRUE AND (a.final_amount, a.original_tx_no) IS DISTINCT FROM (k.amount, k.tx_no)
        UNION ALL
        -- The others come in pairs: a card was replaced.
        SELECT 'compensations', format('%s: nobody noted why', a.tx_no)
        FROM adjusted a
        WHERE NOT EXISTS (SELECT FROM app.transaction_compensations k WHERE k.compensation_tx_no = a.tx_no)
          AND NOT EXISTS (
              SELECT FROM adjusted b
              JOIN app.personal_cards o ON o.id = CASE WHEN a.final_amount < 0 THEN a.card_id ELSE b.card_id END
              WHERE b.tx_no = a.original_tx_no AND b.original_tx_no = a.tx_no AND b.final_amount = -a.final_amount
                AND o.replaced_by = CASE WHEN a.final_amount < 0 THEN b.card_id ELSE a.card_id END)$q$),
    -- Few rows: looked at whole, whatever the range.
    (11, ARRAY['suspense', 'pending'], $q$
        , claimed AS (
            SELECT s.id, s.gateway_trade_no, s.amount, s.status, s.credited_tx_no, o.tx_id,
                   CASE WHEN s.credited_tx_no ~ '^CZ[0-9]{10,15}$'
                        THEN substr(s.credited_tx_no, 3, 4)::bigint * 100000000000 + substr(s.credited_tx_no, 7)::bigint END AS credited_id
            FROM app.suspense_payments s
            LEFT JOIN app.external_orders o ON o.scope_no = 0 AND o.scope = 3 AND o.order_id = s.gateway_trade_no)
        SELECT 'suspense', format('row %s, trade number %L: %s', c.id, left(c.gateway_trade_no, 40), x.what)
        FROM claimed c
        LEFT JOIN app.transactions t ON t.id = c.credited_id AND t.tx_type = 'recharge' AND t.status = 'completed'
            AND t.created_at >= {month c.credited_id} AND t.created_at < {month c.credited_id} + interval '1 month'
        CROSS JOIN LATERAL (SELECT CASE
            WHEN c.tx_id IS NULL THEN 'is not claimed'
            WHEN c.status <> 'credited' THEN CASE WHEN c.tx_id <> -c.id THEN format('is %s, but its trade number belongs to %s', c.status, c.tx_id) END
            WHEN c.tx_id <> c.credited_id THEN format('was credited by %s, but its trade number belongs to %s', c.credited_tx_no, c.tx_id)
            WHEN c.credited_id / 100000000000 = ANY ($3) THEN NULL
            WHEN t.id IS NULL THEN format('was credited by %s, which is not there', c.credited_tx_no)
            WHEN t.gateway_trade_no IS DISTINCT FROM c.gateway_trade_no OR t.final_amount <> c.amount
                THEN format('was credited by %s, which says %s of %s', t.tx_no, t.final_amount, coalesce(t.gateway_trade_no, 'nothing'))
            END AS what) x
        WHERE x.what IS NOT NULL
        UNION ALL
        SELECT 'suspense', format('trade number %L belongs to row %s, which is not there', left(o.order_id, 40), -o.tx_id)
        FROM app.external_orders o
        WHERE o.tx_id < 0 AND NOT EXISTS (SELECT FROM app.suspense_payments s WHERE s.id = -o.tx_id AND s.gateway_trade_no = o.order_id AND o.scope = 3)
        UNION ALL
        SELECT 'pending', format('%s: %s', coalesce(t.tx_no, r.tx_id::text),
                                 CASE WHEN r.tx_id IS NULL THEN 'waits, but is not counted'
                                      WHEN t.id IS NULL THEN 'is counted, but does not wait' ELSE 'is counted for another card' END)
        FROM app.pending_recharges r FULL JOIN (SELECT t.* FROM app.transactions t WHERE t.status = 'processing') t ON t.id = r.tx_id
        WHERE r.tx_id IS NULL OR t.id IS NULL OR r.card_id <> t.card_id$q$),
    (12, ARRAY['late_postings'], $q$
        , late AS (
            SELECT l.* FROM app.late_postings l
            WHERE l.created_at >= $1 AND l.created_at < $2 AND l.tx_id / 100000000000 <> ALL ($3)),
        posted AS (
            SELECT t.id, t.tx_no, t.merchant_id, t.card_id, t.member_id, t.created_at, t.posted_at FROM app.transactions t
            WHERE t.created_at >= $1 AND t.created_at < $2 AND date_trunc('month', t.posted_at) <> date_trunc('month', t.created_at))
        SELECT 'late_postings', format('%s: %s', coalesce(p.tx_no, 'id ' || l.tx_id),
                                       CASE WHEN l.tx_id IS NULL THEN 'was posted in another month, but is not noted: SELECT app.migrate()'
                                            WHEN p.id IS NULL THEN 'is noted, but was not posted in another month'
                                            ELSE 'is noted otherwise than it is' END)
        FROM posted p FULL JOIN late l ON l.tx_id = p.id
        WHERE (p.merchant_id, p.card_id, p.member_id, p.created_at, p.posted_at, p.id)
            IS DISTINCT FROM (l.merchant_id, l.card_id, l.member_id, l.created_at, l.posted_at, l.tx_id)$q$),
    (13, ARRAY['closed_months'], $q$
        -- A month that is closed is looked into for those alone who are named.
        SELECT 'closed_months', format('merchant %s has transactions of %s, but is not named for it: CALL app.maintain_partitions()',
                                       x.merchant_id, to_char(x.month, 'YYYY-MM'))
        FROM (SELECT DISTINCT t.merchant_id, date_trunc('month', t.created_at)::date AS month FROM app.transactions t, app.closed_months c
              WHERE t.created_at >= $1 AND t.created_at < $2 AND t.created_at < c.through + interval '1 month' AND t.merchant_id IS NOT NULL) x
        WHERE NOT EXISTS (SELECT FROM app.merchant_months m WHERE m.merchant_id = x.merchant_id AND m.month = x.month)
        UNION ALL
        SELECT 'closed_months', format('member %s used a company card in %s, but is not named for it', x.member_id, to_char(x.month, 'YYYY-MM'))
        FROM (SELECT DISTINCT t.member_id, date_trunc('month', t.created_at)::date AS month FROM app.transactions t, app.closed_months c
              WHERE t.created_at >= $1 AND t.created_at < $2 AND t.created_at < c.through + interval '1 month'
                AND t.member_id IS NOT NULL AND t.card_type = 'enterprise') x
        WHERE NOT EXISTS (SELECT FROM app.member_months m WHERE m.member_id = x.member_id AND m.month = x.month)$q$)
    ) AS r (place, checks, finds)
$rules$;
COMMENT ON FUNCTION sec.books_rules() IS 'The checks of app.verify_books(), and the queries that find what breaks them. Internal.';

CREATE FUNCTION sec.books_proofs() RETURNS TABLE (place integer, sound text)
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $proofs$
    -- To find what breaks a rule, whatever it is, is a matter of sorting everything. These only say whether there is anything
    -- to find: true is a proof that the query of the same place finds nothing; whatever else, that one is asked. Each reads
    -- each table once or twice, and joins by equality and to one side, so that it is hashed and shared among processes.
    -- They are asked when everything is, and only if numbers are as they should be: each id and each tx_no is there once.
    -- They may read the WITH queries of verify_books, and of its parameters those up to $8.
    SELECT * FROM (VALUES
    (2, $q$
        -- Each movement follows the one that it names, or is the one of its card that begins here (the first, or it names one
        -- of an archived month); and there are as many as their numbers say. So none is there twice and none is missing.
        SELECT NOT EXISTS (
                SELECT FROM moved m LEFT JOIN moved b ON b.id = m.prev_tx_id
                WHERE NOT coalesce(
                    (CASE WHEN m.card_seq = 1 THEN m.prev_tx_id IS NULL AND m.balance_after = m.change
                          WHEN b.id IS NULL THEN m.card_seq > 1 AND m.prev_tx_id / 100000000000 = ANY ($3)
                          ELSE b.card_id = m.card_id AND b.card_seq = m.card_seq - 1 AND m.balance_after = b.balance_after + m.change
                               AND m.posted_at > b.posted_at END)
                    AND (m.skip_tx_id IS NULL) = (m.card_seq % 64 <> 0 OR m.card_seq = 64), false))
            AND NOT EXISTS (
                SELECT FROM moved m LEFT JOIN moved b ON b.id = m.skip_tx_id AND b.card_seq % 64 = 0
                WHERE m.skip_tx_id IS NOT NULL AND (m.skip_tx_id / 100000000000 = ANY ($3)) IS NOT TRUE
                  AND (b.card_id = m.card_id AND b.card_seq = m.card_seq - 64) IS NOT TRUE)
            AND NOT EXISTS (
                SELECT FROM moved m GROUP BY m.card_id
                HAVING count(*) <> max(m.card_seq) - min(m.card_seq) + 1
                    OR count(*) FILTER (WHERE m.card_seq = 1 OR m.prev_tx_id / 100000000000 = ANY ($3)) <> 1)$q$),
    (4, $q$
        -- As of movements: each entry follows another or begins, one of each card begins, and there are as many as their numbers say.
        SELECT NOT EXISTS (
            SELECT FROM app.personal_cards c
            FULL JOIN (
                SELECT l.card_id, count(*) AS entries, min(l.point_seq) AS first_seq, max(l.point_seq) AS last_seq,
                       count(*) FILTER (WHERE b.card_id IS NULL) AS begin_here,
                       bool_and(coalesce(CASE WHEN b.card_id IS NOT NULL THEN l.balance_after = b.balance_after + l.change
                                              WHEN l.point_seq = 1 THEN l.balance_after = l.change
                                              ELSE l.point_seq > 1 AND cardinality($3) > 0 END, false)) AS follow,
                       sum(l.change) + sum(l.balance_after - l.change) FILTER (WHERE b.card_id IS NULL) AS points
                FROM app.point_ledger l LEFT JOIN app.point_ledger b ON b.card_id = l.card_id AND b.point_seq = l.point_seq - 1
                GROUP BY l.card_id) l ON l.card_id = c.id
            WHERE CASE WHEN l.card_id IS NULL THEN cardinality($3) = 0 AND (c.points, c.point_seq) <> (0, 0)
                       ELSE (c.id IS NOT NULL AND l.follow AND l.begin_here = 1 AND l.entries = l.last_seq - l.first_seq + 1
                             AND c.point_seq = l.last_seq AND c.points = l.points) IS NOT TRUE END)$q$),
    (5, $q$
        -- Nothing differs, no transaction has met two entries, and every entry has met one.
        SELECT count(*) = (SELECT count(*) FROM moved)
           AND count(l.tx_no) = (SELECT count(l.tx_no) FROM app.point_ledger l)
           AND count(*) FILTER (WHERE (t.tx_type IN ('payment', 'refund') AND t.points_earned <> coalesce(l.change, 0)) OR l.card_id <> t.card_id) = 0
        FROM app.transactions t LEFT JOIN app.point_ledger l ON l.tx_no = t.tx_no
        WHERE t.status = 'completed'$q$),
    (7, $q$
        -- Nothing differs, no movement has met two events, and every event has met one.
        , events AS NOT MATERIALIZED (
            SELECT e.object_id, e.action, e.context ->> 'change' AS change FROM audit.event_log e
            WHERE e.object_type = 'transaction' AND e.action IN ('payment', 'refund', 'recharge', 'adjustment'))
        SELECT count(*) = (SELECT count(*) FROM moved)
           AND count(e.object_id) = (SELECT count(*) FROM events)
           AND count(*) FILTER (WHERE (e.action = m.tx_type::text AND e.change = m.change::text) IS NOT TRUE) = 0
        FROM moved m LEFT JOIN events e ON e.object_id = m.tx_no$q$),
    (8, $q$
        , keys AS NOT MATERIALIZED (SELECT k.* FROM app.idempotency_keys k WHERE cardinality($3) = 0 OR k.ref_id / 100000000000 <> ALL ($3)),
        -- Every key has met the transaction it leads to, every transaction with a key has met it, and they agree.
        met AS (
            SELECT count(k.ref_id) AS keys,
                   count(*) FILTER (WHERE CASE WHEN k.ref_id IS NULL THEN t.idempotency_key IS NOT NULL AND t.id >= $8
                       ELSE (k.idempotency_key = t.idempotency_key
                             AND t.tx_type = CASE WHEN k.operation = 1 THEN 'payment' WHEN k.operation = 2 THEN 'refund'
                                                  WHEN k.operation IN (3, 11, 21) THEN 'recharge' ELSE 'adjustment' END::app.tx_type
                             AND (k.operation NOT IN (1, 2, 3) OR t.merchant_id = k.scope_no)) IS NOT TRUE END) AS odd
            FROM app.transactions t LEFT JOIN keys k ON k.ref_id = t.id AND k.operation <> 13)
        SELECT met.odd = 0 AND met.keys = (SELECT count(*) FROM keys k WHERE k.operation <> 13)
           AND NOT EXISTS (
               SELECT FROM keys k
               LEFT JOIN app.personal_cards c ON c.card_no = 'VIP' || lpad(k.scope_no::text, greatest(8, length(k.scope_no::text)), '0')
               LEFT JOIN app.point_ledger l ON l.card_id = c.id AND l.point_seq = k.ref_id % 100000000000
               WHERE k.operation = 13 AND l.card_id IS NULL)
        FROM met$q$),
    (9, $q$
        , orders AS NOT MATERIALIZED (SELECT o.* FROM app.external_orders o WHERE o.tx_id > 0 AND (cardinality($3) = 0 OR o.tx_id / 100000000000 <> ALL ($3))),
        -- As for keys: first the order ids, then the gateways' trade numbers.
        met AS (
            SELECT count(o.tx_id) AS orders,
                   count(*) FILTER (WHERE CASE WHEN o.tx_id IS NULL THEN t.external_order_id IS NOT NULL AND (t.tx_type <> 'payment' OR t.id >= $8)
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
        FROM met, traded$q$)
    ) AS r (place, sound)
$proofs$;
COMMENT ON FUNCTION sec.books_proofs() IS
    'For rules of sec.books_rules(), by place: a query that proves cheaply that nothing breaks them. Internal.';
