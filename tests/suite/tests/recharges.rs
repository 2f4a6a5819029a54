//! Recharges: a member cannot make money.

use mps_tests::{NULL, SHOP, Shop, nobody, q};

fn confirm(tx_no: &str, amount: &str, trade: &str) -> String {
    format!("select * from app.confirm_recharge('{tx_no}', {amount}, '{trade}')")
}

fn fail(tx_no: &str) -> String {
    format!("select * from app.fail_recharge('{tx_no}', 'declined')")
}

fn status(shop: &Shop, tx_no: &str) -> String {
    shop.superuser.value(&format!("select status from app.transactions where tx_no = '{tx_no}'"))
}

/// Makes a waiting recharge older than it may become, and runs the job, which has left it alone until then.
fn let_it_lapse(shop: &Shop, tx_no: &str) {
    shop.backend.run(r#"select app.update_settings('{"recharge_ttl_minutes": 5}')"#);
    let before = status(shop, tx_no);
    for minutes in [4, 2] {
        assert_eq!(status(shop, tx_no), before);
        // Within the month of its number.
        shop.superuser.run(&format!(
            "update app.transactions set created_at = greatest(created_at - interval '{minutes} min', \
                date_trunc('month', created_at at time zone 'UTC') at time zone 'UTC') \
             where tx_no = '{tx_no}'"
        ));
        shop.superuser.run("call app.expire_recharges()");
    }
}

#[test]
fn the_seeds_recharge_waits_and_credits_nothing() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let row = shop.db.user(ming.id).row(&format!(
        "select * from app.user_recharge_personal_card('{}', 200.00, 'wechat', '自助充值', '{{}}'::jsonb, 'order-123', 'ide-123')",
        ming.card
    ));
    assert_eq!(row.names(), ["tx_id", "tx_no", "card_id", "amount", "status", "created_at", "replayed"]);
    assert_eq!(
        row.without(&["tx_id", "tx_no", "created_at"]).values(),
        [ming.card.as_str(), "200.00", "processing", "f"]
    );
    assert!(row["tx_no"].starts_with("CZ"));
    assert_eq!(shop.balance(&ming.card), "0.00");
    let stored = shop.superuser.row(&format!(
        "select tx_type, payment_method, raw_amount, final_amount, reason, external_order_id, idempotency_key, member_id, \
         processed_by, card_seq, posted_at, balance_after, merchant_id from app.transactions where id = {}",
        &row["tx_id"]
    ));
    let member = ming.id.to_string();
    assert_eq!(
        stored.values(),
        [
            "recharge",
            "wechat",
            "200.00",
            "200.00",
            "自助充值",
            "order-123",
            "ide-123",
            &member,
            &member,
            NULL,
            NULL,
            NULL,
            NULL
        ]
    );
    shop.cashier.refused("QR_EXPIRED_OR_INVALID", &Shop::charge_sql("x", "1.00", ""));
    shop.cashier.refused("INSUFFICIENT_BALANCE", &Shop::charge_sql(&shop.code(&ming), "0.01", ""));
}

#[test]
fn a_confirmation_credits_once() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let number = shop.pending(&ming, "200.00");
    let sql = format!("select * from app.confirm_recharge('{number}', 200.00, 'g-1', '{{\"bank\": \"icbc\"}}')");
    let row = shop.backend.row(&sql);
    assert_eq!(row.names(), ["tx_id", "tx_no", "card_id", "amount", "status", "replayed"]);
    assert_eq!(row.without(&["tx_id"]).values(), [number.as_str(), &ming.card, "200.00", "completed", "f"]);
    let again = shop.backend.rows_moving_nothing(&sql);
    assert_eq!(again[0].without(&["tx_id"]).values(), [number.as_str(), &ming.card, "200.00", "completed", "t"]);
    assert_eq!(shop.balance(&ming.card), "200.00");
    let stored =
        format!("select card_seq, balance_after, gateway_trade_no from app.transactions where tx_no = '{number}'");
    assert_eq!(shop.superuser.row(&stored).values(), ["1", "200.00", "g-1"]);
    let event = shop.last_event(&number);
    assert_eq!(event.without(&["context"]).values(), [NULL, "service_role", "recharge.confirmed", "transaction"]);
    assert!(event["context"].contains(r#""bank": "icbc""#), "{event:?}");

    assert_eq!(&shop.backend.row(&confirm(&number, "200.00", "g-2"))["status"], "suspense");
    shop.backend.refused("AMOUNT_MISMATCH", &confirm(&number, "199.99", "g-1"));
    shop.backend.refused("RECHARGE_NOT_PENDING", &fail(&number));
}

#[test]
fn another_amount_is_not_credited_and_seen_in_the_log() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let number = shop.pending(&ming, "200.00");
    shop.backend.refused("AMOUNT_MISMATCH", &confirm(&number, "200.01", "g-1"));
    shop.backend.refused("AMOUNT_MISMATCH", &confirm(&number, "20000.00", "g-1"));
    assert_eq!((status(&shop, &number), shop.balance(&ming.card)), ("processing".into(), "0.00".into()));
    if let Ok(log) = std::env::var("MPS_LOG") {
        let log = std::fs::read_to_string(log).expect("the server's log");
        assert!(
            log.contains(&format!("{number}: asked for 200.00, the gateway says 200.01 (trade number g-1)")),
            "it is not in the log"
        );
    }
    shop.backend.run(&confirm(&number, "200.00", "g-1"));
}

#[test]
fn only_backends_confirm_and_fail() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let number = shop.pending(&ming, "200.00");
    for session in [&shop.db.user(ming.id), &shop.cashier, &shop.db.anon(), &shop.db.app_user(ming.id)] {
        session.denied(&confirm(&number, "200.00", "g-1"));
        session.denied(&fail(&number));
    }
}

#[test]
fn a_failed_recharge_is_credited_by_a_later_confirmation() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let number = shop.pending(&ming, "200.00");
    let row = shop.backend.row(&fail(&number));
    assert_eq!(row.without(&["tx_id"]).values(), [number.as_str(), &ming.card, "200.00", "failed", "f"]);
    assert_eq!(shop.backend.rows_moving_nothing(&fail(&number))[0].without(&["tx_id"]).values()[4], "t");
    assert_eq!(&shop.last_event(&number)["action"], "recharge.failed");
    let row = shop.backend.row(&confirm(&number, "200.00", "g-1"));
    assert_eq!((&row["status"], &row["replayed"]), ("completed", "f"));
    assert_eq!(shop.balance(&ming.card), "200.00");
    shop.backend.refused("RECHARGE_NOT_PENDING", &fail(&number));
}

#[test]
fn a_recharge_that_nobody_confirmed_is_cancelled_and_credited_when_the_money_comes_after_all() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let (old, new) = (shop.pending(&ming, "200.00"), shop.pending(&ming, "10.00"));
    let_it_lapse(&shop, &old);
    assert_eq!((status(&shop, &old), status(&shop, &new)), ("cancelled".into(), "processing".into()));
    assert_eq!(&shop.last_event(&old)["action"], "recharge.cancelled");
    shop.backend.refused("RECHARGE_NOT_PENDING", &fail(&old));
    shop.backend.run(&confirm(&old, "200.00", "g-1"));
    assert_eq!((status(&shop, &old), shop.balance(&ming.card)), ("completed".into(), "200.00".into()));
}

#[test]
fn a_confirmation_follows_the_card_to_its_replacement() {
    let shop = Shop::open();
    let ming = shop.member("5.00");
    let number = shop.pending(&ming, "200.00");
    shop.set_card(&ming.card, "personal", "lost");
    let new = shop.backend.row(&format!("select * from app.replace_card('{}', 'x')", ming.card));
    let row = shop.backend.row(&confirm(&number, "200.00", "g-1"));
    assert_eq!(&row["card_id"], &new["card_id"]);
    assert_eq!((shop.balance(&new["card_id"]), shop.balance(&ming.card)), ("205.00".into(), "0.00".into()));
    assert_eq!(&shop.backend.rows_moving_nothing(&confirm(&number, "200.00", "g-1"))[0]["replayed"], "t");
}

#[test]
fn a_late_confirmation_credits_even_a_closed_card() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let number = shop.pending(&ming, "200.00");
    shop.backend
        .refused("CARD_NOT_EMPTY", &format!("select app.set_card_status('{}', 'personal', 'closed', 'x')", ming.card));
    shop.backend.run(&fail(&number));
    shop.set_card(&ming.card, "personal", "closed");
    shop.backend.run(&confirm(&number, "200.00", "g-1"));
    assert_eq!((shop.card_status(&ming.card), shop.balance(&ming.card)), ("closed".into(), "200.00".into()));
}

#[test]
fn a_confirmation_passes_the_largest_balance_and_the_frozen_card() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let number = shop.pending(&ming, "200.00");
    shop.backend.run(r#"select app.update_settings('{"max_balance": 100, "max_amount": 100}')"#);
    shop.set_card(&ming.card, "personal", "frozen");
    shop.backend.run(&confirm(&number, "200.00", "g-1"));
    assert_eq!(shop.balance(&ming.card), "200.00");
}

#[test]
fn last_months_recharge_is_confirmed_this_month() {
    let shop = Shop::open();
    let ming = shop.member("5.00");
    shop.pending(&ming, "200.00");
    shop.a_month_passes();
    let number = shop.superuser.value("select tx_no from app.transactions where status = 'processing'");
    shop.charge(&ming, "5.00");
    shop.backend.run(&confirm(&number, "200.00", "g-1"));
    assert_eq!(shop.balance(&ming.card), "200.00");
    let statement = format!("select tx_no from app.card_statement('{}')", ming.card);
    assert_eq!(shop.backend.column(&statement).first(), Some(&number));
}

#[test]
fn one_trade_number_credits_once() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    let (first, second) = (shop.pending(&ming, "20.00"), shop.pending(&mei, "20.00"));
    shop.backend.run(&confirm(&first, "20.00", "g-1"));
    shop.backend.refused("EXTERNAL_ORDER_CONFLICT", &confirm(&second, "20.00", "g-1"));
    shop.backend.run(&confirm(&second, "20.00", "g-2"));
    // Whatever the gateway.
    let sql = format!("select * from app.user_recharge_personal_card('{}', 7.00, 'alipay')", ming.card);
    let third = shop.db.user(ming.id).row(&sql);
    shop.backend.refused("EXTERNAL_ORDER_CONFLICT", &confirm(&third["tx_no"], "7.00", "g-1"));
    shop.backend.run(&confirm(&third["tx_no"], "7.00", "g-3"));
    assert_eq!((shop.balance(&ming.card), shop.balance(&mei.card)), ("27.00".into(), "20.00".into()));
}

#[test]
fn a_members_order_id_occupies_nobody_elses() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    let recharge = |card: &str| {
        format!("select * from app.user_recharge_personal_card('{card}', 20.00, p_external_order_id => 'o-1')")
    };
    let first = shop.db.user(ming.id).row(&recharge(&ming.card));
    let second = shop.db.user(mei.id).row(&recharge(&mei.card));
    assert_eq!((&second["status"], &second["replayed"]), ("processing", "f"));
    assert_ne!(&first["tx_no"], &second["tx_no"]);
    // On its own card it is one order.
    assert_eq!(&shop.db.user(ming.id).rows_moving_nothing(&recharge(&ming.card))[0]["replayed"], "t");
    shop.db.user(ming.id).refused("EXTERNAL_ORDER_CONFLICT", &recharge(&ming.card).replace("20.00", "21.00"));
    // Both are credited, and the shop's own server has an order of that name besides.
    shop.backend.run(&confirm(&second["tx_no"], "20.00", "g-1"));
    shop.backend.run(&confirm(&first["tx_no"], "20.00", "g-2"));
    let own = shop.backend.row(&recharge(&ming.card).replace("p_ext", "p_payment_method => 'wechat', p_ext"));
    assert_eq!((&own["status"], &own["replayed"]), ("completed", "f"));
    assert_eq!((shop.balance(&ming.card), shop.balance(&mei.card)), ("40.00".into(), "20.00".into()));
}

#[test]
fn a_backends_recharge_completes_at_once() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let sql = format!(
        "select * from app.user_recharge_personal_card('{}', 100.00, 'cash', '柜台', '{{\"till\": 3}}', 'o-1', 'k-1', '{SHOP}')",
        ming.card
    );
    let row = shop.backend.row(&sql);
    assert_eq!(
        row.without(&["tx_id", "tx_no", "created_at"]).values(),
        [ming.card.as_str(), "100.00", "completed", "f"]
    );
    let stored = shop.superuser.row(&format!(
        "select payment_method, balance_after, card_seq, m.code, points_earned, processed_by, t.member_id \
         from app.transactions t join app.merchants m on m.id = t.merchant_id where t.id = {}",
        &row["tx_id"]
    ));
    assert_eq!(stored.values(), ["cash", "100.00", "1", SHOP, "0", NULL, &ming.id.to_string()]);
    assert_eq!(&shop.backend.rows_moving_nothing(&sql)[0]["replayed"], "t");
    // An order is one per payment method, whatever the card.
    let mei = shop.member("0");
    shop.backend.refused("EXTERNAL_ORDER_CONFLICT", &sql.replace(&ming.card, &mei.card).replace("'k-1'", "'k-2'"));
    let by_wechat = sql.replace("cash", "wechat").replace("'k-1'", "'k-3'");
    assert_eq!(&shop.backend.row(&by_wechat)["replayed"], "f");
    assert_eq!(shop.card(&ming), ("200.00".into(), "0".into(), "0".into()));
}

#[test]
fn a_merchants_recharge_key_is_the_merchants() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    let recharge = |card: &str, more: &str| {
        format!(
            "select * from app.user_recharge_personal_card('{card}', 10.00, 'cash', p_idempotency_key => 'k-1'{more})"
        )
    };
    let at_shop = format!(", p_merchant_code => '{SHOP}'");
    shop.backend.run(&recharge(&ming.card, &at_shop));
    shop.backend.refused("IDEMPOTENCY_KEY_REUSED", &recharge(&mei.card, &at_shop));
    // Without a merchant the key is the card's.
    assert_eq!(&shop.backend.row(&recharge(&ming.card, ""))["replayed"], "f");
    assert_eq!(&shop.backend.row(&recharge(&mei.card, ""))["replayed"], "f");
}

#[test]
fn who_may_recharge_what_how() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    let user = shop.db.user(ming.id);
    let recharge =
        |card: &str, more: &str| format!("select * from app.user_recharge_personal_card('{card}', 10.00{more})");
    user.refused("CARD_NOT_FOUND", &recharge(&mei.card, ""));
    shop.cashier.refused("CARD_NOT_FOUND", &recharge(&mei.card, ""));
    user.refused("CARD_NOT_FOUND", &recharge(&nobody().to_string(), ""));
    user.refused("INVALID_PAYMENT_METHOD", &recharge(&ming.card, ", 'cash'"));
    user.refused("NOT_ALLOWED", &recharge(&ming.card, &format!(", p_merchant_code => '{SHOP}'")));
    shop.backend.refused("MERCHANT_NOT_FOUND", &recharge(&ming.card, ", p_merchant_code => 'SHOP-999'"));
    for method in ["'balance'", "'WECHAT'", "'bitcoin'", "' '", "null"] {
        user.refused("INVALID_PAYMENT_METHOD", &recharge(&ming.card, &format!(", {method}")));
        shop.backend.refused("INVALID_PAYMENT_METHOD", &recharge(&ming.card, &format!(", {method}")));
    }
    shop.db.anon().denied(&recharge(&ming.card, ""));
    shop.set_card(&ming.card, "personal", "frozen");
    user.refused("CARD_NOT_ACTIVE", &recharge(&ming.card, ""));
    shop.backend.refused("CARD_NOT_ACTIVE", &recharge(&ming.card, ""));
    shop.set_card(&ming.card, "personal", "active");
    shop.backend.run(&format!("select app.set_card_expiry('{}', 'personal', now(), 'x')", ming.card));
    user.refused("CARD_EXPIRED", &recharge(&ming.card, ""));
    shop.backend.run(&format!("select app.set_member_status('{}', 'suspended', 'x')", mei.id));
    shop.db.user(mei.id).refused("MEMBER_NOT_ACTIVE", &recharge(&mei.card, ""));
}

#[test]
fn trusted_mode_completes_owners_recharges_at_once() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let company = shop.company("1.000", "0", &ming);
    shop.backend.run(r#"select app.update_settings('{"recharge_confirmation": "trusted"}')"#);
    let user = shop.db.user(ming.id);
    let row = user.row(&format!(
        "select * from app.user_recharge_personal_card('{}', 20.00, p_external_order_id => 'o-1')",
        ming.card
    ));
    assert_eq!(&row["status"], "completed");
    let row = user.row(&format!("select * from app.user_recharge_enterprise_card_admin('{}', 30.00)", company.card));
    assert_eq!(&row["status"], "completed");
    assert_eq!((shop.balance(&ming.card), shop.balance(&company.card)), ("20.00".into(), "30.00".into()));
    user.refused(
        "INVALID_PAYMENT_METHOD",
        &format!("select * from app.user_recharge_personal_card('{}', 20.00, 'cash')", ming.card),
    );
}

#[test]
fn the_largest_balance_is_reached_and_not_passed() {
    let shop = Shop::open();
    let ming = shop.member("0");
    shop.backend.run(r#"select app.update_settings('{"max_balance": 100.50}')"#);
    let recharge =
        |amount: &str| format!("select * from app.user_recharge_personal_card('{}', {amount}, 'wechat')", ming.card);
    shop.backend.refused("BALANCE_LIMIT", &recharge("100.51"));
    shop.db.user(ming.id).refused("BALANCE_LIMIT", &recharge("100.51"));
    shop.backend.run(&recharge("100.50"));
    shop.backend.refused("BALANCE_LIMIT", &recharge("0.01"));
    assert_eq!(shop.balance(&ming.card), "100.50");
}

#[test]
fn an_admin_recharges_the_company_card() {
    let shop = Shop::open();
    let (boss, anna, bob) = (shop.member("0"), shop.member("0"), shop.member("0"));
    let company = shop.company("0.900", "0", &boss);
    shop.bind(&company, &anna, "member");
    let sql = format!(
        "select * from app.user_recharge_enterprise_card_admin('{}', 500.00, 'alipay', '部门', '{{}}', 'o-9', 'k-9')",
        company.card
    );
    shop.db.user(anna.id).refused("NOT_CARD_ADMIN", &sql);
    shop.db.user(bob.id).refused("CARD_NOT_FOUND", &sql);
    shop.db.anon().denied(&sql);
    let row = shop.db.user(boss.id).row(&sql);
    assert_eq!(row.names(), ["tx_id", "tx_no", "card_id", "amount", "status", "created_at", "replayed"]);
    assert_eq!(
        row.without(&["tx_id", "tx_no", "created_at"]).values(),
        [company.card.as_str(), "500.00", "processing", "f"]
    );
    let done = shop.backend.row(&confirm(&row["tx_no"], "500.00", "g-1"));
    assert_eq!(&done["card_id"], company.card.as_str());
    assert_eq!(shop.balance(&company.card), "500.00");
    shop.backend.refused(
        "CARD_NOT_FOUND",
        &format!("select * from app.user_recharge_enterprise_card_admin('{}', 5.00, 'cash')", boss.card),
    );
}

#[test]
fn numbers_that_are_no_recharge_are_not_found() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let paid = shop.charge(&ming, "5.00");
    let as_recharge = format!("CZ{}", &paid["tx_no"][2..]);
    for number in [&paid["tx_no"], &as_recharge, "CZ9912000001", "CZ000123", "'"] {
        shop.backend
            .refused("TX_NOT_FOUND", &format!("select * from app.confirm_recharge({}, 5.00, 'g-1')", q(number)));
        shop.backend.refused("TX_NOT_FOUND", &format!("select * from app.fail_recharge({}, 'x')", q(number)));
    }
}

/// What is stored is read by the next release, too: 4 is of a personal card, 5 of a company's.
#[test]
fn the_order_of_a_member_is_kept_under_the_kind_and_the_number_of_the_card() {
    let shop = Shop::open();
    // So that the two cards have different numbers.
    shop.member("0");
    let ming = shop.member("0");
    let company = shop.company("1.000", "0", &ming);
    let user = shop.db.user(ming.id);
    for (function, card) in
        [("user_recharge_personal_card", &ming.card), ("user_recharge_enterprise_card_admin", &company.card)]
    {
        user.run(&format!("select * from app.{function}('{card}', 10.00, p_external_order_id => 'order-1')"));
    }
    let kept = shop.superuser.column("select scope || ' ' || scope_no from app.external_orders order by scope");
    let serial = |no: &str| no.trim_start_matches(char::is_alphabetic).trim_start_matches('0').to_owned();
    assert_eq!(kept, [format!("4 {}", serial(&ming.card_no)), format!("5 {}", serial(&company.card_no))]);
}
