//! The bills that WeChat Pay and Alipay let a shop download, read line by line: what a file says, whether it adds up, whose it is.
//!
//! [`read`] takes a file as it was downloaded (plain, gzip or ZIP) and gives each line to a sink. What the file as a whole promises is
//! known only at its end: a caller keeps nothing of what the sink took unless [`read`] returned the [`Bill`].
//!
//! No clock, no files, no memory that grows with the bill: a buffer for a line, and what unzips.

mod account;
mod alipay;
mod amount;
mod columns;
mod day;
mod header;
mod line;
mod lines;
mod pack;
mod reading;
mod refusal;
mod tally;
mod wechat;
mod zip;

pub use account::Account;
pub use amount::{FEE_UNITS_PER_FEN, Yuan};
pub use day::{BORDER_MICROS, DAY_MICROS, Day};
pub use line::{Bill, Charset, Direction, Entry, Flow, Kind, Line, Packed, Provider, Side, Warning};
pub use lines::Limits;
pub use reading::{Asked, Stopped, read};
pub use refusal::Refusal;
