//! What a backend writes as the terms of a campaign, and what is refused.
#![allow(clippy::unwrap_used)]

use mps_domain::campaign::{Gift, Terms};
use mps_domain::campaign_json::{edited, noted, read};
use mps_domain::card::CardType;
use mps_domain::error::{Result, Token};
use mps_domain::money::Money;
use mps_domain::window::{Hours, Weekdays, Window};
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
    let mut given = object(json!({"name": "Double", "kind": "points_multiplier", "value": 2}));
    given.extend(object(more));
    read(&given, merchant)
}

fn least() -> Terms {
    Terms {
        name: "Double".into(),
        gift: Gift::PointsMultiplier(200),
        min_spend: None,
        window: Window::default(),
        merchants: None,
        levels: None,
        card_types: None,
        priority: 0,
        exclusive: false,
    }
}

#[test]
fn what_is_not_said_is_no_condition() {
    assert_eq!(with(json!({})).unwrap(), least());
    let nothing = json!({"min_spend": null, "weekdays": [], "merchants": [], "levels": null, "priority": null, "exclusive": null});
    assert_eq!(with(nothing).unwrap(), least());
}

#[test]
fn every_key_is_read_and_noted() {
    let all = json!({
        "name": " Happy hour ", "kind": "points_bonus", "value": "50", "min_spend": 100.5, "priority": -3, "exclusive": true,
        "valid_from": "2026-12-01T00:00:00+08:00", "valid_until": "2027-01-01T00:00:00+08:00", "weekdays": [5, 1, 5],
        "hours_from": "18:00", "hours_until": "02:00", "merchants": ["M9", "M7", "M9"], "levels": [2, 1], "card_types": ["personal"],
    });
    let terms = read(&object(all), merchant).unwrap();
    let window = Window {
        valid_from: Some(849_369_600_000_000),
        valid_until: Some(852_048_000_000_000),
        weekdays: Weekdays::new([1, 5]).unwrap(),
        hours: Hours::new(1080, 120),
    };
    let expected = Terms {
        name: "Happy hour".into(),
        gift: Gift::PointsBonus(50),
        min_spend: Some(Money::from_cents(10_050)),
        window,
        merchants: Some(vec![7, 9]),
        levels: Some(vec![1, 2]),
        card_types: Some(vec![CardType::Personal]),
        priority: -3,
        exclusive: true,
    };
    assert_eq!(terms, expected);
    let kept = json!({
        "name": "Happy hour", "kind": "points_bonus", "value": "50.00", "min_spend": "100.50", "priority": -3, "exclusive": true,
        "valid_from": "2026-11-30T16:00:00.000000Z", "valid_until": "2026-12-31T16:00:00.000000Z", "weekdays": [1, 5],
        "hours_from": "18:00", "hours_until": "02:00", "merchants": [7, 9], "levels": [1, 2], "card_types": ["personal"],
    });
    assert_eq!(noted(&terms), kept);
    assert_eq!(edited(&terms, &Map::new(), merchant).unwrap(), terms);
    let changed = edited(&terms, &object(json!({"weekdays": null, "value": 60, "exclusive": null})), merchant).unwrap();
    let window = Window { weekdays: Weekdays::default(), ..terms.window };
    assert_eq!(changed, Terms { window, gift: Gift::PointsBonus(60), exclusive: false, ..terms });
    let nothing =
        json!({"name": "Double", "kind": "points_multiplier", "value": "2.00", "priority": 0, "exclusive": false});
    assert_eq!(noted(&least()), nothing);
}

#[test]
fn what_is_wrong_is_named() {
    for (more, key) in [
        (json!({"value": null}), "value"),
        (json!({"value": 1}), "value"),
        (json!({"value": 100.01}), "value"),
        (json!({"value": 1.005}), "value"),
        (json!({"value": "two"}), "value"),
        (json!({"value": "1_.5"}), "value"),
        (json!({"value": "1.50000000000000000000000000000000000000000001"}), "value"),
        (json!({"kind": "points_bonus", "value": 1.5}), "value"),
        (json!({"kind": "points_bonus", "value": 1_000_001}), "value"),
        (json!({"kind": "birthday"}), "kind"),
        (json!({"kind": null}), "kind"),
        (json!({"name": null}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"min_spend": 0}), "min_spend"),
        (json!({"priority": 1001}), "priority"),
        (json!({"priority": 0.5}), "priority"),
        (json!({"exclusive": 1}), "exclusive"),
        (json!({"levels": [-1]}), "levels"),
        (json!({"levels": [32_768]}), "levels"),
        (json!({"card_types": ["other"]}), "card_types"),
        (json!({"weekdays": [8]}), "weekdays"),
        (json!({"hours_from": "18:00"}), "hours_from"),
        (json!({"hours_from": "18:00", "hours_until": "18:00"}), "hours_until"),
        (json!({"valid_from": "2026-12-01"}), "valid_from"),
        (json!({"valid_from": "2026-12-01T00:00:00Z", "valid_until": "2026-12-01T00:00:00Z"}), "valid_until"),
        (json!({"budget_amount": 5}), "budget_amount"),
    ] {
        let error = with(more.clone()).expect_err("refused");
        assert_eq!(error.token, Token::InvalidArgument, "{more}");
        assert!(error.detail.starts_with(&format!("p_campaign: {key} ")), "{more}: {error:?}");
    }
    assert_eq!(with(json!({"merchants": ["X"]})).unwrap_err().token, Token::MerchantNotFound);
}
