//! `app.quote_charge`: what a charge would cost now, and why. Nothing is locked, written or used up.

use super::no_price;
use super::payer::{self, Payer};
use crate::engine::server;
use crate::engine::types::{NumericArg, NumericOut, RawJsonb, Text};
use crate::features::{campaigns, coupons};
use crate::kernel::access::operated_merchant;
use crate::kernel::args;
use crate::kernel::call::{Call, read};
use crate::ledger::posting;
use mps_domain::error::{Error, Result, Token, ensure};
use mps_domain::member::MemberStatus;
use mps_domain::money::{Discount, Money};
use mps_domain::pay_code;
use mps_domain::quote::{Quote, Step, quote};
use pgrx::prelude::*;

/// How many of the member's coupons are shown.
const COUPONS: usize = 20;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn quote_charge(
    p_merchant_code: Option<Text>,
    p_qr_plain: Option<Text>,
    p_amount: Option<NumericArg>,
    p_coupon_code: Option<Text>,
    p_excluded_amount: Option<NumericArg>,
) -> TableIterator<
    'static,
    (
        name!(final_amount, NumericOut),
        name!(discount, NumericOut),
        name!(coupon_discount, NumericOut),
        name!(points_earned, i64),
        name!(covered, bool),
        name!(lines, RawJsonb),
        name!(coupons, RawJsonb),
    ),
> {
    let (priced, covered, coupons) = read(|call| {
        refuse_addresses()?;
        let merchant = operated_merchant(call, p_merchant_code)?;
        let amount = args::amount(p_amount, "p_amount")?;
        let shown = pay_code::read(args::typed(p_qr_plain, "p_qr_plain")?);
        let excluded = args::part_of(amount, p_excluded_amount, "p_excluded_amount")?;
        let coupon = args::optional_coupon_number(p_coupon_code, "p_coupon_code")?;
        args::within_limit(amount, "p_amount", &call.config())?;
        ensure(merchant.active, Token::MerchantInactive)?;
        let (place, hash) = shown.ok_or(Token::QrExpiredOrInvalid)?;
        let payer = payer::seen(call.db, &place, &hash)?;
        priced(call, &payer, merchant.id, amount, excluded, coupon)
    });
    let (discount, coupon_discount): (Discount, Money) = (priced.discount(), priced.coupon_discount);
    TableIterator::once((
        priced.final_amount.into(),
        discount.into(),
        coupon_discount.into(),
        priced.points_earned,
        covered,
        lines(&priced),
        coupons,
    ))
}

/// Servers write the addresses of requests to their logs, and with GET or HEAD the code stands there.
fn refuse_addresses() -> Result<()> {
    if server::request_method().is_some_and(|method| !method.eq_ignore_ascii_case("POST")) {
        return Err(Error::new(Token::InvalidArgument, "a pay code does not belong into an address: use POST"));
    }
    Ok(())
}

/// The price, whether the balance covers it, and what the member's coupons would save.
fn priced(
    call: &Call,
    payer: &Payer,
    merchant: i32,
    amount: Money,
    excluded: Money,
    coupon: Option<i64>,
) -> Result<(Quote, bool, RawJsonb)> {
    let Payer { card, member, member_status, .. } = payer;
    posting::ensure_usable(card)?;
    ensure(*member_status == Some(MemberStatus::Active), Token::MemberNotActive)?;
    let mut terms = posting::terms(call, card, amount, excluded);
    campaigns::applying(call, card, merchant, terms.part()).add_to(&mut terms);
    let offers = coupons::offers(call, card, *member, merchant, &terms);
    let shown = coupon.map(|number| coupons::seen(call, number, *member)).transpose()?;
    if let Some(shown) = &shown {
        terms.coupon = Some(shown.for_charge(call, card, merchant, terms.part())?);
    }
    let priced = quote(&terms).map_err(no_price)?;
    if let Some(shown) = &shown {
        shown.ensure_covered(call, priced.coupon_discount)?;
    }
    let best: Vec<String> = offers.iter().take(COUPONS).map(coupons::Offer::to_json).collect();
    let coupons = RawJsonb::parse(&format!("[{}]", best.join(",")));
    Ok((priced, card.balance >= priced.final_amount, coupons))
}

/// How the price came about.
fn lines(priced: &Quote) -> RawJsonb {
    let label = |step| match step {
        Step::Asked => "asked",
        Step::LevelDiscount => "level_discount",
        Step::CompanyDiscount => "company_discount",
        Step::Coupon => "coupon",
    };
    let lines: Vec<String> =
        priced.lines().map(|(step, amount)| format!(r#"{{"step":"{}","amount":{}}}"#, label(step), amount)).collect();
    RawJsonb::parse(&format!("[{}]", lines.join(",")))
}
