//! Receipts: heads are signed meanwhile, clients keep receipts, and whatever was killed in between, each of them still proves at the end
//! what the books say, and the shop still stands by it. Verified by `mps-verify`, which shares no code with MPS.

use crate::verify::Report;
use crate::world::World;
use mps_verify::{Verdict, judge, receipt};
use postgres::Client;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A key that the server's own user makes, beside its data.
const MAKE_KEY: &str =
    "COPY (SELECT) TO PROGRAM 'umask 077 && openssl genpkey -algorithm ed25519 -out ../storm-seal.pem 2>&1'";
const PUBLISH_KEY: &str = "CREATE TEMP TABLE published (line text); \
    COPY published FROM PROGRAM 'openssl pkey -in ../storm-seal.pem -pubout'";
const READS_ITS_OPTIONS: Duration = Duration::from_secs(10);
/// Each movement, by its number, from the balances alone.
const MOVEMENTS: &str = "SELECT t.tx_no, concat_ws(' ', c.card_no, t.card_seq, \
        round(100 * (t.balance_after - lag(t.balance_after, 1, 0.0) OVER (PARTITION BY t.card_id ORDER BY t.card_seq))), \
        round(100 * t.balance_after), round(1000000 * extract(epoch FROM t.posted_at))) \
    FROM app.transactions t \
    JOIN (SELECT id, card_no FROM app.personal_cards UNION ALL SELECT id, card_no FROM app.enterprise_cards) c ON c.id = t.card_id \
    WHERE t.card_seq IS NOT NULL";
/// So many operations bring a seal and receipts with certainty, where nobody is killed.
const BRING_RECEIPTS: u64 = 20_000;
/// Of those that are there at the end, whether somebody kept them or not.
const ASKED_AT_THE_END: usize = 50;

/// What clients kept, and what the shop has published.
#[derive(Default)]
pub struct Receipts {
    /// In PEM; empty where this release gives no receipts.
    published: String,
    pub kept: Mutex<Vec<Value>>,
}

impl Receipts {
    /// Has heads signed from now on.
    pub fn begin(db: &mut Client) -> Result<Receipts, postgres::Error> {
        if db.query_one("SELECT to_regproc('app.tx_proof') IS NULL", &[])?.get(0) {
            return Ok(Receipts::default());
        }
        db.batch_execute(MAKE_KEY)?;
        db.batch_execute(PUBLISH_KEY)?;
        db.batch_execute("SELECT app.get_settings()")?; // the library knows the option
        let data: String = db.query_one("SELECT current_setting('data_directory')", &[])?.get(0);
        db.batch_execute(&format!("ALTER SYSTEM SET mps.seal_key_file = '{data}/../storm-seal.pem'"))?;
        db.batch_execute("SELECT pg_reload_conf()")?;
        let began = Instant::now();
        while !db.query_one("SELECT audit.receipts_are_on()", &[])?.get::<_, bool>(0) {
            assert!(began.elapsed() < READS_ITS_OPTIONS, "the server reads its options");
            std::thread::sleep(Duration::from_millis(20));
        }
        let lines = db.query("SELECT line FROM published", &[])?;
        let lines: Vec<&str> = lines.iter().map(|row| row.get(0)).collect();
        Ok(Receipts { published: lines.join("\n"), kept: Mutex::default() })
    }

    pub fn are_given(&self) -> bool {
        !self.published.is_empty()
    }

    /// The option goes; the key stays where the cluster is.
    pub fn end(&self, db: &mut Client) -> Result<(), postgres::Error> {
        if !self.are_given() {
            return Ok(());
        }
        db.batch_execute("ALTER SYSTEM RESET mps.seal_key_file")?;
        db.batch_execute("SELECT pg_reload_conf()")
    }

    /// After the last seal.
    pub fn check(&self, world: &World, db: &mut Client, report: &mut Report) -> Result<(), postgres::Error> {
        if !self.are_given() {
            return Ok(());
        }
        let movements: HashMap<String, String> =
            db.query(MOVEMENTS, &[])?.iter().map(|row| (row.get(0), row.get(1))).collect();
        let mut kept = std::mem::take(&mut *self.kept.lock().expect("not poisoned"));
        let mut bad = Vec::new();
        let operations = world.operations.load(std::sync::atomic::Ordering::Relaxed);
        if kept.is_empty() && operations > BRING_RECEIPTS && !world.server.rough {
            bad.push(format!("{operations} operations brought none"));
        }
        println!("  receipts: {} kept meanwhile", kept.len());
        for tx_no in movements.keys().take(ASKED_AT_THE_END) {
            kept.push(db.query_one("SELECT app.tx_proof($1)", &[tx_no])?.get(0));
        }
        let keys = mps_verify::keys(&self.published).map_err(|e| bad.push(format!("the published key: {e:?}")));
        let mut heads: HashMap<u64, Value> = HashMap::new();
        for given in &kept {
            let Ok(keys) = &keys else { break };
            match receipt(given, keys) {
                Err(why) => bad.push(format!("{why:?}: {given}")),
                Ok(proved) => {
                    let m = &proved.movement;
                    let said = format!(
                        "{} {} {} {} {}",
                        m.card_no, m.card_seq, m.change_cents, m.balance_after_cents, m.posted_at
                    );
                    if movements.get(&m.tx_no) != Some(&said) {
                        bad.push(format!("{}: {said} is proved, {:?} stands", m.tx_no, movements.get(&m.tx_no)));
                    }
                    let no = proved.head.head_no;
                    if let std::collections::hash_map::Entry::Vacant(place) = heads.entry(no) {
                        place.insert(db.query_one("SELECT app.head_proof($1)", &[&(no as i64)])?.get(0));
                    }
                    let verdict = judge(&proved.head, &heads[&no], keys);
                    if !matches!(verdict, Ok(Verdict::Stands)) {
                        bad.push(format!("{}: {verdict:?}", m.tx_no));
                    }
                }
            }
        }
        report.check("every receipt proves what stands in the books, and the shop stands by it", bad);
        Ok(())
    }
}
