//! Finding the first answer to a repeated request.

use crate::engine::db::kept_from_being_written;
use crate::engine::types::Uuid;
use crate::kernel::call::Call;
use crate::kernel::keys::{self, Claim, OrderScope, Scope};
use crate::kernel::months;
use crate::ledger::posting::stored_id;
use crate::ledger::transactions;
use crate::ledger::tx::Tx;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::tx_no::TxId;

/// How a request says that it may be a repetition.
pub struct Dedupe<'a> {
    pub key: Option<(Scope, &'a str)>,
    pub order: Option<(OrderScope, &'a str)>,
}

/// Whether a request is new.
pub enum First {
    /// It is; its key and order id are taken for the transaction of this id.
    Time(TxId),
    /// It is not; this is the transaction that the first of them made.
    Answer(Box<Tx>),
}

impl Dedupe<'_> {
    /// Takes key and order id for a new transaction, waiting for equal requests in flight, or finds the transaction that
    /// the first of them made. `same` says whether a transaction is what this request would make. A request that is known
    /// by its order id but comes with a new key has the key bound to the same transaction, so that neither is left
    /// dangling. A request that fails takes nothing, because its claims are rolled back with it.
    /// What is not about the request itself, whoever waited for another asks again.
    pub fn claim(&self, call: &Call, same: impl Fn(&Tx) -> bool) -> Result<First> {
        self.claim_or_again(call, same, |_| false)
    }

    /// As [`Dedupe::claim`]; where an order id belongs to a transaction that `ended` says came to nothing, the order may be asked
    /// for again: it then belongs to the new transaction.
    pub fn claim_or_again(
        &self,
        call: &Call,
        same: impl Fn(&Tx) -> bool,
        ended: impl Fn(&Tx) -> bool,
    ) -> Result<First> {
        let first = self.take_or_find(call, same, ended)?;
        if let First::Time(id) = first {
            transactions::ensure_given(id)?;
        }
        call.after_waiting()?;
        Ok(first)
    }

    fn take_or_find(&self, call: &Call, same: impl Fn(&Tx) -> bool, ended: impl Fn(&Tx) -> bool) -> Result<First> {
        let id = transactions::next_id(call.month);
        if let Some((scope, key)) = self.key
            && let Claim::Known(known) = keys::claim_key(call.db, scope, key, id.raw())
        {
            let tx = load(call, known)?;
            let order = self.order.map(|(_, order)| order);
            if !same(&tx) || tx.external_order_id.as_deref() != order {
                return Err(Token::IdempotencyKeyReused.into());
            }
            return Ok(First::Answer(Box::new(tx)));
        }
        let mut not_moved = None;
        while let Some((scope, order)) = self.order
            && let Claim::Known(known) = keys::claim_order(call.db, scope, order, id.raw())
        {
            let tx = load(call, known)?;
            if ended(&tx) {
                if keys::repoint_order(call.db, scope, order, known, id.raw()) {
                    break;
                }
                // Somebody else has asked again: that is what the order id belongs to now. Where it is not, a trigger is in the way.
                if not_moved.replace(known) == Some(known) {
                    return Err(kept_from_being_written());
                }
                continue;
            }
            if !same(&tx) {
                return Err(Token::ExternalOrderConflict.into());
            }
            if let Some((scope, key)) = self.key {
                keys::repoint_key(call.db, scope, key, known);
            }
            return Ok(First::Answer(Box::new(tx)));
        }
        Ok(First::Time(id))
    }
}

fn load(call: &Call, id: i64) -> Result<Tx> {
    let id = stored_id(id);
    months::readable(call.db, id.month())?;
    transactions::find(call.db, id)
        .ok_or_else(|| Error::new(Token::TxNotFound, "the transaction that a key points to is not there"))
}

/// Whether a transaction took this amount from (or gave it to) this card, used by this member.
pub fn same_card_and_amount(tx: &Tx, card: Uuid, member: Option<Uuid>, raw: Money) -> bool {
    tx.card_id == card && tx.member_id == member && tx.raw_amount == raw
}
