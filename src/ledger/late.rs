//! `app.late_postings`: transactions that were posted in another month than the one that they were asked for in, which is where
//! they lie. With them, what was posted in a month is found without looking into any other.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::record::record;
use crate::engine::types::{Timestamp, Uuid};
use crate::ledger::tx::{Place, Tx};
use mps_domain::month::Month;
use mps_domain::tx_no::TxId;

record! {
    struct LatePosting in static TABLE: c"app", "late_postings";
    columns {
        tx_id: TxId,
        merchant_id: Option<i32>,
        card_id: Uuid,
        member_id: Option<Uuid>,
        created_at: Timestamp,
        posted_at: Timestamp,
    }
    inserted by values;
}

/// Notes a transaction that has just been posted, if it is one of them.
pub fn note(db: &Db, tx: &Tx) {
    let Some(posted_at) = tx.posted_at else { return };
    if Month::of(posted_at.0) != Some(tx.id.month()) {
        let late = LatePosting {
            tx_id: tx.id,
            merchant_id: tx.merchant_id,
            card_id: tx.card_id,
            member_id: tx.member_id,
            created_at: tx.created_at,
            posted_at,
        };
        db.insert(&TABLE, None, &late.values(db));
    }
}

/// Those of a merchant in a range, the newest first: where they stand among its lines.
pub fn of_merchant(db: &Db, merchant: i32, from: Timestamp, before: Place, limit: i64) -> Vec<Place> {
    db.rows(
        "SELECT l.posted_at, l.tx_id FROM app.late_postings l \
         WHERE l.merchant_id = $1 AND l.posted_at >= $2 AND l.posted_at <= $3 AND (l.posted_at < $3 OR l.tx_id < $4) \
               AND NOT EXISTS (SELECT FROM app.archived_months a \
                               WHERE a.month = pg_catalog.date_trunc('month', l.created_at AT TIME ZONE 'UTC')::date) \
         ORDER BY l.posted_at DESC, l.tx_id DESC LIMIT $5",
        &[p(merchant), p(from), p(before.at), p(before.id), p(limit)],
        |r| Place { at: r.get(1), id: r.get::<i64>(2) },
    )
}

/// Those of a card by a member in a range, the newest first.
pub fn of_card(db: &Db, card: Uuid, member: Uuid, from: Timestamp, before: Place, limit: i64) -> Vec<Place> {
    db.rows(
        "SELECT l.posted_at, l.tx_id FROM app.late_postings l \
         WHERE l.card_id = $1 AND l.posted_at >= $2 AND l.posted_at <= $3 AND (l.posted_at < $3 OR l.tx_id < $4) \
               AND l.member_id = $6 AND NOT EXISTS (SELECT FROM app.archived_months a \
                               WHERE a.month = pg_catalog.date_trunc('month', l.created_at AT TIME ZONE 'UTC')::date) \
         ORDER BY l.posted_at DESC, l.tx_id DESC LIMIT $5",
        &[p(card), p(from), p(before.at), p(before.id), p(limit), p(member)],
        |r| Place { at: r.get(1), id: r.get::<i64>(2) },
    )
}

/// When a transaction was posted, if it is one of them; also where its month is archived.
pub fn posted_at(db: &Db, id: TxId) -> Option<Timestamp> {
    db.row("SELECT l.posted_at FROM app.late_postings l WHERE l.tx_id = $1", &[p(id.raw())], |r| r.get(1))
}

/// Whether one of a card was posted after a moment and by another, and is archived.
pub fn any_archived_of_card(db: &Db, card: Uuid, after: Timestamp, by: Timestamp) -> bool {
    db.row(
        "SELECT EXISTS (SELECT FROM app.late_postings l \
            JOIN app.archived_months a ON a.month = pg_catalog.date_trunc('month', l.created_at AT TIME ZONE 'UTC')::date \
            WHERE l.card_id = $1 AND l.posted_at > $2 AND l.posted_at <= $3)",
        &[p(card), p(after), p(by)],
        |r| r.get(1),
    )
    .unwrap_or(false)
}
