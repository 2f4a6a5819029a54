//! `app.suspense_payments`: gateway money that came and could not be credited, until somebody says what becomes of it.

use crate::engine::db::Db;
use crate::engine::direct::{Path, Table};
use crate::engine::param::p;
use crate::engine::row::{Row, RowVersion};
use crate::engine::types::{RawJsonb, Timestamp, Uuid};
use crate::kernel::months::Open;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::tx_no::PayMethod;
use serde_json::{Map, Value, json};

/// What has become of the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Open,
    Credited,
    /// Asked to go back; the gateway has not said yet that it has.
    Refunding,
    Refunded,
    WrittenOff,
}

impl Status {
    pub const ALL: [Status; 5] =
        [Status::Open, Status::Credited, Status::Refunding, Status::Refunded, Status::WrittenOff];

    pub const fn label(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Credited => "credited",
            Status::Refunding => "refunding",
            Status::Refunded => "refunded",
            Status::WrittenOff => "written_off",
        }
    }

    fn from_label(label: &str) -> Status {
        Status::ALL.into_iter().find(|s| s.label() == label).expect("checked by the column")
    }
}

/// Why money is in suspense.
pub const ALREADY_SETTLED: &str = "already_settled";

/// One row, locked.
#[derive(Debug)]
pub struct Suspense {
    pub id: i64,
    pub gateway_trade_no: String,
    pub amount: Money,
    pub payment_method: PayMethod,
    pub status: Status,
    /// The recharge that credited it.
    pub credited_tx_no: Option<String>,
    pub out_refund_no: Option<String>,
    /// Each key that a word came with: which word, and the number that it was answered.
    pub keys: Map<String, Value>,
    pub resolution: Option<String>,
    version: RowVersion,
}

static TABLE: Table = Table {
    schema: c"app",
    name: "suspense_payments",
    columns: &[
        "id",
        "created_at",
        "gateway_trade_no",
        "tx_no",
        "amount",
        "payment_method",
        "reason",
        "payload",
        "status",
        "resolution",
        "resolved_at",
        "resolved_by",
        "resolved_role",
        "note",
        "credited_tx_no",
        "out_refund_no",
        "idempotency_keys",
    ],
    asserted: &[],
};

static BY_ID: Path = Path { table: &TABLE, index: "suspense_payments_pkey", key: &["id"] };

fn read(r: &Row) -> Suspense {
    Suspense {
        id: r.get(1),
        gateway_trade_no: r.get(3),
        amount: r.get(5),
        payment_method: PayMethod::from_label(&r.label(6)).expect("labels of app.pay_method"),
        status: Status::from_label(&r.text(9)),
        resolution: r.opt(10),
        credited_tx_no: r.opt(15),
        out_refund_no: r.opt(16),
        keys: serde_json::from_str(&r.get::<RawJsonb>(17).to_text()).unwrap_or_default(),
        version: r.version(),
    }
}

/// What is known of money that cannot be credited.
pub struct Arrived<'a> {
    pub gateway_trade_no: &'a str,
    pub tx_no: Option<&'a str>,
    pub amount: Money,
    pub payment_method: PayMethod,
    pub reason: &'static str,
    pub payload: RawJsonb,
}

pub fn next_id(db: &Db) -> i64 {
    db.row("SELECT pg_catalog.nextval('app.suspense_id_seq')", &[], |r| r.get(1)).expect("one row")
}

/// Keeps money in sight. The trade number is claimed for it already.
pub fn insert(db: &Db, id: i64, at: Timestamp, arrived: Arrived) {
    db.run_once(
        "INSERT INTO app.suspense_payments (id, created_at, gateway_trade_no, tx_no, amount, payment_method, reason, payload) \
         VALUES ($1, $2, $3, $4, $5, $6::text::app.pay_method, $7, $8)",
        &[
            p(id),
            p(at),
            p(arrived.gateway_trade_no),
            p(arrived.tx_no),
            p(arrived.amount),
            p(arrived.payment_method.label()),
            p(arrived.reason),
            p(arrived.payload),
        ],
    );
}

pub fn lock(open: Open, id: i64) -> Option<Suspense> {
    open.lock(&BY_ID, None, &[p(id)], read)
}

/// Who says what becomes of it, and why.
pub struct Word<'a> {
    pub resolution: &'a str,
    pub at: Timestamp,
    pub actor: Option<Uuid>,
    pub role: &'a str,
    pub note: &'a str,
    pub key: Option<&'a str>,
}

/// Writes the new state of a locked row. Error: `STATUS_CONFLICT`, a trigger has changed it meanwhile.
pub fn resolve(db: &Db, suspense: &mut Suspense, word: &Word) -> Result<()> {
    if let Some(key) = word.key {
        let said = json!({ "resolution": word.resolution, "out_refund_no": suspense.out_refund_no });
        suspense.keys.insert(key.to_owned(), said);
    }
    let keys = RawJsonb::parse(&Value::Object(suspense.keys.clone()).to_string());
    let changes = vec![
        ("status", p(suspense.status.label())),
        ("credited_tx_no", p(suspense.credited_tx_no.as_deref())),
        ("out_refund_no", p(suspense.out_refund_no.as_deref())),
        ("resolution", p(word.resolution)),
        ("resolved_at", p(word.at)),
        ("resolved_by", p(word.actor)),
        ("resolved_role", p(word.role)),
        ("note", p(word.note)),
        ("idempotency_keys", p(keys)),
    ];
    db.update_locked(&BY_ID, None, &[p(suspense.id)], &mut suspense.version, changes)
}

/// What only a trigger that calls RPCs can have changed under a lock is an error, never written over.
pub fn moved_once(was_as_read: bool) -> Result<()> {
    match was_as_read {
        true => Ok(()),
        false => Err(Error::new(Token::StatusConflict, "a trigger changed the row in the middle of this call")),
    }
}
