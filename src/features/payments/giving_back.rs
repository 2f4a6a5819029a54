//! Giving back what a payment took: a part of it, or all that is left.

use crate::engine::types::{RawJsonb, Text};
use crate::features::coupons;
use crate::kernel::access::still_operated;
use crate::kernel::args;
use crate::kernel::call::Call;
use crate::kernel::keys::{self, Scope};
use crate::kernel::merchants::{self, Merchant};
use crate::kernel::months::{self, Open};
use crate::ledger::replay::{Dedupe, First};
use crate::ledger::tx::Tx;
use crate::ledger::{posting, transactions};
use mps_domain::card::CardStatus;
use mps_domain::error::{Error, Result, Token, ensure};
use mps_domain::money::Money;
use mps_domain::refund::{points_to_reverse, refundable};
use mps_domain::tx_no::{TxId, TxStatus, TxType};

/// How much is to be given back.
#[derive(Clone, Copy)]
pub enum Wanted {
    /// So much: more than is left is refused.
    Part(Money),
    /// Whatever is left; of a payment of 0.00, the payment itself.
    Rest,
}

pub struct Request<'a> {
    pub payment: (TxType, TxId),
    pub wanted: Wanted,
    pub reason: Option<&'a str>,
    pub tag: RawJsonb,
    pub key: Option<&'a str>,
}

impl Request<'_> {
    /// Whether a transaction is what this request would make of the payment with this number.
    fn made(&self, tx: &Tx, payment_no: &str) -> bool {
        tx.tx_type == TxType::Refund
            && tx.original_tx_no.as_deref() == Some(payment_no)
            && match self.wanted {
                Wanted::Part(amount) => tx.final_amount == amount,
                Wanted::Rest => tx.refundable_left == Some(Money::ZERO),
            }
    }

    /// Whoever asks for an amount asks for one within the limit; what is left was within it once.
    fn ensure_within_limit(&self, call: &Call) -> Result<()> {
        match self.wanted {
            Wanted::Part(amount) => args::within_limit(amount, "p_refund_amount", &call.config()),
            Wanted::Rest => Ok(()),
        }
    }
}

/// The refund, and whether it was made before.
pub fn give_back(call: &Call, merchant: Merchant, merchant_code: Option<Text>, request: Request) -> Result<(Tx, bool)> {
    let (payment_type, payment_id) = request.payment;
    let payment_no = payment_id.number_for(payment_type);
    let dedupe = Dedupe { key: request.key.map(|k| (Scope::refund(merchant.id), k)), order: None };

    let first = dedupe.claim(call, |tx| request.made(tx, &payment_no))?;
    let merchant = still_operated(call, merchant, merchant_code)?;
    let id = match first {
        First::Answer(tx) => return Ok((*tx, true)),
        First::Time(id) => id,
    };
    request.ensure_within_limit(call)?;
    // Whether the rest is given back already is asked first: then it is answered, whatever became of the shop.
    if matches!(request.wanted, Wanted::Part(_)) {
        ensure_takes_part(call, &merchant)?;
    }
    let open = call.open_month()?;

    let mut payment = lock_payment(open, merchant.id, &request)?;
    merchants::pin(call.db, merchant.id);
    if matches!(request.wanted, Wanted::Rest) && nothing_is_left(&payment) {
        let refund = answer_again(call, &payment, dedupe.key)?;
        still_operated(call, merchant, merchant_code)?;
        return Ok((refund, true));
    }
    let refunded = payment.refunded_amount.unwrap_or(Money::ZERO);
    let left = refundable(payment.final_amount, refunded);
    let amount = match request.wanted {
        Wanted::Part(amount) => amount,
        Wanted::Rest => left,
    };
    ensure(amount <= left, Token::RefundExceedsRemaining)?;

    let mut card = posting::lock_successor(call, open, payment.card_type, payment.card_id)?;
    let coupon = if amount == left { coupons::refunded(call, open, &payment, &card)? } else { None };
    let merchant = still_operated(call, merchant, merchant_code)?;
    ensure_takes_part(call, &merchant)?;
    request.ensure_within_limit(call)?;
    ensure(card.status != CardStatus::Closed, Token::CardNotActive)?;

    let mut tx = posting::new_tx(call, id, TxType::Refund, &card, amount, amount);
    tx.member_id = payment.member_id;
    tx.merchant_id = Some(merchant.id);
    tx.discount = payment.discount;
    tx.points_earned = -points_to_reverse(payment.points_earned, payment.final_amount, refunded, amount);
    tx.refundable_left = left.minus(amount);
    tx.original_tx_no = Some(payment_no);
    tx.refund_chain_id = payment.refund_chain_id;
    tx.reason = request.reason.map(String::from);
    tx.tag = request.tag;
    tx.idempotency_key = request.key.map(String::from);
    let refunded = refunded.plus(amount).expect("at most what was paid");
    posting::post_with(call, &mut card, &mut tx, |tx| {
        transactions::note_refund(call.db, &mut payment, refunded, tx.id)?;
        coupon.map_or(Ok(()), |coupon| coupon.settle(call, &payment))
    })?;
    Ok((tx, false))
}

fn ensure_takes_part(call: &Call, merchant: &Merchant) -> Result<()> {
    ensure(merchant.active || call.caller.is_backend, Token::MerchantInactive)
}

/// Locks the payment, which must be one that this merchant took, and of which more may be given back: what is left of one that was
/// cancelled is nothing, so who asks for that is answered.
fn lock_payment(open: Open, merchant: i32, request: &Request) -> Result<Tx> {
    let (tx_type, id) = request.payment;
    ensure(months::readable(&open, id.month())?, Token::TxNotFound)?;
    let tx = transactions::lock(open, id).filter(|tx| tx.tx_type == tx_type && tx.merchant_id == Some(merchant));
    let tx = tx.ok_or(Token::TxNotFound)?;
    let stands = match request.wanted {
        Wanted::Part(_) => tx.status == TxStatus::Completed,
        Wanted::Rest => matches!(tx.status, TxStatus::Completed | TxStatus::Cancelled),
    };
    ensure(tx.tx_type == TxType::Payment && stands, Token::NotRefundable)?;
    Ok(tx)
}

/// Whether a payment was given back in full. One of 0.00 is until it is cancelled.
fn nothing_is_left(payment: &Tx) -> bool {
    if payment.final_amount.is_zero() {
        return payment.status == TxStatus::Cancelled;
    }
    payment.refunded_amount == Some(payment.final_amount)
}

/// The refund that took the last of a locked payment; the key that came with the question is known by it from now on.
fn answer_again(call: &Call, payment: &Tx, key: Option<(Scope, &str)>) -> Result<Tx> {
    call.after_waiting()?;
    let missing = || Error::new(Token::TxNotFound, "the refund that gave back the last of the payment is not there");
    let last = payment.refund_chain_id.ok_or_else(missing)?;
    ensure(months::readable(call.db, last.month())?, Token::TxNotFound)?;
    let refund = transactions::find(call.db, last).ok_or_else(missing)?;
    if let Some((scope, key)) = key {
        keys::repoint_key(call.db, scope, key, last.raw());
    }
    Ok(refund)
}
