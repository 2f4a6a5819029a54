-- Every movement from the audit log: its place in the card's sequence, the balance after it, what was refunded.

CREATE FUNCTION sec.logged_refunds()
    RETURNS TABLE (event_id bigint, id bigint, payment_id bigint, paid numeric, so_far numeric, before_id bigint, is_last boolean)
    LANGUAGE sql STABLE AS $rule$
    -- A payment is locked by its refund: the events of its refunds are in their order.
    SELECT r.event_id, r.id, p.id, -p.change, sum(r.change) OVER w, lag(r.id) OVER w, lead(r.id) OVER w IS NULL
    FROM (SELECT m.event_id, m.id, m.change, m.original_tx_no FROM sec.logged_movements() m WHERE m.tx_type = 'refund') r
    LEFT JOIN (SELECT m.tx_no, m.id, m.change FROM sec.logged_movements() m WHERE m.tx_type = 'payment') p ON p.tx_no = r.original_tx_no
    WINDOW w AS (PARTITION BY r.original_tx_no COLLATE "C" ORDER BY r.event_id ROWS UNBOUNDED PRECEDING)
$rule$;
COMMENT ON FUNCTION sec.logged_refunds() IS
    'Every refund with its payment, what that had paid and what was refunded of it by then. Internal: sec.rebuild_movements().';

CREATE FUNCTION sec.chained_movements()
    RETURNS TABLE (event_id bigint, id bigint, created_at timestamptz, posted_at timestamptz, seq bigint, nth bigint, prev_tx_id bigint,
        far_tx_id bigint, points bigint, merchant_id integer, tx_type text, card_type text, method text, card_no text, card_id uuid,
        member_id uuid, processed_by uuid, discount numeric, raw numeric, final numeric, balance_after numeric, tx_no text,
        original_tx_no text, excluded numeric, coupon text, campaigns jsonb)
    LANGUAGE sql STABLE AS $rule$
    -- Without the moment of posting in the log, it is that of the event, a microsecond or more after the movement before.
    SELECT m.event_id, m.id, m.created_at,
           max(greatest(m.happened_at, m.created_at) - m.seq * interval '1 microsecond') OVER w + m.seq * interval '1 microsecond',
           m.seq, row_number() OVER w, lag(m.id) OVER w, lag(m.id, 64) OVER w, m.points, m.merchant_id, m.tx_type, m.card_type, m.method,
           m.card_no, m.card_id, m.member_id, m.processed_by, m.discount, m.raw,
           CASE WHEN m.tx_type IN ('payment', 'withdrawal') THEN -m.change ELSE m.change END, sum(m.change) OVER w, m.tx_no,
           m.original_tx_no, m.excluded, m.coupon, m.campaigns
    FROM (SELECT l.event_id, l.id, l.happened_at, l.seq, l.points, l.merchant_id, l.tx_type, l.method, l.card_no, l.discount, l.raw,
                 l.change, l.tx_no, l.original_tx_no, l.excluded, l.coupon, l.campaigns, c.id AS card_id, c.card_type,
                 coalesce(l.member_id, c.member_id) AS member_id,
                 coalesce(a.happened_at, l.happened_at) AS created_at,
                 CASE WHEN a.object_id IS NULL THEN l.actor_user_id ELSE a.actor_user_id END AS processed_by
          FROM sec.logged_movements() l
          LEFT JOIN sec.logged_cards() c ON c.card_no = l.card_no
          -- A recharge that waited is of when it was asked for.
          LEFT JOIN audit.event_log a ON a.object_id = l.tx_no AND a.action = 'recharge.requested') m
    WINDOW w AS (PARTITION BY m.card_no COLLATE "C" ORDER BY m.seq ROWS UNBOUNDED PRECEDING)
$rule$;
COMMENT ON FUNCTION sec.chained_movements() IS
    'Every movement with the one before it on its card, and the balance after it. Internal: sec.rebuild_movements().';

CREATE FUNCTION sec.rebuild_movements() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.transactions (
        id, created_at, posted_at, card_seq, prev_tx_id, skip_tx_id, refund_chain_id, points_earned, merchant_id, tx_type, status,
        card_type, payment_method, card_id, member_id, processed_by, discount, raw_amount, final_amount, balance_after, refunded_amount,
        refundable_left, tx_no, original_tx_no, gateway_trade_no, failure_reason, excluded_amount, coupon_discount,
        member_coupon_id, points_base, points_bonus, campaigns)
    WITH refunds AS MATERIALIZED (SELECT * FROM sec.logged_refunds())
    SELECT m.id, m.created_at, m.posted_at,
           CASE WHEN m.card_id IS NULL THEN sec.refuse_log(m.event_id, format('there is no card %s, which %s moved', m.card_no, m.tx_no))
                WHEN m.nth IS DISTINCT FROM m.seq
                    THEN sec.refuse_log(m.event_id, format('%s is movement %s of %s, but in the log it follows movement %s', m.tx_no, m.seq,
                                                           m.card_no, m.nth - 1))
                WHEN m.balance_after < 0
                    THEN sec.refuse_log(m.event_id, format('%s would leave %s on %s', m.tx_no, m.balance_after, m.card_no))
                WHEN m.tx_type = 'refund' AND r.payment_id IS NULL
                    THEN sec.refuse_log(m.event_id, format('%s gives back %s, which is not there', m.tx_no, m.original_tx_no))
                WHEN r.so_far > r.paid
                    THEN sec.refuse_log(m.event_id, format('with %s more is given back than %s paid', m.tx_no, m.original_tx_no))
                WHEN m.tx_type = 'refund' AND m.final = 0 AND (r.paid > 0 OR r.before_id IS NOT NULL)
                    THEN sec.refuse_log(m.event_id, format('%s cancels %s, which it cannot', m.tx_no, m.original_tx_no))
                ELSE m.seq END,
           m.prev_tx_id, CASE WHEN m.seq % 64 = 0 THEN m.far_tx_id END, coalesce(r.before_id, l.id), coalesce(m.points, 0), m.merchant_id,
           m.tx_type::app.tx_type,
           -- A refund of nothing is what cancels a payment of 0.00.
           CASE WHEN m.tx_type = 'payment' AND m.final = 0 AND l.id IS NOT NULL THEN 'cancelled' ELSE 'completed' END::app.tx_status,
           m.card_type::app.card_type, coalesce(g.method, m.method, 'balance')::app.pay_method, m.card_id,
           m.member_id, m.processed_by, coalesce(m.discount, 1), coalesce(m.raw, m.final), m.final, m.balance_after,
           CASE WHEN m.tx_type = 'payment' THEN coalesce(l.so_far, 0) END, r.paid - r.so_far, m.tx_no, m.original_tx_no, g.gateway_trade_no,
           d.failure_reason, m.excluded,
           CASE WHEN m.coupon IS NOT NULL THEN round((m.raw - coalesce(m.excluded, 0)) * coalesce(m.discount, 1), 2)
                                               + coalesce(m.excluded, 0) - m.final END,
           substr(m.coupon, 3)::bigint, coalesce(m.points, 0) - b.points, b.points, m.campaigns
    FROM sec.chained_movements() m
    LEFT JOIN refunds r ON r.id = m.id
    LEFT JOIN refunds l ON l.payment_id = m.id AND l.is_last
    LEFT JOIN sec.logged_trades() g ON g.tx_no = m.tx_no
    -- Of one that failed and was paid after all.
    LEFT JOIN sec.logged_ends() d ON d.tx_no = m.tx_no
    LEFT JOIN LATERAL (SELECT sum(u.value::bigint)::bigint AS points FROM jsonb_each_text(m.campaigns) u) b ON m.campaigns IS NOT NULL;
    RETURN QUERY SELECT x.what, (SELECT count(*) FROM app.transactions t WHERE t.tx_type::text = x.tx_type)
                 FROM (VALUES ('payments', 'payment'), ('refunds', 'refund'), ('recharges', 'recharge'), ('adjustments', 'adjustment'),
                              ('withdrawals', 'withdrawal')) x (what, tx_type);
END
$$;
COMMENT ON FUNCTION sec.rebuild_movements() IS
    'Every transaction that moved a balance. Internal: app.rebuild_from_log(). Errors: STATUS_CONFLICT where a movement is missing, or '
    'what is there cannot be.';
