//! `app.create_coupon`: a coupon by code, as a draft.

use super::coupon::{self, Coupon};
use super::{merchant, parts, state, terms};
use crate::engine::types::JsonbArg;
use crate::kernel::args;
use crate::kernel::call::{Call, write};
use mps_domain::coupon::Terms;
use mps_domain::coupon_json;
use mps_domain::error::{Error, Result, Token, invalid};
use pgrx::prelude::*;
use serde_json::{Value, json};

#[pg_extern(sql = false)]
fn create_coupon(
    p_coupon: Option<JsonbArg>,
) -> TableIterator<'static, (name!(code, String), name!(status, &'static str), name!(terms_version, i32))> {
    state(write(|call| {
        call.caller.require_backend()?;
        let mut given = args::keys(p_coupon, "p_coupon")?;
        let code = match given.remove("code") {
            Some(Value::String(code)) => code,
            Some(_) => return Err(invalid("p_coupon: code", "is a text")),
            None => return Err(invalid("p_coupon: code", "is missing")),
        };
        let code = args::code(Some(code.as_str()), "p_coupon: code")?;
        let asked = coupon_json::read(&given, |code| merchant(call, Some(code)))?;
        call.open_month()?;
        let created = coupon::create(call.db, call.at, code, asked.budget_amount);
        call.after_waiting()?;
        match created {
            Some(id) => make(call, id, code, &asked),
            None => known(call, code, &asked),
        }
    }))
}

fn make(call: &Call, id: i32, code: &str, asked: &Terms) -> Result<Coupon> {
    terms::insert(call.db, id, 1, call.at, asked);
    asked.budget_amount.into_iter().for_each(|budget| parts::make(call.db, id, budget));
    let context = json!({ "coupon_id": id, "version": 1, "terms": coupon_json::noted(asked) });
    call.audit("coupon.created", "coupon", code, context);
    coupon::find(call.db, code).ok_or_else(|| Error::new(Token::StatusConflict, "a trigger took the coupon away"))
}

/// The one that has the code, if it is what was asked for.
fn known(call: &Call, code: &str, asked: &Terms) -> Result<Coupon> {
    let known = coupon::find(call.db, code);
    let is_it = |known: &Coupon| terms::find(call.db, known.id, known.terms_version).as_ref() == Some(asked);
    known.filter(is_it).ok_or_else(|| Error::new(Token::StatusConflict, "the code belongs to another coupon"))
}
