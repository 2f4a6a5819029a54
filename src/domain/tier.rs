//! Levels: the highest one whose minimum is reached. Only a minimum is stored, so they neither overlap nor leave gaps.

use crate::money::Discount;

/// One row of `app.membership_levels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    pub level: i16,
    pub min_points: i64,
    pub discount: Discount,
}

/// A level with its discount, as the audit log has them: `1/0.950`.
pub fn noted(level: i16, discount: Discount) -> String {
    format!("{level}/{discount}")
}

impl Level {
    pub fn noted(self) -> String {
        noted(self.level, self.discount)
    }
}

/// The level a card without any level table has.
const BASE: Level = Level { level: 0, min_points: 0, discount: Discount::NONE };

/// The level for a number of points. Points below every minimum (they may be negative) get the lowest level.
pub fn level_for(levels: &[Level], points: i64) -> Level {
    levels
        .iter()
        .filter(|l| l.min_points <= points)
        .max_by_key(|l| l.min_points)
        .or_else(|| levels.iter().min_by_key(|l| l.min_points))
        .copied()
        .unwrap_or(BASE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn defaults() -> Vec<Level> {
        [(0, 0, 1000), (1, 5000, 950), (2, 10_000, 900), (3, 15_000, 850), (4, 20_000, 800)]
            .map(|(level, min_points, t)| Level { level, min_points, discount: Discount::from_thousandths(t).unwrap() })
            .to_vec()
    }

    #[test]
    fn the_contract_defaults() {
        let levels = defaults();
        for (points, level) in
            [(-50, 0), (0, 0), (4999, 0), (5000, 1), (9999, 1), (10_000, 2), (19_999, 3), (20_000, 4), (i64::MAX, 4)]
        {
            assert_eq!(level_for(&levels, points).level, level, "{points} points");
        }
        assert_eq!(level_for(&[], 10), BASE);
    }

    #[test]
    fn the_log_has_a_level_with_its_discount() {
        assert_eq!(defaults()[1].noted(), "1/0.950");
        assert_eq!(BASE.noted(), "0/1.000");
        assert_eq!(noted(7, Discount::from_thousandths(5).unwrap()), "7/0.005");
    }

    proptest! {
        #[test]
        fn more_points_never_lower_the_level(a in any::<i64>(), b in any::<i64>()) {
            let levels = defaults();
            prop_assert!(level_for(&levels, a.min(b)).level <= level_for(&levels, a.max(b)).level);
        }
    }
}
