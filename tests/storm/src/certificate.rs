//! The certificate: the clients' whole history against the order that the books carry. What is decided here is only what is what; whether
//! it can have been so is for `mps-certify`, which knows neither MPS nor the model.

use crate::history::{Done, FeedNote, Known, Look, Note, Noted, Of, PageNote, PurseKey, Why};
use crate::history::{
    by_confirmation, by_key, by_order, by_replacement, by_return, by_suspense, list_of_member, list_of_merchant,
};
use crate::verify::Report;
use crate::world::{MAX_BALANCE, World};
use mps_certify::sabotage::Liar;
use mps_certify::{
    Asked, Because, Books, Certificate, Did, Feed, History, How, Line, Movement, Object, Operation, Page, PointEntry,
    Purse, Refund, Saw, Seen, What, certify, certify_replica,
};
use postgres::Client;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;
use uuid::Uuid;

/// The order, with the transaction that wrote each: the row of the log that a movement has is never written again, that of the movement
/// itself is, by refunds.
const MOVEMENTS: &str = "SELECT t.id, t.tx_no, t.card_id, t.card_seq, \
           ((CASE WHEN t.tx_type IN ('payment', 'withdrawal') THEN -t.final_amount ELSE t.final_amount END) * 100)::bigint, \
           (t.balance_after * 100)::bigint, (extract(epoch FROM t.posted_at) * 1000000)::bigint, t.prev_tx_id, \
           m.code, t.original_tx_no, (t.refundable_left * 100)::bigint, t.idempotency_key, t.external_order_id, \
           t.tx_type::text, e.xmin::text::bigint, p.member_id \
    FROM app.transactions t JOIN audit.event_log e ON e.object_id = t.tx_no AND e.action = t.tx_type::text \
    LEFT JOIN app.merchants m ON m.id = t.merchant_id LEFT JOIN app.personal_cards p ON p.id = t.card_id WHERE t.card_seq IS NOT NULL";
const POINTS: &str = "SELECT l.card_id, l.point_seq, l.change, l.balance_after, l.tx_no, l.reason, l.xmin::text::bigint \
    FROM app.point_ledger l";
const CARDS: &str =
    "SELECT id, replaced_by FROM app.personal_cards UNION ALL SELECT id, NULL FROM app.enterprise_cards";
const SUSPENSE: &str = "SELECT id, credited_tx_no FROM app.suspense_payments WHERE credited_tx_no IS NOT NULL";

const RETURNED: &str = "SELECT refund_no, returned_tx_no FROM app.withdrawals WHERE returned_tx_no IS NOT NULL";

/// Characters of an operation in a finding: one that saw every card says more than anybody reads.
const SHOWN: usize = 500;

/// Gives numbers to what has names.
struct Numbers<T> {
    of: HashMap<T, u32>,
}

impl<T: Eq + Hash + Clone> Numbers<T> {
    fn new() -> Numbers<T> {
        Numbers { of: HashMap::new() }
    }

    fn of(&mut self, name: &T) -> u32 {
        if let Some(known) = self.of.get(name) {
            return *known;
        }
        let next = self.of.len() as u32;
        self.of.insert(name.clone(), next);
        next
    }
}

struct Numbering {
    names: Numbers<String>,
    cards: Numbers<Uuid>,
    requests: Numbers<String>,
    purses: Numbers<PurseKey>,
    codes: Numbers<String>,
    switches: Numbers<String>,
    lists: Numbers<String>,
    transactions: Numbers<i64>,
}

/// The books with the storm's history, in numbers.
pub struct Case {
    numbering: Numbering,
    books: Books,
    history: History,
    /// Client and step of each operation.
    by: Vec<(usize, u64)>,
}

impl Case {
    pub fn of(world: &World) -> Result<Case, postgres::Error> {
        let mut db = world.server.connect(&world.server.database, "mps-storm certificate")?;
        let mut numbering = Numbering {
            names: Numbers::new(),
            cards: Numbers::new(),
            requests: Numbers::new(),
            purses: Numbers::new(),
            codes: Numbers::new(),
            switches: Numbers::new(),
            lists: Numbers::new(),
            transactions: Numbers::new(),
        };
        let mut books = numbering.books(&mut db)?;
        let noted = world.server.take_history();
        let by = noted.iter().map(|noted| noted.by).collect();
        let history = numbering.history(noted);
        books.together.extend(sent_together(&history));
        Ok(Case { numbering, books, history, by })
    }

    /// Whether everything that the clients did and saw can have happened in the order of the books.
    pub fn judge(&self, report: &mut Report) {
        let began = Instant::now();
        let certificate = certify(&self.books, &self.history);
        println!("  certificate: {}, {:.0} ms", counts(&certificate), began.elapsed().as_secs_f64() * 1000.0);
        let found = self.findings(&certificate, &self.by, &self.history);
        report.check("what the clients did and saw is strictly serializable, in the order of the books", found);
    }

    /// What readers of a standby saw.
    pub fn judge_replica(&mut self, noted: Vec<Noted>, report: &mut Report) {
        let by: Vec<_> = noted.iter().map(|noted| noted.by).collect();
        let reads = self.numbering.history(noted);
        let began = Instant::now();
        let certificate = certify_replica(&self.books, &self.history, &reads);
        println!("  on the standby: {}, {:.0} ms", counts(&certificate), began.elapsed().as_secs_f64() * 1000.0);
        let mut found = self.findings(&certificate, &by, &reads);
        if certificate.reads == 0 {
            found.push("nobody read anything on the standby".into());
        }
        report.check("what was seen on a standby are beginnings of one order, none shorter than one before", found);
    }

    /// That the certificate would not be given to a history with one lie in it, as often as that.
    pub fn lie(&mut self, times: usize, seed: u64, report: &mut Report) {
        if times == 0 {
            return;
        }
        let began = Instant::now();
        let mut liar = Liar::new(&self.books, &self.history, seed);
        let (mut told, mut missed) = (0, vec![]);
        if !certify(&self.books, &self.history).findings.is_empty() {
            missed.push("something is found without a lie".to_owned());
        }
        for _ in 0..times {
            let Some(lie) = liar.lie(&mut self.history) else { break };
            told += 1;
            if certify(&self.books, &self.history).findings.is_empty() {
                missed.push(format!("{}: {:?}", lie.what, lie.before));
            }
            lie.take_back(&mut self.history);
        }
        if told < times {
            missed.push(format!("only {told} of {times} lies could be told"));
        }
        let took = began.elapsed().as_secs_f64();
        report.check(&format!("each of {told} lies in the history is found ({took:.1} s)"), missed);
    }

    fn findings(&self, certificate: &Certificate, by: &[(usize, u64)], history: &History) -> Vec<String> {
        let mut name_of: HashMap<u32, &str> = HashMap::new();
        if !certificate.findings.is_empty() {
            name_of.extend(self.numbering.names.of.iter().map(|(name, number)| (*number, name.as_str())));
        }
        let tell = |finding: &mps_certify::Finding| {
            let names: Vec<&str> = finding.names.iter().map(|n| name_of.get(n).copied().unwrap_or("?")).collect();
            let operations: Vec<String> = finding
                .operations
                .iter()
                .map(|i| {
                    let shown: String = format!("{:?}", history.operations[*i]).chars().take(SHOWN).collect();
                    format!("client {} step {}: {shown}", by[*i].0, by[*i].1)
                })
                .collect();
            format!("{:?}: {} ({}) {}", finding.anomaly, finding.text, names.join(", "), operations.join("; "))
        };
        certificate.findings.iter().map(tell).collect()
    }
}

/// What one transaction did, by its answer: two things of one client, from the same moment to the same moment.
fn sent_together(history: &History) -> Vec<(u32, u32)> {
    let done = |operation: &Operation| match &operation.what {
        What::Did(did) if did.how == How::Fresh => did.name,
        _ => None,
    };
    let pairs = history.operations.windows(2).filter(|pair| pair[0].span == pair[1].span);
    pairs.filter_map(|pair| done(&pair[0]).zip(done(&pair[1]))).collect()
}

fn counts(c: &Certificate) -> String {
    format!(
        "{} operations, {} reads ({} values fit several states), {} replays, {} refusals ({} not judged), {} unknown, {} nodes, {} edges",
        c.operations, c.reads, c.ambiguous, c.replays, c.refusals, c.unjudged, c.unknown, c.nodes, c.edges
    )
}

impl Numbering {
    fn books(&mut self, db: &mut Client) -> Result<Books, postgres::Error> {
        let mut books = Books::default();
        let cards: Vec<(Uuid, Option<Uuid>)> = db.query(CARDS, &[])?.iter().map(|r| (r.get(0), r.get(1))).collect();
        cards.iter().for_each(|(card, _)| _ = self.cards.of(card));
        books.replaced_by = vec![None; cards.len()];
        let mut replaced: HashMap<Uuid, Uuid> = HashMap::new();
        for (card, heir) in cards.iter().filter_map(|(card, heir)| Some((*card, (*heir)?))) {
            books.replaced_by[self.cards.of(&card) as usize] = Some(self.cards.of(&heir));
            replaced.insert(heir, card);
        }
        self.movements(db, &replaced, &mut books)?;
        self.points(db, &replaced, &mut books)?;
        for row in db.query(SUSPENSE, &[])? {
            let name = self.names.of(&row.get(1));
            books.asked_by.push((self.requests.of(&by_suspense(row.get(0))), name));
        }
        for row in db.query(RETURNED, &[])? {
            let name = self.names.of(&row.get(1));
            books.asked_by.push((self.requests.of(&by_return(row.get(0))), name));
        }
        Ok(books)
    }

    fn movements(
        &mut self,
        db: &mut Client,
        replaced: &HashMap<Uuid, Uuid>,
        books: &mut Books,
    ) -> Result<(), postgres::Error> {
        let rows = db.query(MOVEMENTS, &[])?;
        let by_id: HashMap<i64, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        // By number: the card, and the number that it belongs to.
        let known: HashMap<&str, (Uuid, Option<&str>)> =
            rows.iter().map(|row| (row.get(1), (row.get(2), row.get(9)))).collect();
        for row in &rows {
            let (tx_no, card): (String, Uuid) = (row.get(1), row.get(2));
            let name = self.names.of(&tx_no);
            let kind: &str = row.get(13);
            let original: Option<String> = row.get(9);
            let refund = (kind == "refund").then(|| Refund {
                payment: self.names.of(original.as_ref().expect("refunds have one")),
                left: row.get(10),
            });
            books.movements.push(Movement {
                name,
                card: self.cards.of(&card),
                place: row.get::<_, i64>(3) as u64,
                change: row.get(4),
                after: row.get(5),
                posted_at: row.get(6),
                previous: row.get::<_, Option<i64>>(7).map(|id| match by_id.get(&id) {
                    Some(tx_no) => self.names.of(tx_no),
                    None => u32::MAX,
                }),
                transaction: self.transactions.of(&row.get(14)),
                lists: [
                    row.get::<_, Option<&str>>(8).map(|code| self.lists.of(&list_of_merchant(code))),
                    row.get::<_, Option<Uuid>>(15).map(|member| self.lists.of(&list_of_member(member))),
                ],
                refund,
            });
            let mut requests = vec![];
            requests.extend(row.get::<_, Option<&str>>(11).map(by_key));
            requests.extend(row.get::<_, Option<&str>>(12).map(by_order));
            if kind == "recharge" {
                requests.push(by_confirmation(&tx_no));
            }
            // The halves of a replacement name each other.
            let other = original.as_deref().and_then(|original| known.get(original));
            let other = other.filter(|(_, back)| *back == Some(&tx_no));
            books.together.extend(other.map(|_| (name, self.names.of(original.as_ref().expect("names it")))));
            requests.extend(other.and_then(|(other, _)| {
                let pair = [(card, *other), (*other, card)];
                pair.into_iter().find(|(old, new)| replaced.get(new) == Some(old)).map(|(old, _)| by_replacement(old))
            }));
            books.asked_by.extend(requests.iter().map(|request| (self.requests.of(request), name)));
        }
        Ok(())
    }

    fn points(
        &mut self,
        db: &mut Client,
        replaced: &HashMap<Uuid, Uuid>,
        books: &mut Books,
    ) -> Result<(), postgres::Error> {
        for row in db.query(POINTS, &[])? {
            let (card, place): (Uuid, i64) = (row.get(0), row.get(1));
            let (tx_no, reason): (Option<String>, Option<String>) = (row.get(4), row.get(5));
            let name = match (tx_no, reason) {
                (Some(tx_no), _) => self.names.of(&tx_no),
                // A replacement of a card without money on it: the first line of the new one, the last of the old one.
                (None, Some(reason)) if reason == "storm" => {
                    let old = replaced.get(&card).copied().filter(|_| place == 1).unwrap_or(card);
                    let name = self.names.of(&format!("points of {card}, {place}"));
                    books.asked_by.push((self.requests.of(&by_replacement(old)), name));
                    name
                }
                // By hand: the reason is the key.
                (None, reason) => {
                    let key = reason.unwrap_or_default();
                    let name = self.names.of(&key);
                    books.asked_by.push((self.requests.of(&by_key(&key)), name));
                    name
                }
            };
            books.points.push(PointEntry {
                name,
                card: self.cards.of(&card),
                place: place as u64,
                change: row.get(2),
                after: row.get(3),
                transaction: self.transactions.of(&row.get(6)),
            });
        }
        Ok(())
    }

    fn history(&mut self, noted: Vec<Noted>) -> History {
        let operations = noted.into_iter().map(|noted| Operation {
            span: noted.span,
            client: noted.by.0 as u32,
            what: self.what(noted.note),
        });
        History { operations: operations.collect() }
    }

    fn what(&mut self, note: Note) -> What {
        match note {
            Note::Did(done) => What::Did(Box::new(self.did(*done))),
            Note::Lost(known) => What::Lost(self.asked(&known)),
            Note::Refused(known, why) => What::Refused(self.asked(&known), self.because(why)),
            Note::Saw(look) => What::Saw(Box::new(self.saw(*look))),
            Note::NewCode { purse, code } => {
                What::NewCode { purse: self.purses.of(&purse), code: code.map(|code| self.codes.of(&code)) }
            }
            Note::DeadCodes { purse } => What::DeadCodes { purse: self.purses.of(&purse) },
            Note::Switched { switch, on } => What::Switched { switch: self.switches.of(&switch), on },
        }
    }

    fn asked(&mut self, known: &Known) -> Asked {
        Asked {
            request: known.request.as_ref().map(|request| self.requests.of(request)),
            order: known.order.as_ref().map(|order| self.requests.of(order)),
            code: known.code.as_ref().map(|(purse, code)| (self.purses.of(purse), self.codes.of(code))),
        }
    }

    fn did(&mut self, done: Done) -> Did {
        Did {
            asked: self.asked(&done.known),
            name: done.name.map(|name| self.names.of(&name)),
            how: done.how,
            said: done.said,
            needs: done.needs.iter().map(|switch| self.switches.of(switch)).collect(),
        }
    }

    fn because(&mut self, why: Why) -> Because {
        match why {
            Why::Poor { card, with_successors, price } => {
                Because::Poor { purse: Purse { card: self.cards.of(&card), with_successors }, price }
            }
            Why::Full { card, with_successors, amount } => {
                let purse = Purse { card: self.cards.of(&card), with_successors };
                Because::Full { purse, amount, limit: MAX_BALANCE * 100 }
            }
            Why::TooMuchBack { payment, amount } => Because::TooMuchBack { payment: self.names.of(&payment), amount },
            Why::BadCode => Because::BadCode,
            Why::Off(switch) => Because::Off { switch: self.switches.of(&switch) },
            Why::Known(Some(request)) => Because::Known { request: self.requests.of(&request) },
            Why::Done(name) => Because::Done { name: self.names.of(&name) },
            Why::NotDone(name) => Because::NotDone { name: self.names.of(&name) },
            Why::Known(None) | Why::Else => Because::Else,
        }
    }

    fn object(&mut self, of: &Of) -> Object {
        match of {
            Of::Balance(card) => Object::Balance(self.cards.of(card)),
            Of::Points(card) => Object::Points(self.cards.of(card)),
            Of::Refunds(payment) => Object::Refunds(self.names.of(payment)),
        }
    }

    fn saw(&mut self, look: Look) -> Saw {
        Saw {
            seen: look
                .seen
                .iter()
                .map(|(of, place, value)| Seen { object: self.object(of), place: *place, value: *value })
                .collect(),
            pages: look.pages.iter().map(|page| self.page(page)).collect(),
            feeds: look.feeds.iter().map(|feed| self.feed(feed)).collect(),
            totals: look.totals,
        }
    }

    fn page(&mut self, page: &PageNote) -> Page {
        Page {
            object: self.object(&page.of),
            below: page.below.as_ref().map(|name| self.names.of(name)),
            limit: page.limit,
            lines: page
                .lines
                .iter()
                .map(|(name, place, change, after)| Line {
                    name: self.names.of(name),
                    place: *place,
                    change: *change,
                    after: *after,
                })
                .collect(),
        }
    }

    fn feed(&mut self, feed: &FeedNote) -> Feed {
        Feed {
            list: self.lists.of(&feed.list),
            limit: feed.limit,
            lines: feed.lines.iter().map(|(name, change)| (self.names.of(name), *change)).collect(),
        }
    }
}
