//! `app.claim_coupon`: the member gets a coupon itself.

use super::coupon::{self, Coupon};
use super::issuing::{self, First};
use super::right::{self, Right};
use super::{lock, rights};
use crate::engine::types::{Text, Timestamp, Uuid};
use crate::kernel::call::{Call, write};
use crate::kernel::keys::Scope;
use crate::kernel::{args, members};
use mps_domain::coupon::{How, OfferStatus, Terms};
use mps_domain::error::{Error, Result, Token};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn claim_coupon(
    p_code: Option<Text>,
    p_idempotency_key: Option<Text>,
) -> TableIterator<
    'static,
    (
        name!(coupon_code, String),
        name!(valid_from, Timestamp),
        name!(valid_until, Option<Timestamp>),
        name!(replayed, bool),
    ),
> {
    let (claimed, replayed) = write(|call| {
        let member = call.caller.client()?.ok_or_else(|| {
            Error::new(Token::NotAllowed, "a member claims for itself: a backend has app.issue_coupon")
        })?;
        let code = args::code(p_code, "p_code")?;
        let key = args::optional_key(p_idempotency_key, "p_idempotency_key")?;
        claim(call, code, member, key)
    });
    rights(claimed, replayed)
}

/// What the member has got, and whether by an earlier request.
fn claim(call: &Call, code: &str, member: Uuid, key: Option<&str>) -> Result<(Vec<Right>, bool)> {
    let serial = members::serial(call.db, member).ok_or(Token::MemberNotFound)?;
    let known = coupon::find(call.db, code).ok_or(Token::CouponNotFound)?;
    let ids = right::draw(call.db, 1);
    let is_it = |rights: &[Right]| rights.iter().all(|right| right.coupon_id == known.id);
    let claimable = ensure_claimable(&known, &super::terms_of(call, &known)?);
    match issuing::claim(call, Scope::coupon_claim(serial), key, ids[0], is_it) {
        Ok(First::Answer(known)) => return Ok((known, true)),
        // Before anybody waits for it: who may not claim it learns nothing of it, by a key that was used for another one either.
        first => claimable.and(first)?,
    };
    let (_, mut coupon) = lock(call, code)?;
    let terms = super::terms_of(call, &coupon)?;
    ensure_claimable(&coupon, &terms)?;
    issuing::left(&coupon, &terms)?;
    issuing::ensure_may_have(call, &coupon, &terms, member, 1)?;
    let validity = issuing::validity(call, &terms)?;
    let to = ids.into_iter().map(|id| (id, member));
    Ok((issuing::issue(call, &mut coupon, validity, How::Claimed, to)?, false))
}

fn ensure_claimable(coupon: &Coupon, terms: &Terms) -> Result<()> {
    if coupon.status == OfferStatus::Active && terms.claimable { Ok(()) } else { Err(Token::CouponNotFound.into()) }
}
