//! `app.expire_cards`.

use super::{BATCH_ROWS, batch};
use crate::store::sweep;
use mps_domain::card::CardType;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn expire_cards_batch(p_after: Option<&str>) -> Option<String> {
    batch("expire_cards", p_after, |call, after| {
        // One kind in a batch, so that nobody holds cards of one kind while waiting for the other's. Every batch takes
        // some of what is due, so the place to begin is always the start.
        let (card_type, next_kind) = match after {
            None | Some("personal") => (CardType::Personal, Some("enterprise")),
            Some(_) => (CardType::Enterprise, None),
        };
        let expired = sweep::expire_cards(call.db, card_type, call.at, BATCH_ROWS);
        for card_no in &expired {
            call.audit("card.expired", "card", card_no, json!({}));
        }
        let next = if expired.is_empty() { next_kind } else { Some(card_type.label()) };
        Ok((next.map(String::from), expired.len() as i64))
    })
}
