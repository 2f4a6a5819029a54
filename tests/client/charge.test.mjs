// Taking a payment by pay code: the seed's supabase-js call, prices, codes, repetition, and what is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomBytes } from 'node:crypto';
import { backend, http, sign, signedIn } from './lib/api.mjs';
import { ok, refused, refusedAndStill, row } from './lib/expect.mjs';
import { cardOf, charge, newCompany, newMember, newShop, payCode, unique } from './lib/shop.mjs';
import { psql } from './lib/psql.mjs';

test("the seed's example, by named arguments", async () => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  const qrValue = await payCode(member);
  const supabase = shop.cashier;
  const { data, error, status } = await supabase.rpc('merchant_charge_by_qr', {
    p_merchant_code: shop.code,
    p_qr_plain: qrValue,
    p_amount: 52.0,
    p_reason: '购买拿铁',
    p_tag: { sku: 'latte' },
    p_idempotency_key: 'order-2025-0001',
  });
  assert.equal(error, null);
  assert.equal(status, 200);
  assert.equal(data.length, 1);
  const { tx_id, tx_no, created_at, ...rest } = data[0];
  assert.ok(Number.isSafeInteger(tx_id));
  assert.match(tx_no, /^ZF\d{4}\d+$/);
  assert.ok(Math.abs(Date.parse(created_at) - Date.now()) < 60_000, created_at);
  assert.deepEqual(rest, {
    card_type: 'personal', card_id: member.card, raw_amount: 52, discount: 1, final_amount: 52,
    points_earned: 52, status: 'completed', replayed: false, coupon_discount: 0, points_bonus: 0,
  });
  const { balance, points } = await cardOf(member);
  assert.deepEqual({ balance, points }, { balance: 48, points: 52 });

  const log = row(await member.from('v_usage_logs').select('tx_no, tx_type, reason, tag, balance_after').eq('tx_no', tx_no));
  assert.deepEqual(log, { tx_no, tx_type: 'payment', reason: '购买拿铁', tag: { sku: 'latte' }, balance_after: 48 });
});

test('amounts go both ways as JSON numbers with both decimals', async () => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  const body = JSON.stringify({ p_merchant_code: shop.code, p_qr_plain: await payCode(member), p_amount: 52.0 });
  assert.match(body, /"p_amount":52}/);
  const answer = await http('POST', 'rpc/merchant_charge_by_qr', {
    jwt: sign({ sub: shop.cashier.id, role: 'authenticated' }), body,
  });
  assert.equal(answer.status, 200, answer.text);
  assert.match(answer.text, /"raw_amount":52\.00,"discount":1\.000,"final_amount":52\.00,/);
});

test('a cent is a cent, also near the largest amount', async () => {
  const [member, shop] = [await newMember({ balance: 50_000 }), await newShop()];
  assert.equal((await charge(shop, member, 49_999.99)).final_amount, 49_999.99);
  assert.equal((await charge(shop, member, 0.01)).final_amount, 0.01);
  assert.equal((await cardOf(member)).balance, 0);
});

test('levels price: discount by points, rounded half away from zero to the cent', async () => {
  const [member, shop] = [await newMember({ balance: 1000 }), await newShop()];
  row(await backend.rpc('adjust_points', { p_card_id: member.card, p_change: 5000, p_reason: 'welcome' }));
  const first = await charge(shop, member, 0.1);
  // 0.10 x 0.950 = 0.095
  assert.deepEqual([first.discount, first.final_amount, first.points_earned], [0.95, 0.1, 0]);
  const second = await charge(shop, member, 99.99);
  // 99.99 x 0.950 = 94.9905
  assert.deepEqual([second.final_amount, second.points_earned], [94.99, 94]);
  const { balance, points, level, level_name } = await cardOf(member);
  assert.deepEqual({ balance, points, level, level_name }, { balance: 904.91, points: 5094, level: 1, level_name: 'Silver' });
});

test('amounts that are no money are refused and move nothing', async (t) => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  const qr = await payCode(member);
  const amounts = {
    'three decimals': 1.005, 'a sum of floats': 0.1 + 0.2, zero: 0, 'minus zero': -0, negative: -5, null: null,
    'above the largest amount': 50_000.01, huge: 1e300, 'the text NaN': 'NaN', 'the text Infinity': 'Infinity',
  };
  for (const [name, amount] of Object.entries(amounts)) {
    await t.test(name, () =>
      refusedAndStill(
        () => shop.cashier.rpc('merchant_charge_by_qr', { p_merchant_code: shop.code, p_qr_plain: qr, p_amount: amount }),
        400, 'INVALID_AMOUNT', amount === 50_000.01 ? /largest single amount/ : /p_amount/));
  }
  await t.test('the code is still good', async () => {
    row(await shop.cashier.rpc('merchant_charge_by_qr', { p_merchant_code: shop.code, p_qr_plain: qr, p_amount: 1.5 }));
  });
});

test('an amount that is no number at all is refused by PostgREST and PostgreSQL', async () => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  const qr = await payCode(member);
  const answer = await shop.cashier.rpc('merchant_charge_by_qr', { p_merchant_code: shop.code, p_qr_plain: qr, p_amount: 'ten' });
  assert.deepEqual([answer.status, answer.error.code], [400, '22P02']);
  assert.equal((await cardOf(member)).balance, 100);
});

test('two identical requests in parallel charge once', async () => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  for (const by of ['p_idempotency_key', 'p_external_order_id']) {
    const args = { p_merchant_code: shop.code, p_qr_plain: await payCode(member), p_amount: 10, [by]: unique('order') };
    const send = () => shop.cashier.rpc('merchant_charge_by_qr', args);
    const answers = (await Promise.all([send(), send(), send(), send()])).map(row);
    assert.equal(new Set(answers.map((a) => a.tx_no)).size, 1, by);
    assert.deepEqual(answers.map((a) => a.replayed).sort(), [false, true, true, true], by);
    const [first, again] = [answers.find((a) => !a.replayed), answers.find((a) => a.replayed)];
    assert.deepEqual({ ...again, replayed: false }, first);
  }
  assert.equal((await cardOf(member)).balance, 80);
});

test('without a key, a code pays once however many scan it', async () => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  const args = { p_merchant_code: shop.code, p_qr_plain: await payCode(member), p_amount: 10 };
  const answers = await Promise.all(Array.from({ length: 5 }, () => shop.cashier.rpc('merchant_charge_by_qr', args)));
  assert.deepEqual(answers.map((a) => a.status).sort(), [200, 410, 410, 410, 410]);
  for (const answer of answers.filter((a) => a.status !== 200)) await refused(answer, 410, 'QR_EXPIRED_OR_INVALID');
  assert.equal((await cardOf(member)).balance, 90);
});

test('a repeated key answers the first result, also after the code, the card and the balance are gone', async () => {
  const [member, shop] = [await newMember({ balance: 60 }), await newShop()];
  const args = {
    p_merchant_code: shop.code, p_qr_plain: await payCode(member), p_amount: 60, p_idempotency_key: unique('order'),
  };
  const first = row(await shop.cashier.rpc('merchant_charge_by_qr', args));
  assert.equal(first.replayed, false);
  await payCode(member);
  ok(await backend.rpc('set_card_status', {
    p_card_id: member.card, p_card_type: 'personal', p_status: 'frozen', p_reason: 'asked by phone' }));
  const again = row(await shop.cashier.rpc('merchant_charge_by_qr', args));
  assert.deepEqual(again, { ...first, replayed: true });
  assert.equal((await cardOf(member)).balance, 0);
});

test('a key used for another request is 422', async (t) => {
  const [member, other, shop] = [await newMember({ balance: 100 }), await newMember({ balance: 100 }), await newShop()];
  const args = {
    p_merchant_code: shop.code, p_qr_plain: await payCode(member), p_amount: 10, p_idempotency_key: unique('order'),
  };
  row(await shop.cashier.rpc('merchant_charge_by_qr', args));
  const changes = {
    'another amount': { p_amount: 11 },
    'another card': { p_qr_plain: await payCode(other) },
    'an order id': { p_external_order_id: unique('order') },
  };
  for (const [name, change] of Object.entries(changes)) {
    await t.test(name, () => refusedAndStill(
      () => shop.cashier.rpc('merchant_charge_by_qr', { ...args, ...change }), 422, 'IDEMPOTENCY_KEY_REUSED'));
  }
  await t.test('another shop may use the same key', async () => {
    const next = await newShop();
    const charged = await charge(next, member, 10, { p_idempotency_key: args.p_idempotency_key });
    assert.equal(charged.replayed, false);
  });
});

test('an order id used for another request is 409', async () => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  const order = unique('order');
  await charge(shop, member, 10, { p_external_order_id: order });
  const qr = await payCode(member);
  await refusedAndStill(
    () => shop.cashier.rpc('merchant_charge_by_qr', {
      p_merchant_code: shop.code, p_qr_plain: qr, p_amount: 11, p_external_order_id: order }),
    409, 'EXTERNAL_ORDER_CONFLICT');
});

test('a balance that does not suffice is 402, tells nobody the balance, and leaves the code good', async () => {
  const [member, shop] = [await newMember({ balance: 51.37 }), await newShop()];
  const args = { p_merchant_code: shop.code, p_qr_plain: await payCode(member), p_idempotency_key: unique('order') };
  let answer;
  await refusedAndStill(
    async () => (answer = await shop.cashier.rpc('merchant_charge_by_qr', { ...args, p_amount: 51.38 })),
    402, 'INSUFFICIENT_BALANCE');
  assert.doesNotMatch(JSON.stringify(answer.error), /51\.37/);
  // The failed attempt bound neither code nor key.
  assert.equal(row(await shop.cashier.rpc('merchant_charge_by_qr', { ...args, p_amount: 51.37 })).final_amount, 51.37);
});

test('a used, an expired, a replaced, a forged and a malformed code all get the same 410', async (t) => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  const used = await payCode(member);
  row(await shop.cashier.rpc('merchant_charge_by_qr', { p_merchant_code: shop.code, p_qr_plain: used, p_amount: 1 }));
  const replaced = await payCode(member);
  const live = await payCode(member);
  const expiring = await newMember({ balance: 100 });
  const expired = await payCode(expiring);
  psql(`UPDATE app.personal_cards SET qr_expires_at = clock_timestamp() WHERE id = :'card'`, { card: expiring.card });
  const codes = {
    used, replaced, expired,
    forged: live.slice(0, -6) + (live.endsWith('AAAAAA') ? 'BBBBBB' : 'AAAAAA'),
    random: `MPS${randomBytes(40).toString('hex').toUpperCase()}`,
    malformed: 'SELECT 1', long: 'M'.repeat(10_000),
  };
  const errors = new Set();
  for (const [name, code] of Object.entries(codes)) {
    await t.test(name, () => refusedAndStill(async () => {
      const answer = await shop.cashier.rpc('merchant_charge_by_qr', {
        p_merchant_code: shop.code, p_qr_plain: code, p_amount: 1 });
      errors.add(JSON.stringify(answer.error));
      return answer;
    }, 410, 'QR_EXPIRED_OR_INVALID'));
  }
  assert.equal(errors.size, 1, 'the answer tells which of them it was');
  row(await shop.cashier.rpc('merchant_charge_by_qr', { p_merchant_code: shop.code, p_qr_plain: live, p_amount: 1 }));
});

test('who may charge: operators of this merchant and backends', async () => {
  const [member, shop, other] = [await newMember({ balance: 100 }), await newShop(), await newShop()];
  const args = { p_merchant_code: shop.code, p_qr_plain: await payCode(member), p_amount: 10 };
  await refusedAndStill(() => other.cashier.rpc('merchant_charge_by_qr', args), 403, 'NOT_MERCHANT_USER');
  await refusedAndStill(() => member.rpc('merchant_charge_by_qr', args), 403, 'NOT_MERCHANT_USER');
  await refusedAndStill(() => signedIn().rpc('merchant_charge_by_qr', args), 403, 'NOT_MERCHANT_USER');
  await refusedAndStill(
    () => shop.cashier.rpc('merchant_charge_by_qr', { ...args, p_merchant_code: 'NOWHERE' }), 404, 'MERCHANT_NOT_FOUND');
  assert.equal(row(await backend.rpc('merchant_charge_by_qr', args)).final_amount, 10);
});

test('a stopped merchant, a suspended member, a frozen and an expired card are 409', async () => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  const qr = await payCode(member);
  const refusedWith = (token) => refusedAndStill(
    () => shop.cashier.rpc('merchant_charge_by_qr', { p_merchant_code: shop.code, p_qr_plain: qr, p_amount: 10 }), 409, token);
  const card = { p_card_id: member.card, p_card_type: 'personal', p_reason: 'test' };

  ok(await backend.rpc('set_merchant_status', { p_merchant_code: shop.code, p_active: false, p_reason: 'closed' }));
  await refusedWith('MERCHANT_INACTIVE');
  ok(await backend.rpc('set_merchant_status', { p_merchant_code: shop.code, p_active: true, p_reason: 'open' }));

  ok(await backend.rpc('set_member_status', { p_member_id: member.id, p_status: 'suspended', p_reason: 'test' }));
  await refusedWith('MEMBER_NOT_ACTIVE');
  ok(await backend.rpc('set_member_status', { p_member_id: member.id, p_status: 'active', p_reason: 'test' }));

  ok(await backend.rpc('set_card_status', { ...card, p_status: 'frozen' }));
  await refusedWith('CARD_NOT_ACTIVE');
  ok(await backend.rpc('set_card_status', { ...card, p_status: 'active' }));

  ok(await backend.rpc('set_card_expiry', { ...card, p_expires_at: '2020-01-01T00:00:00Z' }));
  await refusedWith('CARD_EXPIRED');
  ok(await backend.rpc('set_card_expiry', { ...card, p_expires_at: null }));
  row(await shop.cashier.rpc('merchant_charge_by_qr', { p_merchant_code: shop.code, p_qr_plain: qr, p_amount: 10 }));
});

test('texts and tags are bounded', async (t) => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  const qr = await payCode(member);
  const bad = {
    'a key of 201 characters': [{ p_idempotency_key: 'k'.repeat(201) }, /p_idempotency_key/],
    'a key of white space': [{ p_idempotency_key: ' ' }, /p_idempotency_key/],
    'an empty code': [{ p_qr_plain: '' }, /p_qr_plain/],
    'an order id of 201 characters': [{ p_external_order_id: 'k'.repeat(201) }, /p_external_order_id/],
    'a reason of 501 characters': [{ p_reason: '理'.repeat(501) }, /p_reason/],
    'a tag above 8 KiB': [{ p_tag: { note: 'x'.repeat(9000) } }, /p_tag/],
    'a tag that is a list': [{ p_tag: [1, 2] }, /p_tag/],
    'no code': [{ p_qr_plain: null }, /p_qr_plain/],
    'a merchant code of 65 characters': [{ p_merchant_code: 'S'.repeat(65) }, /p_merchant_code/],
  };
  for (const [name, [change, details]] of Object.entries(bad)) {
    await t.test(name, () => refusedAndStill(
      () => shop.cashier.rpc('merchant_charge_by_qr', {
        p_merchant_code: shop.code, p_qr_plain: qr, p_amount: 1, ...change }),
      400, 'INVALID_ARGUMENT', details));
  }
  await t.test('the longest that fit', async () => {
    const key = 'k'.repeat(200);
    const charged = row(await shop.cashier.rpc('merchant_charge_by_qr', {
      p_merchant_code: shop.code, p_qr_plain: qr, p_amount: 1, p_reason: '理'.repeat(500),
      p_idempotency_key: key, p_external_order_id: key, p_tag: { note: 'x'.repeat(8000) } }));
    assert.equal(charged.replayed, false);
  });
});

test('an enterprise card charges its fixed discount, earns no points, and each employee has a code of its own', async () => {
  const shop = await newShop();
  const company = await newCompany({ balance: 500, discount: 0.88 });
  const employee = await newMember({ name: 'Zhao Min' });
  ok(await company.admin.rpc('enterprise_add_member', { p_card_no: company.cardNo, p_member_id: employee.id }));
  const codes = [await payCode(company.admin, company.card), await payCode(employee, company.card)];
  assert.notEqual(codes[0], codes[1]);
  for (const [i, balance] of [[0, 412], [1, 324]]) {
    const { card_type, card_id, discount, final_amount, points_earned } = row(await shop.cashier.rpc(
      'merchant_charge_by_qr', { p_merchant_code: shop.code, p_qr_plain: codes[i], p_amount: 100 }));
    assert.deepEqual({ card_type, card_id, discount, final_amount, points_earned },
      { card_type: 'enterprise', card_id: company.card, discount: 0.88, final_amount: 88, points_earned: 0 });
    const seen = row(await employee.from('v_user_cards').select('balance, role').eq('card_type', 'enterprise'));
    assert.deepEqual(seen, { balance, role: 'member' });
  }
});
