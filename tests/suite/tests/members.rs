//! Members, their cards, points and levels, and corrections by hand.

use mps_tests::{NULL, Shop, nobody};

#[test]
fn a_user_registers_itself_once() {
    let shop = Shop::open();
    let id = nobody();
    let user = shop.db.user(id);
    let row = user.row("select * from app.register_member('小明', '13800000000', 'ming@example.org')");
    assert_eq!(row.names(), ["member_id", "member_no", "card_id", "card_no"]);
    assert_eq!(&row["member_id"], &id.to_string());
    assert_eq!((&row["member_no"], &row["card_no"]), ("M00000001", "VIP00000001"));
    assert_eq!(
        user.rows_moving_nothing("select * from app.register_member('another name', p_phone => '1')"),
        std::slice::from_ref(&row)
    );
    let stored =
        shop.superuser.row(&format!("select name, phone, email, status from app.member_profiles where id = '{id}'"));
    assert_eq!(stored.values(), ["小明", "13800000000", "ming@example.org", "active"]);
    let card = shop.superuser.row(&format!(
        "select member_id, balance, points, level, discount, status, qr_hash, qr_expires_at, expires_at from \
            app.personal_cards where id = '{}'",
        &row["card_id"]
    ));
    assert_eq!(card.values(), [&id.to_string(), "0.00", "0", "0", "1.000", "active", NULL, NULL, NULL]);
    let event = shop.last_event("M00000001");
    assert_eq!(event.without(&["context"]).values(), [&id.to_string(), "authenticated", "member.registered", "member"]);
}

#[test]
fn a_backend_registers_whom_it_names_or_a_new_id() {
    let shop = Shop::open();
    let id = nobody();
    let named = format!("select * from app.register_member(p_name => 'Ming', p_user_id => '{id}')");
    let row = shop.backend.row(&named);
    assert_eq!(&row["member_id"], &id.to_string());
    assert_eq!(shop.backend.rows_moving_nothing(&named), std::slice::from_ref(&row));
    let (a, b) = (
        shop.backend.row("select * from app.register_member('A')"),
        shop.backend.row("select * from app.register_member('A')"),
    );
    assert_ne!(&a["member_id"], &b["member_id"]);
    // Numbers may skip, never repeat; they keep their order.
    let numbers = [&row["member_no"], &a["member_no"], &b["member_no"]];
    assert!(numbers.is_sorted() && numbers.iter().all(|n| n.len() == 9 && n.starts_with('M')), "{numbers:?}");
    assert!(numbers[0] != numbers[1] && numbers[1] != numbers[2]);
}

#[test]
fn nobody_registers_another_or_without_signing_in() {
    let shop = Shop::open();
    let user = shop.db.user(nobody());
    user.refused("NOT_ALLOWED", &format!("select * from app.register_member('x', p_user_id => '{}')", nobody()));
    shop.db.anon().denied("select * from app.register_member('x')");
    let app = shop.db.login("app_role");
    app.refused("NOT_AUTHENTICATED", "select * from app.register_member('x')");
    for claims in
        ["", "{}", "{\"sub\": null}", "{\"sub\": \"admin\"}", "not json", "[]", "{\"sub\": 7}", "{\"sub\": \"\"}"]
    {
        app.run(&format!("select set_config('request.jwt.claims', '{claims}', false)"));
        assert_eq!(app.value("select sec.uid()"), NULL, "{claims}");
        app.refused("NOT_AUTHENTICATED", "select * from app.register_member('x')");
    }
}

#[test]
fn a_member_is_suspended_restored_and_closed_for_good() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let set = |status: &str| format!("select app.set_member_status('{}', '{status}', 'because')", ming.id);
    assert_eq!(shop.backend.value(&set("suspended")), "t");
    assert_eq!(shop.backend.rows_moving_nothing(&set("suspended"))[0].values(), ["f"]);
    assert_eq!(&shop.last_event(&ming.no)["action"], "member.status_set");
    assert_eq!(shop.backend.value(&set("active")), "t");
    shop.backend.refused("CARD_NOT_EMPTY", &set("closed"));
    shop.charge(&ming, "10.00");
    let waiting = shop.pending(&ming, "5.00");
    shop.backend.refused("CARD_NOT_EMPTY", &set("closed"));
    shop.backend.run(&format!("select * from app.fail_recharge('{waiting}', 'x')"));
    assert_eq!(shop.backend.value(&set("closed")), "t");
    assert_eq!(shop.card_status(&ming.card), "closed");
    shop.backend.refused("STATUS_CONFLICT", &set("active"));
    shop.backend.refused("STATUS_CONFLICT", &set("suspended"));
    assert_eq!(shop.backend.rows_moving_nothing(&set("closed"))[0].values(), ["f"]);
    shop.backend.refused("MEMBER_NOT_FOUND", &format!("select app.set_member_status('{}', 'active', 'x')", nobody()));
    shop.db.user(ming.id).denied(&set("active"));
}

#[test]
fn a_card_moves_between_its_statuses_as_the_contract_draws() {
    let shop = Shop::open();
    // From each status, the ones that set_card_status may lead to; closing needs an empty card, and these are.
    let allowed = [
        ("active", vec!["frozen", "lost", "closed"]),
        ("frozen", vec!["active", "lost", "closed"]),
        ("lost", vec!["closed"]),
        ("expired", vec!["closed"]),
        ("closed", vec![]),
    ];
    for (from, to) in allowed {
        for next in ["active", "frozen", "lost", "expired", "closed"] {
            for kind in ["personal", "enterprise"] {
                let ming = shop.member("0");
                let card = if kind == "personal" { ming.card } else { shop.company("1", "0", &ming).card };
                match from {
                    "active" => {}
                    "expired" => {
                        shop.backend.run(&format!("select app.set_card_expiry('{card}', '{kind}', now(), 'x')"))
                    }
                    _ => shop.set_card(&card, kind, from),
                }
                let sql = format!("select app.set_card_status('{card}', '{kind}', '{next}', 'x')");
                if next == from {
                    assert_eq!(shop.backend.rows_moving_nothing(&sql)[0].values(), ["f"], "{kind}: {from} to {next}");
                } else if to.contains(&next) || (kind, from, next) == ("enterprise", "lost", "active") {
                    assert_eq!(shop.backend.value(&sql), "t", "{kind}: {from} to {next}");
                    assert_eq!(shop.card_status(&card), next);
                } else {
                    shop.backend.refused("STATUS_CONFLICT", &sql);
                }
            }
        }
    }
}

#[test]
fn an_owner_may_report_its_card_lost_and_nothing_else() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("10.00"), shop.member("0"));
    let company = shop.company("1.000", "10.00", &ming);
    let user = shop.db.user(ming.id);
    let set = |status: &str| format!("select app.set_card_status('{}', 'personal', '{status}', 'stolen')", ming.card);
    for status in ["frozen", "active", "closed", "expired"] {
        user.refused("NOT_ALLOWED", &set(status));
    }
    shop.db.user(mei.id).refused("CARD_NOT_FOUND", &set("lost"));
    let companys = format!("select app.set_card_status('{}', 'enterprise', 'lost', 'x')", company.card);
    let refusal = user.failure_moving_nothing(&companys);
    assert!(["NOT_ALLOWED", "CARD_NOT_FOUND"].contains(&refusal.message.as_str()), "{refusal:?}");
    assert_eq!(user.value(&set("lost")), "t");
    let event = shop.last_event(&ming.card_no);
    assert_eq!((&event["actor_user_id"], &event["action"]), (ming.id.to_string().as_str(), "card.status_set"));
    user.refused("NOT_ALLOWED", &set("active"));
}

#[test]
fn closing_needs_an_empty_card() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let close = format!("select app.set_card_status('{}', 'personal', 'closed', 'x')", ming.card);
    shop.backend.refused("CARD_NOT_EMPTY", &close);
    shop.charge(&ming, "10.00");
    let waiting = shop.pending(&ming, "1.00");
    shop.backend.refused("CARD_NOT_EMPTY", &close);
    shop.backend.run(&format!("select * from app.fail_recharge('{waiting}', 'x')"));
    assert_eq!(shop.backend.value(&close), "t");
    // Closed is final, for everything that would use it.
    shop.backend.refused(
        "CARD_NOT_ACTIVE",
        &format!("select * from app.user_recharge_personal_card('{}', 1, 'cash')", ming.card),
    );
    shop.backend.refused("CARD_NOT_ACTIVE", &format!("select * from app.adjust_points('{}', 1, 'x')", ming.card));
    shop.backend
        .refused("STATUS_CONFLICT", &format!("select app.set_card_expiry('{}', 'personal', null, 'x')", ming.card));
    shop.backend.refused("CARD_NOT_ACTIVE", &format!("select * from app.rotate_card_qr('{}')", ming.card));
}

#[test]
fn an_expiry_expires_and_a_new_one_revives() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let set = |when: &str| format!("select app.set_card_expiry('{}', 'personal', {when}, 'x')", ming.card);
    let far = "timestamptz '2099-01-01 00:00+00'";
    assert_eq!(shop.backend.value(&set(far)), "t");
    assert_eq!(shop.backend.rows_moving_nothing(&set(far))[0].values(), ["f"]);
    assert_eq!(&shop.last_event(&ming.card_no)["action"], "card.expiry_set");
    shop.charge(&ming, "1.00");
    assert_eq!(shop.backend.value(&set("now() - interval '1 s'")), "t");
    assert_eq!(shop.card_status(&ming.card), "expired");
    assert_eq!(shop.backend.value(&set(far)), "t");
    assert_eq!(shop.card_status(&ming.card), "active");
    // A frozen card stays frozen.
    shop.set_card(&ming.card, "personal", "frozen");
    shop.backend.run(&set("null"));
    assert_eq!(shop.card_status(&ming.card), "frozen");
    shop.backend.refused("INVALID_ARGUMENT", &set("'infinity'"));
    shop.backend.refused("INVALID_ARGUMENT", &set("'-infinity'"));
    shop.backend
        .refused("CARD_NOT_FOUND", &format!("select app.set_card_expiry('{}', 'personal', null, 'x')", nobody()));
    shop.db.user(ming.id).denied(&set("null"));
}

#[test]
fn a_replacement_takes_over_balance_points_and_level_by_a_linked_pair() {
    let shop = Shop::open();
    let ming = shop.member("6000.00");
    shop.charge(&ming, "5500.00");
    let old_code = shop.code(&ming);
    let replace = format!("select * from app.replace_card('{}', 'left in a taxi')", ming.card);
    shop.backend.refused("STATUS_CONFLICT", &replace);
    shop.db.user(ming.id).run(&format!("select app.set_card_status('{}', 'personal', 'lost', 'x')", ming.card));
    shop.db.user(ming.id).denied(&replace);
    let row = shop.backend.row(&replace);
    assert_eq!(row.names(), ["card_id", "card_no"]);
    assert_eq!(&row["card_no"], "VIP00000002");
    let new = ming.with_card(&row["card_id"], &row["card_no"]);
    assert_eq!(shop.card(&new), ("500.00".into(), "5500".into(), "1".into()));
    assert_eq!(shop.card(&ming), ("0.00".into(), "0".into(), "0".into()));
    assert_eq!((shop.card_status(&ming.card), shop.card_status(&new.card)), ("closed".into(), "active".into()));
    let pair = shop.superuser.rows(
        "select a.card_id, a.final_amount, a.original_tx_no = b.tx_no as linked, a.reason from app.transactions a \
         join app.transactions b on b.original_tx_no = a.tx_no where a.tx_type = 'adjustment' order by a.final_amount",
    );
    assert_eq!(pair[0].values(), [ming.card.as_str(), "-500.00", "t", "left in a taxi"]);
    assert_eq!(pair[1].values(), [new.card.as_str(), "500.00", "t", "left in a taxi"]);
    assert_eq!(&shop.last_event(&ming.card_no)["action"], "card.replaced");
    // Again: the same one, and nothing more; also after the new one was replaced in turn.
    assert_eq!(shop.backend.rows_moving_nothing(&replace), [row]);
    shop.cashier.refused("QR_EXPIRED_OR_INVALID", &Shop::charge_sql(&old_code, "1.00", ""));
    assert_eq!(&shop.charge(&new, "100.00")["discount"], "0.950");
    // The member's registration answers with the card it has now.
    let known = shop.db.user(ming.id).row("select * from app.register_member('x')");
    assert_eq!((&known["card_id"], &known["card_no"]), (new.card.as_str(), "VIP00000002"));
}

#[test]
fn an_empty_lost_card_is_replaced_without_a_movement() {
    let shop = Shop::open();
    let ming = shop.member("0");
    shop.backend.run(&format!("select * from app.adjust_points('{}', 100, 'x')", ming.card));
    shop.set_card(&ming.card, "personal", "lost");
    let row = shop.backend.row(&format!("select * from app.replace_card('{}', 'x')", ming.card));
    assert_eq!(shop.card(&ming.with_card(&row["card_id"], &row["card_no"])), ("0.00".into(), "100".into(), "0".into()));
    assert_eq!(shop.count("true"), "0");
    shop.backend.refused("CARD_NOT_FOUND", &format!("select * from app.replace_card('{}', 'x')", nobody()));
}

#[test]
fn spending_climbs_the_levels_and_the_next_charge_has_the_discount() {
    let shop = Shop::open();
    let ming = shop.member("50000.00");
    // price, discount taken, paid, points and level after
    for (price, discount, paid, points, level) in [
        ("4999.99", "1.000", "4999.99", "4999", "0"),
        ("1.00", "1.000", "1.00", "5000", "1"),
        ("5263.15", "0.950", "4999.99", "9999", "1"),
        ("2.00", "0.950", "1.90", "10000", "2"),
        ("5555.56", "0.900", "5000.00", "15000", "3"),
        ("5882.36", "0.850", "5000.01", "20000", "4"),
        ("100.00", "0.800", "80.00", "20080", "4"),
    ] {
        let row = shop.charge(&ming, price);
        assert_eq!((&row["discount"], &row["final_amount"]), (discount, paid), "{price}");
        let card = shop.card(&ming);
        assert_eq!((card.1.as_str(), card.2.as_str()), (points, level), "after {price}");
    }
}

#[test]
fn points_are_earned_by_the_rate_on_what_was_paid() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    for (rate, price, points) in [
        ("1", "0.99", "0"),
        ("1.5", "49.99", "74"),
        ("0", "10.00", "0"),
        ("0.0001", "100.00", "0"),
        ("1000", "0.01", "10"),
    ] {
        shop.backend.run(&format!("select app.update_settings('{{\"points_per_unit\": {rate}}}')"));
        assert_eq!(&shop.charge(&ming, price)["points_earned"], points, "{price} at {rate}");
    }
}

#[test]
fn points_by_hand_move_the_level() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let adjust = |change: &str| format!("select * from app.adjust_points('{}', {change}, 'by hand')", ming.card);
    let row = shop.backend.row(&adjust("5000"));
    assert_eq!(row.names(), ["points", "level"]);
    assert_eq!(row.values(), ["5000", "1"]);
    assert_eq!(shop.backend.row(&adjust("15000")).values(), ["20000", "4"]);
    assert_eq!(shop.backend.row(&adjust("-20001")).values(), ["-1", "0"]);
    assert_eq!(&shop.last_event(&ming.card_no)["action"], "points.adjusted");
    let ledger = shop.superuser.rows(&format!(
        "select change, balance_after, tx_no, reason from app.point_ledger where card_id = '{}' order by point_seq",
        ming.card
    ));
    assert_eq!(ledger[2].values(), ["-20001", "-1", NULL, "by hand"]);
    for bad in ["0", "null", "1000000000001", "-1000000000001", "9223372036854775807", "-9223372036854775808"] {
        shop.backend.refused("INVALID_ARGUMENT", &adjust(bad));
    }
    let company = shop.company("1", "0", &ming);
    shop.backend.refused("CARD_NOT_FOUND", &format!("select * from app.adjust_points('{}', 1, 'x')", company.card));
    shop.db.user(ming.id).denied(&adjust("1"));
}

#[test]
fn a_changed_level_table_counts_from_the_next_charge_and_recompute_applies_it_to_all() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("1000.00"), shop.member("1000.00"));
    shop.charge(&ming, "100.00");
    shop.charge(&mei, "100.00");
    shop.superuser.run("insert into app.membership_levels values (5, 'Bronze', 50, 0.990)");
    let level = |m: &mps_tests::Member| {
        shop.superuser
            .value(&format!("select level || ' ' || discount from app.personal_cards where id = '{}'", m.card))
    };
    assert_eq!(level(&ming), "0 1.000");
    let row = shop.charge(&ming, "10.00");
    assert_eq!((&row["discount"], &row["final_amount"]), ("0.990", "9.90"));
    assert_eq!((level(&ming), level(&mei)), ("5 0.990".into(), "0 1.000".into()));
    shop.superuser.run("call app.recompute_levels()");
    assert_eq!(level(&mei), "5 0.990");
    shop.superuser.run("delete from app.membership_levels where level = 5");
    shop.superuser.run("call app.recompute_levels()");
    assert_eq!((level(&ming), level(&mei)), ("0 1.000".into(), "0 1.000".into()));
    // Where nothing changes there is nothing to note.
    shop.superuser.run("call app.recompute_levels()");
    let noted = "select context ->> 'cards' from audit.event_log where action = 'levels.recomputed' order by id";
    assert_eq!(shop.superuser.column(noted), ["1", "2"]);
}

#[test]
fn a_compensation_is_an_adjustment_that_leaves_the_refundable_alone() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "40.00");
    let compensate = |amount: &str| format!("select * from app.compensate_tx('{}', {amount}, '多收')", &paid["tx_no"]);
    let row = shop.backend.row(&compensate("2.50"));
    assert_eq!(row.names(), ["tx_id", "tx_no", "card_id", "amount", "balance_after", "created_at", "replayed"]);
    assert_eq!(row.without(&["tx_id", "tx_no", "created_at"]).values(), [ming.card.as_str(), "2.50", "62.50", "f"]);
    assert!(row["tx_no"].starts_with("TZ"));
    let kept = shop.superuser.row(
        "select tx_no, compensation_tx_no, actor_user_id, actor_role, amount, reason from \
        app.transaction_compensations",
    );
    assert_eq!(kept.values(), [&paid["tx_no"], &row["tx_no"], NULL, "service_role", "2.50", "多收"]);
    assert_eq!(&shop.backend.row(&compensate("-62.50"))["balance_after"], "0.00");
    shop.backend.refused("INSUFFICIENT_BALANCE", &compensate("-0.01"));
    assert_eq!(shop.card(&ming), ("0.00".into(), "40".into(), "0".into()));
    assert_eq!(&shop.refund(&paid["tx_no"], "40.00")["refundable_left"], "0.00");

    shop.backend.run(r#"select app.update_settings('{"max_balance": 41}')"#);
    shop.backend.refused("BALANCE_LIMIT", &compensate("1.01"));
    shop.backend.run(&compensate("1.00"));
    for bad in ["0", "0.00", "null", "'NaN'", "'Infinity'", "'-Infinity'", "0.001", "50000.01", "-50000.01", "1e20"] {
        shop.backend.refused("INVALID_AMOUNT", &compensate(bad));
    }
    shop.backend.refused("TX_NOT_FOUND", "select * from app.compensate_tx('ZF2001000001', 1, 'x')");
    shop.cashier.denied(&compensate("1.00"));
    shop.db.user(ming.id).denied(&compensate("1.00"));
}

#[test]
fn a_compensation_follows_a_replaced_card_and_spares_a_closed_one() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "40.00");
    shop.set_card(&ming.card, "personal", "lost");
    let new = shop.backend.row(&format!("select * from app.replace_card('{}', 'x')", ming.card));
    let compensate = |amount: &str| format!("select * from app.compensate_tx('{}', {amount}, 'x')", &paid["tx_no"]);
    let row = shop.backend.row(&compensate("-60.00"));
    assert_eq!((&row["card_id"], &row["balance_after"]), (&new["card_id"], "0.00"));
    shop.set_card(&new["card_id"], "personal", "closed");
    shop.backend.refused("CARD_NOT_ACTIVE", &compensate("1.00"));
}
