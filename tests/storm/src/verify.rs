//! After the storm: the database against itself, and against what the clients were told.

use crate::chaos::ServerLog;
use crate::model::{
    Books, COUPONS, CardKind, Cents, Fact, Kind, cents, level_for, money, points_taken_back, points_with, price,
    thousandths,
};
use crate::physical::check_pages;
use crate::world::World;
use postgres::Client;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use uuid::Uuid;

/// Offending rows shown of each check.
const SHOWN: usize = 20;

/// The checks made so far.
#[derive(Default)]
pub struct Report {
    pub passed: usize,
    pub failed: usize,
    /// What was offending, where nothing is printed.
    pub found: Vec<String>,
    quiet: bool,
}

impl Report {
    /// One that only collects.
    pub fn quiet() -> Report {
        Report { quiet: true, ..Report::default() }
    }

    pub fn check(&mut self, name: &str, offending: Vec<String>) {
        if self.quiet {
            self.found.extend(offending.into_iter().map(|row| format!("{name}: {row}")));
            return;
        }
        if offending.is_empty() {
            self.passed += 1;
            println!("  ok      {name}");
            return;
        }
        self.failed += 1;
        println!("  FAILED  {name}: {} offending", offending.len());
        for row in offending.iter().take(SHOWN) {
            println!("            {row}");
        }
    }
}

/// What holds in the database whoever wrote it. Each query returns the offending rows, as text.
const BOOKS_AGREE: &[(&str, &str)] = &[
    (
        "every card's movements are numbered without gaps, and each balance follows from the one before",
        "SELECT concat_ws(' ', tx_no, card_id, card_seq, balance_after) FROM ( \
            SELECT m.*, row_number() OVER w AS place, lag(balance_after) OVER w AS before \
            FROM movement m WINDOW w AS (PARTITION BY card_id ORDER BY card_seq)) x \
         WHERE card_seq <> place OR balance_after <> coalesce(before, 0) + change OR balance_after < 0",
    ),
    (
        "every movement points to the one before it, every 64th to the one 64 before",
        "SELECT concat_ws(' ', tx_no, card_id, card_seq, prev_tx_id, skip_tx_id) FROM ( \
            SELECT m.*, lag(id) OVER w AS before, lag(id, 64) OVER w AS far \
            FROM movement m WINDOW w AS (PARTITION BY card_id ORDER BY card_seq)) x \
         WHERE prev_tx_id IS DISTINCT FROM before OR skip_tx_id IS DISTINCT FROM (CASE WHEN card_seq % 64 = 0 THEN far END)",
    ),
    (
        "posted_at strictly increases along every card, and is not before created_at",
        "SELECT concat_ws(' ', tx_no, card_id, card_seq, posted_at, created_at) FROM ( \
            SELECT m.*, lag(posted_at) OVER w AS before FROM movement m WINDOW w AS (PARTITION BY card_id ORDER BY card_seq)) x \
         WHERE posted_at IS NULL OR posted_at <= before OR posted_at < created_at",
    ),
    (
        "every card is where its last movement left it",
        "SELECT concat_ws(' ', c.card_no, c.balance, c.card_seq, last.balance_after, last.card_seq, last.tx_no) \
         FROM (SELECT id, card_no, balance, card_seq, last_tx_id, last_posted_at FROM app.personal_cards \
               UNION ALL SELECT id, card_no, balance, card_seq, last_tx_id, last_posted_at FROM app.enterprise_cards) c \
         LEFT JOIN LATERAL (SELECT * FROM movement m WHERE m.card_id = c.id ORDER BY m.card_seq DESC LIMIT 1) last ON true \
         WHERE (c.balance, c.card_seq) IS DISTINCT FROM (coalesce(last.balance_after, 0), coalesce(last.card_seq, 0)) \
               OR (c.last_tx_id, c.last_posted_at) IS DISTINCT FROM (last.id, last.posted_at)",
    ),
    (
        "what is not completed has moved nothing",
        "SELECT concat_ws(' ', tx_no, status, card_seq, balance_after, posted_at) FROM app.transactions \
         WHERE (status = 'completed' OR tx_type = 'payment') <> (num_nonnulls(card_seq, balance_after, posted_at) = 3) \
               OR (status <> 'completed' AND tx_type <> 'payment' \
                   AND (tx_type <> 'recharge' OR num_nonnulls(card_seq, balance_after, posted_at) > 0))",
    ),
    (
        "a payment of 0.00 is cancelled by its one refund of 0.00, and nothing else is cancelled so",
        "SELECT concat_ws(' ', p.tx_no, p.status, p.final_amount, r.n, r.given) FROM app.transactions p \
         LEFT JOIN (SELECT original_tx_no, count(*) AS n, sum(final_amount) AS given, min(final_amount) AS least \
                    FROM app.transactions WHERE tx_type = 'refund' GROUP BY 1) r ON r.original_tx_no = p.tx_no \
         WHERE p.tx_type = 'payment' AND CASE WHEN p.final_amount > 0 THEN p.status <> 'completed' OR r.least <= 0 \
               WHEN r.n IS NULL THEN p.status <> 'completed' ELSE (p.status, r.n, r.given) IS DISTINCT FROM ('cancelled', 1, 0) END",
    ),
    (
        "points are numbered without gaps, and each number of points follows from the one before",
        "SELECT concat_ws(' ', card_id, point_seq, change, balance_after, tx_no) FROM ( \
            SELECT l.*, row_number() OVER w AS place, lag(balance_after) OVER w AS before \
            FROM app.point_ledger l WINDOW w AS (PARTITION BY card_id ORDER BY point_seq)) x \
         WHERE point_seq <> place OR balance_after <> coalesce(before, 0) + change",
    ),
    (
        "every card has the points that its ledger adds up to",
        "SELECT concat_ws(' ', c.card_no, c.points, c.point_seq, l.points, l.entries) FROM app.personal_cards c \
         LEFT JOIN (SELECT card_id, sum(change) AS points, max(point_seq) AS entries FROM app.point_ledger GROUP BY 1) l \
              ON l.card_id = c.id \
         WHERE c.points <> coalesce(l.points, 0) OR c.point_seq <> coalesce(l.entries, 0)",
    ),
    (
        "a movement that says it earned points has exactly that entry in the ledger",
        "SELECT concat_ws(' ', t.tx_no, t.points_earned, l.change, l.entries) \
         FROM app.transactions t FULL JOIN \
              (SELECT tx_no, sum(change) AS change, count(*) AS entries, min(card_id::text)::uuid AS card_id \
               FROM app.point_ledger WHERE tx_no IS NOT NULL GROUP BY 1) l ON l.tx_no = t.tx_no \
         WHERE t.tx_no IS NULL OR coalesce(l.entries, 0) > 1 OR (l.card_id IS NOT NULL AND l.card_id <> t.card_id) \
               OR (t.tx_type <> 'adjustment' AND t.points_earned <> coalesce(l.change, 0))",
    ),
    (
        "refunds never pass what was paid, and the payment knows their sum",
        "SELECT concat_ws(' ', p.tx_no, p.final_amount, p.refunded_amount, r.refunds) FROM app.transactions p \
         LEFT JOIN (SELECT original_tx_no, sum(final_amount) AS refunds FROM app.transactions WHERE tx_type = 'refund' GROUP BY 1) r \
              ON r.original_tx_no = p.tx_no \
         WHERE p.tx_type = 'payment' AND (p.refunded_amount <> coalesce(r.refunds, 0) OR p.refunded_amount > p.final_amount)",
    ),
    (
        "every refund belongs to a payment of the same merchant",
        "SELECT concat_ws(' ', r.tx_no, r.original_tx_no, r.merchant_id, p.merchant_id) FROM app.transactions r \
         LEFT JOIN app.transactions p ON p.tx_no = r.original_tx_no AND p.tx_type = 'payment' \
         WHERE r.tx_type = 'refund' AND (p.tx_no IS NULL OR p.merchant_id IS DISTINCT FROM r.merchant_id)",
    ),
    (
        "every refund said what was left after it",
        "SELECT concat_ws(' ', tx_no, original_tx_no, refundable_left) FROM ( \
            SELECT r.tx_no, r.original_tx_no, r.refundable_left, p.final_amount - sum(r.final_amount) OVER \
                   (PARTITION BY r.original_tx_no ORDER BY r.refundable_left DESC) AS due \
            FROM app.transactions r JOIN app.transactions p ON p.tx_no = r.original_tx_no \
            WHERE r.tx_type = 'refund') x WHERE refundable_left <> due",
    ),
    (
        "every movement has exactly one audit event of its type, and every such event its movement",
        "SELECT concat_ws(' ', m.tx_no, m.tx_type, e.action, e.object_id, e.events) FROM movement m FULL JOIN \
              (SELECT action, object_id, count(*) AS events FROM audit.event_log \
               WHERE action IN ('payment', 'refund', 'recharge', 'adjustment', 'withdrawal') GROUP BY 1, 2) e \
              ON e.object_id = m.tx_no AND e.action = m.tx_type::text \
         WHERE e.events IS DISTINCT FROM 1 OR m.tx_no IS NULL",
    ),
    (
        "the audit event of a movement tells the same as the movement",
        "SELECT concat_ws(' ', m.tx_no, e.context) FROM movement m JOIN audit.event_log e \
              ON e.object_id = m.tx_no AND e.action = m.tx_type::text \
         LEFT JOIN (SELECT id, card_no FROM app.personal_cards UNION ALL SELECT id, card_no FROM app.enterprise_cards) c ON c.id = m.card_id \
         WHERE (e.context ->> 'card', (e.context ->> 'change')::numeric, coalesce(e.context ->> 'points', '0')::bigint, \
                (e.context ->> 'at')::integer, e.context ->> 'original') \
               IS DISTINCT FROM (c.card_no || '/' || m.card_seq, m.change, m.points_earned, m.merchant_id, m.original_tx_no)",
    ),
    (
        "no transaction number or id is there twice",
        "SELECT concat_ws(' ', tx_no, id, n) FROM (SELECT tx_no, id, count(*) OVER (PARTITION BY tx_no) \
              + count(*) OVER (PARTITION BY id) - 1 AS n FROM app.transactions) x WHERE n > 1",
    ),
    (
        "no key moved money twice",
        "SELECT concat_ws(' ', idempotency_key, tx_type, count(*), string_agg(tx_no, ',')) FROM app.transactions \
         WHERE idempotency_key IS NOT NULL GROUP BY idempotency_key, tx_type HAVING count(*) > 1",
    ),
    (
        "no order of a merchant was paid twice, no order or gateway trade was credited twice",
        "SELECT concat_ws(' ', what, order_id, count(*), string_agg(tx_no, ',')) FROM ( \
            SELECT 'payment of ' || merchant_id AS what, external_order_id AS order_id, tx_no \
            FROM app.transactions WHERE tx_type = 'payment' \
            UNION ALL SELECT 'order by ' || payment_method, external_order_id, tx_no \
            FROM app.transactions WHERE tx_type = 'recharge' AND status = 'completed' AND processed_by IS NULL \
            UNION ALL SELECT 'order of ' || processed_by, external_order_id, tx_no \
            FROM app.transactions WHERE tx_type = 'recharge' AND status = 'completed' AND processed_by IS NOT NULL \
            UNION ALL SELECT 'trade', gateway_trade_no, tx_no \
            FROM app.transactions WHERE tx_type = 'recharge' AND status = 'completed') x \
         WHERE order_id IS NOT NULL GROUP BY what, order_id HAVING count(*) > 1",
    ),
    (
        "no key and no order dangles, and none is missing",
        "SELECT 'key of nothing: ' || concat_ws(' ', k.idempotency_key, k.operation, k.ref_id) FROM app.idempotency_keys k \
         LEFT JOIN app.transactions t ON t.id = k.ref_id AND k.operation <> 13 \
         LEFT JOIN app.point_ledger l ON k.operation = 13 AND l.reason = k.idempotency_key AND l.point_seq = k.ref_id % 100000000000 \
         WHERE t.id IS NULL AND l.card_id IS NULL AND k.operation NOT IN (31, 32) \
         UNION ALL SELECT 'order of nothing: ' || concat_ws(' ', o.order_id, o.scope, o.tx_id) FROM app.external_orders o \
         LEFT JOIN app.transactions t ON t.id = o.tx_id LEFT JOIN app.suspense_payments s ON -s.id = o.tx_id \
         WHERE t.id IS NULL AND s.gateway_trade_no IS DISTINCT FROM o.order_id \
         UNION ALL SELECT 'key not remembered: ' || concat_ws(' ', t.tx_no, t.idempotency_key) FROM app.transactions t \
         LEFT JOIN app.idempotency_keys k ON k.idempotency_key = t.idempotency_key AND k.ref_id = t.id \
         WHERE t.idempotency_key IS NOT NULL AND k.ref_id IS NULL \
         UNION ALL SELECT 'order not remembered: ' || concat_ws(' ', t.tx_no, t.external_order_id) FROM app.transactions t \
         LEFT JOIN app.external_orders o ON o.order_id = t.external_order_id AND o.tx_id = t.id \
         WHERE t.external_order_id IS NOT NULL AND o.tx_id IS NULL",
    ),
    (
        "a recharge that was paid otherwise than asked for keeps what was asked for, and no other does",
        "SELECT concat_ws(' ', t.tx_no, t.payment_method, a.payment_method, e.context ->> 'method') FROM app.transactions t \
         JOIN audit.event_log e ON e.object_id = t.tx_no AND e.action = 'recharge.requested' \
         LEFT JOIN app.asked_methods a ON a.tx_id = t.id \
         WHERE e.context ->> 'method' IS DISTINCT FROM coalesce(a.payment_method, t.payment_method)::text \
            OR a.payment_method = t.payment_method \
         UNION ALL SELECT concat_ws(' ', 'of no recharge', a.tx_id) FROM app.asked_methods a \
         LEFT JOIN app.transactions t ON t.id = a.tx_id AND t.status = 'completed' AND t.gateway_trade_no IS NOT NULL WHERE t.id IS NULL",
    ),
    (
        "money in suspense was credited if and only if its row says so, once and to the cent",
        "SELECT concat_ws(' ', s.id, s.gateway_trade_no, s.status, s.credited_tx_no, t.tx_no) FROM app.suspense_payments s \
         LEFT JOIN app.transactions t ON t.gateway_trade_no = s.gateway_trade_no AND t.status = 'completed' \
         WHERE s.credited_tx_no IS DISTINCT FROM t.tx_no OR t.final_amount <> s.amount OR (s.status = 'credited') <> (t.id IS NOT NULL)",
    ),
    (
        "what a callback says that it credited is credited, by its trade number and to the cent, and each once",
        "SELECT concat_ws(' ', e.id, e.outcome, e.tx_no, e.trade_no, e.amount, t.status, t.final_amount, n) FROM (\
            SELECT x.*, count(*) OVER (PARTITION BY x.trade_no) AS n FROM app.gateway_events x WHERE x.outcome = 'credited') e \
         LEFT JOIN app.transactions t ON t.tx_no = e.tx_no AND t.gateway_trade_no = e.trade_no AND t.final_amount = e.amount \
         WHERE t.status IS DISTINCT FROM 'completed' OR e.n <> 1 \
         UNION ALL SELECT concat_ws(' ', e.id, e.outcome, e.trade_no, e.amount, s.amount) FROM app.gateway_events e \
         LEFT JOIN app.suspense_payments s ON s.gateway_trade_no = e.trade_no \
         WHERE e.outcome = 'suspense' AND s.amount IS DISTINCT FROM e.amount",
    ),
    (
        "the recharges that wait are those that are counted",
        "SELECT concat_ws(' ', t.tx_no, r.tx_id) FROM (SELECT * FROM app.transactions WHERE status = 'processing') t \
         FULL JOIN app.pending_recharges r ON r.tx_id = t.id AND r.card_id = t.card_id WHERE t.id IS NULL OR r.tx_id IS NULL",
    ),
    (
        "what the bill of a closed day has is credited or in suspense, to the cent",
        "SELECT concat_ws(' ', b.bill_date, l.line, l.trade_no, l.amount, t.tx_no, t.final_amount, s.amount) FROM app.recon_days d \
         JOIN app.gateway_bills b ON b.account = d.account AND b.bill_date = d.bill_date AND b.replaced_at IS NULL \
         JOIN app.gateway_bill_lines l ON l.bill_id = b.id AND l.entry = 'payment' \
         LEFT JOIN app.transactions t ON t.gateway_trade_no = l.trade_no AND t.status = 'completed' \
         LEFT JOIN app.suspense_payments s ON s.gateway_trade_no = l.trade_no \
         WHERE d.closed_at IS NOT NULL AND coalesce(t.final_amount, s.amount) IS DISTINCT FROM l.amount",
    ),
    (
        "every correction is written down once, beside its movement",
        "SELECT concat_ws(' ', t.tx_no, t.original_tx_no, t.final_amount, c.tx_no, c.amount) \
         FROM (SELECT * FROM app.transactions WHERE tx_type = 'adjustment') t \
         FULL JOIN app.transaction_compensations c ON c.compensation_tx_no = t.tx_no \
         WHERE t.tx_no IS NULL OR (c.tx_no IS NOT NULL AND (c.tx_no, c.amount) IS DISTINCT FROM (t.original_tx_no, t.final_amount)) \
               OR (c.tx_no IS NULL AND NOT EXISTS (SELECT FROM app.transactions other \
                   WHERE other.tx_no = t.original_tx_no AND other.original_tx_no = t.tx_no AND other.final_amount = -t.final_amount))",
    ),
    (
        "only what has moved money was corrected",
        "SELECT concat_ws(' ', t.tx_no, t.original_tx_no, o.status) FROM app.transactions t \
         LEFT JOIN app.transactions o ON o.tx_no = t.original_tx_no WHERE t.tx_type = 'adjustment' AND o.posted_at IS NULL",
    ),
    (
        "a replaced card is closed and empty",
        "SELECT concat_ws(' ', card_no, status, balance, points) FROM app.personal_cards \
         WHERE replaced_by IS NOT NULL AND (status <> 'closed' OR balance <> 0 OR points <> 0)",
    ),
    (
        "money in = money out + balances",
        "SELECT concat_ws(' ', moved, held) FROM (SELECT sum(change) AS moved FROM movement) m, \
              (SELECT sum(balance) AS held FROM (SELECT balance FROM app.personal_cards UNION ALL SELECT balance FROM app.enterprise_cards) c) h \
         WHERE moved IS DISTINCT FROM held",
    ),
    (
        "balance_as_of finds the balance at any movement of the busiest cards",
        "SELECT concat_ws(' ', tx_no, balance_after, posted_at) FROM ( \
            SELECT m.* FROM movement m WHERE m.card_id IN (SELECT card_id FROM movement GROUP BY 1 ORDER BY count(*) DESC LIMIT 4) \
            ORDER BY md5(m.tx_no) LIMIT 300) x \
         WHERE app.balance_as_of(card_id, posted_at, card_type::text) <> balance_after",
    ),
    (
        "a merchant's lines are its transactions, each once, at the moment that it was posted",
        "SELECT concat_ws(' ', x.tx_no, s.tx_no, s.n) FROM \
              (SELECT t.tx_no, m.code, t.final_amount, coalesce(t.posted_at, t.created_at) AS at \
               FROM app.transactions t JOIN app.merchants m ON m.id = t.merchant_id) x FULL JOIN \
              (SELECT l.*, count(*) OVER (PARTITION BY l.tx_no) AS n FROM app.merchants m, pg_temp.lines(m.code) l) s ON s.tx_no = x.tx_no \
         WHERE (x.code, x.final_amount, x.at, 1) IS DISTINCT FROM (s.code, s.amount, s.at, s.n)",
    ),
    (
        "the totals of the days are those of the movements",
        "SELECT concat_ws(' ', a.day, a.code, a.method, a.n, b.n, a.net, b.net) FROM \
              (SELECT (t.posted_at AT TIME ZONE 'UTC')::date AS day, m.code, t.payment_method::text AS method, count(*) AS n, \
                      sum(t.change) AS net \
               FROM movement t LEFT JOIN app.merchants m ON m.id = t.merchant_id GROUP BY 1, 2, 3) a FULL JOIN \
              (SELECT d.day, d.merchant_code AS code, d.payment_method AS method, d.payments + d.refunds + d.recharges + d.adjustments \
                      + d.withdrawals AS n, d.net \
               FROM (SELECT min(posted_at) AS first, max(posted_at) AS last FROM movement) w, \
                    app.day_totals((w.first AT TIME ZONE 'UTC')::date, (w.last AT TIME ZONE 'UTC')::date) d) b \
              ON (a.day, a.method, coalesce(a.code, '')) = (b.day, b.method, coalesce(b.code, '')) \
         WHERE (a.n, a.net) IS DISTINCT FROM (b.n, b.net)",
    ),
    (
        "a member's pages hold every movement of the busiest cards once",
        "SELECT concat_ws(' ', x.tx_no, x.n, x.moved) FROM \
              (SELECT c.id, c.member_id FROM app.personal_cards c \
               WHERE c.id IN (SELECT card_id FROM movement WHERE card_type = 'personal' GROUP BY 1 ORDER BY count(*) DESC LIMIT 4)) c \
              CROSS JOIN LATERAL ( \
              SELECT p.tx_no, p.n, m.tx_no AS moved FROM \
                  (SELECT p.tx_no, count(*) AS n FROM pg_temp.page_of(c.member_id) p \
                   WHERE p.status <> 'processing' AND p.card_id = c.id GROUP BY 1) p \
                  FULL JOIN (SELECT tx_no FROM movement WHERE card_id = c.id) m ON m.tx_no = p.tx_no) x \
         WHERE x.n IS DISTINCT FROM 1 OR x.moved IS NULL",
    ),
];

const MOVEMENT: &str = "CREATE TEMP VIEW movement AS SELECT t.*, \
    CASE WHEN t.tx_type IN ('payment', 'withdrawal') THEN -t.final_amount ELSE t.final_amount END AS change \
    FROM app.transactions t WHERE t.card_seq IS NOT NULL";

/// All pages of a merchant's statement, and all pages of a member as it sees them itself.
const PAGES: &str = "
    CREATE FUNCTION pg_temp.lines(p_code text) RETURNS TABLE (code text, tx_no text, amount numeric, at timestamptz)
        LANGUAGE plpgsql AS $$
    DECLARE
        v_before text;
        v_rows integer;
    BEGIN
        code := p_code;
        LOOP
            v_rows := 0;
            FOR tx_no, amount, at IN
                SELECT s.tx_no, s.final_amount, coalesce(s.posted_at, s.created_at)
                FROM app.merchant_statement(p_code, p_before => v_before, p_limit => 500) s
            LOOP
                v_rows := v_rows + 1;
                v_before := tx_no;
                RETURN NEXT;
            END LOOP;
            EXIT WHEN v_rows < 500;
        END LOOP;
    END $$;
    CREATE FUNCTION pg_temp.page_of(p_member uuid) RETURNS TABLE (tx_no text, status text, card_id uuid)
        LANGUAGE plpgsql AS $$
    DECLARE
        v_before text;
        v_rows integer;
    BEGIN
        PERFORM set_config('request.jwt.claims', jsonb_build_object('sub', p_member)::text, true);
        LOOP
            v_rows := 0;
            FOR tx_no, status, card_id IN SELECT p.tx_no, p.status, p.card_id FROM app.usage_page(v_before, 500) p LOOP
                v_rows := v_rows + 1;
                v_before := tx_no;
                RETURN NEXT;
            END LOOP;
            EXIT WHEN v_rows < 500;
        END LOOP;
        PERFORM set_config('request.jwt.claims', '', true);
    END $$";

/// One row of `app.transactions`.
struct Row {
    tx_no: String,
    kind: Kind,
    status: String,
    card: Uuid,
    raw: Cents,
    excluded: Cents,
    discount: i64,
    paid: Cents,
    points: i64,
    original: Option<String>,
    refunded: Option<Cents>,
    created_at: String,
}

struct Card {
    id: Uuid,
    kind: CardKind,
    card_no: String,
    status: String,
    balance: Cents,
    points: i64,
    level: i64,
    discount: i64,
    replaced_by: Option<Uuid>,
}

/// One entry of the ledger.
struct Entry {
    card: Uuid,
    tx_no: Option<String>,
    reason: Option<String>,
    change: i64,
    after: i64,
    level: i64,
}

/// Makes every check.
pub fn verify(world: &World, log: &ServerLog, report: &mut Report) -> Result<(), postgres::Error> {
    let mut db = world.server.connect(&world.server.database, "mps-storm verification")?;
    db.batch_execute("SET TimeZone = 'UTC'")?;

    let mut books = world.books();
    books.fill_in();
    let books = books;
    report.check("every answer was one that the request may get", books.wrong.clone());
    deadlocks(&mut db, &books, log, world.server.rough, report)?;

    db.batch_execute("CALL app.recompute_levels()")?;
    db.batch_execute("ANALYZE")?;
    db.batch_execute(MOVEMENT)?;
    db.batch_execute(PAGES)?;
    for (name, sql) in BOOKS_AGREE {
        report.check(name, offending(&mut db, sql));
    }
    own_verification(&mut db, report)?;
    world.receipts.check(world, &mut db, report)?;

    let rows = transactions(&mut db)?;
    let cards = cards(&mut db)?;
    let entries = entries(&mut db)?;
    let accounts = world.numbered();
    let account_of: HashMap<Uuid, usize> = accounts
        .iter()
        .flat_map(|(i, a)| a.cards.read().expect("not poisoned").iter().map(|(id, _)| (*id, *i)).collect::<Vec<_>>())
        .collect();

    answers(&books, &rows, &account_of, report);
    suspense(&mut db, &books, report)?;
    withdrawals(&mut db, &books, report)?;
    coupons(world, &mut db, &books, report)?;
    sums(world, &books, &rows, &cards, &account_of, report);
    prices(world, &books, &entries, report);
    points(&books, &rows, &entries, &account_of, report);
    levels_and_cards(world, &books, &cards, &account_of, report);
    bindings(world, &mut db, report)?;
    statements(world, &mut db, &rows, report)?;
    check_pages(&mut db, "primary", report)
}

/// The rows of a check; a query that fails is an offence itself.
pub fn offending(db: &mut Client, sql: &str) -> Vec<String> {
    match db.query(sql, &[]) {
        Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
        Err(error) => vec![error.as_db_error().map_or(error.to_string(), |e| e.to_string())],
    }
}

fn deadlocks(
    db: &mut Client,
    books: &Books,
    log: &ServerLog,
    rough: bool,
    report: &mut Report,
) -> Result<(), postgres::Error> {
    let mut bad: Vec<String> = books
        .tally
        .iter()
        .filter(|((_, outcome), _)| outcome.ends_with("40P01"))
        .map(|((operation, _), n)| format!("{n} of {operation}"))
        .collect();
    let counted: i64 =
        db.query_one("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()", &[])?.get(0);
    if counted > 0 {
        bad.push(format!("pg_stat_database counts {counted}"));
    }
    report.check("no deadlock, by answers and by the server's own count", bad);
    if let Some(lines) = log.bad_lines(rough) {
        report.check("the server's log has no deadlock, no panic, no crash but ours, and nothing left open", lines);
    }
    Ok(())
}

/// What the extension itself says about its books and its log, where this release can say it.
fn own_verification(db: &mut Client, report: &mut Report) -> Result<(), postgres::Error> {
    let known = |db: &mut Client, name: &str| -> Result<bool, postgres::Error> {
        Ok(db.query_one("SELECT to_regproc($1::text) IS NOT NULL", &[&name])?.get(0))
    };
    if known(db, "app.verify_books")? {
        let found =
            offending(db, "SELECT concat_ws(': ', check_name, detail) FROM app.verify_books() WHERE ok IS NOT TRUE");
        report.check("app.verify_books() finds nothing", found);
    }
    if known(db, "audit.seal")? && known(db, "audit.verify")? {
        db.batch_execute("CALL audit.seal()")?;
        let found =
            offending(db, "SELECT concat_ws(': ', check_name, detail) FROM audit.verify() WHERE ok IS NOT TRUE");
        report.check("audit.verify() finds nothing in the sealed log", found);
    }
    Ok(())
}

fn transactions(db: &mut Client) -> Result<Vec<Row>, postgres::Error> {
    let rows = db.query(
        "SELECT tx_no, tx_type::text, status::text, card_id, raw_amount::text, discount::text, final_amount::text, points_earned, \
                original_tx_no, refunded_amount::text, created_at::text, coalesce(excluded_amount, 0)::text FROM app.transactions",
        &[],
    )?;
    let read = |r: &postgres::Row| Row {
        tx_no: r.get(0),
        kind: match r.get(1) {
            "payment" => Kind::Payment,
            "refund" => Kind::Refund,
            "recharge" => Kind::Recharge,
            "withdrawal" => Kind::Withdrawal,
            _ => Kind::Adjustment,
        },
        status: r.get(2),
        card: r.get(3),
        raw: cents(r.get(4)),
        discount: thousandths(r.get(5)),
        paid: cents(r.get(6)),
        points: r.get(7),
        original: r.get(8),
        refunded: r.get::<_, Option<&str>>(9).map(cents),
        created_at: r.get(10),
        excluded: cents(r.get(11)),
    };
    Ok(rows.iter().map(read).collect())
}

fn cards(db: &mut Client) -> Result<Vec<Card>, postgres::Error> {
    let rows = db.query(
        "SELECT id, true, card_no, status::text, balance::text, points, level::bigint, discount::text, replaced_by FROM app.personal_cards \
         UNION ALL SELECT id, false, card_no, status::text, balance::text, 0, 0, fixed_discount::text, NULL FROM app.enterprise_cards",
        &[],
    )?;
    let read = |r: &postgres::Row| Card {
        id: r.get(0),
        kind: if r.get(1) { CardKind::Personal } else { CardKind::Enterprise },
        card_no: r.get(2),
        status: r.get(3),
        balance: cents(r.get(4)),
        points: r.get(5),
        level: r.get(6),
        discount: thousandths(r.get(7)),
        replaced_by: r.get(8),
    };
    Ok(rows.iter().map(read).collect())
}

fn entries(db: &mut Client) -> Result<Vec<Entry>, postgres::Error> {
    let rows = db.query(
        "SELECT card_id, tx_no, reason, change, balance_after, level::bigint FROM app.point_ledger ORDER BY card_id, point_seq",
        &[],
    )?;
    let read = |r: &postgres::Row| Entry {
        card: r.get(0),
        tx_no: r.get(1),
        reason: r.get(2),
        change: r.get(3),
        after: r.get(4),
        level: r.get(5),
    };
    Ok(rows.iter().map(read).collect())
}

/// What the clients were told of money in suspense against its rows, both ways.
fn suspense(db: &mut Client, books: &Books, report: &mut Report) -> Result<(), postgres::Error> {
    let sql = "SELECT gateway_trade_no, amount::text, status, credited_tx_no FROM app.suspense_payments";
    let mut rows: HashMap<String, (i64, String, Option<String>)> = HashMap::new();
    for r in db.query(sql, &[])? {
        rows.insert(r.get(0), (cents(r.get(1)), r.get(2), r.get(3)));
    }
    let mut wrong = vec![];
    for (trade, kept) in &books.suspense {
        let due = match &kept.resolved {
            None => (kept.amount, "open".to_owned(), None),
            Some((status, tx_no)) => (kept.amount, status.clone(), tx_no.clone()),
        };
        if rows.get(trade) != Some(&due) {
            wrong.push(format!("{trade} is {:?}, by its answers {due:?}", rows.get(trade)));
        }
    }
    let unknown = rows.keys().filter(|trade| !books.suspense.contains_key(*trade));
    wrong.extend(unknown.map(|trade| format!("{trade} is in suspense, and nobody was told")));
    report.check("money in suspense is what the clients were told", wrong);
    Ok(())
}

/// What the clients were told of refund numbers against their rows, both ways; and that no recharge gave more than it brought.
fn withdrawals(db: &mut Client, books: &Books, report: &mut Report) -> Result<(), postgres::Error> {
    let sql = "SELECT refund_no, tx_no, coalesce(source_tx_no, ''), amount::text, status, returned_tx_no FROM app.withdrawals";
    type Told = (String, String, Cents, String, Option<String>);
    let read = |r: &postgres::Row| (r.get(0), (r.get(1), r.get(2), cents(r.get(3)), r.get(4), r.get(5)));
    let rows: HashMap<String, Told> = db.query(sql, &[])?.iter().map(read).collect();
    let (mut wrong, mut given) = (vec![], HashMap::<&str, Cents>::new());
    for (refund_no, r) in &books.refunds {
        let due = (r.tx_no.clone(), r.source.clone(), r.amount, r.status().to_owned(), r.returned.clone());
        if rows.get(refund_no) != Some(&due) {
            wrong.push(format!("{refund_no} is {:?}, by its answers {due:?}", rows.get(refund_no)));
        }
        if r.returned.is_none() {
            *given.entry(&r.source).or_default() += r.amount;
        }
    }
    wrong.extend(rows.keys().filter(|no| !books.refunds.contains_key(*no)).map(|no| format!("{no}: nobody was told")));
    report.check("every refund number is what the clients were told", wrong);
    let brought = |source: &str| books.facts.get(source).filter(|fact| fact.credited()).map_or(0, |fact| fact.paid);
    let over = given.iter().filter(|(source, given)| **given > brought(source));
    let over = over.map(|(source, given)| format!("{source}: {} of {}", money(*given), money(brought(source))));
    report.check("no recharge gave back more than it brought, by the answers", over.collect());
    let mut sums: HashMap<&str, Cents> = HashMap::new();
    books.refunds.values().for_each(|r| *sums.entry(&r.tx_no).or_default() += r.amount);
    let differ = books.facts.iter().filter(|(_, fact)| fact.kind == Kind::Withdrawal);
    let differ = differ.filter(|(tx_no, fact)| sums.get(tx_no.as_str()) != Some(&fact.paid));
    report.check("refund numbers add up to what was withdrawn", differ.map(|(tx_no, _)| tx_no.clone()).collect());
    let (mut waiting, mut back) = (HashMap::<&str, Cents>::new(), HashMap::<&str, Cents>::new());
    for r in books.refunds.values().filter(|r| r.status() == "processing") {
        *waiting.entry(&r.tx_no).or_default() += r.amount;
    }
    for fact in books.facts.values().filter(|fact| fact.kind == Kind::Adjustment && fact.credited()) {
        *back.entry(fact.original.as_deref().unwrap_or_default()).or_default() += fact.change;
    }
    let over = sums.iter().filter_map(|(tx_no, sum)| {
        let of = |known: &HashMap<&str, Cents>| known.get(tx_no).copied().unwrap_or_default();
        let (waits, back) = (of(&waiting), of(&back));
        (back > sum - waits).then(|| format!("{tx_no}: {} of {}, {} waits", money(back), money(*sum), money(waits)))
    });
    report.check("no withdrawal comes back more than once, by the answers", over.collect());
    Ok(())
}

/// What coupons took off, which payment used which, what came back, limits and budgets: by the answers.
fn coupons(world: &World, db: &mut Client, books: &Books, report: &mut Report) -> Result<(), postgres::Error> {
    let mut back: HashMap<&str, Cents> = HashMap::new();
    for fact in books.facts.values().filter(|fact| fact.kind == Kind::Refund) {
        *back.entry(fact.original.as_deref().expect("refunds have one")).or_default() += fact.paid;
    }
    let used = || books.facts.iter().filter_map(|(tx_no, fact)| Some((tx_no, fact, fact.coupon.as_ref()?)));
    let lives = |tx_no: &str, fact: &Fact| back.get(tx_no).is_none_or(|back| *back < fact.paid);

    let (mut wrong, mut twice) = (vec![], vec![]);
    let mut spent_by: BTreeMap<&str, &str> = BTreeMap::new();
    let mut kept: BTreeSet<&str> = BTreeSet::new();
    let mut drawn: HashMap<usize, Cents> = HashMap::new();
    for (tx_no, fact, (number, off)) in used() {
        let Some((kind, _)) = books.rights.get(number) else {
            wrong.push(format!("{tx_no}: {number} was given to nobody"));
            continue;
        };
        let coupon = &COUPONS[*kind];
        let before = price(fact.raw - fact.excluded, 0, fact.discount);
        if *off != coupon.takes_off(before) || *off == 0 || (!coupon.on_top && fact.discount != 1000) {
            wrong.push(format!("{tx_no}: {number} of {} took {} off {}", coupon.code, money(*off), money(before)));
        }
        if lives(tx_no, fact) {
            *drawn.entry(*kind).or_default() += off;
            if let Some(other) = spent_by.insert(number, tx_no) {
                twice.push(format!("{number}: by {other} and {tx_no}"));
            }
        } else if !coupon.comes_back {
            kept.insert(number);
        }
    }
    report.check("every coupon took off what its terms say", wrong);
    report.check("no coupon was used twice, by the answers", twice);

    let rows = db.query(
        "SELECT sec.coupon_no(m.id), c.code, m.member_id, m.status, coalesce(m.tx_no, '') \
         FROM app.member_coupons m JOIN app.coupons c ON c.id = m.coupon_id WHERE c.code <> 'all'",
        &[],
    )?;
    let mut wrong = vec![];
    let mut found: BTreeSet<String> = BTreeSet::new();
    for row in &rows {
        let (number, code, member): (String, String, Uuid) = (row.get(0), row.get(1), row.get(2));
        let (status, tx_no): (String, String) = (row.get(3), row.get(4));
        let known = books.rights.get(&number);
        // An answer that was lost with its connection left one that nobody knows of, or its key brought it.
        if known.is_some_and(|(kind, to)| COUPONS[*kind].code != code || *to != member) {
            wrong.push(format!("{number} is of {code} and {member}, by its answer {known:?}"));
        }
        let due = match (spent_by.get(number.as_str()), books.revoked.contains(&number)) {
            (Some(tx_no), _) => ("used", *tx_no),
            (None, true) => ("revoked", ""),
            (None, false) if kept.contains(number.as_str()) => ("used", tx_no.as_str()),
            (None, false) => ("active", ""),
        };
        if (status.as_str(), tx_no.as_str()) != due {
            wrong.push(format!("{number} of {code} is {status} {tx_no}, by the answers {due:?}"));
        }
        found.insert(number);
    }
    wrong.extend(books.rights.keys().filter(|number| !found.contains(*number)).map(|n| format!("{n} is not there")));
    report.check("every coupon is where the answers left it", wrong);

    let mut wrong = vec![];
    for (kind, coupon) in COUPONS.iter().enumerate() {
        let sql = "SELECT c.issued, (SELECT count(*) FROM app.member_coupons m WHERE m.coupon_id = c.id), \
                          (SELECT coalesce(sum(b.left_amount), 0)::text FROM app.coupon_budget_parts b WHERE b.coupon_id = c.id) \
                   FROM app.coupons c WHERE c.code = $1";
        let row = db.query_one(sql, &[&coupon.code])?;
        let (issued, there, left): (i64, i64, Cents) = (row.get(0), row.get(1), cents(row.get(2)));
        if issued != there || coupon.limit.is_some_and(|limit| there > limit) {
            wrong.push(format!("{}: {issued} issued, {there} there, of {:?}", coupon.code, coupon.limit));
        }
        let budget = coupon.budget.map(|_| *world.budget.lock().expect("not poisoned"));
        let due = budget.map_or(0, |budget| budget - drawn.get(&kind).copied().unwrap_or(0));
        if left != due {
            wrong.push(format!("{}: {} left, by the answers {}", coupon.code, money(left), money(due)));
        }
    }
    report.check("no more are issued than the limit, and of each budget is left what the answers leave", wrong);
    Ok(())
}

/// Answers against rows, one by one and both ways.
fn answers(books: &Books, rows: &[Row], account_of: &HashMap<Uuid, usize>, report: &mut Report) {
    let by_no: HashMap<&str, &Row> = rows.iter().map(|row| (row.tx_no.as_str(), row)).collect();
    let given_back = books.given_back();
    let (mut missing, mut different, mut status) = (vec![], vec![], vec![]);
    for (tx_no, fact) in books.facts.iter().filter(|(_, fact)| fact.kind != Kind::Points) {
        let Some(row) = by_no.get(tx_no.as_str()) else {
            missing.push(format!("{tx_no}, answered to {}", fact.by));
            continue;
        };
        let same = row.kind == fact.kind
            && account_of.get(&row.card) == Some(&fact.account)
            && (row.raw, row.excluded, row.paid, row.points) == (fact.raw, fact.excluded, fact.paid, fact.points)
            && (fact.kind != Kind::Payment || row.discount == fact.discount)
            && (fact.original.is_none() || row.original == fact.original)
            && (fact.in_short || row.created_at == fact.created_at);
        if !same {
            different.push(format!("{tx_no}, answered to {} as {}", fact.by, fact.said));
        }
        let is_cancelled = fact.kind == Kind::Payment && fact.paid == 0 && given_back.contains(tx_no.as_str());
        let due = match (fact.credited(), fact.failed) {
            (true, _) if is_cancelled => "cancelled",
            (true, _) => "completed",
            (false, true) => "failed",
            (false, false) => "processing",
        };
        if row.status != due {
            status.push(format!("{tx_no} is {}, by its answers {due}", row.status));
        }
    }
    report.check("every answer that a client got is in the books", missing);
    report.check("and says there what the client was told", different);
    report.check(
        "a recharge is credited if and only if a confirmation was answered, failed if that was; what paid 0.00 is cancelled likewise",
        status,
    );

    // A replacement's pair of adjustments is in no answer: it is known by its cards.
    let by_replacement = |row: &Row| {
        row.kind == Kind::Adjustment
            && row.original.as_deref().and_then(|o| by_no.get(o)).is_some_and(|other| {
                books.replaced.get(&row.card) == Some(&other.card) || books.replaced.get(&other.card) == Some(&row.card)
            })
    };
    let unanswered = rows
        .iter()
        .filter(|row| !books.facts.contains_key(&row.tx_no) && !by_replacement(row))
        .map(|row| format!("{} {:?} {} of {}", row.tx_no, row.kind, money(row.paid), row.card))
        .collect();
    report.check("every row in the books was answered", unanswered);

    let fresh = books
        .facts
        .iter()
        .filter(|(_, fact)| fact.kind != Kind::Points)
        .filter(|(_, fact)| fact.fresh > 1 || (fact.fresh == 0 && !fact.lost))
        .map(|(tx_no, fact)| format!("{tx_no} was answered as new {} times ({})", fact.fresh, fact.by))
        .collect();
    report.check("each was answered as new once (never, only where that answer was lost), and then replayed", fresh);
}

/// Balances, refund sums, and all the money, by the model.
fn sums(
    world: &World,
    books: &Books,
    rows: &[Row],
    cards: &[Card],
    account_of: &HashMap<Uuid, usize>,
    report: &mut Report,
) {
    let mut balances = vec![0; world.numbered().len()];
    for fact in books.facts.values().filter(|fact| fact.credited()) {
        balances[fact.account] += fact.change;
    }
    let mut held = vec![0; balances.len()];
    for card in cards {
        if let Some(account) = account_of.get(&card.id) {
            held[*account] += card.balance;
        }
    }
    let wrong = (0..held.len())
        .filter(|i| held[*i] != balances[*i])
        .map(|i| format!("account {i} holds {}, by the answers {}", money(held[i]), money(balances[i])))
        .collect();
    report.check("every balance is what the answers add up to", wrong);
    let (all_held, all_due): (Cents, Cents) = (cards.iter().map(|c| c.balance).sum(), balances.iter().sum());
    let wrong = if all_held == all_due { vec![] } else { vec![format!("{} and {}", money(all_held), money(all_due))] };
    report.check("all money is what the answers add up to", wrong);

    let mut refunded: HashMap<&str, Cents> = HashMap::new();
    for fact in books.facts.values().filter(|fact| fact.kind == Kind::Refund) {
        *refunded.entry(fact.original.as_deref().expect("refunds have one")).or_default() += fact.paid;
    }
    let wrong = rows
        .iter()
        .filter(|row| row.kind == Kind::Payment)
        .filter(|row| row.refunded != Some(refunded.get(row.tx_no.as_str()).copied().unwrap_or(0)))
        .map(|row| format!("{}: {:?}, by the answers {:?}", row.tx_no, row.refunded, refunded.get(row.tx_no.as_str())))
        .collect();
    report.check("every payment's refunded sum is what the answers add up to", wrong);
}

/// What a coupon took off in the place of the card's own discount.
fn instead(books: &Books, fact: &Fact) -> Option<Cents> {
    let (number, off) = fact.coupon.as_ref()?;
    books.rights.get(number).filter(|(kind, _)| !COUPONS[*kind].on_top).map(|_| *off)
}

/// Prices, earned points and points taken back, computed a second time.
fn prices(world: &World, books: &Books, entries: &[Entry], report: &mut Report) {
    let accounts = world.numbered();
    let kind_of = |fact: &Fact| accounts[fact.account].1.kind;
    let payments = || books.facts.iter().filter(|(_, fact)| fact.kind == Kind::Payment);

    let wrong = payments()
        .filter(|(_, fact)| {
            let off = fact.coupon.as_ref().map_or(0, |(_, off)| *off);
            fact.paid != price(fact.raw, fact.excluded, fact.discount) - off
        })
        .map(|(tx_no, fact)| format!("{tx_no}: {}", fact.said))
        .collect();
    report.check("every price is what takes part x discount to the cent, less the coupon, and the rest", wrong);

    let wrong = payments()
        .filter(|(_, fact)| {
            let (paid, part) = (fact.paid - fact.excluded, fact.raw - fact.excluded);
            let due = |version| if kind_of(fact) == CardKind::Personal { points_with(version, paid, part) } else { 0 };
            !(fact.campaigns.0..=fact.campaigns.1).any(|version| due(version) == fact.points)
        })
        .map(|(tx_no, fact)| format!("{tx_no}, by versions {:?} of the campaigns: {}", fact.campaigns, fact.said))
        .collect();
    report.check("every payment earned the points of the campaigns that were on in its moment", wrong);

    let wrong = payments()
        .filter(|(_, fact)| kind_of(fact) == CardKind::Enterprise)
        .filter(|(_, fact)| {
            let fixed = accounts[fact.account].1.fixed_discount;
            let part = fact.raw - fact.excluded;
            match instead(books, fact) {
                // In the place of the card's discount, and only where that would have saved less.
                Some(off) => fact.discount != 1000 || off <= part - price(part, 0, fixed),
                None => fact.discount != fixed,
            }
        })
        .map(|(tx_no, fact)| format!("{tx_no}: {}", fact.said))
        .collect();
    report.check("enterprise cards pay with their fixed discount", wrong);

    let before: HashMap<&str, i64> =
        entries.iter().filter_map(|e| Some((e.tx_no.as_deref()?, e.after - e.change))).collect();
    let wrong = payments()
        .filter_map(|(tx_no, fact)| Some((tx_no, fact, *before.get(tx_no.as_str())?)))
        .filter(|(_, fact, points)| {
            let levels = || live(fact.levels).map(|v| level_for(v, *points).1);
            match instead(books, fact) {
                Some(off) => {
                    let part = fact.raw - fact.excluded;
                    fact.discount != 1000 || !levels().any(|own| off > part - price(part, 0, own))
                }
                None => !levels().any(|own| own == fact.discount),
            }
        })
        .map(|(tx_no, fact, points)| {
            format!("{tx_no}: {} at {points} points, level tables {:?} ({})", fact.said, fact.levels, fact.by)
        })
        .collect();
    report.check(
        "every charge was priced by the level of the points before it, under a level table then in force",
        wrong,
    );

    let mut back: HashMap<&str, (Cents, i64)> = HashMap::new();
    for fact in books.facts.values().filter(|fact| fact.kind == Kind::Refund) {
        let sum = back.entry(fact.original.as_deref().expect("refunds have one")).or_default();
        sum.0 += fact.paid;
        sum.1 -= fact.points;
    }
    let wrong = back
        .iter()
        .filter(|(tx_no, (refunded, points))| {
            let payment = &books.facts[**tx_no];
            *points != points_taken_back(payment.points, payment.paid, *refunded)
        })
        .map(|(tx_no, (refunded, points))| format!("{tx_no}: {points} points for {}", money(*refunded)))
        .collect();
    report.check("refunds took back the points in proportion", wrong);
}

/// The versions of the level table that were live between two moments.
fn live((done, begun): (usize, usize)) -> std::ops::RangeInclusive<usize> {
    done..=begun
}

/// Points of every account, and the entries made by hand.
fn points(books: &Books, rows: &[Row], entries: &[Entry], account_of: &HashMap<Uuid, usize>, report: &mut Report) {
    let mut due: HashMap<usize, i64> = HashMap::new();
    for fact in books.facts.values() {
        *due.entry(fact.account).or_default() += fact.points;
    }
    let mut held: HashMap<usize, i64> = HashMap::new();
    for entry in entries {
        if let Some(account) = account_of.get(&entry.card) {
            *held.entry(*account).or_default() += entry.change;
        }
    }
    let accounts: HashSet<usize> = due.keys().chain(held.keys()).copied().collect();
    let of = |map: &HashMap<usize, i64>, account: &usize| map.get(account).copied().unwrap_or(0);
    let wrong = accounts
        .iter()
        .filter(|account| of(&due, account) != of(&held, account))
        .map(|account| format!("account {account} has {}, by the answers {}", of(&held, account), of(&due, account)))
        .collect();
    report.check("every number of points is what the answers add up to", wrong);

    // By hand: the reason is the request's key. Entries without a transaction and without a key of ours are the points
    // that an empty card's replacement took over.
    let by_hand = books.facts.iter().filter(|(_, fact)| fact.kind == Kind::Points);
    let mut found: HashMap<&str, Vec<&Entry>> = HashMap::new();
    let mut stray = vec![];
    for entry in entries.iter().filter(|entry| entry.tx_no.is_none()) {
        match entry.reason.as_deref() {
            Some(reason) if books.facts.contains_key(reason) => found.entry(reason).or_default().push(entry),
            Some("storm") => {}
            _ => stray.push(format!("{} {} ({:?})", entry.card, entry.change, entry.reason)),
        }
    }
    for (key, fact) in by_hand {
        match found.get(key.as_str()).map(Vec::as_slice) {
            Some([entry]) if entry.change == fact.points && format!("{}|{}", entry.after, entry.level) == fact.said => {
            }
            other => stray.push(format!("{key}: answered {}, {} entries", fact.said, other.map_or(0, <[_]>::len))),
        }
    }
    report.check("every change of points by hand was answered and is there once", stray);

    let by_no: HashMap<&str, &Row> = rows.iter().map(|row| (row.tx_no.as_str(), row)).collect();
    let wrong = entries
        .iter()
        .filter_map(|entry| {
            let id = entry.tx_no.as_deref().or(entry.reason.as_deref())?;
            Some((id, entry, books.facts.get(id)?))
        })
        .filter(|(_, entry, fact)| !live(fact.levels).any(|v| level_for(v, entry.after).0 == entry.level))
        .map(|(id, entry, fact)| {
            let row = by_no.get(id).map_or("", |row| row.created_at.as_str());
            format!("{id}: level {} at {} points, level tables {:?} {row}", entry.level, entry.after, fact.levels)
        })
        .collect();
    report.check("every change of points left the level of the points after it", wrong);
}

/// Levels after the final recomputation; statuses and replacements.
fn levels_and_cards(
    world: &World,
    books: &Books,
    cards: &[Card],
    account_of: &HashMap<Uuid, usize>,
    report: &mut Report,
) {
    let version = world.levels.begun.load(std::sync::atomic::Ordering::SeqCst);
    let wrong = cards
        .iter()
        .filter(|card| {
            card.kind == CardKind::Personal && (card.level, card.discount) != level_for(version, card.points)
        })
        .map(|card| format!("{}: level {}, {} points", card.card_no, card.level, card.points))
        .collect();
    report.check("after recompute_levels every personal card has the level and the discount of its points", wrong);

    let mut wrong = vec![];
    for card in cards.iter().filter(|card| account_of.contains_key(&card.id)) {
        let closed = card.replaced_by.is_some() || books.closed.contains(&card.id);
        let due = if closed { "closed" } else { "active" };
        if card.status != due || card.replaced_by != books.replaced.get(&card.id).copied() {
            wrong.push(format!("{} is {}, replaced by {:?}; due: {due}", card.card_no, card.status, card.replaced_by));
        }
    }
    report.check("every card's status and replacement is what was answered", wrong);
}

/// Everybody's binding and status, as the last answers left them.
fn bindings(world: &World, db: &mut Client, report: &mut Report) -> Result<(), postgres::Error> {
    let rows = db.query(
        "SELECT b.enterprise_card_id, b.member_id, b.role::text, m.status FROM app.enterprise_card_bindings b \
         JOIN app.member_profiles m ON m.id = b.member_id",
        &[],
    )?;
    let held: HashSet<(Uuid, Uuid, String, String)> =
        rows.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3))).collect();
    let mut due = HashSet::new();
    for (_, account) in world.numbered().into_iter().filter(|(_, a)| a.kind == CardKind::Enterprise) {
        for member in &account.members {
            let role = if *member == account.owner { "admin" } else { "member" };
            due.insert((account.card(), *member, role.to_owned(), "active".to_owned()));
        }
    }
    for own in &world.own {
        due.insert((world.hot_enterprise(0).1.card(), own.floater, "member".to_owned(), "active".to_owned()));
    }
    let wrong = held.symmetric_difference(&due).map(|row| format!("{row:?}")).collect();
    report.check("every binding, role and member's status is what was answered", wrong);
    Ok(())
}

/// The statements of the hot cards, page by page, hold every movement once.
fn statements(world: &World, db: &mut Client, rows: &[Row], report: &mut Report) -> Result<(), postgres::Error> {
    const PAGE: i32 = 200;
    let mut wrong = vec![];
    for n in 0..2 {
        for (_, account) in [world.hot_personal(n), world.hot_enterprise(n)] {
            for (card, card_no) in account.cards.read().expect("not poisoned").iter() {
                let mut seen: HashSet<String> = HashSet::new();
                let (mut before, mut twice): (Option<String>, usize) = (None, 0);
                loop {
                    let page = db.query(
                        "SELECT tx_no FROM app.card_statement($1, $2, $3, $4)",
                        &[card, &account.kind.label(), &before, &PAGE],
                    )?;
                    let Some(last) = page.last() else { break };
                    before = Some(last.get(0));
                    twice += page.iter().filter(|row| !seen.insert(row.get(0))).count();
                }
                let due: HashSet<String> = rows
                    .iter()
                    .filter(|row| row.card == *card && (row.status == "completed" || row.kind == Kind::Payment))
                    .map(|row| row.tx_no.clone())
                    .collect();
                if seen != due || twice > 0 {
                    wrong.push(format!("{card_no}: {} of {} movements, {twice} twice", seen.len(), due.len()));
                }
            }
        }
    }
    report.check("statements of the hot cards, page by page, hold every movement once", wrong);
    Ok(())
}
