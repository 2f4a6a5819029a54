//! `app.replace_card`: a lost personal card goes, a new one takes over balance, points and level.

use super::{args, books, write};
use crate::error::{Error, Token};
use crate::store::types::Uuid;
use crate::store::{cards, server};
use mps_domain::card::{CardStatus, CardType};
use mps_domain::tier::level_for;
use mps_domain::tx_no::TxType;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn replace_card(
    p_card_id: Option<Uuid>,
    p_reason: Option<&str>,
) -> TableIterator<'static, (name!(card_id, Uuid), name!(card_no, String))> {
    let issued = write(|call| {
        call.caller.require_backend()?;
        let id = args::required(p_card_id, "p_card_id")?;
        let reason = args::reason(p_reason)?;
        call.open_month()?;

        let mut old = cards::lock(call.db, CardType::Personal, id).ok_or(Token::CardNotFound)?;
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
        close_old(call, &mut old)?;
        let new_no =
            cards::create_personal(call.db, call.at, new_id, member, old.expires_at, level_for(&call.config.levels, 0));
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

/// Makes room for the member's next open card.
fn close_old(call: &super::Call, old: &mut cards::Card) -> crate::error::Result<()> {
    cards::set_status(call.db, CardType::Personal, old.id, CardStatus::Closed);
    Ok(())
}

/// The linked pair of adjustments, and the points with them.
fn take_over(call: &super::Call, old: &cards::Card, new_id: Uuid, reason: &str) -> crate::error::Result<()> {
    let mut from = cards::lock(call.db, CardType::Personal, old.id).ok_or(Token::CardNotFound)?;
    let mut to = cards::lock(call.db, CardType::Personal, new_id).ok_or(Token::CardNotFound)?;
    let (balance, points) = (from.balance, from.points);
    let mut pair = (!balance.is_zero()).then(|| {
        let mut out = books::new_tx(call, TxType::Adjustment, &from, balance.negated(), balance.negated());
        let mut into = books::new_tx(call, TxType::Adjustment, &to, balance, balance);
        out.original_tx_no = Some(into.tx_no());
        into.original_tx_no = Some(out.tx_no());
        for tx in [&mut out, &mut into] {
            tx.reason = Some(reason.into());
        }
        (out, into)
    });
    let tx_nos = pair.as_ref().map(|(out, into)| (out.tx_no(), into.tx_no()));
    if points != 0 {
        books::move_points(call, &mut from, -points, tx_nos.as_ref().map(|t| t.0.as_str()), Some(reason))?;
        books::move_points(call, &mut to, points, tx_nos.as_ref().map(|t| t.1.as_str()), Some(reason))?;
    }
    match &mut pair {
        Some((out, into)) => {
            books::post(call, &mut from, out, true)?;
            books::post(call, &mut to, into, false)?;
        }
        None => {
            for card in [&mut from, &mut to] {
                books::settle_level(call, card);
                cards::save(call.db, card, false);
            }
        }
    }
    Ok(())
}
