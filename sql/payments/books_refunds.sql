-- Rule: refunds and their payments.

CREATE FUNCTION sec.books_refunds(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH refunds AS (
        -- Refunds come after their payment, in whatever later month.
        SELECT t.id, t.tx_no, t.original_tx_no, t.created_at, t.final_amount, t.points_earned, t.refundable_left,
               t.refund_chain_id, t.merchant_id,
               CASE WHEN t.original_tx_no ~ '^ZF[0-9]{10,15}$'
                    THEN substr(t.original_tx_no, 3, 4)::bigint * 100000000000 + substr(t.original_tx_no, 7)::bigint END AS payment_id
        FROM app.transactions t WHERE t.tx_type = 'refund' AND t.status = 'completed' AND t.created_at >= p_from),
    -- What is left shrinks with every refund: their order, also where the month turned between two of them.
    running AS (
        SELECT r.*, sum(r.final_amount) OVER w AS so_far, lag(r.id) OVER w AS before, lead(r.id) OVER w AS after
        FROM refunds r WINDOW w AS (PARTITION BY r.payment_id ORDER BY r.refundable_left DESC NULLS FIRST, r.id)),
    paid AS (
        SELECT t.id, t.tx_no, t.created_at, t.final_amount, t.refunded_amount, t.points_earned,
               t.refund_chain_id, t.merchant_id, t.status FROM app.transactions t
        WHERE t.tx_type = 'payment' AND t.posted_at IS NOT NULL AND t.created_at >= p_from AND t.created_at < p_to
          AND (t.refunded_amount IS DISTINCT FROM 0 OR t.refund_chain_id IS NOT NULL OR t.status = 'cancelled')),
    -- Releases before 0.3.0 could archive a month and leave an older one, whose payments then miss refunds.
    sums AS (
        SELECT r.payment_id, sum(r.final_amount) AS total, sum(r.points_earned) AS points,
               count(*) AS refunds, count(*) FILTER (WHERE r.final_amount = 0) AS cancellations,
               max(r.id) FILTER (WHERE r.after IS NULL) AS last_id,
               bool_or(coalesce(r.refund_chain_id / 100000000000 = ANY (p_archived), false)) AS has_gap
        FROM running r GROUP BY r.payment_id),
    sides AS (
        SELECT p.*, s.total, s.points, s.last_id, s.refunds, s.cancellations,
               coalesce(p.refund_chain_id / 100000000000 = ANY (p_archived), false) AS last_archived,
               coalesce(s.has_gap, false) OR coalesce(p.refund_chain_id / 100000000000 = ANY (p_archived), false) AS has_gap
        FROM paid p LEFT JOIN sums s ON s.payment_id = p.id),
    -- Nearly every refund has its payment among those that know of a refund. What has not is looked for.
    lost AS MATERIALIZED (
        SELECT r.* FROM refunds r
        WHERE r.created_at < p_to AND (r.payment_id / 100000000000 = ANY (p_archived)) IS NOT TRUE
          AND NOT EXISTS (SELECT FROM paid q WHERE q.id = r.payment_id AND q.merchant_id = r.merchant_id
                            AND q.created_at >= sec.month_of_id(r.payment_id)
                            AND q.created_at < sec.month_of_id(r.payment_id) + interval '1 month'))
    SELECT x.rule, x.what FROM sides p CROSS JOIN LATERAL (
        SELECT 'refunds' AS rule, CASE
            WHEN CASE WHEN p.has_gap THEN p.refunded_amount < coalesce(p.total, 0)
                      ELSE p.refunded_amount IS DISTINCT FROM coalesce(p.total, 0) END
                THEN format('%s: %s refunded, but its refunds sum up to %s', p.tx_no, p.refunded_amount, coalesce(p.total, 0))
            WHEN p.total > p.final_amount THEN format('%s: %s refunded of %s', p.tx_no, p.total, p.final_amount)
            -- One of 0.00 is given back by being cancelled, with one refund of 0.00; no other one has such a refund.
            WHEN p.cancellations > 0 AND p.status <> 'cancelled'
                THEN format('%s: cancelled by a refund of 0.00, and is %s', p.tx_no, p.status)
            WHEN p.status = 'cancelled' AND NOT p.has_gap AND p.refunds IS DISTINCT FROM 1
                THEN format('%s: is cancelled, and has %s refunds', p.tx_no, coalesce(p.refunds, 0)) END AS what
        UNION ALL
        SELECT 'refund_points', CASE
            WHEN NOT p.has_gap AND -p.points <>
                CASE WHEN p.final_amount = 0 THEN p.points_earned
                     ELSE div(p.points_earned * least(p.total, p.final_amount), p.final_amount) END
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
       OR (r.refund_chain_id IS DISTINCT FROM r.before AND (r.refund_chain_id / 100000000000 = ANY (p_archived)) IS NOT TRUE)
    UNION ALL
    SELECT 'refunds', CASE WHEN p.id IS NULL THEN format('%s: its payment %s is not there', r.tx_no, coalesce(r.original_tx_no, '?'))
                           ELSE format('%s: nothing refunded, but %s refunds it', p.tx_no, r.tx_no) END
    FROM lost r LEFT JOIN app.transactions p ON p.id = r.payment_id AND p.tx_type = 'payment' AND p.posted_at IS NOT NULL
        AND p.merchant_id = r.merchant_id AND p.created_at >= sec.month_of_id(r.payment_id)
        AND p.created_at < sec.month_of_id(r.payment_id) + interval '1 month'
    WHERE p.id IS NULL OR (p.refunded_amount = 0 AND p.refund_chain_id IS NULL)
$rule$;
COMMENT ON FUNCTION sec.books_refunds(timestamptz, timestamptz, bigint[]) IS
    'Payments and refunds that do not fit together: sums, points and the chain of refunds. Internal: sec.books_rules().';
