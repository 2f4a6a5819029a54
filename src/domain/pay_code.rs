//! Pay codes: what a QR shows. A code names the place to look (card, and for a company card the member), and carries
//! 128 random bits. Only the SHA-256 of the whole text is ever stored.

use crate::typed;
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub type Id = [u8; 16];
pub type Secret = [u8; 16];
pub type Hash = [u8; 32];

/// How long the longest code is, that of a company card: prefix, and 49 bytes in groups of five bits.
pub const MAX_CHARS: usize = 82;
/// Upper-case letters and digits only, so that QR encoders use their compact alphanumeric mode. No two of them differ by case
/// alone, so that a code that comes back in lower case is still the same one.
const PREFIX: &str = "MPS";
const PERSONAL: u8 = 1;
/// The kind, two ids and the secret.
const MAX_BYTES: usize = 49;
const ENTERPRISE: u8 = 2;

/// Where a pay code points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Personal { card: Id },
    Enterprise { card: Id, member: Id },
}

/// Writes the code for a place and a fresh secret.
pub fn encode(place: &Place, secret: &Secret) -> String {
    let mut bytes = Vec::with_capacity(MAX_BYTES);
    match place {
        Place::Personal { card } => {
            bytes.push(PERSONAL);
            bytes.extend_from_slice(card);
        }
        Place::Enterprise { card, member } => {
            bytes.push(ENTERPRISE);
            bytes.extend_from_slice(card);
            bytes.extend_from_slice(member);
        }
    }
    bytes.extend_from_slice(secret);
    format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes))
}

/// Where a code points, and its hash; `None` for anything that is not the form of a code. White space around the
/// code, its case and the width of its characters, which scanners and keyboards change, do not count.
pub fn read(text: &str) -> Option<(Place, Hash)> {
    // However long: not looked through.
    if typed::trimmed(text).len() > MAX_CHARS * typed::MOST_BYTES {
        return None;
    }
    let text = &*typed::number(text);
    let bytes = BASE32_NOPAD.decode(text.strip_prefix(PREFIX)?.as_bytes()).ok()?;
    let id = |range: std::ops::Range<usize>| -> Option<Id> { bytes.get(range)?.try_into().ok() };
    let place = match (bytes.first()?, bytes.len()) {
        (&PERSONAL, 33) => Place::Personal { card: id(1..17)? },
        (&ENTERPRISE, MAX_BYTES) => Place::Enterprise { card: id(1..17)?, member: id(17..33)? },
        _ => return None,
    };
    Some((place, hash(text)))
}

/// What is stored of a code.
pub fn hash(code: &str) -> Hash {
    Sha256::digest(code.as_bytes()).into()
}

/// Whether the stored hash is that of the shown code, in a time that does not depend on where they differ. A card
/// without a code is compared with a hash that nothing has, so that it takes as long as one with a code.
pub fn matches(stored: Option<&[u8]>, shown: &Hash) -> bool {
    let nothing = [0u8; 32];
    bool::from(stored.unwrap_or(&nothing).ct_eq(shown)) && stored.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stays_in_the_qr_alphanumeric_mode() {
        let code = encode(&Place::Personal { card: [7; 16] }, &[9; 16]);
        assert!(code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
        assert_eq!(code.len(), 3 + 53);
    }

    #[test]
    fn the_longest_is_read_from_the_widest_characters_and_nothing_longer_is() {
        let place = Place::Enterprise { card: [0x55; 16], member: [0xAA; 16] };
        let code = encode(&place, &[0xFF; 16]);
        assert_eq!(code.len(), MAX_CHARS);
        let wide: String = code.chars().map(|c| char::from_u32(u32::from(c) + 0xFEE0).unwrap()).collect();
        assert_eq!(read(&wide), Some((place, hash(&code))));
        assert_eq!(read(&format!("{code}A")), None);
    }

    #[test]
    fn matches_only_itself() {
        let h = hash("a");
        assert!(matches(Some(&h), &h));
        assert!(!matches(Some(&hash("b")), &h));
        assert!(!matches(None, &h));
        assert!(!matches(None, &[0; 32]));
        assert!(!matches(Some(&h[..31]), &h));
    }

    proptest! {
        #[test]
        fn round_trips(card in any::<Id>(), member in any::<Id>(), secret in any::<Secret>(), company in any::<bool>()) {
            let place = if company { Place::Enterprise { card, member } } else { Place::Personal { card } };
            let code = encode(&place, &secret);
            prop_assert_eq!(read(&code), Some((place, hash(&code))));
            prop_assert_eq!(read(&format!(" {code}\r\n")), Some((place, hash(&code))));
            prop_assert_eq!(read(&format!("\u{3000}{}\u{a0}", code.to_lowercase())), Some((place, hash(&code))));
            prop_assert!(code.len() <= MAX_CHARS);
        }

        #[test]
        fn a_changed_code_has_another_hash_or_is_none(
            card in any::<Id>(), secret in any::<Secret>(), at in 0usize..56, with in "[A-Z2-7]"
        ) {
            let code = encode(&Place::Personal { card }, &secret);
            let mut forged = code.clone();
            forged.replace_range(at..at + 1, &with);
            if forged != code
                && let Some((_, h)) = read(&forged)
            {
                prop_assert!(!matches(Some(&hash(&code)), &h));
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,200}") {
            let _ = read(&text);
        }
    }
}
