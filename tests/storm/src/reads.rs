//! Readers, of the server that takes the money and of a standby: pages, balances, payments with their refunds, days, and several of them
//! in one snapshot. What they saw is written down; the certificate says whether it can have been so.

use crate::db::{Asked, Isolation, Link, Refusal, Server, Step, Who};
use crate::history::{FeedNote, Known, Look, Note, Of, PageNote, Why, list_of_member, list_of_merchant};
use crate::model::{Account, CardKind, cents};
use crate::world::World;
use postgres::Row;
use postgres::types::ToSql;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::Ordering;
use std::time::Duration;
use uuid::Uuid;

const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const LONGEST: i32 = 20;

const PAGE: &str = "SELECT tx_no, card_seq, change::text, balance_after::text FROM app.card_statement($1, $2, $3, $4)";
/// With the balance of now beside each line: the same statement, so the same snapshot.
const BALANCE: &str = "SELECT s.tx_no, s.card_seq, s.change::text, s.balance_after::text, \
    app.balance_as_of($1, clock_timestamp(), $2)::text FROM app.card_statement($1, $2, NULL, $3) s";
const PAYMENT: &str = "SELECT tx_no, final_amount::text, coalesce(refunded_amount, 0)::text FROM app.tx_by_no($1)";
const FEED: &str = "SELECT tx_no, tx_type, final_amount::text FROM app.merchant_statement($1, p_limit => $2)";
const USAGE: &str = "SELECT tx_no, status, change::text FROM app.usage_page(NULL, $1)";
const MY_CARDS: &str = "SELECT card_type, card_id, balance::text, points FROM app.v_user_cards";
const EVERYTHING: &str = "SELECT id, card_seq, balance::text, point_seq, points FROM app.personal_cards \
    UNION ALL SELECT id, card_seq, balance::text, NULL, NULL FROM app.enterprise_cards";
/// Yesterday and tomorrow, too: a storm may go past midnight.
const DAYS: &str = "SELECT sum(payments + refunds + recharges + adjustments + withdrawals)::bigint, sum(net)::text \
    FROM app.day_totals(app.business_day(now()) - 1, app.business_day(now()) + 1)";

/// One thing to look at.
enum Sight {
    Page { card: Uuid, kind: &'static str, below: Option<String>, limit: i32 },
    Balance { card: Uuid, kind: &'static str, limit: i32 },
    Payment { tx_no: String },
    Feed { merchant: String, limit: i32 },
    Usage { member: Uuid, limit: i32 },
    MyCards,
    Everything,
    Days,
}

impl Sight {
    fn step(&self) -> Step<'_> {
        match self {
            Sight::Page { card, kind, below, limit } => (PAGE, vec![card, kind, below, limit]),
            Sight::Balance { card, kind, limit } => (BALANCE, vec![card, kind, limit]),
            Sight::Payment { tx_no } => (PAYMENT, vec![tx_no]),
            Sight::Feed { merchant, limit } => (FEED, vec![merchant, limit]),
            Sight::Usage { limit, .. } => (USAGE, vec![limit]),
            Sight::MyCards => (MY_CARDS, vec![]),
            Sight::Everything => (EVERYTHING, vec![]),
            Sight::Days => (DAYS, vec![]),
        }
    }

    /// Adds what it showed.
    fn read(&self, rows: &[Row], look: &mut Look) {
        match self {
            Sight::Page { card, below, limit, .. } => look.pages.push(page(*card, below.clone(), *limit, rows)),
            Sight::Balance { card, limit, .. } => {
                look.pages.push(page(*card, None, *limit, rows));
                let place = rows.first().map_or(0, |row| row.get::<_, i64>(1) as u64);
                let balances = rows.iter().map(|row| cents(row.get(4)));
                look.seen.extend(balances.map(|balance| (Of::Balance(*card), Some(place), Some(balance))));
            }
            Sight::Payment { tx_no } => {
                let (paid, refunded) = (cents(rows[0].get(1)), cents(rows[0].get(2)));
                let n = rows.len() as u64 - 1;
                look.seen.push((Of::Refunds(tx_no.clone()), Some(n), Some(paid - refunded)));
                let lines = rows[1..].iter().zip((1..=n).rev());
                let lines = lines.map(|(row, place)| (row.get(0), place, -cents(row.get(1)), None)).collect();
                look.pages.push(PageNote { of: Of::Refunds(tx_no.clone()), below: None, limit: 500, lines });
            }
            Sight::Feed { merchant, limit } => {
                let lines = rows.iter().map(|row| {
                    let amount = cents(row.get(2));
                    (row.get(0), if ["payment", "withdrawal"].contains(&row.get(1)) { -amount } else { amount })
                });
                let (list, limit) = (list_of_merchant(merchant), *limit as usize);
                look.feeds.push(FeedNote { list, limit, lines: lines.collect() });
            }
            Sight::Usage { member, limit } => {
                // Recharges that wait are between the movements.
                let moved = rows.iter().filter(|row| row.get::<_, &str>(1) != "processing");
                let lines: Vec<(String, i64)> = moved.map(|row| (row.get(0), cents(row.get(2)))).collect();
                let limit = if rows.len() < *limit as usize { usize::MAX } else { lines.len() };
                if limit > 0 {
                    look.feeds.push(FeedNote { list: list_of_member(*member), limit, lines });
                }
            }
            Sight::MyCards => {
                for row in rows {
                    let card: Uuid = row.get(1);
                    look.seen.push((Of::Balance(card), None, Some(cents(row.get(2)))));
                    look.seen.extend(row.get::<_, Option<i64>>(3).map(|points| (Of::Points(card), None, Some(points))));
                }
            }
            Sight::Everything => {
                for row in rows {
                    let (card, place): (Uuid, i64) = (row.get(0), row.get(1));
                    look.seen.push((Of::Balance(card), Some(place as u64), Some(cents(row.get(2)))));
                    let points: Option<i64> = row.get(3);
                    look.seen.extend(points.map(|place| (Of::Points(card), Some(place as u64), row.get(4))));
                }
            }
            Sight::Days => look.totals = Some((rows[0].get::<_, i64>(0) as u64, cents(rows[0].get(1)))),
        }
    }
}

fn page(card: Uuid, below: Option<String>, limit: i32, rows: &[Row]) -> PageNote {
    let lines =
        rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1) as u64, cents(row.get(2)), Some(cents(row.get(3)))));
    PageNote { of: Of::Balance(card), below, limit: limit as usize, lines: lines.collect() }
}

/// Looks once at something that the dice choose. What kind of look it was, and what it was refused with, if it was.
pub fn look(world: &World, link: &mut Link, dice: &mut StdRng) -> (&'static str, Result<(), Refusal>) {
    let mut account = || any_account(world, dice);
    let (one, others) = (account(), [account(), account()]);
    let card = one.card();
    let kind = one.kind.label();
    let limit = dice.gen_range(1..=LONGEST);
    let shop_or_owner = if dice.gen_bool(0.5) { Who::User(one.owner) } else { Who::Backend };
    let (name, who, sights) = match dice.gen_range(0..100) {
        0..=24 => ("page", shop_or_owner, vec![Sight::Page { card, kind, below: None, limit }]),
        25..=44 => ("balance", shop_or_owner, vec![Sight::Balance { card, kind, limit: 2 }]),
        45..=59 => ("payment", Who::Backend, payment(world, dice).into_iter().collect()),
        60..=64 => {
            let (who, feed) = feed(world, dice);
            ("merchant", who, vec![feed])
        }
        65..=69 => {
            let (_, account) = world.hot_personal(dice.gen_range(0..1_000));
            ("usage", Who::User(account.owner), vec![Sight::Usage { member: account.owner, limit }])
        }
        70..=84 => {
            let several = others.iter().chain([&one]).map(|account| Sight::Balance {
                card: account.card(),
                kind: account.kind.label(),
                limit: 2,
            });
            let mut sights: Vec<Sight> = several.chain([feed(world, dice).1]).collect();
            sights.extend(payment(world, dice));
            ("snapshot", Who::Backend, sights)
        }
        85..=89 => ("page after page", shop_or_owner, vec![Sight::Page { card, kind, below: None, limit }]),
        90..=96 => {
            let mut own = vec![Sight::MyCards, Sight::Page { card, kind, below: None, limit: 1 }];
            if one.kind == CardKind::Personal {
                own.push(Sight::Usage { member: one.owner, limit });
            }
            ("own cards", Who::User(one.owner), own)
        }
        _ => ("everything", Who::Superuser, vec![Sight::Everything, Sight::Days]),
    };
    if sights.is_empty() {
        return (name, Ok(()));
    }
    let seen = snapshot(link, who, &sights);
    if let (Ok(look), "page after page") = (&seen, name)
        && let Some((last, ..)) = look.pages[0].lines.last()
    {
        // The second page comes later: what is below a line does not change.
        let next = Sight::Page { card, kind, below: Some(last.clone()), limit };
        return (name, snapshot(link, who, &[next]).map(|_| ()));
    }
    (name, seen.map(|_| ()))
}

fn any_account(world: &World, dice: &mut StdRng) -> std::sync::Arc<Account> {
    let n = dice.gen_range(0..1_000);
    let account = match dice.gen_range(0..6) {
        0 | 1 => world.hot_personal(n),
        2 | 3 => world.hot_enterprise(n),
        4 => world.cold_personal(n),
        _ => world.cold_enterprise(n),
    };
    account.1
}

/// A merchant's page, for its operator or the shop.
fn feed(world: &World, dice: &mut StdRng) -> (Who, Sight) {
    let merchant = &world.merchants[dice.gen_range(0..world.merchants.len())];
    let who = if dice.gen_bool(0.5) { Who::User(merchant.operator) } else { Who::Backend };
    (who, Sight::Feed { merchant: merchant.code.clone(), limit: dice.gen_range(1..=LONGEST) })
}

fn payment(world: &World, dice: &mut StdRng) -> Option<Sight> {
    let payments = world.payments.lock().expect("not poisoned");
    let newest = payments.len().min(60);
    let back = if newest == 0 { return None } else { dice.gen_range(0..newest) };
    Some(Sight::Payment { tx_no: payments[payments.len() - 1 - back].tx_no.clone() })
}

/// All of it in one snapshot: one statement, or one transaction.
fn snapshot(link: &mut Link, who: Who, sights: &[Sight]) -> Result<Look, Refusal> {
    let steps: Vec<Step> = sights.iter().map(Sight::step).collect();
    let asked: Asked<Vec<Vec<Row>>> = match steps.as_slice() {
        [(sql, params)] => {
            let params: &[&(dyn ToSql + Sync)] = params;
            link.ask_rows(who, sql, params)
        }
        steps => link.ask_together(who, SNAPSHOT, steps),
    };
    let see = |all: &[Vec<Row>]| {
        let mut look = Look::default();
        sights.iter().zip(all).for_each(|(sight, rows)| sight.read(rows, &mut look));
        look
    };
    match asked.result {
        Ok(all) => {
            link.write_down(asked.span, Note::Saw(Box::new(see(&all))));
            Ok(see(&all))
        }
        Err(refusal) => {
            link.write_down(asked.span, Note::Refused(Known::default(), Why::Else));
            Err(refusal)
        }
    }
}

/// Between two looks of a reader there: it is the storm that is to have the machine.
const PAUSE: Duration = Duration::from_millis(4);

/// Reads on a standby until the storm is over. What is new may not have come to it yet.
pub fn on_standby(world: &World, standby: &Server, no: usize) {
    // A snapshot that stands in the way of what is replayed is cancelled, and may be asked for again.
    let mut link = Link::new(standby, Isolation::RepeatableRead);
    let mut dice = StdRng::seed_from_u64(world.seed ^ ((no as u64) << 32));
    link.by = (no, 0);
    while !world.stop.load(Ordering::Relaxed) {
        link.by.1 += 1;
        let (kind, seen) = look(world, &mut link, &mut dice);
        std::thread::sleep(PAUSE);
        match seen {
            Ok(()) => world.count("read there", kind),
            Err(refusal) => {
                world.refused("read there", &format!("reader {no}"), &refusal, &["CARD_NOT_FOUND", "TX_NOT_FOUND"]);
            }
        }
    }
}
