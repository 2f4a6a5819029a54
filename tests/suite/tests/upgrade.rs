//! From one release to the next: with data in it, with the old library still loaded, by ALTER EXTENSION and by an old dump.
//! Each old release is the real one: its install script as it was released, its library built from the repository's history.

use mps_tests::releases::{Old, before, copy, installed, library, old_backend, old_releases, schema_version};
use mps_tests::{Db, NULL, Session, Shop, q};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// What a database consists of, as text without oids: relations, columns, constraints, functions, privileges and so on.
const SCHEMA: &[&str] = &[
    "select 'relation ' || c.oid::regclass || ' ' || c.relkind::text || ' rls ' || c.relrowsecurity || c.relforcerowsecurity || ' owner \
     ' || pg_get_userbyid(c.relowner) \
        || ' ' || coalesce(c.reloptions::text, '') || ' ' || c.relreplident::text || ' ' || coalesce(pg_get_expr(c.relpartbound, \
        c.oid), '') || ' says ' || coalesce(obj_description(c.oid, 'pg_class'), '-') \
     from pg_class c where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway') and c.relkind <> 't'",
    "select 'column ' || c.oid::regclass || ' ' || a.attnum || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' \
     || a.attnotnull || a.attstorage::text || array(select o from unnest(a.attoptions) o where o !~ '^pg_attver=' order by 1)::text \
        || ' default ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '-') || ' says ' || coalesce(col_description(c.oid, a.attnum), '-') \
     from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 left join pg_attrdef d on d.adrelid = c.oid and d.adnum \
     = a.attnum \
     where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway') and c.relkind in ('r', 'p', 'v', \
     'S')",
    "select 'index ' || pg_get_indexdef(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indrelid where \
     c.relnamespace::regnamespace::text in ('app', 'audit', 'sec')",
    "select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint where \
     connamespace::regnamespace::text in ('app', 'audit', 'sec')",
    "select 'view ' || c.oid::regclass || ' ' || pg_get_viewdef(c.oid) from pg_class c where c.relkind = 'v' and \
     c.relnamespace::regnamespace::text in ('app', 'audit', 'sec')",
    "select 'policy ' || polrelid::regclass || ' ' || polname || ' ' || polcmd::text || polpermissive || polroles::text || ' ' || \
     pg_get_expr(polqual, polrelid) from pg_policy",
    "select 'trigger ' || pg_get_triggerdef(oid) || ' ' || tgenabled::text from pg_trigger where not tgisinternal",
    "select 'type ' || e.enumtypid::regtype || ' ' || string_agg(e.enumlabel, ',' order by e.enumsortorder) || ' ' || \
     min(pg_get_userbyid(t.typowner)) || coalesce(min(obj_description(t.oid, 'pg_type')), '-') \
     from pg_enum e join pg_type t on t.oid = e.enumtypid group by e.enumtypid",
    "select 'function ' || pg_get_functiondef(p.oid) || ' owner ' || pg_get_userbyid(p.proowner) || ' says ' || \
     coalesce(obj_description(p.oid, 'pg_proc'), '-') \
     from pg_proc p where p.pronamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_gateway')",
    "select 'sequence ' || s.seqrelid::regclass || ' ' || s.seqtypid::regtype || ' ' || s.seqstart || ' ' || s.seqincrement || ' ' || \
     s.seqmax || ' ' || s.seqmin || ' ' || s.seqcache || s.seqcycle \
     from pg_sequence s",
    "select 'granted ' || c.oid::regclass || ' ' || a.grantee::regrole || ' ' || a.privilege_type from pg_class c, aclexplode(c.relacl) \
     a where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec') and a.grantee <> c.relowner",
    "select 'granted ' || c.oid::regclass || '.' || t.attname || ' ' || a.grantee::regrole || ' ' || a.privilege_type from pg_class c \
     join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a \
     where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec')",
    "select 'granted ' || p.oid::regprocedure || ' ' || a.grantee::regrole || ' ' || a.privilege_type from pg_proc p, \
     aclexplode(p.proacl) a where p.pronamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_gateway') and a.grantee <> p.proowner",
    "select 'public ' || p.oid::regprocedure from pg_proc p where p.proacl is null and p.pronamespace::regnamespace::text in ('app', \
     'audit', 'sec', 'mps_gateway')",
    "select 'schema ' || n.nspname || ' owner ' || pg_get_userbyid(n.nspowner) || ' says ' || coalesce(obj_description(n.oid, \
     'pg_namespace'), '-') \
     from pg_namespace n where n.nspname in ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway')",
    "select 'schema ' || n.nspname || ' to ' || a.grantee::regrole || ' ' || a.privilege_type \
     from pg_namespace n, aclexplode(n.nspacl) a \
     where n.nspname in ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway') and a.grantee <> n.nspowner",
    "select 'member ' || pg_describe_object(d.classid, d.objid, d.objsubid) from pg_depend d join pg_extension e on d.refclassid = \
     'pg_extension'::regclass and d.refobjid = e.oid where e.extname = 'mps' and d.deptype = 'e'",
    "select 'initial privileges ' || i.classoid::regclass || i.objoid from pg_init_privs i where i.privtype = 'e'",
    "select 'extension ' || extversion || ' in ' || extnamespace::regnamespace || extrelocatable from pg_extension where extname = 'mps'",
    "select 'domain ' || t.oid::regtype || ' of ' || t.typbasetype::regtype || ' owner ' || pg_get_userbyid(t.typowner) || ' to ' || \
     coalesce(t.typacl::text, '-') || ' says ' || coalesce(obj_description(t.oid, 'pg_type'), '-') from pg_type t where t.typtype = 'd' \
     and t.typnamespace <> 'information_schema'::regnamespace",
    "select 'setting ' || to_jsonb(s)::text from app.settings s",
    "select 'level ' || to_jsonb(l)::text from app.membership_levels l",
];

fn schema(session: &Session) -> BTreeSet<String> {
    SCHEMA.iter().flat_map(|sql| session.column(sql)).collect()
}

#[track_caller]
fn same(was: &BTreeSet<String>, is: &BTreeSet<String>) {
    let lost: Vec<&String> = was.difference(is).collect();
    let new: Vec<&String> = is.difference(was).collect();
    assert!(lost.is_empty() && new.is_empty(), "only in the first: {lost:#?}\nonly in the second: {new:#?}");
}

/// The schema of a fresh install of this release.
fn fresh() -> BTreeSet<String> {
    schema(&Db::new().superuser())
}

/// The old release, as its own library made it, with a shop in which everything has happened.
fn old_release(old: &Old) -> Db {
    let db = installed(old);
    trade(&db, &old.options);
    db
}

fn trade(db: &Db, options: &str) {
    let backend = old_backend(db, options);
    let cashier = "11111111-1111-4111-8111-111111111111";
    backend.run("select * from app.create_merchant('SHOP-001', 'Corner Coffee')");
    backend.run(&format!("select app.set_merchant_user('SHOP-001', '{cashier}')"));
    let ming = backend.row("select * from app.register_member('Ming', '13800000000')");
    let mei = backend.row("select * from app.register_member('Mei')");
    for (member, amount) in [(&ming, "9000.00"), (&mei, "50.00")] {
        backend
            .run(&format!("select * from app.user_recharge_personal_card('{}', {amount}, 'cash')", &member["card_id"]));
    }
    let charge = |backend: &Session, code: &str, more: &str| {
        backend.row(&format!("select * from app.merchant_charge_by_qr('SHOP-001', {}, {more})", q(code)))
    };
    // Past the first skip link, so that the chains are there.
    let mut paid = None;
    for n in 0..70 {
        let code = personal_code(&backend, &ming["card_id"]);
        paid = Some(charge(&backend, &code, &format!("100.00, 'coffee', '{{}}', 'k-{n}', 'o-{n}'")));
    }
    let paid = paid.expect("charged");
    backend.run(&format!("select * from app.merchant_refund_tx('SHOP-001', '{}', 33.33, 'cold')", &paid["tx_no"]));
    let company =
        backend.row(&format!("select * from app.create_enterprise_card('Great Wall', 0.900, '{}')", &mei["member_id"]));
    backend
        .run(&format!("select * from app.user_recharge_enterprise_card_admin('{}', 500, 'cash')", &company["card_id"]));
    let code = backend.row(&format!(
        "select * from app.rotate_card_qr('{}', 'enterprise', '{}')",
        &company["card_id"], &mei["member_id"]
    ));
    charge(&backend, &code["qr_plain"], "10.00");
    backend.run(&format!("select * from app.compensate_tx('{}', -1.00, 'x')", &paid["tx_no"]));
    backend.run(&format!("select app.set_card_status('{}', 'personal', 'lost', 'x')", &mei["card_id"]));
    backend.run(&format!("select * from app.replace_card('{}', 'x')", &mei["card_id"]));
    backend.run(r#"select app.update_settings('{"qr_ttl_seconds": 120}')"#);
}

fn personal_code(backend: &Session, card: &str) -> String {
    backend.row(&format!("select * from app.rotate_card_qr('{card}')"))["qr_plain"].to_owned()
}

/// Every row, without what is NULL in it, of every table but the schema's version, what maintenance notes and how grants are noted
/// (grants.rs).
fn rows(session: &Session) -> Vec<String> {
    session
        .column(
            "select c.oid::regclass::text from pg_class c where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec') \
               and c.relkind = 'r' and c.relname not in ('settings', 'job_runs', 'api_grants', 'level_holders') order by 1",
        )
        .iter()
        .map(|table| {
            session.value(&format!(
                "select '{table} ' || count(*) || md5(coalesce(string_agg(r, '|' order by r), '')) \
                 from (select jsonb_strip_nulls(to_jsonb(t))::text as r from {table} t) t"
            ))
        })
        .collect()
}

/// Tables that were there hold what they held (but for two lists that 0.3.0 writes anew), new ones nothing.
#[track_caller]
fn rows_kept(before: &[String], after: &[String]) {
    let table = |line: &str| line.split(' ').next().unwrap().to_owned();
    let rewritten = ["sec.api_grants", "app.external_orders"];
    let lost: Vec<_> =
        before.iter().filter(|line| !after.contains(line) && !rewritten.contains(&table(line).as_str())).collect();
    assert!(lost.is_empty(), "rows changed: {lost:#?}");
    let known: BTreeSet<String> = before.iter().map(|line| table(line)).collect();
    // What a day is has a rule from the beginning.
    let filled = ["app.business_day_rules"];
    let new: Vec<_> = after
        .iter()
        .filter(|line| !known.contains(&table(line)) && !filled.contains(&table(line).as_str()))
        .filter(|line| !line.contains(" 0d41d8cd98f0"))
        .collect();
    assert!(new.is_empty(), "rows of no release: {new:#?}");
}

/// A charge that continues the numbers, the books, the rules.
fn trades_on(db: &Db) {
    let (s, backend) = (db.superuser(), db.backend());
    let card = s.value("select id from app.personal_cards where card_no = 'VIP00000001'");
    let highest: i64 = s.value("select max(id) from app.transactions").parse().expect("an id");
    let code = personal_code(&backend, &card);
    let row = backend.row(&format!("select * from app.merchant_charge_by_qr('SHOP-001', {}, 100.00)", q(&code)));
    assert!(row["tx_id"].parse::<i64>().unwrap() > highest, "a number came twice");
    let known = backend.row(&format!(
        "select * from app.merchant_charge_by_qr('SHOP-001', {}, 100.00, 'coffee', '{{}}', 'k-0', 'o-0')",
        q(&code)
    ));
    assert_eq!(&known["replayed"], "t", "a key of the old release is forgotten");
    assert_eq!(backend.value("select app.get_settings() ->> 'qr_ttl_seconds'"), "120");
    // What an old release recharged goes back out, and is counted as what it is.
    let withdrawn = backend.row(&format!("select * from app.withdraw('{card}', 1.00, 'x', 'upgraded')"));
    assert_ne!(&withdrawn["source_tx_no"], NULL);
    for totals in ["app.v_reconciliation", "app.day_totals()"] {
        let sql = format!("select sum(withdrawals) || ' ' || sum(withdrawal_total) from {totals}");
        assert_eq!(s.value(&sql), "1 1.00", "{totals}");
    }
    let statement = format!("select tx_type || ' ' || change from app.card_statement('{card}', p_limit => 1)");
    assert_eq!(backend.value(&statement), "withdrawal -1.00");
    assert_eq!(
        s.column("select check_name || ': ' || detail from app.verify_books() where ok is not true"),
        [] as [String; 0]
    );
    assert_eq!(s.column("select rule || ': ' || detail from sec.security_check() where not ok"), [] as [String; 0]);
}

#[test]
fn an_upgraded_install_is_a_fresh_one() {
    let fresh = fresh();
    for old in old_releases() {
        let db = installed(old);
        // By a session that has no library of the old release.
        let s = db.superuser();
        s.run("alter extension mps update");
        same(&fresh, &schema(&s));
        // Once more is nothing, and so is a migration of what is up to date.
        s.run("alter extension mps update");
        s.run("select app.migrate()");
        same(&fresh, &schema(&s));
    }
}

#[test]
fn an_upgrade_step_by_step_is_a_fresh_install() {
    for (old, next) in old_releases().iter().zip(old_releases().iter().skip(1)) {
        let db = installed(old);
        db.superuser_with(&next.options).run(&format!("alter extension mps update to '{}'", next.version));
        let s = db.superuser();
        s.run("alter extension mps update");
        same(&fresh(), &schema(&s));
    }
}

#[test]
fn an_upgrade_notes_what_was_posted_in_another_month_and_a_view_on_the_statement_goes_on() {
    for old in before("0.3.0") {
        let mut db = old_release(old);
        db.without_books(); // a movement is moved in time
        let s = db.superuser();
        s.run(
            "update app.transactions set posted_at = posted_at + interval '40 days' \
             where id = (select max(id) from app.transactions where status = 'completed' and merchant_id is not null); \
             create view public.lines as select * from app.merchant_statement('SHOP-001', p_limit => 500)",
        );
        let lines = db.superuser_with(&old.options).column("select tx_no from public.lines order by 1");
        s.run("alter extension mps update");
        let noted = "select count(*) from app.late_postings l join app.transactions t on t.id = l.tx_id \
                     and (t.created_at, t.posted_at, t.merchant_id, t.card_id) = (l.created_at, l.posted_at, l.merchant_id, l.card_id)";
        assert_eq!(s.value(noted), "1");
        assert_eq!(s.value("select detail from app.verify_books() where check_name = 'late_postings'"), "ok");
        assert!(!lines.is_empty());
        assert_eq!(s.column("select tx_no from public.lines order by 1"), lines);
        assert_eq!(s.column("select tx_no from app.merchant_statement('SHOP-001', p_limit => 500) order by 1"), lines);
        let totals = "select coalesce(sum(net), 0) from app.v_reconciliation";
        assert_eq!(
            s.value(totals),
            s.value(
                "select sum(balance) from (select balance from app.personal_cards union all select balance \
         from app.enterprise_cards) x"
            )
        );
    }
}

/// Whether a backend has a library loaded, as its own server sees it.
fn has_loaded(s: &Session, pid: &str, library: &str) -> bool {
    s.value(&format!("select pg_read_file('/proc/{pid}/maps') like '%/{library}.so%'")) == "t"
}

#[test]
fn an_upgrade_keeps_every_row_and_sessions_of_the_old_library_go_on() {
    for old in old_releases() {
        let mut db = old_release(old);
        let s = db.superuser();
        // Roles are the server's: named so that a run that failed leaves nothing in the way.
        let (clerk, night) = (format!("{}_clerk", db.name), format!("{}_night", db.name));
        s.run(&format!("create role {clerk} nologin; create role {night} nologin"));
        s.run(&format!("select sec.grant_api('{clerk}', 'client'), sec.grant_api('{night}', 'operator')"));
        let session = old_backend(&db, &old.options);
        let card = s.value("select id from app.personal_cards where card_no = 'VIP00000001'");
        // What a session keeps: settings, plans, statements of its own.
        session.run("prepare code as select qr_plain from app.rotate_card_qr($1)".replace("$1", &q(&card)).as_str());
        session.run("prepare charge(text) as select tx_no from app.merchant_charge_by_qr('SHOP-001', $1, 1.00)");
        session.run(
            "create function pg_temp.pay(code text) returns text language plpgsql as \
             $$ begin return c.tx_no from app.merchant_charge_by_qr('SHOP-001', code, 1.00) c; end $$",
        );
        let pay = || {
            session.run(&format!("execute charge({})", q(session.value("execute code"))));
            session.value(&format!("select pg_temp.pay({})", q(session.value("execute code"))));
        };
        pay();
        session.run("select app.get_settings()");
        let (was, is) = (library(old.version), library(env!("CARGO_PKG_VERSION")));
        assert!(has_loaded(&s, &session.pid(), &was) && !has_loaded(&s, &session.pid(), &is));
        let before = rows(&s);

        s.run("alter extension mps update");
        rows_kept(&before, &rows(&s));
        let without = |line: &String| !["setting ", "granted ", "schema "].iter().any(|start| line.starts_with(start));
        same(&fresh().into_iter().filter(without).collect(), &schema(&s).into_iter().filter(without).collect());

        // The session goes on, by the new library beside the old one, and each is told of changes.
        pay();
        session.run("select app.get_settings()");
        assert!(has_loaded(&s, &session.pid(), &was) && has_loaded(&s, &session.pid(), &is));
        db.backend().run(r#"select app.update_settings('{"qr_ttl_seconds": 77}')"#);
        assert_eq!(session.value("select app.get_settings() ->> 'qr_ttl_seconds'"), "77");
        session.run(r#"select app.update_settings('{"qr_ttl_seconds": 120}')"#);
        pay();
        trades_on(&db);
        // A grant of before reaches what is new.
        for (role, function) in [(&night, "app.health()"), (&clerk, "app.tx_by_no(text)")] {
            assert_eq!(s.value(&format!("select has_function_privilege('{role}', '{function}', 'execute')")), "t");
        }
        s.run(&format!("drop owned by {clerk}, {night}; drop role {clerk}, {night}"));
        db.with_books();
    }
}

#[test]
fn charges_under_way_during_an_upgrade_are_made_and_never_lost() {
    for old in old_releases() {
        let mut db = old_release(old);
        let s = db.superuser();
        let card = s.value("select id from app.personal_cards where card_no = 'VIP00000001'");
        let paid = || {
            s.value("select count(*) from app.transactions where tx_type = 'payment'")
                .parse::<usize>()
                .expect("a count")
        };
        let before = paid();
        let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
        let refused = thread::scope(|scope| {
            let clerks: Vec<_> = (0..3)
                .map(|_| {
                    let session = old_backend(&db, &old.options);
                    let (card, stop, made) = (&card, &stop, &made);
                    scope.spawn(move || {
                        let mut refused = 0;
                        while !stop.load(Ordering::Relaxed) {
                            let code = session.try_row(&format!("select * from app.rotate_card_qr('{card}')"));
                            let paid = code.and_then(|code| {
                                let code = q(&code["qr_plain"]);
                                session.try_row(&format!(
                                    "select * from app.merchant_charge_by_qr('SHOP-001', {code}, 0.01)"
                                ))
                            });
                            match paid {
                                Ok(_) => _ = made.fetch_add(1, Ordering::Relaxed),
                                // Another clerk has rotated the code meanwhile.
                                Err(e) if e.message == "QR_EXPIRED_OR_INVALID" => {}
                                Err(e) if e.message == "SCHEMA_OUTDATED" => refused += 1,
                                Err(e) => panic!("{e:?}"),
                            }
                        }
                        refused
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(300));
            s.run("alter extension mps update");
            let meanwhile = made.load(Ordering::Relaxed);
            assert!(meanwhile > 0, "nobody paid before the upgrade");
            thread::sleep(Duration::from_millis(300));
            assert!(made.load(Ordering::Relaxed) > meanwhile, "nobody paid after the upgrade");
            stop.store(true, Ordering::Relaxed);
            clerks.into_iter().map(|c| c.join().expect("a clerk")).max().expect("clerks")
        });
        // Only the call that was in the old library while the tables changed.
        assert!(refused <= 1, "a clerk was refused {refused} times");
        assert_eq!(paid() - before, made.load(Ordering::Relaxed), "what was answered and what is in the books");
        trades_on(&db);
        db.with_books();
    }
}

#[test]
fn a_dump_of_the_old_release_is_migrated() {
    for old in old_releases() {
        let from = old_release(old);
        let mut db = Db::empty();
        copy(&from, &db);
        let s = db.superuser();
        db.backend().refused("SCHEMA_OUTDATED", "select app.get_settings()");
        assert_eq!(s.value("select ok from app.health() where check_name = 'schema_version'"), "f");
        let before = rows(&s);
        assert_eq!(s.value("select app.migrate()"), schema_version());
        rows_kept(&before, &rows(&s));
        let without = |line: &String| !line.starts_with("setting ");
        same(&fresh().into_iter().filter(without).collect(), &schema(&s).into_iter().filter(without).collect());
        trades_on(&db);
        db.with_books();
    }
}

/// Everything that somebody can hang on the functions of the API, made in the schema `public`: a view and a materialised
/// view, a function in SQL's own form and one in text for each; a policy and a default. Returns the statements that use them.
fn build_on_the_api(s: &Session) -> Vec<String> {
    s.run(
        "create table public.notes (id uuid default sec.uid(), note text); alter table public.notes enable row level security; \
         create policy own on public.notes using (id = sec.uid() or exists (select from sec.merchant_ids()))",
    );
    let functions = s.rows(
        "select p.proname as name, p.oid::regproc::text || '(' || coalesce((select string_agg('null::' || t.type::regtype, ', ' order \
         by t.n) \
                from unnest(p.proargtypes) with ordinality t (type, n)), '') || ')' as call \
         from pg_proc p where p.prokind = 'f' and p.prorettype <> 'trigger'::regtype and p.oid::regproc::text in (select f.func from \
         sec.api_functions() f) \
           and p.proname !~ '_batch$' and p.oid::regproc::text ~ '^app' order by 1",
    );
    assert!(functions.len() > 25, "{functions:?}");
    let mut uses = vec!["insert into public.notes (note) values ('x')".to_owned()];
    for f in &functions {
        let (name, call) = (&f["name"], &f["call"]);
        s.run(&format!(
            "create view public.v_{name} as select x::text as x from {call} x; \
             create materialized view public.m_{name} as select x::text as x from {call} x with no data; \
             create function public.s_{name}() returns setof text begin atomic select x::text from {call} x; end; \
             create function public.p_{name}() returns setof text language plpgsql as $$ begin return query select x::text from {call} \
             x; end $$",
        ));
        uses.push(format!("select * from public.v_{name}"));
        uses.push(format!("refresh materialized view public.m_{name}"));
        uses.push(format!("select * from public.s_{name}()"));
        uses.push(format!("select * from public.p_{name}()"));
    }
    uses
}

/// What the statements come to, each undone.
fn outcomes(s: &Session, statements: &[String]) -> Vec<String> {
    statements
        .iter()
        .map(|sql| {
            s.run("begin");
            let answer = s.try_rows(sql);
            s.run("rollback");
            let says = match answer {
                Ok(rows) if rows.is_empty() => "nothing".into(),
                Ok(_) => "rows".into(),
                Err(e) if e.code.starts_with("PT") => "an error of ours".into(),
                Err(e) => format!("{} {}", e.code, e.message),
            };
            format!("{sql}: {says}")
        })
        .collect()
}

#[track_caller]
fn all_work(before: &[String], after: &[String]) {
    let changed: Vec<_> = after.iter().filter(|outcome| !before.contains(outcome)).collect();
    assert!(changed.is_empty() && before.len() == after.len(), "{changed:#?}");
}

/// Every right on what the extension and its schemas hold, by whom and to whom, on objects by their oid.
const RIGHTS: &str = "\
    with spaces as (select n.* from pg_namespace n where n.nspname in ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway')) \
    select o.kind || ' ' || o.oid || ' ' || o.col || ' ' || a.grantor::regrole || ' to ' || a.grantee::regrole || ' ' || \
    a.privilege_type || a.is_grantable \
    from (select 'schema' as kind, s.oid, '' as col, s.nspacl as acl from spaces s \
          union all select 'relation', c.oid, '', c.relacl from pg_class c join spaces s on s.oid = c.relnamespace \
          union all select 'column', c.oid, t.attname::text, t.attacl \
              from pg_attribute t join pg_class c on c.oid = t.attrelid join spaces s on s.oid = c.relnamespace \
          union all select 'function', p.oid, '', p.proacl from pg_proc p join spaces s on s.oid = p.pronamespace) o, aclexplode(o.acl) a";

/// Three roles; each has given what it may to the next, down to every column.
struct Chain(Vec<String>);

impl Chain {
    fn grant(s: &Session, name: &str) -> Chain {
        let roles: Vec<String> = (1..=3).map(|n| format!("{name}_r{n}")).collect();
        for (n, role) in roles.iter().enumerate() {
            s.run(&format!("create role {role}; grant create on schema public to {role}"));
            if n > 0 {
                s.run(&format!("set role {}", roles[n - 1]));
            }
            for grant in s.column(&format!(
                "select format('grant all on schema %I to {role} with grant option', n.nspname) \
                    from pg_namespace n where n.nspname in ('app', 'audit', 'sec') \
                 union all select format('grant all on %s %s to {role} with grant option', \
                        case c.relkind when 'S' then 'sequence' else 'table' end, c.oid::regclass) \
                    from pg_class c where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec') and c.relkind in ('r', 'p', \
                    'v', 'S') \
                 union all select format('grant select (%I) on %s to {role} with grant option', t.attname, c.oid::regclass) \
                    from pg_class c join pg_attribute t on t.attrelid = c.oid and t.attnum > 0 \
                    where c.relnamespace::regnamespace::text in ('app', 'audit') and c.relkind in ('r', 'p') \
                 union all select format('grant execute on routine %s to {role} with grant option', p.oid::regprocedure) \
                    from pg_proc p where p.pronamespace::regnamespace::text in ('app', 'audit', 'sec')"
            )) {
                s.run(&grant);
            }
            s.run("reset role");
        }
        Chain(roles)
    }

    fn end(self, s: &Session) {
        let roles = self.0.join(", ");
        s.run(&format!("drop owned by {roles} cascade; drop role {roles}"));
    }
}

fn no_right_is_lost(before: &[String], after: &[String]) {
    let lost: Vec<_> = before.iter().filter(|right| !after.contains(right)).collect();
    assert!(lost.is_empty(), "lost: {lost:#?}");
    // A column that is new is no column that was there.
    let object = |right: &String| right.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let known: BTreeSet<String> = before.iter().map(object).collect();
    let new: Vec<_> = after.iter().filter(|r| !before.contains(r) && known.contains(&object(r))).collect();
    assert!(new.is_empty(), "new on what was there: {new:#?}");
}

const CONFIRM_RECHARGE: &str =
    "select p.oid::regprocedure::text from pg_proc p where p.proname = 'confirm_recharge' order by 1";
const MAY_CONFIRM: &str = "select array(select a.* from unnest(p.proacl::text[]) a order by 1)::text from pg_proc p where p.proname = \
 'confirm_recharge'";

#[test]
fn an_upgrade_leaves_what_others_built_and_granted() {
    for old in before("0.3.0") {
        let db = installed(old);
        let s = db.superuser_with(&old.options);
        let uses = build_on_the_api(&s);
        let chain = Chain::grant(&s, &db.name);
        let newcomer = format!("{}_new", db.name);
        s.run(&format!(
            "create role {newcomer}; alter default privileges grant execute on functions to {newcomer}; \
             alter default privileges grant all on tables to {newcomer}; alter default privileges grant all on sequences to {newcomer}; \
             alter default privileges grant all on schemas to {newcomer}"
        ));
        let (worked, rights) = (outcomes(&s, &uses), s.column(RIGHTS));
        let oid = s.value("select 'app.confirm_recharge'::regproc::oid");
        let acl = s.value(MAY_CONFIRM);

        let s = db.superuser();
        s.run("alter extension mps update");
        all_work(&worked, &outcomes(&s, &uses));
        no_right_is_lost(&rights, &s.column(RIGHTS));
        let given = s.column(RIGHTS).into_iter().filter(|right| right.contains(&newcomer)).collect::<Vec<_>>();
        assert_eq!(given, [] as [String; 0], "by default privileges, on what is new");
        assert_eq!(
            s.column(CONFIRM_RECHARGE),
            [
                "app.confirm_recharge(text,numeric,text,jsonb,text)",
                "mps_compat.confirm_recharge(text,numeric,text,jsonb)"
            ]
        );
        assert_eq!(s.value("select 'mps_compat.confirm_recharge'::regproc::oid"), oid, "another function");
        assert_eq!(s.column(MAY_CONFIRM), [acl.as_str(); 2]);
        // Who has only what another role gave may call both.
        for call in ["select * from public.p_confirm_recharge()", "select * from public.v_confirm_recharge"] {
            s.run("reset role");
            s.run(&format!("grant select on public.v_confirm_recharge to {}; set role {0}", chain.0[2]));
            assert_eq!(s.failure(call).message, "INVALID_ARGUMENT");
        }
        s.run("reset role");

        // A dump of it is complete by itself.
        let copied = Db::empty();
        copy(&db, &copied);
        let c = copied.superuser();
        assert_eq!(c.column(CONFIRM_RECHARGE), s.column(CONFIRM_RECHARGE));
        all_work(&worked, &outcomes(&c, &uses));
        assert_eq!(c.column(MAY_CONFIRM), [acl.as_str(); 2]);
        // So is what is left without the extension, once it is back.
        c.run("drop extension mps cascade; create extension mps");
        let view =
            "create or replace view public.kept as select * from mps_compat.confirm_recharge('CZ2611000001', 1, 'x')";
        c.run(view);
        assert_eq!(c.failure("select * from public.kept").message, "TX_NOT_FOUND");

        for session in [c, s] {
            session.run(&format!("drop owned by {newcomer} cascade; drop owned by {} cascade", chain.0.join(", ")));
        }
        drop(copied);
        let s = db.superuser();
        s.run(&format!("drop role {newcomer}"));
        chain.end(&s);
    }
}

#[test]
fn nothing_is_kept_of_a_function_that_nobody_uses() {
    for old in before("0.3.0") {
        let db = installed(old);
        let s = db.superuser();
        s.run("alter extension mps update");
        // For calls that were under way, and nobody else.
        let kept = "select p.proname, array_length(p.proacl, 1) from pg_proc p \
                    where p.pronamespace = 'mps_compat'::regnamespace order by 1";
        let kept: Vec<String> = s.rows(kept).iter().map(|row| row.values().join(" ")).collect();
        assert_eq!(
            kept,
            ["confirm_recharge", "merchant_charge_by_qr", "merchant_statement", "set_card_expiry"]
                .map(|f| format!("{f}_under_way 1"))
        );
        s.run("select app.migrate()");
        assert_eq!(s.value("select count(*) from pg_proc p where p.pronamespace = 'mps_compat'::regnamespace"), "0");
        assert_eq!(s.column(CONFIRM_RECHARGE), ["app.confirm_recharge(text,numeric,text,jsonb,text)"]);
    }
}

#[test]
fn a_dump_of_the_old_release_brings_what_others_built_and_granted() {
    for old in before("0.3.0") {
        let from = installed(old);
        let s = from.superuser_with(&old.options);
        let uses = build_on_the_api(&s);
        s.run("create view public.three as select * from app.confirm_recharge('CZ2611000001', 1, 'x')");
        let chain = Chain::grant(&s, &from.name);
        let worked = outcomes(&s, &uses);
        let acl = s.value(MAY_CONFIRM);
        let db = Db::empty();
        copy(&from, &db);
        let n = db.superuser();
        assert_eq!(n.failure("select * from app.confirm_recharge('CZ2611000001', 1, 'x')").message, "SCHEMA_OUTDATED");
        n.run("select app.migrate()");
        all_work(&worked, &outcomes(&n, &uses));
        assert_eq!(n.failure("select * from public.three").message, "TX_NOT_FOUND");
        assert_eq!(n.column(MAY_CONFIRM), [acl.as_str(); 2]);
        n.run("select app.migrate()");
        for session in [&n, &s] {
            session.run(&format!("drop owned by {} cascade", chain.0.join(", ")));
        }
        chain.end(&s);
    }
}

#[test]
fn functions_of_before_are_watched_and_go_with_everything_else() {
    let Some(old) = before("0.3.0").last() else { return };
    let db = installed(old);
    let s = db.superuser_with(&old.options);
    s.run("create view public.v as select * from app.confirm_recharge('CZ2611000001', 1, 'x')");
    s.run("alter extension mps update");
    let bad = "select rule || ': ' || detail from sec.security_check() where not ok";
    assert_eq!(s.column(bad), [] as [String; 0]);
    s.run("grant execute on function mps_compat.confirm_recharge to public");
    assert_eq!(
        s.column(bad),
        [
            "nothing is granted to PUBLIC or anon: mps_compat.confirm_recharge(text,numeric,text,jsonb): EXECUTE to PUBLIC",
            "functions are granted only to the levels of the API: mps_compat.confirm_recharge(text,numeric,text,jsonb) to PUBLIC"
        ]
    );
    s.run("revoke all on function mps_compat.confirm_recharge from public");
    s.run("create function mps_compat.mine() returns int return 1");
    assert_eq!(
        s.column(bad),
        [
            "nothing is granted to PUBLIC or anon: mps_compat.mine(): EXECUTE to PUBLIC",
            "functions are granted only to the levels of the API: mps_compat.mine() to PUBLIC",
            "the schemas hold no functions but those of mps: mps_compat.mine()"
        ]
    );
    s.run("drop function mps_compat.mine()");

    let sentence = s.failure("select sec.destroy_everything('?')").detail;
    let sentence = sentence.split("p_confirm has to be: ").nth(1).expect("the sentence").to_owned();
    let destroy = format!("select * from sec.destroy_everything({})", q(&sentence));
    let failure = s.failure(&destroy);
    assert!(failure.message == "STATUS_CONFLICT" && failure.detail.contains("view public.v"), "{failure:?}");
    s.run("drop view public.v");
    for statement in s.column(&destroy) {
        if !statement.contains("mps_owner") {
            s.run(&statement);
        }
    }
    assert_eq!(
        s.value("select count(*) from pg_namespace where nspname in ('app', 'audit', 'sec') or nspname like 'mps%'"),
        "0"
    );
}

#[test]
fn a_strangers_schema_is_not_taken_for_ours() {
    let Some(old) = before("0.3.0").last() else { return };
    let db = installed(old);
    let s = db.superuser();
    s.run("create schema mps_compat authorization stranger; create table mps_compat.t (); alter table mps_compat.t owner to stranger");
    let failure = s.failure("alter extension mps update");
    assert!(failure.message == "STATUS_CONFLICT" && failure.detail.contains("mps_compat"), "{failure:?}");
    s.run("alter schema mps_compat rename to theirs");
    s.run("alter extension mps update");
    s.run("drop schema theirs cascade");
}

#[test]
fn a_change_of_levels_by_sql_is_in_the_log() {
    let shop = Shop::open();
    let events = "select action || ' ' || object_id || ' ' || context from audit.event_log where object_type = 'membership_level' order \
     by id";
    assert_eq!(shop.superuser.column(events), [] as [String; 0], "the levels of the installation are not a change");
    shop.superuser.run("update app.membership_levels set discount = 0.940 where level = 1");
    shop.superuser.run("update app.membership_levels set discount = 0.940 where level = 1");
    shop.superuser.run("insert into app.membership_levels values (5, 'Black', 50000, 0.700)");
    shop.superuser.run("delete from app.membership_levels where level = 5");
    shop.superuser.run("begin; truncate app.membership_levels");
    assert_eq!(shop.superuser.column(events).last().map(String::as_str), Some("level.removed all {}"));
    shop.superuser.run("rollback");
    let events = shop.superuser.column(events);
    assert_eq!(events.len(), 3, "{events:#?}");
    assert!(
        events[0].starts_with("level.changed 1 ") && events[0].contains("0.950") && events[0].contains("0.940"),
        "{events:#?}"
    );
    assert!(events[1].starts_with("level.created 5 ") && events[2].starts_with("level.removed 5 "), "{events:#?}");
}
