//! Callbacks of payment gateways: verified, recorded and credited in one transaction, in whatever order they come.

use mps_sender::{Callback, Payment, alipay, refund, set_up, wechat};
use mps_tests::{Member, NULL, Row, Session, Shop, Waiting, together};
use std::time::{Duration, Instant};

fn open() -> Shop {
    let shop = Shop::open();
    shop.superuser.run(&set_up());
    shop
}

fn paid(order: &str, trade: &str, fen: i64) -> Callback {
    Payment { order, trade, fen, state: "SUCCESS" }.sent()
}

fn state(order: &str, state: &str) -> Callback {
    Payment { order, trade: "", fen: 0, state }.sent()
}

#[track_caller]
fn take(session: &Session, callback: &Callback) -> Row {
    let account = if callback.headers.as_object().unwrap().is_empty() { "alipay" } else { "wechat" };
    session.row(&callback.sql(account))
}

/// Outcome and reason of a callback.
#[track_caller]
fn outcome(shop: &Shop, callback: &Callback) -> String {
    let row = take(&shop.backend, callback);
    let received = [("204", ""), ("200", "success")].contains(&(&row["status"], &row["body"]));
    assert_eq!(received, &row["outcome"] != "refused", "{row:?}");
    format!("{} {}", &row["outcome"], &row["reason"]).trim_end_matches(" NULL").to_owned()
}

#[track_caller]
fn books_hold(shop: &Shop) {
    assert_eq!(shop.superuser.rows("select * from app.verify_books() where ok is not true"), [] as [Row; 0]);
}

fn status(shop: &Shop, tx_no: &str) -> String {
    shop.superuser.value(&format!("select status from app.transactions where tx_no = '{tx_no}'"))
}

fn suspended(shop: &Shop) -> Vec<Row> {
    shop.superuser.rows("select gateway_trade_no, tx_no, amount, reason, status from app.suspense_payments order by id")
}

fn confirm(tx_no: &str, amount: &str, trade: &str) -> String {
    format!("select * from app.confirm_recharge('{tx_no}', {amount}, '{trade}')")
}

fn asked(shop: &Shop, amount: &str) -> (Member, String) {
    let ming = shop.member("0");
    let tx_no = shop.pending(&ming, amount);
    (ming, tx_no)
}

#[test]
fn a_payment_is_credited_once_however_often_it_is_told() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "500.00");
    let callback = paid(&tx_no, "4200001", 50_000);
    let row = take(&shop.backend, &callback);
    let answer = ["status", "body", "outcome", "reason", "tx_no"].map(|name| row[name].to_owned());
    assert_eq!(answer, ["204", "", "credited", NULL, tx_no.as_str()]);
    for _ in 0..3 {
        assert_eq!(outcome(&shop, &callback), "replayed");
    }
    // Another message of the same payment.
    assert_eq!(outcome(&shop, &paid(&tx_no, "4200001", 50_000)), "replayed");
    assert_eq!(shop.balance(&ming.card), "500.00");
    let kept = shop.superuser.row(&format!("select * from app.transactions where tx_no = '{tx_no}'"));
    assert_eq!(
        (&kept["status"], &kept["payment_method"], &kept["gateway_trade_no"]),
        ("completed", "wechat", "4200001")
    );
    let events = shop.backend.rows("select * from app.gateway_events order by id");
    assert_eq!(events.iter().map(|e| &e["outcome"]).collect::<Vec<_>>(), ["credited", "replayed"]);
    let event = &events[0];
    assert_eq!(
        ["verified", "key_id", "trade_no", "out_trade_no", "amount"].map(|n| event[n].to_owned()),
        ["t", mps_sender::WECHAT_KEY_ID, "4200001", &tx_no, "500.00"]
    );
    assert_eq!(&event["happened_at"][..19], "2026-11-26 02:34:56");
    assert_eq!(shop.superuser.value("select callbacks from app.gateway_tallies where kind = 'repeated'"), "3");
    let logged = shop
        .superuser
        .value("select context ->> 'gateway_event' from audit.event_log where action = 'recharge.confirmed'");
    assert_eq!(logged, event["id"]);
    books_hold(&shop);
}

#[test]
fn alipay_says_yuan_and_is_told_success() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "88.80");
    let row = take(&shop.backend, &alipay(&tx_no, "20261126220", "88.80", "TRADE_SUCCESS", &[]));
    assert_eq!(["status", "body", "outcome"].map(|n| row[n].to_owned()), ["200", "success", "credited"]);
    assert_eq!(outcome(&shop, &alipay(&tx_no, "20261126220", "88.80", "TRADE_FINISHED", &[])), "replayed");
    assert_eq!(shop.balance(&ming.card), "88.80");
    // Asked for with WeChat, paid by Alipay: what the payer really used.
    let kept = shop.superuser.value(&format!("select payment_method from app.transactions where tx_no = '{tx_no}'"));
    assert_eq!(kept, "alipay");
    // What the payer paid is kept where a coupon of the gateway's paid the rest.
    for (trade, paid, kept) in [("T1", "6.50", "6.50"), ("T2", "7.00", NULL)] {
        let payer = [("buyer_pay_amount", Some(paid))];
        assert!(outcome(&shop, &alipay("ORDER-1", trade, "7.00", "TRADE_SUCCESS", &payer)).starts_with("suspense"));
        let payload = "select payload ->> 'payer_amount' from app.suspense_payments where gateway_trade_no";
        assert_eq!(shop.superuser.value(&format!("{payload} = '{trade}'")), kept);
    }
    books_hold(&shop);
}

/// What is done to a recharge of 10.00 before and after its callback, and what the callback says then.
#[test]
fn every_order_of_events_ends_the_same() {
    type Step = fn(&Shop, &Member, &str);
    let confirmed: Step = |s, _, tx| drop(s.backend.row(&confirm(tx, "10", &format!("T{tx}"))));
    let failed: Step = |s, _, tx| drop(s.backend.row(&format!("select * from app.fail_recharge('{tx}', 'declined')")));
    let closed_by: Step = |s, _, tx| assert_eq!(outcome(s, &state(tx, "CLOSED")), "failed closed");
    let cancelled: Step = |s, _, tx| {
        s.backend.run(r#"select app.update_settings('{"recharge_ttl_minutes": 5}')"#);
        // Within the month of its number.
        s.superuser.run(&format!(
            "update app.transactions set created_at = greatest(created_at - interval '6 min', \
                date_trunc('month', created_at at time zone 'UTC') at time zone 'UTC') where tx_no = '{tx}'"
        ));
        s.superuser.run("call app.expire_recharges()");
        assert_eq!(status(s, tx), "cancelled");
    };
    let replaced: Step = |s, m, _| {
        s.set_card(&m.card, "personal", "lost");
        s.backend.row(&format!("select * from app.replace_card('{}', 'lost')", m.card));
    };
    let frozen: Step = |s, m, _| s.set_card(&m.card, "personal", "frozen");
    let expired: Step =
        |s, m, _| s.backend.run(&format!("select app.set_card_expiry('{}', 'personal', now(), 'x')", m.card));
    let nothing: Step = |_, _, _| {};
    let before: [(&str, Step, &str); 8] = [
        ("nothing", nothing, "credited"),
        ("confirmed", confirmed, "replayed"),
        ("failed", failed, "credited"),
        ("closed at the gateway", closed_by, "credited"),
        ("cancelled", cancelled, "credited"),
        ("replaced", replaced, "credited"),
        ("frozen", frozen, "credited"),
        ("expired", expired, "credited"),
    ];
    for (name, step, expected) in before {
        let shop = open();
        let (ming, tx_no) = asked(&shop, "10.00");
        let trade = format!("T{tx_no}");
        step(&shop, &ming, &tx_no);
        assert_eq!(outcome(&shop, &paid(&tx_no, &trade, 1000)), expected, "{name}");
        // Whatever comes now changes nothing.
        assert_eq!(&shop.backend.row(&confirm(&tx_no, "10", &trade))["replayed"], "t", "{name}");
        assert_eq!(outcome(&shop, &paid(&tx_no, &trade, 1000)), "replayed", "{name}");
        assert_eq!(outcome(&shop, &state(&tx_no, "CLOSED")), "noted already_settled", "{name}");
        let total = shop.superuser.value("select sum(balance) from app.personal_cards");
        assert_eq!((total.as_str(), status(&shop, &tx_no).as_str()), ("10.00", "completed"), "{name}");
        assert_eq!(suspended(&shop), [] as [Row; 0], "{name}");
        books_hold(&shop);
    }
}

#[test]
fn a_closed_card_takes_what_was_paid_late() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "10.00");
    shop.backend.row(&format!("select * from app.fail_recharge('{tx_no}', 'declined')"));
    shop.set_card(&ming.card, "personal", "closed");
    // As a backend's word would: the money is in sight on the card, and health says so.
    assert_eq!(outcome(&shop, &paid(&tx_no, "T1", 1000)), "credited");
    assert_eq!(shop.balance(&ming.card), "10.00");
    let health = "select ok from app.health() where check_name = 'closed_cards_with_balance'";
    assert_eq!(shop.superuser.value(health), "f");
    books_hold(&shop);
}

#[test]
fn what_cannot_be_credited_is_kept_in_sight() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "10.00");
    assert_eq!(outcome(&shop, &paid(&tx_no, "T1", 999)), "suspense amount_differs");
    assert_eq!(outcome(&shop, &paid(&tx_no, "T1", 999)), "replayed suspense");
    assert_eq!(outcome(&shop, &paid("ORDER-9", "T2", 700)), "suspense order_unknown");
    assert_eq!(outcome(&shop, &paid("ORDER-9", "T2", 700)), "replayed suspense");
    assert_eq!(outcome(&shop, &paid("ZF2611000001", "T3", 100)), "suspense order_unknown");
    assert_eq!(outcome(&shop, &paid(&tx_no, "T4", 1000)), "credited");
    assert_eq!(outcome(&shop, &paid(&tx_no, "T5", 1000)), "suspense already_settled");
    assert_eq!(outcome(&shop, &alipay(&tx_no, "T6", "10.00", "TRADE_SUCCESS", &[])), "suspense already_settled");
    let rows: Vec<_> = suspended(&shop)
        .iter()
        .map(|row| ["gateway_trade_no", "tx_no", "amount", "reason"].map(|n| row[n].to_owned()).join(" "))
        .collect();
    assert_eq!(
        rows,
        [
            format!("T1 {tx_no} 9.99 amount_differs"),
            "T2 NULL 7.00 order_unknown".to_owned(),
            "T3 NULL 1.00 order_unknown".to_owned(),
            format!("T5 {tx_no} 10.00 already_settled"),
            format!("T6 {tx_no} 10.00 already_settled"),
        ]
    );
    assert_eq!(shop.balance(&ming.card), "10.00");
    // Somebody credits one of them: what is told once more is known.
    let id = shop.superuser.value("select id from app.suspense_payments where gateway_trade_no = 'T2'");
    let credit = format!("select * from app.resolve_suspense({id}, 'credited', 'his', '{}')", ming.card);
    let credited = shop.backend.row(&credit);
    let again = take(&shop.backend, &paid("ORDER-9", "T2", 700));
    assert_eq!(
        ["outcome", "reason", "tx_no"].map(|n| again[n].to_owned()),
        ["replayed", "suspense", &credited["tx_no"]]
    );
    assert_eq!(shop.balance(&ming.card), "17.00");
    books_hold(&shop);
}

#[test]
fn a_trade_number_that_has_credited_another_recharge_is_a_conflict() {
    let shop = open();
    let ((ming, first), (mei, second)) = (asked(&shop, "10.00"), asked(&shop, "10.00"));
    assert_eq!(outcome(&shop, &paid(&first, "T1", 1000)), "credited");
    assert_eq!(outcome(&shop, &paid(&second, "T1", 1000)), "conflict trade_no_taken");
    // An order that is unknown here names no other recharge: the trade number says whose it is.
    assert_eq!(outcome(&shop, &paid("ORDER-9", "T1", 1000)), "replayed");
    assert_eq!(outcome(&shop, &paid("ORDER-9", "T1", 1001)), "conflict amount_differs");
    assert_eq!(outcome(&shop, &paid(&first, "T1", 1001)), "conflict amount_differs");
    assert_eq!((shop.balance(&ming.card), shop.balance(&mei.card)), ("10.00".into(), "0.00".into()));
    assert_eq!((suspended(&shop).len(), status(&shop, &second).as_str()), (0, "processing"));
    books_hold(&shop);
}

/// A shop that sends a number of its own to the gateway, and has its backend say which recharge was paid.
#[test]
fn what_a_backend_has_confirmed_is_no_conflict_by_an_order_that_only_the_shop_knows() {
    let shop = open();
    let health = "select detail from app.health() where check_name = 'gateway_callbacks'";
    let ((ming, first), (_, second)) = (asked(&shop, "10.00"), asked(&shop, "10.00"));
    shop.backend.row(&confirm(&first, "10", "T1"));
    let told = |order: &str, fen: i64| {
        let row = take(&shop.backend, &paid(order, "T1", fen));
        ["outcome", "reason", "tx_no"].map(|n| row[n].to_owned()).join(" ")
    };
    for order in ["ORDER-9", "ORDER-9", "CZ2611099999"] {
        assert_eq!(told(order, 1000), format!("replayed NULL {first}"), "{order}");
    }
    assert_eq!(outcome(&shop, &alipay("ORDER-9", "T1", "10.00", "TRADE_FINISHED", &[])), "replayed");
    assert_eq!(shop.superuser.value(health), "none to look at");
    assert_eq!((shop.balance(&ming.card), suspended(&shop).len()), ("10.00".into(), 0));
    // It stays one where the order is of another, of several of which none is it, or where the money is not what was credited.
    let own = |order: &str, method: &str| {
        let sql =
            "select * from app.user_recharge_personal_card('{card}', 10, '{method}', p_external_order_id => '{order}')";
        let sql = sql.replace("{card}", &ming.card).replace("{method}", method).replace("{order}", order);
        shop.backend.row(&sql)["tx_no"].to_owned()
    };
    let (one, two, _) = (own("SEVERAL", "wechat"), own("ANOTHER", "cash"), own("SEVERAL", "alipay"));
    assert_eq!(told("ORDER-9", 999), format!("conflict amount_differs {first}"));
    assert_eq!(told(&second, 1000), format!("conflict trade_no_taken {second}"));
    assert_eq!(told("ANOTHER", 1000), format!("conflict trade_no_taken {two}"));
    assert_eq!(told("SEVERAL", 1000), "conflict trade_no_taken NULL");
    assert!(shop.superuser.value(health).contains("conflict (trade_no_taken)"));
    shop.backend.row(&confirm(&one, "10", "T2"));
    let of_several = take(&shop.backend, &paid("SEVERAL", "T2", 1000));
    assert_eq!((&of_several["outcome"], &of_several["tx_no"]), ("replayed", &*one));
    assert_eq!((suspended(&shop).len(), status(&shop, &second).as_str()), (0, "processing"));
    books_hold(&shop);
}

#[test]
fn an_order_of_a_backend_leads_to_its_recharge_and_a_members_to_nobodys() {
    let shop = open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    let own = |card: &str, order: &str, method: &str| {
        let sql = format!(
            "select * from app.user_recharge_personal_card('{card}', 10, '{method}', p_external_order_id => '{order}')"
        );
        shop.backend.row(&sql)
    };
    let done = own(&ming.card, "o-1", "wechat");
    // Credited by the backend's word: the callback brings its trade number.
    let row = take(&shop.backend, &paid("o-1", "T1", 1000));
    assert_eq!((&row["outcome"], &row["tx_no"]), ("credited", &done["tx_no"]));
    let trade = format!("select gateway_trade_no from app.transactions where tx_no = '{}'", &done["tx_no"]);
    assert_eq!(shop.superuser.value(&trade), "T1");
    assert_eq!(shop.balance(&ming.card), "10.00");
    own(&ming.card, "o-2", "wechat");
    own(&mei.card, "o-2", "alipay");
    assert_eq!(outcome(&shop, &paid("o-2", "T2", 1000)), "suspense order_ambiguous");
    own(&ming.card, "o-3", "cash");
    assert_eq!(outcome(&shop, &paid("o-3", "T3", 1000)), "suspense already_settled");
    let asks =
        format!("select * from app.user_recharge_personal_card('{}', 10, p_external_order_id => 'o-4')", mei.card);
    shop.db.user(mei.id).row(&asks);
    assert_eq!(outcome(&shop, &paid("o-4", "T4", 1000)), "suspense order_unknown");
    assert_eq!(shop.balance(&mei.card), "10.00");
    books_hold(&shop);
}

#[test]
fn a_state_that_is_no_payment_changes_nothing_or_ends_the_recharge() {
    let shop = open();
    for (word, expected) in [("NOTPAY", "noted notpay"), ("USERPAYING", "noted userpaying"), ("ACCEPT", "noted accept")]
    {
        let (_, tx_no) = asked(&shop, "10.00");
        // Whatever the event calls itself.
        assert_eq!(outcome(&shop, &state(&tx_no, word)), expected);
        assert_eq!(status(&shop, &tx_no), "processing");
    }
    for word in ["CLOSED", "REVOKED", "PAYERROR"] {
        let (ming, tx_no) = asked(&shop, "10.00");
        assert_eq!(outcome(&shop, &state(&tx_no, word)), format!("failed {}", word.to_lowercase()));
        assert_eq!(status(&shop, &tx_no), "failed");
        assert_eq!(outcome(&shop, &state(&tx_no, word)), "replayed");
        // The money came after all.
        assert_eq!(outcome(&shop, &paid(&tx_no, &format!("T{tx_no}"), 1000)), "credited");
        assert_eq!(shop.balance(&ming.card), "10.00");
    }
    let (_, tx_no) = asked(&shop, "10.00");
    // The order at the other gateway ended: WeChat may be paid still.
    let closed = [("gmt_payment", None), ("gmt_close", Some("2026-11-26 10:50:00"))];
    let alipays = alipay(&tx_no, "A1", "10.00", "TRADE_CLOSED", &closed);
    assert_eq!(outcome(&shop, &alipays), "noted other_method");
    assert_eq!(outcome(&shop, &state("ORDER-9", "CLOSED")), "noted order_unknown");
    assert_eq!(
        outcome(&shop, &wechat("PAYSCORE.USER_OPEN_SERVICE", &serde_json::json!({}))),
        "noted payscore.user_open_service"
    );
    assert_eq!(outcome(&shop, &alipay(&tx_no, "A1", "10.00", "TRADE_PENDING", &[])), "noted trade_pending");
    books_hold(&shop);
}

#[test]
fn a_trade_that_went_back_is_not_credited_by_a_late_word() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "10.00");
    let whole = [("refund_fee", Some("10.00")), ("gmt_refund", Some("2026-11-26 12:00:00"))];
    assert_eq!(outcome(&shop, &alipay(&tx_no, "A1", "10.00", "TRADE_CLOSED", &whole)), "noted refunded");
    assert_eq!(outcome(&shop, &alipay(&tx_no, "A1", "10.00", "TRADE_SUCCESS", &[])), "replayed suspense");
    shop.backend.refused("EXTERNAL_ORDER_CONFLICT", &confirm(&tx_no, "10", "A1"));
    assert_eq!((shop.balance(&ming.card), &suspended(&shop)[0]["status"]), ("0.00".into(), "refunded"));
    assert_eq!(shop.superuser.value("select ok from app.health() where check_name = 'suspense'"), "t");
    // A part: what is left waits for somebody.
    let part = [("refund_fee", Some("3.00")), ("gmt_refund", Some("2026-11-26 12:00:00"))];
    assert_eq!(outcome(&shop, &alipay(&tx_no, "A2", "10.00", "TRADE_SUCCESS", &part)), "suspense partly_refunded");
    assert_eq!(&suspended(&shop)[1]["amount"], "7.00");
    // What is credited already, and what is in suspense.
    assert_eq!(outcome(&shop, &alipay(&tx_no, "A3", "10.00", "TRADE_SUCCESS", &[])), "credited");
    assert_eq!(outcome(&shop, &alipay(&tx_no, "A3", "10.00", "TRADE_CLOSED", &whole)), "noted refund_not_asked");
    assert_eq!(outcome(&shop, &alipay(&tx_no, "A4", "10.00", "TRADE_SUCCESS", &[])), "suspense already_settled");
    assert_eq!(outcome(&shop, &alipay(&tx_no, "A4", "10.00", "TRADE_CLOSED", &whole)), "noted refunded");
    assert_eq!(&suspended(&shop)[2]["status"], "refunded");
    books_hold(&shop);
}

#[test]
fn a_refund_out_of_suspense_ends_when_the_gateway_says_so() {
    let shop = open();
    let (_, tx_no) = asked(&shop, "10.00");
    let refunding = |trade: &str, order: &str| {
        assert!(outcome(&shop, &paid(order, trade, 700)).starts_with("suspense"));
        let id =
            shop.superuser.value(&format!("select id from app.suspense_payments where gateway_trade_no = '{trade}'"));
        shop.backend.row(&format!("select * from app.resolve_suspense({id}, 'refunded', 'not ours')"))["out_refund_no"]
            .to_owned()
    };
    let number = refunding("T1", "ORDER-9");
    assert_eq!(outcome(&shop, &refund(&number, "T1", "ORDER-9", 699, "SUCCESS")), "conflict refund_differs");
    assert_eq!(outcome(&shop, &refund(&number, "T2", "ORDER-9", 700, "SUCCESS")), "conflict refund_differs");
    assert_eq!(outcome(&shop, &refund(&number, "T1", "ORDER-9", 700, "ABNORMAL")), "noted refund_abnormal");
    assert_eq!(&suspended(&shop)[0]["status"], "refunding");
    assert_eq!(outcome(&shop, &refund(&number, "T1", "ORDER-9", 700, "SUCCESS")), "noted refund_completed");
    assert_eq!(outcome(&shop, &refund(&number, "T1", "ORDER-9", 700, "SUCCESS")), "replayed refund_completed");
    let number = refunding("T3", &tx_no);
    // That another refund of it failed says nothing of the one that was asked for.
    assert_eq!(outcome(&shop, &refund("page-1", "T3", &tx_no, 700, "CLOSED")), "noted refund_not_asked");
    assert_eq!(&suspended(&shop)[1]["status"], "refunding");
    assert_eq!(outcome(&shop, &refund(&number, "T3", &tx_no, 700, "CLOSED")), "noted refund_returned");
    assert_eq!(&suspended(&shop)[1]["status"], "open");
    // A part of it that nobody asked for here, or nothing.
    assert_eq!(outcome(&shop, &refund("somebody's", "T3", &tx_no, 700, "CLOSED")), "noted refund_not_asked");
    assert_eq!(outcome(&shop, &refund("nobody's", "T3", &tx_no, 699, "SUCCESS")), "noted partly_refunded");
    assert_eq!(outcome(&shop, &refund("nobody's", "T3", &tx_no, 700, "CLOSED")), "noted refund_not_asked");
    let row = &suspended(&shop)[1];
    assert_eq!((&row["status"], &row["amount"]), ("open", "0.01"));
    books_hold(&shop);
}

/// Whoever asked for it: what the payer has again is nobody's to credit.
#[test]
fn money_that_went_back_whole_leaves_suspense() {
    let shop = open();
    let (ming, _) = asked(&shop, "10.00");
    let resolved = |trade: &str, word: &str| {
        let sql = format!(
            "select r.* from app.suspense_payments s, app.resolve_suspense(s.id, '{word}', 'so') r where s.gateway_trade_no = '{trade}'"
        );
        shop.backend.row(&sql)["out_refund_no"].to_owned()
    };
    // Somebody believed that it had failed.
    outcome(&shop, &paid("ORDER-1", "T1", 700));
    let number = resolved("T1", "refunded");
    resolved("T1", "refund_failed");
    assert_eq!(outcome(&shop, &refund(&number, "T1", "ORDER-1", 700, "SUCCESS")), "noted refund_completed");
    // It was asked for once more meanwhile.
    outcome(&shop, &paid("ORDER-2", "T2", 700));
    let number = resolved("T2", "refunded");
    resolved("T2", "refund_failed");
    resolved("T2", "refunded");
    assert_eq!(outcome(&shop, &refund(&number, "T2", "ORDER-2", 700, "SUCCESS")), "noted refund_completed");
    // On the merchant's page, and told twice.
    outcome(&shop, &paid("ORDER-3", "T3", 700));
    let page = refund("page-1", "T3", "ORDER-3", 700, "SUCCESS");
    assert_eq!([outcome(&shop, &page), outcome(&shop, &page)], ["noted refund_completed", "replayed refund_completed"]);
    // Alipay says what went back in all, not what this refund was of.
    let part = [("refund_fee", Some("3.00")), ("gmt_refund", Some("2026-11-26 12:00:00"))];
    assert_eq!(outcome(&shop, &alipay("ORDER-4", "T4", "7.00", "TRADE_SUCCESS", &part)), "suspense partly_refunded");
    let number = resolved("T4", "refunded");
    let rest =
        [("refund_fee", Some("7.00")), ("gmt_refund", Some("2026-11-26 12:30:00")), ("out_biz_no", Some(&*number))];
    assert_eq!(outcome(&shop, &alipay("ORDER-4", "T4", "7.00", "TRADE_CLOSED", &rest)), "noted refund_completed");
    let states: Vec<String> = suspended(&shop).iter().map(|row| row["status"].to_owned()).collect();
    assert_eq!(states, ["refunded"; 4]);
    // Which refund it was by: one that was asked for no more, one of the merchant's page, and the one that was asked for.
    let notes = shop.superuser.column("select note from app.suspense_payments order by id");
    assert_eq!(notes[1..], ["refunded at the gateway", "refunded at the gateway", "as the gateway says"]);
    for id in 1..=4 {
        shop.backend.refused(
            "STATUS_CONFLICT",
            &format!("select * from app.resolve_suspense({id}, 'credited', 'once more', '{}')", ming.card),
        );
    }
    assert_eq!(shop.superuser.value("select ok from app.health() where check_name = 'suspense'"), "t");
    books_hold(&shop);
}

/// What the card has is never in suspense beside it.
#[test]
fn a_recharge_that_was_trusted_has_its_payment_whatever_went_back_of_it() {
    let shop = open();
    let ming = shop.member("0");
    let sql = format!("select tx_no from app.user_recharge_personal_card('{}', 10, 'alipay')", ming.card);
    let tx_no = shop.backend.value(&sql);
    let part = [("refund_fee", Some("4.00")), ("gmt_refund", Some("2026-11-26 12:00:00"))];
    assert_eq!(outcome(&shop, &alipay(&tx_no, "A1", "10.00", "TRADE_SUCCESS", &part)), "credited partly_refunded");
    assert_eq!(outcome(&shop, &alipay(&tx_no, "A1", "10.00", "TRADE_SUCCESS", &[])), "replayed");
    assert_eq!((shop.balance(&ming.card), suspended(&shop).len()), ("10.00".into(), 0));
    // As releases before 0.3.0 wrote a trade number that somebody had typed.
    let written = |from: &str, to: &str| {
        shop.superuser.run(&format!(
            "begin; set local session_replication_role = replica; \
             update app.transactions set gateway_trade_no = {to} where gateway_trade_no = {from}; \
             update app.external_orders set order_id = {to} where order_id = {from}; commit"
        ));
    };
    written("'A1'", "U&'A1\\3000'");
    assert_eq!(outcome(&shop, &alipay(&tx_no, "A1", "10.00", "TRADE_FINISHED", &[])), "replayed");
    assert_eq!(outcome(&shop, &alipay(&tx_no, "A1", "10.00", "TRADE_SUCCESS", &part)), "replayed partly_refunded");
    assert_eq!((shop.balance(&ming.card), suspended(&shop).len()), ("10.00".into(), 0));
    written("U&'A1\\3000'", "'A1'");
    books_hold(&shop);
}

/// A backend's payload is its own: it names no callback, and stands in nobody's way.
#[test]
fn what_a_backend_writes_into_a_payload_is_no_callback() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "10.00");
    assert_eq!(outcome(&shop, &paid("ORDER-1", "T1", 1000)), "suspense order_unknown");
    shop.backend.row(&format!(
        "select c.* from app.suspense_payments s, app.confirm_recharge('{tx_no}', s.amount, s.gateway_trade_no, s.payload) c"
    ));
    books_hold(&shop);
    for (trade, event) in [("T2", r#""evt_12""#), ("T3", "9223372036854775807"), ("T4", "1e400")] {
        let tx_no = shop.pending(&ming, "1.00");
        let payload = format!(r#"{{"gateway_event": {event}}}"#);
        shop.backend.row(&format!("select * from app.confirm_recharge('{tx_no}', 1, '{trade}', '{payload}')"));
    }
    books_hold(&shop);
    assert_eq!(shop.superuser.value("select n from sec.rebuild_gateway_numbers()"), "0");
    assert_eq!(outcome(&shop, &paid("ORDER-2", "T5", 1000)), "suspense order_unknown");
}

/// Whoever keeps a snapshot open keeps nothing that was taken away since.
#[test]
fn an_old_snapshot_keeps_no_account_and_no_key() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "10.00");
    let callback = paid(&tx_no, "T1", 1000);
    let old = [shop.db.backend(), shop.db.backend()];
    old.iter().for_each(|session| session.run("begin isolation level repeatable read; select 1"));
    shop.superuser.run("update sec.gateway_keys set valid_until = '2026-01-01' where kind = 'wechat_public_key'");
    assert_eq!(&take(&old[0], &callback)["reason"], "serial_unknown");
    shop.superuser.run("update sec.gateway_keys set valid_until = null");
    shop.superuser.run("update app.gateway_accounts set active = false");
    assert_eq!(&take(&old[1], &callback)["reason"], "account_inactive");
    assert_eq!(shop.balance(&ming.card), "0.00");
}

#[test]
fn the_same_callback_at_the_same_instant_credits_once() {
    let shop = open();
    for round in 0..10 {
        let (ming, tx_no) = asked(&shop, "10.00");
        let trade = format!("T{tx_no}");
        let callback = paid(&tx_no, &trade, 1000);
        let mut jobs: Vec<_> = (0..4).map(|_| (shop.db.backend(), callback.sql("wechat"))).collect();
        jobs.push((shop.db.backend(), paid(&tx_no, &trade, 1000).sql("wechat")));
        let confirms = round % 2 == 0;
        if confirms {
            jobs.push((shop.db.backend(), confirm(&tx_no, "10", &trade)));
        }
        let answers: Vec<Row> = together(jobs).into_iter().map(|answer| answer.unwrap().remove(0)).collect();
        let credited = answers.iter().filter(|row| {
            row.names().contains(&"outcome") && &row["outcome"] == "credited"
                || row.names().contains(&"replayed") && &row["replayed"] == "f"
        });
        assert_eq!(credited.count(), 1, "{answers:?}");
        assert_eq!(shop.balance(&ming.card), "10.00");
    }
    books_hold(&shop);
}

#[test]
fn what_is_refused_is_answered_recorded_and_counted() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "10.00");
    let good = paid(&tx_no, "T1", 1000);
    let other = |change: &dyn Fn(&mut Callback)| {
        let mut callback = good.clone();
        change(&mut callback);
        callback
    };
    let header = |name: &str, value: &str| other(&|c| c.headers[name] = value.into());
    let old = mps_sender::wechat_at("TRANSACTION.SUCCESS", b"{}", mps_sender::now() - 400);
    let cases = [
        (other(&|c| c.body.push(b' ')), "401", "signature_wrong"),
        (header("wechatpay-signature", "WECHATPAY/SIGNTEST/abc"), "401", "signature_wrong"),
        (header("wechatpay-serial", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"), "401", "serial_unknown"),
        (header("wechatpay-timestamp", "now"), "401", "timestamp_form"),
        (header("wechatpay-nonce", "a\nb"), "401", "nonce_form"),
        (header("wechatpay-signature-type", "WECHATPAY2-SM2-WITH-SM3"), "401", "signature_type"),
        (other(&|c| c.headers = serde_json::json!({})), "401", "header_missing"),
        (old, "401", "timestamp_outside"),
        (other(&|c| c.body = vec![b'x'; 65_537]), "413", "body_too_large"),
        (mps_sender::wechat_signed(b"{}".to_vec(), mps_sender::now()), "400", "field_missing"),
        (wechat("TRANSACTION.SUCCESS", &serde_json::json!({ "mchid": "1900000002" })), "400", "field_missing"),
    ];
    for (callback, status, reason) in cases {
        let row = shop.backend.row(&callback.sql("wechat"));
        assert_eq!(["status", "outcome", "reason"].map(|n| row[n].to_owned()), [status, "refused", reason]);
        let body: serde_json::Value = serde_json::from_str(&row["body"]).unwrap();
        assert_eq!(body["code"], "FAIL");
        let event =
            "select verified::text || ' ' || outcome || ' ' || reason from app.gateway_events order by id desc limit 1";
        let verified = status == "400";
        // A reason that came before is counted only.
        if shop.superuser.value(&format!("select callbacks from app.gateway_tallies where kind = '{reason}'")) == "1" {
            assert_eq!(shop.superuser.value(event), format!("{verified} refused {reason}"));
        }
    }
    let mut theirs = Payment { order: &tx_no, trade: "T1", fen: 1000, state: "SUCCESS" }.told();
    theirs["mchid"] = "1900000002".into();
    assert_eq!(outcome(&shop, &wechat("TRANSACTION.SUCCESS", &theirs)), "refused account_mchid");
    theirs["mchid"] = mps_sender::MCHID.into();
    theirs["amount"]["currency"] = "USD".into();
    assert_eq!(outcome(&shop, &wechat("TRANSACTION.SUCCESS", &theirs)), "refused currency");
    let forged = alipay(&tx_no, "A1", "10.00", "TRADE_SUCCESS", &[("seller_id", Some("2088000000000000"))]);
    let row = shop.backend.row(&forged.sql("alipay"));
    assert_eq!(["status", "body", "reason"].map(|n| row[n].to_owned()), ["400", "failure", "account_seller_id"]);
    // Nobody fills a disk by sending.
    let bad = header("wechatpay-signature", "AAAA");
    let before = shop.superuser.value("select count(*) from app.gateway_events");
    (0..200).for_each(|_| drop(shop.backend.row(&bad.sql("wechat"))));
    assert_eq!(shop.superuser.value("select count(*) from app.gateway_events"), before);
    let counted = "select callbacks from app.gateway_tallies where kind = 'signature_wrong'";
    assert_eq!(shop.superuser.value(counted), "202");
    assert_eq!((shop.balance(&ming.card), status(&shop, &tx_no).as_str()), ("0.00".into(), "processing"));
    shop.backend.refused("GATEWAY_ACCOUNT_NOT_FOUND", &good.sql("nobody"));
    shop.superuser.run(&set_up().lines().next().unwrap().replace("\"appids\"", "\"active\": false, \"appids\""));
    assert_eq!(outcome(&shop, &good), "refused account_inactive");
    books_hold(&shop);
}

#[test]
fn a_header_is_kept_as_long_as_one_may_be_and_a_byte_more() {
    let shop = open();
    let good = paid("CZ2611000001", "T1", 1000);
    // What is sent in characters, its reason, and how much of it is kept.
    for (sent, reason, kept) in [
        ("A".repeat(1024), "signature_wrong", 1024),
        ("A".repeat(1025), "signature_form", 1025),
        ("B".repeat(1026), "signature_form", 1025),
        ("\u{e9}".repeat(512), "signature_form", 512),
        // One of two bytes, of which the first would be the last.
        ("\u{e8}".repeat(513), "signature_form", 512),
        (format!("a{}", "\u{e9}".repeat(513)), "signature_form", 513),
        (format!("\u{20ac}{}", "\u{1d11e}".repeat(300)), "signature_form", 256),
    ] {
        // A reason that came before is counted only.
        shop.superuser.run("delete from app.gateway_tallies");
        let mut callback = good.clone();
        callback.headers["wechatpay-signature"] = sent.clone().into();
        assert_eq!(outcome(&shop, &callback), format!("refused {reason}"), "{sent:.4}");
        let stored = "select headers->>'wechatpay-signature' from app.gateway_events order by id desc limit 1";
        let wanted: String = sent.chars().take(kept).collect();
        assert!(shop.superuser.value(stored) == wanted, "{sent:.4} is kept otherwise");
    }
}

/// Forgeries come at once on eight connections, of which one keeps its transaction open, as a slow client of a backend does.
#[test]
fn a_refusal_waits_for_no_other_and_each_is_counted() {
    const OTHERS: usize = 7;
    const EACH: usize = 20;
    const AT_MOST: Duration = Duration::from_millis(200);
    let shop = open();
    let mut forged = paid("CZ2611000001", "T1", 1000);
    forged.headers["wechatpay-signature"] = "AAAA".into();
    let forged = forged.sql("wechat");
    let sent_by = |session: &Session| {
        let began = Instant::now();
        assert_eq!(&session.row(&forged)["reason"], "signature_wrong");
        began.elapsed()
    };
    let counted = |what: &str| {
        let sql = format!("select {what} from app.gateway_tallies where kind = 'signature_wrong'");
        shop.superuser.value(&sql).parse::<usize>().unwrap()
    };
    let noted = || shop.superuser.value("select count(*) from app.gateway_events where outcome = 'refused'");
    let mut sessions: Vec<Session> = (0..=OTHERS).map(|_| shop.db.backend()).collect();
    // What a backend learns at its first call is not what is measured.
    for session in &sessions {
        session.run("begin");
        sent_by(session);
        session.run("rollback");
    }
    assert_eq!((counted("coalesce(sum(callbacks), 0)"), noted()), (0, "0".to_owned()));
    let (holder, others) = sessions.split_first_mut().unwrap();
    let mut so_far = 0;
    // The first of the hour, then one that is counted with others; what is undone is not counted.
    for end in ["commit", "commit", "rollback"] {
        holder.run("begin");
        // Whatever row it is given the second time, it holds both.
        sent_by(holder);
        sent_by(holder);
        let longest = std::thread::scope(|threads| {
            let sent = |session: &mut Session| (0..EACH).map(|_| sent_by(session)).max().unwrap();
            let all: Vec<_> = others.iter_mut().map(|session| threads.spawn(move || sent(session))).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
        });
        assert!(longest < AT_MOST, "{end}: one was held up for {longest:?}");
        so_far += OTHERS * EACH;
        assert_eq!(counted("sum(callbacks)"), so_far, "{end}");
        holder.run(end);
        so_far += if end == "commit" { 2 } else { 0 };
        assert_eq!(counted("sum(callbacks)"), so_far, "{end}");
    }
    // Bounded by how many had not ended at once, however many were sent: one of each of the others, two of the holder.
    assert!((2..=OTHERS + 2).contains(&counted("count(*)")), "{}", counted("count(*)"));
    assert!((1..=OTHERS + 1).contains(&noted().parse().unwrap()), "{}", noted());
    assert_eq!(
        shop.superuser
            .value("select count(*) from app.gateway_events e join app.gateway_tallies t on t.first_event = e.id"),
        noted()
    );
    // Whoever else holds the rows holds nobody up, either.
    let lock = shop.db.superuser();
    lock.run("begin; select from app.gateway_tallies for update");
    assert!(sent_by(&others[0]) < AT_MOST);
    lock.run("rollback");
    assert_eq!(counted("sum(callbacks)"), so_far + 1);
    books_hold(&shop);
}

#[test]
fn a_callback_is_for_backends() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "10.00");
    let callback = paid(&tx_no, "T1", 1000).sql("wechat");
    for session in [shop.db.user(ming.id), shop.db.anon()] {
        session.denied(&callback);
        session.denied("select * from app.reverify_event(1)");
        session.denied("select * from app.gateway_events");
    }
    assert_eq!(shop.balance(&ming.card), "0.00");
}

#[test]
fn nothing_holds_a_callback_up_for_longer_than_the_gateway_waits() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "10.00");
    let callback = paid(&tx_no, "T1", 1000);
    let holder = shop.db.superuser();
    let locks = format!("begin; select 1 from app.personal_cards where id = '{}' for update", ming.card);
    holder.run(&locks);
    let began = Instant::now();
    let ended = shop.backend.failure(&callback.sql("wechat"));
    assert_eq!(ended.code, "57014");
    assert!((2.5..4.5).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
    // A shorter statement_timeout is its own; a longer one goes on after the callback.
    let session = shop.db.backend();
    session.run("set statement_timeout = '500ms'");
    let began = Instant::now();
    assert_eq!(session.failure(&callback.sql("wechat")).code, "57014");
    assert!(began.elapsed().as_secs_f64() < 2.0);
    holder.run("rollback");
    session.run("set statement_timeout = '4s'");
    let both = format!("select (select outcome from ({}) x), pg_sleep(6)", callback.sql("wechat"));
    let began = Instant::now();
    assert_eq!(session.failure(&both).code, "57014");
    assert!((3.5..5.5).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
    assert_eq!(outcome(&shop, &callback), "credited");
    session.run("set statement_timeout = 0");
    let both = format!("select (select outcome from ({}) x), pg_sleep(3.5)", callback.sql("wechat"));
    assert_eq!(session.column(&both), ["replayed"]);
    books_hold(&shop);
}

#[test]
fn an_account_that_is_closed_while_a_callback_waits_credits_nothing() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "10.00");
    let holder = shop.db.superuser();
    holder.run(&format!("begin; select 1 from app.personal_cards where id = '{}' for update", ming.card));
    let callback = paid(&tx_no, "T1", 1000).sql("wechat");
    let waiting = Waiting::start(shop.db.backend(), &shop.superuser, callback);
    let end = format!(
        "select app.set_gateway_key('wechat', 'wechat_public_key', '{}', '{}', null, now())",
        mps_sender::WECHAT_KEY_ID,
        mps_sender::WECHAT_PUBLIC_KEY
    );
    shop.superuser.run(&end);
    holder.run("rollback");
    waiting.end().unwrap_err().must_be("STATUS_CONFLICT", "a callback whose key was ended meanwhile");
    assert_eq!((shop.balance(&ming.card), status(&shop, &tx_no).as_str()), ("0.00".into(), "processing"));
    books_hold(&shop);
}

#[test]
fn an_event_is_proved_again_as_long_as_its_key_is_there() {
    let shop = open();
    let (_, tx_no) = asked(&shop, "10.00");
    take(&shop.backend, &paid(&tx_no, "T1", 1000));
    take(&shop.backend, &alipay("ORDER-9", "A1", "7.00", "TRADE_SUCCESS", &[]));
    shop.backend.row(&mps_sender::wechat_signed(b"{}".to_vec(), mps_sender::now()).sql("wechat"));
    let ids = shop.superuser.column("select id from app.gateway_events order by id");
    let prove = |id: &str| format!("select * from app.reverify_event({id})");
    // Years later the key has run out.
    shop.superuser.run("update sec.gateway_keys set valid_until = now() - interval '1 second'");
    let keys: Vec<_> = ids.iter().map(|id| shop.backend.row(&prove(id))["key_id"].to_owned()).collect();
    assert_eq!(keys, [mps_sender::WECHAT_KEY_ID, "ali", mps_sender::WECHAT_KEY_ID]);
    shop.superuser.run(&format!(
        "update app.gateway_events set body = set_byte(body, 20, get_byte(body, 20) # 1) where id = {}",
        ids[0]
    ));
    shop.backend.refused("SIGNATURE_INVALID", &prove(&ids[0]));
    shop.superuser.run("delete from sec.gateway_keys where account = 'alipay'");
    shop.backend.refused("SIGNATURE_INVALID", &prove(&ids[1]));
    shop.backend.refused("TX_NOT_FOUND", &prove("0"));
}

#[test]
fn what_is_said_of_a_callback_and_what_it_did_are_the_same() {
    let shop = open();
    let (_, tx_no) = asked(&shop, "10.00");
    take(&shop.backend, &paid(&tx_no, "T1", 1000));
    let found = |change: &str| {
        let session = shop.db.superuser();
        session.run(&format!("begin; set local session_replication_role = replica; {change}"));
        let found = session.column("select check_name from app.verify_books() where ok is not true");
        session.run("rollback");
        found.contains(&"callbacks".to_owned())
    };
    assert!(!found("select 1"));
    for change in [
        "update app.gateway_events set verified = false",
        "update app.gateway_events set tx_no = null",
        "update app.gateway_events set amount = 11",
        "update app.gateway_events set trade_no = 'T2'",
        "update app.gateway_events set outcome = 'noted'",
        "update app.transactions set gateway_trade_no = 'T2' where tx_no = (select tx_no from app.gateway_events)",
        "update app.gateway_events set id = id - 1",
    ] {
        assert!(found(change), "{change}");
    }
    let twice = "insert into app.gateway_events select id + 1, received_at, happened_at, amount, verified, account, provider, kind, \
                 event_key, key_id, outcome, reason, tx_no, trade_no, out_trade_no, headers, body from app.gateway_events";
    assert!(found(twice));
}

#[test]
fn the_time_of_a_callback_ends_with_its_call() {
    let shop = open();
    // Whoever writes and logs nothing asks at the end whether it may: that waits as well.
    let holder = shop.db.superuser();
    holder.run("begin; lock table audit.event_log in share row exclusive mode");
    let began = Instant::now();
    let forged = "select * from app.gateway_notify('wechat', '{}', 'x')";
    assert_eq!(shop.backend.failure(forged).code, "57014");
    assert!((2.5..4.5).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
    holder.run("rollback");
    assert_eq!(&shop.backend.row(forged)["outcome"], "refused");
    assert_eq!(shop.superuser.value("select callbacks from app.gateway_tallies"), "1");
}

#[test]
fn what_a_gateway_has_signed_is_kept_whole_where_it_is_refused() {
    let shop = open();
    let kept = |reason: &str| {
        shop.superuser
            .row(&format!("select verified, key_id, length(body) n from app.gateway_events where reason = '{reason}'"))
    };
    // Its own text could be read as another amount.
    let two_ways = alipay("ORDER-9", "A1", "7.00", "TRADE_SUCCESS", &[("subject", Some("a&total_amount=9999.00&b=c"))]);
    assert_eq!(outcome(&shop, &two_ways), "refused form_ambiguous");
    let row = kept("form_ambiguous");
    assert_eq!(row.values(), ["t", "ali", &two_ways.body.len().to_string()]);
    // The key that would open it is not here.
    shop.superuser.run("update sec.gateway_keys set sealed = true where kind = 'wechat_apiv3_key'");
    let closed = paid("ORDER-9", "T1", 700);
    let answer = take(&shop.backend, &closed);
    assert_eq!(["status", "outcome", "reason"].map(|n| answer[n].to_owned()), ["503", "refused", "master_key"]);
    assert_eq!(kept("master_key").values(), ["t", mps_sender::WECHAT_KEY_ID, &closed.body.len().to_string()]);
    let ids = shop.superuser.column("select id from app.gateway_events");
    ids.iter().for_each(|id| drop(shop.backend.row(&format!("select * from app.reverify_event({id})"))));
}

#[test]
fn what_comes_again_and_does_something_else_is_written_down() {
    let shop = open();
    let went_back = refund("console-1", "T1", "ORDER-9", 700, "SUCCESS");
    assert_eq!(outcome(&shop, &went_back), "noted refund_not_asked");
    assert_eq!(outcome(&shop, &paid("ORDER-9", "T1", 700)), "suspense order_unknown");
    assert_eq!(outcome(&shop, &went_back), "noted refund_completed");
    assert_eq!(outcome(&shop, &went_back), "replayed refund_completed");
    // They repeat for some 25 hours. Within the month, whose tables are there.
    shop.superuser.run(
        "create temp table came as select id, received_at from app.gateway_events; \
         update app.gateway_events set received_at = greatest(received_at - interval '26 hours', \
            date_trunc('month', received_at at time zone 'UTC') at time zone 'UTC')",
    );
    assert_eq!(outcome(&shop, &went_back), "replayed refund_completed");
    shop.superuser.run("update app.gateway_events e set received_at = c.received_at from came c where c.id = e.id");
    let told = "select coalesce(reason, '') from app.gateway_events order by id";
    assert_eq!(shop.superuser.column(told), ["refund_not_asked", "order_unknown", "refund_completed"]);
    assert_eq!(&suspended(&shop)[0]["status"], "refunded");
    books_hold(&shop);
}

#[test]
fn another_amount_of_a_number_that_was_written_with_white_space_is_a_conflict() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "10.00");
    shop.backend.row(&confirm(&tx_no, "10", "G1"));
    // As releases before 0.3.0 kept it.
    shop.superuser.run(&format!(
        "update app.transactions set gateway_trade_no = 'G1 ' where tx_no = '{tx_no}'; \
         update app.external_orders set order_id = 'G1 ' where order_id = 'G1'"
    ));
    assert_eq!(outcome(&shop, &paid(&tx_no, "G1", 1001)), "conflict amount_differs");
    assert_eq!(outcome(&shop, &paid(&tx_no, "G1", 1000)), "replayed");
    assert_eq!((shop.balance(&ming.card), suspended(&shop).len()), ("10.00".into(), 0));
}

#[test]
fn whoever_looks_at_health_sees_callbacks_that_nobody_takes() {
    let shop = Shop::open();
    let health =
        |shop: &Shop| shop.superuser.rows("select ok, detail from app.health() where check_name = 'gateway_callbacks'");
    assert_eq!(health(&shop), [] as [Row; 0]);
    shop.superuser.run(&set_up());
    let is = |ok: &str, says: &str| {
        let row = &health(&shop)[0];
        assert!(&row["ok"] == ok && row["detail"].contains(says), "{row:?}");
    };
    is("t", "none to look at");
    let (_, tx_no) = asked(&shop, "10.00");
    // What anybody can send is nothing to wake somebody for.
    shop.backend.row("select * from app.gateway_notify('wechat', '{}', 'x')");
    is("t", "none to look at");
    // But the gateway may have a new key, until it is seen that it has not.
    let mut rotated = paid(&tx_no, "T1", 1000);
    rotated.headers["wechatpay-serial"] = "PUB_KEY_ID_2".into();
    assert_eq!(outcome(&shop, &rotated), "refused serial_unknown");
    is("f", "wechat: refused (serial_unknown), the last at");
    assert_eq!(outcome(&shop, &paid(&tx_no, "T1", 1000)), "credited");
    is("t", "none to look at");
    // A signed word against the books, and one that cannot be read.
    assert_eq!(outcome(&shop, &paid(&tx_no, "T1", 1)), "conflict amount_differs");
    is("f", "wechat: conflict (amount_differs), the last at");
    shop.superuser.run("update sec.gateway_keys set sealed = true where kind = 'wechat_apiv3_key'");
    assert_eq!(outcome(&shop, &paid(&tx_no, "T1", 1000)), "refused master_key");
    is("f", "wechat: refused (master_key)");
}

#[test]
fn of_what_went_back_in_part_no_more_is_given_than_is_left() {
    let shop = open();
    let ming = shop.member("0");
    let amounts = |trade: &str| {
        shop.superuser.value(&format!(
            "select amount || ' ' || status from app.suspense_payments where gateway_trade_no = '{trade}'"
        ))
    };
    // Alipay says how much went back so far.
    let part = |fee: &str| {
        let fields = [("refund_fee", Some(fee)), ("gmt_refund", Some("2026-11-26 12:00:00"))];
        alipay("ORDER-9", "A1", "100.00", "TRADE_SUCCESS", &fields)
    };
    assert_eq!(outcome(&shop, &alipay("ORDER-9", "A1", "100.00", "TRADE_SUCCESS", &[])), "suspense order_unknown");
    assert_eq!(outcome(&shop, &part("40.00")), "noted partly_refunded");
    assert_eq!(outcome(&shop, &part("40.00")), "replayed partly_refunded");
    assert_eq!(amounts("A1"), "60.00 open");
    assert_eq!(outcome(&shop, &part("55.00")), "noted partly_refunded");
    // An older word that comes later takes nothing back.
    assert_eq!(outcome(&shop, &part("40.00")), "noted refund_not_asked");
    assert_eq!(amounts("A1"), "45.00 open");
    assert_eq!(outcome(&shop, &part("100.00")), "noted refunded");
    assert_eq!(amounts("A1"), "45.00 refunded");
    // WeChat says how much each refund is.
    assert_eq!(outcome(&shop, &paid("ORDER-9", "T1", 700)), "suspense order_unknown");
    let went = |number: &str, fen: i64| refund(number, "T1", "ORDER-9", fen, "SUCCESS");
    assert_eq!(outcome(&shop, &went("console-1", 200)), "noted partly_refunded");
    assert_eq!(outcome(&shop, &went("console-1", 200)), "replayed partly_refunded");
    assert_eq!(outcome(&shop, &refund("console-2", "T1", "ORDER-9", 100, "CLOSED")), "noted refund_not_asked");
    assert_eq!(outcome(&shop, &went("console-3", 600)), "noted refund_not_asked");
    assert_eq!(amounts("T1"), "5.00 open");
    // The same refund at the same instant, and somebody who credits: whoever comes first, no cent is given twice.
    let id = shop.superuser.value("select id from app.suspense_payments where gateway_trade_no = 'T1'");
    let credit = format!("select * from app.resolve_suspense({id}, 'credited', 'his', '{}')", ming.card);
    let mut jobs: Vec<_> = (0..3).map(|_| (shop.db.backend(), went("console-4", 300).sql("wechat"))).collect();
    jobs.push((shop.db.backend(), credit));
    together(jobs).into_iter().for_each(|answer| drop(answer.unwrap()));
    let given = shop.balance(&ming.card);
    assert!(["2.00", "5.00"].contains(&given.as_str()), "{given}");
    assert_eq!(amounts("T1"), format!("{given} credited"));
    books_hold(&shop);
}
