//! The level of gateways: who has it takes what a gateway sent, by one function, and does nothing else; nobody stands behind it. It goes
//! with its role through upgrades, dumps and DROP EXTENSION, and a schema of somebody else's is never taken for that of the level.

use mps_sender::{Callback, Payment};
use mps_tests::releases::{installed, old_releases};
use mps_tests::{Db, Failure, Member, NULL, Scratch, Session, Shop, Waiting, claims, program, q};

const NOTIFY: &str = "select mps_gateway.notify('')";
const BAD: &str = "select rule || ': ' || detail from sec.security_check() where not ok";
const NOTHING: [String; 0] = [];

/// A role that has the level, may log in, and is this database's alone.
fn proxy(db: &Db) -> String {
    let role = format!("{}_proxy", db.name);
    db.superuser().run(&format!("create role {role} login; select sec.grant_api('{role}', 'gateway')"));
    role
}

fn forget(db: &Db, role: &str) {
    db.superuser().run(&format!("drop owned by {role} cascade; drop role {role}"));
}

/// Everything of MPS that a role may do, whatever gave it the right.
fn rights(s: &Session, role: &str) -> Vec<String> {
    let spaces = "('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway')";
    s.sorted(&format!(
        "select p || ' schema ' || n.nspname from pg_namespace n, unnest(array['usage', 'create']) p \
         where n.nspname in {spaces} and has_schema_privilege({role}, n.oid, p) \
         union all select 'execute ' || p.oid::regprocedure from pg_proc p \
         where p.pronamespace::regnamespace::text in {spaces} and has_function_privilege({role}, p.oid, 'execute') \
         union all select 'usage ' || t.oid::regtype from pg_type t \
         where t.typnamespace::regnamespace::text in {spaces} and t.typtype = 'd' and has_type_privilege({role}, t.oid, 'usage') \
         union all select p || ' ' || c.oid::regclass || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid, \
             unnest(array['select', 'insert', 'update', 'references']) p \
         where c.relnamespace::regnamespace::text in {spaces} and c.relkind in ('r', 'p', 'v') and a.attnum > 0 and not a.attisdropped \
           and has_column_privilege({role}, c.oid, a.attnum, p) \
         union all select p || ' ' || c.oid::regclass from pg_class c, unnest(array['delete', 'truncate', 'trigger']) p \
         where c.relnamespace::regnamespace::text in {spaces} and c.relkind in ('r', 'p', 'v') and has_table_privilege({role}, c.oid, p) \
         union all select 'sequence ' || c.oid::regclass from pg_class c where c.relnamespace::regnamespace::text in {spaces} \
           and case when c.relkind = 'S' then has_sequence_privilege({role}, c.oid, 'usage, select, update') end",
        role = q(role)
    ))
}

/// What the level gives, all of it.
const LEVEL: [&str; 5] = [
    "execute mps_gateway.notify(bytea)",
    "execute sec.level_gateway()",
    "select sec.level_holders.gateway",
    "usage mps_gateway.\"*/*\"",
    "usage schema mps_gateway",
];

fn is_let_in(failure: &Failure) -> bool {
    failure.message == "GATEWAY_ACCOUNT_NOT_FOUND" && failure.code == "PT404"
}

fn is_turned_away(failure: &Failure) -> bool {
    failure.message == "NOT_ALLOWED" && failure.detail == "for the gateway level only"
}

#[test]
fn who_has_it_may_call_one_function_and_nothing_else() {
    let db = Db::new();
    let s = db.superuser();
    let role = proxy(&db);
    assert_eq!(rights(&s, &role), LEVEL);
    assert_eq!(s.column(BAD), NOTHING);
    let session = db.login(&role);
    assert!(is_let_in(&session.failure(NOTIFY)));
    for sql in [
        "select app.get_settings()",
        "select * from app.register_member('x')",
        "select * from app.error_codes",
        "select * from app.transactions",
        "select sec.uid()",
        "select sec.level_gateway()",
        "select gateway from sec.level_holders",
        "select * from audit.event_log",
        "select sec.grant_api(current_user, 'backend')",
        "create table mps_gateway.mine ()",
    ] {
        session.denied(sql);
    }
    // Nobody else has any of it, and what another level of the role gives is its own.
    for other in ["anon", "stranger", "authenticated", "app_role", "service_role"] {
        s.run(&format!("set role {other}"));
        s.denied(NOTIFY);
        s.denied("select ''::mps_gateway.\"*/*\"");
        s.run("reset role");
    }
    s.run(&format!("select sec.grant_api('{role}', 'client'), sec.revoke_api('{role}', 'client')"));
    assert_eq!(rights(&s, &role), LEVEL);
    s.run(&format!("select sec.grant_api('{role}', 'operator'), sec.revoke_api('{role}', 'gateway')"));
    assert!(!rights(&s, &role).iter().any(|r| r.contains("gateway")));
    s.run(&format!("select sec.revoke_api('{role}', 'operator')"));
    assert_eq!(rights(&s, &role), NOTHING);
    session.denied(NOTIFY);
    s.run(&format!("drop role {role}"));
    for (level, given) in [("client", "NOT_ALLOWED"), ("gateway", "NOT_ALLOWED"), ("proxy", "INVALID_ARGUMENT")] {
        s.refused(given, &format!("select sec.grant_api('anon', '{level}')"));
    }
}

#[test]
fn nobody_stands_behind_what_belongs_to_who_has_it() {
    let db = Db::new();
    let s = db.superuser();
    let role = proxy(&db);
    s.run("create schema stage; grant usage on schema stage to public; select sec.grant_api('stranger', 'operator')");
    for owner in [&role, "postgres", "service_role"] {
        s.run(&format!(
            "create function stage.of_{owner}() returns bytea language sql security definer begin atomic select mps_gateway.notify(''); end; \
             alter function stage.of_{owner}() owner to {owner}; \
             create table stage.t_{owner} (v integer); grant insert on stage.t_{owner} to public; alter table stage.t_{owner} owner to {owner}; \
             create function stage.fires_{owner}() returns trigger language plpgsql security definer \
                 as 'begin perform mps_gateway.notify(''''); return new; end'; \
             alter function stage.fires_{owner}() owner to {owner}; \
             create trigger fires before insert on stage.t_{owner} execute function stage.fires_{owner}(); \
             create view stage.v_{owner} as select stage.of_{owner}(); \
             alter view stage.v_{owner} owner to {owner}; grant select on stage.v_{owner} to public"
        ));
        for caller in ["anon", "app_role", "authenticated", "service_role", "stranger"] {
            s.run(&format!("set role {caller}"));
            for sql in [
                format!("select stage.of_{owner}()"),
                format!("select * from stage.v_{owner}"),
                format!("insert into stage.t_{owner} values (1)"),
            ] {
                let failure = s.failure(&sql);
                if owner == "service_role" {
                    assert_eq!(failure.code, "42501", "{caller}: {sql}: {failure:?}");
                } else {
                    assert!(is_turned_away(&failure), "{caller}: {sql}: {failure:?}");
                }
            }
            s.run("reset role");
        }
    }
    // A superuser may anyhow, and who has the level gains nothing by the code of others: the server asks whose code calls.
    assert!(is_let_in(&s.failure(NOTIFY)));
    assert!(is_let_in(&s.failure(&format!("select stage.of_{role}()"))));
    let session = db.login(&role);
    assert!(is_let_in(&session.failure("select stage.of_postgres()")));
    assert_eq!(session.failure("select stage.of_service_role()").code, "42501");
    // What maintenance evaluates has nobody behind it, whoever runs it.
    s.run(&format!(
        "create function stage.quiet(integer) returns integer language plpgsql immutable as 'begin return $1; end'; \
         create index quiet on stage.t_{role} (stage.quiet(v)); alter table stage.t_{role} disable trigger fires; \
         insert into stage.t_{role} values (1), (2); \
         create or replace function stage.quiet(integer) returns integer language plpgsql immutable \
             as 'begin perform mps_gateway.notify(''''); return $1; end'"
    ));
    for maintenance in [format!("analyze stage.t_{role}"), "reindex index stage.quiet".to_owned()] {
        let failure = s.failure(&maintenance);
        assert!(
            failure.message == "NOT_ALLOWED" && failure.detail.contains("maintenance"),
            "{maintenance}: {failure:?}"
        );
    }
    s.run("drop schema stage cascade; select sec.revoke_api('stranger', 'operator')");
    forget(&db, &role);
}

#[test]
fn without_the_headers_of_a_proxy_there_is_no_account() {
    let db = Db::new();
    let role = proxy(&db);
    let s = db.login(&role);
    let long =
        format!("{{\"x-mps-gateway\": \"wechat\", \"x-mps-account\": \"nobody\", \"x\": \"{}\"}}", "x".repeat(65_536));
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    for headers in [
        "",
        "{}",
        "null",
        "[]",
        "17",
        "wechat",
        "{\"x-mps-gateway\": \"wechat\"",
        "[\"x-mps-gateway\", \"wechat\", \"x-mps-account\", \"nobody\"]",
        "{\"x-mps-gateway\": \"wechat\"}",
        "{\"x-mps-account\": \"nobody\"}",
        "{\"x-mps-gateway\": \"paypal\", \"x-mps-account\": \"nobody\"}",
        "{\"x-mps-gateway\": [\"wechat\"], \"x-mps-account\": \"nobody\"}",
        "{\"x-mps-gateway\": \"wechat\", \"x-mps-account\": {}}",
        "{\"X-Mps-Gateway\": \"wechat\", \"X-Mps-Account\": \"none\"}",
        "{\"x-mps-gateway\": \"wechat\", \"x-mps-account\": \"nobody\"}",
        "{\"x-mps-gateway\": \"wechat\", \"x-mps-account\": \"\\u0000\"}",
        "{\"x-mps-gateway\": \"wechat\", \"x-mps-account\": \"\\ud800\"}",
        &long,
        &deep,
    ] {
        s.run(&format!("select set_config('request.headers', {}, false)", q(headers)));
        for body in ["''", "null", "'\\x00ff'", "decode(repeat('00', 200000), 'hex')"] {
            let failure = s.failure(&format!("select mps_gateway.notify({body})"));
            let shown = &headers[..headers.len().min(80)];
            assert!(is_let_in(&failure), "{shown}, {body}: {failure:?}");
        }
    }
    // The longest that are read, and a byte more.
    for (bytes, are_read) in [(65_536, true), (65_537, false)] {
        let headers = r#"{"x-mps-gateway": "wechat", "x-mps-account": "nobody", "x": "*"}"#;
        let headers = headers.replace('*', &"x".repeat(bytes + 1 - headers.len()));
        s.run(&format!("select set_config('request.headers', {}, false)", q(headers)));
        let failure = s.failure(NOTIFY);
        assert_eq!(!failure.detail.contains("X-Mps-Gateway"), are_read, "{bytes}: {failure:?}");
    }
    forget(&db, &role);
}

#[test]
fn it_goes_with_its_role_through_dumps_and_drop_extension() {
    let db = Db::new();
    let s = db.superuser();
    let role = proxy(&db);
    for step in [
        "drop extension mps cascade; create extension mps",
        "select app.migrate()",
        "select sec.settle_functions(); select sec.migrate_tables(); select sec.disown_data()",
    ] {
        s.run(step);
        assert_eq!(rights(&s, &role), LEVEL, "{step}");
        assert_eq!(s.column(BAD), NOTHING, "{step}");
    }
    s.run(&format!("alter role {role} rename to {role}_renamed"));
    let role = format!("{role}_renamed");
    s.run("select app.migrate()");
    assert_eq!(rights(&s, &role), LEVEL);
    let file = Scratch::new("gateway_level.dump");
    program("pg_dump", &["-Fc", "-f", file.path(), &db.name]).expect("dumps");
    for options in [&[][..], &["--no-owner"], &["--no-acl"], &["--no-acl", "--no-owner"]] {
        let copy = Db::empty();
        let arguments = [&["--exit-on-error", "-d", &copy.name, file.path()], options].concat();
        program("pg_restore", &arguments).unwrap_or_else(|e| panic!("{e}"));
        let c = copy.superuser();
        if options.contains(&"--no-acl") {
            // Nothing but a note of it has come along: nobody has it yet.
            assert_eq!(rights(&c, &role), NOTHING, "{options:?}");
            assert_eq!(rights(&c, "stranger"), NOTHING, "{options:?}");
        }
        if !options.is_empty() {
            c.run("select app.migrate()");
        }
        assert_eq!(rights(&c, &role), LEVEL, "{options:?}");
        assert_eq!(rights(&c, "stranger"), NOTHING, "{options:?}");
        assert_eq!(c.column(BAD), NOTHING, "{options:?}");
        assert!(is_let_in(&copy.login(&role).failure(NOTIFY)), "{options:?}");
        c.run("drop extension mps cascade");
        assert_eq!(rights(&c, &role).iter().filter(|r| r.contains("gateway")).count(), 2, "the column and the schema");
        c.run("create extension mps");
        assert_eq!(rights(&c, &role), LEVEL, "{options:?}");
        drop(c);
    }
    forget(&db, &role);
}

#[test]
fn it_comes_with_an_upgrade_from_every_release() {
    for old in old_releases() {
        let db = installed(old);
        let s = db.superuser_with(&old.options);
        s.run("create schema mps_gateway");
        let failure = s.failure("alter extension mps update");
        assert!(failure.message.contains("the schema mps_gateway is there and not of mps"), "{failure:?}");
        assert!(failure.hint.contains("Rename or drop it"), "{failure:?}");
        s.run("alter schema mps_gateway rename to theirs; alter default privileges grant all on types to stranger");
        s.run("alter default privileges grant all on schemas to stranger; alter extension mps update");
        s.run("alter default privileges revoke all on types from stranger; alter default privileges revoke all on schemas from stranger");
        assert_eq!(rights(&s, "stranger"), NOTHING, "from {}", old.version);
        let role = proxy(&db);
        assert_eq!(rights(&s, &role), LEVEL, "from {}", old.version);
        assert_eq!(s.column(BAD), NOTHING, "from {}", old.version);
        s.run("drop schema theirs");
        forget(&db, &role);
    }
}

#[test]
fn a_strangers_schema_stops_the_installation_and_what_is_in_ours_the_removal() {
    let db = Db::empty();
    let s = db.superuser();
    for how in ["authorization stranger", ""] {
        s.run(&format!("create schema mps_gateway {how}"));
        let failure = s.failure("create extension mps");
        assert!(failure.message.contains("the schema mps_gateway is there and not of mps"), "{how}: {failure:?}");
        assert!(failure.hint.contains("Rename or drop it"), "{how}: {failure:?}");
        assert_eq!(s.value("select count(*) from pg_namespace where nspname in ('app', 'audit', 'sec')"), "0");
        s.run("drop schema mps_gateway");
    }
    s.run("create extension mps; create view mps_gateway.theirs as select 1");
    let said = s.failure("select sec.destroy_everything('?')").detail;
    let sentence = said.split("p_confirm has to be: ").nth(1).expect("the sentence");
    let destroy = format!("select statement from sec.destroy_everything({})", q(sentence));
    let failure = s.failure(&destroy);
    assert!(failure.message == "STATUS_CONFLICT" && failure.detail.contains("view mps_gateway.theirs"), "{failure:?}");
    assert!(s.column(BAD).iter().any(|b| b.contains("mps_gateway.theirs")), "{:?}", s.column(BAD));
    s.run("drop view mps_gateway.theirs");
    for statement in s.column(&destroy) {
        if !statement.contains("mps_owner") {
            s.run(&statement);
        }
    }
    assert_eq!(s.value("select count(*) from pg_namespace where nspname ~ '^(app|audit|sec|mps_.*)$'"), "0");
    s.run("create extension mps");
}

#[test]
fn a_proxy_that_can_do_more_is_found() {
    let db = Db::new();
    let s = db.superuser();
    let role = proxy(&db);
    for (more, less, finding) in [
        (
            "grant service_role to {r}",
            "revoke service_role from {r}",
            "inherits from a backend or operator role: {r} from service_role",
        ),
        ("alter role {r} replication", "alter role {r} noreplication", "cannot read past it: {r} has REPLICATION"),
        (
            "grant usage on schema app to {r}",
            "revoke usage on schema app from {r}",
            "levels of the API: schema app: USAGE to {r}",
        ),
        (
            "grant select on app.settings to {r}",
            "revoke select on app.settings from {r}",
            "columns of the API: app.settings to {r}",
        ),
        (
            "grant usage on type mps_gateway.\"*/*\" to stranger",
            "revoke usage on type mps_gateway.\"*/*\" from stranger",
            "levels of the API: type mps_gateway.\"*/*\": USAGE to stranger",
        ),
        (
            "revoke usage on schema mps_gateway from {r}",
            "grant usage on schema mps_gateway to {r}",
            "have all their rights: {r} lacks USAGE schema mps_gateway",
        ),
        (
            "alter domain mps_gateway.\"*/*\" owner to stranger",
            "alter domain mps_gateway.\"*/*\" owner to mps_owner",
            "belongs to mps_owner: type mps_gateway.*/*",
        ),
    ] {
        let [more, less, finding] = [more, less, finding].map(|text| text.replace("{r}", &role));
        s.run(&more);
        let bad = s.column(BAD);
        assert!(bad.iter().any(|b| b.contains(&finding)), "{more}: {bad:?}");
        s.run(&less);
        assert_eq!(s.column(BAD), NOTHING, "{less}");
    }
    forget(&db, &role);
}

/// The notice that a recharge was paid, with the headers that a proxy sends along.
fn paid(tx_no: &str, fen: i64) -> Callback {
    let mut callback = Payment { order: tx_no, trade: "4200000000202611260000000001", fen, state: "SUCCESS" }.sent();
    let headers = callback.headers.as_object_mut().expect("an object");
    headers.insert("x-mps-gateway".into(), "wechat".into());
    headers.insert("x-mps-account".into(), "wechat".into());
    callback
}

fn notify(callback: &Callback) -> String {
    format!("select mps_gateway.notify(decode('{}', 'hex'))", hex(&callback.body))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A session of the proxy's role, in which PostgREST has said what the headers are, and somebody who the user is.
fn knocking(shop: &Shop, role: &str, callback: &Callback, member: &Member) -> Session {
    let session = shop.db.login(role);
    session.run(&format!(
        "select set_config('request.headers', {}, false), set_config('request.jwt.claims', {}, false)",
        q(&callback.headers),
        q(claims("service_role", Some(member.id)))
    ));
    session
}

#[test]
fn what_comes_in_is_credited_and_postgrest_told_how_to_answer() {
    let shop = Shop::open();
    shop.superuser.run(&mps_sender::set_up());
    let role = proxy(&shop.db);
    let ming = shop.member("0");
    let callback = paid(&shop.pending(&ming, "12.34"), 1234);
    let session = knocking(&shop, &role, &callback, &ming);
    let told = "select current_setting('response.status', true) || ' ' || current_setting('response.headers', true)";
    for _ in 0..2 {
        session.run("begin");
        assert_eq!(session.value(&notify(&callback)), "\\x");
        assert_eq!(session.value(told), "204 []");
        session.run("commit");
        assert_eq!(session.value(told).trim(), "", "it is of this answer alone");
        assert_eq!(shop.balance(&ming.card), "12.34");
    }
    // No person has done that, whatever the claims say.
    let event = shop.superuser.row("select actor_role, actor_user_id from audit.event_log order by id desc limit 1");
    assert_eq!((&event["actor_role"], &event["actor_user_id"]), (role.as_str(), NULL));
    session.run("begin");
    let refused = session.value("select convert_from(mps_gateway.notify('{}'), 'UTF8')");
    assert!(refused.starts_with(r#"{"code":"FAIL","message":""#), "{refused}");
    assert_eq!(session.value(told), r#"401 [{"Content-Type": "application/json"}]"#);
    session.run("commit");
    let kept =
        shop.superuser.column("select outcome || ' ' || coalesce(reason, '') from app.gateway_events order by id");
    assert_eq!(kept, ["credited ", "refused signature_wrong"]);
    forget(&shop.db, &role);
}

#[test]
fn who_loses_the_level_while_it_waits_credits_nothing() {
    let shop = Shop::open();
    shop.superuser.run(&mps_sender::set_up());
    let role = proxy(&shop.db);
    let ming = shop.member("0");
    let callback = paid(&shop.pending(&ming, "12.34"), 1234);
    let holder = shop.db.superuser();
    holder.run(&format!("begin; select from app.personal_cards where id = '{}' for update", ming.card));
    let waiting =
        Waiting::behind(knocking(&shop, &role, &callback, &ming), &holder, &shop.superuser, notify(&callback));
    shop.superuser.run(&format!("select sec.revoke_api('{role}', 'gateway')"));
    holder.run("commit");
    let failure = waiting.end().expect_err("it has no level any more");
    assert!(failure.message == "NOT_ALLOWED" && failure.detail.contains("taken away while"), "{failure:?}");
    assert_eq!(shop.balance(&ming.card), "0.00");
    shop.superuser.run(&format!("select sec.grant_api('{role}', 'gateway')"));
    assert_eq!(knocking(&shop, &role, &callback, &ming).value(&notify(&callback)), "\\x");
    assert_eq!(shop.balance(&ming.card), "12.34");
    forget(&shop.db, &role);
}
