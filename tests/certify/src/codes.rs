//! Pay codes: each pays once, and none that was replaced before pays at all.

use crate::{Anomaly, Because, Certificate, History, Moment, Span, What};

/// What happened to one purse's codes.
#[derive(Default)]
struct Purse {
    /// When codes of it came, with their operation, and when all of them died.
    deaths: Vec<(Span, usize)>,
    codes: Vec<(u32, usize)>,
}

/// What happened with one code.
#[derive(Clone, Default)]
struct Code {
    /// The operation that paid with it.
    paid: Option<(Option<u32>, usize)>,
    /// The first that may have.
    perhaps: Vec<Span>,
}

pub fn check(history: &History, certificate: &mut Certificate) {
    let (mut purses, mut codes): (Vec<Purse>, Vec<Code>) = (vec![], vec![]);
    for (i, operation) in history.operations.iter().enumerate() {
        match &operation.what {
            What::NewCode { purse, code } => {
                let purse = at(&mut purses, *purse);
                purse.deaths.push((operation.span, i));
                purse.codes.extend(code.map(|code| (code, i)));
            }
            What::DeadCodes { purse } => at(&mut purses, *purse).deaths.push((operation.span, i)),
            What::Lost(asked) => {
                if let Some((_, code)) = asked.code {
                    at(&mut codes, code).perhaps.push(operation.span);
                }
            }
            What::Did(did) => {
                let Some((_, code)) = did.asked.code else { continue };
                let code = at(&mut codes, code);
                code.perhaps.push(operation.span);
                match code.paid {
                    Some((name, by)) if name != did.name => {
                        let names: Vec<u32> = name.into_iter().chain(did.name).collect();
                        certificate.find(Anomaly::SpentTwice, &[by, i], &names, "one code paid twice".into());
                    }
                    _ => code.paid = Some((did.name, i)),
                }
            }
            What::Refused(..) | What::Saw(_) | What::Switched { .. } => {}
        }
    }
    for purse in &mut purses {
        purse.deaths.sort_unstable_by_key(|(span, _)| span.asked);
        purse.codes.sort_unstable();
    }
    for (i, operation) in history.operations.iter().enumerate() {
        judge(i, operation.span, &operation.what, &purses, &codes, history, certificate);
    }
}

fn judge(
    i: usize,
    span: Span,
    what: &What,
    purses: &[Purse],
    codes: &[Code],
    history: &History,
    certificate: &mut Certificate,
) {
    let (asked, was_refused) = match what {
        What::Did(did) if did.how == crate::How::Fresh => (did.asked, false),
        What::Refused(asked, Because::BadCode) => (*asked, true),
        _ => return,
    };
    let Some((purse, code)) = asked.code else { return };
    let Some(known) = purses.get(purse as usize) else { return };
    // One that nobody was given is none.
    let Ok(born) = known.codes.binary_search_by_key(&code, |(code, _)| *code) else { return };
    let birth = known.codes[born].1;
    let born = history.operations[birth].span;
    if was_refused {
        let spent = codes.get(code as usize).is_some_and(|code| code.perhaps.iter().any(|p| p.asked <= span.answered));
        if !spent && !perhaps(known, birth, born, span.answered) {
            let text = "its code was neither replaced nor used".to_owned();
            certificate.find(Anomaly::Unjustified, &[i, birth], &[], text);
        }
    } else if let Some(death) = surely(known, born, span.asked) {
        let text = "its code had been replaced before it was asked for".to_owned();
        certificate.find(Anomaly::DeadCode, &[birth, death, i], &[], text);
    }
}

/// Whether something may have killed a code between its birth and a moment.
fn perhaps(purse: &Purse, birth: usize, born: Span, until: Moment) -> bool {
    let end = purse.deaths.partition_point(|(death, _)| death.asked <= until);
    let begin = purse.deaths.partition_point(|(death, _)| death.asked < born.asked);
    let after = purse.deaths[begin..end].iter().any(|(_, i)| *i != birth);
    // One that was asked before, and was still under way: no more than there are clients.
    after || purse.deaths[..begin].iter().rev().take(64).any(|(death, _)| death.answered >= born.asked)
}

/// What surely killed a code before a moment.
fn surely(purse: &Purse, born: Span, before: Moment) -> Option<usize> {
    let begin = purse.deaths.partition_point(|(death, _)| death.asked <= born.answered);
    let end = purse.deaths.partition_point(|(death, _)| death.asked < before);
    purse.deaths[begin.min(end)..end].iter().find(|(death, _)| death.answered < before).map(|(_, i)| *i)
}

fn at<T: Default>(list: &mut Vec<T>, place: u32) -> &mut T {
    let place = place as usize;
    if list.len() <= place {
        list.resize_with(place + 1, T::default);
    }
    &mut list[place]
}
