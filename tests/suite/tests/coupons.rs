//! Coupons off the till: terms, statuses, what members get of them, limits, keys, who sees what.

use mps_tests::{Db, NULL, Row, Session, Shop, nobody, q};

fn create_sql(code: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    let coupon = format!(r#"{{"code": "{code}", "name": "Welcome", "kind": "amount_off", "value": 5{comma}{more}}}"#);
    format!("select * from app.create_coupon({})", q(coupon))
}

fn status_sql(code: &str, status: &str) -> String {
    format!("select * from app.set_coupon_status('{code}', '{status}', 'x')")
}

/// An active coupon.
#[track_caller]
fn active(shop: &Shop, code: &str, more: &str) {
    shop.backend.run(&create_sql(code, more));
    shop.backend.run(&status_sql(code, "active"));
}

fn issue_sql(code: &str, member: impl std::fmt::Display, more: &str) -> String {
    format!("select * from app.issue_coupon('{code}', '{member}'{more})")
}

fn claim_sql(code: &str, more: &str) -> String {
    format!("select * from app.claim_coupon('{code}'{more})")
}

fn update_sql(code: &str, coupon: &str) -> String {
    format!("select * from app.update_coupon('{code}', {})", q(coupon))
}

#[track_caller]
fn books_hold(shop: &Shop) {
    assert_eq!(shop.superuser.rows("select * from app.verify_books() where ok is not true"), [] as [Row; 0]);
}

fn detail(session: &Session, token: &str, sql: &str) -> String {
    session.refused(token, sql).detail
}

#[test]
fn a_coupon_begins_as_a_draft_and_ends_for_ever() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let backend = &shop.backend;
    assert_eq!(backend.row(&create_sql("W", "")).values(), ["W", "draft", "1"]);
    // The same again is the same; another one is not.
    assert_eq!(backend.row(&create_sql("W", r#""min_spend": null"#)).values(), ["W", "draft", "1"]);
    backend.refused("STATUS_CONFLICT", &create_sql("W", r#""min_spend": 1"#));
    backend.refused("STATUS_CONFLICT", &issue_sql("W", ming.id, ""));
    backend.refused("STATUS_CONFLICT", &status_sql("W", "paused"));
    backend.refused("INVALID_ARGUMENT", &status_sql("W", "draft"));
    assert_eq!(backend.row(&status_sql("W", "active")).values(), ["W", "active", "1"]);
    let events = "select count(*) from audit.event_log where action = 'coupon.status_set'";
    assert_eq!(backend.row(&status_sql("W", "active")).values(), ["W", "active", "1"]);
    assert_eq!(shop.superuser.value(events), "1");
    backend.run(&issue_sql("W", ming.id, ""));
    backend.run(&status_sql("W", "paused"));
    assert!(detail(backend, "STATUS_CONFLICT", &issue_sql("W", ming.id, "")).contains("paused"));
    backend.run(&status_sql("W", "active"));
    backend.run(&issue_sql("W", ming.id, ""));
    assert_eq!(backend.row(&status_sql("W", "ended")).values(), ["W", "ended", "1"]);
    backend.refused("STATUS_CONFLICT", &status_sql("W", "active"));
    backend.refused("STATUS_CONFLICT", &issue_sql("W", ming.id, ""));
    backend.refused("STATUS_CONFLICT", &update_sql("W", r#"{"value": 6}"#));
    // What members have stays theirs.
    assert_eq!(shop.superuser.column("select distinct status from app.member_coupons"), ["active"]);
    for sql in [status_sql("X", "active"), issue_sql("X", ming.id, ""), update_sql("X", "{}")] {
        backend.refused("COUPON_NOT_FOUND", &sql);
    }
    books_hold(&shop);
}

#[test]
fn an_edit_is_a_new_version_and_touches_nothing_issued() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let until = r#""valid_until": "2090-01-01T00:00:00+08:00", "merchants": ["SHOP-001"]"#;
    active(&shop, "W", until);
    let first = shop.backend.row(&issue_sql("W", ming.id, ""));
    assert_eq!(&first["valid_until"], "2089-12-31 16:00:00+00");
    let edited = shop.backend.row(&update_sql("W", r#"{"value": 7.5, "valid_until": null, "weekdays": [7, 1]}"#));
    assert_eq!(edited.values(), ["W", "active", "2"]);
    // Nothing new: no new version.
    assert_eq!(shop.backend.row(&update_sql("W", r#"{"value": "7.50"}"#)).values(), ["W", "active", "2"]);
    let second = shop.backend.row(&issue_sql("W", ming.id, ""));
    assert_eq!(&second["valid_until"], NULL);
    let shown = shop.db.user(ming.id).rows(
        "select coupon_code, value, weekdays, valid_until, status from app.v_member_coupons order by coupon_code",
    );
    let [a, b] = [&first, &second].map(|row| row["coupon_code"].to_owned());
    assert_eq!(shown[0].values(), [a.as_str(), "5.00", NULL, "2089-12-31 16:00:00+00", "active"]);
    assert_eq!(shown[1].values(), [b.as_str(), "7.50", "{1,7}", NULL, "active"]);
    let terms = "select version || ' ' || value || ' ' || merchants::text from app.coupon_terms order by version";
    assert_eq!(shop.superuser.column(terms), ["1 5.00 {1}", "2 7.50 {1}"]);
    shop.backend.refused("MERCHANT_NOT_FOUND", &update_sql("W", r#"{"merchants": ["NOWHERE"]}"#));
    let said = detail(&shop.backend, "INVALID_ARGUMENT", &update_sql("W", r#"{"code": "V"}"#));
    assert_eq!(said, "p_coupon: code is no key of a coupon");
    books_hold(&shop);
}

#[test]
fn a_coupon_says_when_it_can_be_used() {
    let shop = Shop::open();
    shop.backend
        .run(r#"select app.update_settings('{"business_time_zone": "UTC", "business_day_starts_at": "00:00"}')"#);
    let ming = shop.member("0");
    active(&shop, "DAYS", r#""valid_days_after_issue": 2, "starts_after_days": 1"#);
    active(&shop, "LATER", r#""valid_from": "2090-01-01T00:00:00Z""#);
    active(&shop, "OVER", r#""valid_until": "2020-01-01T00:00:00Z", "claimable": true"#);
    let days = format!(
        "select valid_from = business_start + interval '1 day' and valid_until = business_start + interval '3 days' \
         from app.issue_coupon('DAYS', '{}'), (select app.business_day_start(app.business_day(now())) as business_start) b",
        ming.id
    );
    assert_eq!(shop.backend.value(&days), "t");
    let later = shop.backend.row(&issue_sql("LATER", ming.id, ""));
    assert_eq!([&later["valid_from"], &later["valid_until"]], ["2090-01-01 00:00:00+00", NULL]);
    let said = detail(&shop.backend, "COUPON_NOT_USABLE", &issue_sql("OVER", ming.id, ""));
    assert!(said.starts_with("expired"), "{said}");
    shop.db.user(ming.id).refused("COUPON_NOT_USABLE", &claim_sql("OVER", ""));
    // What is over is so at that moment, without any job.
    active(&shop, "SOON", r#""valid_until": "2091-01-01T00:00:00Z""#);
    let soon = shop.backend.value(&format!("select coupon_code from app.issue_coupon('SOON', '{}')", ming.id));
    let status = format!("select status from app.v_member_coupons where coupon_code = '{soon}'");
    assert_eq!(shop.backend.value(&status), "active");
    books_hold(&shop);
    shop.superuser.run("update app.member_coupons set issued_at = issued_at - interval '2 days', valid_from = valid_from - interval '2 days', \
                        valid_until = now() where coupon_id = (select id from app.coupons where code = 'SOON')");
    assert_eq!(shop.backend.value(&status), "expired");
    shop.superuser.run("update app.member_coupons set valid_until = '2091-01-01', issued_at = issued_at + interval '2 days', \
                        valid_from = valid_from + interval '2 days' where coupon_id = (select id from app.coupons where code = 'SOON')");
}

#[test]
fn limits_of_number_are_kept() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    active(&shop, "L", r#""issue_limit": 5, "per_member_limit": 3, "per_member_per_day": 2, "claimable": true"#);
    let issued = || shop.superuser.value("select issued from app.coupons where code = 'L'");
    let said = detail(&shop.backend, "COUPON_LIMIT", &issue_sql("L", ming.id, ", 3"));
    assert!(said.contains("per_member_per_day"), "{said}");
    assert_eq!(issued(), "0", "all or none");
    shop.backend.run(&issue_sql("L", ming.id, ", 2"));
    shop.db.user(ming.id).refused("COUPON_LIMIT", &claim_sql("L", ""));
    // Yesterday's do not count for today, and do for all.
    shop.superuser.run("update app.member_coupons set issued_at = issued_at - interval '2 days'");
    shop.db.user(ming.id).run(&claim_sql("L", ""));
    let said = detail(&shop.backend, "COUPON_LIMIT", &issue_sql("L", ming.id, ""));
    assert!(said.contains("per_member_limit"), "{said}");
    shop.superuser.run("update app.member_coupons set issued_at = issued_at + interval '2 days' where how = 'issued'");
    // A revoked one was issued all the same.
    shop.backend.run("select app.revoke_coupon('CP00000004', 'x')");
    shop.backend.run(&issue_sql("L", mei.id, ""));
    shop.backend.refused("COUPON_LIMIT", &issue_sql("L", mei.id, ", 2"));
    shop.backend.run(&issue_sql("L", mei.id, ""));
    let said = detail(&shop.backend, "COUPON_LIMIT", &issue_sql("L", mei.id, ""));
    assert!(said.contains("issue_limit"), "{said}");
    assert_eq!(issued(), "5");
    // The newest terms say it.
    shop.backend.run(&update_sql("L", r#"{"issue_limit": 6, "per_member_per_day": null}"#));
    shop.backend.run(&issue_sql("L", mei.id, ""));
    shop.backend.run(&update_sql("L", r#"{"issue_limit": 2}"#));
    shop.backend.refused("COUPON_LIMIT", &issue_sql("L", mei.id, ""));
    books_hold(&shop);
}

#[test]
fn a_key_answers_what_it_was_answered() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    active(&shop, "K", r#""claimable": true"#);
    active(&shop, "K2", r#""claimable": true"#);
    let first = shop.backend.rows(&issue_sql("K", ming.id, ", 3, 'k'"));
    shop.backend.run(&status_sql("K", "paused"));
    let again = shop.backend.rows(&issue_sql("K", ming.id, ", 3, 'k'"));
    assert_eq!((first.len(), again.len()), (3, 3));
    for (first, again) in first.iter().zip(&again) {
        assert_eq!(first.without(&["replayed"]), again.without(&["replayed"]));
        assert_eq!([&first["replayed"], &again["replayed"]], ["f", "t"]);
    }
    for other in [issue_sql("K", mei.id, ", 3, 'k'"), issue_sql("K", ming.id, ", 2, 'k'")] {
        shop.backend.refused("IDEMPOTENCY_KEY_REUSED", &other);
    }
    // A key of one coupon is none of another.
    assert_eq!(&shop.backend.row(&issue_sql("K2", ming.id, ", 1, 'k'"))["replayed"], "f");
    shop.backend.run(&status_sql("K", "active"));
    let session = shop.db.user(ming.id);
    let claimed = session.row(&claim_sql("K", ", 'c'"));
    assert_eq!(session.row(&claim_sql("K", ", 'c'")).without(&["replayed"]), claimed.without(&["replayed"]));
    session.refused("IDEMPOTENCY_KEY_REUSED", &claim_sql("K2", ", 'c'"));
    // The key of one member is none of another's, nor of a backend's.
    assert_eq!(&shop.db.user(mei.id).row(&claim_sql("K2", ", 'c'"))["replayed"], "f");
    assert_eq!(&shop.backend.row(&issue_sql("K", ming.id, ", 1, 'c'"))["replayed"], "f");
    // A failed attempt does not bind its key.
    shop.backend.refused("MEMBER_NOT_FOUND", &issue_sql("K", nobody(), ", 1, 'n'"));
    assert_eq!(&shop.backend.row(&issue_sql("K", ming.id, ", 1, 'n'"))["replayed"], "f");
    books_hold(&shop);
    // Keys are forgotten with their month.
    let keys = "select count(*) from app.idempotency_keys where operation in (31, 32)";
    assert_eq!(shop.superuser.value(keys), "6");
    shop.superuser
        .run("update app.idempotency_keys set ref_id = ref_id - 300000000000 * 10 where operation in (31, 32)");
    shop.superuser.run("call app.expire_keys()");
    assert_eq!(shop.superuser.value(keys), "0");
}

#[test]
fn who_may_do_and_see_what() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    active(&shop, "OPEN", r#""claimable": true, "budget_amount": 10"#);
    active(&shop, "INNER", "");
    shop.backend.run(&create_sql("DRAFT", r#""claimable": true"#));
    let member = shop.db.user(ming.id);
    member.run(&claim_sql("OPEN", ""));
    for code in ["INNER", "DRAFT", "NONE"] {
        member.refused("COUPON_NOT_FOUND", &claim_sql(code, ""));
    }
    shop.backend.run(&status_sql("OPEN", "paused"));
    member.refused("COUPON_NOT_FOUND", &claim_sql("OPEN", ""));
    shop.backend.run(&status_sql("OPEN", "active"));
    shop.backend.refused("NOT_ALLOWED", &claim_sql("OPEN", ""));
    shop.db.user(nobody()).refused("MEMBER_NOT_FOUND", &claim_sql("OPEN", ""));
    let mine = issue_sql("INNER", ming.id, "");
    shop.backend.run(&mine);
    for sql in [mine, create_sql("X", ""), update_sql("OPEN", "{}"), status_sql("OPEN", "ended")] {
        member.denied(&sql);
    }
    member.denied("select app.revoke_coupon('CP00000001', 'x')");
    // Each sees its own, and of coupons those.
    let other = shop.db.user(mei.id);
    assert_eq!(member.sorted("select code || ' ' || how from app.v_member_coupons"), ["INNER issued", "OPEN claimed"]);
    assert_eq!(other.column("select code from app.v_member_coupons"), [] as [String; 0]);
    assert_eq!(other.column("select code from app.coupons"), [] as [String; 0]);
    assert_eq!(member.sorted("select code from app.coupons"), ["INNER", "OPEN"]);
    assert_eq!(member.sorted("select name from app.coupon_terms"), ["Welcome", "Welcome"]);
    for hidden in [
        "select issued from app.coupons",
        "select left_amount from app.coupon_budget_parts",
        "select issue_limit from app.coupon_terms",
    ] {
        member.denied(hidden);
    }
    assert_eq!(shop.backend.value("select count(*) from app.v_member_coupons"), "2");
    assert_eq!(shop.backend.value("select sum(left_amount) from app.coupon_budget_parts"), "10.00");
    // Who is not active gets none.
    shop.backend.run(&format!("select app.set_member_status('{}', 'suspended', 'x')", ming.id));
    member.refused("MEMBER_NOT_ACTIVE", &claim_sql("OPEN", ""));
    shop.backend.refused("MEMBER_NOT_ACTIVE", &issue_sql("OPEN", ming.id, ""));
    shop.superuser.run("select app.set_mode('read_only', 'x')");
    other.refused("READ_ONLY", &claim_sql("OPEN", ""));
    shop.superuser.run("select app.set_mode('normal')");
    books_hold(&shop);
}

#[test]
fn one_that_is_taken_back_is_gone() {
    let shop = Shop::open();
    let ming = shop.member("0");
    active(&shop, "R", "");
    let code = shop.backend.value(&format!("select coupon_code from app.issue_coupon('R', '{}')", ming.id));
    let revoke = |code: &str| format!("select app.revoke_coupon({}, 'a mistake')", q(code));
    assert_eq!(shop.backend.value(&revoke(&format!(" {} ", code.to_lowercase()))), "t");
    assert_eq!(shop.backend.value(&revoke(&code)), "f");
    let event = shop.last_event(&code);
    assert_eq!([&event["action"]], ["coupon.revoked"]);
    for none in ["CP99999999", "CP1", "x"] {
        shop.backend.refused("COUPON_NOT_FOUND", &revoke(none));
    }
    let used = shop.backend.value(&format!("select coupon_code from app.issue_coupon('R', '{}')", ming.id));
    shop.superuser.run("begin");
    shop.superuser.run("update app.member_coupons set status = 'used', tx_no = 'ZF2611000001' where status = 'active'");
    shop.superuser.refused("STATUS_CONFLICT", &revoke(&used));
    shop.superuser.run("rollback");
    books_hold(&shop);
}

#[test]
fn a_budget_lies_in_parts_and_changes_by_the_difference() {
    let shop = Shop::open();
    let ming = shop.member("0");
    active(&shop, "B", r#""budget_amount": 100.07"#);
    let left = || {
        shop.superuser.value(
            "select sum(left_amount) || ' ' || count(*) || ' ' || min(left_amount) || ' ' || max(left_amount) from app.coupon_budget_parts",
        )
    };
    assert_eq!(left(), "100.07 16 6.25 6.26");
    // Before the first is issued it may begin and end.
    shop.backend.run(&update_sql("B", r#"{"budget_amount": null}"#));
    assert_eq!(left(), NULL);
    books_hold(&shop);
    shop.backend.run(&update_sql("B", r#"{"budget_amount": 10}"#));
    shop.backend.run(&issue_sql("B", ming.id, ""));
    shop.backend.refused("STATUS_CONFLICT", &update_sql("B", r#"{"budget_amount": null}"#));
    shop.backend.run(&update_sql("B", r#"{"budget_amount": 11}"#));
    assert_eq!(left(), "11.00 16 0.68 0.70");
    books_hold(&shop);
    // As if 7.00 of it were spent: it does not become less than that.
    shop.superuser.run("update app.coupon_budget_parts set left_amount = 0 where part < 10");
    let spent = shop.superuser.value("select 11 - sum(left_amount) from app.coupon_budget_parts");
    let less = format!(r#"{{"budget_amount": {}}}"#, spent.parse::<f64>().expect("a number") - 0.01);
    let said = detail(&shop.backend, "INVALID_ARGUMENT", &update_sql("B", &less));
    assert_eq!(said, "p_coupon: budget_amount is less than what is spent already");
    shop.backend.run(&update_sql("B", &format!(r#"{{"budget_amount": {spent}}}"#)));
    assert_eq!(left(), "0.00 16 0.00 0.00");
    let found = shop.superuser.value("select detail from app.verify_books() where check_name = 'coupon_budgets'");
    assert!(found.contains("is left of its budget"), "{found}");
    shop.superuser.run(&format!("update app.coupon_budget_parts set left_amount = {spent} where part = 3"));
    active(&shop, "N", "");
    shop.backend.run(&issue_sql("N", ming.id, ""));
    shop.backend.refused("STATUS_CONFLICT", &update_sql("N", r#"{"budget_amount": 1}"#));
    books_hold(&shop);
}

#[test]
fn everybody_gets_one_once() {
    let shop = Shop::open();
    let members: Vec<_> = (0..3).map(|_| shop.member("0")).collect();
    shop.superuser.run(
        "insert into app.member_profiles (id, created_at, member_no, status, name) \
         select gen_random_uuid(), now(), 'M' || lpad(i::text, 8, '0'), 'active', 'x' from generate_series(1001, 2200) i",
    );
    shop.backend.run(&format!("select app.set_member_status('{}', 'suspended', 'x')", members[0].id));
    active(&shop, "ALL", "");
    shop.backend.run(&issue_sql("ALL", members[1].id, ""));
    let to_all = "call app.issue_coupon_to_all('ALL')";
    let had = || {
        shop.superuser.value(
            "select count(*) || ' ' || count(distinct member_id) || ' ' || (select issued from app.coupons where code = 'ALL') \
             from app.member_coupons",
        )
    };
    shop.superuser.run(to_all);
    assert_eq!(had(), "1202 1202 1202");
    // Again: nobody gets another, and who has come meanwhile gets his.
    let late = shop.member("0");
    shop.superuser.run(to_all);
    assert_eq!(had(), "1203 1203 1203");
    assert_eq!(shop.db.user(late.id).value("select how from app.v_member_coupons"), "to_all");
    assert_eq!(
        shop.superuser.value(&format!("select count(*) from app.member_coupons where member_id = '{}'", members[0].id)),
        "0"
    );
    // By level: those whose card has it.
    shop.backend.run(&format!("select * from app.adjust_points('{}', 5000, 'x')", members[2].card));
    active(&shop, "GOLD", "");
    shop.superuser.run("call app.issue_coupon_to_all('GOLD', 1)");
    let gold =
        "select member_id from app.member_coupons m join app.coupons c on c.id = m.coupon_id where c.code = 'GOLD'";
    assert_eq!(shop.superuser.column(gold), [members[2].id.to_string()]);
    // A limit ends it, and what was given stays.
    active(&shop, "FEW", r#""issue_limit": 700"#);
    shop.superuser.failure("call app.issue_coupon_to_all('FEW')").must_be("COUPON_LIMIT", "for 700");
    assert_eq!(shop.superuser.value("select issued from app.coupons where code = 'FEW'"), "700");
    shop.backend.run(&status_sql("FEW", "paused"));
    shop.superuser.refused("STATUS_CONFLICT", "call app.issue_coupon_to_all('FEW')");
    shop.superuser.refused("INVALID_ARGUMENT", "call app.issue_coupon_to_all('FEW', -1)");
    shop.backend.denied(to_all);
    // The books of the database want each member to be in the log.
    let odd =
        shop.superuser.rows("select * from app.verify_books() where ok is not true and check_name like 'coupon%'");
    assert_eq!(odd, [] as [Row; 0]);
}

#[test]
fn coupons_outlive_the_extension() {
    let db = Db::new();
    let shop = Shop::in_database(db);
    let ming = shop.member("0");
    active(&shop, "W", r#""merchants": ["SHOP-001"], "budget_amount": 3, "claimable": true"#);
    shop.db.user(ming.id).run(&claim_sql("W", ""));
    shop.superuser.run("drop extension mps cascade");
    shop.superuser.run("create extension mps");
    shop.superuser
        .run("select sec.grant_api('service_role', 'backend'); select sec.grant_api('authenticated', 'client')");
    assert_eq!(shop.db.user(ming.id).value("select code from app.v_member_coupons"), "W");
    shop.db.user(ming.id).run(&claim_sql("W", ""));
    books_hold(&shop);
}
