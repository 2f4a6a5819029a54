//! What strangers found when they were let loose on every RPC, level and path; each of its kind.

use mps_tests::{Db, Member, SHOP, Session, Shop, Waiting, claims, nobody, q};

/// A session of a client that has SQL of its own and may make temporary objects.
fn client(shop: &Shop) -> Session {
    shop.superuser.run(&format!("grant temporary on database {} to app_role", shop.db.name));
    shop.superuser.run("select sec.grant_api('app_role', 'client')");
    shop.db.login("app_role")
}

/// A table of the shop's that ours take along, with a trigger that does not fix its path: who calls could lead it astray.
#[test]
fn what_a_foreign_key_takes_along_is_code_of_others_on_the_tables() {
    let shop = Shop::open();
    let (boss, ming) = (shop.member("0"), shop.member("0"));
    let company = shop.company("0.9", "10", &boss);
    shop.bind(&company, &ming, "member");
    let s = &shop.superuser;
    s.run(
        "create schema dba;
         create table dba.notes (card uuid, member uuid,
             foreign key (card, member) references app.enterprise_card_bindings on delete cascade);
         create table dba.more (card uuid, member uuid, unique (card, member));
         create function dba.logged() returns trigger language plpgsql as
             'begin insert into blacklog values (''x''); return old; exception when undefined_table then return old; end';
         create trigger logged before delete on dba.notes for each row execute function dba.logged()",
    );
    s.run(&format!("insert into dba.notes values ('{}', '{}')", company.card, ming.id));
    let rule =
        "select detail from sec.security_check() where rule = 'code of others on the tables fixes its search_path'";
    assert_eq!(s.value(rule), "trigger logged on table dba.notes runs dba.logged()");
    let session = client(&shop);
    session.run(&format!("select set_config('request.jwt.claims', {}, false)", q(claims("x", Some(ming.id)))));
    session.run(
        "create temp table blacklog (t text);
         create function pg_temp.fire() returns trigger language plpgsql as 'begin raise exception ''I am %'', current_user; end';
         create trigger fire before insert on blacklog for each row execute function pg_temp.fire()",
    );
    let leave = format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, ming.id);
    session.refused("STATUS_CONFLICT", &leave);
    s.run("create table dba.blacklog (t text); alter function dba.logged() set search_path = dba, pg_temp");
    assert_eq!(s.value(rule), "ok");
    assert_eq!(session.value(&leave), "t");
}

#[test]
fn careless_code_hides_nowhere() {
    let db = Db::new();
    let s = db.superuser();
    s.run(
        "create schema dba;
         create function dba.careless(text) returns boolean language plpgsql immutable as 'begin return true; end';
         create function dba.atomic(t text) returns boolean language sql immutable begin atomic select dba.careless(t); end;
         create function dba.compared(integer, integer) returns integer language plpgsql immutable as 'begin return 0; end';
         create function dba.twice(text) returns boolean language plpgsql immutable set search_path = pg_temp, dba, pg_temp as 'begin return true; end';
         create domain dba.d as text check (dba.careless(value)); create domain dba.dd as dba.d; create type dba.c as (x dba.dd)",
    );
    let found = "select count(*) from sec.security_check() where rule = 'code of others on the tables fixes its search_path' and not ok";
    assert_eq!(s.value(found), "0");
    for careless in [
        "alter table app.member_profiles add check (dba.atomic(name))",
        "alter table app.member_profiles add check (dba.twice(name))",
        "create statistics dba.s on (dba.careless(name)), (length(name)) from app.member_profiles",
        "alter table app.member_profiles add column x dba.d",
        "alter table app.member_profiles add column x dba.dd",
        "alter table app.member_profiles add column x dba.d[]",
        "alter table app.member_profiles add column x dba.c",
        "create function dba.filled() returns text language plpgsql as 'begin return 1; end'; \
             create domain dba.e as text default dba.filled(); alter table app.member_profiles add column x dba.e",
        "create operator class dba.o for type integer using btree as operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, \
             function 1 dba.compared(integer, integer); \
         create index on app.merchants (id dba.o)",
    ] {
        s.run("begin");
        s.run(careless);
        assert_eq!(s.value(found), "1", "{careless}");
        s.run("rollback");
    }
}

/// A shop whose DBA is about to put code on the tables that looks a name up where the caller's temporary tables are found first.
fn careless_shop() -> (Shop, Member) {
    let shop = Shop::open();
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    shop.superuser.run(
        "create schema dba; grant usage on schema dba to public;
         create table public.noted (x integer); grant insert on public.noted to public;
         create function dba.note() returns trigger language plpgsql as 'begin insert into noted values (1); return new; end';
         create function dba.checked(integer) returns boolean language plpgsql as 'begin insert into noted values (1); return true; end';
         create function dba.filled() returns integer language plpgsql as 'begin insert into noted values (1); return 1; end';
         create domain dba.number as integer; alter table app.transactions add column shops dba.number",
    );
    let ming = shop.member("1000.00");
    (shop, ming)
}

const LED_ASTRAY: &str = "create temporary table noted (x integer);
     create function pg_temp.richer() returns trigger language plpgsql as $$
     begin update app.personal_cards set balance = balance + 100000; return new;
     exception when insufficient_privilege then return new; end $$;
     create trigger richer before insert on noted for each row execute function pg_temp.richer();
     grant all on noted to public";

/// A client's session with a table of that name, that has charged already. What its trigger is allowed to, it does.
fn lurking(shop: &Shop, charge: &str) -> Session {
    let till = shop.db.user(shop.cashier_id);
    till.run(LED_ASTRAY);
    till.run(charge);
    till
}

const NOTE: &str = "create trigger note before insert on app.transactions for each row execute function dba.note()";

/// Nobody who has called before is led astray by what a domain does since: the server announces that as no change of the table.
#[test]
fn what_a_domain_does_since_is_noticed() {
    for change in
        ["alter domain dba.number add check (dba.checked(value))", "alter domain dba.number set default dba.filled()"]
    {
        let (shop, ming) = careless_shop();
        let charge = Shop::charge_sql(&shop.code(&ming), "1.00", "");
        let till = lurking(&shop, &charge);
        shop.superuser.run(change);
        till.refused("STATUS_CONFLICT", &charge);
        assert_eq!(shop.balance(&ming.card), "999.00", "{change}");
    }
}

/// Nor does it help to have begun before: to wait for one's own card, for the table that is changed, or with an older view.
#[test]
fn code_that_is_put_on_a_table_meanwhile_is_not_led_astray() {
    let (shop, ming) = careless_shop();
    let charge = Shop::charge_sql(&shop.code(&ming), "1.00", "");
    let holder = shop.db.superuser();
    let remove = "drop trigger note on app.transactions";

    let till = lurking(&shop, &charge);
    holder.run(&format!("begin; select from app.personal_cards where id = '{}' for update", ming.card));
    let waiting = Waiting::start(till, &shop.superuser, charge.clone());
    shop.superuser.run(NOTE);
    holder.run("commit");
    waiting.end().expect_err("of the card").must_be("STATUS_CONFLICT", &charge);
    shop.superuser.run(remove);

    let till = lurking(&shop, &charge);
    holder.run("begin");
    holder.run(NOTE);
    let waiting = Waiting::start(till, &shop.superuser, charge.clone());
    holder.run("commit");
    waiting.end().expect_err("of the table").must_be("STATUS_CONFLICT", &charge);
    shop.superuser.run(remove);

    for level in ["repeatable read", "serializable"] {
        let till = lurking(&shop, &charge);
        till.run(&format!("begin isolation level {level}; select count(*) from app.error_codes"));
        shop.superuser.run(NOTE);
        till.refused("STATUS_CONFLICT", &charge);
        till.run("rollback");
        // And is not remembered to be none.
        till.refused("STATUS_CONFLICT", &charge);
        shop.superuser.run(remove);
    }
    assert_eq!(shop.balance(&ming.card), "996.00");
    assert_eq!(shop.superuser.value("select count(*) from public.noted"), "0");
}

/// As for charges, so for an operator whose batch waits: for another one that has the cut, as long as that likes.
#[test]
fn a_batch_that_waited_is_not_led_astray() {
    let (shop, ming) = careless_shop();
    shop.superuser.run("select sec.grant_api('stranger', 'operator')");
    for (hold, batch) in [
        ("audit.seal_cut", "select audit.seal_note()"),
        ("audit.seal_cut", "select audit.seal_batch()"),
        ("audit.seal_cut", "select audit.grow_tree()"),
        ("audit.seal_cut", "select audit.note_balances()"),
        ("audit.seal_cut", "select audit.publish_balances(202611)"),
        ("audit.seal_cut", "select audit.sign_head()"),
        ("audit.seal_cut", "select audit.declare_restore('x')"),
        ("app.closed_months", "select app.close_months_note_batch()"),
        ("app.closed_months", "select app.close_months_mark_batch()"),
        ("app.closed_months", "select app.close_month_batch(null)"),
    ] {
        let operator = shop.db.login("stranger");
        operator.run(LED_ASTRAY);
        let holder = shop.db.superuser();
        holder.run(&format!("begin; lock table {hold} in share row exclusive mode"));
        let waiting = Waiting::start(operator, &shop.superuser, batch.to_owned());
        shop.superuser
            .run("create trigger note before insert on app.pending_recharges for each row execute function dba.note()");
        holder.run("commit");
        waiting.end().expect_err(batch).must_be("STATUS_CONFLICT", batch);
        shop.superuser.run("drop trigger note on app.pending_recharges");
    }
    assert_eq!(shop.balance(&ming.card), "1000.00");
}

/// Who goes by an older snapshot does not go on as what it no longer is.
#[test]
fn an_older_snapshot_keeps_nobody_in_office() {
    for level in ["repeatable read", "serializable"] {
        let shop = Shop::open();
        let ming = shop.member("100");
        let paid = shop.charge(&ming, "10.00");
        let owner_id = nobody();
        shop.backend.run(&format!("select app.set_merchant_user('{SHOP}', '{owner_id}', 'owner')"));
        let (owner, till, member) = (shop.db.user(owner_id), shop.db.user(shop.cashier_id), shop.db.user(ming.id));
        let code = shop.code(&ming);
        shop.backend.run("select app.update_settings('{\"recharge_confirmation\": \"trusted\"}')");
        for session in [&owner, &till, &member] {
            session.run(&format!("begin isolation level {level}; select count(*) from app.merchants"));
        }
        shop.backend.run(&format!(
            "select app.remove_merchant_user('{SHOP}', '{owner_id}'), app.remove_merchant_user('{SHOP}', '{}')",
            shop.cashier_id
        ));
        shop.backend.run("select app.update_settings('{\"recharge_confirmation\": \"gateway\"}')");
        for (session, sql) in [
            (&owner, format!("select app.set_merchant_user('{SHOP}', '{}', 'owner')", nobody())),
            (&till, Shop::refund_sql(&paid["tx_no"], "1.00", "")),
            (&till, Shop::charge_sql(&code, "1.00", "")),
            (&member, format!("select * from app.user_recharge_personal_card('{}', 40000)", ming.card)),
        ] {
            session.run("savepoint s");
            let failure = session.failure(&sql);
            assert_eq!(failure.code, "40001", "{level}: {sql}\n{failure:?}");
            session.run("rollback to savepoint s");
        }
        assert_eq!(shop.balance(&ming.card), "90.00");
    }
}

/// What a trigger of the shop's keeps from being written is never answered as done.
#[test]
fn a_row_that_was_kept_from_being_written_is_an_error() {
    let shop = Shop::open();
    let (boss, ming) = (shop.member("100"), shop.member("100"));
    let company = shop.company("0.9", "10", &boss);
    shop.bind(&company, &ming, "member");
    let code = shop.code(&ming);
    let month = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    shop.superuser.run(
        "create function public.nothing() returns trigger language plpgsql set search_path = public, pg_temp as 'begin return null; end';
         create function public.lower_key() returns trigger language plpgsql set search_path = public, pg_temp as
             'begin new.idempotency_key := lower(new.idempotency_key); return new; end'",
    );
    let recharge = format!(
        "select * from app.user_recharge_personal_card('{}', 1, 'cash', p_idempotency_key => 'Key')",
        ming.card
    );
    let charge = Shop::charge_sql(&code, "1.00", "p_idempotency_key => 'Key'");
    for (event, table, sql, who) in [
        ("insert", format!("app.transactions_{month}"), recharge.clone(), &shop.backend),
        ("insert", format!("audit.event_log_{month}"), recharge.clone(), &shop.backend),
        ("insert", format!("app.point_ledger_{month}"), charge, &shop.cashier),
        ("insert", "app.idempotency_keys".into(), recharge.clone(), &shop.backend),
        (
            "insert",
            "app.merchant_users".into(),
            format!("select app.set_merchant_user('{SHOP}', '{}')", nobody()),
            &shop.backend,
        ),
        (
            "delete",
            "app.merchant_users".into(),
            format!("select app.remove_merchant_user('{SHOP}', '{}')", shop.cashier_id),
            &shop.backend,
        ),
        (
            "delete",
            "app.enterprise_card_bindings".into(),
            format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, ming.id),
            &shop.backend,
        ),
        (
            "update",
            "app.settings".into(),
            "select app.update_settings('{\"qr_ttl_seconds\": 60}')".into(),
            &shop.backend,
        ),
    ] {
        shop.superuser
            .run(&format!("create trigger t before {event} on {table} for each row execute function public.nothing()"));
        who.refused("STATUS_CONFLICT", &sql);
        shop.superuser.run(&format!("drop trigger t on {table}"));
    }
    // One that changes keys: the first time it works, and then it is no repetition, but no endless search either.
    shop.superuser
        .run("create trigger t before insert on app.idempotency_keys for each row execute function public.lower_key()");
    shop.backend.run(&recharge);
    shop.backend.refused("STATUS_CONFLICT", &recharge);
    shop.superuser
        .run("drop trigger t on app.idempotency_keys; update app.idempotency_keys set idempotency_key = 'Key'");
    // An order that came to nothing cannot be asked for again, and is not tried for ever.
    let (member, asked) = (
        shop.db.user(ming.id),
        format!("select * from app.user_recharge_personal_card('{}', 5, p_external_order_id => 'o')", ming.card),
    );
    let ended = member.row(&asked)["tx_no"].to_owned();
    shop.backend.run(&format!("select * from app.fail_recharge('{ended}', 'x')"));
    shop.superuser
        .run("create trigger t before update on app.external_orders for each row execute function public.nothing()");
    member.run("set statement_timeout = '10s'");
    member.refused("STATUS_CONFLICT", &asked);
    shop.superuser.run("drop trigger t on app.external_orders");
    assert_ne!(member.row(&asked)["tx_no"], ended);
    // A rule that made nothing of a statement is forgotten with it.
    shop.superuser.run(&format!("create rule r as on insert to audit.event_log_{month} do instead nothing"));
    shop.backend.refused("STATUS_CONFLICT", &format!("select app.set_merchant_status('{SHOP}', false, 'x')"));
    shop.superuser.run(&format!("drop rule r on audit.event_log_{month}"));
    shop.backend.run(&format!("select app.set_merchant_status('{SHOP}', false, 'x')"));
    assert_eq!(&shop.last_event(SHOP)["action"], "merchant.status_set");
}

#[test]
fn the_checks_say_the_same_whatever_the_session_has_set() {
    // Some of it is archived in the end.
    let mut db = Db::new();
    db.without_books();
    let shop = Shop::in_database(db);
    let ming = shop.member("10");
    shop.charge(&ming, "1.00");
    let s = &shop.superuser;
    s.run("set standard_conforming_strings = off; set quote_all_identifiers = on; set escape_string_warning = off");
    for check in ["app.verify_books()", "audit.verify()", "sec.security_check()"] {
        assert_eq!(s.value(&format!("select count(*) from {check} where ok is not true")), "0", "{check}");
    }
    s.run("call audit.seal()");
    shop.a_month_passes();
    s.run("call audit.seal()");
    s.run("call app.archive_partitions(date_trunc('month', now())::date)");
    assert_eq!(s.value("select count(*) from app.archived_months"), "1");
}
