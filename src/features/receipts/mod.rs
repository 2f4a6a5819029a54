//! Receipts: a Merkle tree over the sealed movements, one over the balances at each month's end, and heads over both, signed by a key
//! that is not in the database. A member who keeps a receipt can show what was taken, whatever becomes of the database.

mod check_heads;
mod declare_restore;
mod finish_tree;
mod grow_tree;
mod head_proof;
mod heads;
mod key;
mod liability_proof;
mod receipts_are_on;
mod sign_head;
mod texts;
mod trees;
mod tx_proof;

use crate::engine::types::RawJsonb;
use crate::features::receipts::heads::Head;
use crate::kernel::call::Call;
use data_encoding::BASE64;
use mps_domain::error::Result;
use mps_domain::tree::Label;
use serde_json::json;

/// One sealer at a time, as for the seals themselves: by the same lock, after which everything is looked at anew.
fn alone(call: &Call) -> Result<()> {
    call.db.run("LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE", &[]);
    call.after_waiting()
}

/// What shows that a leaf stands under a head.
fn receipt<L: Label>(kind: &str, leaf: &str, index: u64, path: &[L], head: &Head) -> RawJsonb {
    let receipt = json!({
        "kind": kind,
        "leaf": leaf,
        "index": index,
        "path": joined(path),
        "head": head.text,
        "signature": BASE64.encode(&head.signature),
    });
    RawJsonb::parse(&receipt.to_string())
}

/// Labels one after the other, in base64.
fn joined<L: Label>(labels: &[L]) -> String {
    let mut bytes = Vec::with_capacity(labels.len() * L::BYTES);
    labels.iter().for_each(|label| label.write(&mut bytes));
    BASE64.encode(&bytes)
}
