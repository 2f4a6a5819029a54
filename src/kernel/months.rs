//! The months of the big tables: which exist, which are archived, and making the one that is missing.

use crate::engine::cache;
use crate::engine::db::Db;
use crate::engine::direct::detached;
use crate::engine::param::p;
use mps_domain::error::{Error, Result, Token};
use mps_domain::month::Month;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Deref;

thread_local! {
    /// After how many changes of relations which months were here.
    static KNOWN: RefCell<(u64, HashSet<Month>)> = RefCell::default();
}

fn remember(month: Month, read_at: u64) {
    KNOWN.with_borrow_mut(|(at, known)| {
        if *at != read_at {
            known.clear();
        }
        *at = read_at;
        known.insert(month);
    });
}

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
    if KNOWN.with_borrow(|(at, known)| *at == cache::relations() && known.contains(&month)) {
        return Presence::Present;
    }
    let read_at = cache::relations();
    // Of now: names are known as they are now, whatever the snapshot, and are compared with partitions. One that went to the archive
    // between the two is known by its place there.
    let (present, archived, detached) = db
        .rows_of_now(
            "SELECT NOT EXISTS (SELECT FROM sec.monthly_tables() t \
                                WHERE pg_catalog.to_regclass(t.nsp || '.' || t.tab || '_' || $1) IS NULL), \
                    EXISTS (SELECT FROM app.archived_months a WHERE a.month = $2::text::date) \
                    OR pg_catalog.to_regclass('app.transactions_' || $1) IS NULL \
                       AND pg_catalog.to_regclass('mps_archive.transactions_' || $1) IS NOT NULL, \
                    (SELECT t.part::text FROM (SELECT m.nsp || '.' || m.tab AS name, \
                            pg_catalog.to_regclass(m.nsp || '.' || m.tab || '_' || $1) AS part FROM sec.monthly_tables() m) t \
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
        remember(month, read_at);
        Presence::Present
    } else {
        Presence::Never
    }
}

/// That the month which is written to is there. Whoever locks rows must have it, because making a month takes locks that come
/// before those of rows.
#[derive(Clone, Copy)]
pub struct Open<'a>(&'a Db);

impl Deref for Open<'_> {
    type Target = Db;

    fn deref(&self) -> &Db {
        self.0
    }
}

/// Makes sure that a month can be written to. Takes the month lock if it must be made.
pub fn ensure(db: &Db, month: Month) -> Result<Open<'_>> {
    match presence(db, month) {
        Presence::Present => Ok(Open(db)),
        Presence::Archived => Err(Error::new(Token::Archived, "this month is archived")),
        Presence::Detached(table) => Err(detached(&table)),
        Presence::Never => {
            // Not remembered here: the making may yet be rolled back.
            db.run("SELECT sec.make_month($1::text::date)", &[p(month.first_day())]);
            Ok(Open(db))
        }
    }
}

/// As [`ensure`], of a month that this call has made sure of before.
pub fn opened(db: &Db, month: Month) -> Result<Open<'_>> {
    match presence(db, month) {
        Presence::Present => Ok(Open(db)),
        Presence::Archived => Err(Error::new(Token::Archived, "this month is archived")),
        Presence::Detached(table) => Err(detached(&table)),
        Presence::Never => panic!("the month was made before"),
    }
}

/// Refuses a month that somebody has detached, or is about to.
pub fn ensure_attached(db: &Db, month: Month) -> Result<()> {
    match presence(db, month) {
        Presence::Detached(table) => Err(detached(&table)),
        Presence::Present | Presence::Archived | Presence::Never => Ok(()),
    }
}

/// Makes sure that a month can be read; `Ok(false)` where it never existed.
pub fn readable(db: &Db, month: Month) -> Result<bool> {
    match presence(db, month) {
        Presence::Present => Ok(true),
        Presence::Archived => Err(Token::Archived.into()),
        Presence::Detached(table) => Err(detached(&table)),
        Presence::Never => Ok(false),
    }
}
