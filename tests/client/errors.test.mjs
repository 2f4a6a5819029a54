// The closed list: every token arrives at an HTTP client with its status, a sentence and what to do.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { backend, clientOf, sign, signedIn } from './lib/api.mjs';
import { ok, refusedAndStill, row } from './lib/expect.mjs';
import { charge, fund, newCompany, newMember, newShop, payCode, unique } from './lib/shop.mjs';
import { psql } from './lib/psql.mjs';

const contract = {
  400: ['INVALID_AMOUNT', 'INVALID_ARGUMENT', 'INVALID_PAYMENT_METHOD', 'BILL_INVALID'],
  401: ['NOT_AUTHENTICATED', 'SIGNATURE_INVALID'],
  402: ['INSUFFICIENT_BALANCE'],
  403: ['NOT_MERCHANT_USER', 'NOT_CARD_USER', 'NOT_CARD_ADMIN', 'NOT_ALLOWED'],
  404: ['MERCHANT_NOT_FOUND', 'CARD_NOT_FOUND', 'MEMBER_NOT_FOUND', 'TX_NOT_FOUND', 'GATEWAY_ACCOUNT_NOT_FOUND', 'CAMPAIGN_NOT_FOUND',
    'COUPON_NOT_FOUND'],
  409: [
    'MERCHANT_INACTIVE', 'CARD_NOT_ACTIVE', 'CARD_EXPIRED', 'CARD_NOT_EMPTY', 'MEMBER_NOT_ACTIVE', 'LAST_ADMIN', 'NOT_REFUNDABLE',
    'REFUND_EXCEEDS_REMAINING', 'RECHARGE_NOT_PENDING', 'TOO_MANY_PENDING', 'AMOUNT_MISMATCH', 'EXTERNAL_ORDER_CONFLICT', 'BALANCE_LIMIT',
    'COUPON_NOT_USABLE', 'COUPON_LIMIT', 'STATUS_CONFLICT', 'RECON_CONFLICT', 'ARCHIVED', 'SCHEMA_OUTDATED', 'READ_ONLY',
  ],
  410: ['QR_EXPIRED_OR_INVALID'],
  422: ['IDEMPOTENCY_KEY_REUSED'],
};
const statusOf = Object.fromEntries(Object.entries(contract).flatMap(([s, tokens]) => tokens.map((t) => [t, Number(s)])));

test('app.error_codes is the closed list, in two languages', async () => {
  const rows = ok(await signedIn().from('error_codes').select('*'));
  assert.deepEqual(
    rows.map((r) => `${r.token} ${r.sqlstate} ${r.http_status}`).sort(),
    Object.entries(statusOf).map(([token, status]) => `${token} PT${status} ${status}`).sort());
  for (const { token, message_en, message_zh } of rows) {
    assert.match(message_en, /^[A-Z][\x20-\x7e]+?\. [A-Z][\x20-\x7e]+\.$/, token);
    assert.match(message_zh, /[\u4e00-\u9fff]/u, token);
  }
  assert.deepEqual(
    ok(await signedIn().rpc('error_list', {}, { get: true })).map((r) => r.token).sort(), Object.keys(statusOf).sort());
});

/** An active coupon; its code. */
async function newCoupon(terms) {
  const code = unique('C');
  ok(await backend.rpc('create_coupon', { p_coupon: { code, name: 'x', kind: 'amount_off', value: 1, ...terms } }));
  ok(await backend.rpc('set_coupon_status', { p_code: code, p_status: 'active', p_reason: 'x' }));
  return code;
}

/** One way to each token. Each prepares what it needs and returns the request. */
const provoke = {
  INVALID_AMOUNT: ({ member }) => () =>
    member.rpc('user_recharge_personal_card', { p_personal_card_id: member.card, p_amount: 0.1 + 0.2 }),
  INVALID_ARGUMENT: ({ member }) => () => member.rpc('rotate_card_qr', { p_card_id: member.card, p_card_type: 'gold' }),
  INVALID_PAYMENT_METHOD: ({ member }) => () =>
    member.rpc('user_recharge_personal_card', { p_personal_card_id: member.card, p_amount: 1, p_payment_method: 'cash' }),
  NOT_AUTHENTICATED: ({ member }) => () =>
    clientOf(sign({ role: 'authenticated' })).rpc('rotate_card_qr', { p_card_id: member.card }),
  INSUFFICIENT_BALANCE: ({ shop, code }) => () => shop.charge(code, 10_000),
  NOT_MERCHANT_USER: ({ shop, code, member }) => () =>
    member.rpc('merchant_charge_by_qr', { p_merchant_code: shop.code, p_qr_plain: code, p_amount: 1 }),
  NOT_CARD_USER: ({ company, member }) => () =>
    backend.rpc('rotate_card_qr', { p_card_id: company.card, p_card_type: 'enterprise', p_member_id: member.id }),
  NOT_CARD_ADMIN: async ({ company }) => {
    const employee = await newMember();
    ok(await backend.rpc('enterprise_add_member', { p_card_no: company.cardNo, p_member_id: employee.id }));
    return () => employee.rpc('user_recharge_enterprise_card_admin', { p_enterprise_card_id: company.card, p_amount: 1 });
  },
  NOT_ALLOWED: ({ member }) => () =>
    member.rpc('user_recharge_personal_card', { p_personal_card_id: member.card, p_amount: 1, p_merchant_code: 'SHOP' }),
  MERCHANT_NOT_FOUND: ({ shop }) => () => shop.cashier.rpc('merchant_statement', { p_merchant_code: 'NOWHERE' }),
  CARD_NOT_FOUND: ({ company, member }) => () =>
    member.rpc('card_statement', { p_card_id: company.card, p_card_type: 'enterprise' }),
  MEMBER_NOT_FOUND: ({ company, shop }) => () =>
    company.admin.rpc('enterprise_add_member', { p_card_no: company.cardNo, p_member_id: shop.cashier.id }),
  CAMPAIGN_NOT_FOUND: () => () => backend.rpc('campaign_report', { p_code: 'NOWHERE' }),
  COUPON_NOT_FOUND: ({ member }) => () => member.rpc('claim_coupon', { p_code: 'NOWHERE' }),
  COUPON_NOT_USABLE: async ({ member }) => {
    const code = await newCoupon({ valid_until: '2020-01-01T00:00:00Z', claimable: true });
    return () => member.rpc('claim_coupon', { p_code: code });
  },
  COUPON_LIMIT: async ({ member }) => {
    const code = await newCoupon({ issue_limit: 1 });
    return () => backend.rpc('issue_coupon', { p_code: code, p_member_id: member.id, p_count: 2 });
  },
  GATEWAY_ACCOUNT_NOT_FOUND: () => () =>
    backend.rpc('gateway_notify', { p_account: 'nobody', p_headers: {}, p_body: '\\x78' }),
  SIGNATURE_INVALID: async () => {
    psql(`SELECT app.set_gateway_account('errors', 'alipay', '{"app_id": "1", "seller_ids": ["2"]}')`);
    row(await backend.rpc('gateway_notify', { p_account: 'errors', p_headers: {}, p_body: '\\x78' }));
    const [{ id }] = ok(await backend.from('gateway_events').select('id').eq('account', 'errors'));
    return () => backend.rpc('reverify_event', { p_id: id }, { get: true });
  },
  BILL_INVALID: () => {
    psql(`SELECT app.set_gateway_account('errors', 'alipay', '{"app_id": "1", "seller_ids": ["2"]}')`);
    return () =>
      backend.rpc('import_bill', { p_account: 'errors', p_bill_date: '2026-11-26', p_kind: 'trade', p_content: '\\x78' });
  },
  RECON_CONFLICT: () => {
    psql(`SELECT app.set_gateway_account('errors', 'alipay', '{"app_id": "1", "seller_ids": ["2"]}')`);
    return () => backend.rpc('reconcile', { p_account: 'errors', p_bill_date: '2026-11-26' });
  },
  TX_NOT_FOUND: ({ member }) => () => member.rpc('tx_by_no', { p_tx_no: 'ZF000123' }),
  MERCHANT_INACTIVE: async ({ shop, code }) => {
    ok(await backend.rpc('set_merchant_status', { p_merchant_code: shop.code, p_active: false, p_reason: 'test' }));
    return () => shop.charge(code, 1);
  },
  CARD_NOT_ACTIVE: async ({ member, shop, code }) => {
    await setStatus(member, 'frozen');
    return () => shop.charge(code, 1);
  },
  CARD_EXPIRED: async ({ member, shop, code }) => {
    ok(await backend.rpc('set_card_expiry', {
      p_card_id: member.card, p_card_type: 'personal', p_expires_at: '2020-01-01T00:00:00Z', p_reason: 'test' }));
    return () => shop.charge(code, 1);
  },
  CARD_NOT_EMPTY: ({ member }) => () => backend.rpc('set_card_status', statusArgs(member, 'closed')),
  MEMBER_NOT_ACTIVE: async ({ member, shop, code }) => {
    ok(await backend.rpc('set_member_status', { p_member_id: member.id, p_status: 'suspended', p_reason: 'test' }));
    return () => shop.charge(code, 1);
  },
  LAST_ADMIN: ({ company }) => () =>
    company.admin.rpc('enterprise_remove_member', { p_card_no: company.cardNo, p_member_id: company.admin.id }),
  NOT_REFUNDABLE: async ({ shop, payment }) => {
    const { refund_tx_no } = row(await shop.refund(payment.tx_no, 1));
    return () => shop.refund(refund_tx_no, 1);
  },
  REFUND_EXCEEDS_REMAINING: ({ shop, payment }) => () => shop.refund(payment.tx_no, 10.01),
  RECHARGE_NOT_PENDING: async ({ member }) => {
    const { tx_no } = await fund(member.card, 1);
    return () => backend.rpc('fail_recharge', { p_tx_no: tx_no, p_reason: 'test' });
  },
  TOO_MANY_PENDING: async ({ member }) => {
    const ask = () => member.rpc('user_recharge_personal_card', { p_personal_card_id: member.card, p_amount: 5 });
    for (let i = 0; i < 20; i++) row(await ask());
    return ask;
  },
  AMOUNT_MISMATCH: async ({ member }) => {
    const { tx_no } = row(await member.rpc('user_recharge_personal_card', { p_personal_card_id: member.card, p_amount: 5 }));
    return () => backend.rpc('confirm_recharge', { p_tx_no: tx_no, p_amount: 5.01, p_gateway_trade_no: unique('trade') });
  },
  EXTERNAL_ORDER_CONFLICT: async ({ member, shop }) => {
    const order = unique('order');
    await charge(shop, member, 1, { p_external_order_id: order });
    const code = await payCode(member);
    return () => shop.charge(code, 2, { p_external_order_id: order });
  },
  BALANCE_LIMIT: async ({ company }) => {
    const args = { p_enterprise_card_id: company.card, p_amount: 50_000, p_payment_method: 'cash' };
    for (let i = 0; i < 20; i++) row(await backend.rpc('user_recharge_enterprise_card_admin', args));
    return () => company.admin.rpc('user_recharge_enterprise_card_admin', { ...args, p_amount: 0.01, p_payment_method: 'wechat' });
  },
  STATUS_CONFLICT: async ({ member }) => {
    await setStatus(member, 'lost');
    return () => backend.rpc('set_card_status', statusArgs(member, 'active'));
  },
  ARCHIVED: () => {
    psql(`INSERT INTO app.archived_months VALUES ('2001-02-01', now()) ON CONFLICT DO NOTHING`);
    return () => backend.rpc('tx_by_no', { p_tx_no: 'ZF0102000001' }, { get: true });
  },
  SCHEMA_OUTDATED: ({ shop, code }) => {
    psql('UPDATE app.settings SET schema_version = schema_version + 1');
    return () => shop.charge(code, 1);
  },
  READ_ONLY: ({ shop, code }) => {
    psql(`SELECT app.set_mode('read_only', 'moving house')`);
    return () => shop.charge(code, 1);
  },
  QR_EXPIRED_OR_INVALID: async ({ member, shop, code }) => {
    await payCode(member);
    return () => shop.charge(code, 1);
  },
  IDEMPOTENCY_KEY_REUSED: async ({ member, shop }) => {
    const key = { p_idempotency_key: unique('key') };
    await charge(shop, member, 1, key);
    const code = await payCode(member);
    return () => shop.charge(code, 2, key);
  },
};

const statusArgs = (member, p_status) => ({ p_card_id: member.card, p_card_type: 'personal', p_status, p_reason: 'test' });
const setStatus = async (member, status) => ok(await backend.rpc('set_card_status', statusArgs(member, status)));

/** A member with 90.00, a payment of 10.00 and a live code; the shop that took it; a company card. */
async function scene() {
  const [member, company, shop] = [await newMember({ balance: 100 }), await newCompany(), await newShop()];
  const payment = await charge(shop, member, 10);
  shop.charge = (p_qr_plain, p_amount, more) =>
    shop.cashier.rpc('merchant_charge_by_qr', { p_merchant_code: shop.code, p_qr_plain, p_amount, ...more });
  shop.refund = (p_original_tx_no, p_refund_amount) =>
    shop.cashier.rpc('merchant_refund_tx', { p_merchant_code: shop.code, p_original_tx_no, p_refund_amount });
  return { member, company, shop, payment, code: await payCode(member) };
}

let version;
before(() => (version = psql('SELECT schema_version FROM app.settings')));
after(() => psql(`UPDATE app.settings SET schema_version = :version; DELETE FROM app.archived_months WHERE month = '2001-02-01'`, { version }));

for (const [token, status] of Object.entries(statusOf)) {
  test(`${token} is HTTP ${status} and moves nothing`, async () => {
    const request = await provoke[token](await scene());
    try {
      await refusedAndStill(request, status, token);
    } finally {
      psql(`UPDATE app.settings SET schema_version = :version; SELECT app.set_mode('normal')`, { version });
    }
  });
}
