//! Dumps restored without owners or privileges, or of an old release; and the functions of before that others still use.

use mps_tests::releases::{before, installed, old_releases};
use mps_tests::{Db, Scratch, Session, program, q};

const BAD: &str = "select rule || ': ' || detail from sec.security_check() where not ok";
const WAS: &str = "mps_compat.confirm_recharge(text,numeric,text,jsonb)";
const NOTHING: [String; 0] = [];

/// One database into another, by a dump restored with these options.
fn restored(from: &Db, options: &[&str]) -> Db {
    let (to, file) = (Db::empty(), Scratch::new("restores.dump"));
    program("pg_dump", &["-Fc", "-f", file.path(), &from.name]).expect("dumps");
    let arguments = [&["--exit-on-error", "-d", &to.name, file.path()], options].concat();
    program("pg_restore", &arguments).unwrap_or_else(|e| panic!("{e}"));
    to
}

/// A database that came from before 0.3.0, with somebody's view on a function that got other arguments.
fn with_a_function_of_before() -> Option<Db> {
    let old = before("0.3.0").last()?;
    let db = installed(old);
    let s = db.superuser_with(&old.options);
    s.run("create view public.v as select * from app.confirm_recharge('CZ2611000001', 1, 'x')");
    s.run("alter extension mps update");
    Some(db)
}

fn may(s: &Session, role: &str) -> (bool, bool) {
    let ask = |sql: String| s.value(&format!("select {sql}")) == "t";
    (
        ask(format!("has_function_privilege({}, '{WAS}', 'execute')", q(role))),
        ask(format!("has_schema_privilege({}, 'mps_compat', 'usage')", q(role))),
    )
}

#[test]
fn a_level_comes_and_goes_with_the_functions_of_before() {
    let Some(db) = with_a_function_of_before() else { return };
    let s = db.superuser();
    let role = format!("{}_till", db.name);
    s.run(&format!("create role {role}"));
    assert_eq!(may(&s, &role), (false, false));
    s.run(&format!("select sec.grant_api('{role}', 'client')"));
    assert_eq!(may(&s, &role), (false, false), "nothing of it is for clients");
    s.run(&format!("select sec.grant_api('{role}', 'backend')"));
    assert_eq!(may(&s, &role), (true, true));
    // Another level that it has leaves it what it had.
    s.run(&format!("select sec.revoke_api('{role}', 'client')"));
    assert_eq!(may(&s, &role), (true, true));
    assert_eq!(s.column(BAD), NOTHING);
    // And what was had before the update goes as well.
    for role in [role.as_str(), "service_role"] {
        s.run(&format!("select sec.revoke_api('{role}', 'backend')"));
        assert_eq!(may(&s, role), (false, false));
        assert_eq!(s.column(BAD), NOTHING, "{role}");
    }
    s.run(&format!("drop role {role}"));
    s.run("select sec.grant_api('service_role', 'backend')");
    assert_eq!(may(&s, "service_role"), (true, true));
    // What else somebody granted there keeps the schema open.
    s.run("create role compat_reader; grant usage on schema mps_compat to compat_reader");
    s.run(&format!(
        "grant execute on function {WAS} to compat_reader; select sec.grant_api('compat_reader', 'client'), \
     sec.revoke_api('compat_reader', 'client')"
    ));
    assert_eq!(may(&s, "compat_reader"), (true, true));
    s.run("drop owned by compat_reader; drop role compat_reader");
}

#[test]
fn restored_without_privileges_functions_of_before_are_not_everybodys() {
    let Some(from) = with_a_function_of_before() else { return };
    for options in [&["--no-acl"][..], &["--no-acl", "--no-owner"], &["--no-owner"], &[]] {
        let db = restored(&from, options);
        let s = db.superuser();
        s.run("select app.migrate()");
        assert_eq!(s.column(BAD), NOTHING, "{options:?}");
        assert_eq!(may(&s, "stranger"), (false, false), "{options:?}");
        assert_eq!(may(&s, "service_role"), (true, true), "{options:?}");
    }
}

#[test]
fn grants_by_hand_survive_a_restore_without_owners() {
    let from = Db::new();
    let s = from.superuser();
    let (reader, newcomer) = (format!("{}_reader", from.name), format!("{}_new", from.name));
    s.run(&format!(
        "create role {reader}; create role {newcomer}; grant usage on schema app, audit to {reader}; \
         grant select on app.transactions, app.v_reconciliation, app.v_usage_logs to {reader}; grant select on app.tx_no_seq to {reader}; \
         grant select (id, action) on audit.event_log to {reader}"
    ));
    let rights = format!(
        "select c.oid::regclass || ' ' || a.privilege_type from pg_class c, aclexplode(c.relacl) a where a.grantee = '{reader}'::regrole \
         union all select t.attrelid::regclass || '.' || t.attname || ' ' || a.privilege_type from pg_attribute t, aclexplode(t.attacl) a \
         where a.grantee = '{reader}'::regrole order by 1"
    );
    let granted = s.column(&rights);
    assert_eq!(granted.len(), 6, "{granted:?}");
    for options in [&["--no-owner"][..], &[]] {
        let db = restored(&from, options);
        let s = db.superuser();
        s.run("select app.migrate()");
        assert_eq!(s.column(&rights), granted, "{options:?}");
        assert_eq!(
            s.value(
                "select count(*) from pg_class where relnamespace::regnamespace::text in ('app', 'audit', 'sec') and \
         relowner <> sec.owner()"
            ),
            "0"
        );
    }
    // Of what a migration makes, nobody gets anything by default privileges.
    for old in old_releases() {
        let db = restored(&installed(old), &["--no-owner"]);
        let s = db.superuser();
        s.run(&format!("alter default privileges grant all on tables to {newcomer}; alter default privileges grant all on sequences to \
         {newcomer}"));
        s.run("select app.migrate()");
        let given = format!(
            "select c.oid::regclass::text from pg_class c, aclexplode(c.relacl) a where a.grantee = '{newcomer}'::regrole and \
             c.relnamespace::regnamespace::text in ('app', 'audit', 'sec')"
        );
        assert_eq!(s.column(&given), NOTHING);
        assert_eq!(s.column(BAD), NOTHING);
        s.run(&format!("drop owned by {newcomer}"));
    }
    s.run(&format!("drop owned by {reader}; drop role {reader}, {newcomer}"));
}

/// What an operator may call, with an argument of its type for each.
fn operators_calls(s: &Session) -> Vec<String> {
    s.column(
        "select format('%s %s(%s)', case p.prokind when 'p' then 'call' else 'select * from' end, p.oid::regproc, \
                (select string_agg(case t.type when 'date'::regtype then '''2020-01-01''::date' when 'integer'::regtype then '1' \
                                   when 'boolean'::regtype then 'true' else 'null::' || t.type::regtype end, ', ' order by t.n) \
                 from unnest(p.proargtypes) with ordinality t (type, n))) \
         from pg_proc p where p.oid::regproc::text in (select f.func from sec.api_functions() f where f.level = 'operator') \
           and p.oid::regproc::text <> 'sec.raise' \
         union all select 'select sec.grant_api(''service_role'', ''backend'')' \
         union all select 'select sec.revoke_api(''service_role'', ''client'')' order by 1",
    )
}

#[test]
fn between_a_restore_and_its_migration_everything_says_so() {
    for old in old_releases() {
        let from = installed(old);
        for options in [&[][..], &["--no-owner"], &["--no-owner", "--no-acl"], &["-s"]] {
            let db = restored(&from, options);
            let s = db.superuser();
            let calls = operators_calls(&s);
            assert!(calls.len() > 25, "{calls:?}");
            for call in &calls {
                if let Err(e) = s.try_rows(call) {
                    // Without owners the server itself refuses what calls of MPS do as mps_owner.
                    let server = e.code == "42501" && options.contains(&"--no-owner");
                    assert!(e.code.starts_with("PT") || server, "{call} {options:?}: {e:?}");
                }
            }
            for check in ["sec.security_check()", "app.verify_books()", "audit.verify()"] {
                let failure = s.refused("SCHEMA_OUTDATED", &format!("select * from {check}"));
                assert!(options == ["-s"] || failure.detail.contains("app.migrate()"), "{failure:?}");
            }
            let health = s.column("select check_name || ' ' || ok || ' ' || detail from app.health()");
            assert!(health.len() == 1 && health[0].starts_with("schema_version false "), "{health:?}");
            assert!(options == ["-s"] || health[0].ends_with("app.migrate()"), "{health:?}");
            s.run("select app.migrate()");
            // Levels were nothing but grants.
            let found = s.column(BAD);
            let lost = old.is_before("0.3.0") && options.contains(&"--no-acl");
            assert_eq!(found.is_empty(), !lost, "{options:?}: {found:?}");
            assert_eq!(s.column("select detail from app.verify_books() where not ok"), NOTHING);
            assert_eq!(s.value("select app.get_settings() ->> 'max_pending_recharges'"), "20");
        }
    }
}

#[test]
fn without_owners_the_checks_say_so_until_it_is_migrated() {
    let from = Db::new();
    let db = restored(&from, &["--no-owner", "--no-acl"]);
    let s = db.superuser();
    for check in ["sec.security_check()", "app.verify_books()", "audit.verify()"] {
        let failure = s.refused("SCHEMA_OUTDATED", &format!("select * from {check}"));
        assert!(failure.detail.contains("without their owner"), "{failure:?}");
    }
    let health = s.column("select detail from app.health() where not ok");
    assert!(health.len() == 1 && health[0].contains("without their owner"), "{health:?}");
    s.run("select app.migrate()");
    assert_eq!(s.column(BAD), NOTHING);
    assert_eq!(s.column("select detail from app.verify_books() where not ok"), NOTHING);
}
