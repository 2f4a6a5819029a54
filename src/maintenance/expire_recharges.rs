//! `app.expire_recharges`.

use super::{BATCH_ROWS, batch};
use crate::store::sweep;
use crate::store::transactions::{self, Tx};
use crate::store::types::Timestamp;
use mps_domain::tx_no::{TxStatus, TxType};
use pgrx::prelude::*;
use serde_json::json;

const MICROS_PER_MINUTE: i64 = 60_000_000;

#[pg_extern(sql = false)]
fn expire_recharges_batch(p_after: Option<&str>) -> Option<String> {
    batch("expire_recharges", p_after, |call, _| {
        let asked_before = || Timestamp(call.at.0 - i64::from(call.config().recharge_ttl_minutes) * MICROS_PER_MINUTE);
        let waiting = sweep::waiting_recharges(call.db, asked_before(), BATCH_ROWS);
        let mut cancelled = 0;
        for id in &waiting {
            // Confirmed meanwhile, perhaps, or given more time: only what is still waiting and due under its lock is cancelled.
            let tx = transactions::lock(call.db, *id);
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
