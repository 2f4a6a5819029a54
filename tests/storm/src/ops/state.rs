//! Operations that change who may pay: statuses, replacements, bindings, levels, settings, months.

use super::races::{own_charge, own_code};
use super::{CHARGE, Client};
use crate::db::{Asked, Link, Step, Who};
use crate::history::{card_switch, member_switch, merchant_switch};
use crate::model::{Account, CAMPAIGNS, CardKind, campaigns_on};
use crate::request::{Code, Request, What};
use crate::world::{SET_LEVELS, level_columns};
use std::sync::atomic::Ordering;
use std::time::Duration;
use uuid::Uuid;

const SET_CARD_STATUS: &str = "SELECT app.set_card_status($1, $2, $3, 'storm')";
const SET_MEMBER_STATUS: &str = "SELECT app.set_member_status($1, $2, 'storm')";
const ADD_MEMBER: &str = "SELECT app.enterprise_add_member($1, $2, $3)";
const REMOVE_MEMBER: &str = "SELECT app.enterprise_remove_member($1, $2)";

fn set_card_status(link: &mut Link, who: Who, card: Uuid, kind: CardKind, status: &str) -> Asked<bool> {
    let asked = link.ask(who, SET_CARD_STATUS, &[&card, &kind.label(), &status], |rows| rows[0].get(0));
    link.note_switch(&asked, &card_switch(card), status == "active");
    asked
}

/// Freezes a card under everybody's hands, and thaws it.
pub fn freeze(client: &mut Client) {
    let account = client.any_account().1;
    let (card, kind) = (account.card(), account.kind);
    // Lost or replaced, perhaps, by another client.
    let allowed = ["STATUS_CONFLICT"];
    let asked = set_card_status(&mut client.a, Who::Backend, card, kind, "frozen");
    client.expect("freeze", asked, &allowed);
    std::thread::sleep(Duration::from_micros(client.below(3_000) as u64));
    let asked = set_card_status(&mut client.a, Who::Backend, card, kind, "active");
    client.expect("thaw", asked, &allowed);
}

/// On the own card, where nobody interferes: a replaced code, a frozen card and a used code do not pay, and a refused
/// charge leaves the code good.
pub fn own_card_refusals(client: &mut Client) {
    let Some(old) = own_code(client) else { return };
    let Some(code) = own_code(client) else { return };
    let card = client.own.account.1.card();
    let world = client.world;
    let charge = own_charge(client, &old);
    let asked = charge.send(world, &mut client.a);
    client.must_refuse(CHARGE, &asked.result, &["QR_EXPIRED_OR_INVALID"]);

    let asked = set_card_status(&mut client.a, Who::Backend, card, CardKind::Personal, "frozen");
    client.must_change("freeze", asked);
    let charge = own_charge(client, &code);
    let asked = charge.send(world, &mut client.a);
    client.must_refuse(CHARGE, &asked.result, &["CARD_NOT_ACTIVE"]);
    let asked = set_card_status(&mut client.a, Who::Backend, card, CardKind::Personal, "active");
    client.must_change("thaw", asked);

    client.request(CHARGE, &charge, &[]);
    let again = own_charge(client, &code);
    let asked = again.send(world, &mut client.a);
    client.must_refuse(CHARGE, &asked.result, &["QR_EXPIRED_OR_INVALID"]);
}

/// A card is lost, by its owner or a backend, and replaced, perhaps by two clients at once.
pub fn replace(client: &mut Client) {
    let account = client.any_personal().1;
    replace_card(client, &account);
}

pub fn replace_card(client: &mut Client, account: &Account) {
    const REPLACE: &str = "SELECT card_id, card_no FROM app.replace_card($1, 'storm')";
    let old = account.card();
    let who = if client.chance(50) { Who::User(account.owner) } else { Who::Backend };
    let asked = set_card_status(&mut client.a, who, old, CardKind::Personal, "lost");
    client.expect("lose", asked, &["STATUS_CONFLICT"]);
    let asked = client.a.ask(Who::Backend, REPLACE, &[&old], |rows| (rows[0].get(0), rows[0].get(1)));
    client.a.note_replacement(&asked, old, account.owner);
    let Some(((new, card_no), _)) = client.expect::<(Uuid, String)>("replace", asked, &["STATUS_CONFLICT"]) else {
        return;
    };
    {
        let mut cards = account.cards.write().expect("not poisoned");
        if !cards.iter().any(|(id, _)| *id == new) {
            cards.push((new, card_no));
        }
    }
    let before = client.world.books().replaced.insert(old, new);
    if before.is_some_and(|b| b != new) {
        client.world.wrong(format!("{}: {old} was replaced by {before:?} and by {new}", client.by()));
    }
}

/// A charge of the hot enterprise card with a code of the floater.
fn floater_charge(client: &mut Client, code: &Code) -> Request {
    let amount = 100 + client.below(1_000) as i64;
    Request {
        who: Who::Backend,
        account: client.world.hot_enterprise(0),
        amount,
        key: Some(client.name("floater")),
        order: None,
        what: What::Charge { merchant: 0, code: code.clone(), excluded: 0, coupon: None },
        by: client.by(),
    }
}

/// Takes the floater off a hot enterprise card, sees that its code is dead, and binds it again, now and then as an admin.
pub fn rebind(client: &mut Client) {
    let (_, account) = client.world.hot_enterprise(0);
    let (card_no, floater, admin) = (account.card_no(), client.own.floater, Who::User(account.owner));
    let code = client.rotate(&account, floater, &["CARD_NOT_ACTIVE"]);
    let yes = |rows: &[postgres::Row]| rows[0].get::<_, bool>(0);
    let who = [Who::Backend, admin, Who::User(floater)][client.below(3)];
    let asked = client.a.ask(who, REMOVE_MEMBER, &[&card_no, &floater], yes);
    client.a.note_death(&asked, (account.card(), floater));
    // A member whose removal was done but not answered is a stranger to the card when it asks again.
    match asked.result {
        Err(ref refusal) if asked.lost && refusal.token == "CARD_NOT_FOUND" => client.world.count("unbind", "ok"),
        _ => client.must_change("unbind", asked),
    }
    let world = client.world;
    if let Some(code) = &code {
        let asked = floater_charge(client, code).send(world, &mut client.a);
        client.must_refuse(CHARGE, &asked.result, &["QR_EXPIRED_OR_INVALID"]);
    }
    let asked = client.a.ask(admin, ADD_MEMBER, &[&card_no, &floater, &"member"], yes);
    client.must_change("bind", asked);
    if let Some(code) = &code {
        let asked = floater_charge(client, code).send(world, &mut client.a);
        client.must_refuse(CHARGE, &asked.result, &["QR_EXPIRED_OR_INVALID"]);
    }
    if client.chance(30) {
        for role in ["admin", "member"] {
            let asked = client.a.ask(Who::Backend, ADD_MEMBER, &[&card_no, &floater, &role], yes);
            client.must_change("bind", asked);
        }
    }
}

/// Suspends the floater: from the answer on it cannot pay, nor get a code.
pub fn suspend(client: &mut Client) {
    let (_, account) = client.world.hot_enterprise(0);
    let floater = client.own.floater;
    let code = client.rotate(&account, floater, &["CARD_NOT_ACTIVE"]);
    let yes = |rows: &[postgres::Row]| rows[0].get::<_, bool>(0);
    let asked = client.a.ask(Who::Backend, SET_MEMBER_STATUS, &[&floater, &"suspended"], yes);
    client.a.note_switch(&asked, &member_switch(floater), false);
    client.must_change("suspend", asked);
    // The card itself is looked at first; others freeze it.
    let due = ["MEMBER_NOT_ACTIVE", "CARD_NOT_ACTIVE"];
    let world = client.world;
    if let Some(code) = &code {
        let asked = floater_charge(client, code).send(world, &mut client.a);
        client.must_refuse(CHARGE, &asked.result, &due);
        if client.rotate(&account, floater, &due).is_some() {
            world.wrong(format!("{}: a suspended member got a code", client.by()));
        }
    }
    let asked = client.a.ask(Who::Backend, SET_MEMBER_STATUS, &[&floater, &"active"], yes);
    client.a.note_switch(&asked, &member_switch(floater), true);
    client.must_change("restore", asked);
}

/// Changes the level table; half of the time applies it to every card at once.
pub fn levels(client: &mut Client) {
    const RECOMPUTE: &str = "CALL app.recompute_levels()";
    let clock = &client.world.levels;
    {
        // One at a time, so that versions have an order.
        let _turn = clock.turn.lock().expect("not poisoned");
        let version = clock.begun.load(Ordering::SeqCst) + 1;
        let (numbers, minima, discounts) = level_columns(version);
        clock.begun.store(version, Ordering::SeqCst);
        let asked = client.a.ask(Who::Superuser, SET_LEVELS, &[&numbers, &minima, &discounts], |_| ());
        if client.expect("levels", asked, &[]).is_some() {
            clock.done.store(version, Ordering::SeqCst);
        }
    }
    if client.chance(50) {
        let asked = client.a.ask(Who::Superuser, RECOMPUTE, &[], |_| ());
        client.expect("recompute", asked, &[]);
    }
}

/// One more campaign begins, or all of them pause.
pub fn campaigns(client: &mut Client) {
    const SET: &str = "SELECT app.set_campaign_status($1, $2, 'storm')";
    let clock = &client.world.campaigns;
    let _turn = clock.turn.lock().expect("not poisoned");
    let version = clock.begun.load(Ordering::SeqCst) + 1;
    let on = campaigns_on(version);
    let moves: Vec<(&str, &str)> = match on {
        0 => CAMPAIGNS.iter().map(|(code, _)| (*code, "paused")).collect(),
        _ => vec![(CAMPAIGNS[on - 1].0, "active")],
    };
    let mut steps: Vec<Step> = vec![];
    for (code, status) in &moves {
        steps.push((SET, vec![code, status]));
    }
    clock.begun.store(version, Ordering::SeqCst);
    let asked = client.a.ask_together(Who::Backend, "BEGIN", &steps);
    if client.expect("campaigns", asked, &[]).is_some() {
        clock.done.store(version, Ordering::SeqCst);
    }
}

/// What a campaign is called changes, and with that the version of its terms that payments keep: what it gives does not.
pub fn rename_campaign(client: &mut Client) {
    const EDIT: &str = "SELECT terms_version FROM app.update_campaign($1, jsonb_build_object('name', $2::text))";
    let code = CAMPAIGNS[client.below(CAMPAIGNS.len())].0;
    let name = client.name("campaign");
    let asked = client.a.ask(Who::Backend, EDIT, &[&code, &name], |rows| rows[0].get::<_, i32>(0));
    client.expect("rename campaign", asked, &[]);
}

/// Partitions of some month come into being: what the turn of a month does to those who are in flight. The clock itself
/// cannot be moved here.
pub fn month(client: &mut Client) {
    const MAKE_MONTH: &str = "SELECT sec.make_month(make_date($1, $2, 1))";
    const MAINTAIN: &str = "CALL app.maintain_partitions(4)";
    let asked = if client.chance(20) {
        client.a.ask(Who::Superuser, MAINTAIN, &[], |_| ())
    } else {
        let (year, month) = (2030 + client.below(20) as i32, 1 + client.below(12) as i32);
        client.a.ask(Who::Superuser, MAKE_MONTH, &[&year, &month], |_| ())
    };
    client.expect("month", asked, &[]);
}

/// What pg_cron would run, in the middle of it.
pub fn jobs(client: &mut Client) {
    const JOBS: [&str; 4] = [
        "CALL app.expire_cards()",
        "CALL app.expire_qrcodes()",
        "CALL app.expire_recharges()",
        "CALL app.expire_keys()",
    ];
    // Of this release: what they end is a month that is over, of which there is none; a head is signed where a key is.
    const NEWER: [&str; 4] = [
        "CALL app.close_months()",
        "CALL app.archive_partitions('2020-02-01')",
        "CALL audit.sign_heads()",
        "CALL app.issue_coupon_to_all('all')",
    ];
    const SEAL: &str = "CALL audit.seal()";
    let pick = client.below(2 * JOBS.len() + NEWER.len());
    let job = match JOBS.iter().chain(&NEWER).nth(pick) {
        Some(job) if NEWER.contains(job) && !client.world.has_modes => return,
        Some(job) => job,
        None if client.world.has_seals => SEAL,
        None => return,
    };
    // Several who seal wait for each other; where backends are killed all the time, none of them would live to its end.
    let world = client.world;
    let alone = (job == SEAL).then(|| world.sealing.try_lock());
    if world.server.rough && alone.as_ref().is_some_and(|alone| alone.is_err()) {
        return;
    }
    let asked = client.a.ask(Who::Superuser, job, &[], |_| ());
    client.expect("jobs", asked, &[]);
}

/// For a moment nobody may write: nothing moves while it lasts, whatever was under way. Everybody else asks again when it is over.
pub fn read_only(client: &mut Client) {
    const ON: &str = "SELECT mode FROM app.set_mode('read_only', 'storm')";
    const OFF: &str = "SELECT mode FROM app.set_mode('normal')";
    const MOVED: &str = "SELECT (SELECT count(*) || ' ' || sum(t.refunded_amount) FROM app.transactions t) || ' ' || \
        (SELECT sum(c.balance) || ' ' || sum(c.points) || ' ' || sum(c.card_seq) FROM app.personal_cards c) || ' ' || \
        (SELECT sum(c.balance) || ' ' || sum(c.card_seq) FROM app.enterprise_cards c)";
    let server = &client.world.server;
    let Ok(_only) = server.mode.try_lock() else { return };
    if !client.world.has_modes || !client.a.sees_commits() {
        return;
    }
    let asked = client.a.ask(Who::Superuser, ON, &[], |_| ());
    client.expect("read_only", asked, &[]);
    let mut moved = || client.a.ask(Who::Superuser, MOVED, &[], |rows| rows[0].get::<_, Option<String>>(0)).result.ok();
    let before = moved();
    std::thread::sleep(Duration::from_millis(5));
    let after = moved();
    if before != after {
        client.world.wrong(format!("{}: while read_only was on, {before:?} became {after:?}", client.by()));
    }
    let asked = client.a.ask(Who::Superuser, OFF, &[], |_| ());
    client.expect("normal", asked, &[]);
}

/// Settings change under everybody's hands, without consequence for the books.
pub fn settings(client: &mut Client) {
    const UPDATE: &str = "SELECT app.update_settings(jsonb_build_object('qr_ttl_seconds', $1::integer))";
    let seconds = 600 + client.below(300) as i32;
    let asked = client.a.ask(Who::Backend, UPDATE, &[&seconds], |_| ());
    client.expect("settings", asked, &[]);
}

/// A card ends far away, on another day than before, or never.
pub fn expiry(client: &mut Client) {
    const SET: &str = "SELECT app.set_card_expiry($1, $2, $3::text::timestamptz, 'storm')";
    let account = client.any_account().1;
    let ends = [None, Some("2090-01-01 00:00Z"), Some("2091-01-01 00:00Z")][client.below(3)];
    let asked = client.a.ask(Who::Backend, SET, &[&account.card(), &account.kind.label(), &ends], |_| ());
    // The card may be closed, or replaced meanwhile.
    client.expect("expiry", asked, &["STATUS_CONFLICT"]);
}

/// Somebody begins at the moody merchant's till, and leaves: payments there go on.
pub fn staff(client: &mut Client) {
    const BEGINS: &str = "SELECT app.set_merchant_user($1, $2)";
    const LEAVES: &str = "SELECT app.remove_merchant_user($1, $2)";
    let code = client.world.merchants.iter().find(|m| m.moody).expect("one is").code.clone();
    let cashier = Uuid::from_u128(0xca54_0000 + client.below(4) as u128);
    for sql in [BEGINS, LEAVES] {
        let asked = client.a.ask(Who::Backend, sql, &[&code, &cashier], |_| ());
        client.expect("staff", asked, &[]);
    }
}

/// Switches the moody merchant off and on.
pub fn merchant_pause(client: &mut Client) {
    const SET_ACTIVE: &str = "SELECT app.set_merchant_status($1, $2, 'storm')";
    let merchant = client.world.merchants.iter().find(|m| m.moody).expect("one is");
    for active in [false, true] {
        let asked = client.a.ask(Who::Backend, SET_ACTIVE, &[&merchant.code, &active], |_| ());
        client.a.note_switch(&asked, &merchant_switch(&merchant.code), active);
        client.expect("merchant", asked, &[]);
        std::thread::sleep(Duration::from_millis(1));
    }
}
