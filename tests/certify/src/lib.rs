//! Whether what clients were told can have happened one thing after another: a history of operations (who asked what, when, and what came
//! back) against the order that the books carry. Strict serializability with a known order of versions is that a graph has no cycle, so
//! it is decided, not searched for, in time that grows with the history.
//!
//! Pure functions on numbers: nothing here knows Postgres, MPS or the storm. Whoever writes a history down gives numbers to what it names
//! (cards, transactions, requests), each from 0 on without large gaps.

mod claims;
mod codes;
mod graph;
mod order;
mod pages;
mod reasons;
pub mod sabotage;
mod switches;

use graph::Graph;
use order::Order;

/// Nanoseconds of one clock that never goes back.
pub type Moment = u64;
/// The answer that never came.
pub const NEVER: Moment = Moment::MAX;

/// From just before something was asked to just after it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub asked: Moment,
    pub answered: Moment,
}

/// What has versions, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// The money of a card; a place is its `card_seq`.
    Balance(u32),
    /// The points of a card; a place is its `point_seq`.
    Points(u32),
    /// What is left of a payment, by its name; a place is how many refunds there are.
    Refunds(u32),
}

/// A movement of a card, as the books have it.
#[derive(Clone, Debug)]
pub struct Movement {
    /// What answers call it.
    pub name: u32,
    pub card: u32,
    pub place: u64,
    pub change: i64,
    pub after: i64,
    pub posted_at: i64,
    /// The name of the one before it on the card.
    pub previous: Option<u32>,
    /// The database transaction that wrote it: those with the same one were there at the same moment.
    pub transaction: u32,
    /// The lists that it is in, by the moment that it bears: its merchant's, its member's.
    pub lists: [Option<u32>; 2],
    pub refund: Option<Refund>,
}

/// Of which payment a movement gives something back, and what was left then.
#[derive(Clone, Debug)]
pub struct Refund {
    pub payment: u32,
    pub left: i64,
}

/// A change of a card's points, as the books have it: with the name of its movement, or one of its own.
#[derive(Clone, Debug)]
pub struct PointEntry {
    pub name: u32,
    pub card: u32,
    pub place: u64,
    pub change: i64,
    pub after: i64,
    pub transaction: u32,
}

/// The order of everything.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// The card that replaced each.
    pub replaced_by: Vec<Option<u32>>,
    pub movements: Vec<Movement>,
    pub points: Vec<PointEntry>,
    /// Which request a movement or an entry belongs to, by key, order or otherwise: request and name.
    pub asked_by: Vec<(u32, u32)>,
    /// Names of what is one thing: written by one transaction.
    pub together: Vec<(u32, u32)>,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    pub operations: Vec<Operation>,
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub span: Span,
    pub client: u32,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// It was answered as done.
    Did(Box<Did>),
    /// Nobody knows: no answer came.
    Lost(Asked),
    Refused(Asked, Because),
    Saw(Box<Saw>),
    /// A new pay code for a purse; `None` where the answer was lost.
    NewCode {
        purse: u32,
        code: Option<u32>,
    },
    /// Codes of a purse are dead from here on.
    DeadCodes {
        purse: u32,
    },
    /// Something that has to be on for others was switched.
    Switched {
        switch: u32,
        on: bool,
    },
}

/// By what a request is known again, and the code that it shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub request: Option<u32>,
    /// By what else it is known.
    pub order: Option<u32>,
    /// Purse and code.
    pub code: Option<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Fresh,
    Replayed,
    /// The answer does not say which.
    Unsaid,
    /// Written down, and has moved nothing yet.
    Waits,
}

#[derive(Clone, Debug)]
pub struct Did {
    pub asked: Asked,
    /// What was done, where the answer names it.
    pub name: Option<u32>,
    pub how: How,
    pub said: Said,
    /// Switches that must have been on.
    pub needs: Vec<u32>,
}

/// What an answer says of what was done; `None` where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub change: Option<i64>,
    pub after: Option<i64>,
    pub points: Option<i64>,
    pub points_after: Option<i64>,
    pub left: Option<i64>,
    /// Of everything that each answer to it has to repeat to the letter.
    pub letters: Option<u64>,
}

/// Whose money a refusal is about: of a card alone, or of the card that is there after all replacements.
#[derive(Clone, Copy, Debug)]
pub struct Purse {
    pub card: u32,
    pub with_successors: bool,
}

/// What a refusal says, where the books can tell whether it was so.
#[derive(Clone, Copy, Debug)]
pub enum Because {
    /// There was less than this.
    Poor { purse: Purse, price: i64 },
    /// With this there would have been more than the limit.
    Full { purse: Purse, amount: i64, limit: i64 },
    /// There was less than this left of a payment.
    TooMuchBack { payment: u32, amount: i64 },
    /// The code of the request was none any more.
    BadCode,
    /// This was off.
    Off { switch: u32 },
    /// This request was known, and another one.
    Known { request: u32 },
    /// This was done by then.
    Done { name: u32 },
    /// This was not done yet.
    NotDone { name: u32 },
    /// The books do not tell.
    Else,
}

/// What somebody saw in one snapshot.
#[derive(Clone, Debug, Default)]
pub struct Saw {
    pub seen: Vec<Seen>,
    pub pages: Vec<Page>,
    pub feeds: Vec<Feed>,
    /// Of all that was seen of balances: how many movements there are, and what they add up to.
    pub totals: Option<(u64, i64)>,
}

/// A state of an object: by its place, by what it was, or by both.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub object: Object,
    pub place: Option<u64>,
    pub value: Option<i64>,
}

/// The newest lines of an object, or those below one of them, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    pub object: Object,
    pub below: Option<u32>,
    pub limit: usize,
    pub lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub name: u32,
    pub place: u64,
    pub change: i64,
    pub after: Option<i64>,
}

/// The newest movements of a list by the moment that they bear, whatever their cards: names and changes.
#[derive(Clone, Debug)]
pub struct Feed {
    pub list: u32,
    pub limit: usize,
    pub lines: Vec<(u32, i64)>,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// A card's chain does not follow from itself: somebody wrote over somebody.
    LostUpdate,
    /// What belongs together was not written together.
    Torn,
    /// Answered, and not in the books.
    Missing,
    /// Refused, and in the books.
    RefusedPresent,
    /// In the books, and nobody asked for it.
    Unasked,
    /// Answered twice as done just now.
    DoneTwice,
    /// The answer says something else than the books.
    OtherValues,
    /// A replay says something else than the first answer, or than the books.
    OtherReplay,
    /// A read missed what had been answered before it was asked.
    StaleRead,
    /// A read saw what was asked for only after its answer.
    FutureRead,
    /// A read saw what never was.
    NeverWas,
    /// A page that is no piece of the chain.
    NotAPiece,
    /// What one snapshot saw was never there at one moment.
    NotOneCut,
    /// The order of the books is not that of the clock.
    Inverted,
    /// Transactions are each before the other.
    Crossed,
    /// Refused for something that was not so.
    Unjustified,
    /// One code paid twice.
    SpentTwice,
    /// A code paid that had been replaced.
    DeadCode,
    /// Done while something was off that has to be on.
    WhileOff,
}

#[derive(Clone, Debug)]
pub struct Finding {
    pub anomaly: Anomaly,
    /// The operations that show it, by their places in the history.
    pub operations: Vec<usize>,
    /// Movements and entries that it is about.
    pub names: Vec<u32>,
    pub text: String,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Certificate {
    pub findings: Vec<Finding>,
    pub operations: usize,
    pub reads: usize,
    pub replays: usize,
    pub refusals: usize,
    /// Operations that were never answered.
    pub unknown: usize,
    /// Refusals that the books could not speak to.
    pub unjudged: usize,
    /// Values that were read, and fitted several states.
    pub ambiguous: usize,
    pub nodes: usize,
    pub edges: usize,
}

impl Certificate {
    fn find(&mut self, anomaly: Anomaly, operations: &[usize], names: &[u32], text: String) {
        self.findings.push(Finding { anomaly, operations: operations.to_vec(), names: names.to_vec(), text });
    }

    fn count(&mut self, operation: &Operation) {
        self.operations += 1;
        match &operation.what {
            What::Did(did) if did.how == How::Replayed => self.replays += 1,
            What::Lost(_) | What::NewCode { code: None, .. } => self.unknown += 1,
            What::Refused(..) => self.refusals += 1,
            What::Saw(_) => self.reads += 1,
            _ => {}
        }
    }
}

/// Whether a history on one server is strictly serializable in the order of the books.
pub fn certify(books: &Books, history: &History) -> Certificate {
    let mut certificate = Certificate::default();
    history.operations.iter().for_each(|operation| certificate.count(operation));
    let mut order = Order::of(books, &mut certificate);
    claims::settle(books, history, &mut order, true, &mut certificate);
    order.narrow();
    codes::check(history, &mut certificate);
    switches::check(history, &mut certificate);
    reasons::check(books, history, &order, &mut certificate);
    let mut graph = Graph::of(&order);
    for (i, operation) in history.operations.iter().enumerate() {
        if let What::Saw(saw) = &operation.what {
            pages::check(i, operation.span, saw, &order, true, &mut graph, &mut certificate);
        }
    }
    graph.one_clock();
    graph.judge(&order, &mut certificate);
    certificate
}

/// Whether reads on a standby are such as a standby promises: there is an order of all transactions, which each card's order, what was
/// written together and the primary's clients' clock agree with, and each snapshot is a beginning of it, none shorter than one that was
/// answered before. Nothing is promised about how far it is behind, and the order need not be that in which readers on the primary saw
/// transactions appear.
pub fn certify_replica(books: &Books, history: &History, reads: &History) -> Certificate {
    let mut certificate = Certificate::default();
    let mut of_primary = Certificate::default();
    let mut order = Order::of(books, &mut of_primary);
    claims::settle(books, history, &mut order, false, &mut of_primary);
    order.narrow();
    let mut graph = Graph::of(&order);
    for (i, operation) in reads.operations.iter().enumerate() {
        certificate.count(operation);
        if let What::Saw(saw) = &operation.what {
            pages::check(i, operation.span, saw, &order, false, &mut graph, &mut certificate);
        }
    }
    graph.two_clocks();
    graph.judge(&order, &mut certificate);
    certificate
}
