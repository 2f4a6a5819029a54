//! `app.set_gateway_account`: whose notices are taken, and whose bank they pay.

use super::account;
use super::config::{Config, Provider};
use crate::engine::types::{JsonbArg, Text};
use crate::kernel::call::write;
use crate::kernel::{args, merchants};
use mps_domain::error::{Error, Result, Token};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn set_gateway_account(p_code: Option<Text>, p_provider: Option<Text>, p_config: Option<JsonbArg>) -> bool {
    write(|call| {
        call.caller.require_superuser()?;
        let code = account_code(args::code(p_code, "p_code")?)?;
        let provider = Provider::from_label(args::label(p_provider, "p_provider")?)
            .ok_or_else(|| Error::new(Token::InvalidArgument, "p_provider is wechat or alipay"))?;
        let config = Config::read(provider, args::keys(p_config, "p_config")?)?;
        let open = call.open_month()?;
        let merchant = match &config.merchant {
            Some(code) => Some(merchants::find(call.db, code, None).ok_or(Token::MerchantNotFound)?.id),
            None => None,
        };
        // Waits for who creates the same one.
        let mut changed = account::create(call.db, call.at, code, provider, &config, merchant);
        call.after_waiting()?;
        if !changed {
            let known = account::lock(open, code)?;
            call.after_waiting()?;
            if known.provider != provider {
                return Err(Error::new(Token::StatusConflict, "the account is of the other provider"));
            }
            changed = account::replace(call.db, code, &config, merchant);
        }
        if changed {
            let context = json!({
                "provider": provider.label(), "active": config.active, "config": config.kept(), "merchant": config.merchant,
            });
            call.audit("gateway.account_set", "gateway_account", code, context);
        }
        Ok(changed)
    })
}

/// The proxy names it in a header and in a path, where nothing needs to be escaped.
fn account_code(code: &str) -> Result<&str> {
    if code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        Ok(code)
    } else {
        Err(Error::new(Token::InvalidArgument, "p_code has what is no ASCII letter, no digit, and none of - _ ."))
    }
}
