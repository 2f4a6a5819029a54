//! The only code that touches tables and the server. SQL text and `unsafe` live here and do not leak out: what leaves is
//! typed functions ("lock this card", "insert this transaction") over plain Rust values.

/// Columns, as an array of their names.
macro_rules! array {
    ($($column:literal),*) => { &[$($column),*] };
}

/// Columns, as a statement lists them.
macro_rules! listed {
    ($first:literal $(, $column:literal)*) => { concat!($first $(, ", ", $column)*) };
}

pub mod audit;
pub mod cache;
pub mod cards;
pub mod days;
#[allow(unsafe_code)]
pub mod ddl;
#[allow(unsafe_code)]
mod direct;
pub mod keys;
mod labels;
pub mod late;
pub mod members;
pub mod merchants;
pub mod months;
pub mod points;
#[allow(unsafe_code)]
mod row;
pub mod server;
pub mod settings;
mod shadows;
pub mod soundness;
#[allow(unsafe_code)]
mod spi;
pub mod suspense;
pub mod sweep;
pub mod transactions;
#[allow(unsafe_code)]
pub mod types;
#[allow(unsafe_code)]
pub mod withheld;

pub use spi::{Db, kept_from_being_written};
