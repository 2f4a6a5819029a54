//! Amounts as the files write them: yuan, up to five decimals that count.

use std::fmt;

/// Hundred-thousandths of a yuan in a fen.
pub const FEE_UNITS_PER_FEN: i64 = 1000;
/// Decimals of the smallest unit.
const SCALE: usize = 5;
/// The largest amount `numeric(14,2)` holds, in hundred-thousandths of a yuan.
const MOST: i64 = 99_999_999_999_999 * FEE_UNITS_PER_FEN;
/// More digits than any amount has, zeros at either end included.
const DIGITS: usize = 32;

/// An amount in hundred-thousandths of a yuan: digits, perhaps a minus before and a point within. `None` where it is none.
pub fn units(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    if whole.is_empty() || decimals.is_empty() || digits.len() > DIGITS {
        return None;
    }
    let mut value = 0i64;
    for digit in whole.bytes() {
        value = value.checked_mul(10)?.checked_add(digit_of(digit)?)?;
    }
    for place in 0..decimals.len().max(SCALE) {
        let digit = digit_of(decimals.as_bytes().get(place).copied().unwrap_or(b'0'))?;
        if place < SCALE {
            value = value.checked_mul(10)?.checked_add(digit)?;
        } else if digit != 0 {
            return None;
        }
    }
    (value <= MOST).then_some(if is_negative { -value } else { value })
}

fn digit_of(byte: u8) -> Option<i64> {
    byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
}

/// An amount in fen; `None` also where it has a part of a fen.
pub fn fen(text: &str) -> Option<i64> {
    units(text).and_then(fen_of)
}

pub fn fen_of(units: i64) -> Option<i64> {
    (units % FEE_UNITS_PER_FEN == 0).then_some(units / FEE_UNITS_PER_FEN)
}

/// A number of lines, which some files write as `45.0`.
pub fn count(text: &str) -> Option<u64> {
    let units = units(text)?;
    (units % 100_000 == 0).then(|| u64::try_from(units / 100_000).ok())?
}

/// Whether a total says what lines add up to, rounded to the fen: half a fen may go either way. Both in hundred-thousandths of a yuan.
pub fn agrees_in_fen(total: i64, lines: i64) -> bool {
    total.checked_sub(lines).is_some_and(|d| d.unsigned_abs() <= (FEE_UNITS_PER_FEN / 2).unsigned_abs())
}

/// An amount in hundred-thousandths of a yuan, as people read it: two decimals, more where there are more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yuan(pub i64);

impl Yuan {
    pub fn from_fen(fen: i64) -> Yuan {
        Yuan(fen.saturating_mul(FEE_UNITS_PER_FEN))
    }
}

impl fmt::Display for Yuan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) = (self.0.unsigned_abs() / 100_000, self.0.unsigned_abs() % 100_000);
        match part % 1000 {
            0 => write!(f, "{sign}{whole}.{:02}", part / 1000),
            _ => write!(f, "{sign}{whole}.{part:05}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (text, is) in [
            ("0.01", 1_000),
            ("0", 0),
            ("12", 1_200_000),
            ("0.0", 0),
            ("-0.00", 0),
            ("-3000.00", -300_000_000),
            ("0.00001", 1),
            ("0.0000100000", 1),
            ("00012.50", 1_250_000),
            ("999999999999.99", MOST),
        ] {
            assert_eq!(units(text), Some(is), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "+1",
            "1,000.00",
            "1e2",
            "--1",
            "0.000001",
            "1.2.3",
            "１",
            "NaN",
            " 1",
            "1000000000000",
        ] {
            assert_eq!(units(text), None, "{text}");
        }
        assert_eq!((units(&"0".repeat(32)), units(&"0".repeat(33))), (Some(0), None));
        assert_eq!((fen("0.01"), fen("0.001"), fen("-1.5"), fen("0.00000")), (Some(1), None, Some(-150), Some(0)));
        assert_eq!((count("45.0"), count("45"), count("45.5"), count("-1")), (Some(45), Some(45), None, None));
    }

    #[test]
    fn totals_are_rounded() {
        assert!(agrees_in_fen(8_000, 8_000) && agrees_in_fen(8_000, 8_500) && agrees_in_fen(9_000, 8_500));
        assert!(!agrees_in_fen(8_000, 8_501) && !agrees_in_fen(8_000, 7_499) && !agrees_in_fen(i64::MIN, i64::MAX));
    }

    #[test]
    fn shown() {
        let shown = [5, -1_000, 123_456, 300_000_000].map(|u| Yuan(u).to_string());
        assert_eq!(shown, ["0.00005", "-0.01", "1.23456", "3000.00"]);
        assert_eq!(Yuan::from_fen(-105).to_string(), "-1.05");
    }
}
