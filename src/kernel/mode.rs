//! `app.operating_mode`: whether what writes is refused. How writers and whoever turns that on keep apart is said in
//! `sql/kernel/mode.sql`.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::row::Row;
use crate::engine::server;
use crate::engine::types::Timestamp;
use mps_domain::error::{Error, Result, Token};
use pgrx::pg_sys::Oid;

/// What may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Normal,
    /// Since when, as it is shown, and why.
    ReadOnly(String, String),
    /// Somebody is turning it on, and waits for whoever writes.
    BeingTurnedOn,
}

impl Mode {
    /// Refuses to write, unless that is allowed.
    pub fn ensure_writable(&self) -> Result<()> {
        let detail = match self {
            Mode::Normal => return Ok(()),
            Mode::ReadOnly(since, reason) => format!("read only since {since}: {reason}"),
            Mode::BeingTurnedOn => "the database is being made read only".into(),
        };
        Err(Error::new(Token::ReadOnly, detail))
    }
}

/// The mode as it is now, whatever the snapshot.
pub fn now(db: &Db) -> Mode {
    let sql = "SELECT pg_catalog.to_char(m.since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"'), m.reason \
               FROM app.operating_mode m WHERE m.mode = 'read_only'";
    let read = |r: &Row| Mode::ReadOnly(r.get(1), r.get(2));
    let found = if server::statements_see_commits() { db.rows(sql, &[], read) } else { db.rows_of_now(sql, &[], read) };
    let is_read_only = found.into_iter().next();
    is_read_only.unwrap_or_else(|| {
        if !db.is_read_only() && is_being_turned_on(db) { Mode::BeingTurnedOn } else { Mode::Normal }
    })
}

/// Whether somebody has, or waits for, the lock of who turns read_only on. A table whose lock is free is asked without a statement.
fn is_being_turned_on(db: &Db) -> bool {
    let is_free = server::relation(c"app", c"operating_mode").is_none_or(server::lets_write);
    let sql = "SELECT true FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation' AND l.mode = 'ShareRowExclusiveLock' \
                 AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
                 AND l.relation = 'app.operating_mode'::pg_catalog.regclass \
                 AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())";
    !is_free && !db.rows(sql, &[], |r| r.get::<bool>(1)).is_empty()
}

/// Locks the log as who writes an event does, to the end of the transaction: for who writes none.
pub fn lock_log() {
    if let Some(log) = server::relation(c"audit", c"event_log") {
        server::lock_to_write(log);
    }
}

/// The table of the mode.
pub fn table() -> Option<Oid> {
    server::relation(c"app", c"operating_mode")
}

/// What a change of the mode came to.
pub struct Changed {
    pub mode: String,
    pub since: Option<Timestamp>,
    pub reason: Option<String>,
    pub changed: bool,
}

/// Changes the mode, once no writer is under way any more.
pub fn change(db: &Db, mode: &str, reason: Option<&str>) -> Changed {
    let sql = "SELECT c.mode, c.since, c.reason, c.changed FROM sec.change_mode($1, $2) c";
    db.row(sql, &[p(mode), p(reason)], |r| Changed {
        mode: r.get(1),
        since: r.opt(2),
        reason: r.opt(3),
        changed: r.get(4),
    })
    .expect("one row")
}
