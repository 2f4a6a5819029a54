//! `app.set_member_status`: suspends, restores, closes a member.

use crate::engine::types::{Text, Uuid};
use crate::features::cards::{change_status, ensure_empty};
use crate::kernel::call::write;
use crate::kernel::{args, members};
use crate::ledger::cards;
use mps_domain::card::{CardStatus, CardType};
use mps_domain::error::{Error, Token};
use mps_domain::member::MemberStatus;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn set_member_status(p_member_id: Option<Uuid>, p_status: Option<Text>, p_reason: Option<Text>) -> bool {
    write(|call| {
        call.caller.require_backend()?;
        let id = args::required(p_member_id, "p_member_id")?;
        let status = MemberStatus::from_label(args::label(p_status, "p_status")?)
            .ok_or_else(|| Error::new(Token::InvalidArgument, "p_status is active, suspended or closed"))?;
        let reason = args::reason(p_reason)?;
        let open = call.open_month()?;
        // No card of the member is replaced, and none is issued to it, while this is held.
        let mut member = members::lock(open, id).ok_or(Token::MemberNotFound)?;

        // Every card the member pays with, by id: a charge in flight is over before the status changes, and the next one
        // reads the new status under the same lock.
        let mut payable = vec![];
        payable.extend(cards::personal_of(call.db, id).map(|c| (c.id, CardType::Personal)));
        payable.extend(members::bound_cards(call.db, id).into_iter().map(|c| (c, CardType::Enterprise)));
        payable.sort_unstable_by_key(|(id, _)| *id.as_bytes());
        let mut personal = None;
        for &(card_id, card_type) in &payable {
            let card = cards::lock(open, card_type, card_id);
            if card_type == CardType::Personal {
                personal = card;
            }
        }

        call.after_waiting()?;
        let before = member.status;
        if before == status {
            return Ok(false);
        }
        if before == MemberStatus::Closed {
            return Err(Error::new(Token::StatusConflict, "the member is closed, which is final"));
        }
        let open_card = personal.filter(|c| status == MemberStatus::Closed && c.status != CardStatus::Closed);
        if let Some(mut card) = open_card {
            ensure_empty(call, &card)?;
            change_status(call, &mut card, CardStatus::Closed, reason)?;
        }
        // A charge reads card and member without a lock, or on an older snapshot: it must find the card changed, and look
        // again or fail to serialise.
        for (card_id, card_type) in payable {
            cards::touch(call.db, card_type, card_id);
        }
        members::set_status(call.db, &mut member, status)?;
        call.audit(
            "member.status_set",
            "member",
            &member.member_no,
            json!({ "status": status.label(), "was": before.label(), "reason": reason }),
        );
        Ok(true)
    })
}
