//! `app.merchant_refund_tx`: gives back part or all of a payment, to the card that paid.

use crate::engine::types::{JsonbArg, NumericArg, NumericOut, Text, Timestamp};
use crate::features::coupons;
use crate::kernel::access::{operated_merchant, still_operated};
use crate::kernel::call::{Call, write};
use crate::kernel::keys::Scope;
use crate::kernel::months::{self, Open};
use crate::kernel::{args, merchants};
use crate::ledger::replay::{Dedupe, First};
use crate::ledger::tx::Tx;
use crate::ledger::{posting, transactions};
use mps_domain::card::CardStatus;
use mps_domain::error::{Result, Token, ensure};
use mps_domain::money::Money;
use mps_domain::refund::{points_to_reverse, refundable};
use mps_domain::tx_no::{TxId, TxStatus, TxType};
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
        refund(call, p_merchant_code, p_original_tx_no, p_refund_amount, p_reason, p_tag, p_idempotency_key)
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

/// The refund, and whether it was made before.
fn refund(
    call: &Call,
    p_merchant_code: Option<Text>,
    p_original_tx_no: Option<Text>,
    p_refund_amount: Option<NumericArg>,
    p_reason: Option<Text>,
    p_tag: Option<JsonbArg>,
    p_idempotency_key: Option<Text>,
) -> Result<(Tx, bool)> {
    let merchant = operated_merchant(call, p_merchant_code)?;
    let amount = args::amount(p_refund_amount, "p_refund_amount")?;
    let reason = args::optional_reason(p_reason)?;
    let tag = args::object(p_tag, "p_tag")?;
    let (original_type, original_id) = args::tx_number(p_original_tx_no, "p_original_tx_no")?;
    let original_no = original_id.number_for(original_type);
    let dedupe = Dedupe {
        key: args::optional_key(p_idempotency_key, "p_idempotency_key")?.map(|k| (Scope::refund(merchant.id), k)),
        order: None,
    };

    let first = dedupe.claim(call, |tx| {
        tx.tx_type == TxType::Refund && tx.original_tx_no.as_deref() == Some(&original_no) && tx.final_amount == amount
    })?;
    let merchant = still_operated(call, merchant, p_merchant_code)?;
    let id = match first {
        First::Answer(tx) => return Ok((*tx, true)),
        First::Time(id) => id,
    };
    args::within_limit(amount, "p_refund_amount", &call.config())?;
    ensure(merchant.active || call.caller.is_backend, Token::MerchantInactive)?;
    let open = call.open_month()?;

    let mut payment = lock_payment(open, merchant.id, original_type, original_id)?;
    merchants::pin(call.db, merchant.id);
    let refunded = payment.refunded_amount.unwrap_or(Money::ZERO);
    let left = refundable(payment.final_amount, refunded);
    ensure(amount <= left, Token::RefundExceedsRemaining)?;

    let mut card = posting::lock_successor(call, open, payment.card_type, payment.card_id)?;
    let coupon = if amount == left { coupons::refunded(call, open, &payment, &card)? } else { None };
    let merchant = still_operated(call, merchant, p_merchant_code)?;
    ensure(merchant.active || call.caller.is_backend, Token::MerchantInactive)?;
    args::within_limit(amount, "p_refund_amount", &call.config())?;
    ensure(card.status != CardStatus::Closed, Token::CardNotActive)?;

    let mut tx = posting::new_tx(call, id, TxType::Refund, &card, amount, amount);
    tx.member_id = payment.member_id;
    tx.merchant_id = Some(merchant.id);
    tx.discount = payment.discount;
    tx.points_earned = -points_to_reverse(payment.points_earned, payment.final_amount, refunded, amount);
    tx.refundable_left = left.minus(amount);
    tx.original_tx_no = Some(original_no);
    tx.refund_chain_id = payment.refund_chain_id;
    tx.reason = reason.map(String::from);
    tx.tag = tag;
    tx.idempotency_key = dedupe.key.map(|(_, k)| k.into());
    let refunded = refunded.plus(amount).expect("at most what was paid");
    posting::post_with(call, &mut card, &mut tx, |tx| {
        transactions::note_refund(call.db, &mut payment, refunded, tx.id)?;
        coupon.map_or(Ok(()), |coupon| coupon.settle(call, &payment))
    })?;
    Ok((tx, false))
}

/// Locks the payment, which must be one that this merchant took.
fn lock_payment(open: Open, merchant: i32, tx_type: TxType, id: TxId) -> Result<Tx> {
    ensure(months::readable(&open, id.month())?, Token::TxNotFound)?;
    let tx = transactions::lock(open, id).filter(|tx| tx.tx_type == tx_type && tx.merchant_id == Some(merchant));
    let tx = tx.ok_or(Token::TxNotFound)?;
    ensure(tx.tx_type == TxType::Payment && tx.status == TxStatus::Completed, Token::NotRefundable)?;
    Ok(tx)
}
