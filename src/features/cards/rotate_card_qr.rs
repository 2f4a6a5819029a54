//! `app.rotate_card_qr`: a new pay code, shown once; only its hash is kept.

use crate::engine::server;
use crate::engine::types::{Text, Timestamp, Uuid};
use crate::kernel::access::owner_or_backend;
use crate::kernel::call::{Call, write};
use crate::kernel::{args, members};
use crate::ledger::cards::{self, Card};
use crate::ledger::posting;
use mps_domain::card::CardType;
use mps_domain::error::{Error, Result, Token, ensure};
use mps_domain::member::MemberStatus;
use mps_domain::pay_code;
use mps_domain::pay_code::Place;
use pgrx::prelude::*;
use serde_json::json;

const MICROS_PER_SECOND: i64 = 1_000_000;

#[pg_extern(sql = false)]
fn rotate_card_qr(
    p_card_id: Option<Uuid>,
    p_card_type: Option<Text>,
    p_member_id: Option<Uuid>,
) -> TableIterator<'static, (name!(qr_plain, String), name!(qr_expires_at, Timestamp))> {
    let shown = write(|call| {
        let user = call.caller.client()?;
        let card_id = args::required(p_card_id, "p_card_id")?;
        let card_type = args::card_type_or_personal(p_card_type)?;
        if user.is_some() && p_member_id.is_some() && p_member_id != user {
            return Err(Error::new(Token::NotAllowed, "p_member_id is for backends"));
        }
        let code = match card_type {
            CardType::Personal => personal_code(call, card_id, p_member_id)?,
            CardType::Enterprise => enterprise_code(call, card_id, user, p_member_id)?,
        };
        Ok((code.plain, code.expires_at))
    });
    TableIterator::once(shown)
}

/// A code that was just made.
struct NewCode {
    plain: String,
    hash: pay_code::Hash,
    expires_at: Timestamp,
}

fn new_code(call: &Call, place: Place) -> NewCode {
    let plain = pay_code::encode(&place, &server::random());
    let hash = pay_code::hash(&plain);
    let expires_at = Timestamp(server::now().0 + i64::from(call.config().qr_ttl_seconds) * MICROS_PER_SECOND);
    NewCode { plain, hash, expires_at }
}

/// For the card's owner, or a backend that may name it. The card is read without a lock and written only if it has not
/// changed since; where it has, once more, locked.
fn personal_code(call: &Call, id: Uuid, named: Option<Uuid>) -> Result<NewCode> {
    let (card, status) = cards::peek_payer(call.db, id).ok_or(Token::CardNotFound)?;
    let mut card = owner_or_backend(call, Some(card))?;
    let owner = card.member_id.expect("personal cards have a member");
    ensure(named.is_none_or(|member| member == owner), Token::NotCardUser)?;
    ensure_may_pay(&card, status)?;
    let open = call.open_month()?;
    let place = Place::Personal { card: *id.as_bytes() };
    let mut code = new_code(call, place);
    if !cards::set_personal_code(call.db, &mut card, &code.hash, code.expires_at)? {
        card = cards::lock(open, CardType::Personal, id).ok_or(Token::CardNotFound)?;
        call.after_waiting()?;
        ensure_may_pay(&card, members::status(call.db, owner))?;
        // How long it lives may have changed, and begins now.
        code = new_code(call, place);
        let written = cards::set_personal_code(call.db, &mut card, &code.hash, code.expires_at)?;
        assert!(written, "a locked card is written or an error");
    }
    audit_rotation(call, &card.card_no, owner);
    Ok(code)
}

/// For a member bound to the card: the signed-in one, or the one that a backend names.
fn enterprise_code(call: &Call, id: Uuid, user: Option<Uuid>, named: Option<Uuid>) -> Result<NewCode> {
    cards::find(call.db, CardType::Enterprise, id).ok_or(Token::CardNotFound)?;
    let member = match user {
        Some(user) => user,
        None => args::required(named, "p_member_id")?,
    };
    // A stranger does not learn that the card exists; a backend is told what is wrong.
    let hidden = if user.is_some() { Token::CardNotFound } else { Token::NotCardUser };
    members::binding(call.db, id, member).ok_or(hidden)?;
    let open = call.open_month()?;
    let card = cards::lock(open, CardType::Enterprise, id).ok_or(Token::CardNotFound)?;
    // Bound still, now that nobody can unbind.
    let mut binding = members::lock_binding(open, id, member).ok_or(Token::NotCardUser)?;
    call.after_waiting()?;
    ensure_may_pay(&card, members::status(call.db, member))?;
    let code = new_code(call, Place::Enterprise { card: *id.as_bytes(), member: *member.as_bytes() });
    members::set_code(call.db, &mut binding, Some((&code.hash, code.expires_at)))?;
    audit_rotation(call, &card.card_no, member);
    Ok(code)
}

fn ensure_may_pay(card: &Card, member: Option<MemberStatus>) -> Result<()> {
    posting::ensure_usable(card)?;
    ensure(member == Some(MemberStatus::Active), Token::MemberNotActive)
}

fn audit_rotation(call: &Call, card_no: &str, member: Uuid) {
    call.audit("card.code_rotated", "card", card_no, json!({ "member_id": member.to_string() }));
}
