// Recharges: a member cannot make money; a backend with the gateway's word can.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backend } from './lib/api.mjs';
import { ok, refusedAndStill, row } from './lib/expect.mjs';
import { cardOf, newCompany, newMember, unique } from './lib/shop.mjs';

const asked = async (amount = 200, more = {}) => {
  const member = await newMember();
  const args = { p_personal_card_id: member.card, p_amount: amount, ...more };
  return { member, args, recharge: row(await member.rpc('user_recharge_personal_card', args)) };
};
const confirm = (recharge, more = {}) =>
  backend.rpc('confirm_recharge', {
    p_tx_no: recharge.tx_no, p_amount: recharge.amount, p_gateway_trade_no: unique('trade'), ...more,
  });

test("the seed's recharge is recorded, and credits nothing until a backend confirms it", async () => {
  const member = await newMember();
  const { tx_id, tx_no, created_at, ...rest } = row(await member.rpc('user_recharge_personal_card', {
    p_personal_card_id: member.card, p_amount: 200.0, p_payment_method: 'wechat', p_reason: '自助充值', p_tag: {},
    p_external_order_id: unique('order'), p_idempotency_key: unique('ide'),
  }));
  assert.ok(Number.isSafeInteger(tx_id));
  assert.match(tx_no, /^CZ\d+$/);
  assert.ok(Date.parse(created_at) > 0);
  assert.deepEqual(rest, { card_id: member.card, amount: 200, status: 'processing', replayed: false });
  assert.equal((await cardOf(member)).balance, 0);
  const pending = row(await member.from('v_usage_logs').select('status, balance_after, posted_at').eq('tx_no', tx_no));
  assert.deepEqual(pending, { status: 'processing', balance_after: null, posted_at: null });

  const trade = { p_gateway_trade_no: unique('trade'), p_payload: { bank: 'test' } };
  const done = row(await confirm({ tx_no, amount: 200 }, trade));
  assert.deepEqual(done, { tx_id, tx_no, card_id: member.card, amount: 200, status: 'completed', replayed: false });
  assert.deepEqual(row(await confirm({ tx_no, amount: 200 }, trade)), { ...done, replayed: true });
  const { balance, points } = await cardOf(member);
  assert.deepEqual({ balance, points }, { balance: 200, points: 0 });
});

test('two confirmations in parallel credit once', async () => {
  const { member, recharge } = await asked(75);
  const trade = { p_gateway_trade_no: unique('trade') };
  const answers = (await Promise.all([confirm(recharge, trade), confirm(recharge, trade)])).map(row);
  assert.deepEqual(answers.map((a) => a.replayed).sort(), [false, true]);
  assert.equal((await cardOf(member)).balance, 75);
});

test('two identical recharges in parallel are one', async () => {
  const member = await newMember();
  const args = { p_personal_card_id: member.card, p_amount: 30, p_idempotency_key: unique('ide') };
  const send = () => member.rpc('user_recharge_personal_card', args);
  const answers = (await Promise.all([send(), send()])).map(row);
  assert.equal(answers[0].tx_no, answers[1].tx_no);
  assert.deepEqual(answers.map((a) => a.replayed).sort(), [false, true]);
  assert.equal(ok(await member.from('v_usage_logs').select('tx_no')).length, 1);
  row(await confirm(answers[0]));
  // A repetition tells the status of now.
  assert.deepEqual(row(await send()), { ...answers.find((a) => a.replayed), status: 'completed' });
  await refusedAndStill(
    () => member.rpc('user_recharge_personal_card', { ...args, p_amount: 31 }), 422, 'IDEMPOTENCY_KEY_REUSED');
});

test('a confirmation must agree with what was asked for', async () => {
  const { member, recharge } = await asked(200);
  const other = await asked(200);
  const trade = unique('trade');
  await refusedAndStill(() => confirm(recharge, { p_amount: 200.01 }), 409, 'AMOUNT_MISMATCH');
  row(await confirm(recharge, { p_gateway_trade_no: trade }));
  assert.equal(row(await confirm(recharge)).status, 'suspense');
  await refusedAndStill(
    () => confirm(other.recharge, { p_gateway_trade_no: trade }), 409, 'EXTERNAL_ORDER_CONFLICT', /trade number/);
  await refusedAndStill(() => confirm({ tx_no: 'CZ2611999999', amount: 1 }), 404, 'TX_NOT_FOUND');
  await refusedAndStill(() => confirm(other.recharge, { p_gateway_trade_no: '' }), 400, 'INVALID_ARGUMENT', /p_gateway_trade_no/);
  await refusedAndStill(() => confirm(other.recharge, { p_amount: null }), 400, 'INVALID_AMOUNT', /p_amount/);
  assert.equal((await cardOf(member)).balance, 200);
  assert.equal((await cardOf(other.member)).balance, 0);
});

test('a declined recharge fails, and is credited after all when the gateway has the money', async () => {
  const { member, recharge } = await asked(40);
  const failed = { p_tx_no: recharge.tx_no, p_reason: 'declined' };
  assert.equal(row(await backend.rpc('fail_recharge', failed)).status, 'failed');
  assert.equal(row(await backend.rpc('fail_recharge', failed)).replayed, true);
  assert.equal((await cardOf(member)).balance, 0);
  assert.equal(row(await confirm(recharge)).status, 'completed');
  assert.equal((await cardOf(member)).balance, 40);
  await refusedAndStill(() => backend.rpc('fail_recharge', failed), 409, 'RECHARGE_NOT_PENDING');
});

test('members recharge with wechat or alipay only, their own card only', async (t) => {
  const { member, args } = await asked();
  const other = await newMember();
  const send = (more) => member.rpc('user_recharge_personal_card', { ...args, ...more });
  for (const method of ['cash', 'balance', 'paypal', ' ', null]) {
    await t.test(`method ${method}`, () =>
      refusedAndStill(() => send({ p_payment_method: method }), 400, 'INVALID_PAYMENT_METHOD'));
  }
  await t.test('alipay', async () => assert.equal(row(await send({ p_payment_method: 'alipay' })).status, 'processing'));
  await t.test("another's card", () => refusedAndStill(() => send({ p_personal_card_id: other.card }), 404, 'CARD_NOT_FOUND'));
  await t.test('where it was taken is for backends', () =>
    refusedAndStill(() => send({ p_merchant_code: 'SHOP' }), 403, 'NOT_ALLOWED', /p_merchant_code/));
  await t.test('no card', () => refusedAndStill(() => send({ p_personal_card_id: null }), 400, 'INVALID_ARGUMENT', /card/));
});

test('a backend completes at once, up to the largest balance', async () => {
  const member = await newMember();
  const args = { p_personal_card_id: member.card, p_amount: 50_000, p_payment_method: 'cash' };
  for (let i = 0; i < 20; i++) {
    assert.equal(row(await backend.rpc('user_recharge_personal_card', args)).status, 'completed');
  }
  assert.equal((await cardOf(member)).balance, 1_000_000);
  await refusedAndStill(
    () => backend.rpc('user_recharge_personal_card', { ...args, p_amount: 0.01 }), 409, 'BALANCE_LIMIT');
  await refusedAndStill(
    () => backend.rpc('user_recharge_personal_card', { ...args, p_payment_method: 'balance' }), 400, 'INVALID_PAYMENT_METHOD');
});

test("a backend's order id is unique per payment method; a member's only on its own card", async () => {
  const [one, two] = [await newMember(), await newMember()];
  const order = unique('order');
  const args = (member, more) => ({
    p_personal_card_id: member.card, p_amount: 10, p_payment_method: 'wechat', p_external_order_id: order, ...more });
  row(await backend.rpc('user_recharge_personal_card', args(one)));
  assert.equal(row(await backend.rpc('user_recharge_personal_card', args(one))).replayed, true);
  await refusedAndStill(() => backend.rpc('user_recharge_personal_card', args(two)), 409, 'EXTERNAL_ORDER_CONFLICT');
  // A member cannot find out by its own recharge that the order exists.
  assert.equal(row(await two.rpc('user_recharge_personal_card', args(two))).status, 'processing');
});

test('an enterprise card is recharged by its admin, pending as well, and by no one else', async () => {
  const company = await newCompany();
  const employee = await newMember();
  ok(await company.admin.rpc('enterprise_add_member', { p_card_no: company.cardNo, p_member_id: employee.id }));
  const args = {
    p_enterprise_card_id: company.card, p_amount: 1000, p_payment_method: 'alipay', p_reason: 'travel budget', p_tag: {},
    p_external_order_id: unique('order'), p_idempotency_key: unique('ide'),
  };
  await refusedAndStill(
    () => employee.rpc('user_recharge_enterprise_card_admin', args), 403, 'NOT_CARD_ADMIN');
  const stranger = await newMember();
  await refusedAndStill(() => stranger.rpc('user_recharge_enterprise_card_admin', args), 404, 'CARD_NOT_FOUND');
  const recharge = row(await company.admin.rpc('user_recharge_enterprise_card_admin', args));
  assert.deepEqual([recharge.status, recharge.card_id, recharge.amount], ['processing', company.card, 1000]);
  row(await confirm(recharge));
  const seen = row(await employee.from('v_user_cards').select('balance').eq('card_id', company.card));
  assert.equal(seen.balance, 1000);
});
