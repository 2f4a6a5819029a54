//! The batches behind the procedures: each does a bounded piece of work in one transaction and says where the next begins.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::kernel::call::{Call, maintain};
use crate::kernel::months::Open;
use mps_domain::error::{Error, Result, Token};

/// Rows looked at in one batch: short enough that nobody waits noticeably for its locks.
pub const BATCH_ROWS: i64 = 500;

/// Runs one batch of a job: `work` gets where to begin and returns where to go on (`None`: done) and how many rows it
/// changed.
pub fn batch(
    job: &str,
    after: Option<&str>,
    work: impl FnOnce(&Call, Open, Option<&str>) -> Result<(Option<String>, i64)>,
) -> Option<String> {
    maintain(|call| {
        let open = call.open_month()?;
        let (next, changed) = work(call, open, after)?;
        note_run(call.db, job, after.is_none(), next.is_none(), changed);
        Ok(next)
    })
}

/// A place that an earlier batch returned.
pub fn place<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::new(Token::InvalidArgument, "p_after is what the batch before returned"))
}

/// Notes a batch of a job.
fn note_run(db: &Db, job: &str, first: bool, last: bool, rows: i64) {
    db.run(
        "INSERT INTO app.job_runs AS j (job, started_at, finished_at, rows_done) \
         VALUES ($1, pg_catalog.clock_timestamp(), CASE WHEN $3 THEN pg_catalog.clock_timestamp() END, $4) \
         ON CONFLICT (job) DO UPDATE SET finished_at = excluded.finished_at, \
                started_at = CASE WHEN $2 THEN excluded.started_at ELSE j.started_at END, \
                rows_done = CASE WHEN $2 THEN excluded.rows_done ELSE j.rows_done + excluded.rows_done END",
        &[p(job), p(first), p(last), p(rows)],
    );
}
