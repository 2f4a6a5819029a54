-- One day of a small shop, through psql alone: the same day as demo.mjs plays through supabase-js. Each request runs as
-- PostgREST runs it: a transaction with the role and the claims of whoever is signed in. Every value that is printed with
-- a tick was compared with what the contract says it must be; the first that differs ends the script.
\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never
\pset tuples_only on
\pset format unaligned

CREATE FUNCTION pg_temp.expect(p_label text, p_actual text, p_expected text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    -- An expectation between slashes is a pattern.
    IF NOT coalesce(CASE WHEN p_expected ~ '^/.*/$' THEN p_actual ~ trim(BOTH '/' FROM p_expected) ELSE p_actual = p_expected END, false) THEN
        RAISE EXCEPTION '%: % where % was expected', p_label, coalesce(p_actual, 'nothing'), p_expected;
    END IF;
    RETURN format('    %s%s✓', rpad(p_label, 24), rpad(p_actual, 26));
END
$$;

-- Begins a request of somebody: `:as_lin select ...; commit;`
\set as_backend 'BEGIN; SET LOCAL ROLE service_role; SET LOCAL request.jwt.claims = ''{"role": "service_role"}'';'
SELECT format('BEGIN; SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claims = %L;',
              json_build_object('sub', gen_random_uuid(), 'role', 'authenticated')) AS as_mei,
       format('BEGIN; SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claims = %L;',
              json_build_object('sub', gen_random_uuid(), 'role', 'authenticated')) AS as_tao \gset
:as_mei
SELECT sec.uid() AS mei \gset
COMMIT;
:as_tao
SELECT sec.uid() AS tao \gset
COMMIT;

\echo
\echo ' 1  The shop''s server opens two shops and hires a cashier for each'
:as_backend
SELECT code AS shop_1 FROM app.create_merchant('SHOP-001', 'Corner Cafe') \gset
SELECT code AS shop_2 FROM app.create_merchant('SHOP-002', 'Noodle House') \gset
SELECT app.set_merchant_user('SHOP-001', :'mei') AS mei_hired, app.set_merchant_user('SHOP-002', :'tao') AS tao_hired \gset
COMMIT;
SELECT pg_temp.expect('Corner Cafe', :'shop_1', 'SHOP-001');
SELECT pg_temp.expect('Noodle House', :'shop_2', 'SHOP-002');
SELECT pg_temp.expect('Mei at the first', :'mei_hired', 't');
SELECT pg_temp.expect('Tao at the second', :'tao_hired', 't');

\echo
\echo ' 2  Two people sign up'
\echo '    Two rows in auth.users, as Supabase''s sign-up inserts them. Members and cards appear by themselves.'
INSERT INTO auth.users (email, raw_user_meta_data) VALUES ('lin@example.com', '{"name": "Lin Xia"}') RETURNING id AS lin \gset
INSERT INTO auth.users (email, raw_user_meta_data) VALUES ('wang@example.com', '{"name": "Wang Lei"}') RETURNING id AS wang \gset
SELECT format('BEGIN; SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claims = %L;',
              json_build_object('sub', :'lin', 'role', 'authenticated')) AS as_lin,
       format('BEGIN; SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claims = %L;',
              json_build_object('sub', :'wang', 'role', 'authenticated')) AS as_wang \gset
:as_lin
SELECT m.name AS name, m.member_no || '  ' || c.card_no AS numbers, c.balance || '  ' || c.level_name AS state, c.card_id AS lin_card
FROM app.v_user_cards c, app.member_profiles m \gset
COMMIT;
SELECT pg_temp.expect(:'name', :'numbers', '/^M[0-9]{8}  VIP[0-9]{8}$/');
SELECT pg_temp.expect('  balance, level', :'state', '0.00  Basic');
:as_wang
SELECT m.name AS name, m.member_no || '  ' || c.card_no AS numbers, c.balance || '  ' || c.level_name AS state
FROM app.v_user_cards c, app.member_profiles m \gset
COMMIT;
SELECT pg_temp.expect(:'name', :'numbers', '/^M[0-9]{8}  VIP[0-9]{8}$/');
SELECT pg_temp.expect('  balance, level', :'state', '0.00  Basic');

\echo
\echo ' 3  Lin Xia recharges 6,000.00 by WeChat'
:as_lin
SELECT tx_no AS recharge, status FROM app.user_recharge_personal_card(
    :'lin_card', 6000.00, 'wechat', '自助充值', '{}'::jsonb, 'order-123', 'ide-123') \gset
SELECT balance FROM app.v_user_cards \gset
COMMIT;
SELECT pg_temp.expect('transaction', :'recharge', '/^CZ[0-9]+$/');
SELECT pg_temp.expect('status', :'status', 'processing');
SELECT pg_temp.expect('balance', :'balance', '0.00');
\echo '    A member cannot make money. The shop''s server has the gateway''s word, and confirms:'
:as_backend
SELECT status FROM app.confirm_recharge(:'recharge', 6000.00, 'wx-4200001', '{"bank": "CMB"}') \gset
COMMIT;
:as_backend
SELECT replayed FROM app.confirm_recharge(:'recharge', 6000.00, 'wx-4200001') \gset
COMMIT;
:as_lin
SELECT balance FROM app.v_user_cards \gset
COMMIT;
SELECT pg_temp.expect('status', :'status', 'completed');
SELECT pg_temp.expect('confirmed once more', :'replayed', 't');
SELECT pg_temp.expect('balance', :'balance', '6000.00');
\echo '    She pays the same order a second time. That money is not lost from sight: it waits in suspense, and goes back.'
:as_backend
SELECT status FROM app.confirm_recharge(:'recharge', 6000.00, 'wx-4200002') \gset
SELECT id AS suspense FROM app.suspense_payments WHERE gateway_trade_no = 'wx-4200002' \gset
COMMIT;
:as_backend
SELECT status AS resolved FROM app.resolve_suspense(:suspense, 'refunded', 'paid twice') \gset
SELECT status AS arrived FROM app.resolve_suspense(:suspense, 'refund_completed', 'the gateway says so') \gset
COMMIT;
:as_lin
SELECT balance FROM app.v_user_cards \gset
COMMIT;
SELECT pg_temp.expect('paid twice', :'status', 'suspense');
SELECT pg_temp.expect('goes back', :'resolved' || ', ' || :'arrived', 'refunding, refunded');
SELECT pg_temp.expect('balance', :'balance', '6000.00');

\echo
\echo ' 4  Lin Xia shows her pay code'
:as_lin
SELECT qr_plain AS latte_code FROM app.rotate_card_qr(:'lin_card') \gset
COMMIT;
SELECT pg_temp.expect('code', left(:'latte_code', 20) || '...', '/^MPS[A-Z2-7]{17}\.\.\.$/');
\echo '    Good for 15 minutes and one payment. The database keeps its SHA-256, not the code.'

\echo
\echo ' 5  Mei charges 52.00 for a latte; the request arrives twice'
:as_mei
SELECT tx_no AS latte, final_amount || '  ' || points_earned AS paid, replayed FROM app.merchant_charge_by_qr(
    'SHOP-001', :'latte_code', 52.00, '购买拿铁', '{"sku":"latte"}', 'order-2025-0001') \gset
COMMIT;
SELECT pg_temp.expect('first answer', :'latte', '/^ZF[0-9]+$/');
SELECT pg_temp.expect('  paid, points', :'paid', '52.00  52');
SELECT pg_temp.expect('  replayed', :'replayed', 'f');
:as_mei
SELECT tx_no AS again, replayed FROM app.merchant_charge_by_qr(
    'SHOP-001', :'latte_code', 52.00, '购买拿铁', '{"sku":"latte"}', 'order-2025-0001') \gset
COMMIT;
:as_lin
SELECT balance FROM app.v_user_cards \gset
COMMIT;
SELECT pg_temp.expect('second answer', :'again', :'latte');
SELECT pg_temp.expect('  replayed', :'replayed', 't');
SELECT pg_temp.expect('balance', :'balance', '5948.00');

\echo
\echo ' 6  20.00 of it is refunded'
:as_mei
SELECT refund_tx_no, points_reversed, refundable_left FROM app.merchant_refund_tx('SHOP-001', :'latte', 20.00, '退货', '{}'::jsonb) \gset
COMMIT;
:as_lin
SELECT balance FROM app.v_user_cards \gset
COMMIT;
SELECT pg_temp.expect('transaction', :'refund_tx_no', '/^TK[0-9]+$/');
SELECT pg_temp.expect('points taken back', :'points_reversed', '20');
SELECT pg_temp.expect('still refundable', :'refundable_left', '32.00');
SELECT pg_temp.expect('balance', :'balance', '5968.00');

\echo
\echo ' 7  Lin Xia orders for a wedding, 4,968.00, and climbs a level'
:as_lin
SELECT qr_plain AS code FROM app.rotate_card_qr(:'lin_card') \gset
COMMIT;
:as_mei
SELECT final_amount AS paid FROM app.merchant_charge_by_qr('SHOP-001', :'code', 4968.00, 'wedding order') \gset
COMMIT;
:as_lin
SELECT points || '  ' || level_name AS state FROM app.v_user_cards \gset
SELECT qr_plain AS beans_code FROM app.rotate_card_qr(:'lin_card') \gset
COMMIT;
SELECT pg_temp.expect('paid', :'paid', '4968.00');
SELECT pg_temp.expect('points, level', :'state', '5000  Silver');
:as_mei
SELECT final_amount AS paid, discount FROM app.merchant_charge_by_qr('SHOP-001', :'beans_code', 40.00, 'beans') \gset
COMMIT;
:as_lin
SELECT balance FROM app.v_user_cards \gset
COMMIT;
SELECT pg_temp.expect('beans for 40.00 cost', :'paid', '38.00');
SELECT pg_temp.expect('discount', :'discount', '0.950');
SELECT pg_temp.expect('balance', :'balance', '962.00');

\echo
\echo ' 8  A company card with two employees, twelve percent off'
:as_backend
SELECT card_id AS company, card_no AS company_no FROM app.create_enterprise_card('Acme Tea Ltd', 0.880, :'wang') \gset
COMMIT;
:as_wang
SELECT app.enterprise_add_member(:'company_no', :'lin', 'member') AS added \gset
SELECT tx_no AS budget, amount || '  ' || status AS state FROM app.user_recharge_enterprise_card_admin(
    :'company', 1000.00, 'alipay', 'tea budget') \gset
COMMIT;
:as_backend
SELECT status FROM app.confirm_recharge(:'budget', 1000.00, 'ali-2026-1') \gset
COMMIT;
SELECT pg_temp.expect('card', :'company_no', '/^ENT[0-9]{5}$/');
SELECT pg_temp.expect('Wang Lei adds Lin Xia', :'added', 't');
SELECT pg_temp.expect('Wang Lei recharges', :'state', '1000.00  processing');
SELECT pg_temp.expect('the server confirms', :'status', 'completed');
:as_wang
SELECT qr_plain AS code FROM app.rotate_card_qr(:'company', 'enterprise') \gset
COMMIT;
:as_mei
SELECT raw_amount || ' -> ' || final_amount AS paid FROM app.merchant_charge_by_qr('SHOP-001', :'code', 120.00, 'tea for guests') \gset
COMMIT;
SELECT pg_temp.expect('Wang Lei pays', :'paid', '120.00 -> 105.60');
:as_lin
SELECT qr_plain AS code FROM app.rotate_card_qr(:'company', 'enterprise') \gset
COMMIT;
:as_mei
SELECT raw_amount || ' -> ' || final_amount AS paid FROM app.merchant_charge_by_qr('SHOP-001', :'code', 50.00, 'cake for guests') \gset
COMMIT;
:as_lin
SELECT balance FROM app.v_user_cards WHERE card_type = 'enterprise' \gset
COMMIT;
SELECT pg_temp.expect('Lin Xia pays', :'paid', '50.00 -> 44.00');
SELECT pg_temp.expect('company''s balance', :'balance', '850.40');

\echo
\echo ' 9  Lin Xia recharges 200.00 more'
:as_lin
SELECT tx_no AS top_up, amount || '  ' || status AS state FROM app.user_recharge_personal_card(
    :'lin_card', 200.00, 'alipay', p_idempotency_key => 'ide-124') \gset
COMMIT;
:as_backend
SELECT status FROM app.confirm_recharge(:'top_up', 200.00, 'ali-2026-2') \gset
COMMIT;
:as_lin
SELECT balance FROM app.v_user_cards WHERE card_type = 'personal' \gset
COMMIT;
SELECT pg_temp.expect('she asks for', :'state', '200.00  processing');
SELECT pg_temp.expect('the server confirms', :'status', 'completed');
SELECT pg_temp.expect('balance', :'balance', '1162.00');
\echo '    Through supabase-js Alipay itself tells the database of it; docs/gateways.md says how.'

\echo
\echo '10  Tao of the Noodle House tries to charge for the Corner Cafe'
:as_lin
SELECT qr_plain AS code FROM app.rotate_card_qr(:'lin_card') \gset
COMMIT;
\set ON_ERROR_STOP off
:as_tao
SELECT * FROM app.merchant_charge_by_qr('SHOP-001', :'code', 30.00);
\set refused :ERROR
ROLLBACK;
\set ON_ERROR_STOP on
SELECT pg_temp.expect('refused', :'refused', 'true');
SELECT pg_temp.expect('SQLSTATE (HTTP status)', :'LAST_ERROR_SQLSTATE', 'PT403');
SELECT pg_temp.expect('error', :'LAST_ERROR_MESSAGE', 'NOT_MERCHANT_USER');

\echo
\echo '11  Mei scans the code of the beans once more'
\set ON_ERROR_STOP off
:as_mei
SELECT * FROM app.merchant_charge_by_qr('SHOP-001', :'beans_code', 30.00);
\set refused :ERROR
ROLLBACK;
\set ON_ERROR_STOP on
SELECT pg_temp.expect('refused', :'refused', 'true');
SELECT pg_temp.expect('SQLSTATE (HTTP status)', :'LAST_ERROR_SQLSTATE', 'PT410');
SELECT pg_temp.expect('error', :'LAST_ERROR_MESSAGE', 'QR_EXPIRED_OR_INVALID');
:as_lin
SELECT balance FROM app.v_user_cards WHERE card_type = 'personal' \gset
COMMIT;
SELECT pg_temp.expect('balance', :'balance', '1162.00');

\echo
\echo '12  Lin Xia has a coupon: 20.00 off from 100.00 on'
:as_backend
SELECT status AS made FROM app.create_coupon('{"code": "SPRING", "name": "20 off from 100", "kind": "amount_off", "value": 20,
    "min_spend": 100, "budget_amount": 5000}') \gset
SELECT status AS begun FROM app.set_coupon_status('SPRING', 'active', 'spring') \gset
SELECT coupon_code FROM app.issue_coupon('SPRING', :'lin') \gset
COMMIT;
SELECT pg_temp.expect('made', :'made', 'draft');
SELECT pg_temp.expect('begun', :'begun', 'active');
SELECT pg_temp.expect('hers', :'coupon_code', '/^CP[0-9]{8}$/');
\echo '    128.00, of which 8.00 are tobacco, that no discount is for. Mei asks first: that uses nothing up.'
:as_lin
SELECT qr_plain AS code FROM app.rotate_card_qr(:'lin_card') \gset
COMMIT;
:as_mei
SELECT final_amount || '  covered: ' || covered AS quoted FROM app.quote_charge('SHOP-001', :'code', 128.00, :'coupon_code', 8.00) \gset
SELECT tx_no AS spring, final_amount AS paid, coupon_discount AS off, points_earned AS earned FROM app.merchant_charge_by_qr(
    'SHOP-001', :'code', 128.00, p_coupon_code => :'coupon_code', p_excluded_amount => 8.00) \gset
COMMIT;
SELECT pg_temp.expect('it would cost', :'quoted', '102.00  covered: true');
SELECT pg_temp.expect('paid', :'paid', '102.00');
SELECT pg_temp.expect('  the coupon took off', :'off', '20.00');
SELECT pg_temp.expect('  points', :'earned', '94');
:as_lin
SELECT qr_plain AS code FROM app.rotate_card_qr(:'lin_card') \gset
COMMIT;
\set ON_ERROR_STOP off
:as_mei
SELECT * FROM app.merchant_charge_by_qr('SHOP-001', :'code', 128.00, p_coupon_code => :'coupon_code');
\set refused :ERROR
ROLLBACK;
\set ON_ERROR_STOP on
SELECT pg_temp.expect('refused', :'refused', 'true');
SELECT pg_temp.expect('error', :'LAST_ERROR_MESSAGE', 'COUPON_NOT_USABLE');
\echo '    It was too small. All of it is given back, and the coupon is hers again.'
:as_mei
SELECT refunded_amount AS back FROM app.merchant_refund_tx('SHOP-001', :'spring', 102.00) \gset
COMMIT;
:as_lin
SELECT status FROM app.v_member_coupons \gset
SELECT balance FROM app.v_user_cards WHERE card_type = 'personal' \gset
COMMIT;
SELECT pg_temp.expect('the coupon', :'status', 'active');
SELECT pg_temp.expect('balance', :'balance', '1162.00');

\echo
\echo '13  Happy hour: double points for an hour'
:as_backend
SELECT status AS made FROM app.create_campaign('{"code": "HAPPY", "name": "Happy hour", "kind": "points_multiplier", "value": 2,
    "min_spend": 20}') \gset
SELECT status AS begun FROM app.set_campaign_status('HAPPY', 'active', 'slow hours') \gset
COMMIT;
SELECT pg_temp.expect('made', :'made', 'draft');
SELECT pg_temp.expect('begun', :'begun', 'active');
:as_lin
SELECT qr_plain AS code FROM app.rotate_card_qr(:'lin_card') \gset
COMMIT;
:as_mei
SELECT tx_no AS cake, final_amount AS paid, points_earned || '  ' || points_bonus AS earned
FROM app.merchant_charge_by_qr('SHOP-001', :'code', 40.00, 'Cake') \gset
COMMIT;
SELECT pg_temp.expect('paid', :'paid', '38.00');
SELECT pg_temp.expect('  points, of which by it', :'earned', '76  38');
:as_backend
SELECT status AS ended FROM app.set_campaign_status('HAPPY', 'ended', 'over') \gset
SELECT points_given || ' points in ' || payments AS gave FROM app.campaign_report('HAPPY') \gset
COMMIT;
SELECT pg_temp.expect('ended', :'ended', 'ended');
SELECT pg_temp.expect('it gave', :'gave', '38 points in 1');
\echo '    The cake was salty. With the money all of its points go back.'
:as_mei
SELECT points_reversed AS back FROM app.merchant_refund_tx('SHOP-001', :'cake', 38.00) \gset
COMMIT;
SELECT pg_temp.expect('  points back', :'back', '76');

\echo
\echo '14  In the evening the owner looks into the database'
SELECT pg_temp.expect('transactions', count(*)::text, '13') FROM app.transactions;
SELECT pg_temp.expect('all completed', bool_and(status = 'completed')::text, 'true') FROM app.transactions;
SELECT pg_temp.expect('money in - money out', sum(CASE WHEN tx_type = 'payment' THEN -final_amount ELSE final_amount END)::text, '2012.40')
FROM app.transactions;
SELECT pg_temp.expect('money on the cards',
    ((SELECT sum(balance) FROM app.personal_cards) + (SELECT sum(balance) FROM app.enterprise_cards))::text, '2012.40');
SELECT sum(payment_total) - sum(refund_total) AS taken FROM app.day_totals() WHERE merchant_code = 'SHOP-001' \gset
SELECT sum(CASE tx_type WHEN 'payment' THEN final_amount ELSE -final_amount END) AS lines
FROM app.merchant_statement('SHOP-001', p_day => app.business_day(now())) WHERE tx_type IN ('payment', 'refund') \gset
SELECT pg_temp.expect('the shop''s day', :'taken', '5187.60');
SELECT pg_temp.expect('lines of its statement', :'lines', :'taken');
:as_lin
SELECT count(*) AS mine FROM app.usage_page() \gset
COMMIT;
SELECT pg_temp.expect('lines on Lin Xia''s page', :'mine', '11');
SELECT pg_temp.expect('security rules broken', count(*)::text, '0') FROM sec.security_check() WHERE NOT ok;

\echo
\echo '15  Lin Xia keeps a receipt of the latte, which needs no server to be verified'
CALL audit.seal();
:as_lin
SELECT app.tx_proof(:'latte') AS receipt \gset
COMMIT;
SELECT pg_temp.expect('bytes, under 2,048', length(:'receipt')::text, '/^1?[0-9]{3}$/');
SELECT pg_temp.expect('proved of', (:'receipt'::jsonb ->> 'leaf')::jsonb ->> 1, :'latte');
SELECT pg_temp.expect('  change, then balance', concat_ws('  ', leaf ->> 4, leaf ->> 5), '-52.00  5948.00')
FROM (SELECT (:'receipt'::jsonb ->> 'leaf')::jsonb AS leaf) r;
\echo '    Through supabase-js the day also verifies it; docs/receipts.md says how.'

\echo
\echo '16  At night the DBA has the database read only for a moment'
SELECT pg_temp.expect('mode', mode, 'read_only') FROM app.set_mode('read_only', 'a snapshot');
\set ON_ERROR_STOP off
:as_mei
SELECT * FROM app.merchant_refund_tx('SHOP-001', :'latte', 1.00);
\set refused :ERROR
ROLLBACK;
\set ON_ERROR_STOP on
SELECT pg_temp.expect('refused', :'refused', 'true');
SELECT pg_temp.expect('error', :'LAST_ERROR_MESSAGE', 'READ_ONLY');
:as_lin
SELECT balance FROM app.v_user_cards WHERE card_type = 'personal' \gset
COMMIT;
SELECT pg_temp.expect('Lin Xia still sees', :'balance', '1162.00');
SELECT pg_temp.expect('mode', mode, 'normal') FROM app.set_mode('normal');
