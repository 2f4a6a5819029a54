//! `sec.config_changed`: the trigger on settings and levels that makes every backend read them anew.

use crate::engine::server;
use pgrx::prelude::*;

#[pg_trigger(sql = false)]
fn config_changed_trigger<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, PgTriggerError> {
    server::announce_change(trigger.relation()?.oid());
    Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
}
