//! `app.fail_recharge`: the gateway declined it.

use super::{answer, find_recharge};
use crate::engine::types::{NumericOut, Text, Uuid};
use crate::kernel::args;
use crate::kernel::call::write;
use crate::ledger::transactions;
use mps_domain::error::{Error, Token};
use mps_domain::tx_no::TxStatus;
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
        let open = call.open_month()?;
        let mut tx = transactions::lock(open, id).ok_or(Token::TxNotFound)?;
        call.after_waiting()?;
        match tx.status {
            TxStatus::Failed => return Ok((tx, true)),
            TxStatus::Processing => {}
            TxStatus::Completed | TxStatus::Cancelled => {
                return Err(Error::new(Token::RechargeNotPending, format!("the recharge is {}", tx.status.label())));
            }
        }
        transactions::end_unpaid(call.db, &mut tx, TxStatus::Failed, reason)?;
        call.audit("recharge.failed", "transaction", &tx.tx_no(), serde_json::json!({ "reason": reason }));
        Ok((tx, false))
    });
    answer(tx, replayed)
}
