//! `app.business_day`, its inverse `app.business_day_start`, and the trigger that has the rules of days follow the settings.

use crate::engine::db::Db;
use crate::engine::server::{self, Raise};
use crate::engine::types::{Day, Timestamp};
use crate::kernel::{caller, days, settings, shadows, soundness};
use mps_domain::error;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn business_day(p_at: Timestamp) -> Day {
    // Called for each row of a report, whose rows come day by day.
    days::known(p_at).unwrap_or_else(|| as_owner(|| Db::read(|db| sound(db, || days::of(db, p_at)))))
}

#[pg_extern(sql = false)]
fn business_day_start(p_day: Day) -> Timestamp {
    as_owner(|| Db::read(|db| sound(db, || days::start_of(db, p_day))))
}

#[pg_trigger(sql = false)]
fn business_day_changed_trigger<'a>(
    _: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, PgTriggerError> {
    as_owner(|| {
        shadows::write(|db| days::follow_settings(db, server::now()));
        Ok(())
    });
    Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
}

/// As every RPC: not of tables whose rows are hidden, nor of those of another release.
fn sound<T>(db: &Db, work: impl FnOnce() -> error::Result<T>) -> error::Result<T> {
    soundness::ensure(db)?;
    settings::config(db)?;
    work()
}

fn as_owner<T>(work: impl FnOnce() -> error::Result<T>) -> T {
    let done = caller::whole_extension().and_then(|levels| server::as_role(levels.owner, work));
    done.unwrap_or_else(|error| error.raise())
}
