//! `app.replace_card`: a lost personal card goes, a new one takes over balance, points and level.

use crate::engine::server;
use crate::engine::types::{Text, Uuid};
use crate::kernel::call::{Call, write};
use crate::kernel::months::Open;
use crate::kernel::{args, members};
use crate::ledger::cards::{self, Card};
use crate::ledger::{posting, transactions};
use mps_domain::bucket;
use mps_domain::bucket::Bucket;
use mps_domain::card::{CardStatus, CardType};
use mps_domain::error::{Error, Result, Token};
use mps_domain::month;
use mps_domain::tier::level_for;
use mps_domain::tx_no::TxType;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn replace_card(
    p_card_id: Option<Uuid>,
    p_reason: Option<Text>,
) -> TableIterator<'static, (name!(card_id, Uuid), name!(card_no, String))> {
    let issued = write(|call| {
        call.caller.require_backend()?;
        let id = args::required(p_card_id, "p_card_id")?;
        let reason = args::reason(p_reason)?;
        // The member's lock first: closing the member must not miss the new card.
        let seen = cards::find(call.db, CardType::Personal, id).ok_or(Token::CardNotFound)?;
        let open = call.open_month()?;
        members::lock(open, seen.member_id.expect("personal cards have a member"));

        let mut old = cards::lock(open, CardType::Personal, id).ok_or(Token::CardNotFound)?;
        call.after_waiting()?;
        if let Some(next) = old.replaced_by {
            let known = cards::find(call.db, CardType::Personal, next).ok_or(Token::CardNotFound)?;
            return Ok((known.id, known.card_no));
        }
        if old.status != CardStatus::Lost {
            return Err(Error::new(
                Token::StatusConflict,
                format!("a card is replaced when it is lost; this one is {}", old.status.label()),
            ));
        }
        let member = old.member_id.expect("personal cards have a member");
        // A card of before there were buckets gives its member's.
        let bucket = bucket::of_card(id.as_bytes()).unwrap_or_else(|| Bucket::of_member(member.as_bytes()));
        let new_id = server::successor_id(call.at, bucket, id);
        // The old card is closed first: a member has one open card.
        cards::set_status(call.db, &mut old, CardStatus::Closed)?;
        let new_no = cards::create_personal(
            call.db,
            call.at,
            new_id,
            member,
            old.expires_at,
            level_for(&call.config().levels, 0),
        );
        // Read anew: triggers on either card may have moved what is on it.
        let mut old = cards::lock(open, CardType::Personal, id).ok_or(Token::CardNotFound)?;
        cards::set_replaced(call.db, &mut old, new_id)?;
        let (balance, points) = (old.balance, old.points);
        let (out_no, into_no) = take_over(call, open, &mut old, new_id, reason)?;
        let new = cards::find(call.db, CardType::Personal, new_id).ok_or(Token::CardNotFound)?;
        call.audit(
            "card.replaced",
            "card",
            &old.card_no,
            json!({
                "by": new_no, "card_id": new_id.to_string(), "member_id": member.to_string(),
                "expires_at": old.expires_at.map(|t| month::iso(t.0)),
                "balance": balance.to_string(), "points": points, "out": out_no, "into": into_no,
                "level": new.noted_level(), "old_level": old.noted_level(), "reason": reason,
            }),
        );
        Ok((new_id, new_no))
    });
    TableIterator::once(issued)
}

/// The linked pair of adjustments, and the points with them. Nothing moves on the old card from now on but this; the new one
/// takes what was sent after the old one, by triggers too, and is read anew each time.
/// Returns the numbers of the pair.
fn take_over(
    call: &Call,
    open: Open,
    from: &mut Card,
    new_id: Uuid,
    reason: &str,
) -> Result<(Option<String>, Option<String>)> {
    let new_card = || cards::lock(open, CardType::Personal, new_id).ok_or(Token::CardNotFound);
    let (balance, points) = (from.balance, from.points);
    let (mut out_no, mut into_no) = (None, None);
    if !balance.is_zero() {
        let (out_id, into_id) = (transactions::new_id(call.month)?, transactions::new_id(call.month)?);
        let mut out = posting::new_tx(call, out_id, TxType::Adjustment, from, balance.negated(), balance.negated());
        let mut into = posting::new_tx(call, into_id, TxType::Adjustment, &new_card()?, balance, balance);
        (out_no, into_no) = (Some(out.tx_no()), Some(into.tx_no()));
        (out.original_tx_no, into.original_tx_no) = (into_no.clone(), out_no.clone());
        (out.reason, into.reason) = (Some(reason.into()), Some(reason.into()));
        posting::post(call, from, &mut out)?;
        posting::post(call, &mut new_card()?, &mut into)?;
    }
    if points != 0 {
        posting::post_points(call, from, -points, out_no.as_deref(), Some(reason))?;
        posting::post_points(call, &mut new_card()?, points, into_no.as_deref(), Some(reason))?;
    }
    Ok((out_no, into_no))
}
