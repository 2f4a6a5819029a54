-- The jobs, for pg_cron or psql: which there are, what each did last, and registering them.
-- Their procedures are SECURITY INVOKER without SET, so that they can COMMIT between batches; each batch is one function that
-- becomes mps_owner (SECURITY DEFINER, or in C). They use no operator and no unqualified name, so the caller's search_path does not matter.
-- Every batch may be interrupted and run again.

CREATE FUNCTION sec.install_jobs() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.job_runs') IS NULL THEN
        CREATE TABLE app.job_runs (
            job         text        NOT NULL PRIMARY KEY,
            started_at  timestamptz NOT NULL,
            finished_at timestamptz,
            rows_done   bigint      NOT NULL DEFAULT 0
        );
        COMMENT ON TABLE app.job_runs IS
            'The last run of each maintenance procedure; finished_at is NULL while it runs or if it was interrupted';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_jobs() IS
    'Makes the table of job runs, where it is missing. Internal: sec.install() calls it.';

CREATE FUNCTION sec.job_batch(p_job text, p_rows bigint, p_first boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_read_only();
    IF p_job IS NULL OR NOT EXISTS (SELECT FROM sec.jobs() j WHERE j.job = p_job) AND p_job <> 'archive_partitions'
       OR p_rows IS NULL OR p_rows < 0 OR p_first IS NULL THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'no batch of a job of mps');
    END IF;
    PERFORM sec.refuse_shadows();
    INSERT INTO app.job_runs AS j (job, started_at, finished_at, rows_done)
    VALUES (p_job, clock_timestamp(), CASE WHEN p_rows = 0 THEN clock_timestamp() END, p_rows)
    ON CONFLICT (job) DO UPDATE SET
        started_at = CASE WHEN p_first THEN excluded.started_at ELSE j.started_at END,
        finished_at = excluded.finished_at,
        rows_done = CASE WHEN p_first THEN excluded.rows_done ELSE j.rows_done + excluded.rows_done END;
    RETURN p_rows = 0;
END
$$;
COMMENT ON FUNCTION sec.job_batch(text, bigint, boolean) IS
    E'Notes one batch of a maintenance job; true when it was the last. Internal.\n'
    'Level: operator.';

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
            done := format('nothing: pg_cron is not in this database; run the command, as the role the job is to run as, in '
                           'the one that has '
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
    'Level: operator.\n'
    'Results: job (its name), schedule (as of cron), command, done (what was done, or is to be done).';
