-- Whether the next month could be made and written to is tried out before it is needed, in a subtransaction that is rolled back.

CREATE FUNCTION sec.install_rehearsals() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.month_rehearsals') IS NULL THEN
        CREATE TABLE app.month_rehearsals (
            singleton    boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (singleton),
            month        date        NOT NULL,
            rehearsed_at timestamptz NOT NULL,
            problem      text
        );
        COMMENT ON TABLE app.month_rehearsals IS
            'The last time that app.maintain_partitions() tried out whether the next missing month could be made and written to';
        COMMENT ON COLUMN app.month_rehearsals.problem IS 'What would stop it; NULL: nothing.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_rehearsals() IS
    'Makes the table of rehearsals, where it is missing. Internal: sec.install() calls it.';

CREATE FUNCTION sec.next_missing_month() RETURNS date
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_month date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
BEGIN
    WHILE NOT EXISTS (SELECT FROM sec.missing_tables(v_month)) LOOP
        v_month := (v_month + interval '1 month')::date;
    END LOOP;
    RETURN CASE WHEN v_month < date '2100-01-01' THEN v_month END;
END
$$;
COMMENT ON FUNCTION sec.next_missing_month() IS 'The first month from now on that is not there whole; NULL: all are. Internal.';

CREATE FUNCTION sec.try_columns(p_row jsonb, p_table text, p_columns text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_names text := (SELECT string_agg(split_part(trim(c), ' ', 1), ', ') FROM string_to_table(p_columns, ',') c);
BEGIN
    EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM jsonb_to_record($1) AS r (%s)', p_table, v_names, v_names, p_columns) USING p_row;
END
$$;
COMMENT ON FUNCTION sec.try_columns(jsonb, text, text) IS 'Writes one row of our own columns, as the RPCs do. Internal: the rehearsal.';

CREATE FUNCTION sec.last_payment() RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_model regclass := sec.model_month('app.transactions');
    v_row jsonb;
BEGIN
    -- Of the server's types and ours alone: to make JSON of another its owner's functions would run as ours.
    IF v_model IS NOT NULL THEN
        EXECUTE format('SELECT to_jsonb(x) FROM (SELECT t.card_id, t.member_id, t.merchant_id, t.processed_by, t.tx_type, t.status, '
                       't.card_type, t.payment_method, t.discount, t.raw_amount, t.final_amount, t.balance_after, t.refunded_amount, '
                       't.points_earned, t.card_seq, t.reason FROM (SELECT * FROM %s ORDER BY id DESC LIMIT 1000) t '
                       'WHERE t.tx_type = ''payment'' ORDER BY t.id DESC LIMIT 1) x', v_model) INTO v_row;
    END IF;
    RETURN coalesce(v_row, (SELECT jsonb_build_object('card_id', c.id, 'member_id', c.member_id) FROM app.personal_cards c LIMIT 1),
                    jsonb_build_object('card_id', gen_random_uuid(), 'member_id', gen_random_uuid()));
END
$$;
COMMENT ON FUNCTION sec.last_payment() IS
    'What a payment of this shop looks like: its last one, or one of any card. Internal: the rehearsal.';

CREATE FUNCTION sec.try_month(p_month date) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_suffix text := to_char(p_month::timestamp, '_YYYYMM');
    v_at timestamptz := p_month::timestamp AT TIME ZONE 'UTC';
    -- The number 0 is nobody's: the sequence begins with 1, and nothing is taken from it.
    v_id bigint := to_char(p_month::timestamp, 'YYMM')::bigint * 100000000000;
    v_tx_no text := to_char(p_month::timestamp, '"ZF"YYMM"000000"');
    v_row jsonb;
    v record;
BEGIN
    -- What a shop's triggers do before a row is written decides whether it can be; what they do after it (mail, say) is for
    -- payments that took place.
    FOR v IN SELECT g.tgrelid::regclass AS part, g.tgname FROM sec.monthly_tables() t
             JOIN pg_trigger g ON g.tgrelid = format('%I.%I', t.nsp, t.tab || v_suffix)::regclass
             WHERE NOT g.tgisinternal AND g.tgtype & 2 = 0 LOOP
        PERFORM sec.run_ddl(format('ALTER TABLE %s DISABLE TRIGGER %I', v.part, v.tgname));
    END LOOP;
    v_row := jsonb_build_object('tx_type', 'payment', 'status', 'completed', 'card_type', 'personal', 'payment_method', 'balance',
                                'points_earned', 1, 'discount', 1, 'raw_amount', 1, 'final_amount', 1, 'balance_after', 0,
                                'refunded_amount', 0, 'card_seq', 1, 'tag', '{}'::jsonb,
                                'merchant_id', (SELECT m.id FROM app.merchants m ORDER BY m.id LIMIT 1))
             || sec.last_payment() || jsonb_build_object('id', v_id, 'created_at', v_at, 'posted_at', v_at, 'tx_no', v_tx_no);
    PERFORM sec.try_columns(v_row, 'app.transactions' || v_suffix,
        'id bigint, created_at timestamptz, posted_at timestamptz, card_seq bigint, prev_tx_id bigint, skip_tx_id bigint, '
        'refund_chain_id bigint, points_earned bigint, merchant_id integer, tx_type app.tx_type, status app.tx_status, '
        'card_type app.card_type, payment_method app.pay_method, card_id uuid, member_id uuid, processed_by uuid, discount numeric, '
        'raw_amount numeric, final_amount numeric, balance_after numeric, refunded_amount numeric, refundable_left numeric, '
        'tx_no text, original_tx_no text, idempotency_key text, external_order_id text, gateway_trade_no text, reason text, '
        'failure_reason text, tag jsonb, excluded_amount numeric, coupon_discount numeric, member_coupon_id bigint, '
        'points_base bigint, points_bonus bigint, campaigns jsonb');
    IF v_row ->> 'card_type' <> 'personal' THEN
        v_row := v_row || coalesce((SELECT jsonb_build_object('card_id', c.id) FROM app.personal_cards c LIMIT 1), '{}');
    END IF;
    PERFORM sec.try_columns(
        v_row || '{"point_seq": 1, "change": 1, "balance_after": 1, "level": 0, "reason": null}', 'app.point_ledger' || v_suffix,
        'card_id uuid, point_seq bigint, created_at timestamptz, change bigint, balance_after bigint, level smallint, tx_no text, '
        'reason text');
    PERFORM sec.try_columns(
        jsonb_build_object('id', 0, 'happened_at', v_at, 'actor_user_id', v_row -> 'processed_by', 'actor_role', sec.caller_role(),
                           'action', 'payment', 'object_type', 'transaction', 'object_id', v_tx_no, 'context', '{}'::jsonb),
        'audit.event_log' || v_suffix, 'id bigint, happened_at timestamptz, actor_user_id uuid, actor_role text, action text, '
        'object_type text, object_id text, context jsonb');
    -- As a refund does. Where a publication lacks an identity this is what fails.
    EXECUTE format('UPDATE app.transactions%s SET refund_chain_id = id, refunded_amount = final_amount WHERE id = $1', v_suffix) USING v_id;
END
$$;
COMMENT ON FUNCTION sec.try_month(date) IS
    'Writes a charge''s rows into a month that was made a moment ago, and a refund''s change; takes no numbers. Triggers that fire '
    'after a row are left out. Internal: the rehearsal.';

CREATE FUNCTION app.rehearse_month_batch() RETURNS boolean
    -- Charges that meet a lock of this wait no longer than this waits for it, and for the few milliseconds that it is held.
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $$
DECLARE
    v_month date;
    v_problem text;
    v_state text;
    v_detail text;
    v_where text;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_read_only();
    PERFORM sec.refuse_shadows();
    v_month := sec.next_missing_month();
    IF v_month IS NULL THEN
        RETURN true;
    END IF;
    BEGIN
        PERFORM sec.make_month_tables(v_month);
        PERFORM sec.try_month(v_month);
        RAISE EXCEPTION USING ERRCODE = 'MPSOK';
    EXCEPTION
        -- Whichever it is, everything since BEGIN is undone, and its locks are free.
        WHEN SQLSTATE 'MPSOK' THEN NULL;
        WHEN lock_not_available OR deadlock_detected THEN RETURN false;
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS v_problem = MESSAGE_TEXT, v_state = RETURNED_SQLSTATE, v_detail = PG_EXCEPTION_DETAIL,
                v_where = PG_EXCEPTION_CONTEXT;
            -- No detail but of our own errors: it may show a row.
            v_problem := CASE WHEN v_state LIKE 'PT%' THEN v_detail ELSE v_problem END;
            v_problem := concat(v_problem, ' (' || left(
                substring(v_where FROM 'SQL statement "((?:CREATE|ALTER|INSERT|UPDATE|COMMENT)[^"\n(]*[^"\n( ])'), 200) || ')');
    END;
    INSERT INTO app.month_rehearsals AS r (month, rehearsed_at, problem) VALUES (v_month, clock_timestamp(), v_problem)
    ON CONFLICT (singleton) DO UPDATE SET month = excluded.month, rehearsed_at = excluded.rehearsed_at, problem = excluded.problem;
    RETURN true;
END
$$;
COMMENT ON FUNCTION app.rehearse_month_batch() IS
    E'Tries out whether the next missing month could be made and written to.\n'
    'In a subtransaction, which is rolled back; the answer is noted in app.month_rehearsals, for app.health(). False: a lock was not to '
    'be had, and nothing is noted. One batch of app.maintain_partitions(). Errors: NOT_ALLOWED.\n'
    'Level: operator.';

CREATE FUNCTION sec.health_of_months(p_patience interval) RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_this date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    v_next date := coalesce(sec.next_missing_month(), date '2100-01-01');
    v_ahead integer := 12 * (extract(year FROM v_next) - extract(year FROM v_this))
                       + extract(month FROM v_next) - extract(month FROM v_this) - 1;
    v_holders text := sec.who_holds_months();
    v_remarks text := (SELECT string_agg(m.remark, '; ') FROM sec.month_remarks() m);
    v record;
BEGIN
    SELECT r.month, r.problem, greatest(clock_timestamp() - r.rehearsed_at, interval '0') AS age INTO v FROM app.month_rehearsals r;
    RETURN QUERY
        SELECT 'partitions'::text, v_ahead >= 1 AND v.problem IS NULL,
               CASE WHEN v_ahead < 0 THEN 'THE PRESENT MONTH IS NOT MADE: the next charge has to, or fails'
                    ELSE format('%s months ahead are made', v_ahead) END
               || CASE WHEN v_ahead < 1 THEN ': CALL app.maintain_partitions()' ELSE '' END
               || CASE WHEN v.problem IS NULL THEN '' ELSE '; another could not be: see next_month' END
               || CASE WHEN v_ahead < 1 AND v_holders IS NOT NULL
                       THEN '; no month can be made as long as locks are held by ' || v_holders ELSE '' END;
    RETURN QUERY
        SELECT 'next_month'::text, v.month IS NOT NULL AND v.problem IS NULL AND v.age < p_patience,
               CASE WHEN v.month IS NULL THEN 'it was never tried out whether it can be made: CALL app.maintain_partitions()'
                    ELSE format('%s, tried out %s ago: %s', to_char(v.month, 'YYYY-MM'), date_trunc('second', v.age),
                                coalesce('CANNOT BE MADE AND WRITTEN TO: ' || v.problem, 'can be made and written to')) END
               || coalesce('; ' || v_remarks, '');
END
$$;
COMMENT ON FUNCTION sec.health_of_months(interval) IS
    'What app.health() says of the months: how many are made ahead, whether the next one could be, what later ones do not get. Only '
    'reads. Internal.';
