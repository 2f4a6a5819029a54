//! Settings, the list of errors, and the maintenance procedures.

use mps_tests::{Db, NULL, Shop, TOKENS};

const DEFAULTS: &str = "{\"max_amount\": 50000.00, \"max_balance\": 1000000.00, \"qr_single_use\": true, \"qr_ttl_seconds\": 900, \
\"points_per_unit\": 1.0000, \"signup_anonymous\": false, \"business_time_zone\": \"UTC\", \"key_retention_days\": 90, \
\"recharge_ttl_minutes\": 1440, \"max_pending_recharges\": 20, \"recharge_confirmation\": \"gateway\", \
    \"business_day_starts_at\": \"00:00:00\"}";

#[test]
fn the_defaults_are_those_of_the_contract() {
    let shop = Shop::open();
    assert_eq!(shop.backend.value("select app.get_settings()"), DEFAULTS);
    let levels = shop
        .superuser
        .column("select level || ' ' || min_points || ' ' || discount from app.membership_levels order by level");
    assert_eq!(levels, ["0 0 1.000", "1 5000 0.950", "2 10000 0.900", "3 15000 0.850", "4 20000 0.800"]);
}

#[test]
fn settings_change_together_or_not_at_all() {
    let shop = Shop::open();
    let changed = shop.backend.value(
        r#"select app.update_settings('{"qr_ttl_seconds": 60, "points_per_unit": "0.5", "qr_single_use": false}')"#,
    );
    for part in [
        r#""qr_ttl_seconds": 60"#,
        r#""points_per_unit": 0.5000"#,
        r#""qr_single_use": false"#,
        r#""max_amount": 50000.00"#,
    ] {
        assert!(changed.contains(part), "{part} in {changed}");
    }
    assert_eq!(shop.backend.value("select app.get_settings()"), changed);
    let event = shop.last_event("settings");
    assert_eq!(event.without(&["context"]).values(), [NULL, "service_role", "settings.updated", "settings"]);
    assert!(
        event["context"].contains(r#""qr_ttl_seconds": 900"#) && event["context"].contains(r#""qr_ttl_seconds": 60"#)
    );
    for bad in [
        r#"{"qr_ttl_seconds": 120, "qr_single_use": "yes"}"#,
        r#"{"qr_ttl_seconds": 120, "no_such_setting": 1}"#,
        r#"{"qr_ttl_seconds": 9}"#,
        r#"{"qr_ttl_seconds": 86401}"#,
        r#"{"qr_ttl_seconds": 60.5}"#,
        r#"{"qr_ttl_seconds": null}"#,
        r#"{"qr_ttl_seconds": "60"}"#,
        r#"{"points_per_unit": -1}"#,
        r#"{"points_per_unit": 1000.0001}"#,
        r#"{"points_per_unit": 0.00001}"#,
        r#"{"points_per_unit": "NaN"}"#,
        r#"{"max_amount": 0}"#,
        r#"{"max_amount": 0.001}"#,
        r#"{"max_amount": 1e30}"#,
        r#"{"max_balance": -1}"#,
        r#"{"max_balance": true}"#,
        r#"{"recharge_confirmation": "none"}"#,
        r#"{"recharge_confirmation": 1}"#,
        r#"{"recharge_ttl_minutes": 4}"#,
        r#"{"signup_anonymous": "true"}"#,
        r#"{"key_retention_days": 89}"#,
        r#"{"schema_version": 2}"#,
        r#"{"singleton": false}"#,
        "[]",
        "1",
        "null",
        r#""text""#,
    ] {
        shop.backend.refused("INVALID_ARGUMENT", &format!("select app.update_settings('{bad}')"));
    }
    shop.backend.refused("INVALID_ARGUMENT", "select app.update_settings(null)");
    assert_eq!(shop.backend.value("select app.get_settings()"), changed);
    shop.cashier.denied("select app.get_settings()");
    shop.cashier.denied("select app.update_settings('{}')");
}

#[test]
fn a_changed_setting_counts_at_once_in_every_session() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    shop.charge(&ming, "10.00");
    let code = shop.code(&ming);
    shop.superuser.run("update app.settings set max_amount = 5");
    shop.cashier.refused("INVALID_AMOUNT", &Shop::charge_sql(&code, "5.01", ""));
    // A change that is rolled back is forgotten.
    shop.backend.run(r#"begin; select app.update_settings('{"max_amount": 50}')"#);
    shop.backend.run("rollback");
    shop.backend.refused("INVALID_AMOUNT", &Shop::charge_sql(&code, "5.01", ""));
    shop.backend.run(r#"select app.update_settings('{"max_amount": 6}')"#);
    shop.cashier.run(&Shop::charge_sql(&code, "6.00", ""));
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let shop = Shop::open();
    let member = shop.member("100.00");
    let session = shop.db.superuser();
    session.run(&Shop::charge_sql(&shop.code(&member), "1.00", ""));
    let reads = |code: &str| {
        let so_far = || -> i64 {
            let sql = "select sum(seq_scan + idx_scan) from pg_stat_xact_user_tables where relid in \
                       ('app.settings'::regclass, 'app.membership_levels'::regclass, 'app.closed_months'::regclass)";
            session.value(sql).parse().expect("a number")
        };
        session.run("begin");
        let before = so_far();
        session.run(&Shop::charge_sql(code, "1.00", ""));
        let read = so_far() - before;
        session.run("commit");
        read
    };
    // The server may look after a table meanwhile, which is a change to whoever has read another.
    assert!((0..5).any(|_| reads(&shop.code(&member)) == 0));
    shop.backend.run(r#"select app.update_settings('{"max_amount": 49999.00}')"#);
    assert_ne!(reads(&shop.code(&member)), 0, "reading is seen");
}

#[test]
fn the_list_of_errors_is_the_contracts() {
    let shop = Shop::open();
    let listed = shop.cashier.rows("select token, sqlstate, http_status, message_en, message_zh from app.error_codes");
    let mut found: Vec<(&str, String)> = listed.iter().map(|r| (&r["token"], r["http_status"].to_owned())).collect();
    let mut expected: Vec<(&str, String)> = TOKENS.iter().map(|(t, s)| (*t, s.to_string())).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    for row in &listed {
        assert_eq!(row["sqlstate"], format!("PT{}", &row["http_status"]));
        assert!(row["message_en"].is_ascii() && row["message_en"].len() > 10, "{row:?}");
        assert!(row["message_zh"].chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)), "{row:?}");
    }
}

#[test]
fn months_are_made_ahead_and_again_without_harm() {
    let shop = Shop::open();
    let partitions = "select count(*) from pg_inherits where inhparent = 'app.transactions'::regclass";
    assert_eq!(shop.superuser.value(partitions), "4");
    shop.superuser.run("call app.maintain_partitions()");
    assert_eq!(shop.superuser.value(partitions), "4");
    shop.superuser.run("call app.maintain_partitions(p_months_ahead => 5)");
    assert_eq!(shop.superuser.value(partitions), "6");
    for parent in ["app.point_ledger", "audit.event_log"] {
        assert_eq!(
            shop.superuser.value(&format!("select count(*) from pg_inherits where inhparent = '{parent}'::regclass")),
            "6"
        );
    }
    for bad in ["-1", "121", "null"] {
        shop.superuser.refused("INVALID_ARGUMENT", &format!("call app.maintain_partitions({bad})"));
    }
    let bare = shop.superuser.column(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname in ('app', 'audit', 'sec') and c.relkind in ('r', 'p') and not c.relrowsecurity",
    );
    assert_eq!(bare, [] as [String; 0], "row-level security is off");
    let job = shop
        .superuser
        .row("select finished_at >= started_at as ended from app.job_runs where job = 'maintain_partitions'");
    assert_eq!(job.values(), ["t"]);
}

#[test]
fn operators_run_the_procedures_and_nothing_else() {
    let shop = Shop::open();
    let db = &shop.db;
    shop.superuser.run("select sec.grant_api('stranger', 'operator')");
    let ming = shop.member("10.00");
    let operator = db.login("stranger");
    for procedure in
        ["maintain_partitions", "expire_cards", "expire_qrcodes", "expire_recharges", "expire_keys", "recompute_levels"]
    {
        operator.run(&format!("call app.{procedure}()"));
        db.login("app_role").denied(&format!("call app.{procedure}()"));
        shop.cashier.denied(&format!("call app.{procedure}()"));
        let job = format!("select finished_at is not null from app.job_runs where job = '{procedure}'");
        assert_eq!(shop.superuser.value(&job), "t", "{procedure}");
    }
    operator.run("select * from sec.security_check()");
    operator.denied(&format!("select * from app.user_recharge_personal_card('{}', 1, 'cash')", ming.card));
    operator.denied("select app.get_settings()");
    operator.denied("select balance from app.personal_cards");
    shop.superuser.run("select sec.revoke_api('stranger', 'operator')");
    operator.denied("call app.expire_cards()");
}

#[test]
fn expire_cards_expires_what_is_due_and_says_so() {
    let shop = Shop::open();
    let (due, later, frozen) = (shop.member("0"), shop.member("0"), shop.member("0"));
    let company = shop.company("1", "0", &later);
    shop.set_card(&frozen.card, "personal", "frozen");
    shop.superuser.run(&format!(
        "update app.personal_cards set expires_at = now() - interval '1 day' where id in ('{}', '{}');
         update app.personal_cards set expires_at = now() + interval '1 day' where id = '{}';
         update app.enterprise_cards set expires_at = now() - interval '1 day'",
        due.card, frozen.card, later.card
    ));
    shop.superuser.run("call app.expire_cards()");
    let statuses = [&due.card, &later.card, &frozen.card, &company.card].map(|c| shop.card_status(c));
    assert_eq!(statuses, ["expired", "active", "frozen", "expired"]);
    assert_eq!(&shop.last_event(&due.card_no)["action"], "card.expired");
    assert_eq!(&shop.last_event(&company.card_no)["action"], "card.expired");
}

#[test]
fn a_fresh_database_has_books_that_hold() {
    assert_eq!(Db::new().problems(), [] as [String; 0]);
}

/// Nor does a transaction with an older view charge by levels of before: they may have been written anew, which leaves that view
/// with none at all.
#[test]
fn levels_are_those_of_now_whatever_a_transaction_saw_before() {
    let shop = Shop::open();
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    let ming = shop.member("1000.00");
    let charge = Shop::charge_sql(&shop.code(&ming), "10.00", "");
    let changes = [
        ("update app.membership_levels set discount = 0.5 where level = 0", "0.500"),
        (
            "begin; create temporary table kept on commit drop as select * from app.membership_levels; \
             truncate app.membership_levels; insert into app.membership_levels select * from kept; \
             update app.membership_levels set discount = 0.4 where level = 0; commit",
            "0.400",
        ),
        ("insert into app.membership_levels (level, name, min_points, discount) values (9, 'Zero', 1, 0.3)", "0.300"),
        ("delete from app.membership_levels where level = 9", "0.400"),
        ("update app.membership_levels set discount = 1 where level = 0", "1.000"),
    ];
    let stored = format!("select discount from app.personal_cards where id = '{}'", ming.card);
    for level in ["repeatable read", "serializable"] {
        for (change, discount) in changes {
            shop.cashier.run(&format!("begin isolation level {level}; select count(*) from app.error_codes"));
            shop.superuser.run(change);
            assert_eq!(&shop.cashier.row(&charge)["discount"], discount, "{level}: {change}");
            shop.cashier.run("commit");
            assert_eq!(shop.superuser.value(&stored), discount, "{level}: {change}");
        }
    }
}
