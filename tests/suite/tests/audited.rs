//! Every function that changes something leaves an audit event. Which functions there are says the database, not this file: a
//! new one that is nowhere below fails here.

use mps_sender::bill;
use mps_tests::{Member, SHOP, Scratch, Shop, gateways, q};
use std::collections::BTreeSet;

/// What operators run that changes nothing of anybody's, and what it does instead.
const NO_EVENT: &[(&str, &str)] = &[
    ("app.maintain_partitions", "makes months that are empty"),
    ("app.maintain_partitions_batch", "the same"),
    ("app.rehearse_month_batch", "is rolled back"),
    ("app.close_months", "notes for statements where something is"),
    ("app.close_months_note_batch", "the same"),
    ("app.close_months_mark_batch", "the same"),
    ("app.close_month_batch", "the same"),
    ("app.expire_qrcodes", "forgets what is not valid any more"),
    ("app.expire_qrcodes_batch", "the same"),
    ("app.expire_keys", "forgets what nobody can use any more"),
    ("app.expire_keys_batch", "the same"),
    ("app.schedule_jobs", "changes pg_cron's table"),
    ("app.enable_supabase_signup", "changes a table of Supabase's"),
    ("audit.seal", "its rows are of the audit log itself"),
    ("audit.seal_batch", "the same"),
    ("audit.seal_note", "the same"),
    ("audit.seal_ready", "the same"),
    ("audit.sign_heads", "what it makes stands for the audit log itself"),
    ("audit.grow_tree", "the same"),
    ("audit.note_balances", "the same"),
    ("audit.balances_ready", "the same"),
    ("audit.publish_balances", "the same"),
    ("audit.sign_head", "the same"),
    ("app.reconcile", "what it writes down follows from bill and books; what becomes of it leaves events"),
    ("app.rebuild_from_log", "is refused here; rebuild.rs looks for its event"),
    // Procedures, whose batches are looked at below.
    ("app.expire_cards", "its batch does it"),
    ("app.expire_recharges", "its batch does it"),
    ("app.recompute_levels", "its batch does it"),
    ("app.issue_coupon_to_all", "its batch does it"),
    ("app.archive_partitions", "its batch does it"),
];

/// Functions of the API that may write: what is not declared to read only.
fn writers(shop: &Shop) -> BTreeSet<String> {
    let found = shop.superuser.column(
        "select distinct f.func from sec.api_functions() f join pg_proc p on p.pronamespace::regnamespace || '.' || p.proname = f.func \
         where p.provolatile = 'v' and p.pronamespace in ('app'::regnamespace, 'audit'::regnamespace) \
         union select p.pronamespace::regnamespace || '.' || p.proname from pg_proc p \
         join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e' \
         where p.provolatile = 'v' and p.pronamespace in ('app'::regnamespace, 'audit'::regnamespace) and p.proname <> 'migrate'",
    );
    found.into_iter().collect()
}

/// A recharge with a second payment, which is in suspense: its id.
fn in_suspense(shop: &Shop, member: &Member) -> String {
    let number = shop.pending(member, "5.00");
    for trade in ["first", "second"] {
        shop.backend.run(&format!("select * from app.confirm_recharge('{number}', 5, {})", q(trade)));
    }
    shop.superuser.value("select id from app.suspense_payments")
}

/// Each function with a call of it and the event that it leaves.
fn calls(shop: &Shop) -> Vec<(&'static str, &'static str, String)> {
    let (ming, other) = (shop.member("100.00"), shop.member("0"));
    let paid = shop.charge(&ming, "10.00")["tx_no"].to_owned();
    let waiting = [shop.pending(&ming, "1.00"), shop.pending(&ming, "2.00"), shop.pending(&ming, "3.00")];
    shop.superuser.run(&mps_sender::set_up());
    let callback = mps_sender::Payment { order: &waiting[2], trade: "told", fen: 300, state: "SUCCESS" }.sent();
    let company = shop.company("1.000", "0", &ming);
    let lost = shop.member("1.00");
    shop.set_card(&lost.card, "personal", "lost");
    let day = "2026-11-26";
    let content = bill::wechat(day, &[bill::Line::payment("4200001", "a-stranger-s", 100)]);
    shop.backend.row(&bill::import("wechat", day, "trade", &content));
    shop.backend.rows(&format!("select * from app.reconcile('wechat', '{day}')"));
    let item = shop.superuser.value("select id from app.recon_items");
    let twice = shop.member("0");
    let suspense = in_suspense(shop, &twice);
    let withdraw = |key: &str| format!("select refund_no from app.withdraw('{}', 1, 'x', '{key}')", twice.card);
    let refunds = ["a", "b"].map(|key| shop.backend.value(&withdraw(key)));
    let terms = r#"{"code": "C1", "name": "x", "kind": "amount_off", "value": 1}"#;
    shop.backend.run(&format!("select * from app.create_coupon('{terms}')"));
    shop.backend.run("select * from app.set_coupon_status('C1', 'active', 'x')");
    shop.backend.run(&format!("select * from app.create_coupon('{}')", terms.replace("C1", "ALL")));
    shop.backend.run("select * from app.set_coupon_status('ALL', 'active', 'x')");
    let issued = format!("select coupon_code from app.issue_coupon('C1', '{}')", ming.id);
    let coupon = shop.backend.value(&issued);
    let campaign = r#"{"code": "K1", "name": "x", "kind": "points_bonus", "value": 1}"#;
    let mut calls = vec![
        ("app.create_campaign", "campaign.created", format!("select * from app.create_campaign('{campaign}')")),
        (
            "app.update_campaign",
            "campaign.updated",
            r#"select * from app.update_campaign('K1', '{"value": 2}')"#.to_owned(),
        ),
        (
            "app.set_campaign_status",
            "campaign.status_set",
            "select * from app.set_campaign_status('K1', 'active', 'x')".to_owned(),
        ),
        (
            "app.create_coupon",
            "coupon.created",
            format!("select * from app.create_coupon('{}')", terms.replace("C1", "C2")),
        ),
        ("app.update_coupon", "coupon.updated", r#"select * from app.update_coupon('C1', '{"value": 2}')"#.to_owned()),
        ("app.issue_coupon", "coupon.issued", issued),
        ("app.revoke_coupon", "coupon.revoked", format!("select app.revoke_coupon('{coupon}', 'x')")),
        (
            "app.set_coupon_status",
            "coupon.status_set",
            "select * from app.set_coupon_status('C1', 'ended', 'x')".to_owned(),
        ),
        (
            "app.import_bill",
            "gateway.bill_imported",
            bill::import("wechat", "2026-11-25", "trade", &bill::wechat("2026-11-25", &[])),
        ),
        (
            "app.resolve_recon_item",
            "recon.item_resolved",
            format!("select * from app.resolve_recon_item({item}, 'explained', 'x')"),
        ),
        (
            "app.close_recon_day",
            "gateway.day_closed",
            "select * from app.close_recon_day('wechat', '2026-11-25')".to_owned(),
        ),
        ("app.merchant_charge_by_qr", "payment", Shop::charge_sql(&shop.code(&ming), "1.00", "")),
        ("app.register_member", "member.registered", "select * from app.register_member('x')".to_owned()),
        ("app.rotate_card_qr", "card.code_rotated", format!("select * from app.rotate_card_qr('{}')", ming.card)),
        ("app.merchant_refund_tx", "refund", Shop::refund_sql(&paid, "1.00", "")),
        ("app.cancel_payment", "refund", format!("select * from app.cancel_payment('{SHOP}', '{paid}')")),
        (
            "app.user_recharge_personal_card",
            "recharge",
            format!("select * from app.user_recharge_personal_card('{}', 1, 'cash')", ming.card),
        ),
        (
            "app.user_recharge_enterprise_card_admin",
            "recharge",
            format!("select * from app.user_recharge_enterprise_card_admin('{}', 1, 'cash')", company.card),
        ),
        (
            "app.confirm_recharge",
            "recharge.confirmed",
            format!("select * from app.confirm_recharge('{}', 1, 'g')", waiting[0]),
        ),
        ("app.gateway_notify", "recharge.confirmed", callback.sql("wechat")),
        ("app.fail_recharge", "recharge.failed", format!("select * from app.fail_recharge('{}', 'x')", waiting[1])),
        (
            "app.resolve_suspense",
            "suspense.resolved",
            format!("select * from app.resolve_suspense({suspense}, 'written_off', 'x')"),
        ),
        ("app.withdraw", "withdrawal.asked", withdraw("c")),
        (
            "app.confirm_withdrawal",
            "withdrawal.completed",
            format!("select * from app.confirm_withdrawal('{}', 1)", refunds[0]),
        ),
        (
            "app.fail_withdrawal",
            "withdrawal.returned",
            format!("select * from app.fail_withdrawal('{}', 'x')", refunds[1]),
        ),
        (
            "app.enterprise_add_member",
            "card.member_bound",
            format!("select app.enterprise_add_member('{}', '{}')", company.card_no, other.id),
        ),
        (
            "app.enterprise_remove_member",
            "card.member_unbound",
            format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, other.id),
        ),
        ("app.create_merchant", "merchant.created", "select * from app.create_merchant('SHOP-007', 'x')".into()),
        (
            "app.set_merchant_user",
            "merchant.user_set",
            format!("select app.set_merchant_user('{SHOP}', '{}')", other.id),
        ),
        (
            "app.remove_merchant_user",
            "merchant.user_removed",
            format!("select app.remove_merchant_user('{SHOP}', '{}')", other.id),
        ),
        (
            "app.set_merchant_status",
            "merchant.status_set",
            format!("select app.set_merchant_status('{SHOP}', false, 'x')"),
        ),
        ("app.create_enterprise_card", "card.issued", "select * from app.create_enterprise_card('x')".into()),
    ];
    calls.extend([
        (
            "app.set_member_status",
            "member.status_set",
            format!("select app.set_member_status('{}', 'suspended', 'x')", other.id),
        ),
        (
            "app.set_card_expiry",
            "card.expiry_set",
            format!("select app.set_card_expiry('{}', 'personal', '2090-01-01', 'x')", ming.card),
        ),
        ("app.adjust_points", "points.adjusted", format!("select * from app.adjust_points('{}', 5, 'x')", ming.card)),
        (
            "app.set_card_status",
            "card.status_set",
            format!("select app.set_card_status('{}', 'personal', 'frozen', 'x')", ming.card),
        ),
        ("app.replace_card", "card.replaced", format!("select * from app.replace_card('{}', 'x')", lost.card)),
        ("app.compensate_tx", "adjustment", format!("select * from app.compensate_tx('{paid}', 1, 'x')")),
        (
            "app.update_settings",
            "settings.updated",
            r#"select app.update_settings('{"qr_ttl_seconds": 77}')"#.to_owned(),
        ),
    ]);
    calls
}

/// The same of what operators and superusers run, with what makes it have something to do.
fn batches(shop: &Shop, key_file: &str) -> Vec<(&'static str, &'static str, String)> {
    let month = "(date_trunc('month', now() at time zone 'UTC') - interval '2 years')::date";
    let s = &shop.superuser;
    s.run(&format!("create schema if not exists mps_archive authorization mps_owner; select sec.make_month({month})"));
    let late = shop.member("0");
    shop.pending(&late, "1.00");
    s.run(&format!("update app.personal_cards set expires_at = now() - interval '1 day' where id = '{}'", late.card));
    s.run("update app.settings set recharge_ttl_minutes = 5");
    // Within the month of its number.
    s.run(
        "update app.transactions set created_at = greatest(created_at - interval '6 min', date_trunc('month', created_at at time zone \
         'UTC') at time zone 'UTC') \
         where status = 'processing'",
    );
    s.run("update app.membership_levels set min_points = 1 where level = 1");
    s.run(
        "insert into audit.trees (tree, begun_at, secret) values (0, now(), decode(repeat('00', 32), 'hex')); \
         insert into audit.heads (head_no, signed_at, seal_no, leaves, restores, head, signature, public_key) \
         values (1, now(), 1, 0, false, '[]', '', '')",
    );
    vec![
        ("app.set_gateway_account", "gateway.account_set", gateways::set_account("shop", "alipay", gateways::ALIPAY)),
        (
            "app.set_gateway_key",
            "gateway.key_set",
            gateways::set_key("shop", "alipay_public_key", "a", gateways::alipay_keys()[0], ""),
        ),
        (
            "app.set_gateway_key_from_file",
            "gateway.key_set",
            gateways::set_key_from_file("shop", "alipay_public_key", "b", key_file),
        ),
        ("app.expire_cards_batch", "card.expired", "select app.expire_cards_batch(null)".into()),
        (
            "app.issue_coupon_to_all_batch",
            "coupon.issued",
            "select app.issue_coupon_to_all_batch('ALL', null, null)".into(),
        ),
        ("app.expire_recharges_batch", "recharge.cancelled", "select app.expire_recharges_batch(null)".into()),
        ("app.recompute_levels_batch", "levels.recomputed", "select app.recompute_levels_batch(null)".into()),
        ("audit.declare_restore", "restore.declared", "select audit.declare_restore('x')".into()),
        ("app.archive_month_batch", "month.archived", format!("select app.archive_month_batch({month})")),
        // At last: from then on the others are refused.
        ("app.set_mode", "mode.set", "select app.set_mode('read_only', 'x')".into()),
    ]
}

/// Runs a call and looks for its event.
fn must_leave_an_event(shop: &Shop, who: &mps_tests::Session, role: &str, action: &str, sql: &str) {
    let last = shop.superuser.value("select coalesce(max(id), 0) from audit.event_log");
    who.run(sql);
    let events = shop.superuser.rows(&format!(
        "select actor_role, abs(extract(epoch from happened_at - now())) < 60 as now from audit.event_log where id > {last} and action \
         = '{action}'"
    ));
    assert!(!events.is_empty(), "{sql} left no event {action}");
    assert!(events.iter().all(|e| e.values() == [role, "t"]), "{sql}: {events:?}");
}

#[test]
fn every_function_that_changes_something_leaves_an_event() {
    let mut shop = Shop::open();
    shop.db.without_books();
    let of_backends = calls(&shop);
    let mut known: BTreeSet<String> = NO_EVENT.iter().map(|(func, _)| (*func).to_owned()).collect();
    for (func, action, sql) in &of_backends {
        must_leave_an_event(&shop, &shop.backend, "service_role", action, sql);
        known.insert((*func).to_owned());
    }
    // What a member does for itself.
    let member = shop.member("0");
    let claimable = r#"{"code": "OPEN", "name": "x", "kind": "amount_off", "value": 1, "claimable": true}"#;
    shop.backend.run(&format!("select * from app.create_coupon('{claimable}')"));
    shop.backend.run("select * from app.set_coupon_status('OPEN', 'active', 'x')");
    let claim = "select * from app.claim_coupon('OPEN')";
    must_leave_an_event(&shop, &shop.db.user(member.id), "authenticated", "coupon.claimed", claim);
    known.insert("app.claim_coupon".to_owned());
    let operator = shop.db.superuser();
    let key_file = Scratch::with("key", gateways::alipay_keys()[0]);
    for (func, action, sql) in batches(&shop, key_file.path()) {
        must_leave_an_event(&shop, &operator, "postgres", action, &sql);
        known.insert(func.to_owned());
    }
    // Each event is known, and says what the books need to be written anew from it.
    shop.superuser.run("select sec.require_whole_events()");
    let writers = writers(&shop);
    let unknown: Vec<_> = writers.difference(&known).collect();
    assert!(unknown.is_empty(), "nobody looked whether these leave an event: {unknown:?}");
    let gone: Vec<_> = known.difference(&writers).collect();
    assert!(gone.is_empty(), "no function that writes is called so: {gone:?}");
}

#[test]
fn a_cast_of_somebody_elses_does_not_run_when_a_level_is_audited() {
    let shop = Shop::open();
    let s = &shop.superuser;
    s.run(
        "create type public.mood as enum ('glad'); \
         create function public.told(public.mood) returns json language plpgsql set search_path = pg_catalog, pg_temp \
             as 'begin raise exception ''run by %'', current_user; end'; \
         create cast (public.mood as json) with function public.told(public.mood); \
         alter table app.membership_levels add column mood public.mood default 'glad'",
    );
    s.run("update app.membership_levels set discount = 0.940 where level = 1");
    let event = r#"select context = '{"before": {"level": 1, "name": "Silver", "min_points": 5000, "discount": 0.950},
        "after": {"level": 1, "name": "Silver", "min_points": 5000, "discount": 0.940}}' from audit.event_log where action = 'level.changed'"#;
    assert_eq!(s.value(event), "t");
}
