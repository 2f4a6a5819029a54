//! The keys of an account that are valid at a moment, ready to be used.

use super::keys::Kind;
use super::master_key;
use super::refused::Refused;
use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::types::Timestamp;
use mps_notices::keys::PublicKey;
use mps_notices::secret::Apiv3Key;
use std::cell::RefCell;

/// How many public keys a backend keeps made.
const KEPT: usize = 16;

thread_local! {
    /// Making one costs as much as verifying with it. By its text: what is set anew is another one.
    static MADE: RefCell<Vec<(Vec<u8>, PublicKey)>> = const { RefCell::new(Vec::new()) };
}

struct Row {
    kind: Kind,
    id: String,
    key: Vec<u8>,
    is_sealed: bool,
}

/// As they are now, whatever the snapshot: a key that was ended is ended for everybody.
fn rows(db: &Db, at: Timestamp, account: &str, is_secret: bool) -> Vec<Row> {
    let sql = "SELECT k.kind, k.key_id, k.key, k.sealed FROM sec.gateway_keys k \
               WHERE k.account = $1 AND coalesce(k.valid_from <= $2, true) AND coalesce(k.valid_until > $2, true) \
               ORDER BY k.created_at DESC, k.key_id";
    let read = |r: &crate::engine::row::Row| {
        let kind = Kind::from_label(&r.text(1))?;
        Some(Row { kind, id: r.get(2), key: r.get(3), is_sealed: r.get(4) })
    };
    let found = db.rows_of_now(sql, &[p(account), p(at)], read);
    found.into_iter().flatten().filter(|row| row.kind.is_secret() == is_secret).collect()
}

/// Public keys, with their ids; the newest first.
pub fn public_keys(db: &Db, at: Timestamp, account: &str) -> Vec<(String, PublicKey)> {
    let made = |row: Row| Some((row.id, made(row.kind, row.key)?));
    rows(db, at, account, false).into_iter().filter_map(made).collect()
}

/// All public keys that an account has ever been given and that were not set anew since, with their ids.
pub fn all_public_keys(db: &Db, account: &str) -> Vec<(String, PublicKey)> {
    let sql = "SELECT k.kind, k.key_id, k.key FROM sec.gateway_keys k WHERE k.account = $1 ORDER BY k.created_at DESC, k.key_id";
    let found = db.rows(sql, &[p(account)], |r| (Kind::from_label(&r.text(1)), r.get(2), r.get(3)));
    let made = |(kind, id, key): (Option<Kind>, String, Vec<u8>)| {
        let kind = kind.filter(|kind| !kind.is_secret())?;
        Some((id, made(kind, key)?))
    };
    found.into_iter().filter_map(made).collect()
}

fn made(kind: Kind, text: Vec<u8>) -> Option<PublicKey> {
    MADE.with_borrow_mut(|kept| {
        if let Some((_, key)) = kept.iter().find(|(known, _)| *known == text) {
            return Some(key.clone());
        }
        let read = std::str::from_utf8(&text).ok()?;
        let key = match kind {
            Kind::WechatPublicKey => PublicKey::wechat(read),
            Kind::AlipayPublicKey => PublicKey::alipay(read),
            Kind::WechatApiv3Key => return None,
        };
        let key = key.ok()?;
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((text, key.clone()));
        Some(key)
    })
}

/// APIv3 keys, with their ids. Refused where there are some, and none can be opened.
pub fn secrets(db: &Db, at: Timestamp, account: &str) -> Result<Vec<(String, Apiv3Key)>, Refused> {
    let found = rows(db, at, account, true);
    let master = if found.iter().any(|row| row.is_sealed) { master_key::read().ok().flatten() } else { None };
    let is_empty = found.is_empty();
    let open = |row: Row| {
        let place = [account, row.kind.label(), &row.id];
        let key = match row.is_sealed {
            false => Apiv3Key::new(&row.key).ok()?,
            true => master.as_ref()?.open(&row.key, &place).ok()?,
        };
        Some((row.id, key))
    };
    let opened: Vec<_> = found.into_iter().filter_map(open).collect();
    if opened.is_empty() && !is_empty { Err(Refused::sealed()) } else { Ok(opened) }
}
