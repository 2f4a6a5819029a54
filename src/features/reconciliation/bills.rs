//! `app.gateway_bills`, their files and their lines.

use crate::engine::db::Db;
use crate::engine::fee::Fee;
use crate::engine::param::p;
use crate::engine::record::record;
use crate::engine::scratch::in_scratch;
use crate::engine::types::{Day, NumericOut, RawJsonb, Timestamp};
use crate::kernel::keys::{self, OrderScope};
use mps_bills::{Bill, Entry, Kind, Line, Side};
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::{MAX_CENTS, Money};
use serde_json::json;

record! {
    struct BillLine<'a> in static LINES: c"app", "gateway_bill_lines";
    columns {
        bill_id: i64,
        line: i64,
        at: Timestamp,
        owner: Option<i64>,
        amount: Money,
        settled: Money,
        fee: Option<Fee>,
        is_copy: bool,
        entry: &'a str,
        trade_no: &'a str,
        order_no: Option<&'a str>,
        refund_no: Option<&'a str>,
        out_refund_no: Option<&'a str>,
        state: Option<&'a str>,
        refund_state: Option<&'a str>,
    }
    inserted by values;
}

/// A bill that counts.
pub struct Current {
    pub id: i64,
    pub sha256: Vec<u8>,
    pub lines: i64,
    pub payments: i64,
    pub payment_total: Money,
    pub refunds: i64,
    pub refund_total: Money,
    pub fee_total: Fee,
    pub warnings: Vec<String>,
}

/// The bill of a day, if one was imported.
pub fn current(db: &Db, account: &str, day: Day, kind: &str) -> Option<Current> {
    let sql = "SELECT b.id, b.sha256, b.lines, b.payments, b.payment_total, b.refunds, b.refund_total, b.fee_total, b.warnings \
               FROM app.gateway_bills b \
               WHERE b.account = $1 AND b.bill_date = $2 AND b.kind = $3 AND b.replaced_at IS NULL";
    db.row(sql, &[p(account), p(day), p(kind)], |r| Current {
        id: r.get(1),
        sha256: r.get(2),
        lines: r.get(3),
        payments: r.get(4),
        payment_total: r.get(5),
        refunds: r.get(6),
        refund_total: r.get(7),
        fee_total: r.get(8),
        warnings: serde_json::from_str(&r.get::<RawJsonb>(9).to_text()).unwrap_or_default(),
    })
}

pub fn next_id(db: &Db) -> i64 {
    db.row("SELECT pg_catalog.nextval('app.gateway_bill_id_seq')", &[], |r| r.get(1)).expect("one row")
}

/// Keeps a line of a trade bill. Its trade number may be somebody's already.
pub fn keep_line(db: &Db, bill_id: i64, line: &Line<'_>) -> Result<()> {
    let (amount, settled) = match line.entry {
        Entry::Refund => (line.refund_amount, line.settled_refund),
        _ => (line.order_amount, line.settled_amount),
    };
    let is_too_much = |fen: i64| fen.unsigned_abs() > MAX_CENTS.unsigned_abs();
    if is_too_much(amount) || is_too_much(settled) {
        return Err(Error::new(Token::BillInvalid, format!("line {}: an amount is out of range", line.number)));
    }
    let said = |text| Some(text).filter(|text: &&str| !text.is_empty());
    in_scratch(|| {
        let kept = BillLine {
            bill_id,
            line: line.number as i64,
            at: Timestamp::of_unix(line.at),
            owner: keys::order_owner(db, OrderScope::gateway_trade(), line.trade_no),
            amount: Money::from_cents(amount),
            settled: Money::from_cents(settled),
            fee: line.fee.map(Fee),
            is_copy: false,
            entry: label(line.entry),
            trade_no: line.trade_no,
            order_no: said(line.order_no),
            refund_no: said(line.refund_no),
            out_refund_no: said(line.out_refund_no),
            state: said(line.state),
            refund_state: said(line.refund_state),
        };
        db.insert(&LINES, None, &kept.values(db));
    });
    Ok(())
}

const fn label(entry: Entry) -> &'static str {
    match entry {
        Entry::Payment => "payment",
        Entry::Refund => "refund",
        Entry::Fee | Entry::Other => "other",
    }
}

pub const fn kind_label(kind: Kind) -> &'static str {
    match kind {
        Kind::Trade => "trade",
        Kind::Fundflow => "fundflow",
    }
}

/// What is known of a file that was read.
pub struct Read<'a> {
    pub id: i64,
    pub account: &'a str,
    pub day: Day,
    pub kind: Kind,
    pub sha256: &'a [u8],
    pub content: &'a [u8],
    pub lines: u64,
    pub payments: Side,
    pub refunds: Side,
    pub incoming: Side,
    pub outgoing: Side,
    pub warnings: Vec<String>,
}

impl Read<'_> {
    /// What the file says, once it was read to its end.
    pub fn says(&mut self, bill: Bill) {
        self.lines = bill.lines;
        (self.payments, self.refunds) = (bill.payments, bill.refunds);
        (self.incoming, self.outgoing) = (bill.incoming, bill.outgoing);
        self.warnings = bill.warnings.iter().map(ToString::to_string).collect();
    }

    pub fn fees(&self) -> Fee {
        Fee(self.payments.fee.saturating_add(self.refunds.fee))
    }

    /// Writes it in the place of what counted until now.
    pub fn keep(&self, db: &Db, at: Timestamp, replaced: Option<i64>) {
        if let Some(old) = replaced {
            db.run_once("UPDATE app.gateway_bills SET replaced_at = $2 WHERE id = $1", &[p(old), p(at)]);
            db.run("DELETE FROM app.gateway_bill_lines WHERE bill_id = $1", &[p(old)]);
        }
        let sql = "INSERT INTO app.gateway_bills (id, imported_at, account, bill_date, kind, lines, payments, payment_total, \
                       payment_settled, refunds, refund_total, refund_settled, fee_total, incoming, incoming_total, outgoing, \
                       outgoing_total, sha256, warnings) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
        let count = |side: &Side| p(side.count as i64);
        let sum = |fen: i64| p(Money::from_cents(fen));
        let warnings = RawJsonb::parse(&json!(self.warnings).to_string());
        let head = [p(self.id), p(at), p(self.account), p(self.day), p(kind_label(self.kind)), p(self.lines as i64)];
        let trade = [
            count(&self.payments),
            sum(self.payments.amount),
            sum(self.payments.settled),
            count(&self.refunds),
            sum(self.refunds.amount),
            sum(self.refunds.settled),
            p(self.fees()),
        ];
        let flow = [count(&self.incoming), sum(self.incoming.amount), count(&self.outgoing), sum(self.outgoing.amount)];
        let all = [&head[..], &trade, &flow, &[p(self.sha256), p(warnings)]].concat();
        db.run_once(sql, &all);
        let file = "INSERT INTO app.gateway_bill_files (bill_id, content) VALUES ($1, $2)";
        in_scratch(|| db.run_once(file, &[p(self.id), p(self.content)]));
    }

    pub fn payment_total(&self) -> NumericOut {
        Money::from_cents(self.payments.amount).into()
    }

    pub fn refund_total(&self) -> NumericOut {
        Money::from_cents(self.refunds.amount).into()
    }
}

/// A payment of a bill, as it stands in its line.
pub struct Paid {
    pub amount: Money,
    pub trade_no: String,
    pub order_no: Option<String>,
    pub line: i64,
}

/// The line of a payment in the bill of a day.
pub fn payment(db: &Db, account: &str, day: Day, trade_no: &str) -> Option<Paid> {
    let sql = "SELECT l.amount, l.trade_no, l.order_no, l.line FROM app.gateway_bill_lines l \
               JOIN app.gateway_bills b ON b.id = l.bill_id \
               WHERE b.account = $1 AND b.bill_date = $2 AND b.kind = 'trade' AND b.replaced_at IS NULL \
                 AND l.trade_no = $3 AND l.entry = 'payment' ORDER BY l.line LIMIT 1";
    db.row(sql, &[p(account), p(day), p(trade_no)], |r| Paid {
        amount: r.get(1),
        trade_no: r.get(2),
        order_no: r.opt(3),
        line: r.get(4),
    })
}
