// Signing up: one member and one card per user, through the API.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomUUID } from 'node:crypto';
import { backend, clientOf, sign, signedIn } from './lib/api.mjs';
import { ok, refused, refusedAndStill, row } from './lib/expect.mjs';
import { cardOf, newMember, newShop, payCode } from './lib/shop.mjs';
import { psql } from './lib/psql.mjs';

test('a signed-in user registers itself and gets a card', async () => {
  const user = signedIn();
  const member = row(
    await user.rpc('register_member', { p_name: '林夏', p_phone: '+86 138 0000 0000', p_email: 'lin@example.com' }),
  );
  assert.deepEqual(Object.keys(member), ['member_id', 'member_no', 'card_id', 'card_no']);
  assert.equal(member.member_id, user.id);
  assert.match(member.member_no, /^M\d{8}$/);
  assert.match(member.card_no, /^VIP\d{8}$/);

  const profile = row(await user.from('member_profiles').select('id, member_no, status, name, phone, email'));
  assert.deepEqual(profile, {
    id: user.id, member_no: member.member_no, status: 'active',
    name: '林夏', phone: '+86 138 0000 0000', email: 'lin@example.com',
  });
  assert.deepEqual(await cardOf(user), {
    card_type: 'personal', card_id: member.card_id, card_no: member.card_no, balance: 0, points: 0, level: 0,
    level_name: 'Basic', discount: 1, status: 'active', expires_at: null, qr_expires_at: null, role: 'owner',
    company_name: null, member_id: user.id,
  });
});

test('registering again returns the same member and changes nothing', async () => {
  const user = signedIn();
  const first = row(await user.rpc('register_member', { p_name: 'Lin Xia' }));
  const again = row(await user.rpc('register_member', { p_name: 'Somebody Else', p_user_id: user.id }));
  assert.deepEqual(again, first);
  assert.equal(row(await user.from('member_profiles').select('name')).name, 'Lin Xia');
});

test('ten registrations of one user at once make one member', async () => {
  const user = signedIn();
  const answers = await Promise.all(Array.from({ length: 10 }, () => user.rpc('register_member', { p_name: 'Lin Xia' })));
  const cards = new Set(answers.map((answer) => row(answer).card_id));
  assert.equal(cards.size, 1);
  assert.equal(psql(`SELECT count(*) FROM app.personal_cards WHERE member_id = :'id'`, { id: user.id }), '1');
});

test('a user registers nobody but itself', async () => {
  const user = signedIn();
  await refusedAndStill(
    () => user.rpc('register_member', { p_name: 'Eve', p_user_id: randomUUID() }), 403, 'NOT_ALLOWED', /p_user_id/);
});

test('a backend registers any user, or makes a new id', async () => {
  const id = randomUUID();
  assert.equal(row(await backend.rpc('register_member', { p_name: 'Named', p_user_id: id })).member_id, id);
  const made = row(await backend.rpc('register_member', { p_name: 'Walk-in' }));
  assert.match(made.member_id, /^[0-9a-f-]{36}$/);
  assert.notEqual(made.member_id, id);
});

test('a JWT without sub, or with one that is no uuid, is nobody', async () => {
  for (const claims of [{ role: 'authenticated' }, { role: 'authenticated', sub: 'lin' }]) {
    await refusedAndStill(() => clientOf(sign(claims)).rpc('register_member', { p_name: 'Lin' }), 401, 'NOT_AUTHENTICATED');
  }
});

test('names must be there and fit', async () => {
  const user = signedIn();
  await refused(await user.rpc('register_member', { p_name: '' }), 400, 'INVALID_ARGUMENT', /p_name/);
  await refused(await user.rpc('register_member', { p_name: null }), 400, 'INVALID_ARGUMENT', /p_name/);
  await refused(await user.rpc('register_member', { p_name: 'x'.repeat(501) }), 400, 'INVALID_ARGUMENT', /p_name/);
  await refused(await user.rpc('register_member', { p_name: 'x', p_phone: '1'.repeat(41) }), 400, 'INVALID_ARGUMENT', /p_phone/);
  await refused(await user.rpc('register_member', { p_name: 'x', p_email: 'e'.repeat(321) }), 400, 'INVALID_ARGUMENT', /p_email/);
  row(await user.rpc('register_member', { p_name: '林'.repeat(500) }));
});

test('the owner reports its card lost; after that it makes no code and pays nothing', async () => {
  const member = await newMember({ balance: 100 });
  const shop = await newShop();
  const code = await payCode(member);
  const lost = { p_card_id: member.card, p_card_type: 'personal', p_status: 'lost', p_reason: 'left in a taxi' };
  assert.equal(ok(await member.rpc('set_card_status', lost)), true);
  assert.equal(ok(await member.rpc('set_card_status', lost)), false);
  assert.equal((await cardOf(member)).status, 'lost');
  await refused(await member.rpc('rotate_card_qr', { p_card_id: member.card }), 409, 'CARD_NOT_ACTIVE');
  await refusedAndStill(
    () => shop.cashier.rpc('merchant_charge_by_qr', { p_merchant_code: shop.code, p_qr_plain: code, p_amount: 1 }),
    409, 'CARD_NOT_ACTIVE');
  await refusedAndStill(() => member.rpc('set_card_status', { ...lost, p_status: 'active' }), 403, 'NOT_ALLOWED', /lost/);
});
