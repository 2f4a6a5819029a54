//! When something holds: from a moment to a moment, on days of the week, at hours of the day. What a day and its hours are is said
//! by the calendar and the clocks of the business time zone.

use crate::month::DAY_MICROS;

/// Minutes of a day.
pub const DAY_MINUTES: i16 = 24 * 60;
const MINUTE_MICROS: i64 = DAY_MICROS / DAY_MINUTES as i64;
/// Days of a week.
const WEEK: i64 = 7;
/// What 2000-01-01 was: a Saturday, if Monday is 0.
const EPOCH_WEEKDAY: i64 = 5;

/// A moment, and what clocks show then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// In microseconds since 2000-01-01 UTC.
    pub at: i64,
    /// What calendar and clocks of the business time zone show, in microseconds since their 2000-01-01 00:00.
    pub local: i64,
}

/// Hours of the day, in minutes of it: from the first to before the second; where that comes first, past midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    from: i16,
    until: i16,
}

impl Hours {
    /// `None` where one is no minute of a day, or they are the same.
    pub fn new(from: i16, until: i16) -> Option<Hours> {
        let is_minute = |minute| (0..DAY_MINUTES).contains(&minute);
        (is_minute(from) && is_minute(until) && from != until).then_some(Hours { from, until })
    }

    pub const fn from(self) -> i16 {
        self.from
    }

    pub const fn until(self) -> i16 {
        self.until
    }

    /// The day on which these hours began, at a minute of a day: `None` outside of them.
    fn began(self, day: i64, minute: i16) -> Option<i64> {
        if self.from < self.until {
            (self.from..self.until).contains(&minute).then_some(day)
        } else if minute >= self.from {
            Some(day)
        } else {
            (minute < self.until).then_some(day - 1)
        }
    }
}

/// Days of the week, Monday is 1. None: all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weekdays(u8);

impl Weekdays {
    /// `None` where one is no day of the week.
    pub fn new(days: impl IntoIterator<Item = i64>) -> Option<Weekdays> {
        let add = |set: u8, day| (1..=WEEK).contains(&day).then(|| set | 1 << (day - 1));
        days.into_iter().try_fold(0, add).map(Weekdays)
    }

    pub const fn are_all(self) -> bool {
        self.0 == 0
    }

    /// In their order; none, where all are meant.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        (1..=WEEK as i16).filter(move |day| self.0 & 1 << (day - 1) != 0)
    }

    /// Whether a day of the calendar, counted from 2000-01-01, is one of them.
    fn has(self, day: i64) -> bool {
        self.are_all() || self.0 & 1 << (day + EPOCH_WEEKDAY).rem_euclid(WEEK) != 0
    }
}

/// What has to be so at a moment; what is not there is no condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// In microseconds since 2000-01-01 UTC, as the next.
    pub valid_from: Option<i64>,
    /// The first moment at which it is over.
    pub valid_until: Option<i64>,
    /// The days on which its hours begin.
    pub weekdays: Weekdays,
    pub hours: Option<Hours>,
}

/// Which condition does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    NotYet,
    Over,
    Hours,
    Weekday,
}

impl Window {
    pub fn holds(&self, moment: Moment) -> Result<(), Outside> {
        if self.valid_from.is_some_and(|from| moment.at < from) {
            return Err(Outside::NotYet);
        }
        if self.valid_until.is_some_and(|until| until <= moment.at) {
            return Err(Outside::Over);
        }
        let day = moment.local.div_euclid(DAY_MICROS);
        let minute = (moment.local.rem_euclid(DAY_MICROS) / MINUTE_MICROS) as i16;
        let day = self.hours.map_or(Some(day), |hours| hours.began(day, minute)).ok_or(Outside::Hours)?;
        if self.weekdays.has(day) { Ok(()) } else { Err(Outside::Weekday) }
    }
}

/// A time of day in whole minutes, `HH:MM`.
pub fn minute_of_day(text: &str) -> Option<i16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str, below: i16| {
        let is_number = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<i16>().ok().filter(|number| is_number && *number < below)
    };
    Some(number(hours, 24)? * 60 + number(minutes, 60)?)
}

/// As [`minute_of_day`] reads it.
pub fn shown_minute(minute: i16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn local(day: i64, hour: i64, minute: i64) -> Moment {
        let local = day * DAY_MICROS + (hour * 60 + minute) * MINUTE_MICROS;
        // Shanghai: eight hours ahead.
        Moment { at: local - 8 * 60 * MINUTE_MICROS, local }
    }

    /// 2026-11-27, a Friday.
    const FRIDAY: i64 = 9827;

    fn friday_night() -> Window {
        let (weekdays, hours) = (Weekdays::new([5]).unwrap(), Hours::new(22 * 60, 2 * 60));
        Window { weekdays, hours, ..Window::default() }
    }

    #[test]
    fn what_passes_midnight_belongs_to_the_day_on_which_it_began() {
        let holds = |day, hour, minute| friday_night().holds(local(day, hour, minute));
        assert_eq!(crate::month::iso(FRIDAY * DAY_MICROS), "2026-11-27T00:00:00.000000Z");
        assert_eq!(holds(FRIDAY, 21, 59), Err(Outside::Hours));
        assert_eq!((holds(FRIDAY, 22, 0), holds(FRIDAY, 23, 59)), (Ok(()), Ok(())));
        assert_eq!((holds(FRIDAY + 1, 0, 0), holds(FRIDAY + 1, 1, 59)), (Ok(()), Ok(())));
        assert_eq!(holds(FRIDAY + 1, 2, 0), Err(Outside::Hours));
        assert_eq!(holds(FRIDAY + 1, 22, 0), Err(Outside::Weekday));
        // Friday 01:00 is of Thursday's night.
        assert_eq!(holds(FRIDAY, 1, 0), Err(Outside::Weekday));
        let evening = Window { hours: Hours::new(18 * 60, 0), ..friday_night() };
        assert_eq!(evening.holds(local(FRIDAY, 23, 59)), Ok(()));
        assert_eq!(evening.holds(local(FRIDAY + 1, 0, 0)), Err(Outside::Hours));
    }

    #[test]
    fn from_is_in_it_and_until_is_not() {
        let now = local(FRIDAY, 12, 0);
        let window = |from: i64, until: i64| Window {
            valid_from: Some(now.at + from),
            valid_until: Some(now.at + until),
            ..Window::default()
        };
        assert_eq!(window(0, 1).holds(now), Ok(()));
        assert_eq!(window(1, 2).holds(now), Err(Outside::NotYet));
        assert_eq!(window(-1, 0).holds(now), Err(Outside::Over));
        let lunch = Window { hours: Hours::new(11 * 60, 12 * 60), ..Window::default() };
        assert_eq!((lunch.holds(local(FRIDAY, 11, 0)), lunch.holds(now)), (Ok(()), Err(Outside::Hours)));
        assert_eq!(Window::default().holds(now), Ok(()));
    }

    #[test]
    fn times_of_day_are_those_of_a_clock() {
        for (text, minute) in [("00:00", 0), ("09:05", 545), ("23:59", 1439)] {
            assert_eq!((minute_of_day(text), shown_minute(minute).as_str()), (Some(minute), text));
        }
        for bad in ["", "24:00", "9:05", "09:5", "09:60", "+9:05", "09:05:00", "0905", "09:05 ", "０９:05", "-1:00"] {
            assert_eq!(minute_of_day(bad), None, "{bad}");
        }
        assert_eq!((Hours::new(0, 0), Hours::new(-1, 5), Hours::new(0, 1440)), (None, None, None));
        let hours = Hours::new(1439, 0).unwrap();
        assert_eq!((hours.from(), hours.until()), (1439, 0));
    }

    #[test]
    fn weekdays_are_a_set() {
        let days = Weekdays::new([7, 1, 1]).unwrap();
        assert_eq!((days.iter().collect::<Vec<_>>(), days.are_all()), (vec![1, 7], false));
        assert_eq!((Weekdays::new([]), Weekdays::default().iter().count()), (Some(Weekdays::default()), 0));
        assert!(Weekdays::default().are_all());
        assert_eq!([0, 8, -1, i64::MAX, i64::MIN].map(|day| Weekdays::new([day])), [None; 5]);
    }

    proptest! {
        /// By counting: the night that began yesterday or today, minute by minute, whatever it is called.
        #[test]
        fn holds_where_a_day_of_it_began_and_has_not_ended(
            days in proptest::collection::vec(1i64..=7, 1..7),
            from in 0i16..DAY_MINUTES, length in 1i16..DAY_MINUTES,
            day in -40_000i64..40_000, minute in 0i64..1440, micros in 0i64..MINUTE_MICROS,
        ) {
            let until = (from + length) % DAY_MINUTES;
            let window = Window {
                weekdays: Weekdays::new(days.clone()).unwrap(), hours: Hours::new(from, until), ..Window::default()
            };
            let now = day * 1440 + minute;
            let minutes = |day: i64| day * 1440 + i64::from(from)..day * 1440 + i64::from(from + length);
            let began = [day - 1, day].into_iter().find(|day| minutes(*day).contains(&now));
            // 2000-01-03 was a Monday.
            let weekday = |day: i64| (day - 2).rem_euclid(7) + 1;
            let expected = match began {
                None => Err(Outside::Hours),
                Some(day) if days.contains(&weekday(day)) => Ok(()),
                Some(_) => Err(Outside::Weekday),
            };
            let local = now * MINUTE_MICROS + micros;
            prop_assert_eq!(window.holds(Moment { at: 0, local }), expected);
        }

        #[test]
        fn every_minute_is_written_as_it_is_read(minute in 0i16..DAY_MINUTES) {
            prop_assert_eq!(minute_of_day(&shown_minute(minute)), Some(minute));
        }

        #[test]
        fn never_panics(text in "\\PC{0,8}") {
            let _ = minute_of_day(&text);
        }
    }
}
