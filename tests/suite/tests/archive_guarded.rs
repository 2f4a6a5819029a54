//! What was archived is guarded like what is in use: whatever happened to the extension or the database in between.

use mps_tests::{Db, NULL, Row, Scratch, Session, Shop, program};

/// A shop with an archived month, and its suffix.
fn archived() -> (Shop, String) {
    let mut shop = Shop::open();
    shop.db.without_books();
    let ming = shop.member("100.00");
    shop.charge(&ming, "10.00");
    shop.a_month_passes();
    shop.superuser.run("call audit.seal()");
    let s = &shop.superuser;
    s.run("call app.archive_partitions((now() at time zone 'UTC')::date)");
    let suffix = s.value("select to_char(month, 'YYYYMM') from app.archived_months");
    // Of an earlier release: detached by hand, and left where it was.
    s.run("select sec.make_month('2020-05-01')");
    s.run("alter table audit.event_log detach partition audit.event_log_202005");
    (shop, suffix)
}

/// Nobody may write, strangers see nothing, and the log takes no change from anybody.
#[track_caller]
fn guarded(s: &Session, suffix: &str, when: &str) {
    for log in [format!("mps_archive.event_log_{suffix}"), "audit.event_log_202005".into()] {
        for replica in ["origin", "replica"] {
            s.run(&format!("set session_replication_role = {replica}"));
            for change in ["delete from {}", "update {} set actor_role = 'x'", "truncate {}"] {
                let sql = change.replace("{}", &log);
                let failure = s.failure(&sql);
                failure.must_be("NOT_ALLOWED", &format!("{when}: {sql}"));
            }
            s.run("reset session_replication_role");
        }
    }
    for table in ["transactions", "point_ledger", "event_log"] {
        let row = s.row(&format!(
            "select c.relrowsecurity, pg_get_userbyid(c.relowner) as owner, \
                    (select string_agg(a.grantee::regrole::text, ' ') from aclexplode(c.relacl) a where a.grantee <> c.relowner) as others \
             from pg_class c where c.oid = 'mps_archive.{table}_{suffix}'::regclass"
        ));
        assert_eq!(row.values(), ["t", "mps_owner", NULL], "{when}: {table}");
    }
    let broken: Vec<Row> = s.rows("select * from sec.security_check() where not ok");
    assert_eq!(broken, [] as [Row; 0], "{when}");
    assert_eq!(s.rows("select * from audit.verify() where ok is not true"), [] as [Row; 0], "{when}");
    assert_eq!(s.rows("select * from app.verify_books() where ok is not true"), [] as [Row; 0], "{when}");
}

#[test]
fn an_archived_log_is_guarded_after_the_extension_was_dropped_and_created() {
    let (shop, suffix) = archived();
    let s = &shop.superuser;
    guarded(s, &suffix, "archived");
    s.run("drop extension mps cascade");
    s.run("create extension mps");
    guarded(s, &suffix, "created again");
    // Also what was switched off, or left in another mode by loading data alone, is put right by migrate.
    for table in ["transactions", "point_ledger", "event_log"] {
        s.run(&format!("alter table mps_archive.{table}_{suffix} disable row level security"));
    }
    for mode in ["disable", "enable"] {
        s.run(&format!("alter table mps_archive.event_log_{suffix} {mode} trigger all"));
    }
    let rules = s.column("select rule from sec.security_check() where not ok and detail ~ 'mps_archive'");
    assert_eq!(rules, ["row-level security is on for every table", "the event log is append-only"]);
    s.run("select app.migrate()");
    guarded(s, &suffix, "migrated");
}

#[test]
fn an_archived_log_is_guarded_after_a_restore() {
    let (shop, suffix) = archived();
    for again in [false, true] {
        if again {
            shop.superuser.run("drop extension mps cascade");
            shop.superuser.run("create extension mps");
        }
        let dump = Scratch::new("archived");
        program("pg_dump", &["-Fc", "-f", dump.path(), &shop.db.name]).expect("dumps");
        let unowned = ["--no-owner", "--no-acl", "-j", "2"];
        for (options, migrates) in [(&unowned[..0], false), (&unowned[..2], true), (&unowned[..], true)] {
            let db = Db::empty();
            let s = db.superuser();
            let arguments = [&["--exit-on-error", "-d", &db.name], options, &[dump.path()]].concat();
            program("pg_restore", &arguments).unwrap_or_else(|e| panic!("{e}"));
            if migrates {
                s.run("select app.migrate()");
            }
            guarded(&s, &suffix, &format!("restored with {options:?}"));
        }
    }
}
