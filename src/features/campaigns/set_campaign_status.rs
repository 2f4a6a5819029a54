//! `app.set_campaign_status`: a campaign begins, pauses, goes on, ends.

use super::{campaign, lock, state};
use crate::engine::types::Text;
use crate::kernel::args;
use crate::kernel::call::write;
use mps_domain::coupon::OfferStatus;
use mps_domain::error::{Error, Token, invalid};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn set_campaign_status(
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
        let mut campaign = lock(call, code)?;
        let was = campaign.status;
        if was == status {
            return Ok(campaign);
        }
        if !was.may_become(status) {
            let why = format!("a campaign that is {} does not become {}", was.label(), status.label());
            return Err(Error::new(Token::StatusConflict, why));
        }
        campaign.status = status;
        campaign::update(call.db, &mut campaign)?;
        let context = json!({ "status": status.label(), "was": was.label(), "reason": reason });
        call.audit("campaign.status_set", "campaign", code, context);
        Ok(campaign)
    }))
}
