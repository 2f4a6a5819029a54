//! What MPS asks of the server itself, apart from statements: clock, randomness, roles, locks, errors.
#![allow(unsafe_code)]

use crate::engine::types::{Timestamp, Uuid};
use mps_domain::bucket;
use mps_domain::bucket::Bucket;
use mps_domain::error::Error;
use pgrx::IntoDatum;
use pgrx::pg_sys::{self, Oid};
use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The server's clock, now (not the start of the transaction).
pub fn now() -> Timestamp {
    // SAFETY: takes nothing, and asks nothing of its caller.
    Timestamp(unsafe { pg_sys::GetCurrentTimestamp() })
}

/// Ends here where the call was cancelled.
pub fn check_for_interrupts() {
    pgrx::check_for_interrupts!();
}

/// When the statement of the client began that is running.
pub fn statement_began() -> Timestamp {
    // SAFETY: reads a backend-local variable.
    Timestamp(unsafe { pg_sys::GetCurrentStatementStartTimestamp() })
}

/// The moment at which the clocks of a zone, by its name, show a time (in microseconds since 2000-01-01 00:00). A time that does
/// not exist is read by the offset before the turn, one that exists twice by the one after it. An unknown zone is an error.
pub fn moment_of(zone: &str, local: i64) -> Timestamp {
    let arguments = [zone.into_datum(), Some(pg_sys::Datum::from(local))];
    // SAFETY: the arguments are those of timezone(text, timestamp), the first a copy in the call's memory; the result is by value.
    let moment = unsafe { pgrx::direct_function_call::<i64>(pg_sys::timestamp_zone, &arguments) };
    Timestamp(moment.expect("of what is not NULL"))
}

/// What the clocks of a zone, by its name, show at a moment, in microseconds since 2000-01-01 00:00. An unknown zone is an error.
pub fn local_of(zone: &str, at: Timestamp) -> i64 {
    let arguments = [zone.into_datum(), at.into_datum()];
    // SAFETY: the arguments are those of timezone(text, timestamptz), the first a copy in the call's memory; the result is by value.
    let local = unsafe { pgrx::direct_function_call::<i64>(pg_sys::timestamptz_zone, &arguments) };
    local.expect("of what is not NULL")
}

/// Bytes from the server's strong source of randomness.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    // SAFETY: the array has room for the N bytes that are written, and nobody else sees it meanwhile.
    let filled = unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), N) };
    assert!(filled, "the server has no strong random numbers");
    bytes
}

/// Where the server's data is.
pub fn data_directory() -> PathBuf {
    // SAFETY: the server set it before it started any backend, and nobody changes it.
    let path = unsafe { CStr::from_ptr(pg_sys::DataDir) };
    PathBuf::from(OsStr::from_bytes(path.to_bytes()))
}

/// A new id whose beginning is the time (RFC 9562, version 7), so that neighbours in time are neighbours in the index.
pub fn new_id(now: Timestamp) -> Uuid {
    let mut bytes: [u8; 16] = random();
    let millis = (now.unix_micros() / 1000) as u64;
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6] = 0x70 + (bytes[6] >> 4);
    bytes[8] = 0x80 + (bytes[8] >> 2);
    Uuid::from_bytes(bytes)
}

/// As [`new_id`], of a card, which carries its bucket.
pub fn new_card_id(now: Timestamp, bucket: Bucket) -> Uuid {
    Uuid::from_bytes(bucket::card_id(*new_id(now).as_bytes(), bucket))
}

/// As [`new_card_id`], of the card that replaces another: a greater id than that one's.
pub fn successor_id(now: Timestamp, bucket: Bucket, replaced: Uuid) -> Uuid {
    Uuid::from_bytes(bucket::successor_id(*new_id(now).as_bytes(), bucket, replaced.as_bytes()))
}

/// The role that the server runs the session under, outside every SECURITY DEFINER function: what SET ROLE or the login
/// chose. No setting that a client can write has a part in it.
pub fn outer_role() -> Oid {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::GetOuterUserId() }
}

/// The role whose rights are those of now: outside [`as_role`] that of the immediate caller, which can be the owner of a
/// SECURITY DEFINER function, or of a table whose expressions maintenance evaluates.
pub fn present_role() -> Oid {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::GetUserId() }
}

/// Whether the server runs somebody's code on another's behalf: ANALYZE, autovacuum, REINDEX, REFRESH MATERIALIZED VIEW and so on;
/// and what a subscription applies, which PostgreSQL 15 does as its owner.
pub fn in_restricted_operation() -> bool {
    // SAFETY: reads backend-local variables.
    unsafe { pg_sys::InSecurityRestrictedOperation() || pg_sys::IsLogicalWorker() }
}

/// Does something with the rights of a role and under the fixed search_path: what SECURITY DEFINER and SET do, but after the
/// library has seen who calls. An ERROR leaves the putting back to the abort of the (sub)transaction, as theirs does.
pub fn as_role<T>(role: Oid, work: impl FnOnce() -> T) -> T {
    let mut before = (Oid::INVALID, 0);
    // SAFETY: the names are constants, and the server copies values. What is put back below is what was there; an ERROR in between
    // leaves that to the abort, which knows both levels.
    let nest = unsafe {
        pg_sys::GetUserIdAndSecContext(&mut before.0, &mut before.1);
        let nest = pg_sys::NewGUCNestLevel();
        pg_sys::SetUserIdAndSecContext(role, before.1 | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32);
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            c"pg_catalog, pg_temp".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        nest
    };
    let done = work();
    // SAFETY: as above, in the reverse order.
    unsafe {
        pg_sys::AtEOXact_GUC(true, nest);
        pg_sys::SetUserIdAndSecContext(before.0, before.1);
    }
    done
}

pub fn role_name(role: Oid) -> String {
    // SAFETY: noerr = true returns NULL for a role dropped meanwhile.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() { "?".into() } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
    }
}

pub fn is_superuser(role: Oid) -> bool {
    // SAFETY: only a number goes in, and a role that is gone has no such right.
    unsafe { pg_sys::superuser_arg(role) }
}

/// Whether a role sees every row, whatever binds others (BYPASSRLS).
pub fn bypasses_row_security(role: Oid) -> bool {
    // SAFETY: only a number goes in, and a role that is gone has no such right.
    unsafe { pg_sys::has_bypassrls_privilege(role) }
}

/// A function of ours without arguments, in the schema `sec`, whether or not the present role may look into that.
pub fn marker(name: &CStr) -> Option<Oid> {
    // SAFETY: both lookups return InvalidOid for what does not exist; the key lives as long as the lookup.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(c"sec".as_ptr(), true);
        if namespace == Oid::INVALID {
            return None;
        }
        let no_arguments = pg_sys::buildoidvector(std::ptr::null(), 0);
        let function = pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as i32,
            pg_sys::Anum_pg_proc_oid as i16,
            pg_sys::Datum::from(name.as_ptr()),
            pg_sys::Datum::from(no_arguments),
            pg_sys::Datum::from(namespace),
            pg_sys::Datum::from(0usize),
        );
        (function != Oid::INVALID).then_some(function)
    }
}

/// Who owns a function.
pub fn function_owner(function: Oid) -> Option<Oid> {
    // SAFETY: the tuple is read before it is released.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::PROCOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(function));
        if tuple.is_null() {
            return None;
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>()).proowner;
        pg_sys::ReleaseSysCache(tuple);
        Some(owner)
    }
}

/// `ACL_EXECUTE` in the width that this version of the server takes.
fn acl_execute() -> pg_sys::AclMode {
    #[allow(clippy::useless_conversion)]
    pg_sys::ACL_EXECUTE.into()
}

#[cfg(feature = "pg15")]
pub fn may_execute(function: Oid, role: Oid) -> bool {
    // SAFETY: only numbers go in, and a function that is gone is an ERROR.
    unsafe { pg_sys::pg_proc_aclcheck(function, role, acl_execute()) == pg_sys::AclResult::ACLCHECK_OK }
}

#[cfg(not(feature = "pg15"))]
pub fn may_execute(function: Oid, role: Oid) -> bool {
    // SAFETY: only numbers go in, and a function that is gone is an ERROR.
    unsafe {
        pg_sys::object_aclcheck(pg_sys::ProcedureRelationId, function, role, acl_execute())
            == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// `request.jwt.claims`, if it is set and not empty.
pub fn jwt_claims() -> Option<String> {
    setting(c"request.jwt.claims", usize::MAX)
}

/// The method of the request as PostgREST has it, if it is set.
pub fn request_method() -> Option<String> {
    setting(c"request.method", 16)
}

/// The headers of the request as PostgREST has them, if they are set, not empty, and no longer than this.
pub fn request_headers(most_bytes: usize) -> Option<String> {
    setting(c"request.headers", most_bytes)
}

fn setting(name: &CStr, most_bytes: usize) -> Option<String> {
    // SAFETY: missing_ok returns NULL for a setting that does not exist; the text is copied at once.
    unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        if value.is_null() || *value == 0 {
            return None;
        }
        let value = CStr::from_ptr(value);
        if value.count_bytes() > most_bytes { None } else { value.to_str().ok().map(String::from) }
    }
}

/// Status and headers of the answer that PostgREST gives, which it asks for when the statement has ended; until the transaction ends.
pub fn answer_with(status: i32, headers: &str) {
    for (name, value) in [(c"response.status", &*status.to_string()), (c"response.headers", headers)] {
        let value = CString::new(value).expect("our own headers have no NUL");
        // SAFETY: the server copies both texts; as set_config(..., is_local => true) does.
        unsafe {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_LOCAL,
                true,
                0,
                false,
            );
        }
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

/// The next value of a sequence.
pub fn next_value(sequence: Oid) -> i64 {
    // SAFETY: only a number goes in, and what is no sequence is an ERROR.
    unsafe { pg_sys::nextval_internal(sequence, false) }
}

/// Whether a backend takes more than one value of a sequence at once (CACHE).
pub fn takes_in_store(sequence: Oid) -> bool {
    let cache = pg_sys::SysCacheIdentifier::SEQRELID as i32;
    // SAFETY: the tuple is read before it is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(sequence));
        if tuple.is_null() {
            return false;
        }
        let takes = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_sequence>()).seqcache > 1;
        pg_sys::ReleaseSysCache(tuple);
        takes
    }
}

/// Gives up what this backend has taken from sequences and not used: as DISCARD SEQUENCES.
pub fn forget_store() {
    // SAFETY: nobody keeps a pointer to what is freed: the server looks it up for every value.
    unsafe { pg_sys::ResetSequenceCaches() };
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

/// Whether a plan is running whose parts are done by parallel workers, here or in one of them: the server takes no new snapshot then.
pub fn shares_its_snapshot() -> bool {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::IsInParallelMode() }
}

/// Tells every backend, once this transaction commits, that what it remembers of a table is old.
pub fn announce_change(relation: Oid) {
    // SAFETY: only a number goes in, and a relation that is gone is an ERROR.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
}

/// As [`announce_change`], but at once, whatever becomes of this transaction: for what others see in the locks that it holds.
pub fn announce_now(relation: Oid) {
    const CHANGE_OF_A_RELATION: i8 = pg_sys::SHAREDINVALRELCACHE_ID as i8;
    // SAFETY: the union is plain data, of which the server reads what the id stands for, and copies it.
    unsafe {
        let mut message: pg_sys::SharedInvalidationMessage = std::mem::zeroed();
        message.rc =
            pg_sys::SharedInvalRelcacheMsg { id: CHANGE_OF_A_RELATION, dbId: pg_sys::MyDatabaseId, relId: relation };
        pg_sys::SendSharedInvalidMessages(&message, 1);
    }
}

/// Locks a relation as who writes into it does, until the transaction ends.
pub fn lock_to_write(relation: Oid) {
    // SAFETY: only numbers go in; a relation that is gone is locked to no purpose.
    unsafe { pg_sys::LockRelationOid(relation, pg_sys::RowExclusiveLock as i32) };
}

/// Whether that lock could be had at once: nobody has, or waits for, one that keeps writers away. It is not kept.
pub fn lets_write(relation: Oid) -> bool {
    // SAFETY: as above; what was locked here is unlocked, and what was locked before stays so.
    unsafe {
        let lets = pg_sys::ConditionalLockRelationOid(relation, pg_sys::RowExclusiveLock as i32);
        if lets {
            pg_sys::UnlockRelationOid(relation, pg_sys::RowExclusiveLock as i32);
        }
        lets
    }
}

/// Whether this transaction, or what it is part of, has written anything, or locked a row.
pub fn has_written() -> bool {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::TransactionId::INVALID }
}

/// Has `forget` called whenever anything about any relation changes.
pub fn on_relation_change(forget: unsafe extern "C-unwind" fn(pg_sys::Datum, Oid)) {
    // SAFETY: called once, from _PG_init. The server keeps the callback for ever, as it keeps the library; it only sets thread-locals.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(forget), pg_sys::Datum::from(0usize)) };
}

/// Has `forget` called whenever anything about any function or schema changes.
pub fn on_function_change(forget: unsafe extern "C-unwind" fn(pg_sys::Datum, c_int, u32)) {
    // SAFETY: as `on_relation_change`.
    unsafe {
        for cache in [pg_sys::SysCacheIdentifier::PROCOID, pg_sys::SysCacheIdentifier::NAMESPACEOID] {
            pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(forget), pg_sys::Datum::from(0usize));
        }
    }
}

/// Has `forget` called whenever anything about any type, constraint or operator class changes.
pub fn on_type_change(forget: unsafe extern "C-unwind" fn(pg_sys::Datum, c_int, u32)) {
    use pg_sys::SysCacheIdentifier::{AMOPOPID, AMPROCNUM, CONSTROID, TYPEOID};
    // SAFETY: as `on_relation_change`.
    unsafe {
        for cache in [TYPEOID, CONSTROID, AMPROCNUM, AMOPOPID] {
            pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(forget), pg_sys::Datum::from(0usize));
        }
    }
}

/// Whether this session has ever made a temporary object.
pub fn has_temporary_schema() -> bool {
    let (mut schema, mut toast) = (Oid::INVALID, Oid::INVALID);
    // SAFETY: reads two backend-local variables.
    unsafe { pg_sys::GetTempNamespaceState(&mut schema, &mut toast) };
    schema != Oid::INVALID
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

/// What errors of ours say in place of a source file.
pub const SOURCE: &CStr = c"mps";

/// Up to five characters as the server packs them into a number, six bits each.
pub fn packed(sqlstate: &str) -> c_int {
    sqlstate
        .bytes()
        .enumerate()
        .fold(0, |code, (i, byte)| code + ((((c_int::from(byte)) - c_int::from(b'0')) & 0x3F) << (6 * i)))
}

/// Raises an error as the server's. Never returns to the caller.
pub trait Raise {
    fn raise(self) -> !;
}

impl Raise for Error {
    fn raise(self) -> ! {
        let level = pgrx::PgLogLevel::ERROR as c_int;
        report(level, &self.token.sqlstate(), self.token.name(), &self.detail, self.hint());
        unreachable!("an ERROR does not return")
    }
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
                errfinish(SOURCE.as_ptr(), 0, std::ptr::null());
            }
        });
    }
}

/// A text in server memory: plain data, so that it may be on the stack when an ERROR jumps.
#[derive(Clone, Copy)]
struct Pstr(*const c_char);

impl Pstr {
    fn new(text: &CStr) -> Pstr {
        // SAFETY: a CStr ends with a NUL and lives until it has been copied.
        Pstr(unsafe { pg_sys::pstrdup(text.as_ptr()) })
    }
}
