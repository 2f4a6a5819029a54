//! `app.transactions` and `app.transaction_compensations`. Rows are written to and read from the one partition that their
//! id names, never through the parent: one lock and one probe whatever the number of months.

use super::cache::{self, Sequence};
use super::direct::{Change, Path, Series, Span, Table};
use super::labels;
use super::late;
use super::months;
use super::row::{Row, RowVersion};
use super::spi::{Db, Param, kept_from_being_written, p};
use super::types::{RawJsonb, Timestamp, Uuid};
use crate::error::{Error, Result, Token};
use mps_domain::card::CardType;
use mps_domain::money::{Discount, Money};
use mps_domain::month::Month;
use mps_domain::tx_no::{ONE_MACHINE, PayMethod, TxId, TxStatus, TxType};

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

/// The id of a new transaction of a month. Error: `STATUS_CONFLICT`, all that one machine gives are given.
pub fn new_id(month: Month) -> Result<TxId> {
    let id = next_id(month);
    ensure_given(id)?;
    Ok(id)
}

/// As [`new_id`], for a request that may turn out to be a repetition, which needs none; else [`ensure_given`] is asked.
pub fn next_id(month: Month) -> TxId {
    TxId::new(month, cache::next(Sequence::TxNo)).expect("the sequence ends before its digits do")
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

macro_rules! columns {
    ($head:literal, $tail:literal) => {
        concat!($head, all_columns!(listed), " ", $tail)
    };
}

static TABLE: Table = Table { schema: c"app", name: "transactions_{m}", columns: all_columns!(array), asserted: &[] };

static BY_ID: Path = Path { table: &TABLE, index: "transactions_{m}_pkey", key: &["id"] };

fn read(r: &Row) -> Tx {
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
    months::note_writer(db, tx.id.month(), tx.merchant_id, company_user)
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

/// The movements of a card from `from` back along its chain, as far as they lie in the same month as `from`.
pub fn chain_in_month(db: &Db, from: TxId, limit: i64) -> Vec<Tx> {
    db.rows_in(
        from.month(),
        columns!(
            "WITH RECURSIVE chain AS ( \
                SELECT x.*, 1::bigint AS place FROM app.transactions_{m} x WHERE x.id = $1 \
                UNION ALL \
                SELECT x.*, c.place + 1 FROM chain c JOIN app.transactions_{m} x ON x.id = c.prev_tx_id WHERE c.place < $2) \
             SELECT ",
            "FROM chain t ORDER BY t.place"
        ),
        &[p(from.raw()), p(limit)],
        read,
    )
}

/// Of the movements of a card in these months, numbered below `below` and posted by `by`, the one with the highest number, and
/// what it left. Looks through the months.
pub fn newest_of_card(db: &Db, months: &[Month], card: Uuid, below: i64, by: Timestamp) -> Option<(TxId, i64, Money)> {
    let newest = months.iter().filter_map(|month| {
        db.row_in(
            *month,
            "SELECT t.id, t.card_seq, t.balance_after FROM app.transactions_{m} t \
             WHERE t.card_id = $1 AND t.card_seq < $2 AND t.posted_at <= $3 ORDER BY t.card_seq DESC LIMIT 1",
            &[p(card), p(below), p(by)],
            |r| (TxId::from_raw(r.get(1)).expect("ids are ours"), r.get(2), r.get(3)),
        )
    });
    newest.max_by_key(|(_, seq, _)| *seq)
}

/// The newest refunds of a payment in one month. Looks through the month.
pub fn refunds_in(db: &Db, month: Month, payment: &str, limit: i64) -> Vec<Tx> {
    db.rows_in(
        month,
        columns!(
            "SELECT ",
            "FROM app.transactions_{m} t WHERE t.original_tx_no = $1 AND t.tx_type = 'refund' ORDER BY t.id DESC LIMIT $2"
        ),
        &[p(payment), p(limit)],
        read,
    )
}

/// What finding an old balance needs of a movement.
pub struct Link {
    pub posted_at: Timestamp,
    pub balance_after: Money,
    pub prev: Option<TxId>,
    pub skip: Option<TxId>,
}

pub fn link(db: &Db, id: TxId) -> Option<Link> {
    db.find(&BY_ID, Some(id.month()), &[p(id.raw())], |r| Link {
        posted_at: r.get(3),
        balance_after: r.get(20),
        prev: r.opt(5).and_then(TxId::from_raw),
        skip: r.opt(6).and_then(TxId::from_raw),
    })
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

static OF_MERCHANT: Series = Series { table: &TABLE, of: "merchant_id", by: "posted_at" };

/// The newest lines of a merchant in one month, at or after `from` and before a place: what was asked for in the month and posted
/// in it, or not at all.
pub fn of_merchant(db: &Db, month: Month, merchant: i32, from: Timestamp, before: Place, limit: i64) -> Vec<Tx> {
    let from = from.max(Timestamp(month.starts_at()));
    // What stands at the end itself is not of the month.
    let end = Place { at: Timestamp(month.ends_at()), id: i64::MIN };
    let before = before.min(end);
    let limit = usize::try_from(limit).expect("the rows of a page");
    let mut page: Vec<Tx> = Vec::new();
    // Those of the same moment as the last one in the order of their ids.
    let posted = db.newest(&OF_MERCHANT, month, p(merchant), Span::Moments(from, before.at), |r| {
        let at = r.get::<Timestamp>(3);
        let more = page.len() < limit || page.last().is_some_and(|last| last.place().at == at);
        if more && (Place { at, id: r.get(1) }) < before {
            page.push(read(r));
        }
        more
    });
    let waiting = posted
        && db.newest(&OF_MERCHANT, month, p(merchant), Span::Never, |r| {
            let place = Place { at: r.get(2), id: r.get(1) };
            if from <= place.at && place < before {
                page.push(read(r));
            }
            true
        });
    if !waiting {
        page = of_merchant_by_statement(db, month, merchant, from, before, limit as i64);
    }
    page.sort_unstable_by_key(|tx| std::cmp::Reverse(tx.place()));
    page.truncate(limit);
    page
}

static OF_MEMBER: Series = Series { table: &TABLE, of: "member_id", by: "created_at" };

/// What a member did with some cards in one month before a place, the newest first: posted in it.
pub fn of_member(db: &Db, month: Month, member: Uuid, cards: &[Uuid], before: Place) -> Vec<Tx> {
    let before = before.min(Place { at: Timestamp(month.ends_at()), id: i64::MIN });
    let start = Timestamp(month.starts_at());
    let mut lines: Vec<Tx> = Vec::new();
    let mut take = |tx: Tx| {
        let posted = tx.posted_at.is_some_and(|at| at >= start);
        if posted && tx.place() < before && cards.contains(&tx.card_id) {
            lines.push(tx);
        }
    };
    let span = Span::Moments(start, before.at);
    let done = db.newest(&OF_MEMBER, month, p(member), span, |r| {
        take(read(r));
        true
    });
    if !done {
        db.rows_in(
            month,
            columns!(
                "SELECT ",
                "FROM app.transactions_{m} t WHERE t.member_id = $1 AND t.created_at >= $2 AND t.created_at <= $3"
            ),
            &[p(member), p(start), p(before.at)],
            |r| take(read(r)),
        );
    }
    lines.sort_unstable_by_key(|tx| std::cmp::Reverse(tx.place()));
    lines
}

/// The recharges of a card that wait for their money.
pub fn pending_of(db: &Db, card: Uuid) -> Vec<Tx> {
    let ids =
        db.rows("SELECT r.tx_id FROM app.pending_recharges r WHERE r.card_id = $1", &[p(card)], |r| r.get::<i64>(1));
    ids.into_iter().filter_map(|id| TxId::from_raw(id).and_then(|id| find(db, id))).collect()
}

fn of_merchant_by_statement(
    db: &Db,
    month: Month,
    merchant: i32,
    from: Timestamp,
    before: Place,
    limit: i64,
) -> Vec<Tx> {
    let args = [p(merchant), p(from), p(before.at), p(before.id), p(limit)];
    let posted = db.rows_in(
        month,
        columns!(
            "SELECT ",
            "FROM app.transactions_{m} t \
             WHERE t.merchant_id = $1 AND t.posted_at >= $2 AND t.posted_at <= $3 AND (t.posted_at < $3 OR t.id < $4) \
             ORDER BY t.posted_at DESC, t.id DESC LIMIT $5"
        ),
        &args,
        read,
    );
    let waiting = db.rows_in(
        month,
        columns!(
            "SELECT ",
            "FROM app.transactions_{m} t \
             WHERE t.merchant_id = $1 AND t.posted_at IS NULL AND t.created_at >= $2 AND t.created_at <= $3 \
                   AND (t.created_at < $3 OR t.id < $4) \
             ORDER BY t.created_at DESC, t.id DESC LIMIT $5"
        ),
        &args,
        read,
    );
    posted.into_iter().chain(waiting).collect()
}

/// One manual correction, beside its movement.
pub fn insert_compensation(db: &Db, tx: &Tx, corrected: &str, actor: Option<Uuid>, role: &str, reason: &str) {
    db.run_once(
        "INSERT INTO app.transaction_compensations (compensation_tx_no, tx_no, created_at, actor_user_id, actor_role, amount, reason) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[p(tx.tx_no()), p(corrected), p(tx.created_at), p(actor), p(role), p(tx.final_amount), p(reason)],
    );
}
