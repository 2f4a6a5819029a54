//! Who is calling, and what they may do. Two roles stand behind a call: the outer one, which the server runs the session under,
//! and the immediate one, whose code made the call (the owner of a SECURITY DEFINER function, of a table in maintenance). The
//! level is the least of theirs, so that nobody gains by standing behind somebody else; it never comes from a setting. Only the
//! user id of a client is taken from the claims that PostgREST (or the shop's own server) set.

use crate::engine::server;
use crate::engine::types::Uuid;
use crate::kernel::levels::{self, Levels};
use mps_domain::error::{Error, Result, Token};
use pgrx::pg_sys::Oid;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What a role may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    None,
    Client,
    Backend,
    Superuser,
}

/// The caller of an RPC.
#[derive(Debug)]
pub struct Caller {
    /// `sec.uid()`.
    pub uid: Option<Uuid>,
    /// Has backend level, or is a superuser.
    pub is_backend: bool,
    /// Who is responsible, by name, for the audit log: the outer role, unless the level of the immediate one was the lesser.
    pub role: String,
    /// The other of the two, where they are not the same.
    pub other_role: Option<String>,
    level: Level,
    /// Either role, and the level that it had when the call began.
    outer: (Oid, Level),
    immediate: (Oid, Level),
    /// Maintenance evaluates somebody's code: see [`Caller::refuse_in_maintenance`].
    is_restricted: bool,
    /// Was let in by [`Caller::require_gateway`].
    brings_notices: bool,
}

impl Caller {
    /// Who is calling the function that runs now. Before [`server::as_role`].
    pub fn identify(levels: &Levels) -> Caller {
        Caller::of(levels, server::outer_role(), server::present_role())
    }

    /// Refuses who has lost a level since the call began: for whoever has waited.
    pub fn ensure_keeps_level(&self) -> Result<()> {
        let levels = whole_extension()?;
        let keeps = |(role, had)| level_of(&levels, role) >= had;
        let still_brings = !self.brings_notices || may_bring_notices(&levels, self.outer.0);
        if keeps(self.outer) && keeps(self.immediate) && still_brings {
            return Ok(());
        }
        Err(Error::new(Token::NotAllowed, "the caller's level was taken away while this call waited for another"))
    }

    fn of(levels: &Levels, outer: Oid, immediate: Oid) -> Caller {
        let is_restricted = server::in_restricted_operation();
        // Whoever called directly was allowed to execute the function: that is client level, at least. In maintenance the outer
        // role is a bystander.
        let own_level = level_of(levels, immediate);
        let immediate_level = own_level.max(Level::Client);
        let outer_level = if outer == immediate || is_restricted { immediate_level } else { level_of(levels, outer) };
        let outer_had = if outer == immediate || is_restricted { Level::None } else { outer_level };
        let (responsible, other) =
            if immediate_level < outer_level || is_restricted { (immediate, outer) } else { (outer, immediate) };
        let level = immediate_level.min(outer_level);
        Caller {
            uid: uid(),
            is_backend: level >= Level::Backend,
            role: server::role_name(responsible),
            other_role: (outer != immediate && immediate != levels.owner).then(|| server::role_name(other)),
            level,
            outer: (outer, outer_had),
            immediate: (immediate, own_level),
            is_restricted,
            brings_notices: false,
        }
    }

    /// Whether both roles behind the call are a superuser's, or our own.
    pub fn is_superuser(&self) -> bool {
        self.level == Level::Superuser
    }

    /// Refuses to write where maintenance evaluates expressions of a table or a view: no person is behind that.
    pub fn refuse_in_maintenance(&self) -> Result<()> {
        if self.is_restricted {
            return Err(Error::new(
                Token::NotAllowed,
                "nothing that writes may be called from what maintenance evaluates (ANALYZE, REINDEX, REFRESH and the like)",
            ));
        }
        Ok(())
    }

    /// Refuses who has no level at all, but got here through the function of somebody who has.
    fn require_level(&self) -> Result<()> {
        if self.level == Level::None {
            return Err(Error::new(Token::NotAllowed, "a role without a level calls through the function of another"));
        }
        Ok(())
    }

    /// The signed-in user.
    pub fn signed_in(&self) -> Result<Uuid> {
        self.require_level()?;
        self.uid.ok_or_else(not_signed_in)
    }

    /// Refuses everybody but backends. EXECUTE is not granted to others; this is the second lock on the same door.
    pub fn require_backend(&self) -> Result<()> {
        if self.is_backend { Ok(()) } else { Err(Error::new(Token::NotAllowed, "for backends only")) }
    }

    /// Refuses everybody but superusers, in front of and behind whatever function calls.
    pub fn require_superuser(&self) -> Result<()> {
        if self.is_superuser() { Ok(()) } else { Err(Error::new(Token::NotAllowed, "for superusers only")) }
    }

    /// Refuses who does not bring what gateways send. The function is a definer's, so that the immediate role is its owner: the outer
    /// one decides alone, and no code of somebody who may stands for it. No person is behind a gateway, whatever the claims say.
    pub fn require_gateway(&mut self) -> Result<()> {
        self.refuse_in_maintenance()?;
        if !may_bring_notices(&whole_extension()?, self.outer.0) {
            return Err(Error::new(Token::NotAllowed, "for the gateway level only"));
        }
        self.brings_notices = true;
        self.uid = None;
        Ok(())
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

/// The marker functions and their owner. Errors: `SCHEMA_OUTDATED` where the extension is not whole.
pub fn whole_extension() -> Result<Levels> {
    server::accept_invalidations();
    levels::levels().ok_or_else(|| Error::new(Token::SchemaOutdated, "functions of the extension are missing"))
}

fn level_of(levels: &Levels, role: Oid) -> Level {
    // Our own SQL parts lend nobody anything: who called those is asked for.
    if role == levels.owner || server::is_superuser(role) {
        Level::Superuser
    } else if server::may_execute(levels.backend, role) {
        Level::Backend
    } else if server::may_execute(levels.client, role) {
        Level::Client
    } else {
        Level::None
    }
}

fn may_bring_notices(levels: &Levels, outer: Oid) -> bool {
    server::is_superuser(outer) || server::may_execute(levels.gateway, outer)
}

/// Refuses what operators run, where it is called through the function of an operator by somebody who is none, and in
/// maintenance. That the immediate caller is an operator the server has asked already, when it let them execute it.
pub fn require_operator(levels: &Levels) -> Result<()> {
    let outer = server::outer_role();
    if server::in_restricted_operation()
        || !(server::is_superuser(outer) || server::may_execute(levels.operator, outer))
    {
        return Err(Error::new(Token::NotAllowed, "for operators, and not from what maintenance evaluates"));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow, default)]
    sub: Option<Cow<'a, str>>,
}

/// The `sub` of `request.jwt.claims`; `None` for anything that is no uuid, and where maintenance evaluates expressions: whoever
/// runs that does not speak for their owner, nor the other way round.
pub fn uid() -> Option<Uuid> {
    if server::in_restricted_operation() {
        return None;
    }
    let claims = claims()?;
    let claims: Claims = serde_json::from_str(&claims).ok()?;
    parse_uuid(claims.sub.as_deref()?)
}

/// The text of the claims. An object, that is: serde would read the fields of a struct from an array as well.
fn claims() -> Option<String> {
    server::jwt_claims().filter(|c| c.trim_ascii_start().starts_with('{'))
}

/// Any of the claims, for questions that few calls ask.
fn claim(name: &str) -> Option<Value> {
    serde_json::from_str::<Map<String, Value>>(&claims()?).ok()?.remove(name)
}

/// Whether the signed-in user has no identity yet, as `signInAnonymously()` makes them.
pub fn is_anonymous() -> bool {
    claim("is_anonymous") == Some(Value::Bool(true))
}

/// Nobody is signed in, or somebody whom we cannot know.
fn not_signed_in() -> Error {
    match claim("sub") {
        Some(Value::String(sub)) if !sub.is_empty() && parse_uuid(&sub).is_none() => Error::new(
            Token::NotAuthenticated,
            "the claim sub is no UUID: a sign-in service of another kind needs a mapping of its users to UUIDs",
        ),
        _ => Token::NotAuthenticated.into(),
    }
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
