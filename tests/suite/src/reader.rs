//! Whoever reads a document and runs its commands: psql and bash, as the user of the server, in one directory, with psql
//! variables that last from one block to the next.

use crate::cluster::{Cluster, program};
use crate::manual::{Block, feed};
use crate::session::q;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// How to reach a server.
#[derive(Clone)]
pub struct Address {
    pub host: String,
    pub port: String,
    pub user: String,
}

impl Address {
    pub fn of(cluster: &Cluster) -> Address {
        let text = cluster.connection("postgres");
        let of = |name: &str| {
            let found = text.split(' ').find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
        };
        Address { host: of("host"), port: of("port"), user: of("user") }
    }
}

pub struct Reader {
    pub directory: PathBuf,
    /// Who runs the servers, if that is not who runs the test.
    owner: Option<String>,
    /// The psql variables that blocks have set.
    pub kept: BTreeMap<String, String>,
}

/// What came of a block.
pub struct Ran {
    pub succeeded: bool,
    pub said: String,
    /// The psql variables after it: [`Reader::kept`], once it is what it should be.
    pub variables: BTreeMap<String, String>,
}

impl Reader {
    /// Makes the directory, which stays, and gives it to who runs the server.
    pub fn of(cluster: &Cluster, directory: impl Into<PathBuf>) -> Reader {
        let directory = directory.into();
        std::fs::create_dir_all(&directory).expect("a directory of our own");
        let data = cluster.psql("postgres", "show data_directory").expect("a directory");
        let owner = program("stat", &["-c", "%U", &data]).expect("an owner");
        let me = program("id", &["-un"]).expect("a name");
        let path = directory.to_str().expect("a path");
        program("chown", &[&format!("--reference={data}"), path]).expect("hands it over");
        Reader { directory, owner: (owner != me).then_some(owner), kept: BTreeMap::new() }
    }

    /// A program as the user of the servers, in the directory.
    pub fn command(&self, name: &str, server: &Address) -> Command {
        let mut command = match &self.owner {
            None => Command::new(name),
            Some(owner) => {
                let mut as_owner = Command::new("setpriv");
                as_owner.args(["--reuid", owner, "--regid", owner, "--init-groups", "--", name]);
                as_owner
            }
        };
        command.current_dir(&self.directory).env("HOME", &self.directory).env_remove("PGDATABASE");
        command.env("PGHOST", &server.host).env("PGPORT", &server.port).env("PGUSER", &server.user);
        command
    }

    /// What runs a block: bash, or psql in a database, by the block's notes as a role (`as ROLE`) and on after errors (`fails`).
    pub fn program_for(&self, block: &Block, server: &Address, database: &str) -> Command {
        if block.language == "sh" {
            let mut command = self.command("bash", server);
            command.args(["-euo", "pipefail"]);
            return command;
        }
        let mut command = self.command("psql", server);
        command.args(["-Xq", "-d", database]);
        if let Some(role) = block.note("as ") {
            command.env("PGUSER", role);
        }
        if block.note("fails").is_none() {
            command.args(["-v", "ON_ERROR_STOP=1"]);
        }
        for (name, value) in &self.kept {
            command.arg("-v").arg(format!("{name}={value}"));
        }
        command
    }

    /// Runs a block, once, by what [`Reader::program_for`] made; `text` is what [`filled`] made of it.
    pub fn run(&self, block: &Block, mut command: Command, text: &str) -> Ran {
        const MARK: &str = "-- variables --";
        let out = match block.language.as_str() {
            "sh" => feed(&mut command, text),
            _ => feed(&mut command, &format!("{text}\n\\echo {MARK}\n\\set\n")),
        };
        let (text, complaints) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        let (text, variables) = text.split_once(MARK).unwrap_or((&text, ""));
        let variables = variables
            .lines()
            .filter_map(|l| l.split_once(" = "))
            .filter(|(name, _)| name.chars().all(|c| !c.is_uppercase()))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').replace("''", "'")));
        // psql without ON_ERROR_STOP goes on after an error and succeeds.
        let failed = !out.status.success() || (block.language == "sql" && complaints.contains("ERROR:"));
        Ran { succeeded: !failed, said: format!("{text}{complaints}"), variables: variables.collect() }
    }
}

/// A block with the values of the reader's case: lines `\set name value` and `name=value` of which `value` knows one.
pub fn filled(block: &Block, value: impl Fn(&str) -> Option<String>) -> String {
    let line = |line: &str| -> String {
        let name = match block.language.as_str() {
            "sql" => line.strip_prefix("\\set ").and_then(|l| l.split_once(' ')).map(|(name, _)| name),
            _ => line.split_once('=').filter(|(name, value)| is_name(name) && !value.starts_with('$')).map(|x| x.0),
        };
        match name.and_then(|name| Some((name, q(value(name)?)))) {
            None => format!("{line}\n"),
            Some((name, value)) if block.language == "sql" => format!("\\set {name} {value}\n"),
            Some((name, value)) => format!("{name}={value}\n"),
        }
    };
    block.body.lines().map(line).collect()
}

/// Whether a shell's variable of ours is called so.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}
