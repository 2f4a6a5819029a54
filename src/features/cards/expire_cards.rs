//! `app.expire_cards`.

use crate::engine::param::p;
use crate::engine::types::Timestamp;
use crate::kernel::batch::{BATCH_ROWS, batch};
use crate::kernel::months::Open;
use mps_domain::card::CardType;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn expire_cards_batch(p_after: Option<&str>) -> Option<String> {
    batch("expire_cards", p_after, |call, open, after| {
        // One kind in a batch, so that nobody holds cards of one kind while waiting for the other's. Every batch takes
        // some of what is due, so the place to begin is always the start.
        let (card_type, next_kind) = match after {
            None | Some("personal") => (CardType::Personal, Some("enterprise")),
            Some(_) => (CardType::Enterprise, None),
        };
        let expired = expire_cards(open, card_type, call.at, BATCH_ROWS);
        for card_no in &expired {
            call.audit("card.expired", "card", card_no, json!({}));
        }
        let next = if expired.is_empty() { next_kind } else { Some(card_type.label()) };
        Ok((next.map(String::from), expired.len() as i64))
    })
}

/// Expires active cards of one kind that are due, by id; returns their numbers.
fn expire_cards(open: Open, card_type: CardType, at: Timestamp, limit: i64) -> Vec<String> {
    let sql = match card_type {
        CardType::Personal => {
            "UPDATE app.personal_cards c SET status = 'expired' FROM ( \
                SELECT d.id FROM app.personal_cards d WHERE d.status = 'active' AND d.expires_at <= $1 \
                ORDER BY d.id LIMIT $2 FOR NO KEY UPDATE) due WHERE c.id = due.id RETURNING c.card_no"
        }
        CardType::Enterprise => {
            "UPDATE app.enterprise_cards c SET status = 'expired' FROM ( \
                SELECT d.id FROM app.enterprise_cards d WHERE d.status = 'active' AND d.expires_at <= $1 \
                ORDER BY d.id LIMIT $2 FOR NO KEY UPDATE) due WHERE c.id = due.id RETURNING c.card_no"
        }
    };
    open.rows(sql, &[p(at), p(limit)], |r| r.text(1))
}
