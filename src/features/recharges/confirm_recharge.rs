//! `app.confirm_recharge`: the gateway has the money, so the card gets it.

use super::find_recharge;
use crate::engine::server;
use crate::engine::types::{JsonbArg, NumericArg, NumericOut, RawJsonb, Text, Uuid};
use crate::features::recharges::suspense::{self, Arrived, Status, Suspense};
use crate::kernel::args::{self, Given};
use crate::kernel::call::{Call, write};
use crate::kernel::keys::{self, Claim, OrderScope, TradeOwner};
use crate::ledger::tx::Tx;
use crate::ledger::{posting, transactions};
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::tx_no::{PayMethod, TxStatus};
use mps_domain::typed;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn confirm_recharge_v3(
    p_tx_no: Option<Text>,
    p_amount: Option<NumericArg>,
    p_gateway_trade_no: Option<Text>,
    p_payload: Option<JsonbArg>,
    p_payment_method: Option<Text>,
) -> TableIterator<
    'static,
    (
        name!(tx_id, i64),
        name!(tx_no, String),
        name!(card_id, Uuid),
        name!(amount, NumericOut),
        name!(status, &'static str),
        name!(replayed, bool),
    ),
> {
    let confirmed = write(|call| {
        call.caller.require_backend()?;
        let (tx_type, id) = args::tx_number(p_tx_no, "p_tx_no")?;
        let given = p_gateway_trade_no.given();
        let mut word = Word {
            // The gateway's amount is compared, not limited: the money is there.
            amount: args::amount(p_amount, "p_amount")?,
            trade_no: args::trade_number(given, "p_gateway_trade_no")?,
            payload: args::object(p_payload, "p_payload")?,
            method: args::said(p_payment_method).map(paid_by).transpose()?,
        };
        let known = find_recharge(call, tx_type, id)?;
        // Releases before 0.3.0 kept the white space around it: what is written so stays the same number.
        let (kept, given) = (known.gateway_trade_no.clone(), given.filter(|given| *given != word.trade_no));
        if let Some(kept) = kept.as_deref().filter(|kept| typed::trimmed(kept) == word.trade_no) {
            word.trade_no = kept;
        } else if let Some(given) = given.filter(|g| keys::is_claimed(call.db, OrderScope::gateway_trade(), g)) {
            word.trade_no = given;
        }
        confirm(call, known, word)
    });
    TableIterator::once((
        confirmed.tx.id.raw(),
        confirmed.tx.tx_no(),
        confirmed.tx.card_id,
        confirmed.amount.into(),
        confirmed.status,
        confirmed.replayed,
    ))
}

/// What the gateway says of a payment.
struct Word<'a> {
    amount: Money,
    trade_no: &'a str,
    payload: RawJsonb,
    /// How the payer paid, where that is known.
    method: Option<PayMethod>,
}

/// What became of it.
struct Confirmed {
    tx: Tx,
    amount: Money,
    status: &'static str,
    replayed: bool,
}

impl Confirmed {
    fn of(tx: Tx, replayed: bool) -> Confirmed {
        Confirmed { amount: tx.final_amount, status: tx.status.label(), tx, replayed }
    }

    fn suspended(tx: Tx, amount: Money, replayed: bool) -> Confirmed {
        Confirmed { tx, amount, status: "suspense", replayed }
    }
}

fn paid_by(label: &str) -> Result<PayMethod> {
    PayMethod::from_label(label)
        .filter(|method| *method != PayMethod::Balance)
        .ok_or_else(|| Error::new(Token::InvalidPaymentMethod, "p_payment_method is wechat, alipay or cash"))
}

/// Credits the recharge, or finds that the money is credited already, or puts it into suspense.
fn confirm(call: &Call, known: Tx, word: Word) -> Result<Confirmed> {
    // Claims come before row locks. What is claimed in vain is given back with the error.
    let id = known.id;
    let owner = match keys::claim_order(call.db, OrderScope::gateway_trade(), word.trade_no, id.raw()) {
        Claim::Ours => None,
        Claim::Known(owner) => Some(TradeOwner::of(owner)),
    };
    let open = call.open_month()?;
    let mut tx = transactions::lock(open, id).ok_or(Token::TxNotFound)?;
    call.after_waiting()?;
    let has_it = tx.gateway_trade_no.as_deref() == Some(word.trade_no);
    if tx.status == TxStatus::Completed && has_it {
        same_amount(&tx, &word)?;
        return Ok(Confirmed::of(tx, true));
    }
    let waiting = match owner {
        None => None,
        Some(TradeOwner::Suspense(suspended)) => {
            let kept = suspense::lock(open, suspended)
                .ok_or_else(|| elsewhere("the gateway trade number is in suspense, in a row that is not there"))?;
            call.after_waiting()?;
            Some(kept)
        }
        Some(TradeOwner::Recharge(_)) => return Err(elsewhere("the gateway trade number belongs to another recharge")),
    };
    if tx.status == TxStatus::Completed && !takes_number(&tx, &word) {
        return match waiting {
            Some(kept) if kept.status == Status::Credited => {
                Err(elsewhere("the gateway trade number has credited another recharge"))
            }
            Some(kept) => Ok(Confirmed::suspended(tx, kept.amount, true)),
            None => suspend(call, tx, word),
        };
    }
    same_amount(&tx, &word)?;
    if let Some(kept) = &waiting {
        ensure_open(kept, &tx, &word)?;
    }
    tx.gateway_trade_no = Some(word.trade_no.into());
    let asked_method = tx.payment_method;
    tx.payment_method = word.method.unwrap_or(asked_method);
    let was = tx.status;
    if was == TxStatus::Completed {
        transactions::note_trade(call.db, &mut tx)?;
    } else {
        let mut card = posting::lock_successor(call, open, tx.card_type, tx.card_id)?;
        posting::post_waiting(call, &mut card, &mut tx)?;
    }
    if let Some(kept) = waiting {
        credited_from_suspense(call, kept, &tx)?;
    }
    let mut context = json!({ "gateway_trade_no": word.trade_no, "was": was.label() });
    if tx.payment_method != asked_method {
        context["asked_method"] = asked_method.label().into();
        context["method"] = tx.payment_method.label().into();
    }
    call.audit_with_payload("recharge.confirmed", "transaction", &tx.tx_no(), context, word.payload);
    Ok(Confirmed::of(tx, false))
}

/// What the caller can mend: compared only where the money can be credited.
fn same_amount(tx: &Tx, word: &Word) -> Result<()> {
    same_as(tx, word, tx.final_amount, "asked for")
}

fn same_as(tx: &Tx, word: &Word, expected: Money, whence: &str) -> Result<()> {
    if word.amount == expected {
        return Ok(());
    }
    let (trade_no, gateway) = (word.trade_no, word.amount);
    server::log(
        "mps: confirm_recharge with another amount",
        &format!("{}: {whence} {expected}, the gateway says {gateway} (trade number {trade_no})", tx.tx_no()),
    );
    Err(Token::AmountMismatch.into())
}

/// Whether a recharge that was credited without a trade number (a backend's own, or a trusted one) takes this one.
fn takes_number(tx: &Tx, word: &Word) -> bool {
    tx.gateway_trade_no.is_none() && tx.payment_method != PayMethod::Cash && tx.final_amount == word.amount
}

fn elsewhere(detail: &'static str) -> Error {
    Error::new(Token::ExternalOrderConflict, detail)
}

/// Money in suspense can be credited to the recharge that it was for as long as nobody has said otherwise.
fn ensure_open(kept: &Suspense, tx: &Tx, word: &Word) -> Result<()> {
    same_as(tx, word, kept.amount, "in suspense with")?;
    if kept.status != Status::Open {
        return Err(Error::new(
            Token::ExternalOrderConflict,
            format!("the gateway trade number is in suspense, {}", kept.status.label()),
        ));
    }
    Ok(())
}

/// Keeps money in sight that the recharge, credited already, does not take.
fn suspend(call: &Call, tx: Tx, word: Word) -> Result<Confirmed> {
    let id = suspense::next_id(call.db);
    let mine = tx.id.raw();
    let moved =
        keys::repoint_order(call.db, OrderScope::gateway_trade(), word.trade_no, mine, TradeOwner::Suspense(id).raw());
    suspense::moved_once(moved)?;
    let payment_method = word.method.unwrap_or(tx.payment_method);
    call.audit_with_payload(
        "suspense.opened",
        "suspense",
        &id.to_string(),
        json!({
            "gateway_trade_no": word.trade_no,
            "tx_no": tx.tx_no(),
            "amount": word.amount.to_string(),
            "method": payment_method.label(),
            "why": suspense::ALREADY_SETTLED,
        }),
        word.payload.clone(),
    );
    suspense::insert(
        call.db,
        id,
        call.at,
        Arrived {
            gateway_trade_no: word.trade_no,
            tx_no: Some(&tx.tx_no()),
            amount: word.amount,
            payment_method,
            reason: suspense::ALREADY_SETTLED,
            payload: word.payload,
        },
    );
    Ok(Confirmed::suspended(tx, word.amount, false))
}

/// Closes a row whose money the recharge has just taken.
fn credited_from_suspense(call: &Call, mut kept: Suspense, tx: &Tx) -> Result<()> {
    let scope = OrderScope::gateway_trade();
    let (from, to) = (TradeOwner::Suspense(kept.id).raw(), tx.id.raw());
    let moved = keys::repoint_order(call.db, scope, &kept.gateway_trade_no, from, to);
    suspense::moved_once(moved)?;
    kept.status = Status::Credited;
    kept.credited_tx_no = Some(tx.tx_no());
    suspense::resolve(
        call.db,
        &mut kept,
        &suspense::Word {
            resolution: "credited",
            at: call.at,
            actor: call.caller.uid,
            role: &call.caller.role,
            note: "confirmed",
            key: None,
        },
    )?;
    call.audit(
        "suspense.resolved",
        "suspense",
        &kept.id.to_string(),
        json!({ "status": kept.status.label(), "tx_no": tx.tx_no() }),
    );
    Ok(())
}
