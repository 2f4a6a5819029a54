//! `app.recompute_levels`.

use super::{BATCH_ROWS, batch};
use crate::caller::parse_uuid;
use crate::error::{Error, Token};
use crate::store::sweep;
use crate::store::types::Uuid;
use mps_domain::tier::level_for;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn recompute_levels_batch(p_after: Option<&str>) -> Option<String> {
    batch("recompute_levels", p_after, |call, after| {
        let from = match after {
            None => Uuid::from_bytes([0; 16]),
            Some(text) => parse_uuid(text)
                .ok_or_else(|| Error::new(Token::InvalidArgument, "p_after is what the batch before returned"))?,
        };
        let page = sweep::lock_levels(call.db, from, BATCH_ROWS);
        call.after_waiting()?;
        let mut changed = 0;
        for card in &page {
            let level = level_for(&call.config().levels, card.points);
            if (level.level, level.discount) != (card.level, card.discount) && sweep::set_level(call.db, card, level) {
                changed += 1;
            }
        }
        if changed > 0 {
            call.audit("levels.recomputed", "levels", "levels", json!({ "cards": changed }));
        }
        Ok((page.last().map(|c| c.id.to_string()), changed))
    })
}
