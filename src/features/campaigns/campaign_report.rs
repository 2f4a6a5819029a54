//! `app.campaign_report`: what a campaign has given so far.

use super::campaign;
use crate::engine::param::p;
use crate::engine::types::{NumericOut, Text};
use crate::kernel::args;
use crate::kernel::call::read;
use mps_domain::error::Token;
use mps_domain::money::Money;
use pgrx::prelude::*;

/// Of payments since the campaign was created, those that have it among theirs; one that waited may have begun before.
const REPORT: &str = "SELECT pg_catalog.count(*), pg_catalog.count(DISTINCT t.member_id) FILTER (WHERE x.lives), \
               coalesce(pg_catalog.sum(x.points) FILTER (WHERE x.lives), 0)::bigint, pg_catalog.count(*) FILTER (WHERE x.lives), \
               coalesce(pg_catalog.sum(t.final_amount - t.refunded_amount) FILTER (WHERE x.lives), 0)::numeric(14,2) \
        FROM app.transactions t \
        CROSS JOIN LATERAL (SELECT (u.value)::bigint AS points, t.refunded_amount < t.final_amount AS lives \
                            FROM pg_catalog.jsonb_each_text(t.campaigns) u WHERE u.key LIKE $1::integer || '.%') x \
        WHERE t.campaigns IS NOT NULL AND t.created_at >= $2 - interval '1 day'";

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn campaign_report(
    p_code: Option<Text>,
) -> TableIterator<
    'static,
    (name!(times, i64), name!(members, i64), name!(points_given, i64), name!(payments, i64), name!(sales, NumericOut)),
> {
    let (times, members, points, payments, sales) = read(|call| {
        call.caller.require_backend()?;
        let code = args::code(p_code, "p_code")?;
        let campaign = campaign::find(call.db, code).ok_or(Token::CampaignNotFound)?;
        let read = |r: &crate::engine::row::Row| (r.get(1), r.get(2), r.get(3), r.get(4), r.get::<Money>(5));
        Ok(call.db.row(REPORT, &[p(campaign.id), p(campaign.created_at)], read).expect("one row"))
    });
    TableIterator::once((times, members, points, payments, sales.into()))
}
