-- What there is to watch.

CREATE FUNCTION sec.patience() RETURNS integer
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS 'SELECT 3';
COMMENT ON FUNCTION sec.patience() IS
    'After how many of its intervals without a run of a job somebody is told: it may miss two. Internal: app.health().';

CREATE FUNCTION app.health() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off SET timezone = 'UTC' AS $$
DECLARE
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

    RETURN QUERY SELECT * FROM sec.health_rows();

    -- After a takeover without their values the sequences begin again: numbers would repeat.
    SELECT string_agg(format('%s gave %s, but %s is used', x.seq, x.given, x.used), '; ') AS behind INTO v
    FROM sec.sequence_states() x WHERE x.used > x.given;
    SELECT string_agg(o.problem, '; ' ORDER BY o.problem) INTO v_message FROM sec.odd_sequences() o;
    v_message := nullif(concat_ws('; ', v.behind || ': setval() them before anybody writes', v_message), '');
    RETURN QUERY SELECT 'sequences'::text, v_message IS NULL, coalesce(v_message, 'none is behind its table');

    RETURN QUERY
        SELECT 'job ' || coalesce(j.job, r.job),
               coalesce(coalesce(r.finished_at, r.started_at) > now() - sec.patience() * j.every, r.job IS NOT NULL AND j.job IS NULL),
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
    'Level: operator.\n'
    'Results: check_name, ok (whether nothing has to be done), detail.';
