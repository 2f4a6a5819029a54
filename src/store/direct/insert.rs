//! Inserting a row: what COPY does. Besides what the module asks: no triggers of an INSERT, no CHECK, no generated columns, no
//! columns of a user's. The partition's own constraint is skipped: the callers assert that the month is the row's.

use super::{Table, close, computes_columns, open, open_target, primary_key};
use crate::store::spi::Param;
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
    /// user's own, raises its error. The number stands for the key (a hash of
    /// it): who has the same goes one after the other from the look for the key to its entry. Otherwise two who both lost to
    /// a third would wait for each other, because a row that was taken back counts as in flight until its transaction ends.
    OrNothing(u32),
}

/// Inserts one row.
pub fn insert(table: &Table, month: Option<Month>, values: &[Param], unique: Unique) -> Inserted {
    // SAFETY: the relation is used only between its opening and its closing. An ERROR inside leaves the clean-up to the
    // server, and unwinds through plain values only.
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
unsafe fn is_plain(relation: Relation, values: &[Param]) -> bool {
    unsafe {
        if let Some(t) = (*relation).trigdesc.as_ref()
            && (t.trig_insert_before_row
                || t.trig_insert_after_row
                || t.trig_insert_instead_row
                || t.trig_insert_before_statement
                || t.trig_insert_after_statement
                || t.trig_insert_new_table)
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

unsafe fn put(relation: Relation, values: &[Param], unique: Unique) -> Inserted {
    let or_nothing = unique != Unique::Required;
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
        // Held for the insertion only. A lock on a page of the table, because no statement takes one: unlike an advisory
        // lock nobody can hold it up.
        if let Unique::OrNothing(key) = unique {
            pg_sys::LockPage(relation, key, pg_sys::ExclusiveLock as i32);
        }
        let estate = pg_sys::CreateExecutorState();
        let target = open_target(relation, or_nothing);

        let slot = pg_sys::table_slot_create(relation, std::ptr::null_mut());
        for (i, value) in values.iter().enumerate() {
            *(*slot).tts_values.add(i) = value.datum().unwrap_or(Datum::from(0usize));
            *(*slot).tts_isnull.add(i) = value.datum().is_none();
        }
        pg_sys::ExecStoreVirtualTuple(slot);
        (*slot).tts_tableOid = (*relation).rd_id;

        let outcome = loop {
            if or_nothing && !no_conflict(target, slot, estate, arbiters) {
                break Inserted::Conflict;
            }
            pg_sys::simple_table_tuple_insert(relation, slot);
            if !insert_index_entries(target, slot, estate, arbiters) {
                break Inserted::Done;
            }
            // Somebody's statement put the same key in between the look and the entry. The row goes again (only what an
            // earlier command made can be deleted), and whoever it was is waited for by the next look.
            pg_sys::CommandCounterIncrement();
            pg_sys::simple_table_tuple_delete(relation, &mut (*slot).tts_tid, pg_sys::GetActiveSnapshot());
        };

        if let Unique::OrNothing(key) = unique {
            pg_sys::UnlockPage(relation, key, pg_sys::ExclusiveLock as i32);
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::ExecCloseIndices(target);
        pg_sys::FreeExecutorState(estate);
        outcome
    }
}

/// Whether no arbiter has a live entry with the row's key; waits for those in flight.
unsafe fn no_conflict(
    target: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
    arbiters: *mut pg_sys::List,
) -> bool {
    let mut found = pg_sys::ItemPointerData::default();
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::ExecCheckIndexConstraints(target, slot, estate, &mut found, arbiters);
        #[cfg(feature = "pg18")]
        return pg_sys::ExecCheckIndexConstraints(target, slot, estate, &mut found, &mut (*slot).tts_tid, arbiters);
    }
}

/// Makes the row's index entries. Returns whether an arbiter has another row with its key; in any other unique index that is
/// an error.
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
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::ExecInsertIndexTuples(target, slot, estate, false, or_nothing, told, arbiters);
        #[cfg(not(feature = "pg15"))]
        pg_sys::ExecInsertIndexTuples(target, slot, estate, false, or_nothing, told, arbiters, false);
    }
    conflict
}
