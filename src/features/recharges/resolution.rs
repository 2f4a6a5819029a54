//! What becomes of money in suspense, by a backend's word or a gateway's.

use super::suspense::{self, Status, Suspense, Word};
use crate::engine::types::Uuid;
use crate::kernel::call::Call;
use crate::kernel::keys::{self, OrderScope, TradeOwner};
use crate::kernel::months::{self, Open};
use crate::ledger::{cards, posting, transactions};
use mps_domain::card::{CardStatus, CardType};
use mps_domain::error::{Error, Result, Token, ensure};
use mps_domain::tx_no::TxType;
use serde_json::json;

/// What may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    Credited,
    Refunded,
    RefundCompleted,
    RefundFailed,
    WrittenOff,
}

impl Resolution {
    pub const ALL: [Resolution; 5] = [
        Resolution::Credited,
        Resolution::Refunded,
        Resolution::RefundCompleted,
        Resolution::RefundFailed,
        Resolution::WrittenOff,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Resolution::Credited => "credited",
            Resolution::Refunded => "refunded",
            Resolution::RefundCompleted => "refund_completed",
            Resolution::RefundFailed => "refund_failed",
            Resolution::WrittenOff => "written_off",
        }
    }

    /// From which state it leads to which.
    const fn step(self) -> (Status, Status) {
        match self {
            Resolution::Credited => (Status::Open, Status::Credited),
            Resolution::Refunded => (Status::Open, Status::Refunding),
            Resolution::RefundCompleted => (Status::Refunding, Status::Refunded),
            Resolution::RefundFailed => (Status::Refunding, Status::Open),
            Resolution::WrittenOff => (Status::Open, Status::WrittenOff),
        }
    }
}

/// What is said of one row.
pub struct Request<'a> {
    pub resolution: Resolution,
    pub note: &'a str,
    /// Which card is credited.
    pub card: Option<Uuid>,
    pub key: Option<&'a str>,
}

/// Says it, once; returns the row and whether it was said before.
pub fn resolve(call: &Call, id: i64, request: &Request) -> Result<(Suspense, bool)> {
    let open = call.open_month()?;
    let not_there = || Error::new(Token::TxNotFound, "there is no such row in suspense");
    let mut kept = suspense::lock(open, id).ok_or_else(not_there)?;
    call.after_waiting()?;
    if let Some(answered) = repetition(call, &kept, request)? {
        kept.out_refund_no = answered;
        return Ok((kept, true));
    }
    let (from, to) = request.resolution.step();
    if kept.status != from {
        return Err(Error::new(
            Token::StatusConflict,
            format!("what is {} does not become {}", kept.status.label(), request.resolution.label()),
        ));
    }
    kept.status = to;
    match request.resolution {
        Resolution::Credited => credit(call, open, &mut kept, request)?,
        Resolution::Refunded => kept.out_refund_no = Some(format!("SR{id}-{}", call.at.0)),
        Resolution::RefundCompleted | Resolution::RefundFailed | Resolution::WrittenOff => {}
    }
    suspense::resolve(
        call.db,
        &mut kept,
        &Word {
            resolution: request.resolution.label(),
            at: call.at,
            actor: call.caller.uid,
            role: &call.caller.role,
            note: request.note,
            key: request.key,
        },
    )?;
    call.audit(
        "suspense.resolved",
        "suspense",
        &id.to_string(),
        json!({
            "status": to.label(),
            "resolution": request.resolution.label(),
            "gateway_trade_no": kept.gateway_trade_no,
            "amount": kept.amount.to_string(),
            "tx_no": kept.credited_tx_no,
            "out_refund_no": kept.out_refund_no,
            "note": request.note,
        }),
    );
    Ok((kept, false))
}

/// Where this was said before, the refund number that it was answered; the status is that of now. The row is the scope of its
/// keys, and remembers each: a late repetition must not send money back a second time.
fn repetition(call: &Call, kept: &Suspense, request: &Request) -> Result<Option<Option<String>>> {
    let word = request.resolution.label();
    let same_card = match request.card {
        Some(card) => credited_card(call, kept)?
            .is_some_and(|(card_type, credited)| posting::succeeds(call, card_type, card, credited)),
        None => true,
    };
    if let Some(key) = request.key {
        let Some(said) = kept.idempotency_keys.0.get(key) else { return Ok(None) };
        ensure(said["resolution"] == word && same_card, Token::IdempotencyKeyReused)?;
        return Ok(Some(said["out_refund_no"].as_str().map(String::from)));
    }
    let is_last = kept.resolution.as_deref() == Some(word) && kept.status == request.resolution.step().1 && same_card;
    Ok(is_last.then(|| kept.out_refund_no.clone()))
}

fn credited_card(call: &Call, kept: &Suspense) -> Result<Option<(CardType, Uuid)>> {
    let Some((_, id)) = kept.credited_tx_no.as_deref().and_then(mps_domain::tx_no::parse) else { return Ok(None) };
    months::readable(call.db, id.month())?;
    Ok(transactions::find(call.db, id).map(|tx| (tx.card_type, tx.card_id)))
}

/// Credits the card that the backend names (or what has taken over from it). As with a confirmation, no limit stops it, because
/// the gateway has the money.
fn credit(call: &Call, open: Open, kept: &mut Suspense, request: &Request) -> Result<()> {
    let named = request.card.expect("given with credited");
    let card_type = [CardType::Personal, CardType::Enterprise]
        .into_iter()
        .find(|card_type| cards::find(call.db, *card_type, named).is_some())
        .ok_or(Token::CardNotFound)?;
    let mut card = posting::lock_successor(call, open, card_type, named)?;
    ensure(card.status != CardStatus::Closed, Token::CardNotActive)?;
    let id = transactions::new_id(call.month)?;
    let mut tx = posting::new_tx(call, id, TxType::Recharge, &card, kept.amount, kept.amount);
    tx.payment_method = kept.payment_method;
    tx.gateway_trade_no = Some(kept.gateway_trade_no.clone());
    tx.reason = Some(request.note.into());
    posting::post(call, &mut card, &mut tx)?;
    let (from, to) = (TradeOwner::Suspense(kept.id).raw(), tx.id.raw());
    let moved = keys::repoint_order(call.db, OrderScope::gateway_trade(), &kept.gateway_trade_no, from, to);
    suspense::moved_once(moved)?;
    kept.credited_tx_no = Some(tx.tx_no());
    Ok(())
}

/// Asks a row's money back: under which number, and whether that was done before.
pub fn send_back(call: &Call, id: i64, note: &str) -> Result<(String, bool)> {
    let request = Request { resolution: Resolution::Refunded, note, card: None, key: None };
    let (kept, replayed) = resolve(call, id, &request)?;
    Ok((kept.out_refund_no.expect("a row that is refunding has one"), replayed))
}

/// Closes a row whose money has gone back at the gateway by itself; `false` where nothing of it is left to be given.
pub fn note_refunded(call: &Call, id: i64, note: &str) -> Result<bool> {
    let open = call.open_month()?;
    let kept = suspense::lock(open, id);
    call.after_waiting()?;
    let Some(mut kept) = kept.filter(|kept| matches!(kept.status, Status::Open | Status::Refunding)) else {
        return Ok(false);
    };
    kept.status = Status::Refunded;
    let (actor, role, resolution) = (call.caller.uid, &call.caller.role, Resolution::RefundCompleted.label());
    suspense::resolve(call.db, &mut kept, &Word { resolution, at: call.at, actor, role, note, key: None })?;
    let context = json!({
        "status": kept.status.label(), "resolution": resolution, "gateway_trade_no": kept.gateway_trade_no,
        "amount": kept.amount.to_string(), "note": note,
    });
    call.audit("suspense.resolved", "suspense", &id.to_string(), context);
    Ok(true)
}
