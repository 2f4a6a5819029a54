//! What a DBA does to our tables to harden them, or by mistake: no call answers as if somebody else were to blame.

use mps_tests::{Failure, Row, Session, Shop};
use std::collections::HashMap;

type Names = HashMap<&'static str, String>;

/// Cards with points, a lost one, payments, a recharge that waits, money in suspense, a company; codes that pay often.
fn stage(shop: &Shop) -> Names {
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    let (ming, mei, boss) = (shop.member("1000.00"), shop.member("100.00"), shop.member("0"));
    let company = shop.company("0.900", "1000.00", &boss);
    shop.bind(&company, &ming, "admin");
    let paid = shop.charge(&ming, "50.00")["tx_no"].to_owned();
    shop.set_card(&mei.card, "personal", "lost");
    let settled = shop.pending(&ming, "30.00");
    for number in ["g-8", "g-9"] {
        shop.backend.run(&format!("select * from app.confirm_recharge('{settled}', 30.00, '{number}')"));
    }
    let withdrawn = format!("select refund_no from app.withdraw('{}', 4, 'x', 'w')", ming.card);
    let refund = shop.backend.value(&withdrawn);
    let terms =
        r#"{"code": "C1", "name": "x", "kind": "amount_off", "value": 1, "claimable": true, "budget_amount": 9}"#;
    shop.backend.run(&format!("select * from app.create_coupon('{terms}')"));
    shop.backend.run("select * from app.set_coupon_status('C1', 'active', 'x')");
    let bonus = r#"{"code": "K1", "name": "x", "kind": "points_bonus", "value": 1}"#;
    shop.backend.run(&format!("select * from app.create_campaign('{bonus}')"));
    shop.backend.run("select * from app.set_campaign_status('K1', 'active', 'x')");
    let issued = format!("select coupon_code from app.issue_coupon('C1', '{}')", ming.id);
    let coupon = shop.backend.value(&issued);
    shop.superuser.run(&mps_sender::set_up());
    shop.backend.row(&mps_sender::wechat("ELSE", &serde_json::json!({})).sql("wechat"));
    HashMap::from([
        ("{card}", ming.card.clone()),
        ("{member}", ming.id.to_string()),
        ("{code}", shop.code(&ming)),
        ("{paid}", paid),
        ("{lost}", mei.card),
        ("{waiting}", shop.pending(&ming, "20.00")),
        ("{event}", shop.superuser.value("select id from app.gateway_events")),
        ("{refund}", refund),
        ("{coupon}", coupon),
        ("{suspense}", shop.superuser.value("select id from app.suspense_payments")),
        ("{company}", company.card.clone()),
        ("{company_no}", company.card_no.clone()),
        ("{company_code}", shop.company_code(&company, &ming)),
        ("{boss}", boss.id.to_string()),
        ("{cashier}", shop.cashier_id.to_string()),
    ])
}

fn named(sql: &str, names: &Names) -> String {
    names.iter().fold(sql.to_owned(), |sql, (name, value)| sql.replace(name, value))
}

/// Every function of the API that asks the tables for something.
const CALLS: &[&str] = &[
    "select * from app.quote_charge('SHOP-001', '{code}', 3.00)",
    "select * from app.merchant_charge_by_qr('SHOP-001', '{code}', 3.00)",
    "select * from app.merchant_charge_by_qr('SHOP-001', '{company_code}', 3.00, p_idempotency_key => 'k')",
    "select * from app.merchant_refund_tx('SHOP-001', '{paid}', 30.00)",
    "select * from app.cancel_payment('SHOP-001', '{paid}')",
    "select * from app.compensate_tx('{paid}', 1.00, 'x')",
    "select * from app.confirm_recharge('{waiting}', 20.00, 'g-1')",
    "select * from app.fail_recharge('{waiting}', 'x')",
    "select * from app.resolve_suspense({suspense}, 'credited', 'x', '{card}')",
    "select * from app.withdraw('{card}', 2.00, 'x', 'k', p_merchant_code => 'SHOP-001')",
    "select * from app.confirm_withdrawal('{refund}', 4.00)",
    "select * from app.fail_withdrawal('{refund}', 'x')",
    "select * from app.user_recharge_personal_card('{card}', 2.00, 'cash')",
    "select * from app.user_recharge_enterprise_card_admin('{company}', 2.00, 'cash')",
    "select * from app.adjust_points('{card}', 5000, 'x')",
    "select * from app.rotate_card_qr('{card}')",
    "select app.set_card_status('{card}', 'personal', 'frozen', 'x')",
    "select app.set_card_expiry('{card}', 'personal', now(), 'x')",
    "select app.set_member_status('{member}', 'suspended', 'x')",
    "select app.enterprise_add_member('{company_no}', '{member}', 'member')",
    "select app.enterprise_remove_member('{company_no}', '{boss}')",
    "select * from app.replace_card('{lost}', 'x')",
    "select * from app.register_member('x', p_user_id => '{cashier}')",
    r#"select * from app.create_campaign('{"code": "K2", "name": "x", "kind": "points_bonus", "value": 1}')"#,
    r#"select * from app.update_campaign('K1', '{"value": 2}')"#,
    "select * from app.set_campaign_status('K1', 'paused', 'x')",
    "select * from app.campaign_report('K1')",
    r#"select * from app.create_coupon('{"code": "C2", "name": "x", "kind": "amount_off", "value": 1}')"#,
    r#"select * from app.update_coupon('C1', '{"value": 2, "budget_amount": 10}')"#,
    "select * from app.set_coupon_status('C1', 'paused', 'x')",
    "select * from app.issue_coupon('C1', '{member}', 2, 'k')",
    "select app.revoke_coupon('{coupon}', 'x')",
    "select * from app.create_merchant('SHOP-9', 'x')",
    "select * from app.create_enterprise_card('x', 0.9)",
    "select app.set_merchant_status('SHOP-001', false, 'x')",
    "select app.set_merchant_user('SHOP-001', '{member}')",
    "select app.remove_merchant_user('SHOP-001', '{cashier}')",
    "select app.get_settings()",
    r#"select app.update_settings('{"qr_ttl_seconds": 60}')"#,
    "select * from app.card_statement('{card}')",
    "select * from app.merchant_statement('SHOP-001')",
    "select * from app.usage_page()",
    "select * from app.day_totals()",
    "select app.business_day(now())",
    "select app.business_day_start(current_date)",
    "select app.balance_as_of('{card}', now())",
    "select * from app.tx_by_no('{paid}')",
    "select app.tx_proof('{paid}')",
    "select * from app.liability_proof(current_date, '{card}')",
    "select app.head_proof()",
    "select * from app.gateway_notify('wechat', '{}', 'x')",
    "select * from app.reverify_event({event})",
    "select * from app.import_bill('wechat', '2026-11-26', 'trade', 'x')",
    "select * from app.reconcile('wechat', '2026-11-26')",
    "select * from app.resolve_recon_item(1, 'explained', 'x')",
    "select * from app.close_recon_day('wechat', '2026-11-26')",
    "select * from app.verify_books()",
    "select * from audit.verify()",
    "select * from audit.head()",
    "select audit.seal_note()",
    "select audit.seal_batch()",
    "select audit.seal_ready()",
    "select audit.grow_tree()",
    "select audit.note_balances()",
    "select audit.balances_ready(202611)",
    "select audit.publish_balances(202611)",
    "select audit.sign_head()",
    "select audit.declare_restore('x')",
    "select * from app.claim_coupon('C1', 'c')",
    "select app.issue_coupon_to_all_batch('C1', null, null)",
    "select app.expire_cards_batch(null)",
    "select app.expire_qrcodes_batch(null)",
    "select app.expire_recharges_batch(null)",
    "select app.expire_keys_batch(null)",
    "select app.recompute_levels_batch(null)",
    "select app.maintain_partitions_batch(7)",
    "select app.archive_month_batch('2026-01-01')",
    "select app.rehearse_month_batch()",
    "select * from app.rebuild_from_log()",
    "select app.close_months_note_batch()",
    "select app.close_months_mark_batch()",
    "select app.close_month_batch(null)",
    "select sec.job_batch('seal', 1, true)",
    "select sec.jobs_rest()",
    "select * from app.set_mode('normal', 'x')",
    r#"select app.set_gateway_account('shop', 'alipay', '{"app_id": "1", "seller_ids": ["2"]}')"#,
    "select mps_gateway.notify('')",
    "select * from sec.admin_card_ids()",
    "select * from sec.merchant_ids()",
];

/// What asks no table, or is a procedure that only calls the batches above, or has a test of its own below.
const NOT_CALLED: &str = "^(sec\\.(uid|level_.*|shown_tag|coupon_no|raise|check_months_ahead|security_check|jobs|on_signup|signup_triggers|closing_is_ready)|\
     app\\.(error_list|bucket_of_[a-z]*|health|schedule_jobs|enable_supabase_signup|maintain_partitions|archive_partitions|close_months|expire_[a-z]*|\
            recompute_levels|issue_coupon_to_all)|sec\\.months_to_archive|audit\\.(seal|sign_heads|receipts_are_on))$";

#[test]
fn every_function_of_the_api_is_called_here() {
    let shop = Shop::open();
    let functions =
        shop.superuser.column(&format!("select func from sec.api_functions() where func !~ '{NOT_CALLED}'"));
    let missing: Vec<&String> =
        functions.iter().filter(|f| !CALLS.iter().any(|c| c.contains(&format!("{f}(")))).collect();
    assert!(missing.is_empty(), "not called here, see CALLS: {missing:?}");
}

/// All our tables, and the partitions of this month, with whether calls read or write them.
fn tables(session: &Session) -> Vec<Row> {
    session.rows(
        "select c.oid::regclass::text as name, n.nspname <> 'sec' or c.oid::regclass::text in (select tab from sec.tables()) as is_called \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname in ('app', 'audit', 'sec') and c.relkind in ('r', 'p') \
           and (not c.relispartition or c.relname like '%' || to_char(now() at time zone 'UTC', 'YYYYMM')) order by 1",
    )
}

type Answer = Result<Vec<Row>, Failure>;

/// What a call answers after something was done to the tables, all of it undone.
fn after(session: &Session, done: &str, call: &str) -> Answer {
    session.run("begin");
    session.run(done);
    let answer = session.try_rows(call);
    session.run("rollback");
    answer
}

/// Whether an answer says which table, and what to do.
fn names_the_cause(answer: &Answer, table: &str, remedy: &str) -> bool {
    answer.as_ref().is_err_and(|e| {
        (e.message.as_str(), e.code.as_str()) == ("STATUS_CONFLICT", "PT409")
            && e.detail.contains(&format!("{table} "))
            && e.hint.contains(remedy)
    })
}

/// What differs from call to call.
fn essence(answer: Answer) -> Result<usize, String> {
    answer.map(|rows| rows.len()).map_err(|e| format!("{} {}", e.code, e.message))
}

#[test]
fn no_call_is_misleading_where_security_binds_the_owner() {
    let shop = Shop::open();
    let names = stage(&shop);
    let session = &shop.superuser;
    session.run("set statement_timeout = '20s'");
    let mut wrong = Vec::new();
    for table in tables(session) {
        let (name, is_called) = (&table["name"], &table["is_called"] == "t");
        let force = format!("alter table {name} force row level security");
        let foreign = format!("alter table {name} owner to stranger; grant all on {name} to mps_owner");
        for call in CALLS {
            let call = named(call, &names);
            let (forced, others) = (after(session, &force, &call), after(session, &foreign, &call));
            let is_right = if is_called {
                names_the_cause(&forced, name, &format!("{name} NO FORCE ROW LEVEL SECURITY"))
                    && names_the_cause(&others, name, &format!("ALTER TABLE {name} OWNER TO mps_owner"))
            } else {
                // Which of them few ask.
                let before = essence(after(session, "select pg_current_xact_id()", &call));
                let is_fine = |answer: &Answer| {
                    essence(answer.clone()) == before
                        || answer.as_ref().is_err_and(|e| e.message.contains(&name["sec.".len()..]))
                };
                is_fine(&forced) && is_fine(&others)
            };
            if !is_right {
                wrong.push(format!("{name}: {call}\n  {forced:?}\n  {others:?}"));
            }
        }
        let health = after(session, &force, "select check_name, detail from app.health() where not ok");
        let says = |rows: &Vec<Row>| rows.len() == 1 && rows[0]["detail"].contains(&format!("{name} "));
        if is_called && !health.as_ref().is_ok_and(says) {
            wrong.push(format!("{name}: health {health:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_policy_that_lets_the_owner_through_is_enough() {
    let shop = Shop::open();
    let names = stage(&shop);
    let session = &shop.superuser;
    let through = |to: &str, using: &str| {
        tables(session).iter().fold(String::new(), |sql, t| {
            let name = &t["name"];
            format!("{sql}alter table {name} force row level security; create policy through on {name} to {to} using ({using});")
        })
    };
    for call in CALLS {
        let call = named(call, &names);
        let before = essence(after(session, "select pg_current_xact_id()", &call));
        assert_eq!(essence(after(session, &through("mps_owner", "true"), &call)), before, "{call}");
    }
    let charge = named(CALLS[0], &names);
    // What lets only some rows through does not, nor what another policy restricts.
    for policy in [
        through("mps_owner", "random() < 2"),
        through("stranger", "true"),
        through("mps_owner", "true") + "create policy restricted on app.merchants as restrictive using (id > 7)",
    ] {
        let answer = after(session, &policy, &charge);
        assert!(answer.as_ref().is_err_and(|e| e.message == "STATUS_CONFLICT"), "{policy}: {answer:?}");
    }
}

/// Careless, and told of as such; but nothing is hidden from it.
#[test]
fn an_owner_that_bypasses_row_level_security_is_not_bound() {
    let shop = Shop::open();
    let names = stage(&shop);
    let session = &shop.superuser;
    let forced = tables(session)
        .iter()
        .fold(String::new(), |sql, t| format!("{sql}alter table {} force row level security;", &t["name"]));
    for call in CALLS {
        let call = named(call, &names);
        let before = essence(after(session, "select pg_current_xact_id()", &call));
        assert_eq!(
            essence(after(session, &format!("{forced} alter role mps_owner bypassrls"), &call)),
            before,
            "{call}"
        );
    }
    // It is bound again at once.
    let page = named("select * from app.get_settings()", &names);
    session.run(&format!("begin; {forced} alter role mps_owner bypassrls"));
    session.run(&page);
    session.run("alter role mps_owner nobypassrls");
    session.try_rows(&page).expect_err("it is bound again").must_be("STATUS_CONFLICT", &page);
    session.run("rollback");
}

#[test]
fn what_clients_see_directly_is_theirs_or_names_the_cause() {
    let shop = Shop::open();
    let names = stage(&shop);
    let client = shop.db.user(names["{member}"].parse().expect("a uuid"));
    let cashier = &shop.cashier;
    let pages = [
        (&client, "select count(*) from app.v_user_cards"),
        (&client, "select count(*) from app.v_usage_logs"),
        (&client, "select count(*) from app.v_member_coupons"),
        (&client, "select count(id) from app.enterprise_card_bindings"),
        (cashier, "select count(id) from app.merchants"),
        (cashier, "select count(user_id) from app.merchant_users"),
        (&shop.backend, "select count(id) from app.suspense_payments"),
        (&shop.backend, "select count(id) from app.withdrawals"),
    ];
    let pages: Vec<_> = pages
        .iter()
        .map(|(s, page)| (*s, page.replace("count(id)", "count(*)").replace("count(user_id)", "count(*)")))
        .collect();
    let mut refused = 0;
    for (session, page) in &pages {
        let Ok(before) = session.try_rows(page) else { continue };
        for table in tables(&shop.superuser) {
            let name = &table["name"];
            shop.superuser.run(&format!("alter table {name} force row level security"));
            let answer = session.try_rows(page);
            shop.superuser.run(&format!("alter table {name} no force row level security"));
            refused += usize::from(answer.is_err());
            assert!(
                answer.as_ref() == Ok(&before) || names_the_cause(&answer, name, "NO FORCE"),
                "{name}: {page} {answer:?}"
            );
        }
    }
    assert!(refused > 0);
}

/// Every backend learns of it, and of its end, with the next call; what others do to other tables is not asked about.
#[test]
fn it_is_noticed_at_once_and_forgotten_at_once() {
    let shop = Shop::open();
    let member = shop.member("100.00");
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    let charge = Shop::charge_sql(&shop.code(&member), "1.00", "");
    let owner = shop.db.user(member.id);
    let page = format!("select * from app.card_statement('{}')", member.card);
    for level in ["read committed", "repeatable read"] {
        for session in [&shop.cashier, &owner] {
            session.run(&format!("set default_transaction_isolation = '{level}'"));
        }
        shop.cashier.run(&charge);
        owner.run(&page);
        shop.superuser.run("alter table app.member_profiles force row level security");
        let failure = shop.cashier.refused("STATUS_CONFLICT", &charge);
        assert!(failure.detail.contains("app.member_profiles") && failure.hint.contains("ALTER TABLE"), "{failure:?}");
        owner.refused("STATUS_CONFLICT", &page);
        shop.superuser.run("alter table app.member_profiles no force row level security");
        shop.cashier.run(&charge);
        owner.run(&page);
    }
    // As the statement began, nothing was wrong yet.
    owner.run("begin isolation level repeatable read; select count(*) from app.v_user_cards");
    shop.superuser.run("alter table app.transactions force row level security");
    owner.failure(&page).must_be("STATUS_CONFLICT", &page);
    owner.run("rollback");
    shop.superuser.run("alter table app.transactions no force row level security");
}

#[test]
fn a_detached_month_is_named() {
    let mut shop = Shop::open();
    let member = shop.member("100.00");
    let paid = shop.charge(&member, "1.00")["tx_no"].to_owned();
    let charge = Shop::charge_sql(&shop.code(&member), "1.00", "");
    let m = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    for (table, calls) in [
        ("app.transactions", vec![charge.clone(), format!("select * from app.tx_by_no('{paid}')")]),
        ("app.point_ledger", vec![charge.clone()]),
        ("audit.event_log", vec![charge, Shop::refund_sql(&paid, "1.00", "")]),
    ] {
        shop.superuser.run(&format!("begin; alter table {table} detach partition {table}_{m}; commit"));
        for call in calls {
            let failure = shop.cashier.refused("STATUS_CONFLICT", &call);
            assert!(failure.detail.contains(&format!("{table}_{m} ")), "{failure:?}");
            assert!(failure.hint.contains("ATTACH"), "{failure:?}");
        }
        let health = shop.superuser.value("select detail from app.health() where check_name = 'tables'");
        assert!(health.contains(&format!("{table}_{m} is detached")), "{health}");
        let (from, to) = (format!("{}-{}-01 00:00:00+00", &m[..4], &m[4..]), "+ interval '1 month'");
        shop.superuser.run(&format!(
            "do $$ begin execute format('alter table {table} attach partition {table}_{m} for values from (%L) to (%L)', \
             timestamptz '{from}', timestamptz '{from}' {to}); end $$"
        ));
        shop.cashier.run(&Shop::charge_sql(&shop.code(&member), "1.00", ""));
    }
    shop.db.without_books();
}

/// A right that is missing is the owner's of the tables, not the caller's, and the answer says so.
#[test]
fn a_right_that_is_missing_is_not_the_callers() {
    let shop = Shop::open();
    let member = shop.member("100.00");
    let charge = Shop::charge_sql(&shop.code(&member), "1.00", "");
    for (right, table) in
        [("update", "app.personal_cards"), ("select", "app.merchants"), ("insert", "app.point_ledger_{m}")]
    {
        let m = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
        let table = table.replace("{m}", &m);
        shop.superuser.run(&format!("revoke {right} on {table} from mps_owner"));
        let failure = shop.cashier.failure_moving_nothing(&charge);
        assert_eq!(failure.code, "42501");
        assert!(failure.message.contains(table.split_once('.').expect("a schema").1), "{failure:?}");
        assert!(failure.detail.contains("not the caller") && failure.hint.contains("health"), "{failure:?}");
        let health = shop.superuser.value("select detail from app.health() where check_name = 'tables'");
        assert_eq!(health, format!("mps_owner may not {} {table}: GRANT it", right.to_uppercase()));
        shop.superuser.run(&format!("grant {right} on {table} to mps_owner"));
    }
}

/// Ways to set tables up that stop calls or lose rows, and how health() begins to say so.
const PROBLEMS: &[(&str, &str)] = &[
    ("alter sequence app.member_no_seq set unlogged", "app.member_no_seq is UNLOGGED"),
    ("alter table app.idempotency_keys set unlogged", "app.idempotency_keys is UNLOGGED"),
    ("alter table app.transactions_{m} set unlogged", "app.transactions_{m} is UNLOGGED"),
    ("alter table audit.event_log detach partition audit.event_log_{m}", "audit.event_log_{m} is detached"),
    ("revoke update, select on app.settings from mps_owner", "mps_owner may not SELECT, UPDATE app.settings"),
    (
        "alter table app.membership_levels disable trigger audited",
        "a trigger of app.membership_levels that mps relies on",
    ),
    ("alter table app.personal_cards disable trigger all", "a trigger of app.personal_cards that mps relies on"),
    (
        "alter table app.membership_levels enable replica trigger audited",
        "a trigger of app.membership_levels that mps relies on",
    ),
    ("drop trigger mps_count_recharge on app.transactions", "app.transactions lacks its trigger mps_count_recharge"),
    (
        "drop trigger mps_refuse_old_claim on app.external_orders",
        "app.external_orders lacks its trigger mps_refuse_old_claim",
    ),
    (
        "drop trigger mps_count_recharge on app.transactions; create trigger mps_count_recharge after insert on app.transactions \
         for each row execute function suppress_redundant_updates_trigger()",
        "trigger mps_count_recharge of app.transactions is not the one of mps",
    ),
    (
        "alter table app.transactions_{m} disable trigger mps_count_recharge",
        "a trigger of app.transactions_{m} that mps relies on",
    ),
    (
        "alter table app.personal_cards replica identity nothing; create publication p for table app.personal_cards",
        "app.personal_cards is in publication p without a replica identity",
    ),
    (
        "alter table app.transactions_{m} replica identity nothing; create publication p for table app.transactions",
        "app.transactions_{m} is in publication p without a replica identity",
    ),
    (
        "create publication p for table app.personal_cards (card_no)",
        "app.personal_cards is in publication p with a column list",
    ),
    (
        "create publication p for table app.personal_cards where (balance > 0)",
        "app.personal_cards is in publication p with a row filter",
    ),
];

#[test]
fn health_names_what_stops_calls_or_loses_rows() {
    let shop = Shop::open();
    shop.member("10.00");
    let session = &shop.superuser;
    let m = session.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    let tables = "select ok, detail from app.health() where check_name = 'tables'";
    assert_eq!(session.row(tables).values(), ["t", "as mps needs them"]);
    for (done, said) in PROBLEMS {
        session.run(&format!("begin; {}", done.replace("{m}", &m)));
        let health = session.row(tables);
        let is_publication = done.contains("publication");
        let stops = is_publication.then(|| session.try_rows(&format!("update {} set id = id", said_table(said, &m))));
        session.run("rollback");
        assert_eq!(&health["ok"], "f", "{done}");
        assert!(health["detail"].starts_with(&said.replace("{m}", &m)), "{done}: {health:?}");
        assert!(stops.is_none_or(|answer| answer.is_err()), "{done} stops nothing");
    }
    // What stops nothing is nothing to tell of.
    for fine in [
        "create publication p for table app.personal_cards, app.transactions, audit.event_log",
        "create publication p for table app.personal_cards (id, balance)",
        "create publication p for table app.personal_cards where (id is not null)",
        "create publication p for table app.personal_cards where (balance > 0) with (publish = 'insert')",
        "alter table app.personal_cards replica identity full; create publication p for table app.personal_cards where (balance > 0)",
        "alter table audit.event_log_{m} replica identity nothing; create publication p for table audit.event_log",
        "create publication p for all tables",
        "create publication p for tables in schema app",
    ] {
        session.run(&format!("begin; {}", fine.replace("{m}", &m)));
        let health = session.row(tables);
        let changed = session.try_rows("update app.personal_cards set id = id");
        session.run("rollback");
        assert_eq!(health.values(), ["t", "as mps needs them"], "{fine}");
        assert!(changed.is_ok(), "{fine}: {changed:?}");
    }
}

fn said_table(said: &str, m: &str) -> String {
    said.split_once(' ').expect("a table and what of it").0.replace("{m}", m)
}

/// After the crash that UNLOGGED settings do not outlive, what answers is not another release's.
#[test]
fn settings_that_a_crash_emptied_are_named() {
    let mut shop = Shop::open();
    shop.superuser.run("alter table app.settings set unlogged; truncate app.settings");
    let failure = shop.backend.failure("select app.get_settings()");
    failure.must_be("SCHEMA_OUTDATED", "settings");
    assert!(failure.detail.contains("app.settings is UNLOGGED"), "{failure:?}");
    shop.db.without_books();
}
