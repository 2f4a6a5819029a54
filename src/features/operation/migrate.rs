//! `app.migrate`: brings tables of an older release up to this library.

use crate::engine::server::Raise;
use crate::kernel::{settings, shadows};
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn migrate() -> i32 {
    shadows::write(settings::migrate).unwrap_or_else(|| {
        Error::new(Token::SchemaOutdated, "the extension is older than the library: ALTER EXTENSION mps UPDATE").raise()
    })
}
