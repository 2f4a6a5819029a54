//! Moments as people write them.

use crate::month::{DAY_MICROS, day_number};

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;

/// RFC 3339 with its offset, also as the server shows it: a space for the `T`, an offset of hours alone. In microseconds since
/// 2000-01-01 UTC; digits after the sixth decimal are refused.
pub fn moment(text: &str) -> Option<i64> {
    let number =
        |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten();
    let part = |from: usize, to: usize| text.get(from..to).and_then(number);
    let is = |at: usize, what: &str| text.get(at..at + 1).is_some_and(|found| what.contains(found));
    if ![(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")].iter().all(|(at, what)| is(*at, what)) {
        return None;
    }
    let day = day_number(part(0, 4)?, part(5, 7)?, part(8, 10)?)?;
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    let (decimals, offset) = match text.get(19..)?.strip_prefix('.') {
        None => (0, text.get(19..)?),
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let value = rest.get(..digits).filter(|_| (1..=6).contains(&digits)).and_then(number)?;
            (value * 10i64.pow(6 - digits as u32), rest.get(digits..)?)
        }
    };
    let offset = offset_minutes(offset)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = hour * 3_600 + (minute - offset) * 60 + second;
    let at = (day - EPOCH_DAYS) * DAY_MICROS + seconds * 1_000_000 + decimals;
    let last = (day_number(9999, 12, 31)? - EPOCH_DAYS + 1) * DAY_MICROS;
    (0..last).contains(&at).then_some(at)
}

/// `Z`, `+08`, `+08:00`, `+0800`.
fn offset_minutes(text: &str) -> Option<i64> {
    let (sign, rest) = match text {
        "Z" | "z" => return Some(0),
        _ => (if text.starts_with('-') { -1 } else { 1 }, text.strip_prefix(['+', '-'])?),
    };
    let digits = match rest.len() {
        5 => rest.replacen(':', "", 1),
        _ => rest.to_owned(),
    };
    let minutes = match digits.len() {
        2 => "00",
        4 => digits.get(2..)?,
        _ => return None,
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (digits.get(..2)?.parse().ok()?, minutes.parse().ok()?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::month::iso;
    use proptest::prelude::*;

    #[test]
    fn moments_have_an_offset() {
        let of = |text: &str| moment(text).map(iso);
        for text in [
            "2026-12-01T08:30:15+08:00",
            "2026-12-01 08:30:15+08",
            "2026-12-01t08:30:15.0+0800",
            "2026-12-01T00:30:15Z",
            "2026-11-30T19:00:15.000000-05:30",
        ] {
            assert_eq!(of(text).as_deref(), Some("2026-12-01T00:30:15.000000Z"), "{text}");
        }
        assert_eq!(of("2026-12-01T00:00:00.12z").as_deref(), Some("2026-12-01T00:00:00.120000Z"));
        assert_eq!(of("2000-01-01T00:00:00Z").as_deref(), Some("2000-01-01T00:00:00.000000Z"));
        assert_eq!(of("9999-12-31T23:59:59.999999Z").as_deref(), Some("9999-12-31T23:59:59.999999Z"));
        for bad in [
            "",
            "2026-12-01",
            "2026-12-01T00:00Z",
            "2026-12-01T24:00:00Z",
            "2026-12-01T00:60:00Z",
            "2026-12-01T00:00:60Z",
            "2026-12-01T00:00:00",
            "2026-12-01T00:00:00.Z",
            "2026-12-01T00:00:00.1234567Z",
            "2026-12-01T00:00:00+8",
            "2026-12-01T00:00:00+24:00",
            "2026-12-01T00:00:00+08:60",
            "2026-12-01T00:00:00+-8:00",
            "2026-12-01T00:00:00Z ",
            "+026-12-01T00:00:00Z",
            "2026/12/01T00:00:00Z",
            "2000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "infinity",
        ] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_is_read_as_it_is_written(at in 0i64..252_455_616_000_000_000) {
            prop_assert_eq!(moment(&iso(at)), Some(at));
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}", near in "[0-9TZ:.+ -]{18,28}") {
            let _ = (moment(&text), moment(&near), offset_minutes(&text));
        }
    }
}
