//! `app.enterprise_remove_member`: unbinds a member, by an admin, the member itself or a backend.

use super::ensure_has_admin;
use crate::engine::types::{Text, Uuid};
use crate::kernel::access::admin_or_backend;
use crate::kernel::call::write;
use crate::kernel::{args, members};
use crate::ledger::cards;
use mps_domain::card::CardType;
use mps_domain::error::{Token, ensure};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn enterprise_remove_member(p_card_no: Option<Text>, p_member_id: Option<Uuid>) -> bool {
    write(|call| {
        let user = call.caller.client()?;
        let card_no = args::card_number(p_card_no, "p_card_no")?;
        let member = args::required(p_member_id, "p_member_id")?;
        let leaves_itself = user == Some(member);
        let seen = cards::enterprise_by_no(call.db, &card_no);
        let seen = match seen {
            Some(card) if leaves_itself && members::binding(call.db, card.id, member).is_some() => card,
            other => admin_or_backend(call, other)?,
        };
        let open = call.open_month()?;

        let card = cards::lock(open, CardType::Enterprise, seen.id).ok_or(Token::CardNotFound)?;
        call.after_waiting()?;
        let Some(binding) = members::lock_binding(open, card.id, member) else {
            return Ok(false);
        };
        if !leaves_itself {
            // Once more under the lock: the caller may have been removed while it waited.
            admin_or_backend(
                call,
                Some(cards::find(call.db, CardType::Enterprise, card.id).ok_or(Token::CardNotFound)?),
            )?;
        }
        let admins = members::admin_count(call.db, card.id);
        ensure(admins != 1 || !binding.is_admin(), Token::LastAdmin)?;
        cards::touch(call.db, CardType::Enterprise, card.id);
        members::unbind(call.db, card.id, member);
        ensure_has_admin(call, card.id, admins)?;
        call.audit("card.member_unbound", "card", &card.card_no, json!({ "member_id": member.to_string() }));
        Ok(true)
    })
}
