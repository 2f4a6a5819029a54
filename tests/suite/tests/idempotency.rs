//! A request that comes again is answered again, and moves nothing again.

use mps_tests::{SHOP, Shop, q};

/// A charge with a key, and the statement that made it.
fn charged(shop: &Shop, more: &str) -> (mps_tests::Member, String, mps_tests::Row) {
    let ming = shop.member("100.00");
    let sql = Shop::charge_sql(&shop.code(&ming), "30.00", more);
    let row = shop.cashier.row(&sql);
    assert_eq!(&row["replayed"], "f");
    (ming, sql, row)
}

/// Asserts that a statement gives a first answer once more, and that nothing moves.
#[track_caller]
fn replays(session: &mps_tests::Session, sql: &str, first: &mps_tests::Row) {
    let again = session.rows_moving_nothing(sql);
    assert_eq!(again.len(), 1);
    assert_eq!(&again[0]["replayed"], "t", "{sql}");
    assert_eq!(again[0].without(&["replayed"]), first.without(&["replayed"]), "{sql}");
}

#[test]
fn a_repeated_charge_replays_whatever_happened_to_code_card_member_and_balance() {
    let shop = Shop::open();
    let (ming, sql, first) = charged(&shop, "p_idempotency_key => 'k-1'");
    replays(&shop.cashier, &sql, &first); // the code is used up
    let new = shop.code(&ming);
    replays(&shop.cashier, &sql, &first); // it was rotated
    replays(&shop.cashier, &Shop::charge_sql(&new, "30.00", "p_idempotency_key => 'k-1'"), &first); // another code of the card
    shop.superuser.run("update app.personal_cards set qr_expires_at = now() - interval '1 day'");
    replays(&shop.cashier, &sql, &first); // it expired
    shop.charge(&ming, "70.00");
    replays(&shop.cashier, &sql, &first); // the balance is spent
    shop.refund(&first["tx_no"], "30.00");
    replays(&shop.cashier, &sql, &first); // refunded
    shop.backend.run(&format!("select app.set_member_status('{}', 'suspended', 'x')", ming.id));
    replays(&shop.cashier, &sql, &first);
    shop.set_card(&ming.card, "personal", "frozen");
    replays(&shop.cashier, &sql, &first);
    shop.set_card(&ming.card, "personal", "lost");
    shop.backend.run(&format!("select * from app.replace_card('{}', 'x')", ming.card));
    replays(&shop.cashier, &sql, &first);
    shop.backend.run(&format!("select app.set_merchant_status('{SHOP}', false, 'x')"));
    replays(&shop.cashier, &sql, &first);
    replays(&shop.backend, &sql, &first);
}

#[test]
fn a_repeated_charge_replays_across_the_turn_of_the_month() {
    let shop = Shop::open();
    let (ming, sql, first) = charged(&shop, "p_idempotency_key => 'k-1', p_external_order_id => 'o-1'");
    shop.a_month_passes();
    let again = shop.cashier.rows_moving_nothing(&sql).remove(0);
    assert_eq!((&again["replayed"], &again["final_amount"], &again["card_id"]), ("t", "30.00", ming.card.as_str()));
    assert_ne!(&again["tx_no"], &first["tx_no"], "the row is of another month now");
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &sql.replace("30.00", "31.00"));
    let by_order = Shop::charge_sql(&shop.code(&ming), "30.00", "p_external_order_id => 'o-1'");
    assert_eq!(&shop.cashier.row(&by_order)["tx_no"], &again["tx_no"]);
}

#[test]
fn the_first_values_are_answered_after_the_level_changed() {
    let shop = Shop::open();
    let ming = shop.member("10000.00");
    let sql = Shop::charge_sql(&shop.code(&ming), "5000.00", "p_idempotency_key => 'k-1'");
    let first = shop.cashier.row(&sql);
    assert_eq!((&first["discount"], &first["points_earned"]), ("1.000", "5000"));
    assert_eq!(shop.card(&ming).2, "1");
    replays(&shop.cashier, &sql, &first);
}

#[test]
fn a_key_with_another_request_is_an_error() {
    let shop = Shop::open();
    let (ming, sql, _) = charged(&shop, "p_idempotency_key => 'k-1'");
    let mei = shop.member("100.00");
    let company = shop.company("1.000", "100.00", &ming);
    shop.bind(&company, &mei, "member");
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &sql.replace("30.00", "30.01"));
    shop.cashier
        .refused("IDEMPOTENCY_KEY_REUSED", &Shop::charge_sql(&shop.code(&mei), "30.00", "p_idempotency_key => 'k-1'"));
    let by_company = Shop::charge_sql(&shop.company_code(&company, &ming), "30.00", "p_idempotency_key => 'k-1'");
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &by_company);
    shop.cashier
        .refused("IDEMPOTENCY_KEY_REUSED", &format!("{}, p_external_order_id => 'o-1')", &sql[..sql.len() - 1]));
    // The member is part of the request: two employees of one card are two requests.
    let employee = Shop::charge_sql(&shop.company_code(&company, &ming), "10.00", "p_idempotency_key => 'k-2'");
    shop.cashier.run(&employee);
    let other = Shop::charge_sql(&shop.company_code(&company, &mei), "10.00", "p_idempotency_key => 'k-2'");
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &other);
}

#[test]
fn a_key_is_its_merchants_and_its_operations_own() {
    let shop = Shop::open();
    let other = shop.another("SHOP-002");
    let (ming, sql, first) = charged(&shop, "p_idempotency_key => 'k-1', p_external_order_id => 'o-1'");
    let elsewhere =
        Shop::charge_sql(&shop.code(&ming), "5.00", "p_idempotency_key => 'k-1', p_external_order_id => 'o-1'")
            .replace(SHOP, "SHOP-002");
    let row = other.row(&elsewhere);
    assert_eq!((&row["replayed"], &row["final_amount"]), ("f", "5.00"));
    // Another merchant's operator learns nothing through the key, and neither does a removed one.
    other.refused("NOT_MERCHANT_USER", &sql);
    shop.db.user(ming.id).refused("NOT_MERCHANT_USER", &sql);
    // The same key for a refund is another operation's.
    let refund = shop.cashier.row(&Shop::refund_sql(&first["tx_no"], "1.00", "p_idempotency_key => 'k-1'"));
    assert_eq!(&refund["replayed"], "f");
    // And a card's: recharge, compensation, points.
    let recharge = format!(
        "select * from app.user_recharge_personal_card('{}', 1.00, 'cash', p_idempotency_key => 'k-1')",
        ming.card
    );
    assert_eq!(&shop.backend.row(&recharge)["replayed"], "f");
    let compensate = format!("select * from app.compensate_tx('{}', 1.00, 'x', 'k-1')", &first["tx_no"]);
    assert_eq!(&shop.backend.row(&compensate)["replayed"], "f");
    let points = format!("select * from app.adjust_points('{}', 7, 'x', 'k-1')", ming.card);
    assert_eq!(shop.backend.row(&points).values(), ["41", "0"]); // 30 + 5 - 1 + 7
    replays(&shop.cashier, &sql, &first);
}

#[test]
fn a_failed_attempt_does_not_bind_its_key_or_order() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let more = "p_idempotency_key => 'k-1', p_external_order_id => 'o-1'";
    shop.cashier.refused("INSUFFICIENT_BALANCE", &Shop::charge_sql(&shop.code(&ming), "10.01", more));
    let row = shop.cashier.row(&Shop::charge_sql(&shop.code(&ming), "9.00", more));
    assert_eq!(&row["replayed"], "f");
    shop.cashier
        .refused("REFUND_EXCEEDS_REMAINING", &Shop::refund_sql(&row["tx_no"], "9.01", "p_idempotency_key => 'k-1'"));
    assert_eq!(
        &shop.cashier.row(&Shop::refund_sql(&row["tx_no"], "2.00", "p_idempotency_key => 'k-1'"))["replayed"],
        "f"
    );
}

#[test]
fn an_order_is_charged_once_with_or_without_a_key() {
    let shop = Shop::open();
    let (ming, sql, first) = charged(&shop, "p_external_order_id => 'o-1'");
    replays(&shop.cashier, &sql, &first);
    shop.cashier.refused("EXTERNAL_ORDER_CONFLICT", &sql.replace("30.00", "30.01"));
    let mei = shop.member("100.00");
    shop.cashier.refused(
        "EXTERNAL_ORDER_CONFLICT",
        &Shop::charge_sql(&shop.code(&mei), "30.00", "p_external_order_id => 'o-1'"),
    );
    // A known order with a new key binds the key to the same transaction...
    let both = Shop::charge_sql(&shop.code(&ming), "30.00", "p_external_order_id => 'o-1', p_idempotency_key => 'k-2'");
    let again = shop.cashier.row(&both);
    assert_eq!((&again["replayed"], &again["tx_no"]), ("t", &first["tx_no"]));
    replays(&shop.cashier, &both, &first);
    // ...which then answers for that order only.
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &both.replace("'o-1'", "'o-2'"));
    shop.cashier
        .refused("IDEMPOTENCY_KEY_REUSED", &Shop::charge_sql(&shop.code(&ming), "30.00", "p_idempotency_key => 'k-2'"));
    // A conflict binds no key.
    shop.cashier.refused(
        "EXTERNAL_ORDER_CONFLICT",
        &Shop::charge_sql(&shop.code(&ming), "5.00", "p_external_order_id => 'o-1', p_idempotency_key => 'k-3'"),
    );
    assert_eq!(
        &shop.cashier.row(&Shop::charge_sql(&shop.code(&ming), "5.00", "p_idempotency_key => 'k-3'"))["replayed"],
        "f"
    );
    assert_eq!(shop.count("tx_type = 'payment'"), "2");
}

#[test]
fn key_and_order_of_two_different_charges_do_not_mix() {
    let shop = Shop::open();
    let (ming, _, first) = charged(&shop, "p_idempotency_key => 'k-1', p_external_order_id => 'o-1'");
    let second = shop.cashier.row(&Shop::charge_sql(
        &shop.code(&ming),
        "30.00",
        "p_idempotency_key => 'k-2', p_external_order_id => 'o-2'",
    ));
    assert_ne!(&first["tx_no"], &second["tx_no"]);
    let mixed =
        Shop::charge_sql(&shop.code(&ming), "30.00", "p_idempotency_key => 'k-1', p_external_order_id => 'o-2'");
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &mixed);
}

#[test]
fn a_repeated_refund_replays_after_the_payment_is_refunded_whole() {
    let shop = Shop::open();
    let (_, _, paid) = charged(&shop, "");
    let sql = Shop::refund_sql(&paid["tx_no"], "10.00", "p_idempotency_key => 'r-1'");
    let first = shop.cashier.row(&sql);
    assert_eq!((&first["replayed"], &first["refundable_left"], &first["points_reversed"]), ("f", "20.00", "10"));
    shop.refund(&paid["tx_no"], "20.00");
    replays(&shop.cashier, &sql, &first);
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &sql.replace("10.00", "9.00"));
    let (_, _, other) = charged(&shop, "");
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &sql.replace(&paid["tx_no"], &other["tx_no"]));
    shop.a_month_passes();
    let moved =
        shop.superuser.value("select tx_no from app.transactions where tx_type = 'payment' order by id limit 1");
    assert_eq!(&shop.cashier.row(&sql.replace(&paid["tx_no"], &moved))["replayed"], "t");
}

#[test]
fn a_repeated_recharge_replays_with_its_present_status() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let user = shop.db.user(ming.id);
    let sql = format!(
        "select * from app.user_recharge_personal_card('{}', 20.00, 'alipay', null, '{{}}', 'order-123', 'ide-123')",
        ming.card
    );
    let first = user.row(&sql);
    assert_eq!((&first["status"], &first["replayed"]), ("processing", "f"));
    replays(&user, &sql, &first);
    shop.backend.run(&format!("select * from app.confirm_recharge('{}', 20.00, 'g-1')", &first["tx_no"]));
    let again = user.rows_moving_nothing(&sql).remove(0);
    assert_eq!((&again["status"], &again["replayed"], &again["tx_no"]), ("completed", "t", &first["tx_no"]));
    user.refused("IDEMPOTENCY_KEY_REUSED", &sql.replace("20.00", "21.00"));
    user.refused("IDEMPOTENCY_KEY_REUSED", &sql.replace("alipay", "wechat"));
    user.refused("IDEMPOTENCY_KEY_REUSED", &sql.replace("order-123", "order-124"));
    assert_eq!(shop.balance(&ming.card), "20.00");
}

#[test]
fn a_repeated_compensation_and_points_adjustment_replay() {
    let shop = Shop::open();
    let (ming, _, paid) = charged(&shop, "");
    let sql = format!("select * from app.compensate_tx('{}', -5.00, 'wrong price', 'c-1')", &paid["tx_no"]);
    let first = shop.backend.row(&sql);
    assert_eq!((&first["replayed"], &first["balance_after"]), ("f", "65.00"));
    shop.charge(&ming, "65.00");
    replays(&shop.backend, &sql, &first);
    shop.backend.refused("IDEMPOTENCY_KEY_REUSED", &sql.replace("-5.00", "5.00"));

    let points = format!("select * from app.adjust_points('{}', 5000, 'birthday', 'p-1')", ming.card);
    assert_eq!(shop.backend.row(&points).values(), ["5095", "1"]);
    shop.backend.run(&format!("select * from app.adjust_points('{}', -1000, 'oops')", ming.card));
    assert_eq!(shop.backend.rows_moving_nothing(&points)[0].values(), ["5095", "1"]);
    shop.backend.refused("IDEMPOTENCY_KEY_REUSED", &points.replace("5000", "4000"));
    assert_eq!(shop.card(&ming).1, "4095");
    shop.a_month_passes();
    assert_eq!(shop.backend.rows_moving_nothing(&points)[0].values(), ["5095", "1"]);
}

#[test]
fn keys_are_texts_of_one_to_two_hundred_characters() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let longest = "键".repeat(200);
    for key in ["x", "订单 ✓ '; drop table app.transactions; --", longest.as_str()] {
        let sql = Shop::charge_sql(
            &shop.code(&ming),
            "1.00",
            &format!("p_idempotency_key => {0}, p_external_order_id => {0}", q(key)),
        );
        let first = shop.cashier.row(&sql);
        replays(&shop.cashier, &sql, &first);
    }
    for bad in ["   ", &"k".repeat(201), &"k".repeat(10_000), "a\u{1}b"] {
        for argument in ["p_idempotency_key", "p_external_order_id"] {
            let sql = Shop::charge_sql(&shop.code(&ming), "1.00", &format!("{argument} => {}", q(bad)));
            shop.cashier.refused("INVALID_ARGUMENT", &sql);
        }
    }
}

#[test]
fn equal_charges_without_key_and_order_are_two_charges() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    shop.charge(&ming, "2.00");
    shop.charge(&ming, "2.00");
    assert_eq!(shop.balance(&ming.card), "6.00");
    let keys = shop
        .superuser
        .row("select (select count(*) from app.idempotency_keys) k, (select count(*) from app.external_orders) o");
    assert_eq!(keys.values(), ["0", "0"]);
}

#[test]
fn old_keys_and_payment_orders_are_forgotten_and_recharge_orders_never() {
    let mut shop = Shop::open();
    // Keys of long ago are planted without their transactions.
    shop.db.without_books();
    let ming = shop.member("10.00");
    shop.cashier.run(&Shop::charge_sql(
        &shop.code(&ming),
        "1.00",
        "p_idempotency_key => 'new', p_external_order_id => 'new'",
    ));
    let old = shop.superuser.value("select to_char(now() - interval '6 months', 'YYMM')");
    shop.superuser.run(&format!(
        "insert into app.idempotency_keys values (1, {old}00000000001, 1, 'old');
         insert into app.external_orders values (1, {old}00000000001, 1, 'old'), (2, {old}00000000002, 2, 'recharge'), (0, {old}00000000002, 3, 'trade')"
    ));
    shop.superuser.run("call app.expire_keys()");
    let left = || {
        shop.superuser.column(
            "select idempotency_key from app.idempotency_keys union all select order_id from \
            app.external_orders order by 1",
        )
    };
    assert_eq!(left(), ["new", "new", "recharge", "trade"]);
    let job =
        shop.superuser.row("select rows_done, finished_at is not null from app.job_runs where job = 'expire_keys'");
    assert_eq!(job.values(), ["2", "t"]);
    // Kept for at least as many days as the settings say: of that day's month all stay, of the one before it none.
    for (key, before) in [("just in time", "0"), ("too old", "1 month")] {
        shop.superuser.run(&format!(
            "insert into app.idempotency_keys select 1, (to_char(date_trunc('month', now() at time zone 'UTC' - \
                make_interval(days => key_retention_days)) - interval '{before}', 'YYMM') || '00000000001')::bigint, 1, '{key}' \
             from app.settings"
        ));
    }
    shop.superuser.run("call app.expire_keys()");
    assert_eq!(left(), ["just in time", "new", "new", "recharge", "trade"]);
}
