//! `app.set_merchant_status`: a merchant takes payments, or no longer does.

use crate::engine::types::Text;
use crate::kernel::call::write;
use crate::kernel::{args, merchants};
use mps_domain::error::Token;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn set_merchant_status(p_merchant_code: Option<Text>, p_active: Option<bool>, p_reason: Option<Text>) -> bool {
    write(|call| {
        call.caller.require_backend()?;
        let code = args::merchant_code(p_merchant_code)?;
        let active = args::required(p_active, "p_active")?;
        let reason = args::reason(p_reason)?;
        let merchant = merchants::find(call.db, code, None).ok_or(Token::MerchantNotFound)?;
        let open = call.open_month()?;
        merchants::lock(open, merchant.id);
        call.after_waiting()?;
        let changed = merchants::set_active(call.db, merchant.id, active);
        if changed {
            call.audit("merchant.status_set", "merchant", code, json!({ "active": active, "reason": reason }));
        }
        Ok(changed)
    })
}
