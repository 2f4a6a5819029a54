//! A crash after every record of the log: a scripted day is written down once, and the server is recovered to the end of each of its
//! records. There the books hold, every index has its rows, what was under way is there whole or not at all, and the request that was in
//! flight, sent once more with its key, has exactly one effect.

use crate::chaos::{exported, tool, tool_with};
use crate::db::{Address, Server};
use crate::physical::check_pages;
use crate::receipts::Receipts;
use crate::verify::{Report, offending};
use mps_sender::bill::{self, Line};
use postgres::{Client, SimpleQueryMessage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Recoveries at a time: they wait for the disk as much as for the processor.
const AT_A_TIME: usize = 3;
const PROGRESS_EVERY: usize = 25;
/// So little log is replayed in a second or two.
const RECOVERS: Duration = Duration::from_secs(60);
/// Of so many records of steps that make or drop tables one is looked at: what is theirs is Postgres's.
const OF_TABLES: u64 = 3;
const DATABASE: &str = "mps_records";

/// What is asked, with what earlier answers gave in braces; each answer's first row is remembered under the step's name.
struct Step {
    name: &'static str,
    sql: &'static str,
    kind: Kind,
    /// It makes or drops tables, in thousands of records of Postgres's own.
    is_of_tables: bool,
    /// What a gateway says, by the answers so far: `{made}` in `sql`, the same however often it is asked.
    made: Option<fn(&Answers) -> String>,
}

/// By `step.column`.
type Answers = HashMap<String, String>;

impl Step {
    const fn of_tables(self) -> Step {
        Step { is_of_tables: true, ..self }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Asked again, it is there once: by its key, or because it says how things are to be.
    Once,
    /// As [`Kind::Once`], but it commits more than once: what is there after a crash may be a part of it.
    InParts,
    /// Asked again, it is done again, and moves no money: a new code, a card without anything on it.
    Anew,
}

const fn once(name: &'static str, sql: &'static str) -> Step {
    Step { name, sql, kind: Kind::Once, is_of_tables: false, made: None }
}

const fn in_parts(name: &'static str, sql: &'static str) -> Step {
    Step { name, sql, kind: Kind::InParts, is_of_tables: false, made: None }
}

const fn anew(name: &'static str, sql: &'static str) -> Step {
    Step { name, sql, kind: Kind::Anew, is_of_tables: false, made: None }
}

/// What a gateway says, once.
const fn says(name: &'static str, made: fn(&Answers) -> String) -> Step {
    Step { made: Some(made), ..once(name, "{made}") }
}

fn callback(answers: &Answers) -> String {
    mps_sender::alipay(&answers["by_alipay.tx_no"], "ALI-1", "40.00", "TRADE_SUCCESS", &[]).sql("alipay")
}

/// The day of that payment, with a refund that nobody here asked for.
fn bill(answers: &Answers) -> String {
    let order = &answers["by_alipay.tx_no"];
    let lines = [Line::payment("ALI-1", order, 4000), Line::refund("ALI-1", order, 1500, "console-1")];
    bill::import("alipay", BILL_DATE, "trade", &bill::alipay(BILL_DATE, &lines))
}

/// That of the sender's callbacks.
const BILL_DATE: &str = "2026-11-26";

/// A day of everything that moves money or changes who may.
const DAY: &[Step] = &[
    once("shop", "SELECT * FROM app.create_merchant('cafe', 'Cafe')"),
    once("lin", "SELECT * FROM app.register_member('Lin', p_user_id => '00000000-0000-4000-8000-000000000001')"),
    once("bo", "SELECT * FROM app.register_member('Bo', p_user_id => '00000000-0000-4000-8000-000000000002')"),
    // No job has made this month's tables: the first movement makes them.
    once(
        "no_month",
        "DO $$ DECLARE m record; BEGIN \
           FOR m IN SELECT i.inhparent::regclass AS kept, c.oid::regclass AS month FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent IN ('app.transactions'::regclass, 'app.point_ledger'::regclass) \
               AND c.relname LIKE '%' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM') LOOP \
             EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', m.kept, m.month); \
             EXECUTE format('DROP TABLE %s', m.month); \
           END LOOP; END $$",
    )
    .of_tables(),
    once(
        "asked",
        "SELECT * FROM app.user_recharge_personal_card('{lin.card_id}', 500, 'wechat', p_idempotency_key => 'a')",
    )
    .of_tables(),
    once(
        "waits",
        "SELECT set_config('role', 'mps_records_client', true), \
                set_config('request.jwt.claims', '{\"sub\": \"00000000-0000-4000-8000-000000000001\"}', true); \
         SELECT * FROM app.user_recharge_personal_card('{lin.card_id}', 60, 'wechat', p_idempotency_key => 'm')",
    ),
    once("confirmed", "SELECT * FROM app.confirm_recharge('{waits.tx_no}', 60, 'GW-1')"),
    once("twice", "SELECT * FROM app.confirm_recharge('{waits.tx_no}', 60, 'GW-2')"),
    once(
        "resolved",
        "SELECT * FROM app.resolve_suspense((SELECT s.id FROM app.suspense_payments s), 'credited', 'paid twice', \
            '{bo.card_id}', 'n')",
    ),
    once("out", "SELECT * FROM app.withdraw('{lin.card_id}', 70, 'moves', 'o')"),
    once("paid_out", "SELECT * FROM app.confirm_withdrawal('{out.tx_no}-1', 60)"),
    once("out_again", "SELECT * FROM app.withdraw('{lin.card_id}', 20, 'moves', 'p', p_payout => 'transfer')"),
    once("not_paid", "SELECT * FROM app.fail_withdrawal('{out_again.refund_no}', 'closed account')"),
    says("accounts", |_| mps_sender::set_up()),
    once(
        "by_alipay",
        "SELECT set_config('role', 'mps_records_client', true), \
                set_config('request.jwt.claims', '{\"sub\": \"00000000-0000-4000-8000-000000000001\"}', true); \
         SELECT * FROM app.user_recharge_personal_card('{lin.card_id}', 40, 'alipay', p_idempotency_key => 'q')",
    ),
    says("told", callback),
    says("bill", bill),
    once("compared", "SELECT * FROM app.reconcile('alipay', '2026-11-26')"),
    once(
        "taken_back",
        "SELECT * FROM app.resolve_recon_item((SELECT i.id FROM app.recon_items i WHERE i.class = 'only_in_bill'), 'debit', 'console')",
    ),
    once("day_closed", "SELECT * FROM app.close_recon_day('alipay', '2026-11-26')"),
    once(
        "paid_in",
        "SELECT * FROM app.user_recharge_personal_card('{bo.card_id}', 80, 'cash', p_idempotency_key => 'b')",
    ),
    anew("code", "SELECT * FROM app.rotate_card_qr('{lin.card_id}')"),
    once(
        "latte",
        "SELECT * FROM app.merchant_charge_by_qr('cafe', '{code.qr_plain}', 52, 'latte', \
            p_idempotency_key => 'c', p_external_order_id => 'o-1')",
    ),
    // The till has not heard the answer, and asks again.
    once(
        "replayed",
        "SELECT * FROM app.merchant_charge_by_qr('cafe', '{code.qr_plain}', 52, 'latte', \
            p_idempotency_key => 'c', p_external_order_id => 'o-1')",
    ),
    once("back", "SELECT * FROM app.merchant_refund_tx('cafe', '{latte.tx_no}', 20, p_idempotency_key => 'd')"),
    once("rest", "SELECT * FROM app.merchant_refund_tx('cafe', '{latte.tx_no}', 32, p_idempotency_key => 'e')"),
    anew("again", "SELECT * FROM app.rotate_card_qr('{bo.card_id}')"),
    once("tea", "SELECT * FROM app.merchant_charge_by_qr('cafe', '{again.qr_plain}', 7.5, p_idempotency_key => 'f')"),
    once("points", "SELECT * FROM app.adjust_points('{bo.card_id}', 6000, 'a gift', 'g')"),
    once("right", "SELECT * FROM app.compensate_tx('{tea.tx_no}', -1.25, 'too little', 'h')"),
    anew("third", "SELECT * FROM app.rotate_card_qr('{bo.card_id}')"),
    once("silver", "SELECT * FROM app.merchant_charge_by_qr('cafe', '{third.qr_plain}', 10, p_idempotency_key => 'i')"),
    anew("company", "SELECT * FROM app.create_enterprise_card('Works', 0.88, '{bo.member_id}')"),
    once("bound", "SELECT app.enterprise_add_member('{company.card_no}', '{lin.member_id}')"),
    once(
        "budget",
        "SELECT * FROM app.user_recharge_enterprise_card_admin('{company.card_id}', 300, 'cash', p_idempotency_key => 'j')",
    ),
    anew("ours", "SELECT * FROM app.rotate_card_qr('{company.card_id}', 'enterprise', '{lin.member_id}')"),
    once("lunch", "SELECT * FROM app.merchant_charge_by_qr('cafe', '{ours.qr_plain}', 100, p_idempotency_key => 'k')"),
    once("left", "SELECT app.enterprise_remove_member('{company.card_no}', '{lin.member_id}')"),
    once("staff", "SELECT app.set_merchant_user('cafe', '00000000-0000-4000-8000-000000000003')"),
    once("staff_left", "SELECT app.remove_merchant_user('cafe', '00000000-0000-4000-8000-000000000003')"),
    once("shut", "SELECT app.set_merchant_status('cafe', false, 'holidays')"),
    once("open", "SELECT app.set_merchant_status('cafe', true, 'and back')"),
    once("away", "SELECT app.set_member_status('{bo.member_id}', 'suspended', 'asked us to')"),
    once("back_again", "SELECT app.set_member_status('{bo.member_id}', 'active', 'asked us to')"),
    once("until", "SELECT app.set_card_expiry('{lin.card_id}', 'personal', '2090-01-01', 'a present')"),
    once(
        "given_up",
        "SELECT set_config('role', 'mps_records_client', true), \
                set_config('request.jwt.claims', '{\"sub\": \"00000000-0000-4000-8000-000000000001\"}', true); \
         SELECT * FROM app.user_recharge_personal_card('{lin.card_id}', 5, 'wechat', p_idempotency_key => 'r')",
    ),
    once("failed", "SELECT * FROM app.fail_recharge('{given_up.tx_no}', 'declined')"),
    once(
        "coupon",
        "SELECT * FROM app.create_coupon('{\"code\": \"c\", \"name\": \"20 %\", \"kind\": \"percent_off\", \"value\": 20, \
            \"claimable\": true, \"budget_amount\": 30, \"per_member_limit\": 3}')",
    ),
    once(
        "campaign",
        "SELECT * FROM app.create_campaign('{\"code\": \"k\", \"name\": \"twice\", \"kind\": \"points_multiplier\", \"value\": 2}')",
    ),
    once("campaign_on", "SELECT * FROM app.set_campaign_status('k', 'active', 'opening')"),
    once("campaign_edited", "SELECT * FROM app.update_campaign('k', '{\"value\": 2.5}')"),
    once("coupon_on", "SELECT * FROM app.set_coupon_status('c', 'active', 'opening')"),
    once("coupon_edited", "SELECT * FROM app.update_coupon('c', '{\"max_discount\": 9, \"budget_amount\": 40}')"),
    once("given", "SELECT * FROM app.issue_coupon('c', '{lin.member_id}', 1, 's')"),
    once(
        "claimed",
        "SELECT set_config('role', 'mps_records_client', true), \
                set_config('request.jwt.claims', '{\"sub\": \"00000000-0000-4000-8000-000000000001\"}', true); \
         SELECT * FROM app.claim_coupon('c', 't')",
    ),
    anew("code_4", "SELECT * FROM app.rotate_card_qr('{lin.card_id}')"),
    once(
        "cheaper",
        "SELECT * FROM app.merchant_charge_by_qr('cafe', '{code_4.qr_plain}', 30, p_idempotency_key => 'u', \
            p_coupon_code => '{given.coupon_code}', p_excluded_amount => 5)",
    ),
    once("all_back", "SELECT * FROM app.merchant_refund_tx('cafe', '{cheaper.tx_no}', {cheaper.final_amount}, p_idempotency_key => 'v')"),
    anew("code_5", "SELECT * FROM app.rotate_card_qr('{lin.card_id}')"),
    once(
        "cheaper_again",
        "SELECT * FROM app.merchant_charge_by_qr('cafe', '{code_5.qr_plain}', 20, p_idempotency_key => 'w', \
            p_coupon_code => '{given.coupon_code}')",
    ),
    once("taken_back_too", "SELECT * FROM app.cancel_payment('cafe', '{cheaper_again.tx_no}', p_idempotency_key => 'x')"),
    once(
        "free",
        "SELECT * FROM app.create_coupon('{\"code\": \"f\", \"name\": \"free\", \"kind\": \"percent_off\", \"value\": 100}')",
    ),
    once("free_on", "SELECT * FROM app.set_coupon_status('f', 'active', 'opening')"),
    once("free_one", "SELECT * FROM app.issue_coupon('f', '{lin.member_id}', 1, 'y')"),
    anew("code_6", "SELECT * FROM app.rotate_card_qr('{lin.card_id}')"),
    once(
        "nothing",
        "SELECT * FROM app.merchant_charge_by_qr('cafe', '{code_6.qr_plain}', 6, p_idempotency_key => 'z', \
            p_coupon_code => '{free_one.coupon_code}')",
    ),
    // Without a key: it answers what is done.
    once("nothing_back", "SELECT * FROM app.cancel_payment('cafe', '{nothing.tx_no}')"),
    once("coupon_gone", "SELECT app.revoke_coupon('{claimed.coupon_code}', 'by mistake')"),
    in_parts("for_all", "CALL app.issue_coupon_to_all('c')"),
    once("read_only", "SELECT app.set_mode('read_only', 'a new disk')"),
    once("writable", "SELECT app.set_mode('normal')"),
    once("lost", "SELECT app.set_card_status('{bo.card_id}', 'personal', 'lost', 'on the bus')"),
    once("new", "SELECT * FROM app.replace_card('{bo.card_id}', 'lost')"),
    anew("settings", "SELECT app.update_settings('{\"qr_ttl_seconds\": 43200}')"),
    in_parts("months", "CALL app.maintain_partitions(5)").of_tables(),
    once("old_month", "SELECT sec.make_month('2020-01-01')").of_tables(),
    in_parts("sealed", "CALL audit.seal()"),
    in_parts("signed", "CALL audit.sign_heads()"),
    in_parts("archived", "CALL app.archive_partitions('2020-02-01')").of_tables(),
    in_parts("levels", "CALL app.recompute_levels()"),
    in_parts("closed", "CALL app.close_months()"),
    in_parts("old_cards", "CALL app.expire_cards()"),
    in_parts("old_codes", "CALL app.expire_qrcodes()"),
    in_parts("old_recharges", "CALL app.expire_recharges()"),
    anew("last_code", "SELECT * FROM app.rotate_card_qr('{new.card_id}')"),
    once(
        "last",
        "SELECT * FROM app.merchant_charge_by_qr('cafe', '{last_code.qr_plain}', 3.33, p_idempotency_key => 'l')",
    ),
    in_parts("keys", "CALL app.expire_keys()"),
];

/// What is there, without what differs each time: numbers (sequences skip after a crash), ids, times, hashes. Codes are there or not.
const STATE: &str = "\
    WITH cards AS ( \
        SELECT c.id, m.name || ' ' || row_number() OVER (PARTITION BY m.name ORDER BY c.created_at) AS card, \
               concat_ws(' ', c.status, c.balance, c.points, c.level, c.point_seq, c.card_seq, c.qr_hash IS NOT NULL, c.expires_at) AS is \
        FROM app.personal_cards c JOIN app.member_profiles m ON m.id = c.member_id \
        UNION ALL \
        SELECT e.id, e.company_name, concat_ws(' ', e.status, e.balance, e.fixed_discount, e.card_seq) FROM app.enterprise_cards e) \
    SELECT coalesce(string_agg(x.line, E'\\n' ORDER BY x.line), '') FROM ( \
        SELECT concat_ws(' ', 'card', c.card, c.is) AS line FROM cards c \
        UNION ALL \
        SELECT concat_ws(' ', 'tx', t.tx_type, t.status, c.card, t.raw_amount, t.final_amount, t.balance_after, t.card_seq, \
                         t.points_earned, t.refunded_amount, t.idempotency_key, t.external_order_id, t.reason, t.excluded_amount, \
                         t.coupon_discount, t.member_coupon_id IS NOT NULL, t.points_base, t.points_bonus, t.campaigns) \
        FROM app.transactions t JOIN cards c ON c.id = t.card_id \
        UNION ALL \
        SELECT concat_ws(' ', 'points', c.card, p.point_seq, p.change, p.balance_after, p.level, p.reason) \
        FROM app.point_ledger p JOIN cards c ON c.id = p.card_id \
        UNION ALL SELECT concat_ws(' ', 'member', m.name, m.status) FROM app.member_profiles m \
        UNION ALL SELECT concat_ws(' ', 'merchant', m.code, m.active) FROM app.merchants m \
        UNION ALL \
        SELECT concat_ws(' ', 'binding', e.card, m.name, b.role, b.qr_hash IS NOT NULL) \
        FROM app.enterprise_card_bindings b JOIN cards e ON e.id = b.enterprise_card_id JOIN app.member_profiles m ON m.id = b.member_id \
        UNION ALL SELECT concat_ws(' ', 'suspense', s.gateway_trade_no, s.amount, s.status, s.note) FROM app.suspense_payments s \
        UNION ALL SELECT concat_ws(' ', 'refund', w.amount, w.payout, w.status, w.reason) FROM app.withdrawals w \
        UNION ALL SELECT concat_ws(' ', 'account', a.code, a.active, (SELECT count(*) FROM sec.gateway_keys k WHERE k.account = a.code)) \
        FROM app.gateway_accounts a \
        UNION ALL SELECT concat_ws(' ', 'callback', e.trade_no, e.outcome) FROM app.gateway_events e \
        UNION ALL SELECT concat_ws(' ', 'bill', b.account, b.bill_date, b.lines, b.replaced_at IS NOT NULL) FROM app.gateway_bills b \
        UNION ALL SELECT concat_ws(' ', 'bill line', l.trade_no, l.entry, l.amount) FROM app.gateway_bill_lines l \
        UNION ALL SELECT concat_ws(' ', 'bill day', d.bill_date, d.matched_payments, d.closed_at IS NOT NULL) FROM app.recon_days d \
        UNION ALL SELECT concat_ws(' ', 'difference', i.class, i.bill_amount, i.status, i.resolution, i.receivable) FROM app.recon_items i \
        UNION ALL SELECT concat_ws(' ', 'campaign', c.code, c.status, c.terms_version) FROM app.campaigns c \
        UNION ALL SELECT concat_ws(' ', 'campaign terms', t.version, t.value) FROM app.campaign_terms t \
        UNION ALL SELECT concat_ws(' ', 'coupon', c.code, c.status, c.terms_version, c.issued, c.budget_amount) FROM app.coupons c \
        UNION ALL SELECT concat_ws(' ', 'terms', t.version, t.value, t.max_discount, t.budget_amount) FROM app.coupon_terms t \
        UNION ALL SELECT concat_ws(' ', 'budget', sum(b.left_amount)) FROM app.coupon_budget_parts b \
        UNION ALL SELECT concat_ws(' ', 'right', m.name, r.how, r.status, r.tx_no IS NOT NULL) \
        FROM app.member_coupons r JOIN app.member_profiles m ON m.id = r.member_id \
        UNION ALL SELECT concat_ws(' ', 'pending', count(*)) FROM app.pending_recharges \
        UNION ALL SELECT concat_ws(' ', 'keys', k.operation, count(*)) FROM app.idempotency_keys k GROUP BY k.operation \
        UNION ALL SELECT concat_ws(' ', 'orders', o.scope, count(*)) FROM app.external_orders o GROUP BY o.scope \
        UNION ALL SELECT concat_ws(' ', 'settings', s.qr_ttl_seconds) FROM app.settings s \
        UNION ALL SELECT concat_ws(' ', 'event', e.action, count(*)) FROM audit.event_log e GROUP BY e.action \
        UNION ALL SELECT concat_ws(' ', 'mode', m.mode) FROM app.operating_mode m \
        UNION ALL SELECT concat_ws(' ', 'heads', count(*) > 0) FROM audit.heads h \
        UNION ALL SELECT concat_ws(' ', 'operator', u.role) FROM app.merchant_users u \
        UNION ALL SELECT concat_ws(' ', 'sealed', sum(s.events)) FROM audit.seals s \
        UNION ALL SELECT concat_ws(' ', 'month', c.oid::regclass) FROM pg_class c WHERE c.relname ~ '_20[0-9]{4}$' AND c.relkind = 'r' \
        ) x";

/// A day as it was written down.
struct Written {
    /// Where the server's data was before it, and every segment of the log since.
    base: PathBuf,
    log: PathBuf,
    /// By step: up to where the log went, what was there then, and what was answered up to then.
    ends: Vec<(u64, String)>,
    begins: u64,
    state_before: String,
    answers: Answers,
}

impl Written {
    /// The step whose answer may not have come, and which it is.
    fn step(&self, at: u64) -> (usize, &'static Step) {
        let n = self.ends.iter().position(|(end, _)| at < *end).unwrap_or(DAY.len() - 1);
        (n, &DAY[n])
    }
}

/// Recovers to the end of one of `part` records, or to that of each; prints what was found.
pub fn run(part: u64, seed: u64, report: &mut Report) -> Result<(), String> {
    println!("\na crash after every record: one of {part}, --seed {seed}");
    let began = Instant::now();
    let home = std::env::var_os("MPS_CLUSTERS").map_or_else(std::env::temp_dir, PathBuf::from);
    let place = home.join(format!("mps-records-{}", std::process::id()));
    let outcome = written(&place).and_then(|day| {
        let all = boundaries(&day)?;
        let mut chance = StdRng::seed_from_u64(seed);
        let of_tables = all.iter().filter(|at| day.step(**at).1.is_of_tables).count();
        let wanted = |at: u64| if day.step(at).1.is_of_tables { part * OF_TABLES } else { part };
        let chosen: Vec<u64> = all.iter().copied().filter(|at| chance.gen_range(0..wanted(*at)) == 0).collect();
        println!(
            "  {} records in {} steps, {of_tables} of them where tables are made or dropped: one in {OF_TABLES} of these; recovering to {}",
            all.len(),
            DAY.len(),
            chosen.len()
        );
        recover_to_each(&day, &chosen, began, report);
        Ok(())
    });
    let _ = std::fs::remove_dir_all(&place);
    outcome
}

/// Writes the day down.
fn written(place: &Path) -> Result<Written, String> {
    let text =
        |e: postgres::Error| e.as_db_error().map_or(e.to_string(), |d| format!("{d} ({})", d.detail().unwrap_or("")));
    let name = format!("records-{}", std::process::id());
    let shown = tool_with("-c wal_keep_size=4GB -c autovacuum_naptime=1 -c max_wal_size=4GB", &["start", &name])?;
    let server = Server::for_checks(Address::printed(&shown)?, DATABASE);
    let written = (|| {
        let mut admin = server.connect("postgres", "mps-storm records").map_err(text)?;
        admin.batch_execute(&format!("CREATE DATABASE {DATABASE}")).map_err(text)?;
        let mut db = server.connect(DATABASE, "mps-storm records").map_err(text)?;
        db.batch_execute(
            "CREATE EXTENSION mps; CREATE EXTENSION IF NOT EXISTS amcheck; CREATE ROLE mps_records_client; \
             SELECT sec.grant_api('mps_records_client', 'client')",
        )
        .map_err(text)?;
        // The day is written down once, and its codes are shown until the last recovery.
        db.batch_execute("SELECT app.update_settings('{\"qr_ttl_seconds\": 86400}')").map_err(text)?;
        Receipts::begin(&mut db).map_err(text)?;
        let base = place.join("base");
        let address = server.address.read().expect("not poisoned").clone();
        program(
            "pg_basebackup",
            &[
                "-D",
                &shown_path(&base),
                "-X",
                "none",
                "-c",
                "fast",
                "-h",
                &address.host,
                "-p",
                &address.port.to_string(),
                "-U",
                &address.user,
            ],
        )?;
        let mut answers = Answers::new();
        let begins = lsn(&mut db).map_err(text)?;
        let state_before = state(&mut db).map_err(text)?;
        let mut ends = Vec::new();
        for step in DAY {
            ask(&mut db, step, &mut answers).map_err(|e| format!("{}: {}", step.name, text(e)))?;
            ends.push((lsn(&mut db).map_err(text)?, state(&mut db).map_err(text)?));
        }
        db.batch_execute("SELECT pg_switch_wal()").map_err(text)?;
        drop((db, admin));
        tool(&["stop", &name])?;
        let log = place.join("log");
        let data = exported(&shown, "MPS_DATA").ok_or("tools/cluster names no MPS_DATA")?;
        program("cp", &["-r", &format!("{data}/pg_wal"), &shown_path(&log)])?;
        program("chmod", &["-R", "a+rX", &shown_path(place)])?;
        // The key of the heads, which lies beside the data.
        let (key, kept) = (format!("{data}/../storm-seal.pem"), shown_path(&place.join("seal.pem")));
        program("cp", &["-p", &key, &kept])?;
        let more = format!(
            "restore_command = 'cp \"{}/%f\" \"%p\"'\nrecovery_target_action = 'promote'\nhot_standby = off\n",
            log.display()
        );
        let conf = base.join("postgresql.auto.conf");
        let conf_text = std::fs::read_to_string(&conf).map_err(|e| e.to_string())?.replace(&key, &kept) + &more;
        std::fs::write(&conf, conf_text).map_err(|e| e.to_string())?;
        std::fs::write(base.join("recovery.signal"), "").map_err(|e| e.to_string())?;
        Ok(Written { base, log, ends, begins, state_before, answers })
    })();
    let _ = tool(&["destroy", &name]);
    written
}

fn text(error: postgres::Error) -> String {
    error.as_db_error().map_or(error.to_string(), |d| format!("{d} {}", d.detail().unwrap_or_default()))
}

/// Where each record of the day begins; recovery to there stops when it is replayed.
fn boundaries(day: &Written) -> Result<Vec<u64>, String> {
    let last = day.ends.last().expect("a day has steps").0;
    let (from, to) = (shown_lsn(day.begins), shown_lsn(last));
    let told = program("pg_waldump", &["-p", &shown_path(&day.log), "-s", &from, "-e", &to])?;
    let found = told.lines().filter_map(|line| line.split("lsn: ").nth(1)?.split(',').next().and_then(read_lsn));
    let found: Vec<u64> = found.collect();
    if found.len() < DAY.len() { Err(format!("the log has {} records only", found.len())) } else { Ok(found) }
}

fn recover_to_each(day: &Written, chosen: &[u64], began: Instant, report: &mut Report) {
    let next = AtomicUsize::new(0);
    let bad = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(at) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let done = next.load(Ordering::Relaxed);
                    if done.is_multiple_of(PROGRESS_EVERY) {
                        println!("  {done} of {} after {} s", chosen.len(), began.elapsed().as_secs());
                    }
                    let found = recovered(day, *at).unwrap_or_else(|why| vec![why]);
                    // It may be an hour until the report.
                    found.iter().for_each(|f| println!("  {}: {f}", shown_lsn(*at)));
                    bad.lock()
                        .expect("not poisoned")
                        .extend(found.into_iter().map(|f| format!("{}: {f}", shown_lsn(*at))));
                }
            });
        }
    });
    let bad = bad.into_inner().expect("not poisoned");
    report.check(&format!("after each of {} records: whole, sound, and once more is once", chosen.len()), bad);
}

/// What is wrong after recovery to the end of the record that begins there.
fn recovered(day: &Written, at: u64) -> Result<Vec<String>, String> {
    let name = format!("records-{}-{at:x}", std::process::id());
    let shown =
        tool_with(&format!("-c recovery_target_lsn={}", shown_lsn(at)), &["restore", &name, &shown_path(&day.base)]);
    let outcome = shown.and_then(|shown| {
        let server = Server::for_checks(Address::printed(&shown)?, DATABASE);
        let mut db = when_recovered(&server)?;
        looked_at(&mut db, day, at).map_err(text)
    });
    let _ = tool(&["destroy", &name]);
    outcome
}

/// A connection once it has recovered: until then it takes none.
fn when_recovered(server: &Server) -> Result<Client, String> {
    let began = Instant::now();
    loop {
        match server.connect(DATABASE, "mps-storm records") {
            Ok(db) => return Ok(db),
            Err(error) if began.elapsed() > RECOVERS => return Err(text(error)),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn looked_at(db: &mut Client, day: &Written, at: u64) -> Result<Vec<String>, postgres::Error> {
    let (n, step) = day.step(at);
    let after = &day.ends[n].1;
    let before = if n == 0 { &day.state_before } else { &day.ends[n - 1].1 };
    let mut bad = Vec::new();
    let found = state(db)?;
    if step.kind != Kind::InParts && found != *before && found != *after {
        bad.push(format!("{}: half done: {}", step.name, differences(after, &found)));
    }
    let wrong = "SELECT concat_ws(': ', check_name, detail) FROM app.verify_books() WHERE ok IS NOT TRUE";
    bad.extend(offending(db, wrong));
    let mut pages = Report::quiet();
    check_pages(db, "recovered", &mut pages)?;
    bad.extend(pages.found);
    if step.kind == Kind::Anew && found == *after {
        return Ok(bad);
    }
    if let Err(error) = ask(db, step, &mut day.answers.clone()) {
        bad.push(format!("{} once more: {}", step.name, text(error)));
    }
    let found = state(db)?;
    if found != *after {
        bad.push(format!("{} once more: {}", step.name, differences(after, &found)));
    }
    bad.extend(offending(db, wrong));
    Ok(bad)
}

/// Lines that only one of two states has.
fn differences(expected: &str, found: &str) -> String {
    let only = |one: &str, other: &str, sign: char| -> Vec<String> {
        one.lines().filter(|line| !other.lines().any(|l| l == *line)).map(|line| format!("{sign}{line}")).collect()
    };
    [only(expected, found, '-'), only(found, expected, '+')].concat().join("; ")
}

/// Asks one step; its first row is remembered, by name and column.
fn ask(db: &mut Client, step: &Step, answers: &mut Answers) -> Result<(), postgres::Error> {
    if let Some(made) = step.made {
        let key = format!("{}.made", step.name);
        let made = answers.get(&key).cloned().unwrap_or_else(|| made(answers));
        answers.insert(key, made.clone());
        answers.insert("made".into(), made);
    }
    let sql = answers.iter().fold(step.sql.to_owned(), |sql, (name, value)| sql.replace(&format!("{{{name}}}"), value));
    for message in db.simple_query(&sql)? {
        if let SimpleQueryMessage::Row(row) = message {
            for (n, column) in row.columns().iter().enumerate() {
                answers.insert(format!("{}.{}", step.name, column.name()), row.get(n).unwrap_or_default().to_owned());
            }
        }
    }
    Ok(())
}

fn state(db: &mut Client) -> Result<String, postgres::Error> {
    Ok(db.query_one(STATE, &[])?.get(0))
}

fn lsn(db: &mut Client) -> Result<u64, postgres::Error> {
    let shown: String = db.query_one("SELECT pg_current_wal_insert_lsn()::text", &[])?.get(0);
    Ok(read_lsn(&shown).expect("the server's own"))
}

fn read_lsn(shown: &str) -> Option<u64> {
    let (high, low) = shown.trim().split_once('/')?;
    Some(u64::from_str_radix(high, 16).ok()? << 32 | u64::from_str_radix(low, 16).ok()?)
}

fn shown_lsn(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}

fn shown_path(path: &Path) -> String {
    path.display().to_string()
}

pub fn program(name: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(name).args(arguments).output().map_err(|e| format!("{name}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// All that the day asks, for whoever looks what it has.
#[cfg(test)]
pub fn asked() -> String {
    let answers = Answers::from([("by_alipay.tx_no".to_owned(), "CZ2611000001".to_owned())]);
    DAY.iter().map(|step| step.made.map_or(step.sql.to_owned(), |made| made(&answers)) + "\n").collect()
}
