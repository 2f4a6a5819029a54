//! `app.coupon_budget_parts`: what is left of a budget.

use crate::engine::db::Db;
use crate::engine::direct::Path;
use crate::engine::param::p;
use crate::engine::record::{changes, record};
use crate::engine::row::RowVersion;
use crate::kernel::months::Open;
use mps_domain::budget::{PARTS, Parts, changed, shared};
use mps_domain::error::{Error, Result, Token, invalid};
use mps_domain::money::Money;

record! {
    #[derive(Debug)]
    pub struct Part in static TABLE: c"app", "coupon_budget_parts";
    asserted {
        "((part >= 0) AND (part <= 15))",
        "(left_amount >= (0)::numeric)",
    }
    columns {
        coupon_id: i32,
        part: i16,
        left_amount: Money,
    }
    besides {
        pub version: Option<RowVersion> = |row| Some(row.version()),
    }
    read by read;
    inserted by values;
}

static BY_NO: Path = Path { table: &TABLE, index: "coupon_budget_parts_pkey", key: &["coupon_id", "part"] };

/// One as it is now, not locked. Error: `STATUS_CONFLICT`, somebody took it away.
pub fn find(db: &Db, coupon: i32, part: i16) -> Result<Part> {
    db.find(&BY_NO, None, &[p(coupon), p(part)], Part::read).ok_or_else(missing)
}

/// What all of them have left, at one moment.
pub fn left(db: &Db, coupon: i32) -> Money {
    let sql = "SELECT coalesce(pg_catalog.sum(b.left_amount), 0)::numeric(14,2) FROM app.coupon_budget_parts b WHERE b.coupon_id = $1";
    db.row(sql, &[p(coupon)], |r| r.get(1)).expect("one row")
}

fn missing() -> Error {
    Error::new(Token::StatusConflict, "a part of the coupon's budget is missing")
}

/// Writes one that was read and not locked; false: it has changed since, or somebody is about to change it.
pub fn update_seen(db: &Db, part: &Part) -> bool {
    let version = part.version.expect("it was read");
    db.update_seen(&TABLE, version, &changes!(db, part: left_amount)).is_some()
}

fn lock(open: Open, coupon: i32, part: i16) -> Option<Part> {
    open.lock(&BY_NO, None, &[p(coupon), p(part)], Part::read)
}

/// All of a coupon, locked in their order, after all that a charge locks before it draws. Error: `STATUS_CONFLICT`, somebody took one
/// away.
pub fn lock_all(open: Open, coupon: i32) -> Result<[Part; PARTS]> {
    let parts: Vec<Part> = (0..PARTS as i16).filter_map(|part| lock(open, coupon, part)).collect();
    parts.try_into().map_err(|_| missing())
}

/// Writes a locked one. Error: `STATUS_CONFLICT`, a trigger has changed it meanwhile.
fn update(db: &Db, part: &mut Part) -> Result<()> {
    let key = [p(part.coupon_id), p(part.part)];
    let changes = changes!(db, part: left_amount);
    let version = part.version.as_mut().expect("only locked ones change");
    db.update_locked(&BY_NO, None, &key, version, changes.into())
}

/// The parts of a budget of which nothing was drawn.
pub fn make(db: &Db, coupon: i32, budget: Money) {
    for (part, left_amount) in (0..).zip(shared(budget)) {
        db.insert(&TABLE, None, &Part { coupon_id: coupon, part, left_amount, version: None }.values(db));
    }
}

/// Those of a coupon that is to have no budget any more, and of which nothing was issued.
pub fn remove(db: &Db, coupon: i32) {
    db.run("DELETE FROM app.coupon_budget_parts WHERE coupon_id = $1", &[p(coupon)]);
}

/// Makes a budget larger, or smaller. Error: `INVALID_ARGUMENT`, so much is spent already.
pub fn change(open: Open, coupon: i32, by: Money) -> Result<()> {
    let mut parts = lock_all(open, coupon)?;
    let left = changed(&parts.each_ref().map(|part| part.left_amount), by)
        .ok_or_else(|| invalid("p_coupon: budget_amount", "is less than what is spent already"))?;
    write(open, &mut parts, left)
}

/// Writes what locked ones have left. Error: as [`update`].
pub fn write(open: Open, parts: &mut [Part; PARTS], left: Parts) -> Result<()> {
    for (part, left) in parts.iter_mut().zip(left) {
        if part.left_amount != left {
            part.left_amount = left;
            update(&open, part)?;
        }
    }
    Ok(())
}

/// Adds to one part, and waits for it. Error: `STATUS_CONFLICT`, somebody took it away, or a trigger has changed it meanwhile.
pub fn add(open: Open, coupon: i32, part: i16, amount: Money) -> Result<()> {
    let mut part = lock(open, coupon, part).ok_or_else(missing)?;
    part.left_amount = part.left_amount.plus(amount).expect("no more than the budget");
    update(&open, &mut part)
}
