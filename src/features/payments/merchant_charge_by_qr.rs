//! `app.merchant_charge_by_qr`: takes a payment from the card that a pay code names.

use super::no_price;
use super::payer::{self, Payer};
use crate::engine::server;
use crate::engine::types::{JsonbArg, NumericArg, NumericOut, RawJsonb, Text, Timestamp, Uuid};
use crate::features::campaigns::{self, Applied};
use crate::features::coupons::{self, Held};
use crate::kernel::access::{operated_merchant, still_operated};
use crate::kernel::args;
use crate::kernel::call::{Call, write};
use crate::kernel::keys::{OrderScope, Scope};
use crate::kernel::members;
use crate::kernel::merchants::{self, Merchant};
use crate::kernel::months::Open;
use crate::ledger::posting::{self, Outcome, nothing_beside};
use crate::ledger::replay::{Dedupe, First, same_card_and_amount};
use crate::ledger::tx::Tx;
use mps_domain::card::CardType;
use mps_domain::error::{Result, Token, ensure};
use mps_domain::member::MemberStatus;
use mps_domain::money::Money;
use mps_domain::pay_code::Place;
use mps_domain::quote::{Quote, quote};
use mps_domain::tx_no::{TxId, TxType};
use mps_domain::{limits, pay_code};
use pgrx::prelude::*;

// Its C symbol is of 0.3.0 and on, so that a library is never called with the arguments of another release.
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn merchant_charge_by_qr_v3(
    p_merchant_code: Option<Text>,
    p_qr_plain: Option<Text>,
    p_amount: Option<NumericArg>,
    p_reason: Option<Text>,
    p_tag: Option<JsonbArg>,
    p_idempotency_key: Option<Text>,
    p_external_order_id: Option<Text>,
    p_coupon_code: Option<Text>,
    p_excluded_amount: Option<NumericArg>,
) -> TableIterator<
    'static,
    (
        name!(tx_id, i64),
        name!(tx_no, String),
        name!(card_type, &'static str),
        name!(card_id, Uuid),
        name!(raw_amount, NumericOut),
        name!(discount, NumericOut),
        name!(final_amount, NumericOut),
        name!(points_earned, i64),
        name!(status, &'static str),
        name!(created_at, Timestamp),
        name!(replayed, bool),
        name!(coupon_discount, NumericOut),
        name!(points_bonus, i64),
    ),
> {
    let (tx, replayed) = write(|call| {
        let merchant = operated_merchant(call, p_merchant_code)?;
        let amount = args::amount(p_amount, "p_amount")?;
        let reason = args::optional_reason(p_reason)?;
        let tag = args::object(p_tag, "p_tag")?;
        let dedupe = Dedupe {
            key: args::optional_key(p_idempotency_key, "p_idempotency_key")?.map(|k| (Scope::charge(merchant.id), k)),
            order: args::optional_key(p_external_order_id, "p_external_order_id")?
                .map(|o| (OrderScope::payment(merchant.id), o)),
        };
        let shown = pay_code::read(args::typed(p_qr_plain, "p_qr_plain")?);
        let excluded = args::part_of(amount, p_excluded_amount, "p_excluded_amount")?;
        let coupon = args::optional_coupon_number(p_coupon_code, "p_coupon_code")?;
        charge(call, merchant, p_merchant_code, shown, Request { amount, excluded, coupon, reason, tag, dedupe })
    });
    TableIterator::once((
        tx.id.raw(),
        tx.tx_no(),
        tx.card_type.label(),
        tx.card_id,
        tx.raw_amount.into(),
        tx.discount.into(),
        tx.final_amount.into(),
        tx.points_earned,
        tx.status.label(),
        tx.created_at,
        replayed,
        tx.coupon_discount.unwrap_or(Money::ZERO).into(),
        tx.points_bonus.unwrap_or(0),
    ))
}

/// The payment, and whether it was made before.
fn charge(
    call: &Call,
    merchant: Merchant,
    merchant_code: Option<Text>,
    shown: Option<(Place, pay_code::Hash)>,
    request: Request,
) -> Result<(Tx, bool)> {
    let first = request.dedupe.claim(call, |tx| {
        tx.tx_type == TxType::Payment
            && shown.is_some_and(|(place, _)| paid_from(tx, &place, request.amount))
            && tx.excluded_amount.unwrap_or(Money::ZERO) == request.excluded
            && tx.member_coupon_id == request.coupon
    })?;
    let merchant = still_operated(call, merchant, merchant_code)?;
    let id = match first {
        First::Answer(tx) => return Ok((*tx, true)),
        First::Time(id) => id,
    };
    args::within_limit(request.amount, "p_amount", &call.config())?;
    ensure(merchant.active, Token::MerchantInactive)?;
    let open = call.open_month()?;
    merchants::pin(call.db, merchant.id);
    if call.has_waited() {
        call.after_waiting()?;
    }

    let (place, hash) = shown.ok_or(Token::QrExpiredOrInvalid)?;
    let at = At { id, merchant: merchant.id, open };
    let (tx, valid_until) = match request.coupon {
        Some(number) => pay_with_coupon(call, &at, (place, hash), number, &request)?,
        None => pay_alone(call, &at, (place, hash), &request)?,
    };
    // The last that could be waited for is behind it, in whatever step.
    if call.has_waited() {
        call.after_waiting()?;
        ensure(operated_merchant(call, merchant_code)?.active, Token::MerchantInactive)?;
        ensure(valid_until.is_none_or(|end| server::now() < end), Token::QrExpiredOrInvalid)?;
        if let Some(number) = request.coupon {
            coupons::ensure_not_paused(call, number)?;
        }
    }
    Ok((tx, false))
}

/// A payment without a coupon; also says when code or card would have ended. A personal card is seldom wanted twice at once: it is read
/// without a lock and written only if nothing about it changed. Where something did, and for company cards, it is locked first.
fn pay_alone(call: &Call, at: &At, shown: (Place, pay_code::Hash), request: &Request) -> Result<Paid> {
    let (place, hash) = shown;
    let payer = match place {
        Place::Personal { .. } => payer::seen(call.db, &place, &hash)?,
        Place::Enterprise { .. } => {
            payer::shown_by(call.db, &place, &hash)?;
            payer::lock(call, at.open, &place, &hash)?
        }
    };
    let pay = |payer: Payer| {
        let priced = price(call, at, &payer, None, request)?;
        write_down(call, at, payer, &priced, None, request)
    };
    match pay(payer)? {
        Some(done) => Ok(done),
        None => Ok(pay(payer::lock(call, at.open, &place, &hash)?)?.expect("a locked card does not change")),
    }
}

/// A payment with a coupon. The card is locked before the coupon, as by a refund; who has no live code of the member's locks nothing.
/// A budget is drawn before anything moves, and may be waited for: what was priced before that is priced again.
fn pay_with_coupon(
    call: &Call,
    at: &At,
    shown: (Place, pay_code::Hash),
    number: i64,
    request: &Request,
) -> Result<Paid> {
    let (place, hash) = shown;
    let member = payer::shown_by(call.db, &place, &hash)?;
    coupons::lock_before_cards(call, at.open, number, member)?;
    let payer = payer::lock(call, at.open, &place, &hash)?;
    let mut held = coupons::hold(call, at.open, number, payer.member, &payer.card)?;
    let mut priced = price(call, at, &payer, Some(&held), request)?;
    if !held.draw(at.open, &payer.card, priced.quote.coupon_discount)? {
        let budget = held.lock_budget(call, at.open)?;
        priced = price(call, at, &payer, Some(&held), request)?;
        held.draw_from(budget, at.open, &payer.card, priced.quote.coupon_discount)?;
    }
    Ok(write_down(call, at, payer, &priced, Some(held), request)?.expect("a locked card does not change"))
}

/// Whether a transaction was paid from where a code points: which code it was does not matter.
fn paid_from(tx: &Tx, place: &Place, amount: Money) -> bool {
    match place {
        Place::Personal { card } => {
            tx.card_type == CardType::Personal
                && same_card_and_amount(tx, Uuid::from_bytes(*card), tx.member_id, amount)
        }
        Place::Enterprise { card, member } => {
            tx.card_type == CardType::Enterprise
                && same_card_and_amount(tx, Uuid::from_bytes(*card), Some(Uuid::from_bytes(*member)), amount)
        }
    }
}

/// What a till asks for.
struct Request<'a> {
    amount: Money,
    /// Of it, what takes no part in discounts, coupons and points.
    excluded: Money,
    /// The number of the coupon that is shown.
    coupon: Option<i64>,
    reason: Option<&'a str>,
    tag: RawJsonb,
    dedupe: Dedupe<'a>,
}

/// As what and where it is paid.
struct At<'a> {
    id: TxId,
    merchant: i32,
    open: Open<'a>,
}

/// A payment, and when code or card would have ended.
type Paid = (Tx, Option<Timestamp>);

/// What a payment costs, and the campaigns that were asked.
struct Priced {
    quote: Quote,
    campaigns: Applied,
}

/// Checks the payer, and what the payment costs.
fn price(call: &Call, at: &At, payer: &Payer, held: Option<&Held>, request: &Request) -> Result<Priced> {
    let card = &payer.card;
    args::within_limit(request.amount, "p_amount", &call.config())?;
    posting::ensure_usable(card)?;
    ensure(payer.member_status == Some(MemberStatus::Active), Token::MemberNotActive)?;
    let mut terms = posting::terms(call, card, request.amount, request.excluded);
    let campaigns = campaigns::applying(call, card, at.merchant, terms.part());
    campaigns.add_to(&mut terms);
    if let Some(held) = held {
        terms.coupon = Some(held.for_charge(call, card, at.merchant, terms.part())?);
    }
    let quote = quote(&terms).map_err(no_price)?;
    ensure(card.balance >= quote.final_amount, Token::InsufficientBalance)?;
    Ok(Priced { quote, campaigns })
}

/// Posts a payment that is priced; also says when code or card would have ended. `None` where the card changed since it was read
/// without a lock.
fn write_down(
    call: &Call,
    at: &At,
    payer: Payer,
    priced: &Priced,
    held: Option<Held>,
    request: &Request,
) -> Result<Option<Paid>> {
    let Payer { mut card, member, member_status: _, code_ends_at, mut binding } = payer;
    let Priced { quote: priced, campaigns } = priced;
    let mut tx = posting::new_tx(call, at.id, TxType::Payment, &card, request.amount, priced.final_amount);
    tx.member_id = Some(member);
    tx.merchant_id = Some(at.merchant);
    tx.discount = priced.discount();
    tx.points_earned = priced.points_earned;
    campaigns.note(call, &mut tx, priced);
    tx.refunded_amount = Some(Money::ZERO);
    tx.excluded_amount = Some(request.excluded).filter(|excluded| !excluded.is_zero());
    tx.coupon_discount = held.as_ref().map(|_| priced.coupon_discount);
    tx.member_coupon_id = request.coupon;
    tx.reason = request.reason.map(String::from);
    tx.tag = request.tag.clone();
    tx.idempotency_key = request.dedupe.key.map(|(_, k)| k.into());
    tx.external_order_id = request.dedupe.order.map(|(_, o)| o.into());
    let spend_code = call.config().qr_single_use;
    // Before the money moves: a trigger on that may make the member's next code.
    if spend_code && let Some(binding) = &mut binding {
        members::set_code(call.db, binding, None)?;
    }
    let outcome = match held {
        Some(held) => posting::try_post(call, &mut card, &mut tx, spend_code, |tx| held.spend(call, tx))?,
        None => posting::try_post(call, &mut card, &mut tx, spend_code, nothing_beside)?,
    };
    if outcome == Outcome::CardChanged {
        return Ok(None);
    }
    Ok(Some((tx, code_ends_at.into_iter().chain(card.expires_at).min())))
}

/// The length beyond which a shown code is not even parsed (see `pay_code::read`) is far below what a key may have.
const _: () = assert!(pay_code::MAX_CHARS < limits::KEY_CHARS);
