//! Below the rows: every index against its table, every page of every table, and a standby that compares each page that it replays.

use crate::chaos::{exported, tool};
use crate::db::{Address, Server};
use crate::verify::{Report, offending};
use postgres::Client;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A standby that has not replayed what there is by then has stopped.
const REPLAYS: Duration = Duration::from_secs(120);
const SLOT: &str = "mps_storm_witness";
/// Everything of ours, whatever joins.
const SCHEMAS: &str = "n.nspname IN ('app', 'audit', 'sec', 'mps_archive')";

/// Every index has every row of its table, in order; every page of the tables is as a page has to be. Nothing where the Postgres has no
/// contrib modules, which is said.
pub fn check_pages(db: &mut Client, whose: &str, report: &mut Report) -> Result<(), postgres::Error> {
    let available = "SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'";
    if db.query_one(available, &[])?.get::<_, i64>(0) == 0 {
        println!("  SKIPPED {whose}: this Postgres has no amcheck");
        return Ok(());
    }
    if !db.query_one("SELECT pg_is_in_recovery()", &[])?.get::<_, bool>(0) {
        db.batch_execute("CREATE EXTENSION IF NOT EXISTS amcheck")?;
    }
    // Unique ones are looked at for rows that are there twice, where the server can.
    let version: i32 = db.query_one("SELECT current_setting('server_version_num')::integer", &[])?.get(0);
    let unique = if version >= 170_000 { ", checkunique => true" } else { "" };
    let indexes = format!(
        "SELECT format('%s', c.oid::regclass), format('SELECT bt_index_check(%L, heapallindexed => true{unique})', c.oid::regclass) \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
              JOIN pg_am a ON a.oid = c.relam \
         WHERE {SCHEMAS} AND c.relkind = 'i' AND a.amname = 'btree' AND i.indisvalid ORDER BY 1"
    );
    let tables = format!(
        "SELECT format('%s', c.oid::regclass), format('SELECT format(''%%s, block %%s: %%s'', %1$L, blkno, msg) \
                FROM verify_heapam(%1$L, on_error_stop => false, check_toast => true)', c.oid::regclass) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {SCHEMAS} AND c.relkind = 'r' ORDER BY 1",
    );
    for (what, list) in
        [("every index has every row of its table", indexes), ("every page of the tables is sound", tables)]
    {
        let mut bad = Vec::new();
        let found = db.query(&list, &[])?;
        for row in &found {
            let (name, check): (String, String) = (row.get(0), row.get(1));
            match db.simple_query(&check) {
                Ok(answers) => bad.extend(answers.iter().filter_map(|answer| match answer {
                    postgres::SimpleQueryMessage::Row(row) => {
                        row.get(0).filter(|says| !says.is_empty()).map(str::to_owned)
                    }
                    _ => None,
                })),
                Err(error) => {
                    bad.push(format!("{name}: {}", error.as_db_error().map_or(error.to_string(), |e| e.to_string())))
                }
            }
        }
        report.check(&format!("{whose}: {what} ({})", found.len()), bad);
    }
    Ok(())
}

/// A standby that follows the storms and compares each page after replaying a record with what the primary had.
pub struct Witness {
    name: String,
    server: Server,
    log: PathBuf,
    of: Address,
}

impl Witness {
    pub fn new() -> Result<Witness, String> {
        let primary = Server::for_checks(Address::from_environment()?, "postgres");
        for setting in ["wal_consistency_checking = 'all'", "wal_compression = 'on'"] {
            admin(&primary, &format!("ALTER SYSTEM SET {setting}"))?;
        }
        admin(&primary, "SELECT pg_reload_conf()")?;
        let name = format!("witness-{}", std::process::id());
        let shown = tool(&["standby", &name, SLOT])?;
        let address = Address::printed(&shown)?;
        let log = exported(&shown, "MPS_LOG").ok_or("tools/cluster names no MPS_LOG")?.into();
        let of = primary.address.into_inner().expect("not poisoned");
        Ok(Witness { name, server: Server::for_checks(address, "postgres"), log, of })
    }

    /// For readers of a storm on the primary, once the standby has what was there at its beginning.
    pub fn reading(&self, primary: &Server) -> Result<Server, String> {
        let text = |e: postgres::Error| e.to_string();
        let mut there = primary.connect(&primary.database, "mps-storm witness").map_err(text)?;
        let done: String = there.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).map_err(text)?.get(0);
        match self.replays(&done).first() {
            Some(why) => Err(format!("the standby stopped before the storm: {why}")),
            None => Ok(primary.on_standby(self.server.address.read().expect("not poisoned").clone())),
        }
    }

    /// After a storm: it has replayed all of it without a page that differs, its books hold, and it has the same rows.
    pub fn check(&mut self, primary: &Server, report: &mut Report) -> Result<(), String> {
        let now = primary.address.read().expect("not poisoned").clone();
        if now != self.of {
            let conninfo = format!("host={} port={} user={}", now.host, now.port, now.user);
            admin(&self.server, &format!("ALTER SYSTEM SET primary_conninfo = '{conninfo}'"))?;
            admin(&self.server, "SELECT pg_reload_conf()")?;
            self.of = now;
        }
        let text = |e: postgres::Error| e.to_string();
        let mut there = primary.connect(&primary.database, "mps-storm witness").map_err(text)?;
        let done: String = there.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).map_err(text)?.get(0);
        let mut bad = self.replays(&done);
        bad.extend(self.complaints());
        let compares =
            "SELECT 'it was ' || setting FROM pg_settings WHERE name = 'wal_consistency_checking' AND setting <> 'all'";
        bad.extend(offending(&mut there, compares));
        report.check("a standby replays everything, and each page is the primary's (wal_consistency_checking)", bad);
        let Ok(mut here) = self.server.connect(&primary.database, "mps-storm witness") else { return Ok(()) };
        report.check("the standby has the same rows", differing(&mut there, &mut here).map_err(text)?);
        let wrong = "SELECT concat_ws(': ', check_name, detail) FROM app.verify_books() WHERE ok IS NOT TRUE";
        report.check("app.verify_books() finds nothing on the standby", offending(&mut here, wrong));
        check_pages(&mut here, "standby", report).map_err(text)
    }

    /// What keeps it from replaying up to a place in the log, if anything does.
    fn replays(&self, to: &str) -> Vec<String> {
        let began = Instant::now();
        let mut at = "nothing".to_owned();
        while began.elapsed() < REPLAYS {
            let asked = self.server.connect("postgres", "mps-storm witness").and_then(|mut db| {
                db.query_one(
                    "SELECT pg_last_wal_replay_lsn()::text, pg_last_wal_replay_lsn() >= $1::text::pg_lsn",
                    &[&to],
                )
            });
            match asked {
                Ok(row) if row.get::<_, Option<bool>>(1) == Some(true) => return vec![],
                Ok(row) => at = row.get::<_, Option<String>>(0).unwrap_or_default(),
                Err(error) => at = error.to_string(),
            }
            if !self.complaints().is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        vec![format!("{at} of {to}")]
    }

    fn complaints(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let bad = |line: &&str| ["inconsistent page", "PANIC:", "invalid page"].iter().any(|word| line.contains(word));
        log.lines().filter(bad).map(str::to_owned).collect()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = tool(&["destroy", &self.name]);
        let primary = Server::for_checks(self.of.clone(), "postgres");
        for sql in [
            "ALTER SYSTEM RESET wal_consistency_checking",
            "ALTER SYSTEM RESET wal_compression",
            "SELECT pg_reload_conf()",
            &format!("SELECT pg_drop_replication_slot('{SLOT}')"),
        ] {
            if let Err(why) = admin(&primary, sql) {
                println!("  {sql}: {why}");
            }
        }
    }
}

fn admin(server: &Server, sql: &str) -> Result<(), String> {
    let mut db = server.connect("postgres", "mps-storm witness").map_err(|e| e.to_string())?;
    db.batch_execute(sql).map_err(|e| format!("{sql}: {e}"))
}

/// Tables of ours whose rows are not the same in two databases.
fn differing(one: &mut Client, other: &mut Client) -> Result<Vec<String>, postgres::Error> {
    let tables = format!(
        "SELECT format('%s', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE {SCHEMAS} AND c.relkind = 'r' ORDER BY 1"
    );
    let mut bad = Vec::new();
    for row in one.query(&tables, &[])? {
        let table: String = row.get(0);
        let sum =
            format!("SELECT count(*) || ' rows, ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {table} t");
        let sums = [&mut *one, &mut *other].map(|db| db.query_one(&sum, &[]).map(|row| row.get::<_, String>(0)));
        let mut said = String::new();
        for sum in &sums {
            let _ = write!(said, " {}", sum.as_deref().unwrap_or("cannot be read"));
        }
        if !matches!(&sums, [Ok(here), Ok(there)] if here == there) {
            bad.push(format!("{table}:{said}"));
        }
    }
    Ok(bad)
}
