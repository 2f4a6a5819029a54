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
}

/// What a price is decided by.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What the till asks for.
    pub raw_amount: Money,
    pub reduction: Reduction,
    /// Of a card that earns points.
    pub points_per_unit: Option<Decimal>,
}

/// A price, and the points that paying it earns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    raw_amount: Money,
    reduction: Reduction,
    pub final_amount: Money,
    pub points_earned: i64,
}

/// Why there is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPrice {
    NothingLeftToPay,
    PointsOutOfRange,
}

/// What a line of a quote is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What the till asks for.
    Asked,
    LevelDiscount,
    CompanyDiscount,
}

impl Quote {
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
        let saved = self.final_amount.minus(self.raw_amount).filter(|saved| !saved.is_zero());
        std::iter::once((Step::Asked, self.raw_amount)).chain(saved.map(|saved| (step, saved)))
    }
}

/// Decides the price. The level is that of the points before the charge.
pub fn quote(terms: &Terms) -> Result<Quote, NoPrice> {
    let Terms { raw_amount, reduction, points_per_unit } = *terms;
    let final_amount = price(raw_amount, reduction.discount());
    if final_amount.is_zero() {
        return Err(NoPrice::NothingLeftToPay);
    }
    let points_earned = match points_per_unit {
        Some(rate) => points_for(final_amount, rate).ok_or(NoPrice::PointsOutOfRange)?,
        None => 0,
    };
    Ok(Quote { raw_amount, reduction, final_amount, points_earned })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms(cents: i64, reduction: Reduction, rate: Option<&str>) -> Terms {
        let points_per_unit = rate.map(|rate| rate.parse().unwrap());
        Terms { raw_amount: Money::from_cents(cents), reduction, points_per_unit }
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

    proptest! {
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
