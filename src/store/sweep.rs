//! Statements of the maintenance batches: many rows, bounded.

use super::spi::{Db, p};
use super::types::{Timestamp, Uuid};
use mps_domain::card::CardType;
use mps_domain::money::Discount;
use mps_domain::tier::Level;
use mps_domain::tx_no::TxId;

/// Notes a batch of a job.
pub fn note_run(db: &Db, job: &str, first: bool, last: bool, rows: i64) {
    db.run(
        "INSERT INTO app.job_runs AS j (job, started_at, finished_at, rows_done) \
         VALUES ($1, pg_catalog.clock_timestamp(), CASE WHEN $3 THEN pg_catalog.clock_timestamp() END, $4) \
         ON CONFLICT (job) DO UPDATE SET finished_at = excluded.finished_at, \
                started_at = CASE WHEN $2 THEN excluded.started_at ELSE j.started_at END, \
                rows_done = CASE WHEN $2 THEN excluded.rows_done ELSE j.rows_done + excluded.rows_done END",
        &[p(job), p(first), p(last), p(rows)],
    );
}

/// Expires active cards of one kind that are due, by id; returns their numbers.
pub fn expire_cards(db: &Db, card_type: CardType, at: Timestamp, limit: i64) -> Vec<String> {
    let sql = match card_type {
        CardType::Personal => {
            "UPDATE app.personal_cards c SET status = 'expired' FROM ( \
                SELECT d.id FROM app.personal_cards d WHERE d.status = 'active' AND d.expires_at <= $1 \
                ORDER BY d.id LIMIT $2 FOR NO KEY UPDATE) due WHERE c.id = due.id RETURNING c.card_no"
        }
        CardType::Enterprise => {
            "UPDATE app.enterprise_cards c SET status = 'expired' FROM ( \
                SELECT d.id FROM app.enterprise_cards d WHERE d.status = 'active' AND d.expires_at <= $1 \
                ORDER BY d.id LIMIT $2 FOR NO KEY UPDATE) due WHERE c.id = due.id RETURNING c.card_no"
        }
    };
    db.rows(sql, &[p(at), p(limit)], |r| r.text(1))
}

/// Forgets ended codes among the next personal cards after `from`; returns the last card looked at (`None`: there was
/// none) and how many were forgotten. A card that is in use just now is left for the next run.
pub fn forget_personal_codes(db: &Db, at: Timestamp, from: Uuid, limit: i64) -> (Option<Uuid>, i64) {
    let last = db.row(
        "SELECT c.id FROM (SELECT d.id FROM app.personal_cards d WHERE d.id > $1 ORDER BY d.id LIMIT $2) c ORDER BY c.id DESC LIMIT 1",
        &[p(from), p(limit)],
        |r| r.get::<Uuid>(1),
    );
    let Some(to) = last else {
        return (None, 0);
    };
    let changed = db.run(
        "UPDATE app.personal_cards c SET qr_hash = NULL, qr_expires_at = NULL FROM ( \
            SELECT d.id FROM app.personal_cards d WHERE d.id > $1 AND d.id <= $2 AND d.qr_expires_at <= $3 \
            ORDER BY d.id FOR NO KEY UPDATE SKIP LOCKED) due WHERE c.id = due.id",
        &[p(from), p(to), p(at)],
    );
    (Some(to), changed as i64)
}

/// As [`forget_personal_codes`], for the codes of bindings, by card; all bindings of a card at once.
pub fn forget_binding_codes(db: &Db, at: Timestamp, from: Uuid, limit: i64) -> (Option<Uuid>, i64) {
    let last = db.row(
        "SELECT c.id FROM (SELECT d.id FROM app.enterprise_cards d WHERE d.id > $1 ORDER BY d.id LIMIT $2) c ORDER BY c.id DESC LIMIT 1",
        &[p(from), p(limit)],
        |r| r.get::<Uuid>(1),
    );
    let Some(to) = last else {
        return (None, 0);
    };
    let changed = db.run(
        "UPDATE app.enterprise_card_bindings b SET qr_hash = NULL, qr_expires_at = NULL FROM ( \
            SELECT d.enterprise_card_id, d.member_id FROM app.enterprise_card_bindings d \
            WHERE d.enterprise_card_id > $1 AND d.enterprise_card_id <= $2 AND d.qr_expires_at <= $3 \
            ORDER BY d.enterprise_card_id, d.member_id FOR NO KEY UPDATE SKIP LOCKED) due \
         WHERE b.enterprise_card_id = due.enterprise_card_id AND b.member_id = due.member_id",
        &[p(from), p(to), p(at)],
    );
    (Some(to), changed as i64)
}

/// Recharges that have waited since before a moment, oldest first.
pub fn waiting_recharges(db: &Db, asked_before: Timestamp, limit: i64) -> Vec<TxId> {
    db.rows(
        "SELECT t.id FROM app.transactions t WHERE t.status = 'processing' AND t.created_at < $1 ORDER BY t.created_at LIMIT $2",
        &[p(asked_before), p(limit)],
        |r| TxId::from_raw(r.get(1)).expect("ids are ours"),
    )
}

/// How many pages the larger of the two tables of keys has.
pub fn key_pages(db: &Db) -> i64 {
    db.row(
        "SELECT greatest(pg_catalog.pg_relation_size('app.idempotency_keys'), pg_catalog.pg_relation_size('app.external_orders')) \
                / pg_catalog.current_setting('block_size')::bigint",
        &[],
        |r| r.get(1),
    )
    .unwrap_or(0)
}

/// Forgets keys, and payment orders, of transactions below an id, on the pages from `from` to before `to`.
pub fn forget_keys(db: &Db, below: i64, from: i64, to: i64) -> i64 {
    let range = [p(below), p(format!("({from},0)")), p(format!("({to},0)"))];
    let keys = db.run(
        "DELETE FROM app.idempotency_keys k WHERE k.ctid >= $2::text::tid AND k.ctid < $3::text::tid AND k.ref_id < $1",
        &range,
    );
    let orders = db.run(
        "DELETE FROM app.external_orders o WHERE o.ctid >= $2::text::tid AND o.ctid < $3::text::tid AND o.tx_id < $1 AND o.scope = 1",
        &range,
    );
    (keys + orders) as i64
}

/// What the level of a card depends on.
pub struct LeveledCard {
    pub id: Uuid,
    pub points: i64,
    pub level: i16,
    pub discount: Discount,
}

/// Locks the next cards after `from`, by id.
pub fn lock_levels(db: &Db, from: Uuid, limit: i64) -> Vec<LeveledCard> {
    db.rows(
        "SELECT c.id, c.points, c.level, c.discount FROM app.personal_cards c WHERE c.id > $1 ORDER BY c.id LIMIT $2 FOR NO KEY UPDATE",
        &[p(from), p(limit)],
        |r| LeveledCard { id: r.get(1), points: r.get(2), level: r.get(3), discount: r.get(4) },
    )
}

/// Sets the level that a card's points have; returns whether it did. Whoever has changed the points since (a trigger that calls
/// RPCs) has set the level with them.
pub fn set_level(db: &Db, card: &LeveledCard, level: Level) -> bool {
    db.run(
        "UPDATE app.personal_cards SET level = $2, discount = $3 WHERE id = $1 AND points = $4",
        &[p(card.id), p(level.level), p(level.discount), p(card.points)],
    ) == 1
}
