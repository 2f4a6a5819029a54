-- The shop that strangers come to, and what tells them real values of it. Run by a superuser in a database of its own.
CREATE SCHEMA strangers;
COMMENT ON SCHEMA strangers IS 'What the tests keep for themselves; no client may use it.';

CREATE TABLE strangers.people (who text PRIMARY KEY, id uuid NOT NULL DEFAULT gen_random_uuid());
-- member: signs in as a client. till: owns the first merchant. other: a member whom nobody signs in as. victim: somebody whose
-- data the member and the till must never get; its own id is fed to nobody, because whoever knows it may bind it to its company.
INSERT INTO strangers.people (who) VALUES ('member'), ('till'), ('other'), ('victim');

CREATE FUNCTION strangers.id_of(p_who text) RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT id FROM strangers.people WHERE who = p_who $$;

-- The newest personal card of somebody.
CREATE FUNCTION strangers.card_of(p_member uuid) RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT id FROM app.personal_cards WHERE member_id = p_member ORDER BY status <> 'active', created_at DESC LIMIT 1 $$;

-- Whether it can pay and be paid. A member or a card that was closed stays closed.
CREATE FUNCTION strangers.in_force(p_member uuid) RETURNS boolean LANGUAGE sql STABLE AS
$$
    SELECT m.status = 'active' AND c.status = 'active' AND c.balance < 1000000
    FROM app.member_profiles m, app.personal_cards c WHERE m.id = p_member AND c.id = strangers.card_of(p_member)
$$;

CREATE FUNCTION strangers.code_of(p_card uuid) RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT qr_plain FROM app.rotate_card_qr(p_card) $$;

-- A recharge that a member asks for itself, which waits for its gateway.
CREATE FUNCTION strangers.pending(p_member uuid, p_amount numeric) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    v_card uuid := strangers.card_of(p_member);
    v_no text;
BEGIN
    PERFORM set_config('request.jwt.claims', json_build_object('sub', p_member, 'role', 'authenticated')::text, true),
            set_config('role', 'authenticated', true);
    SELECT tx_no INTO STRICT v_no FROM app.user_recharge_personal_card(v_card, p_amount);
    PERFORM set_config('role', 'none', true), set_config('request.jwt.claims', '', true);
    RETURN v_no;
END
$$;

-- Alipay's bill of 2026-11-26 with so many payments that nobody knows, as hex.
CREATE FUNCTION strangers.bill(p_payments integer) RETURNS bytea LANGUAGE sql STABLE AS
$$
    SELECT convert_to(concat_ws(E'\r\n', '#账号：[20885318916687390156]',
        '#起始日期：[2026年11月26日 00:00:00]   终止日期：[2026年11月27日 00:00:00]',
        '支付宝交易号,商户订单号,业务类型,完成时间,订单金额（元）,商家实收（元）,商家优惠（元）,服务费（元）',
        (SELECT string_agg(format('20261126999%s,of-nobody-%1$s,交易,2026-11-26 10:34:56,1.00,1.00,0.00,-0.01', n), E'\r\n' ORDER BY n)
         FROM generate_series(1, p_payments) n),
        format('#交易合计：%s笔，商家实收共%s.00元，商家优惠共0.00元', p_payments, p_payments),
        '#退款合计：0笔，商家实收退款共0.00元，商家优惠退款共0.00元', ''), 'UTF8')
$$;

CREATE FUNCTION strangers.open() RETURNS void LANGUAGE plpgsql AS
$$
DECLARE
    v_id uuid;
BEGIN
    FOR v_id IN SELECT id FROM strangers.people LOOP
        PERFORM app.register_member('Stranger', p_user_id => v_id);
        PERFORM app.user_recharge_personal_card(strangers.card_of(v_id), 5000, 'cash');
    END LOOP;
    PERFORM app.create_merchant('MINE', 'Corner Coffee'), app.create_merchant('YOURS', 'The other one');
    -- A gateway has told of a payment that nobody knows.
    PERFORM app.set_gateway_account('gate', 'alipay', '{"app_id": "2021000000000001", "seller_ids": ["2088531891668739"]}');
    PERFORM app.set_gateway_key('gate', 'alipay_public_key', 'a',
        'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAz4WhRUlbIHMWqEdtSlWOsJrTEID/qHwz4eSNNKIGC8SLK9dOu6IFQZYPFpoDJgBWtT'
        'ymm2UzJM+oG9ZGQT9zCOumT0uBwWs5No87DhhvorgrrknlZHS0mGK3lAnvVn4t8lxdEj5M5wPuP0uJGRGH0n6RExezMH/IJRHxU6QPeSHwSpqH'
        'SMRFVPdEsfTpqfamAWBbO2pJDRH44WH1GkMsetEp8gpJPGVbQK7Nj2YsjTZAblN70d5DrcFEgQS3+uwqtLtPssccng6fDcL4sdnpJblq+tPyAO'
        'v5EDDB2dxB0Go0X+B3FJ7yhoiwpWqgzAzegVWl2y5q5JgrOWMDLcXD+QIDAQAB');
    PERFORM app.gateway_notify('gate', '{}', convert_to(
        'gmt_create=2026-11-26+10%3A34%3A50&seller_email=shop%40example.com&subject=%E5%82%A8%E5%80%BC%E5%8D%A1%E5%85%8'
        '5%E5%80%BC+100+%E5%85%83&body=&buyer_id=2088102534368455&invoice_amount=100.00&notify_id=202611260022210345600'
        '0000000001&fund_bill_list=%5B%7B%22amount%22%3A%22100.00%22%2C%22fundChannel%22%3A%22ALIPAYACCOUNT%22%7D%5D&no'
        'tify_type=trade_status_sync&trade_status=TRADE_SUCCESS&receipt_amount=100.00&buyer_pay_amount=95.50&app_id=202'
        '1000000000001&seller_id=2088531891668739&gmt_payment=2026-11-26+10%3A34%3A55&notify_time=2026-11-26+10%3A34%3A'
        '56&version=1.0&out_trade_no=CZ2611000123&total_amount=100.00&trade_no=2026112622001468450512500001&auth_app_id'
        '=2021000000000001&point_amount=0.00&charset=utf-8&sign_type=RSA2&sign=Fbb9mJNQHi3Yr9vrhNtO6CcGEj%2FkpD69RqJfKB'
        'Iv1g2ZV6gu8sDFrTjK%2BO%2F4kWbytLNp6xAWGVUFqkzIm6C65v1govszXPHZA2HksY2Wpi9LlUy%2B5WGxn016xlalGgfD33HNLlcSq9dTth'
        'PFAneZvThPmjpf3ChPzUCYjsdXA2e8m8t8%2F4tbP%2BslE2Zr9LJ0ifBhyzKrsdy83l20OiORZl7%2Bf8arjYAy8fVPa2kFaBBZIIoBcUj3g2'
        '%2FMsNc47yWrGIRhtMDWmh8KXwGBs6qxiGToma8n62ZRtJ4rJk1RK5NmO%2FAGpH6xqBZGxaIHc%2BXBndmh7%2B9S0bHkgvrpXpFWKQ%3D%3D', 'UTF8'));
    -- Its bill has another one.
    PERFORM app.import_bill('gate', '2026-11-26', 'trade', strangers.bill(1)), app.reconcile('gate', '2026-11-26');
    PERFORM app.set_merchant_user('MINE', strangers.id_of('till'), 'owner');
    PERFORM app.create_enterprise_card('Great Wall Ltd', 0.9, strangers.id_of('member'));
    PERFORM app.create_enterprise_card('Jade Gate Ltd', 1.0, strangers.id_of('victim'));
    PERFORM app.user_recharge_enterprise_card_admin(id, 5000, 'cash') FROM app.enterprise_cards;
    -- What the victim has: names that are nobody else's, an odd balance, payments at the other merchant.
    v_id := strangers.id_of('victim');
    UPDATE app.member_profiles SET name = 'Victoria Quill', phone = '13955500077', email = 'quill@victoria.test' WHERE id = v_id;
    PERFORM app.merchant_charge_by_qr('YOURS', strangers.code_of(strangers.card_of(v_id)), amount)
    FROM unnest('{17.13,1.01}'::numeric[]) amount;
    PERFORM strangers.pending(v_id, 31.07);
END
$$;
SELECT strangers.open();

-- What an answer to the member and to the till must not have in it.
CREATE FUNCTION strangers.secrets() RETURNS jsonb LANGUAGE sql STABLE AS
$$
    SELECT jsonb_agg(DISTINCT secret) FROM (
        SELECT unnest(ARRAY[id::text, member_no, name, phone, email]) FROM app.member_profiles WHERE id = strangers.id_of('victim')
        UNION ALL SELECT unnest(ARRAY[id::text, card_no, balance::text]) FROM app.personal_cards
            WHERE member_id = strangers.id_of('victim')
        UNION ALL SELECT enterprise_card_id::text FROM app.enterprise_card_bindings WHERE member_id = strangers.id_of('victim')
        UNION ALL SELECT tx_no FROM app.transactions WHERE member_id = strangers.id_of('victim')) s(secret)
    WHERE secret IS NOT NULL
$$;
CREATE TABLE strangers.kept AS SELECT app.get_settings() AS settings, strangers.secrets() AS secrets;

-- Puts right what strangers did to whom they come as, so that the next calls get as far as the first ones did.
CREATE FUNCTION strangers.put_right() RETURNS void LANGUAGE plpgsql AS
$$
DECLARE
    v_member uuid := strangers.id_of('member');
    v_card app.personal_cards;
    v_no text;
BEGIN
    PERFORM app.set_mode('normal', 'again') FROM app.health() WHERE check_name = 'mode' AND NOT ok;
    PERFORM app.update_settings(settings) FROM strangers.kept;
    PERFORM app.set_member_status(v_member, 'active', 'again')
    FROM app.member_profiles WHERE id = v_member AND status = 'suspended';
    SELECT * INTO v_card FROM app.personal_cards WHERE id = strangers.card_of(v_member);
    IF v_card.status <> 'closed' AND v_card.expires_at IS NOT NULL THEN
        PERFORM app.set_card_expiry(v_card.id, 'personal', NULL, 'again');
        SELECT * INTO v_card FROM app.personal_cards WHERE id = v_card.id;
    END IF;
    IF v_card.status = 'frozen' THEN
        PERFORM app.set_card_status(v_card.id, 'personal', 'active', 'again');
    ELSIF v_card.status = 'lost' THEN
        PERFORM app.replace_card(v_card.id, 'again');
    END IF;
    IF v_card.balance < 1000 AND strangers.in_force(v_member) THEN
        PERFORM app.user_recharge_personal_card(strangers.card_of(v_member), 1000 - least(v_card.balance, 0), 'cash');
    END IF;
    PERFORM app.enterprise_add_member(c.card_no, v_member, 'admin')
    FROM app.enterprise_cards c WHERE c.company_name = 'Great Wall Ltd' AND c.status = 'active' AND strangers.in_force(v_member);
    PERFORM app.set_card_expiry(id, 'enterprise', NULL, 'again') FROM app.enterprise_cards
    WHERE status <> 'closed' AND expires_at IS NOT NULL;
    PERFORM app.set_merchant_status('MINE', true, 'again') FROM app.merchants WHERE code = 'MINE' AND NOT active;
    PERFORM app.set_merchant_user('MINE', strangers.id_of('till'), 'owner');
    -- So many may wait; a few are left for who wants to confirm them.
    FOR v_no IN SELECT t.tx_no FROM app.transactions t
        WHERE t.status = 'processing' AND t.member_id <> strangers.id_of('victim') ORDER BY t.id DESC OFFSET 6
    LOOP
        PERFORM app.fail_recharge(v_no, 'enough');
    END LOOP;
END
$$;

-- The labels that an argument may mean, by the columns that are called as it is.
CREATE FUNCTION strangers.labels() RETURNS TABLE (argument text, labels jsonb) LANGUAGE sql STABLE AS
$$
    SELECT a.attname, jsonb_agg(DISTINCT l.label)
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid AND c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    CROSS JOIN LATERAL (
        SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = a.atttypid
        UNION SELECT m[1] FROM pg_constraint k, regexp_matches(pg_get_constraintdef(k.oid), '''([^'']+)''::text', 'g') m
              WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum] AND a.atttypid = 'text'::regtype) l(label)
    GROUP BY a.attname
$$;

-- Numbers of the newest payments at the till, of the newest of everything, and of the victim's.
CREATE FUNCTION strangers.numbers() RETURNS jsonb LANGUAGE sql STABLE AS
$$
    SELECT jsonb_agg(tx_no) FROM (
        (SELECT tx_no FROM app.transactions
         WHERE tx_type = 'payment' AND merchant_id = (SELECT id FROM app.merchants WHERE code = 'MINE') ORDER BY id DESC LIMIT 5)
        UNION ALL (SELECT tx_no FROM app.transactions ORDER BY id DESC LIMIT 5)
        UNION ALL (SELECT tx_no FROM app.transactions WHERE member_id = strangers.id_of('victim'))) t
$$;

-- What is good for each argument, by the longest of these names that its own ends with.
CREATE FUNCTION strangers.by_argument(p_values jsonb) RETURNS jsonb LANGUAGE sql STABLE AS
$$
    SELECT p_values || jsonb_object_agg(argument, p_values -> fitting.name)
    FROM (SELECT DISTINCT unnest(proargnames[:pronargs]) FROM pg_proc WHERE pronamespace = 'app'::regnamespace) a(argument)
    CROSS JOIN LATERAL (SELECT name FROM jsonb_object_keys(p_values) name
        WHERE argument LIKE '%' || replace(name, '_', '\_') ORDER BY length(name) DESC LIMIT 1) fitting
$$;

-- Real values, the newest first: the shop of now, with something in each state.
CREATE FUNCTION strangers.world() RETURNS jsonb LANGUAGE plpgsql AS
$$
DECLARE
    v_member uuid := strangers.id_of('member');
    v_new uuid := gen_random_uuid();
    v_loser uuid := gen_random_uuid();
    v_shop text := 'NEW-' || left(gen_random_uuid()::text, 8);
    v_coupon text := 'GIFT-' || left(gen_random_uuid()::text, 8);
    v_company record;
    v_waits text;
    v_twice text;
    v_codes text[];
    v_personal jsonb;
    v_companies jsonb;
    v_numbers jsonb;
    v_people jsonb := jsonb_build_array(v_new, v_member, strangers.id_of('other'), strangers.id_of('till'));
BEGIN
    PERFORM strangers.put_right();
    PERFORM app.register_member('Somebody new', p_user_id => v_new);
    PERFORM app.user_recharge_personal_card(strangers.card_of(v_new), 500, 'cash');
    PERFORM app.register_member('Who loses cards', p_user_id => v_loser);
    PERFORM app.set_card_status(strangers.card_of(v_loser), 'personal', 'lost', 'on the bus');
    PERFORM app.create_merchant(v_shop, 'A new shop');
    PERFORM app.create_coupon(jsonb_build_object('code', v_coupon, 'name', 'A gift', 'kind', 'amount_off', 'value', 1, 'claimable', true)),
            app.set_coupon_status(v_coupon, 'active', 'opening'), app.issue_coupon(v_coupon, v_new, 2);
    SELECT card_id, card_no INTO v_company FROM app.create_enterprise_card('New Ltd', 0.9, v_new);
    PERFORM app.user_recharge_enterprise_card_admin(v_company.card_id, 500, 'cash');
    -- Without the one who signs in where it can pay no more: then the new one stands for it.
    IF NOT strangers.in_force(v_member) THEN
        v_member := v_new;
    END IF;
    PERFORM app.merchant_charge_by_qr('MINE', strangers.code_of(strangers.card_of(m)), 5.00) FROM unnest(ARRAY[v_member, v_new]) m;
    v_waits := strangers.pending(v_member, 1.00);
    -- A payment in suspense: the gateway has taken the money of one recharge twice.
    v_twice := strangers.pending(v_new, 1.00);
    PERFORM app.confirm_recharge(v_twice, 1.00, 'once ' || v_twice), app.confirm_recharge(v_twice, 1.00, 'twice ' || v_twice);
    -- One that nobody has paid yet, and one of the payment that a gateway took.
    PERFORM app.withdraw(strangers.card_of(v_new), 2.00, 'moves', 'moves ' || v_new, p_payout => 'transfer'),
            app.withdraw(strangers.card_of(v_new), 0.50, 'moves', 'moves again ' || v_new);
    v_codes := ARRAY[strangers.code_of(strangers.card_of(v_member)), strangers.code_of(strangers.card_of(v_new)),
        (SELECT qr_plain FROM app.rotate_card_qr(v_company.card_id, 'enterprise', v_new))];
    SELECT jsonb_agg(strangers.card_of(m) ORDER BY n) INTO v_personal
    FROM unnest(ARRAY[v_member, v_loser, v_new, strangers.id_of('other'), strangers.id_of('victim')]) WITH ORDINALITY u(m, n);
    SELECT jsonb_agg(id), jsonb_build_object('card_no', jsonb_agg(card_no)) INTO v_companies, v_numbers FROM (
        SELECT id, card_no FROM app.enterprise_cards ORDER BY company_name <> 'Great Wall Ltd', created_at DESC LIMIT 3) c;
    RETURN strangers.by_argument((SELECT jsonb_object_agg(argument, labels) FROM strangers.labels()) || v_numbers || jsonb_build_object(
        'qr_plain', v_codes,
        'merchant_code', ARRAY['MINE', v_shop, 'YOURS'],
        'after', ARRAY[NULL::text],
        'p_code', ARRAY[v_coupon], 'coupon_code', (SELECT jsonb_agg(c.coupon_code) FROM (
            SELECT coupon_code FROM app.v_member_coupons ORDER BY status <> 'active', coupon_code DESC LIMIT 4) c),
        'p_coupon', ARRAY['{"value": 2}'::jsonb, '{"budget_amount": 5, "weekdays": [1, 7]}',
            jsonb_build_object('code', v_coupon || '-2', 'name', 'Another', 'kind', 'percent_off', 'value', 10)],
        'account', ARRAY['gate'], 'bill_date', ARRAY['2026-11-26', '2026-11-25'], 'kind', ARRAY['trade'],
        'content', ARRAY[strangers.bill(0), strangers.bill(2)],
        'p_id', (SELECT jsonb_agg(e.id) FROM app.gateway_events e WHERE e.verified)
            || (SELECT jsonb_agg(i.id) FROM app.recon_items i WHERE i.account = 'gate'),
        'status', ARRAY['lost', 'active', 'frozen', 'suspended', 'closed', 'completed', 'paused', 'ended'],
        'resolution', ARRAY['credited', 'refunded', 'refund_completed', 'refund_failed', 'written_off', 'credit', 'explained'],
        'settings', (SELECT jsonb_build_array('{}'::jsonb, settings, '{"qr_ttl_seconds": 120}'::jsonb) FROM strangers.kept),
        'suspense_id', (SELECT jsonb_agg(s.id) FROM (
            SELECT id FROM app.suspense_payments ORDER BY status <> 'open', id DESC LIMIT 4) s),
        'refund_no', (SELECT jsonb_agg(w.refund_no) FROM (
            SELECT refund_no FROM app.withdrawals ORDER BY status <> 'processing', created_at DESC, refund_no LIMIT 4) w),
        'p_tx_no', (SELECT jsonb_agg(t.tx_no) FROM (
            SELECT tx_no FROM app.transactions ORDER BY tx_no <> v_waits, tx_type <> 'recharge', id DESC LIMIT 6) t),
        'tx_no', strangers.numbers(), 'before', strangers.numbers(),
        'member_id', v_people, 'user_id', v_people,
        'card_id', v_personal || v_companies, 'personal_card_id', v_personal, 'enterprise_card_id', v_companies));
END
$$;

-- The columns that a role may read, by table.
CREATE FUNCTION strangers.readable(p_role text) RETURNS jsonb LANGUAGE sql STABLE AS
$$
    SELECT coalesce(jsonb_object_agg(c.relname, columns), '{}') FROM pg_class c
    CROSS JOIN LATERAL (SELECT jsonb_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
        AND NOT a.attisdropped AND has_column_privilege(p_role, c.oid, a.attnum, 'SELECT')) r(columns)
    WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition AND columns IS NOT NULL
$$;
