//! What gives members coupons has in common. The coupon's row is locked and counts what is issued, so limits of number are exact.

use super::coupon::{self, Coupon};
use super::right::{self, Right};
use crate::engine::types::{Day, Timestamp, Uuid};
use crate::kernel::call::Call;
use crate::kernel::keys::{self, Claim, Scope};
use crate::kernel::{days, members};
use mps_domain::coupon::{How, RightStatus, Terms, Validity, WhyNot};
use mps_domain::error::{Error, Result, Token};
use mps_domain::member::MemberStatus;
use mps_domain::month::iso;
use mps_domain::tx_no::TxId;
use serde_json::json;

/// The request of a key: it is the first one, or what it was answered.
pub enum First {
    Time,
    Answer(Vec<Right>),
}

/// Takes a key for what is to begin with the number `first`, or finds what it was taken for: `is_it` says whether that is the same
/// request. Error: `IDEMPOTENCY_KEY_REUSED`.
pub fn claim(
    call: &Call,
    scope: Scope,
    key: Option<&str>,
    first: i64,
    is_it: impl Fn(&[Right]) -> bool,
) -> Result<First> {
    let Some(key) = key else { return Ok(First::Time) };
    let id = TxId::new(call.month, first)
        .ok_or_else(|| Error::new(Token::StatusConflict, "there are too many coupons for keys"))?;
    let Claim::Known(known) = keys::claim_key(call.db, scope, key, id.raw()) else { return Ok(First::Time) };
    call.after_waiting()?;
    let first = TxId::from_raw(known).and_then(|id| right::find(call.db, id.raw() - TxId::floor(id.month())));
    // A trigger of the shop's that asks again in the middle of the first request: there is no answer yet.
    let first = first.ok_or_else(|| Error::new(Token::StatusConflict, "the request with this key is not over yet"))?;
    let answer = right::issued_with(call.db, &first);
    if is_it(&answer) { Ok(First::Answer(answer)) } else { Err(Token::IdempotencyKeyReused.into()) }
}

/// Whether a member may get so many more of a locked coupon.
pub fn ensure_may_have(call: &Call, coupon: &Coupon, terms: &Terms, member: Uuid, count: i64) -> Result<()> {
    match members::status(call.db, member) {
        None => return Err(Token::MemberNotFound.into()),
        Some(MemberStatus::Active) => {}
        Some(_) => return Err(Token::MemberNotActive.into()),
    }
    if terms.per_member_limit.is_none() && terms.per_member_per_day.is_none() {
        return Ok(());
    }
    let (from, to) = days::bounds(call.db, days::of(call.db, call.at)?)?;
    let (had, today) = right::count(call.db, coupon.id, member, from, to);
    let within = |limit: Option<i32>, had: i64| limit.is_none_or(|limit| had + count <= limit.into());
    if !within(terms.per_member_limit, had) {
        return Err(limit("the member cannot have so many of this coupon (per_member_limit)"));
    }
    if !within(terms.per_member_per_day, today) {
        return Err(limit("the member cannot get so many of this coupon in a day (per_member_per_day)"));
    }
    Ok(())
}

fn limit(why: &'static str) -> Error {
    Error::new(Token::CouponLimit, why)
}

/// How many of a locked coupon can still be issued. Error: `COUPON_LIMIT`, none.
pub fn left(coupon: &Coupon, terms: &Terms) -> Result<i64> {
    let left = terms.issue_limit.map_or(i64::MAX, |limit| limit.saturating_sub(coupon.issued));
    if left > 0 { Ok(left) } else { Err(none_left()) }
}

pub fn none_left() -> Error {
    limit("not so many of this coupon are left (issue_limit)")
}

/// When what is issued now can be used. Error: `COUPON_NOT_USABLE`, its time is over.
pub fn validity(call: &Call, terms: &Terms) -> Result<Validity> {
    let Day(today) = days::of(call.db, call.at)?;
    let start_of = |days: i32| days::start_of(call.db, Day(today.saturating_add(days))).map(|start| start.0);
    let validity = terms.validity(call.at.0, start_of)?;
    match validity.until {
        Some(until) if until <= validity.from => {
            Err(Error::new(Token::CouponNotUsable, WhyNot::Expired(until).to_string()))
        }
        _ => Ok(validity),
    }
}

/// Gives each of these members one of a locked coupon, under these numbers; a member may be named several times.
pub fn issue(
    call: &Call,
    coupon: &mut Coupon,
    validity: Validity,
    how: How,
    to: impl Iterator<Item = (i64, Uuid)>,
) -> Result<Vec<Right>> {
    let mut first = None;
    let rights: Vec<Right> = to
        .map(|(id, member)| Right {
            id,
            issued_with: *first.get_or_insert(id),
            issued_at: call.at,
            valid_from: Timestamp(validity.from),
            valid_until: validity.until.map(Timestamp),
            member_id: member,
            coupon_id: coupon.id,
            terms_version: coupon.terms_version,
            tx_no: None,
            status: RightStatus::Active,
            how,
            version: None,
        })
        .collect();
    // First, so that a trigger on the rows which asks for more of them is counted with these.
    coupon.issued += rights.len() as i64;
    coupon::update(call.db, coupon)?;
    rights.iter().for_each(|right| right::insert(call.db, right));
    note(call, coupon, validity, how, &rights);
    Ok(rights)
}

/// All that writing them anew takes: numbers and members, in the same order; of one member all numbers are.
fn note(call: &Call, coupon: &Coupon, validity: Validity, how: How, rights: &[Right]) {
    let ids: Vec<i64> = rights.iter().map(|right| right.id).collect();
    let mut members: Vec<String> = rights.iter().map(|right| right.member_id.to_string()).collect();
    if members.iter().all(|member| *member == members[0]) {
        members.truncate(1);
    }
    let mut context = json!({
        "version": coupon.terms_version, "how": how.label(), "ids": ids, "members": members, "valid_from": iso(validity.from),
    });
    if let Some(until) = validity.until {
        context["valid_until"] = iso(until).into();
    }
    let action = if how == How::Claimed { "coupon.claimed" } else { "coupon.issued" };
    call.audit(action, "coupon", &coupon.code, context);
}
