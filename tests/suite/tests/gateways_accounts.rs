//! Accounts at payment gateways: who sets them, what is taken, who reads them, and that they outlive what tables outlive.

use mps_tests::gateways::{ALIPAY, WECHAT, alipay_keys, set_account, set_key};
use mps_tests::{Cluster, Db, NULL, SHOP, Scratch, Session, Shop, Waiting, program, q, together};

const ALL: &str = "select code, provider, active, merchant_id, config from app.gateway_accounts order by code";

/// A configuration with more in it.
fn with(config: &str, more: &str) -> String {
    config.replace('}', &format!(", {more}}}"))
}

fn event(s: &Session) -> String {
    s.value("select context from audit.event_log where action = 'gateway.account_set' order by id desc limit 1")
}

#[test]
fn an_account_is_set_and_the_same_again_replaces() {
    let shop = Shop::open();
    let s = &shop.superuser;
    assert_eq!(s.value(&set_account(" shop-1 ", "alipay", ALIPAY)), "t");
    let first = s.row("select *, created_at = now() as is_new from app.gateway_accounts");
    assert_eq!((&first["code"], &first["active"], &first["merchant_id"]), ("shop-1", "t", NULL));
    // The same in other words is no change, and leaves no event.
    let count = "select count(*) from audit.event_log where action = 'gateway.account_set'";
    for same in [
        r#"{"seller_ids": ["2088102534368455"], "app_id": "2021000000000001"}"#,
        r#"{"seller_ids": [" 2088102534368455", "2088102534368455"], "app_id": "2021000000000001 ", "active": true}"#,
    ] {
        assert_eq!(s.value(&set_account("shop-1", "alipay", same)), "f", "{same}");
    }
    assert_eq!(s.value(count), "1");

    let of_a_shop = with(ALIPAY, &format!(r#""merchant": "{SHOP}", "active": false, "fee_rate": 0.0060"#));
    assert_eq!(s.value(&set_account("shop-1", "alipay", &of_a_shop)), "t");
    let row = s.row(
        "select a.active, m.code, a.config ->> 'fee_rate' as rate, a.config ? 'merchant' or a.config ? 'active' as twice, \
         a.created_at from app.gateway_accounts a join app.merchants m on m.id = a.merchant_id",
    );
    assert_eq!((row.values()[..4].to_vec(), &row["created_at"]), (vec!["f", SHOP, "0.006", "f"], &first["created_at"]));
    let said = event(s);
    for part in [r#""merchant": "SHOP-001""#, r#""active": false"#, r#""fee_rate": "0.006""#, r#""provider": "alipay""#]
    {
        assert!(said.contains(part), "{said}");
    }
    // As a text it is the same rate; and what is left out is so no longer.
    assert_eq!(s.value(&set_account("shop-1", "alipay", &of_a_shop.replace("0.0060", "\"0.006\""))), "f");
    assert_eq!(s.value(&set_account("shop-1", "alipay", ALIPAY)), "t");
    assert_eq!(s.row("select active, merchant_id from app.gateway_accounts").values(), ["t", NULL]);
    assert!(event(s).contains(r#""merchant": null"#));

    s.refused("STATUS_CONFLICT", &set_account("shop-1", "wechat", WECHAT));
    s.refused("MERCHANT_NOT_FOUND", &set_account("shop-1", "alipay", &with(ALIPAY, r#""merchant": "SHOP-9""#)));
    let provider = r#"{"sp_mchid": "1900000009", "sub_mchids": ["1900000001", "1900000002"]}"#;
    assert_eq!(s.value(&set_account("sp", "wechat", provider)), "t");
    assert_eq!(s.value(&set_account("sp", "wechat", &with(provider, r#""sp_appids": ["wx8"]"#))), "t");
    assert_eq!(s.value(&set_account("Shop_1.wx", "wechat", WECHAT)), "t");
    assert_eq!(
        s.column("select code from app.gateway_accounts order by code collate \"C\""),
        ["Shop_1.wx", "shop-1", "sp"]
    );
}

#[test]
fn what_is_wrong_with_a_configuration_is_named() {
    let shop = Shop::open();
    let s = &shop.superuser;
    let long = format!(r#"{{"mchid": "1", "appids": ["{}"]}}"#, "x".repeat(129));
    let many = format!(r#"{{"mchid": "1", "appids": [{}]}}"#, vec!["1"; 1001].join(","));
    for (provider, config, named) in [
        ("wechat", r#"{"appids": ["a"]}"#, "mchid"),
        ("wechat", r#"{"mchid": "1"}"#, "appids"),
        ("wechat", r#"{"mchid": 1, "appids": ["a"]}"#, "mchid"),
        ("wechat", r#"{"mchid": "", "appids": ["a"]}"#, "mchid"),
        ("wechat", r#"{"mchid": "1 2", "appids": ["a"]}"#, "mchid"),
        ("wechat", r#"{"mchid": "商户", "appids": ["a"]}"#, "mchid"),
        ("wechat", r#"{"mchid": "1", "appids": []}"#, "appids"),
        ("wechat", r#"{"mchid": "1", "appids": "a"}"#, "appids"),
        ("wechat", r#"{"mchid": "1", "appids": [1]}"#, "appids"),
        ("wechat", r#"{"mchid": "1", "appids": [null]}"#, "appids"),
        ("wechat", &long, "appids"),
        ("wechat", &many, "appids"),
        ("wechat", r#"{"sp_mchid": "1"}"#, "sub_mchids"),
        ("wechat", r#"{"sp_mchid": "1", "sub_mchids": ["2"], "mchid": "1"}"#, "mchid"),
        ("wechat", r#"{"sp_mchid": "1", "sub_mchids": ["2"], "sp_appids": []}"#, "sp_appids"),
        ("wechat", ALIPAY, "mchid"),
        ("alipay", WECHAT, "app_id"),
        ("alipay", r#"{"app_id": "1"}"#, "seller_ids"),
        ("alipay", &with(ALIPAY, r#""apiv3_key": "3jQzaWizur8Gba7cde1ZJB1kG2e7VfTs""#), "apiv3_key"),
        ("alipay", &with(ALIPAY, r#""actives": false"#), "actives"),
        ("alipay", &with(ALIPAY, r#""active": "false""#), "active"),
        ("alipay", &with(ALIPAY, r#""active": null"#), "active"),
        ("alipay", &with(ALIPAY, r#""merchant": 1"#), "merchant"),
    ] {
        let failure = s.refused("INVALID_ARGUMENT", &set_account("a", provider, config));
        assert!(failure.detail.starts_with(&format!("p_config: {named} ")), "{config}: {failure:?}");
        assert!(!failure.detail.contains("3jQzaWizur8"), "{failure:?}");
    }
    for rate in [
        "-0.1",
        "1.1",
        "1.000001",
        "0.0000001",
        "\"0.00 6\"",
        "\"0,006\"",
        "\"1e-3\"",
        "\"+0.1\"",
        "\"\"",
        "\"0_1\"",
        "\"NaN\"",
        "true",
        "[]",
        "1e131071",
        "\"0.6%\"",
        "\".006\"",
        "null",
    ] {
        let sql = set_account("a", "alipay", &with(ALIPAY, &format!(r#""fee_rate": {rate}"#)));
        let failure = s.failure(&sql);
        failure.must_be("INVALID_ARGUMENT", &sql);
        assert!(failure.detail.contains("fee_rate") || rate == "1e131071", "{rate}: {failure:?}");
    }
    for (rate, kept) in [
        ("0", "0"),
        ("1", "1"),
        ("0.006", "0.006"),
        ("6e-3", "0.006"),
        ("\" 0.0038 \"", "0.0038"),
        ("1.000000000", "1"),
        ("0.000001", "0.000001"),
    ] {
        s.run(&set_account("a", "alipay", &with(ALIPAY, &format!(r#""fee_rate": {rate}"#))));
        assert_eq!(s.value("select config -> 'fee_rate' from app.gateway_accounts"), format!("\"{kept}\""), "{rate}");
    }
}

/// Functions of a superuser's that others may call, which set an account and a key.
fn lend(s: &Session) {
    s.run(&format!(
        "create function public.an_account() returns boolean language sql security definer as {}; \
         create function public.a_key() returns boolean language sql security definer as {}; \
         create function public.from_a_row() returns trigger language plpgsql security definer as {}; \
         create table public.wishes (wish text); grant insert on public.wishes to public; \
         create trigger comes_true before insert on public.wishes for each row execute function public.from_a_row()",
        q(set_account("mine", "alipay", ALIPAY)),
        q(set_key("shop", "alipay_public_key", "mine", alipay_keys()[1], "")),
        q(format!(
            "begin perform app.{}; return new; end",
            &set_account("mine", "alipay", ALIPAY)["select app.".len()..]
        )),
    ));
}

#[test]
fn only_a_superuser_sets_and_nobody_gains_by_standing_behind_one() {
    let shop = Shop::open();
    let s = &shop.superuser;
    let member = shop.member("1.00");
    s.run(&set_account("shop", "alipay", ALIPAY));
    lend(s);
    let sessions = [
        ("a member", shop.db.user(member.id)),
        ("app_role", shop.db.app_user(member.id)),
        ("a cashier", shop.db.user(shop.cashier_id)),
        ("a backend", shop.db.backend()),
        ("a stranger", shop.db.login("stranger")),
    ];
    let key = set_key("shop", "alipay_public_key", "mine", alipay_keys()[1], "");
    for round in ["as they are", "the stranger as an operator"] {
        for (who, session) in &sessions {
            println!("{who}, {round}");
            session.denied(&set_account("mine", "alipay", ALIPAY));
            session.denied(&key);
            for lent in
                ["select public.an_account()", "select public.a_key()", "insert into public.wishes values ('x')"]
            {
                session.refused("NOT_ALLOWED", lent);
            }
        }
        s.run("select sec.grant_api('stranger', 'operator')");
    }
    // Under SET ROLE a superuser is what it became; and a backend lends a superuser no more than it has.
    let lowered = shop.db.superuser();
    lowered.become_role("service_role", "{}");
    lowered.denied(&key);
    lowered.refused("NOT_ALLOWED", "select public.a_key()");
    s.run(&format!(
        "grant create on schema public to service_role; set role service_role; \
         create function public.of_the_backend() returns boolean language sql security definer as {}; reset role",
        q(set_account("mine", "alipay", ALIPAY))
    ));
    s.denied("select public.of_the_backend()");
    // In what maintenance evaluates nobody knows who asks.
    s.run(&format!(
        "create function public.indexed(integer) returns integer immutable language plpgsql as {}; \
         create table public.things (n integer); insert into public.things values (1)",
        q(format!(
            "begin perform app.{}; return 1; end",
            &set_account("mine", "alipay", ALIPAY)["select app.".len()..]
        )),
    ));
    s.refused("NOT_ALLOWED", "create index on public.things (public.indexed(n))");
    assert_eq!(s.column("select code from app.gateway_accounts"), ["shop"]);
    // A superuser's own functions are its own.
    assert_eq!(s.row("select public.an_account(), public.a_key()").values(), ["t", "t"]);
    s.run("insert into public.wishes values ('x')");
    let other = s.column("select context ->> 'other_role' from audit.event_log where action ~ '^gateway'");
    assert!(other.iter().all(|role| role == NULL), "{other:?}");
}

#[test]
fn backends_read_accounts_and_clients_do_not() {
    let shop = Shop::open();
    let s = &shop.superuser;
    s.run(&set_account("shop", "alipay", &with(ALIPAY, &format!(r#""merchant": "{SHOP}""#))));
    let role = format!("{}_backend", shop.db.name);
    s.run(&format!("create role {role}; select sec.grant_api('{role}', 'backend')"));
    let plain = shop.db.superuser();
    plain.become_role(&role, "{}");
    let expected = s.rows(ALL);
    for backend in [&shop.backend, &plain] {
        assert_eq!(backend.rows(ALL), expected);
        backend.denied("update app.gateway_accounts set active = false");
        backend.denied("insert into app.gateway_accounts values ('x', 'alipay', true, null, now(), '{}')");
        backend.denied("select * from sec.gateway_keys");
    }
    let member = shop.member("0");
    for session in [shop.db.user(member.id), shop.db.user(shop.cashier_id), shop.db.app_user(member.id), shop.db.anon()]
    {
        session.denied("select code from app.gateway_accounts");
    }
    // Whoever is let read the table by mistake sees no row without the level.
    s.run("grant usage on schema app, sec to stranger; grant select on app.gateway_accounts to stranger");
    assert_eq!(shop.db.login("stranger").value("select count(*) from app.gateway_accounts"), "0");
    let rule = "select ok from sec.security_check() where rule = 'SELECT is granted only on the columns of the API'";
    assert_eq!(s.value(rule), "f");
    drop(plain);
    s.run("revoke all on app.gateway_accounts from stranger; revoke usage on schema app, sec from stranger");
    s.run(&format!("select sec.revoke_api('{role}', 'backend'); drop role {role}"));
}

#[test]
fn read_only_refuses_and_plpgsql_goes_on() {
    let shop = Shop::open();
    let s = &shop.superuser;
    s.run("select app.set_mode('read_only', 'x')");
    s.refused("READ_ONLY", &set_account("shop", "alipay", ALIPAY));
    s.refused("READ_ONLY", &set_key("shop", "alipay_public_key", "a", alipay_keys()[0], ""));
    s.run("select app.set_mode('normal')");
    // In a block, with what it refuses caught in it; and none of it where its transaction is rolled back.
    s.run(&format!(
        "do $do$ declare v_set boolean; v_config jsonb := {}; begin \
             v_set := app.set_gateway_account('shop', 'alipay', v_config); \
             begin perform app.set_gateway_account('shop', 'wechat', v_config); \
             exception when sqlstate 'PT400' then null; end; \
             v_set := v_set and app.set_gateway_key(p_account => 'shop', p_kind => 'alipay_public_key', p_key_id => 'a', p_key => {}, \
                 p_valid_until => now() + interval '1 year'); \
             if not v_set then raise exception 'nothing was set'; end if; \
         end $do$",
        q(ALIPAY),
        q(alipay_keys()[0])
    ));
    s.run(&format!("begin; {}; rollback", set_account("gone", "wechat", WECHAT)));
    assert_eq!(
        s.column("select code || ' ' || key_id from app.gateway_accounts left join sec.gateway_keys on account = code"),
        ["shop a"]
    );
}

#[test]
fn two_who_set_the_same_account_at_once_come_one_after_the_other() {
    let shop = Shop::open();
    let s = &shop.superuser;
    let busy = || shop.db.superuser();
    let (off, on) =
        (set_account("a", "alipay", &with(ALIPAY, r#""active": false"#)), set_account("a", "alipay", ALIPAY));
    // Both create it: the second finds it.
    let first = busy();
    first.run(&format!("begin; {on}"));
    let second = Waiting::behind(busy(), &first, s, on.clone());
    let other = Waiting::behind(busy(), &first, s, set_account("a", "wechat", WECHAT));
    first.run("commit");
    assert_eq!(second.end().expect("is set")[0].values(), ["f"]);
    other.end().expect_err("is the other provider's").must_be("STATUS_CONFLICT", "the other provider");
    // The first gives up: the second is the first.
    first.run(&format!("begin; {}", set_account("b", "wechat", WECHAT)));
    let second = Waiting::behind(busy(), &first, s, set_account("b", "wechat", WECHAT));
    first.run("rollback");
    assert_eq!(second.end().expect("is set")[0].values(), ["t"]);
    // Both change it: the last one counts, and both are in the log.
    first.run(&format!("begin; {off}"));
    let second = Waiting::behind(busy(), &first, s, on);
    first.run("commit");
    assert_eq!(second.end().expect("is set")[0].values(), ["t"]);
    assert_eq!(s.value("select active from app.gateway_accounts where code = 'a'"), "t");
    // Whoever is no superuser any more by then is refused.
    let role = format!("{}_super", shop.db.name);
    s.run(&format!("create role {role} superuser"));
    let demoted = busy();
    demoted.run(&format!("set role {role}"));
    first.run(&format!("begin; {off}"));
    let second = Waiting::behind(demoted, &first, s, set_account("a", "alipay", &with(ALIPAY, r#""fee_rate": 0.5"#)));
    s.run(&format!("alter role {role} nosuperuser"));
    first.run("commit");
    let refused = second.end().expect_err("is no superuser");
    s.run(&format!("drop role {role}"));
    refused.must_be("NOT_ALLOWED", "demoted while it waited");
    // Many at once.
    let jobs = (0..8).map(|n| {
        let config = with(ALIPAY, &format!(r#""active": {}, "fee_rate": 0.{n}"#, n % 2 == 0));
        (busy(), set_account("c", "alipay", &config))
    });
    let answers = together(jobs.collect());
    assert!(answers.iter().all(|a| a.as_ref().is_ok_and(|rows| rows[0].values() == ["t"])), "{answers:?}");
    let last = "select context -> 'config' = (select config from app.gateway_accounts where code = 'c') from audit.event_log \
                where object_id = 'c' order by id desc limit 1";
    assert_eq!(s.value(last), "t", "the last one of the log is what counts");
    assert_eq!(s.value("select count(*) from audit.event_log where object_id = 'c'"), "8");
}

/// Two accounts, one of a merchant; a key of each.
fn two_accounts(s: &Session) {
    s.run(&set_account("alipay", "alipay", &with(ALIPAY, &format!(r#""merchant": "{SHOP}", "fee_rate": "0.006""#))));
    s.run(&set_account("wechat", "wechat", &with(WECHAT, r#""active": false"#)));
    s.run(&set_key("alipay", "alipay_public_key", "a", alipay_keys()[0], ", p_valid_until => '2090-01-01'"));
    let (id, key) = mps_tests::gateways::wechat_public_key();
    s.run(&set_key("wechat", "wechat_public_key", id, key, ""));
}

const KEYS: &str = "select * from sec.gateway_keys order by account, kind, key_id";

#[test]
fn accounts_and_keys_outlive_the_extension_and_come_with_a_dump() {
    let shop = Shop::open();
    let s = &shop.superuser;
    two_accounts(s);
    let (accounts, keys) = (s.rows("select * from app.gateway_accounts order by code"), s.rows(KEYS));
    let is_there = |s: &Session| {
        assert_eq!(s.rows("select * from app.gateway_accounts order by code"), accounts);
        assert_eq!(s.rows(KEYS), keys);
        assert_eq!(s.column("select rule || detail from sec.security_check() where not ok"), [] as [&str; 0]);
        // And they can be set, as before.
        assert_eq!(s.value(&set_account("wechat", "wechat", &with(WECHAT, r#""active": false"#))), "f");
        assert_eq!(s.value(&set_account("wechat", "wechat", WECHAT)), "t");
        s.failure(&set_account("wechat", "alipay", ALIPAY)).must_be("STATUS_CONFLICT", "the other provider");
        s.run(&set_account("wechat", "wechat", &with(WECHAT, r#""active": false"#)));
    };
    let dump = Scratch::new("dump");
    program("pg_dump", &["-Fc", "-f", dump.path(), &shop.db.name]).expect("dumps");
    let cluster = Cluster::start();
    cluster.psql("postgres", "create database shop").expect("a database");
    let roles = "create role mps_owner; create role authenticated; create role service_role bypassrls; \
                 create role anon; create role app_role";
    cluster.psql("postgres", roles).expect("roles");
    cluster.program("pg_restore", &["--exit-on-error", "-d", "shop", dump.path()]).expect("restores");
    is_there(&cluster.superuser("shop"));

    s.run("drop extension mps cascade");
    let anew = shop.db.superuser();
    anew.run("create extension mps");
    is_there(&anew);
}

#[test]
fn what_is_destroyed_says_how_many_there_are() {
    let shop = Shop::open();
    let s = &shop.superuser;
    let said = || s.failure("select * from sec.destroy_everything('')").detail;
    assert!(!said().contains("gateways"), "{}", said());
    two_accounts(s);
    assert!(said().ends_with(", with 2 accounts at payment gateways and 2 keys"), "{}", said());
    let sentence = said().split_once("p_confirm has to be: ").expect("a sentence").1.to_owned();
    s.run(&set_key("alipay", "alipay_public_key", "b", alipay_keys()[1], ""));
    s.refused("INVALID_ARGUMENT", &format!("select * from sec.destroy_everything({})", q(sentence)));
}

#[test]
fn the_log_alone_brings_accounts_and_no_keys() {
    let shop = Shop::open();
    let s = &shop.superuser;
    two_accounts(s);
    let db = shop.db.with_the_log_alone();
    let there = db.superuser();
    let said = there.rows("select what, n from app.rebuild_from_log()");
    let line = said.iter().find(|row| row["what"].contains("gateways")).expect("a line");
    assert_eq!(line.values(), ["accounts at payment gateways, without their keys", "2"]);
    assert_eq!(
        there.rows("select * from app.gateway_accounts order by code"),
        s.rows("select * from app.gateway_accounts order by code")
    );
    assert_eq!(there.value("select count(*) from sec.gateway_keys"), "0");
    // Not where an account is there already, nor where the log does not know the merchant.
    let lacking = shop.db.with_the_log_alone();
    let broken = lacking.superuser();
    let early = "insert into app.gateway_accounts values ('early', 'alipay', true, null, now(), '{}')";
    broken.run(early);
    let failure = broken.refused("STATUS_CONFLICT", "select * from app.rebuild_from_log()");
    assert!(failure.detail.contains("app.gateway_accounts has rows"), "{failure:?}");
    broken.run("delete from app.gateway_accounts");
    let logs = broken.column("select relid from pg_partition_tree('audit.event_log')");
    logs.iter().for_each(|log| broken.run(&format!("alter table {log} disable trigger append_only")));
    broken.run("update audit.event_log set context = context || '{\"merchant\": \"SHOP-9\"}' where action = 'gateway.account_set'");
    let failure = broken.refused("STATUS_CONFLICT", "select * from app.rebuild_from_log()");
    assert!(failure.detail.contains("no merchant SHOP-9 is in the log"), "{failure:?}");
}

#[test]
fn a_fresh_database_has_none() {
    let db = Db::new();
    let s = db.superuser();
    assert_eq!(
        s.row("select (select count(*) from app.gateway_accounts), (select count(*) from sec.gateway_keys)").values(),
        ["0", "0"]
    );
    assert_eq!(s.column("select check_name from app.health() where check_name ~ 'gateway'"), [] as [&str; 0]);
}
