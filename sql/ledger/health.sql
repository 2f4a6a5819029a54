-- What there is to watch in the ledger: months, the seals, its numbers.

CREATE FUNCTION sec.health_of_ledger() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_unsealed_age constant interval := '1 hour';
    -- What the library refuses to go beyond, and the part of it from which on somebody is told.
    c_tx_numbers constant bigint := 35000000000;
    c_numbers_alarm constant numeric := 0.8;
    v record;
BEGIN
    RETURN QUERY SELECT * FROM sec.health_of_months(sec.patience() * interval '1 day');

    SELECT count(*) AS events, clock_timestamp() - min(e.happened_at) AS age INTO v
    FROM audit.event_log e WHERE e.id > coalesce((SELECT max(s.last_id) FROM audit.seals s), 0);
    RETURN QUERY SELECT 'unsealed_events'::text, v.events = 0 OR v.age < c_unsealed_age,
                        CASE WHEN v.events = 0 THEN 'none' ELSE format('%s, the oldest %s old', v.events, date_trunc('second', v.age)) END;

    -- One sequence for all months, which ends (see docs/decisions.md): that is known long before.
    SELECT q.last_value - (NOT q.is_called)::integer AS given INTO v FROM app.tx_no_seq q;
    RETURN QUERY SELECT 'transaction_numbers'::text, v.given < c_tx_numbers * c_numbers_alarm,
                        format('%s of %s are given (%s %%)', v.given, c_tx_numbers, round(100.0 * v.given / c_tx_numbers, 1));
END
$$;
COMMENT ON FUNCTION sec.health_of_ledger() IS 'What app.health() says of the ledger. Internal: sec.health_rows().';

CREATE FUNCTION sec.sequences_of_ledger() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.tx_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.tx_no_seq q),
           (SELECT max(t.id) % 100000000000 FROM app.transactions t)
    UNION ALL
    SELECT 'audit.event_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM audit.event_id_seq q),
           greatest((SELECT max(e.id) FROM audit.event_log e), (SELECT max(s.last_id) FROM audit.seals s))
$$;
COMMENT ON FUNCTION sec.sequences_of_ledger() IS
    'The sequences of the ledger: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
