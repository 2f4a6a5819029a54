//! Reading the newest rows of one value: what an index scan backward does, without planning it for each month. Besides what the
//! module asks: a whole index that begins with the two columns. The locks are given back at the end, as the server does after
//! reading a catalog: a page that looks into many months holds none of them.

use super::find::{Entry, column_of, has_no_predicate};
use super::table::{Table, close_released, open};
use crate::engine::param::{Param, p};
use crate::engine::row::Row;
use crate::engine::types::Timestamp;
use mps_domain::month::Month;
use pgrx::pg_sys::{self, Oid, Relation};

/// Rows of a table by the value of one column, in the order of another, which is a moment.
pub struct Series {
    pub table: &'static Table,
    pub of: &'static str,
    pub by: &'static str,
}

/// Which of them.
#[derive(Clone, Copy, Debug)]
pub enum Span {
    /// From the first moment to the second, both included; the newest first.
    Moments(Timestamp, Timestamp),
    /// Those without a moment.
    Never,
}

/// Gives rows to `take` until it wants no more. `false`: nothing was done, only a statement does this right.
pub fn newest(series: &Series, month: Month, of: Param, span: Span, mut take: impl FnMut(&Row) -> bool) -> bool {
    // SAFETY: relations and scan are used only between here and their closing, and so are the keys, whose values outlive this call.
    // An ERROR inside leaves the clean-up to the server, and unwinds through plain values only.
    unsafe {
        let (lock, rights) = (pg_sys::AccessShareLock, pg_sys::ACL_SELECT);
        let Some(relation) = open(series.table, Some(month), lock, rights) else { return false };
        let found = open_index(series, relation, &of, span);
        if let Some((index, mut keys, nkeys)) = found {
            scan(relation, index, &mut keys[..nkeys], &mut take);
            pg_sys::index_close(index, lock as i32);
        }
        close_released(relation, lock);
        found.is_some()
    }
}

const MAX_KEYS: usize = 3;

type Keys = [pg_sys::ScanKeyData; MAX_KEYS];

/// The first index that serves, whatever its name, and what to look for in it.
///
/// # Safety
/// The relation is open. The index is closed before it, and the keys are used only while the index is open.
unsafe fn open_index(series: &Series, relation: Relation, of: &Param, span: Span) -> Option<(Relation, Keys, usize)> {
    // SAFETY: the list is our copy, NIL or of oids. While our lock is on the table, nobody drops an index of it; each that nobody gets is
    // closed.
    unsafe {
        let list = pg_sys::RelationGetIndexList(relation);
        let count = if list.is_null() { 0 } else { (*list).length };
        for i in 0..count as usize {
            let index = pg_sys::index_open((*(*list).elements.add(i)).oid_value, pg_sys::AccessShareLock as i32);
            if let Some((keys, nkeys)) = keys(series, relation, index, of, span) {
                return Some((index, keys, nkeys));
            }
            pg_sys::index_close(index, pg_sys::AccessShareLock as i32);
        }
        None
    }
}

/// # Safety
/// As [`open_index`], with an index of the relation open.
unsafe fn keys(series: &Series, relation: Relation, index: Relation, of: &Param, span: Span) -> Option<(Keys, usize)> {
    // SAFETY: every index has an `rd_index`, and nothing looks into a catalog while `about` refers to it. Two columns are known to be
    // there before `rd_indoption`, which has an entry for each, and the entries are asked about them.
    unsafe {
        let about = &*(*index).rd_index;
        let usable = (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
            && about.indisvalid
            && !about.indcheckxmin
            && about.indnkeyatts >= 2
            // In the order that is asked for, without a moment last.
            && *(*index).rd_indoption == 0
            && *(*index).rd_indoption.add(1) == 0
            && is_whole_but_for_null(index);
        if !usable {
            return None;
        }
        let entry = |at: usize, column: &str, value: &Param, strategy: u32| {
            Entry { relation, index, at, position: series.table.position(column), strategy }.key(value)
        };
        let mut keys = Keys::default();
        keys[0] = entry(0, series.of, of, pg_sys::BTEqualStrategyNumber)?;
        let (from, to) = match span {
            Span::Moments(from, to) => (from, to),
            Span::Never => (Timestamp(0), Timestamp(0)),
        };
        keys[1] = entry(1, series.by, &p(from), pg_sys::BTGreaterEqualStrategyNumber)?;
        keys[2] = entry(1, series.by, &p(to), pg_sys::BTLessEqualStrategyNumber)?;
        if matches!(span, Span::Moments(..)) {
            return Some((keys, 3));
        }
        pg_sys::ScanKeyEntryInitialize(
            &mut keys[1],
            (pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL) as i32,
            2,
            0,
            Oid::INVALID,
            Oid::INVALID,
            Oid::INVALID,
            pg_sys::Datum::from(0usize),
        );
        Some((keys, 2))
    }
}

/// Whether an index has every row, or all but those where its first column is NULL, which nobody asks for.
///
/// # Safety
/// The index is open.
unsafe fn is_whole_but_for_null(index: Relation) -> bool {
    // SAFETY: the predicate is our copy, a list of nodes. Each is taken for what its tag says that it is, and nothing but the tag, with
    // which every node begins, is read before. An index has a first column.
    unsafe {
        if has_no_predicate(index) {
            return true;
        }
        let list = pg_sys::RelationGetIndexPredicate(index);
        if list.is_null() || (*list).length != 1 {
            return false;
        }
        let test = (*(*list).elements).ptr_value.cast::<pg_sys::NullTest>();
        if (*test).xpr.type_ != pg_sys::NodeTag::T_NullTest
            || (*test).nulltesttype != pg_sys::NullTestType::IS_NOT_NULL
            || (*test).argisrow
        {
            return false;
        }
        let column = (*test).arg.cast::<pg_sys::Var>();
        (*column).xpr.type_ == pg_sys::NodeTag::T_Var && (*column).varattno == column_of(index, 0)
    }
}

/// # Safety
/// Table and index are open, the keys are of this index, and a snapshot is active, which stays so.
unsafe fn scan(
    relation: Relation,
    index: Relation,
    keys: &mut [pg_sys::ScanKeyData],
    take: &mut impl FnMut(&Row) -> bool,
) {
    // SAFETY: the slot is of the table's kind, and pins the page of the row that it holds until it gets the next one or is dropped; `take`
    // cannot keep the row beyond its call. The scan copies the keys, and ends before what it reads is closed.
    unsafe {
        let slot = pg_sys::table_slot_create(relation, std::ptr::null_mut());
        let (snapshot, nkeys) = (pg_sys::GetActiveSnapshot(), keys.len() as i32);
        #[cfg(not(feature = "pg18"))]
        let scan = pg_sys::index_beginscan(relation, index, snapshot, nkeys, 0);
        #[cfg(feature = "pg18")]
        let scan = pg_sys::index_beginscan(relation, index, snapshot, std::ptr::null_mut(), nkeys, 0);
        pg_sys::index_rescan(scan, keys.as_mut_ptr(), nkeys, std::ptr::null_mut(), 0);
        while pg_sys::index_getnext_slot(scan, pg_sys::ScanDirection::BackwardScanDirection, slot) {
            if !take(&Row::of_slot(slot)) {
                break;
            }
        }
        pg_sys::index_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
    }
}
