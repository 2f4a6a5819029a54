//! Who is calling, and what they may do. The level comes from the role that the server runs the caller under, never from a
//! setting; only the user id of a client-level role is taken from the claims that PostgREST (or the shop's own server) set.

use crate::error::{Error, Result, Token, ensure};
use crate::store::server;
use crate::store::types::Uuid;
use serde::Deserialize;
use std::borrow::Cow;

/// The caller of an RPC.
#[derive(Debug)]
pub struct Caller {
    /// `sec.uid()`.
    pub uid: Option<Uuid>,
    /// Has backend level, or is a superuser.
    pub is_backend: bool,
    /// The role, by name, for the audit log.
    pub role: String,
}

impl Caller {
    pub fn identify() -> Caller {
        let role = server::outer_role();
        Caller { uid: uid(), is_backend: server::has_level(role, c"level_backend"), role: server::role_name(role) }
    }

    /// The signed-in user.
    pub fn signed_in(&self) -> Result<Uuid> {
        self.uid.ok_or_else(|| Token::NotAuthenticated.into())
    }

    /// Refuses everybody but backends. EXECUTE is not granted to others; this is the second lock on the same door.
    pub fn require_backend(&self) -> Result<()> {
        ensure(self.is_backend, Token::NotAllowed)
    }

    /// The user, for a client; `None` for a backend.
    pub fn client(&self) -> Result<Option<Uuid>> {
        if self.is_backend { Ok(None) } else { self.signed_in().map(Some) }
    }

    /// Refuses an argument that is a backend's to give.
    pub fn only_backend_gives(&self, given: bool, argument: &'static str) -> Result<()> {
        if given && !self.is_backend {
            return Err(Error::new(Token::NotAllowed, format!("{argument} is for backends")));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow, default)]
    sub: Option<Cow<'a, str>>,
}

/// The `sub` of `request.jwt.claims`; `None` for anything that is no uuid.
pub fn uid() -> Option<Uuid> {
    // An object, that is: serde would read the fields of a struct from an array as well.
    let claims = server::jwt_claims().filter(|c| c.trim_ascii_start().starts_with('{'))?;
    let claims: Claims = serde_json::from_str(&claims).ok()?;
    parse_uuid(claims.sub.as_deref()?)
}

/// A uuid in its usual form, with or without hyphens.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    let hyphenated = text.len() == 36 && [8, 13, 18, 23].iter().all(|&i| text.as_bytes()[i] == b'-');
    if !hyphenated && text.len() != 32 {
        return None;
    }
    let digits: String = text.chars().filter(|&c| !(hyphenated && c == '-')).collect();
    let mut bytes = [0u8; 16];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(Uuid::from_bytes(bytes))
}
