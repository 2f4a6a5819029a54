//! What the two recharge RPCs share: money enters a card from outside, at once (a backend's word, or settings that trust
//! the caller) or once the gateway's confirmation comes.

use super::asked_method;
use crate::engine::types::{JsonbArg, NumericArg, NumericOut, RawJsonb, Text, Timestamp, Uuid};
use crate::kernel::access::operated_merchant;
use crate::kernel::args::{self, Given};
use crate::kernel::call::Call;
use crate::kernel::keys::{OrderScope, Scope};
use crate::kernel::members;
use crate::kernel::merchants::{self, Merchant};
use crate::ledger::cards::{self, Card};
use crate::ledger::replay::{Dedupe, First};
use crate::ledger::tx::Tx;
use crate::ledger::{posting, transactions};
use mps_domain::card::CardType;
use mps_domain::error::{Error, Result, Token, ensure};
use mps_domain::member::MemberStatus;
use mps_domain::money::Money;
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

/// What was asked for, and for which card, as seen before any lock.
struct Asked<'a> {
    seen: Card,
    merchant_code: Option<&'a str>,
    merchant: Option<Merchant>,
    amount: Money,
    method: PayMethod,
    reason: Option<&'a str>,
    tag: RawJsonb,
    dedupe: Dedupe<'a>,
}

impl Asked<'_> {
    fn merchant_id(&self) -> Option<i32> {
        self.merchant.as_ref().map(|m| m.id)
    }

    /// Whether a recharge is this one: by what was asked for, however it was paid.
    fn is(&self, call: &Call, tx: &Tx) -> bool {
        tx.tx_type == TxType::Recharge
            && tx.raw_amount == self.amount
            && tx.merchant_id == self.merchant_id()
            && asked_method::of(call.db, tx) == self.method
            && is_for(call, tx, &self.seen)
    }
}

/// Records a recharge for a caller who may: `authorise` is given the card as seen, before any lock.
pub fn record(
    call: &Call,
    request: Request,
    authorise: impl Fn(&Call, Option<Card>) -> Result<Card>,
) -> Result<(Tx, Uuid, bool)> {
    let asked = read(call, request, &authorise)?;
    let (card_type, card_id) = (asked.seen.card_type, asked.seen.id);
    let ended = |tx: &Tx| matches!(tx.status, TxStatus::Cancelled | TxStatus::Failed);
    let first = asked.dedupe.claim_or_again(call, |tx| asked.is(call, tx), ended)?;
    if call.has_waited() {
        authorise(call, cards::find(call.db, card_type, card_id))?;
    }
    let id = match first {
        First::Answer(tx) => return Ok((*tx, card_id, true)),
        First::Time(id) => id,
    };
    args::within_limit(asked.amount, "p_amount", &call.config())?;
    if let Some(merchant) = &asked.merchant {
        ensure(merchant.active, Token::MerchantInactive)?;
    }
    let open = call.open_month()?;
    asked.merchant_id().into_iter().for_each(|id| merchants::pin(call.db, id));

    let mut card = cards::lock(open, card_type, card_id).ok_or(Token::CardNotFound)?;
    call.after_waiting()?;
    if call.has_waited() {
        card = authorise(call, Some(card))?;
        if let Some(code) = asked.merchant_code {
            ensure(operated_merchant(call, Some(code))?.active, Token::MerchantInactive)?;
        }
        args::within_limit(asked.amount, "p_amount", &call.config())?;
    }
    posting::ensure_usable(&card)?;
    let payer = card.member_id.or(call.caller.uid.filter(|_| !call.caller.is_backend));
    if let Some(member) = payer {
        ensure(members::status(call.db, member) == Some(MemberStatus::Active), Token::MemberNotActive)?;
    }
    posting::ensure_room(call, &card, asked.amount)?;

    let mut tx = posting::new_tx(call, id, TxType::Recharge, &card, asked.amount, asked.amount);
    tx.member_id = payer;
    tx.merchant_id = asked.merchant_id();
    tx.payment_method = asked.method;
    tx.reason = asked.reason.map(String::from);
    tx.tag = asked.tag;
    tx.idempotency_key = asked.dedupe.key.map(|(_, k)| k.into());
    tx.external_order_id = asked.dedupe.order.map(|(_, o)| o.into());
    if call.caller.is_backend || call.config().recharges_are_trusted() {
        posting::post(call, &mut card, &mut tx)?;
    } else {
        await_money(call, &card, &tx)?;
    }
    Ok((tx, card_id, false))
}

fn read<'a>(
    call: &Call,
    request: Request<'a>,
    authorise: impl Fn(&Call, Option<Card>) -> Result<Card>,
) -> Result<Asked<'a>> {
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
    let dedupe = Dedupe {
        key: args::optional_key(request.idempotency_key, "p_idempotency_key")?.map(|key| match &merchant {
            Some(merchant) => (Scope::merchant_recharge(merchant.id), key),
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
    Ok(Asked { seen, merchant_code, merchant, amount, method, reason, tag, dedupe })
}

/// Keeps a recharge until its money comes.
fn await_money(call: &Call, card: &Card, tx: &Tx) -> Result<()> {
    let most = i64::from(call.config().max_pending_recharges);
    if transactions::pending_count(call.db, card.id, most) >= most {
        return Err(Error::new(Token::TooManyPending, format!("{most} recharges of the card wait already")));
    }
    transactions::insert_pending(call.db, tx)?;
    // So that whoever closes the card on an older snapshot fails to serialise instead of missing what is pending.
    cards::touch(call.db, card.card_type, card.id);
    call.audit(
        "recharge.requested",
        "transaction",
        &tx.tx_no(),
        json!({
            "card_no": card.card_no, "amount": tx.final_amount.to_string(), "method": tx.payment_method.label()
        }),
    );
    Ok(())
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
