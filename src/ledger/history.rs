//! Which months hold what of whom: those that are archived, those that are closed, and who wrote into which.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::server;
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::months::{Presence, presence};
use crate::kernel::settings;
use crate::ledger::late;
use mps_domain::error::Result;
use mps_domain::month::Month;
use mps_domain::tx_no::TxId;

/// Whose transactions are looked for.
#[derive(Clone, Copy)]
pub enum Holder {
    Merchant(i32),
    /// With company cards.
    Member(Uuid),
}

/// The months that may hold what somebody did from a moment on and up to another, the newest first: of those that are closed only
/// the ones that name them.
pub fn holding(db: &Db, holder: Holder, now: Month, from: Timestamp, to: Timestamp) -> Holding<'_> {
    let through: Option<Option<i16>> =
        db.row("SELECT pg_catalog.to_char(c.through, 'YYMM')::smallint FROM app.closed_months c", &[], |r| r.opt(1));
    let through = through.flatten().and_then(|yymm| Month::from_yymm(yymm.unsigned_abs()));
    let (first, last) = (Month::nearest(from.0), Month::nearest(to.0));
    let next = open(db, through, now, first, last);
    let closed_up_to = through.map(|t| t.min(last)).filter(|t| *t >= first);
    Holding { db, holder, next, first, closed_up_to }
}

/// See [`holding`].
pub struct Holding<'a> {
    db: &'a Db,
    holder: Holder,
    /// In the order of time.
    next: Vec<Month>,
    first: Month,
    /// The last closed month that has not been asked for yet.
    closed_up_to: Option<Month>,
}

/// How many closed months are asked for at once.
const CLOSED_AT_ONCE: i64 = 16;

impl Iterator for Holding<'_> {
    type Item = Month;

    fn next(&mut self) -> Option<Month> {
        if self.next.is_empty()
            && let Some(up_to) = self.closed_up_to.take()
        {
            let mut found = closed(self.db, self.holder, self.first, up_to);
            if found.len() as i64 == CLOSED_AT_ONCE {
                self.closed_up_to = found.last().and_then(|m| m.previous());
            }
            found.reverse();
            self.next = found;
        }
        self.next.pop()
    }
}

/// The months here that are not closed, from one to another, in the order of time. What is made ahead is left out as long as
/// nothing is in it.
fn open(db: &Db, through: Option<Month>, now: Month, first: Month, last: Month) -> Vec<Month> {
    // Of the past alone: then the catalog, which grows with the months, is not asked.
    if through.is_some_and(|through| last <= through) {
        return Vec::new();
    }
    let name = |month: Month| format!("transactions_{}", month.suffix());
    let closed = through.map_or_else(|| "transactions_".to_owned(), name);
    // Names as subqueries, and whose part each is asked one by one: so the plan does not depend on what statistics say of the catalog.
    let months = db.rows(
        "SELECT pg_catalog.right(c.relname::text, 4)::smallint FROM pg_catalog.pg_class c \
         WHERE c.relnamespace = 'app'::pg_catalog.regnamespace AND c.relname > (SELECT $1::text::name) \
               AND c.relname >= (SELECT $3::text::name) AND c.relname <= (SELECT $4::text::name) \
               AND c.relname ~ '^transactions_20[0-9]{4}$' \
               AND (SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid AND i.inhseqno = 1) \
                   = 'app.transactions'::pg_catalog.regclass \
               AND (c.relname <= (SELECT $2::text::name) OR pg_catalog.pg_relation_size(c.oid) > 0)",
        &[p(closed), p(name(now)), p(name(first)), p(name(last))],
        |r| r.get::<i16>(1),
    );
    let mut months: Vec<Month> = months.into_iter().filter_map(|m| Month::from_yymm(m.unsigned_abs())).collect();
    months.sort_unstable();
    months
}

/// The months whose transactions are here, newest first.
pub fn all(db: &Db) -> Vec<Month> {
    let mut months: Vec<Month> = db
        .rows(
            "SELECT c.relname::text FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent = 'app.transactions'::pg_catalog.regclass AND c.relname ~ '^transactions_20[0-9]{4}$'",
            &[],
            |r| r.text(1),
        )
        .iter()
        .filter_map(|name| name[name.len() - 4..].parse().ok().and_then(Month::from_yymm))
        .collect();
    months.sort_unstable();
    months.reverse();
    months
}

/// The months here that are older than an archived one, newest first: only a release before 0.3.0 left any.
pub fn left_before(db: &Db, archived: Month) -> Vec<Month> {
    all(db).into_iter().filter(|month| *month < archived).collect()
}

/// The months here that may hold what was posted before a movement that is archived, newest first: up to when that was posted, if it
/// was in a later month than its own, and those that are older, of which only a release before 0.3.0 left any.
pub fn here_before(db: &Db, archived: TxId) -> Vec<Month> {
    let posted = late::posted_at(db, archived).map(|at| Month::nearest(at.0));
    let may = |month: &Month| *month < archived.month() || posted.is_some_and(|p| *month <= p);
    all(db).into_iter().filter(|month| may(month) && presence(db, *month) == Presence::Present).collect()
}

/// Whether any archived month begins at or before a moment.
pub fn archived_by(db: &Db, at: Timestamp) -> bool {
    any_archived(db, Timestamp(i64::MIN), Timestamp(at.0.saturating_add(1)))
}

/// Whether any archived month has a moment from `from` to before `to`.
pub fn any_archived(db: &Db, from: Timestamp, to: Timestamp) -> bool {
    db.row(
        "SELECT EXISTS (SELECT FROM app.archived_months a \
            WHERE (a.month + interval '1 month') AT TIME ZONE 'UTC' > $1 AND a.month::timestamp AT TIME ZONE 'UTC' < $2)",
        &[p(from), p(to)],
        |r| r.get(1),
    )
    .unwrap_or(false)
}

/// The newest closed months that name somebody, of those that are here.
fn closed(db: &Db, holder: Holder, first: Month, up_to: Month) -> Vec<Month> {
    let (sql, of) = match holder {
        Holder::Merchant(id) => (
            "SELECT pg_catalog.to_char(m.month, 'YYMM')::smallint FROM app.merchant_months m \
             WHERE m.merchant_id = $1 AND m.month >= $2::text::date AND m.month <= $3::text::date \
                   AND NOT EXISTS (SELECT FROM app.archived_months a WHERE a.month = m.month) ORDER BY m.month DESC LIMIT $4",
            p(id),
        ),
        Holder::Member(id) => (
            "SELECT pg_catalog.to_char(m.month, 'YYMM')::smallint FROM app.member_months m \
             WHERE m.member_id = $1 AND m.month >= $2::text::date AND m.month <= $3::text::date \
                   AND NOT EXISTS (SELECT FROM app.archived_months a WHERE a.month = m.month) ORDER BY m.month DESC LIMIT $4",
            p(id),
        ),
    };
    let months =
        db.rows(sql, &[of, p(first.first_day()), p(up_to.first_day()), p(CLOSED_AT_ONCE)], |r| r.get::<i16>(1));
    months.into_iter().filter_map(|m| Month::from_yymm(m.unsigned_abs())).collect()
}

/// Notes who has written into a month that is closed, or about to be: by a clock that was set back, long after it was over. To be
/// asked after the row is written, which gives the transaction the id that closing a month waits for.
pub fn note_writer(db: &Db, month: Month, merchant: Option<i32>, company_user: Option<Uuid>) -> Result<()> {
    server::accept_invalidations();
    let noted_through = match server::statements_see_commits() {
        true => settings::config(db)?.closed_through,
        // The view of the transaction may be older than the note, which does not wait for those that only read until then.
        false => noted_through_now(db),
    };
    if noted_through.is_none_or(|through| month > through) {
        return Ok(());
    }
    if let Some(merchant) = merchant {
        db.run(
            "INSERT INTO app.merchant_months (merchant_id, month) VALUES ($1, $2::text::date) ON CONFLICT DO NOTHING",
            &[p(merchant), p(month.first_day())],
        );
    }
    if let Some(member) = company_user {
        db.run(
            "INSERT INTO app.member_months (member_id, month) VALUES ($1, $2::text::date) ON CONFLICT DO NOTHING",
            &[p(member), p(month.first_day())],
        );
    }
    Ok(())
}

fn noted_through_now(db: &Db) -> Option<Month> {
    let sql = "SELECT pg_catalog.to_char(c.noted_through, 'YYMM')::smallint FROM app.closed_months c";
    db.rows_of_now(sql, &[], |r| r.get::<i16>(1)).pop().and_then(|yymm| Month::from_yymm(yymm.unsigned_abs()))
}
