//! The price of a charge: one function decides all of it, and says how it came about.

use crate::money::{Discount, Money, points_for, price};
use rust_decimal::Decimal;

/// Whose discount it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Of the level that a personal card has by its points.
    Level(Discount),
    /// The fixed one of a company card.
    Company(Discount),
}

impl Reduction {
    pub const fn discount(self) -> Discount {
        match self {
            Reduction::Level(discount) | Reduction::Company(discount) => discount,
        }
    }

    /// Of the same card, nothing.
    const fn none(self) -> Reduction {
        match self {
            Reduction::Level(_) => Reduction::Level(Discount::NONE),
            Reduction::Company(_) => Reduction::Company(Discount::NONE),
        }
    }
}

/// What a coupon takes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CouponKind {
    /// So much, and no more than there is.
    AmountOff(Money),
    /// So many hundredths of a per cent of it: above 0, at most 10,000.
    PercentOff(u16),
    /// All but this price.
    FixedPrice(Money),
}

/// Of a percentage, in hundredths.
const WHOLE: i64 = 10_000;

/// A coupon, as far as it decides a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coupon {
    pub kind: CouponKind,
    /// It takes off no more than this.
    pub max_discount: Option<Money>,
    /// Else it takes the place of the card's own discount.
    pub goes_with_discount: bool,
}

impl Coupon {
    /// What it leaves of a price, rounded half away from zero to the cent.
    fn applied(self, price: Money) -> Money {
        let left = match self.kind {
            CouponKind::AmountOff(value) => price.cents() - value.cents().min(price.cents()),
            CouponKind::PercentOff(hundredths) => {
                let product = i128::from(price.cents()) * i128::from(WHOLE - i64::from(hundredths));
                // No more than the price itself, which is not negative.
                ((product + i128::from(WHOLE / 2)) / i128::from(WHOLE)) as i64
            }
            CouponKind::FixedPrice(value) => value.cents().min(price.cents()),
        };
        let most = self.max_discount.map_or(i64::MAX, Money::cents);
        Money::from_cents(left.max(price.cents() - most.min(price.cents())))
    }
}

/// What points are given for a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointTerms {
    pub per_unit: Decimal,
    /// Of the campaigns; 1: there is none.
    pub multiplier: Decimal,
    /// Beside what is paid, where anything is paid for that takes part.
    pub bonus: i64,
}

impl PointTerms {
    /// Without campaigns.
    pub const fn plain(per_unit: Decimal) -> PointTerms {
        PointTerms { per_unit, multiplier: Decimal::ONE, bonus: 0 }
    }
}

/// What a price is decided by.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What the till asks for.
    pub raw_amount: Money,
    /// Of it, what takes no part: no discount, no coupon, no points. 0 to `raw_amount`.
    pub excluded: Money,
    pub reduction: Reduction,
    pub coupon: Option<Coupon>,
    /// Of a card that earns points.
    pub points: Option<PointTerms>,
}

impl Terms {
    /// What takes part.
    pub fn part(&self) -> Money {
        Money::from_cents(self.raw_amount.cents() - self.excluded.cents())
    }
}

/// A price, and the points that paying it earns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    raw_amount: Money,
    reduction: Reduction,
    /// What the card's own discount saves.
    saved: Money,
    /// What the coupon saves beside it, or in its place.
    pub coupon_discount: Money,
    pub final_amount: Money,
    /// What is paid of what takes part: points are for that.
    pub pointable: Money,
    /// What what is paid earns without campaigns.
    pub points_base: i64,
    /// All of them.
    pub points_earned: i64,
}

/// Why there is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPrice {
    NothingLeftToPay,
    PointsOutOfRange,
    CouponSavesNothing,
    /// The coupon takes the place of the card's own discount, which saves as much or more.
    DiscountIsBetter,
}

/// What a line of a quote is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What the till asks for.
    Asked,
    LevelDiscount,
    CompanyDiscount,
    Coupon,
}

impl Quote {
    /// What the price was multiplied by; nothing, where a coupon took its place.
    pub const fn discount(&self) -> Discount {
        self.reduction.discount()
    }

    /// How it came about, in the order in which it was decided: what each step adds (a discount less than nothing). The sum is
    /// what is paid. A step that changes nothing has no line.
    pub fn lines(&self) -> impl Iterator<Item = (Step, Money)> {
        let step = match self.reduction {
            Reduction::Level(_) => Step::LevelDiscount,
            Reduction::Company(_) => Step::CompanyDiscount,
        };
        let less = [(step, self.saved), (Step::Coupon, self.coupon_discount)];
        let less = less.into_iter().filter(|(_, saved)| !saved.is_zero()).map(|(step, saved)| (step, saved.negated()));
        std::iter::once((Step::Asked, self.raw_amount)).chain(less)
    }
}

/// Decides the price. The level is that of the points before the charge.
pub fn quote(terms: &Terms) -> Result<Quote, NoPrice> {
    let (raw, excluded) = (terms.raw_amount.cents(), terms.excluded.cents());
    assert!((0..=raw).contains(&excluded), "what takes no part is a part");
    let part = Money::from_cents(raw - excluded);
    let (reduction, before_coupon, left) = reduced(part, terms.reduction, terms.coupon)?;
    // Both parts are at most what was asked for.
    let less = |more: Money, less: Money| Money::from_cents(more.cents() - less.cents());
    let final_amount = Money::from_cents(left.cents() + excluded);
    if final_amount.is_zero() && left == before_coupon {
        return Err(NoPrice::NothingLeftToPay);
    }
    let (points_base, points_earned) = match terms.points {
        Some(points) => earned(left, &points).ok_or(NoPrice::PointsOutOfRange)?,
        None => (0, 0),
    };
    Ok(Quote {
        raw_amount: terms.raw_amount,
        reduction,
        saved: less(part, before_coupon),
        coupon_discount: less(before_coupon, left),
        final_amount,
        pointable: left,
        points_base,
        points_earned,
    })
}

/// Whose discount counts, and what it and the coupon leave of what takes part.
fn reduced(part: Money, own: Reduction, coupon: Option<Coupon>) -> Result<(Reduction, Money, Money), NoPrice> {
    let with_own = price(part, own.discount());
    let Some(coupon) = coupon else { return Ok((own, with_own, with_own)) };
    if coupon.goes_with_discount {
        let left = coupon.applied(with_own);
        return if left < with_own { Ok((own, with_own, left)) } else { Err(NoPrice::CouponSavesNothing) };
    }
    let left = coupon.applied(part);
    if left == part {
        Err(NoPrice::CouponSavesNothing)
    } else if left >= with_own {
        Err(NoPrice::DiscountIsBetter)
    } else {
        Ok((own.none(), part, left))
    }
}

/// Points for what is paid of what takes part: without campaigns, and all of them. One floor each.
fn earned(paid: Money, terms: &PointTerms) -> Option<(i64, i64)> {
    let base = points_for(paid, terms.per_unit)?;
    let multiplied = match terms.multiplier == Decimal::ONE {
        true => base,
        false => points_for(paid, terms.per_unit.checked_mul(terms.multiplier)?)?,
    };
    let bonus = if paid.is_positive() { terms.bonus } else { 0 };
    Some((base, multiplied.checked_add(bonus)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms(cents: i64, reduction: Reduction, rate: Option<&str>) -> Terms {
        let points = rate.map(|rate| PointTerms::plain(rate.parse().unwrap()));
        Terms { raw_amount: Money::from_cents(cents), excluded: Money::ZERO, reduction, coupon: None, points }
    }

    fn discount(thousandths: i64) -> Discount {
        Discount::from_thousandths(thousandths).unwrap()
    }

    #[test]
    fn a_price_says_how_it_came_about() {
        let level = Reduction::Level(discount(950));
        let priced = quote(&terms(5200, level, Some("1"))).unwrap();
        assert_eq!((priced.final_amount, priced.points_earned), (Money::from_cents(4940), 49));
        let lines: Vec<(Step, i64)> = priced.lines().map(|(step, amount)| (step, amount.cents())).collect();
        assert_eq!(lines, [(Step::Asked, 5200), (Step::LevelDiscount, -260)]);

        let full = quote(&terms(5200, Reduction::Company(Discount::NONE), None)).unwrap();
        assert_eq!(full.points_earned, 0);
        assert_eq!(full.lines().map(|(step, _)| step).collect::<Vec<_>>(), [Step::Asked]);
    }

    #[test]
    fn there_is_not_always_a_price() {
        let half = Reduction::Company(discount(499));
        assert_eq!(quote(&terms(1, half, None)), Err(NoPrice::NothingLeftToPay));
        let level = Reduction::Level(Discount::NONE);
        assert_eq!(quote(&terms(99_999_999_999_999, level, Some("99999999"))), Err(NoPrice::PointsOutOfRange));
    }

    fn coupon(kind: CouponKind, goes_with_discount: bool) -> Coupon {
        Coupon { kind, max_discount: None, goes_with_discount }
    }

    /// Discount in thousandths, what the coupon saves, what is paid, points without and with campaigns.
    fn decided(terms: &Terms) -> Result<(i64, i64, i64, i64, i64), NoPrice> {
        let q = quote(terms)?;
        Ok((
            q.discount().thousandths(),
            q.coupon_discount.cents(),
            q.final_amount.cents(),
            q.points_base,
            q.points_earned,
        ))
    }

    #[test]
    fn a_coupon_goes_with_the_cards_discount_or_takes_its_place() {
        let level = Reduction::Level(discount(950));
        let off = |cents| CouponKind::AmountOff(Money::from_cents(cents));
        let of = |coupon| decided(&Terms { coupon: Some(coupon), ..terms(10_000, level, Some("1")) });
        assert_eq!(of(coupon(off(2000), true)), Ok((950, 2000, 7500, 75, 75)));
        assert_eq!(of(coupon(off(2000), false)), Ok((1000, 2000, 8000, 80, 80)));
        assert_eq!(of(coupon(off(501), false)), Ok((1000, 501, 9499, 94, 94)));
        assert_eq!(of(coupon(off(500), false)), Err(NoPrice::DiscountIsBetter));
        // It pays all, and no more than all.
        assert_eq!(of(coupon(off(20_000), true)), Ok((950, 9500, 0, 0, 0)));
        assert_eq!(of(coupon(off(20_000), false)), Ok((1000, 10_000, 0, 0, 0)));
        assert_eq!(of(coupon(CouponKind::FixedPrice(Money::from_cents(990)), true)), Ok((950, 8510, 990, 9, 9)));
        assert_eq!(of(coupon(CouponKind::FixedPrice(Money::from_cents(9500)), true)), Err(NoPrice::CouponSavesNothing));
        assert_eq!(
            of(coupon(CouponKind::FixedPrice(Money::from_cents(10_001)), false)),
            Err(NoPrice::CouponSavesNothing)
        );
        let capped = Coupon { max_discount: Some(Money::from_cents(700)), ..coupon(off(2000), true) };
        assert_eq!(of(capped), Ok((950, 700, 8800, 88, 88)));
        assert_eq!(of(Coupon { max_discount: Some(Money::ZERO), ..capped }), Err(NoPrice::CouponSavesNothing));
    }

    #[test]
    fn percents_leave_the_nearest_cent() {
        let none = Reduction::Company(Discount::NONE);
        let of = |cents, hundredths| {
            let percent = coupon(CouponKind::PercentOff(hundredths), true);
            decided(&Terms { coupon: Some(percent), ..terms(cents, none, None) })
                .map(|(_, saved, paid, ..)| (saved, paid))
        };
        // 8.024; 0.005; 0.0049; 0.0001 off a cent.
        assert_eq!(of(1003, 2000), Ok((201, 802)));
        assert_eq!(of(1, 5000), Err(NoPrice::CouponSavesNothing));
        assert_eq!(of(1, 5001), Ok((1, 0)));
        assert_eq!(of(10_000, 1), Ok((1, 9999)));
        assert_eq!(of(10_000, 10_000), Ok((10_000, 0)));
    }

    #[test]
    fn what_takes_no_part_is_paid_in_full() {
        let level = Reduction::Level(discount(900));
        let excluded = |cents| Terms { excluded: Money::from_cents(cents), ..terms(10_000, level, Some("1")) };
        assert_eq!(decided(&excluded(3000)), Ok((900, 0, 9300, 63, 63)));
        let off = coupon(CouponKind::AmountOff(Money::from_cents(10_000)), true);
        assert_eq!(decided(&Terms { coupon: Some(off), ..excluded(3000) }), Ok((900, 6300, 3000, 0, 0)));
        let all = excluded(10_000);
        assert_eq!(decided(&all), Ok((900, 0, 10_000, 0, 0)));
        for goes_with_discount in [true, false] {
            let coupon = Some(Coupon { goes_with_discount, ..off });
            assert_eq!(decided(&Terms { coupon, ..all }), Err(NoPrice::CouponSavesNothing));
        }
    }

    #[test]
    fn campaigns_multiply_once_and_add_where_something_is_paid() {
        let level = Reduction::Level(discount(950));
        let of = |multiplier, coupon| {
            let points = PointTerms { per_unit: Decimal::ONE, multiplier, bonus: 10 };
            decided(&Terms { coupon, points: Some(points), ..terms(5200, level, None) })
                .map(|(.., base, all)| (base, all))
        };
        // 49.40: 123.5 and 10.
        assert_eq!(of(Decimal::new(25, 1), None), Ok((49, 133)));
        assert_eq!(of(Decimal::ONE, None), Ok((49, 59)));
        let all = coupon(CouponKind::PercentOff(10_000), true);
        assert_eq!(of(Decimal::TWO, Some(all)), Ok((0, 0)));
    }

    #[test]
    fn points_stay_in_their_column() {
        let level = Reduction::Level(Discount::NONE);
        let of = |multiplier, bonus| {
            let points = PointTerms { per_unit: Decimal::ONE, multiplier, bonus };
            quote(&Terms { points: Some(points), ..terms(100, level, None) }).map(|q| q.points_earned)
        };
        assert_eq!(of(Decimal::ONE, i64::MAX - 1), Ok(i64::MAX));
        assert_eq!(of(Decimal::ONE, i64::MAX), Err(NoPrice::PointsOutOfRange));
        assert_eq!(of(Decimal::MAX, 0), Err(NoPrice::PointsOutOfRange));
        assert_eq!(of(Decimal::from(i64::MAX), 0), Ok(i64::MAX));
    }

    #[test]
    #[should_panic(expected = "is a part")]
    fn no_more_than_all_takes_no_part() {
        let _ = quote(&Terms { excluded: Money::from_cents(2), ..terms(1, Reduction::Level(Discount::NONE), None) });
    }

    /// The nearest whole number to a fraction, half away from zero, by comparing twice the rest.
    fn nearest(numerator: i64, denominator: i64) -> i64 {
        let (n, d) = (i128::from(numerator), i128::from(denominator));
        i64::try_from(n / d + i128::from(n % d * 2 >= d)).unwrap()
    }

    proptest! {
        /// By whole numbers, step by step as the sentence has it.
        #[test]
        fn the_price_is_that_of_its_terms(
            raw in 1i64..100_000_000, part_in_ten in 0i64..=10, thousandths in 1i64..=1000,
            kind in prop_oneof![
                (1i64..200_000_000).prop_map(|cents| CouponKind::AmountOff(Money::from_cents(cents))),
                (1u16..=10_000).prop_map(CouponKind::PercentOff),
                (0i64..100_000_000).prop_map(|cents| CouponKind::FixedPrice(Money::from_cents(cents))),
            ],
            most in proptest::option::of(0i64..100_000_000), goes_with_discount: bool,
            tenths in 10i64..100, bonus in 0i64..1000
        ) {
            let part = raw * part_in_ten / 10;
            let own = nearest(part * thousandths, 1000);
            let base = if goes_with_discount { own } else { part };
            let cut = match kind {
                CouponKind::AmountOff(value) => value.cents().min(base),
                CouponKind::PercentOff(hundredths) => base - nearest(base * (10_000 - i64::from(hundredths)), 10_000),
                CouponKind::FixedPrice(value) => (base - value.cents()).max(0),
            };
            let cut = most.map_or(cut, |most| cut.min(most));
            let expected = if cut == 0 {
                Err(NoPrice::CouponSavesNothing)
            } else if !goes_with_discount && cut <= part - own {
                Err(NoPrice::DiscountIsBetter)
            } else {
                let paid = base - cut;
                let all = paid * tenths / 1000 + if paid > 0 { bonus } else { 0 };
                Ok((if goes_with_discount { thousandths } else { 1000 }, cut, paid + raw - part, paid / 100, all))
            };
            let terms = Terms {
                raw_amount: Money::from_cents(raw),
                excluded: Money::from_cents(raw - part),
                reduction: Reduction::Level(discount(thousandths)),
                coupon: Some(Coupon { kind, max_discount: most.map(Money::from_cents), goes_with_discount }),
                points: Some(PointTerms { per_unit: Decimal::ONE, multiplier: Decimal::new(tenths, 1), bonus }),
            };
            prop_assert_eq!(decided(&terms), expected);
            if let Ok(priced) = quote(&terms) {
                let sum: i64 = priced.lines().map(|(_, amount)| amount.cents()).sum();
                prop_assert_eq!(sum, priced.final_amount.cents());
                prop_assert!(priced.lines().skip(1).all(|(_, amount)| amount.is_negative()));
                prop_assert_eq!(priced.lines().filter(|(step, _)| *step == Step::Coupon).count(), 1);
            }
        }

        #[test]
        fn the_lines_add_up_to_what_is_paid(cents in 1i64..1_000_000_000, thousandths in 1i64..=1000) {
            let Ok(priced) = quote(&terms(cents, Reduction::Level(discount(thousandths)), Some("1.5"))) else {
                return Ok(());
            };
            let sum: i64 = priced.lines().map(|(_, amount)| amount.cents()).sum();
            prop_assert_eq!(sum, priced.final_amount.cents());
            prop_assert!(priced.final_amount.cents() <= cents);
            // One floor, over exactly what was paid: three points for two units.
            prop_assert_eq!(priced.points_earned, sum * 3 / 200);
        }
    }
}
