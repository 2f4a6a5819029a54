-- Proof that the books hold: app.verify_books(), the seals over the audit log, and what they need in tables.

-- Tables, trigger and view of this file that are missing; sec.install() calls it before it hands out ownership and
-- row-level security. What DROP EXTENSION ... CASCADE takes (the trigger) is looked for by itself.
CREATE FUNCTION sec.install_books() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    -- Where archived months go. Made here, because mps_owner may not make schemas.
    IF to_regnamespace('mps_archive') IS NULL THEN
        CREATE SCHEMA mps_archive;
        PERFORM sec.strip_schema('mps_archive');
        EXECUTE format('ALTER SCHEMA mps_archive OWNER TO %s', sec.owner());
        COMMENT ON SCHEMA mps_archive IS 'MPS: the tables of archived months';
    END IF;
    IF to_regclass('audit.seals') IS NULL THEN
        CREATE TABLE audit.seals (
            seal_no     bigint      NOT NULL PRIMARY KEY,
            first_id    bigint      NOT NULL,
            last_id     bigint      NOT NULL,
            events      integer     NOT NULL,
            first_at    timestamptz NOT NULL,
            last_at     timestamptz NOT NULL,
            sealed_at   timestamptz NOT NULL,
            ids         bigint[]    NOT NULL,
            digests     bigint[]    NOT NULL,
            events_hash bytea       NOT NULL,
            prev_hash   bytea       NOT NULL,
            hash        bytea       NOT NULL,
            CHECK (cardinality(ids) = events AND cardinality(digests) = events AND events > 0 AND first_id <= last_id)
        );
        COMMENT ON TABLE audit.seals IS 'One seal per batch of up to 1000 audit events, each chained to the one before. Append-only. audit.verify() compares it with the log.';
        COMMENT ON COLUMN audit.seals.first_at IS 'The earliest happened_at of its events; last_at the latest.';
        COMMENT ON COLUMN audit.seals.ids IS 'The ids of its events, ascending.';
        COMMENT ON COLUMN audit.seals.digests IS 'For each id the first 8 bytes of the SHA-256 of everything else in the event: names the event that was changed.';
        COMMENT ON COLUMN audit.seals.events_hash IS 'SHA-256 over id (8 bytes, big-endian) and SHA-256 of each event in the order of ids.';
        COMMENT ON COLUMN audit.seals.prev_hash IS 'hash of the seal before; 32 zero bytes in the first.';
        COMMENT ON COLUMN audit.seals.hash IS 'SHA-256 over everything else in the row; see audit.seal_hash().';
    END IF;
    IF to_regclass('audit.seal_cut') IS NULL THEN
        CREATE TABLE audit.seal_cut (
            singleton boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (singleton),
            up_to     bigint      NOT NULL,
            xid       xid8        NOT NULL,
            noted_at  timestamptz NOT NULL
        );
        COMMENT ON TABLE audit.seal_cut IS 'How far audit.seal() goes next: every transaction that drew an event id up to up_to had an id of its own below xid. Worth nothing in another cluster, and noted anew there.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = 'audit.seals'::regclass AND g.tgname = 'append_only') THEN
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.seals
            FOR EACH STATEMENT EXECUTE FUNCTION sec.append_only();
        ALTER TABLE audit.seals ENABLE ALWAYS TRIGGER append_only;
    END IF;
    IF to_regclass('app.v_reconciliation') IS NULL THEN
        CREATE VIEW app.v_reconciliation WITH (security_invoker = true) AS
            SELECT x.day, m.code AS merchant_code, x.payment_method, x.payments, x.payment_total, x.refunds, x.refund_total,
                   x.recharges, x.recharge_total, x.adjustments, x.adjustment_total,
                   x.recharge_total + x.refund_total + x.adjustment_total - x.payment_total AS net
            FROM (SELECT (t.posted_at AT TIME ZONE 'UTC')::date AS day, t.merchant_id, t.payment_method::text AS payment_method,
                         count(*) FILTER (WHERE t.tx_type = 'payment') AS payments,
                         coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'payment'), 0.00) AS payment_total,
                         count(*) FILTER (WHERE t.tx_type = 'refund') AS refunds,
                         coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'refund'), 0.00) AS refund_total,
                         count(*) FILTER (WHERE t.tx_type = 'recharge') AS recharges,
                         coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'recharge'), 0.00) AS recharge_total,
                         count(*) FILTER (WHERE t.tx_type = 'adjustment') AS adjustments,
                         coalesce(sum(t.final_amount) FILTER (WHERE t.tx_type = 'adjustment'), 0.00) AS adjustment_total
                  FROM app.transactions t WHERE t.status = 'completed' GROUP BY 1, 2, 3) x
                 LEFT JOIN app.merchants m ON m.id = x.merchant_id;
        COMMENT ON VIEW app.v_reconciliation IS 'Completed transactions by day, merchant and payment method: counts and totals in currency units, as far as the reader may see transactions. Archived months are not in it.';
        COMMENT ON COLUMN app.v_reconciliation.day IS 'The UTC date of posted_at.';
        COMMENT ON COLUMN app.v_reconciliation.merchant_code IS 'NULL where no merchant is concerned (or none that the reader may see).';
        COMMENT ON COLUMN app.v_reconciliation.net IS 'What the balances of all cards changed by: recharges + refunds + adjustments - payments.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_books() IS
    'Makes what app.verify_books(), audit.seal() and app.archive_partitions() need, where it is missing. Internal: sec.install() calls it.';

-- The books ---------------------------------------------------------------------------------------------------------------

CREATE FUNCTION sec.books_rules() RETURNS TABLE (place integer, checks text[], finds text)
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $rules$
    -- Each query finds what breaks its checks: (check, what). They may read the two WITH queries of verify_books and
    --   $1, $2  from and before when (created_at; -infinity, infinity)    $3  the archived months, as yymm
    --   $4  whether everything is asked for    $5  events happen before it    $6, $7  the same as $1, $2, by whole months
    --   $8  lowest id whose key must be known ($9 is the checks)    $10, $11  lowest and one above the highest id of $1 to $2
    --   $12, $13  the same of $6 to $7
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
            SELECT l.card_id, l.point_seq, l.change, l.balance_after, l.tx_no,
                   lag(l.point_seq) OVER w AS b_seq, lag(l.balance_after) OVER w AS b_points, lead(l.point_seq) OVER w AS next_seq
            FROM app.point_ledger l WHERE l.created_at >= $1 AND l.created_at < $2
            WINDOW w AS (PARTITION BY l.card_id ORDER BY l.point_seq)),
        odd AS (
            SELECT l.card_id, l.point_seq, x.what FROM chain l CROSS JOIN LATERAL (SELECT CASE
                WHEN l.b_seq IS NULL AND l.point_seq > 1 AND (NOT $4 OR cardinality($3) > 0) THEN NULL
                WHEN l.point_seq <> coalesce(l.b_seq, 0) + 1 THEN format('entry %s follows entry %s', l.point_seq, coalesce(l.b_seq, 0))
                WHEN l.balance_after <> coalesce(l.b_points, 0) + l.change
                    THEN format('entry %s left %s points, but %s and %s are %s', l.point_seq, l.balance_after, coalesce(l.b_points, 0),
                                l.change, coalesce(l.b_points, 0) + l.change)
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
        sums AS (
            SELECT r.payment_id, sum(r.final_amount) AS total, sum(r.points_earned) AS points, max(r.id) FILTER (WHERE r.after IS NULL) AS last_id
            FROM running r GROUP BY r.payment_id),
        -- Nearly every refund has its payment among those that know of a refund. What has not is looked for.
        lost AS MATERIALIZED (
            SELECT r.* FROM refunds r
            WHERE r.created_at < $2 AND (r.payment_id / 100000000000 = ANY ($3)) IS NOT TRUE
              AND NOT EXISTS (SELECT FROM paid q WHERE q.id = r.payment_id AND q.merchant_id = r.merchant_id
                                AND q.created_at >= {month r.payment_id} AND q.created_at < {month r.payment_id} + interval '1 month'))
        SELECT x.rule, x.what FROM paid p LEFT JOIN sums s ON s.payment_id = p.id CROSS JOIN LATERAL (
            SELECT 'refunds' AS rule, CASE
                WHEN p.refunded_amount IS DISTINCT FROM coalesce(s.total, 0) THEN format('%s: %s refunded, but its refunds sum up to %s', p.tx_no, p.refunded_amount, coalesce(s.total, 0))
                WHEN s.total > p.final_amount THEN format('%s: %s refunded of %s', p.tx_no, s.total, p.final_amount) END AS what
            UNION ALL
            SELECT 'refund_points', CASE WHEN -s.points <> div(p.points_earned * least(s.total, p.final_amount), p.final_amount)
                THEN format('%s: %s of %s points taken back for %s of %s', p.tx_no, -s.points, p.points_earned, s.total, p.final_amount) END
            UNION ALL
            SELECT 'refund_chain', CASE WHEN p.refund_chain_id IS DISTINCT FROM s.last_id
                THEN format('%s: does not lead to its latest refund', p.tx_no) END) x
        WHERE x.what IS NOT NULL
        UNION ALL
        SELECT 'refund_chain', CASE WHEN r.refundable_left IS DISTINCT FROM p.final_amount - r.so_far
            THEN format('%s: says that %s were left of %s', r.tx_no, r.refundable_left, p.tx_no)
            ELSE format('%s: does not lead to the refund of %s before it', r.tx_no, p.tx_no) END
        FROM running r JOIN paid p ON p.id = r.payment_id
        WHERE r.refundable_left IS DISTINCT FROM p.final_amount - r.so_far OR r.refund_chain_id IS DISTINCT FROM r.before
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
        SELECT 'orders', format('%s: trade number %L credited another recharge, too, before 0.3.0', coalesce(a.tx_no, o.tx_id::text), left(o.order_id, 40))
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
        SELECT 'pending', format('%s: %s', coalesce(t.tx_no, r.tx_id::text), CASE WHEN r.tx_id IS NULL THEN 'waits, but is not counted'
                                                                             WHEN t.id IS NULL THEN 'is counted, but does not wait' ELSE 'is counted for another card' END)
        FROM app.pending_recharges r FULL JOIN (SELECT t.* FROM app.transactions t WHERE t.status = 'processing') t ON t.id = r.tx_id
        WHERE r.tx_id IS NULL OR t.id IS NULL OR r.card_id <> t.card_id$q$)
    ) AS r (place, checks, finds)
$rules$;
COMMENT ON FUNCTION sec.books_rules() IS 'The checks of app.verify_books(), and the queries that find what breaks them. Internal.';

CREATE FUNCTION sec.books_proofs() RETURNS TABLE (place integer, sound text)
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $proofs$
    -- To find what breaks a rule, whatever it is, is a matter of sorting everything. These only say whether there is anything
    -- to find: true is a proof that the query of the same place finds nothing; whatever else, that one is asked. Each reads
    -- each table once or twice, and joins by equality and to one side, so that it is hashed and shared among processes.
    -- They are asked when everything is, and only if numbers are as they should be: each id and each tx_no is there once.
    -- They may read the two WITH queries of verify_books, and of its parameters those up to $8.
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
            SELECT count(o.tx_id) AS numbers, count(*) FILTER (WHERE (o.order_id = t.gateway_trade_no AND t.tx_type = 'recharge' AND o.scope_no = 0) IS NOT TRUE) AS odd
            FROM app.transactions t LEFT JOIN orders o ON o.tx_id = t.id AND o.scope = 3 WHERE t.gateway_trade_no IS NOT NULL)
        SELECT met.odd = 0 AND met.orders = (SELECT count(*) FROM orders o WHERE o.scope <> 3)
           AND traded.odd = 0 AND traded.numbers = (SELECT count(*) FROM orders o WHERE o.scope = 3)
        FROM met, traded$q$)
    ) AS r (place, sound)
$proofs$;
COMMENT ON FUNCTION sec.books_proofs() IS 'For rules of sec.books_rules(), by place: a query that proves cheaply that nothing breaks them. Internal.';

CREATE FUNCTION app.verify_books(p_from timestamptz DEFAULT NULL, p_to timestamptz DEFAULT NULL)
    RETURNS TABLE (check_name text, ok boolean, detail text)
    -- STABLE: all checks see one moment, and it runs on a standby. Months are those of UTC. A sort of a million rows wants
    -- more memory than a charge.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on SET quote_all_identifiers = off SET timezone = 'UTC' SET work_mem = '128MB' SET jit = off
    SET enable_nestloop = on SET enable_mergejoin = on AS $verify$
DECLARE
    v record;
    v_from timestamptz := coalesce(p_from, '-infinity');
    v_to timestamptz := coalesce(p_to, 'infinity');
    v_months_from timestamptz := date_trunc('month', v_from);
    v_months_to timestamptz := CASE WHEN isfinite(v_to) THEN date_trunc('month', v_to - interval '1 microsecond') + interval '1 month' ELSE v_to END;
    v_everything boolean := p_from IS NULL AND p_to IS NULL;
    v_archived bigint[];
    v_sound boolean;
    v_numbered boolean := false;
    v_found text[];
    v_places integer[] := '{}';
    v_names text[] := '{}';
    v_details text[] := '{}';
    v_events_before timestamptz := 'infinity';
    -- Keys of these months are remembered whatever settings.key_retention_days was in the meantime: 90 days is its least.
    v_keys_from bigint := to_char(now() - interval '90 days', 'YYMM')::bigint * 100000000000;
    v_month_ids_from bigint := CASE WHEN isfinite(v_months_from) THEN to_char(v_months_from, 'YYMM')::bigint * 100000000000 ELSE (-1)::bigint << 62 END;
    v_month_ids_to bigint := CASE WHEN isfinite(v_months_to) THEN to_char(v_months_to, 'YYMM')::bigint * 100000000000 ELSE 1::bigint << 62 END;
    v_ids_from bigint := v_month_ids_from;
    v_ids_to bigint := v_month_ids_to;
    v_with text := $w$
        WITH cards AS (
            SELECT c.id, c.card_no, c.balance, c.card_seq, c.last_tx_id, c.last_posted_at FROM app.personal_cards c
            UNION ALL
            SELECT c.id, c.card_no, c.balance, c.card_seq, c.last_tx_id, c.last_posted_at FROM app.enterprise_cards c),
        moved AS NOT MATERIALIZED (
            SELECT t.id, t.tx_no, t.tx_type, t.card_id, t.card_seq, t.prev_tx_id, t.skip_tx_id, t.posted_at, t.balance_after,
                   CASE t.tx_type WHEN 'payment' THEN -t.final_amount ELSE t.final_amount END AS change
            FROM app.transactions t WHERE t.status = 'completed' AND t.created_at >= $1 AND t.created_at < $2)$w$;
BEGIN
    IF v_from >= v_to THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_from is before p_to');
    END IF;
    SELECT coalesce(array_agg(to_char(a.month, 'YYMM')::bigint), '{}') INTO v_archived FROM app.archived_months a;
    IF isfinite(v_to) THEN
        -- A recharge is audited when it is confirmed, which may be long after it was asked for.
        SELECT greatest(v_to, max(t.posted_at)) + interval '1 hour' INTO v_events_before
        FROM app.transactions t WHERE t.created_at >= v_from AND t.created_at < v_to;
    END IF;
    IF v_everything THEN
        -- Autovacuum makes no statistics of partitioned tables. Without them the planner takes a million rows for a few, and
        -- would look each of them up.
        PERFORM set_config('enable_nestloop', 'off', true), set_config('enable_mergejoin', 'off', true);
    ELSE
        -- Within a month, keys and orders know no time, but numbers: those between the lowest and the highest of the range.
        SELECT CASE WHEN v_from = v_months_from THEN v_month_ids_from ELSE coalesce(min(t.id), 0) END,
               CASE WHEN v_to = v_months_to THEN v_month_ids_to ELSE coalesce(max(t.id) + 1, 0) END
        INTO v_ids_from, v_ids_to
        FROM app.transactions t WHERE t.created_at >= v_from AND t.created_at < v_to;
    END IF;
    -- Numbers first: on them the short proofs build.
    FOR v IN SELECT r.place, r.checks, r.finds, p.sound, 'numbers' = ANY (r.checks) AS is_numbers
             FROM sec.books_rules() r LEFT JOIN sec.books_proofs() p ON p.place = r.place ORDER BY 5 DESC, 1 LOOP
        v_sound := false;
        IF v.sound IS NOT NULL AND v_everything AND v_numbered THEN
            EXECUTE v_with || v.sound INTO v_sound
                USING v_from, v_to, v_archived, v_everything, v_events_before, v_months_from, v_months_to, v_keys_from;
            IF v_sound IS NOT TRUE THEN
                RAISE DEBUG 'no short proof of %', v.checks;
            END IF;
        END IF;
        IF v_sound THEN
            v_found := array_fill('ok'::text, ARRAY[cardinality(v.checks)]);
        ELSE
            EXECUTE
                'SELECT array_agg(y.detail ORDER BY y.place) FROM ('
                || 'SELECT c.place, CASE WHEN count(f.what) = 0 THEN ''ok'' ELSE string_agg(f.what, ''; '' ORDER BY f.what) '
                || '            || CASE WHEN max(f.found) > 10 THEN format(''; and %s more'', max(f.found) - 10) ELSE '''' END END AS detail '
                || 'FROM unnest($9::text[]) WITH ORDINALITY c (name, place) LEFT JOIN ('
                || '    SELECT x.name, x.what, row_number() OVER (PARTITION BY x.name ORDER BY x.what) AS nth, count(*) OVER (PARTITION BY x.name) AS found FROM ('
                || v_with
                || regexp_replace(v.finds, '\{month ([^}]+)\}',
                       'CASE WHEN (\1) / 10000000000000 BETWEEN 0 AND 99 AND (\1) / 100000000000 % 100 BETWEEN 1 AND 12 '
                       || 'THEN make_timestamptz((2000 + (\1) / 10000000000000)::integer, ((\1) / 100000000000 % 100)::integer, 1, 0, 0, 0) END', 'g')
                || ') x (name, what)) f ON f.name = c.name AND f.nth <= 10 GROUP BY c.place, c.name) y'
                INTO v_found
                USING v_from, v_to, v_archived, v_everything, v_events_before, v_months_from, v_months_to, v_keys_from, v.checks,
                      v_ids_from, v_ids_to, v_month_ids_from, v_month_ids_to;
        END IF;
        v_numbered := v_numbered OR (v.is_numbers AND v_found = array_fill('ok'::text, ARRAY[cardinality(v.checks)]));
        v_places := v_places || array_fill(v.place, ARRAY[cardinality(v.checks)]);
        v_names := v_names || v.checks;
        v_details := v_details || v_found;
    END LOOP;
    RETURN QUERY
        SELECT x.name, x.detail = 'ok', x.detail FROM unnest(v_places, v_names, v_details) WITH ORDINALITY x (place, name, detail, nth)
        ORDER BY x.place, x.nth;
END
$verify$;
COMMENT ON FUNCTION app.verify_books(timestamptz, timestamptz) IS
    'Proves the books: one row per check, with up to ten cards or transactions that break it. Of transactions asked for (created_at) from p_from to before p_to; NULL: everything that is not archived. A range reads its months only, so it compares a card with its movements where the last one lies in it; of keys and orders it looks at those whose numbers lie between the range''s. For operators, also on a standby. Errors: INVALID_ARGUMENT.';

-- The seals ---------------------------------------------------------------------------------------------------------------

CREATE FUNCTION audit.event_digest() RETURNS text
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'sha256(convert_to(jsonb_build_array((extract(epoch FROM e.happened_at) * 1000000)::bigint, e.actor_user_id, e.actor_role, '
        || 'e.action, e.object_type, e.object_id, e.context)::text, ''UTF8''))'
$$;
COMMENT ON FUNCTION audit.event_digest() IS
    'The SQL expression for the SHA-256 of an event e without its id: a JSON array of its columns, the time in microseconds since 1970. One text for sealing and verifying; inlined, because a call per event would cost more than the hash. Internal.';

CREATE FUNCTION audit.seal_hash(p_seal_no bigint, p_ids bigint[], p_digests bigint[], p_first_at timestamptz, p_last_at timestamptz, p_sealed_at timestamptz, p_events_hash bytea, p_prev_hash bytea)
    RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sha256(convert_to(jsonb_build_array('mps seal 1', p_seal_no, p_ids, p_digests,
        (extract(epoch FROM p_first_at) * 1000000)::bigint, (extract(epoch FROM p_last_at) * 1000000)::bigint,
        (extract(epoch FROM p_sealed_at) * 1000000)::bigint, encode(p_events_hash, 'hex'), encode(p_prev_hash, 'hex'))::text, 'UTF8'))
$$;
COMMENT ON FUNCTION audit.seal_hash(bigint, bigint[], bigint[], timestamptz, timestamptz, timestamptz, bytea, bytea) IS
    'The hash of a seal: SHA-256 over a JSON array of everything in it and the hash of the seal before. Internal.';

CREATE FUNCTION audit.seal_note() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_up_to bigint;
    v_xid xid8;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_shadows();
    -- One sealer at a time. A lock on a table of our own, because an advisory lock is anybody's to take.
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM audit.seal_cut c WHERE c.xid < pg_snapshot_xmax(pg_current_snapshot())) THEN
        RETURN false;
    END IF;
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'the cut is noted first thing in a transaction: CALL audit.seal()');
    END IF;
    -- Event ids are drawn before the commit, so a lower one may become visible later. Whoever drew one has a transaction id
    -- by then, and all of those are below the one that is taken here, after the sequence was read: once they have ended,
    -- nothing up to up_to can appear any more. (The snapshot's xmax would not do: it is the next after the last one that
    -- ended, and transactions beyond it may be running.)
    SELECT CASE WHEN q.is_called THEN q.last_value ELSE 0 END INTO v_up_to FROM audit.event_id_seq q;
    v_xid := pg_current_xact_id();
    INSERT INTO audit.seal_cut AS c (up_to, xid, noted_at) VALUES (v_up_to, v_xid, clock_timestamp())
    ON CONFLICT (singleton) DO UPDATE SET up_to = excluded.up_to, xid = excluded.xid, noted_at = excluded.noted_at;
    RETURN true;
END
$$;
COMMENT ON FUNCTION audit.seal_note() IS
    'Notes how far audit.seal() may go, unless that is noted already; returns whether it did. Internal. Errors: STATUS_CONFLICT.';

CREATE FUNCTION audit.seal_ready() RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM audit.seal_cut c WHERE pg_snapshot_xmin(pg_current_snapshot()) >= c.xid)
$$;
COMMENT ON FUNCTION audit.seal_ready() IS 'Whether every transaction has ended that could have drawn an event id up to the noted cut. Internal.';

CREATE FUNCTION audit.seal_batch() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on SET quote_all_identifiers = off AS $$
DECLARE
    c_batch_events constant integer := 1000;
    v_up_to bigint;
    v_last_no bigint;
    v_last_id bigint;
    v_last_hash bytea;
    v record;
    v_sealed_at timestamptz := clock_timestamp();
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_shadows();
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    SELECT c.up_to INTO v_up_to FROM audit.seal_cut c WHERE pg_snapshot_xmin(pg_current_snapshot()) >= c.xid;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT s.seal_no, s.last_id, s.hash INTO v_last_no, v_last_id, v_last_hash FROM audit.seals s ORDER BY s.seal_no DESC LIMIT 1;
    EXECUTE format($q$
        SELECT count(*)::integer AS events, min(x.happened_at) AS first_at, max(x.happened_at) AS last_at,
               array_agg(x.id ORDER BY x.id) AS ids,
               array_agg(('x' || encode(substr(x.digest, 1, 8), 'hex'))::bit(64)::bigint ORDER BY x.id) AS digests,
               sha256(string_agg(int8send(x.id) || x.digest, '' ORDER BY x.id)) AS events_hash
        FROM (SELECT e.id, e.happened_at, %s AS digest FROM audit.event_log e WHERE e.id > $1 AND e.id <= $2 ORDER BY e.id LIMIT $3) x
        $q$, audit.event_digest())
        INTO v USING coalesce(v_last_id, 0), v_up_to, c_batch_events;
    IF v.events > 0 THEN
        v_last_hash := coalesce(v_last_hash, decode(repeat('00', 32), 'hex'));
        INSERT INTO audit.seals (seal_no, first_id, last_id, events, first_at, last_at, sealed_at, ids, digests, events_hash, prev_hash, hash)
        VALUES (coalesce(v_last_no, 0) + 1, v.ids[1], v.ids[v.events], v.events, v.first_at, v.last_at, v_sealed_at, v.ids, v.digests, v.events_hash, v_last_hash,
                audit.seal_hash(coalesce(v_last_no, 0) + 1, v.ids, v.digests, v.first_at, v.last_at, v_sealed_at, v.events_hash, v_last_hash));
    END IF;
    IF v.events < c_batch_events THEN
        -- All of it is sealed: the next cut may be noted.
        DELETE FROM audit.seal_cut;
    END IF;
    RETURN v.events;
END
$$;
COMMENT ON FUNCTION audit.seal_batch() IS
    'Seals the next 1000 events up to the noted cut, if that is ready; returns how many. One batch of audit.seal().';

CREATE PROCEDURE audit.seal()
    LANGUAGE plpgsql AS $$
DECLARE
    v_first boolean := true;
    v_events bigint;
BEGIN
    IF pg_catalog.pg_is_in_recovery() THEN
        RAISE NOTICE 'standby: nothing to do';
        RETURN;
    END IF;
    -- Every batch must see what was committed before it, whatever the session's default is: an older snapshot would read the
    -- last seal as it was before the wait for it.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    -- Twice: what an earlier run had to leave, and what has come since.
    FOR v_round IN 1 .. 2 LOOP
        PERFORM audit.seal_note();
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        -- At most three seconds for the transactions that were running; what they hold up is left to the next run.
        FOR v_try IN 1 .. 60 LOOP
            EXIT WHEN audit.seal_ready();
            COMMIT;
            PERFORM pg_catalog.pg_sleep(0.05);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        END LOOP;
        LOOP
            v_events := audit.seal_batch();
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
            EXIT WHEN v_events OPERATOR(pg_catalog.=) 0;
            PERFORM sec.job_batch('seal', v_events, v_first);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
            v_first := false;
        END LOOP;
    END LOOP;
    PERFORM sec.job_batch('seal', 0, v_first);
    COMMIT;
END
$$;
COMMENT ON PROCEDURE audit.seal() IS
    'Seals the audit events of every transaction that has ended: SHA-256, chained in batches of 1000 (audit.seals). Charges neither wait nor pay for it. Safe beside itself. What a long transaction holds up is left to the next run.';

CREATE FUNCTION audit.head() RETURNS TABLE (seal_no bigint, last_event_id bigint, hash text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.seal_no, s.last_id, encode(s.hash, 'hex') FROM audit.seals s ORDER BY s.seal_no DESC LIMIT 1
$$;
COMMENT ON FUNCTION audit.head() IS
    'The last seal: its number, its last event and its hash in hexadecimal. Keep the hash somewhere else: audit.verify(p_head => ...) proves later that nothing before it was changed, not even the seals. No row before the first seal.';

CREATE FUNCTION sec.first_ten(p_findings text[]) RETURNS text
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN cardinality(p_findings) = 0 THEN 'ok'
                ELSE array_to_string(p_findings[1:10], '; ')
                     || CASE WHEN cardinality(p_findings) > 10 THEN format('; and %s more', cardinality(p_findings) - 10) ELSE '' END END
$$;
COMMENT ON FUNCTION sec.first_ten(text[]) IS 'Findings as one line: ok, or the first ten and how many more. Internal.';

CREATE FUNCTION audit.event_logs() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT 'SELECT e.* FROM audit.event_log e' || coalesce(string_agg(format(' UNION ALL SELECT e.* FROM %s e', x.log), '' ORDER BY a.month), '')
    FROM app.archived_months a, LATERAL (SELECT to_regclass('mps_archive.event_log_' || to_char(a.month, 'YYYYMM')) AS log) x
    WHERE x.log IS NOT NULL
$$;
COMMENT ON FUNCTION audit.event_logs() IS 'The query for every event that is in this database, archived months included. Internal.';

CREATE FUNCTION audit.intact_seals(p_seals int8range) RETURNS int8multirange
    -- Joining each seal to a subquery of its own would do without this function, but such a join is never shared among processes.
    LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_intact int8multirange;
BEGIN
    EXECUTE format($q$
        SELECT range_agg(int8range(s.seal_no, s.seal_no, '[]'))
        FROM audit.seals s LEFT JOIN audit.seals b ON b.seal_no = s.seal_no - 1,
             LATERAL (SELECT count(*) AS events, sha256(string_agg(int8send(e.id) || %s, '' ORDER BY e.id)) AS hash FROM (%s) e
                      WHERE e.id > CASE WHEN s.seal_no = 1 THEN -1 ELSE b.last_id END AND e.id <= s.last_id) x
        WHERE s.seal_no >= $1 AND s.seal_no < $2 AND x.events = s.events AND x.hash = s.events_hash
        $q$, audit.event_digest(), audit.event_logs())
        INTO v_intact USING lower(p_seals), upper(p_seals);
    RETURN v_intact;
END
$$;
COMMENT ON FUNCTION audit.intact_seals(int8range) IS
    'Which of these seals have exactly their events between the end of the seal before and their own: the same ids with the same contents, none more and none less. Internal.';

CREATE FUNCTION audit.verify(p_from timestamptz DEFAULT NULL, p_to timestamptz DEFAULT NULL, p_head text DEFAULT NULL)
    RETURNS TABLE (check_name text, ok boolean, detail text)
    -- Seals are few, but each stands for a thousand events to hash: worth several processes.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on SET quote_all_identifiers = off SET timezone = 'UTC' SET work_mem = '64MB' SET jit = off
    SET min_parallel_table_scan_size = 0 AS $verify$
DECLARE
    c_piece constant integer := 16;
    v record;
    v_from timestamptz := coalesce(p_from, '-infinity');
    v_to timestamptz := coalesce(p_to, 'infinity');
    v_found text[] := '{}';
    v_broken bigint[];
    v_intact int8multirange;
    v_same int8multirange;
    v_chosen int8range;
    v_unsure int8multirange := '{}';
    v_missing text[];
    v_missing_at tstzmultirange;
    v_changed text[];
    v_removed text[];
    v_inserted text[];
    v_reordered text[];
    v_events bigint;
    v_seals bigint;
BEGIN
    IF v_from >= v_to THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_from is before p_to');
    END IF;

    SELECT coalesce(array_agg(to_char(a.month, 'YYYY-MM') ORDER BY a.month), '{}'), coalesce(range_agg(tstzrange(a.month, a.month + interval '1 month')), '{}')
    INTO v_missing, v_missing_at
    FROM app.archived_months a WHERE to_regclass('mps_archive.event_log_' || to_char(a.month, 'YYYYMM')) IS NULL;
    SELECT int8range(min(s.seal_no) FILTER (WHERE s.last_at >= v_from), max(s.seal_no) FILTER (WHERE s.first_at < v_to), '[]') INTO v_chosen
    FROM audit.seals s
    HAVING min(s.seal_no) FILTER (WHERE s.last_at >= v_from) <= max(s.seal_no) FILTER (WHERE s.first_at < v_to);
    -- The costly part, and so cut in pieces that several processes can share: which seals are not what their hash says, and
    -- which of the chosen ones have exactly their events. What no piece vouches for, be it because its first seal is gone, is
    -- looked at event by event below. (EXECUTE, because a SELECT ... INTO would ask for two rows, and that is never shared.)
    EXECUTE $q$
        SELECT coalesce(array_agg(x.seal_no) FILTER (WHERE x.whole IS NOT TRUE), '{}'), coalesce(range_agg(x.intact), '{}')
        FROM (SELECT s.seal_no,
                     s.hash = audit.seal_hash(s.seal_no, s.ids, s.digests, s.first_at, s.last_at, s.sealed_at, s.events_hash, s.prev_hash)
                         AND (s.first_id, s.last_id, s.events) = (s.ids[1], s.ids[cardinality(s.ids)], cardinality(s.ids)) AS whole,
                     CASE WHEN s.seal_no % $2 = 1 AND int8range(s.seal_no, s.seal_no + $2) && $1
                          THEN audit.intact_seals(int8range(s.seal_no, s.seal_no + $2) * $1) END AS intact
              FROM audit.seals s OFFSET 0) x$q$
        INTO v_broken, v_intact USING v_chosen, c_piece;

    -- The chain, always all of it: every seal is what its hash says, and follows the one before.
    FOR v IN
        SELECT s.seal_no, s.first_id, s.last_id, coalesce(lag(s.seal_no) OVER w, 0) AS before_no, coalesce(lag(s.last_id) OVER w, 0) AS before_last,
               coalesce(lead(s.first_id) OVER w, s.last_id + 1) AS next_first,
               s.prev_hash = coalesce(lag(s.hash) OVER w, decode(repeat('00', 32), 'hex')) AS follows,
               s.seal_no <> ALL (v_broken) AS whole
        FROM audit.seals s WINDOW w AS (ORDER BY s.seal_no)
    LOOP
        IF v.seal_no <> v.before_no + 1 THEN
            v_found := v_found || format('seal %s follows seal %s: what was between them is missing', v.seal_no, v.before_no);
            v_unsure := v_unsure + int8multirange(int8range(v.before_last, greatest(v.first_id, v.before_last), '()'));
        ELSIF NOT v.follows THEN
            v_found := v_found || format('seal %s does not follow seal %s as that is now', v.seal_no, v.before_no);
        END IF;
        IF NOT v.whole THEN
            -- Whatever it says: its events are those between its neighbours', and cannot be compared with anything.
            v_found := v_found || format('seal %s was changed: events %s to %s cannot be checked', v.seal_no, v.before_last + 1, v.next_first - 1);
            v_unsure := v_unsure + int8multirange(int8range(v.before_last, greatest(v.next_first, v.before_last), '()'));
        END IF;
    END LOOP;
    check_name := 'seals'; ok := cardinality(v_found) = 0; detail := sec.first_ten(v_found);
    RETURN NEXT;

    SELECT count(*) > 0, max(s.seal_no) INTO ok, v_seals FROM audit.seals s
    WHERE s.hash = CASE WHEN p_head ~* '^([0-9a-f]{2})+$' THEN decode(p_head, 'hex') END;
    check_name := 'head';
    detail := CASE WHEN p_head IS NULL THEN 'ok; not checked: no head was given'
                   WHEN ok THEN format('ok; it is seal %s', v_seals) ELSE 'no seal has this hash: these are not the seals that it was taken from' END;
    ok := ok OR p_head IS NULL;
    RETURN NEXT;

    -- The ids between two whole seals, where what is there has the hash of the second: nothing of it was changed, removed,
    -- inserted or reordered. What is left of the chosen is compared event by event.
    SELECT coalesce(range_agg(int8range(coalesce(b.last_id, -1), s.last_id, '(]')) FILTER (WHERE x.same), '{}'),
           coalesce(sum(s.events) FILTER (WHERE x.same), 0)
    INTO v_same, v_events
    FROM audit.seals s LEFT JOIN audit.seals b ON b.seal_no = s.seal_no - 1,
         LATERAL (SELECT s.seal_no <@ v_intact AND s.seal_no <> ALL (v_broken) AND (s.seal_no = 1 OR b.seal_no <> ALL (v_broken)) IS TRUE AS same) x
    WHERE s.seal_no <@ v_chosen;
    EXECUTE format($q$
        WITH chosen AS (
            SELECT s.seal_no, s.first_id, s.last_id, s.first_at, s.last_at, s.ids, s.digests, s.events_hash,
                   tstzrange(s.first_at, s.last_at, '[]') && $5 AS has_missing
            FROM audit.seals s
            WHERE s.seal_no <@ $6),
        -- One stretch of ids: whatever lies in it and is in none of its seals was inserted.
        stretch AS (
            SELECT CASE WHEN $1 = '-infinity' THEN 0 ELSE min(c.first_id) END AS first_id, max(c.last_id) AS last_id,
                   least($1, min(c.first_at)) AS first_at, greatest($2, max(c.last_at) + interval '1 microsecond') AS last_at
            FROM chosen c),
        sealed AS (SELECT c.seal_no, c.has_missing, u.id, u.digest FROM chosen c, unnest(c.ids, c.digests) u (id, digest)
                   WHERE c.seal_no <> ALL ($3) AND NOT c.last_id <@ $7),
        present AS (
            SELECT e.id, %s AS digest FROM (%s) e
            WHERE e.id >= (SELECT s.first_id FROM stretch s) AND e.id <= (SELECT s.last_id FROM stretch s)
              AND e.happened_at >= (SELECT s.first_at FROM stretch s) AND e.happened_at < (SELECT s.last_at FROM stretch s)
              AND NOT e.id <@ $7),
        compared AS MATERIALIZED (
            SELECT s.seal_no, s.id AS sealed_id, s.has_missing, s.digest AS was, p.id, p.digest AS full_digest,
                   ('x' || encode(substr(p.digest, 1, 8), 'hex'))::bit(64)::bigint AS now
            FROM sealed s FULL JOIN present p ON p.id = s.id),
        odd AS MATERIALIZED (
            SELECT c.* FROM compared c
            WHERE (c.sealed_id IS NULL AND NOT c.id <@ $4) OR (c.id IS NULL AND NOT c.has_missing) OR c.now <> c.was),
        named AS (
            SELECT coalesce(o.sealed_id, o.id) AS id,
                   CASE WHEN o.sealed_id IS NULL THEN 'inserted' WHEN o.id IS NULL THEN 'removed' WHEN t.id IS NULL THEN 'changed' ELSE 'reordered' END AS kind,
                   CASE WHEN t.id IS NULL THEN format('event %%s', coalesce(o.sealed_id, o.id)) ELSE format('event %%s is what was sealed as %%s', o.id, t.id) END AS what
            FROM odd o LEFT JOIN LATERAL (SELECT x.sealed_id AS id FROM odd x WHERE x.was = o.now AND x.sealed_id <> o.id ORDER BY 1 LIMIT 1) t ON true
            UNION ALL
            -- An event that was forged to the first eight bytes.
            SELECT min(d.sealed_id), 'changed', format('one of the events of seal %%s', d.seal_no)
            FROM compared d JOIN chosen c ON c.seal_no = d.seal_no
            WHERE d.seal_no IS NOT NULL AND NOT d.has_missing
            GROUP BY d.seal_no, c.events_hash
            HAVING sha256(string_agg(int8send(d.id) || d.full_digest, '' ORDER BY d.id)) IS DISTINCT FROM c.events_hash
               AND d.seal_no <> ALL (ARRAY(SELECT o.seal_no FROM odd o WHERE o.seal_no IS NOT NULL)))
        SELECT coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'changed'), '{}'),
               coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'removed'), '{}'),
               coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'inserted'), '{}'),
               coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'reordered'), '{}'),
               (SELECT count(*) FROM compared c WHERE c.id = c.sealed_id) + $8, (SELECT count(*) FROM chosen)
        FROM named n
        $q$, audit.event_digest(), audit.event_logs())
        INTO v_changed, v_removed, v_inserted, v_reordered, v_events, v_seals
        USING v_from, v_to, v_broken, v_unsure, v_missing_at, v_chosen, v_same, v_events;
    RETURN QUERY
        SELECT x.name, cardinality(x.found) = 0, sec.first_ten(x.found)
        FROM (VALUES ('events_changed', v_changed), ('events_removed', v_removed), ('events_inserted', v_inserted), ('events_reordered', v_reordered)) x (name, found);
    check_name := 'compared';
    ok := true;
    detail := format('ok; %s events with %s seals', v_events, v_seals)
              || CASE WHEN cardinality(v_missing) > 0 THEN '; not checked, archived and no longer here: ' || array_to_string(v_missing, ', ') ELSE '' END;
    RETURN NEXT;
END
$verify$;
COMMENT ON FUNCTION audit.verify(timestamptz, timestamptz, text) IS
    'Compares the audit log with its seals: one row per check, with up to ten events or seals that break it. From p_from to before p_to (happened_at); NULL: everything, archived months included. p_head: a hash of audit.head() that was kept elsewhere; without it, whoever rewrote the log and all its seals, or took the last ones away, is not found. Events that are not sealed yet are not looked at. For operators, also on a standby. Errors: INVALID_ARGUMENT.';
