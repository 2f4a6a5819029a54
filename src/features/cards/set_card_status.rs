//! `app.set_card_status`: freezes, thaws, reports lost, closes.

use super::{change_status, ensure_empty};
use crate::engine::types::{Text, Uuid};
use crate::kernel::access::owner_or_backend;
use crate::kernel::args;
use crate::kernel::call::write;
use crate::ledger::cards;
use mps_domain::card::{CardStatus, CardType};
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;

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
            CardType::Enterprise => cards::visible(call, card_type, id)?,
        };
        let status = CardStatus::from_label(args::label(p_status, "p_status")?)
            .ok_or_else(|| Error::new(Token::InvalidArgument, "p_status is active, frozen, lost, expired or closed"))?;
        let reason = args::reason(p_reason)?;
        if !call.caller.is_backend && (status != CardStatus::Lost || card_type == CardType::Enterprise) {
            return Err(Error::new(Token::NotAllowed, "only a backend may; an owner may report a personal card lost"));
        }
        let open = call.open_month()?;

        let mut card = cards::lock(open, card_type, id).ok_or(Token::CardNotFound)?;
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
