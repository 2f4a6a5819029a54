//! `app.coupons`: what can be issued.

use crate::engine::db::Db;
use crate::engine::direct::Path;
use crate::engine::param::p;
use crate::engine::record::{Value, changes, column, labelled_texts, record};
use crate::engine::row::{Row, RowVersion};
use crate::engine::server;
use crate::engine::types::Timestamp;
use crate::kernel::months::Open;
use mps_domain::coupon::OfferStatus;
use mps_domain::error::Result;
use mps_domain::money::Money;

labelled_texts! { OfferStatus }

record! {
    /// A coupon that can be issued.
    #[derive(Debug)]
    pub struct Coupon in static TABLE: c"app", "coupons";
    asserted {
        // No call makes it less.
        "(issued >= 0)",
        // Of terms that were read.
        "(budget_amount > (0)::numeric)",
        "(status = ANY (ARRAY['draft'::text, 'active'::text, 'paused'::text, 'ended'::text]))",
    }
    columns {
        id: i32,
        /// Its newest terms.
        terms_version: i32,
        issued: i64,
        created_at: _,
        budget_amount: Option<Money>,
        status: OfferStatus,
        code: String,
    }
    besides {
        version: RowVersion = Row::version,
    }
    read by read;
}

static BY_CODE: Path = Path { table: &TABLE, index: "coupons_code_key", key: &["code"] };

static BY_ID: Path = Path { table: &TABLE, index: "coupons_pkey", key: &["id"] };

/// With the status that it has now, whatever the snapshot: a pause is obeyed by who goes by an older one.
pub fn of_now(db: &Db, id: i32) -> Option<Coupon> {
    let coupon = db.find(&BY_ID, None, &[p(id)], Coupon::read)?;
    if server::statements_see_commits() {
        return Some(coupon);
    }
    let sql = "SELECT c.status FROM app.coupons c WHERE c.id = $1";
    let status = db.rows_of_now(sql, &[p(id)], |r| OfferStatus::from_label(&r.text(1))).pop()?;
    Some(Coupon { status: status?, ..coupon })
}

pub fn find(db: &Db, code: &str) -> Option<Coupon> {
    db.find(&BY_CODE, None, &[p(code)], Coupon::read)
}

pub fn lock(open: Open, code: &str) -> Option<Coupon> {
    open.lock(&BY_CODE, None, &[p(code)], Coupon::read)
}

/// A draft with its first terms; `None` if the code is taken.
pub fn create(db: &Db, at: Timestamp, code: &str, budget: Option<Money>) -> Option<i32> {
    let new = vec![
        ("terms_version", p(1)),
        ("created_at", p(at)),
        ("budget_amount", p(budget)),
        ("status", OfferStatus::Draft.param(db)),
        ("code", p(code)),
    ];
    db.insert_some_or_nothing(&BY_CODE, new, |r| column!(r, TABLE.id))
}

/// Writes what became of a locked one. Error: `STATUS_CONFLICT`, a trigger has changed it meanwhile.
pub fn update(db: &Db, coupon: &mut Coupon) -> Result<()> {
    let changes = changes!(db, coupon: terms_version, issued, budget_amount, status);
    db.update_locked(&BY_CODE, None, &[p(coupon.code.as_str())], &mut coupon.version, changes.into())
}
