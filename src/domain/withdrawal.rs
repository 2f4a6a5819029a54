//! How a withdrawal is shared out among the recharges that the money came in by.

use crate::money::Money;
use std::collections::BTreeSet;

/// What is left of a source: of what it credited, less what corrections took back in all, less what was withdrawn.
pub fn left(credited: Money, corrected: Money, withdrawn: Money) -> Money {
    let taken_back = corrected.cents().min(0).saturating_neg();
    Money::from_cents(credited.cents().saturating_sub(taken_back).saturating_sub(withdrawn.cents()).max(0))
}

/// What each source gives, in their order, each no more than is left of it; `None` where all of them do not have so much. What gives
/// nothing comes after those that give.
pub fn shared_out(amount: Money, left: &[Money]) -> Option<Vec<Money>> {
    let mut wanted = amount.cents();
    let mut parts = Vec::new();
    for left in left {
        if wanted == 0 {
            break;
        }
        let part = left.cents().max(0).min(wanted);
        parts.push(Money::from_cents(part));
        wanted -= part;
    }
    (wanted == 0).then_some(parts)
}

/// Whether a gateway that says how much of a payment went back so far can mean that this refund of it did: it and any of the others,
/// in whatever order they are told of.
pub fn can_have_gone(so_far: Money, this: Money, others: &[Money]) -> bool {
    /// More sums than any payment has refunds are not looked at: a gateway allows fifty.
    const MOST_SUMS: usize = 65_536;
    let mut sums = BTreeSet::from([this.cents()]);
    for other in others {
        let more: Vec<i64> = sums.iter().map(|sum| sum.saturating_add(other.cents())).collect();
        sums.extend(more.into_iter().filter(|sum| *sum <= so_far.cents()));
        if sums.len() > MOST_SUMS {
            return so_far >= this;
        }
    }
    sums.contains(&so_far.cents())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn money(cents: &[i64]) -> Vec<Money> {
        cents.iter().copied().map(Money::from_cents).collect()
    }

    #[test]
    fn newest_first_as_far_as_they_go() {
        let out = |amount, left: &[i64]| shared_out(Money::from_cents(amount), &money(left));
        assert_eq!(out(120, &[100, 50, 30]), Some(money(&[100, 20])));
        assert_eq!(out(100, &[100, 50]), Some(money(&[100])));
        assert_eq!(out(150, &[100, 50]), Some(money(&[100, 50])));
        assert_eq!(out(151, &[100, 50]), None);
        assert_eq!(out(40, &[0, 50]), Some(money(&[0, 40])));
        assert_eq!(out(1, &[]), None);
    }

    #[test]
    fn what_is_left_of_a_source() {
        let of = |credited, corrected, withdrawn| {
            left(Money::from_cents(credited), Money::from_cents(corrected), Money::from_cents(withdrawn)).cents()
        };
        assert_eq!(of(100, 0, 0), 100);
        assert_eq!(of(100, -30, 20), 50);
        // A correction upwards gives nothing that a payer paid.
        assert_eq!(of(100, 30, 20), 80);
        assert_eq!(of(100, -80, 40), 0);
    }

    #[test]
    fn sums_in_any_order() {
        let can = |so_far, this, others: &[i64]| {
            can_have_gone(Money::from_cents(so_far), Money::from_cents(this), &money(others))
        };
        assert!(can(30, 30, &[]) && can(30, 30, &[20]) && can(50, 30, &[20]) && can(60, 30, &[20, 10]));
        assert!(!can(20, 30, &[20]) && !can(31, 30, &[20]) && !can(50, 30, &[]) && !can(20, 30, &[]));
        // Far more refunds than there can be: at least it is not too little.
        let many: Vec<i64> = (0..40).map(|i| 1 << i).collect();
        assert!(can(i64::MAX / 2, 3, &many) && !can(2, 3, &many));
    }

    proptest! {
        #[test]
        fn parts_add_up(amount in 1i64..10_000, left in proptest::collection::vec(0i64..1000, 0..20)) {
            let total: i64 = left.iter().sum();
            match shared_out(Money::from_cents(amount), &money(&left)) {
                None => prop_assert!(amount > total),
                Some(parts) => {
                    prop_assert_eq!(parts.iter().map(|part| part.cents()).sum::<i64>(), amount);
                    prop_assert!(parts.iter().zip(&left).all(|(part, left)| part.cents() <= *left));
                    // Nothing is taken of a source before those that stand before it are used up.
                    let last = parts.len() - 1;
                    prop_assert!(parts[..last].iter().zip(&left).all(|(part, left)| part.cents() == *left));
                    prop_assert!(parts[last].is_positive());
                }
            }
        }

        #[test]
        fn any_of_the_others_may_have_gone(
            this in 1i64..1000, others in proptest::collection::vec((1i64..1000, any::<bool>()), 0..12)
        ) {
            let gone: i64 = others.iter().filter(|(_, gone)| *gone).map(|(cents, _)| cents).sum();
            let all: Vec<i64> = others.iter().map(|(cents, _)| *cents).collect();
            prop_assert!(can_have_gone(Money::from_cents(this + gone), Money::from_cents(this), &money(&all)));
            prop_assert!(!can_have_gone(Money::from_cents(this - 1), Money::from_cents(this), &money(&all)));
        }
    }
}
