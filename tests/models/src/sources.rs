//! Which locks an RPC takes, in which order, by its source: what `src/` calls, from the wrapper of the RPC down to the functions that
//! lock. Calls are followed over `use` and re-exports, methods by the type of what they are called on (`names.rs`); where that cannot be
//! told, every method of the name that locks is a way. What can be neither found nor left out for sure is a [problem](Locks::problems).
//! What a branch locks may be left out by a model; what is locked in a loop is `many`.

use crate::declared::Declared;
use crate::leaves::{Kind, LEAVES, Lock, ONE_ROW, RAW, STATEMENTS, Takes, WRITES_OR_NONE};
use crate::names::{Function, Names};
use crate::walk::{Env, Home, InBody};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use syn::visit::Visit;

impl Function {
    fn is_raw(&self, of_sql: &BTreeSet<String>) -> bool {
        let has = |text: &String| STATEMENTS.iter().any(|statement| text.contains(statement)) || asks(text, of_sql);
        let locks = |word: &String| RAW.contains(&word.strip_prefix('.').unwrap_or("-"));
        self.words.iter().any(locks) || self.texts.iter().any(has)
    }
}

/// Whether a text is a statement that calls one of these functions of SQL; a hint may name one, too.
fn asks(text: &str, of_sql: &BTreeSet<String>) -> bool {
    text.contains("SELECT ") && calls(text, of_sql)
}

/// Whether a text calls one of these functions of SQL.
pub fn calls(text: &str, of_sql: &BTreeSet<String>) -> bool {
    of_sql.iter().any(|name| text.match_indices(name.as_str()).any(|(at, _)| text[at + name.len()..].starts_with('(')))
}

/// What a function comes to lock.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    /// Each way through its branches.
    pub ways: BTreeSet<Vec<Lock>>,
    /// Those of them on which it can come back with something, and with `None`: one that is in both may be either.
    pub some: BTreeSet<Vec<Lock>>,
    pub none: BTreeSet<Vec<Lock>>,
    /// The functions that it may call.
    pub reached: BTreeSet<String>,
    /// Those of them that lock in a loop.
    pub looping: BTreeSet<String>,
    /// What the reader cannot follow.
    pub problems: BTreeSet<String>,
    /// What is called by a name of a parameter, and was given nowhere on the way: only who reads a function by itself may not know it.
    pub unseen: BTreeSet<String>,
}

impl Locks {
    pub fn nothing() -> Locks {
        Locks { ways: BTreeSet::from([vec![]]), ..Locks::default() }
    }

    pub fn is_nothing(&self) -> bool {
        self.ways.iter().all(Vec::is_empty)
    }

    /// One after the other.
    pub fn and_then(&mut self, next: &Locks) {
        self.ways = longer(&self.ways, &next.ways);
        self.note(next);
    }

    pub fn note(&mut self, next: &Locks) {
        self.reached.extend(next.reached.iter().cloned());
        self.looping.extend(next.looping.iter().cloned());
        self.problems.extend(next.problems.iter().cloned());
        self.unseen.extend(next.unseen.iter().cloned());
    }
}

/// Each of these ways, and each of those after it.
pub fn longer(ways: &BTreeSet<Vec<Lock>>, after: &BTreeSet<Vec<Lock>>) -> BTreeSet<Vec<Lock>> {
    let both = |way: &Vec<Lock>| {
        after.iter().map(|after| after.iter().fold(way.clone(), |way, lock| with(way, *lock))).collect::<Vec<_>>()
    };
    ways.iter().flat_map(both).collect()
}

/// A way with one lock more. What there is but one of is waited for once.
pub fn with(mut way: Vec<Lock>, lock: Lock) -> Vec<Lock> {
    let has_it = lock.kind.is_one() && way.iter().any(|held| held.kind == lock.kind);
    if !has_it && way.last() != Some(&lock) {
        way.push(lock);
    }
    way
}

/// A way without what it has of a kind already.
fn once(way: Vec<Lock>, kind: Kind) -> Vec<Lock> {
    let first = way.iter().position(|lock| lock.kind == kind);
    let is_first = |(at, lock): (usize, Lock)| (lock.kind != kind || Some(at) == first).then_some(lock);
    way.into_iter().enumerate().filter_map(is_first).collect()
}

/// All functions above the engine, and what they lock.
pub struct Sources {
    pub names: Names,
    /// Functions of SQL that lock or write.
    of_sql: BTreeSet<String>,
    pub leaves: BTreeMap<&'static str, &'static Takes>,
    /// Functions that lock, or come to.
    lock: BTreeSet<usize>,
    /// By function, and whether it is called in a loop: what is known already.
    known: RefCell<HashMap<(usize, bool), Rc<Locks>>>,
}

impl Sources {
    pub fn read() -> Sources {
        Sources::of(Names::read(), Declared::read().that_lock())
    }

    fn of(names: Names, of_sql: BTreeSet<String>) -> Sources {
        let leaves = LEAVES.iter().map(|(path, takes)| (*path, takes)).collect();
        let mut sources = Sources { names, of_sql, leaves, lock: BTreeSet::new(), known: RefCell::default() };
        sources.lock = sources.may_lock();
        let walked = (0..sources.names.functions.len()).filter(|at| sources.comes_to_lock(*at));
        sources.lock = walked.collect();
        sources.known.borrow_mut().clear();
        sources
    }

    /// By the words in their bodies alone: never too few.
    fn may_lock(&self) -> BTreeSet<usize> {
        let functions = &self.names.functions;
        let above = || functions.iter().enumerate().filter(|(_, f)| !f.is_of_engine());
        let mut found: BTreeSet<usize> =
            above().filter(|(_, f)| self.leaves.contains_key(f.path.as_str())).map(|(at, _)| at).collect();
        loop {
            let is_one =
                |word: &String| self.names.called(word.trim_start_matches('.')).iter().any(|at| found.contains(at));
            let words: BTreeSet<&String> = above().flat_map(|(_, f)| &f.words).filter(|word| is_one(word)).collect();
            let calls_one = |f: &Function| f.words.iter().any(|word| words.contains(word));
            let more: BTreeSet<usize> =
                above().filter(|(at, f)| found.contains(at) || calls_one(f)).map(|(at, _)| at).collect();
            if more.len() == found.len() {
                return found;
            }
            found = more;
        }
    }

    fn comes_to_lock(&self, at: usize) -> bool {
        let function = &self.names.functions[at];
        let is_leaf = self.leaves.contains_key(function.path.as_str());
        !function.is_of_engine() && (is_leaf || !self.of_function(at, false, &mut vec![]).is_nothing())
    }

    /// The locks of a function of the features by its name.
    pub fn locks(&self, name: &str) -> Option<Locks> {
        let of_features = |at: &usize| self.names.functions[*at].module.starts_with("features::");
        let root = self.names.named(name).into_iter().find(of_features)?;
        Some((*self.of_function(root, false, &mut vec![])).clone())
    }

    /// What no function of the library may have in it, because nobody could say what it locks. Each is named by who reads about it.
    pub fn problems(&self) -> BTreeSet<String> {
        let above = self.names.functions.iter().enumerate().filter(|(_, f)| !f.is_of_engine());
        let mut problems = BTreeSet::new();
        for (at, function) in above {
            problems.extend(self.of_function(at, false, &mut vec![]).problems.iter().cloned());
            // Called by the language or by other crates, where no reader sees it.
            if function.of_trait.as_ref().is_some_and(|(_, ours)| !ours) && self.takes_locks(at) {
                problems.insert(format!("{}: locks, and is called by what another crate declares", function.path));
            }
        }
        for (path, expression) in self.names.fixed.iter().filter(|(path, _)| !path.starts_with("engine")) {
            let module = path.rsplit_once("::").map_or("", |(module, _)| module);
            let home = Home { module, path, of: None, words: &BTreeSet::new() };
            let (found, within) = (Locks::nothing(), &mut vec![]);
            let (left, env, loops, returns_option) = (vec![], Env::default(), 0, false);
            let mut inside = InBody { sources: self, found, left, within, home, env, loops, returns_option };
            inside.visit_expr(expression);
            if !inside.found.is_nothing() {
                inside.problem("locks, and is a static or a constant");
            }
            problems.append(&mut inside.found.problems);
        }
        for (module, words) in self.names.beside.iter().filter(|(module, _)| !module.starts_with("engine")) {
            for word in words.iter().filter(|word| self.any_takes_locks(word)) {
                problems.insert(format!("{module}: {word}, which locks, stands in a macro"));
            }
        }
        problems
    }

    /// What lists of the reader name, and is no more.
    pub fn gone(&self) -> Vec<&str> {
        let of_rows = ONE_ROW.iter().map(|(path, ..)| *path).filter(|path| self.names.by_path(path).is_none());
        of_rows.chain(WRITES_OR_NONE.iter().copied().filter(|name| self.names.named(name).is_empty())).collect()
    }

    /// Functions that lock or write by themselves, by their paths.
    pub fn raw(&self) -> BTreeSet<String> {
        let above = self.names.functions.iter().filter(|f| !f.is_of_engine() && f.is_raw(&self.of_sql));
        above.map(|f| f.path.clone()).collect()
    }

    /// Where many are locked by one statement that does not say in which order, or in a loop over what nobody has sorted.
    pub fn unsorted(&self) -> Vec<String> {
        let sorts = |text: &String| match text.find("FOR NO KEY UPDATE") {
            // By its key, or of a table with one row.
            Some(at) => {
                ["ORDER BY", "id = $1", "a.code = $1", "FROM app.settings s "].iter().any(|s| text[..at].contains(s))
            }
            None => true,
        };
        let above = self.names.functions.iter().filter(|f| !f.is_of_engine());
        above.filter(|f| !f.texts.iter().all(sorts)).map(|f| f.path.clone()).collect()
    }

    pub fn of_function(&self, at: usize, in_loop: bool, within: &mut Vec<usize>) -> Rc<Locks> {
        if let Some(known) = self.known.borrow().get(&(at, in_loop)) {
            return known.clone();
        }
        let found = Rc::new(self.walk(at, Env::default(), in_loop, within));
        // Within a function that calls itself not all is known yet.
        if !within.contains(&at) {
            self.known.borrow_mut().insert((at, in_loop), found.clone());
        }
        found
    }

    /// What a function locks that is given these closures.
    pub fn walk(&self, at: usize, mut env: Env, in_loop: bool, within: &mut Vec<usize>) -> Locks {
        let function = &self.names.functions[at];
        let mut found = Locks::nothing();
        found.reached.insert(function.path.clone());
        if within.contains(&at) {
            return found;
        }
        for (name, of) in &function.parameters {
            let local = env.0.entry(name.clone()).or_default();
            (local.of, local.is_given) = (of.clone(), true);
        }
        within.push(at);
        let home =
            Home { module: &function.module, path: &function.path, of: function.of.as_ref(), words: &function.words };
        let loops = usize::from(in_loop);
        let returns_option = function.returns_option;
        let mut body = InBody { sources: self, found, left: vec![], within, home, env, loops, returns_option };
        body.until_it_returns(|body| body.block(&function.body, true));
        let mut found = body.found;
        within.pop();
        if let Some((_, kind, _)) = ONE_ROW.iter().find(|(path, ..)| *path == function.path) {
            for ways in [&mut found.ways, &mut found.some, &mut found.none] {
                *ways = std::mem::take(ways).into_iter().map(|way| once(way, *kind)).collect();
            }
        }
        found
    }

    pub fn takes_locks(&self, at: usize) -> bool {
        self.lock.contains(&at)
    }

    pub fn any_takes_locks(&self, name: &str) -> bool {
        self.names.called(name).into_iter().any(|at| self.takes_locks(at))
    }

    /// Whether a function above the engine has this name.
    pub fn is_a_name(&self, name: &str) -> bool {
        self.names.called(name).into_iter().any(|at| !self.names.functions[at].is_of_engine())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small house with one door in each way that code is called by.
    const HOUSE: [(&str, &str); 10] = [
        ("src/lib.rs", "mod engine { pub mod db; } mod kernel; mod ledger; mod features;"),
        ("src/kernel/mod.rs", "pub mod members; pub mod months;"),
        ("src/ledger/mod.rs", "pub mod cards;"),
        ("src/features/mod.rs", "mod it; mod thing;"),
        ("src/engine/db.rs", "pub struct Db; impl Db { pub fn hold(&self) {} pub fn with(&self, work: impl FnOnce()) { work() } }"),
        (
            "src/kernel/months.rs",
            "use std::ops::Deref; use crate::engine::db::Db;
             pub struct Open(Db); impl Deref for Open { type Target = Db; fn deref(&self) -> &Db { &self.0 } }
             pub fn ensure() -> Open { make() }",
        ),
        (
            "src/kernel/members.rs",
            "pub fn lock() -> Option<i32> { look() } pub fn create() { crate::ledger::cards::lock(); }",
        ),
        ("src/ledger/cards.rs", "pub fn lock() -> Option<i32> { look() }"),
        (
            "src/features/thing/mod.rs",
            "mod going; mod kept; pub use going::{Does, Thing, go as went, going}; pub use self::kept::*;",
        ),
        (
            "src/features/thing/going.rs",
            "use crate::ledger::cards; use crate::kernel::{members, months::{self, Open}};
             pub fn go() { cards::lock(); }
             pub fn going() -> Thing { Thing { deep: Deep, open: months::ensure() } }
             pub struct Deep; impl Deep { pub fn hold(&self) { members::lock(); } pub fn take(&self) { cards::lock(); } }
             pub struct Thing { deep: Deep, open: Open }
             impl Thing {
                 pub fn hold(&self) { self.deep.hold() }
                 pub fn hold_nothing(&self) { self.open.hold() }
                 pub fn twice(&self) -> Option<i32> { Self::hold(self); None }
                 pub fn of(it: &Thing) -> Option<i32> {
                     if it.is_old() { return None; }
                     it.hold();
                     Some(1)
                 }
             }
             pub trait Does { fn does(&self) { cards::lock(); } }
             impl Does for Thing { fn does(&self) { members::lock(); } }
             impl Does for Deep {}",
        ),
    ];

    /// The locks of a function `it` of a feature with this text, and what the reader says about it.
    fn read(text: &str) -> (BTreeSet<Vec<Kind>>, Vec<String>) {
        let kept = ("src/features/thing/kept.rs", "pub fn keep() { crate::kernel::months::ensure(); }");
        let top = "use crate::features::thing::{self, Does, Thing}; use crate::ledger::cards; use crate::kernel::{members, months};";
        let it = ("src/features/it.rs", &*format!("{top}\n{text}"));
        let sources = HOUSE.iter().copied().chain([kept, it]).map(|(file, text)| (file.to_owned(), text.to_owned()));
        let sources =
            Sources::of(Names::of(sources.collect(), "[dependencies]\nserde_json = \"1\"\n"), BTreeSet::new());
        let found = sources.locks("it").expect("it is there");
        let ways = found.ways.iter().map(|way| way.iter().map(|lock| lock.kind).collect()).collect();
        (ways, sources.problems().into_iter().chain(found.unseen).collect())
    }

    #[track_caller]
    fn locks(text: &str, ways: &[&[Kind]]) {
        let (found, problems) = read(text);
        assert!(problems.is_empty(), "{text}: {problems:?}");
        assert_eq!(found, ways.iter().map(|way| way.to_vec()).collect(), "{text}");
    }

    #[track_caller]
    fn is_reported(text: &str, what: &str) {
        let (_, problems) = read(text);
        assert!(problems.iter().any(|problem| problem.contains(what)), "{text}: {problems:?}");
    }

    use Kind::{Card, Member, Month};

    #[test]
    fn names_are_followed() {
        locks("fn it() { thing::went() }", &[&[Card]]);
        locks("use crate::features::thing::went as there; fn it() { there() }", &[&[Card]]);
        locks("fn it() { thing::keep(); crate::features::thing::went(); }", &[&[Month, Card]]);
        locks("fn it() { super::thing::going(); }", &[&[Month]]);
        // What locks a row itself, and then calls what locks another.
        locks("fn it() { members::create() }", &[&[Member, Card]]);
    }

    #[test]
    fn methods_are_followed_by_types() {
        locks("fn it(thing: &Thing) { thing.hold() }", &[&[Member]]);
        locks("fn it() { let thing = thing::going(); thing.hold() }", &[&[Month, Member]]);
        locks("fn it(thing: Option<Thing>) { if let Some(thing) = thing { thing.hold() } }", &[&[], &[Member]]);
        locks("fn it(thing: &Thing) { Thing::twice(thing); }", &[&[Member]]);
        locks("fn it(all: &[Thing]) { for thing in all { thing.hold() } }", &[&[Member]]);
        // Of the engine, over what dereferences to it.
        locks("fn it(thing: &Thing) { thing.hold_nothing() }", &[&[]]);
    }

    #[test]
    fn what_cannot_be_told_is_any_of_that_name() {
        locks("fn it(thing: impl Sized) { thing.hold() }", &[&[], &[Member]]);
        locks("fn it(thing: &dyn Does) { thing.does() }", &[&[Card], &[Member]]);
        locks("fn it<D: Does>(thing: D) { D::does(&thing) }", &[&[Card], &[Member]]);
        locks("fn it(thing: &Thing) { Does::does(thing) }", &[&[Card], &[Member]]);
        locks(
            "impl Does for i32 { fn does(&self) { Self::hold(self) } } fn it() { 1.does() }",
            &[&[], &[Card], &[Member]],
        );
    }

    #[test]
    fn closures_are_run_where_they_are_called() {
        locks("fn it() { let late = || cards::lock(); members::lock(); late(); }", &[&[Member, Card]]);
        let given = "fn around(work: &impl Fn()) { cards::lock(); within(work) } fn within(then: impl Fn()) { then() }";
        locks(&format!("{given} fn it() {{ around(&|| {{ members::lock(); }}) }}"), &[&[Card, Member]]);
        locks(&format!("{given} fn it() {{ around(&thing::went) }}"), &[&[Card]]);
        locks("fn it(maybe: Option<i32>) { members::lock(); maybe.or_else(cards::lock); }", &[&[Member, Card]]);
        locks("fn it(db: &crate::engine::db::Db) { db.with(|| { cards::lock(); }) }", &[&[Card]]);
        locks("fn it() { assert!(cards::lock().is_some(), \"none\") }", &[&[Card]]);
    }

    #[test]
    fn what_comes_back_with_nothing_is_told_apart() {
        let there = "fn it(thing: &Thing) { let Some(_) = Thing::of(thing) else { cards::lock(); return; }; months::ensure(); }";
        locks(there, &[&[Card], &[Member, Month]]);
        let both =
            "fn it(thing: &Thing) { match Thing::of(thing) { None => months::ensure(), Some(_) => cards::lock() }; }";
        locks(both, &[&[Month], &[Member, Card]]);
        locks("fn it(thing: &Thing) { if let Some(_) = Thing::of(thing) { cards::lock(); } }", &[&[], &[Member, Card]]);
    }

    #[test]
    fn a_loop_goes_round_again() {
        let round = "fn it(all: &[i32]) { all.iter().for_each(|_| { members::lock(); cards::lock(); }) }";
        locks(round, &[&[Member, Card, Member, Card]]);
        locks("fn it(one: Option<i32>) { one.into_iter().for_each(|_| { cards::lock(); }) }", &[&[Card]]);
    }

    #[test]
    fn what_cannot_be_followed_is_reported() {
        is_reported("fn it() { elsewhere::went(); elsewhere::go() }", "calls elsewhere::go, which cannot be found");
        is_reported("fn it() { hold() }", "calls hold, which cannot be found");
        is_reported(
            "struct Kept { how: fn() } fn it() { keep(Kept { how: thing::went }) } fn keep(_: Kept) {}",
            "keeps a closure",
        );
        is_reported("fn it() -> impl Fn() { || { cards::lock(); } }", "keeps a closure");
        is_reported("fn it(work: impl Fn()) { work() }", "calls work, and the reader does not know");
        is_reported("static HOW: fn() = thing::went; fn it() {}", "features::it::HOW: keeps a closure or a function");
        is_reported("fn it(a: &Thing) { json!({ \"a\": a.hold() }) }", "hold, which locks, stands in a macro");
        is_reported("macro_rules! held { () => { cards::lock() } } fn it() {}", "lock, which locks, stands in a macro");
        is_reported(
            "fn it() { macro_rules! held { () => { cards::lock() } } held!() }",
            "lock, which locks, stands in a macro",
        );
        is_reported("fn it() { fn inside() { cards::lock(); } inside() }", "declares a function within");
        is_reported(
            "struct Guard; impl Drop for Guard { fn drop(&mut self) { cards::lock(); } } fn it() {}",
            "is called by what another",
        );
    }
}
