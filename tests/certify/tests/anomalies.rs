//! Histories made by hand, each with one anomaly, which is found and called by its name.

use mps_certify::Anomaly::{
    Crossed, DeadCode, DoneTwice, FutureRead, Inverted, LostUpdate, Missing, NeverWas, NotAPiece, NotOneCut,
    OtherReplay, OtherValues, RefusedPresent, SpentTwice, StaleRead, Torn, Unasked, Unjustified, WhileOff,
};
use mps_certify::{
    Anomaly, Asked, Because, Books, Did, Feed, History, How, Line, Movement, Object, Operation, Page, PointEntry,
    Purse, Refund, Said, Saw, Seen, Span, What, certify, certify_replica,
};

/// A history, and books with cards that begin empty.
#[derive(Clone, Default)]
struct Made {
    books: Books,
    history: History,
}

fn made() -> Made {
    Made { books: Books { replaced_by: vec![None; 3], ..Books::default() }, ..Made::default() }
}

fn span(asked: u64, answered: u64) -> Span {
    Span { asked, answered }
}

fn request(request: u32) -> Asked {
    Asked { request: Some(request), ..Asked::default() }
}

fn state(card: u32, place: u64) -> Seen {
    Seen { object: Object::Balance(card), place: Some(place), value: None }
}

impl Made {
    fn op(mut self, at: (u64, u64), what: What) -> Made {
        self.history.operations.push(Operation { span: span(at.0, at.1), client: 0, what });
        self
    }

    /// A movement in the books, as the next one of its card, of a transaction of its own.
    fn moved(self, name: u32, card: u32, change: i64) -> Made {
        self.moved_in(name, name, card, change)
    }

    fn moved_in(mut self, transaction: u32, name: u32, card: u32, change: i64) -> Made {
        let before = self.books.movements.iter().rev().find(|m| m.card == card);
        self.books.movements.push(Movement {
            name,
            card,
            place: before.map_or(1, |m| m.place + 1),
            change,
            after: before.map_or(0, |m| m.after) + change,
            posted_at: 1_000 + i64::from(name),
            previous: before.map(|m| m.name),
            transaction,
            lists: [Some(0), None],
            refund: None,
        });
        self.books.asked_by.push((name, name));
        self
    }

    fn gave_back(mut self, payment: u32, left: i64) -> Made {
        self.books.movements.last_mut().expect("one").refund = Some(Refund { payment, left });
        self
    }

    fn points(mut self, transaction: u32, name: u32, card: u32, change: i64) -> Made {
        let before = self.books.points.iter().rev().find(|p| p.card == card);
        let (place, after) = (before.map_or(1, |p| p.place + 1), before.map_or(0, |p| p.after) + change);
        self.books.points.push(PointEntry { name, card, place, change, after, transaction });
        self
    }

    fn did_as(self, at: (u64, u64), name: u32, how: How, said: Said) -> Made {
        self.op(at, What::Did(Box::new(Did { asked: request(name), name: Some(name), how, said, needs: vec![] })))
    }

    fn did(self, at: (u64, u64), name: u32) -> Made {
        self.did_as(at, name, How::Fresh, Said::default())
    }

    /// Both at once: in the books, and answered.
    fn done(self, at: (u64, u64), name: u32, card: u32, change: i64) -> Made {
        self.moved(name, card, change).did(at, name)
    }

    fn saw(self, at: (u64, u64), seen: &[Seen]) -> Made {
        self.op(at, What::Saw(Box::new(Saw { seen: seen.to_vec(), ..Saw::default() })))
    }

    fn page(self, at: (u64, u64), places: &[u64]) -> Made {
        let line = |place: &u64| {
            let m = self.books.movements.iter().find(|m| m.card == 0 && m.place == *place).expect("is there");
            Line { name: m.name, place: *place, change: m.change, after: Some(m.after) }
        };
        let lines = places.iter().map(line).collect();
        let page = Page { object: Object::Balance(0), below: None, limit: 3, lines };
        self.op(at, What::Saw(Box::new(Saw { pages: vec![page], ..Saw::default() })))
    }

    fn refused(self, at: (u64, u64), because: Because) -> Made {
        self.op(at, What::Refused(request(90), because))
    }

    #[track_caller]
    fn is(self, due: &[Anomaly]) {
        let certificate = certify(&self.books, &self.history);
        let mut found: Vec<Anomaly> = certificate.findings.iter().map(|f| f.anomaly).collect();
        found.dedup();
        assert_eq!(found, due, "{:#?}", certificate.findings);
    }
}

fn said(change: i64, after: i64) -> Said {
    Said { change: Some(change), after: Some(after), ..Said::default() }
}

/// Ten on card 0, then ten more.
fn two() -> Made {
    made().done((10, 20), 0, 0, 10).done((30, 40), 1, 0, 10)
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    made().is(&[]);
    two().is(&[]);
    // At the same time, in either order.
    made().moved(1, 0, 5).moved(0, 0, 5).did((10, 40), 0).did((20, 30), 1).is(&[LostUpdate]);
    let mut both = made().moved(1, 0, 5).moved(0, 0, 5).did((10, 40), 0).did((20, 30), 1);
    both.books.movements[1].posted_at = 2_000;
    both.is(&[]);
    two().did_as((50, 60), 0, How::Replayed, said(10, 10)).is(&[]);
    two().page((50, 60), &[2, 1]).saw((50, 60), &[state(0, 2), state(1, 0)]).is(&[]);
    // A read beside a movement saw it or not.
    two().saw((35, 50), &[state(0, 1)]).saw((35, 36), &[state(0, 2)]).is(&[]);
}

#[test]
fn a_lost_update() {
    // Both took the ten that were there for their beginning.
    let mut lost = made().done((10, 20), 0, 0, 10).done((30, 40), 1, 0, -4).done((31, 41), 2, 0, -3);
    lost.books.movements[2].after = 7;
    lost.is(&[LostUpdate]);
    let mut gap = two();
    gap.books.movements[1].place = 3;
    gap.is(&[LostUpdate]);
    let mut earlier = two();
    earlier.books.movements[1].posted_at = 1;
    earlier.is(&[LostUpdate]);
    let mut other = two();
    other.books.movements[1].previous = None;
    other.is(&[LostUpdate]);
}

#[test]
fn answers_that_the_books_do_not_have() {
    two().did((50, 60), 7).is(&[Missing]);
    two().moved(2, 0, 1).is(&[Unasked]);
    two().moved(2, 0, 1).op((50, 60), What::Refused(request(2), Because::Else)).is(&[RefusedPresent]);
    two().did((50, 60), 1).is(&[DoneTwice]);
    // One that nobody answered is there or not.
    two().moved(2, 0, 1).op((50, u64::MAX), What::Lost(request(2))).is(&[]);
    two().op((50, u64::MAX), What::Lost(request(2))).is(&[]);
    // Refused, and then sent again and done.
    two().op((50, 60), What::Refused(request(2), Because::Else)).done((70, 80), 2, 0, 1).is(&[]);
}

#[test]
fn answers_that_say_something_else() {
    made().moved(0, 0, 10).did_as((10, 20), 0, How::Fresh, said(10, 11)).is(&[OtherValues]);
    made().moved(0, 0, 10).did_as((10, 20), 0, How::Fresh, said(9, 10)).is(&[OtherValues]);
    two().did_as((50, 60), 0, How::Replayed, said(10, 20)).is(&[OtherReplay]);
    let letters = |letters| Said { letters: Some(letters), ..Said::default() };
    let first = || made().moved(0, 0, 10).did_as((10, 20), 0, How::Fresh, letters(1));
    first().did_as((30, 40), 0, How::Replayed, letters(1)).is(&[]);
    first().did_as((30, 40), 0, How::Replayed, letters(2)).is(&[OtherReplay]);
    // What waits is answered the same as well, and what becomes of it says nothing new.
    let waits = |at, letters| made().did_as(at, 0, How::Waits, Said { letters: Some(letters), ..Said::default() });
    waits((10, 20), 1).did_as((30, 40), 0, How::Waits, letters(1)).is(&[]);
    waits((10, 20), 1).did_as((30, 40), 0, How::Waits, letters(2)).is(&[OtherReplay]);
    let credited = || waits((10, 20), 1).done((30, 40), 0, 0, 10);
    credited().did_as((50, 60), 0, How::Replayed, letters(1)).is(&[]);
    credited().did_as((50, 60), 0, How::Replayed, letters(2)).is(&[OtherReplay]);
    // And is not told as waiting once it was told as done.
    credited().did_as((50, 60), 0, How::Waits, letters(1)).is(&[StaleRead]);
    // A replay that names another one.
    let other = Did { asked: request(0), name: Some(1), how: How::Replayed, said: Said::default(), needs: vec![] };
    two().op((50, 60), What::Did(Box::new(other))).is(&[OtherReplay]);
    // A replay of what was asked for only later.
    made().did_as((1, 2), 0, How::Replayed, Said::default()).done((10, 20), 0, 0, 5).is(&[FutureRead]);
}

#[test]
fn reads_of_one_card() {
    two().saw((50, 60), &[state(0, 1)]).is(&[StaleRead]);
    two().saw((1, 5), &[state(0, 1)]).is(&[FutureRead]);
    two().saw((50, 60), &[state(0, 3)]).is(&[NeverWas]);
    let value = |value| Seen { object: Object::Balance(0), place: None, value: Some(value) };
    two().saw((50, 60), &[value(20)]).is(&[]);
    two().saw((50, 60), &[value(10)]).is(&[StaleRead]);
    two().saw((1, 5), &[value(20)]).is(&[FutureRead]);
    two().saw((50, 60), &[value(15)]).is(&[NeverWas]);
    // Neither alone is old: the second movement was under way; but one had seen it.
    two().saw((31, 32), &[state(0, 2)]).saw((33, 34), &[state(0, 1)]).is(&[StaleRead]);
    // What nobody was told of counts as there once somebody has seen it.
    let lost = || made().done((10, 20), 0, 0, 10).moved(1, 0, 5).op((30, u64::MAX), What::Lost(request(1)));
    lost().saw((50, 60), &[state(0, 1)]).saw((70, 80), &[state(0, 2)]).is(&[]);
    lost().saw((50, 60), &[state(0, 2)]).saw((70, 80), &[state(0, 1)]).is(&[StaleRead]);
}

#[test]
fn pages() {
    let three = || two().done((50, 60), 2, 0, -5);
    three().page((70, 80), &[3, 2, 1]).is(&[]);
    three().page((70, 80), &[3, 1]).is(&[NotAPiece]);
    three().page((70, 80), &[3, 2]).is(&[NotAPiece]);
    three().page((70, 80), &[2, 1]).is(&[StaleRead]);
    three().page((70, 80), &[]).is(&[StaleRead]);
    let below = |below, places: &[u64]| {
        let mut made = three().page((70, 80), places);
        let What::Saw(saw) = &mut made.history.operations.last_mut().expect("one").what else { unreachable!() };
        saw.pages[0].below = Some(below);
        made
    };
    below(2, &[2, 1]).is(&[]);
    below(1, &[1]).is(&[]);
    below(2, &[1]).is(&[NotAPiece]);
    below(2, &[2]).is(&[NotAPiece]);
    below(8, &[2]).is(&[NeverWas]);
}

#[test]
fn a_snapshot_of_two_cards() {
    // One on each, at the same time; two readers who see them in different orders.
    let each = || made().done((10, 100), 0, 0, 5).done((10, 100), 1, 1, 5);
    each().saw((20, 90), &[state(0, 1), state(1, 0)]).is(&[]);
    each().saw((20, 90), &[state(0, 1), state(1, 0)]).saw((20, 90), &[state(0, 0), state(1, 1)]).is(&[NotOneCut]);
    // Written together, seen in part.
    let pair = || made().moved_in(0, 0, 0, 5).moved_in(0, 1, 1, 5).did((10, 100), 0).did((10, 100), 1);
    pair().saw((20, 90), &[state(0, 1), state(1, 1)]).is(&[]);
    pair().saw((20, 90), &[state(0, 1), state(1, 0)]).is(&[NotOneCut]);
    // Two who look at both and each change one (a write skew) see what was before.
    let skew = each().saw((20, 30), &[state(0, 0), state(1, 0)]).saw((20, 30), &[state(0, 0), state(1, 0)]);
    skew.clone().is(&[]);
    skew.saw((40, 50), &[state(0, 1), state(1, 0)]).saw((60, 70), &[state(0, 0), state(1, 1)]).is(&[StaleRead]);
    // A value beside a place.
    let value = Seen { object: Object::Balance(0), place: None, value: Some(5) };
    each().saw((20, 90), &[value, state(0, 1)]).is(&[]);
    each().saw((20, 90), &[value, state(0, 0)]).is(&[NotOneCut]);
    // Totals beside the cards.
    let totals = |totals| Saw { seen: vec![state(0, 1), state(1, 1)], totals: Some(totals), ..Saw::default() };
    pair().op((200, 210), What::Saw(Box::new(totals((2, 10))))).is(&[]);
    pair().op((200, 210), What::Saw(Box::new(totals((2, 9))))).is(&[NotOneCut]);
}

#[test]
fn the_clock_and_what_belongs_together() {
    // The books put first what was asked for last.
    made().moved(0, 0, 5).moved(1, 0, 5).did((30, 40), 0).did((10, 20), 1).is(&[Inverted]);
    // Across cards, by what was written together: 1 before 2 on card 1, but 2 was over before 0, and so 1, began.
    let crossed = || made().moved_in(0, 0, 0, 5).moved_in(1, 1, 0, 5).moved_in(1, 2, 1, 5).moved_in(2, 3, 1, 5);
    crossed().did((30, 40), 0).did((35, 60), 1).did((35, 60), 2).did((50, 70), 3).is(&[]);
    crossed().did((30, 40), 0).did((1, 60), 1).did((1, 60), 2).did((10, 20), 3).is(&[Inverted]);
    // Halves of one thing.
    let mut halves = made().done((10, 20), 0, 0, -5).done((10, 20), 1, 1, 5);
    halves.books.together.push((0, 1));
    halves.is(&[Torn]);
    let mut one = made().moved_in(0, 0, 0, 5).moved_in(0, 1, 1, 5).did((10, 20), 0).did((10, 20), 1);
    one.books.together.push((0, 1));
    one.is(&[]);
    // Two transactions, each before the other.
    let mut circle = made().moved_in(0, 0, 0, 5).moved_in(1, 1, 0, 5).moved_in(1, 2, 1, 5).moved_in(0, 3, 1, 5);
    for name in 0..4 {
        circle = circle.did((1, 99), name);
    }
    circle.is(&[Crossed]);
}

#[test]
fn points_and_refunds() {
    let paid = || made().done((1, 2), 0, 0, 500).moved(1, 0, -300).points(1, 1, 0, 3).did((3, 4), 1);
    paid().is(&[]);
    made().done((1, 2), 0, 0, 500).moved(1, 0, -300).points(7, 1, 0, 3).did((3, 4), 1).is(&[Torn]);
    let points = |points| Said { points: Some(points), ..Said::default() };
    paid().did_as((5, 6), 1, How::Replayed, points(3)).is(&[]);
    paid().did_as((5, 6), 1, How::Replayed, points(4)).is(&[OtherReplay]);
    // By hand: the answer does not say whether it is the first.
    let after = |after| Said { points_after: Some(after), ..Said::default() };
    let by_hand = || paid().points(9, 5, 0, 10);
    let mut known = by_hand();
    known.books.asked_by.push((5, 5));
    known.clone().did_as((7, 8), 5, How::Unsaid, after(13)).is(&[]);
    known.clone().did_as((7, 8), 5, How::Unsaid, after(12)).is(&[OtherReplay]);
    known.is(&[Unasked]);

    let back = || paid().done((5, 6), 2, 0, 100).gave_back(1, 200).done((7, 8), 3, 0, 50).gave_back(1, 150);
    let left = |place, left| Seen { object: Object::Refunds(1), place: Some(place), value: Some(left) };
    back().saw((9, 10), &[left(2, 150)]).is(&[]);
    back().saw((9, 10), &[left(1, 200)]).is(&[StaleRead]);
    back().saw((9, 10), &[left(2, 160)]).is(&[NeverWas]);
    let mut lost = back();
    lost.books.movements[3].refund = Some(Refund { payment: 1, left: 250 });
    // By what was left the second is the first.
    lost.is(&[LostUpdate, Crossed]);
    back().refused((9, 10), Because::TooMuchBack { payment: 1, amount: 151 }).is(&[]);
    back().refused((9, 10), Because::TooMuchBack { payment: 1, amount: 150 }).is(&[Unjustified]);
    // The second refund was under way.
    back().refused((5, 6), Because::TooMuchBack { payment: 1, amount: 201 }).is(&[]);
    paid().refused((9, 10), Because::TooMuchBack { payment: 1, amount: 301 }).is(&[]);
    paid().refused((9, 10), Because::TooMuchBack { payment: 1, amount: 300 }).is(&[Unjustified]);
}

#[test]
fn refusals() {
    let alone = Purse { card: 0, with_successors: false };
    let poor = |price| Because::Poor { purse: alone, price };
    two().refused((50, 60), poor(21)).is(&[]);
    two().refused((50, 60), poor(20)).is(&[Unjustified]);
    two().refused((25, 35), poor(20)).is(&[]);
    let full = |amount| Because::Full { purse: alone, amount, limit: 25 };
    two().refused((50, 60), full(6)).is(&[]);
    two().refused((50, 60), full(5)).is(&[Unjustified]);
    // What is on the card that replaced it counts, and not the moment between them.
    let mut heir = two().moved_in(2, 2, 0, -20).moved_in(2, 3, 1, 20).did((50, 60), 2).did((50, 60), 3);
    heir.books.replaced_by[0] = Some(1);
    let family = |price| Because::Poor { purse: Purse { card: 0, with_successors: true }, price };
    heir.clone().refused((55, 70), family(21)).is(&[]);
    heir.refused((55, 70), family(20)).is(&[Unjustified]);

    let known = Because::Known { request: 0 };
    two().refused((50, 60), known).is(&[]);
    two().refused((1, 5), known).is(&[Unjustified]);
    two().refused((35, 50), Because::Done { name: 1 }).is(&[]);
    two().refused((1, 5), Because::Done { name: 1 }).is(&[FutureRead]);
    two().refused((35, 50), Because::NotDone { name: 1 }).is(&[]);
    two().refused((50, 60), Because::NotDone { name: 1 }).is(&[StaleRead]);
}

#[test]
fn switches() {
    let off = |at, on| (at, What::Switched { switch: 3, on });
    let refused = |made: Made, at| made.op(at, What::Refused(request(90), Because::Off { switch: 3 }));
    let switched = |list: &[((u64, u64), What)]| list.iter().fold(two(), |made, (at, what)| made.op(*at, what.clone()));
    let frozen = || switched(&[off((50, 60), false), off((70, 80), true)]);
    refused(two(), (50, 60)).is(&[Unjustified]);
    refused(frozen(), (55, 56)).is(&[]);
    refused(frozen(), (75, 99)).is(&[]);
    refused(frozen(), (90, 99)).is(&[Unjustified]);
    refused(frozen(), (1, 45)).is(&[Unjustified]);
    let done = |at| {
        let needs = vec![3];
        let did = Did { asked: request(2), name: Some(2), how: How::Fresh, said: Said::default(), needs };
        frozen().moved(2, 0, -1).op(at, What::Did(Box::new(did)))
    };
    done((61, 69)).is(&[WhileOff]);
    done((61, 71)).is(&[]);
    done((59, 69)).is(&[]);
    done((85, 90)).is(&[]);
}

#[test]
fn codes() {
    let code = |purse, code| What::NewCode { purse, code: Some(code) };
    let shown = |code| Asked { request: Some(2), order: None, code: Some((0, code)) };
    let paid = |made: Made, at, code, name| {
        let did = Did { asked: shown(code), name: Some(name), how: How::Fresh, said: Said::default(), needs: vec![] };
        let asked = Asked { request: Some(name), ..did.asked };
        made.moved(name, 0, -1).op(at, What::Did(Box::new(Did { asked, ..did })))
    };
    let refused =
        |made: Made, at| made.op(at, What::Refused(Asked { request: Some(90), ..shown(0) }, Because::BadCode));
    let given = || two().op((50, 51), code(0, 0));
    paid(given(), (52, 53), 0, 2).is(&[]);
    paid(paid(given(), (52, 53), 0, 2), (54, 55), 0, 3).is(&[SpentTwice]);
    refused(given(), (52, 53)).is(&[Unjustified]);
    refused(paid(given(), (52, 53), 0, 2), (54, 55)).is(&[]);
    refused(given().op((52, 53), code(0, 1)), (54, 55)).is(&[]);
    refused(given().op((52, 53), code(1, 1)), (54, 55)).is(&[Unjustified]);
    refused(given().op((60, 61), code(0, 1)), (54, 55)).is(&[Unjustified]);
    paid(given().op((52, 53), code(0, 1)), (54, 55), 0, 2).is(&[DeadCode]);
    paid(given().op((52, 55), code(0, 1)), (54, 56), 0, 2).is(&[]);
    paid(given().op((52, 53), What::DeadCodes { purse: 0 }), (54, 55), 0, 2).is(&[DeadCode]);
    let lost = What::NewCode { purse: 0, code: None };
    refused(given().op((52, u64::MAX), lost), (54, 55)).is(&[]);
}

#[test]
fn lists_by_moments() {
    let feed = |made: Made, at, limit, lines: &[(u32, i64)]| {
        let feed = Feed { list: 0, limit, lines: lines.to_vec() };
        made.op(at, What::Saw(Box::new(Saw { feeds: vec![feed], ..Saw::default() })))
    };
    let three = || two().done((32, 60), 2, 1, 7);
    feed(three(), (70, 80), 3, &[(2, 7), (1, 10), (0, 10)]).is(&[]);
    feed(three(), (70, 80), 2, &[(2, 7), (1, 10)]).is(&[]);
    feed(three(), (70, 80), 2, &[(2, 7), (0, 10)]).is(&[StaleRead]);
    feed(three(), (70, 80), 2, &[(1, 10), (0, 10)]).is(&[StaleRead]);
    feed(three(), (70, 80), 3, &[(2, 7), (1, 10)]).is(&[StaleRead]);
    feed(three(), (70, 80), 3, &[(1, 10), (2, 7), (0, 10)]).is(&[NotAPiece]);
    feed(three(), (70, 80), 3, &[(2, 8), (1, 10), (0, 10)]).is(&[NeverWas]);
    feed(three(), (1, 5), 3, &[(0, 10)]).is(&[FutureRead]);
    // While both were under way the page may have either, but two pages not one each.
    let either = feed(three(), (33, 39), 3, &[(2, 7), (0, 10)]);
    either.clone().is(&[]);
    feed(either, (33, 39), 3, &[(1, 10), (0, 10)]).is(&[NotOneCut]);
}

#[test]
fn a_standby() {
    let replica = |made: &Made, reads: Made, due: &[Anomaly]| {
        let certificate = certify_replica(&made.books, &made.history, &reads.history);
        let mut found: Vec<Anomaly> = certificate.findings.iter().map(|f| f.anomaly).collect();
        found.dedup();
        assert_eq!(found, due, "{:#?}", certificate.findings);
    };
    let each = || two().done((50, 60), 2, 1, 5);
    // It may be behind.
    replica(&each(), made().saw((200, 210), &[state(0, 1), state(1, 0)]), &[]);
    // But not go back, nor show what nobody has asked for yet, nor what never was.
    replica(&each(), made().saw((200, 210), &[state(0, 2)]).saw((220, 230), &[state(0, 1)]), &[StaleRead]);
    replica(&each(), made().saw((1, 5), &[state(0, 1)]), &[FutureRead]);
    replica(&each(), made().saw((200, 210), &[state(0, 3)]), &[NeverWas]);
    // What was answered before something else was asked for is in its log before that.
    replica(&each(), made().saw((200, 210), &[state(0, 1), state(1, 1)]), &[StaleRead]);
    // Of what was under way at the same time, readers there may see another one first than readers here.
    let at_once = made().done((10, 100), 0, 0, 5).done((10, 100), 1, 1, 5);
    let here = at_once.saw((20, 90), &[state(0, 1), state(1, 0)]);
    here.clone().is(&[]);
    let there = made().saw((20, 90), &[state(0, 0), state(1, 1)]);
    replica(&here, there.clone(), &[]);
    replica(&here, there.saw((91, 95), &[state(0, 1), state(1, 0)]), &[NotOneCut]);
}
