//! The levels: what roles may do is what they may execute, of functions that do nothing else than mark a level.

use crate::engine::cache::{self, Kept};
use crate::engine::{db, server};
use pgrx::pg_sys::Oid;
use std::cell::Cell;

thread_local! {
    static LEVELS: Kept<Levels> = const { Kept::new() };
    /// The marker of backends when it was last looked up: another one belongs to an extension that was created anew.
    static MARKER: Cell<Option<Oid>> = const { Cell::new(None) };
}

/// The marker functions of the levels, and who owns them: the role that everything of ours belongs to.
#[derive(Clone, Copy)]
pub struct Levels {
    pub client: Oid,
    pub backend: Oid,
    pub operator: Oid,
    pub gateway: Oid,
    pub owner: Oid,
}

/// `None` where the extension is not there, or not whole.
pub fn levels() -> Option<Levels> {
    if let Some(known) = LEVELS.with(|kept| kept.get(cache::functions())) {
        return Some(known);
    }
    let (read_at, found) = cache::settled(cache::functions, || {
        let backend = server::marker(c"level_backend")?;
        Some(Levels {
            client: server::marker(c"level_client")?,
            backend,
            operator: server::marker(c"level_operator")?,
            gateway: server::marker(c"level_gateway")?,
            owner: server::function_owner(backend)?,
        })
    });
    let found = found?;
    if MARKER.replace(Some(found.backend)).is_some_and(|before| before != found.backend) {
        // Tables and types may be others by now; kept plans know them by their oids.
        db::forget_plans();
    }
    LEVELS.with(|kept| kept.keep(read_at, found));
    Some(found)
}
