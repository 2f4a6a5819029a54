//! What the functions that SQL declares lock: those of the library by their symbols, of the others what their texts say.

use crate::leaves::{Kind, Lock, STATEMENTS};
use crate::sources::calls;
use mps_tidy::{files, text};
use std::collections::{BTreeMap, BTreeSet};

/// What functions of SQL lock, by what their texts say, in the order in which they say it.
const OF_TEXTS: &[(&str, Lock)] = &[
    ("LOCK TABLE app.archived_months", Lock { kind: Kind::Month, many: false }),
    ("LOCK TABLE app.closed_months", Lock { kind: Kind::ClosedMonths, many: false }),
    ("LOCK TABLE audit.event_log", Lock { kind: Kind::Log, many: false }),
    ("LOCK TABLE app.operating_mode", Lock { kind: Kind::Mode, many: false }),
    ("LOCK TABLE audit.seal_cut", Lock { kind: Kind::SealCut, many: false }),
    ("INTO app.merchant_months", Lock { kind: Kind::Lines, many: true }),
    ("INTO app.member_months", Lock { kind: Kind::Lines, many: true }),
    ("INTO app.job_runs", Lock { kind: Kind::JobRun, many: false }),
];

/// Tables that only grants, upgrades and the end of all lock, which are a superuser's.
const OF_SUPERUSERS: &[&str] = &["sec.api_grants", "app.settings", "app.external_orders", "app.transactions"];

/// The functions that SQL declares: of those of the library the symbol, of the others what they do.
pub struct Declared {
    pub symbols: BTreeMap<String, String>,
    bodies: BTreeMap<String, String>,
}

impl Declared {
    pub fn read() -> Declared {
        let mut declared = Declared { symbols: BTreeMap::new(), bodies: BTreeMap::new() };
        let is_source = |file: &String| !file.starts_with("sql/released/") && !file.starts_with("sql/mps--");
        for file in files("sql", &[".sql"]).into_iter().filter(is_source) {
            let text = text(&file);
            for part in text.split("\nCREATE ").skip(1) {
                // A procedure commits on its way: its batches are what has locks at once.
                let Some(rest) = part.strip_prefix("FUNCTION ") else { continue };
                let name = rest.split('(').next().expect("a name").to_owned();
                let symbol = rest.split_once("AS 'MODULE_PATHNAME', '").and_then(|(_, s)| s.split('\'').next());
                // Up to its comment: the body, which other functions are named in, too.
                let body = rest.split("\nCOMMENT ON").next().expect("a body");
                let body =
                    body.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join("\n");
                match symbol {
                    Some(symbol) => declared.symbols.insert(name, symbol.trim_end_matches("_wrapper").to_owned()),
                    None => declared.bodies.insert(name, body),
                };
            }
        }
        declared
    }

    /// Functions of SQL that lock or write, by themselves or by what they call.
    pub fn that_lock(&self) -> BTreeSet<String> {
        let mut found: BTreeSet<String> = BTreeSet::new();
        loop {
            let is_one =
                |body: &String| STATEMENTS.iter().any(|statement| body.contains(statement)) || calls(body, &found);
            let more: BTreeSet<String> =
                self.bodies.iter().filter(|(_, body)| is_one(body)).map(|(name, _)| name.clone()).collect();
            if more.len() == found.len() {
                return found;
            }
            found = more;
        }
    }

    /// What a function of SQL locks; `None` where there is none of that name.
    pub fn locks(&self, name: &str) -> Option<Vec<Lock>> {
        let mut locks = vec![];
        self.walk(name, &mut vec![], &mut locks)?;
        locks.dedup();
        Some(locks)
    }

    fn walk(&self, name: &str, within: &mut Vec<String>, locks: &mut Vec<Lock>) -> Option<()> {
        let body = self.bodies.get(name)?;
        if within.iter().any(|w| w == name) {
            return Some(());
        }
        within.push(name.to_owned());
        for (at, _) in body.char_indices().skip(name.len() + 1) {
            let rest = &body[at..];
            locks.extend(OF_TEXTS.iter().filter(|(text, _)| rest.starts_with(text)).map(|(_, lock)| *lock));
            if ["sec.", "app.", "audit."].iter().any(|schema| rest.starts_with(schema)) {
                let called = rest.split('(').next().expect("a name");
                self.walk(called, within, locks);
            }
        }
        within.pop();
        Some(())
    }

    /// What of the library a function of SQL calls, by itself or by what it calls: the symbols.
    pub fn called_by(&self, name: &str) -> BTreeSet<String> {
        let (mut found, mut seen, mut left) = (BTreeSet::new(), BTreeSet::new(), vec![name.to_owned()]);
        while let Some(name) = left.pop() {
            let Some(body) = self.bodies.get(&name).filter(|_| seen.insert(name.clone())) else { continue };
            // What stands before the body, too: its own name.
            let called = |other: &&String| **other != name && calls(body, &BTreeSet::from([(*other).clone()]));
            found.extend(self.symbols.iter().filter(|(other, _)| called(other)).map(|(_, symbol)| symbol.clone()));
            left.extend(self.bodies.keys().filter(called).cloned());
        }
        found
    }

    /// Tables that are locked somewhere and that are in neither list.
    pub fn unknown_tables(&self) -> Vec<String> {
        let known = |table: &&str| {
            OF_TEXTS.iter().any(|(text, _)| *text == format!("LOCK TABLE {table}")) || OF_SUPERUSERS.contains(table)
        };
        let tables = self.bodies.values().flat_map(|body| body.split("LOCK TABLE ").skip(1));
        let named = tables
            .filter_map(|rest| rest.split([' ', ';', '\'']).next())
            .filter(|t| t.contains('.') && !t.contains('%'));
        named.filter(|table| !known(table)).map(String::from).collect()
    }
}
