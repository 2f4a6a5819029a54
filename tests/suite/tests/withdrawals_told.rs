//! What gateways say of the refunds that withdrawals ask for: each ends once, in whatever order it is told.

use mps_sender::{Callback, Payment, alipay, refund, set_up};
use mps_tests::{Member, Row, Shop, Waiting, together};

fn open() -> Shop {
    let shop = Shop::open();
    shop.superuser.run(&set_up());
    shop
}

/// Outcome, reason and transaction of a callback.
#[track_caller]
fn told(shop: &Shop, callback: &Callback) -> String {
    let account = if callback.headers.as_object().unwrap().is_empty() { "alipay" } else { "wechat" };
    let row = shop.backend.row(&callback.sql(account));
    assert!(["200", "204"].contains(&&row["status"]), "{row:?}");
    format!("{} {} {}", &row["outcome"], &row["reason"], &row["tx_no"])
}

/// A member whose recharge WeChat was paid for, told by a callback; its number.
fn paid(shop: &Shop, amount: &str, trade: &str) -> (Member, String) {
    let ming = shop.member("0");
    let order = shop.pending(&ming, amount);
    let fen = amount.replace('.', "").parse().unwrap();
    let callback = Payment { order: &order, trade, fen, state: "SUCCESS" }.sent();
    assert!(told(shop, &callback).starts_with("credited"));
    (ming, order)
}

/// The refund number of a withdrawal from one source, with the withdrawal's.
fn withdrawn(shop: &Shop, member: &Member, amount: &str, key: &str) -> (String, String) {
    let rows =
        shop.backend.rows(&format!("select * from app.withdraw('{}', {amount}, 'leaving', '{key}')", member.card));
    assert_eq!(rows.len(), 1);
    (rows[0]["refund_no"].to_owned(), rows[0]["tx_no"].to_owned())
}

fn status(shop: &Shop, number: &str) -> String {
    shop.superuser.value(&format!("select status from app.withdrawals where refund_no = '{number}'"))
}

fn fail_sql(number: &str) -> String {
    format!("select * from app.fail_withdrawal('{number}', 'no such account')")
}

#[track_caller]
fn books_hold(shop: &Shop) {
    assert_eq!(shop.superuser.rows("select * from app.verify_books() where ok is not true"), [] as [Row; 0]);
}

fn healthy(shop: &Shop) -> String {
    shop.superuser.value("select ok from app.health() where check_name = 'withdrawals'")
}

#[test]
fn wechat_completes_what_is_its_own_and_nothing_else() {
    let shop = open();
    let (ming, order) = paid(&shop, "100.00", "T1");
    let row = shop.backend.row(&format!("select * from app.withdraw('{}', 70, 'leaving', 'k')", ming.card));
    let (number, tx_no) = (row["refund_no"].to_owned(), row["tx_no"].to_owned());
    // By which account it is to be refunded.
    assert_eq!((&row["gateway_account"], &row["gateway_trade_no"]), ("wechat", "T1"));
    let says = |trade: &str, fen: i64, state: &str| refund(&number, trade, &order, fen, state);
    for (trade, fen) in [("T1", 6999), ("T1", 7001), ("T1", 10_000), ("T2", 7000)] {
        for state in ["SUCCESS", "CLOSED", "ABNORMAL"] {
            assert_eq!(told(&shop, &says(trade, fen, state)), format!("conflict refund_differs {tx_no}"));
        }
    }
    assert_eq!((status(&shop, &number).as_str(), shop.balance(&ming.card)), ("processing", "30.00".into()));
    assert_eq!(told(&shop, &says("T1", 7000, "PROCESSING")), format!("noted refund_processing {tx_no}"));
    assert_eq!(healthy(&shop), "t");
    assert_eq!(told(&shop, &says("T1", 7000, "ABNORMAL")), format!("noted refund_abnormal {tx_no}"));
    assert_eq!((status(&shop, &number).as_str(), healthy(&shop).as_str()), ("processing", "f"));
    // What came late says less than what is known.
    assert_eq!(told(&shop, &says("T1", 7000, "PROCESSING")), format!("replayed refund_processing {tx_no}"));
    assert_eq!(told(&shop, &says("T1", 7000, "ABNORMAL")), format!("replayed refund_abnormal {tx_no}"));
    assert_eq!(healthy(&shop), "f");
    assert_eq!(told(&shop, &says("T1", 7000, "SUCCESS")), format!("noted refund_completed {tx_no}"));
    assert_eq!((status(&shop, &number).as_str(), healthy(&shop).as_str()), ("completed", "t"));
    assert_eq!(told(&shop, &says("T1", 7000, "SUCCESS")), format!("replayed refund_completed {tx_no}"));
    // A backend says what is known already, or the contrary.
    let confirm = format!("select replayed from app.confirm_withdrawal('{number}', 70, 'R1')");
    assert_eq!(shop.backend.value(&confirm), "t");
    shop.backend.refused("STATUS_CONFLICT", &fail_sql(&number));
    assert_eq!(told(&shop, &says("T1", 7000, "CLOSED")), format!("conflict refund_differs {tx_no}"));
    assert_eq!(told(&shop, &says("T1", 7000, "ABNORMAL")), format!("replayed refund_abnormal {tx_no}"));
    assert_eq!(shop.balance(&ming.card), "30.00");
    let logged = "select string_agg(action || coalesce(' ' || (context ->> 'state'), ''), ', ' order by id) from audit.event_log \
                  where object_type = 'withdrawal' and (context ? 'gateway_event') = (action <> 'withdrawal.asked')";
    assert_eq!(
        shop.superuser.value(logged),
        "withdrawal.asked, withdrawal.told PROCESSING, withdrawal.told ABNORMAL, withdrawal.completed"
    );
    // One that nobody asked for is none of its business.
    let other = refund(&format!("{tx_no}-2"), "T1", &order, 7000, "SUCCESS");
    assert_eq!(told(&shop, &other), "noted refund_not_asked NULL");
    books_hold(&shop);
}

#[test]
fn what_wechat_closes_comes_back_and_a_later_success_is_seen() {
    let shop = open();
    let (ming, order) = paid(&shop, "100.00", "T1");
    let (number, tx_no) = withdrawn(&shop, &ming, "100", "k");
    let says = |state: &str| refund(&number, "T1", &order, 10_000, state);
    assert_eq!(told(&shop, &says("CLOSED")), format!("noted refund_returned {tx_no}"));
    assert_eq!(shop.balance(&ming.card), "100.00");
    let back = shop.superuser.row(
        "select t.tx_type, t.final_amount, t.original_tx_no, t.reason from app.withdrawals w \
         join app.transactions t on t.tx_no = w.returned_tx_no",
    );
    assert_eq!(back.values(), ["adjustment", "100.00", &tx_no, "closed by the gateway"]);
    assert_eq!(told(&shop, &says("CLOSED")), format!("replayed refund_returned {tx_no}"));
    assert_eq!(shop.backend.value(&fail_sql(&number).replace('*', "replayed")), "t");
    assert_eq!((shop.balance(&ming.card), healthy(&shop)), ("100.00".into(), "t".into()));
    // Who has looked before that, and withdraws by what was there then.
    let older = ["repeatable read", "serializable"].map(|level| {
        let session = shop.db.backend();
        session.run(&format!("begin isolation level {level}"));
        session.value("select count(*) from app.withdrawals");
        session
    });
    assert_eq!(told(&shop, &says("SUCCESS")), format!("noted paid_after_return {tx_no}"));
    for session in older {
        let sql = format!("select * from app.withdraw('{}', 100, 'leaving', 'older')", ming.card);
        assert_eq!(session.failure(&sql).code, "40001");
    }
    assert_eq!(told(&shop, &says("SUCCESS")), format!("replayed paid_after_return {tx_no}"));
    assert_eq!(told(&shop, &says("CLOSED")), format!("replayed refund_returned {tx_no}"));
    // Nothing is taken off the card by that; somebody has to look.
    assert_eq!((shop.balance(&ming.card), healthy(&shop)), ("100.00".into(), "f".into()));
    assert_eq!(status(&shop, &number), "paid_after_return");
    // The gateway has nothing left of it: it does not go out once more.
    let more = format!("select * from app.withdraw('{}', 1, 'leaving', 'k2')", ming.card);
    shop.backend.refused("INSUFFICIENT_BALANCE", &more);
    books_hold(&shop);
}

/// Alipay says what went back of a payment so far, in whatever order its notices come.
#[test]
fn alipay_says_how_much_went_back_in_all() {
    let shop = open();
    let ming = shop.member("0");
    let order = shop.pending(&ming, "100.00");
    let says = |state: &str, fee: &str, number: &str| {
        let fields =
            [("refund_fee", Some(fee)), ("gmt_refund", Some("2026-11-26 12:00:00")), ("out_biz_no", Some(number))];
        alipay(&order, "A1", "100.00", state, &fields)
    };
    assert!(told(&shop, &alipay(&order, "A1", "100.00", "TRADE_SUCCESS", &[])).starts_with("credited"));
    let (first, tx_1) = withdrawn(&shop, &ming, "30", "k1");
    let (second, tx_2) = withdrawn(&shop, &ming, "20", "k2");
    let (third, tx_3) = withdrawn(&shop, &ming, "50", "k3");
    // Nobody refunds 31.00 for it, and of nothing else less than it.
    for fee in ["31.00", "20.00", "29.99", "49.99"] {
        assert_eq!(told(&shop, &says("TRADE_SUCCESS", fee, &first)), format!("conflict refund_differs {tx_1}"));
    }
    let other = alipay(
        "ORDER-9",
        "A2",
        "100.00",
        "TRADE_SUCCESS",
        &[("refund_fee", Some("30.00")), ("gmt_refund", Some("2026-11-26 12:00:00")), ("out_biz_no", Some(&*first))],
    );
    assert_eq!(told(&shop, &other), format!("conflict refund_differs {tx_1}"));
    // The second came first, and is told after the other one.
    assert_eq!(told(&shop, &says("TRADE_SUCCESS", "50.00", &first)), format!("noted refund_completed {tx_1}"));
    assert_eq!(told(&shop, &says("TRADE_SUCCESS", "20.00", &second)), format!("noted refund_completed {tx_2}"));
    assert_eq!(told(&shop, &says("TRADE_SUCCESS", "20.00", &second)), format!("replayed refund_completed {tx_2}"));
    assert_eq!(told(&shop, &says("TRADE_CLOSED", "100.00", &third)), format!("noted refund_completed {tx_3}"));
    assert_eq!(told(&shop, &says("TRADE_CLOSED", "100.00", &third)), format!("replayed refund_completed {tx_3}"));
    assert_eq!(told(&shop, &says("TRADE_SUCCESS", "50.00", &first)), format!("replayed refund_completed {tx_1}"));
    let ended = "select string_agg(status, ' ') from app.withdrawals";
    assert_eq!(
        (shop.superuser.value(ended).as_str(), shop.balance(&ming.card)),
        ("completed completed completed", "0.00".into())
    );
    // Nothing of it came into suspense, and a refund of the console is still one.
    assert_eq!(shop.superuser.value("select count(*) from app.suspense_payments"), "0");
    books_hold(&shop);
}

#[test]
fn a_withdrawal_is_over_when_all_its_refunds_are_in() {
    let shop = open();
    let (ming, one) = paid(&shop, "40.00", "T1");
    let two = shop.pending(&ming, "60.00");
    told(&shop, &Payment { order: &two, trade: "T2", fen: 6000, state: "SUCCESS" }.sent());
    let rows = shop.backend.rows(&format!("select * from app.withdraw('{}', 100, 'leaving', 'k')", ming.card));
    let numbers: Vec<String> = rows.iter().map(|row| row["refund_no"].to_owned()).collect();
    assert_eq!(rows.iter().map(|row| &row["source_tx_no"]).collect::<Vec<_>>(), [&two, &one]);
    let open = "select count(*) from app.withdrawals where status = 'processing'";
    assert_eq!(shop.superuser.value(open), "2");
    // The number of the one with the payment of the other.
    assert!(told(&shop, &refund(&numbers[0], "T1", &one, 4000, "SUCCESS")).starts_with("conflict"));
    told(&shop, &refund(&numbers[1], "T1", &one, 4000, "SUCCESS"));
    assert_eq!(shop.superuser.value(open), "1");
    told(&shop, &refund(&numbers[0], "T2", &two, 6000, "CLOSED"));
    assert_eq!((shop.superuser.value(open).as_str(), shop.balance(&ming.card)), ("0", "60.00".into()));
    books_hold(&shop);
}

/// What was paid out by hand, or in cash, is not paid by a gateway as well without anybody seeing it.
#[test]
fn a_gateway_that_pays_what_was_paid_by_hand_is_a_conflict() {
    let shop = open();
    let (ming, order) = paid(&shop, "100.00", "T1");
    let out = |amount: &str, payout: &str| {
        let sql = "select * from app.withdraw('CARD', AMOUNT, 'leaving', 'kPAYOUT', p_payout => 'PAYOUT')";
        let sql = sql.replace("CARD", &ming.card).replace("AMOUNT", amount).replace("PAYOUT", payout);
        let row = shop.backend.row(&sql);
        (row["refund_no"].to_owned(), row["tx_no"].to_owned())
    };
    let (cash, tx_no) = out("10", "cash");
    assert_eq!(told(&shop, &refund(&cash, "T1", &order, 1000, "SUCCESS")), format!("conflict refund_differs {tx_no}"));
    // Somebody tried the gateway in place of the transfer that was to be made: it is paid.
    let (transfer, tx_no) = out("20", "transfer");
    let success = refund(&transfer, "T1", &order, 2000, "SUCCESS");
    assert_eq!(told(&shop, &success), format!("noted refund_completed {tx_no}"));
    assert_eq!(status(&shop, &transfer), "completed");
    // What the gateway did not pay is still to be transferred: the card does not get it as well.
    let (transfer, tx_no) = {
        let sql = format!("select * from app.withdraw('{}', 30, 'leaving', 'k2', p_payout => 'transfer')", ming.card);
        let row = shop.backend.row(&sql);
        (row["refund_no"].to_owned(), row["tx_no"].to_owned())
    };
    let closed = refund(&transfer, "T1", &order, 3000, "CLOSED");
    assert_eq!(told(&shop, &closed), format!("conflict refund_differs {tx_no}"));
    assert_eq!((status(&shop, &transfer).as_str(), shop.balance(&ming.card)), ("processing", "40.00".into()));
    // Somebody says that it has failed, and then that it went; the gateway's payment comes on top of that.
    shop.backend.run(&fail_sql(&transfer));
    assert_eq!(told(&shop, &closed), format!("replayed refund_returned {tx_no}"));
    shop.backend.run(&format!("select * from app.confirm_withdrawal('{transfer}', 30, 'BANK-1')"));
    let success = refund(&transfer, "T1", &order, 3000, "SUCCESS");
    assert_eq!(told(&shop, &success), format!("conflict refund_differs {tx_no}"));
    books_hold(&shop);
}

#[test]
fn told_and_failed_at_the_same_instant_it_ends_once() {
    for round in 0..8 {
        let shop = open();
        let (ming, order) = paid(&shop, "100.00", "T1");
        let (number, _) = withdrawn(&shop, &ming, "100", "k");
        let state = if round % 2 == 0 { "SUCCESS" } else { "CLOSED" };
        let callback = refund(&number, "T1", &order, 10_000, state).sql("wechat");
        let mut jobs: Vec<_> = (0..2).map(|_| (shop.db.backend(), callback.clone())).collect();
        jobs.extend((0..2).map(|_| (shop.db.backend(), fail_sql(&number))));
        jobs.rotate_left(round % 4);
        let ended = together(jobs);
        for failure in ended.iter().filter_map(|end| end.as_ref().err()) {
            failure.must_be("STATUS_CONFLICT", "fail what is paid");
        }
        let returned = shop.superuser.value("select count(*) from app.transactions where tx_type = 'adjustment'");
        let expected = match status(&shop, &number).as_str() {
            "completed" => ("0", "0.00"),
            "returned" | "paid_after_return" => ("1", "100.00"),
            other => panic!("it is {other}"),
        };
        assert_eq!((returned.as_str(), shop.balance(&ming.card).as_str()), expected);
        books_hold(&shop);
    }
}

/// A callback that finds the card taken ends in time, and the gateway repeats it.
#[test]
fn a_callback_waits_no_longer_than_it_may() {
    let shop = open();
    let (ming, order) = paid(&shop, "100.00", "T1");
    let (number, tx_no) = withdrawn(&shop, &ming, "100", "k");
    let holder = shop.db.superuser();
    holder.run(&format!("begin; select from app.personal_cards where id = '{}' for update", ming.card));
    let closed = refund(&number, "T1", &order, 10_000, "CLOSED");
    let waits = Waiting::behind(shop.db.backend(), &holder, &shop.superuser, closed.sql("wechat"));
    let failure = waits.end().unwrap_err();
    assert_eq!(failure.code, "57014", "{failure:?}");
    holder.run("rollback");
    assert_eq!(status(&shop, &number), "processing");
    assert_eq!(told(&shop, &closed), format!("noted refund_returned {tx_no}"));
    assert_eq!(shop.balance(&ming.card), "100.00");
    books_hold(&shop);
}
