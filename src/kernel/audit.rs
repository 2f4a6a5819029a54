//! `audit.event_log`.

use crate::engine::db::Db;
use crate::engine::direct::Table;
use crate::engine::param::p;
use crate::engine::sequences::{self, Sequence};
use crate::engine::types::{RawJsonb, Timestamp, Uuid};
use mps_domain::month::Month;

/// One event. `context` is a JSON object, as text.
#[derive(Debug)]
pub struct Event<'a> {
    pub at: Timestamp,
    pub actor_user_id: Option<Uuid>,
    pub actor_role: &'a str,
    pub action: &'a str,
    pub object_type: &'a str,
    pub object_id: &'a str,
    pub context: String,
    /// Goes into the context as it is, under `payload`: numbers of somebody else's keep all their digits.
    pub payload: Option<RawJsonb>,
}

static TABLE: Table = Table {
    schema: c"audit",
    name: "event_log_{m}",
    columns: &["id", "happened_at", "actor_user_id", "actor_role", "action", "object_type", "object_id", "context"],
    asserted: &[],
};

pub fn record(db: &Db, month: Month, e: Event) {
    assert_eq!(Month::of(e.at.0), Some(month));
    let context = RawJsonb::parse(&e.context);
    let context = match e.payload {
        None => context,
        Some(payload) => db
            .row("SELECT $1 || pg_catalog.jsonb_build_object('payload', $2)", &[p(context), p(payload)], |r| r.get(1))
            .expect("one row"),
    };
    db.insert(
        &TABLE,
        Some(month),
        &[
            p(sequences::next(Sequence::EventId)),
            p(e.at),
            p(e.actor_user_id),
            p(e.actor_role),
            p(e.action),
            p(e.object_type),
            p(e.object_id),
            p(context),
        ],
    );
}
