//! What becomes of a refund number, by a backend's word or a gateway's: each ends once.

use super::parts::{self, Part, Status};
use crate::kernel::call::Call;
use crate::kernel::months::{self, Open};
use crate::ledger::{cards, posting, transactions};
use mps_domain::error::{Error, Result, Token};
use mps_domain::tx_no::{self, TxType};
use serde_json::{Value, json};

/// Who says so: a backend, or a callback by its id.
#[derive(Clone, Copy)]
pub struct By<'a> {
    pub event: Option<i64>,
    pub gateway_refund_no: Option<&'a str>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Now,
    /// It was so before.
    Before,
    /// It has ended otherwise.
    Otherwise,
    /// The card cannot hold so much.
    NoRoom,
}

/// The payer has the money. One that the card has again is not taken off it by this: somebody has to look at it. But its source gives less
/// from then on, so the card is written, as by all that changes what it can give.
pub fn paid(call: &Call, open: Open, part: &mut Part, by: By) -> Result<Settled> {
    let (status, action) = match part.status {
        Status::Completed | Status::PaidAfterReturn => return Ok(Settled::Before),
        Status::Processing => (Status::Completed, "withdrawal.completed"),
        Status::Returned => (Status::PaidAfterReturn, "withdrawal.paid_after_return"),
    };
    if part.status == Status::Returned {
        let card = posting::lock_successor(call, open, part.card_type, part.card_id)?;
        cards::touch(call.db, card.card_type, card.id);
    }
    part.status = status;
    part.settled_at = Some(call.at);
    part.gateway_refund_no = by.gateway_refund_no.map(String::from);
    parts::update(call.db, part)?;
    let mut context = json!({ "tx_no": part.tx_no, "amount": part.amount.to_string() });
    if let Some(number) = by.gateway_refund_no {
        context["gateway_refund_no"] = number.into();
    }
    note(call, action, part, context, by.event);
    Ok(Settled::Now)
}

/// It cannot be paid: the card, or the one that took over from it, gets it again, whatever its status is.
pub fn give_back(call: &Call, open: Open, part: &mut Part, reason: &str, event: Option<i64>) -> Result<Settled> {
    match part.status {
        Status::Returned | Status::PaidAfterReturn => return Ok(Settled::Before),
        Status::Completed => return Ok(Settled::Otherwise),
        Status::Processing => {}
    }
    let mut card = posting::lock_successor(call, open, part.card_type, part.card_id)?;
    if card.balance.plus(part.amount).is_none() {
        return Ok(Settled::NoRoom);
    }
    let id = transactions::new_id(call.month)?;
    let mut tx = posting::new_tx(call, id, TxType::Adjustment, &card, part.amount, part.amount);
    tx.merchant_id = merchant_of(call, part)?;
    tx.original_tx_no = Some(part.tx_no.clone());
    tx.reason = Some(reason.into());
    part.status = Status::Returned;
    part.settled_at = Some(call.at);
    part.returned_tx_no = Some(tx.tx_no());
    part.reason = Some(reason.into());
    // Before the movement: a trigger on that which returns it, too, sees that it is.
    parts::update(call.db, part)?;
    posting::post_with(call, &mut card, &mut tx, |tx| {
        transactions::insert_compensation(call.db, tx, &part.tx_no, call.caller.uid, &call.caller.role, reason);
        Ok(())
    })?;
    let context = json!({ "tx_no": part.tx_no, "returned": tx.tx_no(), "reason": reason });
    note(call, "withdrawal.returned", part, context, event);
    Ok(Settled::Now)
}

/// Notes a gateway's word that decides nothing; whether it was new. What asks for somebody is not written over by what does not.
pub fn told(call: &Call, part: &mut Part, state: &str, event: Option<i64>) -> Result<bool> {
    let known = part.gateway_state.as_deref();
    if part.status != Status::Processing || known == Some(state) || known == Some(ABNORMAL) {
        return Ok(false);
    }
    part.gateway_state = Some(state.to_owned());
    parts::update(call.db, part)?;
    note(call, "withdrawal.told", part, json!({ "state": state }), event);
    Ok(true)
}

/// Notes the number that the gateway or the bank has for what was paid without one.
pub fn numbered(call: &Call, part: &mut Part, number: &str) -> Result<()> {
    if part.gateway_refund_no.is_none() {
        part.gateway_refund_no = Some(number.to_owned());
        parts::update(call.db, part)?;
        note(call, "withdrawal.numbered", part, json!({ "gateway_refund_no": number }), None);
    }
    Ok(())
}

/// WeChat's word for a refund that did not reach the payer, and waits for somebody to send it elsewhere.
const ABNORMAL: &str = "ABNORMAL";

/// The shop that the withdrawal was made at.
fn merchant_of(call: &Call, part: &Part) -> Result<Option<i32>> {
    let (_, id) = tx_no::parse(&part.tx_no).ok_or(Token::TxNotFound)?;
    match months::readable(call.db, id.month()) {
        Ok(true) => Ok(transactions::find(call.db, id).and_then(|tx| tx.merchant_id)),
        Ok(false) => Ok(None),
        Err(Error { token: Token::Archived, .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

fn note(call: &Call, action: &str, part: &Part, mut context: Value, event: Option<i64>) {
    if let Some(event) = event {
        context["gateway_event"] = event.into();
    }
    call.audit(action, "withdrawal", &part.refund_no, context);
}
