//! Withdrawals: a member's own money goes back out, to what it came in by. One refund number for each source.

mod confirm_withdrawal;
mod fail_withdrawal;
mod parts;
mod refund_told;
mod settling;
mod sources;
mod withdraw;

pub use refund_told::{Amount, Refund, State, refund_told};
pub use settling::Settled;

use crate::engine::types::{NumericOut, Uuid};
use crate::kernel::call::Call;
use crate::kernel::months::Open;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use parts::{Part, Status};
use pgrx::prelude::*;
use settling::By;

/// The result columns of `confirm_withdrawal` and `fail_withdrawal`.
type Answer = TableIterator<
    'static,
    (
        name!(refund_no, String),
        name!(tx_no, String),
        name!(card_id, Uuid),
        name!(amount, NumericOut),
        name!(status, &'static str),
        name!(returned_tx_no, Option<String>),
        name!(replayed, bool),
    ),
>;

/// A bill says that a refund number which the card has again was paid all the same: its source gives that no more. Before the card is
/// locked, as everywhere.
pub fn paid_after_return(call: &Call, refund_no: &str) -> Result<()> {
    let (open, mut part) = lock(call, refund_no)?;
    if part.status == Status::Returned {
        settling::paid(call, open, &mut part, By { event: None, gateway_refund_no: None })?;
    }
    Ok(())
}

/// Whether so much of a withdrawal may come back by a correction, whose card is locked. What is still to be paid comes back by itself
/// where it is not, and what is back already does not come again. Error: `STATUS_CONFLICT`.
pub fn ensure_not_back(call: &Call, tx_no: &str, amount: Money) -> Result<()> {
    let left = parts::may_come_back(call.db, tx_no);
    let why = || {
        let why = format!(
            "of this withdrawal no more than {left} can come back: the rest has, or waits to be paid (app.fail_withdrawal)"
        );
        Error::new(Token::StatusConflict, why)
    };
    if amount <= left { Ok(()) } else { Err(why()) }
}

/// The row that says what became of a refund number.
fn answer(part: Part, replayed: bool) -> Answer {
    TableIterator::once((
        part.refund_no,
        part.tx_no,
        part.card_id,
        part.amount.into(),
        part.status.label(),
        part.returned_tx_no,
        replayed,
    ))
}

/// Locks what a refund number stands for.
fn lock<'a>(call: &'a Call, refund_no: &str) -> Result<(Open<'a>, Part)> {
    let open = call.open_month()?;
    let part = parts::lock(open, refund_no);
    call.after_waiting()?;
    let not_there = || Error::new(Token::TxNotFound, "there is no such refund number");
    Ok((open, part.ok_or_else(not_there)?))
}
