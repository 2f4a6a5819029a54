//! `sec.uid`, and who is calling for the SQL parts: `sec.require_operator`, `sec.caller_role`.

use crate::caller;
use crate::store::server;
use crate::store::types::Uuid;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn uid() -> Option<Uuid> {
    caller::uid()
}

#[pg_extern(sql = false)]
fn require_operator() {
    caller::whole_extension().and_then(|levels| caller::require_operator(&levels)).unwrap_or_else(|e| e.raise());
}

#[pg_extern(sql = false)]
fn caller_role() -> String {
    server::role_name(server::outer_role())
}
