// People, cards and shops for a test of its own: fresh ones, so that no test depends on another.
import { randomUUID } from 'node:crypto';
import { backend, signedIn } from './api.mjs';
import { ok, row } from './expect.mjs';

export const unique = (prefix) => `${prefix}-${randomUUID().slice(0, 8)}`;

/** A registered member, signed in, with `balance` on its card. */
export async function newMember({ name = 'Lin Xia', balance = 0 } = {}) {
  const member = signedIn();
  const profile = row(await member.rpc('register_member', { p_name: name }));
  Object.assign(member, { memberNo: profile.member_no, card: profile.card_id, cardNo: profile.card_no });
  if (balance > 0) await fund(member.card, balance);
  return member;
}

/** Money on a personal card: what its shop took at the till. */
export async function fund(card, amount) {
  return row(
    await backend.rpc('user_recharge_personal_card', {
      p_personal_card_id: card,
      p_amount: amount,
      p_payment_method: 'cash',
    }),
  );
}

/** A merchant with one cashier, signed in. */
export async function newShop() {
  const code = unique('SHOP');
  const { merchant_id } = row(await backend.rpc('create_merchant', { p_code: code, p_name: 'Corner Cafe' }));
  const cashier = signedIn();
  ok(await backend.rpc('set_merchant_user', { p_merchant_code: code, p_user_id: cashier.id }));
  return { code, id: merchant_id, cashier };
}

/** A fresh pay code of a member's own card, or of its binding to an enterprise card. */
export async function payCode(member, enterpriseCard) {
  const args = enterpriseCard
    ? { p_card_id: enterpriseCard, p_card_type: 'enterprise' }
    : { p_card_id: member.card };
  return row(await member.rpc('rotate_card_qr', args)).qr_plain;
}

/** Charges a member at a shop, as its cashier. */
export async function charge(shop, member, amount, more = {}) {
  return row(
    await shop.cashier.rpc('merchant_charge_by_qr', {
      p_merchant_code: shop.code,
      p_qr_plain: await payCode(member),
      p_amount: amount,
      ...more,
    }),
  );
}

/** What the owner sees of its personal card. */
export async function cardOf(member) {
  return row(await member.from('v_user_cards').select('*').eq('card_type', 'personal'));
}

/** A company card with an admin; both signed in as members. */
export async function newCompany({ balance = 0, discount = 0.88 } = {}) {
  const admin = await newMember({ name: 'Wang Lei' });
  const issued = row(
    await backend.rpc('create_enterprise_card', {
      p_company_name: 'Acme Tea Ltd',
      p_fixed_discount: discount,
      p_admin_member_id: admin.id,
    }),
  );
  if (balance > 0) {
    row(
      await backend.rpc('user_recharge_enterprise_card_admin', {
        p_enterprise_card_id: issued.card_id,
        p_amount: balance,
        p_payment_method: 'cash',
      }),
    );
  }
  return { admin, card: issued.card_id, cardNo: issued.card_no };
}
