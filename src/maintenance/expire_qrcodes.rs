//! `app.expire_qrcodes`.

use super::{BATCH_ROWS, batch, place};
use crate::caller::parse_uuid;
use crate::error::{Error, Token};
use crate::store::sweep;
use crate::store::types::Uuid;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn expire_qrcodes_batch(p_after: Option<&str>) -> Option<String> {
    batch("expire_qrcodes", p_after, |call, after| {
        // Personal cards first, by id, then the bindings, by card and member.
        let (stage, at) = after.unwrap_or("1:").split_once(':').unwrap_or(("1", ""));
        match place::<u8>(stage)? {
            1 => {
                let from = if at.is_empty() { Uuid::from_bytes([0; 16]) } else { id(at)? };
                let (last, changed) = sweep::forget_personal_codes(call.db, call.at, from, BATCH_ROWS);
                Ok((Some(last.map_or("2:".to_owned(), |id| format!("1:{id}"))), changed))
            }
            _ => {
                let from = if at.is_empty() { Uuid::from_bytes([0; 16]) } else { id(at)? };
                let (last, changed) = sweep::forget_binding_codes(call.db, call.at, from, BATCH_ROWS);
                Ok((last.map(|id| format!("2:{id}")), changed))
            }
        }
    })
}

fn id(text: &str) -> crate::error::Result<Uuid> {
    parse_uuid(text).ok_or_else(|| Error::new(Token::InvalidArgument, "p_after is what the batch before returned"))
}
