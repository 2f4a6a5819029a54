//! Answers against the books: what was answered is there, once, as it was said; what is there was asked for, and not refused.

use crate::order::{NONE, Order};
use crate::{Anomaly, Because, Books, Certificate, Did, History, How, Moment, NEVER, Span, What};

/// What the operations of one request came to.
#[derive(Clone, Copy)]
struct Request {
    /// The first that may have done it, though its answer does not say so, or never came.
    perhaps: Moment,
    /// The first answer that says that it was done, and the name it gave.
    done: Moment,
    done_by: u32,
    name: u32,
    named_by: u32,
    refused_by: u32,
}

const NOTHING: Request =
    Request { perhaps: NEVER, done: NEVER, done_by: NONE, name: NONE, named_by: NONE, refused_by: NONE };

struct Claims<'a> {
    order: &'a mut Order,
    certificate: &'a mut Certificate,
    requests: Vec<Request>,
    /// By name, the operation that says that it did it just now.
    fresh: Vec<u32>,
    /// By name, also of what never came into the books: what was first said of it, and by which operation.
    letters: Vec<Option<(u64, u32)>>,
    /// By node, until when somebody was told of it as not done yet.
    absent: Vec<Moment>,
    /// By node, the operations that say since when and until when it can have happened, and that it had not yet.
    evidence: Vec<[u32; 3]>,
    /// Whether that somebody was told of something as not done yet says that it was not.
    trusts_absence: bool,
}

/// Matches both, and tells each transaction when it can have happened.
///
/// `trusts_absence` is whether the order that is looked for is the one in which readers saw transactions appear: a transaction's commit
/// may be in the log before those who read on the same server see it.
pub fn settle(
    books: &Books,
    history: &History,
    order: &mut Order,
    trusts_absence: bool,
    certificate: &mut Certificate,
) {
    let names = order.moved.len();
    let nodes = order.asked.len();
    let mut claims = Claims {
        order,
        certificate,
        requests: vec![],
        fresh: vec![NONE; names],
        letters: vec![None; names],
        absent: vec![0; nodes],
        evidence: vec![[NONE; 3]; nodes],
        trusts_absence,
    };
    books.asked_by.iter().for_each(|(request, _)| _ = claims.request(*request));
    for (i, operation) in history.operations.iter().enumerate() {
        claims.take(i, operation.span, &operation.what);
    }
    claims.everything_was_asked_for(books);
}

impl Claims<'_> {
    fn request(&mut self, request: u32) -> &mut Request {
        let at = request as usize;
        if self.requests.len() <= at {
            self.requests.resize((at + 1).max(2 * self.requests.len()), NOTHING);
        }
        &mut self.requests[at]
    }

    fn take(&mut self, i: usize, span: Span, what: &What) {
        match what {
            What::Did(did) => self.done(i, span, did),
            What::Lost(asked) => {
                for request in asked.request.into_iter().chain(asked.order) {
                    let known = self.request(request);
                    known.perhaps = known.perhaps.min(span.asked);
                }
            }
            What::Refused(asked, because) => {
                if let Some(request) = asked.request {
                    self.request(request).refused_by = i as u32;
                }
                self.evidence(i, span, because);
            }
            What::Saw(_) | What::NewCode { .. } | What::DeadCodes { .. } | What::Switched { .. } => {}
        }
    }

    /// What a refusal says of when something was done.
    fn evidence(&mut self, i: usize, span: Span, because: &Because) {
        match because {
            Because::Done { name } => match self.order.node(*name) {
                Some(node) => self.there_by(node, span.answered, i as u32),
                None => {
                    self.certificate.find(Anomaly::Unjustified, &[i], &[*name], "refused as done, and never was".into())
                }
            },
            Because::NotDone { name } => {
                if let Some(node) = self.order.node(*name) {
                    self.absent_at(node, span.asked, i);
                }
            }
            _ => {}
        }
    }

    fn there_by(&mut self, node: u32, moment: Moment, by: u32) {
        let answered = &mut self.order.answered[node as usize];
        if moment < *answered {
            *answered = moment;
            self.evidence[node as usize][1] = by;
        }
    }

    fn not_before(&mut self, node: u32, moment: Moment, by: u32) {
        let asked = &mut self.order.asked[node as usize];
        if moment > *asked {
            *asked = moment;
            self.evidence[node as usize][0] = by;
        }
    }

    fn absent_at(&mut self, node: u32, moment: Moment, by: usize) {
        let absent = &mut self.absent[node as usize];
        if moment > *absent {
            *absent = moment;
            self.evidence[node as usize][2] = by as u32;
        }
    }

    fn done(&mut self, i: usize, span: Span, did: &Did) {
        if let Some(request) = did.asked.request {
            let known = self.request(request);
            if did.how != How::Waits && span.answered < known.done {
                (known.done, known.done_by) = (span.answered, i as u32);
            }
            if did.how == How::Unsaid {
                known.perhaps = known.perhaps.min(span.asked);
            }
            let before = (known.name, known.named_by);
            if let Some(name) = did.name {
                (known.name, known.named_by) = (name, i as u32);
                if before.0 != NONE && before.0 != name {
                    let text = "one request, and two things done".to_owned();
                    self.certificate.find(Anomaly::OtherReplay, &[before.1 as usize, i], &[before.0, name], text);
                }
            }
        }
        let Some(name) = did.name else { return };
        self.letters(i, did, name);
        let node = self.order.node(name);
        if did.how == How::Waits {
            if let Some(node) = node {
                self.absent_at(node, span.asked, i);
            }
            return;
        }
        let Some(node) = node else {
            self.certificate.find(Anomaly::Missing, &[i], &[name], "answered as done, and not in the books".into());
            return;
        };
        self.there_by(node, span.answered, i as u32);
        if did.how == How::Fresh {
            match self.fresh[name as usize] {
                NONE => {
                    self.not_before(node, span.asked, i as u32);
                    self.fresh[name as usize] = i as u32;
                }
                first => {
                    let text = "answered twice as done just now".to_owned();
                    self.certificate.find(Anomaly::DoneTwice, &[first as usize, i], &[name], text);
                }
            }
        }
        self.compare(i, did, name);
    }

    /// What the answer says against the books, and against other answers.
    fn compare(&mut self, i: usize, did: &Did, name: u32) {
        let order = &*self.order;
        let of = |spots: &[Option<crate::order::Spot>]| {
            spots[name as usize].map(|spot| *order.version(spot.object, spot.place))
        };
        let (moved, pointed, gave_back) = (of(&order.moved), of(&order.pointed), of(&order.gave_back));
        let pairs = [
            ("change", did.said.change, moved.map(|v| v.change)),
            ("balance", did.said.after, moved.map(|v| v.after)),
            ("points", did.said.points, Some(pointed.map_or(0, |v| v.change))),
            ("points after it", did.said.points_after, pointed.map(|v| v.after)),
            ("left to refund", did.said.left, gave_back.map(|v| v.after)),
        ];
        let anomaly = if did.how == How::Fresh { Anomaly::OtherValues } else { Anomaly::OtherReplay };
        for (what, said, is) in pairs {
            if said.is_some() && said != is {
                let text = format!("answered {what} {said:?}, in the books {is:?}");
                self.certificate.find(anomaly, &[i], &[name], text);
            }
        }
    }

    /// Each answer repeats the first to the letter, whatever has become of it meanwhile.
    fn letters(&mut self, i: usize, did: &Did, name: u32) {
        let Some(said) = did.said.letters else { return };
        let at = name as usize;
        if self.letters.len() <= at {
            self.letters.resize((at + 1).max(2 * self.letters.len()), None);
        }
        match self.letters[at] {
            None => self.letters[at] = Some((said, i as u32)),
            Some((first, by)) if first != said => {
                let text = "two answers to one thing are not the same to the letter".to_owned();
                self.certificate.find(Anomaly::OtherReplay, &[by as usize, i], &[name], text);
            }
            Some(_) => {}
        }
    }

    fn everything_was_asked_for(&mut self, books: &Books) {
        // The requests of each name: a chain through the list.
        let mut newest = vec![NONE; self.fresh.len()];
        let mut next = vec![NONE; books.asked_by.len()];
        for (i, (_, name)) in books.asked_by.iter().enumerate() {
            next[i] = std::mem::replace(&mut newest[*name as usize], i as u32);
        }
        let mut at_first = vec![NEVER; self.order.asked.len()];
        for (name, newest) in newest.into_iter().enumerate() {
            let Some(node) = self.order.node(name as u32) else { continue };
            let (mut perhaps, mut refused) = (NEVER, NONE);
            let mut at = newest;
            while at != NONE {
                let request = self.requests[books.asked_by[at as usize].0 as usize];
                (perhaps, refused) = (perhaps.min(request.perhaps), refused.min(request.refused_by));
                self.there_by(node, request.done, request.done_by);
                at = next[at as usize];
            }
            if self.fresh[name] != NONE {
                continue;
            }
            match (perhaps, refused) {
                (NEVER, NONE) => {
                    self.certificate.find(Anomaly::Unasked, &[], &[name as u32], "nobody asked for it".into());
                }
                (NEVER, by) => {
                    let text = "it was refused each time".to_owned();
                    self.certificate.find(Anomaly::RefusedPresent, &[by as usize], &[name as u32], text);
                }
                _ => at_first[node as usize] = at_first[node as usize].min(perhaps),
            }
        }
        for (node, perhaps) in at_first.into_iter().enumerate().filter(|(_, perhaps)| *perhaps != NEVER) {
            self.not_before(node as u32, perhaps, NONE);
        }
        for node in 0..self.absent.len() {
            let (asked, answered, absent) = (self.order.asked[node], self.order.answered[node], self.absent[node]);
            let wrong = match () {
                () if answered < asked => Some((Anomaly::FutureRead, "there before whoever did it had asked")),
                () if answered < absent => Some((Anomaly::StaleRead, "not done yet after it was answered as there")),
                () => None,
            };
            if let Some((anomaly, how)) = wrong {
                let names = (0..self.fresh.len() as u32).filter(|name| self.order.node(*name) == Some(node as u32));
                let names: Vec<u32> = names.collect();
                let by = self.evidence[node].iter().filter(|by| **by != NONE).map(|by| *by as usize);
                self.certificate.find(anomaly, &by.collect::<Vec<_>>(), &names, format!("answered as {how}"));
                // That is said; what else it would contradict is no news.
                self.order.answered[node] = NEVER;
            } else if self.trusts_absence {
                self.not_before(node as u32, absent, NONE);
            }
        }
    }
}
