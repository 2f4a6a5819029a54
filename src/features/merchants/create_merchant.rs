//! `app.create_merchant`: a merchant by code.

use crate::engine::types::Text;
use crate::kernel::call::write;
use crate::kernel::{args, merchants};
use mps_domain::error::{Error, Token};
use mps_domain::typed;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn create_merchant(
    p_code: Option<Text>,
    p_name: Option<Text>,
) -> TableIterator<'static, (name!(merchant_id, i32), name!(code, String))> {
    let made = write(|call| {
        call.caller.require_backend()?;
        let code = args::code(p_code, "p_code")?;
        let name = args::name(p_name, "p_name")?;
        call.open_month()?;
        let created = merchants::create(call.db, call.at, code, name);
        call.after_waiting()?;
        if let Some(id) = created {
            call.audit("merchant.created", "merchant", code, json!({ "merchant_id": id, "name": name }));
            return Ok((id, code.to_owned()));
        }
        match merchants::find(call.db, code, None) {
            // One that an older release made may have white space around it.
            Some(known) if typed::trimmed(&known.name) == name => Ok((known.id, code.to_owned())),
            _ => Err(Error::new(Token::StatusConflict, "the code belongs to another merchant")),
        }
    });
    TableIterator::once(made)
}
