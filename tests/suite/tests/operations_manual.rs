//! docs/operations.md, executed: every command in it, in its order, against servers in which a shop trades and the incidents
//! have happened. What stands in a `text` block below a command must be what came back (`…` stands for anything).
//!
//! `sql` goes to psql, `sh` to bash as the user of the server, both in one directory. A line `\set name value` or `name=value`
//! at the head of a block holds a value of the reader's case: the scene of the section puts its own there. A comment
//! `<!-- test: ... -->` above a block says where it runs and what is to become of it. `console` is shown, not run; which, and
//! why, is in [`NOT_RUN`].

use mps_tests::manual::{Block, commands_of, document, feed, matches, path_of_document};
use mps_tests::reader::{Address, Ran, Reader, filled};
use mps_tests::releases::{library_directory, newest};
use mps_tests::{Cluster, Member, NULL, Row, SHOP, Session, Till, free_port, nobody, program, q, until};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How commands begin that are shown and not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("apt-get install ", "installs a package of the system"),
    ("systemctl ", "restarts a service of the system"),
    ("make install ", "puts files into the Postgres that the other tests are using"),
    ("crontab ", "changes the jobs of the system's user"),
    ("pg_upgrade ", "stops two servers; operations_dump.rs runs it"),
];

/// How long an answer may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

// What it is run against --------------------------------------------------------------------------------------------------------

struct World {
    clusters: BTreeMap<&'static str, Cluster>,
    standby: Option<Address>,
    reader: Reader,
    has_pg_cron: bool,
    till: Option<Till>,
    /// The values of the present section.
    values: BTreeMap<String, String>,
    /// What the scene of the present section has to remember until the section is over.
    members: Vec<Member>,
    running: Vec<thread::JoinHandle<Row>>,
    sessions: Vec<Session>,
    number: String,
}

impl World {
    fn open() -> World {
        let answer = |sql: &str| program("psql", &["-XqAtc", sql]).expect("the server of the tests answers");
        let has_pg_cron = answer("select count(*) from pg_available_extensions where name = 'pg_cron'") == "1";
        let cron = if has_pg_cron { "-c shared_preload_libraries=pg_cron -c cron.database_name=shop" } else { "" };
        let own = format!("-c wal_level=logical {cron}");
        let retries = "-c wal_retrieve_retry_interval=200ms";
        let clusters = thread::scope(|scope| {
            let started = [("shop", own.as_str()), ("other", ""), ("spare", retries)]
                .map(|(name, options)| (name, scope.spawn(move || Cluster::start_with(options))));
            started.map(|(name, cluster)| (name, cluster.join().expect("a server starts")))
        });
        let clusters = BTreeMap::from(clusters);
        let directory = std::env::temp_dir().join(format!("mps-manual-{}", std::process::id()));
        let reader = Reader::of(&clusters["shop"], directory);
        World {
            clusters,
            standby: None,
            reader,
            has_pg_cron,
            till: None,
            values: BTreeMap::new(),
            members: Vec::new(),
            running: Vec::new(),
            sessions: Vec::new(),
            number: String::new(),
        }
    }

    fn address(&self, server: &str) -> Address {
        match (server, &self.standby) {
            ("standby", Some(address)) => address.clone(),
            _ => Address::of(self.clusters.get(server).unwrap_or_else(|| panic!("there is no server {server}"))),
        }
    }

    /// A superuser's session in a database of a server.
    fn session(&self, server: &str, database: &str) -> Session {
        self.clusters[server].superuser(database)
    }

    fn server_major(&self) -> u32 {
        let number = self.clusters["shop"].psql("postgres", "show server_version_num").expect("a number");
        number.parse::<u32>().expect("a number") / 10000
    }

    /// The till of the shop.
    fn till(&self) -> &Till {
        self.till.as_ref().expect("the shop is open")
    }

    fn shop(&self) -> &Session {
        &self.till().session
    }

    fn value(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    /// A program as the user of the servers, in the directory.
    fn command(&self, name: &str, server: &str) -> Command {
        self.reader.command(name, &self.address(server))
    }

    /// Runs a block once, with the values of the scene.
    fn attempt(&self, block: &Block) -> Ran {
        let place = block.note("on ").unwrap_or("shop");
        let (server, database) = place.split_once('/').unwrap_or((place, "shop"));
        let value = |name: &str| {
            let value = self.values.get(name).unwrap_or_else(|| panic!("{}: no scene has {name}", block.at()));
            Some(value.clone())
        };
        let command = self.reader.program_for(block, &self.address(server), database);
        self.reader.run(block, command, &filled(block, value))
    }

    fn run(&mut self, block: &Block) {
        let patience = if block.note("until").is_some() { PATIENCE } else { Duration::ZERO };
        let start = Instant::now();
        loop {
            let Ran { succeeded, said, variables } = self.attempt(block);
            let as_asked = succeeded == block.note("fails").is_none();
            let answered = block.answer.as_ref().is_none_or(|wanted| matches(wanted, &said));
            if as_asked && answered {
                self.reader.kept.extend(variables);
                return;
            }
            if start.elapsed() >= patience {
                let wanted = block.answer.as_deref().unwrap_or("(anything)");
                panic!(
                    "{}\n{}\n-- succeeded: {succeeded}, came back:\n{said}\n-- expected:\n{wanted}",
                    block.at(),
                    block.body
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A recipe that failed may have left the standby running.
        if self.reader.directory.join("standby/postmaster.pid").exists() {
            let _ = self.command("pg_ctl", "shop").args(["-D", "standby", "-m", "immediate", "stop"]).output();
        }
        let _ = fs::remove_dir_all(&self.reader.directory);
    }
}

// The scenes -------------------------------------------------------------------------------------------------------------------

/// What has happened before the commands below a heading are run, and what must hold after them.
struct Scene {
    heading: &'static str,
    before: fn(&mut World),
    after: fn(&mut World),
}

const SCENES: &[Scene] = &[
    Scene {
        heading: "1. Install and first set-up",
        before: |w| w.value("user", nobody().to_string()),
        after: |w| {
            w.till = Some(Till::open(w.session("shop", "shop")));
            let s = w.shop();
            assert_eq!(s.value("select role from app.merchant_users"), "owner");
            let li = s.row("select * from app.register_member('Li Lei', '13800000001')");
            s.run(&format!("select * from app.user_recharge_personal_card('{}', 200.00, 'cash')", &li["card_id"]));
            let paid = w.till().charge(&li["card_id"], "52.00");
            w.shop().run(&format!("select * from app.merchant_refund_tx('{SHOP}', '{}', 20.00)", &paid["tx_no"]));
            w.till().member("100.00");
            // The roles can do what their levels say.
            w.clusters["shop"].login("shop_ops", "shop").run("select * from app.health()");
            w.clusters["shop"].login("shop_server", "shop").run("select app.get_settings()");
        },
    },
    Scene {
        heading: "With pg_cron",
        before: |w| {
            let made = "create database branch template template0 encoding 'UTF8'";
            w.clusters["shop"].psql("postgres", made).expect("a second database");
            w.clusters["shop"].psql("branch", "create extension mps").expect("installs");
        },
        after: |_| {},
    },
    Scene {
        heading: "5. Backup and restore",
        before: |_| {},
        after: |w| {
            let card = w.shop().value("select min(id::text) from app.personal_cards");
            for (server, database) in [("other", "text"), ("other", "unowned"), ("spare", "shop")] {
                Till { session: w.session(server, database) }.goes_on(&card);
            }
            let restored = "select count(*) from app.transactions";
            assert_eq!(w.session("other", "shop").value(restored), w.shop().value(restored));
            w.clusters["other"].login("shop_server", "shop").run("select app.get_settings()");
            w.clusters["spare"].login("shop_server", "shop").run("select app.get_settings()");
        },
    },
    Scene {
        heading: "Standby",
        before: |w| {
            let port = free_port();
            w.value("port", &port);
            // What the server of the tests has on its command line, another has in its file.
            w.shop().run("alter system set max_connections = 200");
            let host = w.reader.directory.to_str().expect("a path").to_owned();
            w.standby = Some(Address { host, port, user: w.address("shop").user });
        },
        after: |w| {
            let charges = |sql: &str| {
                let mut command = w.command("psql", "standby");
                let out = feed(command.args(["-XqAt", "-d", "shop", "-v", "ON_ERROR_STOP=1"]), sql);
                assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
                String::from_utf8_lossy(&out.stdout).trim().to_owned()
            };
            let code = "select qr_plain from app.rotate_card_qr((select id from app.personal_cards where balance > 1 limit 1)) \\gset\n";
            let paid =
                charges(&format!("{code}select status from app.merchant_charge_by_qr('{SHOP}', :'qr_plain', 1.00);"));
            assert_eq!(paid, "completed");
            let stopped = w.command("pg_ctl", "shop").args(["-D", "standby", "-m", "fast", "-w", "stop"]).output();
            assert!(stopped.expect("pg_ctl").status.success());
        },
    },
    Scene {
        heading: "Logical replication",
        before: |w| {
            w.clusters["spare"].psql("postgres", "drop database shop with (force)").expect("is dropped");
            let publisher = w.clusters["shop"].connection("shop");
            w.value("publisher", publisher);
        },
        after: |w| {
            let all = "select string_agg(tx_no, ' ' order by id) from app.transactions";
            let here = w.session("spare", "shop");
            assert_eq!(here.value(all), w.shop().value(all));
            let ahead = "select count(*) from pg_inherits where inhparent = 'app.transactions'::regclass";
            assert_eq!(here.value(ahead), "13");
            let card = here.value("select id from app.personal_cards where balance > 1 limit 1");
            let till = Till { session: here };
            till.goes_on(&card);
            assert_ne!(till.member("1.00").card, NULL);
        },
    },
    Scene {
        heading: "7. Upgrade",
        before: |w| {
            let server = &w.clusters["shop"];
            server.psql("postgres", "create database old template template0 encoding 'UTF8'").expect("a database");
            let release = match library_directory(newest()) {
                Some(directory) => {
                    let path = format!("alter database old set dynamic_library_path = '{directory}:$libdir'");
                    server.psql("postgres", &path).expect("the library of the release before");
                    format!(" version '{}'", newest())
                }
                None => String::new(),
            };
            server.psql("old", &format!("create extension mps{release}")).expect("the release before");
            let dump = w.reader.directory.join("old.dump").to_str().expect("a path").to_owned();
            server.program("pg_dump", &["-Fc", "-f", &dump, "old"]).expect("dumps");
            let client = server.superuser("old");
            client.run("select app.get_settings()");
            w.sessions.push(client);
            w.value("dump", "old.dump");
        },
        after: |w| {
            // A session of before goes on.
            w.sessions.remove(0).run("select app.get_settings()");
            for database in ["old", "restored"] {
                let till = Till::open(w.session("shop", database));
                let card = till.member("10.00").card;
                till.goes_on(&card);
            }
        },
    },
    Scene {
        heading: "8. Archiving",
        before: |w| {
            // A card whose only movement was in January 2001.
            let member = w.shop().row("select * from app.register_member('Old')");
            let s = w.shop();
            s.run("select sec.make_month('2001-01-01')");
            let n: i64 = s.value("select nextval('app.tx_no_seq')").parse().expect("a number");
            let (id, tx, card) = (10_100_000_000_000 + n, format!("CZ0101{n:06}"), &member["card_id"]);
            let at = "2001-01-15 12:00:00+00";
            s.run(&format!(
                "insert into app.transactions (id, created_at, posted_at, card_seq, tx_type, status, card_type, payment_method, card_id, \
                    member_id, raw_amount, final_amount, balance_after, tx_no) \
                 values ({id}, '{at}', '{at}', 1, 'recharge', 'completed', 'personal', 'cash', '{card}', '{}', 10, 10, 10, '{tx}'); \
                 update app.personal_cards set balance = 10, card_seq = 1, last_tx_id = {id}, last_posted_at = '{at}' where id = '{card}'; \
                 insert into audit.event_log (id, happened_at, actor_role, action, object_type, object_id, context) \
                 values (nextval('audit.event_id_seq'), '{at}', 'postgres', 'recharge', 'transaction', '{tx}', '{{\"change\": \"10.00\"}}')",
                &member["member_id"]
            ));
            assert_eq!(w.till().findings(), [] as [String; 0]);
            w.number = card.to_owned();
            w.value("keep_from", "2001-02-01");
            w.value("month", "200101");
            w.value("tx", tx);
        },
        after: |w| {
            assert_eq!(w.shop().value("select count(*) from mps_archive.transactions_200101"), "1");
            let card = w.number.clone();
            w.till().charge(&card, "1.00");
            w.holds();
        },
    },
    Scene {
        heading: "9. Incidents",
        before: |w| {
            w.value("phone", "13800000001");
            w.value("card_no", "VIP00000001");
        },
        after: |_| {},
    },
    Scene {
        heading: "Wrong amount",
        before: |w| {
            let tx = w.recharged("1000.00");
            w.value("tx", tx);
        },
        after: |w| w.has(0, "100.00", "active"),
    },
    Scene {
        heading: "Wrong card",
        before: |w| {
            let tx = w.recharged("100.00");
            w.recharged("50.00");
            let right = w.members[1].card_no.clone();
            w.value("tx", tx);
            w.value("right_card", right);
        },
        after: |w| {
            w.has(0, "0.00", "active");
            w.has(1, "150.00", "active");
        },
    },
    Scene {
        heading: "A recharge confirmed late",
        before: |w| {
            let tx = w.asked_for("30.00");
            w.shop().run(&format!("select * from app.fail_recharge('{tx}', 'no notice came')"));
            w.value("tx", tx);
            w.value("trade_no", "wx-4200001");
        },
        after: |w| w.has(0, "31.00", "active"),
    },
    Scene {
        heading: "Money in suspense",
        before: |w| {
            // One order that was paid four times.
            let tx = w.asked_for("30.00");
            let card_no = w.members[0].card_no.clone();
            for (n, status) in [(0, "completed"), (1, "suspense"), (2, "suspense"), (3, "suspense")] {
                let confirm = format!("select * from app.confirm_recharge('{tx}', 30.00, 'wx-420001{n}')");
                assert_eq!(&w.shop().row(&confirm)["status"], status);
            }
            assert_eq!(w.shop().value("select ok from app.health() where check_name = 'suspense'"), "f");
            w.value("trade_no", "wx-4200011");
            w.value("back_trade_no", "wx-4200012");
            w.value("wrong_trade_no", "wx-4200013");
            w.value("card_no", card_no);
        },
        after: |w| w.has(0, "61.00", "active"),
    },
    Scene {
        heading: "A closed card was credited",
        before: |w| {
            let tx = w.asked_for("25.00");
            let card = w.members[0].clone();
            w.till().charge(&card.card, "1.00");
            let s = w.shop();
            s.run(&format!("select * from app.fail_recharge('{tx}', 'no notice came')"));
            s.run(&format!("select app.set_card_status('{}', 'personal', 'closed', 'left us')", card.card));
            s.run(&format!("select * from app.confirm_recharge('{tx}', 25.00, 'wx-4200002')"));
            let seen = "select ok from app.health() where check_name = 'closed_cards_with_balance'";
            assert_eq!(s.value(seen), "f");
            w.value("card_no", card.card_no);
        },
        after: |w| w.has(0, "0.00", "closed"),
    },
    Scene {
        heading: "A lost card",
        before: |w| {
            w.recharged("80.00");
            let card = w.members[0].clone();
            w.number = w.code(&card.card);
            w.value("card_no", card.card_no);
        },
        after: |w| {
            w.has(0, "0.00", "closed");
            let charge = format!("select * from app.merchant_charge_by_qr('{SHOP}', {}, 1.00)", q(&w.number));
            assert_eq!(w.shop().failure(&charge).code, "PT410", "the code of the lost card");
            let new = w.shop().row(&format!(
                "select n.id, n.balance, n.status from app.personal_cards o join app.personal_cards n on n.id = \
                    o.replaced_by where o.id = '{}'",
                w.members[0].card
            ));
            assert_eq!((&new["balance"], &new["status"]), ("80.00", "active"));
            let new = new["id"].to_owned();
            w.till().charge(&new, "1.00");
        },
    },
    Scene {
        heading: "A pay code leaked",
        before: |w| {
            w.recharged("100.00");
            let card = w.members[0].clone();
            let paid = w.till().charge(&card.card, "60.00")["tx_no"].to_owned();
            w.number = w.code(&card.card);
            w.value("card_no", card.card_no);
            w.value("tx", paid);
        },
        after: |w| {
            w.has(0, "100.00", "active");
            let charge = format!("select * from app.merchant_charge_by_qr('{SHOP}', {}, 1.00)", q(&w.number));
            assert_eq!(w.shop().failure(&charge).code, "PT410", "the code that leaked");
        },
    },
    Scene {
        heading: "A backend's password leaked",
        before: |w| {
            let since = w.shop().value("select clock_timestamp()");
            let thief = w.clusters["shop"].login("shop_server", "shop");
            let card = thief.row("select * from app.register_member('Nobody')");
            let (id, no) = (card["card_id"].to_owned(), card["card_no"].to_owned());
            let paid = thief.row(&format!("select * from app.user_recharge_personal_card('{id}', 500.00, 'cash')"));
            w.members.push(Member { id: nobody(), no: String::new(), card: id, card_no: no });
            w.value("since", since);
            w.value("tx", &paid["tx_no"]);
            w.sessions.push(thief);
        },
        after: |w| {
            assert_eq!(w.sessions.remove(0).failure("select 1").code, "57P01");
            w.has(0, "0.00", "frozen");
            w.clusters["shop"].login("shop_server", "shop").run("select app.get_settings()");
        },
    },
    Scene {
        heading: "A broken seal",
        before: |w| {
            let s = w.shop();
            let event = s.value("select min(id) from audit.event_log where action = 'payment'");
            let log = s.value(&format!("select tableoid::regclass from audit.event_log where id = {event}"));
            s.run(&format!(
                "alter table {log} disable trigger append_only; \
                 update {log} set context = '{{\"change\": \"-5.20\"}}' where id = {event}; \
                 alter table {log} enable always trigger append_only"
            ));
            let heads =
                fs::read_to_string(w.reader.directory.join("audit-heads.txt")).expect("the heads that were kept");
            let head = heads.lines().last().and_then(|l| l.rsplit(' ').next()).expect("a head").to_owned();
            w.value("event", event);
            w.value("head", head);
        },
        after: |_| {},
    },
    Scene {
        heading: "The books differ",
        before: |w| {
            w.recharged("80.00");
            let card = w.members[0].clone();
            w.shop().run(&format!("update app.personal_cards set balance = balance + 1000 where id = '{}'", card.card));
            w.value("card_no", card.card_no);
        },
        after: |w| w.has(0, "80.00", "active"),
    },
    Scene {
        heading: "A stuck charge",
        before: |w| {
            w.recharged("50.00");
            let card = w.members[0].card.clone();
            let code = w.code(&card);
            let (holder, till) = (w.session("shop", "shop"), w.session("shop", "shop"));
            holder.run(&format!("begin; select 1 from app.personal_cards where id = '{card}' for update"));
            w.sessions.push(holder);
            w.running.push(thread::spawn(move || {
                till.row(&format!("select * from app.merchant_charge_by_qr('{SHOP}', {}, 20.00)", q(code)))
            }));
            let waits = "select count(*) from pg_stat_activity where datname = 'shop' and wait_event_type = 'Lock'";
            until("the charge waits", PATIENCE, || w.shop().value(waits) == "1");
        },
        after: |w| {
            let paid = w.running.remove(0).join().expect("the charge went through");
            assert_eq!(&paid["status"], "completed");
            w.has(0, "30.00", "active");
            w.sessions.clear();
        },
    },
    Scene {
        heading: "Sequences behind their tables",
        before: |w| {
            w.recharged("10.00");
            let s = w.shop();
            let sequences = "select count(setval(format('%I.%I', schemaname, sequencename), 1, false)) from pg_sequences \
                where schemaname in ('app', 'audit')";
            assert_eq!(s.value(sequences), "13", "as many as the recipe brings up");
            let refused = s.failure(&format!("select * from app.rotate_card_qr('{}')", w.members[0].card));
            assert_eq!(refused.code, "23505", "{refused:?}");
        },
        after: |w| {
            let behind =
                "select count(*) from pg_sequences where schemaname in ('app', 'audit') and last_value is null";
            assert_eq!(w.shop().value(behind), "0");
            let card = w.members[0].card.clone();
            w.till().goes_on(&card);
            w.till().member("1.00");
            w.shop().run("select * from app.create_enterprise_card('Great Wall Ltd')");
            w.shop().run("select * from app.create_merchant('SHOP-002', 'Second')");
        },
    },
    Scene {
        heading: "Disk full, too many connections",
        before: |w| {
            w.shop().run("select pg_create_physical_replication_slot('old_standby')");
            w.value("slot", "old_standby");
        },
        after: |w| {
            let left = "select count(*) from pg_replication_slots where slot_name = 'old_standby'";
            assert_eq!(w.shop().value(left), "0");
        },
    },
    Scene {
        heading: "10. Removing everything",
        before: |w| {
            let failure = w.session("spare", "shop").failure("select * from sec.destroy_everything('')");
            let (_, sentence) = failure.detail.split_once("p_confirm has to be: ").expect("a sentence");
            w.value("confirm", sentence);
        },
        after: |w| {
            // It can begin afresh.
            w.clusters["spare"].psql("shop", "create extension mps").expect("installs");
            let till = Till::open(w.session("spare", "shop"));
            assert_eq!(till.member("1.00").no, "M00000001");
        },
    },
];

impl World {
    /// A new member of the scene whose card was given this much; the recharge.
    fn recharged(&mut self, amount: &str) -> String {
        let member = self.till().member(amount);
        let last = format!("select max(tx_no) from app.transactions where card_id = '{}'", member.card);
        let tx = self.shop().value(&last);
        self.members.push(member);
        tx
    }

    /// A new member of the scene, with 1.00, who has asked for a recharge by itself; the recharge.
    fn asked_for(&mut self, amount: &str) -> String {
        self.recharged("1.00");
        let member = self.members.last().expect("just made");
        let app = self.clusters["shop"].login("app_role", "shop");
        app.run(&format!("select set_config('request.jwt.claims', '{{\"sub\": \"{}\"}}', false)", member.id));
        let asked = app.row(&format!("select * from app.user_recharge_personal_card('{}', {amount})", member.card));
        assert_eq!(&asked["status"], "processing");
        asked["tx_no"].to_owned()
    }

    fn code(&self, card: &str) -> String {
        self.shop().row(&format!("select * from app.rotate_card_qr('{card}')"))["qr_plain"].to_owned()
    }

    /// What a card of the scene must hold and be.
    #[track_caller]
    fn has(&self, member: usize, balance: &str, status: &str) {
        let card = &self.members[member].card;
        let row = self.shop().row(&format!("select balance, status from app.personal_cards where id = '{card}'"));
        assert_eq!((&row["balance"], &row["status"]), (balance, status));
    }

    /// Books, log and rights of the shop are in order.
    #[track_caller]
    fn holds(&self) {
        assert_eq!(self.till().findings(), [] as [String; 0]);
    }
}

// The test --------------------------------------------------------------------------------------------------------------------

#[test]
fn every_command_of_the_manual_works_and_answers_as_it_says() {
    let blocks = commands_of("docs/operations.md");
    let mut world = World::open();
    for section in blocks.chunk_by(|a, b| a.heading == b.heading) {
        // Its scene begins with the release before, which cannot be installed on PostgreSQL 17 and newer.
        if section[0].heading == "7. Upgrade" && world.server_major() >= 17 {
            eprintln!("SKIPPED {}: the release before cannot be installed on this Postgres", section[0].at());
            continue;
        }
        let scene = SCENES.iter().find(|s| s.heading == section[0].heading);
        if let Some(scene) = scene {
            (scene.before)(&mut world);
        }
        for block in section {
            match block.language.as_str() {
                "console" => {}
                "sql" | "sh" if block.note("needs pg_cron").is_some() && !world.has_pg_cron => {
                    eprintln!("SKIPPED {}: this Postgres has no pg_cron (Debian: postgresql-NN-cron)", block.at());
                }
                "sql" | "sh" => world.run(block),
                other => panic!("{}: a block in {other:?}, which nobody can run", block.at()),
            }
        }
        if let Some(scene) = scene {
            (scene.after)(&mut world);
        }
        if world.till.is_some() {
            world.holds();
        }
        world.values.clear();
        world.reader.kept.clear();
        world.members.clear();
        assert!(world.sessions.is_empty() && world.running.is_empty());
    }
}

#[test]
fn every_block_is_of_a_known_kind_and_every_link_leads_somewhere() {
    let blocks = commands_of("docs/operations.md");
    let (mut headings, mut shown) = (BTreeSet::new(), BTreeSet::new());
    for block in &blocks {
        headings.insert(block.heading.as_str());
        assert!(["sql", "sh", "console"].contains(&block.language.as_str()), "{}: {:?}", block.at(), block.language);
        for note in &block.notes {
            let known = ["on ", "as ", "fails", "until", "needs pg_cron"].iter().any(|k| note.starts_with(k));
            assert!(known, "{}: {note:?}", block.at());
        }
        for line in block.body.lines().filter(|_| block.language == "console") {
            let listed = NOT_RUN.iter().find(|(begins, _)| line.starts_with(begins));
            shown.insert(listed.unwrap_or_else(|| panic!("{}: not run, but why? {line}", block.at())).0);
        }
    }
    let unused: Vec<_> = NOT_RUN.iter().filter(|(begins, _)| !shown.contains(begins)).collect();
    assert!(unused.is_empty(), "not in the manual any more: {unused:?}");
    for scene in SCENES {
        assert!(headings.contains(scene.heading), "no commands below {:?}: is the scene out of date?", scene.heading);
    }

    let text = document("docs/operations.md");
    let fences = text.lines().filter(|l| l.trim_start().starts_with("```")).count();
    let answers = blocks.iter().filter(|b| b.answer.is_some()).count();
    assert_eq!((blocks.len() + answers) * 2, fences, "a block that was not read");
    assert!(blocks.len() > 100, "only {} commands?", blocks.len());
    // As GitHub names them.
    let anchor = |heading: &str| -> String {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    let anchors: BTreeSet<String> =
        text.lines().filter(|l| l.starts_with("##")).map(|l| anchor(l.trim_start_matches(['#', ' ']))).collect();
    for link in text.split("](").skip(1).map(|l| l.split(')').next().unwrap_or_default()) {
        match link.split_once('#') {
            Some(("", name)) => assert!(anchors.contains(name), "no section {name}"),
            _ => {
                let file =
                    path_of_document("docs/operations.md").with_file_name(link.split('#').next().unwrap_or_default());
                assert!(file.exists(), "no file {link}");
            }
        }
    }
}
