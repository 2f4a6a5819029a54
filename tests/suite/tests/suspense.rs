//! Gateway money that came is never out of sight: trade numbers, suspense, order ids of members, pending recharges.

use mps_tests::{Company, Db, Failure, Member, Row, Session, Shop, together};
use std::thread;

/// The backend confirms a recharge.
fn confirm_sql(tx_no: &str, amount: &str, trade: &str) -> String {
    format!("select * from app.confirm_recharge('{tx_no}', {amount}, '{trade}')")
}

#[track_caller]
fn confirm(shop: &Shop, tx_no: &str, amount: &str, trade: &str) -> Row {
    shop.backend.row(&confirm_sql(tx_no, amount, trade))
}

/// A member asks for a recharge under an order id; its number.
#[track_caller]
fn ask(shop: &Shop, member: &Member, amount: &str, order: &str, more: &str) -> Row {
    let sql = format!(
        "select * from app.user_recharge_personal_card('{}', {amount}, p_external_order_id => '{order}'{more})",
        member.card
    );
    shop.db.user(member.id).row(&sql)
}

fn suspended(shop: &Shop) -> Vec<Row> {
    shop.superuser.rows("select * from app.suspense_payments order by id")
}

/// What a backend says of the only row there is.
fn resolve_sql(id: &str, resolution: &str, more: &str) -> String {
    format!("select * from app.resolve_suspense({id}, '{resolution}', 'looked into it'{more})")
}

/// Runs one statement per session at the same instant; the one row of each.
fn at_once(jobs: Vec<(Session, String)>) -> Vec<Result<Row, Failure>> {
    together(jobs).into_iter().map(|answer| answer.map(|rows| rows[0].clone())).collect()
}

#[track_caller]
fn books_hold(shop: &Shop) {
    assert_eq!(shop.superuser.rows("select * from app.verify_books() where ok is not true"), [] as [Row; 0]);
}

#[test]
fn an_order_id_never_blocks_paid_money() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    let cheap = ask(&shop, &ming, "0.01", "o-1", "");
    let dear = ask(&shop, &mei, "500.00", "o-1", "");
    assert_eq!(&confirm(&shop, &cheap["tx_no"], "0.01", "T1")["status"], "completed");
    assert_eq!(&confirm(&shop, &dear["tx_no"], "500.00", "T2")["status"], "completed");
    assert_eq!((shop.balance(&ming.card), shop.balance(&mei.card)), ("0.01".into(), "500.00".into()));
    // Nor does it keep the shop's own server from its order, or that a member from its own.
    let own = format!(
        "select * from app.user_recharge_personal_card('{}', 7, 'wechat', p_external_order_id => 'o-1')",
        ming.card
    );
    assert_eq!(&shop.backend.row(&own)["status"], "completed");
    let third = shop.member("0");
    assert_eq!(&ask(&shop, &third, "3", "o-1", "")["status"], "processing");
    books_hold(&shop);
}

#[test]
fn where_members_are_trusted_their_orders_are_their_cards_too() {
    let shop = Shop::open();
    shop.backend.run("select app.update_settings('{\"recharge_confirmation\": \"trusted\"}')");
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    let first = ask(&shop, &ming, "5", "o-1", "");
    assert_eq!((&first["status"], &first["replayed"]), ("completed", "f"));
    assert_eq!(&ask(&shop, &ming, "5", "o-1", "")["replayed"], "t");
    assert_eq!(&ask(&shop, &mei, "500", "o-1", "")["status"], "completed");
    books_hold(&shop);
}

#[test]
fn a_trade_number_credits_once_whatever_the_method() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    let by = |member: &Member, method: &str| {
        let sql = format!("select * from app.user_recharge_personal_card('{}', 10, '{method}')", member.card);
        shop.db.user(member.id).row(&sql)["tx_no"].to_owned()
    };
    let (wechat, alipay) = (by(&ming, "wechat"), by(&mei, "alipay"));
    confirm(&shop, &wechat, "10", "T1");
    shop.backend.refused("EXTERNAL_ORDER_CONFLICT", &confirm_sql(&alipay, "10", "T1"));
    assert_eq!(suspended(&shop), [] as [Row; 0]);
    assert_eq!(&confirm(&shop, &wechat, "10", "T1")["replayed"], "t");
    // It is still there for its own money.
    confirm(&shop, &alipay, "10", "T2");
    books_hold(&shop);
}

/// Somebody copies it off the gateway's page.
#[test]
fn white_space_around_a_trade_number_makes_no_other_one_of_it() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let (one, two) = (shop.pending(&ming, "10"), shop.pending(&ming, "10"));
    confirm(&shop, &one, "10", "T1 ");
    for same in ["T1", " T1", "T1\n", "\u{3000}T1\u{a0}"] {
        shop.backend.refused("EXTERNAL_ORDER_CONFLICT", &confirm_sql(&two, "10", same));
        assert_eq!(&confirm(&shop, &one, "10", same)["replayed"], "t", "{same:?}");
    }
    // As a release of before stored it.
    shop.superuser.run("update app.transactions set gateway_trade_no = ' T1 ' where gateway_trade_no = 'T1'");
    shop.superuser.run("update app.external_orders set order_id = ' T1 ' where order_id = 'T1'");
    for same in ["T1", " T1 "] {
        assert_eq!(&confirm(&shop, &one, "10", same)["replayed"], "t", "{same:?}");
    }
    // What that release refused is not credited a second time now.
    shop.backend.refused("EXTERNAL_ORDER_CONFLICT", &confirm_sql(&two, "10", " T1 "));
    assert_eq!(suspended(&shop), [] as [Row; 0]);
    assert_eq!(shop.balance(&ming.card), "10.00");
    books_hold(&shop);
    // Money that it has put into suspense is known there, and closes the row.
    confirm(&shop, &one, "10", "T2");
    shop.superuser.run("update app.suspense_payments set gateway_trade_no = 'T2 ' where gateway_trade_no = 'T2'");
    shop.superuser.run("update app.external_orders set order_id = 'T2 ' where order_id = 'T2'");
    assert_eq!(&confirm(&shop, &one, "10", "T2 ")["replayed"], "t");
    confirm(&shop, &two, "10", "T2 ");
    assert_eq!(suspended(&shop).len(), 1);
    assert_eq!(shop.balance(&ming.card), "20.00");
    books_hold(&shop);
}

#[test]
fn what_the_payer_really_used_is_what_the_transaction_says() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let tx_no = shop.pending(&ming, "10");
    let sql = format!("select * from app.confirm_recharge('{tx_no}', 10, 'T1', p_payment_method => 'alipay')");
    assert_eq!(&shop.backend.row(&sql)["status"], "completed");
    let row = shop
        .superuser
        .row(&format!("select payment_method, gateway_trade_no from app.transactions where tx_no = '{tx_no}'"));
    assert_eq!(row.values(), ["alipay", "T1"]);
    let event = shop.superuser.value(
        "select (context ->> 'asked_method') || ' ' || (context ->> 'method') from audit.event_log where action = 'recharge.confirmed'",
    );
    assert_eq!(event, "wechat alipay");
    assert_eq!(&shop.backend.row(&sql)["replayed"], "t");
    let other = shop.pending(&ming, "10");
    for method in ["balance", "visa"] {
        let sql = format!("select * from app.confirm_recharge('{other}', 10, 'T2', p_payment_method => '{method}')");
        shop.backend.refused("INVALID_PAYMENT_METHOD", &sql);
    }
    books_hold(&shop);
}

#[test]
fn who_asks_again_is_answered_however_it_was_paid() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    shop.superuser.run(&mps_sender::set_up());
    let paid_by =
        |tx: &str| format!("select * from app.confirm_recharge('{tx}', 10, 'T-{tx}', p_payment_method => 'alipay')");
    let called_back =
        |tx: &str| mps_sender::alipay(tx, &format!("T-{tx}"), "10.00", "TRADE_SUCCESS", &[]).sql("alipay");
    let asks = [(shop.db.user(ming.id), &ming), (shop.db.user(mei.id), &mei)];
    let member = asks.into_iter().flat_map(|(user, who)| {
        let backend = shop.db.backend();
        [("mine", user, who), ("own", backend, who)]
    });
    let mut kept = vec![];
    for (n, (what, session, who)) in member.enumerate() {
        let sql = format!(
            "select * from app.user_recharge_personal_card('{}', 10, 'wechat', null, '{{}}', '{what}-{n}', 'key-{n}')",
            who.card
        );
        let first = session.row(&sql);
        let by_order = sql.replace(&format!("'key-{n}'"), &format!("'another-{n}'"));
        shop.backend.run(&if n < 2 { paid_by(&first["tx_no"]) } else { called_back(&first["tx_no"]) });
        let kept_as = format!("select payment_method from app.transactions where tx_no = '{}'", &first["tx_no"]);
        assert_eq!(shop.superuser.value(&kept_as), "alipay");
        // By its order id the request is known as well, and has the new key bound to it.
        for again in [session.rows_moving_nothing(&sql).remove(0), session.row(&by_order)] {
            let known = (&again["tx_no"], &again["status"], &again["replayed"]);
            assert_eq!(known, (&first["tx_no"], "completed", "t"), "{what}");
        }
        // What it was paid by was not asked for.
        session.refused("IDEMPOTENCY_KEY_REUSED", &sql.replace("wechat", "alipay"));
        kept.push(format!("{} wechat", &first["tx_id"]));
    }
    // By the same method, nothing has to be kept.
    let same = shop.pending(&ming, "10");
    confirm(&shop, &same, "10", "T-same");
    assert_eq!(
        shop.superuser.column("select concat_ws(' ', tx_id, payment_method) from app.asked_methods order by 1"),
        kept
    );
    assert_eq!((shop.balance(&ming.card), shop.balance(&mei.card)), ("30.00".into(), "20.00".into()));
    books_hold(&shop);
}

#[test]
fn a_second_payment_is_kept_in_sight_whatever_its_amount() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let tx_no = shop.pending(&ming, "10");
    confirm(&shop, &tx_no, "10", "T1");
    let again = shop.backend.row(&format!(
        "select * from app.confirm_recharge('{tx_no}', 12.50, 'T2', '{{\"from\": \"gateway\"}}', 'alipay')"
    ));
    assert_eq!(
        (&again["status"], &again["amount"], &again["tx_no"], &again["replayed"]),
        ("suspense", "12.50", &*tx_no, "f")
    );
    let repeated = confirm(&shop, &tx_no, "12.50", "T2");
    assert_eq!((&repeated["status"], &repeated["replayed"]), ("suspense", "t"));
    assert_eq!(shop.balance(&ming.card), "10.00");
    let rows = suspended(&shop);
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(
        (
            &row["gateway_trade_no"],
            &row["tx_no"],
            &row["amount"],
            &row["payment_method"],
            &row["status"],
            &row["reason"]
        ),
        ("T2", &*tx_no, "12.50", "alipay", "open", "already_settled")
    );
    assert_eq!(&row["payload"], "{\"from\": \"gateway\"}");
    let event = shop.last_event(&row["id"]);
    assert_eq!((&event["action"], &event["object_type"]), ("suspense.opened", "suspense"));
    let health = shop.superuser.row("select ok, detail from app.health() where check_name = 'suspense'");
    assert!(&health["ok"] == "f" && health["detail"].contains("12.50 alipay"), "{health:?}");
    // The shop's server sees it; members and operators of merchants may not even ask.
    assert_eq!(shop.backend.value("select count(*) from app.suspense_payments"), "1");
    for session in [shop.db.user(ming.id), shop.db.user(shop.cashier_id)] {
        session.denied("select gateway_trade_no from app.suspense_payments");
        session.denied(&resolve_sql(&row["id"], "written_off", ""));
    }
    books_hold(&shop);
}

#[test]
fn a_recharge_without_a_number_takes_the_first_of_its_amount() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let own = |method: &str| {
        let sql = format!("select * from app.user_recharge_personal_card('{}', 10, '{method}')", ming.card);
        shop.backend.row(&sql)["tx_no"].to_owned()
    };
    let (wechat, cash) = (own("wechat"), own("cash"));
    let taken = shop
        .backend
        .row(&format!("select * from app.confirm_recharge('{wechat}', 10, 'T1', p_payment_method => 'alipay')"));
    assert_eq!((&taken["status"], &taken["replayed"]), ("completed", "f"));
    assert_eq!(shop.balance(&ming.card), "20.00");
    let row = shop
        .superuser
        .row(&format!("select gateway_trade_no, payment_method from app.transactions where tx_no = '{wechat}'"));
    assert_eq!(row.values(), ["T1", "alipay"]);
    assert_eq!(&confirm(&shop, &wechat, "10", "T1")["replayed"], "t");
    assert_eq!(&confirm(&shop, &wechat, "10", "T2")["status"], "suspense");
    assert_eq!(&confirm(&shop, &cash, "10", "T3")["status"], "suspense");
    let another = own("alipay");
    assert_eq!(&confirm(&shop, &another, "9.99", "T4")["status"], "suspense");
    assert_eq!(&confirm(&shop, &another, "10", "T5")["status"], "completed");
    assert_eq!(shop.balance(&ming.card), "30.00");
    books_hold(&shop);
}

#[test]
fn another_amount_is_the_callers_to_mend_while_it_can_be_credited() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let tx_no = shop.pending(&ming, "10");
    shop.backend.refused("AMOUNT_MISMATCH", &confirm_sql(&tx_no, "1000", "T1"));
    assert_eq!(suspended(&shop), [] as [Row; 0]);
    shop.backend.refused("TX_NOT_FOUND", &confirm_sql("CZ2611999999", "1000", "T1"));
    confirm(&shop, &tx_no, "10", "T1");
    shop.backend.refused("AMOUNT_MISMATCH", &confirm_sql(&tx_no, "11", "T1"));
    books_hold(&shop);
}

#[test]
fn money_in_suspense_is_credited_by_its_own_recharge_only_while_it_is_open() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let (paid, waiting) = (shop.pending(&ming, "10"), shop.pending(&ming, "20"));
    confirm(&shop, &paid, "10", "T1");
    confirm(&shop, &paid, "20", "T2");
    // The payer meant the other one.
    let of_another_amount = shop.pending(&ming, "21");
    shop.backend.refused("AMOUNT_MISMATCH", &confirm_sql(&of_another_amount, "21", "T2"));
    if let Ok(log) = std::env::var("MPS_LOG") {
        let log = std::fs::read_to_string(log).expect("the server's log");
        let line = format!("{of_another_amount}: in suspense with 20.00, the gateway says 21.00 (trade number T2)");
        assert!(log.contains(&line), "it is not in the log");
    }
    let done = confirm(&shop, &waiting, "20", "T2");
    assert_eq!((&done["status"], &done["replayed"]), ("completed", "f"));
    assert_eq!(shop.balance(&ming.card), "30.00");
    let row = &suspended(&shop)[0];
    assert_eq!((&row["status"], &row["credited_tx_no"]), ("credited", &*waiting));
    shop.backend.refused("EXTERNAL_ORDER_CONFLICT", &confirm_sql(&paid, "20", "T2"));
    shop.backend.refused("STATUS_CONFLICT", &resolve_sql(&row["id"], "written_off", ""));
    let (other, late) = (shop.pending(&ming, "5"), shop.pending(&ming, "6"));
    confirm(&shop, &other, "5", "T3");
    confirm(&shop, &other, "6", "T4");
    let id = &suspended(&shop)[1]["id"];
    shop.backend.run(&resolve_sql(id, "written_off", ""));
    shop.backend.refused("EXTERNAL_ORDER_CONFLICT", &confirm_sql(&late, "6", "T4"));
    assert_eq!(&confirm(&shop, &other, "6", "T4")["status"], "suspense");
    books_hold(&shop);
    // By a hand that went past the RPCs: the trade number is claimed still.
    shop.superuser.run(&format!(
        "create table public.gone as select * from app.suspense_payments where id = {id}; \
         delete from app.suspense_payments where id = {id}"
    ));
    shop.backend.refused("EXTERNAL_ORDER_CONFLICT", &confirm_sql(&late, "6", "T4"));
    assert_ne!(shop.superuser.rows("select * from app.verify_books() where ok is not true"), [] as [Row; 0]);
    shop.superuser.run("insert into app.suspense_payments select * from public.gone");
    books_hold(&shop);
}

/// A shop with one payment in suspense, of 12.50; its row's id.
fn with_suspense(shop: &Shop, member: &Member, trade: &str) -> String {
    let tx_no = shop.pending(member, "10");
    confirm(shop, &tx_no, "10", &format!("{trade}-first"));
    assert_eq!(&confirm(shop, &tx_no, "12.50", trade)["status"], "suspense");
    shop.superuser.value(&format!("select id from app.suspense_payments where gateway_trade_no = '{trade}'"))
}

#[test]
fn a_backend_credits_a_card_that_it_names_once() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    let company: Company = shop.company("0.9", "0", &mei);
    let id = with_suspense(&shop, &ming, "T1");
    let to = |card: &str| resolve_sql(&id, "credited", &format!(", '{card}', 'k-1'"));
    for (token, sql) in [
        ("INVALID_ARGUMENT", resolve_sql(&id, "credited", "")),
        ("INVALID_ARGUMENT", resolve_sql(&id, "refunded", &format!(", '{}'", mei.card))),
        ("INVALID_ARGUMENT", resolve_sql(&id, "paid", "")),
        ("INVALID_ARGUMENT", format!("select * from app.resolve_suspense({id}, 'written_off', '')")),
        ("INVALID_ARGUMENT", "select * from app.resolve_suspense(null, 'written_off', 'x')".into()),
        ("TX_NOT_FOUND", resolve_sql("999", "written_off", "")),
        ("CARD_NOT_FOUND", resolve_sql(&id, "credited", &format!(", '{}'", ming.id))),
        ("STATUS_CONFLICT", resolve_sql(&id, "refund_completed", "")),
    ] {
        shop.backend.refused(token, &sql);
    }
    let done = shop.backend.row(&to(&mei.card));
    assert_eq!((&done["status"], &done["amount"], &done["replayed"]), ("credited", "12.50", "f"));
    assert_eq!(shop.balance(&mei.card), "12.50");
    let tx = shop.superuser.row(&format!(
        "select tx_type, status, payment_method, gateway_trade_no, reason from app.transactions where tx_no = '{}'",
        &done["tx_no"]
    ));
    assert_eq!(tx.values(), ["recharge", "completed", "wechat", "T1", "looked into it"]);
    let again = shop.backend.row(&to(&mei.card));
    assert_eq!((&again["tx_no"], &again["replayed"]), (&done["tx_no"], "t"));
    assert_eq!(&shop.backend.row(&resolve_sql(&id, "credited", &format!(", '{}'", mei.card)))["replayed"], "t");
    shop.backend.refused("IDEMPOTENCY_KEY_REUSED", &to(&ming.card));
    shop.backend.refused("STATUS_CONFLICT", &resolve_sql(&id, "credited", &format!(", '{}'", company.card)));
    // A company's card, too; a replacement in place of what it replaced; not a closed one.
    let second = with_suspense(&shop, &ming, "T2");
    shop.backend.run(&resolve_sql(&second, "credited", &format!(", '{}'", company.card)));
    assert_eq!(shop.balance(&company.card), "12.50");
    shop.set_card(&mei.card, "personal", "lost");
    let new = shop.backend.row(&format!("select * from app.replace_card('{}', 'lost')", mei.card));
    let third = with_suspense(&shop, &ming, "T3");
    shop.backend.run(&resolve_sql(&third, "credited", &format!(", '{}', 'k'", mei.card)));
    assert_eq!(shop.balance(&new["card_id"]), "25.00");
    assert_eq!(&shop.backend.row(&resolve_sql(&third, "credited", &format!(", '{}', 'k'", mei.card)))["replayed"], "t");
    let closed = shop.member("0");
    shop.set_card(&closed.card, "personal", "closed");
    let fourth = with_suspense(&shop, &ming, "T4");
    shop.backend.refused("CARD_NOT_ACTIVE", &resolve_sql(&fourth, "credited", &format!(", '{}'", closed.card)));
    books_hold(&shop);
}

#[test]
fn money_that_goes_back_is_refunding_until_somebody_says_that_it_arrived() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let id = with_suspense(&shop, &ming, "T1");
    let asked = shop.backend.row(&resolve_sql(&id, "refunded", ""));
    assert_eq!((&asked["status"], &asked["replayed"]), ("refunding", "f"));
    assert!(asked["out_refund_no"].starts_with("SR"), "{asked:?}");
    let repeated = shop.backend.row(&resolve_sql(&id, "refunded", ""));
    assert_eq!((&repeated["out_refund_no"], &repeated["replayed"]), (&asked["out_refund_no"], "t"));
    assert_eq!(shop.superuser.value("select ok from app.health() where check_name = 'suspense'"), "f");
    shop.backend.refused("STATUS_CONFLICT", &resolve_sql(&id, "credited", &format!(", '{}'", ming.card)));
    shop.backend.refused("STATUS_CONFLICT", &resolve_sql(&id, "written_off", ""));
    assert_eq!(&shop.backend.row(&resolve_sql(&id, "refund_failed", ""))["status"], "open");
    let anew = shop.backend.row(&resolve_sql(&id, "refunded", ""));
    assert_ne!(&anew["out_refund_no"], &asked["out_refund_no"]);
    // What was said with a key is answered as then, however late, and sends nothing back a second time.
    let second = with_suspense(&shop, &ming, "T2");
    let keyed = resolve_sql(&second, "refunded", ", null, 'k-1'");
    let said = shop.backend.row(&keyed);
    shop.backend.run(&resolve_sql(&second, "refund_failed", ", null, 'k-2'"));
    let late = shop.backend.rows_moving_nothing(&keyed).remove(0);
    assert_eq!((&late["status"], &late["out_refund_no"], &late["replayed"]), ("open", &said["out_refund_no"], "t"));
    shop.backend.refused("IDEMPOTENCY_KEY_REUSED", &resolve_sql(&second, "written_off", ", null, 'k-1'"));
    shop.backend.run(&resolve_sql(&second, "written_off", ""));
    assert_eq!(&shop.backend.row(&resolve_sql(&id, "refund_completed", ""))["status"], "refunded");
    assert_eq!(&shop.backend.row(&resolve_sql(&id, "refund_completed", ""))["replayed"], "t");
    shop.backend.refused("STATUS_CONFLICT", &resolve_sql(&id, "refund_failed", ""));
    assert_eq!(shop.superuser.value("select ok from app.health() where check_name = 'suspense'"), "t");
    let words = shop
        .superuser
        .column("select context ->> 'resolution' from audit.event_log where action = 'suspense.resolved' order by id");
    let expected =
        ["refunded", "refund_failed", "refunded", "refunded", "refund_failed", "written_off", "refund_completed"];
    assert_eq!(words, expected);
    assert_eq!(suspended(&shop)[0].without(&[])["resolved_role"].to_owned(), "service_role");
    books_hold(&shop);
}

#[test]
fn an_order_that_came_to_nothing_is_asked_for_again() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let first = ask(&shop, &ming, "10", "o-1", ", p_idempotency_key => 'k-1'");
    shop.backend.run(&format!("select * from app.fail_recharge('{}', 'declined')", &first["tx_no"]));
    let second = ask(&shop, &ming, "25", "o-1", ", p_idempotency_key => 'k-2'");
    assert_ne!(&second["tx_no"], &first["tx_no"]);
    assert_eq!((&second["status"], &second["replayed"]), ("processing", "f"));
    // The old key answers the old one, the order the new one.
    let old = ask(&shop, &ming, "10", "o-1", ", p_idempotency_key => 'k-1'");
    assert_eq!((&old["tx_no"], &old["status"], &old["replayed"]), (&first["tx_no"], "failed", "t"));
    assert_eq!(&ask(&shop, &ming, "25", "o-1", "")["tx_no"], &second["tx_no"]);
    shop.db.user(ming.id).refused(
        "EXTERNAL_ORDER_CONFLICT",
        &format!("select * from app.user_recharge_personal_card('{}', 26, p_external_order_id => 'o-1')", ming.card),
    );
    books_hold(&shop);
    // Cancelled, without a key; and both can be confirmed.
    shop.superuser.run("update app.transactions set created_at = created_at where status = 'processing'");
    shop.backend.run("select app.update_settings('{\"recharge_ttl_minutes\": 5}')");
    assert_eq!(&confirm(&shop, &first["tx_no"], "10", "T1")["status"], "completed");
    assert_eq!(&confirm(&shop, &second["tx_no"], "25", "T2")["status"], "completed");
    assert_eq!(shop.balance(&ming.card), "35.00");
    books_hold(&shop);
}

#[test]
fn two_who_ask_again_at_once_make_one_recharge() {
    let shop = Shop::open();
    let ming = shop.member("0");
    for round in 0..10 {
        let order = format!("o-{round}");
        let first = ask(&shop, &ming, "10", &order, "");
        shop.backend.run(&format!("select * from app.fail_recharge('{}', 'declined')", &first["tx_no"]));
        let sql = format!(
            "select * from app.user_recharge_personal_card('{}', 11, p_external_order_id => '{order}')",
            ming.card
        );
        let answers = at_once((0..4).map(|_| (shop.db.user(ming.id), sql.clone())).collect());
        let answers: Vec<Row> = answers.into_iter().map(|a| a.expect("an answer")).collect();
        assert!(answers.iter().all(|a| a["tx_no"] == answers[0]["tx_no"]), "{answers:?}");
        assert_eq!(answers.iter().filter(|a| &a["replayed"] == "f").count(), 1);
        confirm(&shop, &answers[0]["tx_no"], "11", &format!("T-{round}"));
    }
    books_hold(&shop);
}

#[test]
fn one_trade_number_at_once_for_two_recharges_credits_one() {
    let shop = Shop::open();
    let ming = shop.member("0");
    for round in 0..10 {
        let numbers = [shop.pending(&ming, "10"), shop.pending(&ming, "10")];
        let sessions: Vec<(Session, String)> =
            numbers.iter().map(|no| (shop.db.backend(), confirm_sql(no, "10", &format!("T-{round}")))).collect();
        let answers = at_once(sessions);
        assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 1, "{answers:?}");
        for refused in answers.iter().filter_map(|a| a.as_ref().err()) {
            refused.must_be("EXTERNAL_ORDER_CONFLICT", "the other");
        }
        let open = numbers.iter().find(|no| shop.count(&format!("tx_no = '{no}' and status = 'processing'")) == "1");
        confirm(&shop, open.expect("one waits"), "10", &format!("U-{round}"));
    }
    assert_eq!(shop.balance(&ming.card), "200.00");
    books_hold(&shop);
}

#[test]
fn suspense_is_resolved_once_however_many_say_so() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    for round in 0..8 {
        let id = with_suspense(&shop, &ming, &format!("T-{round}"));
        let waiting = shop.pending(&ming, "12.50");
        let words = [
            resolve_sql(&id, "credited", &format!(", '{}'", mei.card)),
            resolve_sql(&id, "credited", &format!(", '{}'", ming.card)),
            resolve_sql(&id, "refunded", ""),
            confirm_sql(&waiting, "12.50", &format!("T-{round}")),
        ];
        let sum = || shop.superuser.value("select sum(balance) from app.personal_cards");
        let before: f64 = sum().parse().expect("a number");
        let sessions: Vec<(Session, String)> = words.into_iter().map(|sql| (shop.db.backend(), sql)).collect();
        let answers = at_once(sessions);
        let done = answers.iter().filter(|a| a.as_ref().is_ok_and(|row| &row["replayed"] == "f"));
        assert_eq!(done.count(), 1, "{answers:?}");
        let row = shop.superuser.row(&format!("select status, amount from app.suspense_payments where id = {id}"));
        let credited = if &row["status"] == "credited" { 12.5 } else { 0.0 };
        let after: f64 = sum().parse().expect("a number");
        assert!((after - before - credited).abs() < 0.001, "{before} {after} {row:?}");
        if shop.count(&format!("tx_no = '{waiting}' and status = 'processing'")) == "1" {
            shop.backend.run(&format!("select * from app.fail_recharge('{waiting}', 'x')"));
        }
        books_hold(&shop);
    }
}

#[test]
fn recharges_that_wait_are_bounded_for_each_card() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    let user = shop.db.user(ming.id);
    let sql = format!("select * from app.user_recharge_personal_card('{}', 1)", ming.card);
    for _ in 0..20 {
        user.run(&sql);
    }
    user.refused("TOO_MANY_PENDING", &sql);
    let many = format!(
        "select count(*) from generate_series(1, 2000) g, lateral (select * from app.user_recharge_personal_card('{}', 1, \
            p_reason => g::text)) x",
        mei.card
    );
    shop.db.user(mei.id).refused("TOO_MANY_PENDING", &many);
    assert_eq!(shop.count(&format!("card_id = '{}'", mei.card)), "0");
    // One that ends makes room for one; the shop's own server is not bound, and the setting is heeded at once.
    let one = shop.superuser.value("select tx_no from app.transactions where status = 'processing' limit 1");
    confirm(&shop, &one, "1", "T1");
    user.run(&sql);
    user.refused("TOO_MANY_PENDING", &sql);
    shop.recharge(&ming.card, "5");
    let two = shop.superuser.value("select tx_no from app.transactions where status = 'processing' limit 1");
    shop.backend.run(&format!("select * from app.fail_recharge('{two}', 'declined')"));
    user.run(&sql);
    shop.backend.run("select app.update_settings('{\"max_pending_recharges\": 22}')");
    user.run(&sql);
    user.run(&sql);
    user.refused("TOO_MANY_PENDING", &sql);
    books_hold(&shop);
    // Those who ask at once are bound as well.
    let li = shop.member("0");
    let sql = format!("select * from app.user_recharge_personal_card('{}', 1)", li.card);
    thread::scope(|scope| {
        for _ in 0..6 {
            let session = shop.db.user(li.id);
            let sql = &sql;
            scope.spawn(move || (0..6).for_each(|_| drop(session.try_row(sql))));
        }
    });
    assert_eq!(shop.count(&format!("card_id = '{}'", li.card)), "22");
    books_hold(&shop);
}

#[test]
fn a_card_with_waiting_recharges_is_not_closed_and_its_replacement_neither() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let tx_no = shop.pending(&ming, "10");
    shop.set_card(&ming.card, "personal", "lost");
    let new = shop.backend.row(&format!("select * from app.replace_card('{}', 'lost')", ming.card));
    let close = format!("select app.set_card_status('{}', 'personal', 'closed', 'x')", &new["card_id"]);
    shop.backend.refused("CARD_NOT_EMPTY", &close);
    shop.backend.run(&format!("select * from app.fail_recharge('{tx_no}', 'x')"));
    shop.backend.run(&close);
    books_hold(&shop);
}

/// Each way to break what the books say of suspense is found.
#[test]
fn the_books_find_what_is_wrong_with_suspense() {
    let mut db = Db::new();
    db.without_books();
    let shop = Shop::in_database(db);
    let ming = shop.member("0");
    let id = with_suspense(&shop, &ming, "T1");
    let other = with_suspense(&shop, &ming, "T2");
    shop.backend.run(&resolve_sql(&other, "credited", &format!(", '{}'", ming.card)));
    let waiting = shop.pending(&ming, "3");
    books_hold(&shop);
    for (check, breach) in [
        ("suspense", "delete from app.external_orders where order_id = 'T1'".to_owned()),
        ("suspense", "delete from app.suspense_payments where gateway_trade_no = 'T1'".into()),
        ("suspense", "update app.suspense_payments set amount = 13 where gateway_trade_no = 'T2'".into()),
        (
            "suspense",
            format!(
                "update app.suspense_payments set status = 'credited', credited_tx_no = '{waiting}' where id = {id}"
            ),
        ),
        (
            "suspense",
            "update app.suspense_payments set status = 'open', credited_tx_no = null where gateway_trade_no = 'T2'"
                .into(),
        ),
        ("pending", "delete from app.pending_recharges".into()),
        ("pending", format!("insert into app.pending_recharges values (1, '{}')", ming.card)),
        ("pending", format!("update app.pending_recharges set card_id = '{}'", ming.id)),
    ] {
        shop.superuser.run("begin");
        shop.superuser.run(&breach);
        let broken = shop.superuser.column("select check_name from app.verify_books() where ok is not true");
        shop.superuser.run("rollback");
        assert!(broken.contains(&check.to_owned()), "{breach}: {broken:?}");
    }
}
