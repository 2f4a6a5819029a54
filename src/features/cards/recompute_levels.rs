//! `app.recompute_levels`.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::types::Uuid;
use crate::kernel::batch::{BATCH_ROWS, batch};
use crate::kernel::caller::parse_uuid;
use crate::kernel::months::Open;
use mps_domain::error::{Error, Token};
use mps_domain::money::Discount;
use mps_domain::tier::{Level, level_for};
use pgrx::prelude::*;
use serde_json::{Map, json};

#[pg_extern(sql = false)]
fn recompute_levels_batch(p_after: Option<&str>) -> Option<String> {
    batch("recompute_levels", p_after, |call, open, after| {
        let from = match after {
            None => Uuid::from_bytes([0; 16]),
            Some(text) => parse_uuid(text)
                .ok_or_else(|| Error::new(Token::InvalidArgument, "p_after is what the batch before returned"))?,
        };
        let page = lock_levels(open, from, BATCH_ROWS);
        call.after_waiting()?;
        let mut changed = Map::new();
        for card in &page {
            let level = level_for(&call.config().levels, card.points);
            if (level.level, level.discount) != (card.level, card.discount) && set_level(call.db, card, level) {
                changed.insert(card.card_no.clone(), level.noted().into());
            }
        }
        let count = changed.len() as i64;
        if count > 0 {
            call.audit("levels.recomputed", "levels", "levels", json!({ "cards": count, "levels": changed }));
        }
        Ok((page.last().map(|c| c.id.to_string()), count))
    })
}

/// What the level of a card depends on.
struct LeveledCard {
    id: Uuid,
    points: i64,
    level: i16,
    discount: Discount,
    card_no: String,
}

/// Locks the next cards after `from`, by id.
fn lock_levels(open: Open, from: Uuid, limit: i64) -> Vec<LeveledCard> {
    open.rows(
        "SELECT c.id, c.points, c.level, c.discount, c.card_no FROM app.personal_cards c \
         WHERE c.id > $1 ORDER BY c.id LIMIT $2 FOR NO KEY UPDATE",
        &[p(from), p(limit)],
        |r| LeveledCard { id: r.get(1), points: r.get(2), level: r.get(3), discount: r.get(4), card_no: r.text(5) },
    )
}

/// Sets the level that a card's points have; returns whether it did. Whoever has changed the points since (a trigger that calls
/// RPCs) has set the level with them.
fn set_level(db: &Db, card: &LeveledCard, level: Level) -> bool {
    db.run(
        "UPDATE app.personal_cards SET level = $2, discount = $3 WHERE id = $1 AND points = $4",
        &[p(card.id), p(level.level), p(level.discount), p(card.points)],
    ) == 1
}
