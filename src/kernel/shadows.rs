//! Names that the caller's temporary objects could take from code of others on our tables: a trigger of the shop's that does
//! not fix its search_path would find them, and run what hangs on them as `mps_owner`.

use crate::engine::cache::{self, Kept};
use crate::engine::db::Db;
use crate::engine::server::{self, Raise};
use mps_domain::error::{Error, Token};

thread_local! {
    /// That sec.careless_code() had nothing.
    static NO_CARELESS_CODE: Kept<()> = const { Kept::new() };
}

/// As [`Db::write`], where nothing of that kind is in the way. Where it came while the work waited for somebody, who may have been
/// about to put it there, all of the work is undone: what has run by then may have hidden what it ran by.
pub fn write<T>(work: impl FnOnce(&Db) -> T) -> T {
    Db::write(|db| {
        let was_safe = refuse(db);
        let done = work(db);
        if was_safe {
            server::accept_invalidations();
            if !refuse(db) {
                Error::new(
                    Token::StatusConflict,
                    "while this call ran, code was put on the tables of mps that could be led to temporary objects of this session",
                )
                .raise();
            }
        }
        done
    })
}

/// Refuses to write where that could happen. Costs nothing in a session without a temporary schema, which is nearly every
/// one; in the others a query, again whenever something has changed that can have a table run code. Returns whether the session
/// could lead such code, and there is none.
pub fn refuse(db: &Db) -> bool {
    // An older extension has no such function; whoever asks it for something is told so.
    if !server::has_temporary_schema() || server::marker(c"refuse_shadows").is_none() {
        return false;
    }
    let read_at = cache::changes_of_code();
    if NO_CARELESS_CODE.with(|kept| kept.get(read_at)).is_some() {
        return true;
    }
    // Of now: an older view shows less than what runs.
    let has_none = db.rows_of_now("SELECT sec.refuse_shadows()", &[], |r| r.get(1)).pop().unwrap_or(false);
    if has_none {
        NO_CARELESS_CODE.with(|kept| kept.keep(read_at, ()));
    }
    has_none
}
