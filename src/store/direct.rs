//! Inserting a row without a statement: what COPY does, for the tables that every movement writes. An INSERT through the
//! executor costs two to three times what the row and its index entries cost.
//!
//! Only where it does exactly what the INSERT would: a plain table of the very columns that are given, without insert
//! triggers, rules, CHECK or generated columns, and without row-level security forced on its owner. Users' own indexes are
//! served like ours. Everything else is left to the statement ([`Outcome::ByStatement`]). What it skips: the partition's own
//! constraint (the callers assert that the month is the row's) and what hooks of other extensions see of an INSERT.

use super::server;
use super::spi::Param;
use mps_domain::month::Month;
use pgrx::PgTupleDesc;
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::{CStr, CString};

/// A table that rows are inserted into, or all the monthly ones of a name.
pub struct Table {
    pub schema: &'static CStr,
    /// With [`super::months::PLACEHOLDER`] in place of a month.
    pub name: &'static str,
    /// All columns, in the table's order.
    pub columns: &'static [&'static str],
    /// Those of the primary key.
    pub key: &'static str,
}

impl Table {
    fn name_in(&self, month: Option<Month>) -> CString {
        let name = match month {
            Some(month) => self.name.replace(super::months::PLACEHOLDER, &month.suffix()),
            None => self.name.to_owned(),
        };
        CString::new(name).expect("no NUL in our names")
    }

    /// The statement that inserts one row of parameters, unless (`or_nothing`) its primary key is taken.
    pub fn statement(&self, or_nothing: bool) -> String {
        let schema = self.schema.to_str().expect("our names are ASCII");
        let numbers: Vec<String> = (1..=self.columns.len()).map(|n| format!("${n}")).collect();
        let (columns, values) = (self.columns.join(", "), numbers.join(", "));
        let on_conflict = if or_nothing { format!(" ON CONFLICT ({}) DO NOTHING", self.key) } else { String::new() };
        format!("INSERT INTO {schema}.{} ({columns}) VALUES ({values}){on_conflict}", self.name)
    }
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Inserted,
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
pub fn insert(table: &Table, month: Option<Month>, values: &[Param], unique: Unique) -> Outcome {
    let name = table.name_in(month);
    let Some(oid) = server::relation(table.schema, &name) else { return Outcome::ByStatement };
    // SAFETY: the relation is opened with the lock of an INSERT, which is kept until the transaction ends, as an INSERT
    // does; it is used only between here and its closing. An ERROR inside leaves the clean-up to the server, and unwinds
    // through plain values only.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(c"INSERT".as_ptr());
        let relation = pg_sys::try_table_open(oid, pg_sys::RowExclusiveLock as i32);
        if relation.is_null() {
            return Outcome::ByStatement;
        }
        let outcome =
            if is_plain(relation, table, &name, values) { put(relation, values, unique) } else { Outcome::ByStatement };
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        outcome
    }
}

/// Whether a row can be put into a relation with nothing else to do. Asked every time, under the lock: a few comparisons.
unsafe fn is_plain(relation: pg_sys::Relation, table: &Table, name: &CStr, values: &[Param]) -> bool {
    unsafe {
        let (class, desc) = (&*(*relation).rd_rel, (*relation).rd_att);
        // It could have been renamed or moved between the look at its name and the lock.
        let found = CStr::from_ptr(class.relname.data.as_ptr());
        if found != name || class.relnamespace != pg_sys::get_namespace_oid(table.schema.as_ptr(), true) {
            return false;
        }
        if class.relkind as u8 != pg_sys::RELKIND_RELATION || class.relforcerowsecurity || class.relhasrules {
            return false;
        }
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
        if let Some(c) = (*desc).constr.as_ref()
            && (c.num_check != 0 || is_generated(c))
        {
            return false;
        }
        let columns = PgTupleDesc::from_pg_unchecked(desc);
        columns.len() == values.len()
            && values.len() == table.columns.len()
            && columns.iter().zip(table.columns).zip(values).all(|((attribute, column), value)| {
                !attribute.attisdropped
                    && attribute.atttypid == value.oid()
                    && CStr::from_ptr(attribute.attname.data.as_ptr()).to_bytes() == column.as_bytes()
                    && !(attribute.attnotnull && value.datum().is_none())
            })
    }
}

#[cfg(not(feature = "pg18"))]
fn is_generated(c: &pg_sys::TupleConstr) -> bool {
    c.has_generated_stored
}

#[cfg(feature = "pg18")]
fn is_generated(c: &pg_sys::TupleConstr) -> bool {
    c.has_generated_stored || c.has_generated_virtual
}

unsafe fn put(relation: pg_sys::Relation, values: &[Param], unique: Unique) -> Outcome {
    let or_nothing = unique != Unique::Required;
    unsafe {
        let arbiters = if or_nothing {
            let key = primary_key(relation);
            if key == Oid::INVALID {
                return Outcome::ByStatement;
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
        let target = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
        (*target).type_ = pg_sys::NodeTag::T_ResultRelInfo;
        pg_sys::InitResultRelInfo(target, relation, 0, std::ptr::null_mut(), 0);
        pg_sys::ExecOpenIndices(target, or_nothing);

        let slot = pg_sys::table_slot_create(relation, std::ptr::null_mut());
        for (i, value) in values.iter().enumerate() {
            *(*slot).tts_values.add(i) = value.datum().unwrap_or(Datum::from(0usize));
            *(*slot).tts_isnull.add(i) = value.datum().is_none();
        }
        pg_sys::ExecStoreVirtualTuple(slot);
        (*slot).tts_tableOid = (*relation).rd_id;

        let outcome = loop {
            if or_nothing && !no_conflict(target, slot, estate, arbiters) {
                break Outcome::Conflict;
            }
            pg_sys::simple_table_tuple_insert(relation, slot);
            if !insert_index_entries(target, slot, estate, arbiters) {
                break Outcome::Inserted;
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

unsafe fn primary_key(relation: pg_sys::Relation) -> Oid {
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::RelationGetPrimaryKeyIndex(relation);
        #[cfg(feature = "pg18")]
        return pg_sys::RelationGetPrimaryKeyIndex(relation, false);
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
