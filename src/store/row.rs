//! One row, from a statement or straight from its page, and which version of it was read.

use super::types::{FromColumn, ToColumn};
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
    pub(super) unsafe fn of_tuple(tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Row {
        Row { desc, source: Source::Tuple(tuple) }
    }

    /// # Safety
    /// The slot holds a row of a table, and lives and keeps it as long as the row.
    pub(super) unsafe fn of_slot(slot: *mut TupleTableSlot) -> Row {
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
        // SAFETY: the datum is of the type that was just compared, and lives as long as the row.
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

    /// Which version this is. Of a statement's row: what its last column, xmin, says.
    pub fn version(&self) -> RowVersion {
        // SAFETY: the slot holds a row of a table, which has an xmin.
        unsafe {
            match self.source {
                Source::Tuple(_) => self.get((*self.desc).natts),
                Source::Slot(slot) => {
                    RowVersion { xmin: xmin(slot), place: Some(item_pointer_get_both((*slot).tts_tid)) }
                }
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

unsafe fn xmin(slot: *mut TupleTableSlot) -> u32 {
    let mut is_null = false;
    let datum = unsafe { pg_sys::slot_getsysattr(slot, pg_sys::MinTransactionIdAttributeNumber, &mut is_null) };
    datum.value() as u32
}

/// Which version of a row was read: its xmin, and where it is known, its place. Any change of the row by another transaction
/// gives it another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowVersion {
    xmin: u32,
    place: Option<(pg_sys::BlockNumber, pg_sys::OffsetNumber)>,
}

impl RowVersion {
    pub(super) fn place(self) -> Option<pg_sys::ItemPointerData> {
        self.place.map(|(block, offset)| {
            let mut place = pg_sys::ItemPointerData::default();
            item_pointer_set_all(&mut place, block, offset);
            place
        })
    }

    /// Whether a slot holds this version.
    ///
    /// # Safety
    /// The slot holds a row of a table.
    pub(super) unsafe fn is_of(self, slot: *mut TupleTableSlot) -> bool {
        unsafe { xmin(slot) == self.xmin && Some(item_pointer_get_both((*slot).tts_tid)) == self.place }
    }
}

impl ToColumn for RowVersion {
    fn oid() -> Oid {
        pg_sys::XIDOID
    }

    fn into_column(self) -> Option<Datum> {
        Some(Datum::from(self.xmin))
    }
}

impl FromColumn for RowVersion {
    fn oid() -> Oid {
        pg_sys::XIDOID
    }

    unsafe fn from_column(datum: Datum) -> Self {
        RowVersion { xmin: datum.value() as u32, place: None }
    }
}
