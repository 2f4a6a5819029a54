//! Finding one row by a unique index, and locking it: what an index scan does, and SELECT ... FOR NO KEY UPDATE. Besides what
//! the module asks: that the index is there by its name, whole, and equal to the statement in what it calls equal.

use super::table::{Table, close, close_released, name_in, open};
use crate::engine::param::Param;
use crate::engine::row::Row;
use mps_domain::month::Month;
use pgrx::PgTupleDesc;
use pgrx::pg_sys::{self, Datum, Oid, Relation, TupleTableSlot};

/// A way to at most one row of a table.
pub struct Path {
    pub table: &'static Table,
    /// With [`super::table::PLACEHOLDER`] in place of a month.
    pub index: &'static str,
    /// The columns that the index is on.
    pub key: &'static [&'static str],
}

/// Longest key of a path.
const MAX_KEY: usize = 3;

/// What becomes of a new row whose key is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is an error.
    Refused,
    /// It is not inserted.
    Left,
    /// The row that is there gets its value of this column.
    Changed(&'static str),
}

impl Path {
    /// The statement that inserts one row of parameters in these columns.
    pub fn insertion(&self, columns: &[&str], taken: Taken) -> String {
        let (insertion, key) = (self.table.insertion(columns), self.key.join(", "));
        match taken {
            Taken::Refused => insertion,
            Taken::Left => format!("{insertion} ON CONFLICT ({key}) DO NOTHING"),
            Taken::Changed(column) => {
                format!("{insertion} ON CONFLICT ({key}) DO UPDATE SET {column} = excluded.{column}")
            }
        }
    }

    /// The statement that finds the row: the table's columns in their order, and then its version.
    pub fn statement(&self, lock: bool) -> String {
        let (columns, table) = (self.table.columns.join(", "), self.table.qualified());
        let lock = if lock { " FOR NO KEY UPDATE" } else { "" };
        format!("SELECT {columns}, ctid, xmin FROM {table} WHERE {}{lock}", assigned(self.key, 1).join(" AND "))
    }

    /// The statement that changes columns of one version of the row, and says which one that made. Parameters are the key, the
    /// version and the columns.
    pub fn update(&self, columns: &[&str]) -> String {
        let (table, n) = (self.table.qualified(), self.key.len());
        let conditions = assigned(&[self.key, &["ctid", "xmin"]].concat(), 1).join(" AND ");
        let changes = assigned(columns, n + 3).join(", ");
        format!("UPDATE {table} SET {changes} WHERE {conditions} RETURNING ctid, xmin")
    }
}

/// Columns, each with the parameter of its number.
fn assigned(columns: &[&str], first: usize) -> Vec<String> {
    (first..).zip(columns).map(|(n, column)| format!("{column} = ${n}")).collect()
}

/// What is wanted of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To see it as the statement sees it that the caller belongs to (a STABLE function's).
    Stable,
    /// To see it as a statement would that begins now.
    Look,
    /// To have it, as it is by then, until the transaction ends; those who have it are waited for. Only under READ COMMITTED.
    Lock,
}

#[derive(Debug)]
pub enum Found<T> {
    Row(T),
    Nothing,
    /// Only the statement does this right. (A row may be locked already, which does not hinder it.)
    ByStatement,
}

/// Reads the row that a key names.
pub fn find<T>(
    path: &Path,
    month: Option<Month>,
    key: &[Param],
    access: Access,
    read: impl FnOnce(&Row) -> T,
) -> Found<T> {
    assert!(key.len() == path.key.len() && key.len() <= MAX_KEY);
    // SAFETY: relations, snapshot and scan are used only between here and their closing, and so are the keys, whose values are the
    // caller's and outlive the call. An ERROR inside leaves the clean-up to the server, and unwinds through plain values only.
    unsafe {
        let (mode, rights) = match access {
            Access::Lock => {
                pg_sys::PreventCommandIfReadOnly(c"SELECT FOR NO KEY UPDATE".as_ptr());
                (pg_sys::RowShareLock, pg_sys::ACL_SELECT | pg_sys::ACL_UPDATE)
            }
            Access::Stable | Access::Look => (pg_sys::AccessShareLock, pg_sys::ACL_SELECT),
        };
        let Some(relation) = open(path.table, month, mode, rights) else { return Found::ByStatement };
        let found = match open_index(path, month, relation, key) {
            None => Found::ByStatement,
            Some((index, mut scan_keys)) => {
                if access != Access::Stable {
                    pg_sys::CommandCounterIncrement();
                    pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
                }
                let found = scan(relation, index, &mut scan_keys[..key.len()], access, read);
                if access != Access::Stable {
                    pg_sys::PopActiveSnapshot();
                }
                // What only reads holds nothing, as the server does after reading a catalog: a page may look into many months.
                let kept = if access == Access::Stable { mode } else { pg_sys::NoLock };
                pg_sys::index_close(index, kept as i32);
                found
            }
        };
        if access == Access::Stable {
            close_released(relation, mode)
        } else {
            close(relation)
        }
        found
    }
}

type ScanKeys = [pg_sys::ScanKeyData; MAX_KEY];

/// The index, locked like the table, and what to look for in it.
///
/// # Safety
/// The relation is open. The index is closed before it, and the keys are used only while the index is open.
unsafe fn open_index(
    path: &Path,
    month: Option<Month>,
    relation: Relation,
    key: &[Param],
) -> Option<(Relation, ScanKeys)> {
    // SAFETY: the name outlives the look for it. What is opened is an index, as the server itself makes sure; that it is one of this
    // table is asked before it is used as such. Where nobody gets it, it is closed.
    unsafe {
        // After the table's lock, which keeps what has this name now in existence (REINDEX CONCURRENTLY and a new name leave it).
        let name = name_in(month, path.index);
        let oid = pg_sys::get_relname_relid(name.as_ptr(), (*(*relation).rd_rel).relnamespace);
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
///
/// # Safety
/// As [`open_index`], with the index open.
unsafe fn scan_keys(path: &Path, relation: Relation, index: Relation, key: &[Param]) -> Option<ScanKeys> {
    // SAFETY: every index has an `rd_index`, and nothing looks into a catalog while `about` refers to it. Entries count up to the
    // columns of the key, which are those of the index: compared just above them.
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
        let mut keys = ScanKeys::default();
        for (at, (value, column)) in key.iter().zip(path.key).enumerate() {
            let position = path.table.position(column);
            keys[at] = Entry { relation, index, at, position, strategy: pg_sys::BTEqualStrategyNumber }.key(value)?;
        }
        Some(keys)
    }
}

/// A column of an index, the column of the table that it must be of, and how it is to compare with a value.
pub(super) struct Entry {
    pub relation: Relation,
    pub index: Relation,
    /// Both count from 0.
    pub at: usize,
    pub position: usize,
    pub strategy: u32,
}

impl Entry {
    /// `None` where the planner would not have the index for this.
    ///
    /// # Safety
    /// The relation and its index are open, and the index has a column `at` that is of its key. The key that comes out holds the value's
    /// datum as it is: it is used while that lives.
    pub(super) unsafe fn key(&self, value: &Param) -> Option<pg_sys::ScanKeyData> {
        let Entry { relation, index, at, position, strategy } = *self;
        // SAFETY: `rd_opcintype`, `rd_indcollation` and `rd_opfamily` of an open index stay, and have an entry for each column of its
        // key. The attribute is read before anything looks into a catalog. A type's cached entry is never freed. The operator is one of
        // the family for this type, so that its function takes the datum, whose type is the same.
        unsafe {
            let columns = PgTupleDesc::from_pg_unchecked((*relation).rd_att);
            let attribute = columns.get(position)?;
            let operator_type = *(*index).rd_opcintype.add(at);
            let collation = *(*index).rd_indcollation.add(at);
            if i32::from(column_of(index, at)) != position as i32 + 1
                || attribute.atttypid != value.oid()
                || operator_type != value.oid()
                || collation != attribute.attcollation
            {
                return None;
            }
            let family = *(*index).rd_opfamily.add(at);
            let by = |strategy: u32| pg_sys::get_opfamily_member(family, operator_type, operator_type, strategy as i16);
            // A statement's `=`, whatever an operator class of somebody else calls equal.
            let equal = (*pg_sys::lookup_type_cache(operator_type, pg_sys::TYPECACHE_EQ_OPR as i32)).eq_opr;
            let operator = by(strategy);
            if operator == Oid::INVALID || by(pg_sys::BTEqualStrategyNumber) != equal {
                return None;
            }
            let procedure = pg_sys::get_opcode(operator);
            let (flags, datum) = match value.datum() {
                Some(datum) => (0, datum),
                // Equal to nothing.
                None => (pg_sys::SK_ISNULL as i32, Datum::from(0usize)),
            };
            let mut key = pg_sys::ScanKeyData::default();
            pg_sys::ScanKeyEntryInitialize(
                &mut key,
                flags,
                at as i16 + 1,
                strategy as u16,
                Oid::INVALID,
                collation,
                procedure,
                datum,
            );
            Some(key)
        }
    }
}

/// The number of the table's column that is the index's column `at`; 0 for an expression.
///
/// # Safety
/// The index is open and has such a column.
pub(super) unsafe fn column_of(index: Relation, at: usize) -> i16 {
    // SAFETY: as many numbers as the index has columns lie behind the head of the vector. It is reached from the pointer to the whole:
    // a reference to `values` would be one to nothing.
    unsafe { *(&raw const (*(*index).rd_index).indkey.values).cast::<i16>().add(at) }
}

/// # Safety
/// The index is open.
pub(super) unsafe fn has_no_predicate(index: Relation) -> bool {
    // SAFETY: every index has its row of pg_index in `rd_indextuple`; the server's own way to ask, which takes no description.
    unsafe {
        pg_sys::heap_attisnull((*index).rd_indextuple, pg_sys::Anum_pg_index_indpred as i32, std::ptr::null_mut())
    }
}

/// # Safety
/// Table and index are open, the keys are of this index, and a snapshot is active, which stays so.
unsafe fn scan<T>(
    relation: Relation,
    index: Relation,
    keys: &mut [pg_sys::ScanKeyData],
    access: Access,
    read: impl FnOnce(&Row) -> T,
) -> Found<T> {
    // SAFETY: the slot is of the table's kind, and pins the page of the row that it holds until it is dropped; `read` cannot keep the row
    // beyond its call. The scan copies the keys, and ends before what it reads is closed.
    unsafe {
        let slot = pg_sys::table_slot_create(relation, std::ptr::null_mut());
        let (snapshot, nkeys) = (pg_sys::GetActiveSnapshot(), keys.len() as i32);
        #[cfg(not(feature = "pg18"))]
        let scan = pg_sys::index_beginscan(relation, index, snapshot, nkeys, 0);
        #[cfg(feature = "pg18")]
        let scan = pg_sys::index_beginscan(relation, index, snapshot, std::ptr::null_mut(), nkeys, 0);
        pg_sys::index_rescan(scan, keys.as_mut_ptr(), nkeys, std::ptr::null_mut(), 0);
        let found = if !pg_sys::index_getnext_slot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot) {
            Found::Nothing
        } else if access == Access::Lock {
            lock(relation, slot, read)
        } else {
            Found::Row(read(&Row::of_slot(slot)))
        };
        pg_sys::index_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        found
    }
}

/// Locks the row that a slot holds.
///
/// # Safety
/// As [`scan`]; the slot holds a row of the table.
unsafe fn lock<T>(relation: Relation, seen: *mut TupleTableSlot, read: impl FnOnce(&Row) -> T) -> Found<T> {
    // SAFETY: the place is a copy, which the server moves along. Where it says that the lock was got, it has left the locked version in
    // our slot, which pins it for `read`; in all other cases the slot is only dropped.
    unsafe {
        let slot = pg_sys::table_slot_create(relation, std::ptr::null_mut());
        let mut place = (*seen).tts_tid;
        let mut failure = pg_sys::TM_FailureData::default();
        let result = pg_sys::table_tuple_lock(
            relation,
            &mut place,
            pg_sys::GetActiveSnapshot(),
            slot,
            pg_sys::GetCurrentCommandId(true),
            pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
            pg_sys::LockWaitPolicy::LockWaitBlock,
            (pg_sys::TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS | pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION) as u8,
            &mut failure,
        );
        let found = match result {
            // Another version than the one that was found: the statement asks whether it still has the key.
            pg_sys::TM_Result::TM_Ok if failure.traversed => Found::ByStatement,
            pg_sys::TM_Result::TM_Ok => Found::Row(read(&Row::of_slot(slot))),
            pg_sys::TM_Result::TM_Deleted | pg_sys::TM_Result::TM_SelfModified => Found::Nothing,
            other => panic!("a row that was just seen cannot be locked: {other}"),
        };
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        found
    }
}
