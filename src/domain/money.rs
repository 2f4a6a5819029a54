//! Money in whole cents, discounts in thousandths, and the arithmetic between them. Exact everywhere.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// Decimals of money: `numeric(14,2)`.
pub const MONEY_SCALE: u32 = 2;
/// Decimals of a discount: `numeric(4,3)`.
pub const DISCOUNT_SCALE: u32 = 3;
/// The largest amount `numeric(14,2)` holds, in cents.
pub const MAX_CENTS: i64 = 99_999_999_999_999;

/// A signed amount of money in cents; never beyond [`MAX_CENTS`] when it comes from or goes to a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

impl Money {
    pub const ZERO: Money = Money(0);

    pub const fn from_cents(cents: i64) -> Money {
        Money(cents)
    }

    pub const fn cents(self) -> i64 {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The sum, or `None` where a `numeric(14,2)` could not hold it.
    pub fn plus(self, other: Money) -> Option<Money> {
        self.0.checked_add(other.0).filter(|c| c.abs() <= MAX_CENTS).map(Money)
    }

    /// The difference, or `None` where a `numeric(14,2)` could not hold it.
    pub fn minus(self, other: Money) -> Option<Money> {
        self.plus(Money(-other.0))
    }

    pub const fn negated(self) -> Money {
        Money(-self.0)
    }
}

impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

/// What a price is multiplied by, in thousandths: 950 is 0.950, "five percent off". 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Discount(u16);

impl Discount {
    pub const NONE: Discount = Discount(1000);

    /// `None` unless the discount is in (0, 1].
    pub fn from_thousandths(thousandths: i64) -> Option<Discount> {
        (1..=1000).contains(&thousandths).then_some(Discount(thousandths as u16))
    }

    pub const fn thousandths(self) -> i64 {
        self.0 as i64
    }
}

impl std::fmt::Display for Discount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// What a customer pays: `raw x discount`, rounded half away from zero to the cent.
pub fn price(raw: Money, discount: Discount) -> Money {
    let product = i128::from(raw.0) * i128::from(discount.0);
    let half = product.signum() * 500;
    // |raw| fits 10^14 and the discount is at most 1, so the quotient fits as well.
    Money(((product + half) / 1000) as i64)
}

/// Points for a payment: `floor(paid x points_per_unit)`; `None` where that passes what a bigint holds.
pub fn points_for(paid: Money, points_per_unit: Decimal) -> Option<i64> {
    Decimal::new(paid.0, MONEY_SCALE).checked_mul(points_per_unit)?.floor().to_i64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(thousandths: i64) -> Discount {
        Discount::from_thousandths(thousandths).unwrap()
    }

    #[test]
    fn rounds_half_away_from_zero() {
        assert_eq!(price(Money(5200), d(950)), Money(4940));
        assert_eq!(price(Money(10), d(950)), Money(10)); // 0.095
        assert_eq!(price(Money(10), d(949)), Money(9)); // 0.0949
        assert_eq!(price(Money(1), d(500)), Money(1)); // 0.005
        assert_eq!(price(Money(1), d(499)), Money(0));
        assert_eq!(price(Money(-1), d(500)), Money(-1));
    }

    #[test]
    fn shows_cents() {
        assert_eq!(Money(5).to_string(), "0.05");
        assert_eq!(Money(-105).to_string(), "-1.05");
        assert_eq!(Money::ZERO.to_string(), "0.00");
        assert_eq!(Money(MAX_CENTS).to_string(), "999999999999.99");
    }

    #[test]
    fn knows_its_sign() {
        let signs = |cents: i64| (Money(cents).is_negative(), Money(cents).is_zero(), Money(cents).is_positive());
        assert_eq!([-1, 0, 1].map(signs), [(true, false, false), (false, true, false), (false, false, true)]);
        assert_eq!((Money(5).negated(), Money(-5).negated()), (Money(-5), Money(5)));
        assert_eq!((Money(5).minus(Money(7)), Money(-MAX_CENTS).minus(Money(1))), (Some(Money(-2)), None));
    }

    #[test]
    fn discounts_have_bounds() {
        assert!(Discount::from_thousandths(0).is_none());
        assert!(Discount::from_thousandths(1001).is_none());
        assert!(Discount::from_thousandths(-1).is_none());
        assert_eq!(Discount::from_thousandths(1000), Some(Discount::NONE));
        assert_eq!(d(950).thousandths(), 950);
    }

    #[test]
    fn points_are_floored() {
        assert_eq!(points_for(Money(4999), Decimal::ONE), Some(49));
        assert_eq!(points_for(Money(4999), Decimal::new(15, 1)), Some(74));
        assert_eq!(points_for(Money(99), Decimal::ONE), Some(0));
    }

    proptest! {
        /// The price is the nearest cent: never more than half a cent from the exact product, ties upwards.
        #[test]
        fn price_is_the_nearest_cent(cents in 1i64..=MAX_CENTS, t in 1i64..=1000) {
            let paid = price(Money(cents), d(t));
            let error = i128::from(paid.cents()) * 1000 - i128::from(cents) * i128::from(t);
            prop_assert!((-499..=500).contains(&error));
            prop_assert!(paid.cents() <= cents);
        }

        #[test]
        fn a_higher_price_never_costs_less(a in 1i64..=MAX_CENTS, b in 1i64..=MAX_CENTS, t in 1i64..=1000) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(price(Money(low), d(t)) <= price(Money(high), d(t)));
        }

        #[test]
        fn points_agree_with_whole_arithmetic(cents in 0i64..=MAX_CENTS, rate in 0i64..=1_000_000) {
            let expected = (i128::from(cents) * i128::from(rate)) / 1_000_000;
            prop_assert_eq!(points_for(Money(cents), Decimal::new(rate, 4)).map(i128::from), Some(expected));
        }

        #[test]
        fn sums_stay_in_the_column(a in -MAX_CENTS..=MAX_CENTS, b in -MAX_CENTS..=MAX_CENTS) {
            match Money(a).plus(Money(b)) {
                Some(sum) => prop_assert_eq!(sum.cents(), a + b),
                None => prop_assert!((a + b).abs() > MAX_CENTS),
            }
        }
    }
}
