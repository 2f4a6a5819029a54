//! Coupons at the till: what they take off, when they are refused, what comes back, two tills at once, budgets to the cent.

use mps_tests::{Failure, Member, NULL, Row, Session, Shop, Waiting, q, together};

/// An active coupon.
#[track_caller]
fn coupon(shop: &Shop, code: &str, kind: &str, value: &str, more: &str) {
    let comma = if more.is_empty() { "" } else { ", " };
    let json = format!(r#"{{"code": "{code}", "name": "{code}", "kind": "{kind}", "value": {value}{comma}{more}}}"#);
    shop.backend.run(&format!("select * from app.create_coupon({})", q(json)));
    shop.backend.run(&format!("select * from app.set_coupon_status('{code}', 'active', 'x')"));
}

/// The number of one that a member gets.
#[track_caller]
fn issued(shop: &Shop, code: &str, member: &Member) -> String {
    shop.backend.row(&format!("select * from app.issue_coupon('{code}', '{}')", member.id))["coupon_code"].to_owned()
}

fn with(number: &str, more: &str) -> String {
    format!("p_coupon_code => '{number}'{more}")
}

fn charge_sql(shop: &Shop, member: &Member, amount: &str, number: &str, more: &str) -> String {
    Shop::charge_sql(&shop.code(member), amount, &with(number, more))
}

/// discount, coupon_discount, final_amount, points_earned.
#[track_caller]
fn price(session: &Session, sql: &str) -> [String; 4] {
    let row = session.row(sql);
    ["discount", "coupon_discount", "final_amount", "points_earned"].map(|column| row[column].to_owned())
}

#[track_caller]
fn not_usable(shop: &Shop, sql: &str, why: &str) {
    let failure = shop.cashier.refused("COUPON_NOT_USABLE", sql);
    assert!(failure.detail.starts_with(why), "{why}: {failure:?}");
}

fn state(shop: &Shop, number: &str) -> [String; 2] {
    let sql = format!("select status, tx_no from app.member_coupons where sec.coupon_no(id) = '{number}'");
    let row = shop.superuser.row(&sql);
    [row["status"].to_owned(), row["tx_no"].to_owned()]
}

fn left(shop: &Shop, code: &str) -> String {
    shop.superuser.value(&format!(
        "select sum(left_amount) from app.coupon_budget_parts p join app.coupons c on c.id = p.coupon_id where c.code = '{code}'"
    ))
}

fn silver(shop: &Shop, balance: &str) -> Member {
    let member = shop.member(balance);
    shop.backend.run(&format!("select * from app.adjust_points('{}', 5000, 'welcome')", member.card));
    member
}

#[test]
fn each_kind_takes_off_what_it_says() {
    let shop = Shop::open();
    let ming = silver(&shop, "1000.00");
    let with_it = r#""goes_with_level_discount": true"#;
    let alone = r#""goes_with_level_discount": false"#;
    for (n, (kind, value, more, amount, extra, expected)) in [
        ("amount_off", "20", with_it, "100.00", "", ["0.950", "20.00", "75.00", "75"]),
        ("amount_off", "20", alone, "100.00", "", ["1.000", "20.00", "80.00", "80"]),
        ("amount_off", "500", with_it, "100.00", "", ["0.950", "95.00", "0.00", "0"]),
        ("percent_off", "20", with_it, "10.03", "", ["0.950", "1.91", "7.62", "7"]),
        ("percent_off", "100", alone, "10.03", "", ["1.000", "10.03", "0.00", "0"]),
        ("fixed_price", "9.90", with_it, "52.00", "", ["0.950", "39.50", "9.90", "9"]),
        ("percent_off", "50", r#""max_discount": 10"#, "100.00", "", ["0.950", "10.00", "85.00", "85"]),
        ("amount_off", "20", with_it, "100.00", ", p_excluded_amount => 90", ["0.950", "9.50", "90.00", "0"]),
        ("percent_off", "10", with_it, "100.00", ", p_excluded_amount => 40", ["0.950", "5.70", "91.30", "51"]),
    ]
    .into_iter()
    .enumerate()
    {
        let code = format!("C-{n}");
        coupon(&shop, &code, kind, value, more);
        let number = issued(&shop, &code, &ming);
        let sql = charge_sql(&shop, &ming, amount, &number, extra);
        assert_eq!(price(&shop.cashier, &sql), expected, "{n}: {kind} {value} {more} of {amount}{extra}");
    }
}

#[test]
fn the_payment_and_the_coupon_know_each_other() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    coupon(&shop, "C", "amount_off", "20", "");
    let number = issued(&shop, "C", &ming);
    let row = shop.cashier.row(&charge_sql(&shop, &ming, "50.00", &number, ""));
    let stored = shop.superuser.row(&format!(
        "select coupon_discount, sec.coupon_no(member_coupon_id) as number, excluded_amount, raw_amount, final_amount \
         from app.transactions where tx_no = '{}'",
        &row["tx_no"]
    ));
    assert_eq!(stored.values(), ["20.00", &number, NULL, "50.00", "30.00"]);
    assert_eq!(state(&shop, &number), ["used", &row["tx_no"]]);
    assert_eq!(shop.balance(&ming.card), "70.00");
    let event = shop.last_event(&row["tx_no"]);
    assert!(event["context"].contains(&format!(r#""coupon": "{number}""#)), "{event:?}");
    let own = shop.db.user(ming.id).row("select coupon_code, status, tx_no from app.v_member_coupons");
    assert_eq!(own.values(), [&number, "used", &row["tx_no"]]);
    not_usable(&shop, &charge_sql(&shop, &ming, "50.00", &number, ""), "used");
}

#[test]
fn what_is_no_coupon_of_the_member_is_not_found() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("100.00"), shop.member("100.00"));
    coupon(&shop, "C", "amount_off", "20", "");
    let meis = issued(&shop, "C", &mei);
    let answers = [meis.as_str(), "CP99999999", "CP0", "C", "CP", "CP99999999999999999999", "付款", "ZF2611000001"]
        .map(|number| shop.cashier.refused("COUPON_NOT_FOUND", &charge_sql(&shop, &ming, "50.00", number, "")));
    assert!(answers.iter().all(|failure| failure.detail == answers[0].detail), "{answers:?}");
    // Whoever has no code of hers learns nothing, and locks nothing.
    let sql = Shop::charge_sql("MPSFORGED", "50.00", &with(&meis, ""));
    shop.cashier.refused("QR_EXPIRED_OR_INVALID", &sql);
    // As people type it.
    let typed = format!("  {}　", meis.to_lowercase());
    shop.cashier.run(&charge_sql(&shop, &mei, "50.00", &typed, ""));
    // What is empty is not given.
    shop.cashier.run(&charge_sql(&shop, &ming, "50.00", "", ""));
}

#[test]
fn every_condition_is_named_and_nothing_is_used_up() {
    let shop = Shop::open();
    let ming = silver(&shop, "1000.00");
    let other = shop.another("SHOP-002");
    let company = shop.company("0.900", "1000.00", &ming);
    let s = &shop.superuser;
    let refused = |code: &str, more: &str, amount: &str, why: &str| {
        coupon(&shop, code, "amount_off", "5", more);
        let number = issued(&shop, code, &ming);
        not_usable(&shop, &charge_sql(&shop, &ming, amount, &number, ""), why);
        assert_eq!(state(&shop, &number), ["active", NULL]);
    };
    refused("MIN", r#""min_spend": 100"#, "99.99", "minimum spend");
    refused("SHOP", r#""merchants": ["SHOP-002"]"#, "10.00", "wrong shop");
    refused("LEVEL", r#""levels": [0, 2]"#, "10.00", "wrong level");
    refused("CARD", r#""card_types": ["enterprise"]"#, "10.00", "wrong card");
    refused("LATER", r#""starts_after_days": 1"#, "10.00", "not yet valid");
    refused("BETTER", r#""goes_with_level_discount": false"#, "100.00", "the level's discount is better");
    let day = s.value("select extract(isodow from now() at time zone 'Asia/Shanghai')");
    let zone = shop.backend.value("select app.get_settings() ->> 'business_time_zone'");
    let day = if zone == "Asia/Shanghai" {
        day
    } else {
        s.value(&format!("select extract(isodow from now() at time zone {})", q(zone)))
    };
    let tomorrow = day.parse::<i32>().unwrap() % 7 + 1;
    refused("DAY", &format!(r#""weekdays": [{tomorrow}]"#), "10.00", "wrong time");
    let number = issued(&shop, "DAY", &ming);
    s.run("update app.member_coupons set issued_at = issued_at - interval '2 days', valid_from = valid_from - interval '2 days', \
           valid_until = now() - interval '1 day'");
    not_usable(&shop, &charge_sql(&shop, &ming, "10.00", &number, ""), "expired");
    s.run(
        "update app.member_coupons set valid_until = null, issued_at = issued_at + interval '2 days', \
         valid_from = valid_from + interval '2 days'",
    );

    // What holds elsewhere: the other shop, the company's card.
    let shops = issued(&shop, "SHOP", &ming);
    let sql = charge_sql(&shop, &ming, "10.00", &shops, "").replace("SHOP-001", "SHOP-002");
    assert_eq!(&other.row(&sql)["coupon_discount"], "5.00");
    let companys = issued(&shop, "CARD", &ming);
    let sql = Shop::charge_sql(&shop.company_code(&company, &ming), "10.00", &with(&companys, ""));
    assert_eq!(price(&shop.cashier, &sql), ["0.900", "5.00", "4.00", "0"]);

    coupon(&shop, "PAUSE", "amount_off", "5", "");
    let paused = issued(&shop, "PAUSE", &ming);
    let set =
        |status: &str| shop.backend.run(&format!("select * from app.set_coupon_status('PAUSE', '{status}', 'x')"));
    set("paused");
    not_usable(&shop, &charge_sql(&shop, &ming, "10.00", &paused, ""), "paused");
    set("active");
    set("ended");
    shop.cashier.run(&charge_sql(&shop, &ming, "10.00", &paused, ""));

    coupon(&shop, "GONE", "amount_off", "5", "");
    let revoked = issued(&shop, "GONE", &ming);
    shop.backend.run(&format!("select app.revoke_coupon('{revoked}', 'x')"));
    not_usable(&shop, &charge_sql(&shop, &ming, "10.00", &revoked, ""), "revoked");
    // Two cents at half price leave one cent, of which half a cent is nothing.
    coupon(&shop, "SMALL", "percent_off", "10", "");
    let small = issued(&shop, "SMALL", &ming);
    not_usable(&shop, &charge_sql(&shop, &ming, "0.02", &small, ""), "the coupon would save nothing");
    // What the card cannot pay uses nothing up either.
    let poor = shop.member("0");
    let number = issued(&shop, "SMALL", &poor);
    shop.cashier.refused("INSUFFICIENT_BALANCE", &charge_sql(&shop, &poor, "10.00", &number, ""));
    assert_eq!(state(&shop, &number), ["active", NULL]);
}

#[test]
fn the_first_purchase_is_the_first_of_all_cards_and_what_was_given_back_is_none() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let company = shop.company("1.000", "100.00", &ming);
    coupon(&shop, "NEW", "amount_off", "5", r#""first_purchase_only": true"#);
    let [first, second] = [0, 1].map(|_| issued(&shop, "NEW", &ming));
    let paid = shop.charge_company(&company, &ming, "10.00")["tx_no"].to_owned();
    not_usable(&shop, &charge_sql(&shop, &ming, "10.00", &first, ""), "first purchase only");
    shop.refund(&paid, "4.00");
    not_usable(&shop, &charge_sql(&shop, &ming, "10.00", &first, ""), "first purchase only");
    shop.refund(&paid, "6.00");
    shop.cashier.run(&charge_sql(&shop, &ming, "10.00", &first, ""));
    not_usable(&shop, &charge_sql(&shop, &ming, "10.00", &second, ""), "first purchase only");
}

#[test]
fn two_first_purchases_at_once_on_two_cards_are_one() {
    for level in ["read committed", "repeatable read", "serializable"].repeat(3) {
        let shop = Shop::open();
        let ming = shop.member("100.00");
        let company = shop.company("1.000", "100.00", &ming);
        coupon(&shop, "NEW", "amount_off", "5", r#""first_purchase_only": true"#);
        let [first, second] = [0, 1].map(|_| issued(&shop, "NEW", &ming));
        let jobs = vec![
            (shop.db.user(shop.cashier_id), charge_sql(&shop, &ming, "10.00", &first, "")),
            (
                shop.db.user(shop.cashier_id),
                Shop::charge_sql(&shop.company_code(&company, &ming), "10.00", &with(&second, "")),
            ),
        ];
        for (session, _) in &jobs {
            session.run(&format!("set default_transaction_isolation = '{level}'"));
        }
        let answers = together(jobs);
        assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 1, "{level}: {answers:?}");
        let refused = answers.into_iter().find_map(Result::err).expect("one is refused");
        if refused.code != "40001" || level == "read committed" {
            refused.must_be("COUPON_NOT_USABLE", "the second first purchase");
        }
    }
}

#[test]
fn a_repetition_is_with_the_same_coupon() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    coupon(&shop, "C", "amount_off", "5", "");
    let [one, two] = [0, 1].map(|_| issued(&shop, "C", &ming));
    let ask = |number: &str| charge_sql(&shop, &ming, "10.00", number, ", p_idempotency_key => 'key-1'");
    let first = shop.cashier.row(&ask(&one));
    let again = shop.cashier.row(&ask(&one));
    assert_eq!((&again["tx_no"], &again["coupon_discount"], &again["replayed"]), (&first["tx_no"], "5.00", "t"));
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &ask(&two));
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &ask(""));
    let plain = |number: &str| charge_sql(&shop, &ming, "10.00", number, ", p_idempotency_key => 'key-2'");
    shop.cashier.run(&plain(""));
    shop.cashier.refused("IDEMPOTENCY_KEY_REUSED", &plain(&two));
    assert_eq!(state(&shop, &two), ["active", NULL]);
}

#[test]
fn two_tills_with_one_coupon_pay_once() {
    for level in ["read committed", "repeatable read", "serializable"] {
        for _ in 0..5 {
            let shop = Shop::open();
            let ming = shop.member("100.00");
            let company = shop.company("1.000", "100.00", &ming);
            shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
            coupon(&shop, "C", "amount_off", "5", r#""budget_amount": 100"#);
            let number = issued(&shop, "C", &ming);
            let (own, companys) = (shop.code(&ming), shop.company_code(&company, &ming));
            let jobs = [&own, &companys, &own, &companys].map(|code| {
                let session = shop.db.user(shop.cashier_id);
                session.run(&format!("set default_transaction_isolation = '{level}'"));
                (session, Shop::charge_sql(code, "10.00", &with(&number, "")))
            });
            let answers = together(jobs.into());
            let paid: Vec<&Row> = answers.iter().filter_map(|a| a.as_ref().ok()).map(|rows| &rows[0]).collect();
            assert_eq!(paid.len(), 1, "{level}: {answers:?}");
            for refused in answers.iter().filter_map(|a| a.as_ref().err()) {
                assert!(
                    refused.message == "COUPON_NOT_USABLE" || refused.code == "40001" && level != "read committed",
                    "{refused:?}"
                );
            }
            assert_eq!(state(&shop, &number), ["used", &paid[0]["tx_no"]]);
            assert_eq!(left(&shop, "C"), "95.00");
        }
    }
}

#[test]
fn a_full_refund_gives_the_coupon_back_and_part_of_one_does_not() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    coupon(&shop, "C", "amount_off", "20", r#""budget_amount": 50"#);
    coupon(&shop, "KEPT", "amount_off", "20", r#""on_full_refund": "keep_used", "budget_amount": 50"#);
    let number = issued(&shop, "C", &ming);
    let paid = shop.cashier.row(&charge_sql(&shop, &ming, "50.00", &number, ""))["tx_no"].to_owned();
    assert_eq!(left(&shop, "C"), "30.00");
    shop.refund(&paid, "10.00");
    assert_eq!((state(&shop, &number), left(&shop, "C")), (["used".to_owned(), paid.clone()], "30.00".into()));
    shop.cashier.refused("REFUND_EXCEEDS_REMAINING", &Shop::refund_sql(&paid, "40.00", ""));
    let last = shop.refund(&paid, "20.00");
    assert_eq!(&last["points_reversed"], "20");
    assert_eq!((state(&shop, &number), left(&shop, "C")), (["active".to_owned(), NULL.into()], "50.00".into()));
    assert_eq!(
        shop.superuser.value("select context ->> 'payment' from audit.event_log where action = 'coupon.returned'"),
        paid
    );
    // Used again and refunded again, it comes back again.
    let again = shop.cashier.row(&charge_sql(&shop, &ming, "50.00", &number, ""))["tx_no"].to_owned();
    shop.refund(&again, "30.00");
    assert_eq!((state(&shop, &number), left(&shop, "C")), (["active".to_owned(), NULL.into()], "50.00".into()));

    let kept = issued(&shop, "KEPT", &ming);
    let paid = shop.cashier.row(&charge_sql(&shop, &ming, "50.00", &kept, ""))["tx_no"].to_owned();
    shop.refund(&paid, "30.00");
    assert_eq!((state(&shop, &kept), left(&shop, "KEPT")), (["used".to_owned(), paid], "50.00".into()));
    // One that has ended meanwhile stays what it is.
    let late = issued(&shop, "C", &ming);
    let paid = shop.cashier.row(&charge_sql(&shop, &ming, "50.00", &late, ""))["tx_no"].to_owned();
    shop.superuser.run(&format!(
        "update app.member_coupons set valid_until = now() + interval '1 microsecond' where tx_no = '{paid}'"
    ));
    shop.superuser.run(
        "update app.coupon_terms set valid_until = (select m.valid_until from app.member_coupons m \
        where m.valid_until is not null) where coupon_id = 1",
    );
    shop.refund(&paid, "30.00");
    assert_eq!((state(&shop, &late), left(&shop, "C")), (["used".to_owned(), paid], "50.00".into()));
    shop.superuser
        .run("update app.member_coupons set valid_until = null; update app.coupon_terms set valid_until = null");
}

#[test]
fn a_refund_and_the_next_use_at_the_same_instant_are_one_after_the_other() {
    for _ in 0..8 {
        let shop = Shop::open();
        let (ming, s) = (shop.member("100.00"), &shop.superuser);
        coupon(&shop, "C", "amount_off", "20", r#""budget_amount": 20"#);
        let number = issued(&shop, "C", &ming);
        let paid = shop.cashier.row(&charge_sql(&shop, &ming, "50.00", &number, ""))["tx_no"].to_owned();
        let reuse = charge_sql(&shop, &ming, "60.00", &number, "");
        let answers = together(vec![
            (shop.db.user(shop.cashier_id), Shop::refund_sql(&paid, "30.00", "")),
            (shop.db.user(shop.cashier_id), reuse),
        ]);
        let (refund, reuse) = (&answers[0], &answers[1]);
        assert!(refund.is_ok(), "{answers:?}");
        match reuse {
            Ok(rows) => {
                assert_eq!(
                    (state(&shop, &number), left(&shop, "C")),
                    (["used".to_owned(), rows[0]["tx_no"].to_owned()], "0.00".into())
                );
            }
            Err(failure) => {
                failure.must_be("COUPON_NOT_USABLE", "before the refund");
                assert_eq!(
                    (state(&shop, &number), left(&shop, "C")),
                    (["active".to_owned(), NULL.into()], "20.00".into())
                );
            }
        }
        assert_eq!(s.rows("select * from app.verify_books() where ok is not true"), [] as [Row; 0]);
    }
}

#[test]
fn a_budget_spends_whole_discounts_while_they_fit() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    coupon(&shop, "C", "amount_off", "0.07", r#""budget_amount": 10"#);
    let code = shop.code(&ming);
    let numbers = shop.backend.column(&format!("select coupon_code from app.issue_coupon('C', '{}', 150)", ming.id));
    let charge = |number: &String| shop.cashier.try_row(&Shop::charge_sql(&code, "1.00", &with(number, "")));
    let answers: Vec<Result<Row, Failure>> = numbers.iter().map(charge).collect();
    assert!(answers[..142].iter().all(Result::is_ok));
    for refused in &answers[142..] {
        let failure = refused.as_ref().expect_err("the budget is spent");
        failure.must_be("COUPON_NOT_USABLE", "beyond the budget");
        assert!(failure.detail.starts_with("budget"), "{failure:?}");
    }
    assert_eq!(left(&shop, "C"), "0.06");
    // What is given back can be spent again, once.
    let paid = answers[0].as_ref().unwrap()["tx_no"].to_owned();
    shop.refund(&paid, "0.93");
    assert_eq!(left(&shop, "C"), "0.13");
    assert!(charge(&numbers[142]).is_ok());
    charge(&numbers[143]).expect_err("spent").must_be("COUPON_NOT_USABLE", "beyond the budget");
    // More is more.
    shop.backend.run(r#"select * from app.update_coupon('C', '{"budget_amount": 10.01}')"#);
    assert!(charge(&numbers[143]).is_ok());
    assert_eq!(left(&shop, "C"), "0.00");
}

#[test]
fn eight_clients_drain_a_budget_to_its_last_cent() {
    for level in ["read committed", "repeatable read"] {
        let shop = Shop::open();
        shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
        // 143 of them, and 0.01 that nobody gets.
        coupon(&shop, "C", "amount_off", "0.07", r#""budget_amount": 10.02"#);
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let member = shop.member("100.00");
                let numbers =
                    shop.backend.column(&format!("select coupon_code from app.issue_coupon('C', '{}', 25)", member.id));
                let (session, code) = (shop.db.user(shop.cashier_id), shop.code(&member));
                session.run(&format!("set default_transaction_isolation = '{level}'"));
                std::thread::spawn(move || {
                    let mut paid = 0;
                    for number in numbers {
                        loop {
                            match session.try_row(&Shop::charge_sql(&code, "1.00", &with(&number, ""))) {
                                Ok(_) => paid += 1,
                                Err(e) if e.code == "40001" => continue,
                                Err(e) => e.must_be("COUPON_NOT_USABLE", "beyond the budget"),
                            }
                            break;
                        }
                    }
                    paid
                })
            })
            .collect();
        let paid: i32 = threads.into_iter().map(|t| t.join().expect("a client")).sum();
        assert_eq!((paid, left(&shop, "C")), (143, "0.01".into()), "{level}");
    }
}

#[test]
fn several_in_one_transaction_draw_as_if_each_had_its_own() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    coupon(&shop, "C", "amount_off", "1", r#""budget_amount": 16"#);
    let numbers = shop.backend.column(&format!("select coupon_code from app.issue_coupon('C', '{}', 18)", ming.id));
    let code = shop.code(&ming);
    let charge = |number: &String| Shop::charge_sql(&code, "2.00", &with(number, ""));
    let till = &shop.cashier;
    till.run("begin");
    let first = till.row(&charge(&numbers[0]))["tx_no"].to_owned();
    // From the same part, then from others; one is taken back with its savepoint, and the budget with it.
    numbers[1..10].iter().for_each(|number| till.run(&charge(number)));
    till.run("savepoint here");
    numbers[10..16].iter().for_each(|number| till.run(&charge(number)));
    till.refused("COUPON_NOT_USABLE", &charge(&numbers[16]));
    till.run("rollback to here");
    till.run(&Shop::refund_sql(&first, "1.00", ""));
    till.run(&charge(&numbers[0]));
    till.run("commit");
    assert_eq!((left(&shop, "C"), state(&shop, &numbers[10])), ("6.00".into(), ["active".to_owned(), NULL.into()]));
}

#[test]
fn who_waits_for_the_budget_pays_by_the_levels_of_then() {
    let shop = Shop::open();
    let ming = silver(&shop, "100.00");
    // A part has 1.00, so that a discount of 3.00 and more takes several, and waits for who holds one.
    coupon(&shop, "C", "percent_off", "10", r#""budget_amount": 16"#);
    let number = issued(&shop, "C", &ming);
    let s = &shop.superuser;
    let holder = shop.db.superuser();
    holder.run("begin; select from app.coupon_budget_parts for update");
    let waiting =
        Waiting::behind(shop.db.user(shop.cashier_id), &holder, s, charge_sql(&shop, &ming, "40.00", &number, ""));
    s.run("update app.membership_levels set discount = 0.80 where discount = 0.95");
    shop.backend.run(r#"select app.update_settings('{"points_per_unit": 2}')"#);
    holder.run("commit");
    let paid = waiting.end().expect("it pays").remove(0);
    let price = ["discount", "coupon_discount", "final_amount", "points_earned"].map(|column| paid[column].to_owned());
    assert_eq!(price, ["0.800", "3.20", "28.80", "57"]);
    assert_eq!((left(&shop, "C"), state(&shop, &number)[0].clone()), ("12.80".into(), "used".into()));
    shop.refund(&paid["tx_no"], "28.80");
    assert_eq!((left(&shop, "C"), state(&shop, &number)[0].clone()), ("16.00".into(), "active".into()));
}

#[test]
fn a_pause_while_the_charge_waits_is_obeyed() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    coupon(&shop, "C", "amount_off", "5", "");
    let number = issued(&shop, "C", &ming);
    let s = &shop.superuser;
    let holder = shop.db.superuser();
    holder.run(&format!("begin; select from app.member_coupons where sec.coupon_no(id) = '{number}' for update"));
    let waiting =
        Waiting::behind(shop.db.user(shop.cashier_id), &holder, s, charge_sql(&shop, &ming, "10.00", &number, ""));
    shop.backend.run("select * from app.set_coupon_status('C', 'paused', 'x')");
    holder.run("commit");
    let failure = waiting.end().expect_err("it is paused");
    failure.must_be("COUPON_NOT_USABLE", "paused meanwhile");
    assert!(failure.detail.starts_with("paused"), "{failure:?}");
}

#[test]
fn a_pause_is_obeyed_by_who_goes_by_an_older_view() {
    for level in ["repeatable read", "serializable"] {
        let shop = Shop::open();
        let ming = shop.member("100.00");
        coupon(&shop, "C", "amount_off", "5", "");
        let number = issued(&shop, "C", &ming);
        let sql = charge_sql(&shop, &ming, "10.00", &number, "");
        let till = shop.db.user(shop.cashier_id);
        till.run(&format!("begin isolation level {level}; select 1"));
        shop.backend.run("select * from app.set_coupon_status('C', 'paused', 'x')");
        let failure = till.failure(&sql);
        if failure.code != "40001" {
            failure.must_be("COUPON_NOT_USABLE", level);
        }
        till.run("rollback");
    }
}

#[test]
fn what_is_over_hides_nothing_that_can_be_used() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    coupon(&shop, "OLD", "amount_off", "1", r#""valid_days_after_issue": 1"#);
    shop.backend.run(&format!("select count(*) from app.issue_coupon('OLD', '{}', 250)", ming.id));
    let back = "update app.member_coupons set issued_at = issued_at - interval '9 days', valid_from = valid_from - interval '9 days', \
                valid_until = valid_until - interval '9 days'";
    shop.superuser.run(back);
    coupon(&shop, "NEW", "amount_off", "5", "");
    let number = issued(&shop, "NEW", &ming);
    let sql = Shop::charge_sql(&shop.code(&ming), "10.00", "").replace("merchant_charge_by_qr", "quote_charge");
    let listed = format!("select x ->> 'coupon_code' from ({sql}) q, jsonb_array_elements(q.coupons) x");
    assert_eq!(shop.cashier.column(&listed), [number]);
}

#[test]
fn the_books_find_what_is_broken_by_hand() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("1000.00"), shop.member("0"));
    let s = &shop.superuser;
    coupon(&shop, "C", "percent_off", "20", r#""budget_amount": 100, "max_discount": 30, "min_spend": 10"#);
    coupon(&shop, "P", "amount_off", "20", "");
    let [used, open] = [0, 1].map(|_| issued(&shop, "C", &ming));
    let paid =
        shop.cashier.row(&charge_sql(&shop, &ming, "100.00", &used, ", p_excluded_amount => 20"))["tx_no"].to_owned();
    let findings = "select check_name, detail from app.verify_books() where ok is not true";
    assert_eq!(s.rows(findings), [] as [Row; 0]);
    let coupons = "update app.member_coupons set";
    let of_used = format!("where sec.coupon_no(id) = '{used}'");
    let of_open = format!("where sec.coupon_no(id) = '{open}'");
    let payment = format!("where tx_no = '{paid}'");
    for (sabotage, check, says) in [
        (format!("{coupons} status = 'active', tx_no = null {of_used}"), "coupon_uses", "which is active"),
        (format!("{coupons} member_id = '{}' {of_used}", mei.id), "coupon_uses", "of another member"),
        (format!("{coupons} tx_no = 'ZF2611999999' {of_used}"), "coupon_uses", "is not there"),
        (format!("{coupons} status = 'used', tx_no = '{paid}' {of_open}"), "coupon_uses", "did not use it"),
        (format!("{coupons} status = 'used', tx_no = 'x' {of_open}"), "coupon_uses", "is not there"),
        (format!("delete from app.member_coupons {of_used}"), "coupon_uses", "which is not there"),
        (format!("{coupons} valid_from = now() + interval '1 day' {of_used}"), "coupon_prices", "could not be used"),
        ("update app.coupon_terms set value = 21 where coupon_id = 1".into(), "coupon_prices", "takes off 16.80"),
        (
            "update app.coupon_terms set max_discount = 15.99 where coupon_id = 1".into(),
            "coupon_prices",
            "takes off 15.99",
        ),
        (
            "update app.coupon_terms set min_spend = 80.01 where coupon_id = 1".into(),
            "coupon_prices",
            "could not be used",
        ),
        (
            "update app.coupon_terms set merchants = '{9}' where coupon_id = 1".into(),
            "coupon_prices",
            "could not be used",
        ),
        (
            format!("update app.transactions set coupon_discount = 16.01, final_amount = 83.99 {payment}"),
            "coupon_prices",
            "16.01 off",
        ),
        (
            format!(
                "update app.transactions set discount = 0.900, coupon_discount = 8 {payment}; update app.coupon_terms set \
                     goes_with_level_discount = false where coupon_id = 1"
            ),
            "coupon_prices",
            "takes the place",
        ),
        (
            "update app.coupon_budget_parts set left_amount = left_amount + 0.01 where part = 3".into(),
            "coupon_budgets",
            "84.01 is left",
        ),
        (
            "update app.coupons set budget_amount = 99.99 where id = 1; \
             update app.coupon_terms set budget_amount = 99.99 where coupon_id = 1"
                .into(),
            "coupon_budgets",
            "84.00 is left of its budget of 99.99, and 16.00 was spent",
        ),
    ] {
        s.run("begin");
        s.run(&sabotage);
        let found = s.rows(findings);
        s.run("rollback");
        let named: Vec<&Row> = found.iter().filter(|row| &row["check_name"] == check).collect();
        assert!(named.iter().any(|row| row["detail"].contains(says)), "{sabotage}: {found:?}");
    }
}

#[test]
fn a_quote_says_what_the_charge_then_does() {
    let shop = Shop::open();
    let ming = silver(&shop, "60.00");
    coupon(&shop, "FIVE", "amount_off", "5", "");
    coupon(&shop, "TENTH", "percent_off", "10", r#""valid_days_after_issue": 3"#);
    coupon(&shop, "INSTEAD", "percent_off", "12", r#""goes_with_level_discount": false"#);
    coupon(&shop, "BIG", "amount_off", "50", r#""min_spend": 200"#);
    coupon(&shop, "POOR", "amount_off", "6", r#""budget_amount": 5"#);
    let [five, tenth, instead, ..] = ["FIVE", "TENTH", "INSTEAD", "BIG", "POOR"].map(|code| issued(&shop, code, &ming));
    let quote = |more: &str, amount: &str| {
        let code = shop.code(&ming);
        let sql = Shop::charge_sql(&code, amount, more).replace("merchant_charge_by_qr", "quote_charge");
        (code, sql)
    };
    let (_, sql) = quote("", "100.00");
    let row = shop.cashier.row(&sql);
    assert_eq!(
        row.without(&["coupons"]).values(),
        [
            "95.00",
            "0.950",
            "0.00",
            "95",
            "f",
            r#"[{"step": "asked", "amount": 100.00}, {"step": "level_discount", "amount": -5.00}]"#
        ]
    );
    // What each saves beside what it costs without any; the best first. Not what needs more, or has no budget for it.
    let list = format!(
        "select x ->> 'coupon_code' || ' ' || (x ->> 'saves') || ' ' || (x ->> 'final_amount') from ({sql}) q, \
                        jsonb_array_elements(q.coupons) x"
    );
    assert_eq!(
        shop.cashier.column(&list),
        [format!("{tenth} 9.50 85.50"), format!("{instead} 7.00 88.00"), format!("{five} 5.00 90.00")]
    );
    // With one, what is then paid, to the letter; nothing was used up by asking.
    let (code, sql) = quote(&with(&tenth, ", p_excluded_amount => 40"), "100.00");
    let row = shop.cashier.row(&sql);
    shop.cashier.row(&sql);
    assert_eq!(row.without(&["coupons", "lines"]).values(), ["91.30", "0.950", "5.70", "51", "f"]);
    shop.recharge(&ming.card, "100.00");
    let paid = shop.cashier.row(&Shop::charge_sql(&code, "100.00", &with(&tenth, ", p_excluded_amount => 40")));
    for column in ["final_amount", "discount", "coupon_discount", "points_earned"] {
        assert_eq!(row[column], paid[column], "{column}");
    }
    // The same refusals as the charge's.
    let refused = |token: &str, more: &str, why: &str| {
        let (_, sql) = quote(more, "100.00");
        let failure = shop.cashier.refused(token, &sql);
        assert!(failure.detail.starts_with(why), "{failure:?}");
    };
    refused("COUPON_NOT_USABLE", &with(&tenth, ""), "used");
    refused("COUPON_NOT_FOUND", &with("CP99999999", ""), "");
    refused("INVALID_AMOUNT", "p_excluded_amount => 100.01", "p_excluded_amount");
    let poor = shop.superuser.value(
        "select sec.coupon_no(m.id) from app.member_coupons m join app.coupons c on c.id = m.coupon_id \
                                     where c.code = 'POOR'",
    );
    refused("COUPON_NOT_USABLE", &with(&poor, ""), "budget");
    shop.cashier.refused("QR_EXPIRED_OR_INVALID", &sql);
    shop.db.user(ming.id).refused("NOT_MERCHANT_USER", &quote("", "1.00").1);
    // Addresses stand in logs.
    shop.cashier.run("select set_config('request.method', 'GET', false)");
    shop.cashier.refused("INVALID_ARGUMENT", &quote("", "1.00").1);
    shop.cashier.run("select set_config('request.method', 'HEAD', false)");
    shop.cashier.refused("INVALID_ARGUMENT", &quote("", "1.00").1);
    shop.cashier.run("select set_config('request.method', 'POST', false)");
    shop.cashier.run(&quote("", "1.00").1);
}

#[test]
fn a_quote_of_a_company_card_locks_nothing() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let company = shop.company("0.900", "100.00", &ming);
    let code = shop.company_code(&company, &ming);
    let holder = shop.db.superuser();
    holder.run(&format!("begin; select from app.enterprise_cards where id = '{}' for update", company.card));
    shop.cashier.run("set statement_timeout = '5s'");
    let sql = Shop::charge_sql(&code, "100.00", "").replace("merchant_charge_by_qr", "quote_charge");
    let row = shop.cashier.row(&sql);
    assert_eq!(
        row.values(),
        [
            "90.00",
            "0.900",
            "0.00",
            "0",
            "t",
            r#"[{"step": "asked", "amount": 100.00}, {"step": "company_discount", "amount": -10.00}]"#,
            "[]"
        ]
    );
    // It says the same where nothing can be written.
    shop.cashier.run(&format!("begin read only; {sql}; commit"));
    holder.run("rollback");
}
