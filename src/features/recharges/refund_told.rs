//! What a gateway says of a refund of money that was in suspense.

use super::resolution::{self, Request, Resolution};
use super::suspense::{self, Status};
use crate::engine::param::p;
use crate::kernel::call::Call;
use mps_domain::error::Result;
use mps_domain::money::Money;

/// A refund as the gateway knows it.
pub struct Refund<'a> {
    pub out_refund_no: &'a str,
    pub trade_no: Option<&'a str>,
    pub amount: Money,
    /// Whether the payer has the money, or it came back.
    pub went_back: bool,
}

/// What that does to the row which asked for it.
pub enum Told {
    /// It is over, or open again.
    Done,
    /// It was so already.
    Before,
    /// No row asks for such a refund (any more).
    Unknown,
    /// It is of another payment or amount.
    Differs,
}

/// Completes a refund out of suspense, or opens the row again.
pub fn refund_told(call: &Call, refund: &Refund) -> Result<Told> {
    let sql = "SELECT s.id FROM app.suspense_payments s WHERE s.out_refund_no = $1";
    let Some(id) = call.db.row::<i64>(sql, &[p(refund.out_refund_no)], |r| r.get(1)) else { return Ok(Told::Unknown) };
    let open = call.open_month()?;
    let kept = suspense::lock(open, id).filter(|kept| kept.out_refund_no.as_deref() == Some(refund.out_refund_no));
    call.after_waiting()?;
    let Some(kept) = kept else { return Ok(Told::Unknown) };
    if kept.amount != refund.amount || refund.trade_no.is_some_and(|trade_no| trade_no != kept.gateway_trade_no) {
        return Ok(Told::Differs);
    }
    let resolution = if refund.went_back { Resolution::RefundCompleted } else { Resolution::RefundFailed };
    match (kept.status, refund.went_back) {
        (Status::Refunding, _) => {}
        (Status::Refunded, true) | (Status::Open, false) => return Ok(Told::Before),
        _ => return Ok(Told::Unknown),
    }
    resolution::resolve(call, id, &Request { resolution, note: "as the gateway says", card: None, key: None })?;
    Ok(Told::Done)
}
