//! Campaigns: what they give, when they apply, how they add up, what a payment keeps of them, what refunds take back.

use mps_tests::{Member, NULL, Shop, Waiting, q};

/// An active campaign.
#[track_caller]
fn campaign(shop: &Shop, code: &str, kind: &str, value: &str, more: &str) {
    let comma = if more.is_empty() { "" } else { ", " };
    let json = format!(r#"{{"code": "{code}", "name": "{code}", "kind": "{kind}", "value": {value}{comma}{more}}}"#);
    shop.backend.run(&format!("select * from app.create_campaign({})", q(json)));
    set(shop, code, "active");
}

#[track_caller]
fn set(shop: &Shop, code: &str, status: &str) {
    shop.backend.run(&format!("select * from app.set_campaign_status('{code}', '{status}', 'x')"));
}

#[track_caller]
fn charged(shop: &Shop, member: &Member, amount: &str, more: &str) -> [String; 4] {
    let row = shop.cashier.row(&Shop::charge_sql(&shop.code(member), amount, more));
    ["tx_no", "final_amount", "points_earned", "points_bonus"].map(|column| row[column].to_owned())
}

/// points_earned, points_bonus.
#[track_caller]
fn points(shop: &Shop, member: &Member, amount: &str, more: &str) -> [String; 2] {
    let [_, _, earned, bonus] = charged(shop, member, amount, more);
    [earned, bonus]
}

/// points_base, points_bonus, campaigns by their codes.
fn kept(shop: &Shop, tx_no: &str) -> [String; 3] {
    let row = shop.superuser.row(&format!(
        "select points_base, points_bonus, (select string_agg(code || ' ' || terms_version || ' ' || points, ', ' order by campaign_id) \
            from app.campaign_uses u where u.tx_no = t.tx_no) as uses \
         from app.transactions t where tx_no = '{tx_no}'"
    ));
    ["points_base", "points_bonus", "uses"].map(|column| row[column].to_owned())
}

fn books_hold(shop: &Shop) {
    let wrong =
        shop.superuser.column("select check_name || ': ' || detail from app.verify_books() where ok is not true");
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_payment_without_campaigns_keeps_nothing_of_them() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    // A draft gives nothing.
    shop.backend.run(
        r#"select * from app.create_campaign('{"code": "D", "name": "D", "kind": "points_multiplier", "value": 2}')"#,
    );
    let [tx_no, _, earned, bonus] = charged(&shop, &ming, "10.50", "");
    assert_eq!([earned, bonus], ["10", "0"]);
    assert_eq!(kept(&shop, &tx_no), [NULL; 3]);
    let stored =
        "select num_nonnulls(points_base, points_bonus, campaigns) from app.transactions where tx_type = 'payment'";
    assert_eq!(shop.superuser.value(stored), "0");
}

#[test]
fn multipliers_and_bonuses_add_up() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    campaign(&shop, "A", "points_multiplier", "2", "");
    assert_eq!(points(&shop, &ming, "10.50", ""), ["21", "11"]);
    campaign(&shop, "B", "points_bonus", "50", r#""min_spend": 20"#);
    campaign(&shop, "C", "points_multiplier", "1.5", "");
    // 10.50 x 2.5 is 26.25; 20.00 x 2.5 and 50.
    assert_eq!(points(&shop, &ming, "10.50", ""), ["26", "16"]);
    let [tx_no, _, earned, bonus] = charged(&shop, &ming, "20.00", "");
    assert_eq!([earned, bonus], ["100", "80"]);
    assert_eq!(kept(&shop, &tx_no), ["20", "80", "A 1 20, B 1 50, C 1 10"]);
    // What takes no part earns nothing, and what earns nothing gets no bonus.
    let [tx_no, _, earned, bonus] = charged(&shop, &ming, "20.00", "p_excluded_amount => 20");
    assert_eq!(([earned, bonus], kept(&shop, &tx_no)), (["0".into(), "0".into()], [NULL; 3].map(String::from)));
    assert_eq!(points(&shop, &ming, "30.00", "p_excluded_amount => 10.01"), ["49", "30"]);
    // An exclusive one is alone; the greatest priority of several.
    campaign(&shop, "X", "points_bonus", "7", r#""exclusive": true, "priority": 1, "min_spend": 100"#);
    campaign(&shop, "Y", "points_multiplier", "3", r#""exclusive": true, "priority": 2, "min_spend": 200"#);
    assert_eq!(points(&shop, &ming, "100.00", ""), ["107", "7"]);
    assert_eq!(points(&shop, &ming, "200.00", ""), ["600", "400"]);
    assert_eq!(points(&shop, &ming, "99.99", ""), ["299", "200"]);
    books_hold(&shop);
}

#[test]
fn each_condition_is_asked() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    shop.backend.run(&format!("select * from app.adjust_points('{}', 5000, 'silver')", ming.card));
    shop.backend.run("select * from app.create_merchant('SHOP-002', 'Second')");
    for (more, applies) in [
        (r#""levels": [1]"#, true),
        (r#""levels": [0, 2]"#, false),
        (r#""card_types": ["personal"]"#, true),
        (r#""card_types": ["enterprise"]"#, false),
        (r#""merchants": ["SHOP-002"]"#, false),
        (r#""merchants": ["SHOP-001", "SHOP-002"]"#, true),
        (r#""min_spend": 10.01"#, false),
        (r#""min_spend": 10"#, true),
        (r#""valid_until": "2020-01-01T00:00:00Z""#, false),
        (r#""valid_from": "2090-01-01T00:00:00Z""#, false),
        (r#""valid_from": "2020-01-01T00:00:00Z", "valid_until": "2090-01-01T00:00:00Z""#, true),
        (r#""hours_from": "00:00", "hours_until": "23:59", "weekdays": [1, 2, 3, 4, 5, 6, 7]"#, true),
    ] {
        campaign(&shop, "C", "points_bonus", "50", more);
        let bonus = points(&shop, &ming, "10.00", "")[1].clone();
        assert_eq!(bonus, if applies { "50" } else { "0" }, "{more}");
        set(&shop, "C", "ended");
        shop.superuser.run("update app.campaigns set code = code || id where code = 'C'");
    }
    // The weekday and the hour of now, and the day and the hour before.
    let now = |minutes: i32| format!("now() at time zone 'UTC' + interval '{minutes} minutes'");
    let hour = |at: String| shop.superuser.value(&format!("select to_char({at}, 'HH24:MI')"));
    for (from, until, applies) in [(-2, 5, true), (-8, -3, false), (4, 9, false)] {
        let more = format!(r#""hours_from": "{}", "hours_until": "{}""#, hour(now(from)), hour(now(until)));
        campaign(&shop, &format!("H{from}"), "points_bonus", "50", &more);
        assert_eq!(points(&shop, &ming, "10.00", "")[1], if applies { "50" } else { "0" }, "{more}");
        set(&shop, &format!("H{from}"), "paused");
    }
    // Company cards earn no points.
    campaign(&shop, "ALL", "points_bonus", "50", "");
    let code = shop.company_code(&shop.company("1.000", "100.00", &ming), &ming);
    let row = shop.cashier.row(&Shop::charge_sql(&code, "10.00", ""));
    assert_eq!((&row["points_earned"], &row["points_bonus"]), ("0", "0"));
    books_hold(&shop);
}

#[test]
fn an_edit_and_a_pause_are_for_the_next_payment() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    campaign(&shop, "C", "points_multiplier", "2", "");
    let [first, ..] = charged(&shop, &ming, "10.00", "p_idempotency_key => 'k'");
    let edit = |json: &str| {
        shop.backend.row(&format!("select * from app.update_campaign('C', {})", q(json)))["terms_version"].to_owned()
    };
    assert_eq!((edit(r#"{"value": 3}"#), edit(r#"{"value": 3, "name": "C"}"#)), ("2".into(), "2".into()));
    let [second, ..] = charged(&shop, &ming, "10.00", "");
    assert_eq!(kept(&shop, &first), ["10", "10", "C 1 10"]);
    assert_eq!(kept(&shop, &second), ["10", "20", "C 2 20"]);
    // Another session knows it at once, whatever it has kept.
    let other = shop.db.user(shop.cashier_id);
    let of_other = || other.row(&Shop::charge_sql(&shop.code(&ming), "10.00", ""))["points_bonus"].to_owned();
    assert_eq!(of_other(), "20");
    set(&shop, "C", "paused");
    assert_eq!((of_other(), points(&shop, &ming, "10.00", "")[1].clone()), ("0".into(), "0".into()));
    set(&shop, "C", "active");
    assert_eq!(of_other(), "20");
    // A change that is rolled back was none.
    let undecided = shop.db.backend();
    undecided.run("begin; select * from app.set_campaign_status('C', 'paused', 'x')");
    assert_eq!(of_other(), "20");
    undecided.run("rollback");
    assert_eq!(of_other(), "20");
    set(&shop, "C", "ended");
    assert_eq!(of_other(), "0");
    shop.backend.refused("STATUS_CONFLICT", "select * from app.set_campaign_status('C', 'active', 'x')");
    shop.backend.refused("STATUS_CONFLICT", r#"select * from app.update_campaign('C', '{"value": 4}')"#);
    // A repetition answers what was given then.
    let again = shop.cashier.row(&Shop::charge_sql(&shop.code(&ming), "10.00", "p_idempotency_key => 'k'"));
    assert_eq!((&again["tx_no"], &again["replayed"], &again["points_bonus"]), (first.as_str(), "t", "10"));
    books_hold(&shop);
}

#[test]
fn an_older_view_goes_by_the_campaigns_of_now() {
    for level in ["repeatable read", "serializable"] {
        let shop = Shop::open();
        let ming = shop.member("100.00");
        campaign(&shop, "C", "points_multiplier", "2", "");
        let code = shop.code(&ming);
        let till = shop.db.user(shop.cashier_id);
        till.run(&format!("begin isolation level {level}; select 1"));
        set(&shop, "C", "paused");
        let row = till.row(&Shop::charge_sql(&code, "10.00", ""));
        assert_eq!(&row["points_bonus"], "0", "{level}");
        till.run("commit");
    }
}

#[test]
fn refunds_take_points_of_campaigns_back_in_proportion() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    campaign(&shop, "C", "points_multiplier", "2", "");
    campaign(&shop, "F", "points_bonus", "7", "");
    let [tx_no, _, earned, _] = charged(&shop, &ming, "9.99", "");
    assert_eq!(earned, "26");
    let reversed = |amount: &str| shop.cashier.row(&Shop::refund_sql(&tx_no, amount, ""))["points_reversed"].to_owned();
    assert_eq!([reversed("3.33"), reversed("3.33"), reversed("3.33")], ["8", "9", "9"]);
    let points = shop.superuser.value(&format!("select points from app.personal_cards where id = '{}'", ming.card));
    assert_eq!(points, "0");
    books_hold(&shop);
}

#[test]
fn a_quote_says_the_points_that_the_charge_then_gives() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    campaign(&shop, "C", "points_multiplier", "2.5", "");
    let code = shop.code(&ming);
    let sql = format!("select points_earned from app.quote_charge('SHOP-001', '{code}', 10.01)");
    assert_eq!(shop.cashier.value(&sql), "25");
    assert_eq!(shop.cashier.row(&Shop::charge_sql(&code, "10.01", ""))["points_earned"].to_owned(), "25");
}

#[test]
fn what_is_asked_for_again_is_the_same_and_what_is_not_is_another() {
    let shop = Shop::open();
    let create = |value: i32| {
        format!(
            r#"select * from app.create_campaign('{{"code": "C", "name": "C", "kind": "points_multiplier", "value": {value}}}')"#
        )
    };
    for _ in 0..2 {
        let row = shop.backend.row(&create(2));
        assert_eq!((&row["code"], &row["status"], &row["terms_version"]), ("C", "draft", "1"));
    }
    shop.backend.refused("STATUS_CONFLICT", &create(3));
    for sql in [
        "select * from app.update_campaign('NOWHERE', '{}')",
        "select * from app.set_campaign_status('NOWHERE', 'active', 'x')",
        "select * from app.campaign_report('NOWHERE')",
    ] {
        shop.backend.refused("CAMPAIGN_NOT_FOUND", sql);
    }
    shop.backend.refused("INVALID_ARGUMENT", "select * from app.set_campaign_status('C', 'draft', 'x')");
    let bad = r#"select * from app.create_campaign('{"code": "B", "name": "B", "kind": "points_bonus", "value": 1, "hour": 1}')"#;
    let failure = shop.backend.refused("INVALID_ARGUMENT", bad);
    assert_eq!(failure.detail, "p_campaign: hour is no key of a campaign");
}

#[test]
fn the_report_counts_what_stands() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("100.00"), shop.member("100.00"));
    campaign(&shop, "C", "points_multiplier", "2", "");
    campaign(&shop, "F", "points_bonus", "7", r#""min_spend": 20"#);
    let [first, ..] = charged(&shop, &ming, "10.00", "");
    let [second, ..] = charged(&shop, &ming, "20.00", "");
    charged(&shop, &mei, "30.00", "");
    shop.refund(&first, "10.00");
    shop.refund(&second, "5.00");
    let report = |code: &str| {
        let row = shop.backend.row(&format!("select * from app.campaign_report('{code}')"));
        ["times", "members", "points_given", "payments", "sales"].map(|column| row[column].to_owned())
    };
    assert_eq!(report("C"), ["3", "2", "50", "2", "45.00"]);
    assert_eq!(report("F"), ["2", "2", "14", "2", "45.00"]);
    campaign(&shop, "N", "points_bonus", "7", "");
    assert_eq!(report("N"), ["0", "0", "0", "0", "0.00"]);
}

/// Every payment reads the terms of all that are on: a row that nobody can read would stop the till.
#[test]
fn terms_that_cannot_be_read_cannot_be_written() {
    let shop = Shop::open();
    campaign(&shop, "M", "points_multiplier", "2", "");
    campaign(&shop, "B", "points_bonus", "5", "");
    let terms = |code: &str, set: &str| {
        format!(
            "update app.campaign_terms t set {set} from app.campaigns c where c.id = t.campaign_id and c.code = '{code}'"
        )
    };
    for (code, set) in [
        ("B", "value = 5.5"),
        ("B", "value = 1000001"),
        ("M", "value = 1"),
        ("M", "value = 100.01"),
        ("M", "value = 'NaN'"),
        ("M", "min_spend = 'NaN'"),
        ("M", "hours_from = 5, hours_until = 5"),
        ("M", "weekdays = '{9}'"),
        ("M", "weekdays = '{}'"),
        ("M", "merchants = '{}'"),
        ("M", "merchants = '{NULL}'"),
        ("M", "levels = '{1,NULL}'"),
        ("M", "card_types = '{metal}'"),
        ("M", "card_types = '{NULL}'"),
    ] {
        let failure = shop.superuser.failure(&terms(code, set));
        assert_eq!(failure.code, "23514", "{code} {set}: {failure:?}");
    }
    shop.superuser.run(&terms(
        "M",
        "levels = '{0}', card_types = '{personal}', weekdays = '{1,7}', hours_from = 5, hours_until = 3",
    ));
}

/// One that waits gets what is on when it goes on, and is in the report, though it began before the campaign was there.
#[test]
fn who_waits_goes_by_the_campaigns_of_then() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let waits = [("from app.personal_cards", "read committed"), ("from app.merchants", "repeatable read")];
    for (n, (lock, level)) in waits.into_iter().enumerate() {
        let sql = Shop::charge_sql(&shop.code(&ming), "10.00", "");
        let holder = shop.db.superuser();
        holder.run(&format!("begin; select 1 {lock} for update"));
        let till = shop.db.user(shop.cashier_id);
        till.run(&format!("set default_transaction_isolation = '{level}'"));
        let waiting = Waiting::behind(till, &holder, &shop.superuser, sql);
        let code = format!("C{n}");
        campaign(&shop, &code, "points_bonus", "5", "");
        holder.run("commit");
        let paid = waiting.end().expect("it pays").remove(0);
        assert_eq!(&paid["points_bonus"], "5", "{lock}");
        assert_eq!(shop.backend.value(&format!("select times from app.campaign_report('{code}')")), "1");
        set(&shop, &code, "ended");
    }
}

#[test]
fn the_books_find_what_is_broken_by_hand() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    campaign(&shop, "C", "points_multiplier", "2", r#""min_spend": 10"#);
    campaign(&shop, "F", "points_bonus", "7", "");
    let [paid, ..] = charged(&shop, &ming, "20.50", "");
    let refund = shop.refund(&charged(&shop, &ming, "5.00", "")[0], "5.00")["refund_tx_no"].to_owned();
    books_hold(&shop);
    let s = &shop.superuser;
    let ids = s.row("select min(id) as c, max(id) as f from app.campaigns");
    let (c, f) = (&ids["c"], &ids["f"]);
    for (change, of, says) in [
        ("points_base = 19".to_owned(), &paid, "of which 19 without campaigns"),
        ("points_bonus = 29".to_owned(), &paid, "of which 20 without campaigns and 29"),
        ("campaigns = null".to_owned(), &paid, "and no campaigns"),
        (format!(r#"campaigns = '{{"{c}.1": 28}}'"#), &paid, "times 20 and 0"),
        (format!(r#"campaigns = '{{"{c}.1": 20, "{f}.1": 6}}'"#), &paid, "which say 26"),
        (format!(r#"campaigns = '{{"{c}.1": 22, "{f}.1": 6}}'"#), &paid, "the campaign F could not apply"),
        (format!(r#"campaigns = '{{"{c}.2": 21, "{f}.1": 7}}'"#), &paid, &*format!("the campaign {c}.2 is not there")),
        ("campaigns = '[]'".to_owned(), &paid, "and no campaigns"),
        ("raw_amount = 9.99".to_owned(), &paid, "the campaign C could not apply"),
        (
            format!(r#"points_base = 0, points_bonus = -12, campaigns = '{{"{f}.1": -12}}'"#),
            &refund,
            "no campaigns, or no card",
        ),
    ] {
        s.run(&format!("begin; update app.transactions set {change} where tx_no = '{of}'"));
        let found = s.column("select detail from app.verify_books() where check_name = 'campaign_points' and not ok");
        assert!(found.iter().any(|found| found.contains(says)), "{change}: {found:?}");
        s.run("rollback");
    }
    s.run(
        "begin; delete from app.campaign_terms where version = 1 and campaign_id = (select max(id) from app.campaigns)",
    );
    let found = s.column("select detail from app.verify_books() where not ok and check_name like 'campaign%'");
    assert!(
        found.iter().any(|f| f.contains("has 0 terms up to")) && found.iter().any(|f| f.contains("is not there")),
        "{found:?}"
    );
    s.run("rollback");
    s.run(&format!("begin; update app.campaigns set status = 'draft' where id = {c}"));
    let found = s.column("select detail from app.verify_books() where not ok");
    assert!(found.iter().any(|found| found.contains("the campaign C could not apply")), "{found:?}");
    s.run("rollback");
}
