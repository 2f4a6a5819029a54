-- Archiving months. Procedure and batch: see kernel/jobs.sql; who calls the batch through a function of somebody else is asked for.

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
        PERFORM sec.raise('STATUS_CONFLICT',
                          format('there is no schema mps_archive of %1$s: CREATE SCHEMA mps_archive AUTHORIZATION %1$s', sec.owner()));
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
    FOR v IN SELECT x.name FROM (VALUES ('app.transactions', 'app'), ('app.point_ledger', 'app'), ('audit.event_log', 'audit'))
                            x (name, nsp)
             WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = x.name::regclass
                                 AND i.inhrelid = to_regclass(x.name || '_' || v_suffix)) LOOP
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
