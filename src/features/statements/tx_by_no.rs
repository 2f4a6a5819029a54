//! `app.tx_by_no`: a transaction by its number, and below a payment its newest refunds.

use crate::engine::types::{NumericOut, RawJsonb, Text, Timestamp, Uuid};
use crate::kernel::access::may_see;
use crate::kernel::call::{Call, read};
use crate::kernel::months::{self, Presence};
use crate::kernel::{args, merchants};
use crate::ledger::chain::shown;
use crate::ledger::tx::Tx;
use crate::ledger::{cards, history, lines, transactions};
use mps_domain::error::{Result, Token, ensure};
use mps_domain::limits;
use mps_domain::tx_no::TxType;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn tx_by_no(
    p_tx_no: Option<Text>,
) -> TableIterator<
    'static,
    (
        name!(tx_id, i64),
        name!(tx_no, String),
        name!(tx_type, &'static str),
        name!(status, &'static str),
        name!(card_type, &'static str),
        name!(card_id, Uuid),
        name!(member_id, Option<Uuid>),
        name!(merchant_code, Option<String>),
        name!(raw_amount, NumericOut),
        name!(discount, NumericOut),
        name!(final_amount, NumericOut),
        name!(points_earned, i64),
        name!(balance_after, Option<NumericOut>),
        name!(payment_method, &'static str),
        name!(original_tx_no, Option<String>),
        name!(refunded_amount, Option<NumericOut>),
        name!(reason, Option<String>),
        name!(tag, RawJsonb),
        name!(created_at, Timestamp),
        name!(posted_at, Option<Timestamp>),
    ),
> {
    let (txs, merchant, sees_card) = read(|call| look_up(call, p_tx_no));
    TableIterator::new(txs.into_iter().map(move |tx| {
        (
            tx.id.raw(),
            tx.tx_no(),
            tx.tx_type.label(),
            tx.status.label(),
            tx.card_type.label(),
            tx.card_id,
            tx.member_id,
            merchant.clone(),
            tx.raw_amount.into(),
            tx.discount.into(),
            tx.final_amount.into(),
            tx.points_earned,
            tx.balance_after.filter(|_| sees_card).map(Into::into),
            tx.payment_method.label(),
            tx.original_tx_no,
            tx.refunded_amount.map(Into::into),
            tx.reason,
            shown(tx.tag),
            tx.created_at,
            tx.posted_at,
        )
    }))
}

/// The transaction and its refunds, the code of its merchant, and whether the caller sees the balance.
fn look_up(call: &Call, p_tx_no: Option<Text>) -> Result<(Vec<Tx>, Option<String>, bool)> {
    let user = call.caller.client()?;
    let (tx_type, id) = args::tx_number(p_tx_no, "p_tx_no")?;
    ensure(months::readable(call.db, id.month())?, Token::TxNotFound)?;
    let tx = transactions::find(call.db, id).filter(|tx| tx.tx_type == tx_type).ok_or(Token::TxNotFound)?;
    let merchant = tx.merchant_id.and_then(|m| merchants::code_of(call.db, m));
    let sees_card = match user {
        None => true,
        Some(user) => cards::find(call.db, tx.card_type, tx.card_id).is_some_and(|card| may_see(call, &card, user)),
    };
    let operates = user.zip(tx.merchant_id).is_some_and(|(u, m)| merchants::role_of(call.db, m, u).is_some());
    // Whoever made it may see it, but the balance of a company card only who still is bound to it.
    let made = user.is_some() && tx.member_id == user;
    ensure(sees_card || made || operates, Token::TxNotFound)?;
    let mut txs = vec![tx];
    if tx_type == TxType::Payment {
        add_refunds(call, &mut txs)?;
    }
    Ok((txs, merchant, sees_card))
}

/// The newest refunds of the payment in `txs[0]`, as many as a page has, newest first, along their own chain.
fn add_refunds(call: &Call, txs: &mut Vec<Tx>) -> Result<()> {
    let mut next = txs[0].refund_chain_id;
    while let Some(id) = next {
        let wanted = 1 + i64::from(limits::PAGE_ROWS) - txs.len() as i64;
        if wanted <= 0 {
            break;
        }
        if months::presence(call.db, id.month()) == Presence::Archived {
            // The payment is older, and here: so are refunds of months before the archived one, perhaps.
            let payment = txs[0].tx_no();
            for month in history::left_before(call.db, id.month()) {
                txs.extend(lines::refunds_in(call.db, month, &payment, wanted));
            }
            txs.truncate(1 + limits::PAGE_ROWS as usize);
            break;
        }
        ensure(months::readable(call.db, id.month())?, Token::TxNotFound)?;
        let refund = transactions::find(call.db, id).ok_or(Token::TxNotFound)?;
        next = refund.refund_chain_id;
        txs.push(refund);
    }
    Ok(())
}
