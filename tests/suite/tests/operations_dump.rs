//! Dump and restore into another server: that everything arrives, what has to be done first, and how the next charge goes.
//! (Into another database of the same server: install.rs.)

use mps_tests::{Cluster, Db, SHOP, Scratch, Session, Shop, Till, contents, nobody, program, q, sequences};
use std::fs;

/// What a restored database must have like the one it comes from. `{n}` stands for the schemas.
const SHAPE: &[(&str, &str)] = &[
    (
        "relations",
        "select c.oid::regclass || ' ' || c.relkind::text || ' ' || c.relrowsecurity || c.relforcerowsecurity || ' ' || pg_get_userbyid(c.relowner) \
            || ' ' || coalesce(c.reloptions::text, '') || ' ' || c.relreplident::text || ' ' || coalesce(pg_get_expr(c.relpartbound, c.oid), '') \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace where {n} and c.relkind <> 'i'",
    ),
    (
        "columns",
        "select c.oid::regclass || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' ' || a.attstorage::text \
            || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') \
         from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace \
         left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum where {n} and a.attnum > 0 and not a.attisdropped",
    ),
    (
        "indexes",
        "select pg_get_indexdef(i.indexrelid) || ' ' || i.indisvalid || ' ' || coalesce((select h.inhparent::regclass::text from pg_inherits h where h.inhrelid = i.indexrelid), '') \
         from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace where {n}",
    ),
    (
        "types",
        "select t.oid::regtype || ' ' || pg_get_userbyid(t.typowner) || ' ' \
             || coalesce(string_agg(e.enumlabel, ',' order by e.enumsortorder), t.typbasetype::regtype::text) \
         from pg_type t left join pg_enum e on e.enumtypid = t.oid join pg_namespace n on n.oid = t.typnamespace \
         where {n} and t.typtype in ('e', 'd') group by t.oid",
    ),
    (
        "functions",
        "select p.oid::regprocedure || ' ' || pg_get_userbyid(p.proowner) || ' ' || p.prosecdef || ' ' || md5(p.prosrc) || coalesce(p.proconfig::text, '') \
         from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {n}",
    ),
    (
        "members of the extension",
        "select pg_describe_object(d.classid, d.objid, 0) from pg_depend d join pg_extension e on e.oid = d.refobjid \
         where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e' and e.extname = 'mps'",
    ),
    ("schemas", "select n.nspname || ' ' || pg_get_userbyid(n.nspowner) from pg_namespace n where {n}"),
    (
        "policies",
        "select p.polrelid::regclass || ' ' || p.polname || ' ' || p.polcmd::text || ' ' || p.polroles::regrole[]::text || ' \
            ' || pg_get_expr(p.polqual, p.polrelid) from pg_policy p",
    ),
    (
        "triggers",
        "select g.tgrelid::regclass || ' ' || g.tgenabled::text || ' ' || pg_get_triggerdef(g.oid) from pg_trigger g where \
            not g.tgisinternal",
    ),
    (
        "constraints",
        "select k.conrelid::regclass || ' ' || k.conname || ' ' || pg_get_constraintdef(k.oid) from pg_constraint k join \
            pg_namespace n on n.oid = k.connamespace where {n}",
    ),
    (
        "comments",
        "select pg_describe_object(d.classoid, d.objoid, d.objsubid) || ': ' || d.description from pg_description d \
         where pg_describe_object(d.classoid, d.objoid, d.objsubid) ~ '\\m(app|audit|sec|mps_archive|mps_gateway)\\M'",
    ),
];

/// Who may do what, grant by grant, the owner's own included.
const GRANTS: &str = "
    select c.oid::regclass || ' ' || a.grantee::regrole || ' ' || a.privilege_type || a.is_grantable from pg_class c join pg_namespace n on n.oid = c.relnamespace, \
        aclexplode(coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's'::\"char\" else 'r' end, c.relowner))) a where {n} and c.relkind in ('r', 'p', 'v', 'S')
    union all
    select c.oid::regclass || '.' || t.attname || ' ' || a.grantee::regrole || ' ' || a.privilege_type || a.is_grantable
        from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a where {n}
    union all
    select p.oid::regprocedure || ' ' || a.grantee::regrole || ' ' || a.privilege_type || a.is_grantable
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where {n}
    union all
    select t.oid::regtype || ' ' || a.grantee::regrole || ' ' || a.privilege_type || a.is_grantable
        from pg_type t join pg_namespace n on n.oid = t.typnamespace, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a where {n}
    union all
    select n.nspname || ' ' || a.grantee::regrole || ' ' || a.privilege_type || a.is_grantable
        from pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a where {n}";

/// What a database looks like, aspect by aspect.
type Portrait = Vec<(&'static str, Vec<String>)>;

fn data(s: &Session) -> Portrait {
    vec![("rows", contents(s)), ("sequences", sequences(s))]
}

fn shape(s: &Session) -> Portrait {
    let schemas = "n.nspname in ('app', 'audit', 'sec', 'mps_archive', 'mps_gateway')";
    SHAPE.iter().map(|(what, sql)| (*what, s.column(&sql.replace("{n}", schemas)))).collect()
}

fn grants(s: &Session) -> Portrait {
    vec![(
        "grants",
        s.column(&GRANTS.replace("{n}", "n.nspname in ('app', 'audit', 'sec', 'mps_archive', 'mps_gateway')")),
    )]
}

fn everything(s: &Session) -> Portrait {
    [data(s), shape(s), grants(s)].concat()
}

#[track_caller]
fn same(was: &Portrait, is: &Portrait) {
    for ((what, was), (_, is)) in was.iter().zip(is) {
        let lost: Vec<&String> = was.iter().filter(|x| !is.contains(x)).collect();
        let new: Vec<&String> = is.iter().filter(|x| !was.contains(x)).collect();
        assert!(!was.is_empty(), "no {what}?");
        assert!(lost.is_empty() && new.is_empty(), "{what} lost: {lost:#?}\nnew: {new:#?}");
    }
}

/// What has everything in it that a database of a shop has after a while: seals and events after them, an archived month, an
/// operator, and an index of the shop's own. With the till, a card that can pay.
fn a_life(till: &Till) -> String {
    let s = &till.session;
    let (ming, mei) = (till.member("6000.00"), till.member("50.00"));
    let paid = till.charge(&ming.card, "5500.00");
    s.run(&format!(
        "select * from app.merchant_refund_tx('{SHOP}', '{}', 33.33, '退', '{{\"a\": 1.10}}', 'k-1')",
        &paid["tx_no"]
    ));
    s.run(&format!("select * from app.compensate_tx('{}', -1.00, 'x')", &paid["tx_no"]));
    s.run(&format!("select * from app.create_enterprise_card('Great Wall Ltd', 0.900, '{}')", mei.id));
    s.run(
        "select * from app.user_recharge_enterprise_card_admin((select id from app.enterprise_cards), 500, 'cash', \
        p_external_order_id => 'o-1')",
    );
    s.run(&format!(
        "select app.set_card_status('{0}', 'personal', 'lost', 'x'); select * from app.replace_card('{0}', 'x')",
        mei.card
    ));
    s.run(&format!("select app.set_merchant_user('{SHOP}', '{}', 'cashier')", nobody()));
    s.run(r#"select app.update_settings('{"qr_ttl_seconds": 120}')"#);
    s.run("create index report_by_reason on app.transactions (reason) where reason is not null");
    s.run("select sec.make_month('2001-01-01')");
    for job in ["audit.seal()", "app.archive_partitions('2001-02-01')", "app.expire_keys()"] {
        s.run(&format!("call {job}"));
    }
    s.run(&format!("select * from app.withdraw('{}', 20, 'x', 'w-1')", ming.card));
    s.run(&format!("select * from app.withdraw('{}', 5, 'x', 'w-2', p_payout => 'transfer')", ming.card));
    s.run("select f.* from app.withdrawals w, app.fail_withdrawal(w.refund_no, 'x') f where w.status = 'processing'");
    till.charge(&ming.card, "10.00");
    assert_eq!(s.value("select count(*) > 0 from audit.seals"), "t");
    assert_eq!(s.value("select max(id) > (select max(last_id) from audit.seals) from audit.event_log"), "t");
    assert_eq!(s.value("select to_regclass('mps_archive.transactions_200101')"), "mps_archive.transactions_200101");
    ming.card
}

/// Takes the making of the superuser out of a dump of a whole server: the other one has it already, and nothing else may fail.
fn without_the_superuser(dump: Scratch) -> Scratch {
    let text = fs::read_to_string(dump.path()).expect("a dump");
    let made = "CREATE ROLE postgres;\n";
    assert!(text.contains(made), "the dump is of a server whose superuser has this name");
    fs::write(dump.path(), text.replacen(made, "", 1)).expect("writable");
    dump
}

const STRICT: [&str; 3] = ["-Xq", "-v", "ON_ERROR_STOP=1"];

fn psql_file<'a>(database: &'a str, dump: &'a Scratch) -> Vec<&'a str> {
    [&STRICT[..], &["-d", database, "-f", dump.path()]].concat()
}

/// The roles of the server of the tests, made in another one.
fn with_roles(target: &Cluster, name: &str) {
    let roles = Scratch::new(name);
    program("pg_dumpall", &["--roles-only", "-f", roles.path()]).expect("dumps the roles");
    target.program("psql", &psql_file("postgres", &without_the_superuser(roles))).expect("makes the roles");
}

fn database(target: &Cluster, name: &str) {
    target.psql("postgres", &format!("create database {name} template template0 encoding 'UTF8'")).expect("made");
}

#[test]
fn with_its_roles_a_dump_restores_whole_into_another_server() {
    let shop = Shop::open();
    shop.superuser.run("select sec.grant_api('stranger', 'operator')");
    let card = a_life(&Till { session: shop.db.superuser() });
    let target = Cluster::start();
    with_roles(&target, "roles");
    for (format, restore) in [("-Fc", "pg_restore"), ("-Fp", "psql")] {
        let name = restore.trim_start_matches("pg_");
        database(&target, name);
        let dump = Scratch::new(name);
        program("pg_dump", &[format, "-f", dump.path(), &shop.db.name]).expect("dumps");
        let done = match restore {
            "psql" => target.program(restore, &psql_file(name, &dump)),
            _ => target.program(restore, &["--exit-on-error", "-d", name, dump.path()]),
        };
        done.unwrap_or_else(|e| panic!("{restore}: {e}"));
        same(&everything(&shop.superuser), &everything(&target.superuser(name)));
        let till = Till { session: target.superuser(name) };
        till.goes_on(&card);
        assert_eq!(till.session.value("select app.get_settings() ->> 'qr_ttl_seconds'"), "120");
        assert_eq!(till.session.failure("delete from audit.event_log").message, "NOT_ALLOWED");
        // Grants arrived: the operator operates, and nobody else does.
        let operator = target.login("stranger", name);
        operator.run("call app.maintain_partitions()");
        assert_eq!(target.login("app_role", name).failure("select * from app.health()").code, "42501");
    }
}

#[test]
fn in_parallel_and_as_a_directory_a_dump_restores_too() {
    let shop = Shop::open();
    let card = a_life(&Till { session: shop.db.superuser() });
    let db = Db::empty();
    let directory = Scratch::new("directory");
    program("pg_dump", &["-Fd", "-j2", "-f", directory.path(), &shop.db.name]).expect("dumps");
    let done = program("pg_restore", &["--exit-on-error", "-j2", "-d", &db.name, directory.path()]);
    done.unwrap_or_else(|e| panic!("{e}"));
    same(&everything(&shop.superuser), &everything(&db.superuser()));
    Till { session: db.superuser() }.goes_on(&card);
}

/// A server of its own with a database `shop`; a card there that can pay.
fn a_server() -> (Cluster, String) {
    let server = Cluster::start();
    server.psql("postgres", "create role authenticated; create role service_role; create role shop_ops login").unwrap();
    database(&server, "shop");
    server.psql("shop", "create extension mps; select sec.grant_api('shop_ops', 'operator')").expect("installs");
    let card = a_life(&Till::open(server.superuser("shop")));
    (server, card)
}

#[test]
fn pg_upgrade_carries_everything_over() {
    let (old, card) = a_server();
    let before = everything(&old.superuser("shop"));
    let new = old.upgraded();
    same(&before, &everything(&new.superuser("shop")));
    let till = Till { session: new.superuser("shop") };
    till.goes_on(&card);
    assert_eq!(till.session.failure("drop extension mps").code, "2BP01");
    new.login("shop_ops", "shop").run("call app.maintain_partitions()");
}

#[test]
fn a_whole_server_restores_from_pg_dumpall() {
    let (source, card) = a_server();
    let target = Cluster::start();
    let dump = Scratch::new("all");
    source.program("pg_dumpall", &["-f", dump.path()]).expect("dumps");
    target.program("psql", &psql_file("postgres", &without_the_superuser(dump))).unwrap_or_else(|e| panic!("{e}"));
    same(&everything(&source.superuser("shop")), &everything(&target.superuser("shop")));
    Till { session: target.superuser("shop") }.goes_on(&card);
    target.login("shop_ops", "shop").run("call app.maintain_partitions()");
}

#[test]
fn without_the_optional_roles_a_dump_restores_without_its_grants() {
    let shop = Shop::open();
    let card = a_life(&Till { session: shop.db.superuser() });
    let dump = Scratch::new("bare");
    program("pg_dump", &["-Fc", "-f", dump.path(), &shop.db.name]).expect("dumps");
    let target = Cluster::start();
    let restore =
        |database: &str| target.program("pg_restore", &["--exit-on-error", "--no-acl", "-d", database, dump.path()]);
    // The schemas come before the extension, so their owner has to be there.
    database(&target, "early");
    let early = restore("early").expect_err("there is no mps_owner");
    assert!(early.contains("role \"mps_owner\" does not exist"), "{early}");
    target.psql("postgres", "create role mps_owner nologin").unwrap();
    database(&target, "bare");
    restore("bare").unwrap_or_else(|e| panic!("{e}"));
    let s = target.superuser("bare");
    same(&data(&shop.superuser), &data(&s));
    same(&shape(&shop.superuser), &shape(&s));
    let roles = "select count(*) from pg_roles where rolname in ('anon', 'authenticated', 'service_role', 'app_role')";
    assert_eq!(s.value(roles), "0");
    assert_eq!(s.value("select count(*) from pg_policy where polroles <> '{0}'"), "0");
    // Nobody has anything until it is granted.
    s.run("create role my_client login noinherit; create role my_server login");
    let cashier = s.value("select user_id from app.merchant_users limit 1");
    let client = target.login("my_client", "bare");
    client.run(&format!("select set_config('request.jwt.claims', {}, false)", q(format!(r#"{{"sub":"{cashier}"}}"#))));
    let server = target.login("my_server", "bare");
    let code = format!("select * from app.rotate_card_qr('{card}')");
    assert_eq!(server.failure(&code).code, "42501");
    s.run("select sec.grant_api('my_client', 'client'); select sec.grant_api('my_server', 'backend')");
    let charge = Shop::charge_sql(&server.row(&code)["qr_plain"], "10.00", "");
    assert_eq!(&client.row(&charge)["final_amount"], "9.50");
    assert_eq!(client.failure("select * from app.get_settings()").code, "42501");
    // Roles of before that are made later get what they had.
    s.run("create role app_role login noinherit; select app.migrate()");
    let late = target.login("app_role", "bare");
    late.run(&format!("select set_config('request.jwt.claims', {}, false)", q(format!(r#"{{"sub":"{cashier}"}}"#))));
    assert_eq!(late.value(&format!("select count(*) > 0 from app.merchant_statement('{SHOP}')")), "t");
    assert_eq!(late.value("select count(*) from app.merchants"), "1");
    Till { session: s }.goes_on(&card);
}

#[test]
fn a_dump_restored_without_owners_and_grants_is_put_right_by_migrate() {
    let shop = Shop::open();
    let card = a_life(&Till { session: shop.db.superuser() });
    let dump = Scratch::new("unowned");
    program("pg_dump", &["-Fc", "-f", dump.path(), &shop.db.name]).expect("dumps");
    let db = Db::empty();
    let s = db.superuser();
    program("pg_restore", &["--exit-on-error", "--no-owner", "--no-acl", "-d", &db.name, dump.path()])
        .unwrap_or_else(|e| panic!("{e}"));
    s.run("select app.migrate()");
    same(&everything(&shop.superuser), &everything(&s));
    Till { session: s }.goes_on(&card);
}

/// Every RPC that a caller may begin with, in a database whose tables are empty.
const FIRST_CALLS: &[&str] = &[
    "select * from app.create_merchant('SHOP-001', 'x')",
    "select * from app.register_member('x')",
    "select * from app.merchant_charge_by_qr('SHOP-001', 'x', 1.00)",
    "select * from app.card_statement('00000000-0000-0000-0000-000000000001')",
    "select * from app.tx_by_no('ZF2611000001')",
    "select app.update_settings('{}')",
    "select app.get_settings()",
    "call app.expire_recharges()",
    "call app.recompute_levels()",
];

#[test]
fn a_dump_of_the_schema_alone_says_what_it_lacks_until_migrate_makes_the_defaults() {
    let shop = Shop::open();
    shop.member("10.00");
    let dump = Scratch::new("schema");
    let db = Db::empty();
    program("pg_dump", &["-s", "-Fc", "-f", dump.path(), &shop.db.name]).expect("dumps");
    program("pg_restore", &["--exit-on-error", "-d", &db.name, dump.path()]).unwrap_or_else(|e| panic!("{e}"));
    let s = db.superuser();
    same(&shape(&shop.superuser), &shape(&s));
    same(&grants(&shop.superuser), &grants(&s));
    for call in FIRST_CALLS {
        s.refused("SCHEMA_OUTDATED", call);
    }
    // What watches over it does not fail, and says the same.
    let version = s.row("select * from app.health() where check_name = 'schema_version'");
    assert_eq!(&version["ok"], "f", "{version:?}");
    assert!(version["detail"].contains("app.migrate()"), "{version:?}");
    s.run("select app.migrate()");
    let defaults = Db::new();
    let settings = "select app.get_settings()";
    assert_eq!(s.value(settings), defaults.superuser().value(settings));
    let levels = "select string_agg(l::text, ' ' order by level) from app.membership_levels l";
    assert_eq!(s.value(levels), defaults.superuser().value(levels));
    // Who was granted what is data, too: the grants came with the schema, but what remembers them did not.
    for (role, level) in [("authenticated", "client"), ("service_role", "backend"), ("app_role", "client")] {
        s.run(&format!("select sec.grant_api('{role}', '{level}')"));
    }
    let till = Till::open(s);
    let card = till.member("50.00").card;
    till.goes_on(&card);
    till.session.run("call app.maintain_partitions()");
    let unwell = till.session.column("select detail from app.health() where check_name !~ '^job' and not ok");
    assert_eq!(unwell, [] as [String; 0]);
}

#[test]
fn a_dump_that_asks_for_row_security_is_refused_and_leaves_nothing_behind() {
    let shop = Shop::open();
    shop.member("10.00");
    let db = Db::empty();
    let dump = Scratch::new("secured");
    program("pg_dump", &["-Fp", "--enable-row-security", "-f", dump.path(), &shop.db.name]).expect("dumps");
    let mut arguments = psql_file(&db.name, &dump);
    arguments.push("--single-transaction");
    let refused = program("psql", &arguments).expect_err("the tables are there already");
    assert!(refused.contains("already exists"), "{refused}");
    let s = db.superuser();
    assert_eq!(
        s.value("select count(*) from pg_namespace where nspname in ('app', 'audit', 'sec', 'mps_gateway')"),
        "0"
    );
    assert_eq!(s.value("select count(*) from pg_extension where extname = 'mps'"), "0");
    // In the custom format it is pg_restore that decides, and by default it gives the sign.
    program("pg_dump", &["-Fc", "--enable-row-security", "-f", dump.path(), &shop.db.name]).expect("dumps");
    program("pg_restore", &["--exit-on-error", "-d", &db.name, dump.path()]).unwrap_or_else(|e| panic!("{e}"));
    same(&everything(&shop.superuser), &everything(&s));
}
