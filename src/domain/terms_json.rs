//! What the terms of coupons and campaigns have in common, as a backend writes them: keys read strictly, when and to whom.

use crate::card::CardType;
use crate::error::{Error, Result, bad_text, invalid};
use crate::limits;
use crate::moment::moment;
use crate::money::{MAX_CENTS, MONEY_SCALE, Money};
use crate::month::iso;
use crate::typed;
use crate::window::{Hours, Weekdays, Window, minute_of_day, shown_minute};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value, json};
use std::ops::RangeInclusive;

/// How much of an unknown key is told.
const SHOWN_CHARS: usize = 64;

/// When it holds, key by key.
#[derive(Default)]
pub struct When {
    pub valid_from: Option<i64>,
    pub valid_until: Option<i64>,
    weekdays: Option<Vec<i64>>,
    hours_from: Option<i16>,
    hours_until: Option<i16>,
}

impl When {
    pub fn of(window: &Window) -> When {
        When {
            valid_from: window.valid_from,
            valid_until: window.valid_until,
            weekdays: Some(window.weekdays.iter().map(i64::from).collect()),
            hours_from: window.hours.map(Hours::from),
            hours_until: window.hours.map(Hours::until),
        }
    }

    /// Whether it is one of these keys; then it is taken.
    pub fn take(&mut self, at: Key) -> Result<bool> {
        match at.key {
            "valid_from" => self.valid_from = at.moment()?,
            "valid_until" => self.valid_until = at.moment()?,
            "weekdays" => self.weekdays = at.list(|at| at.whole(1..=7))?,
            "hours_from" => self.hours_from = at.time()?,
            "hours_until" => self.hours_until = at.time()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Its ends do not contradict each other.
    pub fn window(&self, of: &str) -> Result<Window> {
        if let (Some(from), Some(until)) = (self.valid_from, self.valid_until)
            && until <= from
        {
            return Err(refused(of, "valid_until", "is after valid_from"));
        }
        let hours = match (self.hours_from, self.hours_until) {
            (None, None) => None,
            (Some(from), Some(until)) => {
                let same = || refused(of, "hours_until", "is another time than hours_from");
                Some(Hours::new(from, until).ok_or_else(same)?)
            }
            _ => return Err(refused(of, "hours_from", "and hours_until are given together")),
        };
        let weekdays = self.weekdays.iter().flatten().copied();
        Ok(Window {
            valid_from: self.valid_from,
            valid_until: self.valid_until,
            weekdays: Weekdays::new(weekdays).expect("each was looked at"),
            hours,
        })
    }

    /// As the log keeps it.
    pub fn noted(&self) -> Value {
        json!({
            "valid_from": self.valid_from.map(iso),
            "valid_until": self.valid_until.map(iso),
            "weekdays": self.weekdays.as_ref().filter(|days| !days.is_empty()),
            "hours_from": self.hours_from.map(shown_minute),
            "hours_until": self.hours_until.map(shown_minute),
        })
    }
}

/// To whom it is given, key by key; `merchants` by their ids.
#[derive(Default)]
pub struct Whom {
    pub merchants: Option<Vec<i32>>,
    pub levels: Option<Vec<i16>>,
    pub card_types: Option<Vec<CardType>>,
}

impl Whom {
    pub fn of(merchants: Option<&[i32]>, levels: Option<&[i16]>, card_types: Option<&[CardType]>) -> Whom {
        Whom {
            merchants: merchants.map(<[i32]>::to_vec),
            levels: levels.map(<[i16]>::to_vec),
            card_types: card_types.map(<[CardType]>::to_vec),
        }
    }

    /// Whether it is one of these keys; then it is taken. `merchant` finds one by its code.
    pub fn take(&mut self, at: Key, merchant: impl Fn(&str) -> Result<i32>) -> Result<bool> {
        match at.key {
            "merchants" => self.merchants = at.list(|at| at.read(|at| at.text()?.map(&merchant).transpose()))?,
            "levels" => {
                let levels = at.list(|at| at.whole(0..=i64::from(i16::MAX)))?;
                self.levels = levels.map(|levels| levels.into_iter().map(|level| level as i16).collect());
            }
            "card_types" => {
                self.card_types = at.list(|at| at.label("personal or enterprise", CardType::from_label))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// As the log keeps it.
    pub fn noted(&self) -> Value {
        let card_types = self.card_types.as_ref().map(|types| types.iter().map(|t| t.label()).collect::<Vec<_>>());
        json!({ "merchants": self.merchants, "levels": self.levels, "card_types": card_types })
    }
}

/// In order, each once; none is no condition.
pub fn listed<T: Ord>(list: Option<Vec<T>>) -> Option<Vec<T>> {
    let mut list = list?;
    list.sort();
    list.dedup();
    (!list.is_empty()).then_some(list)
}

/// One key of what was given; no value: NULL.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    /// What the keys are the terms of: the argument.
    of: &'static str,
    key: &'a str,
    value: Option<&'a Value>,
}

impl<'a> Key<'a> {
    pub fn new(of: &'static str, key: &'a str, value: &'a Value) -> Key<'a> {
        Key { of, key, value: Some(value).filter(|value| !value.is_null()) }
    }

    /// Reads it with a function that gives nothing where it is NULL only.
    fn read<T>(self, read: impl Fn(Key<'a>) -> Result<Option<T>>) -> Result<Option<T>> {
        match self.value {
            Some(_) => read(self),
            None => Ok(None),
        }
    }

    /// What its value is by `read`, or why it is none.
    fn as_<T>(self, why: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        self.value.map(|value| read(value).ok_or_else(|| refused(self.of, self.key, why))).transpose()
    }

    pub fn text(self) -> Result<Option<&'a str>> {
        self.as_("is a text", Value::as_str)
    }

    pub fn switch(self) -> Result<Option<bool>> {
        self.as_("is true or false", Value::as_bool)
    }

    pub fn label<T>(self, which: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        self.as_(&format!("is {which}"), |value| read(value.as_str()?))
    }

    pub fn whole(self, bounds: RangeInclusive<i64>) -> Result<Option<i64>> {
        let why = format!("is a whole number from {} to {}", bounds.start(), bounds.end());
        self.as_(&why, |value| value.as_i64().filter(|value| bounds.contains(value)))
    }

    /// A number, or a text of one, of at most two decimals.
    pub fn hundredths(self) -> Result<Option<i64>> {
        self.as_("is a number with at most two decimals, and in range", |value| match value {
            Value::Number(number) => hundredths(&number.to_string()),
            Value::String(text) => hundredths(text),
            _ => None,
        })
    }

    pub fn moment(self) -> Result<Option<i64>> {
        let why = "is a moment of the years 2000 to 9999 with its offset, such as 2026-12-01T00:00:00+08:00";
        self.as_(why, |value| moment(value.as_str()?))
    }

    pub fn time(self) -> Result<Option<i16>> {
        self.as_("is a time from 00:00 to 23:59", |value| minute_of_day(value.as_str()?))
    }

    /// What people call it; `argument` is what errors name.
    pub fn name(self, argument: &'static str) -> Result<Option<String>> {
        let Some(text) = self.text()? else { return Ok(None) };
        let text = limits::text(typed::trimmed(text), limits::TEXT_CHARS);
        text.map(|text| Some(text.to_owned())).map_err(|why| bad_text(argument, why, limits::TEXT_CHARS))
    }

    pub fn list<T>(self, item: impl Fn(Key<'a>) -> Result<Option<T>>) -> Result<Option<Vec<T>>> {
        let Some(list) = self.as_("is an array", Value::as_array)? else { return Ok(None) };
        let of =
            |value| item(Key { value: Some(value), ..self })?.ok_or_else(|| refused(self.of, self.key, "holds NULL"));
        list.iter().map(of).collect::<Result<Vec<T>>>().map(Some)
    }
}

/// A value that is none. Error: `INVALID_ARGUMENT`.
pub fn refused(of: &str, key: &str, why: &str) -> Error {
    invalid(&format!("{of}: {key}"), why)
}

/// A key that there is none of. Error: `INVALID_ARGUMENT`.
pub fn unknown(of: &str, key: &str, thing: &str) -> Error {
    let shown: String = key.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    let more = if key.chars().nth(SHOWN_CHARS).is_some() { "..." } else { "" };
    refused(of, &format!("{shown}{more}"), &format!("is no key of {thing}"))
}

/// An amount above 0, where there is one.
pub fn positive(of: &str, key: &str, cents: Option<i64>) -> Result<Option<Money>> {
    match cents {
        Some(cents) if cents <= 0 => Err(refused(of, key, "is above 0")),
        cents => Ok(cents.map(Money::from_cents)),
    }
}

/// Parts of what the log keeps of terms, as one: keys without a value are left out.
pub fn noted(parts: [Value; 3]) -> Value {
    let keys = parts.into_iter().filter_map(|part| if let Value::Object(keys) = part { Some(keys) } else { None });
    Value::Object(keys.flatten().filter(|(_, value)| !value.is_null()).collect())
}

/// Read exactly: never by way of a float.
fn hundredths(text: &str) -> Option<i64> {
    let scaled = Decimal::from_str_exact(text)
        .ok()
        .filter(|_| !text.contains('_'))?
        .checked_mul(Decimal::from(10i64.pow(MONEY_SCALE)))?;
    let units = scaled.fract().is_zero().then(|| scaled.to_i64()).flatten()?;
    (units.unsigned_abs() <= MAX_CENTS.unsigned_abs()).then_some(units)
}
