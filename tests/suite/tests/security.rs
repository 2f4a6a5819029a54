//! Who may do what, and what happens to whoever tries more.

use mps_tests::{Db, Member, NULL, SHOP, Session, Shop, gateways, nobody, q};
use std::collections::BTreeSet;

/// The RPCs that a client may call; the others are a backend's.
const CLIENT: &[&str] = &[
    "app.register_member",
    "app.rotate_card_qr",
    "app.merchant_charge_by_qr",
    "app.quote_charge",
    "app.merchant_refund_tx",
    "app.cancel_payment",
    "app.user_recharge_personal_card",
    "app.user_recharge_enterprise_card_admin",
    "app.enterprise_add_member",
    "app.enterprise_remove_member",
    "app.set_merchant_user",
    "app.remove_merchant_user",
    "app.set_card_status",
    "app.card_statement",
    "app.merchant_statement",
    "app.balance_as_of",
    "app.tx_by_no",
    "app.tx_proof",
    "app.liability_proof",
    "app.head_proof",
    "app.bucket_of_card",
    "app.bucket_of_code",
    "app.bucket_of_tx",
    "app.usage_page",
    "app.business_day",
    "app.business_day_start",
    // What policies and views ask, and the list of errors.
    "app.error_list",
    "sec.uid",
    "app.claim_coupon",
    "sec.coupon_no",
    "sec.level_client",
    "sec.admin_card_ids",
    "sec.merchant_ids",
    "sec.shown_tag",
];

const BACKEND: &[&str] = &[
    "app.confirm_recharge",
    "app.fail_recharge",
    "app.resolve_suspense",
    "app.gateway_notify",
    "app.reverify_event",
    "app.import_bill",
    "app.reconcile",
    "app.resolve_recon_item",
    "app.close_recon_day",
    "app.create_merchant",
    "app.set_merchant_status",
    "app.create_enterprise_card",
    "app.set_member_status",
    "app.set_card_expiry",
    "app.replace_card",
    "app.adjust_points",
    "app.compensate_tx",
    "app.withdraw",
    "app.confirm_withdrawal",
    "app.fail_withdrawal",
    "app.create_campaign",
    "app.update_campaign",
    "app.set_campaign_status",
    "app.campaign_report",
    "app.create_coupon",
    "app.update_coupon",
    "app.set_coupon_status",
    "app.issue_coupon",
    "app.revoke_coupon",
    "app.get_settings",
    "app.update_settings",
    "app.day_totals",
    "sec.level_backend",
];

/// Roles of the outside world, and what each may execute.
fn levels() -> [(&'static str, BTreeSet<&'static str>); 6] {
    let client: BTreeSet<&str> = CLIENT.iter().copied().collect();
    let backend = client.iter().copied().chain(BACKEND.iter().copied()).collect();
    [
        ("anon", BTreeSet::new()),
        ("stranger", BTreeSet::new()),
        ("authenticator", BTreeSet::new()),
        ("authenticated", client.clone()),
        ("app_role", client),
        ("service_role", backend),
    ]
}

#[test]
fn each_role_executes_its_level_and_nothing_else() {
    let db = Db::new();
    let superuser = db.superuser();
    for (role, expected) in levels() {
        let found = superuser.column(&format!(
            "select distinct p.pronamespace::regnamespace || '.' || p.proname from pg_proc p \
             where p.pronamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_gateway') \
             and has_function_privilege('{role}', p.oid, 'execute') order by 1"
        ));
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        let (more, missing): (Vec<_>, Vec<_>) =
            (found.difference(&expected).collect(), expected.difference(&found).collect());
        assert!(
            more.is_empty() && missing.is_empty(),
            "{role} may execute {more:?}, which no list above has, and may not {missing:?}"
        );
    }
}

#[test]
fn nobody_but_the_owner_may_write_anything() {
    let db = Db::new();
    let superuser = db.superuser();
    for (role, _) in levels() {
        let found = superuser.column(&format!(
            "select c.oid::regclass || ' ' || p from pg_class c, unnest(array['insert', 'update', 'delete', 'truncate', 'references', \
             'trigger']) p \
             where c.relnamespace in ('app'::regnamespace, 'audit'::regnamespace, 'sec'::regnamespace) and c.relkind in ('r', 'p', 'v') \
               and (has_table_privilege('{role}', c.oid, p) or (p in ('insert', 'update', 'references') and \
               has_any_column_privilege('{role}', c.oid, p))) \
             union all \
             select c.oid::regclass || ' sequence' from pg_class c \
             where c.relnamespace in ('app'::regnamespace, 'audit'::regnamespace, 'sec'::regnamespace) and c.relkind = 'S' \
               and case when c.relkind = 'S' then has_sequence_privilege('{role}', c.oid, 'usage, select, update') end \
             union all \
             select n.nspname || ' create' from pg_namespace n where n.nspname in ('app', 'audit', 'sec', 'mps_gateway') and \
             has_schema_privilege('{role}', n.oid, 'create')"
        ));
        assert_eq!(found, [] as [String; 0], "{role}");
    }
}

#[test]
fn no_role_reads_hashes_keys_the_audit_log_or_the_inner_tables() {
    let db = Db::new();
    let superuser = db.superuser();
    for (role, _) in levels() {
        let found = superuser.column(&format!(
            "select c.oid::regclass || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and \
             not a.attisdropped \
             where c.relnamespace in ('app'::regnamespace, 'audit'::regnamespace, 'sec'::regnamespace) and c.relkind in ('r', 'p') \
               and has_column_privilege('{role}', c.oid, a.attnum, 'select') \
               and (c.relname in ('event_log', 'idempotency_keys', 'external_orders', 'settings', 'job_runs', 'api_grants', \
               'archived_months', 'month_rehearsals', 'transaction_compensations', 'gateway_keys') \
                    or c.relispartition or a.attname in ('qr_hash', 'idempotency_key', 'external_order_id', 'gateway_trade_no', \
                    'processed_by'))"
        ));
        let allowed: &[&str] = match role {
            "service_role" => &["app.suspense_payments.gateway_trade_no", "app.withdrawals.gateway_trade_no"],
            _ => &[],
        };
        assert_eq!(found, allowed, "{role}");
    }
    for role in ["anon", "stranger", "authenticator"] {
        let found = superuser.column(&format!(
            "select c.oid::regclass::text from pg_class c where c.relnamespace in ('app'::regnamespace, 'audit'::regnamespace, \
             'sec'::regnamespace) \
             and c.relkind in ('r', 'p', 'v') and has_any_column_privilege('{role}', c.oid, 'select')"
        ));
        assert_eq!(found, [] as [String; 0], "{role}");
    }
}

/// A shop with two members, a second shop, and something in every table.
fn lively() -> (Shop, Session, Member, Member) {
    let shop = Shop::open();
    let other = shop.another("SHOP-002");
    let (ming, mei) = (shop.member("100.00"), shop.member("100.00"));
    let company = shop.company("1.000", "100.00", &mei);
    let paid = shop.cashier.row(&Shop::charge_sql(
        &shop.code(&ming),
        "10.00",
        "p_idempotency_key => 'k-1', p_external_order_id => 'o-1'",
    ));
    shop.refund(&paid["tx_no"], "1.00");
    other.run(&Shop::charge_sql(&shop.code(&mei), "5.00", "").replace(SHOP, "SHOP-002"));
    shop.charge_company(&company, &mei, "5.00");
    shop.backend.run(&format!("select * from app.compensate_tx('{}', 1.00, 'x')", &paid["tx_no"]));
    (shop, other, ming, mei)
}

#[test]
fn direct_reads_and_writes_are_denied_one_by_one() {
    let (shop, _, ming, _) = lively();
    let sessions = [
        ("a member", shop.db.user(ming.id)),
        ("a cashier", shop.db.user(shop.cashier_id)),
        ("app_role", shop.db.app_user(ming.id)),
        ("anon", shop.db.anon()),
        ("stranger", shop.db.login("stranger")),
        ("service_role", shop.db.backend()),
    ];
    for (_, session) in &sessions {
        for sql in [
            "update app.personal_cards set balance = balance + 1000".to_owned(),
            "update app.personal_cards set points = 20000, level = 4".into(),
            "insert into app.transactions select * from app.transactions".into(),
            "delete from app.transactions".into(),
            "truncate app.transactions".into(),
            "update app.settings set recharge_confirmation = 'trusted'".into(),
            "update app.membership_levels set discount = 0.001".into(),
            format!("insert into app.merchant_users values (1, '{}', now(), 'owner')", ming.id),
            format!(
                "insert into app.enterprise_card_bindings select id, '{}', now(), null, 'admin', null from app.enterprise_cards",
                ming.id
            ),
            "select qr_hash from app.personal_cards".into(),
            "select * from app.personal_cards".into(),
            "select qr_hash from app.enterprise_card_bindings".into(),
            "select idempotency_key from app.transactions".into(),
            "select * from app.idempotency_keys".into(),
            "select * from app.external_orders".into(),
            "select * from app.settings".into(),
            "select * from audit.event_log".into(),
            "select * from sec.gateway_keys".into(),
            "select * from sec.gateway_secrets()".into(),
            gateways::set_account("shop", "alipay", gateways::ALIPAY),
            gateways::set_key("shop", "alipay_public_key", "a", gateways::alipay_keys()[0], ""),
            gateways::set_key_from_file("shop", "alipay_public_key", "a", "/etc/passwd"),
            "insert into audit.event_log values (1, now(), null, 'x', 'x', 'x', 'x', '{}')".into(),
            "delete from audit.event_log".into(),
            "select nextval('app.tx_no_seq')".into(),
            "select setval('app.tx_no_seq', 1)".into(),
            "select sec.make_month('2030-01-01')".into(),
            "select sec.install()".into(),
            "select sec.grant_api('authenticated', 'backend')".into(),
            "select sec.apply_grants('authenticated', 'backend', true)".into(),
            format!("select sec.register_signup('{}', 'x', null, null)", nobody()),
            "select app.migrate()".into(),
            "select app.expire_recharges_batch(null)".into(),
            "call app.expire_keys()".into(),
            "insert into sec.api_grants values ('authenticated', 'backend')".into(),
            "set role mps_owner".into(),
            "create table app.mine (x int)".into(),
            "create function sec.level_backend(x int) returns void language sql as ''".into(),
            "alter table app.personal_cards disable row level security".into(),
            "drop extension mps cascade".into(),
        ] {
            let failure = session.failure(&sql);
            assert_eq!(failure.code, "42501", "{sql}\n{failure:?}");
        }
    }
}

#[test]
fn partitions_are_as_closed_as_their_parents() {
    let (shop, _, ming, _) = lively();
    let partitions = shop.superuser.column(
        "select inhrelid::regclass::text from pg_inherits where inhparent in \
     ('app.transactions'::regclass, 'app.point_ledger'::regclass, 'audit.event_log'::regclass)",
    );
    assert!(partitions.len() >= 12);
    for session in [shop.db.user(ming.id), shop.db.backend(), shop.db.anon(), shop.db.login("stranger")] {
        for partition in &partitions {
            for sql in [
                format!("select count(*) from {partition}"),
                format!("delete from {partition}"),
                format!("truncate {partition}"),
            ] {
                assert_eq!(session.failure(&sql).code, "42501", "{sql}");
            }
        }
    }
}

#[test]
fn each_signed_in_user_sees_its_own_rows_only() {
    let (shop, _, ming, mei) = lively();
    let visible = |session: &Session| -> Vec<String> {
        [
            "app.member_profiles",
            "app.personal_cards",
            "app.enterprise_cards",
            "app.enterprise_card_bindings",
            "app.membership_levels",
            "app.merchants",
            "app.merchant_users",
            "app.transactions",
            "app.point_ledger",
            "app.v_user_cards",
            "app.v_usage_logs",
        ]
        .iter()
        .map(|table| session.value(&format!("select count(*) from {table}")))
        .collect()
    };
    // Ming: recharge, charge, refund, correction; points of charge and refund.
    for session in [shop.db.user(ming.id), shop.db.app_user(ming.id)] {
        assert_eq!(visible(&session), ["1", "1", "0", "0", "5", "0", "0", "4", "2", "1", "4"]);
        assert_eq!(session.column("select distinct member_id from app.transactions"), [ming.id.to_string()]);
    }
    // Mei: recharge, charge, and the company card's charge.
    assert_eq!(visible(&shop.db.user(mei.id)), ["1", "1", "1", "1", "5", "0", "0", "3", "1", "2", "3"]);
    // The cashier: its merchant and that merchant's operators.
    assert_eq!(visible(&shop.cashier), ["0", "0", "0", "0", "5", "1", "1", "0", "0", "0", "0"]);
    assert_eq!(visible(&shop.db.user(nobody())), ["0", "0", "0", "0", "5", "0", "0", "0", "0", "0", "0"]);
    assert_eq!(visible(&shop.db.login("app_role")), ["0", "0", "0", "0", "5", "0", "0", "0", "0", "0", "0"]);
    // Supabase's service_role bypasses row-level security, by column all the same.
    assert_eq!(shop.backend.value("select count(*) from app.transactions"), shop.count("true"));
}

#[test]
fn a_planted_role_claim_changes_nothing() {
    let (shop, _, ming, mei) = lively();
    let session = shop.db.login("authenticator");
    session.become_role("authenticated", &format!(r#"{{"role":"service_role","sub":"{}"}}"#, ming.id));
    session.denied("select app.get_settings()");
    session.refused("CARD_NOT_FOUND", &format!("select * from app.card_statement('{}')", mei.card));
    session.refused(
        "INVALID_PAYMENT_METHOD",
        &format!("select * from app.user_recharge_personal_card('{}', 1000, 'cash')", ming.card),
    );
    for setting in ["role", "request.jwt.claim.role", "request.jwt.role", "app.role", "mps.role"] {
        if setting != "role" {
            session.run(&format!("select set_config('{setting}', 'service_role', false)"));
        }
    }
    assert_eq!(
        &session.row(&format!("select * from app.user_recharge_personal_card('{}', 10)", ming.card))["status"],
        "processing"
    );
    let app = shop.db.app_user(ming.id);
    app.run(&format!(
        "select set_config('request.jwt.claims', {}, false)",
        q(format!(r#"{{"role":"service_role","sub":"{}"}}"#, ming.id))
    ));
    app.denied("select app.get_settings()");
    app.denied("set role service_role");
}

#[test]
fn a_definer_wrapper_lends_a_client_nothing() {
    let (shop, _, ming, mei) = lively();
    shop.superuser.run(&format!(
        "create function public.settings() returns jsonb language sql security definer as 'select app.get_settings()';
         create function public.cash() returns text language sql security definer
            as $f$ select status from app.user_recharge_personal_card('{0}', 1000, 'cash') $f$;
         create function public.recharge() returns text language plpgsql security definer
            as $f$ begin return (select status from app.user_recharge_personal_card('{0}', 10)); end $f$;
         create function public.peek() returns bigint language sql security definer as $f$ select count(*) from app.card_statement('{1}') $f$;
         create function public.points() returns bigint language sql security definer as $f$ select points from app.adjust_points('{0}', 5000, 'x') $f$;",
        ming.card, mei.card
    ));
    for client in [shop.db.user(ming.id), shop.db.app_user(ming.id)] {
        client.refused("NOT_ALLOWED", "select public.settings()");
        client.refused("NOT_ALLOWED", "select public.points()");
        client.refused("INVALID_PAYMENT_METHOD", "select public.cash()");
        client.refused("CARD_NOT_FOUND", "select public.peek()");
        assert_eq!(client.value("select public.recharge()"), "processing");
    }
    shop.db.login("stranger").refused("NOT_ALLOWED", "select public.settings()");
    // A backend in the same wrapper stays one, and so does whoever logged in as superuser, but not under SET ROLE.
    assert_ne!(shop.backend.value("select public.settings()"), NULL);
    assert_eq!(shop.superuser.value("select public.cash()"), "completed");
    let lowered = shop.db.superuser();
    lowered.become_role("authenticated", &format!(r#"{{"sub":"{}"}}"#, ming.id));
    lowered.denied("select app.get_settings()");
    assert_eq!(lowered.value("select public.recharge()"), "processing");
}

/// A schema of a client's own with everything that an unqualified name could pick up.
const PLANTED: &str = r#"
    create schema evil;
    create function evil.now() returns timestamptz language sql as 'select timestamptz ''2001-01-01''';
    create function evil.clock_timestamp() returns timestamptz language sql as 'select timestamptz ''2001-01-01''';
    create function evil.nextval(regclass) returns bigint language sql as 'select 1::bigint';
    create function evil.lpad(text, integer, text) returns text language sql as 'select ''X''';
"#;

/// An operator as part of a function's name.
fn named(operator: &str) -> String {
    operator.bytes().map(|b| b.to_string()).collect()
}

#[test]
fn planted_functions_operators_casts_and_temp_tables_are_never_used() {
    let (shop, _, ming, _) = lively();
    shop.superuser.run(&format!("grant create, temporary on database {} to app_role", shop.db.name));
    let balance = shop.balance(&ming.card);
    let app = shop.db.login("app_role");
    app.run(PLANTED);
    // Every operator that a comparison or a sum could resolve to, always true or always a thousand.
    for (kind, result, body) in [
        ("=", "boolean", "select true"),
        ("<>", "boolean", "select true"),
        ("<=", "boolean", "select true"),
        (">=", "boolean", "select true"),
        ("<", "boolean", "select true"),
        (">", "boolean", "select true"),
        ("+", "numeric", "select 1000"),
        ("-", "numeric", "select 1000"),
        ("*", "numeric", "select 1000"),
    ] {
        for ty in ["numeric", "bigint", "uuid", "text", "timestamptz", "bytea"] {
            app.run(&format!(
                "create function evil.f_{ty}_{}(a {ty}, b {ty}) returns {result} language sql as '{body}::{result}';
                 create operator evil.{kind} (leftarg = {ty}, rightarg = {ty}, function = evil.f_{ty}_{})",
                named(kind),
                named(kind)
            ));
        }
    }
    app.run("create type evil.uuid as enum ('x'); create type evil.numeric as enum ('x'); create domain evil.text as pg_catalog.text \
     check (value <> 'x')");
    app.run("create temp table transactions (id bigint, balance numeric); create temp table personal_cards (id pg_catalog.uuid, balance \
     pg_catalog.numeric);
             create temp table settings (max_amount pg_catalog.numeric); create temp table merchants (id pg_catalog.int4);
             create temp table pg_class (oid oid, relname name); create temp table pg_proc (oid oid); create temp view pg_roles as select 'x'::name as rolname;
             create temp sequence tx_no_seq; create type pg_temp.int8 as enum ('x')");
    let path = "set search_path = pg_temp, evil, app, audit, sec, pg_catalog";
    app.run(path);
    let as_user = |id: uuid::Uuid| {
        app.run(&format!(
            "select pg_catalog.set_config('request.jwt.claims', {}, false)",
            q(format!(r#"{{"sub":"{id}"}}"#))
        ));
    };
    as_user(ming.id);
    let code = app.row(&format!("select * from app.rotate_card_qr('{}')", ming.card))["qr_plain"].to_owned();
    as_user(shop.cashier_id);
    let row = app.row(&Shop::charge_sql(&code, "7.00", "p_idempotency_key => 'planted'"));
    assert_eq!(
        (&row["raw_amount"], &row["discount"], &row["final_amount"], &row["points_earned"]),
        ("7.00", "1.000", "7.00", "7")
    );
    app.run(&Shop::refund_sql(&row["tx_no"], "2.00", ""));
    assert_eq!(app.failure(&Shop::charge_sql(&code, "1.00", "")).message, "QR_EXPIRED_OR_INVALID");
    as_user(ming.id);
    assert_eq!(&app.rows(&format!("select * from app.card_statement('{}')", ming.card))[0]["change"], "2.00");
    assert_eq!(app.value("select pg_catalog.count(*) from app.v_user_cards"), "1");
    assert_eq!(
        app.value(&format!("select app.balance_as_of('{}', pg_catalog.now())", ming.card)),
        app.rows(&format!("select * from app.card_statement('{}')", ming.card))[0]["balance_after"]
    );
    let (before, now): (f64, f64) = (balance.parse().unwrap(), shop.balance(&ming.card).parse().unwrap());
    assert!((before - now - 5.0).abs() < 0.001, "{before} to {now}");
}

#[test]
fn procedures_of_an_operator_ignore_a_planted_path() {
    let shop = Shop::open();
    let ming = shop.member("0");
    shop.superuser.run(&format!(
        "grant create on database {} to stranger; select sec.grant_api('stranger', 'operator')",
        shop.db.name
    ));
    shop.superuser.run(&format!(
        "update app.personal_cards set expires_at = now() - interval '1 day' where id = '{}'",
        ming.card
    ));
    let operator = shop.db.login("stranger");
    operator.run(PLANTED);
    operator.run(
        "create function evil.pg_is_in_recovery() returns boolean language sql as 'select true';
                  create function evil.f(text, text) returns boolean language sql as 'select true';
                  create operator evil.= (leftarg = text, rightarg = text, function = evil.f);
                  set search_path = evil, pg_catalog",
    );
    operator.run("call app.maintain_partitions(6)");
    operator.run("call app.expire_cards()");
    assert_eq!(
        shop.superuser.value("select count(*) from pg_inherits where inhparent = 'app.transactions'::regclass"),
        "7"
    );
    assert_eq!(shop.card_status(&ming.card), "expired");
}

#[test]
fn session_settings_shift_neither_time_nor_money() {
    let shop = Shop::open();
    for settings in [
        "set timezone = 'Pacific/Kiritimati'; set datestyle = 'German, DMY'; set intervalstyle = 'sql_standard'",
        "set timezone = 'Pacific/Pago_Pago'; set datestyle = 'SQL, MDY'",
        "set extra_float_digits = -15; set bytea_output = 'escape'; set lc_numeric = 'C'",
        "set standard_conforming_strings = off; set escape_string_warning = off; set backslash_quote = on",
        "set transform_null_equals = on; set array_nulls = off; set quote_all_identifiers = on",
        "set plan_cache_mode = force_generic_plan; set jit = off; set enable_indexscan = off; set enable_seqscan = off",
        "set check_function_bodies = off; set row_security = off; set client_min_messages = debug1",
        "set xmloption = document; set lc_time = 'C'; set lc_monetary = 'C'; set default_with_oids = off",
    ] {
        let ming = shop.member("100.00");
        let code = shop.code(&ming);
        let cashier = shop.db.user(shop.cashier_id);
        for setting in settings.split("; ") {
            cashier.run(setting);
        }
        let row = cashier.row(&Shop::charge_sql(&code, "0.95", "'it''s', '{\"a\": 1.10}'"));
        assert_eq!((&row["raw_amount"], &row["final_amount"]), ("0.95", "0.95"), "{settings}");
        cashier.run(&Shop::refund_sql(&row["tx_no"], "0.05", ""));
        let stored = shop.superuser.row(&format!(
            "select reason, tag, abs(extract(epoch from now() - created_at)) < 60 as now, \
             tableoid::regclass::text = 'app.transactions_' || to_char(created_at at time zone 'UTC', 'YYYYMM') as month from \
             app.transactions where id = {}",
            &row["tx_id"]
        ));
        assert_eq!(stored.values(), ["it's", r#"{"a": 1.10}"#, "t", "t"], "{settings}");
        assert_eq!(shop.balance(&ming.card), "99.10");
        // An expired code is expired in every time zone.
        let code = shop.code(&ming);
        shop.superuser.run(&format!(
            "update app.personal_cards set qr_expires_at = now() - interval '1 s' where id = '{}'",
            ming.card
        ));
        assert_eq!(
            cashier.failure(&Shop::charge_sql(&code, "0.95", "")).message,
            "QR_EXPIRED_OR_INVALID",
            "{settings}"
        );
    }
}

#[test]
fn sql_in_every_text_is_only_text() {
    let shop = Shop::open();
    let attack =
        "'); delete from app.transactions; update app.personal_cards set balance = 1e6; --\\'' $$ %s %I {x} \u{202e}";
    let a = q(attack);
    let id = nobody();
    shop.backend.run(&format!(
        "select * from app.register_member({a}, {}, {}, '{id}')",
        q("' or 1=1 --"),
        q("x'||pg_sleep(9)||'@y")
    ));
    let ming = shop.member("100.00");
    shop.backend.run(&format!("select * from app.create_merchant({}, {a})", q("X';--")));
    shop.backend.run(&format!("select app.set_merchant_status({}, false, {a})", q("X';--")));
    let paid = shop.cashier.row(&Shop::charge_sql(
        &shop.code(&ming),
        "10.00",
        &format!("{a}, jsonb_build_object({a}::text, {a}::text), {}, {}", q("k';--"), q("o';--")),
    ));
    shop.cashier.run(&Shop::refund_sql(
        &paid["tx_no"],
        "1.00",
        &format!("{a}, jsonb_build_object('x', {a}::text), {}", q("k';--")),
    ));
    shop.backend.run(&format!(
        "select * from app.user_recharge_personal_card('{}', 1, 'cash', {a}, jsonb_build_object('x', {a}::text), \
     {1}, {1})",
        ming.card,
        q("o';--")
    ));
    let waiting = shop.pending(&ming, "5.00");
    shop.backend.run(&format!(
        "select * from app.confirm_recharge('{waiting}', 5, {}, jsonb_build_object('x', {a}::text))",
        q("g';--")
    ));
    let failing = shop.pending(&ming, "5.00");
    shop.backend.run(&format!("select * from app.fail_recharge('{failing}', {a})"));
    shop.backend.run(&format!("select * from app.compensate_tx('{}', 1, {a}, {})", &paid["tx_no"], q("k';--")));
    shop.backend.run(&format!("select * from app.adjust_points('{}', 1, {a}, {})", ming.card, q("k';--")));
    shop.backend.run(&format!("select * from app.create_enterprise_card({a})"));
    shop.backend.run(&format!("select app.set_member_status('{id}', 'suspended', {a})"));
    shop.set_card(&ming.card, "personal", "lost");
    shop.backend.run(&format!("select * from app.replace_card('{}', {a})", ming.card));
    for (table, column) in [
        ("app.member_profiles", "name"),
        ("app.merchants", "name"),
        ("app.enterprise_cards", "company_name"),
        ("app.transaction_compensations", "reason"),
        ("app.point_ledger", "reason"),
    ] {
        assert_ne!(
            shop.superuser.value(&format!("select count(*) from {table} where {column} = {a}")),
            "0",
            "{table}.{column}"
        );
    }
    assert_eq!(shop.count(&format!("reason = {a}")), "6"); // payment, refund, recharge, correction, and the pair of the replacement
    let kept = "select count(*) from audit.event_log where context ->> 'reason' = ";
    assert_ne!(shop.superuser.value(&format!("{kept}{a}")), "0");
}

#[test]
fn the_audit_log_is_append_only_to_everybody() {
    let (shop, ..) = lively();
    shop.superuser.run("call app.maintain_partitions(4)");
    let owner = shop.db.superuser();
    owner.run("set role mps_owner");
    let replica = shop.db.superuser();
    replica.run("set session_replication_role = replica");
    let mut logs = shop
        .superuser
        .column("select inhrelid::regclass::text from pg_inherits where inhparent = 'audit.event_log'::regclass");
    assert_eq!(logs.len(), 5);
    logs.push("audit.event_log".into());
    for session in [&shop.superuser, &owner, &replica] {
        for log in &logs {
            for sql in [
                format!("update {log} set action = 'nothing'"),
                format!("update {log} set action = 'nothing' where false"),
                format!("delete from {log}"),
                format!("delete from {log} where id = 1"),
                format!("truncate {log}"),
                format!("truncate {log} cascade"),
            ] {
                session.refused("NOT_ALLOWED", &sql);
            }
        }
        session.refused(
            "NOT_ALLOWED",
            "merge into audit.event_log e using (values (1)) v (x) on true when matched then update set action = 'x'",
        );
        session.refused(
            "NOT_ALLOWED",
            "merge into audit.event_log e using (values (1)) v (x) on true when matched then delete",
        );
    }
}

#[test]
fn no_audit_event_holds_a_code_or_a_hash() {
    let (shop, _, ming, _) = lively();
    let code = shop.code(&ming);
    let hash = shop
        .superuser
        .value(&format!("select encode(qr_hash, 'hex') from app.personal_cards where id = '{}'", ming.card));
    let found = format!(
        "select count(*) from audit.event_log e where e::text like '%{}%' or e::text like '%{hash}%'",
        &code[8..40]
    );
    assert_eq!(shop.superuser.value(&found), "0");
    // There is one that could.
    assert_eq!(&shop.last_event(&ming.card_no)["action"], "card.code_rotated");
}

#[test]
fn claims_of_any_shape_are_a_user_or_nobody() {
    let shop = Shop::open();
    let app = shop.db.login("app_role");
    let id = nobody();
    let set = |claims: &str| app.run(&format!("select set_config('request.jwt.claims', {}, false)", q(claims)));
    for (claims, uid) in [
        (format!(r#"{{"sub":"{id}"}}"#), id.to_string()),
        (
            format!(
                r#"{{"sub":"{}","role":"x","aud":["a"],"app_metadata":{{"a":{{"b":1}}}}}}"#,
                id.to_string().to_uppercase()
            ),
            id.to_string(),
        ),
        (format!(r#"{{"\u0073ub":"{id}"}}"#), id.to_string()),
        (format!(r#"{{"sub":"{id} "}}"#), NULL.into()),
        (format!(r#"{{"sub":["{id}"]}}"#), NULL.into()),
        (format!(r#"{{"app":{{"sub":"{id}"}}}}"#), NULL.into()),
        (format!(r#"["{id}"]"#), NULL.into()),
        (id.to_string(), NULL.into()),
        ("[".repeat(100_000), NULL.into()),
        (format!(r#"{{"sub":"{}"}}"#, "x".repeat(1_000_000)), NULL.into()),
    ] {
        set(&claims);
        assert_eq!(app.value("select sec.uid()"), uid, "{}", &claims[..claims.len().min(60)]);
    }
}

#[test]
fn app_role_of_the_seed_has_all_that_a_client_needs() {
    let shop = Shop::open();
    let id = nobody();
    let app = shop.db.app_user(id);
    assert_eq!(
        app.value("select rolinherit or rolsuper or rolbypassrls from pg_roles where rolname = current_user"),
        "f"
    );
    let me = app.row("select * from app.register_member('Ming')");
    app.run(&format!("select * from app.user_recharge_personal_card('{}', 20)", &me["card_id"]));
    app.run(&format!("select * from app.rotate_card_qr('{}')", &me["card_id"]));
    assert_eq!(app.value("select count(*) from app.v_user_cards"), "1");
    assert_eq!(app.value("select count(*) from app.v_usage_logs"), "1");
    assert_eq!(
        app.value("select count(*) from app.error_codes"),
        shop.superuser.value("select count(*) from app.error_codes")
    );
    app.run(&format!("select * from app.card_statement('{}')", &me["card_id"]));
}

#[test]
fn levels_are_granted_and_taken_back_by_one_call() {
    let db = Db::new();
    let superuser = db.superuser();
    let may = |what: &str| {
        superuser.value(&format!(
            "select has_function_privilege('stranger', oid, 'execute') from pg_proc where oid = '{what}'::regproc"
        ))
    };
    superuser.run("select sec.grant_api('stranger', 'client')");
    superuser.run("select sec.grant_api('stranger', 'backend')");
    assert_eq!((may("app.register_member").as_str(), may("app.compensate_tx").as_str()), ("t", "t"));
    superuser.run("select sec.revoke_api('stranger', 'backend')");
    assert_eq!((may("app.register_member").as_str(), may("app.compensate_tx").as_str()), ("t", "f"));
    assert_eq!(
        superuser.value("select has_column_privilege('stranger', 'app.personal_cards', 'balance', 'select')"),
        "t"
    );
    superuser.run("select sec.revoke_api('stranger', 'client')");
    assert_eq!(may("app.register_member"), "f");
    assert_eq!(
        superuser.value(
            "select has_schema_privilege('stranger', 'app', 'usage') or has_any_column_privilege('stranger', \
     'app.personal_cards', 'select')"
        ),
        "f"
    );
    for (role, level, token) in [
        ("anon", "client", "NOT_ALLOWED"),
        ("mps_owner", "client", "NOT_ALLOWED"),
        ("stranger", "owner", "INVALID_ARGUMENT"),
        ("stranger", "", "INVALID_ARGUMENT"),
        ("no_such_role", "client", "INVALID_ARGUMENT"),
        ("x; drop table app.settings", "client", "INVALID_ARGUMENT"),
    ] {
        superuser.refused(token, &format!("select sec.grant_api({}, {})", q(role), q(level)));
    }
    superuser.refused("INVALID_ARGUMENT", "select sec.grant_api('stranger', null)");
    superuser.refused("INVALID_ARGUMENT", "select sec.grant_api(null, 'client')");
    // A role whose name needs quoting, in a transaction that leaves it nowhere.
    superuser.run(r#"begin; create role "odd'; Role"; select sec.grant_api('odd''; Role', 'client')"#);
    assert_eq!(
        superuser.value(r#"select has_function_privilege('odd''; Role', 'app.tx_by_no(text)', 'execute')"#),
        "t"
    );
    superuser.run("rollback");
}

/// Every rule of sec.security_check, ways to break it, and what its detail must then name.
const BREACHES: &[(&str, &str, &str)] = &[
    (
        "row-level security is on for every table",
        "alter table app.point_ledger disable row level security",
        "app.point_ledger",
    ),
    (
        "row-level security is on for every table",
        "alter table app.transactions_{month} disable row level security",
        "app.transactions_{month}",
    ),
    (
        "nothing is granted to PUBLIC or anon",
        "grant select on app.membership_levels to public",
        "app.membership_levels: SELECT to PUBLIC",
    ),
    (
        "nothing is granted to PUBLIC or anon",
        "grant execute on function app.tx_by_no(text) to anon",
        "app.tx_by_no(text): EXECUTE to anon",
    ),
    (
        "no role but the owner may write",
        "grant update (balance) on app.personal_cards to authenticated",
        "app.personal_cards.balance: UPDATE to authenticated",
    ),
    (
        "no role but the owner may write",
        "grant insert on app.transactions to service_role",
        "app.transactions: INSERT to service_role",
    ),
    (
        "no role but the owner may write",
        "grant truncate on app.transactions_{month} to app_role",
        "app.transactions_{month}: TRUNCATE to app_role",
    ),
    (
        "no role but the owner may write",
        "grant usage on sequence app.tx_no_seq to authenticated",
        "app.tx_no_seq: USAGE to authenticated",
    ),
    (
        "no role but the owner may write",
        "grant create on schema app to authenticated",
        "schema app: CREATE to authenticated",
    ),
    (
        "SELECT is granted only on the columns of the API",
        "grant select (qr_hash) on app.personal_cards to authenticated",
        "app.personal_cards.qr_hash to authenticated",
    ),
    (
        "SELECT is granted only on the columns of the API",
        "grant select on audit.event_log to service_role",
        "audit.event_log to service_role",
    ),
    (
        "functions are granted only to the levels of the API",
        "grant execute on function app.compensate_tx(text, numeric, text, text) to authenticated",
        "app.compensate_tx(text,numeric,text,text) to authenticated",
    ),
    (
        "functions are granted only to the levels of the API",
        "grant execute on function sec.make_month(date) to service_role",
        "sec.make_month(date) to service_role",
    ),
    (
        "SECURITY DEFINER functions belong to mps_owner",
        "alter function app.get_settings() owner to stranger",
        "app.get_settings() belongs to stranger",
    ),
    (
        "SECURITY DEFINER functions have a fixed search_path ending in pg_temp",
        "alter function sec.admin_card_ids() reset search_path",
        "sec.admin_card_ids()",
    ),
    (
        "SECURITY DEFINER functions have a fixed search_path ending in pg_temp",
        "alter function sec.job_batch(text, bigint, boolean) set search_path = public",
        "sec.job_batch(text,bigint,boolean)",
    ),
    (
        "SECURITY DEFINER functions have a fixed search_path ending in pg_temp",
        "alter function audit.seal_ready() set search_path = pg_temp, pg_catalog",
        "audit.seal_ready()",
    ),
    (
        "native functions see who calls them (are not SECURITY DEFINER)",
        "alter function app.fail_recharge(text, text) security definer",
        "app.fail_recharge(text,text)",
    ),
    (
        "clients create nothing where backends may find it",
        "create schema shared; grant usage, create on schema shared to public",
        "PUBLIC may CREATE in schema shared",
    ),
    (
        "mps_owner cannot log in, is no superuser and has no members",
        "grant mps_owner to stranger",
        "stranger is a member",
    ),
    (
        "every relation and schema belongs to mps_owner",
        "alter table app.settings owner to stranger",
        "app.settings belongs to stranger",
    ),
    (
        "views run with the rights of who asks (security_invoker)",
        "alter view app.v_user_cards reset (security_invoker)",
        "app.v_user_cards",
    ),
    (
        "policies are those of mps, and only let read",
        "create policy writers on app.personal_cards for update using (true)",
        "writers on app.personal_cards",
    ),
    (
        "policies are those of mps, and only let read",
        "create policy all_rows on app.enterprise_cards for select using (true)",
        "all_rows on app.enterprise_cards",
    ),
    ("the event log is append-only", "alter table audit.event_log disable trigger append_only", "audit.event_log has"),
    (
        "the event log is append-only",
        "drop trigger append_only on audit.event_log_{month}",
        "audit.event_log_{month} has",
    ),
    (
        "policies are those of mps, and only let read",
        "drop policy own_card on app.personal_cards; create policy own_card on app.personal_cards for select using (true)",
        "own_card on app.personal_cards",
    ),
    (
        "policies are those of mps, and only let read",
        "drop policy own_profile on app.member_profiles",
        "own_profile on app.member_profiles",
    ),
    (
        "no client role inherits from a backend or operator role",
        "select sec.grant_api('stranger', 'client'); grant service_role to stranger",
        "stranger from service_role",
    ),
    (
        "the schemas hold no functions but those of mps",
        "create function app.gift() returns void language sql as ''",
        "app.gift()",
    ),
    (
        "settings and levels announce their changes",
        "alter table app.membership_levels disable trigger config_changed",
        "app.membership_levels",
    ),
    (
        "code of others on the tables fixes its search_path",
        "create function public.note() returns trigger language plpgsql as 'begin return null; end'; \
         create trigger note after insert on app.merchants for each row execute function public.note()",
        "trigger note on table app.merchants runs public.note()",
    ),
    (
        "remembered grants belong to roles that exist",
        "insert into sec.api_grants values ('somebody gone', 'backend')",
        "somebody gone (backend)",
    ),
    (
        "sequences give each number once, in the order of time",
        "alter sequence audit.event_id_seq cache 10",
        "audit.event_id_seq has CACHE 10",
    ),
    (
        "nobody else makes himself a member of mps_owner",
        "grant mps_owner to stranger with admin option",
        "stranger has ADMIN OPTION on mps_owner",
    ),
    (
        "nobody else passes on levels of the API",
        "grant service_role to stranger with admin option",
        "stranger has ADMIN OPTION on service_role",
    ),
    (
        "nobody else reaches files and programs of the server",
        "grant pg_write_server_files to stranger",
        "stranger is a member of pg_write_server_files",
    ),
    (
        "nobody else reads or writes every table",
        "grant pg_read_all_data to stranger",
        "stranger is a member of pg_read_all_data",
    ),
    (
        "whoever has a level of the API cannot read past it",
        "alter role app_role replication",
        "app_role has REPLICATION",
    ),
    (
        "nobody else creates in pg_catalog",
        "grant create on schema pg_catalog to stranger",
        "stranger may CREATE in pg_catalog",
    ),
    (
        "nobody else passes on levels of the API",
        "grant execute on function app.tx_by_no(text) to authenticated with grant option",
        "authenticated may pass on EXECUTE app.tx_by_no(text)",
    ),
    (
        "schemas are used only by the levels of the API",
        "grant usage on schema mps_archive to app_role",
        "schema mps_archive: USAGE to app_role",
    ),
    (
        "levels and mps_owner have all their rights",
        "revoke execute on function app.update_settings(jsonb) from service_role",
        "service_role lacks EXECUTE app.update_settings(jsonb)",
    ),
    (
        "every relation and schema belongs to mps_owner",
        "alter function sec.books_families() owner to stranger",
        "sec.books_families() belongs to stranger",
    ),
    (
        "secrets of payment gateways are sealed",
        "insert into app.gateway_accounts values ('shop', 'wechat', true, null, now(), '{}'); \
         insert into sec.gateway_keys values ('shop', 'wechat_apiv3_key', 'old', now(), null, '2000-01-01', false, 'x')",
        "shop old is kept plain",
    ),
];

#[test]
fn security_check_finds_every_breach() {
    let db = Db::new();
    let superuser = db.superuser();
    let found = || superuser.rows("select rule, ok, detail from sec.security_check()");
    let clean = found();
    assert!(clean.iter().all(|r| &r["ok"] == "t" && &r["detail"] == "ok"), "{clean:?}");
    let rules: BTreeSet<&str> = clean.iter().map(|r| &r["rule"]).collect();
    let tried: BTreeSet<&str> = BREACHES.iter().map(|(rule, ..)| *rule).collect();
    assert_eq!(tried, rules, "a rule is never broken in this test");
    let month = superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    superuser.run("begin");
    for (_, breach, _) in BREACHES {
        superuser.run(&breach.replace("{month}", &month));
    }
    let broken = found();
    superuser.run("rollback");
    for (rule, breach, named) in BREACHES {
        let row = broken.iter().find(|r| &r["rule"] == *rule).expect("every rule has its row");
        let named = named.replace("{month}", &month);
        assert!(
            &row["ok"] == "f" && row["detail"].split("; ").any(|d| d.starts_with(&named)),
            "{breach} was not found: {row:?}"
        );
    }
}

#[test]
fn security_check_finds_a_schema_of_a_stranger() {
    let db = Db::new();
    let superuser = db.superuser();
    superuser.run("begin; alter schema audit owner to stranger");
    let broken = superuser.rows("select rule, detail from sec.security_check() where not ok");
    superuser.run("rollback");
    let named = broken.iter().any(|r| r["detail"].contains("schema audit belongs to stranger"));
    assert!(named, "{broken:?}");
}

#[test]
fn security_check_does_not_depend_on_the_callers_settings() {
    let db = Db::new();
    let superuser = db.superuser();
    for setting in ["set search_path = ''", "set quote_all_identifiers = on", "set row_security = off"] {
        superuser.run(setting);
        let broken = superuser.column("select rule from sec.security_check() where not ok");
        assert_eq!(broken, [] as [String; 0], "{setting}");
    }
}

#[test]
fn nobody_logs_in_as_the_owner() {
    let db = Db::new();
    let role = db.superuser().row(
        "select rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication from pg_roles \
     where rolname = 'mps_owner'",
    );
    assert_eq!(role.values(), ["f", "f", "f", "f", "f", "f"]);
    assert_eq!(
        db.superuser().value(
            "select count(*) from pg_auth_members where roleid = 'mps_owner'::regrole or member = 'mps_owner'::regrole"
        ),
        "0"
    );
}
