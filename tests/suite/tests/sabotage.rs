//! Sabotage: whatever protects or checks is taken away in turn, and something says so. What there is to be taken away comes from the
//! catalogs, so that a family that joins is covered, or the test says that it is not.

use mps_tests::{Db, Session, Shop};
use std::collections::BTreeSet;

/// The schemas of MPS.
const SPACES: &str = "('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway')";

/// What does not hold, a line for each: of rights and triggers, and of how the tables are set up.
const FINDINGS: &str = "select d from sec.security_check() c, string_to_table(c.detail, '; ') d where not c.ok \
     union all select d from app.health() h, string_to_table(h.detail, '; ') d where h.check_name = 'tables' and not h.ok";

/// A database with an archived month, in which nothing is wrong.
fn sound() -> (Db, Session) {
    let db = Db::new();
    let s = db.superuser();
    s.run(
        "set jit = off; select sec.make_month('2020-03-01'); \
         alter table audit.event_log detach partition audit.event_log_202003; \
         alter table audit.event_log_202003 set schema mps_archive; \
         create function public.nothing() returns trigger language plpgsql set search_path = pg_catalog, pg_temp \
             as 'begin return null; end'",
    );
    s.run("select sec.grant_api('stranger', 'operator'), sec.grant_api('app_role', 'signup'), sec.grant_api('app_role', 'gateway')");
    assert_eq!(s.column(FINDINGS), [] as [String; 0]);
    (db, s)
}

/// What is found after a sabotage, which is taken back.
fn after(s: &Session, sabotage: &str) -> BTreeSet<String> {
    s.run("begin");
    s.run(sabotage);
    // What cannot even be asked is not overlooked.
    let found = match s.try_rows(FINDINGS) {
        Ok(rows) => rows.iter().map(|r| r["d"].to_owned()).collect(),
        Err(refusal) => BTreeSet::from([refusal.message]),
    };
    s.run("rollback");
    found
}

/// One by one: rows of a sabotage and how the finding that it must lead to begins.
fn each_is_found(s: &Session, at_least: usize, cases: &str) {
    let cases = s.rows(cases);
    assert!(cases.len() >= at_least, "only {} cases", cases.len());
    let mut unseen = Vec::new();
    for case in &cases {
        let found = after(s, &case["sabotage"]);
        if !found.iter().any(|f| f.starts_with(&case["finding"])) {
            unseen.push(format!("{}\n  expected {}, found {found:?}", &case["sabotage"], &case["finding"]));
        }
    }
    assert!(unseen.is_empty(), "{} of {} are not found:\n{}", unseen.len(), cases.len(), unseen.join("\n"));
}

/// Of each way all at once, because there are thousands: each must be named by a finding of its own.
fn all_are_found(s: &Session, at_least: usize, cases: &str) {
    all_are_found_by(s, FINDINGS, at_least, cases);
}

fn all_are_found_by(s: &Session, findings: &str, at_least: usize, cases: &str) {
    s.run(&format!("create temp table cases as select distinct sabotage, finding, way from ({cases}) x"));
    let count: usize = s.value("select count(*) from cases").parse().expect("a number");
    let mut unseen = Vec::new();
    for way in s.column("select distinct way from cases") {
        s.run("begin");
        s.run(&format!(
            "do $$ declare v text; begin for v in select sabotage from cases where way = '{way}' loop execute v; end loop; end $$"
        ));
        unseen.extend(s.column(&format!(
            "select c.sabotage || ': no ' || c.finding from cases c \
             where c.way = '{way}' and not exists (select from ({findings}) f (d) where f.d = c.finding)"
        )));
        s.run("rollback");
    }
    s.run("drop table cases");
    assert_eq!(s.column(FINDINGS), [] as [String; 0]);
    assert!(count >= at_least, "only {count} cases");
    assert!(unseen.is_empty(), "{} of {count} are not found:\n{}", unseen.len(), unseen.join("\n"));
}

#[test]
fn each_policy_that_is_taken_away_or_loosened_is_found() {
    let (_db, s) = sound();
    // What is declared is what is there: the cases below come from the server's list.
    assert_eq!(
        s.sorted("select tab || ' ' || policy from sec.policies()"),
        s.sorted(&format!(
            "select schemaname || '.' || tablename || ' ' || policyname from pg_policies where schemaname in {SPACES}"
        ))
    );
    all_are_found(
        &s,
        60,
        &format!(
            "select format(x.sabotage, p.policyname, p.schemaname, p.tablename, p.qual) as sabotage, \
                    format('%I on %I.%I', p.policyname, p.schemaname, p.tablename) as finding, x.sabotage as way \
             from pg_policies p, (values ('drop policy %I on %I.%I'), \
                 ('alter policy %I on %I.%I using (true)'), \
                 ('alter policy %I on %I.%I using (false)'), \
                 ('alter policy %I on %I.%I using (%s or true)'), \
                 ('alter policy %I on %I.%I to app_role'), \
                 ('alter policy %I on %I.%I rename to another'), \
                 ('drop policy %1$I on %2$I.%3$I; create policy %1$I on %2$I.%3$I as restrictive for select using (%4$s)'), \
                 ('drop policy %1$I on %2$I.%3$I; create policy %1$I on %2$I.%3$I for all using (%4$s)')) x (sabotage) \
             where p.schemaname in {SPACES} and (p.qual <> 'true' or x.sabotage !~ 'using .true.')"
        ),
    );
}

#[test]
fn each_table_without_its_row_level_security_is_found_and_each_view_that_lends_rights() {
    let (_db, s) = sound();
    all_are_found(
        &s,
        80,
        &format!(
            "select format('alter table %s %s row level security', c.oid::regclass, x.how) as sabotage, \
                    c.oid::regclass || x.says as finding, x.how as way \
             from pg_class c, (values ('disable', ''), ('force', ' binds its owner, too (FORCE)')) x (how, says) \
             where c.relnamespace::regnamespace::text in {SPACES} and c.relkind in ('r', 'p') \
             union all \
             select format('alter view %s %s', c.oid::regclass, x.how), c.oid::regclass::text, x.how \
             from pg_class c, (values ('reset (security_invoker)'), ('set (security_invoker = false)')) x (how) \
             where c.relnamespace::regnamespace::text in {SPACES} and c.relkind = 'v'"
        ),
    );
}

/// Dropped, disabled, for a session that replicates alone, replaced, under a condition, at fewer times.
#[test]
fn each_trigger_that_does_not_do_its_work_is_found() {
    let (_db, s) = sound();
    // Those that stand fire whatever a session says of itself. Copies are those of months.
    s.run(&format!(
        "create temp table triggers as \
         select t.tgname as trig, c.oid::regclass as tab, t.tgparentid <> 0 as is_copy, t.tgenabled = 'A' as stands, \
                pg_get_triggerdef(t.oid) as made, \
                case when t.tgenabled = 'A' then format('; alter table %s enable always trigger %I', c.oid::regclass, t.tgname) \
                     else '' end as again \
         from pg_trigger t join pg_class c on c.oid = t.tgrelid \
         where c.relnamespace::regnamespace::text in {SPACES} and not t.tgisinternal"
    ));
    let otherwise = "cross join lateral (values \
         ('another', regexp_replace(t.made, 'FUNCTION .*', 'FUNCTION public.nothing()')), \
         ('never', regexp_replace(t.made, '(WHEN \\(.*\\) )?EXECUTE', 'WHEN (false) EXECUTE')), \
         ('not first', regexp_replace(t.made, '(BEFORE|AFTER) ([A-Z]+) OR ', '\\1 ')), \
         ('not last', regexp_replace(t.made, ' OR ([A-Z]+)( OF status)? ON ', ' ON '))) x (way, made)";
    let made = "format('drop trigger %I on %s; %s%s', t.trig, t.tab, x.made, t.again)";
    all_are_found(
        &s,
        80,
        &format!(
            "select format(x.way, t.tab, t.trig) as sabotage, format('%s has no enabled trigger %s', t.tab, t.trig) as finding, x.way \
             from triggers t, (values ('drop trigger %2$I on %1$s'), ('alter table %s disable trigger %I'), \
                  ('alter table %s enable replica trigger %I'), ('alter table %s enable trigger %I')) x (way) \
             where t.stands \
             union all \
             select {made}, format('%s has no enabled trigger %s', t.tab, t.trig), x.way \
             from triggers t {otherwise} where t.stands and x.made <> t.made"
        ),
    );
    each_is_found(
        &s,
        20,
        &format!(
            "select format('drop trigger %I on %s', t.trig, t.tab) as sabotage, \
                    format('%s lacks its trigger %s', t.tab, t.trig) as finding \
             from triggers t where not t.stands and not t.is_copy \
             union all \
             select format('alter table %s %s trigger %I', t.tab, x.how, t.trig), \
                    format('a trigger of %1$s that mps relies on does not fire: ALTER TABLE %1$s ENABLE TRIGGER %2$s', t.tab, t.trig) \
             from triggers t, (values ('disable'), ('enable replica')) x (how) where not t.stands \
             union all \
             select {made}, format('trigger %s of %s is not the one of mps', t.trig, t.tab) \
             from triggers t {otherwise} where not t.stands and not t.is_copy and x.made <> t.made"
        ),
    );
}

#[test]
fn each_function_with_other_powers_or_another_owner_is_found() {
    let (_db, s) = sound();
    all_are_found(
        &s,
        80,
        &format!(
            "select format('alter %s %s reset all', case p.prokind when 'p' then 'procedure' else 'function' end, \
                           p.oid::regprocedure) as sabotage, \
                    p.oid::regprocedure::text as finding, 'reset' as way \
             from pg_proc p where p.pronamespace::regnamespace::text in {SPACES} and p.prosecdef \
             union all \
             select format('alter %s %s security definer', case p.prokind when 'p' then 'procedure' else 'function' end, \
                           p.oid::regprocedure), \
                    p.oid::regprocedure::text, 'definer' \
             from pg_proc p join pg_language l on l.oid = p.prolang \
             where p.pronamespace::regnamespace::text in {SPACES} and l.lanname = 'c' and not p.prosecdef"
        ),
    );
    let given_away = "format('alter %1$s %2$s owner to stranger; grant execute on %1$s %2$s to mps_owner', \
                             case p.prokind when 'p' then 'procedure' else 'function' end, p.oid::regprocedure) as sabotage";
    // The owner is known by who owns this one, and these are what asks.
    let asks = "p.oid in ('sec.level_client'::regproc, 'sec.security_check'::regproc, 'app.health'::regproc)";
    each_is_found(&s, 3, &format!("select {given_away}, '' as finding from pg_proc p where {asks}"));
    all_are_found(
        &s,
        200,
        &format!(
            "select {given_away}, p.oid::regprocedure || ' belongs to stranger' as finding, '' as way \
             from pg_proc p where p.pronamespace::regnamespace::text in {SPACES} and not {asks}"
        ),
    );
}

/// Every privilege on what is of MPS: object as findings call it, how GRANT calls it, who has what.
fn privileges() -> String {
    format!(
        "with spaces as (select n.oid, n.nspname, n.nspacl, n.nspowner from pg_namespace n where n.nspname in {SPACES}), \
         held as ( \
             select 'schema ' || s.nspname as object, 'schema ' || s.nspname as target, '' as col, 'n' as kind, s.nspowner as owner, a.* \
             from spaces s, aclexplode(s.nspacl) a \
             union all \
             select c.oid::regclass::text, case c.relkind when 'S' then 'sequence ' else '' end || c.oid::regclass, '', c.relkind, \
                    c.relowner, a.* \
             from pg_class c join spaces s on s.oid = c.relnamespace, aclexplode(c.relacl) a \
             union all \
             select c.oid::regclass || '.' || t.attname, c.oid::regclass::text, format('(%I)', t.attname), 'c', c.relowner, a.* \
             from pg_class c join spaces s on s.oid = c.relnamespace join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a \
             union all \
             select p.oid::regprocedure::text, case p.prokind when 'p' then 'procedure ' else 'function ' end || p.oid::regprocedure, '', \
                    'f', p.proowner, a.* \
             from pg_proc p join spaces s on s.oid = p.pronamespace, aclexplode(p.proacl) a \
             union all \
             select 'type ' || t.oid::regtype, 'type ' || t.oid::regtype, '', 't', t.typowner, a.* \
             from pg_type t join spaces s on s.oid = t.typnamespace, aclexplode(t.typacl) a where t.typtype = 'd') \
         select h.*, h.grantee::regrole::text as who from held h"
    )
}

#[test]
fn each_grant_that_is_taken_away_is_found() {
    let (_db, s) = sound();
    let held = privileges();
    let revoked = "format('revoke %s%s on %s from %s', h.privilege_type, h.col, h.target, h.who) as sabotage";
    // Who has a level, by the table that says so, and the markers.
    let levels = "(h.object ~ '^sec\\.level_' or h.object in (select m.marker from sec.level_markers() m))";
    all_are_found(
        &s,
        300,
        &format!(
            "select {revoked}, format('%s lacks %s %s', h.who, h.privilege_type, h.object) as finding, '' as way \
             from ({held}) h where h.grantee <> h.owner and not {levels}"
        ),
    );
    each_is_found(
        &s,
        5,
        &format!("select {revoked}, '' as finding from ({held}) h where h.grantee <> h.owner and {levels}"),
    );
    // Without what the owner may do itself, little of this can be asked: not as the owner, which is how operators ask it.
    all_are_found_by(
        &s,
        "select problem from sec.odd_grants() union all select problem from sec.table_problems()",
        300,
        &format!(
            "select {revoked}, case when h.kind in ('n', 'f', 't') then format('%s lacks %s %s', h.who, h.privilege_type, h.object) \
                                    else format('%s may not %s %s: GRANT it', h.who, h.privilege_type, h.object) end as finding, '' as way \
             from ({held}) h where h.grantee = h.owner and h.kind not in ('v', 'c') \
               and h.privilege_type not in ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')"
        ),
    );
}

/// To everybody, to who has no level, and to each level what it does not have.
#[test]
fn each_grant_too_much_is_found() {
    let (_db, s) = sound();
    s.run(&format!(
        "create temp table objects as \
         select 'schema ' || n.nspname as object, 'schema ' || n.nspname as target, '' as col, p.p, n.nspacl as acl \
         from pg_namespace n, unnest(array['USAGE', 'CREATE']) p (p) where n.nspname in {SPACES} \
         union all \
         select c.oid::regclass::text, case c.relkind when 'S' then 'sequence ' else '' end || c.oid::regclass, '', p.p, c.relacl \
         from pg_class c, unnest(case c.relkind when 'S' then array['SELECT', 'UPDATE', 'USAGE'] \
             else array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'] \
                  || case when current_setting('server_version_num')::integer >= 170000 then array['MAINTAIN'] else '{{}}'::text[] end \
             end) p (p) \
         where c.relnamespace::regnamespace::text in {SPACES} and c.relkind in ('r', 'p', 'v', 'S') \
         union all \
         select c.oid::regclass || '.' || t.attname, c.oid::regclass::text, format('(%I)', t.attname), p.p, t.attacl \
         from pg_class c join pg_attribute t on t.attrelid = c.oid and t.attnum > 0 and not t.attisdropped, \
              unnest(array['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) p (p) \
         where c.relnamespace::regnamespace::text in {SPACES} and c.relkind in ('r', 'p', 'v') \
           and not c.relispartition and c.relname <> 'level_holders' \
         union all \
         select p.oid::regprocedure::text, case p.prokind when 'p' then 'procedure ' else 'function ' end || p.oid::regprocedure, '', \
                'EXECUTE', p.proacl \
         from pg_proc p where p.pronamespace::regnamespace::text in {SPACES} \
         union all \
         select 'type ' || t.oid::regtype, 'type ' || t.oid::regtype, '', 'USAGE', t.typacl \
         from pg_type t where t.typnamespace::regnamespace::text in {SPACES} and t.typtype = 'd'"
    ));
    for who in ["PUBLIC", "anon", "authenticator", "authenticated", "service_role"] {
        let role = if who == "PUBLIC" { "0".to_owned() } else { format!("'{who}'::regrole") };
        all_are_found(
            &s,
            1000,
            &format!(
                "select format('grant %s%s on %s to {who}', o.p, o.col, o.target) as sabotage, \
                        case when '{who}' in ('PUBLIC', 'anon') or o.target ~ '^(schema|sequence|type)' or o.p not in ('SELECT', 'EXECUTE') \
                             then format('%s: %s to {who}', o.object, o.p) else format('%s to {who}', o.object) end as finding, '' as way \
                 from objects o where not exists (select from aclexplode(o.acl) a where a.grantee = {role} and a.privilege_type = o.p)"
            ),
        );
    }
    // What a level has, it may not pass on.
    all_are_found(
        &s,
        400,
        &format!(
            "select format('grant %s%s on %s to %s with grant option', h.privilege_type, h.col, h.target, h.who) as sabotage, \
                    format('%s may pass on %s %s', h.who, h.privilege_type, h.object) as finding, '' as way \
             from ({}) h where h.grantee <> h.owner",
            privileges()
        ),
    );
}

/// A day with something of everything that the books look at.
fn day() -> Shop {
    let shop = Shop::open();
    let (ming, hua) = (shop.member("500.00"), shop.member("100.00"));
    let company = shop.company("0.900", "100.00", &ming);
    let paid = shop.charge(&ming, "100.00")["tx_no"].to_owned();
    shop.refund(&paid, "30.00");
    shop.charge_company(&company, &ming, "20.00");
    let keyed =
        Shop::charge_sql(&shop.code(&ming), "7.00", "p_idempotency_key => 'till-1', p_external_order_id => 'order-1'");
    shop.cashier.run(&keyed);
    shop.backend.run(&format!("select * from app.compensate_tx('{paid}', -5.00, 'glass broken', 'glass-1')"));
    let waits = shop.pending(&hua, "50.00");
    shop.backend.run(&format!("select * from app.confirm_recharge('{waits}', 50.00, 'wx-1')"));
    shop.backend.run(&format!("select * from app.withdraw('{}', 40.00, 'leaving', 'out-1')", hua.card));
    shop.pending(&hua, "60.00");
    let coupon =
        r#"{"code": "C1", "name": "x", "kind": "amount_off", "value": 1, "issue_limit": 3, "budget_amount": 16}"#;
    shop.backend.run(&format!("select * from app.create_coupon('{coupon}')"));
    shop.backend.run("select * from app.set_coupon_status('C1', 'active', 'x')");
    shop.backend.run(&format!("select * from app.issue_coupon('C1', '{}', 2, 'gift-1')", ming.id));
    // With the first of them, which no other sabotage is about.
    let campaign = r#"{"code": "K1", "name": "x", "kind": "points_multiplier", "value": 2}"#;
    shop.backend.run(&format!("select * from app.create_campaign('{campaign}')"));
    shop.backend.run("select * from app.set_campaign_status('K1', 'active', 'x')");
    let first = shop.superuser.value("select min(sec.coupon_no(m.id)) from app.member_coupons m");
    let with_it = Shop::charge_sql(&shop.code(&ming), "8.00", &format!("p_coupon_code => '{first}'"));
    shop.cashier.run(&with_it);
    shop.charge(&ming, "1.00");
    shop
}

/// For each check of `app.verify_books()` what breaks it and no other one. A payment, the last but one of its card, is `P`; its
/// refund `R`.
const BOOKS: &[(&str, &str)] = &[
    ("balances", "update app.personal_cards set balance = balance + 1"),
    ("sequence", "update app.transactions set prev_tx_id = null where card_seq = 2"),
    ("running_balance", "update app.transactions set balance_after = balance_after + 1 where tx_no = P"),
    ("posted_at", "update app.transactions set posted_at = posted_at - interval '1 minute' where tx_no = P"),
    ("links", "update app.transactions set skip_tx_id = id where tx_no = P"),
    ("amounts", "update app.transactions set raw_amount = raw_amount + 1 where tx_no = P"),
    ("numbers", "alter table app.point_ledger_{month} drop constraint point_ledger_{month}_pkey"),
    ("points", "update app.personal_cards set points = points + 1"),
    ("point_ledger", "update app.point_ledger set balance_after = balance_after + 1 where tx_no = P"),
    (
        "points_of_transactions",
        "update app.transactions set points_earned = points_earned + 1 where external_order_id = 'order-1'",
    ),
    ("refunds", "update app.transactions set refunded_amount = 10 where tx_no = P"),
    (
        "refund_points",
        "update app.point_ledger set change = change + 1 where tx_no = R; \
        update app.point_ledger set balance_after = balance_after + 1 \
            where point_seq >= (select l.point_seq from app.point_ledger l where l.tx_no = R); \
        update app.transactions set points_earned = points_earned + 1 where tx_no = R; \
        update app.personal_cards c set points = points + 1 where c.id = (select t.card_id from app.transactions t where t.tx_no = R)",
    ),
    ("refund_chain", "update app.transactions set refund_chain_id = null where tx_no = P"),
    (
        "audit",
        "insert into audit.event_log values (900000, now(), null, 'postgres', 'payment', 'transaction', 'ZF2611999999', '{}')",
    ),
    ("keys", "delete from app.idempotency_keys where idempotency_key = 'till-1'"),
    ("orders", "delete from app.external_orders where order_id = 'order-1'"),
    ("compensations", "update app.transaction_compensations set amount = -6"),
    (
        "suspense",
        "insert into app.suspense_payments (id, created_at, gateway_trade_no, amount, payment_method, reason) \
        values (1, now(), 'wx-9', 5, 'wechat', 'test')",
    ),
    ("pending", "delete from app.pending_recharges"),
    (
        "late_postings",
        "insert into app.late_postings select id, merchant_id, card_id, member_id, created_at, posted_at from app.transactions \
        where tx_no = P",
    ),
    ("withdrawals", "update app.withdrawals set amount = amount + 1 where status = 'processing'"),
    (
        "callbacks",
        "insert into app.gateway_events (id, received_at, verified, account, provider, outcome, tx_no, trade_no, amount, body) \
        values (1, now(), true, 'gate', 'wechat', 'credited', 'CZ2611999999', 'wx-9', 5, '')",
    ),
    (
        "gateway_days",
        "insert into app.gateway_accounts values ('gate', 'wechat', true, null, now(), '{}'); \
        insert into app.recon_days (account, bill_date, closed_at) values ('gate', '2026-11-26', now())",
    ),
    (
        "gateway_words",
        "update app.transactions set gateway_trade_no = 'wx-7' where tx_type = 'recharge' and payment_method = 'cash' and card_seq = 1 \
            and card_id = (select c.id from app.personal_cards c order by c.card_no limit 1); \
        insert into app.external_orders (scope_no, tx_id, scope, order_id) \
        select 0, t.id, 3, 'wx-7' from app.transactions t where t.gateway_trade_no = 'wx-7'",
    ),
    ("campaigns", "update app.campaigns set terms_version = 2"),
    ("campaign_points", "update app.transactions set points_bonus = points_bonus + 1 where points_bonus is not null"),
    ("coupons", "update app.coupons set issued = issued + 1"),
    ("coupon_limits", "update app.coupon_terms set issue_limit = 1"),
    ("coupon_budgets", "update app.coupon_budget_parts set left_amount = left_amount - 0.01 where part = 3"),
    (
        "coupon_log",
        "update app.member_coupons m set member_id = p.id from app.member_profiles p where m.id <> m.issued_with and p.id <> m.member_id",
    ),
    ("coupon_uses", "update app.member_coupons set status = 'active', tx_no = null where status = 'used'"),
    ("coupon_prices", "update app.coupon_terms set value = 1.01"),
    ("coupon_keys", "update app.idempotency_keys set ref_id = ref_id + 50 where operation = 31"),
    (
        "closed_months",
        "delete from app.closed_months; insert into app.closed_months (noted_through, through, noted_at) \
        select m, m, now() from (select date_trunc('month', now() at time zone 'UTC')::date as m) x",
    ),
];

/// Makes a rule or a proof say something else.
fn says(s: &Session, function: &str, says: &str) {
    s.run(&s.value(&format!(
        "select format('create or replace function sec.%I(%s) returns %s language sql stable parallel safe as %L', p.proname, \
                pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), 'select {says}') \
         from pg_proc p where p.pronamespace = 'sec'::regnamespace and p.proname = '{function}'"
    )));
}

#[test]
fn each_rule_of_the_books_finds_what_no_other_one_finds() {
    let shop = day();
    let s = &shop.superuser;
    let paid = s.value("select original_tx_no from app.transactions where tx_type = 'refund'");
    let refund = s.value("select tx_no from app.transactions where tx_type = 'refund'");
    let month = s.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    let rules = s.rows(
        "select c as name, r.rule, exists (select from pg_proc p where p.proname = r.rule || '_proof') as has_proof \
         from sec.books_families() r, unnest(r.checks) c",
    );
    let found = || s.column("select check_name from app.verify_books() where not ok").join(" ");
    assert_eq!(found(), "");
    let names: BTreeSet<&str> = rules.iter().map(|r| &r["name"]).collect();
    let broken: BTreeSet<&str> = BOOKS.iter().map(|(check, _)| *check).collect();
    assert_eq!(names, broken, "checks of the books, and those that something here breaks");
    let mut wrong = Vec::new();
    for rule in &rules {
        let (name, function) = (&rule["name"], &rule["rule"]);
        let (_, sabotage) = BOOKS.iter().find(|(check, _)| *check == name).expect("compared above");
        let sabotage = sabotage
            .replace("{month}", &month)
            .replace("= P", &format!("= '{paid}'"))
            .replace("= R", &format!("= '{refund}'"));
        s.run("begin");
        s.run(&sabotage);
        let seen = found();
        // The proof lies: it is asked, and nobody looks any further. Then the rule itself.
        let mut unseen = Vec::new();
        if &rule["has_proof"] == "t" {
            s.run("savepoint honest");
            says(s, &format!("{function}_proof"), "true");
            unseen.push(found());
            s.run("rollback to honest");
            says(s, &format!("{function}_proof"), "false");
        }
        says(s, function, "null::text, null::text where false");
        unseen.push(found());
        s.run("rollback");
        if seen != name || unseen.iter().any(|u| !u.is_empty()) {
            wrong.push(format!("{name}: {sabotage}\n  found {seen:?}, and without its rule {unseen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
