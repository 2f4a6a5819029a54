//! Times as the gateways write them, to microseconds since 1970 (UTC).

use crate::Refusal;
use mps_domain::month::day_number;

const SECOND: i64 = 1_000_000;
const SHANGHAI_MINUTES: i64 = 8 * 60;

/// WeChat's: RFC 3339, `2026-11-26T10:34:56+08:00`. Digits after the sixth decimal are cut off.
pub fn rfc3339(text: &str, field: &'static str) -> Result<i64, Refusal> {
    read_rfc3339(text.as_bytes()).ok_or(Refusal::TimeForm(field))
}

/// Alipay's: `2026-11-26 10:34:56`, some with decimals, in Shanghai's time, which has had no summer time since 1991.
pub fn shanghai(text: &str, field: &'static str) -> Result<i64, Refusal> {
    read_shanghai(text.as_bytes()).ok_or(Refusal::TimeForm(field))
}

fn read_rfc3339(text: &[u8]) -> Option<i64> {
    let (local, rest) = local(text, |b| matches!(b, b'T' | b't'))?;
    match rest {
        [b'Z' | b'z'] => Some(local),
        [sign @ (b'+' | b'-'), hours @ .., b':', m, s] if hours.len() == 2 => {
            let (hours, minutes) = (number(hours)?, number(&[*m, *s])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours.checked_mul(60)?.checked_add(minutes)?;
            at_offset(local, if *sign == b'-' { offset.checked_neg()? } else { offset })
        }
        _ => None,
    }
}

fn read_shanghai(text: &[u8]) -> Option<i64> {
    match local(text, |b| b == b' ')? {
        (local, []) => at_offset(local, SHANGHAI_MINUTES),
        _ => None,
    }
}

fn at_offset(local: i64, minutes: i64) -> Option<i64> {
    local.checked_sub(minutes.checked_mul(60)?.checked_mul(SECOND)?)
}

/// Date and time of day as if they were UTC's, and what stands behind them. No leap seconds: neither gateway has any.
fn local(text: &[u8], is_between: impl Fn(u8) -> bool) -> Option<(i64, &[u8])> {
    let (date, rest) = text.split_at_checked(10)?;
    let (&[between], rest) = rest.split_first_chunk::<1>()?;
    let (time, rest) = rest.split_at_checked(8)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *date else { return None };
    let [h1, h2, b':', n1, n2, b':', s1, s2] = *time else { return None };
    // Nothing was paid before 1970.
    let days =
        day_number(number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?).filter(|days| *days >= 0)?;
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
    if !is_between(between) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days.checked_mul(86_400)?.checked_add(hour.checked_mul(3600)?)?;
    let seconds = seconds.checked_add(minute.checked_mul(60)?)?.checked_add(second)?;
    let (micros, rest) = decimals(rest)?;
    Some((seconds.checked_mul(SECOND)?.checked_add(micros)?, rest))
}

/// Nothing, or a point and one to nine digits.
fn decimals(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(digits) = rest.strip_prefix(b".") else { return Some((0, rest)) };
    let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end)?;
    if !(1..=9).contains(&digits.len()) {
        return None;
    }
    let six: Vec<u8> = digits.iter().copied().chain(*b"00000").take(6).collect();
    Some((number(&six)?, rest))
}

fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // date -u -d 2026-11-26T02:34:56Z +%s
    const A_MORNING: i64 = 1_795_660_496;

    #[test]
    fn one_moment_in_many_forms() {
        for text in [
            "2026-11-26T10:34:56+08:00",
            "2026-11-26T02:34:56Z",
            "2026-11-26t02:34:56z",
            "2026-11-25T18:34:56-08:00",
            "2026-11-26T02:34:56-00:00",
            "2026-11-26T10:34:56.000000999+08:00",
        ] {
            assert_eq!(rfc3339(text, "t"), Ok(A_MORNING * SECOND), "{text}");
        }
        assert_eq!(shanghai("2026-11-26 10:34:56", "t"), Ok(A_MORNING * SECOND));
        assert_eq!(shanghai("2026-11-26 10:34:56.320", "t"), Ok(A_MORNING * SECOND + 320_000));
        assert_eq!(rfc3339("2026-11-26T10:34:56.123456789+08:00", "t"), Ok(A_MORNING * SECOND + 123_456));
        assert_eq!(rfc3339("1970-01-01T00:00:00Z", "t"), Ok(0));
        assert_eq!(shanghai("1970-01-01 00:00:00", "t"), Ok(-8 * 3600 * SECOND));
        assert_eq!(rfc3339("2024-02-29T00:00:00Z", "t"), Ok(1_709_164_800 * SECOND));
        assert_eq!(rfc3339("9999-12-31T23:59:59Z", "t"), Ok(253_402_300_799 * SECOND));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "2026-11-26",
            "2026-11-26T10:34:56",
            "2026-11-26 10:34:56+08:00",
            "2026-11-26T10:34+08:00",
            "2026-11-26T10:34:56+0800",
            "2026-11-26T10:34:56+08",
            "2026-11-26T10:34:56+24:00",
            "2026-11-26T10:34:56+08:60",
            "2026-11-26T10:34:56+08:00 ",
            "2026-11-26T10:34:56+008:00",
            "2026-11-26T10:34:56.+08:00",
            "2026-11-26T10:34:56.1234567890+08:00",
            "2026-11-26T24:00:00Z",
            "2026-11-26T10:60:00Z",
            "2026-11-26T10:34:60Z",
            "2026-02-29T10:34:56Z",
            "2100-02-29T10:34:56Z",
            "2026-13-01T10:34:56Z",
            "2026-00-01T10:34:56Z",
            "2026-01-00T10:34:56Z",
            "2026-04-31T10:34:56Z",
            "1969-12-31T23:59:59Z",
            "+026-11-26T10:34:56Z",
            "２026-11-26T10:34:56Z",
            "2026-11-26T10:34:56+08:00\0",
        ] {
            assert_eq!(rfc3339(text, "t"), Err(Refusal::TimeForm("t")), "{text}");
        }
        for text in [
            "",
            "2026-11-26T10:34:56",
            "2026-11-26 10:34",
            "2026-11-26 10:34:56 ",
            "2026-11-26 10:34:56Z",
            "2026-11-26 10:34:56.",
        ] {
            assert_eq!(shanghai(text, "t"), Err(Refusal::TimeForm("t")), "{text}");
        }
    }

    proptest! {
        /// The server's own way back (mps-domain) has no code in common with this.
        #[test]
        fn what_is_written_is_read(micros in 946_684_800_000_000i64..4_102_444_800_000_000) {
            let since_2000 = micros - 946_684_800_000_000;
            prop_assert_eq!(rfc3339(&mps_domain::month::iso(since_2000), "t"), Ok(micros));
        }

        #[test]
        fn zones_move_a_moment_by_their_minutes(minutes in -1439i64..=1439) {
            let sign = if minutes < 0 { '-' } else { '+' };
            let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
            let text = format!("2026-11-26T02:34:56{sign}{hours:02}:{rest:02}");
            prop_assert_eq!(rfc3339(&text, "t"), Ok((A_MORNING - minutes * 60) * SECOND));
        }

        #[test]
        fn never_panics(text in "[0-9TZ:.+ -]{0,36}") {
            let _ = (rfc3339(&text, "t"), shanghai(&text, "t"));
        }
    }
}
