//! What happens at the same instant. Each test is named after the promise that it guards.

use mps_tests::{Failure, Member, NULL, Row, Session, Shop, Waiting, nobody, together};

type Answer = Result<Vec<Row>, Failure>;

/// How many of the answers are rows, and that every other one is the error of a token.
#[track_caller]
fn won(answers: &[Answer], token: &str) -> usize {
    for answer in answers {
        if let Err(failure) = answer {
            failure.must_be(token, "in a race");
        }
    }
    answers.iter().filter(|a| a.is_ok()).count()
}

/// The tx_no of every answer, and how many were replayed.
#[track_caller]
fn numbers(answers: &[Answer], column: &str) -> (Vec<String>, usize) {
    let rows: Vec<&Row> = answers.iter().map(|a| &a.as_ref().expect("an answer")[0]).collect();
    let mut found: Vec<String> = rows.iter().map(|r| r[column].to_owned()).collect();
    found.sort();
    found.dedup();
    (found, rows.iter().filter(|r| &r["replayed"] == "t").count())
}

/// Several cashiers' connections.
fn tills(shop: &Shop, n: usize) -> Vec<Session> {
    (0..n).map(|_| shop.db.user(shop.cashier_id)).collect()
}

/// The same statement from several cashiers at the same instant.
fn tills_at_once(shop: &Shop, n: usize, sql: &str) -> Vec<Answer> {
    together(tills(shop, n).into_iter().map(|s| (s, sql.to_owned())).collect())
}

/// The same statement from several backends at the same instant.
fn backends_at_once(shop: &Shop, n: usize, sql: &str) -> Vec<Answer> {
    together((0..n).map(|_| (shop.db.backend(), sql.to_owned())).collect())
}

#[test]
fn charges_at_once_never_exceed_the_balance_of_a_company_card() {
    let shop = Shop::open();
    let boss = shop.member("0");
    let company = shop.company("1.000", "100.00", &boss);
    let jobs = tills(&shop, 6).into_iter().map(|till| {
        let employee = shop.member("0");
        shop.bind(&company, &employee, "member");
        (till, Shop::charge_sql(&shop.company_code(&company, &employee), "30.00", ""))
    });
    let answers = together(jobs.collect());
    assert_eq!(won(&answers, "INSUFFICIENT_BALANCE"), 3);
    assert_eq!(shop.balance(&company.card), "10.00");
}

#[test]
fn charges_at_once_never_exceed_the_balance_of_a_personal_card() {
    let shop = Shop::open();
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    for _ in 0..5 {
        let ming = shop.member("100.00");
        let answers = tills_at_once(&shop, 6, &Shop::charge_sql(&shop.code(&ming), "30.00", ""));
        assert_eq!(won(&answers, "INSUFFICIENT_BALANCE"), 3);
        assert_eq!(shop.card(&ming), ("10.00".into(), "90".into(), "0".into()));
    }
}

#[test]
fn refunds_at_once_never_exceed_the_payment() {
    let shop = Shop::open();
    for _ in 0..3 {
        let ming = shop.member("100.00");
        let paid = shop.charge(&ming, "100.00");
        let answers = tills_at_once(&shop, 8, &Shop::refund_sql(&paid["tx_no"], "30.00", ""));
        assert_eq!(won(&answers, "REFUND_EXCEEDS_REMAINING"), 3);
        let mut left: Vec<&str> = answers.iter().flatten().map(|rows| &rows[0]["refundable_left"]).collect();
        left.sort();
        assert_eq!(left, ["10.00", "40.00", "70.00"]);
        assert_eq!(shop.card(&ming), ("90.00".into(), "10".into(), "0".into()));
    }
}

#[test]
fn one_key_at_once_does_the_work_once_and_replays_to_the_others() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let charge = Shop::charge_sql(&shop.code(&ming), "10.00", "p_idempotency_key => 'k-1'");
    let (paid, replayed) = numbers(&tills_at_once(&shop, 6, &charge), "tx_no");
    assert_eq!((paid.len(), replayed), (1, 5));
    let refund = Shop::refund_sql(&paid[0], "1.00", "p_idempotency_key => 'k-1'");
    let (refunds, replayed) = numbers(&tills_at_once(&shop, 6, &refund), "refund_tx_no");
    assert_eq!((refunds.len(), replayed), (1, 5));
    let recharge = format!(
        "select * from app.user_recharge_personal_card('{}', 5, 'cash', p_idempotency_key => 'k-1')",
        ming.card
    );
    let (recharges, replayed) = numbers(&backends_at_once(&shop, 6, &recharge), "tx_no");
    assert_eq!((recharges.len(), replayed), (1, 5));
    let compensate = format!("select * from app.compensate_tx('{}', -2.00, 'x', 'k-1')", paid[0]);
    let (compensations, replayed) = numbers(&backends_at_once(&shop, 6, &compensate), "tx_no");
    assert_eq!((compensations.len(), replayed), (1, 5));
    let points = format!("select * from app.adjust_points('{}', 100, 'x', 'k-1')", ming.card);
    for answer in backends_at_once(&shop, 6, &points) {
        assert_eq!(answer.expect("points")[0].values(), ["109", "0"]);
    }
    assert_eq!(shop.card(&ming), ("94.00".into(), "109".into(), "0".into()));
}

#[test]
fn a_request_waits_for_its_twin_and_replays_or_does_the_work_itself() {
    let shop = Shop::open();
    for (end, replayed) in [("commit", "t"), ("rollback", "f")] {
        let ming = shop.member("100.00");
        let sql = Shop::charge_sql(&shop.code(&ming), "10.00", &format!("p_idempotency_key => '{end}'"));
        shop.cashier.run("begin");
        shop.cashier.run(&sql);
        let twin = Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, sql);
        shop.cashier.run(end);
        assert_eq!(&twin.end().expect("an answer")[0]["replayed"], replayed, "{end}");
        assert_eq!(shop.balance(&ming.card), "90.00");
    }
}

#[test]
fn one_key_for_two_cards_pays_from_one() {
    let shop = Shop::open();
    for round in 0..5 {
        let cards = [shop.member("100.00"), shop.member("100.00"), shop.member("100.00")];
        let jobs = tills(&shop, 3).into_iter().zip(&cards).map(|(till, member)| {
            (till, Shop::charge_sql(&shop.code(member), "10.00", &format!("p_idempotency_key => 'k-{round}'")))
        });
        assert_eq!(won(&together(jobs.collect()), "IDEMPOTENCY_KEY_REUSED"), 1);
        let mut balances: Vec<String> = cards.iter().map(|m| shop.balance(&m.card)).collect();
        balances.sort();
        assert_eq!(balances, ["100.00", "100.00", "90.00"]);
    }
}

#[test]
fn one_order_at_once_is_paid_once_whatever_the_keys() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let code = shop.code(&ming);
    let (paid, replayed) =
        numbers(&tills_at_once(&shop, 4, &Shop::charge_sql(&code, "10.00", "p_external_order_id => 'o-1'")), "tx_no");
    assert_eq!((paid.len(), replayed), (1, 3));
    let code = shop.code(&ming);
    let with_keys = tills(&shop, 4).into_iter().enumerate().map(|(i, till)| {
        (till, Shop::charge_sql(&code, "10.00", &format!("p_external_order_id => 'o-2', p_idempotency_key => 'k-{i}'")))
    });
    let (paid, replayed) = numbers(&together(with_keys.collect()), "tx_no");
    assert_eq!((paid.len(), replayed), (1, 3));
    for i in 0..4 {
        let again =
            Shop::charge_sql(&code, "10.00", &format!("p_external_order_id => 'o-2', p_idempotency_key => 'k-{i}'"));
        assert_eq!(shop.cashier.row(&again)["tx_no"], paid[0], "key {i} leads nowhere");
    }
    let code = shop.code(&ming);
    let amounts = tills(&shop, 4)
        .into_iter()
        .enumerate()
        .map(|(i, till)| (till, Shop::charge_sql(&code, &format!("{}.00", i + 1), "p_external_order_id => 'o-3'")));
    assert_eq!(won(&together(amounts.collect()), "EXTERNAL_ORDER_CONFLICT"), 1);
    let recharge = format!(
        "select * from app.user_recharge_personal_card('{}', 5, 'wechat', p_external_order_id => 'o-1')",
        ming.card
    );
    let (recharged, replayed) = numbers(&backends_at_once(&shop, 4, &recharge), "tx_no");
    assert_eq!((recharged.len(), replayed), (1, 3));
}

#[test]
fn one_code_at_once_pays_once() {
    let shop = Shop::open();
    let boss = shop.member("0");
    let company = shop.company("1.000", "100.00", &boss);
    for _ in 0..5 {
        let ming = shop.member("100.00");
        let answers = tills_at_once(&shop, 5, &Shop::charge_sql(&shop.code(&ming), "10.00", ""));
        assert_eq!(won(&answers, "QR_EXPIRED_OR_INVALID"), 1);
        assert_eq!(shop.balance(&ming.card), "90.00");
        let answers = tills_at_once(&shop, 5, &Shop::charge_sql(&shop.company_code(&company, &boss), "1.00", ""));
        assert_eq!(won(&answers, "QR_EXPIRED_OR_INVALID"), 1);
    }
    assert_eq!(shop.balance(&company.card), "95.00");
}

/// A change that is not committed yet holds up a charge; once it is, the charge sees it. And the other way round: a charge
/// in flight holds up the change, and was before it.
#[track_caller]
fn change_against_charge(shop: &Shop, change: &dyn Fn() -> String, charge: &dyn Fn() -> String, token: &str) {
    // The charge comes second.
    let (first, second) = (change(), charge());
    shop.backend.run("begin");
    shop.backend.run(&first);
    let waiting = Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, second);
    shop.backend.run("commit");
    waiting.end().expect_err(&first).must_be(token, &first);
}

#[track_caller]
fn charge_against_change(shop: &Shop, charge: &str, change: &str) -> Answer {
    shop.cashier.run("begin");
    shop.cashier.run(charge);
    let waiting = Waiting::start(shop.db.backend(), &shop.superuser, change.into());
    shop.cashier.run("commit");
    waiting.end()
}

#[test]
fn a_charge_in_flight_is_before_or_after_a_freeze() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let set = |status: &str| format!("select app.set_card_status('{}', 'personal', '{status}', 'x')", ming.card);
    let charge = || Shop::charge_sql(&shop.code(&ming), "10.00", "");
    let answer = charge_against_change(&shop, &charge(), &set("frozen"));
    assert_eq!(answer.expect("frozen")[0].values(), ["t"]);
    assert_eq!(shop.balance(&ming.card), "90.00");
    shop.backend.run(&set("active"));
    let sql = charge();
    change_against_charge(&shop, &|| set("frozen"), &|| sql.clone(), "CARD_NOT_ACTIVE");
    assert_eq!(shop.balance(&ming.card), "90.00");
}

#[test]
fn a_charge_in_flight_is_before_or_after_an_unbinding() {
    let shop = Shop::open();
    let (boss, anna) = (shop.member("0"), shop.member("0"));
    let company = shop.company("1.000", "100.00", &boss);
    let remove = format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, anna.id);
    shop.bind(&company, &anna, "member");
    let charge = Shop::charge_sql(&shop.company_code(&company, &anna), "10.00", "");
    assert_eq!(charge_against_change(&shop, &charge, &remove).expect("removed")[0].values(), ["t"]);
    assert_eq!(shop.balance(&company.card), "90.00");
    shop.bind(&company, &anna, "member");
    let sql = Shop::charge_sql(&shop.company_code(&company, &anna), "10.00", "");
    change_against_charge(&shop, &|| remove.clone(), &|| sql.clone(), "QR_EXPIRED_OR_INVALID");
    assert_eq!(shop.balance(&company.card), "90.00");
}

#[test]
fn a_charge_in_flight_is_before_or_after_a_suspension() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let company = shop.company("1.000", "100.00", &ming);
    let set = |status: &str| format!("select app.set_member_status('{}', '{status}', 'x')", ming.id);
    for by_company in [false, true] {
        let charge = || {
            let code = if by_company { shop.company_code(&company, &ming) } else { shop.code(&ming) };
            Shop::charge_sql(&code, "10.00", "")
        };
        assert_eq!(charge_against_change(&shop, &charge(), &set("suspended")).expect("suspended")[0].values(), ["t"]);
        shop.backend.run(&set("active"));
        let sql = charge();
        change_against_charge(&shop, &|| set("suspended"), &|| sql.clone(), "MEMBER_NOT_ACTIVE");
        shop.backend.run(&set("active"));
    }
    assert_eq!((shop.balance(&ming.card), shop.balance(&company.card)), ("90.00".into(), "90.00".into()));
}

#[test]
fn a_charge_in_flight_is_before_or_after_an_expiry_and_a_new_code() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let expire = format!("select app.set_card_expiry('{}', 'personal', now(), 'x')", ming.card);
    let sql = Shop::charge_sql(&shop.code(&ming), "10.00", "");
    change_against_charge(&shop, &|| expire.clone(), &|| sql.clone(), "CARD_EXPIRED");
    shop.backend.run(&format!("select app.set_card_expiry('{}', 'personal', null, 'x')", ming.card));
    let sql = Shop::charge_sql(&shop.code(&ming), "10.00", "");
    let rotate = format!("select * from app.rotate_card_qr('{}')", ming.card);
    change_against_charge(&shop, &|| rotate.clone(), &|| sql.clone(), "QR_EXPIRED_OR_INVALID");
    assert_eq!(shop.balance(&ming.card), "100.00");
}

#[test]
fn a_charge_in_flight_has_the_level_before_or_after_a_change() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    let points = format!("select * from app.adjust_points('{}', 5000, 'x')", ming.card);
    let charge = Shop::charge_sql(&shop.code(&ming), "100.00", "");
    shop.backend.run("begin");
    shop.backend.run(&points);
    let waiting = Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, charge);
    shop.backend.run("commit");
    let row = waiting.end().expect("paid").remove(0);
    assert_eq!((&row["discount"], &row["final_amount"]), ("0.950", "95.00"));
    assert_eq!(shop.card(&ming), ("905.00".into(), "5095".into(), "1".into()));
    // A charge first: the change adds to its points.
    let charge = Shop::charge_sql(&shop.code(&ming), "100.00", "");
    let answer = charge_against_change(&shop, &charge, &points);
    assert_eq!(answer.expect("points")[0].values(), ["10190", "2"]);
}

#[test]
fn a_refund_in_flight_and_a_charge_both_count() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "60.00");
    let charge = Shop::charge_sql(&shop.code(&ming), "30.00", "");
    shop.backend.run("begin");
    shop.backend.run(&Shop::refund_sql(&paid["tx_no"], "50.00", ""));
    let waiting = Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, charge);
    shop.backend.run("commit");
    assert_eq!(&waiting.end().expect("paid")[0]["final_amount"], "30.00");
    assert_eq!(shop.card(&ming), ("60.00".into(), "40".into(), "0".into()));
}

#[test]
fn a_charge_in_flight_is_before_or_after_a_replacement() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let replace = |m: &Member| {
        format!(
            "do $$ begin perform app.set_card_status('{0}', 'personal', 'lost', 'x'); perform app.replace_card('{0}', 'x'); end $$",
            m.card
        )
    };
    let successor = |m: &Member| {
        let row = shop.superuser.row(&format!(
            "select n.id, n.card_no from app.personal_cards o join app.personal_cards n on \
            n.id = o.replaced_by where o.id = '{}'",
            m.card
        ));
        m.with_card(&row["id"], &row["card_no"])
    };
    // The charge was first: the replacement has what it left.
    charge_against_change(&shop, &Shop::charge_sql(&shop.code(&ming), "10.00", ""), &replace(&ming)).expect("replaced");
    let next = successor(&ming);
    assert_eq!(shop.card(&next), ("90.00".into(), "10".into(), "0".into()));
    // The replacement was first: the code of the old card pays nothing.
    let charge = Shop::charge_sql(&shop.code(&next), "10.00", "");
    shop.backend.run("begin");
    shop.backend.run(&replace(&next));
    let waiting = Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, charge);
    shop.backend.run("commit");
    let failure = waiting.end().expect_err("the card is gone");
    assert!(["QR_EXPIRED_OR_INVALID", "CARD_NOT_ACTIVE"].contains(&failure.message.as_str()), "{failure:?}");
    let last = successor(&next);
    assert_eq!((shop.balance(&next.card), shop.balance(&last.card)), ("0.00".into(), "90.00".into()));
}

#[test]
fn a_refund_and_a_confirmation_in_flight_go_to_the_replacement() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "60.00");
    let waiting = shop.pending(&ming, "7.00");
    shop.set_card(&ming.card, "personal", "lost");
    shop.backend.run("begin");
    let new = shop.backend.row(&format!("select * from app.replace_card('{}', 'x')", ming.card));
    let refund =
        Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, Shop::refund_sql(&paid["tx_no"], "60.00", ""));
    let confirm = Waiting::start(
        shop.db.backend(),
        &shop.superuser,
        format!("select * from app.confirm_recharge('{waiting}', 7.00, 'g-1')"),
    );
    shop.backend.run("commit");
    refund.end().expect("refunded");
    assert_eq!(&confirm.end().expect("confirmed")[0]["card_id"], &new["card_id"]);
    assert_eq!((shop.balance(&ming.card), shop.balance(&new["card_id"])), ("0.00".into(), "107.00".into()));
}

#[test]
fn a_card_is_replaced_once_however_many_ask() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    shop.set_card(&ming.card, "personal", "lost");
    let answers = backends_at_once(&shop, 5, &format!("select * from app.replace_card('{}', 'x')", ming.card));
    let mut cards: Vec<&Row> = answers.iter().map(|a| &a.as_ref().expect("a card")[0]).collect();
    cards.dedup();
    assert_eq!(cards.len(), 1);
    assert_eq!(shop.superuser.value("select count(*) from app.personal_cards"), "2");
    assert_eq!(shop.balance(&cards[0]["card_id"]), "100.00");
}

#[test]
fn a_member_is_registered_once_however_many_ask() {
    let shop = Shop::open();
    let id = nobody();
    let jobs = (0..5).map(|_| (shop.db.user(id), "select * from app.register_member('Ming')".to_owned()));
    let answers = together(jobs.collect());
    let first = answers[0].as_ref().expect("a member");
    assert!(answers.iter().all(|a| a.as_ref().expect("a member") == first));
    assert_eq!(shop.superuser.value("select count(*) from app.personal_cards"), "1");
}

#[test]
fn confirmed_and_failed_at_once_the_money_is_credited_once() {
    let shop = Shop::open();
    for round in 0..8 {
        let ming = shop.member("0");
        let number = shop.pending(&ming, "20.00");
        let confirm = format!("select * from app.confirm_recharge('{number}', 20.00, 'g-{round}')");
        let fail = format!("select * from app.fail_recharge('{number}', 'x')");
        let jobs = [&confirm, &fail, &confirm, &fail].map(|sql| (shop.db.backend(), sql.clone()));
        let answers = together(jobs.into());
        let confirmed: Vec<&str> =
            [&answers[0], &answers[2]].map(|a| &a.as_ref().expect("confirmed")[0]["replayed"]).to_vec();
        assert!(confirmed.contains(&"f") && confirmed.contains(&"t"), "{confirmed:?}");
        won(&[answers[1].clone(), answers[3].clone()], "RECHARGE_NOT_PENDING");
        assert_eq!(shop.balance(&ming.card), "20.00");
    }
}

#[test]
fn one_trade_number_at_once_credits_one_recharge() {
    let shop = Shop::open();
    for round in 0..5 {
        let (ming, mei) = (shop.member("0"), shop.member("0"));
        let jobs = [&ming, &mei].map(|m| {
            let number = shop.pending(m, "20.00");
            (shop.db.backend(), format!("select * from app.confirm_recharge('{number}', 20.00, 'g-{round}')"))
        });
        assert_eq!(won(&together(jobs.into()), "EXTERNAL_ORDER_CONFLICT"), 1);
        let mut balances = [shop.balance(&ming.card), shop.balance(&mei.card)];
        balances.sort();
        assert_eq!(balances, ["0.00", "20.00"]);
    }
}

#[test]
fn a_confirmation_in_flight_is_not_cancelled() {
    let shop = Shop::open();
    let ming = shop.member("0");
    shop.pending(&ming, "20.00");
    shop.a_month_passes();
    let number = shop.superuser.value("select tx_no from app.transactions");
    shop.superuser.run("update app.settings set recharge_ttl_minutes = 5");
    let due = shop.superuser.value("select created_at < now() - interval '5 min' from app.transactions");
    assert_eq!(due, "t");
    shop.backend.run("begin");
    shop.backend.run(&format!("select * from app.confirm_recharge('{number}', 20.00, 'g-1')"));
    let job = Waiting::start(shop.db.superuser(), &shop.superuser, "select app.expire_recharges_batch(null)".into());
    shop.backend.run("commit");
    job.end().expect("the job goes on");
    assert_eq!(shop.superuser.value("select status from app.transactions"), "completed");
    assert_eq!(shop.balance(&ming.card), "20.00");
}

#[test]
fn of_two_admins_who_remove_each_other_one_stays() {
    let shop = Shop::open();
    for _ in 0..8 {
        let (a, b) = (shop.member("0"), shop.member("0"));
        let company = shop.company("1.000", "0", &a);
        shop.bind(&company, &b, "admin");
        let remove = |m: &Member| format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, m.id);
        let answers = together(vec![(shop.db.user(a.id), remove(&b)), (shop.db.user(b.id), remove(&a))]);
        let lost: Vec<&Failure> = answers.iter().filter_map(|x| x.as_ref().err()).collect();
        assert_eq!(lost.len(), 1, "{answers:?}");
        assert!(["LAST_ADMIN", "NOT_CARD_ADMIN", "CARD_NOT_FOUND"].contains(&lost[0].message.as_str()), "{lost:?}");
        let left = format!(
            "select count(*) from app.enterprise_card_bindings where enterprise_card_id = '{}' and role = 'admin'",
            company.card
        );
        assert_eq!(shop.superuser.value(&left), "1");
    }
}

#[test]
fn of_two_admins_who_leave_or_step_down_at_once_one_stays() {
    let shop = Shop::open();
    for _ in 0..8 {
        let (a, b) = (shop.member("0"), shop.member("0"));
        let company = shop.company("1.000", "0", &a);
        shop.bind(&company, &b, "admin");
        let leave = format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, a.id);
        let step_down = format!("select app.enterprise_add_member('{}', '{}', 'member')", company.card_no, b.id);
        let answers = together(vec![(shop.db.user(a.id), leave), (shop.db.user(b.id), step_down)]);
        assert_eq!(won(&answers, "LAST_ADMIN"), 1);
        let left = format!(
            "select count(*) from app.enterprise_card_bindings where enterprise_card_id = '{}' and role = 'admin'",
            company.card
        );
        assert_eq!(shop.superuser.value(&left), "1");
    }
}

/// The isolation levels whose transactions keep the view of their first statement.
const STRICT: [&str; 2] = ["repeatable read", "serializable"];

/// Begins a transaction in a stricter level and fixes its view of the tables.
fn begin(session: &Session, level: &str) {
    session.run(&format!("begin isolation level {level}"));
    session.run("select 1 from pg_class limit 1");
}

/// The end of a transaction in a stricter level: an answer, or a serialization failure (or a key seen too late).
#[track_caller]
fn end(session: &Session, sql: &str) -> Option<Row> {
    let answer = session.try_row(sql).and_then(|row| session.try_rows("commit").map(|_| row));
    match answer {
        Ok(row) => Some(row),
        Err(failure) => {
            assert!(["40001", "23505"].contains(&failure.code.as_str()), "{sql}\n{failure:?}");
            session.run("rollback");
            None
        }
    }
}

#[test]
fn every_isolation_level_works_alone() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    for level in ["read committed", "repeatable read", "serializable"] {
        let code = shop.code(&ming);
        begin(&shop.cashier, level);
        let paid = end(&shop.cashier, &Shop::charge_sql(&code, "10.00", "")).expect(level);
        begin(&shop.cashier, level);
        end(&shop.cashier, &Shop::refund_sql(&paid["tx_no"], "1.00", "")).expect(level);
    }
    assert_eq!(shop.balance(&ming.card), "73.00");
}

#[test]
fn a_stricter_caller_never_charges_an_old_balance() {
    let shop = Shop::open();
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    for level in STRICT {
        let ming = shop.member("100.00");
        let charge = Shop::charge_sql(&shop.code(&ming), "60.00", "");
        begin(&shop.cashier, level);
        shop.backend.run(&charge);
        assert_eq!(end(&shop.cashier, &charge), None, "{level}: 60 was charged twice from 100");
        assert_eq!(shop.balance(&ming.card), "40.00");
        // After a freeze, too.
        begin(&shop.cashier, level);
        shop.set_card(&ming.card, "personal", "frozen");
        assert_eq!(end(&shop.cashier, &charge.replace("60.00", "1.00")), None, "{level}");
        assert_eq!(shop.balance(&ming.card), "40.00");
    }
}

#[test]
fn a_stricter_caller_never_charges_a_company_card_by_an_old_view() {
    let shop = Shop::open();
    for level in STRICT {
        let ming = shop.member("0");
        let company = shop.company("1.000", "100.00", &ming);
        let code = shop.company_code(&company, &ming);
        begin(&shop.cashier, level);
        shop.backend.run(&Shop::charge_sql(&code, "60.00", ""));
        assert_eq!(end(&shop.cashier, &Shop::charge_sql(&code, "60.00", "")), None, "{level}");
        assert_eq!(shop.balance(&company.card), "40.00");
        // A used code stays used, an unbound employee unbound.
        let anna = shop.member("0");
        shop.bind(&company, &anna, "member");
        let code = shop.company_code(&company, &anna);
        begin(&shop.cashier, level);
        shop.backend.run(&format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, anna.id));
        assert_eq!(end(&shop.cashier, &Shop::charge_sql(&code, "10.00", "")), None, "{level}");
        assert_eq!(shop.balance(&company.card), "40.00");
    }
}

#[test]
fn a_stricter_caller_never_refunds_or_credits_twice() {
    let shop = Shop::open();
    for level in STRICT {
        let ming = shop.member("100.00");
        let paid = shop.charge(&ming, "100.00");
        let refund = Shop::refund_sql(&paid["tx_no"], "60.00", "");
        begin(&shop.cashier, level);
        shop.backend.run(&refund);
        assert_eq!(end(&shop.cashier, &refund), None, "{level}");
        assert_eq!(shop.balance(&ming.card), "60.00");

        let number = shop.pending(&ming, "20.00");
        let confirm = format!("select * from app.confirm_recharge('{number}', 20.00, 'g-{}')", &level[..1]);
        let second = shop.db.backend();
        begin(&second, level);
        shop.backend.run(&confirm);
        assert_eq!(end(&second, &confirm), None, "{level}");
        assert_eq!(shop.balance(&ming.card), "80.00");
    }
}

#[test]
fn a_stricter_caller_never_uses_a_key_or_an_order_twice() {
    let shop = Shop::open();
    for level in STRICT {
        for (kind, argument) in [("key", "p_idempotency_key"), ("order", "p_external_order_id")] {
            let more = format!("{argument} => '{kind} {level}'");
            let (ming, mei) = (shop.member("100.00"), shop.member("100.00"));
            let first = Shop::charge_sql(&shop.code(&ming), "10.00", &more);
            let second = Shop::charge_sql(&shop.code(&mei), "10.00", &more);
            begin(&shop.cashier, level);
            shop.backend.run(&first);
            assert_eq!(end(&shop.cashier, &second), None, "{level}: one {kind}, two cards");
            assert_eq!((shop.balance(&ming.card), shop.balance(&mei.card)), ("90.00".into(), "100.00".into()));
        }
    }
}

#[test]
fn a_stricter_caller_never_takes_the_last_admin() {
    let shop = Shop::open();
    for level in STRICT {
        for demote in [false, true] {
            let (a, b) = (shop.member("0"), shop.member("0"));
            let company = shop.company("1.000", "0", &a);
            shop.bind(&company, &b, "admin");
            let goes = |m: &Member| {
                if demote {
                    format!("select app.enterprise_add_member('{}', '{}', 'member')", company.card_no, m.id)
                } else {
                    format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, m.id)
                }
            };
            let strict = shop.db.user(a.id);
            begin(&strict, level);
            shop.db.user(b.id).run(&goes(&b));
            let answer = end(&strict, &goes(&a));
            let left = format!(
                "select count(*) from app.enterprise_card_bindings where enterprise_card_id = '{}' and role = 'admin'",
                company.card
            );
            assert_eq!(shop.superuser.value(&left), "1", "{level}: the last admin went ({answer:?})");
        }
    }
}

#[test]
fn a_stricter_caller_never_closes_a_card_that_waits_for_money() {
    let shop = Shop::open();
    for level in STRICT {
        let ming = shop.member("0");
        let strict = shop.db.backend();
        begin(&strict, level);
        let number = shop.pending(&ming, "20.00");
        let answer = end(&strict, &format!("select app.set_card_status('{}', 'personal', 'closed', 'x')", ming.card));
        assert_eq!(shop.card_status(&ming.card), "active", "{level}: closed with {number} pending ({answer:?})");
    }
}

#[test]
fn a_stricter_caller_never_charges_a_suspended_member() {
    let shop = Shop::open();
    for level in STRICT {
        let ming = shop.member("100.00");
        let company = shop.company("1.000", "100.00", &ming);
        for code in [shop.code(&ming), shop.company_code(&company, &ming)] {
            begin(&shop.cashier, level);
            shop.backend.run(&format!("select app.set_member_status('{}', 'suspended', 'x')", ming.id));
            let answer = shop.cashier.try_row(&Shop::charge_sql(&code, "10.00", ""));
            shop.cashier.run("rollback");
            let failure = answer.expect_err("the member was suspended before");
            assert!(["40001", "PT409"].contains(&failure.code.as_str()), "{level}: {failure:?}");
            shop.backend.run(&format!("select app.set_member_status('{}', 'active', 'x')", ming.id));
        }
    }
}

#[test]
fn a_month_is_made_once_however_many_ask() {
    let shop = Shop::open();
    let sql = "select sec.make_month('2091-05-17')";
    let answers = together((0..6).map(|_| (shop.db.superuser(), sql.to_owned())).collect());
    let mut made: Vec<&str> = answers.iter().map(|a| a.as_ref().expect("an answer")[0].values()[0]).collect();
    made.sort();
    assert_eq!(made, ["f", "f", "f", "f", "f", "t"]);
    let there = shop.superuser.column(
        "select c.oid::regclass::text from pg_class c join pg_inherits i on i.inhrelid = c.oid \
         where c.relname like '%_209105' and c.relrowsecurity and c.relowner = 'mps_owner'::regrole order by 1",
    );
    assert_eq!(
        there,
        ["app.gateway_events_209105", "app.point_ledger_209105", "app.transactions_209105", "audit.event_log_209105"]
    );
}

/// Takes the present month's partitions away, after everything moved into the month before.
fn lose_the_month(shop: &Shop) {
    shop.a_month_passes();
    let month = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    for table in ["app.transactions", "app.point_ledger", "audit.event_log"] {
        shop.superuser
            .run(&format!("alter table {table} detach partition {table}_{month}; drop table {table}_{month}"));
    }
}

#[test]
fn a_missing_month_makes_itself_also_under_concurrency() {
    let shop = Shop::open();
    let members: Vec<Member> = (0..6).map(|_| shop.member("100.00")).collect();
    let tills = tills(&shop, 6);
    let mut charges: Vec<String> = members.iter().map(|m| Shop::charge_sql(&shop.code(m), "10.00", "")).collect();
    // The tills have worked in that month already, and remember it.
    for (till, charge) in tills.iter().zip(&charges) {
        till.run(charge);
    }
    charges = members.iter().map(|m| Shop::charge_sql(&shop.code(m), "10.00", "")).collect();
    lose_the_month(&shop);
    let answers = together(tills.into_iter().zip(charges).collect());
    for answer in &answers {
        assert_eq!(&answer.as_ref().expect("paid")[0]["final_amount"], "10.00");
    }
    for member in &members {
        assert_eq!(shop.balance(&member.card), "80.00");
    }
    let bare = shop.superuser.column(
        "select c.oid::regclass::text from pg_inherits i join pg_class c on c.oid = i.inhrelid \
         where c.relnamespace in ('app'::regnamespace, 'audit'::regnamespace) and c.relkind = 'r' and not c.relrowsecurity",
    );
    assert_eq!(bare, [] as [String; 0]);
}

#[test]
fn a_month_whose_making_was_rolled_back_is_made_again_in_the_same_session() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    shop.charge(&ming, "10.00");
    let charge = Shop::charge_sql(&shop.code(&ming), "10.00", "");
    lose_the_month(&shop);
    for _ in 0..2 {
        shop.cashier.run("begin");
        shop.cashier.run(&charge);
        shop.cashier.run("rollback");
    }
    shop.cashier.run("begin; savepoint s");
    shop.cashier.run(&charge);
    shop.cashier.run("rollback to s");
    shop.cashier.run(&charge);
    shop.cashier.run("commit");
    assert_eq!(shop.balance(&ming.card), "80.00");
    shop.charge(&ming, "10.00");
    assert_eq!(shop.balance(&ming.card), "70.00");
}

#[test]
fn every_writer_makes_the_missing_month() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    shop.charge(&ming, "10.00");
    shop.pending(&ming, "5.00");
    let code = shop.code(&ming);
    lose_the_month(&shop);
    let paid = shop.superuser.value("select tx_no from app.transactions where tx_type = 'payment'");
    let waiting = shop.superuser.value("select tx_no from app.transactions where status = 'processing'");
    for sql in [
        Shop::charge_sql(&code, "1.00", ""),
        Shop::refund_sql(&paid, "1.00", ""),
        format!("select * from app.user_recharge_personal_card('{}', 1, 'cash')", ming.card),
        format!("select * from app.confirm_recharge('{waiting}', 5.00, 'g-1')"),
        format!("select * from app.compensate_tx('{paid}', 1.00, 'x')"),
        format!("select * from app.adjust_points('{}', 1, 'x')", ming.card),
        "select * from app.register_member('x')".into(),
        format!("select * from app.rotate_card_qr('{}')", ming.card),
        format!("select app.set_card_status('{}', 'personal', 'frozen', 'x')", ming.card),
        "select * from app.create_merchant('SHOP-009', 'x')".into(),
        r#"select app.update_settings('{"qr_ttl_seconds": 60}')"#.into(),
    ] {
        shop.backend.run("begin");
        shop.backend.run(&sql);
        let there =
            "select to_regclass('app.transactions_' || to_char(now() at time zone 'UTC', 'YYYYMM')) is not null";
        assert_eq!(shop.backend.value(there), "t", "{sql}");
        shop.backend.run("rollback");
    }
    assert_eq!(shop.count("tx_type = 'payment'"), "1");
}

/// A pay code that has to wait for the card is made for the card and the member as they are after the wait.
#[test]
fn no_code_is_made_for_what_may_not_pay_once_the_wait_is_over() {
    let shop = Shop::open();
    for (change, token) in [
        ("select app.set_member_status('{member}', 'suspended', 'x')", "MEMBER_NOT_ACTIVE"),
        ("select app.set_card_status('{card}', 'personal', 'frozen', 'x')", "CARD_NOT_ACTIVE"),
        ("select app.set_card_status('{card}', 'personal', 'lost', 'x')", "CARD_NOT_ACTIVE"),
        ("select app.set_card_expiry('{card}', 'personal', now() - interval '1 s', 'x')", "CARD_EXPIRED"),
    ] {
        let ming = shop.member("1.00");
        let change = change.replace("{member}", &ming.id.to_string()).replace("{card}", &ming.card);
        let rotate = format!("select * from app.rotate_card_qr('{}')", ming.card);
        for session in [shop.db.user(ming.id), shop.db.backend()] {
            shop.backend.run("begin");
            shop.backend.run(&change);
            let waiting = Waiting::start(session, &shop.superuser, rotate.clone());
            shop.backend.run("commit");
            let answer = waiting.end();
            assert_eq!(answer.as_ref().map_err(|e| e.message.as_str()), Err(token), "{change}");
            let code = format!("select qr_hash from app.personal_cards where id = '{}'", ming.card);
            assert_eq!(shop.superuser.value(&code), NULL, "{change}");
            // Back, for the other caller; a lost card has no way back, so it is asked for only once.
            if change.contains("'lost'") {
                break;
            }
            let back = change
                .replace("suspended", "active")
                .replace("frozen", "active")
                .replace("now() - interval '1 s'", "null");
            shop.backend.run(&back);
        }
    }
}
