//! Payments: charged by a pay code, refunded, corrected.

mod cancel_payment;
mod compensate_tx;
mod giving_back;
mod merchant_charge_by_qr;
mod merchant_refund_tx;
mod payer;
mod quote_charge;

use crate::features::coupons;
use mps_domain::coupon::WhyNot;
use mps_domain::error::{Error, Token};
use mps_domain::quote::NoPrice;

/// Why there is no price, as an error.
fn no_price(why: NoPrice) -> Error {
    match why {
        NoPrice::NothingLeftToPay => Error::new(Token::InvalidAmount, "after the discount nothing is left to pay"),
        NoPrice::PointsOutOfRange => Error::new(Token::InvalidAmount, "the points for it are out of range"),
        NoPrice::CouponSavesNothing => coupons::unusable(WhyNot::SavesNothing),
        NoPrice::DiscountIsBetter => coupons::unusable(WhyNot::DiscountIsBetter),
    }
}
