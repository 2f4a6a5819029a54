//! `app.adjust_points`: points by hand; the level follows.

use crate::engine::types::{Text, Uuid};
use crate::kernel::call::{Call, write};
use crate::kernel::keys::{self, Claim, Scope};
use crate::kernel::{args, months};
use crate::ledger::posting::post_points;
use crate::ledger::{cards, points};
use mps_domain::card::{CardStatus, CardType};
use mps_domain::error::{Error, Result, Token, ensure};
use mps_domain::tx_no::TxId;
use pgrx::prelude::*;
use serde_json::json;

/// As much as anybody could mean, and far from where a sum could overflow.
const MAX_CHANGE: i64 = 1_000_000_000_000;

#[pg_extern(sql = false)]
fn adjust_points(
    p_card_id: Option<Uuid>,
    p_change: Option<i64>,
    p_reason: Option<Text>,
    p_idempotency_key: Option<Text>,
) -> TableIterator<'static, (name!(points, i64), name!(level, i32))> {
    let after = write(|call| {
        call.caller.require_backend()?;
        let id = args::required(p_card_id, "p_card_id")?;
        let seen = cards::find(call.db, CardType::Personal, id).ok_or(Token::CardNotFound)?;
        let change = args::required(p_change, "p_change")?;
        if change == 0 || change.unsigned_abs() > MAX_CHANGE.unsigned_abs() {
            return Err(Error::new(Token::InvalidArgument, format!("p_change is 1 to {MAX_CHANGE}, either sign")));
        }
        let reason = args::reason(p_reason)?;
        let key = args::optional_key(p_idempotency_key, "p_idempotency_key")?;
        let scope = Scope::points(&seen.card_no);

        // The line of the ledger is not known before the card is locked: the key is taken first and pointed to it later.
        if let Some(key) = key
            && let Claim::Known(known) = keys::claim_key(call.db, scope, key, TxId::floor(call.month))
        {
            call.after_waiting()?;
            let (was, points, level) = recorded(call, id, known)?;
            ensure(was == change, Token::IdempotencyKeyReused)?;
            return Ok((points, level));
        }
        let open = call.open_month()?;

        let mut card = cards::lock(open, CardType::Personal, id).ok_or(Token::CardNotFound)?;
        call.after_waiting()?;
        ensure(card.status != CardStatus::Closed, Token::CardNotActive)?;
        let level = post_points(call, &mut card, change, None, Some(reason))?;
        if let Some(key) = key {
            let entry = TxId::new(call.month, card.point_seq)
                .ok_or_else(|| Error::new(Token::StatusConflict, "the card has too many changes of points"))?;
            keys::repoint_key(call.db, scope, key, entry.raw());
        }
        let mut context =
            json!({ "change": change, "points": card.points, "point_seq": card.point_seq, "reason": reason });
        if let Some(level) = level {
            context["level"] = level.into();
        }
        call.audit("points.adjusted", "card", &card.card_no, context);
        Ok((card.points, card.level))
    });
    TableIterator::once((after.0, i32::from(after.1)))
}

/// Change, points and level of the line that a key points to: its month and its number, packed as a transaction's id.
fn recorded(call: &Call, card: Uuid, known: i64) -> Result<(i64, i64, i16)> {
    // A trigger of the shop's that asks again in the middle of the first request: there is no answer yet.
    let entry = TxId::from_raw(known)
        .ok_or_else(|| Error::new(Token::StatusConflict, "the request with this key is not over yet"))?;
    months::readable(call.db, entry.month())?;
    points::find(call.db, entry.month(), card, entry.raw() - TxId::floor(entry.month()))
        .ok_or_else(|| Error::new(Token::TxNotFound, "the entry that a key points to is not there"))
}
