//! The sequences that every movement draws from, without a statement.

use crate::engine::cache::{self, Kept};
use crate::engine::server;
use pgrx::pg_sys::Oid;

thread_local! {
    static DRAWN: [Kept<Drawn>; 2] = const { [Kept::new(), Kept::new()] };
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
    let drawn = DRAWN.with(|drawn| {
        drawn[sequence as usize].get(cache::relations()).unwrap_or_else(|| {
            let (read_at, found) = cache::settled(cache::relations, || {
                let found = match sequence {
                    Sequence::TxNo => server::relation(c"app", c"tx_no_seq"),
                    Sequence::EventId => server::relation(c"audit", c"event_id_seq"),
                };
                let oid = found.expect("the sequences of mps exist where its tables do");
                Drawn { oid, in_store: server::takes_in_store(oid) }
            });
            drawn[sequence as usize].keep(read_at, found);
            found
        })
    });
    if drawn.in_store && matches!(sequence, Sequence::EventId) {
        server::forget_store();
    }
    server::next_value(drawn.oid)
}
