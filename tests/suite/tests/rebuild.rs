//! The books from the audit log alone: `app.rebuild_from_log()` writes them anew, to the last digit, or says which event it lacks.

use mps_sender::bill::{self, Line};
use mps_tests::{
    Cluster, Db, Member, SHOP, Scratch, Session, Shop, Till, Waiting, differences, gateways, nobody, not_compared,
    program, q, together,
};

/// Writes the books of the log that is there, and what was said of it.
fn rebuild(db: &Db) -> String {
    let lines = db.superuser().rows("select what, n from app.rebuild_from_log()");
    lines.iter().map(|row| format!("{}: {}\n", &row["what"], &row["n"])).collect()
}

/// The books hold, by the extension's own rules and by the tests'.
#[track_caller]
fn sound(db: &Db) {
    let till = Till { session: db.superuser() };
    assert_eq!(till.findings(), [] as [String; 0]);
    assert_eq!(db.problems(), [] as [String; 0]);
}

/// Members, cards, money, refunds, a card that is replaced, a recharge that waits: what goes on in the month before.
fn last_month(shop: &Shop) -> (Vec<Member>, String, String) {
    let (backend, s) = (&shop.backend, &shop.superuser);
    let members: Vec<Member> = ["9000.00", "100.00", "20.00"].iter().map(|balance| shop.member(balance)).collect();
    let (rich, poor) = (&members[0], &members[1]);
    // It reaches a level with this, and has the next one cheaper.
    let paid = shop.charge(rich, "6000.55")["tx_no"].to_owned();
    shop.charge(rich, "52.00");
    shop.charge(rich, "0.01");
    shop.refund(&paid, "1000.10");
    shop.refund(&paid, "5.00");
    let waiting = shop.pending(poor, "7.00");
    let failed = shop.pending(poor, "8.00");
    backend.run(&format!("select * from app.fail_recharge('{failed}', 'declined')"));
    // Numbers go on beyond what one page of the chain has.
    for _ in 0..70 {
        shop.charge(&members[2], "0.10");
    }
    s.run("update app.membership_levels set min_points = 90 where level = 1");
    s.run("insert into app.membership_levels values (7, 'Jade', 70000, 0.700)");
    s.run("delete from app.membership_levels where level = 4");
    (members, waiting, paid)
}

/// A company with two who pay with its card, and one who is bound no more, or again.
fn a_company(shop: &Shop, members: &[Member]) {
    let backend = &shop.backend;
    let company = shop.company("0.900", "500.00", &members[0]);
    shop.bind(&company, &members[1], "member");
    shop.bind(&company, &members[2], "member");
    shop.bind(&company, &members[2], "admin");
    let remove = format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, members[2].id);
    backend.run(&remove);
    shop.bind(&company, &members[2], "member");
    let paid = shop.charge_company(&company, &members[1], "33.33")["tx_no"].to_owned();
    shop.refund(&paid, "10.00");
    backend.run(&format!("select * from app.compensate_tx('{paid}', -1.25, 'too little')"));
    let admin = shop.db.user(members[0].id);
    admin.run(&format!("select * from app.user_recharge_enterprise_card_admin('{}', 11, 'wechat')", company.card));
    backend.run("select * from app.create_enterprise_card('Nobody Ltd', 1)");
    shop.set_card(&company.card, "enterprise", "frozen");
}

/// What a gateway says: confirmed late, paid twice, credited elsewhere, paid back.
fn a_gateway(shop: &Shop, member: &Member, waiting: &str) {
    let backend = &shop.backend;
    let confirm = |number: &str, amount: &str, trade: &str, more: &str| {
        backend.run(&format!(
            "select * from app.confirm_recharge('{number}', {amount}, '{trade}', '{{\"of\": {{\"n\": 1.50}}}}'{more})"
        ));
    };
    confirm(waiting, "7", "trade-1", ", 'alipay'");
    // Paid once more, and once more: one is credited to the member, one goes back, one is written off.
    for (trade, resolution, more) in [
        ("trade-2", "credited", format!(", '{}'", member.card)),
        ("trade-3", "refunded", String::new()),
        ("trade-4", "written_off", String::new()),
        ("trade-5", "", String::new()),
    ] {
        confirm(waiting, "7", trade, "");
        let id =
            shop.superuser.value(&format!("select id from app.suspense_payments where gateway_trade_no = '{trade}'"));
        if !resolution.is_empty() {
            backend.run(&format!("select * from app.resolve_suspense({id}, '{resolution}', 'so be it'{more})"));
        }
        if resolution == "refunded" {
            backend.run(&format!("select * from app.resolve_suspense({id}, 'refund_failed', 'closed account')"));
        }
    }
    // A payment that nobody knows, of which the gateway gives a part back by itself.
    shop.superuser.run(&mps_sender::set_up());
    for fee in ["0.00", "3.00"] {
        let fields = [("refund_fee", Some(fee)), ("gmt_refund", Some("2026-11-26 12:00:00"))];
        backend.row(&mps_sender::alipay("ORDER-9", "trade-9", "8.00", "TRADE_SUCCESS", &fields).sql("alipay"));
    }
    // Its bill has two that nobody knows, and then one.
    let day = "2026-11-26";
    let lines = [Line::payment("4200001", "ORDER-1", 100), Line::payment("4200002", "ORDER-2", 250)];
    backend.row(&bill::import("wechat", day, "trade", &bill::wechat(day, &lines)));
    backend.rows(&format!("select * from app.reconcile('wechat', '{day}')"));
    for (trade, word) in [("4200001", "explained"), ("4200002", "refund")] {
        let id = backend.value(&format!("select id from app.recon_items where trade_no = '{trade}'"));
        backend.row(&format!("select * from app.resolve_recon_item({id}, '{word}', 'as seen')"));
    }
    backend.row(&format!("select * from app.close_recon_day('wechat', '{day}')"));
    backend.row(&bill::import("wechat", day, "trade", &bill::wechat(day, &lines[..1])));
    // The word of a backend first, the gateway's later.
    let told = backend.row(&format!("select * from app.user_recharge_personal_card('{}', 3, 'wechat')", member.card));
    confirm(&told["tx_no"], "3", "trade-6", ", 'alipay'");
    // Declined, and paid after all.
    let late = shop.pending(member, "9.00");
    backend.run(&format!("select * from app.fail_recharge('{late}', 'declined')"));
    confirm(&late, "9", "trade-7", "");
    shop.pending(member, "4.00");
}

/// Money that goes back out: in cash, by gateways, by transfer; what comes back, and what is paid after that.
fn withdrawals(shop: &Shop, member: &Member) {
    let backend = &shop.backend;
    let order = shop.pending(member, "50.00");
    backend.row(
        &mps_sender::Payment { order: &order, trade: "trade-20", fen: 5000, state: "SUCCESS" }.sent().sql("wechat"),
    );
    let out = |amount: &str, key: &str, more: &str| {
        let sql = format!("select refund_no from app.withdraw('{}', {amount}, 'leaving', '{key}'{more})", member.card);
        backend.column(&sql)
    };
    let told = |number: &str, fen: i64, state: &str| {
        backend.row(&mps_sender::refund(number, "trade-20", &order, fen, state).sql("wechat"));
    };
    let first = &out("5", "w1", "")[0];
    told(first, 500, "ABNORMAL");
    told(first, 500, "SUCCESS");
    backend.run(&format!("select * from app.confirm_withdrawal('{first}', 5, 'R-1')"));
    let second = &out("6", "w2", "")[0];
    told(second, 600, "CLOSED");
    told(second, 600, "SUCCESS");
    let third = &out("7", "w3", ", p_payout => 'transfer'")[0];
    backend.run(&format!("select * from app.confirm_withdrawal('{third}', 7, 'bank-1')"));
    let fourth = &out("8", "w4", &format!(", p_merchant_code => '{SHOP}'"))[0];
    backend.run(&format!("select * from app.fail_withdrawal('{fourth}', 'no such account')"));
    out("9", "w5", ", p_payout => 'cash'");
    told(&out("1", "w6", "")[0], 100, "PROCESSING");
    // More than one source, one of them of a backend's word, and of a company.
    assert!(out("30", "w7", "").len() > 1);
    let company = shop.company("1.000", "50.00", member);
    backend.run(&format!("select * from app.withdraw('{}', 20, 'x', 'w', 'enterprise')", company.card));
}

/// Coupons: edited, issued, claimed, given to all, taken back; a budget that became larger.
fn coupons(shop: &Shop, member: &Member) {
    let backend = &shop.backend;
    let all = r#"{"code": "FULL", "name": "All of it", "kind": "percent_off", "value": 12.5, "min_spend": 10, "max_discount": 20,
        "goes_with_level_discount": false, "valid_from": "2026-01-01T00:00:00+08:00", "valid_days_after_issue": 30,
        "starts_after_days": 1, "weekdays": [1, 7], "hours_from": "22:00", "hours_until": "02:30", "merchants": ["SHOP-001"],
        "levels": [0, 1], "card_types": ["personal"], "first_purchase_only": true, "issue_limit": 1000, "per_member_limit": 9,
        "per_member_per_day": 9, "claimable": true, "on_full_refund": "keep_used", "budget_amount": 100}"#;
    backend.run(&format!("select * from app.create_coupon('{all}')"));
    backend
        .run(r#"select * from app.create_coupon('{"code": "DRAFT", "name": "x", "kind": "fixed_price", "value": 0}')"#);
    for status in ["active", "paused", "active"] {
        backend.run(&format!("select * from app.set_coupon_status('FULL', '{status}', 'x')"));
    }
    let issue = format!("select coupon_code from app.issue_coupon('FULL', '{}', 3)", member.id);
    let issued = backend.column(&issue);
    backend.run(&format!("select app.revoke_coupon('{}', 'a mistake')", issued[1]));
    let edit = r#"{"hours_from": null, "hours_until": null, "valid_days_after_issue": null, "valid_until": "2090-01-01T00:00:00Z",
        "starts_after_days": null, "budget_amount": 120.01}"#;
    backend.run(&format!("select * from app.update_coupon('FULL', '{edit}')"));
    shop.db.user(member.id).run("select * from app.claim_coupon('FULL', 'c')");
    shop.superuser.run("call app.issue_coupon_to_all('FULL')");
    // One is used, one used and given back, one used again.
    let own = "select sec.coupon_no(m.id) from app.member_coupons m join app.coupons c on c.id = m.coupon_id \
               where m.member_id = '{}' and m.status = 'active' and c.code = 'EACH' order by m.id";
    let each = r#"{"code": "EACH", "name": "x", "kind": "percent_off", "value": 12.5, "budget_amount": 17.03}"#;
    backend.run(&format!("select * from app.create_coupon('{each}')"));
    backend.run("select * from app.set_coupon_status('EACH', 'active', 'x')");
    backend.run(&format!("select * from app.issue_coupon('EACH', '{}', 3)", member.id));
    shop.recharge(&member.card, "50.00");
    let numbers = shop.superuser.column(&own.replace("{}", &member.id.to_string()));
    let pay = |number: &str, more: &str| {
        let with = format!("p_coupon_code => '{number}'{more}");
        shop.cashier.row(&Shop::charge_sql(&shop.code(member), "10.01", &with))
    };
    pay(&numbers[0], "");
    let paid = pay(&numbers[1], ", p_excluded_amount => 3.33");
    shop.refund(&paid["tx_no"], "1.00");
    let paid = pay(&numbers[2], ", p_excluded_amount => 9");
    shop.refund(&paid["tx_no"], &paid["final_amount"]);
    pay(&numbers[2], "");
    // One pays all of it; that is cancelled, and it pays again.
    let free = r#"{"code": "FREE", "name": "x", "kind": "percent_off", "value": 100}"#;
    backend.run(&format!("select * from app.create_coupon('{free}')"));
    backend.run("select * from app.set_coupon_status('FREE', 'active', 'x')");
    let free = backend.row(&format!("select * from app.issue_coupon('FREE', '{}')", member.id));
    let paid = pay(&free["coupon_code"], "");
    shop.cashier.run(&format!("select * from app.cancel_payment('{SHOP}', '{}')", &paid["tx_no"]));
    pay(&free["coupon_code"], "");
}

/// Campaigns: edited, paused, ended, and what they gave to payments.
fn campaigns(shop: &Shop, member: &Member) {
    let backend = &shop.backend;
    let all = r#"{"code": "FULL", "name": "All of it", "kind": "points_multiplier", "value": 2.5, "min_spend": 5,
        "valid_from": "2026-01-01T00:00:00+08:00", "valid_until": "2090-01-01T00:00:00+08:00", "weekdays": [1, 7], "hours_from": "22:00",
        "hours_until": "02:30", "merchants": ["SHOP-001"], "levels": [0, 1], "card_types": ["personal"], "priority": -7}"#;
    backend.run(&format!("select * from app.create_campaign('{all}')"));
    let edit = r#"{"weekdays": null, "hours_from": null, "hours_until": null}"#;
    backend.run(&format!("select * from app.update_campaign('FULL', '{edit}')"));
    for code in ["MORE", "DRAFT"] {
        let json =
            format!(r#"{{"code": "{code}", "name": "x", "kind": "points_bonus", "value": 7, "exclusive": false}}"#);
        backend.run(&format!("select * from app.create_campaign('{json}')"));
    }
    let set = |code: &str, status: &str| {
        backend.run(&format!("select * from app.set_campaign_status('{code}', '{status}', 'x')"));
    };
    shop.recharge(&member.card, "50.00");
    let pay = || shop.cashier.row(&Shop::charge_sql(&shop.code(member), "10.01", ""))["tx_no"].to_owned();
    set("FULL", "active");
    pay();
    set("MORE", "active");
    shop.refund(&pay(), "3.00");
    set("FULL", "paused");
    pay();
    set("MORE", "ended");
}

/// The rest of what can be done to cards and members, and by operators.
fn this_month(shop: &Shop, members: &[Member]) {
    let (backend, s) = (&shop.backend, &shop.superuser);
    let lost = &members[0];
    backend.run(&format!("select * from app.adjust_points('{}', 40, 'birthday')", lost.card));
    backend.run(&format!("select * from app.adjust_points('{}', -7, 'a mistake')", members[1].card));
    backend.run(&format!("select app.set_card_expiry('{}', 'personal', '2090-01-01', 'x')", lost.card));
    shop.set_card(&lost.card, "personal", "lost");
    let new = backend.row(&format!("select * from app.replace_card('{}', 'in a taxi')", lost.card));
    let new = lost.with_card(&new["card_id"], &new["card_no"]);
    shop.charge(&new, "10.00");
    // What the old card is asked for is taken off the new one.
    backend.run(&format!("select * from app.withdraw('{}', 2, 'leaving', 'old')", lost.card));
    // A refund of what the old card paid goes to the new one.
    let old = s.value(&format!(
        "select min(tx_no) from app.transactions where card_id = '{}' and tx_type = 'payment'",
        lost.card
    ));
    shop.refund(&old, "1.00");
    backend.run(&format!("select * from app.compensate_tx('{old}', 2.50, 'a gift')"));
    let empty = shop.member("0");
    shop.set_card(&empty.card, "personal", "lost");
    backend.run(&format!("select * from app.replace_card('{}', 'again')", empty.card));
    let gone = shop.member("0");
    backend.run(&format!("select app.set_member_status('{}', 'closed', 'moved away')", gone.id));
    let closed = shop.member("0");
    shop.set_card(&closed.card, "personal", "closed");
    backend.run(&format!("select * from app.register_member('again', p_user_id => '{}')", closed.id));
    backend.run(&format!("select app.set_member_status('{}', 'suspended', 'x')", closed.id));
    let due = shop.member("1.00");
    // So that it is due as soon as somebody looks.
    backend.run(&format!(
        "select app.set_card_expiry('{}', 'personal', clock_timestamp() + interval '1 second', 'x')",
        due.card
    ));
    let clerk = nobody();
    for call in [
        format!("app.set_merchant_user('{SHOP}', '{clerk}', 'admin')"),
        format!("app.remove_merchant_user('{SHOP}', '{clerk}')"),
        format!("app.set_merchant_user('{SHOP}', '{clerk}', 'owner')"),
        format!("app.set_merchant_user('{SHOP}', '{clerk}', 'cashier')"),
    ] {
        backend.run(&format!("select {call}"));
    }
    backend.run("select * from app.create_merchant('SHOP-002', 'Tea & \"Cake\"')");
    // Of a shop; without it again; one that is turned off.
    let of_a_shop = gateways::WECHAT.replace('}', r#", "merchant": "SHOP-002", "fee_rate": 0.0060}"#);
    s.run(&gateways::set_account("wechat", "wechat", gateways::WECHAT));
    s.run(&gateways::set_account("wechat", "wechat", &of_a_shop));
    s.run(&gateways::set_account("alipay", "alipay", &gateways::ALIPAY.replace('}', r#", "merchant": "SHOP-002"}"#)));
    s.run(&gateways::set_account("alipay", "alipay", &gateways::ALIPAY.replace('}', r#", "active": false}"#)));
    s.run(&gateways::set_key("alipay", "alipay_public_key", "a", gateways::alipay_keys()[0], ""));
    backend.run("select app.set_merchant_status('SHOP-002', false, 'x')");
    backend.run(
        r#"select app.update_settings('{"points_per_unit": 1.5, "business_time_zone": "Asia/Shanghai", "qr_ttl_seconds": 77}')"#,
    );
    shop.charge(&new, "3.00");
    s.run("select pg_sleep(1)");
    s.run("call app.expire_cards()");
    // Some cards are told at once, others at their next movement.
    backend.run(&format!("select * from app.adjust_points('{}', 31, 'x')", members[2].card));
    s.run("update app.membership_levels set discount = 0.960 where level = 1");
    s.run("update app.membership_levels set min_points = 30 where level = 1");
    s.run("call app.recompute_levels()");
    s.run("update app.membership_levels set discount = 0.970 where level = 1");
}

/// A recharge of last month that nobody paid is cancelled, and its month is closed.
fn jobs(shop: &Shop, member: &Member) {
    let s = &shop.superuser;
    shop.backend.run(r#"select app.update_settings('{"recharge_ttl_minutes": 5}')"#);
    s.run("call app.expire_recharges()");
    shop.pending(member, "6.00");
    s.run("call app.maintain_partitions()");
    s.run("call audit.seal()");
}

/// A shop in which everything has happened that changes anything.
fn a_life() -> (Shop, Vec<Member>) {
    let shop = Shop::open();
    let (members, waiting, _) = last_month(&shop);
    let forgotten = shop.pending(&members[1], "5.00");
    shop.a_month_passes();
    let now_called = |number: &str| {
        shop.superuser.value(&format!("select tx_no from app.transactions where tx_no like '%' || {}", q(&number[6..])))
    };
    assert_eq!(shop.count(&format!("tx_no = {}", q(now_called(&forgotten)))), "1");
    a_company(&shop, &members);
    a_gateway(&shop, &members[1], &now_called(&waiting));
    withdrawals(&shop, &members[1]);
    coupons(&shop, &members[1]);
    campaigns(&shop, &members[1]);
    this_month(&shop, &members);
    jobs(&shop, &members[1]);
    (shop, members)
}

#[test]
fn the_log_alone_gives_the_same_books() {
    let (shop, members) = a_life();
    assert_eq!(not_compared(&shop.superuser), [] as [String; 0]);
    // Every kind of event that a family writes was in it. What is not here moves nothing.
    let missing = shop.superuser.column(
        "select l.action from sec.logged_actions() l where not exists (select from audit.event_log e where e.action = l.action) \
            and l.action not in ('level.granted', 'level.revoked', 'books.rebuilt', 'month.archived', 'mode.set', \
                                'restore.declared') order by 1",
    );
    assert_eq!(missing, [] as [String; 0]);

    let db = shop.db.with_the_log_alone();
    let said = rebuild(&db);
    let again = db.superuser();
    assert_eq!(differences(&shop.superuser, &again), [] as [String; 0], "{said}");
    // Levels of before the last change, too: cards have them until somebody looks.
    for s in [&shop.superuser, &again] {
        s.run("call app.recompute_levels()");
    }
    assert_eq!(differences(&shop.superuser, &again), [] as [String; 0]);
    sound(&db);
    let event = "select context ->> 'payments' from audit.event_log where action = 'books.rebuilt'";
    assert!(said.contains(&format!("payments: {}\n", again.value(event))), "{said}");
    goes_on(&db, &members);
}

/// What was not in the log is made anew; the rest goes on where it was.
fn goes_on(db: &Db, members: &[Member]) {
    let backend = db.backend();
    let member = &members[2];
    let till = Till { session: db.superuser() };
    let highest = till.highest_number();
    let paid = till.charge(&member.card, "1.50");
    assert!(paid["tx_id"].parse::<i64>().expect("an id") % 100_000_000_000 > highest);
    // One that was paid before: what is left of it can be given back, and no more.
    let old = backend.row(
        "select p.tx_no, p.final_amount - p.refunded_amount as left, m.code from app.transactions p \
         join app.merchants m on m.id = p.merchant_id \
         where p.tx_type = 'payment' and p.refunded_amount > 0 and p.refunded_amount < p.final_amount order by p.id limit 1",
    );
    let refund =
        |amount: &str| format!("select * from app.merchant_refund_tx('{SHOP}', '{}', {amount})", &old["tx_no"]);
    backend.refused("REFUND_EXCEEDS_REMAINING", &refund(&format!("{} + 0.01", &old["left"])));
    assert_eq!(&backend.row(&refund(&old["left"]))["refundable_left"], "0.00");
    // What the gateway says once more credits nothing, and what it has not said yet still can.
    let credited =
        db.superuser().row("select tx_no, final_amount from app.transactions where gateway_trade_no = 'trade-1'");
    let confirm = |trade: &str| {
        format!(
            "select * from app.confirm_recharge('{}', {}, '{trade}')",
            &credited["tx_no"], &credited["final_amount"]
        )
    };
    assert_eq!(&backend.row(&confirm("trade-1"))["replayed"], "t");
    assert_eq!(&backend.row(&confirm("trade-3"))["status"], "suspense");
    let waiting =
        db.superuser().row("select tx_no, final_amount from app.transactions where status = 'processing' limit 1");
    let late =
        format!("select * from app.confirm_recharge('{}', {}, 'late')", &waiting["tx_no"], &waiting["final_amount"]);
    assert_eq!(&backend.row(&late)["status"], "completed");
    let new = backend.row("select * from app.register_member('New')");
    let others = format!("select count(*) from app.member_profiles where member_no = '{}'", &new["member_no"]);
    assert_eq!(db.superuser().value(&others), "1");
    db.superuser().run("call app.maintain_partitions()");
    db.superuser().run("call audit.seal()");
    sound(db);
}

/// Everything in a fresh installation that nobody used, of a server without roles of Supabase: there the log comes by rows alone.
#[test]
fn a_fresh_installation_takes_the_rows_of_the_log() {
    let shop = Shop::open();
    let member = shop.member("50.00");
    shop.charge(&member, "20.00");
    shop.a_month_passes();
    shop.charge(&member, "10.00");
    shop.superuser.run("call audit.seal()");
    let dump = Scratch::new("rows");
    let what = ["-Fc", "--data-only", "-t", "audit.event_log*", "-t", "audit.seals", "-f", dump.path(), &shop.db.name];
    program("pg_dump", &what).expect("dumps");

    let target = Cluster::start();
    target.psql("postgres", "create extension mps").expect("made");
    let s = target.superuser("postgres");
    let months = shop
        .superuser
        .column("select distinct date_trunc('month', happened_at at time zone 'UTC')::date from audit.event_log");
    months.iter().for_each(|month| s.run(&format!("select sec.make_month('{month}')")));
    target.program("pg_restore", &["--exit-on-error", "-d", "postgres", dump.path()]).expect("restores");
    let till = Till { session: target.superuser("postgres") };
    assert_eq!(till.session.value("select count(*) from audit.verify() where not ok"), "0");
    s.run("select * from app.rebuild_from_log()");
    assert_eq!(differences(&shop.superuser, &s), [] as [String; 0]);
    till.goes_on(&member.card);
}

/// Does something to the log as nobody can who has not the rights of its owner and of a superuser.
fn tamper(s: &Session, sql: &str) {
    let logs = "select inhrelid::regclass::text from pg_inherits where inhparent = 'audit.event_log'::regclass \
        union all select 'audit.event_log'";
    for log in s.column(logs) {
        s.run(&format!("alter table {log} disable trigger append_only"));
    }
    s.run(sql);
    for log in s.column(logs) {
        s.run(&format!("alter table {log} enable always trigger append_only"));
    }
}

#[test]
fn a_log_that_is_not_enough_is_refused_and_nothing_is_written() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("50.00"), shop.member("50.00"));
    let paid = [shop.charge(&ming, "5.00"), shop.charge(&ming, "6.00"), shop.charge(&mei, "7.00")];
    let refunded = shop.refund(&paid[1]["tx_no"], "2.00")["refund_tx_no"].to_owned();
    for change in [5, 6] {
        shop.backend.run(&format!("select * from app.adjust_points('{}', {change}, 'x')", mei.card));
    }
    let event = |condition: &str| shop.superuser.value(&format!("select id from audit.event_log where {condition}"));
    let of = |no: &str| event(&format!("object_id = {}", q(no)));
    let first = event("action = 'points.adjusted' and context ->> 'change' = '5'");
    let second = event("action = 'points.adjusted' and context ->> 'change' = '6'");
    let registered = event(&format!("action = 'member.registered' and object_id = {}", q(&mei.no)));
    let (one, two) = (of(&paid[0]["tx_no"]), of(&paid[1]["tx_no"]));
    let refund = of(&refunded);
    let delete = |id: &str| format!("delete from audit.event_log where id = {id}");
    let set = |id: &str, to: &str| format!("update audit.event_log set {to} where id = {id}");
    // What was done to the log, and what is said: the event, and why.
    let cases = [
        (delete(&one), two.clone(), format!("is movement 3 of {}", ming.card_no)),
        (delete(&first), second, "it is change".to_owned()),
        (delete(&two), refund.clone(), format!("is movement 4 of {}", ming.card_no)),
        (
            format!(
                "{}; {}",
                delete(&two),
                set(&refund, &format!("context = context || '{{\"card\": \"{}/3\"}}'", ming.card_no))
            ),
            refund.clone(),
            "gives back".to_owned(),
        ),
        (
            set(&refund, "context = context || '{\"change\": \"6.01\"}'"),
            refund.clone(),
            "more is given back".to_owned(),
        ),
        // What cancels a payment of 0.00 is no refund of another one.
        (
            set(&refund, "context = context || '{\"change\": \"0.00\"}'"),
            refund.clone(),
            format!("cancels {}, which it cannot", &paid[1]["tx_no"]),
        ),
        (set(&one, "context = context || '{\"change\": \"-50.01\"}'"), one.clone(), "would leave -0.01".to_owned()),
        // As 0.2.0 wrote them: the first is named.
        (
            format!(
                "update audit.event_log set context = jsonb_build_object('change', context -> 'change') where id in ({one}, {two})"
            ),
            one.clone(),
            "does not say: card, at, as those of 0.3.0 and later do".to_owned(),
        ),
        (set(&registered, "context = context - 'card_id'"), registered.clone(), "does not say: card_id".to_owned()),
        (delete(&registered), of(&paid[2]["tx_no"]), format!("there is no card {}", mei.card_no)),
        (set(&one, "action = 'coupon.spent'"), one.clone(), "nothing of this release writes coupon.spent".to_owned()),
    ];
    for (done, event, why) in cases {
        let db = shop.db.with_the_log_alone();
        let s = db.superuser();
        tamper(&s, &done);
        let refused = s.refused("STATUS_CONFLICT", "select * from app.rebuild_from_log()");
        let recharge = shop
            .superuser
            .value(&format!("select min(id) from audit.event_log where context ->> 'card' = '{}/1'", mei.card_no));
        let named = refused.detail.contains(&format!("event {event} of the log"));
        // Without its card, whichever movement of it is met first.
        let named =
            named || (why.starts_with("there is no card") && refused.detail.contains(&format!("event {recharge} ")));
        assert!(named && refused.detail.contains(&why), "{done}\n{refused:?}\nexpected event {event}: {why}");
    }
}

#[test]
fn what_the_chain_cannot_show_the_seals_do() {
    let shop = Shop::open();
    let member = shop.member("50.00");
    shop.charge(&member, "5.00");
    let last = shop.charge(&member, "6.00")["tx_no"].to_owned();
    shop.superuser.run("call audit.seal()");
    let at = format!("where object_id = {}", q(&last));
    for (done, check) in [
        (format!("delete from audit.event_log {at}"), "events_removed"),
        (format!("update audit.event_log set context = context || '{{\"change\": \"-5.00\"}}' {at}"), "events_changed"),
    ] {
        let db = shop.db.with_the_log_alone();
        let s = db.superuser();
        assert_eq!(s.value("select count(*) from audit.verify() where not ok"), "0");
        tamper(&s, &done);
        assert_eq!(s.column("select check_name from audit.verify() where not ok"), [check]);
        // Nothing else would: the books are those of the log that is there.
        rebuild(&db);
        assert!(!differences(&shop.superuser, &s).is_empty());
    }
}

#[test]
fn only_into_empty_books_once_and_by_an_operator() {
    let shop = Shop::open();
    shop.charge(&shop.member("50.00"), "5.00");
    let call = "select * from app.rebuild_from_log()";
    let full = shop.db.superuser().refused("STATUS_CONFLICT", call);
    assert!(full.detail.contains("only where there is nothing but the log: app."), "{full:?}");

    let db = shop.db.with_the_log_alone();
    shop.superuser.run("select sec.grant_api('stranger', 'operator')");
    db.backend().denied(call);
    let view = db.superuser();
    view.run("begin isolation level repeatable read");
    assert_eq!(view.failure(call).message, "STATUS_CONFLICT");
    view.run("rollback");
    // Whoever comes second finds the books of the first.
    let done = together(vec![(db.superuser(), call.into()), (db.superuser(), call.into())]);
    let refused: Vec<_> = done.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(refused.len(), 1, "{done:?}");
    refused[0].must_be("STATUS_CONFLICT", call);
    assert_eq!(differences(&shop.superuser, &db.superuser()), [] as [String; 0]);

    let other = shop.db.with_the_log_alone();
    other.superuser().run("select sec.grant_api('stranger', 'operator')");
    other.login("stranger").run(call);
    assert_eq!(differences(&shop.superuser, &other.superuser()), [] as [String; 0]);
    // One row of whatever kind, and it is not empty.
    let used = shop.db.with_the_log_alone();
    used.superuser().run("select setval('audit.event_id_seq', 1000)");
    used.backend().run("select * from app.create_merchant('SHOP-009', 'x')");
    let refused = used.superuser().refused("STATUS_CONFLICT", call);
    assert!(refused.detail.contains("app.merchants has rows"), "{refused:?}");
}

#[test]
fn the_context_of_a_movement_is_stored_as_the_server_would() {
    let shop = Shop::open();
    let member = shop.member("50.00");
    let paid = shop.charge(&member, "20.00")["tx_no"].to_owned();
    shop.refund(&paid, "3.00");
    let s = &shop.superuser;
    // Byte for byte, and short: a charge pays for each of them.
    assert_eq!(
        s.column(
            "select object_id from audit.event_log where not record_image_eq(row(context), row(context::text::jsonb))"
        ),
        [] as [String; 0]
    );
    let at = s.value("select id from app.merchants");
    let context = format!(r#"{{"at": "{at}", "card": "{}/2", "change": "-20.00", "points": "20"}}"#, member.card_no);
    assert_eq!(&shop.last_event(&paid)["context"], &context);
}

/// A job has the log, and something else by and by; whoever rebuilds waits for the log before it has anything.
#[test]
fn whoever_rebuilds_beside_a_job_waits_and_nobody_dies() {
    let shop = Shop::open();
    shop.member("5.00");
    let db = shop.db.with_the_log_alone();
    let (job, watch) = (db.superuser(), db.superuser());
    job.run("begin; select sec.job_batch('seal', 1, true)");
    let rebuilding = Waiting::start(db.superuser(), &watch, "select * from app.rebuild_from_log()".to_owned());
    job.run("select app.close_months_note_batch(); commit");
    rebuilding.end().expect("it was only made to wait");
    sound(&db);
}
