-- Operation: archiving months, health, and the jobs for pg_cron. As in 45_procedures.sql, procedures are SECURITY INVOKER
-- without SET, and each batch is one SECURITY DEFINER function; who calls that through a function of somebody else is asked for.

-- Archiving ---------------------------------------------------------------------------------------------------------------

CREATE FUNCTION sec.partition_bounds(p_partition oid) RETURNS TABLE (starts timestamptz, ends timestamptz)
    -- Read as the server prints them, so in one zone and style.
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET timezone = 'UTC' SET datestyle = 'ISO, YMD' AS $$
    SELECT CASE WHEN b.bounds[1] = 'MINVALUE' THEN '-infinity' ELSE trim(b.bounds[1], '''') END::timestamptz,
           CASE WHEN b.bounds[2] = 'MAXVALUE' THEN 'infinity' ELSE trim(b.bounds[2], '''') END::timestamptz
    FROM pg_class c, regexp_match(pg_get_expr(c.relpartbound, c.oid), '^FOR VALUES FROM \((.+)\) TO \((.+)\)$') b (bounds)
    WHERE c.oid = p_partition
$$;
COMMENT ON FUNCTION sec.partition_bounds(oid) IS 'From and to before when a partition has rows; NULLs for a DEFAULT one. Internal.';

CREATE FUNCTION sec.months_to_archive(p_older_than date) RETURNS TABLE (month date)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
    SET timezone = 'UTC' AS $$
DECLARE
    v record;
BEGIN
    IF p_older_than IS NULL THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_older_than is missing');
    END IF;
    FOR v IN
        SELECT i.inhrelid::regclass AS part, b.starts, b.ends
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, sec.partition_bounds(c.oid) b
        WHERE i.inhparent = 'app.transactions'::regclass AND b.ends <= p_older_than::timestamptz
        ORDER BY 2
    LOOP
        -- The first that stays is the last that is looked at: what is older than an archived month is archived.
        IF v.ends > now() THEN
            RAISE NOTICE '% is not over yet: it stays', v.part;
            EXIT;
        ELSIF v.starts <> date_trunc('month', v.starts) OR v.ends <> v.starts + interval '1 month'
              OR v.part::text <> 'app.transactions_' || to_char(v.starts, 'YYYYMM') THEN
            RAISE NOTICE '% is not a month that mps made: it stays, and what is newer stays with it', v.part;
            EXIT;
        END IF;
        month := v.starts::date;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.months_to_archive(date) IS
    'The months whose partitions end at or before 00:00 UTC of the day and are over, oldest first, up to the first partition that '
    'cannot be archived. Internal. Errors: INVALID_ARGUMENT.';

CREATE FUNCTION app.archive_month_batch(p_month date) RETURNS text
    -- Shorter than deadlock_timeout: whatever this waits for, it gives way, and nobody queues behind it for longer.
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off SET timezone = 'UTC' SET lock_timeout = '500ms' AS $$
DECLARE
    v_month date;
    v_older text;
    v_suffix text := to_char(p_month, 'YYYYMM');
    v_sealed bigint;
    v_unsealed bigint;
    v record;
BEGIN
    PERFORM sec.require_operator();
    IF p_month IS NULL OR p_month <> date_trunc('month', p_month)::date THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_month is the first day of a month');
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        -- An older view would not show what became pending before the locks were there.
        PERFORM sec.raise('STATUS_CONFLICT', 'under READ COMMITTED only: SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
    END IF;
    PERFORM sec.refuse_shadows();
    IF to_regnamespace('mps_archive') IS NULL
       OR (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'mps_archive') <> sec.owner() THEN
        PERFORM sec.raise('STATUS_CONFLICT', format('there is no schema mps_archive of %1$s: CREATE SCHEMA mps_archive AUTHORIZATION %1$s', sec.owner()));
    END IF;
    BEGIN
        -- First the lock of sec.make_month(), then the tables, so that nothing is decided on what may still change.
        LOCK TABLE app.archived_months IN SHARE ROW EXCLUSIVE MODE;
        LOCK TABLE app.transactions, app.point_ledger, audit.event_log IN ACCESS EXCLUSIVE MODE;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RETURN 'busy';
    END;
    -- A month is archived only if all older ones are: else the books would have holes, and statements would end before them.
    SELECT min(i.inhrelid::regclass::text) INTO v_older
    FROM pg_inherits i, sec.partition_bounds(i.inhrelid) b
    WHERE i.inhparent IN ('app.transactions'::regclass, 'app.point_ledger'::regclass, 'audit.event_log'::regclass)
      AND b.starts < p_month::timestamptz;
    SELECT m.month INTO v_month FROM sec.months_to_archive((p_month + interval '1 month')::date) m WHERE m.month = p_month;
    IF NOT FOUND AND (v_older IS NULL OR to_regclass('app.transactions_' || v_suffix) IS NULL OR p_month + interval '1 month' > now()) THEN
        RETURN 'not there, or not over yet';
    ELSIF v_older IS NOT NULL THEN
        RETURN format('%s is older, and is not archived', v_older);
    END IF;
    FOR v IN SELECT x.name FROM (VALUES ('app.transactions', 'app'), ('app.point_ledger', 'app'), ('audit.event_log', 'audit')) x (name, nsp)
             WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = x.name::regclass AND i.inhrelid = to_regclass(x.name || '_' || v_suffix)) LOOP
        RETURN format('%s has no such month', v.name);
    END LOOP;
    IF EXISTS (SELECT FROM app.transactions t WHERE t.status = 'processing' AND t.created_at >= p_month::timestamptz
                 AND t.created_at < p_month + interval '1 month') THEN
        RETURN 'a recharge of it is still processing: confirm it, fail it, or let app.expire_recharges() end it';
    END IF;
    SELECT max(s.last_id) INTO v_sealed FROM audit.seals s;
    SELECT count(*) INTO v_unsealed FROM audit.event_log e
    WHERE e.happened_at >= p_month::timestamptz AND e.happened_at < p_month + interval '1 month' AND e.id > coalesce(v_sealed, 0);
    IF v_unsealed > 0 THEN
        RETURN format('%s audit events of it are not sealed: CALL audit.seal()', v_unsealed);
    END IF;

    INSERT INTO app.archived_months (month, archived_at) VALUES (p_month, clock_timestamp());
    FOR v IN SELECT * FROM (VALUES ('app', 'transactions'), ('app', 'point_ledger'), ('audit', 'event_log')) x (nsp, tab) LOOP
        PERFORM sec.run_ddl(format('ALTER TABLE %1$I.%2$I DETACH PARTITION %1$I.%3$I', v.nsp, v.tab, v.tab || '_' || v_suffix));
        PERFORM sec.run_ddl(format('ALTER TABLE %I.%I SET SCHEMA mps_archive', v.nsp, v.tab || '_' || v_suffix));
    END LOOP;
    PERFORM sec.record_event('month.archived', 'month', to_char(p_month, 'YYYY-MM'), '{}');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION app.archive_month_batch(date) IS
    E'Archives one month, if all older ones are: notes it in app.archived_months, detaches its three tables and '
    'moves them to mps_archive.\n'
    'Under READ COMMITTED only. NULL: done; busy: a lock was not to be had within half a second; else why the month stays. One batch of '
    'app.archive_partitions().\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT.';

CREATE PROCEDURE app.archive_partitions(p_older_than date)
    LANGUAGE plpgsql AS $$
DECLARE
    v_first boolean := true;
    v_months date[];
    v_month date;
    v_answer text;
BEGIN
    IF pg_catalog.pg_is_in_recovery() THEN
        RAISE NOTICE 'standby: nothing to do';
        RETURN;
    END IF;
    v_months := ARRAY(SELECT m.month FROM sec.months_to_archive(p_older_than) m);
    -- Every batch sees what was committed before its locks, whatever the session's default is.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    FOREACH v_month IN ARRAY v_months LOOP
        FOR v_try IN 1 .. 20 LOOP
            v_answer := app.archive_month_batch(v_month);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
            EXIT WHEN coalesce(v_answer, '') OPERATOR(pg_catalog.<>) 'busy';
            -- So that who queued behind the attempt gets through first.
            PERFORM pg_catalog.pg_sleep(0.25);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        END LOOP;
        IF v_answer IS NOT NULL THEN
            RAISE NOTICE '% stays, and what is newer stays with it: %', v_month, v_answer;
            EXIT;
        END IF;
        PERFORM sec.job_batch('archive_partitions', 1, v_first);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        v_first := false;
    END LOOP;
    PERFORM sec.job_batch('archive_partitions', 0, v_first);
    COMMIT;
END
$$;
COMMENT ON PROCEDURE app.archive_partitions(date) IS
    E'Detaches the months that ended at or before 00:00 UTC of p_older_than, oldest first; deletes nothing.\n'
    'They move to the schema mps_archive. What is asked of them answers ARCHIVED from then on. A month with a recharge still '
    'processing or with unsealed audit events stays, and every newer one with it, with a NOTICE that says why.\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT.';

-- Jobs and health ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sec.jobs() RETURNS TABLE (job text, schedule text, command text, every interval)
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('maintain_partitions', '10 2 * * *', 'CALL app.maintain_partitions()', interval '1 day'),
           ('expire_cards', '5 * * * *', 'CALL app.expire_cards()', interval '1 hour'),
           ('expire_qrcodes', '15 * * * *', 'CALL app.expire_qrcodes()', interval '1 hour'),
           ('expire_recharges', '*/10 * * * *', 'CALL app.expire_recharges()', interval '10 minutes'),
           ('expire_keys', '40 2 * * *', 'CALL app.expire_keys()', interval '1 day'),
           ('seal', '*/5 * * * *', 'CALL audit.seal()', interval '5 minutes')
$$;
COMMENT ON FUNCTION sec.jobs() IS
    'The procedures that are to run by themselves, and how often. app.recompute_levels() and app.archive_partitions() are run by '
    'hand. Internal.';

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
        -- There is no more to say: the rest asks tables that an older release may not have, or whose rows are hidden from this function, too.
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
               NOT coalesce((SELECT v.oldest < now() - make_interval(mins => s.recharge_ttl_minutes) - c_recharge_grace FROM app.settings s), false),
               CASE WHEN v.recharges = 0 THEN 'none'
                    ELSE format('%s older than settings.recharge_ttl_minutes: %s', v.recharges, array_to_string(v.numbers, ', ')) END;

    SELECT count(*) AS cards, (array_agg(format('%s (%s)', c.card_no, c.balance) ORDER BY c.card_no))[1:10] AS numbers INTO v
    FROM (SELECT p.card_no, p.balance FROM app.personal_cards p WHERE p.status = 'closed' AND p.balance <> 0
          UNION ALL SELECT e.card_no, e.balance FROM app.enterprise_cards e WHERE e.status = 'closed' AND e.balance <> 0) c;
    RETURN QUERY SELECT 'closed_cards_with_balance'::text, v.cards = 0,
                        CASE WHEN v.cards = 0 THEN 'none' ELSE format('%s, credited after they were closed: %s', v.cards, array_to_string(v.numbers, ', ')) END;

    SELECT count(*) AS rows, coalesce(sum(s.amount), 0.00) AS total, min(s.created_at) AS oldest,
           (array_agg(format('%s (%s %s, %s)', s.id, s.amount, s.payment_method, s.status) ORDER BY s.created_at))[1:10] AS items INTO v
    FROM app.suspense_payments s WHERE s.status IN ('open', 'refunding');
    RETURN QUERY SELECT 'suspense'::text, v.rows = 0,
                        CASE WHEN v.rows = 0 THEN 'none'
                             ELSE format('%s payments, %s, the oldest %s old; rows of app.suspense_payments, for app.resolve_suspense(): %s', v.rows, v.total,
                                         date_trunc('second', greatest(clock_timestamp() - v.oldest, interval '0')), array_to_string(v.items, ', ')) END;

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
               CASE WHEN r.job IS NULL THEN format('has never run: %s, by pg_cron (app.schedule_jobs()) or by the system''s cron, %s', j.command, j.schedule)
                    ELSE format('%s %s ago, %s rows', CASE WHEN r.finished_at IS NULL THEN 'began, but has not finished,' ELSE 'finished' END,
                                date_trunc('second', greatest(clock_timestamp() - coalesce(r.finished_at, r.started_at), interval '0')), r.rows_done) END
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

CREATE FUNCTION app.schedule_jobs() RETURNS TABLE (job text, schedule text, command text, done text)
    -- SECURITY INVOKER: a job belongs to, and runs as, who schedules it.
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_cron boolean := EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron');
    v_known record;
BEGIN
    FOR v IN SELECT 'mps_' || j.job AS name, j.schedule, j.command FROM sec.jobs() j LOOP
        job := v.name; schedule := v.schedule; command := v.command;
        IF NOT v_cron THEN
            -- Names are per database, so that several with mps can be served by one pg_cron.
            command := format('SELECT cron.schedule_in_database(%L, %L, %L, %L);', v.name || '_' || current_database(),
                              v.schedule, v.command, current_database());
            done := format('nothing: pg_cron is not in this database; run the command, as the role the job is to run as, in the one that has '
                           'it, or let the system''s cron run: %s', v.command);
        ELSE
            EXECUTE 'SELECT j.schedule, j.command, j.active FROM cron.job j '
                    'WHERE j.jobname = $1 AND j.username = current_user AND j.database = current_database()'
                INTO v_known USING v.name;
            IF v_known.schedule IS NULL THEN
                EXECUTE 'SELECT cron.schedule($1, $2, $3)' USING v.name, v.schedule, v.command;
                done := 'scheduled';
            ELSE
                -- What somebody chose otherwise is theirs: when it runs, whether it runs, and what.
                done := concat_ws(
                    ', but ', 'scheduled already',
                    CASE WHEN v_known.schedule <> v.schedule THEN 'by another schedule, which is kept: ' || v_known.schedule END,
                    CASE WHEN v_known.command <> v.command THEN 'with another command, which is kept: ' || v_known.command END,
                    CASE WHEN NOT v_known.active THEN 'not active' END);
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION app.schedule_jobs() IS
    E'Registers the maintenance procedures with pg_cron, or says how to.\n'
    'As jobs of the caller, if pg_cron is in this database; else it returns the commands to run in the database that has it. '
    'A job of the same name keeps its schedule, its command and whether it is active; done says what differs. Without pg_cron '
    'the system''s cron does as well: six CALLs, docs/operations.md has them. '
    'For operators.\n'
    'Results: job (its name), schedule (as of cron), command, done (what was done, or is to be done).';

-- The end ------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION sec.what_there_is() RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_rows bigint;
    v_transactions bigint := 0;
    v_events bigint := 0;
    v_cards bigint;
    v_balance numeric;
BEGIN
    SELECT count(*), coalesce(sum(c.balance), 0.00) INTO v_cards, v_balance
    FROM (SELECT p.balance FROM app.personal_cards p UNION ALL SELECT e.balance FROM app.enterprise_cards e) c;
    FOR v IN
        SELECT 'app.transactions' AS tab, true AS moves UNION ALL SELECT 'audit.event_log', false
        UNION ALL
        SELECT c.oid::regclass::text, c.relname ~ '^transactions_' FROM pg_class c
        WHERE c.relnamespace = to_regnamespace('mps_archive') AND c.relkind = 'r' AND c.relname ~ '^(transactions|event_log)_[0-9]{6}$'
    LOOP
        EXECUTE 'SELECT count(*) FROM ' || v.tab INTO v_rows;
        v_transactions := v_transactions + CASE WHEN v.moves THEN v_rows ELSE 0 END;
        v_events := v_events + CASE WHEN v.moves THEN 0 ELSE v_rows END;
    END LOOP;
    RETURN format('%s cards holding %s, %s transactions and the audit log of %s events of database %s',
                  v_cards, v_balance, v_transactions, v_events, current_database());
END
$$;
COMMENT ON FUNCTION sec.what_there_is() IS
    'In words, what sec.destroy_everything() would destroy at this moment, archived months included. Internal.';

CREATE FUNCTION sec.destroy_everything(p_confirm text) RETURNS TABLE (statement text, remark text)
    -- SECURITY INVOKER: mps_owner may neither drop what is another's nor be the one who did this. Whoever works in the tables
    -- is not kept waiting for long.
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET lock_timeout = '5s' AS $$
DECLARE
    v record;
    v_owner regrole := sec.owner();
    v_spaces oid[] := ARRAY(SELECT n.oid FROM pg_namespace n WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive', 'mps_compat'));
    v_what text;
    v_in_the_way text;
    v_elsewhere text;
BEGIN
    IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
        PERFORM sec.raise('NOT_ALLOWED', 'only a superuser destroys everything');
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'under READ COMMITTED only: an older view would count what was there before the locks');
    END IF;
    -- Twice: without locks, so that who only asks what would be lost keeps nobody waiting; and again when nothing can change.
    FOR v_try IN 1 .. 2 LOOP
        v_what := sec.what_there_is();
        IF p_confirm IS DISTINCT FROM 'destroy ' || v_what THEN
            PERFORM sec.raise('INVALID_ARGUMENT', format('nothing was destroyed; p_confirm has to be: destroy %s', v_what));
        END IF;
        EXIT WHEN v_try = 2;
        -- First the lock of sec.make_month(), then the tables.
        LOCK TABLE app.archived_months IN ACCESS EXCLUSIVE MODE;
        FOR v IN SELECT c.oid::regclass AS tab FROM pg_class c
                 WHERE c.relnamespace = ANY (v_spaces) AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.oid::regclass::text
        LOOP
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', v.tab);
        END LOOP;
    END LOOP;

    -- A partition goes with its table, whoever's it is.
    SELECT string_agg(format('table %s', c.oid::regclass), ', ' ORDER BY c.oid::regclass::text) INTO v_in_the_way
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
    WHERE p.relnamespace = ANY (v_spaces) AND p.relowner = v_owner AND p.relkind = 'p'
      AND (c.relowner <> v_owner OR c.relnamespace <> ALL (v_spaces)) AND c.relkind IN ('r', 'p', 'f');
    IF v_in_the_way IS NULL THEN
        BEGIN
            FOR v IN
                SELECT format('DROP TRIGGER %I ON %s', g.tgname, g.tgrelid::regclass) AS command, 1 AS place
                FROM pg_trigger g WHERE g.tgname IN (SELECT t.name FROM sec.signup_triggers() t) AND g.tgfoid = 'sec.on_signup()'::regprocedure
                  AND NOT g.tgisinternal
                UNION ALL
                -- Each kind at once, so that what hangs together does; RESTRICT, so that nothing else goes along.
                SELECT format('DROP %s %s', x.kind, string_agg(c.oid::regclass::text, ', ')), x.place
                FROM pg_class c JOIN (VALUES ('v', 'VIEW', 2), ('r', 'TABLE', 3), ('p', 'TABLE', 3), ('S', 'SEQUENCE', 4)) x (relkind, kind, place)
                     ON x.relkind = c.relkind
                WHERE c.relnamespace = ANY (v_spaces) AND c.relowner = v_owner AND NOT c.relispartition
                GROUP BY x.kind, x.place
                UNION ALL
                SELECT 'DROP TYPE ' || string_agg(t.oid::regtype::text, ', '), 5
                FROM pg_type t WHERE t.typnamespace = ANY (v_spaces) AND t.typowner = v_owner AND t.typtype = 'e'
                HAVING count(*) > 0
                UNION ALL
                SELECT 'DROP FUNCTION ' || string_agg(p.oid::regprocedure::text, ', '), 6
                FROM pg_proc p WHERE p.pronamespace = to_regnamespace('mps_compat') AND p.proowner = v_owner
                HAVING count(*) > 0
                UNION ALL
                SELECT format('DROP SCHEMA %I', n.nspname), 7 FROM pg_namespace n WHERE n.nspname IN ('mps_archive', 'mps_compat') AND n.nspowner = v_owner
                ORDER BY 2
            LOOP
                EXECUTE v.command;
            END LOOP;
        EXCEPTION WHEN dependent_objects_still_exist THEN
            GET STACKED DIAGNOSTICS v_in_the_way = PG_EXCEPTION_DETAIL;
        END;
    END IF;
    IF v_in_the_way IS NULL THEN
        -- What the next steps would stumble over: whatever else lies in the schemas or uses a function of the extension.
        SELECT string_agg(DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), ', ') INTO v_in_the_way
        FROM pg_depend d, pg_extension e
        WHERE e.extname = 'mps' AND d.deptype = 'n' AND (d.classid, d.objid) <> ('pg_extension'::regclass, e.oid)
          AND ((d.refclassid = 'pg_namespace'::regclass AND d.refobjid = ANY (v_spaces))
               OR (d.refclassid, d.refobjid) IN (SELECT m.classid, m.objid FROM pg_depend m
                                                 WHERE m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e'))
          AND (d.classid, d.objid) NOT IN (SELECT m.classid, m.objid FROM pg_depend m
                                           WHERE m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e');
    END IF;
    IF v_in_the_way IS NOT NULL THEN
        PERFORM sec.raise('STATUS_CONFLICT', format('nothing was destroyed, because these are not of mps: %s', v_in_the_way));
    END IF;

    RAISE LOG 'mps: % (logged in as %, from %) destroyed %', current_user, session_user, coalesce(host(inet_client_addr()), 'this machine'), v_what;
    SELECT string_agg(d.datname, ', ' ORDER BY d.datname) INTO v_elsewhere
    FROM pg_database d
    WHERE d.datname <> current_database()
      AND EXISTS (SELECT FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = v_owner AND s.dbid = d.oid);
    IF EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
        RETURN QUERY EXECUTE
            'SELECT format(''SELECT cron.unschedule(%s);'', j.jobid), format(''job %s of %s'', coalesce(j.jobname, ''?''), j.username) FROM cron.job j '
            'WHERE j.database = current_database() AND j.jobname = ANY ($1) ORDER BY j.jobid'
            USING ARRAY(SELECT 'mps_' || j.job FROM sec.jobs() j);
    END IF;
    RETURN QUERY
        VALUES ('DROP EXTENSION mps;', 'after this transaction; CREATE EXTENSION mps then starts afresh'),
               ('DROP SCHEMA app, audit, sec;', 'they are empty then'),
               (format('DROP ROLE %s;', v_owner), CASE WHEN v_elsewhere IS NULL THEN 'no other database of this server uses it'
                                             ELSE 'not as long as other databases use it: ' || v_elsewhere END);
END
$$;
COMMENT ON FUNCTION sec.destroy_everything(text) IS
    E'Destroys every card, transaction, setting and audit event of this database for good.\n'
    'Archived months included. p_confirm is a sentence that says how much there is at this moment: any other text is refused '
    'with the sentence in the detail. Refused also while anything that is not of mps depends on it. The server''s log gets a '
    'line. For a superuser.\n'
    'Results: statement, remark (what is left to be run by hand, and why).\n'
    'Errors: INVALID_ARGUMENT, NOT_ALLOWED, STATUS_CONFLICT.';
