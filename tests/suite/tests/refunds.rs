//! Refunds: partial, repeated, with the points in proportion, to the card that paid.

use mps_tests::{NULL, SHOP, Shop, q};

#[test]
fn the_seeds_refund_answers_with_every_column_of_the_contract() {
    let shop = Shop::open();
    let ming = shop.member("200.00");
    let paid = shop.charge(&ming, "52.00");
    let row = shop.cashier.row(&format!(
        "select * from app.merchant_refund_tx('SHOP-001', '{}', 20.00, '退货', '{{}}'::jsonb)",
        &paid["tx_no"]
    ));
    assert_eq!(
        row.names(),
        [
            "refund_tx_id",
            "refund_tx_no",
            "refunded_amount",
            "points_reversed",
            "refundable_left",
            "created_at",
            "replayed"
        ]
    );
    assert_eq!(row.without(&["refund_tx_id", "refund_tx_no", "created_at"]).values(), ["20.00", "20", "32.00", "f"]);
    assert_eq!(shop.card(&ming), ("168.00".into(), "32".into(), "0".into()));

    let stored = shop.superuser.row(&format!(
        "select tx_type, status, card_id, member_id, m.code, raw_amount, final_amount, points_earned, balance_after, card_seq, \
         payment_method, reason, original_tx_no, refunded_amount, processed_by \
         from app.transactions t join app.merchants m on m.id = t.merchant_id where t.tx_no = {} and t.id = {}",
        q(&row["refund_tx_no"]),
        &row["refund_tx_id"]
    ));
    let (member, cashier) = (ming.id.to_string(), shop.cashier_id.to_string());
    assert_eq!(
        stored.values(),
        [
            "refund",
            "completed",
            &ming.card,
            &member,
            SHOP,
            "20.00",
            "20.00",
            "-20",
            "168.00",
            "3",
            "balance",
            "退货",
            &paid["tx_no"],
            NULL,
            &cashier
        ]
    );
    let payment = format!("select refunded_amount from app.transactions where tx_no = {}", q(&paid["tx_no"]));
    assert_eq!(shop.superuser.value(&payment), "20.00");
    let event = shop.last_event(&row["refund_tx_no"]);
    assert_eq!(event.without(&["context"]).values(), [cashier.as_str(), "authenticated", "refund", "transaction"]);
    let ledger =
        format!("select change, balance_after from app.point_ledger where tx_no = {}", q(&row["refund_tx_no"]));
    assert_eq!(shop.superuser.row(&ledger).values(), ["-20", "32"]);
}

#[test]
fn thirds_take_back_points_in_proportion_and_the_last_cent_the_rest() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    let paid = shop.charge(&ming, "10.00");
    for (amount, points, left, after) in
        [("3.33", "3", "6.67", "7"), ("3.33", "3", "3.34", "4"), ("3.33", "3", "0.01", "1"), ("0.01", "1", "0.00", "0")]
    {
        let row = shop.refund(&paid["tx_no"], amount);
        assert_eq!((&row["points_reversed"], &row["refundable_left"]), (points, left));
        assert_eq!(shop.card(&ming).1, after);
    }
    shop.cashier.refused("REFUND_EXCEEDS_REMAINING", &Shop::refund_sql(&paid["tx_no"], "0.01", ""));
    assert_eq!(shop.balance(&ming.card), "1000.00");
}

#[test]
fn many_small_refunds_take_back_what_one_of_their_sum_would() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    shop.backend.run(r#"select app.update_settings('{"points_per_unit": 7.7777}')"#);
    let paid = shop.charge(&ming, "1.00"); // 7 points
    assert_eq!(&paid["points_earned"], "7");
    let mut taken = 0;
    for _ in 0..20 {
        taken += shop.refund(&paid["tx_no"], "0.05")["points_reversed"].parse::<i64>().unwrap();
    }
    assert_eq!(taken, 7);
    assert_eq!(shop.card(&ming), ("100.00".into(), "0".into(), "0".into()));
}

#[test]
fn what_was_paid_is_refunded_not_the_price() {
    let shop = Shop::open();
    let ming = shop.member("0");
    shop.backend.run(&format!("select * from app.adjust_points('{}', 5000, 'x')", ming.card));
    shop.recharge(&ming.card, "100.00");
    let paid = shop.charge(&ming, "52.00");
    assert_eq!((&paid["discount"], &paid["final_amount"], &paid["points_earned"]), ("0.950", "49.40", "49"));
    shop.cashier.refused("REFUND_EXCEEDS_REMAINING", &Shop::refund_sql(&paid["tx_no"], "49.41", ""));
    let row = shop.refund(&paid["tx_no"], "49.40");
    assert_eq!((&row["points_reversed"], &row["refundable_left"]), ("49", "0.00"));
    assert_eq!(shop.card(&ming), ("100.00".into(), "5000".into(), "1".into()));
}

#[test]
fn the_level_falls_with_the_points() {
    let shop = Shop::open();
    let ming = shop.member("20000.00");
    let paid = shop.charge(&ming, "10000.00");
    let level = format!("select level || ' ' || discount from app.personal_cards where id = '{}'", ming.card);
    assert_eq!(shop.superuser.value(&level), "2 0.900");
    shop.refund(&paid["tx_no"], "0.01"); // floor(10000 x 0.01 / 10000) = 0
    assert_eq!(shop.superuser.value(&level), "2 0.900");
    shop.refund(&paid["tx_no"], "0.99"); // one point
    assert_eq!(shop.superuser.value(&level), "1 0.950");
    shop.refund(&paid["tx_no"], "5000.00");
    assert_eq!(shop.superuser.value(&level), "0 1.000");
}

#[test]
fn points_may_go_below_zero() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "80.00");
    shop.backend.run(&format!("select * from app.adjust_points('{}', -70, 'spent on a mug')", ming.card));
    shop.refund(&paid["tx_no"], "80.00");
    assert_eq!(shop.card(&ming), ("100.00".into(), "-70".into(), "0".into()));
}

#[test]
fn a_company_cards_refund_has_no_points() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let company = shop.company("0.900", "100.00", &ming);
    let paid = shop.charge_company(&company, &ming, "50.00");
    let row = shop.refund(&paid["tx_no"], "45.00");
    assert_eq!(row.without(&["refund_tx_id", "refund_tx_no", "created_at"]).values(), ["45.00", "0", "0.00", "f"]);
    assert_eq!(shop.balance(&company.card), "100.00");
}

#[test]
fn a_card_or_member_in_trouble_can_still_receive_a_refund() {
    let shop = Shop::open();
    for trouble in ["frozen", "lost", "expired", "suspended", "removed employee"] {
        let ming = shop.member("50.00");
        let company = shop.company("1.000", "50.00", &shop.member("0"));
        shop.bind(&company, &ming, "member");
        let paid = shop.charge(&ming, "20.00");
        let by_company = shop.charge_company(&company, &ming, "20.00");
        match trouble {
            "suspended" => {
                shop.backend.run(&format!("select app.set_member_status('{}', 'suspended', 'x')", ming.id));
            }
            "removed employee" => {
                shop.backend.run(&format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, ming.id));
            }
            "expired" => {
                for (card, kind) in [(&ming.card, "personal"), (&company.card, "enterprise")] {
                    shop.backend
                        .run(&format!("select app.set_card_expiry('{card}', '{kind}', now() - interval '1 day', 'x')"));
                    assert_eq!(shop.card_status(card), "expired");
                }
            }
            status => {
                shop.set_card(&ming.card, "personal", status);
                shop.set_card(&company.card, "enterprise", status);
            }
        }
        shop.refund(&paid["tx_no"], "20.00");
        shop.refund(&by_company["tx_no"], "20.00");
        assert_eq!(
            (shop.balance(&ming.card), shop.balance(&company.card)),
            ("50.00".into(), "50.00".into()),
            "{trouble}"
        );
    }
}

#[test]
fn a_replaced_card_passes_its_refund_on_and_a_closed_one_cannot_take_it() {
    let shop = Shop::open();
    let ming = shop.member("50.00");
    let paid = shop.charge(&ming, "20.00");
    shop.set_card(&ming.card, "personal", "lost");
    let new = shop.backend.row(&format!("select * from app.replace_card('{}', 'x')", ming.card));
    let ming = ming.with_card(&new["card_id"], &new["card_no"]);
    assert_eq!(shop.card(&ming), ("30.00".into(), "20".into(), "0".into()));
    shop.set_card(&ming.card, "personal", "lost");
    let newest = shop.backend.row(&format!("select * from app.replace_card('{}', 'x')", ming.card));
    let row = shop.refund(&paid["tx_no"], "15.00");
    assert_eq!(&row["points_reversed"], "15");
    let newest = ming.with_card(&newest["card_id"], &newest["card_no"]);
    assert_eq!(shop.card(&newest), ("45.00".into(), "5".into(), "0".into()));
    let on = shop
        .superuser
        .value(&format!("select card_id from app.transactions where tx_no = {}", q(&row["refund_tx_no"])));
    assert_eq!(on, newest.card);

    let mei = shop.member("20.00");
    let paid = shop.charge(&mei, "20.00");
    shop.set_card(&mei.card, "personal", "closed");
    shop.cashier.refused("CARD_NOT_ACTIVE", &Shop::refund_sql(&paid["tx_no"], "1.00", ""));
    shop.backend.refused("CARD_NOT_ACTIVE", &Shop::refund_sql(&paid["tx_no"], "1.00", ""));
}

#[test]
fn only_the_merchant_that_took_it_refunds_a_payment() {
    let shop = Shop::open();
    let other = shop.another("SHOP-002");
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "20.00");
    let refund = Shop::refund_sql(&paid["tx_no"], "1.00", "");
    other.refused("NOT_MERCHANT_USER", &refund);
    other.refused("TX_NOT_FOUND", &refund.replace(SHOP, "SHOP-002"));
    shop.backend.refused("TX_NOT_FOUND", &refund.replace(SHOP, "SHOP-002"));
    shop.db.user(ming.id).refused("NOT_MERCHANT_USER", &refund);
    shop.db.anon().denied(&refund);
    shop.cashier.refused("MERCHANT_NOT_FOUND", &refund.replace(SHOP, "SHOP-999"));
    shop.backend.run(&refund);
}

#[test]
fn an_inactive_merchants_payments_are_refunded_by_a_backend_only() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "20.00");
    shop.backend.run(&format!("select app.set_merchant_status('{SHOP}', false, 'x')"));
    shop.cashier.refused("MERCHANT_INACTIVE", &Shop::refund_sql(&paid["tx_no"], "1.00", ""));
    shop.backend.run(&Shop::refund_sql(&paid["tx_no"], "1.00", ""));
    assert_eq!(shop.balance(&ming.card), "81.00");
}

#[test]
fn only_payments_can_be_refunded() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "20.00");
    let refund = shop.refund(&paid["tx_no"], "5.00");
    let recharge = shop.backend.row(&format!(
        "select * from app.user_recharge_personal_card('{}', 5.00, 'cash', p_merchant_code => '{SHOP}')",
        ming.card
    ));
    let correction = shop.backend.row(&format!("select * from app.compensate_tx('{}', 1.00, 'x')", &paid["tx_no"]));
    for number in [&refund["refund_tx_no"], &recharge["tx_no"], &correction["tx_no"]] {
        shop.cashier.refused("NOT_REFUNDABLE", &Shop::refund_sql(number, "1.00", ""));
    }
    // The digits of a payment under another letter pair name nothing.
    for prefix in ["TK", "CZ", "TZ"] {
        shop.cashier
            .refused("TX_NOT_FOUND", &Shop::refund_sql(&format!("{prefix}{}", &paid["tx_no"][2..]), "1.00", ""));
    }
    // A month that never was, the seed's own number, and neighbours.
    let next: i64 = paid["tx_no"][6..].parse::<i64>().unwrap() + 1000;
    for number in ["ZF000123", "ZF0001000123", "ZF9912000001", "x", &format!("{}{next:06}", &paid["tx_no"][..6])] {
        shop.cashier.refused("TX_NOT_FOUND", &Shop::refund_sql(number, "1.00", ""));
    }
}

#[test]
fn a_refund_goes_back_even_past_the_largest_balance() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    let paid = shop.charge(&ming, "900.00");
    shop.backend.run(r#"select app.update_settings('{"max_balance": 500}')"#);
    shop.refund(&paid["tx_no"], "900.00");
    assert_eq!(shop.balance(&ming.card), "1000.00");
}

#[test]
fn last_months_payment_is_refunded_this_month() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    shop.charge(&ming, "60.00");
    shop.a_month_passes();
    let paid = shop.superuser.value("select tx_no from app.transactions where tx_type = 'payment'");
    let first = shop.refund(&paid, "20.00");
    let second = shop.refund(&paid, "40.00");
    assert_eq!((&first["refundable_left"], &second["refundable_left"]), ("40.00", "0.00"));
    assert_ne!(paid[2..6], first["refund_tx_no"][2..6]);
    shop.cashier.refused("REFUND_EXCEEDS_REMAINING", &Shop::refund_sql(&paid, "0.01", ""));
    let listed: Vec<String> = shop.cashier.column(&format!("select tx_no from app.tx_by_no('{paid}')"));
    assert_eq!(listed, [paid.as_str(), &second["refund_tx_no"], &first["refund_tx_no"]]);
    assert_eq!(shop.card(&ming), ("100.00".into(), "0".into(), "0".into()));
}

#[test]
fn a_refund_does_not_wait_for_points_of_a_changed_rate() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "10.00");
    shop.backend.run(r#"select app.update_settings('{"points_per_unit": 100}')"#);
    assert_eq!(&shop.refund(&paid["tx_no"], "10.00")["points_reversed"], "10");
}
