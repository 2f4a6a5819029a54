//! The batches behind the procedures: each does a bounded piece of work in one transaction and says where the next begins.

mod config_changed;
mod expire_cards;
mod expire_keys;
mod expire_qrcodes;
mod expire_recharges;
mod migrate;
mod next_event_id;
mod recompute_levels;
mod run_ddl;

use crate::error::{Error, Result, Token};
use crate::rpc::{Call, maintain};
use crate::store::sweep;

/// Rows looked at in one batch: short enough that nobody waits noticeably for its locks.
const BATCH_ROWS: i64 = 500;

/// Runs one batch of a job: `work` gets where to begin and returns where to go on (`None`: done) and how many rows it
/// changed.
fn batch(
    job: &str,
    after: Option<&str>,
    work: impl FnOnce(&Call, Option<&str>) -> Result<(Option<String>, i64)>,
) -> Option<String> {
    maintain(|call| {
        call.open_month()?;
        let (next, changed) = work(call, after)?;
        sweep::note_run(call.db, job, after.is_none(), next.is_none(), changed);
        Ok(next)
    })
}

/// A place that an earlier batch returned.
fn place<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::new(Token::InvalidArgument, "p_after is what the batch before returned"))
}
