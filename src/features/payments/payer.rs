//! Who pays: the card and the member that a pay code names. A code is compared before anything is locked, so that a forged one cannot
//! hold up a card. Everything that is wrong with a code has the one answer that does not say whether the card exists.

use crate::engine::db::Db;
use crate::engine::server;
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::call::Call;
use crate::kernel::members::{self, Binding, CodeState};
use crate::kernel::months::Open;
use crate::ledger::cards::{self, Card};
use mps_domain::card::CardType;
use mps_domain::error::{Result, Token, ensure};
use mps_domain::member::MemberStatus;
use mps_domain::pay_code::{self, Place};

/// Who pays: a card, and the member whose code was shown.
pub struct Payer {
    pub card: Card,
    pub member: Uuid,
    pub member_status: Option<MemberStatus>,
    pub code_ends_at: Option<Timestamp>,
    /// To a company card.
    pub binding: Option<Binding>,
}

/// The payer that a code names, as it is now, not locked.
pub fn seen(db: &Db, place: &Place, hash: &pay_code::Hash) -> Result<Payer> {
    match *place {
        Place::Personal { card } => {
            let seen = cards::peek_payer(db, Uuid::from_bytes(card));
            ensure(is_live(seen.as_ref().map(|(card, _)| card.code()), hash), Token::QrExpiredOrInvalid)?;
            let (card, status) = seen.expect("a live code has a card");
            let member = card.member_id.expect("personal cards have a member");
            let code_ends_at = card.qr_expires_at;
            Ok(Payer { card, member, member_status: status, code_ends_at, binding: None })
        }
        Place::Enterprise { card, member } => {
            let (id, member) = (Uuid::from_bytes(card), Uuid::from_bytes(member));
            let binding = members::binding(db, id, member);
            let code = binding.as_ref().map(Binding::code);
            ensure(is_live(code, hash), Token::QrExpiredOrInvalid)?;
            let code_ends_at = code.and_then(|code| code.expires_at);
            let card = cards::find(db, CardType::Enterprise, id).ok_or(Token::QrExpiredOrInvalid)?;
            Ok(Payer { card, member, member_status: members::status(db, member), code_ends_at, binding })
        }
    }
}

/// The member whose code it is, compared without a lock.
pub fn shown_by(db: &Db, place: &Place, hash: &pay_code::Hash) -> Result<Uuid> {
    let (code_is_live, member) = match *place {
        Place::Personal { card } => {
            let seen = cards::find(db, CardType::Personal, Uuid::from_bytes(card));
            (is_live(seen.as_ref().map(Card::code), hash), seen.and_then(|card| card.member_id))
        }
        Place::Enterprise { card, member } => {
            let member = Uuid::from_bytes(member);
            let seen = members::binding(db, Uuid::from_bytes(card), member);
            (is_live(seen.as_ref().map(Binding::code), hash), Some(member))
        }
    };
    member.filter(|_| code_is_live).ok_or_else(|| Token::QrExpiredOrInvalid.into())
}

/// The payer that a code names, locked; code, settings and levels are looked at once more under the lock.
pub fn lock(call: &Call, open: Open, place: &Place, hash: &pay_code::Hash) -> Result<Payer> {
    let refused = Token::QrExpiredOrInvalid;
    let (card, member, code_ends_at, binding) = match *place {
        Place::Personal { card } => {
            let card = cards::lock(open, CardType::Personal, Uuid::from_bytes(card)).ok_or(refused)?;
            ensure(is_live(Some(card.code()), hash), refused)?;
            let (member, end) = (card.member_id.expect("personal cards have a member"), card.qr_expires_at);
            (card, member, end, None)
        }
        Place::Enterprise { card, member } => {
            let (id, member) = (Uuid::from_bytes(card), Uuid::from_bytes(member));
            let card = cards::lock(open, CardType::Enterprise, id).ok_or(refused)?;
            let binding = members::lock_binding(open, id, member);
            let code = binding.as_ref().map(Binding::code);
            ensure(is_live(code, hash), refused)?;
            let end = code.and_then(|c| c.expires_at);
            (card, member, end, binding)
        }
    };
    call.after_waiting()?;
    Ok(Payer { card, member, member_status: members::status(call.db, member), code_ends_at, binding })
}

fn is_live(code: Option<CodeState>, shown: &pay_code::Hash) -> bool {
    // Compared in any case, so that a card without a code answers no faster.
    let matches = pay_code::matches(code.and_then(|c| c.hash), shown);
    matches && code.and_then(|c| c.expires_at).is_some_and(|end| server::now() < end)
}
