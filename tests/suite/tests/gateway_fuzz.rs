//! Callbacks changed at random, through both doors of a database: never an error that is not of the list, never a credit for what is not
//! as it was signed, and neither rows nor memory without a bound. 1,000 of them, or as many as `MPS_FUZZ` says.

use mps_sender::{Callback, Payment, alipay, now, refund, set_up};
use mps_tests::{Session, Shop, q};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

const CASES: u32 = 1_000;
/// Of a backend's own memory, for however many callbacks.
const MOST_KB: i64 = 32_768;
/// What is signed is accepted for five minutes.
const SECONDS: i64 = 200;

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index, usize),
    Insert(Index, Vec<u8>),
    Double(Index, usize),
}

#[derive(Clone, Debug)]
enum Edit {
    Body(Change),
    /// Of a header's value.
    Header(Index, Change),
    /// Something else for a header's value, or no such header.
    Instead(Index, Option<Value>),
    More(String, Value),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, 1 << bit)),
        (at(), 1usize..40).prop_map(|(at, most)| Change::Cut(at, most)),
        (at(), proptest::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), "[\"{}:,\\[\\]&=%+\\\\0-9a-f]{1,8}").prop_map(|(at, text)| Change::Insert(at, text.into_bytes())),
        (at(), 1usize..400).prop_map(|(at, most)| Change::Double(at, most)),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let value = prop_oneof![
        Just(json!(null)),
        Just(json!([])),
        Just(json!({ "a": [1] })),
        any::<i64>().prop_map(|n| json!(n)),
        ".{0,40}".prop_map(|text| json!(text)),
        Just(json!("9".repeat(9_000))),
    ];
    prop_oneof![
        5 => change().prop_map(Edit::Body),
        3 => (any::<Index>(), change()).prop_map(|(at, change)| Edit::Header(at, change)),
        1 => (any::<Index>(), proptest::option::of(value.clone())).prop_map(|(at, value)| Edit::Instead(at, value)),
        1 => ("[a-zA-Z-]{0,20}|Wechatpay-Signature|WECHATPAY-NONCE", value).prop_map(|(name, value)| Edit::More(name, value)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let length = bytes.len();
    let range = |at: &Index, most: &usize| {
        let from = at.index(length + 1);
        from..(from + most).min(length)
    };
    match change {
        Change::Flip(at, bits) if length > 0 => bytes[at.index(length)] ^= bits,
        Change::Flip(..) => {}
        Change::Cut(at, most) => drop(bytes.drain(range(at, most))),
        Change::Insert(at, more) => drop(bytes.splice(range(at, &0), more.iter().copied())),
        Change::Double(at, most) => {
            let part = bytes[range(at, most)].to_vec();
            drop(bytes.splice(range(at, &0), part));
        }
    }
}

fn edited(callback: &Callback, edits: &[Edit]) -> Callback {
    let mut callback = callback.clone();
    for edit in edits {
        let headers = callback.headers.as_object_mut().expect("an object");
        let named =
            |headers: &Map<String, Value>, at: &Index| headers.keys().nth(at.index(headers.len().max(1))).cloned();
        match edit {
            Edit::Body(change) => apply(&mut callback.body, change),
            Edit::Header(at, change) => {
                let Some(name) = named(headers, at) else { continue };
                let mut text = headers[&name].as_str().unwrap_or_default().as_bytes().to_vec();
                apply(&mut text, change);
                headers.insert(name, String::from_utf8_lossy(&text).replace('\0', "").into());
            }
            Edit::Instead(at, value) => {
                let Some(name) = named(headers, at) else { continue };
                match value {
                    Some(value) => drop(headers.insert(name, value.clone())),
                    None => drop(headers.remove(&name)),
                }
            }
            Edit::More(name, value) => drop(headers.insert(name.clone(), value.clone())),
        }
    }
    callback
}

/// What counts of a message: all that WeChat signs, with the signature; the fields of Alipay's form, which it signs decoded.
fn meant(callback: &Callback, is_wechat: bool) -> BTreeSet<Vec<u8>> {
    if is_wechat {
        let names = ["wechatpay-timestamp", "wechatpay-nonce", "wechatpay-serial", "wechatpay-signature"];
        let value = |name: &str| callback.headers[name].as_str().unwrap_or_default().as_bytes().to_vec();
        return names
            .iter()
            .map(|name| [name.as_bytes(), &value(name)].concat())
            .chain([callback.body.clone()])
            .collect();
    }
    callback.body.split(|byte| *byte == b'&').map(decoded).collect()
}

fn decoded(part: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), part);
    while let [byte, tail @ ..] = rest {
        let hex = tail
            .get(..2)
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        let (value, after) = match (byte, hex) {
            (b'%', Some(value)) => (value, &tail[2..]),
            (b'+', _) => (b' ', tail),
            _ => (*byte, tail),
        };
        out.push(value);
        rest = after;
    }
    out
}

/// Memory of a session's process that nobody shares.
fn own_kb(session: &Session) -> i64 {
    let path = format!("/proc/{}/status", session.pid());
    let text = std::fs::read_to_string(path).expect("the server is on this machine");
    let line = text.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux has it");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number")
}

#[test]
fn whatever_comes_credits_only_what_was_signed() {
    let shop = Shop::open();
    shop.superuser.run(&set_up());
    let role = format!("{}_door", shop.db.name);
    shop.superuser.run(&format!("create role {role} login; select sec.grant_api('{role}', 'gateway')"));
    let door = shop.db.login(&role);
    let ming = shop.member("0");
    let asked = |n: i64| if n % 3 < 2 { shop.pending(&ming, "10.00") } else { "CZ2611000001".to_owned() };
    let made = |n: i64, order: &str| {
        let trade = format!("4200{n}");
        match n % 3 {
            0 => (true, Payment { order, trade: &trade, fen: 1_000, state: "SUCCESS" }.sent()),
            1 => (false, alipay(order, &trade, "10.00", "TRADE_SUCCESS", &[])),
            _ => (true, refund("TX2611000001-1", &trade, order, 1_000, "SUCCESS")),
        }
    };
    // By their numbers, with the orders that they are of.
    let sent =
        RefCell::new((0..3).map(|n| (n, asked(n))).map(|(n, order)| (n, made(n, &order), order)).collect::<Vec<_>>());
    let (taken, accepted, credited, since) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(now()));
    let anew = |which: usize| {
        let n = sent.borrow()[which].0 + 3;
        let order = asked(n);
        sent.borrow_mut()[which] = (n, made(n, &order), order);
    };
    let before = [own_kb(&shop.backend), own_kb(&door)];
    let cases = std::env::var("MPS_FUZZ").map_or(CASES, |n| n.parse().expect("MPS_FUZZ is a number"));
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() });
    let one = (0usize..3, any::<bool>(), proptest::collection::vec(edit(), 1..5));
    let end = runner.run(&one, |(which, by_door, edits)| {
        if now() - since.get() > SECONDS {
            sent.borrow_mut().iter_mut().for_each(|(n, message, order)| *message = made(*n, order));
            since.set(now());
        }
        let (is_wechat, original) = sent.borrow()[which].1.clone();
        let callback = edited(&original, &edits);
        let account = if is_wechat { "wechat" } else { "alipay" };
        // No jsonb has a NUL, so a backend cannot ask with one.
        let outcome = if by_door || callback.headers.to_string().contains("\\u0000") {
            let mut headers = callback.headers.clone();
            headers["x-mps-gateway"] = account.into();
            headers["x-mps-account"] = account.into();
            door.run(&format!("select set_config('request.headers', {}, false)", q(headers.to_string())));
            door.try_rows(&format!("select mps_gateway.notify('\\x{}')", callback.hex()))
                // Nothing, or success.
                .map(|rows| ["\\x", "\\x73756363657373"].contains(&rows[0].values()[0]))
        } else {
            shop.backend.try_rows(&callback.sql(account)).map(|rows| &rows[0]["outcome"] != "refused")
        };
        prop_assert!(outcome.is_ok(), "{:?}", outcome);
        taken.set(taken.get() + 1);
        if outcome == Ok(true) {
            prop_assert_eq!(
                meant(&callback, is_wechat),
                meant(&original, is_wechat),
                "accepted, and not as it was signed"
            );
            accepted.set(accepted.get() + 1);
            credited.set(credited.get() + i64::from(which < 2));
            anew(which);
        }
        Ok(())
    });
    end.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(shop.balance(&ming.card), format!("{}.00", credited.get() * 10));
    assert_eq!(shop.superuser.value("select count(*) from app.suspense_payments"), "0");
    // Each was written down, or counted with one of its kind.
    let written = shop.superuser.value("select count(*) from app.gateway_events").parse::<i64>().expect("a number");
    let counted =
        shop.superuser.value("select sum(callbacks) from app.gateway_tallies").parse::<i64>().expect("a number");
    assert!(
        written < accepted.get() + 200 && counted >= taken.get() - written,
        "{written} written, {counted} counted of {}",
        taken.get()
    );
    for (session, before) in [(&shop.backend, before[0]), (&door, before[1])] {
        let more = own_kb(session) - before;
        assert!(more < MOST_KB, "{more} kB more");
    }
    drop(door);
    shop.superuser.run(&format!("drop owned by {role} cascade; drop role {role}"));
}
