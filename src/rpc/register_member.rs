//! `app.register_member`: a member and its personal card, once.

use super::{Call, args, write};
use crate::error::{Error, Result, Token};
use crate::store::members::{self, NewMember};
use crate::store::types::Uuid;
use crate::store::{cards, server};
use mps_domain::limits;
use mps_domain::tier::level_for;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn register_member(
    p_name: Option<&str>,
    p_phone: Option<&str>,
    p_email: Option<&str>,
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
                user
            }
            None => p_user_id.unwrap_or_else(|| server::new_id(call.at)),
        };
        register(call, id, p_name, p_phone, p_email)
    });
    TableIterator::once(registered)
}

/// For the trigger on `auth.users`: the trigger's function is not executable by anybody, so no caller is asked for.
#[pg_extern(sql = false)]
fn register_signup(p_user_id: Option<Uuid>, p_name: Option<&str>, p_phone: Option<&str>, p_email: Option<&str>) {
    write(|call| register(call, args::required(p_user_id, "p_user_id")?, p_name, p_phone, p_email));
}

fn register(
    call: &Call,
    id: Uuid,
    name: Option<&str>,
    phone: Option<&str>,
    email: Option<&str>,
) -> Result<(Uuid, String, Uuid, String)> {
    let member = NewMember {
        id,
        name: args::text(name, "p_name", limits::TEXT_CHARS)?,
        phone: args::optional_text(phone, "p_phone", limits::PHONE_CHARS)?,
        email: args::optional_text(email, "p_email", limits::EMAIL_CHARS)?,
    };
    members::lock_id(id);
    if let Some(member_no) = members::number(call.db, id) {
        let card = cards::personal_of(call.db, id)
            .ok_or_else(|| Error::new(Token::CardNotFound, "the member has no personal card"))?;
        return Ok((id, member_no, card.id, card.card_no));
    }
    call.open_month()?;
    let member_no = members::create(call.db, call.at, &member);
    let card_id = server::new_id(call.at);
    let card_no = cards::create_personal(call.db, call.at, card_id, id, None, level_for(&call.config.levels, 0));
    call.audit("member.registered", "member", &member_no, json!({ "member_id": id.to_string(), "card_no": card_no }));
    Ok((id, member_no, card_id, card_no))
}
