-- Refund numbers of withdrawals from the audit log.

CREATE FUNCTION sec.logged_of_withdrawals() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('withdrawal.asked', ARRAY['tx_no', 'card_no', 'amount', 'asked', 'payout', 'method', 'status']),
           ('withdrawal.completed', '{}'), ('withdrawal.paid_after_return', '{}'), ('withdrawal.returned', ARRAY['returned', 'reason']),
           ('withdrawal.told', ARRAY['state']), ('withdrawal.numbered', ARRAY['gateway_refund_no'])
$$;
COMMENT ON FUNCTION sec.logged_of_withdrawals() IS 'The events of withdrawals. Internal: sec.logged_actions().';

CREATE FUNCTION sec.rebuilds_of_withdrawals() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (170, 'rebuild_withdrawals')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_withdrawals() IS 'The step of withdrawals. Internal: sec.rebuild_steps().';

CREATE FUNCTION sec.rebuild_withdrawals() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.withdrawals (created_at, settled_at, card_type, payment_method, card_id, amount, refund_no, tx_no, source_tx_no,
                                 gateway_account, gateway_trade_no, asked, payout, status, gateway_state, gateway_refund_no,
                                 returned_tx_no, reason)
    SELECT e.happened_at, CASE WHEN e.context ->> 'status' = 'completed' THEN e.happened_at ELSE s.happened_at END,
           coalesce(c.card_type, sec.refuse_log(e.id, format('there is no card %s', e.context ->> 'card_no'))::text)::app.card_type,
           (e.context ->> 'method')::app.pay_method, c.id, (e.context ->> 'amount')::numeric, e.object_id, e.context ->> 'tx_no',
           e.context ->> 'source', e.context ->> 'gateway_account', e.context ->> 'gateway_trade_no', e.context ->> 'asked',
           e.context ->> 'payout', coalesce(substr(s.action, length('withdrawal.') + 1), e.context ->> 'status'),
           t.context ->> 'state', coalesce(g.context, s.context) ->> 'gateway_refund_no', r.context ->> 'returned', r.context ->> 'reason'
    FROM audit.event_log e
    LEFT JOIN sec.logged_cards() c ON c.card_no = e.context ->> 'card_no'
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.* FROM audit.event_log x
               WHERE x.action IN ('withdrawal.completed', 'withdrawal.returned', 'withdrawal.paid_after_return')
               ORDER BY x.object_id, x.id DESC) s ON s.object_id = e.object_id
    LEFT JOIN audit.event_log g ON g.action = 'withdrawal.numbered' AND g.object_id = e.object_id
    LEFT JOIN audit.event_log r ON r.action = 'withdrawal.returned' AND r.object_id = e.object_id
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context FROM audit.event_log x
               WHERE x.action = 'withdrawal.told' ORDER BY x.object_id, x.id DESC) t ON t.object_id = e.object_id
    WHERE e.action = 'withdrawal.asked';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'refund numbers of withdrawals';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_withdrawals() IS 'What withdrawals took of each source. Internal: app.rebuild_from_log().';
