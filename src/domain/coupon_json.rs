//! The terms of a coupon as a backend writes them, `p_coupon`: strictly, so that what is misspelt is no condition left out.

use crate::card::CardType;
use crate::coupon::{OnFullRefund, Terms, kind_label, kind_of, kind_value};
use crate::error::{Result, bad_text, invalid};
use crate::limits;
use crate::moment::moment;
use crate::money::{MAX_CENTS, MONEY_SCALE, Money};
use crate::month::iso;
use crate::typed;
use crate::window::{Hours, Weekdays, Window, minute_of_day, shown_minute};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

/// More than any coupon is issued.
const MOST: i64 = 1_000_000_000;
/// Days that a coupon may wait or hold: ten years.
const MOST_DAYS: i64 = 3_660;
/// How much of an unknown key is told.
const SHOWN_CHARS: usize = 64;

/// What stands in the terms, key by key; `merchants` by their codes.
#[derive(Default)]
struct Draft {
    name: Option<String>,
    kind: Option<String>,
    value: Option<i64>,
    min_spend: Option<i64>,
    max_discount: Option<i64>,
    goes_with_level_discount: Option<bool>,
    valid_from: Option<i64>,
    valid_until: Option<i64>,
    valid_days_after_issue: Option<i64>,
    starts_after_days: Option<i64>,
    weekdays: Option<Vec<i64>>,
    hours_from: Option<i16>,
    hours_until: Option<i16>,
    merchants: Option<Vec<i32>>,
    levels: Option<Vec<i64>>,
    card_types: Option<Vec<CardType>>,
    first_purchase_only: Option<bool>,
    issue_limit: Option<i64>,
    per_member_limit: Option<i64>,
    per_member_per_day: Option<i64>,
    claimable: Option<bool>,
    on_full_refund: Option<OnFullRefund>,
    budget_amount: Option<i64>,
}

/// New terms: what is not named has its default. `merchant` finds one by its code. Error: `INVALID_ARGUMENT`, or that of `merchant`.
pub fn read(given: &Map<String, Value>, merchant: impl Fn(&str) -> Result<i32>) -> Result<Terms> {
    Draft::default().with(given, merchant)?.terms()
}

/// The terms after an edit: what is not named stays, NULL takes a condition away.
pub fn edited(terms: &Terms, given: &Map<String, Value>, merchant: impl Fn(&str) -> Result<i32>) -> Result<Terms> {
    Draft::of(terms).with(given, merchant)?.terms()
}

impl Draft {
    fn of(terms: &Terms) -> Draft {
        let Terms { window, .. } = terms;
        let weekdays: Vec<i64> = window.weekdays.iter().map(i64::from).collect();
        Draft {
            name: Some(terms.name.clone()),
            kind: Some(kind_label(terms.kind).to_owned()),
            value: Some(kind_value(terms.kind)),
            min_spend: terms.min_spend.map(Money::cents),
            max_discount: terms.max_discount.map(Money::cents),
            goes_with_level_discount: Some(terms.goes_with_level_discount),
            valid_from: window.valid_from,
            valid_until: window.valid_until,
            valid_days_after_issue: terms.valid_days_after_issue.map(i64::from),
            starts_after_days: terms.starts_after_days.map(i64::from),
            weekdays: Some(weekdays),
            hours_from: window.hours.map(Hours::from),
            hours_until: window.hours.map(Hours::until),
            merchants: terms.merchants.clone(),
            levels: terms.levels.as_ref().map(|levels| levels.iter().copied().map(i64::from).collect()),
            card_types: terms.card_types.clone(),
            first_purchase_only: Some(terms.first_purchase_only),
            issue_limit: terms.issue_limit,
            per_member_limit: terms.per_member_limit.map(i64::from),
            per_member_per_day: terms.per_member_per_day.map(i64::from),
            claimable: Some(terms.claimable),
            on_full_refund: Some(terms.on_full_refund),
            budget_amount: terms.budget_amount.map(Money::cents),
        }
    }

    fn with(mut self, given: &Map<String, Value>, merchant: impl Fn(&str) -> Result<i32>) -> Result<Draft> {
        for (key, value) in given {
            let at = Key { key, value: Some(value).filter(|value| !value.is_null()) };
            match key.as_str() {
                "name" => self.name = at.read(name)?,
                "kind" => self.kind = at.text()?.map(str::to_owned),
                "value" => self.value = at.hundredths()?,
                "min_spend" => self.min_spend = at.hundredths()?,
                "max_discount" => self.max_discount = at.hundredths()?,
                "goes_with_level_discount" => self.goes_with_level_discount = at.switch()?,
                "valid_from" => self.valid_from = at.moment()?,
                "valid_until" => self.valid_until = at.moment()?,
                "valid_days_after_issue" => self.valid_days_after_issue = at.whole(0..=MOST_DAYS)?,
                "starts_after_days" => self.starts_after_days = at.whole(0..=MOST_DAYS)?,
                "weekdays" => self.weekdays = at.list(|at| at.whole(1..=7))?,
                "hours_from" => self.hours_from = at.time()?,
                "hours_until" => self.hours_until = at.time()?,
                "merchants" => {
                    self.merchants = at.list(|at| at.read(|at| at.text()?.map(&merchant).transpose()))?;
                }
                "levels" => self.levels = at.list(|at| at.whole(0..=i64::from(i16::MAX)))?,
                "card_types" => {
                    self.card_types = at.list(|at| at.label("personal or enterprise", CardType::from_label))?
                }
                "first_purchase_only" => self.first_purchase_only = at.switch()?,
                "issue_limit" => self.issue_limit = at.whole(1..=MOST)?,
                "per_member_limit" => self.per_member_limit = at.whole(1..=MOST)?,
                "per_member_per_day" => self.per_member_per_day = at.whole(1..=MOST)?,
                "claimable" => self.claimable = at.switch()?,
                "on_full_refund" => {
                    self.on_full_refund = at.label("return or keep_used", OnFullRefund::from_label)?;
                }
                "budget_amount" => self.budget_amount = at.hundredths()?,
                _ => return Err(unknown(key)),
            }
        }
        Ok(self)
    }

    fn terms(self) -> Result<Terms> {
        let needed = |key: &str| refused(key, "is missing");
        let kind = self.kind.as_deref().ok_or_else(|| needed("kind"))?;
        let value = self.value.ok_or_else(|| needed("value"))?;
        if !["amount_off", "percent_off", "fixed_price"].contains(&kind) {
            return Err(refused("kind", "is amount_off, percent_off or fixed_price"));
        }
        let kind = kind_of(kind, value).ok_or_else(|| {
            let why = "is above 0 for amount_off, above 0 and at most 100 for percent_off, not below 0 for fixed_price";
            refused("value", why)
        })?;
        let positive = |key: &str, value: Option<i64>| match value {
            Some(value) if value <= 0 => Err(refused(key, "is above 0")),
            value => Ok(value.map(Money::from_cents)),
        };
        let small = |value: Option<i64>| value.map(|value| value as i32);
        let window = self.window()?;
        Ok(Terms {
            name: self.name.ok_or_else(|| needed("name"))?,
            kind,
            min_spend: positive("min_spend", self.min_spend)?,
            max_discount: positive("max_discount", self.max_discount)?,
            goes_with_level_discount: self.goes_with_level_discount.unwrap_or(true),
            window,
            valid_days_after_issue: small(self.valid_days_after_issue),
            starts_after_days: small(self.starts_after_days),
            merchants: listed(self.merchants),
            levels: listed(self.levels).map(|levels| levels.into_iter().map(|level| level as i16).collect()),
            card_types: listed(self.card_types),
            first_purchase_only: self.first_purchase_only.unwrap_or(false),
            issue_limit: self.issue_limit,
            per_member_limit: small(self.per_member_limit),
            per_member_per_day: small(self.per_member_per_day),
            claimable: self.claimable.unwrap_or(false),
            on_full_refund: self.on_full_refund.unwrap_or_default(),
            budget_amount: positive("budget_amount", self.budget_amount)?,
        })
    }

    /// When it holds. Its ends do not contradict each other.
    fn window(&self) -> Result<Window> {
        if self.valid_until.is_some() && self.valid_days_after_issue.is_some() {
            return Err(refused("valid_until", "and valid_days_after_issue are not given together"));
        }
        if let (Some(from), Some(until)) = (self.valid_from, self.valid_until)
            && until <= from
        {
            return Err(refused("valid_until", "is after valid_from"));
        }
        if let (Some(starts), Some(days)) = (self.starts_after_days, self.valid_days_after_issue)
            && days < starts
        {
            return Err(refused("valid_days_after_issue", "is at least starts_after_days"));
        }
        let hours = match (self.hours_from, self.hours_until) {
            (None, None) => None,
            (Some(from), Some(until)) => {
                let same = || refused("hours_until", "is another time than hours_from");
                Some(Hours::new(from, until).ok_or_else(same)?)
            }
            _ => return Err(refused("hours_from", "and hours_until are given together")),
        };
        let weekdays = self.weekdays.iter().flatten().copied();
        Ok(Window {
            valid_from: self.valid_from,
            valid_until: self.valid_until,
            weekdays: Weekdays::new(weekdays).expect("each was looked at"),
            hours,
        })
    }
}

/// In order, each once; none is no condition.
fn listed<T: Ord>(list: Option<Vec<T>>) -> Option<Vec<T>> {
    let mut list = list?;
    list.sort();
    list.dedup();
    (!list.is_empty()).then_some(list)
}

/// One key of what was given; no value: NULL.
#[derive(Clone, Copy)]
struct Key<'a> {
    key: &'a str,
    value: Option<&'a Value>,
}

impl<'a> Key<'a> {
    /// Reads it with a function that gives nothing where it is NULL only.
    fn read<T>(self, read: impl Fn(Key<'a>) -> Result<Option<T>>) -> Result<Option<T>> {
        match self.value {
            Some(_) => read(self),
            None => Ok(None),
        }
    }

    /// What its value is by `read`, or why it is none.
    fn as_<T>(self, why: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        self.value.map(|value| read(value).ok_or_else(|| refused(self.key, why))).transpose()
    }

    fn text(self) -> Result<Option<&'a str>> {
        self.as_("is a text", Value::as_str)
    }

    fn switch(self) -> Result<Option<bool>> {
        self.as_("is true or false", Value::as_bool)
    }

    fn label<T>(self, which: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        self.as_(&format!("is {which}"), |value| read(value.as_str()?))
    }

    fn whole(self, bounds: RangeInclusive<i64>) -> Result<Option<i64>> {
        let why = format!("is a whole number from {} to {}", bounds.start(), bounds.end());
        self.as_(&why, |value| value.as_i64().filter(|value| bounds.contains(value)))
    }

    /// A number, or a text of one, of at most two decimals.
    fn hundredths(self) -> Result<Option<i64>> {
        self.as_("is a number with at most two decimals, and in range", |value| match value {
            Value::Number(number) => hundredths(&number.to_string()),
            Value::String(text) => hundredths(text),
            _ => None,
        })
    }

    fn moment(self) -> Result<Option<i64>> {
        let why = "is a moment of the years 2000 to 9999 with its offset, such as 2026-12-01T00:00:00+08:00";
        self.as_(why, |value| moment(value.as_str()?))
    }

    fn time(self) -> Result<Option<i16>> {
        self.as_("is a time from 00:00 to 23:59", |value| minute_of_day(value.as_str()?))
    }

    fn list<T>(self, item: impl Fn(Key<'a>) -> Result<Option<T>>) -> Result<Option<Vec<T>>> {
        let Some(list) = self.as_("is an array", Value::as_array)? else { return Ok(None) };
        let of =
            |value| item(Key { key: self.key, value: Some(value) })?.ok_or_else(|| refused(self.key, "holds NULL"));
        list.iter().map(of).collect::<Result<Vec<T>>>().map(Some)
    }
}

fn name(at: Key) -> Result<Option<String>> {
    let Some(text) = at.text()? else { return Ok(None) };
    let text = limits::text(typed::trimmed(text), limits::TEXT_CHARS);
    text.map(|text| Some(text.to_owned())).map_err(|why| bad_text("p_coupon: name", why, limits::TEXT_CHARS))
}

fn refused(key: &str, why: &str) -> crate::error::Error {
    invalid(&format!("p_coupon: {key}"), why)
}

fn unknown(key: &str) -> crate::error::Error {
    let shown: String = key.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    let more = if key.chars().nth(SHOWN_CHARS).is_some() { "..." } else { "" };
    refused(&format!("{shown}{more}"), "is no key of a coupon")
}

/// Read exactly: never by way of a float.
fn hundredths(text: &str) -> Option<i64> {
    let scaled = text.parse::<Decimal>().ok()?.checked_mul(Decimal::from(10i64.pow(MONEY_SCALE)))?;
    let units = scaled.fract().is_zero().then(|| scaled.to_i64()).flatten()?;
    (units.unsigned_abs() <= MAX_CENTS.unsigned_abs()).then_some(units)
}

/// What the log keeps of terms, and the books can be written from: every key that is a condition, `merchants` by their ids.
pub fn noted(terms: &Terms) -> Value {
    let Terms { window, .. } = terms;
    let money = |amount: Option<Money>| amount.map(|amount| amount.to_string());
    let weekdays: Vec<i16> = window.weekdays.iter().collect();
    let card_types = terms.card_types.as_ref().map(|types| types.iter().map(|t| t.label()).collect::<Vec<_>>());
    let mut noted = json!({
        "name": terms.name,
        "kind": kind_label(terms.kind),
        "value": Money::from_cents(kind_value(terms.kind)).to_string(),
        "min_spend": money(terms.min_spend),
        "max_discount": money(terms.max_discount),
        "goes_with_level_discount": terms.goes_with_level_discount,
        "valid_from": window.valid_from.map(iso),
        "valid_until": window.valid_until.map(iso),
        "valid_days_after_issue": terms.valid_days_after_issue,
        "starts_after_days": terms.starts_after_days,
        "weekdays": (!window.weekdays.are_all()).then_some(weekdays),
        "hours_from": window.hours.map(|hours| shown_minute(hours.from())),
        "hours_until": window.hours.map(|hours| shown_minute(hours.until())),
        "merchants": terms.merchants,
        "levels": terms.levels,
        "card_types": card_types,
        "first_purchase_only": terms.first_purchase_only,
        "issue_limit": terms.issue_limit,
        "per_member_limit": terms.per_member_limit,
        "per_member_per_day": terms.per_member_per_day,
        "claimable": terms.claimable,
        "on_full_refund": terms.on_full_refund.label(),
        "budget_amount": money(terms.budget_amount),
    });
    if let Value::Object(keys) = &mut noted {
        keys.retain(|_, value| !value.is_null());
    }
    noted
}
