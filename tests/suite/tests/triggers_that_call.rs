//! Triggers of a shop that call RPCs in the middle of an RPC: what the outer call has read may not be so any more when it
//! writes. Either both are in the books, or the outer call is refused.

use mps_tests::{Db, Session, Shop};
use std::collections::HashMap;

/// What there is for the calls below, by the name that stands for it in them.
type Names = HashMap<&'static str, String>;

/// Two personal cards with points, a lost one, payments, a recharge that waits, a company with two admins; codes that pay often.
fn stage(shop: &Shop) -> Names {
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false, "recharge_ttl_minutes": 5}')"#);
    let (ming, mei, boss) = (shop.member("1000.00"), shop.member("100.00"), shop.member("0"));
    let company = shop.company("0.900", "1000.00", &boss);
    shop.bind(&company, &ming, "admin");
    let paid = shop.charge(&ming, "50.00")["tx_no"].to_owned();
    let lost = shop.charge(&mei, "7.00")["tx_no"].to_owned();
    let waiting = shop.pending(&ming, "20.00");
    let settled = shop.pending(&ming, "30.00");
    for number in ["g-8", "g-9"] {
        shop.backend.run(&format!("select * from app.confirm_recharge('{settled}', 30.00, '{number}')"));
    }
    let suspense = shop.superuser.value("select id from app.suspense_payments");
    let withdrawn = format!("select refund_no from app.withdraw('{}', 10, 'x', 'w')", ming.card);
    let refund = shop.backend.value(&withdrawn);
    let code = shop.code(&ming);
    shop.set_card(&mei.card, "personal", "lost");
    let company_code = shop.company_code(&company, &ming);
    HashMap::from([
        ("{card}", ming.card.clone()),
        ("{member}", ming.id.to_string()),
        ("{code}", code),
        ("{paid}", paid),
        ("{lost}", mei.card.clone()),
        ("{lost_member}", mei.id.to_string()),
        ("{lost_paid}", lost),
        ("{waiting}", waiting),
        ("{suspense}", suspense),
        ("{refund}", refund),
        ("{company}", company.card.clone()),
        ("{company_no}", company.card_no),
        ("{company_code}", company_code),
        ("{boss}", boss.id.to_string()),
    ])
}

fn named(sql: &str, names: &Names) -> String {
    names.iter().fold(sql.to_owned(), |sql, (name, value)| sql.replace(name, value))
}

const CALLS: [(&str, &str); 24] = [
    ("charge", "select * from app.merchant_charge_by_qr('SHOP-001', '{code}', 3.00)"),
    ("charge once", "select * from app.merchant_charge_by_qr('SHOP-001', '{code}', 3.00, p_idempotency_key => 'once')"),
    ("company charge", "select * from app.merchant_charge_by_qr('SHOP-001', '{company_code}', 3.00)"),
    ("refund", "select * from app.merchant_refund_tx('SHOP-001', '{paid}', 30.00)"),
    ("cancellation", "select * from app.cancel_payment('SHOP-001', '{paid}')"),
    ("compensate", "select * from app.compensate_tx('{paid}', 1.00, 'x')"),
    ("compensate the lost card", "select * from app.compensate_tx('{lost_paid}', 1.00, 'x')"),
    ("take off the lost card", "select * from app.compensate_tx('{lost_paid}', -1.00, 'x')"),
    ("confirm", "select * from app.confirm_recharge('{waiting}', 20.00, 'g-1')"),
    ("resolve", "select * from app.resolve_suspense({suspense}, 'credited', 'x', '{card}')"),
    ("fail", "select * from app.fail_recharge('{waiting}', 'x')"),
    ("recharge", "select * from app.user_recharge_personal_card('{card}', 2.00, 'cash')"),
    ("points", "select * from app.adjust_points('{card}', 5000, 'x')"),
    ("points of the lost card", "select * from app.adjust_points('{lost}', 5000, 'x')"),
    ("new code", "select * from app.rotate_card_qr('{card}')"),
    ("new company code", "select * from app.rotate_card_qr('{company}', 'enterprise', '{member}')"),
    ("freeze", "select app.set_card_status('{card}', 'personal', 'frozen', 'x')"),
    ("expire", "select app.set_card_expiry('{card}', 'personal', now(), 'x')"),
    ("suspend", "select app.set_member_status('{member}', 'suspended', 'x')"),
    ("unbind", "select app.enterprise_remove_member('{company_no}', '{boss}')"),
    ("withdraw", "select * from app.withdraw('{card}', 900.00, 'x', 'k')"),
    ("paid out", "select * from app.confirm_withdrawal('{refund}', 10.00)"),
    ("not paid out", "select * from app.fail_withdrawal('{refund}', 'x')"),
    ("replace", "select * from app.replace_card('{lost}', 'x')"),
];

/// Calls that are tried as the outer one only.
const OUTER_ONLY: [(&str, &str); 3] = [
    ("unbind the other", "select app.enterprise_remove_member('{company_no}', '{member}')"),
    ("demote", "select app.enterprise_add_member('{company_no}', '{member}', 'member')"),
    ("levels", "select app.recompute_levels_batch(null)"),
];

/// Where the triggers are.
const HOOKS: [(&str, &str); 15] = [
    ("app.personal_cards", "after update"),
    ("app.personal_cards", "before update"),
    ("app.personal_cards", "after insert"),
    ("app.transactions", "after insert"),
    ("app.transactions", "before insert"),
    ("app.transactions", "after update"),
    ("app.point_ledger", "after insert"),
    ("app.enterprise_cards", "after update"),
    ("app.enterprise_card_bindings", "after update"),
    ("app.enterprise_card_bindings", "before delete"),
    ("app.member_profiles", "after update"),
    ("app.suspense_payments", "after update"),
    ("app.withdrawals", "after insert"),
    ("app.withdrawals", "after update"),
    ("audit.event_log", "after insert"),
];

/// What must hold, as far as it is asked after every pair of calls.
const HOLDS: &str = "select 'level of ' || c.card_no from app.personal_cards c where not exists (select from \
        (select l.level, l.discount from app.membership_levels l where l.min_points <= c.points order by l.min_points desc limit 1) l \
        where l.level = c.level and l.discount = c.discount) \
    union all select 'no admin' where not exists (select from app.enterprise_card_bindings where role = 'admin') \
    union all select 'expired, and active: ' || c.card_no from app.personal_cards c where c.expires_at <= now() and c.status = 'active' \
    union all select 'balance of ' || c.card_no from (select id, card_no, balance, card_seq from app.personal_cards \
            union all select id, card_no, balance, card_seq from app.enterprise_cards) c \
        left join (select card_id, sum(case when tx_type in ('payment', 'withdrawal') then -final_amount else final_amount end) as sum, count(*) as n \
            from app.transactions where status = 'completed' group by card_id) m on m.card_id = c.id \
        where c.balance <> coalesce(m.sum, 0) or c.card_seq <> coalesce(m.n, 0) \
    union all select 'points of ' || c.card_no from app.personal_cards c \
        left join (select card_id, sum(change) as sum, count(*) as n from app.point_ledger group by card_id) m on m.card_id = c.id \
        where c.points <> coalesce(m.sum, 0) or c.point_seq <> coalesce(m.n, 0) \
    union all select 'refunds of ' || t.tx_no from app.transactions t where t.tx_type = 'payment' and t.refunded_amount <> \
        (select coalesce(sum(r.final_amount), 0) from app.transactions r where r.original_tx_no = t.tx_no and r.tx_type = 'refund') \
    union all select 'withdrawn of ' || t.tx_no from app.transactions t join (select source_tx_no, sum(amount) as sum from app.withdrawals \
            where status <> 'returned' group by 1) w on w.source_tx_no = t.tx_no where w.sum > t.final_amount \
    union all select 'parts of ' || t.tx_no from app.transactions t where t.tx_type = 'withdrawal' and t.final_amount <> \
        (select coalesce(sum(w.amount), 0) from app.withdrawals w where w.tx_no = t.tx_no)";

/// Hangs a trigger on a table that makes a call, at most once. What it comes to goes on to the outer call, or is swallowed.
fn hang(session: &Session, table: &str, when: &str, call: &str, swallows: bool) {
    let call = call.trim_start_matches("select ");
    let swallow = if swallows { "exception when others then null;" } else { "" };
    session.run(&format!(
        "create or replace function public.hook() returns trigger language plpgsql as $hook$ begin \
            if current_setting('hook.calls', true) is distinct from '1' then \
                perform set_config('hook.calls', '1', true); \
                begin perform {call}; perform set_config('hook.worked', '1', true); {swallow} end; \
            end if; \
            return coalesce(new, old); end $hook$; \
         create trigger hook {when} on {table} for each row execute function public.hook()"
    ));
}

/// What came of an outer call with a trigger in it.
#[derive(Debug, Default)]
struct Tally {
    both: usize,
    outer_only: usize,
    refused: usize,
}

/// Calls with calls in them: all where both are about the same thing, and then the books as a whole are asked; of the others
/// every third.
fn try_all(swallows: bool) -> Tally {
    let shop = Shop::open();
    let names = stage(&shop);
    let session = &shop.superuser;
    session.run("set statement_timeout = '20s'");
    let mut tally = Tally::default();
    let mut pairs = usize::from(swallows);
    for (outer, outer_sql) in CALLS.iter().chain(&OUTER_ONLY) {
        for (table, when) in HOOKS {
            for (inner, inner_sql) in CALLS {
                let is_close =
                    *outer == inner || (*outer == "replace" && inner_sql.contains("{lost")) || inner == "unbind";
                pairs += 1;
                if !is_close && !pairs.is_multiple_of(3) {
                    continue;
                }
                session.run("begin");
                hang(session, table, when, &named(inner_sql, &names), swallows);
                session.run("savepoint before");
                let answer = session.try_rows(&named(outer_sql, &names));
                let what = format!("{outer}, and {inner} {when} on {table}: {answer:?}");
                match &answer {
                    Ok(_) if session.value("select current_setting('hook.calls', true)") != "1" => {
                        // It writes nothing there, whatever is called.
                        session.run("rollback");
                        break;
                    }
                    Ok(_) if session.value("select current_setting('hook.worked', true)") == "1" => tally.both += 1,
                    Ok(_) => tally.outer_only += 1,
                    Err(failure) => {
                        assert!(failure.code.starts_with("PT") || failure.code == "27000", "{what}");
                        tally.refused += 1;
                        session.run("rollback");
                        continue;
                    }
                }
                assert_eq!(session.column(HOLDS), [] as [String; 0], "{what}");
                if is_close {
                    assert_eq!(Db::problems_in(session), [] as [String; 0], "{what}");
                    let books = "select check_name || ': ' || detail from app.verify_books() where ok is not true";
                    assert_eq!(session.column(books), [] as [String; 0], "{what}");
                }
                session.run("rollback");
            }
        }
    }
    tally
}

#[test]
fn whatever_a_trigger_calls_is_in_the_books_or_the_outer_call_is_refused() {
    let tally = try_all(false);
    assert!(tally.both > 300 && tally.refused > 50, "{tally:?}");
}

#[test]
fn whatever_a_trigger_calls_and_swallows_is_in_the_books_or_the_outer_call_is_refused() {
    let tally = try_all(true);
    assert!(tally.both > 300 && tally.refused > 10, "{tally:?}");
}

/// Seen: the 1.00 was in the transactions, and not in any balance.
#[test]
fn what_a_trigger_credits_while_a_card_is_replaced_is_on_the_new_card() {
    for (table, when) in [("app.transactions", "after insert"), ("app.point_ledger", "after insert")] {
        let shop = Shop::open();
        let names = stage(&shop);
        hang(
            &shop.superuser,
            table,
            when,
            &named("select * from app.compensate_tx('{lost_paid}', 1.00, 'x')", &names),
            false,
        );
        let new = shop.backend.row(&format!("select * from app.replace_card('{}', 'x')", names["{lost}"]))["card_id"]
            .to_owned();
        assert_eq!((shop.balance(&names["{lost}"]), shop.balance(&new)), ("0.00".into(), "94.00".into()), "{table}");
        assert_eq!(shop.count("tx_type = 'adjustment' and final_amount = 1.00"), "1");
        let books = "select check_name from app.verify_books() where ok is not true";
        assert_eq!(shop.superuser.column(books), [] as [String; 0], "{table}");
    }
}

/// A refund of the payment that is just being refunded does not go by the sum of before.
#[test]
fn a_refund_in_a_refund_is_refused_and_moves_nothing() {
    let shop = Shop::open();
    let names = stage(&shop);
    let refund = named("select * from app.merchant_refund_tx('SHOP-001', '{paid}', 30.00)", &names);
    hang(&shop.superuser, "app.transactions", "after insert", &refund, false);
    let failure = shop.backend.refused("STATUS_CONFLICT", &refund);
    assert!(failure.detail.contains("a trigger changed the row"), "{failure:?}");
    // Also under the levels that go by statements.
    for level in ["repeatable read", "serializable"] {
        shop.backend.run(&format!("begin isolation level {level}"));
        shop.backend.failure(&refund).must_be("STATUS_CONFLICT", level);
        shop.backend.run("rollback");
    }
}

#[test]
fn a_code_that_a_trigger_makes_while_the_one_before_pays_is_good() {
    let shop = Shop::open();
    let boss = shop.member("100.00");
    let company = shop.company("1.000", "100.00", &boss);
    let calls = [
        (format!("app.rotate_card_qr('{}')", boss.card), shop.code(&boss)),
        (
            format!("app.rotate_card_qr('{}', 'enterprise', '{}')", company.card, boss.id),
            shop.company_code(&company, &boss),
        ),
    ];
    shop.superuser.run("create table public.made (code text); grant all on public.made to public");
    for (call, code) in calls {
        shop.superuser.run(&format!(
            "create or replace function public.next() returns trigger language plpgsql as $$ begin \
                insert into public.made select qr_plain from {call}; return null; end $$; \
             create trigger next after insert on app.transactions for each row execute function public.next()"
        ));
        shop.backend.run(&Shop::charge_sql(&code, "1.00", ""));
        shop.superuser.run("drop trigger next on app.transactions");
        let made = shop.superuser.value("delete from public.made returning code");
        shop.cashier.run(&Shop::charge_sql(&made, "1.00", ""));
    }
}

/// A row-level trigger that keeps the row as it was is not taken for success.
#[test]
fn a_card_that_a_trigger_keeps_from_being_written_is_no_movement() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let code = shop.code(&ming);
    shop.superuser.run(
        "create function public.keep() returns trigger language plpgsql as $$ begin return null; end $$; \
         create trigger keep before update on app.personal_cards for each row execute function public.keep()",
    );
    shop.cashier.refused("STATUS_CONFLICT", &Shop::charge_sql(&code, "1.00", ""));
    shop.backend
        .refused("STATUS_CONFLICT", &format!("select app.set_card_status('{}', 'personal', 'frozen', 'x')", ming.card));
}

/// More calls that write, for the trigger below.
const MORE_CALLS: [(&str, &str); 12] = [
    (
        "ask for a known order",
        "select * from app.user_recharge_personal_card('{card}', 2.00, 'cash', null, '{}', 'known', 'new key')",
    ),
    ("bind", "select app.enterprise_add_member('{company_no}', '{lost_member}', 'member')"),
    ("suspend who pays by company", "select app.set_member_status('{boss}', 'suspended', 'x')"),
    ("register", "select * from app.register_member('x')"),
    ("a merchant", "select * from app.create_merchant('SHOP-9', 'x')"),
    ("a company", "select * from app.create_enterprise_card('x', 0.9)"),
    ("close the shop", "select app.set_merchant_status('SHOP-001', false, 'x')"),
    ("hire", "select app.set_merchant_user('SHOP-001', '{member}')"),
    ("dismiss", "select app.remove_merchant_user('SHOP-001', '{cashier}')"),
    ("settings", r#"select app.update_settings('{"qr_ttl_seconds": 60}')"#),
    ("send back", "select * from app.resolve_suspense({suspense}, 'refunded', 'x')"),
    ("pay twice", "select * from app.confirm_recharge('{settled}', 30.00, 'g-10')"),
];

/// A row that a trigger keeps from being written, wherever and by whatever call, is never answered as done.
#[test]
fn no_call_takes_a_row_for_written_that_was_kept() {
    let shop = Shop::open();
    let mut names = stage(&shop);
    names.insert("{cashier}", shop.cashier_id.to_string());
    let settled = "select tx_no from app.transactions where gateway_trade_no = 'g-8'";
    names.insert("{settled}", shop.superuser.value(settled));
    shop.backend.run(&named(
        "select * from app.user_recharge_personal_card('{card}', 2.00, 'cash', null, '{}', 'known')",
        &names,
    ));
    let session = &shop.superuser;
    session.run(
        "set statement_timeout = '20s'; create sequence public.kept; grant usage on sequence public.kept to public;
         create function public.keep() returns trigger language plpgsql set search_path = public, pg_temp as
             'begin perform nextval(''kept''); return null; end'",
    );
    let tables = session.column(
        "select c.oid::regclass::text from pg_class c where c.relkind in ('r', 'p') and not c.relispartition \
         and c.relnamespace in ('app'::regnamespace, 'audit'::regnamespace) order by 1",
    );
    let (mut tried, mut taken_for_written) = (0, Vec::new());
    for (name, call) in CALLS.iter().chain(&OUTER_ONLY[..2]).chain(&MORE_CALLS) {
        let sql = named(call, &names);
        session.run("begin");
        session.run(&sql);
        session.run("rollback");
        for (table, event) in tables.iter().flat_map(|t| ["insert", "update", "delete"].map(|event| (t, event))) {
            let before = session.value("select (last_value, is_called) from public.kept");
            session.run("begin");
            session.run(&format!(
                "create trigger keep before {event} on {table} for each row execute function public.keep()"
            ));
            let answer = session.try_rows(&sql);
            session.run("rollback");
            if session.value("select (last_value, is_called) from public.kept") == before {
                continue;
            }
            // What is known is not needed once more.
            let is_known = event == "insert"
                && answer
                    .as_ref()
                    .is_ok_and(|rows| rows.iter().any(|r| r.names().contains(&"replayed") && &r["replayed"] == "t"));
            if is_known {
                continue;
            }
            tried += 1;
            if !answer.as_ref().is_err_and(|failure| failure.message == "STATUS_CONFLICT") {
                taken_for_written.push(format!("{name}, {event} on {table}: {answer:?}"));
            }
        }
    }
    assert!(taken_for_written.is_empty(), "{tried} tried\n{}", taken_for_written.join("\n"));
    assert!(tried > 100, "{tried}");
}
