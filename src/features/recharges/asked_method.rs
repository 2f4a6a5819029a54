//! `app.asked_methods`: recharges that were paid by another method than the one that was asked for. The transaction says how it was
//! paid; whoever repeats the request names what was asked for, and is known by it.

use crate::engine::db::Db;
use crate::engine::direct::Path;
use crate::engine::param::p;
use crate::engine::record::record;
use crate::ledger::tx::Tx;
use mps_domain::tx_no::{PayMethod, TxId};

record! {
    struct AskedMethod in static TABLE: c"app", "asked_methods";
    columns {
        tx_id: TxId,
        payment_method: PayMethod,
    }
    read by read;
    inserted by values;
}

static BY_TX: Path = Path { table: &TABLE, index: "asked_methods_pkey", key: &["tx_id"] };

/// Notes what was asked for of a recharge that has just been paid otherwise. It is paid once, so it is noted once.
pub fn note(db: &Db, tx: &Tx, payment_method: PayMethod) {
    db.insert(&TABLE, None, &AskedMethod { tx_id: tx.id, payment_method }.values(db));
}

/// What was asked for.
pub fn of(db: &Db, tx: &Tx) -> PayMethod {
    // Only with the gateway's trade number comes the word of how it was paid.
    let changed =
        tx.gateway_trade_no.as_ref().and_then(|_| db.find(&BY_TX, None, &[p(tx.id.raw())], AskedMethod::read));
    changed.map_or(tx.payment_method, |asked| asked.payment_method)
}
