//! From one release to the next: with data in it, with the old library still loaded, by ALTER EXTENSION and by an old dump.
//! The old release is the real one: its install script as it was released, its library built from the repository's history.

use mps_tests::{Db, Session, Shop, program, q};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const OLD: &str = "0.1.0";

/// Install scripts that were released, and what they must be for ever.
const RELEASED: &[(&str, &str)] = &[
    ("sql/mps--0.1.0.sql", "e080006dff0bccbd824d96664d7798d4fbeeae600dd43dd8e0936a8cf30c491e"),
    ("sql/mps--0.1.0--0.2.0.sql", "9190fb483b4ff766685749c552f13408236fc32e1328354c30ea08ebb9f8ab5a"),
    ("sql/mps--0.2.0.sql", "f23bc1a3752315ba38c458f0b6184b4155445453da8fd54bd00eaf303bdb9da9"),
];

fn top() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", ".."].iter().collect()
}

#[test]
fn a_released_script_is_never_edited() {
    for (file, sum) in RELEASED {
        let out = program("sha256sum", &[top().join(file).to_str().unwrap()]).expect("sha256sum");
        assert_eq!(out.split(' ').next(), Some(*sum), "{file} was released: write an upgrade script instead");
    }
}

#[test]
fn the_upgrade_script_has_every_function_of_the_sources() {
    program(top().join("tools/upgrade-script").to_str().unwrap(), &["--check"]).unwrap_or_else(|e| panic!("{e}"));
}

/// Whether the server takes the old release: its install script fails on PostgreSQL 17 and newer, which nobody had it on.
fn old_release_installs() -> bool {
    let says = program("pg_config", &["--version"]).expect("pg_config");
    let major: u32 =
        says.trim_start_matches("PostgreSQL ").split(['.', ' ']).next().unwrap().parse().expect("a number");
    if major >= 17 {
        eprintln!("SKIPPED: {OLD} cannot be installed on {says}");
    }
    major < 17
}

/// Options of a session that runs the old library; `None` (with the reason printed) where it cannot be built.
fn old_library() -> Option<&'static str> {
    if !old_release_installs() {
        return None;
    }
    static OPTIONS: OnceLock<Option<String>> = OnceLock::new();
    let made = OPTIONS.get_or_init(|| {
        let out = Command::new(top().join("tools/released-library"))
            .arg(OLD)
            .env("PG_CONFIG", program("pg_config", &["--bindir"]).expect("pg_config") + "/pg_config")
            .output()
            .expect("tools/released-library runs");
        let said = String::from_utf8_lossy(&out.stderr);
        match out.status.code() {
            Some(0) => {
                let directory = String::from_utf8(out.stdout).expect("a path");
                Some(format!("-c dynamic_library_path={}:$libdir", directory.trim()))
            }
            // Said aloud by the test that asks: without history there is no old release to upgrade from.
            Some(3) => None,
            _ => panic!("the library of {OLD}: {said}"),
        }
    });
    if made.is_none() {
        eprintln!("SKIPPED: the repository's history does not reach back to {OLD}");
    }
    made.as_deref()
}

/// A session in the old library, in the shoes of the shop's server (decided by SET ROLE, as behind PostgREST).
fn old_backend(db: &Db, options: &str) -> Session {
    let session = db.superuser_with(options);
    session.become_role("service_role", r#"{"role":"service_role"}"#);
    session
}

/// What a database consists of, as text without oids: relations, columns, constraints, functions, privileges and so on.
const SCHEMA: &[&str] = &[
    "select 'relation ' || c.oid::regclass || ' ' || c.relkind::text || ' rls ' || c.relrowsecurity || c.relforcerowsecurity || ' owner ' || pg_get_userbyid(c.relowner) \
        || ' ' || coalesce(c.reloptions::text, '') || ' ' || c.relreplident::text || ' ' || coalesce(pg_get_expr(c.relpartbound, c.oid), '') || ' says ' || coalesce(obj_description(c.oid, 'pg_class'), '-') \
     from pg_class c where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_archive') and c.relkind <> 't'",
    "select 'column ' || c.oid::regclass || ' ' || a.attnum || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || a.attstorage::text || array(select o from unnest(a.attoptions) o where o !~ '^pg_attver=' order by 1)::text \
        || ' default ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '-') || ' says ' || coalesce(col_description(c.oid, a.attnum), '-') \
     from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum \
     where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_archive') and c.relkind in ('r', 'p', 'v', 'S')",
    "select 'index ' || pg_get_indexdef(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indrelid where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec')",
    "select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint where connamespace::regnamespace::text in ('app', 'audit', 'sec')",
    "select 'view ' || c.oid::regclass || ' ' || pg_get_viewdef(c.oid) from pg_class c where c.relkind = 'v' and c.relnamespace::regnamespace::text in ('app', 'audit', 'sec')",
    "select 'policy ' || polrelid::regclass || ' ' || polname || ' ' || polcmd::text || polpermissive || polroles::text || ' ' || pg_get_expr(polqual, polrelid) from pg_policy",
    "select 'trigger ' || pg_get_triggerdef(oid) || ' ' || tgenabled::text from pg_trigger where not tgisinternal",
    "select 'type ' || e.enumtypid::regtype || ' ' || string_agg(e.enumlabel, ',' order by e.enumsortorder) || ' ' || min(pg_get_userbyid(t.typowner)) || coalesce(min(obj_description(t.oid, 'pg_type')), '-') \
     from pg_enum e join pg_type t on t.oid = e.enumtypid group by e.enumtypid",
    "select 'function ' || pg_get_functiondef(p.oid) || ' owner ' || pg_get_userbyid(p.proowner) || ' says ' || coalesce(obj_description(p.oid, 'pg_proc'), '-') \
     from pg_proc p where p.pronamespace::regnamespace::text in ('app', 'audit', 'sec')",
    "select 'sequence ' || s.seqrelid::regclass || ' ' || s.seqtypid::regtype || ' ' || s.seqstart || ' ' || s.seqincrement || ' ' || s.seqmax || ' ' || s.seqmin || ' ' || s.seqcache || s.seqcycle \
     from pg_sequence s",
    "select 'granted ' || c.oid::regclass || ' ' || a.grantee::regrole || ' ' || a.privilege_type from pg_class c, aclexplode(c.relacl) a where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec') and a.grantee <> c.relowner",
    "select 'granted ' || c.oid::regclass || '.' || t.attname || ' ' || a.grantee::regrole || ' ' || a.privilege_type from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a \
     where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec')",
    "select 'granted ' || p.oid::regprocedure || ' ' || a.grantee::regrole || ' ' || a.privilege_type from pg_proc p, aclexplode(p.proacl) a where p.pronamespace::regnamespace::text in ('app', 'audit', 'sec') and a.grantee <> p.proowner",
    "select 'public ' || p.oid::regprocedure from pg_proc p where p.proacl is null and p.pronamespace::regnamespace::text in ('app', 'audit', 'sec')",
    "select 'schema ' || n.nspname || ' owner ' || pg_get_userbyid(n.nspowner) || ' says ' || coalesce(obj_description(n.oid, 'pg_namespace'), '-') from pg_namespace n where n.nspname in ('app', 'audit', 'sec', 'mps_archive')",
    "select 'schema ' || n.nspname || ' to ' || a.grantee::regrole || ' ' || a.privilege_type from pg_namespace n, aclexplode(n.nspacl) a where n.nspname in ('app', 'audit', 'sec', 'mps_archive') and a.grantee <> n.nspowner",
    "select 'member ' || pg_describe_object(d.classid, d.objid, d.objsubid) from pg_depend d join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid where e.extname = 'mps' and d.deptype = 'e'",
    "select 'initial privileges ' || i.classoid::regclass || i.objoid from pg_init_privs i where i.privtype = 'e'",
    "select 'extension ' || extversion || ' in ' || extnamespace::regnamespace || extrelocatable from pg_extension where extname = 'mps'",
    "select 'setting ' || to_jsonb(s)::text from app.settings s",
    "select 'level ' || to_jsonb(l)::text from app.membership_levels l",
];

fn schema(session: &Session) -> BTreeSet<String> {
    SCHEMA.iter().flat_map(|sql| session.column(sql)).collect()
}

#[track_caller]
fn same(was: &BTreeSet<String>, is: &BTreeSet<String>) {
    let lost: Vec<&String> = was.difference(is).collect();
    let new: Vec<&String> = is.difference(was).collect();
    assert!(lost.is_empty() && new.is_empty(), "only in the first: {lost:#?}\nonly in the second: {new:#?}");
}

/// The schema of a fresh install of this release.
fn fresh() -> BTreeSet<String> {
    schema(&Db::new().superuser())
}

/// Makes the old release in an empty database, as its own library did, with a shop in which everything has happened.
fn old_release(options: &str) -> Db {
    let db = Db::empty();
    drop(Db::new()); // the roles
    let superuser = db.superuser_with(options);
    superuser.run(&format!("create extension mps version '{OLD}'"));
    superuser.run("select sec.grant_api('app_role', 'client')");
    trade(&db, options);
    db
}

fn trade(db: &Db, options: &str) {
    let backend = old_backend(db, options);
    let cashier = "11111111-1111-4111-8111-111111111111";
    backend.run("select * from app.create_merchant('SHOP-001', 'Corner Coffee')");
    backend.run(&format!("select app.set_merchant_user('SHOP-001', '{cashier}')"));
    let ming = backend.row("select * from app.register_member('Ming', '13800000000')");
    let mei = backend.row("select * from app.register_member('Mei')");
    for (member, amount) in [(&ming, "9000.00"), (&mei, "50.00")] {
        backend
            .run(&format!("select * from app.user_recharge_personal_card('{}', {amount}, 'cash')", &member["card_id"]));
    }
    let charge = |backend: &Session, code: &str, more: &str| {
        backend.row(&format!("select * from app.merchant_charge_by_qr('SHOP-001', {}, {more})", q(code)))
    };
    // Past the first skip link, so that the chains are there.
    let mut paid = None;
    for n in 0..70 {
        let code = personal_code(&backend, &ming["card_id"]);
        paid = Some(charge(&backend, &code, &format!("100.00, 'coffee', '{{}}', 'k-{n}', 'o-{n}'")));
    }
    let paid = paid.expect("charged");
    backend.run(&format!("select * from app.merchant_refund_tx('SHOP-001', '{}', 33.33, 'cold')", &paid["tx_no"]));
    let company =
        backend.row(&format!("select * from app.create_enterprise_card('Great Wall', 0.900, '{}')", &mei["member_id"]));
    backend
        .run(&format!("select * from app.user_recharge_enterprise_card_admin('{}', 500, 'cash')", &company["card_id"]));
    let code = backend.row(&format!(
        "select * from app.rotate_card_qr('{}', 'enterprise', '{}')",
        &company["card_id"], &mei["member_id"]
    ));
    charge(&backend, &code["qr_plain"], "10.00");
    backend.run(&format!("select * from app.compensate_tx('{}', -1.00, 'x')", &paid["tx_no"]));
    backend.run(&format!("select app.set_card_status('{}', 'personal', 'lost', 'x')", &mei["card_id"]));
    backend.run(&format!("select * from app.replace_card('{}', 'x')", &mei["card_id"]));
    backend.run(r#"select app.update_settings('{"qr_ttl_seconds": 120}')"#);
}

fn personal_code(backend: &Session, card: &str) -> String {
    backend.row(&format!("select * from app.rotate_card_qr('{card}')"))["qr_plain"].to_owned()
}

/// Every row of every table but the schema's version and what maintenance notes.
fn rows(session: &Session) -> Vec<String> {
    session
        .column(
            "select c.oid::regclass::text from pg_class c where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec') \
               and c.relkind = 'r' and c.relname not in ('settings', 'job_runs') order by 1",
        )
        .iter()
        .map(|table| {
            session.value(&format!("select '{table} ' || count(*) || md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {table} t"))
        })
        .collect()
}

/// A charge that continues the numbers, the books, the rules.
fn trades_on(db: &Db) {
    let (s, backend) = (db.superuser(), db.backend());
    let card = s.value("select id from app.personal_cards where card_no = 'VIP00000001'");
    let highest: i64 = s.value("select max(id) from app.transactions").parse().expect("an id");
    let code = personal_code(&backend, &card);
    let row = backend.row(&format!("select * from app.merchant_charge_by_qr('SHOP-001', {}, 100.00)", q(&code)));
    assert!(row["tx_id"].parse::<i64>().unwrap() > highest, "a number came twice");
    let known = backend.row(&format!(
        "select * from app.merchant_charge_by_qr('SHOP-001', {}, 100.00, 'coffee', '{{}}', 'k-0', 'o-0')",
        q(&code)
    ));
    assert_eq!(&known["replayed"], "t", "a key of the old release is forgotten");
    assert_eq!(backend.value("select app.get_settings() ->> 'qr_ttl_seconds'"), "120");
    assert_eq!(s.column("select check_name || ': ' || detail from app.verify_books() where not ok"), [] as [String; 0]);
    assert_eq!(s.column("select rule || ': ' || detail from sec.security_check() where not ok"), [] as [String; 0]);
}

#[test]
fn an_upgraded_install_is_a_fresh_one() {
    if !old_release_installs() {
        return;
    }
    let db = Db::empty();
    let fresh = fresh();
    let s = db.superuser();
    s.run(&format!("create extension mps version '{OLD}'; select sec.grant_api('app_role', 'client')"));
    s.run("alter extension mps update");
    same(&fresh, &schema(&s));
    // Once more is nothing, and so is a migration of what is up to date.
    s.run("alter extension mps update");
    s.run("select app.migrate()");
    same(&fresh, &schema(&s));
}

#[test]
fn an_upgrade_keeps_every_row_and_trades_on_while_sessions_of_the_old_library_end_cleanly() {
    let Some(options) = old_library() else { return };
    let mut db = old_release(options);
    let s = db.superuser();
    // Roles are the server's: named so that a run that failed leaves nothing in the way.
    let (clerk, night) = (format!("{}_clerk", db.name), format!("{}_night", db.name));
    s.run(&format!("create role {clerk} nologin; create role {night} nologin"));
    s.run(&format!("select sec.grant_api('{clerk}', 'client'), sec.grant_api('{night}', 'operator')"));
    let old = old_backend(&db, options);
    let card = s.value("select id from app.personal_cards where card_no = 'VIP00000001'");
    let code = personal_code(&old, &card);
    let before = rows(&s);

    // The new library over the old release refuses, and says what to do.
    let early = db.backend();
    let failure = early.refused("SCHEMA_OUTDATED", "select app.get_settings()");
    assert!(failure.hint.contains("ALTER EXTENSION mps UPDATE"), "{failure:?}");
    let failure = db.superuser().refused("SCHEMA_OUTDATED", "select app.migrate()");
    assert!(failure.detail.contains("ALTER EXTENSION mps UPDATE"), "{failure:?}");
    // The old one goes on meanwhile.
    old.run("select app.get_settings()");

    s.run("alter extension mps update");
    assert_eq!(rows(&s), before, "rows changed");
    let mut expected = fresh();
    expected
        .retain(|line| !line.starts_with("setting ") && !line.starts_with("granted ") && !line.starts_with("schema "));
    let mut found = schema(&s);
    found.retain(|line| !line.starts_with("setting ") && !line.starts_with("granted ") && !line.starts_with("schema "));
    same(&expected, &found);

    // A session that still runs the old library is told so, whatever it asks for; nothing moves.
    let charge = format!("select * from app.merchant_charge_by_qr('SHOP-001', {}, 1.00)", q(&code));
    for call in [&charge, "select app.get_settings()", "select * from app.register_member('Late')"] {
        old.refused("SCHEMA_OUTDATED", call);
    }
    // The session that was refused before sees the new tables without connecting again.
    early.run("select app.get_settings()");
    early.run(&charge);
    trades_on(&db);
    // A grant of before reaches what is new.
    for (role, function) in [(&night, "app.health()"), (&clerk, "app.tx_by_no(text)")] {
        assert_eq!(s.value(&format!("select has_function_privilege('{role}', '{function}', 'execute')")), "t");
    }
    s.run(&format!("drop owned by {clerk}, {night}; drop role {clerk}, {night}"));
    db.with_books();
}

#[test]
fn charges_under_way_during_an_upgrade_are_made_or_refused_never_lost() {
    let Some(options) = old_library() else { return };
    let mut db = old_release(options);
    let s = db.superuser();
    let card = s.value("select id from app.personal_cards where card_no = 'VIP00000001'");
    let paid = || {
        s.value("select count(*) from app.transactions where tx_type = 'payment'").parse::<usize>().expect("a count")
    };
    let before = paid();
    let stop = AtomicBool::new(false);
    let (made, refused) = thread::scope(|scope| {
        let clerks: Vec<_> = (0..3)
            .map(|n| {
                // Two in the old library, one in the new.
                let session = old_backend(&db, if n < 2 { options } else { "" });
                let (card, stop) = (&card, &stop);
                scope.spawn(move || {
                    let (mut made, mut refused) = (0, 0);
                    while !stop.load(Ordering::Relaxed) {
                        let code = session.try_row(&format!("select * from app.rotate_card_qr('{card}')"));
                        let paid = code.and_then(|code| {
                            let code = q(&code["qr_plain"]);
                            session
                                .try_row(&format!("select * from app.merchant_charge_by_qr('SHOP-001', {code}, 0.01)"))
                        });
                        match paid {
                            Ok(_) => made += 1,
                            // Another clerk has rotated the code meanwhile.
                            Err(e) if e.message == "QR_EXPIRED_OR_INVALID" => {}
                            Err(e) if e.message == "SCHEMA_OUTDATED" => refused += 1,
                            Err(e) => panic!("{e:?}"),
                        }
                    }
                    (made, refused)
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(300));
        s.run("alter extension mps update");
        thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        clerks.into_iter().map(|c| c.join().expect("a clerk")).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    });
    assert!(made > 0 && refused > 0, "{made} made, {refused} refused: both are to be seen");
    assert_eq!(paid() - before, made, "what was answered and what is in the books");
    trades_on(&db);
    db.with_books();
}

#[test]
fn a_dump_of_the_old_release_is_migrated() {
    let Some(options) = old_library() else { return };
    let old = old_release(options);
    let mut db = Db::empty();
    let file = std::env::temp_dir().join(format!("{}.dump", old.name));
    let path = file.to_str().expect("a path");
    program("pg_dump", &["-Fc", "-f", path, &old.name]).expect("dumps");
    let restored = program("pg_restore", &["--exit-on-error", "-d", &db.name, path]);
    let _ = std::fs::remove_file(&file);
    restored.unwrap_or_else(|e| panic!("{e}"));

    let s = db.superuser();
    db.backend().refused("SCHEMA_OUTDATED", "select app.get_settings()");
    assert_eq!(s.value("select ok from app.health() where check_name = 'schema_version'"), "f");
    let before = rows(&s);
    assert_eq!(s.value("select app.migrate()"), "3");
    assert_eq!(rows(&s), before, "rows changed");
    let mut expected = fresh();
    expected.retain(|line| !line.starts_with("setting "));
    let mut found = schema(&s);
    found.retain(|line| !line.starts_with("setting "));
    same(&expected, &found);
    trades_on(&db);
    db.with_books();
}

#[test]
fn a_change_of_levels_by_sql_is_in_the_log() {
    let shop = Shop::open();
    let events = "select action || ' ' || object_id || ' ' || context from audit.event_log where object_type = 'membership_level' order by id";
    assert_eq!(shop.superuser.column(events), [] as [String; 0], "the levels of the installation are not a change");
    shop.superuser.run("update app.membership_levels set discount = 0.940 where level = 1");
    shop.superuser.run("update app.membership_levels set discount = 0.940 where level = 1");
    shop.superuser.run("insert into app.membership_levels values (5, 'Black', 50000, 0.700)");
    shop.superuser.run("delete from app.membership_levels where level = 5");
    shop.superuser.run("begin; truncate app.membership_levels");
    assert_eq!(shop.superuser.column(events).last().map(String::as_str), Some("level.removed all {}"));
    shop.superuser.run("rollback");
    let events = shop.superuser.column(events);
    assert_eq!(events.len(), 3, "{events:#?}");
    assert!(
        events[0].starts_with("level.changed 1 ") && events[0].contains("0.950") && events[0].contains("0.940"),
        "{events:#?}"
    );
    assert!(events[1].starts_with("level.created 5 ") && events[2].starts_with("level.removed 5 "), "{events:#?}");
}
