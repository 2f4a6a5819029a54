//! `app.user_recharge_enterprise_card_admin`: an admin of the card asks, or a backend reports, that money was paid in.

use super::recharge::{Request, answer, record};
use super::{Call, write};
use crate::error::{Result, Token, ensure};
use crate::store::cards::Card;
use crate::store::members;
use crate::store::types::{JsonbArg, NumericArg, NumericOut, Text, Timestamp, Uuid};
use mps_domain::card::CardType;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn user_recharge_enterprise_card_admin(
    p_enterprise_card_id: Option<Uuid>,
    p_amount: Option<NumericArg>,
    p_payment_method: Option<Text>,
    p_reason: Option<Text>,
    p_tag: Option<JsonbArg>,
    p_external_order_id: Option<Text>,
    p_idempotency_key: Option<Text>,
    p_merchant_code: Option<Text>,
) -> TableIterator<
    'static,
    (
        name!(tx_id, i64),
        name!(tx_no, String),
        name!(card_id, Uuid),
        name!(amount, NumericOut),
        name!(status, &'static str),
        name!(created_at, Timestamp),
        name!(replayed, bool),
    ),
> {
    let request = Request {
        card_type: CardType::Enterprise,
        card_id: p_enterprise_card_id,
        amount: p_amount,
        payment_method: p_payment_method,
        reason: p_reason,
        tag: p_tag,
        external_order_id: p_external_order_id,
        idempotency_key: p_idempotency_key,
        merchant_code: p_merchant_code,
    };
    let (tx, card_id, replayed) = write(|call| record(call, request, admin_or_backend));
    answer(tx, card_id, replayed)
}

/// Who is not bound to the card does not see that it exists; who is, must be its admin.
pub(super) fn admin_or_backend(call: &Call, card: Option<Card>) -> Result<Card> {
    let user = call.caller.client()?;
    let card = card.ok_or(Token::CardNotFound)?;
    if let Some(user) = user {
        let binding = members::binding(call.db, card.id, user).ok_or(Token::CardNotFound)?;
        ensure(binding.is_admin, Token::NotCardAdmin)?;
    }
    Ok(card)
}
