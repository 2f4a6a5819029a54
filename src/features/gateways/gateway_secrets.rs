//! `sec.gateway_secrets`: whether the secrets can be used, and whether a dump carries them.

use super::{keys, master_key};
use crate::kernel::call::read;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn gateway_secrets() -> TableIterator<'static, (name!(account, String), name!(key_id, String), name!(state, String))> {
    let found = read(|call| {
        let master = master_key::read();
        Ok(keys::secrets(call.db, call.at, &master))
    });
    TableIterator::new(found)
}
