//! A recharge that a gateway will not be paid for.

use crate::kernel::call::Call;
use crate::ledger::transactions;
use crate::ledger::tx::Tx;
use mps_domain::error::{Result, Token};
use mps_domain::tx_no::{TxId, TxStatus};
use serde_json::json;

/// What became of it.
pub enum Ended {
    /// It has failed now.
    Now(Tx),
    /// It had failed before.
    Before(Tx),
    /// It does not wait: it has its money, or was cancelled.
    Not(Tx),
}

/// Ends a recharge that waits.
pub fn fail(call: &Call, id: TxId, reason: &str) -> Result<Ended> {
    let open = call.open_month()?;
    let mut tx = transactions::lock(open, id).ok_or(Token::TxNotFound)?;
    call.after_waiting()?;
    match tx.status {
        TxStatus::Failed => Ok(Ended::Before(tx)),
        TxStatus::Completed | TxStatus::Cancelled => Ok(Ended::Not(tx)),
        TxStatus::Processing => {
            transactions::end_unpaid(call.db, &mut tx, TxStatus::Failed, reason)?;
            call.audit("recharge.failed", "transaction", &tx.tx_no(), json!({ "reason": reason }));
            Ok(Ended::Now(tx))
        }
    }
}
