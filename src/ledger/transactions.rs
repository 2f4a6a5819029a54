//! `app.transactions` and `app.transaction_compensations`. Rows are written to and read from the one partition that their
//! id names, never through the parent: one lock and one probe whatever the number of months.

use crate::engine::db::{Db, kept_from_being_written};
use crate::engine::direct::{Change, Path};
use crate::engine::param::p;
use crate::engine::record::{changes, record};
use crate::engine::row::Row;
use crate::engine::sequences::{self, Sequence};
use crate::engine::server::Raise;
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::months::Open;
use crate::ledger::tx::{TABLE, Tx};
use crate::ledger::{history, late};
use mps_domain::card::CardType;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::month::Month;
use mps_domain::tx_no::{ONE_MACHINE, TxId, TxStatus, TxType};

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

pub(super) static BY_ID: Path = Path { table: &TABLE, index: "transactions_{m}_pkey", key: &["id"] };

/// A transaction of a month that is known to be here.
pub fn find(db: &Db, id: TxId) -> Option<Tx> {
    db.find(&BY_ID, Some(id.month()), &[p(id.raw())], Tx::read)
}

/// As [`find`], locked until the transaction ends.
pub fn lock(open: Open, id: TxId) -> Option<Tx> {
    let read = |r: &Row| Tx { locked_version: Some(r.version()), ..Tx::read(r) };
    open.lock(&BY_ID, Some(id.month()), &[p(id.raw())], read)
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
    assert!(!tx.final_amount.is_negative() || tx.tx_type == TxType::Adjustment);
    // A coupon may pay all of it, and then there is nothing to give back but the coupon.
    assert!(!tx.final_amount.is_zero() || tx.coupon_discount.is_some() || tx.tx_type == TxType::Refund);
    assert_eq!(tx.status == TxStatus::Completed, tx.card_seq.is_some() && tx.posted_at.is_some());
    assert!(tx.balance_after.is_none_or(|b| !b.is_negative()));
    assert_eq!(Month::of(tx.created_at.0), Some(tx.id.month()));
    db.insert(&TABLE, Some(tx.id.month()), &tx.values(db));
    late::note(db, tx);
    let company_user = tx.member_id.filter(|_| tx.card_type == CardType::Enterprise);
    history::note_writer(db, tx.id.month(), tx.merchant_id, company_user)
}

/// Notes a refund on its payment, which is locked: the new sum, and the refund as head of the chain. One of 0.00 is cancelled by it:
/// sums do not tell whether it was given back.
pub fn note_refund(db: &Db, payment: &mut Tx, refunded: Money, refund: TxId) -> Result<()> {
    assert!(payment.status == TxStatus::Completed && refunded <= payment.final_amount);
    (payment.refunded_amount, payment.refund_chain_id) = (Some(refunded), Some(refund));
    if payment.final_amount.is_zero() {
        payment.status = TxStatus::Cancelled;
        let changes = changes!(db, payment: status, refund_chain_id);
        return write(db, payment, changes.into());
    }
    assert!(refunded.is_positive());
    let changes = changes!(db, payment: refunded_amount, refund_chain_id);
    write(db, payment, changes.into())
}

/// Writes columns of a locked transaction that is still as it was read or last written. Error: `STATUS_CONFLICT`, it is not.
fn write(db: &Db, tx: &mut Tx, changes: Vec<Change>) -> Result<()> {
    let version = tx.locked_version.as_mut().expect("only locked transactions change");
    db.update_locked(&BY_ID, Some(tx.id.month()), &[p(tx.id.raw())], version, changes)
}

/// Notes the gateway's trade number, and how the payer paid, on a locked recharge that was credited without one.
pub fn note_trade(db: &Db, tx: &mut Tx) -> Result<()> {
    let changes = changes!(db, tx: payment_method, gateway_trade_no);
    write(db, tx, changes.into())
}

/// Writes the posting of a recharge that was waiting, and is locked.
pub fn complete(db: &Db, tx: &mut Tx) -> Result<()> {
    assert_eq!(tx.status, TxStatus::Completed);
    no_longer_pending(db, tx.id);
    let changes = changes!(
        db,
        tx: status,
        card_id,
        posted_at,
        card_seq,
        prev_tx_id,
        skip_tx_id,
        balance_after,
        gateway_trade_no,
        payment_method,
    );
    write(db, tx, changes.into())?;
    late::note(db, tx);
    Ok(())
}

/// Ends a recharge that was waiting, and is locked, without money.
pub fn end_unpaid(db: &Db, tx: &mut Tx, status: TxStatus, why: &str) -> Result<()> {
    (tx.status, tx.failure_reason) = (status, Some(why.to_owned()));
    no_longer_pending(db, tx.id);
    let changes = changes!(db, tx: status, failure_reason);
    write(db, tx, changes.into())
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

record! {
    struct Compensation<'a> in static COMPENSATIONS: c"app", "transaction_compensations";
    columns {
        compensation_tx_no: String,
        tx_no: &'a str,
        created_at: Timestamp,
        actor_user_id: Option<Uuid>,
        actor_role: &'a str,
        amount: Money,
        reason: &'a str,
    }
    inserted by values;
}

/// One manual correction, beside its movement.
pub fn insert_compensation(db: &Db, tx: &Tx, corrected: &str, actor: Option<Uuid>, role: &str, reason: &str) {
    let compensation = Compensation {
        compensation_tx_no: tx.tx_no(),
        tx_no: corrected,
        created_at: tx.created_at,
        actor_user_id: actor,
        actor_role: role,
        amount: tx.final_amount,
        reason,
    };
    db.insert(&COMPENSATIONS, None, &compensation.values(db));
}
