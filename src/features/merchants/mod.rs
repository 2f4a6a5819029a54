//! Merchants, and who works for them.

mod create_merchant;
mod remove_merchant_user;
mod set_merchant_status;
mod set_merchant_user;

use crate::engine::types::Uuid;
use crate::kernel::access::operated_merchant;
use crate::kernel::args::{self, Given};
use crate::kernel::call::Call;
use crate::kernel::merchants;
use crate::kernel::months::Open;
use mps_domain::error::{Error, Result, Token};
use mps_domain::merchant::MerchantRole;

/// The merchant, if the caller is a backend or its owner or admin.
fn managed_merchant<'a>(call: &Call, code: impl Given<'a>) -> Result<(i32, &'a str)> {
    let code = code.given();
    let merchant = operated_merchant(call, code)?;
    if !call.caller.is_backend && merchant.role == Some(MerchantRole::Cashier) {
        return Err(no_manager());
    }
    Ok((merchant.id, args::merchant_code(code)?))
}

/// Locks the merchant's operators and returns the role that a user has among them.
fn lock_user(call: &Call, open: Open, merchant: i32, user: Uuid) -> Result<Option<MerchantRole>> {
    merchants::lock(open, merchant);
    call.after_waiting()?;
    Ok(merchants::role_of(call.db, merchant, user))
}

/// Admins manage admins and cashiers; owners are made, changed and removed by owners only. Asked under the lock, because
/// the caller's own role may have changed while it waited.
fn ensure_may_touch(call: &Call, merchant: i32, role: Option<MerchantRole>) -> Result<()> {
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
