//! `app.withdraw`: takes a member's own money off the card at once, to go back the way that it came in.

use super::parts::{self, Part, Payout, Status};
use super::sources::{self, Source, Way};
use crate::engine::types::{NumericArg, NumericOut, Text, Timestamp, Uuid};
use crate::kernel::access::{operated_merchant, still_operated};
use crate::kernel::args;
use crate::kernel::call::{Call, write};
use crate::kernel::keys::Scope;
use crate::kernel::merchants::{self, Merchant};
use crate::ledger::cards;
use crate::ledger::posting;
use crate::ledger::replay::{Dedupe, First};
use crate::ledger::tx::Tx;
use mps_domain::card::CardType;
use mps_domain::error::{Error, Result, Token, ensure, invalid};
use mps_domain::money::Money;
use mps_domain::tx_no::{self, PayMethod, TxType};
use mps_domain::withdrawal::shared_out;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn withdraw(
    p_card_id: Option<Uuid>,
    p_amount: Option<NumericArg>,
    p_reason: Option<Text>,
    p_idempotency_key: Option<Text>,
    p_card_type: Option<Text>,
    p_payout: Option<Text>,
    p_merchant_code: Option<Text>,
) -> TableIterator<
    'static,
    (
        name!(tx_no, String),
        name!(refund_no, String),
        name!(source_tx_no, Option<String>),
        name!(gateway_account, Option<String>),
        name!(gateway_trade_no, Option<String>),
        name!(payment_method, &'static str),
        name!(payout, &'static str),
        name!(amount, NumericOut),
        name!(status, &'static str),
        name!(created_at, Timestamp),
        name!(replayed, bool),
    ),
> {
    let (parts, replayed) = write(|call| {
        call.caller.require_backend()?;
        let asked = Asked {
            card_type: args::card_type_or_personal(p_card_type)?,
            card_id: args::required(p_card_id, "p_card_id")?,
            amount: args::amount(p_amount, "p_amount")?,
            reason: args::reason(p_reason)?,
            key: args::key(p_idempotency_key, "p_idempotency_key")?,
            payout: Payout::from_label(args::label_or(p_payout, "p_payout", Payout::Source.label())?)
                .ok_or_else(|| invalid("p_payout", "is source, transfer or cash"))?,
            merchant_code: args::said(p_merchant_code),
        };
        take_out(call, &asked)
    });
    TableIterator::new(parts.into_iter().map(move |part| {
        (
            part.tx_no,
            part.refund_no,
            part.source_tx_no,
            part.gateway_account,
            part.gateway_trade_no,
            part.payment_method.label(),
            part.payout.label(),
            part.amount.into(),
            part.status.label(),
            part.created_at,
            replayed,
        )
    }))
}

/// What was asked for.
struct Asked<'a> {
    card_type: CardType,
    card_id: Uuid,
    amount: Money,
    reason: &'a str,
    key: &'a str,
    payout: Payout,
    merchant_code: Option<&'a str>,
}

impl Asked<'_> {
    fn merchant(&self, call: &Call) -> Result<Option<Merchant>> {
        self.merchant_code.map(|code| operated_merchant(call, Some(code))).transpose()
    }

    /// What cannot be asked before it is known whether the request is a repetition, and is asked again after a wait.
    fn ensure_possible(&self, call: &Call, merchant: Option<Merchant>) -> Result<()> {
        args::within_limit(self.amount, "p_amount", &call.config())?;
        let merchant = merchant.map(|merchant| still_operated(call, merchant, self.merchant_code)).transpose()?;
        ensure(merchant.is_none_or(|merchant| merchant.active), Token::MerchantInactive)
    }
}

/// Its refund numbers, and whether it was asked for before.
fn take_out(call: &Call, asked: &Asked) -> Result<(Vec<Part>, bool)> {
    let seen = cards::find(call.db, asked.card_type, asked.card_id).ok_or(Token::CardNotFound)?;
    let merchant = asked.merchant(call)?;
    let merchant_id = merchant.as_ref().map(|m| m.id);
    let key = Some((Scope::withdrawal(asked.card_type, &seen.card_no), asked.key));
    let first = Dedupe { key, order: None }.claim(call, |tx| {
        tx.tx_type == TxType::Withdrawal
            && tx.final_amount == asked.amount
            && tx.merchant_id == merchant_id
            && parts::of(call.db, &tx.tx_no()).iter().all(|part| part.asked == asked.payout)
    })?;
    let id = match first {
        First::Answer(tx) => return Ok((parts::of(call.db, &tx.tx_no()), true)),
        First::Time(id) => id,
    };
    asked.ensure_possible(call, merchant)?;
    let open = call.open_month()?;
    merchant_id.into_iter().for_each(|id| merchants::pin(call.db, id));

    let mut card = posting::lock_successor(call, open, asked.card_type, asked.card_id)?;
    asked.ensure_possible(call, asked.merchant(call)?)?;
    ensure(asked.amount <= card.balance, Token::InsufficientBalance)?;
    let sources = sources::of(call, &card, asked.amount)?;
    let shares = shared_out(asked.amount, &sources.iter().map(|source| source.left).collect::<Vec<_>>());
    let shares = shares.ok_or_else(|| not_covered(&sources))?;

    let mut tx = posting::new_tx(call, id, TxType::Withdrawal, &card, asked.amount, asked.amount);
    tx.merchant_id = merchant_id;
    tx.reason = Some(asked.reason.into());
    tx.idempotency_key = Some(asked.key.into());
    let parts = parts(call, asked, &tx, &sources, &shares);
    // Before the movement: a trigger on that which withdraws, too, sees what these take.
    parts.iter().for_each(|part| parts::insert(call.db, part));
    // The card that it is taken off, which is not the one that was named where that was replaced.
    let card_no = card.card_no.clone();
    posting::post_with(call, &mut card, &mut tx, |_| {
        parts.iter().for_each(|part| note(call, part, &card_no));
        Ok(())
    })?;
    Ok((parts, false))
}

fn not_covered(sources: &[Source]) -> Error {
    let left: i64 = sources.iter().map(|source| source.left.cents()).sum();
    let left = Money::from_cents(left);
    Error::new(Token::InsufficientBalance, format!("of what came in by recharges no more than {left} can go out"))
        .with_hint("Withdraw less. What a correction put on the card is taken off by app.compensate_tx().".into())
}

fn parts(call: &Call, asked: &Asked, tx: &Tx, sources: &[Source], shares: &[Money]) -> Vec<Part> {
    let tx_no = tx.tx_no();
    let of_source = |(n, (source, share)): (usize, (&Source, &Money))| {
        let (payout, status) = goes_out(call, asked.payout, source);
        let recharge = source.recharge.as_ref();
        Part {
            created_at: call.at,
            settled_at: (status == Status::Completed).then_some(call.at),
            card_type: tx.card_type,
            payment_method: source.method(),
            card_id: tx.card_id,
            amount: *share,
            refund_no: tx_no::refund_number(&tx_no, n + 1),
            tx_no: tx_no.clone(),
            source_tx_no: recharge.map(Tx::tx_no),
            gateway_account: recharge.and_then(|recharge| sources::account_of(call, recharge)),
            gateway_trade_no: recharge.and_then(|recharge| recharge.gateway_trade_no.clone()),
            asked: asked.payout,
            payout,
            status,
            gateway_state: None,
            gateway_refund_no: None,
            returned_tx_no: None,
            reason: None,
            version: None,
        }
    };
    sources.iter().zip(shares).enumerate().map(of_source).collect()
}

/// How what a source gives goes out, and whether that is done with.
fn goes_out(call: &Call, asked: Payout, source: &Source) -> (Payout, Status) {
    match (asked, source.way(call.at)) {
        (Payout::Cash, _) => (Payout::Cash, Status::Completed),
        (Payout::Transfer, _) | (Payout::Source, Way::Transfer) => (Payout::Transfer, Status::Processing),
        (Payout::Source, Way::Gateway) => (Payout::Source, Status::Processing),
        (Payout::Source, Way::AtOnce) if source.method() == PayMethod::Cash => (Payout::Cash, Status::Completed),
        (Payout::Source, Way::AtOnce) => (Payout::Source, Status::Completed),
    }
}

/// All that writing it anew takes.
fn note(call: &Call, part: &Part, card_no: &str) {
    let mut context = json!({
        "tx_no": part.tx_no, "card_no": card_no, "amount": part.amount.to_string(), "asked": part.asked.label(),
        "payout": part.payout.label(), "method": part.payment_method.label(), "status": part.status.label(),
    });
    let more = [
        ("source", &part.source_tx_no),
        ("gateway_account", &part.gateway_account),
        ("gateway_trade_no", &part.gateway_trade_no),
    ];
    for (key, value) in more {
        if let Some(value) = value {
            context[key] = value.as_str().into();
        }
    }
    call.audit("withdrawal.asked", "withdrawal", &part.refund_no, context);
}
