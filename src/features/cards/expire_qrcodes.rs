//! `app.expire_qrcodes`.

use crate::engine::param::p;
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::batch::{BATCH_ROWS, batch, place};
use crate::kernel::caller::parse_uuid;
use crate::kernel::months::Open;
use mps_domain::error::{Error, Result, Token};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn expire_qrcodes_batch(p_after: Option<&str>) -> Option<String> {
    batch("expire_qrcodes", p_after, |call, open, after| {
        // Personal cards first, by id, then the bindings, by card and member.
        let (stage, at) = after.unwrap_or("1:").split_once(':').unwrap_or(("1", ""));
        match place::<u8>(stage)? {
            1 => {
                let from = if at.is_empty() { Uuid::from_bytes([0; 16]) } else { id(at)? };
                let (last, changed) = forget_personal_codes(open, call.at, from, BATCH_ROWS);
                Ok((Some(last.map_or("2:".to_owned(), |id| format!("1:{id}"))), changed))
            }
            _ => {
                let from = if at.is_empty() { Uuid::from_bytes([0; 16]) } else { id(at)? };
                let (last, changed) = forget_binding_codes(open, call.at, from, BATCH_ROWS);
                Ok((last.map(|id| format!("2:{id}")), changed))
            }
        }
    })
}

fn id(text: &str) -> Result<Uuid> {
    parse_uuid(text).ok_or_else(|| Error::new(Token::InvalidArgument, "p_after is what the batch before returned"))
}

/// Forgets ended codes among the next personal cards after `from`; returns the last card looked at (`None`: there was
/// none) and how many were forgotten. A card that is in use just now is left for the next run.
fn forget_personal_codes(open: Open, at: Timestamp, from: Uuid, limit: i64) -> (Option<Uuid>, i64) {
    let last = open.row(
        "SELECT c.id FROM (SELECT d.id FROM app.personal_cards d WHERE d.id > $1 ORDER BY d.id LIMIT $2) c ORDER BY c.id DESC LIMIT 1",
        &[p(from), p(limit)],
        |r| r.get::<Uuid>(1),
    );
    let Some(to) = last else {
        return (None, 0);
    };
    let changed = open.run(
        "UPDATE app.personal_cards c SET qr_hash = NULL, qr_expires_at = NULL FROM ( \
            SELECT d.id FROM app.personal_cards d WHERE d.id > $1 AND d.id <= $2 AND d.qr_expires_at <= $3 \
            ORDER BY d.id FOR NO KEY UPDATE SKIP LOCKED) due WHERE c.id = due.id",
        &[p(from), p(to), p(at)],
    );
    (Some(to), changed as i64)
}

/// As [`forget_personal_codes`], for the codes of bindings, by card; all bindings of a card at once.
fn forget_binding_codes(open: Open, at: Timestamp, from: Uuid, limit: i64) -> (Option<Uuid>, i64) {
    let last = open.row(
        "SELECT c.id FROM (SELECT d.id FROM app.enterprise_cards d WHERE d.id > $1 ORDER BY d.id LIMIT $2) c ORDER BY c.id DESC LIMIT 1",
        &[p(from), p(limit)],
        |r| r.get::<Uuid>(1),
    );
    let Some(to) = last else {
        return (None, 0);
    };
    let changed = open.run(
        "UPDATE app.enterprise_card_bindings b SET qr_hash = NULL, qr_expires_at = NULL FROM ( \
            SELECT d.enterprise_card_id, d.member_id FROM app.enterprise_card_bindings d \
            WHERE d.enterprise_card_id > $1 AND d.enterprise_card_id <= $2 AND d.qr_expires_at <= $3 \
            ORDER BY d.enterprise_card_id, d.member_id FOR NO KEY UPDATE SKIP LOCKED) due \
         WHERE b.enterprise_card_id = due.enterprise_card_id AND b.member_id = due.member_id",
        &[p(from), p(to), p(at)],
    );
    (Some(to), changed as i64)
}
