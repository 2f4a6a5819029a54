//! Closing a month: who has transactions in it is written down, and nobody who writes into it later is missed.
//!
//! The protocol: `app.close_months()` (`sql/ledger/closing.sql`) and `note_writer` (`src/ledger/history.rs`). The closer, under a lock
//! on the row, notes that the month is about to be closed; in a transaction of its own it takes the cut (`sec.cut`); once every
//! transaction below it has ended it writes down who is in the month, and that it is closed. Who writes into the month inserts its row,
//! with which it has a transaction id, only then looks whether the month is noted, and writes itself down where it is. Backends keep
//! what they read of the note until a change is announced, and a commit is seen by others a moment before it is announced and before
//! its locks are given back.
//!
//! Left out: who it is that writes (the two writers are of one merchant, so that their lines are one row, which they wait for each
//! other with), archiving, and a cut that a dump brought along.
//!
//! The bound: two writers into the month, which may be rolled back; two closers that may be killed wherever they are, two rounds each
//! (three writers in the long form).

use crate::server::{Asked, Table, Who};
use crate::somebody_goes_on;
use stateright::{Model, Property};

const NOBODY_MISSED: &str = "whoever has transactions in a closed month is written down";
const ALL_END: &str = "nobody waits for ever";
const SEEN_CLOSED: &str = "the month is closed with somebody in it";
const SEEN_LATE: &str = "somebody writes into a month that is closed";
const SEEN_STALE: &str = "somebody goes by a note that was not announced yet";

/// The one line of `app.merchant_months` that the writers share.
const LINE: usize = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Writer {
    Begins,
    /// Has inserted its row.
    Inserted(u8),
    /// Of one that looks first, which is wrong: what it saw.
    Looked(bool),
    /// Has to write itself down.
    Noted(u8),
    Commits(u8),
    Over {
        kept: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Closer {
    Idle,
    Notes,
    /// Everybody sees the note, and nobody has been told.
    Announces,
    Marks,
    Marked(u8),
    Waits,
    /// Has the lock, and saw that the cut has passed.
    Takes,
    /// Has read who is in the month, and waits for their line.
    Writes(bool),
    Commits,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    next_xid: u8,
    writers: Vec<Writer>,
    lines: Table<()>,
    /// As everybody sees it, and as backends were told.
    noted: bool,
    announced: bool,
    cut: Option<u8>,
    through: bool,
    locked_by: Option<u8>,
    closers: [(Closer, u8); 2],
    was_stale: bool,
    was_late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Write(u8),
    RollBack(u8),
    Close(u8),
    Kill(u8),
}

/// How the protocol could be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    WaitsForNobody,
    /// The writer looks whether the month is noted before it inserts.
    LooksFirst,
    /// The cut is taken in the transaction that notes.
    MarksAtOnce,
}

#[derive(Clone, Copy, Debug)]
pub struct Closing {
    pub flaw: Option<Flaw>,
    pub long: bool,
}

impl State {
    fn take_xid(&mut self) -> u8 {
        self.next_xid += 1;
        self.next_xid - 1
    }

    fn xmin(&self) -> u8 {
        let writers = self.writers.iter().filter_map(|w| match w {
            Writer::Inserted(xid) | Writer::Noted(xid) | Writer::Commits(xid) => Some(*xid),
            _ => None,
        });
        let closers =
            self.closers.iter().filter_map(|(c, _)| if let Closer::Marked(xid) = c { Some(*xid) } else { None });
        writers.chain(closers).min().unwrap_or(self.next_xid)
    }

    fn has_rows(&self) -> bool {
        self.writers.contains(&Writer::Over { kept: true })
    }
}

impl Closing {
    fn closer(&self, who: usize) -> Who {
        8 + who as Who
    }

    fn write(&self, state: &mut State, who: usize) -> Option<()> {
        let looks_first = self.flaw == Some(Flaw::LooksFirst);
        let next = match state.writers[who] {
            Writer::Begins if looks_first => Writer::Looked(state.announced),
            Writer::Begins => Writer::Inserted(state.take_xid()),
            Writer::Looked(noted) => {
                let xid = state.take_xid();
                if noted { Writer::Noted(xid) } else { Writer::Commits(xid) }
            }
            Writer::Inserted(xid) => {
                state.was_stale |= state.noted && !state.announced;
                if state.announced { Writer::Noted(xid) } else { Writer::Commits(xid) }
            }
            Writer::Noted(xid) => match state.lines.insert(who as Who, LINE, ()) {
                Asked::Waits => return None,
                Asked::Got(_) => Writer::Commits(xid),
            },
            Writer::Commits(_) => {
                state.was_late |= state.through;
                state.lines.commit(who as Who);
                Writer::Over { kept: true }
            }
            Writer::Over { .. } => return None,
        };
        state.writers[who] = next;
        Some(())
    }

    fn close(&self, state: &mut State, who: usize) -> Option<()> {
        let (at, rounds) = state.closers[who];
        let me = who as u8;
        let next = match at {
            Closer::Idle if rounds == 0 || state.locked_by.is_some() => return None,
            // As `app.close_months_note_batch()`: a note without its cut is noted anew.
            Closer::Idle if state.noted && (state.through || state.cut.is_some()) => Closer::Waits,
            Closer::Idle => {
                state.locked_by = Some(me);
                Closer::Notes
            }
            Closer::Notes => {
                (state.noted, state.cut) = (true, None);
                if self.flaw == Some(Flaw::MarksAtOnce) {
                    state.cut = Some(state.take_xid());
                }
                Closer::Announces
            }
            Closer::Announces => {
                (state.announced, state.locked_by) = (true, None);
                if self.flaw == Some(Flaw::MarksAtOnce) { Closer::Waits } else { Closer::Marks }
            }
            Closer::Marks if state.locked_by.is_some() => return None,
            Closer::Marks => {
                state.locked_by = Some(me);
                Closer::Marked(state.take_xid())
            }
            Closer::Marked(xid) => {
                state.cut.get_or_insert(xid);
                state.locked_by = None;
                Closer::Waits
            }
            Closer::Waits if state.through => Closer::Idle,
            Closer::Waits => {
                let has_passed = |cut| state.xmin() >= cut || self.flaw == Some(Flaw::WaitsForNobody);
                if state.locked_by.is_some() || !state.cut.is_some_and(has_passed) {
                    return None;
                }
                state.locked_by = Some(me);
                Closer::Takes
            }
            Closer::Takes => Closer::Writes(state.has_rows()),
            Closer::Writes(true) => match state.lines.insert(self.closer(who), LINE, ()) {
                Asked::Waits => return None,
                Asked::Got(_) => Closer::Commits,
            },
            Closer::Writes(false) => Closer::Commits,
            Closer::Commits => {
                state.lines.commit(self.closer(who));
                (state.through, state.locked_by) = (true, None);
                Closer::Idle
            }
        };
        let rounds = if next == Closer::Idle { rounds - 1 } else { rounds };
        state.closers[who] = (next, rounds);
        Some(())
    }
}

impl Model for Closing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            next_xid: 1,
            writers: vec![Writer::Begins; if self.long { 3 } else { 2 }],
            lines: Table::new(vec![None]),
            noted: false,
            announced: false,
            cut: None,
            through: false,
            locked_by: None,
            closers: [(Closer::Idle, 2); 2],
            was_stale: false,
            was_late: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, writer) in (0..).zip(&state.writers) {
            actions.push(Action::Write(who));
            if !matches!(writer, Writer::Begins | Writer::Over { .. }) {
                actions.push(Action::RollBack(who));
            }
        }
        for (who, (closer, _)) in (0..).zip(&state.closers) {
            actions.push(Action::Close(who));
            // A commit that is seen already is not undone: the server ends as a whole where a backend dies in that moment.
            if !matches!(closer, Closer::Idle | Closer::Announces) {
                actions.push(Action::Kill(who));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Write(who) => self.write(&mut state, who.into())?,
            Action::RollBack(who) => {
                state.lines.abort(who);
                state.writers[usize::from(who)] = Writer::Over { kept: false };
            }
            Action::Close(who) => self.close(&mut state, who.into())?,
            Action::Kill(who) => {
                if state.locked_by == Some(who) {
                    state.locked_by = None;
                }
                state.lines.abort(self.closer(who.into()));
                let (_, rounds) = state.closers[usize::from(who)];
                state.closers[usize::from(who)] = (Closer::Idle, rounds - 1);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Closing>> {
        vec![
            Property::always(NOBODY_MISSED, |_, state: &State| {
                !state.through || !state.has_rows() || state.lines.seen_by_all(LINE).is_some()
            }),
            Property::always(ALL_END, |model, state: &State| {
                let all_over = state.writers.iter().all(|w| matches!(w, Writer::Over { .. }));
                // A closer that finds no cut to wait for leaves it to the next run; it is only no longer held up by anybody.
                let is_left = |at: &Closer| *at == Closer::Waits && state.cut.is_none();
                all_over && state.closers.iter().all(|(at, rounds)| *at == Closer::Idle && *rounds == 0 || is_left(at))
                    || somebody_goes_on(model, state)
            }),
            Property::sometimes(SEEN_CLOSED, |_, state: &State| state.through && state.has_rows()),
            Property::sometimes(SEEN_LATE, |_, state: &State| state.was_late),
            Property::sometimes(SEEN_STALE, |_, state: &State| state.was_stale),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{finds, holds, is_long};

    fn wrong(flaw: Flaw) -> Closing {
        Closing { flaw: Some(flaw), long: false }
    }

    #[test]
    fn nobody_is_missed() {
        holds("closing", Closing { flaw: None, long: is_long() });
    }

    #[test]
    fn without_the_wait_somebody_is() {
        finds("closing without a wait", wrong(Flaw::WaitsForNobody), NOBODY_MISSED);
    }

    #[test]
    fn who_looks_before_it_writes_is_missed() {
        finds("closing with writers that look first", wrong(Flaw::LooksFirst), NOBODY_MISSED);
    }

    #[test]
    fn a_cut_in_the_transaction_of_the_note_is_too_early() {
        finds("closing that marks at once", wrong(Flaw::MarksAtOnce), NOBODY_MISSED);
    }
}
