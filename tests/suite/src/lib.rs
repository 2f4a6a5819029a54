//! Tests in a database, over real connections. This library is what they share:
//!
//! - [`Db`]: a fresh database for one test, cloned from a template; given up, its books are checked and it is dropped
//! - [`Session`]: one connection in the shoes of somebody: superuser, backend, signed-in user, stranger
//! - [`Shop`]: a merchant with a cashier, and short names for what happens at the till
//! - [`manual`]: documents whose commands are run; [`reader`]: who runs them
//! - [`gateways`]: keys and certificates of payment gateways, which are nobody's
//! - [`books`]: what must hold of the tables after whatever happened
//! - [`releases`]: databases of earlier releases, and sessions that run their libraries
//!
//! The server is the one that PGHOST, PGPORT and PGUSER (a superuser) name; the roles below must be able to log in
//! without a password, as in the cluster of `tools/cluster`.

mod books;
mod clock;
mod cluster;
mod db;
pub mod gateways;
pub mod manual;
mod meter;
mod race;
pub mod reader;
mod rebuilt;
pub mod releases;
mod session;
mod shop;
pub mod tree;

pub use clock::Clock;
pub use cluster::{Cluster, Scratch, Till, contents, free_port, program, sequences, until};
pub use db::Db;
pub use meter::Meter;
pub use race::{Waiting, together};
pub use rebuilt::{differences, not_compared};
pub use session::{Failure, NULL, Row, Session, TOKENS, claims, q, sqlstate_of};
pub use shop::{Company, Member, SHOP, Shop, nobody};
