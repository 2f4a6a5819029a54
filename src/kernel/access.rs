//! Who may do something about a merchant or a card. What a caller may not see does not exist for them.

use crate::engine::types::Uuid;
use crate::kernel::args::{self, Given};
use crate::kernel::call::Call;
use crate::kernel::members;
use crate::kernel::merchants::{self, Merchant};
use mps_domain::error::{Result, Token, ensure};

/// What is asked of a card.
pub trait Owned {
    fn id(&self) -> Uuid;

    /// The member whose card it is; `None`: a company's.
    fn owner(&self) -> Option<Uuid>;
}

/// The merchant, if the caller operates it or is a backend.
pub fn operated_merchant<'a>(call: &Call, code: impl Given<'a>) -> Result<Merchant> {
    let user = call.caller.client()?;
    let merchant = merchants::find(call.db, args::merchant_code(code)?, user).ok_or(Token::MerchantNotFound)?;
    ensure(call.caller.is_backend || merchant.role.is_some(), Token::NotMerchantUser)?;
    Ok(merchant)
}

/// The same, asked again where the call has waited since.
pub fn still_operated<'a>(call: &Call, merchant: Merchant, code: impl Given<'a>) -> Result<Merchant> {
    if call.has_waited() { operated_merchant(call, code) } else { Ok(merchant) }
}

/// Only the owner sees that the card exists.
pub fn owner_or_backend<C: Owned>(call: &Call, card: Option<C>) -> Result<C> {
    let user = call.caller.client()?;
    card.filter(|c| user.is_none() || c.owner() == user).ok_or_else(|| Token::CardNotFound.into())
}

/// Who is not bound to the card does not see that it exists; who is, must be its admin.
pub fn admin_or_backend<C: Owned>(call: &Call, card: Option<C>) -> Result<C> {
    let user = call.caller.client()?;
    let card = card.ok_or(Token::CardNotFound)?;
    if let Some(user) = user {
        let binding = members::binding(call.db, card.id(), user).ok_or(Token::CardNotFound)?;
        ensure(binding.is_admin(), Token::NotCardAdmin)?;
    }
    Ok(card)
}

/// Whether a user may see a card: its owner, or whoever is bound to a company's.
pub fn may_see(call: &Call, card: &impl Owned, user: Uuid) -> bool {
    match card.owner() {
        Some(owner) => owner == user,
        None => members::binding(call.db, card.id(), user).is_some(),
    }
}
