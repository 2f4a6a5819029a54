// Coupons from supabase-js: a backend makes and issues them, members claim and see their own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backend } from './lib/api.mjs';
import { ok, refused, row } from './lib/expect.mjs';
import { newMember, unique } from './lib/shop.mjs';

/** An active coupon; its code. */
async function newCoupon(terms) {
  const code = unique('C');
  const coupon = { code, name: 'Welcome', kind: 'amount_off', value: '5.00', ...terms };
  assert.deepEqual(row(await backend.rpc('create_coupon', { p_coupon: coupon })), { code, status: 'draft', terms_version: 1 });
  row(await backend.rpc('set_coupon_status', { p_code: code, p_status: 'active', p_reason: 'opening' }));
  return code;
}

test('a member claims a coupon, once by one key, and sees its own alone', async () => {
  const [code, mei, hua] = [await newCoupon({ claimable: true, per_member_limit: 1, min_spend: 20 }), await newMember(), await newMember()];
  const claim = { p_code: code, p_idempotency_key: unique('k') };
  const first = row(await mei.rpc('claim_coupon', claim));
  assert.deepEqual({ ...first, replayed: true }, row(await mei.rpc('claim_coupon', claim)));
  await refused(await mei.rpc('claim_coupon', { p_code: code }), 409, 'COUPON_LIMIT');
  const own = ok(await mei.from('v_member_coupons').select('coupon_code, code, value, min_spend, status, how'));
  assert.deepEqual(own, [{ coupon_code: first.coupon_code, code, value: 5, min_spend: 20, status: 'active', how: 'claimed' }]);
  assert.deepEqual(ok(await hua.from('v_member_coupons').select('code')), []);
  assert.deepEqual(ok(await hua.from('coupons').select('code')), []);
});

test('a backend issues several, and takes one back', async () => {
  const [code, mei] = [await newCoupon({ valid_days_after_issue: 7 }), await newMember()];
  const issued = ok(await backend.rpc('issue_coupon', { p_code: code, p_member_id: mei.id, p_count: 3 }));
  assert.equal(issued.length, 3);
  assert.ok(issued.every((c) => /^CP\d{8,}$/.test(c.coupon_code) && new Date(c.valid_until) > new Date(c.valid_from) && !c.replayed));
  assert.equal(ok(await backend.rpc('revoke_coupon', { p_coupon_code: issued[1].coupon_code, p_reason: 'a mistake' })), true);
  const statuses = ok(await mei.from('v_member_coupons').select('coupon_code, status').order('coupon_code')).map((c) => c.status);
  assert.deepEqual(statuses, ['active', 'revoked', 'active']);
  await refused(await mei.rpc('claim_coupon', { p_code: code }), 404, 'COUPON_NOT_FOUND');
});
