//! Operations that race against themselves on two connections.

use super::money::ASK_REFUSALS;
use super::{CANCEL, CHARGE, COMPENSATE, Client, RECHARGE, REFUND, at_once, enter, money};
use crate::db::{Asked, Link, Who};
use crate::history::{Done, Known, Note, Why, by_suspense, card_switch};
use crate::model::{Account, CardKind, Cents, Fact, Kind, Numbered, Suspense, cents};
use crate::request::{Code, Request, What};
use crate::world::Waiting;
use mps_certify::{How, Said};
use std::sync::RwLock;
use uuid::Uuid;

const CONFIRM: &str = "SELECT tx_no, status, replayed FROM app.confirm_recharge($1, $2::text::numeric, $3, '{}', $4)";
const FAIL: &str = "SELECT status FROM app.fail_recharge($1, 'declined')";

const NOTIFY: &str = "SELECT outcome, reason FROM app.gateway_notify($1, $2::text::jsonb, $3)";

/// Who brings a gateway's word.
#[derive(Clone, Copy)]
pub enum Door {
    /// With its word of how it was paid.
    Backend(Option<&'static str>),
    Wechat,
    Alipay,
}

impl Door {
    /// Any of them: what was asked for with one method may be paid by another.
    pub fn any(client: &mut Client) -> Door {
        match client.below(4) {
            0 => Door::Backend(None),
            1 => Door::Backend(Some(["wechat", "alipay", "cash"][client.below(3)])),
            2 => Door::Alipay,
            _ => Door::Wechat,
        }
    }
}

pub fn confirm(link: &mut Link, tx_no: &str, amount: Cents, trade: &str, door: Door) -> Asked<(String, bool)> {
    let asked = match door {
        Door::Backend(method) => {
            let amount = crate::model::money(amount);
            link.ask(Who::Backend, CONFIRM, &[&tx_no, &amount, &trade, &method], |rows| {
                (rows[0].get(1), rows[0].get(2))
            })
        }
        Door::Wechat => {
            let payment = mps_sender::Payment { order: tx_no, trade, fen: amount, state: "SUCCESS" };
            notify(link, "wechat", &payment.sent())
        }
        Door::Alipay => {
            let yuan = crate::model::money(amount);
            notify(link, "alipay", &mps_sender::alipay(tx_no, trade, &yuan, "TRADE_SUCCESS", &[]))
        }
    };
    link.note_confirmation(&asked, tx_no);
    asked
}

/// A callback, as a confirmation would have answered: status, and whether nothing had to be done any more.
fn notify(link: &mut Link, account: &str, callback: &mps_sender::Callback) -> Asked<(String, bool)> {
    let headers = callback.headers.to_string();
    loop {
        let asked = link.ask(Who::Backend, NOTIFY, &[&account, &headers, &callback.body], |rows| {
            let (outcome, reason): (String, Option<String>) = (rows[0].get(0), rows[0].get(1));
            match (outcome.as_str(), reason.as_deref()) {
                ("credited", _) => ("completed".to_owned(), false),
                ("replayed", None) => ("completed".to_owned(), true),
                ("replayed", Some("suspense")) => ("suspense".to_owned(), true),
                ("suspense", _) => ("suspense".to_owned(), false),
                _ => (format!("{outcome} {reason:?}"), false),
            }
        });
        // It was held up for too long: the gateway sends it again.
        if !matches!(&asked.result, Err(refusal) if refusal.token == "SQLSTATE 57014") {
            return asked;
        }
    }
}

fn fail(link: &mut Link, tx_no: &str) -> Asked<String> {
    let asked = link.ask(Who::Backend, FAIL, &[&tx_no], |rows| rows[0].get(0));
    link.note_failure(&asked, tx_no);
    asked
}

/// Enters an answer to a confirmation; whether it was a yes.
pub fn confirmed(client: &Client, tx_no: &str, asked: Asked<(String, bool)>, allowed: &[&str]) -> bool {
    let Some(((status, _), _)) = client.expect("confirm", asked, allowed) else { return false };
    if status != "completed" {
        client.world.wrong(format!("{}: {tx_no} was confirmed and is {status}", client.by()));
    }
    client.world.books().facts.get_mut(tx_no).expect("was asked for").confirmed = true;
    true
}

fn failed(client: &Client, tx_no: &str, asked: Asked<String>) {
    // Not pending any more: somebody confirmed it.
    if client.expect("fail", asked, &["RECHARGE_NOT_PENDING"]).is_some() {
        client.world.books().facts.get_mut(tx_no).expect("was asked for").failed = true;
    }
}

/// Ends a recharge that waits, in one of the ways in which gateways do, and ways in which they should not.
pub fn settle_recharge(client: &mut Client) {
    let pick = client.below(1_000_000);
    let Some(Waiting { tx_no, amount }) = ({
        let waiting = client.world.waiting.lock().expect("not poisoned");
        (!waiting.is_empty()).then(|| waiting[pick % waiting.len()].clone())
    }) else {
        return;
    };
    // Whoever confirms says the same trade number, as a gateway does.
    let trade = format!("trade-{tx_no}");
    let way = client.below(10);
    let doors = [Door::any(client), Door::any(client)];
    let (a, b) = (&mut client.a, &mut client.b);
    match way {
        0..=2 => {
            let asked = confirm(a, &tx_no, amount, &trade, doors[0]);
            confirmed(client, &tx_no, asked, &[]);
        }
        3 => {
            let asked = fail(a, &tx_no);
            failed(client, &tx_no, asked);
        }
        4..=6 => {
            let (yes, no) = at_once(a, b, |a| confirm(a, &tx_no, amount, &trade, doors[0]), |b| fail(b, &tx_no));
            confirmed(client, &tx_no, yes, &[]);
            failed(client, &tx_no, no);
        }
        7..=8 => {
            let (one, two) = at_once(
                a,
                b,
                |a| confirm(a, &tx_no, amount, &trade, doors[0]),
                |b| confirm(b, &tx_no, amount, &trade, doors[1]),
            );
            let fresh = |asked: &Asked<(String, bool)>| matches!(asked.result, Ok((_, false)));
            if fresh(&one) && fresh(&two) {
                client.world.wrong(format!("{}: {tx_no} was credited by two confirmations", client.by()));
            }
            confirmed(client, &tx_no, one, &[]);
            confirmed(client, &tx_no, two, &[]);
        }
        _ => {
            // The amount is looked at before anything else.
            // A backend can mend it; what a gateway says came, and comes into suspense.
            match doors[0] {
                Door::Backend(_) => {
                    let asked = confirm(a, &tx_no, amount + 1, &trade, doors[0]);
                    client.must_refuse("confirm", &asked.result, &["AMOUNT_MISMATCH"]);
                }
                door => suspend(client, &tx_no, amount + 1, door),
            }
            let done = client.world.books().facts[&tx_no].confirmed;
            if done {
                pay_once_more(client, &tx_no, amount);
            }
        }
    }
}

/// The gateway takes money for a recharge that has its money: it comes into suspense.
fn pay_once_more(client: &mut Client, tx_no: &str, amount: Cents) {
    let amount = amount + client.below(3) as Cents;
    let door = Door::any(client);
    suspend(client, tx_no, amount, door);
}

/// Money under a trade number of its own that the recharge does not take.
fn suspend(client: &mut Client, tx_no: &str, amount: Cents, door: Door) {
    let trade = client.name("other");
    let asked = confirm(&mut client.a, tx_no, amount, &trade, door);
    let Some(((status, _), _)) = client.expect("suspend", asked, &[]) else { return };
    if status != "suspense" {
        client.world.wrong(format!("{}: {tx_no} was paid twice, and {trade} is {status}", client.by()));
        return;
    }
    const ID: &str = "SELECT id FROM app.suspense_payments WHERE gateway_trade_no = $1";
    let asked = client.a.ask(Who::Backend, ID, &[&trade], |rows| rows[0].get::<_, i64>(0));
    if let Some((id, _)) = client.expect("look at suspense", asked, &[]) {
        client.world.books().suspense.insert(trade, Suspense { id, amount, resolved: None });
    }
}

const RESOLVE: &str = "SELECT status, tx_no, amount::text, replayed FROM app.resolve_suspense($1, $2, 'storm', $3)";

/// What became of it, and by which answer: (status, number, amount, whether replayed).
fn note_resolution(link: &mut Link, asked: &Asked<(String, Option<String>, Cents, bool)>, id: i64) {
    let known = Known::by(by_suspense(id));
    let note = match &asked.result {
        Ok((_, Some(tx_no), amount, replayed)) => Some(Note::Did(Box::new(Done {
            known: known.clone(),
            name: Some(tx_no.clone()),
            how: if *replayed { How::Replayed } else { How::Fresh },
            said: Said { change: Some(*amount), ..Said::default() },
            needs: vec![],
        }))),
        Ok(_) => None,
        Err(_) => Some(Note::Refused(known.clone(), Why::Else)),
    };
    link.note(asked, || Note::Lost(known.clone()), note);
}

/// Two say at once what becomes of money in suspense, perhaps not the same.
pub fn resolve_suspense(client: &mut Client) {
    let pick = client.below(1_000_000);
    let Some((trade, kept)) = ({
        let books = client.world.books();
        let open: Vec<_> = books.suspense.iter().filter(|(_, s)| s.resolved.is_none()).collect();
        (!open.is_empty()).then(|| (open[pick % open.len()].0.clone(), open[pick % open.len()].1.clone()))
    }) else {
        return;
    };
    let accounts: [Numbered; 2] = [client.any_account(), client.any_account()];
    let ways = [client.below(5), client.below(5)];
    let word = |i: usize| match ways[i] {
        0 => ("refunded", None),
        1 => ("written_off", None),
        _ => ("credited", Some(accounts[i].1.card())),
    };
    let say = |link: &mut Link, i: usize| {
        let (resolution, card) = word(i);
        let asked = link.ask(Who::Backend, RESOLVE, &[&kept.id, &resolution, &card], |rows| {
            let row = &rows[0];
            (row.get::<_, String>(0), row.get::<_, Option<String>>(1), cents(row.get(2)), row.get::<_, bool>(3))
        });
        note_resolution(link, &asked, kept.id);
        asked
    };
    let (one, two) = at_once(&mut client.a, &mut client.b, |a| say(a, 0), |b| say(b, 1));
    for (i, asked) in [one, two].into_iter().enumerate() {
        let allowed = ["STATUS_CONFLICT", "CARD_NOT_ACTIVE"];
        let Some(((status, tx_no, amount, replayed), lost)) = client.expect("resolve suspense", asked, &allowed) else {
            continue;
        };
        if amount != kept.amount {
            client.world.wrong(format!("{}: {trade} is {amount} in place of {}", client.by(), kept.amount));
        }
        let became = (status, tx_no.clone());
        let known = client.world.books().suspense[&trade].resolved.clone();
        if known.is_some_and(|known| known != became) {
            client.world.wrong(format!("{}: {trade} became two things, {became:?} the second", client.by()));
        }
        client.world.books().suspense.get_mut(&trade).expect("was there").resolved = Some(became);
        if let Some(tx_no) = tx_no {
            enter_credit(client, &tx_no, &accounts[i], kept.amount, !replayed, lost);
        }
    }
}

/// The recharge that money in suspense became.
fn enter_credit(client: &mut Client, tx_no: &str, account: &Numbered, amount: Cents, fresh: bool, lost: bool) {
    const LOOK: &str = "SELECT created_at::text FROM app.tx_by_no($1)";
    let asked = client.a.ask(Who::Backend, LOOK, &[&tx_no], |rows| rows[0].get::<_, String>(0));
    let Some((created_at, _)) = client.expect("look at a credit", asked, &[]) else { return };
    let fact = Fact {
        kind: Kind::Recharge,
        account: account.0,
        change: amount,
        raw: amount,
        excluded: 0,
        coupon: None,
        paid: amount,
        discount: 1000,
        points: 0,
        original: None,
        in_short: false,
        said: format!("{tx_no} {created_at}"),
        created_at,
        levels: (0, usize::MAX),
        campaigns: (0, usize::MAX),
        fresh: u32::from(fresh),
        lost,
        at_once: true,
        confirmed: false,
        failed: false,
        by: client.by(),
    };
    client.world.books().enter(tx_no, fact);
}

/// Two refunds of one payment, which other clients are refunding as well.
pub fn refunds_at_once(client: &mut Client) {
    let Some((first, allowed)) = money::plan_refund(client, 6) else { return };
    let mut second = first.clone();
    second.key = client.key();
    second.amount = (first.amount / 2).max(1);
    let world = client.world;
    let (one, two) = at_once(&mut client.a, &mut client.b, |a| first.send(world, a), |b| second.send(world, b));
    enter(world, REFUND, &first, one, &allowed);
    enter(world, REFUND, &second, two, &allowed);
}

/// A payment is cancelled while it is cancelled by somebody else, refunded in part, or its coupon is shown for the next one.
pub fn cancelled_at_once(client: &mut Client) {
    let Some((first, allowed)) = money::plan_cancel(client) else { return };
    let What::Cancel { merchant, original, .. } = &first.what else { unreachable!() };
    let coupon = client.world.books().facts.get(original).and_then(|fact| fact.coupon.clone());
    let (second, name, mut others) = match (client.below(3), coupon) {
        (0, _) => {
            let who = client.till(*merchant);
            (Request { who, key: client.key(), ..first.clone() }, CANCEL, vec![])
        }
        (1, Some((number, _))) => {
            let Some(mut second) = money::plan_charge(client, first.account.clone()) else { return };
            let What::Charge { coupon, .. } = &mut second.what else { unreachable!() };
            *coupon = Some(number);
            let mut others = money::CONTESTED.to_vec();
            // Whose code was drawn may be another member's of the company.
            others.push("COUPON_NOT_FOUND");
            (second, CHARGE, others)
        }
        _ => {
            let what = What::Refund { merchant: *merchant, original: original.clone() };
            let amount = (first.amount / 2).max(1);
            // Of one of 0.00 there is never anything.
            let mut others = vec!["REFUND_EXCEEDS_REMAINING"];
            if first.amount == 0 {
                others.push("NOT_REFUNDABLE");
            }
            (Request { amount, key: client.key(), what, ..first.clone() }, REFUND, others)
        }
    };
    others.push("MERCHANT_INACTIVE");
    let world = client.world;
    let (one, two) = at_once(&mut client.a, &mut client.b, |a| first.send(world, a), |b| second.send(world, b));
    enter(world, CANCEL, &first, one, &allowed);
    enter(world, name, &second, two, &others);
}

/// The same request with its key (or order id), twice at the same moment: one does the work, the other replays.
pub fn same_request_twice(client: &mut Client) {
    let account = client.any_account();
    let (mut request, allowed) = match client.below(5) {
        0..=1 => {
            let Some(request) = money::plan_charge(client, account) else { return };
            (request, money::CONTESTED.to_vec())
        }
        2 => (money::plan_recharge(client), vec!["CARD_NOT_ACTIVE", "BALANCE_LIMIT"]),
        3 => (money::plan_ask(client, account), ASK_REFUSALS.to_vec()),
        _ => match money::plan_compensation(client) {
            Some(planned) => planned,
            None => return,
        },
    };
    if !request.is_repeatable() {
        request.key = Some(client.name("key"));
    }
    let merchant = match request.what {
        What::Charge { merchant, .. } => Some(merchant),
        What::Recharge { merchant, .. } => merchant,
        _ => None,
    };
    let allowed = money::with_mood(client, merchant, &allowed);
    let world = client.world;
    let (one, two) = at_once(&mut client.a, &mut client.b, |a| request.send(world, a), |b| request.send(world, b));
    let one = enter(world, "same twice", &request, one, &allowed);
    let two = enter(world, "same twice", &request, two, &allowed);
    if let (Some(one), Some(two)) = (one, two)
        && (one.id != two.id || (!one.replayed && !two.replayed))
    {
        world.wrong(format!("{request} was done as {} and as {}", one.id, two.id));
    }
}

/// One code at two tills at the same moment: exactly one takes the money.
pub fn one_code_twice(client: &mut Client) {
    let Some(code) = own_code(client) else { return };
    let first = own_charge(client, &code);
    let second = own_charge(client, &code);
    let world = client.world;
    let (one, two) = at_once(&mut client.a, &mut client.b, |a| first.send(world, a), |b| second.send(world, b));
    let used_up = ["QR_EXPIRED_OR_INVALID"];
    let one = enter(world, "one code twice", &first, one, &used_up);
    let two = enter(world, "one code twice", &second, two, &used_up);
    if one.is_some() == two.is_some() {
        world.wrong(format!("{}: a code that two tills used at once paid {:?} and {:?}", first.by, one, two));
    }
    let third = own_charge(client, &code);
    let asked = third.send(world, &mut client.a);
    client.must_refuse(CHARGE, &asked.result, &used_up);
}

/// A live code of the client's own card, which has money.
pub fn own_code(client: &mut Client) -> Option<Code> {
    /// More than the charges of one operation take.
    const ENOUGH: i64 = 10_000;
    let account = client.own.account.clone();
    if client.own_funds < ENOUGH {
        // Charges that were refused have been counted as well.
        let sql = "SELECT (app.balance_as_of($1, clock_timestamp()) * 100)::bigint";
        let asked = client.a.ask(Who::Backend, sql, &[&account.1.card()], |rows| rows[0].get(0));
        client.own_funds = client.expect::<i64>("balance", asked, &[])?.0;
    }
    if client.own_funds < ENOUGH {
        let request = Request {
            who: Who::Backend,
            amount: ENOUGH,
            key: Some(client.name("own")),
            order: None,
            what: What::Recharge { card: account.1.card(), method: "cash", merchant: None },
            by: client.by(),
            account: account.clone(),
        };
        client.request(RECHARGE, &request, &[])?;
        client.own_funds += ENOUGH;
    }
    client.rotate(&account.1, account.1.owner, &[])
}

/// A charge of the client's own card, at a merchant that is always open.
pub fn own_charge(client: &mut Client, code: &Code) -> Request {
    let amount = 100 + client.below(1_000) as i64;
    client.own_funds -= amount;
    Request {
        who: Who::User(client.world.merchants[0].operator),
        account: client.own.account.clone(),
        amount,
        key: Some(client.name("own")),
        order: None,
        what: What::Charge { merchant: 0, code: code.clone(), excluded: 0, coupon: None },
        by: client.by(),
    }
}

/// Two members ask for a recharge with the same order id; the gateway's word for both comes at once, and both are credited: an
/// order id never blocks money that was paid.
pub fn one_order_two_recharges(client: &mut Client) {
    let n = client.below(1_000);
    let order = Some(client.name("shared"));
    let mut asked_for = vec![];
    for i in 0..2 {
        let account = client.world.cold_personal(n + i);
        let mut request = money::plan_ask(client, account);
        request.order = order.clone();
        let What::Recharge { method, .. } = &mut request.what else { unreachable!() };
        *method = "wechat";
        // Entered by hand: nobody else is to settle these.
        let asked = request.send(client.world, &mut client.a);
        match asked.result {
            Ok(answer) => {
                client.world.count("ask recharge", "ok");
                client.world.books().enter(&answer.id, request.fact(&answer, asked.lost));
                asked_for.push((answer.id, answer.paid));
            }
            Err(refusal) => client.world.refused("ask recharge", &request.by, &refusal, ASK_REFUSALS),
        }
    }
    let [(one, one_amount), (two, two_amount)] = asked_for.as_slice() else { return };
    let doors = [Door::any(client), Door::any(client)];
    let (first, second) = at_once(
        &mut client.a,
        &mut client.b,
        |a| confirm(a, one, *one_amount, &format!("trade-{one}"), doors[0]),
        |b| confirm(b, two, *two_amount, &format!("trade-{two}"), doors[1]),
    );
    confirmed(client, one, first, &[]);
    confirmed(client, two, second, &[]);
}

/// A new member asks for money while its card is closed: one of the two comes too late.
pub fn close_against_recharge(client: &mut Client) {
    const REGISTER: &str = "SELECT card_id, card_no FROM app.register_member('storm')";
    const CLOSE: &str = "SELECT app.set_card_status($1, 'personal', 'closed', 'storm')";
    let owner = random_uuid(client);
    let asked = client.a.ask(Who::User(owner), REGISTER, &[], |rows| (rows[0].get(0), rows[0].get(1)));
    let Some(((card, card_no), _)) = client.expect::<(Uuid, String)>("register", asked, &[]) else { return };
    let account = client.world.add(Account {
        kind: CardKind::Personal,
        owner,
        members: vec![owner],
        fixed_discount: 0,
        cards: RwLock::new(vec![(card, card_no)]),
    });
    let request = money::plan_ask(client, account);
    let world = client.world;
    let (recharge, close) = at_once(
        &mut client.a,
        &mut client.b,
        |a| request.send(world, a),
        |b| {
            let asked = b.ask(Who::Backend, CLOSE, &[&card], |rows| rows[0].get::<_, bool>(0));
            b.note_switch(&asked, &card_switch(card), false);
            asked
        },
    );
    let asked_for = enter(world, "ask recharge", &request, recharge, &["CARD_NOT_ACTIVE"]);
    let closed = client.expect("close", close, &["CARD_NOT_EMPTY"]).is_some();
    if closed {
        world.books().closed.push(card);
    }
    if asked_for.is_some() == closed {
        world.wrong(format!("{}: card {card} was closed: {closed}, and recharged: {asked_for:?}", request.by));
    }
}

/// A recharge waits while its card is replaced, is credited to the replacement, and that is replaced as well: whoever asks
/// again, for the recharge or for a correction of it, is answered as the first time.
pub fn recharge_outlives_cards(client: &mut Client) {
    let n = client.below(1_000);
    let account = client.world.cold_personal(n);
    let mut recharge = money::plan_ask(client, account.clone());
    recharge.key = Some(client.name("outlives"));
    let world = client.world;
    let asked = recharge.send(world, &mut client.a);
    let Some(answer) = enter(world, "ask recharge", &recharge, asked, ASK_REFUSALS) else {
        return;
    };
    let correction = Request {
        who: Who::Backend,
        account: account.clone(),
        amount: 1,
        key: Some(client.name("outlives")),
        order: None,
        what: What::Compensate { original: answer.id.clone() },
        by: client.by(),
    };
    super::state::replace_card(client, &account.1);
    money::ask_again(client, &recharge, &answer);
    // Others may have settled it by now; else there is nothing yet to correct.
    client.request(COMPENSATE, &correction, &["STATUS_CONFLICT", "BALANCE_LIMIT"]);
    let door = Door::any(client);
    let asked = confirm(&mut client.a, &answer.id, answer.paid, &format!("trade-{}", answer.id), door);
    confirmed(client, &answer.id, asked, &[]);
    let corrected = client.request(COMPENSATE, &correction, &["BALANCE_LIMIT"]);
    for _ in 0..2 {
        money::ask_again(client, &recharge, &answer);
        if let Some(corrected) = &corrected {
            money::ask_again(client, &correction, corrected);
        }
        super::state::replace_card(client, &account.1);
    }
}

/// A uuid from the operation's own stream, so that a seed gives the same ones.
fn random_uuid(client: &mut Client) -> Uuid {
    uuid::Builder::from_random_bytes(rand::Rng::r#gen(&mut client.rng)).into_uuid()
}
