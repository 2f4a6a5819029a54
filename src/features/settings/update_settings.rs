//! `app.update_settings`: changes the settings that are named, all or none.

use crate::engine::types::{JsonbArg, RawJsonb};
use crate::kernel::call::write;
use crate::kernel::settings::{self, Changes};
use crate::kernel::{args, days};
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::{MONEY_SCALE, Money};
use pgrx::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

/// The same bounds as the table's own constraints, said with an error of the contract.
const QR_TTL_SECONDS: RangeInclusive<i64> = 10..=86_400;
const RECHARGE_TTL_MINUTES: RangeInclusive<i64> = 5..=43_200;
const KEY_RETENTION_DAYS: RangeInclusive<i64> = 90..=3_650;
const MAX_PENDING_RECHARGES: RangeInclusive<i64> = 1..=1_000;
/// `points_per_unit`, in ten-thousandths: 0 to 1000.
const POINTS_PER_UNIT: RangeInclusive<i64> = 0..=10_000_000;
const POINTS_PER_UNIT_SCALE: u32 = 4;
/// In cents: 0.01 to ten thousand million, and a hundred thousand million for balances.
const MAX_AMOUNT: RangeInclusive<i64> = 1..=1_000_000_000_000;
const MAX_BALANCE: RangeInclusive<i64> = 1..=10_000_000_000_000;

/// How much of an unknown name is told.
const SHOWN_CHARS: usize = 64;

#[pg_extern(sql = false)]
fn update_settings(p_settings: Option<JsonbArg>) -> RawJsonb {
    write(|call| {
        call.caller.require_backend()?;
        let given = args::object(Some(args::required(p_settings, "p_settings")?), "p_settings")?;
        let given: Map<String, Value> = serde_json::from_str(&given.to_text())
            .map_err(|_| Error::new(Token::InvalidArgument, "p_settings is nested too deeply"))?;
        let changes = read_changes(&given)?;
        if let Some(zone) = &changes.business_time_zone
            && !days::is_time_zone(call.db, zone)
        {
            return Err(refused(
                "business_time_zone",
                "is a name of the server's pg_timezone_names, such as Asia/Shanghai, and no abbreviation",
            ));
        }
        let open = call.open_month_for_settings()?;
        settings::lock(open);
        call.after_waiting()?;
        let before = settings::as_json(call.db).to_text();
        settings::update(call.db, changes);
        let after = settings::as_json(call.db);
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        call.audit(
            "settings.updated",
            "settings",
            "settings",
            json!({ "was": parsed(&before), "now": parsed(&after.to_text()) }),
        );
        Ok(after)
    })
}

fn read_changes(given: &Map<String, Value>) -> Result<Changes> {
    let mut changes = Changes::default();
    for (name, value) in given {
        match name.as_str() {
            "qr_ttl_seconds" => changes.qr_ttl_seconds = Some(whole(name, value, QR_TTL_SECONDS)?),
            "qr_single_use" => {
                changes.qr_single_use = Some(value.as_bool().ok_or_else(|| refused(name, "is true or false"))?)
            }
            "points_per_unit" => {
                let units = decimal(name, value, POINTS_PER_UNIT_SCALE, POINTS_PER_UNIT)?;
                changes.points_per_unit = Some(Decimal::new(units, POINTS_PER_UNIT_SCALE));
            }
            "max_amount" => {
                changes.max_amount = Some(Money::from_cents(decimal(name, value, MONEY_SCALE, MAX_AMOUNT)?))
            }
            "max_balance" => {
                changes.max_balance = Some(Money::from_cents(decimal(name, value, MONEY_SCALE, MAX_BALANCE)?))
            }
            "recharge_confirmation" => {
                let mode = value.as_str().filter(|m| ["gateway", "trusted"].contains(m));
                changes.recharge_confirmation =
                    Some(mode.ok_or_else(|| refused(name, "is gateway or trusted"))?.to_owned());
            }
            "recharge_ttl_minutes" => changes.recharge_ttl_minutes = Some(whole(name, value, RECHARGE_TTL_MINUTES)?),
            "key_retention_days" => changes.key_retention_days = Some(whole(name, value, KEY_RETENTION_DAYS)?),
            "signup_anonymous" => {
                changes.signup_anonymous = Some(value.as_bool().ok_or_else(|| refused(name, "is true or false"))?)
            }
            "max_pending_recharges" => changes.max_pending_recharges = Some(whole(name, value, MAX_PENDING_RECHARGES)?),
            "business_time_zone" => {
                let zone = value.as_str().ok_or_else(|| refused(name, "is the name of a time zone"))?;
                changes.business_time_zone = Some(zone.to_owned());
            }
            "business_day_starts_at" => changes.business_day_starts_at = Some(minute_of_day(name, value)?),
            _ => return Err(unknown(name)),
        }
    }
    Ok(changes)
}

/// The name as it was given, or the beginning of it.
fn unknown(name: &str) -> Error {
    let shown: String = name.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    let more = if name.chars().nth(SHOWN_CHARS).is_some() { "..." } else { "" };
    Error::new(Token::InvalidArgument, format!("p_settings: there is no setting {shown}{more}"))
}

fn refused(name: &str, why: &str) -> Error {
    Error::new(Token::InvalidArgument, format!("{name} {why}"))
}

fn whole(name: &str, value: &Value, bounds: RangeInclusive<i64>) -> Result<i32> {
    value
        .as_i64()
        .filter(|v| bounds.contains(v))
        .and_then(|v| i32::try_from(v).ok())
        .ok_or_else(|| refused(name, &format!("is a whole number from {} to {}", bounds.start(), bounds.end())))
}

/// A time of day in whole minutes, `HH:MM` (or, as it is shown, with `:00` behind).
fn minute_of_day(name: &str, value: &Value) -> Result<String> {
    let text = value.as_str().unwrap_or_default();
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u8>().ok()).flatten();
    let parts: Vec<&str> = text.split(':').collect();
    let is_minute = matches!(parts[..], [hour, minute] | [hour, minute, "00"]
        if hour.len() == 2 && minute.len() == 2 && number(hour).is_some_and(|h| h < 24) && number(minute).is_some_and(|m| m < 60));
    if is_minute { Ok(text.to_owned()) } else { Err(refused(name, "is a time from 00:00 to 23:59, in whole minutes")) }
}

/// A number, or a text of one, read exactly: never by way of a float.
fn decimal(name: &str, value: &Value, scale: u32, bounds: RangeInclusive<i64>) -> Result<i64> {
    let text = match value {
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.clone(),
        _ => return Err(refused(name, "is a number")),
    };
    settings::decimal_units(&text, scale)
        .filter(|units| bounds.contains(units))
        .ok_or_else(|| refused(name, &format!("is out of range or has more than {scale} decimals")))
}
