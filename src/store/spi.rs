//! Statements, each prepared once per backend and kept. A statement's text is a constant of the module that uses it; its
//! parameter types are those of its first use, and result columns are checked against the Rust type when read.

use super::months;
use super::types::{FromColumn, ToColumn};
use mps_domain::month::Month;
use pgrx::pg_sys::{self, Datum, Oid};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;

thread_local! {
    /// Kept plans by the address of their text and, for statements on one partition, its month. Bounded by the number of
    /// statements in this library times the months that this backend has touched.
    static PLANS: RefCell<HashMap<(usize, Target), pg_sys::SPIPlanPtr>> = RefCell::new(HashMap::new());
}

/// Which of the statements that one text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Target {
    /// `yymm` of the partition that `{m}` names; 0 for a text without it.
    month: u16,
    /// Which labels stand for the other placeholders; 0 for a text without them.
    labels: u16,
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
            // SAFETY: paired with the SPI_connect of Db::open.
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
        // SAFETY: called inside a function call of the executor; Open pairs it with SPI_finish.
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
        self.execute(sql, Target::default(), &[], args, |_| ()).1
    }

    /// As [`Db::run`], on the partitions of one month: `{m}` in the text stands for its suffix.
    pub fn run_in(&self, month: Month, sql: &'static str, args: &[Param]) -> u64 {
        self.execute(sql, Target { month: month.yymm(), labels: 0 }, &[], args, |_| ()).1
    }

    /// As [`Db::run_in`], with labels of enums written into the text as constants, which spares the server reading them
    /// anew at every execution. `which` numbers the combination.
    pub fn run_labelled(
        &self,
        month: Month,
        sql: &'static str,
        which: u16,
        labels: &[(&str, &'static str)],
        args: &[Param],
    ) -> u64 {
        self.execute(sql, Target { month: month.yymm(), labels: which }, labels, args, |_| ()).1
    }

    pub fn rows<T>(&self, sql: &'static str, args: &[Param], read: impl FnMut(&Row) -> T) -> Vec<T> {
        self.execute(sql, Target::default(), &[], args, read).0
    }

    pub fn rows_in<T>(&self, month: Month, sql: &'static str, args: &[Param], read: impl FnMut(&Row) -> T) -> Vec<T> {
        self.execute(sql, Target { month: month.yymm(), labels: 0 }, &[], args, read).0
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
        sql: &'static str,
        target: Target,
        labels: &[(&str, &'static str)],
        args: &[Param],
        mut read: impl FnMut(&Row) -> T,
    ) -> (Vec<T>, u64) {
        const MAX_PARAMS: usize = 40;
        assert!(args.len() <= MAX_PARAMS);
        let plan = plan(sql, target, labels, args);
        let mut values = [Datum::from(0usize); MAX_PARAMS];
        let mut nulls = [b' ' as std::ffi::c_char; MAX_PARAMS];
        for (i, arg) in args.iter().enumerate() {
            match arg.datum {
                Some(d) => values[i] = d,
                None => nulls[i] = b'n' as std::ffi::c_char,
            }
        }
        // SAFETY: the plan is kept for ever, the arrays are as long as it has parameters, and the tuple table is read
        // and freed before anything else runs in this connection.
        unsafe {
            pg_sys::SPI_tuptable = std::ptr::null_mut();
            let code = pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), nulls.as_ptr(), self.read_only, 0);
            assert!(code > 0, "SPI_execute_plan: {code} in {sql}");
            let touched = pg_sys::SPI_processed;
            let table = pg_sys::SPI_tuptable;
            if table.is_null() {
                return (Vec::new(), touched);
            }
            let count = (*table).numvals as usize;
            let mut out = Vec::with_capacity(count);
            for i in 0..count {
                out.push(read(&Row { tuple: *(*table).vals.add(i), desc: (*table).tupdesc }));
            }
            pg_sys::SPI_freetuptable(table);
            (out, touched)
        }
    }
}

fn plan(sql: &'static str, target: Target, labels: &[(&str, &'static str)], args: &[Param]) -> pg_sys::SPIPlanPtr {
    let key = (sql.as_ptr() as usize, target);
    if let Some(kept) = PLANS.with_borrow(|plans| plans.get(&key).copied()) {
        return kept;
    }
    let mut text = sql.to_owned();
    if let Some(month) = Month::from_yymm(target.month) {
        text = text.replace(months::PLACEHOLDER, &month.suffix());
    }
    for (placeholder, label) in labels {
        text = text.replace(placeholder, label);
    }
    let text = CString::new(text).expect("no NUL in our statements");
    let mut types: Vec<Oid> = args.iter().map(|a| a.oid).collect();
    // SAFETY: text and types outlive the call; a kept plan lives in its own memory context until the backend ends.
    let plan = unsafe {
        let plan = pg_sys::SPI_prepare(text.as_ptr(), types.len() as i32, types.as_mut_ptr());
        let code = pg_sys::SPI_result;
        assert!(!plan.is_null(), "SPI_prepare: {code} in {sql}");
        let code = pg_sys::SPI_keepplan(plan);
        assert_eq!(code, 0, "SPI_keepplan");
        plan
    };
    PLANS.with_borrow_mut(|plans| plans.insert(key, plan));
    plan
}

/// A parameter of a statement: its type and its value.
pub struct Param {
    oid: Oid,
    datum: Option<Datum>,
}

/// Makes a parameter from a value or an option of one.
pub fn p<T: ToColumn>(value: T) -> Param {
    Param { oid: T::oid(), datum: value.into_column() }
}

/// One row of a result.
pub struct Row {
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
}

impl Row {
    /// Column `n`, counted from 1, which must not be NULL.
    pub fn get<T: FromColumn>(&self, n: i32) -> T {
        self.opt(n).unwrap_or_else(|| panic!("column {n} is NULL"))
    }

    /// Column `n`, counted from 1.
    pub fn opt<T: FromColumn>(&self, n: i32) -> Option<T> {
        // SAFETY: the row lives as long as the tuple table it is read from, and the type is compared before the datum is
        // taken for one of T.
        unsafe {
            let found = pg_sys::SPI_gettypeid(self.desc, n);
            assert_eq!(found, T::oid(), "type of column {n}");
            let mut is_null = true;
            let datum = pg_sys::SPI_getbinval(self.tuple, self.desc, n, &mut is_null);
            (!is_null).then(|| T::from_column(datum))
        }
    }

    pub fn text(&self, n: i32) -> String {
        self.get::<String>(n)
    }
}
