//! `app.balance_as_of`: what a card held at a moment.

use crate::engine::types::{NumericOut, Text, Timestamp, Uuid};
use crate::kernel::args;
use crate::kernel::call::{Call, read};
use crate::kernel::months::{self, Presence};
use crate::ledger::lines::{self, Link};
use crate::ledger::{cards, history, late};
use mps_domain::error::{Error, Result, Token, ensure};
use mps_domain::money::Money;
use mps_domain::tx_no::TxId;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn balance_as_of(p_card_id: Option<Uuid>, p_at: Option<Timestamp>, p_card_type: Option<Text>) -> NumericOut {
    let balance = read(|call| {
        call.caller.client()?;
        let id = args::required(p_card_id, "p_card_id")?;
        let card = cards::visible(call, args::card_type_or_personal(p_card_type)?, id)?;
        let at = args::required(p_at, "p_at")?;
        if card.last_posted_at.is_none_or(|t| t <= at) {
            return Ok(card.balance);
        }
        balance_at(call, card.id, card.last_tx_id, card.skip_tx_id, at)
    });
    balance.into()
}

/// Walks back to the last movement at or before `at`: by the long steps as long as they stay after it, then one by one.
fn balance_at(call: &Call, card: Uuid, last: Option<TxId>, skip: Option<TxId>, at: Timestamp) -> Result<Money> {
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
            return Ok(link.balance_after);
        }
        here = link.prev;
    }
    Ok(Money::ZERO)
}

/// The chain leads into an archived month. If all months that began by `at` are here nevertheless, the answer lies in them: nothing
/// is posted before its month begins. It also is the last movement by `at` that is here, if none that is archived was posted since.
fn before_archived(call: &Call, card: Uuid, archived: TxId, at: Timestamp) -> Result<Money> {
    let here = history::here_before(call.db, archived);
    if late::posted_at(call.db, archived).is_some_and(|posted| posted > at)
        && let Some((id, _, left)) = lines::newest_of_card(call.db, &here, card, i64::MAX, at)
    {
        let since = follow(call, id)?.posted_at;
        let is_last = !late::any_archived_of_card(call.db, card, since, at);
        ensure(is_last && !history::any_archived(call.db, since, at), Token::Archived)?;
        return Ok(left);
    }
    ensure(!history::archived_by(call.db, at), Token::Archived)?;
    ensure(!here.is_empty(), Token::Archived)?;
    Ok(lines::newest_of_card(call.db, &here, card, i64::MAX, at).map_or(Money::ZERO, |(_, _, left)| left))
}

fn follow(call: &Call, id: TxId) -> Result<Link> {
    ensure(months::readable(call.db, id.month())?, Token::TxNotFound)?;
    lines::link(call.db, id)
        .ok_or_else(|| Error::new(Token::TxNotFound, "a movement that the card's chain names is not there"))
}
