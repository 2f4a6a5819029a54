//! A day's bill beside the books and the callbacks: what differs is written down, what does not any more settles itself.

use super::{bills, days, shown};
use crate::engine::param::p;
use crate::engine::types::Day;
use crate::kernel::call::Call;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;

/// Compares a day of an account that is locked; how many of each class there are, and their sum.
pub fn compare(call: &Call, account: &str, day: Day) -> Result<Vec<(String, i64, Money)>> {
    let bill = bills::current(call.db, account, day, "trade").ok_or_else(|| {
        Error::new(Token::ReconConflict, format!("{account} has no trade bill of {}: import it first", shown(day)))
    })?;
    days::make(call.db, account, day);
    let role = call.caller.role.as_str();
    call.db.run("SELECT sec.recon_note($1, $2, $3, $4, $5)", &[p(account), p(bill.id), p(day), p(call.at), p(role)]);
    // What is in no item is alike; timing of the bill's own lines is in an item.
    let sums = "UPDATE app.recon_days d SET reconciled_at = $4, \
                    (matched_payments, matched_payment_total, matched_refunds, matched_refund_total) = ( \
                    SELECT b.payments - pg_catalog.count(*) FILTER (WHERE i.entry = 'payment'), \
                           b.payment_total - coalesce(pg_catalog.sum(i.bill_amount) FILTER (WHERE i.entry = 'payment'), 0), \
                           b.refunds - pg_catalog.count(*) FILTER (WHERE i.entry = 'refund'), \
                           b.refund_total - coalesce(pg_catalog.sum(i.bill_amount) FILTER (WHERE i.entry = 'refund'), 0) \
                    FROM app.gateway_bills b \
                    LEFT JOIN app.recon_items i ON i.account = $1 AND i.bill_date = $2 AND i.last_seen = $4 \
                        AND i.bill_amount IS NOT NULL \
                    WHERE b.id = $3 GROUP BY b.id) \
                WHERE d.account = $1 AND d.bill_date = $2";
    call.db.run_once(sums, &[p(account), p(day), p(bill.id), p(call.at)]);
    if days::open_items(call.db, account, day) > 0 {
        days::reopen(call, account, day, "a difference")?;
    }
    let classes = "SELECT 'matched', d.matched_payments + d.matched_refunds, d.matched_payment_total + d.matched_refund_total \
                   FROM app.recon_days d WHERE d.account = $1 AND d.bill_date = $2 \
                   UNION ALL \
                   (SELECT i.class, pg_catalog.count(*), pg_catalog.sum(coalesce(i.bill_amount, i.book_amount)) \
                    FROM app.recon_items i \
                    WHERE i.account = $1 AND i.bill_date = $2 AND i.last_seen = $3 GROUP BY i.class ORDER BY i.class)";
    Ok(call.db.rows(classes, &[p(account), p(day), p(call.at)], |r| (r.get(1), r.get(2), r.get(3))))
}
