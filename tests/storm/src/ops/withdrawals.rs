//! Money that goes back out, and what becomes of it: by backends and by gateways, at the same moment, and not always the same.

use super::{Client, WITHDRAW, at_once};
use crate::db::{Asked, Link, Who};
use crate::history::{Done, Known, Note, Why, by_return};
use crate::model::{Cents, Fact, Kind, Refund, cents, money};
use crate::request::{Answer, Request, What};
use crate::world::World;
use mps_certify::{How, Said};

/// A withdrawal of any card, by its newest number or an older one.
pub fn withdraw(client: &mut Client) {
    let account = client.any_account();
    let card = {
        let cards = account.1.cards.read().expect("not poisoned").clone();
        cards[client.below(cards.len())].0
    };
    let amount = match client.below(10) {
        0 => 1 + client.below(100) as Cents,
        1..=7 => 100 + client.below(20_000) as Cents,
        _ => 20_000 + client.below(200_000) as Cents,
    };
    let payout = ["source", "source", "source", "transfer", "cash"][client.below(5)];
    let request = Request {
        who: Who::Backend,
        amount,
        // Whatever takes money out is known by a key.
        key: Some(client.name("out")),
        order: None,
        what: What::Withdraw { card, payout },
        by: client.by(),
        account,
    };
    if client.chance(70) {
        client.request(WITHDRAW, &request, REFUSALS);
        return;
    }
    // Twice at the same moment: one does the work, the other replays.
    let world = client.world;
    let (one, two) = at_once(&mut client.a, &mut client.b, |a| request.send(world, a), |b| request.send(world, b));
    let one = super::enter(world, WITHDRAW, &request, one, REFUSALS);
    let two = super::enter(world, WITHDRAW, &request, two, REFUSALS);
    if let (Some(one), Some(two)) = (one, two)
        && (one.id != two.id || (!one.replayed && !two.replayed))
    {
        world.wrong(format!("{request} was done as {} and as {}", one.id, two.id));
    }
}

/// It has not so much, or its recharges do not give so much; or so much came in by more of them than are refunded at once.
const REFUSALS: &[&str] = &["INSUFFICIENT_BALANCE", "INVALID_ARGUMENT"];

/// The refund numbers that a withdrawal was answered.
pub fn enter_refunds(world: &World, request: &Request, answer: &Answer) {
    let What::Withdraw { payout: asked, .. } = request.what else { return };
    let parts = answer.said.split('|').nth(2).unwrap_or_default();
    let mut books = world.books();
    for part in parts.split(',') {
        let fields: Vec<&str> = part.split('/').collect();
        let [refund_no, source, payout, amount, method, trade] = fields[..] else {
            books.wrong.push(format!("{request}: {part} is no refund number"));
            continue;
        };
        let trade = (!trade.is_empty()).then(|| trade.to_owned());
        // How it goes out, by how it came in.
        let due = match (asked, method, &trade) {
            ("source", "cash", _) => "cash",
            ("source", _, _) => "source",
            (asked, ..) => asked,
        };
        if payout != due {
            books.wrong.push(format!("{request}: {part} goes by {payout} and not by {due}"));
        }
        let at_once = payout == "cash" || (payout == "source" && trade.is_none());
        let refund = Refund {
            account: request.account.0,
            tx_no: answer.id.clone(),
            source: source.to_owned(),
            trade,
            amount: cents(amount),
            at_once,
            paid: false,
            returned: None,
        };
        books.refunds.entry(refund_no.to_owned()).or_insert(refund);
    }
}

/// Who says what of a refund number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Word {
    Confirm,
    Fail,
    Success,
    Closed,
    Abnormal,
}

/// What was answered: whether it was paid, or came back, and whether that was so before.
#[derive(Clone, Debug, PartialEq)]
struct Became {
    what: &'static str,
    replayed: bool,
}

const CONFIRM: &str = "SELECT replayed FROM app.confirm_withdrawal($1, $2::text::numeric)";
const FAIL: &str = "SELECT replayed FROM app.fail_withdrawal($1, 'storm')";
const NOTIFY: &str = "SELECT outcome, coalesce(reason, '') FROM app.gateway_notify($1, $2::text::jsonb, $3)";
const RETURNED: &str = "SELECT w.returned_tx_no, t.created_at::text FROM app.withdrawals w, app.tx_by_no(w.returned_tx_no) t \
    WHERE w.refund_no = $1";

fn say(link: &mut Link, refund_no: &str, refund: &Refund, word: Word) -> Asked<Became> {
    let amount = money(refund.amount);
    let is = |what| move |rows: &[postgres::Row]| Became { what, replayed: rows[0].get(0) };
    match word {
        Word::Confirm => link.ask(Who::Backend, CONFIRM, &[&refund_no, &amount], is("paid")),
        Word::Fail => link.ask(Who::Backend, FAIL, &[&refund_no], is("returned")),
        Word::Success | Word::Closed | Word::Abnormal => {
            let state = match word {
                Word::Success => "SUCCESS",
                Word::Closed => "CLOSED",
                _ => "ABNORMAL",
            };
            let trade = refund.trade.as_deref().expect("asked of those that have one");
            notify(link, &mps_sender::refund(refund_no, trade, &refund.source, refund.amount, state))
        }
    }
}

fn notify(link: &mut Link, callback: &mps_sender::Callback) -> Asked<Became> {
    let headers = callback.headers.to_string();
    loop {
        let asked = link.ask(Who::Backend, NOTIFY, &[&"wechat", &headers, &callback.body], |rows| {
            let (outcome, reason): (String, String) = (rows[0].get(0), rows[0].get(1));
            let what = match reason.as_str() {
                "refund_completed" | "paid_after_return" => "paid",
                "refund_returned" => "returned",
                "refund_abnormal" => "told",
                "refund_differs" if outcome == "conflict" => "contradicted",
                _ => "something else",
            };
            Became { what, replayed: outcome == "replayed" }
        });
        // It was held up for too long: the gateway sends it again.
        if !matches!(&asked.result, Err(refusal) if refusal.token == "SQLSTATE 57014") {
            return asked;
        }
    }
}

/// Two say at once what became of a refund number, perhaps not the same.
pub fn settle(client: &mut Client) {
    let pick = client.below(1_000_000);
    let Some((refund_no, refund)) = ({
        let books = client.world.books();
        // Mostly those that nothing is known of yet.
        let open: Vec<_> =
            books.refunds.iter().filter(|(_, r)| r.status() == "processing" || pick.is_multiple_of(8)).collect();
        (!open.is_empty()).then(|| open[pick % open.len()]).map(|(no, refund)| (no.clone(), refund.clone()))
    }) else {
        return;
    };
    let mut word = || match (client.below(10), refund.trade.is_some()) {
        (0..=2, _) | (6..=7, false) => Word::Confirm,
        (3..=4, _) | (8..=9, false) => Word::Fail,
        (5..=7, true) => Word::Success,
        (8, true) => Word::Closed,
        (9, true) => Word::Abnormal,
        _ => Word::Fail,
    };
    let words = [word(), word()];
    let (one, two) = at_once(
        &mut client.a,
        &mut client.b,
        |a| say(a, &refund_no, &refund, words[0]),
        |b| say(b, &refund_no, &refund, words[1]),
    );
    let fresh = |asked: &Asked<Became>| matches!(&asked.result, Ok(Became { what: "returned", replayed: false }));
    if fresh(&one) && fresh(&two) {
        client.world.wrong(format!("{}: {refund_no} came back twice", client.by()));
    }
    settled(client, &refund_no, &refund, words[0], one, true);
    settled(client, &refund_no, &refund, words[1], two, false);
}

fn settled(client: &mut Client, refund_no: &str, refund: &Refund, word: Word, asked: Asked<Became>, by_a: bool) {
    let allowed: &[&str] = if word == Word::Fail { &["STATUS_CONFLICT"] } else { &[] };
    let gave_back = matches!(&asked.result, Ok(Became { what: "returned", .. }));
    let returned = gave_back.then(|| {
        let look = client.a.ask(Who::Backend, RETURNED, &[&refund_no], |rows| {
            (rows[0].get::<_, String>(0), rows[0].get::<_, String>(1))
        });
        client.expect("look at a return", look, &[])
    });
    let returned = returned.flatten().map(|(found, _)| found);
    if matches!(word, Word::Fail | Word::Closed) {
        let link = if by_a { &mut client.a } else { &mut client.b };
        note_return(link, &asked, refund_no, refund.amount, returned.as_ref().map(|(tx_no, _)| tx_no.as_str()));
    }
    let Some((became, lost)) = client.expect("settle withdrawal", asked, allowed) else { return };
    match became.what {
        "paid" => client.world.books().refunds.get_mut(refund_no).expect("was there").paid = true,
        "returned" => {
            let Some((tx_no, created_at)) = returned else { return };
            client.world.books().refunds.get_mut(refund_no).expect("was there").returned = Some(tx_no.clone());
            let fact = Fact {
                kind: Kind::Adjustment,
                account: refund.account,
                change: refund.amount,
                raw: refund.amount,
                excluded: 0,
                coupon: None,
                paid: refund.amount,
                discount: 1000,
                points: 0,
                original: Some(refund.tx_no.clone()),
                in_short: false,
                said: format!("{tx_no} {created_at}"),
                created_at,
                levels: (0, usize::MAX),
                campaigns: (0, usize::MAX),
                fresh: u32::from(!became.replayed),
                lost,
                at_once: true,
                confirmed: false,
                failed: false,
                by: client.by(),
            };
            client.world.books().enter(&tx_no, fact);
        }
        "told" => {}
        // A gateway says the contrary of what is settled: closed what is paid, or paid what was paid otherwise.
        "contradicted" if matches!(word, Word::Closed | Word::Success) => {}
        other => client.world.wrong(format!("{}: {word:?} of {refund_no} was answered with {other}", client.by())),
    }
}

/// For the certificate: what came back, and when.
fn note_return(link: &mut Link, asked: &Asked<Became>, refund_no: &str, amount: Cents, tx_no: Option<&str>) {
    let known = Known::by(by_return(refund_no));
    let note = match (&asked.result, tx_no) {
        (Ok(became), Some(tx_no)) => Some(Note::Did(Box::new(Done {
            known: known.clone(),
            name: Some(tx_no.to_owned()),
            how: if became.replayed { How::Replayed } else { How::Fresh },
            said: Said { change: Some(amount), ..Said::default() },
            needs: vec![],
        }))),
        (Ok(_), None) => None,
        (Err(_), _) => Some(Note::Refused(known.clone(), Why::Else)),
    };
    link.note(asked, || Note::Lost(known.clone()), note);
}
