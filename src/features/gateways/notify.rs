//! `mps_gateway.notify`: what a gateway sent, as the proxy hands it over; the answer is PostgREST's, with status and type.

use super::config::Provider;
use super::notices::{self, Headers, Request};
use crate::engine::server;
use crate::kernel::call::at_the_door;
use mps_domain::error::{Error, Result, Token};
use pgrx::prelude::*;
use serde_json::{Map, Value};

/// Two gateways, and their proxy, need some 1,500 bytes; a name and a value of what nginx passes have 8,192 at most.
const HEADER_BYTES: usize = 65_536;

#[pg_extern(sql = false)]
fn notify(body: Option<&[u8]>) -> Vec<u8> {
    let _deadline = notices::deadline();
    at_the_door(|call| {
        let sent = sent_headers();
        let (provider, code) = set_by_proxy(&sent)?;
        let request =
            Request { asked: Some(provider), code: &code, headers: &Headers::of(sent), body: body.unwrap_or_default() };
        let taken = notices::take(call, &request)?;
        server::answer_with(taken.status, type_of(taken.provider, &taken.body));
        Ok(taken.body.into_bytes())
    })
}

/// The headers of the request; none where the setting holds anything else.
fn sent_headers() -> Map<String, Value> {
    server::request_headers(HEADER_BYTES).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The gateway and its account, which no gateway names: the proxy does, in the place of whoever tries to.
fn set_by_proxy(sent: &Map<String, Value>) -> Result<(Provider, String)> {
    let unknown = |what| Error::new(Token::GatewayAccountNotFound, what);
    let header = |name: &str| sent.get(name).and_then(Value::as_str);
    let provider = header("x-mps-gateway")
        .and_then(Provider::from_label)
        .ok_or_else(|| unknown("the header X-Mps-Gateway is wechat or alipay: the proxy sets it"))?;
    // A NUL is no header's, and no account's.
    let code = header("x-mps-account")
        .filter(|code| !code.contains('\0'))
        .ok_or_else(|| unknown("the proxy sets the header X-Mps-Account"))?;
    Ok((provider, code.to_owned()))
}

/// As each gateway expects it; an answer without a body has no type.
fn type_of(provider: Provider, body: &str) -> &'static str {
    match provider {
        _ if body.is_empty() => "[]",
        Provider::Wechat => r#"[{"Content-Type": "application/json"}]"#,
        Provider::Alipay => r#"[{"Content-Type": "text/plain"}]"#,
    }
}
