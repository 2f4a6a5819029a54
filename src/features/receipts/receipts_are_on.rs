//! `audit.receipts_are_on` and `sec.secret`: what the jobs in SQL ask.

use crate::engine::{option, server};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn receipts_are_on() -> bool {
    option::seal_key_file().is_some()
}

#[pg_extern(sql = false)]
fn secret() -> Vec<u8> {
    server::random::<32>().to_vec()
}
