//! `app.verify_books()` and `audit.verify()` say that something is wrong only where it is: not while months are made and archived
//! beside them, not in a transaction that is older than that, not after somebody altered a sequence.

use mps_tests::{Member, NULL, Row, Session, Shop, Waiting, q};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PROOFS: &[&str] = &[
    "select * from app.verify_books()",
    "select * from app.verify_books(date_trunc('month', now(), 'UTC') - interval '1 month', now())",
    "select * from audit.verify()",
];

/// The month before this one, by its suffix.
const SUFFIX: &str = "to_char(date_trunc('month', now() at time zone 'UTC') - interval '1 month', 'YYYYMM')";

const ARCHIVE: &str =
    "select app.archive_month_batch((date_trunc('month', now() at time zone 'UTC') - interval '1 month')::date)";

/// A shop with a month before this one that can be archived, a member with money, and payments of both months.
fn shop() -> (Shop, Member, String) {
    let mut shop = Shop::open();
    shop.db.without_books();
    let ming = shop.member("1000.00");
    for _ in 0..3 {
        shop.charge(&ming, "10.00");
    }
    shop.a_month_passes();
    shop.charge(&ming, "1.00");
    shop.superuser.run("update app.settings set qr_single_use = false");
    shop.superuser.run("call audit.seal()");
    let paid = shop.superuser.value("select min(tx_no) from app.transactions where tx_type = 'payment'");
    (shop, ming, paid)
}

/// Puts the archived month back, which MPS has no command for.
fn put_back(s: &Session, suffix: &str) {
    let year = &suffix[..4];
    let bounds = format!(
        "from ('{year}-{0}-01 00:00Z') to ('{year}-{0}-01 00:00Z'::timestamptz + interval '1 month')",
        &suffix[4..]
    );
    let mut steps =
        String::from("begin; lock table app.transactions, app.point_ledger, audit.event_log, app.gateway_events;");
    for table in ["app.transactions", "app.point_ledger", "audit.event_log", "app.gateway_events"] {
        let (schema, name) = table.split_once('.').expect("a schema");
        steps += &format!(
            "alter table mps_archive.{name}_{suffix} set schema {schema}; \
             alter table {table} attach partition {table}_{suffix} for values {bounds};"
        );
    }
    s.run(&format!("set timezone = 'UTC'; {steps} delete from app.archived_months; commit"));
}

/// How the rows of a proof are to be taken: `Some(true)` all well, `None` not looked at.
#[track_caller]
fn verdict(sql: &str, rows: &[Row]) -> Option<bool> {
    if rows.len() == 1 {
        assert_eq!((&rows[0]["check_name"], &rows[0]["ok"]), ("snapshot", NULL), "{sql}: {rows:?}");
        return None;
    }
    let wrong: Vec<&Row> = rows.iter().filter(|r| &r["ok"] != "t").collect();
    assert!(wrong.is_empty() && rows.len() > 5, "{sql}: {wrong:?}");
    Some(true)
}

#[test]
fn no_proof_cries_wolf_while_months_are_made_and_archived() {
    const FOR: Duration = Duration::from_secs(8);
    let (shop, ming, _) = shop();
    let s = &shop.superuser;
    let suffix = s.value(&format!("select {SUFFIX}"));
    let done = &AtomicBool::new(false);
    let charge = Shop::charge_sql(&shop.code(&ming), "0.01", "");
    let (mut sound, mut unsure, mut archived) = (0, 0, 0);
    std::thread::scope(|scope| {
        let tills = [shop.db.user(shop.cashier_id), shop.db.user(shop.cashier_id)].map(|till| {
            let charge = &charge;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    till.run(charge);
                    std::thread::sleep(Duration::from_millis(5));
                }
            })
        });
        let provers: Vec<_> = PROOFS
            .iter()
            .flat_map(|sql| [(sql, false), (sql, true)])
            .map(|(sql, by_an_older_view)| {
                let session = shop.db.superuser();
                scope.spawn(move || {
                    let mut verdicts = Vec::new();
                    while !done.load(Ordering::Relaxed) || verdicts.is_empty() {
                        if by_an_older_view {
                            session.run("begin isolation level repeatable read; select pg_sleep(0.02)");
                        }
                        verdicts.push(verdict(sql, &session.rows(sql)));
                        if by_an_older_view {
                            session.run("commit");
                        }
                    }
                    verdicts
                })
            })
            .collect();
        let begin = Instant::now();
        let mut ahead = 4;
        while begin.elapsed() < FOR {
            s.run(&format!("select app.maintain_partitions_batch({ahead})"));
            ahead += 1;
            if s.value(ARCHIVE) == NULL {
                archived += 1;
                std::thread::sleep(Duration::from_millis(30));
                put_back(s, &suffix);
            }
        }
        done.store(true, Ordering::Relaxed);
        for verdicts in provers.into_iter().map(|p| p.join().expect("no proof finds anything")) {
            sound += verdicts.iter().filter(|v| v.is_some()).count();
            unsure += verdicts.iter().filter(|v| v.is_none()).count();
        }
        tills.into_iter().for_each(|till| till.join().expect("every charge works"));
    });
    eprintln!("archived {archived} times: {sound} proofs, {unsure} that could not tell");
    assert!(archived > 2 && sound > 10, "{archived} {sound} {unsure}");
    for sql in PROOFS {
        assert_eq!(verdict(sql, &s.rows(sql)), Some(true));
    }
}

#[test]
fn an_older_view_is_said_to_be_one() {
    let changes: &[(&str, bool)] = &[
        (ARCHIVE, true),
        ("vacuum full app.personal_cards", true),
        // What was made since has nothing that the older view could see.
        ("select app.maintain_partitions_batch(9)", false),
        ("create index mine on app.personal_cards (card_no)", false),
        ("call audit.seal()", false),
    ];
    for (change, outdates) in changes {
        for level in ["repeatable read", "serializable"] {
            let (shop, ming, _) = shop();
            let (old, s) = (shop.db.superuser(), &shop.superuser);
            old.run(&format!("begin isolation level {level}; select count(*) from pg_class"));
            s.run(change);
            shop.charge(&ming, "1.00");
            for sql in PROOFS {
                // The log lies elsewhere than the cards.
                let about = *outdates;
                assert_eq!(verdict(sql, &old.rows(sql)).is_none(), about, "{change}: {sql}");
            }
            old.run("commit");
            for sql in PROOFS {
                assert_eq!(verdict(sql, &old.rows(sql)), Some(true), "{change}: {sql}");
            }
        }
    }
}

#[test]
fn whatever_a_proof_reads_is_locked_before_it_asks_for_changes() {
    let (shop, _, _) = shop();
    let s = &shop.superuser;
    // But for what the library remembers, and reads when it has to.
    let locked = |sql: &str| -> Vec<String> {
        s.run(&format!("begin; {sql}"));
        let tables = s.column(
            "select l.relation::regclass::text from pg_locks l join pg_class c on c.oid = l.relation and c.relkind in ('r', 'p') \
             where l.pid = pg_backend_pid() and c.relnamespace::regnamespace::text in ('app', 'audit') and \
             c.relname not in ('settings', 'membership_levels') order by 1",
        );
        s.run("commit");
        tables
    };
    let before = locked("select sec.outdated_view()");
    for sql in PROOFS {
        let read = locked(sql);
        let late: Vec<_> = read.iter().filter(|table| !before.contains(table)).collect();
        assert!(read.len() > 10 && late.is_empty(), "{sql}: {late:?}");
    }
}

#[test]
fn a_proof_that_waited_for_the_archiving_says_so() {
    for sql in PROOFS {
        let (shop, ..) = shop();
        let s = &shop.superuser;
        s.run("begin");
        assert_eq!(s.value(ARCHIVE), NULL);
        let waiting = Waiting::start(shop.db.superuser(), &shop.db.superuser(), (*sql).into());
        s.run("commit");
        assert_eq!(verdict(sql, &waiting.end().expect("an answer")), None);
        assert_eq!(verdict(sql, &s.rows(sql)), Some(true));
    }
}

#[test]
fn an_archived_month_is_archived_under_every_isolation_level() {
    for level in ["read committed", "repeatable read", "serializable"] {
        let (shop, ming, paid) = shop();
        let (card, paid) = (&ming.card, &q(&paid));
        let pending = shop.superuser.value("select min(tx_no) from app.transactions where tx_type = 'recharge'");
        let user = shop.db.user(ming.id);
        let calls: Vec<(Session, String)> = vec![
            (shop.db.user(shop.cashier_id), format!("select * from app.tx_by_no({paid})")),
            (shop.db.backend(), format!("select * from app.tx_by_no({paid})")),
            (shop.db.user(shop.cashier_id), Shop::refund_sql(paid.trim_matches('\''), "1.00", "")),
            (shop.db.backend(), format!("select app.compensate_tx({paid}, 1.00, 'x')")),
            (shop.db.backend(), format!("select app.confirm_recharge({}, 1000.00, 'wx-1')", q(&pending))),
            (shop.db.backend(), format!("select app.fail_recharge({}, 'x')", q(&pending))),
            (user, format!("select app.balance_as_of('{card}', now() - interval '1 year')")),
            (shop.db.user(ming.id), format!("select * from app.card_statement('{card}', p_before => {paid})")),
            (
                shop.db.user(shop.cashier_id),
                format!("select * from app.merchant_statement('SHOP-001', p_before => {paid})"),
            ),
        ];
        // Some have asked before and remember the month, some have not; all have a view of before.
        for (nth, (session, sql)) in calls.iter().enumerate() {
            if nth % 2 == 0 {
                let _ = session.try_rows(&format!("begin; {sql}; rollback"));
                session.run("rollback");
            }
            session.run(&format!("begin isolation level {level}; select count(*) from app.error_codes"));
        }
        assert_eq!(shop.superuser.value(ARCHIVE), NULL, "archived");
        for (session, sql) in &calls {
            session.refused("ARCHIVED", sql);
            session.run("rollback");
            session.refused("ARCHIVED", sql);
        }
    }
}

#[test]
fn numbers_in_store_do_not_break_the_seals() {
    let (shop, ming, _) = shop();
    let s = &shop.superuser;
    let code = shop.code(&ming);
    let tills = [shop.db.user(shop.cashier_id), shop.db.user(shop.cashier_id), shop.db.user(shop.cashier_id)];
    let health = "select ok, detail from app.health() where check_name = 'sequences'";
    let rule = "select ok, detail from sec.security_check() where rule ~ '^sequences'";
    assert_eq!((s.row(health)["ok"].to_owned(), s.row(rule)["ok"].to_owned()), ("t".into(), "t".into()));
    for till in &tills {
        till.run(&Shop::charge_sql(&code, "1.00", ""));
    }
    s.run("alter sequence audit.event_id_seq cache 20; alter sequence app.tx_no_seq cache 50");
    for round in 0..4 {
        for till in &tills {
            till.run(&Shop::charge_sql(&code, "1.00", ""));
            // Events of the SQL parts, too.
            s.run(&format!("update app.membership_levels set discount = 0.99{round} where level = 0"));
            shop.superuser.run(&format!("update app.membership_levels set name = 'Basic {round}' where level = 0"));
            shop.db.superuser().run("call audit.seal()");
        }
        for sql in PROOFS {
            assert_eq!(verdict(sql, &shop.db.superuser().rows(sql)), Some(true), "round {round}");
        }
    }
    for (sql, words) in [(health, "every event uses up as many ids"), (rule, "app.tx_no_seq has CACHE 50")] {
        let row = s.row(sql);
        assert!(&row["ok"] == "f" && row["detail"].contains(words), "{row:?}");
    }
    for mend in s.column("select substring(problem, ': (ALTER .*)$') from sec.odd_sequences()") {
        s.run(&mend);
    }
    assert_eq!((s.row(health)["ok"].to_owned(), s.row(rule)["ok"].to_owned()), ("t".into(), "t".into()));
    tills[0].run(&Shop::charge_sql(&code, "1.00", ""));
    s.run("alter sequence app.tx_no_seq cycle");
    assert!(s.row(rule)["detail"].contains("CYCLE"));
    s.run("alter sequence app.tx_no_seq no cycle");
    s.run("call audit.seal()");
    for sql in PROOFS {
        assert_eq!(verdict(sql, &s.rows(sql)), Some(true));
    }
}
