//! `app.update_settings`: changes the settings that are named, all or none.

use crate::engine::db::Db;
use crate::engine::types::{JsonbArg, RawJsonb};
use crate::kernel::call::write;
use crate::kernel::settings::{self, Kind, Setting};
use crate::kernel::{args, days};
use mps_domain::error::{Error, Result, Token};
use pgrx::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

/// How much of an unknown name is told.
const SHOWN_CHARS: usize = 64;

#[pg_extern(sql = false)]
fn update_settings(p_settings: Option<JsonbArg>) -> RawJsonb {
    write(|call| {
        call.caller.require_backend()?;
        let given = args::keys(p_settings, "p_settings")?;
        let changes = read_changes(call.db, &given)?;
        let open = call.open_month_for_settings()?;
        settings::lock(open);
        call.after_waiting()?;
        let before = settings::as_json(call.db).to_text();
        settings::update(call.db, &changes);
        let after = settings::as_json(call.db);
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let mut context = json!({ "was": parsed(&before), "now": parsed(&after.to_text()) });
        if changes.keys().any(|name| name.starts_with("business_")) {
            context["business_days"] = parsed(&days::rules_as_json(call.db).to_text());
        }
        call.audit("settings.updated", "settings", "settings", context);
        Ok(after)
    })
}

/// The values that were given, as text; each is what its setting may be.
fn read_changes(db: &Db, given: &Map<String, Value>) -> Result<Map<String, Value>> {
    let declared = settings::declared(db);
    let mut changes = Map::new();
    for (name, value) in given {
        let setting = declared.iter().find(|s| s.name == *name).ok_or_else(|| unknown(name))?;
        changes.insert(name.clone(), Value::String(read(db, setting, value)?));
    }
    Ok(changes)
}

fn read(db: &Db, setting: &Setting, value: &Value) -> Result<String> {
    let name = setting.name.as_str();
    match setting.kind {
        Kind::Whole => Ok(whole(name, value, &setting.bounds)?.to_string()),
        Kind::Decimal(scale) => Ok(Decimal::new(decimal(name, value, scale, &setting.bounds)?, scale).to_string()),
        Kind::Switch => value.as_bool().map(|on| on.to_string()).ok_or_else(|| refused(name, "is true or false")),
        Kind::Choice => {
            let choice = value.as_str().filter(|given| setting.choices.iter().any(|c| c == given));
            choice.map(str::to_owned).ok_or_else(|| refused(name, &format!("is {}", setting.choices.join(" or "))))
        }
        Kind::TimeZone => {
            let zone = value.as_str().ok_or_else(|| refused(name, "is the name of a time zone"))?;
            if !days::is_time_zone(db, zone) {
                let why = "is a name of the server's pg_timezone_names, such as Asia/Shanghai, and no abbreviation";
                return Err(refused(name, why));
            }
            Ok(zone.to_owned())
        }
        Kind::MinuteOfDay => minute_of_day(name, value),
    }
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

fn whole(name: &str, value: &Value, bounds: &RangeInclusive<i64>) -> Result<i64> {
    value
        .as_i64()
        .filter(|v| bounds.contains(v))
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
fn decimal(name: &str, value: &Value, scale: u32, bounds: &RangeInclusive<i64>) -> Result<i64> {
    let text = match value {
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.clone(),
        _ => return Err(refused(name, "is a number")),
    };
    settings::decimal_units(&text, scale)
        .filter(|units| bounds.contains(units))
        .ok_or_else(|| refused(name, &format!("is out of range or has more than {scale} decimals")))
}
