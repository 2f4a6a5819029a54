//! One connection, and what came back over it. Values are read as Postgres writes them, so that `47.50` is not `47.5`.

use crate::db::Db;
use postgres::error::ErrorPosition;
use postgres::{Client, SimpleQueryMessage};
use std::cell::RefCell;
use std::fmt;
use std::ops::Index;
use uuid::Uuid;

/// How a [`Row`] shows an SQL NULL.
pub const NULL: &str = "NULL";

/// The tokens of the contract and the HTTP status of each: written down here once more, so that a change is noticed.
pub const TOKENS: &[(&str, u16)] = &[
    ("INVALID_AMOUNT", 400),
    ("INVALID_ARGUMENT", 400),
    ("INVALID_PAYMENT_METHOD", 400),
    ("BILL_INVALID", 400),
    ("NOT_AUTHENTICATED", 401),
    ("SIGNATURE_INVALID", 401),
    ("INSUFFICIENT_BALANCE", 402),
    ("NOT_MERCHANT_USER", 403),
    ("NOT_CARD_USER", 403),
    ("NOT_CARD_ADMIN", 403),
    ("NOT_ALLOWED", 403),
    ("MERCHANT_NOT_FOUND", 404),
    ("CARD_NOT_FOUND", 404),
    ("MEMBER_NOT_FOUND", 404),
    ("TX_NOT_FOUND", 404),
    ("GATEWAY_ACCOUNT_NOT_FOUND", 404),
    ("CAMPAIGN_NOT_FOUND", 404),
    ("COUPON_NOT_FOUND", 404),
    ("MERCHANT_INACTIVE", 409),
    ("CARD_NOT_ACTIVE", 409),
    ("CARD_EXPIRED", 409),
    ("CARD_NOT_EMPTY", 409),
    ("MEMBER_NOT_ACTIVE", 409),
    ("LAST_ADMIN", 409),
    ("NOT_REFUNDABLE", 409),
    ("REFUND_EXCEEDS_REMAINING", 409),
    ("RECHARGE_NOT_PENDING", 409),
    ("TOO_MANY_PENDING", 409),
    ("AMOUNT_MISMATCH", 409),
    ("EXTERNAL_ORDER_CONFLICT", 409),
    ("BALANCE_LIMIT", 409),
    ("COUPON_NOT_USABLE", 409),
    ("COUPON_LIMIT", 409),
    ("STATUS_CONFLICT", 409),
    ("RECON_CONFLICT", 409),
    ("ARCHIVED", 409),
    ("SCHEMA_OUTDATED", 409),
    ("READ_ONLY", 409),
    ("QR_EXPIRED_OR_INVALID", 410),
    ("IDEMPOTENCY_KEY_REUSED", 422),
];

/// The SQLSTATE that a token comes with.
pub fn sqlstate_of(token: &str) -> String {
    let (_, status) = TOKENS.iter().find(|(t, _)| *t == token).unwrap_or_else(|| panic!("{token} is no token"));
    format!("PT{status}")
}

/// A text as an SQL literal.
pub fn q(text: impl fmt::Display) -> String {
    let text = text.to_string().replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", text.replace('\\', "\\\\")) } else { format!("'{text}'") }
}

/// One row of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    columns: Vec<(String, Option<String>)>,
}

impl Row {
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    pub fn values(&self) -> Vec<&str> {
        self.columns.iter().map(|(_, value)| value.as_deref().unwrap_or(NULL)).collect()
    }

    /// The row without some of its columns.
    pub fn without(&self, names: &[&str]) -> Row {
        Row { columns: self.columns.iter().filter(|(n, _)| !names.contains(&n.as_str())).cloned().collect() }
    }
}

impl Index<&str> for Row {
    type Output = str;

    fn index(&self, name: &str) -> &str {
        let found = self.columns.iter().find(|(n, _)| n == name);
        found.unwrap_or_else(|| panic!("no column {name} in {:?}", self.names())).1.as_deref().unwrap_or(NULL)
    }
}

/// What the server said when it refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    pub code: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
    pub more: Box<More>,
}

/// What else the server said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// Where it happened, a line for each level; and the statement inside that failed.
    pub context: String,
    pub inner_query: String,
    /// The table and the constraint that it is about.
    pub table: String,
    pub constraint: String,
}

impl Failure {
    fn of(error: &postgres::Error) -> Failure {
        let Some(e) = error.as_db_error() else {
            let text = format!("no answer of the server: {error}");
            return Failure { code: "08006".into(), message: text, ..Failure::default() };
        };
        Failure {
            code: e.code().code().into(),
            message: e.message().into(),
            detail: e.detail().unwrap_or_default().into(),
            hint: e.hint().unwrap_or_default().into(),
            more: Box::new(More {
                context: e.where_().unwrap_or_default().into(),
                inner_query: match e.position() {
                    Some(ErrorPosition::Internal { query, .. }) => query.clone(),
                    _ => String::new(),
                },
                table: e.table().unwrap_or_default().into(),
                constraint: e.constraint().unwrap_or_default().into(),
            }),
        }
    }

    /// Asserts that this is the error of a token, complete.
    #[track_caller]
    pub fn must_be(&self, token: &str, doing: &str) {
        assert_eq!((self.message.as_str(), &self.code), (token, &sqlstate_of(token)), "{doing}\n{self:?}");
        assert!(!self.detail.trim().is_empty(), "{token} without a detail: {doing}");
        assert!(!self.hint.trim().is_empty(), "{token} without a hint: {doing}");
        for inner in ["backtrace", ".rs:", "panicked", "\\x"] {
            assert!(
                !format!("{}{}", self.detail, self.hint).contains(inner),
                "{inner} is shown to the client: {self:?}"
            );
        }
    }
}

/// One connection, in the shoes of somebody.
pub struct Session {
    client: RefCell<Client>,
    database: String,
}

impl Session {
    pub(crate) fn new(client: Client, database: &str) -> Session {
        Session { client: RefCell::new(client), database: database.into() }
    }

    /// Becomes what PostgREST makes of a request: this role, these claims (for the session, not for one transaction).
    pub fn become_role(&self, role: &str, claims: &str) {
        self.run(&format!(
            "select set_config('role', {}, false), set_config('request.jwt.claims', {}, false)",
            q(role),
            q(claims)
        ));
    }

    pub fn try_rows(&self, sql: &str) -> Result<Vec<Row>, Failure> {
        let messages = self.client.borrow_mut().simple_query(sql).map_err(|e| Failure::of(&e))?;
        let rows = messages.iter().filter_map(|m| match m {
            SimpleQueryMessage::Row(row) => Some(Row {
                columns: row
                    .columns()
                    .iter()
                    .enumerate()
                    .map(|(i, c)| (c.name().to_owned(), row.get(i).map(String::from)))
                    .collect(),
            }),
            _ => None,
        });
        Ok(rows.collect())
    }

    pub fn try_row(&self, sql: &str) -> Result<Row, Failure> {
        self.try_rows(sql).map(|rows| {
            assert_eq!(rows.len(), 1, "one row expected: {sql}");
            rows[0].clone()
        })
    }

    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<Row> {
        match self.try_rows(sql) {
            Ok(rows) => rows,
            Err(e) => panic!("{sql}\n{e:?}"),
        }
    }

    #[track_caller]
    pub fn run(&self, sql: &str) {
        self.rows(sql);
    }

    /// The one row of an answer.
    #[track_caller]
    pub fn row(&self, sql: &str) -> Row {
        let rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "one row expected: {sql}");
        rows[0].clone()
    }

    /// The one value of an answer.
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        let row = self.row(sql);
        assert_eq!(row.columns.len(), 1, "one column expected: {sql}");
        row.values()[0].to_owned()
    }

    /// The first column of an answer.
    #[track_caller]
    pub fn column(&self, sql: &str) -> Vec<String> {
        self.rows(sql).iter().map(|r| r.values()[0].to_owned()).collect()
    }

    /// The same in order. A parallel append gives the parts of a UNION ALL in any.
    #[track_caller]
    pub fn sorted(&self, sql: &str) -> Vec<String> {
        let mut lines = self.column(sql);
        lines.sort();
        lines
    }

    /// How the server refuses a statement.
    #[track_caller]
    pub fn failure(&self, sql: &str) -> Failure {
        match self.try_rows(sql) {
            Ok(rows) => panic!("was not refused: {sql}\n{rows:?}"),
            Err(failure) => failure,
        }
    }

    /// Asserts that a statement is refused with the error of a token, and that no row of any table changed.
    #[track_caller]
    pub fn refused(&self, token: &str, sql: &str) -> Failure {
        let failure = self.failure_moving_nothing(sql);
        failure.must_be(token, sql);
        failure
    }

    /// Asserts that a statement is refused for want of a privilege (42501), and that no row of any table changed.
    #[track_caller]
    pub fn denied(&self, sql: &str) {
        let failure = self.failure_moving_nothing(sql);
        assert_eq!(failure.code, "42501", "{sql}\n{failure:?}");
    }

    #[track_caller]
    pub fn failure_moving_nothing(&self, sql: &str) -> Failure {
        let before = Db::snapshot(&self.database);
        let failure = self.failure(sql);
        assert_eq!(before, Db::snapshot(&self.database), "refused, and yet something changed: {sql}");
        failure
    }

    /// Runs a statement and asserts that no row of any table changed by it.
    #[track_caller]
    pub fn rows_moving_nothing(&self, sql: &str) -> Vec<Row> {
        let before = Db::snapshot(&self.database);
        let rows = self.rows(sql);
        assert_eq!(before, Db::snapshot(&self.database), "something changed: {sql}");
        rows
    }

    /// The process id of the server's backend.
    pub fn pid(&self) -> String {
        self.value("select pg_backend_pid()")
    }
}

/// What PostgREST would put into `request.jwt.claims`.
pub fn claims(role: &str, sub: Option<Uuid>) -> String {
    match sub {
        Some(sub) => format!(r#"{{"role":"{role}","sub":"{sub}"}}"#),
        None => format!(r#"{{"role":"{role}"}}"#),
    }
}
