//! The order that the books carry: for each object its versions, and the database transactions that wrote them.

use crate::{Anomaly, Books, Certificate, Moment, NEVER, Object};

/// That there is nothing of it.
pub const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
pub struct Version {
    pub name: u32,
    pub change: i64,
    pub after: i64,
    /// The node of the transaction that wrote it.
    pub node: u32,
}

/// A place of an object, from 1 on.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    pub object: u32,
    pub place: u64,
}

pub struct Order {
    cards: u32,
    /// Of each object where its versions begin, and where the last ends.
    begins: Vec<u32>,
    versions: Vec<Version>,
    /// What an object is before its first version.
    initial: Vec<i64>,
    /// Of each version the first moment by which it and all before it can have been asked for, and the last by which it must have been
    /// there.
    earliest: Vec<Moment>,
    latest: Vec<Moment>,
    /// By name: the movement's place, the points', and as which refund.
    pub moved: Vec<Option<Spot>>,
    pub pointed: Vec<Option<Spot>>,
    pub gave_back: Vec<Option<Spot>>,
    /// By payment's name, its object; and the other way round, from the first of these objects on.
    refunds_of: Vec<u32>,
    payments: Vec<u32>,
    /// By node: when its transaction can have become visible.
    pub asked: Vec<Moment>,
    pub answered: Vec<Moment>,
    /// By list: names and the moments that they bear, in their order.
    pub feeds: Vec<Vec<(i64, u32)>>,
    /// Of each of those and all later ones, the first moment by which one must have been there.
    sure: Vec<Vec<Moment>>,
    /// By name, the moment that a movement bears.
    pub posted: Vec<i64>,
}

struct Draft {
    object: u32,
    place: u64,
    version: Version,
}

impl Order {
    /// Builds it, and looks whether each chain follows from itself.
    pub fn of(books: &Books, certificate: &mut Certificate) -> Order {
        let names = names(books);
        let cards = books.replaced_by.len() as u32;
        let mut refunds_of = vec![NONE; names];
        let mut objects = 2 * cards;
        let mut payments = vec![];
        for refund in books.movements.iter().filter_map(|m| m.refund.as_ref()) {
            let object = &mut refunds_of[refund.payment as usize];
            if *object == NONE {
                *object = objects;
                payments.push(refund.payment);
                objects += 1;
            }
        }
        let (nodes, node_of) = nodes(books);
        let mut order = Order {
            cards,
            begins: vec![],
            versions: vec![],
            initial: vec![0; objects as usize],
            earliest: vec![],
            latest: vec![],
            moved: vec![None; names],
            pointed: vec![None; names],
            gave_back: vec![None; names],
            refunds_of,
            payments,
            asked: vec![0; nodes],
            answered: vec![NEVER; nodes],
            feeds: vec![],
            sure: vec![],
            posted: vec![i64::MIN; names],
        };
        let drafts = order.drafts(books, &node_of);
        order.fill(drafts, objects, certificate);
        books.movements.iter().for_each(|m| order.posted[m.name as usize] = m.posted_at);
        order.look(books, &node_of, certificate);
        order.look_together(books, certificate);
        order.feed(books);
        order
    }

    fn drafts(&mut self, books: &Books, node_of: &[u32]) -> Vec<Draft> {
        let mut drafts = Vec::with_capacity(2 * books.movements.len() + books.points.len());
        let mut draft = |object, place, name, change, after, transaction: u32| {
            let version = Version { name, change, after, node: node_of[transaction as usize] };
            drafts.push(Draft { object, place, version });
        };
        let mut back: Vec<(u32, i64, u32, i64, u32)> = vec![];
        for m in &books.movements {
            draft(m.card, m.place, m.name, m.change, m.after, m.transaction);
            if let Some(refund) = &m.refund {
                let object = self.refunds_of[refund.payment as usize];
                back.push((object, -refund.left, m.name, m.change, m.transaction));
            }
            let first = self.refunds_of[m.name as usize];
            if first != NONE {
                self.initial[first as usize] = -m.change;
            }
        }
        for p in &books.points {
            draft(self.cards + p.card, p.place, p.name, p.change, p.after, p.transaction);
        }
        // The less is left, the later.
        back.sort_unstable();
        let mut place = 0;
        for (i, (object, left, name, change, transaction)) in back.iter().enumerate() {
            place = if i > 0 && back[i - 1].0 == *object { place + 1 } else { 1 };
            draft(*object, place, *name, -change, -left, *transaction);
        }
        drafts.sort_unstable_by_key(|draft| (draft.object, draft.place));
        drafts
    }

    fn fill(&mut self, drafts: Vec<Draft>, objects: u32, certificate: &mut Certificate) {
        self.begins = vec![0; objects as usize + 1];
        let (mut place, mut value) = (0, 0);
        for (i, Draft { object, place: at, version }) in drafts.iter().enumerate() {
            if i == 0 || drafts[i - 1].object != *object {
                (place, value) = (0, self.initial[*object as usize]);
            }
            place += 1;
            value += version.change;
            let kind = self.kind(*object);
            if place != *at || value != version.after {
                let text = format!(
                    "{kind}: place {at} says {} after {}, the chain says place {place}, {value}",
                    version.after, version.change
                );
                certificate.find(Anomaly::LostUpdate, &[], &[version.name], text);
                (place, value) = (*at, version.after);
            }
            self.begins[*object as usize + 1] += 1;
            // By its number in the chain, whatever it says itself.
            let spot = Some(Spot { object: *object, place: i as u64 });
            let name = version.name as usize;
            match () {
                () if *object < self.cards => self.moved[name] = spot,
                () if *object < 2 * self.cards => self.pointed[name] = spot,
                () => self.gave_back[name] = spot,
            }
        }
        for i in 1..self.begins.len() {
            self.begins[i] += self.begins[i - 1];
        }
        let begins = &self.begins;
        for spots in [&mut self.moved, &mut self.pointed, &mut self.gave_back] {
            for spot in spots.iter_mut().flatten() {
                spot.place = spot.place + 1 - u64::from(begins[spot.object as usize]);
            }
        }
        self.versions = drafts.into_iter().map(|draft| draft.version).collect();
    }

    /// What else the books say of a movement: the one before it, and the moment; points belong to their movement's transaction.
    fn look(&self, books: &Books, node_of: &[u32], certificate: &mut Certificate) {
        for m in &books.movements {
            let Some(spot) = self.moved[m.name as usize] else { continue };
            let before = (spot.place > 1).then(|| self.version(spot.object, spot.place - 1).name);
            if before != m.previous || before.is_some_and(|b| self.posted[b as usize] >= m.posted_at) {
                let text = format!("{}: the movement before it is another one, or later", self.kind(spot.object));
                certificate.find(Anomaly::LostUpdate, &[], &[m.name], text);
            }
        }
        for p in &books.points {
            let Some(spot) = self.moved[p.name as usize] else { continue };
            let node = self.version(spot.object, spot.place).node;
            if spot.object != p.card || node != node_of[p.transaction as usize] {
                let text = "its points were written in another transaction, or for another card".to_owned();
                certificate.find(Anomaly::Torn, &[], &[p.name], text);
            }
        }
    }

    fn look_together(&self, books: &Books, certificate: &mut Certificate) {
        for (one, other) in &books.together {
            // What is not there at all is missed elsewhere.
            let both = self.node(*one).zip(self.node(*other));
            if both.is_some_and(|(one, other)| one != other) {
                let text = "two halves of one thing were written by two transactions".to_owned();
                certificate.find(Anomaly::Torn, &[], &[*one, *other], text);
            }
        }
    }

    fn feed(&mut self, books: &Books) {
        for m in &books.movements {
            for list in m.lists.into_iter().flatten() {
                let list = list as usize;
                if self.feeds.len() <= list {
                    self.feeds.resize(list + 1, vec![]);
                }
                self.feeds[list].push((m.posted_at, m.name));
            }
        }
        self.feeds.iter_mut().for_each(|feed| feed.sort_unstable());
    }

    /// Once the nodes' moments are known: a version is not there before those that it stands on, and those are there when it is.
    pub fn narrow(&mut self) {
        self.earliest = self.versions.iter().map(|v| self.asked[v.node as usize]).collect();
        self.latest = self.versions.iter().map(|v| self.answered[v.node as usize]).collect();
        for pair in self.begins.windows(2) {
            let of = pair[0] as usize..pair[1] as usize;
            for i in of.clone().skip(1) {
                self.earliest[i] = self.earliest[i].max(self.earliest[i - 1]);
            }
            for i in of.rev().skip(1) {
                self.latest[i] = self.latest[i].min(self.latest[i + 1]);
            }
        }
        self.sure = self.feeds.iter().map(|feed| self.sure_of(feed)).collect();
    }

    fn sure_of(&self, feed: &[(i64, u32)]) -> Vec<Moment> {
        let answered = |name: u32| self.node(name).map_or(NEVER, |node| self.answered[node as usize]);
        let mut sure: Vec<Moment> = feed.iter().map(|(_, name)| answered(*name)).collect();
        for i in (1..sure.len()).rev() {
            sure[i - 1] = sure[i - 1].min(sure[i]);
        }
        sure
    }

    /// A movement of a list, from one on by the moments that they bear, that was answered before.
    pub fn answered_by(&self, list: u32, from: usize, moment: Moment) -> Option<u32> {
        let sure = &self.sure[list as usize];
        let last = from + sure[from..].partition_point(|first| *first < moment);
        (last > from).then(|| self.feeds[list as usize][last - 1].1)
    }

    /// The places that an object can have been at: the last that was surely there at the one moment, and the last that anybody had
    /// asked for by the other.
    pub fn window(&self, object: u32, from: Moment, to: Moment) -> (u64, u64) {
        let of = self.range(object);
        let sure = self.latest[of.clone()].partition_point(|latest| *latest < from);
        let possible = self.earliest[of].partition_point(|earliest| *earliest <= to);
        (sure as u64, possible as u64)
    }

    pub fn object(&self, object: Object) -> Option<u32> {
        match object {
            Object::Balance(card) => Some(card).filter(|card| *card < self.cards),
            Object::Points(card) => Some(self.cards + card).filter(|_| card < self.cards),
            Object::Refunds(payment) => self.refunds_of.get(payment as usize).copied().filter(|object| *object != NONE),
        }
    }

    fn range(&self, object: u32) -> std::ops::Range<usize> {
        self.begins[object as usize] as usize..self.begins[object as usize + 1] as usize
    }

    pub fn places(&self, object: u32) -> u64 {
        self.range(object).len() as u64
    }

    pub fn version(&self, object: u32, place: u64) -> &Version {
        &self.versions[self.range(object).start + place as usize - 1]
    }

    /// What the object is at a place; 0 is before everything.
    pub fn value(&self, object: u32, place: u64) -> i64 {
        if place == 0 { self.initial[object as usize] } else { self.version(object, place).after }
    }

    /// The node after which an object is at a place; of refunds, the payment's is the first.
    pub fn writer(&self, object: u32, place: u64) -> Option<u32> {
        match object.checked_sub(2 * self.cards) {
            _ if place > 0 => Some(self.version(object, place).node),
            Some(refunds) => self.node(self.payments[refunds as usize]),
            None => None,
        }
    }

    /// The node that wrote what a name stands for.
    pub fn node(&self, name: u32) -> Option<u32> {
        let spot = self.moved.get(name as usize).copied().flatten();
        let spot = spot.or_else(|| self.pointed.get(name as usize).copied().flatten())?;
        Some(self.version(spot.object, spot.place).node)
    }

    pub fn objects(&self) -> u32 {
        self.begins.len() as u32 - 1
    }

    pub fn kind(&self, object: u32) -> String {
        match object {
            _ if object < self.cards => format!("balance of card {object}"),
            _ if object < 2 * self.cards => format!("points of card {}", object - self.cards),
            _ => "refunds of a payment".to_owned(),
        }
    }
}

fn names(books: &Books) -> usize {
    let movements = books.movements.iter().map(|m| m.name.max(m.refund.as_ref().map_or(0, |r| r.payment)));
    let all = movements.chain(books.points.iter().map(|p| p.name)).chain(books.asked_by.iter().map(|(_, name)| *name));
    all.max().map_or(0, |most| most as usize + 1)
}

/// How many transactions there are, and the node of each.
fn nodes(books: &Books) -> (usize, Vec<u32>) {
    let all = || books.movements.iter().map(|m| m.transaction).chain(books.points.iter().map(|p| p.transaction));
    let mut node_of = vec![NONE; all().max().map_or(0, |most| most as usize + 1)];
    let mut nodes = 0;
    for transaction in all() {
        let node = &mut node_of[transaction as usize];
        if *node == NONE {
            *node = nodes;
            nodes += 1;
        }
    }
    (nodes as usize, node_of)
}
