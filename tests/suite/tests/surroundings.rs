//! docs/surroundings.md, executed, and what it claims of poolers and logs, tried.
//!
//! Its blocks are read as those of the manual. A comment `<!-- test: ... -->` says: `as ROLE`, `through the pooler`, `on DATABASE`,
//! `needs PROGRAM` (skipped aloud where there is none), `by FILE` (another test's).

use mps_tests::manual::{Block, commands_of, matches};
use mps_tests::reader::{Address, Ran, Reader, filled};
use mps_tests::releases::{library_directory, newest};
use mps_tests::{Cluster, Member, Scratch, Session, Till, free_port, program, until};
use postgres::{Client, Config, NoTls};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

const PASSWORD: &str = "***";
const PATIENCE: Duration = Duration::from_secs(20);

/// The pooler to try: Debian's, or another one that a variable names.
fn pgbouncer() -> Option<String> {
    let named = std::env::var("MPS_PGBOUNCER").unwrap_or_default();
    let candidates = [named.as_str(), "/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
    candidates.into_iter().find(|c| !c.is_empty() && std::path::Path::new(c).exists()).map(Into::into)
}

/// A server with a shop, and room for what runs beside it.
struct World {
    cluster: Cluster,
    scratch: Scratch,
    reader: Reader,
    pool: String,
    member: Option<Member>,
}

impl World {
    fn open(options: &str, release: &str) -> World {
        let cluster = Cluster::start_with(options);
        let scratch = Scratch::new("surroundings");
        let reader = Reader::of(&cluster, scratch.path());
        let world = World { cluster, scratch, reader, pool: free_port(), member: None };
        world.psql("create database shop template template0 encoding 'UTF8'");
        if !release.is_empty() {
            let library = library_directory(release).expect("looked at before");
            world.psql(&format!("alter database shop set dynamic_library_path = '{library}:$libdir'"));
        }
        let s = world.superuser();
        let version = if release.is_empty() { String::new() } else { format!(" version '{release}'") };
        s.run(&format!("create extension mps{version}"));
        for (role, level) in [("app_role", "client"), ("shop_server", "backend"), ("shop_ops", "operator")] {
            s.run(&format!("create role {role} login noinherit password '{PASSWORD}'"));
            s.run(&format!("select sec.grant_api('{role}', '{level}')"));
        }
        world
    }

    fn psql(&self, sql: &str) {
        self.cluster.psql("postgres", sql).expect("works");
    }

    fn superuser(&self) -> Session {
        self.cluster.superuser("shop")
    }

    /// Opens the till, with a member that has 100.00.
    fn trade(&mut self) -> Till {
        let till = Till::open(self.superuser());
        self.member = Some(till.member("100.00"));
        till
    }

    fn command(&self, name: &str) -> Command {
        self.reader.command(name, &Address::of(&self.cluster))
    }

    /// A value of the reader's case, as it is here.
    fn value(&self, name: &str) -> String {
        let member = || self.member.as_ref().expect("the till is open");
        let address = Address::of(&self.cluster);
        match name {
            "host" => address.host,
            "port" => address.port,
            "pool" => self.pool.clone(),
            "card_id" => member().card.clone(),
            "member_id" => member().id.to_string(),
            other => panic!("what is {other:?}?"),
        }
    }

    fn run(&self, block: &Block) {
        // What bash is given are also lines of a file of the pooler's.
        let is_ours = |name: &str| block.language == "sql" || ["host", "port", "pool"].contains(&name);
        let text = filled(block, |name| is_ours(name).then(|| self.value(name)));
        let server = Address::of(&self.cluster);
        let mut command = self.reader.program_for(block, &server, block.note("on ").unwrap_or("shop"));
        if block.language == "sh" {
            // Where this machine keeps the pooler.
            let program = pgbouncer().unwrap_or_default();
            let directory = program.rsplit_once('/').map_or("", |p| p.0);
            command.env("PATH", format!("{}:{directory}", std::env::var("PATH").unwrap_or_default()));
        }
        if block.note("through the pooler").is_some() {
            command.env("PGHOST", "127.0.0.1").env("PGPORT", &self.pool).env("PGPASSWORD", PASSWORD);
        }
        let Ran { succeeded, said, .. } = self.reader.run(block, command, &text);
        assert!(succeeded, "{}\n{text}\n{said}", block.at());
        if block.body.contains("pgbouncer -q") {
            // It goes into the background before it listens.
            let listens = || TcpStream::connect(format!("127.0.0.1:{}", self.pool)).is_ok();
            until("the pooler listens", PATIENCE, listens);
        }
        if let Some(wanted) = &block.answer {
            assert!(matches(wanted, &said), "{}\n{text}\n-- came back:\n{said}\n-- expected:\n{wanted}", block.at());
        }
    }

    /// What the server has written into its log since then; and where the log ends now.
    fn logged(&self, since: usize) -> (String, usize) {
        let s = self.superuser();
        let log = s.value("select pg_read_file(current_setting('data_directory') || '/../log')");
        (log[since.min(log.len())..].to_owned(), log.len())
    }

    /// Starts the pooler as the document says.
    fn pool(&self) {
        let block = commands_of("docs/surroundings.md").into_iter().find(|b| b.body.contains("pgbouncer.ini"));
        self.run(&block.expect("the document starts one"));
    }

    /// Through the pooler, as somebody.
    fn through(&self, role: &str) -> Client {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.pool.parse().expect("a port"));
        config.user(role).password(PASSWORD).dbname("shop");
        config.connect(NoTls).unwrap_or_else(|e| panic!("{role} through the pooler: {e}"))
    }

    /// A command of the pooler's own.
    fn ask_pooler(&self, what: &str) -> String {
        let mut command = self.command("psql");
        command.args(["-XAtqh", "127.0.0.1", "-p", &self.pool, "-U", "shop_ops", "-c", what, "pgbouncer"]);
        let out = command.env("PGPASSWORD", PASSWORD).output().expect("psql");
        assert!(out.status.success(), "{what}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(format!("{}/pgbouncer.pid", self.scratch.path()));
        if let Ok(pid) = pid {
            let _ = Command::new("kill").arg(pid.trim()).output();
        }
    }
}

/// One value of the first row, as text.
fn one(client: &mut Client, sql: &str) -> String {
    use postgres::SimpleQueryMessage::Row;
    let rows = client.simple_query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let row = rows.iter().find_map(|m| if let Row(row) = m { Some(row) } else { None });
    row.and_then(|r| r.get(0)).unwrap_or_default().to_owned()
}

fn available(name: &str) -> bool {
    let sql = format!("select count(*) from pg_available_extensions where name = '{name}'");
    program("psql", &["-XqAtc", &sql]).expect("the server of the tests answers") == "1"
}

fn is_there(need: &str) -> bool {
    if need == "pgbouncer" { pgbouncer().is_some() } else { available(need) }
}

#[test]
fn every_command_works_and_answers_as_it_says() {
    let preload = if available("pgaudit") { "-c shared_preload_libraries=pgaudit" } else { "" };
    let mut world = World::open(&format!("-c wal_level=logical {preload}"), "");
    let till = world.trade();
    world.superuser().run("create publication supabase_realtime");
    world.superuser().run("call audit.seal()");
    let blocks = commands_of("docs/surroundings.md");
    assert!(blocks.len() >= 20, "only {} commands?", blocks.len());
    for block in &blocks {
        match (block.language.as_str(), block.note("needs ")) {
            _ if block.note("by ").is_some() => {}
            ("sql" | "sh", Some(need)) if !is_there(need) => {
                eprintln!("SKIPPED {}: there is no {need} (Debian: {need}, or postgresql-NN-{need})", block.at());
            }
            ("sql" | "sh", _) => world.run(block),
            (other, _) => panic!("{}: a block in {other:?}, which nobody can run", block.at()),
        }
    }
    // With the publication, the columns of it, and the logger of DDL in place.
    let card = world.member.as_ref().expect("open").card.clone();
    till.goes_on(&card);
    assert_eq!(till.findings(), [] as [String; 0]);
    if available("pgaudit") {
        let (_, since) = world.logged(0);
        let s = world.superuser();
        let code = s.value(&format!("select qr_plain from app.rotate_card_qr('{card}')"));
        s.run(&format!("select * from app.merchant_charge_by_qr('SHOP-001', '{code}', 1.00)"));
        let (log, _) = world.logged(since);
        let line = "FUNCTION,EXECUTE,FUNCTION,app.merchant_charge_by_qr,<not logged>,<not logged>";
        assert!(log.contains(line) && !log.contains(&code), "{log}");
    }
}

#[test]
fn pgaudit_sees_calls_by_session_and_nothing_by_object() {
    if !available("pgaudit") {
        eprintln!("SKIPPED pgaudit: this Postgres has none (Debian: postgresql-NN-pgaudit)");
        return;
    }
    let mut world = World::open("-c shared_preload_libraries=pgaudit -c pgaudit.role=auditor", "");
    let till = world.trade();
    let s = world.superuser();
    s.run("create extension pgaudit; create role auditor");
    s.run("grant insert, update on app.transactions, app.personal_cards to auditor");
    let card = world.member.as_ref().expect("open").card.clone();
    let charged = |settings: &str| {
        let (_, since) = world.logged(0);
        s.run(settings);
        till.session.run(settings);
        till.charge(&card, "1.00");
        world.logged(since).0
    };
    let log = charged("set pgaudit.log = 'none'");
    assert!(!log.contains("AUDIT: OBJECT"), "{log}");
    let log = charged("set pgaudit.log = 'write'");
    assert!(!log.contains("AUDIT: SESSION"), "{log}");
    let log = charged("set pgaudit.log = 'function'");
    assert!(log.contains("AUDIT: SESSION") && log.contains("app.merchant_charge_by_qr"), "{log}");
    // What object auditing would want granted is a fault.
    let rule = "select ok from sec.security_check() where rule = 'no role but the owner may write'";
    assert_eq!(s.value(rule), "f");
    s.run("drop owned by auditor");
    assert_eq!(s.value(rule), "t");
}

#[test]
fn logs_show_a_code_where_the_document_says() {
    // auto_explain comes in the same package, and is no extension that could be asked for.
    if !available("pg_stat_statements") {
        eprintln!("SKIPPED the logs: this Postgres has none of the server's own modules (Debian: postgresql-NN)");
        return;
    }
    let preload = "-c shared_preload_libraries=auto_explain,pg_stat_statements";
    let mut world = World::open(preload, "");
    world.trade();
    let s = world.superuser();
    s.run("create extension pg_stat_statements");
    let card = world.member.as_ref().expect("open").card.clone();
    let mut client = Client::connect(&world.cluster.connection("shop"), NoTls).expect("connects");
    let mut shown = |settings: &str, by_parameter: bool, amount: &str| {
        client.batch_execute("reset all").expect("resets");
        client.batch_execute(settings).expect(settings);
        let code = s.value(&format!("select qr_plain from app.rotate_card_qr('{card}')"));
        let (_, since) = world.logged(0);
        // Refused or not.
        let _ = if by_parameter {
            let sql = format!("select tx_no from app.merchant_charge_by_qr('SHOP-001', $1, {amount})");
            client.query(&sql, &[&code]).map(|_| ())
        } else {
            client
                .batch_execute(&format!("select tx_no from app.merchant_charge_by_qr('SHOP-001', '{code}', {amount})"))
        };
        // The server writes before it answers.
        world.logged(since).0.contains(&code)
    };
    let (paid, refused) = ("0.01", "99999.00");
    let off = "set log_min_duration_statement = -1";
    // Settings; by a parameter; in the text; and by a parameter with the two settings of the document.
    let kept_out = "set log_parameter_max_length = 0; set log_parameter_max_length_on_error = 0";
    for (settings, amount, parameter, text, kept) in [
        (off, paid, false, false, false),
        (off, refused, false, true, false),
        ("set log_min_error_statement = panic", refused, false, false, false),
        ("set log_parameter_max_length_on_error = -1", refused, true, true, false),
        ("set log_statement = 'all'", paid, true, true, false),
        ("set log_statement = 'mod'", paid, false, false, false),
        ("set log_min_duration_statement = 0", paid, true, true, false),
        ("set log_min_duration_sample = 0; set log_statement_sample_rate = 1", paid, true, true, false),
    ] {
        assert_eq!(shown(settings, true, amount), parameter, "{settings}, by a parameter");
        assert_eq!(shown(settings, false, amount), text, "{settings}, in the text");
        assert_eq!(shown(&format!("{settings}; {kept_out}"), true, amount), kept, "{settings}, kept out");
    }
    assert!(shown("set auto_explain.log_min_duration = 0", false, paid), "auto_explain, in the text");
    let newer = s.value("select current_setting('server_version_num')::int >= 160000") == "t";
    assert_eq!(shown("set auto_explain.log_min_duration = 0", true, paid), newer, "auto_explain, by a parameter");
    if newer {
        let without = "set auto_explain.log_min_duration = 0; set auto_explain.log_parameter_max_length = 0";
        assert!(!shown(without, true, paid), "auto_explain, kept out");
    }
    assert_eq!(s.value("select count(*) from pg_stat_statements where query ~ 'MPS[A-Z2-7]{20}'"), "0");
    assert_ne!(s.value("select count(*) from pg_stat_statements where query ~ 'merchant_charge_by_qr'"), "0");
    // Nor is one in what MPS keeps.
    let tables = "select count(*) from audit.event_log e where e::text ~ 'MPS[A-Z2-7]{20}'";
    assert_eq!(s.value(tables), "0");
}

#[test]
fn calls_go_through_a_pooler_and_claims_never_reach_the_next_client() {
    if pgbouncer().is_none() {
        eprintln!("SKIPPED the pooler: there is no pgbouncer (Debian: pgbouncer; MPS_PGBOUNCER names another)");
        return;
    }
    let mut world = World::open("", "");
    let till = world.trade();
    world.pool();
    let members: Vec<Member> = (0..6).map(|_| till.member("50.00")).collect();
    std::thread::scope(|scope| {
        for member in &members {
            let world = &world;
            scope.spawn(move || {
                let mut phone = world.through("app_role");
                let mut server = world.through("shop_server");
                let claims = format!(r#"select set_config('request.jwt.claims', '{{"sub": "{}"}}', true);"#, member.id);
                let as_member = |phone: &mut Client, sql: &str| {
                    phone.batch_execute(&format!("begin; {claims}")).expect("begins");
                    let answer = one(phone, sql);
                    phone.batch_execute("commit").expect("commits");
                    answer
                };
                for round in 0..20 {
                    // Whoever had this connection before has left nothing.
                    assert_eq!(one(&mut phone, "select count(*) from app.v_user_cards"), "0");
                    let own = as_member(&mut phone, "select string_agg(card_id::text, ' ') from app.v_user_cards");
                    assert_eq!(own, member.card, "another's card");
                    let rotate = format!("select qr_plain from app.rotate_card_qr('{}')", member.card);
                    let code = as_member(&mut phone, &rotate);
                    let key = format!("{}-{round}", member.card);
                    let charge = format!(
                        "select tx_no from app.merchant_charge_by_qr('SHOP-001', '{code}', 2.00, p_idempotency_key => '{key}')"
                    );
                    let tx_no = one(&mut server, &charge);
                    assert_eq!(one(&mut server, &charge), tx_no, "a replay");
                    one(&mut server, &format!("select 1 from app.merchant_refund_tx('SHOP-001', '{tx_no}', 1.00)"));
                }
                let balance = as_member(&mut phone, "select balance from app.v_user_cards");
                assert_eq!(balance, "30.00");
            });
        }
    });
    // What the document says never to do: the next client is that user.
    let mut careless = world.through("app_role");
    let mut next = world.through("app_role");
    careless
        .batch_execute(&format!(r#"select set_config('request.jwt.claims', '{{"sub": "{}"}}', false)"#, members[0].id))
        .expect("sets");
    let seen: Vec<String> = (0..3).map(|_| one(&mut next, "select count(*) from app.v_user_cards")).collect();
    assert!(seen.contains(&"1".into()), "{seen:?}: then the document warns of nothing");
    world.ask_pooler("RECONNECT shop");
    assert_eq!(one(&mut next, "select count(*) from app.v_user_cards"), "0");
    // Procedures commit inside.
    world.through("shop_ops").batch_execute("call app.maintain_partitions()").expect("commits on one connection");
    assert_eq!(till.findings(), [] as [String; 0]);
}

#[test]
fn an_upgrade_behind_a_pooler_stops_nobody() {
    if pgbouncer().is_none() || library_directory(newest()).is_none() {
        eprintln!("SKIPPED the upgrade behind a pooler: there is no pgbouncer, or no history of {}", newest());
        return;
    }
    let mut world = World::open("", newest());
    world.trade();
    world.pool();
    let card = world.member.as_ref().expect("open").card.clone();
    let mut server = world.through("shop_server");
    let pay = |server: &mut Client| {
        let code = one(server, &format!("select qr_plain from app.rotate_card_qr('{card}')"));
        one(server, &format!("select tx_no from app.merchant_charge_by_qr('SHOP-001', '{code}', 1.00)"))
    };
    pay(&mut server);
    let backend = one(&mut server, "select pg_backend_pid()");
    world.superuser().run("alter extension mps update");
    // The connection of before goes on, until the pooler replaces it.
    pay(&mut server);
    assert_eq!(one(&mut server, "select pg_backend_pid()"), backend);
    world.ask_pooler("RECONNECT shop");
    until("the connection is a new one", PATIENCE, || one(&mut server, "select pg_backend_pid()") != backend);
    pay(&mut server);
    assert_eq!(world.superuser().value("select count(*) from app.transactions where tx_type = 'payment'"), "3");
    assert_eq!(world.superuser().value("select count(*) from app.verify_books() where not ok"), "0");
}
