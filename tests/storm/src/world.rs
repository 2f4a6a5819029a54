//! The stage of one storm: a database of its own, merchants, members, a few hot cards and many cold ones, and what the
//! clients share.

use crate::db::{Address, Isolation, Link, Refusal, Server, Who};
use crate::model::{Account, Books, CAMPAIGNS, COUPONS, CardKind, Numbered, Right, VersionClock, levels, thousandths};
use crate::receipts::Receipts;
use crate::request::{Answer, Request};
use postgres::Client;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use uuid::Uuid;

const HOT_PERSONAL: usize = 3;
const HOT_ENTERPRISE: usize = 2;
const COLD_PERSONAL: usize = 60;
const COLD_ENTERPRISE: usize = 8;
/// Paying members of an enterprise card, its admin among them.
const ENTERPRISE_MEMBERS: usize = 8;
const MERCHANTS: usize = 4;
/// Low, so that the limit is met; in currency units.
pub const MAX_BALANCE: i64 = 20_000;
/// What every card starts with, in currency units.
const STARTING_BALANCE: i64 = 2_000;
/// What a job gives to everybody.
const TO_ALL: &str = r#"{"code": "all", "name": "For all", "kind": "amount_off", "value": 1}"#;
/// Requests kept for being sent again, payments for being refunded, recharges for being settled.
const POOL: usize = 2_000;

pub struct Merchant {
    pub code: String,
    pub operator: Uuid,
    /// Whether some client switches it off and on.
    pub moody: bool,
}

/// A payment that can be refunded.
#[derive(Clone)]
pub struct Payment {
    pub tx_no: String,
    pub merchant: usize,
    pub paid: i64,
    pub account: Numbered,
    /// The shop's own number.
    pub order: Option<String>,
}

/// A recharge that waits for its money.
#[derive(Clone)]
pub struct Waiting {
    pub tx_no: String,
    pub amount: i64,
}

/// What one client alone uses, so that it knows what must happen.
pub struct Own {
    /// A personal card.
    pub account: Numbered,
    /// A member that this client binds to and unbinds from a hot enterprise card, suspends and restores.
    pub floater: Uuid,
}

pub struct World {
    pub server: Server,
    pub seed: u64,
    /// Whether this release seals its log.
    pub has_seals: bool,
    /// Whether it can be made read only.
    pub has_modes: bool,
    pub receipts: Receipts,
    pub sealing: Mutex<()>,
    pub merchants: Vec<Merchant>,
    pub accounts: RwLock<Vec<Arc<Account>>>,
    pub own: Vec<Own>,
    pub levels: VersionClock,
    pub campaigns: VersionClock,
    pub payments: Mutex<VecDeque<Payment>>,
    /// Those of 0.00, which a coupon paid all of.
    pub free: Mutex<VecDeque<Payment>>,
    pub waiting: Mutex<VecDeque<Waiting>>,
    /// In how many bills each payment of a gateway stands: in the later one of two it is there twice.
    pub billed: Mutex<HashMap<String, u32>>,
    pub done: Mutex<VecDeque<Arc<(Request, Answer)>>>,
    /// Numbers of any kind of transaction, for corrections; with their accounts.
    pub correctable: Mutex<VecDeque<(String, Numbered)>>,
    /// What members have of coupons, as far as they know.
    pub rights: Mutex<VecDeque<Right>>,
    /// Held by who pauses one.
    pub pausing: Mutex<()>,
    /// What the one with a budget has by now.
    pub budget: Mutex<i64>,
    pub stop: AtomicBool,
    pub operations: AtomicU64,
    books: Mutex<Books>,
}

impl World {
    /// Makes the database and everything in it.
    pub fn set_up(seed: u64, clients: usize, rough: bool) -> Result<World, String> {
        let address = Address::from_environment()?;
        let database = format!("mps_storm_{}_{}", std::process::id(), if rough { "rough" } else { "calm" });
        let server = Server {
            address: RwLock::new(address),
            client_role: format!("{database}_till"),
            backend_role: format!("{database}_shop"),
            database,
            rough,
            is_standby: false,
            gone: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            not_serializable: AtomicU64::new(0),
            history: Mutex::default(),
            read_only: AtomicU64::new(0),
            mode: Mutex::default(),
        };
        let mut admin = server.connect("postgres", "mps-storm set-up").map_err(|e| format!("no server: {e}"))?;
        let sql = |text: &str, client: &mut Client| client.batch_execute(text).map_err(|e| format!("{text}: {e}"));
        sql(&format!("CREATE DATABASE {}", server.database), &mut admin)?;
        for role in [&server.client_role, &server.backend_role] {
            sql(&format!("CREATE ROLE {role} NOLOGIN"), &mut admin)?;
        }
        let mut db = server.connect(&server.database, "mps-storm set-up").map_err(|e| e.to_string())?;
        sql("CREATE EXTENSION mps", &mut db)?;
        sql(&format!("SELECT sec.grant_api('{}', 'client')", server.client_role), &mut db)?;
        sql(&format!("SELECT sec.grant_api('{}', 'backend')", server.backend_role), &mut db)?;
        sql(&mps_sender::set_up(), &mut db)?;
        sql(&format!("SELECT app.update_settings('{{\"max_balance\": {MAX_BALANCE}}}')"), &mut db)?;

        let has_seals =
            db.query_one("SELECT to_regproc('audit.seal') IS NOT NULL", &[]).map_err(|e| e.to_string())?.get(0);
        let has_modes =
            db.query_one("SELECT to_regproc('app.set_mode') IS NOT NULL", &[]).map_err(|e| e.to_string())?.get(0);
        let receipts = Receipts::begin(&mut db).map_err(|e| format!("a key: {e}"))?;
        let mut world = World {
            server,
            seed,
            has_seals,
            has_modes,
            receipts,
            sealing: Mutex::default(),
            merchants: vec![],
            accounts: RwLock::new(vec![]),
            own: vec![],
            levels: VersionClock::default(),
            campaigns: VersionClock::default(),
            payments: Mutex::default(),
            free: Mutex::default(),
            waiting: Mutex::default(),
            billed: Mutex::default(),
            done: Mutex::default(),
            correctable: Mutex::default(),
            rights: Mutex::default(),
            pausing: Mutex::default(),
            budget: Mutex::new(COUPONS.iter().find_map(|coupon| coupon.budget).expect("one has")),
            stop: AtomicBool::new(false),
            operations: AtomicU64::new(0),
            books: Mutex::default(),
        };
        world.people(&mut db, clients).map_err(|e| format!("set-up: {e}"))?;
        Ok(world)
    }

    fn people(&mut self, db: &mut Client, clients: usize) -> Result<(), postgres::Error> {
        set_levels(db, 0)?;
        for n in 0..MERCHANTS {
            let (code, operator) = (format!("shop-{n}"), Uuid::new_v4());
            db.execute("SELECT app.create_merchant($1, 'storm')", &[&code])?;
            db.execute("SELECT app.set_merchant_user($1, $2)", &[&code, &operator])?;
            self.merchants.push(Merchant { code, operator, moody: n + 1 == MERCHANTS });
        }
        for json in COUPONS.iter().map(|coupon| coupon.json).chain([TO_ALL]) {
            let code: String = db.query_one("SELECT code FROM app.create_coupon($1::text::jsonb)", &[&json])?.get(0);
            db.execute("SELECT app.set_coupon_status($1, 'active', 'storm')", &[&code])?;
        }
        for (_, json) in CAMPAIGNS {
            db.execute("SELECT app.create_campaign($1::text::jsonb)", &[&json])?;
        }
        for _ in 0..HOT_PERSONAL {
            self.personal(db)?;
        }
        for n in 0..HOT_ENTERPRISE {
            self.enterprise(db, n)?;
        }
        for _ in 0..COLD_PERSONAL {
            self.personal(db)?;
        }
        for n in 0..COLD_ENTERPRISE {
            self.enterprise(db, n)?;
        }
        for _ in 0..clients {
            let account = self.personal(db)?;
            let (floater, _, _) = register(db)?;
            db.execute("SELECT app.enterprise_add_member($1, $2)", &[&self.hot_enterprise(0).1.card_no(), &floater])?;
            self.own.push(Own { account, floater });
        }
        // Everybody's first money, through the same door as all of it.
        let server = &self.server;
        let mut link = Link::new(server, Isolation::ReadCommitted);
        for account in self.numbered() {
            let request = Request {
                who: Who::Backend,
                amount: STARTING_BALANCE * 100,
                key: Some(format!("start-{}", account.0)),
                order: None,
                what: crate::request::What::Recharge { card: account.1.card(), method: "cash", merchant: None },
                by: "set-up".into(),
                account,
            };
            let asked = request.send(self, &mut link);
            let answer = asked.result.expect("a first recharge");
            self.books().enter(&answer.id, request.fact(&answer, asked.lost));
        }
        Ok(())
    }

    fn personal(&self, db: &mut Client) -> Result<Numbered, postgres::Error> {
        let (owner, card, card_no) = register(db)?;
        Ok(self.add(Account {
            kind: CardKind::Personal,
            owner,
            members: vec![owner],
            fixed_discount: 0,
            cards: RwLock::new(vec![(card, card_no)]),
        }))
    }

    fn enterprise(&self, db: &mut Client, n: usize) -> Result<Numbered, postgres::Error> {
        let discount = ["1.000", "0.885", "0.9"][n % 3];
        let (admin, _, _) = register(db)?;
        let row = db.query_one(
            "SELECT card_id, card_no FROM app.create_enterprise_card('storm', $1::text::numeric, $2)",
            &[&discount, &admin],
        )?;
        let (card, card_no): (Uuid, String) = (row.get(0), row.get(1));
        let mut members = vec![admin];
        for _ in 1..ENTERPRISE_MEMBERS {
            let (member, _, _) = register(db)?;
            db.execute("SELECT app.enterprise_add_member($1, $2)", &[&card_no, &member])?;
            members.push(member);
        }
        Ok(self.add(Account {
            kind: CardKind::Enterprise,
            owner: admin,
            members,
            fixed_discount: thousandths(discount),
            cards: RwLock::new(vec![(card, card_no)]),
        }))
    }

    /// Adds an account, also in the middle of the storm.
    pub fn add(&self, account: Account) -> Numbered {
        let account = Arc::new(account);
        let mut accounts = self.accounts.write().expect("not poisoned");
        accounts.push(account.clone());
        (accounts.len() - 1, account)
    }

    pub fn account(&self, index: usize) -> Numbered {
        (index, self.accounts.read().expect("not poisoned")[index].clone())
    }

    pub fn numbered(&self) -> Vec<Numbered> {
        self.accounts.read().expect("not poisoned").iter().cloned().enumerate().collect()
    }

    pub fn hot_personal(&self, n: usize) -> Numbered {
        self.account(n % HOT_PERSONAL)
    }

    pub fn hot_enterprise(&self, n: usize) -> Numbered {
        self.account(HOT_PERSONAL + n % HOT_ENTERPRISE)
    }

    pub fn cold_personal(&self, n: usize) -> Numbered {
        self.account(HOT_PERSONAL + HOT_ENTERPRISE + n % COLD_PERSONAL)
    }

    pub fn cold_enterprise(&self, n: usize) -> Numbered {
        self.account(HOT_PERSONAL + HOT_ENTERPRISE + COLD_PERSONAL + n % COLD_ENTERPRISE)
    }

    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("not poisoned")
    }

    /// Counts an answer.
    pub fn count(&self, operation: &'static str, outcome: &str) {
        self.operations.fetch_add(1, Ordering::Relaxed);
        *self.books().tally.entry((operation, outcome.to_owned())).or_default() += 1;
    }

    /// Notes an answer that should not have been given; fails the run.
    pub fn wrong(&self, text: String) {
        self.books().wrong.push(text);
    }

    /// Counts a refusal, which is wrong unless it is one of `allowed`.
    pub fn refused(&self, operation: &'static str, by: &str, refusal: &Refusal, allowed: &[&str]) {
        self.count(operation, &refusal.token);
        if !allowed.contains(&refusal.token.as_str()) {
            self.wrong(format!("{by}: {operation} answered {} where only {allowed:?} may be", refusal.text));
        }
    }

    /// Drops the database and its roles.
    pub fn tear_down(&self) -> Result<(), postgres::Error> {
        self.receipts.end(&mut self.server.connect(&self.server.database, "mps-storm tear-down")?)?;
        let mut admin = self.server.connect("postgres", "mps-storm tear-down")?;
        admin.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.server.database))?;
        admin.batch_execute(&format!("DROP ROLE {}, {}", self.server.client_role, self.server.backend_role))
    }
}

/// Puts something into a pool, and the oldest out of it where it is full.
pub fn pool<T>(pool: &Mutex<VecDeque<T>>, item: T) {
    let mut pool = pool.lock().expect("not poisoned");
    if pool.len() == POOL {
        pool.pop_front();
    }
    pool.push_back(item);
}

/// A new member: its id, its card's id and number.
fn register(db: &mut Client) -> Result<(Uuid, Uuid, String), postgres::Error> {
    let row = db.query_one("SELECT member_id, card_id, card_no FROM app.register_member('storm')", &[])?;
    Ok((row.get(0), row.get(1), row.get(2)))
}

pub const SET_LEVELS: &str = "UPDATE app.membership_levels l SET min_points = v.min_points, discount = v.thousandths / 1000.0 \
    FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) v (level, min_points, thousandths) WHERE l.level = v.level";

/// The columns of a version of the level table.
pub fn level_columns(version: usize) -> (Vec<i16>, Vec<i64>, Vec<i64>) {
    let table = levels(version);
    ((0..5).collect(), table.iter().map(|l| l.0).collect(), table.iter().map(|l| l.1).collect())
}

fn set_levels(db: &mut Client, version: usize) -> Result<u64, postgres::Error> {
    let (numbers, minima, discounts) = level_columns(version);
    db.execute(SET_LEVELS, &[&numbers, &minima, &discounts])
}
