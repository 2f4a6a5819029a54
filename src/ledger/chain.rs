//! What the reading RPCs share: who may see a card, walking back along its movements, and which tags are shown.

use crate::engine::types::{RawJsonb, Timestamp, Uuid};
use crate::kernel::call::Call;
use crate::kernel::months;
use crate::ledger::tx::Tx;
use crate::ledger::{history, lines};
use mps_domain::error::{Result, Token, ensure};
use mps_domain::limits;
use mps_domain::tx_no::TxId;
use serde_json::json;

/// The newest movement of a card below an archived one, of those that are here, with its number: there are some where that was posted in
/// a later month than its own, or older months are here all the same. `seq` is its number, or that of the one above it.
pub fn below_archived(call: &Call, archived: TxId, card: Uuid, seq: i64) -> Option<(TxId, i64)> {
    let months = history::here_before(call.db, archived);
    lines::newest_of_card(call.db, &months, card, seq, Timestamp(i64::MAX)).map(|(id, seq, _)| (id, seq))
}

/// Up to `limit` movements from `newest` back along the card's chain; `seq` is its number, or that of the one above it. What is archived
/// is left out. Where nothing below it is here the page ends; that is an error only where the page would begin there.
pub fn walk_back(call: &Call, card: Uuid, newest: Option<TxId>, mut seq: i64, limit: i64) -> Result<Vec<Tx>> {
    let mut page: Vec<Tx> = Vec::new();
    let mut next = newest;
    while let Some(id) = next {
        let wanted = limit - page.len() as i64;
        if wanted <= 0 {
            break;
        }
        match months::readable(call.db, id.month()) {
            Ok(present) => ensure(present, Token::TxNotFound)?,
            Err(archived) => {
                match below_archived(call, id, card, seq) {
                    Some((older, older_seq)) => (next, seq) = (Some(older), older_seq),
                    None if page.is_empty() => return Err(archived),
                    None => break,
                }
                continue;
            }
        }
        let part = lines::chain_in_month(call.db, id, wanted);
        let last = part.last().ok_or(Token::TxNotFound)?;
        (next, seq) = (last.prev_tx_id, last.card_seq.unwrap_or(1));
        page.extend(part);
    }
    Ok(page)
}

/// A tag as it is shown: itself, or where its text would be too long (older versions let such in), how long.
pub fn shown(tag: RawJsonb) -> RawJsonb {
    if tag.text_bytes(limits::SHOWN_TAG_BYTES).is_some() {
        return tag;
    }
    let bytes = tag.text_bytes(usize::MAX);
    RawJsonb::parse(&json!({ "mps_omitted": "tag", "bytes_of_text": bytes }).to_string())
}
