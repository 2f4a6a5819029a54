-- What sec.install() does not do, because it exists: changes to tables of older releases. Each step is written once, for
-- ALTER EXTENSION mps UPDATE and for app.migrate() after an old dump was restored.
CREATE FUNCTION sec.migrate_tables() RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $migrate$
DECLARE
    c_version constant integer := 3;
    v_found integer;
BEGIN
    SELECT s.schema_version INTO v_found FROM app.settings s FOR UPDATE;
    IF v_found > c_version THEN
        PERFORM sec.raise('SCHEMA_OUTDATED', format('the tables have schema version %s, the extension only %s: install a newer one', v_found, c_version));
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
        PERFORM sec.migrate_views_3();
        PERFORM sec.migrate_comments_3();
    END IF;
    UPDATE app.settings SET schema_version = c_version WHERE schema_version <> c_version;
    RETURN c_version;
END
$migrate$;
COMMENT ON FUNCTION sec.migrate_tables() IS
    'Brings the tables of an older release to this one, whichever it was; returns the schema version. Again: changes nothing. '
    'Errors: SCHEMA_OUTDATED where they are newer. Internal: app.migrate() and ALTER EXTENSION UPDATE call it.';

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
    INSERT INTO app.pending_recharges (tx_id, card_id)
    SELECT t.id, t.card_id FROM app.transactions t WHERE t.status = 'processing' ON CONFLICT DO NOTHING;
    -- A trade number is one whatever the method. Of two that were credited under one number the later one stays as it is, to be seen.
    UPDATE app.external_orders o SET scope_no = 0
    WHERE o.scope = 3 AND o.scope_no <> 0
      AND NOT EXISTS (SELECT FROM app.external_orders x WHERE x.scope = 3 AND x.order_id = o.order_id
                        AND x.scope_no <> o.scope_no AND (x.tx_id, x.scope_no) < (o.tx_id, o.scope_no));
    -- Confirming a member's recharge claimed its order id for everybody; it is the card's alone.
    DELETE FROM app.external_orders o
    WHERE o.scope = 2 AND EXISTS (SELECT FROM app.external_orders m WHERE m.scope IN (4, 5) AND m.tx_id = o.tx_id AND m.order_id = o.order_id);
    IF (SELECT s.recharge_confirmation FROM app.settings s) = 'trusted' THEN
        -- So did the members' own recharges where they are trusted.
        UPDATE app.external_orders o SET scope = 4, scope_no = substr(c.card_no, 4)::bigint
        FROM app.transactions t JOIN app.personal_cards c ON c.id = t.card_id
        WHERE o.scope = 2 AND t.id = o.tx_id AND t.tx_type = 'recharge' AND t.processed_by = t.member_id
          AND NOT EXISTS (SELECT FROM app.external_orders x WHERE x.scope = 4 AND x.scope_no = substr(c.card_no, 4)::bigint AND x.order_id = o.order_id);
        UPDATE app.external_orders o SET scope = 5, scope_no = substr(c.card_no, 4)::bigint
        FROM app.transactions t JOIN app.enterprise_cards c ON c.id = t.card_id
        WHERE o.scope = 2 AND t.id = o.tx_id AND t.tx_type = 'recharge' AND t.processed_by = t.member_id
          AND NOT EXISTS (SELECT FROM app.external_orders x WHERE x.scope = 5 AND x.scope_no = substr(c.card_no, 4)::bigint AND x.order_id = o.order_id);
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
