//! What a gateway says of a refund of money that was in suspense.

use super::partly_refunded::{Part, note_part};
use super::resolution::{self, Request, Resolution};
use super::suspense::{self, Status};
use crate::engine::param::p;
use crate::kernel::call::Call;
use crate::kernel::keys::{self, OrderScope, TradeOwner};
use mps_domain::error::Result;
use mps_domain::money::Money;

/// A refund as the gateway knows it.
pub struct Refund<'a> {
    pub out_refund_no: &'a str,
    pub trade_no: Option<&'a str>,
    /// `None`: all that was left of the payment.
    pub amount: Option<Money>,
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
    /// Nobody here asked for it, and it took a part of what waits; whether that was known.
    Part { before: bool },
}

/// Completes a refund out of suspense, or opens the row again. A row whose whole money went back is over, whoever asked for that, and
/// whatever was said of it before: nobody credits it any more.
pub fn refund_told(call: &Call, refund: &Refund) -> Result<Told> {
    let Some(id) = row_of(call, refund) else { return Ok(Told::Unknown) };
    let open = call.open_month()?;
    let kept = suspense::lock(open, id);
    call.after_waiting()?;
    let Some(kept) = kept else { return Ok(Told::Unknown) };
    let is_asked = kept.out_refund_no.as_deref() == Some(refund.out_refund_no);
    let is_other = refund.amount.is_some_and(|amount| amount != kept.amount)
        || refund.trade_no.is_some_and(|trade_no| trade_no != kept.gateway_trade_no);
    if is_other && is_asked {
        return Ok(Told::Differs);
    }
    if is_other {
        let part = refund.amount.filter(|_| refund.went_back).map(|amount| Part::Went(amount, refund.out_refund_no));
        let noted = part.map_or(Ok(None), |part| note_part(call, id, &part))?;
        return Ok(noted.map_or(Told::Unknown, |is_new| Told::Part { before: !is_new }));
    }
    let resolution = match (kept.status, refund.went_back) {
        (Status::Refunding, true) if is_asked => Resolution::RefundCompleted,
        (Status::Refunding, false) if is_asked => Resolution::RefundFailed,
        (Status::Open | Status::Refunding, true) => {
            resolution::note_refunded(call, id, "refunded at the gateway")?;
            return Ok(Told::Done);
        }
        (Status::Refunded, true) => return Ok(Told::Before),
        (Status::Open, false) if is_asked => return Ok(Told::Before),
        _ => return Ok(Told::Unknown),
    };
    resolution::resolve(call, id, &Request { resolution, note: "as the gateway says", card: None, key: None })?;
    Ok(Told::Done)
}

/// The row that asked for it, else the one that has the payment.
fn row_of(call: &Call, refund: &Refund) -> Option<i64> {
    let sql = "SELECT s.id FROM app.suspense_payments s WHERE s.out_refund_no = $1";
    call.db.row(sql, &[p(refund.out_refund_no)], |r| r.get(1)).or_else(|| {
        let owner = keys::order_owner(call.db, OrderScope::gateway_trade(), refund.trade_no?);
        match TradeOwner::of(owner?) {
            TradeOwner::Suspense(id) => Some(id),
            TradeOwner::Recharge(_) => None,
        }
    })
}
