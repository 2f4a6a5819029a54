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
    E'The months whose partitions end at or before 00:00 UTC of the day and are over, oldest first, up to the first partition that '
    'cannot be archived. Internal. Errors: INVALID_ARGUMENT.\n'
    'Level: operator.';

CREATE PROCEDURE app.archive_partitions(p_older_than date)
    LANGUAGE plpgsql AS $$
DECLARE
    v_first boolean := true;
    v_months date[];
    v_month date;
    v_answer text;
BEGIN
    IF sec.jobs_rest() THEN
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
    'Level: operator.\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT.';
