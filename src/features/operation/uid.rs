//! `sec.uid`, and what the SQL parts ask first: who is calling (`sec.require_operator`, `sec.caller_role`), and whether the tables
//! are as they must be (`sec.require_sound_tables`).

use crate::engine::db::Db;
use crate::engine::server::{self, Raise};
use crate::engine::types::Uuid;
use crate::kernel::{caller, soundness};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn uid() -> Option<Uuid> {
    caller::uid()
}

#[pg_extern(sql = false)]
fn require_operator() {
    caller::whole_extension()
        .and_then(|levels| caller::require_operator(&levels))
        .and_then(|()| Db::read(soundness::ensure))
        .unwrap_or_else(|e| e.raise());
}

#[pg_extern(sql = false)]
fn require_sound_tables() {
    caller::whole_extension().and_then(|_| Db::read(soundness::ensure)).unwrap_or_else(|e| e.raise());
}

#[pg_extern(sql = false)]
fn caller_role() -> String {
    server::role_name(server::outer_role())
}
