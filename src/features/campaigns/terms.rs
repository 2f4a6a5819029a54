//! `app.campaign_terms`: what a campaign gives, when, where and to whom; a row for each edit, which stays as it is.

use super::campaign::Campaign;
use crate::engine::db::Db;
use crate::engine::lists::{joined, listed};
use crate::engine::param::p;
use crate::engine::row::Row;
use crate::engine::types::Timestamp;
use mps_domain::campaign::{Active, Gift, Terms};
use mps_domain::card::CardType;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::window::{Hours, Weekdays, Window};

/// A statement that shows what [`read`] reads.
macro_rules! found {
    ($from:literal) => {
        concat!(
            "SELECT t.campaign_id, t.version, t.name, t.kind, t.value, t.min_spend, t.valid_from, t.valid_until, \
                    pg_catalog.array_to_string(t.weekdays, ','), t.hours_from, t.hours_until, \
                    pg_catalog.array_to_string(t.merchants, ','), pg_catalog.array_to_string(t.levels, ','), \
                    pg_catalog.array_to_string(t.card_types, ','), t.priority, t.exclusive FROM ",
            $from
        )
    };
}

/// The newest terms of one. Error: `STATUS_CONFLICT`, somebody took them away.
pub fn newest(db: &Db, campaign: &Campaign) -> Result<Terms> {
    let sql = found!("app.campaign_terms t WHERE t.campaign_id = $1 AND t.version = $2");
    let found = db.row(sql, &[p(campaign.id), p(campaign.terms_version)], read);
    found.map(|found| found.terms).ok_or_else(|| Error::new(Token::StatusConflict, "the campaign's terms are missing"))
}

/// Those of all that are active, as it is now, whatever the snapshot: a pause takes effect at the next payment.
pub fn of_active(db: &Db, is_now: bool) -> Vec<Active> {
    let sql = found!(
        "app.campaigns c JOIN app.campaign_terms t ON t.campaign_id = c.id AND t.version = c.terms_version WHERE c.status = 'active'"
    );
    if is_now { db.rows(sql, &[], read) } else { db.rows_of_now(sql, &[], read) }
}

fn read(r: &Row) -> Active {
    let value: Money = r.get(5);
    let terms = Terms {
        name: r.get(3),
        gift: Gift::of(&r.text(4), value.cents()).expect("written from terms"),
        min_spend: r.opt(6),
        window: Window {
            valid_from: r.opt::<Timestamp>(7).map(|at| at.0),
            valid_until: r.opt::<Timestamp>(8).map(|at| at.0),
            weekdays: Weekdays::new(listed(r, 9).unwrap_or_default()).expect("written from terms"),
            hours: r.opt::<i16>(10).zip(r.opt::<i16>(11)).and_then(|(from, until)| Hours::new(from, until)),
        },
        merchants: listed(r, 12),
        levels: listed(r, 13),
        card_types: r.opt::<String>(14).map(|text| {
            text.split(',').map(|label| CardType::from_label(label).expect("written from terms")).collect()
        }),
        priority: r.get(15),
        exclusive: r.get(16),
    };
    Active { id: r.get(1), version: r.get(2), terms }
}

pub fn insert(db: &Db, campaign: i32, version: i32, at: Timestamp, terms: &Terms) {
    let Terms { window, .. } = terms;
    let weekdays = (!window.weekdays.are_all()).then(|| joined(window.weekdays.iter()));
    let card_types = terms.card_types.as_ref().map(|types| joined(types.iter().map(|card_type| card_type.label())));
    db.run_once(
        "INSERT INTO app.campaign_terms (campaign_id, version, created_at, name, kind, value, min_spend, valid_from, valid_until, \
                weekdays, hours_from, hours_until, merchants, levels, card_types, priority, exclusive) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, pg_catalog.string_to_array($10, ',')::smallint[], $11, $12, \
                pg_catalog.string_to_array($13, ',')::integer[], pg_catalog.string_to_array($14, ',')::smallint[], \
                pg_catalog.string_to_array($15, ','), $16, $17)",
        &[
            p(campaign),
            p(version),
            p(at),
            p(terms.name.as_str()),
            p(terms.gift.label()),
            p(Money::from_cents(terms.gift.value())),
            p(terms.min_spend),
            p(window.valid_from.map(Timestamp)),
            p(window.valid_until.map(Timestamp)),
            p(weekdays),
            p(window.hours.map(Hours::from)),
            p(window.hours.map(Hours::until)),
            p(terms.merchants.as_ref().map(|ids| joined(ids.iter()))),
            p(terms.levels.as_ref().map(|levels| joined(levels.iter()))),
            p(card_types),
            p(terms.priority),
            p(terms.exclusive),
        ],
    );
}
