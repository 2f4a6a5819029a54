//! JSON objects as WeChat sends them. A value stays the text that it is until somebody asks for it, so that numbers are never
//! fractions, and what nobody asks for may hold what no column of text can (`\u0000`, half a surrogate pair).

use crate::{Refusal, is_id, is_note};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// Notices have five levels and fewer. Each level is looked through once more, so this bounds the work as well.
const MAX_DEPTH: usize = 16;
/// Names and elements together.
const MAX_VALUES: usize = 8192;

/// An object in which every name is there once, as in all objects inside it.
pub struct Object<'a> {
    entries: Vec<(String, &'a RawValue)>,
}

impl<'a> Object<'a> {
    pub fn read(text: &'a str) -> Result<Object<'a>, Refusal> {
        let object = Object::pairs(text)?;
        let mut left = MAX_VALUES;
        for (_, value) in &object.entries {
            check(value.get(), 1, &mut left)?;
        }
        Ok(object)
    }

    fn pairs(text: &'a str) -> Result<Object<'a>, Refusal> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let entries = reader.deserialize_map(Pairs).map_err(|_| Refusal::JsonForm)?;
        reader.end().map_err(|_| Refusal::JsonForm)?;
        let names: BTreeSet<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
        if names.len() != entries.len() {
            return Err(Refusal::JsonDuplicate);
        }
        Ok(Object { entries })
    }

    /// What stands there as it is written; nothing where there is nothing or `null`.
    fn raw(&self, name: &str) -> Option<&'a str> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, value)| value.get()).filter(|raw| *raw != "null")
    }

    /// The object of this name.
    pub fn object(&self, name: &'static str) -> Result<Option<Object<'a>>, Refusal> {
        self.raw(name).map(|raw| Object::pairs(raw).map_err(|_| Refusal::FieldForm(name))).transpose()
    }

    /// Any text, the empty one as well.
    pub fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, Refusal> {
        let text = |raw| serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|_| Refusal::FieldForm(name));
        self.raw(name).map(text).transpose()
    }

    /// An id; an empty one is none.
    pub fn id(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        match self.text(name)? {
            Some(text) if text.is_empty() => Ok(None),
            Some(text) if is_id(text.as_bytes()) => Ok(Some(text.into_owned())),
            Some(_) => Err(Refusal::FieldForm(name)),
            None => Ok(None),
        }
    }

    pub fn needed_id(&self, name: &'static str) -> Result<String, Refusal> {
        self.id(name)?.ok_or(Refusal::FieldMissing(name))
    }

    /// What is only noted: left out where it is not there, no text, or none that a column can hold.
    pub fn note(&self, name: &'static str) -> Option<String> {
        self.text(name).ok()?.map(Cow::into_owned).filter(|text| is_note(text))
    }

    /// Fen.
    pub fn fen(&self, name: &'static str) -> Result<Option<i64>, Refusal> {
        self.raw(name).map(|raw| crate::amount::fen(raw, name)).transpose()
    }

    /// A time as microseconds since 1970.
    pub fn time(&self, name: &'static str) -> Result<Option<i64>, Refusal> {
        let text = self.text(name).map_err(|_| Refusal::TimeForm(name))?;
        text.filter(|text| !text.is_empty()).map(|text| crate::time::rfc3339(&text, name)).transpose()
    }
}

/// Goes through all that is inside. `text` is JSON: whoever calls has read what it stands in.
fn check(text: &str, depth: usize, left: &mut usize) -> Result<(), Refusal> {
    *left = left.checked_sub(1).ok_or(Refusal::JsonTooLarge)?;
    let values = match text.as_bytes().first() {
        Some(b'{') => Object::pairs(text)?.entries.into_iter().map(|(_, value)| value).collect(),
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text).map_err(|_| Refusal::JsonForm)?,
        _ => return Ok(()),
    };
    let deeper = depth.checked_add(1).filter(|d| *d <= MAX_DEPTH).ok_or(Refusal::JsonTooDeep)?;
    values.into_iter().try_for_each(|value| check(value.get(), deeper, left))
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> Option<Refusal> {
        Object::read(text).err()
    }

    #[test]
    fn only_an_object_is_one() {
        for text in [
            "",
            " ",
            "1",
            "null",
            "[]",
            "\"a\"",
            "{",
            "{}x",
            "{} {}",
            "{\"a\":}",
            "{'a':1}",
            "{\"a\":1,}",
            "\u{feff}{}",
        ] {
            assert_eq!(refused(text), Some(Refusal::JsonForm), "{text}");
        }
        assert_eq!(refused("{\"\\ud800\":1}"), Some(Refusal::JsonForm));
        assert_eq!(refused(" {} \r\n"), None);
    }

    #[test]
    fn a_name_is_there_once_however_it_is_written() {
        for text in [
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"b\":{\"a\":1,\"c\":[],\"a\":2}}",
            "{\"b\":[[{\"a\":1,\"a\":1}]]}",
        ] {
            assert_eq!(refused(text), Some(Refusal::JsonDuplicate), "{text}");
        }
        assert_eq!(refused("{\"a\":{\"a\":{\"a\":1}},\"A\":2}"), None);
    }

    #[test]
    fn depth_and_number_have_a_limit() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!((refused(&nested(15)), refused(&nested(16))), (None, Some(Refusal::JsonTooDeep)));
        assert_eq!(refused(&nested(30_000)), Some(Refusal::JsonTooDeep));
        let objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        assert_eq!(refused(&objects), Some(Refusal::JsonTooDeep));
        let long = |n: usize| format!("{{\"a\":[{}]}}", vec!["1"; n].join(","));
        assert_eq!((refused(&long(8191)), refused(&long(8192))), (None, Some(Refusal::JsonTooLarge)));
    }

    #[test]
    fn what_nobody_asks_for_may_hold_anything() {
        let object =
            Object::read(r#"{"attach":"a\u0000\ud83d","n":1e999,"id":"x","total":5,"bank":"\u0000"}"#).unwrap();
        assert_eq!(object.id("id"), Ok(Some("x".to_owned())));
        assert_eq!(object.fen("total"), Ok(Some(5)));
        assert_eq!((object.note("attach"), object.note("bank"), object.note("n")), (None, None, None));
        assert_eq!(object.id("attach"), Err(Refusal::FieldForm("attach")));
        assert_eq!(object.id("bank"), Err(Refusal::FieldForm("bank")));
        assert_eq!(object.fen("n"), Err(Refusal::AmountForm("n")));
    }

    #[test]
    fn null_and_empty_are_missing() {
        let object = Object::read(r#"{"a":null,"b":"","c":{"d":null}}"#).unwrap();
        assert_eq!((object.id("a"), object.id("b"), object.id("x")), (Ok(None), Ok(None), Ok(None)));
        assert_eq!(object.needed_id("b"), Err(Refusal::FieldMissing("b")));
        assert_eq!((object.fen("a"), object.time("b")), (Ok(None), Ok(None)));
        assert_eq!(object.text("b").unwrap().as_deref(), Some(""));
        assert_eq!(object.object("c").unwrap().unwrap().fen("d"), Ok(None));
        assert_eq!(object.object("b").err(), Some(Refusal::FieldForm("b")));
        assert_eq!(object.id("c"), Err(Refusal::FieldForm("c")));
    }

    #[test]
    fn ids_are_short_and_plain() {
        for bad in ["a b", "a\\n", "单", &"x".repeat(129), "a\\u0000"] {
            let text = format!("{{\"a\":\"{bad}\"}}");
            assert_eq!(Object::read(&text).unwrap().id("a"), Err(Refusal::FieldForm("a")), "{bad}");
        }
        let longest = format!("{{\"a\":\"{}\"}}", "x".repeat(128));
        assert_eq!(Object::read(&longest).unwrap().id("a").unwrap().unwrap().len(), 128);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[{}\\[\\]\",:a0\\\\u1e.-]{0,60}") {
            if let Ok(object) = Object::read(&text) {
                for (name, _) in &object.entries {
                    let _ = (object.note(Box::leak(name.clone().into_boxed_str())), object.raw(name));
                }
                // What it takes for JSON, serde_json does.
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok());
            }
        }
    }
}
