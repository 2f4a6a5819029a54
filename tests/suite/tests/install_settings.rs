//! CREATE EXTENSION under whatever a database or a role has set: it works as ever, or says what stops it and leaves nothing. And
//! sessions that go on while the extension is dropped and created anew.

use mps_tests::{Db, Member, NULL, SHOP, Session, Shop, q};
use std::fmt::Write;

/// Relations, functions, privileges, policies, triggers and comments, in short.
const SHAPE: &str = "select md5(string_agg(x.line, e'\\n' order by x.line)) from (
    select format('%s.%s %s %s %s %s %s', n.nspname, c.relname, c.relkind, c.relrowsecurity, c.relacl, c.reloptions,
                  c.reltablespace) as line
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('app', 'audit', 'sec')
    union all
    select format('%s %s %s %s %s', p.oid::regprocedure, md5(p.prosrc), p.proconfig, p.proacl, obj_description(p.oid, 'pg_proc'))
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ('app', 'audit', 'sec', 'mps_gateway')
    union all select format('%s %s %s', polrelid::regclass, polname, pg_get_expr(polqual, polrelid)) from pg_policy
    union all select format('%s %s %s', tgrelid::regclass, tgname, tgenabled) from pg_trigger where not tgisinternal
    union all select format('%s %s %s', adrelid::regclass, adnum, pg_get_expr(adbin, adrelid)) from pg_attrdef
    union all select format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint where conrelid <> 0) x";

/// What somebody sets for a database, and what it keeps from being installed (empty: it is installed as ever).
const SETTINGS: &[(&[&str], &str)] = &[
    (&["row_security = off"], ""),
    (&["default_transaction_isolation = 'serializable'", "session_replication_role = 'replica'"], ""),
    (
        &[
            "default_tablespace = 'nowhere'",
            "default_table_access_method = 'nowhere'",
            "search_path = 'public, pg_catalog'",
            "check_function_bodies = on",
            "quote_all_identifiers = on",
            "standard_conforming_strings = off",
            "transform_null_equals = on",
            "array_nulls = off",
            "bytea_output = 'escape'",
            "datestyle = 'German'",
            "intervalstyle = 'sql_standard'",
            "timezone = 'Pacific/Kiritimati'",
            "plpgsql.extra_errors = 'all'",
            "plpgsql.variable_conflict = 'use_column'",
        ],
        "",
    ),
    (&["search_path = ''", "row_security = off"], ""),
    (&["default_transaction_read_only = on"], "read-only transaction"),
    (&["statement_timeout = '1ms'"], "statement timeout"),
    (&["role = 'pg_monitor'"], "permission denied"),
];

fn shape(db: &Db) -> String {
    let s = db.superuser();
    s.run("set search_path = pg_catalog; set quote_all_identifiers = off; set datestyle = 'ISO'");
    s.value(SHAPE)
}

#[test]
fn whatever_is_set_it_installs_as_ever_or_says_what_stops_it() {
    let plain = Db::empty();
    plain.superuser().run("create extension mps");
    let expected = shape(&plain);
    // As the database's own setting, and as that of the role in it.
    for whose in ["database {}", "role current_user in database {}"] {
        for (settings, stopped_by) in SETTINGS {
            let mut db = Db::empty();
            let target = whose.replace("{}", &db.name);
            let s = db.superuser();
            settings.iter().for_each(|setting| s.run(&format!("alter {target} set {setting}")));
            let installed = db.superuser().try_rows("create extension mps");
            s.run(&format!("alter {target} reset all"));
            match installed {
                Ok(_) => {
                    assert_eq!(*stopped_by, "", "{settings:?}");
                    assert_eq!(shape(&db), expected, "{settings:?} of {target}");
                    db.with_books();
                    let shop = Shop::in_database(db);
                    shop.charge(&shop.member("10.00"), "1.00");
                    let rules = "select rule from sec.security_check() where not ok";
                    assert_eq!(shop.superuser.column(rules), [] as [String; 0], "{settings:?}");
                }
                Err(said) => {
                    assert!(!stopped_by.is_empty() && said.message.contains(stopped_by), "{settings:?}: {said:?}");
                    let left = "select count(*) from pg_namespace \
                                where nspname in ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway')";
                    assert_eq!(db.superuser().value(left), "0", "{settings:?}");
                }
            }
        }
    }
}

#[test]
fn row_security_switched_off_is_a_restore_only_where_a_dump_is() {
    // By hand, in a session: no dump has brought schemas, so tables are made.
    let db = Db::empty();
    let s = db.superuser();
    s.run("set row_security = off");
    s.run("create extension mps");
    assert_eq!(s.value("select count(*) from app.settings"), "1");
    // Nor where the tables are there.
    s.run("drop extension mps cascade");
    s.run("create extension mps");
    assert_eq!(s.column("select rule from sec.security_check() where not ok"), [] as [String; 0]);
    // Nor where somebody made the schemas.
    let db = Db::empty();
    let s = db.superuser();
    s.run("create schema app; create schema audit; create schema sec; set row_security = off");
    s.run("create extension mps");
    assert_eq!(s.value("select count(*) from app.settings"), "1");
    // A client is told by the server what is wrong where it stays off.
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let user = shop.db.user(ming.id);
    user.run("set row_security = off");
    assert!(user.failure("select * from app.v_user_cards").message.contains("row-level security"));
    assert_eq!(user.value(&format!("select count(*) from app.card_statement('{}')", ming.card)), "1");
    // As in a dump, it makes none.
    let db = Db::empty();
    let s = db.superuser();
    s.run("create schema app; create schema audit; create schema sec; set row_security = off; set xmloption = content");
    s.run("create extension mps");
    assert_eq!(s.value("select to_regclass('app.settings')"), NULL);
}

#[test]
fn an_event_trigger_that_refuses_leaves_nothing_behind() {
    for (event, tags) in [("ddl_command_start", ""), ("ddl_command_end", "when tag in ('CREATE TABLE')")] {
        let db = Db::empty();
        let s = db.superuser();
        s.run("create function public.no() returns event_trigger language plpgsql as $$ begin raise exception 'not in this house'; end $$");
        s.run(&format!("create event trigger no on {event} {tags} execute function public.no()"));
        let said = s.failure("create extension mps");
        assert!(said.message.contains("not in this house"), "{said:?}");
        assert_eq!(
            s.value("select count(*) from pg_namespace where nspname in ('app', 'audit', 'sec', 'mps_gateway')"),
            "0"
        );
        s.run("drop event trigger no");
        s.run("create extension mps");
    }
}

/// Sessions of everybody, which go on whatever happens to the extension.
struct Sessions {
    user: Session,
    cashier: Session,
    backend: Session,
    superuser: Session,
}

impl Sessions {
    fn of(shop: &Shop, member: &Member, options: &str) -> Sessions {
        let sessions = Sessions {
            user: shop.db.user(member.id),
            cashier: shop.db.user(shop.cashier_id),
            backend: shop.db.backend(),
            superuser: shop.db.superuser(),
        };
        for session in [&sessions.user, &sessions.cashier, &sessions.backend, &sessions.superuser] {
            session.run(options);
        }
        sessions.superuser.run(
            "create function public.wrapped(card uuid) returns bigint language plpgsql as \
                $$ begin return (select count(*) from app.card_statement(card)); end $$; \
             create view public.cards as select card_no from app.personal_cards",
        );
        sessions
    }

    /// Every RPC, once; what was refused.
    fn live(&self, member: &Member) -> String {
        let card = &member.card;
        let mut refused = String::new();
        let mut call = |who: &Session, sql: &str| -> String {
            match who.try_rows(sql) {
                Ok(rows) => rows.first().map_or_else(String::new, |r| r.values().first().map_or("", |v| v).to_owned()),
                Err(why) => {
                    let _ = writeln!(refused, "{sql}: {why:?}");
                    String::new()
                }
            }
        };
        let (user, cashier, backend, superuser) = (&self.user, &self.cashier, &self.backend, &self.superuser);
        let other = call(backend, "select card_id from app.register_member('Hua')");
        let company = call(backend, "select card_no from app.create_enterprise_card('Works')");
        call(backend, &format!("select app.enterprise_add_member({}, '{}', 'admin')", q(&company), member.id));
        call(backend, "select app.create_merchant('M' || md5(random()::text), 'x')");
        call(backend, &format!("select app.set_merchant_user('{SHOP}', gen_random_uuid(), 'cashier')"));
        call(backend, &format!("select tx_no from app.user_recharge_personal_card('{card}', 50, 'cash')"));
        let pending =
            [(); 2].map(|()| call(user, &format!("select tx_no from app.user_recharge_personal_card('{card}', 5)")));
        call(backend, &format!("select status from app.confirm_recharge({}, 5, md5(random()::text))", q(&pending[0])));
        call(backend, &format!("select app.fail_recharge({}, 'x')", q(&pending[1])));
        let code = call(user, &format!("select qr_plain from app.rotate_card_qr('{card}')"));
        let charge = Shop::charge_sql(&code, "5.00", "p_idempotency_key => gen_random_uuid()::text");
        let paid = call(cashier, &format!("select tx_no from ({charge}) x"));
        call(cashier, &Shop::refund_sql(&paid, "1.00", ""));
        call(backend, &format!("select app.compensate_tx({}, -1, 'x')", q(&paid)));
        call(backend, &format!("select app.adjust_points('{card}', 1, 'x')"));
        call(user, &format!("select count(*) from app.card_statement('{card}')"));
        call(cashier, &format!("select count(*) from app.merchant_statement('{SHOP}')"));
        call(cashier, &format!("select count(*) from app.tx_by_no({})", q(&paid)));
        call(user, &format!("select app.balance_as_of('{card}', now() - interval '1 hour')"));
        call(user, "select count(*) from app.v_usage_logs");
        call(user, "select count(*) from app.v_user_cards");
        call(backend, &format!("select public.wrapped('{card}')"));
        call(backend, "select app.get_settings()");
        call(backend, r#"select app.update_settings('{"qr_ttl_seconds": 600}')"#);
        call(backend, &format!("select app.set_card_status('{other}', 'personal', 'lost', 'x')"));
        call(backend, &format!("select app.replace_card('{other}', 'x')"));
        for job in [
            "app.expire_cards()",
            "app.expire_qrcodes()",
            "app.expire_recharges()",
            "app.expire_keys()",
            "app.recompute_levels()",
            "app.maintain_partitions()",
            "audit.seal()",
        ] {
            call(superuser, &format!("call {job}"));
        }
        for proof in ["app.verify_books()", "audit.verify()", "sec.security_check()"] {
            assert_eq!(superuser.value(&format!("select count(*) from {proof} where ok is not true")), "0", "{proof}");
        }
        call(superuser, &format!("select public.wrapped('{card}')"));
        call(superuser, "update app.membership_levels set name = md5(random()::text) where level = 4");
        refused
    }
}

#[test]
fn sessions_go_on_while_the_extension_is_dropped_and_created_again() {
    for level in ["read committed", "repeatable read", "serializable"] {
        let options = &format!("set default_transaction_isolation = '{level}'");
        let shop = Shop::open();
        let ming = shop.member("100.00");
        let sessions = Sessions::of(&shop, &ming, options);
        assert_eq!(sessions.live(&ming), "", "{options}");
        for round in 0..2 {
            shop.superuser.run("drop extension mps cascade");
            if round == 0 {
                // Whoever asks in between is told so, and remembers nothing of it.
                for who in [&sessions.user, &sessions.cashier, &sessions.backend] {
                    who.failure("select app.get_settings()");
                }
            }
            shop.superuser.run("create extension mps");
            assert_eq!(sessions.live(&ming), "", "{options}");
        }
        shop.superuser.run("drop view public.cards");
    }
}

#[test]
fn sessions_go_on_where_everything_was_destroyed_and_begun_afresh() {
    for options in ["select 1", "set default_transaction_isolation = 'repeatable read'"] {
        let shop = Shop::open();
        let ming = shop.member("100.00");
        let sessions = Sessions::of(&shop, &ming, options);
        assert_eq!(sessions.live(&ming), "", "{options}");
        let s = &shop.superuser;
        s.run("drop function public.wrapped(uuid); drop view public.cards");
        let said = s.failure("select * from sec.destroy_everything('')").detail;
        let (_, sentence) = said.split_once("p_confirm has to be: ").expect("a sentence");
        for step in s.column(&format!("select statement from sec.destroy_everything({})", q(sentence))) {
            if !step.contains("ROLE") {
                s.run(&step);
            }
        }
        s.run("create extension mps");
        s.run(
            "create function public.wrapped(card uuid) returns bigint language plpgsql as \
                $$ begin return (select count(*) from app.card_statement(card)); end $$",
        );
        s.run(&format!(
            "select app.create_merchant('{SHOP}', 'x'), app.set_merchant_user('{SHOP}', '{}', 'cashier')",
            shop.cashier_id
        ));
        let card = s.value(&format!("select card_id from app.register_member('Ming', p_user_id => '{}')", ming.id));
        let again = Member { card, ..ming.clone() };
        assert_eq!(sessions.live(&again), "", "{options}");
    }
}
