//! Money that a gateway has: what becomes of it, whoever brings the word. `app.confirm_recharge` and the callbacks of gateways come
//! through here, so in whatever order they come, it is credited once.

use super::asked_method;
use super::suspense::{self, Arrived, Status, Suspense};
use crate::engine::types::RawJsonb;
use crate::kernel::call::Call;
use crate::kernel::keys::{self, Claim, OrderScope, TradeOwner};
use crate::kernel::months::Open;
use crate::ledger::tx::Tx;
use crate::ledger::{posting, transactions};
use mps_domain::error::{Result, Token};
use mps_domain::money::Money;
use mps_domain::tx_no::{PayMethod, TxStatus};
use mps_domain::typed;
use serde_json::json;

/// What the gateway says of a payment.
#[derive(Clone)]
pub struct Payment<'a> {
    /// The order's total.
    pub amount: Money,
    pub trade_no: &'a str,
    pub payload: RawJsonb,
    /// The callback that told of it. Not in the payload, where a backend may write what it likes.
    pub event: Option<i64>,
    /// How the payer paid, where that is known.
    pub method: Option<PayMethod>,
}

/// What became of it.
pub enum Arrival {
    /// The recharge has it now, or has the number that it lacked.
    Credited(Tx),
    /// The recharge had it before.
    Known(Tx),
    /// It is kept in sight, in place of what the recharge has already.
    Suspended { tx: Tx, amount: Money, replayed: bool },
    /// Nothing was done; whether the money is in suspense since before.
    Refused { tx: Tx, in_suspense: bool, why: Why },
}

/// Why money is not credited to the recharge that it was paid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Another amount is expected, and whence that is known.
    Amount(Money, &'static str),
    /// The trade number belongs to something else.
    Elsewhere(&'static str),
    /// The money is in suspense, and somebody has said what becomes of it.
    Decided(Status),
    /// No card can hold so much.
    NoRoom,
}

/// Credits the recharge, or finds that the money is credited already, or puts it into suspense, or says why none of that. Takes the
/// trade number for the recharge first, which the caller gives back (by an error) or to a row of suspense where it is refused.
pub fn arrive(call: &Call, known: Tx, paid: &Payment) -> Result<Arrival> {
    // Releases before 0.3.0 kept the white space around it: what is written so stays the same number.
    let written = known.gateway_trade_no.clone().filter(|written| is_written(written, paid.trade_no));
    let paid = &Payment { trade_no: written.as_deref().unwrap_or(paid.trade_no), ..paid.clone() };
    // Claims come before row locks.
    let id = known.id;
    let owner = match keys::claim_order(call.db, OrderScope::gateway_trade(), paid.trade_no, id.raw()) {
        Claim::Ours => None,
        Claim::Known(owner) => Some(TradeOwner::of(owner)),
    };
    let open = call.open_month()?;
    let tx = transactions::lock(open, id).ok_or(Token::TxNotFound)?;
    call.after_waiting()?;
    let refused = |tx, in_suspense, why| Ok(Arrival::Refused { tx, in_suspense, why });
    let other_amount = |expected, whence| (paid.amount != expected).then_some(Why::Amount(expected, whence));
    if tx.status == TxStatus::Completed && tx.gateway_trade_no.as_deref() == Some(paid.trade_no) {
        return match other_amount(tx.final_amount, "asked for") {
            Some(why) => refused(tx, false, why),
            None => Ok(Arrival::Known(tx)),
        };
    }
    let waiting = match owner {
        None => None,
        Some(TradeOwner::Suspense(suspended)) => match suspense::lock(open, suspended) {
            Some(kept) => {
                call.after_waiting()?;
                Some(kept)
            }
            None => {
                let why = Why::Elsewhere("the gateway trade number is in suspense, in a row that is not there");
                return refused(tx, false, why);
            }
        },
        Some(TradeOwner::Recharge(_)) => {
            return refused(tx, false, Why::Elsewhere("the gateway trade number belongs to another recharge"));
        }
    };
    if tx.status == TxStatus::Completed && !takes_number(&tx, paid) {
        return match waiting {
            Some(kept) if kept.status == Status::Credited => {
                refused(tx, true, Why::Elsewhere("the gateway trade number has credited another recharge"))
            }
            Some(kept) => Ok(Arrival::Suspended { amount: kept.amount, tx, replayed: true }),
            None => {
                suspend(call, &tx, paid, suspense::ALREADY_SETTLED)?;
                Ok(Arrival::Suspended { tx, amount: paid.amount, replayed: false })
            }
        };
    }
    if let Some(why) = other_amount(tx.final_amount, "asked for") {
        return refused(tx, waiting.is_some(), why);
    }
    if let Some(kept) = &waiting {
        let differs = other_amount(kept.amount, "in suspense with");
        let decided = (kept.status != Status::Open).then_some(Why::Decided(kept.status));
        if let Some(why) = differs.or(decided) {
            return refused(tx, true, why);
        }
    }
    credit(call, open, tx, paid, waiting)
}

/// Whether a trade number is this one, with white space around it or without.
fn is_written(written: &str, trade_no: &str) -> bool {
    typed::trimmed(written) == typed::trimmed(trade_no)
}

/// Whether a settled recharge has this payment, or is still to be told its number.
pub fn has(tx: &Tx, paid: &Payment) -> bool {
    tx.status == TxStatus::Completed && (takes_number(tx, paid) || is_number_of(tx, paid.trade_no))
}

/// Whether a recharge has this trade number.
pub fn is_number_of(tx: &Tx, trade_no: &str) -> bool {
    tx.gateway_trade_no.as_deref().is_some_and(|written| is_written(written, trade_no))
}

fn credit(call: &Call, open: Open, mut tx: Tx, paid: &Payment, waiting: Option<Suspense>) -> Result<Arrival> {
    let (was, asked) = (tx.status, tx.payment_method);
    let mut card = match was {
        TxStatus::Completed => None,
        _ => Some(posting::lock_successor(call, open, tx.card_type, tx.card_id)?),
    };
    if card.as_ref().is_some_and(|card| card.balance.plus(tx.final_amount).is_none()) {
        return Ok(Arrival::Refused { tx, in_suspense: waiting.is_some(), why: Why::NoRoom });
    }
    tx.gateway_trade_no = Some(paid.trade_no.into());
    tx.payment_method = paid.method.unwrap_or(asked);
    match &mut card {
        None => transactions::note_trade(call.db, &mut tx)?,
        Some(card) => posting::post_waiting(call, card, &mut tx)?,
    }
    if let Some(kept) = waiting {
        credited_from_suspense(call, kept, &tx)?;
    }
    let mut context = json!({ "gateway_trade_no": paid.trade_no, "was": was.label() });
    if tx.payment_method != asked {
        asked_method::note(call.db, &tx, asked);
        context["asked_method"] = asked.label().into();
        context["method"] = tx.payment_method.label().into();
    }
    if let Some(event) = paid.event {
        context["gateway_event"] = event.into();
    }
    call.audit_with_payload("recharge.confirmed", "transaction", &tx.tx_no(), context, paid.payload.clone());
    Ok(Arrival::Credited(tx))
}

/// Whether a recharge that was credited without a trade number (a backend's own, or a trusted one) takes this one.
fn takes_number(tx: &Tx, paid: &Payment) -> bool {
    tx.gateway_trade_no.is_none() && tx.payment_method != PayMethod::Cash && tx.final_amount == paid.amount
}

/// Keeps money in sight that a recharge does not take. Its trade number is the recharge's, by [`arrive`].
pub fn suspend(call: &Call, tx: &Tx, paid: &Payment, reason: &'static str) -> Result<()> {
    let id = suspense::next_id(call.db);
    let (mine, row) = (tx.id.raw(), TradeOwner::Suspense(id).raw());
    suspense::moved_once(keys::repoint_order(call.db, OrderScope::gateway_trade(), paid.trade_no, mine, row))?;
    open_row(call, id, Some(&tx.tx_no()), paid.method.unwrap_or(tx.payment_method), paid, reason);
    Ok(())
}

/// As [`suspend`], of money whose recharge cannot be had, as whose number `tx_no` was sent. Whose the trade number is, where it is
/// somebody's already: then nothing is written.
pub fn suspend_unclaimed(
    call: &Call,
    tx_no: Option<&str>,
    method: PayMethod,
    paid: &Payment,
    reason: &'static str,
) -> Result<std::result::Result<i64, TradeOwner>> {
    let scope = OrderScope::gateway_trade();
    // A look first: a repetition burns no id.
    if let Some(owner) = keys::order_owner(call.db, scope, paid.trade_no) {
        return Ok(Err(TradeOwner::of(owner)));
    }
    let id = suspense::next_id(call.db);
    if let Claim::Known(owner) = keys::claim_order(call.db, scope, paid.trade_no, TradeOwner::Suspense(id).raw()) {
        return Ok(Err(TradeOwner::of(owner)));
    }
    call.open_month()?;
    open_row(call, id, tx_no, method, paid, reason);
    Ok(Ok(id))
}

fn open_row(call: &Call, id: i64, tx_no: Option<&str>, method: PayMethod, paid: &Payment, reason: &'static str) {
    let mut context = json!({
        "gateway_trade_no": paid.trade_no, "amount": paid.amount.to_string(), "method": method.label(), "why": reason,
    });
    if let Some(tx_no) = tx_no {
        context["tx_no"] = tx_no.into();
    }
    if let Some(event) = paid.event {
        context["gateway_event"] = event.into();
    }
    call.audit_with_payload("suspense.opened", "suspense", &id.to_string(), context, paid.payload.clone());
    let arrived = Arrived {
        gateway_trade_no: paid.trade_no,
        tx_no,
        amount: paid.amount,
        payment_method: method,
        reason,
        payload: paid.payload.clone(),
    };
    suspense::insert(call.db, id, call.at, arrived);
}

/// Closes a row whose money the recharge has just taken.
fn credited_from_suspense(call: &Call, mut kept: Suspense, tx: &Tx) -> Result<()> {
    let scope = OrderScope::gateway_trade();
    let (from, to) = (TradeOwner::Suspense(kept.id).raw(), tx.id.raw());
    let moved = keys::repoint_order(call.db, scope, &kept.gateway_trade_no, from, to);
    suspense::moved_once(moved)?;
    kept.status = Status::Credited;
    kept.credited_tx_no = Some(tx.tx_no());
    let word = suspense::Word {
        resolution: "credited",
        at: call.at,
        actor: call.caller.uid,
        role: &call.caller.role,
        note: "confirmed",
        key: None,
    };
    suspense::resolve(call.db, &mut kept, &word)?;
    let context = json!({ "status": kept.status.label(), "tx_no": tx.tx_no() });
    call.audit("suspense.resolved", "suspense", &kept.id.to_string(), context);
    Ok(())
}
