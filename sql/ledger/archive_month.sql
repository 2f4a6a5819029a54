-- Archiving one month: the batch of app.archive_partitions().

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
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_shadows();
    IF to_regnamespace('mps_archive') IS NULL
       OR (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'mps_archive') <> sec.owner() THEN
        PERFORM sec.raise('STATUS_CONFLICT',
                          format('there is no schema mps_archive of %1$s: CREATE SCHEMA mps_archive AUTHORIZATION %1$s', sec.owner()));
    END IF;
    BEGIN
        -- First the lock of sec.make_month(), then the tables, so that nothing is decided on what may still change.
        LOCK TABLE app.archived_months IN SHARE ROW EXCLUSIVE MODE;
        EXECUTE (SELECT 'LOCK TABLE ' || string_agg(format('%I.%I', t.nsp, t.tab), ', ') || ' IN ACCESS EXCLUSIVE MODE'
                 FROM sec.monthly_tables() t);
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RETURN 'busy';
    END;
    -- Not before: of two that hold a writer's lock here neither would get that of the other's tables.
    PERFORM sec.refuse_read_only();
    -- Once more: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    -- A month is archived only if all older ones are: else the books would have holes, and statements would end before them.
    SELECT min(i.inhrelid::regclass::text) INTO v_older
    FROM pg_inherits i, sec.partition_bounds(i.inhrelid) b
    WHERE i.inhparent IN (SELECT format('%I.%I', t.nsp, t.tab)::regclass FROM sec.monthly_tables() t)
      AND b.starts < p_month::timestamptz;
    SELECT m.month INTO v_month FROM sec.months_to_archive((p_month + interval '1 month')::date) m WHERE m.month = p_month;
    IF NOT FOUND AND (v_older IS NULL OR to_regclass('app.transactions_' || v_suffix) IS NULL OR p_month + interval '1 month' > now()) THEN
        RETURN 'not there, or not over yet';
    ELSIF v_older IS NOT NULL THEN
        RETURN format('%s is older, and is not archived', v_older);
    END IF;
    FOR v IN SELECT x.name FROM (SELECT format('%I.%I', t.nsp, t.tab) AS name FROM sec.monthly_tables() t) x
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
    FOR v IN SELECT * FROM sec.monthly_tables() LOOP
        PERFORM sec.run_ddl(format('ALTER TABLE %1$I.%2$I DETACH PARTITION %1$I.%3$I', v.nsp, v.tab, v.tab || '_' || v_suffix));
        PERFORM sec.run_ddl(format('ALTER TABLE %I.%I SET SCHEMA mps_archive', v.nsp, v.tab || '_' || v_suffix));
    END LOOP;
    PERFORM sec.record_event('month.archived', 'month', to_char(p_month, 'YYYY-MM'), '{}');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION app.archive_month_batch(date) IS
    E'Archives one month, if all older ones are: notes it in app.archived_months, detaches its tables and '
    'moves them to mps_archive.\n'
    'Under READ COMMITTED only. NULL: done; busy: a lock was not to be had within half a second; else why the month stays. One batch of '
    'app.archive_partitions().\n'
    'Level: operator.\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT, SCHEMA_OUTDATED.';
