//! A history with one lie in it: whoever certifies has to find it. What is changed is only what certainly cannot be so; a read that is
//! older by one state than another was perhaps made at the same moment.

use crate::{Because, Books, Did, History, How, Object, Operation, Saw, Span, What};
use std::collections::{HashMap, HashSet};

/// What was changed, and how it was before.
pub struct Lie {
    pub what: &'static str,
    pub before: Vec<(usize, Operation)>,
}

impl Lie {
    pub fn take_back(self, history: &mut History) {
        for (place, operation) in self.before {
            history.operations[place] = operation;
        }
    }
}

/// What there is to lie about.
pub struct Liar {
    /// By name, the operation that did it.
    fresh: HashMap<u32, usize>,
    /// By name, how many answers say what each has to repeat to the letter.
    spoken: HashMap<u32, usize>,
    /// What somebody else may have done without being told.
    perhaps: HashSet<u32>,
    /// By card and place, and back.
    names: HashMap<(u32, u64), u32>,
    places: HashMap<u32, (u32, u64)>,
    /// A name that nothing has.
    nobody: u32,
    dice: u64,
}

/// What becomes of some operations, if this one can be lied about.
type Told = Option<Vec<(usize, Operation)>>;
type Way = (&'static str, fn(&mut Liar, &History, usize) -> Told);

const WAYS: [Way; 15] = [
    ("an answer says another amount", Liar::amount),
    ("one of two answers says something else", Liar::letters),
    ("an answer was never given", Liar::forget),
    ("an answer names what is not there", Liar::rename),
    ("a yes is a no", Liar::refuse),
    ("a read is old", Liar::old),
    ("a read is from the future", Liar::early),
    ("a line of a page is missing", Liar::drop_line),
    ("a line of a page says something else", Liar::change_line),
    ("two answers came the other way round", Liar::swap),
    ("there was enough", Liar::enough),
    ("a replay says that it is none", Liar::twice),
    ("who did it says that it is a replay", Liar::never),
    ("a list passes over a line", Liar::pass_over),
    ("two paid with one code", Liar::spend),
];

/// Draws that come to nothing before a way is left for another one.
const DRAWS: usize = 2_000;

impl Liar {
    pub fn new(books: &Books, history: &History, seed: u64) -> Liar {
        let mut liar = Liar {
            fresh: HashMap::new(),
            spoken: HashMap::new(),
            perhaps: HashSet::new(),
            names: books.movements.iter().map(|m| ((m.card, m.place), m.name)).collect(),
            places: books.movements.iter().map(|m| (m.name, (m.card, m.place))).collect(),
            nobody: books.movements.iter().map(|m| m.name).max().map_or(0, |most| most + 1),
            dice: seed,
        };
        let mut unsure: HashSet<u32> = HashSet::new();
        for (i, operation) in history.operations.iter().enumerate() {
            if let What::Did(did) = &operation.what
                && let (Some(name), Some(_)) = (did.name, did.said.letters)
            {
                *liar.spoken.entry(name).or_default() += 1;
                liar.nobody = liar.nobody.max(name + 1);
            }
            match &operation.what {
                What::Did(did) if did.how == How::Fresh => liar.fresh.extend(did.name.map(|name| (name, i))),
                What::Did(did) if did.how == How::Unsaid => unsure.extend(did.asked.request),
                What::Lost(asked) => unsure.extend(asked.request.into_iter().chain(asked.order)),
                _ => {}
            }
        }
        let others = books.asked_by.iter().filter(|(request, _)| unsure.contains(request));
        liar.perhaps = others.map(|(_, name)| *name).collect();
        liar
    }

    fn below(&mut self, n: usize) -> usize {
        // Knuth's MMIX; the low digits are the bad ones.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.dice >> 33) as usize) % n
    }

    /// Tells one lie; `None` where nothing is there that can be lied about.
    pub fn lie(&mut self, history: &mut History) -> Option<Lie> {
        let first = self.below(WAYS.len());
        for turn in 0..WAYS.len() {
            let (what, way) = WAYS[(first + turn) % WAYS.len()];
            for _ in 0..DRAWS {
                let at = self.below(history.operations.len());
                if let Some(told) = way(self, history, at) {
                    let swap = |(place, new)| (place, std::mem::replace(&mut history.operations[place], new));
                    return Some(Lie { what, before: told.into_iter().map(swap).collect() });
                }
            }
        }
        None
    }

    /// A fresh answer that nobody else can have been the reason of.
    fn alone<'h>(&self, history: &'h History, at: usize) -> Option<&'h Did> {
        fresh(history, at).filter(|did| did.name.is_some_and(|name| !self.perhaps.contains(&name)))
    }

    /// A replay of what somebody was answered as new.
    fn replay<'h>(&self, history: &'h History, at: usize) -> Option<&'h Did> {
        let What::Did(did) = &history.operations[at].what else { return None };
        let is_known = did.name.is_some_and(|name| self.fresh.contains_key(&name));
        (did.how == How::Replayed && is_known).then_some(did)
    }

    /// When a movement was asked for and answered.
    fn span_of(&self, history: &History, name: u32) -> Option<Span> {
        Some(history.operations[*self.fresh.get(&name)?].span)
    }

    fn amount(&mut self, history: &History, at: usize) -> Told {
        let What::Did(did) = &history.operations[at].what else { return None };
        let change = did.said.change.filter(|_| did.how != How::Waits)?;
        let mut did = did.clone();
        did.said.change = Some(change + 1);
        now(history, at, What::Did(did))
    }

    fn letters(&mut self, history: &History, at: usize) -> Told {
        let What::Did(did) = &history.operations[at].what else { return None };
        if self.spoken.get(&did.name?).is_none_or(|spoken| *spoken < 2) {
            return None;
        }
        let mut did = did.clone();
        did.said.letters = Some(did.said.letters? ^ 1);
        now(history, at, What::Did(did))
    }

    fn forget(&mut self, history: &History, at: usize) -> Told {
        self.alone(history, at)?;
        now(history, at, What::Saw(Box::default()))
    }

    fn rename(&mut self, history: &History, at: usize) -> Told {
        let did = Did { name: Some(self.nobody), ..fresh(history, at)?.clone() };
        now(history, at, What::Did(Box::new(did)))
    }

    fn refuse(&mut self, history: &History, at: usize) -> Told {
        let asked = self.alone(history, at)?.asked;
        now(history, at, What::Refused(asked, Because::Else))
    }

    /// Another place of a balance that was seen, without its value, which would give it away.
    fn elsewhere(&mut self, history: &History, at: usize, later: bool) -> Told {
        let turn = self.below(64);
        let mut saw = saw(history, at).filter(|saw| saw.totals.is_none() && !saw.seen.is_empty())?.clone();
        let n = saw.seen.len();
        let seen = &mut saw.seen[turn % n];
        let (Object::Balance(card), Some(place)) = (seen.object, seen.place) else { return None };
        let step = 1 + turn as u64;
        let other = if later { place + step } else { place.checked_sub(step)? };
        // What was there by then, or what was not asked for yet.
        let witness = self.span_of(history, *self.names.get(&(card, if later { other } else { other + 1 }))?)?;
        let span = history.operations[at].span;
        let proves = if later { witness.asked > span.answered } else { witness.answered < span.asked };
        (seen.place, seen.value) = (Some(other), None);
        now(history, at, What::Saw(Box::new(saw))).filter(|_| proves)
    }

    fn old(&mut self, history: &History, at: usize) -> Told {
        self.elsewhere(history, at, false)
    }

    fn early(&mut self, history: &History, at: usize) -> Told {
        self.elsewhere(history, at, true)
    }

    fn drop_line(&mut self, history: &History, at: usize) -> Told {
        let mut saw = saw(history, at)?.clone();
        let page = saw.pages.iter_mut().find(|page| page.lines.len() > 2)?;
        page.lines.remove(page.lines.len() / 2);
        now(history, at, What::Saw(Box::new(saw)))
    }

    fn change_line(&mut self, history: &History, at: usize) -> Told {
        let mut saw = saw(history, at)?.clone();
        saw.pages.iter_mut().find(|page| page.lines.len() > 2)?.lines[1].change += 1;
        now(history, at, What::Saw(Box::new(saw)))
    }

    /// With a later movement of the same card.
    fn swap(&mut self, history: &History, at: usize) -> Told {
        let (card, place) = *self.places.get(&fresh(history, at)?.name?)?;
        let one = &history.operations[at];
        let later = (1..40).find_map(|more| {
            let later = *self.fresh.get(self.names.get(&(card, place + more))?)?;
            (history.operations[later].span.asked > one.span.answered).then_some(later)
        })?;
        let other = &history.operations[later];
        let early = Operation { span: other.span, ..one.clone() };
        let late = Operation { span: one.span, ..other.clone() };
        Some(vec![(at, early), (later, late)])
    }

    fn enough(&mut self, history: &History, at: usize) -> Told {
        let What::Refused(asked, mut because) = history.operations[at].what.clone() else { return None };
        match &mut because {
            Because::Poor { price, .. } => *price = 0,
            Because::Full { amount, .. } => *amount = i64::MIN / 2,
            Because::TooMuchBack { amount, .. } => *amount = 0,
            _ => return None,
        }
        now(history, at, What::Refused(asked, because))
    }

    fn twice(&mut self, history: &History, at: usize) -> Told {
        let did = Did { how: How::Fresh, ..self.replay(history, at)?.clone() };
        now(history, at, What::Did(Box::new(did)))
    }

    fn never(&mut self, history: &History, at: usize) -> Told {
        let did = Did { how: How::Replayed, ..self.alone(history, at)?.clone() };
        now(history, at, What::Did(Box::new(did)))
    }

    fn pass_over(&mut self, history: &History, at: usize) -> Told {
        let mut saw = saw(history, at)?.clone();
        let feed = saw.feeds.iter_mut().find(|feed| feed.lines.len() > 2)?;
        let (name, _) = feed.lines.remove(feed.lines.len() / 2);
        feed.limit -= 1;
        let was_there = self.span_of(history, name)?.answered < history.operations[at].span.asked;
        now(history, at, What::Saw(Box::new(saw))).filter(|_| was_there)
    }

    fn spend(&mut self, history: &History, at: usize) -> Told {
        let mut did = fresh(history, at)?.clone();
        did.asked.code?;
        let others = (0..history.operations.len()).filter(|other| *other != at);
        did.asked.code = Some(others.filter_map(|other| fresh(history, other)?.asked.code).next()?);
        now(history, at, What::Did(Box::new(did)))
    }
}

/// One operation, with something else in it.
fn now(history: &History, at: usize, what: What) -> Told {
    Some(vec![(at, Operation { what, ..history.operations[at].clone() })])
}

fn fresh(history: &History, at: usize) -> Option<&Did> {
    match &history.operations[at].what {
        What::Did(did) if did.how == How::Fresh => Some(did),
        _ => None,
    }
}

fn saw(history: &History, at: usize) -> Option<&Saw> {
    match &history.operations[at].what {
        What::Saw(saw) => Some(saw),
        _ => None,
    }
}
