//! Campaigns: what is given beside the price of a payment, when, where and to whom; which of those that are on apply, and what each gives.

use crate::card::CardType;
use crate::coupon::{For, Purchase};
use crate::money::{Money, points_for};
use crate::quote;
use crate::window::Window;
use rust_decimal::Decimal;

/// What a campaign gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gift {
    /// So many times the points, in hundredths: above 100.
    PointsMultiplier(i64),
    /// So many points more.
    PointsBonus(i64),
}

/// The most that points are multiplied by.
const MOST_TIMES: i64 = 100;
/// The most points that a payment is given.
const MOST_POINTS: i64 = 1_000_000;
const HUNDRED: i64 = 100;

impl Gift {
    /// What the tables call it.
    pub const fn label(self) -> &'static str {
        match self {
            Gift::PointsMultiplier(_) => "points_multiplier",
            Gift::PointsBonus(_) => "points_bonus",
        }
    }

    /// Its number in hundredths, as the tables have it.
    pub const fn value(self) -> i64 {
        match self {
            Gift::PointsMultiplier(hundredths) => hundredths,
            Gift::PointsBonus(points) => points * HUNDRED,
        }
    }

    /// By its label and its number in hundredths; `None` where there is none such.
    pub fn of(label: &str, value: i64) -> Option<Gift> {
        match label {
            "points_multiplier" => {
                (HUNDRED + 1..=MOST_TIMES * HUNDRED).contains(&value).then_some(Gift::PointsMultiplier(value))
            }
            "points_bonus" => {
                let points = value / HUNDRED;
                let is_whole = value % HUNDRED == 0 && (1..=MOST_POINTS).contains(&points);
                is_whole.then_some(Gift::PointsBonus(points))
            }
            _ => None,
        }
    }
}

/// One version of what a campaign is. Lists are in order and name nothing twice; one that is not there is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub name: String,
    pub gift: Gift,
    /// Of what takes part in the payment, before any discount.
    pub min_spend: Option<Money>,
    pub window: Window,
    pub merchants: Option<Vec<i32>>,
    pub levels: Option<Vec<i16>>,
    pub card_types: Option<Vec<CardType>>,
    /// Among exclusive ones the greatest counts.
    pub priority: i32,
    /// Where it applies, no other does.
    pub exclusive: bool,
}

/// A campaign that is on, with its newest terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    pub id: i32,
    pub version: i32,
    pub terms: Terms,
}

impl Active {
    /// Campaign and version of its terms, as a payment keeps them: `3.1`.
    pub fn key(&self) -> String {
        format!("{}.{}", self.id, self.version)
    }

    fn applies(&self, purchase: &Purchase) -> bool {
        let terms = &self.terms;
        let to = For {
            merchants: terms.merchants.as_deref(),
            levels: terms.levels.as_deref(),
            card_types: terms.card_types.as_deref(),
            min_spend: terms.min_spend,
        };
        terms.window.holds(purchase.moment).is_ok() && to.holds(purchase).is_ok()
    }
}

/// Which of those that are on apply to a purchase: the exclusive one of the greatest priority alone (the older one of two), else all,
/// in the order of their ids.
pub fn applying<'a>(on: &'a [Active], purchase: &Purchase) -> Vec<&'a Active> {
    let mut all: Vec<&Active> = on.iter().filter(|campaign| campaign.applies(purchase)).collect();
    all.sort_by_key(|campaign| campaign.id);
    let exclusive = all.iter().filter(|campaign| campaign.terms.exclusive);
    match exclusive.max_by_key(|campaign| (campaign.terms.priority, -campaign.id)) {
        Some(alone) => vec![alone],
        None => all,
    }
}

/// What they come to: a multiplier of 1 and what each adds to it, and a fixed bonus.
pub fn together(gifts: impl Iterator<Item = Gift>) -> (Decimal, i64) {
    let start = (Decimal::ONE, 0);
    gifts.fold(start, |(times, points), gift| match gift {
        Gift::PointsMultiplier(hundredths) => (times + Decimal::new(hundredths - HUNDRED, 2), points),
        Gift::PointsBonus(more) => (times, points + more),
    })
}

/// What each gives of the points of a payment beside what it earns anyway, `paid` being what is paid of what takes part: a multiplier
/// what it adds to those before it. The sum is what all of them give. `None` where points are out of range.
pub fn shares(paid: Money, per_unit: Decimal, gifts: impl Iterator<Item = Gift>) -> Option<Vec<i64>> {
    let (mut times, mut so_far) = (Decimal::ONE, points_for(paid, per_unit)?);
    let share = |gift| match gift {
        Gift::PointsMultiplier(_) => {
            times += together(std::iter::once(gift)).0 - Decimal::ONE;
            let before = std::mem::replace(&mut so_far, points_for(paid, per_unit.checked_mul(times)?)?);
            Some(so_far - before)
        }
        Gift::PointsBonus(points) => Some(if paid.is_positive() { points } else { 0 }),
    };
    gifts.map(share).collect()
}

/// Points as the price function takes them.
pub fn point_terms(per_unit: Decimal, gifts: impl Iterator<Item = Gift>) -> quote::PointTerms {
    let (multiplier, bonus) = together(gifts);
    quote::PointTerms { per_unit, multiplier, bonus }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Discount;
    use crate::quote::{Reduction, quote};
    use crate::window::{Hours, Moment};
    use proptest::prelude::*;

    fn terms(gift: Gift) -> Terms {
        Terms {
            name: "Happy hour".into(),
            gift,
            min_spend: None,
            window: Window::default(),
            merchants: None,
            levels: None,
            card_types: None,
            priority: 0,
            exclusive: false,
        }
    }

    fn active(id: i32, change: impl FnOnce(&mut Terms)) -> Active {
        let mut terms = terms(Gift::PointsMultiplier(200));
        change(&mut terms);
        Active { id, version: 1, terms }
    }

    fn purchase() -> Purchase {
        Purchase {
            moment: Moment { at: 100, local: 0 },
            merchant: 7,
            card_type: CardType::Personal,
            level: Some(2),
            part: Money::from_cents(1000),
        }
    }

    fn ids(on: &[Active]) -> Vec<i32> {
        applying(on, &purchase()).iter().map(|campaign| campaign.id).collect()
    }

    #[test]
    fn each_condition_keeps_it_away_by_itself() {
        let applies = |change: fn(&mut Terms)| !ids(&[active(1, change)]).is_empty();
        assert!(applies(|_| ()));
        assert!(applies(|t| t.window.valid_from = Some(100)) && !applies(|t| t.window.valid_from = Some(101)));
        assert!(applies(|t| t.window.valid_until = Some(101)) && !applies(|t| t.window.valid_until = Some(100)));
        assert!(applies(|t| t.window.hours = Hours::new(0, 1)) && !applies(|t| t.window.hours = Hours::new(1, 2)));
        assert!(applies(|t| t.merchants = Some(vec![7])) && !applies(|t| t.merchants = Some(vec![8])));
        assert!(applies(|t| t.levels = Some(vec![2])) && !applies(|t| t.levels = Some(vec![1])));
        let personal = |t: &mut Terms| t.card_types = Some(vec![CardType::Personal]);
        assert!(applies(personal) && !applies(|t| t.card_types = Some(vec![CardType::Enterprise])));
        let least = |cents| move |t: &mut Terms| t.min_spend = Some(Money::from_cents(cents));
        assert_eq!(ids(&[active(1, least(1000)), active(2, least(1001))]), [1]);
    }

    #[test]
    fn the_exclusive_one_of_the_greatest_priority_is_alone() {
        let exclusive = |priority| move |t: &mut Terms| (t.exclusive, t.priority) = (true, priority);
        let other = |priority| move |t: &mut Terms| t.priority = priority;
        assert_eq!(ids(&[active(3, other(9)), active(1, other(0))]), [1, 3]);
        assert_eq!(ids(&[active(1, other(9)), active(2, exclusive(1)), active(3, exclusive(5))]), [3]);
        assert_eq!(ids(&[active(5, exclusive(1)), active(4, exclusive(1)), active(6, exclusive(1))]), [4]);
        // One that does not apply keeps nobody away.
        let elsewhere = active(2, |t| (t.exclusive, t.merchants) = (true, Some(vec![8])));
        assert_eq!(ids(&[active(1, other(0)), elsewhere]), [1]);
    }

    #[test]
    fn multipliers_add_their_surplus() {
        let gifts = [Gift::PointsMultiplier(200), Gift::PointsBonus(7), Gift::PointsMultiplier(150)];
        assert_eq!(together(gifts.into_iter()), (Decimal::new(25, 1), 7));
        // 1.99 paid: 1 point; 3.98 and 4.97 with them.
        let of = |cents| shares(Money::from_cents(cents), Decimal::ONE, gifts.into_iter());
        assert_eq!(of(199), Some(vec![2, 7, 1]));
        assert_eq!(of(0), Some(vec![0, 0, 0]));
        assert_eq!(shares(Money::from_cents(i64::MAX), Decimal::MAX, gifts.into_iter()), None);
    }

    #[test]
    fn what_it_is_called_in_the_tables() {
        let gifts = [
            Gift::PointsMultiplier(101),
            Gift::PointsMultiplier(10_000),
            Gift::PointsBonus(1),
            Gift::PointsBonus(1_000_000),
        ];
        assert_eq!(gifts.map(|gift| Gift::of(gift.label(), gift.value())), gifts.map(Some));
        let bad = [
            ("points_multiplier", 100),
            ("points_multiplier", 10_001),
            ("points_multiplier", -200),
            ("points_bonus", 0),
            ("points_bonus", 150),
            ("points_bonus", -100),
            ("points_bonus", 100_000_100),
            ("recharge_bonus", 100),
        ];
        assert_eq!(bad.map(|(label, value)| Gift::of(label, value)), [None; 8]);
        assert_eq!(active(3, |_| ()).key(), "3.1");
    }

    proptest! {
        #[test]
        fn the_shares_are_what_the_price_says(
            cents in 0i64..100_000_000,
            rate in 0i64..100_000,
            gifts in prop::collection::vec(
                prop_oneof![(101i64..=10_000).prop_map(Gift::PointsMultiplier), (1i64..=1000).prop_map(Gift::PointsBonus)],
                0..6,
            ),
        ) {
            let per_unit = Decimal::new(rate, 4);
            let (raw_amount, excluded) = (Money::from_cents(cents + 1), Money::from_cents(1));
            let points = Some(point_terms(per_unit, gifts.iter().copied()));
            let reduction = Reduction::Level(Discount::NONE);
            let priced = quote(&quote::Terms { raw_amount, excluded, reduction, coupon: None, points }).unwrap();
            let each = shares(Money::from_cents(cents), per_unit, gifts.iter().copied()).unwrap();
            prop_assert!(each.iter().all(|points| *points >= 0));
            prop_assert_eq!(each.iter().sum::<i64>(), priced.points_earned - priced.points_base);
        }
    }
}
