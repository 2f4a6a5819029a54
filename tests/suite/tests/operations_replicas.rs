//! Standbys and logical replication: what a copy of the database answers, what it refuses, and how it takes over.

use mps_sender::bill;
use mps_tests::{Cluster, Failure, NULL, SHOP, Scratch, Session, Shop, Till, claims, contents, q, sequences, until};
use std::time::Duration;

/// How long a change may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the standby has replayed what the primary has done so far.
#[track_caller]
fn replayed(primary: &Session, standby: &Session) {
    let done = primary.value("select pg_current_wal_lsn()");
    let sql = format!("select pg_last_wal_replay_lsn() >= '{done}'");
    until("the standby replays", PATIENCE, || standby.value(&sql) == "t");
}

/// What may be asked of a standby, by a superuser; `{card}`, `{tx}` are a personal card and a payment of it.
const QUESTIONS: &[&str] = &[
    "select * from app.card_statement('{card}')",
    "select * from app.card_statement('{card}', p_before => '{tx}', p_limit => 1)",
    "select * from app.merchant_statement('SHOP-001')",
    "select app.balance_as_of('{card}', clock_timestamp())",
    "select app.balance_as_of('{card}', (select posted_at from app.transactions where tx_no = '{tx}'))",
    "select * from app.tx_by_no('{tx}')",
    "select r.* from app.gateway_events e, app.reverify_event(e.id) r",
    "select * from app.quote_charge('SHOP-001', '{code}', 10.00)",
    "select * from app.v_recon_days",
    "select app.get_settings()",
    "select check_name, ok from app.health()",
    "select * from app.verify_books()",
    "select * from app.verify_books(now() - interval '1 day', now())",
    "select * from audit.verify()",
    "select * from audit.head()",
    "select * from sec.security_check()",
    "select * from app.v_reconciliation order by 1, 2, 3",
    "select * from app.day_totals()",
    "select * from app.campaign_report('K1')",
    "select count(*) from app.campaign_uses",
    "select app.business_day(clock_timestamp()), app.business_day_start(current_date)",
    "select * from app.error_codes",
    "select count(*) from app.error_list()",
    "select app.bucket_of_card('{card}'), app.bucket_of_tx('{tx}'), app.bucket_of_code('{code}')",
    "select job, schedule from app.schedule_jobs()",
];

/// What a signed-in member asks.
const OWN_QUESTIONS: &[&str] = &[
    "select app.tx_proof('{tx}')",
    "select * from app.liability_proof(current_date, '{card}')",
    "select app.head_proof()",
    "select * from app.v_user_cards",
    "select * from app.v_member_coupons",
    "select * from app.v_usage_logs order by created_at, tx_id",
    "select * from app.card_statement('{card}')",
    "select * from app.usage_page()",
    "select app.balance_as_of('{card}', clock_timestamp())",
    "select * from app.tx_by_no('{tx}')",
    "select sec.uid()",
];

/// Every RPC that changes something, called so that a primary would do it or refuse it for a reason of its own.
const CHANGES: &[&str] = &[
    "app.register_member('x')",
    "app.rotate_card_qr('{card}')",
    "app.merchant_charge_by_qr('SHOP-001', '{code}', 1.00, p_idempotency_key => 'on-a-standby')",
    "app.merchant_refund_tx('SHOP-001', '{tx}', 1.00)",
    "app.cancel_payment('SHOP-001', '{tx}')",
    "app.user_recharge_personal_card('{card}', 1.00, 'cash')",
    "app.user_recharge_enterprise_card_admin('{company}', 1.00, 'cash')",
    "app.confirm_recharge('{waiting}', 5.00, 'trade')",
    "app.fail_recharge('{waiting}', 'x')",
    "app.resolve_suspense(1, 'written_off', 'x')",
    "app.withdraw('{card}', 1.00, 'x', 'k')",
    "app.confirm_withdrawal('TX2611000001-1', 1.00)",
    "app.fail_withdrawal('TX2611000001-1', 'x')",
    "app.gateway_notify('wechat', '{}', 'x')",
    "app.import_bill('wechat', '2026-11-25', 'trade', 'x')",
    "app.reconcile('wechat', '2026-11-26')",
    "app.resolve_recon_item(1, 'explained', 'x')",
    "app.close_recon_day('wechat', '2026-11-26')",
    "app.enterprise_add_member('{company_no}', '{member}')",
    "app.enterprise_remove_member('{company_no}', '{member}')",
    "app.create_merchant('SHOP-002', 'x')",
    r#"app.create_coupon('{"code": "C1", "name": "x", "kind": "amount_off", "value": 1}')"#,
    r#"app.update_coupon('C1', '{"value": 2}')"#,
    "app.set_coupon_status('C1', 'active', 'x')",
    "app.issue_coupon('C1', '{member}')",
    "app.claim_coupon('C1')",
    "app.revoke_coupon('CP00000001', 'x')",
    r#"app.create_campaign('{"code": "K1", "name": "x", "kind": "points_multiplier", "value": 2}')"#,
    r#"app.update_campaign('K1', '{"value": 3}')"#,
    "app.set_campaign_status('K1', 'active', 'x')",
    "app.set_merchant_user('SHOP-001', '{member}')",
    "app.remove_merchant_user('SHOP-001', '{member}')",
    "app.set_merchant_status('SHOP-001', false, 'x')",
    "app.create_enterprise_card('x')",
    "app.set_member_status('{member}', 'suspended', 'x')",
    "app.set_card_status('{card}', 'personal', 'frozen', 'x')",
    "app.set_card_expiry('{card}', 'personal', now(), 'x')",
    "app.replace_card('{card}', 'x')",
    "app.adjust_points('{card}', 1, 'x')",
    "app.compensate_tx('{tx}', 1.00, 'x')",
    "app.update_settings('{\"qr_ttl_seconds\": 60}')",
    "app.set_mode('read_only', 'x')",
    "app.migrate()",
    "sec.grant_api('stranger', 'client')",
    "sec.revoke_api('app_role', 'client')",
];

const PROCEDURES: &[&str] = &[
    "app.maintain_partitions()",
    "app.close_months()",
    "app.expire_cards()",
    "app.expire_qrcodes()",
    "app.expire_recharges()",
    "app.expire_keys()",
    "app.recompute_levels()",
    "app.archive_partitions('2001-01-01')",
    "app.issue_coupon_to_all('C1')",
    "audit.seal()",
    "audit.sign_heads()",
];

/// Refused because nothing can be written here, and not in any way that a client would take for a crash.
#[track_caller]
fn is_read_only(failure: &Failure, doing: &str) {
    assert_eq!(failure.code, "25006", "{doing}\n{failure:?}");
    for inner in ["panic", "backtrace", ".rs"] {
        assert!(!format!("{failure:?}").contains(inner), "{doing}\n{failure:?}");
    }
}

fn signed_in(session: Session, role: &str, id: uuid::Uuid) -> Session {
    session.become_role(role, &claims(role, Some(id)));
    session
}

#[test]
fn a_standby_answers_every_question_refuses_every_change_and_takes_over() {
    let shop = Shop::open();
    let primary = &shop.superuser;
    let coupon = r#"{"code": "C1", "name": "x", "kind": "amount_off", "value": 1, "claimable": true}"#;
    shop.backend.run(&format!("select * from app.create_coupon('{coupon}')"));
    shop.backend.run("select * from app.set_coupon_status('C1', 'active', 'x')");
    let campaign = r#"{"code": "K1", "name": "x", "kind": "points_multiplier", "value": 2}"#;
    shop.backend.run(&format!("select * from app.create_campaign('{campaign}')"));
    let tried = [QUESTIONS, OWN_QUESTIONS, CHANGES, PROCEDURES].concat().concat();
    let listed = primary
        .column("select func from sec.api_functions() where func ~ '^app[.]' and level in ('client', 'backend')");
    let untried: Vec<_> = listed.iter().filter(|name| !tried.contains(&format!("{name}("))).collect();
    assert!(untried.is_empty(), "nobody tries them on a standby: {untried:?}");
    let (ming, mei) = (shop.member("6000.00"), shop.member("50.00"));
    let company = shop.company("0.900", "500.00", &mei);
    let paid = shop.charge(&ming, "4990.00");
    shop.refund(&paid["tx_no"], "33.33");
    shop.charge_company(&company, &mei, "10.00");
    let waiting = shop.pending(&mei, "5.00");
    primary.run(&mps_sender::set_up());
    shop.backend.row(&mps_sender::wechat("ELSE", &serde_json::json!({})).sql("wechat"));
    let lines = [bill::Line::payment("4200001", "a-stranger-s", 100)];
    shop.backend.row(&bill::import("wechat", "2026-11-26", "trade", &bill::wechat("2026-11-26", &lines)));
    shop.backend.rows("select * from app.reconcile('wechat', '2026-11-26')");
    // Without a master key a secret would be kept plain, and be told of.
    primary.run("delete from sec.gateway_keys where kind = 'wechat_apiv3_key'");
    primary.run("call audit.seal()");
    let code = shop.code(&ming);
    let fill = |sql: &str| {
        let of = [
            ("{card}", &ming.card),
            ("{tx}", &paid["tx_no"].to_owned()),
            ("{code}", &code),
            ("{company}", &company.card),
        ];
        let of = of.into_iter().chain([("{company_no}", &company.card_no), ("{waiting}", &waiting)]);
        let filled = of.fold(sql.to_owned(), |sql, (name, value)| sql.replace(name, value));
        filled.replace("{member}", &mei.id.to_string())
    };

    let server = Cluster::standby();
    let standby = server.superuser(&shop.db.name);
    replayed(primary, &standby);
    assert_eq!(standby.value("select pg_is_in_recovery()"), "t");
    assert_eq!(contents(primary), contents(&standby));

    for sql in QUESTIONS {
        let sql = fill(sql);
        assert_eq!(primary.rows(&sql), standby.rows(&sql), "{sql}");
    }
    for member in [&ming, &mei] {
        let here = shop.db.user(member.id);
        let there = signed_in(server.login("authenticator", &shop.db.name), "authenticated", member.id);
        for sql in OWN_QUESTIONS {
            let sql = fill(sql);
            assert_eq!(here.try_rows(&sql), there.try_rows(&sql), "{sql}");
        }
        assert_ne!(there.value("select count(*) from app.v_usage_logs"), "0");
    }

    // Every RPC that is not STABLE is in the list.
    let volatile = primary.column(
        "select format('%s.%s', p.pronamespace::regnamespace, p.proname) from pg_proc p join sec.api_functions() f \
            on f.func = format('%s.%s', p.pronamespace::regnamespace, p.proname) \
         where p.provolatile = 'v' and p.prokind = 'f' and f.level in ('client', 'backend') and p.prorettype <> 'trigger'::regtype",
    );
    assert!(volatile.len() > 20, "{volatile:?}");
    for name in volatile.iter().filter(|n| !n.starts_with("sec.level_")) {
        assert!(CHANGES.iter().any(|c| c.starts_with(&format!("{name}("))), "{name} is not tried on a standby");
    }
    let there = signed_in(server.login("authenticator", &shop.db.name), "authenticated", ming.id);
    for sql in CHANGES {
        let sql = format!("select * from {}", fill(sql));
        // What a member does for itself, no backend does.
        let asks = if sql.contains("claim_coupon") { &there } else { &standby };
        is_read_only(&asks.failure(&sql), &sql);
    }
    let cashier = signed_in(server.login("authenticator", &shop.db.name), "authenticated", shop.cashier_id);
    let charge = Shop::charge_sql(&code, "1.00", "");
    is_read_only(&cashier.failure(&charge), &charge);
    let procedures = primary.column(
        "select p.proname from pg_proc p where p.prokind = 'p' and \
        p.pronamespace::regnamespace::text in ('app', 'audit', 'sec')",
    );
    for name in &procedures {
        assert!(PROCEDURES.iter().any(|p| p.contains(&format!(".{name}("))), "{name} is not tried on a standby");
    }
    for procedure in PROCEDURES {
        let said = server.notices(&shop.db.name, &format!("call {procedure}"));
        assert_eq!(said, "NOTICE:  standby: nothing to do", "{procedure}");
        standby.run(&format!("call {procedure}"));
    }
    // Batches by themselves write, so they cannot run.
    is_read_only(&standby.failure("select app.expire_cards_batch(null)"), "expire_cards_batch");
    assert_eq!(contents(primary), contents(&standby));

    // What a session of the standby has seen before does not stay when the primary changes it.
    let settings = "select app.get_settings() ->> 'qr_ttl_seconds'";
    let level = "select level_name || ' ' || discount from app.v_user_cards";
    let mings = signed_in(server.login("authenticator", &shop.db.name), "authenticated", ming.id);
    assert_eq!((standby.value(settings), mings.value(level)), ("900".into(), "Basic 1.000".into()));
    shop.backend.run(r#"select app.update_settings('{"qr_ttl_seconds": 77, "max_amount": 600}')"#);
    primary.run("update app.membership_levels set name = 'Bronze', discount = 0.990 where level = 0");
    primary.run("call app.recompute_levels()");
    // Nor does its knowledge of which months are there.
    primary.run("select sec.make_month('2001-01-01')");
    replayed(primary, &standby);
    let old = "select * from app.tx_by_no('ZF0101000001')";
    assert_eq!(standby.failure(old).message, "TX_NOT_FOUND");
    primary.run("call app.archive_partitions('2001-02-01')");
    replayed(primary, &standby);
    assert_eq!((standby.value(settings), mings.value(level)), ("77".into(), "Bronze 0.990".into()));
    assert_eq!(standby.failure(old).message, "ARCHIVED");

    // Events that are not sealed yet, and a cut that was noted but not used, go over with the rest.
    shop.charge(&ming, "5.00");
    primary.run("select audit.seal_note()");
    replayed(primary, &standby);
    let (before, heads) = (contents(primary), "select hash from audit.head()");
    let head = primary.value(heads);
    standby.run("select pg_promote()");
    assert_eq!(standby.value("select pg_is_in_recovery()"), "f");
    assert_eq!(contents(&standby), before);
    assert_eq!(standby.value(heads), head);

    // The session that was there before goes on as one of a primary, with what was set meanwhile.
    let till = Till { session: standby };
    let paid = till.goes_on(&ming.card);
    assert_eq!((&paid["discount"], &paid["final_amount"]), ("0.990", "0.99"));
    let code = till.session.row(&format!("select * from app.rotate_card_qr('{}')", ming.card))["qr_plain"].to_owned();
    assert_eq!(till.session.failure(&Shop::charge_sql(&code, "600.01", "")).message, "INVALID_AMOUNT");
    // So does that of the cashier, for whom nothing worked; and the head that was kept is in the chain still.
    assert_eq!(&cashier.row(&Shop::charge_sql(&code, "2.00", ""))["status"], "completed");
    let kept = format!("select count(*) from audit.verify(p_head => '{head}') where ok is not true");
    assert_eq!(till.session.value(&kept), "0");
    for procedure in PROCEDURES {
        till.session.run(&format!("call {procedure}"));
    }
    till.goes_on(&ming.card);
}

/// All tables that are published have the same rows on both sides.
#[track_caller]
fn arrives(publisher: &Session, subscriber: &Session) {
    let published = |s: &Session| -> Vec<String> {
        contents(s).into_iter().filter(|t| t.starts_with("app.") || t.starts_with("audit.")).collect()
    };
    let wanted = published(publisher);
    until("the rows arrive", PATIENCE, || published(subscriber) == wanted);
}

/// Every table that is published is taken up, and its first copy complete.
#[track_caller]
fn copied(subscriber: &Session) {
    let open = "select count(*) from pg_subscription_rel where srsubstate <> 'r'";
    until("the first copies", PATIENCE, || subscriber.value(open) == "0");
}

#[test]
fn every_table_and_partition_can_be_replicated() {
    let shop = Shop::open();
    let without = shop.superuser.column(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname in ('app', 'audit', 'sec') and c.relkind = 'r' and not (c.relreplident = 'f' \
            or (c.relreplident = 'd' and exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary and i.indisvalid and i.indimmediate)))",
    );
    assert_eq!(without, [] as [String; 0]);
    // Nor is any kept out of the write-ahead log.
    let unlogged = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                    where n.nspname in ('app', 'audit', 'sec') and c.relpersistence <> 'p'";
    assert_eq!(shop.superuser.value(unlogged), "0");
}

/// A server that can be subscribed to, and a till in its database.
fn publisher() -> (Cluster, Till) {
    let server = Cluster::start_with("-c wal_level=logical");
    server.psql("postgres", "create database shop template template0 encoding 'UTF8'").unwrap();
    server.psql("shop", "create extension mps").expect("installs");
    let till = Till::open(server.superuser("shop"));
    (server, till)
}

/// Another one that subscribes to it: the same release of the extension, the tables of a dump of the schema, no rows of its
/// own.
fn subscriber(source: &Cluster) -> (Cluster, Session) {
    let server = Cluster::start_with(RETRIES);
    server.psql("postgres", "create role mps_owner nologin").unwrap();
    server.psql("postgres", "create database shop template template0 encoding 'UTF8'").unwrap();
    let schema = Scratch::new("subscriber");
    source.program("pg_dump", &["-s", "-Fc", "-f", schema.path(), "shop"]).expect("dumps");
    server.program("pg_restore", &["--exit-on-error", "-d", "shop", schema.path()]).unwrap_or_else(|e| panic!("{e}"));
    let session = server.superuser("shop");
    subscribe(source, &session);
    copied(&session);
    (server, session)
}

/// How soon a subscriber tries again what it could not apply.
const RETRIES: &str = "-c wal_retrieve_retry_interval=200ms";

/// Everything but the grants, which are each server's own.
fn subscribe(source: &Cluster, session: &Session) {
    source.psql("shop", "create publication mps for tables in schema app, audit").unwrap();
    session.run(&format!("create subscription mps connection {} publication mps", q(source.connection("shop"))));
}

#[test]
fn logical_replication_carries_everything_and_the_subscriber_can_take_over() {
    let (source, till) = publisher();
    let publisher = &till.session;
    let (ming, mei) = (till.member("6000.00"), till.member("50.00"));
    let keyed = |card: &str, key: &str| {
        let code = publisher.row(&format!("select * from app.rotate_card_qr('{card}')"))["qr_plain"].to_owned();
        publisher.row(&Shop::charge_sql(&code, "10.00", &format!("'x', '{{}}', '{key}', 'order-{key}'")))
    };
    let paid = keyed(&ming.card, "k-1");
    publisher.run("call audit.seal()");

    let (_server, subscriber) = subscriber(&source);
    copied(&subscriber);
    arrives(publisher, &subscriber);

    // Inserts and updates of the big tables, of cards, settings and levels; deletes of keys.
    publisher.run(&format!("select * from app.merchant_refund_tx('{SHOP}', '{}', 3.33)", &paid["tx_no"]));
    let member = source.login("postgres", "shop");
    member.run("create role my_client; select sec.grant_api('my_client', 'client')");
    let asking = signed_in(member, "my_client", mei.id);
    let waiting = asking.row(&format!("select * from app.user_recharge_personal_card('{}', 5.00)", mei.card));
    arrives(publisher, &subscriber);
    let waits = format!("select status from app.transactions where tx_no = '{}'", &waiting["tx_no"]);
    assert_eq!(subscriber.value(&waits), "processing");
    publisher.run(&format!("select * from app.confirm_recharge('{}', 5.00, 'trade-1')", &waiting["tx_no"]));
    publisher.run(r#"select app.update_settings('{"max_amount": 600}')"#);
    publisher.run("update app.membership_levels set discount = 0.990 where level = 0");
    publisher.run("call app.recompute_levels()");
    publisher.run("delete from app.membership_levels where level = 4");
    keyed(&mei.card, "k-2");
    // A key and an order of January 2001.
    publisher.run("insert into app.idempotency_keys values (1, 10100000000001, 1, 'old')");
    publisher.run("insert into app.external_orders values (1, 10100000000001, 1, 'old')");
    publisher.run(&format!("select app.set_card_status('{}', 'personal', 'frozen', 'x')", mei.card));
    arrives(publisher, &subscriber);
    assert_eq!(subscriber.value(&waits), "completed");
    assert_eq!(subscriber.value("select count(*) from app.idempotency_keys where idempotency_key = 'old'"), "1");
    publisher.run("call app.expire_keys()");
    publisher.run("call audit.seal()");
    arrives(publisher, &subscriber);
    assert_eq!(subscriber.value("select count(*) from app.idempotency_keys where idempotency_key = 'old'"), "0");
    assert_eq!(subscriber.value("select count(*) from app.external_orders where order_id = 'old'"), "0");

    // A month more. Made on the subscriber first, and taken up: nothing waits.
    let ahead = |n: i32| {
        publisher.value(&format!("select to_char(now() at time zone 'UTC' + interval '{n} months', 'YYYYMM')"))
    };
    let months = "select count(app.maintain_partitions_batch(n)) from generate_series(0, {}) n";
    subscriber.run(&months.replace("{}", "4"));
    publisher.run("call app.maintain_partitions(4)");
    subscriber.run("alter subscription mps refresh publication");
    copied(&subscriber);
    let note = |month: &str| {
        publisher.run(&format!(
            "insert into audit.event_log (id, happened_at, actor_role, action, object_type, object_id) \
             values (nextval('audit.event_id_seq'), to_timestamp('{month}', 'YYYYMM') + interval '2 days', 'test', 'test', 'test', 'test')"
        ));
    };
    note(&ahead(4));
    arrives(publisher, &subscriber);
    // Made on the publisher only: replication stands still until the subscriber has it, and loses nothing.
    publisher.run("call app.maintain_partitions(5)");
    note(&ahead(5));
    till.charge(&ming.card, "1.00");
    let broken = "select coalesce(max(apply_error_count), 0) > 0 from pg_stat_subscription_stats";
    until("replication stands still", PATIENCE, || subscriber.value(broken) == "t");
    subscriber.run(&months.replace("{}", "5"));
    subscriber.run("alter subscription mps refresh publication");
    copied(&subscriber);
    arrives(publisher, &subscriber);

    // The subscriber as a server for reports: everything proves itself there, too, and the log stays closed.
    let reports = Till { session: subscriber };
    let unwell = "select format('%s: %s', check_name, detail) from app.verify_books() where ok is not true union all \
                  select format('%s: %s', check_name, detail) from audit.verify() where ok is not true";
    assert_eq!(reports.session.column(unwell), [] as [String; 0]);
    let statement = format!("select * from app.card_statement('{}')", ming.card);
    assert_eq!(reports.session.rows(&statement), publisher.rows(&statement));
    assert_eq!(reports.session.failure("delete from audit.event_log").message, "NOT_ALLOWED");
    let head = "select * from audit.head()";
    assert_eq!(reports.session.row(head), publisher.row(head));
    // Who may read there is that server's own affair, and its log is the publisher's.
    let events = "select count(*) from audit.event_log";
    reports.session.run("create role auditor; select sec.grant_api('auditor', 'operator')");
    assert_eq!(reports.session.value(events), publisher.value(events));

    // The subscriber takes over: sequences are not replicated, so they are brought up first.
    let brought = publisher.column(
        "select format('select setval(%L, %s)', s.oid::regclass, (select last_value from pg_sequences q \
            where q.schemaname = s.relnamespace::regnamespace::text and q.sequencename = s.relname)) \
         from pg_class s where s.relkind = 'S' and s.relnamespace::regnamespace::text in ('app', 'audit')",
    );
    reports.session.run("drop subscription mps");
    for sql in brought.iter().filter(|s| !s.ends_with(", )")) {
        reports.session.run(sql);
    }
    let values = |s: &Session| -> Vec<String> {
        sequences(s).iter().map(|x| x.rsplit_once(' ').expect("is_called").0.to_owned()).collect()
    };
    assert_eq!(values(&reports.session), values(publisher));
    reports.session.run("create role my_client; select sec.grant_api('my_client', 'client')");
    reports.goes_on(&ming.card);
    assert_ne!(reports.member("1.00").card, NULL);
}

#[test]
fn a_subscriber_whose_tables_the_extension_made_must_lose_the_defaults() {
    let (source, till) = publisher();
    let ming = till.member("50.00");
    let server = Cluster::start_with(RETRIES);
    server.psql("postgres", "create database shop template template0 encoding 'UTF8'").unwrap();
    server.psql("shop", "create extension mps").expect("installs");
    let session = server.superuser("shop");
    subscribe(&source, &session);
    let failed = "select coalesce(max(sync_error_count), 0) > 0 from pg_stat_subscription_stats";
    until("the defaults are in the way", PATIENCE, || session.value(failed) == "t");
    // An event of the subscriber's own would have the id of one of the publisher's.
    session.run(
        "begin; set local session_replication_role = replica; truncate app.settings, app.membership_levels, app.business_day_rules; commit",
    );
    assert_eq!(session.value("select count(*) from audit.event_log where action like 'level.%'"), "0");
    copied(&session);
    till.charge(&ming.card, "10.00");
    arrives(&till.session, &session);
    let unwell = "select detail from app.verify_books() where ok is not true";
    assert_eq!(session.column(unwell), [] as [String; 0]);
}

#[test]
fn settings_that_arrive_by_replication_are_known_to_every_session_of_the_subscriber() {
    let (source, till) = publisher();
    let (server, session) = subscriber(&source);
    // It has tried to write, so it remembers the settings.
    let client = server.superuser("shop");
    let too_much = Shop::charge_sql("no code", "600.01", "");
    assert_eq!(client.failure(&too_much).message, "QR_EXPIRED_OR_INVALID");
    till.session.run(r#"select app.update_settings('{"max_amount": 600}')"#);
    arrives(&till.session, &session);
    assert_eq!(client.failure(&too_much).message, "INVALID_AMOUNT", "the settings of before are remembered");
}
