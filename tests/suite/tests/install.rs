//! CREATE EXTENSION, DROP EXTENSION, dump and restore: what is made, what is refused, and that data outlives it all.

use mps_tests::{Cluster, Db, NULL, SHOP, Shop, nobody, program};
use std::fs;

const TABLES: &[&str] = &[
    "app.campaign_terms",
    "app.campaigns",
    "app.coupon_budget_parts",
    "app.coupon_terms",
    "app.coupons",
    "app.enterprise_card_bindings",
    "app.enterprise_cards",
    "app.external_orders",
    "app.gateway_accounts",
    "app.gateway_bill_files",
    "app.gateway_bill_lines",
    "app.gateway_bills",
    "app.idempotency_keys",
    "app.member_coupons",
    "app.member_profiles",
    "app.membership_levels",
    "app.merchant_users",
    "app.merchants",
    "app.personal_cards",
    "app.point_ledger",
    "app.recon_days",
    "app.recon_items",
    "app.settings",
    "app.transaction_compensations",
    "app.transactions",
    "audit.event_log",
    "sec.gateway_keys",
];

const ENUMS: &[(&str, &str)] = &[
    ("app.card_type", "personal,enterprise"),
    ("app.tx_type", "payment,refund,recharge,adjustment,withdrawal"),
    ("app.tx_status", "processing,completed,failed,cancelled"),
    ("app.pay_method", "balance,cash,wechat,alipay"),
    ("app.bind_role", "admin,member"),
    ("app.card_status", "active,frozen,lost,expired,closed"),
];

const COLUMNS: &[(&str, &str)] = &[
    (
        "app.personal_cards",
        "id card_no member_id balance points level discount status qr_hash qr_expires_at expires_at",
    ),
    ("app.enterprise_cards", "id card_no company_name fixed_discount balance status expires_at"),
    ("app.enterprise_card_bindings", "enterprise_card_id member_id role qr_hash qr_expires_at"),
    ("app.membership_levels", "level name min_points discount"),
    ("app.merchants", "id code name active"),
    ("app.gateway_accounts", "code provider active merchant_id created_at config"),
    ("sec.gateway_keys", "account kind key_id created_at valid_from valid_until sealed key"),
    ("app.merchant_users", "merchant_id user_id role"),
    (
        "app.transactions",
        "id tx_no tx_type status card_type card_id member_id merchant_id raw_amount discount final_amount points_earned balance_after \
         card_seq payment_method reason tag idempotency_key external_order_id original_tx_no refunded_amount processed_by created_at posted_at",
    ),
    ("app.point_ledger", "card_id tx_no change balance_after reason created_at"),
    ("audit.event_log", "id happened_at actor_user_id actor_role action object_type object_id context"),
];

/// Arguments in their order, with `?` after those that have a default.
const RPCS: &[(&str, &str)] = &[
    ("bucket_of_card", "p_card_id"),
    ("bucket_of_code", "p_qr_plain"),
    ("bucket_of_tx", "p_tx_no"),
    ("error_list", ""),
    ("register_member", "p_name p_phone? p_email? p_user_id?"),
    ("rotate_card_qr", "p_card_id p_card_type? p_member_id?"),
    ("quote_charge", "p_merchant_code p_qr_plain p_amount p_coupon_code? p_excluded_amount?"),
    (
        "merchant_charge_by_qr",
        "p_merchant_code p_qr_plain p_amount p_reason? p_tag? p_idempotency_key? p_external_order_id? p_coupon_code? p_excluded_amount?",
    ),
    ("cancel_payment", "p_merchant_code p_tx_no? p_external_order_id? p_reason? p_idempotency_key?"),
    ("merchant_refund_tx", "p_merchant_code p_original_tx_no p_refund_amount p_reason? p_tag? p_idempotency_key?"),
    (
        "user_recharge_personal_card",
        "p_personal_card_id p_amount p_payment_method? p_reason? p_tag? p_external_order_id? p_idempotency_key? p_merchant_code?",
    ),
    (
        "user_recharge_enterprise_card_admin",
        "p_enterprise_card_id p_amount p_payment_method? p_reason? p_tag? p_external_order_id? p_idempotency_key? p_merchant_code?",
    ),
    ("confirm_recharge", "p_tx_no p_amount p_gateway_trade_no p_payload? p_payment_method?"),
    ("fail_recharge", "p_tx_no p_reason"),
    ("resolve_suspense", "p_suspense_id p_resolution p_note p_card_id? p_idempotency_key?"),
    ("enterprise_add_member", "p_card_no p_member_id p_role?"),
    ("enterprise_remove_member", "p_card_no p_member_id"),
    ("create_merchant", "p_code p_name"),
    ("set_merchant_user", "p_merchant_code p_user_id p_role?"),
    ("remove_merchant_user", "p_merchant_code p_user_id"),
    ("set_merchant_status", "p_merchant_code p_active p_reason"),
    ("create_enterprise_card", "p_company_name p_fixed_discount? p_admin_member_id?"),
    ("set_member_status", "p_member_id p_status p_reason"),
    ("set_card_status", "p_card_id p_card_type p_status p_reason"),
    ("set_card_expiry", "p_card_id p_card_type p_expires_at p_reason p_expires_on?"),
    ("replace_card", "p_card_id p_reason"),
    ("adjust_points", "p_card_id p_change p_reason p_idempotency_key?"),
    ("compensate_tx", "p_tx_no p_amount p_reason p_idempotency_key?"),
    ("withdraw", "p_card_id p_amount p_reason p_idempotency_key p_card_type? p_payout? p_merchant_code?"),
    ("confirm_withdrawal", "p_refund_no p_amount p_gateway_refund_no?"),
    ("fail_withdrawal", "p_refund_no p_reason"),
    ("create_campaign", "p_campaign"),
    ("update_campaign", "p_code p_campaign"),
    ("set_campaign_status", "p_code p_status p_reason"),
    ("campaign_report", "p_code"),
    ("create_coupon", "p_coupon"),
    ("update_coupon", "p_code p_coupon"),
    ("set_coupon_status", "p_code p_status p_reason"),
    ("issue_coupon", "p_code p_member_id p_count? p_idempotency_key?"),
    ("claim_coupon", "p_code p_idempotency_key?"),
    ("revoke_coupon", "p_coupon_code p_reason"),
    ("get_settings", ""),
    ("update_settings", "p_settings"),
    ("card_statement", "p_card_id p_card_type? p_before? p_limit?"),
    ("merchant_statement", "p_merchant_code p_from? p_to? p_before? p_limit? p_day?"),
    ("usage_page", "p_before? p_limit?"),
    ("business_day", "p_at"),
    ("business_day_start", "p_day"),
    ("day_totals", "p_from_day? p_to_day?"),
    ("balance_as_of", "p_card_id p_at p_card_type?"),
    ("tx_by_no", "p_tx_no"),
    ("tx_proof", "p_tx_no"),
    ("liability_proof", "p_month p_card_id? p_card_type?"),
    ("head_proof", "p_head_no?"),
    ("set_gateway_account", "p_code p_provider p_config"),
    ("set_gateway_key", "p_account p_kind p_key_id p_key p_valid_from? p_valid_until?"),
    ("set_gateway_key_from_file", "p_account p_kind p_key_id p_path p_valid_from? p_valid_until?"),
    ("gateway_notify", "p_account p_headers p_body"),
    ("reverify_event", "p_id"),
    ("import_bill", "p_account p_bill_date p_kind p_content"),
    ("reconcile", "p_account p_bill_date"),
    ("resolve_recon_item", "p_id p_resolution p_note"),
    ("close_recon_day", "p_account p_bill_date"),
];

#[test]
fn everything_of_the_contract_is_there() {
    let db = Db::new();
    let s = db.superuser();
    for table in TABLES {
        assert_ne!(s.value(&format!("select to_regclass('{table}')")), NULL, "{table}");
    }
    for (name, labels) in ENUMS {
        let found = s.value(&format!(
            "select string_agg(enumlabel, ',' order by enumsortorder) from pg_enum where enumtypid \
            = to_regtype('{name}')"
        ));
        assert_eq!(found, *labels, "{name}");
    }
    for (table, columns) in COLUMNS {
        let found = s.column(&format!(
            "select attname from pg_attribute where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped"
        ));
        for column in columns.split_whitespace() {
            assert!(found.iter().any(|f| f == column), "{table} has no {column}");
        }
    }
    for view in ["app.v_user_cards", "app.v_usage_logs", "app.error_codes"] {
        assert_eq!(s.value(&format!("select relkind from pg_class where oid = to_regclass('{view}')")), "v", "{view}");
    }
    let listed = s.column(
        "select distinct substr(func, 5) from sec.api_functions() where func ~ '^app[.]' and level in ('client', 'backend') order by 1",
    );
    let unknown: Vec<_> = listed.iter().filter(|name| !RPCS.iter().any(|(known, _)| known == name)).collect();
    assert!(unknown.is_empty(), "nobody says which arguments they have: {unknown:?}");
    for (name, arguments) in RPCS {
        let found = s.column(&format!(
            "select array_to_string(array(select a.name || case when a.n > p.pronargs - p.pronargdefaults then '?' else '' end \
                from unnest(p.proargnames[:p.pronargs]) with ordinality a (name, n) order by a.n), ' ') \
             from pg_proc p where p.pronamespace = 'app'::regnamespace and p.proname = '{name}'"
        ));
        assert_eq!(found, [*arguments], "{name}");
    }
    for procedure in
        ["maintain_partitions", "expire_cards", "expire_qrcodes", "expire_recharges", "expire_keys", "recompute_levels"]
    {
        let kind = format!(
            "select prokind::text || prosecdef::text || coalesce(proconfig::text, '') from pg_proc where pronamespace = \
                'app'::regnamespace and proname = '{procedure}'"
        );
        assert_eq!(s.column(&kind), ["pfalse"], "{procedure} must be able to COMMIT");
    }
    let partitions = s.column(
        "select c.relname || ' ' || pg_get_partkeydef(c.oid) || ' ' || count(i.inhrelid) from pg_class c join pg_inherits i on i.inhparent = c.oid \
         where c.relkind = 'p' and c.relnamespace in ('app'::regnamespace, 'audit'::regnamespace) group by c.oid, c.relname order by 1",
    );
    assert_eq!(
        partitions,
        [
            "event_log RANGE (happened_at) 4",
            "gateway_events RANGE (received_at) 4",
            "point_ledger RANGE (created_at) 4",
            "transactions RANGE (created_at) 4"
        ]
    );
}

#[test]
fn every_object_has_a_comment() {
    let db = Db::new();
    let bare = db.superuser().column(
        "with spaces as (select oid from pg_namespace where nspname in ('app', 'audit', 'sec', 'mps_gateway'))
         select 'table ' || oid::regclass from pg_class where relnamespace in (select oid from spaces) and relkind in ('r', 'p', 'v', 'S') and obj_description(oid, 'pg_class') is null
         union all select 'function ' || oid::regprocedure from pg_proc where pronamespace in (select oid from spaces) and obj_description(oid, 'pg_proc') is null
         union all select 'type ' || oid::regtype from pg_type where typnamespace in (select oid from spaces) and typtype in ('e', 'd') and obj_description(oid, 'pg_type') is null
         union all select 'schema ' || oid::regnamespace from spaces where obj_description(oid, 'pg_namespace') is null",
    );
    assert_eq!(bare, [] as [String; 0]);
}

#[test]
fn everything_belongs_to_the_owner_role_and_data_to_nobodys_extension() {
    let db = Db::new();
    let s = db.superuser();
    let foreign = s.column(
        "with spaces as (select oid from pg_namespace where nspname in ('app', 'audit', 'sec', 'mps_gateway'))
         select oid::regclass::text from pg_class where relnamespace in (select oid from spaces) and relkind in ('r', 'p', 'v', 'S') and relowner <> 'mps_owner'::regrole
         union all select oid::regprocedure::text from pg_proc where pronamespace in (select oid from spaces) and proowner <> 'mps_owner'::regrole
         union all select oid::regtype::text from pg_type where typnamespace in (select oid from spaces) and typtype in ('e', 'd') and typowner <> 'mps_owner'::regrole
         union all select nspname from pg_namespace where oid in (select oid from spaces) and nspowner <> 'mps_owner'::regrole",
    );
    assert_eq!(foreign, [] as [String; 0]);
    let members = s.column(
        "select pg_describe_object(classid, objid, 0) from pg_depend where refclassid = 'pg_extension'::regclass and deptype = 'e' \
         and refobjid = (select oid from pg_extension where extname = 'mps') and classid <> 'pg_proc'::regclass \
         and pg_describe_object(classid, objid, 0) not like '%[]' order by 1",
    );
    assert_eq!(members, [r#"type mps_gateway."*/*""#], "but for functions, what is in a signature is of the extension");
    let loose = s.column(
        "select p.oid::regprocedure::text from pg_proc p where p.prosecdef and p.pronamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_gateway') \
         and not coalesce(p.proconfig::text ~ 'search_path=pg_catalog, pg_temp', false)",
    );
    assert_eq!(loose, [] as [String; 0]);
}

#[test]
fn every_foreign_key_has_an_index() {
    let db = Db::new();
    let missing = db.superuser().column(
        "select k.conrelid::regclass || ' ' || k.conname from pg_constraint k where k.contype = 'f' and k.connamespace in ('app'::regnamespace, 'audit'::regnamespace) \
         and not exists (select from pg_index i where i.indrelid = k.conrelid and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)",
    );
    assert_eq!(missing, [] as [String; 0]);
}

#[test]
fn a_plain_cluster_without_supabases_roles_works_and_a_bad_owner_is_refused() {
    let cluster = Cluster::start();
    let psql = |sql: &str| cluster.psql("postgres", sql);
    let ok = |sql: &str| psql(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    // A role of that name that could be used from outside is not taken.
    for (bad, mend) in [
        ("create role mps_owner login", "drop role mps_owner"),
        ("create role mps_owner superuser", "drop role mps_owner"),
        ("create role mps_owner; create role clerk; grant mps_owner to clerk", "drop role mps_owner; drop role clerk"),
    ] {
        ok(bad);
        let said = psql("create extension mps").expect_err(bad);
        assert!(said.contains("mps_owner"), "{said}");
        assert_eq!(
            ok("select count(*) from pg_namespace where nspname in ('app', 'audit', 'sec', 'mps_gateway')"),
            "0"
        );
        ok(mend);
    }
    ok("create extension mps");
    assert_eq!(ok("select rolcanlogin, rolsuper from pg_roles where rolname = 'mps_owner'"), "f|f");
    assert_eq!(ok("select count(*) from pg_roles where rolname in ('anon', 'authenticated', 'service_role')"), "0");
    assert_eq!(ok("select count(*) from sec.security_check() where not ok"), "0");
    // The seed's own set-up, with one call in place of its grants.
    ok("create role app_role noinherit login password 'x'");
    ok("select sec.grant_api('app_role', 'client')");
    let card =
        ok("select card_id from app.register_member('Ming', p_user_id => '00000000-0000-4000-8000-000000000001')");
    ok("select * from app.create_merchant('SHOP-001', 'x')");
    ok("select app.set_merchant_user('SHOP-001', '00000000-0000-4000-8000-000000000002')");
    ok(&format!("select * from app.user_recharge_personal_card('{card}', 100, 'cash')"));
    let code = ok(&format!("select qr_plain from app.rotate_card_qr('{card}')"));
    let paid = ok(&format!(
        "set role app_role; set request.jwt.claims = '{{\"sub\": \"00000000-0000-4000-8000-000000000002\"}}'; \
         select final_amount, points_earned from app.merchant_charge_by_qr('SHOP-001', '{code}', 52.00)"
    ));
    assert_eq!(paid, "52.00|52");
    // Without auth.users there is nothing to enable.
    assert!(psql("select app.enable_supabase_signup()").expect_err("no auth.users").contains("INVALID_ARGUMENT"));
    // Another database of the cluster takes up the role that is there.
    ok("create database second");
    cluster.psql("second", "create extension mps").expect("installs");
    ok("alter role mps_owner login");
    assert!(cluster.psql("second", "drop extension mps cascade; create extension mps").is_err());
}

#[test]
fn only_a_superuser_installs() {
    let db = Db::empty();
    db.superuser().run(&format!("grant create on database {} to stranger", db.name));
    let failure = db.login("stranger").failure("create extension mps");
    assert_eq!(failure.code, "42501");
}

#[test]
fn a_strangers_tables_in_our_schemas_are_refused_and_left_alone() {
    for stray in [
        "create schema app; create table app.notes (x int); insert into app.notes values (7)",
        "create schema app; create table app.settings (x int); create table app.notes (x int); insert into app.notes values (7)",
        "create schema audit; create table audit.event_log (x int); create schema app; create table app.notes (x int); \
            insert into app.notes values (7)",
        "create schema app; create view app.v_user_cards as select 1; create table app.notes (x int); insert into app.notes values (7)",
    ] {
        let db = Db::empty();
        let s = db.superuser();
        s.run(stray);
        let failure = s.failure("create extension mps");
        assert!(failure.message.contains("not of mps"), "{failure:?}");
        assert!(!failure.hint.is_empty());
        assert_eq!(s.value("select x from app.notes"), "7");
        assert_eq!(
            s.value("select relowner = current_user::regrole from pg_class where oid = 'app.notes'::regclass"),
            "t"
        );
        assert_eq!(s.value("select count(*) from pg_extension where extname = 'mps'"), "0");
    }
    // Empty schemas of those names are taken.
    let db = Db::empty();
    let s = db.superuser();
    s.run("create schema app; create schema audit; create schema sec; create extension mps");
    assert_eq!(s.value("select count(*) from sec.security_check() where not ok"), "0");
}

#[test]
fn a_database_in_another_encoding_is_refused() {
    let db = Db::empty();
    let s = db.superuser();
    s.run(&format!("create database {}_latin template template0 encoding 'LATIN1' locale 'C'", db.name));
    let latin = format!("{}_latin", db.name);
    let said = program("psql", &["-XqAt", "-d", &latin, "-v", "ON_ERROR_STOP=1", "-c", "create extension mps"]);
    s.run(&format!("drop database {latin}"));
    assert!(said.expect_err("not UTF8").contains("UTF8"));
}

/// A shop in which something of every kind has happened.
fn busy() -> Shop {
    let shop = Shop::open();
    let (ming, mei) = (shop.member("6000.00"), shop.member("50.00"));
    let company = shop.company("0.900", "500.00", &mei);
    shop.bind(&company, &ming, "member");
    shop.charge(&ming, "5500.00");
    let keyed = Shop::charge_sql(&shop.code(&ming), "100.00", "'拿铁', '{\"a\": 1.10}', 'k-1', 'o-1'");
    let paid = shop.cashier.row(&keyed);
    shop.refund(&paid["tx_no"], "33.33");
    shop.charge_company(&company, &ming, "10.00");
    shop.backend.run(&format!("select * from app.compensate_tx('{}', -1.00, 'x')", &paid["tx_no"]));
    shop.pending(&mei, "5.00");
    shop.set_card(&mei.card, "personal", "lost");
    shop.backend.run(&format!("select * from app.replace_card('{}', 'x')", mei.card));
    shop.backend.run(r#"select app.update_settings('{"qr_ttl_seconds": 120}')"#);
    shop
}

/// The next charge in a database that was dropped and made again, or restored.
fn next_charge_works(db: &Db) {
    let s = db.superuser();
    let card = s.value("select id from app.personal_cards where card_no = 'VIP00000001'");
    let before = s.value("select balance from app.personal_cards where card_no = 'VIP00000001'");
    let cashier = s.value("select user_id from app.merchant_users").parse().expect("a uuid");
    let code = db.backend().row(&format!("select * from app.rotate_card_qr('{card}')"))["qr_plain"].to_owned();
    let highest = s.value("select max(id) from app.transactions");
    let row = db.user(cashier).row(&Shop::charge_sql(&code, "100.00", ""));
    assert_eq!((&row["discount"], &row["final_amount"]), ("0.950", "95.00"));
    assert!(row["tx_id"].parse::<i64>().unwrap() > highest.parse().unwrap(), "a number came twice");
    let paid = format!("select balance = {before} - 95.00 from app.personal_cards where id = '{card}'");
    assert_eq!(s.value(&paid), "t");
    // What was asked before is known still.
    let member = s.value(&format!("select member_id from app.personal_cards where id = '{card}'"));
    assert_ne!(member, NULL);
    let known = db.user(cashier).row(&Shop::charge_sql(&code, "100.00", "'拿铁', '{}', 'k-1', 'o-1'"));
    assert_eq!(&known["replayed"], "t");
    assert_eq!(s.value("select app.get_settings() ->> 'qr_ttl_seconds'"), "120");
    assert_eq!(s.column("select rule from sec.security_check() where not ok"), [] as [String; 0]);
}

#[test]
fn drop_extension_is_refused_and_with_cascade_every_row_stays() {
    let shop = busy();
    let before = Db::snapshot(&shop.db.name);
    let failure = shop.superuser.failure("drop extension mps");
    assert_eq!(failure.code, "2BP01", "{failure:?}");
    shop.superuser.run("drop extension mps cascade");
    assert_eq!(Db::snapshot(&shop.db.name), before);
    // Without its policies nothing is readable by others, and nothing is writable.
    for session in [&shop.cashier, &shop.db.anon(), &shop.db.user(nobody())] {
        let open = session.try_rows("select id from app.personal_cards");
        assert!(open.as_ref().map_or(true, Vec::is_empty), "{open:?}");
    }
    shop.superuser.run("create extension mps");
    assert_eq!(Db::snapshot(&shop.db.name), before);
    next_charge_works(&shop.db);
    // The sessions of before go on, too.
    let sql = format!("select count(*) from app.merchant_statement('{SHOP}')");
    assert_eq!(shop.cashier.value(&sql), "6");
    for view in ["app.v_user_cards", "app.v_usage_logs", "app.error_codes"] {
        assert_eq!(
            shop.superuser.value(&format!("select relkind from pg_class where oid = to_regclass('{view}')")),
            "v"
        );
        assert_eq!(
            shop.superuser.value(&format!("select has_table_privilege('authenticated', '{view}', 'select')")),
            "t"
        );
    }
    shop.superuser.refused("NOT_ALLOWED", "delete from audit.event_log");
}

/// What a restored database must have like the one it comes from: relations, privileges, functions, policies, triggers.
const SHAPE: &[(&str, &str)] = &[
    (
        "relations",
        "select c.oid::regclass || ' ' || c.relkind::text || ' ' || c.relrowsecurity || ' ' || pg_get_userbyid(c.relowner) || ' ' || coalesce(c.reloptions::text, '') \
         from pg_class c where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec')",
    ),
    (
        "functions",
        "select p.oid::regprocedure || ' ' || pg_get_userbyid(p.proowner) || ' ' || p.prosecdef || coalesce(p.proconfig::text, '') \
         from pg_proc p where p.pronamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_gateway')",
    ),
    (
        "privileges",
        "select c.oid::regclass || ' ' || a.grantee::regrole || ' ' || a.privilege_type from pg_class c, aclexplode(c.relacl) a \
         where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec') and a.grantee <> c.relowner \
         union all select c.oid::regclass || '.' || t.attname || ' ' || a.grantee::regrole || ' ' || a.privilege_type \
         from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a where c.relnamespace::regnamespace::text in ('app', 'audit', 'sec') \
         union all select p.oid::regprocedure || ' ' || a.grantee::regrole || ' ' || a.privilege_type from pg_proc p, aclexplode(p.proacl) a \
         where p.pronamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_gateway') and a.grantee <> p.proowner \
         union all select n.nspname || ' ' || a.grantee::regrole || ' ' || a.privilege_type from pg_namespace n, aclexplode(n.nspacl) a \
         where n.nspname in ('app', 'audit', 'sec', 'mps_gateway') and a.grantee <> n.nspowner",
    ),
    (
        "policies",
        "select polrelid::regclass || ' ' || polname || ' ' || polcmd::text || ' ' || pg_get_expr(polqual, polrelid) from pg_policy",
    ),
    (
        "triggers",
        "select tgrelid::regclass || ' ' || tgname || ' ' || tgenabled::text from pg_trigger where not tgisinternal",
    ),
    (
        "constraints",
        "select conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint \
         where connamespace::regnamespace::text in ('app', 'audit', 'sec')",
    ),
];

fn restored(shop: &Shop, dump: &[&str], restore: &str) {
    let mut db = Db::empty();
    let file = std::env::temp_dir().join(format!("{}.dump", shop.db.name));
    let path = file.to_str().expect("a path");
    let mut arguments = dump.to_vec();
    arguments.extend(["-f", path, &shop.db.name]);
    program("pg_dump", &arguments).expect("dumps");
    let result = match restore {
        "pg_restore" => program(restore, &["--exit-on-error", "-d", &db.name, path]),
        _ => program(restore, &["-Xq", "-v", "ON_ERROR_STOP=1", "-d", &db.name, "-f", path]),
    };
    let _ = fs::remove_file(&file);
    result.unwrap_or_else(|e| panic!("{restore}: {e}"));
    assert_eq!(Db::snapshot(&shop.db.name), Db::snapshot(&db.name));
    for (what, sql) in SHAPE {
        let (was, is) = (shop.superuser.column(sql), db.superuser().column(sql));
        let lost: Vec<&String> = was.iter().filter(|x| !is.contains(x)).collect();
        let new: Vec<&String> = is.iter().filter(|x| !was.contains(x)).collect();
        assert!(lost.is_empty() && new.is_empty(), "{what} lost: {lost:#?}\nnew: {new:#?}");
    }
    next_charge_works(&db);
    db.superuser().refused("NOT_ALLOWED", "delete from audit.event_log");
    db.with_books();
}

#[test]
fn a_custom_dump_restores_into_an_empty_database() {
    restored(&busy(), &["-Fc"], "pg_restore");
}

#[test]
fn a_plain_dump_restores_into_an_empty_database() {
    restored(&busy(), &["-Fp"], "psql");
}

#[test]
fn a_dump_without_comments_restores_too() {
    restored(&busy(), &["-Fc", "--no-comments"], "pg_restore");
}

#[test]
fn a_dump_restores_after_the_extension_was_dropped_and_created_again() {
    let shop = busy();
    shop.superuser.run("drop extension mps cascade; create extension mps");
    restored(&shop, &["-Fc"], "pg_restore");
}

/// auth.users as Supabase has it, as far as we look at it.
const AUTH: &str = "create schema auth; create table auth.users (id uuid primary key, email text, phone text, \
    raw_user_meta_data jsonb, created_at timestamptz default now())";

#[test]
fn on_supabase_every_sign_up_becomes_a_member_once_enabled() {
    let db = Db::empty();
    let s = db.superuser();
    s.run(AUTH);
    s.run("create extension mps");
    assert_eq!(
        s.value(
            "select has_function_privilege('authenticated', 'app.tx_by_no(text)', 'execute') and \
        has_function_privilege('service_role', 'app.get_settings()', 'execute')"
        ),
        "t"
    );
    assert_eq!(
        s.value(
            "select has_function_privilege('anon', 'app.tx_by_no(text)', 'execute') or \
        has_schema_privilege('anon', 'app', 'usage')"
        ),
        "f"
    );
    let keys = s.value("select count(*) from pg_constraint where contype = 'f' and confrelid = 'auth.users'::regclass");
    assert_eq!(keys, "0");
    let early = nobody();
    s.run(&format!("insert into auth.users (id) values ('{early}')"));
    assert_eq!(s.value("select count(*) from app.member_profiles"), "0");
    assert_eq!(s.value("select app.enable_supabase_signup()"), "t");
    assert_eq!(s.value("select app.enable_supabase_signup()"), "f");
    for (meta, email, phone, name) in [
        (r#"'{"name": "小明"}'"#, "'a@example.org'", "'138'", "小明"),
        (r#"'{"full_name": "Mei"}'"#, "null", "null", "Mei"),
        (r#"'{"name": "  "}'"#, "'b@example.org'", "null", "b@example.org"),
        ("null", "null", "'139'", "139"),
        ("null", "null", "null", "Member"),
        ("'[1]'", "''", "''", "Member"),
    ] {
        let id = nobody();
        s.run(&format!("insert into auth.users values ('{id}', {email}, {phone}, {meta})"));
        let row = s.row(&format!(
            "select m.name, c.status from app.member_profiles m join app.personal_cards c on \
            c.member_id = m.id where m.id = '{id}'"
        ));
        assert_eq!(row.values(), [name, "active"]);
    }
    let card = db.user(early).row("select * from app.register_member('late')");
    assert_eq!(&card["member_no"], "M00000007");
}

#[test]
fn a_sign_up_is_never_blocked_by_us() {
    let db = Db::empty();
    let s = db.superuser();
    s.run(AUTH);
    s.run("create extension mps; select app.enable_supabase_signup()");
    // Whoever runs the identity provider has no rights here.
    s.run("grant usage on schema auth to stranger; grant insert on auth.users to stranger");
    let provider = db.login("stranger");
    let sign_up = || {
        let id = nobody();
        provider.run(&format!("insert into auth.users values ('{id}', 'x@example.org')"));
        id
    };
    let member = |id: uuid::Uuid| s.value(&format!("select count(*) from app.member_profiles where id = '{id}'"));
    assert_eq!(member(sign_up()), "1");
    provider.run(&format!(
        "insert into auth.users values ('{}', repeat('x', 5000) || '@example.org', repeat('9', 500), \
            jsonb_build_object('name', repeat('n', 100000)))",
        nobody()
    ));
    assert_eq!(s.value("select count(*) from app.member_profiles where length(name) = 500"), "1");
    // Our tables broken, of another release, renamed, or the extension gone: the user is still made.
    for (harm, mend) in [
        ("update app.settings set schema_version = 0", "update app.settings set schema_version = 1"),
        (
            "alter table app.member_profiles add constraint never check (false) not valid",
            "alter table app.member_profiles drop constraint never",
        ),
        ("alter table app.personal_cards rename to cards", "alter table app.cards rename to personal_cards"),
        ("alter sequence app.member_no_seq rename to numbers", "alter sequence app.numbers rename to member_no_seq"),
        ("delete from app.membership_levels", "insert into app.membership_levels values (0, 'Basic', 0, 1.000)"),
    ] {
        s.run(harm);
        let id = sign_up();
        assert_eq!(s.value(&format!("select count(*) from auth.users where id = '{id}'")), "1", "{harm}");
        s.run(mend);
    }
    s.run("drop extension mps cascade");
    sign_up();
}

#[test]
fn a_signup_trigger_survives_dropping_and_creating_the_extension_by_enabling_it_again() {
    let db = Db::empty();
    let s = db.superuser();
    s.run(AUTH);
    s.run(
        "create extension mps; select app.enable_supabase_signup(); drop extension mps cascade; create extension mps",
    );
    assert_eq!(s.value("select app.enable_supabase_signup()"), "t");
    s.run(&format!("insert into auth.users (id) values ('{}')", nobody()));
    assert_eq!(s.value("select count(*) from app.member_profiles"), "1");
}
