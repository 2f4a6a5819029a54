//! What has to be on: cards, members, merchants. Refused for being off, it can have been off; done, it can have been on.

use crate::{Anomaly, Because, Certificate, History, How, Moment, NEVER, Span, What};

#[derive(Default)]
struct Switch {
    /// By when they were asked for.
    off: Vec<(Span, usize)>,
    on: Vec<(Span, usize)>,
    /// Of each switching on and all later ones, the first answer; of each and all earlier ones, the last.
    first_answer_from: Vec<Moment>,
    last_answer_to: Vec<Moment>,
}

impl Switch {
    fn sort(&mut self) {
        self.off.sort_unstable_by_key(|(span, _)| span.asked);
        self.on.sort_unstable_by_key(|(span, _)| span.asked);
        self.first_answer_from = self.on.iter().map(|(span, _)| span.answered).collect();
        self.last_answer_to = self.first_answer_from.clone();
        for i in (1..self.on.len()).rev() {
            self.first_answer_from[i - 1] = self.first_answer_from[i - 1].min(self.first_answer_from[i]);
        }
        for i in 1..self.on.len() {
            self.last_answer_to[i] = self.last_answer_to[i].max(self.last_answer_to[i - 1]);
        }
    }

    /// Whether it can have been off at some moment of a span: by a switching off that nothing surely undid.
    fn can_be_off(&self, span: Span) -> bool {
        let end = self.off.partition_point(|(off, _)| off.asked <= span.answered);
        self.off[..end].iter().rev().any(|(off, _)| {
            let later = self.on.partition_point(|(on, _)| on.asked <= off.answered);
            self.first_answer_from.get(later).copied().unwrap_or(NEVER) >= span.asked
        })
    }

    /// The switching off after which it was surely off all through a span.
    fn is_surely_off(&self, span: Span) -> Option<usize> {
        let end = self.off.partition_point(|(off, _)| off.asked < span.asked);
        let (off, by) = self.off[..end].iter().rev().find(|(off, _)| off.answered < span.asked)?;
        let perhaps = self.on.partition_point(|(on, _)| on.asked <= span.answered);
        let was_undone = perhaps > 0 && self.last_answer_to[perhaps - 1] >= off.asked;
        (!was_undone).then_some(*by)
    }
}

pub fn check(history: &History, certificate: &mut Certificate) {
    let mut switches: Vec<Switch> = vec![];
    for (i, operation) in history.operations.iter().enumerate() {
        if let What::Switched { switch, on } = operation.what {
            let at = switch as usize;
            if switches.len() <= at {
                switches.resize_with(at + 1, Switch::default);
            }
            let list = if on { &mut switches[at].on } else { &mut switches[at].off };
            list.push((operation.span, i));
        }
    }
    switches.iter_mut().for_each(Switch::sort);
    for (i, operation) in history.operations.iter().enumerate() {
        match &operation.what {
            What::Refused(_, Because::Off { switch })
                if !switches.get(*switch as usize).is_some_and(|s| s.can_be_off(operation.span)) =>
            {
                certificate.find(Anomaly::Unjustified, &[i], &[], "nothing was off that has to be on".into());
            }
            What::Did(did) if did.how == How::Fresh => {
                let off = did.needs.iter().filter_map(|s| switches.get(*s as usize)?.is_surely_off(operation.span));
                for by in off {
                    let names: Vec<u32> = did.name.into_iter().collect();
                    certificate.find(Anomaly::WhileOff, &[by, i], &names, "done while something was off".into());
                }
            }
            _ => {}
        }
    }
}
