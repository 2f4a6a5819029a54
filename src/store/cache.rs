//! What a backend remembers between calls: which months exist, the sequences, labels, settings and levels. All of it is
//! forgotten when the server says that any relation changed; the trigger sec.config_changed makes it say so for settings
//! and levels. A rolled-back change is announced in the same way to the backend that made it.

use super::settings::Config;
use super::{server, spi};
use mps_domain::month::Month;
use pgrx::pg_sys::{Datum, Oid};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// An enumeration and one of its labels.
type Label = (&'static str, &'static str);

thread_local! {
    static MONTHS: RefCell<HashSet<Month>> = RefCell::new(HashSet::new());
    static CONFIG: RefCell<Option<Rc<Config>>> = const { RefCell::new(None) };
    static LABELS: RefCell<HashMap<Label, (Oid, Oid)>> = RefCell::new(HashMap::new());
    static SEQUENCES: Cell<[Option<Drawn>; 2]> = const { Cell::new([None; 2]) };
    static LEVELS: Cell<Option<Levels>> = const { Cell::new(None) };
    /// The marker of backends when it was last looked up: another one belongs to an extension that was created anew.
    static MARKER: Cell<Option<Oid>> = const { Cell::new(None) };
    /// The functions of the triggers that hold calls of older releases to the rules of now.
    static FOR_OLDER_RELEASES: Cell<Option<[Option<Oid>; 2]>> = const { Cell::new(None) };
    /// Whether sec.careless_code() had nothing.
    static NO_CARELESS_CODE: Cell<bool> = const { Cell::new(false) };
    /// Our tables, in order, while nothing about them makes calls answer wrongly; none: not known.
    static SOUND_TABLES: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    /// Counts the forgettings, so that what was read before one is not kept after it.
    static GENERATION: Cell<u64> = const { Cell::new(0) };
}

pub fn init() {
    server::on_relation_change(forget);
    server::on_function_change(forget_functions);
}

#[allow(unsafe_code)] // the signature of the server's callback
unsafe extern "C-unwind" fn forget_functions(_: Datum, _: i32, _: u32) {
    GENERATION.set(GENERATION.get().wrapping_add(1));
    SOUND_TABLES.with_borrow_mut(Vec::clear);
    LEVELS.set(None);
    FOR_OLDER_RELEASES.set(None);
    NO_CARELESS_CODE.set(false);
}

/// The marker functions of the levels, and who owns them: the role that everything of ours belongs to.
#[derive(Clone, Copy)]
pub struct Levels {
    pub client: Oid,
    pub backend: Oid,
    pub operator: Oid,
    pub owner: Oid,
}

/// `None` where the extension is not there, or not whole.
pub fn levels() -> Option<Levels> {
    if let Some(known) = LEVELS.get() {
        return Some(known);
    }
    let backend = server::marker(c"level_backend")?;
    let found = Levels {
        client: server::marker(c"level_client")?,
        backend,
        operator: server::marker(c"level_operator")?,
        owner: server::function_owner(backend)?,
    };
    if MARKER.replace(Some(backend)).is_some_and(|before| before != backend) {
        // Tables and types may be others by now; kept plans know them by their oids.
        spi::forget_plans();
    }
    LEVELS.set(Some(found));
    Some(found)
}

/// The functions of our triggers for calls of older releases, as far as they are there.
pub fn for_older_releases() -> [Option<Oid>; 2] {
    FOR_OLDER_RELEASES.get().unwrap_or_else(|| {
        let found = [c"refuse_old_claim", c"count_recharge"].map(server::marker);
        FOR_OLDER_RELEASES.set(Some(found));
        found
    })
}

#[allow(unsafe_code)] // the signature of the server's callback
unsafe extern "C-unwind" fn forget(_: Datum, relation: Oid) {
    GENERATION.set(GENERATION.get().wrapping_add(1));
    // A month that is attached changes its table, too. InvalidOid stands for everything.
    SOUND_TABLES.with_borrow_mut(|known| {
        if relation == Oid::INVALID || known.binary_search(&relation.to_u32()).is_ok() {
            known.clear();
        }
    });
    SEQUENCES.set([None; 2]);
    NO_CARELESS_CODE.set(false);
    // Never while borrowed: the borrows below call nothing.
    MONTHS.with_borrow_mut(HashSet::clear);
    LABELS.with_borrow_mut(HashMap::clear);
    CONFIG.with_borrow_mut(|c| *c = None);
}

pub fn generation() -> u64 {
    GENERATION.get()
}

pub fn knows_month(month: Month) -> bool {
    MONTHS.with_borrow(|m| m.contains(&month))
}

pub fn remember_month(month: Month, read_at: u64) {
    if generation() == read_at {
        MONTHS.with_borrow_mut(|m| {
            m.insert(month);
        });
    }
}

pub fn knows_sound_tables() -> bool {
    SOUND_TABLES.with_borrow(|known| !known.is_empty())
}

pub fn remember_sound_tables(tables: impl Iterator<Item = Oid>, read_at: u64) {
    if generation() == read_at {
        let mut tables: Vec<u32> = tables.map(Oid::to_u32).collect();
        tables.sort_unstable();
        SOUND_TABLES.set(tables);
    }
}

pub fn knows_no_careless_code() -> bool {
    NO_CARELESS_CODE.get()
}

pub fn remember_no_careless_code(read_at: u64) {
    NO_CARELESS_CODE.set(generation() == read_at);
}

/// The oids of an enumeration and one of its labels.
pub fn label(of: &'static str, label: &'static str) -> Option<(Oid, Oid)> {
    LABELS.with_borrow(|l| l.get(&(of, label)).copied())
}

pub fn remember_label(of: &'static str, label: &'static str, oids: (Oid, Oid), read_at: u64) {
    if generation() == read_at {
        LABELS.with_borrow_mut(|l| l.insert((of, label), oids));
    }
}

pub fn config() -> Option<Rc<Config>> {
    CONFIG.with_borrow(Clone::clone)
}

pub fn remember_config(config: &Rc<Config>, read_at: u64) {
    if generation() == read_at {
        CONFIG.with_borrow_mut(|c| *c = Some(config.clone()));
    }
}

/// The two sequences that every movement draws from.
#[derive(Clone, Copy)]
pub enum Sequence {
    TxNo = 0,
    EventId = 1,
}

/// A sequence, and whether this backend takes more numbers than one from it at once, and keeps the others in store.
#[derive(Clone, Copy)]
struct Drawn {
    oid: Oid,
    in_store: bool,
}

/// The next number of a sequence. Ids of events never come out of a backend's store: what is drawn later is higher, for
/// whoever draws it, and so what is sealed stays complete. (Numbers of transactions may.)
pub fn next(sequence: Sequence) -> i64 {
    let drawn = SEQUENCES.get()[sequence as usize].unwrap_or_else(|| {
        let found = match sequence {
            Sequence::TxNo => server::relation(c"app", c"tx_no_seq"),
            Sequence::EventId => server::relation(c"audit", c"event_id_seq"),
        };
        let oid = found.expect("the sequences of mps exist where its tables do");
        Drawn { oid, in_store: server::takes_in_store(oid) }
    });
    // Read again: looking it up may have made the backend forget.
    let mut known = SEQUENCES.get();
    known[sequence as usize] = Some(drawn);
    SEQUENCES.set(known);
    if drawn.in_store && matches!(sequence, Sequence::EventId) {
        server::forget_store();
    }
    server::next_value(drawn.oid)
}
