//! Bills of payment gateways beside the books and the callbacks: what differs, what becomes of it, and days that close.

use mps_sender::bill::{self, Line};
use mps_sender::{Payment, refund, set_up};
use mps_tests::{Member, NULL, Row, Session, Shop, together};

/// The day that callbacks of the sender are of.
const DAY: &str = "2026-11-26";

fn open() -> Shop {
    let shop = Shop::open();
    shop.superuser.run(&set_up());
    shop
}

fn asked(shop: &Shop, amount: &str) -> (Member, String) {
    let ming = shop.member("0");
    let tx_no = shop.pending(&ming, amount);
    (ming, tx_no)
}

/// A recharge of so many fen whose callback came.
fn told(shop: &Shop, fen: i64) -> (Member, String, String) {
    let (ming, tx_no) = asked(shop, &format!("{}.{:02}", fen / 100, fen % 100));
    let trade = format!("4200{tx_no}");
    let callback = Payment { order: &tx_no, trade: &trade, fen, state: "SUCCESS" }.sent();
    assert_eq!(&shop.backend.row(&callback.sql("wechat"))["outcome"], "credited");
    (ming, tx_no, trade)
}

fn confirmed(shop: &Shop, fen: i64) -> (Member, String, String) {
    let amount = format!("{}.{:02}", fen / 100, fen % 100);
    let (ming, tx_no) = asked(shop, &amount);
    let trade = format!("4200{tx_no}");
    shop.backend.row(&format!("select * from app.confirm_recharge('{tx_no}', {amount}, '{trade}')"));
    (ming, tx_no, trade)
}

/// A recharge that a backend reports, without the gateway's number.
fn by_wechat(shop: &Shop, member: &Member, amount: &str) -> String {
    let sql = format!("select * from app.user_recharge_personal_card('{}', {amount}, 'wechat')", member.card);
    shop.backend.row(&sql)["tx_no"].to_owned()
}

/// As if the only movement of a card had been posted at another moment.
fn posted(shop: &Shop, tx_no: &str, at: &str) {
    shop.superuser.run(&format!(
        "update app.transactions set posted_at = {at} where tx_no = '{tx_no}'; \
         update app.personal_cards c set last_posted_at = t.posted_at from app.transactions t \
         where t.tx_no = '{tx_no}' and c.id = t.card_id"
    ));
}

/// The gateways' day of now.
fn today(shop: &Shop) -> String {
    shop.superuser.value("select sec.recon_day(now())")
}

/// Today, whose neighbours have had nothing: so that at no hour anything waits for their bills.
fn today_alone(shop: &Shop) -> String {
    let day = today(shop);
    for other in [-1, 1] {
        import(shop, &shop.superuser.value(&format!("select '{day}'::date + {other}")), &[]);
    }
    day
}

#[track_caller]
fn import(shop: &Shop, day: &str, lines: &[Line]) -> Row {
    shop.backend.row(&bill::import("wechat", day, "trade", &bill::wechat(day, lines)))
}

/// Class, items and amount of a day.
#[track_caller]
fn reconcile(session: &Session, day: &str) -> Vec<String> {
    let rows = session.rows(&format!("select * from app.reconcile('wechat', '{day}')"));
    rows.iter().map(|r| format!("{} {} {}", &r["class"], &r["items"], &r["amount"])).collect()
}

/// What the items of a day say.
fn items(shop: &Shop, day: &str) -> Vec<String> {
    let sql = format!("select * from app.recon_items where bill_date = '{day}' order by entry, ref");
    let shown = |r: &Row| {
        let names = ["entry", "class", "book_amount", "bill_amount", "status"];
        names.map(|name| r[name].to_owned()).join(" ")
    };
    shop.backend.rows(&sql).iter().map(shown).collect()
}

#[track_caller]
fn item(shop: &Shop, class: &str) -> String {
    shop.backend.value(&format!("select id from app.recon_items where class = '{class}' and status = 'open'"))
}

fn resolve(id: &str, word: &str) -> String {
    format!("select * from app.resolve_recon_item({id}, '{word}', 'as seen')")
}

fn close(day: &str) -> String {
    format!("select * from app.close_recon_day('wechat', '{day}')")
}

#[track_caller]
fn books_hold(shop: &Shop) {
    assert_eq!(shop.superuser.rows("select * from app.verify_books() where ok is not true"), [] as [Row; 0]);
}

fn health(shop: &Shop, check: &str) -> Row {
    shop.superuser.row(&format!("select ok, detail from app.health() where check_name = '{check}'"))
}

#[test]
fn a_day_that_is_alike_closes_and_a_corrected_bill_opens_it_again() {
    let shop = open();
    let (_, first, trade) = told(&shop, 50_000);
    let (_, second, other) = told(&shop, 1);
    let lines = [Line::payment(&trade, &first, 50_000), Line { fee: 1, ..Line::payment(&other, &second, 1) }];
    let row = import(&shop, DAY, &lines);
    let names = ["lines", "payments", "payment_total", "refunds", "fee_total", "replaced", "replayed", "warnings"];
    assert_eq!(names.map(|n| row[n].to_owned()), ["2", "2", "500.01", "0", "0.00001", "f", "f", "{}"]);
    let again = import(&shop, DAY, &lines);
    assert_eq!((&again["replayed"], &again["bill_id"]), ("t", &row["bill_id"]));
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 2 500.01"]);
    let closed = shop.backend.row(&close(DAY));
    assert_eq!((&closed["replayed"], &closed["bill_date"]), ("f", DAY));
    assert_eq!(&shop.backend.row(&close(DAY))["replayed"], "t");
    let names = "bill_payments, bill_payment_total, book_payments, book_payment_total, callbacks, callback_total, fees, net, open_items";
    let day = shop.backend.row(&format!("select concat_ws(' ', {names}) says, closed_at from app.v_recon_days"));
    assert_eq!(&day["says"], "2 500.01 2 500.01 2 500.01 0.00001 500.01 0");
    assert_ne!(&day["closed_at"], NULL);
    books_hold(&shop);
    assert_eq!(&health(&shop, "gateway_days")["ok"], "t");

    // The gateway corrects itself: one payment less.
    let row = import(&shop, DAY, &lines[..1]);
    assert_eq!((&row["replaced"], &row["replayed"]), ("t", "f"));
    assert_eq!(shop.backend.value("select closed_at from app.v_recon_days"), NULL);
    assert_eq!(&health(&shop, "gateway_days")["ok"], "f");
    shop.backend.refused("RECON_CONFLICT", &close(DAY));
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 1 500.00", "only_in_books 1 0.01"]);
    assert_eq!(items(&shop, DAY), ["payment only_in_books 0.01 NULL open"]);
    assert_eq!(&shop.backend.row(&resolve(&item(&shop, "only_in_books"), "explained"))["status"], "resolved");
    shop.backend.row(&close(DAY));
    assert_eq!(&health(&shop, "gateway_days")["ok"], "t");
    books_hold(&shop);
    // Both are kept, and the lines of the one that counts.
    assert_eq!(shop.backend.value("select count(*) from app.gateway_bill_files"), "2");
    assert_eq!(shop.backend.value("select count(*) from app.gateway_bill_lines"), "1");
}

#[test]
fn callback_and_bill_end_the_same_in_either_order() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "20.00");
    import(&shop, DAY, &[Line::payment("4200001", &tx_no, 2000)]);
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 0 0.00", "status_differs 1 20.00"]);
    let callback = Payment { order: &tx_no, trade: "4200001", fen: 2000, state: "SUCCESS" }.sent();
    assert_eq!(&shop.backend.row(&callback.sql("wechat"))["outcome"], "credited");
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 1 20.00"]);
    let kept = shop.backend.row("select status, resolution from app.recon_items");
    assert_eq!((&kept["status"], &kept["resolution"]), ("resolved", "settled"));
    shop.backend.row(&close(DAY));
    assert_eq!(shop.balance(&ming.card), "20.00");
    books_hold(&shop);
}

#[test]
fn what_the_bill_has_is_credited_as_by_its_callback() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "20.00");
    let (hong, failed) = asked(&shop, "30.00");
    shop.backend.row(&format!("select * from app.fail_recharge('{failed}', 'declined')"));
    let (_, other) = asked(&shop, "40.00");
    import(
        &shop,
        DAY,
        &[
            Line::payment("4200001", &tx_no, 2000),
            Line::payment("4200002", &failed, 3000),
            Line::payment("4200003", &other, 4001),
            Line::payment("4200004", "of-somebody-else", 5000),
        ],
    );
    assert_eq!(
        reconcile(&shop.backend, DAY),
        ["matched 0 0.00", "amount_differs 1 40.01", "only_in_bill 1 50.00", "status_differs 2 50.00"]
    );
    let ids = shop.backend.rows("select id, trade_no from app.recon_items order by trade_no");
    let ids: Vec<&str> = ids.iter().map(|r| &r["id"]).collect();
    let said = |word: &str, id: &str| {
        let row = shop.backend.row(&resolve(id, word));
        let again = shop.backend.row(&resolve(id, word));
        assert_eq!((&row["replayed"], &again["replayed"]), ("f", "t"));
        for name in ["tx_no", "suspense_id", "out_refund_no", "receivable", "resolution"] {
            assert_eq!(row[name], again[name], "{name}");
        }
        row
    };
    assert_eq!(&said("credit", ids[0])["tx_no"], tx_no);
    assert_eq!(&said("credit", ids[1])["tx_no"], failed);
    assert_ne!(&said("credit", ids[2])["suspense_id"], NULL);
    let back = said("refund", ids[3]);
    assert!(back["out_refund_no"].starts_with("SR"), "{back:?}");
    shop.backend.refused("RECON_CONFLICT", &resolve(ids[3], "credit"));
    assert_eq!((shop.balance(&ming.card), shop.balance(&hong.card)), ("20.00".into(), "30.00".into()));
    let rows = shop
        .backend
        .rows("select gateway_trade_no || ' ' || amount || ' ' || status s from app.suspense_payments order by 1");
    let rows: Vec<&str> = rows.iter().map(|r| &r["s"]).collect();
    assert_eq!(rows, ["4200003 40.01 open", "4200004 50.00 refunding"]);
    assert_eq!(reconcile(&shop.backend, DAY)[0], "matched 4 140.01");
    shop.backend.row(&close(DAY));
    books_hold(&shop);
    // A callback that comes later finds it done.
    let late = Payment { order: &tx_no, trade: "4200001", fen: 2000, state: "SUCCESS" }.sent();
    assert_eq!(&shop.backend.row(&late.sql("wechat"))["outcome"], "replayed");
}

#[test]
fn a_refund_at_the_console_is_taken_back_and_what_is_spent_is_owed() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    shop.charge(&ming, "30.00");
    import(&shop, DAY, &[Line::payment(&trade, &tx_no, 10_000), Line::refund(&trade, &tx_no, 10_000, "console-1")]);
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 1 100.00", "only_in_bill 1 100.00"]);
    let id = item(&shop, "only_in_bill");
    let row = shop.backend.row(&resolve(&id, "debit"));
    assert_eq!((&row["receivable"], shop.balance(&ming.card)), ("30.00", "0.00".into()));
    assert_eq!(&health(&shop, "gateway_receivables")["ok"], "f");
    shop.backend.row(&close(DAY));
    // Nothing there: it is owed as before. Then some, and the rest.
    assert_eq!(&shop.backend.row(&resolve(&id, "debit"))["receivable"], "30.00");
    shop.recharge(&ming.card, "10.00");
    assert_eq!(&shop.backend.row(&resolve(&id, "debit"))["receivable"], "20.00");
    shop.recharge(&ming.card, "50.00");
    assert_eq!(&shop.backend.row(&resolve(&id, "debit"))["receivable"], "0.00");
    assert_eq!(&shop.backend.row(&resolve(&id, "debit"))["replayed"], "t");
    assert_eq!(shop.balance(&ming.card), "30.00");
    assert_eq!(shop.superuser.rows("select from app.health() where check_name = 'gateway_receivables'").len(), 0);
    shop.backend.refused("RECON_CONFLICT", &resolve(&id, "write_off"));
    books_hold(&shop);
}

#[test]
fn what_is_owed_can_be_written_off() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    shop.charge(&ming, "100.00");
    import(&shop, DAY, &[Line::payment(&trade, &tx_no, 10_000), Line::refund(&trade, &tx_no, 4_000, "console-1")]);
    reconcile(&shop.backend, DAY);
    let id = item(&shop, "only_in_bill");
    assert_eq!(&shop.backend.row(&resolve(&id, "debit"))["receivable"], "40.00");
    let row = shop.backend.row(&resolve(&id, "write_off"));
    assert_eq!((&row["receivable"], &row["resolution"]), ("0.00", "write_off"));
    assert_eq!(&shop.backend.row(&resolve(&id, "write_off"))["replayed"], "t");
    books_hold(&shop);
}

#[test]
fn no_more_is_taken_back_than_was_credited() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    shop.recharge(&ming.card, "500.00");
    shop.backend.row(&format!("select * from app.compensate_tx('{tx_no}', -60, 'the shop did it by hand', 'k1')"));
    import(&shop, DAY, &[Line::payment(&trade, &tx_no, 10_000), Line::refund(&trade, &tx_no, 5_000, "console-1")]);
    reconcile(&shop.backend, DAY);
    let id = item(&shop, "only_in_bill");
    shop.backend.refused("RECON_CONFLICT", &resolve(&id, "debit"));
    shop.backend.row(&resolve(&id, "explained"));
    assert_eq!(shop.balance(&ming.card), "540.00");
}

#[test]
fn words_that_come_at_once_move_money_once() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    shop.recharge(&ming.card, "500.00");
    let (hong, waits) = asked(&shop, "20.00");
    import(
        &shop,
        DAY,
        &[
            Line::payment(&trade, &tx_no, 10_000),
            Line::refund(&trade, &tx_no, 5_000, "console-1"),
            Line::payment("4200009", &waits, 2000),
        ],
    );
    reconcile(&shop.backend, DAY);
    // Before anything is said: the callback and a day that is reconciled may settle the second.
    let words =
        [("only_in_bill", "debit"), ("status_differs", "credit")].map(|(class, word)| (item(&shop, class), word));
    for (id, word) in words {
        let callback = Payment { order: &waits, trade: "4200009", fen: 2000, state: "SUCCESS" }.sent();
        let reconciling = format!("select * from app.reconcile('wechat', '{DAY}')");
        let said = (0..6).map(|_| (shop.db.backend(), resolve(&id, word)));
        let others = [callback.sql("wechat"), reconciling].map(|sql| (shop.db.backend(), sql));
        for answer in together(others.into_iter().chain(said).collect()) {
            if let Err(failure) = answer {
                failure.must_be("RECON_CONFLICT", word);
            }
        }
    }
    assert_eq!((shop.balance(&ming.card), shop.balance(&hong.card)), ("550.00".into(), "20.00".into()));
    shop.backend.row(&close(DAY));
    books_hold(&shop);
}

#[test]
fn what_a_backend_alone_has_confirmed_is_of_the_day_it_was_posted() {
    let shop = open();
    let day = today_alone(&shop);
    let (_, first, trade) = confirmed(&shop, 1234);
    let (_, second, other) = confirmed(&shop, 99);
    import(&shop, &day, &[Line { time: "00:00:01", ..Line::payment(&trade, &first, 1234) }]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 1 12.34", "only_in_books 1 0.99"]);
    // The gateway never had it: it is taken back.
    let row = shop.backend.row(&resolve(&item(&shop, "only_in_books"), "debit"));
    assert!(row["tx_no"].starts_with("TZ"), "{row:?}");
    assert_eq!(
        shop.superuser.value(&format!("select original_tx_no from app.transactions where tx_no = '{}'", &row["tx_no"])),
        second
    );
    shop.backend.row(&close(&day));
    books_hold(&shop);
    let _ = other;
}

#[test]
fn a_payment_that_the_next_day_s_bill_has_settles_itself() {
    let shop = open();
    let day = today(&shop);
    let tomorrow = shop.superuser.value(&format!("select '{day}'::date + 1"));
    let (_, tx_no, trade) = confirmed(&shop, 500);
    // As if it had been posted a moment before midnight.
    posted(&shop, &tx_no, &format!("sec.recon_day_start('{tomorrow}') - interval '3 s'"));
    import(&shop, &day, &[]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00", "timing 1 5.00"]);
    shop.backend.refused("RECON_CONFLICT", &close(&day));
    import(&shop, &tomorrow, &[Line { time: "00:00:02", ..Line::payment(&trade, &tx_no, 500) }]);
    assert_eq!(reconcile(&shop.backend, &tomorrow), ["matched 0 0.00", "timing 1 5.00"]);
    let sql = "select bill_date || ' ' || class || ' ' || status || ' ' || coalesce(book_amount, 0) || ' ' || coalesce(bill_amount, 0) \
               from app.recon_items order by 1";
    assert_eq!(
        shop.backend.column(sql),
        [format!("{day} timing resolved 5.00 0"), format!("{tomorrow} timing resolved 5.00 5.00")]
    );
    shop.backend.row(&close(&day));
    shop.backend.row(&close(&tomorrow));
}

#[test]
fn what_no_neighbour_has_either_is_only_in_the_books() {
    let shop = open();
    let day = today(&shop);
    let tomorrow = shop.superuser.value(&format!("select '{day}'::date + 1"));
    let (_, tx_no, _) = confirmed(&shop, 500);
    posted(&shop, &tx_no, &format!("sec.recon_day_start('{tomorrow}') - interval '3 s'"));
    import(&shop, &day, &[]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00", "timing 1 5.00"]);
    import(&shop, &tomorrow, &[]);
    assert_eq!(reconcile(&shop.backend, &tomorrow), ["matched 0 0.00"]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00", "only_in_books 1 5.00"]);
    assert_eq!(items(&shop, &day), ["payment only_in_books 5.00 NULL open"]);
}

#[test]
fn a_trade_number_twice_and_two_for_one_recharge() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 1000);
    let lines = [
        Line::payment(&trade, &tx_no, 1000),
        Line::payment(&trade, &tx_no, 1000),
        Line::payment("4200007", &tx_no, 1000),
    ];
    import(&shop, DAY, &lines);
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 1 10.00", "duplicate 2 20.00"]);
    let ids = shop.backend.column("select id from app.recon_items order by trade_no = '4200007'");
    // The same payment once more is nobody's money; the other one is kept in sight.
    let row = shop.backend.row(&resolve(&ids[0], "credit"));
    assert_eq!((&row["tx_no"], &row["suspense_id"]), (tx_no.as_str(), NULL));
    let row = shop.backend.row(&resolve(&ids[1], "credit"));
    assert_ne!(&row["suspense_id"], NULL);
    assert_eq!(shop.balance(&ming.card), "10.00");
    assert_eq!(shop.backend.value("select reason from app.suspense_payments"), "already_settled");
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 2 20.00", "duplicate 1 10.00"]);
    shop.backend.row(&close(DAY));
    books_hold(&shop);
    // A second bill has the first payment again.
    import(&shop, "2026-11-27", &[Line::payment(&trade, &tx_no, 1000)]);
    assert_eq!(reconcile(&shop.backend, "2026-11-27")[1], "duplicate 1 10.00");
}

#[test]
fn fees_are_those_of_the_account_s_rate() {
    let shop = open();
    let config =
        format!(r#"{{"mchid": "{}", "appids": ["{}"], "fee_rate": 0.006}}"#, mps_sender::MCHID, mps_sender::APPID);
    shop.superuser.run(&format!("select app.set_gateway_account('wechat', 'wechat', '{config}')"));
    let (_, first, trade) = told(&shop, 10_000);
    let (_, second, other) = told(&shop, 10_000);
    // 0.60 would be right; 0.609 is within a cent, 0.61 is not.
    let lines = [
        Line { fee: 60_900, ..Line::payment(&trade, &first, 10_000) },
        Line { fee: 61_000, ..Line::payment(&other, &second, 10_000) },
    ];
    import(&shop, DAY, &lines);
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 2 200.00", "fee_differs 1 0.61"]);
    assert_eq!(items(&shop, DAY), ["fee fee_differs 0.60 0.61 open"]);
    let id = item(&shop, "fee_differs");
    for word in ["credit", "debit", "refund"] {
        shop.backend.refused("RECON_CONFLICT", &resolve(&id, word));
    }
    shop.backend.row(&resolve(&id, "write_off"));
    shop.backend.row(&close(DAY));
    books_hold(&shop);
}

#[test]
fn a_refund_of_what_is_in_suspense_is_matched_when_the_gateway_or_somebody_says_so() {
    let shop = open();
    let callback = Payment { order: "no-order-of-ours", trade: "4200001", fen: 700, state: "SUCCESS" }.sent();
    assert_eq!(&shop.backend.row(&callback.sql("wechat"))["outcome"], "suspense");
    let suspense = shop.backend.value("select id from app.suspense_payments");
    let asked = shop.backend.row(&format!("select * from app.resolve_suspense({suspense}, 'refunded', 'not ours')"));
    let number = asked["out_refund_no"].to_owned();
    let paid = Line::payment("4200001", "no-order-of-ours", 700);
    let going = Line { refund: Some((&number, "PROCESSING")), ..paid.clone() };
    import(&shop, DAY, &[paid.clone(), going]);
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 2 14.00"]);
    import(&shop, DAY, &[paid.clone(), Line::refund("4200001", "no-order-of-ours", 700, &number)]);
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 1 7.00", "status_differs 1 7.00"]);
    let told = refund(&number, "4200001", "no-order-of-ours", 700, "SUCCESS");
    shop.backend.row(&told.sql("wechat"));
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 2 14.00"]);
    shop.backend.row(&close(DAY));
    books_hold(&shop);
}

#[test]
fn a_refund_at_the_console_of_what_waits_ends_it() {
    let shop = open();
    let callback = Payment { order: "no-order-of-ours", trade: "4200001", fen: 700, state: "SUCCESS" }.sent();
    shop.backend.row(&callback.sql("wechat"));
    let order = "no-order-of-ours";
    import(&shop, DAY, &[Line::payment("4200001", order, 700), Line::refund("4200001", order, 300, "console-1")]);
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 1 7.00", "only_in_bill 1 3.00"]);
    let id = item(&shop, "only_in_bill");
    shop.backend.row(&resolve(&id, "debit"));
    assert_eq!(&shop.backend.row(&resolve(&id, "debit"))["replayed"], "t");
    assert_eq!(shop.backend.value("select amount || ' ' || status from app.suspense_payments"), "4.00 open");
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 2 10.00"]);
    shop.backend.row(&close(DAY));
    books_hold(&shop);
}

#[test]
fn a_bill_that_is_damaged_of_another_shop_or_day_is_refused_whole() {
    let shop = open();
    let good = bill::wechat(DAY, &[Line::payment("4200001", "x", 700)]);
    let text = String::from_utf8(good.clone()).unwrap();
    let bad = [
        ("2026-11-25", text.clone(), "line 2 is of"),
        (DAY, text.replace(mps_sender::MCHID, "1900000002"), "line 2: 商户号 is 1900000002"),
        (DAY, text.replace("`7.00,`0.00\r\n", "`7.01,`0.00\r\n"), "line 4"),
        (DAY, text.replace("`JSAPI,", "`JSAPI,`x,"), "line 2 has 28 columns"),
        (DAY, "{\"code\":\"NO_STATEMENT_EXIST\"}".to_owned(), ""),
    ];
    for (day, content, why) in &bad[..4] {
        let failure = shop.backend.refused("BILL_INVALID", &bill::import("wechat", day, "trade", content.as_bytes()));
        assert!(failure.detail.contains(why), "{why}: {failure:?}");
    }
    shop.backend.refused("BILL_INVALID", &bill::import("alipay", DAY, "trade", &good));
    shop.backend.refused("BILL_INVALID", &bill::import("wechat", DAY, "fundflow", &good));
    // Of today it is only not made yet; of a day that is over, there was nothing.
    let (day, content, _) = &bad[4];
    let ahead = shop.superuser.value("select sec.recon_day(now())");
    shop.backend.refused("BILL_INVALID", &bill::import("wechat", &ahead, "trade", content.as_bytes()));
    let row = shop.backend.row(&bill::import("wechat", "2026-11-20", "trade", content.as_bytes()));
    assert_eq!((&row["lines"], row["warnings"].contains("NO_STATEMENT_EXIST")), ("0", true));
    shop.backend.row("select * from app.close_recon_day('wechat', '2026-11-20')");
    shop.backend.row(&bill::import("wechat", day, "trade", &good));
    let alipay = bill::alipay(DAY, &[Line { fee: 60, ..Line::payment("2026112622", "y", 10_000) }]);
    let row = shop.backend.row(&bill::import("alipay", DAY, "trade", &alipay));
    assert_eq!((&row["payment_total"], &row["fee_total"]), ("100.00", "0.00060"));
    for session in [&shop.cashier, &shop.db.user(mps_tests::nobody())] {
        session.denied(&bill::import("wechat", DAY, "trade", &good));
        session.denied(&close(DAY));
    }
}

#[test]
fn a_withdrawal_s_refund_is_paid_for_once_whoever_says_so() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    let withdraw = |key: &str| {
        let sql = format!("select * from app.withdraw('{}', 30, 'moving away', '{key}')", ming.card);
        shop.backend.row(&sql)["refund_no"].to_owned()
    };
    let (first, second) = (withdraw("a"), withdraw("b"));
    shop.backend.row(&format!("select * from app.fail_withdrawal('{second}', 'closed account')"));
    assert_eq!(shop.balance(&ming.card), "70.00");
    let lines = [
        Line::payment(&trade, &tx_no, 10_000),
        Line::refund(&trade, &tx_no, 3_000, &first),
        Line::refund(&trade, &tx_no, 3_000, &second),
    ];
    import(&shop, DAY, &lines);
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 1 100.00", "status_differs 2 60.00"]);
    let item = |number: &str| {
        shop.backend.value(&format!("select id from app.recon_items where refund_no = '{number}' and status = 'open'"))
    };
    // The card has paid for the first; the second it was given back, and the gateway has paid it all the same.
    shop.backend.refused("RECON_CONFLICT", &resolve(&item(&first), "debit"));
    shop.backend.row(&format!("select * from app.confirm_withdrawal('{first}', 30)"));
    let id = item(&second);
    let row = shop.backend.row(&resolve(&id, "debit"));
    assert_eq!((&row["receivable"], shop.balance(&ming.card)), ("0.00", "40.00".into()));
    assert_eq!(&shop.backend.row(&resolve(&id, "debit"))["replayed"], "t");
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 2 130.00", "status_differs 1 30.00"]);
    shop.backend.row(&close(DAY));
    books_hold(&shop);
}

/// A withdrawal of all that a recharge brought, which was given back to the card; its number and the withdrawal's.
fn given_back(shop: &Shop, ming: &Member) -> (String, String) {
    let row = shop.backend.row(&format!("select * from app.withdraw('{}', 100, 'moving away', 'k')", ming.card));
    shop.backend.row(&format!("select * from app.fail_withdrawal('{}', 'closed account')", &row["refund_no"]));
    (row["refund_no"].to_owned(), row["tx_no"].to_owned())
}

#[test]
fn what_a_bill_says_was_paid_after_it_came_back_does_not_go_out_again() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    let (number, _) = given_back(&shop, &ming);
    import(&shop, DAY, &[Line::payment(&trade, &tx_no, 10_000), Line::refund(&trade, &tx_no, 10_000, &number)]);
    reconcile(&shop.backend, DAY);
    shop.charge(&ming, "60.00");
    let id = item(&shop, "status_differs");
    assert_eq!(&shop.backend.row(&resolve(&id, "debit"))["receivable"], "60.00");
    assert_eq!(&health(&shop, "withdrawals")["ok"], "f");
    let charge = "select tx_no from app.transactions where tx_type = 'payment'";
    let pay = shop.superuser.value(charge);
    shop.recharge(&ming.card, "10.00");
    shop.backend.row(&format!("select * from app.compensate_tx('{pay}', 200, 'a gift')"));
    // The payer has all that the recharge brought.
    let out = |amount: u32| {
        format!("select * from app.withdraw('{}', {amount}, 'leaving', 'k2', p_payout => 'cash')", ming.card)
    };
    shop.backend.refused("INSUFFICIENT_BALANCE", &out(11));
    assert_eq!(&shop.backend.row(&resolve(&id, "debit"))["receivable"], "0.00");
    // The gateway's own word comes late; nobody has to look any more.
    let late = refund(&number, &trade, &tx_no, 10_000, "SUCCESS");
    assert_eq!(&shop.backend.row(&late.sql("wechat"))["reason"], "paid_after_return");
    assert_eq!(&health(&shop, "withdrawals")["detail"], "none is open");
    assert_eq!(shop.balance(&ming.card), "150.00");
    books_hold(&shop);
}

#[test]
fn what_was_taken_off_by_a_correction_of_the_withdrawal_is_not_taken_again() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    let (number, withdrawal) = given_back(&shop, &ming);
    shop.recharge(&ming.card, "100.00");
    shop.backend.row(&format!("select * from app.compensate_tx('{withdrawal}', -100, 'paid all the same', 'k')"));
    import(&shop, DAY, &[Line::payment(&trade, &tx_no, 10_000), Line::refund(&trade, &tx_no, 10_000, &number)]);
    reconcile(&shop.backend, DAY);
    shop.backend.refused("RECON_CONFLICT", &resolve(&item(&shop, "status_differs"), "debit"));
    assert_eq!(shop.balance(&ming.card), "100.00");
    books_hold(&shop);
}

#[test]
fn a_refund_that_failed_by_the_bill_as_well_is_no_difference() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    let (number, _) = given_back(&shop, &ming);
    let failed = Line { refund: Some((&number, "FAIL")), ..Line::payment(&trade, &tx_no, 10_000) };
    import(&shop, DAY, &[Line::payment(&trade, &tx_no, 10_000), failed]);
    reconcile(&shop.backend, DAY);
    assert_eq!(items(&shop, DAY), [] as [String; 0]);
    shop.backend.row(&close(DAY));
    // One that is on its way may still arrive.
    let going = Line { refund: Some((&number, "PROCESSING")), ..Line::payment(&trade, &tx_no, 10_000) };
    import(&shop, DAY, &[Line::payment(&trade, &tx_no, 10_000), going]);
    reconcile(&shop.backend, DAY);
    assert_eq!(items(&shop, DAY), ["refund status_differs 100.00 100.00 open"]);
    assert_eq!(shop.balance(&ming.card), "100.00");
}

#[test]
fn nothing_is_taken_back_that_a_corrected_bill_has() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    let paid = Line::payment(&trade, &tx_no, 10_000);
    import(&shop, DAY, &[Line::refund(&trade, &tx_no, 1_000, "console-1")]);
    reconcile(&shop.backend, DAY);
    let ids = ["only_in_books", "only_in_bill"].map(|class| item(&shop, class));
    import(&shop, DAY, &[paid]);
    for id in ids {
        let failure = shop.backend.refused("RECON_CONFLICT", &resolve(&id, "debit"));
        assert!(failure.detail.contains("reconcile the day again"), "{failure:?}");
    }
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 1 100.00"]);
    assert_eq!(shop.balance(&ming.card), "100.00");
    // Nor what is of the next day's.
    let (hong, tx_no, trade) = confirmed(&shop, 500);
    let day = today(&shop);
    let tomorrow = shop.superuser.value(&format!("select '{day}'::date + 1"));
    import(&shop, &day, &[]);
    reconcile(&shop.backend, &day);
    let sql = format!("select id from app.recon_items where trade_no = '{trade}'");
    let id = shop.backend.value(&sql);
    import(&shop, &tomorrow, &[Line::payment(&trade, &tx_no, 500)]);
    shop.backend.refused("RECON_CONFLICT", &resolve(&id, "debit"));
    assert_eq!(shop.balance(&hong.card), "5.00");
}

#[test]
fn what_was_taken_back_and_is_there_after_all_is_said() {
    let shop = open();
    let day = today_alone(&shop);
    let (ming, tx_no, trade) = confirmed(&shop, 1_000);
    import(&shop, &day, &[]);
    reconcile(&shop.backend, &day);
    shop.backend.row(&resolve(&item(&shop, "only_in_books"), "debit"));
    assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00", "only_in_books 1 10.00"]);
    shop.backend.row(&close(&day));
    import(&shop, &day, &[Line::payment(&trade, &tx_no, 1_000)]);
    for _ in 0..2 {
        assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00", "status_differs 1 10.00"]);
    }
    let id = item(&shop, "status_differs");
    for word in ["credit", "debit", "refund"] {
        shop.backend.refused("RECON_CONFLICT", &resolve(&id, word));
    }
    shop.backend.row(&format!("select * from app.compensate_tx('{tx_no}', 10, 'it is there', 'k1')"));
    shop.backend.row(&resolve(&id, "explained"));
    shop.backend.row(&close(&day));
    assert_eq!(shop.balance(&ming.card), "10.00");
    books_hold(&shop);
}

/// No bill has it, so it is taken back; and then the gateway says that it was paid.
#[test]
fn what_was_taken_back_before_its_callback_came_is_said() {
    let shop = open();
    let day = today_alone(&shop);
    let (ming, tx_no, trade) = confirmed(&shop, 1_000);
    import(&shop, &day, &[]);
    reconcile(&shop.backend, &day);
    shop.backend.row(&resolve(&item(&shop, "only_in_books"), "debit"));
    shop.backend.row(&close(&day));
    assert_eq!(&health(&shop, "gateway_days")["ok"], "t");
    let mut says = Payment { order: &tx_no, trade: &trade, fen: 1_000, state: "SUCCESS" }.told();
    says["success_time"] = format!("{day}T12:00:00+08:00").into();
    let callback = mps_sender::wechat("TRANSACTION.SUCCESS", &says);
    assert_eq!(&shop.backend.row(&callback.sql("wechat"))["outcome"], "replayed");
    let loud = health(&shop, "gateway_days");
    assert_eq!(
        (&loud["ok"], loud["detail"].contains(&format!("{tx_no} was taken back by TZ"))),
        ("f", true),
        "{loud:?}"
    );
    let closed = format!("select closed_at is not null from app.v_recon_days where bill_date = '{day}'");
    for _ in 0..2 {
        assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00", "status_differs 1 10.00"]);
        assert_eq!(shop.backend.value(&closed), "f");
    }
    let id = item(&shop, "status_differs");
    for word in ["credit", "debit", "refund"] {
        shop.backend.refused("RECON_CONFLICT", &resolve(&id, word));
    }
    assert_eq!(shop.balance(&ming.card), "0.00");
    shop.backend.row(&format!("select * from app.compensate_tx('{tx_no}', 10, 'it was paid', 'k1')"));
    shop.backend.row(&resolve(&id, "explained"));
    shop.backend.row(&close(&day));
    assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00", "status_differs 1 10.00"]);
    assert_eq!((shop.backend.value(&closed).as_str(), &health(&shop, "gateway_days")["ok"]), ("t", "t"));
    assert_eq!(shop.balance(&ming.card), "10.00");
    books_hold(&shop);
}

/// The callback is of another day than the books were: the word about that day ends it, or the money that is given back.
#[test]
fn what_was_taken_back_and_is_of_another_day_is_said_until_it_is_over() {
    for gives_back in [true, false] {
        let shop = open();
        let day = today_alone(&shop);
        let before = shop.superuser.value(&format!("select '{day}'::date - 3"));
        let (_, tx_no, trade) = confirmed(&shop, 1_000);
        import(&shop, &day, &[]);
        reconcile(&shop.backend, &day);
        shop.backend.row(&resolve(&item(&shop, "only_in_books"), "debit"));
        let mut says = Payment { order: &tx_no, trade: &trade, fen: 1_000, state: "SUCCESS" }.told();
        says["success_time"] = format!("{before}T12:00:00+08:00").into();
        shop.backend.row(&mps_sender::wechat("TRANSACTION.SUCCESS", &says).sql("wechat"));
        import(&shop, &before, &[Line::payment(&trade, &tx_no, 1_000)]);
        reconcile(&shop.backend, &day);
        assert_eq!(reconcile(&shop.backend, &before), ["matched 0 0.00", "status_differs 1 10.00"]);
        let said = |needle: &str| health(&shop, "gateway_days")["detail"].contains(needle);
        assert!(said("was taken back by TZ"));
        if gives_back {
            shop.backend.row(&format!("select * from app.compensate_tx('{tx_no}', 10, 'it was paid', 'k1')"));
        } else {
            shop.backend.row(&resolve(&item(&shop, "status_differs"), "explained"));
        }
        assert!(!said("was taken back by TZ"), "{gives_back}");
        books_hold(&shop);
    }
}

/// How long a difference may stay open is the account's to say.
#[test]
fn items_are_named_after_as_many_days_as_their_account_allows() {
    let shop = open();
    import(&shop, DAY, &[Line::payment("4200001", "A-1", 500)]);
    reconcile(&shop.backend, DAY);
    let s = &shop.superuser;
    let allows = |days: &str| {
        let apps = format!(r#""mchid": "{}", "appids": ["{}"]"#, mps_sender::MCHID, mps_sender::APPID);
        s.run(&format!("select app.set_gateway_account('wechat', 'wechat', '{{{apps}{days}}}')"));
        health(&shop, "gateway_days")["ok"].to_owned()
    };
    s.run("update app.recon_items set first_seen = now() - interval '3 days 1 hour'");
    assert_eq!(
        ["", r#", "item_days": 3"#, r#", "item_days": 4"#, r#", "item_days": 0"#].map(allows),
        ["f", "f", "t", "f"]
    );
    assert!(health(&shop, "gateway_days")["detail"].contains("1 items open for more than 0 days"));
    s.run("update app.recon_items set first_seen = now() - interval '2 days 23 hours'");
    assert_eq!(["", r#", "item_days": 2"#, r#", "item_days": 365"#].map(allows), ["t", "f", "t"]);
    for days in ["-1", "366", "2.5", "\"3\"", "true", "null", "1e400"] {
        let sql = format!(
            r#"select app.set_gateway_account('wechat', 'wechat', '{{"mchid": "1", "appids": ["a"], "item_days": {days}}}')"#
        );
        s.failure(&sql).must_be("INVALID_ARGUMENT", &sql);
    }
}

#[test]
fn what_was_taken_back_without_a_number_is_not_credited_by_its_number() {
    let shop = open();
    let ming = shop.member("0");
    let tx_no = by_wechat(&shop, &ming, "10.00");
    let day = today_alone(&shop);
    import(&shop, &day, &[]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00", "only_in_books 1 10.00"]);
    shop.backend.row(&resolve(&item(&shop, "only_in_books"), "debit"));
    import(&shop, &day, &[Line::payment("4200001", &tx_no, 1_000)]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00", "status_differs 1 10.00"]);
    let id = item(&shop, "status_differs");
    shop.backend.refused("RECON_CONFLICT", &resolve(&id, "credit"));
    assert_eq!(shop.balance(&ming.card), "0.00");
}

#[test]
fn a_refund_that_the_bill_has_no_more_after_it_was_taken_back_is_said() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    let lines = [Line::payment(&trade, &tx_no, 10_000), Line::refund(&trade, &tx_no, 1_000, "console-1")];
    import(&shop, DAY, &lines);
    reconcile(&shop.backend, DAY);
    shop.backend.row(&resolve(&item(&shop, "only_in_bill"), "debit"));
    import(&shop, DAY, &lines[..1]);
    for _ in 0..2 {
        assert_eq!(reconcile(&shop.backend, DAY), ["matched 1 100.00", "only_in_books 1 10.00"]);
    }
    assert_eq!(items(&shop, DAY), ["refund only_in_books 10.00 NULL open"]);
    shop.backend.refused("RECON_CONFLICT", &resolve(&item(&shop, "only_in_books"), "debit"));
    // It has it again, and nothing is taken a second time.
    import(&shop, DAY, &[lines[1].clone(), lines[0].clone()]);
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 1 100.00", "only_in_bill 1 10.00"]);
    let id = item(&shop, "only_in_bill");
    shop.backend.refused("RECON_CONFLICT", &resolve(&id, "debit"));
    shop.backend.row(&resolve(&id, "explained"));
    assert_eq!(shop.balance(&ming.card), "90.00");
    shop.backend.row(&close(DAY));
    books_hold(&shop);
}

#[test]
fn a_refund_that_stands_twice_is_taken_back_once() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    let (paid, back) = (Line::payment(&trade, &tx_no, 10_000), Line::refund(&trade, &tx_no, 1_000, "console-1"));
    // The later day first.
    import(&shop, "2026-11-27", std::slice::from_ref(&back));
    reconcile(&shop.backend, "2026-11-27");
    let later = item(&shop, "only_in_bill");
    import(&shop, DAY, &[paid, back.clone(), back.clone(), back]);
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 1 100.00", "duplicate 2 20.00", "only_in_bill 1 10.00"]);
    let sql = format!("select id from app.recon_items where bill_date = '{DAY}' order by class desc");
    let ids = shop.backend.column(&sql);
    for id in &ids[1..] {
        shop.backend.refused("RECON_CONFLICT", &resolve(id, "debit"));
    }
    let said = [&later, &ids[0]].map(|id| (shop.db.backend(), resolve(id, "debit")));
    assert_eq!(together(said.into()).iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(shop.balance(&ming.card), "90.00");
    assert_eq!(reconcile(&shop.backend, "2026-11-27"), ["matched 0 0.00", "duplicate 1 10.00"]);
}

#[test]
fn two_payments_for_a_recharge_without_a_number_are_one_too_many() {
    let shop = open();
    let ming = shop.member("0");
    let tx_no = by_wechat(&shop, &ming, "10.00");
    let day = today_alone(&shop);
    import(&shop, &day, &[Line::payment("4200001", &tx_no, 1_000), Line::payment("4200002", &tx_no, 1_000)]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 1 10.00", "duplicate 1 10.00"]);
    // Whichever is told first, one stays in sight.
    shop.backend.row(&resolve(&item(&shop, "duplicate"), "credit"));
    assert_eq!(reconcile(&shop.backend, &day), ["matched 1 10.00", "duplicate 1 10.00"]);
    shop.backend.row(&resolve(&item(&shop, "duplicate"), "credit"));
    assert_eq!(reconcile(&shop.backend, &day), ["matched 2 20.00"]);
    assert_eq!(shop.backend.column("select amount from app.suspense_payments"), ["10.00"]);
    assert_eq!(shop.balance(&ming.card), "10.00");
    books_hold(&shop);
}

#[test]
fn what_differs_of_a_payment_is_not_taken_from_another() {
    let shop = open();
    let (ming, tx_no) = asked(&shop, "100.00");
    import(&shop, DAY, &[Line::payment("4200001", &tx_no, 9_000)]);
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 0 0.00", "amount_differs 1 90.00"]);
    shop.backend.row(&format!("select * from app.confirm_recharge('{tx_no}', 100, '4200002')"));
    shop.backend.refused("RECON_CONFLICT", &resolve(&item(&shop, "amount_differs"), "debit"));
    assert_eq!(shop.balance(&ming.card), "100.00");
}

#[test]
fn what_is_said_of_a_copy_leaves_the_payment_in_the_books() {
    let shop = open();
    let day = today_alone(&shop);
    let (_, tx_no, trade) = confirmed(&shop, 1_000);
    let paid = Line::payment(&trade, &tx_no, 1_000);
    import(&shop, &day, &[paid.clone(), paid, Line::payment("4200002", &tx_no, 1_000)]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 1 10.00", "duplicate 2 20.00"]);
    for id in shop.backend.column("select id from app.recon_items order by id") {
        shop.backend.row(&resolve(&id, "credit"));
    }
    assert_eq!(reconcile(&shop.backend, &day), ["matched 2 20.00", "duplicate 1 10.00"]);
    assert_eq!(
        shop.backend.value(
            "select book_payments || ' ' || book_payment_total from app.v_recon_days where reconciled_at is not null"
        ),
        "2 20.00"
    );
    shop.backend.row(&close(&day));
    books_hold(&shop);
    // The gateway takes it all back.
    import(&shop, &day, &[]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00", "only_in_books 2 20.00"]);
}

#[test]
fn no_callback_waits_for_whoever_reconciles() {
    let shop = open();
    let (_, tx_no, trade) = told(&shop, 1_000);
    let busy = shop.db.backend();
    busy.run("begin");
    busy.row(&bill::import("wechat", DAY, "trade", &bill::wechat(DAY, &[Line::payment(&trade, &tx_no, 1_000)])));
    assert_eq!(reconcile(&busy, DAY), ["matched 1 10.00"]);
    busy.row(&close(DAY));
    shop.backend.run("set lock_timeout = '1s'");
    told(&shop, 2_000);
    busy.run("commit");
    assert_eq!(reconcile(&shop.backend, DAY), ["matched 1 10.00", "only_in_books 1 20.00"]);
    assert_eq!(shop.backend.value("select closed_at from app.recon_days"), NULL);
}

#[test]
fn a_recharge_is_of_the_account_whose_bank_has_it() {
    let shop = open();
    let day = today(&shop);
    let ming = shop.member("0");
    let at = |merchant: &str| {
        let sql = format!(
            "select tx_no from app.user_recharge_personal_card('{}', 10, 'wechat', p_merchant_code => '{merchant}')",
            ming.card
        );
        shop.backend.value(&sql)
    };
    // At the counter of a shop, by that shop's own terminal: nothing of the platform's.
    at(mps_tests::SHOP);
    import(&shop, &day, &[]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00"]);
    // The shop's account has a bill of its own.
    let config =
        format!(r#"{{"mchid": "1900000009", "appids": ["{}"], "merchant": "{}"}}"#, mps_sender::APPID, mps_tests::SHOP);
    shop.superuser.run(&format!("select app.set_gateway_account('of-the-shop', 'wechat', '{config}')"));
    let content = String::from_utf8(bill::wechat(&day, &[])).unwrap().replace(mps_sender::MCHID, "1900000009");
    shop.backend.row(&bill::import("of-the-shop", &day, "trade", content.as_bytes()));
    let rows = shop.backend.column(&format!("select class || ' ' || items from app.reconcile('of-the-shop', '{day}')"));
    assert_eq!(rows, ["matched 0", "only_in_books 1"]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00"]);
}

#[test]
fn what_another_account_s_bill_may_have_waits_for_it() {
    let shop = open();
    let day = today(&shop);
    let config = format!(r#"{{"mchid": "1900000009", "appids": ["{}"]}}"#, mps_sender::APPID);
    shop.superuser.run(&format!("select app.set_gateway_account('second', 'wechat', '{config}')"));
    let of_the_second = |day: &str, lines: &[Line]| {
        let content = String::from_utf8(bill::wechat(day, lines)).unwrap().replace(mps_sender::MCHID, "1900000009");
        shop.backend.row(&bill::import("second", day, "trade", content.as_bytes()));
    };
    of_the_second("2026-11-20", &[]);
    let (_, tx_no, trade) = confirmed(&shop, 500);
    import(&shop, &day, &[]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00", "timing 1 5.00"]);
    of_the_second(&day, &[Line { time: "00:00:00", ..Line::payment(&trade, &tx_no, 500) }]);
    let rows = shop.backend.column(&format!("select class || ' ' || items from app.reconcile('second', '{day}')"));
    assert_eq!(rows, ["matched 1"]);
    assert_eq!(reconcile(&shop.backend, &day), ["matched 0 0.00"]);
    shop.backend.row(&close(&day));
}

#[test]
fn what_is_owed_of_a_recharge_cannot_be_withdrawn_by_it() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    let paid = shop.charge(&ming, "100.00")["tx_no"].to_owned();
    import(&shop, DAY, &[Line::payment(&trade, &tx_no, 10_000), Line::refund(&trade, &tx_no, 10_000, "console-1")]);
    reconcile(&shop.backend, DAY);
    let id = item(&shop, "only_in_bill");
    let withdraw =
        |key: &str| format!("select * from app.withdraw('{}', 60, 'x', '{key}', p_payout => 'cash')", ming.card);
    // Who has looked before the card came to owe anything.
    let older = ["repeatable read", "serializable"].map(|level| {
        let session = shop.db.backend();
        session.run(&format!("begin isolation level {level}"));
        session.value("select count(*) from app.withdrawals");
        session
    });
    assert_eq!(&shop.backend.row(&resolve(&id, "debit"))["receivable"], "100.00");
    for session in older {
        assert_eq!(session.failure(&withdraw("older")).code, "40001");
    }
    shop.backend.row(&format!("select * from app.compensate_tx('{paid}', 60, 'a gift', 'k1')"));
    shop.backend.refused("INSUFFICIENT_BALANCE", &withdraw("k1"));
    // Also once nobody asks for it any more.
    let other = shop.db.backend();
    other.run("begin");
    other.row(&resolve(&id, "write_off"));
    assert_eq!(other.failure(&withdraw("k2")).message, "INSUFFICIENT_BALANCE");
    other.run("rollback");
    assert_eq!(&shop.backend.row(&resolve(&id, "debit"))["receivable"], "40.00");
    assert_eq!(shop.balance(&ming.card), "0.00");
    books_hold(&shop);
}

#[test]
fn what_was_written_off_of_a_refund_is_not_taken_by_the_next_bill_s() {
    let shop = open();
    let (ming, tx_no, trade) = told(&shop, 10_000);
    shop.charge(&ming, "100.00");
    let back = Line::refund(&trade, &tx_no, 1_000, "console-1");
    // The later day first, so that the earlier one's is no copy of it.
    import(&shop, "2026-11-27", std::slice::from_ref(&back));
    reconcile(&shop.backend, "2026-11-27");
    let later = item(&shop, "only_in_bill");
    shop.backend.row(&resolve(&later, "debit"));
    shop.backend.row(&resolve(&later, "write_off"));
    import(&shop, DAY, &[Line::payment(&trade, &tx_no, 10_000), back]);
    reconcile(&shop.backend, DAY);
    shop.recharge(&ming.card, "50.00");
    shop.backend.refused("RECON_CONFLICT", &resolve(&item(&shop, "only_in_bill"), "debit"));
    assert_eq!(shop.balance(&ming.card), "50.00");
}
