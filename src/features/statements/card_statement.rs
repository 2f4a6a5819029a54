//! `app.card_statement`: a page of a card's movements, newest first.

use crate::engine::types::{NumericOut, RawJsonb, Text, Timestamp, Uuid};
use crate::kernel::call::{Call, read};
use crate::kernel::{args, merchants, months};
use crate::ledger::chain::{shown, walk_back};
use crate::ledger::tx::Tx;
use crate::ledger::{cards, transactions};
use mps_domain::error::{Result, Token, ensure};
use pgrx::prelude::*;
use std::collections::HashMap;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn card_statement(
    p_card_id: Option<Uuid>,
    p_card_type: Option<Text>,
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
    ),
> {
    let rows = read(|call| page(call, p_card_id, p_card_type, p_before, p_limit));
    TableIterator::new(rows.into_iter().map(|(tx, merchant)| {
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
        )
    }))
}

/// Each movement with the code of its merchant.
fn page(
    call: &Call,
    p_card_id: Option<Uuid>,
    p_card_type: Option<Text>,
    p_before: Option<Text>,
    p_limit: Option<i32>,
) -> Result<Vec<(Tx, Option<String>)>> {
    call.caller.client()?;
    let id = args::required(p_card_id, "p_card_id")?;
    let card = cards::visible(call, args::card_type_or_personal(p_card_type)?, id)?;
    let limit = args::page_rows(p_limit)?;
    let (newest, seq) = match args::optional_tx_number(p_before, "p_before")? {
        None => (card.last_tx_id, card.card_seq),
        Some((tx_type, before)) => {
            ensure(months::readable(call.db, before.month())?, Token::TxNotFound)?;
            let tx = transactions::find(call.db, before)
                .filter(|tx| tx.tx_type == tx_type && tx.card_id == card.id)
                .ok_or(Token::TxNotFound)?;
            (tx.prev_tx_id, tx.card_seq.ok_or(Token::TxNotFound)?)
        }
    };
    let page = walk_back(call, card.id, newest, seq, limit)?;
    let mut codes: HashMap<i32, Option<String>> = HashMap::new();
    Ok(page
        .into_iter()
        .map(|tx| {
            let merchant =
                tx.merchant_id.and_then(|m| codes.entry(m).or_insert_with(|| merchants::code_of(call.db, m)).clone());
            (tx, merchant)
        })
        .collect())
}
