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
        COMMENT ON VIEW app.v_usage_logs IS
            'The transactions that the signed-in user made, with enterprise cards as long as it is bound to them. Ordered by '
            'created_at with a LIMIT it costs the page, not the history, and some 25 microseconds for each month that is not '
            'archived; a condition on created_at leaves the other months out.';
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
    ALTER TABLE app.settings ADD COLUMN IF NOT EXISTS max_pending_recharges integer NOT NULL DEFAULT 20 CHECK (max_pending_recharges BETWEEN 1 AND 1000);
    COMMENT ON COLUMN app.settings.max_pending_recharges IS 'How many recharges of one card may wait for their payment.';
    COMMENT ON COLUMN app.external_orders.scope IS
        '1 payment order (scope_no: merchant); 2 recharge order, 3 gateway trade number (scope_no: payment method, 1 cash, 2 '
        'wechat, 3 alipay; of trade numbers 0, but where two methods had credited one before 0.3.0); 4 and 5 order of a member''s '
        'recharge (scope_no: number of the personal, enterprise card)';
    COMMENT ON COLUMN app.external_orders.tx_id IS
        'The transaction; of a trade number in suspense the id in app.suspense_payments, with a minus.';
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
    COMMENT ON COLUMN app.settings.signup_anonymous IS
        'Whether users who are signed in anonymously become members. If not, they do when they get an identity.';
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
BEGIN
    IF EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = 'app.v_usage_logs'::regclass AND d.deptype = 'e') THEN
        -- It was missing, and is new.
        RETURN;
    END IF;
    -- No row that is there already breaks a page. A script replaces a view of the extension's own only, and this is none: it
    -- becomes one for the moment, because dropping it would take others' views that stand on it.
    ALTER EXTENSION mps ADD VIEW app.v_usage_logs;
    CREATE OR REPLACE VIEW app.v_usage_logs WITH (security_invoker = true) AS
            SELECT t.id AS tx_id, t.tx_no, t.tx_type::text AS tx_type, t.status::text AS status, t.card_type::text AS card_type,
                   t.card_id, t.member_id, t.merchant_id, t.raw_amount, t.discount, t.final_amount, t.points_earned,
                   t.balance_after, t.payment_method::text AS payment_method, t.original_tx_no, t.refunded_amount,
                   t.reason, sec.shown_tag(t.tag) AS tag, t.created_at, t.posted_at
            -- Of two things, so that nobody takes it for a view that can be written to; the planner drops the second.
            FROM app.transactions t, (SELECT) read_only WHERE t.member_id = (SELECT sec.uid());
    ALTER EXTENSION mps DROP VIEW app.v_usage_logs;
    COMMENT ON VIEW app.v_usage_logs IS
            'The transactions that the signed-in user made, with enterprise cards as long as it is bound to them. It costs the months '
            'that a constant condition on created_at names, without one every month that is not archived; for a page, '
            'app.usage_page() costs the page.';
    COMMENT ON COLUMN app.v_usage_logs.tag IS 'As sec.shown_tag() shows it: one whose text would be longer than 16 KiB is left out.';
END
$$;
COMMENT ON FUNCTION sec.migrate_views_3() IS
    'The views of 0.3.0 in the place of those of older releases. Internal: sec.migrate_tables() calls it.';

CREATE FUNCTION sec.migrate_comments_3() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_log regclass;
BEGIN
    FOR v_log IN SELECT 'audit.event_log'::regclass UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = 'audit.event_log'::regclass LOOP
        EXECUTE format('COMMENT ON COLUMN %s.actor_role IS %L', v_log,
                       'The database role that is responsible: the one that the server ran the caller under, or whose code made the '
                       'call if that has the lesser level.');
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.migrate_comments_3() IS
    'What 0.3.0 says otherwise of columns that are as they were. Internal: sec.migrate_tables() calls it.';
