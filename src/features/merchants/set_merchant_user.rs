//! `app.set_merchant_user`: makes a user an operator of a merchant, or changes its role.

use super::{ensure_may_touch, lock_user, managed_merchant};
use crate::engine::types::{Text, Uuid};
use crate::kernel::call::write;
use crate::kernel::{args, merchants};
use mps_domain::error::{Error, Token};
use mps_domain::merchant::MerchantRole;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn set_merchant_user(p_merchant_code: Option<Text>, p_user_id: Option<Uuid>, p_role: Option<Text>) -> bool {
    write(|call| {
        let (merchant, code) = managed_merchant(call, p_merchant_code)?;
        let user = args::required(p_user_id, "p_user_id")?;
        let role = MerchantRole::from_label(args::label_or(p_role, "p_role", MerchantRole::Cashier.label())?)
            .ok_or_else(|| Error::new(Token::InvalidArgument, "p_role is owner, admin or cashier"))?;
        let open = call.open_month()?;
        let before = lock_user(call, open, merchant, user)?;
        ensure_may_touch(call, merchant, before)?;
        ensure_may_touch(call, merchant, Some(role))?;
        if before == Some(role) {
            return Ok(false);
        }
        merchants::set_role(call.db, call.at, merchant, user, role);
        call.audit(
            "merchant.user_set",
            "merchant",
            code,
            json!({ "user_id": user.to_string(), "role": role.label(), "was": before.map(MerchantRole::label) }),
        );
        Ok(true)
    })
}
