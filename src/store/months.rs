//! The months of the big tables: which exist, which are archived, and making the one that is missing.

use super::cache;
use super::spi::{Db, p};
use super::types::Timestamp;
use crate::error::{Error, Result, Token};
use mps_domain::month::Month;

/// What statements on one partition write in place of the month's suffix.
pub const PLACEHOLDER: &str = "{m}";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Present,
    Archived,
    Never,
}

/// Whether the partitions of a month are here.
pub fn presence(db: &Db, month: Month) -> Presence {
    if cache::knows_month(month) {
        return Presence::Present;
    }
    let read_at = cache::generation();
    // Names are looked up as of now, rows are those of the snapshot: one of before the archiving knows nothing of it, but still has
    // the table in its catalog.
    let (present, noted, gone) = db
        .row(
            "SELECT pg_catalog.to_regclass('app.transactions_' || $1) IS NOT NULL \
                    AND pg_catalog.to_regclass('app.point_ledger_' || $1) IS NOT NULL \
                    AND pg_catalog.to_regclass('audit.event_log_' || $1) IS NOT NULL, \
                    EXISTS (SELECT FROM app.archived_months a WHERE a.month = $2::text::date), \
                    pg_catalog.to_regclass('mps_archive.transactions_' || $1) IS NOT NULL \
                    OR EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                               WHERE n.nspname = 'app' AND c.relname = 'transactions_' || $1)",
            &[p(month.suffix()), p(month.first_day())],
            |r| (r.get::<bool>(1), r.get::<bool>(2), r.get::<bool>(3)),
        )
        .expect("one row");
    if noted {
        Presence::Archived
    } else if present {
        cache::remember_month(month, read_at);
        Presence::Present
    } else if gone {
        Presence::Archived
    } else {
        Presence::Never
    }
}

/// Makes sure that a month can be written to. Takes the month lock if it must be made: call it before any row lock.
pub fn ensure(db: &Db, month: Month) -> Result<()> {
    match presence(db, month) {
        Presence::Present => Ok(()),
        Presence::Archived => Err(Error::new(Token::Archived, "this month is archived")),
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
        Presence::Never => Ok(false),
    }
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
