-- What there is to watch in merchants.

CREATE FUNCTION sec.sequences_of_merchants() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.merchant_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.merchant_id_seq q),
           (SELECT max(m.id) FROM app.merchants m)
$$;
COMMENT ON FUNCTION sec.sequences_of_merchants() IS
    'The sequences of merchants: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
