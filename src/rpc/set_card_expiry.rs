//! `app.set_card_expiry`: when a card expires, or that it does not.

use super::{args, write};
use crate::error::{Token, ensure};
use crate::store::types::{Text, Timestamp, Uuid};
use crate::store::{cards, server};
use mps_domain::card::CardStatus;
use mps_domain::month;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn set_card_expiry(
    p_card_id: Option<Uuid>,
    p_card_type: Option<Text>,
    p_expires_at: Option<Timestamp>,
    p_reason: Option<Text>,
) -> bool {
    write(|call| {
        call.caller.require_backend()?;
        let id = args::required(p_card_id, "p_card_id")?;
        let card_type = args::card_type(p_card_type)?;
        let expires_at = p_expires_at.map(|t| args::moment(t, "p_expires_at")).transpose()?;
        let reason = args::reason(p_reason)?;
        call.open_month()?;

        let mut card = cards::lock(call.db, card_type, id).ok_or(Token::CardNotFound)?;
        call.after_waiting()?;
        ensure(card.status != CardStatus::Closed, Token::StatusConflict)?;
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
