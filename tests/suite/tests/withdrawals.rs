//! Withdrawals: money goes back to what it came in by, once, and never more than came.

use mps_tests::{Clock, Member, NULL, Row, SHOP, Session, Shop, Till, Waiting, q, together};
use std::thread;

fn withdraw_sql(card: &str, amount: &str, key: &str, more: &str) -> String {
    format!("select * from app.withdraw('{card}', {amount}, 'leaving', {}{more})", q(key))
}

#[track_caller]
fn withdraw(shop: &Shop, card: &str, amount: &str, key: &str) -> Vec<Row> {
    shop.backend.rows(&withdraw_sql(card, amount, key, ""))
}

fn confirm_sql(number: &str, amount: &str) -> String {
    format!("select * from app.confirm_withdrawal('{number}', {amount})")
}

fn fail_sql(number: &str) -> String {
    format!("select * from app.fail_withdrawal('{number}', 'no such account')")
}

/// A member's own recharge that a gateway was paid for; its number.
#[track_caller]
fn paid(shop: &Shop, member: &Member, amount: &str, trade: &str) -> String {
    let number = shop.pending(member, amount);
    shop.backend.run(&format!("select * from app.confirm_recharge('{number}', {amount}, '{trade}')"));
    number
}

/// A backend's recharge, whatever its method.
fn taken(shop: &Shop, card: &str, amount: &str, method: &str) -> String {
    let sql = format!("select tx_no from app.user_recharge_personal_card('{card}', {amount}, '{method}')");
    shop.backend.value(&sql)
}

/// Source, way and amount of each part, and its status.
fn parts(rows: &[Row]) -> Vec<String> {
    let part = |row: &Row| ["source_tx_no", "payout", "amount", "status"].map(|name| row[name].to_owned()).join(" ");
    rows.iter().map(part).collect()
}

#[track_caller]
fn books_hold(shop: &Shop) {
    assert_eq!(shop.superuser.rows("select * from app.verify_books() where ok is not true"), [] as [Row; 0]);
}

fn health(shop: &Shop) -> Row {
    shop.superuser.row("select ok, detail from app.health() where check_name = 'withdrawals'")
}

#[test]
fn money_goes_back_to_what_it_came_in_by_newest_first() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let cash = taken(&shop, &ming.card, "100.00", "cash");
    let wechat = paid(&shop, &ming, "50.00", "T1");
    let said = taken(&shop, &ming.card, "30.00", "alipay");
    shop.charge(&ming, "25.00");
    let rows = withdraw(&shop, &ming.card, "150.00", "out-1");
    let number = rows[0]["tx_no"].to_owned();
    assert!(number.starts_with("TX"), "{number}");
    assert_eq!(
        parts(&rows),
        [
            format!("{said} source 30.00 completed"),
            format!("{wechat} source 50.00 processing"),
            format!("{cash} cash 70.00 completed")
        ]
    );
    let numbers: Vec<&str> = rows.iter().map(|row| &row["refund_no"]).collect();
    assert_eq!(numbers, [1, 2, 3].map(|n| format!("{number}-{n}")));
    assert_eq!(
        rows.iter().map(|row| [&row["payment_method"], &row["gateway_trade_no"]]).collect::<Vec<_>>(),
        [["alipay", NULL], ["wechat", "T1"], ["cash", NULL]]
    );
    assert_eq!(shop.balance(&ming.card), "5.00");
    // One movement for all of it, in the statement and in the totals.
    let moved = shop.backend.row(&format!("select * from app.card_statement('{}', p_limit => 1)", ming.card));
    assert_eq!(
        ["tx_no", "tx_type", "change", "balance_after", "reason"].map(|name| moved[name].to_owned()),
        [&number, "withdrawal", "-150.00", "5.00", "leaving"]
    );
    let totals = "select sum(net) || ' ' || sum(withdrawals) || ' ' || sum(withdrawal_total) from ";
    for of in ["app.v_reconciliation", "app.day_totals()"] {
        assert_eq!(shop.superuser.value(&format!("{totals}{of}")), "5.00 1 150.00");
    }
    assert_eq!((&health(&shop)["ok"], health(&shop)["detail"].contains(&numbers[1].to_owned())), ("t", true));

    let second = &rows[1]["refund_no"].to_owned();
    shop.backend.refused("AMOUNT_MISMATCH", &confirm_sql(second, "49.99"));
    shop.backend.refused("TX_NOT_FOUND", &confirm_sql(&format!("{number}-4"), "50"));
    let typed = format!(" {}\n", second.to_lowercase());
    let done = shop.backend.row(&format!("select * from app.confirm_withdrawal({}, 50, 'R1')", q(&typed)));
    assert_eq!((&done["refund_no"], &done["status"], &done["replayed"]), (second.as_str(), "completed", "f"));
    assert_eq!(&shop.backend.row(&confirm_sql(second, "50"))["replayed"], "t");
    assert_eq!(
        &shop.backend.row(&format!("select * from app.confirm_withdrawal('{second}', 50, 'R1')"))["replayed"],
        "t"
    );
    shop.backend
        .refused("EXTERNAL_ORDER_CONFLICT", &format!("select * from app.confirm_withdrawal('{second}', 50, 'R2')"));
    shop.backend.refused("STATUS_CONFLICT", &fail_sql(second));
    // What was paid without a number gets it from whoever comes with one, once.
    let first = &rows[0]["refund_no"].to_owned();
    let numbered = |number: &str| format!("select * from app.confirm_withdrawal('{first}', 30, '{number}')");
    for _ in 0..2 {
        assert_eq!(&shop.backend.row(&numbered("B1"))["replayed"], "t");
    }
    shop.backend.refused("EXTERNAL_ORDER_CONFLICT", &numbered("B2"));
    let noted = "select w.gateway_refund_no || ' ' || count(e.id) from app.withdrawals w left join audit.event_log e \
                 on e.object_id = w.refund_no and e.action = 'withdrawal.numbered'";
    assert_eq!(
        shop.superuser.value(&format!("{noted} where w.refund_no = '{first}' group by w.gateway_refund_no")),
        "B1 1"
    );
    assert_eq!(shop.balance(&ming.card), "5.00");
    assert_eq!(&health(&shop)["detail"], "none is open");
    books_hold(&shop);
}

#[test]
fn a_repetition_answers_the_same_rows_and_their_status_of_now() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let wechat = paid(&shop, &ming, "50.00", "T1");
    let cash = taken(&shop, &ming.card, "20.00", "cash");
    let first = withdraw(&shop, &ming.card, "60.00", "k");
    assert_eq!(&first[0]["replayed"], "f");
    shop.backend.run(&confirm_sql(&first[1]["refund_no"], "40"));
    // Spent, closed or replaced meanwhile, it is the same answer.
    shop.charge(&ming, "10.00");
    shop.set_card(&ming.card, "personal", "lost");
    shop.backend.run(&format!("select * from app.replace_card('{}', 'lost')", ming.card));
    let again = withdraw(&shop, &ming.card, "60.00", "k");
    assert_eq!(parts(&again), [format!("{cash} cash 20.00 completed"), format!("{wechat} source 40.00 completed")]);
    assert_eq!(again.iter().map(|row| &row["replayed"]).collect::<Vec<_>>(), ["t", "t"]);
    for other in [
        withdraw_sql(&ming.card, "59", "k", ""),
        withdraw_sql(&ming.card, "60", "k", ", p_payout => 'transfer'"),
        withdraw_sql(&ming.card, "60", "k", &format!(", p_merchant_code => '{SHOP}'")),
    ] {
        shop.backend.refused("IDEMPOTENCY_KEY_REUSED", &other);
    }
    books_hold(&shop);
}

#[test]
fn what_cannot_be_paid_comes_back_to_the_card_or_its_successor() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let wechat = paid(&shop, &ming, "50.00", "T1");
    let row = &withdraw(&shop, &ming.card, "50.00", "k")[0];
    let number = row["refund_no"].to_owned();
    shop.set_card(&ming.card, "personal", "lost");
    let new = shop.backend.row(&format!("select * from app.replace_card('{}', 'lost')", ming.card));
    let back = shop.backend.row(&fail_sql(&number));
    assert_eq!((&back["status"], &back["replayed"], &back["card_id"]), ("returned", "f", ming.card.as_str()));
    let again = shop.backend.row(&fail_sql(&number));
    assert_eq!((&again["returned_tx_no"], &again["replayed"]), (&back["returned_tx_no"], "t"));
    assert_eq!(shop.balance(&new["card_id"]), "50.00");
    let moved = shop.superuser.row(&format!(
        "select tx_type, final_amount, original_tx_no, reason from app.transactions where tx_no = '{}'",
        &back["returned_tx_no"]
    ));
    assert_eq!(moved.values(), ["adjustment", "50.00", &row["tx_no"], "no such account"]);
    // The source has it again, and gives it by the new card.
    let rows = withdraw(&shop, &new["card_id"], "50.00", "k2");
    assert_eq!(parts(&rows), [format!("{wechat} source 50.00 processing")]);
    // What a gateway pays after it came back is seen, and takes nothing off the card.
    let late = shop.backend.row(&confirm_sql(&number, "50"));
    assert_eq!((&late["status"], &late["replayed"]), ("paid_after_return", "f"));
    assert_eq!(&shop.backend.row(&confirm_sql(&number, "50"))["replayed"], "t");
    assert_eq!(&shop.backend.row(&fail_sql(&number))["replayed"], "t");
    assert_eq!((&health(&shop)["ok"], shop.balance(&new["card_id"])), ("f", "0.00".into()));
    // The source has none of it left, if the second one comes back as well.
    shop.backend.run(&fail_sql(&rows[0]["refund_no"]));
    shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw_sql(&new["card_id"], "0.01", "k3", ""));
    books_hold(&shop);
}

#[test]
fn each_source_gives_what_it_brought_less_what_was_taken_back() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let first = taken(&shop, &ming.card, "100.00", "cash");
    let second = taken(&shop, &ming.card, "40.00", "cash");
    let gift = shop.charge(&ming, "10.00")["tx_no"].to_owned();
    // Money that nobody paid in does not go out, and what was taken back of a recharge does not go out once more.
    let correct = |tx_no: &str, amount: &str| {
        shop.backend.run(&format!("select * from app.compensate_tx('{tx_no}', {amount}, 'x')"));
    };
    correct(&gift, "500.00");
    correct(&second, "-15.00");
    let more = shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw_sql(&ming.card, "125.01", "k", ""));
    assert!(more.detail.contains("no more than 125.00"), "{}", more.detail);
    let rows = withdraw(&shop, &ming.card, "30.00", "k");
    assert_eq!(parts(&rows), [format!("{second} cash 25.00 completed"), format!("{first} cash 5.00 completed")]);
    correct(&first, "-30.00");
    // A correction upwards takes back the one before it, and no more than that.
    correct(&first, "10.00");
    shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw_sql(&ming.card, "75.01", "k2", ""));
    let rows = withdraw(&shop, &ming.card, "75.00", "k2");
    assert_eq!(parts(&rows), [format!("{first} cash 75.00 completed")]);
    shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw_sql(&ming.card, "0.01", "k3", ""));
    correct(&second, "100.00");
    shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw_sql(&ming.card, "15.01", "k3", ""));
    assert_eq!(parts(&withdraw(&shop, &ming.card, "15.00", "k3")), [format!("{second} cash 15.00 completed")]);
    books_hold(&shop);
}

#[test]
fn it_works_on_every_status_and_for_companies() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    for (n, status) in ["frozen", "active", "lost"].into_iter().enumerate() {
        shop.set_card(&ming.card, "personal", status);
        withdraw(&shop, &ming.card, "10.00", &format!("k{n}"));
    }
    shop.backend.run(&format!("select app.set_member_status('{}', 'suspended', 'x')", ming.id));
    withdraw(&shop, &ming.card, "10.00", "k3");
    // Late money on a closed card, too.
    let hua = shop.member("0");
    let late = shop.pending(&hua, "30.00");
    shop.backend.run(&format!("select * from app.fail_recharge('{late}', 'declined')"));
    shop.set_card(&hua.card, "personal", "closed");
    shop.backend.run(&format!("select * from app.confirm_recharge('{late}', 30, 'T9')"));
    let rows = withdraw(&shop, &hua.card, "30.00", "k");
    assert_eq!(parts(&rows), [format!("{late} source 30.00 processing")]);
    // And back onto it, where it could not be paid.
    shop.backend.run(&fail_sql(&rows[0]["refund_no"]));
    assert_eq!((shop.balance(&hua.card), shop.card_status(&hua.card)), ("30.00".into(), "closed".into()));
    let mei = shop.member("0");
    let company = shop.company("0.900", "200.00", &mei);
    let rows = shop.backend.rows(&withdraw_sql(&company.card, "150.00", "k", ", 'enterprise'"));
    assert_eq!(rows.len(), 1);
    assert_eq!(shop.balance(&company.card), "50.00");
    shop.backend.refused("CARD_NOT_FOUND", &withdraw_sql(&company.card, "1", "k", ""));
    books_hold(&shop);
}

#[test]
fn it_goes_the_way_that_is_asked_for() {
    let shop = Shop::open();
    let ming = shop.member("0");
    paid(&shop, &ming, "50.00", "T1");
    let with = |amount: &str, key: &str, more: &str| {
        parts(&shop.backend.rows(&withdraw_sql(&ming.card, amount, key, more))).join(", ").replace("CZ", "")
    };
    assert!(with("5", "k1", ", p_payout => 'transfer'").ends_with("transfer 5.00 processing"));
    let at = format!(", p_payout => 'cash', p_merchant_code => '{SHOP}'");
    assert!(with("5", "k2", &at).ends_with("cash 5.00 completed"));
    assert!(with("5", "k3", ", p_payout => ''").ends_with("source 5.00 processing"));
    let merchants = "select merchant_id is not null from app.transactions where tx_type = 'withdrawal' order by id";
    assert_eq!(shop.superuser.column(merchants), ["f", "t", "f"]);
    let shown = shop.backend.column(&format!("select tx_no from app.merchant_statement('{SHOP}')"));
    assert_eq!(shown, shop.superuser.column("select tx_no from app.withdrawals where asked = 'cash'"));
    shop.backend.refused("INVALID_ARGUMENT", &withdraw_sql(&ming.card, "5", "k4", ", p_payout => 'gift'"));
    shop.backend.refused("MERCHANT_NOT_FOUND", &withdraw_sql(&ming.card, "5", "k4", ", p_merchant_code => 'NONE'"));
    shop.backend.run(&format!("select app.set_merchant_status('{SHOP}', false, 'x')"));
    shop.backend.refused("MERCHANT_INACTIVE", &withdraw_sql(&ming.card, "5", "k4", &at));
    for (amount, key, token) in [
        ("0", "k4", "INVALID_AMOUNT"),
        ("-1", "k4", "INVALID_AMOUNT"),
        ("0.001", "k4", "INVALID_AMOUNT"),
        ("50000.01", "k4", "INVALID_AMOUNT"),
        ("1", "", "INVALID_ARGUMENT"),
        ("35.01", "k4", "INSUFFICIENT_BALANCE"),
    ] {
        shop.backend.refused(token, &withdraw_sql(&ming.card, amount, key, ""));
    }
    shop.db.user(ming.id).denied(&withdraw_sql(&ming.card, "1", "k4", ""));
    shop.cashier.denied(&fail_sql("TX2611000001-1"));
    books_hold(&shop);
}

/// A trusted member's own has no trade number, and nobody can refund it by one: it goes by transfer, until the gateway told one.
#[test]
fn what_no_gateway_refunds_goes_by_transfer() {
    let shop = Shop::open();
    shop.backend.run(r#"select app.update_settings('{"recharge_confirmation": "trusted"}')"#);
    let ming = shop.member("0");
    let own = format!("select tx_no from app.user_recharge_personal_card('{}', 20)", ming.card);
    let trusted = shop.db.user(ming.id).value(&own);
    assert_eq!(parts(&withdraw(&shop, &ming.card, "5.00", "k1")), [format!("{trusted} transfer 5.00 processing")]);
    shop.backend.run(&format!("select * from app.confirm_recharge('{trusted}', 20, 'T1')"));
    assert_eq!(parts(&withdraw(&shop, &ming.card, "5.00", "k2")), [format!("{trusted} source 5.00 processing")]);
    books_hold(&shop);
}

#[test]
fn what_lies_in_archived_months_goes_by_transfer() {
    let mut shop = Shop::open();
    let ming = shop.member("0");
    let old = paid(&shop, &ming, "80.00", "T1");
    shop.charge(&ming, "10.00");
    withdraw(&shop, &ming.card, "5.00", "k0");
    shop.a_month_passes();
    let old = shop.superuser.value(&format!("select tx_no from app.transactions where tx_no like 'CZ%{}'", &old[6..]));
    let new = paid(&shop, &ming, "20.00", "T2");
    // Named, as long as the month is here; and still its own after it went.
    let rows = withdraw(&shop, &ming.card, "30.00", "k1");
    assert_eq!(parts(&rows), [format!("{new} source 20.00 processing"), format!("{old} source 10.00 processing")]);
    let number = rows[1]["refund_no"].to_owned();
    shop.backend.run(&correct_sql(&old, "-1", "c0"));
    shop.superuser.run("call audit.seal()");
    shop.superuser.run("call app.archive_partitions(date_trunc('month', now() at time zone 'UTC')::date)");
    assert_eq!(shop.superuser.value("select count(*) from app.archived_months"), "1");
    // 65.00 came over from what is archived; 10.00 of that went out, and a correction took 1.00.
    let sql = withdraw_sql(&ming.card, "40.00", "k2", "");
    let rows = shop.backend.rows(&sql);
    assert_eq!(parts(&rows), [format!("{NULL} transfer 40.00 processing")]);
    assert_eq!(&rows[0]["payment_method"], "balance");
    assert_eq!(parts(&shop.backend.rows(&sql)), parts(&rows));
    shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw_sql(&ming.card, "14.01", "k3", ""));
    // What a correction put there does not go out with it.
    shop.backend.run(&confirm_sql(&rows[0]["refund_no"], "40"));
    shop.backend.run(&correct_sql(&rows[0]["tx_no"], "40", "c1"));
    shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw_sql(&ming.card, "14.01", "k3", ""));
    shop.backend.run(&fail_sql(&number));
    shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw_sql(&ming.card, "24.01", "k3", ""));
    assert_eq!(parts(&withdraw(&shop, &ming.card, "24.00", "k3")), [format!("{NULL} transfer 24.00 processing")]);
    shop.db.without_books();
    // A refund number outlives the month of its withdrawal.
    let kept = shop.superuser.value("select refund_no from app.withdrawals where amount = 5");
    shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw_sql(&ming.card, "0.01", "k4", ""));
    assert_eq!(&shop.backend.row(&fail_sql(&kept))["status"], "returned");
    shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw_sql(&ming.card, "5.01", "k4", ""));
    assert_eq!(parts(&withdraw(&shop, &ming.card, "5.00", "k4")), [format!("{NULL} transfer 5.00 processing")]);
    books_hold(&shop);
}

/// The card before had nothing left that could have come over.
#[test]
fn what_a_correction_put_on_a_new_card_is_nothing_that_came_in() {
    let mut shop = Shop::open();
    let ming = shop.member("0");
    taken(&shop, &ming.card, "10.00", "cash");
    let spent = shop.charge(&ming, "10.00")["tx_no"].to_owned();
    shop.a_month_passes();
    let spent =
        shop.superuser.value(&format!("select tx_no from app.transactions where tx_no like 'ZF%{}'", &spent[6..]));
    shop.set_card(&ming.card, "personal", "lost");
    let card =
        shop.backend.row(&format!("select * from app.replace_card('{}', 'lost')", ming.card))["card_id"].to_owned();
    shop.backend.run(&correct_sql(&spent, "5", "c"));
    assert_eq!(shop.balance(&card), "5.00");
    shop.superuser.run("call audit.seal()");
    shop.superuser.run("call app.archive_partitions(date_trunc('month', now() at time zone 'UTC')::date)");
    assert_eq!(shop.superuser.value("select count(*) from app.archived_months"), "1");
    shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw_sql(&card, "0.01", "k", ""));
    shop.db.without_books();
    books_hold(&shop);
}

#[test]
fn a_payment_of_long_ago_goes_by_transfer() {
    let clock = Clock::start_at("2026-05-20 12:00:00Z");
    let session = clock.cluster.superuser("postgres");
    session.run("create extension mps");
    let till = Till::open(session);
    let ming = till.member("10.00");
    let s = &till.session;
    let sql = format!("select tx_no from app.user_recharge_personal_card('{}', 30, 'wechat')", ming.card);
    let paid = s.value(&sql);
    s.run(&format!("select * from app.confirm_recharge('{paid}', 30, 'T1')"));
    let out = |amount: &str, key: &str| parts(&s.rows(&withdraw_sql(&ming.card, amount, key, "")));
    // Some days are left for sending it.
    clock.set("2027-05-14 12:00:00Z");
    assert_eq!(out("5", "k1"), [format!("{paid} source 5.00 processing")]);
    clock.set("2027-05-16 12:00:00Z");
    let rows = out("35", "k2");
    assert_eq!(rows[0], format!("{paid} transfer 25.00 processing"));
    // Cash is as good as it was.
    assert!(rows[1].ends_with("cash 10.00 completed"), "{rows:?}");
    // Nobody has said anything of the first for too long.
    clock.set("2027-05-21 12:00:01Z");
    let health = s.row("select ok, detail from app.health() where check_name = 'withdrawals'");
    assert_eq!((&health["ok"], health["detail"].contains("of which 1 to look at")), ("f", true), "{health:?}");
    assert_eq!(till.findings(), [] as [String; 0]);
}

#[test]
fn a_source_is_followed_through_every_replacement() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let mut card = ming.card.clone();
    let mut sources = Vec::new();
    for n in 0..3 {
        sources.push(taken(&shop, &card, "10.00", "cash"));
        shop.charge(&ming.with_card(&card, "x"), "1.00");
        if n < 2 {
            shop.set_card(&card, "personal", "lost");
            card = shop.backend.row(&format!("select * from app.replace_card('{card}', 'lost')"))["card_id"].to_owned();
        }
    }
    let rows = withdraw(&shop, &ming.card, "27.00", "k");
    let expected = [10, 10, 7].iter().zip(sources.iter().rev());
    assert_eq!(parts(&rows), expected.map(|(n, tx)| format!("{tx} cash {n}.00 completed")).collect::<Vec<_>>());
    assert_eq!(shop.balance(&card), "0.00");
    books_hold(&shop);
}

#[test]
fn more_sources_than_anybody_sends_are_refused() {
    let shop = Shop::open();
    let ming = shop.member("0");
    shop.backend.run(&format!(
        "select count(x.tx_no) from generate_series(1, 205) i, \
         lateral (select * from app.user_recharge_personal_card('{}', 0.01 * (i - i + 1), 'cash')) x",
        ming.card
    ));
    shop.backend.refused("INVALID_ARGUMENT", &withdraw_sql(&ming.card, "2.01", "k", ""));
    let rows = withdraw(&shop, &ming.card, "2.00", "k");
    assert_eq!(rows.len(), 200);
    assert_eq!(&rows[199]["refund_no"], format!("{}-200", &rows[0]["tx_no"]).as_str());
    assert_eq!(withdraw(&shop, &ming.card, "2.00", "k").len(), 200);
    assert_eq!(withdraw(&shop, &ming.card, "0.05", "k2").len(), 5);
    books_hold(&shop);
}

/// Several ask for more than there is, others pay with it and take it back: whoever comes first has it.
#[test]
fn together_they_take_no_more_than_is_there() {
    for round in 0..6 {
        let shop = Shop::open();
        shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
        let ming = shop.member("0");
        let wechat = paid(&shop, &ming, "60.00", "T1");
        let cash = taken(&shop, &ming.card, "40.00", "cash");
        let code = shop.code(&ming);
        let mut jobs: Vec<(Session, String)> =
            (0..4).map(|n| (shop.db.backend(), withdraw_sql(&ming.card, "35", &format!("k{}", n / 2), ""))).collect();
        jobs.push((shop.db.backend(), format!("select * from app.compensate_tx('{wechat}', -20, 'x')")));
        jobs.push((shop.db.backend(), format!("select * from app.compensate_tx('{cash}', -20, 'x')")));
        jobs.push((shop.db.user(shop.cashier_id), Shop::charge_sql(&code, "15", "")));
        jobs.rotate_left(round);
        let ended = together(jobs);
        for failure in ended.iter().filter_map(|end| end.as_ref().err()) {
            failure.must_be("INSUFFICIENT_BALANCE", "ask for more than there is");
        }
        let balance = shop.balance(&ming.card);
        assert!(!balance.starts_with('-'), "{balance}");
        // Neither gave more than it brought; what a correction takes may be money that the other brought.
        let over = "select count(*) from app.transactions t \
             join (select source_tx_no, sum(amount) from app.withdrawals group by 1) w on w.source_tx_no = t.tx_no \
             where w.sum > t.final_amount";
        assert_eq!(shop.superuser.value(over), "0");
        books_hold(&shop);
    }
}

/// With one key at the same instant one does the work, and the others have its rows.
#[test]
fn one_key_at_once_withdraws_once() {
    let shop = Shop::open();
    let ming = shop.member("0");
    taken(&shop, &ming.card, "40.00", "cash");
    taken(&shop, &ming.card, "40.00", "cash");
    let sql = withdraw_sql(&ming.card, "60", "k", "");
    let ended = together((0..6).map(|_| (shop.db.backend(), sql.clone())).collect());
    let rows: Vec<Vec<Row>> = ended.into_iter().map(|end| end.unwrap()).collect();
    assert!(rows.iter().all(|r| parts(r) == parts(&rows[0]) && r.len() == 2));
    assert_eq!(rows.iter().filter(|r| &r[0]["replayed"] == "f").count(), 1);
    assert_eq!(shop.balance(&ming.card), "20.00");
}

/// What is confirmed and failed at once ends one way, and the card has it at most once.
#[test]
fn confirmed_and_failed_at_once_it_ends_once() {
    for _ in 0..8 {
        let shop = Shop::open();
        let ming = shop.member("0");
        paid(&shop, &ming, "60.00", "T1");
        let number = withdraw(&shop, &ming.card, "60", "k")[0]["refund_no"].to_owned();
        let jobs = [confirm_sql(&number, "60"), fail_sql(&number), fail_sql(&number), confirm_sql(&number, "60")];
        let ended = together(jobs.into_iter().map(|sql| (shop.db.backend(), sql)).collect());
        let status = shop.superuser.value("select status from app.withdrawals");
        for failure in ended.iter().filter_map(|end| end.as_ref().err()) {
            failure.must_be("STATUS_CONFLICT", "fail what is paid");
        }
        let (expected, failed) = match status.as_str() {
            "completed" => ("0.00", 2),
            "paid_after_return" => ("60.00", 0),
            other => panic!("it is {other}"),
        };
        assert_eq!(shop.balance(&ming.card), expected);
        assert_eq!(ended.iter().filter(|end| end.is_err()).count(), failed);
        books_hold(&shop);
    }
}

/// Who waits for the card asks again what is left: the source, the limit, the shop.
#[test]
fn what_waits_for_the_card_sees_what_was_taken() {
    let shop = Shop::open();
    let ming = shop.member("0");
    taken(&shop, &ming.card, "60.00", "cash");
    let holder = shop.db.backend();
    holder.run("begin");
    holder.run(&withdraw_sql(&ming.card, "50", "k1", ""));
    let waits = Waiting::behind(shop.db.backend(), &holder, &shop.superuser, withdraw_sql(&ming.card, "20", "k2", ""));
    shop.db.backend().run(r#"select app.update_settings('{"max_amount": 15}')"#);
    holder.run("commit");
    waits.end().unwrap_err().must_be("INVALID_AMOUNT", "withdraw over the limit of now");
    shop.backend.run(r#"select app.update_settings('{"max_amount": 500}')"#);
    shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw_sql(&ming.card, "10.01", "k2", ""));
    // An older snapshot does not miss what was taken since: it fails to serialise.
    let old = shop.db.backend();
    old.run("begin isolation level repeatable read");
    old.run("select count(*) from app.withdrawals");
    shop.backend.run(&withdraw_sql(&ming.card, "5", "k3", ""));
    assert_eq!(old.failure(&withdraw_sql(&ming.card, "5", "k4", "")).code, "40001");
    old.run("rollback");
    books_hold(&shop);
}

fn correct_sql(number: &str, amount: &str, key: &str) -> String {
    format!("select * from app.compensate_tx('{number}', {amount}, 'it came back', '{key}')")
}

/// A correction gives back what was paid and came back to the shop; never what comes back by itself, nor anything twice.
#[test]
fn what_is_back_does_not_come_again_by_a_correction() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let card = &ming.card;
    paid(&shop, &ming, "100.00", "T1");
    let waits = &withdraw(&shop, card, "60", "k1")[0];
    shop.backend.refused("STATUS_CONFLICT", &correct_sql(&waits["tx_no"], "0.01", "c1"));
    shop.backend.run(&fail_sql(&waits["refund_no"]));
    shop.backend.refused("STATUS_CONFLICT", &correct_sql(&waits["tx_no"], "0.01", "c1"));
    assert_eq!(shop.balance(card), "100.00");
    // Paid after that: the card gives it back by a correction, which can be taken back as far as it went.
    shop.backend.run(&confirm_sql(&waits["refund_no"], "60"));
    shop.backend.refused("STATUS_CONFLICT", &correct_sql(&waits["tx_no"], "0.01", "c1"));
    shop.backend.run(&correct_sql(&waits["tx_no"], "-60", "c2"));
    shop.backend.refused("STATUS_CONFLICT", &correct_sql(&waits["tx_no"], "60.01", "c3"));
    shop.backend.run(&correct_sql(&waits["tx_no"], "5", "c3"));
    assert_eq!(&shop.backend.row(&correct_sql(&waits["tx_no"], "5", "c3"))["replayed"], "t");
    shop.backend.run(&correct_sql(&waits["tx_no"], "-5", "c4"));
    assert_eq!(shop.balance(card), "40.00");
    // Of several parts, what is paid.
    taken(&shop, card, "30.00", "cash");
    let both = withdraw(&shop, card, "50", "k2");
    assert_eq!(both.iter().map(|row| &row["status"]).collect::<Vec<_>>(), ["completed", "processing"]);
    shop.backend.refused("STATUS_CONFLICT", &correct_sql(&both[0]["tx_no"], "30.01", "c5"));
    shop.backend.run(&correct_sql(&both[0]["tx_no"], "30", "c5"));
    shop.backend.run(&fail_sql(&both[1]["refund_no"]));
    assert_eq!(shop.balance(card), "70.00");
    books_hold(&shop);
}

/// Corrections of one withdrawal at the same instant, and one beside what returns it, come to what it took.
#[test]
fn corrections_at_once_give_back_no_more_than_was_taken() {
    let shop = Shop::open();
    let ming = shop.member("0");
    taken(&shop, &ming.card, "50.00", "cash");
    let cash = &withdraw(&shop, &ming.card, "50", "k1")[0]["tx_no"].to_owned();
    for level in ["read committed", "repeatable read", "serializable"] {
        let (holder, other) = (shop.db.backend(), shop.db.backend());
        holder.run("begin");
        other.run(&format!("begin isolation level {level}"));
        other.value("select count(*) from app.withdrawals");
        holder.run(&correct_sql(cash, "30", &format!("h {level}")));
        let second = Waiting::behind(other, &holder, &shop.superuser, correct_sql(cash, "30", &format!("o {level}")));
        holder.run("commit");
        let failure = second.end().unwrap_err();
        assert_eq!(failure.code == "40001", level != "read committed", "{level}: {failure:?}");
        shop.backend.run(&correct_sql(cash, "-30", &format!("b {level}")));
    }
    paid(&shop, &ming, "60.00", "T1");
    for round in 0..6 {
        let row = &withdraw(&shop, &ming.card, "60", &format!("r{round}"))[0];
        let jobs = [
            correct_sql(&row["tx_no"], "60", &format!("x{round}")),
            fail_sql(&row["refund_no"]),
            correct_sql(&row["tx_no"], "60", &format!("y{round}")),
        ];
        let ended = together(jobs.into_iter().map(|sql| (shop.db.backend(), sql)).collect());
        assert_eq!(ended.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(shop.balance(&ming.card), "60.00");
    }
    books_hold(&shop);
}

/// A shop's trigger that withdraws in the middle of a withdrawal: a source never gives twice.
#[test]
fn a_trigger_that_withdraws_too_takes_no_source_twice() {
    for (table, when) in [
        ("app.transactions_{m}", "after insert"),
        ("app.withdrawals", "after insert"),
        ("app.personal_cards", "after update"),
    ] {
        let shop = Shop::open();
        let ming = shop.member("0");
        taken(&shop, &ming.card, "60.00", "cash");
        let gift = shop.charge(&ming, "1.00")["tx_no"].to_owned();
        shop.backend.run(&format!("select * from app.compensate_tx('{gift}', 500, 'x')"));
        let month = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
        shop.superuser.run(&format!(
            "create function public.too() returns trigger language plpgsql security definer as $$ begin \
                if pg_trigger_depth() = 1 then perform app.withdraw('{}', 50, 'too', 'too'); end if; return null; end $$; \
             create trigger too {when} on {} for each row execute function public.too()",
            ming.card,
            table.replace("{m}", &month)
        ));
        let ended = shop.superuser.try_rows(&withdraw_sql(&ming.card, "50", "k", ""));
        assert!(ended.is_err(), "{table}: {ended:?}");
        assert_eq!(shop.superuser.value("select count(*) from app.withdrawals"), "0");
    }
}

/// Two sessions that each hold a refund number and want the other's card, and a charge between them.
#[test]
fn it_waits_in_one_order() {
    let shop = Shop::open();
    let (ming, hua) = (shop.member("0"), shop.member("0"));
    for (n, member) in [&ming, &hua].into_iter().enumerate() {
        paid(&shop, member, "90.00", &format!("T{n}"));
    }
    let numbers: Vec<String> = (0..8)
        .map(|n| {
            let card = if n % 2 == 0 { &ming.card } else { &hua.card };
            withdraw(&shop, card, "10", &format!("k{n}"))[0]["refund_no"].to_owned()
        })
        .collect();
    let ends: Vec<_> = (0..4)
        .map(|n| {
            let (session, mine) = (shop.db.backend(), numbers.clone());
            let cards = [ming.card.clone(), hua.card.clone()];
            thread::spawn(move || {
                for (i, number) in mine.iter().cycle().skip(n * 2).take(8).enumerate() {
                    let sql = match (i + n) % 3 {
                        0 => withdraw_sql(&cards[i % 2], "1", &format!("t{n}-{i}"), ""),
                        1 => confirm_sql(number, "10"),
                        _ => fail_sql(number),
                    };
                    if let Err(failure) = session.try_rows(&sql) {
                        failure.must_be("STATUS_CONFLICT", &sql);
                    }
                }
            })
        })
        .collect();
    ends.into_iter().for_each(|end| end.join().expect("nobody is stuck"));
    books_hold(&shop);
    assert!(shop.superuser.value("select count(*) from app.withdrawals").parse::<i64>().unwrap() > 8);
}

/// What is wrong in refund numbers is found, by the check that is theirs.
#[test]
fn the_books_find_what_is_wrong_in_refund_numbers() {
    const BREACHES: &[(&str, &str)] = &[
        ("update app.withdrawals set amount = amount - 1 where refund_no = R1", "its refund numbers are for"),
        ("delete from app.withdrawals where tx_no = T2", "has no refund numbers"),
        (
            "update app.withdrawals set tx_no = 'TX' || substr(tx_no, 3, 4) || '999999', refund_no = 'TX' || substr(tx_no, 3, 4) || \
          '999999-1' where refund_no = R2",
            "there is no such withdrawal",
        ),
        (
            "update app.withdrawals set refund_no = T1 || '-01' where refund_no = R1",
            "its refund numbers are not its own",
        ),
        ("update app.withdrawals set card_id = gen_random_uuid() where refund_no = R1", "took from another card"),
        ("update app.transactions set final_amount = 5, raw_amount = 5 where tx_no = S1", "was withdrawn of it"),
        (
            "update app.withdrawals set source_tx_no = 'CZ' || substr(S1, 3, 4) || '999999' where refund_no = R1",
            "no such recharge",
        ),
        (
            "update app.withdrawals set status = 'processing', settled_at = null, returned_tx_no = null where refund_no = R2",
            "and the card has 20.00 again",
        ),
        ("update app.withdrawals set source_tx_no = S9 where refund_no = R1", "which was on another card"),
        ("update app.withdrawals set gateway_trade_no = 'T2' where refund_no = R1", "is of trade number"),
        ("update app.withdrawals set asked = 'cash' where refund_no = R1", "and cash was asked for"),
        (
            "update app.withdrawals set returned_tx_no = 'TZ' || substr(returned_tx_no, 3, 4) || '999999' where refund_no = R2",
            "which is not there",
        ),
        (
            "update app.transactions set original_tx_no = S1 where tx_no = \
              (select returned_tx_no from app.withdrawals where refund_no = R2)",
            "was given back by",
        ),
        (
            "update app.transactions t set card_id = o.id from app.personal_cards o where o.card_no = 'VIP00000002' \
          and t.tx_no = (select returned_tx_no from app.withdrawals where refund_no = R2)",
            "to another card",
        ),
    ];
    let mut shop = Shop::open();
    shop.db.without_books();
    let (ming, other) = (shop.member("0"), shop.member("0"));
    let source = paid(&shop, &ming, "60.00", "T1");
    let theirs = taken(&shop, &other.card, "60.00", "wechat");
    let first = withdraw(&shop, &ming.card, "10", "k1");
    let second = withdraw(&shop, &ming.card, "20", "k2");
    shop.backend.run(&fail_sql(&second[0]["refund_no"]));
    books_hold(&shop);
    let s = &shop.superuser;
    for (breach, finding) in BREACHES {
        let named = [
            ("R1", &first[0]["refund_no"]),
            ("R2", &second[0]["refund_no"]),
            ("T1 ", &first[0]["tx_no"]),
            ("T2", &second[0]["tx_no"]),
            ("S1", &source),
            ("S9", &theirs),
        ];
        let sql =
            named.iter().fold(breach.replace("'T2'", "'trade 2'"), |sql, (name, value)| sql.replace(name, &q(value)));
        s.run("begin");
        s.run(&sql);
        let found = s.value("select detail from app.verify_books() where check_name = 'withdrawals'");
        assert!(found.contains(finding), "{sql}\n{found}");
        s.run("rollback");
    }
    books_hold(&shop);
}
