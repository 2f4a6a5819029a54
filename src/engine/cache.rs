//! What a backend remembers between calls, and when it forgets. Whoever reads something that is worth keeping keeps it in a
//! [`Kept`], with the number of changes that the server had announced before it was read; after the next one it is read anew. The
//! trigger sec.config_changed has the server announce changes of settings and levels as those of relations. A rolled-back
//! change is announced in the same way to the backend that made it.

use crate::engine::server;
use pgrx::pg_sys::{Datum, Oid};
use std::cell::{Cell, RefCell};

thread_local! {
    /// Count the announcements.
    static RELATIONS: Cell<u64> = const { Cell::new(0) };
    static FUNCTIONS: Cell<u64> = const { Cell::new(0) };
    static TYPES: Cell<u64> = const { Cell::new(0) };
    /// Relations of which a change is of interest, in order; none: not known.
    static WATCHED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

pub fn init() {
    server::on_relation_change(relation_changed);
    server::on_function_change(function_changed);
    server::on_type_change(type_changed);
}

/// # Safety
/// Only for the server to call. A panic would unwind frames of C: there is none, as nobody calls the server while WATCHED is borrowed,
/// and the server's last call is before the thread's variables go.
#[allow(unsafe_code)] // the signature of the server's callback
unsafe extern "C-unwind" fn relation_changed(_: Datum, relation: Oid) {
    RELATIONS.set(RELATIONS.get().wrapping_add(1));
    // A month that is attached changes its table, too. InvalidOid stands for everything.
    WATCHED.with_borrow_mut(|watched| {
        if relation == Oid::INVALID || watched.binary_search(&relation.to_u32()).is_ok() {
            watched.clear();
        }
    });
}

/// # Safety
/// As [`relation_changed`].
#[allow(unsafe_code)] // the signature of the server's callback
unsafe extern "C-unwind" fn function_changed(_: Datum, _: i32, _: u32) {
    FUNCTIONS.set(FUNCTIONS.get().wrapping_add(1));
    WATCHED.with_borrow_mut(Vec::clear);
}

/// # Safety
/// As [`relation_changed`].
#[allow(unsafe_code)] // the signature of the server's callback
unsafe extern "C-unwind" fn type_changed(_: Datum, _: i32, _: u32) {
    TYPES.set(TYPES.get().wrapping_add(1));
}

/// How many changes of relations have been announced.
pub fn relations() -> u64 {
    RELATIONS.get()
}

/// How many changes of functions have been announced.
pub fn functions() -> u64 {
    FUNCTIONS.get()
}

/// How many changes of either.
pub fn changes() -> u64 {
    relations().wrapping_add(functions())
}

/// How many changes of anything that can have a table run code: those of relations and functions, and of types (a domain's CHECK
/// and default) and operator classes, which are announced as no change of the tables that use them.
pub fn changes_of_code() -> u64 {
    changes().wrapping_add(TYPES.get())
}

/// What a look finds that nothing has changed meanwhile, and after how many changes: a look can itself be told of some.
pub fn settled<T>(changes: impl Fn() -> u64, look: impl Fn() -> T) -> (u64, T) {
    loop {
        let read_at = changes();
        let found = look();
        if changes() == read_at {
            return (read_at, found);
        }
    }
}

/// Something that was read, and after how many changes.
pub struct Kept<T>(RefCell<Option<(u64, T)>>);

impl<T: Clone> Kept<T> {
    pub const fn new() -> Kept<T> {
        Kept(RefCell::new(None))
    }

    /// What was kept, unless there have been changes since.
    pub fn get(&self, changes: u64) -> Option<T> {
        self.0.borrow().as_ref().filter(|(at, _)| *at == changes).map(|(_, value)| value.clone())
    }

    /// Keeps what was read when there had been so many changes: if there have been others meanwhile, it is never found.
    pub fn keep(&self, read_at: u64, value: T) {
        *self.0.borrow_mut() = Some((read_at, value));
    }
}

/// Whether nothing has happened to the relations that were last said to be watched, nor to any function.
pub fn watched_are_unchanged() -> bool {
    WATCHED.with_borrow(|watched| !watched.is_empty())
}

/// Watches relations from now on, if there have been no other changes than those before they were read.
pub fn watch(relations: impl Iterator<Item = Oid>, read_at: u64) {
    if changes() == read_at {
        let mut relations: Vec<u32> = relations.map(Oid::to_u32).collect();
        relations.sort_unstable();
        WATCHED.set(relations);
    }
}
