//! `app.fail_recharge`: the gateway declined it.

use super::unpaid::{self, Ended};
use super::{answer, find_recharge};
use crate::engine::types::{NumericOut, Text, Uuid};
use crate::kernel::args;
use crate::kernel::call::write;
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn fail_recharge(
    p_tx_no: Option<Text>,
    p_reason: Option<Text>,
) -> TableIterator<
    'static,
    (
        name!(tx_id, i64),
        name!(tx_no, String),
        name!(card_id, Uuid),
        name!(amount, NumericOut),
        name!(status, &'static str),
        name!(replayed, bool),
    ),
> {
    let (tx, replayed) = write(|call| {
        call.caller.require_backend()?;
        let (tx_type, id) = args::tx_number(p_tx_no, "p_tx_no")?;
        let reason = args::reason(p_reason)?;
        find_recharge(call, tx_type, id)?;
        match unpaid::fail(call, id, reason)? {
            Ended::Now(tx) => Ok((tx, false)),
            Ended::Before(tx) => Ok((tx, true)),
            Ended::Not(tx) => {
                Err(Error::new(Token::RechargeNotPending, format!("the recharge is {}", tx.status.label())))
            }
        }
    });
    answer(tx, replayed)
}
