//! What people type and scanners send. White space around it is not part of it, and where a text can only be one of our own
//! numbers or codes, neither its case nor the full width of an input method's letters and digits is.

use std::borrow::Cow;

/// What full-width forms are ahead of the ASCII that they stand for.
const FULL_WIDTH: u32 = 0xFEE0;
/// What one of them takes in UTF-8.
pub const MOST_BYTES: usize = '～'.len_utf8();

/// Without the white space around it: Unicode's, so line ends, no-break and ideographic spaces as well.
pub fn trimmed(text: &str) -> &str {
    // What needs nothing is looked at from its two ends only, as most is.
    text.trim()
}

/// One of our own numbers or codes, as we would have written it: trimmed, in ASCII, in upper case. What is so already is not
/// copied.
pub fn number(text: &str) -> Cow<'_, str> {
    let text = trimmed(text);
    if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_lowercase()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| narrow(c).to_ascii_uppercase()).collect())
}

fn narrow(c: char) -> char {
    match c {
        '！'..='～' => char::from_u32(c as u32 - FULL_WIDTH).unwrap_or(c),
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_we_would_have_written_it() {
        for typed in [
            "ZF2611000123",
            "zf2611000123",
            "\u{3000}Zf2611000123\r\n",
            "ＺＦ２６１１０００１２３",
            "\u{a0}ｚf２6１1000123\u{2028}",
        ] {
            assert_eq!(number(typed), "ZF2611000123", "{typed:?}");
        }
        assert!(matches!(number(" ENT00001 "), Cow::Borrowed("ENT00001")));
        // Upper case is that of ASCII: no letter of another script becomes one of ours.
        assert_eq!(number("ıſ"), "ıſ");
    }

    proptest! {
        #[test]
        fn once_is_enough(text in "\\PC{0,40}") {
            let once = number(&text).into_owned();
            prop_assert_eq!(number(&once).into_owned(), once);
        }
    }
}
