//! Reads: each saw states that were there, no older than what had been answered before, no newer than what had been asked for, and all of
//! one snapshot at one moment. What this comes to beyond the one object goes into the graph.

use crate::graph::Graph;
use crate::order::Order;
use crate::{Anomaly, Certificate, Feed, Object, Page, Saw, Seen, Span};

/// How many of a list's movements that a page does not show yet are named one by one. Those of the same cards follow from them,
/// and what was answered before the page was asked for is looked at in any case.
const UNSEEN: usize = 64;

struct Reader<'a> {
    operation: usize,
    span: Span,
    order: &'a Order,
    /// Whether it has to have seen what was answered before.
    is_primary: bool,
    node: u32,
    /// The places at which this snapshot has seen objects.
    known: Vec<(u32, u64)>,
    graph: &'a mut Graph,
    certificate: &'a mut Certificate,
}

pub fn check(
    operation: usize,
    span: Span,
    saw: &Saw,
    order: &Order,
    is_primary: bool,
    graph: &mut Graph,
    certificate: &mut Certificate,
) {
    let node = graph.reader(operation, span);
    let mut reader = Reader { operation, span, order, is_primary, node, known: vec![], graph, certificate };
    let (mut movements, mut net) = (0, 0);
    saw.pages.iter().for_each(|page| reader.page(page));
    // Values without a place come last: what else was seen says where they belong.
    let (placed, values) = (saw.seen.iter(), saw.seen.iter());
    for seen in placed.filter(|seen| seen.place.is_some()).chain(values.filter(|seen| seen.place.is_none())) {
        if let Some((place, value)) = reader.state(seen)
            && matches!(seen.object, Object::Balance(_))
        {
            (movements, net) = (movements + place, net + value);
        }
    }
    saw.feeds.iter().for_each(|feed| reader.feed(feed));
    if let Some(totals) = saw.totals
        && totals != (movements, net)
    {
        let text = format!("totals (movements, sum) {totals:?} beside cards that have {:?}", (movements, net));
        reader.find(Anomaly::NotOneCut, &[], text);
    }
}

impl Reader<'_> {
    fn find(&mut self, anomaly: Anomaly, names: &[u32], text: String) {
        self.certificate.find(anomaly, &[self.operation], names, text);
    }

    /// The place and the value of a state that was seen, if it can have been.
    fn state(&mut self, seen: &Seen) -> Option<(u64, i64)> {
        let Some(object) = self.order.object(seen.object) else {
            // A payment that nobody gave anything back of.
            if seen.place.unwrap_or(0) != 0 {
                self.find(Anomaly::NeverWas, &[], format!("{:?} never was at {:?}", seen.object, seen.place));
            }
            return None;
        };
        let (sure, possible) = self.order.window(object, self.span.asked, self.span.answered);
        let sure = if self.is_primary { sure } else { 0 };
        let place = match seen.place {
            Some(place) => place,
            None => return self.by_value(object, seen.value?, sure, possible),
        };
        let kind = self.order.kind(object);
        if place > self.order.places(object) || seen.value.is_some_and(|v| v != self.order.value(object, place)) {
            let text = format!("{kind} was never {:?} at place {place}", seen.value);
            self.find(Anomaly::NeverWas, &[], text);
            return None;
        }
        if place < sure {
            let missed = self.order.version(object, place + 1).name;
            let text = format!("{kind}: saw place {place}, when {sure} had been answered");
            self.find(Anomaly::StaleRead, &[missed], text);
        } else if place > possible {
            let text = format!("{kind}: saw place {place}, when {possible} was all that had been asked for");
            self.find(Anomaly::FutureRead, &[], text);
        }
        self.at(object, place);
        Some((place, self.order.value(object, place)))
    }

    /// A value without a place: the state that it fits, or whether there is one.
    fn by_value(&mut self, object: u32, value: i64, sure: u64, possible: u64) -> Option<(u64, i64)> {
        let fits = |place: &u64| self.order.value(object, *place) == value;
        if let Some((_, place)) = self.known.iter().find(|(known, _)| *known == object) {
            let (place, kind) = (*place, self.order.kind(object));
            if !fits(&place) {
                self.find(
                    Anomaly::NotOneCut,
                    &[],
                    format!("{kind} was not {value} at place {place}, which was seen, too"),
                );
            }
            return Some((place, value));
        }
        let mut fitting = (sure..=possible).filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(place), None) => {
                self.at(object, place);
                return Some((place, value));
            }
            (Some(_), Some(_)) => self.certificate.ambiguous += 1,
            _ => {
                let anomaly = match () {
                    () if (0..sure).any(|place| fits(&place)) => Anomaly::StaleRead,
                    () if (possible..=self.order.places(object)).any(|place| fits(&place)) => Anomaly::FutureRead,
                    () => Anomaly::NeverWas,
                };
                let kind = self.order.kind(object);
                self.find(anomaly, &[], format!("{kind} was not {value} between places {sure} and {possible}"));
            }
        }
        None
    }

    /// After what it saw, before what came next.
    fn at(&mut self, object: u32, place: u64) {
        self.known.push((object, place));
        if let Some(writer) = self.order.writer(object, place) {
            self.graph.edge(writer, self.node);
        }
        if place < self.order.places(object) {
            self.graph.edge(self.node, self.order.version(object, place + 1).node);
        }
    }

    fn page(&mut self, page: &Page) {
        let Some(object) = self.order.object(page.object) else {
            if !page.lines.is_empty() {
                self.find(Anomaly::NeverWas, &[], format!("{:?} has no lines", page.object));
            }
            return;
        };
        let top = match page.below {
            Some(name) => {
                let spot = self.order.moved.get(name as usize).copied().flatten().filter(|spot| spot.object == object);
                let Some(spot) = spot else {
                    self.find(Anomaly::NeverWas, &[name], "a page below what is not there".into());
                    return;
                };
                self.graph.edge(self.order.version(object, spot.place).node, self.node);
                spot.place - 1
            }
            None => {
                let top = page.lines.first();
                let seen = Seen {
                    object: page.object,
                    place: Some(top.map_or(0, |line| line.place)),
                    value: top.and_then(|line| line.after),
                };
                let Some((place, _)) = self.state(&seen) else { return };
                place
            }
        };
        let is_whole = page.lines.len() as u64 == top.min(page.limit as u64);
        let wrong = page.lines.iter().enumerate().find(|(i, line)| {
            let place = top.wrapping_sub(*i as u64);
            if line.place != place || place == 0 || place > top {
                return true;
            }
            let version = self.order.version(object, place);
            version.name != line.name
                || version.change != line.change
                || line.after.is_some_and(|after| after != version.after)
        });
        if let Some((i, line)) = wrong {
            let text = format!("{}: line {i} of a page from place {top} on is {line:?}", self.order.kind(object));
            self.find(Anomaly::NotAPiece, &[line.name], text);
        } else if !is_whole {
            let text = format!("{} of {} lines from place {top} on", page.lines.len(), page.limit);
            self.find(Anomaly::NotAPiece, &[], text);
        }
    }

    /// A page by the moments that movements bear, which is not the order in which they appeared: what it shows was there, what it passes
    /// over was not.
    fn feed(&mut self, page: &Feed) {
        let order = self.order;
        let mut shown: Vec<u32> = vec![];
        for (name, change) in &page.lines {
            let spot = order.moved.get(*name as usize).copied().flatten();
            let Some(version) = spot.map(|s| order.version(s.object, s.place)).filter(|v| v.change == *change) else {
                self.find(Anomaly::NeverWas, &[*name], "a list shows what is not in the books".into());
                return;
            };
            if order.asked[version.node as usize] > self.span.answered {
                self.find(Anomaly::FutureRead, &[*name], "a page shows what was asked for after it".into());
            }
            self.graph.edge(version.node, self.node);
            shown.push(*name);
        }
        let moments: Vec<i64> = shown.iter().map(|name| order.posted[*name as usize]).collect();
        if !moments.is_sorted_by(|newer, older| newer >= older) {
            self.find(Anomaly::NotAPiece, &shown, "a list is not in order".into());
            return;
        }
        // One that is not full shows everything.
        let is_full = shown.len() >= page.limit;
        let from = if is_full { moments.last().copied().unwrap_or(i64::MIN) } else { i64::MIN };
        let newest = moments.first().copied().unwrap_or(i64::MIN);
        shown.sort_unstable();
        self.passed_over(page.list, from, newest, &shown);
    }

    fn passed_over(&mut self, list: u32, from: i64, newest: i64, shown: &[u32]) {
        let order = self.order;
        let Some(feed) = order.feeds.get(list as usize) else { return };
        let (mut stale, mut unseen) = (None, 0);
        let begin = feed.partition_point(|(posted, _)| *posted <= from);
        for (i, (posted, name)) in feed.iter().enumerate().skip(begin) {
            if shown.binary_search(name).is_ok() {
                continue;
            }
            if *posted > newest {
                unseen += 1;
                if unseen > UNSEEN {
                    stale = stale.or_else(|| order.answered_by(list, i, self.span.asked));
                    break;
                }
            }
            let node = order.node(*name).expect("is in the books");
            if order.answered[node as usize] < self.span.asked {
                stale = stale.or(Some(*name));
            }
            self.graph.edge(self.node, node);
        }
        if let Some(name) = stale.filter(|_| self.is_primary) {
            self.find(Anomaly::StaleRead, &[name], "a list misses what had been answered".into());
        }
    }
}
