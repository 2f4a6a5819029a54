//! What an adversarial review found and the tests of the contract had not: who may do what. Each test is named after the
//! promise that was broken.

use mps_tests::{Db, Failure, NULL, Session, Shop, nobody};

/// A database without the extension that belongs to `stranger`, with a sequence that counts how often the stranger's
/// function has run with the rights of somebody else.
fn strangers_database() -> (Db, Session) {
    // Makes the roles, on a server that has none yet.
    let _roles = Db::new();
    let db = Db::empty();
    db.superuser().run(&format!("alter database {} owner to stranger", db.name));
    let owner = db.login("stranger");
    // A sequence, because it keeps count although everything else is rolled back.
    owner.run(
        "create sequence public.caught;
         grant usage on sequence public.caught to public;
         create function public.evil() returns boolean language plpgsql as $$ begin
            if current_user <> 'stranger' then perform pg_catalog.nextval('public.caught'); end if; return true; end $$;
         create function public.evil(text) returns boolean language sql as 'select public.evil()'",
    );
    (db, owner)
}

fn caught(db: &Db) -> String {
    db.superuser().value("select is_called from public.caught")
}

#[track_caller]
fn refused_as_not_of_mps(db: &Db, planted: &str) -> Failure {
    let superuser = db.superuser();
    let answer = superuser.try_rows("create extension mps");
    assert_eq!(caught(db), "f", "it ran with the rights of another: {planted}\n{answer:?}");
    let failure = answer.expect_err(planted);
    assert!(failure.message.contains("not of mps"), "{planted}: {failure:?}");
    assert!(!failure.hint.is_empty());
    assert_eq!(superuser.value("select count(*) from pg_extension where extname = 'mps'"), "0");
    assert_eq!(superuser.value("select rolsuper from pg_roles where rolname = 'stranger'"), "f");
    failure
}

#[test]
fn functions_and_operators_of_the_databases_owner_are_refused_and_never_run() {
    for planted in [
        "create schema app;
         create function app.pwn(oid, regclass) returns boolean language sql as 'select public.evil() and pg_catalog.oideq($1, $2::pg_catalog.oid)';
         create operator app.= (leftarg = oid, rightarg = regclass, function = app.pwn)",
        "create schema app; create function public.same(text, text) returns boolean language sql as 'select public.evil()';
         create operator app.= (leftarg = text, rightarg = text, function = public.same)",
        "create schema app; create function app.format(text, text) returns text language sql as 'select $1 from public.evil()'",
        "create schema sec; create function sec.uid() returns uuid language sql as 'select null::uuid from public.evil()'",
        "create schema sec; create function sec.install() returns void language sql as 'select public.evil()'",
        "create schema audit; create function audit.count(text) returns bigint language sql as 'select 1::bigint from public.evil()'",
        "create schema app; create procedure app.expire_cards() language sql as 'select public.evil()'",
        "create schema app; create aggregate app.string_agg(text) (sfunc = pg_catalog.textcat, stype = text)",
    ] {
        let (db, owner) = strangers_database();
        owner.run(planted);
        refused_as_not_of_mps(&db, planted);
    }
}

#[test]
fn types_of_the_databases_owner_are_refused_and_never_checked() {
    for planted in [
        "create schema app; create domain app.card_status as text check (public.evil(value))",
        "create schema app; create domain app.tx_status as text default 'completed' check (public.evil(value))",
        "create schema app; create type app.card_type as enum ('personal', 'enterprise', 'free')",
    ] {
        let (db, owner) = strangers_database();
        owner.run(planted);
        refused_as_not_of_mps(&db, planted);
    }
}

#[test]
fn a_stamp_that_the_databases_owner_has_forged_opens_nothing() {
    let stamped = "create schema app; create schema audit; create schema sec;
         create table app.settings (singleton boolean not null default true primary key, schema_version integer not null default 1,
            constraint mps_stamp_8f1d6c52 check (singleton))";
    for planted in [
        "create table public.g (role_name text, level text, primary key (role_name, level)); grant all on public.g to public;
         create view sec.api_grants as select role_name, level from public.g where public.evil()",
        "create table sec.api_grants (role_name text check (public.evil(role_name)), level text, primary key (role_name, level))",
        "create view app.archived_months as select date '2020-01-01' as month, now() as archived_at where public.evil()",
        "create table app.membership_levels (level smallint, name text, min_points bigint, discount numeric default random())",
        "select 1",
    ] {
        let (db, owner) = strangers_database();
        owner.run(stamped);
        owner.run(planted);
        refused_as_not_of_mps(&db, planted);
        assert_eq!(
            db.superuser().value("select relowner::regrole::text from pg_class where oid = 'app.settings'::regclass"),
            "stranger"
        );
    }
}

/// What a role that was granted nothing has all the same.
fn rights_of(superuser: &Session, role: &str) -> Vec<String> {
    let spaces = "('app'::regnamespace, 'audit'::regnamespace, 'sec'::regnamespace)";
    superuser.column(&format!(
        "select p.oid::regprocedure::text from pg_proc p where p.pronamespace in {spaces} and has_function_privilege('{role}', p.oid, 'execute')
         union all
         select c.oid::regclass || ' ' || x from pg_class c, unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) x
         where c.relnamespace in {spaces} and c.relkind in ('r', 'p', 'v')
           and (has_table_privilege('{role}', c.oid, x) or (x in ('select', 'insert', 'update', 'references') and has_any_column_privilege('{role}', c.oid, x)))
         union all
         select c.oid::regclass || ' sequence' from pg_class c where c.relnamespace in {spaces} and c.relkind = 'S'
           and case when c.relkind = 'S' then has_sequence_privilege('{role}', c.oid, 'usage, select, update') end
         union all
         select n.nspname || ' schema' from pg_namespace n where n.oid in {spaces} and has_schema_privilege('{role}', n.oid, 'usage, create')"
    ))
}

#[test]
fn default_privileges_of_the_database_give_nothing_of_mps_away() {
    let _roles = Db::new();
    let db = Db::empty();
    let s = db.superuser();
    let give = |role: &str, place: &str| {
        for what in ["tables", "sequences", "functions"] {
            s.run(&format!("alter default privileges {role} {place} grant all on {what} to stranger, anon"));
        }
    };
    for role in ["", "for role mps_owner"] {
        give(role, "");
        s.run(&format!("alter default privileges {role} grant all on schemas to stranger, anon"));
    }
    s.run("create extension mps");
    let nothing_given = |when: &str| {
        for role in ["stranger", "anon"] {
            assert_eq!(rights_of(&s, role), [] as [String; 0], "{role} {when}");
        }
        let broken = s.rows("select rule, detail from sec.security_check() where not ok");
        assert!(broken.is_empty(), "{when}: {broken:?}");
    };
    nothing_given("after CREATE EXTENSION");
    // Months that are made later, by whomever, with defaults of the schemas besides.
    for role in ["", "for role mps_owner"] {
        for schema in ["app", "audit", "sec", "mps_gateway"] {
            give(role, &format!("in schema {schema}"));
        }
    }
    assert_eq!(s.value("select sec.make_month('2090-05-01')"), "t");
    s.run("call app.maintain_partitions(6)");
    nothing_given("after new months");
    let stranger = db.login("stranger");
    for sql in [
        "select * from app.register_member('x')",
        "select sec.make_month('2091-01-01')",
        "select app.migrate()",
        "call app.expire_keys()",
        "truncate app.transactions_209005",
        "truncate app.settings",
        "insert into app.merchants (id, created_at, code, name) values (1, now(), 'X', 'x')",
        "select * from audit.event_log_209005",
        "select nextval('app.tx_no_seq')",
    ] {
        assert_eq!(stranger.failure(sql).code, "42501", "{sql}");
    }
    // The extension that is made again, over tables that are there, gives nothing either.
    s.run("drop extension mps cascade");
    s.run("create extension mps");
    nothing_given("after CREATE EXTENSION over the tables");
}

/// Ways to break the rules of `sec.security_check()`, each with every rule that it breaks and the object to be named.
const BREACHES: &[(&str, &[(&str, &str)])] = &[
    (
        "alter sequence audit.event_id_seq cache 10",
        &[("sequences give each number once, in the order of time", "audit.event_id_seq has CACHE 10")],
    ),
    (
        "insert into app.gateway_accounts values ('gate', 'wechat', true, null, now(), '{}');
         insert into sec.gateway_keys (account, kind, key_id, created_at, sealed, key) values ('gate', 'wechat_apiv3_key', 'k', now(), false, 'x')",
        &[("secrets of payment gateways are sealed", "gate k is kept plain")],
    ),
    ("alter table app.personal_cards disable row level security", &[(RLS, "app.personal_cards")]),
    ("alter table audit.event_log_{month} disable row level security", &[(RLS, "audit.event_log_{month}")]),
    ("alter table sec.api_grants disable row level security", &[(RLS, "sec.api_grants")]),
    ("grant usage on schema app to public", &[(PUBLIC, "schema app: USAGE to PUBLIC")]),
    ("grant usage on schema sec to anon", &[(PUBLIC, "schema sec: USAGE to anon")]),
    (
        "grant execute on function sec.uid() to public",
        &[(PUBLIC, "sec.uid(): EXECUTE to PUBLIC"), (LEVELS, "sec.uid() to PUBLIC")],
    ),
    (
        "grant select (level) on app.membership_levels to anon",
        &[
            (PUBLIC, "app.membership_levels.level: SELECT to anon"),
            (COLUMNS, "app.membership_levels.level to anon"),
        ],
    ),
    ("grant insert on app.transactions to service_role", &[(WRITE, "app.transactions: INSERT to service_role")]),
    ("grant insert (reason) on app.transactions to authenticated", &[(WRITE, "app.transactions.reason: INSERT to authenticated")]),
    ("grant update on sequence app.tx_no_seq to app_role", &[(WRITE, "app.tx_no_seq: UPDATE to app_role")]),
    ("grant create on schema audit to service_role", &[(WRITE, "schema audit: CREATE to service_role")]),
    (
        "grant select (qr_hash) on app.personal_cards to authenticated",
        &[(COLUMNS, "app.personal_cards.qr_hash to authenticated")],
    ),
    (
        "grant select (qr_hash) on app.enterprise_card_bindings to service_role",
        &[(COLUMNS, "app.enterprise_card_bindings.qr_hash to service_role")],
    ),
    ("grant select on app.personal_cards to app_role", &[(COLUMNS, "app.personal_cards to app_role")]),
    (
        "grant execute on function app.update_settings(jsonb) to authenticated",
        &[(LEVELS, "app.update_settings(jsonb) to authenticated")],
    ),
    (
        "grant execute on function sec.level_backend() to app_role",
        &[(LEVELS, "sec.level_backend() to app_role")],
    ),
    ("alter function app.get_settings() owner to stranger", &[(OWNED, "app.get_settings() belongs to stranger")]),
    ("alter function sec.admin_card_ids() reset search_path", &[(PATH, "sec.admin_card_ids()")]),
    ("alter function sec.merchant_ids() set search_path = public, pg_temp", &[(PATH, "sec.merchant_ids()")]),
    ("alter function sec.uid() security definer", &[(NATIVE, "sec.uid()"), (PATH, "sec.uid()")]),
    (
        "alter function app.tx_by_no(text) security definer set search_path = pg_catalog, pg_temp",
        &[(NATIVE, "app.tx_by_no(text)")],
    ),
    ("alter function sec.level_backend() owner to stranger", &[(OWNED, "sec.level_backend() belongs to stranger")]),
    ("alter table app.transactions force row level security", &[(RLS, "app.transactions binds its owner")]),
    ("grant service_role to anon", &[(PUBLIC, "anon is a member of service_role")]),
    ("create schema own authorization authenticated", &[(CREATE, "authenticated may CREATE in schema own")]),
    (
        "do $$ begin execute format('grant create on database %I to app_role', current_database()); end $$",
        &[(CREATE, "app_role may CREATE schemas")],
    ),
    ("create schema shared; grant usage, create on schema shared to public", &[(CREATE, "PUBLIC may CREATE in schema shared")]),
    (
        "create schema shared; grant usage on schema shared to service_role; grant create on schema shared to authenticated",
        &[(CREATE, "authenticated may CREATE in schema shared")],
    ),
    (
        "create function app.gift() returns void language sql security definer set search_path = pg_catalog, pg_temp as '';
         alter function app.gift() owner to mps_owner; revoke all on function app.gift() from public",
        &[(STRANGE, "app.gift()")],
    ),
    (
        "create policy planted on app.personal_cards for select using (sec.uid() is null or true)",
        &[(POLICIES, "planted on app.personal_cards")],
    ),
    (
        "alter policy own_card on app.personal_cards using (sec.uid() is null or true)",
        &[(POLICIES, "own_card on app.personal_cards")],
    ),
    ("drop policy own_transaction on app.transactions", &[(POLICIES, "own_transaction on app.transactions")]),
    (
        "drop policy own_card on app.personal_cards; create policy own_card on app.personal_cards using (member_id = (select sec.uid()))",
        &[(POLICIES, "own_card on app.personal_cards")],
    ),
    (
        "create policy planted on app.transactions_{month} for select using (true)",
        &[(POLICIES, "planted on app.transactions_{month}")],
    ),
    ("alter role mps_owner bypassrls", &[(OWNER, "mps_owner")]),
    ("alter role mps_owner createrole", &[(OWNER, "mps_owner")]),
    ("alter role mps_owner login", &[(OWNER, "mps_owner")]),
    ("grant service_role to mps_owner", &[(OWNER, "mps_owner is a member of service_role")]),
    ("grant mps_owner to stranger", &[(OWNER, "stranger is a member of mps_owner")]),
    ("alter table app.settings owner to stranger", &[(BELONGS, "app.settings belongs to stranger")]),
    ("alter schema audit owner to stranger", &[(BELONGS, "schema audit belongs to stranger")]),
    (
        "select sec.grant_api('stranger', 'client'); grant service_role to stranger",
        &[(LEVELUP, "stranger from service_role")],
    ),
    // It does not inherit, but may SET ROLE.
    ("grant service_role to app_role", &[(LEVELUP, "app_role from service_role")]),
    ("alter view app.v_user_cards reset (security_invoker)", &[(VIEWS, "app.v_user_cards")]),
    ("alter view app.v_usage_logs set (security_invoker = false)", &[(VIEWS, "app.v_usage_logs")]),
    ("alter table audit.event_log disable trigger append_only", &[(LOG, "audit.event_log has")]),
    ("alter table audit.event_log_{month} enable trigger append_only", &[(LOG, "audit.event_log_{month} has")]),
    ("drop trigger append_only on audit.event_log_{month}", &[(LOG, "audit.event_log_{month} has")]),
    ("drop trigger config_changed on app.settings", &[(CONFIG, "app.settings")]),
    ("alter table app.settings disable trigger config_row_changed", &[(CONFIG, "app.settings")]),
    ("alter table app.membership_levels disable trigger config_changed", &[(CONFIG, "app.membership_levels")]),
    ("drop trigger config_changed on app.closed_months", &[(CONFIG, "app.closed_months")]),
    ("alter table app.closed_months enable trigger config_row_changed", &[(CONFIG, "app.closed_months")]),
    ("drop trigger business_day_changed on app.settings", &[(CONFIG, "app.settings")]),
    (
        "create function public.note() returns trigger language plpgsql set search_path = '' as 'begin return null; end';
         create trigger note after insert on app.merchants for each row execute function public.note()",
        &[(OTHERS, "trigger note on table app.merchants runs public.note()")],
    ),
    ("insert into sec.api_grants values ('somebody gone', 'backend')", &[(REMEMBERED, "somebody gone (backend)")]),
    ("revoke execute on function sec.level_client() from app_role", &[(REMEMBERED, "app_role (client)")]),
    ("grant select (backend) on sec.level_holders to app_role", &[(REMEMBERED, "app_role (backend)")]),
    ("grant select on sec.level_holders to app_role", &[(COLUMNS, "sec.level_holders to app_role")]),
    ("alter role stranger createrole", &[(MEMBERS, "stranger has CREATEROLE")]),
    ("create role t_maker createrole; grant t_maker to stranger", &[(MEMBERS, "stranger as t_maker has CREATEROLE")]),
    (
        "grant mps_owner to stranger with admin option",
        &[(OWNER, "stranger is a member of mps_owner"), (MEMBERS, "stranger has ADMIN OPTION on mps_owner")],
    ),
    ("grant service_role to stranger with admin option", &[(PASSED, "stranger has ADMIN OPTION on service_role")]),
    ("grant pg_execute_server_program to app_role", &[(FILES, "app_role is a member of pg_execute_server_program")]),
    ("grant pg_read_server_files to stranger", &[(FILES, "stranger is a member of pg_read_server_files")]),
    (
        "create role t_between; grant pg_write_server_files to t_between; grant t_between to app_role",
        &[(FILES, "app_role is a member of pg_write_server_files; t_between is a member")],
    ),
    ("grant pg_read_all_data to app_role", &[(DATA, "app_role is a member of pg_read_all_data")]),
    ("grant pg_write_all_data to stranger", &[(DATA, "stranger is a member of pg_write_all_data")]),
    ("alter role service_role replication", &[(PAST, "service_role has REPLICATION")]),
    ("alter role app_role bypassrls", &[(PAST, "app_role bypasses row-level security")]),
    ("create role t_seer bypassrls; grant t_seer to app_role", &[(PAST, "app_role as t_seer bypasses row-level security")]),
    ("create role t_super superuser; grant t_super to app_role", &[(PAST, "app_role may become t_super, a superuser")]),
    ("grant create on schema pg_catalog to stranger", &[(CATALOG, "stranger may CREATE in pg_catalog")]),
    (
        "grant execute on function app.tx_by_no(text) to app_role with grant option",
        &[(PASSED, "app_role may pass on EXECUTE app.tx_by_no(text)")],
    ),
    (
        "grant select (balance) on app.personal_cards to authenticated with grant option",
        &[(PASSED, "authenticated may pass on SELECT app.personal_cards.balance")],
    ),
    ("grant usage on schema audit to stranger", &[(USED, "schema audit: USAGE to stranger")]),
    ("revoke usage on schema app from authenticated", &[(LACKS, "authenticated lacks USAGE schema app")]),
    (
        "revoke execute on function app.tx_by_no(text) from app_role",
        &[(LACKS, "app_role lacks EXECUTE app.tx_by_no(text)")],
    ),
    (
        "revoke select (balance) on app.personal_cards from service_role",
        &[(LACKS, "service_role lacks SELECT app.personal_cards.balance")],
    ),
    (
        "revoke execute on function sec.books_call(text) from mps_owner",
        &[(LACKS, "mps_owner lacks EXECUTE sec.books_call(text)")],
    ),
    ("alter function sec.books_call(text) owner to stranger", &[(BELONGS, "sec.books_call(text) belongs to stranger")]),
    (
        "drop trigger append_only on audit.seals; create trigger append_only before delete or truncate on audit.seals \
         for each statement execute function sec.append_only(); alter table audit.seals enable always trigger append_only",
        &[(LOG, "audit.seals has no enabled trigger append_only")],
    ),
];

/// What is as it should be, or is known to whoever administers.
const NO_BREACHES: &[&str] = &[
    "alter role stranger replication bypassrls createdb; grant pg_monitor, pg_signal_backend to stranger",
    "create role t_admin superuser login; grant t_admin to stranger",
    "create role t_backend bypassrls; select sec.grant_api('t_backend', 'backend')",
    "alter role stranger createrole replication bypassrls; grant pg_read_all_data, pg_write_all_data, pg_read_server_files to stranger;
     grant service_role, authenticated to stranger with admin option; select sec.grant_api('stranger', 'operator')",
];

#[test]
fn a_role_that_administers_is_no_breach() {
    let db = Db::new();
    let s = db.superuser();
    for sql in NO_BREACHES {
        s.run("begin");
        s.run(sql);
        let broken = s.rows("select rule, detail from sec.security_check() where not ok");
        s.run("rollback");
        assert!(broken.is_empty(), "{sql}: {broken:?}");
    }
    // Whoever has another level besides is none.
    s.run("begin; grant pg_read_all_data to app_role; select sec.grant_api('app_role', 'operator')");
    let broken = s.column("select rule from sec.security_check() where not ok");
    s.run("rollback");
    assert_eq!(broken, [DATA]);
}

/// Seen: it grants itself mps_owner, does what it likes, and takes the grant back; nothing was to be seen before or after.
#[test]
fn a_role_that_could_make_itself_the_owner_is_found_before_it_does() {
    let db = Db::new();
    let s = db.superuser();
    let is_old = s.value("select current_setting('server_version_num')::integer < 160000") == "t";
    s.run("begin; create role t_robber createrole; set local role t_robber; savepoint before");
    let granted = s.try_rows("grant mps_owner to t_robber").is_ok();
    s.run("rollback to before; reset role");
    let broken = s.column("select rule from sec.security_check() where not ok");
    s.run("rollback");
    assert_eq!((granted, broken.iter().any(|rule| rule == MEMBERS)), (is_old, is_old));
}

const RLS: &str = "row-level security is on for every table";
const PUBLIC: &str = "nothing is granted to PUBLIC or anon";
const WRITE: &str = "no role but the owner may write";
const COLUMNS: &str = "SELECT is granted only on the columns of the API";
const LEVELS: &str = "functions are granted only to the levels of the API";
const OWNED: &str = "SECURITY DEFINER functions belong to mps_owner";
const PATH: &str = "SECURITY DEFINER functions have a fixed search_path ending in pg_temp";
const NATIVE: &str = "native functions see who calls them (are not SECURITY DEFINER)";
const CREATE: &str = "clients create nothing where backends may find it";
const OWNER: &str = "mps_owner cannot log in, is no superuser and has no members";
const BELONGS: &str = "every relation and schema belongs to mps_owner";
const VIEWS: &str = "views run with the rights of who asks (security_invoker)";
const POLICIES: &str = "policies are those of mps, and only let read";
const LEVELUP: &str = "no client role inherits from a backend or operator role";
const STRANGE: &str = "the schemas hold no functions but those of mps";
const LOG: &str = "the event log is append-only";
const OTHERS: &str = "code of others on the tables fixes its search_path";
const CONFIG: &str = "settings and levels announce their changes";
const MEMBERS: &str = "nobody else makes himself a member of mps_owner";
const PASSED: &str = "nobody else passes on levels of the API";
const FILES: &str = "nobody else reaches files and programs of the server";
const DATA: &str = "nobody else reads or writes every table";
const PAST: &str = "whoever has a level of the API cannot read past it";
const CATALOG: &str = "nobody else creates in pg_catalog";
const USED: &str = "schemas are used only by the levels of the API";
const LACKS: &str = "levels and mps_owner have all their rights";
const REMEMBERED: &str = "remembered grants belong to roles that exist";

#[test]
fn each_breach_is_found_by_its_own_rule_and_by_no_other() {
    let db = Db::new();
    let s = db.superuser();
    let month = s.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    let mut wrong = Vec::new();
    let is_old = s.value("select current_setting('server_version_num')::integer < 160000") == "t";
    for (breach, expected) in BREACHES {
        // Such a role grants nothing but what it has ADMIN OPTION on, since 16.
        if !is_old && expected.iter().any(|(_, object)| object.ends_with("has CREATEROLE")) {
            continue;
        }
        s.run("begin");
        s.run(&breach.replace("{month}", &month));
        let broken = s.rows("select rule, detail from sec.security_check() where not ok");
        s.run("rollback");
        let found = broken.len() == expected.len()
            && expected.iter().all(|(rule, object)| {
                let object = object.replace("{month}", &month);
                broken.iter().any(|row| &row["rule"] == *rule && row["detail"].starts_with(&object))
            });
        if !found {
            wrong.push(format!("{breach}\n  {broken:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(s.value("select count(*) from sec.security_check() where not ok"), "0");
}

#[test]
fn every_rule_is_broken_by_some_breach() {
    let rules = Db::new().superuser().column("select rule from sec.security_check()");
    for rule in rules {
        assert!(BREACHES.iter().any(|(_, broken)| broken.iter().any(|(r, _)| *r == rule)), "{rule}");
    }
}

// Who sees what -------------------------------------------------------------------------------------------------------------

#[test]
fn a_former_employee_sees_no_balance_of_the_company() {
    let shop = Shop::open();
    let (boss, anna) = (shop.member("0"), shop.member("50.00"));
    let company = shop.company("1.000", "1000.00", &boss);
    shop.bind(&company, &anna, "member");
    let paid = shop.charge_company(&company, &anna, "10.00");
    shop.charge(&anna, "5.00");
    let employee = shop.db.user(anna.id);
    let seen = |what: &str| employee.column(&format!("select tx_no from {what} order by tx_no"));
    let by_no = || employee.rows(&format!("select * from app.tx_by_no('{}')", &paid["tx_no"]));
    assert!(seen("app.v_usage_logs").contains(&paid["tx_no"].to_owned()));
    assert_eq!(&by_no()[0]["balance_after"], "990.00");

    shop.backend.run(&format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, anna.id));
    shop.backend
        .run(&format!("select * from app.user_recharge_enterprise_card_admin('{}', 7777, 'cash')", company.card));
    shop.refund(&paid["tx_no"], "1.00");
    for view in ["app.v_usage_logs", "app.transactions"] {
        let own = employee.column(&format!("select distinct card_type from {view}"));
        assert_eq!((seen(view).len(), own), (2, vec!["personal".to_owned()]), "{view}");
    }
    // Its own payment it may still look at, and the refund of it.
    let rows = by_no();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert_eq!((&row["balance_after"], &row["member_id"]), (NULL, anna.id.to_string().as_str()));
    }
    for sql in [
        format!("select * from app.card_statement('{}', 'enterprise')", company.card),
        format!("select app.balance_as_of('{}', now(), 'enterprise')", company.card),
    ] {
        employee.refused("CARD_NOT_FOUND", &sql);
    }
    assert_eq!(employee.value("select count(*) from app.v_user_cards where card_type = 'enterprise'"), "0");
    // Bound again, it sees them again.
    shop.bind(&company, &anna, "member");
    assert_eq!(seen("app.v_usage_logs").len(), 4);
    assert_eq!(&by_no()[0]["balance_after"], "990.00");
}

#[test]
fn a_backend_that_bypasses_row_level_security_has_no_cards_of_others_in_its_view() {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("10.00"), shop.member("10.00"));
    shop.company("1.000", "10.00", &mei);
    assert_eq!(shop.backend.value("select rolbypassrls from pg_roles where rolname = current_user"), "t");
    for view in ["app.v_user_cards", "app.v_usage_logs"] {
        assert_eq!(shop.backend.value(&format!("select count(*) from {view}")), "0", "{view}");
    }
    // With somebody's claims it sees that one's.
    let session = shop.db.login("authenticator");
    session.become_role("service_role", &format!(r#"{{"role":"service_role","sub":"{}"}}"#, ming.id));
    for view in ["app.v_user_cards", "app.v_usage_logs"] {
        assert_eq!(session.column(&format!("select member_id from {view}")), [ming.id.to_string()], "{view}");
    }
}

// Locks that strangers could hold -------------------------------------------------------------------------------------------

#[test]
fn no_rpc_waits_for_a_lock_that_anybody_may_take() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    let company = shop.company("1.000", "1000.00", &ming);
    let paid = shop.charge(&ming, "100.00");
    let waiting = [shop.pending(&ming, "5.00"), shop.pending(&ming, "6.00")];
    let both = "p_idempotency_key => 'k-1', p_external_order_id => 'o-1'";
    let requests = [
        Shop::charge_sql(&shop.code(&ming), "10.00", both),
        Shop::charge_sql(&shop.company_code(&company, &ming), "10.00", &both.replace('1', "2")),
        Shop::refund_sql(&paid["tx_no"], "10.00", "p_idempotency_key => 'k-1'"),
        format!("select * from app.user_recharge_personal_card('{}', 5, 'cash', {both})", ming.card),
        format!(
            "select * from app.user_recharge_enterprise_card_admin('{}', 5, 'wechat', {})",
            company.card,
            both.replace('1', "2")
        ),
        format!("select * from app.confirm_recharge('{}', 5, 'g-1')", waiting[0]),
        format!("select * from app.fail_recharge('{}', 'x')", waiting[1]),
        format!("select * from app.compensate_tx('{}', 1, 'x', 'k-1')", &paid["tx_no"]),
        format!("select * from app.adjust_points('{}', 1, 'x', 'k-1')", ming.card),
        "select * from app.register_member('x')".into(),
        "select * from app.create_merchant('SHOP-009', 'x')".into(),
        format!("select app.enterprise_add_member('{}', '{}', 'admin')", company.card_no, ming.id),
        format!("select * from app.rotate_card_qr('{}')", ming.card),
        format!("select app.set_card_status('{}', 'personal', 'lost', 'x')", ming.card),
        format!("select * from app.replace_card('{}', 'x')", ming.card),
        format!("select app.set_member_status('{}', 'suspended', 'x')", ming.id),
        r#"select app.update_settings('{"qr_ttl_seconds": 60}')"#.into(),
    ];
    // A stranger holds all it can: many numbers, and what the locks of old were made of.
    let stranger = shop.db.login("stranger");
    stranger.run("select pg_advisory_lock(i) from generate_series(-500, 500) i");
    stranger.run("select pg_advisory_lock(1297109832, i) from generate_series(0, 20) i");
    for sql in [
        "lock table app.archived_months in share row exclusive mode",
        "lock table app.settings in access share mode",
        "lock table app.transactions in row exclusive mode",
        "select 1 from app.personal_cards for key share",
    ] {
        for session in [&stranger, &shop.db.user(ming.id), &shop.db.app_user(ming.id)] {
            session.run("begin");
            assert_eq!(session.failure(sql).code, "42501", "{sql}");
            session.run("rollback");
        }
    }
    shop.backend.run("set lock_timeout = '2s'");
    shop.backend.run("begin");
    let advisory =
        format!("select count(*) from pg_locks where locktype = 'advisory' and pid = {}", shop.backend.pid());
    for sql in &requests {
        shop.backend.run(sql);
        assert_eq!(shop.superuser.value(&advisory), "0", "{sql}");
    }
    shop.backend.run("commit");
    // Nor does the making of a month.
    let maker = shop.db.superuser();
    maker.run("set lock_timeout = '2s'");
    maker.run("begin");
    assert_eq!(maker.value("select sec.make_month('2090-01-01')"), "t");
    let advisory = format!("select count(*) from pg_locks where locktype = 'advisory' and pid = {}", maker.pid());
    assert_eq!(shop.superuser.value(&advisory), "0");
    maker.run("commit");
}

// Sign-ups ------------------------------------------------------------------------------------------------------------------

#[test]
fn the_owner_of_the_users_may_switch_sign_up_on_and_nothing_else() {
    let _roles = Db::new();
    let db = Db::empty();
    let s = db.superuser();
    s.run(
        "create schema auth authorization stranger;
         create table auth.users (id uuid primary key, email text, phone text, raw_user_meta_data jsonb);
         alter table auth.users owner to stranger;
         create extension mps",
    );
    let owner = db.login("stranger");
    assert_eq!(owner.value("select app.enable_supabase_signup()"), "t");
    assert_eq!(owner.value("select app.enable_supabase_signup()"), "f");
    for (meta, name) in [(r#"'{"name": "Ming"}'"#, "Ming"), ("null", "a@example.org")] {
        let id = nobody();
        owner.run(&format!("insert into auth.users values ('{id}', 'a@example.org', null, {meta})"));
        let row = s.row(&format!(
            "select m.name, c.status from app.member_profiles m join app.personal_cards c on c.member_id = m.id where m.id = '{id}'"
        ));
        assert_eq!(row.values(), [name, "active"]);
    }
    for sql in [
        format!("select sec.register_signup('{}', 'x', null, null)", nobody()),
        "select * from app.register_member('x')".into(),
        "select app.get_settings()".into(),
        "select count(*) from app.member_profiles".into(),
        "select count(*) from app.v_user_cards".into(),
        "select sec.make_month('2090-01-01')".into(),
    ] {
        owner.denied(&sql);
    }
    assert_eq!(s.column("select rule from sec.security_check() where not ok"), [] as [String; 0]);
    // Where the users came later, a superuser grants it.
    let later_db = Db::new();
    let later = later_db.superuser();
    later.run(
        "create schema auth authorization stranger;
         create table auth.users (id uuid primary key, email text, phone text, raw_user_meta_data jsonb);
         alter table auth.users owner to stranger",
    );
    let owner = later_db.login("stranger");
    owner.denied("select app.enable_supabase_signup()");
    later.run("select sec.grant_api('stranger', 'signup')");
    assert_eq!(owner.value("select app.enable_supabase_signup()"), "t");
    owner.run(&format!("insert into auth.users (id) values ('{}')", nobody()));
    assert_eq!(later.value("select count(*) from app.member_profiles"), "1");
}
