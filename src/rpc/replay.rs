//! Finding the first answer to a repeated request.

use super::Call;
use super::books::stored_id;
use crate::error::{Error, Result, Token};
use crate::store::keys::{self, OrderScope, Scope};
use crate::store::transactions::{self, Tx};
use crate::store::{months, types::Uuid};
use mps_domain::money::Money;

/// How a request says that it may be a repetition.
pub struct Dedupe<'a> {
    pub key: Option<(Scope, &'a str)>,
    pub order: Option<(OrderScope, &'a str)>,
}

impl Dedupe<'_> {
    /// Waits for equal requests in flight, then looks for the transaction that the first of them made. `same` says whether
    /// a transaction is what this request would make. A request that is known by its order id but comes with a new key
    /// has the key bound to the same transaction, so that neither path is left dangling.
    pub fn find(&self, call: &Call, same: impl Fn(&Tx) -> bool) -> Result<Option<Tx>> {
        if let Some((scope, key)) = self.key {
            keys::lock_key(scope, key);
            if let Some(id) = keys::find_key(call.db, scope, key) {
                let tx = load(call, id)?;
                let order = self.order.map(|(_, order)| order);
                if !same(&tx) || tx.external_order_id.as_deref() != order {
                    return Err(Token::IdempotencyKeyReused.into());
                }
                return Ok(Some(tx));
            }
        }
        if let Some((scope, order)) = self.order {
            keys::lock_order(scope, order);
            if let Some(id) = keys::find_order(call.db, scope, order) {
                let tx = load(call, id)?;
                if !same(&tx) {
                    return Err(Token::ExternalOrderConflict.into());
                }
                if let Some((scope, key)) = self.key {
                    keys::remember_key(call.db, scope, key, id);
                }
                return Ok(Some(tx));
            }
        }
        Ok(None)
    }

    /// Remembers what this request made.
    pub fn remember(&self, call: &Call, tx: &Tx) {
        if let Some((scope, key)) = self.key {
            keys::remember_key(call.db, scope, key, tx.id.raw());
        }
        if let Some((scope, order)) = self.order {
            keys::remember_order(call.db, scope, order, tx.id.raw());
        }
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
