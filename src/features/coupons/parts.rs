//! `app.coupon_budget_parts`: what is left of a budget.

use crate::engine::db::Db;
use crate::engine::direct::Path;
use crate::engine::param::p;
use crate::engine::record::{changes, record};
use crate::engine::row::RowVersion;
use crate::kernel::months::Open;
use mps_domain::budget::{PARTS, changed, shared};
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

fn lock(open: Open, coupon: i32, part: i16) -> Option<Part> {
    open.lock(&BY_NO, None, &[p(coupon), p(part)], Part::read)
}

/// All of a coupon, locked in their order, after all that a charge locks before it draws. Error: `STATUS_CONFLICT`, somebody took one
/// away.
fn lock_all(open: Open, coupon: i32) -> Result<[Part; PARTS]> {
    let parts: Vec<Part> = (0..PARTS as i16).filter_map(|part| lock(open, coupon, part)).collect();
    parts.try_into().map_err(|_| Error::new(Token::StatusConflict, "a part of the coupon's budget is missing"))
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
    for (part, left) in parts.iter_mut().zip(left) {
        if part.left_amount != left {
            part.left_amount = left;
            update(&open, part)?;
        }
    }
    Ok(())
}
