//! Drawing from a budget, exactly and without one row that everybody waits for. A charge draws all it takes from one part, the first
//! that has so much and that nobody else is drawing from, beginning with that of its card. Where none has, the parts are gathered:
//! locked one after the other, which is the only way to hold more than one, so that nobody waits in a circle.

use super::parts::{self, Part};
use crate::engine::db::Db;
use crate::engine::types::Uuid;
use crate::kernel::months::Open;
use mps_domain::budget::{PARTS, gathered};
use mps_domain::error::Result;
use mps_domain::money::Money;

/// Which part the payments of a card draw from first.
fn first_of(card: Uuid) -> i16 {
    // The end of an id is random.
    i16::from(card.as_bytes()[15]) % PARTS as i16
}

/// Draws an amount; false: there is not so much left.
pub fn draw(open: Open, coupon: i32, card: Uuid, amount: Money) -> Result<bool> {
    let first = first_of(card);
    let mut all = Money::ZERO;
    for part in (0..PARTS as i16).map(|n| (first + n) % PARTS as i16) {
        let mut part: Part = parts::find(&open, coupon, part)?;
        all = all.plus(part.left_amount).expect("no more than the budget");
        if part.left_amount >= amount {
            part.left_amount = part.left_amount.minus(amount).expect("no more than there is");
            if parts::update_seen(&open, &part) {
                return Ok(true);
            }
        }
    }
    // What others are giving back at this moment is not there yet.
    if all < amount { Ok(false) } else { gather(open, coupon, first, amount) }
}

/// Whether so much is left, as far as can be seen without a lock. Error: `STATUS_CONFLICT`, somebody took a part away.
pub fn covers(db: &Db, coupon: i32, amount: Money) -> Result<bool> {
    let mut left = Money::ZERO;
    for part in 0..PARTS as i16 {
        left = left.plus(parts::find(db, coupon, part)?.left_amount).expect("no more than the budget");
    }
    Ok(left >= amount)
}

/// As [`draw`], from as many parts as it takes.
fn gather(open: Open, coupon: i32, first: i16, amount: Money) -> Result<bool> {
    let mut parts = parts::lock_all(open, coupon)?;
    let Some(left) = gathered(&parts.each_ref().map(|part| part.left_amount), first as usize, amount) else {
        return Ok(false);
    };
    parts::write(open, &mut parts, left)?;
    Ok(true)
}

/// Gives an amount back.
pub fn give_back(open: Open, coupon: i32, card: Uuid, amount: Money) -> Result<()> {
    parts::add(open, coupon, first_of(card), amount)
}
