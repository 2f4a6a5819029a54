//! Months in UTC, the unit by which the big tables are partitioned.

/// Microseconds of one day.
pub const DAY_MICROS: i64 = 86_400_000_000;
/// Days from 1970-01-01 to Postgres's epoch, 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;

/// A month of the years 2000 to 2099, as `yymm`: 2611 is November 2026.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(u16);

impl Month {
    /// From `yymm`; `None` if that is no month.
    pub fn from_yymm(yymm: u16) -> Option<Month> {
        (yymm <= 9912 && (1..=12).contains(&(yymm % 100))).then_some(Month(yymm))
    }

    /// The month that holds a moment, given as Postgres's microseconds since 2000-01-01 UTC.
    pub fn of(pg_micros: i64) -> Option<Month> {
        let (year, month) = civil(pg_micros.div_euclid(DAY_MICROS) + EPOCH_DAYS);
        if !(2000..=2099).contains(&year) {
            return None;
        }
        Month::from_yymm(((year - 2000) * 100 + month) as u16)
    }

    /// The month that holds a moment; for one before or after all of them, the first or the last.
    pub fn nearest(pg_micros: i64) -> Month {
        let (first, last) = (Month(1), Month(9912));
        Month::of(pg_micros.clamp(first.starts_at(), last.ends_at() - 1)).expect("it lies in one of them")
    }

    pub const fn yymm(self) -> u16 {
        self.0
    }

    pub const fn year(self) -> i64 {
        2000 + (self.0 / 100) as i64
    }

    pub const fn month(self) -> i64 {
        (self.0 % 100) as i64
    }

    /// The first day of the month, as `YYYY-MM-01`.
    pub fn first_day(self) -> String {
        format!("{:04}-{:02}-01", self.year(), self.month())
    }

    /// The suffix of this month's partitions: `202611`.
    pub fn suffix(self) -> String {
        format!("{:04}{:02}", self.year(), self.month())
    }

    /// The first microsecond of the month, in Postgres's microseconds since 2000-01-01 UTC.
    pub fn starts_at(self) -> i64 {
        (days(self.year(), self.month()) - EPOCH_DAYS) * DAY_MICROS
    }

    /// The first microsecond after it.
    pub fn ends_at(self) -> i64 {
        let (year, month) = if self.month() == 12 { (self.year() + 1, 1) } else { (self.year(), self.month() + 1) };
        (days(year, month) - EPOCH_DAYS) * DAY_MICROS
    }

    pub fn previous(self) -> Option<Month> {
        match (self.0 / 100, self.0 % 100) {
            (0, 1) => None,
            (year, 1) => Some(Month((year - 1) * 100 + 12)),
            _ => Some(Month(self.0 - 1)),
        }
    }
}

/// A moment as text, `2026-11-22T18:05:08.123456Z`, whatever the session's settings are.
pub fn iso(pg_micros: i64) -> String {
    const SECOND: i64 = 1_000_000;
    let (year, month, day) = date(pg_micros.div_euclid(DAY_MICROS) + EPOCH_DAYS);
    let in_day = pg_micros.rem_euclid(DAY_MICROS);
    let (seconds, micros) = (in_day / SECOND, in_day % SECOND);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{micros:06}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Year, month and day of the month of a day counted from 1970-01-01.
pub fn date(day: i64) -> (i64, i64, i64) {
    let (year, month) = civil(day);
    (year, month, day - days(year, month) + 1)
}

/// A date as a day counted from 1970-01-01; `None` where the calendar has none. Years have at most four digits.
pub fn day_number(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let number = days(year, month) + day - 1;
    (date(number) == (year, month, day)).then_some(number)
}

/// Year and month of a day counted from 1970-01-01 in the proleptic Gregorian calendar (Hinnant's algorithm).
fn civil(day: i64) -> (i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month)
}

/// Days from 1970-01-01 to the first day of a month.
fn days(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn knows_the_turns() {
        assert_eq!(Month::of(0).unwrap().yymm(), 1);
        assert_eq!(Month::of(-1), None);
        assert_eq!(Month::nearest(i64::MIN), Month::from_yymm(1).unwrap());
        assert_eq!(Month::nearest(i64::MAX), Month::from_yymm(9912).unwrap());
        let nov = Month::from_yymm(2611).unwrap();
        assert_eq!(Month::of(nov.starts_at()), Some(nov));
        assert_eq!(Month::of(nov.starts_at() - 1), Month::from_yymm(2610));
        assert_eq!(nov.first_day(), "2026-11-01");
        assert_eq!(nov.suffix(), "202611");
        let jan = Month::from_yymm(2701).unwrap();
        assert_eq!(jan.previous(), Month::from_yymm(2612));
        assert_eq!(Month::of(jan.starts_at() - 1), jan.previous());
        // 2024-02-29 12:00 UTC
        assert_eq!(Month::of(762_480_000_000_000 + DAY_MICROS / 2), Month::from_yymm(2402));
        assert_eq!(iso(0), "2000-01-01T00:00:00.000000Z");
        assert_eq!(iso(762_480_000_000_000 + 3_661_000_001), "2024-02-29T01:01:01.000001Z");
        assert_eq!(iso(-1), "1999-12-31T23:59:59.999999Z");
        assert_eq!(Month::from_yymm(2613), None);
        assert_eq!(Month::from_yymm(2600), None);
    }

    /// For longer than four centuries, after which the calendar repeats, at both ends of each month.
    #[test]
    fn agrees_with_a_calendar_that_counts_days() {
        let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let mut day = -146_097;
        for (year, month) in (1600..=2401).flat_map(|year| (1..=12).map(move |month| (year, month))) {
            let length = match month {
                2 => 28 + i64::from(is_leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let (begin, end) = (day * DAY_MICROS, (day + length) * DAY_MICROS);
            assert_eq!(iso(begin), format!("{year}-{month:02}-01T00:00:00.000000Z"));
            assert_eq!(iso(end - 1), format!("{year}-{month:02}-{length}T23:59:59.999999Z"));
            let known = (2000..=2099).contains(&year).then(|| Month(((year - 2000) * 100 + month) as u16));
            assert_eq!((Month::of(begin), Month::of(end - 1)), (known, known));
            if let Some(known) = known {
                assert_eq!((known.starts_at(), known.ends_at()), (begin, end));
                assert_eq!((known.year(), known.month(), known.yymm()), (year, month, known.0));
                assert_eq!(known.previous(), Month::of(begin - 1));
            }
            day += length;
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        // By `date -u -d DATE +%s`, divided by 86,400.
        for (date, number) in [
            ((1970, 1, 1), 0),
            ((2000, 2, 29), 11_016),
            ((2026, 11, 26), 20_783),
            ((0, 1, 1), -719_528),
            ((9999, 12, 31), 2_932_896),
        ] {
            assert_eq!((day_number(date.0, date.1, date.2), super::date(number)), (Some(number), date));
        }
        let none = [
            (2100, 2, 29),
            (2026, 2, 29),
            (2026, 4, 31),
            (2026, 13, 1),
            (2026, 0, 1),
            (2026, 1, 0),
            (2026, 1, 32),
            (-1, 1, 1),
            (10_000, 1, 1),
            (i64::MAX, 1, 1),
            (2026, i64::MIN, 1),
            (2026, 1, i64::MAX),
        ];
        assert_eq!(none.map(|(year, month, day)| day_number(year, month, day)), [None; 12]);
    }

    proptest! {
        #[test]
        fn every_month_is_where_it_starts(year in 0u16..=99, month in 1u16..=12) {
            let m = Month::from_yymm(year * 100 + month).unwrap();
            prop_assert_eq!(Month::of(m.starts_at()), Some(m));
            if let Some(before) = m.previous() {
                prop_assert_eq!(Month::of(m.starts_at() - 1), Some(before));
                prop_assert!(before.starts_at() < m.starts_at());
                prop_assert_eq!(before.ends_at(), m.starts_at());
            }
        }
    }
}
