//! `app.gateway_accounts`.

use super::config::{Config, Provider};
use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::types::{RawJsonb, Timestamp};
use crate::kernel::months::Open;
use mps_domain::error::{Error, Result, Token};

/// An account, but for its configuration.
pub struct Account {
    pub provider: Provider,
}

/// An account as notices see it.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    pub provider: Provider,
    pub active: bool,
    pub config: Config,
}

/// An account, not locked, as it is now: who keeps an old snapshot open brings nothing for one that was turned off since. `None`: there
/// is none, or none that this release could read.
pub fn find(db: &Db, code: &str) -> Option<Whole> {
    let sql = "SELECT a.provider, a.active, a.config FROM app.gateway_accounts a WHERE a.code = $1";
    let (provider, active, kept): (String, bool, RawJsonb) =
        db.rows_of_now(sql, &[p(code)], |r| (r.get(1), r.get(2), r.get(3))).pop()?;
    let provider = Provider::from_label(&provider)?;
    let config = Config::read(provider, serde_json::from_str(&kept.to_text()).ok()?).ok()?;
    Some(Whole { provider, active, config })
}

/// Locks an account against changes of it and of its keys.
pub fn lock(open: Open, code: &str) -> Result<Account> {
    let sql = "SELECT a.provider FROM app.gateway_accounts a WHERE a.code = $1 FOR NO KEY UPDATE";
    let provider: Option<String> = open.row(sql, &[p(code)], |r| r.get(1));
    let provider = provider.ok_or(Token::GatewayAccountNotFound)?;
    let provider = Provider::from_label(&provider).ok_or_else(|| {
        Error::new(Token::StatusConflict, "the account is of a provider that this release does not know")
    })?;
    Ok(Account { provider })
}

/// Creates an account; false: there is one with this code.
pub fn create(db: &Db, at: Timestamp, code: &str, provider: Provider, config: &Config, merchant: Option<i32>) -> bool {
    let sql = "INSERT INTO app.gateway_accounts (code, provider, active, config, merchant_id, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (code) DO NOTHING";
    let kept = RawJsonb::parse(&config.kept().to_string());
    db.run(sql, &[p(code), p(provider.label()), p(config.active), p(&kept), p(merchant), p(at)]) == 1
}

/// Replaces the configuration of a locked account; returns whether that is a change.
pub fn replace(db: &Db, code: &str, config: &Config, merchant: Option<i32>) -> bool {
    let sql = "UPDATE app.gateway_accounts SET active = $2, config = $3, merchant_id = $4 \
               WHERE code = $1 AND (active, config, merchant_id) IS DISTINCT FROM ($2, $3, $4)";
    let kept = RawJsonb::parse(&config.kept().to_string());
    db.run(sql, &[p(code), p(config.active), p(&kept), p(merchant)]) == 1
}
