//! How rows are read and written, and what is asked of the server: the only `unsafe`. It knows tables by their declarations,
//! nothing of what they mean, and of money only the type. What leaves it is plain Rust values.

pub mod cache;
#[allow(unsafe_code)]
pub mod db;
#[allow(unsafe_code)]
pub mod ddl;
#[allow(unsafe_code)]
pub mod direct;
pub mod labels;
pub mod param;
pub mod record;
#[allow(unsafe_code)]
pub mod row;
pub mod sequences;
pub mod server;
#[allow(unsafe_code)]
pub mod types;
#[allow(unsafe_code)]
pub mod withheld;
