//! Pages cost the page, however many months there are, and hide nothing.

use mps_tests::{Clock, Member, Meter, SHOP, Session, Shop, Till, q};
use std::thread;

/// The lines that a member's page is to have, newest first, by the view.
fn usage(user: &Session) -> Vec<String> {
    user.column(
        "select tx_no from app.v_usage_logs where status in ('completed', 'processing') \
         order by coalesce(posted_at, created_at) desc, tx_id desc",
    )
}

/// All of a member's pages, so many lines a page.
fn paged(user: &Session, limit: usize) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    loop {
        let before = seen.last().map_or("null".into(), q);
        let page = user.column(&format!("select tx_no from app.usage_page({before}, {limit})"));
        assert!(page.len() <= limit, "{} lines, not {limit}", page.len());
        seen.extend(page.iter().cloned());
        if page.len() < limit {
            return seen;
        }
    }
}

#[track_caller]
fn same_pages(user: &Session, rows: usize) {
    let all = usage(user);
    assert_eq!(all.len(), rows);
    for limit in [1, 2, 3, 7, 20, 500] {
        assert_eq!(paged(user, limit), all, "{limit} a page");
    }
    // From each line on, whichever card it is of.
    for (i, line) in all.iter().enumerate() {
        assert_eq!(
            user.column(&format!("select tx_no from app.usage_page({}, 500)", q(line))),
            all[i + 1..],
            "below {line}"
        );
    }
}

#[test]
fn a_members_page_has_all_its_cards_and_nothing_of_others() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("1000.00"), shop.member("1000.00"));
    let (one, two) = (shop.company("0.900", "500.00", &ming), shop.company("1.000", "500.00", &mei));
    shop.bind(&one, &mei, "member");
    shop.bind(&two, &ming, "member");
    let user = shop.db.user(ming.id);
    let round = |member: &Member| {
        for _ in 0..2 {
            shop.charge(member, "1.00");
            shop.charge_company(&one, member, "2.00");
            shop.charge_company(&two, &mei, "3.00");
            shop.charge_company(&two, member, "4.00");
            shop.charge(&mei, "5.00");
        }
    };
    round(&ming);
    shop.a_month_passes();
    round(&ming);
    let waits = shop.pending(&ming, "10.00");
    // A replaced card, whose history goes on below the new one's.
    shop.set_card(&ming.card, "personal", "lost");
    let new = shop.backend.row(&format!("select * from app.replace_card('{}', 'lost')", ming.card));
    let ming = ming.with_card(&new["card_id"], &new["card_no"]);
    round(&ming);
    same_pages(&user, 22);
    let page = user.rows("select * from app.usage_page(p_limit => 500)");
    let line = page.iter().find(|r| r["tx_no"] == waits).expect("the recharge that waits");
    assert_eq!(line.without(&["tx_id", "tx_no", "created_at"]).values()[..3], ["recharge", "processing", "10.00"]);
    let company = page.iter().find(|r| &r["card_no"] == one.card_no.as_str()).expect("a line of the company's card");
    assert_eq!((&company["card_type"], &company["merchant_code"], &company["change"]), ("enterprise", SHOP, "-1.80"));
    // Whoever is not bound any more does not see it.
    shop.backend.run(&format!("select app.enterprise_remove_member('{}', '{}')", two.card_no, ming.id));
    same_pages(&user, 16);
    let theirs = shop.superuser.value(&format!(
        "select tx_no from app.transactions where card_id = '{}' and member_id = '{}' limit 1",
        two.card, ming.id
    ));
    for number in [&theirs, "ZF2611999999", "x"] {
        user.refused("TX_NOT_FOUND", &format!("select * from app.usage_page({})", q(number)));
    }
    // Closing the months changes nothing.
    shop.superuser.run("call app.maintain_partitions()");
    same_pages(&user, 16);
    shop.db.user(mei.id).run("select * from app.usage_page()");
    // Of whoever has done nothing yet, nothing; no month has been archived that it could be in.
    assert_eq!(shop.db.user(shop.member("0").id).column("select tx_no from app.usage_page()"), [] as [String; 0]);
    shop.db.anon().denied("select * from app.usage_page()");
    shop.backend.refused("NOT_AUTHENTICATED", "select * from app.usage_page()");
    user.refused("INVALID_ARGUMENT", "select * from app.usage_page(p_limit => 0)");
}

/// A shop under a clock, and a charge of each month since its start.
fn till_at(moment: &str) -> (Clock, Till) {
    let clock = Clock::start_at(moment);
    let session = clock.cluster.superuser("postgres");
    session.run("create extension mps");
    (clock, Till::open(session))
}

/// Charges of another merchant.
fn charge_at(till: &Till, merchant: &str, card: &str) -> String {
    let code = till.session.row(&format!("select * from app.rotate_card_qr('{card}')"))["qr_plain"].to_owned();
    till.session.row(&format!("select * from app.merchant_charge_by_qr('{merchant}', {}, 1)", q(code)))["tx_no"]
        .to_owned()
}

#[test]
fn a_closed_month_hides_nothing() {
    let (clock, till) = till_at("2026-01-20 12:00:00Z");
    let s = &till.session;
    s.run("select app.create_merchant('SHOP-002', 'x'), app.create_merchant('SHOP-003', 'x')");
    let ming = till.member("1000.00");
    let company = s.row(&format!("select * from app.create_enterprise_card('Corner', 1.000, '{}')", ming.id));
    s.run(&format!("select * from app.user_recharge_enterprise_card_admin('{}', 100, 'cash')", &company["card_id"]));
    let mut paid = Vec::new();
    for month in 1..=8 {
        clock.set(&format!("2026-{month:02}-20 12:00:00Z"));
        s.run("call app.maintain_partitions()");
        paid.push(till.charge(&ming.card, "1.00")["tx_no"].to_owned());
        if month % 3 == 0 {
            paid.push(charge_at(&till, "SHOP-002", &ming.card));
        }
    }
    let closed = || s.value("select through from app.closed_months");
    assert_eq!(closed(), "2026-07-01");
    let shown =
        |merchant: &str| s.column(&format!("select tx_no from app.merchant_statement('{merchant}', p_limit => 500)"));
    let of = |merchant: &str| {
        s.column(&format!(
            "select tx_no from app.transactions t join app.merchants m on m.id = t.merchant_id where m.code = \
         '{merchant}' order by posted_at desc"
        ))
    };
    for merchant in [SHOP, "SHOP-002", "SHOP-003"] {
        assert_eq!(shown(merchant), of(merchant), "{merchant}");
    }
    assert_eq!((shown(SHOP).len(), shown("SHOP-002").len()), (8, 2));
    assert_eq!(s.value("select count(*) from app.merchant_months"), "9");

    // A clock that was set back writes into a closed month, for one who had nothing there; and for a member with a company card.
    clock.set("2026-04-10 12:00:00Z");
    let mei = till.member("1000.00");
    let back = charge_at(&till, "SHOP-003", &mei.card);
    s.run(&format!("select app.enterprise_add_member('{}', '{}')", &company["card_no"], mei.id));
    let code = s.row(&format!(
        "select * from app.rotate_card_qr('{}', 'enterprise', \
        '{}')",
        &company["card_id"], mei.id
    ))["qr_plain"]
        .to_owned();
    s.run(&format!("select * from app.merchant_charge_by_qr('SHOP-003', {}, 2)", q(code)));
    clock.set("2026-08-25 12:00:00Z");
    assert_eq!(shown("SHOP-003").len(), 2);
    assert_eq!(shown("SHOP-003")[1], back);
    s.run("create role phone; select sec.grant_api('phone', 'client')");
    s.run(&format!("set request.jwt.claims = '{{\"sub\": \"{}\"}}'; set role phone", mei.id));
    assert_eq!(
        s.column("select tx_type || ' ' || change || ' ' || card_type from app.usage_page()"),
        ["payment -2.00 enterprise", "payment -1.00 personal", "recharge 1000.00 personal"]
    );
    s.run("reset role; reset request.jwt.claims");
    s.run("call audit.seal()");
    assert_eq!(till.findings(), [] as [String; 0]);

    // What a superuser puts there by hand the books find, and the next night mends it.
    s.run(
        "update app.transactions set merchant_id = (select id from app.merchants where code = 'SHOP-003') \
           where tx_no = (select min(tx_no) from app.transactions where tx_type = 'payment')",
    );
    let finding = || s.column("select detail from app.verify_books() where check_name = 'closed_months' and not ok");
    assert!(finding()[0].contains("2026-01"), "{:?}", finding());
    s.run("call app.maintain_partitions()");
    assert_eq!(finding(), [] as [String; 0]);
    assert_eq!(shown("SHOP-003").len(), 3);
}

#[test]
fn a_month_is_closed_when_nobody_can_write_into_it_any_more() {
    let (clock, till) = till_at("2026-02-28 23:59:00Z");
    let s = &till.session;
    let ming = till.member("1000.00");
    let code = s.row(&format!("select * from app.rotate_card_qr('{}')", ming.card))["qr_plain"].to_owned();
    let slow = clock.cluster.superuser("postgres");
    // A payment of February that is not committed yet.
    slow.run(&format!("begin; select * from app.merchant_charge_by_qr('{SHOP}', {}, 7)", q(code)));
    let through = || s.value("select through from app.closed_months");
    clock.set("2026-03-01 12:00:00Z");
    s.run("call app.maintain_partitions()");
    assert_eq!(s.value("select noted_through from app.closed_months"), "2026-01-01", "its end is not a day past");
    clock.set("2026-03-02 12:00:00Z");
    s.run("call app.maintain_partitions()");
    assert_eq!(s.value("select noted_through from app.closed_months"), "2026-02-01");
    assert_ne!(through(), "2026-02-01", "somebody may still write into it");
    slow.run("commit");
    assert_eq!(s.column(&format!("select final_amount from app.merchant_statement('{SHOP}')")), ["7.00"]);
    s.run("call app.maintain_partitions()");
    assert_eq!(through(), "2026-02-01");
    assert_eq!(s.column(&format!("select final_amount from app.merchant_statement('{SHOP}')")), ["7.00"]);
    assert_eq!(s.value("select count(*) from app.merchant_months"), "1");
    // Another cluster counts transactions anew.
    s.run("update app.closed_months set xid = '99999999999', through = null");
    let rule = "select detail from app.verify_books() where check_name = 'closed_months' and ok is not true";
    assert_eq!(s.column(rule), [] as [String; 0], "of months that are not closed nothing is asked");
    s.run("call app.maintain_partitions()");
    assert_eq!(through(), "2026-02-01");
    s.run("call audit.seal()");
    assert_eq!(till.findings(), [] as [String; 0]);
}

/// What a call costs in a session that has made it before: locks held at its end, pages looked at, and processor time.
#[derive(Debug)]
struct Cost {
    locks: i64,
    pages: i64,
    micros: f64,
}

fn cost(session: &Session, watch: &Session, sql: &str) -> Cost {
    let locked = format!("select count(*) from pg_locks where pid = {} and locktype = 'relation'", session.pid());
    let mut pages = i64::MAX;
    let mut locks = i64::MAX;
    for _ in 0..4 {
        session.run(&format!("begin; {sql}"));
        locks = locks.min(watch.value(&locked).parse().expect("a number"));
        session.run("commit");
        let plan = session.column(&format!("explain (analyze, buffers, timing off, summary off) {sql}"));
        let line = plan.iter().find_map(|l| l.trim_start().strip_prefix("Buffers: shared ")).unwrap_or_default();
        let counts = line.split_whitespace().filter_map(|w| w.strip_prefix("hit=").or_else(|| w.strip_prefix("read=")));
        pages = pages.min(counts.map(|n| n.parse::<i64>().expect("a number")).sum());
    }
    let meter = Meter::of(session);
    let calls = 200;
    let least = (0..5).map(|_| meter.busy(|| (0..calls).for_each(|_| session.run(sql))).1).min().expect("some");
    Cost { locks, pages, micros: least.as_secs_f64() * 1e6 / f64::from(calls) }
}

/// A shop with so many months behind it: in each a busy merchant's payments, of two members, one of whom has a company card as
/// well; and merchants that had something in three months only, in this one, and one line in each.
fn long_lived(months: i64) -> (Shop, Member) {
    let mut shop = Shop::open();
    shop.db.without_books(); // rows for the measure, not for the books
    for code in ["QUIET", "NEW", "RARE"] {
        shop.backend.run(&format!("select app.create_merchant('{code}', 'x')"));
    }
    let member = shop.member("1000.00");
    let s = &shop.superuser;
    s.run(&format!(
        "select sec.make_month((date_trunc('month', now() at time zone 'UTC') - make_interval(months => n))::date) from \
         generate_series(0, {months} - 1) n"
    ));
    // Chains by number: each row of the member's follows the one before.
    s.run(&format!(
        "insert into app.transactions (id, tx_type, status, card_type, payment_method, created_at, posted_at, card_id, card_seq, \
         prev_tx_id, \
                member_id, merchant_id, raw_amount, final_amount, balance_after, tx_no) \
         select x.id, 'payment', 'completed', 'personal', 'balance', x.at, x.at, '{card}', row_number() over w, lag(x.id) over w, \
         '{member}', \
                case when x.i = 60 and x.n in (1, 2, {months} - 1) then 2 when x.i = 30 then 4 else 1 end, 1, 1, 1, \
                'ZF' || x.id / 100000000000 || lpad((x.id % 100000000000)::text, 6, '0') \
         from (select to_char(m, 'YYMM')::bigint * 100000000000 + (({months} - n) * 100 + i) as id, m at time zone 'UTC' + i * interval \
         '6 hours' as at, n, i \
               from generate_series(1, {months} - 1) n, generate_series(1, 60) i, \
                    lateral (select date_trunc('month', now() at time zone 'UTC') - make_interval(months => n) as m) m) x \
         window w as (order by x.at, x.id)",
        card = member.card,
        member = member.id
    ));
    s.run(&format!(
        "update app.personal_cards c set (last_tx_id, card_seq, last_posted_at) = (select t.id, t.card_seq, t.posted_at from \
         app.transactions t \
         where t.card_id = c.id and t.merchant_id is not null order by t.posted_at desc limit 1) where id = '{}'",
        member.card
    ));
    s.run("select setval('app.tx_no_seq', 1000000)");
    shop.charge(&member, "1.00");
    shop.backend.run(&Shop::charge_sql(&shop.code(&member), "1.00", "").replace(SHOP, "NEW"));
    s.run("call app.maintain_partitions()");
    s.run("vacuum analyze");
    (shop, member)
}

#[test]
fn a_page_and_a_day_cost_with_ten_years_of_months_what_they_cost_with_few() {
    let measure = |months: i64| -> Vec<(String, Cost)> {
        let (shop, member) = long_lived(months);
        let (backend, user) = (shop.db.backend(), shop.db.user(member.id));
        let statement = |code: &str, more: &str| format!("select count(*) from app.merchant_statement('{code}'{more})");
        let deep = user.value("select tx_no from app.usage_page(p_limit => 80) order by posted_at limit 1");
        let day = "(now() - interval '40 days')::date";
        let calls = [
            (&user, "select count(*) from app.usage_page()".to_owned()),
            (&user, format!("select count(*) from app.usage_page('{deep}')")),
            (&backend, statement(SHOP, "")),
            (&backend, statement(SHOP, ", p_day => current_date")),
            (&backend, statement(SHOP, &format!(", p_day => {day}"))),
            (&backend, statement("QUIET", "")),
            (&backend, statement("NEW", "")),
            (&backend, format!("select count(*) from app.day_totals({day})")),
            (&backend, "select count(*) from app.day_totals()".to_owned()),
        ];
        calls.into_iter().map(|(who, sql)| (sql.clone(), cost(who, &shop.superuser, &sql))).collect()
    };
    let (few, many) = (measure(4), measure(120));
    for ((sql, few), (_, many)) in few.iter().zip(&many) {
        eprintln!("{sql}: {few:?} with 4 months, {many:?} with 120");
    }
    for ((sql, few), (_, many)) in few.iter().zip(&many) {
        // An index may be a level higher.
        assert!(many.locks <= few.locks + few.locks * 3 / 10, "{sql}: {few:?}, {many:?}");
        assert!(many.pages <= few.pages + few.pages * 3 / 10 + 2, "{sql}: {few:?}, {many:?}");
        // Times are asserted by the benchmark, on a machine that does nothing else; this is what a walk through all months costs.
        assert!(many.micros <= few.micros * 2.5, "{sql}: {few:?}, {many:?}");
    }
}

#[test]
fn many_readers_leave_the_charges_their_locks() {
    let (shop, member) = long_lived(120);
    // Closed months are asked for some at a time.
    let of_each =
        shop.superuser.column("select tx_no from app.transactions where merchant_id = 4 order by posted_at desc");
    assert_eq!(of_each.len(), 119);
    assert_eq!(shop.backend.column("select tx_no from app.merchant_statement('RARE', p_limit => 500)"), of_each);
    let code = shop.code(&member);
    let readers: Vec<(Session, Session)> = (0..64).map(|_| (shop.db.user(member.id), shop.db.backend())).collect();
    let readers: Vec<_> = readers
        .into_iter()
        .map(|(user, backend)| {
            thread::spawn(move || {
                user.run("begin; select * from app.usage_page(p_limit => 500)");
                backend.run(&format!("begin; select * from app.merchant_statement('{SHOP}', p_limit => 500)"));
                backend.run("select * from app.merchant_statement('QUIET'); select * from app.day_totals()");
                (user, backend)
            })
        })
        .collect();
    // All of them hold what they took, until they end.
    let readers: Vec<(Session, Session)> = readers.into_iter().map(|r| r.join().expect("reads")).collect();
    let most = "select max(n) from (select count(*) n from pg_locks l join pg_database d on d.oid = l.database \
                where l.locktype = 'relation' and d.datname = current_database() group by l.pid) x";
    let most: i64 = shop.superuser.value(most).parse().expect("a number");
    let till = shop.db.user(shop.cashier_id);
    till.run(&Shop::charge_sql(&code, "1.00", ""));
    // The lock table has room for max_locks_per_transaction of each session.
    let room: i64 = shop.superuser.value("show max_locks_per_transaction").parse().expect("a number");
    drop(readers);
    assert!(most < room, "{most} locks of a reader, room for {room}");
    assert_eq!(room, 64, "the server's default");
}
