//! What lies in another month than the one it was posted in, or than the clock says, hides nothing: not when that month is archived,
//! and not when it is closed.

use mps_tests::{Clock, Member, SHOP, Session, Till, Waiting, q};

/// A shop under a clock, in a cluster of its own.
fn till_at(moment: &str) -> (Clock, Till) {
    let clock = Clock::start_at(moment);
    let session = clock.cluster.superuser("postgres");
    session.run("create extension mps");
    session.run("create role phone; select sec.grant_api('phone', 'client')");
    (clock, Till::open(session))
}

/// A member's own session.
fn phone(clock: &Clock, member: &Member) -> Session {
    let s = clock.cluster.superuser("postgres");
    s.run(&format!("set request.jwt.claims = '{{\"sub\": \"{}\"}}'; set role phone", member.id));
    s
}

/// What every night does.
fn seal_and_maintain(s: &Session) {
    s.run("call audit.seal()");
    s.run("call app.maintain_partitions()");
}

/// A code of a company's card for one of its members.
fn company_code(s: &Session, card: &str, member: &Member) -> String {
    let sql = format!("select * from app.rotate_card_qr('{card}', 'enterprise', '{}')", member.id);
    s.row(&sql)["qr_plain"].to_owned()
}

/// All pages of an RPC that takes `p_before` and `p_limit`.
fn paged(s: &Session, call: &str, limit: usize) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    loop {
        let before = seen.last().map_or("null".into(), q);
        let page =
            s.try_rows(&format!("select final_amount, tx_no from {call}p_before => {before}, p_limit => {limit})"));
        // Where a page would begin in an archived month.
        let Ok(page) = page else { return seen };
        let rows = page.len();
        seen.extend(page.iter().map(|r| r["tx_no"].to_owned()));
        if rows < limit {
            return seen;
        }
    }
}

#[test]
fn an_archived_recharge_that_was_posted_later_ends_no_page() {
    let (clock, till) = till_at("2026-08-10 12:00:00Z");
    let s = &till.session;
    let ming = till.member("1000.00");
    let user = phone(&clock, &ming);
    let waiting = |user: &Session| {
        let sql = format!("select * from app.user_recharge_personal_card('{}', 500, 'wechat')", ming.card);
        user.row(&sql)["tx_no"].to_owned()
    };
    let late = [waiting(&user), waiting(&user)];
    s.run("call app.maintain_partitions()");
    let mut paid = Vec::new();
    let mut moments = Vec::new();
    let mut pay = |amount: &str, at: &str| {
        clock.set(at);
        paid.push(till.charge(&ming.card, amount)["tx_no"].to_owned());
        moments.push(at.to_owned());
    };
    pay("1.00", "2026-09-10 12:00:00Z");
    pay("2.00", "2026-09-11 12:00:00Z");
    s.run(&format!("select app.confirm_recharge('{}', 500, 'wx-1')", late[0]));
    pay("3.00", "2026-09-12 12:00:00Z");
    pay("4.00", "2026-10-01 12:00:00Z");
    s.run(&format!("select app.confirm_recharge('{}', 500, 'wx-2')", late[1]));
    pay("5.00", "2026-10-02 12:00:00Z");
    clock.set("2026-10-20 12:00:00Z");
    seal_and_maintain(s);
    s.run("call app.archive_partitions('2026-09-01')");
    assert_eq!(s.value("select count(*) from app.archived_months"), "1");
    paid.reverse();
    for limit in [1, 2, 3, 500] {
        assert_eq!(paged(&user, "app.usage_page(", limit), paid, "{limit} a page of the member's");
        let card = format!("app.card_statement('{}', ", ming.card);
        assert_eq!(paged(&user, &card, limit), paid, "{limit} a page of the card's");
        let merchant = format!("app.merchant_statement('{SHOP}', ");
        assert_eq!(paged(s, &merchant, limit), paid, "{limit} a page of the merchant's");
    }
    // From each line on.
    for (i, line) in paid.iter().enumerate() {
        assert_eq!(
            user.try_rows(&format!("select tx_no from app.usage_page({}, 500)", q(line))).map_or(0, |r| r.len()),
            paid.len() - i - 1
        );
    }
    // What it held: known as soon as a movement that is here was the last.
    let held =
        |at: &str| format!("select app.balance_as_of('{}', timestamptz '{at}' + interval '1 second')", ming.card);
    let left = ["999.00", "997.00", "1494.00", "1490.00", "1985.00"];
    for (at, left) in moments.iter().zip(left) {
        // After the payment of the day the recharge was confirmed under the same clock.
        if left != "997.00" && left != "1490.00" {
            assert_eq!(user.value(&held(at)), left, "{at}");
        }
    }
    user.refused("ARCHIVED", &held("2026-09-11 18:00:00Z"));
    user.refused("ARCHIVED", &held("2026-09-01 18:00:00Z"));
    s.run("call audit.seal()");
    assert_eq!(till.findings(), [] as [String; 0]);
}

#[test]
fn an_older_view_writes_no_row_that_a_closed_month_hides() {
    let (clock, till) = till_at("2026-02-20 12:00:00Z");
    let s = &till.session;
    s.run("select app.create_merchant('SHOP-002', 'x')");
    let ming = till.member("1000.00");
    let company = s.row(&format!("select * from app.create_enterprise_card('Corner', 1.000, '{}')", ming.id));
    s.run(&format!("select * from app.user_recharge_enterprise_card_admin('{}', 100, 'cash')", &company["card_id"]));
    clock.set("2026-03-01 12:00:00Z");
    s.run("call app.maintain_partitions()");
    let mei = till.member("1000.00");
    s.run(&format!("select app.enterprise_add_member('{}', '{}')", &company["card_no"], mei.id));
    clock.set("2026-02-28 23:00:00Z");
    let code = company_code(s, &company["card_id"], &mei);
    // Its view is older than the note that February is over, and it has written nothing yet.
    let slow = clock.cluster.superuser("postgres");
    slow.run("begin isolation level repeatable read; select count(*) from app.closed_months");
    clock.set("2026-03-02 12:00:00Z");
    s.run("call app.maintain_partitions()");
    assert_eq!(s.value("select through from app.closed_months"), "2026-02-01");
    clock.set("2026-02-28 23:00:10Z");
    slow.run(&format!("select * from app.merchant_charge_by_qr('SHOP-002', {}, 7); commit", q(code)));
    clock.set("2026-03-02 12:00:10Z");
    assert_eq!(s.column("select final_amount from app.merchant_statement('SHOP-002')"), ["7.00"]);
    let user = phone(&clock, &mei);
    assert_eq!(user.column("select change from app.usage_page() where card_type = 'enterprise'"), ["-7.00"]);
    s.run("call audit.seal()");
    assert_eq!(till.findings(), [] as [String; 0]);
}

#[test]
fn an_older_view_gets_no_totals_of_half_a_day() {
    let (clock, till) = till_at("2026-08-10 12:00:00Z");
    let s = &till.session;
    let ming = till.member("1000.00");
    till.charge(&ming.card, "7.00");
    s.run("call app.maintain_partitions()");
    clock.set("2026-10-20 12:00:00Z");
    seal_and_maintain(s);
    let old = clock.cluster.superuser("postgres");
    old.run("begin isolation level repeatable read; select count(*) from app.closed_months");
    s.run("call app.archive_partitions('2026-09-01')");
    let calls = [
        "app.day_totals('2026-08-10')".to_owned(),
        format!("app.merchant_statement('{SHOP}')"),
        format!("app.card_statement('{}')", ming.card),
        format!("app.balance_as_of('{}', '2026-08-10')", ming.card),
    ];
    old.run("savepoint s");
    for call in calls {
        old.refused("ARCHIVED", &format!("select * from {call}"));
        old.run("rollback to s");
        s.refused("ARCHIVED", &format!("select * from {call}"));
    }
}

#[test]
fn who_meets_a_month_that_goes_to_the_archive_says_so() {
    let (clock, till) = till_at("2026-08-10 12:00:00Z");
    let s = &till.session;
    let ming = till.member("1000.00");
    let paid = till.charge(&ming.card, "7.00")["tx_no"].to_owned();
    s.run("call app.maintain_partitions()");
    clock.set("2026-10-20 12:00:00Z");
    seal_and_maintain(s);
    let archives = clock.cluster.superuser("postgres");
    let mut waiting = Vec::new();
    archives.run("begin; select app.archive_month_batch('2026-08-01')");
    let calls = [
        "app.day_totals('2026-08-10')".to_owned(),
        format!("app.merchant_statement('{SHOP}')"),
        format!("app.card_statement('{}')", ming.card),
        format!("app.balance_as_of('{}', '2026-08-10')", ming.card),
        format!("app.tx_by_no('{paid}')"),
        "app.usage_page()".to_owned(),
    ];
    for call in &calls {
        let who = match call.as_str() {
            "app.usage_page()" => phone(&clock, &ming),
            _ => clock.cluster.superuser("postgres"),
        };
        waiting.push(Waiting::start(who, s, format!("select * from {call}")));
    }
    // And the job of every night, which finds nothing to do there.
    let nightly = Waiting::start(clock.cluster.superuser("postgres"), s, "call app.close_months()".into());
    archives.run("commit");
    for (call, waiting) in calls.iter().zip(waiting) {
        let failure = waiting.end().expect_err(call);
        failure.must_be("ARCHIVED", call);
    }
    nightly.end().expect("goes on");
    assert_eq!(s.value("select through from app.closed_months"), "2026-09-01");
}
