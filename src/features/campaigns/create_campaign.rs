//! `app.create_campaign`: a campaign by code, as a draft.

use super::campaign::{self, Campaign};
use super::{merchant, state, terms};
use crate::engine::types::JsonbArg;
use crate::kernel::args;
use crate::kernel::call::{Call, write};
use mps_domain::campaign::Terms;
use mps_domain::campaign_json;
use mps_domain::error::{Error, Result, Token, invalid};
use pgrx::prelude::*;
use serde_json::{Value, json};

#[pg_extern(sql = false)]
fn create_campaign(
    p_campaign: Option<JsonbArg>,
) -> TableIterator<'static, (name!(code, String), name!(status, &'static str), name!(terms_version, i32))> {
    state(write(|call| {
        call.caller.require_backend()?;
        let mut given = args::keys(p_campaign, "p_campaign")?;
        let code = match given.remove("code") {
            Some(Value::String(code)) => code,
            Some(_) => return Err(invalid("p_campaign: code", "is a text")),
            None => return Err(invalid("p_campaign: code", "is missing")),
        };
        let code = args::code(Some(code.as_str()), "p_campaign: code")?;
        let asked = campaign_json::read(&given, |code| merchant(call, Some(code)))?;
        call.open_month()?;
        let created = campaign::create(call.db, call.at, code);
        call.after_waiting()?;
        match created {
            Some(id) => make(call, id, code, &asked),
            None => known(call, code, &asked),
        }
    }))
}

fn make(call: &Call, id: i32, code: &str, asked: &Terms) -> Result<Campaign> {
    terms::insert(call.db, id, 1, call.at, asked);
    let context = json!({ "campaign_id": id, "version": 1, "terms": campaign_json::noted(asked) });
    call.audit("campaign.created", "campaign", code, context);
    campaign::find(call.db, code).ok_or_else(|| Error::new(Token::StatusConflict, "a trigger took the campaign away"))
}

/// The one that has the code, if it is what was asked for.
fn known(call: &Call, code: &str, asked: &Terms) -> Result<Campaign> {
    let another = || Error::new(Token::StatusConflict, "the code belongs to another campaign");
    let known = campaign::find(call.db, code).ok_or_else(another)?;
    if terms::newest(call.db, &known)? == *asked { Ok(known) } else { Err(another()) }
}
