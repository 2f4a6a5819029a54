//! `app.revoke_coupon`: a coupon is taken back from the member who has it.

use super::right;
use crate::engine::types::Text;
use crate::kernel::args;
use crate::kernel::call::write;
use mps_domain::coupon::{RightStatus, WhyNot, read_number};
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn revoke_coupon(p_coupon_code: Option<Text>, p_reason: Option<Text>) -> bool {
    write(|call| {
        call.caller.require_backend()?;
        let id = read_number(args::typed(p_coupon_code, "p_coupon_code")?);
        let reason = args::reason(p_reason)?;
        let open = call.open_month()?;
        let right = id.and_then(|id| right::lock(open, id));
        call.after_waiting()?;
        let mut right = right.ok_or(Token::CouponNotFound)?;
        match right.status {
            RightStatus::Revoked => return Ok(false),
            RightStatus::Used => return Err(Error::new(Token::StatusConflict, WhyNot::Used.to_string())),
            RightStatus::Active => right.status = RightStatus::Revoked,
        }
        right::update(call.db, &mut right)?;
        call.audit("coupon.revoked", "coupon", &right.number(), json!({ "reason": reason }));
        Ok(true)
    })
}
