// Reading: statements, balances, transactions and views; STABLE functions by GET as well.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backend, signedIn } from './lib/api.mjs';
import { ok, refused, row } from './lib/expect.mjs';
import { cardOf, charge, fund, newCompany, newMember, newShop, unique } from './lib/shop.mjs';
import { psql } from './lib/psql.mjs';

// Recharge 100, pay 52, refund 20, pay 8: one card's day.
const day = async () => {
  const [member, shop] = [await newMember(), await newShop()];
  const recharge = await fund(member.card, 100);
  const latte = await charge(shop, member, 52, { p_reason: 'latte', p_tag: { sku: 'latte' }, p_external_order_id: unique('order') });
  const refund = row(await shop.cashier.rpc('merchant_refund_tx', {
    p_merchant_code: shop.code, p_original_tx_no: latte.tx_no, p_refund_amount: 20 }));
  const tea = await charge(shop, member, 8);
  return { member, shop, recharge, latte, refund, tea };
};
const byGet = { get: true };

test('the reading functions are STABLE: PostgREST runs them in a read-only transaction', () => {
  assert.equal(
    psql(`SELECT string_agg(format('%s %s', proname, provolatile), ', ' ORDER BY proname) FROM pg_proc
          WHERE pronamespace = 'app'::regnamespace AND prokind = 'f' AND provolatile <> 'v' AND proname <> 'error_list'`),
    'balance_as_of s, bucket_of_card i, bucket_of_code i, bucket_of_tx i, business_day s, business_day_start s, campaign_report s, card_statement s, day_totals s, '
    + 'get_settings s, head_proof s, health s, liability_proof s, merchant_statement s, quote_charge s, reverify_event s, tx_by_no s, '
    + 'tx_proof s, usage_page s, verify_books s');
});

test('card_statement: newest first, with the running balance, page by page, by GET', async () => {
  const { member, shop, recharge, latte, refund, tea } = await day();
  const args = { p_card_id: member.card };
  const page = ok(await member.rpc('card_statement', args, byGet));
  assert.deepEqual(
    page.map((t) => [t.tx_no, t.tx_type, t.change, t.balance_after, t.card_seq, t.merchant_code]),
    [
      [tea.tx_no, 'payment', -8, 60, 4, shop.code],
      [refund.refund_tx_no, 'refund', 20, 68, 3, shop.code],
      [latte.tx_no, 'payment', -52, 48, 2, shop.code],
      [recharge.tx_no, 'recharge', 100, 100, 1, null],
    ]);
  assert.deepEqual([page[2].reason, page[2].tag, page[2].refunded_amount, page[1].original_tx_no],
    ['latte', { sku: 'latte' }, 20, latte.tx_no]);
  assert.deepEqual(ok(await member.rpc('card_statement', args)), page, 'GET and POST differ');

  const first = ok(await member.rpc('card_statement', { ...args, p_limit: 3 }, byGet));
  const rest = ok(await member.rpc('card_statement', { ...args, p_limit: 3, p_before: first[2].tx_no }, byGet));
  assert.deepEqual([...first, ...rest], page);
  for (const p_limit of [0, 501, -1]) {
    await refused(await member.rpc('card_statement', { ...args, p_limit }, byGet), 400, 'INVALID_ARGUMENT', /p_limit/);
  }
  await refused(await member.rpc('card_statement', { ...args, p_before: 'ZF000123' }, byGet), 404, 'TX_NOT_FOUND');
  await refused(await member.rpc('card_statement', { ...args, p_card_type: 'gold' }, byGet), 400, 'INVALID_ARGUMENT', /p_card_type/);
});

test('merchant_statement: its operators and backends, by GET, without the balances of customers', async () => {
  const { member, shop, latte, refund, tea } = await day();
  const args = { p_merchant_code: shop.code };
  const page = ok(await shop.cashier.rpc('merchant_statement', args, byGet));
  assert.deepEqual(page.map((t) => [t.tx_no, t.final_amount]), [[tea.tx_no, 8], [refund.refund_tx_no, 20], [latte.tx_no, 52]]);
  assert.equal(page[0].processed_by, shop.cashier.id);
  assert.ok(page.every((t) => !('balance_after' in t)));
  assert.deepEqual(ok(await backend.rpc('merchant_statement', args)), page);
  assert.deepEqual(
    ok(await shop.cashier.rpc('merchant_statement', { ...args, p_before: tea.tx_no, p_limit: 1 }, byGet)).map((t) => t.tx_no),
    [refund.refund_tx_no]);
  assert.deepEqual(
    ok(await shop.cashier.rpc('merchant_statement', { ...args, p_from: refund.created_at, p_to: tea.created_at }, byGet))
      .map((t) => t.tx_no), [refund.refund_tx_no]);
  const other = await newShop();
  await refused(await other.cashier.rpc('merchant_statement', args, byGet), 403, 'NOT_MERCHANT_USER');
  await refused(await member.rpc('merchant_statement', args, byGet), 403, 'NOT_MERCHANT_USER');
  await refused(await other.cashier.rpc('merchant_statement', { p_merchant_code: 'NOWHERE' }, byGet), 404, 'MERCHANT_NOT_FOUND');
});

test('balance_as_of: what the card held at any moment, by GET', async () => {
  const { member } = await day();
  const moves = ok(await member.rpc('card_statement', { p_card_id: member.card })).reverse();
  const at = async (p_at) => ok(await member.rpc('balance_as_of', { p_card_id: member.card, p_at }, byGet));
  assert.equal(await at('2020-01-01T00:00:00Z'), 0);
  for (const move of moves) assert.equal(await at(move.posted_at), move.balance_after);
  assert.equal(await at(new Date(Date.now() + 60_000).toISOString()), 60);
  await refused(await member.rpc('balance_as_of', { p_card_id: member.card, p_at: null }), 400, 'INVALID_ARGUMENT', /p_at/);
});

test('tx_by_no: the card sees its balance, the shop sees its payment, nobody else sees anything', async () => {
  const { member, shop, latte, refund, recharge } = await day();
  const find = (client, no) => client.rpc('tx_by_no', { p_tx_no: no }, byGet);
  const seen = ok(await find(member, latte.tx_no));
  assert.deepEqual(seen.map((t) => [t.tx_no, t.final_amount, t.balance_after]),
    [[latte.tx_no, 52, 48], [refund.refund_tx_no, 20, 68]]);
  assert.equal(seen[0].merchant_code, shop.code);
  assert.deepEqual(ok(await find(shop.cashier, latte.tx_no)).map((t) => [t.tx_no, t.balance_after]),
    [[latte.tx_no, null], [refund.refund_tx_no, null]]);
  assert.equal(ok(await find(backend, latte.tx_no))[0].balance_after, 48);
  // The shop had no part in the recharge.
  await refused(await find(shop.cashier, recharge.tx_no), 404, 'TX_NOT_FOUND');
  await refused(await find(await newMember(), latte.tx_no), 404, 'TX_NOT_FOUND');
  await refused(await find((await newShop()).cashier, latte.tx_no), 404, 'TX_NOT_FOUND');
  await refused(await find(member, latte.tx_no.replace('ZF', 'TK')), 404, 'TX_NOT_FOUND');
});

test("another member's card and history are invisible, through functions, views and tables", async () => {
  const { member } = await day();
  const eve = await newMember({ name: 'Eve' });
  const args = { p_card_id: member.card };
  await refused(await eve.rpc('card_statement', args, byGet), 404, 'CARD_NOT_FOUND');
  await refused(await eve.rpc('balance_as_of', { ...args, p_at: '2030-01-01T00:00:00Z' }, byGet), 404, 'CARD_NOT_FOUND');
  await refused(await eve.rpc('rotate_card_qr', args), 404, 'CARD_NOT_FOUND');
  await refused(
    await eve.rpc('set_card_status', { ...args, p_card_type: 'personal', p_status: 'lost', p_reason: 'envy' }), 404, 'CARD_NOT_FOUND');
  assert.deepEqual(ok(await eve.from('v_user_cards').select('card_id')), [{ card_id: eve.card }]);
  for (const view of ['v_usage_logs', 'transactions', 'point_ledger']) {
    assert.deepEqual(ok(await eve.from(view).select('tx_no')), [], view);
    assert.notDeepEqual(ok(await member.from(view).select('tx_no')), [], view);
  }
  for (const [table, own] of [['member_profiles', { id: eve.id }], ['personal_cards', { id: eve.card }]]) {
    assert.deepEqual(ok(await eve.from(table).select('id')), [own], table);
  }
  for (const table of ['enterprise_cards', 'enterprise_card_bindings', 'merchants', 'merchant_users']) {
    await newCompany();
    assert.deepEqual(ok(await eve.from(table).select('created_at')), [], table);
  }
});

test('v_user_cards and v_usage_logs: what an app shows on its first page', async () => {
  const { member, latte, tea } = await day();
  const company = await newCompany({ balance: 5 });
  ok(await company.admin.rpc('enterprise_add_member', { p_card_no: company.cardNo, p_member_id: member.id }));
  const cards = ok(await member.from('v_user_cards').select('card_type, card_no, balance, role').order('card_type'));
  assert.deepEqual(cards, [
    { card_type: 'enterprise', card_no: company.cardNo, balance: 5, role: 'member' },
    { card_type: 'personal', card_no: member.cardNo, balance: 60, role: 'owner' }]);
  const { data, count, error } = await member.from('v_usage_logs').select('tx_no', { count: 'exact' })
    .eq('tx_type', 'payment').order('created_at', { ascending: false }).limit(1);
  assert.equal(error, null);
  assert.deepEqual([data, count], [[{ tx_no: tea.tx_no }], 2]);
  const ledger = ok(await member.from('point_ledger').select('change, balance_after, tx_no').order('point_seq'));
  assert.deepEqual(ledger.map((p) => [p.change, p.balance_after]), [[52, 52], [-20, 32], [8, 40]]);
  assert.equal(ledger[0].tx_no, latte.tx_no);
  assert.equal((await cardOf(member)).points, 40);
});

test('membership_levels are for every signed-in user', async () => {
  const levels = ok(await signedIn().from('membership_levels').select('level, min_points, discount').order('level'));
  assert.deepEqual(levels.map((l) => [l.level, l.min_points, l.discount]),
    [[0, 0, 1], [1, 5000, 0.95], [2, 10000, 0.9], [3, 15000, 0.85], [4, 20000, 0.8]]);
});
