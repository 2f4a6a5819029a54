//! Cards and their movements, as far as protocols share them: posting, by what `mps-domain` decides, and what must hold of the books
//! in every state that everybody sees. The names are the storm's.

use crate::server::{Table, Who};
use mps_domain::card::CardStatus;
use mps_domain::member::MemberStatus;
use mps_domain::money::{Discount, Money};
use mps_domain::quote::{PointTerms, Reduction, Terms, quote};
use mps_domain::refund::{points_to_reverse, refundable};
use mps_domain::tier::{Level, level_for};
use mps_domain::tx_no::{TxStatus, TxType};
use rust_decimal::Decimal;

pub const CHAIN: &str =
    "every card's movements are numbered without gaps, and each balance follows from the one before"; // of the storm
pub const WHERE_LEFT: &str = "every card is where its last movement left it"; // of the storm
pub const POINTS: &str = "every card has the points that its ledger adds up to"; // of the storm
pub const REFUNDS: &str = "refunds never pass what was paid, and the payment knows their sum"; // of the storm
pub const LEFT: &str = "every refund said what was left after it"; // of the storm
pub const PROPORTION: &str = "refunds took back the points in proportion"; // of the storm
pub const EMPTY: &str = "a replaced card is closed and empty"; // of the storm
pub const MONEY: &str = "money in = money out + balances"; // of the storm
pub const PRICED: &str =
    "every charge was priced by the level of the points before it, under a level table then in force"; // of the storm

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Card {
    pub member: u8,
    pub status: CardStatus,
    pub balance: i64,
    pub points: i64,
    pub seq: u8,
    pub last: Option<u8>,
    pub replaced_by: Option<u8>,
    pub code: Option<u8>,
}

/// A transaction; its place in the table is its number. Money is in cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tx {
    pub kind: TxType,
    pub status: TxStatus,
    pub card: u8,
    pub raw: i64,
    pub paid: i64,
    pub points: i64,
    /// Of the card, before it.
    pub points_before: i64,
    pub seq: u8,
    pub prev: Option<u8>,
    pub balance_after: i64,
    pub refunded: i64,
    pub left: i64,
    pub original: Option<u8>,
    pub key: Option<u8>,
    pub code: Option<u8>,
    pub trade: Option<u8>,
}

impl Tx {
    pub fn new(kind: TxType, card: u8, raw: i64, paid: i64) -> Tx {
        Tx {
            kind,
            status: TxStatus::Processing,
            card,
            raw,
            paid,
            points: 0,
            points_before: 0,
            seq: 0,
            prev: None,
            balance_after: 0,
            refunded: 0,
            left: 0,
            original: None,
            key: None,
            code: None,
            trade: None,
        }
    }

    /// What it adds to the balance.
    pub fn change(&self) -> i64 {
        if self.kind == TxType::Payment { -self.paid } else { self.paid }
    }
}

/// Two levels, so that a refund can take one away.
pub fn levels() -> Vec<Level> {
    [(0, 0, 1000), (1, 10, 950)]
        .map(|(level, min_points, t)| Level {
            level,
            min_points,
            discount: Discount::from_thousandths(t).expect("a discount"),
        })
        .to_vec()
}

/// Posts a movement: the next number of its card, or `false` where the balance would be below zero.
pub fn post(card: &mut Card, tx: &mut Tx, id: u8) -> bool {
    let balance = card.balance + tx.change();
    if balance < 0 {
        return false;
    }
    card.seq += 1;
    (tx.status, tx.seq, tx.prev, tx.balance_after, tx.points_before) =
        (TxStatus::Completed, card.seq, card.last, balance, card.points);
    (card.balance, card.last, card.points) = (balance, Some(id), card.points + tx.points);
    true
}

/// A payment of so much from a card as it is; `None` where it is refused.
pub fn pay(card: &Card, at: u8, member: Option<MemberStatus>, raw: i64) -> Option<Tx> {
    if card.status != CardStatus::Active || member != Some(MemberStatus::Active) {
        return None;
    }
    let reduction = Reduction::Level(level_for(&levels(), card.points).discount);
    let points = Some(PointTerms::plain(Decimal::ONE));
    let terms = Terms { raw_amount: Money::from_cents(raw), excluded: Money::ZERO, reduction, coupon: None, points };
    let priced = quote(&terms).ok()?;
    let paid = priced.final_amount.cents();
    (card.balance >= paid).then(|| Tx { points: priced.points_earned, ..Tx::new(TxType::Payment, at, raw, paid) })
}

/// A refund of so much of a payment to a card; `None` where more is asked for than is left.
pub fn refund(payment: &Tx, at: u8, cents: i64) -> Option<Tx> {
    let (paid, refunded, amount) =
        (Money::from_cents(payment.paid), Money::from_cents(payment.refunded), Money::from_cents(cents));
    let left = refundable(paid, refunded);
    if amount > left {
        return None;
    }
    let points = -points_to_reverse(payment.points, paid, refunded, amount);
    Some(Tx { points, left: left.minus(amount)?.cents(), ..Tx::new(TxType::Refund, at, cents, cents) })
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Books {
    pub cards: Table<Card>,
    pub txs: Table<Tx>,
    pub members: Table<MemberStatus>,
}

impl Books {
    /// Two cards of two members, and a place for one that replaces the first; the first with 20.00, of which 10.00 is paid (number 1),
    /// the other with 5.00; room for more transactions, from number 3 on.
    pub fn new(first: CardStatus, more: usize) -> Books {
        let card = |member, code| Card {
            member,
            status: CardStatus::Active,
            balance: 0,
            points: 0,
            seq: 0,
            last: None,
            replaced_by: None,
            code: Some(code),
        };
        let (mut one, mut other) = (card(0, 0), card(1, 1));
        let mut txs = [
            Tx::new(TxType::Recharge, 0, 2000, 2000),
            Tx { points: 10, ..Tx::new(TxType::Payment, 0, 1000, 1000) },
            Tx::new(TxType::Recharge, 1, 500, 500),
        ];
        for (id, tx) in (0..).zip(&mut txs) {
            assert!(post(if tx.card == 0 { &mut one } else { &mut other }, tx, id));
        }
        one.status = first;
        let rows = txs.map(Some).into_iter().chain(std::iter::repeat_n(None, more));
        Books {
            cards: Table::new(vec![Some(one), Some(other), None]),
            txs: Table::new(rows.collect()),
            members: Table::new(vec![Some(MemberStatus::Active); 2]),
        }
    }

    pub fn end(&mut self, who: Who, kept: bool) {
        self.cards.end(who, kept);
        self.txs.end(who, kept);
        self.members.end(who, kept);
    }

    /// What this transaction has just posted, on a card that it has locked or made.
    pub fn write(&mut self, who: Who, at: u8, card: Card, id: u8, tx: Tx) {
        self.cards.write(who, at.into(), card);
        _ = self.txs.insert(who, id.into(), tx);
    }

    fn movements(&self, at: usize) -> Vec<(u8, Tx)> {
        let of = |tx: &Tx| usize::from(tx.card) == at && tx.status == TxStatus::Completed;
        let mut found: Vec<(u8, Tx)> =
            self.txs.rows().filter(|(_, tx)| of(tx)).map(|(id, tx)| (id as u8, *tx)).collect();
        found.sort_by_key(|(_, tx)| tx.seq);
        found
    }

    pub fn chain_holds(&self) -> bool {
        self.cards.rows().all(|(at, _)| {
            let (mut balance, mut last) = (0, None);
            (1..).zip(self.movements(at)).all(|(place, (id, tx))| {
                let follows = tx.seq == place && tx.prev == last && tx.balance_after == balance + tx.change();
                (balance, last) = (tx.balance_after, Some(id));
                follows && balance >= 0
            })
        })
    }

    pub fn cards_are_where_left(&self) -> bool {
        self.cards.rows().all(|(at, card)| {
            let last = self.movements(at).last().copied();
            let left = last.map_or((0, 0, None), |(id, tx)| (tx.balance_after, tx.seq, Some(id)));
            (card.balance, card.seq, card.last) == left
        })
    }

    pub fn points_add_up(&self) -> bool {
        self.cards
            .rows()
            .all(|(at, card)| self.movements(at).iter().map(|(_, tx)| tx.points).sum::<i64>() == card.points)
    }

    fn refunds_of(&self, id: usize) -> impl Iterator<Item = &Tx> {
        let is_one = move |tx: &&Tx| tx.kind == TxType::Refund && tx.original.map(usize::from) == Some(id);
        self.txs.rows().map(|(_, tx)| tx).filter(is_one)
    }

    fn payments(&self) -> impl Iterator<Item = (usize, &Tx)> {
        self.txs.rows().filter(|(_, tx)| tx.kind == TxType::Payment)
    }

    pub fn refunds_hold(&self) -> bool {
        self.payments().all(|(id, tx)| {
            let sum: i64 = self.refunds_of(id).map(|refund| refund.paid).sum();
            sum == tx.refunded && sum <= tx.paid
        })
    }

    pub fn refunds_said_what_was_left(&self) -> bool {
        self.payments().all(|(id, tx)| {
            let mut refunds: Vec<&Tx> = self.refunds_of(id).collect();
            refunds.sort_by_key(|refund| std::cmp::Reverse(refund.left));
            let mut left = tx.paid;
            refunds.iter().all(|refund| {
                left -= refund.paid;
                refund.left == left
            })
        })
    }

    /// By the storm's arithmetic, not by the function that took them.
    pub fn points_went_back_in_proportion(&self) -> bool {
        self.payments().all(|(id, tx)| {
            let back: i64 = self.refunds_of(id).map(|refund| -refund.points).sum();
            back == tx.points * tx.refunded / tx.paid
        })
    }

    pub fn replaced_are_empty(&self) -> bool {
        let is_empty = |card: &Card| card.status == CardStatus::Closed && card.balance == 0 && card.points == 0;
        self.cards.rows().all(|(_, card)| card.replaced_by.is_none() || is_empty(card))
    }

    pub fn money_is_all_there(&self) -> bool {
        let moved: i64 =
            self.txs.rows().filter(|(_, tx)| tx.status == TxStatus::Completed).map(|(_, tx)| tx.change()).sum();
        moved == self.cards.rows().map(|(_, card)| card.balance).sum::<i64>()
    }

    pub fn prices_hold(&self) -> bool {
        // 0.950 from ten points on; the first payment was before there were any.
        self.payments().all(|(_, tx)| tx.paid == if tx.points_before >= 10 { tx.raw * 95 / 100 } else { tx.raw })
    }
}
