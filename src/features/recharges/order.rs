//! Which recharge an order at a gateway is for.

use crate::kernel::call::Call;
use crate::kernel::keys::{self, OrderScope};
use crate::kernel::months::{self, Presence};
use crate::ledger::transactions;
use crate::ledger::tx::Tx;
use mps_domain::error::Result;
use mps_domain::tx_no::{self, PayMethod, TxId, TxType};

/// What an order's number at the gateway (`out_trade_no`) leads to.
pub enum Order {
    Recharge(Box<Tx>),
    /// A recharge of a month that is archived, by its number.
    Archived(TxId),
    Unknown,
    /// More than one recharge of backends carries it: these.
    Ambiguous(Vec<TxId>),
}

/// By the number of the recharge, else by the order id of a backend's recharge, where one alone carries it. What members call their
/// orders leads nowhere: nobody draws somebody else's payment to a card.
pub fn find(call: &Call, out_trade_no: &str) -> Result<Order> {
    if let Some((TxType::Recharge, id)) = tx_no::read(out_trade_no) {
        match by_id(call, id)? {
            Order::Unknown => {}
            found => return Ok(found),
        }
    }
    let methods = [PayMethod::Wechat, PayMethod::Alipay, PayMethod::Cash];
    let owner = |method| keys::order_owner(call.db, OrderScope::recharge(method), out_trade_no);
    let mut ids: Vec<TxId> = methods.into_iter().filter_map(owner).filter_map(TxId::from_raw).collect();
    ids.dedup();
    match ids[..] {
        [] => Ok(Order::Unknown),
        [id] => by_id(call, id),
        _ => Ok(Order::Ambiguous(ids)),
    }
}

/// As [`find`], of a recharge whose id is known.
pub fn by_id(call: &Call, id: TxId) -> Result<Order> {
    if months::presence(call.db, id.month()) == Presence::Archived {
        return Ok(Order::Archived(id));
    }
    if !months::readable(call.db, id.month())? {
        return Ok(Order::Unknown);
    }
    let found = transactions::find(call.db, id).filter(|tx| tx.tx_type == TxType::Recharge);
    Ok(found.map_or(Order::Unknown, |tx| Order::Recharge(Box::new(tx))))
}
