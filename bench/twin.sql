-- The twin: the same charge in PL/pgSQL as a good team would write it, over tables of the same layout, with the same
-- guarantees: operator checked, code looked up by primary key and compared by hash, key locked and probed, card locked and
-- read again, member checked, priced, balance checked; transaction, card, points, audit event and key written.
\set ON_ERROR_STOP 1
\set QUIET 1
CREATE SCHEMA twin;
CREATE TABLE twin.settings (LIKE app.settings INCLUDING ALL);
INSERT INTO twin.settings SELECT * FROM app.settings;
CREATE TABLE twin.membership_levels (LIKE app.membership_levels INCLUDING ALL);
INSERT INTO twin.membership_levels SELECT * FROM app.membership_levels;
CREATE TABLE twin.merchants (LIKE app.merchants INCLUDING ALL);
INSERT INTO twin.merchants SELECT * FROM app.merchants;
CREATE TABLE twin.merchant_users (LIKE app.merchant_users INCLUDING ALL);
INSERT INTO twin.merchant_users SELECT * FROM app.merchant_users;
CREATE TABLE twin.member_profiles (LIKE app.member_profiles INCLUDING ALL);
INSERT INTO twin.member_profiles SELECT * FROM app.member_profiles;
CREATE TABLE twin.personal_cards (LIKE app.personal_cards INCLUDING ALL) WITH (fillfactor = 75);
INSERT INTO twin.personal_cards SELECT * FROM app.personal_cards;
CREATE TABLE twin.idempotency_keys (LIKE app.idempotency_keys INCLUDING ALL);
CREATE SEQUENCE twin.tx_no_seq;
CREATE SEQUENCE twin.event_id_seq;
CREATE TABLE twin.transactions (LIKE app.transactions INCLUDING ALL) PARTITION BY RANGE (created_at);
CREATE TABLE twin.point_ledger (LIKE app.point_ledger INCLUDING ALL) PARTITION BY RANGE (created_at);
CREATE TABLE twin.event_log (LIKE audit.event_log INCLUDING ALL) PARTITION BY RANGE (happened_at);
DO $$
DECLARE v date := date_trunc('month', now() AT TIME ZONE 'UTC')::date; a text; b text; s text;
BEGIN
    FOR i IN 0 .. 1 LOOP
        a := to_char(v + make_interval(months => i), 'YYYY-MM-DD') || ' 00:00:00+00';
        b := to_char(v + make_interval(months => i + 1), 'YYYY-MM-DD') || ' 00:00:00+00';
        s := to_char(v + make_interval(months => i), 'YYYYMM');
        EXECUTE format('CREATE TABLE twin.transactions_%s PARTITION OF twin.transactions (PRIMARY KEY (id)) FOR VALUES FROM (%L) TO (%L)', s, a, b);
        EXECUTE format('CREATE TABLE twin.point_ledger_%s PARTITION OF twin.point_ledger (PRIMARY KEY (card_id, point_seq)) FOR VALUES FROM (%L) TO (%L)', s, a, b);
        EXECUTE format('CREATE TABLE twin.event_log_%s PARTITION OF twin.event_log (PRIMARY KEY (id)) FOR VALUES FROM (%L) TO (%L)', s, a, b);
    END LOOP;
END $$;

CREATE FUNCTION twin.charge(p_merchant_code text, p_qr_plain text, p_amount numeric, p_reason text DEFAULT NULL,
                            p_tag jsonb DEFAULT '{}', p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_type text, card_id uuid, raw_amount numeric, discount numeric,
                   final_amount numeric, points_earned bigint, status text, created_at timestamptz, replayed boolean)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_uid uuid := (current_setting('request.jwt.claims', true)::jsonb ->> 'sub')::uuid;
    v_now timestamptz := clock_timestamp();
    v_merchant record;
    v_settings record;
    v_card record;
    v_level record;
    v_status text;
    v_card_id uuid;
    v_hash bytea;
    v_known bigint;
    v_price numeric(14,2);
    v_discount numeric(4,3);
    v_points bigint;
    v_balance numeric(14,2);
    v_posted timestamptz;
    v_id bigint;
    v_tx_no text;
BEGIN
    SELECT m.id, m.active, u.role INTO v_merchant
    FROM twin.merchants m LEFT JOIN twin.merchant_users u ON u.merchant_id = m.id AND u.user_id = v_uid WHERE m.code = p_merchant_code;
    IF NOT FOUND THEN RAISE EXCEPTION 'MERCHANT_NOT_FOUND' USING ERRCODE = 'PT404'; END IF;
    IF v_merchant.role IS NULL THEN RAISE EXCEPTION 'NOT_MERCHANT_USER' USING ERRCODE = 'PT403'; END IF;
    SELECT s.max_amount, s.points_per_unit, s.qr_single_use INTO v_settings FROM twin.settings s;
    IF p_amount IS NULL OR p_amount = 'NaN' OR p_amount <= 0 OR p_amount > v_settings.max_amount OR p_amount <> round(p_amount, 2) THEN
        RAISE EXCEPTION 'INVALID_AMOUNT' USING ERRCODE = 'PT400';
    END IF;
    IF length(p_reason) > 500 OR length(p_idempotency_key) NOT BETWEEN 1 AND 200 OR pg_column_size(p_tag) > 8192 OR jsonb_typeof(p_tag) <> 'object' THEN
        RAISE EXCEPTION 'INVALID_ARGUMENT' USING ERRCODE = 'PT400';
    END IF;
    -- The code: 'P', the card's id in hexadecimal, the secret in hexadecimal.
    v_card_id := substr(p_qr_plain, 2, 32)::uuid;
    v_hash := sha256(p_qr_plain::bytea);

    IF p_idempotency_key IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(p_idempotency_key, v_merchant.id));
        SELECT k.ref_id INTO v_known FROM twin.idempotency_keys k
        WHERE k.scope_no = v_merchant.id AND k.operation = 1 AND k.idempotency_key = p_idempotency_key;
        IF FOUND THEN
            RETURN QUERY SELECT t.id, t.tx_no, t.card_type::text, t.card_id, t.raw_amount, t.discount, t.final_amount, t.points_earned,
                                t.status::text, t.created_at, true
                         FROM twin.transactions t
                         WHERE t.id = v_known AND t.created_at >= date_trunc('month', to_timestamp((v_known / 100000000000)::text, 'YYMM'))
                           AND t.raw_amount = p_amount AND t.card_id = v_card_id;
            IF NOT FOUND THEN RAISE EXCEPTION 'IDEMPOTENCY_KEY_REUSED' USING ERRCODE = 'PT422'; END IF;
            RETURN;
        END IF;
    END IF;
    IF NOT v_merchant.active THEN RAISE EXCEPTION 'MERCHANT_INACTIVE' USING ERRCODE = 'PT409'; END IF;

    PERFORM 1 FROM twin.personal_cards c WHERE c.id = v_card_id AND c.qr_hash = v_hash AND c.qr_expires_at > v_now;
    IF NOT FOUND THEN RAISE EXCEPTION 'QR_EXPIRED_OR_INVALID' USING ERRCODE = 'PT410'; END IF;
    SELECT c.member_id, c.status, c.expires_at, c.balance, c.points, c.card_seq, c.point_seq, c.last_tx_id, c.skip_tx_id,
           c.last_posted_at, c.card_no, c.qr_hash, c.qr_expires_at INTO v_card
    FROM twin.personal_cards c WHERE c.id = v_card_id FOR NO KEY UPDATE;
    IF NOT FOUND OR v_card.qr_hash IS DISTINCT FROM v_hash OR v_card.qr_expires_at <= v_now THEN
        RAISE EXCEPTION 'QR_EXPIRED_OR_INVALID' USING ERRCODE = 'PT410';
    END IF;
    IF v_card.expires_at <= v_now THEN RAISE EXCEPTION 'CARD_EXPIRED' USING ERRCODE = 'PT409'; END IF;
    IF v_card.status <> 'active' THEN RAISE EXCEPTION 'CARD_NOT_ACTIVE' USING ERRCODE = 'PT409'; END IF;
    SELECT m.status INTO v_status FROM twin.member_profiles m WHERE m.id = v_card.member_id;
    IF v_status IS DISTINCT FROM 'active' THEN RAISE EXCEPTION 'MEMBER_NOT_ACTIVE' USING ERRCODE = 'PT409'; END IF;

    SELECT l.discount INTO v_discount FROM twin.membership_levels l WHERE l.min_points <= v_card.points ORDER BY l.min_points DESC LIMIT 1;
    v_price := round(p_amount * v_discount, 2);
    IF v_price = 0 THEN RAISE EXCEPTION 'INVALID_AMOUNT' USING ERRCODE = 'PT400'; END IF;
    v_balance := v_card.balance - v_price;
    IF v_balance < 0 THEN RAISE EXCEPTION 'INSUFFICIENT_BALANCE' USING ERRCODE = 'PT402'; END IF;
    v_points := floor(v_price * v_settings.points_per_unit);
    SELECT l.level, l.discount INTO v_level FROM twin.membership_levels l WHERE l.min_points <= v_card.points + v_points ORDER BY l.min_points DESC LIMIT 1;
    v_posted := greatest(clock_timestamp(), v_card.last_posted_at + interval '1 microsecond');
    v_id := to_char(v_now AT TIME ZONE 'UTC', 'YYMM')::bigint * 100000000000 + nextval('twin.tx_no_seq');
    v_tx_no := 'ZF' || (v_id / 100000000000)::text || lpad((v_id % 100000000000)::text, 6, '0');

    INSERT INTO twin.transactions (id, tx_type, status, created_at, posted_at, card_type, card_id, card_seq, prev_tx_id, skip_tx_id,
            member_id, processed_by, merchant_id, payment_method, raw_amount, discount, final_amount, balance_after, points_earned,
            refunded_amount, idempotency_key, reason, tag, tx_no)
    VALUES (v_id, 'payment', 'completed', v_now, v_posted, 'personal', v_card_id, v_card.card_seq + 1, v_card.last_tx_id,
            CASE WHEN (v_card.card_seq + 1) % 64 = 0 THEN v_card.skip_tx_id END,
            v_card.member_id, v_uid, v_merchant.id, 'balance', p_amount, v_discount, v_price, v_balance, v_points, 0,
            p_idempotency_key, p_reason, p_tag, v_tx_no);
    IF v_points <> 0 THEN
        INSERT INTO twin.point_ledger (card_id, point_seq, created_at, change, balance_after, level, tx_no, reason)
        VALUES (v_card_id, v_card.point_seq + 1, v_now, v_points, v_card.points + v_points, v_level.level, v_tx_no, p_reason);
    END IF;
    UPDATE twin.personal_cards c SET balance = v_balance, points = v_card.points + v_points, level = v_level.level, discount = v_level.discount,
           card_seq = v_card.card_seq + 1, point_seq = v_card.point_seq + (v_points <> 0)::int, last_tx_id = v_id, last_posted_at = v_posted,
           skip_tx_id = CASE WHEN (v_card.card_seq + 1) % 64 = 0 THEN v_id ELSE v_card.skip_tx_id END,
           qr_hash = CASE WHEN v_settings.qr_single_use THEN NULL ELSE v_card.qr_hash END,
           qr_expires_at = CASE WHEN v_settings.qr_single_use THEN NULL ELSE v_card.qr_expires_at END
    WHERE c.id = v_card_id;
    INSERT INTO twin.event_log (id, happened_at, actor_user_id, actor_role, action, object_type, object_id, context)
    VALUES (nextval('twin.event_id_seq'), v_now, v_uid, session_user, 'payment', 'transaction', v_tx_no,
            jsonb_build_object('change', (-v_price)::text));
    IF p_idempotency_key IS NOT NULL THEN
        INSERT INTO twin.idempotency_keys (scope_no, ref_id, operation, idempotency_key) VALUES (v_merchant.id, v_id, 1, p_idempotency_key);
    END IF;
    RETURN QUERY SELECT v_id, v_tx_no, 'personal'::text, v_card_id, p_amount, v_discount, v_price, v_points, 'completed'::text, v_now, false;
END $$;
GRANT USAGE ON SCHEMA twin TO bench_client;
GRANT EXECUTE ON FUNCTION twin.charge TO bench_client;

UPDATE bench.codes c SET twin_code = 'P' || replace(c.card_id::text, '-', '') || encode(sha256(c.code::bytea), 'hex');
UPDATE twin.personal_cards t SET qr_hash = sha256(c.twin_code::bytea), qr_expires_at = now() + interval '1 day' FROM bench.codes c WHERE c.card_id = t.id;
GRANT SELECT ON bench.codes TO bench_client;
-- As after any bulk load: no dead rows, fresh statistics, the same for both sides.
VACUUM FULL bench.codes; VACUUM FULL twin.personal_cards; VACUUM FULL app.personal_cards; VACUUM ANALYZE;

-- What bench/scripts/bare.sql inserts into; floor.sql writes into the twin's tables.
CREATE TABLE twin.bare_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, card_id uuid, at timestamptz, amount numeric(14,2));
GRANT ALL ON ALL TABLES IN SCHEMA twin TO bench_client;
GRANT ALL ON ALL SEQUENCES IN SCHEMA twin TO bench_client;

-- pgbench's own transaction as one server-side call, over its own tables at scale 10.
CREATE FUNCTION twin.tpcb(p_aid integer, p_bid integer, p_tid integer, p_delta integer) RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v integer;
BEGIN
    UPDATE pgbench_accounts SET abalance = abalance + p_delta WHERE aid = p_aid;
    SELECT abalance INTO v FROM pgbench_accounts WHERE aid = p_aid;
    UPDATE pgbench_tellers SET tbalance = tbalance + p_delta WHERE tid = p_tid;
    UPDATE pgbench_branches SET bbalance = bbalance + p_delta WHERE bid = p_bid;
    INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (p_tid, p_bid, p_aid, p_delta, now());
    RETURN v;
END $$;
