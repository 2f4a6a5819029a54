//! `sec.finish_tree`: the nodes, the root and the total of a month's balances, from the leaves that `audit.publish_balances()` has put
//! in their order.

use crate::engine::param::p;
use crate::features::receipts::trees::{self, Kept};
use crate::kernel::shadows;
use mps_domain::tree::{self, CHUNK_LEAVES, Hash, Label, Sum};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn finish_tree(p_tree: i32) -> i64 {
    shadows::write(|db| {
        let mut kept = Kept::<Sum>::of(db, p_tree);
        let chunks: i64 = db
            .row("SELECT pg_catalog.count(*) FROM audit.tree_chunks c WHERE c.tree = $1", &[p(p_tree)], |r| r.get(1))
            .expect("one row");
        let mut leaves = 0;
        for chunk in 0..chunks as u64 {
            let labels = kept.chunk(chunk).to_vec();
            leaves += labels.len() as u64;
            if labels.len() as u64 == CHUNK_LEAVES {
                trees::complete(db, p_tree, chunk, &labels);
            }
        }
        let root = tree::root(&mut kept, leaves);
        let (cents, hash) = root.map_or((0, Hash::of_nothing()), |root| (root.cents, Hash(root.hash)));
        let mut bytes = Vec::with_capacity(Hash::BYTES);
        hash.write(&mut bytes);
        let cents = i64::try_from(cents).expect("sums of balances fit");
        db.run_once(
            "UPDATE audit.trees SET leaves = $2, total_cents = $3, root = $4 WHERE tree = $1",
            &[p(p_tree), p(leaves as i64), p(cents), p(&bytes[..])],
        );
        leaves as i64
    })
}
