//! A budget in parts: what is drawn by many at once is drawn from several rows, so that nobody waits for one.

use crate::money::Money;

/// How many parts a budget has.
pub const PARTS: usize = 16;

/// What each part has left.
pub type Parts = [Money; PARTS];

/// An amount shared out evenly: the first ones get a cent more where it does not come out even.
pub fn shared(amount: Money) -> Parts {
    let (each, more) = (amount.cents() / PARTS as i64, amount.cents() % PARTS as i64);
    std::array::from_fn(|part| Money::from_cents(each + i64::from((part as i64) < more)))
}

/// The parts once so much was added, or taken where it is below zero: of the first one first. `None`: there is not so much left.
pub fn changed(left: &Parts, by: Money) -> Option<Parts> {
    let mut parts = *left;
    if by.is_negative() {
        let mut wanted = by.negated().cents();
        for part in &mut parts {
            let taken = part.cents().min(wanted);
            *part = Money::from_cents(part.cents() - taken);
            wanted -= taken;
        }
        return (wanted == 0).then_some(parts);
    }
    for (part, more) in parts.iter_mut().zip(shared(by)) {
        *part = part.plus(more)?;
    }
    Some(parts)
}

/// The parts once an amount was taken out of them all, the one at `first` first and then those after it. `None`: there is not so much.
pub fn gathered(left: &Parts, first: usize, amount: Money) -> Option<Parts> {
    let mut parts = *left;
    let mut wanted = amount.cents();
    for n in 0..PARTS {
        let part = &mut parts[(first + n) % PARTS];
        let taken = part.cents().min(wanted);
        *part = Money::from_cents(part.cents() - taken);
        wanted -= taken;
    }
    (wanted == 0).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::MAX_CENTS;
    use proptest::prelude::*;

    fn cents(parts: &Parts) -> Vec<i64> {
        parts.iter().map(|part| part.cents()).collect()
    }

    #[test]
    fn evenly_and_the_first_ones_first() {
        let mut expected = vec![63; 4];
        expected.extend(vec![62; 12]);
        assert_eq!(cents(&shared(Money::from_cents(996))), expected);
        let parts = shared(Money::from_cents(32));
        let rest = gathered(&parts, 15, Money::from_cents(5)).unwrap();
        assert_eq!((&cents(&rest)[..3], cents(&rest)[15]), (&[0, 1, 2][..], 0));
        assert_eq!(gathered(&parts, 3, Money::from_cents(32)), Some([Money::ZERO; PARTS]));
        assert_eq!(gathered(&parts, 3, Money::from_cents(33)), None);
        let less = changed(&parts, Money::from_cents(-5)).unwrap();
        assert_eq!(cents(&less)[..4], [0, 0, 1, 2]);
        assert_eq!(changed(&parts, Money::from_cents(-32)), Some([Money::ZERO; PARTS]));
        assert_eq!(changed(&parts, Money::from_cents(-33)), None);
        assert_eq!(cents(&changed(&parts, Money::from_cents(17)).unwrap())[..2], [4, 3]);
        assert_eq!(changed(&parts, Money::ZERO), Some(parts));
        assert_eq!(changed(&shared(Money::from_cents(MAX_CENTS)), Money::from_cents(i64::MAX)), None);
    }

    proptest! {
        #[test]
        fn parts_add_up(
            left in proptest::collection::vec(0i64..=1_000, PARTS), by in -20_000i64..=20_000, amount in 0i64..=MAX_CENTS,
        ) {
            let shares = shared(Money::from_cents(amount));
            prop_assert_eq!(cents(&shares).iter().sum::<i64>(), amount);
            prop_assert!(shares.iter().all(|part| part.cents() >= amount / PARTS as i64 && part.cents() <= amount / PARTS as i64 + 1));
            let parts: Parts = std::array::from_fn(|part| Money::from_cents(left[part]));
            let total: i64 = left.iter().sum();
            match changed(&parts, Money::from_cents(by)) {
                Some(after) => {
                    prop_assert_eq!(cents(&after).iter().sum::<i64>(), total + by);
                    prop_assert!(after.iter().all(|part| !part.is_negative()));
                }
                None => prop_assert!(total + by < 0),
            }
        }
    }
}
