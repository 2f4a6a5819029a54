//! A transaction, and where it stands among others.

use crate::engine::row::RowVersion;
use crate::engine::types::{RawJsonb, Timestamp, Uuid};
use mps_domain::card::CardType;
use mps_domain::money::{Discount, Money};
use mps_domain::tx_no::{PayMethod, TxId, TxStatus, TxType};

/// One transaction.
#[derive(Debug, Clone)]
pub struct Tx {
    pub id: TxId,
    pub tx_type: TxType,
    pub status: TxStatus,
    pub created_at: Timestamp,
    pub posted_at: Option<Timestamp>,
    pub card_type: CardType,
    pub card_id: Uuid,
    pub card_seq: Option<i64>,
    pub prev_tx_id: Option<i64>,
    pub skip_tx_id: Option<i64>,
    pub refund_chain_id: Option<i64>,
    pub member_id: Option<Uuid>,
    pub processed_by: Option<Uuid>,
    pub merchant_id: Option<i32>,
    pub payment_method: PayMethod,
    pub raw_amount: Money,
    pub discount: Discount,
    pub final_amount: Money,
    pub balance_after: Option<Money>,
    pub points_earned: i64,
    pub refunded_amount: Option<Money>,
    pub refundable_left: Option<Money>,
    pub original_tx_no: Option<String>,
    pub idempotency_key: Option<String>,
    pub external_order_id: Option<String>,
    pub gateway_trade_no: Option<String>,
    pub reason: Option<String>,
    pub tag: RawJsonb,
    /// Of one that is locked: as which it was read, or last written.
    pub locked_version: Option<RowVersion>,
}

impl Tx {
    pub fn tx_no(&self) -> String {
        self.id.number_for(self.tx_type)
    }

    /// What it adds to the balance.
    pub fn change(&self) -> Money {
        match self.tx_type {
            TxType::Payment => self.final_amount.negated(),
            TxType::Refund | TxType::Recharge | TxType::Adjustment => self.final_amount,
        }
    }
}

/// Where a transaction stands among a merchant's: by when it was posted, or asked for where it is not posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub at: Timestamp,
    pub id: i64,
}

impl Tx {
    pub fn place(&self) -> Place {
        Place { at: self.posted_at.unwrap_or(self.created_at), id: self.id.raw() }
    }
}
