// Company cards: who may use them, who manages them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomUUID } from 'node:crypto';
import { backend } from './lib/api.mjs';
import { ok, refused, refusedAndStill, row } from './lib/expect.mjs';
import { newCompany, newMember, newShop, payCode } from './lib/shop.mjs';

const bindings = async (client, card) =>
  ok(await client.from('enterprise_card_bindings').select('member_id, role').eq('enterprise_card_id', card).order('created_at'));

test("the seed's binding and unbinding, by named arguments", async () => {
  const company = await newCompany();
  const employee = await newMember();
  const args = { p_card_no: company.cardNo, p_member_id: employee.id, p_role: 'member' };
  assert.match(company.cardNo, /^ENT\d{5,}$/);
  assert.equal(ok(await company.admin.rpc('enterprise_add_member', args)), true);
  assert.equal(ok(await company.admin.rpc('enterprise_add_member', args)), false);
  assert.deepEqual(await bindings(company.admin, company.card), [
    { member_id: company.admin.id, role: 'admin' }, { member_id: employee.id, role: 'member' }]);
  // An employee sees its own binding, not its colleagues'.
  assert.deepEqual(await bindings(employee, company.card), [{ member_id: employee.id, role: 'member' }]);
  assert.deepEqual(
    ok(await employee.from('v_user_cards').select('card_no, role, company_name').eq('card_type', 'enterprise')),
    [{ card_no: company.cardNo, role: 'member', company_name: 'Acme Tea Ltd' }]);

  const remove = { p_card_no: company.cardNo, p_member_id: employee.id };
  assert.equal(ok(await company.admin.rpc('enterprise_remove_member', remove)), true);
  assert.equal(ok(await company.admin.rpc('enterprise_remove_member', remove)), false);
  assert.deepEqual(ok(await employee.from('enterprise_cards').select('id')), []);
});

test('who is removed pays no more, with the code made before', async () => {
  const company = await newCompany({ balance: 100 });
  const [employee, shop] = [await newMember(), await newShop()];
  ok(await company.admin.rpc('enterprise_add_member', { p_card_no: company.cardNo, p_member_id: employee.id }));
  const code = await payCode(employee, company.card);
  // It may leave by itself.
  assert.equal(ok(await employee.rpc('enterprise_remove_member', { p_card_no: company.cardNo, p_member_id: employee.id })), true);
  await refusedAndStill(
    () => shop.cashier.rpc('merchant_charge_by_qr', { p_merchant_code: shop.code, p_qr_plain: code, p_amount: 1 }),
    410, 'QR_EXPIRED_OR_INVALID');
  await refused(
    await employee.rpc('rotate_card_qr', { p_card_id: company.card, p_card_type: 'enterprise' }), 404, 'CARD_NOT_FOUND');
});

test('only an admin of the card or a backend binds and unbinds', async () => {
  const company = await newCompany();
  const [employee, friend, stranger] = [await newMember(), await newMember(), await newMember()];
  ok(await backend.rpc('enterprise_add_member', { p_card_no: company.cardNo, p_member_id: employee.id }));
  const add = { p_card_no: company.cardNo, p_member_id: friend.id };
  await refusedAndStill(() => employee.rpc('enterprise_add_member', add), 403, 'NOT_CARD_ADMIN');
  await refusedAndStill(() => employee.rpc('enterprise_add_member', { ...add, p_member_id: employee.id, p_role: 'admin' }), 403, 'NOT_CARD_ADMIN');
  await refusedAndStill(() => stranger.rpc('enterprise_add_member', add), 404, 'CARD_NOT_FOUND');
  const removeAdmin = { p_card_no: company.cardNo, p_member_id: company.admin.id };
  await refusedAndStill(() => employee.rpc('enterprise_remove_member', removeAdmin), 403, 'NOT_CARD_ADMIN');
  await refusedAndStill(() => stranger.rpc('enterprise_remove_member', removeAdmin), 404, 'CARD_NOT_FOUND');
});

test('the last admin stays', async () => {
  const company = await newCompany();
  const next = await newMember();
  const self = { p_card_no: company.cardNo, p_member_id: company.admin.id };
  await refusedAndStill(() => company.admin.rpc('enterprise_remove_member', self), 409, 'LAST_ADMIN');
  await refusedAndStill(() => company.admin.rpc('enterprise_add_member', { ...self, p_role: 'member' }), 409, 'LAST_ADMIN');
  await refusedAndStill(() => backend.rpc('enterprise_remove_member', self), 409, 'LAST_ADMIN');
  ok(await company.admin.rpc('enterprise_add_member', { p_card_no: company.cardNo, p_member_id: next.id, p_role: 'admin' }));
  assert.equal(ok(await company.admin.rpc('enterprise_remove_member', self)), true);
  assert.deepEqual(await bindings(next, company.card), [{ member_id: next.id, role: 'admin' }]);
});

test('two admins who remove each other at once leave one', async () => {
  const company = await newCompany();
  const second = await newMember();
  ok(await company.admin.rpc('enterprise_add_member', { p_card_no: company.cardNo, p_member_id: second.id, p_role: 'admin' }));
  const remove = (by, whom) => by.rpc('enterprise_remove_member', { p_card_no: company.cardNo, p_member_id: whom.id });
  const answers = await Promise.all([remove(company.admin, second), remove(second, company.admin)]);
  assert.equal(answers.filter((a) => a.status === 200 && a.data === true).length, 1, JSON.stringify(answers));
  const left = ok(await backend.from('enterprise_card_bindings').select('role').eq('enterprise_card_id', company.card));
  assert.deepEqual(left, [{ role: 'admin' }]);
});

test('what cannot be bound', async () => {
  const company = await newCompany();
  const employee = await newMember();
  const add = (more) => () => company.admin.rpc('enterprise_add_member', {
    p_card_no: company.cardNo, p_member_id: employee.id, ...more });
  await refusedAndStill(add({ p_member_id: randomUUID() }), 404, 'MEMBER_NOT_FOUND');
  await refusedAndStill(add({ p_card_no: 'ENT99999' }), 404, 'CARD_NOT_FOUND');
  await refusedAndStill(add({ p_role: 'boss' }), 400, 'INVALID_ARGUMENT', /p_role/);
  await refusedAndStill(add({ p_member_id: null }), 400, 'INVALID_ARGUMENT', /p_member_id/);
  ok(await backend.rpc('set_member_status', { p_member_id: employee.id, p_status: 'suspended', p_reason: 'test' }));
  await refusedAndStill(add({}), 409, 'MEMBER_NOT_ACTIVE');
});

test('pay codes of an enterprise card: a member its own, a backend names the member', async () => {
  const company = await newCompany({ balance: 100 });
  const [employee, stranger, shop] = [await newMember(), await newMember(), await newShop()];
  ok(await company.admin.rpc('enterprise_add_member', { p_card_no: company.cardNo, p_member_id: employee.id }));
  const rotate = { p_card_id: company.card, p_card_type: 'enterprise' };
  await refusedAndStill(() => backend.rpc('rotate_card_qr', rotate), 400, 'INVALID_ARGUMENT', /p_member_id/);
  await refusedAndStill(
    () => backend.rpc('rotate_card_qr', { ...rotate, p_member_id: stranger.id }), 403, 'NOT_CARD_USER');
  await refusedAndStill(
    () => company.admin.rpc('rotate_card_qr', { ...rotate, p_member_id: employee.id }), 403, 'NOT_ALLOWED', /p_member_id/);
  const made = row(await backend.rpc('rotate_card_qr', { ...rotate, p_member_id: employee.id }));
  const paid = row(await shop.cashier.rpc('merchant_charge_by_qr', {
    p_merchant_code: shop.code, p_qr_plain: made.qr_plain, p_amount: 10 }));
  assert.equal(row(await employee.from('v_usage_logs').select('tx_no')).tx_no, paid.tx_no);
});
