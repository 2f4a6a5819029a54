//! What an adversarial review found and the tests of the contract had not: money, races, limits. Each test is named after
//! the promise that was broken.

use mps_tests::{Db, Member, NULL, Row, SHOP, Session, Shop, Waiting, nobody, together};
use std::thread;
use std::time::{Duration, Instant};

/// The isolation levels whose transactions keep the view of their first statement.
const STRICT: [&str; 2] = ["repeatable read", "serializable"];

/// Begins a transaction and fixes its view of the tables, where its level has one.
fn begin(session: &Session, level: &str) {
    session.run(&format!("begin isolation level {level}"));
    session.run("select 1 from pg_class limit 1");
}

/// A session that holds a card's row and changes nothing; `commit` lets go.
fn hold(shop: &Shop, card: &str) -> Session {
    let holder = shop.db.superuser();
    holder.run("begin");
    for table in ["app.personal_cards", "app.enterprise_cards"] {
        holder.run(&format!("select 1 from {table} where id = '{card}' for no key update"));
    }
    holder
}

/// A statement of the cashier that waits for what somebody holds.
#[track_caller]
fn cashier_waits(shop: &Shop, sql: String) -> Waiting {
    Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, sql)
}

/// Reports a card lost and has it replaced.
fn replace(shop: &Shop, member: &Member) -> Member {
    shop.set_card(&member.card, "personal", "lost");
    let new = shop.backend.row(&format!("select * from app.replace_card('{}', 'x')", member.card));
    member.with_card(&new["card_id"], &new["card_no"])
}

fn confirm_sql(number: &str, amount: &str, trade: &str) -> String {
    format!("select * from app.confirm_recharge('{number}', {amount}, '{trade}')")
}

fn close_sql(card: &str) -> String {
    format!("select app.set_card_status('{card}', 'personal', 'closed', 'x')")
}

/// Many small recharges of a card, one after another.
fn recharges(shop: &Shop, card: &str, n: u32) {
    shop.superuser.run(&format!(
        "do $$ begin for i in 1..{n} loop perform app.user_recharge_personal_card('{card}', 1, 'cash'); end loop; end $$"
    ));
}

/// The suffix of the month before this one.
fn last_month(shop: &Shop) -> String {
    shop.superuser.value("select to_char(date_trunc('month', now() at time zone 'UTC') - interval '1 month', 'YYYYMM')")
}

/// Does to the month before what archiving does to a month, as far as the RPCs see it.
fn archive_last_month(shop: &mut Shop) {
    shop.db.without_books();
    let month = last_month(shop);
    shop.superuser.run(&format!(
        "insert into app.archived_months values (to_date('{month}01', 'YYYYMMDD'), now());
         alter table app.transactions detach partition app.transactions_{month};
         alter table app.point_ledger detach partition app.point_ledger_{month};
         alter table audit.event_log detach partition audit.event_log_{month};"
    ));
}

// Money ---------------------------------------------------------------------------------------------------------------------

#[test]
fn what_has_moved_no_money_is_not_corrected_and_binds_no_key() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let number = shop.pending(&ming, "20.00");
    let correct = format!("select * from app.compensate_tx('{number}', 5.00, 'x', 'k-1')");
    shop.backend.refused("STATUS_CONFLICT", &correct);
    shop.backend.run(&format!("select * from app.fail_recharge('{number}', 'declined')"));
    shop.backend.refused("STATUS_CONFLICT", &correct);
    assert_eq!(shop.superuser.value("select count(*) from app.idempotency_keys"), "0");
    let new = replace(&shop, &ming);
    shop.backend.refused("STATUS_CONFLICT", &correct);
    assert_eq!(&shop.backend.row(&confirm_sql(&number, "20.00", "g-1"))["card_id"], new.card);
    let first = shop.backend.row(&correct);
    let again = shop.backend.row(&correct);
    assert_eq!((&first["replayed"], &again["replayed"]), ("f", "t"));
    assert_eq!(first.without(&["replayed"]), again.without(&["replayed"]));
    assert_eq!(&first["card_id"], new.card);
    assert_eq!((shop.balance(&ming.card), shop.balance(&new.card)), ("0.00".into(), "25.00".into()));
}

#[test]
fn of_two_admins_who_remove_each_other_on_old_snapshots_one_stays() {
    let shop = Shop::open();
    for level in STRICT {
        for meanwhile in [true, false] {
            let (a, b) = (shop.member("0"), shop.member("0"));
            let company = shop.company("1.000", "0", &a);
            shop.bind(&company, &b, "admin");
            let remove = |m: &Member| format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, m.id);
            let (first, second) = (shop.db.user(a.id), shop.db.user(b.id));
            begin(&first, level);
            begin(&second, level);
            first.run(&remove(&b));
            let answer = if meanwhile {
                let waiting = Waiting::start(second, &shop.superuser, remove(&a));
                first.run("commit");
                waiting.end()
            } else {
                first.run("commit");
                second.try_rows(&remove(&a))
            };
            assert_eq!(answer.expect_err(level).code, "40001", "{level}, {meanwhile}");
            let left = shop.superuser.column(&format!(
                "select member_id from app.enterprise_card_bindings where enterprise_card_id = '{}' and role = 'admin'",
                company.card
            ));
            assert_eq!(left, [a.id.to_string()], "{level}");
        }
    }
}

/// Asserts that nobody is closed and has a card that is not.
#[track_caller]
fn no_closed_member_has_an_open_card(shop: &Shop) {
    let found = shop.superuser.column(
        "select c.card_no || ' ' || c.status || ' ' || c.balance from app.personal_cards c join app.member_profiles m on m.id = c.member_id \
         where m.status = 'closed' and (c.status <> 'closed' or c.balance <> 0)",
    );
    assert_eq!(found, [] as [String; 0]);
}

#[test]
fn a_member_is_not_closed_around_a_card_that_is_just_being_replaced() {
    let shop = Shop::open();
    let close = |m: &Member| format!("select app.set_member_status('{}', 'closed', 'x')", m.id);
    let replace_sql = |m: &Member| format!("select * from app.replace_card('{}', 'x')", m.card);
    for (balance, closes) in [("100.00", false), ("0", true)] {
        let ming = shop.member(balance);
        shop.set_card(&ming.card, "personal", "lost");
        shop.backend.run("begin");
        let new = shop.backend.row(&replace_sql(&ming));
        let closing = Waiting::start(shop.db.backend(), &shop.superuser, close(&ming));
        shop.backend.run("commit");
        match closing.end() {
            Ok(rows) => assert!(closes && rows[0].values() == ["t"], "{rows:?}"),
            Err(failure) => {
                assert!(!closes, "{failure:?}");
                failure.must_be("CARD_NOT_EMPTY", "closing a member");
            }
        }
        assert_eq!(shop.card_status(&new["card_id"]), if closes { "closed" } else { "active" });
        no_closed_member_has_an_open_card(&shop);
    }
    // The other way round: the closing is in flight.
    let mei = shop.member("0");
    shop.set_card(&mei.card, "personal", "lost");
    shop.backend.run("begin");
    shop.backend.run(&close(&mei));
    let replacing = Waiting::start(shop.db.backend(), &shop.superuser, replace_sql(&mei));
    shop.backend.run("commit");
    replacing.end().expect_err("the card is closed").must_be("STATUS_CONFLICT", "replacing");
    no_closed_member_has_an_open_card(&shop);
    // And by an old view.
    for level in STRICT {
        for balance in ["100.00", "0"] {
            let anna = shop.member(balance);
            let strict = shop.db.backend();
            begin(&strict, level);
            replace(&shop, &anna);
            let failure = strict.try_rows(&close(&anna)).and_then(|_| strict.try_rows("commit"));
            assert_eq!(failure.expect_err(level).code, "40001", "{level} {balance}");
            no_closed_member_has_an_open_card(&shop);
        }
    }
}

#[test]
fn a_card_that_money_of_a_replaced_one_is_on_its_way_to_is_not_closed() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let number = shop.pending(&ming, "20.00");
    let new = replace(&shop, &ming);
    shop.backend.refused("CARD_NOT_EMPTY", &close_sql(&new.card));
    shop.backend.refused("CARD_NOT_EMPTY", &format!("select app.set_member_status('{}', 'closed', 'x')", ming.id));
    let newest = replace(&shop, &new);
    shop.backend.refused("CARD_NOT_EMPTY", &close_sql(&newest.card));
    shop.backend.run(&confirm_sql(&number, "20.00", "g-1"));
    assert_eq!(shop.balance(&newest.card), "20.00");
}

#[test]
fn late_money_on_a_closed_card_can_be_taken_off_it_again() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let number = shop.pending(&ming, "20.00");
    let new = replace(&shop, &ming);
    shop.backend.run(&format!("select * from app.fail_recharge('{number}', 'declined')"));
    shop.backend.run(&close_sql(&new.card));
    let credited = shop.backend.row(&confirm_sql(&number, "20.00", "g-1"));
    assert_eq!((&credited["card_id"], &credited["status"]), (new.card.as_str(), "completed"));
    assert_eq!((shop.balance(&new.card), shop.card_status(&new.card)), ("20.00".into(), "closed".into()));
    let correct = |amount: &str| format!("select * from app.compensate_tx('{number}', {amount}, 'paid out by hand')");
    shop.backend.refused("CARD_NOT_ACTIVE", &correct("1.00"));
    shop.backend.refused("INSUFFICIENT_BALANCE", &correct("-20.01"));
    assert_eq!(&shop.backend.row(&correct("-20.00"))["balance_after"], "0.00");
}

#[test]
fn a_known_recharge_replays_however_often_its_card_was_replaced() {
    let shop = Shop::open();
    let a = shop.member("0");
    let owner = shop.db.user(a.id);
    let request =
        format!("select * from app.user_recharge_personal_card('{}', 20.00, p_idempotency_key => 'k-1')", a.card);
    let order =
        format!("select * from app.user_recharge_personal_card('{}', 30.00, p_external_order_id => 'o-1')", a.card);
    let (first, ordered) = (owner.row(&request), owner.row(&order));
    let b = replace(&shop, &a);
    for sql in [&request, &order] {
        assert_eq!(&owner.row(sql)["replayed"], "t");
    }
    assert_eq!(&shop.backend.row(&confirm_sql(&first["tx_no"], "20.00", "g-1"))["card_id"], b.card);
    shop.backend.run(&confirm_sql(&ordered["tx_no"], "30.00", "g-2"));
    let c = replace(&shop, &b);
    for (sql, was) in [(&request, &first), (&order, &ordered)] {
        let again = owner.row(sql);
        assert_eq!((&again["tx_no"], &again["status"], &again["replayed"]), (&was["tx_no"], "completed", "t"), "{sql}");
    }
    owner.refused("IDEMPOTENCY_KEY_REUSED", &request.replace("20.00", "21.00"));
    assert_eq!(shop.balance(&c.card), "50.00");
}

/// What happens to a merchant while a request of its cashier waits, and how the request is refused.
fn meanwhile(shop: &Shop) -> [(String, &'static [&'static str], String); 3] {
    let set = |active: bool| format!("select app.set_merchant_status('{SHOP}', {active}, 'x')");
    let remove = format!("select app.remove_merchant_user('{SHOP}', '{}')", shop.cashier_id);
    let add = format!("select app.set_merchant_user('{SHOP}', '{}')", shop.cashier_id);
    [
        (set(false), &["MERCHANT_INACTIVE"], set(true)),
        (remove.clone(), &["NOT_MERCHANT_USER"], add.clone()),
        (
            format!("{}; {remove}", set(false)),
            &["MERCHANT_INACTIVE", "NOT_MERCHANT_USER"],
            format!("{}; {add}", set(true)),
        ),
    ]
}

/// While somebody holds what the statement needs, its merchant or cashier goes: it is refused, nothing moves, no key stays.
#[track_caller]
fn refused_after_the_wait(shop: &Shop, holder: &dyn Fn() -> Session, sql: &dyn Fn() -> String) {
    for (change, tokens, undo) in meanwhile(shop) {
        let (sql, holder) = (sql(), holder());
        let waiting = cashier_waits(shop, sql.clone());
        shop.backend.run(&change);
        let before = Db::snapshot(&shop.db.name);
        // As long as a person takes for it at the least.
        thread::sleep(Duration::from_millis(20));
        holder.run("commit");
        let failure = waiting.end().expect_err(&change);
        assert!(tokens.contains(&failure.message.as_str()), "{change}: {failure:?}");
        failure.must_be(&failure.message, &sql);
        assert_eq!(Db::snapshot(&shop.db.name), before, "{change}: something moved");
        shop.backend.run(&undo);
    }
}

#[test]
fn a_charge_that_waited_asks_again_whether_merchant_and_cashier_are_still_there() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let company = shop.company("1.000", "100.00", &ming);
    let keyed = "p_idempotency_key => 'k-1', p_external_order_id => 'o-1'";
    refused_after_the_wait(&shop, &|| hold(&shop, &ming.card), &|| Shop::charge_sql(&shop.code(&ming), "10.00", keyed));
    refused_after_the_wait(&shop, &|| hold(&shop, &company.card), &|| {
        Shop::charge_sql(&shop.company_code(&company, &ming), "10.00", keyed)
    });
    assert_eq!((shop.balance(&ming.card), shop.balance(&company.card)), ("100.00".into(), "100.00".into()));
    // A wait alone is no reason to refuse.
    let charge = Shop::charge_sql(&shop.code(&ming), "10.00", keyed);
    let holder = hold(&shop, &ming.card);
    let waiting = cashier_waits(&shop, charge);
    thread::sleep(Duration::from_millis(50));
    holder.run("commit");
    assert_eq!(&waiting.end().expect("paid")[0]["replayed"], "f");
    assert_eq!(shop.balance(&ming.card), "90.00");
}

#[test]
fn a_refund_that_waited_asks_again_whether_merchant_and_cashier_are_still_there() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "50.00");
    let refund = Shop::refund_sql(&paid["tx_no"], "10.00", "p_idempotency_key => 'k-1'");
    refused_after_the_wait(&shop, &|| hold(&shop, &ming.card), &|| refund.clone());
    let hold_payment = || {
        let holder = shop.db.superuser();
        holder.run("begin");
        holder.run(&format!("select 1 from app.transactions where tx_no = '{}' for no key update", &paid["tx_no"]));
        holder
    };
    refused_after_the_wait(&shop, &hold_payment, &|| refund.clone());
    assert_eq!(shop.balance(&ming.card), "50.00");
    assert_eq!(&shop.cashier.row(&refund)["replayed"], "f");
}

const DISCOUNT: &str = "update app.membership_levels set discount = ";

#[test]
fn the_first_charge_of_a_transaction_has_the_levels_of_now() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    // The till has charged before, and remembers the levels.
    shop.charge(&ming, "10.00");
    let charge = Shop::charge_sql(&shop.code(&ming), "100.00", "");
    shop.cashier.run("begin");
    shop.cashier.run("select 1");
    shop.superuser.run(&format!("{DISCOUNT} 0.700 where level = 0"));
    let row = shop.cashier.row(&charge);
    shop.cashier.run("commit");
    assert_eq!((&row["discount"], &row["final_amount"]), ("0.700", "70.00"));
    // And the second one, in a transaction that has charged already.
    shop.cashier.run("begin");
    shop.cashier.run(&Shop::charge_sql(&shop.code(&ming), "10.00", ""));
    shop.superuser.run(&format!("{DISCOUNT} 0.600 where level = 0"));
    let mei = shop.member("100.00");
    let row = shop.cashier.row(&Shop::charge_sql(&shop.code(&mei), "10.00", ""));
    shop.cashier.run("commit");
    assert_eq!(&row["discount"], "0.600");
    shop.superuser.run("call app.recompute_levels()");
}

#[test]
fn what_waited_for_a_card_does_not_undo_recomputed_levels() {
    let shop = Shop::open();
    let ming = shop.member("500.00");
    let paid = shop.charge(&ming, "100.00");
    let jobs: [(&str, &dyn Fn() -> String); 4] = [
        ("0.900", &|| Shop::charge_sql(&shop.code(&ming), "100.00", "")),
        ("0.800", &|| Shop::refund_sql(&paid["tx_no"], "10.00", "")),
        ("0.700", &|| format!("select * from app.user_recharge_personal_card('{}', 1, 'cash')", ming.card)),
        ("0.600", &|| format!("select * from app.adjust_points('{}', 1, 'x')", ming.card)),
    ];
    for (discount, job) in jobs {
        let sql = job();
        let holder = hold(&shop, &ming.card);
        let waiting = Waiting::start(shop.db.backend(), &shop.superuser, sql.clone());
        shop.superuser.run(&format!("{DISCOUNT} {discount} where level = 0"));
        holder.run("select app.recompute_levels_batch(null)");
        holder.run("commit");
        let row = waiting.end().expect(&sql).remove(0);
        if sql.contains("charge_by_qr") {
            assert_eq!((&row["discount"], &row["final_amount"]), (discount, "90.00"));
        }
        let stored = format!("select discount from app.personal_cards where id = '{}'", ming.card);
        assert_eq!(shop.superuser.value(&stored), discount, "{sql}");
    }
}

#[test]
fn expiring_cards_and_suspending_their_members_never_deadlock() {
    let shop = Shop::open();
    // Company cards older and younger than the members' own.
    let boss = shop.member("0");
    let mut companies = vec![shop.company("1.000", "0", &boss), shop.company("1.000", "0", &boss)];
    let members: Vec<Member> = (0..4).map(|_| shop.member("0")).collect();
    companies.extend([shop.company("1.000", "0", &boss), shop.company("1.000", "0", &boss)]);
    for company in &companies {
        for member in &members {
            shop.bind(company, member, "member");
        }
    }
    let due = "update app.personal_cards set status = 'active', expires_at = now() - interval '1 day'; \
               update app.enterprise_cards set status = 'active', expires_at = now() - interval '1 day'";
    let set = |m: &Member, status: &str| format!("select app.set_member_status('{}', '{status}', 'x')", m.id);
    // Made to meet: one holds what both will need.
    for (held, status) in
        [(&companies[0].card, "suspended"), (&companies[3].card, "active"), (&members[0].card, "suspended")]
    {
        shop.superuser.run(due);
        let holder = hold(&shop, held);
        let setting = Waiting::start(shop.db.backend(), &shop.superuser, set(&members[0], status));
        let expiring = Waiting::start(shop.db.superuser(), &shop.superuser, "call app.expire_cards()".into());
        holder.run("commit");
        setting.end().expect("the status is set");
        expiring.end().expect("the cards expire");
        assert_eq!(shop.superuser.value("select count(*) from app.personal_cards where status <> 'expired'"), "0");
    }
    // And by chance.
    for round in 0..30 {
        shop.superuser.run(due);
        let status = ["active", "suspended"][round % 2];
        let mut jobs = vec![(shop.db.superuser(), "call app.expire_cards()".to_owned())];
        jobs.extend(members.iter().map(|m| (shop.db.backend(), set(m, status))));
        for answer in together(jobs) {
            answer.expect("no deadlock");
        }
    }
}

// Months that are archived --------------------------------------------------------------------------------------------------

#[test]
fn an_as_of_balance_answers_although_a_long_step_leads_into_an_archived_month() {
    let mut shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    recharges(&shop, &ming.card, 70);
    recharges(&shop, &mei.card, 64);
    shop.a_month_passes();
    recharges(&shop, &ming.card, 70);
    recharges(&shop, &mei.card, 2);
    let old = shop
        .superuser
        .value(&format!("select posted_at from app.transactions where card_id = '{}' and card_seq = 50", ming.card));
    archive_last_month(&mut shop);
    for (member, seqs) in [(&ming, "71, 72, 100, 127, 128, 129, 139, 140"), (&mei, "65, 66")] {
        let movements = shop.superuser.rows(&format!(
            "select posted_at, balance_after, card_seq from app.transactions where card_id = '{}' and card_seq in ({seqs})",
            member.card
        ));
        assert_eq!(movements.len(), seqs.split(',').count());
        let owner = shop.db.user(member.id);
        for movement in movements {
            let (at, seq) = (&movement["posted_at"], &movement["card_seq"]);
            let sql = format!("select app.balance_as_of('{}', '{at}')", member.card);
            assert_eq!(owner.value(&sql), movement["balance_after"], "movement {seq}");
        }
    }
    shop.backend.refused("ARCHIVED", &format!("select app.balance_as_of('{}', '{old}')", ming.card));
}

#[test]
fn a_merchants_statement_is_archived_only_where_something_of_it_may_be() {
    let mut shop = Shop::open();
    let page = |from: &str, to: &str| format!("select * from app.merchant_statement('{SHOP}', {from}, {to})");
    let empty = |shop: &Shop, from: &str, to: &str| {
        assert_eq!(shop.cashier.rows(&page(from, to)), [] as [Row; 0], "{from} to {to}");
    };
    // A month is archived from before there was the merchant.
    shop.superuser.run("insert into app.archived_months values ('2025-10-01', now())");
    for (from, to) in [
        ("null", "null"),
        ("'2025-09-15'", "null"),
        ("'2025-09-15'", "'2025-12-01'"),
        ("'2025-10-05'", "'2025-10-06'"),
        ("now()", "null"),
        ("'2098-01-01'", "'2098-02-01'"),
    ] {
        empty(&shop, from, to);
    }
    // It was there in the month that is archived.
    shop.a_month_passes();
    archive_last_month(&mut shop);
    let month = last_month(&shop);
    let first = format!("to_date('{month}01', 'YYYYMMDD')::timestamp at time zone 'UTC'");
    let this = format!("(to_date('{month}01', 'YYYYMMDD') + interval '1 month') at time zone 'UTC'");
    for (from, to) in [("null", "null"), (first.as_str(), this.as_str()), (&first, "null")] {
        shop.cashier.refused("ARCHIVED", &page(from, to));
    }
    empty(&shop, &this, "null");
    empty(&shop, "now()", "null");
    // In that month, too, nothing of the merchant is from before it was created.
    let created = shop.superuser.value("select created_at from app.merchants");
    empty(&shop, &first, &format!("'{created}'::timestamptz - interval '1 ms'"));
    // Up to a moment is without it.
    empty(&shop, &first, &format!("'{created}'"));
    shop.cashier.refused("ARCHIVED", &page(&first, &format!("'{created}'::timestamptz + interval '1 us'")));
    // What is here is shown.
    let ming = shop.member("10.00");
    shop.charge(&ming, "10.00");
    assert_eq!(shop.cashier.rows(&page("null", "null")).len(), 1);
}

// Keys ----------------------------------------------------------------------------------------------------------------------

#[test]
fn a_known_request_replays_after_the_largest_amount_was_lowered() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    let company = shop.company("1.000", "0", &ming);
    let code = shop.code(&ming);
    let key = "p_idempotency_key => 'k-1'";
    let charge = Shop::charge_sql(&code, "100.00", key);
    let paid = shop.cashier.row(&charge);
    let recharge =
        |card: &str| format!("select * from app.user_recharge_personal_card('{card}', 100.00, 'cash', {key})");
    let requests = [
        (&shop.cashier, charge),
        (&shop.cashier, Shop::refund_sql(&paid["tx_no"], "100.00", key)),
        (&shop.backend, recharge(&ming.card)),
        (&shop.backend, recharge(&company.card).replace("personal_card", "enterprise_card_admin")),
        (&shop.backend, format!("select * from app.compensate_tx('{}', 100.00, 'x', 'k-1')", &paid["tx_no"])),
        (&shop.backend, format!("select * from app.compensate_tx('{}', -100.00, 'x', 'k-2')", &paid["tx_no"])),
    ];
    let owner = shop.db.user(ming.id);
    let asked =
        format!("select * from app.user_recharge_personal_card('{}', 100.00, p_external_order_id => 'o-1')", ming.card);
    let waiting = owner.row(&asked);
    let first: Vec<Row> = requests.iter().map(|(session, sql)| session.row(sql)).collect();
    shop.backend.run(r#"select app.update_settings('{"max_amount": 50}')"#);
    for ((session, sql), was) in requests.iter().zip(&first) {
        let again = session.row(sql);
        assert_eq!((&again["replayed"], again.without(&["replayed"])), ("t", was.without(&["replayed"])), "{sql}");
        session.refused("INVALID_AMOUNT", &sql.replace("k-1", "k-9").replace("k-2", "k-9"));
    }
    assert_eq!(owner.row(&asked).without(&["replayed"]), waiting.without(&["replayed"]));
    // The money that was asked for before is there.
    shop.backend.run(&confirm_sql(&waiting["tx_no"], "100.00", "g-1"));
    assert_eq!(shop.balance(&ming.card), "1200.00");
}

/// The second of two equal requests, both on views from before the first: told to try again, or answered like the first.
#[track_caller]
fn retried_or_replayed(session: &Session, answer: Result<Vec<Row>, mps_tests::Failure>, first: &Row, what: &str) {
    match answer {
        Ok(rows) => assert_eq!(rows[0].without(&["replayed"]), first.without(&["replayed"]), "{what}"),
        Err(failure) => assert_eq!(failure.code, "40001", "{what}: {failure:?}"),
    }
    let _ = session.try_rows("rollback");
}

/// Has two sessions ask the same on views from before either, the second while the first is in flight and after it.
#[track_caller]
fn raced_on_old_views(shop: &Shop, who: &dyn Fn() -> Session, level: &str, sql: &dyn Fn(&str) -> String) {
    for (meanwhile, key) in [(true, "raced"), (false, "late")] {
        let (one, two, sql) = (who(), who(), sql(&format!("{key} {level}")));
        begin(&one, level);
        begin(&two, level);
        let first = one.row(&sql);
        if meanwhile {
            let waiting = Waiting::start(two, &shop.superuser, sql.clone());
            one.run("commit");
            retried_or_replayed(&one, waiting.end(), &first, &sql);
        } else {
            one.run("commit");
            let answer = two.try_rows(&sql);
            retried_or_replayed(&two, answer, &first, &sql);
        }
        // Whoever tries again gets the first answer.
        assert_eq!(who().row(&sql).without(&["replayed"]), first.without(&["replayed"]), "{sql}");
    }
}

#[test]
fn one_key_twice_on_old_views_is_told_to_try_again() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    let cashier = || shop.db.user(shop.cashier_id);
    let backend = || shop.db.backend();
    let owner = || shop.db.user(ming.id);
    for level in STRICT {
        shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
        let paid = shop.charge(&ming, "100.00");
        let code = shop.code(&ming);
        raced_on_old_views(&shop, &cashier, level, &|k| {
            Shop::charge_sql(&code, "10.00", &format!("p_idempotency_key => '{k}'"))
        });
        raced_on_old_views(&shop, &cashier, level, &|k| {
            Shop::charge_sql(&code, "10.00", &format!("p_external_order_id => '{k}'"))
        });
        raced_on_old_views(&shop, &cashier, level, &|k| {
            Shop::refund_sql(&paid["tx_no"], "1.00", &format!("p_idempotency_key => '{k}'"))
        });
        raced_on_old_views(&shop, &owner, level, &|k| {
            format!("select * from app.user_recharge_personal_card('{}', 5, p_idempotency_key => '{k}')", ming.card)
        });
        raced_on_old_views(&shop, &backend, level, &|k| {
            format!(
                "select * from app.user_recharge_personal_card('{}', 5, 'cash', p_idempotency_key => '{k} b')",
                ming.card
            )
        });
        raced_on_old_views(&shop, &backend, level, &|k| {
            format!("select * from app.compensate_tx('{}', 1, 'x', '{k}')", &paid["tx_no"])
        });
        raced_on_old_views(&shop, &backend, level, &|k| {
            format!("select * from app.adjust_points('{}', 1, 'x', '{k}')", ming.card)
        });
        let number = [shop.pending(&ming, "7.00"), shop.pending(&ming, "7.00")];
        raced_on_old_views(&shop, &backend, level, &|k| {
            confirm_sql(&number[usize::from(k.starts_with("late"))], "7.00", &format!("g {k}"))
        });
    }
    let twice = "select idempotency_key from app.transactions where idempotency_key is not null group by 1, tx_type having count(*) > 1";
    assert_eq!(shop.superuser.column(twice), [] as [String; 0]);
}

#[test]
fn a_member_registered_twice_on_old_views_is_told_to_try_again() {
    let shop = Shop::open();
    for level in STRICT {
        let ids = [nobody(), nobody()];
        for (meanwhile, id) in [(true, ids[0]), (false, ids[1])] {
            for as_user in [true, false] {
                let id = if as_user { id } else { nobody() };
                let who = || if as_user { shop.db.user(id) } else { shop.db.backend() };
                let sql = if as_user {
                    "select * from app.register_member('Ming')".to_owned()
                } else {
                    format!("select * from app.register_member('Ming', p_user_id => '{id}')")
                };
                let (one, two) = (who(), who());
                begin(&one, level);
                begin(&two, level);
                let first = one.row(&sql);
                let answer = if meanwhile {
                    let waiting = Waiting::start(two, &shop.superuser, sql.clone());
                    one.run("commit");
                    waiting.end()
                } else {
                    one.run("commit");
                    two.try_rows(&sql)
                };
                retried_or_replayed(&one, answer, &first, &sql);
                assert_eq!(who().row(&sql), first);
            }
        }
    }
}

#[test]
fn one_transaction_may_use_very_many_keys() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let many = 20_000;
    let done = shop.superuser.value(&format!(
        "select count(*) from (select app.adjust_points('{}', 1, 'x', 'k-' || i) from generate_series(1, {many}) i) s",
        ming.card
    ));
    assert_eq!(done, many.to_string());
    assert_eq!(shop.card(&ming).1, many.to_string());
    assert_eq!(shop.superuser.value("select count(*) from app.idempotency_keys"), many.to_string());
}

// Pay codes -----------------------------------------------------------------------------------------------------------------

#[test]
fn a_code_that_ends_while_the_charge_waits_pays_nothing() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let company = shop.company("1.000", "100.00", &ming);
    let charges = [
        Shop::charge_sql(&shop.code(&ming), "10.00", ""),
        Shop::charge_sql(&shop.company_code(&company, &ming), "10.00", ""),
    ];
    shop.superuser.run(&format!(
        "update app.personal_cards set qr_expires_at = clock_timestamp() + interval '1 s' where id = '{}';
         update app.enterprise_card_bindings set qr_expires_at = clock_timestamp() + interval '1 s'",
        ming.card
    ));
    let end = Instant::now() + Duration::from_millis(1050);
    let holders = [hold(&shop, &ming.card), hold(&shop, &company.card)];
    let waiting = charges.map(|sql| cashier_waits(&shop, sql));
    thread::sleep(end.saturating_duration_since(Instant::now()));
    for holder in &holders {
        holder.run("commit");
    }
    for charge in waiting {
        charge.end().expect_err("the code has ended").must_be("QR_EXPIRED_OR_INVALID", "charging late");
    }
    assert_eq!((shop.balance(&ming.card), shop.balance(&company.card)), ("100.00".into(), "100.00".into()));
}

// What is written down ------------------------------------------------------------------------------------------------------

#[test]
fn what_a_gateway_sends_is_kept_to_the_last_digit() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let deep = "(repeat('{\"a\":', 200) || '1' || repeat('}', 200))::jsonb";
    for (round, payload) in [
        r#"'{"transaction_id": 4200001234202401011234567890, "fee": 0.1000000000000000001}'::jsonb"#,
        deep,
        r#"'{"a": 1e400, "zero": 0.00, "list": [1.10, "\\u4f60", null, true]}'::jsonb"#,
    ]
    .iter()
    .enumerate()
    {
        let number = shop.pending(&ming, "10.00");
        shop.backend.run(&format!("select * from app.confirm_recharge('{number}', 10, 'g-{round}', {payload})"));
        let kept = shop.superuser.row(&format!(
            "select (context -> 'payload')::text = ({payload})::text as same, context ->> 'gateway_trade_no' as trade \
             from audit.event_log where action = 'recharge.confirmed' and object_id = '{number}'"
        ));
        assert_eq!(kept.values(), ["t", &format!("g-{round}")], "{payload}");
    }
}

#[test]
fn a_setting_is_not_rounded() {
    let shop = Shop::open();
    for settings in [
        r#"{"max_amount": 50000.0000000000000001}"#,
        r#"{"max_amount": 50000.001}"#,
        r#"{"max_balance": 999999.9999999999999999999}"#,
        r#"{"points_per_unit": 1.00000000000000000001}"#,
        r#"{"qr_ttl_seconds": 60.00000000000000000001}"#,
    ] {
        shop.backend.refused("INVALID_ARGUMENT", &format!("select app.update_settings('{settings}')"));
    }
    shop.backend.run(r#"select app.update_settings('{"max_amount": 40000.50}')"#);
    assert_eq!(shop.backend.value("select app.get_settings() ->> 'max_amount'"), "40000.50");
}

#[test]
fn a_change_of_expiry_is_audited_with_the_date_before_and_after() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let company = shop.company("1.000", "0", &ming);
    for (card, no, kind) in [(&ming.card, &ming.card_no, "personal"), (&company.card, &company.card_no, "enterprise")] {
        let mut before = NULL.to_owned();
        for date in ["'2090-01-02 03:04:05.678901+00'", "'2091-01-01 00:00:00+00'", "null"] {
            shop.backend.run(&format!("select app.set_card_expiry('{card}', '{kind}', {date}, 'x')"));
            let event = shop.superuser.row(&format!(
                "select (context ->> 'expires_at')::timestamptz is not distinct from {date}::timestamptz as new, \
                        (context ->> 'expired_at')::timestamptz is not distinct from {before}::timestamptz as old, action \
                 from audit.event_log where object_id = '{no}' order by id desc limit 1"
            ));
            assert_eq!(event.values(), ["t", "t", "card.expiry_set"], "{kind} {date}");
            before = date.into();
        }
    }
}

// Limits --------------------------------------------------------------------------------------------------------------------

#[test]
fn numbers_grow_beyond_their_eight_digits() {
    let shop = Shop::open();
    shop.superuser.run(
        "select setval('app.member_no_seq', 99999999), setval('app.personal_card_no_seq', 99999999), \
            setval('app.enterprise_card_no_seq', 99999)",
    );
    let (ming, mei) = (shop.member("100.00"), shop.member("100.00"));
    assert_eq!((ming.no.as_str(), mei.no.as_str()), ("M100000000", "M100000001"));
    assert_eq!((ming.card_no.as_str(), mei.card_no.as_str()), ("VIP100000000", "VIP100000001"));
    let companies = [shop.company("1.000", "100.00", &ming), shop.company("1.000", "100.00", &ming)];
    assert_eq!(companies.each_ref().map(|c| c.card_no.as_str()), ["ENT100000", "ENT100001"]);
    // And are used like any others.
    for member in [&ming, &mei] {
        let points = format!("select * from app.adjust_points('{}', 7, 'x', 'k-1')", member.card);
        assert_eq!(shop.backend.row(&points), shop.backend.row(&points));
        shop.charge(member, "10.00");
    }
    shop.charge_company(&companies[1], &ming, "10.00");
    assert_eq!((shop.balance(&mei.card), shop.balance(&companies[1].card)), ("90.00".into(), "90.00".into()));
}

#[test]
fn the_size_of_a_tag_is_that_of_its_text_or_of_what_is_stored() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    let paid = shop.charge(&ming, "100.00");
    let small = "(select jsonb_build_object('a', jsonb_agg(1)) from generate_series(1, 800))";
    let size = shop
        .superuser
        .row(&format!("select octet_length({small}::text) < 8192 as text, pg_column_size({small}) > 8192 as stored"));
    assert_eq!(size.values(), ["t", "t"], "the tag no longer tells one from the other");
    let large = [
        "jsonb_build_object('a', repeat('x', 8192))",
        "(select jsonb_build_object('a', jsonb_agg(1)) from generate_series(1, 3000))",
        "jsonb_build_object('a', repeat('x', 1000000))",
    ];
    let calls: [&dyn Fn(&str) -> String; 4] = [
        &|tag| Shop::charge_sql(&shop.code(&ming), "1.00", &format!("p_tag => {tag}")),
        &|tag| Shop::refund_sql(&paid["tx_no"], "1.00", &format!("p_tag => {tag}")),
        &|tag| format!("select * from app.user_recharge_personal_card('{}', 1, 'cash', p_tag => {tag})", ming.card),
        &|tag| format!("select * from app.confirm_recharge('{}', 1, 'g-1', {tag})", shop.pending(&ming, "1.00")),
    ];
    for call in calls {
        shop.backend.run(&call(small));
        for tag in large {
            shop.backend.refused("INVALID_ARGUMENT", &call(tag));
        }
    }
}

#[test]
fn a_batch_refuses_a_place_that_no_batch_returned() {
    let db = Db::new();
    let superuser = db.superuser();
    for sql in [
        "select app.maintain_partitions_batch(-300)",
        "select app.maintain_partitions_batch(-1)",
        "select app.maintain_partitions_batch(null)",
        "select app.maintain_partitions_batch(870)",
        "select app.maintain_partitions_batch(2147483647)",
        "select app.maintain_partitions_batch(-2147483648)",
        "select sec.job_batch('coffee', 1, true)",
        "select sec.job_batch(repeat('x', 100000), 1, true)",
        "select sec.job_batch(null, 1, true)",
        "select sec.job_batch('maintain_partitions', null, true)",
        "select sec.job_batch('maintain_partitions', -1, true)",
        "select sec.job_batch('maintain_partitions', 1, null)",
        "select app.expire_keys_batch('9223372036854775807')",
        "select app.expire_keys_batch('-5')",
        "select app.expire_keys_batch('')",
        "select app.expire_keys_batch('x')",
        "select app.expire_qrcodes_batch('1:zz')",
        "select app.expire_qrcodes_batch('x:')",
        "select app.recompute_levels_batch('')",
    ] {
        superuser.refused("INVALID_ARGUMENT", sql);
    }
    // Beyond the last page of any table: nothing to do, or no place at all, but no error of the inside.
    match superuser.try_rows("select app.expire_keys_batch('4294967295')") {
        Ok(rows) => assert_eq!(rows[0].values(), [NULL]),
        Err(failure) => failure.must_be("INVALID_ARGUMENT", "expiring keys beyond the last page"),
    }
    superuser.run("select app.maintain_partitions_batch(0); select app.expire_keys_batch('1000000')");
}

#[test]
fn a_month_is_made_whatever_the_sessions_own_defaults_for_tables() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    shop.a_month_passes();
    let code = shop.code(&ming);
    let month = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    let tablespace = format!("{}_space", shop.db.name);
    // In the server's own directory, so that nothing has to be made for it.
    shop.superuser.run("set allow_in_place_tablespaces = on");
    shop.superuser.run(&format!("create tablespace {tablespace} location ''"));
    shop.superuser.run("create access method other_heap type table handler heap_tableam_handler");
    for table in ["app.transactions", "app.point_ledger", "audit.event_log"] {
        shop.superuser
            .run(&format!("alter table {table} detach partition {table}_{month}; drop table {table}_{month}"));
    }
    let made = |session: &Session, sql: &str| {
        session.run(&format!("set default_tablespace = {tablespace}"));
        session.run("set default_table_access_method = other_heap");
        session.try_rows(sql)
    };
    let answers = [
        made(&shop.cashier, &Shop::charge_sql(&code, "10.00", "")),
        made(&shop.db.superuser(), "select sec.make_month('2090-01-01')"),
        made(&shop.db.superuser(), "call app.maintain_partitions(5)"),
    ];
    let odd = shop.superuser.column(
        "select c.oid::regclass::text from pg_class c left join pg_am a on a.oid = c.relam \
         where c.relnamespace in ('app'::regnamespace, 'audit'::regnamespace) and (c.reltablespace <> 0 or a.amname = 'other_heap')",
    );
    shop.superuser.run(&format!("drop tablespace {tablespace}"));
    for answer in answers {
        answer.expect("the month is made");
    }
    assert_eq!(odd, [] as [String; 0]);
    assert_eq!(shop.balance(&ming.card), "90.00");
}

#[test]
fn no_procedure_does_anything_on_a_standby() {
    let found = Db::new().superuser().rows(
        "select p.oid::regprocedure::text as name, p.prosrc ~ 'IF (pg_catalog\\.pg_is_in_recovery|sec\\.jobs_rest)\\(\\) THEN' as asks from pg_proc p \
         where p.prokind = 'p' and p.pronamespace in ('app'::regnamespace, 'audit'::regnamespace, 'sec'::regnamespace)",
    );
    assert!(found.len() >= 6, "{found:?}");
    for procedure in &found {
        assert_eq!(&procedure["asks"], "t", "{}", &procedure["name"]);
    }
}

#[test]
fn without_settings_the_error_shows_nothing_of_the_inside() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let charge = Shop::charge_sql(&shop.code(&ming), "1.00", "");
    shop.superuser.run("delete from app.settings");
    for session in [&shop.cashier, &shop.backend, &shop.db.user(ming.id), &shop.superuser] {
        for sql in
            [charge.as_str(), "select * from app.register_member('x')", "select * from app.tx_by_no('ZF2611000001')"]
        {
            let failure = session.failure(sql);
            let said = format!("{} {} {}", failure.message, failure.detail, failure.hint).to_lowercase();
            for inner in ["backtrace", "stack", ".rs", "panicked", "0x", "pgrx"] {
                assert!(!said.contains(inner), "{sql}: {failure:?}");
            }
        }
    }
    shop.superuser.run("insert into app.settings default values");
    shop.cashier.run(&charge);
}

// Members -------------------------------------------------------------------------------------------------------------------

#[test]
fn a_member_whose_card_was_closed_registers_again_and_gets_a_new_one() {
    let shop = Shop::open();
    let ming = shop.member("0");
    shop.backend.run(&close_sql(&ming.card));
    let again = shop.db.user(ming.id).row("select * from app.register_member('Ming')");
    assert_eq!((&again["member_no"], &again["member_id"]), (ming.no.as_str(), ming.id.to_string().as_str()));
    assert_ne!(&again["card_id"], ming.card);
    let new = ming.with_card(&again["card_id"], &again["card_no"]);
    assert_eq!(shop.card_status(&new.card), "active");
    assert_eq!(shop.db.user(ming.id).row("select * from app.register_member('Ming')"), again);
    shop.recharge(&new.card, "10.00");
    shop.charge(&new, "10.00");
    // Whoever is suspended or closed gets none.
    for status in ["suspended", "closed"] {
        let mei = shop.member("0");
        shop.backend.run(&close_sql(&mei.card));
        shop.backend.run(&format!("select app.set_member_status('{}', '{status}', 'x')", mei.id));
        let _ = shop.db.user(mei.id).try_rows("select * from app.register_member('Mei')");
        let open =
            format!("select count(*) from app.personal_cards where member_id = '{}' and status <> 'closed'", mei.id);
        assert_eq!(shop.superuser.value(&open), "0", "{status}");
    }
    // Asked for many times at once, it is still one.
    let anna = shop.member("0");
    shop.backend.run(&close_sql(&anna.card));
    let jobs = (0..4).map(|_| (shop.db.user(anna.id), "select * from app.register_member('Anna')".to_owned()));
    let answers = together(jobs.collect());
    let first = answers[0].as_ref().expect("a card");
    assert!(answers.iter().all(|a| a.as_ref() == Ok(first)), "{answers:?}");
}

#[test]
fn a_suspended_admin_can_be_made_a_member_or_removed() {
    let shop = Shop::open();
    let (boss, other) = (shop.member("0"), shop.member("0"));
    let company = shop.company("1.000", "0", &boss);
    shop.bind(&company, &other, "admin");
    shop.backend.run(&format!("select app.set_member_status('{}', 'suspended', 'x')", other.id));
    let demote = format!("select app.enterprise_add_member('{}', '{}', 'member')", company.card_no, other.id);
    assert_eq!(shop.db.user(boss.id).value(&demote), "t");
    let remove = format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, other.id);
    assert_eq!(shop.db.user(boss.id).value(&remove), "t");
}

// Sign-ups ------------------------------------------------------------------------------------------------------------------

/// auth.users as Supabase has it, as far as we look at it, in a database that registers its users.
fn with_signup() -> Db {
    let _roles = Db::new();
    let db = Db::empty();
    db.superuser().run(
        "create schema auth; create table auth.users (id uuid primary key, email text, phone text, raw_user_meta_data jsonb);
         create extension mps; select app.enable_supabase_signup()",
    );
    db
}

#[test]
fn a_sign_up_waits_for_nobody_for_long() {
    let db = with_signup();
    let (s, holder) = (db.superuser(), db.superuser());
    // The same member is just being made by hand; an existing one is held; and the making of months is held up.
    for hold in [
        "insert into app.member_profiles (id, created_at, member_no, name) values ('{id}', now(), 'M9', 'x')",
        "insert into app.member_profiles (id, created_at, member_no, name) values ('{id}', now(), 'M9', 'x'); commit; \
         begin; select 1 from app.member_profiles where id = '{id}' for update",
        "lock table app.member_profiles in access exclusive mode",
    ] {
        let id = nobody();
        holder.run("begin");
        for sql in hold.replace("{id}", &id.to_string()).split("; ") {
            holder.run(sql);
        }
        let start = Instant::now();
        s.run(&format!("insert into auth.users values ('{id}', 'x@example.org')"));
        assert!(start.elapsed() < Duration::from_secs(5), "{hold}: {:?}", start.elapsed());
        holder.run("rollback");
        assert_eq!(s.value(&format!("select count(*) from auth.users where id = '{id}'")), "1");
        // Later the user registers itself, and gets its card.
        let row = db.user(id).row("select * from app.register_member('x')");
        assert_eq!(&row["member_id"], id.to_string());
        s.run("update app.member_profiles set member_no = 'M0' || id where member_no = 'M9'");
    }
}

#[test]
fn a_name_of_white_space_says_nothing() {
    let db = with_signup();
    let s = db.superuser();
    for blank in [r"\t", r"\u3000", r"\n \u00a0", r"\u2003\r", ""] {
        for (email, phone, name) in [
            ("'a@example.org'", "'139'", "a@example.org"),
            ("null", "'139'", "139"),
            ("E'\\u3000'", "'139'", "139"),
            ("null", "E'\\t'", "Member"),
            ("null", "null", "Member"),
        ] {
            let id = nobody();
            s.run(&format!(r#"insert into auth.users values ('{id}', {email}, {phone}, '{{"name": "{blank}"}}')"#));
            assert_eq!(
                s.column(&format!("select name from app.member_profiles where id = '{id}'")),
                [name],
                "{blank:?} {email} {phone}"
            );
        }
    }
}
