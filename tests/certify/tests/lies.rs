//! One lie in a long history is found, whichever it is and wherever it stands.

mod shop;

use mps_certify::certify;
use mps_certify::sabotage::Liar;
use shop::Shop;
use std::collections::BTreeMap;

#[test]
fn every_lie_is_found() {
    let seed = 11;
    let mut shop = Shop::new(seed, 60);
    shop.run(6_000);
    assert!(certify(&shop.books, &shop.history).findings.is_empty());
    let mut history = shop.history.clone();
    let mut liar = Liar::new(&shop.books, &shop.history, seed);
    let mut ways: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..400 {
        let lie = liar.lie(&mut history).expect("there is something to lie about");
        let found = certify(&shop.books, &history).findings;
        let told: Vec<_> = lie.before.iter().map(|(at, _)| &history.operations[*at]).collect();
        assert!(!found.is_empty(), "{}: {told:#?} in place of {:#?}", lie.what, lie.before);
        *ways.entry(lie.what).or_default() += 1;
        lie.take_back(&mut history);
    }
    assert!(certify(&shop.books, &history).findings.is_empty(), "a lie was not taken back");
    // Nobody pays with a code here.
    assert!(ways.len() >= 14, "{ways:?}");
}
