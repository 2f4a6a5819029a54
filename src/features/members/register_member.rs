//! `app.register_member`: a member and its personal card, once.

use crate::engine::db::kept_from_being_written;
use crate::engine::server;
use crate::engine::types::{Text, Uuid};
use crate::kernel::args::{self, Given};
use crate::kernel::call::{Call, write};
use crate::kernel::caller;
use crate::kernel::members::{self, NewMember};
use crate::ledger::cards;
use mps_domain::bucket::Bucket;
use mps_domain::card::CardStatus;
use mps_domain::error::{Error, Result, Token};
use mps_domain::limits;
use mps_domain::member::MemberStatus;
use mps_domain::tier::{Level, level_for};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn register_member(
    p_name: Option<Text>,
    p_phone: Option<Text>,
    p_email: Option<Text>,
    p_user_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (name!(member_id, Uuid), name!(member_no, String), name!(card_id, Uuid), name!(card_no, String)),
> {
    let registered = write(|call| {
        let id = match call.caller.client()? {
            Some(user) => {
                if p_user_id.is_some_and(|asked| asked != user) {
                    return Err(Error::new(Token::NotAllowed, "p_user_id is for backends"));
                }
                ensure_may_register(call, user)?;
                user
            }
            None => p_user_id.unwrap_or_else(|| server::new_id(call.at)),
        };
        register(call, id, p_name, p_phone, p_email)
    });
    TableIterator::once(registered)
}

/// For the trigger on `auth.users`, which nobody can call, so no caller is asked for: the first of these that says
/// anything is the name.
#[pg_extern(sql = false)]
fn register_signup(p_user_id: Option<Uuid>, p_name: Option<&str>, p_phone: Option<&str>, p_email: Option<&str>) {
    let said = |text: Option<&str>, max: usize| -> Option<String> {
        text.map(str::trim).filter(|t| !t.is_empty()).map(|t| t.chars().take(max).collect())
    };
    let (phone, email) = (said(p_phone, limits::PHONE_CHARS), said(p_email, limits::EMAIL_CHARS));
    let name = said(p_name, limits::TEXT_CHARS).or_else(|| email.clone()).or_else(|| phone.clone());
    write(|call| {
        let id = args::required(p_user_id, "p_user_id")?;
        register(call, id, Some(name.as_deref().unwrap_or("Member")), phone.as_deref(), email.as_deref())
    });
}

fn register<'a>(
    call: &Call,
    id: Uuid,
    name: impl Given<'a>,
    phone: impl Given<'a>,
    email: impl Given<'a>,
) -> Result<(Uuid, String, Uuid, String)> {
    let member = NewMember {
        id,
        name: args::name(name, "p_name")?,
        phone: args::contact(phone, "p_phone", limits::PHONE_CHARS)?,
        email: args::contact(email, "p_email", limits::EMAIL_CHARS)?,
    };
    let open = call.open_month()?;
    let created = members::create(call.db, call.at, &member);
    call.after_waiting()?;
    if let Some(member_no) = created {
        let (card_id, card_no, level) = issue_card(call, id);
        call.audit(
            "member.registered",
            "member",
            &member_no,
            json!({
                "member_id": id.to_string(), "card_no": card_no, "card_id": card_id.to_string(), "level": level.noted(),
            }),
        );
        return Ok((id, member_no, card_id, card_no));
    }
    // Registered before (or just now, by an equal request that was waited for).
    let known = members::lock(open, id).ok_or_else(kept_from_being_written)?;
    call.after_waiting()?;
    let member_no = known.member_no;
    let card = cards::personal_of(call.db, id);
    if let Some(card) = card.as_ref().filter(|c| c.status != CardStatus::Closed) {
        return Ok((id, member_no, card.id, card.card_no.clone()));
    }
    // Its card was closed: an active member who registers again gets a new one.
    if known.status == MemberStatus::Active {
        let (card_id, card_no, level) = issue_card(call, id);
        let context = json!({ "member_id": id.to_string(), "card_id": card_id.to_string(), "level": level.noted() });
        call.audit("card.issued", "card", &card_no, context);
        return Ok((id, member_no, card_id, card_no));
    }
    let card = card.ok_or_else(|| Error::new(Token::CardNotFound, "the member has no personal card"))?;
    Ok((id, member_no, card.id, card.card_no))
}

/// Who is signed in without an identity becomes no member, unless the settings say so; one that is a member already stays one.
fn ensure_may_register(call: &Call, user: Uuid) -> Result<()> {
    if !caller::is_anonymous() || call.config().signup_anonymous || members::status(call.db, user).is_some() {
        return Ok(());
    }
    Err(Error::new(
        Token::NotAllowed,
        "an anonymous sign-in becomes no member: the user links an e-mail, phone or other identity first, and refreshes the session",
    ))
}

fn issue_card(call: &Call, member: Uuid) -> (Uuid, String, Level) {
    let id = server::new_card_id(call.at, Bucket::of_member(member.as_bytes()));
    let level = level_for(&call.config().levels, 0);
    let card_no = cards::create_personal(call.db, call.at, id, member, None, level);
    (id, card_no, level)
}
