//! `audit.receipts_are_on` and `sec.secret`: what the jobs in SQL ask.

use crate::engine::{option, server};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn receipts_are_on() -> bool {
    // Where nobody knows, whoever signs is told so.
    option::SEAL_KEY_FILE.path() != Ok(None)
}

#[pg_extern(sql = false)]
fn secret() -> Vec<u8> {
    server::random::<32>().to_vec()
}
