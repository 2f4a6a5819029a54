//! `app.issue_coupon_to_all`: every member gets one.

use super::{issuing, lock, right};
use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::types::{Text, Uuid};
use crate::kernel::args;
use crate::kernel::batch::BATCH_ROWS;
use crate::kernel::call::maintain;
use crate::kernel::caller::parse_uuid;
use mps_domain::coupon::How;
use mps_domain::error::{Error, Token, invalid};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn issue_coupon_to_all_batch(p_code: Option<Text>, p_level: Option<i32>, p_after: Option<&str>) -> Option<String> {
    maintain(|call| {
        let code = args::code(p_code, "p_code")?;
        let level = p_level.map(|level| i16::try_from(level).ok().filter(|level| *level >= 0));
        if level == Some(None) {
            return Err(invalid("p_level", "is a level of membership"));
        }
        let after = p_after.map(|after| {
            parse_uuid(after)
                .ok_or_else(|| Error::new(Token::InvalidArgument, "p_after is what the batch before returned"))
        });
        let (_, mut coupon) = lock(call, code)?;
        super::ensure_active(&coupon)?;
        let terms = super::terms_of(call, &coupon)?;
        let page = page(call.db, coupon.id, level.flatten(), after.transpose()?);
        let next = page.last().filter(|_| page.len() as i64 == BATCH_ROWS).map(|(member, _)| member.to_string());
        let due: Vec<Uuid> = page.iter().filter(|(_, has_one)| !has_one).map(|(member, _)| *member).collect();
        if due.is_empty() {
            return Ok(next);
        }
        let left = issuing::left(&coupon, &terms)?;
        let count = due.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let validity = issuing::validity(call, &terms)?;
        let to = right::draw(call.db, count).into_iter().zip(due.iter().copied());
        issuing::issue(call, &mut coupon, validity, How::ToAll, to)?;
        // The next one then says that there are no more.
        Ok(if count < due.len() { page.first().map(|(member, _)| member.to_string()) } else { next })
    })
}

/// Active members after one, by id, and whether they have had one of the coupon.
fn page(db: &Db, coupon: i32, level: Option<i16>, after: Option<Uuid>) -> Vec<(Uuid, bool)> {
    db.rows(
        "SELECT m.id, EXISTS (SELECT FROM app.member_coupons h WHERE h.member_id = m.id AND h.coupon_id = $1) \
         FROM app.member_profiles m \
         WHERE m.status = 'active' AND m.id > coalesce($3, '00000000-0000-0000-0000-000000000000') \
           AND ($2 IS NULL OR EXISTS (SELECT FROM app.personal_cards c \
                                      WHERE c.member_id = m.id AND c.level = $2 AND c.status <> 'closed')) \
         ORDER BY m.id LIMIT $4",
        &[p(coupon), p(level), p(after), p(BATCH_ROWS)],
        |r| (r.get(1), r.get(2)),
    )
}
