//! Memory of the server's for a part of a call: what is long, and goes through many rows, gives back what each part took.

use pgrx::memcxt::PgMemoryContexts;

/// Runs `work`, and frees what it allocated in the current memory context. What it returns is Rust's own.
pub fn in_scratch<T: 'static>(work: impl FnOnce() -> T) -> T {
    let mut scratch = PgMemoryContexts::new("mps scratch");
    // SAFETY: parameters of statements are used before `work` ends, and no type that leaves the engine points into the server's memory:
    // `T` borrows nothing. Where an ERROR unwinds through this, the server has left the context already, and its owner deletes it.
    unsafe { scratch.switch_to(|_| work()) }
}
