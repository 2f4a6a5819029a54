//! Removing everything on purpose: `sec.destroy_everything`, and what is left after the statements that it returns.

use mps_tests::{Cluster, Db, Session, Shop, Till, Waiting, q};

/// Supabase's users, as far as the sign-up trigger looks at them.
const AUTH: &str = "create schema auth; create table auth.users (id uuid primary key, email text, phone text, raw_user_meta_data jsonb, \
    is_anonymous boolean not null default false)";

fn destroy(confirm: &str) -> String {
    format!("select * from sec.destroy_everything({})", q(confirm))
}

/// The sentence that would do it now, as the refusal of another one says it.
#[track_caller]
fn sentence(superuser: &Session) -> String {
    let failure = superuser.failure(&destroy(""));
    failure.must_be("INVALID_ARGUMENT", "destroy");
    let (_, said) = failure.detail.split_once("p_confirm has to be: ").expect("the detail says what to repeat");
    said.to_owned()
}

#[test]
fn only_the_sentence_of_this_moment_destroys() {
    let shop = Shop::open();
    let session = &shop.superuser;
    let ming = shop.member("500.00");
    shop.company("0.900", "40.50", &ming);
    shop.charge(&ming, "100.00");
    let said = sentence(session);
    let events = session.value("select count(*) from audit.event_log");
    let expected = format!(
        "destroy 2 cards holding 440.50, 3 transactions and the audit log of {events} events of database {}",
        shop.db.name
    );
    assert_eq!(said, expected);
    let elsewhere = said.replace(&shop.db.name, "another");
    for wrong in ["", "yes", "DROP EVERYTHING", &said.to_uppercase(), &format!("{said} "), &elsewhere] {
        session.refused("INVALID_ARGUMENT", &destroy(wrong));
    }
    session.refused("INVALID_ARGUMENT", "select * from sec.destroy_everything(null)");
    // A script that repeats what was true once does nothing.
    shop.charge(&ming, "1.00");
    session.refused("INVALID_ARGUMENT", &destroy(&said));
    shop.code(&ming);
    assert_ne!(sentence(session), said, "every event makes another sentence");

    let said = sentence(session);
    session.run("begin isolation level repeatable read");
    session.failure(&destroy(&said)).must_be("STATUS_CONFLICT", "destroy by an older view");
    session.run("rollback");
    for somebody in [&shop.backend, &shop.cashier, &shop.db.login("stranger")] {
        somebody.denied(&destroy(&said));
    }
    // Nor whoever was let in by mistake.
    session.run(
        "grant usage on schema sec to stranger; grant execute on function sec.destroy_everything(text), \
        sec.what_there_is() to stranger",
    );
    let failure = shop.db.login("stranger").failure(&destroy(&said));
    assert!(["42501", "PT403"].contains(&failure.code.as_str()), "{failure:?}");
    session.run("revoke all on schema sec from stranger; revoke all on all functions in schema sec from stranger");
}

#[test]
fn what_is_in_flight_is_waited_for_and_makes_the_sentence_outdated() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let (code, said) = (shop.code(&ming), sentence(&shop.superuser));
    shop.cashier.run("begin");
    shop.cashier.run(&Shop::charge_sql(&code, "10.00", ""));
    let waiting = Waiting::start(shop.db.superuser(), &shop.superuser, destroy(&said));
    shop.cashier.run("commit");
    waiting.end().expect_err("a charge came first").must_be("INVALID_ARGUMENT", "destroy");
    assert_eq!(shop.balance(&ming.card), "90.00");
    shop.charge(&ming, "10.00");
}

#[test]
fn nothing_is_destroyed_while_something_of_somebody_else_hangs_on_it() {
    let shop = Shop::open();
    let session = &shop.superuser;
    shop.member("10.00");
    for (make, named, unmake) in [
        (
            "create view public.report as select * from app.v_reconciliation",
            "view public.report",
            "drop view public.report",
        ),
        (
            "create materialized view public.report as select card_no from app.personal_cards",
            "materialized view public.report",
            "drop materialized view public.report",
        ),
        (
            "create table public.loyalty (member_id uuid references app.member_profiles)",
            "table public.loyalty",
            "drop table public.loyalty",
        ),
        (
            "create table public.kinds (kind app.card_type)",
            "column kind of table public.kinds",
            "drop table public.kinds",
        ),
        ("create table app.notes (note text)", "table app.notes", "drop table app.notes"),
        ("create table mps_archive.notes (note text)", "table mps_archive.notes", "drop table mps_archive.notes"),
        ("create type sec.mood as enum ('glad')", "type sec.mood", "drop type sec.mood"),
        (
            "create function app.mine() returns integer language sql as 'select 1'",
            "function app.mine()",
            "drop function app.mine()",
        ),
        (
            "create table public.notes (owner uuid); create policy own on public.notes using (owner = sec.uid())",
            "policy own on table public.notes",
            "drop table public.notes",
        ),
        (
            "create table public.old (like app.transactions); \
             alter table app.transactions attach partition public.old for values from ('2030-01-01Z') to ('2030-02-01Z')",
            "table public.old",
            "alter table app.transactions detach partition public.old; drop table public.old",
        ),
    ] {
        session.run(make);
        let said = sentence(session);
        let failure = session.refused("STATUS_CONFLICT", &destroy(&said));
        assert!(failure.detail.contains(named), "{make}: {failure:?}");
        session.run(unmake);
    }
    // What goes with our tables without hurting anybody is not in the way.
    session.run(
        "create index mine on app.member_profiles (phone); create policy more on app.merchants for select using (false); \
         create function public.noop() returns trigger language plpgsql as 'begin return null; end'; \
         create trigger mine after insert on app.merchants execute function public.noop()",
    );
    session.run("begin");
    session.run(&destroy(&sentence_within(session)));
    session.run("rollback");
    assert_eq!(session.value("select count(*) from app.personal_cards"), "1", "given back by a rollback");
}

/// As [`sentence`], in a transaction that goes on.
fn sentence_within(session: &Session) -> String {
    session.run("savepoint asked");
    let said = sentence(session);
    session.run("rollback to asked");
    said
}

const ROWS_OF: &str = "create function public.rows_of(name) returns bigint language plpgsql as \
    'declare n bigint; begin execute format(''select count(*) from pg_catalog.%I'', $1) into n; return n; end'";

/// How many rows each catalog has, but for statistics, and which roles and schemas there are.
const CATALOGS: &str = "select string_agg(x.line, ' ') from (
    select c.relname || ' ' || public.rows_of(c.relname) as line
    from pg_class c where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind = 'r' and c.relname !~ '^pg_statistic'
    union all select 'role ' || rolname from pg_roles
    union all select 'schema ' || nspname from pg_namespace where nspname !~ '^pg_(toast_)?temp_'
    order by 1) x";

#[test]
fn after_it_and_the_statements_it_returns_nothing_is_left_and_one_can_begin_afresh() {
    let server = Cluster::start();
    server.psql("postgres", "create database shop template template0 encoding 'UTF8'").expect("a database");
    server.psql("shop", AUTH).expect("users");
    server.psql("shop", ROWS_OF).expect("a function");
    let before = server.psql("shop", CATALOGS).expect("the catalogs");

    server.psql("shop", "create extension mps").expect("installs");
    let till = Till::open(server.superuser("shop"));
    let session = &till.session;
    session.run("select app.enable_supabase_signup()");
    session.run("create role cashier; select sec.grant_api('cashier', 'client')");
    session.run("insert into auth.users (id) values (gen_random_uuid())");
    let member = till.member("100.00");
    till.charge(&member.card, "30.00");
    // A month in the archive, with something in it.
    session.run("select sec.make_month('2020-05-01'), sec.make_month('2020-06-01')");
    session.run(
        "insert into app.transactions select (jsonb_populate_record(t, '{\"id\": 200500000000001, \"created_at\": \
        \"2020-05-02T00:00:00Z\"}')).* from app.transactions t limit 1",
    );
    session.run("call audit.seal()");
    session.run("call app.archive_partitions('2020-07-01')");
    assert_eq!(session.value("select count(*) from mps_archive.transactions_202005"), "1");

    let said = sentence(session);
    assert!(said.starts_with("destroy 2 cards holding 70.00, 3 transactions and the audit log of "), "{said}");
    let rows = session.rows(&destroy(&said));
    let steps: Vec<&str> = rows.iter().map(|r| &r["statement"]).collect();
    assert_eq!(steps, ["DROP EXTENSION mps;", "DROP SCHEMA app, audit, sec, mps_gateway;", "DROP ROLE mps_owner;"]);
    assert!(rows[2]["remark"].contains("no other database"), "{rows:?}");
    for step in steps {
        session.run(step);
    }
    session.run("drop role cashier");
    assert_eq!(server.psql("shop", CATALOGS).expect("the catalogs"), before);
    session.run("insert into auth.users (id) values (gen_random_uuid())");
    let log = session.value("select pg_read_file(current_setting('data_directory') || '/../log')");
    let line = log.lines().find(|l| l.contains("LOG:  mps:")).expect("a line in the server's log");
    assert!(line.contains("logged in as") && line.contains(said.trim_start_matches("destroy ")), "{line}");

    session.run("create extension mps");
    let till = Till::open(server.superuser("shop"));
    let member = till.member("50.00");
    assert_eq!(&member.no, "M00000001", "numbers begin again");
    till.goes_on(&member.card);
}

#[test]
fn another_database_of_the_server_is_named_and_keeps_the_role() {
    let (shop, other) = (Shop::open(), Db::new());
    let rows = shop.superuser.rows(&destroy(&sentence(&shop.superuser)));
    assert!(rows[2]["remark"].contains(&other.name), "{rows:?}");
    shop.superuser.run("drop extension mps; drop schema app, audit, sec, mps_gateway");
    let failure = shop.superuser.failure("drop role mps_owner");
    assert_eq!(failure.code, "2BP01", "{failure:?}");
    let mut db = shop.db;
    db.without_books();
}
