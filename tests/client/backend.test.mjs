// What the shop's own server does with the service key.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomUUID } from 'node:crypto';
import { backend, http, sign } from './lib/api.mjs';
import { ok, refused, refusedAndStill, row } from './lib/expect.mjs';
import { cardOf, charge, newCompany, newMember, newShop, payCode, unique } from './lib/shop.mjs';
import { psql } from './lib/psql.mjs';

const personal = (member) => ({ p_card_id: member.card, p_card_type: 'personal', p_reason: 'test' });

test('create_merchant: the same again is the same merchant, another name is a conflict', async () => {
  const args = { p_code: unique('SHOP'), p_name: '街角咖啡' };
  const made = row(await backend.rpc('create_merchant', args));
  assert.equal(made.code, args.p_code);
  assert.deepEqual(row(await backend.rpc('create_merchant', args)), made);
  await refusedAndStill(() => backend.rpc('create_merchant', { ...args, p_name: 'Other' }), 409, 'STATUS_CONFLICT');
  await refusedAndStill(() => backend.rpc('create_merchant', { p_code: 'a b', p_name: 'x' }), 400, 'INVALID_ARGUMENT', /p_code/);
});

test('create_enterprise_card: discount above 0, at most 1, three decimals', async () => {
  const admin = await newMember();
  const args = { p_company_name: 'Acme', p_fixed_discount: 0.875, p_admin_member_id: admin.id };
  const card = row(await backend.rpc('create_enterprise_card', args));
  const seen = row(await admin.from('v_user_cards').select('card_no, discount, balance, status, role').eq('card_id', card.card_id));
  assert.deepEqual(seen, { card_no: card.card_no, discount: 0.875, balance: 0, status: 'active', role: 'admin' });
  for (const p_fixed_discount of [0, -0.1, 1.001, 0.8755, null]) {
    await refusedAndStill(
      () => backend.rpc('create_enterprise_card', { ...args, p_fixed_discount }), 400, 'INVALID_ARGUMENT', /p_fixed_discount/);
  }
  await refusedAndStill(
    () => backend.rpc('create_enterprise_card', { ...args, p_admin_member_id: randomUUID() }), 404, 'MEMBER_NOT_FOUND');
});

test('set_card_status: only along the arrows; closing needs an empty card', async () => {
  const member = await newMember({ balance: 10 });
  const set = (p_status, more) => backend.rpc('set_card_status', { ...personal(member), p_status, ...more });
  assert.equal(ok(await set('frozen')), true);
  assert.equal(ok(await set('frozen')), false);
  assert.equal(ok(await set('active')), true);
  await refusedAndStill(() => set('closed'), 409, 'CARD_NOT_EMPTY');
  assert.equal(ok(await set('lost')), true);
  await refusedAndStill(() => set('active'), 409, 'STATUS_CONFLICT');
  await refusedAndStill(() => set('gone'), 400, 'INVALID_ARGUMENT', /p_status/);
  await refusedAndStill(() => set('frozen', { p_reason: null }), 400, 'INVALID_ARGUMENT', /p_reason/);
  await refusedAndStill(() => set('frozen', { p_card_id: randomUUID() }), 404, 'CARD_NOT_FOUND');
});

test('a card with a pending recharge is not closed', async () => {
  const member = await newMember();
  row(await member.rpc('user_recharge_personal_card', { p_personal_card_id: member.card, p_amount: 1 }));
  await refusedAndStill(
    () => backend.rpc('set_card_status', { ...personal(member), p_status: 'closed' }), 409, 'CARD_NOT_EMPTY');
});

test('set_card_expiry: into the past expires, into the future or never revives', async () => {
  const member = await newMember({ balance: 10 });
  const set = (p_expires_at) => backend.rpc('set_card_expiry', { ...personal(member), p_expires_at });
  assert.equal(ok(await set('2020-01-01T00:00:00Z')), true);
  assert.equal(ok(await set('2020-01-01T00:00:00Z')), false);
  assert.deepEqual([(await cardOf(member)).status, (await cardOf(member)).expires_at], ['expired', '2020-01-01T00:00:00+00:00']);
  await refused(await member.rpc('rotate_card_qr', { p_card_id: member.card }), 409, 'CARD_EXPIRED');
  assert.equal(ok(await set('2099-01-01T00:00:00Z')), true);
  assert.equal((await cardOf(member)).status, 'active');
  assert.equal(ok(await set(null)), true);
  assert.equal((await cardOf(member)).expires_at, null);
  await refusedAndStill(() => set('infinity'), 400, 'INVALID_ARGUMENT', /p_expires_at/);
});

test('set_member_status: suspended and back, closed for good with its empty card', async () => {
  const [member, rich] = [await newMember(), await newMember({ balance: 1 })];
  const set = (who, p_status) => backend.rpc('set_member_status', { p_member_id: who.id, p_status, p_reason: 'test' });
  assert.equal(ok(await set(member, 'suspended')), true);
  assert.equal(ok(await set(member, 'suspended')), false);
  await refused(await member.rpc('rotate_card_qr', { p_card_id: member.card }), 409, 'MEMBER_NOT_ACTIVE');
  assert.equal(ok(await set(member, 'closed')), true);
  assert.equal((await cardOf(member)).status, 'closed');
  await refusedAndStill(() => set(member, 'active'), 409, 'STATUS_CONFLICT');
  await refusedAndStill(() => set(rich, 'closed'), 409, 'CARD_NOT_EMPTY');
  await refusedAndStill(() => set({ id: randomUUID() }, 'closed'), 404, 'MEMBER_NOT_FOUND');
  await refusedAndStill(() => set(rich, 'asleep'), 400, 'INVALID_ARGUMENT', /p_status/);
});

test('set_merchant_status says whether anything changed', async () => {
  const shop = await newShop();
  const set = (p_active) => backend.rpc('set_merchant_status', { p_merchant_code: shop.code, p_active, p_reason: 'holiday' });
  assert.deepEqual([ok(await set(false)), ok(await set(false)), ok(await set(true))], [true, false, true]);
  await refusedAndStill(() => set(null), 400, 'INVALID_ARGUMENT', /p_active/);
});

test('replace_card: the new card takes over balance, points and level; again: the same new card', async () => {
  const [member, shop] = [await newMember({ balance: 5100 }), await newShop()];
  await charge(shop, member, 5000);
  const replace = () => backend.rpc('replace_card', { p_card_id: member.card, p_reason: 'lost on a train' });
  await refusedAndStill(replace, 409, 'STATUS_CONFLICT');
  ok(await backend.rpc('set_card_status', { ...personal(member), p_status: 'lost' }));
  const next = row(await replace());
  assert.deepEqual(row(await replace()), next);
  const cards = ok(await member.from('v_user_cards').select('card_no, balance, points, level, discount, status').order('card_no'));
  assert.deepEqual(cards, [
    { card_no: member.cardNo, balance: 0, points: 0, level: 0, discount: 1, status: 'closed' },
    { card_no: next.card_no, balance: 100, points: 5000, level: 1, discount: 0.95, status: 'active' }]);
  const [into] = ok(await member.rpc('card_statement', { p_card_id: next.card_id }));
  const [out] = ok(await member.rpc('card_statement', { p_card_id: member.card }));
  assert.deepEqual([into.change, out.change, into.original_tx_no, out.original_tx_no], [100, -100, out.tx_no, into.tx_no]);
});

test('adjust_points: the level follows at once, down as well', async () => {
  const member = await newMember();
  const adjust = (p_change, more) => backend.rpc('adjust_points', { p_card_id: member.card, p_change, p_reason: 'test', ...more });
  const key = { p_idempotency_key: unique('points') };
  assert.deepEqual(row(await adjust(20_000, key)), { points: 20_000, level: 4 });
  assert.deepEqual(row(await adjust(-15_001)), { points: 4999, level: 0 });
  assert.deepEqual(row(await adjust(20_000, key)), { points: 20_000, level: 4 }, 'the values first answered');
  assert.equal((await cardOf(member)).points, 4999);
  assert.deepEqual(row(await adjust(-5000)), { points: -1, level: 0 });
  await refusedAndStill(() => adjust(20_001, key), 422, 'IDEMPOTENCY_KEY_REUSED');
  await refusedAndStill(() => adjust(0), 400, 'INVALID_ARGUMENT', /p_change/);
});

test('compensate_tx: a correction in the books, never below zero, apart from refunds', async () => {
  const [member, shop] = [await newMember({ balance: 100 }), await newShop()];
  const payment = await charge(shop, member, 60);
  const compensate = (p_amount, more) =>
    backend.rpc('compensate_tx', { p_tx_no: payment.tx_no, p_amount, p_reason: 'charged too much', ...more });
  const key = { p_idempotency_key: unique('fix') };
  const { tx_no, card_id, amount, balance_after, replayed } = row(await compensate(5.5, key));
  assert.match(tx_no, /^TZ\d+$/);
  assert.deepEqual({ card_id, amount, balance_after, replayed }, { card_id: member.card, amount: 5.5, balance_after: 45.5, replayed: false });
  assert.equal(row(await compensate(5.5, key)).replayed, true);
  assert.equal(row(await compensate(-45.5)).balance_after, 0);
  await refusedAndStill(() => compensate(-0.01), 402, 'INSUFFICIENT_BALANCE');
  await refusedAndStill(() => compensate(0), 400, 'INVALID_AMOUNT', /p_amount/);
  await refusedAndStill(() => compensate(1, { p_reason: ' ' }), 400, 'INVALID_ARGUMENT', /p_reason/);
  const refund = row(await shop.cashier.rpc('merchant_refund_tx', {
    p_merchant_code: shop.code, p_original_tx_no: payment.tx_no, p_refund_amount: 60 }));
  assert.equal(refund.refundable_left, 0);
  assert.equal(psql(`SELECT count(*) FROM app.transaction_compensations WHERE tx_no = :'no'`, { no: payment.tx_no }), '2');
});

test('settings: read by GET, changed by name, all or none', async () => {
  const settings = ok(await backend.rpc('get_settings', {}, { get: true }));
  assert.deepEqual(settings, {
    qr_ttl_seconds: 900, qr_single_use: true, points_per_unit: 1, max_amount: 50000, max_balance: 1000000,
    recharge_confirmation: 'gateway', recharge_ttl_minutes: 1440, key_retention_days: 90, max_pending_recharges: 20,
    signup_anonymous: false, business_time_zone: 'UTC', business_day_starts_at: '00:00:00',
  });
  const set = (p_settings) => backend.rpc('update_settings', { p_settings });
  try {
    const changed = ok(await set({ qr_single_use: false, qr_ttl_seconds: 60, points_per_unit: 0.5, recharge_confirmation: 'trusted' }));
    assert.deepEqual(changed,
      { ...settings, qr_single_use: false, qr_ttl_seconds: 60, points_per_unit: 0.5, recharge_confirmation: 'trusted' });

    // Every connection of PostgREST's pool goes by them from the next request on.
    const [member, shop] = [await newMember(), await newShop()];
    const recharges = await Promise.all([1, 2, 3, 4, 5, 6].map((n) =>
      member.rpc('user_recharge_personal_card', { p_personal_card_id: member.card, p_amount: n })));
    assert.deepEqual(recharges.map((a) => row(a).status), Array(6).fill('completed'));
    const made = row(await member.rpc('rotate_card_qr', { p_card_id: member.card }));
    const seconds = (Date.parse(made.qr_expires_at) - Date.now()) / 1000;
    assert.ok(seconds > 50 && seconds <= 61, `${seconds} s`);
    for (const points of [1, 1]) {
      const paid = row(await shop.cashier.rpc('merchant_charge_by_qr', {
        p_merchant_code: shop.code, p_qr_plain: made.qr_plain, p_amount: 3 }));
      assert.equal(paid.points_earned, points);
    }
    for (const bad of [{ qr_ttl_seconds: 9 }, { max_amount: 0 }, { max_amount: 1.001 }, { colour: 'red' }, { qr_single_use: 'no' }, []]) {
      await refusedAndStill(() => set({ points_per_unit: 7, ...bad, ...(Array.isArray(bad) && { colour: 1 }) }), 400, 'INVALID_ARGUMENT');
    }
    assert.deepEqual(ok(await backend.rpc('get_settings')), changed);
  } finally {
    assert.deepEqual(ok(await set(settings)), settings);
  }
});

test('what everybody did is in the audit log: who, what, on what', async () => {
  const [member, shop] = [await newMember({ balance: 10 }), await newShop()];
  const paid = await charge(shop, member, 1);
  const events = psql(`
    SELECT actor_role, actor_user_id, action FROM audit.event_log
    WHERE object_id IN (:'tx', :'card', :'no') ORDER BY id`, { tx: paid.tx_no, card: member.cardNo, no: member.memberNo }).split('\n');
  assert.deepEqual(events, [
    `authenticated|${member.id}|member.registered`,
    `authenticated|${member.id}|card.code_rotated`,
    `authenticated|${shop.cashier.id}|payment`,
  ]);
});

test('a backend reads every member through the tables, by column', async () => {
  const [one, two, company] = [await newMember(), await newMember(), await newCompany()];
  const seen = ok(await backend.from('member_profiles').select('id').in('id', [one.id, two.id, company.admin.id]));
  assert.equal(seen.length, 3);
});

test('a code is shown once: nothing stored equals it', async () => {
  const member = await newMember();
  const code = await payCode(member);
  assert.match(code, /^MPS[A-Z2-7]{40,}$/);
  const stored = psql(`
    SELECT qr_hash = sha256(convert_to(:'code', 'UTF8')),
           (SELECT count(*) FROM audit.event_log e WHERE e.context::text LIKE '%' || :'code' || '%')
    FROM app.personal_cards WHERE id = :'card'`, { code, card: member.card });
  assert.equal(stored, 't|0');
  const bare = await http('GET', `personal_cards?select=qr_hash`, { jwt: sign({ role: 'service_role' }) });
  assert.equal(bare.status, 403);
});
