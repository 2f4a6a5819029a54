//! MPS: membership cards and payments inside Postgres. This file is the map of the house:
//!
//! - `domain` (crate `mps-domain`): what is decided, without Postgres; the closed list of errors
//! - [`engine`]: how rows are read and written, and what is asked of the server; the only `unsafe`
//! - [`kernel`]: what every RPC stands on: the call, who calls, access, arguments, settings, keys, the log
//! - [`ledger`]: the only code that moves a balance
//! - [`features`]: a folder for each family, a file for each RPC: authorise, lock, decide, write, answer
//!
//! Each uses those above it in this list, and a family another one only by its `mod.rs`; `tests/tidy` holds it.
//!
//! - [`sql`]: what CREATE EXTENSION runs, the files of `sql/` in their order
// Money is never a fraction of two, and what a server has to say goes into its log.
#![warn(clippy::float_arithmetic, clippy::print_stderr, clippy::print_stdout)]
// One step for each file that `sql` names.
#![recursion_limit = "512"]

#[macro_use]
mod engine;
mod kernel;
mod ledger;
mod sql;
// Last: it stands on the others.
mod features;

pgrx::pg_module_magic!();

/// Called by Postgres when it loads the library.
#[pgrx::pg_guard]
#[allow(unsafe_code)] // the name that Postgres looks for
pub extern "C-unwind" fn _PG_init() {
    engine::server::no_backtraces();
    engine::cache::init();
    engine::option::init();
}
