//! What an error of the server's says about rows. A CHECK, a unique index or a trigger of the shop's on our tables is evaluated as
//! their owner, and the server shows an owner everything: "Failing row contains (...)", "Key (...)=(...) already exists", the
//! statements and values in its context. The caller gets none of that; the server's log has it.

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::pg_sys::{self, ErrorData};
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Does something. What an error of it says about rows goes to the log, unless the caller may see every row.
pub fn from<T>(may_see_rows: bool, work: impl FnOnce() -> T) -> T {
    // Costs nothing where nothing is thrown: no savepoint, no jump buffer.
    let thrown = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => return done,
        Err(thrown) => thrown,
    };
    let Some(CaughtError::PostgresError(caught)) = thrown.downcast_ref() else { resume_unwind(thrown) };
    let lacks_a_right = caught.sql_error_code() == PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE;
    if may_see_rows && !lacks_a_right {
        resume_unwind(thrown);
    }
    drop(thrown);
    // SAFETY: pgrx leaves the error that it caught on the server's stack. Its copy is in the memory context of the call that failed,
    // not in that of errors, so it outlives the flush; nobody else has it, and it is thrown anew. Nothing here asks a catalog:
    // whoever failed may hold locks until the transaction ends.
    unsafe {
        let error = pg_sys::CopyErrorData();
        pg_sys::FlushErrorState();
        if lacks_a_right && !is_said_by_us_or_the_shop(&*error) {
            name_who_lacks_the_right(&mut *error);
        }
        if may_see_rows {
            pg_sys::ReThrowError(error);
        }
        withhold(&mut *error);
        // As new, so that the context is that of who called, without what was inside.
        pg_sys::ThrowErrorData(error);
    }
    unreachable!("an ERROR does not return")
}

/// Classes whose details are about the server, not about rows: transaction states, deadlocks, resources, operators' orders.
const ABOUT_THE_SERVER: [&str; 6] = ["25", "40", "42", "53", "55", "57"];
/// Errors of values: their messages quote them.
const DATA_EXCEPTION: &str = "22";

/// Moves what tells of rows to the log. Message, SQLSTATE and the names of constraint, table and column stay.
///
/// # Safety
/// The error is the server's: its texts are NULL or end with a NUL. So it is for all that follow.
unsafe fn withhold(error: &mut ErrorData) {
    // SAFETY: texts are read only out of the error, which the caller promises; those that are put in are copies in the server's memory.
    unsafe {
        let is_said = is_said_by_us_or_the_shop(error);
        let mut log = Vec::new();
        if !is_said && !ABOUT_THE_SERVER.iter().any(|class| is(error, class)) {
            log.extend(take(&mut error.detail));
        }
        if !is_said && is(error, DATA_EXCEPTION) {
            let message = text(error.message).unwrap_or_default();
            let shown = without_quotes(&message);
            if shown != message {
                error.message = copy(&shown);
                log.push(message);
            }
        }
        log.extend(take(&mut error.internalquery));
        // A place in it, which clients do not take without.
        error.internalpos = 0;
        let context = take(&mut error.context);
        if !is_ours(error) {
            log.extend(context);
        }
        if !log.is_empty() {
            // In the log it stands in place of the detail.
            log.splice(0..0, text(error.detail_log).or(text(error.detail)));
            error.detail_log = copy(&log.join("\n"));
        }
    }
}

/// The server does not say who is meant by a right that is missing, and a caller would take it to be itself.
fn name_who_lacks_the_right(error: &mut ErrorData) {
    if error.detail.is_null() {
        error.detail = copy(
            "MPS, and what others have put on its tables, works as the owner of these tables. It is that role that lacks \
             the right, not the caller.",
        );
    }
    if error.hint.is_null() {
        error.hint =
            copy("A database administrator looks at what was revoked: app.health() and sec.security_check() tell.");
    }
}

/// A text of our own errors, or of a RAISE of the shop's, is as it was meant.
///
/// # Safety
/// As [`withhold`].
unsafe fn is_said_by_us_or_the_shop(error: &ErrorData) -> bool {
    // SAFETY: the name of a function is a constant of a library, which is never unloaded, or was said by a parallel worker and is kept
    // until more is heard of one.
    unsafe { is_ours(error) || text(error.funcname).as_deref() == Some("exec_stmt_raise") }
}

/// # Safety
/// As [`withhold`].
unsafe fn is_ours(error: &ErrorData) -> bool {
    // SAFETY: the name of a file lives as that of a function does.
    unsafe { !error.filename.is_null() && CStr::from_ptr(error.filename) == crate::engine::server::SOURCE }
}

/// Whether the SQLSTATE is, or begins with, these characters.
fn is(error: &ErrorData, state: &str) -> bool {
    let mask = (1i64 << (6 * state.len())) - 1;
    i64::from(error.sqlerrcode) & mask == i64::from(crate::engine::server::packed(state))
}

/// A message with its quoted parts left out, whatever language it is in.
fn without_quotes(message: &str) -> String {
    let (mut shown, mut until) = (String::new(), None);
    for c in message.chars() {
        match (until, c) {
            (Some(end), _) if c == end => {
                until = None;
                shown.push(c);
            }
            (Some(_), _) => {}
            (None, _) => {
                shown.push(c);
                until = match c {
                    '"' => Some('"'),
                    '«' => Some('»'),
                    '„' => Some('“'),
                    '“' => Some('”'),
                    _ => None,
                };
                if until.is_some() {
                    shown.push('…');
                }
            }
        }
    }
    shown
}

/// # Safety
/// NULL, or a text that ends with a NUL.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: where it is not NULL, the caller promises a text; it is copied before anything else runs.
    unsafe { (!pointer.is_null()).then(|| CStr::from_ptr(pointer).to_string_lossy().into_owned()) }
}

/// # Safety
/// As [`text`].
unsafe fn take(pointer: &mut *mut c_char) -> Option<String> {
    let taken = std::mem::replace(pointer, std::ptr::null_mut());
    // SAFETY: what the caller promises. It is not freed: the error's memory goes as a whole.
    unsafe { text(taken) }
}

/// A text in the server's memory, which goes with the transaction.
fn copy(text: &str) -> *mut c_char {
    let text = CString::new(text.replace('\0', "")).expect("NULs were removed");
    // SAFETY: a CString ends with a NUL, and lives until it has been copied.
    unsafe { pg_sys::pstrdup(text.as_ptr()) }
}
