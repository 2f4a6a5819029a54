//! `app.tx_proof`: a receipt for a movement.

use crate::engine::param::p;
use crate::engine::types::{RawJsonb, Text};
use crate::features::receipts::texts::Movement;
use crate::features::receipts::trees::{self, Kept, MOVEMENTS};
use crate::features::receipts::{heads, receipt};
use crate::kernel::access::may_see;
use crate::kernel::args;
use crate::kernel::call::{Call, read};
use crate::kernel::months;
use crate::ledger::cards::{self, Card};
use crate::ledger::transactions;
use crate::ledger::tx::Tx;
use mps_domain::error::{Error, Result, Token, ensure};
use mps_domain::tree::{self, CHUNK_LEAVES, Hash, Label};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn tx_proof(p_tx_no: Option<Text>) -> RawJsonb {
    read(|call| {
        let (tx, card) = seen(call, p_tx_no)?;
        let (Some(card_seq), Some(balance_after), Some(posted_at)) = (tx.card_seq, tx.balance_after, tx.posted_at)
        else {
            return Err(Error::new(Token::StatusConflict, "it moved no money"));
        };
        let head = heads::newest(call.db).ok_or_else(none_yet)?;
        let tree = trees::find(call.db, MOVEMENTS).ok_or_else(none_yet)?;
        let tx_no = tx.tx_no();
        let movement =
            Movement { tx_no: &tx_no, card_no: &card.card_no, card_seq, change: tx.change(), balance_after, posted_at };
        let leaf = movement.leaf(&tree.secret);
        let index =
            place_of(call, &tx, Hash::of_leaf(&leaf)).filter(|index| *index < head.leaves).ok_or_else(none_yet)?;
        let path = tree::path(&mut Kept::<Hash>::of(call.db, MOVEMENTS), index, head.leaves);
        Ok(receipt("mps receipt 1", &leaf, index, &path, &head))
    })
}

/// The movement and its card, if the caller may see both.
fn seen(call: &Call, p_tx_no: Option<Text>) -> Result<(Tx, Card)> {
    let user = call.caller.client()?;
    let (tx_type, id) = args::tx_number(p_tx_no, "p_tx_no")?;
    ensure(months::readable(call.db, id.month())?, Token::TxNotFound)?;
    let tx = transactions::find(call.db, id).filter(|tx| tx.tx_type == tx_type).ok_or(Token::TxNotFound)?;
    let card = cards::find(call.db, tx.card_type, tx.card_id).ok_or(Token::TxNotFound)?;
    ensure(user.is_none_or(|user| may_see(call, &card, user)), Token::TxNotFound)?;
    Ok((tx, card))
}

/// Which leaf of the tree it is: chunks are found by when it was posted.
fn place_of(call: &Call, tx: &Tx, hash: Hash) -> Option<u64> {
    let chunks: Vec<(i64, Vec<u8>)> = call.db.rows(
        "SELECT c.chunk_no, c.labels FROM audit.tree_chunks c WHERE c.tree = 0 AND c.posted @> $1 ORDER BY c.chunk_no",
        &[p(tx.posted_at)],
        |r| (r.get(1), r.get(2)),
    );
    chunks.iter().find_map(|(chunk, labels)| {
        let within = labels.chunks(Hash::BYTES).position(|label| label == hash.0)?;
        Some(*chunk as u64 * CHUNK_LEAVES + within as u64)
    })
}

fn none_yet() -> Error {
    Error::new(Token::StatusConflict, "no signed head stands over it; heads are signed by audit.seal()")
}
