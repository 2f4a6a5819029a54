//! Pay codes and charges.

use mps_tests::{NULL, SHOP, Shop, nobody, q};

#[test]
fn the_seeds_charge_answers_with_every_column_of_the_contract() {
    let shop = Shop::open();
    let ming = shop.member("200.00");
    let code = shop.code(&ming);
    let row = shop.cashier.row(&format!(
        r#"select * from app.merchant_charge_by_qr('SHOP-001', '{code}', 52.00, '购买拿铁', '{{"sku":"latte"}}', 'order-2025-0001')"#
    ));
    assert_eq!(
        row.names(),
        [
            "tx_id",
            "tx_no",
            "card_type",
            "card_id",
            "raw_amount",
            "discount",
            "final_amount",
            "points_earned",
            "status",
            "created_at",
            "replayed",
            "coupon_discount",
            "points_bonus"
        ]
    );
    assert_eq!(
        row.without(&["tx_id", "tx_no", "created_at"]).values(),
        ["personal", ming.card.as_str(), "52.00", "1.000", "52.00", "52", "completed", "f", "0.00", "0"]
    );
    assert_eq!(shop.card(&ming), ("148.00".into(), "52".into(), "0".into()));

    let stored = shop.superuser.row(&format!(
        "select tx_type, status, card_type, card_id, member_id, m.code, raw_amount, discount, final_amount, points_earned, balance_after, \
         card_seq, payment_method, reason, tag, idempotency_key, external_order_id, original_tx_no, refunded_amount, processed_by \
         from app.transactions t join app.merchants m on m.id = t.merchant_id where t.tx_no = {} and t.id = {}",
        q(&row["tx_no"]),
        &row["tx_id"]
    ));
    let (member, cashier) = (ming.id.to_string(), shop.cashier_id.to_string());
    assert_eq!(
        stored.values(),
        [
            "payment",
            "completed",
            "personal",
            &ming.card,
            &member,
            SHOP,
            "52.00",
            "1.000",
            "52.00",
            "52",
            "148.00",
            "2",
            "balance",
            "购买拿铁",
            r#"{"sku": "latte"}"#,
            "order-2025-0001",
            NULL,
            NULL,
            "0.00",
            &cashier
        ]
    );

    let event = shop.last_event(&row["tx_no"]);
    assert_eq!(event.without(&["context"]).values(), [cashier.as_str(), "authenticated", "payment", "transaction"]);
    let ledger = shop
        .superuser
        .row(&format!("select change, balance_after, tx_no from app.point_ledger where card_id = '{}'", ming.card));
    assert_eq!(ledger.values(), ["52", "52", &row["tx_no"]]);
}

#[test]
fn a_charge_by_name_is_the_same_as_by_place() {
    let shop = Shop::open();
    let ming = shop.member("200.00");
    let code = shop.code(&ming);
    let row = shop.cashier.row(&format!(
        r#"select * from app.merchant_charge_by_qr(p_idempotency_key => 'order-2025-0001', p_tag => '{{"sku":"latte"}}',
           p_reason => '购买拿铁', p_amount => 52.0, p_qr_plain => '{code}', p_merchant_code => '{SHOP}')"#
    ));
    assert_eq!((&row["raw_amount"], &row["final_amount"], &row["replayed"]), ("52.00", "52.00", "f"));
    let stored = shop
        .superuser
        .row(&format!("select reason, idempotency_key, tag from app.transactions where id = {}", &row["tx_id"]));
    assert_eq!(stored.values(), ["购买拿铁", "order-2025-0001", r#"{"sku": "latte"}"#]);
}

#[test]
fn a_null_tag_is_the_empty_object() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let code = shop.code(&ming);
    shop.cashier.run(&Shop::charge_sql(&code, "1.00", "p_tag => null"));
    assert_eq!(shop.superuser.value("select tag from app.transactions where tx_type = 'payment'"), "{}");
}

#[test]
fn a_backend_charges_without_being_an_operator() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let code = shop.code(&ming);
    let row = shop.backend.row(&Shop::charge_sql(&code, "4.00", ""));
    assert_eq!(&row["final_amount"], "4.00");
    let who = shop
        .superuser
        .row(&format!("select processed_by, member_id from app.transactions where id = {}", &row["tx_id"]));
    assert_eq!(who.values(), [NULL, &ming.id.to_string()]);
    assert_eq!(&shop.last_event(&row["tx_no"])["actor_role"], "service_role");
}

#[test]
fn numbers_carry_type_and_month_and_find_their_row() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "10.00");
    let refund = shop.refund(&paid["tx_no"], "1.00");
    let month = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYMM')");
    for (number, prefix) in [(&paid["tx_no"], "ZF"), (&refund["refund_tx_no"], "TK")] {
        assert!(number.starts_with(&format!("{prefix}{month}")), "{number}");
        assert_eq!(shop.count(&format!("tx_no = '{number}'")), "1");
        let digits = &number[6..];
        assert!(digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit()), "{number}");
    }
}

#[test]
fn prices_round_half_away_from_zero_to_the_cent() {
    let shop = Shop::open();
    let ming = shop.member("0");
    for (discount, price, paid) in [
        ("0.950", "52.00", "49.40"),
        ("0.950", "0.10", "0.10"),
        ("0.949", "0.10", "0.09"),
        ("0.500", "0.01", "0.01"),
        ("0.333", "0.05", "0.02"),
        ("0.125", "0.12", "0.02"),
        ("0.124", "0.12", "0.01"),
        ("0.999", "50000.00", "49950.00"),
        ("0.001", "50000.00", "50.00"),
    ] {
        let company = shop.company(discount, "50000.00", &ming);
        let row = shop.charge_company(&company, &ming, price);
        assert_eq!((&row["discount"], &row["final_amount"]), (discount, paid), "{price} at {discount}");
    }
}

#[test]
fn a_charge_that_the_discount_leaves_nothing_of_is_refused() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let company = shop.company("0.499", "10.00", &ming);
    let code = shop.company_code(&company, &ming);
    shop.cashier.refused("INVALID_AMOUNT", &Shop::charge_sql(&code, "0.01", ""));
    assert_eq!(&shop.cashier.row(&Shop::charge_sql(&code, "0.02", ""))["final_amount"], "0.01");
}

#[test]
fn the_last_cent_can_be_spent_and_not_one_more() {
    let shop = Shop::open();
    let ming = shop.member("52.00");
    let code = shop.code(&ming);
    let refusal = shop.cashier.refused("INSUFFICIENT_BALANCE", &Shop::charge_sql(&code, "52.01", ""));
    assert!(!format!("{refusal:?}").contains("52.00"), "a cashier is told the balance: {refusal:?}");
    shop.cashier.run(&Shop::charge_sql(&code, "52.00", ""));
    assert_eq!(shop.balance(&ming.card), "0.00");
}

#[test]
fn the_largest_amount_is_a_setting() {
    let shop = Shop::open();
    let ming = shop.member("50000.00");
    shop.recharge(&ming.card, "10000.00");
    let code = shop.code(&ming);
    shop.cashier.refused("INVALID_AMOUNT", &Shop::charge_sql(&code, "50000.01", ""));
    assert_eq!(&shop.cashier.row(&Shop::charge_sql(&code, "50000.00", ""))["final_amount"], "50000.00");
    shop.backend.run(r#"select app.update_settings('{"max_amount": 20}')"#);
    let code = shop.code(&ming);
    shop.cashier.refused("INVALID_AMOUNT", &Shop::charge_sql(&code, "20.01", ""));
    shop.cashier.run(&Shop::charge_sql(&code, "20.00", ""));
}

#[test]
fn a_company_card_has_its_discount_no_points_and_a_code_per_employee() {
    let shop = Shop::open();
    let (boss, anna, bob) = (shop.member("0"), shop.member("0"), shop.member("5.00"));
    let company = shop.company("0.880", "1000.00", &boss);
    shop.bind(&company, &anna, "member");
    let annas = shop.company_code(&company, &anna);
    let bosses = shop.company_code(&company, &boss);
    assert_ne!(annas, bosses);

    let row = shop.cashier.row(&Shop::charge_sql(&annas, "100.00", ""));
    assert_eq!(
        row.without(&["tx_id", "tx_no", "created_at"]).values(),
        ["enterprise", company.card.as_str(), "100.00", "0.880", "88.00", "0", "completed", "f", "0.00", "0"]
    );
    let who = shop.superuser.value(&format!("select member_id from app.transactions where id = {}", &row["tx_id"]));
    assert_eq!(who, anna.id.to_string());
    shop.cashier.refused("QR_EXPIRED_OR_INVALID", &Shop::charge_sql(&annas, "1.00", ""));
    // The code of another employee is still good.
    shop.cashier.run(&Shop::charge_sql(&bosses, "100.00", ""));
    assert_eq!(shop.balance(&company.card), "824.00");

    let sql = format!("select * from app.rotate_card_qr('{}', 'enterprise', '{}')", company.card, bob.id);
    shop.backend.refused("NOT_CARD_USER", &sql);
    let own = format!("select * from app.rotate_card_qr('{}', 'enterprise')", company.card);
    shop.db.user(bob.id).refused("CARD_NOT_FOUND", &own);
    shop.backend.refused("INVALID_ARGUMENT", &own);
    let code = shop.db.user(anna.id).row(&own)["qr_plain"].to_owned();
    shop.backend.run(&format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, anna.id));
    shop.cashier.refused("QR_EXPIRED_OR_INVALID", &Shop::charge_sql(&code, "1.00", ""));
}

#[test]
fn a_code_is_shown_once_and_only_its_hash_is_kept() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let row = shop.db.user(ming.id).row(&format!("select * from app.rotate_card_qr('{}')", ming.card));
    assert_eq!(row.names(), ["qr_plain", "qr_expires_at"]);
    let code = &row["qr_plain"];
    let stored = shop.superuser.row(&format!(
        "select qr_hash = sha256(convert_to('{code}', 'UTF8')) as hash, qr_expires_at = '{}' as same, \
         qr_expires_at - now() > interval '14 min 50 s' and qr_expires_at - now() <= interval '15 min' as quarter \
         from app.personal_cards where id = '{}'",
        &row["qr_expires_at"], ming.card
    ));
    assert_eq!(stored.values(), ["t", "t", "t"]);
    for table in ["app.personal_cards", "app.enterprise_card_bindings", "audit.event_log", "app.transactions"] {
        let found =
            shop.superuser.value(&format!("select count(*) from {table} t where t::text like '%{}%'", &code[10..]));
        assert_eq!(found, "0", "the code is in {table}");
    }
}

#[test]
fn codes_have_128_random_bits_in_alphanumeric_qr_mode() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let codes: Vec<String> = (0..20).map(|_| shop.code(&ming)).collect();
    // 128 bits are 25.6 characters of base 32: no two codes of a card may agree in more than a few places of their ends.
    for (i, a) in codes.iter().enumerate() {
        assert!(a.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{a}");
        for b in &codes[..i] {
            let same = a.bytes().rev().zip(b.bytes().rev()).take(25).filter(|(x, y)| x == y).count();
            assert!(same < 13, "{a} and {b}");
        }
    }
}

#[test]
fn the_life_of_a_code_is_a_setting() {
    let shop = Shop::open();
    let ming = shop.member("0");
    shop.backend.run(r#"select app.update_settings('{"qr_ttl_seconds": 60}')"#);
    let sql = format!(
        "select qr_expires_at - clock_timestamp() between interval '50 s' and interval '60 s' from app.rotate_card_qr('{}')",
        ming.card
    );
    assert_eq!(shop.backend.value(&sql), "t");
}

#[test]
fn a_new_code_ends_the_one_before() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let (old, new) = (shop.code(&ming), shop.code(&ming));
    shop.cashier.refused("QR_EXPIRED_OR_INVALID", &Shop::charge_sql(&old, "1.00", ""));
    shop.cashier.run(&Shop::charge_sql(&new, "1.00", ""));
}

#[test]
fn a_code_pays_once_and_a_failed_charge_does_not_use_it_up() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let code = shop.code(&ming);
    shop.cashier.refused("INSUFFICIENT_BALANCE", &Shop::charge_sql(&code, "10.01", ""));
    shop.cashier.run(&Shop::charge_sql(&code, "3.00", ""));
    shop.cashier.refused("QR_EXPIRED_OR_INVALID", &Shop::charge_sql(&code, "3.00", ""));
    assert_eq!(shop.balance(&ming.card), "7.00");
}

#[test]
fn with_single_use_off_a_code_pays_until_it_expires() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    let code = shop.code(&ming);
    shop.cashier.run(&Shop::charge_sql(&code, "3.00", ""));
    shop.cashier.run(&Shop::charge_sql(&code, "3.00", ""));
    assert_eq!(shop.balance(&ming.card), "4.00");
    shop.superuser.run("update app.personal_cards set qr_expires_at = now() - interval '1 s'");
    shop.cashier.refused("QR_EXPIRED_OR_INVALID", &Shop::charge_sql(&code, "3.00", ""));
}

#[test]
fn forged_expired_used_and_foreign_codes_answer_alike() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("10.00"), shop.member("10.00"));
    let company = shop.company("1.000", "10.00", &ming);
    let used = shop.code(&ming);
    shop.cashier.run(&Shop::charge_sql(&used, "1.00", ""));
    let expired = shop.code(&mei);
    shop.superuser.run(&format!("update app.personal_cards set qr_expires_at = now() where id = '{}'", mei.card));
    let live = shop.code(&ming);
    let companys = shop.company_code(&company, &ming);

    let flipped = |code: &str, at: usize| {
        let other = if code.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &code[..at], &code[at + 1..])
    };
    let wrong = [
        ("used", used.clone()),
        ("expired", expired.clone()),
        ("forged secret", flipped(&live, live.len() - 3)),
        ("no such card", flipped(&live, 10)),
        ("company: forged secret", flipped(&companys, companys.len() - 3)),
        ("company: no such card", flipped(&companys, 10)),
        ("company: no such member", flipped(&companys, 40)),
        ("truncated", live[..live.len() - 1].into()),
        ("longer", format!("{live}A")),
        ("card of one, secret of another", format!("{}{}", &expired[..30], &live[30..])),
        ("oversized", "MPS".repeat(5000)),
        ("white space inside", format!("{} {}", &live[..30], &live[30..])),
        ("other letters", "付款码".into()),
        ("a card's number", ming.card_no.clone()),
        ("a card's id", ming.card.clone()),
        ("SQL", "' or qr_hash is not null --".into()),
    ];
    let mut answers: Vec<_> = wrong
        .iter()
        .map(|(what, code)| (what, shop.cashier.refused("QR_EXPIRED_OR_INVALID", &Shop::charge_sql(code, "1.00", ""))))
        .collect();
    let (_, first) = answers.remove(0);
    for (what, answer) in answers {
        assert_eq!(answer, first, "{what} is told apart");
    }
    // A frozen card's code: whoever shows a wrong one does not learn that it is frozen.
    shop.set_card(&ming.card, "personal", "frozen");
    assert_eq!(shop.cashier.refused("QR_EXPIRED_OR_INVALID", &Shop::charge_sql(&used, "1.00", "")), first);
    shop.set_card(&ming.card, "personal", "active");
    // The right ones still pay, and white space of a scanner does not matter.
    shop.cashier.run(&Shop::charge_sql(&format!(" {live}\r\n"), "1.00", ""));
    shop.cashier.run(&Shop::charge_sql(&companys, "1.00", ""));
}

#[test]
fn a_card_that_is_not_active_neither_pays_nor_gets_a_code() {
    let shop = Shop::open();
    for (status, token) in [("frozen", "CARD_NOT_ACTIVE"), ("lost", "CARD_NOT_ACTIVE")] {
        let ming = shop.member("10.00");
        let code = shop.code(&ming);
        shop.set_card(&ming.card, "personal", status);
        shop.cashier.refused(token, &Shop::charge_sql(&code, "1.00", ""));
        let rotate = format!("select * from app.rotate_card_qr('{}')", ming.card);
        shop.backend.refused(token, &rotate);
        shop.db.user(ming.id).refused(token, &rotate);
    }
}

#[test]
fn an_expired_card_does_not_pay_even_before_the_job_has_run() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let company = shop.company("1.000", "10.00", &ming);
    let code = shop.code(&ming);
    let companys = shop.company_code(&company, &ming);
    for (card, kind) in [(&ming.card, "personal"), (&company.card, "enterprise")] {
        let sql =
            format!("select app.set_card_expiry('{card}', '{kind}', clock_timestamp() + interval '0.3 s', 'test')");
        assert_eq!(shop.backend.value(&sql), "t");
    }
    shop.superuser.run("select pg_sleep(0.35)");
    assert_eq!(shop.card_status(&ming.card), "active");
    shop.cashier.refused("CARD_EXPIRED", &Shop::charge_sql(&code, "1.00", ""));
    shop.cashier.refused("CARD_EXPIRED", &Shop::charge_sql(&companys, "1.00", ""));
    shop.backend.refused("CARD_EXPIRED", &format!("select * from app.rotate_card_qr('{}')", ming.card));
    shop.superuser.run("call app.expire_cards()");
    assert_eq!((shop.card_status(&ming.card), shop.card_status(&company.card)), ("expired".into(), "expired".into()));
    shop.cashier.refused("CARD_EXPIRED", &Shop::charge_sql(&code, "1.00", ""));
    let sql = format!("select app.set_card_expiry('{}', 'personal', null, 'renewed')", ming.card);
    assert_eq!(shop.backend.value(&sql), "t");
    assert_eq!(shop.card_status(&ming.card), "active");
    shop.charge(&ming, "1.00");
}

#[test]
fn a_suspended_member_neither_pays_nor_gets_a_code() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let company = shop.company("1.000", "10.00", &ming);
    let code = shop.code(&ming);
    let companys = shop.company_code(&company, &ming);
    shop.backend.run(&format!("select app.set_member_status('{}', 'suspended', 'test')", ming.id));
    shop.cashier.refused("MEMBER_NOT_ACTIVE", &Shop::charge_sql(&code, "1.00", ""));
    shop.cashier.refused("MEMBER_NOT_ACTIVE", &Shop::charge_sql(&companys, "1.00", ""));
    shop.db.user(ming.id).refused("MEMBER_NOT_ACTIVE", &format!("select * from app.rotate_card_qr('{}')", ming.card));
    shop.backend.run(&format!("select app.set_member_status('{}', 'active', 'test')", ming.id));
    shop.cashier.run(&Shop::charge_sql(&code, "1.00", ""));
    shop.cashier.run(&Shop::charge_sql(&companys, "1.00", ""));
}

#[test]
fn only_operators_of_the_merchant_and_backends_charge() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let code = shop.code(&ming);
    let charge = Shop::charge_sql(&code, "1.00", "");
    let other = shop.another("SHOP-002");
    other.refused("NOT_MERCHANT_USER", &charge);
    shop.db.user(ming.id).refused("NOT_MERCHANT_USER", &charge);
    shop.db.user(nobody()).refused("NOT_MERCHANT_USER", &charge);
    shop.db.anon().denied(&charge);
    shop.cashier.refused("MERCHANT_NOT_FOUND", &charge.replace(SHOP, "SHOP-999"));
    shop.backend.run(&format!("select app.set_merchant_status('{SHOP}', false, 'closed for the winter')"));
    shop.cashier.refused("MERCHANT_INACTIVE", &charge);
    shop.backend.refused("MERCHANT_INACTIVE", &charge);
    shop.backend.run(&format!("select app.set_merchant_status('{SHOP}', true, 'spring')"));
    shop.cashier.run(&charge);
    shop.backend.run(&format!("select app.remove_merchant_user('{SHOP}', '{}')", shop.cashier_id));
    shop.cashier.refused("NOT_MERCHANT_USER", &Shop::charge_sql(&shop.code(&ming), "1.00", ""));
}

#[test]
fn a_code_is_for_its_owner_and_backends_to_make() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("10.00"), shop.member("0"));
    let rotate = format!("select * from app.rotate_card_qr('{}')", ming.card);
    shop.db.user(mei.id).refused("CARD_NOT_FOUND", &rotate);
    shop.cashier.refused("CARD_NOT_FOUND", &rotate);
    shop.backend.refused("CARD_NOT_FOUND", &format!("select * from app.rotate_card_qr('{}')", nobody()));
    shop.backend.refused(
        "CARD_NOT_FOUND",
        &format!("select * from app.rotate_card_qr('{}', 'enterprise', '{}')", ming.card, ming.id),
    );
    shop.backend.refused(
        "NOT_CARD_USER",
        &format!("select * from app.rotate_card_qr('{}', 'personal', '{}')", ming.card, mei.id),
    );
    let named = format!("select * from app.rotate_card_qr('{}', 'personal', '{}')", ming.card, mei.id);
    shop.db.user(ming.id).refused("NOT_ALLOWED", &named);
    shop.db.anon().denied(&rotate);
    shop.db.user(ming.id).run(&rotate);
    assert_eq!(&shop.last_event(&ming.card_no)["action"], "card.code_rotated");
}

#[test]
fn a_user_of_ones_own_server_pays_like_one_behind_postgrest() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let code = shop.db.app_user(ming.id).row(&format!("select * from app.rotate_card_qr('{}')", ming.card))["qr_plain"]
        .to_owned();
    let row = shop.db.app_user(shop.cashier_id).row(&Shop::charge_sql(&code, "1.00", ""));
    assert_eq!(&shop.last_event(&row["tx_no"])["actor_role"], "app_role");
}

#[test]
fn expire_qrcodes_forgets_ended_codes_and_only_those() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("10.00"), shop.member("10.00"));
    let company = shop.company("1.000", "10.00", &ming);
    shop.code(&ming);
    let live = shop.code(&mei);
    shop.company_code(&company, &ming);
    shop.superuser.run(&format!(
        "update app.personal_cards set qr_expires_at = now() - interval '1 s' where id = '{}'",
        ming.card
    ));
    shop.superuser.run("update app.enterprise_card_bindings set qr_expires_at = now() - interval '1 s'");
    shop.superuser.run("call app.expire_qrcodes()");
    let left = "select (select count(*) from app.personal_cards where qr_hash is not null) || ',' || \
                (select count(*) from app.enterprise_card_bindings where qr_hash is not null)";
    assert_eq!(shop.superuser.value(left), "1,0");
    shop.cashier.run(&Shop::charge_sql(&live, "1.00", ""));
}
