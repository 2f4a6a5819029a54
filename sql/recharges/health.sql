-- What there is to watch in recharges: those that nobody confirmed, and money in suspense.

CREATE FUNCTION sec.health_of_recharges() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- expire_recharges cancels what is due; between its runs something always is.
    c_recharge_grace constant interval := '1 hour';
    v record;
BEGIN
    SELECT count(*) AS recharges, min(t.created_at) AS oldest, (array_agg(t.tx_no ORDER BY t.created_at))[1:10] AS numbers INTO v
    FROM app.transactions t, app.settings s
    WHERE t.status = 'processing' AND t.created_at < now() - make_interval(mins => s.recharge_ttl_minutes);
    RETURN QUERY
        SELECT 'stale_recharges'::text,
               NOT coalesce((SELECT v.oldest < now() - make_interval(mins => s.recharge_ttl_minutes) - c_recharge_grace
                             FROM app.settings s), false),
               CASE WHEN v.recharges = 0 THEN 'none'
                    ELSE format('%s older than settings.recharge_ttl_minutes: %s', v.recharges, array_to_string(v.numbers, ', ')) END;

    SELECT count(*) AS rows, coalesce(sum(s.amount), 0.00) AS total, min(s.created_at) AS oldest,
           (array_agg(format('%s (%s %s, %s)', s.id, s.amount, s.payment_method, s.status) ORDER BY s.created_at))[1:10] AS items INTO v
    FROM app.suspense_payments s WHERE s.status IN ('open', 'refunding');
    RETURN QUERY SELECT 'suspense'::text, v.rows = 0,
                        CASE WHEN v.rows = 0 THEN 'none'
                             ELSE format('%s payments, %s, the oldest %s old; rows of app.suspense_payments, '
                                         'for app.resolve_suspense(): %s',
                                         v.rows, v.total, date_trunc('second', greatest(clock_timestamp() - v.oldest, interval '0')),
                                         array_to_string(v.items, ', ')) END;
END
$$;
COMMENT ON FUNCTION sec.health_of_recharges() IS 'What app.health() says of recharges. Internal: sec.health_rows().';

CREATE FUNCTION sec.sequences_of_recharges() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.suspense_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.suspense_id_seq q),
           (SELECT max(s.id) FROM app.suspense_payments s)
$$;
COMMENT ON FUNCTION sec.sequences_of_recharges() IS
    'The sequences of recharges: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
