// One day of a small shop, through supabase-js and psql. Every value that is printed with a tick was compared with what
// the contract says it must be; the first that differs ends the day with exit code 1.
import { execFileSync } from 'node:child_process';
import { isDeepStrictEqual } from 'node:util';
import { verifier } from '../tests/client/lib/verifier.mjs';
import { backend, signedIn } from '../tests/client/lib/api.mjs';
import { alipayAccount, alipayNotice, alipayTrade, newKey, send, startGateway } from '../tests/client/lib/gateway.mjs';
import { drawQr } from '../tests/client/lib/qr.mjs';

const colours = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code, text) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);
const money = (value) => value.toFixed(2);

let steps = 0;
const step = (title) => console.log(`\n${paint('1', `${String(++steps).padStart(2)}  ${title}`)}`);
const note = (text) => console.log(`    ${paint('2', text)}`);

/** Prints a value that must be this one (or match this pattern). */
function expect(label, actual, expected) {
  const good = expected instanceof RegExp ? expected.test(actual) : isDeepStrictEqual(actual, expected);
  console.log(`    ${label.padEnd(24)}${String(actual).padEnd(26)}${good ? paint('32', '✓') : paint('31', `✗ expected ${expected}`)}`);
  if (!good) {
    console.error(paint('31', '\nThe day did not go as it must. Stopped here.'));
    process.exit(1);
  }
}

/** The rows of an answer that must be a success. */
function ok({ data, error, status }) {
  if (error) expect('answer', `${status} ${error.message}`, '200');
  return data;
}
const one = (answer) => ok(answer)[0];

/** An answer that must be this refusal. */
function refused({ error, status }, expectedStatus, token) {
  expect('HTTP status', status, expectedStatus);
  expect('error', error?.message, token);
  note(`${error.details} ${error.hint}`);
}

const psql = (sql, vars = {}) =>
  execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', ...Object.entries(vars).flatMap(([k, v]) => ['-v', `${k}=${v}`]), '-d', 'mps'],
    { input: sql, encoding: 'utf8' }).trim();

const cardOf = async (person, type = 'personal') => one(await person.from('v_user_cards').select('*').eq('card_type', type));
const payCode = async (person, card, type = 'personal') =>
  one(await person.rpc('rotate_card_qr', { p_card_id: card, p_card_type: type })).qr_plain;

// ---------------------------------------------------------------------------------------------------------------------
console.log(paint('1', 'One day at the Corner Cafe: supabase-js -> PostgREST -> PostgreSQL with mps'));

step('The shop’s server opens two shops and hires a cashier for each');
const [mei, tao] = [signedIn(), signedIn()];
expect('Corner Cafe', one(await backend.rpc('create_merchant', { p_code: 'SHOP-001', p_name: 'Corner Cafe' })).code, 'SHOP-001');
expect('Noodle House', one(await backend.rpc('create_merchant', { p_code: 'SHOP-002', p_name: 'Noodle House' })).code, 'SHOP-002');
expect('Mei at the first', ok(await backend.rpc('set_merchant_user', { p_merchant_code: 'SHOP-001', p_user_id: mei.id })), true);
expect('Tao at the second', ok(await backend.rpc('set_merchant_user', { p_merchant_code: 'SHOP-002', p_user_id: tao.id })), true);

step('Two people sign up');
note('Two rows in auth.users, as Supabase’s sign-up inserts them. Members and cards appear by themselves.');
const signUp = (name, email) =>
  signedIn(psql(`INSERT INTO auth.users (email, raw_user_meta_data) VALUES (:'email', json_build_object('name', :'name')) RETURNING id`,
    { name, email }));
const [lin, wang] = [signUp('Lin Xia', 'lin@example.com'), signUp('Wang Lei', 'wang@example.com')];
for (const person of [lin, wang]) {
  const { name, member_no } = one(await person.from('member_profiles').select('name, member_no'));
  person.card = await cardOf(person);
  expect(name, `${member_no}  ${person.card.card_no}`, /^M\d{8} {2}VIP\d{8}$/);
  expect('  balance, level', `${money(person.card.balance)}  ${person.card.level_name}`, '0.00  Basic');
}
const card = lin.card.card_id;

step('Lin Xia recharges 6,000.00 by WeChat');
const recharge = one(await lin.rpc('user_recharge_personal_card', {
  p_personal_card_id: card, p_amount: 6000.0, p_payment_method: 'wechat', p_reason: '自助充值', p_tag: {},
  p_external_order_id: 'order-123', p_idempotency_key: 'ide-123',
}));
expect('transaction', recharge.tx_no, /^CZ\d+$/);
expect('status', recharge.status, 'processing');
expect('balance', money((await cardOf(lin)).balance), '0.00');
note('A member cannot make money. The shop’s server has the gateway’s word, and confirms:');
const confirmation = { p_tx_no: recharge.tx_no, p_amount: 6000.0, p_gateway_trade_no: 'wx-4200001', p_payload: { bank: 'CMB' } };
expect('status', one(await backend.rpc('confirm_recharge', confirmation)).status, 'completed');
expect('confirmed once more', one(await backend.rpc('confirm_recharge', confirmation)).replayed, true);
expect('balance', money((await cardOf(lin)).balance), '6000.00');

note('She pays the same order a second time. That money is not lost from sight: it waits in suspense, and goes back.');
const twice = { p_tx_no: recharge.tx_no, p_amount: 6000.0, p_gateway_trade_no: 'wx-4200002' };
expect('paid twice', one(await backend.rpc('confirm_recharge', twice)).status, 'suspense');
const [kept] = ok(await backend.from('suspense_payments').select('id, amount').eq('gateway_trade_no', 'wx-4200002'));
const resolve = async (p_resolution, p_note) =>
  one(await backend.rpc('resolve_suspense', { p_suspense_id: kept.id, p_resolution, p_note })).status;
const said = [await resolve('refunded', 'paid twice'), await resolve('refund_completed', 'the gateway says so')];
expect('goes back', said.join(', '), 'refunding, refunded');
expect('balance', money((await cardOf(lin)).balance), '6000.00');

step('Lin Xia shows her pay code');
const latteCode = await payCode(lin, card);
for (const line of drawQr(latteCode, { colours })) console.log(`    ${line}`);
expect('code', `${latteCode.slice(0, 20)}...`, /^MPS[A-Z2-7]{17}\.\.\.$/);
note('Good for 15 minutes and one payment. The database keeps its SHA-256, not the code.');

step('Mei charges 52.00 for a latte; the request arrives twice at the same instant');
const latteRequest = {
  p_merchant_code: 'SHOP-001', p_qr_plain: latteCode, p_amount: 52.0, p_reason: '购买拿铁', p_tag: { sku: 'latte' },
  p_idempotency_key: 'order-2025-0001',
};
const both = (await Promise.all([1, 2].map(() => mei.rpc('merchant_charge_by_qr', latteRequest)))).map(one);
const [latte, again] = both.sort((a, b) => a.replayed - b.replayed);
expect('first answer', latte.tx_no, /^ZF\d+$/);
expect('  paid, points', `${money(latte.final_amount)}  ${latte.points_earned}`, '52.00  52');
expect('second answer', again.tx_no, latte.tx_no);
expect('  replayed', `${latte.replayed}, ${again.replayed}`, 'false, true');
expect('balance', money((await cardOf(lin)).balance), '5948.00');

step('20.00 of it is refunded');
const refund = one(await mei.rpc('merchant_refund_tx', {
  p_merchant_code: 'SHOP-001', p_original_tx_no: latte.tx_no, p_refund_amount: 20.0, p_reason: '退货', p_tag: {} }));
expect('transaction', refund.refund_tx_no, /^TK\d+$/);
note('One sequence numbers everything, and the repeated request drew a number as well: numbers go up, with gaps.');
expect('points taken back', refund.points_reversed, 20);
expect('still refundable', money(refund.refundable_left), '32.00');
expect('balance', money((await cardOf(lin)).balance), '5968.00');

step('Lin Xia orders for a wedding, 4,968.00, and climbs a level');
const charge = async (p_qr_plain, p_amount, p_reason) =>
  one(await mei.rpc('merchant_charge_by_qr', { p_merchant_code: 'SHOP-001', p_qr_plain, p_amount, p_reason }));
expect('paid', money((await charge(await payCode(lin, card), 4968.0, 'wedding order')).final_amount), '4968.00');
const silver = await cardOf(lin);
expect('points, level', `${silver.points}  ${silver.level_name}`, '5000  Silver');
const coffeeCode = await payCode(lin, card);
const coffee = await charge(coffeeCode, 40.0, 'beans');
expect('beans for 40.00 cost', money(coffee.final_amount), '38.00');
expect('discount', coffee.discount.toFixed(3), '0.950');
expect('balance', money((await cardOf(lin)).balance), '962.00');

step('A company card with two employees, twelve percent off');
const company = one(await backend.rpc('create_enterprise_card', {
  p_company_name: 'Acme Tea Ltd', p_fixed_discount: 0.88, p_admin_member_id: wang.id }));
expect('card', company.card_no, /^ENT\d{5}$/);
expect('Wang Lei adds Lin Xia', ok(await wang.rpc('enterprise_add_member', {
  p_card_no: company.card_no, p_member_id: lin.id, p_role: 'member' })), true);
const budget = one(await wang.rpc('user_recharge_enterprise_card_admin', {
  p_enterprise_card_id: company.card_id, p_amount: 1000.0, p_payment_method: 'alipay', p_reason: 'tea budget' }));
expect('Wang Lei recharges', `1000.00  ${budget.status}`, '1000.00  processing');
expect('the server confirms', one(await backend.rpc('confirm_recharge', {
  p_tx_no: budget.tx_no, p_amount: 1000.0, p_gateway_trade_no: 'ali-2026-1' })).status, 'completed');
const byWang = await charge(await payCode(wang, company.card_id, 'enterprise'), 120.0, 'tea for guests');
const byLin = await charge(await payCode(lin, company.card_id, 'enterprise'), 50.0, 'cake for guests');
expect('Wang Lei pays', `120.00 -> ${money(byWang.final_amount)}`, '120.00 -> 105.60');
expect('Lin Xia pays', `50.00 -> ${money(byLin.final_amount)}`, '50.00 -> 44.00');
expect('company’s balance', money((await cardOf(lin, 'enterprise')).balance), '850.40');

step('Lin Xia recharges 200.00 more, and Alipay itself tells the database');
note('The DBA sets an account and its key, once; its role can bring what gateways send, and nothing else.');
const alipay = newKey();
psql(`
  DO $$ BEGIN IF to_regrole('mps_gateway') IS NULL THEN CREATE ROLE mps_gateway LOGIN NOINHERIT; END IF; END $$;
  SELECT sec.grant_api('mps_gateway', 'gateway'), app.set_gateway_account('alipay-main', 'alipay', :'config'),
         app.set_gateway_key('alipay-main', 'alipay_public_key', 'first', :'public')`, {
  config: JSON.stringify({ app_id: alipayAccount.app_id, seller_ids: [alipayAccount.seller_id] }), public: alipay.pem,
});
const topUp = one(await lin.rpc('user_recharge_personal_card', {
  p_personal_card_id: card, p_amount: 200.0, p_payment_method: 'alipay', p_idempotency_key: 'ide-124' }));
expect('she asks for', `${money(topUp.amount)}  ${topUp.status}`, '200.00  processing');
if (process.env.MPS_NO_NGINX) {
  note(`Not shown here, because ${process.env.MPS_NO_NGINX}: the server confirms.`);
  expect('the server confirms', one(await backend.rpc('confirm_recharge', {
    p_tx_no: topUp.tx_no, p_amount: 200.0, p_gateway_trade_no: 'ali-2026-2' })).status, 'completed');
} else {
  note('She pays. Alipay signs what it tells, and sends it over TLS: nginx -> a second PostgREST -> the database.');
  const { front, stop } = await startGateway('mps');
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8' };
  const tell = (body) => send(front, { path: '/notify/alipay-main', body, headers });
  const trade = alipayTrade(topUp.tx_no, '200.00');
  const told = alipayNotice(trade, alipay.privateKey);
  // Somebody else knows the order, the account and the form of it all, but has no key of Alipay's.
  const forged = await tell(alipayNotice(trade, newKey().privateKey));
  expect('a forged one', `${forged.status}  ${forged.text}`, '400  failure');
  expect('  balance', money((await cardOf(lin)).balance), '962.00');
  expect('another amount in it', (await tell(told.replaceAll('200.00', '900.00'))).text, 'failure');
  const real = await tell(told);
  expect('the real one', `${real.status}  ${real.text}`, '200  success');
  expect('  balance', money((await cardOf(lin)).balance), '1162.00');
  expect('told once more', (await tell(told)).text, 'success');
  expect('  balance', money((await cardOf(lin)).balance), '1162.00');
  note('What app.gateway_events says of it, and app.gateway_tallies of how often the same came:');
  const events = ok(await backend.from('gateway_events').select('outcome, reason, verified, tx_no, amount').order('id'));
  const [first, last] = [events[0], events.at(-1)];
  expect('first', `${first.outcome}: ${first.reason}`, 'refused: signature_wrong');
  expect('  signed by Alipay', first.verified, false);
  expect('then', `${last.outcome}  ${money(last.amount)}`, 'credited  200.00');
  expect('  the recharge', last.tx_no, topUp.tx_no);
  expect('  signed by Alipay', last.verified, true);
  const counted = (kind) => psql("SELECT sum(callbacks) FROM app.gateway_tallies WHERE kind = :'kind'", { kind });
  expect('signature_wrong', counted('signature_wrong'), '2');
  expect('repeated', counted('repeated'), '1');
  await stop();
}

step('Tao of the Noodle House tries to charge for the Corner Cafe');
const fresh = await payCode(lin, card);
refused(await tao.rpc('merchant_charge_by_qr', { p_merchant_code: 'SHOP-001', p_qr_plain: fresh, p_amount: 30.0 }),
  403, 'NOT_MERCHANT_USER');

step('Mei scans the code of the beans once more');
refused(await mei.rpc('merchant_charge_by_qr', { p_merchant_code: 'SHOP-001', p_qr_plain: coffeeCode, p_amount: 30.0 }),
  410, 'QR_EXPIRED_OR_INVALID');
expect('balance', money((await cardOf(lin)).balance), '1162.00');

step('Lin Xia has a coupon: 20.00 off from 100.00 on');
const coupon = { code: 'SPRING', name: '20 off from 100', kind: 'amount_off', value: 20, min_spend: 100, budget_amount: 5000 };
expect('made', one(await backend.rpc('create_coupon', { p_coupon: coupon })).status, 'draft');
expect('begun', one(await backend.rpc('set_coupon_status', { p_code: 'SPRING', p_status: 'active', p_reason: 'spring' })).status, 'active');
const { coupon_code } = one(await backend.rpc('issue_coupon', { p_code: 'SPRING', p_member_id: lin.id }));
expect('hers', coupon_code, /^CP\d{8}$/);
note('128.00, of which 8.00 are tobacco, that no discount is for. Mei asks first: that uses nothing up.');
const basket = {
  p_merchant_code: 'SHOP-001', p_qr_plain: await payCode(lin, card), p_amount: 128.0, p_excluded_amount: 8.0, p_coupon_code: coupon_code,
};
const quoted = one(await mei.rpc('quote_charge', basket));
expect('it would cost', `${money(quoted.final_amount)}  covered: ${quoted.covered}`, '102.00  covered: true');
for (const { step: name, amount } of quoted.lines) note(`${name.padEnd(16)}${money(amount).padStart(10)}`);
const spring = one(await mei.rpc('merchant_charge_by_qr', basket));
expect('paid', money(spring.final_amount), '102.00');
expect('  the coupon took off', money(spring.coupon_discount), '20.00');
expect('  points', spring.points_earned, 94);
refused(await mei.rpc('merchant_charge_by_qr', { ...basket, p_qr_plain: await payCode(lin, card) }), 409, 'COUPON_NOT_USABLE');
note('It was too small. All of it is given back, and the coupon is hers again.');
one(await mei.rpc('merchant_refund_tx', { p_merchant_code: 'SHOP-001', p_original_tx_no: spring.tx_no, p_refund_amount: 102.0 }));
expect('the coupon', one(await lin.from('v_member_coupons').select('status')).status, 'active');
expect('balance', money((await cardOf(lin)).balance), '1162.00');

step('Happy hour: double points for an hour');
const happy = { code: 'HAPPY', name: 'Happy hour', kind: 'points_multiplier', value: 2, min_spend: 20 };
expect('made', one(await backend.rpc('create_campaign', { p_campaign: happy })).status, 'draft');
expect('begun', one(await backend.rpc('set_campaign_status', { p_code: 'HAPPY', p_status: 'active', p_reason: 'slow hours' })).status, 'active');
const cake = one(await mei.rpc('merchant_charge_by_qr', {
  p_merchant_code: 'SHOP-001', p_qr_plain: await payCode(lin, card), p_amount: 40.0, p_reason: 'Cake',
}));
expect('paid', money(cake.final_amount), '38.00');
expect('  points, of which by it', `${cake.points_earned}  ${cake.points_bonus}`, '76  38');
expect('ended', one(await backend.rpc('set_campaign_status', { p_code: 'HAPPY', p_status: 'ended', p_reason: 'over' })).status, 'ended');
const report = one(await backend.rpc('campaign_report', { p_code: 'HAPPY' }));
expect('it gave', `${report.points_given} points in ${report.payments}`, '38 points in 1');
note('The cake was salty. With the money all of its points go back.');
expect('  points back', one(await mei.rpc('merchant_refund_tx', {
  p_merchant_code: 'SHOP-001', p_original_tx_no: cake.tx_no, p_refund_amount: 38.0,
})).points_reversed, 76);

step('In the evening the owner looks into the database');
expect('transactions', Number(psql('SELECT count(*) FROM app.transactions')), 13);
expect('all completed', psql(`SELECT bool_and(status = 'completed') FROM app.transactions`), 't');
expect('money in - money out', psql(`
  SELECT sum(CASE WHEN tx_type = 'payment' THEN -final_amount ELSE final_amount END) FROM app.transactions`), '2012.40');
expect('money on the cards', psql(`
  SELECT (SELECT sum(balance) FROM app.personal_cards) + (SELECT sum(balance) FROM app.enterprise_cards)`), '2012.40');
expect('the shop’s day', psql(`
  SELECT sum(payment_total) - sum(refund_total) FROM app.day_totals() WHERE merchant_code = 'SHOP-001'`), '5187.60');
const lines = ok(await mei.rpc('merchant_statement', { p_merchant_code: 'SHOP-001', p_day: psql('SELECT app.business_day(now())') }));
const taken = (of) => lines.filter((l) => l.tx_type === of).reduce((sum, l) => sum + l.final_amount, 0);
expect('lines of its statement', money(taken('payment') - taken('refund')), '5187.60');
expect('lines on Lin Xia’s page', ok(await lin.rpc('usage_page')).length, 11);
expect('security rules broken', Number(psql('SELECT count(*) FROM sec.security_check() WHERE NOT ok')), 0);

step('Lin Xia keeps receipts, which need no server to be verified');
psql('CALL audit.seal()');
const latteReceipt = ok(await lin.rpc('tx_proof', { p_tx_no: latte.tx_no }));
const published = psql(`CREATE TEMP TABLE key (line text); COPY key FROM PROGRAM 'openssl pkey -in ../demo-seal.pem -pubout'; TABLE key`);
const shopKeys = await verifier.keys(published);
const proved = await verifier.receipt(latteReceipt, shopKeys);
expect('proved of', proved.movement.txNo, latte.tx_no);
expect('  change, then balance', `${proved.movement.changeCents / 100n}  ${proved.movement.balanceAfterCents / 100n}`, '-52  5948');
const topUpReceipt = await verifier.receipt(ok(await lin.rpc('tx_proof', { p_tx_no: topUp.tx_no })), shopKeys);
expect('proved of', topUpReceipt.movement.txNo, topUp.tx_no);
const { changeCents, balanceAfterCents } = topUpReceipt.movement;
expect('  change, then balance', `${changeCents / 100n}  ${balanceAfterCents / 100n}`, '200  1162');
const heads = ok(await lin.rpc('head_proof', { p_head_no: proved.head.headNo }));
expect('the shop', (await verifier.judge(proved.head, heads, shopKeys)).verdict, 'stands');

step('At night the DBA has the database read only for a moment');
expect('mode', psql(`SELECT mode FROM app.set_mode('read_only', 'a snapshot')`), 'read_only');
refused(await mei.rpc('merchant_refund_tx', { p_merchant_code: 'SHOP-001', p_original_tx_no: latte.tx_no, p_refund_amount: 1.0 }),
  409, 'READ_ONLY');
expect('Lin Xia still sees', money((await cardOf(lin)).balance), '1162.00');
expect('mode', psql(`SELECT mode FROM app.set_mode('normal')`), 'normal');
