//! Buckets: what ids, pay codes and numbers carry, and how many numbers there are.

use mps_tests::{Clock, NULL, Shop, Till, nobody};

/// The first byte of SHA-256 of a member's id, its low six bits, and one: told by the server's own functions.
const OF_MEMBER: &str = "(get_byte(sha256(uuid_send(%)), 0) & 63) + 1";

fn of_member(id: &str) -> String {
    OF_MEMBER.replace('%', &format!("'{id}'::uuid"))
}

#[test]
fn a_card_carries_its_members_bucket() {
    let shop = Shop::open();
    for _ in 0..20 {
        let ming = shop.member("0");
        let row = shop.superuser.row(&format!(
            "select app.bucket_of_card('{}') as card, {} as member, substr('{0}', 15, 1) as version, substr('{0}', 20, 1) as variant",
            ming.card,
            of_member(&ming.id.to_string())
        ));
        assert_eq!(row["card"], row["member"], "{ming:?}");
        assert_eq!(&row["version"], "7");
        assert!("89ab".contains(&row["variant"]), "{ming:?}");
    }
    let known = "11111111-2222-4333-8444-555555555555";
    let card = shop.backend.row(&format!("select * from app.register_member('x', p_user_id => '{known}')"));
    assert_eq!(shop.superuser.value(&format!("select app.bucket_of_card('{}')", &card["card_id"])), "26");
}

#[test]
fn a_company_card_carries_its_first_admins_bucket_or_any() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let company = shop.company("1", "0", &ming);
    let bucket = |card: &str| shop.superuser.value(&format!("select app.bucket_of_card('{card}')"));
    assert_eq!(bucket(&company.card), shop.superuser.value(&format!("select {}", of_member(&ming.id.to_string()))));
    let made = shop.superuser.column(
        "select app.bucket_of_card(card_id) from generate_series(1, 64) n, app.create_enterprise_card('x' || n)",
    );
    assert!(made.iter().all(|b| (1..=64).contains(&b.parse::<i32>().unwrap())), "{made:?}");
    let mut distinct = made.clone();
    distinct.sort();
    distinct.dedup();
    assert!(distinct.len() > 20, "{made:?}");
}

#[test]
fn a_replacement_keeps_the_bucket_and_one_of_a_card_of_before_gets_its_members() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("10.00"), shop.member("0"));
    let replaced = |card: &str| {
        shop.set_card(card, "personal", "lost");
        let new = shop.backend.row(&format!("select * from app.replace_card('{card}', 'lost')"));
        shop.superuser.value(&format!("select app.bucket_of_card('{}')", &new["card_id"]))
    };
    let member = |id: String| shop.superuser.value(&format!("select {}", of_member(&id)));
    assert_eq!(replaced(&ming.card), member(ming.id.to_string()));
    // As a release before wrote them: random where there is a mark now.
    let old = nobody();
    shop.superuser.run(&format!("update app.personal_cards set id = '{old}' where id = '{}'", mei.card));
    assert_eq!(shop.superuser.value(&format!("select app.bucket_of_card('{old}')")), NULL);
    assert_eq!(replaced(&old.to_string()), member(mei.id.to_string()));
}

#[test]
fn a_pay_code_tells_its_cards_bucket() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("0"), shop.member("0"));
    let company = shop.company("1", "0", &ming);
    shop.bind(&company, &mei, "member");
    for (code, card) in [(shop.code(&mei), &mei.card), (shop.company_code(&company, &mei), &company.card)] {
        for shown in [code.clone(), format!(" {}\n", code.to_lowercase())] {
            let same = format!("select app.bucket_of_code('{shown}') = app.bucket_of_card('{card}')");
            assert_eq!(shop.db.user(nobody()).value(&same), "t");
        }
    }
}

#[test]
fn what_carries_no_bucket_is_null_and_never_an_error() {
    let shop = Shop::open();
    let ming = shop.member("5.00");
    let paid = shop.charge(&ming, "1.00")["tx_no"].to_owned();
    let user = shop.db.user(nobody());
    for none in [
        "bucket_of_card(null)".to_owned(),
        format!("bucket_of_card('{}')", nobody()),
        format!("bucket_of_card('{}')", ming.id),
        "bucket_of_card('00000000-0000-0000-0000-000000000000')".into(),
        "bucket_of_card('ffffffff-ffff-ffff-ffff-ffffffffffff')".into(),
        "bucket_of_code(null)".into(),
        "bucket_of_code('')".into(),
        "bucket_of_code('MPS')".into(),
        "bucket_of_code('MPSAAAA')".into(),
        "bucket_of_code(repeat('A', 1000000))".into(),
        "bucket_of_code(e'\\u3000付款码')".into(),
        "bucket_of_code('MPS' || repeat('A', 53))".into(),
        "bucket_of_tx(null)".into(),
        "bucket_of_tx('')".into(),
        format!("bucket_of_tx('{paid}')"),
        "bucket_of_tx('ZF261135000000000')".into(),
        "bucket_of_tx('ZF261135999999999')".into(),
        "bucket_of_tx('ZF261136000000000')".into(),
        "bucket_of_tx('ZF261336000000001')".into(),
        "bucket_of_tx('ZF2611100000000000')".into(),
        "bucket_of_tx('XX261136000000001')".into(),
        "bucket_of_tx(repeat('9', 1000000))".into(),
    ] {
        assert_eq!(user.value(&format!("select app.{none}")), NULL, "{none}");
    }
    for (number, bucket) in [
        ("ZF261136000000001", "1"),
        ("cz261199999999999\n", "64"),
        ("TK261137000000123", "2"),
        ("TZ261150123456789", "15"),
    ] {
        assert_eq!(user.value(&format!("select app.bucket_of_tx('{number}')")), bucket, "{number}");
    }
    let declared = shop.superuser.column(
        "select format('%s %s %s %s %s', proname, provolatile, proisstrict, proparallel, prorettype::regtype) from pg_proc \
         where proname ~ '^bucket_of_' and pronamespace = 'app'::regnamespace order by 1",
    );
    assert_eq!(
        declared,
        ["bucket_of_card i t s integer", "bucket_of_code i t s integer", "bucket_of_tx i t s integer"]
    );
}

#[test]
fn one_machine_stops_clearly_before_its_numbers_end() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let health = || {
        let row = shop.superuser.row("select ok, detail from app.health() where check_name = 'transaction_numbers'");
        (row["ok"].to_owned(), row["detail"].to_owned())
    };
    assert_eq!(health().0, "t");
    let given = |number: i64| shop.superuser.run(&format!("select setval('app.tx_no_seq', {number})"));
    given(27_999_999_998);
    assert_eq!(health(), ("t".into(), "27999999998 of 35000000000 are given (80.0 %)".into()));
    given(28_000_000_000);
    assert_eq!(health().0, "f");
    given(34_999_999_998);
    shop.charge(&ming, "1.00");
    let last = shop.cashier.row(&Shop::charge_sql(&shop.code(&ming), "1.00", "p_idempotency_key => 'last'"));
    assert!(last["tx_no"].ends_with("35000000000"), "{last:?}");
    assert_eq!(shop.superuser.value(&format!("select app.bucket_of_tx('{}')", &last["tx_no"])), NULL);
    // Whatever needs a number says so and moves nothing; what has one goes on.
    let code = shop.code(&ming);
    let refusal = shop.cashier.refused("STATUS_CONFLICT", &Shop::charge_sql(&code, "1.00", ""));
    assert!(refusal.detail.contains("35000000000"), "{refusal:?}");
    shop.cashier.refused("STATUS_CONFLICT", &Shop::refund_sql(&last["tx_no"], "1.00", ""));
    shop.backend.refused(
        "STATUS_CONFLICT",
        &format!("select * from app.user_recharge_personal_card('{}', 1.00, 'cash')", ming.card),
    );
    shop.backend
        .refused("STATUS_CONFLICT", &format!("select * from app.compensate_tx('{}', 1.00, 'x')", &last["tx_no"]));
    shop.set_card(&ming.card, "personal", "lost");
    shop.backend.refused("STATUS_CONFLICT", &format!("select * from app.replace_card('{}', 'x')", ming.card));
    let again = shop.cashier.row(&Shop::charge_sql(&code, "1.00", "p_idempotency_key => 'last'"));
    assert_eq!((&again["tx_no"], &again["replayed"]), (&last["tx_no"], "t"));
}

/// Whoever goes from a card to the one that replaced it locks both, as jobs do that lock all cards by their ids.
#[test]
fn a_card_that_replaces_another_has_the_greater_id_whatever_the_clock_said() {
    let clock = Clock::start_at("2026-05-20 12:00:00Z");
    let session = clock.cluster.superuser("postgres");
    session.run("create extension mps");
    let till = Till::open(session);
    let ming = till.member("10.00");
    clock.set("2026-05-18 12:00:00Z");
    let mut card = ming.card;
    for _ in 0..3 {
        till.session.run(&format!("select app.set_card_status('{card}', 'personal', 'lost', 'x')"));
        let new = till.session.row(&format!("select * from app.replace_card('{card}', 'x')"))["card_id"].to_owned();
        let told = till.session.row(&format!(
            "select '{new}'::uuid > '{card}'::uuid as greater, app.bucket_of_card('{new}') = app.bucket_of_card('{card}') as same, \
                    created_at < '2026-05-19' as by_the_clock from app.personal_cards where id = '{new}'"
        ));
        assert_eq!(told.values(), ["t", "t", "t"]);
        card = new;
    }
}
