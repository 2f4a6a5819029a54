// Merchants' own people: owners, admins and cashiers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backend, signedIn } from './lib/api.mjs';
import { ok, refusedAndStill } from './lib/expect.mjs';
import { newShop } from './lib/shop.mjs';

const staff = async () => {
  const shop = await newShop();
  const people = { owner: signedIn(), admin: signedIn(), cashier: shop.cashier };
  ok(await backend.rpc('set_merchant_user', { p_merchant_code: shop.code, p_user_id: people.owner.id, p_role: 'owner' }));
  ok(await people.owner.rpc('set_merchant_user', { p_merchant_code: shop.code, p_user_id: people.admin.id, p_role: 'admin' }));
  const set = (by, whom, role) =>
    by.rpc('set_merchant_user', { p_merchant_code: shop.code, p_user_id: whom.id, ...(role && { p_role: role }) });
  const remove = (by, whom) => by.rpc('remove_merchant_user', { p_merchant_code: shop.code, p_user_id: whom.id });
  return { shop, set, remove, ...people };
};

test('an admin hires and dismisses cashiers', async () => {
  const { shop, admin, set, remove } = await staff();
  const trainee = signedIn();
  assert.equal(ok(await set(admin, trainee)), true);
  assert.equal(ok(await set(admin, trainee)), false);
  assert.equal(ok(await set(admin, trainee, 'admin')), true);
  const list = ok(await trainee.from('merchant_users').select('role').eq('merchant_id', shop.id).order('role'));
  assert.deepEqual(list.map((u) => u.role), ['admin', 'admin', 'cashier', 'owner']);
  assert.deepEqual(ok(await trainee.from('merchants').select('code, name, active')), [
    { code: shop.code, name: 'Corner Cafe', active: true }]);
  assert.equal(ok(await remove(admin, trainee)), true);
  assert.equal(ok(await remove(admin, trainee)), false);
  assert.deepEqual(ok(await trainee.from('merchants').select('code')), []);
});

test('an admin can neither make nor change nor dismiss an owner', async () => {
  const { admin, owner, cashier, set, remove } = await staff();
  await refusedAndStill(() => set(admin, cashier, 'owner'), 403, 'NOT_ALLOWED');
  await refusedAndStill(() => set(admin, admin, 'owner'), 403, 'NOT_ALLOWED');
  await refusedAndStill(() => set(admin, owner, 'cashier'), 403, 'NOT_ALLOWED');
  await refusedAndStill(() => remove(admin, owner), 403, 'NOT_ALLOWED');
  assert.equal(ok(await set(owner, admin, 'owner')), true);
});

test('a cashier manages nobody, a stranger and another shop less so', async () => {
  const { shop, cashier, set, remove } = await staff();
  const other = await newShop();
  await refusedAndStill(() => set(cashier, signedIn()), 403, 'NOT_ALLOWED');
  await refusedAndStill(() => set(cashier, cashier, 'owner'), 403, 'NOT_ALLOWED');
  await refusedAndStill(() => remove(cashier, cashier), 403, 'NOT_ALLOWED');
  await refusedAndStill(() => set(other.cashier, other.cashier, 'owner'), 403, 'NOT_MERCHANT_USER');
  await refusedAndStill(() => remove(signedIn(), cashier), 403, 'NOT_MERCHANT_USER');
  assert.deepEqual(ok(await other.cashier.from('merchant_users').select('user_id').eq('merchant_id', shop.id)), []);
});

test('roles and codes are checked', async () => {
  const { owner, cashier, set } = await staff();
  await refusedAndStill(() => set(owner, cashier, 'manager'), 400, 'INVALID_ARGUMENT', /p_role/);
  await refusedAndStill(() => set(owner, { id: null }), 400, 'INVALID_ARGUMENT', /p_user_id/);
  await refusedAndStill(
    () => owner.rpc('set_merchant_user', { p_merchant_code: 'NOWHERE', p_user_id: cashier.id }), 404, 'MERCHANT_NOT_FOUND');
  await refusedAndStill(
    () => owner.rpc('remove_merchant_user', { p_merchant_code: 'a b', p_user_id: cashier.id }), 400, 'INVALID_ARGUMENT', /p_merchant_code/);
});
