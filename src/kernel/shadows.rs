//! Names that the caller's temporary objects could take from code of others on our tables: a trigger of the shop's that does
//! not fix its search_path would find them, and run what hangs on them as `mps_owner`.

use crate::engine::cache::{self, Kept};
use crate::engine::db::Db;
use crate::engine::server;

thread_local! {
    /// That sec.careless_code() had nothing.
    static NO_CARELESS_CODE: Kept<()> = const { Kept::new() };
}

/// As [`Db::write`], where nothing of that kind is in the way.
pub fn write<T>(work: impl FnOnce(&Db) -> T) -> T {
    Db::write(|db| {
        refuse(db);
        work(db)
    })
}

/// Refuses to write where that could happen. Costs nothing in a session without a temporary schema, which is nearly every
/// one; in the others a query, again whenever a relation or a function has changed.
fn refuse(db: &Db) {
    // An older extension has no such function; whoever asks it for something is told so.
    if !server::has_temporary_schema()
        || NO_CARELESS_CODE.with(|kept| kept.get(cache::changes())).is_some()
        || server::marker(c"refuse_shadows").is_none()
    {
        return;
    }
    let read_at = cache::changes();
    if db.row("SELECT sec.refuse_shadows()", &[], |r| r.get(1)).unwrap_or(false) {
        NO_CARELESS_CODE.with(|kept| kept.keep(read_at, ()));
    }
}
