//! Memory of the server's for a part of a call: what is long, and goes through many rows, gives back what each part took.

use pgrx::pg_sys;

/// Runs `work`, and frees what it allocated in the current memory context. What it returns is Rust's own.
pub fn in_scratch<T: 'static>(work: impl FnOnce() -> T) -> T {
    // SAFETY: parameters of statements are used before `work` ends, and no type that leaves the engine points into the server's memory:
    // `T` borrows nothing. Where an ERROR unwinds through this, the server has left the context already, and its parent deletes it. The
    // name is not copied, as pgrx would, into the memory of the call.
    unsafe {
        let scratch = pg_sys::AllocSetContextCreateExtended(
            pg_sys::CurrentMemoryContext,
            c"mps scratch".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        let before = pg_sys::MemoryContextSwitchTo(scratch);
        let value = work();
        pg_sys::MemoryContextSwitchTo(before);
        pg_sys::MemoryContextDelete(scratch);
        value
    }
}
