//! Refusals: what they say was so at some moment between question and answer, as far as the order of the books tells.

use crate::order::Order;
use crate::{Anomaly, Because, Books, Certificate, History, Moment, NEVER, Object, Purse, Span, What};

struct Reasons<'a> {
    books: &'a Books,
    order: &'a Order,
    /// By request, when it was first asked for by somebody who was not refused.
    first_asked: Vec<Moment>,
}

pub fn check(books: &Books, history: &History, order: &Order, certificate: &mut Certificate) {
    let reasons = Reasons { books, order, first_asked: first_asked(history) };
    for (i, operation) in history.operations.iter().enumerate() {
        let What::Refused(_, because) = &operation.what else { continue };
        match reasons.why_not(because, operation.span) {
            Some(text) => certificate.find(Anomaly::Unjustified, &[i], &[], text),
            None => certificate.unjudged += usize::from(matches!(because, Because::Else)),
        }
    }
}

fn first_asked(history: &History) -> Vec<Moment> {
    let mut first: Vec<Moment> = vec![];
    for operation in &history.operations {
        let asked = match &operation.what {
            What::Did(did) => did.asked,
            What::Lost(asked) => *asked,
            _ => continue,
        };
        for request in asked.request.into_iter().chain(asked.order) {
            let at = request as usize;
            if first.len() <= at {
                first.resize((at + 1).max(2 * first.len()), NEVER);
            }
            first[at] = first[at].min(operation.span.asked);
        }
    }
    first
}

impl Reasons<'_> {
    /// Why it cannot have been so, where it cannot.
    fn why_not(&self, because: &Because, span: Span) -> Option<String> {
        match *because {
            Because::Poor { purse, price } => self.never(purse, span, |balance| balance < price, "less than the price"),
            Because::Full { purse, amount, limit } => {
                self.never(purse, span, |balance| balance + amount > limit, "too much for it")
            }
            Because::TooMuchBack { payment, amount } => {
                // Of a payment without refunds everything is left, and that is no reason.
                let object = self.order.object(Object::Refunds(payment));
                let was = object.is_some_and(|object| self.was(object, span, |left| left < amount));
                let paid = || {
                    let spot = (*self.order.moved.get(payment as usize)?)?;
                    Some(-self.order.version(spot.object, spot.place).change)
                };
                (!was && paid().is_none_or(|paid| paid >= amount))
                    .then(|| "there was enough left of the payment".into())
            }
            Because::Known { request } => {
                let first = self.first_asked.get(request as usize).copied().unwrap_or(NEVER);
                (first > span.answered).then(|| "nobody had asked for anything like it".into())
            }
            Because::NotDone { name } => {
                let node = self.order.node(name)? as usize;
                (self.order.answered[node] < span.asked).then(|| "it was done long before".into())
            }
            Because::BadCode | Because::Off { .. } | Because::Done { .. } | Because::Else => None,
        }
    }

    fn was(&self, object: u32, span: Span, holds: impl Fn(i64) -> bool) -> bool {
        let (from, to) = self.order.window(object, span.asked, span.answered);
        (from..=to).any(|place| holds(self.order.value(object, place)))
    }

    fn never(&self, purse: Purse, span: Span, holds: impl Fn(i64) -> bool, what: &str) -> Option<String> {
        let (mut card, mut is_heir) = (purse.card, false);
        loop {
            let next = self.books.replaced_by.get(card as usize).copied().flatten().filter(|_| purse.with_successors);
            // What a replacement took off is on the next one at the same moment, and before that the next one is not there.
            let is_left = next.is_some_and(|next| self.took_over(card, next));
            let (from, to) = self.order.window(card, span.asked, span.answered);
            let is_between = |place| (is_left && place == self.order.places(card)) || (is_heir && place == 0);
            if (from..=to).any(|place| !is_between(place) && holds(self.order.value(card, place))) {
                return None;
            }
            is_heir = is_left;
            match next {
                Some(next) => card = next,
                None => return Some(format!("there was never {what} between question and answer")),
            }
        }
    }

    fn took_over(&self, card: u32, next: u32) -> bool {
        let (last, first) = (self.order.places(card), self.order.places(next));
        last > 0 && first > 0 && self.order.version(card, last).node == self.order.version(next, 1).node
    }
}
