//! `app.update_coupon`: what a coupon gives from now on.

use super::coupon::{self, Coupon};
use super::{lock, merchant, parts, state, terms};
use crate::engine::types::{JsonbArg, Text};
use crate::kernel::args;
use crate::kernel::call::{Call, write};
use crate::kernel::months::Open;
use mps_domain::coupon::{OfferStatus, Terms};
use mps_domain::coupon_json;
use mps_domain::error::{Error, Result, Token};
use pgrx::prelude::*;
use serde_json::{Map, Value, json};

#[pg_extern(sql = false)]
fn update_coupon(
    p_code: Option<Text>,
    p_coupon: Option<JsonbArg>,
) -> TableIterator<'static, (name!(code, String), name!(status, &'static str), name!(terms_version, i32))> {
    state(write(|call| {
        call.caller.require_backend()?;
        let code = args::code(p_code, "p_code")?;
        let given = args::keys(p_coupon, "p_coupon")?;
        let (open, mut coupon) = lock(call, code)?;
        edit(call, open, &mut coupon, &given)?;
        Ok(coupon)
    }))
}

/// Of a locked one.
fn edit(call: &Call, open: Open, coupon: &mut Coupon, given: &Map<String, Value>) -> Result<()> {
    let before = super::terms_of(call, coupon)?;
    let after = coupon_json::edited(&before, given, |code| merchant(call, Some(code)))?;
    if after == before {
        return Ok(());
    }
    if coupon.status == OfferStatus::Ended {
        return Err(Error::new(Token::StatusConflict, "the coupon has ended"));
    }
    coupon.terms_version += 1;
    coupon.budget_amount = after.budget_amount;
    terms::insert(call.db, coupon.id, coupon.terms_version, call.at, &after);
    coupon::update(call.db, coupon)?;
    change_budget(open, coupon, &before, &after)?;
    let context = json!({ "version": coupon.terms_version, "terms": coupon_json::noted(&after) });
    call.audit("coupon.updated", "coupon", &coupon.code, context);
    Ok(())
}

/// After the coupon's own row, whose lock keeps others from issuing: of what was never issued nothing is spent.
fn change_budget(open: Open, coupon: &Coupon, before: &Terms, after: &Terms) -> Result<()> {
    match (before.budget_amount, after.budget_amount) {
        (before, after) if before == after => Ok(()),
        (Some(before), Some(after)) => {
            let by = after.minus(before).expect("both are amounts");
            parts::change(open, coupon.id, by)
        }
        _ if coupon.issued > 0 => {
            let why = "a budget begins and ends only before the first one of the coupon is issued";
            Err(Error::new(Token::StatusConflict, why))
        }
        (None, Some(budget)) => {
            parts::make(&open, coupon.id, budget);
            Ok(())
        }
        (_, None) => {
            parts::remove(&open, coupon.id);
            Ok(())
        }
    }
}
