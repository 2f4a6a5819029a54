//! The terms of a campaign as a backend writes them, `p_campaign`: strictly, as those of a coupon.

use crate::campaign::{Gift, Terms};
use crate::error::{Error, Result};
use crate::money::Money;
use crate::terms_json::{self, Key, When, Whom, listed};
use serde_json::{Map, Value, json};

/// What it is the terms of.
const OF: &str = "p_campaign";
/// Priorities, either way.
const MOST_PRIORITY: i64 = 1_000;

/// What stands in the terms, key by key; `merchants` by their codes.
#[derive(Default)]
struct Draft {
    name: Option<String>,
    kind: Option<String>,
    value: Option<i64>,
    min_spend: Option<i64>,
    when: When,
    to: Whom,
    priority: Option<i64>,
    exclusive: Option<bool>,
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
        Draft {
            name: Some(terms.name.clone()),
            kind: Some(terms.gift.label().to_owned()),
            value: Some(terms.gift.value()),
            min_spend: terms.min_spend.map(Money::cents),
            when: When::of(&terms.window),
            to: Whom::of(terms.merchants.as_deref(), terms.levels.as_deref(), terms.card_types.as_deref()),
            priority: Some(i64::from(terms.priority)),
            exclusive: Some(terms.exclusive),
        }
    }

    fn with(mut self, given: &Map<String, Value>, merchant: impl Fn(&str) -> Result<i32>) -> Result<Draft> {
        for (key, value) in given {
            let at = Key::new(OF, key, value);
            if self.when.take(at)? || self.to.take(at, &merchant)? {
                continue;
            }
            match key.as_str() {
                "name" => self.name = at.name("p_campaign: name")?,
                "kind" => self.kind = at.text()?.map(str::to_owned),
                "value" => self.value = at.hundredths()?,
                "min_spend" => self.min_spend = at.hundredths()?,
                "priority" => self.priority = at.whole(-MOST_PRIORITY..=MOST_PRIORITY)?,
                "exclusive" => self.exclusive = at.switch()?,
                _ => return Err(terms_json::unknown(OF, key, "a campaign")),
            }
        }
        Ok(self)
    }

    fn terms(self) -> Result<Terms> {
        let needed = |key: &str| refused(key, "is missing");
        let kind = self.kind.as_deref().ok_or_else(|| needed("kind"))?;
        let value = self.value.ok_or_else(|| needed("value"))?;
        if !["points_multiplier", "points_bonus"].contains(&kind) {
            return Err(refused("kind", "is points_multiplier or points_bonus"));
        }
        let gift = Gift::of(kind, value).ok_or_else(|| {
            let why =
                "is above 1 and at most 100 for points_multiplier, a whole number from 1 to 1000000 for points_bonus";
            refused("value", why)
        })?;
        Ok(Terms {
            name: self.name.ok_or_else(|| needed("name"))?,
            gift,
            min_spend: terms_json::positive(OF, "min_spend", self.min_spend)?,
            window: self.when.window(OF)?,
            merchants: listed(self.to.merchants),
            levels: listed(self.to.levels),
            card_types: listed(self.to.card_types),
            // Within i32: it was looked at.
            priority: self.priority.unwrap_or(0) as i32,
            exclusive: self.exclusive.unwrap_or(false),
        })
    }
}

fn refused(key: &str, why: &str) -> Error {
    terms_json::refused(OF, key, why)
}

/// What the log keeps of terms, and the books can be written from: every key that is a condition, `merchants` by their ids.
pub fn noted(terms: &Terms) -> Value {
    let own = json!({
        "name": terms.name,
        "kind": terms.gift.label(),
        "value": Money::from_cents(terms.gift.value()).to_string(),
        "min_spend": terms.min_spend.map(|amount| amount.to_string()),
        "priority": terms.priority,
        "exclusive": terms.exclusive,
    });
    let to = Whom::of(terms.merchants.as_deref(), terms.levels.as_deref(), terms.card_types.as_deref());
    terms_json::noted([own, When::of(&terms.window).noted(), to.noted()])
}
