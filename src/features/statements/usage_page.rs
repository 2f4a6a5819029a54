//! `app.usage_page`: a page of what a member did with all its cards, newest first.

use crate::engine::types::{NumericOut, RawJsonb, Text, Timestamp, Uuid};
use crate::features::statements::usage::Usage;
use crate::kernel::access::may_see;
use crate::kernel::call::{Call, read};
use crate::kernel::{args, merchants, months};
use crate::ledger::chain::shown;
use crate::ledger::tx::{Place, Tx};
use crate::ledger::{cards, transactions};
use mps_domain::card::CardType;
use mps_domain::error::{Result, Token, ensure};
use mps_domain::tx_no::{TxId, TxType};
use pgrx::prelude::*;
use std::collections::HashMap;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn usage_page(
    p_before: Option<Text>,
    p_limit: Option<i32>,
) -> TableIterator<
    'static,
    (
        name!(tx_id, i64),
        name!(tx_no, String),
        name!(tx_type, &'static str),
        name!(status, &'static str),
        name!(change, NumericOut),
        name!(raw_amount, NumericOut),
        name!(discount, NumericOut),
        name!(final_amount, NumericOut),
        name!(points_earned, i64),
        name!(balance_after, Option<NumericOut>),
        name!(card_seq, Option<i64>),
        name!(payment_method, &'static str),
        name!(merchant_code, Option<String>),
        name!(member_id, Option<Uuid>),
        name!(original_tx_no, Option<String>),
        name!(refunded_amount, Option<NumericOut>),
        name!(reason, Option<String>),
        name!(tag, RawJsonb),
        name!(created_at, Timestamp),
        name!(posted_at, Option<Timestamp>),
        name!(card_type, &'static str),
        name!(card_id, Uuid),
        name!(card_no, String),
    ),
> {
    let rows = read(|call| page(call, p_before, p_limit));
    TableIterator::new(rows.into_iter().map(|(tx, merchant, card_no)| {
        (
            tx.id.raw(),
            tx.tx_no(),
            tx.tx_type.label(),
            tx.status.label(),
            tx.change().into(),
            tx.raw_amount.into(),
            tx.discount.into(),
            tx.final_amount.into(),
            tx.points_earned,
            tx.balance_after.map(Into::into),
            tx.card_seq,
            tx.payment_method.label(),
            merchant,
            tx.member_id,
            tx.original_tx_no,
            tx.refunded_amount.map(Into::into),
            tx.reason,
            shown(tx.tag),
            tx.created_at,
            tx.posted_at,
            tx.card_type.label(),
            tx.card_id,
            card_no,
        )
    }))
}

/// Each line with the code of its merchant and the number of its card.
fn page(call: &Call, p_before: Option<Text>, p_limit: Option<i32>) -> Result<Vec<(Tx, Option<String>, String)>> {
    let member = call.caller.signed_in()?;
    let limit = args::page_rows(p_limit)?;
    let before = match args::optional_tx_number(p_before, "p_before")? {
        None => Place { at: Timestamp(i64::MAX), id: i64::MAX },
        Some((tx_type, id)) => place_of(call, member, tx_type, id)?,
    };
    let mut usage = Usage::before(call, member, before, limit)?;
    let mut page = Vec::new();
    while (page.len() as i64) < limit
        && let Some(tx) = usage.next()?
    {
        page.push(tx);
    }
    // As a card's statement: an error only where the page would begin in an archived month.
    ensure(!page.is_empty() || !usage.meets_archive, Token::Archived)?;
    named(call, page)
}

/// Where a line of the member's stands; one that it does not see is not there.
fn place_of(call: &Call, member: Uuid, tx_type: TxType, id: TxId) -> Result<Place> {
    ensure(months::readable(call.db, id.month())?, Token::TxNotFound)?;
    let tx = transactions::find(call.db, id)
        .filter(|tx| tx.tx_type == tx_type && tx.member_id == Some(member))
        .ok_or(Token::TxNotFound)?;
    let card = cards::find(call.db, tx.card_type, tx.card_id).ok_or(Token::TxNotFound)?;
    ensure(may_see(call, &card, member), Token::TxNotFound)?;
    Ok(tx.place())
}

/// Each line with the code of its merchant and the number of its card.
fn named(call: &Call, page: Vec<Tx>) -> Result<Vec<(Tx, Option<String>, String)>> {
    let mut codes: HashMap<i32, Option<String>> = HashMap::new();
    let mut numbers: HashMap<(bool, [u8; 16]), String> = HashMap::new();
    page.into_iter()
        .map(|tx| {
            let code = |m| codes.entry(m).or_insert_with(|| merchants::code_of(call.db, m)).clone();
            let merchant = tx.merchant_id.and_then(code);
            let key = (tx.card_type == CardType::Personal, *tx.card_id.as_bytes());
            let card_no = match numbers.get(&key) {
                Some(known) => known.clone(),
                None => {
                    let card = cards::find(call.db, tx.card_type, tx.card_id).ok_or(Token::CardNotFound)?;
                    numbers.entry(key).or_insert(card.card_no).clone()
                }
            };
            Ok((tx, merchant, card_no))
        })
        .collect()
}
