//! `app.set_gateway_key_from_file`: as `app.set_gateway_key`, of a key that is in no statement, and so in no log of statements.

use super::{KEY_BYTES, keys::Kind, set_key};
use crate::engine::secret_file;
use crate::engine::types::{Text, Timestamp};
use crate::kernel::args;
use crate::kernel::call::write;
use mps_domain::error::{Error, Result, Token};
use pgrx::prelude::*;
use std::fs;
use zeroize::Zeroizing;

#[pg_extern(sql = false)]
fn set_gateway_key_from_file(
    p_account: Option<Text>,
    p_kind: Option<Text>,
    p_key_id: Option<Text>,
    p_path: Option<Text>,
    p_valid_from: Option<Timestamp>,
    p_valid_until: Option<Timestamp>,
) -> bool {
    write(|call| {
        call.caller.require_superuser()?;
        let path = args::typed(p_path, "p_path")?;
        set_key(call, p_account, (p_kind, p_key_id), (p_valid_from, p_valid_until), |kind| key_in(kind, path))
    })
}

/// What stands in the file, without the line end that an editor leaves. A secret must be one there, too.
fn key_in(kind: Kind, path: &str) -> Result<Zeroizing<String>> {
    let refused = |why: &str| Error::new(Token::InvalidArgument, format!("the file of p_path {why}"));
    if !path.starts_with('/') {
        return Err(refused("is named from the root on"));
    }
    let content = if kind.is_secret() {
        secret_file::read(path, KEY_BYTES as u64).map_err(|why| refused(&why))?
    } else {
        let found = fs::metadata(path).map_err(|e| refused(&format!("cannot be looked at: {}", e.kind())))?;
        if !found.is_file() || found.len() > KEY_BYTES as u64 {
            return Err(refused("is no file with a key"));
        }
        fs::read(path).map_err(|e| refused(&format!("cannot be read: {}", e.kind())))?
    };
    let content = Zeroizing::new(content);
    let text = std::str::from_utf8(&content).map_err(|_| refused("is no text"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}
