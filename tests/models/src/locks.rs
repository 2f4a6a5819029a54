//! The order of locks: no set of transactions with one RPC each can wait for each other for ever.
//!
//! The protocol: every RPC and every batch of a job that writes (`docs/api.json` says which there are) takes its locks in the order
//! that its source has them (`sources.rs` reads it from `src/` and `sql/`, so that one which joins is here the moment that it is
//! declared), and keeps them until its transaction ends. Each lock may be left out, as branches do, and be on either of two: keys,
//! orders, trade numbers, members, merchants, payments, payments in suspense, cards, lines of closed months. The making of months,
//! the settings, the run of a job and the note of a closing or a seal are one for all.
//!
//! Said of the real system, because a model of locks alone cannot know it: a card that is there is locked before what belongs to it is
//! written (bindings, lines); the row of a trade number in suspense changes only under the lock of its suspense; `expire_keys` does not
//! see keys that are being claimed; a card that replaces another has a higher id, whatever the clock said (`domain::bucket::successor_id`;
//! not where it was replaced before 0.3.0, while the clock was set back); the coupon of a payment is locked after its card
//! (`coupons::hold` and `coupons::refunded` assert that), and who locks parts of a budget without one (`update_coupon`) locks no card.
//!
//! Left out: table locks of DDL (archiving gives up after half a second, making months waits two seconds at most), triggers of a shop,
//! transactions with several RPCs, and what only stricter isolation levels pin counts as locked always.
//!
//! The bound: any two at once, with up to three locks (with all of them in the long form: two that wait for each other need one each,
//! and at most one more that it cannot be without), of those ways that are not part of another one. For more of them it is shown that
//! all ways keep one order of kinds, with which there is no ring of any length.

use crate::leaves::{Kind, Lock};
use crate::somebody_goes_on;
use stateright::{Model, Property};

const ALL_END: &str = "no deadlock, by answers and by the server's own count"; // of the storm
const SEEN_WAITING: &str = "one waits for another";

/// A lock of one of two, or of one of them that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    kind: Kind,
    at: Option<u8>,
}

/// What is locked: a kind, and which of the two.
type Row = (Kind, u8);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Backend {
    way: u8,
    done: u8,
    waits_for: Option<Row>,
    holds: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    backends: Vec<Backend>,
    /// Whether anybody has asked for one of a kind: the first that is asked for is the first of the two.
    named: Vec<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// With the place on its way: what lies before it is left out.
    Ask(u8, u8, Row),
    GoOn(u8),
    End(u8),
}

#[derive(Clone, Debug)]
pub struct Order {
    ways: Vec<Vec<Step>>,
    at_once: usize,
    /// How many locks one has at most when it asks for another.
    most_held: usize,
}

/// The trade number that is in suspense already, in the first of the rows there.
const SUSPENDED: u8 = 1;

impl Order {
    /// Of these ways those that are not part of another: a lock that is left out makes the shorter of the longer.
    pub fn new(ways: &[Vec<Lock>], at_once: usize, most_held: usize) -> Order {
        let steps = |lock: &Lock| match lock.many {
            true => vec![Step { kind: lock.kind, at: Some(0) }, Step { kind: lock.kind, at: Some(1) }],
            false => vec![Step { kind: lock.kind, at: None }],
        };
        let mut ways: Vec<Vec<Step>> = ways.iter().map(|way| simpler(way).iter().flat_map(steps).collect()).collect();
        ways.sort_by_key(|way: &Vec<Step>| std::cmp::Reverse(way.len()));
        let mut kept: Vec<Vec<Step>> = vec![];
        for way in ways {
            if !kept.iter().any(|longer| is_part_of(&way, longer)) {
                kept.push(way);
            }
        }
        Order { ways: kept, at_once, most_held }
    }

    /// What is left of a backend's way, with the places that it then is at.
    fn rest(&self, backend: &Backend) -> impl Iterator<Item = (u8, Step)> {
        (1..).zip(self.ways[usize::from(backend.way)].iter().copied()).skip(backend.done.into())
    }

    /// The rows that the next step may be on.
    fn choices(&self, state: &State, backend: &Backend, step: Step) -> Vec<Row> {
        let held = |kind: Kind| backend.holds.iter().find(|row| row.0 == kind).map(|row| row.1);
        let has_asked = |kind: Kind| self.ways[usize::from(backend.way)].iter().any(|step| step.kind == kind);
        match (step.kind, step.at) {
            (kind, Some(at)) => vec![(kind, at)],
            // What belongs to a card, or to a row in suspense, is written under the lock of that.
            (Kind::Binding, _) => held(Kind::Card).map(|card| (Kind::Binding, card)).into_iter().collect(),
            (Kind::TradeRow, _) => held(Kind::Suspense).map(|row| (Kind::TradeRow, row)).into_iter().collect(),
            (Kind::Lines, _) if held(Kind::Card).is_none() => vec![],
            // A trade number that nobody had is in no suspense; the one that is there leads to its row.
            (Kind::Suspense, _) if held(Kind::Trade).is_some() => vec![],
            (Kind::Suspense, _) if has_asked(Kind::Trade) => vec![(Kind::Suspense, 0)],
            // One RPC is about one of a kind, and has it already.
            (kind, _) if held(kind).is_some() => vec![],
            (kind, _) if kind.is_one() => vec![(kind, 0)],
            (kind, _) if kind == Kind::Trade || state.named.contains(&kind) => vec![(kind, 0), (kind, 1)],
            (kind, _) => vec![(kind, 0)],
        }
    }
}

/// Without what makes no difference: a kind that comes again where all that lies between needs it anyway.
fn simpler(way: &[Lock]) -> Vec<Lock> {
    // Who has a card and a coupon of a member's or a part of a budget locked, locked the card first.
    let needs = |kind: Kind, other: Kind| {
        matches!((kind, other), (Kind::Binding | Kind::Lines | Kind::MemberCoupon | Kind::BudgetPart, Kind::Card))
    };
    let mut kept: Vec<Lock> = vec![];
    // Without a row in suspense it is the trade number that this call has claimed itself.
    let is_own =
        |lock: &&Lock, kept: &[Lock]| lock.kind == Kind::TradeRow && !kept.iter().any(|k| k.kind == Kind::Suspense);
    for lock in way {
        if is_own(&lock, &kept) {
            continue;
        }
        let before = kept.iter().rposition(|k| k.kind == lock.kind);
        if !before.is_some_and(|at| kept[at + 1..].iter().all(|k| k.kind == lock.kind || needs(k.kind, lock.kind))) {
            kept.push(*lock);
        }
    }
    kept
}

/// The kinds in one order that all ways keep, if there is one: then no ring of those that wait is possible, of however many, for what
/// is locked of one kind is locked in the order of ids.
pub fn one_order(ways: &[Vec<Lock>]) -> Result<Vec<Kind>, Vec<Kind>> {
    let ways: Vec<Vec<Kind>> = ways.iter().map(|way| simpler(way).iter().map(|lock| lock.kind).collect()).collect();
    let mut left: Vec<Kind> = ways.iter().flatten().copied().collect();
    left.sort_unstable();
    left.dedup();
    let mut order = vec![];
    while !left.is_empty() {
        // One before which no way has any other that is left.
        let is_first = |kind: &Kind| {
            ways.iter().all(|way| match way.iter().rposition(|k| k == kind) {
                Some(at) => way[..at].iter().all(|k| k == kind || !left.contains(k)),
                None => true,
            })
        };
        let Some(at) = left.iter().position(is_first) else { return Err(left) };
        order.push(left.remove(at));
    }
    Ok(order)
}

fn is_part_of(way: &[Step], longer: &[Step]) -> bool {
    let mut rest = longer.iter();
    way.iter().all(|step| rest.any(|other| other == step))
}

impl State {
    fn is_held_by_another(&self, who: usize, row: Row) -> bool {
        self.backends.iter().enumerate().any(|(other, b)| other != who && b.holds.contains(&row))
    }

    /// Whether a backend that asks has to wait.
    fn has_to_wait(&self, who: usize, (kind, at): Row) -> bool {
        match kind {
            Kind::FreeCards => false,
            Kind::Key => [Kind::Key, Kind::OldKeys].iter().any(|kind| self.is_held_by_another(who, (*kind, at))),
            Kind::Trade if at == SUSPENDED => self.is_held_by_another(who, (Kind::TradeRow, 0)),
            _ => self.is_held_by_another(who, (kind, at)),
        }
    }

    fn take(&mut self, who: usize, (kind, at): Row) {
        let held = match kind {
            // Passed by where somebody has it.
            Kind::FreeCards if self.is_held_by_another(who, (Kind::Card, at)) => None,
            Kind::FreeCards => Some((Kind::Card, at)),
            // It is there, and only looked at.
            Kind::Trade if at == SUSPENDED => None,
            _ => Some((kind, at)),
        };
        let backend = &mut self.backends[who];
        backend.waits_for = None;
        if let Some(row) = held.filter(|row| !backend.holds.contains(row)) {
            backend.holds.push(row);
            backend.holds.sort_unstable();
        }
    }
}

impl Model for Order {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut sets: Vec<Vec<u8>> = vec![vec![]];
        for _ in 0..self.at_once {
            // In order, because who is who makes no difference.
            let longer = |set: &Vec<u8>| -> Vec<Vec<u8>> {
                let from = set.last().copied().unwrap_or(0);
                (from..self.ways.len() as u8).map(|way| [set.clone(), vec![way]].concat()).collect()
            };
            sets = sets.iter().flat_map(longer).collect();
        }
        let backend = |way| Backend { way, done: 0, waits_for: None, holds: vec![] };
        sets.into_iter().map(|set| State { backends: set.into_iter().map(backend).collect(), named: vec![] }).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, backend) in (0..).zip(&state.backends) {
            if backend.waits_for.is_some() {
                actions.push(Action::GoOn(who));
                continue;
            }
            let may_ask = backend.holds.len() <= self.most_held;
            for (place, step) in self.rest(backend).filter(|_| may_ask) {
                let rows = self.choices(state, backend, step);
                actions.extend(rows.into_iter().map(|row| Action::Ask(who, place, row)));
            }
            if !backend.holds.is_empty() {
                actions.push(Action::End(who));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Ask(who, place, row) => {
                state.backends[usize::from(who)].done = place;
                if !state.named.contains(&row.0) {
                    state.named.push(row.0);
                    state.named.sort_unstable();
                }
                match state.has_to_wait(who.into(), row) {
                    true => state.backends[usize::from(who)].waits_for = Some(row),
                    false => state.take(who.into(), row),
                }
            }
            Action::GoOn(who) => {
                let row = state.backends[usize::from(who)].waits_for?;
                if state.has_to_wait(who.into(), row) {
                    return None;
                }
                state.take(who.into(), row);
            }
            Action::End(who) => {
                let backend = &mut state.backends[usize::from(who)];
                backend.holds.clear();
                backend.done = self.ways[usize::from(backend.way)].len() as u8;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Order>> {
        vec![
            Property::always(ALL_END, |model, state: &State| {
                // Cheap where nobody waits: then whoever is left can go on.
                state.backends.iter().all(|b| b.waits_for.is_none()) || somebody_goes_on(model, state)
            }),
            Property::sometimes(SEEN_WAITING, |_, state: &State| state.backends.iter().any(|b| b.waits_for.is_some())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::Declared;
    use crate::leaves::{leaves, waiting_leaves};
    use crate::sources::Sources;
    use crate::{finds, holds, is_long};
    use mps_tidy::text;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::OnceLock;

    /// Called by the server, not by name: what a trigger does, and a sign-up.
    const BY_TRIGGERS: [&str; 2] = ["register_signup", "business_day_changed_trigger"];
    /// Functions that lock in a loop, and why that is in the order of ids.
    const IN_ORDER: [(&str, &str); 5] = [
        ("features::coupons::drawing::draw", "one part at most is had, by whoever is not waited for"),
        ("features::coupons::parts::lock_all", "they are locked by number"),
        ("ledger::posting::lock_successor", "a card that replaces another has a higher id"),
        ("features::members::set_member_status::set_member_status", "they are sorted by id"),
        ("features::recharges::expire_recharges::expire_recharges_batch", "only it locks several, the oldest first"),
    ];

    const ALL: usize = usize::MAX;

    /// The names of what may write: each function of the API that is not STABLE, and what only superusers call of `app`.
    fn writing() -> Vec<String> {
        let api: serde_json::Value = serde_json::from_str(&text("docs/api.json")).expect("JSON");
        let functions = api["functions"].as_array().expect("functions");
        let writes = functions.iter().filter(|f| f["kind"] == "function" && f["volatility"] == "volatile");
        let name = |f: &serde_json::Value| f["name"].as_str().expect("a name").to_owned();
        let known: BTreeSet<String> = functions.iter().map(name).collect();
        let others = Declared::read().symbols.into_keys().filter(|n| n.starts_with("app.") && !known.contains(n));
        writes.map(name).chain(others).collect()
    }

    /// Of every RPC and job each way, and its name.
    fn ways() -> Vec<(String, Vec<Lock>)> {
        static READ: OnceLock<Vec<(String, Vec<Lock>)>> = OnceLock::new();
        READ.get_or_init(read_ways).clone()
    }

    fn read_ways() -> Vec<(String, Vec<Lock>)> {
        let (sources, declared) = (Sources::read(), Declared::read());
        let mut ways = vec![];
        for name in writing() {
            match declared.symbols.get(&name) {
                Some(symbol) => {
                    let found = sources
                        .locks(symbol)
                        .unwrap_or_else(|| panic!("{name}: there is no fn {symbol} in src/features"));
                    ways.extend(found.ways.into_iter().map(|way| (name.clone(), way)));
                }
                None => {
                    let way = declared.locks(&name).unwrap_or_else(|| panic!("{name}: declared nowhere in sql/"));
                    ways.push((name, way));
                }
            }
        }
        for name in BY_TRIGGERS {
            let found = sources.locks(name).unwrap_or_else(|| panic!("there is no fn {name} in src/features"));
            ways.extend(found.ways.into_iter().map(|way| (name.to_owned(), way)));
        }
        ways
    }

    fn of_tree(at_once: usize, most_held: usize) -> Order {
        Order::new(&ways().into_iter().map(|(_, way)| way).collect::<Vec<_>>(), at_once, most_held)
    }

    #[test]
    fn every_lock_of_the_tree_is_known() {
        let (sources, declared) = (Sources::read(), Declared::read());
        let missing: Vec<_> = sources.raw().difference(&leaves()).cloned().collect();
        assert!(
            missing.is_empty(),
            "lock or write rows themselves: LEAVES does not say what they wait for: {missing:?}"
        );
        let gone: Vec<_> = leaves().difference(&sources.raw()).cloned().collect();
        assert!(gone.is_empty(), "LEAVES names what locks nothing any more: {gone:?}");
        assert!(sources.unsorted().is_empty(), "lock many rows in no order: {:?}", sources.unsorted());
        assert!(declared.unknown_tables().is_empty(), "locked in sql/: {:?}", declared.unknown_tables());

        let roots = writing().into_iter().filter_map(|name| declared.symbols.get(&name).cloned());
        let (mut reached, mut looping, mut unseen) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for root in roots.chain(BY_TRIGGERS.map(String::from)) {
            let mut found = sources.locks(&root).unwrap_or_else(|| panic!("there is no fn {root} in src/features"));
            reached.append(&mut found.reached);
            looping.append(&mut found.looping);
            unseen.append(&mut found.unseen);
        }
        let unreached: Vec<_> = waiting_leaves().difference(&reached).cloned().collect();
        assert!(unreached.is_empty(), "no RPC and no job is seen to come to: {unreached:?}");
        assert!(unseen.is_empty(), "are given closures that the reader does not see: {unseen:?}");
        assert!(sources.problems().is_empty(), "cannot be followed: {:#?}", sources.problems());
        assert!(sources.gone().is_empty(), "lists of the reader name what is no more: {:?}", sources.gone());
        let in_order: BTreeSet<String> = IN_ORDER.iter().map(|(function, _)| (*function).to_owned()).collect();
        assert_eq!(looping, in_order, "lock in a loop, and IN_ORDER says for each why that is in order");
    }

    #[test]
    fn the_order_is_read_from_the_source() {
        let ways = ways();
        for (name, way) in &ways {
            let shown: Vec<String> =
                way.iter().map(|l| format!("{:?}{}", l.kind, if l.many { " (many)" } else { "" })).collect();
            println!("  {name}: {}", shown.join(", "));
        }
        let kinds = |name: &str| -> BTreeSet<Vec<Kind>> {
            let of = ways.iter().filter(|(n, _)| n == name);
            of.map(|(_, way)| way.iter().map(|lock| lock.kind).filter(|k| *k != Kind::Settings).collect()).collect()
        };
        use Kind::{Card, Key, Merchant, Month, Tx};
        // Of the RPC that the documents tell of, by hand: what reads the source reads it right.
        let refund = kinds("app.merchant_refund_tx");
        assert!(refund.contains(&vec![Key]), "a replay ends there: {refund:?}");
        assert!(refund.contains(&vec![Key, Month, Tx, Merchant, Card, Card, Kind::Lines]), "{refund:?}");
        assert!(kinds("app.fail_recharge").contains(&vec![Month, Tx]));
        assert!(kinds("app.close_month_batch").iter().any(|way| way.contains(&Kind::Lines)));
    }

    /// What must be on one of the ways of an RPC, in this order: by who has read its code, so that what the reader does not follow is
    /// missed.
    const SEEN: [(&str, &[Kind]); 26] = {
        use Kind::*;
        [
            ("app.merchant_charge_by_qr", &[Key, Order, Month, Settings, Merchant, Card, Binding, Card, Lines]),
            (
                "app.merchant_charge_by_qr",
                &[Key, Order, Month, Settings, Merchant, Member, Card, Binding, MemberCoupon, BudgetPart, Lines],
            ),
            ("app.merchant_refund_tx", &[Key, Order, Month, Settings, Tx, Merchant, Card, Lines]),
            (
                "app.merchant_refund_tx",
                &[Key, Order, Month, Settings, Tx, Merchant, Card, MemberCoupon, BudgetPart, Lines],
            ),
            ("app.cancel_payment", &[Key, Order, Month, Settings, Tx, Merchant, Card, MemberCoupon, BudgetPart, Lines]),
            // Nothing is left: the refund that took the last of it is read.
            ("app.cancel_payment", &[Key, Month, Settings, Tx]),
            ("app.compensate_tx", &[Key, Order, Month, Settings, Card, Lines]),
            ("app.user_recharge_personal_card", &[Key, Order, Month, Settings, Merchant, Card, Lines]),
            ("app.confirm_recharge", &[Trade, Month, Settings, Tx, Suspense, Card, TradeRow]),
            ("app.fail_recharge", &[Month, Settings, Tx]),
            ("app.resolve_suspense", &[Month, Settings, Suspense, Card, Lines, TradeRow]),
            ("app.withdraw", &[Key, Month, Settings, Merchant, Card, Lines]),
            ("app.confirm_withdrawal", &[Month, Settings, Refund, Card]),
            ("app.fail_withdrawal", &[Month, Settings, Refund, Card, Lines]),
            // A payment; money that no recharge takes; what a withdrawal asked for; an order that has ended; what is refused.
            ("app.gateway_notify", &[Trade, Month, Settings, Tx, Suspense, Card, TradeRow, GatewayTally]),
            ("app.gateway_notify", &[Trade, Month, Settings, Suspense, GatewayTally]),
            ("app.gateway_notify", &[Month, Settings, Refund, Card, Lines, GatewayTally]),
            ("app.gateway_notify", &[Month, Settings, Tx, GatewayTally]),
            ("mps_gateway.notify", &[Trade, Month, Settings, Tx, Suspense, Card, TradeRow, GatewayTally]),
            ("app.reconcile", &[Month, Settings, GatewayAccount]),
            ("app.import_bill", &[Month, Settings, GatewayAccount]),
            ("app.close_recon_day", &[Month, Settings, GatewayAccount]),
            // Credited; sent back; taken back, of a withdrawal that was paid all the same.
            ("app.resolve_recon_item", &[Trade, Month, Settings, Tx, Suspense, Card, TradeRow, GatewayAccount]),
            ("app.resolve_recon_item", &[Trade, Month, Settings, Suspense, GatewayAccount]),
            ("app.resolve_recon_item", &[Month, Settings, Refund, Card, Lines, GatewayAccount]),
            ("app.set_mode", &[Mode, Month, Settings]),
        ]
    };

    #[test]
    fn what_they_lock_in_truth_is_seen() {
        let ways = ways();
        for (name, kinds) in SEEN {
            let has_all = |way: &[Lock]| {
                let mut rest = way.iter();
                kinds.iter().all(|kind| rest.any(|lock| lock.kind == *kind))
            };
            let seen = ways.iter().filter(|(n, _)| n == name);
            assert!(
                seen.clone().any(|(_, way)| has_all(way)),
                "{name}: no way has {kinds:?}: {:#?}",
                seen.collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn what_sql_calls_of_the_library_locks_nothing() {
        let (sources, declared) = (Sources::read(), Declared::read());
        for name in writing().into_iter().filter(|name| !declared.symbols.contains_key(name)) {
            for symbol in declared.called_by(&name).into_iter().filter(|s| !BY_TRIGGERS.contains(&s.as_str())) {
                let found = sources.locks(&symbol).unwrap_or_else(|| panic!("{name}: there is no fn {symbol}"));
                assert!(found.ways.iter().all(Vec::is_empty), "{name} calls {symbol}, which locks: {:?}", found.ways);
            }
        }
    }

    #[test]
    fn two_at_once_end() {
        holds("locks of any two", of_tree(2, if is_long() { ALL } else { 2 }));
    }

    #[test]
    fn any_number_end() {
        let named = ways();
        let ways: Vec<Vec<Lock>> = named.iter().map(|(_, way)| way.clone()).collect();
        let order = one_order(&ways)
            .unwrap_or_else(|ring| panic!("no order of {ring:?} is kept by all: {:#?}", turned_round(&named)));
        println!("locks of any number: {order:?}");
        let turned = [ways, vec![[Kind::Card, Kind::Tx].map(lock).to_vec()]].concat();
        assert!(
            one_order(&turned).is_err_and(|ring| ring.contains(&Kind::Tx)),
            "a payment after a card is out of order"
        );
    }

    /// Pairs of kinds that come in both orders, with who has them so.
    fn turned_round(ways: &[(String, Vec<Lock>)]) -> Vec<String> {
        let mut pairs: BTreeMap<(Kind, Kind), BTreeSet<&str>> = BTreeMap::new();
        for (name, way) in ways {
            let way = simpler(way);
            for (at, first) in way.iter().enumerate() {
                for then in &way[at + 1..] {
                    pairs.entry((first.kind, then.kind)).or_default().insert(name);
                }
            }
        }
        let both = pairs.iter().filter_map(|((first, then), names)| {
            let others = pairs.get(&(*then, *first)).filter(|_| first <= then)?;
            Some(format!("{first:?} before {then:?}: {names:?}; {then:?} before {first:?}: {others:?}"))
        });
        both.collect()
    }

    fn lock(kind: Kind) -> Lock {
        Lock { kind, many: false }
    }

    #[test]
    fn one_that_locks_the_card_before_the_payment_is_found() {
        let mut ways: Vec<Vec<Lock>> = ways().into_iter().map(|(_, way)| way).collect();
        ways.push([Kind::Month, Kind::Card, Kind::Tx].map(lock).to_vec());
        finds("locks, card before payment", Order::new(&ways, 2, ALL), ALL_END);
    }

    #[test]
    fn one_that_makes_a_month_under_a_lock_is_found() {
        let mut ways: Vec<Vec<Lock>> = ways().into_iter().map(|(_, way)| way).collect();
        ways.push([Kind::Card, Kind::Month].map(lock).to_vec());
        finds("locks, a month under a card", Order::new(&ways, 2, ALL), ALL_END);
    }

    /// Why a card that replaces another must have the higher id.
    #[test]
    fn one_that_follows_cards_downwards_is_found() {
        let mut order = of_tree(2, ALL);
        order.ways.push([1, 0].map(|at| Step { kind: Kind::Card, at: Some(at) }).to_vec());
        finds("locks, a successor with a lower id", order, ALL_END);
    }
}
