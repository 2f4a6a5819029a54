//! `audit.event_log`.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::record::record;
use crate::engine::sequences::{self, Sequence};
use crate::engine::types::{RawJsonb, Timestamp, Uuid};
use mps_domain::month::Month;

record! {
    /// One event.
    #[derive(Debug)]
    pub struct Event<'a> in static TABLE: c"audit", "event_log_{m}";
    columns {
        id = |_: &Event| sequences::next(Sequence::EventId),
        happened_at: Timestamp,
        actor_user_id: Option<Uuid>,
        actor_role: &'a str,
        action: &'a str,
        object_type: &'a str,
        object_id: &'a str,
        /// A JSON object.
        context: RawJsonb,
    }
    inserted by values;
}

/// Writes an event. A payload goes into its context as it is, under `payload`: numbers of somebody else's keep all their digits.
pub fn record(db: &Db, month: Month, mut event: Event, payload: Option<RawJsonb>) {
    assert_eq!(Month::of(event.happened_at.0), Some(month));
    if let Some(payload) = payload {
        let both = [p(event.context), p(payload)];
        event.context =
            db.row("SELECT $1 || pg_catalog.jsonb_build_object('payload', $2)", &both, |r| r.get(1)).expect("one row");
    }
    db.insert(&TABLE, Some(month), &event.values(db));
}
