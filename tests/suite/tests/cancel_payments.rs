//! Taking a payment back in one call: what is left of it, one that a coupon paid all of, and two who do it at the same instant.

use mps_tests::{Company, Failure, Member, NULL, Row, SHOP, Session, Shop, Waiting, differences, q, together};

type Answer = Result<Vec<Row>, Failure>;

/// The statement that cancels a payment of its number.
fn cancel_sql(tx_no: &str, more: &str) -> String {
    format!("select * from app.cancel_payment('{SHOP}', {}{more})", q(tx_no))
}

fn by_order_sql(order: &str) -> String {
    format!("select * from app.cancel_payment('{SHOP}', p_external_order_id => {})", q(order))
}

/// A coupon that pays all of what it is used for, up to 50.00.
fn free(shop: &Shop, code: &str, more: &str) {
    let comma = if more.is_empty() { "" } else { ", " };
    let json = format!(r#"{{"code": "{code}", "name": "{code}", "kind": "amount_off", "value": 50{comma}{more}}}"#);
    shop.backend.run(&format!("select * from app.create_coupon({})", q(&json)));
    shop.backend.run(&format!("select * from app.set_coupon_status('{code}', 'active', 'x')"));
}

#[track_caller]
fn issued(shop: &Shop, code: &str, member: &Member) -> String {
    shop.backend.row(&format!("select * from app.issue_coupon('{code}', '{}')", member.id))["coupon_code"].to_owned()
}

fn with(number: &str) -> String {
    format!("p_coupon_code => '{number}'")
}

fn charge_sql(shop: &Shop, member: &Member, amount: &str, number: &str) -> String {
    Shop::charge_sql(&shop.code(member), amount, &with(number))
}

/// The number of a payment of 0.00.
#[track_caller]
fn paid_by(shop: &Shop, member: &Member, number: &str) -> String {
    let row = shop.cashier.row(&charge_sql(shop, member, "30.00", number));
    assert_eq!((&row["final_amount"], &row["coupon_discount"]), ("0.00", "30.00"));
    row["tx_no"].to_owned()
}

fn state(shop: &Shop, number: &str) -> [String; 2] {
    let row = shop
        .superuser
        .row(&format!("select status, tx_no from app.member_coupons where sec.coupon_no(id) = '{number}'"));
    [row["status"].to_owned(), row["tx_no"].to_owned()]
}

fn left(shop: &Shop, code: &str) -> String {
    shop.superuser.value(&format!(
        "select sum(left_amount) from app.coupon_budget_parts p join app.coupons c on c.id = p.coupon_id where c.code = '{code}'"
    ))
}

/// The status of a payment, and what its refunds gave back.
fn payment(shop: &Shop, tx_no: &str) -> [String; 3] {
    let row = shop.superuser.row(&format!(
        "select p.status, p.refunded_amount, (select count(*) from app.transactions r where r.original_tx_no = p.tx_no) as refunds \
         from app.transactions p where p.tx_no = '{tx_no}'"
    ));
    ["status", "refunded_amount", "refunds"].map(|column| row[column].to_owned())
}

/// The books hold, by the rules of both sides, and the log alone tells them.
#[track_caller]
fn sound(shop: &Shop) {
    let findings = "select check_name, detail from app.verify_books() where ok is not true";
    assert_eq!(shop.superuser.rows(findings), [] as [Row; 0]);
    assert_eq!(shop.db.problems(), [] as [String; 0]);
    let copy = shop.db.with_the_log_alone();
    copy.superuser().run("select * from app.rebuild_from_log()");
    assert_eq!(differences(&shop.superuser, &copy.superuser()), [] as [String; 0]);
    assert_eq!(copy.superuser().rows(findings), [] as [Row; 0]);
}

#[track_caller]
fn of(answer: &Answer) -> &Row {
    &answer.as_ref().expect("an answer")[0]
}

/// Two cashiers at the same instant.
fn at_once(shop: &Shop, one: String, other: String) -> [Answer; 2] {
    let jobs = [one, other].map(|sql| (shop.db.user(shop.cashier_id), sql));
    together(jobs.into()).try_into().expect("two answers")
}

#[test]
fn what_is_left_is_given_back_in_one_call_and_said_again() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "60.00")["tx_no"].to_owned();
    shop.refund(&paid, "10.01");
    let first = shop.cashier.row(&cancel_sql(&paid, ", p_reason => 'by mistake'"));
    assert_eq!([&first["tx_no"], &first["refunded_amount"], &first["replayed"]], [&paid, "49.99", "f"]);
    assert_eq!(shop.card(&ming), ("100.00".into(), "0".into(), "0".into()));
    assert_eq!(payment(&shop, &paid), ["completed", "60.00", "2"]);
    let refund = shop.superuser.row(&format!(
        "select tx_type, original_tx_no, refundable_left, reason, tag, idempotency_key from app.transactions where tx_no = '{}'",
        &first["refund_tx_no"]
    ));
    assert_eq!(refund.values(), ["refund", &paid, "0.00", "by mistake", "{}", NULL]);
    let event = shop.last_event(&first["refund_tx_no"]);
    assert_eq!((&event["action"], &event["actor_user_id"]), ("refund", shop.cashier_id.to_string().as_str()));
    // By whomever, however often, and whatever became of card and shop.
    let again = |session: &Session, sql: &str| {
        let row = session.row(sql);
        assert_eq!(row.without(&["replayed"]), first.without(&["replayed"]));
        assert_eq!(&row["replayed"], "t");
    };
    again(&shop.cashier, &cancel_sql(&paid, ""));
    again(&shop.backend, &cancel_sql(&format!(" {} ", paid.to_lowercase()), ", p_external_order_id => ''"));
    shop.set_card(&ming.card, "personal", "frozen");
    shop.backend.run(&format!("select app.set_merchant_status('{SHOP}', false, 'x')"));
    again(&shop.cashier, &cancel_sql(&paid, ""));
}

#[test]
fn a_payment_of_nothing_is_cancelled_and_its_coupon_used_again() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    free(&shop, "FREE", r#""budget_amount": 50"#);
    let number = issued(&shop, "FREE", &ming);
    let paid = paid_by(&shop, &ming, &number);
    assert_eq!((state(&shop, &number), left(&shop, "FREE")), (["used".into(), paid.clone()], "20.00".into()));
    // By an amount nothing of it can be given back.
    shop.cashier.refused("INVALID_AMOUNT", &Shop::refund_sql(&paid, "0", ""));
    shop.cashier.refused("REFUND_EXCEEDS_REMAINING", &Shop::refund_sql(&paid, "0.01", ""));

    let first = shop.cashier.row(&cancel_sql(&paid, ""));
    assert_eq!([&first["tx_no"], &first["refunded_amount"], &first["replayed"]], [&paid, "0.00", "f"]);
    assert_eq!(payment(&shop, &paid), ["cancelled", "0.00", "1"]);
    assert_eq!((state(&shop, &number), left(&shop, "FREE")), (["active".into(), NULL.into()], "50.00".into()));
    let refund = shop.superuser.row(&format!(
        "select r.status, r.final_amount, r.refundable_left, r.points_earned, r.card_seq - p.card_seq as after, r.prev_tx_id = p.id as next, \
                p.refund_chain_id = r.id as noted, r.coupon_discount \
         from app.transactions r join app.transactions p on p.tx_no = r.original_tx_no where r.tx_no = '{}'",
        &first["refund_tx_no"]
    ));
    assert_eq!(refund.values(), ["completed", "0.00", "0.00", "0", "1", "t", "t", NULL]);
    let again = shop.cashier.row(&cancel_sql(&paid, ""));
    assert_eq!(
        [&again["refund_tx_no"], &again["refunded_amount"], &again["replayed"]],
        [&first["refund_tx_no"], "0.00", "t"]
    );
    // Nothing of it is left to be given back, or to be corrected.
    shop.cashier.refused("NOT_REFUNDABLE", &Shop::refund_sql(&paid, "0.01", ""));
    shop.backend.refused("STATUS_CONFLICT", &format!("select * from app.compensate_tx('{paid}', 1.00, 'x')"));
    sound(&shop);

    let next = paid_by(&shop, &ming, &number);
    assert_eq!((state(&shop, &number), left(&shop, "FREE")), (["used".into(), next.clone()], "20.00".into()));
    // The first one's cancellation said again gives nothing back a second time.
    shop.cashier.run(&cancel_sql(&paid, ""));
    assert_eq!(state(&shop, &number), ["used".to_owned(), next.clone()]);
    shop.cashier.run(&cancel_sql(&next, ""));
    assert_eq!((state(&shop, &number), left(&shop, "FREE")), (["active".into(), NULL.into()], "50.00".into()));
    sound(&shop);
}

#[test]
fn statements_and_days_tell_of_both() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    free(&shop, "FREE", "");
    let number = issued(&shop, "FREE", &ming);
    let paid = paid_by(&shop, &ming, &number);
    let day = "select payments, payment_total, refunds, refund_total, net from app.day_totals() where payment_method = 'balance'";
    assert_eq!(shop.backend.row(day).values(), ["1", "0.00", "0", "0.00", "0.00"]);
    let refund = shop.cashier.row(&cancel_sql(&paid, ""))["refund_tx_no"].to_owned();
    // A day that is over does not lose a payment that was counted.
    let expected = ["1", "0.00", "1", "0.00", "0.00"];
    assert_eq!(shop.backend.row(day).values(), expected);
    assert_eq!(shop.superuser.row(&day.replace("app.day_totals()", "app.v_reconciliation")).values(), expected);
    let own = shop.db.user(ming.id);
    let lines = [
        (&shop.cashier, format!("select tx_no || ' ' || status from app.merchant_statement('{SHOP}', p_limit => 2)")),
        (&own, format!("select tx_no || ' ' || status from app.card_statement('{}', p_limit => 2)", ming.card)),
        (&own, "select tx_no || ' ' || status from app.usage_page(p_limit => 2)".into()),
        (
            &own,
            "select tx_no || ' ' || status from app.v_usage_logs where tx_type <> 'recharge' order by posted_at desc"
                .into(),
        ),
    ];
    for (session, sql) in lines {
        assert_eq!(session.column(&sql), [format!("{refund} completed"), format!("{paid} cancelled")], "{sql}");
    }
    let listed = shop.cashier.column(&format!("select tx_no from app.tx_by_no('{paid}')"));
    assert_eq!(listed, [paid, refund]);
}

#[test]
fn a_coupon_comes_back_by_its_own_terms() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    free(&shop, "KEPT", r#""on_full_refund": "keep_used", "budget_amount": 50"#);
    free(&shop, "NEW", r#""first_purchase_only": true"#);
    let [kept, new] = ["KEPT", "NEW"].map(|code| issued(&shop, code, &ming));
    let paid = paid_by(&shop, &ming, &kept);
    let failure = shop.cashier.refused("COUPON_NOT_USABLE", &charge_sql(&shop, &ming, "30.00", &new));
    assert!(failure.detail.starts_with("first purchase only"), "{failure:?}");
    shop.cashier.run(&cancel_sql(&paid, ""));
    assert_eq!((state(&shop, &kept), left(&shop, "KEPT")), (["used".into(), paid], "50.00".into()));
    sound(&shop);
    // What was cancelled was no purchase.
    let first = paid_by(&shop, &ming, &new);
    shop.cashier.run(&cancel_sql(&first, ""));
    assert_eq!(state(&shop, &new), ["active".to_owned(), NULL.into()]);
    paid_by(&shop, &ming, &new);
    sound(&shop);
}

#[test]
fn an_order_names_its_payment() {
    let shop = Shop::open();
    let other = shop.another("SHOP-002");
    let ming = shop.member("100.00");
    let paid = shop.cashier.row(&Shop::charge_sql(&shop.code(&ming), "20.00", "p_external_order_id => 'o-1'"));
    let order = by_order_sql("o-1");
    other.refused("NOT_MERCHANT_USER", &order);
    // Another shop's order of the same name is another.
    other.refused("TX_NOT_FOUND", &order.replace(SHOP, "SHOP-002"));
    // It may still come.
    shop.cashier.refused("TX_NOT_FOUND", &by_order_sql("o-2"));
    let row = shop.cashier.row(&order);
    assert_eq!([&row["tx_no"], &row["refunded_amount"], &row["replayed"]], [&paid["tx_no"], "20.00", "f"]);
    let later = shop.cashier.row(&Shop::charge_sql(&shop.code(&ming), "20.00", "p_external_order_id => 'o-2'"));
    assert_eq!(&shop.cashier.row(&by_order_sql("o-2"))["tx_no"], &later["tx_no"]);
    assert_eq!(&shop.cashier.row(&order)["replayed"], "t");
    assert_eq!(shop.balance(&ming.card), "100.00");
    for sql in [
        format!("select * from app.cancel_payment('{SHOP}')"),
        format!("select * from app.cancel_payment('{SHOP}', '', ' ')"),
        format!("select * from app.cancel_payment('{SHOP}', '{}', 'o-1')", &paid["tx_no"]),
        format!("select * from app.cancel_payment('{SHOP}', 'x', 'o-1')"),
        by_order_sql(&"o".repeat(201)),
    ] {
        shop.cashier.refused("INVALID_ARGUMENT", &sql);
    }
}

#[test]
fn a_key_answers_once_and_for_one_payment() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let [one, two] = [0, 1].map(|_| shop.charge(&ming, "20.00")["tx_no"].to_owned());
    let by_key = |tx_no: &str, key: &str| cancel_sql(tx_no, &format!(", p_idempotency_key => '{key}'"));
    shop.refund(&one, "5.00");
    shop.cashier.run(&Shop::refund_sql(&one, "5.00", "p_idempotency_key => 'part'"));
    // The key of a part is not that of the rest.
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &by_key(&one, "part"));
    let first = shop.cashier.row(&by_key(&one, "k"));
    assert_eq!([&first["refunded_amount"], &first["replayed"]], ["10.00", "f"]);
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &by_key(&two, "k"));
    // A new key for what is done already is known by it from then on.
    for key in ["k", "k-2", "k-2"] {
        let again = shop.cashier.row(&by_key(&one, key));
        assert_eq!([&again["refund_tx_no"], &again["replayed"]], [&first["refund_tx_no"], "t"], "{key}");
    }
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &by_key(&two, "k-2"));
    assert_eq!(shop.balance(&ming.card), "80.00");
    assert_eq!(&shop.cashier.row(&by_key(&two, "k-3"))["replayed"], "f");
    sound(&shop);
}

#[test]
fn a_repeated_charge_says_what_became_of_the_payment() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    free(&shop, "FREE", "");
    let number = issued(&shop, "FREE", &ming);
    let free = Shop::charge_sql(&shop.code(&ming), "30.00", &format!("p_idempotency_key => 'f', {}", with(&number)));
    let mei = shop.member("100.00");
    let dear = Shop::charge_sql(&shop.code(&mei), "30.00", "p_idempotency_key => 'd'");
    for (charge, amount, status) in [(free, "0.00", "cancelled"), (dear, "30.00", "completed")] {
        let first = shop.cashier.row(&charge);
        assert_eq!((&first["final_amount"], &first["status"]), (amount, "completed"));
        shop.cashier.run(&cancel_sql(&first["tx_no"], ""));
        let again = shop.cashier.row(&charge);
        assert_eq!(again.without(&["status", "replayed"]), first.without(&["status", "replayed"]));
        assert_eq!((&again["status"], &again["replayed"]), (status, "t"));
    }
    assert_eq!((shop.balance(&mei.card), state(&shop, &number)[0].clone()), ("100.00".into(), "active".into()));
}

#[test]
fn only_the_merchant_that_took_it_cancels_a_payment() {
    let shop = Shop::open();
    let other = shop.another("SHOP-002");
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "20.00")["tx_no"].to_owned();
    let recharge = shop.recharge(&ming.card, "5.00")["tx_no"].to_owned();
    let cancel = cancel_sql(&paid, "");
    other.refused("NOT_MERCHANT_USER", &cancel);
    other.refused("TX_NOT_FOUND", &cancel.replace(SHOP, "SHOP-002"));
    shop.backend.refused("TX_NOT_FOUND", &cancel.replace(SHOP, "SHOP-002"));
    shop.db.user(ming.id).refused("NOT_MERCHANT_USER", &cancel);
    shop.db.anon().denied(&cancel);
    shop.cashier.refused("MERCHANT_NOT_FOUND", &cancel.replace(SHOP, "SHOP-999"));
    for number in ["x", "ZF9912000001", &recharge, &format!("TK{}", &paid[2..])] {
        shop.cashier.refused("TX_NOT_FOUND", &cancel_sql(number, ""));
    }
    let refund = shop.refund(&paid, "1.00")["refund_tx_no"].to_owned();
    shop.cashier.refused("NOT_REFUNDABLE", &cancel_sql(&refund, ""));
    shop.backend.run(&format!("select app.set_merchant_status('{SHOP}', false, 'x')"));
    shop.cashier.refused("MERCHANT_INACTIVE", &cancel);
    assert_eq!(&shop.backend.row(&cancel)["refunded_amount"], "19.00");
    assert_eq!(shop.balance(&ming.card), "105.00");
}

#[test]
fn what_is_left_is_given_back_whatever_the_limits_are_now() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    let paid = shop.charge(&ming, "900.00")["tx_no"].to_owned();
    shop.backend.run(r#"select app.update_settings('{"max_balance": 500, "max_amount": 100}')"#);
    shop.cashier.refused("INVALID_AMOUNT", &Shop::refund_sql(&paid, "900.00", ""));
    assert_eq!(&shop.cashier.row(&cancel_sql(&paid, ""))["refunded_amount"], "900.00");
    assert_eq!(shop.card(&ming), ("1000.00".into(), "0".into(), "0".into()));
}

#[test]
fn points_and_level_go_with_what_is_left() {
    let shop = Shop::open();
    let ming = shop.member("20000.00");
    let paid = shop.charge(&ming, "10000.00")["tx_no"].to_owned();
    shop.refund(&paid, "0.01");
    assert_eq!(shop.card(&ming).2, "2");
    shop.cashier.run(&cancel_sql(&paid, ""));
    assert_eq!(shop.card(&ming), ("20000.00".into(), "0".into(), "0".into()));
    sound(&shop);
}

/// One who pays with a company card.
fn a_company(shop: &Shop) -> (Company, Member) {
    let ming = shop.member("0");
    let company = shop.company("1.000", "100.00", &shop.member("0"));
    shop.bind(&company, &ming, "member");
    (company, ming)
}

#[test]
fn a_company_card_gets_back_what_it_paid() {
    let shop = Shop::open();
    let (company, ming) = a_company(&shop);
    free(&shop, "FREE", r#""card_types": ["enterprise"]"#);
    let number = issued(&shop, "FREE", &ming);
    let paid = shop.charge_company(&company, &ming, "40.00")["tx_no"].to_owned();
    let free = Shop::charge_sql(&shop.company_code(&company, &ming), "30.00", &with(&number));
    let free = shop.cashier.row(&free)["tx_no"].to_owned();
    shop.backend.run(&format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, ming.id));
    assert_eq!(&shop.cashier.row(&cancel_sql(&paid, ""))["refunded_amount"], "40.00");
    assert_eq!(&shop.cashier.row(&cancel_sql(&free, ""))["refunded_amount"], "0.00");
    assert_eq!((shop.balance(&company.card), state(&shop, &number)[0].clone()), ("100.00".into(), "active".into()));
    assert_eq!(payment(&shop, &free), ["cancelled", "0.00", "1"]);
    sound(&shop);
}

#[test]
fn a_replaced_card_passes_it_on_and_a_closed_one_cannot_take_it() {
    let shop = Shop::open();
    let ming = shop.member("50.00");
    free(&shop, "FREE", "");
    let number = issued(&shop, "FREE", &ming);
    let free = paid_by(&shop, &ming, &number);
    let paid = shop.charge(&ming, "20.00")["tx_no"].to_owned();
    shop.set_card(&ming.card, "personal", "lost");
    let new = shop.backend.row(&format!("select * from app.replace_card('{}', 'x')", ming.card));
    let new = ming.with_card(&new["card_id"], &new["card_no"]);
    for tx_no in [&paid, &free] {
        let refund = shop.cashier.row(&cancel_sql(tx_no, ""))["refund_tx_no"].to_owned();
        let on = shop.superuser.value(&format!("select card_id from app.transactions where tx_no = '{refund}'"));
        assert_eq!(on, new.card);
    }
    assert_eq!(shop.card(&new), ("50.00".into(), "0".into(), "0".into()));
    assert_eq!((state(&shop, &number)[0].as_str(), payment(&shop, &free)[0].as_str()), ("active", "cancelled"));
    sound(&shop);

    let mei = shop.member("20.00");
    let number = issued(&shop, "FREE", &mei);
    let [free, paid, done] = [
        paid_by(&shop, &mei, &number),
        shop.charge(&mei, "10.00")["tx_no"].into(),
        shop.charge(&mei, "10.00")["tx_no"].into(),
    ];
    shop.cashier.run(&cancel_sql(&done, ""));
    shop.backend.run(&format!("select * from app.compensate_tx('{done}', -10.00, 'x')"));
    shop.set_card(&mei.card, "personal", "closed");
    for tx_no in [&free, &paid] {
        shop.cashier.refused("CARD_NOT_ACTIVE", &cancel_sql(tx_no, ""));
        shop.backend.refused("CARD_NOT_ACTIVE", &cancel_sql(tx_no, ""));
    }
    assert_eq!(&shop.cashier.row(&cancel_sql(&done, ""))["replayed"], "t");
    assert_eq!((state(&shop, &number)[0].as_str(), payment(&shop, &free)[0].as_str()), ("used", "completed"));
}

#[test]
fn a_payment_of_the_month_before_is_cancelled_in_this_one() {
    let mut shop = Shop::open();
    shop.db.without_books();
    let ming = shop.member("100.00");
    shop.charge(&ming, "60.00");
    shop.a_month_passes();
    let paid = shop.superuser.value("select tx_no from app.transactions where tx_type = 'payment'");
    let first = shop.cashier.row(&cancel_sql(&paid, ""));
    assert_ne!(paid[2..6], first["refund_tx_no"][2..6]);
    assert_eq!(shop.card(&ming), ("100.00".into(), "0".into(), "0".into()));
    assert_eq!(shop.db.problems(), [] as [String; 0]);
    shop.superuser.run("call audit.seal()");
    let archive =
        "select app.archive_month_batch((date_trunc('month', now() at time zone 'UTC') - interval '1 month')::date)";
    assert_eq!(shop.superuser.value(archive), "NULL", "archived");
    shop.cashier.refused("ARCHIVED", &cancel_sql(&paid, ""));
    shop.cashier.refused("ARCHIVED", &cancel_sql(&paid, ", p_idempotency_key => 'k'"));
}

#[test]
fn who_cancels_at_the_same_instant_gets_one_answer() {
    for level in ["read committed", "repeatable read", "serializable"] {
        for round in 0..6 {
            let shop = Shop::open();
            let ming = shop.member("100.00");
            free(&shop, "FREE", r#""budget_amount": 50"#);
            let number = issued(&shop, "FREE", &ming);
            let free = round % 2 == 0;
            let paid =
                if free { paid_by(&shop, &ming, &number) } else { shop.charge(&ming, "30.00")["tx_no"].to_owned() };
            let jobs = (0..4).map(|_| {
                let till = shop.db.user(shop.cashier_id);
                till.run(&format!("set default_transaction_isolation = '{level}'"));
                (till, cancel_sql(&paid, ""))
            });
            let answers = together(jobs.collect());
            let rows: Vec<&Row> = answers.iter().filter_map(|a| a.as_ref().ok()).map(|rows| &rows[0]).collect();
            assert_eq!(rows.iter().filter(|row| &row["replayed"] == "f").count(), 1, "{level}: {answers:?}");
            assert!(rows.iter().all(|row| row["refund_tx_no"] == rows[0]["refund_tx_no"]), "{answers:?}");
            for failure in answers.iter().filter_map(|a| a.as_ref().err()) {
                assert!(failure.code == "40001" && level != "read committed", "{level}: {failure:?}");
            }
            let status = if free { ["cancelled", "0.00", "1"] } else { ["completed", "30.00", "1"] };
            assert_eq!(payment(&shop, &paid), status);
            assert_eq!((shop.balance(&ming.card), left(&shop, "FREE")), ("100.00".into(), "50.00".into()));
            if round < 2 && level == "read committed" {
                sound(&shop);
            }
        }
    }
}

#[test]
fn who_waits_for_a_cancellation_is_answered_by_how_it_ends() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    free(&shop, "FREE", "");
    let number = issued(&shop, "FREE", &ming);
    for (end, replayed) in [("rollback", "f"), ("commit", "t")] {
        for free in [true, false] {
            let paid =
                if free { paid_by(&shop, &ming, &number) } else { shop.charge(&ming, "30.00")["tx_no"].to_owned() };
            shop.cashier.run("begin");
            shop.cashier.run(&cancel_sql(&paid, ""));
            let till = shop.db.user(shop.cashier_id);
            let waiting = Waiting::behind(till, &shop.cashier, &shop.superuser, cancel_sql(&paid, ""));
            shop.cashier.run(end);
            let answer = waiting.end();
            assert_eq!(&of(&answer)["replayed"], replayed, "{end}, {free}: {answer:?}");
            assert_eq!(payment(&shop, &paid)[2], "1");
        }
    }
    assert_eq!((shop.balance(&ming.card), state(&shop, &number)[0].clone()), ("100.00".into(), "active".into()));
    sound(&shop);
}

#[test]
fn a_cancellation_and_a_refund_at_the_same_instant_give_back_what_was_paid() {
    let shop = Shop::open();
    let mut ways = [0, 0];
    for round in 0..16 {
        let ming = shop.member("100.00");
        let paid = shop.charge(&ming, "60.00")["tx_no"].to_owned();
        let amount = ["25.00", "60.00"][round % 2];
        let [cancelled, refunded] = at_once(&shop, cancel_sql(&paid, ""), Shop::refund_sql(&paid, amount, ""));
        let row = of(&cancelled);
        match (&refunded, amount) {
            // The refund came first: the rest was left for the other, or nothing, and then that is the answer.
            (Ok(_), "25.00") => assert_eq!((&row["refunded_amount"], &row["replayed"]), ("35.00", "f")),
            (Ok(rows), _) => {
                assert_eq!((&row["refund_tx_no"], &row["replayed"]), (&rows[0]["refund_tx_no"], "t"));
            }
            (Err(failure), _) => {
                failure.must_be("REFUND_EXCEEDS_REMAINING", "after it was cancelled");
                assert_eq!((&row["refunded_amount"], &row["replayed"]), ("60.00", "f"));
            }
        }
        ways[usize::from(refunded.is_ok())] += 1;
        assert_eq!(payment(&shop, &paid)[1], "60.00");
        assert_eq!(shop.card(&ming), ("100.00".into(), "0".into(), "0".into()));
    }
    eprintln!("refused and done: {ways:?}");
    sound(&shop);
}

#[test]
fn a_cancellation_and_the_next_use_at_the_same_instant_are_one_after_the_other() {
    let mut ways = [0, 0];
    for _ in 0..12 {
        let shop = Shop::open();
        let ming = shop.member("100.00");
        free(&shop, "FREE", r#""budget_amount": 30"#);
        let number = issued(&shop, "FREE", &ming);
        let paid = paid_by(&shop, &ming, &number);
        let reuse = charge_sql(&shop, &ming, "30.00", &number);
        let [cancelled, reused] = at_once(&shop, cancel_sql(&paid, ""), reuse);
        assert_eq!(&of(&cancelled)["refunded_amount"], "0.00");
        ways[usize::from(reused.is_ok())] += 1;
        let expected = match reused {
            Ok(rows) => (["used".to_owned(), rows[0]["tx_no"].to_owned()], "0.00".to_owned()),
            Err(failure) => {
                failure.must_be("COUPON_NOT_USABLE", "before it was cancelled");
                (["active".to_owned(), NULL.into()], "30.00".into())
            }
        };
        assert_eq!((state(&shop, &number), left(&shop, "FREE")), expected);
        assert_eq!(payment(&shop, &paid), ["cancelled", "0.00", "1"]);
    }
    eprintln!("refused and done: {ways:?}");
}

#[test]
fn it_is_the_same_where_statements_write_the_rows() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    free(&shop, "FREE", r#""budget_amount": 50"#);
    let number = issued(&shop, "FREE", &ming);
    let s = &shop.superuser;
    s.run("create function public.pass() returns trigger language plpgsql as $$ begin return new; end $$");
    let tables = ["transactions", "personal_cards", "member_coupons", "coupon_budget_parts", "idempotency_keys"];
    for table in tables {
        s.run(&format!(
            "create trigger pass before insert or update on app.{table} for each row execute function public.pass()"
        ));
    }
    let paid = paid_by(&shop, &ming, &number);
    let by_key = cancel_sql(&paid, ", p_idempotency_key => 'k'");
    let first = shop.cashier.row(&by_key);
    let again = [&by_key, &cancel_sql(&paid, ""), &cancel_sql(&paid, ", p_idempotency_key => 'k-2'")];
    for sql in again {
        assert_eq!(shop.cashier.row(sql)["refund_tx_no"], first["refund_tx_no"]);
    }
    assert_eq!(payment(&shop, &paid), ["cancelled", "0.00", "1"]);
    assert_eq!((state(&shop, &number), left(&shop, "FREE")), (["active".into(), NULL.into()], "50.00".into()));
    assert_eq!(shop.db.problems(), [] as [String; 0]);
}

#[test]
fn the_books_find_a_cancellation_that_is_none() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    free(&shop, "FREE", "");
    let [used, other] = [0, 1].map(|_| issued(&shop, "FREE", &ming));
    let free = paid_by(&shop, &ming, &used);
    let open = paid_by(&shop, &ming, &other);
    let paid = shop.charge(&ming, "10.00")["tx_no"].to_owned();
    shop.cashier.run(&cancel_sql(&free, ""));
    let part = shop.refund(&paid, "4.00")["refund_tx_no"].to_owned();
    let s = &shop.superuser;
    let findings = "select check_name, detail from app.verify_books() where ok is not true";
    assert_eq!(s.rows(findings), [] as [Row; 0]);
    let set = |what: &str, tx_no: &str| format!("update app.transactions set {what} where tx_no = '{tx_no}'");
    for (sabotage, check, says) in [
        (set("status = 'completed'", &free), "refunds", "cancelled by a refund of 0.00, and is completed"),
        (set("status = 'cancelled'", &open), "refunds", "is cancelled, and has 0 refunds"),
        (set("status = 'cancelled'", &paid), "amounts", "is cancelled, and paid 10.00"),
        (set("status = 'failed'", &free), "amounts", "is failed, and yet posted"),
        (set("status = 'cancelled'", &part), "amounts", "is cancelled, and yet posted"),
        (set("refund_chain_id = null", &free), "refund_chain", "does not lead to its latest refund"),
        (set("final_amount = 0, raw_amount = 0", &part), "refunds", "refunded, but its refunds sum up to"),
        (set("points_earned = 3", &free), "refund_points", "0 of 3 points taken back"),
    ] {
        s.run("begin");
        s.run(&sabotage);
        let found = s.rows(findings);
        s.run("rollback");
        let named = found.iter().any(|row| &row["check_name"] == check && row["detail"].contains(says));
        assert!(named, "{sabotage}: {found:?}");
    }
}
