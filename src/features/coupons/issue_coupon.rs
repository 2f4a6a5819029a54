//! `app.issue_coupon`: a member gets coupons.

use super::issuing::{self, First};
use super::right::{self, Right};
use super::{coupon, lock, rights};
use crate::engine::types::{Text, Timestamp, Uuid};
use crate::kernel::args;
use crate::kernel::call::{Call, write};
use crate::kernel::keys::Scope;
use mps_domain::coupon::How;
use mps_domain::error::{Result, Token, invalid};
use pgrx::prelude::*;

/// Of one request.
const MOST: usize = 1_000;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn issue_coupon(
    p_code: Option<Text>,
    p_member_id: Option<Uuid>,
    p_count: Option<i32>,
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
    let (issued, replayed) = write(|call| {
        call.caller.require_backend()?;
        let code = args::code(p_code, "p_code")?;
        let member = args::required(p_member_id, "p_member_id")?;
        let count = args::required(p_count, "p_count")?;
        let count = usize::try_from(count)
            .ok()
            .filter(|count| (1..=MOST).contains(count))
            .ok_or_else(|| invalid("p_count", "is 1 to 1000"))?;
        let key = args::optional_key(p_idempotency_key, "p_idempotency_key")?;
        issue(call, code, member, count, key)
    });
    rights(issued, replayed)
}

/// What the member has got, and whether by an earlier request.
fn issue(call: &Call, code: &str, member: Uuid, count: usize, key: Option<&str>) -> Result<(Vec<Right>, bool)> {
    let seen = coupon::find(call.db, code).ok_or(Token::CouponNotFound)?;
    let ids = right::draw(call.db, count);
    let is_it = |rights: &[Right]| {
        rights.len() == count && rights.iter().all(|right| right.member_id == member && right.coupon_id == seen.id)
    };
    if let First::Answer(known) = issuing::claim(call, Scope::coupon_issue(seen.id), key, ids[0], is_it)? {
        return Ok((known, true));
    }
    let (_, mut coupon) = lock(call, code)?;
    super::ensure_active(&coupon)?;
    let terms = super::terms_of(call, &coupon)?;
    if issuing::left(&coupon, &terms)? < count as i64 {
        return Err(issuing::none_left());
    }
    issuing::ensure_may_have(call, &coupon, &terms, member, count as i64)?;
    let validity = issuing::validity(call, &terms)?;
    let to = ids.into_iter().map(|id| (id, member));
    Ok((issuing::issue(call, &mut coupon, validity, How::Issued, to)?, false))
}
