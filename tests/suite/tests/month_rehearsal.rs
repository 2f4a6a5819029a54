//! Months that cannot be made: tried out before they are needed, said aloud, and nobody waits for them without end.

use mps_tests::{Db, NULL, Session, Shop, Waiting};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const TABLES: [&str; 3] = ["app.transactions", "app.point_ledger", "audit.event_log"];

fn check(session: &Session, name: &str) -> (bool, String) {
    let row = session.row(&format!("select ok, detail from app.health() where check_name = '{name}'"));
    (&row["ok"] == "t", row["detail"].to_owned())
}

/// The first month that is not there, as a suffix.
fn next_month(session: &Session) -> String {
    session.value("select to_char(sec.next_missing_month(), 'YYYYMM')")
}

/// Each way to keep the next month from being made or written to, and what is said of it. `{next}` is its suffix, `{from}` and
/// `{to}` its bounds.
const STOPS: &[(&str, &str)] = &[
    (
        "create table app.years (like app.transactions); alter table app.transactions attach partition app.years for values from \
         ('{from}') to ('2090-01-01')",
        "would overlap partition \"years\"",
    ),
    (
        "create table app.rest (like audit.event_log); alter table audit.event_log attach partition app.rest default; \
         insert into app.rest values (1, '{from}', null, 'x', 'x', 'x', 'x', '{}')",
        "default partition \"rest\" would be violated",
    ),
    ("create table app.transactions_{next} (x integer)", "app.transactions_{next} is there, but is no partition"),
    (
        "create function public.see() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$ begin return new; \
         end $$; \
         revoke execute on function public.see() from public; \
         create trigger see after insert on app.transactions for each row execute function public.see()",
        "public.see(), which mps_owner may not execute",
    ),
    (
        "create function public.no() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$ \
         begin if new.created_at >= '{from}' then raise exception 'no shop any more'; end if; return new; end $$; \
         create trigger no before insert on app.transactions for each row execute function public.no()",
        "no shop any more (INSERT INTO app.transactions_{next})",
    ),
    (
        "alter table app.point_ledger add constraint ends check (created_at < '{from}')",
        "violates check constraint \"ends\" (INSERT INTO app.point_ledger_{next})",
    ),
    (
        "alter table app.transactions add column clerk text not null default 'x'; alter table app.transactions alter clerk drop default",
        "null value in column \"clerk\"",
    ),
    (
        "create function public.which() returns text language sql stable set search_path = pg_catalog, pg_temp as 'select ''x'''; \
         alter table audit.event_log add column till text default public.which(); revoke execute on function public.which() from public",
        "permission denied for function which (INSERT INTO audit.event_log_{next}",
    ),
    (
        "create publication own_{next} for table app.transactions where (final_amount > 5) with (publish_via_partition_root)",
        "cannot update table \"transactions_{next}\" (UPDATE app.transactions_{next} SET",
    ),
];

fn bounds(session: &Session, text: &str) -> String {
    let row = session.row("select m, (m + interval '1 month')::date as e from sec.next_missing_month() m");
    text.replace("{next}", &next_month(session)).replace("{from}", &row["m"]).replace("{to}", &row["e"])
}

#[test]
fn what_would_stop_the_next_month_is_known_before() {
    let shop = Shop::open();
    let s = &shop.superuser;
    let ming = shop.member("100.00");
    shop.charge(&ming, "20.00");
    s.run("call app.maintain_partitions()");
    assert!(check(s, "partitions").0 && check(s, "next_month").0);
    let mut silent = Vec::new();
    for (add, says) in STOPS {
        s.run("begin");
        let says = bounds(s, says);
        s.run(&bounds(s, add));
        s.run("select app.rehearse_month_batch()");
        let ((ahead, made), (fine, detail)) = (check(s, "partitions"), check(s, "next_month"));
        if ahead || fine || !detail.contains(&says) || !made.contains("another could not be: see next_month") {
            silent.push(format!("{add}: {fine} {detail}, {ahead} {made}"));
        }
        s.run("rollback");
    }
    assert!(silent.is_empty(), "{silent:#?}");
    // Mended, it is well again.
    s.run("call app.maintain_partitions()");
    assert!(check(s, "partitions").0 && check(s, "next_month").0);
}

#[test]
fn a_rehearsal_leaves_nothing_behind_and_takes_no_numbers() {
    let shop = Shop::open();
    let s = &shop.superuser;
    let ming = shop.member("100.00");
    shop.charge(&ming, "20.00");
    s.run("create table public.seen (what text); create table public.mails (what text)");
    s.run(
        "create function public.see() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ \
         begin perform pg_notify('mails', new.tx_no); insert into public.mails values (new.tx_no); raise exception 'mail is down'; end $$; \
         create trigger see after insert on app.transactions for each row execute function public.see()",
    );
    let state = "select string_agg(relname, ' ' order by relname) || (select last_value || ' ' || (select last_value from \
     audit.event_id_seq) from app.tx_no_seq) \
        from pg_class where relnamespace in ('app'::regnamespace, 'audit'::regnamespace)";
    let before = (s.value(state), s.value("select count(*) from app.transactions"));
    s.run("select app.rehearse_month_batch()");
    // What fires after a row is for payments that took place.
    assert_eq!(s.value("select problem from app.month_rehearsals"), NULL);
    assert_eq!((s.value(state), s.value("select count(*) from app.transactions")), before);
    assert_eq!(s.value("select count(*) from pg_locks where pid = pg_backend_pid() and relation = 'app.transactions'::regclass and mode \
     <> 'AccessShareLock'"), "0");
}

#[test]
fn its_age_is_shown_and_an_old_one_is_no_answer() {
    let db = Db::new();
    let s = db.superuser();
    assert_eq!(
        check(&s, "next_month").1,
        "it was never tried out whether it can be made: CALL app.maintain_partitions()"
    );
    s.run("call app.maintain_partitions()");
    s.run("update app.month_rehearsals set rehearsed_at = now() - interval '50 hours'");
    let (fine, detail) = check(&s, "next_month");
    assert!(fine && detail.contains("tried out 2 days 02:00:0"), "{detail}");
    s.run("update app.month_rehearsals set rehearsed_at = now() - interval '73 hours'");
    assert!(!check(&s, "next_month").0);
    // Read only, as on a standby.
    s.run("begin read only");
    check(&s, "next_month");
    s.run("rollback");
}

#[test]
fn who_may_rehearse_is_an_operator() {
    let shop = Shop::open();
    shop.backend.denied("select app.rehearse_month_batch()");
    shop.superuser.run("select sec.grant_api('stranger', 'operator')");
    let operator = shop.db.login("stranger");
    operator.run("call app.maintain_partitions()");
    assert!(check(&operator, "next_month").0);
    shop.superuser.run("select sec.revoke_api('stranger', 'operator')");
}

/// Charges one after the other until told to stop; how long each took.
fn charges(till: &Session, sql: &str, stop: &AtomicBool) -> Vec<Duration> {
    let mut took = Vec::new();
    while !stop.load(Ordering::Relaxed) || took.is_empty() {
        let start = Instant::now();
        till.run(sql);
        took.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    took.sort();
    took
}

/// Charges beside some work: the middle one and the longest. What the work returns.
fn beside<T>(shop: &Shop, work: impl FnOnce() -> T) -> (Vec<Duration>, T) {
    let till = shop.db.user(shop.cashier_id);
    let sql = Shop::charge_sql(&shop.code(&shop.member("1000.00")), "0.01", "");
    let stop = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let charging = scope.spawn(move || charges(&till, &sql, stop));
        let done = work();
        stop.store(true, Ordering::Relaxed);
        (charging.join().expect("every charge works"), done)
    })
}

fn open_shop() -> Shop {
    let shop = Shop::open();
    shop.superuser.run("update app.settings set qr_single_use = false");
    shop
}

#[track_caller]
fn went_on(took: &[Duration], doing: &str) {
    let (middle, longest) = (took[took.len() / 2], took[took.len() - 1]);
    eprintln!("{doing}: {} charges, the middle one {middle:?}, the longest {longest:?}", took.len());
    // The machine may be busy with something else for a moment; a lock would hold up more than one.
    assert!(took.len() > 20 && middle < Duration::from_millis(50) && longest < Duration::from_millis(500), "{doing}");
}

#[test]
fn charges_go_on_beside_analyze_and_the_job_gives_up_and_says_so() {
    let shop = open_shop();
    let s = &shop.superuser;
    let analyst = shop.db.superuser();
    analyst.run("begin; analyze app.transactions");
    let (took, failure) = beside(&shop, || {
        let start = Instant::now();
        let failure = shop.db.superuser().failure("call app.maintain_partitions(8)");
        (failure, start.elapsed())
    });
    failure.0.must_be("STATUS_CONFLICT", "months beside ANALYZE");
    assert!(failure.0.detail.contains("a lock was not to be had"), "{failure:?}");
    assert!(failure.1 < Duration::from_secs(30), "{failure:?}");
    went_on(&took, "beside ANALYZE and the job");
    let (_, job) = check(s, "job maintain_partitions");
    assert!(job.contains("has not finished"), "{job}");
    // With nothing made ahead it is loud, and says who it is.
    for table in TABLES {
        let later = s.column(&format!(
            "select inhrelid::regclass::text from pg_inherits where inhparent = '{table}'::regclass and right(inhrelid::regclass::text, \
             6) > to_char(now() at time zone 'UTC', 'YYYYMM')"
        ));
        analyst.run("commit");
        later.iter().for_each(|month| s.run(&format!("drop table {month}")));
        analyst.run(&format!("begin; analyze {table}"));
    }
    let (fine, detail) = check(s, "partitions");
    assert!(!fine && detail.starts_with("0 months ahead are made: CALL app.maintain_partitions()"), "{detail}");
    assert!(
        detail.contains(&format!("process {} (ShareUpdateExclusiveLock on audit.event_log)", analyst.pid())),
        "{detail}"
    );
    let (took, ()) = beside(&shop, || std::thread::sleep(Duration::from_millis(500)));
    went_on(&took, "with nothing ahead");
    analyst.run("commit");
    s.run("call app.maintain_partitions()");
    assert!(check(s, "partitions").0 && check(s, "next_month").0);
}

#[test]
fn a_charge_in_a_month_that_cannot_be_made_now_waits_two_seconds_and_is_told() {
    let mut shop = open_shop();
    shop.db.without_books();
    let s = &shop.superuser;
    let ming = shop.member("100.00");
    let charge = Shop::charge_sql(&shop.code(&ming), "1.00", "");
    let month = s.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    for table in TABLES {
        s.run(&format!("drop table {table}_{month}"));
    }
    let analyst = shop.db.superuser();
    analyst.run("begin; analyze app.transactions");
    let (fine, detail) = check(s, "partitions");
    assert!(!fine && detail.starts_with("THE PRESENT MONTH IS NOT MADE"), "{detail}");
    // Several at once: none waits for the one that waits.
    let waiting: Vec<_> = (0..4).map(|_| shop.db.user(shop.cashier_id)).collect();
    std::thread::scope(|scope| {
        for till in waiting {
            let charge = &charge;
            scope.spawn(move || {
                let start = Instant::now();
                let failure = till.failure(charge);
                failure.must_be("STATUS_CONFLICT", charge);
                assert!(
                    failure.detail.contains(&format!(
                        "the tables of {}-{} are missing",
                        &month_of(&till)[..4],
                        &month_of(&till)[4..]
                    )),
                    "{failure:?}"
                );
                let took = start.elapsed();
                assert!(took > Duration::from_millis(1500) && took < Duration::from_secs(7), "{took:?}");
            });
        }
    });
    // Who wants to wait less does.
    let till = shop.db.user(shop.cashier_id);
    till.run("set lock_timeout = '100ms'");
    let start = Instant::now();
    till.refused("STATUS_CONFLICT", &charge);
    assert!(start.elapsed() < Duration::from_millis(1500));
    assert_eq!(till.value("show lock_timeout"), "100ms");
    analyst.run("commit");
    assert_eq!(&till.row(&charge)["final_amount"], "1.00");
    assert_eq!(till.value("show lock_timeout"), "100ms");
}

fn month_of(session: &Session) -> String {
    session.value("select to_char(now() at time zone 'UTC', 'YYYYMM')")
}

#[test]
fn a_charge_waits_for_whoever_makes_its_month_and_then_goes_on() {
    let mut shop = open_shop();
    shop.db.without_books();
    let s = &shop.superuser;
    let charge = Shop::charge_sql(&shop.code(&shop.member("100.00")), "1.00", "");
    for table in TABLES {
        s.run(&format!("drop table {table}_{}", month_of(s)));
    }
    s.run("begin");
    s.run("select sec.make_month(now()::date)");
    let waiting = Waiting::start(shop.db.user(shop.cashier_id), &shop.db.superuser(), charge);
    s.run("commit");
    assert_eq!(&waiting.end().expect("made")[0]["final_amount"], "1.00");
}

#[test]
fn charges_go_on_beside_rehearsals_also_where_a_foreign_key_has_them_lock_the_cards() {
    let shop = open_shop();
    let s = &shop.superuser;
    let rehearse = |times: usize| {
        let session = shop.db.superuser();
        (0..times).map(|_| session.value("select app.rehearse_month_batch()")).filter(|done| done == "t").count()
    };
    let (quiet, ()) = beside(&shop, || std::thread::sleep(Duration::from_millis(1000)));
    went_on(&quiet, "beside nothing");
    let (took, done) = beside(&shop, || rehearse(20));
    assert_eq!(done, 20);
    went_on(&took, "beside 20 rehearsals");

    s.run("alter table app.point_ledger add foreign key (card_id) references app.personal_cards");
    let (took, done) = beside(&shop, || rehearse(10));
    assert_eq!(done, 10);
    went_on(&took, "beside 10 rehearsals that lock the cards");
    // A transaction that has written to a card stays open: the rehearsal gives up, and holds nobody up for longer than it tries.
    let slow = shop.db.superuser();
    slow.run("begin; update app.personal_cards set discount = discount where false");
    let (took, done) = beside(&shop, || rehearse(3));
    assert_eq!(done, 0);
    assert!(took[took.len() - 1] < Duration::from_secs(1), "{:?}", took[took.len() - 1]);
    slow.run("rollback");
    assert_eq!(s.value("select app.rehearse_month_batch()"), "t");
}
