//! `app.fail_withdrawal`: it cannot be paid, so the card gets it again.

use super::settling::{self, Settled};
use super::{answer, lock};
use crate::engine::types::{NumericOut, Text, Uuid};
use crate::kernel::args;
use crate::kernel::call::write;
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn fail_withdrawal(
    p_refund_no: Option<Text>,
    p_reason: Option<Text>,
) -> TableIterator<
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
> {
    let (part, replayed) = write(|call| {
        call.caller.require_backend()?;
        let number = args::refund_number(p_refund_no, "p_refund_no")?;
        let reason = args::reason(p_reason)?;
        let (open, mut part) = lock(call, &number)?;
        match settling::give_back(call, open, &mut part, reason, None)? {
            Settled::Now => Ok((part, false)),
            Settled::Before => Ok((part, true)),
            Settled::Otherwise => Err(Error::new(Token::StatusConflict, "the payer has this money already")),
            Settled::NoRoom => Err(Token::BalanceLimit.into()),
        }
    });
    answer(part, replayed)
}
