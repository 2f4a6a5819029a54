//! What a backend writes as the terms of a coupon, and what is refused.
#![allow(clippy::unwrap_used)]

use mps_domain::card::CardType;
use mps_domain::coupon::{OnFullRefund, Terms, kind_of, kind_value};
use mps_domain::coupon_json::{edited, noted, read};
use mps_domain::error::{Result, Token};
use mps_domain::money::{MAX_CENTS, Money};
use mps_domain::month::iso;
use mps_domain::quote::CouponKind;
use mps_domain::window::{Hours, Weekdays, Window};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => panic!("an object"),
    }
}

fn merchant(code: &str) -> Result<i32> {
    code.strip_prefix('M').and_then(|id| id.parse().ok()).ok_or_else(|| Token::MerchantNotFound.into())
}

/// What is needed, and these.
fn with(more: Value) -> Result<Terms> {
    let mut given = object(json!({"name": "Welcome", "kind": "amount_off", "value": 5}));
    given.extend(object(more));
    read(&given, merchant)
}

fn why(more: Value) -> String {
    let error = with(more.clone()).expect_err(&more.to_string());
    assert!(error.token == Token::InvalidArgument);
    error.detail.into_owned()
}

#[test]
fn what_is_not_named_has_its_default() {
    let terms = with(json!({})).unwrap();
    assert_eq!((terms.name.as_str(), terms.kind), ("Welcome", CouponKind::AmountOff(Money::from_cents(500))));
    assert!(terms.goes_with_level_discount && !terms.claimable && !terms.first_purchase_only);
    assert_eq!((terms.on_full_refund, terms.window), (OnFullRefund::Return, Window::default()));
    assert_eq!((terms.merchants, terms.levels, terms.card_types, terms.budget_amount), (None, None, None, None));
    let empty = with(json!({"merchants": [], "levels": [], "card_types": [], "weekdays": [], "min_spend": null}));
    assert_eq!(empty.unwrap(), with(json!({})).unwrap());
}

fn all() -> Value {
    json!({
        "name": "  Twenty  ", "kind": "percent_off", "value": "20.50", "min_spend": 100, "max_discount": 30.5,
        "goes_with_level_discount": false, "valid_from": "2026-12-01T00:00:00+08:00", "valid_days_after_issue": 30,
        "starts_after_days": 1, "weekdays": [5, 1, 5], "hours_from": "22:00", "hours_until": "02:00",
        "merchants": ["M8", "M7", "M8"], "levels": [3, 1], "card_types": ["enterprise", "personal"],
        "first_purchase_only": true, "issue_limit": 1000, "per_member_limit": 2, "per_member_per_day": 1,
        "claimable": true, "on_full_refund": "keep_used", "budget_amount": 500.00,
    })
}

#[test]
fn all_of_it() {
    let terms = with(all()).unwrap();
    assert_eq!((terms.name.as_str(), terms.kind), ("Twenty", CouponKind::PercentOff(2050)));
    assert_eq!((terms.min_spend, terms.max_discount), (Some(Money::from_cents(10_000)), Some(Money::from_cents(3050))));
    assert_eq!(terms.window.valid_from.map(iso).as_deref(), Some("2026-11-30T16:00:00.000000Z"));
    assert_eq!((terms.window.valid_until, terms.window.hours), (None, Hours::new(1320, 120)));
    assert_eq!(terms.window.weekdays.iter().collect::<Vec<_>>(), [1, 5]);
    assert_eq!((terms.merchants, terms.levels), (Some(vec![7, 8]), Some(vec![1, 3])));
    assert_eq!(terms.card_types, Some(vec![CardType::Personal, CardType::Enterprise]));
    assert_eq!((terms.valid_days_after_issue, terms.starts_after_days), (Some(30), Some(1)));
    assert_eq!((terms.issue_limit, terms.per_member_limit, terms.per_member_per_day), (Some(1000), Some(2), Some(1)));
    assert!(terms.claimable && terms.first_purchase_only && !terms.goes_with_level_discount);
    assert_eq!((terms.on_full_refund, terms.budget_amount), (OnFullRefund::KeepUsed, Some(Money::from_cents(50_000))));
}

/// Each key, with what it refuses.
#[test]
fn every_key_is_read_strictly() {
    let bad = [
        ("name", json!("  ")),
        ("name", json!(5)),
        ("name", json!(null)),
        ("kind", json!("half_off")),
        ("kind", json!(null)),
        ("value", json!(null)),
        ("value", json!(0)),
        ("value", json!(-1)),
        ("value", json!("1.005")),
        ("value", json!("1 000")),
        ("value", json!(true)),
        ("value", json!("1000000000000.00")),
        ("min_spend", json!(0)),
        ("min_spend", json!("a")),
        ("max_discount", json!(0)),
        ("max_discount", json!(-0.01)),
        ("budget_amount", json!(0)),
        ("budget_amount", json!([])),
        ("goes_with_level_discount", json!("true")),
        ("first_purchase_only", json!(1)),
        ("claimable", json!("yes")),
        ("valid_from", json!("2026-12-01T00:00:00")),
        ("valid_from", json!("2026-02-30T00:00:00Z")),
        ("valid_until", json!("1999-12-31T23:59:59Z")),
        ("valid_until", json!(1)),
        ("valid_days_after_issue", json!(-1)),
        ("valid_days_after_issue", json!(3661)),
        ("valid_days_after_issue", json!(1.5)),
        ("starts_after_days", json!(3661)),
        ("starts_after_days", json!("1")),
        ("weekdays", json!([0])),
        ("weekdays", json!([8])),
        ("weekdays", json!(1)),
        ("weekdays", json!([null])),
        ("hours_from", json!("24:00")),
        ("hours_until", json!(9)),
        ("merchants", json!("M7")),
        ("merchants", json!([7])),
        ("levels", json!([-1])),
        ("levels", json!([32768])),
        ("card_types", json!(["company"])),
        ("card_types", json!([1])),
        ("issue_limit", json!(0)),
        ("issue_limit", json!(1_000_000_001)),
        ("per_member_limit", json!(0)),
        ("per_member_per_day", json!(0)),
        ("on_full_refund", json!("keep")),
        ("points_price", json!(10)),
        ("funded_by", json!("platform")),
        ("code", json!("X")),
        ("", json!(null)),
    ];
    for (key, value) in bad {
        let said = why(json!({ key: value }));
        assert!(said.starts_with(&format!("p_coupon: {key} ")), "{key} {value}: {said}");
    }
    assert_eq!(with(json!({"merchants": ["X"]})).unwrap_err().token, Token::MerchantNotFound);
    let long = why(json!({ "x".repeat(65): 1 }));
    assert_eq!(long, format!("p_coupon: {}... is no key of a coupon", "x".repeat(64)));
    assert_eq!(why(json!({ "x\u{7}": 1 })), "p_coupon: x\\u{7} is no key of a coupon");
    for name in ["x".repeat(500), format!(" {} ", "x".repeat(500))] {
        assert!(with(json!({ "name": name })).is_ok());
    }
    assert!(why(json!({ "name": "x".repeat(501) })).starts_with("p_coupon: name "));
}

#[test]
fn kinds_have_bounds() {
    let of =
        |kind: &str, value: Value| with(json!({"kind": kind, "value": value})).map(|terms| kind_value(terms.kind)).ok();
    assert_eq!((of("amount_off", json!(0.01)), of("amount_off", json!("999999999999.99"))), (Some(1), Some(MAX_CENTS)));
    assert_eq!((of("percent_off", json!(0.01)), of("percent_off", json!(100))), (Some(1), Some(10_000)));
    assert_eq!((of("percent_off", json!(0)), of("percent_off", json!(100.01))), (None, None));
    assert_eq!((of("fixed_price", json!(0)), of("fixed_price", json!(-0.01))), (Some(0), None));
}

#[test]
fn conditions_do_not_contradict_each_other() {
    let early = json!("2026-12-01T00:00:00Z");
    let late = json!("2026-12-01T00:00:00.000001Z");
    assert!(with(json!({"valid_from": early, "valid_until": late})).is_ok());
    assert!(why(json!({"valid_from": early, "valid_until": early})).contains("is after valid_from"));
    assert!(why(json!({"valid_until": late, "valid_days_after_issue": 1})).contains("not given together"));
    assert!(with(json!({"starts_after_days": 2, "valid_days_after_issue": 2})).is_ok());
    assert!(why(json!({"starts_after_days": 3, "valid_days_after_issue": 2})).contains("at least starts_after_days"));
    assert!(why(json!({"hours_from": "09:00"})).contains("given together"));
    assert!(why(json!({"hours_until": "09:00"})).contains("given together"));
    assert!(why(json!({"hours_from": "09:00", "hours_until": "09:00"})).contains("another time"));
}

#[test]
fn an_edit_touches_what_it_names() {
    let before = with(all()).unwrap();
    let edit = |given: Value| edited(&before, &object(given), merchant);
    assert_eq!(edit(json!({})).unwrap(), before);
    assert_eq!(edit(json!({"value": 10})).unwrap(), Terms { kind: CouponKind::PercentOff(1000), ..before.clone() });
    let until = edit(json!({"valid_days_after_issue": null, "valid_until": "2027-01-01T00:00:00Z"})).unwrap();
    assert_eq!(
        (until.valid_days_after_issue, until.window.valid_until.map(iso)),
        (None, Some("2027-01-01T00:00:00.000000Z".into()))
    );
    assert!(edit(json!({"valid_until": "2027-01-01T00:00:00Z"})).is_err());
    let free =
        edit(json!({"merchants": null, "weekdays": null, "hours_from": null, "hours_until": null, "claimable": null}))
            .unwrap();
    assert_eq!(
        (free.merchants, free.window.weekdays, free.window.hours, free.claimable),
        (None, Weekdays::default(), None, false)
    );
    // A value that is none of the new kind.
    assert!(edit(json!({"kind": "percent_off", "value": 200})).is_err());
    assert!(edit(json!({"name": null})).is_err());
}

#[test]
fn the_log_has_what_is_a_condition() {
    let expected = json!({"name": "Welcome", "kind": "amount_off", "value": "5.00", "goes_with_level_discount": true,
        "first_purchase_only": false, "claimable": false, "on_full_refund": "return"});
    assert_eq!(noted(&with(json!({})).unwrap()), expected);
}

/// Merchants by ids in the log, by codes from a backend.
fn as_given(noted: Value) -> Map<String, Value> {
    let mut given = object(noted);
    if let Some(Value::Array(ids)) = given.get_mut("merchants") {
        ids.iter_mut().for_each(|id| *id = json!(format!("M{id}")));
    }
    given
}

proptest! {
    #[test]
    fn what_is_noted_is_read_as_it_was(
        kind in 0usize..3, value in 1i64..=10_000, amounts in proptest::collection::vec(proptest::option::of(1i64..=MAX_CENTS), 3),
        from in proptest::option::of(0i64..1_000_000_000_000_000), length in proptest::option::of(1i64..1_000_000_000_000),
        days in proptest::option::of(0i32..=3660), weekdays in proptest::collection::vec(1i64..=7, 0..9),
        hours in proptest::option::of((0i16..1440, 1i16..1440)), merchants in proptest::collection::btree_set(1i32..50, 0..5),
        levels in proptest::collection::btree_set(0i16..9, 0..4), switches in any::<[bool; 4]>(),
        limit in proptest::option::of(1i64..=1_000_000_000),
    ) {
        let until = length.filter(|_| days.is_none()).map(|length| from.unwrap_or(0) + length);
        let hours = hours.map(|(from, more)| Hours::new(from, (from + more) % 1440).unwrap());
        let money = |amount: Option<i64>| amount.map(Money::from_cents);
        let terms = Terms {
            name: "n".into(),
            kind: kind_of(["amount_off", "percent_off", "fixed_price"][kind], value).unwrap(),
            min_spend: money(amounts[0]),
            max_discount: money(amounts[1]),
            budget_amount: money(amounts[2]),
            goes_with_level_discount: switches[3],
            window: Window { valid_from: from, valid_until: until, weekdays: Weekdays::new(weekdays).unwrap(), hours },
            valid_days_after_issue: days,
            starts_after_days: days.map(|days| days / 2),
            merchants: Some(Vec::from_iter(merchants)).filter(|list| !list.is_empty()),
            levels: Some(Vec::from_iter(levels)).filter(|list| !list.is_empty()),
            card_types: switches[0].then(|| vec![CardType::Enterprise]),
            first_purchase_only: switches[1],
            issue_limit: limit,
            per_member_limit: limit.map(|limit| limit as i32),
            per_member_per_day: limit.map(|limit| limit as i32),
            claimable: switches[2],
            on_full_refund: if switches[0] { OnFullRefund::KeepUsed } else { OnFullRefund::Return },
        };
        prop_assert_eq!(&read(&as_given(noted(&terms)), merchant).unwrap(), &terms);
        prop_assert_eq!(&edited(&terms, &Map::new(), merchant).unwrap(), &terms);
    }
}
