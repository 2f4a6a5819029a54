//! The protocols of MPS that interleave, each followed in every order that there is (`stateright`). A file is a protocol: its first
//! comment says what of the real system stands in it, how far it goes, and what must hold in every state, by the names of the storm's
//! checks where the storm has them. What is decided (prices, points, levels, statuses, numbers) is decided by `mps-domain` itself; what
//! the server does with rows that several want is `server.rs`, and is the same for all of them.
//!
//! A protocol that joins is a file here with a `Model`, a test by [`holds`], and for each way in which it could be wrong a test by
//! [`finds`]: a model that finds nothing may be one that cannot. [`is_long`] is for more of them at once.

pub mod books;
pub mod charge;
pub mod closing;
pub mod cut;
pub mod declared;
pub mod keys;
pub mod leaves;
pub mod locks;
pub mod names;
pub mod recharge;
pub mod server;
pub mod sources;
pub mod walk;

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

/// Whether the long form was asked for: `MPS_MODELS=long`.
pub fn is_long() -> bool {
    std::env::var("MPS_MODELS").is_ok_and(|form| form == "long")
}

/// What went wrong first, for who reads the way there.
type Trail = String;

/// Goes through all states. What must always hold does, and what must be possible was seen, or the test fails with the way there.
pub fn holds<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let (found, missed) = explore(name, model, HasDiscoveries::AnyFailures);
    if let Some((broken, trail)) = found.first() {
        panic!("{name}: does not hold: {broken}\n{trail}");
    }
    assert!(missed.is_empty(), "{name}: never seen, so nothing was shown about it: {missed:?}");
}

/// That a protocol which is wrong on purpose is found out, by the name of what breaks.
pub fn finds<M>(name: &str, model: M, broken: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let (found, _) = explore(name, model, HasDiscoveries::AllOf([broken].into()));
    let trail = found.iter().find(|(what, _)| *what == broken).map(|(_, trail)| trail);
    let trail = trail.unwrap_or_else(|| panic!("{name}: is wrong on purpose, and nothing was found of: {broken}"));
    println!("{name}: found, as it should be: {broken}\n{trail}");
}

/// Every state, or until enough is found: what breaks and how one comes there, and what was never seen of what should be possible.
fn explore<M>(name: &str, model: M, enough: HasDiscoveries) -> (Vec<(&'static str, Trail)>, Vec<&'static str>)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let began = Instant::now();
    let properties = model.properties();
    let checker = model.checker().finish_when(enough).spawn_bfs().join();
    let discoveries = checker.discoveries();
    println!(
        "{name}: {} states ({} steps, up to {} in a row), {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    let (mut found, mut missed) = (vec![], vec![]);
    for property in properties {
        let path = discoveries.get(property.name);
        match property.expectation {
            Expectation::Sometimes if path.is_none() => missed.push(property.name),
            Expectation::Sometimes => {}
            _ => found.extend(path.map(|path| {
                let steps: Vec<String> = path.clone().into_actions().iter().map(|a| format!("    {a:?}")).collect();
                (property.name, format!("{}\n  ends in {:?}", steps.join("\n"), path.last_state()))
            })),
        }
    }
    (found, missed)
}

/// Whether anybody can go on: in a state where nobody can and not all have ended, some wait for each other for ever.
pub fn somebody_goes_on<M: Model>(model: &M, state: &M::State) -> bool {
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    actions.into_iter().any(|action| model.next_state(state, action).is_some())
}

#[cfg(test)]
mod tests {
    /// What a model says by a name of the storm's is what the storm checks, by whoever greps for it.
    #[test]
    fn names_are_those_of_the_storm() {
        let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("below tests");
        let storm = std::fs::read_to_string(top.join("storm/src/verify.rs")).expect("the storm's checks");
        let sources = std::fs::read_dir(top.join("models/src")).expect("the models");
        let mut named = 0;
        for file in sources.map(|entry| entry.expect("a file").path()).filter(|file| !file.ends_with("lib.rs")) {
            let text = std::fs::read_to_string(&file).expect("a source file");
            // Declared as `const NAME: &str = "..."; // of the storm`, on one line or two.
            for (before, _) in text.match_indices("// of the storm").map(|(at, _)| text.split_at(at)) {
                let name = before.rsplit('"').nth(1).expect("a name before it");
                assert!(storm.contains(&format!("\"{name}\"")), "{}: the storm has no check {name}", file.display());
                named += 1;
            }
        }
        assert!(named >= 10, "only {named} names are the storm's");
    }
}
