-- What app.verify_books() checks, and how its rules are found.
--
-- A rule is a function that finds what breaks its checks: (name of the check, what). A family names its rules in a function
-- sec.rules_of_FAMILY(), with the place of each among all rules and its checks in their order; sec.books_families() asks
-- them all. To find what breaks a rule, whatever it is, is a matter of sorting everything. A function of the rule's name with
-- _proof after it only says whether there is anything to find: true is a proof that the rule finds nothing; whatever else, the
-- rule is asked. A proof reads each table once or twice, and joins by equality and to one side, so that it is hashed and shared
-- among processes. It is asked when everything is, and only if numbers are as they should be: each id and each tx_no is there once.
--
-- Rules and proofs have no SET and are not SECURITY DEFINER: so the server takes them into the query of app.verify_books(), whose
-- search_path and settings are theirs then, and plans them for the values at hand. Nobody else may call them. They are STABLE and
-- PARALLEL SAFE. What they may ask for, by name:
--   p_from, p_to                      from and before when (created_at; -infinity, infinity)
--   p_archived                        the archived months, as yymm
--   p_everything                      whether everything is asked for
--   p_events_before                   events happen before it
--   p_months_from, p_months_to        the same as p_from, p_to, by whole months
--   p_keys_from                       lowest id whose key must be known
--   p_ids_from, p_ids_to              lowest and one above the highest id of p_from to p_to
--   p_month_ids_from, p_month_ids_to  the same of p_months_from to p_months_to
--   p_away                            the first days of archived months whose points are not in this database any more
--
-- A movement is what was posted: completed, or a payment of 0.00 that was cancelled, which has its place in the card's sequence, too.

CREATE FUNCTION sec.rules_of_ledger() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (10, ARRAY['balances'], 'books_balances'),
           (20, ARRAY['sequence', 'running_balance', 'posted_at', 'links'], 'books_chain'),
           (30, ARRAY['amounts', 'numbers'], 'books_numbers'),
           (40, ARRAY['points', 'point_ledger'], 'books_points'),
           (50, ARRAY['points_of_transactions'], 'books_points_of_transactions'),
           (70, ARRAY['audit'], 'books_audit'),
           (80, ARRAY['keys'], 'books_keys'),
           (90, ARRAY['orders'], 'books_orders'),
           (120, ARRAY['late_postings'], 'books_late_postings'),
           (130, ARRAY['closed_months'], 'books_closed_months')
$$;
COMMENT ON FUNCTION sec.rules_of_ledger() IS 'What app.verify_books() checks of the ledger. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_call(p_name text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    SELECT format('sec.%I(%s)', p.proname, (
        -- In the order in which app.verify_books() gives them.
        SELECT string_agg(format('$%s', array_position(ARRAY[
                   'p_from', 'p_to', 'p_archived', 'p_everything', 'p_events_before', 'p_months_from', 'p_months_to', 'p_keys_from',
                   'p_ids_from', 'p_ids_to', 'p_month_ids_from', 'p_month_ids_to', 'p_away'], a.name)), ', ' ORDER BY a.nth)
        FROM unnest(p.proargnames) WITH ORDINALITY a (name, nth) WHERE a.nth <= p.pronargs))
    FROM pg_proc p WHERE p.pronamespace = 'sec'::regnamespace AND p.proname = p_name AND p.proowner = sec.owner()
$$;
COMMENT ON FUNCTION sec.books_call(text) IS
    'How app.verify_books() calls a rule or a proof, with the parameters that it asks for; NULL: there is none of this name. Internal.';

CREATE FUNCTION sec.books_rules() RETURNS TABLE (place integer, checks text[], finds text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.place, r.checks, sec.books_call(r.rule) FROM sec.books_families() r
$$;
COMMENT ON FUNCTION sec.books_rules() IS
    'The checks of app.verify_books(), by their place, and how it calls the rule that finds what breaks them. Internal.';

CREATE FUNCTION sec.books_proofs() RETURNS TABLE (place integer, sound text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.place, sec.books_call(r.rule || '_proof') FROM sec.books_families() r
$$;
COMMENT ON FUNCTION sec.books_proofs() IS
    'For rules of sec.books_rules(), by place: how app.verify_books() calls the proof that nothing breaks them; NULL: it has none. '
    'Internal.';

CREATE FUNCTION sec.month_of_id(p_id bigint) RETURNS timestamptz
    -- Taken into the queries of the rules, like these.
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    SELECT CASE WHEN p_id / 10000000000000 BETWEEN 0 AND 99 AND p_id / 100000000000 % 100 BETWEEN 1 AND 12
                THEN make_timestamptz((2000 + p_id / 10000000000000)::integer, (p_id / 100000000000 % 100)::integer, 1, 0, 0, 0) END
$rule$;
COMMENT ON FUNCTION sec.month_of_id(bigint) IS
    'The first moment of the month that an id of a transaction names, or NULL: as a bound it leaves one partition to look in. Internal: '
    'the rules of app.verify_books().';

CREATE FUNCTION sec.books_cards()
    RETURNS TABLE (id uuid, card_no text, balance numeric, card_seq bigint, last_tx_id bigint, last_posted_at timestamptz)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    SELECT c.id, c.card_no, c.balance, c.card_seq, c.last_tx_id, c.last_posted_at FROM app.personal_cards c
    UNION ALL
    SELECT c.id, c.card_no, c.balance, c.card_seq, c.last_tx_id, c.last_posted_at FROM app.enterprise_cards c
$rule$;
COMMENT ON FUNCTION sec.books_cards() IS 'Every card, for the rules of app.verify_books(). Internal.';

CREATE FUNCTION sec.books_movements(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (id bigint, tx_no text, tx_type text, card_id uuid, card_seq bigint, prev_tx_id bigint, skip_tx_id bigint,
        posted_at timestamptz, balance_after numeric, change numeric)
    -- Types of mps are made after its functions: none in what a function takes and returns.
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    SELECT t.id, t.tx_no, t.tx_type::text, t.card_id, t.card_seq, t.prev_tx_id, t.skip_tx_id, t.posted_at, t.balance_after,
           CASE WHEN t.tx_type IN ('payment', 'withdrawal') THEN -t.final_amount ELSE t.final_amount END
    FROM app.transactions t WHERE t.posted_at IS NOT NULL AND t.created_at >= p_from AND t.created_at < p_to
$rule$;
COMMENT ON FUNCTION sec.books_movements(timestamptz, timestamptz) IS
    'What moved a balance, and by how much, for the rules of app.verify_books(). Internal.';

CREATE FUNCTION sec.points_after(p_card_id uuid, p_point_seq bigint) RETURNS bigint
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
    SET timezone = 'UTC' AS $$
DECLARE
    v_points bigint;
    v_ledger regclass;
BEGIN
    SELECT l.balance_after INTO v_points FROM app.point_ledger l WHERE l.card_id = p_card_id AND l.point_seq = p_point_seq LIMIT 1;
    FOR v_ledger IN
        SELECT to_regclass('mps_archive.point_ledger_' || to_char(a.month, 'YYYYMM')) FROM app.archived_months a ORDER BY a.month DESC
    LOOP
        EXIT WHEN v_points IS NOT NULL;
        CONTINUE WHEN v_ledger IS NULL;
        EXECUTE format('SELECT l.balance_after FROM %s l WHERE l.card_id = $1 AND l.point_seq = $2', v_ledger)
            INTO v_points USING p_card_id, p_point_seq;
    END LOOP;
    RETURN v_points;
END
$$;
COMMENT ON FUNCTION sec.points_after(uuid, bigint) IS
    'The points of a card after its entry of this number, also where its month is archived and still in this database; NULL: there is '
    'no such entry. Internal: the rules of app.verify_books().';
