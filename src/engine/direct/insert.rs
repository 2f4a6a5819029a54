//! Inserting a row: what COPY does. Besides what the module asks: no triggers of an INSERT but those for older releases, no
//! CHECK, no generated columns, no columns of a user's. The partition's own constraint is skipped: the callers assert that the
//! month is the row's.

use super::table::{ForOlderReleases, Table, close, computes_columns, open, open_target, primary_key};
use crate::engine::param::Param;
use mps_domain::month::Month;
use pgrx::PgTupleDesc;
use pgrx::pg_sys::{self, Datum, Oid, Relation};

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    Done,
    /// A committed row has the same primary key (or one of this transaction); nothing was inserted.
    Conflict,
    /// Nothing was done: only the statement does this right.
    ByStatement,
}

/// What to do about a row that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// It is an error.
    Required,
    /// As INSERT ... ON CONFLICT (its primary key) DO NOTHING: others' rows in flight are waited for. Another unique index, a
    /// user's own, raises its error.
    OrNothing,
}

/// Inserts one row.
pub fn insert(table: &Table, month: Option<Month>, values: &[Param], unique: Unique) -> Inserted {
    // SAFETY: the relation is used only between its opening and its closing, with the lock of an INSERT, and the values are the caller's
    // and outlive the call. An ERROR inside leaves the clean-up to the server, and unwinds through plain values only.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(c"INSERT".as_ptr());
        // ON CONFLICT reads the key.
        let reading = if unique == Unique::Required { 0 } else { pg_sys::ACL_SELECT };
        let Some(relation) = open(table, month, pg_sys::RowExclusiveLock, pg_sys::ACL_INSERT | reading) else {
            return Inserted::ByStatement;
        };
        let outcome = if is_plain(relation, values) { put(relation, values, unique) } else { Inserted::ByStatement };
        close(relation);
        outcome
    }
}

/// Whether there is nothing else to do about a row that is inserted.
///
/// # Safety
/// The relation is open.
unsafe fn is_plain(relation: Relation, values: &[Param]) -> bool {
    let ours = ForOlderReleases::known();
    // SAFETY: nothing below looks into a catalog, so that what triggers and columns are described in stays; `ours` has looked before.
    // `trigdesc` and `constr` are NULL where there are none, and `numtriggers` counts the triggers.
    unsafe {
        if let Some(t) = (*relation).trigdesc.as_ref()
            && (t.trig_insert_before_row
                || t.trig_insert_after_row
                || t.trig_insert_instead_row
                || t.trig_insert_before_statement
                || t.trig_insert_after_statement
                || t.trig_insert_new_table)
            && !(0..t.numtriggers as usize)
                .map(|i| &*t.triggers.add(i))
                .all(|trigger| trigger.tgtype as u32 & pg_sys::TRIGGER_TYPE_INSERT == 0 || ours.has(trigger))
        {
            return false;
        }
        let desc = (*relation).rd_att;
        if (*desc).constr.as_ref().is_some_and(|c| c.num_check != 0) || computes_columns(relation) {
            return false;
        }
        let columns = PgTupleDesc::from_pg_unchecked(desc);
        columns.len() == values.len()
            && columns.iter().zip(values).all(|(attribute, value)| {
                value.fits(attribute.atttypid, attribute.atttypmod)
                    && !(attribute.attnotnull && value.datum().is_none())
            })
    }
}

/// # Safety
/// The relation is open with the lock of an INSERT, and [`is_plain`] for these values.
unsafe fn put(relation: Relation, values: &[Param], unique: Unique) -> Inserted {
    let or_nothing = unique == Unique::OrNothing;
    // SAFETY: a plain table has as many columns as there are values, all of their types, so that the slot's arrays are filled in full and
    // not beyond. The row is formed from them before the values can go. Slot, indexes and executor state end before the relation.
    unsafe {
        let arbiters = if or_nothing {
            let key = primary_key(relation);
            if key == Oid::INVALID {
                return Inserted::ByStatement;
            }
            pg_sys::lappend_oid(std::ptr::null_mut(), key)
        } else {
            std::ptr::null_mut()
        };
        let estate = pg_sys::CreateExecutorState();
        let target = open_target(relation, or_nothing);

        let slot = pg_sys::table_slot_create(relation, std::ptr::null_mut());
        for (i, value) in values.iter().enumerate() {
            *(*slot).tts_values.add(i) = value.datum().unwrap_or(Datum::from(0usize));
            *(*slot).tts_isnull.add(i) = value.datum().is_none();
        }
        pg_sys::ExecStoreVirtualTuple(slot);
        (*slot).tts_tableOid = (*relation).rd_id;

        let outcome = if or_nothing {
            put_or_nothing(relation, target, slot, estate, arbiters)
        } else {
            pg_sys::simple_table_tuple_insert(relation, slot);
            insert_index_entries(target, slot, estate, arbiters);
            Inserted::Done
        };

        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::ExecCloseIndices(target);
        pg_sys::FreeExecutorState(estate);
        outcome
    }
}

/// Inserts the row unless an arbiter has its key: speculatively, as the executor does. Nobody is waited for with the row in
/// place, and one that lost to somebody's is gone at once for everybody: whoever met it waits for its token, not for this
/// transaction.
///
/// # Safety
/// The target is of the relation, with its indexes open for ON CONFLICT; the slot holds a row for it; the arbiters are oids of its
/// indexes. All of them outlive the call.
unsafe fn put_or_nothing(
    relation: Relation,
    target: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
    arbiters: *mut pg_sys::List,
) -> Inserted {
    // SAFETY: what the caller promises, in the executor's order: the token is held from before the row is in place until it is confirmed
    // or taken back. Where the row is, the server notes in the slot.
    unsafe {
        while no_conflict(target, slot, estate, arbiters) {
            let transaction = pg_sys::GetCurrentTransactionId();
            let token = pg_sys::SpeculativeInsertionLockAcquire(transaction);
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::table_tuple_insert_speculative(relation, slot, command, 0, std::ptr::null_mut(), token);
            // Somebody may have put the same key in between the look and the entry.
            let is_first = !insert_index_entries(target, slot, estate, arbiters);
            pg_sys::table_tuple_complete_speculative(relation, slot, token, is_first);
            pg_sys::SpeculativeInsertionLockRelease(transaction);
            if is_first {
                return Inserted::Done;
            }
        }
        Inserted::Conflict
    }
}

/// Whether no arbiter has a live entry with the row's key; waits for those in flight.
///
/// # Safety
/// As [`put_or_nothing`].
unsafe fn no_conflict(
    target: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
    arbiters: *mut pg_sys::List,
) -> bool {
    let mut found = pg_sys::ItemPointerData::default();
    // SAFETY: what the caller promises. `found` is only written to. The slot's own place, which PostgreSQL 18 leaves out of account, is
    // none, or that of a row that we took back.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::ExecCheckIndexConstraints(target, slot, estate, &mut found, arbiters);
        #[cfg(feature = "pg18")]
        return pg_sys::ExecCheckIndexConstraints(target, slot, estate, &mut found, &raw mut (*slot).tts_tid, arbiters);
    }
}

/// Makes the row's index entries. Returns whether an arbiter has another row with its key; in any other unique index that is
/// an error.
///
/// # Safety
/// As [`put_or_nothing`], after the row was written, so that the slot has its place; no arbiters, if the indexes were not opened for
/// ON CONFLICT.
unsafe fn insert_index_entries(
    target: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
    arbiters: *mut pg_sys::List,
) -> bool {
    // Without arbiters every unique index is taken for one, so that must not be asked for.
    let or_nothing = !arbiters.is_null();
    let mut conflict = false;
    let told = if or_nothing { &raw mut conflict } else { std::ptr::null_mut() };
    // SAFETY: what the caller promises. The server writes to `told` during the call, and only where it was asked for conflicts, which is
    // where that is not NULL.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::ExecInsertIndexTuples(target, slot, estate, false, or_nothing, told, arbiters);
        #[cfg(not(feature = "pg15"))]
        pg_sys::ExecInsertIndexTuples(target, slot, estate, false, or_nothing, told, arbiters, false);
    }
    conflict
}
