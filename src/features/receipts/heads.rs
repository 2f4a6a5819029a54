//! `audit.heads`.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::row::Row;
use crate::engine::types::Timestamp;
use data_encoding::BASE64;
use serde_json::{Value, json};

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
        Some((said.get(7)?.as_str()?.into(), i32::try_from(said.get(8)?.as_i64()?).ok()?))
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
        self.said().get(13).cloned().unwrap_or_default()
    }
}

pub fn newest(db: &Db) -> Option<Head> {
    db.row(select!("ORDER BY h.head_no DESC LIMIT 1"), &[], Head::read)
}

pub fn find(db: &Db, head_no: i64) -> Option<Head> {
    db.row(select!("WHERE h.head_no = $1"), &[p(head_no)], Head::read)
}

/// The newest of those that say the database was restored.
pub fn restores(db: &Db, most: i64) -> Vec<Head> {
    db.rows(select!("WHERE h.restores ORDER BY h.head_no DESC LIMIT $1"), &[p(most)], Head::read)
}
