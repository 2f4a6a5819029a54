//! What customers notice of an upgrade in which no table changes: charges at a steady pace while the next release of this very tree
//! comes in, and who holds what it needs.

use mps_tests::tree::Tree;
use mps_tests::{Db, Failure, Scratch, Session, Shop, program};
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const NOW: &str = env!("CARGO_PKG_VERSION");
/// How often each till charges.
const PACE: Duration = Duration::from_millis(20);
const TILLS: usize = 6;
/// What is promised.
const A_SECOND: Duration = Duration::from_secs(1);

/// The next release of this tree: its script as ALTER EXTENSION runs it, in one transaction, and its library. Tables and code are those
/// of now under another name, so the version of the tables is not raised, but noted as if it were.
struct Next {
    script: String,
    libraries: Scratch,
}

impl Next {
    fn make() -> Next {
        let tree = Tree::repository("next");
        let next = following(NOW);
        tree.release(&next).unwrap_or_else(|e| panic!("{e}"));
        let library = |version: &str| format!("mps-{version}.so");
        let libraries = Scratch::new("next-library");
        fs::create_dir_all(libraries.path()).expect("a directory");
        let installed = program("pg_config", &["--pkglibdir"]).expect("pg_config");
        let copy = format!("{}/{}", libraries.path(), library(&next));
        fs::copy(format!("{installed}/{}", library(NOW)), &copy).expect("the library");
        let version = Db::new().superuser().value("select schema_version from app.settings");
        let script = tree.upgrade(NOW, &next);
        let raise = "UPDATE app.settings SET schema_version = c_version WHERE schema_version <> c_version;";
        assert!(script.contains(raise), "the version is raised in another way than is known");
        let script = script
            .replace("MODULE_PATHNAME", &format!("mps-{next}"))
            .replace(raise, &format!("UPDATE app.settings SET schema_version = {version};"));
        assert!(script.contains(&format!("'mps-{next}'")), "another script than is known");
        Next { script, libraries }
    }

    fn install(&self, session: &Session) -> Result<(), Failure> {
        let done = session.try_rows(&format!(
            "begin; set local client_min_messages = error; set local lock_timeout = '5s'; {}; commit",
            self.script
        ));
        if done.is_err() {
            session.run("rollback");
        }
        done.map(|_| ())
    }

    /// A shop whose sessions find that library, and whose settings do not know their version yet.
    fn shop(&self) -> Shop {
        let shop = Shop::open();
        shop.superuser.run(&format!(
            "do $$ begin execute format('alter database %I set dynamic_library_path = %L', current_database(), '{}:$libdir'); end $$",
            self.libraries.path()
        ));
        shop.superuser.run("alter table app.settings alter column schema_version set default 1");
        shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
        shop
    }
}

/// The version after the next patch: as a release that brings something.
fn following(version: &str) -> String {
    let parts: Vec<u32> = version.split('.').map(|part| part.parse().expect("a number")).collect();
    format!("{}.{}.0", parts[0], parts[1] + 1)
}

/// What one till saw: the longest time from one answer to the next, and what it was refused with.
#[derive(Debug, Default)]
struct Seen {
    longest: Duration,
    charged: usize,
    refused: Vec<String>,
}

/// Charges at a pace until it is told to stop.
fn charge(till: &Session, sql: &str, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match till.try_rows(sql) {
            Ok(_) => {
                seen.longest = seen.longest.max(last.elapsed());
                last = Instant::now();
                seen.charged += 1;
            }
            Err(refusal) => seen.refused.push(format!("{} {}", refusal.code, refusal.message)),
        }
        thread::sleep(PACE);
    }
    seen.longest = seen.longest.max(last.elapsed());
    seen
}

/// What the tills see while something is done.
fn while_charging<T>(shop: &Shop, work: impl FnOnce() -> T) -> (Vec<Seen>, T) {
    let stop = AtomicBool::new(false);
    let tills: Vec<(Session, String)> = (0..TILLS)
        .map(|_| {
            let till = shop.db.user(shop.cashier_id);
            let sql = Shop::charge_sql(&shop.code(&shop.member("1000.00")), "0.01", "");
            till.run(&sql);
            (till, sql)
        })
        .collect();
    thread::scope(|scope| {
        let stop = &stop;
        let running: Vec<_> =
            tills.into_iter().map(|(till, sql)| scope.spawn(move || charge(&till, &sql, stop))).collect();
        thread::sleep(Duration::from_millis(500));
        let done = panic::catch_unwind(AssertUnwindSafe(work));
        thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
        let done = done.unwrap_or_else(|why| panic::resume_unwind(why));
        (running.into_iter().map(|till| till.join().expect("a till")).collect(), done)
    })
}

fn longest(seen: &[Seen]) -> Duration {
    seen.iter().map(|till| till.longest).max().expect("tills")
}

#[track_caller]
fn nobody_was_refused(seen: &[Seen], doing: &str) {
    let refused: Vec<&String> = seen.iter().flat_map(|till| &till.refused).collect();
    assert!(refused.is_empty(), "{doing}: {refused:?}");
    assert!(seen.iter().all(|till| till.charged > 10), "{doing}: {seen:?}");
}

/// Whoever is in the middle of something, writing or reading by an old snapshot, is left alone, and nobody waits for them.
#[test]
fn an_upgrade_holds_nobody_up_for_a_second() {
    let next = Next::make();
    let shop = next.shop();
    let (quiet, ()) = while_charging(&shop, || thread::sleep(A_SECOND));
    nobody_was_refused(&quiet, "nothing");
    let (writer, reader) = (shop.db.backend(), shop.db.superuser());
    reader.run("begin isolation level repeatable read; select count(*) from app.settings, app.transactions");
    writer
        .run(&format!("begin; select * from app.user_recharge_personal_card('{}', 1, 'cash')", shop.member("0").card));
    let session = shop.db.superuser();
    let (seen, took) = while_charging(&shop, || {
        let began = Instant::now();
        next.install(&session).expect("the next release");
        began.elapsed()
    });
    nobody_was_refused(&seen, "the upgrade");
    let library = "select distinct probin from pg_proc p join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and \
                   d.deptype = 'e' where probin ~ '^mps'";
    assert_eq!(shop.superuser.column(library), [format!("mps-{}", following(NOW))]);
    // The version by which a dump of the schema alone is known waits for who reads, as pg_dump does for hours: the job sees to it.
    let known = || shop.superuser.value("select sec.default_version()");
    assert_eq!(known(), "1");
    writer.run("commit");
    reader.run("commit");
    session.run("select app.maintain_partitions_batch(0)");
    assert_eq!(known(), shop.superuser.value("select schema_version from app.settings"));
    println!("{took:?} long, {:?} without an answer, {:?} when nothing happens", longest(&seen), longest(&quiet));
    assert!(longest(&seen) < A_SECOND + longest(&quiet), "{seen:?}");
}
