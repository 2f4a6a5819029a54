//! What the clients did and were told, with when, for the certificate: each connection writes its own list, by the names that things have
//! out here. Nothing is judged in this file.

use crate::db::{Asked, Link, Who};
use crate::model::{CardKind, cents};
use crate::request::{Answer, Code, Request, What};
use crate::world::World;
use mps_certify::{How, NEVER, Said, Span};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::time::Instant;
use uuid::Uuid;

/// One operation: when, by which client in which step, and what.
pub struct Noted {
    pub span: Span,
    pub by: (usize, u64),
    pub note: Note,
}

pub enum Note {
    Did(Box<Done>),
    Lost(Known),
    Refused(Known, Why),
    Saw(Box<Look>),
    NewCode { purse: PurseKey, code: Option<String> },
    DeadCodes { purse: PurseKey },
    Switched { switch: String, on: bool },
}

/// By what a request is known, and the code that it shows.
#[derive(Clone, Default)]
pub struct Known {
    pub request: Option<String>,
    pub order: Option<String>,
    pub code: Option<(PurseKey, String)>,
}

impl Known {
    /// By something else than a key.
    pub fn by(request: String) -> Known {
        Known { request: Some(request), ..Known::default() }
    }
}

/// A card, and the member whose codes these are.
pub type PurseKey = (Uuid, Uuid);

pub struct Done {
    pub known: Known,
    pub name: Option<String>,
    pub how: How,
    pub said: Said,
    pub needs: Vec<String>,
}

/// What a refusal says.
pub enum Why {
    Poor { card: Uuid, with_successors: bool, price: i64 },
    Full { card: Uuid, with_successors: bool, amount: i64 },
    TooMuchBack { payment: String, amount: i64 },
    BadCode,
    Off(String),
    Known(Option<String>),
    Done(String),
    NotDone(String),
    Else,
}

/// What was seen in one snapshot.
#[derive(Default)]
pub struct Look {
    pub seen: Vec<(Of, Option<u64>, Option<i64>)>,
    pub pages: Vec<PageNote>,
    pub feeds: Vec<FeedNote>,
    pub totals: Option<(u64, i64)>,
}

pub enum Of {
    Balance(Uuid),
    Points(Uuid),
    Refunds(String),
}

pub struct PageNote {
    pub of: Of,
    pub below: Option<String>,
    pub limit: usize,
    /// Number, place, change, and what was there after it.
    pub lines: Vec<(String, u64, i64, Option<i64>)>,
}

pub struct FeedNote {
    /// [`list_of_merchant`] or [`list_of_member`].
    pub list: String,
    pub limit: usize,
    pub lines: Vec<(String, i64)>,
}

/// Nanoseconds since the first time anybody asked; the same for all threads.
pub fn now() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    // Not 0, which is before everything.
    BEGAN.get_or_init(Instant::now).elapsed().as_nanos() as u64 + 1
}

pub fn card_switch(card: Uuid) -> String {
    format!("card {card}")
}

pub fn member_switch(member: Uuid) -> String {
    format!("member {member}")
}

pub fn merchant_switch(code: &str) -> String {
    format!("merchant {code}")
}

pub fn list_of_merchant(code: &str) -> String {
    format!("list of merchant {code}")
}

/// What was done with the personal cards of a member.
pub fn list_of_member(member: Uuid) -> String {
    format!("list of member {member}")
}

/// As what a request is known by its key.
pub fn by_key(key: &str) -> String {
    format!("key {key}")
}

pub fn by_order(order: &str) -> String {
    format!("order {order}")
}

pub fn by_confirmation(tx_no: &str) -> String {
    format!("confirmation of {tx_no}")
}

pub fn by_suspense(id: i64) -> String {
    format!("suspense {id}")
}

/// As what a refund number is known that was given back to its card.
pub fn by_return(refund_no: &str) -> String {
    format!("return of {refund_no}")
}

pub fn by_replacement(card: Uuid) -> String {
    format!("replacement of {card}")
}

fn letters(said: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    said.hash(&mut hasher);
    hasher.finish()
}

impl Link<'_> {
    /// Writes down what came of something that was asked: for each sending that was not answered one note, and one for the answer.
    pub fn note<T>(&mut self, asked: &Asked<T>, lost: impl Fn() -> Note, answered: Option<Note>) {
        for sent in &asked.unanswered {
            self.write_down(Span { asked: *sent, answered: NEVER }, lost());
        }
        if let Some(note) = answered {
            self.write_down(asked.span, note);
        }
    }

    /// Something was switched, or may have been.
    pub fn note_switch<T>(&mut self, asked: &Asked<T>, switch: &str, on: bool) {
        let note = || Note::Switched { switch: switch.to_owned(), on };
        self.note(asked, note, asked.result.is_ok().then(note));
    }

    /// A code was asked for.
    pub fn note_code(&mut self, asked: &Asked<String>, kind: CardKind, purse: PurseKey) {
        let note = match &asked.result {
            Ok(code) => Some(Note::NewCode { purse, code: Some(code.clone()) }),
            Err(refusal) => {
                let off = match refusal.token.as_str() {
                    "CARD_NOT_ACTIVE" => Some(card_switch(purse.0)),
                    "MEMBER_NOT_ACTIVE" if kind == CardKind::Enterprise => Some(member_switch(purse.1)),
                    _ => None,
                };
                Some(Note::Refused(Known::default(), off.map_or(Why::Else, Why::Off)))
            }
        };
        self.note(asked, || Note::NewCode { purse, code: None }, note);
    }

    /// All codes of a purse died.
    pub fn note_death<T>(&mut self, asked: &Asked<T>, purse: PurseKey) {
        self.note(asked, || Note::DeadCodes { purse }, asked.result.is_ok().then_some(Note::DeadCodes { purse }));
    }

    /// A gateway's word about a recharge.
    pub fn note_confirmation(&mut self, asked: &Asked<(String, bool)>, tx_no: &str) {
        let known = Known::by(by_confirmation(tx_no));
        let note = match &asked.result {
            Ok((status, replayed)) if status == "completed" => Some(Note::Did(Box::new(Done {
                known: known.clone(),
                name: Some(tx_no.to_owned()),
                how: if *replayed { How::Replayed } else { How::Fresh },
                said: Said::default(),
                needs: vec![],
            }))),
            // Another payment for what is paid.
            Ok(_) => None,
            Err(_) => Some(Note::Refused(known.clone(), Why::Else)),
        };
        self.note(asked, || Note::Lost(known.clone()), note);
    }

    /// A clerk's word about a payment of a bill, which does not say whether somebody else's came before it.
    pub fn note_credit_of_a_bill<T>(&mut self, asked: &Asked<T>, tx_no: &str) {
        let known = Known::by(by_confirmation(tx_no));
        let did = Done {
            known: known.clone(),
            name: Some(tx_no.to_owned()),
            how: How::Unsaid,
            said: Said::default(),
            needs: vec![],
        };
        let note = match &asked.result {
            Ok(_) => Note::Did(Box::new(did)),
            Err(_) => Note::Refused(known.clone(), Why::Else),
        };
        self.note(asked, || Note::Lost(known.clone()), Some(note));
    }

    /// That a recharge has come to nothing, which it cannot once it is credited.
    pub fn note_failure(&mut self, asked: &Asked<String>, tx_no: &str) {
        if let Err(refusal) = &asked.result
            && refusal.token == "RECHARGE_NOT_PENDING"
        {
            self.write_down(asked.span, Note::Refused(Known::default(), Why::Done(tx_no.to_owned())));
        }
    }

    /// A card was replaced: what was on it is on the new one, itself it pays no more, nor does its code.
    pub fn note_replacement<T>(&mut self, asked: &Asked<T>, card: Uuid, owner: Uuid) {
        let known = Known::by(by_replacement(card));
        let done = Done { known: known.clone(), name: None, how: How::Unsaid, said: Said::default(), needs: vec![] };
        let note = match &asked.result {
            Ok(_) => Note::Did(Box::new(done)),
            Err(_) => Note::Refused(known.clone(), Why::Else),
        };
        self.note(asked, || Note::Lost(known.clone()), Some(note));
        self.note_switch(asked, &card_switch(card), false);
        self.note_death(asked, (card, owner));
    }
}

impl Request {
    fn known(&self) -> Known {
        // A member's word occupies nobody else's order: two may have one of the same name.
        let order = self.order.as_deref().map(|order| match (self.who, &self.what) {
            (Who::User(_), What::Recharge { card, .. }) => by_order(&format!("{order} of {card}")),
            _ => by_order(order),
        });
        Known {
            request: self.key.as_deref().map(by_key).or_else(|| order.clone()),
            order,
            code: match &self.what {
                What::Charge { code, .. } => Some((code.purse(), code.plain.clone())),
                _ => None,
            },
        }
    }

    /// What came of it, for the certificate.
    pub fn note(&self, world: &World, link: &mut Link, asked: &Asked<Answer>) {
        let known = self.known();
        let note = match &asked.result {
            Ok(answer) => Note::Did(Box::new(self.done(world, known.clone(), answer))),
            Err(refusal) => Note::Refused(known.clone(), self.why(world, &refusal.token)),
        };
        link.note(asked, || Note::Lost(known.clone()), Some(note));
    }

    fn done(&self, world: &World, known: Known, answer: &Answer) -> Done {
        let how = match &self.what {
            What::Points { .. } => How::Unsaid,
            _ if !self.is_done(answer) => How::Waits,
            _ if answer.replayed => How::Replayed,
            _ => How::Fresh,
        };
        let field = |n: usize| answer.said.split('|').nth(n).unwrap_or_default();
        let mut said = Said { change: Some(answer.paid), letters: Some(letters(&answer.said)), ..Said::default() };
        let mut needs = vec![];
        match &self.what {
            What::Charge { merchant, code, .. } => {
                said.change = Some(-answer.paid);
                said.points = Some(answer.points);
                needs.push(card_switch(code.card));
                needs.push(member_switch(code.member));
                needs.push(merchant_switch(&world.merchants[*merchant].code));
            }
            What::Refund { .. } => {
                said.points = Some(answer.points);
                said.left = Some(cents(field(4)));
            }
            What::Cancel { .. } => said = Said { change: Some(answer.paid), left: Some(0), ..Said::default() },
            What::Recharge { card, merchant, .. } => {
                needs.push(card_switch(*card));
                needs.extend(merchant.map(|m| merchant_switch(&world.merchants[m].code)));
            }
            What::Compensate { .. } => said.after = Some(cents(field(4))),
            What::Withdraw { .. } => said.change = Some(-answer.paid),
            What::Points { .. } => {
                said = Said { points: Some(self.amount), letters: said.letters, ..Said::default() };
                said.points_after = field(0).parse().ok();
            }
        }
        Done { known, name: Some(answer.id.clone()), how, said, needs }
    }

    fn why(&self, world: &World, token: &str) -> Why {
        let first_card = || self.account.1.cards.read().expect("not poisoned")[0].0;
        match (token, &self.what) {
            ("INSUFFICIENT_BALANCE", What::Charge { code, excluded, .. }) => {
                // Personal cards have a discount that nobody knows who is refused: it is not less than the price, then, that was there.
                let discount = match self.account.1.kind {
                    CardKind::Personal => 1000,
                    CardKind::Enterprise => self.account.1.fixed_discount,
                };
                let price = crate::model::price(self.amount, *excluded, discount);
                Why::Poor { card: code.card, with_successors: false, price }
            }
            ("INSUFFICIENT_BALANCE", What::Compensate { .. }) => {
                Why::Poor { card: first_card(), with_successors: true, price: -self.amount }
            }
            ("BALANCE_LIMIT", What::Recharge { card, .. }) => {
                Why::Full { card: *card, with_successors: false, amount: self.amount }
            }
            ("BALANCE_LIMIT", What::Compensate { .. }) => {
                Why::Full { card: first_card(), with_successors: true, amount: self.amount }
            }
            ("REFUND_EXCEEDS_REMAINING", What::Refund { original, .. }) => {
                Why::TooMuchBack { payment: original.clone(), amount: self.amount }
            }
            ("QR_EXPIRED_OR_INVALID", What::Charge { .. }) => Why::BadCode,
            ("CARD_NOT_ACTIVE", What::Charge { code: Code { card, .. }, .. })
            | ("CARD_NOT_ACTIVE", What::Recharge { card, .. } | What::Points { card }) => Why::Off(card_switch(*card)),
            ("MEMBER_NOT_ACTIVE", What::Charge { code, .. }) => Why::Off(member_switch(code.member)),
            (
                "MERCHANT_INACTIVE",
                What::Charge { merchant, .. }
                | What::Refund { merchant, .. }
                | What::Cancel { merchant, .. }
                | What::Recharge { merchant: Some(merchant), .. },
            ) => Why::Off(merchant_switch(&world.merchants[*merchant].code)),
            ("IDEMPOTENCY_KEY_REUSED", _) => Why::Known(self.key.as_deref().map(by_key)),
            ("EXTERNAL_ORDER_CONFLICT", _) => Why::Known(self.known().order),
            // What is back already, or comes back by itself: the model adds that up. What a coupon paid all of may be cancelled.
            ("STATUS_CONFLICT", What::Compensate { original })
                if ["TX", "ZF"].iter().any(|kind| original.starts_with(kind)) =>
            {
                Why::Else
            }
            ("STATUS_CONFLICT", What::Compensate { original }) => Why::NotDone(original.clone()),
            _ => Why::Else,
        }
    }
}
