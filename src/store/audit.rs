//! `audit.event_log`.

use super::cache::{self, Sequence};
use super::spi::{Db, p};
use super::types::{RawJsonb, Timestamp, Uuid};
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

pub fn record(db: &Db, month: Month, e: Event) {
    db.run_in(
        month,
        "INSERT INTO audit.event_log_{m} (id, happened_at, actor_user_id, actor_role, action, object_type, object_id, context) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $9 IS NULL THEN $8::text::jsonb ELSE $8::text::jsonb || pg_catalog.jsonb_build_object('payload', $9) END)",
        &[
            p(cache::next(Sequence::EventId)),
            p(e.at),
            p(e.actor_user_id),
            p(e.actor_role),
            p(e.action),
            p(e.object_type),
            p(e.object_id),
            p(e.context),
            p(e.payload),
        ],
    );
}
