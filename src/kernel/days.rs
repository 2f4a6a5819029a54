//! What a day of the shop is: `app.business_day_rules`.

use crate::engine::cache;
use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::server::{self, Raise};
use crate::engine::types::{Day, RawJsonb, Timestamp};
use mps_domain::day::{Rule, Rules, Zone};
use mps_domain::error::{Error, Result, Token};
use mps_domain::month::DAY_MICROS;
use mps_domain::window::Moment;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Where days begin: at a time of the clocks of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ShopZone {
    /// Its name in the server's list.
    name: String,
    /// In microseconds.
    starts_at: i64,
}

impl Zone for ShopZone {
    fn start(&self, day: i64) -> i64 {
        server::moment_of(&self.name, day * DAY_MICROS + self.starts_at).0
    }
}

/// The days of the years 1 to 9999 or so: what is further away is no day of a shop.
const FIRST_DAY: i64 = -730_000;
const LAST_DAY: i64 = 2_921_940;

/// During which statement something was read, and after how many changes of tables. An older snapshot may show older rules, so
/// they are not kept for longer.
type Reading = (u64, Timestamp);

thread_local! {
    static RULES: RefCell<Option<(Reading, Rc<Rules<ShopZone>>)>> = const { RefCell::new(None) };
    /// The day that was last asked for: it, and when it begins and ends.
    static LAST: Cell<Option<(Reading, Day, Timestamp, Timestamp)>> = const { Cell::new(None) };
}

fn reading() -> Reading {
    (cache::changes(), server::statement_began())
}

fn read(db: &Db) -> Rules<ShopZone> {
    let rules = db.rows(
        "SELECT r.from_at, r.from_day, r.time_zone, (extract(epoch FROM r.starts_at) * 1000000)::bigint \
         FROM app.business_day_rules r ORDER BY r.from_at",
        &[],
        |r| Rule {
            from_at: r.get::<Timestamp>(1).0,
            from_day: match r.get::<Day>(2) {
                Day(i32::MIN) => i64::MIN,
                Day(day) => day.into(),
            },
            zone: ShopZone { name: r.get(3), starts_at: r.get(4) },
        },
    );
    Rules::new(rules).unwrap_or_else(|| {
        Error::new(Token::StatusConflict, "app.business_day_rules has no rule for the past, or they are in disorder")
            .raise()
    })
}

/// The rules, where this statement has read them already.
fn known_rules() -> Option<Rc<Rules<ShopZone>>> {
    let now = reading();
    RULES.with_borrow(|k| k.as_ref().filter(|(at, _)| *at == now).map(|(_, rules)| rules.clone()))
}

fn rules(db: &Db) -> Rc<Rules<ShopZone>> {
    known_rules().unwrap_or_else(|| {
        let rules = Rc::new(read(db));
        RULES.set(Some((reading(), rules.clone())));
        rules
    })
}

fn day_by(rules: &Rules<ShopZone>, at: Timestamp) -> Day {
    let day = rules.day_of(at.0);
    let (start, end) = (Timestamp(rules.start_of(day)), Timestamp(rules.start_of(day + 1)));
    let day = Day(i32::try_from(day).expect("a day in range"));
    LAST.set(Some((reading(), day, start, end)));
    day
}

/// The day that a moment lies in, where this statement has read the rules already: nothing is asked of the database.
pub fn known(at: Timestamp) -> Option<Day> {
    let last = LAST.get().filter(|(read, _, start, end)| *read == reading() && *start <= at && at < *end);
    match last {
        Some((_, day, ..)) => Some(day),
        None if is_in_range(at.0.div_euclid(DAY_MICROS)) => known_rules().map(|rules| day_by(&rules, at)),
        None => None,
    }
}

/// The day that a moment lies in. Errors: `INVALID_ARGUMENT`, it is out of range.
pub fn of(db: &Db, at: Timestamp) -> Result<Day> {
    if let Some(day) = known(at) {
        return Ok(day);
    }
    if !at.is_finite() {
        return Ok(Day(if at.0 < 0 { i32::MIN } else { i32::MAX }));
    }
    in_range(at.0.div_euclid(DAY_MICROS))?;
    Ok(day_by(&rules(db), at))
}

/// A moment, with what clocks and calendar of the shop show then.
pub fn moment(db: &Db, at: Timestamp) -> Moment {
    let zone = &rules(db).zone_at(at.0).name.clone();
    Moment { at: at.0, local: server::local_of(zone, at) }
}

/// When a day begins: it ends where the next one does. Errors: `INVALID_ARGUMENT`, it is out of range.
pub fn start_of(db: &Db, day: Day) -> Result<Timestamp> {
    match day {
        Day(i32::MIN) => Ok(Timestamp(i64::MIN)),
        Day(i32::MAX) => Ok(Timestamp(i64::MAX)),
        Day(day) => {
            in_range(day.into())?;
            Ok(Timestamp(rules(db).start_of(day.into())))
        }
    }
}

/// The moments of a day: from the first to before the second.
pub fn bounds(db: &Db, day: Day) -> Result<(Timestamp, Timestamp)> {
    Ok((start_of(db, day)?, start_of(db, Day(day.0.saturating_add(1)))?))
}

fn is_in_range(day: i64) -> bool {
    (FIRST_DAY..=LAST_DAY).contains(&day)
}

fn in_range(day: i64) -> Result<()> {
    if is_in_range(day) { Ok(()) } else { Err(Error::new(Token::InvalidArgument, "the day is out of range")) }
}

/// Whether the server knows a zone by this name of the IANA's list: no abbreviation, no rule spelled out, nothing that another
/// machine may take for something else.
pub fn is_time_zone(db: &Db, name: &str) -> bool {
    db.row(
        "SELECT $1 = 'UTC' OR ( \
            $1 !~ '^(posix|right)/' AND $1 !~ '^[^/]*[0-9]' AND $1 <> ALL (ARRAY['localtime', 'posixrules', 'Factory']) \
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_timezone_abbrevs a WHERE a.abbrev = pg_catalog.upper($1)) \
            AND EXISTS (SELECT FROM pg_catalog.pg_timezone_names n WHERE n.name = $1))",
        &[p(name)],
        |r| r.get(1),
    ) == Some(true)
}

/// What counted when, for the audit log.
pub fn rules_as_json(db: &Db) -> RawJsonb {
    db.row(
        "SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('from_at', r.from_at, 'from_day', r.from_day, \
                'time_zone', r.time_zone, 'starts_at', r.starts_at) ORDER BY r.from_at), '[]') FROM app.business_day_rules r",
        &[],
        |r| r.get(1),
    )
    .expect("one row")
}

/// Makes the settings the rule for the days from the next one on, if they are not already.
pub fn follow_settings(db: &Db, at: Timestamp) {
    let zone = db
        .row(
            "SELECT s.business_time_zone, (extract(epoch FROM s.business_day_starts_at) * 1000000)::bigint FROM app.settings s",
            &[],
            |r| ShopZone { name: r.get(1), starts_at: r.get(2) },
        )
        .expect("app.settings has its one row");
    let before = read(db);
    if before.all().last().is_some_and(|last| last.zone == zone) {
        return;
    }
    let after = before.changed(at.0, zone);
    for gone in before.all().iter().filter(|rule| !after.all().contains(rule)) {
        db.run_once("DELETE FROM app.business_day_rules WHERE from_at = $1", &[p(Timestamp(gone.from_at))]);
    }
    for new in after.all().iter().filter(|rule| !before.all().contains(rule)) {
        db.run_once(
            "INSERT INTO app.business_day_rules (from_at, from_day, time_zone, starts_at) \
             VALUES ($1, $2, $3, time '00:00' + $4 * interval '1 microsecond')",
            &[
                p(Timestamp(new.from_at)),
                p(Day(i32::try_from(new.from_day).expect("a day near now"))),
                p(new.zone.name.as_str()),
                p(new.zone.starts_at),
            ],
        );
    }
    RULES.set(None);
    LAST.set(None);
}
