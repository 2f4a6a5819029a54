//! `audit.declare_restore`: that the database was put back to an earlier point, where the server does not show it by itself.

use crate::engine::param::p;
use crate::engine::types::Text;
use crate::features::receipts::trees::MOVEMENTS;
use crate::features::receipts::{alone, heads};
use crate::kernel::args;
use crate::kernel::call::maintain;
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn declare_restore(p_reason: Option<Text>) -> bool {
    maintain(|call| {
        let reason = args::reason(p_reason)?;
        call.open_month()?;
        alone(call)?;
        if heads::newest(call.db).is_none() {
            return Err(Error::new(Token::StatusConflict, "no head was ever signed: nobody has a receipt"));
        }
        let noted = call.db.run(
            "UPDATE audit.trees SET restore_why = $2 WHERE tree = $1 AND restore_why IS NULL",
            &[p(MOVEMENTS), p(reason)],
        ) == 1;
        if noted {
            call.audit("restore.declared", "database", "mps", json!({ "reason": reason }));
        }
        Ok(noted)
    })
}
