//! `app.reverify_event`: proves again, years later, that a gateway signed what a callback said.

use super::account;
use super::config::Provider;
use super::live_keys;
use super::notices::Headers;
use crate::engine::param::p;
use crate::engine::types::{RawJsonb, Timestamp};
use crate::kernel::args;
use crate::kernel::call::{Call, read};
use mps_domain::error::{Error, Result, Token};
use mps_notices::{Refusal, alipay, wechat};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn reverify_event(
    p_id: Option<i64>,
) -> TableIterator<
    'static,
    (
        name!(id, i64),
        name!(received_at, Timestamp),
        name!(account, String),
        name!(provider, String),
        name!(key_id, String),
        name!(outcome, String),
    ),
> {
    let (event, key_id) = read(|call| {
        call.caller.require_backend()?;
        let event = find(call, args::required(p_id, "p_id")?)?;
        let key_id = prove(call, &event)?;
        Ok((event, key_id))
    });
    TableIterator::once((event.id, event.received_at, event.account, event.provider, key_id, event.outcome))
}

struct Event {
    id: i64,
    received_at: Timestamp,
    account: String,
    provider: String,
    outcome: String,
    headers: RawJsonb,
    body: Vec<u8>,
}

fn find(call: &Call, id: i64) -> Result<Event> {
    let sql = "SELECT e.id, e.received_at, e.account, e.provider, e.outcome, e.headers, e.body \
               FROM app.gateway_events e WHERE e.id = $1";
    let found = call.db.row(sql, &[p(id)], |r| Event {
        id: r.get(1),
        received_at: r.get(2),
        account: r.get(3),
        provider: r.get(4),
        outcome: r.get(5),
        headers: r.get(6),
        body: r.get(7),
    });
    found.ok_or_else(|| Error::new(Token::TxNotFound, "there is no such event here; its month may be archived"))
}

/// The key that signed it. As of when it was received, with all keys that the account has: one that ran out since proves it still.
fn prove(call: &Call, event: &Event) -> Result<String> {
    let not_proved = |why: Refusal| Error::new(Token::SignatureInvalid, why.to_string());
    let provider = account::find(call.db, &event.account).map(|account| account.provider);
    let keys = live_keys::all_public_keys(call.db, &event.account);
    let keys: Vec<_> = keys.iter().map(|(id, key)| (id.as_str(), key)).collect();
    match provider {
        Some(Provider::Wechat) => {
            let headers = serde_json::from_str(&event.headers.to_text()).unwrap_or_default();
            let headers = Headers::of(headers);
            let at = event.received_at.unix_micros().div_euclid(1_000_000);
            let verified = wechat::verify(&headers.signed(), &event.body, &keys, at).map_err(not_proved)?;
            Ok(verified.key_id().to_owned())
        }
        Some(Provider::Alipay) => {
            let verified = alipay::verify(&event.body, &keys).map_err(not_proved)?;
            Ok(verified.key_id().to_owned())
        }
        None => Err(Token::GatewayAccountNotFound.into()),
    }
}
