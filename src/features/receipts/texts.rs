//! What leaves and heads say: JSON arrays, whose bytes are hashed and signed as they are. docs/receipts.md has them for those who
//! verify; what is said once is never said otherwise.

use crate::engine::types::Timestamp;
use mps_domain::money::Money;
use mps_domain::month::Month;
use mps_domain::tree::Hash;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const BLIND_BYTES: usize = 16;

/// Microseconds from 1970, as others count them, to the server's 2000.
const SINCE_1970: i64 = 946_684_800_000_000;

/// Microseconds since 1970.
pub fn micros(at: Timestamp) -> i64 {
    at.0 + SINCE_1970
}

/// What nobody can guess of a leaf.
fn blind(secret: &[u8], of: &str) -> String {
    let digest = Sha256::new().chain_update(secret).chain_update(of).finalize();
    hex::encode(&digest[..BLIND_BYTES])
}

/// A movement, as it is in the tree.
pub struct Movement<'a> {
    pub tx_no: &'a str,
    pub card_no: &'a str,
    pub card_seq: i64,
    pub change: Money,
    pub balance_after: Money,
    pub posted_at: Timestamp,
}

impl Movement<'_> {
    pub fn leaf(&self, secret: &[u8]) -> String {
        json!([
            "mps movement 1",
            self.tx_no,
            self.card_no,
            self.card_seq,
            self.change.to_string(),
            self.balance_after.to_string(),
            micros(self.posted_at),
            blind(secret, self.tx_no),
        ])
        .to_string()
    }
}

/// What a card held at the end of a month; `audit.publish_balances()` makes the same.
pub fn balance(secret: &[u8], month: Month, card_no: &str, card_seq: i64, balance: Money) -> String {
    let month = &month.first_day()[..7];
    json!(["mps balance 1", month, card_no, card_seq, balance.to_string(), blind(secret, card_no)]).to_string()
}

/// What a head says. Nothing that lets anybody work out one movement of somebody else's from two heads in a row.
pub struct Said<'a> {
    pub head_no: i64,
    pub seal_no: i64,
    pub seal_hash: &'a [u8],
    pub leaves: i64,
    pub root: Hash,
    pub system: &'a str,
    pub timeline: i32,
    /// The fingerprint of the head before.
    pub before: Option<String>,
    pub signed_at: Timestamp,
    pub key: &'a str,
    pub balances: Value,
    /// Number and moment of the last head that said the database was restored.
    pub last_restore: Value,
    /// Whether this is one: from which server and timeline, and why.
    pub restore: Value,
}

impl Said<'_> {
    pub fn text(&self) -> String {
        json!([
            "mps head 1",
            self.head_no,
            self.seal_no,
            hex::encode(self.seal_hash),
            self.leaves,
            hex::encode(self.root.0),
            self.system,
            self.timeline,
            self.before,
            micros(self.signed_at),
            self.key,
            self.balances,
            self.last_restore,
            self.restore,
        ])
        .to_string()
    }
}
