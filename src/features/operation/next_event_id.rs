//! `sec.next_event_id`: what the SQL parts of MPS number their audit events with.

use crate::engine::sequences::{self, Sequence};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn next_event_id() -> i64 {
    sequences::next(Sequence::EventId)
}
