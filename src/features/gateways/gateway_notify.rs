//! `app.gateway_notify`: a callback that a backend's own web server was sent.

use super::notices::{self, Headers, Request};
use crate::engine::types::{JsonbArg, Text};
use crate::kernel::args;
use crate::kernel::call::write;
use mps_domain::error::{Error, Result, Token};
use pgrx::prelude::*;
use serde_json::{Map, Value};

/// What a web server takes of headers; only a few of them are read.
const HEADERS_BYTES: usize = 65_536;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn gateway_notify(
    p_account: Option<Text>,
    p_headers: Option<JsonbArg>,
    p_body: Option<&[u8]>,
) -> TableIterator<
    'static,
    (
        name!(status, i32),
        name!(body, String),
        name!(outcome, &'static str),
        name!(reason, Option<String>),
        name!(tx_no, Option<String>),
    ),
> {
    let _deadline = notices::deadline();
    let taken = write(|call| {
        call.caller.require_backend()?;
        let account = args::code(p_account, "p_account")?;
        let headers = headers(p_headers)?;
        let body = args::required(p_body, "p_body")?;
        notices::take(call, &Request { asked: None, code: account, headers: &headers, body })
    });
    TableIterator::once((taken.status, taken.body, taken.outcome, taken.reason, taken.tx_no))
}

fn headers(given: Option<JsonbArg>) -> Result<Headers> {
    let refused = |why| Error::new(Token::InvalidArgument, format!("p_headers {why}"));
    let Some(given) = given else { return Ok(Headers::of(Map::new())) };
    let value = given.value().filter(|v| v.text_bytes(HEADERS_BYTES).is_some());
    let value = value.ok_or_else(|| refused("has more than 65,536 bytes"))?;
    if !value.is_object() {
        return Err(refused("must be a JSON object"));
    }
    match serde_json::from_str(&value.to_text()) {
        Ok(Value::Object(members)) => Ok(Headers::of(members)),
        _ => Err(refused("is nested too deeply")),
    }
}
