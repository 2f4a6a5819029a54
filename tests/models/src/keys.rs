//! Keys and order ids: one effect for a request, however often it is sent.
//!
//! The protocol: `Dedupe::claim` (`src/ledger/replay.rs`) and `claim_key`, `claim_order` (`src/kernel/keys.rs`). A request inserts its
//! key, then its order id, into tables with a unique index, for a transaction whose id it has drawn; an equal one in flight is waited
//! for. Who finds one taken looks for whom, and looks again where it is gone; by the order id it finds the transaction of another key,
//! and has its own key point there. `app.expire_keys()` deletes those of months that are old enough.
//!
//! Left out: what the request does besides (one row stands for it, which may be refused), scopes (a key of another scope is another
//! key), stricter isolation levels, under which the later of two fails instead of waiting, and SIGKILL of the server: as if all
//! backends had been lost at once.
//!
//! The bound: two tills, each of which sends its request twice, at any moment, so also while the first is under way (five in all in the
//! long form); one of the backends is lost wherever it is; keys are forgotten once, at any moment.

use crate::server::{Asked, Table, Who};
use crate::somebody_goes_on;
use mps_domain::month::Month;
use mps_domain::tx_no::TxId;
use stateright::{Model, Property};

const KEY_ONCE: &str = "no key moved money twice"; // of the storm
const ORDER_ONCE: &str = "no order of a merchant was paid twice, no order or gateway trade was credited twice"; // of the storm
const NOTHING_DANGLES: &str = "no key and no order dangles, and none is missing"; // of the storm
const IN_THE_BOOKS: &str = "every answer that a client got is in the books"; // of the storm
const FRESH_ONCE: &str = "each was answered as new once (never, only where that answer was lost), and then replayed"; // of the storm
const SAME_ANSWER: &str = "every answer to a key is that of the first";
const NOT_BOUND: &str = "a failed attempt does not bind its key";
const ALL_END: &str = "nobody waits for ever";
const SEEN_REPLAYED: &str = "a request is replayed to who sent another key with the same order";
const SEEN_TWICE: &str = "a key that was forgotten pays again";

/// What a till sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    key: Option<u8>,
    order: Option<u8>,
    amount: u8,
}

/// A transaction: the request that made it stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tx {
    id: TxId,
    asked: Request,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    New(TxId),
    Replayed(TxId),
    /// By the business itself: the card is empty, say.
    Refused,
    KeyReused,
    OrderConflict,
    /// What a key points to is not there.
    NotFound,
    Lost,
}

/// Where a backend stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Begin,
    TakeKey,
    LookKey,
    TakeOrder,
    LookOrder,
    Work,
    Commit(Answer),
    Over(Answer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Backend {
    asked: Request,
    id: Option<TxId>,
    at: At,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    keys: Table<TxId>,
    orders: Table<TxId>,
    txs: Table<Tx>,
    backends: Vec<Backend>,
    /// `app.expire_keys()`: not begun, keys deleted, orders too, over.
    expiry: u8,
    forgotten: u8,
    /// A month later all that was there is old enough to be forgotten.
    later: bool,
    losses: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Step(Who),
    Refuse(Who),
    Lose(Who),
    MonthPasses,
    Expire,
}

/// How the protocol could be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Who finds no key takes the request for new, and writes its key without a unique index.
    LooksThenTakes,
    /// The key is committed by itself, before the work.
    ClaimsApart,
    /// Who finds the transaction by its order id leaves its key as it is.
    LeavesKey,
}

#[derive(Clone, Copy, Debug)]
pub struct Keys {
    pub flaw: Option<Flaw>,
    pub long: bool,
}

const EXPIRY: Who = 9;

fn month(later: bool) -> Month {
    Month::from_yymm(if later { 2612 } else { 2611 }).expect("a month")
}

impl Keys {
    fn requests(&self) -> Vec<Vec<Request>> {
        let of = |key, order, amount| Request { key, order, amount };
        let [a, other_amount] = [of(Some(0), None, 1), of(Some(0), None, 2)];
        let [both, other_key] = [of(Some(0), Some(0), 1), of(Some(1), Some(0), 1)];
        let [order_alone, other_order] = [of(None, Some(0), 1), of(Some(0), Some(1), 1)];
        let conflict = of(Some(1), Some(0), 2);
        let mut sent = vec![
            vec![a, a, a, a],
            vec![a, a, other_amount, other_amount],
            vec![both, both, other_key, other_key],
            vec![both, other_key, order_alone, order_alone],
            vec![both, both, conflict, conflict],
            vec![both, both, other_order, other_order],
        ];
        if self.long {
            sent.iter_mut().for_each(|four| four.push(a));
        }
        sent
    }

    fn step(&self, state: &mut State, who: Who) -> Option<()> {
        let backend = state.backends[usize::from(who)];
        let next = match backend.at {
            At::Begin => {
                // Which number it is makes no difference, if only nobody else has it.
                state.backends[usize::from(who)].id = TxId::new(month(state.later), i64::from(who) + 1);
                if backend.asked.key.is_some() { At::TakeKey } else { At::TakeOrder }
            }
            At::TakeKey => self.take_key(state, who, &backend)?,
            At::LookKey => match state.keys.read(who, usize::from(backend.asked.key?)) {
                Some(known) => At::Commit(found(state, who, *known, |tx| match tx.asked {
                    Request { amount, order, .. } if amount == backend.asked.amount && order == backend.asked.order => {
                        Answer::Replayed(tx.id)
                    }
                    _ => Answer::KeyReused,
                })),
                // Forgotten between the two looks: then it is free.
                None => At::TakeKey,
            },
            At::TakeOrder => match backend.asked.order {
                None => At::Work,
                Some(order) => match state.orders.insert(who, order.into(), backend.id?) {
                    Asked::Waits => return None,
                    Asked::Got(true) => At::Work,
                    Asked::Got(false) => At::LookOrder,
                },
            },
            At::LookOrder => match state.orders.read(who, usize::from(backend.asked.order?)).copied() {
                None => At::TakeOrder,
                Some(known) => {
                    let answer = found(state, who, known, |tx| match tx.asked.amount == backend.asked.amount {
                        true => Answer::Replayed(tx.id),
                        false => Answer::OrderConflict,
                    });
                    if let (Answer::Replayed(tx), Some(key), false) = (answer, backend.asked.key, self.flaw.is_some()) {
                        state.keys.write(who, key.into(), tx);
                    }
                    At::Commit(answer)
                }
            },
            At::Work => {
                let id = backend.id?;
                let row = Tx { id, asked: backend.asked };
                assert_eq!(state.txs.insert(who, place(id), row), Asked::Got(true), "numbers are drawn once");
                if let (Some(Flaw::LooksThenTakes), Some(key)) = (self.flaw, backend.asked.key) {
                    // Whoever else has it.
                    _ = state.keys.insert(who, key.into(), id);
                }
                At::Commit(Answer::New(id))
            }
            At::Commit(answer) => {
                let kept = matches!(answer, Answer::New(_) | Answer::Replayed(_));
                end(state, who, kept);
                At::Over(answer)
            }
            At::Over(_) => return None,
        };
        state.backends[usize::from(who)].at = next;
        if let At::Over(_) = next {
            state.backends[usize::from(who)].id = None;
        }
        Some(())
    }

    fn take_key(&self, state: &mut State, who: Who, backend: &Backend) -> Option<At> {
        let (key, id) = (usize::from(backend.asked.key?), backend.id?);
        match self.flaw {
            Some(Flaw::LooksThenTakes) => {
                return Some(if state.keys.read(who, key).is_some() { At::LookKey } else { At::TakeOrder });
            }
            Some(Flaw::ClaimsApart) => {
                if state.keys.insert(who, key, id) == Asked::Got(true) {
                    state.keys.commit(who);
                    return Some(At::TakeOrder);
                }
                return Some(At::LookKey);
            }
            _ => {}
        }
        match state.keys.insert(who, key, id) {
            Asked::Waits => None,
            Asked::Got(true) => Some(At::TakeOrder),
            Asked::Got(false) => Some(At::LookKey),
        }
    }

    /// One batch: keys first, then order ids, in one transaction.
    fn expire(&self, state: &mut State) -> Option<()> {
        let below = TxId::floor(month(state.later));
        let table = match state.expiry {
            0 => &mut state.keys,
            1 => &mut state.orders,
            2 => {
                let before = state.keys.rows().count();
                state.keys.commit(EXPIRY);
                state.orders.commit(EXPIRY);
                state.forgotten += (before - state.keys.rows().count()) as u8;
                state.expiry = 3;
                return Some(());
            }
            _ => return None,
        };
        for at in table.places() {
            if table.seen_by_all(at).is_none_or(|id| id.raw() >= below) {
                continue;
            }
            match table.lock(EXPIRY, at) {
                Asked::Waits => return None,
                Asked::Got(Some(id)) if id.raw() < below => table.delete(EXPIRY, at),
                Asked::Got(_) => {}
            }
        }
        state.expiry += 1;
        Some(())
    }
}

fn place(id: TxId) -> usize {
    (id.raw() - TxId::floor(id.month()) - 1) as usize
}

/// What is answered by the transaction that a key or an order id points to.
fn found(state: &State, who: Who, id: TxId, answer: impl Fn(&Tx) -> Answer) -> Answer {
    state.txs.read(who, place(id)).map_or(Answer::NotFound, answer)
}

fn end(state: &mut State, who: Who, kept: bool) {
    state.keys.end(who, kept);
    state.orders.end(who, kept);
    state.txs.end(who, kept);
}

impl Model for Keys {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let backend = |asked| Backend { asked, id: None, at: At::Begin };
        let begin = |sent: Vec<Request>| State {
            keys: Table::new(vec![None; 2]),
            orders: Table::new(vec![None; 2]),
            txs: Table::new(vec![None; sent.len()]),
            backends: sent.into_iter().map(backend).collect(),
            expiry: 0,
            forgotten: 0,
            later: false,
            losses: 1,
        };
        self.requests().into_iter().map(begin).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, backend) in (0..).zip(&state.backends) {
            match backend.at {
                At::Over(_) => continue,
                // Who sends the same is the same: the first of them begins first.
                At::Begin if who > 0 && is_like_the_one_before(state, who) => continue,
                At::Work => actions.push(Action::Refuse(who)),
                _ => {}
            }
            actions.push(Action::Step(who));
            if state.losses > 0 && backend.at != At::Begin {
                actions.push(Action::Lose(who));
            }
        }
        if !state.later {
            actions.push(Action::MonthPasses);
        } else if state.expiry < 3 {
            actions.push(Action::Expire);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step(who) => self.step(&mut state, who)?,
            Action::Refuse(who) => {
                end(&mut state, who, false);
                state.backends[usize::from(who)] =
                    Backend { at: At::Over(Answer::Refused), id: None, ..state.backends[usize::from(who)] };
            }
            Action::Lose(who) => {
                end(&mut state, who, false);
                state.losses -= 1;
                state.backends[usize::from(who)] =
                    Backend { at: At::Over(Answer::Lost), id: None, ..state.backends[usize::from(who)] };
            }
            Action::MonthPasses => state.later = true,
            Action::Expire => self.expire(&mut state)?,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Keys>> {
        vec![
            Property::always(KEY_ONCE, |_, state: &State| {
                [0, 1]
                    .iter()
                    .all(|key| effects(state, |asked| asked.key == Some(*key)) <= 1 + usize::from(state.forgotten))
            }),
            Property::always(ORDER_ONCE, |_, state: &State| {
                let forgot = usize::from(state.expiry == 3);
                [0, 1].iter().all(|order| effects(state, |asked| asked.order == Some(*order)) <= 1 + forgot)
            }),
            Property::always(NOTHING_DANGLES, |_, state: &State| {
                let held =
                    |table: &Table<TxId>| table.rows().all(|(_, id)| state.txs.seen_by_all(place(*id)).is_some());
                held(&state.keys) && held(&state.orders) && nothing_is_missing(state)
            }),
            Property::always(IN_THE_BOOKS, |_, state: &State| {
                answers(state).all(|(_, answer)| match answer {
                    Answer::New(id) | Answer::Replayed(id) => state.txs.seen_by_all(place(id)).is_some(),
                    answer => answer != Answer::NotFound,
                })
            }),
            Property::always(FRESH_ONCE, |_, state: &State| {
                state.txs.rows().all(|(_, tx)| answers(state).filter(|(_, a)| *a == Answer::New(tx.id)).count() <= 1)
            }),
            Property::always(SAME_ANSWER, |_, state: &State| {
                answers(state).all(|(asked, answer)| match answer {
                    Answer::Replayed(id) => state.txs.seen_by_all(place(id)).is_some_and(|tx| {
                        tx.asked.amount == asked.amount && (tx.asked.key == asked.key || tx.asked.order == asked.order)
                    }),
                    // Only where somebody else's request has the key.
                    Answer::KeyReused => {
                        effects(state, |by| by.key == asked.key && by != asked) > 0
                            || effects(state, |by| by.order.is_some() && by.order != asked.order) > 0
                    }
                    _ => true,
                })
            }),
            Property::always(NOT_BOUND, |_, state: &State| {
                let failed = |b: &&Backend| matches!(b.at, At::Over(Answer::Refused | Answer::Lost));
                let drawn = |id: &TxId| state.backends.get(place(*id)).filter(failed).is_some();
                [&state.keys, &state.orders].iter().all(|table| !table.rows().any(|(_, id)| drawn(id)))
            }),
            Property::always(ALL_END, |model, state: &State| {
                state.backends.iter().all(|b| matches!(b.at, At::Over(_))) || somebody_goes_on(model, state)
            }),
            Property::sometimes(SEEN_REPLAYED, |_, state: &State| {
                answers(state).any(|(asked, answer)| match answer {
                    Answer::Replayed(id) => {
                        state.txs.seen_by_all(place(id)).is_some_and(|tx| tx.asked.key != asked.key)
                    }
                    _ => false,
                })
            }),
            Property::sometimes(SEEN_TWICE, |_, state: &State| effects(state, |asked| asked.key == Some(0)) > 1),
        ]
    }
}

fn is_like_the_one_before(state: &State, who: Who) -> bool {
    let before = &state.backends[usize::from(who) - 1];
    before.at == At::Begin && before.asked == state.backends[usize::from(who)].asked
}

/// How many transactions were made by requests like this.
fn effects(state: &State, like: impl Fn(Request) -> bool) -> usize {
    state.txs.rows().filter(|(_, tx)| like(tx.asked)).count()
}

fn answers(state: &State) -> impl Iterator<Item = (Request, Answer)> {
    state.backends.iter().filter_map(|b| match b.at {
        At::Over(answer) => Some((b.asked, answer)),
        _ => None,
    })
}

/// As long as nothing was forgotten, every transaction has its key and its order id.
fn nothing_is_missing(state: &State) -> bool {
    state.expiry == 3
        || state.txs.rows().all(|(_, tx)| {
            let has =
                |table: &Table<TxId>, at: Option<u8>| at.is_none_or(|at| table.seen_by_all(at.into()) == Some(&tx.id));
            has(&state.keys, tx.asked.key) && has(&state.orders, tx.asked.order)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{finds, holds, is_long};

    #[test]
    fn one_effect_for_a_request() {
        holds("keys", Keys { flaw: None, long: is_long() });
    }

    #[test]
    fn looking_before_taking_pays_twice() {
        finds("keys without a unique index", Keys { flaw: Some(Flaw::LooksThenTakes), long: false }, KEY_ONCE);
    }

    #[test]
    fn a_claim_of_its_own_binds_what_failed() {
        finds("keys in a transaction of their own", Keys { flaw: Some(Flaw::ClaimsApart), long: false }, NOT_BOUND);
    }

    #[test]
    fn a_key_that_is_not_moved_dangles() {
        finds("keys that stay", Keys { flaw: Some(Flaw::LeavesKey), long: false }, NOTHING_DANGLES);
    }
}
