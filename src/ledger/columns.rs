//! What columns of the ledger are in Rust.

use crate::engine::db::Db;
use crate::engine::param::{Param, p};
use crate::engine::record::{Column, Value, enumerations};
use crate::engine::row::Row;
use mps_domain::card::{CardStatus, CardType};
use mps_domain::tx_no::{PayMethod, TxId, TxStatus, TxType};

enumerations! {
    CardStatus: "app.card_status",
    CardType: "app.card_type",
    PayMethod: "app.pay_method",
    TxStatus: "app.tx_status",
    TxType: "app.tx_type",
}

impl Column for TxId {
    fn read(row: &Row, n: i32) -> TxId {
        TxId::from_raw(row.get(n)).expect("ids are ours")
    }
}

impl Value for TxId {
    fn param(&self, _: &Db) -> Param {
        p(self.raw())
    }
}

impl Column for Option<TxId> {
    fn read(row: &Row, n: i32) -> Option<TxId> {
        row.opt(n).map(|raw| TxId::from_raw(raw).expect("ids are ours"))
    }
}

impl Value for Option<TxId> {
    fn param(&self, _: &Db) -> Param {
        p(self.map(TxId::raw))
    }
}
