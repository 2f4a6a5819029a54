//! `app.set_merchant_user`: makes a user an operator of a merchant, or changes its role.

use super::args::Given;
use super::merchant_charge_by_qr::operated_merchant;
use super::{Call, args, write};
use crate::error::{Error, Result, Token};
use crate::store::merchants::{self, MerchantRole};
use crate::store::types::{Text, Uuid};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn set_merchant_user(p_merchant_code: Option<Text>, p_user_id: Option<Uuid>, p_role: Option<Text>) -> bool {
    write(|call| {
        let (merchant, code) = managed_merchant(call, p_merchant_code)?;
        let user = args::required(p_user_id, "p_user_id")?;
        let role = MerchantRole::from_label(args::label_or(p_role, "p_role", MerchantRole::Cashier.label())?)
            .ok_or_else(|| Error::new(Token::InvalidArgument, "p_role is owner, admin or cashier"))?;
        call.open_month()?;
        let before = lock_user(call, merchant, user)?;
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

/// The merchant, if the caller is a backend or its owner or admin.
pub(super) fn managed_merchant<'a>(call: &Call, code: impl Given<'a>) -> Result<(i32, &'a str)> {
    let code = code.given();
    let merchant = operated_merchant(call, code)?;
    if !call.caller.is_backend && merchant.role == Some(MerchantRole::Cashier) {
        return Err(no_manager());
    }
    Ok((merchant.id, args::merchant_code(code)?))
}

/// Locks the merchant's operators and returns the role that a user has among them.
pub(super) fn lock_user(call: &Call, merchant: i32, user: Uuid) -> Result<Option<MerchantRole>> {
    merchants::lock(call.db, merchant);
    call.after_waiting()?;
    Ok(merchants::role_of(call.db, merchant, user))
}

/// Admins manage admins and cashiers; owners are made, changed and removed by owners only. Asked under the lock, because
/// the caller's own role may have changed while it waited.
pub(super) fn ensure_may_touch(call: &Call, merchant: i32, role: Option<MerchantRole>) -> Result<()> {
    let Some(user) = call.caller.client()? else {
        return Ok(());
    };
    match merchants::role_of(call.db, merchant, user) {
        Some(MerchantRole::Owner) => Ok(()),
        Some(MerchantRole::Admin) if role == Some(MerchantRole::Owner) => {
            Err(Error::new(Token::NotAllowed, "an owner is made, changed and removed by an owner or a backend"))
        }
        Some(MerchantRole::Admin) => Ok(()),
        Some(MerchantRole::Cashier) => Err(no_manager()),
        None => Err(Token::NotMerchantUser.into()),
    }
}

fn no_manager() -> Error {
    Error::new(Token::NotAllowed, "operators are managed by an owner or an admin of the merchant, or a backend")
}
