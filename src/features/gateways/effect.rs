//! What a notice does to the books.

use super::config::Provider;
use super::told::{Notice, RefundState, Told};
use crate::engine::types::RawJsonb;
use crate::features::recharges::{self, Arrival, Ended, Order, Payment, Refund, Why};
use crate::features::withdrawals::{self, Amount, Settled, State};
use crate::kernel::call::Call;
use crate::kernel::keys::{self, OrderScope, TradeOwner};
use mps_domain::error::Result;
use mps_domain::money::Money;
use mps_domain::tx_no::{TxId, TxStatus, TxType};
use serde_json::json;

/// What became of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Credited,
    Replayed,
    Suspense,
    Conflict,
    Failed,
    Noted,
    Refused,
}

impl Outcome {
    pub const fn label(self) -> &'static str {
        match self {
            Outcome::Credited => "credited",
            Outcome::Replayed => "replayed",
            Outcome::Suspense => "suspense",
            Outcome::Conflict => "conflict",
            Outcome::Failed => "failed",
            Outcome::Noted => "noted",
            Outcome::Refused => "refused",
        }
    }
}

/// An outcome, why, and the transaction that it is about.
pub struct Effect {
    pub outcome: Outcome,
    pub reason: Option<String>,
    pub tx_no: Option<String>,
}

impl Effect {
    fn of(outcome: Outcome, reason: impl Into<Option<&'static str>>, tx_no: Option<String>) -> Effect {
        Effect { outcome, reason: reason.into().map(str::to_owned), tx_no }
    }

    /// Some of what is in suspense went back.
    fn in_part(is_known: bool) -> Effect {
        let outcome = if is_known { Outcome::Replayed } else { Outcome::Noted };
        Effect::of(outcome, recharges::PARTLY_REFUNDED, None)
    }

    /// The money is in suspense since an earlier word of it.
    fn in_suspense_before(tx_no: Option<String>) -> Effect {
        Effect::of(Outcome::Replayed, "suspense", tx_no)
    }
}

/// Does what the notice tells of. What cannot be credited goes into suspense; nothing of this is an error of the gateway's.
pub fn apply(call: &Call, account: &str, provider: Provider, event_id: i64, notice: &Notice) -> Result<Effect> {
    let about = About { call, provider, notice, event_id: Some(event_id), payload: payload(account, event_id, notice) };
    match &notice.told {
        Told::Paid => about.paid(),
        Told::PaidAndRefunded { left, out_refund_no } => about.refunded(*left, out_refund_no.as_deref()),
        Told::Unpaid(state) => about.unpaid(state),
        Told::Refund { out_refund_no, how } => about.refund(out_refund_no, how),
        Told::Nothing(state) => {
            Ok(Effect { outcome: Outcome::Noted, reason: Some(state.to_ascii_lowercase()), tx_no: None })
        }
    }
}

/// What the log and a row of suspense keep of it: enough to find the event, and what the payer paid.
fn payload(account: &str, event_id: i64, notice: &Notice) -> RawJsonb {
    let mut kept = json!({ "gateway_account": account, "gateway_event": event_id });
    if let Some(out_trade_no) = &notice.out_trade_no {
        kept["out_trade_no"] = out_trade_no.as_str().into();
    }
    if let Some(amount) = notice.payer_amount.filter(|amount| Some(*amount) != notice.amount) {
        kept["payer_amount"] = amount.to_string().into();
    }
    RawJsonb::parse(&kept.to_string())
}

/// A payment as a bill has it.
pub struct OfABill<'a> {
    pub account: &'a str,
    pub provider: Provider,
    pub amount: Money,
    pub trade_no: &'a str,
    pub order_no: Option<&'a str>,
    pub bill_date: &'a str,
    pub line: i64,
}

/// Does what a callback of it would do.
pub fn pay(call: &Call, paid: &OfABill) -> Result<Effect> {
    let notice = Notice {
        event_key: String::new(),
        key_id: String::new(),
        trade_no: Some(paid.trade_no.to_owned()),
        out_trade_no: paid.order_no.map(str::to_owned),
        amount: Some(paid.amount),
        happened_at: None,
        payer_amount: None,
        told: Told::Paid,
    };
    let payload = payload_of_a_bill(paid.account, paid.bill_date, paid.line);
    About { call, provider: paid.provider, notice: &notice, event_id: None, payload }.paid()
}

/// What the log and a row of suspense keep of it.
pub fn payload_of_a_bill(account: &str, bill_date: &str, line: i64) -> RawJsonb {
    let kept = json!({ "gateway_account": account, "bill_date": bill_date, "bill_line": line });
    RawJsonb::parse(&kept.to_string())
}

/// The number of the recharge that an order names, where it names one alone.
fn the_one(named: &[TxId]) -> Option<String> {
    match named {
        [id] => Some(id.number_for(TxType::Recharge)),
        _ => None,
    }
}

struct About<'a> {
    call: &'a Call<'a>,
    provider: Provider,
    notice: &'a Notice,
    event_id: Option<i64>,
    payload: RawJsonb,
}

impl About<'_> {
    fn order(&self) -> Result<Order> {
        match self.notice.out_trade_no.as_deref() {
            Some(order) => recharges::find_order(self.call, order),
            None => Ok(Order::Unknown),
        }
    }

    fn trade_no(&self) -> &str {
        self.notice.trade_no.as_deref().expect("what was paid has a trade number")
    }

    fn payment(&self, amount: Money) -> Payment<'_> {
        let method = Some(self.provider.method());
        Payment { amount, trade_no: self.trade_no(), payload: self.payload.clone(), event: self.event_id, method }
    }

    fn paid(&self) -> Result<Effect> {
        let payment = self.payment(self.notice.amount.expect("what was paid has an amount"));
        let tx = match self.order()? {
            Order::Recharge(tx) => tx,
            Order::Archived(id) => return self.unowned(&payment, &[id], recharges::ARCHIVED),
            Order::Unknown => return self.unowned(&payment, &[], recharges::ORDER_UNKNOWN),
            Order::Ambiguous(ids) => return self.unowned(&payment, &ids, recharges::ORDER_AMBIGUOUS),
        };
        let tx_no = Some(tx.tx_no());
        let (tx, in_suspense, why) = match recharges::arrive(self.call, *tx, &payment)? {
            Arrival::Credited(_) => return Ok(Effect::of(Outcome::Credited, None, tx_no)),
            Arrival::Known(_) => return Ok(Effect::of(Outcome::Replayed, None, tx_no)),
            Arrival::Suspended { replayed: true, .. } => return Ok(Effect::in_suspense_before(tx_no)),
            Arrival::Suspended { .. } => return Ok(Effect::of(Outcome::Suspense, recharges::ALREADY_SETTLED, tx_no)),
            Arrival::Refused { tx, in_suspense, why } => (tx, in_suspense, why),
        };
        let reason = match why {
            Why::Amount(..) if recharges::is_number_of(&tx, payment.trade_no) => {
                return Ok(Effect::of(Outcome::Conflict, recharges::AMOUNT_DIFFERS, tx_no));
            }
            Why::Elsewhere(_) => {
                let owner = keys::order_owner(self.call.db, OrderScope::gateway_trade(), payment.trade_no);
                return self.owned(owner.map(TradeOwner::of), &[tx.id]);
            }
            Why::Decided(_) => return Ok(Effect::in_suspense_before(tx_no)),
            Why::Amount(..) => recharges::AMOUNT_DIFFERS,
            Why::NoRoom => recharges::BALANCE_LIMIT,
        };
        if in_suspense {
            return Ok(Effect::in_suspense_before(tx_no));
        }
        recharges::suspend(self.call, &tx, &payment, reason)?;
        Ok(Effect::of(Outcome::Suspense, reason, tx_no))
    }

    /// Money whose recharge cannot be had; its order names these.
    fn unowned(&self, payment: &Payment, named: &[TxId], reason: &'static str) -> Result<Effect> {
        let (method, tx_no) = (self.provider.method(), the_one(named));
        match recharges::suspend_unclaimed(self.call, tx_no.as_deref(), method, payment, reason)? {
            Ok(_) => Ok(Effect::of(Outcome::Suspense, reason, tx_no)),
            Err(owner) => self.owned(Some(owner), named),
        }
    }

    /// A trade number that belonged to something before this word of it, whose order names these.
    fn owned(&self, owner: Option<TradeOwner>, named: &[TxId]) -> Result<Effect> {
        let Some(TradeOwner::Recharge(id)) = owner else { return Ok(Effect::in_suspense_before(the_one(named))) };
        let taken = Effect::of(Outcome::Conflict, "trade_no_taken", the_one(named));
        let Some(id) = TxId::from_raw(id) else { return Ok(taken) };
        let has_it = Some(id.number_for(TxType::Recharge));
        if named == [id] {
            return Ok(Effect::of(Outcome::Replayed, None, has_it));
        }
        // Somebody has credited it out of suspense, where an earlier word of it had put it.
        if recharges::credited_by(self.call.db, self.trade_no()) == has_it {
            return Ok(Effect::of(Outcome::Replayed, "suspense", has_it));
        }
        if !named.is_empty() && !named.contains(&id) {
            return Ok(taken);
        }
        // The shop calls its order by a name that is not known here, and a backend has told whose the payment is.
        Ok(match recharges::order_of(self.call, id)? {
            Order::Recharge(tx) if Some(tx.final_amount) != self.notice.amount => {
                Effect::of(Outcome::Conflict, recharges::AMOUNT_DIFFERS, has_it)
            }
            // The amount of what is archived is not to be had.
            Order::Recharge(_) | Order::Archived(_) => Effect::of(Outcome::Replayed, None, has_it),
            Order::Unknown | Order::Ambiguous(_) => taken,
        })
    }

    /// A payment of which some or all went back at the gateway.
    fn refunded(&self, left: Option<Money>, out_refund_no: Option<&str>) -> Result<Effect> {
        let total = self.notice.amount.expect("what was paid has an amount");
        let owner = keys::order_owner(self.call.db, OrderScope::gateway_trade(), self.trade_no());
        let all_went = left == Some(Money::ZERO);
        if let (Some(number), Some(went)) = (out_refund_no, left.and_then(|left| total.minus(left)))
            && let Some(effect) = self.withdrawal(number, Amount::SoFar(went), State::WentBack)?
        {
            return Ok(effect);
        }
        if let Some(owner) = owner {
            return self.refunded_later(TradeOwner::of(owner), left, out_refund_no);
        }
        let named = match self.order()? {
            // The card has that money: none of it waits to be given.
            Order::Recharge(tx) if !all_went && recharges::has(&tx, &self.payment(total)) => {
                return Ok(Effect { reason: Some(recharges::PARTLY_REFUNDED.into()), ..self.paid()? });
            }
            Order::Recharge(tx) => vec![tx.id],
            Order::Archived(id) => vec![id],
            Order::Ambiguous(ids) => ids,
            Order::Unknown => vec![],
        };
        let payment = self.payment(if all_went { total } else { left.unwrap_or(total) });
        if !all_went {
            return self.unowned(&payment, &named, recharges::PARTLY_REFUNDED);
        }
        // Kept and closed, so that a word of the payment that comes after this one credits nothing.
        let (method, tx_no) = (self.provider.method(), the_one(&named));
        match recharges::suspend_unclaimed(self.call, tx_no.as_deref(), method, &payment, recharges::REFUNDED)? {
            Ok(id) => {
                recharges::note_refunded(self.call, id, "refunded at the gateway before its payment was told of")?;
                Ok(Effect::of(Outcome::Noted, recharges::REFUNDED, tx_no))
            }
            // A word of the payment came at the same instant.
            Err(owner) => self.refunded_later(owner, left, out_refund_no),
        }
    }

    /// Of a payment that is in the books, and of which so much is `left`, where that is said.
    fn refunded_later(&self, owner: TradeOwner, left: Option<Money>, out_refund_no: Option<&str>) -> Result<Effect> {
        let not_asked = Effect::of(Outcome::Noted, "refund_not_asked", None);
        if left != Some(Money::ZERO) {
            let (TradeOwner::Suspense(id), Some(left)) = (owner, left) else { return Ok(not_asked) };
            let noted = recharges::note_part(self.call, id, &recharges::Part::Left(left))?;
            return Ok(noted.map_or(not_asked, |is_new| Effect::in_part(!is_new)));
        }
        if let Some(number) = out_refund_no {
            let told = self.refund_of(number, None, true)?;
            if told.reason != not_asked.reason {
                return Ok(told);
            }
        }
        if let TradeOwner::Suspense(id) = owner
            && recharges::note_refunded(self.call, id, "refunded at the gateway")?
        {
            return Ok(Effect::of(Outcome::Noted, recharges::REFUNDED, None));
        }
        Ok(not_asked)
    }

    fn unpaid(&self, state: &str) -> Result<Effect> {
        let tx = match self.order()? {
            Order::Recharge(tx) => tx,
            Order::Archived(_) => return Ok(Effect::of(Outcome::Noted, recharges::ARCHIVED, None)),
            Order::Unknown => return Ok(Effect::of(Outcome::Noted, recharges::ORDER_UNKNOWN, None)),
            Order::Ambiguous(_) => return Ok(Effect::of(Outcome::Noted, recharges::ORDER_AMBIGUOUS, None)),
        };
        let tx_no = Some(tx.tx_no());
        // The other gateway may be paid for it still.
        if tx.payment_method != self.provider.method() {
            return Ok(Effect::of(Outcome::Noted, "other_method", tx_no));
        }
        Ok(match recharges::fail(self.call, tx.id, state)? {
            Ended::Now(_) => {
                let reason = Some(state.to_ascii_lowercase());
                Effect { outcome: Outcome::Failed, reason, tx_no }
            }
            Ended::Before(_) => Effect::of(Outcome::Replayed, None, tx_no),
            Ended::Not(tx) if tx.status == TxStatus::Cancelled => Effect::of(Outcome::Noted, "cancelled", tx_no),
            Ended::Not(_) => Effect::of(Outcome::Noted, recharges::ALREADY_SETTLED, tx_no),
        })
    }

    fn refund(&self, out_refund_no: &str, how: &RefundState) -> Result<Effect> {
        let amount = self.notice.amount.expect("a refund has an amount");
        let state = match how {
            RefundState::WentBack => State::WentBack,
            RefundState::Returned => State::Returned,
            RefundState::Pending(state) => State::Pending(state),
        };
        if let Some(effect) = self.withdrawal(out_refund_no, Amount::Of(amount), state)? {
            return Ok(effect);
        }
        match how {
            RefundState::WentBack => self.refund_of(out_refund_no, Some(amount), true),
            RefundState::Returned => self.refund_of(out_refund_no, Some(amount), false),
            RefundState::Pending(state) => {
                let reason = Some(format!("refund_{}", state.to_ascii_lowercase()));
                Ok(Effect { outcome: Outcome::Noted, reason, tx_no: None })
            }
        }
    }

    /// A refund that a withdrawal asked for.
    fn withdrawal(&self, refund_no: &str, amount: Amount, state: State) -> Result<Option<Effect>> {
        let trade_no = self.notice.trade_no.as_deref();
        let refund = withdrawals::Refund { refund_no, trade_no, amount, state, event: self.event_id };
        let Some(told) = withdrawals::refund_told(self.call, &refund)? else { return Ok(None) };
        let done = match state {
            State::WentBack if told.was_paid_after_return => "paid_after_return".to_owned(),
            State::WentBack => "refund_completed".to_owned(),
            State::Returned => "refund_returned".to_owned(),
            State::Pending(state) => format!("refund_{}", state.to_ascii_lowercase()),
        };
        let (outcome, reason) = match told.settled {
            Settled::Now => (Outcome::Noted, done),
            Settled::Before => (Outcome::Replayed, done),
            Settled::Otherwise => (Outcome::Conflict, "refund_differs".to_owned()),
            Settled::NoRoom => (Outcome::Conflict, recharges::BALANCE_LIMIT.to_owned()),
        };
        Ok(Some(Effect { outcome, reason: Some(reason), tx_no: Some(told.tx_no) }))
    }

    fn refund_of(&self, out_refund_no: &str, amount: Option<Money>, went_back: bool) -> Result<Effect> {
        let refund = Refund { out_refund_no, trade_no: self.notice.trade_no.as_deref(), amount, went_back };
        let done = if went_back { "refund_completed" } else { "refund_returned" };
        Ok(match recharges::refund_told(self.call, &refund)? {
            recharges::Told::Done => Effect::of(Outcome::Noted, done, None),
            recharges::Told::Before => Effect::of(Outcome::Replayed, done, None),
            recharges::Told::Unknown => Effect::of(Outcome::Noted, "refund_not_asked", None),
            recharges::Told::Part { before } => Effect::in_part(before),
            recharges::Told::Differs => Effect::of(Outcome::Conflict, "refund_differs", None),
        })
    }
}
