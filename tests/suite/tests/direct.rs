//! Rows that go into the tables without a statement do what a statement would: whatever a DBA hangs on the tables works,
//! every index has every row, and what must be unique is, however many try at the same instant.

use mps_tests::{NULL, Shop};
use std::sync::Barrier;
use std::thread;

fn month(shop: &Shop) -> String {
    shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')")
}

/// Everything that moves money once: charge with key and order, refund, recharge, correction, points.
fn trade(shop: &Shop) -> String {
    let member = shop.member("1000.00");
    let keyed = Shop::charge_sql(&shop.code(&member), "100.00", "'tea', '{\"table\": 4}', 'key-1', 'order-1'");
    let paid = shop.cashier.row(&keyed)["tx_no"].to_owned();
    shop.refund(&paid, "40.00");
    shop.backend.run(&format!("select * from app.compensate_tx('{paid}', 5.00, 'x', 'key-2')"));
    shop.backend.run(&format!("select * from app.adjust_points('{}', 7, 'x', 'key-3')", member.card));
    paid
}

#[test]
fn triggers_of_others_see_every_row() {
    let shop = Shop::open();
    let m = month(&shop);
    shop.superuser.run("create schema hooks; create table hooks.seen (tab text, row jsonb)");
    shop.superuser.run(
        "create function hooks.see() returns trigger language plpgsql security definer as $$ begin insert into hooks.seen \
            values (tg_table_name, to_jsonb(new)); return new; end $$",
    );
    let tables = [
        format!("app.transactions_{m}"),
        format!("app.point_ledger_{m}"),
        format!("audit.event_log_{m}"),
        "app.idempotency_keys".into(),
        "app.external_orders".into(),
    ];
    for (i, table) in tables.iter().enumerate() {
        let when = if i % 2 == 0 { "after" } else { "before" };
        shop.superuser
            .run(&format!("create trigger see {when} insert on {table} for each row execute function hooks.see()"));
    }
    let events = shop.superuser.value("select count(*) from audit.event_log");
    trade(&shop);
    for table in &tables {
        let before = if table.starts_with("audit") { events.as_str() } else { "0" };
        let name = table.split('.').next_back().unwrap();
        let seen = shop.superuser.value(&format!("select count(*) from hooks.seen where tab = '{name}'"));
        assert_eq!(seen, shop.superuser.value(&format!("select count(*) - {before} from {table}")), "{table}");
        assert_ne!(seen, "0", "{table}");
    }
    // A trigger that refuses is obeyed, and nothing is half done.
    shop.superuser.run(
        "create function hooks.refuse() returns trigger language plpgsql as $$ begin raise exception 'closed for stocktaking'; end $$",
    );
    shop.superuser.run(&format!(
        "create trigger refuse before insert on {} for each statement execute function hooks.refuse()",
        tables[2]
    ));
    let member = shop.superuser.value("select id from app.personal_cards limit 1");
    let failure = shop
        .backend
        .failure_moving_nothing(&format!("select * from app.user_recharge_personal_card('{member}', 1, 'cash')"));
    assert_eq!(failure.message, "closed for stocktaking");
    shop.superuser.run(&format!("drop trigger refuse on {}", tables[2]));
}

/// Triggers of ours that have nothing to do are known by what they call: whose name a trigger has says nothing.
#[test]
fn triggers_of_others_by_our_names_see_every_row() {
    for name in ["mps_count_recharge", "mps_refuse_old_claim"] {
        let shop = Shop::open();
        let m = month(&shop);
        shop.superuser.run(
            "create schema hooks; create table hooks.seen (what text); \
             create function hooks.see() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ \
             begin insert into hooks.seen values (tg_op || ' ' || tg_table_name); return new; end $$",
        );
        // Ours make room for theirs.
        shop.superuser.run(
            "alter trigger mps_count_recharge on app.transactions rename to ours; \
             alter trigger mps_refuse_old_claim on app.external_orders rename to ours",
        );
        for (table, when) in [
            ("transactions", "before insert or update"),
            ("idempotency_keys", "before insert"),
            ("external_orders", "after insert"),
            ("personal_cards", "after update"),
            ("point_ledger", "after insert"),
        ] {
            shop.superuser
                .run(&format!("create trigger {name} {when} on app.{table} for each row execute function hooks.see()"));
        }
        trade(&shop);
        let seen = shop.superuser.column("select what from hooks.seen group by what order by what collate \"C\"");
        let all = [
            "INSERT external_orders".into(),
            "INSERT idempotency_keys".into(),
            format!("INSERT point_ledger_{m}"),
            format!("INSERT transactions_{m}"),
            "UPDATE personal_cards".into(),
            format!("UPDATE transactions_{m}"),
        ];
        assert_eq!(seen, all, "{name}");
    }
}

/// What a session keeps a plan of, it has done by a statement.
#[test]
fn as_long_as_nothing_hangs_on_the_tables_rows_go_in_without_a_statement() {
    let shop = Shop::open();
    let member = shop.member("1000.00");
    let company = shop.company("0.900", "500.00", &member);
    let (code, of_company) = (shop.code(&member), shop.company_code(&company, &member));
    let session = shop.db.superuser();
    let keyed = Shop::charge_sql(&code, "100.00", "'tea', '{\"table\": 4}', 'key-1', 'order-1'");
    let paid = session.row(&keyed)["tx_no"].to_owned();
    session.run(&Shop::refund_sql(&paid, "40.00", ""));
    session.run(&Shop::charge_sql(&of_company, "50.00", ""));
    session.run(&format!("select * from app.user_recharge_personal_card('{}', 10.00, 'cash')", member.card));
    let kept = |of: &str| {
        let sql =
            format!("select ident from pg_backend_memory_contexts where name = 'CachedPlanSource' and ident ~ '{of}'");
        session.column(&sql)
    };
    assert_ne!(kept("FROM app[.]settings"), [] as [String; 0], "plans are seen");
    let written = "app[.](transactions|personal_cards|enterprise_cards|point_ledger|idempotency_keys|external_orders)|audit[.]event_log";
    assert_eq!(kept(&format!("(INTO|UPDATE|FROM|JOIN) ({written})")), [] as [String; 0]);
}

#[test]
fn checks_columns_and_forced_security_of_others_hold() {
    let shop = Shop::open();
    let m = month(&shop);
    let member = shop.member("1000.00");
    shop.superuser.run(&format!(
        "alter table app.transactions_{m} add constraint house_limit check (tx_type <> 'payment' or final_amount < 500)"
    ));
    let failure = shop.cashier.failure_moving_nothing(&Shop::charge_sql(&shop.code(&member), "600.00", ""));
    assert_eq!(failure.code, "23514", "{failure:?}");
    shop.charge(&member, "10.00");
    shop.superuser.run(&format!("alter table app.transactions_{m} drop constraint house_limit"));

    shop.superuser.run("alter table app.transactions add column till text not null default 'till 1'");
    shop.superuser
        .run("alter table app.point_ledger add column doubled bigint generated always as (change * 2) stored");
    let paid = shop.charge(&member, "20.00")["tx_no"].to_owned();
    assert_eq!(shop.superuser.value(&format!("select till from app.transactions where tx_no = '{paid}'")), "till 1");
    assert_eq!(shop.superuser.value(&format!("select doubled from app.point_ledger where tx_no = '{paid}'")), "40");
    shop.superuser
        .run("alter table app.transactions drop column till; alter table app.point_ledger drop column doubled");
    // A dropped column leaves its place behind.
    shop.charge(&member, "30.00");

    let code = shop.code(&member);
    shop.superuser.run(&format!("alter table audit.event_log_{m} force row level security"));
    let failure = shop.cashier.refused("STATUS_CONFLICT", &Shop::charge_sql(&code, "1.00", ""));
    assert!(failure.detail.contains(&format!("audit.event_log_{m} binds its owner")), "{failure:?}");
    // What a policy lets through is written by a statement.
    shop.superuser.run(&format!("create policy through on audit.event_log_{m} to mps_owner using (true)"));
    shop.cashier.run(&Shop::charge_sql(&code, "1.00", ""));
    shop.superuser.run(&format!(
        "drop policy through on audit.event_log_{m}; alter table audit.event_log_{m} no force row level security"
    ));
    assert_eq!(shop.balance(&member.card), "939.00");
}

#[test]
fn every_index_has_every_row() {
    let shop = Shop::open();
    let m = month(&shop);
    let amcheck = shop.make_amcheck();
    shop.superuser.run(&format!("create index own_text on app.transactions_{m} (lower(tx_no)) include (reason)"));
    shop.superuser.run(&format!("create index own_part on app.transactions_{m} (reason) where reason is not null"));
    shop.superuser.run(&format!("create index own_tag on app.transactions_{m} using gin (tag)"));
    shop.superuser.run(&format!("create index own_brin on audit.event_log_{m} using brin (happened_at)"));
    let paid = trade(&shop);
    for index in shop.superuser.column(
        "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam \
         where c.relnamespace::regnamespace::text in ('app', 'audit') and c.relkind = 'i' and a.amname = 'btree'",
    ) {
        if amcheck {
            shop.superuser.run(&format!("select bt_index_check('{index}', true)"));
        }
    }
    shop.superuser.run("set enable_seqscan = off");
    let found =
        |condition: &str| shop.superuser.value(&format!("select count(*) from app.transactions_{m} where {condition}"));
    assert_eq!(found(&format!("lower(tx_no) = lower('{paid}')")), "1");
    assert_eq!(found("reason = 'tea'"), "1");
    assert_eq!(found("tag @> '{\"table\": 4}'"), "1");
    // An own index that must be unique is: the second payment with this reason is refused whole.
    shop.superuser
        .run(&format!("create unique index own_unique on app.transactions_{m} (reason) where tx_type = 'payment'"));
    let member = shop.member("10.00");
    let again = Shop::charge_sql(&shop.code(&member), "1.00", "'tea'");
    assert_eq!(shop.cashier.failure_moving_nothing(&again).code, "23505");
}

/// ON CONFLICT is about our key alone: another unique index over it raises its error, at once.
#[test]
fn a_users_unique_index_on_keys_raises_its_error() {
    let shop = Shop::open();
    let other = shop.another("SHOP-002");
    let member = shop.member("10.00");
    shop.superuser.run("create unique index own_key on app.idempotency_keys (idempotency_key)");
    shop.superuser.run("create unique index own_order on app.external_orders (order_id)");
    shop.cashier.run(&Shop::charge_sql(&shop.code(&member), "1.00", "null, '{}', 'k', 'o'"));
    for isolation in ["read committed", "repeatable read"] {
        other.run(&format!("set default_transaction_isolation = '{isolation}'; set statement_timeout = '10s'"));
        for more in ["p_idempotency_key => 'k'", "p_external_order_id => 'o'"] {
            let sql = Shop::charge_sql(&shop.code(&member), "1.00", more).replace("SHOP-001", "SHOP-002");
            assert_eq!(other.failure_moving_nothing(&sql).code, "23505", "{isolation}: {more}");
        }
    }
}

/// Only the month that is gone is said to be archived; what a user's own trigger cannot find is the user's.
#[test]
fn a_table_that_a_users_trigger_misses_is_not_taken_for_an_archived_month() {
    let shop = Shop::open();
    let m = month(&shop);
    let member = shop.member("10.00");
    let paid = shop.charge(&member, "5.00")["tx_no"].to_owned();
    shop.superuser.run(
        "create function public.lost() returns trigger language plpgsql as $$ begin perform from nowhere; \
        return new; end $$",
    );
    shop.superuser.run(&format!(
        "create trigger lost before update on app.transactions_{m} for each row execute function public.lost()"
    ));
    let failure = shop.cashier.failure_moving_nothing(&Shop::refund_sql(&paid, "1.00", ""));
    assert_eq!((failure.code.as_str(), failure.message.contains("nowhere")), ("42P01", true), "{failure:?}");
}

#[test]
fn a_read_only_transaction_refuses() {
    let shop = Shop::open();
    let member = shop.member("10.00");
    let charge = Shop::charge_sql(&shop.code(&member), "1.00", "null, '{}', 'k'");
    shop.cashier.run("begin read only");
    assert_eq!(shop.cashier.failure_moving_nothing(&charge).code, "25006");
    shop.cashier.run("rollback");
    assert_eq!(&shop.cashier.row(&charge)["replayed"], "f");
}

/// Rows that lose the race for a key are taken back: hundreds of rounds, because the moment between the look for the key and
/// its entry is short.
#[test]
fn one_key_many_times_at_the_same_instant_pays_once() {
    const ROUNDS: usize = 150;
    const CLERKS: usize = 6;
    let shop = Shop::open();
    let amcheck = shop.make_amcheck();
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    let members: Vec<_> = (0..2).map(|_| shop.member("1000.00")).collect();
    let codes: Vec<String> = members.iter().map(|m| shop.code(m)).collect();
    let mut clerks: Vec<_> = (0..CLERKS).map(|_| shop.db.user(shop.cashier_id)).collect();
    // Some go by the statement, because they compare with a snapshot.
    for clerk in &clerks[..2] {
        clerk.run("set default_transaction_isolation = 'repeatable read'");
    }
    let (mut first, mut again, mut reused, mut repeated) = (0, 0, 0, 0);
    for round in 0..ROUNDS {
        // In every other round half of them charge another card, with the same key.
        let calls: Vec<String> = (0..CLERKS)
            .map(|n| {
                Shop::charge_sql(
                    &codes[n % 2 * (round % 2)],
                    "0.01",
                    &format!("null, '{{}}', 'k-{round}', 'o-{round}'"),
                )
            })
            .collect();
        let start = &Barrier::new(CLERKS);
        let answers: Vec<_> = thread::scope(|scope| {
            let asked: Vec<_> = clerks
                .iter_mut()
                .zip(&calls)
                .map(|(clerk, sql)| {
                    scope.spawn(move || {
                        start.wait();
                        clerk.try_row(sql)
                    })
                })
                .collect();
            asked.into_iter().map(|a| a.join().expect("a clerk")).collect()
        });
        let paid = answers.iter().filter(|a| a.as_ref().is_ok_and(|r| &r["replayed"] == "f")).count();
        assert!(paid <= 1, "{answers:?}");
        for answer in answers {
            match answer {
                Ok(row) if &row["replayed"] == "t" => again += 1,
                Ok(_) => first += 1,
                Err(e) if e.message == "IDEMPOTENCY_KEY_REUSED" && round % 2 == 1 => reused += 1,
                Err(e) if e.code == "40001" => repeated += 1,
                Err(e) => panic!("{e:?}"),
            }
        }
    }
    // A snapshot that was too old for the card as well may leave a round without a payment.
    assert!(first > ROUNDS / 2, "{first} paid");
    assert!(again > 0 && reused > 0, "{again} replayed, {reused} refused");
    for (table, column) in [("app.idempotency_keys", "idempotency_key"), ("app.external_orders", "order_id")] {
        let of = format!("{column} like '_-%'");
        assert_eq!(shop.superuser.value(&format!("select count(*) from {table} where {of}")), first.to_string());
        assert_eq!(
            shop.superuser
                .value(&format!("select max(n) from (select count(*) as n from {table} group by {column}) x")),
            "1"
        );
    }
    drop(clerks);
    let taken_back = "select n_tup_del from pg_stat_user_tables where relid = 'app.idempotency_keys'::regclass";
    eprintln!(
        "{first} paid, {again} replayed, {reused} refused, {repeated} failed to serialise, rows taken back: {}",
        shop.superuser.value(taken_back)
    );
    for index in ["app.idempotency_keys_pkey", "app.external_orders_pkey"] {
        assert_ne!(shop.superuser.value(&format!("select to_regclass('{index}')")), NULL);
        if amcheck {
            shop.superuser.run(&format!("select bt_index_check('{index}', true)"));
        }
    }
}
