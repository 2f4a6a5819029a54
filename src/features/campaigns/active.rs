//! The campaigns that are active, as a backend remembers them until one changes, and which of them apply to a payment.

use super::terms;
use crate::engine::cache::{self, Kept};
use crate::engine::db::Db;
use crate::engine::server;
use crate::engine::types::RawJsonb;
use crate::kernel::call::Call;
use crate::kernel::days;
use crate::ledger::cards::Card;
use crate::ledger::tx::Tx;
use mps_domain::campaign::{self, Active};
use mps_domain::card::CardType;
use mps_domain::coupon::Purchase;
use mps_domain::money::Money;
use mps_domain::quote::{Quote, Terms};
use mps_domain::tier::level_for;
use mps_domain::window::Moment;
use std::rc::Rc;

thread_local! {
    static KEPT: Kept<Rc<Vec<Active>>> = const { Kept::new() };
}

fn all(db: &Db) -> Rc<Vec<Active>> {
    if let Some(known) = KEPT.with(|kept| kept.get(cache::relations())) {
        return known;
    }
    let read_at = cache::relations();
    let active = Rc::new(terms::of_active(db, server::statements_see_commits()));
    // As the settings: what an older snapshot shows is not kept.
    if !db.is_read_only() && server::statements_see_commits() {
        KEPT.with(|kept| kept.keep(read_at, active.clone()));
    }
    active
}

/// The campaigns that apply to a payment.
pub struct Applied(Vec<Active>);

/// Those that apply to a payment of a card, of which `part` takes part: none of a card that earns no points.
pub fn applying(call: &Call, card: &Card, merchant: i32, part: Money) -> Applied {
    if card.card_type == CardType::Enterprise {
        return Applied(vec![]);
    }
    let all = all(call.db);
    if all.is_empty() {
        return Applied(vec![]);
    }
    let purchase = Purchase {
        moment: moment(call, &all),
        merchant,
        card_type: card.card_type,
        level: Some(level_for(&call.config().levels, card.points).level),
        part,
    };
    Applied(campaign::applying(&all, &purchase).into_iter().cloned().collect())
}

/// The moment of a call; what clocks show then only where one asks.
fn moment(call: &Call, all: &[Active]) -> Moment {
    let asks = |active: &Active| active.terms.window.hours.is_some() || !active.terms.window.weekdays.are_all();
    if all.iter().any(asks) { days::moment(call.db, call.at) } else { Moment { at: call.at.0, local: call.at.0 } }
}

impl Applied {
    /// What they give for a payment of these terms.
    pub fn add_to(&self, terms: &mut Terms) {
        if !self.0.is_empty()
            && let Some(points) = &mut terms.points
        {
            *points = campaign::point_terms(points.per_unit, self.0.iter().map(|active| active.terms.gift));
        }
    }

    /// Notes in a payment what each gave, where anything was paid that takes part.
    pub fn note(&self, call: &Call, tx: &mut Tx, priced: &Quote) {
        if self.0.is_empty() || !priced.pointable.is_positive() {
            return;
        }
        let gifts = self.0.iter().map(|active| active.terms.gift);
        let shares =
            campaign::shares(priced.pointable, call.config().points_per_unit.0, gifts).expect("the price has them all");
        let noted: Vec<String> =
            self.0.iter().zip(shares).map(|(active, points)| format!(r#""{}": {points}"#, active.key())).collect();
        tx.points_base = Some(priced.points_base);
        tx.points_bonus = Some(priced.points_earned - priced.points_base);
        tx.campaigns = Some(RawJsonb::parse(&format!("{{{}}}", noted.join(", "))));
    }
}
