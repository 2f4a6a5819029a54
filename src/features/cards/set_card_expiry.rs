//! `app.set_card_expiry`: when a card expires, or that it does not.

use crate::engine::server;
use crate::engine::types::{Day, Text, Timestamp, Uuid};
use crate::kernel::call::write;
use crate::kernel::{args, settings};
use crate::ledger::cards;
use mps_domain::card::CardStatus;
use mps_domain::error::{Error, Token, invalid};
use mps_domain::month;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn set_card_expiry_v3(
    p_card_id: Option<Uuid>,
    p_card_type: Option<Text>,
    p_expires_at: Option<Timestamp>,
    p_reason: Option<Text>,
    p_expires_on: Option<Day>,
) -> bool {
    write(|call| {
        call.caller.require_backend()?;
        let id = args::required(p_card_id, "p_card_id")?;
        let card_type = args::card_type(p_card_type)?;
        let expires_at = match (p_expires_at, p_expires_on) {
            (Some(_), Some(_)) => {
                return Err(invalid("p_expires_at and p_expires_on", "are two ways to say when: give one"));
            }
            (at, None) => at.map(|t| args::moment(t, "p_expires_at")).transpose()?,
            (None, Some(day)) => Some(settings::end_of_business_day(call.db, args::day(day, "p_expires_on")?)),
        };
        let reason = args::reason(p_reason)?;
        let open = call.open_month()?;

        let mut card = cards::lock(open, card_type, id).ok_or(Token::CardNotFound)?;
        call.after_waiting()?;
        if card.status == CardStatus::Closed {
            return Err(Error::new(Token::StatusConflict, "the card is closed, which is final"));
        }
        let has_passed = expires_at.is_some_and(|t| t <= server::now());
        let status = match card.status {
            CardStatus::Expired if !has_passed => CardStatus::Active,
            CardStatus::Active if has_passed => CardStatus::Expired,
            other => other,
        };
        let (was, expired_at) = (card.status, card.expires_at);
        if expired_at == expires_at && was == status {
            return Ok(false);
        }
        cards::set_expiry(call.db, &mut card, expires_at, status)?;
        call.audit(
            "card.expiry_set",
            "card",
            &card.card_no,
            json!({
                "status": status.label(),
                "was": was.label(),
                "expires_at": expires_at.map(|t| month::iso(t.0)),
                "expired_at": expired_at.map(|t| month::iso(t.0)),
                "reason": reason,
            }),
        );
        Ok(true)
    })
}
