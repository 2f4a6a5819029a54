//! Reconciliation: what payment gateways say of a day in their own files, beside the books and the callbacks.
//!
//! Whoever writes here holds the row of the account, so that days, items and bills of one account change one after the other. It is locked
//! last: what an item moves (trade numbers, payments, cards) comes before it, in its own order.

mod bills;
mod close_recon_day;
mod comparing;
mod days;
mod import_bill;
mod items;
mod reconcile;
mod resolution;
mod resolve_recon_item;
mod taking_back;

use crate::engine::types::{Day, Text};
use crate::features::gateways::{self, Whole as Account};
use crate::kernel::args;
use crate::kernel::call::Call;
use crate::kernel::months::Open;
use mps_domain::error::{Result, Token};

/// Days of 1970-01-01 before the first day that the server counts.
const UNIX_DAYS: i32 = 10_957;

/// An account that nobody else reconciles meanwhile.
struct Held<'a> {
    code: &'a str,
    account: Account,
    day: Day,
}

/// Locks an account for one of its days.
fn hold<'a>(call: &'a Call, account: Option<Text<'a>>, day: Option<Day>) -> Result<Held<'a>> {
    let code = args::code(account, "p_account")?;
    let day = args::day(args::required(day, "p_bill_date")?, "p_bill_date")?;
    lock(call, call.open_month()?, code)?;
    // As it is under the lock.
    let account = gateways::find_account(call.db, code).ok_or(Token::GatewayAccountNotFound)?;
    Ok(Held { code, account, day })
}

/// Keeps others from days and items of an account.
fn lock(call: &Call, open: Open, code: &str) -> Result<()> {
    gateways::lock_account(open, code)?;
    call.after_waiting()
}

/// A day as gateways' files write it.
fn shown(day: Day) -> mps_bills::Day {
    mps_bills::Day::from_unix_days(day.0 + UNIX_DAYS)
}
