//! A transaction, and where it stands among others.

use crate::engine::record::record;
use crate::engine::row::RowVersion;
use crate::engine::types::{RawJsonb, Timestamp, Uuid};
use mps_domain::card::CardType;
use mps_domain::money::{Discount, Money};
use mps_domain::tx_no::{PayMethod, TxId, TxStatus, TxType};

record! {
    /// One transaction.
    #[derive(Debug, Clone)]
    pub struct Tx in pub static TABLE: c"app", "transactions_{m}";
    columns {
        id: TxId,
        created_at: Timestamp,
        posted_at: Option<Timestamp>,
        card_seq: Option<i64>,
        prev_tx_id: Option<TxId>,
        skip_tx_id: Option<TxId>,
        refund_chain_id: Option<TxId>,
        points_earned: i64,
        merchant_id: Option<i32>,
        tx_type: TxType,
        status: TxStatus,
        card_type: CardType,
        payment_method: PayMethod,
        card_id: Uuid,
        member_id: Option<Uuid>,
        processed_by: Option<Uuid>,
        discount: Discount,
        raw_amount: Money,
        final_amount: Money,
        balance_after: Option<Money>,
        refunded_amount: Option<Money>,
        refundable_left: Option<Money>,
        tx_no = Tx::tx_no,
        original_tx_no: Option<String>,
        idempotency_key: Option<String>,
        external_order_id: Option<String>,
        gateway_trade_no: Option<String>,
        reason: Option<String>,
        failure_reason: Option<String>,
        tag: RawJsonb,
        excluded_amount: Option<Money>,
        coupon_discount: Option<Money>,
        member_coupon_id: Option<i64>,
        points_base: Option<i64>,
        points_bonus: Option<i64>,
        campaigns: Option<RawJsonb>,
    }
    besides {
        /// Of one that is locked: as which it was read, or last written.
        pub locked_version: Option<RowVersion> = |_| None,
    }
    read by read;
    inserted by values;
    listed by columns;
}

pub(super) use columns;

impl Tx {
    pub fn tx_no(&self) -> String {
        self.id.number_for(self.tx_type)
    }

    /// What it adds to the balance.
    pub fn change(&self) -> Money {
        match self.tx_type {
            TxType::Payment | TxType::Withdrawal => self.final_amount.negated(),
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
