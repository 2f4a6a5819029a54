//! After a storm: the books written anew from the log alone are those that the storm left, to the last digit.

use crate::db::Server;
use crate::records::program;
use crate::verify::{Report, offending};
use postgres::Client;
use std::collections::HashMap;

/// Tables that are not of the books, or hold what no log has: keys, jobs, which months are over, the log itself.
const NOT_COMPARED: [&str; 17] = [
    "app.idempotency_keys",
    "app.operating_mode",
    "sec.gateway_keys",
    "app.job_runs",
    "app.archived_months",
    "app.month_rehearsals",
    "app.closed_months",
    "app.merchant_months",
    "app.member_months",
    "audit.event_log",
    "audit.seal_cut",
    "app.gateway_events",
    "app.gateway_tallies",
    "app.gateway_bills",
    "app.gateway_bill_files",
    "app.gateway_bill_lines",
    "app.recon_days",
];

/// What is not in the log, and when exactly a movement was posted.
const LOST: [&str; 20] = [
    "app.member_profiles.name",
    "app.member_profiles.phone",
    "app.member_profiles.email",
    "app.personal_cards.qr_hash",
    "app.personal_cards.qr_expires_at",
    "app.personal_cards.last_posted_at",
    "app.enterprise_cards.last_posted_at",
    "app.enterprise_card_bindings.qr_hash",
    "app.enterprise_card_bindings.qr_expires_at",
    "app.transactions.posted_at",
    "app.transactions.idempotency_key",
    "app.transactions.external_order_id",
    "app.transactions.reason",
    "app.transactions.tag",
    "app.point_ledger.reason",
    "app.transaction_compensations.reason",
    "app.suspense_payments.idempotency_keys",
    "app.late_postings.posted_at",
    "app.recon_items.last_seen",
    "app.coupon_budget_parts.left_amount",
];

/// Rows that are not in the log, of tables that are.
const BUT: [(&str, &str); 2] = [("app.external_orders", "scope = 3"), ("app.recon_items", "resolution <> 'settled'")];

const SHOWN: usize = 5;

/// Restores the log of a database alone into another one, has the books made from it, and compares.
pub fn check_rebuilt(server: &Server, report: &mut Report) -> Result<(), String> {
    let text = |e: postgres::Error| e.to_string();
    let new = format!("{}_rebuilt", server.database);
    let dump = std::env::temp_dir().join(format!("{new}.dump")).display().to_string();
    let done = restore_log(server, &new, &dump).and_then(|()| {
        let mut there = server.connect(&server.database, "mps-storm rebuild").map_err(text)?;
        let mut here = server.connect(&new, "mps-storm rebuild").map_err(text)?;
        let rebuilt = here.query("SELECT what, n FROM app.rebuild_from_log()", &[]).map_err(|e| {
            e.as_db_error().map_or_else(|| e.to_string(), |e| format!("{e}: {}", e.detail().unwrap_or_default()))
        });
        let (movements, refused) = match rebuilt {
            Ok(rows) => (
                rows.iter().map(|row| format!("{} {}", row.get::<_, i64>(1), row.get::<_, String>(0))).collect(),
                vec![],
            ),
            Err(why) => (vec![], vec![why]),
        };
        let movements: Vec<String> = movements;
        report.check(&format!("the log alone is enough to write the books anew ({})", movements.join(", ")), refused);
        report.check("they are the same to the last digit", differing(&mut there, &mut here).map_err(text)?);
        let wrong = "SELECT concat_ws(': ', check_name, detail) FROM app.verify_books() WHERE ok IS NOT TRUE";
        report.check("app.verify_books() finds nothing in them", offending(&mut here, wrong));
        Ok(())
    });
    let _ = std::fs::remove_file(&dump);
    let mut admin = server.connect("postgres", "mps-storm rebuild").map_err(text)?;
    admin.batch_execute(&format!("DROP DATABASE IF EXISTS {new} WITH (FORCE)")).map_err(text)?;
    done
}

fn restore_log(server: &Server, new: &str, dump: &str) -> Result<(), String> {
    let text = |e: postgres::Error| e.to_string();
    let address = server.address.read().expect("not poisoned").clone();
    let port = address.port.to_string();
    let at = ["-h", &address.host, "-p", &port, "-U", &address.user];
    let rows = ["app.*", "sec.*", "mps_archive.*", "audit.seal_cut", "audit.event_id_seq"];
    let without: Vec<String> = rows.iter().map(|rows| format!("--exclude-table-data={rows}")).collect();
    let without: Vec<&str> = without.iter().map(String::as_str).collect();
    program("pg_dump", &[&at[..], &without, &["-Fc", "-f", dump, &server.database]].concat())?;
    let mut admin = server.connect("postgres", "mps-storm rebuild").map_err(text)?;
    admin.batch_execute(&format!("CREATE DATABASE {new} TEMPLATE template0 ENCODING 'UTF8'")).map_err(text)?;
    program("pg_restore", &[&at[..], &["--exit-on-error", "-d", new, dump]].concat())?;
    let mut db = server.connect(new, "mps-storm rebuild").map_err(text)?;
    db.batch_execute("SELECT app.migrate()").map_err(text)
}

/// Rows of any table of the books that one of the two has more often than the other.
fn differing(there: &mut Client, here: &mut Client) -> Result<Vec<String>, postgres::Error> {
    let not: Vec<&str> = NOT_COMPARED.to_vec();
    let tables = there.query(
        "SELECT t.tab, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM sec.tables() t \
         JOIN pg_attribute a ON a.attrelid = t.tab::regclass AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE t.tab <> ALL ($1::text[]) AND t.tab || '.' || a.attname <> ALL ($2::text[]) GROUP BY t.tab ORDER BY t.tab",
        &[&not, &LOST.to_vec()],
    )?;
    let mut bad = Vec::new();
    for table in &tables {
        let (name, columns): (String, String) = (table.get(0), table.get(1));
        let but =
            BUT.iter().find(|(table, _)| *table == name).map_or(String::new(), |(_, rows)| format!(" WHERE {rows}"));
        let sql = format!("SELECT ROW({columns})::text FROM {name}{but}");
        let mut rows: HashMap<String, i64> = HashMap::new();
        for (db, n) in [(&mut *there, 1), (&mut *here, -1)] {
            db.query(&sql, &[])?.iter().for_each(|row| *rows.entry(row.get(0)).or_default() += n);
        }
        let odd = rows.iter().filter(|(_, n)| **n != 0);
        bad.extend(odd.take(SHOWN).map(|(row, n)| format!("{name} {}: {row}", if *n > 0 { "lost" } else { "new" })));
    }
    Ok(bad)
}
