//! What a gateway says of a refund that a withdrawal asked for.

use super::parts::{self, Part, Payout, Status};
use super::settling::{self, By, Settled};
use crate::kernel::call::Call;
use mps_domain::error::{Result, Token};
use mps_domain::money::Money;
use mps_domain::withdrawal::can_have_gone;

/// A refund as the gateway knows it.
pub struct Refund<'a> {
    pub refund_no: &'a str,
    pub trade_no: Option<&'a str>,
    pub amount: Amount,
    pub state: State<'a>,
    /// The callback that told of it.
    pub event: Option<i64>,
}

/// How a gateway says how much.
#[derive(Clone, Copy)]
pub enum Amount {
    Of(Money),
    /// With all other refunds of the payment so far.
    SoFar(Money),
}

#[derive(Clone, Copy)]
pub enum State<'a> {
    WentBack,
    /// The payer did not get it: it is with the merchant again.
    Returned,
    /// Neither, yet: the gateway's word.
    Pending(&'a str),
}

/// What that does to a refund number.
pub struct Told {
    pub settled: Settled,
    /// The withdrawal.
    pub tx_no: String,
    pub was_paid_after_return: bool,
}

/// Completes a refund number or returns it to the card. `None`: no withdrawal has such a number.
pub fn refund_told(call: &Call, refund: &Refund) -> Result<Option<Told>> {
    // A look first: of what is no withdrawal's, trade numbers may be claimed yet, which comes before the month.
    if !parts::is_known(call.db, refund.refund_no) {
        return Ok(None);
    }
    let open = call.open_month()?;
    let part = parts::lock(open, refund.refund_no);
    call.after_waiting()?;
    let mut part = part.ok_or(Token::TxNotFound)?;
    let settled = match refund.state {
        _ if !is_of(call, refund, &part) => Settled::Otherwise,
        // Two have paid it, by different ways.
        State::WentBack if part.is_paid() && part.payout != Payout::Source => Settled::Otherwise,
        State::WentBack => settling::paid(call, open, &mut part, By { event: refund.event, gateway_refund_no: None })?,
        // Somebody else makes the transfer: that one has not failed.
        State::Returned if part.status == Status::Processing && part.payout != Payout::Source => Settled::Otherwise,
        State::Returned => settling::give_back(call, open, &mut part, "closed by the gateway", refund.event)?,
        State::Pending(state) => match settling::told(call, &mut part, state, refund.event)? {
            true => Settled::Now,
            false => Settled::Before,
        },
    };
    let was_paid_after_return = part.status == Status::PaidAfterReturn;
    Ok(Some(Told { settled, tx_no: part.tx_no, was_paid_after_return }))
}

/// Whether it is of the payment and the amount that the number stands for.
fn is_of(call: &Call, refund: &Refund, part: &Part) -> bool {
    let same_trade = refund.trade_no.is_none_or(|trade_no| part.gateway_trade_no.as_deref() == Some(trade_no));
    same_trade
        && match refund.amount {
            Amount::Of(amount) => amount == part.amount,
            Amount::SoFar(so_far) => can_have_gone(so_far, part.amount, &parts::others_of_trade(call.db, part)),
        }
}
