//! Cards: issued, bound to members, shown as pay codes, frozen, replaced, expired, and their points by hand.

mod adjust_points;
mod bucket_of;
mod create_enterprise_card;
mod enterprise_add_member;
mod enterprise_remove_member;
mod expire_cards;
mod expire_qrcodes;
mod recompute_levels;
mod replace_card;
mod rotate_card_qr;
mod set_card_expiry;
mod set_card_status;

use crate::engine::types::Uuid;
use crate::kernel::call::Call;
use crate::kernel::members;
use crate::ledger::cards::{self, Card};
use crate::ledger::transactions;
use mps_domain::card::CardStatus;
use mps_domain::error::{Result, Token, ensure};
use serde_json::json;

/// A card is closed without money and without money on its way.
pub fn ensure_empty(call: &Call, card: &Card) -> Result<()> {
    ensure(card.balance.is_zero() && !transactions::has_pending(call.db, card.id), Token::CardNotEmpty)
}

/// Writes the status of a locked card, and the event of it.
pub fn change_status(call: &Call, card: &mut Card, status: CardStatus, reason: &str) -> Result<()> {
    let was = card.status;
    cards::set_status(call.db, card, status)?;
    call.audit(
        "card.status_set",
        "card",
        &card.card_no,
        json!({ "status": status.label(), "was": was.label(), "reason": reason }),
    );
    Ok(())
}

/// Asked once more after the bindings of a card that had so many admins were changed: a trigger can have taken others.
fn ensure_has_admin(call: &Call, card: Uuid, had: i64) -> Result<()> {
    ensure(had == 0 || members::admin_count(call.db, card) > 0, Token::LastAdmin)
}
