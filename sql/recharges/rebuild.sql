-- Recharges that were never credited, trade numbers and money in suspense from the audit log.

CREATE FUNCTION sec.logged_of_recharges() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('recharge.requested', ARRAY['card_no', 'amount', 'method']), ('recharge.confirmed', ARRAY['gateway_trade_no', 'was']),
           ('recharge.failed', ARRAY['reason']), ('recharge.cancelled', '{}'),
           ('suspense.opened', ARRAY['gateway_trade_no', 'amount', 'method', 'why']), ('suspense.resolved', ARRAY['status']),
           ('suspense.reduced', ARRAY['amount'])
$$;
COMMENT ON FUNCTION sec.logged_of_recharges() IS 'The events of recharges. Internal: sec.logged_actions().';

CREATE FUNCTION sec.rebuilds_of_recharges() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (140, 'rebuild_waiting'), (150, 'rebuild_suspense')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_recharges() IS 'The steps of recharges. Internal: sec.rebuild_steps().';

CREATE FUNCTION sec.logged_trades() RETURNS TABLE (tx_no text, gateway_trade_no text, method text)
    LANGUAGE sql STABLE AS $rule$
    SELECT e.object_id, e.context ->> 'gateway_trade_no', e.context ->> 'method'
    FROM audit.event_log e WHERE e.action = 'recharge.confirmed'
    UNION ALL
    -- One that a confirmation took out of suspense names no trade number: the confirmation does.
    SELECT e.context ->> 'tx_no', e.context ->> 'gateway_trade_no', NULL FROM audit.event_log e
    WHERE e.action = 'suspense.resolved' AND e.context ->> 'status' = 'credited' AND e.context ? 'gateway_trade_no'
$rule$;
COMMENT ON FUNCTION sec.logged_trades() IS
    'The recharges that have a gateway''s trade number, and how the payer paid, where the gateway said so. Internal: '
    'app.rebuild_from_log().';

CREATE FUNCTION sec.logged_ends() RETURNS TABLE (tx_no text, status text, failure_reason text)
    LANGUAGE sql STABLE AS $rule$
    SELECT e.object_id, CASE e.action WHEN 'recharge.failed' THEN 'failed' ELSE 'cancelled' END,
           CASE e.action WHEN 'recharge.failed' THEN e.context ->> 'reason' ELSE 'not confirmed in time' END
    FROM audit.event_log e WHERE e.action IN ('recharge.failed', 'recharge.cancelled')
$rule$;
COMMENT ON FUNCTION sec.logged_ends() IS
    'The recharges that failed or were cancelled, and why, also of those that were paid after all. Internal: app.rebuild_from_log().';

CREATE FUNCTION sec.rebuild_waiting() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.transactions (id, created_at, tx_type, status, card_type, payment_method, card_id, member_id, processed_by, raw_amount,
                                  final_amount, tx_no, failure_reason)
    SELECT sec.id_of_number(e.object_id), e.happened_at, 'recharge',
           coalesce(d.status, 'processing')::app.tx_status, c.card_type::app.card_type, (e.context ->> 'method')::app.pay_method, c.id,
           coalesce(c.member_id, e.actor_user_id), e.actor_user_id, (e.context ->> 'amount')::numeric, (e.context ->> 'amount')::numeric,
           e.object_id, d.failure_reason
    FROM audit.event_log e
    JOIN sec.logged_cards() c ON c.card_no = e.context ->> 'card_no'
    LEFT JOIN sec.logged_ends() d ON d.tx_no = e.object_id
    WHERE e.action = 'recharge.requested'
      AND NOT EXISTS (SELECT FROM audit.event_log m WHERE m.action = 'recharge' AND m.object_id = e.object_id);
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'recharges that were not credited';
    -- Where no trigger has counted them.
    INSERT INTO app.pending_recharges (tx_id, card_id)
    SELECT t.id, t.card_id FROM app.transactions t WHERE t.status = 'processing' ON CONFLICT DO NOTHING;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_waiting() IS
    'Recharges that wait, failed or were cancelled. Internal: app.rebuild_from_log().';

CREATE FUNCTION sec.rebuild_suspense() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.suspense_payments (id, created_at, gateway_trade_no, tx_no, amount, payment_method, reason, payload, status, resolution,
                                       resolved_at, resolved_by, resolved_role, note, credited_tx_no, out_refund_no)
    SELECT e.object_id::bigint, e.happened_at, e.context ->> 'gateway_trade_no', e.context ->> 'tx_no',
           coalesce(l.amount, e.context ->> 'amount')::numeric,
           (e.context ->> 'method')::app.pay_method, e.context ->> 'why', coalesce(e.context -> 'payload', '{}'),
           coalesce(r.context ->> 'status', 'open'),
           -- Of a confirmation, which says no more.
           CASE WHEN r.context IS NOT NULL THEN coalesce(r.context ->> 'resolution', 'credited') END, r.happened_at, r.actor_user_id,
           r.actor_role, CASE WHEN r.context IS NOT NULL THEN coalesce(r.context ->> 'note', 'confirmed') END, r.context ->> 'tx_no',
           o.number
    FROM audit.event_log e
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.* FROM audit.event_log x WHERE x.action = 'suspense.resolved'
               ORDER BY x.object_id, x.id DESC) r ON r.object_id = e.object_id
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context ->> 'out_refund_no' AS number FROM audit.event_log x
               WHERE x.action = 'suspense.resolved' AND x.context ->> 'out_refund_no' IS NOT NULL
               ORDER BY x.object_id, x.id DESC) o ON o.object_id = e.object_id
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context ->> 'amount' AS amount FROM audit.event_log x
               WHERE x.action = 'suspense.reduced' ORDER BY x.object_id, x.id DESC) l ON l.object_id = e.object_id
    WHERE e.action = 'suspense.opened';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'payments in suspense';
    RETURN NEXT;

    INSERT INTO app.asked_methods (tx_id, payment_method)
    SELECT sec.id_of_number(e.object_id), (e.context ->> 'asked_method')::app.pay_method
    FROM audit.event_log e WHERE e.action = 'recharge.confirmed' AND e.context ? 'asked_method';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'recharges that were paid otherwise than asked for';
    RETURN NEXT;

    -- So that what a gateway tells once more is not credited once more.
    INSERT INTO app.external_orders (scope_no, tx_id, scope, order_id)
    SELECT 0, t.id, 3, t.gateway_trade_no FROM app.transactions t WHERE t.gateway_trade_no IS NOT NULL
    UNION ALL
    SELECT 0, -s.id, 3, s.gateway_trade_no FROM app.suspense_payments s WHERE s.status <> 'credited';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'trade numbers';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_suspense() IS
    'Money in suspense, methods that were asked for, and what every trade number of a gateway belongs to. Internal: '
    'app.rebuild_from_log().';
