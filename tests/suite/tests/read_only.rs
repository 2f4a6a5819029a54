//! app.set_mode: while read_only is on nothing of MPS writes, whoever calls; it is on only once nobody writes any more; reads go on.

use mps_tests::manual::document;
use mps_tests::{Cluster, Db, Failure, Member, Row, Scratch, Session, Shop, Till, Waiting, nobody, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const ON: &str = "select * from app.set_mode('read_only', 'moving house')";
const OFF: &str = "select * from app.set_mode('normal')";

/// What is declared to write, and writes nothing of ours.
const WRITES_NOTHING: &[(&str, &str)] = &[
    ("app.set_mode", "ends it"),
    ("app.schedule_jobs", "pg_cron's table"),
    ("app.enable_supabase_signup", "triggers on Supabase's table"),
    ("sec.on_signup", "a trigger, which warns"),
    ("sec.raise", "an error"),
    ("sec.check_months_ahead", "an error or nothing"),
    ("audit.seal_ready", "asks only"),
    ("audit.balances_ready", "asks only"),
    ("sec.closing_is_ready", "asks only"),
];

/// Long enough to see that somebody waits.
const A_WHILE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(20);

/// The functions of docs/api.json.
fn api() -> Vec<Value> {
    let file: Value = serde_json::from_str(&document("docs/api.json")).expect("JSON");
    file["functions"].as_array().expect("a list").clone()
}

fn text<'a>(function: &'a Value, key: &str) -> &'a str {
    function[key].as_str().unwrap_or_default()
}

/// A call with nothing but NULLs: the mode is asked before arguments are.
fn call_of(function: &Value) -> String {
    let name = text(function, "name");
    let arguments = function["arguments"].as_array().expect("a list");
    let nulls: Vec<String> = arguments.iter().map(|a| format!("NULL::{}", text(a, "type"))).collect();
    match (name, text(function, "kind")) {
        ("app.archive_month_batch", _) => "select app.archive_month_batch('2020-01-01')".into(),
        ("app.archive_partitions", _) => "call app.archive_partitions('2020-01-01')".into(),
        ("app.issue_coupon_to_all", _) => "call app.issue_coupon_to_all('C1')".into(),
        (_, "procedure") => format!("call {name}()"),
        _ => format!("select * from {name}({})", nulls.join(", ")),
    }
}

/// Somebody of each level, and a superuser for all.
fn somebody(db: &Db, levels: &[Value]) -> Vec<Session> {
    let mut sessions = vec![db.superuser()];
    for level in levels {
        match level.as_str().expect("a level") {
            "client" => sessions.push(db.user(nobody())),
            "backend" => sessions.push(db.backend()),
            "operator" => sessions.push(db.login("t_read_only_operator")),
            // A role by this name would be Supabase's: the superuser does.
            "signup" => {}
            // It calls nothing but one function, which the superuser calls, too.
            "gateway" => {}
            other => panic!("a level {other}"),
        }
    }
    sessions
}

/// A shop with an operator.
fn operated_shop() -> Shop {
    let shop = Shop::open();
    shop.superuser.run(
        "do $$ begin create role t_read_only_operator login; exception when duplicate_object or unique_violation then null; end $$; \
         select sec.grant_api('t_read_only_operator', 'operator'); create schema if not exists mps_archive authorization mps_owner",
    );
    shop
}

/// A statement that runs in a thread of its own.
fn started(session: Session, sql: &str) -> JoinHandle<Result<Vec<Row>, Failure>> {
    let sql = sql.to_owned();
    thread::spawn(move || session.try_rows(&sql))
}

/// Begins to turn read_only on, which must come to wait for somebody.
#[track_caller]
fn turning_on(db: &Db) -> JoinHandle<Result<Vec<Row>, Failure>> {
    let flipping = started(db.superuser(), ON);
    thread::sleep(A_WHILE);
    assert!(!flipping.is_finished(), "it waited for nobody: {:?}", flipping.join());
    flipping
}

#[track_caller]
fn must_end(flipping: JoinHandle<Result<Vec<Row>, Failure>>) {
    until("read_only is on", PATIENCE, || flipping.is_finished());
    let rows = flipping.join().expect("the thread lives").expect("read_only is on");
    assert_eq!((&rows[0]["mode"], &rows[0]["changed"]), ("read_only", "t"));
}

#[test]
fn what_writes_is_refused_at_every_level_and_what_reads_is_not() {
    let shop = operated_shop();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "1.00")["tx_no"].to_owned();
    shop.superuser.run(ON);
    let before = Db::snapshot(&shop.db.name);
    let mut let_through: BTreeSet<String> = WRITES_NOTHING.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut refused = 0;
    for function in api() {
        let (name, sql) = (text(&function, "name"), call_of(&function));
        if text(&function, "returns") == "trigger" || name == "app.set_mode" {
            let_through.remove(name);
            continue;
        }
        let is_writer = text(&function, "kind") == "function"
            && text(&function, "volatility") == "volatile"
            && !let_through.remove(name);
        for session in somebody(&shop.db, function["levels"].as_array().expect("a list")) {
            match session.try_rows(&sql) {
                Err(failure) if is_writer => {
                    failure.must_be("READ_ONLY", &sql);
                    assert!(failure.detail.contains("moving house"), "{failure:?}");
                    refused += 1;
                }
                Ok(rows) if is_writer => panic!("was not refused: {sql}\n{rows:?}"),
                Err(failure) => assert_ne!(failure.message, "READ_ONLY", "{sql}"),
                Ok(_) => {}
            }
        }
    }
    assert_eq!(let_through, BTreeSet::new(), "functions that are no more");
    assert!(refused > 60, "only {refused} calls were refused");
    // Two that mean something, and a known key.
    let user = shop.db.user(ming.id);
    assert_eq!(user.rows(&format!("select * from app.card_statement('{}')", ming.card)).len(), 2);
    assert_eq!(&user.row(&format!("select * from app.tx_by_no('{paid}')"))["tx_no"], paid);
    shop.cashier.refused("READ_ONLY", &Shop::refund_sql(&paid, "1.00", ""));
    assert_eq!(Db::snapshot(&shop.db.name), before);
    shop.superuser.run(OFF);
    shop.refund(&paid, "1.00");
}

/// No job fails all night, and health says why none does anything.
#[test]
fn jobs_do_nothing_and_say_so() {
    let shop = operated_shop();
    shop.member("1.00");
    let operator = shop.db.login("t_read_only_operator");
    operator.run(ON);
    let before = Db::snapshot(&shop.db.name);
    let procedures: Vec<Value> = api().into_iter().filter(|f| text(f, "kind") == "procedure").collect();
    assert!(procedures.len() >= 9, "{procedures:?}");
    for procedure in &procedures {
        operator.run(&call_of(procedure));
    }
    assert_eq!(Db::snapshot(&shop.db.name), before);
    let health = "select ok || ' ' || detail from app.health() where check_name = 'mode'";
    let said = operator.value(health);
    assert!(said.starts_with("false read_only since ") && said.contains("moving house"), "{said}");
    operator.run(OFF);
    assert_eq!(operator.column(health), [""; 0]);
    operator.run("call audit.seal()");
    assert_eq!(operator.value("select ok from app.health() where check_name = 'job seal'"), "t");
}

#[test]
fn the_mode_is_an_operators_to_set_and_every_change_is_in_the_log() {
    let shop = operated_shop();
    for session in [&shop.backend, &shop.cashier] {
        session.denied(ON);
    }
    let operator = shop.db.login("t_read_only_operator");
    for (arguments, detail) in [
        ("NULL", "p_mode"),
        ("'off'", "p_mode"),
        ("'read_only'", "p_reason"),
        ("'read_only', ''", "p_reason"),
        ("'read_only', repeat('x', 501)", "p_reason"),
        ("'normal', repeat('x', 501)", "p_reason"),
    ] {
        let failure = operator.refused("INVALID_ARGUMENT", &format!("select * from app.set_mode({arguments})"));
        assert!(failure.detail.contains(detail), "{arguments}: {failure:?}");
    }
    operator.run("begin isolation level repeatable read");
    operator.refused("STATUS_CONFLICT", ON);
    operator.run("rollback");
    let set = |sql: &str| operator.row(sql).values().join("|");
    assert_eq!(set(OFF), "normal|NULL|NULL|f");
    let first = operator.row(ON);
    assert_eq!((&first["mode"], &first["reason"], &first["changed"]), ("read_only", "moving house", "t"));
    let since = &first["since"];
    assert_eq!(set(ON), format!("read_only|{since}|moving house|f"));
    assert_eq!(set("select * from app.set_mode('read_only', 'still')"), format!("read_only|{since}|still|t"));
    let failure = shop.backend.refused("READ_ONLY", "select * from app.create_merchant('S', 'x')");
    assert!(failure.detail.ends_with(": still"), "{failure:?}");
    assert!(set("select * from app.set_mode('normal', 'done')").starts_with("normal|20"));
    shop.backend.run("select * from app.create_merchant('S', 'x')");
    let log = "select actor_role || ' ' || object_id || ' ' || context from audit.event_log where action = 'mode.set' order by id";
    let who = "t_read_only_operator";
    assert_eq!(
        shop.superuser.column(log),
        [
            format!(r#"{who} read_only {{"reason": "moving house"}}"#),
            format!(r#"{who} read_only {{"reason": "still"}}"#),
            format!(r#"{who} normal {{"reason": "done"}}"#)
        ]
    );
}

/// Statements that write, one of a kind, each of a member of its own; with how often what it writes is there then.
fn writers(shop: &Shop) -> Vec<(Session, String, String)> {
    let member = || shop.member("50.00");
    let (a, b, c, d, e) = (member(), member(), member(), member(), member());
    let paid = shop.charge(&b, "5.00")["tx_no"].to_owned();
    let waiting = shop.pending(&d, "7.00");
    let backend = || shop.db.backend();
    let events = |action: &str| format!("select count(*) from audit.event_log where action = '{action}'");
    vec![
        (shop.db.user(shop.cashier_id), Shop::charge_sql(&shop.code(&a), "1.00", ""), events("payment")),
        (shop.db.user(shop.cashier_id), Shop::refund_sql(&paid, "1.00", ""), events("refund")),
        (
            backend(),
            format!("select * from app.user_recharge_personal_card('{}', 9, 'cash')", c.card),
            events("recharge"),
        ),
        (backend(), format!("select * from app.confirm_recharge('{waiting}', 7, 'g-1')"), events("recharge.confirmed")),
        (
            backend(),
            format!("select app.set_card_status('{}', 'personal', 'frozen', 'x')", e.card),
            events("card.status_set"),
        ),
        (
            backend(),
            r#"select app.update_settings('{"qr_ttl_seconds": 61}')"#.into(),
            "select qr_ttl_seconds from app.settings".into(),
        ),
        (
            shop.db.superuser(),
            "select app.expire_qrcodes_batch(NULL)".into(),
            "select count(*) from app.job_runs".into(),
        ),
        (shop.db.superuser(), "select audit.seal_note()".into(), "select count(*) from audit.seal_cut".into()),
        (
            shop.db.superuser(),
            "update app.membership_levels set discount = 0.5 where level = 4".into(),
            events("level.changed"),
        ),
    ]
}

/// Whoever has written is waited for; nobody new is let in meanwhile, nobody else is held up, and reads go on.
#[test]
fn it_answers_when_the_writers_under_way_have_ended() {
    let shop = operated_shop();
    let (ming, other) = (shop.member("50.00"), shop.member("50.00"));
    let code = shop.code(&other);
    for (holder, sql, written) in writers(&shop) {
        holder.run(&format!("begin; {sql}"));
        let before = shop.superuser.value(&written);
        let flipping = turning_on(&shop.db);
        let began = Instant::now();
        let failure = shop.cashier.refused("READ_ONLY", &Shop::charge_sql(&code, "1.00", ""));
        assert!(failure.detail.contains("being made read only"), "{sql}: {failure:?}");
        shop.db.user(ming.id).run(&format!("select * from app.card_statement('{}')", ming.card));
        assert!(began.elapsed() < Duration::from_secs(1), "{sql}: somebody waited for it");
        assert!(!flipping.is_finished(), "{sql}");
        assert_eq!(shop.superuser.value(&written), before, "{sql}");
        holder.run("commit");
        must_end(flipping);
        assert_ne!(shop.superuser.value(&written), before, "{sql}: what it waited for is not there");
        shop.superuser.run(OFF);
        shop.cashier.run(&Shop::charge_sql(&shop.code(&other), "1.00", ""));
    }
}

/// A call that came before and is held up by somebody else is refused when it gets on, and leaves nothing.
#[test]
fn who_is_under_way_and_has_not_written_yet_is_refused() {
    let shop = Shop::open();
    let ming = shop.member("50.00");
    for (caller, sql) in [
        (shop.db.user(shop.cashier_id), Shop::charge_sql(&shop.code(&ming), "1.00", "p_idempotency_key => 'k'")),
        (shop.db.backend(), format!("select * from app.adjust_points('{}', 1, 'x')", ming.card)),
        (shop.db.backend(), format!("select app.set_card_status('{}', 'personal', 'active', 'x')", ming.card)),
    ] {
        let holder = shop.db.superuser();
        holder.run(&format!("begin; select from app.personal_cards where id = '{}' for update", ming.card));
        let waiting = Waiting::start(caller, &shop.superuser, sql.clone());
        let left = "select (select count(*) from audit.event_log where action <> 'mode.set') || ' ' || (select count(*) from \
                    app.idempotency_keys) || ' ' || (select balance || ' ' || points || ' ' || card_seq from app.personal_cards)";
        let before = shop.superuser.value(left);
        let flipping = started(shop.db.superuser(), ON);
        thread::sleep(A_WHILE);
        holder.run("rollback");
        waiting.end().expect_err(&sql).must_be("READ_ONLY", &sql);
        must_end(flipping);
        assert_eq!(shop.superuser.value(left), before, "{sql}");
        shop.superuser.run(OFF);
    }
}

/// An older snapshot writes nothing, nor does the second call of a transaction that began before.
#[test]
fn an_older_snapshot_does_not_write() {
    let shop = Shop::open();
    let ming = shop.member("50.00");
    for level in ["repeatable read", "serializable"] {
        let caller = shop.db.backend();
        let sql = format!("select * from app.adjust_points('{}', 1, 'x')", ming.card);
        caller.run(&sql);
        caller.run(&format!("begin isolation level {level}; select count(*) from app.membership_levels"));
        shop.superuser.run(ON);
        caller.failure(&sql).must_be("READ_ONLY", level);
        caller.run("rollback");
        shop.superuser.run(OFF);
        caller.run(&sql);
    }
    let caller = shop.db.backend();
    let sql = format!("select * from app.adjust_points('{}', 1, 'x')", ming.card);
    caller.run(&format!("begin; {sql}"));
    let flipping = turning_on(&shop.db);
    caller.failure(&sql).must_be("READ_ONLY", "the second call");
    caller.run("commit");
    must_end(flipping);
}

/// Whoever is turning it on and goes, whichever way, leaves the mode as it was.
#[test]
fn who_gives_up_leaves_the_mode_as_it_was() {
    let shop = Shop::open();
    let ming = shop.member("50.00");
    let charge = || shop.cashier.run(&Shop::charge_sql(&shop.code(&ming), "0.01", ""));
    // By its own patience.
    let writer = shop.db.backend();
    let points = format!("select * from app.adjust_points('{}', 1, 'x')", ming.card);
    writer.run(&format!("begin; {points}"));
    let flipping = shop.db.superuser_with("-c lock_timeout=200ms");
    let failure = flipping.failure(ON);
    failure.must_be("STATUS_CONFLICT", ON);
    assert!(failure.detail.contains(&format!("process {}", writer.pid())), "{failure:?}");
    // The error is told before its transaction has ended.
    flipping.run("select 1");
    let other = shop.member("0");
    shop.backend.run(&format!("select * from app.adjust_points('{}', 1, 'x')", other.card));
    // Ended while it waits, and before it commits.
    for ends_before_commit in [false, true] {
        let flipping = shop.db.superuser();
        let pid = flipping.pid();
        let flipping = if ends_before_commit {
            writer.run("commit");
            flipping.run(&format!("begin; {ON}"));
            started(flipping, "select pg_sleep(60)")
        } else {
            started(flipping, ON)
        };
        thread::sleep(A_WHILE);
        shop.cashier.refused("READ_ONLY", &Shop::charge_sql("QP", "0.01", ""));
        shop.superuser.run(&format!("select pg_terminate_backend({pid}, 10000)"));
        flipping.join().expect("the thread lives").expect_err("it was ended");
        if ends_before_commit {
            charge();
        }
        shop.backend.run(&format!("select * from app.adjust_points('{}', 1, 'x')", other.card));
        assert_eq!(shop.superuser.column("select mode from app.operating_mode"), [""; 0]);
    }
    // Rolled back: to a savepoint, and as a whole.
    let flipping = shop.db.superuser();
    flipping.run(&format!("begin; savepoint s; {ON}; rollback to s"));
    charge();
    flipping.run(&format!("rollback; begin; {ON}; rollback"));
    charge();
}

/// A sign-up is never stopped.
#[test]
fn a_sign_up_goes_on() {
    let db = Db::empty();
    let s = db.superuser();
    s.run("create schema auth; create table auth.users (id uuid primary key, email text, phone text, raw_user_meta_data jsonb)");
    s.run("create extension mps; select app.enable_supabase_signup()");
    s.run(ON);
    let id = nobody();
    s.run(&format!("insert into auth.users (id, email) values ('{id}', 'a@example.org')"));
    let members =
        || s.value("select (select count(*) from app.member_profiles) || ' of ' || (select count(*) from auth.users)");
    assert_eq!(members(), "0 of 1");
    s.run(OFF);
    let user = db.user(id);
    user.run("select * from app.register_member('Ming')");
    assert_eq!(members(), "1 of 1");
}

/// What the flips of the load have to say.
struct Load {
    stop: AtomicBool,
    paid: AtomicUsize,
    refused: AtomicUsize,
}

/// Charges, adjusts points, or does both in one transaction, until it is told to stop.
fn work(till: &Session, load: &Load, n: usize, ming: &Member, code: &str) {
    let charge = Shop::charge_sql(code, "0.01", "");
    let points = format!("select * from app.adjust_points('{}', 1, 'x')", ming.card);
    let ways = [
        charge.clone(),
        points.clone(),
        format!("begin; {charge}; {points}; select pg_sleep(0.02); commit"),
        format!("begin isolation level repeatable read; {points}; commit"),
    ];
    while !load.stop.load(Ordering::Relaxed) {
        match till.try_rows(&ways[n % ways.len()]) {
            Ok(_) => load.paid.fetch_add(1, Ordering::Relaxed),
            Err(e) if e.message == "READ_ONLY" => {
                till.run("rollback");
                load.refused.fetch_add(1, Ordering::Relaxed)
            }
            Err(e) => panic!("{e:?}"),
        };
    }
}

/// Turns read_only on, looks whether anything is written, and turns it off; how long it took to be on.
fn flip(shop: &Shop, load: &Load) -> Duration {
    let flipping = &shop.superuser;
    let written = "select (select count(*) from audit.event_log) || ' ' || (select count(*) from app.transactions) || ' ' || \
                   (select sum(balance) || ' ' || sum(points) from app.personal_cards)";
    let began = Instant::now();
    flipping.run(ON);
    let took = began.elapsed();
    let (paid, then) = (load.paid.load(Ordering::Relaxed), flipping.value(written));
    thread::sleep(Duration::from_millis(20));
    assert_eq!(flipping.value(written), then, "something was written while read_only was on");
    flipping.run(OFF);
    until("somebody writes again", PATIENCE, || load.paid.load(Ordering::Relaxed) > paid);
    took
}

/// Eight who write all the time, and fifty flips: while it is on, nothing is written, and nothing is about to be.
#[test]
fn nothing_is_written_under_load_while_it_is_on() {
    const FLIPS: usize = 50;
    let shop = Shop::open();
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false, "points_per_unit": 0}')"#);
    let load = Load { stop: AtomicBool::new(false), paid: AtomicUsize::new(0), refused: AtomicUsize::new(0) };
    let members: Vec<(Member, String)> = (0..8)
        .map(|_| {
            let ming = shop.member("1000.00");
            let code = shop.code(&ming);
            (ming, code)
        })
        .collect();
    let slowest = thread::scope(|scope| {
        for (n, (ming, code)) in members.iter().enumerate() {
            let (load, till) = (&load, shop.db.backend());
            scope.spawn(move || work(&till, load, n, ming, code));
        }
        let slowest = panic::catch_unwind(AssertUnwindSafe(|| (0..FLIPS).map(|_| flip(&shop, &load)).max()));
        load.stop.store(true, Ordering::Relaxed);
        slowest.unwrap_or_else(|why| panic::resume_unwind(why)).expect("flips")
    });
    let (paid, refused) = (load.paid.into_inner(), load.refused.into_inner());
    println!("{FLIPS} flips, the slowest {slowest:?}; {paid} writes, {refused} refusals");
    assert!(paid > FLIPS && refused > FLIPS, "{paid} writes, {refused} refusals");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

/// A prepared transaction is a writer under way; and a dump has the mode, so that what is moved stays as it was until it is to go on.
#[test]
fn prepared_transactions_are_waited_for_and_a_dump_has_the_mode() {
    let server = Cluster::start_with("-c max_prepared_transactions=5");
    server.psql("postgres", "create database shop").expect("a database");
    server.psql("postgres", "create database moved").expect("a database");
    let s = server.superuser("shop");
    s.run("create role authenticated; create role service_role; create extension mps");
    let till = Till::open(server.superuser("shop"));
    let ming = till.member("50.00");
    let points = format!("select * from app.adjust_points('{}', 1, 'x')", ming.card);
    s.run(&format!("begin; {points}; prepare transaction 'p'"));
    s.run("set lock_timeout = '200ms'");
    let failure = s.failure(ON);
    failure.must_be("STATUS_CONFLICT", ON);
    assert!(failure.detail.contains("prepared transaction"), "{failure:?}");
    s.run("commit prepared 'p'");
    s.run(ON);
    s.failure(&points).must_be("READ_ONLY", "here");
    let said = server.notices("shop", "call app.expire_cards()");
    assert!(said.contains("read_only since") && said.contains("nothing to do (moving house)"), "{said}");
    let scratch = Scratch::new("mode");
    server.program("pg_dump", &["-Fd", "-f", scratch.path(), "shop"]).expect("a dump");
    server.program("pg_restore", &["--exit-on-error", "-d", "moved", scratch.path()]).expect("a restore");
    let moved = server.superuser("moved");
    moved.failure(&points).must_be("READ_ONLY", "there");
    for there in [s, moved] {
        there.run(OFF);
        there.run(&points);
    }
}
