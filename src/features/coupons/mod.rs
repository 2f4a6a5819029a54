//! Coupons: what can be issued, under which terms, and what members have of it.

mod claim_coupon;
mod coupon;
mod create_coupon;
mod drawing;
mod issue_coupon;
mod issue_coupon_to_all;
mod issuing;
mod offers;
mod parts;
mod revoke_coupon;
mod right;
mod set_coupon_status;
mod spending;
mod terms;
mod update_coupon;

pub use offers::{Offer, offers, seen};
pub use spending::{Held, ensure_not_paused, hold, lock_before_cards, refunded, unusable};

use crate::engine::types::Timestamp;
use crate::kernel::args::Given;
use crate::kernel::call::Call;
use crate::kernel::merchants;
use crate::kernel::months::Open;
use coupon::Coupon;
use mps_domain::coupon::{OfferStatus, Terms};
use mps_domain::error::{Error, Result, Token};
use pgrx::prelude::*;
use right::Right;

/// The result columns of what changes a coupon.
type State = TableIterator<'static, (name!(code, String), name!(status, &'static str), name!(terms_version, i32))>;

/// The result columns of what gives members coupons.
type Issued = TableIterator<
    'static,
    (
        name!(coupon_code, String),
        name!(valid_from, Timestamp),
        name!(valid_until, Option<Timestamp>),
        name!(replayed, bool),
    ),
>;

fn state(coupon: Coupon) -> State {
    TableIterator::once((coupon.code, coupon.status.label(), coupon.terms_version))
}

fn rights(rights: Vec<Right>, replayed: bool) -> Issued {
    TableIterator::new(
        rights.into_iter().map(move |right| (right.number(), right.valid_from, right.valid_until, replayed)),
    )
}

/// Locks the coupon of a code.
fn lock<'a>(call: &'a Call, code: &str) -> Result<(Open<'a>, Coupon)> {
    let open = call.open_month()?;
    let coupon = coupon::lock(open, code);
    call.after_waiting()?;
    Ok((open, coupon.ok_or(Token::CouponNotFound)?))
}

/// The id of a merchant that terms name by its code.
fn merchant<'a>(call: &Call, code: impl Given<'a>) -> Result<i32> {
    merchants::id_of(call.db, code, "p_coupon: merchants")
}

/// The newest terms of one. Error: `STATUS_CONFLICT`, somebody took them away.
fn terms_of(call: &Call, coupon: &Coupon) -> Result<Terms> {
    let terms = terms::find(call.db, coupon.id, coupon.terms_version);
    terms.ok_or_else(|| Error::new(Token::StatusConflict, "the coupon's terms are missing"))
}

/// Whether a backend may issue of it.
fn ensure_active(coupon: &Coupon) -> Result<()> {
    if coupon.status == OfferStatus::Active {
        return Ok(());
    }
    Err(Error::new(Token::StatusConflict, format!("the coupon is not active but {}", coupon.status.label())))
}
