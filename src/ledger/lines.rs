//! Reading transactions for statements and pages: along a card's chain, and of a merchant or a member in one month.

use crate::engine::db::Db;
use crate::engine::direct::{Series, Span};
use crate::engine::param::p;
use crate::engine::record::column;
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::members;
use crate::ledger::history;
use crate::ledger::transactions::{BY_ID, find};
use crate::ledger::tx::{Place, TABLE, Tx, columns};
use mps_domain::money::Money;
use mps_domain::month::{DAY_MICROS, Month};
use mps_domain::tx_no::TxId;

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
        Tx::read,
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
        Tx::read,
    )
}

/// Whether a member has a payment, with whatever card, that was not given back in full. Archived months are not asked, nor those from
/// before there was such a member; the newest first, and each by itself, so that the months of years are not locked for a newcomer.
pub fn has_paid(db: &Db, member: Uuid) -> bool {
    let Some(since) = members::since(db, member) else { return false };
    // A clock may have been set back since.
    let first = Month::nearest(since.0 - DAY_MICROS);
    history::all(db).into_iter().take_while(|month| *month >= first).any(|month| {
        db.row_in(
            month,
            "SELECT EXISTS (SELECT FROM app.transactions_{m} t \
                            WHERE t.member_id = $1 AND t.tx_type = 'payment' AND t.status = 'completed' \
                              AND (t.refunded_amount < t.final_amount OR t.final_amount = 0))",
            &[p(member)],
            |r| r.get(1),
        )
        .unwrap_or(false)
    })
}

/// What finding an old balance needs of a movement.
pub struct Link {
    pub card_seq: i64,
    pub posted_at: Timestamp,
    pub balance_after: Money,
    pub prev: Option<TxId>,
    pub skip: Option<TxId>,
}

pub fn link(db: &Db, id: TxId) -> Option<Link> {
    db.find(&BY_ID, Some(id.month()), &[p(id.raw())], |r| Link {
        card_seq: column!(r, TABLE.card_seq),
        posted_at: column!(r, TABLE.posted_at),
        balance_after: column!(r, TABLE.balance_after),
        prev: column!(r, TABLE.prev_tx_id),
        skip: column!(r, TABLE.skip_tx_id),
    })
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
        let at: Timestamp = column!(r, TABLE.posted_at);
        let more = page.len() < limit || page.last().is_some_and(|last| last.place().at == at);
        if more && (Place { at, id: column!(r, TABLE.id) }) < before {
            page.push(Tx::read(r));
        }
        more
    });
    let waiting = posted
        && db.newest(&OF_MERCHANT, month, p(merchant), Span::Never, |r| {
            let place = Place { at: column!(r, TABLE.created_at), id: column!(r, TABLE.id) };
            if from <= place.at && place < before {
                page.push(Tx::read(r));
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
        take(Tx::read(r));
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
            |r| take(Tx::read(r)),
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
        Tx::read,
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
        Tx::read,
    );
    posted.into_iter().chain(waiting).collect()
}

/// The transaction that stands at a place.
pub fn at(db: &Db, place: Place) -> Option<Tx> {
    TxId::from_raw(place.id).and_then(|id| find(db, id))
}
