//! Keys that several ask for at once: whose is it, who waits for whom, and who does not.

use mps_tests::{Failure, Member, Row, SHOP, Session, Shop, Waiting};

type Answer = Result<Vec<Row>, Failure>;

/// A charge of 10.00 with a key.
fn charge(shop: &Shop, member: &Member, key: &str) -> String {
    Shop::charge_sql(&shop.code(member), "10.00", &format!("p_idempotency_key => '{key}'"))
}

fn shop_with_reusable_codes() -> Shop {
    let shop = Shop::open();
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    shop
}

/// Whether each answer is a repetition.
#[track_caller]
fn replayed(answers: Vec<Answer>) -> Vec<String> {
    let mut replayed: Vec<String> =
        answers.into_iter().map(|a| a.expect("an answer")[0]["replayed"].to_owned()).collect();
    replayed.sort();
    replayed
}

/// A cashier's session whose transactions are of this level.
fn till(shop: &Shop, level: &str) -> Session {
    let session = shop.db.user(shop.cashier_id);
    session.run(&format!("set default_transaction_isolation = '{level}'"));
    session
}

/// The server's own hash (`hash_bytes`) of merchant 1, charge, `k-281463` and of merchant 2, charge, `k-8501` is the same.
#[test]
fn nobody_waits_for_somebody_elses_key_whatever_it_is() {
    let shop = Shop::open();
    let other = shop.another("SHOP-002");
    let merchants = shop.superuser.column("select code || ' ' || id from app.merchants order by id");
    assert_eq!(merchants, [format!("{SHOP} 1"), "SHOP-002 2".into()]);
    let (ming, mei) = (shop.member("100.00"), shop.member("100.00"));
    let sql = charge(&shop, &ming, "k-281463");
    shop.cashier.run("begin");
    shop.cashier.run(&sql);
    let twin = Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, sql);
    // The stranger's: neither for the one nor for the other.
    other.run("set statement_timeout = '2s'");
    let paid = other.row(&charge(&shop, &mei, "k-8501").replace(SHOP, "SHOP-002"));
    assert_eq!(&paid["replayed"], "f");
    shop.cashier.run("commit");
    assert_eq!(replayed(vec![twin.end()]), ["t"]);
}

/// Only locks on transactions are waited for, and one of them at a time. That it has a number of its own, as whoever is the first to draw
/// from a sequence after a checkpoint has, keeps nobody from anything.
#[test]
fn who_waits_for_a_key_holds_nothing_that_others_want() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let sql = charge(&shop, &ming, "k-1");
    shop.cashier.run("begin");
    shop.cashier.run(&sql);
    let twin = Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, sql);
    let locks = shop.superuser.column(
        "select distinct locktype || ' ' || granted from pg_locks \
         where locktype not in ('relation', 'virtualxid') and not (locktype = 'transactionid' and granted) and pid in \
                (select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()) order by 1",
    );
    assert_eq!(locks, ["transactionid false"]);
    shop.cashier.run("commit");
    twin.end().expect("an answer");
}

#[test]
fn a_key_used_twice_in_one_transaction_replays_while_others_wait_for_it() {
    let shop = shop_with_reusable_codes();
    let ming = shop.member("100.00");
    for key in ["once", "again"] {
        let sql = charge(&shop, &ming, key);
        shop.cashier.run("begin");
        assert_eq!(&shop.cashier.row(&sql)["replayed"], "f");
        let twins: Vec<Waiting> =
            (0..2).map(|_| Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, sql.clone())).collect();
        for _ in 0..2 {
            assert_eq!(&shop.cashier.row(&sql)["replayed"], "t");
        }
        shop.cashier.run("commit");
        assert_eq!(replayed(twins.into_iter().map(Waiting::end).collect()), ["t", "t"]);
    }
    assert_eq!(shop.balance(&ming.card), "80.00");
}

#[test]
fn a_key_that_was_rolled_back_to_a_savepoint_is_free_for_its_own_transaction_and_for_others() {
    let shop = shop_with_reusable_codes();
    let ming = shop.member("100.00");
    // Nobody else wants it.
    let sql = charge(&shop, &ming, "alone");
    shop.cashier.run("begin; savepoint s");
    shop.cashier.run(&sql);
    shop.cashier.run("rollback to s");
    assert_eq!(&shop.cashier.row(&sql)["replayed"], "f");
    assert_eq!(&shop.cashier.row(&sql)["replayed"], "t");
    shop.cashier.run("commit");
    assert_eq!(shop.balance(&ming.card), "90.00");
    // Somebody has been waiting for it: whoever is first does the work, and the other's call is a repetition.
    for round in 0..5 {
        let sql = charge(&shop, &ming, &format!("wanted-{round}"));
        shop.cashier.run("begin; savepoint s");
        shop.cashier.run(&sql);
        let twin = Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, sql.clone());
        shop.cashier.run("rollback to s");
        let again = shop.cashier.try_rows(&sql);
        shop.cashier.run("commit");
        assert_eq!(replayed(vec![again, twin.end()]), ["f", "t"]);
    }
    assert_eq!(shop.balance(&ming.card), "40.00");
}

#[test]
fn two_keys_in_crossed_order_go_through_where_one_is_given_back_to_a_savepoint() {
    let shop = shop_with_reusable_codes();
    let (ming, mei) = (shop.member("100.00"), shop.member("100.00"));
    let (first, second) = (shop.db.user(shop.cashier_id), shop.db.user(shop.cashier_id));
    let (one, two) = (charge(&shop, &ming, "k-1"), charge(&shop, &mei, "k-2"));
    first.run("begin");
    first.run(&one);
    second.run("begin; savepoint s");
    second.run(&two);
    let first = Waiting::start(first, &shop.superuser, format!("{two}; select pg_sleep(1); commit"));
    second.run("rollback to s");
    // The first goes on with the second key, and the second waits for the first one.
    assert_eq!(&second.row(&one)["replayed"], "t");
    assert_eq!(&second.row(&two)["replayed"], "t");
    second.run("commit");
    assert_eq!(replayed(vec![first.end()]), ["f"]);
    assert_eq!((shop.balance(&ming.card), shop.balance(&mei.card)), ("90.00".into(), "90.00".into()));
}

#[test]
fn two_keys_in_crossed_order_end_one_transaction_which_repeats_safely() {
    let shop = shop_with_reusable_codes();
    let (ming, mei) = (shop.member("100.00"), shop.member("100.00"));
    let (first, second) = (shop.db.user(shop.cashier_id), shop.db.user(shop.cashier_id));
    let (one, two) = (charge(&shop, &ming, "k-1"), charge(&shop, &mei, "k-2"));
    first.run("begin");
    first.run(&one);
    second.run("begin");
    second.run(&two);
    let first = Waiting::start(first, &shop.superuser, format!("{two}; commit"));
    let answers = [second.try_rows(&format!("{one}; commit")), first.end()];
    let lost: Vec<&Failure> = answers.iter().filter_map(|a| a.as_ref().err()).collect();
    assert_eq!(lost.iter().map(|f| f.code.as_str()).collect::<Vec<_>>(), ["40P01"]);
    for sql in [&one, &two] {
        assert_eq!(&shop.cashier.row(sql)["replayed"], "t");
    }
    assert_eq!((shop.balance(&ming.card), shop.balance(&mei.card)), ("90.00".into(), "90.00".into()));
}

#[test]
fn of_two_who_wait_for_a_third_that_gives_up_one_does_the_work() {
    let shop = shop_with_reusable_codes();
    let levels = ["read committed", "repeatable read", "serializable"];
    for argument in ["p_idempotency_key", "p_external_order_id"] {
        for (i, (one, other)) in levels.iter().flat_map(|a| levels.map(|b| (*a, b))).enumerate() {
            let ming = shop.member("100.00");
            let sql = Shop::charge_sql(&shop.code(&ming), "10.00", &format!("{argument} => 'k-{i}'"));
            shop.cashier.run("begin");
            shop.cashier.run(&sql);
            let waiting = [one, other].map(|level| Waiting::start(till(&shop, level), &shop.superuser, sql.clone()));
            shop.cashier.run("rollback");
            let answers = waiting.map(Waiting::end);
            let works = answers.iter().flatten().filter(|rows| &rows[0]["replayed"] == "f").count();
            assert_eq!(works, 1, "{one}, {other}: {answers:?}");
            for (answer, level) in answers.iter().zip([one, other]) {
                // Under a stricter level the later one fails to serialise.
                if let Err(failure) = answer {
                    assert!(level != "read committed" && failure.code == "40001", "{level}: {failure:?}");
                }
            }
            assert_eq!(shop.balance(&ming.card), "90.00", "{one}, {other}");
        }
    }
}

#[test]
fn a_stricter_caller_that_waits_for_a_key_works_or_fails_to_serialise() {
    let shop = shop_with_reusable_codes();
    for level in ["repeatable read", "serializable"] {
        for end in ["commit", "rollback"] {
            let ming = shop.member("100.00");
            let sql = charge(&shop, &ming, &format!("{level} {end}"));
            shop.cashier.run("begin");
            shop.cashier.run(&sql);
            let twin = Waiting::start(till(&shop, level), &shop.superuser, sql.clone());
            shop.cashier.run(end);
            match (twin.end(), end) {
                (Ok(rows), "rollback") => assert_eq!(&rows[0]["replayed"], "f"),
                (Err(failure), "commit") => assert_eq!(failure.code, "40001"),
                (answer, _) => panic!("{level}, {end}: {answer:?}"),
            }
            assert_eq!(shop.balance(&ming.card), "90.00", "{level}, {end}");
            assert_eq!(&till(&shop, level).row(&sql)["replayed"], "t");
        }
    }
}
