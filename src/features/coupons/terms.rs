//! `app.coupon_terms`: what a coupon gives, when, where and to whom; a row for each edit, which stays as it is.

use crate::engine::cache;
use crate::engine::db::Db;
use crate::engine::lists::{joined, listed};
use crate::engine::param::p;
use crate::engine::row::Row;
use crate::engine::types::Timestamp;
use mps_domain::card::CardType;
use mps_domain::coupon::{OnFullRefund, Terms, kind_label, kind_of, kind_value};
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::window::{Hours, Weekdays, Window};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

pub fn find(db: &Db, coupon: i32, version: i32) -> Option<Terms> {
    let sql = "SELECT t.name, t.kind, t.value, t.min_spend, t.max_discount, t.goes_with_level_discount, t.valid_from, t.valid_until, \
                      pg_catalog.array_to_string(t.weekdays, ','), t.hours_from, t.hours_until, t.valid_days_after_issue, \
                      t.starts_after_days, pg_catalog.array_to_string(t.merchants, ','), pg_catalog.array_to_string(t.levels, ','), \
                      pg_catalog.array_to_string(t.card_types, ','), t.first_purchase_only, t.issue_limit, t.per_member_limit, \
                      t.per_member_per_day, t.claimable, t.on_full_refund, t.budget_amount \
               FROM app.coupon_terms t WHERE t.coupon_id = $1 AND t.version = $2";
    db.row(sql, &[p(coupon), p(version)], read)
}

/// By coupon and version.
type KeptTerms = HashMap<(i32, i32), Rc<Terms>>;

thread_local! {
    /// After how many changes of relations which terms were read: they stay as they are.
    static KEPT: RefCell<(u64, KeptTerms)> = RefCell::default();
}

/// As many are kept: a shop has a few that are in use.
const MOST_KEPT: usize = 256;

/// As [`find`], remembered. What this transaction has written itself may yet be rolled back, and is not. Error: `STATUS_CONFLICT`,
/// somebody took them away.
pub fn kept(db: &Db, coupon: i32, version: i32) -> Result<Rc<Terms>> {
    let read_at = cache::relations();
    let known = KEPT.with_borrow(|(at, kept)| kept.get(&(coupon, version)).filter(|_| *at == read_at).cloned());
    if let Some(terms) = known {
        return Ok(terms);
    }
    let terms = find(db, coupon, version).map(Rc::new);
    let terms = terms.ok_or_else(|| Error::new(Token::StatusConflict, "the coupon's terms are missing"))?;
    let made_here = "SELECT t.ctid, t.xmin FROM app.coupon_terms t WHERE t.coupon_id = $1 AND t.version = $2";
    if db.row(made_here, &[p(coupon), p(version)], |r| r.version().is_ours()) == Some(false) {
        KEPT.with_borrow_mut(|(at, kept)| {
            if *at != read_at || kept.len() >= MOST_KEPT {
                kept.clear();
            }
            *at = read_at;
            kept.insert((coupon, version), terms.clone());
        });
    }
    Ok(terms)
}

fn read(r: &Row) -> Terms {
    let moment = |n| r.opt::<Timestamp>(n).map(|at| at.0);
    let minute = |n| r.opt::<i16>(n);
    let value: Money = r.get(3);
    Terms {
        name: r.get(1),
        kind: kind_of(&r.text(2), value.cents()).expect("written from terms"),
        min_spend: r.opt(4),
        max_discount: r.opt(5),
        goes_with_level_discount: r.get(6),
        window: Window {
            valid_from: moment(7),
            valid_until: moment(8),
            weekdays: Weekdays::new(listed(r, 9).unwrap_or_default()).expect("written from terms"),
            hours: minute(10).zip(minute(11)).and_then(|(from, until)| Hours::new(from, until)),
        },
        valid_days_after_issue: r.opt(12),
        starts_after_days: r.opt(13),
        merchants: listed(r, 14),
        levels: listed(r, 15),
        card_types: r.opt::<String>(16).map(|text| {
            text.split(',').map(|label| CardType::from_label(label).expect("written from terms")).collect()
        }),
        first_purchase_only: r.get(17),
        issue_limit: r.opt(18),
        per_member_limit: r.opt(19),
        per_member_per_day: r.opt(20),
        claimable: r.get(21),
        on_full_refund: OnFullRefund::from_label(&r.text(22)).expect("checked by the column"),
        budget_amount: r.opt(23),
    }
}

pub fn insert(db: &Db, coupon: i32, version: i32, at: Timestamp, terms: &Terms) {
    let Terms { window, .. } = terms;
    let weekdays = (!window.weekdays.are_all()).then(|| joined(window.weekdays.iter()));
    let card_types = terms.card_types.as_ref().map(|types| joined(types.iter().map(|card_type| card_type.label())));
    db.run_once(
        "INSERT INTO app.coupon_terms (coupon_id, version, created_at, name, kind, value, min_spend, max_discount, \
                goes_with_level_discount, valid_from, valid_until, weekdays, hours_from, hours_until, valid_days_after_issue, \
                starts_after_days, merchants, levels, card_types, first_purchase_only, issue_limit, per_member_limit, \
                per_member_per_day, claimable, on_full_refund, budget_amount) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, pg_catalog.string_to_array($12, ',')::smallint[], $13, $14, $15, $16, \
                pg_catalog.string_to_array($17, ',')::integer[], pg_catalog.string_to_array($18, ',')::smallint[], \
                pg_catalog.string_to_array($19, ','), $20, $21, $22, $23, $24, $25, $26)",
        &[
            p(coupon),
            p(version),
            p(at),
            p(terms.name.as_str()),
            p(kind_label(terms.kind)),
            p(Money::from_cents(kind_value(terms.kind))),
            p(terms.min_spend),
            p(terms.max_discount),
            p(terms.goes_with_level_discount),
            p(window.valid_from.map(Timestamp)),
            p(window.valid_until.map(Timestamp)),
            p(weekdays),
            p(window.hours.map(Hours::from)),
            p(window.hours.map(Hours::until)),
            p(terms.valid_days_after_issue),
            p(terms.starts_after_days),
            p(terms.merchants.as_ref().map(|ids| joined(ids.iter()))),
            p(terms.levels.as_ref().map(|levels| joined(levels.iter()))),
            p(card_types),
            p(terms.first_purchase_only),
            p(terms.issue_limit),
            p(terms.per_member_limit),
            p(terms.per_member_per_day),
            p(terms.claimable),
            p(terms.on_full_refund.label()),
            p(terms.budget_amount),
        ],
    );
}
