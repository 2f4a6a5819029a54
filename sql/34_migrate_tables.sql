-- What sec.install() does not do, because it exists: changes to tables of older releases. Each step is written once, for
-- ALTER EXTENSION mps UPDATE and for app.migrate() after an old dump was restored.
CREATE FUNCTION sec.migrate_tables() RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $migrate$
DECLARE
    c_version constant integer := 3;
    v_found integer;
BEGIN
    IF to_regclass('sec.api_grants') IS NOT NULL THEN
        -- One at a time: two would meet in the server's catalogs.
        LOCK TABLE sec.api_grants IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    -- From a dump of the schema alone there is no row yet.
    v_found := coalesce((SELECT s.schema_version FROM app.settings s), sec.default_version());
    IF v_found > c_version THEN
        PERFORM sec.raise('SCHEMA_OUTDATED', format('the tables have schema version %s, the extension only %s: install a newer one', v_found, c_version));
    END IF;
    IF v_found < c_version THEN
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
        ALTER TABLE app.settings ALTER COLUMN schema_version SET DEFAULT 2;
        PERFORM sec.expect_many_rows(i.inhrelid::regclass) FROM pg_inherits i WHERE i.inhparent = 'app.transactions'::regclass;
    END IF;
    IF v_found < 3 THEN
        -- 0.3.0: grants are remembered by role; sec.install() has called sec.migrate_api_grants(), before it granted anything.
        ALTER TABLE app.settings ALTER COLUMN schema_version SET DEFAULT 3;
        PERFORM sec.migrate_recharges();
        PERFORM sec.migrate_signup();
        PERFORM sec.migrate_days();
        PERFORM sec.migrate_views_3();
        PERFORM sec.migrate_comments_3();
    END IF;
    PERFORM sec.note_late_postings();
    PERFORM sec.drop_replaced_index();
    UPDATE app.settings SET schema_version = c_version WHERE schema_version <> c_version;
    RETURN c_version;
END
$migrate$;
COMMENT ON FUNCTION sec.migrate_tables() IS
    'Brings the tables of an older release to this one, whichever it was; returns the schema version. Again: mends what calls of '
    'an older release left behind, and else changes nothing. Errors: SCHEMA_OUTDATED where they are newer, STATUS_CONFLICT under '
    'another isolation level than READ COMMITTED. Internal: app.migrate() and ALTER EXTENSION UPDATE call it.';

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
    -- What calls under way have written is there to be seen once these are had. Settings first: a session that does not know
    -- them begins with them. Who comes later waits, and goes on as an older release does: app.external_orders and
    -- app.transactions have triggers for that.
    LOCK TABLE app.settings IN ACCESS EXCLUSIVE MODE;
    LOCK TABLE app.external_orders IN SHARE ROW EXCLUSIVE MODE;
    -- There can be millions: charges without an order id go on meanwhile.
    PERFORM sec.mend_trade_numbers();
    LOCK TABLE app.transactions IN SHARE ROW EXCLUSIVE MODE;
END
$$;
COMMENT ON FUNCTION sec.wait_for_calls() IS
    'Waits for every call that has claimed an order or written a transaction, and keeps others from it until the end of the '
    'transaction; mends trade numbers in between. Errors: STATUS_CONFLICT under another isolation level than READ COMMITTED. '
    'Internal: sec.migrate_tables() calls it.';

CREATE FUNCTION sec.migrate_recharges() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    ALTER TABLE app.settings ADD COLUMN IF NOT EXISTS max_pending_recharges integer NOT NULL DEFAULT 20
        CHECK (max_pending_recharges BETWEEN 1 AND 1000);
    PERFORM sec.count_pending();
    -- Confirming a member's recharge claimed its order id for everybody; it is the card's alone.
    DELETE FROM app.external_orders o
    WHERE o.scope = 2 AND EXISTS (SELECT FROM app.external_orders m WHERE m.scope IN (4, 5) AND m.tx_id = o.tx_id AND m.order_id = o.order_id);
    IF (SELECT s.recharge_confirmation FROM app.settings s) = 'trusted' THEN
        -- So did the members' own recharges where they are trusted. Of an order that two methods were paid under the later one stays
        -- as it is.
        UPDATE app.external_orders o SET scope = m.scope, scope_no = m.scope_no
        FROM (SELECT DISTINCT ON (c.scope, c.scope_no, r.order_id) r.scope_no AS method, r.order_id, c.scope, c.scope_no
              FROM app.external_orders r JOIN app.transactions t ON t.id = r.tx_id
              JOIN (SELECT p.id, 4 AS scope, substr(p.card_no, 4)::bigint AS scope_no FROM app.personal_cards p
                    UNION ALL SELECT e.id, 5, substr(e.card_no, 4)::bigint FROM app.enterprise_cards e) c ON c.id = t.card_id
              WHERE r.scope = 2 AND t.tx_type = 'recharge' AND t.processed_by = t.member_id
              ORDER BY c.scope, c.scope_no, r.order_id, r.tx_id) m
        WHERE o.scope = 2 AND o.scope_no = m.method AND o.order_id = m.order_id
          AND NOT EXISTS (SELECT FROM app.external_orders x
                          WHERE x.scope = m.scope AND x.scope_no = m.scope_no AND x.order_id = m.order_id);
    END IF;
END
$$;
COMMENT ON FUNCTION sec.migrate_recharges() IS
    'The step to schema version 3 of what recharges claim: trade numbers, order ids, pending ones. Internal: sec.migrate_tables() '
    'calls it.';

CREATE FUNCTION sec.migrate_signup() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    ALTER TABLE app.settings ADD COLUMN IF NOT EXISTS signup_anonymous boolean NOT NULL DEFAULT false;
    PERFORM sec.mend_signup();
END
$$;
COMMENT ON FUNCTION sec.migrate_signup() IS
    'The step to schema version 3 of sign-ups: the setting, and the trigger for those who get an identity where sign-up is on. '
    'Internal: sec.migrate_tables() calls it.';

CREATE FUNCTION sec.mend_signup() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF NOT sec.signup_is_whole() THEN
        PERFORM app.enable_supabase_signup();
    END IF;
EXCEPTION WHEN OTHERS THEN
    -- Whose table it is may be another's, and it may be busy: an upgrade does not fail for it. app.health() goes on saying so.
    RAISE NOTICE 'mps: anonymous users who get an identity become no members (%): SELECT app.enable_supabase_signup()', SQLERRM;
END
$$;
COMMENT ON FUNCTION sec.mend_signup() IS
    'Adds the trigger that sign-up of an older release lacks, if it can be had within two seconds. Internal: sec.migrate_signup() calls it.';

CREATE FUNCTION sec.recharges_are_astray() RETURNS boolean
    -- In PL/pgSQL, because an older release has not all of these tables.
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM app.pending_recharges r
                   FULL JOIN (SELECT t.id, t.card_id FROM app.transactions t WHERE t.status = 'processing') t ON t.id = r.tx_id
                   WHERE r.card_id IS DISTINCT FROM t.card_id)
        OR EXISTS (SELECT FROM app.external_orders o
                   LEFT JOIN app.external_orders x ON x.scope_no = 0 AND x.scope = 3 AND x.order_id = o.order_id
                   WHERE o.scope_no IN (1, 2, 3) AND o.scope = 3 AND (x.tx_id IS NULL OR x.tx_id = o.tx_id));
END
$$;
COMMENT ON FUNCTION sec.recharges_are_astray() IS 'Whether there is something for sec.mend_trade_numbers() or sec.count_pending() to do. Internal.';

CREATE FUNCTION sec.mend_trade_numbers() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A trade number is one whatever the method. Of two that were credited under one number the later one stays as it is, to be seen.
    DELETE FROM app.external_orders o
    WHERE o.scope = 3 AND o.scope_no <> 0
      AND EXISTS (SELECT FROM app.external_orders x WHERE x.scope = 3 AND x.scope_no = 0 AND x.order_id = o.order_id AND x.tx_id = o.tx_id);
    UPDATE app.external_orders o SET scope_no = 0
    WHERE o.scope = 3 AND o.scope_no <> 0
      AND NOT EXISTS (SELECT FROM app.external_orders x WHERE x.scope = 3 AND x.order_id = o.order_id AND x.scope_no <> o.scope_no
                        AND (x.scope_no = 0 OR (x.tx_id, x.scope_no) < (o.tx_id, o.scope_no)));
END
$$;
COMMENT ON FUNCTION sec.mend_trade_numbers() IS
    'Has trade numbers claimed as they are from 0.3.0 on. Internal: sec.wait_for_calls() calls it.';

CREATE FUNCTION sec.count_pending() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM app.pending_recharges r
    WHERE NOT EXISTS (SELECT FROM app.transactions t WHERE t.id = r.tx_id AND t.card_id = r.card_id AND t.status = 'processing');
    INSERT INTO app.pending_recharges (tx_id, card_id)
    SELECT t.id, t.card_id FROM app.transactions t WHERE t.status = 'processing' ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION sec.count_pending() IS
    'Has app.pending_recharges say which recharges wait. After sec.wait_for_calls(). Internal: sec.migrate_tables() calls it.';

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
    FOR v_log IN SELECT 'audit.event_log'::regclass UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = 'audit.event_log'::regclass LOOP
        EXECUTE format('COMMENT ON COLUMN %s.actor_role IS NULL', v_log);
    END LOOP;
    COMMENT ON COLUMN app.external_orders.scope IS NULL;
    PERFORM sec.describe_columns();
END
$$;
COMMENT ON FUNCTION sec.migrate_comments_3() IS
    'Describes the columns that 0.3.0 added or says something else of. Internal: sec.migrate_tables() calls it.';
