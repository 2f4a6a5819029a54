//! `app.confirm_withdrawal`: the payer has the money.

use super::settling::{self, By, Settled};
use super::{answer, lock};
use crate::engine::types::{NumericArg, NumericOut, Text, Uuid};
use crate::kernel::args;
use crate::kernel::call::write;
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn confirm_withdrawal(
    p_refund_no: Option<Text>,
    p_amount: Option<NumericArg>,
    p_gateway_refund_no: Option<Text>,
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
        // What was paid is compared, not limited.
        let amount = args::amount(p_amount, "p_amount")?;
        let gateway_refund_no = args::said(p_gateway_refund_no)
            .map(|given| args::trade_number(Some(given), "p_gateway_refund_no"))
            .transpose()?;
        let (open, mut part) = lock(call, &number)?;
        if amount != part.amount {
            return Err(Error::new(Token::AmountMismatch, "p_amount is not what this refund number is for"));
        }
        let noted = part.gateway_refund_no.as_deref();
        if noted.is_some() && gateway_refund_no.is_some() && noted != gateway_refund_no {
            return Err(Error::new(Token::ExternalOrderConflict, "it was confirmed with another p_gateway_refund_no"));
        }
        let settled = settling::paid(call, open, &mut part, By { event: None, gateway_refund_no })?;
        if settled == Settled::Before
            && let Some(number) = gateway_refund_no
        {
            settling::numbered(call, &mut part, number)?;
        }
        Ok((part, settled == Settled::Before))
    });
    answer(part, replayed)
}
