//! Updating one row of a version that was read: what an UPDATE does whose condition is that version. Besides what the module
//! asks: no triggers of an UPDATE but those for older releases and those of foreign keys, whose columns must stay as they are; no
//! CHECK but those that the caller has asserted; no generated columns. A partition's own constraint is skipped: the columns that
//! pick it never change.

use super::table::{Change, ForOlderReleases, Table, close, computes_columns, open, open_target};
use crate::engine::row::RowVersion;
use mps_domain::month::Month;
use pgrx::PgTupleDesc;
use pgrx::pg_sys::{self, Datum, Oid, Relation, TupleTableSlot};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// It is this version now.
    Done(RowVersion),
    /// The row is not as it was read, or somebody is about to change it; nothing was written.
    Changed,
    /// Nothing was done: only the statement does this right.
    ByStatement,
}

/// Changes columns of the row that was read as `version`. Only under READ COMMITTED: what others changed meanwhile is told, not
/// an error. A row that this transaction has not locked is not waited for.
pub fn update(
    table: &Table,
    month: Option<Month>,
    version: RowVersion,
    is_locked: bool,
    changes: &[Change],
) -> Updated {
    // SAFETY: relation, snapshot and slots are used only between their opening and their closing, with the lock of an UPDATE, and the
    // values are the caller's and outlive the call. An ERROR inside leaves the clean-up to the server, and unwinds through plain
    // values only.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(c"UPDATE".as_ptr());
        let Some(relation) = open(table, month, pg_sys::RowExclusiveLock, pg_sys::ACL_SELECT | pg_sys::ACL_UPDATE)
        else {
            return Updated::ByStatement;
        };
        let outcome = if is_plain(relation, table, changes) {
            pg_sys::CheckCmdReplicaIdentity(relation, pg_sys::CmdType::CMD_UPDATE);
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let (old, new) = (new_slot(relation), new_slot(relation));
            let outcome = put(relation, table, version, is_locked, changes, old, new);
            pg_sys::ExecDropSingleTupleTableSlot(new);
            pg_sys::ExecDropSingleTupleTableSlot(old);
            pg_sys::PopActiveSnapshot();
            outcome
        } else {
            Updated::ByStatement
        };
        close(relation);
        outcome
    }
}

/// # Safety
/// The relation is open, and the slot is dropped before it is closed.
unsafe fn new_slot(relation: Relation) -> *mut TupleTableSlot {
    // SAFETY: the slot holds a reference to the columns' description. It is in no list, so that whoever has it drops it.
    unsafe { pg_sys::table_slot_create(relation, std::ptr::null_mut()) }
}

/// Whether there is nothing else to do about a row that is updated, but to look at foreign keys ([`moves_no_key`]).
///
/// # Safety
/// The relation is open.
unsafe fn is_plain(relation: Relation, table: &Table, changes: &[Change]) -> bool {
    // SAFETY: `trigdesc` is NULL or there; it and the columns are done with before anything looks into a catalog, which only the CHECKs do.
    unsafe {
        if computes_columns(relation) {
            return false;
        }
        if let Some(t) = (*relation).trigdesc.as_ref()
            && (t.trig_update_before_row
                || t.trig_update_instead_row
                || t.trig_update_before_statement
                || t.trig_update_after_statement
                || t.trig_update_old_table
                || t.trig_update_new_table)
        {
            return false;
        }
        let columns = PgTupleDesc::from_pg_unchecked((*relation).rd_att);
        changes.iter().all(|(column, value)| {
            let attribute = columns.get(table.position(column));
            attribute.is_some_and(|attribute| value.fits(attribute.atttypid, attribute.atttypmod))
        }) && checks_are_asserted(relation, table)
    }
}

thread_local! {
    /// Whether conditions of CHECKs, as they are stored, are asserted ones: what they say does not change.
    static ASSERTED: RefCell<HashMap<(usize, CString), bool>> = RefCell::new(HashMap::new());
}

/// Whether every CHECK is one of those that the caller has asserted, and holds for the rows that were there before it.
///
/// # Safety
/// The relation is open.
unsafe fn checks_are_asserted(relation: Relation, table: &Table) -> bool {
    // SAFETY: `constr` is NULL or part of `rd_att`, and has `num_check` CHECKs, whose texts end with a NUL. To write one out is to look
    // into catalogs: if the description is read anew there, this one is kept until the transaction ends.
    unsafe {
        let Some(constraints) = (*(*relation).rd_att).constr.as_ref() else { return true };
        (0..usize::from(constraints.num_check)).all(|i| {
            let check = &*constraints.check.add(i);
            if !check.ccvalid {
                return false;
            }
            let stored = CStr::from_ptr(check.ccbin);
            let check = (std::ptr::from_ref(table) as usize, stored.to_owned());
            if let Some(known) = ASSERTED.with_borrow(|a| a.get(&check).copied()) {
                return known;
            }
            let is_asserted = table.asserted.contains(&written(stored, (*relation).rd_id).as_str());
            ASSERTED.with_borrow_mut(|a| a.insert(check, is_asserted));
            is_asserted
        })
    }
}

/// A stored condition as the server writes it.
fn written(stored: &CStr, relation: Oid) -> String {
    // SAFETY: the arguments are those of pg_get_expr(pg_node_tree, oid), the first of which is stored like a text; both end with the call's
    // memory. What is no condition, or of no table, is an ERROR or NULL.
    unsafe {
        let tree = pg_sys::cstring_to_text(stored.as_ptr());
        pgrx::direct_function_call::<String>(
            pg_sys::pg_get_expr,
            &[Some(Datum::from(tree)), Some(Datum::from(relation))],
        )
        .unwrap_or_default()
    }
}

/// The update proper, of a relation that is plain.
///
/// # Safety
/// The relation is open with the lock of an UPDATE, and [`is_plain`] for these changes; a snapshot is active; `old` and `new` are empty
/// slots of the relation, and `old` is cleared after `new`.
unsafe fn put(
    relation: Relation,
    table: &Table,
    version: RowVersion,
    is_locked: bool,
    changes: &[Change],
    old: *mut TupleTableSlot,
    new: *mut TupleTableSlot,
) -> Updated {
    // SAFETY: the slots' arrays are as long as the table has columns, which stay as many under its lock; every position is among them.
    // What `new` takes from `old` lies in the page that `old` pins as long as `new` has it; what changes is of the columns' types.
    unsafe {
        let (snapshot, mut place) = (pg_sys::GetActiveSnapshot(), version.place.pointer());
        // Whoever has changed it and committed has left another version to be seen.
        let is_there = pg_sys::table_tuple_fetch_row_version(relation, &mut place, snapshot, old);
        if !is_there || !version.is_of(old) {
            return Updated::Changed;
        }
        pg_sys::slot_getallattrs(old);
        let width = (*(*relation).rd_att).natts as usize;
        std::ptr::copy_nonoverlapping((*old).tts_values, (*new).tts_values, width);
        std::ptr::copy_nonoverlapping((*old).tts_isnull, (*new).tts_isnull, width);
        for (column, value) in changes {
            let i = table.position(column);
            *(*new).tts_values.add(i) = value.datum().unwrap_or(Datum::from(0usize));
            *(*new).tts_isnull.add(i) = value.datum().is_none();
        }
        let columns = PgTupleDesc::from_pg_unchecked((*relation).rd_att);
        for (i, attribute) in columns.iter().enumerate() {
            let is_null = &mut *(*new).tts_isnull.add(i);
            // What a dropped column held goes with the first update after it.
            *is_null |= attribute.attisdropped;
            if *is_null && attribute.attnotnull {
                return Updated::ByStatement;
            }
        }
        pg_sys::ExecStoreVirtualTuple(new);
        (*new).tts_tableOid = (*relation).rd_id;
        if !moves_no_key(relation, old, new) {
            return Updated::ByStatement;
        }

        let (mut failure, mut indexes) = (pg_sys::TM_FailureData::default(), Default::default());
        let mut lock_mode = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
        let result = pg_sys::table_tuple_update(
            relation,
            &mut place,
            new,
            pg_sys::GetCurrentCommandId(true),
            snapshot,
            std::ptr::null_mut(),
            // Who waited could find more changed than the row. Our own lock counts as somebody's who is waited for.
            is_locked,
            &mut failure,
            &mut lock_mode,
            &mut indexes,
        );
        match result {
            pg_sys::TM_Result::TM_Ok => {}
            pg_sys::TM_Result::TM_Updated | pg_sys::TM_Result::TM_Deleted | pg_sys::TM_Result::TM_BeingModified => {
                return Updated::Changed;
            }
            other => panic!("a row that was just seen cannot be updated: {other}"),
        }
        if needs_index_entries(indexes) {
            insert_index_entries(relation, new, indexes);
        }
        Updated::Done(RowVersion::just_written(new))
    }
}

#[cfg(feature = "pg15")]
type Indexes = bool;
#[cfg(not(feature = "pg15"))]
type Indexes = pg_sys::TU_UpdateIndexes::Type;

#[cfg(feature = "pg15")]
fn needs_index_entries(indexes: Indexes) -> bool {
    indexes
}

#[cfg(not(feature = "pg15"))]
fn needs_index_entries(indexes: Indexes) -> bool {
    indexes != pg_sys::TU_UpdateIndexes::TU_None
}

/// Makes the index entries of a version that did not stay on its page, or whose indexed columns (a user's index) changed.
///
/// # Safety
/// The relation is open with the lock of an UPDATE; the slot holds a row that was just written to it, with its place.
unsafe fn insert_index_entries(relation: Relation, slot: *mut TupleTableSlot, indexes: Indexes) {
    let (no_flag, no_arbiters) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: state and open indexes are made here and end here, before the relation is closed. The flag may be NULL where nobody asks for
    // conflicts.
    unsafe {
        let estate = pg_sys::CreateExecutorState();
        let target = open_target(relation, false);
        #[cfg(feature = "pg15")]
        {
            let _ = indexes;
            pg_sys::ExecInsertIndexTuples(target, slot, estate, true, false, no_flag, no_arbiters);
        }
        #[cfg(not(feature = "pg15"))]
        {
            let summarizing = indexes == pg_sys::TU_UpdateIndexes::TU_Summarizing;
            pg_sys::ExecInsertIndexTuples(target, slot, estate, true, false, no_flag, no_arbiters, summarizing);
        }
        pg_sys::ExecCloseIndices(target);
        pg_sys::FreeExecutorState(estate);
    }
}

/// Whether the triggers that run after the update of a row are those for older releases and of foreign keys, and none of them
/// has anything to do.
///
/// # Safety
/// The relation is open with the lock of an UPDATE, under which no trigger comes or goes. `old` holds a row of it as it is in its page,
/// and `new` what that is to become.
unsafe fn moves_no_key(relation: Relation, old: *mut TupleTableSlot, new: *mut TupleTableSlot) -> bool {
    let ours = ForOlderReleases::known();
    // SAFETY: `trigdesc` is NULL or has `numtriggers` triggers, and no reference into it is held while a key is looked at. The server gets
    // a copy of one, of which it reads numbers and, in one message, the name.
    unsafe {
        let count = match (*relation).trigdesc.as_ref() {
            Some(t) if t.trig_update_after_row => t.numtriggers as usize,
            _ => return true,
        };
        (0..count).all(|i| {
            // Each from the description as it is now: looking at a key can have the server read it anew. What it says does not
            // change under the lock.
            let mut trigger = *(*(*relation).trigdesc).triggers.add(i);
            if trigger.tgtype as u32 & pg_sys::TRIGGER_TYPE_UPDATE == 0 {
                return true;
            }
            // What it points to can go with the description that it was copied from.
            trigger.tgname = c"of a foreign key".as_ptr().cast_mut();
            match pg_sys::RI_FKey_trigger_type(trigger.tgfoid) as u32 {
                pg_sys::RI_TRIGGER_PK => !pg_sys::RI_FKey_pk_upd_check_required(&mut trigger, relation, old, new),
                pg_sys::RI_TRIGGER_FK => !pg_sys::RI_FKey_fk_upd_check_required(&mut trigger, relation, old, new),
                _ => ours.has(&trigger),
            }
        })
    }
}
