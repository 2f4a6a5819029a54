//! `app.member_coupons`: a member's right to use a coupon once.

use crate::engine::db::Db;
use crate::engine::direct::Path;
use crate::engine::param::p;
use crate::engine::record::{changes, labelled_texts, record};
use crate::engine::row::RowVersion;
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::months::Open;
use mps_domain::coupon::{How, RightStatus, Validity, number};
use mps_domain::error::{Result, Token};

labelled_texts! { RightStatus, How }

record! {
    #[derive(Debug)]
    pub struct Right in static TABLE: c"app", "member_coupons";
    asserted {
        // Of columns that are written once.
        "(valid_until > valid_from)",
        "(how = ANY (ARRAY['issued'::text, 'claimed'::text, 'to_all'::text]))",
        "(status = ANY (ARRAY['active'::text, 'used'::text, 'revoked'::text]))",
        // Who spends it, and who gives it back, changes both.
        "((status = 'used'::text) = (tx_no IS NOT NULL))",
    }
    columns {
        id: i64,
        /// The first one of the same request.
        issued_with: i64,
        issued_at: Timestamp,
        valid_from: Timestamp,
        valid_until: Option<Timestamp>,
        member_id: Uuid,
        coupon_id: i32,
        terms_version: i32,
        /// The payment that used it.
        tx_no: Option<String>,
        status: RightStatus,
        how: How,
    }
    besides {
        pub version: Option<RowVersion> = |row| Some(row.version()),
    }
    read by read;
    inserted by values;
    listed by columns;
}

static BY_ID: Path = Path { table: &TABLE, index: "member_coupons_pkey", key: &["id"] };

impl Right {
    pub fn number(&self) -> String {
        number(self.id)
    }

    pub fn validity(&self) -> Validity {
        Validity { from: self.valid_from.0, until: self.valid_until.map(|until| until.0) }
    }
}

pub fn find(db: &Db, id: i64) -> Option<Right> {
    db.find(&BY_ID, None, &[p(id)], Right::read)
}

/// One that this member has: another's and none answer alike. Error: `COUPON_NOT_FOUND`.
pub fn of_member(db: &Db, id: i64, member: Uuid) -> Result<Right> {
    find(db, id).filter(|right| right.member_id == member).ok_or_else(|| Token::CouponNotFound.into())
}

pub fn lock(open: Open, id: i64) -> Option<Right> {
    open.lock(&BY_ID, None, &[p(id)], Right::read)
}

/// So many numbers that nobody has had.
pub fn draw(db: &Db, count: usize) -> Vec<i64> {
    let sql = "SELECT pg_catalog.nextval('app.coupon_no_seq') FROM pg_catalog.generate_series(1, $1)";
    db.rows(sql, &[p(count as i64)], |r| r.get(1))
}

pub fn insert(db: &Db, right: &Right) {
    db.insert(&TABLE, None, &right.values(db));
}

/// Writes what became of a locked one. Error: `STATUS_CONFLICT`, a trigger has changed it meanwhile.
pub fn update(db: &Db, right: &mut Right) -> Result<()> {
    let changes = changes!(db, right: tx_no, status);
    let version = right.version.as_mut().expect("only locked ones change");
    db.update_locked(&BY_ID, None, &[p(right.id)], version, changes.into())
}

/// All that one request gave a member, in the order of their numbers.
pub fn issued_with(db: &Db, first: &Right) -> Vec<Right> {
    let sql = columns!(
        "SELECT ",
        ", m.ctid, m.xmin FROM app.member_coupons m WHERE m.member_id = $1 AND m.coupon_id = $2 AND m.issued_with = $3 ORDER BY m.id"
    );
    db.rows(sql, &[p(first.member_id), p(first.coupon_id), p(first.id)], Right::read)
}

/// What a member has that is not used, and not over at a moment, the oldest first.
pub fn active(db: &Db, member: Uuid, at: Timestamp, most: i64) -> Vec<Right> {
    let sql = columns!(
        "SELECT ",
        ", m.ctid, m.xmin FROM app.member_coupons m \
         WHERE m.member_id = $1 AND m.status = 'active' AND (m.valid_until IS NULL OR m.valid_until > $2) ORDER BY m.id LIMIT $3"
    );
    db.rows(sql, &[p(member), p(at), p(most)], Right::read)
}

/// How many of a coupon a member has had, and of those in a time.
pub fn count(db: &Db, coupon: i32, member: Uuid, from: Timestamp, to: Timestamp) -> (i64, i64) {
    let sql = "SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE m.issued_at >= $3 AND m.issued_at < $4) \
               FROM app.member_coupons m WHERE m.member_id = $1 AND m.coupon_id = $2";
    db.row(sql, &[p(member), p(coupon), p(from), p(to)], |r| (r.get(1), r.get(2))).expect("one row")
}
