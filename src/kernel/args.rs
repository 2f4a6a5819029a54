//! Arguments as they come in, checked: every refusal is an error of the contract that names the argument.

use crate::engine::types::{Day, JsonbArg, NumericArg, RawJsonb, Text, Timestamp};
use crate::kernel::settings::Config;
use mps_domain::card::CardType;
use mps_domain::error::{Error, Result, Token, bad_amount, bad_text, invalid};
use mps_domain::money::{MAX_CENTS, MONEY_SCALE, Money};
use mps_domain::tx_no::{TxId, TxType};
use mps_domain::{coupon, limits, tx_no, typed};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// A text as it was given: as an argument, or out of something else that was.
pub trait Given<'a> {
    fn given(self) -> Option<&'a str>;
}

impl<'a> Given<'a> for Option<&'a str> {
    fn given(self) -> Option<&'a str> {
        self
    }
}

impl<'a> Given<'a> for Option<Text<'a>> {
    fn given(self) -> Option<&'a str> {
        self.map(Text::get)
    }
}

/// A required argument.
pub fn required<T>(value: Option<T>, argument: &'static str) -> Result<T> {
    value.ok_or_else(|| invalid(argument, "must not be null"))
}

/// A positive amount. Whether it is within the configured limit is asked by [`within_limit`], once the request is known
/// to be a new one: the answer to a repetition does not change with the settings.
pub fn amount(value: Option<NumericArg>, argument: &'static str) -> Result<Money> {
    let amount = signed_amount(value, argument)?;
    if !amount.is_positive() {
        return Err(Error::new(Token::InvalidAmount, format!("{argument} must be positive")));
    }
    Ok(amount)
}

/// An amount that is not zero, of either sign.
pub fn signed_amount(value: Option<NumericArg>, argument: &'static str) -> Result<Money> {
    let refuse = |why: &str| Err(Error::new(Token::InvalidAmount, format!("{argument} {why}")));
    let Some(value) = value else {
        return refuse("must not be null");
    };
    let amount = Money::from_cents(value.units(MONEY_SCALE).map_err(|why| bad_amount(argument, why))?);
    if amount.is_zero() {
        return refuse("must not be zero");
    }
    if amount.cents().unsigned_abs() > MAX_CENTS.unsigned_abs() {
        return refuse("is out of range");
    }
    Ok(amount)
}

/// Of an amount, what takes no part in its price: nothing where it is left out, and no more than all.
pub fn part_of(amount: Money, value: Option<NumericArg>, argument: &'static str) -> Result<Money> {
    let Some(value) = value else { return Ok(Money::ZERO) };
    let part = Money::from_cents(value.units(MONEY_SCALE).map_err(|why| bad_amount(argument, why))?);
    if part.is_negative() || part > amount {
        return Err(Error::new(Token::InvalidAmount, format!("{argument} is 0 to the amount")));
    }
    Ok(part)
}

/// Refuses an amount above the configured limit.
pub fn within_limit(amount: Money, argument: &'static str, config: &Config) -> Result<()> {
    if amount.cents().unsigned_abs() > config.max_amount.cents().unsigned_abs() {
        return Err(Error::new(Token::InvalidAmount, format!("{argument} is above the largest single amount")));
    }
    Ok(())
}

/// A required label, one of a few.
pub fn label<'a>(value: impl Given<'a>, argument: &'static str) -> Result<&'a str> {
    let label = required(value.given(), argument)?;
    if label.is_empty() { Err(bad_text(argument, limits::BadText::Empty, 0)) } else { Ok(label) }
}

/// As [`label`], where leaving it out, or empty, says `default`: the one of the declaration.
pub fn label_or<'a>(value: impl Given<'a>, argument: &'static str, default: &'static str) -> Result<&'a str> {
    required(value.given(), argument).map(|label| if label.is_empty() { default } else { label })
}

/// A required text that is looked up, of whatever length, without the white space around it.
pub fn typed<'a>(value: impl Given<'a>, argument: &'static str) -> Result<&'a str> {
    let text = typed::trimmed(required(value.given(), argument)?);
    if text.is_empty() { Err(bad_text(argument, limits::BadText::Empty, 0)) } else { Ok(text) }
}

/// A required name: the white space around it is not part of it.
pub fn name<'a>(value: impl Given<'a>, argument: &'static str) -> Result<&'a str> {
    limits::text(typed(value, argument)?, limits::TEXT_CHARS).map_err(|why| bad_text(argument, why, limits::TEXT_CHARS))
}

/// A phone number, an address: may be left out, or empty, and the white space around it is not part of it.
pub fn contact<'a>(value: impl Given<'a>, argument: &'static str, max: usize) -> Result<Option<&'a str>> {
    said(value).map(|v| limits::text(typed::trimmed(v), max).map_err(|why| bad_text(argument, why, max))).transpose()
}

/// A text that says anything at all: white space alone does not.
pub fn said<'a>(value: impl Given<'a>) -> Option<&'a str> {
    value.given().filter(|v| !typed::trimmed(v).is_empty())
}

/// A required text, free in form.
pub fn text<'a>(value: impl Given<'a>, argument: &'static str, max: usize) -> Result<&'a str> {
    limits::text(required(value.given(), argument)?, max).map_err(|why| bad_text(argument, why, max))
}

/// A reason that may be left out, or empty.
pub fn optional_reason<'a>(value: impl Given<'a>) -> Result<Option<&'a str>> {
    said(value).map(|v| reason(Some(v))).transpose()
}

/// A reason that must be given.
pub fn reason<'a>(value: impl Given<'a>) -> Result<&'a str> {
    text(value, "p_reason", limits::TEXT_CHARS)
}

/// A required identifier that somebody else made: keys, order ids.
pub fn key<'a>(value: impl Given<'a>, argument: &'static str) -> Result<&'a str> {
    limits::key(required(value.given(), argument)?, limits::KEY_CHARS)
        .map_err(|why| bad_text(argument, why, limits::KEY_CHARS))
}

/// The number of a gateway's, which people copy as well: the white space around it is not part of it.
pub fn trade_number<'a>(value: impl Given<'a>, argument: &'static str) -> Result<&'a str> {
    key(Some(typed(value, argument)?), argument)
}

/// As [`key`], where it may be left out, or empty. White space alone is a mistake, and not an answer.
pub fn optional_key<'a>(value: impl Given<'a>, argument: &'static str) -> Result<Option<&'a str>> {
    value.given().filter(|v| !v.is_empty()).map(|v| key(Some(v), argument)).transpose()
}

/// The code of a merchant.
pub fn merchant_code<'a>(value: impl Given<'a>) -> Result<&'a str> {
    code(value, "p_merchant_code")
}

/// A code: no white space inside, no control characters.
pub fn code<'a>(value: impl Given<'a>, argument: &'static str) -> Result<&'a str> {
    let code = limits::key(typed(value, argument)?, limits::CODE_CHARS)
        .map_err(|why| bad_text(argument, why, limits::CODE_CHARS))?;
    if code.chars().any(char::is_whitespace) {
        return Err(invalid(argument, "has white space inside"));
    }
    Ok(code)
}

/// A JSON object that must be there, key by key.
pub fn keys(value: Option<JsonbArg>, argument: &'static str) -> Result<Map<String, Value>> {
    let given = object(Some(required(value, argument)?), argument)?;
    serde_json::from_str(&given.to_text())
        .map_err(|_| Error::new(Token::InvalidArgument, format!("{argument} is nested too deeply")))
}

/// A tag or payload: a JSON object of bounded size. NULL is the empty object.
pub fn object(value: Option<JsonbArg>, argument: &'static str) -> Result<RawJsonb> {
    let Some(value) = value else {
        return Ok(RawJsonb::empty());
    };
    // What is read and shown later is the text, which a few bytes stored may make a long one.
    let value = value.value().filter(|v| v.text_bytes(limits::TAG_BYTES).is_some()).ok_or_else(|| {
        Error::new(Token::InvalidArgument, format!("{argument} is larger than {} bytes", limits::TAG_BYTES))
    })?;
    if !value.is_object() {
        return Err(Error::new(Token::InvalidArgument, format!("{argument} must be a JSON object")));
    }
    Ok(value)
}

pub fn card_type<'a>(value: impl Given<'a>) -> Result<CardType> {
    CardType::from_label(label(value, "p_card_type")?)
        .ok_or_else(|| invalid("p_card_type", "is personal or enterprise"))
}

/// As [`card_type`], where it may be left out, or empty.
pub fn card_type_or_personal<'a>(value: impl Given<'a>) -> Result<CardType> {
    card_type(Some(label_or(value, "p_card_type", CardType::Personal.label())?))
}

/// A transaction number, as people type it; what is none cannot be found.
pub fn tx_number<'a>(value: impl Given<'a>, argument: &'static str) -> Result<(TxType, TxId)> {
    tx_no::read(typed(value, argument)?).ok_or_else(|| Token::TxNotFound.into())
}

/// As [`tx_number`], where it may be left out, or empty.
pub fn optional_tx_number<'a>(value: impl Given<'a>, argument: &'static str) -> Result<Option<(TxType, TxId)>> {
    said(value).map(|v| tx_number(Some(v), argument)).transpose()
}

/// The refund number of a withdrawal, as people type it; what is none cannot be found.
pub fn refund_number<'a>(value: impl Given<'a>, argument: &'static str) -> Result<String> {
    tx_no::read_refund(typed(value, argument)?).ok_or_else(|| Token::TxNotFound.into())
}

/// The number of a member's coupon, as people type it, where it may be left out, or empty; what is none cannot be found.
pub fn optional_coupon_number<'a>(value: impl Given<'a>, argument: &'static str) -> Result<Option<i64>> {
    said(value)
        .map(|v| coupon::read_number(typed(Some(v), argument)?).ok_or_else(|| Token::CouponNotFound.into()))
        .transpose()
}

/// The number of a card, as people type it.
pub fn card_number<'a>(value: impl Given<'a>, argument: &'static str) -> Result<Cow<'a, str>> {
    limits::key(typed(value, argument)?, limits::KEY_CHARS)
        .map(typed::number)
        .map_err(|why| bad_text(argument, why, limits::KEY_CHARS))
}

/// The number of rows on a page.
pub fn page_rows(value: Option<i32>) -> Result<i64> {
    let rows = required(value, "p_limit")?;
    if (1..=limits::PAGE_ROWS).contains(&rows) {
        Ok(rows.into())
    } else {
        Err(Error::new(Token::InvalidArgument, format!("p_limit is 1 to {}", limits::PAGE_ROWS)))
    }
}

/// A day whose ends are moments that every server and client can write.
pub fn day(value: Day, argument: &'static str) -> Result<Day> {
    if value.is_of_these_times() { Ok(value) } else { Err(invalid(argument, "is a day of the years 2000 to 9999")) }
}

/// A moment that is not infinite.
pub fn moment(value: Timestamp, argument: &'static str) -> Result<Timestamp> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Error::new(Token::InvalidArgument, format!("{argument} must be finite")))
    }
}
