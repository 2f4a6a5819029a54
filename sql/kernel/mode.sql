-- The mode: whether what writes is refused, for as long as somebody works on the database or moves it.
--
-- Whoever writes holds a writer's lock on a table until its transaction ends, and asks for the mode once it has that of the log. Whoever
-- turns read_only on holds the lock of the mode, has everybody told at once to look at it, and then waits until nobody has a writer's lock:
-- a writer that was not seen there asks later, and finds the mode locked or changed. Nobody waits for a lock of the other.

CREATE FUNCTION sec.install_mode() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.operating_mode') IS NULL THEN
        CREATE TABLE app.operating_mode (
            singleton boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (singleton),
            mode      text        NOT NULL CHECK (mode IN ('normal', 'read_only')),
            since     timestamptz NOT NULL,
            reason    text        CHECK (length(reason) BETWEEN 1 AND 500),
            CHECK (mode = 'normal' OR reason IS NOT NULL)
        );
        COMMENT ON TABLE app.operating_mode IS
            'Whether what writes is refused: app.set_mode() changes it. Without a row the mode is normal, and always was';
        COMMENT ON COLUMN app.operating_mode.since IS 'When this mode began.';
        COMMENT ON COLUMN app.operating_mode.reason IS 'What whoever is refused is told, word for word.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_mode() IS 'Makes the table of the mode, where it is missing. Internal: sec.install() calls it.';

CREATE FUNCTION sec.standing_triggers_of_kernel() RETURNS TABLE (tab text, trig text, events text, each text, func text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.operating_mode', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
           ('app.operating_mode', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed')
$$;
COMMENT ON FUNCTION sec.standing_triggers_of_kernel() IS 'The standing triggers of the kernel. Internal: sec.standing_triggers().';

CREATE FUNCTION sec.refuse_read_only() RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'refuse_read_only_wrapper';
COMMENT ON FUNCTION sec.refuse_read_only() IS
    'Refuses while read_only is on, and has app.set_mode() wait for this transaction: for the SQL parts of mps that write, before they '
    'do. Internal. Errors: READ_ONLY, SCHEMA_OUTDATED.';

CREATE FUNCTION sec.announce_mode() RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'announce_mode_wrapper';
COMMENT ON FUNCTION sec.announce_mode() IS
    'Has every backend look at the mode again, at once, also where this transaction is rolled back. Internal: sec.change_mode() calls it.';

CREATE FUNCTION sec.jobs_rest() RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE NOTICE 'standby: nothing to do';
        RETURN true;
    END IF;
    PERFORM sec.require_sound_tables();
    IF to_regclass('app.operating_mode') IS NOT NULL THEN
        SELECT m.since, m.reason INTO v FROM app.operating_mode m WHERE m.mode = 'read_only';
        IF FOUND THEN
            RAISE NOTICE 'read_only since %: nothing to do (%)', date_trunc('second', v.since), v.reason;
            RETURN true;
        END IF;
    END IF;
    RETURN false;
END
$$;
COMMENT ON FUNCTION sec.jobs_rest() IS
    E'Whether there is nothing to do for a job, on a standby or while read_only is on; says so. Internal.\n'
    'Level: operator.';

CREATE FUNCTION sec.who_writes() RETURNS text
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    -- Ours alone: who vacuums or reads is no writer. Who makes a month writes into tables that only itself can see.
    SELECT string_agg(DISTINCT coalesce('process ' || l.pid, 'a prepared transaction (pg_prepared_xacts)'), ', ')
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock')
      AND c.relnamespace::regnamespace::text IN ('app', 'audit') AND c.relkind IN ('r', 'p')
$$;
COMMENT ON FUNCTION sec.who_writes() IS
    'Who holds a writer''s lock on a table of mps at this moment; NULL: nobody. Internal: sec.wait_for_writers() asks it.';

CREATE FUNCTION sec.wait_for_writers() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- After how long whoever waits is told for whom.
    c_silence constant interval := '1 second';
    v_began constant timestamptz := clock_timestamp();
    v_patience constant interval := nullif(current_setting('lock_timeout')::interval, '0');
    v_waited interval;
    v_for text;
    v_said text;
BEGIN
    LOOP
        v_for := sec.who_writes();
        EXIT WHEN v_for IS NULL;
        v_waited := clock_timestamp() - v_began;
        IF v_waited > v_patience THEN
            PERFORM sec.raise('STATUS_CONFLICT', format('writers are still under way after lock_timeout: %s', v_for));
        ELSIF v_waited > c_silence AND v_for IS DISTINCT FROM v_said THEN
            RAISE NOTICE 'mps: waits for %', v_for;
            v_said := v_for;
        END IF;
        PERFORM pg_sleep(CASE WHEN v_waited > c_silence THEN 0.1 ELSE 0.005 END);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.wait_for_writers() IS
    'Waits until no other transaction holds a writer''s lock on a table of mps, as long as lock_timeout and statement_timeout allow. '
    'Holds nobody up. Internal. Errors: STATUS_CONFLICT.';

CREATE FUNCTION sec.change_mode(p_mode text, p_reason text)
    RETURNS TABLE (mode text, since timestamptz, reason text, changed boolean)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_was text;
    v_reason text;
    v_changed boolean;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'under READ COMMITTED only: SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
    ELSIF p_mode = 'read_only' AND pg_current_xact_id_if_assigned() IS NOT NULL THEN
        -- Somebody could be waiting for what this transaction has written, and this for them.
        PERFORM sec.raise('STATUS_CONFLICT', 'read_only is turned on first thing in a transaction');
    END IF;
    -- One change at a time. Whoever finds the stronger of the two knows that read_only is being turned on.
    IF p_mode = 'read_only' THEN
        LOCK TABLE app.operating_mode IN SHARE ROW EXCLUSIVE MODE;
    ELSE
        LOCK TABLE app.operating_mode IN SHARE UPDATE EXCLUSIVE MODE;
    END IF;
    SELECT m.mode, m.reason INTO v_was, v_reason FROM app.operating_mode m;
    v_was := coalesce(v_was, 'normal');
    IF p_mode = 'read_only' AND v_was = 'normal' THEN
        PERFORM sec.announce_mode();
        PERFORM sec.wait_for_writers();
    END IF;
    v_changed := p_mode <> v_was OR p_mode = 'read_only' AND p_reason <> v_reason;
    IF v_changed THEN
        INSERT INTO app.operating_mode AS m (mode, since, reason) VALUES (p_mode, clock_timestamp(), p_reason)
        ON CONFLICT (singleton) DO UPDATE SET mode = excluded.mode, reason = excluded.reason,
            since = CASE WHEN m.mode = excluded.mode THEN m.since ELSE excluded.since END;
    END IF;
    RETURN QUERY SELECT coalesce(m.mode, 'normal'), m.since, m.reason, v_changed
                 FROM (SELECT) one LEFT JOIN app.operating_mode m ON true;
END
$$;
COMMENT ON FUNCTION sec.change_mode(text, text) IS
    'Changes the mode, once no writer is under way any more. Internal: app.set_mode() calls it. Errors: STATUS_CONFLICT.';

CREATE FUNCTION app.set_mode(p_mode text, p_reason text DEFAULT NULL)
    RETURNS TABLE (mode text, since timestamptz, reason text, changed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_mode_wrapper';
COMMENT ON FUNCTION app.set_mode(text, text) IS
    E'Turns read_only on, for maintenance, or off again.\n'
    'p_mode: read_only refuses whatever writes, with READ_ONLY, while reads go on; normal ends that. p_reason: 1 to 500 characters, '
    'required for read_only; everybody who is refused is shown it. From the call on what is new is refused; it answers when the '
    'writers that were under way have ended, prepared transactions included, and after its commit nothing of mps changes until '
    'normal: no RPC writes, and jobs do nothing. What a superuser does by SQL, with grants, by ALTER EXTENSION UPDATE and '
    'app.migrate() goes on. Stays on over a restart, in a dump and on a standby that is promoted. Under READ COMMITTED, read_only '
    'first thing in a transaction. Waits at most lock_timeout, if that is set. Audited.\n'
    'Level: operator.\n'
    'Results: mode, since (NULL: it was never another), reason, changed (whether this call changed anything).\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT.';

CREATE FUNCTION sec.health_of_kernel() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'mode', false, format('read_only since %s (%s): what writes is refused until app.set_mode(''normal'')',
                                 date_trunc('second', m.since), m.reason)
    FROM app.operating_mode m WHERE m.mode = 'read_only'
$$;
COMMENT ON FUNCTION sec.health_of_kernel() IS
    'What app.health() says of the mode: only while it is read_only. Internal: sec.health_rows().';
