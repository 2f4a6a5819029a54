//! Reading: statements, balances of the past, transactions by number, the views.

use mps_tests::{Member, NULL, Row, SHOP, Shop, nobody, q};

/// The whole statement, page by page.
fn paged(shop: &Shop, card: &str, kind: &str, limit: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let before = rows.last().map_or("null".into(), |r| q(&r["tx_no"]));
        let page =
            shop.backend.rows(&format!("select * from app.card_statement('{card}', '{kind}', {before}, {limit})"));
        assert!(page.len() <= limit);
        let done = page.len() < limit;
        rows.extend(page);
        if done {
            return rows;
        }
    }
}

#[test]
fn a_card_statement_has_every_column_newest_first() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.cashier.row(&Shop::charge_sql(&shop.code(&ming), "30.00", r#"'拿铁', '{"sku": "latte"}'"#));
    let refund = shop.refund(&paid["tx_no"], "10.00");
    shop.pending(&ming, "77.00"); // not a movement yet
    let rows = shop.db.user(ming.id).rows_moving_nothing(&format!("select * from app.card_statement('{}')", ming.card));
    assert_eq!(
        rows[0].names(),
        [
            "tx_id",
            "tx_no",
            "tx_type",
            "status",
            "change",
            "raw_amount",
            "discount",
            "final_amount",
            "points_earned",
            "balance_after",
            "card_seq",
            "payment_method",
            "merchant_code",
            "member_id",
            "original_tx_no",
            "refunded_amount",
            "reason",
            "tag",
            "created_at",
            "posted_at"
        ]
    );
    let shown: Vec<Row> = rows.iter().map(|r| r.without(&["tx_id", "created_at", "posted_at"])).collect();
    let member = ming.id.to_string();
    assert_eq!(shown.len(), 3);
    assert_eq!(
        shown[0].values(),
        [
            &refund["refund_tx_no"],
            "refund",
            "completed",
            "10.00",
            "10.00",
            "1.000",
            "10.00",
            "-10",
            "80.00",
            "3",
            "balance",
            SHOP,
            &member,
            &paid["tx_no"],
            NULL,
            NULL,
            "{}"
        ]
    );
    assert_eq!(
        shown[1].values(),
        [
            &paid["tx_no"],
            "payment",
            "completed",
            "-30.00",
            "30.00",
            "1.000",
            "30.00",
            "30",
            "70.00",
            "2",
            "balance",
            SHOP,
            &member,
            NULL,
            "10.00",
            "拿铁",
            r#"{"sku": "latte"}"#
        ]
    );
    assert_eq!(
        shown[2].without(&["tx_no"]).values(),
        [
            "recharge",
            "completed",
            "100.00",
            "100.00",
            "1.000",
            "100.00",
            "0",
            "100.00",
            "1",
            "cash",
            NULL,
            &member,
            NULL,
            NULL,
            NULL,
            "{}"
        ]
    );
}

#[test]
fn pages_join_without_gap_or_overlap_also_across_months() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    for _ in 0..9 {
        shop.charge(&ming, "1.00");
    }
    shop.a_month_passes();
    for _ in 0..7 {
        shop.charge(&ming, "1.00");
    }
    let whole = paged(&shop, &ming.card, "personal", 500);
    assert_eq!(whole.len(), 17);
    let sequence: Vec<&str> = whole.iter().map(|r| &r["card_seq"]).collect();
    let expected: Vec<String> = (1..=17).rev().map(|n| n.to_string()).collect();
    assert_eq!(sequence, expected);
    for limit in [1, 3, 7, 16, 17] {
        assert_eq!(paged(&shop, &ming.card, "personal", limit), whole, "{limit} a page");
    }
    let default = shop.backend.rows(&format!("select * from app.card_statement('{}')", ming.card));
    assert_eq!(default, whole);
}

#[test]
fn statements_are_for_those_who_may_see_the_card() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("10.00"), shop.member("10.00"));
    let company = shop.company("1.000", "50.00", &ming);
    shop.charge_company(&company, &ming, "5.00");
    let own = format!("select count(*) from app.card_statement('{}')", ming.card);
    let companys = format!("select count(*) from app.card_statement('{}', 'enterprise')", company.card);
    let then = format!("select app.balance_as_of('{}', now())", ming.card);
    let companys_then = format!("select app.balance_as_of('{}', now(), 'enterprise')", company.card);
    assert_eq!(shop.db.user(ming.id).value(&own), "1");
    assert_eq!(shop.db.user(ming.id).value(&companys), "2");
    assert_eq!(shop.db.user(ming.id).value(&companys_then), "45.00");
    for session in [&shop.db.user(mei.id), &shop.cashier, &shop.db.user(nobody())] {
        for sql in [&own, &companys, &then, &companys_then] {
            session.refused("CARD_NOT_FOUND", sql);
        }
    }
    shop.bind(&company, &mei, "member");
    assert_eq!(shop.db.user(mei.id).value(&companys), "2");
    shop.backend.run(&format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, mei.id));
    shop.db.user(mei.id).refused("CARD_NOT_FOUND", &companys);
    for sql in [&own, &companys, &then] {
        shop.db.anon().denied(sql);
        shop.db.login("app_role").refused("NOT_AUTHENTICATED", sql);
    }
    // The kinds are not mixed up, and a foreign number is no place to go on from.
    shop.backend.refused("CARD_NOT_FOUND", &format!("select * from app.card_statement('{}', 'enterprise')", ming.card));
    let meis = shop.superuser.value(&format!("select tx_no from app.transactions where card_id = '{}'", mei.card));
    shop.db
        .user(ming.id)
        .refused("TX_NOT_FOUND", &format!("select * from app.card_statement('{}', 'personal', '{meis}')", ming.card));
}

#[test]
fn pages_have_bounds() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    for limit in ["0", "-1", "501", "2147483647", "null"] {
        shop.backend.refused(
            "INVALID_ARGUMENT",
            &format!("select * from app.card_statement('{}', p_limit => {limit})", ming.card),
        );
        shop.backend.refused(
            "INVALID_ARGUMENT",
            &format!("select * from app.merchant_statement('{SHOP}', p_limit => {limit})"),
        );
    }
    for before in ["x", "ZF2001000001", "CZ9912000001", "ZF'; select 1"] {
        let before = q(before);
        shop.backend.refused(
            "TX_NOT_FOUND",
            &format!("select * from app.card_statement('{}', p_before => {before})", ming.card),
        );
        shop.backend
            .refused("TX_NOT_FOUND", &format!("select * from app.merchant_statement('{SHOP}', p_before => {before})"));
    }
    let waiting = shop.pending(&ming, "1.00");
    shop.backend.refused(
        "TX_NOT_FOUND",
        &format!("select * from app.card_statement('{}', p_before => '{waiting}')", ming.card),
    );
}

#[test]
fn a_merchant_statement_has_the_merchants_transactions_and_no_balances() {
    let shop = Shop::open();
    let other = shop.another("SHOP-002");
    let (ming, mei) = (shop.member("100.00"), shop.member("100.00"));
    let first = shop.cashier.row(&Shop::charge_sql(&shop.code(&ming), "30.00", "'拿铁', p_external_order_id => 'o-1'"));
    let second = shop.charge(&mei, "20.00");
    other.run(&Shop::charge_sql(&shop.code(&mei), "5.00", "").replace(SHOP, "SHOP-002"));
    let refund = shop.refund(&first["tx_no"], "30.00");
    let rows = shop.cashier.rows_moving_nothing(&format!("select * from app.merchant_statement('{SHOP}')"));
    assert_eq!(
        rows[0].names(),
        [
            "tx_id",
            "tx_no",
            "tx_type",
            "status",
            "card_type",
            "card_id",
            "raw_amount",
            "discount",
            "final_amount",
            "points_earned",
            "payment_method",
            "original_tx_no",
            "refunded_amount",
            "reason",
            "tag",
            "external_order_id",
            "processed_by",
            "created_at",
            "posted_at",
            "business_day"
        ]
    );
    let numbers: Vec<&str> = rows.iter().map(|r| &r["tx_no"]).collect();
    assert_eq!(numbers, [&refund["refund_tx_no"], &second["tx_no"], &first["tx_no"]]);
    let cashier = shop.cashier_id.to_string();
    assert_eq!(
        rows[2].without(&["tx_id", "created_at", "posted_at", "business_day"]).values(),
        [
            &first["tx_no"],
            "payment",
            "completed",
            "personal",
            &ming.card,
            "30.00",
            "1.000",
            "30.00",
            "30",
            "balance",
            NULL,
            "30.00",
            "拿铁",
            "{}",
            "o-1",
            &cashier
        ]
    );
    other.refused("NOT_MERCHANT_USER", &format!("select * from app.merchant_statement('{SHOP}')"));
    shop.db.user(ming.id).refused("NOT_MERCHANT_USER", &format!("select * from app.merchant_statement('{SHOP}')"));
    shop.db.anon().denied(&format!("select * from app.merchant_statement('{SHOP}')"));
    assert_eq!(shop.backend.rows("select * from app.merchant_statement('SHOP-002')").len(), 1);
}

#[test]
fn a_merchant_statement_takes_a_period_and_pages_through_it() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    for _ in 0..6 {
        shop.charge(&ming, "1.00");
    }
    shop.a_month_passes();
    for _ in 0..5 {
        shop.charge(&ming, "1.00");
    }
    let all = shop
        .superuser
        .column("select tx_no from app.transactions where tx_type = 'payment' order by created_at desc, id desc");
    assert_eq!(all.len(), 11);
    for limit in [1, 2, 5, 6, 11, 500] {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let before = seen.last().map_or("null".into(), q);
            let page = shop
                .cashier
                .column(&format!("select tx_no from app.merchant_statement('{SHOP}', null, null, {before}, {limit})"));
            seen.extend(page.iter().cloned());
            if page.len() < limit {
                break;
            }
        }
        assert_eq!(seen, all, "{limit} a page");
    }
    // From inclusive, to exclusive.
    let at =
        |i: usize| shop.superuser.value(&format!("select posted_at from app.transactions where tx_no = '{}'", all[i]));
    let period = |from: String, to: String| {
        shop.cashier.column(&format!("select tx_no from app.merchant_statement('{SHOP}', {from}, {to})"))
    };
    assert_eq!(period(q(at(8)), q(at(2))), all[3..=8]);
    assert_eq!(period("null".into(), q(at(8))), all[9..]);
    assert_eq!(period(q(at(2)), "null".into()), all[..=2]);
    assert_eq!(period("'-infinity'".into(), "'infinity'".into()), all);
    assert_eq!(period(q(at(2)), q(at(2))), [] as [String; 0]);
    shop.cashier.refused(
        "INVALID_ARGUMENT",
        &format!("select * from app.merchant_statement('{SHOP}', {}, {})", q(at(2)), q(at(8))),
    );
}

/// Every answer of balance_as_of at, just before and just after every movement, against the movements themselves.
fn compare_with_movements(shop: &Shop, member: &Member, expected_movements: usize) {
    let rows = shop.superuser.rows(&format!(
        "select t.posted_at at time zone 'UTC' || '+00' as at, balance_after from app.transactions t where card_id = '{}' \
            and card_seq is not null order by card_seq",
        member.card
    ));
    assert_eq!(rows.len(), expected_movements);
    let mut before = "0.00".to_owned();
    let ask = |at: &str, shift: &str| {
        shop.backend
            .value(&format!("select app.balance_as_of('{}', timestamptz '{at}' + interval '{shift}')", member.card))
    };
    for row in &rows {
        assert_eq!(ask(&row["at"], "-1 microsecond"), before, "before {row:?}");
        assert_eq!(ask(&row["at"], "0"), row["balance_after"], "at {row:?}");
        before = row["balance_after"].to_owned();
    }
    assert_eq!(shop.backend.value(&format!("select app.balance_as_of('{}', 'infinity')", member.card)), before);
    assert_eq!(shop.backend.value(&format!("select app.balance_as_of('{}', '-infinity')", member.card)), "0.00");
    assert_eq!(shop.backend.value(&format!("select app.balance_as_of('{}', '2001-01-01')", member.card)), "0.00");
}

/// Recharges of 0.01, 0.02, ... in one go.
fn many_movements(shop: &Shop, member: &Member, from: usize, to: usize) {
    shop.backend.run(&format!(
        "select (app.user_recharge_personal_card('{}', n * 0.01, 'cash')).tx_no from generate_series({from}, {to}) n",
        member.card
    ));
}

#[test]
fn balance_as_of_agrees_with_every_movement_around_the_long_steps() {
    let shop = Shop::open();
    let ming = shop.member("0");
    assert_eq!(shop.backend.value(&format!("select app.balance_as_of('{}', now())", ming.card)), "0.00");
    many_movements(&shop, &ming, 1, 63);
    compare_with_movements(&shop, &ming, 63);
    many_movements(&shop, &ming, 64, 64);
    compare_with_movements(&shop, &ming, 64);
    many_movements(&shop, &ming, 65, 65);
    compare_with_movements(&shop, &ming, 65);
    many_movements(&shop, &ming, 66, 200);
    compare_with_movements(&shop, &ming, 200);
}

#[test]
fn balance_as_of_looks_back_across_months() {
    let shop = Shop::open();
    let ming = shop.member("0");
    many_movements(&shop, &ming, 1, 100);
    shop.a_month_passes();
    many_movements(&shop, &ming, 101, 150);
    compare_with_movements(&shop, &ming, 150);
}

#[test]
fn balance_as_of_refuses_what_it_cannot_answer() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    shop.backend.refused("INVALID_ARGUMENT", &format!("select app.balance_as_of('{}', null)", ming.card));
    shop.backend.refused("INVALID_ARGUMENT", &format!("select app.balance_as_of('{}', now(), 'gift')", ming.card));
    shop.backend.refused("INVALID_ARGUMENT", "select app.balance_as_of(null, now())");
    shop.backend.refused("CARD_NOT_FOUND", &format!("select app.balance_as_of('{}', now())", nobody()));
}

#[test]
fn a_transaction_is_found_by_its_number_with_its_refunds() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "30.00");
    let one = shop.refund(&paid["tx_no"], "10.00");
    let two = shop.refund(&paid["tx_no"], "5.00");
    let rows = shop.db.user(ming.id).rows_moving_nothing(&format!("select * from app.tx_by_no('{}')", &paid["tx_no"]));
    assert_eq!(
        rows[0].names(),
        [
            "tx_id",
            "tx_no",
            "tx_type",
            "status",
            "card_type",
            "card_id",
            "member_id",
            "merchant_code",
            "raw_amount",
            "discount",
            "final_amount",
            "points_earned",
            "balance_after",
            "payment_method",
            "original_tx_no",
            "refunded_amount",
            "reason",
            "tag",
            "created_at",
            "posted_at"
        ]
    );
    let member = ming.id.to_string();
    let shown: Vec<Row> = rows.iter().map(|r| r.without(&["tx_id", "created_at", "posted_at"])).collect();
    assert_eq!(
        shown[0].values(),
        [
            &paid["tx_no"],
            "payment",
            "completed",
            "personal",
            &ming.card,
            &member,
            SHOP,
            "30.00",
            "1.000",
            "30.00",
            "30",
            "70.00",
            "balance",
            NULL,
            "15.00",
            NULL,
            "{}"
        ]
    );
    let refunds: Vec<&str> = shown[1..].iter().map(|r| &r["tx_no"]).collect();
    assert_eq!(refunds, [&two["refund_tx_no"], &one["refund_tx_no"]]);
    assert_eq!(
        (&shown[2]["points_earned"], &shown[2]["balance_after"], &shown[2]["original_tx_no"]),
        ("-10", "80.00", &paid["tx_no"])
    );
    // A refund alone is the refund alone.
    assert_eq!(
        shop.backend.column(&format!("select tx_no from app.tx_by_no('{}')", &one["refund_tx_no"])),
        [&one["refund_tx_no"]]
    );
}

#[test]
fn a_transaction_is_shown_to_those_it_concerns_and_the_balance_to_the_cards_side_only() {
    let shop = Shop::open();
    let other = shop.another("SHOP-002");
    let (ming, mei) = (shop.member("100.00"), shop.member("0"));
    let company = shop.company("1.000", "100.00", &ming);
    shop.bind(&company, &mei, "member");
    let own = shop.charge(&ming, "30.00");
    let companys = shop.charge_company(&company, &ming, "30.00");
    let waiting = shop.pending(&ming, "5.00");
    let find = |number: &str| format!("select tx_no, balance_after from app.tx_by_no('{number}')");
    let balance = |session: &mps_tests::Session, number: &str| session.row(&find(number))["balance_after"].to_owned();
    assert_eq!(balance(&shop.db.user(ming.id), &own["tx_no"]), "70.00");
    assert_eq!(balance(&shop.db.user(mei.id), &companys["tx_no"]), "70.00");
    assert_eq!(balance(&shop.backend, &own["tx_no"]), "70.00");
    assert_eq!(balance(&shop.cashier, &own["tx_no"]), NULL);
    assert_eq!(balance(&shop.db.user(ming.id), &waiting), NULL);
    for (session, number) in [
        (&shop.db.user(mei.id), &own["tx_no"]),
        (&other, &own["tx_no"]),
        (&other, &companys["tx_no"]),
        (&shop.cashier, &*waiting),
    ] {
        let hidden = session.refused("TX_NOT_FOUND", &find(number));
        assert_eq!(hidden, session.refused("TX_NOT_FOUND", &find("ZF9912000001")), "told apart from none");
    }
    shop.db.anon().denied(&find(&own["tx_no"]));
    shop.db.login("app_role").refused("NOT_AUTHENTICATED", &find(&own["tx_no"]));
}

#[test]
fn the_views_show_a_member_its_cards_and_its_history() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("100.00"), shop.member("50.00"));
    let company = shop.company("0.900", "100.00", &mei);
    shop.bind(&company, &ming, "member");
    let paid = shop.charge(&ming, "30.00");
    let employees = shop.charge_company(&company, &ming, "10.00");
    shop.charge_company(&company, &mei, "10.00");
    let user = shop.db.user(ming.id);
    let cards = user.rows(
        "select card_type, card_id, card_no, balance, points, level, discount, status, role, company_name \
        from app.v_user_cards order by card_type desc",
    );
    assert_eq!(
        cards[0].values(),
        ["personal", &ming.card, &ming.card_no, "70.00", "30", "0", "1.000", "active", "owner", NULL]
    );
    assert_eq!(
        cards[1].values(),
        [
            "enterprise",
            &company.card,
            &company.card_no,
            "82.00",
            NULL,
            NULL,
            "0.900",
            "active",
            "member",
            "Great Wall Ltd"
        ]
    );
    assert_eq!(cards.len(), 2);
    let history = user.column("select tx_no from app.v_usage_logs where tx_type = 'payment' order by created_at desc");
    assert_eq!(history, [&employees["tx_no"], &paid["tx_no"]]);
    assert_eq!(
        shop.db.user(nobody()).rows("select * from app.v_user_cards union all select * from app.v_user_cards"),
        []
    );
    assert_eq!(shop.db.user(nobody()).rows("select tx_no from app.v_usage_logs"), []);
}

#[test]
fn read_functions_work_in_a_read_only_transaction() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "30.00");
    shop.backend.run("begin read only");
    for sql in [
        format!("select * from app.card_statement('{}')", ming.card),
        format!("select * from app.merchant_statement('{SHOP}')"),
        format!("select app.balance_as_of('{}', now())", ming.card),
        format!("select app.balance_as_of('{}', now() - interval '1 day')", ming.card),
        format!("select * from app.tx_by_no('{}')", &paid["tx_no"]),
        "select app.get_settings()".into(),
        "select * from app.error_codes".into(),
    ] {
        assert!(!shop.backend.rows(&sql).is_empty(), "{sql}");
    }
    assert_eq!(shop.backend.value("select pg_current_xact_id_if_assigned()"), NULL);
    shop.backend.run("commit");
    let volatile = shop.superuser.column(
        "select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'app'::regnamespace and p.provolatile <> 's' \
         and p.proname in ('card_statement', 'merchant_statement', 'balance_as_of', 'tx_by_no', 'get_settings')",
    );
    assert_eq!(volatile, [] as [String; 0]);
}

/// Fresh statistics, a hundred members with a row each, and one with thousands: a plan for the average would fetch all of them.
#[test]
fn a_page_costs_the_page_also_for_whoever_has_most() {
    let mut shop = Shop::open();
    shop.db.without_books(); // rows for the planner, not for the books
    let member = shop.member("100.00");
    shop.superuser.run(&format!(
        "insert into app.transactions (id, tx_type, status, card_type, payment_method, created_at, posted_at, card_id, card_seq, member_id, merchant_id, \
                raw_amount, final_amount, balance_after, tx_no) \
         select to_char(now() at time zone 'UTC', 'YYMM')::bigint * 100000000000 + 1000 + i, 'payment', 'completed', 'personal', 'balance', \
                x.at, x.at, gen_random_uuid(), i, \
                case when i % 2 = 0 then '{}'::uuid else gen_random_uuid() end, case when i % 2 = 0 then 1 else i end, 1, 1, 1, 'ZF' || i \
         from generate_series(1, 20000) i, \
              lateral (select greatest(now() - i * interval '0.1 s', date_trunc('month', now() at time zone 'UTC') at time zone 'UTC') as at) x",
        member.id
    ));
    shop.superuser.run("analyze app.transactions");
    let user = shop.db.user(member.id);
    let pages = |session: &mps_tests::Session, sql: &str| -> i64 {
        // The first time reads catalogs.
        session.run(sql);
        let plan = session.column(&format!("explain (analyze, buffers, costs off, timing off, summary off) {sql}"));
        let line = plan.iter().find(|l| l.contains("shared hit=")).expect("buffers").clone();
        let after = line.split("hit=").nth(1).expect("a figure");
        after.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).expect("a figure")
    };
    let usage = pages(&user, "select * from app.v_usage_logs order by created_at desc limit 20");
    let merchant = pages(&shop.cashier, &format!("select * from app.merchant_statement('{SHOP}', p_limit => 20)"));
    eprintln!("a page of 10,000 rows: {usage} pages read for v_usage_logs, {merchant} for merchant_statement");
    assert!(usage < 100 && merchant < 150, "v_usage_logs {usage}, merchant_statement {merchant}");
}
