//! `app.set_card_status`: freezes, thaws, reports lost, closes.

use super::statement::visible_card;
use super::user_recharge_personal_card::owner_or_backend;
use super::{Call, args, write};
use crate::error::{Error, Result, Token, ensure};
use crate::store::cards::{self, Card};
use crate::store::transactions;
use crate::store::types::{Text, Uuid};
use mps_domain::card::{CardStatus, CardType};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn set_card_status(
    p_card_id: Option<Uuid>,
    p_card_type: Option<Text>,
    p_status: Option<Text>,
    p_reason: Option<Text>,
) -> bool {
    write(|call| {
        call.caller.client()?;
        let id = args::required(p_card_id, "p_card_id")?;
        let card_type = args::card_type(p_card_type)?;
        match card_type {
            CardType::Personal => owner_or_backend(call, cards::find(call.db, card_type, id))?,
            // Who is bound sees the card, but a company card has no owner who could report it.
            CardType::Enterprise => visible_card(call, card_type, id)?,
        };
        let status = CardStatus::from_label(args::label(p_status, "p_status")?)
            .ok_or_else(|| Error::new(Token::InvalidArgument, "p_status is active, frozen, lost, expired or closed"))?;
        let reason = args::reason(p_reason)?;
        if !call.caller.is_backend && (status != CardStatus::Lost || card_type == CardType::Enterprise) {
            return Err(Error::new(Token::NotAllowed, "only a backend may; an owner may report a personal card lost"));
        }
        call.open_month()?;

        let mut card = cards::lock(call.db, card_type, id).ok_or(Token::CardNotFound)?;
        call.after_waiting()?;
        if card.status == status {
            return Ok(false);
        }
        if !card.status.may_become(status, card_type) {
            return Err(Error::new(
                Token::StatusConflict,
                format!("a card that is {} does not become {}", card.status.label(), status.label()),
            ));
        }
        if status == CardStatus::Closed {
            ensure_empty(call, &card)?;
        }
        change_status(call, &mut card, status, reason)?;
        Ok(true)
    })
}

/// A card is closed without money and without money on its way.
pub(super) fn ensure_empty(call: &Call, card: &Card) -> Result<()> {
    ensure(card.balance.is_zero() && !transactions::has_pending(call.db, card.id), Token::CardNotEmpty)
}

/// Writes the status of a locked card, and the event of it.
pub(super) fn change_status(call: &Call, card: &mut Card, status: CardStatus, reason: &str) -> Result<()> {
    let was = card.status;
    cards::set_status(call.db, card, status)?;
    call.audit(
        "card.status_set",
        "card",
        &card.card_no,
        json!({ "status": status.label(), "was": was.label(), "reason": reason }),
    );
    Ok(())
}
