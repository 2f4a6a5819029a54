//! The cut: whoever takes up all that has happened up to a point misses nothing and takes nothing twice.
//!
//! The protocol: `sec.cut` (`sql/kernel/cut.sql`) as `audit.seal()` uses it (`sql/ledger/seals.sql`). Events draw their ids before
//! their commit, so a lower one may become visible later. The sealer, under a lock on its note, looks at the highest id that was drawn,
//! only then takes a transaction id of its own, the cut, and commits both as its note. Once every transaction below the cut has ended it
//! takes up what is there, batch by batch, and when nothing is left, the note goes. What it leans on: who draws an event's id has a
//! transaction id by then. Closing periods and handing on a feed are to use the same cut, and join here.
//!
//! Left out: what an event says, hashes, crashes of the server under `synchronous_commit = off`, which can give the same ids out again.
//!
//! The bound: two writers (three in the long form), one of which writes two events, each of which may be rolled back; two sealers that
//! may be killed wherever they are, with batches of one event, two rounds each.

use crate::somebody_goes_on;
use stateright::{Model, Property};

const IN_ONE_SEAL: &str = "no event is in two seals";
const NOTHING_BELOW: &str = "nothing appears below what is sealed";
const ALL_END: &str = "nobody waits for ever";
const SEEN_ALL_SEALED: &str = "all that was committed is sealed";
const SEEN_TAKEN_OVER: &str = "one sealer ends what another was killed in";
const SEEN_WAITING: &str = "a sealer waits for a writer from before the cut";

type Xid = u8;
/// Events by their ids, a bit each; ids begin with 1.
type Events = u16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Writer {
    /// With how many events to write.
    Begins(u8),
    /// With the ids drawn so far.
    Writes {
        xid: Option<Xid>,
        drawn: Events,
        left: u8,
    },
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sealer {
    Idle,
    /// Has the lock, and found no note.
    Notes,
    Looked(u8),
    /// Only of one that cuts first, which is wrong.
    CutFirst(Xid),
    Cut {
        up_to: u8,
        xid: Xid,
    },
    /// Looks, in transactions of their own, whether the cut has passed.
    Waits,
    /// Has the lock, and what the note says.
    Takes(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Note {
    up_to: u8,
    cut: Xid,
    by: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    next_xid: Xid,
    last_drawn: u8,
    writers: Vec<Writer>,
    visible: Events,
    /// Of `audit.seal_cut`.
    locked_by: Option<u8>,
    note: Option<Note>,
    sealers: [(Sealer, u8); 2],
    sealed: Events,
    sealed_twice: bool,
    was_taken_over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Write(u8),
    RollBack(u8),
    Seal(u8),
    Kill(u8),
}

/// How the protocol could be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    WaitsForNobody,
    /// The cut is taken before the look at the ids.
    CutsFirst,
    /// Writers draw an id before they have a transaction id.
    DrawsFirst,
    /// The cut is taken for passed where the snapshot's xmax is beyond it, not its xmin.
    ByXmax,
    /// Sealers do not lock each other out.
    NoLock,
}

#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub flaw: Option<Flaw>,
    pub long: bool,
}

fn bit(id: u8) -> Events {
    1 << id
}

impl State {
    fn take_xid(&mut self) -> Xid {
        self.next_xid += 1;
        self.next_xid - 1
    }

    fn draw(&mut self) -> u8 {
        self.last_drawn += 1;
        self.last_drawn
    }

    fn running(&self) -> impl Iterator<Item = Xid> {
        let writers = self.writers.iter().filter_map(|w| if let Writer::Writes { xid, .. } = w { *xid } else { None });
        writers.chain(self.sealers.iter().filter_map(|(s, _)| match s {
            Sealer::Cut { xid, .. } | Sealer::CutFirst(xid) => Some(*xid),
            _ => None,
        }))
    }

    /// Below which all have ended, in a snapshot of now.
    fn xmin(&self) -> Xid {
        self.running().min().unwrap_or(self.next_xid)
    }

    /// Beyond which none has ended: one more than the last that has.
    fn xmax(&self) -> Xid {
        (0..self.next_xid).rev().find(|xid| self.running().all(|r| r != *xid)).map_or(0, |last| last + 1)
    }

    fn last_sealed(&self) -> u8 {
        (15 - self.sealed.leading_zeros().min(15)) as u8
    }
}

impl Cut {
    fn write(&self, state: &mut State, who: usize) -> Option<()> {
        let draws_first = self.flaw == Some(Flaw::DrawsFirst);
        state.writers[who] = match state.writers[who] {
            Writer::Begins(left) if draws_first => {
                let drawn = bit(state.draw());
                Writer::Writes { xid: None, drawn, left: left - 1 }
            }
            Writer::Begins(left) => {
                let xid = Some(state.take_xid());
                Writer::Writes { xid, drawn: 0, left }
            }
            Writer::Writes { xid: None, drawn, left } => {
                let xid = Some(state.take_xid());
                Writer::Writes { xid, drawn, left }
            }
            Writer::Writes { xid, drawn, left } if left > 0 => {
                let drawn = drawn | bit(state.draw());
                Writer::Writes { xid, drawn, left: left - 1 }
            }
            Writer::Writes { drawn, .. } => {
                state.visible |= drawn;
                Writer::Over
            }
            Writer::Over => return None,
        };
        Some(())
    }

    fn has_passed(&self, state: &State, cut: Xid) -> bool {
        match self.flaw {
            Some(Flaw::WaitsForNobody) => true,
            Some(Flaw::ByXmax) => state.xmax() >= cut,
            _ => state.xmin() >= cut,
        }
    }

    /// `audit.seal_note()`, `audit.seal_ready()` and `audit.seal_batch()`, in turn.
    fn seal(&self, state: &mut State, who: usize) -> Option<()> {
        let me = who as u8;
        let is_free = |state: &State| state.locked_by.is_none() || self.flaw == Some(Flaw::NoLock);
        let (at, rounds) = state.sealers[who];
        let next = match at {
            Sealer::Idle if rounds == 0 => return None,
            Sealer::Idle => {
                if !is_free(state) {
                    return None;
                }
                // One is there: it is gone on with, and the lock given back.
                if state.note.is_some() {
                    Sealer::Waits
                } else {
                    state.locked_by = Some(me);
                    Sealer::Notes
                }
            }
            Sealer::Notes if self.flaw == Some(Flaw::CutsFirst) => Sealer::CutFirst(state.take_xid()),
            Sealer::Notes => Sealer::Looked(state.last_drawn),
            Sealer::CutFirst(xid) => Sealer::Cut { up_to: state.last_drawn, xid },
            Sealer::Looked(up_to) => Sealer::Cut { up_to, xid: state.take_xid() },
            Sealer::Cut { up_to, xid } => {
                (state.note, state.locked_by) = (Some(Note { up_to, cut: xid, by: me }), None);
                Sealer::Waits
            }
            Sealer::Waits => match state.note {
                // Somebody else has ended it.
                None => Sealer::Idle,
                Some(note) if !self.has_passed(state, note.cut) || !is_free(state) => return None,
                Some(note) => {
                    state.locked_by = Some(me);
                    Sealer::Takes(note.up_to)
                }
            },
            Sealer::Takes(up_to) => self.take(state, me, up_to),
        };
        let rounds = if next == Sealer::Idle { rounds - 1 } else { rounds };
        state.sealers[who] = (next, rounds);
        Some(())
    }

    /// A batch of one event, and its commit.
    fn take(&self, state: &mut State, me: u8, up_to: u8) -> Sealer {
        state.locked_by = None;
        let last = state.last_sealed();
        // Of one without the lock, what it read before the other's commit.
        let last = if self.flaw == Some(Flaw::NoLock) { last.saturating_sub(1) } else { last };
        let due = (last + 1..=up_to).find(|id| state.visible & bit(*id) != 0);
        match due {
            Some(id) => {
                state.sealed_twice |= state.sealed & bit(id) != 0;
                state.sealed |= bit(id);
                state.was_taken_over |= state.note.is_some_and(|note| note.by != me);
                Sealer::Waits
            }
            None => {
                state.note = None;
                Sealer::Idle
            }
        }
    }
}

impl Model for Cut {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let writers: &[u8] = if self.long { &[2, 1, 1] } else { &[2, 1] };
        vec![State {
            next_xid: 1,
            last_drawn: 0,
            writers: writers.iter().map(|events| Writer::Begins(*events)).collect(),
            visible: 0,
            locked_by: None,
            note: None,
            sealers: [(Sealer::Idle, 2); 2],
            sealed: 0,
            sealed_twice: false,
            was_taken_over: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, writer) in (0..).zip(&state.writers) {
            actions.push(Action::Write(who));
            if let Writer::Writes { .. } = writer {
                actions.push(Action::RollBack(who));
            }
        }
        for (who, (sealer, _)) in (0..).zip(&state.sealers) {
            actions.push(Action::Seal(who));
            if *sealer != Sealer::Idle {
                actions.push(Action::Kill(who));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Write(who) => self.write(&mut state, who.into())?,
            Action::RollBack(who) => state.writers[usize::from(who)] = Writer::Over,
            Action::Seal(who) => self.seal(&mut state, who.into())?,
            Action::Kill(who) => {
                if state.locked_by == Some(who) {
                    state.locked_by = None;
                }
                let (_, rounds) = state.sealers[usize::from(who)];
                state.sealers[usize::from(who)] = (Sealer::Idle, rounds - 1);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Cut>> {
        vec![
            Property::always(IN_ONE_SEAL, |_, state: &State| !state.sealed_twice),
            Property::always(NOTHING_BELOW, |_, state: &State| {
                let below = bit(state.last_sealed() + 1) - 1;
                state.visible & below & !state.sealed == 0
            }),
            Property::always(ALL_END, |model, state: &State| {
                let is_over = state.sealers.iter().all(|(at, rounds)| *at == Sealer::Idle && *rounds == 0);
                is_over && state.writers.iter().all(|w| *w == Writer::Over) || somebody_goes_on(model, state)
            }),
            Property::sometimes(SEEN_ALL_SEALED, |_, state: &State| {
                state.visible.count_ones() >= 3 && state.sealed == state.visible && state.note.is_none()
            }),
            Property::sometimes(SEEN_TAKEN_OVER, |_, state: &State| state.was_taken_over),
            Property::sometimes(SEEN_WAITING, |_, state: &State| {
                state.note.is_some_and(|note| state.xmin() < note.cut)
            }),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{finds, holds, is_long};

    fn wrong(flaw: Flaw) -> Cut {
        Cut { flaw: Some(flaw), long: false }
    }

    #[test]
    fn everything_is_sealed_once() {
        holds("cut", Cut { flaw: None, long: is_long() });
    }

    #[test]
    fn without_the_wait_something_appears_below() {
        finds("cut without a wait", wrong(Flaw::WaitsForNobody), NOTHING_BELOW);
    }

    #[test]
    fn a_cut_before_the_look_is_none() {
        finds("cut before the look", wrong(Flaw::CutsFirst), NOTHING_BELOW);
    }

    #[test]
    fn who_draws_first_is_not_waited_for() {
        finds("cut with writers that draw first", wrong(Flaw::DrawsFirst), NOTHING_BELOW);
    }

    #[test]
    fn the_end_of_the_snapshot_would_not_do() {
        finds("cut by xmax", wrong(Flaw::ByXmax), NOTHING_BELOW);
    }

    #[test]
    fn two_sealers_without_a_lock_seal_twice() {
        finds("cut without a lock", wrong(Flaw::NoLock), IN_ONE_SEAL);
    }
}
