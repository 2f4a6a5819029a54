//! Recharges: asked for, confirmed or failed, and money that no recharge can take.

mod arrival;
mod asked_method;
mod confirm_recharge;
mod expire_recharges;
mod fail_recharge;
mod order;
mod partly_refunded;
mod record;
mod refund_told;
mod resolution;
mod resolve_suspense;
mod suspense;
mod unpaid;
mod user_recharge_enterprise_card_admin;
mod user_recharge_personal_card;

pub use arrival::{Arrival, Payment, Why, arrive, has, is_number_of, suspend, suspend_unclaimed};
pub use order::{Order, by_id as order_of, find as find_order};
pub use partly_refunded::{Part, note_part};
pub use refund_told::{Refund, Told, refund_told};
pub use resolution::{note_refunded, send_back};
pub use suspense::{
    ALREADY_SETTLED, AMOUNT_DIFFERS, ARCHIVED, BALANCE_LIMIT, IN_A_BILL, ORDER_AMBIGUOUS, ORDER_UNKNOWN,
    PARTLY_REFUNDED, REFUNDED, credited_by, refund_number,
};
pub use unpaid::{Ended, fail};

use crate::engine::types::{NumericOut, Uuid};
use crate::kernel::call::Call;
use crate::kernel::months;
use crate::ledger::transactions;
use crate::ledger::tx::Tx;
use mps_domain::error::{Result, Token, ensure};
use mps_domain::tx_no::{TxId, TxType};
use pgrx::prelude::*;

/// The result columns of `confirm_recharge` and `fail_recharge`.
type Answer = TableIterator<
    'static,
    (
        name!(tx_id, i64),
        name!(tx_no, String),
        name!(card_id, Uuid),
        name!(amount, NumericOut),
        name!(status, &'static str),
        name!(replayed, bool),
    ),
>;

/// The row that says what became of a recharge.
fn answer(tx: Tx, replayed: bool) -> Answer {
    TableIterator::once((tx.id.raw(), tx.tx_no(), tx.card_id, tx.final_amount.into(), tx.status.label(), replayed))
}

/// A recharge by its number, not locked.
fn find_recharge(call: &Call, tx_type: TxType, id: TxId) -> Result<Tx> {
    ensure(tx_type == TxType::Recharge && months::readable(call.db, id.month())?, Token::TxNotFound)?;
    transactions::find(call.db, id).filter(|tx| tx.tx_type == TxType::Recharge).ok_or_else(|| Token::TxNotFound.into())
}
