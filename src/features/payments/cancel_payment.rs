//! `app.cancel_payment`: gives back all that is left of a payment, by its number or by the shop's own.

use super::giving_back::{Request, Wanted, give_back};
use crate::engine::types::{NumericOut, RawJsonb, Text};
use crate::kernel::access::operated_merchant;
use crate::kernel::args;
use crate::kernel::call::{Call, write};
use crate::kernel::keys::{self, OrderScope};
use crate::kernel::merchants::Merchant;
use crate::ledger::posting::stored_id;
use mps_domain::error::{Error, Result, Token};
use mps_domain::tx_no::{TxId, TxType};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn cancel_payment(
    p_merchant_code: Option<Text>,
    p_tx_no: Option<Text>,
    p_external_order_id: Option<Text>,
    p_reason: Option<Text>,
    p_idempotency_key: Option<Text>,
) -> TableIterator<
    'static,
    (name!(tx_no, String), name!(refund_tx_no, String), name!(refunded_amount, NumericOut), name!(replayed, bool)),
> {
    let (refund, replayed) = write(|call| {
        let merchant = operated_merchant(call, p_merchant_code)?;
        let reason = args::optional_reason(p_reason)?;
        let key = args::optional_key(p_idempotency_key, "p_idempotency_key")?;
        let payment = asked_for(call, &merchant, p_tx_no, p_external_order_id)?;
        let request = Request { payment, wanted: Wanted::Rest, reason, tag: RawJsonb::empty(), key };
        give_back(call, merchant, p_merchant_code, request)
    });
    let refund_tx_no = refund.tx_no();
    let tx_no = refund.original_tx_no.expect("a refund names its payment");
    TableIterator::once((tx_no, refund_tx_no, refund.final_amount.into(), replayed))
}

/// The payment that is named in one of two ways. Errors: `INVALID_ARGUMENT`, in none or in both; `TX_NOT_FOUND`, no order of this shop.
fn asked_for(
    call: &Call,
    merchant: &Merchant,
    p_tx_no: Option<Text>,
    p_external_order_id: Option<Text>,
) -> Result<(TxType, TxId)> {
    match (args::said(p_tx_no), args::optional_key(p_external_order_id, "p_external_order_id")?) {
        (Some(number), None) => args::tx_number(Some(number), "p_tx_no"),
        (None, Some(order)) => keys::order_owner(call.db, OrderScope::payment(merchant.id), order)
            .map(|id| (TxType::Payment, stored_id(id)))
            .ok_or_else(|| Error::new(Token::TxNotFound, "there is no payment of this order")),
        _ => Err(Error::new(Token::InvalidArgument, "one of p_tx_no and p_external_order_id names the payment")),
    }
}
