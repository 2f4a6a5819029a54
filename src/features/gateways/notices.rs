//! A callback: verified, read, done and recorded in one transaction, whichever door it comes through.

use super::account::{self, Whole as Account};
use super::config::Provider;
use super::effect::{self, Outcome};
use super::events::{self, Received};
use super::live_keys;
use super::refused::Refused;
use super::told::{self, Notice};
use crate::engine::deadline::Deadline;
use crate::engine::server;
use crate::engine::types::{RawJsonb, Timestamp};
use crate::kernel::call::Call;
use mps_domain::error::{Error, Result, Token};
use mps_notices::{MAX_BODY_BYTES, Refusal, alipay, wechat};
use serde_json::{Map, Value};

/// The gateways wait five seconds for an answer. Whatever holds a callback up for longer than this ends it, and it comes again.
const DEADLINE_MILLIS: u32 = 3000;
/// What WeChat signs beside the body.
const SIGNED: [&str; 5] =
    ["wechatpay-timestamp", "wechatpay-nonce", "wechatpay-signature", "wechatpay-serial", "wechatpay-signature-type"];
/// So much of a header is kept: a byte more than any of those has, so that one which is longer is refused for that as well.
const HEADER_BYTES: usize = 1025;
const OK: i32 = 200;
const NO_CONTENT: i32 = 204;
const BAD_REQUEST: i32 = 400;

/// The time that a door has, kept until its whole call has ended: what comes after [`take`] may wait, too.
pub fn deadline() -> Deadline {
    Deadline::after(DEADLINE_MILLIS)
}

/// What answers a callback.
pub struct Taken {
    pub provider: Provider,
    pub status: i32,
    pub body: String,
    pub outcome: &'static str,
    pub reason: Option<String>,
    pub tx_no: Option<String>,
}

/// The headers of a request, of which those are kept that are signed.
pub struct Headers(Map<String, Value>);

impl Headers {
    /// Names in any case; what is no text is not there.
    pub fn of(given: Map<String, Value>) -> Headers {
        let mut kept = Map::new();
        for (name, value) in given {
            let name = name.to_ascii_lowercase();
            if let (true, Value::String(text)) = (SIGNED.contains(&name.as_str()), value) {
                // A NUL is no header's, and no jsonb's.
                let text: String = text.chars().filter(|c| *c != '\0').collect();
                kept.insert(name, Value::String(text[..text.floor_char_boundary(HEADER_BYTES)].to_owned()));
            }
        }
        Headers(kept)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub fn signed(&self) -> wechat::Headers<'_> {
        let [timestamp, nonce, signature, serial, signature_type] = SIGNED.map(|name| self.get(name));
        wechat::Headers { timestamp, nonce, signature, serial, signature_type }
    }

    fn kept(&self) -> RawJsonb {
        RawJsonb::parse(&Value::Object(self.0.clone()).to_string())
    }
}

/// What a door was sent.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Which gateway the way in says that it is of.
    pub asked: Option<Provider>,
    /// The account.
    pub code: &'a str,
    pub headers: &'a Headers,
    pub body: &'a [u8],
}

/// Takes a callback for an account. What is refused is recorded and answered, never an error: an error would lose the record.
/// Errors: `GATEWAY_ACCOUNT_NOT_FOUND`; and those of every call.
pub fn take(call: &Call, request: &Request) -> Result<Taken> {
    let Request { asked, code, headers, body } = *request;
    let account = account::find(call.db, code).ok_or(Token::GatewayAccountNotFound)?;
    let provider = account.provider;
    let wechat_headers = if provider == Provider::Wechat { headers.kept() } else { RawJsonb::empty() };
    let received = Received { account: code, provider: provider.label(), headers: wechat_headers, body };
    let notice = match read(call, call.at, request, &account) {
        Ok(notice) => notice,
        Err(refused) => {
            events::note_refused(call, &received, &refused)?;
            return Ok(turned_away(asked.unwrap_or(provider), &refused));
        }
    };
    let id = events::next_id(call.db);
    let effect = effect::apply(call, code, provider, id, &notice)?;
    events::note(call, id, &received, &notice, &effect)?;
    still_so(call, request, &account, &notice)?;
    let (status, body) = match provider {
        Provider::Wechat => (NO_CONTENT, String::new()),
        Provider::Alipay => (OK, "success".into()),
    };
    Ok(Taken { provider, status, body, outcome: effect.outcome.label(), reason: effect.reason, tx_no: effect.tx_no })
}

/// Verifies and reads it with the keys of a moment.
fn read(call: &Call, at: Timestamp, request: &Request, account: &Account) -> std::result::Result<Notice, Refused> {
    let Request { asked, code, headers, body } = *request;
    if asked.is_some_and(|asked| asked != account.provider) {
        return Err(Refused::other_provider());
    }
    if !account.active {
        return Err(Refused::inactive());
    }
    if body.len() > MAX_BODY_BYTES {
        return Err(Refused::unsigned(&Refusal::BodyTooLarge));
    }
    let unsigned = |why: Refusal| Refused::unsigned(&why);
    match account.provider {
        Provider::Wechat => {
            let keys = live_keys::public_keys(call.db, at, code);
            let keys: Vec<_> = keys.iter().map(|(id, key)| (id.as_str(), key)).collect();
            let now = call.at.unix_micros().div_euclid(1_000_000);
            let verified = wechat::verify(&headers.signed(), body, &keys, now).map_err(unsigned)?;
            let secrets = live_keys::secrets(call.db, at, code).map_err(|why| why.by(verified.key_id()))?;
            let secrets: Vec<_> = secrets.iter().map(|(id, key)| (id.as_str(), key)).collect();
            told::of_wechat(&verified, &account.config.parties, &secrets)
        }
        Provider::Alipay => {
            let keys = live_keys::public_keys(call.db, at, code);
            let keys: Vec<_> = keys.iter().map(|(id, key)| (id.as_str(), key)).collect();
            let verified = alipay::verify(body, &keys).map_err(unsigned)?;
            told::of_alipay(&verified, &account.config.parties)
        }
    }
}

/// What was so before a wait is asked again after it: an account that was turned off meanwhile, or a key that was ended or changed,
/// credits nothing.
fn still_so(call: &Call, request: &Request, account: &Account, notice: &Notice) -> Result<()> {
    if !call.has_waited() {
        return Ok(());
    }
    let is_same = account::find(call.db, request.code).is_some_and(|now| now == *account)
        && read(call, server::now(), request, account).is_ok_and(|again| again.key_id == notice.key_id);
    if is_same {
        return Ok(());
    }
    Err(Error::new(Token::StatusConflict, "the account or its key was changed while this callback waited"))
}

fn turned_away(provider: Provider, refused: &Refused) -> Taken {
    let (status, body) = match provider {
        Provider::Wechat => {
            let message = serde_json::json!({ "code": "FAIL", "message": refused.detail });
            (refused.status, message.to_string())
        }
        Provider::Alipay => (BAD_REQUEST, "failure".into()),
    };
    let (outcome, reason) = (Outcome::Refused.label(), Some(refused.reason.to_owned()));
    Taken { provider, status, body, outcome, reason, tx_no: None }
}
