//! `app.migrate`: brings tables of an older release up to this library.

use crate::error::{Error, Token};
use crate::store::Db;
use crate::store::settings::{self, SCHEMA_VERSION};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn migrate() -> i32 {
    let result = Db::write(|db| {
        let found = settings::config(db).schema_version;
        if found > SCHEMA_VERSION {
            return Err(Error::new(
                Token::SchemaOutdated,
                format!(
                    "the tables have schema version {found}, the library only {SCHEMA_VERSION}: install a newer one"
                ),
            ));
        }
        settings::install(db);
        settings::set_schema_version(db, SCHEMA_VERSION);
        Ok(SCHEMA_VERSION)
    });
    result.unwrap_or_else(|e: Error| e.raise())
}
