//! `app.compensate_tx`: corrects the card of a transaction by a signed amount.

use crate::engine::types::{NumericArg, NumericOut, Text, Timestamp, Uuid};
use crate::features::withdrawals;
use crate::kernel::call::{Call, write};
use crate::kernel::keys::Scope;
use crate::kernel::{args, months};
use crate::ledger::replay::{Dedupe, First};
use crate::ledger::tx::Tx;
use crate::ledger::{cards, posting, transactions};
use mps_domain::card::CardStatus;
use mps_domain::error::{Error, Result, Token, ensure};
use mps_domain::money::Money;
use mps_domain::tx_no::{TxStatus, TxType};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn compensate_tx(
    p_tx_no: Option<Text>,
    p_amount: Option<NumericArg>,
    p_reason: Option<Text>,
    p_idempotency_key: Option<Text>,
) -> TableIterator<
    'static,
    (
        name!(tx_id, i64),
        name!(tx_no, String),
        name!(card_id, Uuid),
        name!(amount, NumericOut),
        name!(balance_after, NumericOut),
        name!(created_at, Timestamp),
        name!(replayed, bool),
    ),
> {
    let (tx, replayed) = write(|call| compensate(call, p_tx_no, p_amount, p_reason, p_idempotency_key));
    TableIterator::once((
        tx.id.raw(),
        tx.tx_no(),
        tx.card_id,
        tx.final_amount.into(),
        tx.balance_after.unwrap_or(Money::ZERO).into(),
        tx.created_at,
        replayed,
    ))
}

/// The correction, and whether it was made before.
fn compensate(
    call: &Call,
    p_tx_no: Option<Text>,
    p_amount: Option<NumericArg>,
    p_reason: Option<Text>,
    p_idempotency_key: Option<Text>,
) -> Result<(Tx, bool)> {
    call.caller.require_backend()?;
    let (tx_type, corrected_id) = args::tx_number(p_tx_no, "p_tx_no")?;
    let amount = args::signed_amount(p_amount, "p_amount")?;
    let reason = args::reason(p_reason)?;
    ensure(months::readable(call.db, corrected_id.month())?, Token::TxNotFound)?;
    let corrected =
        transactions::find(call.db, corrected_id).filter(|tx| tx.tx_type == tx_type).ok_or(Token::TxNotFound)?;
    let corrected_no = corrected.tx_no();
    let origin = cards::find(call.db, corrected.card_type, corrected.card_id).ok_or(Token::CardNotFound)?;
    let dedupe = Dedupe {
        key: args::optional_key(p_idempotency_key, "p_idempotency_key")?
            .map(|k| (Scope::compensation(origin.card_type, &origin.card_no), k)),
        order: None,
    };

    let first = dedupe.claim(call, |tx| {
        tx.tx_type == TxType::Adjustment
            && tx.original_tx_no.as_deref() == Some(&corrected_no)
            && tx.final_amount == amount
    })?;
    let id = match first {
        First::Answer(tx) => return Ok((*tx, true)),
        First::Time(id) => id,
    };
    args::within_limit(amount, "p_amount", &call.config())?;
    if corrected.status != TxStatus::Completed {
        return Err(Error::new(Token::StatusConflict, "the transaction has moved no money"));
    }
    let open = call.open_month()?;

    let mut card = posting::lock_successor(call, open, corrected.card_type, corrected.card_id)?;
    args::within_limit(amount, "p_amount", &call.config())?;
    // Money may still be taken off a closed card: a late confirmation can have left some there.
    ensure(card.status != CardStatus::Closed || amount.is_negative(), Token::CardNotActive)?;
    if amount.is_positive() {
        posting::ensure_room(call, &card, amount)?;
        if corrected.tx_type == TxType::Withdrawal {
            withdrawals::ensure_not_back(call, &corrected_no, amount)?;
        }
    }
    let mut tx = posting::new_tx(call, id, TxType::Adjustment, &card, amount, amount);
    tx.member_id = card.member_id.or(corrected.member_id);
    tx.merchant_id = corrected.merchant_id;
    tx.original_tx_no = Some(corrected_no.clone());
    tx.reason = Some(reason.into());
    tx.idempotency_key = dedupe.key.map(|(_, k)| k.into());
    posting::post_with(call, &mut card, &mut tx, |tx| {
        transactions::insert_compensation(call.db, tx, &corrected_no, call.caller.uid, &call.caller.role, reason);
        Ok(())
    })?;
    Ok((tx, false))
}
