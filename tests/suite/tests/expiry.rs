//! When a card expires: at a moment, or with the end of a day.

use mps_tests::{Clock, NULL, Shop, Till};

#[test]
fn a_card_is_good_to_the_end_of_the_day_that_it_expires_on() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let company = shop.company("1", "10.00", &ming);
    for (card, kind) in [(&ming.card, "personal"), (&company.card, "enterprise")] {
        let set = |when: &str| {
            shop.backend.value(&format!("select app.set_card_expiry('{card}', '{kind}', null, 'x', {when})"))
        };
        let expires = || {
            shop.superuser.value(&format!(
                "select expires_at at time zone 'UTC' || ' ' || status from app.{kind}_cards where id = '{card}'"
            ))
        };
        // Whatever zone the session is in.
        shop.backend.run("set timezone = 'Pacific/Kiritimati'");
        assert_eq!(set("'2090-12-31'"), "t");
        assert_eq!(expires(), "2091-01-01 00:00:00 active");
        assert_eq!(set("'2090-12-31'"), "f");
        assert_eq!(set("p_expires_on => '9999-12-31'"), "t");
        assert_eq!(set("'2020-02-29'"), "t");
        assert_eq!(expires(), "2020-03-01 00:00:00 expired");
        assert_eq!(set("(now() at time zone 'UTC')::date"), "t");
        assert!(expires().ends_with(" active"), "good today: {}", expires());
        assert_eq!(set("null"), "t");
        assert_eq!(expires(), NULL);
    }
    let event = shop.last_event(&ming.card_no);
    assert_eq!(&event["action"], "card.expiry_set");
}

#[test]
fn there_are_two_ways_to_say_when_and_one_is_given() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let set = |at: &str, on: &str| {
        format!(
            "select app.set_card_expiry(p_card_id => '{}', p_card_type => 'personal', p_expires_at => {at}, \
             p_reason => 'x', p_expires_on => {on})",
            ming.card
        )
    };
    let both = shop.backend.refused("INVALID_ARGUMENT", &set("now()", "'2090-01-01'"));
    assert!(both.detail.contains("p_expires_at") && both.detail.contains("p_expires_on"), "{both:?}");
    for day in ["'infinity'", "'-infinity'", "'1999-12-31'", "'10000-01-01'", "'5874897-12-31'", "'4713-01-01 BC'"] {
        let refusal = shop.backend.refused("INVALID_ARGUMENT", &set("null", day));
        assert!(refusal.detail.contains("p_expires_on"), "{refusal:?}");
    }
    // Without the new argument it is what it was.
    assert_eq!(
        shop.backend.value(&format!("select app.set_card_expiry('{}', 'personal', '2090-01-01', 'x')", ming.card)),
        "t"
    );
    assert_eq!(shop.backend.value(&set("null", "null")), "t");
    assert_eq!(
        shop.superuser.value(&format!("select expires_at from app.personal_cards where id = '{}'", ming.card)),
        NULL
    );
}

#[test]
fn what_ends_at_a_moment_is_over_in_it() {
    let clock = Clock::start_at("2026-11-30 12:00:00Z");
    let s = clock.cluster.superuser("postgres");
    s.run("create extension mps");
    let till = Till::open(s);
    let s = &till.session;
    let ming = till.member("10.00");
    let last = "2026-11-30 12:10:00Z";
    let ends = |column: &str, at: &str| {
        s.run(&format!("update app.personal_cards set {column} = {at} where id = '{}'", ming.card));
    };
    let code = || s.row(&format!("select * from app.rotate_card_qr('{}')", ming.card))["qr_plain"].to_owned();
    clock.stop(last);
    let paying = Shop::charge_sql(&code(), "1.00", "");
    ends("qr_expires_at", &format!("'{last}'"));
    s.refused("QR_EXPIRED_OR_INVALID", &paying);
    ends("qr_expires_at", &format!("timestamptz '{last}' + interval '1 microsecond'"));
    s.run(&paying);
    let paying = Shop::charge_sql(&code(), "1.00", "");
    ends("expires_at", &format!("'{last}'"));
    s.refused("CARD_EXPIRED", &paying);
    let set = |at: &str| s.run(&format!("select app.set_card_expiry('{}', 'personal', {at}, 'x')", ming.card));
    let status = || s.value(&format!("select status from app.personal_cards where id = '{}'", ming.card));
    set(&format!("'{last}'::timestamptz + interval '1 microsecond'"));
    assert_eq!(status(), "active");
    s.run(&paying);
    set(&format!("'{last}'"));
    assert_eq!(status(), "expired");
    set(&format!("'{last}'::timestamptz - interval '1 day'"));
    assert_eq!(status(), "expired");
}
