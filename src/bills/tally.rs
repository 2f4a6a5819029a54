//! Sums over lines, and whether a bill's own totals agree with them.

use crate::amount::{self, Yuan};
use crate::line::{Direction, Entry, Line, Side};
use crate::refusal::{Refusal, short};

impl Side {
    fn add(&mut self, amount: i64, settled: i64, fee: i64) -> Option<()> {
        self.count = self.count.checked_add(1)?;
        self.amount = self.amount.checked_add(amount)?;
        self.settled = self.settled.checked_add(settled)?;
        self.fee = self.fee.checked_add(fee)?;
        Some(())
    }
}

/// What a bill says of itself in the end, but for its own totals.
#[derive(Default)]
pub struct Sides {
    pub payments: Side,
    pub refunds: Side,
    pub incoming: Side,
    pub outgoing: Side,
}

impl Sides {
    pub fn add(&mut self, line: &Line<'_>) -> Result<(), Refusal> {
        let fee = line.fee.unwrap_or(0);
        let added = match (&line.flow, line.entry) {
            (Some(flow), _) if flow.direction == Direction::In => self.incoming.add(flow.amount, 0, 0),
            (Some(flow), _) => self.outgoing.add(flow.amount, 0, 0),
            (None, Entry::Payment) => self.payments.add(line.order_amount, line.settled_amount, fee),
            (None, Entry::Refund) => self.refunds.add(line.refund_amount, line.settled_refund, fee),
            (None, _) => Some(()),
        };
        added.ok_or(Refusal::TooMuch { line: line.number })
    }
}

/// Adds to a sum of a total; what a file has no column for adds nothing.
pub fn add(sum: &mut i64, amount: Option<i64>, line: u64) -> Result<(), Refusal> {
    *sum = sum.checked_add(amount.unwrap_or(0)).ok_or(Refusal::TooMuch { line })?;
    Ok(())
}

/// A total as the file says it, beside what its lines add up to.
pub struct Total<'a> {
    pub line: u64,
    pub name: &'a str,
    pub says: &'a str,
}

impl Total<'_> {
    fn differs(&self, lines: &dyn std::fmt::Display) -> Refusal {
        let (total, says) = (short(self.name), short(self.says));
        Refusal::Total { line: self.line, total, says, lines: lines.to_string() }
    }

    pub fn is_count(&self, lines: u64) -> Result<(), Refusal> {
        if amount::count(self.says) == Some(lines) { Ok(()) } else { Err(self.differs(&lines)) }
    }

    pub fn is_fen(&self, lines: i64) -> Result<(), Refusal> {
        if amount::fen(self.says) == Some(lines) { Ok(()) } else { Err(self.differs(&Yuan::from_fen(lines))) }
    }

    /// Whatever the sign that the file gives it.
    pub fn is_size(&self, lines: i64) -> Result<(), Refusal> {
        let says = amount::fen(self.says).map(i64::abs);
        if says == Some(lines.saturating_abs()) { Ok(()) } else { Err(self.differs(&Yuan::from_fen(lines))) }
    }

    /// Of fees, whose lines have more decimals.
    pub fn is_about(&self, lines: i64) -> Result<(), Refusal> {
        let agrees = amount::units(self.says).is_some_and(|says| amount::agrees_in_fen(says, lines));
        if agrees { Ok(()) } else { Err(self.differs(&Yuan(lines))) }
    }
}
