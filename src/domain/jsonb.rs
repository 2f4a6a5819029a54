//! How long a stored `jsonb` is as text, without making the text: a number of nine characters (`1e131071`) is a few bytes
//! stored and 131,072 as text. Exact: what `octet_length(x::text)` is.
//!
//! Layout (src/include/utils/jsonb.h): a container is a header word with its number of elements, one word per element (of
//! an object: per key, then per value) with its kind and where it ends, and then the elements themselves. Numbers and
//! containers begin at multiples of four. All in native byte order.

use crate::numeric;

const COUNT: u32 = 0x0FFF_FFFF;
const IS_SCALAR: u32 = 0x1000_0000;
const IS_OBJECT: u32 = 0x2000_0000;

const ENTRY_EXTENT: u32 = 0x0FFF_FFFF;
const ENTRY_KIND: u32 = 0x7000_0000;
/// The extent counts from the first element, not from the end of the element before.
const ENTRY_HAS_OFFSET: u32 = 0x8000_0000;
const STRING: u32 = 0x0000_0000;
const NUMERIC: u32 = 0x1000_0000;
const FALSE: u32 = 0x2000_0000;
const TRUE: u32 = 0x3000_0000;
const NULL: u32 = 0x4000_0000;
const CONTAINER: u32 = 0x5000_0000;

const WORD: usize = 4;
/// Every so many elements (32 in the server) one says where it ends from the first element on, and keys and values are counted together.
const MAX_MEMBERS: usize = 15;
/// Nearly every context that is made here fits.
const EVENT_BYTES: usize = 200;
const IS_BIG_ENDIAN: bool = cfg!(target_endian = "big");

/// The bytes of a jsonb's text; `None` where it has more than `most`, and for what is no jsonb. `jsonb` is what follows the
/// value's length word. Takes time and memory by what is stored or by `most`, whichever is less, and no depth of nesting
/// costs stack.
pub fn text_bytes(jsonb: &[u8], most: usize) -> Option<usize> {
    let mut text = Text { bytes: 0, most };
    let mut waiting = vec![jsonb];
    while let Some(container) = waiting.pop() {
        count_container(container, &mut text, &mut waiting)?;
    }
    Some(text.bytes)
}

struct Text {
    bytes: usize,
    most: usize,
}

impl Text {
    fn add(&mut self, bytes: usize) -> Option<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        (self.bytes <= self.most).then_some(())
    }

    fn add_string(&mut self, string: &[u8]) -> Option<()> {
        self.add(2 + string.len())?;
        self.add(string.iter().map(|byte| escape_bytes(*byte)).sum())
    }
}

/// What a byte of a string takes beyond itself.
fn escape_bytes(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 1,
        0x00..=0x1F => 5,
        _ => 0,
    }
}

/// Counts a container without the containers in it, which are put to those that wait. Every element counts at least one
/// byte, so that the bound on bytes bounds the work.
fn count_container<'a>(container: &'a [u8], text: &mut Text, waiting: &mut Vec<&'a [u8]>) -> Option<()> {
    let header = word(container, 0)?;
    let count = (header & COUNT) as usize;
    let is_object = header & IS_OBJECT != 0;
    let entries = if is_object { 2 * count } else { count };
    // A scalar is stored as an array of one, and shown without brackets. Elements have `, ` between them, keys `: ` behind.
    if header & IS_SCALAR == 0 {
        text.add(2 + 2 * count.saturating_sub(1) + if is_object { 2 * count } else { 0 })?;
    }
    let elements = container.get(WORD * (1 + entries)..)?;
    let mut begin = 0;
    for index in 0..entries {
        let entry = word(container, 1 + index)?;
        let extent = (entry & ENTRY_EXTENT) as usize;
        let end = if entry & ENTRY_HAS_OFFSET != 0 { extent } else { begin + extent };
        let aligned = begin.next_multiple_of(WORD);
        match entry & ENTRY_KIND {
            STRING => text.add_string(elements.get(begin..end)?)?,
            NUMERIC => text.add(numeric::text_bytes(content(elements.get(aligned..end)?, IS_BIG_ENDIAN)?)?)?,
            FALSE => text.add("false".len())?,
            TRUE | NULL => text.add("true".len())?,
            CONTAINER => waiting.push(elements.get(aligned..end)?),
            _ => return None,
        }
        begin = end;
    }
    Some(())
}

/// An object of texts as it is stored, byte for byte as the server makes it of the same text of JSON: keys by length, then by their
/// bytes. No key twice, and fewer members than would need another offset.
pub fn object_of_texts(members: &mut [(&str, &str)]) -> Vec<u8> {
    assert!(members.len() <= MAX_MEMBERS);
    members.sort_unstable_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    assert!(members.is_sorted_by(|(a, _), (b, _)| a != b));
    let parts = || members.iter().map(|(key, _)| *key).chain(members.iter().map(|(_, text)| *text));
    let mut out = Vec::with_capacity(EVENT_BYTES);
    out.extend((members.len() as u32 + IS_OBJECT).to_ne_bytes());
    for (index, part) in parts().enumerate() {
        let offset = if index == 0 { ENTRY_HAS_OFFSET } else { 0 };
        // The kind of a string is no bit at all.
        out.extend(((part.len() as u32 & ENTRY_EXTENT) + offset).to_ne_bytes());
    }
    parts().for_each(|part| out.extend(part.as_bytes()));
    out
}

fn word(bytes: &[u8], index: usize) -> Option<u32> {
    let at = WORD.checked_mul(index)?;
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What is in a value with a length of its own, of four bytes or (where it came from a table) of one. Which of them is said
/// by the lowest bits of the first byte, on big-endian machines by the highest.
fn content(value: &[u8], is_big_endian: bool) -> Option<&[u8]> {
    let first = *value.first()?;
    let (is_short, short_length) =
        if is_big_endian { (first & 0x80 != 0, first & 0x7F) } else { (first & 1 != 0, first >> 1) };
    if is_short {
        return value.get(1..usize::from(short_length));
    }
    let length = word(value, 0)?;
    let length = if is_big_endian { length & 0x3FFF_FFFF } else { length >> 2 };
    value.get(WORD..length as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is stored, and what its text is: made side by side, by the same rules as the server's.
    #[derive(Clone, Debug)]
    enum Json {
        Null,
        Bool(bool),
        String(String),
        Number(i64),
        Array(Vec<Json>),
        Object(Vec<(String, Json)>),
    }

    fn padded(out: &mut Vec<u8>) {
        out.resize(out.len().next_multiple_of(WORD), 0);
    }

    fn long_header(content: &[u8]) -> Vec<u8> {
        let length = (content.len() + WORD) as u32;
        let word = if IS_BIG_ENDIAN { length } else { length << 2 };
        [&word.to_ne_bytes(), content].concat()
    }

    fn stored_number(units: i64) -> Vec<u8> {
        let mut digits = [0; numeric::MAX_ENCODED];
        let used = numeric::encode(units, 2, &mut digits);
        long_header(&digits[..used])
    }

    /// Every fourth entry has an offset, as every thirty-second has in the server.
    fn container(flags: u32, count: usize, elements: &[&Json]) -> Vec<u8> {
        let (mut entries, mut body) = (Vec::new(), Vec::new());
        for (index, element) in elements.iter().enumerate() {
            let begin = body.len();
            let kind = match element {
                Json::Null => NULL,
                Json::Bool(value) => [FALSE, TRUE][usize::from(*value)],
                Json::String(text) => {
                    body.extend(text.bytes());
                    STRING
                }
                Json::Number(units) => {
                    padded(&mut body);
                    body.extend(stored_number(*units));
                    NUMERIC
                }
                Json::Array(_) | Json::Object(_) => {
                    padded(&mut body);
                    body.extend(stored(element));
                    CONTAINER
                }
            };
            let extent =
                if index % 4 == 3 { ENTRY_HAS_OFFSET | body.len() as u32 } else { (body.len() - begin) as u32 };
            entries.extend((kind | extent).to_ne_bytes());
        }
        [&(flags | count as u32).to_ne_bytes()[..], &entries, &body].concat()
    }

    fn stored(json: &Json) -> Vec<u8> {
        const IS_ARRAY: u32 = 0x4000_0000;
        match json {
            Json::Array(items) => container(IS_ARRAY, items.len(), &items.iter().collect::<Vec<_>>()),
            Json::Object(members) => {
                let keys: Vec<Json> = members.iter().map(|(key, _)| Json::String(key.clone())).collect();
                let elements: Vec<&Json> = keys.iter().chain(members.iter().map(|(_, value)| value)).collect();
                container(IS_OBJECT, members.len(), &elements)
            }
            scalar => container(IS_ARRAY | IS_SCALAR, 1, &[scalar]),
        }
    }

    fn quoted(text: &str) -> String {
        let escaped = text.chars().map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            '\n' => "\\n".into(),
            '\r' => "\\r".into(),
            '\t' => "\\t".into(),
            '\u{8}' => "\\b".into(),
            '\u{c}' => "\\f".into(),
            c if c < ' ' => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        });
        format!("\"{}\"", escaped.collect::<String>())
    }

    fn text(json: &Json) -> String {
        let joined = |parts: Vec<String>| parts.join(", ");
        match json {
            Json::Null => "null".into(),
            Json::Bool(value) => value.to_string(),
            Json::String(value) => quoted(value),
            Json::Number(units) => {
                let sign = if *units < 0 { "-" } else { "" };
                format!("{sign}{}.{:02}", units.unsigned_abs() / 100, units.unsigned_abs() % 100)
            }
            Json::Array(items) => format!("[{}]", joined(items.iter().map(text).collect())),
            Json::Object(members) => {
                format!("{{{}}}", joined(members.iter().map(|(k, v)| format!("{}: {}", quoted(k), text(v))).collect()))
            }
        }
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let string = || {
            proptest::collection::vec(prop_oneof![any::<char>(), (0u8..0x40).prop_map(char::from)], 0..12)
                .prop_map(String::from_iter)
        };
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            string().prop_map(Json::String),
            any::<i64>().prop_map(Json::Number),
            (-200i64..200).prop_map(Json::Number),
        ];
        leaf.prop_recursive(6, 200, 12, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..12).prop_map(Json::Array),
                proptest::collection::vec((string(), inner), 0..12).prop_map(Json::Object),
            ]
        })
    }

    /// An array of one number as the server stores it: header, digits.
    fn array_of_number(words: &[u16]) -> Vec<u8> {
        let digits: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let number = long_header(&digits);
        [&0x4000_0001u32.to_ne_bytes()[..], &(NUMERIC | number.len() as u32).to_ne_bytes(), &number].concat()
    }

    /// Of both kinds of machines, though the words are in this one's order.
    #[test]
    fn a_length_is_read_as_each_machine_writes_it() {
        let long = |word: u32| [&word.to_ne_bytes()[..], b"abc"].concat();
        assert_eq!(content(&long(0x4000_0006), true), Some(&b"ab"[..]));
        assert_eq!(content(&long(6 << 2), false), Some(&b"ab"[..]));
        assert_eq!(content(&[0x83, b'a', b'b', b'c'], true), Some(&b"ab"[..]));
        assert_eq!(content(&[3 << 1 | 1, b'a', b'b', b'c'], false), Some(&b"ab"[..]));
        assert_eq!(content(&[], false), None);
    }

    #[test]
    fn an_object_of_texts_is_laid_out_as_the_server_does() {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
        let stored = object_of_texts(&mut [("bb", ""), ("b", "yes"), ("a", "x")]);
        // The number of members; keys, the shorter ones first, of which the first says where it ends; values in the order of keys.
        let head = words(&[IS_OBJECT | 3, ENTRY_HAS_OFFSET | 1, 1, 2, 1, 3, 0]);
        assert_eq!(stored, [&head[..], b"abbbxyes"].concat());
        assert_eq!(text_bytes(&stored, 1000), Some(r#"{"a": "x", "b": "yes", "bb": ""}"#.len()));
        assert_eq!(object_of_texts(&mut []), words(&[IS_OBJECT]));
    }

    #[test]
    fn as_many_members_as_need_no_offset() {
        let keys: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("{n:02}")).collect();
        let mut members: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "")).collect();
        assert!(std::panic::catch_unwind(|| object_of_texts(&mut members.clone())).is_err());
        members.pop();
        // Keys and values are numbered from 0, and number 32 would be the next to say where it ends from the first on.
        assert!(2 * members.len() < 32);
        assert_eq!(object_of_texts(&mut members).len(), WORD * (1 + 2 * MAX_MEMBERS) + 2 * MAX_MEMBERS);
        assert!(std::panic::catch_unwind(|| object_of_texts(&mut [("a", "1"), ("a", "2")])).is_err());
    }

    #[test]
    fn counts_what_is_not_there_yet() {
        // 1e131071: weight 32767, one digit.
        assert_eq!(text_bytes(&array_of_number(&[0x0000, 32767, 1000]), usize::MAX), Some(131_072 + 2));
        assert_eq!(text_bytes(&array_of_number(&[0x0000, 32767, 1000]), 8192), None);
        // 1e-16383: a scale of 16383.
        assert_eq!(text_bytes(&array_of_number(&[0x3FFF, (-4096i16) as u16, 10]), usize::MAX), Some(16_385 + 2));
        // The one that is exactly as long as allowed.
        assert_eq!(text_bytes(&array_of_number(&[0x8000, 7]), 3), Some(3));
        assert_eq!(text_bytes(&array_of_number(&[0x8000, 7]), 2), None);
    }

    #[test]
    fn no_depth_costs_stack_and_no_width_costs_time() {
        let depth = 1_000_000;
        // [[[ ... ]]]: each level a header and one entry, the innermost without.
        let mut deep = Vec::new();
        for level in 0..depth {
            let rest = (8 * (depth - level - 1) + 4) as u32 & ENTRY_EXTENT;
            deep.extend(0x4000_0001u32.to_ne_bytes());
            deep.extend((CONTAINER | rest).to_ne_bytes());
        }
        deep.extend(0x4000_0000u32.to_ne_bytes());
        assert_eq!(text_bytes(&deep, usize::MAX), Some(2 * (depth + 1)));
        assert_eq!(text_bytes(&deep, 8192), None);
        // Counted from its header alone: there is nothing behind it.
        assert_eq!(text_bytes(&(0x4000_0000u32 | 1_000_000).to_ne_bytes(), 8192), None);
    }

    #[test]
    fn what_is_no_jsonb_has_no_length() {
        assert_eq!(text_bytes(&[], 8192), None);
        assert_eq!(text_bytes(&[0, 0, 0], 8192), None);
        assert_eq!(text_bytes(&0x4000_0001u32.to_ne_bytes(), 8192), None);
        assert_eq!(text_bytes(&[0x4000_0001u32.to_ne_bytes(), 0x7000_0000u32.to_ne_bytes()].concat(), 8192), None);
    }

    proptest! {
        #[test]
        fn is_the_length_of_the_text(json in any_json()) {
            let (stored, text) = (stored(&json), text(&json));
            prop_assert_eq!(text_bytes(&stored, usize::MAX), Some(text.len()));
            prop_assert_eq!(text_bytes(&stored, text.len()), Some(text.len()));
            prop_assert_eq!(text_bytes(&stored, text.len() - 1), None);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), most in 0usize..400) {
            let _ = text_bytes(&bytes, most);
        }

        #[test]
        fn never_panics_near_the_truth(json in any_json(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
            let mut bytes = stored(&json);
            let at = at.index(bytes.len());
            bytes[at] = with;
            let _ = text_bytes(&bytes, 1000);
        }
    }
}
