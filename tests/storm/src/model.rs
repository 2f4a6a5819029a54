//! The storm's own books: what the clients were told, added up. Nothing here looks into the database, and no rule of the
//! extension is called: prices, levels and point shares are computed a second time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, RwLock};
use uuid::Uuid;

/// Money in whole cents.
pub type Cents = i64;

/// Reads `-12.34` as cents. Panics on anything else: the server writes numeric(14,2).
pub fn cents(text: &str) -> Cents {
    decimal(text, 2)
}

/// Reads a discount (`0.950`) as thousandths.
pub fn thousandths(text: &str) -> i64 {
    decimal(text, 3)
}

fn decimal(text: &str, places: usize) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    assert!(fraction.len() <= places, "more decimals than expected: {text}");
    sign * format!("{whole}{fraction:0<places$}").parse::<i64>().expect("a decimal number")
}

pub fn money(cents: Cents) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

/// What takes part times the discount, rounded half away from zero, and the rest; none is negative.
pub fn price(raw: Cents, excluded: Cents, discount: i64) -> Cents {
    ((raw - excluded) * discount + 500) / 1000 + excluded
}

/// Points for what was paid, at one point for a currency unit (the storm leaves that setting alone).
pub fn points_for(paid: Cents) -> i64 {
    paid / 100
}

/// Points that are gone once `refunded` of `paid` was given back; with the one refund of a payment of nothing, all of them.
pub fn points_taken_back(earned: i64, paid: Cents, refunded: Cents) -> i64 {
    if paid == 0 {
        return earned;
    }
    (i128::from(earned) * i128::from(refunded) / i128::from(paid)) as i64
}

/// A level of one version of the level table: minimum of points, discount in thousandths.
pub type Level = (i64, i64);

/// The levels of a version. Neighbouring versions share no minimum but 0, so that one UPDATE changes all of them without
/// two rows colliding on the way. Minima are low, so that cards cross them often.
pub fn levels(version: usize) -> [Level; 5] {
    let turn = (version % 4) as i64;
    std::array::from_fn(|i| {
        let i = i as i64;
        if i == 0 { (0, 1000) } else { (i * 1000 + turn * 37, 1000 - i * (40 + turn * 3)) }
    })
}

/// Level and discount for a number of points.
pub fn level_for(version: usize, points: i64) -> (i64, i64) {
    let table = levels(version);
    let level = table.iter().rposition(|(min, _)| *min <= points).unwrap_or(0);
    (level as i64, table[level].1)
}

/// The campaigns of the storm's shops, as `app.create_campaign` reads them. Which are on goes by a version, as the levels do: one more
/// with each, then none.
pub const CAMPAIGNS: [(&str, &str); 3] = [
    ("double", r#"{"code": "double", "name": "Double points", "kind": "points_multiplier", "value": 2}"#),
    ("lucky", r#"{"code": "lucky", "name": "3 more", "kind": "points_bonus", "value": 3, "min_spend": 20}"#),
    (
        "alone",
        r#"{"code": "alone", "name": "Half as many more", "kind": "points_multiplier", "value": 1.5, "exclusive": true}"#,
    ),
];

/// How many of them are on in a version.
pub fn campaigns_on(version: usize) -> usize {
    version % (CAMPAIGNS.len() + 1)
}

/// Points for what was paid of a part that takes part, by the campaigns of a version.
pub fn points_with(version: usize, paid: Cents, part: Cents) -> i64 {
    match campaigns_on(version) {
        0 => points_for(paid),
        1 => 2 * paid / 100,
        2 => 2 * paid / 100 + if part >= 2_000 && paid > 0 { 3 } else { 0 },
        _ => 3 * paid / 200,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardKind {
    Personal,
    Enterprise,
}

impl CardKind {
    pub fn label(self) -> &'static str {
        match self {
            CardKind::Personal => "personal",
            CardKind::Enterprise => "enterprise",
        }
    }
}

/// What a coupon takes off.
#[derive(Clone, Copy, Debug)]
pub enum Off {
    Amount(Cents),
    /// Per cent.
    Part(i64),
    /// All but this.
    AllBut(Cents),
}

/// A coupon of the storm's shops.
#[derive(Clone, Copy, Debug)]
pub struct Coupon {
    pub code: &'static str,
    pub off: Off,
    pub most: Option<Cents>,
    /// Else it takes the place of the card's discount.
    pub on_top: bool,
    pub comes_back: bool,
    pub budget: Option<Cents>,
    pub limit: Option<i64>,
    /// As `app.create_coupon` reads it.
    pub json: &'static str,
}

pub const COUPONS: [Coupon; 4] = [
    Coupon {
        code: "five",
        off: Off::Amount(500),
        most: None,
        on_top: true,
        comes_back: true,
        budget: Some(30_000),
        limit: None,
        json: r#"{"code": "five", "name": "5 off", "kind": "amount_off", "value": 5, "claimable": true, "budget_amount": 300}"#,
    },
    Coupon {
        code: "fifth",
        off: Off::Part(20),
        most: Some(800),
        on_top: true,
        comes_back: true,
        budget: None,
        limit: None,
        json: r#"{"code": "fifth", "name": "20 %", "kind": "percent_off", "value": 20, "max_discount": 8, "claimable": true}"#,
    },
    Coupon {
        code: "coffee",
        off: Off::AllBut(990),
        most: None,
        on_top: true,
        comes_back: false,
        budget: None,
        limit: Some(300),
        json: r#"{"code": "coffee", "name": "Coffee for 9.90", "kind": "fixed_price", "value": 9.9, "claimable": true,
                  "issue_limit": 300, "on_full_refund": "keep_used"}"#,
    },
    Coupon {
        code: "instead",
        off: Off::Part(15),
        most: None,
        on_top: false,
        comes_back: true,
        budget: None,
        limit: None,
        json: r#"{"code": "instead", "name": "15 % and no more", "kind": "percent_off", "value": 15, "claimable": true,
                  "goes_with_level_discount": false}"#,
    },
];

impl Coupon {
    /// What it takes off a price.
    pub fn takes_off(&self, price: Cents) -> Cents {
        let off = match self.off {
            Off::Amount(value) => price.min(value),
            // What is left is rounded, half up.
            Off::Part(percent) => price - (price * (100 - percent) + 50) / 100,
            Off::AllBut(value) => (price - value).max(0),
        };
        self.most.map_or(off, |most| off.min(most))
    }
}

/// A coupon that a member has.
#[derive(Clone, Debug)]
pub struct Right {
    pub number: String,
    pub member: Uuid,
}

/// One purse: an enterprise card, or a personal card with the cards that replaced it.
#[derive(Debug)]
pub struct Account {
    pub kind: CardKind,
    /// The owner; of an enterprise card the admin that stays.
    pub owner: Uuid,
    /// Who pays with it.
    pub members: Vec<Uuid>,
    /// In thousandths; of an enterprise card.
    pub fixed_discount: i64,
    /// Id and number of the card and of its replacements, newest last.
    pub cards: RwLock<Vec<(Uuid, String)>>,
}

impl Account {
    pub fn card(&self) -> Uuid {
        self.cards.read().expect("not poisoned").last().expect("has a card").0
    }

    pub fn card_no(&self) -> String {
        self.cards.read().expect("not poisoned").last().expect("has a card").1.clone()
    }
}

/// An account and its index.
pub type Numbered = (usize, Arc<Account>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Payment,
    Refund,
    Recharge,
    Adjustment,
    Withdrawal,
    /// Points by hand: no transaction; known by its key.
    Points,
}

/// One thing that the server said it did, as the first answer told it.
#[derive(Clone, Debug)]
pub struct Fact {
    pub kind: Kind,
    /// Index of the account.
    pub account: usize,
    /// Signed: what it does to the balance once it is credited.
    pub change: Cents,
    pub raw: Cents,
    /// Of that, what takes no part in discounts and points.
    pub excluded: Cents,
    /// The number of the coupon that was shown, and what it took off.
    pub coupon: Option<(String, Cents)>,
    pub paid: Cents,
    pub discount: i64,
    pub points: i64,
    pub original: Option<String>,
    pub created_at: String,
    /// Told by a cancellation alone, which says neither points nor when.
    pub in_short: bool,
    /// Everything that a replay must repeat to the letter.
    pub said: String,
    /// The versions of the level table that were live at some moment between question and answer.
    pub levels: (usize, usize),
    /// As many of the campaigns.
    pub campaigns: (usize, usize),
    /// How often it was answered as done just now.
    pub fresh: u32,
    /// One of its requests lost its connection: the fresh answer may have been lost with it.
    pub lost: bool,
    /// Credited with the first answer; else once confirmed.
    pub at_once: bool,
    pub confirmed: bool,
    pub failed: bool,
    /// Which client and which of its operations, for reading a report.
    pub by: String,
}

impl Fact {
    pub fn credited(&self) -> bool {
        self.at_once || self.confirmed
    }
}

/// Money that was paid for a recharge that had its money already.
#[derive(Clone, Debug)]
pub struct Suspense {
    pub id: i64,
    pub amount: Cents,
    /// What became of it, by the answers, and with which transaction.
    pub resolved: Option<(String, Option<String>)>,
}

/// One refund number of a withdrawal, as its answers told it.
#[derive(Clone, Debug)]
pub struct Refund {
    pub account: usize,
    /// The withdrawal.
    pub tx_no: String,
    pub source: String,
    pub trade: Option<String>,
    pub amount: Cents,
    /// By how it goes out alone.
    pub at_once: bool,
    /// Somebody was told that the payer has it.
    pub paid: bool,
    /// The adjustment that gave it back.
    pub returned: Option<String>,
}

impl Refund {
    pub fn status(&self) -> &'static str {
        match (self.at_once || self.paid, self.returned.is_some()) {
            (true, true) => "paid_after_return",
            (true, false) => "completed",
            (false, true) => "returned",
            (false, false) => "processing",
        }
    }
}

/// All of it.
#[derive(Default)]
pub struct Books {
    pub facts: BTreeMap<String, Fact>,
    /// Old card to new card.
    pub replaced: HashMap<Uuid, Uuid>,
    /// Cards that a client closed, empty.
    pub closed: Vec<Uuid>,
    /// What should not have been answered.
    pub wrong: Vec<String>,
    /// Payments that the gateway took once too often, by trade number.
    pub suspense: BTreeMap<String, Suspense>,
    /// What withdrawals took of each source, by refund number.
    pub refunds: BTreeMap<String, Refund>,
    /// What members have of coupons: which of [`COUPONS`], and who, by number.
    pub rights: BTreeMap<String, (usize, Uuid)>,
    /// Those that were taken back.
    pub revoked: BTreeSet<String>,
    /// Number of answers by operation and outcome.
    pub tally: BTreeMap<(&'static str, String), u64>,
}

impl Books {
    /// Enters an answer: as new, or compared with what was said before.
    pub fn enter(&mut self, id: &str, fact: Fact) {
        let Some(known) = self.facts.get_mut(id) else {
            self.facts.insert(id.to_owned(), fact);
            return;
        };
        // It was done after the first of its requests was sent, and before the first of them was answered.
        let narrower = |a: (usize, usize), b: (usize, usize)| (a.0.min(b.0), a.1.min(b.1));
        known.levels = narrower(known.levels, fact.levels);
        known.campaigns = narrower(known.campaigns, fact.campaigns);
        known.fresh += fact.fresh;
        known.lost |= fact.lost;
        let same = match known.in_short == fact.in_short {
            true => known.said == fact.said,
            false => (known.paid, &known.original, known.account) == (fact.paid, &fact.original, fact.account),
        };
        if !same || known.kind != fact.kind {
            let text = format!("{}: {id} was answered as {} and now as {}", fact.by, known.said, fact.said);
            self.wrong.push(text);
        }
        if known.in_short && !fact.in_short {
            (known.said, known.points, known.created_at) = (fact.said, fact.points, fact.created_at);
            (known.discount, known.in_short) = (fact.discount, false);
        }
    }

    /// What cancellations did not say: that with the last of a payment all its points are gone.
    pub fn fill_in(&mut self) {
        let mut gone: BTreeMap<String, i64> = BTreeMap::new();
        for fact in self.facts.values().filter(|fact| fact.kind == Kind::Refund && !fact.in_short) {
            *gone.entry(fact.original.clone().expect("refunds have one")).or_default() -= fact.points;
        }
        let earned: BTreeMap<String, i64> = self.facts.iter().map(|(id, fact)| (id.clone(), fact.points)).collect();
        for fact in self.facts.values_mut().filter(|fact| fact.in_short) {
            let payment = fact.original.as_ref().expect("refunds have one");
            let earned = earned.get(payment).copied().unwrap_or(0);
            // There is one last refund.
            fact.points = gone.insert(payment.clone(), earned).unwrap_or(0) - earned;
        }
    }

    /// Payments that have a refund, by the answers, however little it gave back.
    pub fn given_back(&self) -> BTreeSet<&str> {
        let refunds = self.facts.values().filter(|fact| fact.kind == Kind::Refund);
        refunds.filter_map(|fact| fact.original.as_deref()).collect()
    }
}

/// Which version of the level table, or of the campaigns, is in force; changed by one client at a time.
#[derive(Default)]
pub struct VersionClock {
    pub turn: Mutex<()>,
    pub begun: std::sync::atomic::AtomicUsize,
    pub done: std::sync::atomic::AtomicUsize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_money() {
        for (text, value) in [("12.34", 1234), ("-0.05", -5), ("7", 700), ("0.5", 50), ("-12", -1200)] {
            assert_eq!(cents(text), value, "{text}");
        }
        assert_eq!(thousandths("0.950"), 950);
        assert_eq!(thousandths("1"), 1000);
        assert_eq!(money(-5), "-0.05");
    }

    #[test]
    fn neighbouring_level_tables_share_no_minimum() {
        for version in 0..4 {
            let next = levels(version + 1);
            assert!(levels(version)[1..].iter().all(|(min, _)| next[1..].iter().all(|(other, _)| min != other)));
            assert_eq!(level_for(version, -1), (0, 1000));
        }
        assert_eq!(level_for(0, 1000).0, 1);
        assert_eq!(level_for(0, 999).0, 0);
    }
}
