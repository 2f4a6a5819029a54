//! `app.remove_merchant_user`: an operator goes.

use super::{ensure_may_touch, lock_user, managed_merchant};
use crate::engine::types::{Text, Uuid};
use crate::kernel::call::write;
use crate::kernel::{args, merchants};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn remove_merchant_user(p_merchant_code: Option<Text>, p_user_id: Option<Uuid>) -> bool {
    write(|call| {
        let (merchant, code) = managed_merchant(call, p_merchant_code)?;
        let user = args::required(p_user_id, "p_user_id")?;
        let open = call.open_month()?;
        let before = lock_user(call, open, merchant, user)?;
        ensure_may_touch(call, merchant, before)?;
        let Some(role) = before else {
            return Ok(false);
        };
        merchants::remove_user(call.db, merchant, user);
        call.audit(
            "merchant.user_removed",
            "merchant",
            code,
            json!({ "user_id": user.to_string(), "was": role.label() }),
        );
        Ok(true)
    })
}
