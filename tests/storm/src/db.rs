//! Connections of the storm's clients: they ask until they are answered. An answer is a row or a refusal with an SQLSTATE;
//! a lost connection is neither, so the same request is sent again on a new one.

use crate::chaos::exported;
use crate::history::{Note, Noted, now};
use mps_certify::Span;
use postgres::types::ToSql;
use postgres::{Client, Config, NoTls, Row, Statement};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A server that does not answer for this long will not.
const PATIENCE: Duration = Duration::from_secs(120);
const RETRY_PAUSE: Duration = Duration::from_millis(20);
const READ_ONLY_PAUSE: Duration = Duration::from_millis(5);
/// Nothing here takes this long unless it hangs; a statement cancelled for it fails the run.
const STATEMENT_TIMEOUT: &str = "30s";
/// Token of a request that was never answered.
pub const GAVE_UP: &str = "GAVE_UP";

/// Where the server is just now: it may come back on another port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
    pub user: String,
}

impl Address {
    pub fn from_environment() -> Result<Address, String> {
        let var = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set: start a cluster first"));
        let port = var("PGPORT")?.parse().map_err(|_| "PGPORT is no number".to_owned())?;
        Ok(Address { host: var("PGHOST")?, port, user: var("PGUSER")? })
    }

    /// Of a cluster that `tools/cluster` has just started, by what it printed.
    pub fn printed(shown: &str) -> Result<Address, String> {
        let of = |name| exported(shown, name).ok_or_else(|| format!("tools/cluster names no {name}"));
        let port = of("PGPORT")?.parse().map_err(|_| "tools/cluster names no port")?;
        Ok(Address { host: of("PGHOST")?, port, user: of("PGUSER")? })
    }
}

/// What every connection of one storm has in common.
pub struct Server {
    pub address: RwLock<Address>,
    pub database: String,
    /// Role at client level (tills and members) and role at backend level (the shop's own server).
    pub client_role: String,
    pub backend_role: String,
    /// Whether connections may be lost: somebody is killing them.
    pub rough: bool,
    /// Whether it replays what another one does, which may stand in a reader's way.
    pub is_standby: bool,
    /// The server is down for good: nobody need ask again.
    pub gone: AtomicBool,
    pub lost: AtomicU64,
    /// Requests that were told to ask again (40001).
    pub not_serializable: AtomicU64,
    /// What was asked of it and answered, once the connections are done.
    pub history: Mutex<Vec<Noted>>,
    /// Requests that were told to come back when read_only is off.
    pub read_only: AtomicU64,
    /// Held by who turns it on and off.
    pub mode: Mutex<()>,
}

/// The name that client connections carry in `pg_stat_activity`.
pub const CLIENT_NAME: &str = "mps-storm client";

impl Server {
    /// One that no client of the storm asks.
    pub fn for_checks(address: Address, database: &str) -> Server {
        Server {
            address: RwLock::new(address),
            database: database.to_owned(),
            client_role: String::new(),
            backend_role: String::new(),
            rough: false,
            is_standby: false,
            gone: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            not_serializable: AtomicU64::new(0),
            history: Mutex::default(),
            read_only: AtomicU64::new(0),
            mode: Mutex::default(),
        }
    }

    /// The same database and roles, on a standby, where connections may be lost for what it replays.
    pub fn on_standby(&self, address: Address) -> Server {
        Server {
            client_role: self.client_role.clone(),
            backend_role: self.backend_role.clone(),
            rough: true,
            is_standby: true,
            ..Server::for_checks(address, &self.database)
        }
    }

    /// What was asked and answered by connections that are done.
    pub fn take_history(&self) -> Vec<Noted> {
        std::mem::take(&mut *self.history.lock().expect("not poisoned"))
    }

    /// A connection as superuser.
    pub fn connect(&self, database: &str, name: &str) -> Result<Client, postgres::Error> {
        let address = self.address.read().expect("not poisoned").clone();
        let mut config = Config::new();
        config.host(&address.host).port(address.port).user(&address.user).dbname(database).application_name(name);
        config.connect_timeout(Duration::from_secs(5)).connect(NoTls)
    }
}

/// Under which role, and as which user, something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Backend,
    User(Uuid),
    Superuser,
}

/// The server's no.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub token: String,
    pub text: String,
}

/// What came back in the end.
pub struct Asked<T> {
    pub result: Result<T, Refusal>,
    /// The connection was lost on the way, so that an earlier sending may have been done without being answered.
    pub lost: bool,
    /// From just before the last sending to just after its answer.
    pub span: Span,
    /// When it was sent without being answered.
    pub unanswered: Vec<u64>,
}

/// A statement with its parameters.
pub type Step<'a> = (&'static str, Vec<&'a (dyn ToSql + Sync)>);

enum Failure {
    Refused(Refusal),
    Lost(String),
    /// 40001: nothing was done, and the caller is to ask again.
    NotSerializable,
    /// Nothing was done, and the caller is to ask later.
    ReadOnly(Refusal),
}

/// Under which isolation a connection asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    fn label(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "read committed",
            Isolation::RepeatableRead => "repeatable read",
            Isolation::Serializable => "serializable",
        }
    }
}

/// One connection, made again whenever it is lost.
pub struct Link<'s> {
    server: &'s Server,
    isolation: Isolation,
    client: Option<Client>,
    who: Option<Who>,
    statements: HashMap<&'static str, Statement>,
    /// The client, and in which of its steps it is.
    pub by: (usize, u64),
    notes: Vec<Noted>,
    /// The step of the last transaction that was asked last: what was refused, if it was refused.
    pub reached: usize,
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        if let Ok(mut history) = self.server.history.lock() {
            history.append(&mut self.notes);
        }
    }
}

impl<'s> Link<'s> {
    pub fn new(server: &'s Server, isolation: Isolation) -> Link<'s> {
        Link {
            server,
            isolation,
            client: None,
            who: None,
            statements: HashMap::new(),
            by: (usize::MAX, 0),
            notes: vec![],
            reached: 0,
        }
    }

    /// Whether each statement sees what was committed before it.
    pub fn sees_commits(&self) -> bool {
        self.isolation == Isolation::ReadCommitted
    }

    /// Asks until answered. `read` gets all rows.
    pub fn ask<T>(
        &mut self,
        who: Who,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
        read: impl Fn(&[Row]) -> T,
    ) -> Asked<T> {
        let strict = self.isolation != Isolation::ReadCommitted;
        self.until_answered(strict, |link| link.ask_once(who, sql, params).map(|rows| read(&rows)))
    }

    /// As [`Link::ask`], with the rows as they are, in a list of one.
    pub fn ask_rows(&mut self, who: Who, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Asked<Vec<Vec<Row>>> {
        let strict = self.isolation != Isolation::ReadCommitted;
        self.until_answered(strict, |link| link.ask_once(who, sql, params).map(|rows| vec![rows]))
    }

    /// Asks several things in one transaction, until all of them are answered; the rows of each.
    pub fn ask_together(&mut self, who: Who, begin: &'static str, steps: &[Step]) -> Asked<Vec<Vec<Row>>> {
        let strict = self.isolation != Isolation::ReadCommitted || begin.contains("REPEATABLE READ");
        self.until_answered(strict, |link| {
            link.become_(who).map_err(classify)?;
            link.run(begin)?;
            let mut all = vec![];
            for (i, (sql, params)) in steps.iter().enumerate() {
                link.reached = i;
                match link.ask_once(who, sql, params) {
                    Ok(rows) => all.push(rows),
                    Err(Failure::Lost(text)) => return Err(Failure::Lost(text)),
                    Err(failure) => {
                        link.run("ROLLBACK")?;
                        return Err(failure);
                    }
                }
            }
            link.run("COMMIT")?;
            Ok(all)
        })
    }

    fn run(&mut self, sql: &str) -> Result<(), Failure> {
        self.client.as_mut().expect("connected").batch_execute(sql).map_err(classify)
    }

    /// `strict` is whether it may be told that it is not serializable.
    fn until_answered<T>(&mut self, strict: bool, mut once: impl FnMut(&mut Self) -> Result<T, Failure>) -> Asked<T> {
        let started = Instant::now();
        let mut unanswered = vec![];
        loop {
            let asked = now();
            let came = once(self);
            let span = Span { asked, answered: now() };
            let result = match came {
                Ok(answer) => Ok(answer),
                // Of a reader with what is replayed.
                Err(Failure::Refused(refusal)) if self.server.is_standby && refusal.token == "SQLSTATE 40P01" => {
                    continue;
                }
                // Only the stricter ones may be told this; and not for ever.
                Err(Failure::NotSerializable) => {
                    self.server.not_serializable.fetch_add(1, Ordering::Relaxed);
                    if strict && started.elapsed() <= PATIENCE {
                        continue;
                    }
                    let text = format!("40001: not serializable at {}", self.isolation.label());
                    Err(Refusal { token: "SQLSTATE 40001".into(), text })
                }
                Err(Failure::ReadOnly(refusal)) => {
                    self.server.read_only.fetch_add(1, Ordering::Relaxed);
                    if started.elapsed() <= PATIENCE {
                        std::thread::sleep(READ_ONLY_PAUSE);
                        continue;
                    }
                    Err(refusal)
                }
                Err(Failure::Refused(refusal)) => Err(refusal),
                Err(Failure::Lost(text)) => {
                    self.client = None;
                    self.server.lost.fetch_add(1, Ordering::Relaxed);
                    unanswered.push(asked);
                    let patient = self.server.rough && !self.server.gone.load(Ordering::Relaxed);
                    if patient && started.elapsed() <= PATIENCE {
                        std::thread::sleep(RETRY_PAUSE);
                        continue;
                    }
                    Err(Refusal { token: GAVE_UP.into(), text })
                }
            };
            return Asked { result, lost: !unanswered.is_empty(), span, unanswered };
        }
    }

    /// Writes something down for the certificate.
    pub fn write_down(&mut self, span: Span, note: Note) {
        self.notes.push(Noted { span, by: self.by, note });
    }

    fn ask_once(&mut self, who: Who, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        self.become_(who).map_err(classify)?;
        let client = self.client.as_mut().expect("connected");
        let statement = match self.statements.get(sql) {
            Some(known) => known.clone(),
            None => {
                let made = client.prepare(sql).map_err(classify)?;
                self.statements.insert(sql, made.clone());
                made
            }
        };
        client.query(&statement, params).map_err(classify)
    }

    /// Connects if need be and takes the role and the claims of `who`.
    fn become_(&mut self, who: Who) -> Result<(), postgres::Error> {
        if self.client.is_none() {
            self.statements.clear();
            self.who = None;
            let mut client = self.server.connect(&self.server.database, CLIENT_NAME)?;
            let isolation = self.isolation.label();
            client.batch_execute(&format!(
                "SET statement_timeout = '{STATEMENT_TIMEOUT}'; SET TimeZone = 'UTC'; \
                 SET default_transaction_isolation = '{isolation}'"
            ))?;
            self.client = Some(client);
        }
        if self.who != Some(who) {
            let (role, claims) = match who {
                Who::Backend => (self.server.backend_role.as_str(), String::new()),
                Who::User(id) => (self.server.client_role.as_str(), format!("{{\"sub\":\"{id}\"}}")),
                Who::Superuser => ("none", String::new()),
            };
            let sql = format!("SET ROLE {role}; SET request.jwt.claims = '{claims}'");
            self.client.as_mut().expect("connected").batch_execute(&sql)?;
            self.who = Some(who);
        }
        Ok(())
    }
}

fn classify(error: postgres::Error) -> Failure {
    match error.as_db_error() {
        // The server goes down, is down or comes up; a connection that ends. Not 57014: that is the statement's timeout.
        Some(e) if e.code().code().starts_with("57P") || e.code().code().starts_with("08") => {
            Failure::Lost(e.to_string())
        }
        Some(e) if e.code().code() == "40001" => Failure::NotSerializable,
        // Errors of the contract carry their token as message; Postgres's own are told by their SQLSTATE.
        Some(e) => {
            let code = e.code().code();
            let token = if code.starts_with("PT") { e.message().to_owned() } else { format!("SQLSTATE {code}") };
            let text = format!("{}: {} ({})", code, e.message(), e.detail().unwrap_or("no detail"));
            if token == "READ_ONLY" {
                Failure::ReadOnly(Refusal { token, text })
            } else {
                Failure::Refused(Refusal { token, text })
            }
        }
        // Never reached the server, or was cut off. An argument that the client library refuses would land here as well
        // and be repeated until the patience ends, which fails the run.
        None => Failure::Lost(error.to_string()),
    }
}
