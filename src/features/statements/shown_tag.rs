//! `sec.shown_tag`: for views, what statements do with a tag.

use crate::engine::types::RawJsonb;
use crate::ledger::chain::shown;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn shown_tag(p_tag: RawJsonb) -> RawJsonb {
    shown(p_tag)
}
