-- Making a month: its tables, what they hang on, and what the planner is told of them.

CREATE FUNCTION sec.expect_many_rows(p_transactions regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Who asks for a page may be the one with the most rows, but the planner, who plans before it knows for whom, expects an
    -- average one: a few rows, which it would fetch whole and sort. With fewer members and merchants in its statistics it walks
    -- the index and stops after the page. Takes a lock that lets charges pass.
    PERFORM sec.run_ddl(format('ALTER TABLE %s ALTER COLUMN member_id SET (n_distinct = 200), '
                               'ALTER COLUMN merchant_id SET (n_distinct = 20)', p_transactions));
END
$$;
COMMENT ON FUNCTION sec.expect_many_rows(regclass) IS
    'Has the planner expect many rows for each member and merchant in a month of app.transactions, from its next ANALYZE on. '
    'Internal.';

CREATE FUNCTION sec.missing_tables(p_month date) RETURNS TABLE (nsp text, tab text, pk text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.nsp, t.tab, t.pk FROM sec.monthly_tables() t
    WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = format('%I.%I', t.nsp, t.tab)::regclass
                        AND i.inhrelid = to_regclass(format('%I.%I', t.nsp, t.tab || to_char(p_month::timestamp, '_YYYYMM'))))
$$;
COMMENT ON FUNCTION sec.missing_tables(date) IS 'The tables of a month that are not there, or hang on nothing. Internal.';

CREATE FUNCTION sec.who_holds_months() RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- What conflicts with the lock that attaching a month takes, on what making one locks first.
    SELECT string_agg(format('process %s (%s on %s)', l.pid, l.mode, l.relation::regclass), ', '
                      ORDER BY l.pid, l.relation::regclass::text)
    FROM pg_locks l
    WHERE l.granted AND l.pid <> pg_backend_pid() AND l.locktype = 'relation'
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND l.relation IN (SELECT format('%I.%I', t.nsp, t.tab)::regclass FROM sec.monthly_tables() t
                         UNION ALL SELECT 'app.archived_months'::regclass)
$$;
COMMENT ON FUNCTION sec.who_holds_months() IS
    'Who holds a lock at this moment that keeps months from being made (ANALYZE and VACUUM of the partitioned tables do); NULL: '
    'nobody. Internal.';

CREATE FUNCTION sec.lock_months() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- One maker at a time, whichever month; taken before any row lock, held to the end of the transaction. A lock on a table
    -- of our own, because an advisory lock is anybody's to take.
    LOCK TABLE app.archived_months IN SHARE ROW EXCLUSIVE MODE;
    -- What attaching takes, all of it before anything else: where a foreign key of a shop's has attaching lock a table that
    -- charges write to, nobody waits for ANALYZE with that lock in hand. ONLY: the months themselves are left to autovacuum.
    EXECUTE (SELECT 'LOCK TABLE ' || string_agg(format('ONLY %I.%I', t.nsp, t.tab), ', ') || ' IN SHARE UPDATE EXCLUSIVE MODE'
             FROM sec.monthly_tables() t);
END
$$;
COMMENT ON FUNCTION sec.lock_months() IS
    'The locks of who makes a month; readers and charges pass them. Waits as long as lock_timeout says. Internal.';

CREATE FUNCTION sec.make_month_tables(p_day date) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $month$
DECLARE
    v_suffix text := to_char(p_day::timestamp, '_YYYYMM');
    v_from text := to_char(p_day::timestamp, 'YYYY-MM-DD') || ' 00:00:00+00';
    v_to text := to_char(p_day::timestamp + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00';
    v record;
    v_model regclass;
    v_made boolean := false;
BEGIN
    PERFORM sec.lock_months();
    IF EXISTS (SELECT FROM app.archived_months a WHERE a.month = p_day) THEN
        RETURN false;
    END IF;
    FOR v IN SELECT m.nsp, m.tab, m.pk, format('%I.%I', m.nsp, m.tab) AS parent, format('%I.%I', m.nsp, m.tab || v_suffix) AS part
             FROM sec.missing_tables(p_day) m LOOP
        IF to_regclass(v.part) IS NOT NULL THEN
            PERFORM sec.raise('STATUS_CONFLICT', format('%s is there, but is no partition of %s', v.part, v.parent));
        END IF;
        v_model := sec.model_month(v.parent::regclass);
        -- A table of its own first, attached when it is complete: ATTACH takes a lock that lets charges pass, while
        -- CREATE TABLE ... PARTITION OF would stop every reader and writer of the parent.
        PERFORM sec.run_ddl(format('CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED '
                                   'INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING COMMENTS)%s%s',
                                   v.part, v.parent, sec.access_method_of(v.parent::regclass),
                                   sec.tablespace_like(' TABLESPACE', v.parent::regclass, v_model)));
        PERFORM sec.run_ddl(format('ALTER TABLE %s OWNER TO %s', v.part, sec.owner()));
        PERFORM sec.run_ddl(format('ALTER TABLE %s ADD PRIMARY KEY (%s)%s', v.part, v.pk,
                                   sec.tablespace_like(' USING INDEX TABLESPACE', sec.primary_key_of(v_model))));
        PERFORM sec.strip_grants(v.part::regclass);
        PERFORM sec.run_ddl(format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', v.part));
        PERFORM sec.run_ddl(format('COMMENT ON TABLE %s IS %L', v.part,
                                   format('%s.%s of %s (UTC)', v.nsp, v.tab, to_char(p_day::timestamp, 'YYYY-MM'))));
        IF v.tab = 'transactions' THEN
            PERFORM sec.expect_many_rows(v.part::regclass);
        END IF;
        IF v.tab = 'event_log' THEN
            PERFORM sec.run_ddl(format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s '
                                       'FOR EACH STATEMENT EXECUTE FUNCTION sec.append_only()', v.part));
            PERFORM sec.run_ddl(format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', v.part));
        END IF;
        PERFORM sec.run_ddl(format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', v.parent, v.part, v_from, v_to));
        PERFORM sec.dress_month(v.part::regclass, v.parent::regclass, v_model, true);
        v_made := true;
    END LOOP;
    RETURN v_made;
END
$month$;
COMMENT ON FUNCTION sec.make_month_tables(date) IS
    'Makes the missing tables of the month that begins on the day, as the present month has them; returns whether it made any. '
    'Internal: sec.make_month() and the rehearsal call it.';

CREATE FUNCTION sec.complete_months() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_month date;
BEGIN
    -- A month of which a table is there and detached is somebody's work: app.health() names it.
    FOR v_month IN
        SELECT m.day FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND c.relname ~ '_20[0-9]{4}$',
               LATERAL (SELECT to_date(right(c.relname, 6), 'YYYYMM') AS day) m
        WHERE i.inhparent = 'app.transactions'::regclass
          AND (SELECT bool_and(to_regclass(format('%I.%I', t.nsp, t.tab || to_char(m.day::timestamp, '_YYYYMM'))) IS NULL)
               FROM sec.missing_tables(m.day) t)
        ORDER BY m.day
    LOOP
        PERFORM sec.make_month_tables(v_month);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.complete_months() IS
    'Gives the months that are here the tables that they lack, because a family that keeps one by month has joined since. Internal: '
    'sec.install() calls it.';

-- The caller's own defaults for new tables have no say.
CREATE FUNCTION sec.make_month(p_month date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $month$
DECLARE
    -- Somebody stands at the till.
    c_patience constant integer := 2000;
    v_day date := date_trunc('month', p_month::timestamp)::date;
    v_caller_waits text := current_setting('lock_timeout');
    v_made boolean;
    v_holders text;
BEGIN
    IF v_day < date '2000-01-01' OR v_day > date '2099-12-01' THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'months are those of the years 2000 to 2099');
    END IF;
    PERFORM sec.refuse_shadows();
    IF (SELECT s.setting::integer NOT BETWEEN 1 AND c_patience FROM pg_settings s WHERE s.name = 'lock_timeout') THEN
        PERFORM set_config('lock_timeout', c_patience::text, true);
    END IF;
    BEGIN
        v_made := sec.make_month_tables(v_day);
    EXCEPTION WHEN lock_not_available THEN
        v_holders := sec.who_holds_months();
        RAISE LOG 'mps: the tables of % could not be made, because of locks: %',
            to_char(v_day::timestamp, 'YYYY-MM'), coalesce(v_holders, 'gone by now');
        PERFORM sec.raise('STATUS_CONFLICT',
                          format('the tables of %s are missing, and while somebody holds a lock on those of the other months '
                                 '(as ANALYZE does) they cannot be made: try again', to_char(v_day::timestamp, 'YYYY-MM')));
    END;
    PERFORM set_config('lock_timeout', v_caller_waits, true);
    RETURN v_made;
END
$month$;
COMMENT ON FUNCTION sec.make_month(date) IS
    'Makes the partitions of the month that holds the date, where they are missing; returns whether it made any. Waits at most two '
    'seconds for each lock. Internal: app.maintain_partitions() and the RPCs call it. Errors: INVALID_ARGUMENT, STATUS_CONFLICT where '
    'a lock was not to be had.';
