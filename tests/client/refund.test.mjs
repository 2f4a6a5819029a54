// Refunds: partial, repeated, never more than was paid.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backend } from './lib/api.mjs';
import { ok, refused, refusedAndStill, row } from './lib/expect.mjs';
import { cardOf, charge, newMember, newShop, payCode, unique } from './lib/shop.mjs';

const paid = async (amount = 52) => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  const payment = await charge(shop, member, amount);
  const args = { p_merchant_code: shop.code, p_original_tx_no: payment.tx_no };
  const refund = (p_refund_amount, more) => shop.cashier.rpc('merchant_refund_tx', { ...args, p_refund_amount, ...more });
  return { member, shop, payment, args, refund };
};

test("the seed's refund, by named arguments", async () => {
  const { member, payment, refund } = await paid();
  const { refund_tx_id, refund_tx_no, created_at, ...rest } = row(await refund(20.0, { p_reason: '退货', p_tag: {} }));
  assert.ok(Number.isSafeInteger(refund_tx_id));
  assert.match(refund_tx_no, /^TK\d+$/);
  assert.ok(Date.parse(created_at) >= Date.parse(payment.created_at));
  assert.deepEqual(rest, { refunded_amount: 20, points_reversed: 20, refundable_left: 32, replayed: false });
  const { balance, points } = await cardOf(member);
  assert.deepEqual({ balance, points }, { balance: 68, points: 32 });

  const [original, back] = ok(await member.rpc('tx_by_no', { p_tx_no: payment.tx_no }));
  assert.deepEqual([original.tx_no, original.refunded_amount], [payment.tx_no, 20]);
  assert.deepEqual([back.tx_no, back.original_tx_no, back.reason], [refund_tx_no, payment.tx_no, '退货']);
});

test('partial refunds end at the last cent, points with them', async () => {
  const { member, refund } = await paid(10);
  const parts = [3.33, 3.33, 3.34];
  const answers = [];
  for (const part of parts) answers.push(row(await refund(part)));
  assert.deepEqual(answers.map((a) => a.refundable_left), [6.67, 3.34, 0]);
  assert.equal(answers.reduce((sum, a) => sum + a.points_reversed, 0), 10);
  const { balance, points } = await cardOf(member);
  assert.deepEqual({ balance, points }, { balance: 100, points: 0 });
  await refusedAndStill(() => refund(0.01), 409, 'REFUND_EXCEEDS_REMAINING');
});

test('two different refunds in parallel never pass what was paid', async () => {
  const { member, refund } = await paid(52);
  const answers = await Promise.all([refund(30), refund(30)]);
  assert.deepEqual(answers.map((a) => a.status).sort(), [200, 409]);
  await refused(answers.find((a) => a.status === 409), 409, 'REFUND_EXCEEDS_REMAINING');
  assert.equal((await cardOf(member)).balance, 78);
});

test('two identical refunds in parallel refund once', async () => {
  const { member, refund } = await paid(52);
  const more = { p_idempotency_key: unique('refund') };
  const answers = (await Promise.all([refund(20, more), refund(20, more)])).map(row);
  assert.equal(answers[0].refund_tx_no, answers[1].refund_tx_no);
  assert.deepEqual(answers.map((a) => a.replayed).sort(), [false, true]);
  assert.deepEqual(answers.map((a) => a.refundable_left), [32, 32]);
  assert.equal((await cardOf(member)).balance, 68);
  await refusedAndStill(() => refund(21, more), 422, 'IDEMPOTENCY_KEY_REUSED');
});

test('who may refund: operators of the merchant that took the payment, and backends', async () => {
  const { member, args, refund } = await paid();
  const other = await newShop();
  const request = { ...args, p_refund_amount: 1 };
  await refusedAndStill(() => other.cashier.rpc('merchant_refund_tx', request), 403, 'NOT_MERCHANT_USER');
  await refusedAndStill(() => member.rpc('merchant_refund_tx', request), 403, 'NOT_MERCHANT_USER');
  // At its own shop, the other cashier does not learn that the payment exists.
  await refusedAndStill(
    () => other.cashier.rpc('merchant_refund_tx', { ...request, p_merchant_code: other.code }), 404, 'TX_NOT_FOUND');
  assert.equal(row(await backend.rpc('merchant_refund_tx', request)).refundable_left, 51);
  assert.equal(row(await refund(1)).refundable_left, 50);
});

test('a cancellation gives back what is left, by number or order, and answers the same again', async () => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  const order = unique('order');
  const payment = await charge(shop, member, 52, { p_external_order_id: order });
  row(await shop.cashier.rpc('merchant_refund_tx', { p_merchant_code: shop.code, p_original_tx_no: payment.tx_no, p_refund_amount: 20 }));
  const cancel = (args) => shop.cashier.rpc('cancel_payment', { p_merchant_code: shop.code, ...args });
  const { refund_tx_no, ...first } = row(await cancel({ p_external_order_id: order, p_reason: '撤单' }));
  assert.match(refund_tx_no, /^TK\d+$/);
  assert.deepEqual(first, { tx_no: payment.tx_no, refunded_amount: 32, replayed: false });
  assert.deepEqual(row(await cancel({ p_tx_no: payment.tx_no })), { ...first, refund_tx_no, replayed: true });
  const { balance, points } = await cardOf(member);
  assert.deepEqual({ balance, points }, { balance: 100, points: 0 });
  await refusedAndStill(() => cancel({ p_external_order_id: unique('order') }), 404, 'TX_NOT_FOUND');
  await refusedAndStill(() => cancel({ p_tx_no: payment.tx_no, p_external_order_id: order }), 400, 'INVALID_ARGUMENT');
  const request = { p_merchant_code: shop.code, p_tx_no: payment.tx_no };
  await refusedAndStill(() => member.rpc('cancel_payment', request), 403, 'NOT_MERCHANT_USER');
});

test('what cannot be refunded', async (t) => {
  const { shop, refund } = await paid();
  const back = row(await refund(1));
  await t.test('a refund', () =>
    refusedAndStill(() => refund(1, { p_original_tx_no: back.refund_tx_no }), 409, 'NOT_REFUNDABLE'));
  for (const [name, tx_no] of Object.entries({ 'no such payment': 'ZF2611999999', 'the number of the seed': 'ZF000123', text: 'x' })) {
    await t.test(name, () => refusedAndStill(() => refund(1, { p_original_tx_no: tx_no }), 404, 'TX_NOT_FOUND'));
  }
  for (const amount of [0, -1, 0.001, null]) {
    await t.test(`the amount ${amount}`, () => refusedAndStill(() => refund(amount), 400, 'INVALID_AMOUNT', /p_refund_amount/));
  }
  await t.test('no number', () => refusedAndStill(() => refund(1, { p_original_tx_no: null }), 400, 'INVALID_ARGUMENT'));
  await t.test('at a stopped merchant, except by a backend', async () => {
    ok(await backend.rpc('set_merchant_status', { p_merchant_code: shop.code, p_active: false, p_reason: 'closed' }));
    await refusedAndStill(() => refund(1), 409, 'MERCHANT_INACTIVE');
  });
});

test('a frozen card and a suspended member still get their money back', async () => {
  const { member, refund } = await paid();
  ok(await backend.rpc('set_card_status', {
    p_card_id: member.card, p_card_type: 'personal', p_status: 'frozen', p_reason: 'test' }));
  ok(await backend.rpc('set_member_status', { p_member_id: member.id, p_status: 'suspended', p_reason: 'test' }));
  row(await refund(52));
  assert.equal((await cardOf(member)).balance, 100);
});

test('a refund goes to the card that replaced the one that paid', async () => {
  const { member, refund } = await paid();
  ok(await member.rpc('set_card_status', {
    p_card_id: member.card, p_card_type: 'personal', p_status: 'lost', p_reason: 'test' }));
  const next = row(await backend.rpc('replace_card', { p_card_id: member.card, p_reason: 'test' }));
  row(await refund(20));
  const cards = ok(await member.from('personal_cards').select('id, balance, status').order('card_no'));
  assert.deepEqual(cards, [
    { id: member.card, balance: 0, status: 'closed' }, { id: next.card_id, balance: 68, status: 'active' }]);
  await refused(await member.rpc('rotate_card_qr', { p_card_id: member.card }), 409, 'CARD_NOT_ACTIVE');
  assert.match(await payCode({ ...member, rpc: member.rpc.bind(member), card: next.card_id }), /^MPS/);
});
