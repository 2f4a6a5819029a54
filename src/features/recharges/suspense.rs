//! `app.suspense_payments`: gateway money that came and could not be credited, until somebody says what becomes of it.

use crate::engine::db::Db;
use crate::engine::direct::{Path, Taken};
use crate::engine::param::{Param, p};
use crate::engine::record::{self, Value as _, changes, labelled_texts, record};
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

    fn from_label(label: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|s| s.label() == label)
    }
}

labelled_texts! { Status }

/// A JSON object.
#[derive(Debug)]
pub struct Keys(pub Map<String, Value>);

impl record::Column for Keys {
    fn read(row: &Row, n: i32) -> Keys {
        Keys(serde_json::from_str(&row.get::<RawJsonb>(n).to_text()).unwrap_or_default())
    }
}

impl record::Value for Keys {
    fn param(&self, _: &Db) -> Param {
        p(RawJsonb::parse(&json!(self.0).to_string()))
    }
}

/// Why money is in suspense: the recharge has its money already.
pub const ALREADY_SETTLED: &str = "already_settled";
/// Another amount was asked for.
pub const AMOUNT_DIFFERS: &str = "amount_differs";
/// The order is of no recharge.
pub const ORDER_UNKNOWN: &str = "order_unknown";
/// The order is of several recharges.
pub const ORDER_AMBIGUOUS: &str = "order_ambiguous";
/// The recharge lies in a month that is archived.
pub const ARCHIVED: &str = "archived";
/// No card can hold so much.
pub const BALANCE_LIMIT: &str = "balance_limit";
/// A bill has it, and it is to be sent back.
pub const IN_A_BILL: &str = "in_a_bill";
/// Some of it went back at the gateway before its payment was told of. The amount is what is left, as of any row.
pub const PARTLY_REFUNDED: &str = "partly_refunded";
/// All of it did; the row is there so that a late word of the payment credits nothing.
pub const REFUNDED: &str = "refunded";

record! {
    /// One row, locked.
    #[derive(Debug)]
    pub struct Suspense in static TABLE: c"app", "suspense_payments";
    columns {
        id: i64,
        created_at: _,
        gateway_trade_no: String,
        tx_no: _,
        amount: Money,
        payment_method: PayMethod,
        reason: _,
        payload: _,
        status: Status,
        resolution: Option<String>,
        resolved_at: Option<Timestamp>,
        resolved_by: Option<Uuid>,
        resolved_role: Option<String>,
        note: Option<String>,
        /// The recharge that credited it.
        credited_tx_no: Option<String>,
        out_refund_no: Option<String>,
        /// Each key that a word came with: which word, and the number that it was answered.
        idempotency_keys: Keys,
    }
    besides {
        version: RowVersion = Row::version,
    }
    read by read;
}

static BY_ID: Path = Path { table: &TABLE, index: "suspense_payments_pkey", key: &["id"] };

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
    let new = vec![
        ("id", p(id)),
        ("created_at", p(at)),
        ("gateway_trade_no", p(arrived.gateway_trade_no)),
        ("tx_no", p(arrived.tx_no)),
        ("amount", p(arrived.amount)),
        ("payment_method", arrived.payment_method.param(db)),
        ("reason", p(arrived.reason)),
        ("payload", p(arrived.payload)),
    ];
    db.insert_some(&BY_ID, new, Taken::Refused);
}

pub fn lock(open: Open, id: i64) -> Option<Suspense> {
    open.lock(&BY_ID, None, &[p(id)], Suspense::read)
}

/// Under which number money is asked back.
pub fn refund_number(db: &Db, id: i64) -> Option<String> {
    let sql = "SELECT s.out_refund_no FROM app.suspense_payments s WHERE s.id = $1";
    db.row(sql, &[p(id)], |r| r.opt(1)).flatten()
}

/// The recharge that took money out of suspense, by the payment's trade number.
pub fn credited_by(db: &Db, trade_no: &str) -> Option<String> {
    let sql = "SELECT s.credited_tx_no FROM app.suspense_payments s \
               WHERE s.gateway_trade_no = $1 AND s.credited_tx_no IS NOT NULL";
    db.row(sql, &[p(trade_no)], |r| r.get(1))
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
        suspense.idempotency_keys.0.insert(key.to_owned(), said);
    }
    (suspense.resolution, suspense.note) = (Some(word.resolution.into()), Some(word.note.into()));
    (suspense.resolved_at, suspense.resolved_by) = (Some(word.at), word.actor);
    suspense.resolved_role = Some(word.role.into());
    let changes = changes!(
        db,
        suspense: status,
        credited_tx_no,
        out_refund_no,
        resolution,
        resolved_at,
        resolved_by,
        resolved_role,
        note,
        idempotency_keys,
    );
    db.update_locked(&BY_ID, None, &[p(suspense.id)], &mut suspense.version, changes.into())
}

/// Writes what is left of the money of a locked row. Error: as [`resolve`].
pub fn reduce(db: &Db, suspense: &mut Suspense, left: Money) -> Result<()> {
    suspense.amount = left;
    let changes = changes!(db, suspense: amount, idempotency_keys);
    db.update_locked(&BY_ID, None, &[p(suspense.id)], &mut suspense.version, changes.into())
}

/// What only a trigger that calls RPCs can have changed under a lock is an error, never written over.
pub fn moved_once(was_as_read: bool) -> Result<()> {
    match was_as_read {
        true => Ok(()),
        false => Err(Error::new(Token::StatusConflict, "a trigger changed the row in the middle of this call")),
    }
}
