//! A deadline for a call: what waits or works longer is ended as statement_timeout ends a statement.

use pgrx::pg_sys;
use std::ffi::c_int;

/// `STATEMENT_TIMEOUT`, the fourth of the server's timeouts in every supported version.
const STATEMENT_TIMEOUT: c_int = 3;

// Of utils/timeout.h, which the bindings leave out.
unsafe extern "C-unwind" {
    fn enable_timeout_after(id: c_int, delay_ms: c_int);
    fn enable_timeout_at(id: c_int, finish: pg_sys::TimestampTz);
    fn disable_timeout(id: c_int, keep_indicator: bool);
    fn get_timeout_active(id: c_int) -> bool;
    fn get_timeout_finish_time(id: c_int) -> pg_sys::TimestampTz;
}

/// Holds from when it is made until it is dropped; then the session's own timeout goes on, if there was one.
pub struct Deadline {
    /// When the session's own timeout ends, where it was put aside.
    own: Option<pg_sys::TimestampTz>,
    is_set: bool,
}

impl Deadline {
    /// In so many milliseconds, unless statement_timeout ends the statement before.
    pub fn after(millis: u32) -> Deadline {
        // SAFETY: every backend has registered this timeout; the calls only set timers, of numbers that they take.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                let own = get_timeout_active(STATEMENT_TIMEOUT).then(|| get_timeout_finish_time(STATEMENT_TIMEOUT));
                let mine = pg_sys::GetCurrentTimestamp() + i64::from(millis) * 1000;
                if own.is_some_and(|own| own <= mine) {
                    return Deadline { own: None, is_set: false };
                }
                enable_timeout_after(STATEMENT_TIMEOUT, millis as c_int);
                Deadline { own, is_set: true }
            })
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if !self.is_set {
            return;
        }
        // SAFETY: as above. Where it has ended the call, its indicator has been taken by the error.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| match self.own {
                Some(own) => enable_timeout_at(STATEMENT_TIMEOUT, own),
                None => disable_timeout(STATEMENT_TIMEOUT, false),
            });
        }
    }
}
