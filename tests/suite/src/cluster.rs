//! A server of its own, for what concerns the whole cluster (roles) or must not have what the others have.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A throwaway cluster; gone when this is dropped.
pub struct Cluster {
    name: String,
    environment: Vec<(String, String)>,
}

fn tool() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "tools", "cluster"].iter().collect()
}

impl Cluster {
    pub fn start() -> Cluster {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let name = format!("suite-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let out = Command::new(tool()).args(["start", &name]).output().expect("tools/cluster runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).expect("text");
        let words = text.trim().trim_start_matches("export ").split(' ');
        let environment = words
            .filter_map(|w| w.split_once('='))
            .filter(|(k, _)| k.starts_with("PG"))
            .map(|(k, v)| (k.into(), v.into()));
        Cluster { name, environment: environment.collect() }
    }

    /// Runs SQL as the superuser; the rows, one line each, columns parted by `|`, or what the server said.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut command = Command::new("psql");
        command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]);
        command.envs(self.environment.iter().cloned());
        answer(command.output().expect("psql runs"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new(tool()).args(["destroy", &self.name]).output();
    }
}

/// Runs a program of Postgres against the server of the tests; what it wrote, or what it complained of.
pub fn program(name: &str, arguments: &[&str]) -> Result<String, String> {
    answer(Command::new(name).args(arguments).output().unwrap_or_else(|e| panic!("{name}: {e}")))
}

fn answer(out: Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
}
