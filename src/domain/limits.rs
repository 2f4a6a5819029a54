//! How long a text may be. Counted in characters, as a person at the till would count.

/// Idempotency keys, order ids, gateway trade numbers.
pub const KEY_CHARS: usize = 200;
/// Reasons and names.
pub const TEXT_CHARS: usize = 500;
/// Codes of merchants.
pub const CODE_CHARS: usize = 64;
/// Phone numbers, with country code and separators.
pub const PHONE_CHARS: usize = 40;
/// The longest address that e-mail can deliver to (RFC 5321) is 254; some room for display forms.
pub const EMAIL_CHARS: usize = 320;
/// More bytes than any text that is accepted can have.
pub const ANY_TEXT_BYTES: usize = 16 * 1024;
/// A text that is too long for every limit, and not longer than it takes.
pub const TOO_LONG: &str = match str::from_utf8(&[b'x'; MOST_UTF8_BYTES * TEXT_CHARS + 1]) {
    Ok(text) => text,
    Err(_) => panic!("it is ASCII"),
};
/// jsonb tags and payloads, in bytes of their text as the server writes it.
pub const TAG_BYTES: usize = 8 * 1024;
/// More bytes than any jsonb is stored in whose text is within [`TAG_BYTES`]: at most four for each (a digit of an array).
pub const TAG_STORED_BYTES: usize = 8 * TAG_BYTES;
/// The longest tag that is shown, in bytes of its text. Older versions looked at what is stored, so that an honest tag may be
/// longer as text than [`TAG_BYTES`] (line ends and quotes take two bytes), and a few kilobytes could become megabytes.
pub const SHOWN_TAG_BYTES: usize = 2 * TAG_BYTES;
/// Rows on one page of a statement.
pub const PAGE_ROWS: i32 = 500;

/// What one character can take.
const MOST_UTF8_BYTES: usize = 4;

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadText {
    Empty,
    TooLong,
    ControlCharacter,
}

/// A text of 1 to `max` characters, not only white space.
pub fn text(value: &str, max: usize) -> Result<&str, BadText> {
    // However long: not looked through.
    if value.len() > max * MOST_UTF8_BYTES {
        return Err(BadText::TooLong);
    }
    if value.trim().is_empty() {
        return Err(BadText::Empty);
    }
    if value.chars().count() > max {
        return Err(BadText::TooLong);
    }
    Ok(value)
}

/// As [`text`], for what is compared byte by byte and written in logs: no control characters either.
pub fn key(value: &str, max: usize) -> Result<&str, BadText> {
    let value = text(value, max)?;
    if value.chars().any(char::is_control) {
        return Err(BadText::ControlCharacter);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_long_is_too_long_for_every_limit() {
        for max in [KEY_CHARS, TEXT_CHARS, CODE_CHARS, PHONE_CHARS, EMAIL_CHARS] {
            assert_eq!(text(TOO_LONG, max), Err(BadText::TooLong));
            assert!(max * MOST_UTF8_BYTES < ANY_TEXT_BYTES);
        }
    }

    /// The documents name them.
    #[test]
    fn bounds_are_these() {
        assert_eq!((ANY_TEXT_BYTES, TAG_BYTES, TAG_STORED_BYTES, SHOWN_TAG_BYTES), (16_384, 8_192, 65_536, 16_384));
        assert_eq!(TOO_LONG.len(), 2_001);
    }

    #[test]
    fn counts_characters_not_bytes() {
        let latte = "拿铁".repeat(250);
        assert_eq!(text(&latte, TEXT_CHARS), Ok(latte.as_str()));
        assert_eq!(text(&format!("{latte}!"), TEXT_CHARS), Err(BadText::TooLong));
        assert_eq!(text("", 5), Err(BadText::Empty));
        assert_eq!(text(" \t", 5), Err(BadText::Empty));
        assert_eq!(text("😀😀", 2), Ok("😀😀"));
        assert_eq!(text("😀😀!", 2), Err(BadText::TooLong));
        assert_eq!(text(&" ".repeat(21), 5), Err(BadText::TooLong));
        assert_eq!(key("a\nb", 5), Err(BadText::ControlCharacter));
        assert_eq!(key("订单-1", 5), Ok("订单-1"));
    }
}
