//! What becomes of a difference, by a backend's word. Money moves first, through the same doors as everywhere; then the item is locked,
//! and is still as it was seen, or nothing of it holds.

use super::items::{self, Item};
use super::{bills, lock, shown, taking_back};
use crate::features::gateways::{self, OfABill, Outcome};
use crate::features::recharges::{self, Refund, Told};
use crate::features::withdrawals;
use crate::kernel::call::Call;
use crate::kernel::keys::{self, OrderScope, TradeOwner};
use crate::kernel::months::Open;
use crate::ledger::tx::Tx;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::tx_no::{self, TxId, TxType};
use mps_domain::typed;

/// What may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Credit,
    Debit,
    Refund,
    WriteOff,
    Explained,
}

impl Word {
    pub const ALL: [Word; 5] = [Word::Credit, Word::Debit, Word::Refund, Word::WriteOff, Word::Explained];

    pub const fn label(self) -> &'static str {
        match self {
            Word::Credit => "credit",
            Word::Debit => "debit",
            Word::Refund => "refund",
            Word::WriteOff => "write_off",
            Word::Explained => "explained",
        }
    }
}

/// The item as it is now, what is to be sent to the gateway, and whether that was said before.
pub struct Resolved {
    pub item: Item,
    pub out_refund_no: Option<String>,
    pub replayed: bool,
}

/// Says it, once.
pub fn resolve(call: &Call, id: i64, word: Word, note: &str) -> Result<Resolved> {
    let seen = items::find(call.db, id).ok_or_else(|| conflict("there is no such item"))?;
    let (moved, open) = match wants_to_move(&seen, word) {
        true => (movement(call, &seen, word, note)?, call.opened_month()?),
        false => (Moved::default(), call.open_month()?),
    };
    lock(call, open, &seen.account)?;
    let mut item = items::lock(open, id).ok_or_else(|| conflict("there is no such item"))?;
    call.after_waiting()?;
    if !item.is_open() && !owes(&item, word) {
        if item.resolution.as_deref() == Some(word.label()) && !moved.has_moved {
            let out_refund_no = item.suspense_id.filter(|_| word == Word::Refund);
            let out_refund_no = out_refund_no.and_then(|id| recharges::refund_number(call.db, id));
            return Ok(Resolved { item, out_refund_no, replayed: true });
        }
        let said = item.resolution.unwrap_or_default();
        return Err(conflict(format!("the item is resolved: {said}")));
    }
    if item != seen {
        return Err(conflict("the item was changed in the middle of this call: look at it again"));
    }
    if word == Word::Debit {
        items::may_take(call.db, &item).map_err(conflict)?;
    }
    item.receivable = moved.left;
    if word == Word::Debit {
        (item.uncovered, item.source_tx_no) = (moved.left, moved.source_tx_no);
    }
    item.result_tx_no = moved.tx_no.or(item.result_tx_no);
    item.suspense_id = moved.suspense_id.or(item.suspense_id);
    items::resolve(call, &item, word.label(), note);
    let item = items::find(call.db, id).unwrap_or(item);
    Ok(Resolved { item, out_refund_no: moved.out_refund_no, replayed: false })
}

fn conflict(detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Token::ReconConflict, detail)
}

/// Whether what is owed for a resolved item is what the word is about.
fn owes(item: &Item, word: Word) -> bool {
    item.receivable.is_positive() && matches!(word, Word::Debit | Word::WriteOff)
}

fn wants_to_move(item: &Item, word: Word) -> bool {
    let moves = matches!(word, Word::Credit | Word::Debit | Word::Refund);
    moves && (item.is_open() || owes(item, word))
}

#[derive(Default)]
struct Moved {
    has_moved: bool,
    tx_no: Option<String>,
    suspense_id: Option<i64>,
    out_refund_no: Option<String>,
    /// What a debit went by, and what the card did not cover of it.
    source_tx_no: Option<String>,
    left: Money,
}

fn movement(call: &Call, item: &Item, word: Word, note: &str) -> Result<Moved> {
    match word {
        Word::Credit => credit(call, item),
        Word::Refund => refund(call, item, note),
        Word::Debit => debit(call, item, note),
        Word::WriteOff | Word::Explained => Ok(Moved::default()),
    }
}

/// The payment of the bill that the books do not have as it says.
fn payment(call: &Call, item: &Item) -> Result<bills::Paid> {
    let trade_no = item.trade_no.as_deref().filter(|_| item.entry == "payment" && item.bill_amount.is_some());
    trade_no.and_then(|trade_no| bills::payment(call.db, &item.account, item.bill_date, trade_no)).ok_or_else(|| {
        conflict("the item is of no payment that the bill has: nothing of it can be credited or sent back")
    })
}

/// Through the door of callbacks, as if one came now.
fn credit(call: &Call, item: &Item) -> Result<Moved> {
    let paid = payment(call, item)?;
    let account = gateways::find_account(call.db, &item.account).ok_or(Token::GatewayAccountNotFound)?;
    let of_a_bill = OfABill {
        account: &item.account,
        provider: account.provider,
        amount: paid.amount,
        trade_no: &paid.trade_no,
        order_no: paid.order_no.as_deref(),
        bill_date: &shown(item.bill_date).to_string(),
        line: paid.line,
    };
    let effect = gateways::pay(call, &of_a_bill)?;
    let has_moved = matches!(effect.outcome, Outcome::Credited | Outcome::Suspense);
    if !has_moved && effect.outcome != Outcome::Replayed {
        let reason = effect.reason.unwrap_or_else(|| effect.outcome.label().to_owned());
        return Err(conflict(format!("the payment cannot be credited: {reason}")));
    }
    let suspense_id = suspense_of(call, &paid.trade_no);
    let tx_no = effect.tx_no.filter(|_| suspense_id.is_none());
    if let Some(adjustment) = tx_no.as_deref().and_then(|tx_no| items::taken_back(call.db, tx_no)) {
        let how = "give it back by app.compensate_tx(), then say explained";
        return Err(conflict(format!("the recharge was taken back by {adjustment}: {how}")));
    }
    Ok(Moved { has_moved, tx_no, suspense_id, ..Moved::default() })
}

fn owner(call: &Call, trade_no: &str) -> Option<TradeOwner> {
    keys::order_owner(call.db, OrderScope::gateway_trade(), trade_no).map(TradeOwner::of)
}

/// The row in suspense that has a payment.
fn suspense_of(call: &Call, trade_no: &str) -> Option<i64> {
    match owner(call, trade_no)? {
        TradeOwner::Suspense(id) => Some(id),
        TradeOwner::Recharge(_) => None,
    }
}

/// Money that nobody has is kept in sight, and asked back from there.
fn refund(call: &Call, item: &Item, note: &str) -> Result<Moved> {
    let paid = payment(call, item)?;
    let account = gateways::find_account(call.db, &item.account).ok_or(Token::GatewayAccountNotFound)?;
    let kept = recharges::Payment {
        amount: paid.amount,
        trade_no: &paid.trade_no,
        payload: gateways::payload_of_a_bill(&item.account, &shown(item.bill_date).to_string(), paid.line),
        event: None,
        method: Some(account.provider.method()),
    };
    let method = account.provider.method();
    let id = match recharges::suspend_unclaimed(call, item.tx_no.as_deref(), method, &kept, recharges::IN_A_BILL)? {
        Ok(id) | Err(TradeOwner::Suspense(id)) => id,
        Err(TradeOwner::Recharge(_)) => {
            return Err(conflict("the payment was credited: it is not here to be sent back"));
        }
    };
    let (number, replayed) = recharges::send_back(call, id, note)?;
    Ok(Moved { has_moved: !replayed, suspense_id: Some(id), out_refund_no: Some(number), ..Moved::default() })
}

/// What is to be taken back, and of which recharge; a refund of what is in suspense ends there.
fn debit(call: &Call, item: &Item, note: &str) -> Result<Moved> {
    let nothing = || conflict("the card has nothing of it that could be taken back");
    let amount = if item.receivable.is_positive() { Some(item.receivable) } else { amount_of(item) };
    let amount = amount.ok_or_else(nothing)?;
    let took = |number: &&str| matches!(tx_no::read(number), Some((TxType::Adjustment, _)));
    if let Some(before) = item.result_tx_no.as_deref().filter(took).filter(|_| item.is_open()) {
        return Err(conflict(format!(
            "{before} has taken back for it: app.compensate_tx() corrects it, then say explained"
        )));
    }
    if item.entry == "refund"
        && let Some(refund_no) = item.refund_no.as_deref()
        && let Some(returned) = taking_back::returned(call, refund_no)?
    {
        withdrawals::paid_after_return(call, refund_no)?;
        return take(call, call.opened_month()?, item, &returned, amount, note);
    }
    let number = match item.trade_no.as_deref().and_then(|trade_no| owner(call, trade_no)) {
        Some(TradeOwner::Suspense(_)) if item.entry == "refund" => return refunded(call, item, amount),
        Some(TradeOwner::Suspense(_)) => {
            return Err(conflict("the money is in suspense: app.resolve_suspense() says what becomes of it"));
        }
        Some(TradeOwner::Recharge(id)) => TxId::from_raw(id).map(|id| id.number_for(TxType::Recharge)),
        None => item.tx_no.clone(),
    };
    let recharge = number.map_or(Ok(None), |number| taking_back::credited(call, &number))?.ok_or_else(nothing)?;
    take(call, call.open_month()?, item, &recharge, amount, note)
}

fn take(call: &Call, open: Open, item: &Item, credit: &Tx, amount: Money, note: &str) -> Result<Moved> {
    let is_wanted = || items::find(call.db, item.id).as_ref() == Some(item);
    let Some(taken) = taking_back::take(call, open, credit, amount, note, is_wanted)? else {
        return Ok(Moved::default());
    };
    let has_another = |number: &str| item.trade_no.as_deref().is_none_or(|trade_no| typed::trimmed(number) != trade_no);
    let now = taking_back::credited(call, &credit.tx_no())?.and_then(|tx| tx.gateway_trade_no);
    if item.entry == "payment" && now.as_deref().is_some_and(has_another) {
        return Err(conflict("the recharge has another payment by now: reconcile the day again"));
    }
    let source_tx_no = Some(credit.tx_no());
    Ok(Moved { has_moved: true, tx_no: taken.tx_no, source_tx_no, left: taken.left, ..Moved::default() })
}

fn amount_of(item: &Item) -> Option<Money> {
    match (item.entry.as_str(), item.class.as_str(), item.book_amount, item.bill_amount) {
        ("refund", "only_in_bill" | "status_differs", _, Some(refunded)) => Some(refunded),
        ("payment", "only_in_books", Some(credited), None) => Some(credited),
        ("payment", "amount_differs", Some(credited), Some(paid)) => {
            credited.minus(paid).filter(|more| more.is_positive())
        }
        _ => None,
    }
}

fn refunded(call: &Call, item: &Item, amount: Money) -> Result<Moved> {
    let out_refund_no = item.refund_no.as_deref().unwrap_or(&item.reference);
    let refund = Refund { out_refund_no, trade_no: item.trade_no.as_deref(), amount: Some(amount), went_back: true };
    let has_moved = match recharges::refund_told(call, &refund)? {
        Told::Done | Told::Part { before: false } => true,
        Told::Before | Told::Part { before: true } => false,
        Told::Unknown | Told::Differs => return Err(conflict("the row in suspense has no such refund")),
    };
    let suspense_id = item.trade_no.as_deref().and_then(|trade_no| suspense_of(call, trade_no));
    Ok(Moved { has_moved, suspense_id, ..Moved::default() })
}
