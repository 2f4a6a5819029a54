//! The terms of a coupon as a backend writes them, `p_coupon`: strictly, so that what is misspelt is no condition left out.

use crate::coupon::{OnFullRefund, Terms, kind_label, kind_of, kind_value};
use crate::error::{Error, Result};
use crate::money::Money;
use crate::terms_json::{self, Key, When, Whom, listed};
use crate::window::Window;
use serde_json::{Map, Value, json};

/// What it is the terms of.
const OF: &str = "p_coupon";
/// More than any coupon is issued.
const MOST: i64 = 1_000_000_000;
/// Days that a coupon may wait or hold: ten years.
const MOST_DAYS: i64 = 3_660;

/// What stands in the terms, key by key; `merchants` by their codes.
#[derive(Default)]
struct Draft {
    name: Option<String>,
    kind: Option<String>,
    value: Option<i64>,
    min_spend: Option<i64>,
    max_discount: Option<i64>,
    goes_with_level_discount: Option<bool>,
    when: When,
    to: Whom,
    valid_days_after_issue: Option<i64>,
    starts_after_days: Option<i64>,
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
        Draft {
            name: Some(terms.name.clone()),
            kind: Some(kind_label(terms.kind).to_owned()),
            value: Some(kind_value(terms.kind)),
            min_spend: terms.min_spend.map(Money::cents),
            max_discount: terms.max_discount.map(Money::cents),
            goes_with_level_discount: Some(terms.goes_with_level_discount),
            when: When::of(&terms.window),
            to: Whom::of(terms.merchants.as_deref(), terms.levels.as_deref(), terms.card_types.as_deref()),
            valid_days_after_issue: terms.valid_days_after_issue.map(i64::from),
            starts_after_days: terms.starts_after_days.map(i64::from),
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
            let at = Key::new(OF, key, value);
            if self.when.take(at)? || self.to.take(at, &merchant)? {
                continue;
            }
            match key.as_str() {
                "name" => self.name = at.name("p_coupon: name")?,
                "kind" => self.kind = at.text()?.map(str::to_owned),
                "value" => self.value = at.hundredths()?,
                "min_spend" => self.min_spend = at.hundredths()?,
                "max_discount" => self.max_discount = at.hundredths()?,
                "goes_with_level_discount" => self.goes_with_level_discount = at.switch()?,
                "valid_days_after_issue" => self.valid_days_after_issue = at.whole(0..=MOST_DAYS)?,
                "starts_after_days" => self.starts_after_days = at.whole(0..=MOST_DAYS)?,
                "first_purchase_only" => self.first_purchase_only = at.switch()?,
                "issue_limit" => self.issue_limit = at.whole(1..=MOST)?,
                "per_member_limit" => self.per_member_limit = at.whole(1..=MOST)?,
                "per_member_per_day" => self.per_member_per_day = at.whole(1..=MOST)?,
                "claimable" => self.claimable = at.switch()?,
                "on_full_refund" => {
                    self.on_full_refund = at.label("return or keep_used", OnFullRefund::from_label)?;
                }
                "budget_amount" => self.budget_amount = at.hundredths()?,
                _ => return Err(terms_json::unknown(OF, key, "a coupon")),
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
        let positive = |key: &str, value: Option<i64>| terms_json::positive(OF, key, value);
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
            merchants: listed(self.to.merchants),
            levels: listed(self.to.levels),
            card_types: listed(self.to.card_types),
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
        if self.when.valid_until.is_some() && self.valid_days_after_issue.is_some() {
            return Err(refused("valid_until", "and valid_days_after_issue are not given together"));
        }
        if let (Some(starts), Some(days)) = (self.starts_after_days, self.valid_days_after_issue)
            && days < starts
        {
            return Err(refused("valid_days_after_issue", "is at least starts_after_days"));
        }
        self.when.window(OF)
    }
}

fn refused(key: &str, why: &str) -> Error {
    terms_json::refused(OF, key, why)
}

/// What the log keeps of terms, and the books can be written from: every key that is a condition, `merchants` by their ids.
pub fn noted(terms: &Terms) -> Value {
    let money = |amount: Option<Money>| amount.map(|amount| amount.to_string());
    let own = json!({
        "name": terms.name,
        "kind": kind_label(terms.kind),
        "value": Money::from_cents(kind_value(terms.kind)).to_string(),
        "min_spend": money(terms.min_spend),
        "max_discount": money(terms.max_discount),
        "goes_with_level_discount": terms.goes_with_level_discount,
        "valid_days_after_issue": terms.valid_days_after_issue,
        "starts_after_days": terms.starts_after_days,
        "first_purchase_only": terms.first_purchase_only,
        "issue_limit": terms.issue_limit,
        "per_member_limit": terms.per_member_limit,
        "per_member_per_day": terms.per_member_per_day,
        "claimable": terms.claimable,
        "on_full_refund": terms.on_full_refund.label(),
        "budget_amount": money(terms.budget_amount),
    });
    let to = Whom::of(terms.merchants.as_deref(), terms.levels.as_deref(), terms.card_types.as_deref());
    terms_json::noted([own, When::of(&terms.window).noted(), to.noted()])
}
