//! `app.expire_keys`.

use crate::kernel::batch::{batch, place};
use crate::kernel::keys;
use mps_domain::month::{DAY_MICROS, Month};
use mps_domain::tx_no::TxId;
use pgrx::prelude::*;

/// Pages of the tables read in one batch.
const BATCH_PAGES: i64 = 256;

#[pg_extern(sql = false)]
fn expire_keys_batch(p_after: Option<&str>) -> Option<String> {
    batch("expire_keys", p_after, |call, _, after| {
        let from = i64::from(after.map_or(Ok(0), place::<u32>)?);
        // A key's age is that of its transaction's month, which its id names: it goes when the whole month is old enough.
        let oldest_kept = call.at.0 - i64::from(call.config().key_retention_days) * DAY_MICROS;
        let Some(month) = Month::of(oldest_kept) else {
            return Ok((None, 0));
        };
        let pages = keys::key_pages(call.db);
        if from >= pages {
            return Ok((None, 0));
        }
        // Whether that was the last, the next batch says.
        let next = from + BATCH_PAGES;
        let forgotten = keys::forget_keys(call.db, TxId::floor(month), from, next);
        Ok((Some(next.to_string()), forgotten))
    })
}
