//! `app.confirm_recharge`: the gateway has the money, so the card gets it.

use super::{Call, args, books, write};
use crate::error::{Error, Result, Token, ensure};
use crate::store::keys::{self, Claim, OrderScope};
use crate::store::transactions::{self, Tx};
use crate::store::types::{NumericArg, NumericOut, RawJsonb, Uuid};
use crate::store::{months, server};
use mps_domain::tx_no::{TxId, TxStatus, TxType};
use pgrx::prelude::*;

/// The result columns of `confirm_recharge` and `fail_recharge`.
pub type Answer = TableIterator<
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

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn confirm_recharge(
    p_tx_no: Option<&str>,
    p_amount: Option<NumericArg>,
    p_gateway_trade_no: Option<&str>,
    p_payload: Option<RawJsonb>,
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
        // The gateway's amount is compared, not limited: the money is there.
        let amount = args::amount(p_amount, "p_amount")?;
        let trade_no = args::key(p_gateway_trade_no, "p_gateway_trade_no")?;
        let payload = args::object(p_payload, "p_payload")?;

        let known = find_recharge(call, tx_type, id)?;
        // Claims come before row locks; the method and the order id of a recharge never change. What is claimed in vain is
        // given back with the error.
        claim(call, OrderScope::gateway_trade(known.payment_method), trade_no, id)?;
        if let Some(order) = known.external_order_id.as_deref() {
            claim(call, OrderScope::recharge(known.payment_method), order, id)?;
        }
        call.open_month()?;

        let mut tx = transactions::lock(call.db, id).ok_or(Token::TxNotFound)?;
        call.after_waiting()?;
        if amount != tx.final_amount {
            server::log(
                "mps: confirm_recharge with another amount",
                &format!("{}: asked for {}, the gateway says {amount}", tx.tx_no(), tx.final_amount),
            );
            return Err(Token::AmountMismatch.into());
        }
        if tx.status == TxStatus::Completed {
            ensure(tx.gateway_trade_no.as_deref() == Some(trade_no), Token::RechargeNotPending)?;
            return Ok((tx, true));
        }

        let mut card = books::lock_successor(call, tx.card_type, tx.card_id)?;
        tx.gateway_trade_no = Some(trade_no.into());
        let was = tx.status;
        books::post_waiting(call, &mut card, &mut tx)?;
        call.audit_with_payload(
            "recharge.confirmed",
            "transaction",
            &tx.tx_no(),
            serde_json::json!({ "gateway_trade_no": trade_no, "was": was.label() }),
            payload,
        );
        Ok((tx, false))
    });
    answer(tx, replayed)
}

pub(super) fn answer(tx: Tx, replayed: bool) -> Answer {
    TableIterator::once((tx.id.raw(), tx.tx_no(), tx.card_id, tx.final_amount.into(), tx.status.label(), replayed))
}

/// A recharge by its number, not locked.
pub(super) fn find_recharge(call: &Call, tx_type: TxType, id: TxId) -> Result<Tx> {
    ensure(tx_type == TxType::Recharge && months::readable(call.db, id.month())?, Token::TxNotFound)?;
    transactions::find(call.db, id).filter(|tx| tx.tx_type == TxType::Recharge).ok_or_else(|| Token::TxNotFound.into())
}

/// Takes an order id or trade number for a recharge, which may have it already.
fn claim(call: &Call, scope: OrderScope, order: &str, tx: TxId) -> Result<()> {
    match keys::claim_order(call.db, scope, order, tx.raw()) {
        Claim::Ours => Ok(()),
        Claim::Known(owner) if owner == tx.raw() => Ok(()),
        Claim::Known(_) => Err(Error::new(
            Token::ExternalOrderConflict,
            "the order id or gateway trade number belongs to another recharge",
        )),
    }
}
