//! Payment gateways: their accounts and keys, and the callbacks that they send.

mod account;
mod config;
mod effect;
mod events;
mod gateway_notify;
mod gateway_secrets;
mod keys;
mod live_keys;
mod master_key;
mod notices;
mod notify;
mod refused;
mod reverify_event;
mod set_gateway_account;
mod set_gateway_key;
mod set_gateway_key_from_file;
mod told;

pub use account::{Whole, find as find_account, lock as lock_account};
pub use config::Parties;
pub use effect::{OfABill, Outcome, pay, payload_of_a_bill};

use crate::engine::types::{Text, Timestamp};
use crate::kernel::args;
use crate::kernel::call::Call;
use keys::{Given, Kind};
use mps_domain::error::{Error, Result, Token};
use serde_json::json;
use zeroize::Zeroizing;

/// A certificate has some 2,000 bytes.
const KEY_BYTES: usize = 16_384;

/// Sets a key of an account; returns whether that changed anything.
fn set_key(
    call: &Call,
    account: Option<Text>,
    (kind, id): (Option<Text>, Option<Text>),
    (valid_from, valid_until): (Option<Timestamp>, Option<Timestamp>),
    key: impl FnOnce(Kind) -> Result<Zeroizing<String>>,
) -> Result<bool> {
    let account = args::code(account, "p_account")?;
    let kind = Kind::from_label(args::label(kind, "p_kind")?).ok_or_else(|| {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.label()).collect();
        Error::new(Token::InvalidArgument, format!("p_kind is one of {}", kinds.join(", ")))
    })?;
    let id = args::code(id, "p_key_id")?;
    let valid_from = valid_from.map(|at| args::moment(at, "p_valid_from")).transpose()?;
    let valid_until = valid_until.map(|at| args::moment(at, "p_valid_until")).transpose()?;
    let key = key(kind)?;
    let given = Given { account, kind, id, key: &key, valid_from, valid_until };
    let open = call.open_month()?;
    let known = account::lock(open, account)?;
    call.after_waiting()?;
    let kept = given.kept(known.provider)?;
    let changed = keys::set(open, call.at, &given, &kept);
    if changed {
        let context = json!({ "kind": kind.label(), "key_id": kept.id, "sealed": kept.is_sealed });
        call.audit("gateway.key_set", "gateway_account", account, context);
    }
    Ok(changed)
}
