//! `app.set_mode`: turns read_only on and off; and what the SQL parts ask of the mode.

use crate::engine::server::{self, Raise};
use crate::engine::types::{Text, Timestamp};
use crate::kernel::call::maintain_in_any_mode;
use crate::kernel::{args, mode, settings, shadows};
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn set_mode(
    p_mode: Option<Text>,
    p_reason: Option<Text>,
) -> TableIterator<
    'static,
    (name!(mode, String), name!(since, Option<Timestamp>), name!(reason, Option<String>), name!(changed, bool)),
> {
    let set = maintain_in_any_mode(|call| {
        let asked = args::label(p_mode, "p_mode")?;
        let reason = match asked {
            "read_only" => Some(args::reason(p_reason)?),
            "normal" => args::optional_reason(p_reason)?,
            _ => return Err(Error::new(Token::InvalidArgument, "p_mode is normal or read_only")),
        };
        let set = mode::change(call.db, asked, reason);
        if set.changed {
            call.open_month()?;
            call.audit("mode.set", "mode", &set.mode, json!({ "reason": reason }));
        }
        Ok((set.mode, set.since, set.reason, set.changed))
    });
    TableIterator::once(set)
}

/// For the SQL parts that write, as their owner.
#[pg_extern(sql = false)]
fn refuse_read_only() {
    mode::lock_log();
    server::accept_invalidations();
    shadows::write(|db| settings::config(db)?.mode.ensure_writable()).unwrap_or_else(|refused| refused.raise());
}

#[pg_extern(sql = false)]
fn announce_mode() {
    if let Some(table) = mode::table() {
        server::announce_now(table);
    }
}
