//! Recharges: asked for, confirmed or failed, and money that no recharge can take.

mod confirm_recharge;
mod expire_recharges;
mod fail_recharge;
mod record;
mod resolve_suspense;
mod suspense;
mod user_recharge_enterprise_card_admin;
mod user_recharge_personal_card;
