//! `app.set_gateway_key`: whoever sets a key decides who makes money.

use super::{KEY_BYTES, set_key};
use crate::engine::types::{Text, Timestamp};
use crate::kernel::args;
use crate::kernel::call::write;
use pgrx::prelude::*;
use zeroize::Zeroizing;

#[pg_extern(sql = false)]
fn set_gateway_key(
    p_account: Option<Text>,
    p_kind: Option<Text>,
    p_key_id: Option<Text>,
    p_key: Option<Text>,
    p_valid_from: Option<Timestamp>,
    p_valid_until: Option<Timestamp>,
) -> bool {
    write(|call| {
        call.caller.require_superuser()?;
        let key = args::text(p_key, "p_key", KEY_BYTES)?;
        set_key(call, p_account, (p_kind, p_key_id), (p_valid_from, p_valid_until), |_| {
            Ok(Zeroizing::new(key.to_owned()))
        })
    })
}
