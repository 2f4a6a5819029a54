//! A server of its own, for what concerns the whole cluster (roles, replication, restarts) or must not have what the others
//! have; and what two servers must have in common.

use crate::session::{Row, Session, q};
use crate::shop::{Member, SHOP, nobody};
use postgres::{Config, NoTls};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A throwaway cluster; gone when this is dropped.
pub struct Cluster {
    name: String,
    environment: Vec<(String, String)>,
    /// What the server itself is to find in its environment: `NAME=VALUE`, without white space.
    of_server: Vec<String>,
}

fn tool() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "tools", "cluster"].iter().collect()
}

/// A port that nobody listens on, from below those that clients' connections take.
pub fn free_port() -> String {
    program(tool().with_file_name("free-port").to_str().expect("a path"), &[]).expect("a port")
}

impl Cluster {
    pub fn start() -> Cluster {
        Cluster::start_with("")
    }

    /// With options of the server, as on its command line (`-c wal_level=logical`).
    pub fn start_with(options: &str) -> Cluster {
        Cluster::start_in(Vec::new(), options)
    }

    /// As [`Cluster::start_with`], with something in the server's environment.
    pub fn start_in(of_server: Vec<String>, options: &str) -> Cluster {
        let mut cluster = Cluster::new(of_server);
        cluster.run("start", options);
        cluster
    }

    /// A streaming standby of the server of the tests, which must be on this machine. It replays whatever happens there.
    pub fn standby() -> Cluster {
        let mut cluster = Cluster::new(Vec::new());
        cluster.run("standby", "");
        cluster
    }

    fn new(of_server: Vec<String>) -> Cluster {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let name = format!("suite-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Cluster { name, environment: Vec::new(), of_server }
    }

    /// What pg_upgrade makes of this cluster: the same data under the directory of a new one.
    pub fn upgraded(self) -> Cluster {
        let mut new = Cluster::start();
        let bin = new.psql("postgres", "select setting from pg_config where name = 'BINDIR'").expect("a directory");
        self.tool(&["stop"], "");
        new.tool(&["stop"], "");
        let (old_data, new_data) = (self.variable("MPS_DATA"), new.variable("MPS_DATA"));
        let around = Path::new(new_data).parent().expect("data lies in a directory");
        // It refuses to run as root, and wants a directory to write to.
        let owner = program("stat", &["-c", "%U", new_data]).expect("an owner");
        let mut command = if program("id", &["-un"]).expect("a name") == owner {
            Command::new("pg_upgrade")
        } else {
            let mut as_owner = Command::new("setpriv");
            as_owner.args(["--reuid", &owner, "--regid", &owner, "--init-groups", "--", "pg_upgrade"]);
            as_owner
        };
        command.args(["-b", &bin, "-B", &bin, "-d", old_data, "-D", new_data, "-U", new.variable("PGUSER")]);
        command.args(["-p", self.variable("PGPORT"), "-P", new.variable("PGPORT"), "-s"]).arg(around);
        let out = command.current_dir(around).output().expect("pg_upgrade runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        new.run("start", "");
        new
    }

    /// The same server, started again after it was killed.
    pub fn started_again(mut self) -> Cluster {
        self.run("start", "");
        self
    }

    fn run(&mut self, verb: &str, options: &str) {
        let text = self.tool(&[verb], options);
        let words = text.trim().trim_start_matches("export ").split(' ').filter_map(|w| w.split_once('='));
        self.environment = words.filter(|(k, _)| *k != "PATH").map(|(k, v)| (k.into(), v.into())).collect();
    }

    #[track_caller]
    fn tool(&self, verb: &[&str], options: &str) -> String {
        let mut command = Command::new(tool());
        let out = command
            .args(verb)
            .arg(&self.name)
            .env("PG_OPTIONS", options)
            .env("PG_ENVIRONMENT", self.of_server.join(" "))
            .output()
            .expect("tools/cluster runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    }

    /// What the environment of `tools/cluster` says, by name.
    fn variable(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(k, _)| k == name);
        found.map(|(_, v)| v.as_str()).unwrap_or_else(|| panic!("{name} is not in the environment of the cluster"))
    }

    /// How another server finds a database of this one.
    pub fn connection(&self, database: &str) -> String {
        let of = |name| self.variable(name);
        format!("host={} port={} user={} dbname={database}", of("PGHOST"), of("PGPORT"), of("PGUSER"))
    }

    /// Makes a key beside the server's data, as its owner's, and has heads signed with it; where it is.
    #[track_caller]
    pub fn sign_heads(&self, key: &str) -> String {
        let file = self.beside_the_data(key);
        program("openssl", &["genpkey", "-algorithm", "ed25519", "-out", &file]).expect("a key");
        self.give_to_the_server(&file);
        self.sign_heads_with(&file);
        file
    }

    /// Where a file of that name lies beside the server's data.
    pub fn beside_the_data(&self, name: &str) -> String {
        Path::new(self.variable("MPS_DATA")).with_file_name(name).to_str().expect("a path").to_owned()
    }

    /// Makes a file the server's own, which nobody else may read.
    #[track_caller]
    pub fn give_to_the_server(&self, file: &str) {
        program("chmod", &["600", file]).expect("is nobody else's");
        program("chown", &["--reference", self.variable("MPS_DATA"), file]).expect("is the server's");
    }

    /// A secret in a file beside the server's data, which only the server reads; where it is.
    #[track_caller]
    pub fn secret_file(&self, name: &str, content: &[u8]) -> String {
        let file = self.beside_the_data(name);
        std::fs::write(&file, content).expect("is written");
        self.give_to_the_server(&file);
        file
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.variable("MPS_LOG")).expect("a log")).into_owned()
    }

    /// Has heads signed with a key that is there. The option is known once the library is loaded.
    #[track_caller]
    pub fn sign_heads_with(&self, file: &str) {
        self.configure("mps.seal_key_file", file);
    }

    /// Has secrets of gateways sealed under the key of a file; none, if it is empty.
    #[track_caller]
    pub fn seal_secrets_with(&self, file: &str) {
        self.configure("mps.master_key_file", file);
    }

    /// Writes an option of MPS into the server's configuration, and waits until it counts.
    #[track_caller]
    fn configure(&self, option: &str, value: &str) {
        let load = concat!("load '$libdir/mps-", env!("CARGO_PKG_VERSION"), "'");
        let set = format!("alter system set {option} = '{value}'");
        let mut arguments = vec!["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", "postgres"];
        for command in [load, &set, "select pg_reload_conf()"] {
            arguments.extend(["-c", command]);
        }
        self.program("psql", &arguments).expect("the option is set");
        let show = format!("show {option}");
        let shown = || self.program("psql", &["-XqAt", "-d", "postgres", "-c", load, "-c", &show]);
        until("the server has read the option", Duration::from_secs(10), || shown().is_ok_and(|said| said == value));
    }

    /// Runs a program of Postgres against this server; what it wrote, or what it complained of.
    pub fn program(&self, name: &str, arguments: &[&str]) -> Result<String, String> {
        answer(self.output(name, arguments))
    }

    /// Runs SQL as the superuser; the rows, one line each, columns parted by `|`, or what the server said.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        self.program("psql", &["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql])
    }

    /// Runs SQL as the superuser; what the server said about it: notices, warnings, errors.
    pub fn notices(&self, database: &str, sql: &str) -> String {
        String::from_utf8_lossy(&self.output("psql", &["-XqAt", "-d", database, "-c", sql]).stderr).trim().to_owned()
    }

    fn output(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(name);
        command.args(arguments).envs(self.environment.iter().cloned());
        command.output().unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// A session of whoever logs in by this name.
    #[track_caller]
    pub fn login(&self, role: &str, database: &str) -> Session {
        let mut config = Config::new();
        config.host(self.variable("PGHOST")).port(self.variable("PGPORT").parse().expect("a port"));
        let client = config.user(role).dbname(database).connect(NoTls);
        Session::new(client.unwrap_or_else(|e| panic!("{role} to {database}: {e}")), database)
    }

    /// A superuser's session.
    #[track_caller]
    pub fn superuser(&self, database: &str) -> Session {
        self.login(self.variable("PGUSER"), database)
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

/// A file or directory of a dump; gone when this is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Scratch(std::env::temp_dir().join(format!("mps-suite-{}-{number}-{name}", std::process::id())))
    }

    /// A file that anybody may read.
    pub fn with(name: &str, content: &str) -> Scratch {
        let scratch = Scratch::new(name);
        std::fs::write(&scratch.0, content).expect("is written");
        program("chmod", &["644", scratch.path()]).expect("is for everybody");
        scratch
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("a path")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0).or_else(|_| std::fs::remove_dir_all(&self.0));
    }
}

/// Waits until something holds; gives up, and says what was waited for, after that long.
#[track_caller]
pub fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Every row of every table, in short: partitions and archived months one by one.
pub fn contents(session: &Session) -> Vec<String> {
    let tables = session.column(
        "select c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname in ('app', 'audit', 'sec', 'mps_archive') and c.relkind = 'r' order by c.oid::regclass::text",
    );
    let digests = tables.iter().map(|t| {
        format!(
            "select {} || ' ' || count(*) || ' ' || md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {t} t",
            q(t)
        )
    });
    session.sorted(&digests.collect::<Vec<_>>().join(" union all "))
}

/// Where every sequence stands.
pub fn sequences(session: &Session) -> Vec<String> {
    let names = session.column(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname in ('app', 'audit') and c.relkind = 'S' order by 1",
    );
    let values = names.iter().map(|s| format!("select {} || ' ' || last_value || ' ' || is_called from {s}", q(s)));
    session.sorted(&values.collect::<Vec<_>>().join(" union all "))
}

/// A till in whatever database a superuser is connected to: a superuser counts as a backend.
pub struct Till {
    pub session: Session,
}

impl Till {
    pub fn open(session: Session) -> Till {
        session.run(&format!("select * from app.create_merchant('{SHOP}', 'Corner Coffee')"));
        Till { session }
    }

    /// A new member whose card holds `balance`.
    #[track_caller]
    pub fn member(&self, balance: &str) -> Member {
        let id = nobody();
        let row = self.session.row(&format!("select * from app.register_member('Member', p_user_id => '{id}')"));
        let (card, card_no) = (row["card_id"].to_owned(), row["card_no"].to_owned());
        self.session.run(&format!("select * from app.user_recharge_personal_card('{card}', {balance}, 'cash')"));
        Member { id, no: row["member_no"].into(), card, card_no }
    }

    /// A charge of a personal card by a fresh code.
    #[track_caller]
    pub fn charge(&self, card: &str, amount: &str) -> Row {
        let code = self.session.row(&format!("select * from app.rotate_card_qr('{card}')"))["qr_plain"].to_owned();
        self.session.row(&format!("select * from app.merchant_charge_by_qr('{SHOP}', {}, {amount})", q(code)))
    }

    /// The highest running number that any transaction has, whichever month it is of.
    pub fn highest_number(&self) -> i64 {
        let sql = "select coalesce(max(id % 100000000000), 0) from app.transactions";
        self.session.value(sql).parse().expect("a number")
    }

    /// What the checks of the extension find wrong with books, log and rights.
    pub fn findings(&self) -> Vec<String> {
        self.session.column(
            "select format('%s: %s', check_name, detail) from app.verify_books() where ok is not true \
             union all select format('%s: %s', check_name, detail) from audit.verify() where ok is not true \
             union all select format('%s: %s', rule, detail) from sec.security_check() where not ok",
        )
    }

    /// The books hold; a charge works and continues the numbers; its event can be sealed; and the books hold still.
    #[track_caller]
    pub fn goes_on(&self, card: &str) -> Row {
        assert_eq!(self.findings(), [] as [String; 0]);
        let highest = self.highest_number();
        let paid = self.charge(card, "1.00");
        assert!(paid["tx_id"].parse::<i64>().expect("an id") % 100_000_000_000 > highest, "{paid:?} after {highest}");
        self.session.run("call audit.seal()");
        let event = "select max(id) <= (select last_event_id from audit.head()) from audit.event_log";
        assert_eq!(self.session.value(event), "t", "the event of the charge is not sealed");
        assert_eq!(self.findings(), [] as [String; 0]);
        paid
    }
}
