//! Amounts as the gateways write them, to fen. Never through a fraction of two.

use crate::Refusal;
use mps_domain::money::MAX_CENTS;

/// The digits of the largest amount, which is the largest that a table holds.
const MAX_DIGITS: usize = 14;

/// WeChat's: a JSON integer of fen, without sign, point or exponent.
pub fn fen(raw: &str, field: &'static str) -> Result<i64, Refusal> {
    whole(raw, field)
}

/// Alipay's: yuan with at most two decimals, without sign or exponent.
pub fn yuan(text: &str, field: &'static str) -> Result<i64, Refusal> {
    let (yuan, decimals) = text.split_once('.').unwrap_or((text, "00"));
    let hundredths: i64 = match decimals.as_bytes() {
        [tenths] if tenths.is_ascii_digit() => i64::from(tenths.wrapping_sub(b'0')).saturating_mul(10),
        [a, b] if a.is_ascii_digit() && b.is_ascii_digit() => {
            decimals.parse().map_err(|_| Refusal::AmountForm(field))?
        }
        _ => return Err(Refusal::AmountForm(field)),
    };
    let fen = whole(yuan, field)?.checked_mul(100).and_then(|fen| fen.checked_add(hundredths));
    fen.filter(|fen| *fen <= MAX_CENTS).ok_or(Refusal::AmountRange(field))
}

fn whole(digits: &str, field: &'static str) -> Result<i64, Refusal> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_plain || (digits.len() > 1 && digits.starts_with('0')) {
        return Err(Refusal::AmountForm(field));
    }
    if digits.len() > MAX_DIGITS {
        return Err(Refusal::AmountRange(field));
    }
    digits.parse().ok().filter(|n| *n <= MAX_CENTS).ok_or(Refusal::AmountRange(field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn borders() {
        assert_eq!(fen("0", "a"), Ok(0));
        assert_eq!(fen("99999999999999", "a"), Ok(MAX_CENTS));
        assert_eq!(fen("100000000000000", "a"), Err(Refusal::AmountRange("a")));
        assert_eq!(fen(&"9".repeat(1000), "a"), Err(Refusal::AmountRange("a")));
        assert_eq!(yuan("999999999999.99", "a"), Ok(MAX_CENTS));
        assert_eq!(yuan("1000000000000.00", "a"), Err(Refusal::AmountRange("a")));
        assert_eq!(yuan("99999999999999", "a"), Err(Refusal::AmountRange("a")));
        assert_eq!((yuan("0.01", "a"), yuan("0.1", "a"), yuan("10", "a")), (Ok(1), Ok(10), Ok(1000)));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in
            ["", "-1", "+1", "1e2", "1E2", "01", "00", "1.0", "1.", " 1", "1 ", "0x1", "１", "null", "\"1\"", "1_0"]
        {
            assert_eq!(fen(text, "a"), Err(Refusal::AmountForm("a")), "{text}");
        }
        for text in [
            "", "-1", "+1.00", "1e2", "01.00", "1.", ".5", "1.000", "1.2.3", "1,00", " 1", "1.0 ", "１.00", "1.-1",
            "1.+1", "0.1e1",
        ] {
            assert_eq!(yuan(text, "a"), Err(Refusal::AmountForm("a")), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(cents in 0..=MAX_CENTS) {
            prop_assert_eq!(fen(&cents.to_string(), "a"), Ok(cents));
            let text = format!("{}.{:02}", cents / 100, cents % 100);
            prop_assert_eq!(yuan(&text, "a"), Ok(cents));
            if let Some(shorter) = text.strip_suffix('0') {
                prop_assert_eq!(yuan(shorter, "a"), Ok(cents));
            }
            if let Some(shortest) = text.strip_suffix(".00") {
                prop_assert_eq!(yuan(shortest, "a"), Ok(cents));
            }
        }

        #[test]
        fn what_is_read_was_written_so(text in "[0-9.eE+ -]{0,18}") {
            if let Ok(cents) = yuan(&text, "a") {
                let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
                prop_assert_eq!(format!("{whole}{decimals:0<2}").parse(), Ok(cents));
            }
            if let Ok(cents) = fen(&text, "a") {
                prop_assert_eq!(cents.to_string(), text);
            }
        }
    }
}
