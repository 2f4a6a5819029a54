//! `app.point_ledger`.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::record::record;
use crate::engine::types::{Timestamp, Uuid};
use mps_domain::month::Month;

record! {
    /// One change of points.
    #[derive(Debug)]
    pub struct PointEntry<'a> in static TABLE: c"app", "point_ledger_{m}";
    columns {
        card_id: Uuid,
        point_seq: i64,
        created_at: Timestamp,
        change: i64,
        balance_after: i64,
        level: i16,
        tx_no: Option<&'a str>,
        reason: Option<&'a str>,
    }
    inserted by values;
}

pub fn insert(db: &Db, month: Month, e: &PointEntry) {
    assert!(e.change != 0 && e.point_seq > 0);
    assert_eq!(Month::of(e.created_at.0), Some(month));
    db.insert(&TABLE, Some(month), &e.values(db));
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
