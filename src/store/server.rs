//! What MPS asks of the server itself, apart from statements: clock, randomness, roles, locks, errors.
#![allow(unsafe_code)]

use super::types::{Timestamp, Uuid};
use pgrx::pg_sys::{self, Oid};
use std::ffi::{CStr, CString, c_char, c_int};

/// The server's clock, now (not the start of the transaction).
pub fn now() -> Timestamp {
    // SAFETY: reads the clock.
    Timestamp(unsafe { pg_sys::GetCurrentTimestamp() })
}

/// Bytes from the server's strong source of randomness.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    // SAFETY: writes N bytes into an array of N bytes.
    let filled = unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), N) };
    assert!(filled, "the server has no strong random numbers");
    bytes
}

/// A new id whose beginning is the time (RFC 9562, version 7), so that neighbours in time are neighbours in the index.
pub fn new_id(now: Timestamp) -> Uuid {
    const MICROS_1970_TO_2000: i64 = 946_684_800_000_000;
    let mut bytes: [u8; 16] = random();
    let millis = ((now.0 + MICROS_1970_TO_2000) / 1000) as u64;
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6] = (bytes[6] & 0x0F) | 0x70;
    bytes[8] = (bytes[8] & 0x3F) | 0x80;
    Uuid::from_bytes(bytes)
}

/// The role that the server runs the caller under, outside every SECURITY DEFINER function: what SET ROLE or the login
/// chose. No setting that a client can write has a part in it.
pub fn outer_role() -> Oid {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::GetOuterUserId() }
}

pub fn role_name(role: Oid) -> String {
    // SAFETY: noerr = true returns NULL for a role dropped meanwhile.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() { "?".into() } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
    }
}

/// Whether a role is a superuser or may execute one of the marker functions `sec.level_*`.
pub fn has_level(role: Oid, marker: &CStr) -> bool {
    // SAFETY: looks a function of no arguments up by name; the list and its strings live in the current memory context.
    unsafe {
        if pg_sys::superuser_arg(role) {
            return true;
        }
        let mut names = pg_sys::lappend(std::ptr::null_mut(), string_node(c"sec"));
        names = pg_sys::lappend(names, string_node(marker));
        let function = pg_sys::LookupFuncName(names, 0, std::ptr::null(), true);
        function != Oid::INVALID && may_execute(function, role)
    }
}

unsafe fn string_node(text: &CStr) -> *mut std::ffi::c_void {
    unsafe { pg_sys::makeString(pg_sys::pstrdup(text.as_ptr())).cast() }
}

/// `ACL_EXECUTE` in the width that this version of the server takes.
fn acl_execute() -> pg_sys::AclMode {
    #[allow(clippy::useless_conversion)]
    pg_sys::ACL_EXECUTE.into()
}

#[cfg(feature = "pg15")]
unsafe fn may_execute(function: Oid, role: Oid) -> bool {
    unsafe { pg_sys::pg_proc_aclcheck(function, role, acl_execute()) == pg_sys::AclResult::ACLCHECK_OK }
}

#[cfg(not(feature = "pg15"))]
unsafe fn may_execute(function: Oid, role: Oid) -> bool {
    unsafe {
        pg_sys::object_aclcheck(pg_sys::ProcedureRelationId, function, role, acl_execute())
            == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// `request.jwt.claims`, if it is set and not empty.
pub fn jwt_claims() -> Option<String> {
    // SAFETY: missing_ok returns NULL for a setting that does not exist; the text is copied at once.
    unsafe {
        let value = pg_sys::GetConfigOption(c"request.jwt.claims".as_ptr(), true, false);
        if value.is_null() || *value == 0 { None } else { CStr::from_ptr(value).to_str().ok().map(String::from) }
    }
}

/// Takes notice of what other backends announced since this one last looked.
pub fn accept_invalidations() {
    // SAFETY: may call the callbacks registered below, which only set thread-locals.
    unsafe { pg_sys::AcceptInvalidationMessages() };
}

/// Keeps stack traces out of errors, whatever the server's environment says: they are nobody's business but the log's.
pub fn no_backtraces() {
    // SAFETY: called from _PG_init, before any thread but the backend's own could read the environment.
    unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
}

/// The server's own hash: the same in every backend.
pub fn hash(bytes: &[u8]) -> u32 {
    // SAFETY: reads so many bytes.
    unsafe { pg_sys::hash_bytes(bytes.as_ptr(), bytes.len() as c_int) }
}

/// The next value of a sequence.
pub fn next_value(sequence: Oid) -> i64 {
    // SAFETY: raises for anything that is not a sequence.
    unsafe { pg_sys::nextval_internal(sequence, false) }
}

/// The oid of a relation by schema and name.
pub fn relation(schema: &CStr, name: &CStr) -> Option<Oid> {
    // SAFETY: both lookups return InvalidOid for what does not exist.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        if namespace == Oid::INVALID {
            return None;
        }
        let oid = pg_sys::get_relname_relid(name.as_ptr(), namespace);
        (oid != Oid::INVALID).then_some(oid)
    }
}

/// Whether every statement of this transaction sees what was committed before it (READ COMMITTED).
pub fn statements_see_commits() -> bool {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::XactIsoLevel < pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Tells every backend, once this transaction commits, that what it remembers of a table is old.
pub fn announce_change(relation: Oid) {
    // SAFETY: queues an invalidation message for an existing relation.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
}

/// Has `forget` called whenever anything about any relation changes.
pub fn on_relation_change(forget: unsafe extern "C-unwind" fn(pg_sys::Datum, Oid)) {
    // SAFETY: called once, from _PG_init; the callback only sets thread-locals.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(forget), pg_sys::Datum::from(0usize)) };
}

// pgrx keeps these to itself because its own macros know no SQLSTATE outside Postgres's list; PTnnn is PostgREST's.
unsafe extern "C-unwind" {
    fn errstart_cold(elevel: c_int, domain: *const c_char) -> bool;
    fn errcode(sqlerrcode: c_int) -> c_int;
    fn errmsg_internal(format: *const c_char, ...) -> c_int;
    fn errdetail_internal(format: *const c_char, ...) -> c_int;
    fn errhint(format: *const c_char, ...) -> c_int;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
}

/// Five characters as the server packs them into a number, six bits each.
fn packed(sqlstate: &str) -> c_int {
    sqlstate
        .bytes()
        .enumerate()
        .fold(0, |code, (i, byte)| code | (((c_int::from(byte)) - c_int::from(b'0')) & 0x3F) << (6 * i))
}

/// Raises an ERROR.
pub fn raise(sqlstate: &str, message: &str, detail: &str, hint: &str) -> ! {
    report(pgrx::PgLogLevel::ERROR as c_int, sqlstate, message, detail, hint);
    unreachable!("an ERROR does not return")
}

/// Writes a line to the server's log, and nothing to the client.
pub fn log(message: &str, detail: &str) {
    report(pgrx::PgLogLevel::LOG_SERVER_ONLY as c_int, "00000", message, detail, "");
}

fn report(level: c_int, sqlstate: &str, message: &str, detail: &str, hint: &str) {
    let text = |s: &str| CString::new(s.replace('\0', "")).expect("NULs were removed");
    let (message, detail, hint) = (text(message), text(detail), text(hint));
    let code = packed(sqlstate);
    let (message, detail, hint) = (Pstr::new(&message), Pstr::new(&detail), Pstr::new(&hint));
    // SAFETY: nothing with a destructor is inside; the texts were copied into server memory, which an ERROR leaves alone
    // until the transaction ends.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            if errstart_cold(level, std::ptr::null()) {
                errcode(code);
                errmsg_internal(c"%s".as_ptr(), message.0);
                errdetail_internal(c"%s".as_ptr(), detail.0);
                if *hint.0 != 0 {
                    errhint(c"%s".as_ptr(), hint.0);
                }
                errfinish(c"mps".as_ptr(), 0, std::ptr::null());
            }
        });
    }
}

/// A text in server memory: plain data, so that it may be on the stack when an ERROR jumps.
#[derive(Clone, Copy)]
struct Pstr(*const c_char);

impl Pstr {
    fn new(text: &CStr) -> Pstr {
        // SAFETY: copies a NUL-terminated string.
        Pstr(unsafe { pg_sys::pstrdup(text.as_ptr()) })
    }
}
