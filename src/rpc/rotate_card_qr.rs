//! `app.rotate_card_qr`: a new pay code, shown once; only its hash is kept.

use super::user_recharge_personal_card::owner_or_backend;
use super::{args, books, write};
use crate::error::{Error, Token, ensure};
use crate::store::members::{self, MemberStatus};
use crate::store::types::{Timestamp, Uuid};
use crate::store::{cards, server};
use mps_domain::card::CardType;
use mps_domain::pay_code::{self, Place};
use pgrx::prelude::*;
use serde_json::json;

const MICROS_PER_SECOND: i64 = 1_000_000;

#[pg_extern(sql = false)]
fn rotate_card_qr(
    p_card_id: Option<Uuid>,
    p_card_type: Option<&str>,
    p_member_id: Option<Uuid>,
) -> TableIterator<'static, (name!(qr_plain, String), name!(qr_expires_at, Timestamp))> {
    let shown = write(|call| {
        let user = call.caller.client()?;
        let card_id = args::required(p_card_id, "p_card_id")?;
        let card_type = args::card_type(p_card_type)?;
        if user.is_some() && p_member_id.is_some() && p_member_id != user {
            return Err(Error::new(Token::NotAllowed, "p_member_id is for backends"));
        }
        let seen = cards::find(call.db, card_type, card_id);
        let member = match card_type {
            CardType::Personal => {
                let owner = owner_or_backend(call, seen)?.member_id;
                ensure(p_member_id.is_none() || p_member_id == owner, Token::NotCardUser)?;
                owner.expect("personal cards have a member")
            }
            CardType::Enterprise => {
                seen.ok_or(Token::CardNotFound)?;
                let member = match user {
                    Some(user) => user,
                    None => args::required(p_member_id, "p_member_id")?,
                };
                // A stranger does not learn that the card exists; a backend is told what is wrong.
                let hidden = if user.is_some() { Token::CardNotFound } else { Token::NotCardUser };
                members::binding(call.db, card_id, member).ok_or(hidden)?;
                member
            }
        };
        call.open_month()?;

        let card = cards::lock(call.db, card_type, card_id).ok_or(Token::CardNotFound)?;
        books::ensure_usable(call, &card)?;
        ensure(members::status(call.db, member) == Some(MemberStatus::Active), Token::MemberNotActive)?;

        let secret = server::random();
        let place = match card_type {
            CardType::Personal => Place::Personal { card: *card_id.as_bytes() },
            CardType::Enterprise => Place::Enterprise { card: *card_id.as_bytes(), member: *member.as_bytes() },
        };
        let code = pay_code::encode(&place, &secret);
        let hash = pay_code::hash(&code);
        let expires_at = Timestamp(server::now().0 + i64::from(call.config.qr_ttl_seconds) * MICROS_PER_SECOND);
        match card_type {
            CardType::Personal => cards::set_personal_code(call.db, card_id, Some((&hash, expires_at))),
            CardType::Enterprise => {
                // Bound still, now that nobody can unbind.
                members::lock_binding(call.db, card_id, member).ok_or(Token::NotCardUser)?;
                members::set_code(call.db, card_id, member, Some((&hash, expires_at)));
            }
        }
        call.audit("card.code_rotated", "card", &card.card_no, json!({ "member_id": member.to_string() }));
        Ok((code, expires_at))
    });
    TableIterator::once(shown)
}
