//! A gateway's file of a day, beside callbacks and confirmations of the same payments that come at the same moment.

use super::races::{Door, confirm, confirmed};
use super::{Client, at_once};
use crate::db::{Asked, Link, Who};
use crate::model::{Cents, Suspense};
use crate::world::Waiting;
use mps_sender::bill::{self, Line};

const IMPORT: &str =
    "SELECT lines, payment_total::text, replayed FROM app.import_bill('wechat', $1::text::date, 'trade', $2)";
const RECONCILE: &str = "SELECT sum(items)::bigint FROM app.reconcile('wechat', $1::text::date)";
const OPEN: &str =
    "SELECT id, trade_no, class FROM app.recon_items WHERE bill_date = $1::text::date AND status = 'open' ORDER BY id";
const RESOLVE: &str = "SELECT status, tx_no, suspense_id, replayed FROM app.resolve_recon_item($1, $2, 'storm')";
const CLOSE: &str = "SELECT replayed FROM app.close_recon_day('wechat', $1::text::date)";

type Resolved = (String, Option<String>, Option<i64>, bool);

/// A day of its own for each bill, whatever the calendar says of months.
fn date(client: &Client) -> String {
    let n = client.no as u64 * 20_000 + client.step % 20_000;
    format!("{:04}-{:02}-{:02}", 2001 + n / 336, n / 28 % 12 + 1, n % 28 + 1)
}

/// What a clerk was answered of a day: how many items it has, which are open, and of each.
struct Day {
    compared: Asked<i64>,
    open: Asked<Vec<(i64, String)>>,
    resolved: Vec<(String, Asked<Resolved>)>,
}

/// Compares a day and resolves what is open of it, as the shop's clerk does who looks at it.
fn resolve_all(link: &mut Link, day: &str, known: (&str, &str), word: &'static str) -> Day {
    let (trade, tx_no) = known;
    let compared = link.ask(Who::Backend, RECONCILE, &[&day], |rows| rows[0].get::<_, i64>(0));
    let open = link.ask(Who::Backend, OPEN, &[&day], |rows| {
        rows.iter().map(|r| (r.get(0), r.get(1))).collect::<Vec<(i64, String)>>()
    });
    let mut resolved = vec![];
    for (id, number) in open.result.iter().flatten().cloned() {
        // What a recharge waits for is credited; what nobody waits for goes either way.
        let word = if number == trade { "credit" } else { word };
        let asked = link.ask(Who::Backend, RESOLVE, &[&id, &word], |rows| {
            (rows[0].get(0), rows[0].get(1), rows[0].get(2), rows[0].get(3))
        });
        if number == trade {
            link.note_credit_of_a_bill(&asked, tx_no);
        }
        resolved.push((number, asked));
    }
    Day { compared, open, resolved }
}

/// The gateway took money for a recharge that waits, and for an order that nobody knows. Bill and another word of it meet.
pub fn a_bill(client: &mut Client) {
    let pick = client.below(1_000_000);
    let Some(Waiting { tx_no, amount }) = ({
        let waiting = client.world.waiting.lock().expect("not poisoned");
        (!waiting.is_empty()).then(|| waiting[pick % waiting.len()].clone())
    }) else {
        return;
    };
    let (day, trade, stranger) = (date(client), format!("trade-{tx_no}"), client.name("stranger"));
    let strange = 100 + client.below(10_000) as Cents;
    let word = ["credit", "refund"][client.below(2)];
    let (door, races) = (Door::any(client), client.chance(60));
    let order = format!("order of {stranger}");
    let lines = [Line::payment(&trade, &tx_no, amount), Line::payment(&stranger, &order, strange)];
    let content = bill::wechat(&day, &lines);
    *client.world.billed.lock().expect("not poisoned").entry(trade.clone()).or_default() += 1;
    let imported = |client: &mut Client, again: bool| {
        let asked = client.a.ask(Who::Backend, IMPORT, &[&day, &content], |rows| {
            (rows[0].get::<_, i64>(0), rows[0].get::<_, String>(1), rows[0].get::<_, bool>(2))
        });
        let Some(((lines, total, replayed), lost)) = client.expect("import a bill", asked, &[]) else { return false };
        let due = crate::model::money(amount + strange);
        if lines != 2 || total != due || (replayed != again && !lost) {
            let by = client.by();
            client.world.wrong(format!("{by}: a bill of 2 and {due} has {lines} and {total}, replayed: {replayed}"));
        }
        true
    };
    if !imported(client, false) {
        return;
    }
    let clerk = |link: &mut Link| resolve_all(link, &day, (&trade, &tx_no), word);
    let (first, other) = match races {
        true => {
            let (first, other) =
                at_once(&mut client.a, &mut client.b, clerk, |b| confirm(b, &tx_no, amount, &trade, door));
            (first, Some(other))
        }
        false => (clerk(&mut client.a), None),
    };
    if let Some(other) = other {
        confirmed(client, &tx_no, other, &[]);
    }
    note(client, first, (&trade, &tx_no), (&stranger, strange), word);
    // Whatever was changed by another word in between is looked at again, and then nothing is open, unless another client has meanwhile
    // brought the bill of an earlier day that has the same payment.
    let again = clerk(&mut client.a);
    note(client, again, (&trade, &tx_no), (&stranger, strange), word);
    let asked = client.a.ask(Who::Backend, CLOSE, &[&day], |rows| rows[0].get::<_, bool>(0));
    let is_in_others = client.world.billed.lock().expect("not poisoned")[&trade] > 1;
    client.expect("close a day", asked, if is_in_others { &["RECON_CONFLICT"] } else { &[] });
    imported(client, true);
}

/// Enters what the clerk was answered.
fn note(
    client: &mut Client,
    Day { compared, open, resolved }: Day,
    (trade, tx_no): (&str, &str),
    (stranger, strange): (&str, Cents),
    word: &str,
) {
    if let Some((items, _)) = client.expect("reconcile", compared, &[])
        && items != 2
    {
        client.world.wrong(format!("{}: a day with two lines has {items} items", client.by()));
    }
    client.expect("look at a day", open, &[]);
    for (number, asked) in resolved {
        let Some(((status, credited, suspense, _), _)) = client.expect("resolve an item", asked, &["RECON_CONFLICT"])
        else {
            continue;
        };
        if status != "resolved" {
            client.world.wrong(format!("{}: {number} was resolved and is {status}", client.by()));
        }
        if number == trade {
            if credited.as_deref() != Some(tx_no) {
                client.world.wrong(format!("{}: {trade} credited {credited:?} in place of {tx_no}", client.by()));
            }
            client.world.books().facts.get_mut(tx_no).expect("was asked for").confirmed = true;
        } else if let Some(id) = suspense {
            let resolved = (word == "refund").then(|| ("refunding".to_owned(), None));
            client.world.books().suspense.insert(stranger.to_owned(), Suspense { id, amount: strange, resolved });
        } else {
            client.world.wrong(format!("{}: {number} is in no suspense", client.by()));
        }
    }
}
