//! `app.head_proof`: the newest head, and that it goes on from an earlier one.

use crate::engine::types::RawJsonb;
use crate::features::receipts::trees::{Kept, MOVEMENTS};
use crate::features::receipts::{heads, joined};
use crate::kernel::call::read;
use data_encoding::BASE64;
use mps_domain::error::{Error, Token};
use mps_domain::tree::{self, Hash};
use pgrx::prelude::*;
use serde_json::json;

/// More restores than a database sees, and still a short answer.
const MOST_RESTORES: i64 = 20;

#[pg_extern(sql = false)]
fn head_proof(p_head_no: Option<i64>) -> RawJsonb {
    read(|call| {
        call.caller.client()?;
        if p_head_no.is_some_and(|no| no < 1) {
            return Err(Error::new(Token::InvalidArgument, "p_head_no is the number of a head, from 1"));
        }
        let latest = heads::newest(call.db)
            .ok_or_else(|| Error::new(Token::StatusConflict, "no head is signed yet; audit.seal() does it"))?;
        let at = p_head_no.and_then(|no| heads::find(call.db, no));
        let path = at
            .as_ref()
            .filter(|at| 0 < at.leaves && at.leaves <= latest.leaves)
            .map(|at| joined(&tree::consistency(&mut Kept::<Hash>::of(call.db, MOVEMENTS), at.leaves, latest.leaves)));
        let answer = json!({
            "kind": "mps heads 1",
            "latest": latest.shown(),
            "at": at.as_ref().map(|head| head.shown()),
            "path": path,
            "restores": heads::restores(call.db, MOST_RESTORES).iter().map(|head| head.shown()).collect::<Vec<_>>(),
            "key": BASE64.encode(&latest.public_key),
        });
        Ok(RawJsonb::parse(&answer.to_string()))
    })
}
