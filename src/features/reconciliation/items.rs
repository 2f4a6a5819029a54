//! `app.recon_items`: where bill, callbacks and books of a day differ.

use super::shown;
use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::row::Row;
use crate::engine::types::{Day, Timestamp};
use crate::kernel::call::Call;
use crate::kernel::months::Open;
use mps_domain::money::Money;
use serde_json::{Value, json};

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub id: i64,
    pub first_seen: Timestamp,
    pub account: String,
    pub bill_date: Day,
    pub entry: String,
    pub class: String,
    pub reference: String,
    pub tx_no: Option<String>,
    pub trade_no: Option<String>,
    pub order_no: Option<String>,
    pub refund_no: Option<String>,
    pub book_amount: Option<Money>,
    pub bill_amount: Option<Money>,
    pub status: String,
    pub resolution: Option<String>,
    pub result_tx_no: Option<String>,
    pub suspense_id: Option<i64>,
    /// What is owed of what the card did not cover, and that itself, which stays when nobody asks for it any more.
    pub receivable: Money,
    pub uncovered: Money,
    pub source_tx_no: Option<String>,
}

impl Item {
    fn read(r: &Row) -> Item {
        Item {
            id: r.get(1),
            first_seen: r.get(2),
            account: r.get(3),
            bill_date: r.get(4),
            entry: r.get(5),
            class: r.get(6),
            reference: r.get(7),
            tx_no: r.opt(8),
            trade_no: r.opt(9),
            order_no: r.opt(10),
            refund_no: r.opt(11),
            book_amount: r.opt(12),
            bill_amount: r.opt(13),
            status: r.get(14),
            resolution: r.opt(15),
            result_tx_no: r.opt(16),
            suspense_id: r.opt(17),
            receivable: r.get(18),
            uncovered: r.get(19),
            source_tx_no: r.opt(20),
        }
    }

    pub fn is_open(&self) -> bool {
        self.status == "open"
    }
}

/// As it is now, not locked.
pub fn find(db: &Db, id: i64) -> Option<Item> {
    let sql = "SELECT i.id, i.first_seen, i.account, i.bill_date, i.entry, i.class, i.ref, i.tx_no, i.trade_no, i.order_no, i.refund_no, \
                      i.book_amount, i.bill_amount, i.status, i.resolution, i.result_tx_no, i.suspense_id, i.receivable, i.uncovered, \
                      i.source_tx_no \
               FROM app.recon_items i WHERE i.id = $1";
    db.row(sql, &[p(id)], Item::read)
}

/// As [`find`], locked.
pub fn lock(open: Open, id: i64) -> Option<Item> {
    let sql = "SELECT i.id FROM app.recon_items i WHERE i.id = $1 FOR NO KEY UPDATE";
    open.row(sql, &[p(id)], |r| r.get::<i64>(1)).and_then(|id| find(&open, id))
}

/// Whether money may be taken back for a locked item: whether the bills are still as it has it. Else what to know.
pub fn may_take(db: &Db, item: &Item) -> Result<(), String> {
    let sql = "SELECT sec.recon_is_so($1), sec.recon_taken_for($1)";
    let (is_so, other): (bool, Option<String>) = db.row(sql, &[p(item.id)], |r| (r.get(1), r.opt(2))).expect("one row");
    match (is_so, other) {
        (false, _) => Err("the bills are not as the item has it any more: reconcile the day again".into()),
        (true, Some(other)) => Err(format!("the same refund was taken back already: {other}")),
        (true, None) => Ok(()),
    }
}

/// The adjustment that took a recharge back, because no bill had it.
pub fn taken_back(db: &Db, recharge: &str) -> Option<String> {
    db.row("SELECT sec.recon_taken_back($1)", &[p(recharge)], |r| r.opt(1)).flatten()
}

/// Writes what became of a locked item, and into the log all that it takes to have it there again.
pub fn resolve(call: &Call, item: &Item, resolution: &str, note: &str) {
    let sql = "UPDATE app.recon_items SET status = 'resolved', resolution = $2, resolved_at = $3, resolved_by = $4, resolved_role = $5, \
                   note = $6, result_tx_no = $7, suspense_id = $8, receivable = $9, uncovered = $10, source_tx_no = $11 WHERE id = $1";
    let said = [p(item.id), p(resolution), p(call.at), p(call.caller.uid), p(call.caller.role.as_str()), p(note)];
    let moved = [p(item.result_tx_no.as_deref()), p(item.suspense_id)];
    let owed = [p(item.receivable), p(item.uncovered), p(item.source_tx_no.as_deref())];
    call.db.run_once(sql, &[&said[..], &moved, &owed].concat());
    call.audit("recon.item_resolved", "recon_item", &item.id.to_string(), context(item, resolution, note));
}

fn context(item: &Item, resolution: &str, note: &str) -> Value {
    let amount = |amount: Option<Money>| amount.map(|amount| amount.to_string());
    json!({
        "account": item.account, "bill_date": shown(item.bill_date).to_string(), "entry": item.entry, "class": item.class,
        "ref": item.reference, "tx_no": item.tx_no, "trade_no": item.trade_no, "order_no": item.order_no,
        "refund_no": item.refund_no, "book_amount": amount(item.book_amount), "bill_amount": amount(item.bill_amount),
        "first_seen": item.first_seen.unix_micros(), "resolution": resolution, "note": note,
        "result_tx_no": item.result_tx_no, "suspense_id": item.suspense_id, "receivable": item.receivable.to_string(),
        "uncovered": item.uncovered.to_string(), "source_tx_no": item.source_tx_no,
    })
}
