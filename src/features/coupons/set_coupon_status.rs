//! `app.set_coupon_status`: a coupon begins, pauses, goes on, ends.

use super::{coupon, lock, state};
use crate::engine::types::Text;
use crate::kernel::args;
use crate::kernel::call::write;
use mps_domain::coupon::OfferStatus;
use mps_domain::error::{Error, Token, invalid};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn set_coupon_status(
    p_code: Option<Text>,
    p_status: Option<Text>,
    p_reason: Option<Text>,
) -> TableIterator<'static, (name!(code, String), name!(status, &'static str), name!(terms_version, i32))> {
    state(write(|call| {
        call.caller.require_backend()?;
        let code = args::code(p_code, "p_code")?;
        let status = OfferStatus::from_label(args::label(p_status, "p_status")?)
            .filter(|status| *status != OfferStatus::Draft)
            .ok_or_else(|| invalid("p_status", "is active, paused or ended"))?;
        let reason = args::reason(p_reason)?;
        let (_, mut coupon) = lock(call, code)?;
        let was = coupon.status;
        if was == status {
            return Ok(coupon);
        }
        if !was.may_become(status) {
            let why = format!("a coupon that is {} does not become {}", was.label(), status.label());
            return Err(Error::new(Token::StatusConflict, why));
        }
        coupon.status = status;
        coupon::update(call.db, &mut coupon)?;
        let context = json!({ "status": status.label(), "was": was.label(), "reason": reason });
        call.audit("coupon.status_set", "coupon", code, context);
        Ok(coupon)
    }))
}
