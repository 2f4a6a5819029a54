//! Recharges that wait for a gateway: confirmed, failed, expired, asked for again, and money that no recharge takes.
//!
//! The protocol: `confirm_recharge` claims the gateway's trade number, locks the recharge, then the row in suspense if the number leads
//! there, then the card or the one that took over from it; what comes for a recharge that another number has settled goes to suspense.
//! `fail_recharge` and `expire_recharges` lock the recharge and look again; a member that asks again with the same order id has that
//! point to the new recharge, where the old one came to nothing (`claim_or_again`); `resolve_suspense` locks the row in suspense, credits
//! a card or sends the money back, and has the trade number follow it.
//!
//! Left out: amounts that differ, methods, keys (as in `keys.rs`), recharges that were credited without a trade number, trade numbers
//! with white space, months, and the gateway, which says each thing once or more often, early or late: that is the order of the steps.
//!
//! The bound: two recharges of one card that wait, two trade numbers, two cards; any three at once of: either recharge confirmed by
//! either number, failed, expired, asked for again, the lost card replaced, what is in suspense credited to another card or sent
//! back; begun with nothing in suspense, or with one recharge settled and another payment for it in suspense; each of them may be
//! lost wherever it is (in the long form any four, of which one is lost).

use crate::books::{self, Books, Card, Tx, post};
use crate::charge::replace;
use crate::server::{Asked, Table, Who};
use crate::somebody_goes_on;
use mps_domain::card::CardStatus;
use mps_domain::tx_no::{TxStatus, TxType};
use stateright::{Model, Property};

const TRADE_ONCE: &str = "no order of a merchant was paid twice, no order or gateway trade was credited twice"; // of the storm
const NOTHING_DANGLES: &str = "no key and no order dangles, and none is missing"; // of the storm
const SUSPENSE: &str = "money in suspense was credited if and only if its row says so, once and to the cent"; // of the storm
const COUNTED: &str = "the recharges that wait are those that are counted"; // of the storm
const NOTHING_MOVED: &str = "what is not completed has moved nothing"; // of the storm
const NOT_LOST: &str = "money that a confirmation was answered for is on a card or in suspense";
const ALL_END: &str = "nobody waits for ever";
const SEEN_SUSPENSE: &str = "a second payment goes to suspense";
const SEEN_FROM_SUSPENSE: &str = "a recharge takes its money out of suspense";
const SEEN_LATE: &str = "a recharge that was cancelled is confirmed, on the card that took over";
const SEEN_AGAIN: &str = "an order is asked for again";

const AMOUNT: i64 = 600;
/// The two recharges that wait, by their numbers.
const FIRST: u8 = 3;
const SECOND: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Confirm { tx: u8, trade: u8 },
    Fail,
    Expire,
    AskAgain,
    Replace,
    Credit,
    SendBack,
}

const OPS: [Op; 9] = [
    Op::Confirm { tx: FIRST, trade: 0 },
    Op::Confirm { tx: FIRST, trade: 1 },
    Op::Confirm { tx: SECOND, trade: 0 },
    Op::Fail,
    Op::Expire,
    Op::AskAgain,
    Op::Replace,
    Op::Credit,
    Op::SendBack,
];

/// Whose a trade number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Recharge(u8),
    Suspense(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Status {
    Open,
    Credited(u8),
    Refunding,
}

/// A row in suspense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kept {
    trade: u8,
    status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Credited,
    Suspended,
    Done,
    Refused,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    ClaimTrade,
    LookTrade,
    LockTx { owner: Option<Owner> },
    LockKept { row: u8 },
    FindCard { at: u8, row: Option<u8> },
    LockCard { at: u8, row: Option<u8> },
    Repoint { row: u8, to: u8 },
    Expire { tx: u8 },
    TakeOrder,
    LookOrder,
    RepointOrder { known: u8 },
    LockAsked,
    LockMember,
    LockLost,
    FindKept,
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
    trades: Table<Owner>,
    orders: Table<u8>,
    pending: Table<()>,
    suspense: Table<Kept>,
    backends: Vec<Backend>,
    losses: u8,
    was_from_suspense: bool,
    was_late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Step(Who),
    Lose(Who),
}

/// How the protocol could be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    ClaimsNothing,
    /// What became of the money in suspense is not asked again under the lock.
    TrustsItsSearch,
    /// A recharge that was found waiting is cancelled, whatever it is by the time that it is locked.
    CancelsUnlooked,
}

#[derive(Clone, Copy, Debug)]
pub struct Recharges {
    pub flaw: Option<Flaw>,
    pub at_once: usize,
    pub losses: u8,
}

fn id(who: Who) -> u8 {
    5 + 2 * who
}

impl Recharges {
    fn next(&self, state: &mut State, who: Who) -> Option<At> {
        let Backend { op, at } = state.backends[usize::from(who)];
        match at {
            At::ClaimTrade | At::LookTrade | At::LockTx { .. } | At::LockKept { .. } => {
                self.confirm(state, who, op, at)
            }
            At::FindCard { at, row } => Some(match state.books.cards.read(who, at.into())?.replaced_by {
                Some(next) => At::FindCard { at: next, row },
                None => At::LockCard { at, row },
            }),
            At::LockCard { at, row } => credit(state, who, op, at, row),
            At::Repoint { row, to } => repoint(state, who, row, to),
            At::Expire { tx } => self.expire(state, who, tx),
            At::TakeOrder | At::LookOrder | At::RepointOrder { .. } | At::LockAsked => ask_again(state, who, at),
            At::LockMember => match state.books.members.lock(who, 0) {
                Asked::Waits => None,
                Asked::Got(_) => Some(At::LockLost),
            },
            At::LockLost => {
                let Asked::Got(card) = state.books.cards.lock(who, 0) else { return None };
                let old = card.filter(|card| card.status == CardStatus::Lost);
                let done = old.map(|old| replace(&mut state.books, who, old, (id(who), id(who) + 1)));
                Some(At::Commit(if done.is_some() { Answer::Done } else { Answer::Refused }))
            }
            At::FindKept => {
                let open = state
                    .suspense
                    .places()
                    .find(|at| state.suspense.read(who, *at).is_some_and(|k| k.status == Status::Open));
                Some(open.map_or(At::Commit(Answer::Refused), |row| At::LockKept { row: row as u8 }))
            }
            At::Commit(answer) => {
                state.end(who, !matches!(answer, Answer::Refused));
                Some(At::Over(answer))
            }
            At::Over(_) => None,
        }
    }

    /// Up to the lock on what is confirmed, or on the row in suspense that is resolved.
    fn confirm(&self, state: &mut State, who: Who, op: Op, at: At) -> Option<At> {
        let Op::Confirm { tx, trade } = op else { return self.resolve(state, who, op, at) };
        match at {
            At::ClaimTrade if self.flaw == Some(Flaw::ClaimsNothing) => Some(At::LockTx { owner: None }),
            At::ClaimTrade => match state.trades.insert(who, trade.into(), Owner::Recharge(tx)) {
                Asked::Waits => None,
                Asked::Got(true) => Some(At::LockTx { owner: None }),
                Asked::Got(false) => Some(At::LookTrade),
            },
            At::LookTrade => Some(match state.trades.read(who, trade.into()) {
                Some(owner) => At::LockTx { owner: Some(*owner) },
                None => At::ClaimTrade,
            }),
            At::LockTx { owner } => {
                let Asked::Got(found) = state.books.txs.lock(who, tx.into()) else { return None };
                let found = found?;
                if found.status == TxStatus::Completed && found.trade == Some(trade) {
                    return Some(At::Commit(Answer::Credited));
                }
                match owner {
                    None => Some(settle(state, who, found, None)),
                    Some(Owner::Suspense(row)) => Some(At::LockKept { row }),
                    Some(Owner::Recharge(_)) => Some(At::Commit(Answer::Refused)),
                }
            }
            At::LockKept { row } => {
                let Asked::Got(kept) = state.suspense.lock(who, row.into()) else { return None };
                let found = *state.books.txs.read(who, tx.into())?;
                Some(settle(state, who, found, Some((row, kept?))))
            }
            _ => None,
        }
    }

    fn resolve(&self, state: &mut State, who: Who, op: Op, at: At) -> Option<At> {
        if op == Op::Fail {
            let Asked::Got(found) = state.books.txs.lock(who, FIRST.into()) else { return None };
            let found = found?;
            return Some(At::Commit(match found.status {
                TxStatus::Failed => Answer::Done,
                TxStatus::Processing => {
                    end_unpaid(state, who, FIRST, found, TxStatus::Failed);
                    Answer::Done
                }
                TxStatus::Completed | TxStatus::Cancelled => Answer::Refused,
            }));
        }
        let At::LockKept { row } = at else { return None };
        let Asked::Got(kept) = state.suspense.lock(who, row.into()) else { return None };
        let kept = kept?;
        if kept.status != Status::Open && self.flaw != Some(Flaw::TrustsItsSearch) {
            return Some(At::Commit(Answer::Refused));
        }
        if op == Op::Credit {
            return Some(At::FindCard { at: 1, row: Some(row) });
        }
        state.suspense.write(who, row.into(), Kept { status: Status::Refunding, ..kept });
        Some(At::Commit(Answer::Done))
    }

    /// A batch: both recharges, the older first.
    fn expire(&self, state: &mut State, who: Who, tx: u8) -> Option<At> {
        let Asked::Got(found) = state.books.txs.lock(who, tx.into()) else { return None };
        let found = found?;
        if found.status == TxStatus::Processing || self.flaw == Some(Flaw::CancelsUnlooked) {
            end_unpaid(state, who, tx, found, TxStatus::Cancelled);
        }
        Some(if tx == FIRST { At::Expire { tx: SECOND } } else { At::Commit(Answer::Done) })
    }
}

/// Credits the locked recharge next, or finds that other money has settled it.
fn settle(state: &mut State, who: Who, tx: Tx, kept: Option<(u8, Kept)>) -> At {
    let Op::Confirm { trade, .. } = state.backends[usize::from(who)].op else { return At::Commit(Answer::Refused) };
    if tx.status == TxStatus::Completed {
        return At::Commit(match kept {
            Some((_, Kept { status: Status::Credited(_), .. })) => Answer::Refused,
            Some(_) => Answer::Suspended,
            None => {
                let new = Kept { trade, status: Status::Open };
                assert_eq!(state.suspense.insert(who, usize::from(who) + 1, new), Asked::Got(true));
                // Claimed by this call.
                if let Asked::Got(Some(Owner::Recharge(_))) = state.trades.lock(who, trade.into()) {
                    state.trades.write(who, trade.into(), Owner::Suspense(who + 1));
                }
                Answer::Suspended
            }
        });
    }
    match kept {
        Some((_, kept)) if kept.status != Status::Open => At::Commit(Answer::Refused),
        kept => At::FindCard { at: tx.card, row: kept.map(|(row, _)| row) },
    }
}

/// Locks the card, and credits it: by the recharge that is confirmed, or by a new one for money in suspense.
fn credit(state: &mut State, who: Who, op: Op, at: u8, row: Option<u8>) -> Option<At> {
    let Asked::Got(card) = state.books.cards.lock(who, at.into()) else { return None };
    let mut card = card?;
    if let Some(next) = card.replaced_by {
        return Some(At::LockCard { at: next, row });
    }
    if let Op::Confirm { tx, trade } = op {
        let before = *state.books.txs.read(who, tx.into())?;
        state.was_late |= before.status == TxStatus::Cancelled && at != before.card;
        let mut posted = Tx { card: at, trade: Some(trade), ..before };
        assert!(post(&mut card, &mut posted, tx), "a recharge adds");
        no_longer_pending(state, who, tx);
        state.books.cards.write(who, at.into(), card);
        state.books.txs.write(who, tx.into(), posted);
        return Some(row.map_or(At::Commit(Answer::Credited), |row| At::Repoint { row, to: tx }));
    }
    let row = row?;
    let trade = state.suspense.read(who, row.into())?.trade;
    let mut tx = Tx { trade: Some(trade), ..Tx::new(TxType::Recharge, at, AMOUNT, AMOUNT) };
    assert!(post(&mut card, &mut tx, id(who)), "a recharge adds");
    state.books.write(who, at, card, id(who), tx);
    Some(At::Repoint { row, to: id(who) })
}

/// The trade number leads from the row in suspense to the recharge that took its money.
fn repoint(state: &mut State, who: Who, row: u8, to: u8) -> Option<At> {
    let kept = *state.suspense.read(who, row.into())?;
    let Asked::Got(owner) = state.trades.lock(who, kept.trade.into()) else { return None };
    if owner != Some(Owner::Suspense(row)) {
        return Some(At::Commit(Answer::Refused));
    }
    state.was_from_suspense |= to <= SECOND;
    state.trades.write(who, kept.trade.into(), Owner::Recharge(to));
    state.suspense.write(who, row.into(), Kept { status: Status::Credited(to), ..kept });
    Some(At::Commit(Answer::Credited))
}

fn end_unpaid(state: &mut State, who: Who, at: u8, tx: Tx, status: TxStatus) {
    no_longer_pending(state, who, at);
    state.books.txs.write(who, at.into(), Tx { status, ..tx });
}

fn no_longer_pending(state: &mut State, who: Who, tx: u8) {
    if let Asked::Got(Some(())) = state.pending.lock(who, tx.into()) {
        state.pending.delete(who, tx.into());
    }
}

/// A member that asks for the order of the first recharge again.
fn ask_again(state: &mut State, who: Who, at: At) -> Option<At> {
    match at {
        At::TakeOrder => match state.orders.insert(who, 0, id(who)) {
            Asked::Waits => None,
            Asked::Got(true) => Some(At::LockAsked),
            Asked::Got(false) => Some(At::LookOrder),
        },
        At::LookOrder => {
            let known = *state.orders.read(who, 0)?;
            Some(match state.books.txs.read(who, known.into())?.status {
                TxStatus::Failed | TxStatus::Cancelled => At::RepointOrder { known },
                TxStatus::Processing | TxStatus::Completed => At::Commit(Answer::Done),
            })
        }
        At::RepointOrder { known } => {
            let Asked::Got(row) = state.orders.lock(who, 0) else { return None };
            if row != Some(known) {
                return Some(At::TakeOrder);
            }
            state.orders.write(who, 0, id(who));
            Some(At::LockAsked)
        }
        At::LockAsked => {
            let Asked::Got(card) = state.books.cards.lock(who, 0) else { return None };
            let card = card?;
            if card.status != CardStatus::Active {
                return Some(At::Commit(Answer::Refused));
            }
            let tx = Tx { key: Some(0), ..Tx::new(TxType::Recharge, 0, AMOUNT, AMOUNT) };
            state.books.write(who, 0, card, id(who), tx);
            assert_eq!(state.pending.insert(who, id(who).into(), ()), Asked::Got(true));
            Some(At::Commit(Answer::Done))
        }
        _ => None,
    }
}

impl State {
    fn begin(ops: &[Op], losses: u8, is_settled: bool) -> State {
        let more = 2 + 2 * ops.len();
        let first = if ops.contains(&Op::Replace) { CardStatus::Lost } else { CardStatus::Active };
        let mut books = Books::new(first, more);
        let (mut trades, mut suspense) = (vec![None, None, None], vec![None; ops.len() + 1]);
        let mut pending = vec![None; 3 + more];
        let waiting = Tx { key: Some(0), ..Tx::new(TxType::Recharge, 0, AMOUNT, AMOUNT) };
        for tx in [FIRST, SECOND] {
            let mut tx_row = waiting;
            if is_settled && tx == FIRST {
                // By another trade number; what came by number 0 is in suspense.
                let mut card: Card = *books.cards.seen_by_all(0).expect("the first card");
                tx_row.trade = Some(2);
                assert!(post(&mut card, &mut tx_row, tx), "a recharge adds");
                books.cards.lock(0, 0);
                books.cards.write(0, 0, card);
                (trades[0], trades[2]) = (Some(Owner::Suspense(0)), Some(Owner::Recharge(tx)));
                suspense[0] = Some(Kept { trade: 0, status: Status::Open });
            } else {
                pending[usize::from(tx)] = Some(());
            }
            books.txs.insert(0, tx.into(), tx_row);
            books.end(0, true);
        }
        let at = |op: Op| match op {
            Op::Confirm { .. } => At::ClaimTrade,
            Op::Fail => At::LockTx { owner: None },
            Op::Expire => At::Expire { tx: FIRST },
            Op::AskAgain => At::TakeOrder,
            Op::Replace => At::LockMember,
            Op::Credit | Op::SendBack => At::FindKept,
        };
        State {
            books,
            trades: Table::new(trades),
            orders: Table::new(vec![Some(FIRST)]),
            pending: Table::new(pending),
            suspense: Table::new(suspense),
            backends: ops.iter().map(|op| Backend { op: *op, at: at(*op) }).collect(),
            losses,
            was_from_suspense: false,
            was_late: false,
        }
    }

    fn end(&mut self, who: Who, kept: bool) {
        self.books.end(who, kept);
        self.trades.end(who, kept);
        self.orders.end(who, kept);
        self.pending.end(who, kept);
        self.suspense.end(who, kept);
    }

    /// The recharges that a trade number has credited.
    fn credited_by(&self, trade: u8) -> Vec<u8> {
        let is_one = |tx: &Tx| tx.status == TxStatus::Completed && tx.trade == Some(trade);
        self.books.txs.rows().filter(|(_, tx)| is_one(tx)).map(|(id, _)| id as u8).collect()
    }

    fn suspense_agrees(&self) -> bool {
        self.suspense.rows().all(|(_, kept)| {
            let says = if let Status::Credited(id) = kept.status { vec![id] } else { vec![] };
            self.credited_by(kept.trade) == says
        })
    }

    fn nothing_dangles(&self) -> bool {
        let trades = self.trades.rows().all(|(trade, owner)| match owner {
            Owner::Recharge(id) => self.credited_by(trade as u8) == [*id],
            Owner::Suspense(row) => {
                self.suspense.seen_by_all((*row).into()).is_some_and(|k| usize::from(k.trade) == trade)
            }
        });
        trades && self.orders.rows().all(|(_, id)| self.books.txs.seen_by_all((*id).into()).is_some())
    }

    fn pending_are_counted(&self) -> bool {
        let waits = |at: usize| self.books.txs.seen_by_all(at).is_some_and(|tx| tx.status == TxStatus::Processing);
        self.pending.places().all(|at| waits(at) == self.pending.seen_by_all(at).is_some())
    }

    fn money_is_kept(&self) -> bool {
        self.backends.iter().all(|backend| match (backend.op, backend.at) {
            (Op::Confirm { trade, .. }, At::Over(Answer::Credited | Answer::Suspended)) => {
                !self.credited_by(trade).is_empty() || self.suspense.rows().any(|(_, kept)| kept.trade == trade)
            }
            _ => true,
        })
    }
}

impl Model for Recharges {
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
        sets.iter().flat_map(|set| [false, true].map(|is_settled| State::begin(set, self.losses, is_settled))).collect()
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
                state.end(who, false);
                state.losses -= 1;
                state.backends[usize::from(who)].at = At::Over(Answer::Lost);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Recharges>> {
        vec![
            Property::always(books::CHAIN, |_, state: &State| state.books.chain_holds()),
            Property::always(books::WHERE_LEFT, |_, state: &State| state.books.cards_are_where_left()),
            Property::always(books::EMPTY, |_, state: &State| state.books.replaced_are_empty()),
            Property::always(books::MONEY, |_, state: &State| state.books.money_is_all_there()),
            Property::always(NOTHING_MOVED, |_, state: &State| {
                state.books.txs.rows().all(|(_, tx)| (tx.status == TxStatus::Completed) == (tx.seq > 0))
            }),
            Property::always(TRADE_ONCE, |_, state: &State| (0..3).all(|trade| state.credited_by(trade).len() <= 1)),
            Property::always(SUSPENSE, |_, state: &State| state.suspense_agrees()),
            Property::always(NOTHING_DANGLES, |_, state: &State| state.nothing_dangles()),
            Property::always(COUNTED, |_, state: &State| state.pending_are_counted()),
            Property::always(NOT_LOST, |_, state: &State| state.money_is_kept()),
            Property::always(ALL_END, |model, state: &State| {
                state.backends.iter().all(|b| matches!(b.at, At::Over(_))) || somebody_goes_on(model, state)
            }),
            Property::sometimes(SEEN_SUSPENSE, |_, state: &State| state.suspense.rows().any(|(at, _)| at > 0)),
            Property::sometimes(SEEN_FROM_SUSPENSE, |_, state: &State| state.was_from_suspense),
            Property::sometimes(SEEN_LATE, |_, state: &State| state.was_late),
            Property::sometimes(SEEN_AGAIN, |_, state: &State| state.orders.seen_by_all(0) != Some(&FIRST)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{finds, holds, is_long};

    fn wrong(flaw: Flaw) -> Recharges {
        Recharges { flaw: Some(flaw), at_once: 2, losses: 0 }
    }

    #[test]
    fn money_is_credited_once_and_never_lost() {
        let (at_once, losses) = if is_long() { (4, 1) } else { (3, 3) };
        holds("recharge", Recharges { flaw: None, at_once, losses });
    }

    #[test]
    fn a_trade_number_that_nobody_claims_credits_twice() {
        finds("recharge without claims", wrong(Flaw::ClaimsNothing), TRADE_ONCE);
    }

    #[test]
    fn suspense_that_is_not_looked_at_again_is_spent_twice() {
        finds("recharge, suspense by an older look", wrong(Flaw::TrustsItsSearch), SUSPENSE);
    }

    #[test]
    fn a_recharge_that_is_cancelled_unlooked_breaks_the_books() {
        finds("recharge, cancelled unlooked", wrong(Flaw::CancelsUnlooked), NOTHING_MOVED);
    }
}
