//! How a card stood at a moment: found along its chain, by the long steps first.

use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::call::Call;
use crate::kernel::months::{self, Presence};
use crate::ledger::cards::Card;
use crate::ledger::lines::{self, Link};
use crate::ledger::{history, late};
use mps_domain::error::{Error, Result, Token, ensure};
use mps_domain::money::Money;
use mps_domain::tx_no::TxId;

/// How many movements a card had at a moment, and what it held after the last of them.
pub fn standing_at(call: &Call, card: &Card, at: Timestamp) -> Result<(i64, Money)> {
    if card.last_posted_at.is_none_or(|t| t <= at) {
        return Ok((card.card_seq, card.balance));
    }
    walk_to(call, card.id, card.last_tx_id, card.skip_tx_id, at)
}

/// Walks back to the last movement at or before `at`: by the long steps as long as they stay after it, then one by one.
fn walk_to(call: &Call, card: Uuid, last: Option<TxId>, skip: Option<TxId>, at: Timestamp) -> Result<(i64, Money)> {
    let mut here = last;
    let mut far = skip;
    while let Some(id) = far {
        // A long step may lead into an archived month that the answer does not lie in.
        if months::presence(call.db, id.month()) == Presence::Archived {
            break;
        }
        let link = follow(call, id)?;
        if link.posted_at <= at {
            break;
        }
        (here, far) = (Some(id), link.skip);
    }
    while let Some(id) = here {
        if months::presence(call.db, id.month()) == Presence::Archived {
            return before_archived(call, card, id, at);
        }
        let link = follow(call, id)?;
        if link.posted_at <= at {
            return Ok((link.card_seq, link.balance_after));
        }
        here = link.prev;
    }
    Ok((0, Money::ZERO))
}

/// The chain leads into an archived month. If all months that began by `at` are here nevertheless, the answer lies in them: nothing
/// is posted before its month begins. It also is the last movement by `at` that is here, if none that is archived was posted since.
fn before_archived(call: &Call, card: Uuid, archived: TxId, at: Timestamp) -> Result<(i64, Money)> {
    let here = history::here_before(call.db, archived);
    if late::posted_at(call.db, archived).is_some_and(|posted| posted > at)
        && let Some((id, seq, left)) = lines::newest_of_card(call.db, &here, card, i64::MAX, at)
    {
        let since = follow(call, id)?.posted_at;
        let is_last = !late::any_archived_of_card(call.db, card, since, at);
        ensure(is_last && !history::any_archived(call.db, since, at), Token::Archived)?;
        return Ok((seq, left));
    }
    ensure(!history::archived_by(call.db, at), Token::Archived)?;
    ensure(!here.is_empty(), Token::Archived)?;
    Ok(lines::newest_of_card(call.db, &here, card, i64::MAX, at).map_or((0, Money::ZERO), |(_, seq, left)| (seq, left)))
}

fn follow(call: &Call, id: TxId) -> Result<Link> {
    ensure(months::readable(call.db, id.month())?, Token::TxNotFound)?;
    lines::link(call.db, id)
        .ok_or_else(|| Error::new(Token::TxNotFound, "a movement that the card's chain names is not there"))
}
