//! Money in suspense, of which the gateway has given some back by itself: what is left is what may still be credited.

use super::suspense::{self, Status};
use crate::kernel::call::Call;
use mps_domain::error::Result;
use mps_domain::money::Money;
use serde_json::json;

/// How a gateway tells of it.
pub enum Part<'a> {
    /// So much is left of the payment.
    Left(Money),
    /// So much went back, by this refund.
    Went(Money, &'a str),
}

/// Notes it on an open row, each refund once; whether it was new. `None`: nothing of it is this row's to note.
pub fn note_part(call: &Call, id: i64, part: &Part) -> Result<Option<bool>> {
    let open = call.open_month()?;
    let kept = suspense::lock(open, id);
    call.after_waiting()?;
    let Some(mut kept) = kept.filter(|kept| kept.status == Status::Open) else { return Ok(None) };
    let left = match part {
        Part::Left(left) if *left == kept.amount => return Ok(Some(false)),
        Part::Left(left) => *left,
        Part::Went(amount, refund) => {
            // No key of a backend's has a control character.
            let key = format!("\u{1}{refund}");
            if kept.idempotency_keys.0.insert(key, json!({ "went": amount.to_string() })).is_some() {
                return Ok(Some(false));
            }
            let Some(left) = kept.amount.minus(*amount) else { return Ok(None) };
            left
        }
    };
    // What grows again, or is nothing, is no part of it.
    if !left.is_positive() || kept.amount.minus(left).is_none_or(|went| !went.is_positive()) {
        return Ok(None);
    }
    let before = kept.amount;
    suspense::reduce(call.db, &mut kept, left)?;
    let context = json!({
        "gateway_trade_no": kept.gateway_trade_no, "amount": left.to_string(), "before": before.to_string(),
    });
    call.audit("suspense.reduced", "suspense", &id.to_string(), context);
    Ok(Some(true))
}
