//! Postgres's on-disk `numeric`, read and written digit by digit: no float, no call back into the server.
//!
//! Layout (src/backend/utils/adt/numeric.c): a 16-bit header, in the short form holding sign, scale and weight, in
//! the long form followed by a 16-bit weight; then base-10000 digits, most significant first. All in native byte order.

const SHORT: u16 = 0x8000;
const SPECIAL: u16 = 0xC000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_SCALE_SHIFT: u32 = 7;
const SHORT_SCALE_MASK: u16 = 0x1F80;
const SHORT_WEIGHT_NEGATIVE: u16 = 0x0040;
const SHORT_WEIGHT_MASK: u16 = 0x003F;
const LONG_NEGATIVE: u16 = 0x4000;
const LONG_SCALE_MASK: u16 = 0x3FFF;
/// Of the special ones: NaN is neither.
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;
const BASE: i128 = 10_000;
const BASE_DECIMALS: u32 = 4;
/// The decimals of two digits, which is as many as anything here has.
const MAX_SCALE: u32 = 2 * BASE_DECIMALS;
/// 10000^4 = 10^16: the highest power that a number of 64 bits has, and far from overflowing an i128.
const MAX_WEIGHT: i32 = 4;

/// Why a `numeric` is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotExact {
    /// NaN or an infinity.
    NotFinite,
    /// More decimals than the scale has room for.
    TooManyDecimals,
    /// Too large for 64 bits at that scale.
    TooLarge,
    /// Not the bytes of a numeric.
    Malformed,
}

/// What stands before the digits of a finite number.
struct Header {
    negative: bool,
    /// The power of 10000 of the first digit.
    weight: i32,
    /// Decimals that are shown.
    scale: u16,
}

impl Header {
    /// Reads it off the words of a numeric that is not special; what is left are the digits.
    fn read(first: u16, words: &mut impl Iterator<Item = u16>) -> Option<Header> {
        if first & SHORT != 0 {
            let low = i32::from(first & SHORT_WEIGHT_MASK);
            let sign_extension = if first & SHORT_WEIGHT_NEGATIVE != 0 { -64 } else { 0 };
            Some(Header {
                negative: first & SHORT_NEGATIVE != 0,
                weight: sign_extension + low,
                scale: (first & SHORT_SCALE_MASK) >> SHORT_SCALE_SHIFT,
            })
        } else {
            let weight = words.next()? as i16;
            Some(Header {
                negative: first & SPECIAL == LONG_NEGATIVE,
                weight: i32::from(weight),
                scale: first & LONG_SCALE_MASK,
            })
        }
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|b| u16::from_ne_bytes([b[0], b[1]]))
}

/// How many characters the server writes for a numeric, from the bytes after its length word: known from its header and
/// first digit, however long. `None` for what is no numeric.
pub fn text_bytes(bytes: &[u8]) -> Option<usize> {
    let mut words = words(bytes);
    let first = words.next()?;
    if first & SPECIAL == SPECIAL {
        return Some(match first {
            INFINITY => "Infinity".len(),
            NEGATIVE_INFINITY => "-Infinity".len(),
            _ => "NaN".len(),
        });
    }
    let header = Header::read(first, &mut words)?;
    let leading = match words.next().unwrap_or(0) {
        0..10 => 1,
        10..100 => 2,
        100..1000 => 3,
        _ => BASE_DECIMALS as usize,
    };
    let whole = usize::try_from(header.weight).map_or(1, |weight| weight * BASE_DECIMALS as usize + leading);
    let decimals = if header.scale > 0 { 1 + usize::from(header.scale) } else { 0 };
    Some(usize::from(header.negative) + whole + decimals)
}

/// Reads the bytes after a numeric's length word as a whole number of `10^-scale` units; `scale` is 0 to 8.
pub fn decode(bytes: &[u8], scale: u32) -> Result<i64, NotExact> {
    assert!(scale <= MAX_SCALE);
    let mut words = words(bytes);
    let header = words.next().ok_or(NotExact::Malformed)?;
    if !bytes.len().is_multiple_of(2) {
        return Err(NotExact::Malformed);
    }
    if header & SPECIAL == SPECIAL {
        return Err(NotExact::NotFinite);
    }
    let Header { negative, weight, .. } = Header::read(header, &mut words).ok_or(NotExact::Malformed)?;
    let unit = 10i128.pow(scale);
    let mut total: i128 = 0;
    for (index, digit) in words.enumerate() {
        let digit = i128::from(digit);
        if digit >= BASE {
            return Err(NotExact::Malformed);
        }
        if digit == 0 {
            continue;
        }
        let power = weight - index as i32;
        if power > MAX_WEIGHT {
            return Err(NotExact::TooLarge);
        } else if power >= 0 {
            total += digit * BASE.pow(power as u32) * unit;
        } else {
            // What the digit counts, in the smallest that two digits have.
            let smallest = match power {
                -1 => digit * BASE,
                -2 => digit,
                _ => return Err(NotExact::TooManyDecimals),
            };
            let dropped = 10i128.pow(MAX_SCALE - scale);
            if smallest % dropped != 0 {
                return Err(NotExact::TooManyDecimals);
            }
            total += smallest / dropped;
        }
    }
    let signed = if negative { -total } else { total };
    i64::try_from(signed).map_err(|_| NotExact::TooLarge)
}

/// Room for any i64 at any scale up to 8: a header and seven digits, of two bytes each.
pub const MAX_ENCODED: usize = 16;

/// Writes `units x 10^-scale` as the bytes that follow a numeric's length word; returns how many were used.
pub fn encode(units: i64, scale: u32, out: &mut [u8; MAX_ENCODED]) -> usize {
    assert!(scale <= MAX_SCALE);
    let unit = 10u64.pow(scale);
    let magnitude = units.unsigned_abs();
    let mut digits = [0u16; 7];
    let mut whole = magnitude / unit;
    let fraction = (magnitude % unit) * 10u64.pow(MAX_SCALE - scale);
    digits[5] = (fraction / BASE as u64) as u16;
    digits[6] = (fraction % BASE as u64) as u16;
    for slot in digits[..5].iter_mut().rev() {
        *slot = (whole % BASE as u64) as u16;
        whole /= BASE as u64;
    }
    let first = digits.iter().position(|d| *d != 0).unwrap_or(7);
    let last = digits.iter().rposition(|d| *d != 0).map_or(first, |l| l + 1);
    // digits[4] is the one of weight 0.
    let weight = if first == 7 { 0 } else { 4 - first as i32 };
    // No bit of one is a bit of another.
    let mut header = SHORT + ((scale as u16) << SHORT_SCALE_SHIFT);
    if units < 0 {
        header += SHORT_NEGATIVE;
    }
    if weight < 0 {
        header += SHORT_WEIGHT_NEGATIVE;
    }
    header += (weight as u16) & SHORT_WEIGHT_MASK;
    out[..2].copy_from_slice(&header.to_ne_bytes());
    let mut used = 2;
    for digit in &digits[first..last] {
        out[used..used + 2].copy_from_slice(&digit.to_ne_bytes());
        used += 2;
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_ne_bytes()).collect()
    }

    #[test]
    fn reads_what_postgres_writes() {
        // select numeric_send-like images of 52.00, 0.05, -1.5, 12345.67
        assert_eq!(decode(&bytes(&[0x8100, 52]), 2), Ok(5200));
        assert_eq!(decode(&bytes(&[0x8100 | 0x007F, 500]), 2), Ok(5));
        assert_eq!(decode(&bytes(&[0xA080, 1, 5000]), 2), Ok(-150));
        assert_eq!(decode(&bytes(&[0x8101, 1, 2345, 6700]), 2), Ok(1_234_567));
        assert_eq!(decode(&bytes(&[0x8000]), 2), Ok(0));
        // the long form of -7
        assert_eq!(decode(&bytes(&[0x4000, 0, 7]), 2), Ok(-700));
    }

    #[test]
    fn refuses_what_is_no_amount() {
        for special in [0xC000, 0xD000, 0xF000] {
            assert_eq!(decode(&bytes(&[special]), 2), Err(NotExact::NotFinite));
        }
        assert_eq!(decode(&bytes(&[0x8180, 1, 10]), 2), Err(NotExact::TooManyDecimals));
        assert_eq!(decode(&bytes(&[0x8180, 1, 0, 1]), 2), Err(NotExact::TooManyDecimals));
        assert_eq!(decode(&bytes(&[0x8006, 1]), 2), Err(NotExact::TooLarge));
        assert_eq!(decode(&bytes(&[0x8005, 1]), 2), Err(NotExact::TooLarge));
        assert_eq!(decode(&bytes(&[0x0000, 0x7FFF, 1]), 2), Err(NotExact::TooLarge));
        assert_eq!(decode(&bytes(&[0x8180, 1, 0, 100]), 2), Err(NotExact::TooManyDecimals));
        assert_eq!(decode(&[], 2), Err(NotExact::Malformed));
        assert_eq!(decode(&[1], 2), Err(NotExact::Malformed));
        assert_eq!(decode(&bytes(&[0x8100, 52])[..3], 2), Err(NotExact::Malformed));
        assert_eq!(decode(&bytes(&[0x8100, 9_999]), 2), Ok(999_900));
        assert_eq!(decode(&bytes(&[0x8100, 10_000]), 2), Err(NotExact::Malformed));
    }

    #[test]
    fn reads_and_writes_all_that_fits() {
        assert_eq!(decode(&bytes(&[0x8004, 922, 3372, 368, 5477, 5807]), 0), Ok(i64::MAX));
        assert_eq!(decode(&bytes(&[0x8004, 922, 3372, 368, 5477, 5808]), 0), Err(NotExact::TooLarge));
        let written = |units, scale| {
            let mut out = [0; MAX_ENCODED];
            let used = encode(units, scale, &mut out);
            out[..used].to_vec()
        };
        for (units, scale, words) in [
            (0, 2, &[0x8100][..]),
            (5_200, 2, &[0x8100, 52]),
            (5, 2, &[0x817F, 500]),
            (-150, 2, &[0xA100, 1, 5_000]),
            (1_234_567, 2, &[0x8101, 1, 2_345, 6_700]),
            (20_000, 0, &[0x8001, 2]),
            (-1, 4, &[0xA27F, 1]),
            (-60_000, 5, &[0xA2FF, 6_000]),
            (1, 5, &[0x82FE, 1_000]),
            (651_012, 5, &[0x8280, 6, 5_101, 2_000]),
            (i64::MIN, 8, &[0xA402, 922, 3_372, 368, 5_477, 5_808]),
            (i64::MAX, 0, &[0x8004, 922, 3_372, 368, 5_477, 5_807]),
            (i64::MIN, 4, &[0xA203, 922, 3_372, 368, 5_477, 5_808]),
        ] {
            assert_eq!(written(units, scale), bytes(words), "{units} at {scale}");
            assert_eq!(decode(&bytes(words), scale), Ok(units));
        }
    }

    #[test]
    fn knows_how_long_it_is_as_text() {
        let length = |words: &[u16]| text_bytes(&bytes(words));
        assert_eq!(length(&[0x8100, 52]), Some("52.00".len()));
        assert_eq!(length(&[0x8100 | 0x007F, 500]), Some("0.05".len()));
        assert_eq!(length(&[0xA080, 1, 5000]), Some("-1.5".len()));
        assert_eq!(length(&[0x8001, 1, 2345]), Some("12345".len()));
        assert_eq!(length(&[0x8001, 100]), Some("1000000".len()));
        assert_eq!(length(&[0x8000]), Some("0".len()));
        assert_eq!(length(&[0x8100]), Some("0.00".len()));
        // The long form: -7, and the largest there is, 1e131071.
        assert_eq!(length(&[0x4000, 0, 7]), Some("-7".len()));
        assert_eq!(length(&[0x0000, 0x7FFF, 1000]), Some(131_072));
        assert_eq!(length(&[0xC000]), Some("NaN".len()));
        assert_eq!(length(&[0xD000]), Some("Infinity".len()));
        assert_eq!(length(&[0xF000]), Some("-Infinity".len()));
        assert_eq!(length(&[]), None);
        assert_eq!(length(&[0x0000]), None);
    }

    /// As long as a numeric can be: it is not made any longer, and the first digit decides.
    #[test]
    fn reads_the_longest_at_the_cost_of_its_first_digits() {
        let dense: Vec<u16> = [0x0000, 0x7FFF].into_iter().chain(std::iter::repeat_n(9999, 36_000)).collect();
        assert_eq!(decode(&bytes(&dense), 2), Err(NotExact::TooLarge));
        assert_eq!(text_bytes(&bytes(&dense)), Some(131_072));
        let small: Vec<u16> = [0x3FFF, 0xFFFF].into_iter().chain(std::iter::repeat_n(9999, 4_095)).collect();
        assert_eq!(decode(&bytes(&small), 2), Err(NotExact::TooManyDecimals));
        assert_eq!(text_bytes(&bytes(&small)), Some(2 + 16_383));
    }

    proptest! {
        #[test]
        fn round_trips(units in any::<i64>(), scale in 0u32..=8) {
            let mut out = [0; MAX_ENCODED];
            let used = encode(units, scale, &mut out);
            prop_assert_eq!(decode(&out[..used], scale), Ok(units));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), scale in 0u32..=8) {
            let _ = decode(&bytes, scale);
            let _ = text_bytes(&bytes);
        }
    }
}
