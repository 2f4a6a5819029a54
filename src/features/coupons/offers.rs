//! What a member's coupons would save, before a charge.

use super::drawing;
use super::right::{self, Right};
use super::spending::{Held, unusable};
use crate::engine::types::Uuid;
use crate::kernel::call::Call;
use crate::ledger::cards::Card;
use mps_domain::coupon::WhyNot;
use mps_domain::error::{Result, Token};
use mps_domain::money::Money;
use mps_domain::quote::{self, quote};
use serde_json::Value;

/// How many of a member's coupons are looked at, the oldest first: who has more has them from a mistake.
const LOOKED_AT: i64 = 200;

/// A coupon that a member shows, not locked: nothing can be spent of it.
pub struct Seen(Held);

/// A coupon that could be used for a charge.
pub struct Offer {
    right: Right,
    name: String,
    /// Beside what the charge costs without it.
    saves: Money,
    final_amount: Money,
}

/// Errors: `COUPON_NOT_FOUND`.
pub fn seen(call: &Call, number: i64, member: Uuid) -> Result<Seen> {
    Held::of(call, right::of_member(call.db, number, member)?).map(Seen)
}

impl Seen {
    /// As [`Held::for_charge`].
    pub fn for_charge(&self, call: &Call, card: &Card, merchant: i32, part: Money) -> Result<quote::Coupon> {
        self.0.for_charge(call, card, merchant, part)
    }

    /// Whether what is left of the budget covers what it takes off. Errors: `COUPON_NOT_USABLE`.
    pub fn ensure_covered(&self, call: &Call, discount: Money) -> Result<()> {
        if !self.0.has_budget() || drawing::covers(call.db, self.0.coupon_id(), discount) {
            return Ok(());
        }
        Err(unusable(WhyNot::Budget))
    }
}

/// The coupons of a member that could be used for a charge on these terms, the best first; of equal ones the one that ends first.
pub fn offers(call: &Call, card: &Card, member: Uuid, merchant: i32, terms: &quote::Terms) -> Vec<Offer> {
    let Ok(without) = quote(terms) else { return vec![] };
    let mut offers: Vec<Offer> = right::active(call.db, member, call.at, LOOKED_AT)
        .into_iter()
        .filter_map(|right| offer(call, card, merchant, terms, without.final_amount, right).ok())
        .collect();
    let end = |offer: &Offer| offer.right.valid_until.map_or(i64::MAX, |until| until.0);
    offers.sort_by_key(|offer| (offer.final_amount, end(offer), offer.right.id));
    offers
}

fn offer(call: &Call, card: &Card, merchant: i32, terms: &quote::Terms, without: Money, right: Right) -> Result<Offer> {
    let held = Held::of(call, right)?;
    let coupon = held.for_charge(call, card, merchant, terms.part())?;
    let priced = quote(&quote::Terms { coupon: Some(coupon), ..*terms }).map_err(|_| Token::CouponNotUsable)?;
    let seen = Seen(held);
    seen.ensure_covered(call, priced.coupon_discount)?;
    let final_amount = priced.final_amount;
    let saves = without.minus(final_amount).expect("no more than there is");
    let (right, name) = seen.0.into_named();
    Ok(Offer { right, name, saves, final_amount })
}

impl Offer {
    /// Amounts are numbers, as in the columns of a result.
    pub fn to_json(&self) -> String {
        let name = Value::from(self.name.as_str());
        let until = self.right.valid_until.map_or(Value::Null, |until| mps_domain::month::iso(until.0).into());
        format!(
            r#"{{"coupon_code":"{}","name":{name},"saves":{},"final_amount":{},"valid_until":{until}}}"#,
            self.right.number(),
            self.saves,
            self.final_amount
        )
    }
}
