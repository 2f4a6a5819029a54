//! `app.close_recon_day`: a day that is done.

use super::{comparing, days, hold, shown};
use crate::engine::types::{Day, Text, Timestamp};
use crate::kernel::call::write;
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn close_recon_day(
    p_account: Option<Text>,
    p_bill_date: Option<Day>,
) -> TableIterator<
    'static,
    (name!(account, String), name!(bill_date, Day), name!(closed_at, Timestamp), name!(replayed, bool)),
> {
    let row = write(|call| {
        call.caller.require_backend()?;
        let held = hold(call, p_account, p_bill_date)?;
        let account = held.code.to_owned();
        comparing::compare(call, held.code, held.day)?;
        if let Some(before) = days::closed_at(call.db, held.code, held.day) {
            return Ok((account, held.day, before, true));
        }
        let open = days::open_items(call.db, held.code, held.day);
        if open > 0 {
            let what = format!("{open} items of {account} {} are open in app.recon_items", shown(held.day));
            return Err(Error::new(Token::ReconConflict, what));
        }
        days::close(call, held.code, held.day);
        Ok((account, held.day, call.at, false))
    });
    TableIterator::once(row)
}
