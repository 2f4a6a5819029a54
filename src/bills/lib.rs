//! The bills that WeChat Pay and Alipay let a shop download, read line by line: what a file says, whether it adds up, whose it is.
//!
//! [`read`] takes a file as it was downloaded (plain, gzip or ZIP) and gives each line to a sink. What the file as a whole promises is
//! known only at its end: a caller keeps nothing of what the sink took unless [`read`] returned the [`Bill`].
//!
//! ```
//! use mps_bills::{Account, Asked, Day, Kind, Limits, Refusal, Stopped, read};
//!
//! let content = b"{\"code\":\"NO_STATEMENT_EXIST\",\"message\":\"...\"}";
//! let account = Account::Wechat { mchid: "1900000109", sub_mchids: None, appids: &[] };
//! let asked = Asked { kind: Kind::Trade, day: Day::new(2026, 11, 25).unwrap(), account };
//! let mut kept = Vec::new();
//! let bill = read(content, &asked, &Limits::default(), |line| {
//!     kept.push((line.trade_no.to_owned(), line.order_amount));
//!     Ok::<(), ()>(())
//! });
//! assert_eq!(bill, Err(Stopped::Refused(Refusal::NoStatement)));
//! ```
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
