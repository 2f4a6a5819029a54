//! A fresh database per test, cloned from one template that is made once for every version of the install script.

use crate::books;
use crate::session::{Session, claims, q};
use postgres::{Config, NoTls};
use std::cell::RefCell;
use std::collections::HashMap;
use std::env;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use uuid::Uuid;

/// The roles of Supabase, the role of the seed's set-up (with the contract's way to grant), and one that has nothing.
const ROLES: &[(&str, &str)] = &[
    ("anon", "NOLOGIN NOINHERIT"),
    ("authenticated", "NOLOGIN NOINHERIT"),
    ("service_role", "NOLOGIN NOINHERIT BYPASSRLS"),
    ("authenticator", "LOGIN NOINHERIT IN ROLE anon, authenticated, service_role"),
    ("app_role", "LOGIN NOINHERIT"),
    ("stranger", "LOGIN"),
];

/// Taken while roles and template are made: several test programs may start at once.
const SETUP_LOCK: &str = "20251119";

/// A database of one test.
pub struct Db {
    pub name: String,
    checks_books: bool,
}

impl Default for Db {
    fn default() -> Self {
        Db::new()
    }
}

impl Db {
    /// A database with the extension, and no data but the defaults.
    pub fn new() -> Db {
        let db = Db::named_after_this_run();
        admin("postgres").run(&format!("create database {} template {}", db.name, template()));
        db
    }

    /// A database without the extension.
    pub fn empty() -> Db {
        let mut db = Db::named_after_this_run();
        admin("postgres").run(&format!("create database {} template template0 encoding 'UTF8'", db.name));
        db.checks_books = false;
        db
    }

    fn named_after_this_run() -> Db {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Db { name: format!("mps_t_{}_{number}", std::process::id()), checks_books: true }
    }

    /// For a test that leaves the books broken, because it broke them on purpose.
    pub fn without_books(&mut self) {
        self.checks_books = false;
    }

    /// The books of an [`Db::empty`] database are checked once the extension is in it.
    pub fn with_books(&mut self) {
        self.checks_books = true;
    }

    /// A superuser's session.
    pub fn superuser(&self) -> Session {
        admin(&self.name)
    }

    /// A superuser's session with options of the server, as in PGOPTIONS.
    pub fn superuser_with(&self, options: &str) -> Session {
        open(&superuser(), &self.name, options).unwrap_or_else(|e| panic!("{e}"))
    }

    /// A session of whoever logs in by this name.
    pub fn login(&self, role: &str) -> Session {
        connect(role, &self.name).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The shop's own server behind PostgREST: `service_role`.
    pub fn backend(&self) -> Session {
        let session = self.login("authenticator");
        session.become_role("service_role", &claims("service_role", None));
        session
    }

    /// A signed-in user behind PostgREST.
    pub fn user(&self, id: Uuid) -> Session {
        let session = self.login("authenticator");
        session.become_role("authenticated", &claims("authenticated", Some(id)));
        session
    }

    /// A visitor behind PostgREST who is not signed in.
    pub fn anon(&self) -> Session {
        let session = self.login("authenticator");
        session.become_role("anon", &claims("anon", None));
        session
    }

    /// A user of a server that logs in as `app_role` and sets the claims itself.
    pub fn app_user(&self, id: Uuid) -> Session {
        let session = self.login("app_role");
        session.run(&format!("select set_config('request.jwt.claims', {}, false)", q(format!(r#"{{"sub":"{id}"}}"#))));
        session
    }

    /// Every row of every table of the extension, in short: equal before and after when nothing moved.
    pub fn snapshot(database: &str) -> String {
        thread_local! {
            static KNOWN: RefCell<HashMap<String, (Session, String)>> = RefCell::new(HashMap::new());
        }
        KNOWN.with_borrow_mut(|known| {
            // One at a time: a connection to a database that is gone would only be in the way.
            if !known.contains_key(database) {
                known.clear();
            }
            let (session, sql) = known.entry(database.into()).or_insert_with(|| {
                let session = admin(database);
                let tables = session.column(
                    "select c.oid::regclass::text from pg_class c where c.relnamespace in \
                        (select n.oid from pg_namespace n where n.nspname in ('app', 'audit', 'sec')) \
                     and c.relkind in ('r', 'p') and not c.relispartition order by 1",
                );
                let parts = tables.iter().map(|t| {
                    format!(
                        "select {} || md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {t} t",
                        q(t)
                    )
                });
                (session, parts.collect::<Vec<_>>().join(" union all "))
            });
            session.sorted(sql).join("\n")
        })
    }

    /// What is wrong with the books, in words.
    pub fn problems(&self) -> Vec<String> {
        books::problems(&self.superuser())
    }

    /// As [`Db::problems`], as a superuser's session sees them in its transaction.
    pub fn problems_in(session: &Session) -> Vec<String> {
        books::problems(session)
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        let forget = format!("drop database if exists {} with (force)", self.name);
        if std::thread::panicking() {
            // The test has failed already: clean up if that is possible, and say nothing more.
            if let Ok(server) = connect(&superuser(), "postgres") {
                let _ = server.try_rows(&forget);
            }
            return;
        }
        let problems = if self.checks_books { books::problems(&self.superuser()) } else { Vec::new() };
        admin("postgres").run(&forget);
        assert!(problems.is_empty(), "the books do not hold:\n{}", problems.join("\n"));
    }
}

fn connect(user: &str, database: &str) -> Result<Session, String> {
    open(user, database, "")
}

fn open(user: &str, database: &str, options: &str) -> Result<Session, String> {
    let mut config = Config::new();
    let host = env::var("PGHOST").map_err(|_| "PGHOST is not set: eval \"$(tools/cluster start NAME)\"")?;
    config.host(&host).user(user).dbname(database).options(options);
    config.port(env::var("PGPORT").ok().map_or(5432, |p| p.parse().expect("PGPORT")));
    let client = config.connect(NoTls).map_err(|e| format!("{user} to {database}: {e}"))?;
    Ok(Session::new(client, database))
}

fn superuser() -> String {
    env::var("PGUSER").unwrap_or_else(|_| "postgres".into())
}

#[track_caller]
fn admin(database: &str) -> Session {
    connect(&superuser(), database).unwrap_or_else(|e| panic!("{e}"))
}

/// The name of the template, made if it is not there.
fn template() -> &'static str {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let server = admin("postgres");
        server.run(&format!("select pg_advisory_lock({SETUP_LOCK})"));
        make_roles(&server);
        let print = server.value(
            "select md5(pg_read_file(c.setting || '/extension/mps--' || v.default_version || '.sql') || to_char(now() at time zone 'UTC', 'YYYYMM')) \
             from pg_config c, pg_available_extensions v where c.name = 'SHAREDIR' and v.name = 'mps'",
        );
        let name = format!("mps_template_{}", &print[..12]);
        let ready = format!("select count(*) from pg_shdescription s join pg_database d on d.oid = s.objoid and s.classoid = \
            'pg_database'::regclass where d.datname = {} and s.description = 'ready'", q(&name));
        if server.value(&ready) == "0" {
            server.run(&format!("drop database if exists {name}"));
            server.run(&format!("create database {name} template template0 encoding 'UTF8'"));
            let inside = admin(&name);
            inside.run("create extension mps");
            inside.run("select sec.grant_api('app_role', 'client')");
            drop(inside);
            server.run(&format!("comment on database {name} is 'ready'"));
        }
        name
    })
}

fn make_roles(server: &Session) {
    for (role, options) in ROLES {
        if server.value(&format!("select count(*) from pg_roles where rolname = {}", q(role))) == "0" {
            server.run(&format!("create role {role} {options}"));
        }
    }
}
