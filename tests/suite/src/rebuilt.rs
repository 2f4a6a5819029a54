//! A database whose books were written anew from another one's log, and what must be the same in both.

use crate::cluster::{Scratch, program};
use crate::db::Db;
use crate::session::{Session, q};

/// What a log is restored with: every table, but rows of the log and its seals alone.
const LOG_ALONE: [&str; 6] = [
    "-Fc",
    "--exclude-table-data=app.*",
    "--exclude-table-data=sec.*",
    "--exclude-table-data=mps_archive.*",
    "--exclude-table-data=audit.seal_cut",
    "--exclude-table-data=audit.event_id_seq",
];

/// Tables, rows and columns that the log does not carry: codes, keys, reasons, tags, names of members, what jobs note, and the moment of
/// posting, which is that of the call. Everything else that a table has must be as it was, whoever makes the table.
const NOT_IN_IT: &[(&str, &[&str])] = &[
    ("app.idempotency_keys", &[]),
    ("app.job_runs", &[]),
    ("app.operating_mode", &[]),
    ("sec.gateway_keys", &[]),
    ("audit.trees", &[]),
    ("audit.tree_chunks", &[]),
    ("audit.tree_nodes", &[]),
    ("audit.heads", &[]),
    ("app.archived_months", &[]),
    ("app.month_rehearsals", &[]),
    ("app.closed_months", &[]),
    ("app.merchant_months", &[]),
    ("app.member_months", &[]),
    ("audit.event_log", &[]),
    ("audit.seal_cut", &[]),
    ("app.gateway_events", &[]),
    ("app.gateway_tallies", &[]),
    ("app.gateway_bills", &[]),
    ("app.gateway_bill_files", &[]),
    ("app.gateway_bill_lines", &[]),
    ("app.recon_days", &[]),
    ("sec.gateway_keys", &[]),
    ("app.member_profiles", &["name", "phone", "email"]),
    ("app.personal_cards", &["qr_hash", "qr_expires_at", "last_posted_at"]),
    ("app.enterprise_cards", &["last_posted_at"]),
    ("app.enterprise_card_bindings", &["qr_hash", "qr_expires_at"]),
    ("app.transactions", &["posted_at", "idempotency_key", "external_order_id", "reason", "tag"]),
    ("app.transaction_compensations", &["reason"]),
    ("app.suspense_payments", &["idempotency_keys"]),
    ("app.late_postings", &["posted_at"]),
    ("app.recon_items", &["last_seen"]),
    // In which part something is left.
    ("app.coupon_budget_parts", &["left_amount"]),
];

/// As a column is compared, where it is not as it stands.
const AS: &[(&str, &str, &str)] =
    &[("app.point_ledger", "reason", "case when tx_no is null or tx_no like 'TZ%' then reason end")];

/// Of order ids only those of gateways are in the log; of differences those that somebody has resolved.
const ROWS: &[(&str, &str)] =
    &[("app.external_orders", " where scope = 3"), ("app.recon_items", " where resolution <> 'settled'")];

impl Db {
    /// A database with the tables of this one, and of its rows the log and its seals alone.
    pub fn with_the_log_alone(&self) -> Db {
        let dump = Scratch::new("log");
        program("pg_dump", &[&LOG_ALONE[..], &["-f", dump.path(), &self.name]].concat()).expect("dumps");
        let db = Db::empty();
        program("pg_restore", &["--exit-on-error", "-d", &db.name, dump.path()]).expect("restores");
        db.superuser().run("select app.migrate()");
        db
    }
}

/// The tables that are compared, each with the query for its rows.
fn compared(session: &Session) -> Vec<(String, String)> {
    let tables = session.column("select tab from sec.tables() order by tab");
    let tables =
        tables.into_iter().filter(|t| !NOT_IN_IT.iter().any(|(table, columns)| table == t && columns.is_empty()));
    let query = |table: &String| {
        let lost = NOT_IN_IT.iter().find(|(t, _)| t == table).map_or(&[] as &[&str], |(_, columns)| columns);
        let columns = session.column(&format!(
            "select quote_ident(attname) from pg_attribute where attrelid = {}::regclass and attnum > 0 \
                and not attisdropped order by attnum",
            q(table)
        ));
        let shown = columns.iter().filter(|c| !lost.contains(&c.as_str())).map(|column| {
            AS.iter().find(|(t, c, _)| t == table && c == column).map_or(column.as_str(), |(_, _, shown)| shown)
        });
        let rows = ROWS.iter().find(|(t, _)| t == table).map_or("", |(_, rows)| rows);
        format!("select row({})::text from {table}{rows}", shown.collect::<Vec<_>>().join(", "))
    };
    tables.map(|table| (table.clone(), query(&table))).collect()
}

/// What differs between the books of two databases, of what the log carries.
pub fn differences(was: &Session, is: &Session) -> Vec<String> {
    let mut found = Vec::new();
    for (table, sql) in compared(was) {
        let (was, is) = (was.sorted(&sql), is.sorted(&sql));
        found.extend(was.iter().filter(|row| !is.contains(row)).map(|row| format!("{table}: lost {row}")));
        found.extend(is.iter().filter(|row| !was.contains(row)).map(|row| format!("{table}: new {row}")));
        if was.len() != is.len() {
            found.push(format!("{table}: {} rows, and {} were", is.len(), was.len()));
        }
    }
    found
}

/// In which of these tables there is nothing, so that nothing was compared.
pub fn not_compared(session: &Session) -> Vec<String> {
    let tables = compared(session).into_iter();
    tables.filter(|(_, sql)| session.rows(sql).is_empty()).map(|(table, _)| table).collect()
}
