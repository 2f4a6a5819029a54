-- What there is to watch.

CREATE FUNCTION app.health() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off SET timezone = 'UTC' AS $$
DECLARE
    -- A job may miss two runs before anybody is told.
    c_missed_runs constant integer := 3;
    c_unsealed_age constant interval := '1 hour';
    -- expire_recharges cancels what is due; between its runs something always is.
    c_recharge_grace constant interval := '1 hour';
    -- What the library refuses to go beyond, and the part of it from which on somebody is told.
    c_tx_numbers constant bigint := 35000000000;
    c_numbers_alarm constant numeric := 0.8;
    v record;
    v_answer text;
    v_message text;
    v_hint text;
BEGIN
    BEGIN
        PERFORM sec.refuse_outdated();
        PERFORM sec.require_sound_tables();
    EXCEPTION WHEN OTHERS THEN
        -- There is no more to say: the rest asks tables that an older release may not have, or whose rows are hidden from this
        -- function, too.
        GET STACKED DIAGNOSTICS v_answer = MESSAGE_TEXT, v_message = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
        RETURN QUERY
            SELECT x.name, false, x.what
            FROM (VALUES ('SCHEMA_OUTDATED', 'schema_version', v_message),
                         ('STATUS_CONFLICT', 'tables', format('%s. %s', v_message, v_hint))) x (answer, name, what)
            WHERE x.answer = v_answer;
        RETURN;
    END;
    SELECT string_agg(p.problem, '; ' ORDER BY p.problem) AS problems, coalesce(bool_or(p.is_unreadable), false) AS unreadable INTO v
    FROM sec.table_problems() p;
    RETURN QUERY SELECT 'tables'::text, v.problems IS NULL, coalesce(v.problems, 'as mps needs them');
    IF v.unreadable THEN
        RETURN;
    END IF;

    RETURN QUERY SELECT * FROM sec.health_of_months(c_missed_runs * interval '1 day');

    SELECT count(*) AS events, clock_timestamp() - min(e.happened_at) AS age INTO v
    FROM audit.event_log e WHERE e.id > coalesce((SELECT max(s.last_id) FROM audit.seals s), 0);
    RETURN QUERY SELECT 'unsealed_events'::text, v.events = 0 OR v.age < c_unsealed_age,
                        CASE WHEN v.events = 0 THEN 'none' ELSE format('%s, the oldest %s old', v.events, date_trunc('second', v.age)) END;

    SELECT count(*) AS recharges, min(t.created_at) AS oldest, (array_agg(t.tx_no ORDER BY t.created_at))[1:10] AS numbers INTO v
    FROM app.transactions t, app.settings s
    WHERE t.status = 'processing' AND t.created_at < now() - make_interval(mins => s.recharge_ttl_minutes);
    RETURN QUERY
        SELECT 'stale_recharges'::text,
               NOT coalesce((SELECT v.oldest < now() - make_interval(mins => s.recharge_ttl_minutes) - c_recharge_grace
                             FROM app.settings s), false),
               CASE WHEN v.recharges = 0 THEN 'none'
                    ELSE format('%s older than settings.recharge_ttl_minutes: %s', v.recharges, array_to_string(v.numbers, ', ')) END;

    SELECT count(*) AS cards, (array_agg(format('%s (%s)', c.card_no, c.balance) ORDER BY c.card_no))[1:10] AS numbers INTO v
    FROM (SELECT p.card_no, p.balance FROM app.personal_cards p WHERE p.status = 'closed' AND p.balance <> 0
          UNION ALL SELECT e.card_no, e.balance FROM app.enterprise_cards e WHERE e.status = 'closed' AND e.balance <> 0) c;
    RETURN QUERY SELECT 'closed_cards_with_balance'::text, v.cards = 0,
                        CASE WHEN v.cards = 0 THEN 'none'
                             ELSE format('%s, credited after they were closed: %s', v.cards, array_to_string(v.numbers, ', ')) END;

    SELECT count(*) AS rows, coalesce(sum(s.amount), 0.00) AS total, min(s.created_at) AS oldest,
           (array_agg(format('%s (%s %s, %s)', s.id, s.amount, s.payment_method, s.status) ORDER BY s.created_at))[1:10] AS items INTO v
    FROM app.suspense_payments s WHERE s.status IN ('open', 'refunding');
    RETURN QUERY SELECT 'suspense'::text, v.rows = 0,
                        CASE WHEN v.rows = 0 THEN 'none'
                             ELSE format('%s payments, %s, the oldest %s old; rows of app.suspense_payments, '
                                         'for app.resolve_suspense(): %s',
                                         v.rows, v.total, date_trunc('second', greatest(clock_timestamp() - v.oldest, interval '0')),
                                         array_to_string(v.items, ', ')) END;

    -- After a takeover without their values the sequences begin again: numbers would repeat. The greatest of a padded number is
    -- found by its text, which is one probe of its index, and right up to 99,999,999.
    SELECT string_agg(format('%s gave %s, but %s is used', x.seq, x.given, x.used), '; ') AS behind INTO v
    FROM (SELECT 'app.tx_no_seq' AS seq, (SELECT q.last_value - (NOT q.is_called)::integer FROM app.tx_no_seq q) AS given,
                 (SELECT max(t.id) % 100000000000 FROM app.transactions t) AS used
          UNION ALL
          SELECT 'audit.event_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM audit.event_id_seq q),
                 greatest((SELECT max(e.id) FROM audit.event_log e), (SELECT max(s.last_id) FROM audit.seals s))
          UNION ALL
          SELECT 'app.suspense_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.suspense_id_seq q),
                 (SELECT max(s.id) FROM app.suspense_payments s)
          UNION ALL
          SELECT 'app.merchant_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.merchant_id_seq q),
                 (SELECT max(m.id) FROM app.merchants m)
          UNION ALL
          SELECT 'app.member_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.member_no_seq q),
                 (SELECT substr(max(m.member_no), 2)::bigint FROM app.member_profiles m)
          UNION ALL
          SELECT 'app.personal_card_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.personal_card_no_seq q),
                 (SELECT substr(max(c.card_no), 4)::bigint FROM app.personal_cards c)
          UNION ALL
          SELECT 'app.enterprise_card_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.enterprise_card_no_seq q),
                 (SELECT max(substr(c.card_no, 4)::bigint) FROM app.enterprise_cards c)) x
    WHERE x.used > x.given;
    SELECT string_agg(o.problem, '; ' ORDER BY o.problem) INTO v_message FROM sec.odd_sequences() o;
    v_message := nullif(concat_ws('; ', v.behind || ': setval() them before anybody writes', v_message), '');
    RETURN QUERY SELECT 'sequences'::text, v_message IS NULL, coalesce(v_message, 'none is behind its table');

    -- One sequence for all months, which ends (see docs/decisions.md): that is known long before.
    SELECT q.last_value - (NOT q.is_called)::integer AS given INTO v FROM app.tx_no_seq q;
    RETURN QUERY SELECT 'transaction_numbers'::text, v.given < c_tx_numbers * c_numbers_alarm,
                        format('%s of %s are given (%s %%)', v.given, c_tx_numbers, round(100.0 * v.given / c_tx_numbers, 1));

    RETURN QUERY SELECT 'signup'::text, sec.signup_is_whole(),
                        CASE WHEN sec.signup_is_whole() THEN 'whole, or off'
                             ELSE 'no trigger for anonymous users who get an identity: SELECT app.enable_supabase_signup()' END;

    RETURN QUERY
        SELECT 'job ' || coalesce(j.job, r.job),
               coalesce(coalesce(r.finished_at, r.started_at) > now() - c_missed_runs * j.every, r.job IS NOT NULL AND j.job IS NULL),
               CASE WHEN r.job IS NULL THEN format('has never run: %s, by pg_cron (app.schedule_jobs()) or by the system''s cron, %s',
                                                   j.command, j.schedule)
                    ELSE format('%s %s ago, %s rows',
                                CASE WHEN r.finished_at IS NULL THEN 'began, but has not finished,' ELSE 'finished' END,
                                date_trunc('second', greatest(clock_timestamp() - coalesce(r.finished_at, r.started_at), interval '0')),
                                r.rows_done) END
        FROM sec.jobs() j FULL JOIN app.job_runs r ON r.job = j.job ORDER BY j.job IS NULL, 1;

    RETURN QUERY
        SELECT 'schema_version'::text, true, format('tables %s, extension %s', s.schema_version, coalesce(e.extversion, 'missing'))
        FROM (SELECT) one LEFT JOIN app.settings s ON true LEFT JOIN pg_extension e ON e.extname = 'mps';
END
$$;
COMMENT ON FUNCTION app.health() IS
    E'One row per thing to watch.\n'
    'How the tables are set up, months made ahead, whether the next one could be made, audit events not sealed, recharges nobody '
    'confirmed, closed cards that were credited, gateway money in suspense, sequences behind their tables, how many transaction '
    'numbers are given, the last run of each job, the version of the tables. For operators, also on a standby.\n'
    'Results: check_name, ok (whether nothing has to be done), detail.';
