//! `app.settings` and `app.membership_levels`.

use crate::engine::cache::{self, Kept};
use crate::engine::db::{Db, kept_from_being_written};
use crate::engine::param::p;
use crate::engine::record::{Column, record};
use crate::engine::row::Row;
use crate::engine::server::{self, Raise};
use crate::engine::types::{Day, NumericArg, RawJsonb, Timestamp};
use crate::kernel::mode::{self, Mode};
use crate::kernel::months::Open;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::{Discount, MONEY_SCALE, Money};
use mps_domain::month::Month;
use mps_domain::numeric;
use mps_domain::tier::Level;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use std::rc::Rc;

/// The layout of the tables that this library was written for.
pub const SCHEMA_VERSION: i32 = 3;
/// Decimals of `points_per_unit`: `numeric(8,4)`.
const RATE_SCALE: u32 = 4;

thread_local! {
    static KEPT: Kept<Rc<Config>> = const { Kept::new() };
}

/// Points for a currency unit.
#[derive(Debug)]
pub struct Rate(pub Decimal);

impl Column for Rate {
    fn read(row: &Row, n: i32) -> Rate {
        let units = row.get::<NumericArg>(n).units(RATE_SCALE).expect("numeric(8,4)");
        Rate(Decimal::new(units, RATE_SCALE))
    }
}

record! {
    /// The settings that calls ask for, selected by name: the table may have more.
    #[derive(Debug)]
    pub struct Config in static SETTINGS: c"app", "settings";
    columns {
        qr_ttl_seconds: i32,
        qr_single_use: bool,
        points_per_unit: Rate,
        max_amount: Money,
        max_balance: Money,
        recharge_confirmation: String,
        recharge_ttl_minutes: i32,
        key_retention_days: i32,
        max_pending_recharges: i32,
        signup_anonymous: bool,
    }
    besides {
        /// Who writes into this month or an older one notes it; see `app.closed_months`.
        pub closed_through: Option<Month> = |_| None,
        pub levels: Vec<Level> = |_| Vec::new(),
        pub mode: Mode = |_| Mode::Normal,
    }
    read by read;
    listed by columns;
}

impl Config {
    pub fn recharges_are_trusted(&self) -> bool {
        self.recharge_confirmation == "trusted"
    }
}

/// The settings and levels, remembered until one of them changes. Errors: `SCHEMA_OUTDATED` where the tables are not those
/// that this library was written for.
pub fn config(db: &Db) -> Result<Rc<Config>> {
    if let Some(known) = KEPT.with(|kept| kept.get(cache::relations())) {
        return Ok(known);
    }
    let read_at = cache::relations();
    // By itself, before anything that another release may not have.
    let outdated = |detail| Error::new(Token::SchemaOutdated, detail);
    let (version, is_whole): (i32, bool) = db
        .row(
            "SELECT s.schema_version, EXISTS (SELECT FROM pg_catalog.pg_index i \
                    WHERE i.indrelid = 'app.settings'::pg_catalog.regclass AND i.indisprimary) FROM app.settings s",
            &[],
            |r| (r.get(1), r.get(2)),
        )
        .ok_or_else(|| outdated(why_empty(db).into()))?;
    // pg_restore makes keys when the rows are in. Until then whatever calls is a CHECK or the like of somebody's, which it evaluates
    // as whoever restores.
    if !is_whole {
        return Err(outdated("the tables are still being restored".into()));
    }
    if version != SCHEMA_VERSION {
        return Err(outdated(format!("the tables have schema version {version}, the library {SCHEMA_VERSION}")));
    }
    let levels = levels(db);
    let mode = mode::now(db);
    let config = db.row(
        columns!(
            "SELECT ",
            ", (SELECT pg_catalog.to_char(c.noted_through, 'YYMM')::smallint FROM app.closed_months c) FROM app.settings s"
        ),
        &[],
        |r| {
            let closed_through = r.opt::<i16>(SETTINGS.columns.len() as i32 + 1);
            let closed_through = closed_through.and_then(|yymm| Month::from_yymm(yymm.unsigned_abs()));
            Config { closed_through, ..Config::read(r) }
        },
    );
    let config = Config { levels, mode, ..config.expect("app.settings has its one row") };
    let config = Rc::new(config);
    // An older snapshot (a long query, REPEATABLE READ) may show older values: good for this call, not to be kept. Nor is what
    // ends without an announcement, when whoever turns the mode on gives up.
    if !db.is_read_only() && server::statements_see_commits() && config.mode != Mode::BeingTurnedOn {
        KEPT.with(|kept| kept.keep(read_at, config.clone()));
    }
    Ok(config)
}

/// The levels as they are now, whatever the snapshot: a change of theirs takes effect at the next charge, and changes no row of
/// the settings that a transaction with an older view would stumble over.
fn levels(db: &Db) -> Vec<Level> {
    let sql = "SELECT l.level, l.min_points, l.discount FROM app.membership_levels l";
    let read = |r: &Row| Level { level: r.get(1), min_points: r.get(2), discount: r.get::<Discount>(3) };
    if server::statements_see_commits() { db.rows(sql, &[], read) } else { db.rows_of_now(sql, &[], read) }
}

/// The moment at which a business day is over.
pub fn end_of_business_day(db: &Db, day: Day) -> Timestamp {
    db.row("SELECT sec.end_of_business_day($1)", &[p(day)], |r| r.get(1)).expect("one row")
}

fn why_empty(db: &Db) -> &'static str {
    let is_unlogged =
        "SELECT c.relpersistence = 'u' FROM pg_catalog.pg_class c WHERE c.oid = 'app.settings'::pg_catalog.regclass";
    match db.row(is_unlogged, &[], |r| r.get(1)) {
        Some(true) => {
            "app.settings is UNLOGGED and empty: a crash empties such tables, and others of mps may be empty as well"
        }
        _ => "the tables were restored without their data",
    }
}

/// Locks the settings against other changes of them.
pub fn lock(open: Open) {
    open.run("SELECT FROM app.settings s FOR NO KEY UPDATE", &[]);
}

/// All settings as one object, without the table's own bookkeeping.
pub fn as_json(db: &Db) -> RawJsonb {
    db.row("SELECT to_jsonb(s) - 'singleton' - 'schema_version' FROM app.settings s", &[], |r| r.get(1))
        .expect("app.settings has its one row")
}

/// What a value of a setting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Whole,
    /// Decimal, with so many decimals.
    Decimal(u32),
    Switch,
    Choice,
    TimeZone,
    MinuteOfDay,
}

impl Kind {
    fn from_label(label: &str) -> Kind {
        match label {
            "whole" => Kind::Whole,
            "money" => Kind::Decimal(MONEY_SCALE),
            "rate" => Kind::Decimal(RATE_SCALE),
            "switch" => Kind::Switch,
            "choice" => Kind::Choice,
            "time_zone" => Kind::TimeZone,
            "minute_of_day" => Kind::MinuteOfDay,
            other => panic!("sec.settings() has a kind {other}"),
        }
    }
}

/// A setting as its family declares it.
#[derive(Debug)]
pub struct Setting {
    pub name: String,
    pub kind: Kind,
    /// Of a number: from what to what, in units of its last decimal.
    pub bounds: RangeInclusive<i64>,
    pub choices: Vec<String>,
}

/// All settings that `update` may change.
pub fn declared(db: &Db) -> Vec<Setting> {
    db.rows(
        "SELECT s.setting, s.kind, s.lowest, s.highest, pg_catalog.array_to_string(s.choices, ',') FROM sec.settings() s ORDER BY s.place",
        &[],
        |r| {
            let kind = Kind::from_label(&r.text(2));
            let scale = if let Kind::Decimal(scale) = kind { scale } else { 0 };
            let bound = |n| r.opt::<String>(n).map_or(0, |text| decimal_units(&text, scale).expect("bounds are numbers"));
            let choices = r.opt::<String>(5).unwrap_or_default();
            Setting {
                name: r.get(1),
                kind,
                bounds: bound(3)..=bound(4),
                choices: choices.split(',').map(str::to_owned).collect(),
            }
        },
    )
}

/// Under a stricter isolation level: fails to serialise if the settings have changed since the snapshot.
pub fn pin(db: &Db) {
    if !server::statements_see_commits() {
        db.run("SELECT FROM app.settings s FOR SHARE", &[]);
    }
}

/// Changes settings of a locked row: an object of their values as text, which are as declared.
pub fn update(db: &Db, changes: &Map<String, Value>) {
    let changes = RawJsonb::parse(&Value::Object(changes.clone()).to_string());
    if db.row("SELECT sec.change_settings($1)", &[p(changes)], |r| r.get(1)) != Some(true) {
        kept_from_being_written().raise();
    }
}

/// Reads a decimal text as units of a scale, by way of the same rules as an argument.
pub fn decimal_units(text: &str, scale: u32) -> Option<i64> {
    let decimal: Decimal = text.parse().ok()?;
    let scaled = decimal.checked_mul(Decimal::from(10i64.pow(scale)))?;
    (scaled.fract().is_zero()).then(|| i64::try_from(scaled.trunc()).ok()).flatten().filter(|u| {
        let mut out = [0; numeric::MAX_ENCODED];
        let used = numeric::encode(*u, scale, &mut out);
        numeric::decode(&out[..used], scale) == Ok(*u)
    })
}

/// Brings the tables up to this release; `None` where the extension in the database is older than the library.
pub fn migrate(db: &Db) -> Option<i32> {
    let ready = db.row("SELECT pg_catalog.to_regprocedure('sec.migrate_tables()') IS NOT NULL", &[], |r| r.get(1));
    if ready != Some(true) {
        return None;
    }
    let version = db.row("SELECT sec.migrate_tables()", &[], |r| r.get(1));
    db.run("SELECT sec.drop_unused_compat()", &[]);
    version
}
