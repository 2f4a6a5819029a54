//! Code of others around ours: event triggers see nothing of what MPS makes, whoever calls, and what a shop hangs on the tables
//! is never led astray by names of the caller's.

use mps_tests::{Db, NULL, Session, Shop, q};

/// Notes who runs a function, and tries to change the settings: where the current user may, that was the owner of the tables.
const TRAP: &str = "
    create schema trap;
    grant usage, create on schema trap to public;
    create table trap.seen (who text, what text);
    grant insert on trap.seen to public;
    create function trap.spring() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
    begin
        insert into trap.seen values (current_user, tg_table_schema || '.' || tg_table_name);
        begin
            update app.settings set qr_ttl_seconds = 86400;
        exception when insufficient_privilege then null;
        end;
        return null;
    end $$;
    grant execute on function trap.spring() to public;";

/// What a company has: a logger of all DDL, honest, and written like most of them: it runs as whoever runs the statement, and
/// its table is found by its name alone.
const LOGGER: &str = "
    create table public.ddl_log (event text, tag text, who text default current_user);
    grant insert on public.ddl_log to public;
    create function public.log_ddl() returns event_trigger language plpgsql as $$
    begin insert into ddl_log (event, tag) values (tg_event, tg_tag); end $$;
    create event trigger log_start on ddl_command_start execute function public.log_ddl();
    create event trigger log_end on ddl_command_end execute function public.log_ddl();
    create event trigger log_drop on sql_drop execute function public.log_ddl();
    create event trigger log_rewrite on table_rewrite execute function public.log_ddl();";

const FAILING: &str = "
    create function public.stop_ddl() returns event_trigger language plpgsql as $$
    begin raise exception 'no DDL today'; end $$;
    create event trigger stop_start on ddl_command_start execute function public.stop_ddl();
    create event trigger stop_end on ddl_command_end execute function public.stop_ddl();
    alter event trigger stop_start enable always; alter event trigger stop_end enable always;";

const TRIGGERS: [&str; 4] = ["log_start", "log_end", "log_drop", "log_rewrite"];

/// A shop whose database lets everybody have temporary tables, with an operator called stranger.
fn shop_with(code: &[&str]) -> Shop {
    let shop = Shop::open();
    let s = &shop.superuser;
    s.run(&format!("grant temporary on database {} to public", shop.db.name));
    s.run("select sec.grant_api('stranger', 'operator')");
    code.iter().for_each(|code| s.run(code));
    shop
}

/// Takes the names that the logger looks for, in a session of whoever it is.
fn shadow(session: &Session) {
    session.run(
        "create temp table ddl_log (event text, tag text, who text);
         grant insert on pg_temp.ddl_log to public;
         create trigger spring after insert on pg_temp.ddl_log for each row execute function trap.spring()",
    );
}

/// A name as an identifier.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// That nothing of the trap ran as the owner, and the settings are what they were.
#[track_caller]
fn untouched(shop: &Shop, doing: &str) {
    let s = &shop.superuser;
    assert_eq!(s.column("select who || ' ' || what from trap.seen where who = 'mps_owner'"), [""; 0], "{doing}");
    assert_eq!(s.value("select qr_ttl_seconds from app.settings"), "900", "{doing}");
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

/// What the logger wrote as the owner of the tables.
fn logged(shop: &Shop) -> Vec<String> {
    shop.superuser.column("select event || ' ' || tag from public.ddl_log where who = 'mps_owner' order by 1")
}

/// Everything that makes, archives and grants, in sessions that have taken the logger's name.
fn live(shop: &Shop, doing: &str) {
    let s = &shop.superuser;
    let operator = shop.db.login("stranger");
    shadow(&operator);
    operator.run("call app.maintain_partitions(8)");
    assert_eq!(
        s.value("select count(*) from pg_inherits where inhparent = 'app.transactions'::regclass"),
        "9",
        "{doing}"
    );
    untouched(shop, &format!("{doing}: maintain_partitions"));

    let month = "date_trunc('month', now() at time zone 'UTC' - interval '2 years')::date";
    s.run(&format!("select sec.make_month({month})"));
    operator.run("call app.archive_partitions(current_date)");
    assert_eq!(s.value(&format!("select count(*) from app.archived_months where month = {month}")), "1", "{doing}");
    untouched(shop, &format!("{doing}: archive_partitions"));

    // A superuser's own session. What it runs itself is logged as its own; what it runs as the owner is not.
    let root = shop.db.superuser();
    root.run(
        "create temp table ddl_log (event text, tag text, who text default current_user);
         create function pg_temp.spring() returns trigger language plpgsql as $$
         begin insert into trap.seen values (current_user, 'of a superuser'); return null; end $$;
         create trigger spring after insert on ddl_log for each row execute function pg_temp.spring()",
    );
    root.run("select sec.grant_api('stranger', 'client'); select sec.revoke_api('stranger', 'client')");
    root.run("select sec.make_month('2031-05-05')");
    untouched(shop, &format!("{doing}: grant_api"));
    s.run("drop trigger config_row_changed on app.settings");
    root.run("select app.migrate()");
    untouched(shop, &format!("{doing}: migrate"));
    assert_eq!(s.value("select count(*) from pg_trigger where tgname = 'config_row_changed'"), "6", "{doing}");
}

#[test]
fn no_event_trigger_runs_as_the_owner_whoever_calls() {
    let shop = shop_with(&[TRAP, LOGGER]);
    live(&shop, "as they are made");
    assert_eq!(logged(&shop), [""; 0]);
    // The trap does spring where the logger runs: the operator's own DDL.
    let operator = shop.db.login("stranger");
    shadow(&operator);
    operator.run("create temp table of_its_own (x integer)");
    let seen = shop.superuser.column("select distinct who from trap.seen where what like 'pg_temp%'");
    assert_eq!(seen, ["stranger"]);
}

#[test]
fn nor_where_it_is_always_enabled_and_its_owner_no_superuser() {
    let shop = shop_with(&[TRAP, LOGGER]);
    let s = &shop.superuser;
    let role = format!("{}_dba", shop.db.name);
    s.run(&format!("create role {role} superuser"));
    for trigger in TRIGGERS {
        s.run(&format!("alter event trigger {trigger} owner to {role}; alter event trigger {trigger} enable always"));
    }
    s.run(&format!("alter role {role} nosuperuser"));
    live(&shop, "enabled always");
    assert_eq!(logged(&shop), [""; 0]);
    s.run("set session_replication_role = replica; select sec.make_month('2033-03-03')");
    assert_eq!(logged(&shop), [""; 0]);
    s.run(&format!(
        "drop event trigger {}; drop owned by {role}; drop role {role}",
        TRIGGERS.join("; drop event trigger ")
    ));
}

#[test]
fn a_charge_makes_its_month_whatever_event_triggers_say() {
    let shop = shop_with(&[TRAP]);
    let ming = shop.member("100.00");
    let code = shop.code(&ming);
    lose_the_month(&shop);
    shop.superuser.run(LOGGER);
    TRIGGERS.iter().for_each(|t| shop.superuser.run(&format!("alter event trigger {t} enable always")));
    let till = shop.db.user(shop.cashier_id);
    shadow(&till);
    shop.superuser.run(FAILING);
    assert_eq!(&till.row(&Shop::charge_sql(&code, "10.00", ""))["final_amount"], "10.00");
    untouched(&shop, "a charge");
    assert_eq!(logged(&shop), [""; 0]);
    shop.superuser.run("call app.maintain_partitions(6)");
    assert_eq!(shop.superuser.failure("create table public.refused (x integer)").message, "no DDL today");
    shop.superuser.run("drop event trigger stop_start; drop event trigger stop_end");
    assert_eq!(shop.balance(&ming.card), "90.00");
}

/// A logger that notes what a statement made, as the server tells it.
const OBJECTS: &str = "
    create table public.made (tag text, object text);
    grant insert on public.made to public;
    create function public.note_objects() returns event_trigger language plpgsql as $$
    begin insert into public.made select c.command_tag, c.object_identity from pg_event_trigger_ddl_commands() c; end $$;
    create event trigger note_objects on ddl_command_end execute function public.note_objects();";

#[test]
fn a_logger_sees_what_users_make_and_nothing_of_ours_within() {
    let shop = shop_with(&[]);
    let ming = shop.member("100.00");
    let code = shop.code(&ming);
    lose_the_month(&shop);
    let (s, till) = (&shop.superuser, &shop.cashier);
    s.run("grant create on schema public to authenticated");
    s.run(OBJECTS);
    till.run(&format!("create table public.receipt as {}", Shop::charge_sql(&code, "10.00", "")));
    assert_eq!(s.column("select tag || ' ' || object from public.made"), ["CREATE TABLE AS public.receipt"]);
    assert_eq!(till.value("select final_amount from public.receipt"), "10.00");
}

#[test]
fn a_charge_within_an_alter_table_makes_its_month() {
    let shop = shop_with(&[]);
    let ming = shop.member("100.00");
    let code = shop.code(&ming);
    lose_the_month(&shop);
    let (s, till) = (&shop.superuser, &shop.cashier);
    s.run("grant create on schema public to authenticated");
    till.run(
        "create table public.codes (code text);
         create function public.pay(p_code text) returns numeric language sql as
         $$ select final_amount from app.merchant_charge_by_qr('SHOP-001', p_code, 5.00) $$",
    );
    till.run(&format!("insert into public.codes values ({})", q(&code)));
    s.run(OBJECTS);
    till.run("alter table public.codes alter column code type numeric using public.pay(code), add column more integer");
    assert_eq!(s.column("select tag || ' ' || object from public.made"), ["ALTER TABLE public.codes"]);
    assert_eq!(
        (till.value("select code from public.codes"), shop.balance(&ming.card)),
        ("5.00".into(), "95.00".into())
    );
}

#[test]
fn an_error_that_is_caught_leaves_event_triggers_as_they_were() {
    let shop = shop_with(&[OBJECTS]);
    let s = &shop.superuser;
    s.run(
        "create function public.try(p_ddl text) returns text language plpgsql as $$
         begin perform sec.run_ddl(p_ddl); return 'done';
         exception when others then return sqlstate; end $$;
         create table public.there (x integer);
         delete from public.made",
    );
    for (nth, (ddl, state)) in [
        ("create table public.there (x integer)", "42P07"),
        ("alter table public.there add column x integer", "42701"),
        ("alter table public.there add primary key (y)", "42703"),
        ("alter table app.transactions attach partition public.made for values from ('2001-01-01') to ('2001-02-01')", "42804"),
        ("comment on table public.nothing is 'x'", "42P01"),
        ("create trigger t before insert on public.there for each row execute function public.nothing()", "42883"),
        ("grant select on public.there to nobody_at_all", "42704"),
        ("drop table public.there", "PT400"),
        ("select 1", "PT400"),
        ("create table public.half (x integer); create nonsense public.other (x integer)", "42601"),
        ("create table public.half (x integer); create table public.there (x integer)", "42P07"),
    ]
    .iter()
    .enumerate()
    {
        s.run(&format!("create table public.made_{nth} as select public.try({}) as answer", q(ddl)));
        assert_eq!(s.value(&format!("select answer from public.made_{nth}")), *state, "{ddl}");
        let made = s.column("select tag || ' ' || object from public.made");
        assert_eq!(made, [format!("CREATE TABLE AS public.made_{nth}")], "{ddl}");
        s.run("delete from public.made");
        // What came before it in the same text went with it.
        assert_eq!(s.value("select to_regclass('public.half')"), NULL, "{ddl}");
    }
    s.run("create table public.made_last as select public.try('create table public.half (x integer)') as answer");
    assert_eq!(s.column("select tag || ' ' || object from public.made"), ["CREATE TABLE AS public.made_last"]);
    assert_ne!(s.value("select to_regclass('public.half')"), NULL);
}

#[test]
fn run_ddl_gives_nobody_more_than_they_have() {
    let shop = shop_with(&[]);
    let ddl = "select sec.run_ddl('create table public.x (x integer)')";
    for session in [shop.db.anon(), shop.db.user(shop.cashier_id), shop.db.backend(), shop.db.login("stranger")] {
        session.denied(ddl);
    }
    let s = &shop.superuser;
    // With the right to execute it, and no other.
    s.run("grant execute on function sec.run_ddl(text) to stranger");
    let stranger = shop.db.login("stranger");
    for ddl in [
        "create table app.x (x integer)",
        "create table pg_temp.x (like app.personal_cards)",
        "alter table app.settings disable trigger all",
        "alter table app.settings owner to stranger",
        "comment on table app.settings is 'x'",
        "create trigger t before insert on app.settings for each statement execute function sec.append_only()",
        "alter table app.settings set schema public",
        "grant all on app.settings to stranger",
    ] {
        stranger.denied(&format!("select sec.run_ddl({})", q(ddl)));
    }
    s.run("revoke execute on function sec.run_ddl(text) from stranger");
    s.run("begin read only");
    assert_eq!(s.failure(ddl).code, "25006");
    s.run("rollback");
    let failure = s.failure("select sec.run_ddl('alter table app.nothing add column x integer')");
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("42P01", "relation \"app.nothing\" does not exist"));
    s.refused("INVALID_ARGUMENT", "select sec.run_ddl(null)");
    s.refused("INVALID_ARGUMENT", "select sec.run_ddl('vacuum app.settings')");
    let month = s.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    s.refused(
        "INVALID_ARGUMENT",
        &format!(
            "select sec.run_ddl('alter table app.transactions detach partition app.transactions_{month} concurrently')"
        ),
    );
}

const RULE: &str = "select ok || ': ' || detail from sec.security_check() where rule = 'code of others on the tables fixes \
    its search_path'";

#[test]
fn a_careless_trigger_of_the_shop_is_not_led_to_a_table_of_the_callers() {
    let shop = shop_with(&[TRAP]);
    let s = &shop.superuser;
    assert_eq!(s.value(RULE), "true: ok");
    let (ming, hua) = (shop.member("100.00"), shop.member("100.00"));
    s.run(
        "create table public.payments (tx_no text);
         grant insert on public.payments to public;
         create function public.note_payment() returns trigger language plpgsql as $$
         begin insert into payments values (new.tx_no); return null; end $$;
         create trigger note_payment after insert on app.transactions for each row execute function public.note_payment()",
    );
    let found = s.value(RULE);
    assert!(
        found.starts_with("false: trigger note_payment on table app.transactions")
            && found.ends_with("runs public.note_payment()"),
        "{found}"
    );

    let till = shop.db.user(shop.cashier_id);
    till.run(
        "create temp table payments (tx_no text);
         grant insert on pg_temp.payments to public;
         create trigger spring after insert on pg_temp.payments for each row execute function trap.spring()",
    );
    let failure = till.refused("STATUS_CONFLICT", &Shop::charge_sql(&shop.code(&ming), "1.00", ""));
    assert!(failure.detail.contains("public.note_payment()"), "{failure:?}");
    untouched(&shop, "a charge");
    // A type is as good as a table.
    let other = shop.db.user(shop.cashier_id);
    other.run("create domain pg_temp.text as pg_catalog.text");
    other.refused("STATUS_CONFLICT", &Shop::charge_sql("x", "1.00", ""));
    // So it is for maintenance.
    let operator = shop.db.login("stranger");
    operator.run("create temp table payments (tx_no text)");
    for sql in [
        "select sec.job_batch('seal', 0, true)",
        "call app.expire_cards()",
        "call audit.seal()",
        "call app.archive_partitions(current_date)",
    ] {
        let failure = operator.failure(sql);
        assert_eq!(failure.message, "STATUS_CONFLICT", "{sql}");
    }
    operator.run("discard temp");
    operator.run("call app.expire_cards()");
    // Reading goes on.
    till.run("select * from app.merchant_statement('SHOP-001')");

    // The function says where its names are, and the session that was refused goes on.
    s.run("alter function public.note_payment() set search_path = public, pg_temp");
    assert_eq!(s.value(RULE), "true: ok");
    till.run(&Shop::charge_sql(&shop.code(&ming), "1.00", ""));
    assert_eq!(s.value("select count(*) from public.payments"), "1");
    untouched(&shop, "a charge that is noted");
    s.run("alter function public.note_payment() set search_path = ''");
    till.refused("STATUS_CONFLICT", &Shop::charge_sql(&shop.code(&hua), "1.00", ""));
    till.run("drop table pg_temp.payments");
    s.run("alter function public.note_payment() set search_path = public");
    assert!(s.value(RULE).starts_with("false: "));
    till.run(&Shop::charge_sql(&shop.code(&hua), "1.00", ""));
    assert_eq!(s.value("select count(*) from public.payments"), "2");
}

#[test]
fn careless_code_is_found_wherever_it_hangs() {
    let db = Db::new();
    let s = db.superuser();
    s.run(
        "create function public.f(text) returns text language plpgsql immutable as $$ begin return $1; end $$;
         create function public.g(text) returns boolean language plpgsql immutable as $$ begin return true; end $$;
         create function public.h(text, text) returns boolean language sql immutable as 'select true';
         create operator public.=== (leftarg = text, rightarg = text, function = public.h);
         create function public.bound() returns text language sql return 'x';
         create function public.careful(text) returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$ begin return true; end $$;
         create domain public.checked as text check (public.g(value))",
    );
    for (sql, found) in [
        ("alter table app.merchants add check (public.g(name)) not valid", "public.g(text)"),
        ("alter table app.merchants add check (name OPERATOR(public.===) code) not valid", "public.h(text,text)"),
        ("alter table app.merchants add column x text default public.f('x')", "public.f(text)"),
        ("alter table app.merchants add column x text generated always as (public.f(name)) stored", "public.f(text)"),
        ("alter table app.merchants add column x public.checked", "public.g(text)"),
        ("create index on app.merchants (public.f(name))", "public.f(text)"),
        ("create index on audit.event_log (id) where public.g(action)", "public.g(text)"),
        ("create rule r as on insert to app.merchants do also select public.f('x')", "public.f(text)"),
        ("create function public.t() returns trigger language plpgsql as $$ begin return new; end $$;
          create trigger t before update on app.settings for each row when (public.careful('x')) execute function public.t()", "public.t()"),
        ("create trigger t before update on app.settings for each row when (public.g('x')) execute function \
            suppress_redundant_updates_trigger()", "public.g(text)"),
        ("alter table app.merchants add check (public.careful(name)) not valid", ""),
        ("alter table app.merchants add column x text default public.bound()", "public.bound()"),
        ("create policy p on app.merchants using (public.g(name))", ""),
    ] {
        s.run("begin");
        s.run(sql);
        let answer = s.value(RULE);
        s.run("rollback");
        if found.is_empty() {
            assert_eq!(answer, "true: ok", "{sql}");
        } else {
            assert!(answer.starts_with("false: ") && answer.ends_with(&format!(" runs {found}")), "{sql}\n{answer}");
        }
    }
}

#[test]
fn a_type_of_whoever_owns_the_users_runs_nothing_as_the_owner() {
    let shop = shop_with(&[TRAP]);
    let s = &shop.superuser;
    s.run("create schema auth authorization stranger; select sec.grant_api('stranger', 'signup')");
    let owner = shop.db.login("stranger");
    owner.run(
        "create type auth.odd as (x text);
         create function auth.as_json(auth.odd) returns json language plpgsql as $$
         begin insert into trap.seen values (current_user, 'a cast'); return '1'; end $$;
         create cast (auth.odd as json) with function auth.as_json(auth.odd);
         create function auth.is_fine(text) returns boolean language plpgsql as $$
         begin insert into trap.seen values (current_user, 'a domain'); return true; end $$;
         create domain auth.name as text check (auth.is_fine(value));
         create table auth.users (id uuid primary key, gone integer, email varchar(255), phone auth.name, raw_user_meta_data jsonb, odd auth.odd);
         alter table auth.users drop column gone;
         select app.enable_supabase_signup()",
    );
    owner.run(
        "insert into auth.users values (gen_random_uuid(), 'a@example.org', '138', '{\"name\": \"Ming\"}', row('x'))",
    );
    untouched(&shop, "a sign-up");
    assert_eq!(s.row("select name, email, phone from app.member_profiles").values(), ["Ming", "a@example.org", NULL]);
    // A table of the same shape, with odd types everywhere.
    owner.run(
        "create table auth.others (id auth.odd, email auth.odd, phone auth.name);
         create trigger t after insert on auth.others for each row execute function sec.on_signup();
         insert into auth.others values (row('x'), row('x'), '138')",
    );
    untouched(&shop, "a trigger of its own");
    assert_eq!(s.value("select count(*) from app.member_profiles"), "1");
}

#[test]
fn no_name_of_ours_is_taken_from_the_callers_temporary_objects() {
    let shop = shop_with(&[TRAP]);
    let s = &shop.superuser;
    let (ming, operator) = (shop.member("100.00"), shop.db.login("stranger"));
    let relations = s.column(
        "select distinct c.relname::text from pg_class c where c.relkind in ('r', 'p', 'v') and not c.relispartition
             and c.relnamespace in (select oid from pg_namespace where nspname in ('app', 'audit', 'sec', 'pg_catalog'))",
    );
    let types = s.column(
        "select t.typname::text from pg_type t where t.typtype = 'b' and t.typcategory <> 'A' and t.typname ~ '^[a-z]'
             and t.typnamespace = 'pg_catalog'::regnamespace
         union select t.typname::text from pg_type t where t.typtype = 'e' and t.typnamespace = 'app'::regnamespace",
    );
    let till = shop.db.user(shop.cashier_id);
    s.run(
        "create function trap.look() returns integer language plpgsql set search_path = pg_catalog, pg_temp as $$
           begin insert into trap.seen values (current_user, 'a view'); return 1; end $$;
           create function trap.check() returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
           begin insert into trap.seen values (current_user, 'a type'); return true; end $$",
    );
    for session in [&till, &operator] {
        for (nth, name) in relations.iter().enumerate() {
            // Tables by what is written to them, views by what is read of them.
            match nth % 2 {
                0 => session.run(&format!("create temp table {0} (x pg_catalog.int4); grant all on pg_temp.{0} to public;
                     create trigger spring before insert or update or delete on pg_temp.{0} for each statement execute function trap.spring()", quoted(name))),
                _ => session.run(&format!("create temp view {0} as select trap.look() as x; grant all on pg_temp.{0} to \
                    public", quoted(name))),
            }
        }
        for name in &types {
            let _ = session.try_rows(&format!(
                "create domain pg_temp.{} as pg_catalog.{} check (trap.check())",
                quoted(name),
                quoted(name)
            ));
        }
    }
    let shadows = "select count(*) from pg_type where typtype = 'd' and typnamespace::regnamespace::text ~ '^pg_temp'";
    assert!(s.value(shadows).parse::<i32>().expect("a number") > 100);
    let row =
        till.row(&Shop::charge_sql(&shop.code(&ming), "10.00", "p_tag => '{\"a\": 1}', p_idempotency_key => 'k'"));
    till.run(&Shop::refund_sql(&row["tx_no"], "1.00", ""));
    till.run("select * from app.merchant_statement('SHOP-001')");
    till.run(&format!("select * from app.tx_by_no({})", q(&row["tx_no"])));
    s.run("select sec.make_month((now() - interval '2 years')::date)");
    for call in [
        "call app.maintain_partitions(7)",
        "call app.expire_cards()",
        "call app.expire_qrcodes()",
        "call app.expire_recharges()",
        "call app.expire_keys()",
        "call app.recompute_levels()",
        "call audit.seal()",
        "call app.archive_partitions(current_date)",
        "select pg_catalog.count(*) from app.verify_books()",
        "select pg_catalog.count(*) from audit.verify()",
        "select pg_catalog.count(*) from app.health()",
        "select pg_catalog.count(*) from sec.security_check()",
    ] {
        operator.run(call);
    }
    untouched(&shop, "all of it");
}
