//! How rows are read and written, and what is asked of the server: the only `unsafe`. It knows tables by their declarations,
//! nothing of what they mean, and of money only the type. What leaves it is plain Rust values.
//!
//! What every `// SAFETY:` here stands on, and does not say again:
//!
//! - All of it runs in the one thread of a backend and, but for what `_PG_init` calls, in a function that the executor or a
//!   statement's planning calls: in a transaction, and under an active snapshot.
//! - pgrx wraps every function of `pg_sys`: an ERROR in it comes back as a panic, with the memory context of who called it. So
//!   frames unwind and destructors run; no `longjmp` passes a frame of ours but where that is said.
//! - Nobody swallows an ERROR. It goes on to the abort of the (sub)transaction, which gives back what is open or held by then:
//!   relations, scans, pins of buffers, locks, snapshots, connections of SPI, memory. Whoever goes on after a call knows that the
//!   call succeeded.
//! - What is allocated in the current memory context lives until the RPC's connection to SPI ends, or until its call does.
//! - A relation stays where it is while it is open, and nothing that is asked about here changes under its lock. But any look into a
//!   catalog can have the server read its description anew: `trigdesc` is other memory then, `rd_rel` and `rd_index` are written over
//!   in place, and an old `rd_att` is kept until the transaction ends. So references into any but the last are not held over a call
//!   that looks.

pub mod cache;
#[allow(unsafe_code)]
pub mod db;
#[allow(unsafe_code)]
pub mod ddl;
#[allow(unsafe_code)]
pub mod deadline;
#[allow(unsafe_code)]
pub mod direct;
#[allow(unsafe_code)]
pub mod fee;
pub mod labels;
pub mod lists;
#[allow(unsafe_code)]
pub mod option;
pub mod param;
pub mod record;
#[allow(unsafe_code)]
pub mod row;
#[allow(unsafe_code)]
pub mod scratch;
pub mod secret_file;
pub mod sequences;
pub mod server;
#[allow(unsafe_code)]
pub mod types;
#[allow(unsafe_code)]
pub mod withheld;
