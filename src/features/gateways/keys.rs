//! `sec.gateway_keys`: what notices are verified and decrypted with. Several of a kind live at once, so that they can be changed without
//! a gap. No key is in any answer, error, event or log.

use super::config::Provider;
use super::master_key;
use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::server;
use crate::engine::types::Timestamp;
use crate::kernel::months::Open;
use mps_domain::error::{Error, Result, Token};
use mps_notices::keys::{PublicKey, is_same_id};
use mps_notices::secret::{Apiv3Key, MasterKey};

/// How an id of WeChat's public keys begins that are no certificate.
const WECHAT_PUBLIC_KEY_ID: &str = "PUB_KEY_ID_";

/// A kind of key, named as in `p_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "the labels are so")]
pub enum Kind {
    WechatApiv3Key,
    WechatPublicKey,
    AlipayPublicKey,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::WechatApiv3Key, Kind::WechatPublicKey, Kind::AlipayPublicKey];

    pub const fn label(self) -> &'static str {
        match self {
            Kind::WechatApiv3Key => "wechat_apiv3_key",
            Kind::WechatPublicKey => "wechat_public_key",
            Kind::AlipayPublicKey => "alipay_public_key",
        }
    }

    pub fn from_label(label: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.label() == label)
    }

    /// Whether it is a secret of both sides.
    pub const fn is_secret(self) -> bool {
        matches!(self, Kind::WechatApiv3Key)
    }

    const fn provider(self) -> Provider {
        match self {
            Kind::WechatApiv3Key | Kind::WechatPublicKey => Provider::Wechat,
            Kind::AlipayPublicKey => Provider::Alipay,
        }
    }
}

/// A key as it was given.
pub struct Given<'a> {
    pub account: &'a str,
    pub kind: Kind,
    pub id: &'a str,
    pub key: &'a str,
    pub valid_from: Option<Timestamp>,
    pub valid_until: Option<Timestamp>,
}

/// A key as it is kept.
pub struct Kept {
    /// Of a certificate its serial number, as it is written here: one key has one id.
    pub id: String,
    key: Vec<u8>,
    pub is_sealed: bool,
    /// When it is valid; a certificate says so itself.
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Given<'_> {
    /// Errors: `INVALID_ARGUMENT`, `STATUS_CONFLICT` (the master key cannot be used).
    pub fn kept(&self, provider: Provider) -> Result<Kept> {
        if self.kind.provider() != provider {
            return Err(refused("p_kind is of another provider than the account"));
        }
        let (mut from, mut until) = (self.valid_from, self.valid_until);
        let public = match self.kind {
            Kind::WechatApiv3Key => None,
            Kind::WechatPublicKey => Some(PublicKey::wechat(self.key).map_err(wrong)?),
            Kind::AlipayPublicKey => Some(PublicKey::alipay(self.key).map_err(wrong)?),
        };
        let mut id = self.id;
        let (key, is_sealed) = match &public {
            None => self.secret()?,
            Some(public) => {
                self.must_be_named_after(public)?;
                id = public.certificate().map_or(id, |certificate| &certificate.serial);
                bounds(public, &mut from, &mut until);
                (self.key.trim().as_bytes().to_vec(), false)
            }
        };
        if from.zip(until).is_some_and(|(from, until)| until <= from) {
            return Err(refused("p_valid_until is not after p_valid_from"));
        }
        Ok(Kept { id: id.to_owned(), key, is_sealed, from, until })
    }

    /// By its id a request finds it.
    fn must_be_named_after(&self, key: &PublicKey) -> Result<()> {
        match key.certificate() {
            Some(certificate) if !is_same_id(&certificate.serial, self.id) => {
                Err(refused(&format!("p_key_id is not the serial number of the certificate, {}", certificate.serial)))
            }
            None if self.kind == Kind::WechatPublicKey && !self.id.starts_with(WECHAT_PUBLIC_KEY_ID) => Err(refused(
                "p_key_id of a public key begins with PUB_KEY_ID_; of a certificate it is the serial number",
            )),
            _ => Ok(()),
        }
    }

    /// Sealed, where there is a master key.
    fn secret(&self) -> Result<(Vec<u8>, bool)> {
        let key = Apiv3Key::new(self.key.as_bytes()).map_err(wrong)?;
        Ok(match master_key::read()? {
            None => (key.expose().to_vec(), false),
            Some(master) => (master.seal(&key, server::random(), &self.place()).map_err(wrong)?, true),
        })
    }

    /// What a secret is sealed for.
    fn place(&self) -> [&str; 3] {
        [self.account, self.kind.label(), self.id]
    }
}

/// A certificate is not valid before and after what it says.
fn bounds(key: &PublicKey, from: &mut Option<Timestamp>, until: &mut Option<Timestamp>) {
    if let Some(certificate) = key.certificate() {
        let at = Timestamp::of_unix;
        *from = Some(from.map_or(at(certificate.valid_from), |from| from.max(at(certificate.valid_from))));
        *until = Some(until.map_or(at(certificate.valid_until), |until| until.min(at(certificate.valid_until))));
    }
}

/// Writes the key, over one of the same id; returns whether that is a change. Under the account's lock.
pub fn set(open: Open, at: Timestamp, given: &Given, kept: &Kept) -> bool {
    // A secret that is sealed anew is other bytes each time.
    let sql = "INSERT INTO sec.gateway_keys AS k (account, kind, key_id, key, sealed, valid_from, valid_until, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
               ON CONFLICT (account, kind, key_id) DO UPDATE SET key = excluded.key, sealed = excluded.sealed, \
                   valid_from = excluded.valid_from, valid_until = excluded.valid_until, created_at = excluded.created_at \
               WHERE (k.key, k.sealed, k.valid_from, k.valid_until) \
                   IS DISTINCT FROM (excluded.key, excluded.sealed, excluded.valid_from, excluded.valid_until)";
    let args = [
        p(given.account),
        p(given.kind.label()),
        p(kept.id.as_str()),
        p(kept.key.as_slice()),
        p(kept.is_sealed),
        p(kept.from),
        p(kept.until),
        p(at),
    ];
    open.run(sql, &args) == 1
}

fn wrong(why: mps_notices::Refusal) -> Error {
    refused(&format!("p_key: {why}"))
}

fn refused(why: &str) -> Error {
    Error::new(Token::InvalidArgument, why.to_owned())
}

/// Each secret that is live, or kept plain: account, id, and its state.
pub fn secrets(db: &Db, at: Timestamp, master: &Result<Option<MasterKey>>) -> Vec<(String, String, String)> {
    let sql = "SELECT k.account, k.key_id, k.key, k.sealed FROM sec.gateway_keys k \
               WHERE k.kind = $1 AND (NOT k.sealed OR coalesce(k.valid_until > $2, true)) ORDER BY k.account, k.key_id";
    let kind = Kind::WechatApiv3Key.label();
    db.rows(sql, &[p(kind), p(at)], |r| {
        let (account, id, key, is_sealed): (String, String, Vec<u8>, bool) = (r.get(1), r.get(2), r.get(3), r.get(4));
        let state = match master {
            _ if !is_sealed => "is kept plain: set mps.master_key_file, and set the key again".to_owned(),
            Ok(Some(master)) => match master.open(&key, &[&account, kind, &id]) {
                Ok(_) => "sealed".to_owned(),
                Err(why) => why.to_string(),
            },
            Ok(None) => "mps.master_key_file is not set".to_owned(),
            Err(why) => why.detail.to_string(),
        };
        (account, id, state)
    })
}
