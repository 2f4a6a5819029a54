-- What there is to watch in withdrawals.

CREATE FUNCTION sec.health_of_withdrawals() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Gateways pay within days, and who makes a transfer does.
    c_patience constant interval := '7 days';
    v record;
BEGIN
    SELECT count(*) AS rows, coalesce(sum(w.amount), 0.00) AS total,
           count(*) FILTER (WHERE w.is_odd) AS odd,
           (array_agg(format('%s (%s, %s)', w.refund_no, w.amount, w.state) ORDER BY w.is_odd DESC, w.created_at))[1:10] AS items INTO v
    FROM (SELECT x.refund_no, x.amount, x.created_at,
                 x.status = 'paid_after_return' OR x.gateway_state = 'ABNORMAL' OR x.created_at < now() - c_patience AS is_odd,
                 concat_ws(' ', x.payout, x.status, x.gateway_state) AS state
          FROM app.withdrawals x
          -- What the card has given back since is over.
          WHERE x.status = 'processing'
             OR x.status = 'paid_after_return' AND x.amount > coalesce((SELECT -sum(c.amount) FROM app.transaction_compensations c
                                                                        WHERE c.tx_no = x.returned_tx_no), 0)) w;
    IF v.rows = 0 THEN
        RETURN QUERY SELECT 'withdrawals'::text, true, 'none is open'::text;
    ELSE
        RETURN QUERY SELECT 'withdrawals'::text, v.odd = 0,
                            format('%s refunds of app.withdrawals are open, %s, of which %s to look at (ABNORMAL, paid after it was '
                                   'returned, or older than %s): %s', v.rows, v.total, v.odd, c_patience, array_to_string(v.items, ', '));
    END IF;
END
$$;
COMMENT ON FUNCTION sec.health_of_withdrawals() IS 'What app.health() says of withdrawals. Internal: sec.health_rows().';
