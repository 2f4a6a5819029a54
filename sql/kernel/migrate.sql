-- What sec.install() does not do, because it exists: changes to tables of older releases. Each step is written once, for
-- ALTER EXTENSION mps UPDATE and for app.migrate() after an old dump was restored. The steps of a family are in its own files.

CREATE FUNCTION app.migrate() RETURNS integer
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'migrate_wrapper';
COMMENT ON FUNCTION app.migrate() IS
    E'Brings the tables up to this library, after a dump of an older release was restored; returns the schema version.\n'
    'Again: mends what calls of an older release left behind. For a superuser.\n'
    'Errors: SCHEMA_OUTDATED where the tables are newer than the library, STATUS_CONFLICT under another isolation level than READ '
    'COMMITTED.';

CREATE FUNCTION sec.migrate_tables() RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $migrate$
DECLARE
    c_version constant integer := 3;
    -- The last version whose step changes tables that calls write to. A release that changes none holds nobody up.
    c_waits_before constant integer := 3;
    v_found integer;
BEGIN
    IF to_regclass('sec.api_grants') IS NOT NULL THEN
        -- One at a time: two would meet in the server's catalogs.
        LOCK TABLE sec.api_grants IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    -- From a dump of the schema alone there is no row yet.
    v_found := coalesce((SELECT s.schema_version FROM app.settings s), sec.default_version());
    IF v_found > c_version THEN
        PERFORM sec.raise('SCHEMA_OUTDATED',
                          format('the tables have schema version %s, the extension only %s: install a newer one', v_found, c_version));
    END IF;
    IF v_found < c_waits_before THEN
        PERFORM sec.wait_for_calls();
    ELSIF sec.recharges_are_astray() THEN
        PERFORM sec.wait_for_calls();
        PERFORM sec.count_pending();
    END IF;
    PERFORM sec.supersede_functions();
    PERFORM sec.install();
    IF v_found < 2 THEN
        -- 0.2.0: a change of a level leaves an audit event, and what a subscription applies to settings and levels is announced
        -- (both are triggers that were missing, so sec.install() has made them). A page costs the page for heavy users, too.
        PERFORM sec.expect_many_rows(i.inhrelid::regclass) FROM pg_inherits i WHERE i.inhparent = 'app.transactions'::regclass;
    END IF;
    IF v_found < 3 THEN
        -- 0.3.0: grants are remembered by role; sec.install() has called sec.migrate_api_grants(), before it granted anything.
        PERFORM sec.migrate_recharges();
        PERFORM sec.migrate_signup();
        PERFORM sec.migrate_days();
        PERFORM sec.migrate_views_3();
        PERFORM sec.migrate_comments_3();
    END IF;
    PERFORM sec.note_late_postings();
    PERFORM sec.drop_replaced_index();
    UPDATE app.settings SET schema_version = c_version WHERE schema_version <> c_version;
    -- At last: from here to the end of the transaction who does not know the settings yet waits.
    PERFORM sec.note_default_version();
    RETURN c_version;
END
$migrate$;
COMMENT ON FUNCTION sec.migrate_tables() IS
    'Brings the tables of an older release to this one, whichever it was; returns the schema version. Again: mends what calls of '
    'an older release left behind, and else changes nothing. Errors: SCHEMA_OUTDATED where they are newer, STATUS_CONFLICT under '
    'another isolation level than READ COMMITTED. Internal: app.migrate() and ALTER EXTENSION UPDATE call it.';

CREATE FUNCTION sec.note_default_version() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_version integer := (SELECT s.schema_version FROM app.settings s);
BEGIN
    IF v_version <> sec.default_version() THEN
        -- Without waiting: behind this would wait who does not know the settings yet, for as long as somebody reads them (pg_dump).
        LOCK TABLE app.settings IN ACCESS EXCLUSIVE MODE NOWAIT;
        PERFORM sec.run_ddl(format('ALTER TABLE app.settings ALTER COLUMN schema_version SET DEFAULT %s', v_version));
    END IF;
EXCEPTION WHEN lock_not_available THEN
    -- Another time: only a dump of the schema alone goes by it.
    NULL;
END
$$;
COMMENT ON FUNCTION sec.note_default_version() IS
    'Has a dump of the schema alone say which layout the tables have, if nobody is in the way; else the next app.maintain_partitions() '
    'does. Internal.';

CREATE FUNCTION sec.default_version() RETURNS integer
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_get_expr(d.adbin, d.adrelid)::integer
    FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE d.adrelid = to_regclass('app.settings') AND a.attname = 'schema_version'
$$;
COMMENT ON FUNCTION sec.default_version() IS
    'Which layout the tables have by the default of settings.schema_version, also where they have no rows. Internal.';

CREATE FUNCTION sec.wait_for_calls() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'under READ COMMITTED only: an older view would miss what calls write that are waited for');
    END IF;
    -- There can be millions: calls go on meanwhile. What they claim until they are waited for are a few more.
    PERFORM sec.mend_trade_numbers();
    IF sec.lacks_price_columns() THEN
        PERFORM sec.lock_out_readers();
    ELSE
        PERFORM sec.lock_calls('SHARE ROW EXCLUSIVE');
    END IF;
    PERFORM sec.mend_trade_numbers();
END
$$;
COMMENT ON FUNCTION sec.wait_for_calls() IS
    'Waits for every call that has claimed an order or written a transaction, and keeps others from it until the end of the '
    'transaction; mends trade numbers in between. Errors: STATUS_CONFLICT under another isolation level than READ COMMITTED. '
    'Internal: sec.migrate_tables() calls it.';

CREATE FUNCTION sec.lock_calls(p_transactions text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- What calls under way have written is there to be seen once these are had. Settings first: a session that does not know
    -- them begins with them. Who comes later waits, and goes on as an older release does: app.external_orders and
    -- app.transactions have triggers for that.
    LOCK TABLE app.settings IN ACCESS EXCLUSIVE MODE;
    LOCK TABLE app.external_orders IN SHARE ROW EXCLUSIVE MODE;
    -- As whoever makes a month: months may have to be completed (sec.complete_months()).
    LOCK TABLE app.archived_months IN SHARE ROW EXCLUSIVE MODE;
    EXECUTE format('LOCK TABLE app.transactions IN %s MODE', p_transactions);
END
$$;
COMMENT ON FUNCTION sec.lock_calls(text) IS
    'The locks of sec.wait_for_calls(), that on app.transactions in the mode given. Internal.';

CREATE FUNCTION sec.lock_out_readers() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_patience interval := current_setting('lock_timeout')::interval;
    v_began timestamptz := clock_timestamp();
    v_tries integer := 0;
BEGIN
    -- Columns are added where nobody reads. A call that has read a transaction may wait for one of the other locks, so none of them
    -- is held for long without the others: who is in the way is let through, and then it is tried again.
    LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '300ms', true);
            PERFORM sec.lock_calls('ACCESS EXCLUSIVE');
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF v_patience > interval '0' AND clock_timestamp() - v_began > v_patience THEN
                RAISE;
            END IF;
        END;
        v_tries := v_tries + 1;
        -- No lock on a table is held here. Who waits for this transaction waits for a trade number that it has mended, and would keep
        -- what it has read for as long: a confirmation that is being repeated, and will be again.
        PERFORM pg_cancel_backend(l.pid) FROM pg_locks l
        WHERE l.locktype = 'transactionid' AND l.transactionid = pg_current_xact_id()::xid AND NOT l.granted;
        IF v_tries = 10 THEN
            RAISE NOTICE 'mps: waiting for who reads or writes app.transactions: see pg_locks';
        END IF;
        PERFORM pg_sleep(0.1 * least(v_tries, 10));
    END LOOP;
    PERFORM set_config('lock_timeout', (extract(epoch FROM v_patience) * 1000)::bigint::text, true);
END
$$;
COMMENT ON FUNCTION sec.lock_out_readers() IS
    'The locks of sec.wait_for_calls(), with readers of app.transactions kept out as well; all of them are had at once, or it is tried '
    'again, for as long as lock_timeout says. Internal.';

CREATE FUNCTION sec.migrate_views_3() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_view text;
BEGIN
    -- One that is a member of the extension was missing, and is new. A script replaces a view of the extension's own only: the
    -- others become that for the moment, because dropping them would take others' views that stand on them.
    FOR v_view IN
        SELECT x.name FROM (VALUES ('app.v_usage_logs'), ('app.v_reconciliation')) x (name)
        WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = x.name::regclass AND d.deptype = 'e')
    LOOP
        EXECUTE format('ALTER EXTENSION mps ADD VIEW %s', v_view);
        CASE v_view
            WHEN 'app.v_usage_logs' THEN PERFORM sec.make_usage_logs();
            WHEN 'app.v_reconciliation' THEN PERFORM sec.make_reconciliation();
        END CASE;
        EXECUTE format('ALTER EXTENSION mps DROP VIEW %s', v_view);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.migrate_views_3() IS
    'The views of 0.3.0 in the place of those of older releases. Internal: sec.migrate_tables() calls it.';

CREATE FUNCTION sec.migrate_comments_3() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_log regclass;
BEGIN
    -- What 0.3.0 says otherwise of columns that are as they were is said no more, and then anew, with what is new.
    FOR v_log IN SELECT 'audit.event_log'::regclass
                 UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = 'audit.event_log'::regclass LOOP
        EXECUTE format('COMMENT ON COLUMN %s.actor_role IS NULL', v_log);
    END LOOP;
    FOR v_log IN SELECT 'app.transactions'::regclass
                 UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = 'app.transactions'::regclass LOOP
        EXECUTE format('COMMENT ON COLUMN %s.final_amount IS NULL', v_log);
    END LOOP;
    IF obj_description('app.transactions'::regclass) LIKE 'Every payment, refund, recharge and adjustment,%' THEN
        EXECUTE format('COMMENT ON TABLE app.transactions IS %L',
                       replace(obj_description('app.transactions'::regclass), 'recharge and adjustment,',
                               'recharge, adjustment and withdrawal,'));
    END IF;
    COMMENT ON COLUMN app.external_orders.scope IS NULL;
    COMMENT ON COLUMN app.idempotency_keys.operation IS NULL;
    PERFORM sec.describe_columns();
END
$$;
COMMENT ON FUNCTION sec.migrate_comments_3() IS
    'Describes the columns that 0.3.0 added or says something else of. Internal: sec.migrate_tables() calls it.';
