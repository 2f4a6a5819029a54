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

/// Draws an amount from one part, and waits for nobody; false: none has so much that nobody else is drawing from.
pub fn draw(open: Open, coupon: i32, card: Uuid, amount: Money) -> Result<bool> {
    let first = first_of(card);
    for part in (0..PARTS as i16).map(|n| (first + n) % PARTS as i16) {
        let mut part: Part = parts::find(&open, coupon, part)?;
        if part.left_amount >= amount {
            part.left_amount = part.left_amount.minus(amount).expect("no more than there is");
            if parts::update_seen(&open, &part) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether so much is left, at one moment and without a lock: what others are giving back then is not there yet.
pub fn covers(db: &Db, coupon: i32, amount: Money) -> bool {
    parts::left(db, coupon) >= amount
}

/// All parts of a budget, locked.
pub struct Budget([Part; PARTS]);

/// Locks all of them, in their order; whoever holds one is waited for.
pub fn lock(open: Open, coupon: i32) -> Result<Budget> {
    parts::lock_all(open, coupon).map(Budget)
}

impl Budget {
    /// Draws from as many parts as it takes; false: there is not so much left.
    pub fn draw(mut self, open: Open, card: Uuid, amount: Money) -> Result<bool> {
        let left = self.0.each_ref().map(|part| part.left_amount);
        let Some(left) = gathered(&left, first_of(card) as usize, amount) else { return Ok(false) };
        parts::write(open, &mut self.0, left)?;
        Ok(true)
    }
}

/// Gives an amount back.
pub fn give_back(open: Open, coupon: i32, card: Uuid, amount: Money) -> Result<()> {
    parts::add(open, coupon, first_of(card), amount)
}
