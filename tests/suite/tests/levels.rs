//! Nobody gains a level through what runs under another's name: every place where the server runs somebody's code, with every
//! level as the owner of the code and as who makes it run. `docs/security.md` has the same list in words.

use mps_tests::{Cluster, Db, Member, Scratch, Session, Shop, Till, claims, program, q, until};
use std::time::Duration;

/// Nobody, a client (logs in as itself), a backend, a superuser, least first.
const ROLES: [&str; 4] = ["stranger", "app_role", "service_role", "postgres"];

/// A session that runs under one of them and claims to be a member.
fn runner(shop: &Shop, role: &str, member: &Member) -> Session {
    let session = shop.db.superuser();
    if role == "postgres" {
        session.run(&format!("select set_config('request.jwt.claims', {}, false)", q(claims("x", Some(member.id)))));
    } else {
        session.become_role(role, &claims(role, Some(member.id)));
    }
    session
}

/// A schema in which code of everybody's lies, for everybody's use, with a place to note what was answered.
fn stage(shop: &Shop) {
    shop.superuser.run(
        "create schema stage; grant usage, create on schema stage to public;
         create table stage.seen (who text, answer text);
         grant all on stage.seen to public;",
    );
}

/// Everything that asks for a level, noted by whoever owns it: a function of one's own that is called `name`.
fn prober(owner: &str, name: &str, member: &Member, how: &str) -> String {
    format!(
        "create function stage.{name}(p integer) returns integer language plpgsql {how} as $f$
         declare
             v text[] := '{{}}';
         begin
             begin
                 v := v || (select status from app.user_recharge_personal_card('{card}', 1));
             exception when others then v := v || sqlerrm; end;
             begin
                 perform app.adjust_points('{card}', 1, 'probe');
                 v := v || 'adjusted'::text;
             exception when others then v := v || sqlerrm; end;
             begin
                 perform app.get_settings();
                 v := v || 'settings'::text;
             exception when others then v := v || sqlerrm; end;
             begin
                 v := v || coalesce(sec.uid()::text, 'nobody');
             exception when others then v := v || sqlerrm; end;
             insert into stage.seen values ({who}, array_to_string(v, ', '));
             return p;
         end $f$;
         alter function stage.{name}(integer) owner to {owner};",
        card = member.card,
        who = q(name),
    )
}

/// What a prober answers at a level.
fn answer_at(level: &str, member: &Member) -> String {
    match level {
        "client" => format!("processing, NOT_ALLOWED, NOT_ALLOWED, {}", member.id),
        "backend" => format!("completed, adjusted, settings, {}", member.id),
        _ => unreachable!(),
    }
}

#[test]
fn a_definer_function_has_the_least_of_its_owners_level_and_its_callers() {
    let shop = Shop::open();
    let ming = shop.member("0");
    stage(&shop);
    shop.superuser.run("select sec.grant_api('app_role', 'client')");
    for owner in ROLES {
        shop.superuser.run(&prober(owner, &format!("of_{owner}"), &ming, "security definer"));
    }
    for (place, owner) in ROLES.iter().enumerate() {
        for (rank, caller) in ROLES.iter().enumerate() {
            shop.superuser.run("truncate stage.seen");
            runner(&shop, caller, &ming).run(&format!("select stage.of_{owner}(1)"));
            let answer = shop.superuser.value("select answer from stage.seen");
            let denied = "permission denied";
            let what = format!("code of {owner}, run by {caller}: {answer}");
            match (place, rank) {
                // The server itself keeps who has nothing from every function of ours.
                (0, _) => assert!(answer.matches(denied).count() == 4, "{what}"),
                (_, 0) => assert!(answer.starts_with("NOT_ALLOWED, ") && !answer.contains("adjusted"), "{what}"),
                (1, _) => {
                    assert!(answer.starts_with("processing, permission denied for function adjust_points"), "{what}")
                }
                (_, 1) => assert_eq!(answer, answer_at("client", &ming), "{what}"),
                _ => assert_eq!(answer, answer_at("backend", &ming), "{what}"),
            }
        }
    }
}

#[test]
fn the_log_names_who_is_responsible_and_the_other_one_beside() {
    let shop = Shop::open();
    let ming = shop.member("0");
    stage(&shop);
    shop.superuser.run("select sec.grant_api('app_role', 'client')");
    for owner in ["app_role", "authenticated", "service_role", "postgres"] {
        shop.superuser.run(&prober(owner, &format!("of_{owner}"), &ming, "security definer"));
    }
    for (owner, caller, responsible, other) in [
        ("app_role", "app_role", "app_role", "NULL"),
        ("app_role", "service_role", "app_role", "service_role"),
        ("app_role", "postgres", "app_role", "postgres"),
        // Of one level, it is who makes it run.
        ("authenticated", "app_role", "app_role", "authenticated"),
        ("service_role", "app_role", "app_role", "service_role"),
        ("service_role", "postgres", "service_role", "postgres"),
        ("postgres", "service_role", "service_role", "postgres"),
        ("postgres", "postgres", "postgres", "NULL"),
    ] {
        runner(&shop, caller, &ming).run(&format!("select stage.of_{owner}(1)"));
        let event = shop.superuser.row(
            "select actor_role, context ->> 'other_role' as other from audit.event_log \
             where action in ('recharge', 'recharge.requested') order by id desc limit 1",
        );
        assert_eq!((&event["actor_role"], &event["other"]), (responsible, other), "code of {owner}, run by {caller}");
    }
    // A sign-up is of whoever made it, not of the trigger's owner.
    shop.superuser.run(
        "create schema auth; create table auth.users (id uuid primary key, email text); grant usage on schema auth to stranger;
         grant insert on auth.users to stranger; select app.enable_supabase_signup()",
    );
    for role in ["postgres", "stranger"] {
        let session = runner(&shop, role, &ming);
        session.run("insert into auth.users values (gen_random_uuid(), 'a@example.org')");
        let by = "select actor_role from audit.event_log where action = 'member.registered' order by id desc limit 1";
        assert_eq!(shop.superuser.value(by), role);
    }
}

/// What maintenance evaluates: a table and a materialised view of `{o}`'s whose expressions call its function.
const EVALUATED: &str = "
    create function stage.quiet_{o}(p integer) returns integer language plpgsql immutable as 'begin return p; end';
    create table stage.t_{o} (v integer);
    insert into stage.t_{o} values (1), (2);
    create index i_{o} on stage.t_{o} (stage.quiet_{o}(v));
    create statistics stage.s_{o} on (stage.quiet_{o}(v)), (v + 1) from stage.t_{o};
    create materialized view stage.m_{o} as select stage.quiet_{o}(v) from stage.t_{o};
    alter table stage.t_{o} owner to {o};
    alter materialized view stage.m_{o} owner to {o};
    create or replace function stage.quiet_{o}(p integer) returns integer language plpgsql immutable as 'begin return stage.by_{o}(p); end'";

const MAINTENANCE: &[&str] = &[
    "analyze stage.t_{o}",
    "vacuum (full, analyze) stage.t_{o}",
    "reindex table stage.t_{o}",
    "reindex index concurrently stage.i_{o}",
    "cluster stage.t_{o} using i_{o}",
    "create index on stage.t_{o} (stage.quiet_{o}(v))",
    "create index concurrently on stage.t_{o} ((stage.quiet_{o}(v) + 1))",
    "create index on stage.t_{o} (v) where stage.quiet_{o}(v) > 0",
    "refresh materialized view stage.m_{o}",
];

/// Puts the prober of a role where maintenance evaluates it, with nobody having run it yet.
fn evaluated(session: &Session, owner: &str, member: &Member) {
    session.run(&prober(owner, &format!("by_{owner}"), member, "volatile"));
    session.run(&EVALUATED.replace("{o}", owner));
}

#[test]
fn what_maintenance_evaluates_writes_nothing_and_reads_as_the_owner_of_the_table() {
    let shop = Shop::open();
    let ming = shop.member("0");
    stage(&shop);
    shop.superuser.run("select sec.grant_api('app_role', 'client')");
    for owner in ROLES {
        evaluated(&shop.superuser, owner, &ming);
    }
    let before = shop.superuser.value("select count(*) from app.transactions");
    for owner in ROLES {
        for statement in MAINTENANCE {
            // Who may maintain a table of another's: a superuser; and its owner its own.
            for caller in ["postgres", owner] {
                shop.superuser.run("truncate stage.seen");
                let statement = statement.replace("{o}", owner);
                let session = runner(&shop, caller, &ming);
                session.run(&statement);
                let answers = shop.superuser.column("select answer from stage.seen");
                assert!(!answers.is_empty(), "{statement} evaluated nothing");
                for answer in answers {
                    let expected = match owner {
                        "stranger" => {
                            "permission denied for schema app, permission denied for schema app, \
                             permission denied for schema app, permission denied for schema sec"
                        }
                        "app_role" => {
                            "NOT_ALLOWED, permission denied for function adjust_points, permission denied for function get_settings, nobody"
                        }
                        _ => "NOT_ALLOWED, NOT_ALLOWED, settings, nobody",
                    };
                    assert_eq!(answer, expected, "{statement} by {caller}");
                }
            }
        }
    }
    assert_eq!(shop.superuser.value("select count(*) from app.transactions"), before);
    assert_eq!(shop.card(&ming).1, "0");
}

#[test]
fn autovacuum_makes_no_money() {
    let cluster = Cluster::start_with("-c autovacuum_naptime=1s");
    let superuser = cluster.superuser("postgres");
    superuser.run("create role app_role login; create role service_role; create extension mps");
    superuser.run("select sec.grant_api('app_role', 'client')");
    let till = Till::open(cluster.superuser("postgres"));
    let ming = till.member("100");
    superuser.run("create schema stage; grant usage, create on schema stage to public");
    superuser.run("create table stage.seen (who text, answer text); grant all on stage.seen to public");
    for owner in ["app_role", "service_role", "postgres"] {
        evaluated(&superuser, owner, &ming);
        superuser.run(&format!(
            "alter table stage.t_{owner} set (autovacuum_analyze_threshold = 1, autovacuum_analyze_scale_factor = 0)"
        ));
    }
    let evaluated_by_autovacuum =
        |owner: &str| superuser.value(&format!("select count(*) > 0 from stage.seen where who = 'by_{owner}'")) == "t";
    for owner in ["app_role", "service_role", "postgres"] {
        // Rows that autovacuum has not seen; inserting evaluates the index, too, which is not what is asked for here.
        superuser.run(&format!(
            "drop index stage.i_{owner};
             insert into stage.t_{owner} select g from generate_series(1, 100) g; truncate stage.seen"
        ));
        until("autovacuum analyzes", Duration::from_secs(60), || evaluated_by_autovacuum(owner));
        let answers = superuser.column(&format!("select distinct answer from stage.seen where who = 'by_{owner}'"));
        for answer in answers {
            assert!(answer.starts_with("NOT_ALLOWED, ") && answer.ends_with(", nobody"), "{owner}: {answer}");
            assert!(!answer.contains("adjusted") && !answer.contains("completed"), "{owner}: {answer}");
        }
    }
    assert_eq!(
        superuser.value(&format!("select balance from app.personal_cards where id = '{}'", ming.card)),
        "100.00"
    );
    superuser.run("revoke create on schema stage from public");
    assert_eq!(till.findings(), [] as [String; 0]);
}

/// Code of a client's that is not SECURITY DEFINER and that a backend runs by itself: the server makes no difference between it
/// and the backend's own. The documents say so, and `sec.security_check()` finds who may put such things where backends look.
#[test]
fn an_invokers_code_is_its_runners_and_the_documents_say_so() {
    let shop = Shop::open();
    let ming = shop.member("0");
    stage(&shop);
    shop.superuser.run("select sec.grant_api('app_role', 'client')");
    shop.superuser.run(&prober("app_role", "asked", &ming, "volatile"));
    shop.superuser.run(
        "set role app_role;
         create function stage.probe(p integer) returns integer language plpgsql immutable as 'begin return stage.asked(p); end';
         create view stage.v as select stage.probe(1);
         create table stage.defaulted (v integer default stage.probe(1));
         create table stage.checked (v integer check (stage.probe(v) > 0));
         create table stage.generated (v integer, w integer generated always as (stage.probe(v)) stored);
         create table stage.indexed (v integer); create index on stage.indexed (stage.probe(v));
         create table stage.fired (v integer);
         create function stage.fire() returns trigger language plpgsql as 'begin perform stage.probe(1); return new; end';
         create trigger fire before insert on stage.fired for each row execute function stage.fire();
         create table stage.guarded (v integer); insert into stage.guarded values (1);
         alter table stage.guarded enable row level security;
         create policy p on stage.guarded using (stage.probe(v) > 0);
         create function stage.both(integer, integer) returns integer language sql immutable as 'select stage.probe($1)';
         create operator stage.## (leftarg = integer, rightarg = integer, function = stage.both);
         create aggregate stage.total(integer) (sfunc = stage.both, stype = integer, initcond = '1');
         create type stage.cell as (v integer);
         create function stage.cast_it(stage.cell) returns integer language sql immutable as 'select stage.probe(1)';
         create cast (stage.cell as integer) with function stage.cast_it(stage.cell);
         grant all on all tables in schema stage to public; reset role",
    );
    for statement in [
        "select * from stage.v",
        "insert into stage.defaulted default values",
        "insert into stage.checked values (1)",
        "insert into stage.generated values (1)",
        "insert into stage.indexed values (1)",
        "insert into stage.fired values (1)",
        "copy stage.fired from program 'echo 1'",
        "select 1 operator(stage.##) 1",
        "select stage.total(1)",
        "select (row(1)::stage.cell)::integer",
        "do $$ begin perform stage.probe(1); end $$",
    ] {
        for (caller, level) in [("app_role", "client"), ("service_role", "backend"), ("postgres", "backend")] {
            if statement.starts_with("copy") && caller != "postgres" {
                continue; // programs are for superusers
            }
            shop.superuser.run("truncate stage.seen");
            runner(&shop, caller, &ming).run(statement);
            let answer = shop.superuser.value("select answer from stage.seen limit 1");
            if level == "client" {
                assert!(answer.starts_with("processing, permission denied"), "{statement} by {caller}: {answer}");
            } else {
                assert_eq!(answer, answer_at(level, &ming), "{statement} by {caller}");
            }
        }
    }
    // A policy binds who neither owns the table nor bypasses row-level security.
    shop.superuser.run("select sec.grant_api('stranger', 'backend'); truncate stage.seen");
    runner(&shop, "stranger", &ming).run("select * from stage.guarded");
    assert_eq!(shop.superuser.value("select answer from stage.seen limit 1"), answer_at("backend", &ming));
    assert_eq!(
        shop.superuser.value("select detail from sec.security_check() where rule like 'clients create nothing%'"),
        "PUBLIC may CREATE in schema stage"
    );
}

#[test]
fn a_deferred_trigger_runs_at_commit_as_whoever_the_server_says() {
    let shop = Shop::open();
    let ming = shop.member("0");
    stage(&shop);
    shop.superuser.run("select sec.grant_api('app_role', 'client')");
    shop.superuser.run(&prober("app_role", "probe", &ming, "volatile"));
    shop.superuser.run(
        "set role app_role;
         create table stage.late (v integer);
         create function stage.fire() returns trigger language plpgsql as 'begin perform stage.probe(1); return new; end';
         create constraint trigger fire after insert on stage.late deferrable initially deferred for each row execute function stage.fire();
         create function stage.put() returns void language sql security definer as 'insert into stage.late values (1)';
         reset role",
    );
    // The insertion is the client's own, by its definer function; the trigger comes when that is over.
    runner(&shop, "service_role", &ming).run("select stage.put()");
    let answer = shop.superuser.value("select answer from stage.seen");
    if shop.superuser.value("select current_setting('server_version_num')::integer >= 180000") == "t" {
        assert!(answer.starts_with("processing, permission denied"), "as who put the row: {answer}");
    } else {
        assert_eq!(answer, answer_at("backend", &ming), "before 18 nobody can tell");
    }
}

#[test]
fn what_a_subscription_applies_calls_no_rpc() {
    let publisher = Cluster::start_with("-c wal_level=logical");
    let subscriber = Cluster::start_with("-c wal_level=logical");
    publisher
        .superuser("postgres")
        .run("create table public.feed (v integer primary key); create publication p for table public.feed");
    let superuser = subscriber.superuser("postgres");
    superuser.run("create role app_role login; create extension mps; select sec.grant_api('app_role', 'client')");
    let till = Till::open(subscriber.superuser("postgres"));
    let ming = till.member("100");
    superuser.run("create schema stage; grant usage, create on schema stage to public");
    superuser.run("create table stage.seen (who text, answer text); grant all on stage.seen to public");
    superuser.run(&prober("app_role", "probe", &ming, "volatile"));
    superuser.run(
        "create table public.feed (v integer primary key); alter table public.feed owner to app_role;
         grant create on schema public to app_role; set role app_role;
         create function public.fire() returns trigger language plpgsql as 'begin perform stage.probe(1); return new; end';
         create trigger fire after insert on public.feed for each row execute function public.fire();
         alter table public.feed enable always trigger fire; reset role",
    );
    superuser.run(&format!("create subscription s connection '{}' publication p", publisher.connection("postgres")));
    publisher.superuser("postgres").run("insert into public.feed values (1)");
    until("the row arrives", Duration::from_secs(60), || superuser.value("select count(*) from stage.seen") != "0");
    let answer = superuser.value("select answer from stage.seen");
    assert!(answer.starts_with("NOT_ALLOWED, "), "{answer}");
    assert!(!answer.contains("adjusted") && answer.ends_with("nobody"), "{answer}");
    assert_eq!(superuser.value("select balance from app.personal_cards"), "100.00");
    superuser.run("drop subscription s");
}

#[test]
fn an_operators_function_lends_its_level_to_nobody() {
    let shop = Shop::open();
    stage(&shop);
    let s = &shop.superuser;
    s.run("select sec.grant_api('app_role', 'client'), sec.grant_api('service_role', 'operator')");
    s.run(
        "create function stage.months() returns boolean language sql security definer as 'select app.maintain_partitions_batch(3)';
         create function stage.cards() returns text language sql security definer as 'select app.expire_cards_batch(null)';
         create function stage.seal() returns integer language sql security definer as 'select audit.seal_batch()';
         create function stage.month() returns text language sql security definer as $$ select app.archive_month_batch('2020-01-01') $$;
         alter function stage.months() owner to service_role; alter function stage.cards() owner to service_role;
         alter function stage.seal() owner to service_role; alter function stage.month() owner to service_role;",
    );
    for function in ["months", "cards", "seal", "month"] {
        for caller in ["stranger", "app_role"] {
            let session = shop.db.login(caller);
            session.refused("NOT_ALLOWED", &format!("select stage.{function}()"));
        }
        shop.backend.run(&format!("select stage.{function}()"));
        s.run(&format!("select stage.{function}()"));
    }
}

#[test]
fn an_error_that_is_caught_leaves_role_and_path_as_they_were() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let session = runner(&shop, "app_role", &ming);
    shop.superuser.run("select sec.grant_api('app_role', 'client')");
    session.run("set search_path = app, public");
    let state = "select current_user || ' ' || current_setting('search_path') || ' ' || current_setting('role')";
    let before = session.value(state);
    session.run(&format!(
        "begin; savepoint s; do $$ begin perform app.user_recharge_personal_card('{}', -1); \
         raise 'was not refused'; exception when others then if sqlerrm <> 'INVALID_AMOUNT' then raise; end if; end $$",
        ming.card
    ));
    assert_eq!(session.value(state), before);
    session.failure("select * from app.user_recharge_personal_card(null, 1)");
    session.run("rollback to savepoint s");
    assert_eq!(session.value(state), before);
    session.run(&format!("select * from app.user_recharge_personal_card('{}', 1); commit", ming.card));
    assert_eq!(session.value(state), before);
    // A statement that is not read to its end leaves nothing behind either.
    session
        .run(&format!("begin; declare c cursor for select * from app.card_statement('{}'); fetch 1 from c", ming.card));
    assert_eq!(session.value(state), before);
    session.run("commit");
}

#[test]
fn who_was_granted_a_function_by_hand_calls_it_as_a_client() {
    let db = Db::new();
    let shop = Shop::in_database(db);
    let ming = shop.member("5");
    shop.superuser
        .run("grant usage on schema app to stranger; grant execute on function app.balance_as_of to stranger");
    let session = shop.db.login("stranger");
    session.run(&format!("select set_config('request.jwt.claims', {}, false)", q(claims("x", Some(ming.id)))));
    assert_eq!(session.value(&format!("select app.balance_as_of('{}', now())", ming.card)), "5.00");
    session.denied(&format!("select app.user_recharge_personal_card('{}', 1)", ming.card));
}

/// A restore evaluates the CHECKs of everybody's tables as whoever restores, and before any key is there.
#[test]
fn a_restore_makes_no_money() {
    let shop = Shop::open();
    let ming = shop.member("8.00");
    stage(&shop);
    shop.superuser.run("select sec.grant_api('app_role', 'client')");
    shop.superuser.run(&prober("app_role", "asked", &ming, "volatile"));
    shop.superuser.run(
        "set role app_role;
         create function stage.probe(integer) returns boolean language sql immutable as 'select true';
         create table stage.zzz (v integer check (stage.probe(v)));
         insert into stage.zzz values (1);
         create or replace function stage.probe(integer) returns boolean language plpgsql immutable as $f$
         begin perform set_config('row_security', 'on', true); return stage.asked($1) = 1; end $f$;
         reset role; truncate stage.seen; drop table stage.seen;
         create table public.seen (who text, answer text); grant all on public.seen to public;
         create or replace function stage.noted() returns void language sql as ''",
    );
    let body = shop.superuser.value("select pg_get_functiondef('stage.asked'::regproc)");
    shop.superuser.run(&body.replace("stage.seen", "public.seen"));
    let file = Scratch::new("dump");
    program("pg_dump", &["-Fc", "-f", file.path(), &shop.db.name]).expect("dumps");
    let mut copy = Db::empty();
    program("pg_restore", &["--exit-on-error", "-d", &copy.name, file.path()]).expect("restores");
    copy.with_books();
    let s = copy.superuser();
    let answers = s.column("select answer from public.seen");
    assert!(!answers.is_empty(), "the restore evaluated nothing");
    for answer in answers {
        assert!(answer.starts_with("SCHEMA_OUTDATED, SCHEMA_OUTDATED, SCHEMA_OUTDATED"), "{answer}");
    }
    assert_eq!(s.value(&format!("select balance from app.personal_cards where id = '{}'", ming.card)), "8.00");
    copy.backend().run(&format!("select * from app.user_recharge_personal_card('{}', 1, 'cash')", ming.card));
}
