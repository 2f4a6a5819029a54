//! Charges that lock nothing, beside all that changes the same card.
//!
//! The protocol: a charge of a personal card reads the card, then its member, and writes the card only if it is the version that was
//! read and nobody is at it; else it locks the card and decides again (`merchant_charge_by_qr.rs`, `try_post`, `rotate_card_qr.rs`).
//! Refunds lock the payment, then the card, or the one that took over from it (`lock_successor`); recharges, freezing and replacing lock
//! the card; suspending a member locks the member, then changes its card, so that a charge which read before looks again.
//!
//! Left out: company cards, which are always locked first; months, merchants and settings; points by hand; triggers of a shop. What is
//! written besides the card (transaction, points, event) is one row here.
//!
//! The bound: any three of these at once on two cards, the same one twice or more often where it is sent again: a charge, another with
//! the same code, one of the other card, two refunds of one payment, a recharge, a new pay code, the member suspended, the card frozen,
//! a lost card replaced; each of them may be lost wherever it is (in the long form any four, of which one is lost).

use crate::books::{self, Books, Card, Tx, pay, post, refund};
use crate::server::{Asked, Table, Who};
use crate::somebody_goes_on;
use mps_domain::card::{CardStatus, CardType};
use mps_domain::member::MemberStatus;
use mps_domain::tx_no::TxType;
use stateright::{Model, Property};

const KEY_ONCE: &str = "no key moved money twice"; // of the storm
const NOTHING_DANGLES: &str = "no key and no order dangles, and none is missing"; // of the storm
const IN_THE_BOOKS: &str = "every answer that a client got is in the books"; // of the storm
const CODE_ONCE: &str = "a code pays once";
const NOT_LATE: &str = "nothing is paid after a suspension or a freeze was answered";
const ALL_END: &str = "nobody waits for ever";
const SEEN_LOST: &str = "a charge loses the card to somebody else, locks it, and pays";
const SEEN_FOLLOWED: &str = "a refund follows a card that was replaced meanwhile";
const SEEN_LEVEL: &str = "a refund takes the level away, and the next charge pays the full price";

/// What is sent. Cards, codes and keys by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    Charge { card: u8, key: u8, raw: i64 },
    Refund { cents: i64, key: u8 },
    Recharge { key: u8 },
    Rotate,
    Suspend,
    Freeze,
    Replace,
}

const KEYS: usize = 6;
const PAYMENT: u8 = 1;
const OPS: [Op; 10] = [
    Op::Charge { card: 0, key: 0, raw: 1000 },
    Op::Charge { card: 0, key: 1, raw: 100 },
    Op::Charge { card: 1, key: 2, raw: 300 },
    Op::Refund { cents: 333, key: 3 },
    Op::Refund { cents: 700, key: 4 },
    Op::Recharge { key: 5 },
    Op::Rotate,
    Op::Suspend,
    Op::Freeze,
    Op::Replace,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    New(u8),
    Replayed(u8),
    Done,
    Refused,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    TakeKey,
    LookKey,
    /// A charge or a new code: what was read without a lock.
    Peek,
    PeekMember {
        seen: Card,
        version: u8,
    },
    Write {
        seen: Card,
        version: u8,
        member: Option<MemberStatus>,
    },
    Lock {
        at: u8,
    },
    LockedMember {
        card: Card,
        at: u8,
    },
    LockPayment,
    /// A refund: with what had been given back when that was asked.
    Find {
        at: u8,
        refunded: i64,
    },
    LockFound {
        at: u8,
        refunded: i64,
    },
    LockMember,
    FindOpen,
    Commit(Answer),
    Over(Answer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Backend {
    op: Op,
    at: At,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    books: Books,
    keys: Table<u8>,
    backends: Vec<Backend>,
    losses: u8,
    was_late: bool,
    was_lost: bool,
    was_followed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Step(Who),
    Lose(Who),
}

/// How the protocol could be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A charge writes whatever version the card is, where nobody is at it.
    WritesUnseen,
    /// A suspension leaves the card as it is.
    LeavesCard,
    /// A refund goes to the card that paid, though it was replaced before the lock was got.
    FollowsOnce,
    /// What is left is asked before the payment is locked.
    AsksUnlocked,
}

#[derive(Clone, Copy, Debug)]
pub struct Charges {
    pub flaw: Option<Flaw>,
    pub at_once: usize,
    pub losses: u8,
}

impl Charges {
    fn next(&self, state: &mut State, who: Who) -> Option<At> {
        let Backend { op, at } = state.backends[usize::from(who)];
        match at {
            At::TakeKey => self.take_key(state, who, op),
            At::LookKey => Some(At::Commit(match state.keys.read(who, usize::from(key(op)?)) {
                Some(id) => Answer::Replayed(*id),
                None => Answer::Refused,
            })),
            At::Peek => {
                let at = usize::from(payer(op));
                let seen = *state.books.cards.read(who, at)?;
                if matches!(op, Op::Charge { .. }) && seen.code != Some(payer(op)) {
                    return Some(At::Commit(Answer::Refused));
                }
                Some(At::PeekMember { seen, version: state.books.cards.version(at) })
            }
            At::PeekMember { seen, version } => {
                let member = state.books.members.read(who, seen.member.into()).copied();
                Some(At::Write { seen, version, member })
            }
            At::Write { seen, version, member } => Some(self.write_seen(state, who, op, seen, version, member)),
            At::Lock { at } => self.lock_card(state, who, op, at),
            At::LockedMember { card, at } => {
                let member = state.books.members.read(who, card.member.into()).copied();
                Some(match decide(op, card, at, member, id(who)) {
                    None => At::Commit(Answer::Refused),
                    Some((card, tx)) => {
                        state.was_lost |= tx.is_some();
                        self.write(state, who, at, card, tx)
                    }
                })
            }
            At::LockPayment => match state.books.txs.lock(who, PAYMENT.into()) {
                Asked::Waits => None,
                Asked::Got(payment) => payment.map(|payment| At::Find { at: payment.card, refunded: payment.refunded }),
            },
            At::Find { at, refunded } => Some(match state.books.cards.read(who, at.into())?.replaced_by {
                Some(next) => At::Find { at: next, refunded },
                None => At::LockFound { at, refunded },
            }),
            At::LockFound { at, refunded } => self.refund(state, who, op, at, refunded),
            At::LockMember => match state.books.members.lock(who, 0) {
                Asked::Waits => None,
                Asked::Got(_) if op == Op::Replace => Some(At::Lock { at: 0 }),
                Asked::Got(_) => Some(At::FindOpen),
            },
            At::FindOpen => {
                let is_open = |at: &u8| {
                    state.books.cards.read(who, usize::from(*at)).is_some_and(|c| c.status != CardStatus::Closed)
                };
                Some(At::Lock { at: [2, 0].into_iter().find(is_open).unwrap_or(0) })
            }
            At::Commit(answer) => {
                let kept = !matches!(answer, Answer::Refused);
                state.was_late |=
                    matches!((op, answer), (Op::Charge { .. }, Answer::New(_))) && may_not_pay(state, payer(op));
                state.books.end(who, kept);
                state.keys.end(who, kept);
                Some(At::Over(answer))
            }
            At::Over(_) => None,
        }
    }

    fn take_key(&self, state: &mut State, who: Who, op: Op) -> Option<At> {
        match state.keys.insert(who, key(op)?.into(), id(who)) {
            Asked::Waits => None,
            Asked::Got(false) => Some(At::LookKey),
            Asked::Got(true) => Some(match op {
                Op::Charge { .. } => At::Peek,
                // What was there before it is locked, for the one that goes by that.
                Op::Refund { .. } if self.flaw == Some(Flaw::AsksUnlocked) => {
                    let payment = state.books.txs.read(who, PAYMENT.into())?;
                    At::Find { at: payment.card, refunded: payment.refunded }
                }
                Op::Refund { .. } => At::LockPayment,
                _ => At::Lock { at: 0 },
            }),
        }
    }

    /// A card that was read without a lock, decided about and written, if it still is what was read.
    fn write_seen(
        &self,
        state: &mut State,
        who: Who,
        op: Op,
        seen: Card,
        version: u8,
        member: Option<MemberStatus>,
    ) -> At {
        let at = payer(op);
        let Some((card, tx)) = decide(op, seen, at, member, id(who)) else { return At::Commit(Answer::Refused) };
        let cards = &mut state.books.cards;
        let version = if self.flaw == Some(Flaw::WritesUnseen) { cards.version(at.into()) } else { version };
        if !cards.write_seen(who, at.into(), version, card) {
            return At::Lock { at };
        }
        self.write(state, who, at, card, tx)
    }

    fn write(&self, state: &mut State, who: Who, at: u8, card: Card, tx: Option<Tx>) -> At {
        match tx {
            Some(tx) => state.books.write(who, at, card, id(who), tx),
            None => state.books.cards.write(who, at.into(), card),
        }
        At::Commit(if tx.is_some() { Answer::New(id(who)) } else { Answer::Done })
    }

    fn lock_card(&self, state: &mut State, who: Who, op: Op, at: u8) -> Option<At> {
        let Asked::Got(card) = state.books.cards.lock(who, at.into()) else { return None };
        let card = card?;
        Some(match op {
            Op::Charge { .. } if card.code != Some(payer(op)) => At::Commit(Answer::Refused),
            Op::Charge { .. } | Op::Rotate | Op::Recharge { .. } => At::LockedMember { card, at },
            Op::Freeze if card.status.may_become(CardStatus::Frozen, CardType::Personal) => {
                self.write(state, who, at, Card { status: CardStatus::Frozen, ..card }, None)
            }
            Op::Suspend => {
                state.books.members.write(who, 0, MemberStatus::Suspended);
                if self.flaw != Some(Flaw::LeavesCard) {
                    state.books.cards.write(who, at.into(), card);
                }
                At::Commit(Answer::Done)
            }
            Op::Replace if card.replaced_by.is_some() => At::Commit(Answer::Done),
            Op::Replace if card.status == CardStatus::Lost => {
                replace(&mut state.books, who, card, (id(who), id(who) + 1));
                At::Commit(Answer::Done)
            }
            _ => At::Commit(Answer::Refused),
        })
    }

    fn refund(&self, state: &mut State, who: Who, op: Op, at: u8, refunded: i64) -> Option<At> {
        let Op::Refund { cents, key } = op else { return None };
        let Asked::Got(card) = state.books.cards.lock(who, at.into()) else { return None };
        let mut card = card?;
        let follows = self.flaw != Some(Flaw::FollowsOnce);
        if let (Some(next), true) = (card.replaced_by, follows) {
            state.was_followed = true;
            return Some(At::LockFound { at: next, refunded });
        }
        // Locked already, but by the one that asks before.
        let Asked::Got(payment) = state.books.txs.lock(who, PAYMENT.into()) else { return None };
        let payment = Tx { refunded, ..payment? };
        let refused = card.status == CardStatus::Closed && follows;
        let Some(tx) = refund(&payment, at, cents).filter(|_| !refused) else {
            return Some(At::Commit(Answer::Refused));
        };
        let mut tx = Tx { original: Some(PAYMENT), key: Some(key), ..tx };
        assert!(post(&mut card, &mut tx, id(who)), "a refund adds");
        state.books.txs.write(who, PAYMENT.into(), Tx { refunded: refunded + cents, ..payment });
        Some(self.write(state, who, at, card, Some(tx)))
    }
}

fn id(who: Who) -> u8 {
    3 + 2 * who
}

fn key(op: Op) -> Option<u8> {
    match op {
        Op::Charge { key, .. } | Op::Refund { key, .. } | Op::Recharge { key } => Some(key),
        _ => None,
    }
}

/// The card that a code names; codes are numbered as their cards.
fn payer(op: Op) -> u8 {
    if let Op::Charge { card, .. } = op { card } else { 0 }
}

/// What becomes of the card, and the movement if there is one.
fn decide(op: Op, mut card: Card, at: u8, member: Option<MemberStatus>, id: u8) -> Option<(Card, Option<Tx>)> {
    let mut tx = match op {
        Op::Charge { raw, key, .. } => Tx { key: Some(key), code: card.code, ..pay(&card, at, member, raw)? },
        _ if card.status != CardStatus::Active || member != Some(MemberStatus::Active) => return None,
        Op::Recharge { key } => Tx { key: Some(key), ..Tx::new(TxType::Recharge, at, 600, 600) },
        _ => return Some((Card { code: Some(9), ..card }, None)),
    };
    if !post(&mut card, &mut tx, id) {
        return None;
    }
    if tx.kind == TxType::Payment {
        card.code = None;
    }
    Some((card, Some(tx)))
}

/// The linked pair, and what else is on the card; the new one is there for this transaction alone as yet.
pub(crate) fn replace(books: &mut Books, who: Who, old: Card, (out_id, into_id): (u8, u8)) {
    const NEW: u8 = 2;
    let fresh = Card {
        status: CardStatus::Active,
        balance: 0,
        points: 0,
        seq: 0,
        last: None,
        replaced_by: None,
        code: None,
        ..old
    };
    let mut closed = Card { status: CardStatus::Closed, replaced_by: Some(NEW), code: None, ..old };
    let mut new = fresh;
    let mut out = Tx {
        points: -old.points,
        original: Some(into_id),
        ..Tx::new(TxType::Adjustment, 0, -old.balance, -old.balance)
    };
    let mut into =
        Tx { points: old.points, original: Some(out_id), ..Tx::new(TxType::Adjustment, NEW, old.balance, old.balance) };
    assert!(post(&mut closed, &mut out, out_id) && post(&mut new, &mut into, into_id));
    assert_eq!(books.cards.insert(who, NEW.into(), new), Asked::Got(true));
    books.write(who, 0, closed, out_id, out);
    books.write(who, NEW, new, into_id, into);
}

/// By what everybody sees.
fn may_not_pay(state: &State, card: u8) -> bool {
    let Some(card) = state.books.cards.seen_by_all(card.into()) else { return true };
    state.books.members.seen_by_all(card.member.into()) != Some(&MemberStatus::Active)
        || card.status != CardStatus::Active
}

impl Model for Charges {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut sets: Vec<Vec<Op>> = vec![vec![]];
        for _ in 0..self.at_once {
            // In order: who is who makes no difference. The same twice is one that is sent again.
            let longer = |set: &Vec<Op>| -> Vec<Vec<Op>> {
                let from = set.last().and_then(|last| OPS.iter().position(|op| op == last)).unwrap_or(0);
                OPS[from..].iter().map(|op| [set.clone(), vec![*op]].concat()).collect()
            };
            sets = sets.iter().flat_map(longer).collect();
        }
        let begin = |op: &Op| Backend {
            op: *op,
            at: match op {
                Op::Rotate => At::Peek,
                Op::Suspend | Op::Replace => At::LockMember,
                Op::Freeze => At::Lock { at: 0 },
                _ => At::TakeKey,
            },
        };
        let state = |set: &Vec<Op>| State {
            books: Books::new(
                if set.contains(&Op::Replace) { CardStatus::Lost } else { CardStatus::Active },
                2 * set.len(),
            ),
            keys: Table::new(vec![None; KEYS]),
            backends: set.iter().map(begin).collect(),
            losses: self.losses,
            was_late: false,
            was_lost: false,
            was_followed: false,
        };
        sets.iter().map(state).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, backend) in (0..).zip(&state.backends) {
            if matches!(backend.at, At::Over(_)) {
                continue;
            }
            actions.push(Action::Step(who));
            if state.losses > 0 {
                actions.push(Action::Lose(who));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step(who) => {
                let next = self.next(&mut state, who)?;
                state.backends[usize::from(who)].at = next;
            }
            Action::Lose(who) => {
                state.books.end(who, false);
                state.keys.abort(who);
                state.losses -= 1;
                state.backends[usize::from(who)].at = At::Over(Answer::Lost);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Charges>> {
        vec![
            Property::always(books::CHAIN, |_, state: &State| state.books.chain_holds()),
            Property::always(books::WHERE_LEFT, |_, state: &State| state.books.cards_are_where_left()),
            Property::always(books::POINTS, |_, state: &State| state.books.points_add_up()),
            Property::always(books::REFUNDS, |_, state: &State| state.books.refunds_hold()),
            Property::always(books::LEFT, |_, state: &State| state.books.refunds_said_what_was_left()),
            Property::always(books::PROPORTION, |_, state: &State| state.books.points_went_back_in_proportion()),
            Property::always(books::EMPTY, |_, state: &State| state.books.replaced_are_empty()),
            Property::always(books::MONEY, |_, state: &State| state.books.money_is_all_there()),
            Property::always(books::PRICED, |_, state: &State| state.books.prices_hold()),
            Property::always(KEY_ONCE, |_, state: &State| (0..KEYS).all(|key| with_key(state, key as u8) <= 1)),
            Property::always(NOTHING_DANGLES, |_, state: &State| {
                let has_tx = |(at, id): (usize, &u8)| {
                    state.books.txs.seen_by_all((*id).into()).and_then(|tx| tx.key) == Some(at as u8)
                };
                state.keys.rows().all(has_tx)
                    && (0..KEYS).all(|key| with_key(state, key as u8) <= state.keys.seen_by_all(key).iter().count())
            }),
            Property::always(IN_THE_BOOKS, |_, state: &State| {
                state.backends.iter().all(|backend| match backend.at {
                    At::Over(Answer::New(id) | Answer::Replayed(id)) => {
                        state.books.txs.seen_by_all(id.into()).is_some_and(|tx| tx.key == key(backend.op))
                    }
                    _ => true,
                })
            }),
            Property::always(CODE_ONCE, |_, state: &State| {
                (0..2).all(|code| state.books.txs.rows().filter(|(_, tx)| tx.code == Some(code)).count() <= 1)
            }),
            Property::always(NOT_LATE, |_, state: &State| !state.was_late),
            Property::always(ALL_END, |model, state: &State| {
                state.backends.iter().all(|b| matches!(b.at, At::Over(_))) || somebody_goes_on(model, state)
            }),
            Property::sometimes(SEEN_LOST, |_, state: &State| state.was_lost),
            Property::sometimes(SEEN_FOLLOWED, |_, state: &State| state.was_followed),
            Property::sometimes(SEEN_LEVEL, |_, state: &State| {
                let is_full = |tx: &Tx| tx.card == 0 && tx.raw == tx.paid;
                state.books.txs.rows().any(|(_, tx)| tx.kind == TxType::Payment && tx.key.is_some() && is_full(tx))
            }),
        ]
    }
}

fn with_key(state: &State, key: u8) -> usize {
    state.books.txs.rows().filter(|(_, tx)| tx.key == Some(key)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{finds, holds, is_long};

    fn wrong(flaw: Flaw) -> Charges {
        Charges { flaw: Some(flaw), at_once: 2, losses: 0 }
    }

    #[test]
    fn the_books_hold() {
        let (at_once, losses) = if is_long() { (4, 1) } else { (3, 3) };
        holds("charge", Charges { flaw: None, at_once, losses });
    }

    #[test]
    fn writing_what_was_not_read_breaks_the_chain() {
        finds("charge that writes unseen", wrong(Flaw::WritesUnseen), books::CHAIN);
    }

    #[test]
    fn a_suspension_that_leaves_the_card_comes_too_late() {
        finds("charge, suspension without the card", wrong(Flaw::LeavesCard), NOT_LATE);
    }

    #[test]
    fn a_refund_that_follows_once_goes_to_a_closed_card() {
        finds("charge, refund to a replaced card", wrong(Flaw::FollowsOnce), books::EMPTY);
    }

    #[test]
    fn refunds_that_ask_unlocked_pass_what_was_paid() {
        finds("charge, refund that asks unlocked", wrong(Flaw::AsksUnlocked), books::REFUNDS);
    }
}
