-- The job that makes months. Procedure and batches: see kernel/jobs.sql.

CREATE FUNCTION app.maintain_partitions_batch(p_ahead integer) RETURNS boolean
    -- As in the rehearsal. Shorter than deadlock_timeout, so that no autovacuum gives way to this.
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $$
DECLARE
    v_month date;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_read_only();
    PERFORM sec.check_months_ahead(p_ahead);
    v_month := date_trunc('month', (now() AT TIME ZONE 'UTC')::date + make_interval(months => p_ahead))::date;
    PERFORM sec.refuse_shadows();
    BEGIN
        -- So that a dump without privileges says by which names roles go today.
        PERFORM sec.note_grants();
        IF EXISTS (SELECT FROM sec.missing_tables(v_month)) THEN
            RETURN sec.make_month_tables(v_month);
        END IF;
        PERFORM sec.dress_made_month(v_month);
        PERFORM sec.drop_replaced_index();
        PERFORM sec.note_default_version();
    EXCEPTION WHEN lock_not_available THEN
        RETURN NULL;
    END;
    RETURN false;
END
$$;
COMMENT ON FUNCTION app.maintain_partitions_batch(integer) IS
    E'Makes the month that is p_ahead months from now, if it is missing, or gives it the settings that the present month has got since.\n'
    'NULL: a lock was not to be had at once. One batch of app.maintain_partitions().\n'
    'Level: operator.';

CREATE PROCEDURE app.maintain_partitions(p_months_ahead integer DEFAULT 3)
    LANGUAGE plpgsql AS $$
DECLARE
    v_made boolean;
    v_any boolean;
    v_done boolean;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    PERFORM sec.check_months_ahead(p_months_ahead);
    PERFORM sec.job_batch('maintain_partitions', 1, true);
    COMMIT;
    -- First the rehearsal: what would stop a month is noted before it stops one. Again where months were made: of the next.
    FOR v_round IN 1 .. 2 LOOP
        FOR v_try IN 1 .. 5 LOOP
            v_done := app.rehearse_month_batch();
            COMMIT;
            EXIT WHEN v_done;
            PERFORM pg_catalog.pg_sleep(0.25);
            COMMIT;
        END LOOP;
        EXIT WHEN v_any IS NOT NULL;
        v_any := false;
        FOR v_ahead IN 0 .. p_months_ahead LOOP
            FOR v_try IN 1 .. 20 LOOP
                v_made := app.maintain_partitions_batch(v_ahead);
                COMMIT;
                EXIT WHEN v_made IS NOT NULL;
                -- So that who queued behind the attempt gets through first.
                PERFORM pg_catalog.pg_sleep(0.25);
                COMMIT;
            END LOOP;
            IF v_made IS NULL THEN
                PERFORM sec.raise('STATUS_CONFLICT',
                                  'not all months are made or have what the present one has: in 20 tries a lock was not to be had '
                                  '(who runs ANALYZE of the partitioned tables keeps it until the transaction ends)');
            END IF;
            v_any := v_any OR v_made;
        END LOOP;
        EXIT WHEN NOT v_any;
    END LOOP;
    IF NOT v_done THEN
        RAISE WARNING 'mps: whether the next month can be made was not tried out: in 5 tries a lock was not to be had';
    END IF;
    CALL app.close_months();
    PERFORM sec.job_batch('maintain_partitions', 0, false);
    COMMIT;
END
$$;
COMMENT ON PROCEDURE app.maintain_partitions(integer) IS
    E'Makes the partitions of this month and of p_months_ahead (0 to 120) more, where they are missing.\n'
    'Tries out whether the next one could be made and written to, for app.health(); gives months made before the settings that the '
    'present one has got since. Also closes the months that are over (app.close_months). Charges go on meanwhile.\n'
    'Level: operator.\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT where a lock was not to be had in 20 tries.';

CREATE FUNCTION sec.check_months_ahead(p_months_ahead integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_months_ahead IS NULL OR p_months_ahead NOT BETWEEN 0 AND 120 THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_months_ahead is 0 to 120');
    END IF;
END
$$;
COMMENT ON FUNCTION sec.check_months_ahead(integer) IS
    E'Refuses a number of months out of bounds. Internal.\n'
    'Level: operator.';
