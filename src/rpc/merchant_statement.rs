//! `app.merchant_statement`: a page of a merchant's transactions, newest first.

use super::merchant_charge_by_qr::operated_merchant;
use super::statement::shown;
use super::{args, read};
use crate::error::{Error, Token, ensure};
use crate::store::types::{NumericOut, RawJsonb, Text, Timestamp, Uuid};
use crate::store::{months, transactions};
use mps_domain::month::Month;
use pgrx::prelude::*;

/// How far the clock may have been set back since the newest row was written.
const CLOCK_MARGIN_MICROS: i64 = 24 * 3_600 * 1_000_000;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn merchant_statement(
    p_merchant_code: Option<Text>,
    p_from: Option<Timestamp>,
    p_to: Option<Timestamp>,
    p_before: Option<Text>,
    p_limit: Option<i32>,
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
    ),
> {
    let page = read(|call| {
        let merchant = operated_merchant(call, p_merchant_code)?;
        let limit = args::page_rows(p_limit)?;
        let from = p_from.unwrap_or(Timestamp(i64::MIN));
        let to = p_to.unwrap_or(Timestamp(i64::MAX));
        if from > to {
            return Err(Error::new(Token::InvalidArgument, "p_from is after p_to"));
        }
        let before = match args::optional_tx_number(p_before, "p_before")? {
            None => None,
            Some((tx_type, id)) => {
                ensure(months::readable(call.db, id.month())?, Token::TxNotFound)?;
                let tx = transactions::find(call.db, id)
                    .filter(|tx| tx.tx_type == tx_type && tx.merchant_id == Some(merchant.id))
                    .ok_or(Token::TxNotFound)?;
                Some((tx.created_at, tx.id))
            }
        };
        let newest = before.map(|(_, id)| id.month());
        // Nothing of a merchant is older than the merchant.
        let from = from.max(merchant.created_at);
        let oldest = Month::of(from.0);
        let mut page = Vec::new();
        // Months are made ahead; nothing is in those that have not begun.
        let to = to.min(Timestamp(call.at.0 + CLOCK_MARGIN_MICROS));
        for month in months::all(call.db) {
            if newest.is_some_and(|n| month > n) || month.starts_at() >= to.0 {
                continue;
            }
            let wanted = limit - page.len() as i64;
            if wanted <= 0 || oldest.is_some_and(|o| month < o) {
                break;
            }
            page.extend(transactions::of_merchant(call.db, month, merchant.id, from, to, before, wanted));
        }
        // Nothing here, but something may be in a month that is archived: say so rather than "nothing".
        if page.is_empty() && before.is_none() && from < to && months::any_archived(call.db, from, to) {
            return Err(Error::new(Token::Archived, "part of the period is archived"));
        }
        Ok(page)
    });
    TableIterator::new(page.into_iter().map(|tx| {
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
        )
    }))
}
