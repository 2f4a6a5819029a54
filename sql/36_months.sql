-- Making a month: its tables, what they hang on, and what the planner is told of them.

CREATE FUNCTION sec.expect_many_rows(p_transactions regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Who asks for a page may be the one with the most rows, but the planner, who plans before it knows for whom, expects an
    -- average one: a few rows, which it would fetch whole and sort. With fewer members and merchants in its statistics it walks
    -- the index and stops after the page. Takes a lock that lets charges pass.
    PERFORM sec.run_ddl(format('ALTER TABLE %s ALTER COLUMN member_id SET (n_distinct = 200), ALTER COLUMN merchant_id SET (n_distinct = 20)', p_transactions));
END
$$;
COMMENT ON FUNCTION sec.expect_many_rows(regclass) IS
    'Has the planner expect many rows for each member and merchant in a month of app.transactions, from its next ANALYZE on. '
    'Internal.';

-- The caller's own defaults for new tables have no say.
CREATE FUNCTION sec.make_month(p_month date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $month$
DECLARE
    v_day date := date_trunc('month', p_month::timestamp)::date;
    v_suffix text := to_char(v_day::timestamp, 'YYYYMM');
    v_from text := to_char(v_day::timestamp, 'YYYY-MM-DD') || ' 00:00:00+00';
    v_to text := to_char(v_day::timestamp + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00';
    v record;
    v_made boolean := false;
BEGIN
    IF v_day < date '2000-01-01' OR v_day > date '2099-12-01' THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'months are those of the years 2000 to 2099');
    END IF;
    PERFORM sec.refuse_shadows();
    -- One maker at a time, whichever month; taken before any row lock, held to the end of the transaction. A lock on a table
    -- of our own, because an advisory lock is anybody's to take.
    LOCK TABLE app.archived_months IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM app.archived_months a WHERE a.month = v_day) THEN
        RETURN false;
    END IF;
    FOR v IN
        SELECT * FROM (VALUES
            ('app', 'transactions', 'PRIMARY KEY (id)'),
            ('app', 'point_ledger', 'PRIMARY KEY (card_id, point_seq)'),
            ('audit', 'event_log', 'PRIMARY KEY (id)')
        ) AS t (nsp, tab, pk)
        WHERE to_regclass(format('%I.%I', t.nsp, t.tab || '_' || v_suffix)) IS NULL
    LOOP
        -- A table of its own first, attached when it is complete: ATTACH takes a lock that lets charges pass, while
        -- CREATE TABLE ... PARTITION OF would stop every reader and writer of the parent.
        PERFORM sec.run_ddl(format('CREATE TABLE %I.%I (LIKE %I.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMMENTS)',
                                   v.nsp, v.tab || '_' || v_suffix, v.nsp, v.tab));
        PERFORM sec.run_ddl(format('ALTER TABLE %I.%I OWNER TO %s', v.nsp, v.tab || '_' || v_suffix, sec.owner()));
        PERFORM sec.run_ddl(format('ALTER TABLE %I.%I ADD %s', v.nsp, v.tab || '_' || v_suffix, v.pk));
        PERFORM sec.strip_grants(to_regclass(format('%I.%I', v.nsp, v.tab || '_' || v_suffix)));
        PERFORM sec.run_ddl(format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY', v.nsp, v.tab || '_' || v_suffix));
        PERFORM sec.run_ddl(format('COMMENT ON TABLE %I.%I IS %L', v.nsp, v.tab || '_' || v_suffix,
                                   format('%s.%s of %s (UTC)', v.nsp, v.tab, to_char(v_day::timestamp, 'YYYY-MM'))));
        IF v.tab = 'transactions' THEN
            PERFORM sec.expect_many_rows(to_regclass(format('%I.%I', v.nsp, v.tab || '_' || v_suffix)));
        END IF;
        IF v.tab = 'event_log' THEN
            PERFORM sec.run_ddl(format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I.%I '
                                       'FOR EACH STATEMENT EXECUTE FUNCTION sec.append_only()', v.nsp, v.tab || '_' || v_suffix));
            PERFORM sec.run_ddl(format('ALTER TABLE %I.%I ENABLE ALWAYS TRIGGER append_only', v.nsp, v.tab || '_' || v_suffix));
        END IF;
        PERFORM sec.run_ddl(format('ALTER TABLE %I.%I ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)',
                                   v.nsp, v.tab, v.nsp, v.tab || '_' || v_suffix, v_from, v_to));
        v_made := true;
    END LOOP;
    RETURN v_made;
END
$month$;
COMMENT ON FUNCTION sec.make_month(date) IS
    'Makes the partitions of the month that holds the date, where they are missing; returns whether it made any. Internal: '
    'app.maintain_partitions() and the RPCs call it.';
