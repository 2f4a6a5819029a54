//! Campaigns: what is given beside the price of a payment, when, where and to whom.

mod active;
mod campaign;
mod campaign_report;
mod create_campaign;
mod set_campaign_status;
mod terms;
mod update_campaign;

pub use active::{Applied, applying};

use crate::kernel::args::Given;
use crate::kernel::call::Call;
use crate::kernel::merchants;
use campaign::Campaign;
use mps_domain::error::{Result, Token};
use pgrx::prelude::*;

/// The result columns of what changes a campaign.
type State = TableIterator<'static, (name!(code, String), name!(status, &'static str), name!(terms_version, i32))>;

fn state(campaign: Campaign) -> State {
    TableIterator::once((campaign.code, campaign.status.label(), campaign.terms_version))
}

/// Locks the campaign of a code.
fn lock(call: &Call, code: &str) -> Result<Campaign> {
    let open = call.open_month()?;
    let campaign = campaign::lock(open, code);
    call.after_waiting()?;
    campaign.ok_or_else(|| Token::CampaignNotFound.into())
}

/// The id of a merchant that terms name by its code.
fn merchant<'a>(call: &Call, code: impl Given<'a>) -> Result<i32> {
    merchants::id_of(call.db, code, "p_campaign: merchants")
}
