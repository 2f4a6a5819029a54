//! The shop's days. Rules say what a day is, each from a moment on; together they divide time: every moment lies in exactly one
//! day, also where a rule gives way to the next, and on the turns of summer time.

/// What a day is, from a moment on, which is the beginning of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<Z> {
    /// In microseconds since 2000-01-01 UTC; of the first rule `i64::MIN`.
    pub from_at: i64,
    /// The day that begins then, counted from 2000-01-01; of the first rule `i64::MIN`.
    pub from_day: i64,
    pub zone: Z,
}

/// Where days begin.
pub trait Zone: Clone + PartialEq {
    /// The beginning of a day by this zone alone; never before that of the day before it.
    fn start(&self, day: i64) -> i64;
}

/// All rules, the oldest first; there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules<Z>(Vec<Rule<Z>>);

/// Microseconds of a day of 24 hours.
const DAY: i64 = crate::month::DAY_MICROS;

/// The last day that has begun at a moment, by a zone alone. A day begins at most 36 hours away from that of UTC.
fn day_in<Z: Zone>(zone: &Z, at: i64) -> i64 {
    let mut day = at.div_euclid(DAY) + 2;
    while zone.start(day) > at {
        day -= 1;
    }
    day
}

impl<Z: Zone> Rules<Z> {
    /// `None` where there is no rule for all of the past, or they are not in order.
    pub fn new(rules: Vec<Rule<Z>>) -> Option<Rules<Z>> {
        let ordered = rules.windows(2).all(|w| w[0].from_at < w[1].from_at && w[0].from_day < w[1].from_day);
        let begins = rules.first().is_some_and(|r| r.from_at == i64::MIN && r.from_day == i64::MIN);
        (ordered && begins).then_some(Rules(rules))
    }

    pub fn all(&self) -> &[Rule<Z>] {
        &self.0
    }

    fn in_force(&self, at: i64) -> usize {
        self.0.partition_point(|r| r.from_at <= at) - 1
    }

    /// The zone that counts at a moment.
    pub fn zone_at(&self, at: i64) -> &Z {
        &self.0[self.in_force(at)].zone
    }

    /// The day that a moment lies in. The last day of a rule goes on until the next rule begins.
    pub fn day_of(&self, at: i64) -> i64 {
        let i = self.in_force(at);
        let day = day_in(&self.0[i].zone, at);
        self.0.get(i + 1).map_or(day, |next| day.min(next.from_day - 1))
    }

    /// When a day begins: it ends where the next one does. A day that never came begins and ends with the one after it.
    pub fn start_of(&self, day: i64) -> i64 {
        let i = self.0.partition_point(|r| r.from_day <= day) - 1;
        let start = self.0[i].zone.start(day);
        self.0.get(i + 1).map_or(start, |next| start.min(next.from_at))
    }

    /// The rules after a change at a moment: it begins with the next day, and every moment up to now stays in its day. What was
    /// to begin later is forgotten, unless the present day has been going on only because of it.
    pub fn changed(&self, at: i64, zone: Z) -> Rules<Z> {
        let i = self.in_force(at);
        let (kept, at) = match self.0.get(i + 1) {
            Some(next) if day_in(&self.0[i].zone, at) >= next.from_day => (i + 2, next.from_at),
            _ => (i + 1, at),
        };
        let mut rules = Rules(self.0[..kept].to_vec());
        if rules.0[kept - 1].zone != zone {
            let mut from_day = rules.day_of(at) + 1;
            while zone.start(from_day) <= at {
                from_day += 1;
            }
            rules.0.push(Rule { from_at: zone.start(from_day), from_day, zone });
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: i64 = 60_000_000;

    /// A zone whose clocks are moved once, and the time at which its days begin; all but `moved_at` in minutes.
    #[derive(Clone, Debug, PartialEq)]
    struct Clock {
        before: i64,
        after: i64,
        moved_at: i64,
        starts_at: i64,
    }

    impl Zone for Clock {
        /// As the server reads a time: what does not exist by the offset before, what exists twice by the one after.
        fn start(&self, day: i64) -> i64 {
            let local = day * DAY + self.starts_at * MINUTE;
            let (before, after) = (local - self.before * MINUTE, local - self.after * MINUTE);
            if after >= self.moved_at { after } else { before }
        }
    }

    fn clock() -> impl Strategy<Value = Clock> {
        (-48i64..=56, -8i64..=8, 0i64..40 * 24 * 60, 0i64..24 * 60).prop_map(|(quarter, by, moved_at, starts_at)| {
            Clock { before: quarter * 15, after: quarter * 15 + by * 15, moved_at: moved_at * MINUTE, starts_at }
        })
    }

    /// Rules that were changed at these minutes, one after the other.
    fn lived(first: Clock, changes: &[(i64, Clock)]) -> Rules<Clock> {
        let rules = Rules::new(vec![Rule { from_at: i64::MIN, from_day: i64::MIN, zone: first }]).unwrap();
        changes.iter().fold(rules, |rules, (minute, zone)| rules.changed(minute * MINUTE, zone.clone()))
    }

    fn changes() -> impl Strategy<Value = Vec<(i64, Clock)>> {
        proptest::collection::vec((0i64..40 * 24 * 60, clock()), 0..6).prop_map(|mut changes| {
            changes.sort_by_key(|(minute, _)| *minute);
            changes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

        #[test]
        fn days_divide_time(
            first in clock(),
            changes in changes(),
            minutes in proptest::collection::vec(-5i64 * 24 * 60..50 * 24 * 60, 40),
        ) {
            let rules = lived(first, &changes);
            prop_assert!(Rules::new(rules.all().to_vec()).is_some(), "in order");
            for minute in minutes {
                for at in [minute * MINUTE - 1, minute * MINUTE, minute * MINUTE + 1] {
                    let day = rules.day_of(at);
                    prop_assert!(rules.start_of(day) <= at && at < rules.start_of(day + 1), "{at} in {day}");
                }
            }
            for day in -6..55 {
                let (start, end) = (rules.start_of(day), rules.start_of(day + 1));
                prop_assert!(start <= end, "{day} ends after it begins");
                if start < end {
                    prop_assert_eq!(rules.day_of(start), day);
                    prop_assert_eq!(rules.day_of(end - 1), day);
                }
            }
        }

        #[test]
        fn what_has_been_stays_in_its_day(
            first in clock(),
            changes in changes(),
            next in clock(),
            at in 0i64..45 * 24 * 60,
            back in 0i64..60 * 24 * 60,
        ) {
            let before = lived(first, &changes);
            let at = at.max(changes.last().map_or(0, |(minute, _)| *minute)) * MINUTE;
            let after = before.changed(at, next.clone());
            let then = at - back * MINUTE;
            prop_assert_eq!(before.day_of(then), after.day_of(then));
            prop_assert_eq!(&after.all().last().unwrap().zone, &next);
            prop_assert!(after.all().last().unwrap().from_at <= at + 5 * DAY);
        }
    }

    #[test]
    fn a_change_begins_with_the_next_day() {
        let zone = |before: i64, starts_at: i64| Clock { before, after: before, moved_at: 0, starts_at };
        let utc = lived(zone(0, 0), &[]);
        // 03:00 UTC of day 10: Shanghai's day 11 begins at 16:00, the day of the change has 16 hours.
        let shanghai = utc.changed(10 * DAY + 180 * MINUTE, zone(480, 0));
        assert_eq!(shanghai.start_of(10), 10 * DAY);
        assert_eq!(shanghai.start_of(11), 10 * DAY + 16 * 60 * MINUTE);
        assert_eq!(shanghai.start_of(12), 11 * DAY + 16 * 60 * MINUTE);
        // At 20:00 UTC Shanghai is in day 11 already: day 11 begins as it would have, and is the short one.
        let later = utc.changed(10 * DAY + 20 * 60 * MINUTE, zone(480, 0));
        assert_eq!(later.start_of(11), 11 * DAY);
        assert_eq!(later.start_of(12), 11 * DAY + 16 * 60 * MINUTE);
        // Back to UTC: the day of the change has 32 hours.
        let back = shanghai.changed(20 * DAY, zone(0, 0));
        assert_eq!(back.day_of(20 * DAY), 20);
        assert_eq!(back.start_of(21) - back.start_of(20), 32 * 60 * MINUTE);
        // At 20:00 UTC of day 20 it would be day 21 in Shanghai, but day 20 goes on: whatever is changed now, it does so to its end.
        let again = back.changed(20 * DAY + 20 * 60 * MINUTE, zone(480, 0));
        assert_eq!(again.day_of(20 * DAY + 20 * 60 * MINUTE), 20);
        assert_eq!((again.start_of(21), again.start_of(22)), (21 * DAY, 21 * DAY + 16 * 60 * MINUTE));
        // Another change before the first one counts takes its place.
        assert_eq!(shanghai.changed(10 * DAY + 200 * MINUTE, zone(0, 0)), utc);
    }
}
