//! `app.enterprise_add_member`: binds a member to an enterprise card, or sets the role of one that is bound.

use super::ensure_has_admin;
use crate::engine::types::{Text, Uuid};
use crate::kernel::access::admin_or_backend;
use crate::kernel::call::write;
use crate::kernel::{args, members};
use crate::ledger::cards;
use mps_domain::card::{CardStatus, CardType};
use mps_domain::error::{Error, Token, ensure};
use mps_domain::member::{BindRole, MemberStatus};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn enterprise_add_member(p_card_no: Option<Text>, p_member_id: Option<Uuid>, p_role: Option<Text>) -> bool {
    write(|call| {
        call.caller.client()?;
        let card_no = args::card_number(p_card_no, "p_card_no")?;
        let seen = admin_or_backend(call, cards::enterprise_by_no(call.db, &card_no))?;
        let member = args::required(p_member_id, "p_member_id")?;
        let role = BindRole::from_label(args::label_or(p_role, "p_role", "member")?)
            .ok_or_else(|| Error::new(Token::InvalidArgument, "p_role is admin or member"))?;
        let admin = role == BindRole::Admin;
        let open = call.open_month()?;

        let card = cards::lock(open, CardType::Enterprise, seen.id).ok_or(Token::CardNotFound)?;
        // Once more under the lock: the caller may have been removed while it waited.
        call.after_waiting()?;
        let card = admin_or_backend(call, Some(card))?;
        ensure(card.status != CardStatus::Closed, Token::CardNotActive)?;
        let before = members::lock_binding(open, card.id, member);
        if before.as_ref().is_some_and(|b| b.role == role) {
            return Ok(false);
        }
        let admins = members::admin_count(call.db, card.id);
        ensure(admin || admins != 1 || before.as_ref().is_none_or(|b| !b.is_admin()), Token::LastAdmin)?;
        let status = members::status(call.db, member).ok_or(Token::MemberNotFound)?;
        // Who is suspended gets no new rights, but can be made less.
        ensure(status == MemberStatus::Active || (before.is_some() && !admin), Token::MemberNotActive)?;
        cards::touch(call.db, CardType::Enterprise, card.id);
        members::bind(call.db, call.at, card.id, member, role);
        ensure_has_admin(call, card.id, admins)?;
        call.audit(
            "card.member_bound",
            "card",
            &card.card_no,
            json!({ "member_id": member.to_string(), "role": role.label(), "was": before.map(|b| b.role.label()) }),
        );
        Ok(true)
    })
}
