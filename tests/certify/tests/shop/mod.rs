//! A shop that does one thing after another, and clients whose questions and answers overlap around it: a history that is valid because
//! of how it was made.

use mps_certify::{
    Asked, Because, Books, Did, Feed, History, How, Line, Movement, Object, Operation, Page, PointEntry, Purse, Refund,
    Said, Saw, Seen, Span, What,
};
use std::collections::HashMap;

const START: i64 = 1_000_000;
/// Nanoseconds between two effects, and how far questions and answers lie around them.
const STEP: u64 = 10;
const AROUND: u64 = 300;
const MERCHANTS: u64 = 4;
const PAGE: usize = 5;

/// Numbers by splitmix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

#[derive(Clone, Default)]
struct Card {
    balance: i64,
    points: i64,
    movements: Vec<u32>,
    entries: u64,
}

/// A payment that can be given back.
#[derive(Clone, Copy)]
struct Payment {
    name: u32,
    card: u32,
    merchant: u32,
    left: i64,
    refunds: u64,
}

pub struct Shop {
    pub books: Books,
    pub history: History,
    pub dice: Dice,
    cards: Vec<Card>,
    payments: Vec<Payment>,
    /// Places in the history of what was done with a key.
    keyed: Vec<usize>,
    feeds: Vec<Vec<u32>>,
    /// Places in the books, by name.
    place_of: HashMap<u32, usize>,
    moment: u64,
    names: u32,
    transactions: u32,
}

impl Shop {
    pub fn new(seed: u64, cards: usize) -> Shop {
        let mut shop = Shop {
            books: Books { replaced_by: vec![None; cards], ..Books::default() },
            history: History::default(),
            dice: Dice(seed),
            cards: vec![Card::default(); cards],
            payments: vec![],
            keyed: vec![],
            feeds: vec![vec![]; MERCHANTS as usize],
            place_of: HashMap::new(),
            moment: 1_000,
            names: 0,
            transactions: 0,
        };
        for card in 0..cards as u32 {
            shop.do_something(card, START, None, None, 0);
        }
        shop
    }

    /// Goes on until there are so many operations.
    pub fn run(&mut self, operations: usize) {
        while self.history.operations.len() < operations {
            // Half of it on a few hot cards.
            let card = self.any_card();
            match self.dice.below(100) {
                0..=34 => self.charge(card),
                35..=49 => {
                    let amount = 1 + self.dice.below(20_000) as i64;
                    self.do_something(card, amount, None, None, 0);
                }
                50..=57 => self.refund(),
                58..=60 => self.transfer(card),
                61..=70 => self.replay(),
                71..=76 => self.refuse(card),
                77 => self.lose(card),
                78..=87 => self.page(card),
                88..=93 => self.feed(),
                _ => self.snapshot(),
            }
        }
    }

    fn any_card(&mut self) -> u32 {
        let hot = self.dice.below(2) == 0;
        let cards = self.cards.len() as u64;
        (if hot { self.dice.below(5.min(cards)) } else { self.dice.below(cards) }) as u32
    }

    /// The next moment at which something happens, and a span around it.
    fn span(&mut self) -> Span {
        self.moment += STEP;
        let asked = self.moment - self.dice.below(AROUND);
        Span { asked, answered: self.moment + self.dice.below(AROUND) }
    }

    pub fn add(&mut self, span: Span, what: What) {
        let client = self.dice.below(64) as u32;
        self.history.operations.push(Operation { span, client, what });
    }

    /// A movement in the books, in the transaction that is under way.
    fn write(
        &mut self,
        card: u32,
        change: i64,
        merchant: Option<u32>,
        refund: Option<Refund>,
        points: i64,
    ) -> (u32, Said) {
        let name = self.names;
        self.names += 1;
        let left = refund.as_ref().map(|r| r.left);
        let held = &mut self.cards[card as usize];
        held.balance += change;
        let previous = held.movements.last().copied();
        held.movements.push(name);
        self.place_of.insert(name, self.books.movements.len());
        self.books.movements.push(Movement {
            name,
            card,
            place: held.movements.len() as u64,
            change,
            after: held.balance,
            posted_at: self.moment as i64,
            previous,
            transaction: self.transactions,
            lists: [merchant, None],
            refund,
        });
        if points != 0 {
            held.points += points;
            held.entries += 1;
            let (place, after) = (held.entries, held.points);
            self.books.points.push(PointEntry {
                name,
                card,
                place,
                change: points,
                after,
                transaction: self.transactions,
            });
        }
        if let Some(merchant) = merchant {
            self.feeds[merchant as usize].push(name);
        }
        // By chance some are known by a key, which bears the name's number.
        self.books.asked_by.push((name, name));
        let said = Said {
            change: Some(change),
            after: Some(held.balance),
            points: Some(points),
            points_after: None,
            left,
            letters: Some(u64::from(name) * 31),
        };
        (name, said)
    }

    fn do_something(
        &mut self,
        card: u32,
        change: i64,
        merchant: Option<u32>,
        refund: Option<Refund>,
        points: i64,
    ) -> u32 {
        let span = self.span();
        let (name, said) = self.write(card, change, merchant, refund, points);
        self.transactions += 1;
        self.answer(span, name, said);
        name
    }

    fn answer(&mut self, span: Span, name: u32, said: Said) {
        self.keyed.push(self.history.operations.len());
        let asked = Asked { request: Some(name), ..Asked::default() };
        self.add(span, What::Did(Box::new(Did { asked, name: Some(name), how: How::Fresh, said, needs: vec![] })));
    }

    fn charge(&mut self, card: u32) {
        let price = 1 + self.dice.below(8_000) as i64;
        if self.cards[card as usize].balance < price {
            return self.refuse(card);
        }
        let merchant = self.dice.below(MERCHANTS) as u32;
        let name = self.do_something(card, -price, Some(merchant), None, price / 100);
        self.payments.push(Payment { name, card, merchant, left: price, refunds: 0 });
    }

    fn refund(&mut self) {
        if self.payments.is_empty() {
            return;
        }
        let newest = 200.min(self.payments.len() as u64);
        let i = self.payments.len() - 1 - self.dice.below(newest) as usize;
        let payment = self.payments[i];
        if payment.left == 0 {
            return;
        }
        let amount = 1 + self.dice.below(payment.left as u64) as i64;
        let left = payment.left - amount;
        (self.payments[i].left, self.payments[i].refunds) = (left, payment.refunds + 1);
        let refund = Refund { payment: payment.name, left };
        self.do_something(payment.card, amount, Some(payment.merchant), Some(refund), -(amount / 100));
    }

    /// Two movements in one transaction.
    fn transfer(&mut self, card: u32) {
        let other = self.any_card();
        let amount = 1 + self.dice.below(5_000) as i64;
        if other == card || self.cards[card as usize].balance < amount {
            return;
        }
        let span = self.span();
        let (out, said_of_out) = self.write(card, -amount, None, None, 0);
        let (into, said_of_into) = self.write(other, amount, None, None, 0);
        self.transactions += 1;
        self.answer(span, out, said_of_out);
        self.answer(span, into, said_of_into);
    }

    fn replay(&mut self) {
        let at = self.keyed[self.dice.below(self.keyed.len() as u64) as usize];
        let What::Did(did) = self.history.operations[at].what.clone() else { return };
        let span = self.span();
        self.add(span, What::Did(Box::new(Did { how: How::Replayed, ..*did })));
    }

    fn refuse(&mut self, card: u32) {
        let span = self.span();
        let price = self.cards[card as usize].balance + 1 + self.dice.below(1_000) as i64;
        let because = Because::Poor { purse: Purse { card, with_successors: false }, price };
        self.names += 1;
        self.add(span, What::Refused(Asked { request: Some(self.names - 1), ..Asked::default() }, because));
    }

    /// Nobody is told; it was done every other time.
    fn lose(&mut self, card: u32) {
        let span = self.span();
        let name = match self.dice.below(2) {
            0 => {
                let (name, _) = self.write(card, 100, None, None, 0);
                self.transactions += 1;
                name
            }
            _ => {
                self.names += 1;
                self.names - 1
            }
        };
        self.add(span, What::Lost(Asked { request: Some(name), ..Asked::default() }));
    }

    fn state(&self, card: u32) -> Seen {
        let held = &self.cards[card as usize];
        let place = Some(held.movements.len() as u64);
        Seen { object: Object::Balance(card), place, value: Some(held.balance) }
    }

    fn page(&mut self, card: u32) {
        let span = self.span();
        let newest = self.cards[card as usize].movements.iter().rev().take(PAGE);
        let lines = newest.map(|name| {
            let m = &self.books.movements[self.place_of[name]];
            Line { name: *name, place: m.place, change: m.change, after: Some(m.after) }
        });
        let page = Page { object: Object::Balance(card), below: None, limit: PAGE, lines: lines.collect() };
        let seen = match self.dice.below(2) {
            0 => vec![],
            _ => vec![Seen { object: Object::Balance(card), place: None, value: self.state(card).value }],
        };
        self.add(span, What::Saw(Box::new(Saw { pages: vec![page], seen, ..Saw::default() })));
    }

    fn feed(&mut self) {
        let span = self.span();
        let merchant = self.dice.below(MERCHANTS) as u32;
        let newest = self.feeds[merchant as usize].iter().rev().take(PAGE);
        let lines = newest.map(|name| (*name, self.books.movements[self.place_of[name]].change));
        let feed = Feed { list: merchant, limit: PAGE, lines: lines.collect() };
        self.add(span, What::Saw(Box::new(Saw { feeds: vec![feed], ..Saw::default() })));
    }

    /// Several cards, points, and what is left of a payment, in one snapshot.
    fn snapshot(&mut self) {
        let span = self.span();
        let cards: Vec<u32> = (0..3).map(|_| self.any_card()).collect();
        let mut seen: Vec<Seen> = cards.iter().map(|card| self.state(*card)).collect();
        for card in cards {
            let held = &self.cards[card as usize];
            let (place, value) = (Some(held.entries), Some(held.points));
            seen.push(Seen { object: Object::Points(card), place, value });
        }
        if !self.payments.is_empty() {
            let payment = self.payments[self.dice.below(self.payments.len() as u64) as usize];
            let (place, value) = (Some(payment.refunds), Some(payment.left));
            seen.push(Seen { object: Object::Refunds(payment.name), place, value });
        }
        self.add(span, What::Saw(Box::new(Saw { seen, ..Saw::default() })));
    }
}
