//! Who becomes a member: sign-ups of Supabase, anonymous ones, and that a number is drawn only for somebody new.

use mps_tests::{Db, Session, Shop, nobody};
use std::thread;
use uuid::Uuid;

/// auth.users as Supabase has it, as far as we look at it.
const AUTH: &str = "create schema auth; create table auth.users (id uuid primary key, email text, phone text, raw_user_meta_data jsonb, \
    last_sign_in_at timestamptz, is_anonymous boolean not null default false)";
/// As it was before anonymous sign-ins.
const OLDER_AUTH: &str = "create schema auth; create table auth.users (id uuid primary key, email text, phone text, \
    raw_user_meta_data jsonb)";

fn members(s: &Session, id: Uuid) -> String {
    s.value(&format!("select count(*) from app.member_profiles where id = '{id}'"))
}

fn triggers(s: &Session) -> Vec<String> {
    s.column("select tgname from pg_trigger where tgrelid = 'auth.users'::regclass order by 1")
}

fn health(s: &Session) -> String {
    s.value("select ok || ' ' || detail from app.health() where check_name = 'signup'")
}

/// A user who is signed in without an identity.
fn anonymous(db: &Db, id: Uuid) -> Session {
    let user = db.login("authenticator");
    user.become_role("authenticated", &format!(r#"{{"role":"authenticated","sub":"{id}","is_anonymous":true}}"#));
    user
}

#[test]
fn an_anonymous_sign_up_becomes_a_member_when_it_gets_an_identity() {
    let db = Db::empty();
    let s = db.superuser();
    s.run(AUTH);
    s.run("create extension mps; select app.enable_supabase_signup()");
    assert_eq!(triggers(&s), ["mps_signup", "mps_signup_identity"]);
    assert_eq!((s.value("select app.enable_supabase_signup()"), health(&s)), ("f".into(), "true whole, or off".into()));
    let id = nobody();
    s.run(&format!("insert into auth.users (id, is_anonymous) values ('{id}', true)"));
    assert_eq!(members(&s, id), "0");
    let refusal = anonymous(&db, id).refused("NOT_ALLOWED", "select * from app.register_member('x')");
    assert!(refusal.detail.contains("anonymous"), "{refusal:?}");
    // Signing in again changes nothing about it, whatever else is written.
    s.run("update auth.users set last_sign_in_at = now()");
    s.run("update auth.users set email = 'ming@example.org', raw_user_meta_data = '{\"name\": \"小明\"}'");
    assert_eq!(members(&s, id), "0");
    s.run("update auth.users set is_anonymous = false");
    let row = s.row(&format!("select name, email, member_no from app.member_profiles where id = '{id}'"));
    assert_eq!(row.values(), ["小明", "ming@example.org", "M00000001"]);
    assert_eq!(s.value("select count(*) from app.personal_cards where status = 'active'"), "1");
    // Its token says anonymous until it is refreshed; a member stays one.
    assert_eq!(&anonymous(&db, id).row("select * from app.register_member('x')")["member_no"], "M00000001");
    // Others are registered as ever, and a change of what is no identity registers nobody.
    let other = nobody();
    s.run(&format!("insert into auth.users (id, email) values ('{other}', 'a@example.org')"));
    assert_eq!(members(&s, other), "1");
    s.run("update auth.users set is_anonymous = true; update auth.users set is_anonymous = false");
    assert_eq!(s.value("select count(*) from app.member_profiles"), "2");
}

#[test]
fn anonymous_users_become_members_at_once_where_the_settings_say_so() {
    let db = Db::empty();
    let s = db.superuser();
    s.run(AUTH);
    s.run("create extension mps; select app.enable_supabase_signup()");
    let (before, after) = (nobody(), nobody());
    s.run(&format!("insert into auth.users (id, is_anonymous) values ('{before}', true)"));
    s.run("select app.update_settings('{\"signup_anonymous\": true}')");
    s.run(&format!("insert into auth.users (id, is_anonymous) values ('{after}', true)"));
    assert_eq!((members(&s, before), members(&s, after)), ("0".into(), "1".into()));
    anonymous(&db, before).run("select * from app.register_member('x')");
    s.run("select app.update_settings('{\"signup_anonymous\": false}')");
    anonymous(&db, nobody()).refused("NOT_ALLOWED", "select * from app.register_member('x')");
    // A backend says who is a member.
    db.backend().run(&format!("select * from app.register_member('x', p_user_id => '{}')", nobody()));
}

#[test]
fn only_the_claim_itself_says_anonymous() {
    let shop = Shop::open();
    for (claim, refused) in [
        (r#""is_anonymous":true"#, true),
        (r#""is_anonymous": true, "x": 1"#, true),
        (r#""is_anonymous":false"#, false),
        (r#""is_anonymous":null"#, false),
        (r#""user_metadata":{"is_anonymous":true}"#, false),
        (r#""x":1"#, false),
    ] {
        let user = shop.db.login("authenticator");
        user.become_role("authenticated", &format!(r#"{{"role":"authenticated","sub":"{}",{claim}}}"#, nobody()));
        let sql = "select * from app.register_member('x')";
        if refused {
            user.refused("NOT_ALLOWED", sql);
        } else {
            user.run(sql);
        }
    }
}

#[test]
fn an_identity_is_never_refused_because_of_us() {
    let db = Db::empty();
    let s = db.superuser();
    s.run(AUTH);
    s.run("create extension mps; select app.enable_supabase_signup()");
    s.run(&format!("insert into auth.users (id, is_anonymous) values ('{}', true)", nobody()));
    for harm in [
        "update app.settings set schema_version = 0",
        "alter table app.settings drop column signup_anonymous",
        "drop table app.settings cascade",
    ] {
        s.run(&format!("begin; {harm}; update auth.users set is_anonymous = false"));
        assert_eq!(s.value("select count(*) from auth.users where not is_anonymous"), "1", "{harm}");
        s.run("rollback");
    }
}

#[test]
fn an_older_table_of_users_works_and_health_says_when_it_can_do_more() {
    let mut db = Db::empty();
    db.with_books();
    let s = db.superuser();
    s.run(OLDER_AUTH);
    s.run("create extension mps");
    assert_eq!(health(&s), "true whole, or off");
    s.run("select app.enable_supabase_signup()");
    assert_eq!((triggers(&s), health(&s)), (vec!["mps_signup".to_owned()], "true whole, or off".into()));
    s.run(&format!("insert into auth.users (id) values ('{}')", nobody()));
    assert_eq!(s.value("select count(*) from app.member_profiles"), "1");
    // The table is brought up: what comes is right at once, and health says what is missing for those who get an identity.
    s.run("alter table auth.users add is_anonymous boolean not null default false");
    let id = nobody();
    s.run(&format!("insert into auth.users (id, is_anonymous) values ('{id}', true)"));
    assert_eq!(members(&s, id), "0");
    assert!(health(&s).starts_with("false ") && health(&s).contains("enable_supabase_signup"), "{}", health(&s));
    assert_eq!(s.value("select app.enable_supabase_signup()"), "t");
    assert_eq!(health(&s), "true whole, or off");
    s.run("update auth.users set is_anonymous = false");
    assert_eq!(members(&s, id), "1");
}

#[test]
fn registering_again_draws_no_number() {
    let shop = Shop::open();
    let id = nobody();
    let user = shop.db.user(id);
    let register = "select * from app.register_member('x')";
    let first = user.row(register);
    let drawn =
        "select format('%s %s', m.last_value, c.last_value) from app.member_no_seq m, app.personal_card_no_seq c";
    let before = shop.superuser.value(drawn);
    for _ in 0..3 {
        assert_eq!(user.row(register), first);
        shop.backend.run(&format!("select * from app.register_member('y', p_user_id => '{id}')"));
    }
    assert_eq!(shop.superuser.value(drawn), before);
    // With a refusal, too.
    user.refused("INVALID_ARGUMENT", "select * from app.register_member('')");
    assert_eq!(shop.superuser.value(drawn), before);
    assert_eq!(shop.member("0").no, "M00000002");
}

#[test]
fn a_race_of_equal_registrations_draws_a_number_for_those_at_most_who_had_to_wait() {
    let shop = Shop::open();
    let id = nobody();
    let sql = format!("select * from app.register_member('x', p_user_id => '{id}')");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (session, sql) = (shop.db.backend(), sql.clone());
            thread::spawn(move || (0..20).map(|_| session.row(&sql)["member_no"].to_owned()).collect::<Vec<_>>())
        })
        .collect();
    let numbers: Vec<String> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    assert!(numbers.len() == 80 && numbers.iter().all(|n| *n == numbers[0]), "{numbers:?}");
    let drawn: i64 = shop.superuser.value("select last_value from app.member_no_seq").parse().unwrap();
    assert!(drawn <= 4, "{drawn} numbers for 80 calls of 4 clients");
}
