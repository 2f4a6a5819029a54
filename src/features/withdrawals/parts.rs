//! `app.withdrawals`: what a withdrawal takes of each source, under a refund number of its own, and what became of that.

use crate::engine::db::Db;
use crate::engine::direct::Path;
use crate::engine::param::p;
use crate::engine::record::{changes, labelled_texts, record};
use crate::engine::row::RowVersion;
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::months::Open;
use mps_domain::card::CardType;
use mps_domain::error::Result;
use mps_domain::money::Money;
use mps_domain::tx_no::PayMethod;

/// How money goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payout {
    /// The way it came in.
    Source,
    /// By a transfer that somebody makes.
    Transfer,
    Cash,
}

impl Payout {
    pub const ALL: [Payout; 3] = [Payout::Source, Payout::Transfer, Payout::Cash];

    pub const fn label(self) -> &'static str {
        match self {
            Payout::Source => "source",
            Payout::Transfer => "transfer",
            Payout::Cash => "cash",
        }
    }

    pub fn from_label(label: &str) -> Option<Payout> {
        Payout::ALL.into_iter().find(|payout| payout.label() == label)
    }
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The card has given it; the payer has not got it yet, as far as is known.
    Processing,
    Completed,
    /// It could not be paid: the card has it again.
    Returned,
    /// The card has it again, and then the payer was paid all the same.
    PaidAfterReturn,
}

impl Status {
    pub const ALL: [Status; 4] = [Status::Processing, Status::Completed, Status::Returned, Status::PaidAfterReturn];

    pub const fn label(self) -> &'static str {
        match self {
            Status::Processing => "processing",
            Status::Completed => "completed",
            Status::Returned => "returned",
            Status::PaidAfterReturn => "paid_after_return",
        }
    }

    fn from_label(label: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.label() == label)
    }
}

labelled_texts! { Payout, Status }

record! {
    /// One refund number.
    #[derive(Debug)]
    pub struct Part in static TABLE: c"app", "withdrawals";
    columns {
        created_at: Timestamp,
        /// When the last word of it was said.
        settled_at: Option<Timestamp>,
        card_type: CardType,
        payment_method: PayMethod,
        card_id: Uuid,
        amount: Money,
        refund_no: String,
        tx_no: String,
        source_tx_no: Option<String>,
        gateway_account: Option<String>,
        gateway_trade_no: Option<String>,
        /// What was asked for, for the whole of the withdrawal.
        asked: Payout,
        /// What this part of it is.
        payout: Payout,
        status: Status,
        /// The gateway's last word while nothing was decided by it.
        gateway_state: Option<String>,
        gateway_refund_no: Option<String>,
        /// The adjustment that gave it back to the card.
        returned_tx_no: Option<String>,
        /// Why it was given back.
        reason: Option<String>,
    }
    besides {
        pub version: Option<RowVersion> = |row| Some(row.version()),
    }
    read by read;
    inserted by values;
    listed by columns;
}

impl Part {
    pub fn is_paid(&self) -> bool {
        matches!(self.status, Status::Completed | Status::PaidAfterReturn)
    }
}

static BY_NO: Path = Path { table: &TABLE, index: "withdrawals_pkey", key: &["refund_no"] };

/// Whether a withdrawal has such a number.
pub fn is_known(db: &Db, refund_no: &str) -> bool {
    let sql = "SELECT true FROM app.withdrawals w WHERE w.refund_no = $1";
    db.row(sql, &[p(refund_no)], |r| r.get(1)).unwrap_or(false)
}

pub fn lock(open: Open, refund_no: &str) -> Option<Part> {
    open.lock(&BY_NO, None, &[p(refund_no)], Part::read)
}

pub fn insert(db: &Db, part: &Part) {
    db.insert(&TABLE, None, &part.values(db));
}

/// Writes what became of a locked one. Error: `STATUS_CONFLICT`, a trigger has changed it meanwhile.
pub fn update(db: &Db, part: &mut Part) -> Result<()> {
    let changes = changes!(db, part: settled_at, status, gateway_state, gateway_refund_no, returned_tx_no, reason);
    let version = part.version.as_mut().expect("only locked ones change");
    db.update_locked(&BY_NO, None, &[p(part.refund_no.as_str())], version, changes.into())
}

/// All of a withdrawal, in the order of their numbers.
pub fn of(db: &Db, tx_no: &str) -> Vec<Part> {
    db.rows(
        columns!(
            "SELECT ",
            ", w.ctid, w.xmin FROM app.withdrawals w WHERE w.tx_no = $1 ORDER BY pg_catalog.length(w.refund_no), w.refund_no"
        ),
        &[p(tx_no)],
        Part::read,
    )
}

/// What was withdrawn of a recharge and did not come back to the card, or went out all the same; and what its payer has back from the
/// gateway itself, and the card did not cover.
pub fn withdrawn_of(db: &Db, source_tx_no: &str) -> Money {
    let sql = "SELECT (coalesce((SELECT pg_catalog.sum(w.amount) FROM app.withdrawals w \
                                 WHERE w.source_tx_no = $1 AND w.status <> 'returned'), 0) \
                       + coalesce((SELECT pg_catalog.sum(i.uncovered) FROM app.recon_items i \
                                   WHERE i.source_tx_no = $1 AND i.uncovered > 0), 0))::numeric(14,2)";
    db.row(sql, &[p(source_tx_no)], |r| r.get(1)).expect("one row")
}

/// What a withdrawal took, less what is still to be paid, less what is on the card again.
pub fn may_come_back(db: &Db, tx_no: &str) -> Money {
    let sql = "SELECT (coalesce((SELECT pg_catalog.sum(w.amount) FROM app.withdrawals w \
                                 WHERE w.tx_no = $1 AND w.status <> 'processing'), 0) \
                       - coalesce((SELECT pg_catalog.sum(k.amount) FROM app.transaction_compensations k \
                                   WHERE k.tx_no = $1), 0))::numeric(14,2)";
    db.row(sql, &[p(tx_no)], |r| r.get(1)).expect("one row")
}

/// Whether an adjustment gave a refund number back to the card, and nobody was paid for that after all.
pub fn gave_back(db: &Db, tx_no: &str) -> bool {
    let sql = "SELECT true FROM app.withdrawals w WHERE w.returned_tx_no = $1 AND w.status = 'returned'";
    db.row(sql, &[p(tx_no)], |r| r.get(1)).unwrap_or(false)
}

/// What the other refund numbers of a gateway's payment are for.
pub fn others_of_trade(db: &Db, part: &Part) -> Vec<Money> {
    let sql = "SELECT w.amount FROM app.withdrawals w WHERE w.gateway_trade_no = $1 AND w.refund_no <> $2";
    db.rows(sql, &[p(part.gateway_trade_no.as_deref()), p(part.refund_no.as_str())], |r| r.get(1))
}
