//! Rows without statements: what the executor would do to one row of a known table, called directly. A statement through the
//! executor costs two to three times what the row and its index entries cost.
//!
//! Only where it does exactly what the statement would: a plain table of our own columns in their order, without rules, and
//! without row-level security that binds its owner. What else may stand in the way is said where it is asked. Users' own
//! indexes are served like ours. Everything else is left to the statement, which does the same at its price. What is skipped:
//! what hooks of other extensions see of a statement.
//!
//! Nothing about a table is remembered: it is asked every time, under the lock that the statement would take and with the
//! cost of a few comparisons.

mod find;
mod insert;
mod range;
mod table;
mod update;

pub use find::{Access, Found, Path, Taken, find};
pub use insert::{Inserted, Unique, insert};
pub use range::{Series, Span, newest};
pub use table::{Change, PLACEHOLDER, Table, detached, refuse_detached};
pub use update::{Updated, update};
