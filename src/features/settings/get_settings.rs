//! `app.get_settings`.

use crate::engine::types::RawJsonb;
use crate::kernel::call::read;
use crate::kernel::settings;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn get_settings() -> RawJsonb {
    read(|call| {
        call.caller.require_backend()?;
        Ok(settings::as_json(call.db))
    })
}
