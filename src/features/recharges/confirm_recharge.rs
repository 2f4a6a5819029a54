//! `app.confirm_recharge`: the gateway has the money, so the card gets it.

use super::arrival::{self, Arrival, Payment, Why};
use super::find_recharge;
use crate::engine::server;
use crate::engine::types::{JsonbArg, NumericArg, NumericOut, Text, Uuid};
use crate::kernel::args::{self, Given};
use crate::kernel::call::{Call, write};
use crate::kernel::keys::{self, OrderScope};
use crate::ledger::tx::Tx;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::tx_no::PayMethod;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn confirm_recharge_v3(
    p_tx_no: Option<Text>,
    p_amount: Option<NumericArg>,
    p_gateway_trade_no: Option<Text>,
    p_payload: Option<JsonbArg>,
    p_payment_method: Option<Text>,
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
    let confirmed = write(|call| {
        call.caller.require_backend()?;
        let (tx_type, id) = args::tx_number(p_tx_no, "p_tx_no")?;
        let given = p_gateway_trade_no.given();
        let mut paid = Payment {
            // The gateway's amount is compared, not limited: the money is there.
            amount: args::amount(p_amount, "p_amount")?,
            trade_no: args::trade_number(given, "p_gateway_trade_no")?,
            payload: args::object(p_payload, "p_payload")?,
            event: None,
            method: args::said(p_payment_method).map(paid_by).transpose()?,
        };
        let known = find_recharge(call, tx_type, id)?;
        // Releases before 0.3.0 kept the white space around it: what is claimed so stays the same number.
        let given = given.filter(|given| *given != paid.trade_no);
        if let Some(given) = given.filter(|g| keys::is_claimed(call.db, OrderScope::gateway_trade(), g)) {
            paid.trade_no = given;
        }
        confirm(call, known, &paid)
    });
    TableIterator::once((
        confirmed.tx.id.raw(),
        confirmed.tx.tx_no(),
        confirmed.tx.card_id,
        confirmed.amount.into(),
        confirmed.status,
        confirmed.replayed,
    ))
}

/// What became of it.
struct Confirmed {
    tx: Tx,
    amount: Money,
    status: &'static str,
    replayed: bool,
}

impl Confirmed {
    fn of(tx: Tx, replayed: bool) -> Confirmed {
        Confirmed { amount: tx.final_amount, status: tx.status.label(), tx, replayed }
    }
}

fn paid_by(label: &str) -> Result<PayMethod> {
    PayMethod::from_label(label)
        .filter(|method| *method != PayMethod::Balance)
        .ok_or_else(|| Error::new(Token::InvalidPaymentMethod, "p_payment_method is wechat, alipay or cash"))
}

/// What was claimed in vain is given back with the error.
fn confirm(call: &Call, known: Tx, paid: &Payment) -> Result<Confirmed> {
    match arrival::arrive(call, known, paid)? {
        Arrival::Credited(tx) => Ok(Confirmed::of(tx, false)),
        Arrival::Known(tx) => Ok(Confirmed::of(tx, true)),
        Arrival::Suspended { tx, amount, replayed } => Ok(Confirmed { tx, amount, status: "suspense", replayed }),
        Arrival::Refused { tx, why, .. } => Err(refused(&tx, paid, why)),
    }
}

/// What the caller can mend, or has to hear.
fn refused(tx: &Tx, paid: &Payment, why: Why) -> Error {
    let conflict = |detail: String| Error::new(Token::ExternalOrderConflict, detail);
    match why {
        Why::Amount(expected, whence) => {
            let (trade_no, gateway) = (paid.trade_no, paid.amount);
            server::log(
                "mps: confirm_recharge with another amount",
                &format!("{}: {whence} {expected}, the gateway says {gateway} (trade number {trade_no})", tx.tx_no()),
            );
            Token::AmountMismatch.into()
        }
        Why::Elsewhere(detail) => conflict(detail.into()),
        Why::Decided(status) => conflict(format!("the gateway trade number is in suspense, {}", status.label())),
        Why::NoRoom => Token::BalanceLimit.into(),
    }
}
