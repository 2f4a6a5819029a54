//! `app.merchant_statement`: a page of a merchant's transactions, newest first.

use crate::engine::types::{Day, NumericOut, RawJsonb, Text, Timestamp, Uuid};
use crate::kernel::access::operated_merchant;
use crate::kernel::call::{Call, read};
use crate::kernel::{args, days, months};
use crate::ledger::chain::shown;
use crate::ledger::history::{self, Holder};
use crate::ledger::tx::{Place, Tx};
use crate::ledger::{late, lines, transactions};
use mps_domain::error::{Error, Result, Token, ensure};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn merchant_statement_v3(
    p_merchant_code: Option<Text>,
    p_from: Option<Timestamp>,
    p_to: Option<Timestamp>,
    p_before: Option<Text>,
    p_limit: Option<i32>,
    p_day: Option<Day>,
) -> TableIterator<
    'static,
    (
        name!(tx_id, i64),
        name!(tx_no, String),
        name!(tx_type, &'static str),
        name!(status, &'static str),
        name!(card_type, &'static str),
        name!(card_id, Uuid),
        name!(raw_amount, NumericOut),
        name!(discount, NumericOut),
        name!(final_amount, NumericOut),
        name!(points_earned, i64),
        name!(payment_method, &'static str),
        name!(original_tx_no, Option<String>),
        name!(refunded_amount, Option<NumericOut>),
        name!(reason, Option<String>),
        name!(tag, RawJsonb),
        name!(external_order_id, Option<String>),
        name!(processed_by, Option<Uuid>),
        name!(created_at, Timestamp),
        name!(posted_at, Option<Timestamp>),
        name!(business_day, Day),
    ),
> {
    let page = read(|call| page(call, p_merchant_code, (p_from, p_to, p_day), p_before, p_limit));
    TableIterator::new(page.into_iter().map(|(day, tx)| {
        (
            tx.id.raw(),
            tx.tx_no(),
            tx.tx_type.label(),
            tx.status.label(),
            tx.card_type.label(),
            tx.card_id,
            tx.raw_amount.into(),
            tx.discount.into(),
            tx.final_amount.into(),
            tx.points_earned,
            tx.payment_method.label(),
            tx.original_tx_no,
            tx.refunded_amount.map(Into::into),
            tx.reason,
            shown(tx.tag),
            tx.external_order_id,
            tx.processed_by,
            tx.created_at,
            tx.posted_at,
            day,
        )
    }))
}

/// Each transaction with its business day.
fn page(
    call: &Call,
    p_merchant_code: Option<Text>,
    (p_from, p_to, p_day): (Option<Timestamp>, Option<Timestamp>, Option<Day>),
    p_before: Option<Text>,
    p_limit: Option<i32>,
) -> Result<Vec<(Day, Tx)>> {
    let merchant = operated_merchant(call, p_merchant_code)?;
    let limit = args::page_rows(p_limit)?;
    let (from, to) = period(call, p_from, p_to, p_day)?;
    let end = Place { at: to, id: i64::MIN };
    let before = match args::optional_tx_number(p_before, "p_before")? {
        None => None,
        Some((tx_type, id)) => {
            ensure(months::readable(call.db, id.month())?, Token::TxNotFound)?;
            let tx = transactions::find(call.db, id)
                .filter(|tx| tx.tx_type == tx_type && tx.merchant_id == Some(merchant.id))
                .ok_or(Token::TxNotFound)?;
            Some(tx.place())
        }
    };
    let page = lines(call, merchant.id, from, before.map_or(end, |b| b.min(end)), limit);
    // Nothing here, but something may be in a month that is archived: say so rather than "nothing". Of a merchant that is new
    // nothing is.
    let of_merchant = from.max(merchant.created_at);
    if page.is_empty() && before.is_none() && of_merchant < to && history::any_archived(call.db, of_merchant, to) {
        return Err(Error::new(Token::Archived, "part of the period is archived"));
    }
    page.into_iter().map(|tx| Ok((days::of(call.db, tx.place().at)?, tx))).collect()
}

/// The moments that are asked for: a range, or a day.
fn period(
    call: &Call,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    day: Option<Day>,
) -> Result<(Timestamp, Timestamp)> {
    if let Some(day) = day {
        if from.is_some() || to.is_some() {
            return Err(Error::new(Token::InvalidArgument, "p_day and p_from or p_to are not given together"));
        }
        return days::bounds(call.db, day);
    }
    let (from, to) = (from.unwrap_or(Timestamp(i64::MIN)), to.unwrap_or(Timestamp(i64::MAX)));
    if from > to {
        return Err(Error::new(Token::InvalidArgument, "p_from is after p_to"));
    }
    Ok((from, to))
}

/// The newest lines of a merchant from a moment to before a place: those of the months that were posted in them, and what was
/// posted in another month than it was asked for in.
fn lines(call: &Call, merchant: i32, from: Timestamp, before: Place, limit: i64) -> Vec<Tx> {
    let mut page = Vec::new();
    for month in history::holding(call.db, Holder::Merchant(merchant), call.month, from, before.at) {
        let wanted = limit - page.len() as i64;
        if wanted <= 0 {
            break;
        }
        page.extend(lines::of_merchant(call.db, month, merchant, from, before, wanted));
    }
    let mut late = late::of_merchant(call.db, merchant, from, before, limit).into_iter().peekable();
    let mut lines = Vec::new();
    let mut page = page.into_iter().peekable();
    while lines.len() < limit as usize {
        let next_late = late.next_if(|l| page.peek().is_none_or(|tx: &Tx| tx.place() < *l));
        match next_late {
            Some(place) => lines.extend(lines::at(call.db, place)),
            None => match page.next() {
                Some(tx) => lines.push(tx),
                None => break,
            },
        }
    }
    lines
}
