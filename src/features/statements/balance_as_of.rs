//! `app.balance_as_of`: what a card held at a moment.

use crate::engine::types::{NumericOut, Text, Timestamp, Uuid};
use crate::kernel::args;
use crate::kernel::call::read;
use crate::ledger::cards;
use crate::ledger::standing::standing_at;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn balance_as_of(p_card_id: Option<Uuid>, p_at: Option<Timestamp>, p_card_type: Option<Text>) -> NumericOut {
    let balance = read(|call| {
        call.caller.client()?;
        let id = args::required(p_card_id, "p_card_id")?;
        let card = cards::visible(call, args::card_type_or_personal(p_card_type)?, id)?;
        let at = args::required(p_at, "p_at")?;
        standing_at(call, &card, at).map(|(_, balance)| balance)
    });
    balance.into()
}
