//! How long a long history takes, and that nothing is found in one that is as it should be.

mod shop;

use mps_certify::certify;
use shop::Shop;
use std::time::Duration;

/// What a million operations may take, on one core.
const MILLION_IN: Duration = Duration::from_secs(10);

/// What this thread has spent on a core: others may be busy, too.
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    let spent = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(spent.expect("a number"))
}

/// `MPS_CERTIFY_OPERATIONS=1000000` for the whole of it.
#[test]
fn a_million_operations_are_certified_in_ten_seconds() {
    let asked = std::env::var("MPS_CERTIFY_OPERATIONS").ok().and_then(|n| n.parse().ok());
    let operations: usize = asked.unwrap_or(100_000);
    let seed = 7;
    let mut shop = Shop::new(seed, 2_000);
    shop.run(operations);
    let began = spent();
    let certificate = certify(&shop.books, &shop.history);
    let took = spent() - began;
    println!(
        "{} operations ({} reads, {} replays, {} refusals, {} unknown): {} nodes, {} edges, {:.2} s, seed {seed}",
        certificate.operations,
        certificate.reads,
        certificate.replays,
        certificate.refusals,
        certificate.unknown,
        certificate.nodes,
        certificate.edges,
        took.as_secs_f64()
    );
    assert!(certificate.findings.is_empty(), "{:#?}", &certificate.findings[..certificate.findings.len().min(5)]);
    assert!(certificate.reads > operations / 10 && certificate.replays > operations / 20);
    let allowed = MILLION_IN.mul_f64(operations as f64 / 1e6);
    assert!(took <= allowed, "{took:?} for {operations} operations, {allowed:?} are allowed");
}
