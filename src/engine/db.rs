//! Statements, each prepared once per backend and kept. A statement's text is a constant of the module that uses it; it is prepared for
//! the types of its parameters, and result columns are checked against the Rust type when read.

use crate::engine::direct::{self, Access, Change, Found, Inserted, Path, Series, Span, Table, Taken, Unique, Updated};
use crate::engine::param::Param;
use crate::engine::row::{Row, RowVersion};
use crate::engine::server::{self, Raise};
use mps_domain::error::{Error, Result, Token};
use mps_domain::month::Month;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::{PgSqlErrorCode, PgTryBuilder};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::panic::AssertUnwindSafe;

/// Which statement a kept plan is of: the address of its text, the columns that it changes, the month of its partition.
type PlanKey = (usize, u64, Option<Month>);

/// A plan, and the types of the parameters that it takes. It would take any others for these.
struct Prepared {
    types: Box<[Oid]>,
    plan: pg_sys::SPIPlanPtr,
}

thread_local! {
    /// Kept plans by the address of their text and, for statements on one partition, its month; nearly always one. Bounded by the number
    /// of statements in this library times the months that this backend has touched.
    static PLANS: RefCell<HashMap<PlanKey, Vec<Prepared>>> = RefCell::new(HashMap::new());
}

/// What to run.
#[derive(Clone, Copy)]
enum Sql {
    Text(&'static str),
    /// One row into a table.
    Insert(&'static Table),
    /// One row into a table, or nothing where its key is taken.
    InsertOrNothing(&'static Path),
    /// One row of some columns; the others have their defaults. Columns by their place in the table, a bit each.
    InsertSome {
        path: &'static Path,
        columns: u64,
        taken: Taken,
    },
    /// The row that a unique key names.
    Find {
        path: &'static Path,
        lock: bool,
    },
    /// Some columns of the row that a unique key names, in one version. Columns as above.
    Update {
        path: &'static Path,
        columns: u64,
    },
}

impl Sql {
    /// Where its text or table is, which tells it from every other.
    fn address(self) -> usize {
        match self {
            Sql::Text(text) => text.as_ptr() as usize,
            Sql::Insert(table) => std::ptr::from_ref(table) as usize,
            // The kinds of statements of one path, which is more bytes long than there are.
            Sql::Find { path, lock } => std::ptr::from_ref(path) as usize + usize::from(lock),
            Sql::InsertOrNothing(path) => std::ptr::from_ref(path) as usize + 2,
            Sql::Update { path, .. } => std::ptr::from_ref(path) as usize + 3,
            Sql::InsertSome { path, taken, .. } => {
                let kind = match taken {
                    Taken::Refused => 4,
                    Taken::Left => 5,
                    // No path has two columns for this.
                    Taken::Changed(_) => 6,
                };
                std::ptr::from_ref(path) as usize + kind
            }
        }
    }

    /// As [`Sql::address`], which columns it is about.
    fn columns(self) -> u64 {
        if let Sql::Update { columns, .. } | Sql::InsertSome { columns, .. } = self { columns } else { 0 }
    }

    fn text(self) -> String {
        match self {
            Sql::Text(text) => text.into(),
            Sql::Insert(table) => table.insertion(table.columns),
            Sql::InsertOrNothing(path) => path.insertion(path.table.columns, Taken::Left),
            Sql::InsertSome { path, columns, taken: Taken::Left } => {
                let all = path.table.columns.join(", ");
                format!("{} RETURNING {all}", path.insertion(&named(path, columns), Taken::Left))
            }
            Sql::InsertSome { path, columns, taken } => path.insertion(&named(path, columns), taken),
            Sql::Find { path, lock } => path.statement(lock),
            Sql::Update { path, columns } => path.update(&named(path, columns)),
        }
    }
}

fn named(path: &Path, columns: u64) -> Vec<&'static str> {
    let all = (0..).zip(path.table.columns);
    all.filter(|(n, _)| columns & (1u64 << n) != 0).map(|(_, column)| *column).collect()
}

/// Puts columns into their table's order; which they are, and their values.
fn in_order(table: &Table, mut some: Vec<Change>) -> (u64, impl Iterator<Item = Param>) {
    some.sort_unstable_by_key(|(column, _)| table.position(column));
    let columns = some.iter().fold(0, |set, (column, _)| set | 1u64 << table.position(column));
    (columns, some.into_iter().map(|(_, value)| value))
}

/// A connection to the executor, open for one RPC.
pub struct Db {
    read_only: bool,
}

/// Closes the connection also when an error unwinds through it (Postgres's own clean-up tolerates both).
struct Open;

impl Drop for Open {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: paired with the SPI_connect of Db::open. Connections that were opened since have been closed: each by its own Open.
            // Nothing of this one is used any more, as `work` has ended and what it returns is Rust's.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}

impl Db {
    /// Runs `work` for a function that writes: every statement sees what was committed before it began.
    pub fn write<T>(work: impl FnOnce(&Db) -> T) -> T {
        Db::open(false, work)
    }

    /// Runs `work` for a STABLE function: one snapshot, no transaction id, also on a standby.
    pub fn read<T>(work: impl FnOnce(&Db) -> T) -> T {
        Db::open(true, work)
    }

    fn open<T>(read_only: bool, work: impl FnOnce(&Db) -> T) -> T {
        // SAFETY: called inside a function call of the executor; Open pairs it with SPI_finish, or an ERROR leaves that to the server.
        let code = unsafe { pg_sys::SPI_connect() };
        assert_eq!(code, pg_sys::SPI_OK_CONNECT as i32, "SPI_connect");
        let _open = Open;
        work(&Db { read_only })
    }

    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Runs a statement; returns how many rows it touched.
    pub fn run(&self, sql: &'static str, args: &[Param]) -> u64 {
        self.execute(Sql::Text(sql), None, args, |_| ()).1
    }

    /// As [`Db::run`], where one row is to be written. What a trigger keeps from being written is an error, never taken for done.
    pub fn run_once(&self, sql: &'static str, args: &[Param]) {
        self.must_write(Sql::Text(sql), None, args);
    }

    fn must_write(&self, sql: Sql, month: Option<Month>, args: &[Param]) {
        if self.execute(sql, month, args, |_| ()).1 != 1 {
            // A rule may have made nothing of the statement: a plan of nothing is never made anew by itself.
            PLANS.with_borrow_mut(|plans| plans.remove(&(sql.address(), sql.columns(), month)));
            kept_from_being_written().raise();
        }
    }

    /// Inserts one row into a table (of a month): directly where that does the same, else by a statement.
    pub fn insert(&self, table: &'static Table, month: Option<Month>, values: &[Param]) {
        if direct::insert(table, month, values, Unique::Required) == Inserted::ByStatement {
            self.must_write(Sql::Insert(table), month, values);
        }
    }

    /// As [`Db::insert`], unless a row has the key of `path`; returns whether it was inserted. Rows of others in flight are waited for;
    /// under a stricter isolation level than READ COMMITTED, one that committed meanwhile is a serialization failure.
    pub fn insert_or_nothing(&self, path: &'static Path, values: &[Param]) -> bool {
        let outcome = match server::statements_see_commits() {
            true => direct::insert(path.table, None, values, Unique::OrNothing),
            // Only the statement compares with the transaction's snapshot.
            false => Inserted::ByStatement,
        };
        match outcome {
            Inserted::Done => true,
            Inserted::Conflict => false,
            Inserted::ByStatement => self.execute(Sql::InsertOrNothing(path), None, values, |_| ()).1 == 1,
        }
    }

    /// Inserts one row of some columns, by a statement: the others have their defaults.
    pub fn insert_some(&self, path: &'static Path, some: Vec<Change>, taken: Taken) {
        let (columns, values) = in_order(path.table, some);
        self.must_write(Sql::InsertSome { path, columns, taken }, None, &values.collect::<Vec<_>>());
    }

    /// As [`Db::insert_some`], unless a row has the key of `path`; returns what was inserted, with all columns.
    pub fn insert_some_or_nothing<T>(
        &self,
        path: &'static Path,
        some: Vec<Change>,
        read: impl FnMut(&Row) -> T,
    ) -> Option<T> {
        let (columns, values) = in_order(path.table, some);
        let sql = Sql::InsertSome { path, columns, taken: Taken::Left };
        self.execute(sql, None, &values.collect::<Vec<_>>(), read).0.pop()
    }

    /// Reads the row (of a month) that a unique key names, as a statement that begins now would: its columns in the table's
    /// order.
    pub fn find<T>(
        &self,
        path: &'static Path,
        month: Option<Month>,
        key: &[Param],
        read: impl Fn(&Row) -> T,
    ) -> Option<T> {
        let access = if self.read_only { Access::Stable } else { Access::Look };
        match direct::find(path, month, key, access, &read) {
            Found::Row(row) => Some(row),
            Found::Nothing => None,
            Found::ByStatement => self.execute(Sql::Find { path, lock: false }, month, key, read).0.pop(),
        }
    }

    /// Reads the newest rows of a series in a month, until `take` wants no more, for a function that only reads. `false`: a statement
    /// must do it.
    pub fn newest(&self, series: &Series, month: Month, of: Param, span: Span, take: impl FnMut(&Row) -> bool) -> bool {
        self.read_only && direct::newest(series, month, of, span, take)
    }

    /// As [`Db::find`], locked (FOR NO KEY UPDATE) until the transaction ends, and as it is then.
    pub fn lock<T>(
        &self,
        path: &'static Path,
        month: Option<Month>,
        key: &[Param],
        read: impl Fn(&Row) -> T,
    ) -> Option<T> {
        let found = match server::statements_see_commits() {
            true => direct::find(path, month, key, Access::Lock, &read),
            // Only the statement compares with the transaction's snapshot.
            false => {
                month.into_iter().for_each(|month| direct::refuse_detached(path.table, month));
                Found::ByStatement
            }
        };
        match found {
            Found::Row(row) => Some(row),
            Found::Nothing => None,
            Found::ByStatement => self.execute(Sql::Find { path, lock: true }, month, key, read).0.pop(),
        }
    }

    /// Changes a row that was read as `version` and not locked; returns the version that it is then. `None`, and nothing was
    /// written: it has changed since, somebody is about to change it, or only a statement does it right. Lock it, and read anew.
    pub fn update_seen(&self, table: &'static Table, version: RowVersion, changes: &[Change]) -> Option<RowVersion> {
        if !server::statements_see_commits() {
            return None;
        }
        match direct::update(table, None, version, false, changes) {
            Updated::Done(version) => Some(version),
            Updated::Changed | Updated::ByStatement => None,
        }
    }

    /// Changes a row (of a month) that this transaction has locked, and that is `version` still; makes that what it is then.
    /// Only this transaction itself can have made another of it: a trigger that calls RPCs. What was decided about the row no
    /// longer holds then, and nothing is written.
    pub fn update_locked(
        &self,
        path: &'static Path,
        month: Option<Month>,
        key: &[Param],
        version: &mut RowVersion,
        changes: Vec<Change>,
    ) -> Result<()> {
        let written = match server::statements_see_commits() {
            true => direct::update(path.table, month, *version, true, &changes),
            false => Updated::ByStatement,
        };
        let written = match written {
            Updated::Done(written) => Some(written),
            Updated::Changed => None,
            Updated::ByStatement => {
                let (columns, changed) = in_order(path.table, changes);
                let args: Vec<Param> = key.iter().copied().chain(version.params()).chain(changed).collect();
                self.execute(Sql::Update { path, columns }, month, &args, Row::version).0.pop()
            }
        };
        *version = written.ok_or_else(|| {
            Error::new(
                Token::StatusConflict,
                "a trigger changed the row in the middle of this call, or kept it as it was",
            )
        })?;
        Ok(())
    }

    pub fn rows<T>(&self, sql: &'static str, args: &[Param], read: impl FnMut(&Row) -> T) -> Vec<T> {
        self.execute(Sql::Text(sql), None, args, read).0
    }

    pub fn rows_in<T>(&self, month: Month, sql: &'static str, args: &[Param], read: impl FnMut(&Row) -> T) -> Vec<T> {
        self.execute(Sql::Text(sql), Some(month), args, read).0
    }

    /// As [`Db::rows`], as everything is now, however old the snapshot of the transaction or of the caller's statement. Where workers
    /// share that, there is no other.
    pub fn rows_of_now<T>(&self, sql: &'static str, args: &[Param], read: impl FnMut(&Row) -> T) -> Vec<T> {
        if server::shares_its_snapshot() {
            return Db { read_only: true }.rows(sql, args, read);
        }
        // SAFETY: the snapshot is active between the two calls; an ERROR leaves it to the clean-up of the server.
        unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            let rows = Db { read_only: true }.rows(sql, args, read);
            pg_sys::PopActiveSnapshot();
            rows
        }
    }

    /// The one row that a statement by a unique key can have.
    pub fn row<T>(&self, sql: &'static str, args: &[Param], read: impl FnMut(&Row) -> T) -> Option<T> {
        self.rows(sql, args, read).pop()
    }

    pub fn row_in<T>(&self, month: Month, sql: &'static str, args: &[Param], read: impl FnMut(&Row) -> T) -> Option<T> {
        self.rows_in(month, sql, args, read).pop()
    }

    fn execute<T>(
        &self,
        sql: Sql,
        month: Option<Month>,
        args: &[Param],
        mut read: impl FnMut(&Row) -> T,
    ) -> (Vec<T>, u64) {
        const MAX_PARAMS: usize = 40;
        assert!(args.len() <= MAX_PARAMS);
        let mut values = [Datum::from(0usize); MAX_PARAMS];
        let mut nulls = [b' ' as std::ffi::c_char; MAX_PARAMS];
        for (i, arg) in args.iter().enumerate() {
            match arg.datum() {
                Some(d) => values[i] = d,
                None => nulls[i] = b'n' as std::ffi::c_char,
            }
        }
        // SAFETY: the plan is kept for ever, and made for as many parameters as there are values, of their types. The values outlive the
        // statement. Nobody else has the tuple table, whatever `read` runs, and it is freed after its rows were read.
        unsafe {
            pg_sys::SPI_tuptable = std::ptr::null_mut();
            let mut execute = || {
                let plan = plan(sql, month, args);
                pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), nulls.as_ptr(), self.read_only, 0)
            };
            let code = match month {
                None => execute(),
                Some(month) => or_archived(month, execute),
            };
            assert!(code > 0, "SPI_execute_plan: {code} in {}", sql.text());
            let touched = pg_sys::SPI_processed;
            let table = pg_sys::SPI_tuptable;
            if table.is_null() {
                return (Vec::new(), touched);
            }
            let count = (*table).numvals as usize;
            let mut out = Vec::with_capacity(count);
            for i in 0..count {
                out.push(read(&Row::of_tuple(*(*table).vals.add(i), (*table).tupdesc)));
            }
            pg_sys::SPI_freetuptable(table);
            (out, touched)
        }
    }
}

/// What a trigger or a rule of the shop's did not let happen.
pub fn kept_from_being_written() -> Error {
    Error::new(Token::StatusConflict, "a trigger or a rule on the tables kept a row from being written as it was to be")
}

/// Runs a statement on a month that was here when the call began. One that was archived since (the statement had to wait for
/// that) is said to be so, in place of the server's words for a table that is gone.
/// The same words about another table (a user's trigger looks for one) pass.
fn or_archived<T>(month: Month, execute: impl FnOnce() -> T) -> T {
    PgTryBuilder::new(AssertUnwindSafe(execute))
        .catch_when(PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE, |caught| match &caught {
            CaughtError::PostgresError(e) if e.message().contains(&format!("_{}", month.suffix())) => {
                Error::from(Token::Archived).raise()
            }
            _ => caught.rethrow(),
        })
        .execute()
}

/// Forgets every kept plan. Those that are running go on; what is not used any more stays in memory until the backend ends.
pub fn forget_plans() {
    PLANS.with_borrow_mut(HashMap::clear);
}

fn plan(sql: Sql, month: Option<Month>, args: &[Param]) -> pg_sys::SPIPlanPtr {
    let key = (sql.address(), sql.columns(), month);
    let is_for = |kept: &&Prepared| kept.types.iter().copied().eq(args.iter().map(Param::oid));
    if let Some(kept) = PLANS.with_borrow(|plans| plans.get(&key)?.iter().find(is_for).map(|kept| kept.plan)) {
        return kept;
    }
    let mut text = sql.text();
    if let Some(month) = month {
        text = text.replace(direct::PLACEHOLDER, &month.suffix());
    }
    let text = CString::new(text).expect("no NUL in our statements");
    let mut types: Box<[Oid]> = args.iter().map(Param::oid).collect();
    // A plan for these very values holds copies of them: too much of a file, and no statement looks for rows by bytes.
    let options = if types.contains(&pg_sys::BYTEAOID) { pg_sys::CURSOR_OPT_GENERIC_PLAN as i32 } else { 0 };
    // SAFETY: the server copies text and types. A kept plan lives in its own memory context until the backend ends.
    let plan = unsafe {
        let plan = pg_sys::SPI_prepare_cursor(text.as_ptr(), types.len() as i32, types.as_mut_ptr(), options);
        let code = pg_sys::SPI_result;
        assert!(!plan.is_null(), "SPI_prepare: {code} in {}", sql.text());
        let code = pg_sys::SPI_keepplan(plan);
        assert_eq!(code, 0, "SPI_keepplan");
        plan
    };
    PLANS.with_borrow_mut(|plans| plans.entry(key).or_default().push(Prepared { types, plan }));
    plan
}
