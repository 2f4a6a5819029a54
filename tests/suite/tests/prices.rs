//! The price of a charge: what takes no part in it.

use mps_tests::{NULL, Shop};

/// What a charge moved and earned, and the discount.
fn price(row: &mps_tests::Row) -> [&str; 4] {
    [&row["raw_amount"], &row["discount"], &row["final_amount"], &row["points_earned"]]
}

#[test]
fn what_is_excluded_has_no_discount_and_earns_no_points() {
    let shop = Shop::open();
    let ming = shop.member("20000.00");
    shop.backend.run(&format!("select * from app.adjust_points('{}', 5000, 'welcome')", ming.card));
    let charge = |amount: &str, more: &str| shop.cashier.row(&Shop::charge_sql(&shop.code(&ming), amount, more));
    let level = shop.superuser.value("select discount from app.membership_levels where level = 1");
    assert_eq!(level, "0.950");
    assert_eq!(price(&charge("100.00", "p_excluded_amount => 30")), ["100.00", "0.950", "96.50", "66"]);
    assert_eq!(price(&charge("100.00", "p_excluded_amount => 100.00")), ["100.00", "0.950", "100.00", "0"]);
    assert_eq!(price(&charge("100.00", "p_excluded_amount => 0.01")), ["100.00", "0.950", "95.00", "94"]);
    // Half a cent goes away from zero: 0.095.
    assert_eq!(price(&charge("1.00", "p_excluded_amount => 0.90")), ["1.00", "0.950", "1.00", "0"]);
    let stored = |what: &str| {
        shop.superuser.column(&format!("select {what} from app.transactions where tx_type = 'payment' order by id"))
    };
    assert_eq!(stored("excluded_amount"), ["30.00", "100.00", "0.01", "0.90"]);
    assert_eq!(stored("num_nonnulls(coupon_discount, member_coupon_id)"), ["0"; 4]);

    let company = shop.company("0.880", "1000.00", &ming);
    let code = shop.company_code(&company, &ming);
    let row = shop.cashier.row(&Shop::charge_sql(&code, "100.00", "p_excluded_amount => 50"));
    assert_eq!(price(&row), ["100.00", "0.880", "94.00", "0"]);
}

#[test]
fn nothing_excluded_is_as_if_it_was_not_said() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    for (n, more) in
        ["", "p_excluded_amount => null", "p_excluded_amount => 0", "p_excluded_amount => 0.00"].iter().enumerate()
    {
        shop.cashier.run(&Shop::charge_sql(&shop.code(&ming), "1.00", more));
        let stored = "select excluded_amount, coupon_discount, member_coupon_id from app.transactions \
                      where tx_type = 'payment' order by id desc limit 1";
        assert_eq!(shop.superuser.row(stored).values(), [NULL; 3], "{n}");
    }
    // As it was called before it could be said.
    let code = shop.code(&ming);
    let by_place =
        format!("select * from app.merchant_charge_by_qr('SHOP-001', '{code}', 1.00, 'x', '{{}}', 'key-1', 'order-1')");
    assert_eq!(price(&shop.cashier.row(&by_place)), ["1.00", "1.000", "1.00", "1"]);
}

#[test]
fn more_than_all_or_less_than_nothing_takes_no_part() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let code = shop.code(&ming);
    for wrong in ["-0.01", "10.01", "0.001", "9.999", "'NaN'", "'Infinity'", "'-Infinity'", "1e30", "-1e30", "1e-30"] {
        let sql = Shop::charge_sql(&code, "10.00", &format!("p_excluded_amount => {wrong}"));
        let refusal = shop.cashier.refused("INVALID_AMOUNT", &sql);
        assert!(format!("{refusal:?}").contains("p_excluded_amount"), "{wrong}: {refusal:?}");
    }
    shop.cashier.run(&Shop::charge_sql(&code, "10.00", "p_excluded_amount => 10.00"));
    assert_eq!(shop.balance(&ming.card), "90.00");
}

#[test]
fn a_repetition_excludes_the_same() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let code = shop.code(&ming);
    let ask = |more: &str| {
        Shop::charge_sql(
            &code,
            "10.00",
            &format!("p_idempotency_key => 'key-1', p_external_order_id => 'order-1'{more}"),
        )
    };
    let first = shop.cashier.row(&ask(", p_excluded_amount => 4"));
    let again = shop.cashier.row(&ask(", p_excluded_amount => 4.00"));
    assert_eq!((&again["tx_no"], &again["replayed"]), (&first["tx_no"], "t"));
    for other in ["", ", p_excluded_amount => 0", ", p_excluded_amount => 4.01"] {
        shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &ask(other));
        let by_order = Shop::charge_sql(&code, "10.00", &format!("p_external_order_id => 'order-1'{other}"));
        shop.cashier.refused("EXTERNAL_ORDER_CONFLICT", &by_order);
    }
    let code = shop.code(&ming);
    let ask = |more: &str| Shop::charge_sql(&code, "10.00", &format!("p_idempotency_key => 'key-2'{more}"));
    let first = shop.cashier.row(&ask(""));
    for same in [", p_excluded_amount => 0", ", p_excluded_amount => null"] {
        assert_eq!(&shop.cashier.row(&ask(same))["tx_no"], &first["tx_no"]);
    }
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &ask(", p_excluded_amount => 0.01"));
    assert_eq!(shop.balance(&ming.card), "80.00");
}

#[test]
fn what_was_paid_is_refundable_whatever_took_part() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    shop.backend.run(&format!("select * from app.adjust_points('{}', 5000, 'welcome')", ming.card));
    let code = shop.code(&ming);
    let paid = shop.cashier.row(&Shop::charge_sql(&code, "100.00", "p_excluded_amount => 30"));
    assert_eq!((&paid["final_amount"], &paid["points_earned"]), ("96.50", "66"));
    // Two thirds of what was paid: 66 x 64.34 / 96.50 = 44.005.
    let part = shop.refund(&paid["tx_no"], "64.34");
    assert_eq!((&part["points_reversed"], &part["refundable_left"]), ("44", "32.16"));
    shop.cashier.refused("REFUND_EXCEEDS_REMAINING", &Shop::refund_sql(&paid["tx_no"], "32.17", ""));
    assert_eq!(&shop.refund(&paid["tx_no"], "32.16")["points_reversed"], "22");
    assert_eq!(shop.card(&ming).0, "1000.00");
}

#[test]
fn the_books_know_the_price_by_its_terms() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    shop.backend.run(&format!("select * from app.adjust_points('{}', 5000, 'welcome')", ming.card));
    let code = shop.code(&ming);
    let paid = shop.cashier.row(&Shop::charge_sql(&code, "100.00", "p_excluded_amount => 30"))["tx_no"].to_owned();
    let refund = shop.refund(&paid, "1.00")["refund_tx_no"].to_owned();
    let s = &shop.superuser;
    let findings = "select check_name, detail from app.verify_books() where not ok";
    assert_eq!(s.rows(findings).len(), 0);
    for (sabotage, named, says) in [
        ("excluded_amount = 40", &paid, "of which 40.00 takes no part"),
        ("excluded_amount = null", &paid, "100.00 at 0.950 is asked for"),
        ("excluded_amount = 0", &paid, "excludes 0.00"),
        ("excluded_amount = -30", &paid, "excludes -30.00"),
        ("excluded_amount = 100.01, final_amount = 100.01", &paid, "excludes 100.01"),
        ("coupon_discount = 1, final_amount = 95.50", &paid, "takes off 1.00"),
        ("member_coupon_id = 1", &paid, "the coupon 1 takes off 0"),
        ("excluded_amount = 1", &refund, "has a price, but is no payment"),
    ] {
        s.run("begin");
        s.run(&format!("update app.transactions set {sabotage} where tx_no = '{named}'"));
        let found = s.rows(findings);
        s.run("rollback");
        let amounts = found.iter().find(|row| &row["check_name"] == "amounts");
        let amounts = amounts.unwrap_or_else(|| panic!("{sabotage}: {found:?}"));
        assert!(amounts["detail"].contains(named) && amounts["detail"].contains(says), "{sabotage}: {amounts:?}");
    }
}
