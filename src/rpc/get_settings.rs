//! `app.get_settings`.

use super::read;
use crate::store::settings;
use crate::store::types::RawJsonb;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn get_settings() -> RawJsonb {
    read(|call| {
        call.caller.require_backend()?;
        Ok(settings::as_json(call.db))
    })
}
