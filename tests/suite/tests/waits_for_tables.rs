//! What is done to a table while a call waits for it, or for a row: the call goes by what there is then, not by what it asked at
//! its beginning.

use mps_tests::{Failure, Member, Row, Session, Shop, Waiting};
use std::thread;
use std::time::Duration;

type Answer = Result<Vec<Row>, Failure>;

/// Longer than what counts as no wait.
const A_WHILE: Duration = Duration::from_millis(10);

/// A shop whose codes pay often, a member, and a payment of it.
fn shop_with_a_payment() -> (Shop, Member, String) {
    let shop = Shop::open();
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    let ming = shop.member("1000.00");
    let paid = shop.charge(&ming, "100.00")["tx_no"].to_owned();
    (shop, ming, paid)
}

/// Calls that write into this month, each with what it may do again.
fn calls(shop: &Shop, ming: &Member, paid: &str) -> Vec<String> {
    vec![
        Shop::charge_sql(&shop.code(ming), "1.00", ""),
        Shop::refund_sql(paid, "1.00", ""),
        format!("select * from app.user_recharge_personal_card('{}', 1.00, 'cash')", ming.card),
        format!("select * from app.adjust_points('{}', 1, 'x')", ming.card),
    ]
}

/// A backend that has made the call before: what there is to know it knows.
fn warm(shop: &Shop, sql: &str) -> Session {
    let backend = shop.db.backend();
    backend.run(sql);
    backend
}

/// What comes of a call that comes to wait for `held`, which is committed once `meanwhile` is done.
#[track_caller]
fn wait(shop: &Shop, sql: &str, held: &str, meanwhile: &str) -> Answer {
    let (caller, holder) = (warm(shop, sql), shop.db.superuser());
    holder.run("begin");
    holder.run(held);
    let waiting = Waiting::start(caller, &shop.superuser, sql.to_owned());
    thread::sleep(A_WHILE);
    shop.superuser.run(meanwhile);
    holder.run("commit");
    waiting.end()
}

/// The answer is a refusal that names a table and what to do.
#[track_caller]
fn must_name(answer: Answer, table: &str, remedy: &str, doing: &str) {
    let failure = answer.expect_err(doing);
    failure.must_be("STATUS_CONFLICT", doing);
    assert!(failure.detail.contains(&format!("{table} ")) && failure.hint.contains(remedy), "{doing}: {failure:?}");
}

#[test]
fn nothing_is_written_into_a_month_that_was_detached_meanwhile() {
    let (shop, ming, paid) = shop_with_a_payment();
    let m = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    let attach = |table: &str| {
        format!(
            "do $$ begin execute format('alter table {table} attach partition {table}_{m} for values from (%L) to (%L)', \
                 date_trunc('month', now(), 'UTC'), date_trunc('month', now(), 'UTC') + interval '1 month'); end $$"
        )
    };
    let card = format!("select from app.personal_cards where id = '{}' for update", ming.card);
    for table in ["app.transactions", "app.point_ledger", "audit.event_log"] {
        let detach = format!("alter table {table} detach partition {table}_{m}");
        for sql in calls(&shop, &ming, &paid) {
            let writes_there = match table {
                "app.transactions" => !sql.contains("adjust_points"),
                "app.point_ledger" => !sql.contains("recharge"),
                _ => true,
            };
            if !writes_there {
                continue;
            }
            let partition = format!("{table}_{m}");
            // It had to wait for the table itself, or for a row.
            must_name(wait(&shop, &sql, &detach, "select 1"), &partition, "ATTACH", &format!("{sql} while {detach}"));
            shop.superuser.run(&attach(table));
            // A refund has the payment before it waits for the card: nobody detaches that.
            let ways: &[&str] = if sql.contains("refund") { &[] } else { &["", " concurrently"] };
            for how in ways {
                let answer = wait(&shop, &sql, &card, &format!("{detach}{how}"));
                must_name(answer, &partition, "ATTACH", &format!("{sql} waits, {detach}{how}"));
                shop.superuser.run(&attach(table));
            }
            warm(&shop, &sql);
        }
    }
}

/// A payment of a month that is detached by the time it is to be refunded; on an older snapshot, too.
#[test]
fn nothing_is_refunded_in_a_month_that_was_detached_meanwhile() {
    let (mut shop, _, paid) = shop_with_a_payment();
    shop.db.without_books();
    let refused = |paid: &str, month: &str| {
        let m = shop.superuser.value(&format!("select to_char({month} at time zone 'UTC', 'YYYYMM')"));
        for level in ["read committed", "repeatable read", "serializable"] {
            let sql = Shop::refund_sql(paid, "1.00", "");
            let caller = warm(&shop, &sql);
            caller.run(&format!("begin isolation level {level}; select count(*) from app.error_codes"));
            let holder = shop.db.superuser();
            holder.run(&format!("begin; alter table app.transactions detach partition app.transactions_{m}"));
            let waiting = Waiting::start(caller, &shop.superuser, sql);
            holder.run("commit");
            must_name(waiting.end(), &format!("app.transactions_{m}"), "ATTACH", level);
            shop.superuser.run(&format!(
                "do $$ begin execute format('alter table app.transactions attach partition app.transactions_{m} for values from (%L) to (%L)', \
                     {month}, {month} + interval '1 month'); end $$"
            ));
        }
    };
    refused(&paid, "date_trunc('month', now(), 'UTC')");
    // The payment is of another month than its refund, so nothing else is written where it is.
    shop.a_month_passes();
    let paid = shop.superuser.value("select tx_no from app.transactions where tx_type = 'payment'");
    refused(&paid, "date_trunc('month', date_trunc('month', now(), 'UTC') - interval '1 day', 'UTC')");
}

#[test]
fn what_was_hidden_meanwhile_is_named() {
    let (shop, ming, paid) = shop_with_a_payment();
    let charge = Shop::charge_sql(&shop.code(&ming), "1.00", "");
    for (table, sql) in [
        ("app.personal_cards", charge.clone()),
        ("app.member_profiles", charge.clone()),
        ("app.personal_cards", format!("select * from app.adjust_points('{}', 1, 'x')", ming.card)),
        ("app.personal_cards", format!("select * from app.card_statement('{}')", ming.card)),
        ("app.personal_cards", Shop::refund_sql(&paid, "1.00", "")),
    ] {
        let answer = wait(&shop, &sql, &format!("alter table {table} force row level security"), "select 1");
        must_name(answer, table, "NO FORCE", &sql);
        shop.superuser.run(&format!("alter table {table} no force row level security"));
        warm(&shop, &sql);
    }
    // What it reads again after its wait.
    let card = format!("select from app.personal_cards where id = '{}' for update", ming.card);
    let answer = wait(&shop, &charge, &card, "alter table app.settings force row level security");
    must_name(answer, "app.settings", "NO FORCE", &charge);
    shop.superuser.run("alter table app.settings no force row level security");
}
