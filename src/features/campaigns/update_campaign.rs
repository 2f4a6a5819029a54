//! `app.update_campaign`: what a campaign gives from now on.

use super::{campaign, lock, merchant, state, terms};
use crate::engine::types::{JsonbArg, Text};
use crate::kernel::args;
use crate::kernel::call::write;
use mps_domain::campaign_json;
use mps_domain::coupon::OfferStatus;
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn update_campaign(
    p_code: Option<Text>,
    p_campaign: Option<JsonbArg>,
) -> TableIterator<'static, (name!(code, String), name!(status, &'static str), name!(terms_version, i32))> {
    state(write(|call| {
        call.caller.require_backend()?;
        let code = args::code(p_code, "p_code")?;
        let given = args::keys(p_campaign, "p_campaign")?;
        let mut campaign = lock(call, code)?;
        let before = terms::newest(call.db, &campaign)?;
        let after = campaign_json::edited(&before, &given, |code| merchant(call, Some(code)))?;
        if after == before {
            return Ok(campaign);
        }
        if campaign.status == OfferStatus::Ended {
            return Err(Error::new(Token::StatusConflict, "the campaign has ended"));
        }
        campaign.terms_version += 1;
        terms::insert(call.db, campaign.id, campaign.terms_version, call.at, &after);
        campaign::update(call.db, &mut campaign)?;
        let context = json!({ "version": campaign.terms_version, "terms": campaign_json::noted(&after) });
        call.audit("campaign.updated", "campaign", code, context);
        Ok(campaign)
    }))
}
