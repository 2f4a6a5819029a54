//! A table as it is declared, and whether the one in the database is still that: only then rows go the direct way.

use crate::engine::cache::{self, Kept};
use crate::engine::param::Param;
use crate::engine::server::{self, Raise};
use mps_domain::error::{Error, Token};
use mps_domain::month::Month;
use pgrx::PgTupleDesc;
use pgrx::pg_sys::{self, Oid, Relation};
use std::ffi::{CStr, CString};

/// What names and statements of one partition have in place of the month's suffix.
pub const PLACEHOLDER: &str = "{m}";

/// A column and its new value.
pub type Change = (&'static str, Param);

/// A table, or all the monthly ones of a name.
pub struct Table {
    pub schema: &'static CStr,
    /// With [`PLACEHOLDER`] in place of a month.
    pub name: &'static str,
    /// All columns, in the table's order. A user may have added others behind them.
    pub columns: &'static [&'static str],
    /// Conditions of CHECKs, as the server writes them, that whoever updates has asserted.
    pub asserted: &'static [&'static str],
}

impl Table {
    pub(super) fn qualified(&self) -> String {
        format!("{}.{}", self.schema.to_str().expect("our names are ASCII"), self.name)
    }

    fn qualified_in(&self, month: Option<Month>) -> String {
        month.map_or_else(|| self.qualified(), |month| self.qualified().replace(PLACEHOLDER, &month.suffix()))
    }

    /// The statement that inserts one row of parameters in these columns.
    pub fn insertion(&self, columns: &[&str]) -> String {
        let numbers: Vec<String> = (1..=columns.len()).map(|n| format!("${n}")).collect();
        format!("INSERT INTO {} ({}) VALUES ({})", self.qualified(), columns.join(", "), numbers.join(", "))
    }

    /// All columns, with values in their order.
    pub fn all(&self, values: impl IntoIterator<Item = Param>) -> Vec<Change> {
        self.columns.iter().copied().zip(values).collect()
    }

    /// Where a column stands, from 0.
    pub fn position(&self, column: &str) -> usize {
        self.columns.iter().position(|c| *c == column).expect("a column of the table")
    }

    /// Where a column stands, from 1, for the compiler to say.
    pub const fn number(&self, column: &str) -> i32 {
        let mut n = 0;
        while n < self.columns.len() {
            if is_same(self.columns[n].as_bytes(), column.as_bytes()) {
                return n as i32 + 1;
            }
            n += 1;
        }
        panic!("no column of the table")
    }
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut n = 0;
    while n < a.len() && n < b.len() && a[n] == b[n] {
        n += 1;
    }
    n == a.len() && n == b.len()
}

pub(super) fn name_in(month: Option<Month>, name: &str) -> CString {
    let name = match month {
        Some(month) => name.replace(PLACEHOLDER, &month.suffix()),
        None => name.to_owned(),
    };
    CString::new(name).expect("no NUL in our names")
}

/// Opens a table with the lock of a statement, which is kept until the transaction ends, as statements do. `None` where it is
/// not what the direct path is for, or the rights that the statement needs (`ACL_*`) are missing.
///
/// # Safety
/// The relation is closed by [`close`] or [`close_released`], and not used after that, unless an ERROR comes first, whose clean-up the
/// server does.
pub(super) unsafe fn open(table: &Table, month: Option<Month>, lock: u32, rights: u32) -> Option<Relation> {
    let name = name_in(month, table.name);
    let oid = server::relation(table.schema, &name)?;
    // SAFETY: a table that was dropped since is NULL, and what is no table an ERROR. Whoever gets the relation closes it; here it is
    // closed where nobody does.
    unsafe {
        let relation = pg_sys::try_table_open(oid, lock as i32);
        if relation.is_null() {
            return None;
        }
        // Under the lock, for which the call may have waited until somebody had detached it.
        if month.is_some() && is_named(relation, table, &name) && !(*(*relation).rd_rel).relispartition {
            detached(&table.qualified_in(month)).raise();
        }
        if is_ours(relation, table, &name) && has_rights(oid, rights) {
            return Some(relation);
        }
        close(relation);
        None
    }
}

/// Whether we have all these rights. An owner can be without some: somebody wants the table left alone.
fn has_rights(oid: Oid, rights: u32) -> bool {
    #[allow(clippy::useless_conversion)] // wider in some versions of the server
    let rights = pg_sys::AclMode::from(rights);
    // SAFETY: only numbers go in and out; what has no such oid is an ERROR.
    unsafe { pg_sys::pg_class_aclmask(oid, pg_sys::GetUserId(), rights, pg_sys::AclMaskHow::ACLMASK_ALL) == rights }
}

/// A table of a month that is no partition any more: what is written to it would be in no statement and in no book.
pub fn detached(table: &str) -> Error {
    let parent = table.rsplit_once('_').map_or(table, |(parent, _)| parent);
    Error::new(Token::StatusConflict, format!("{table} is no partition of {parent} any more: somebody detached it"))
        .with_hint(format!(
            "A database administrator attaches it again (ALTER TABLE {parent} ATTACH PARTITION), or renames it."
        ))
}

/// As opening a table for a statement of ours that locks rows of it: what it refuses.
pub fn refuse_detached(table: &Table, month: Month) {
    // SAFETY: closed at once, with the lock kept; or an ERROR, whose clean-up the server does.
    unsafe {
        if let Some(relation) = open(table, Some(month), pg_sys::RowShareLock, pg_sys::ACL_SELECT) {
            close(relation);
        }
    }
}

/// Closes a table, and keeps its lock.
///
/// # Safety
/// The relation is of [`open`], and nothing uses it after this: no slot, no scan, no row of it.
pub(super) unsafe fn close(relation: Relation) {
    // SAFETY: one reference was taken by `open`, and is given back once, as the caller promises.
    unsafe { pg_sys::table_close(relation, pg_sys::NoLock as i32) };
}

/// As [`close`], giving the lock back.
///
/// # Safety
/// As [`close`]; the lock is the one that it was opened with.
pub(super) unsafe fn close_released(relation: Relation, lock: u32) {
    // SAFETY: as in `close`.
    unsafe { pg_sys::table_close(relation, lock as i32) };
}

/// It could have been renamed or moved between the look at its name and the lock.
///
/// # Safety
/// The relation is open.
unsafe fn is_named(relation: Relation, table: &Table, name: &CStr) -> bool {
    // SAFETY: as of `is_ours`.
    unsafe {
        let class = (*relation).rd_rel;
        CStr::from_ptr((&raw const (*class).relname.data).cast()) == name
            && (*class).relnamespace == pg_sys::get_namespace_oid(table.schema.as_ptr(), true)
    }
}

/// # Safety
/// The relation is open.
unsafe fn is_ours(relation: Relation, table: &Table, name: &CStr) -> bool {
    // SAFETY: `rd_rel` stays in its place while the relation is open. It is no reference, because the look for the schema can have the
    // server write it anew. A name ends with a NUL.
    unsafe {
        let class = (*relation).rd_rel;
        is_named(relation, table, name)
            && (*class).relkind as u8 == pg_sys::RELKIND_RELATION
            // A statement would look into tables that inherit from it.
            && !(*class).relhassubclass
            && !(*class).relhasrules
            && (*class).relowner == pg_sys::GetUserId()
            && !(*class).relforcerowsecurity
            && has_columns(relation, table)
    }
}

/// # Safety
/// The relation is open.
unsafe fn has_columns(relation: Relation, table: &Table) -> bool {
    // SAFETY: an open relation has its columns' description, and nothing below looks into a catalog.
    let columns = unsafe { PgTupleDesc::from_pg_unchecked((*relation).rd_att) };
    columns.len() >= table.columns.len()
        && columns.iter().zip(table.columns).all(|(attribute, column)| {
            // SAFETY: a name ends with a NUL.
            let name = unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) };
            !attribute.attisdropped && name.to_bytes() == column.as_bytes()
        })
}

/// Triggers of ours that hold calls of older releases to the rules of now (`sql/recharges/old_calls.sql`). What this library writes
/// gives them nothing to do: it claims by those rules, and says itself which recharges wait. Known by what they call: a name is
/// anybody's to take. To be made before triggers are looked at: finding the functions can have the server read the table's
/// description anew, and what was looked at is gone then.
pub(super) struct ForOlderReleases([Option<Oid>; 2]);

thread_local! {
    static KEPT: Kept<[Option<Oid>; 2]> = const { Kept::new() };
}

impl ForOlderReleases {
    pub(super) fn known() -> ForOlderReleases {
        let kept = KEPT.with(|kept| kept.get(cache::functions()));
        ForOlderReleases(kept.unwrap_or_else(|| {
            let read_at = cache::functions();
            let found = [c"refuse_old_claim", c"count_recharge"].map(server::marker);
            KEPT.with(|kept| kept.keep(read_at, found));
            found
        }))
    }

    pub(super) fn has(&self, trigger: &pg_sys::Trigger) -> bool {
        self.0.contains(&Some(trigger.tgfoid))
    }
}

/// Whether rows are computed in part (generated columns).
///
/// # Safety
/// The relation is open.
pub(super) unsafe fn computes_columns(relation: Relation) -> bool {
    // SAFETY: an open relation has its columns' description; `constr` is NULL or part of that.
    let Some(c) = (unsafe { (*(*relation).rd_att).constr.as_ref() }) else { return false };
    #[cfg(not(feature = "pg18"))]
    return c.has_generated_stored;
    #[cfg(feature = "pg18")]
    return c.has_generated_stored || c.has_generated_virtual;
}

/// # Safety
/// The relation is open. The server may read its description anew.
pub(super) unsafe fn primary_key(relation: Relation) -> Oid {
    // SAFETY: the caller's promise; what comes out is a number.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::RelationGetPrimaryKeyIndex(relation);
        #[cfg(feature = "pg18")]
        return pg_sys::RelationGetPrimaryKeyIndex(relation, false);
    }
}

/// What the executor keeps of a table that it writes to, with its indexes open. It lives in the current memory context.
///
/// # Safety
/// The relation is open, under the lock of a statement that writes, and stays so until `ExecCloseIndices` of the target.
pub(super) unsafe fn open_target(relation: Relation, or_nothing: bool) -> *mut pg_sys::ResultRelInfo {
    // SAFETY: zeroes with a tag are what makeNode makes, and InitResultRelInfo fills in the rest. Number 0 says that the table is in no
    // range table, so that nothing is looked up in one.
    unsafe {
        let target = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
        (*target).type_ = pg_sys::NodeTag::T_ResultRelInfo;
        pg_sys::InitResultRelInfo(target, relation, 0, std::ptr::null_mut(), 0);
        pg_sys::ExecOpenIndices(target, or_nothing);
        target
    }
}
