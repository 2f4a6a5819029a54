//! Keys of payment gateways: which are taken, that nobody reads them, and that secrets are sealed where there is a master key.

use mps_tests::gateways::{
    ALIPAY, SECRETS, WECHAT, alipay_keys, bad_keys, certificates, set_account, set_key, set_key_from_file,
    wechat_public_key,
};
use mps_tests::manual::document;
use mps_tests::{Cluster, NULL, Scratch, Session, Shop, Till, Waiting, program, q, together, until};
use std::process::Command;
use std::time::Duration;

const SECRET: &str = "wechat_apiv3_key";
const HEX: &str = "00112233445566778899aabbccddeeffABCDEF0123456789abcdef0123456789";

/// A shop with an account at either gateway.
fn with_accounts(s: &Session) {
    s.run(&set_account("wechat", "wechat", WECHAT));
    s.run(&set_account("alipay", "alipay", ALIPAY));
}

fn opened() -> Shop {
    let shop = Shop::open();
    with_accounts(&shop.superuser);
    shop
}

fn ids(s: &Session) -> Vec<String> {
    s.column("select concat_ws(' ', account, kind, key_id) from sec.gateway_keys order by 1")
}

/// What is kept of a key.
fn kept(s: &Session, id: &str) -> String {
    s.value(&format!("select convert_from(key, 'UTF8') from sec.gateway_keys where key_id = {}", q(id)))
}

#[test]
fn keys_of_every_kind_are_taken_and_several_live_at_once() {
    let shop = opened();
    let s = &shop.superuser;
    let (id, public) = wechat_public_key();
    for (serial, pem) in certificates() {
        assert_eq!(s.value(&set_key("wechat", "wechat_public_key", serial, pem, "")), "t");
        assert_eq!(s.value(&set_key("wechat", "wechat_public_key", serial, pem, "")), "f", "the same again");
        // As tools write it that count in bytes.
        assert_eq!(s.value(&set_key("wechat", "wechat_public_key", &format!("0{serial}"), pem, "")), "f");
    }
    assert_eq!(s.value(&set_key("wechat", "wechat_public_key", id, &format!("\n{public}\n\n"), "")), "t");
    for (n, key) in alipay_keys().into_iter().enumerate() {
        assert_eq!(s.value(&set_key("alipay", "alipay_public_key", &format!("k{n}"), key, "")), "t");
    }
    let (serial, pem) = certificates()[0];
    assert_eq!(s.value(&set_key("alipay", "alipay_public_key", serial, pem, "")), "t");
    for (n, key) in SECRETS.into_iter().enumerate() {
        assert_eq!(s.value(&set_key("wechat", SECRET, &format!("s{n}"), key, "")), "t");
    }
    assert_eq!(ids(s).len(), 9, "{:?}", ids(s));
    assert_eq!((kept(s, id), kept(s, "s0")), (public.trim().to_owned(), SECRETS[0].to_owned()));
    // The same id again replaces, the others stay.
    assert_eq!(s.value(&set_key("alipay", "alipay_public_key", "k0", alipay_keys()[1], "")), "t");
    assert_eq!(
        (kept(s, "k0"), kept(s, "k1")),
        (alipay_keys()[1].trim().to_owned(), alipay_keys()[1].trim().to_owned())
    );
    assert_eq!(
        s.value(&set_key("alipay", "alipay_public_key", "k0", alipay_keys()[1], ", p_valid_until => '2090-01-01'")),
        "t"
    );
    assert_eq!(ids(s).len(), 9);
    let events = "select count(*) from audit.event_log where action = 'gateway.key_set' and object_id = 'alipay'";
    assert_eq!(s.value(events), "5", "what changed nothing leaves none");
    s.run("delete from sec.gateway_keys where kind = 'wechat_apiv3_key'");
}

#[test]
fn a_certificate_counts_as_long_as_it_says_and_a_key_as_long_as_is_said() {
    let shop = opened();
    let s = &shop.superuser;
    s.run("set timezone = 'UTC'");
    let (serial, pem) = certificates()[0];
    let file = Scratch::with("certificate", pem);
    let of = |what: &str| program("openssl", &["x509", "-in", file.path(), "-noout", what]).expect("a date");
    let date = |what: &str| {
        let said = of(what);
        s.value(&format!("select {}::timestamptz", q(said.split_once('=').expect("a date").1)))
    };
    let (from, until) = (date("-startdate"), date("-enddate"));
    let span = |more: &str| {
        s.run(&set_key("wechat", "wechat_public_key", serial, pem, more));
        let row = s.row("select valid_from, valid_until from sec.gateway_keys");
        (row["valid_from"].to_owned(), row["valid_until"].to_owned())
    };
    assert_eq!(span(""), (from.clone(), until.clone()));
    assert_eq!(span(", '2000-01-01', '2190-01-01'"), (from.clone(), until.clone()));
    let within = (
        s.value(&format!("select {}::timestamptz + interval '1 hour'", q(&from))),
        s.value(&format!("select {}::timestamptz - interval '1 hour'", q(&until))),
    );
    assert_eq!(span(&format!(", {}, {}", q(&within.0), q(&within.1))), within);
    for outside in [format!(", null, {}", q(&from)), format!(", {}", q(&until))] {
        s.refused("INVALID_ARGUMENT", &set_key("wechat", "wechat_public_key", serial, pem, &outside));
    }
    let key = alipay_keys()[0];
    s.run(&set_key("alipay", "alipay_public_key", "a", key, ""));
    assert_eq!(s.row("select valid_from, valid_until from sec.gateway_keys where key_id = 'a'").values(), [NULL, NULL]);
    for (from, until) in [
        ("'2026-01-02'", "'2026-01-01'"),
        ("'2026-01-01'", "'2026-01-01'"),
        ("'infinity'", "null"),
        ("null", "'infinity'"),
        ("'-infinity'", "null"),
    ] {
        s.refused("INVALID_ARGUMENT", &set_key("alipay", "alipay_public_key", "a", key, &format!(", {from}, {until}")));
    }
}

#[test]
fn other_keys_are_refused_and_no_refusal_shows_one() {
    let shop = opened();
    let s = &shop.superuser;
    let (serial, certificate) = certificates()[0];
    let (other_serial, _) = certificates()[1];
    let (id, public) = wechat_public_key();
    let private = public.replace("PUBLIC", "PRIVATE");
    let short = &SECRETS[0][..31];
    let mut wrong = vec![
        // A certificate under another id, a key under an id that is none of WeChat's.
        ("wechat", "wechat_public_key", other_serial, certificate.to_owned(), serial),
        ("wechat", "wechat_public_key", id, certificate.to_owned(), serial),
        ("alipay", "alipay_public_key", "a", certificate.to_owned(), serial),
        ("wechat", "wechat_public_key", serial, public.to_owned(), "PUB_KEY_ID_"),
        ("wechat", "wechat_public_key", "pub_key_id_1", public.to_owned(), "PUB_KEY_ID_"),
        ("wechat", "wechat_public_key", id, alipay_keys()[0].to_owned(), "p_key"),
        ("wechat", "wechat_public_key", id, private.clone(), "private"),
        ("alipay", "alipay_public_key", "a", private, "private"),
        ("alipay", "alipay_public_key", "a", SECRETS[0].to_owned(), "p_key"),
        // Of the other gateway.
        ("alipay", SECRET, "a", SECRETS[0].to_owned(), "p_kind"),
        ("alipay", "wechat_public_key", id, public.to_owned(), "p_kind"),
        ("wechat", "alipay_public_key", "a", alipay_keys()[0].to_owned(), "p_kind"),
        // 32 bytes, and nothing is taken off.
        ("wechat", SECRET, "a", short.to_owned(), "32 bytes"),
        ("wechat", SECRET, "a", format!("{}x", SECRETS[0]), "32 bytes"),
        ("wechat", SECRET, "a", format!("{}\n", SECRETS[0]), "32 bytes"),
        ("wechat", SECRET, "a", format!("{short}é"), "32 bytes"),
        ("wechat", SECRET, "a", SECRETS[0].repeat(1000), "p_key"),
        ("wechat", "wechat_apiv2_key", "a", SECRETS[0].to_owned(), "p_kind"),
    ];
    wrong.extend(bad_keys().into_iter().map(|(_, key)| ("alipay", "alipay_public_key", "a", key.to_owned(), "p_key")));
    for (account, kind, id, key, named) in &wrong {
        let failure = s.refused("INVALID_ARGUMENT", &set_key(account, kind, id, key, ""));
        assert!(failure.detail.contains(named), "{kind} {id}: {failure:?}");
        assert!(!format!("{failure:?}").contains(&key[key.len() / 4..key.len() / 2]), "{failure:?}");
    }
    s.refused("GATEWAY_ACCOUNT_NOT_FOUND", &set_key("nobody", SECRET, "a", SECRETS[0], ""));
    assert_eq!(ids(s), [] as [&str; 0]);
    // 32 bytes, however many characters that are.
    s.run(&set_key("wechat", SECRET, "a", &format!("{}é", &SECRETS[0][..30]), ""));
    s.run("delete from sec.gateway_keys");
}

#[test]
fn nobody_reads_a_key() {
    let shop = opened();
    let s = &shop.superuser;
    s.run(&set_key("wechat", SECRET, "s", SECRETS[0], ""));
    s.run(&set_key("alipay", "alipay_public_key", "a", alipay_keys()[0], ""));
    let member = shop.member("0");
    s.run("select sec.grant_api('stranger', 'operator')");
    let sessions = [
        shop.db.backend(),
        shop.db.user(member.id),
        shop.db.user(shop.cashier_id),
        shop.db.app_user(member.id),
        shop.db.anon(),
        shop.db.login("stranger"),
    ];
    for session in &sessions {
        for sql in [
            "select * from sec.gateway_keys",
            "select key_id from sec.gateway_keys",
            "select count(*) from sec.gateway_keys",
            "copy sec.gateway_keys to stdout",
            "select * from sec.gateway_secrets()",
            "select * from sec.plain_secrets()",
            "delete from sec.gateway_keys",
            "select most_common_vals from pg_statistic, pg_class where starelid = pg_class.oid",
        ] {
            let failure = session.failure(sql);
            assert!(matches!(failure.code.as_str(), "42501" | "42703"), "{sql}: {failure:?}");
        }
    }
    s.run("analyze sec.gateway_keys");
    let shown = "select count(*) from pg_stats where schemaname = 'sec' and tablename = 'gateway_keys'";
    for session in &sessions {
        assert_eq!(session.value(shown), "0");
    }
    // No grant, no policy, no function of the API, no event, nothing of what operators are told.
    assert_eq!(s.value("select count(*) from pg_policy where polrelid = 'sec.gateway_keys'::regclass"), "0");
    let operator = &sessions[5];
    let told = [
        operator.rows("select * from app.health()"),
        operator.rows("select * from sec.security_check()"),
        operator.rows("select * from app.verify_books()"),
        s.rows("select * from audit.event_log"),
    ];
    let told = format!("{told:?}");
    assert!(told.contains("gateway.key_set") && told.contains("wechat s: is kept plain"), "{told}");
    for key in [SECRETS[0], &alipay_keys()[0][100..140], &SECRETS[0][8..20], &hex(SECRETS[0].as_bytes())] {
        assert!(!told.contains(key), "{told}");
    }
    // Where it is granted all the same, that is said, and row-level security stands before it.
    s.run("grant usage on schema sec to app_role; grant select on sec.gateway_keys to app_role");
    assert_eq!(shop.db.login("app_role").value("select count(*) from sec.gateway_keys"), "0");
    let rules = s.column("select rule from sec.security_check() where not ok order by 1");
    assert!(rules.iter().any(|rule| rule == "SELECT is granted only on the columns of the API"), "{rules:?}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn two_who_set_the_same_key_at_once_come_one_after_the_other() {
    let shop = opened();
    let s = &shop.superuser;
    let busy = || shop.db.superuser();
    let sql = |key: &str| set_key("wechat", SECRET, "s", key, "");
    let first = busy();
    first.run(&format!("begin; {}", sql(SECRETS[0])));
    let same = Waiting::behind(busy(), &first, s, sql(SECRETS[0]));
    first.run("commit");
    assert_eq!(same.end().expect("is set")[0].values(), ["f"]);
    first.run(&format!("begin; {}", sql(SECRETS[1])));
    let last = Waiting::behind(busy(), &first, s, sql(SECRETS[0]));
    first.run("commit");
    assert_eq!(last.end().expect("is set")[0].values(), ["t"]);
    assert_eq!((ids(s), kept(s, "s")), (vec!["wechat wechat_apiv3_key s".to_owned()], SECRETS[0].to_owned()));
    // Of another account nobody waits.
    first.run(&format!("begin; {}", sql(SECRETS[1])));
    let free = busy();
    free.run("set lock_timeout = '5s'");
    free.run(&set_key("alipay", "alipay_public_key", "a", alipay_keys()[0], ""));
    first.run("rollback");
    // An account that is only being made is not there yet.
    first.run(&format!("begin; {}", set_account("new", "wechat", WECHAT)));
    free.refused("GATEWAY_ACCOUNT_NOT_FOUND", &set_key("new", SECRET, "s", SECRETS[0], ""));
    first.run("rollback");
    let jobs = (0..8).map(|n| (busy(), set_key("wechat", SECRET, &format!("k{}", n % 4), SECRETS[n / 4], "")));
    let answers = together(jobs.collect());
    assert!(answers.iter().all(|answer| answer.is_ok()), "{answers:?}");
    assert_eq!(s.value("select count(*) from sec.gateway_keys where key_id ~ '^k'"), "4");
    s.run("delete from sec.gateway_keys");
}

/// A server of its own, with a shop and accounts in it.
struct House {
    cluster: Cluster,
}

impl House {
    fn start(options: &str) -> House {
        let cluster = Cluster::start_with(options);
        cluster.psql("postgres", "create database shop").expect("a database");
        cluster.psql("shop", "create extension mps").expect("the extension");
        let house = House { cluster };
        with_accounts(&house.s());
        house
    }

    fn s(&self) -> Session {
        self.cluster.superuser("shop")
    }

    /// What health says of secrets, and whether that is well.
    fn health(&self) -> (String, String) {
        said(&self.s())
    }
}

fn said(s: &Session) -> (String, String) {
    let rows = s.rows("select ok, detail from app.health() where check_name = 'gateway_secrets'");
    rows.first().map_or((NULL.into(), NULL.into()), |row| (row["ok"].into(), row["detail"].into()))
}

fn rule(s: &Session) -> String {
    s.value("select concat_ws(' ', ok, detail) from sec.security_check() where rule = 'secrets of payment gateways are sealed'")
}

/// A master key, by the very command of the reference.
fn made_as_documented() -> Vec<u8> {
    let page = document("docs/rpc/gateways.md");
    let command = page.lines().find(|line| line.starts_with("openssl rand ")).expect("the page says how");
    let here = Scratch::new("master");
    std::fs::create_dir(here.path()).expect("a directory");
    let ran = Command::new("sh").args(["-c", command]).current_dir(here.path()).output().expect("sh");
    assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
    std::fs::read(format!("{}/master.key", here.path())).expect("the key")
}

#[test]
fn a_secret_is_sealed_under_the_master_key_and_what_is_plain_is_said() {
    let house = House::start("");
    let s = house.s();
    assert_eq!(
        (house.health().0.as_str(), rule(&s).as_str()),
        (NULL, "t ok"),
        "without secrets there is nothing to say"
    );
    s.run(&set_key("alipay", "alipay_public_key", "a", alipay_keys()[0], ""));
    assert_eq!(house.health().0, NULL, "a public key is no secret");
    s.run(&set_key("wechat", SECRET, "s1", SECRETS[0], ""));
    assert_eq!(
        house.health(),
        ("f".into(), "wechat s1: is kept plain: set mps.master_key_file, and set the key again".into())
    );
    assert_eq!(rule(&s), "f wechat s1 is kept plain");

    let file = house.cluster.secret_file("master.key", &made_as_documented());
    house.cluster.seal_secrets_with(&file);
    // A session that is open learns of it with the reload.
    until("the session has read the option", Duration::from_secs(10), || s.value("show mps.master_key_file") == file);
    s.run(&set_key("wechat", SECRET, "s2", SECRETS[1], ", p_valid_until => now() + interval '2 seconds'"));
    assert_eq!(s.column("select sealed from sec.gateway_keys order by key_id"), ["f", "f", "t"]);
    assert_eq!(rule(&s), "f wechat s1 is kept plain");
    // Set again it is sealed; and each time anew, so that nobody sees that it is the same.
    s.run(&set_key("wechat", SECRET, "s1", SECRETS[0], ""));
    let key = "select key from sec.gateway_keys where key_id = 's1'";
    let sealed = s.value(key);
    assert_eq!(s.value(&set_key("wechat", SECRET, "s1", SECRETS[0], "")), "t");
    assert_ne!(s.value(key), sealed);
    assert_eq!((house.health(), rule(&s)), (("t".into(), "all are sealed".into()), "t ok".into()));
    assert_eq!(
        s.value("select context ->> 'sealed' from audit.event_log where object_id = 'wechat' order by id desc limit 1"),
        "true"
    );

    // Whoever may read every table sees the sealed one alone, and so does a dump.
    house
        .cluster
        .psql("shop", "create role reads login; grant pg_read_all_data to reads; alter role reads bypassrls")
        .expect("a role");
    let reads = house.cluster.login("reads", "shop");
    let rows = reads.column("select key from sec.gateway_keys where kind = 'wechat_apiv3_key'");
    let dump = house.cluster.program("pg_dump", &["--inserts", "shop"]).expect("dumps");
    assert!(dump.contains(&rows[0]), "the dump has the keys");
    for secret in SECRETS.iter().flat_map(|s| [(*s).to_owned(), hex(s.as_bytes()), hex(&s.as_bytes()[4..20])]) {
        assert!(!dump.contains(&secret) && !rows.iter().any(|row| row.contains(&secret)));
    }

    // Sealed for its place: a row that is put elsewhere does not open.
    s.run(
        "insert into sec.gateway_keys select 'wechat', kind, 's3', created_at, null, null, sealed, key \
         from sec.gateway_keys where key_id = 's1'",
    );
    let (ok, detail) = house.health();
    assert!(
        ok == "f" && detail.starts_with("wechat s3: The sealed key was sealed under another master key"),
        "{detail}"
    );
    s.run(
        "update sec.gateway_keys set key = set_byte(key, 30, get_byte(key, 30) # 1) where key_id = 's1'; \
         delete from sec.gateway_keys where key_id = 's3'",
    );
    assert!(house.health().1.starts_with("wechat s1: The sealed key was"), "{:?}", house.health());
}

#[test]
fn a_master_key_that_cannot_be_used_is_said_and_stops_no_charge() {
    let house = House::start("");
    let s = house.s();
    let till = Till::open(house.s());
    let ming = till.member("100.00");
    let file = house.cluster.secret_file("master.key", HEX.as_bytes());
    house.cluster.seal_secrets_with(&file);
    until("the session has read the option", Duration::from_secs(10), || s.value("show mps.master_key_file") == file);
    s.run(&set_key("wechat", SECRET, "s", SECRETS[0], ""));
    assert_eq!(house.health(), ("t".into(), "all are sealed".into()));

    let data = s.value("show data_directory");
    let raw: Vec<u8> = (0..32).map(|n| u8::from_str_radix(&HEX[2 * n..2 * n + 2], 16).expect("hex")).collect();
    let inside = format!("{data}/master.key");
    program("cp", &["-p", &file, &inside]).expect("a copy");
    let link = house.cluster.beside_the_data("link");
    program("ln", &["-s", &inside, &link]).expect("a link");
    let wrong = house.cluster.secret_file("wrong.key", HEX.replace('0', "1").as_bytes());
    let short = house.cluster.secret_file("short.key", &HEX.as_bytes()[..63]);
    let long = house.cluster.secret_file("long.key", HEX.repeat(4).as_bytes());
    let open = house.cluster.secret_file("open.key", HEX.as_bytes());
    program("chmod", &["640", &open]).expect("is the group's, too");
    let gone = house.cluster.beside_the_data("gone.key");
    let mut refused = 0;
    for (named, why, is_file_wrong) in [
        (inside.as_str(), "base backup", true),
        (&inside.replace("/master.key", "/base/../master.key"), "base backup", true),
        (&link, "base backup", true),
        (&wrong, "another master key", false),
        (&short, "neither 32 bytes nor 64 hex digits", true),
        (&long, "no file with a key", true),
        (&open, "can be read by others", true),
        (&gone, "cannot be looked at", true),
        (&data, "no file with a key", true),
        ("master.key", "base backup", true),
        ("", "mps.master_key_file is not set", false),
    ] {
        house.cluster.seal_secrets_with(named);
        let fresh = house.s();
        let (ok, detail) = said(&fresh);
        assert!(ok == "f" && detail.starts_with("wechat s: ") && detail.contains(why), "{named}: {detail}");
        assert!(named.is_empty() || !detail.contains(named), "{detail}");
        assert_eq!(rule(&fresh), "t ok", "it is sealed");
        till.charge(&ming.card, "1.00");
        if is_file_wrong {
            let sql = set_key("wechat", SECRET, "s2", SECRETS[1], "");
            let failure = fresh.failure(&sql);
            failure.must_be("STATUS_CONFLICT", named);
            assert!(failure.detail.contains("mps.master_key_file") && !failure.detail.contains(named), "{failure:?}");
            // What is no secret needs none.
            fresh.run(&set_key("alipay", "alipay_public_key", "a", alipay_keys()[0], ""));
            refused += 1;
        }
    }
    assert_eq!(
        (refused, s.value("select count(*) from sec.gateway_keys where kind = 'wechat_apiv3_key'")),
        (9, "1".into())
    );
    // The same key as bytes opens it; another one only what is set again.
    let bytes = house.cluster.secret_file("raw.key", &raw);
    house.cluster.seal_secrets_with(&bytes);
    assert_eq!(house.health().0, "t");
    house.cluster.seal_secrets_with(&wrong);
    house.s().run(&set_key("wechat", SECRET, "s", SECRETS[0], ""));
    assert_eq!(house.health().0, "t");
    assert_eq!(till.findings(), [] as [String; 0]);
}

#[test]
fn nothing_but_the_servers_configuration_names_the_file() {
    let house = House::start("");
    let s = house.s();
    let (right, planted) =
        (house.cluster.secret_file("right.key", HEX.as_bytes()), house.cluster.secret_file("planted.key", &[7; 32]));
    house.cluster.psql("shop", "create role web login; select sec.grant_api('web', 'backend')").expect("a role");
    let set = format!("set mps.master_key_file = {}", q(&planted));
    let load = concat!("load '$libdir/mps-", env!("CARGO_PKG_VERSION"), "'");
    // Whether the server has an option of its own, or none at all: a placeholder of before the library is loaded does not survive.
    for has_one in [true, false] {
        house.cluster.seal_secrets_with(if has_one { &right } else { "" });
        let expected = if has_one { right.as_str() } else { "" };
        let early = house.s();
        early.run(&set);
        early.run(&format!("begin; set local mps.master_key_file = {}; {load}; commit", q(&planted)));
        assert_eq!(early.value("show mps.master_key_file"), expected);
        early.run(&set_key("wechat", SECRET, "s", SECRETS[0], ""));
        assert_eq!(s.value("select sealed from sec.gateway_keys"), if has_one { "t" } else { "f" });
        assert_eq!(early.failure(&set).code, "55P02");
        assert_eq!(
            early.failure(&format!("select set_config('mps.master_key_file', {}, false)", q(&planted))).code,
            "55P02"
        );
        let web = house.cluster.login("web", "shop");
        web.run(&set);
        web.run("select app.business_day(now())");
        for sql in ["show mps.master_key_file", "select current_setting('mps.master_key_file')"] {
            assert_eq!(web.failure(sql).code, "42501", "{sql}");
        }
        assert_eq!(web.failure(&set).code, "55P02");
    }
    // What a role, a database or who connects has set from before the library was known does not count either. But then the server
    // has forgotten its own: a secret is refused, and not kept plain.
    house.cluster.seal_secrets_with(&right);
    let of_the_role = format!("alter role web set mps.master_key_file = {}", q(&planted));
    assert_eq!(house.cluster.login("web", "postgres").failure(&of_the_role).code, "42501");
    for whose in ["database shop", "role all", "role postgres in database shop"] {
        house.s().run(&format!("alter {whose} set mps.master_key_file = {}", q(&planted)));
        let hidden = house.s();
        let sql = set_key("wechat", SECRET, "s", SECRETS[0], "");
        let failure = hidden.failure(&sql);
        failure.must_be("STATUS_CONFLICT", whose);
        let health = said(&hidden);
        assert!(failure.detail.contains("is hidden by what") && !failure.detail.contains(&planted), "{failure:?}");
        assert!(health.0 == "f" || s.value("select sealed from sec.gateway_keys") == "f", "{health:?}");
        house.s().run(&format!("alter {whose} reset mps.master_key_file"));
        house.s().run(&sql);
        assert_eq!(house.health(), ("t".into(), "all are sealed".into()), "{whose}");
    }
}

#[test]
fn a_dump_taken_up_elsewhere_says_what_is_missing_and_charges_on() {
    let house = House::start("");
    let till = Till::open(house.s());
    let ming = till.member("100.00");
    let file = house.cluster.secret_file("master.key", HEX.as_bytes());
    house.cluster.seal_secrets_with(&file);
    house.s().run(&set_key("wechat", SECRET, "s", SECRETS[0], ""));
    let dump = Scratch::new("dump");
    house.cluster.program("pg_dump", &["-Fc", "-f", dump.path(), "shop"]).expect("dumps");

    let elsewhere = Cluster::start();
    elsewhere.psql("postgres", "create database shop").expect("a database");
    elsewhere.psql("shop", "create role mps_owner nologin").expect("the owner");
    elsewhere.program("pg_restore", &["--exit-on-error", "-d", "shop", dump.path()]).expect("restores");
    let s = elsewhere.superuser("shop");
    assert_eq!(said(&s), ("f".into(), "wechat s: mps.master_key_file is not set".into()));
    Till { session: elsewhere.superuser("shop") }.goes_on(&ming.card);
    // With the file it is as it was; without, the secret is set anew.
    elsewhere.seal_secrets_with(&elsewhere.secret_file("master.key", HEX.as_bytes()));
    assert_eq!(said(&elsewhere.superuser("shop")).0, "t");
    elsewhere.seal_secrets_with(&elsewhere.secret_file("new.key", &[9; 32]));
    let s = elsewhere.superuser("shop");
    assert_eq!(said(&s).0, "f");
    s.run(&set_key("wechat", SECRET, "s", SECRETS[0], ""));
    assert_eq!(said(&s).0, "t");
}

#[test]
fn a_key_from_a_file_is_in_no_log() {
    let house = House::start(
        "-c log_statement=all -c log_min_duration_statement=0 -c log_min_messages=debug1 -c log_parameter_max_length=-1 \
         -c log_error_verbosity=verbose",
    );
    let s = house.s();
    let file = house.cluster.secret_file("api.key", format!("{}\n", SECRETS[0]).as_bytes());
    assert_eq!(s.value(&set_key_from_file("wechat", SECRET, "s", &file)), "t");
    assert_eq!(kept(&s, "s"), SECRETS[0], "without the line end");
    assert_eq!(s.value(&set_key_from_file("wechat", SECRET, "s", &file)), "f");
    // Refused: there, too.
    for bad in [format!("{}x", SECRETS[0]), format!("{}\n\n", SECRETS[0])] {
        let bad = house.cluster.secret_file("bad.key", bad.as_bytes());
        s.failure(&set_key_from_file("wechat", SECRET, "s", &bad)).must_be("INVALID_ARGUMENT", "its length");
    }
    s.failure(&set_key_from_file("alipay", SECRET, "s", &file)).must_be("INVALID_ARGUMENT", "the account");
    s.failure(&set_key_from_file("nobody", SECRET, "s", &file)).must_be("GATEWAY_ACCOUNT_NOT_FOUND", "nobody");
    s.run("select * from app.health(); select * from sec.security_check()");
    assert!(!house.cluster.log().contains(&SECRETS[0][..16]), "the log has a secret");
    assert!(!house.cluster.log().contains(&hex(&SECRETS[0].as_bytes()[..16])), "the log has a secret");
    assert!(house.cluster.log().contains("set_gateway_key_from_file"), "the log has statements");
    // The other way it is in the statement.
    s.run(&set_key("wechat", SECRET, "s", SECRETS[1], ""));
    assert!(house.cluster.log().contains(SECRETS[1]), "this log is the one");
}

#[test]
fn the_file_of_a_secret_must_be_one_and_others_must_be_keys() {
    let house = House::start("");
    let s = house.s();
    let of = |kind: &str, account: &str, id: &str, path: &str| s.try_rows(&set_key_from_file(account, kind, id, path));
    let good = house.cluster.secret_file("api.key", SECRETS[0].as_bytes());
    let windows = house.cluster.secret_file("windows.key", format!("{}\r\n", SECRETS[0]).as_bytes());
    let open = house.cluster.secret_file("open.key", SECRETS[0].as_bytes());
    program("chmod", &["644", &open]).expect("is everybody's");
    let data = s.value("show data_directory");
    let inside = format!("{data}/api.key");
    program("cp", &["-p", &good, &inside]).expect("a copy");
    let binary = house.cluster.secret_file("binary.key", &[0xff; 32]);
    let empty = house.cluster.secret_file("empty.key", b"");
    let large = house.cluster.secret_file("large.key", &vec![b'x'; 20_000]);
    let pipe = house.cluster.beside_the_data("pipe");
    program("mkfifo", &[&pipe]).expect("a pipe");
    house.cluster.give_to_the_server(&pipe);
    for path in [&good, &windows] {
        assert!(of(SECRET, "wechat", "s", path).is_ok(), "{path}");
        assert_eq!(kept(&s, "s"), SECRETS[0]);
    }
    for (path, why) in [
        (open.as_str(), "can be read by others"),
        (&inside, "base backup"),
        (&binary, "no text"),
        (&empty, "32 bytes"),
        (&large, "no file with a key"),
        (&pipe, "no file with a key"),
        (&data, "no file with a key"),
        ("api.key", "from the root on"),
        ("/nowhere/api.key", "cannot be looked at"),
    ] {
        let failure = of(SECRET, "wechat", "s2", path).expect_err(path);
        failure.must_be("INVALID_ARGUMENT", path);
        assert!(failure.detail.contains(why) && !failure.detail.contains(path), "{path}: {failure:?}");
    }
    // A public key may be everybody's to read, wherever it lies.
    let pem = Scratch::with("public", certificates()[0].1);
    assert!(of("wechat_public_key", "wechat", certificates()[0].0, pem.path()).is_ok());
    assert!(of("wechat_public_key", "wechat", certificates()[1].0, pem.path()).is_err(), "another serial");
    for path in [&pipe, &data, &large, &binary] {
        of("wechat_public_key", "wechat", "PUB_KEY_ID_1", path).expect_err(path).must_be("INVALID_ARGUMENT", path);
    }
    assert_eq!(ids(&s).len(), 2);
}
