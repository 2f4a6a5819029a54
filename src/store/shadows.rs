//! Names that the caller's temporary objects could take from code of others on our tables: a trigger of the shop's that does
//! not fix its search_path would find them, and run what hangs on them as `mps_owner`.

use super::{Db, cache, server};

/// Refuses to write where that could happen. Costs nothing in a session without a temporary schema, which is nearly every
/// one; in the others a query, again whenever a relation or a function has changed.
pub fn refuse(db: &Db) {
    // An older extension has no such function; whoever asks it for something is told so.
    if !server::has_temporary_schema() || cache::knows_no_careless_code() || server::marker(c"refuse_shadows").is_none()
    {
        return;
    }
    let read_at = cache::generation();
    if db.row("SELECT sec.refuse_shadows()", &[], |r| r.get(1)).unwrap_or(false) {
        cache::remember_no_careless_code(read_at);
    }
}
