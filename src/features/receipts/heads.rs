//! `audit.heads`.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::row::Row;
use crate::engine::types::Timestamp;
use crate::features::receipts::texts;
use data_encoding::BASE64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub struct Head {
    pub head_no: i64,
    pub signed_at: Timestamp,
    pub seal_no: i64,
    pub leaves: u64,
    pub text: String,
    pub signature: Vec<u8>,
    pub public_key: Vec<u8>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT h.head_no, h.signed_at, h.seal_no, h.leaves, h.head, h.signature, h.public_key FROM audit.heads h ",
            $rest
        )
    };
}

impl Head {
    fn read(r: &Row) -> Head {
        Head {
            head_no: r.get(1),
            signed_at: r.get(2),
            seal_no: r.get(3),
            leaves: r.get::<i64>(4) as u64,
            text: r.get(5),
            signature: r.get(6),
            public_key: r.get(7),
        }
    }

    /// What everybody may see of it.
    pub fn shown(&self) -> Value {
        json!({ "head": self.text, "signature": BASE64.encode(&self.signature) })
    }

    /// What it says, field by field; `texts::Said` has their order.
    fn said(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Of which server and timeline it says it is.
    pub fn server(&self) -> Option<(String, i32)> {
        let said = self.said();
        Some((said.get(6)?.as_str()?.into(), i32::try_from(said.get(7)?.as_i64()?).ok()?))
    }

    /// What the head after it calls it by.
    pub fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(&self.text))
    }

    /// The fingerprint of the head before it.
    pub fn before(&self) -> Option<String> {
        Some(self.said().get(8)?.as_str()?.into())
    }

    /// The balances of a month that it publishes.
    pub fn balances(&self) -> Option<Value> {
        self.said().get(11).filter(|published| !published.is_null()).cloned()
    }

    /// Whether what is kept beside its text is what the text says.
    pub fn is_as_it_says(&self) -> bool {
        let said = self.said();
        let number = |n: usize| said.get(n).and_then(Value::as_i64);
        let at = Some(texts::micros(self.signed_at));
        (number(1), number(2), number(4), number(9))
            == (Some(self.head_no), Some(self.seal_no), i64::try_from(self.leaves).ok(), at)
    }

    /// The hash of the last seal that it stands for, and the root of the movements, in hexadecimal.
    pub fn seal_hash(&self) -> Option<String> {
        Some(self.said().get(3)?.as_str()?.into())
    }

    pub fn root(&self) -> Option<String> {
        Some(self.said().get(5)?.as_str()?.into())
    }

    /// The last restore that it, or one before it, has told of.
    pub fn last_restore(&self) -> Value {
        self.said().get(12).cloned().unwrap_or_default()
    }
}

pub fn newest(db: &Db) -> Option<Head> {
    db.row(select!("ORDER BY h.head_no DESC LIMIT 1"), &[], Head::read)
}

pub fn find(db: &Db, head_no: i64) -> Option<Head> {
    db.row(select!("WHERE h.head_no = $1"), &[p(head_no)], Head::read)
}

/// The next after one.
pub fn after(db: &Db, head_no: i64, most: i64) -> Vec<Head> {
    db.rows(select!("WHERE h.head_no > $1 ORDER BY h.head_no LIMIT $2"), &[p(head_no), p(most)], Head::read)
}

/// The newest of those that say the database was restored.
pub fn restores(db: &Db, most: i64) -> Vec<Head> {
    db.rows(select!("WHERE h.restores ORDER BY h.head_no DESC LIMIT $1"), &[p(most)], Head::read)
}
