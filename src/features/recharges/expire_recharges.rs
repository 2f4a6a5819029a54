//! `app.expire_recharges`.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::types::Timestamp;
use crate::kernel::batch::{BATCH_ROWS, batch};
use crate::ledger::transactions;
use crate::ledger::tx::Tx;
use mps_domain::tx_no::{TxId, TxStatus, TxType};
use pgrx::prelude::*;
use serde_json::json;

const MICROS_PER_MINUTE: i64 = 60_000_000;

#[pg_extern(sql = false)]
fn expire_recharges_batch(p_after: Option<&str>) -> Option<String> {
    batch("expire_recharges", p_after, |call, open, _| {
        let asked_before = || Timestamp(call.at.0 - i64::from(call.config().recharge_ttl_minutes) * MICROS_PER_MINUTE);
        let waiting = waiting_recharges(call.db, asked_before(), BATCH_ROWS);
        let mut cancelled = 0;
        for id in &waiting {
            // Confirmed meanwhile, perhaps, or given more time: only what is still waiting and due under its lock is cancelled.
            let tx = transactions::lock(open, *id);
            call.after_waiting()?;
            let is_due = |tx: &Tx| tx.status == TxStatus::Processing && tx.created_at < asked_before();
            if let Some(mut tx) = tx.filter(is_due) {
                transactions::end_unpaid(call.db, &mut tx, TxStatus::Cancelled, "not confirmed in time")?;
                call.audit("recharge.cancelled", "transaction", &id.number_for(TxType::Recharge), json!({}));
                cancelled += 1;
            }
        }
        Ok(((!waiting.is_empty()).then(|| "more".to_owned()), cancelled))
    })
}

/// Recharges that have waited since before a moment, oldest first.
fn waiting_recharges(db: &Db, asked_before: Timestamp, limit: i64) -> Vec<TxId> {
    db.rows(
        "SELECT t.id FROM app.transactions t WHERE t.status = 'processing' AND t.created_at < $1 ORDER BY t.created_at, t.id LIMIT $2",
        &[p(asked_before), p(limit)],
        |r| TxId::from_raw(r.get(1)).expect("ids are ours"),
    )
}
