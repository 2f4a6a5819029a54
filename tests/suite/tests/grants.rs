//! Who has which level: it goes with the role and not with its name, through upgrades, dumps and DROP EXTENSION; what was
//! taken back stays taken back; every change of it is in the audit log.

use mps_tests::{Cluster, Db, Scratch, Session, program, q};
use std::thread;

/// What the upgrade script ends with.
const UPGRADE: &str = "select sec.settle_functions(); select sec.migrate_tables(); select sec.disown_data()";
const AGAIN: &str = "drop extension mps cascade; create extension mps";
const MIGRATE: &str = "select app.migrate()";

/// The levels that a role has in effect.
fn levels(s: &Session, role: &str) -> String {
    let levels = [
        ("client", "sec.level_client()"),
        ("backend", "sec.level_backend()"),
        ("operator", "sec.level_operator()"),
        ("signup", "app.enable_supabase_signup()"),
        ("gateway", "sec.level_gateway()"),
    ];
    let has = |marker| s.value(&format!("select has_function_privilege({}, '{marker}', 'execute')", q(role))) == "t";
    levels.iter().filter(|(_, m)| has(m)).map(|(l, _)| *l).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn all_is_well(s: &Session) {
    assert_eq!(findings(s), [] as [String; 0]);
}

fn findings(s: &Session) -> Vec<String> {
    s.column("select rule || ': ' || detail from sec.security_check() where not ok")
}

fn events(s: &Session) -> Vec<String> {
    s.column(
        "select concat_ws(' ', actor_role, action, object_type, object_id, context ->> 'level') from audit.event_log \
         where action in ('level.granted', 'level.revoked') order by id",
    )
}

/// Roles are the server's: named after the database, and gone with this.
struct Roles {
    prefix: String,
    names: &'static [&'static str],
}

impl Roles {
    fn new(db: &Db, names: &'static [&'static str]) -> Roles {
        Roles { prefix: db.name.clone(), names }
    }

    fn of(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        for name in self.names {
            // The databases that used it have gone, or it was not made.
            let _ =
                program("psql", &["-Xq", "-d", "postgres", "-c", &format!("drop role if exists {}", self.of(name))]);
        }
    }
}

#[test]
fn a_renamed_role_keeps_its_level_and_its_namesake_gets_none() {
    let names = &["clerk", "server", "former"];
    let (db, _roles);
    db = Db::new();
    _roles = Roles::new(&db, names);
    let role = |name| _roles.of(name);
    let (clerk, server, former) = (role("clerk"), role("server"), role("former"));
    let s = db.superuser();
    s.run(&format!("create role {clerk}; select sec.grant_api('{clerk}', 'backend')"));
    s.run(&format!("alter role {clerk} rename to {server}; create role {clerk}"));
    for step in ["select 1", MIGRATE, UPGRADE, AGAIN, MIGRATE, "call app.maintain_partitions()"] {
        s.run(step);
        assert_eq!((levels(&s, &server), levels(&s, &clerk)), ("client backend".into(), String::new()), "after {step}");
        all_is_well(&s);
    }
    // Two that swap their names: each goes on with what it has.
    s.run(&format!("select sec.grant_api('{clerk}', 'operator')"));
    s.run(&format!("alter role {clerk} rename to {former}; alter role {server} rename to {clerk}"));
    s.run(&format!("alter role {former} rename to {server}"));
    for step in ["select 1", MIGRATE, UPGRADE, AGAIN, "call app.maintain_partitions()"] {
        s.run(step);
        assert_eq!((levels(&s, &server), levels(&s, &clerk)), ("operator".into(), "client backend".into()), "{step}");
        all_is_well(&s);
    }
    let noted = s.column(&format!(
        "select role_name || ' ' || level from sec.api_grants where role_name in ('{clerk}', '{server}') order by 1"
    ));
    assert_eq!(noted, [format!("{clerk} backend"), format!("{server} operator")]);
    s.run(&format!("select sec.revoke_api('{clerk}', 'backend'), sec.revoke_api('{server}', 'operator')"));
    assert_eq!((levels(&s, &server), levels(&s, &clerk)), (String::new(), String::new()));
}

#[test]
fn a_dropped_role_leaves_nothing_to_a_namesake_and_is_shown() {
    let db = Db::new();
    let roles = Roles::new(&db, &["server"]);
    let server = roles.of("server");
    let s = db.superuser();
    s.run(&format!("create role {server}; select sec.grant_api('{server}', 'backend')"));
    assert_eq!(s.failure(&format!("drop role {server}")).code, "2BP01");
    // Not while the extension is away, either.
    s.run("drop extension mps cascade");
    assert_eq!(s.failure(&format!("drop role {server}")).code, "2BP01");
    s.run(&format!("create extension mps; drop owned by {server}; drop role {server}"));
    let shown = format!("remembered grants belong to roles that exist: {server} (backend): ");
    let one = findings(&s);
    assert!(one.len() == 1 && one[0].starts_with(&shown), "{one:?}");
    s.run(&format!("create role {server}"));
    for step in [MIGRATE, UPGRADE, AGAIN, MIGRATE, "call app.maintain_partitions()"] {
        s.run(step);
        assert_eq!(levels(&s, &server), "", "after {step}");
        let one = findings(&s);
        assert!(one.len() == 1 && one[0].starts_with(&shown), "after {step}: {one:?}");
    }
    s.run(&format!("select sec.revoke_api('{server}', 'backend')"));
    all_is_well(&s);
    // Rights that were taken back all at once do not come back, though the role is there.
    s.run(&format!("select sec.grant_api('{server}', 'operator'); drop owned by {server}"));
    for step in [MIGRATE, UPGRADE, AGAIN] {
        s.run(step);
        assert_eq!(levels(&s, &server), "", "after {step}");
    }
    // Granted anew, it is remembered anew.
    s.run(&format!("select sec.grant_api('{server}', 'operator')"));
    all_is_well(&s);
}

/// A server of its own with a database `shop` in which roles were renamed, dropped and followed by namesakes.
fn a_server_with_a_history() -> Cluster {
    let server = Cluster::start();
    let run = |sql: &str| server.psql("shop", sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    server
        .psql("postgres", "create role authenticated; create role service_role; create role clerk; create role night")
        .unwrap();
    server.psql("postgres", "create role gone; create role odd").unwrap();
    database(&server, "shop");
    run("create extension mps");
    run(
        "select sec.grant_api('clerk', 'client'), sec.grant_api('gone', 'backend'), sec.grant_api('night', 'operator')",
    );
    run(
        "select sec.revoke_api('service_role', 'backend'), sec.grant_api('odd', 'client'), sec.grant_api('odd', 'backend')",
    );
    run("drop owned by gone; drop role gone; create role gone");
    run(r#"alter role clerk rename to "Clerk, 2"; create role clerk; alter role odd rename to "123456""#);
    server
}

/// What the roles of that server have, wherever its database is.
#[track_caller]
fn as_in_history(s: &Session) {
    for (role, has) in [
        ("authenticated", "client"),
        ("service_role", ""),
        ("Clerk, 2", "client"),
        ("clerk", ""),
        ("night", "operator"),
        ("gone", ""),
        ("123456", "client backend"),
    ] {
        assert_eq!(levels(s, role), has, "{role}");
    }
}

fn database(server: &Cluster, name: &str) -> Session {
    server.psql("postgres", &format!("create database {name} template template0 encoding 'UTF8'")).expect("made");
    server.superuser(name)
}

fn dumped(server: &Cluster, arguments: &[&str]) -> Scratch {
    let dump = Scratch::new("grants");
    server.program("pg_dump", &[arguments, &["-f", dump.path(), "shop"]].concat()).expect("dumps");
    dump
}

/// The roles of one server in another, where their oids are others': the first is that of a role that has nothing.
fn with_other_oids(source: &Cluster) -> Cluster {
    let target = Cluster::start();
    for n in 0..4 {
        target.psql("postgres", &format!("create role nobody_{n}")).unwrap();
    }
    let roles = Scratch::new("roles");
    source.program("pg_dumpall", &["--globals-only", "-f", roles.path()]).expect("dumps the roles");
    // The superuser is there already: that one statement fails.
    let _ = target.program("psql", &["-Xq", "-d", "postgres", "-f", roles.path()]);
    target
}

#[test]
fn a_dump_carries_levels_to_a_server_where_roles_have_other_oids() {
    let source = a_server_with_a_history();
    as_in_history(&source.superuser("shop"));
    let target = with_other_oids(&source);
    for format in ["-Fc", "-Fp"] {
        let name = if format == "-Fc" { "custom" } else { "plain" };
        let s = database(&target, name);
        let dump = dumped(&source, &[format]);
        let done = match format {
            "-Fc" => target.program("pg_restore", &["--exit-on-error", "-d", name, dump.path()]),
            _ => target.program("psql", &["-Xq", "-v", "ON_ERROR_STOP=1", "-d", name, "-f", dump.path()]),
        };
        done.unwrap_or_else(|e| panic!("{e}"));
        let other = "select count(*) > 0 from sec.api_grants g join pg_roles r on r.oid = g.role_oid where r.rolname <> g.role_name";
        assert_eq!(s.value(other), "t", "the oids of this test are to mean other roles there");
        as_in_history(&s);
        for step in [MIGRATE, UPGRADE, AGAIN, "call app.maintain_partitions()"] {
            s.run(step);
            as_in_history(&s);
        }
        for n in 0..4 {
            assert_eq!(levels(&s, &format!("nobody_{n}")), "");
        }
        // By the time of the dump nobody had noted the new names: what they were is shown, and forgotten by hand.
        for (name, level) in [("gone", "backend"), ("clerk", "client"), ("odd", "client"), ("odd", "backend")] {
            s.run(&format!("select sec.revoke_api('{name}', '{level}')"));
        }
        all_is_well(&s);
    }
}

#[test]
fn without_privileges_a_dump_restores_levels_by_role_here_and_by_its_noted_name_elsewhere() {
    let source = a_server_with_a_history();
    // In the same server a note says which role, though nobody noted the new name before the dump.
    let dump = dumped(&source, &["-Fc"]);
    let restore = |server: &Cluster, name: &str, dump: &Scratch, more: &[&str]| {
        let s = database(server, name);
        let bare = [&["--exit-on-error", "--no-acl", "-d", name, dump.path()], more].concat();
        server.program("pg_restore", &bare).unwrap_or_else(|e| panic!("{e}"));
        s
    };
    let s = restore(&source, "beside", &dump, &[]);
    let found = findings(&s).join("\n");
    assert!(found.contains("night (operator): restored without privileges: app.migrate()"), "{found}");
    s.run(MIGRATE);
    as_in_history(&s);
    all_is_well(&s);
    let s = restore(&source, "unowned", &dump, &["--no-owner"]);
    s.run(MIGRATE);
    as_in_history(&s);
    all_is_well(&s);
    // Elsewhere only names came along. The daily job notes them.
    source.psql("shop", "call app.maintain_partitions()").expect("runs");
    let dump = dumped(&source, &["-Fc"]);
    let target = with_other_oids(&source);
    let s = restore(&target, "shop", &dump, &[]);
    s.run(MIGRATE);
    as_in_history(&s);
    for n in 0..4 {
        assert_eq!(levels(&s, &format!("nobody_{n}")), "");
    }
    // Who is not there gets nothing later, by whatever name.
    let bare = Cluster::start();
    bare.psql("postgres", "create role night").unwrap();
    let s = restore(&bare, "shop", &dump, &["--no-owner"]);
    let said = bare.notices("shop", MIGRATE);
    assert!(said.contains("123456 had backend level") && !said.contains("gone had"), "{said}");
    assert_eq!(levels(&s, "night"), "operator");
    s.run(&format!("create role authenticated; {MIGRATE}; {UPGRADE}; {AGAIN}"));
    assert_eq!(levels(&s, "authenticated"), "");
    all_is_well(&s);
}

#[test]
fn the_schema_alone_brings_the_levels_and_the_data_alone_gives_none() {
    let source = a_server_with_a_history();
    let s = database(&source, "training");
    let dump = dumped(&source, &["-s", "-Fc"]);
    source.program("pg_restore", &["--exit-on-error", "-d", "training", dump.path()]).unwrap_or_else(|e| panic!("{e}"));
    as_in_history(&s);
    s.run(MIGRATE);
    as_in_history(&s);
    all_is_well(&s);

    let s = database(&source, "rows");
    s.run("create extension mps");
    let dump = dumped(&source, &["-a", "-Fc", "-t", "sec.api_grants"]);
    s.run("delete from sec.api_grants");
    source.program("pg_restore", &["--exit-on-error", "-d", "rows", dump.path()]).unwrap_or_else(|e| panic!("{e}"));
    for step in [MIGRATE, UPGRADE, AGAIN] {
        s.run(step);
        for (role, has) in
            [("authenticated", "client"), ("service_role", "client backend"), ("night", ""), ("gone", "")]
        {
            assert_eq!(levels(&s, role), has, "{role} after {step}");
        }
    }
}

#[test]
fn pg_upgrade_and_a_copied_database_keep_levels() {
    let source = a_server_with_a_history();
    source.psql("postgres", "create database copy template shop").expect("copies");
    let s = source.superuser("copy");
    s.run(MIGRATE);
    as_in_history(&s);
    drop(s);
    let new = source.upgraded();
    for name in ["shop", "copy"] {
        let s = new.superuser(name);
        as_in_history(&s);
        s.run(&format!("{MIGRATE}; {UPGRADE}; {AGAIN}"));
        as_in_history(&s);
    }
}

#[test]
fn what_was_taken_back_does_not_come_back() {
    let db = Db::new();
    let s = db.superuser();
    s.run("select sec.revoke_api('service_role', 'backend'), sec.revoke_api('authenticated', 'client')");
    let nothing = |s: &Session, after: &str| {
        for role in ["service_role", "authenticated"] {
            assert_eq!(levels(s, role), "", "{role} after {after}");
            assert_eq!(s.value(&format!("select has_schema_privilege('{role}', 'app', 'usage')")), "f", "{role}");
        }
        all_is_well(s);
    };
    for step in ["select 1", MIGRATE, UPGRADE, AGAIN, MIGRATE] {
        s.run(step);
        nothing(&s, step);
    }
    let dump = Scratch::new("revoked");
    program("pg_dump", &["-Fc", "-f", dump.path(), &db.name]).expect("dumps");
    for more in [&[][..], &["--no-acl"], &["--no-acl", "--no-owner"]] {
        let copy = Db::empty();
        let arguments = [&["--exit-on-error", "-d", &copy.name, dump.path()], more].concat();
        program("pg_restore", &arguments).unwrap_or_else(|e| panic!("{e}"));
        let s = copy.superuser();
        for role in ["service_role", "authenticated"] {
            assert_eq!(levels(&s, role), "", "{role} {more:?}");
        }
        s.run(MIGRATE);
        nothing(&s, "a restore");
    }
}

#[test]
fn supabases_roles_get_their_levels_at_the_very_first_installation() {
    let _roles = Db::new();
    let db = Db::empty();
    let s = db.superuser();
    s.run(
        "create schema auth; create table auth.users (id uuid primary key); alter table auth.users owner to stranger",
    );
    s.run("create extension mps");
    let now =
        |s: &Session| ["authenticated", "service_role", "stranger", "anon", "app_role"].map(|role| levels(s, role));
    let defaults = ["client", "client backend", "signup", "", ""];
    assert_eq!(now(&s), defaults);
    assert_eq!(
        events(&s),
        [
            "postgres level.granted role authenticated client",
            "postgres level.granted role service_role backend",
            "postgres level.granted role stranger signup"
        ]
    );
    s.run("select sec.revoke_api('stranger', 'signup')");
    s.run(AGAIN);
    assert_eq!(now(&s), ["client", "client backend", "", "", ""]);
    // A role of that name that is made when mps is there is nobody in particular.
    let later = Cluster::start();
    later.psql("postgres", "create extension mps; create role service_role").expect("installs");
    later.psql("postgres", AGAIN).expect("installs again");
    let s = later.superuser("postgres");
    s.run(MIGRATE);
    assert_eq!(levels(&s, "service_role"), "");
    // Destroyed and made again is a first installation.
    let sentence = s.failure("select * from sec.destroy_everything('')").detail;
    let sentence = sentence.split("p_confirm has to be: ").nth(1).expect("a sentence");
    s.run(&format!("select * from sec.destroy_everything({})", q(sentence)));
    s.run("drop extension mps; create extension mps");
    assert_eq!(levels(&s, "service_role"), "client backend");
}

#[test]
fn a_restore_grants_nothing_that_the_dump_does_not() {
    let bare = Cluster::start();
    bare.psql("postgres", "create database shop").unwrap();
    bare.psql("shop", "create extension mps").expect("installs");
    let dump = dumped(&bare, &["-Fc"]);
    // Roles of those names came after the dump.
    bare.psql("postgres", "create role authenticated; create role service_role").unwrap();
    let s = database(&bare, "copy");
    bare.program("pg_restore", &["--exit-on-error", "-d", "copy", dump.path()]).unwrap_or_else(|e| panic!("{e}"));
    s.run(MIGRATE);
    assert_eq!((levels(&s, "authenticated"), levels(&s, "service_role")), (String::new(), String::new()));
}

/// Makes of the tables what they were in 0.2.0: a list of names, and nothing else.
const AS_IN_0_2_0: &str = "drop table sec.level_holders; \
    alter table sec.api_grants drop column role_oid, drop column cluster, drop column gone_at, \
    drop constraint api_grants_level_check, add constraint api_grants_level_check \
    check (level in ('client', 'backend', 'operator', 'signup'))";

#[test]
fn the_names_of_older_releases_count_where_the_role_was_granted_the_level() {
    let db = Db::new();
    let roles = Roles::new(&db, &["clerk", "server", "night", "both", "day"]);
    let [clerk, server, night, both, day] = ["clerk", "server", "night", "both", "day"].map(|r| roles.of(r));
    let s = db.superuser();
    s.run(&format!("create role {clerk}; create role {server}; create role {night}; create role {both}"));
    s.run(&format!(
        "select sec.grant_api('{clerk}', 'client'), sec.grant_api('{server}', 'backend'), \
        sec.grant_api('{night}', 'operator')"
    ));
    s.run(&format!("select sec.grant_api('{both}', 'client'), sec.grant_api('{both}', 'backend')"));
    s.run(AS_IN_0_2_0);
    // Renamed, with a namesake; dropped, with a namesake: the old list knows of neither.
    s.run(&format!("alter role {night} rename to {day}; create role {night}"));
    s.run(&format!("drop owned by {server}; drop role {server}; create role {server}"));
    let expected = |s: &Session, after: &str| {
        for (role, has) in
            [(&clerk, "client"), (&server, ""), (&night, ""), (&day, "operator"), (&both, "client backend")]
        {
            assert_eq!(levels(s, role), has, "{role} after {after}");
        }
    };
    for step in [UPGRADE, MIGRATE, AGAIN, MIGRATE] {
        s.run(step);
        expected(&s, step);
    }
    let shown = findings(&s).join("\n");
    assert!(
        shown.contains(&format!("{server} (backend)")) && shown.contains(&format!("{night} (operator)")),
        "{shown}"
    );
    s.run(&format!("select sec.revoke_api('{server}', 'backend'), sec.revoke_api('{night}', 'operator')"));
    all_is_well(&s);
    s.run(&format!("select sec.revoke_api('{both}', 'backend')"));
    assert_eq!(levels(&s, &both), "client");
}

#[test]
fn names_of_older_releases_do_without_markers_where_the_extension_was_dropped() {
    let db = Db::new();
    let roles = Roles::new(&db, &["clerk", "server"]);
    let [clerk, server] = ["clerk", "server"].map(|r| roles.of(r));
    let s = db.superuser();
    s.run(&format!("create role {clerk}; create role {server}"));
    s.run(&format!("select sec.grant_api('{clerk}', 'client'), sec.grant_api('{server}', 'backend')"));
    s.run(&format!("{AS_IN_0_2_0}; drop owned by {server}; drop role {server}; create role {server}"));
    s.run(AGAIN);
    s.run(MIGRATE);
    assert_eq!((levels(&s, &clerk), levels(&s, &server)), ("client".into(), String::new()));
    assert_eq!(levels(&s, "service_role"), "client backend");
}

#[test]
fn granting_and_taking_back_are_in_the_log_when_something_changed() {
    let db = Db::new();
    let s = db.superuser();
    let before = events(&s).len();
    let new = || events(&s)[before..].to_vec();
    for sql in [
        "select sec.grant_api('stranger', 'client')",
        "select sec.grant_api('stranger', 'client')",
        "select sec.revoke_api('stranger', 'backend')",
        "select sec.grant_api('stranger', 'backend')",
        "select sec.revoke_api('stranger', 'client')",
        "select sec.revoke_api('stranger', 'client')",
        "select sec.revoke_api('stranger', 'backend')",
        "select sec.revoke_api('nobody of this name', 'backend')",
        MIGRATE,
        UPGRADE,
        AGAIN,
    ] {
        s.run(sql);
    }
    let expected = [
        "granted role stranger client",
        "granted role stranger backend",
        "revoked role stranger client",
        "revoked role stranger backend",
    ];
    assert_eq!(new(), expected.map(|e| format!("postgres level.{e}")));
    let oids = "select count(*) from audit.event_log where object_id = 'stranger' and (context ->> 'role_oid')::oid = 'stranger'::regrole";
    assert_eq!(s.value(oids), "4");
    // Given and taken back past these functions: they find out.
    s.run("grant execute on function sec.level_operator() to stranger; select sec.revoke_api('stranger', 'operator')");
    assert_eq!(levels(&s, "stranger"), "");
    assert_eq!(new().last().map(String::as_str), Some("postgres level.revoked role stranger operator"));
    s.run(
        "select sec.grant_api('stranger', 'operator'); revoke execute on function sec.level_operator() from stranger",
    );
    s.run("select sec.grant_api('stranger', 'operator')");
    assert_eq!(levels(&s, "stranger"), "operator");
    assert_eq!(new().len(), 7);
    // What is rolled back was not done.
    s.run("begin; select sec.grant_api('stranger', 'backend'); rollback");
    assert_eq!(new().len(), 7);
    // Nobody has made this month.
    let month = s.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    s.run(&format!("drop table audit.event_log_{month}"));
    s.run("select sec.revoke_api('stranger', 'operator')");
    s.run("update app.membership_levels set discount = 0.940 where level = 1");
    assert_eq!(events(&s), ["postgres level.revoked role stranger operator"]);
    assert_eq!(s.value("select count(*) from audit.event_log"), "2");
}

#[test]
fn what_a_role_passed_on_goes_with_its_level() {
    let db = Db::new();
    let roles = Roles::new(&db, &["server", "friend"]);
    let [server, friend] = ["server", "friend"].map(|r| roles.of(r));
    let s = db.superuser();
    s.run(&format!("create role {server}; create role {friend}; select sec.grant_api('{server}', 'backend')"));
    s.run(&format!("grant execute on function sec.level_backend() to {server} with grant option"));
    s.run(&format!("grant select (backend) on sec.level_holders to {server} with grant option"));
    s.run(&format!("set role {server}; grant execute on function sec.level_backend() to {friend}"));
    s.run(&format!("grant select (backend) on sec.level_holders to {friend}; reset role"));
    // No upgrade fails because of it, and none takes it for a level that was granted: it is shown as what it is.
    for step in [MIGRATE, UPGRADE] {
        s.run(step);
        assert_eq!((levels(&s, &server), levels(&s, &friend)), ("client backend".into(), "backend".into()), "{step}");
        assert!(findings(&s).join("\n").contains(&format!("sec.level_backend() to {friend}")));
        assert_eq!(s.value(&format!("select count(*) from sec.api_grants where role_name = '{friend}'")), "0");
    }
    s.run(&format!("select sec.revoke_api('{server}', 'backend')"));
    assert_eq!((levels(&s, &server), levels(&s, &friend)), (String::new(), String::new()));
    all_is_well(&s);
}

#[test]
fn nobody_has_a_level_before_it_is_granted() {
    let server = Cluster::start();
    server.psql("postgres", "create role nobody_yet; create extension mps").unwrap();
    let s = server.superuser("postgres");
    for step in ["select 1", MIGRATE, UPGRADE, AGAIN] {
        s.run(step);
        assert_eq!(levels(&s, "nobody_yet"), "", "after {step}");
        all_is_well(&s);
    }
}

#[test]
fn grants_of_many_at_once_wait_for_each_other() {
    let db = Db::new();
    thread::scope(|scope| {
        for (role, level) in [("stranger", "client"), ("app_role", "client"), ("stranger", "operator")] {
            let s = db.superuser();
            scope.spawn(move || {
                for _ in 0..8 {
                    s.run(&format!("select sec.grant_api('{role}', '{level}')"));
                    s.run(&format!("select sec.revoke_api('{role}', '{level}')"));
                }
            });
        }
    });
    let s = db.superuser();
    assert_eq!((levels(&s, "stranger"), levels(&s, "app_role")), (String::new(), String::new()));
    all_is_well(&s);
}

#[test]
fn the_owner_is_the_role_and_not_its_name() {
    let server = Cluster::start();
    server
        .psql("postgres", "create role clerk; create extension mps; select sec.grant_api('clerk', 'client')")
        .unwrap();
    let s = server.superuser("postgres");
    s.run("alter role mps_owner rename to mps_keeper; create role mps_owner login");
    for step in [
        "select sec.make_month('2090-05-01')",
        MIGRATE,
        UPGRADE,
        "select sec.grant_api('clerk', 'backend')",
        "select app.create_merchant('SHOP-001', 'x')",
        "select sec.make_month('2001-01-01')",
        "call audit.seal()",
        "call app.archive_partitions('2001-02-01')",
    ] {
        s.run(step);
    }
    assert_eq!(s.value("select to_regclass('mps_archive.transactions_200101') is not null"), "t");
    let owners = s.column(
        "select distinct pg_get_userbyid(x.owner)::text from ( \
         select relowner from pg_class c where relnamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_archive') \
         union all select proowner from pg_proc where pronamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_gateway') \
         union all select typowner from pg_type where typnamespace = 'mps_gateway'::regnamespace \
         union all select nspowner from pg_namespace where nspname in ('app', 'audit', 'sec', 'mps_archive', 'mps_gateway')) x (owner)",
    );
    assert_eq!(owners, ["mps_keeper"]);
    all_is_well(&s);
    s.refused("NOT_ALLOWED", "select sec.grant_api('mps_keeper', 'client')");
    assert_eq!(s.value("select count(*) from pg_shdepend where refobjid = 'mps_owner'::regrole"), "0");
    // CREATE EXTENSION can only go by the name: it finds that the tables are another's, and leaves them alone.
    s.run("drop extension mps cascade; alter role mps_owner nologin");
    let failure = s.failure("create extension mps");
    assert!(failure.message.contains("not of mps"), "{failure:?}");
    s.run("drop role mps_owner; alter role mps_keeper rename to mps_owner; create extension mps");
    assert_eq!((levels(&s, "clerk"), s.value("select sec.owner()")), ("client backend".into(), "mps_owner".into()));
}
