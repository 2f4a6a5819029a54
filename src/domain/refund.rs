//! What a refund gives back and takes back.

use crate::money::Money;

/// What is left to refund of a payment.
pub fn refundable(paid: Money, refunded: Money) -> Money {
    Money::from_cents(paid.cents() - refunded.cents())
}

/// Points that a refund takes back, in proportion to what has been refunded so far. The share is always computed from
/// the total, so that any sequence of partial refunds takes back what one refund of their sum would, and the last
/// cent takes back the rest. Of a payment of nothing, which a coupon paid all of, there is one refund, and it takes back all.
pub fn points_to_reverse(earned: i64, paid: Money, refunded_before: Money, refund: Money) -> i64 {
    assert!(refund.is_positive() || paid.is_zero());
    assert!(!paid.is_negative() && refunded_before.cents() + refund.cents() <= paid.cents());
    if paid.is_zero() {
        return earned;
    }
    let share = |refunded: i64| i128::from(earned) * i128::from(refunded) / i128::from(paid.cents());
    // Both shares are at most `earned`.
    (share(refunded_before.cents() + refund.cents()) - share(refunded_before.cents())) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_third_three_times() {
        let paid = Money::from_cents(300);
        let refund = Money::from_cents(100);
        let taken: Vec<i64> = (0..3).map(|i| points_to_reverse(10, paid, Money::from_cents(i * 100), refund)).collect();
        assert_eq!(taken, [3, 3, 4]);
        assert_eq!(refundable(paid, refund), Money::from_cents(200));
    }

    #[test]
    fn what_a_coupon_paid_all_of_comes_back_at_once() {
        assert_eq!(points_to_reverse(7, Money::ZERO, Money::ZERO, Money::ZERO), 7);
        assert!(refundable(Money::ZERO, Money::ZERO).is_zero());
    }

    proptest! {
        #[test]
        fn any_sequence_takes_back_exactly_what_was_earned(
            earned in 0i64..1_000_000_000, cuts in proptest::collection::vec(1i64..1_000_000, 1..30)
        ) {
            let paid = Money::from_cents(cuts.iter().sum());
            let (mut refunded, mut taken) = (0i64, 0i64);
            for cut in &cuts {
                let now = points_to_reverse(earned, paid, Money::from_cents(refunded), Money::from_cents(*cut));
                prop_assert!(now >= 0);
                refunded += cut;
                taken += now;
                prop_assert!(taken <= earned);
                prop_assert_eq!(taken, points_to_reverse(earned, paid, Money::ZERO, Money::from_cents(refunded)));
            }
            prop_assert_eq!(taken, earned);
            prop_assert!(refundable(paid, Money::from_cents(refunded)).is_zero());
        }
    }
}
