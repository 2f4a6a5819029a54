//! One row, from a statement or straight from its page, and which version of it was read.

use crate::engine::param::{Param, p};
use crate::engine::types::{FromColumn, ToColumn};
use pgrx::itemptr::{item_pointer_get_both, item_pointer_set_all};
use pgrx::pg_sys::{self, Datum, Oid, TupleTableSlot};
use std::ffi::CStr;

/// One row of a result. Columns count from 1.
pub struct Row {
    desc: pg_sys::TupleDesc,
    source: Source,
}

enum Source {
    Tuple(pg_sys::HeapTuple),
    Slot(*mut TupleTableSlot),
}

impl Row {
    /// # Safety
    /// Both must live as long as the row.
    pub(in crate::engine) unsafe fn of_tuple(tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Row {
        Row { desc, source: Source::Tuple(tuple) }
    }

    /// # Safety
    /// The slot holds a row of a table, and lives and keeps it as long as the row.
    pub(in crate::engine) unsafe fn of_slot(slot: *mut TupleTableSlot) -> Row {
        // SAFETY: the caller promises a slot with a row in it. Its arrays are filled here, for all columns of its descriptor, which it
        // holds a reference to.
        unsafe {
            pg_sys::slot_getallattrs(slot);
            Row { desc: (*slot).tts_tupleDescriptor, source: Source::Slot(slot) }
        }
    }

    /// Column `n`, which must not be NULL.
    pub fn get<T: FromColumn>(&self, n: i32) -> T {
        self.opt(n).unwrap_or_else(|| panic!("column {n} is NULL"))
    }

    /// Column `n`.
    pub fn opt<T: FromColumn>(&self, n: i32) -> Option<T> {
        assert_eq!(self.type_of(n), T::oid(), "type of column {n}");
        // SAFETY: the datum is not NULL, of the type that was just compared, and lives as long as the row.
        self.datum(n).map(|datum| unsafe { T::from_column(datum) })
    }

    pub fn text(&self, n: i32) -> String {
        self.get::<String>(n)
    }

    /// The label in column `n`, which is of an enumeration and not NULL.
    pub fn label(&self, n: i32) -> String {
        // SAFETY: asks the catalog about a type; a value of an enumeration is the oid of a label.
        unsafe {
            assert!(pg_sys::type_is_enum(self.type_of(n)), "type of column {n}");
            let label = pgrx::direct_function_call::<&CStr>(pg_sys::enum_out, &[self.datum(n)]);
            label.unwrap_or_else(|| panic!("column {n} is NULL")).to_string_lossy().into_owned()
        }
    }

    /// Which version this is. Of a statement's row: what its last two columns, ctid and xmin, say.
    pub fn version(&self) -> RowVersion {
        // SAFETY: the row lives, and so does its description; a slot's row is one of a table, which has an xmin.
        unsafe {
            match self.source {
                Source::Tuple(_) => {
                    let xmin = (*self.desc).natts;
                    RowVersion { xmin: self.get::<Xid>(xmin).0, place: self.get::<Place>(xmin - 1) }
                }
                Source::Slot(slot) => RowVersion { xmin: xmin(slot), place: Place::of((*slot).tts_tid) },
            }
        }
    }

    fn type_of(&self, n: i32) -> Oid {
        // SAFETY: answers for any number, and InvalidOid where there is no such column.
        unsafe { pg_sys::SPI_gettypeid(self.desc, n) }
    }

    fn datum(&self, n: i32) -> Option<Datum> {
        let mut is_null = true;
        // SAFETY: the row lives; the arrays of a slot are as long as its descriptor.
        let datum = unsafe {
            match self.source {
                Source::Tuple(tuple) => pg_sys::SPI_getbinval(tuple, self.desc, n, &mut is_null),
                Source::Slot(slot) => {
                    assert!(n >= 1 && n <= (*self.desc).natts, "no column {n}");
                    let i = n as usize - 1;
                    is_null = *(*slot).tts_isnull.add(i);
                    *(*slot).tts_values.add(i)
                }
            }
        };
        (!is_null).then_some(datum)
    }
}

/// # Safety
/// The slot holds a row of a table.
unsafe fn xmin(slot: *mut TupleTableSlot) -> u32 {
    let mut is_null = false;
    // SAFETY: the caller's promise; every row of a table has an xmin, which is passed by value.
    let datum = unsafe { pg_sys::slot_getsysattr(slot, pg_sys::MinTransactionIdAttributeNumber, &mut is_null) };
    datum.value() as u32
}

/// Which version of a row was read or written: who made it, and where it lies. Two versions that one transaction makes have the
/// same xmin, but not the same place while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowVersion {
    pub(in crate::engine) xmin: u32,
    pub(in crate::engine) place: Place,
}

impl RowVersion {
    /// What this transaction has just written from a slot.
    ///
    /// # Safety
    /// The slot holds a row that was written to a table by this (sub)transaction.
    pub(in crate::engine) unsafe fn just_written(slot: *mut TupleTableSlot) -> RowVersion {
        // SAFETY: the caller's promise; who writes a row from a slot leaves its place there, and its xmin is the id of now.
        unsafe {
            RowVersion { xmin: pg_sys::GetCurrentTransactionId().into_inner(), place: Place::of((*slot).tts_tid) }
        }
    }

    /// Whether a slot holds this version.
    ///
    /// # Safety
    /// The slot holds a row of a table.
    pub(in crate::engine) unsafe fn is_of(self, slot: *mut TupleTableSlot) -> bool {
        // SAFETY: the caller's promise; who fills a slot from a table leaves the row's place there.
        unsafe { xmin(slot) == self.xmin && Place::of((*slot).tts_tid) == self.place }
    }

    /// Whether this transaction wrote it, which may yet be rolled back.
    pub fn is_ours(self) -> bool {
        // SAFETY: compares with the ids of the transaction that is running.
        unsafe { pg_sys::TransactionIdIsCurrentTransactionId(pg_sys::TransactionId::from_inner(self.xmin)) }
    }

    /// Its columns ctid and xmin, as parameters of a statement.
    pub(in crate::engine) fn params(self) -> [Param; 2] {
        [p(self.place), p(Xid(self.xmin))]
    }
}

/// Block and number of a row in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Place(pg_sys::BlockNumber, pg_sys::OffsetNumber);

impl Place {
    fn of(pointer: pg_sys::ItemPointerData) -> Place {
        let (block, offset) = item_pointer_get_both(pointer);
        Place(block, offset)
    }

    pub(in crate::engine) fn pointer(self) -> pg_sys::ItemPointerData {
        let mut pointer = pg_sys::ItemPointerData::default();
        item_pointer_set_all(&mut pointer, self.0, self.1);
        pointer
    }
}

// SAFETY: a tid is passed by reference.
unsafe impl ToColumn for Place {
    fn oid() -> Oid {
        pg_sys::TIDOID
    }

    fn into_column(self) -> Option<Datum> {
        // SAFETY: memory of the server's, as large as what is written to it.
        unsafe {
            let copy = pg_sys::palloc(size_of::<pg_sys::ItemPointerData>()).cast::<pg_sys::ItemPointerData>();
            copy.write(self.pointer());
            Some(Datum::from(copy))
        }
    }
}

impl FromColumn for Place {
    fn oid() -> Oid {
        pg_sys::TIDOID
    }

    unsafe fn from_column(datum: Datum) -> Self {
        // SAFETY: the caller promises a tid, which is passed by reference, aligned to two bytes as the struct is.
        Place::of(unsafe { *datum.cast_mut_ptr::<pg_sys::ItemPointerData>() })
    }
}

struct Xid(u32);

// SAFETY: an xid is passed by value, as 32 bits without a sign.
unsafe impl ToColumn for Xid {
    fn oid() -> Oid {
        pg_sys::XIDOID
    }

    fn into_column(self) -> Option<Datum> {
        Some(Datum::from(self.0))
    }
}

impl FromColumn for Xid {
    fn oid() -> Oid {
        pg_sys::XIDOID
    }

    unsafe fn from_column(datum: Datum) -> Self {
        Xid(datum.value() as u32)
    }
}
