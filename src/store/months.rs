//! The months of the big tables: which exist, which are archived, and making the one that is missing.

use super::cache;
use super::spi::{Db, p};
use super::types::Timestamp;
use crate::error::{Error, Result, Token};
use mps_domain::month::Month;

/// What statements on one partition write in place of the month's suffix.
pub const PLACEHOLDER: &str = "{m}";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    Present,
    Archived,
    /// A table of it is there, and no partition any more: somebody detached it. By its name.
    Detached(String),
    Never,
}

/// Whether the partitions of a month are here.
pub fn presence(db: &Db, month: Month) -> Presence {
    if cache::knows_month(month) {
        return Presence::Present;
    }
    let read_at = cache::generation();
    // Of now: names are known as they are now, whatever the snapshot, and are compared with partitions. One that went to the archive
    // between the two is known by its place there.
    let (present, archived, detached) = db
        .rows_of_now(
            "SELECT pg_catalog.to_regclass('app.transactions_' || $1) IS NOT NULL \
                    AND pg_catalog.to_regclass('app.point_ledger_' || $1) IS NOT NULL \
                    AND pg_catalog.to_regclass('audit.event_log_' || $1) IS NOT NULL, \
                    EXISTS (SELECT FROM app.archived_months a WHERE a.month = $2::text::date) \
                    OR pg_catalog.to_regclass('app.transactions_' || $1) IS NULL \
                       AND pg_catalog.to_regclass('mps_archive.transactions_' || $1) IS NOT NULL, \
                    (SELECT t.part::text FROM (SELECT n.name, pg_catalog.to_regclass(n.name || '_' || $1) AS part \
                        FROM (VALUES ('app.transactions'), ('app.point_ledger'), ('audit.event_log')) n (name)) t \
                     WHERE t.part IS NOT NULL \
                       AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = t.part \
                                         AND i.inhparent = pg_catalog.to_regclass(t.name) AND NOT i.inhdetachpending) \
                     ORDER BY t.name DESC LIMIT 1)",
            &[p(month.suffix()), p(month.first_day())],
            |r| (r.get::<bool>(1), r.get::<bool>(2), r.opt::<String>(3)),
        )
        .pop()
        .expect("one row");
    if archived {
        Presence::Archived
    } else if let Some(table) = detached {
        Presence::Detached(table)
    } else if present {
        cache::remember_month(month, read_at);
        Presence::Present
    } else {
        Presence::Never
    }
}

/// Makes sure that a month can be written to. Takes the month lock if it must be made: call it before any row lock.
pub fn ensure(db: &Db, month: Month) -> Result<()> {
    match presence(db, month) {
        Presence::Present => Ok(()),
        Presence::Archived => Err(Error::new(Token::Archived, "this month is archived")),
        Presence::Detached(table) => Err(is_detached(&table)),
        Presence::Never => {
            // Not remembered here: the making may yet be rolled back.
            db.run("SELECT sec.make_month($1::text::date)", &[p(month.first_day())]);
            Ok(())
        }
    }
}

/// Makes sure that a month can be read; `Ok(false)` where it never existed.
pub fn readable(db: &Db, month: Month) -> Result<bool> {
    match presence(db, month) {
        Presence::Present => Ok(true),
        Presence::Archived => Err(Token::Archived.into()),
        Presence::Detached(table) => Err(is_detached(&table)),
        Presence::Never => Ok(false),
    }
}

/// What is written to it would be in no statement and in no book.
fn is_detached(table: &str) -> Error {
    let parent = table.rsplit_once('_').map_or(table, |(parent, _)| parent);
    Error::new(Token::StatusConflict, format!("{table} is no partition of {parent} any more: somebody detached it"))
        .with_hint(format!(
            "A database administrator attaches it again (ALTER TABLE {parent} ATTACH PARTITION), or renames it."
        ))
}

/// The months whose transactions are here, newest first.
pub fn all(db: &Db) -> Vec<Month> {
    let mut months: Vec<Month> = db
        .rows(
            "SELECT c.relname::text FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent = 'app.transactions'::pg_catalog.regclass AND c.relname ~ '^transactions_20[0-9]{4}$'",
            &[],
            |r| r.text(1),
        )
        .iter()
        .filter_map(|name| name[name.len() - 4..].parse().ok().and_then(Month::from_yymm))
        .collect();
    months.sort_unstable();
    months.reverse();
    months
}

/// The months here that are older than an archived one, newest first: only a release before 0.3.0 left any.
pub fn left_before(db: &Db, archived: Month) -> Vec<Month> {
    all(db).into_iter().filter(|month| *month < archived).collect()
}

/// Whether any archived month begins at or before a moment.
pub fn archived_by(db: &Db, at: Timestamp) -> bool {
    any_archived(db, Timestamp(i64::MIN), Timestamp(at.0.saturating_add(1)))
}

/// Whether any archived month has a moment from `from` to before `to`.
pub fn any_archived(db: &Db, from: Timestamp, to: Timestamp) -> bool {
    db.row(
        "SELECT EXISTS (SELECT FROM app.archived_months a \
            WHERE (a.month + interval '1 month') AT TIME ZONE 'UTC' > $1 AND a.month::timestamp AT TIME ZONE 'UTC' < $2)",
        &[p(from), p(to)],
        |r| r.get(1),
    )
    .unwrap_or(false)
}
