//! What the two recharge RPCs share: money enters a card from outside, at once (a backend's word, or settings that trust
//! the caller) or once the gateway's confirmation comes.

use crate::engine::types::{JsonbArg, NumericArg, NumericOut, Text, Timestamp, Uuid};
use crate::kernel::access::operated_merchant;
use crate::kernel::args::{self, Given};
use crate::kernel::call::Call;
use crate::kernel::keys::{OrderScope, Scope};
use crate::kernel::{members, merchants};
use crate::ledger::cards::{self, Card};
use crate::ledger::replay::{Dedupe, First};
use crate::ledger::tx::Tx;
use crate::ledger::{posting, transactions};
use mps_domain::card::CardType;
use mps_domain::error::{Error, Result, Token, ensure};
use mps_domain::member::MemberStatus;
use mps_domain::tx_no::{PayMethod, TxStatus, TxType};
use pgrx::prelude::*;
use serde_json::json;

/// The arguments of either RPC.
pub struct Request<'a> {
    pub card_type: CardType,
    pub card_id: Option<Uuid>,
    pub amount: Option<NumericArg>,
    pub payment_method: Option<Text<'a>>,
    pub reason: Option<Text<'a>>,
    pub tag: Option<JsonbArg>,
    pub external_order_id: Option<Text<'a>>,
    pub idempotency_key: Option<Text<'a>>,
    pub merchant_code: Option<Text<'a>>,
}

/// The result columns of either RPC.
pub type Answer = TableIterator<
    'static,
    (
        name!(tx_id, i64),
        name!(tx_no, String),
        name!(card_id, Uuid),
        name!(amount, NumericOut),
        name!(status, &'static str),
        name!(created_at, Timestamp),
        name!(replayed, bool),
    ),
>;

/// `card_id` is the card that was asked for; a recharge may since have been credited to its replacement.
pub fn answer(tx: Tx, card_id: Uuid, replayed: bool) -> Answer {
    TableIterator::once((
        tx.id.raw(),
        tx.tx_no(),
        card_id,
        tx.final_amount.into(),
        tx.status.label(),
        tx.created_at,
        replayed,
    ))
}

/// Records a recharge for a caller who may: `authorise` is given the card as seen, before any lock.
pub fn record(
    call: &Call,
    request: Request,
    authorise: impl Fn(&Call, Option<Card>) -> Result<Card>,
) -> Result<(Tx, Uuid, bool)> {
    call.caller.client()?;
    let argument = match request.card_type {
        CardType::Personal => "p_personal_card_id",
        CardType::Enterprise => "p_enterprise_card_id",
    };
    let card_id = args::required(request.card_id, argument)?;
    let seen = authorise(call, cards::find(call.db, request.card_type, card_id))?;
    let merchant_code = args::said(request.merchant_code);
    call.caller.only_backend_gives(merchant_code.is_some(), "p_merchant_code")?;
    let merchant = match merchant_code {
        Some(code) => Some(operated_merchant(call, Some(code))?),
        None => None,
    };

    let amount = args::amount(request.amount, "p_amount")?;
    let method = payment_method(call, request.payment_method)?;
    let reason = args::optional_reason(request.reason)?;
    let tag = args::object(request.tag, "p_tag")?;
    let merchant_id = merchant.as_ref().map(|m| m.id);
    let dedupe = Dedupe {
        key: args::optional_key(request.idempotency_key, "p_idempotency_key")?.map(|key| match merchant_id {
            Some(id) => (Scope::merchant_recharge(id), key),
            None => (Scope::card_recharge(request.card_type, &seen.card_no), key),
        }),
        order: args::optional_key(request.external_order_id, "p_external_order_id")?.map(|order| {
            // A member's word occupies nobody else's order, whenever it is credited.
            let scope = if call.caller.is_backend {
                OrderScope::recharge(method)
            } else {
                OrderScope::of_card(request.card_type, &seen.card_no)
            };
            (scope, order)
        }),
    };

    let same = |tx: &Tx| {
        tx.tx_type == TxType::Recharge
            && tx.raw_amount == amount
            && tx.payment_method == method
            && tx.merchant_id == merchant_id
            && is_for(call, tx, &seen)
    };
    let ended = |tx: &Tx| matches!(tx.status, TxStatus::Cancelled | TxStatus::Failed);
    let first = dedupe.claim_or_again(call, same, ended)?;
    if call.has_waited() {
        authorise(call, cards::find(call.db, request.card_type, card_id))?;
    }
    let id = match first {
        First::Answer(tx) => return Ok((*tx, card_id, true)),
        First::Time(id) => id,
    };
    args::within_limit(amount, "p_amount", &call.config())?;
    if let Some(merchant) = &merchant {
        ensure(merchant.active, Token::MerchantInactive)?;
    }
    call.open_month()?;
    merchant_id.into_iter().for_each(|id| merchants::pin(call.db, id));

    let mut card = cards::lock(call.db, request.card_type, card_id).ok_or(Token::CardNotFound)?;
    call.after_waiting()?;
    if call.has_waited() {
        card = authorise(call, Some(card))?;
        if let Some(code) = merchant_code {
            ensure(operated_merchant(call, Some(code))?.active, Token::MerchantInactive)?;
        }
        args::within_limit(amount, "p_amount", &call.config())?;
    }
    posting::ensure_usable(&card)?;
    let payer = card.member_id.or(call.caller.uid.filter(|_| !call.caller.is_backend));
    if let Some(member) = payer {
        ensure(members::status(call.db, member) == Some(MemberStatus::Active), Token::MemberNotActive)?;
    }
    posting::ensure_room(call, &card, amount)?;

    let mut tx = posting::new_tx(call, id, TxType::Recharge, &card, amount, amount);
    tx.member_id = payer;
    tx.merchant_id = merchant_id;
    tx.payment_method = method;
    tx.reason = reason.map(String::from);
    tx.tag = tag;
    tx.idempotency_key = dedupe.key.map(|(_, k)| k.into());
    tx.external_order_id = dedupe.order.map(|(_, o)| o.into());
    if call.caller.is_backend || call.config().recharges_are_trusted {
        posting::post(call, &mut card, &mut tx)?;
    } else {
        let most = i64::from(call.config().max_pending_recharges);
        if transactions::pending_count(call.db, card.id, most) >= most {
            return Err(Error::new(Token::TooManyPending, format!("{most} recharges of the card wait already")));
        }
        transactions::insert_pending(call.db, &tx)?;
        // So that whoever closes the card on an older snapshot fails to serialise instead of missing what is pending.
        cards::touch(call.db, card.card_type, card.id);
        call.audit(
            "recharge.requested",
            "transaction",
            &tx.tx_no(),
            json!({ "card_no": card.card_no, "amount": amount.to_string(), "method": method.label() }),
        );
    }
    Ok((tx, card_id, false))
}

fn payment_method<'a>(call: &Call, label: impl Given<'a>) -> Result<PayMethod> {
    let refused = |why: &'static str| Error::new(Token::InvalidPaymentMethod, why);
    // Left out, or empty, it is the one of the declaration.
    let label = label.given().map(|label| if label.is_empty() { PayMethod::Wechat.label() } else { label });
    match label.and_then(PayMethod::from_label) {
        None => Err(refused("p_payment_method is wechat, alipay or (for backends) cash")),
        Some(PayMethod::Balance) => Err(refused("a balance cannot recharge itself")),
        Some(PayMethod::Cash) if !call.caller.is_backend => Err(refused("cash is for backends")),
        Some(method) => Ok(method),
    }
}

/// Whether a recharge was asked for this card: it carries it, or a card that has taken over from it since.
fn is_for(call: &Call, tx: &Tx, asked: &Card) -> bool {
    tx.card_type == asked.card_type && posting::succeeds(call, asked.card_type, asked.id, tx.card_id)
}
