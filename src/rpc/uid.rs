//! `sec.uid`.

use crate::caller;
use crate::store::types::Uuid;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn uid() -> Option<Uuid> {
    caller::uid()
}
