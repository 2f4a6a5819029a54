//! `app.replace_card`: a lost personal card goes, a new one takes over balance, points and level.

use super::{Call, args, books, write};
use crate::error::{Error, Result, Token};
use crate::store::cards::{self, Card};
use crate::store::types::{Text, Uuid};
use crate::store::{members, server, transactions};
use mps_domain::card::{CardStatus, CardType};
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
        call.open_month()?;
        members::lock(call.db, seen.member_id.expect("personal cards have a member"));

        let old = cards::lock(call.db, CardType::Personal, id).ok_or(Token::CardNotFound)?;
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
        let new_id = server::new_id(call.at);
        // The old card is closed first: a member has one open card.
        cards::set_status(call.db, CardType::Personal, old.id, CardStatus::Closed);
        let new_no = cards::create_personal(
            call.db,
            call.at,
            new_id,
            member,
            old.expires_at,
            level_for(&call.config().levels, 0),
        );
        cards::set_replaced(call.db, old.id, new_id);
        take_over(call, &old, new_id, reason)?;
        call.audit(
            "card.replaced",
            "card",
            &old.card_no,
            json!({ "by": new_no, "balance": old.balance.to_string(), "points": old.points, "reason": reason }),
        );
        Ok((new_id, new_no))
    });
    TableIterator::once(issued)
}

/// The linked pair of adjustments, and the points with them.
fn take_over(call: &Call, old: &Card, new_id: Uuid, reason: &str) -> Result<()> {
    let mut from = cards::lock(call.db, CardType::Personal, old.id).ok_or(Token::CardNotFound)?;
    let mut to = cards::lock(call.db, CardType::Personal, new_id).ok_or(Token::CardNotFound)?;
    let (balance, points) = (from.balance, from.points);
    let (mut out_no, mut into_no) = (None, None);
    if !balance.is_zero() {
        let (out_id, into_id) = (transactions::new_id(call.month), transactions::new_id(call.month));
        let mut out = books::new_tx(call, out_id, TxType::Adjustment, &from, balance.negated(), balance.negated());
        let mut into = books::new_tx(call, into_id, TxType::Adjustment, &to, balance, balance);
        (out_no, into_no) = (Some(out.tx_no()), Some(into.tx_no()));
        out.original_tx_no = into_no.clone();
        into.original_tx_no = out_no.clone();
        for (card, tx) in [(&mut from, &mut out), (&mut to, &mut into)] {
            tx.reason = Some(reason.into());
            books::post(call, card, tx)?;
        }
    }
    if points != 0 {
        books::post_points(call, &mut from, -points, out_no.as_deref(), Some(reason))?;
        books::post_points(call, &mut to, points, into_no.as_deref(), Some(reason))?;
    }
    Ok(())
}
