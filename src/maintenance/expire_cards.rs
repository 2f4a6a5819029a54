//! `app.expire_cards`.

use super::{BATCH_ROWS, batch};
use crate::store::sweep;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn expire_cards_batch(p_after: Option<&str>) -> Option<String> {
    batch("expire_cards", p_after, |call, _| {
        // Every batch takes some of what is due, so the place to begin is always the start.
        let expired = sweep::expire_cards(call.db, call.at, BATCH_ROWS);
        for card_no in &expired {
            call.audit("card.expired", "card", card_no, json!({}));
        }
        let more = !expired.is_empty();
        Ok((more.then(|| "more".to_owned()), expired.len() as i64))
    })
}
