//! `app.point_ledger`.

use crate::engine::db::Db;
use crate::engine::direct::Table;
use crate::engine::param::p;
use crate::engine::types::{Timestamp, Uuid};
use mps_domain::month::Month;

/// One change of points.
#[derive(Debug)]
pub struct PointEntry<'a> {
    pub card_id: Uuid,
    pub point_seq: i64,
    pub at: Timestamp,
    pub change: i64,
    pub balance_after: i64,
    pub level: i16,
    pub tx_no: Option<&'a str>,
    pub reason: Option<&'a str>,
}

static TABLE: Table = Table {
    schema: c"app",
    name: "point_ledger_{m}",
    columns: &["card_id", "point_seq", "created_at", "change", "balance_after", "level", "tx_no", "reason"],
    asserted: &[],
};

pub fn insert(db: &Db, month: Month, e: &PointEntry) {
    assert!(e.change != 0 && e.point_seq > 0);
    assert_eq!(Month::of(e.at.0), Some(month));
    db.insert(
        &TABLE,
        Some(month),
        &[p(e.card_id), p(e.point_seq), p(e.at), p(e.change), p(e.balance_after), p(e.level), p(e.tx_no), p(e.reason)],
    );
}

/// Change, points and level of an earlier entry.
pub fn find(db: &Db, month: Month, card: Uuid, point_seq: i64) -> Option<(i64, i64, i16)> {
    db.row_in(
        month,
        "SELECT l.change, l.balance_after, l.level FROM app.point_ledger_{m} l WHERE l.card_id = $1 AND l.point_seq = $2",
        &[p(card), p(point_seq)],
        |r| (r.get(1), r.get(2), r.get(3)),
    )
}
