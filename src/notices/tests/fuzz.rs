//! Bodies and headers changed at random: never a panic, and nothing is accepted but what was signed. 20,000 messages of each gateway,
//! or as many as `MPS_FUZZ` says.

mod common;

use common::{Form, Made, Message};
use mps_notices::keys::PublicKey;
use mps_notices::secret::MasterKey;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;

const CASES: u32 = 20_000;

fn runner() -> TestRunner {
    let cases = std::env::var("MPS_FUZZ").map_or(CASES, |n| n.parse().expect("MPS_FUZZ is a number"));
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

/// A change of bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index, Index),
    Insert(Index, Vec<u8>),
    Double(Index, Index),
    /// What another message has there.
    Splice(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, 1 << bit)),
        (at(), at()).prop_map(|(from, to)| Change::Cut(from, to)),
        (
            at(),
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 1..9),
                "[\"{}:,\\[\\]&=%+\\\\0-9a-f ]{1,8}".prop_map(String::into_bytes)
            ]
        )
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), at()).prop_map(|(from, to)| Change::Double(from, to)),
        (at(), at()).prop_map(|(from, to)| Change::Splice(from, to)),
    ]
}

/// Most of the time a few bytes.
fn range(length: usize, from: &Index, to: &Index) -> std::ops::Range<usize> {
    let from = from.index(length + 1);
    let most = if to.index(4) == 0 { length } else { 8 };
    from..(from + to.index(most + 1)).min(length)
}

fn apply(bytes: &mut Vec<u8>, change: &Change, other: &[u8]) {
    let length = bytes.len();
    match change {
        Change::Flip(at, bits) if length > 0 => bytes[at.index(length)] ^= bits,
        Change::Flip(..) => {}
        Change::Cut(from, to) => drop(bytes.drain(range(length, from, to))),
        Change::Insert(at, more) => {
            drop(bytes.splice(at.index(length + 1)..at.index(length + 1), more.iter().copied()))
        }
        Change::Double(from, to) => {
            let part = bytes[range(length, from, to)].to_vec();
            let at = from.index(length + 1);
            drop(bytes.splice(at..at, part));
        }
        Change::Splice(from, to) => {
            let theirs = other.get(range(other.len(), from, to)).unwrap_or_default().to_vec();
            drop(bytes.splice(range(length, from, to), theirs));
        }
    }
}

/// Of header values: what is no UTF-8 reaches nobody.
fn apply_to_text(text: &mut String, change: &Change, other: &str) {
    let mut bytes = std::mem::take(text).into_bytes();
    apply(&mut bytes, change, other.as_bytes());
    *text = String::from_utf8_lossy(&bytes).into_owned();
}

fn changed(message: &Message, field: usize, change: &Change, other: &Message) -> Message {
    let mut message = message.clone();
    match field {
        0 => apply_to_text(&mut message.timestamp, change, &other.timestamp),
        1 => apply_to_text(&mut message.nonce, change, &other.nonce),
        2 => apply_to_text(&mut message.signature, change, &other.signature),
        3 => apply_to_text(&mut message.serial, change, &other.serial),
        4 => message.signature.clone_from(&other.signature),
        5 => message.body.clone_from(&other.body),
        _ => apply(&mut message.body, change, &other.body),
    }
    message
}

#[test]
fn only_what_wechat_signed_is_accepted() {
    let made = Made::read();
    let mut messages = made.messages();
    messages.extend(made.refused_messages().into_iter().map(|(_, message)| message).filter(|m| m.body.len() < 4000));
    let changes = proptest::collection::vec((0usize..12, change()), 0..4);
    let ran = runner().run(&(any::<Index>(), any::<Index>(), changes), |(one, other, changes)| {
        let (original, other) = (one.get(&messages), other.get(&messages));
        let message =
            changes.iter().fold(original.clone(), |message, (field, change)| changed(&message, *field, change, other));
        // All of the other's fields make the other message.
        let is_one = |m: &&Message| m.signature == message.signature && m.sent() == message.sent();
        match (made.wechat(&message), messages.iter().find(is_one)) {
            (read, Some(whole)) => prop_assert_eq!(read, made.wechat(whole)),
            (read, None) => prop_assert!(read.is_err(), "{message:?}"),
        }
        Ok(())
    });
    ran.unwrap();
}

/// What a form says, by a decoder of this test's own: `None` where it is no form.
fn said(body: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut fields = BTreeMap::new();
    for field in body.split(|b| *b == b'&') {
        let at = field.iter().position(|b| *b == b'=')?;
        let decode = |text: &[u8]| {
            let text = str::from_utf8(text).ok()?.replace('+', "%20");
            let mut parts = text.split('%');
            let mut bytes = parts.next()?.as_bytes().to_vec();
            for part in parts {
                bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
                bytes.extend(part.get(2..)?.as_bytes());
            }
            Some(bytes)
        };
        if fields.insert(decode(&field[..at])?, decode(&field[at + 1..])?).is_some() {
            return None;
        }
    }
    Some(fields)
}

/// Whether these fields are what was signed, under its signature.
fn is_signed(fields: &BTreeMap<Vec<u8>, Vec<u8>>, form: &Form, sign: &[u8]) -> bool {
    let joined = |without: &[&[u8]]| {
        let rest = fields.iter().filter(|(name, _)| !without.contains(&name.as_slice()));
        rest.map(|(name, value)| [name.as_slice(), b"=", value].concat()).collect::<Vec<_>>().join(&b'&')
    };
    let has_sign = fields.get(b"sign".as_slice()).is_some_and(|theirs| theirs == sign);
    has_sign && (joined(&[b"sign", b"sign_type"]) == form.signed || joined(&[b"sign"]) == form.signed)
}

#[test]
fn only_what_alipay_signed_is_accepted() {
    let made = Made::read();
    let mut forms = made.forms();
    forms.extend(made.refused_forms().into_iter().map(|(_, form)| form));
    let originals: Vec<_> = forms.iter().map(|form| said(&form.body).unwrap()).collect();
    let changes = proptest::collection::vec(change(), 0..4);
    let ran = runner().run(&(any::<Index>(), any::<Index>(), changes), |(one, other, changes)| {
        let other: &Form = other.get(&forms);
        let at = one.index(forms.len());
        let mut body = forms[at].body.clone();
        changes.iter().for_each(|change| apply(&mut body, change, &other.body));
        match made.alipay(&body) {
            // The same in other escapes or another order is the same; and what was spoilt on its way may be mended.
            Ok(read) => {
                let said = said(&body).expect("what is accepted is a form");
                let whole = (0..forms.len()).find(|i| is_signed(&said, &forms[*i], &originals[*i][b"sign".as_slice()]));
                prop_assert!(whole.is_some(), "{}", String::from_utf8_lossy(&body));
                let whole = whole.unwrap();
                prop_assert!(said != originals[whole] || Ok(read) == made.alipay(&forms[whole].body));
            }
            Err(refusal) => prop_assert!(body != forms[at].body || made.alipay(&forms[at].body) == Err(refusal)),
        }
        Ok(())
    });
    ran.unwrap();
}

/// Keys come from people, who paste too little and too much.
#[test]
fn changed_keys_never_panic() {
    let made = Made::read();
    let keys: Vec<String> =
        made.all["alipay_key_forms"].as_array().unwrap().iter().map(|k| common::text(k).to_owned()).collect();
    let strategy = (any::<Index>(), any::<Index>(), proptest::collection::vec(change(), 0..3));
    let mut runner = TestRunner::new(Config { cases: 2000, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&strategy, |(one, other, changes)| {
        let mut key = one.get(&keys).clone();
        changes.iter().for_each(|change| apply_to_text(&mut key, change, &keys[other.index(keys.len())]));
        let (alipay, wechat) = (PublicKey::alipay(&key), PublicKey::wechat(&key));
        prop_assert!(wechat.is_err() || alipay.is_ok());
        let _ = MasterKey::of_file(key.as_bytes());
        Ok(())
    });
    ran.unwrap();
}
