//! Many months, and what happens around them: what a call costs with ten years of partitions, how long a charge waits while
//! months are made and archived, and that a month is the same month under every time zone.

use mps_tests::{Db, Failure, Member, Row, SHOP, Session, Shop, Waiting, q};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Relations locked and pages looked at by one call, once the session has done it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    locks: i64,
    pages: i64,
}

/// The least of a few calls: now and then one has a page to extend or to clean.
fn cost(session: &Session, watch: &Session, sql: &str) -> Cost {
    let pid = session.pid();
    let locked = format!("select count(distinct relation) from pg_locks where pid = {pid} and locktype = 'relation'");
    let once = || {
        session.run("begin");
        session.run(sql);
        let locks = watch.value(&locked).parse().expect("a number");
        session.run("commit; begin");
        let plan = session.column(&format!("explain (analyze, buffers, timing off, summary off) {sql}"));
        session.run("commit");
        Cost { locks, pages: pages(&plan) }
    };
    let costs: Vec<Cost> = (0..6).map(|_| once()).collect();
    let least = |of: fn(&Cost) -> i64| costs.iter().skip(1).map(of).min().expect("some");
    Cost { locks: least(|c| c.locks), pages: least(|c| c.pages) }
}

/// Hits and reads of the topmost node, which has those of everything below it.
fn pages(plan: &[String]) -> i64 {
    let line = plan.iter().find_map(|l| l.trim_start().strip_prefix("Buffers: shared "));
    let words = line.unwrap_or_default().split_whitespace();
    let counts = words.filter_map(|w| w.strip_prefix("hit=").or_else(|| w.strip_prefix("read=")));
    counts.map(|n| n.parse::<i64>().expect("a number")).sum()
}

/// How many months there are.
fn months(session: &Session) -> i64 {
    let sql = "select count(*) from pg_inherits where inhparent = 'app.transactions'::regclass";
    session.value(sql).parse().expect("a number")
}

/// Makes months of the past until there are this many.
fn past_months(session: &Session, wanted: i64) {
    let more = wanted - months(session);
    session.run(&format!(
        "select sec.make_month((date_trunc('month', now() at time zone 'UTC') - make_interval(months => n + 1))::date) from \
            generate_series(1, {more}) n"
    ));
    assert_eq!(months(session), wanted);
}

/// What calls cost in a shop with a history of two months, among as many months as are wanted (0: those that there are).
fn costs(wanted: i64) -> (i64, Vec<(&'static str, Cost)>) {
    let shop = Shop::open();
    let session = &shop.superuser;
    session.run("update app.settings set qr_single_use = false");
    let ming = shop.member("1000.00");
    for _ in 0..30 {
        shop.charge(&ming, "1.00");
    }
    shop.a_month_passes();
    for _ in 0..9 {
        shop.charge(&ming, "1.00");
    }
    if wanted > 0 {
        past_months(session, wanted);
    }
    // What is over is closed, as every night.
    session.run("call app.maintain_partitions()");
    session.run("vacuum analyze");
    let paid = session.column("select tx_no from app.transactions where tx_type = 'payment' order by id");
    let (older, newer) = (&paid[0], paid.last().expect("payments"));
    let code = shop.code(&ming);
    let merchant = format!("select * from app.merchant_statement('{SHOP}', p_limit => 20");
    // New sessions, which remember nothing yet.
    let (cashier, user) = (shop.db.user(shop.cashier_id), shop.db.user(ming.id));
    let calls = [
        ("tx_by_no", &cashier, format!("select * from app.tx_by_no({})", q(older))),
        ("card_statement", &user, format!("select * from app.card_statement('{}', p_limit => 30)", ming.card)),
        ("balance_as_of", &user, format!("select app.balance_as_of('{}', now() - interval '1 hour')", ming.card)),
        ("v_usage_logs", &user, "select * from app.v_usage_logs order by created_at desc limit 20".into()),
        ("usage_page", &user, "select * from app.usage_page()".into()),
        ("merchant_statement", &cashier, format!("{merchant})")),
        (
            "merchant_statement to its end",
            &cashier,
            format!("select * from app.merchant_statement('{SHOP}', p_limit => 500)"),
        ),
        ("merchant_statement of a range", &cashier, format!("{merchant}, p_from => now() - interval '1 hour')")),
        ("charge", &cashier, Shop::charge_sql(&code, "1.00", "p_idempotency_key => gen_random_uuid()::text")),
        ("refund of this month", &cashier, Shop::refund_sql(newer, "0.01", "")),
        ("refund of an older month", &cashier, Shop::refund_sql(older, "0.01", "")),
    ];
    (months(session), calls.into_iter().map(|(name, who, sql)| (name, cost(who, session, &sql))).collect())
}

#[test]
fn a_call_costs_with_ten_years_of_months_what_it_costs_with_few() {
    // What looks into every month, and how much of each at the most: table and four indexes; a page or two of the catalogs.
    // Their indexes may be a level higher.
    const GROWING: &[(&str, i64, i64)] = &[("v_usage_logs", 5, 1)];
    let ((few_months, few), (many_months, many)) = (costs(0), costs(120));
    for ((name, few), (_, many)) in few.iter().zip(&many) {
        eprintln!(
            "{name}: {} relations locked and {} pages with {few_months} months, {} and {} with {many_months}",
            few.locks, few.pages, many.locks, many.pages
        );
    }
    let more = many_months - few_months;
    for ((name, few), (_, many)) in few.iter().zip(&many) {
        let (locks, pages) =
            GROWING.iter().find(|(n, ..)| n == name).map_or((0, 0), |(_, locks, pages)| (*locks, *pages));
        // The closed months' own table and its index are looked into where there are some.
        assert!(many.locks <= few.locks + locks * more + 2, "{name}: {few:?}, {many:?}");
        assert!(many.pages <= few.pages + pages * more + 4, "{name}: {few:?}, {many:?}");
    }
}

/// The longest charge of a few tills while `work` goes on, and how many there were.
fn longest_charge(shop: &Shop, members: &[Member], work: impl FnOnce()) -> (Duration, usize) {
    let done = AtomicBool::new(false);
    let tills: Vec<(Session, String)> =
        members.iter().map(|m| (shop.db.user(shop.cashier_id), Shop::charge_sql(&shop.code(m), "0.01", ""))).collect();
    let done = &done;
    std::thread::scope(|scope| {
        let loops: Vec<_> = tills
            .into_iter()
            .map(|(till, charge)| {
                scope.spawn(move || {
                    let (mut longest, mut count) = (Duration::ZERO, 0);
                    while !done.load(Ordering::Relaxed) || count == 0 {
                        let start = Instant::now();
                        till.run(&charge);
                        longest = longest.max(start.elapsed());
                        count += 1;
                    }
                    (longest, count)
                })
            })
            .collect();
        work();
        done.store(true, Ordering::Relaxed);
        let results = loops.into_iter().map(|l| l.join().expect("every charge works"));
        results.fold((Duration::ZERO, 0), |(longest, sum), (one, count)| (longest.max(one), sum + count))
    })
}

#[test]
fn charges_go_on_while_months_are_made_and_archived() {
    const PATIENCE: Duration = Duration::from_secs(3);
    let shop = Shop::open();
    let session = &shop.superuser;
    session.run("update app.settings set qr_single_use = false");
    let members: Vec<Member> = (0..3).map(|_| shop.member("1000.00")).collect();
    // What it takes without anything beside it, for comparison.
    let (quiet, charges) = longest_charge(&shop, &members, || std::thread::sleep(Duration::from_millis(500)));
    eprintln!("beside nothing: {charges} charges, the longest {quiet:?}");

    let before = months(session);
    let (longest, charges) = longest_charge(&shop, &members, || session.run("call app.maintain_partitions(60)"));
    let made = months(session) - before;
    eprintln!("while {made} months were made: {charges} charges, the longest {longest:?}");
    assert!(made > 50 && longest < PATIENCE, "{made} months, {longest:?}");

    session.run(
        "select sec.make_month((date_trunc('month', now() at time zone 'UTC') - make_interval(months => n))::date) \
        from generate_series(1, 24) n",
    );
    let (longest, charges) = longest_charge(&shop, &members, || {
        session.run("call app.archive_partitions((now() at time zone 'UTC')::date)")
    });
    let archived = session.value("select count(*) from app.archived_months");
    eprintln!("while {archived} months were archived: {charges} charges, the longest {longest:?}");
    // One that finds no moment gives up for now; of empty months that are nearly all.
    assert!(archived.parse::<i64>().expect("a number") > 0 && longest < PATIENCE, "{archived} months, {longest:?}");
    assert_eq!(session.column("select detail from app.verify_books() where ok is not true"), [] as [String; 0]);
}

#[test]
fn a_month_is_the_same_under_every_time_zone() {
    let expected = [
        ["2031-11-01 00:00:00+00", "2031-12-01 00:00:00+00"],
        ["2031-12-01 00:00:00+00", "2032-01-01 00:00:00+00"],
        ["2032-01-01 00:00:00+00", "2032-02-01 00:00:00+00"],
        ["2032-02-01 00:00:00+00", "2032-03-01 00:00:00+00"],
    ];
    let bounds = |session: &Session, table: &str, years: &str| -> Vec<String> {
        session.run("set timezone = 'UTC'; set datestyle = 'ISO, YMD'");
        session.column(&format!(
            "select c.relname || ' ' || pg_get_expr(c.relpartbound, c.oid) from pg_inherits i join pg_class c on c.oid = i.inhrelid \
             where i.inhparent = '{table}'::regclass and c.relname ~ '_({years})' order by c.relname"
        ))
    };
    let mut maintained = Vec::new();
    for zone in ["Pacific/Kiritimati", "America/Los_Angeles", "Asia/Shanghai", "UTC"] {
        let db = Db::new();
        let session = db.superuser();
        session.run(&format!("set timezone = {}; set datestyle = 'German'", q(zone)));
        // First and last days, and what is another day elsewhere at this hour.
        for day in ["2031-11-30", "2031-12-01", "2031-12-31", "2032-01-01", "2032-02-29"] {
            session.run(&format!("select sec.make_month('{day}')"));
        }
        for ahead in 0..=14 {
            session.run(&format!("select app.maintain_partitions_batch({ahead})"));
        }
        for table in ["app.transactions", "app.point_ledger", "audit.event_log"] {
            let (_, name) = table.split_once('.').expect("a schema");
            let wanted: Vec<String> = expected
                .iter()
                .map(|[from, to]| {
                    format!("{name}_{}{} FOR VALUES FROM ('{from}') TO ('{to}')", &from[..4], &from[5..7])
                })
                .collect();
            assert_eq!(bounds(&session, table, "203[0-9]"), wanted, "{zone}");
        }
        maintained.push(bounds(&session, "app.transactions", "202[0-9]"));
        // A moment belongs to the month of UTC, whatever the clock on the wall says.
        session.run(&format!("begin; set local timezone = {}", q(zone)));
        for (moment, month) in [("2031-12-31 23:59:59.999999+00", "203112"), ("2032-01-01 00:00:00+00", "203201")] {
            session.run(&format!(
                "insert into app.point_ledger (card_id, point_seq, created_at, change, balance_after, level) values \
                    (gen_random_uuid(), 1, '{moment}', 1, 1, 0)"
            ));
            let found = session
                .value(&format!("select tableoid::regclass from app.point_ledger where created_at = '{moment}'"));
            assert_eq!(found, format!("app.point_ledger_{month}"), "{zone}");
        }
        session.run("rollback");
    }
    assert_eq!(maintained[0].len(), 15);
    assert!(maintained.iter().all(|m| *m == maintained[0]), "{maintained:?}");
}

#[test]
fn numbers_keys_and_orders_are_unique_across_the_turn_under_every_time_zone() {
    let shop = Shop::open();
    let (ming, hua) = (shop.member("1000.00"), shop.member("1000.00"));
    let keyed = |m: &Member, key: &str, order: &str| {
        Shop::charge_sql(
            &shop.code(m),
            "5.00",
            &format!("p_idempotency_key => {}, p_external_order_id => {}", q(key), q(order)),
        )
    };
    let first = shop.cashier.row(&keyed(&ming, "key-1", "order-1"));
    shop.a_month_passes();
    let moved = shop.superuser.value("select tx_no from app.transactions where idempotency_key = 'key-1'");
    assert_ne!(&first["tx_no"], moved);
    for (nth, zone) in ["Pacific/Kiritimati", "America/Los_Angeles", "Asia/Shanghai"].iter().enumerate() {
        let till = shop.db.user(shop.cashier_id);
        till.run(&format!("set timezone = {}", q(zone)));
        let again = till.row(&keyed(&ming, "key-1", "order-1"));
        assert_eq!((&again["tx_no"], &again["replayed"]), (moved.as_str(), "t"), "{zone}");
        till.refused("IDEMPOTENCY_KEY_REUSED", &keyed(&hua, "key-1", "order-1"));
        till.refused("EXTERNAL_ORDER_CONFLICT", &keyed(&hua, &format!("key-{zone}"), "order-1"));
        let now = till.row(&keyed(&hua, &format!("key-{zone}"), &format!("order-{nth}-new")));
        let month = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYMM')");
        assert_eq!((&now["tx_no"][2..6], &now["replayed"]), (month.as_str(), "f"), "{zone}");
    }
    let rows = shop
        .superuser
        .row("select count(*), count(distinct tx_no) as numbers, count(distinct id) as ids from app.transactions");
    assert_eq!(rows.values(), ["6", "6", "6"]);
}

/// A shop with a payment of the month before that can be archived, and the statement that archives it.
fn about_to_archive() -> (Shop, String, String) {
    let mut shop = Shop::open();
    shop.db.without_books();
    let ming = shop.member("100.00");
    shop.charge(&ming, "10.00");
    shop.a_month_passes();
    shop.superuser.run("call audit.seal()");
    let paid = shop.superuser.value("select tx_no from app.transactions where tx_type = 'payment'");
    let archive =
        "select app.archive_month_batch((date_trunc('month', now() at time zone 'UTC') - interval '1 month')::date)";
    (shop, paid, archive.into())
}

/// What answers about a month that was archived.
fn must_be_archived(answer: Result<Vec<Row>, Failure>, sql: &str) {
    answer.expect_err(sql).must_be("ARCHIVED", sql);
}

#[test]
fn who_remembers_a_month_and_waits_for_its_archiving_is_told_so() {
    for refunds in [false, true] {
        let (shop, paid, archive) = about_to_archive();
        let till = shop.db.user(shop.cashier_id);
        let sql = if refunds {
            Shop::refund_sql(&paid, "1.00", "")
        } else {
            format!("select * from app.tx_by_no({})", q(&paid))
        };
        // The till has asked before, and keeps both the month and the plan.
        till.run(&format!("begin; {sql}; rollback"));
        shop.superuser.run("begin");
        assert_eq!(shop.superuser.value(&archive), "NULL", "archived");
        let waiting = Waiting::start(till, &shop.db.superuser(), sql.clone());
        shop.superuser.run("commit");
        must_be_archived(waiting.end(), &sql);
    }
}

#[test]
fn who_remembers_a_month_and_began_before_its_archiving_is_told_so() {
    let (shop, paid, archive) = about_to_archive();
    let sql = format!("select * from app.tx_by_no({})", q(&paid));
    let till = shop.db.user(shop.cashier_id);
    till.run(&sql);
    till.run("begin; select 1");
    assert_eq!(shop.superuser.value(&archive), "NULL", "archived");
    must_be_archived(till.try_rows(&sql), &sql);
    till.run("rollback");
    must_be_archived(till.try_rows(&sql), &sql);
}
