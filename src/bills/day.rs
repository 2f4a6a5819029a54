//! Days and times of the gateways, which both live in +08:00 the whole year.

pub use mps_domain::month::DAY_MICROS;
use mps_domain::month::{date, day_number};
use std::fmt;

const ZONE_MICROS: i64 = 8 * 3_600_000_000;
/// How far beside its day a line may lie. Gateways cut their days by clocks of their own.
pub const BORDER_MICROS: i64 = 600_000_000;

/// A day in Shanghai, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i32);

impl Day {
    /// `None` unless there is such a day; years have four digits.
    pub fn new(year: i64, month: i64, day: i64) -> Option<Day> {
        let number = if year < 1000 { None } else { day_number(year, month, day) };
        number.and_then(|number| i32::try_from(number).ok()).map(Day)
    }

    pub const fn from_unix_days(days: i32) -> Day {
        Day(days)
    }

    pub const fn unix_days(self) -> i32 {
        self.0
    }

    /// Microseconds since 1970, UTC.
    pub fn starts_at(self) -> i64 {
        i64::from(self.0).saturating_mul(DAY_MICROS).saturating_sub(ZONE_MICROS)
    }

    /// The day that a moment lies in.
    pub fn of(micros: i64) -> Day {
        let days = micros.saturating_add(ZONE_MICROS).div_euclid(DAY_MICROS);
        Day(i32::try_from(days).unwrap_or(if days < 0 { i32::MIN } else { i32::MAX }))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(i64::from(self.0));
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// `2026-11-26 09:08:07` in Shanghai, in microseconds since 1970, UTC. `None` where it is no time.
pub fn time(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    let is_form = b.len() == 19
        && [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')].iter().all(|(place, sign)| b[*place] == *sign);
    if !is_form {
        return None;
    }
    let number = |from: usize, to: usize| {
        b[from..to].iter().try_fold(0i64, |n, d| d.is_ascii_digit().then(|| n * 10 + i64::from(d - b'0')))
    };
    let day = Day::new(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    (hour < 24 && minute < 60 && second < 60)
        .then(|| day.starts_at() + ((hour * 60 + minute) * 60 + second) * 1_000_000)
}

/// The first day that a text names (`2026年11月26日`, `2026-11-26`), and what follows it.
pub fn first_day(text: &str) -> Option<(Day, &str)> {
    let mut rest = text;
    let mut parts = [0i64; 3];
    for part in &mut parts {
        let start = rest.find(|c: char| c.is_ascii_digit())?;
        rest = &rest[start..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        *part = rest[..end].parse().ok()?;
        rest = &rest[end..];
    }
    Some((Day::new(parts[0], parts[1], parts[2])?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        assert_eq!(Day::new(1970, 1, 1).unwrap().unix_days(), 0);
        assert_eq!(Day::new(2026, 11, 26).unwrap().unix_days(), 20_783);
        assert_eq!(Day::new(2000, 2, 29).unwrap().unix_days(), 11_016);
        for (y, m, d) in
            [(2100, 2, 29), (2026, 2, 29), (2026, 4, 31), (2026, 13, 1), (2026, 0, 1), (2026, 1, 0), (26, 1, 1)]
        {
            assert_eq!(Day::new(y, m, d), None);
        }
        for days in (-300_000..2_900_000).step_by(17) {
            let shown = Day::from_unix_days(days).to_string();
            assert_eq!(first_day(&shown).unwrap().0.unix_days(), days, "{shown}");
        }
    }

    #[test]
    fn times() {
        let day = Day::new(2026, 11, 26).unwrap();
        assert_eq!(time("2026-11-26 00:00:00"), Some(day.starts_at()));
        assert_eq!(time("2026-11-26 23:59:59"), Some(day.starts_at() + DAY_MICROS - 1_000_000));
        assert_eq!(time("1970-01-01 08:00:00"), Some(0));
        for text in [
            "",
            "2026-11-26",
            "2026/11/26 00:00:00",
            "2026-11-26 24:00:00",
            "2026-11-26 00:60:00",
            "2026-11-26 00:00:60",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(time("2026-11-31 00:00:00"), None);
        assert_eq!(time("2026-11-2é 00:00:0"), None);
        assert_eq!(Day::of(day.starts_at()), day);
        // Days that no gateway has, but a database.
        let ends = [i32::MIN, i32::MAX].map(|days| Day::from_unix_days(days).starts_at());
        assert_eq!(ends, [i64::MIN, i64::MAX - ZONE_MICROS]);
    }

    #[test]
    fn the_first_day_of_a_text() {
        let (first, rest) = first_day("：[2026年06月05日 00:00:00]   终止日期：[2026年06月06日 00:00:00]").unwrap();
        assert_eq!((first.to_string(), rest.starts_with("日 00")), ("2026-06-05".to_owned(), true));
        assert_eq!(first_day("没有"), None);
        assert_eq!(first_day("99999999999999999999-1-1"), None);
    }
}
