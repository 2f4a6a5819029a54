//! `app.merchant_refund_tx`: gives back part or all of a payment, to the card that paid.

use super::giving_back::{Request, Wanted, give_back};
use crate::engine::types::{JsonbArg, NumericArg, NumericOut, Text, Timestamp};
use crate::kernel::access::operated_merchant;
use crate::kernel::args;
use crate::kernel::call::write;
use mps_domain::money::Money;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn merchant_refund_tx(
    p_merchant_code: Option<Text>,
    p_original_tx_no: Option<Text>,
    p_refund_amount: Option<NumericArg>,
    p_reason: Option<Text>,
    p_tag: Option<JsonbArg>,
    p_idempotency_key: Option<Text>,
) -> TableIterator<
    'static,
    (
        name!(refund_tx_id, i64),
        name!(refund_tx_no, String),
        name!(refunded_amount, NumericOut),
        name!(points_reversed, i64),
        name!(refundable_left, NumericOut),
        name!(created_at, Timestamp),
        name!(replayed, bool),
    ),
> {
    let (tx, replayed) = write(|call| {
        let merchant = operated_merchant(call, p_merchant_code)?;
        let amount = args::amount(p_refund_amount, "p_refund_amount")?;
        let reason = args::optional_reason(p_reason)?;
        let tag = args::object(p_tag, "p_tag")?;
        let payment = args::tx_number(p_original_tx_no, "p_original_tx_no")?;
        let key = args::optional_key(p_idempotency_key, "p_idempotency_key")?;
        let request = Request { payment, wanted: Wanted::Part(amount), reason, tag, key };
        give_back(call, merchant, p_merchant_code, request)
    });
    TableIterator::once((
        tx.id.raw(),
        tx.tx_no(),
        tx.final_amount.into(),
        -tx.points_earned,
        tx.refundable_left.unwrap_or(Money::ZERO).into(),
        tx.created_at,
        replayed,
    ))
}
