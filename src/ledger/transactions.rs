//! `app.transactions` and `app.transaction_compensations`. Rows are written to and read from the one partition that their
//! id names, never through the parent: one lock and one probe whatever the number of months.

use crate::engine::db::{Db, kept_from_being_written};
use crate::engine::direct::{Change, Path, Table};
use crate::engine::labels;
use crate::engine::param::{Param, p};
use crate::engine::row::Row;
use crate::engine::sequences::{self, Sequence};
use crate::engine::server::Raise;
use crate::engine::types::Uuid;
use crate::ledger::tx::Tx;
use crate::ledger::{history, late};
use mps_domain::card::CardType;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::month::Month;
use mps_domain::tx_no::{ONE_MACHINE, PayMethod, TxId, TxStatus, TxType};

/// The id of a new transaction of a month. Error: `STATUS_CONFLICT`, all that one machine gives are given.
pub fn new_id(month: Month) -> Result<TxId> {
    let id = next_id(month);
    ensure_given(id)?;
    Ok(id)
}

/// As [`new_id`], for a request that may turn out to be a repetition, which needs none; else [`ensure_given`] is asked.
pub fn next_id(month: Month) -> TxId {
    TxId::new(month, sequences::next(Sequence::TxNo)).expect("the sequence ends before its digits do")
}

/// Refuses the numbers after the last one that one machine gives.
pub fn ensure_given(id: TxId) -> Result<()> {
    if id.is_of_one_machine() {
        return Ok(());
    }
    Err(Error::new(Token::StatusConflict, format!("all {ONE_MACHINE} transaction numbers of this database are given")))
}

/// The columns of `app.transactions`, in its order, for the macro that is named.
macro_rules! all_columns {
    ($in:ident) => {
        $in!(
            "id",
            "created_at",
            "posted_at",
            "card_seq",
            "prev_tx_id",
            "skip_tx_id",
            "refund_chain_id",
            "points_earned",
            "merchant_id",
            "tx_type",
            "status",
            "card_type",
            "payment_method",
            "card_id",
            "member_id",
            "processed_by",
            "discount",
            "raw_amount",
            "final_amount",
            "balance_after",
            "refunded_amount",
            "refundable_left",
            "tx_no",
            "original_tx_no",
            "idempotency_key",
            "external_order_id",
            "gateway_trade_no",
            "reason",
            "failure_reason",
            "tag"
        )
    };
}

/// A statement that reads all of them.
macro_rules! columns {
    ($head:literal, $tail:literal) => {
        concat!($head, $crate::ledger::transactions::all_columns!(listed), " ", $tail)
    };
}

pub(super) use {all_columns, columns};

pub(super) static TABLE: Table =
    Table { schema: c"app", name: "transactions_{m}", columns: all_columns!(array), asserted: &[] };

pub(super) static BY_ID: Path = Path { table: &TABLE, index: "transactions_{m}_pkey", key: &["id"] };

pub(super) fn read(r: &Row) -> Tx {
    Tx {
        id: TxId::from_raw(r.get(1)).expect("ids are ours"),
        created_at: r.get(2),
        posted_at: r.opt(3),
        card_seq: r.opt(4),
        prev_tx_id: r.opt(5),
        skip_tx_id: r.opt(6),
        refund_chain_id: r.opt(7),
        points_earned: r.get(8),
        merchant_id: r.opt(9),
        tx_type: TxType::from_label(&r.label(10)).expect("labels of app.tx_type"),
        status: TxStatus::from_label(&r.label(11)).expect("labels of app.tx_status"),
        card_type: CardType::from_label(&r.label(12)).expect("labels of app.card_type"),
        payment_method: PayMethod::from_label(&r.label(13)).expect("labels of app.pay_method"),
        card_id: r.get(14),
        member_id: r.opt(15),
        processed_by: r.opt(16),
        discount: r.get(17),
        raw_amount: r.get(18),
        final_amount: r.get(19),
        balance_after: r.opt(20),
        refunded_amount: r.opt(21),
        refundable_left: r.opt(22),
        original_tx_no: r.opt(24),
        idempotency_key: r.opt(25),
        external_order_id: r.opt(26),
        gateway_trade_no: r.opt(27),
        reason: r.opt(28),
        tag: r.get(30),
        locked_version: None,
    }
}

/// A transaction of a month that is known to be here.
pub fn find(db: &Db, id: TxId) -> Option<Tx> {
    db.find(&BY_ID, Some(id.month()), &[p(id.raw())], read)
}

/// As [`find`], locked until the transaction ends.
pub fn lock(db: &Db, id: TxId) -> Option<Tx> {
    let read = |r: &Row| Tx { locked_version: Some(r.version()), ..read(r) };
    db.lock(&BY_ID, Some(id.month()), &[p(id.raw())], read)
}

/// Inserts a recharge that waits for its money, and counts it among its card's.
pub fn insert_pending(db: &Db, tx: &Tx) -> Result<()> {
    assert!(tx.tx_type == TxType::Recharge && tx.status == TxStatus::Processing);
    // First: where the row goes by the statement, a trigger counts what is not counted.
    db.run_once("INSERT INTO app.pending_recharges (tx_id, card_id) VALUES ($1, $2)", &[p(tx.id.raw()), p(tx.card_id)]);
    insert(db, tx)
}

/// How many recharges of a card wait for their money; no more than `enough` are looked at.
pub fn pending_count(db: &Db, card: Uuid, enough: i64) -> i64 {
    db.row(
        "SELECT pg_catalog.count(*) FROM (SELECT FROM app.pending_recharges r WHERE r.card_id = $1 LIMIT $2) x",
        &[p(card), p(enough)],
        |r| r.get(1),
    )
    .expect("one row")
}

fn no_longer_pending(db: &Db, id: TxId) {
    let id = [p(id.raw())];
    // What was cancelled or failed before is not counted any more. What is counted still has been kept.
    if db.run("DELETE FROM app.pending_recharges WHERE tx_id = $1", &id) == 0
        && db.row("SELECT true FROM app.pending_recharges r WHERE r.tx_id = $1", &id, |r| r.get(1)).unwrap_or(false)
    {
        kept_from_being_written().raise();
    }
}

pub fn insert(db: &Db, tx: &Tx) -> Result<()> {
    // What the table has no CHECKs for.
    assert!(!tx.final_amount.is_zero() && (tx.final_amount.is_positive() || tx.tx_type == TxType::Adjustment));
    assert_eq!(tx.status == TxStatus::Completed, tx.card_seq.is_some() && tx.posted_at.is_some());
    assert!(tx.balance_after.is_none_or(|b| !b.is_negative()));
    assert_eq!(Month::of(tx.created_at.0), Some(tx.id.month()));
    db.insert(
        &TABLE,
        Some(tx.id.month()),
        &[
            p(tx.id.raw()),
            p(tx.created_at),
            p(tx.posted_at),
            p(tx.card_seq),
            p(tx.prev_tx_id),
            p(tx.skip_tx_id),
            p(tx.refund_chain_id),
            p(tx.points_earned),
            p(tx.merchant_id),
            label(db, "app.tx_type", tx.tx_type.label()),
            label(db, "app.tx_status", tx.status.label()),
            label(db, "app.card_type", tx.card_type.label()),
            label(db, "app.pay_method", tx.payment_method.label()),
            p(tx.card_id),
            p(tx.member_id),
            p(tx.processed_by),
            p(tx.discount),
            p(tx.raw_amount),
            p(tx.final_amount),
            p(tx.balance_after),
            p(tx.refunded_amount),
            p(tx.refundable_left),
            p(tx.tx_no()),
            p(tx.original_tx_no.as_deref()),
            p(tx.idempotency_key.as_deref()),
            p(tx.external_order_id.as_deref()),
            p(tx.gateway_trade_no.as_deref()),
            p(tx.reason.as_deref()),
            p(None::<&str>),
            p(tx.tag.clone()),
        ],
    );
    late::note(db, tx);
    let company_user = tx.member_id.filter(|_| tx.card_type == CardType::Enterprise);
    history::note_writer(db, tx.id.month(), tx.merchant_id, company_user)
}

/// Notes a refund on its payment, which is locked: the new sum, and the refund as head of the chain.
pub fn note_refund(db: &Db, payment: &mut Tx, refunded: Money, refund: TxId) -> Result<()> {
    assert!(refunded.is_positive() && refunded <= payment.final_amount);
    (payment.refunded_amount, payment.refund_chain_id) = (Some(refunded), Some(refund.raw()));
    update_locked(db, payment, vec![("refunded_amount", p(refunded)), ("refund_chain_id", p(refund.raw()))])
}

/// Changes a locked transaction that is still as it was read or last written. Error: `STATUS_CONFLICT`, it is not.
fn update_locked(db: &Db, tx: &mut Tx, changes: Vec<Change>) -> Result<()> {
    let version = tx.locked_version.as_mut().expect("only locked transactions change");
    db.update_locked(&BY_ID, Some(tx.id.month()), &[p(tx.id.raw())], version, changes)
}

fn label(db: &Db, of: &'static str, label: &'static str) -> Param {
    Param::label(labels::oids(db, of, label))
}

/// Notes the gateway's trade number, and how the payer paid, on a locked recharge that was credited without one.
pub fn note_trade(db: &Db, tx: &mut Tx) -> Result<()> {
    let changes = vec![
        ("payment_method", label(db, "app.pay_method", tx.payment_method.label())),
        ("gateway_trade_no", p(tx.gateway_trade_no.as_deref())),
    ];
    update_locked(db, tx, changes)
}

/// Writes the posting of a recharge that was waiting, and is locked.
pub fn complete(db: &Db, tx: &mut Tx) -> Result<()> {
    no_longer_pending(db, tx.id);
    let changes = vec![
        ("status", label(db, "app.tx_status", TxStatus::Completed.label())),
        ("card_id", p(tx.card_id)),
        ("posted_at", p(tx.posted_at)),
        ("card_seq", p(tx.card_seq)),
        ("prev_tx_id", p(tx.prev_tx_id)),
        ("skip_tx_id", p(tx.skip_tx_id)),
        ("balance_after", p(tx.balance_after)),
        ("gateway_trade_no", p(tx.gateway_trade_no.as_deref())),
        ("payment_method", label(db, "app.pay_method", tx.payment_method.label())),
    ];
    update_locked(db, tx, changes)?;
    late::note(db, tx);
    Ok(())
}

/// Ends a recharge that was waiting, and is locked, without money.
pub fn end_unpaid(db: &Db, tx: &mut Tx, status: TxStatus, why: &str) -> Result<()> {
    tx.status = status;
    no_longer_pending(db, tx.id);
    let changes = vec![("status", label(db, "app.tx_status", status.label())), ("failure_reason", p(why))];
    update_locked(db, tx, changes)
}

/// Whether a card, or one that it took over from, has a recharge that is still waiting: its confirmation would credit it.
pub fn has_pending(db: &Db, card: Uuid) -> bool {
    db.row(
        "WITH RECURSIVE chain AS ( \
            SELECT $1::uuid AS id UNION SELECT c.id FROM chain x JOIN app.personal_cards c ON c.replaced_by = x.id) \
         SELECT EXISTS (SELECT FROM app.pending_recharges r WHERE r.card_id IN (SELECT id FROM chain))",
        &[p(card)],
        |r| r.get(1),
    )
    .unwrap_or(false)
}

/// One manual correction, beside its movement.
pub fn insert_compensation(db: &Db, tx: &Tx, corrected: &str, actor: Option<Uuid>, role: &str, reason: &str) {
    db.run_once(
        "INSERT INTO app.transaction_compensations (compensation_tx_no, tx_no, created_at, actor_user_id, actor_role, amount, reason) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[p(tx.tx_no()), p(corrected), p(tx.created_at), p(actor), p(role), p(tx.final_amount), p(reason)],
    );
}
