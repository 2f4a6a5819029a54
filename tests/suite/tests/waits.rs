//! What a call asked before it had to wait for somebody it asks again afterwards: settings, levels, the caller's own level, whether
//! the merchant takes payments and who operates it. Each call here waits, a third session changes something, and whoever was
//! waited for gives up.

use mps_tests::{Failure, Member, Row, SHOP, Session, Shop, Waiting};
use std::thread;
use std::time::Duration;

type Answer = Result<Vec<Row>, Failure>;

/// Longer than what counts as no wait.
const A_WHILE: Duration = Duration::from_millis(10);

/// What comes of a call that waits for what `hold` takes while `change` is made and committed.
#[track_caller]
fn wait(shop: &Shop, hold: &str, caller: Session, sql: &str, change: &str) -> Answer {
    let holder = shop.db.superuser();
    holder.run("begin");
    holder.run(hold);
    let waiting = Waiting::start(caller, &shop.superuser, sql.to_owned());
    thread::sleep(A_WHILE);
    shop.superuser.run(change);
    holder.run("rollback");
    waiting.end()
}

/// Takes a row of a card.
fn hold_card(card: &str) -> String {
    format!(
        "select from app.personal_cards where id = '{card}' for update; select from app.enterprise_cards where id = '{card}' for update"
    )
}

fn settings(json: &str) -> String {
    format!("select app.update_settings('{json}')")
}

/// A shop whose codes pay often, and a member with a payment.
fn shop_with_a_payment() -> (Shop, Member, String) {
    let shop = Shop::open();
    shop.backend.run(&settings(r#"{"qr_single_use": false}"#));
    let ming = shop.member("1000.00");
    let paid = shop.charge(&ming, "100.00")["tx_no"].to_owned();
    (shop, ming, paid)
}

/// What a charge of 20.00 can wait for: the same key in flight (before it looks at anything), and the row of its card.
fn charges(shop: &Shop, ming: &Member, round: &str) -> [(String, String); 2] {
    let keyed = Shop::charge_sql(&shop.code(ming), "20.00", &format!("p_idempotency_key => 'wait-{round}'"));
    [(keyed.clone(), keyed.clone()), (hold_card(&ming.card), keyed)]
}

#[test]
fn a_charge_that_waited_prices_and_credits_by_the_settings_of_now() {
    let (shop, ming, _) = shop_with_a_payment();
    let changes = [
        (settings(r#"{"points_per_unit": 2}"#), "points_earned", "40", settings(r#"{"points_per_unit": 1}"#)),
        (
            "update app.membership_levels set discount = 0.5 where level = 0".into(),
            "final_amount",
            "10.00",
            "update app.membership_levels set discount = 1 where level = 0".into(),
        ),
    ];
    for (change, column, expected, back) in &changes {
        for (i, (hold, sql)) in charges(&shop, &ming, column).into_iter().enumerate() {
            let sql = sql.replace("'wait-", &format!("'wait-{i}-"));
            let hold = hold.replace("'wait-", &format!("'wait-{i}-"));
            let row = wait(&shop, &hold, shop.db.user(shop.cashier_id), &sql, change).expect("paid").remove(0);
            assert_eq!(&row[*column], *expected, "{change} while waiting for {hold}");
            shop.superuser.run(back);
        }
    }
    // The level that is stored, too.
    let (hold, sql) = (hold_card(&ming.card), Shop::charge_sql(&shop.code(&ming), "20.00", ""));
    let change = "update app.membership_levels set min_points = 150 where level = 1";
    let row = wait(&shop, &hold, shop.db.user(shop.cashier_id), &sql, change).expect("paid").remove(0);
    assert_eq!((&row["discount"], shop.card(&ming).2.as_str()), ("0.950", "1"), "{:?}", shop.card(&ming));
}

#[test]
fn a_charge_that_waited_spends_its_code_if_codes_pay_once_now() {
    let (shop, ming, _) = shop_with_a_payment();
    let company = shop.company("1.000", "100.00", &ming);
    for (card, code) in [(&ming.card, shop.code(&ming)), (&company.card, shop.company_code(&company, &ming))] {
        let sql = Shop::charge_sql(&code, "20.00", "");
        let change = settings(r#"{"qr_single_use": true}"#);
        wait(&shop, &hold_card(card), shop.db.user(shop.cashier_id), &sql, &change).expect("paid");
        shop.cashier.refused("QR_EXPIRED_OR_INVALID", &sql);
        shop.superuser.run(&settings(r#"{"qr_single_use": false}"#));
    }
}

#[test]
fn limits_are_those_of_after_the_wait() {
    let (shop, ming, paid) = shop_with_a_payment();
    let company = shop.company("1.000", "100.00", &ming);
    let amount = (settings(r#"{"max_amount": 5}"#), "INVALID_AMOUNT");
    let balance = (settings(r#"{"max_balance": 500}"#), "BALANCE_LIMIT");
    let card = hold_card(&ming.card);
    let recharge =
        format!("select * from app.user_recharge_personal_card('{}', 20, 'cash', p_idempotency_key => 'r')", ming.card);
    let keyed = |call: &str| call.to_owned();
    let charge = Shop::charge_sql(&shop.code(&ming), "20.00", "p_idempotency_key => 'c'");
    let refund = Shop::refund_sql(&paid, "20.00", "p_idempotency_key => 'c'");
    let compensate = format!("select * from app.compensate_tx('{paid}', 20.00, 'x', 'c')");
    let company_charge = Shop::charge_sql(&shop.company_code(&company, &ming), "20.00", "");
    let payment = format!("select from app.transactions where tx_no = '{paid}' for update");
    for (hold, sql, (change, token)) in [
        (keyed(&charge), &charge, &amount),
        (card.clone(), &charge, &amount),
        (hold_card(&company.card), &company_charge, &amount),
        (keyed(&refund), &refund, &amount),
        (payment, &refund, &amount),
        (card.clone(), &refund, &amount),
        (keyed(&compensate), &compensate, &amount),
        (card.clone(), &compensate, &amount),
        (card.clone(), &compensate, &balance),
        (keyed(&recharge), &recharge, &amount),
        (card.clone(), &recharge, &amount),
        (card, &recharge, &balance),
    ] {
        let answer = wait(&shop, &hold, shop.db.backend(), sql, change);
        answer.expect_err(sql).must_be(token, &format!("{sql} after {hold}"));
        shop.superuser.run(&settings(r#"{"max_amount": 100000, "max_balance": 1000000}"#));
    }
    assert_eq!(shop.balance(&ming.card), "900.00");
}

/// Calls of a backend, and what each waits for.
fn calls_of_backends(shop: &Shop, ming: &Member, paid: &str) -> Vec<(String, String)> {
    let waiting = shop.pending(ming, "20.00");
    let company = shop.company("1.000", "0", ming);
    let (mei, lost) = (shop.member("0"), shop.member("50.00"));
    shop.set_card(&lost.card, "personal", "lost");
    let card = hold_card(&ming.card);
    let recharge = format!("select from app.transactions where tx_no = '{waiting}' for update");
    let member = format!("select from app.member_profiles where id = '{}' for update", ming.id);
    let merchant = format!("select from app.merchants where code = '{SHOP}' for update");
    let settled = shop.pending(ming, "30.00");
    for number in ["g-8", "g-9"] {
        shop.backend.run(&format!("select * from app.confirm_recharge('{settled}', 30.00, '{number}')"));
    }
    let suspense = shop.superuser.value("select id from app.suspense_payments");
    let resolve = format!("select * from app.resolve_suspense({suspense}, 'credited', 'x', '{}')", ming.card);
    let confirm_kept = format!("select * from app.confirm_recharge('{waiting}', 30.00, 'g-9')");
    let kept = "select from app.suspense_payments for update".to_owned();
    let out = format!("select refund_no from app.withdraw('{}', 3, 'x', 'w')", ming.card);
    let refund = shop.backend.value(&out);
    let refund_row = format!("select from app.withdrawals where refund_no = '{refund}' for update");
    let paid_out = format!("select * from app.confirm_withdrawal('{refund}', 3)");
    let not_paid = format!("select * from app.fail_withdrawal('{refund}', 'x')");
    let withdraw = format!("select * from app.withdraw('{}', 4, 'x', 'w-2')", ming.card);
    let signup = mps_tests::nobody();
    let registers = format!("select * from app.register_member('Li', p_user_id => '{signup}')");
    let opens = "select * from app.create_merchant('SHOP-009', 'x')".to_owned();
    let points = format!("select * from app.adjust_points('{}', 7, 'x', 'p')", ming.card);
    let confirm = format!("select * from app.confirm_recharge('{waiting}', 20.00, 'g-1')");
    let charge = Shop::charge_sql(&shop.code(ming), "20.00", "p_idempotency_key => 'c'");
    vec![
        (charge.clone(), charge.clone()),
        (card.clone(), charge),
        (card.clone(), Shop::refund_sql(paid, "20.00", "")),
        (card.clone(), format!("select * from app.compensate_tx('{paid}', 20.00, 'x')")),
        (card.clone(), format!("select * from app.user_recharge_personal_card('{}', 20, 'cash')", ming.card)),
        (confirm.clone(), confirm.clone()),
        (recharge.clone(), confirm.clone()),
        (card.clone(), confirm),
        (recharge, format!("select * from app.fail_recharge('{waiting}', 'x')")),
        (points.clone(), points.clone()),
        (card.clone(), points),
        (card.clone(), format!("select * from app.rotate_card_qr('{}')", ming.card)),
        (
            hold_card(&company.card),
            format!("select * from app.rotate_card_qr('{}', 'enterprise', '{}')", company.card, ming.id),
        ),
        (card.clone(), format!("select app.set_card_status('{}', 'personal', 'frozen', 'x')", ming.card)),
        (card.clone(), format!("select app.set_card_expiry('{}', 'personal', now(), 'x')", ming.card)),
        (card.clone(), format!("select app.set_member_status('{}', 'suspended', 'x')", ming.id)),
        (member, format!("select app.set_member_status('{}', 'suspended', 'x')", ming.id)),
        (hold_card(&lost.card), format!("select * from app.replace_card('{}', 'x')", lost.card)),
        (
            hold_card(&company.card),
            format!("select app.enterprise_add_member('{}', '{}', 'member')", company.card_no, mei.id),
        ),
        (
            hold_card(&company.card),
            format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, ming.id),
        ),
        (merchant.clone(), format!("select app.set_merchant_user('{SHOP}', '{}', 'admin')", mei.id)),
        (merchant.clone(), format!("select app.remove_merchant_user('{SHOP}', '{}')", shop.cashier_id)),
        (merchant, format!("select app.set_merchant_status('{SHOP}', false, 'x')")),
        (withdraw.clone(), withdraw.clone()),
        (card.clone(), withdraw),
        (refund_row.clone(), paid_out),
        (refund_row, not_paid.clone()),
        (card.clone(), not_paid),
        (kept.clone(), resolve.clone()),
        (card, resolve),
        (kept, confirm_kept),
        (registers.clone(), registers),
        (opens.clone(), opens),
        ("select from app.settings for update".into(), settings(r#"{"qr_ttl_seconds": 99}"#)),
    ]
}

#[test]
fn a_backend_that_lost_its_level_while_it_waited_does_nothing() {
    let (shop, ming, paid) = shop_with_a_payment();
    for (hold, sql) in calls_of_backends(&shop, &ming, &paid) {
        let events = "select count(*) from audit.event_log where actor_role = 'service_role'";
        let before = shop.superuser.value(events);
        let answer = wait(&shop, &hold, shop.db.backend(), &sql, "select sec.revoke_api('service_role', 'backend')");
        shop.superuser.run("select sec.grant_api('service_role', 'backend')");
        let failure = answer.expect_err(&sql);
        failure.must_be("NOT_ALLOWED", &format!("{sql} after {hold}"));
        assert!(failure.detail.contains("level was taken away"), "{failure:?}");
        assert_eq!(shop.superuser.value(events), before, "{sql}");
    }
}

#[test]
fn a_client_that_lost_its_level_while_it_waited_does_nothing() {
    let (shop, ming, paid) = shop_with_a_payment();
    let charge = Shop::charge_sql(&shop.code(&ming), "20.00", "p_idempotency_key => 'c'");
    let card = hold_card(&ming.card);
    for (hold, caller, sql) in [
        (charge.clone(), shop.cashier_id, charge.clone()),
        (card.clone(), shop.cashier_id, charge),
        (card.clone(), shop.cashier_id, Shop::refund_sql(&paid, "20.00", "")),
        (card.clone(), ming.id, format!("select * from app.rotate_card_qr('{}')", ming.card)),
        (card.clone(), ming.id, format!("select * from app.user_recharge_personal_card('{}', 20)", ming.card)),
        (card, ming.id, format!("select app.set_card_status('{}', 'personal', 'lost', 'x')", ming.card)),
    ] {
        let answer = wait(&shop, &hold, shop.db.user(caller), &sql, "select sec.revoke_api('authenticated', 'client')");
        shop.superuser.run("select sec.grant_api('authenticated', 'client')");
        answer.expect_err(&sql).must_be("NOT_ALLOWED", &format!("{sql} after {hold}"));
    }
    assert_eq!(shop.balance(&ming.card), "900.00");
}

#[test]
fn merchant_and_operator_are_those_of_after_the_wait_for_repetitions_too() {
    let (shop, ming, paid) = shop_with_a_payment();
    let card = hold_card(&ming.card);
    let charge = Shop::charge_sql(&shop.code(&ming), "20.00", "p_idempotency_key => 'c'");
    let refund = Shop::refund_sql(&paid, "20.00", "p_idempotency_key => 'c'");
    let remove = format!("select app.remove_merchant_user('{SHOP}', '{}')", shop.cashier_id);
    let back = format!("select app.set_merchant_user('{SHOP}', '{}', 'cashier')", shop.cashier_id);
    let close = format!("select app.set_merchant_status('{SHOP}', false, 'x')");
    let open = format!("select app.set_merchant_status('{SHOP}', true, 'x')");
    for sql in [&charge, &refund] {
        for hold in [sql, &card] {
            for (change, token, undo) in [(&remove, "NOT_MERCHANT_USER", &back), (&close, "MERCHANT_INACTIVE", &open)] {
                let answer = wait(&shop, hold, shop.db.user(shop.cashier_id), sql, change);
                answer.expect_err(sql).must_be(token, &format!("{sql} after {hold}"));
                shop.superuser.run(undo);
            }
        }
    }
    assert_eq!(shop.balance(&ming.card), "900.00");
    // Whoever was waited for did the work: the removed operator does not learn of it.
    let holder = shop.db.superuser();
    for sql in [&charge, &refund] {
        holder.run("begin");
        holder.run(sql);
        let waiting = Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, sql.clone());
        thread::sleep(A_WHILE);
        shop.superuser.run(&remove);
        holder.run("commit");
        waiting.end().expect_err(sql).must_be("NOT_MERCHANT_USER", sql);
        shop.superuser.run(&back);
    }
}

#[test]
fn a_recharge_that_waited_is_trusted_only_if_it_is_now() {
    let (shop, ming, _) = shop_with_a_payment();
    let (trusted, gateway) =
        (settings(r#"{"recharge_confirmation": "trusted"}"#), settings(r#"{"recharge_confirmation": "gateway"}"#));
    let mut round = 0;
    for (before, after, status) in [(&trusted, &gateway, "processing"), (&gateway, &trusted, "completed")] {
        for by_key in [false, true] {
            round += 1;
            let sql = format!(
                "select * from app.user_recharge_personal_card('{}', 20, 'wechat', p_external_order_id => 'o-{round}', \
                    p_idempotency_key => 'k-{round}')",
                ming.card
            );
            let hold = if by_key { sql.clone() } else { hold_card(&ming.card) };
            shop.superuser.run(before);
            let row = wait(&shop, &hold, shop.db.user(ming.id), &sql, after).expect("recorded").remove(0);
            assert_eq!(&row["status"], status, "{hold}");
        }
    }
    assert_eq!(shop.balance(&ming.card), "940.00");
}

#[test]
fn a_code_that_had_to_wait_lives_as_long_as_codes_do_now_from_now_on() {
    let (shop, ming, _) = shop_with_a_payment();
    let company = shop.company("1.000", "0", &ming);
    for (card, sql) in [
        (
            &ming.card,
            format!(
                "select qr_expires_at > now() + interval '1 hour' as long from app.rotate_card_qr('{}')",
                ming.card
            ),
        ),
        (
            &company.card,
            format!(
                "select qr_expires_at > now() + interval '1 hour' as long from app.rotate_card_qr('{}', 'enterprise', '{}')",
                company.card, ming.id
            ),
        ),
    ] {
        shop.superuser.run(&settings(r#"{"qr_ttl_seconds": 60}"#));
        let change = settings(r#"{"qr_ttl_seconds": 7200}"#);
        let row = wait(&shop, &hold_card(card), shop.db.backend(), &sql, &change).expect("a code").remove(0);
        assert_eq!(&row["long"], "t", "{sql}");
    }
}

/// What a member begins with when the one who was to register it gives up.
#[test]
fn a_member_that_waited_to_be_registered_has_the_discount_of_now() {
    let shop = Shop::open();
    let sql = format!("select * from app.register_member('Li', p_user_id => '{}')", mps_tests::nobody());
    let change = "update app.membership_levels set discount = 0.5 where level = 0";
    let row = wait(&shop, &sql, shop.db.backend(), &sql, change).expect("registered").remove(0);
    let discount = format!("select discount from app.personal_cards where id = '{}'", &row["card_id"]);
    assert_eq!(shop.superuser.value(&discount), "0.500");
}

/// Two changes of the settings at once: the later one's event tells what it found.
#[test]
fn the_event_of_changed_settings_tells_what_was_there_after_the_wait() {
    let shop = Shop::open();
    shop.superuser.run(&settings(r#"{"qr_ttl_seconds": 60}"#));
    shop.backend.run("begin");
    shop.backend.run(&settings(r#"{"qr_ttl_seconds": 61}"#));
    let later = Waiting::start(shop.db.backend(), &shop.superuser, settings(r#"{"qr_ttl_seconds": 62}"#));
    shop.backend.run("commit");
    later.end().expect("changed");
    let event = "select context -> 'was' ->> 'qr_ttl_seconds' from audit.event_log where action = 'settings.updated' order \
        by id desc limit 1";
    assert_eq!(shop.superuser.value(event), "61");
}
