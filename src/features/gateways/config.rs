//! What an account of a gateway is configured with: which notices are of it, and whose bank it pays.

use mps_domain::error::{Error, Result, Token};
use mps_domain::tx_no::PayMethod;
use mps_domain::typed;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

/// Apps, sub-merchants or sellers of one account.
const MOST_IDS: usize = 1000;
/// Gateways state their rates in hundredths of a per cent and finer.
const RATE_DECIMALS: u32 = 6;
/// Nobody waits longer than this for what is different to be looked at.
const MOST_DAYS: i64 = 365;

/// A gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    Wechat,
    Alipay,
}

impl Provider {
    pub const fn label(self) -> &'static str {
        match self {
            Provider::Wechat => "wechat",
            Provider::Alipay => "alipay",
        }
    }

    /// How whoever pays through it pays.
    pub const fn method(self) -> PayMethod {
        match self {
            Provider::Wechat => PayMethod::Wechat,
            Provider::Alipay => PayMethod::Alipay,
        }
    }

    pub fn from_label(label: &str) -> Option<Provider> {
        [Provider::Wechat, Provider::Alipay].into_iter().find(|p| p.label() == label)
    }
}

/// Whose notices an account takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parties {
    WechatMerchant { mchid: String, appids: Vec<String> },
    WechatProvider { sp_mchid: String, sub_mchids: Vec<String>, sp_appids: Option<Vec<String>> },
    Alipay { app_id: String, seller_ids: Vec<String> },
}

/// As `p_config` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub parties: Parties,
    /// The code of the merchant whose bank receives, where it is not the platform's.
    pub merchant: Option<String>,
    pub active: bool,
    /// What the gateway keeps of an amount, as it is written: 0 to 1.
    pub fee_rate: Option<String>,
    /// For how many days what is different may stay open, where it is not as many as `app.health()` says by itself.
    pub item_days: Option<i64>,
}

impl Config {
    /// Errors: `INVALID_ARGUMENT`, which names the member.
    pub fn read(provider: Provider, given: Map<String, Value>) -> Result<Config> {
        let mut given = Members(given);
        let parties = match provider {
            Provider::Wechat if given.0.contains_key("sp_mchid") => Parties::WechatProvider {
                sp_mchid: given.id("sp_mchid")?,
                sub_mchids: given.ids("sub_mchids")?.ok_or_else(|| refused("sub_mchids", "is missing"))?,
                sp_appids: given.ids("sp_appids")?,
            },
            Provider::Wechat => Parties::WechatMerchant {
                mchid: given.id("mchid")?,
                appids: given.ids("appids")?.ok_or_else(|| refused("appids", "is missing"))?,
            },
            Provider::Alipay => Parties::Alipay {
                app_id: given.id("app_id")?,
                seller_ids: given.ids("seller_ids")?.ok_or_else(|| refused("seller_ids", "is missing"))?,
            },
        };
        let merchant = given.text("merchant")?;
        let active = match given.0.remove("active") {
            None => true,
            Some(Value::Bool(active)) => active,
            Some(_) => return Err(refused("active", "is true or false")),
        };
        let fee_rate = given.rate("fee_rate")?;
        let item_days = given.days("item_days")?;
        match given.0.keys().next() {
            Some(other) => Err(refused(&shown(other), "is nothing that an account of this provider has")),
            None => Ok(Config { parties, merchant, active, fee_rate, item_days }),
        }
    }

    /// The same, as it is kept: without what stands in columns of its own.
    pub fn kept(&self) -> Value {
        let mut kept = match &self.parties {
            Parties::WechatMerchant { mchid, appids } => json!({ "mchid": mchid, "appids": appids }),
            Parties::WechatProvider { sp_mchid, sub_mchids, sp_appids: None } => {
                json!({ "sp_mchid": sp_mchid, "sub_mchids": sub_mchids })
            }
            Parties::WechatProvider { sp_mchid, sub_mchids, sp_appids } => {
                json!({ "sp_mchid": sp_mchid, "sub_mchids": sub_mchids, "sp_appids": sp_appids })
            }
            Parties::Alipay { app_id, seller_ids } => json!({ "app_id": app_id, "seller_ids": seller_ids }),
        };
        if let Some(rate) = &self.fee_rate {
            kept["fee_rate"] = rate.as_str().into();
        }
        if let Some(days) = self.item_days {
            kept["item_days"] = days.into();
        }
        kept
    }
}

/// What was given, less what was read of it.
struct Members(Map<String, Value>);

impl Members {
    fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(typed::trimmed(&text).to_owned())),
            Some(_) => Err(refused(name, "is a text")),
        }
    }

    /// A part of one, as a number or as a text, without the zeros at its end.
    fn rate(&mut self, name: &str) -> Result<Option<String>> {
        let text = match self.0.remove(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => typed::trimmed(&text).to_owned(),
            Some(_) => return Err(refused(name, "is a number")),
        };
        let is_plain =
            text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let rate = Decimal::from_str_exact(&text).ok().filter(|_| is_plain).map(|rate| rate.normalize());
        let rate = rate.filter(|rate| *rate <= Decimal::ONE && rate.scale() <= RATE_DECIMALS);
        let rate = rate.ok_or_else(|| refused(name, &format!("is 0 to 1, with at most {RATE_DECIMALS} decimals")))?;
        Ok(Some(rate.to_string()))
    }

    /// A whole number, as a number.
    fn days(&mut self, name: &str) -> Result<Option<i64>> {
        let Some(given) = self.0.remove(name) else { return Ok(None) };
        let days = given.as_i64().filter(|days| (0..=MOST_DAYS).contains(days));
        days.map(Some).ok_or_else(|| refused(name, &format!("is a number of days, 0 to {MOST_DAYS}")))
    }

    fn id(&mut self, name: &str) -> Result<String> {
        let id = self.text(name)?.ok_or_else(|| refused(name, "is missing"))?;
        if is_id(&id) { Ok(id) } else { Err(refused(name, "is no id of the gateway's")) }
    }

    /// A list of ids, each once.
    fn ids(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        let Some(given) = self.0.remove(name) else { return Ok(None) };
        let Value::Array(given) = given else { return Err(refused(name, "is a list of ids")) };
        if given.is_empty() || given.len() > MOST_IDS {
            return Err(refused(name, &format!("has from 1 to {MOST_IDS} ids")));
        }
        let mut ids = Vec::with_capacity(given.len());
        for id in given {
            let id = id.as_str().map(typed::trimmed).filter(|id| is_id(id));
            let id = id.ok_or_else(|| refused(name, "has what is no id of the gateway's"))?;
            if !ids.iter().any(|known| known == id) {
                ids.push(id.to_owned());
            }
        }
        Ok(Some(ids))
    }
}

fn is_id(text: &str) -> bool {
    (1..=mps_notices::MAX_ID_CHARS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The beginning of a name that somebody made up.
fn shown(name: &str) -> String {
    const SHOWN_CHARS: usize = 64;
    name.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect()
}

fn refused(name: &str, why: &str) -> Error {
    Error::new(Token::InvalidArgument, format!("p_config: {name} {why}"))
}
