//! `app.recon_days`: a day of an account, as it was reconciled last, and whether it is closed.

use super::shown;
use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::types::{Day, Timestamp};
use crate::kernel::call::Call;
use mps_domain::error::Result;
use serde_json::json;

/// Has the day there be, and not be as an older bill had it.
pub fn has_new_bill(call: &Call, account: &str, day: Day) -> Result<()> {
    make(call.db, account, day);
    call.db.run(
        "UPDATE app.recon_days SET reconciled_at = NULL WHERE account = $1 AND bill_date = $2",
        &[p(account), p(day)],
    );
    reopen(call, account, day, "a new bill")
}

/// Makes a day that is not there.
pub fn make(db: &Db, account: &str, day: Day) {
    let sql =
        "INSERT INTO app.recon_days (account, bill_date) VALUES ($1, $2) ON CONFLICT (account, bill_date) DO NOTHING";
    db.run(sql, &[p(account), p(day)]);
}

/// When a day was closed.
pub fn closed_at(db: &Db, account: &str, day: Day) -> Option<Timestamp> {
    let sql = "SELECT d.closed_at FROM app.recon_days d WHERE d.account = $1 AND d.bill_date = $2";
    db.row(sql, &[p(account), p(day)], |r| r.opt(1)).flatten()
}

/// Opens a closed day.
pub fn reopen(call: &Call, account: &str, day: Day, why: &str) -> Result<()> {
    let sql = "UPDATE app.recon_days SET closed_at = NULL, closed_by = NULL, closed_role = NULL, reopened_at = $3 \
               WHERE account = $1 AND bill_date = $2 AND closed_at IS NOT NULL";
    if call.db.run(sql, &[p(account), p(day), p(call.at)]) == 1 {
        let context = json!({ "account": account, "bill_date": shown(day).to_string(), "why": why });
        call.audit("gateway.day_reopened", "gateway_account", account, context);
    }
    Ok(())
}

/// Closes a day.
pub fn close(call: &Call, account: &str, day: Day) {
    let sql = "UPDATE app.recon_days SET closed_at = $3, closed_by = $4, closed_role = $5 WHERE account = $1 AND bill_date = $2";
    let who = [p(call.caller.uid), p(call.caller.role.as_str())];
    call.db.run_once(sql, &[p(account), p(day), p(call.at), who[0], who[1]]);
    let context = json!({ "account": account, "bill_date": shown(day).to_string() });
    call.audit("gateway.day_closed", "gateway_account", account, context);
}

/// How many differences of a day nobody has resolved.
pub fn open_items(db: &Db, account: &str, day: Day) -> i64 {
    let sql = "SELECT pg_catalog.count(*) FROM app.recon_items i WHERE i.account = $1 AND i.bill_date = $2 AND i.status = 'open'";
    db.row(sql, &[p(account), p(day)], |r| r.get(1)).expect("one row")
}
