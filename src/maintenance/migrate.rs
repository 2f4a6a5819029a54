//! `app.migrate`: brings tables of an older release up to this library.

use crate::error::{Error, Token};
use crate::store::{Db, settings};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn migrate() -> i32 {
    Db::write(settings::migrate).unwrap_or_else(|| {
        Error::new(Token::SchemaOutdated, "the extension is older than the library: ALTER EXTENSION mps UPDATE").raise()
    })
}
