//! `app.user_recharge_enterprise_card_admin`: an admin of the card asks, or a backend reports, that money was paid in.

use crate::engine::types::{JsonbArg, NumericArg, NumericOut, Text, Timestamp, Uuid};
use crate::features::recharges::record::{Request, answer, record};
use crate::kernel::access::admin_or_backend;
use crate::kernel::call::write;
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
