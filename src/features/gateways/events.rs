//! `app.gateway_events`: every callback, with what was signed, so that it can be proved again; and `app.gateway_tallies`: how often
//! the same was refused, or came again, so that nobody fills a disk by sending.

use super::effect::{Effect, Outcome};
use super::refused::Refused;
use super::told::Notice;
use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::record::record;
use crate::engine::types::{RawJsonb, Timestamp};
use crate::kernel::call::Call;
use crate::kernel::months::Open;
use mps_domain::error::Result;
use mps_domain::money::Money;

/// What is kept of a body that nobody has signed: enough to see what it is.
const UNSIGNED_BODY_BYTES: usize = 2048;
/// What is tallied: what came again.
const REPEATED: &str = "repeated";

record! {
    struct Event<'a> in static TABLE: c"app", "gateway_events_{m}";
    columns {
        id: i64,
        received_at: Timestamp,
        happened_at: Option<Timestamp>,
        amount: Option<Money>,
        verified: bool,
        account: &'a str,
        provider: &'a str,
        kind: Option<&'a str>,
        event_key: Option<&'a str>,
        key_id: Option<&'a str>,
        outcome: &'a str,
        reason: Option<&'a str>,
        tx_no: Option<&'a str>,
        trade_no: Option<&'a str>,
        out_trade_no: Option<&'a str>,
        headers: RawJsonb,
        body: &'a [u8],
    }
    inserted by values;
}

/// A callback as it came.
pub struct Received<'a> {
    pub account: &'a str,
    pub provider: &'a str,
    /// Those that were signed.
    pub headers: RawJsonb,
    pub body: &'a [u8],
}

pub fn next_id(db: &Db) -> i64 {
    db.row("SELECT pg_catalog.nextval('app.gateway_event_id_seq')", &[], |r| r.get(1)).expect("one row")
}

/// Notes a callback that was refused: the first of its kind in an hour whole, of the others their number.
pub fn note_refused(call: &Call, received: &Received, refused: &Refused) -> Result<()> {
    let open = call.open_month()?;
    let id = next_id(call.db);
    if !tally(open, call.at, received.account, refused.reason, id) {
        return Ok(());
    }
    let is_signed = refused.key_id.is_some();
    let kept = if is_signed { received.body.len() } else { received.body.len().min(UNSIGNED_BODY_BYTES) };
    let event = Event {
        id,
        received_at: call.at,
        happened_at: None,
        amount: None,
        verified: is_signed,
        account: received.account,
        provider: received.provider,
        kind: None,
        event_key: None,
        key_id: refused.key_id.as_deref(),
        outcome: Outcome::Refused.label(),
        reason: Some(refused.reason),
        tx_no: None,
        trade_no: None,
        out_trade_no: None,
        headers: received.headers.clone(),
        body: &received.body[..kept],
    };
    call.db.insert(&TABLE, Some(call.month), &event.values(call.db));
    Ok(())
}

/// Notes a callback that was taken. One that changed nothing and came before is only counted.
pub fn note(call: &Call, id: i64, received: &Received, notice: &Notice, effect: &Effect) -> Result<()> {
    let open = call.open_month()?;
    let changed = matches!(effect.outcome, Outcome::Credited | Outcome::Suspense | Outcome::Failed);
    if !changed && came_before(call, received.account, &notice.event_key, effect) {
        tally(open, call.at, received.account, REPEATED, id);
        return Ok(());
    }
    let event = Event {
        id,
        received_at: call.at,
        happened_at: notice.happened_at,
        amount: notice.amount,
        verified: true,
        account: received.account,
        provider: received.provider,
        kind: Some(notice.kind()),
        event_key: Some(&notice.event_key),
        key_id: Some(&notice.key_id),
        outcome: effect.outcome.label(),
        reason: effect.reason.as_deref(),
        tx_no: effect.tx_no.as_deref(),
        trade_no: notice.trade_no.as_deref(),
        out_trade_no: notice.out_trade_no.as_deref(),
        headers: received.headers.clone(),
        body: received.body,
    };
    call.db.insert(&TABLE, Some(call.month), &event.values(call.db));
    Ok(())
}

/// Whether it came and did the same, or nothing is left to do. Gateways repeat for some 25 hours; what comes later is written down once
/// more.
fn came_before(call: &Call, account: &str, event_key: &str, effect: &Effect) -> bool {
    const DAYS_MICROS: i64 = 2 * mps_domain::month::DAY_MICROS;
    let sql = "SELECT EXISTS (SELECT FROM app.gateway_events e \
               WHERE e.event_key = $1 AND e.account = $2 AND e.received_at >= $3 AND e.received_at <= $4 \
                 AND ($5 = 'replayed' OR e.outcome = $5 AND e.reason IS NOT DISTINCT FROM $6))";
    let since = Timestamp(call.at.0 - DAYS_MICROS);
    let did = [p(effect.outcome.label()), p(effect.reason.as_deref())];
    let args = [p(event_key), p(account), p(since), p(call.at), did[0], did[1]];
    call.db.row(sql, &args, |r| r.get(1)).unwrap_or(false)
}

/// Counts one of a kind; whether it is the first of its hour. Waits for nobody: where others who have not ended hold all rows of
/// the kind, it has one of its own, so there are never more of them than calls had not ended at once, and the sum is exact.
fn tally(open: Open, at: Timestamp, account: &str, kind: &str, id: i64) -> bool {
    const HOUR_MICROS: i64 = 3_600_000_000;
    let hour = Timestamp(at.0 - at.0.rem_euclid(HOUR_MICROS));
    let args = [p(account), p(hour), p(kind), p(at), p(id)];
    let add = "UPDATE app.gateway_tallies t SET callbacks = t.callbacks + 1, last_at = greatest(t.last_at, $4) \
               WHERE t.account = $1 AND t.hour = $2 AND t.kind = $3 AND t.first_event = ( \
                   SELECT f.first_event FROM app.gateway_tallies f WHERE f.account = $1 AND f.hour = $2 AND f.kind = $3 \
                   ORDER BY f.first_event LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)";
    if open.run(add, &args[..4]) > 0 {
        return false;
    }
    let begin = "INSERT INTO app.gateway_tallies AS t (account, hour, kind, callbacks, last_at, first_event) \
                 VALUES ($1, $2, $3, 1, $4, $5) \
                 RETURNING NOT EXISTS (SELECT FROM app.gateway_tallies o WHERE o.account = $1 AND o.hour = $2 AND o.kind = $3)";
    open.row(begin, &args, |r| r.get(1)).unwrap_or(false)
}
