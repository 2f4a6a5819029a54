//! A coupon at the till: who has it, whether it can be used for a charge, what becomes of it with the payment and its refund.

use super::coupon::{self, Coupon};
use super::drawing::{self, Budget};
use super::right::{self, Right};
use super::terms;
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::call::Call;
use crate::kernel::months::Open;
use crate::kernel::{days, members};
use crate::ledger::cards::Card;
use crate::ledger::lines;
use crate::ledger::tx::Tx;
use mps_domain::card::CardType;
use mps_domain::coupon::{OfferStatus, OnFullRefund, Purchase, RightStatus, Terms, WhyNot};
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::quote;
use mps_domain::tier::level_for;
use mps_domain::window::Moment;
use std::rc::Rc;

/// What a member shows at a till, locked, with what it stands for.
pub struct Held {
    right: Right,
    status: OfferStatus,
    terms: Rc<Terms>,
    /// From the budget, in this call.
    drawn: Money,
}

/// Why a coupon cannot be used now, as an error.
pub fn unusable(why: WhyNot) -> Error {
    Error::new(Token::CouponNotUsable, why.to_string())
}

/// Locks what has to be locked before the cards, for a coupon that the member whose code was shown has. One of another member and one
/// that does not exist answer alike. Errors: `COUPON_NOT_FOUND`.
pub fn lock_before_cards(call: &Call, open: Open, number: i64, member: Uuid) -> Result<()> {
    let right = right::of_member(call.db, number, member)?;
    // Two first purchases at once are one after the other, whatever cards they are paid with.
    if terms::kept(call.db, right.coupon_id, right.terms_version)?.first_purchase_only {
        members::hold(open, member);
    }
    Ok(())
}

/// Locks it, after the card that is to pay. Errors: `COUPON_NOT_FOUND`.
pub fn hold(call: &Call, open: Open, number: i64, member: Uuid, card: &Card) -> Result<Held> {
    assert!(card.is_locked);
    let right = right::lock(open, number).filter(|right| right.member_id == member);
    call.after_waiting()?;
    let right = right.ok_or(Token::CouponNotFound)?;
    Held::of(call, right)
}

fn of(call: &Call, right: &Right) -> Result<Coupon> {
    coupon::of_now(call.db, right.coupon_id)
        .ok_or_else(|| Error::new(Token::StatusConflict, "what the coupon stands for is missing"))
}

impl Held {
    /// A right, with what it stands for.
    pub fn of(call: &Call, right: Right) -> Result<Held> {
        let terms = terms::kept(call.db, right.coupon_id, right.terms_version)?;
        let status = of(call, &right)?.status;
        Ok(Held { right, status, terms, drawn: Money::ZERO })
    }

    pub fn has_budget(&self) -> bool {
        self.terms.budget_amount.is_some()
    }

    pub fn coupon_id(&self) -> i32 {
        self.right.coupon_id
    }

    /// The right, and what it is called.
    pub fn into_named(self) -> (Right, String) {
        (self.right, self.terms.name.clone())
    }

    /// What it takes off a charge of a card, of which `part` takes part. Errors: `COUPON_NOT_USABLE`, with the condition that does not
    /// hold.
    pub fn for_charge(&self, call: &Call, card: &Card, merchant: i32, part: Money) -> Result<quote::Coupon> {
        let purchase = Purchase {
            moment: moment(call, &self.terms),
            merchant,
            card_type: card.card_type,
            level: (card.card_type == CardType::Personal).then(|| level_for(&call.config().levels, card.points).level),
            part,
        };
        self.terms.usable(self.status, self.right.status, self.right.validity(), &purchase).map_err(unusable)?;
        if self.terms.first_purchase_only {
            self.ensure_first(call)?;
        }
        Ok(self.terms.priced())
    }

    fn ensure_first(&self, call: &Call) -> Result<()> {
        let has_paid = lines::has_paid(call.db, self.right.member_id);
        if has_paid { Err(unusable(WhyNot::NotTheFirstPurchase)) } else { Ok(()) }
    }

    /// Draws what it takes off from its budget, if it has one, before the card's money moves; false: that takes the whole budget to be
    /// locked. Waits for nobody. Errors: `COUPON_NOT_USABLE`, the budget does not cover it.
    pub fn draw(&mut self, open: Open, card: &Card, discount: Money) -> Result<bool> {
        let coupon = self.right.coupon_id;
        if self.has_budget() && !drawing::draw(open, coupon, card.id, discount)? {
            // The parts were seen one after the other, while others drew and gave back: only all of them at one moment say it is spent.
            return if drawing::covers(&open, coupon, discount) { Ok(false) } else { Err(unusable(WhyNot::Budget)) };
        }
        self.drawn = discount;
        Ok(true)
    }

    /// Its whole budget. It may be waited for: what was priced before is priced again then.
    pub fn lock_budget(&self, call: &Call, open: Open) -> Result<Budget> {
        let budget = drawing::lock(open, self.right.coupon_id)?;
        call.after_waiting()?;
        Ok(budget)
    }

    /// Draws from the locked budget. Errors: `COUPON_NOT_USABLE`, it does not cover that.
    pub fn draw_from(&mut self, budget: Budget, open: Open, card: &Card, discount: Money) -> Result<()> {
        self.drawn = discount;
        if budget.draw(open, card.id, discount)? { Ok(()) } else { Err(unusable(WhyNot::Budget)) }
    }

    /// Spends it for a payment that is written.
    pub fn spend(mut self, call: &Call, payment: &Tx) -> Result<()> {
        assert_eq!(payment.coupon_discount, Some(self.drawn), "what was priced was drawn");
        self.right.status = RightStatus::Used;
        self.right.tx_no = Some(payment.tx_no());
        right::update(call.db, &mut self.right)
    }
}

/// That the coupon which a payment used is not paused: asked once more where the call has waited. Error: `COUPON_NOT_USABLE`.
pub fn ensure_not_paused(call: &Call, number: i64) -> Result<()> {
    let right = right::find(call.db, number).ok_or(Token::CouponNotFound)?;
    if of(call, &right)?.status == OfferStatus::Paused { Err(unusable(WhyNot::Paused)) } else { Ok(()) }
}

/// The moment of a call; what clocks show then only where somebody asks.
fn moment(call: &Call, terms: &Terms) -> Moment {
    if terms.window.hours.is_none() && terms.window.weekdays.are_all() {
        return Moment { at: call.at.0, local: call.at.0 };
    }
    days::moment(call.db, call.at)
}

/// The coupon of a payment that is about to be fully refunded, locked, after the card that it goes to.
pub struct Refunded {
    right: Right,
    terms: Rc<Terms>,
}

/// What the payment did not take is back in the budget with it, before the card's money moves. `None` where the payment used none.
/// Error: `STATUS_CONFLICT`, somebody took it away.
pub fn refunded(call: &Call, open: Open, payment: &Tx, card: &Card) -> Result<Option<Refunded>> {
    assert!(card.is_locked);
    let Some(number) = payment.member_coupon_id else { return Ok(None) };
    let right = right::lock(open, number)
        .ok_or_else(|| Error::new(Token::StatusConflict, "the coupon of the payment is missing"))?;
    let terms = terms::kept(call.db, right.coupon_id, right.terms_version)?;
    if let Some(discount) = payment.coupon_discount.filter(|_| terms.budget_amount.is_some()) {
        drawing::give_back(open, right.coupon_id, payment.card_id, discount)?;
    }
    call.after_waiting()?;
    Ok(Some(Refunded { right, terms }))
}

impl Refunded {
    /// The coupon comes back to the member, if its terms say so and it has not ended.
    pub fn settle(mut self, call: &Call, payment: &Tx) -> Result<()> {
        let number = payment.tx_no();
        let is_spent = self.right.status == RightStatus::Used && self.right.tx_no.as_deref() == Some(number.as_str());
        let lasts = self.right.valid_until.is_none_or(|until: Timestamp| call.at < until);
        if self.terms.on_full_refund == OnFullRefund::Return && is_spent && lasts {
            self.right.status = RightStatus::Active;
            self.right.tx_no = None;
            right::update(call.db, &mut self.right)?;
            call.audit_texts("coupon.returned", "coupon", &self.right.number(), vec![("payment", number.as_str())]);
        }
        Ok(())
    }
}
