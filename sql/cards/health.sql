-- What there is to watch in cards.

CREATE FUNCTION sec.health_of_cards() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    SELECT count(*) AS cards, (array_agg(format('%s (%s)', c.card_no, c.balance) ORDER BY c.card_no))[1:10] AS numbers INTO v
    FROM (SELECT p.card_no, p.balance FROM app.personal_cards p WHERE p.status = 'closed' AND p.balance <> 0
          UNION ALL SELECT e.card_no, e.balance FROM app.enterprise_cards e WHERE e.status = 'closed' AND e.balance <> 0) c;
    RETURN QUERY SELECT 'closed_cards_with_balance'::text, v.cards = 0,
                        CASE WHEN v.cards = 0 THEN 'none'
                             ELSE format('%s, credited after they were closed: %s', v.cards, array_to_string(v.numbers, ', ')) END;
END
$$;
COMMENT ON FUNCTION sec.health_of_cards() IS 'What app.health() says of cards. Internal: sec.health_rows().';

CREATE FUNCTION sec.sequences_of_cards() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.personal_card_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.personal_card_no_seq q),
           -- Of a padded number the greatest is found by its text: one probe of its index, right up to 99,999,999.
           (SELECT substr(max(c.card_no), 4)::bigint FROM app.personal_cards c)
    UNION ALL
    SELECT 'app.enterprise_card_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.enterprise_card_no_seq q),
           (SELECT max(substr(c.card_no, 4)::bigint) FROM app.enterprise_cards c)
$$;
COMMENT ON FUNCTION sec.sequences_of_cards() IS
    'The sequences of cards: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
