//! Operations that move money, one request at a time.

use super::{CANCEL, CHARGE, COMPENSATE, Client, POINTS, RECHARGE, REFUND, coupons, enter};
use crate::db::{Asked, Who};
use crate::model::{CardKind, Cents, Kind, Numbered};
use crate::request::{Answer, Request, What};
use crate::world::pool;
use std::sync::Arc;

/// What a charge on a card that others use as well may answer: they rotate its code, spend its money, freeze and replace it.
pub const CONTESTED: [&str; 4] =
    ["QR_EXPIRED_OR_INVALID", "INSUFFICIENT_BALANCE", "CARD_NOT_ACTIVE", "COUPON_NOT_USABLE"];

/// `allowed`, and MERCHANT_INACTIVE for the merchant that is switched off and on.
pub fn with_mood(client: &Client, merchant: Option<usize>, allowed: &[&'static str]) -> Vec<&'static str> {
    let mut allowed = allowed.to_vec();
    if merchant.is_some_and(|m| client.world.merchants[m].moody) {
        allowed.push("MERCHANT_INACTIVE");
    }
    allowed
}

/// A code and a charge with it.
pub fn charge(client: &mut Client) {
    let account = client.any_account();
    if let Some(request) = plan_charge(client, account) {
        let What::Charge { merchant, .. } = request.what else { unreachable!() };
        let allowed = with_mood(client, Some(merchant), &CONTESTED);
        client.request(CHARGE, &request, &allowed);
    }
}

/// Rotates a code and makes up a charge with it; `None` if the card gives no code just now.
pub fn plan_charge(client: &mut Client, account: Numbered) -> Option<Request> {
    let member = account.1.members[client.below(account.1.members.len())];
    let merchant = client.any_merchant();
    // Mostly coffee; some that a card can or cannot just afford; some that earn no point.
    let amount = match client.below(100) {
        0..=79 => 100 + client.below(12_000) as i64,
        80..=94 => 1 + client.below(100) as i64,
        _ => 100_000 + client.below(900_000) as i64,
    };
    let (key, order, who) = (client.key(), client.order(), client.till(merchant));
    let excluded = excluded_of(client, amount);
    let code = client.rotate(&account.1, member, &["CARD_NOT_ACTIVE"])?;
    let coupon = if client.chance(30) { coupons::of_member(client, member) } else { None };
    // So little that some coupons pay all of it.
    let (amount, excluded) = match coupon {
        Some(_) if client.chance(25) => (1 + client.below(500) as i64, 0),
        _ => (amount, excluded),
    };
    let what = What::Charge { merchant, code, excluded, coupon };
    Some(Request { who, account, amount, key, order, what, by: client.by() })
}

/// Of some charges a part takes no part; of a few all of it.
fn excluded_of(client: &mut Client, amount: Cents) -> Cents {
    match client.below(100) {
        0..=79 => 0,
        80..=97 => client.below(amount as usize) as Cents,
        _ => amount,
    }
}

/// Money paid in at a till, at once.
pub fn recharge(client: &mut Client) {
    let request = plan_recharge(client);
    let What::Recharge { merchant, .. } = request.what else { unreachable!() };
    let allowed = with_mood(client, merchant, &["CARD_NOT_ACTIVE", "BALANCE_LIMIT"]);
    client.request(RECHARGE, &request, &allowed);
}

pub fn plan_recharge(client: &mut Client) -> Request {
    let account = client.any_account();
    let amount = 1_000 + client.below(100_000) as i64;
    let method = ["cash", "wechat", "alipay"][client.below(3)];
    let merchant = client.chance(50).then(|| client.any_merchant());
    Request {
        who: Who::Backend,
        amount,
        key: client.key(),
        order: client.order(),
        what: What::Recharge { card: account.1.card(), method, merchant },
        by: client.by(),
        account,
    }
}

/// Two company cards are filled in one transaction, lower id first, as all locks of cards are taken.
pub fn recharge_together(client: &mut Client) {
    let mut requests = vec![];
    for n in [client.below(1_000), client.below(1_000)] {
        let account = if n % 3 == 0 { client.world.hot_enterprise(n) } else { client.world.cold_enterprise(n) };
        requests.push(Request {
            who: Who::Backend,
            amount: 100 + client.below(20_000) as i64,
            key: Some(client.name("together")),
            order: None,
            what: What::Recharge { card: account.1.card(), method: "cash", merchant: None },
            by: client.by(),
            account,
        });
    }
    requests.sort_by_key(|request| request.account.1.card());
    if requests[0].account.0 == requests[1].account.0 {
        requests.pop();
    }
    let world = client.world;
    let asked = Request::send_together(&requests, world, &mut client.a);
    let allowed = ["CARD_NOT_ACTIVE", "BALANCE_LIMIT"];
    match asked.result {
        Ok(answers) => {
            for (request, answer) in requests.iter().zip(answers) {
                let unanswered = asked.unanswered.clone();
                let one = Asked { result: Ok(answer), lost: asked.lost, span: asked.span, unanswered };
                enter(world, "recharge together", request, one, &allowed);
            }
        }
        Err(refusal) => world.refused("recharge together", &client.by(), &refusal, &allowed),
    }
}

/// A member asks for a recharge, which waits for its money.
pub fn ask_recharge(client: &mut Client) {
    let account = client.any_account();
    let request = plan_ask(client, account);
    client.request("ask recharge", &request, ASK_REFUSALS);
}

/// What a member's wish may be refused with.
pub const ASK_REFUSALS: &[&str] = &["CARD_NOT_ACTIVE", "BALANCE_LIMIT", "TOO_MANY_PENDING"];

pub fn plan_ask(client: &mut Client, account: Numbered) -> Request {
    let amount = 1_000 + client.below(50_000) as i64;
    let method = ["wechat", "alipay"][client.below(2)];
    let (key, order) = (client.key(), client.order());
    Request {
        who: Who::User(account.1.owner),
        amount,
        // An order that came to nothing may be asked for again: only the key makes it the same request.
        key: key.or_else(|| order.is_some().then(|| client.name("ask"))),
        order,
        what: What::Recharge { card: account.1.card(), method, merchant: None },
        by: client.by(),
        account,
    }
}

pub fn refund(client: &mut Client) {
    if let Some((request, allowed)) = plan_refund(client, 1_000) {
        client.request(REFUND, &request, &allowed);
    }
}

/// A refund of one of the newest payments, and what it may be refused with.
pub fn plan_refund(client: &mut Client, newest: usize) -> Option<(Request, Vec<&'static str>)> {
    let payment = client.any_payment(newest)?;
    let share = [4, 3, 2, 1][client.below(4)];
    let who = client.till(payment.merchant);
    let request = Request {
        who,
        account: payment.account,
        amount: (payment.paid / share).max(1),
        key: client.key(),
        order: None,
        what: What::Refund { merchant: payment.merchant, original: payment.tx_no },
        by: client.by(),
    };
    let merchant = (who != Who::Backend).then_some(payment.merchant);
    let allowed = with_mood(client, merchant, &["REFUND_EXCEEDS_REMAINING"]);
    Some((request, allowed))
}

pub fn cancel(client: &mut Client) {
    if let Some((request, allowed)) = plan_cancel(client) {
        client.request(CANCEL, &request, &allowed);
    }
}

/// All that is left of a payment, which may be nothing any more, and what it may be refused with.
pub fn plan_cancel(client: &mut Client) -> Option<(Request, Vec<&'static str>)> {
    let free = if client.chance(50) { client.any_free() } else { None };
    let payment = free.or_else(|| client.any_payment(200))?;
    let who = client.till(payment.merchant);
    let by_order = if client.chance(50) { payment.order } else { None };
    let what = What::Cancel { merchant: payment.merchant, original: payment.tx_no, by_order };
    let (key, by) = (client.key(), client.by());
    let request = Request { who, account: payment.account, amount: payment.paid, key, order: None, what, by };
    let merchant = (who != Who::Backend).then_some(payment.merchant);
    Some((request, with_mood(client, merchant, &[])))
}

/// A correction of any transaction.
pub fn compensate(client: &mut Client) {
    if let Some((request, allowed)) = plan_compensation(client) {
        client.request(COMPENSATE, &request, &allowed);
    }
}

/// A correction, and what it may be refused with.
pub fn plan_compensation(client: &mut Client) -> Option<(Request, Vec<&'static str>)> {
    let pick = client.below(1_000_000);
    let (original, account) = {
        let pool = client.world.correctable.lock().expect("not poisoned");
        if pool.is_empty() {
            return None;
        }
        pool[pick % pool.len()].clone()
    };
    let mut allowed = vec!["INSUFFICIENT_BALANCE", "BALANCE_LIMIT"];
    let amount = 1 + client.below(5_000) as i64;
    let amount = if client.chance(50) { -amount } else { amount };
    let (credited, kind, paid) = {
        let fact = &client.world.books().facts[&original];
        (fact.credited(), fact.kind, fact.paid)
    };
    // There is nothing to correct until the money is there; what went out comes back no more than once; and what a coupon paid all of
    // may be cancelled.
    if !credited || (kind == Kind::Withdrawal && amount > 0) || (kind == Kind::Payment && paid == 0) {
        allowed.push("STATUS_CONFLICT");
    }
    let (key, by) = (client.key(), client.by());
    let what = What::Compensate { original };
    Some((Request { who: Who::Backend, account, amount, key, order: None, what, by }, allowed))
}

/// Points by hand, so that levels are crossed both ways.
pub fn points(client: &mut Client) {
    let account = client.any_personal();
    let card = account.1.card();
    let change = 1 + client.below(3_000) as i64;
    let amount = if client.chance(60) { -change } else { change };
    // Always a key: it is what finds the entry in the ledger again.
    let key = Some(client.name("points"));
    let by = client.by();
    let request = Request { who: Who::Backend, account, amount, key, order: None, what: What::Points { card }, by };
    client.request(POINTS, &request, &["CARD_NOT_ACTIVE"]);
}

/// Something that was answered before, by whichever client, is sent again and must be answered the same.
pub fn replay(client: &mut Client) {
    let Some(known) = any_done(client) else { return };
    let (mut request, first) = (known.0.clone(), &known.1);
    request.by = client.by();
    // A known order id under a new key is the same request; the new key is bound to it.
    let rebound = request.order.is_some() && !request.may_be_asked_again() && client.chance(30);
    if rebound {
        request.key = Some(client.name("rebound"));
    }
    if ask_again(client, &request, first) && rebound {
        pool(&client.world.done, Arc::new((request, first.clone())));
    }
}

/// Sends a request that was answered before; whether the answer was a replay of the first.
pub fn ask_again(client: &mut Client, request: &Request, first: &Answer) -> bool {
    let asked = request.send(client.world, &mut client.a);
    let Some(answer) = enter(client.world, "replay", request, asked, &[]) else { return false };
    // adjust_points does not say whether it replays; the ledger does.
    let is_replay = answer.replayed || matches!(request.what, What::Points { .. });
    if !is_replay || answer.id != first.id {
        client
            .world
            .wrong(format!("{request} was {} and is now {}, replayed: {}", first.id, answer.id, answer.replayed));
    }
    is_replay && answer.id == first.id
}

/// A known key or order id with another request: refused, and nothing moves.
pub fn replay_changed(client: &mut Client) {
    let Some(known) = any_done(client) else { return };
    let mut request = known.0.clone();
    request.by = client.by();
    let token = change(client, &mut request);
    let asked = request.send(client.world, &mut client.a);
    client.must_refuse("changed replay", &asked.result, &[token]);
    if let Ok(answer) = &asked.result {
        // Done, wrongly; entered, so that the sums tell the same story as this.
        client.world.books().enter(&answer.id, request.fact(answer, asked.lost));
    }
}

/// Changes something that makes it another request; returns how that must be refused.
fn change(client: &mut Client, request: &mut Request) -> &'static str {
    if request.key.is_none() {
        request.amount += 1;
        return "EXTERNAL_ORDER_CONFLICT";
    }
    if request.order.is_some() && !request.may_be_asked_again() && client.chance(25) {
        request.key = Some(client.name("foreign"));
        request.amount += 1;
        return "EXTERNAL_ORDER_CONFLICT";
    }
    let another = client.any_payment(100);
    let order = client.name("order");
    let pick = client.below(3);
    match &mut request.what {
        What::Charge { .. } if pick == 0 => request.order = Some(order),
        What::Charge { coupon, .. } if pick == 2 && coupon.is_some() => *coupon = None,
        What::Charge { excluded, .. } if pick == 1 => *excluded += if *excluded == request.amount { -1 } else { 1 },
        What::Recharge { method, .. } if pick == 0 => {
            *method = if *method == "wechat" { "alipay" } else { "wechat" };
        }
        // The key of a till's recharge is the merchant's, so it cannot be another card's either.
        What::Recharge { card, merchant: Some(_), .. } if pick == 1 && request.account.1.kind == CardKind::Personal => {
            *card = client.own.account.1.card();
        }
        What::Refund { original, merchant } if pick == 0 => match another {
            Some(p) if p.merchant == *merchant && p.tx_no != *original => *original = p.tx_no,
            _ => request.amount += 1,
        },
        // Another payment, whether or not there is one.
        What::Cancel { original, merchant, by_order } => {
            let other = another.filter(|p| p.merchant == *merchant && p.tx_no != *original);
            *original = other.map_or("ZF2001000001".into(), |p| p.tx_no);
            *by_order = None;
        }
        // Never to zero, which is refused for what it is.
        _ => request.amount += if request.amount == -1 { -1 } else { 1 },
    }
    "IDEMPOTENCY_KEY_REUSED"
}

fn any_done(client: &mut Client) -> Option<Arc<(Request, Answer)>> {
    let pick = client.below(1_000_000);
    let done = client.world.done.lock().expect("not poisoned");
    (!done.is_empty()).then(|| done[pick % done.len()].clone())
}
