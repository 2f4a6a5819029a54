//! Finding one row by a unique index: what an index scan does. Besides what the module asks: that the index is there by its
//! name, whole, and equal to the statement in what it calls equal.

use super::{Table, close, open};
use crate::store::row::Row;
use crate::store::spi::Param;
use pgrx::PgTupleDesc;
use pgrx::pg_sys::{self, Datum, Oid, Relation};
use std::ffi::CStr;

/// A way to at most one row of a table.
pub struct Path {
    pub table: &'static Table,
    pub index: &'static CStr,
    /// The columns that the index is on.
    pub key: &'static [&'static str],
}

/// Longest key of a path.
const MAX_KEY: usize = 2;

impl Path {
    /// The statement that finds the row: the table's columns in their order, and then its version.
    pub fn statement(&self) -> String {
        let conditions: Vec<String> = (1..).zip(self.key).map(|(n, column)| format!("{column} = ${n}")).collect();
        let columns = self.table.columns.join(", ");
        format!("SELECT {columns}, xmin FROM {} WHERE {}", self.table.qualified(), conditions.join(" AND "))
    }
}

#[derive(Debug)]
pub enum Found<T> {
    Row(T),
    Nothing,
    /// Nothing was done: only the statement does this right.
    ByStatement,
}

/// Reads the row that a key names, as a statement that begins now would see it; or, for a STABLE function (`read_only`), as
/// its caller's statement does.
pub fn find<T>(path: &Path, key: &[Param], read_only: bool, read: impl FnOnce(&Row) -> T) -> Found<T> {
    assert!(key.len() == path.key.len() && key.len() <= MAX_KEY);
    // SAFETY: relations, snapshot and scan are used only between here and their closing. An ERROR inside leaves the clean-up
    // to the server, and unwinds through plain values only; `read` gets a row that lives as long as its call.
    unsafe {
        let Some(relation) = open(path.table, None, pg_sys::AccessShareLock) else { return Found::ByStatement };
        let found = match open_index(path, relation, key) {
            None => Found::ByStatement,
            Some((index, scan_keys)) => {
                if !read_only {
                    pg_sys::CommandCounterIncrement();
                    pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
                }
                let found = scan(relation, index, scan_keys, key.len(), read);
                if !read_only {
                    pg_sys::PopActiveSnapshot();
                }
                pg_sys::index_close(index, pg_sys::NoLock as i32);
                found.map_or(Found::Nothing, Found::Row)
            }
        };
        close(relation);
        found
    }
}

type ScanKeys = [pg_sys::ScanKeyData; MAX_KEY];

/// The index, locked like the table, and what to look for in it.
unsafe fn open_index(path: &Path, relation: Relation, key: &[Param]) -> Option<(Relation, ScanKeys)> {
    unsafe {
        // After the table's lock, under which an index can neither appear by this name nor go.
        let oid = pg_sys::get_relname_relid(path.index.as_ptr(), (*(*relation).rd_rel).relnamespace);
        let is_index = oid != Oid::INVALID && pg_sys::get_rel_relkind(oid) as u8 == pg_sys::RELKIND_INDEX;
        if !is_index {
            return None;
        }
        let index = pg_sys::index_open(oid, pg_sys::AccessShareLock as i32);
        let keys = scan_keys(path, relation, index, key);
        if keys.is_none() {
            pg_sys::index_close(index, pg_sys::NoLock as i32);
        }
        Some((index, keys?))
    }
}

/// What to look for in an index; `None` where the planner would not have it for these conditions.
unsafe fn scan_keys(path: &Path, relation: Relation, index: Relation, key: &[Param]) -> Option<ScanKeys> {
    unsafe {
        let about = &*(*index).rd_index;
        let usable = about.indrelid == (*relation).rd_id
            && (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
            && about.indisunique
            && about.indimmediate
            && about.indisvalid
            && !about.indcheckxmin
            && usize::from(about.indnkeyatts.unsigned_abs()) == key.len()
            && has_no_predicate(index);
        if !usable {
            return None;
        }
        let columns = PgTupleDesc::from_pg_unchecked((*relation).rd_att);
        let mut keys = ScanKeys::default();
        for (i, (value, column)) in key.iter().zip(path.key).enumerate() {
            let position = path.table.position(column);
            let attribute = columns.get(position)?;
            let operator_type = *(*index).rd_opcintype.add(i);
            let collation = *(*index).rd_indcollation.add(i);
            let number = i32::from(*about.indkey.values.as_ptr().add(i));
            if number != position as i32 + 1
                || attribute.atttypid != value.oid()
                || operator_type != value.oid()
                || collation != attribute.attcollation
            {
                return None;
            }
            let operator = pg_sys::get_opfamily_member(
                *(*index).rd_opfamily.add(i),
                operator_type,
                operator_type,
                pg_sys::BTEqualStrategyNumber as i16,
            );
            let procedure = pg_sys::get_opcode(operator);
            if procedure == Oid::INVALID {
                return None;
            }
            let (flags, datum) = match value.datum() {
                Some(datum) => (0, datum),
                // Equal to nothing.
                None => (pg_sys::SK_ISNULL as i32, Datum::from(0usize)),
            };
            pg_sys::ScanKeyEntryInitialize(
                &mut keys[i],
                flags,
                i as i16 + 1,
                pg_sys::BTEqualStrategyNumber as u16,
                Oid::INVALID,
                collation,
                procedure,
                datum,
            );
        }
        Some(keys)
    }
}

unsafe fn has_no_predicate(index: Relation) -> bool {
    unsafe {
        pg_sys::heap_attisnull((*index).rd_indextuple, pg_sys::Anum_pg_index_indpred as i32, std::ptr::null_mut())
    }
}

unsafe fn scan<T>(
    relation: Relation,
    index: Relation,
    mut keys: ScanKeys,
    key_len: usize,
    read: impl FnOnce(&Row) -> T,
) -> Option<T> {
    unsafe {
        let slot = pg_sys::table_slot_create(relation, std::ptr::null_mut());
        let snapshot = pg_sys::GetActiveSnapshot();
        let nkeys = key_len as i32;
        #[cfg(not(feature = "pg18"))]
        let scan = pg_sys::index_beginscan(relation, index, snapshot, nkeys, 0);
        #[cfg(feature = "pg18")]
        let scan = pg_sys::index_beginscan(relation, index, snapshot, std::ptr::null_mut(), nkeys, 0);
        pg_sys::index_rescan(scan, keys.as_mut_ptr(), nkeys, std::ptr::null_mut(), 0);
        let found = pg_sys::index_getnext_slot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot);
        let result = found.then(|| read(&Row::of_slot(slot)));
        pg_sys::index_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        result
    }
}
