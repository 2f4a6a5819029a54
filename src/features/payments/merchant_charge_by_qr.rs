//! `app.merchant_charge_by_qr`: takes a payment from the card that a pay code names.

use crate::engine::server;
use crate::engine::types::{JsonbArg, NumericArg, NumericOut, RawJsonb, Text, Timestamp, Uuid};
use crate::features::coupons::{self, Held};
use crate::kernel::access::{operated_merchant, still_operated};
use crate::kernel::args;
use crate::kernel::call::{Call, write};
use crate::kernel::keys::{OrderScope, Scope};
use crate::kernel::members::{self, Binding, CodeState};
use crate::kernel::merchants::{self, Merchant};
use crate::kernel::months::Open;
use crate::ledger::cards::{self, Card};
use crate::ledger::posting::{self, Outcome, nothing_beside};
use crate::ledger::replay::{Dedupe, First, same_card_and_amount};
use crate::ledger::tx::Tx;
use mps_domain::card::CardType;
use mps_domain::coupon::WhyNot;
use mps_domain::error::{Error, Result, Token, ensure};
use mps_domain::member::MemberStatus;
use mps_domain::money::Money;
use mps_domain::pay_code::Place;
use mps_domain::quote::{NoPrice, quote};
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
    let payer = look_at_payer(call, at.open, &place, &hash)?;
    match pay(call, at, payer, None, request)? {
        Some(done) => Ok(done),
        None => {
            let payer = lock_payer(call, at.open, &place, &hash)?;
            Ok(pay(call, at, payer, None, request)?.expect("a locked card does not change"))
        }
    }
}

/// A payment with a coupon. The card is locked before the coupon, as by a refund; who has no live code of the member's locks nothing.
fn pay_with_coupon(
    call: &Call,
    at: &At,
    shown: (Place, pay_code::Hash),
    number: i64,
    request: &Request,
) -> Result<Paid> {
    let (place, hash) = shown;
    let member = shown_by(call, &place, &hash)?;
    coupons::lock_before_cards(call, at.open, number, member)?;
    let payer = lock_payer(call, at.open, &place, &hash)?;
    let held = coupons::hold(call, at.open, number, payer.member, &payer.card)?;
    Ok(pay(call, at, payer, Some(held), request)?.expect("a locked card does not change"))
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

/// Who pays: a card, and the member whose code was shown.
struct Payer {
    card: Card,
    member: Uuid,
    member_status: Option<MemberStatus>,
    code_ends_at: Option<Timestamp>,
    /// To a company card, locked.
    binding: Option<Binding>,
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

/// Checks the payer, prices and posts; also says when code or card would have ended. `None` where the card changed since it
/// was read without a lock.
fn pay(call: &Call, at: &At, payer: Payer, held: Option<Held>, request: &Request) -> Result<Option<Paid>> {
    let Payer { mut card, member, member_status, code_ends_at, mut binding } = payer;
    args::within_limit(request.amount, "p_amount", &call.config())?;
    posting::ensure_usable(&card)?;
    ensure(member_status == Some(MemberStatus::Active), Token::MemberNotActive)?;

    let mut terms = posting::terms(call, &card, request.amount, request.excluded);
    if let Some(held) = &held {
        let part = request.amount.minus(request.excluded).expect("no more than all is excluded");
        terms.coupon = Some(held.for_charge(call, &card, at.merchant, part)?);
    }
    let priced = quote(&terms).map_err(refused)?;
    ensure(card.balance >= priced.final_amount, Token::InsufficientBalance)?;

    let mut tx = posting::new_tx(call, at.id, TxType::Payment, &card, request.amount, priced.final_amount);
    tx.member_id = Some(member);
    tx.merchant_id = Some(at.merchant);
    tx.discount = priced.discount();
    tx.points_earned = priced.points_earned;
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
        Some(held) => posting::try_post(call, &mut card, &mut tx, spend_code, |tx| held.spend(call, at.open, tx))?,
        None => posting::try_post(call, &mut card, &mut tx, spend_code, nothing_beside)?,
    };
    if outcome == Outcome::CardChanged {
        return Ok(None);
    }
    Ok(Some((tx, code_ends_at.into_iter().chain(card.expires_at).min())))
}

/// Why there is no price.
fn refused(why: NoPrice) -> Error {
    match why {
        NoPrice::NothingLeftToPay => Error::new(Token::InvalidAmount, "after the discount nothing is left to pay"),
        NoPrice::PointsOutOfRange => Error::new(Token::InvalidAmount, "the points for it are out of range"),
        NoPrice::CouponSavesNothing => coupons::unusable(WhyNot::SavesNothing),
        NoPrice::DiscountIsBetter => coupons::unusable(WhyNot::DiscountIsBetter),
    }
}

/// The member whose code it is, compared without a lock.
fn shown_by(call: &Call, place: &Place, hash: &pay_code::Hash) -> Result<Uuid> {
    let (code_is_live, member) = match *place {
        Place::Personal { card } => {
            let seen = cards::peek_payer(call.db, Uuid::from_bytes(card));
            let is_live = is_live(seen.as_ref().map(|(card, _)| card.code()), hash);
            (is_live, seen.and_then(|(card, _)| card.member_id))
        }
        Place::Enterprise { card, member } => {
            let member = Uuid::from_bytes(member);
            let seen = members::binding(call.db, Uuid::from_bytes(card), member);
            (is_live(seen.as_ref().map(Binding::code), hash), Some(member))
        }
    };
    member.filter(|_| code_is_live).ok_or_else(|| Token::QrExpiredOrInvalid.into())
}

/// The payer that a code names: a personal card as it is now, not locked; a company card locked. A code is compared before
/// anything is locked, so that a forged one cannot hold up a card. Everything that is wrong with a code has the one answer
/// that does not say whether the card exists.
fn look_at_payer(call: &Call, open: Open, place: &Place, hash: &pay_code::Hash) -> Result<Payer> {
    match *place {
        Place::Personal { card } => {
            let seen = cards::peek_payer(call.db, Uuid::from_bytes(card));
            ensure(is_live(seen.as_ref().map(|(card, _)| card.code()), hash), Token::QrExpiredOrInvalid)?;
            let (card, status) = seen.expect("a live code has a card");
            let member = card.member_id.expect("personal cards have a member");
            let code_ends_at = card.qr_expires_at;
            Ok(Payer { card, member, member_status: status, code_ends_at, binding: None })
        }
        Place::Enterprise { card, member } => {
            let seen = members::binding(call.db, Uuid::from_bytes(card), Uuid::from_bytes(member));
            ensure(is_live(seen.as_ref().map(Binding::code), hash), Token::QrExpiredOrInvalid)?;
            lock_payer(call, open, place, hash)
        }
    }
}

/// The payer that a code names, locked; code, settings and levels are looked at once more under the lock.
fn lock_payer(call: &Call, open: Open, place: &Place, hash: &pay_code::Hash) -> Result<Payer> {
    let refused = Token::QrExpiredOrInvalid;
    let (card, member, code_ends_at, binding) = match *place {
        Place::Personal { card } => {
            let card = cards::lock(open, CardType::Personal, Uuid::from_bytes(card)).ok_or(refused)?;
            ensure(is_live(Some(card.code()), hash), refused)?;
            let (member, end) = (card.member_id.expect("personal cards have a member"), card.qr_expires_at);
            (card, member, end, None)
        }
        Place::Enterprise { card, member } => {
            let (id, member) = (Uuid::from_bytes(card), Uuid::from_bytes(member));
            let card = cards::lock(open, CardType::Enterprise, id).ok_or(refused)?;
            let binding = members::lock_binding(open, id, member);
            let code = binding.as_ref().map(Binding::code);
            ensure(is_live(code, hash), refused)?;
            let end = code.and_then(|c| c.expires_at);
            (card, member, end, binding)
        }
    };
    call.after_waiting()?;
    Ok(Payer { card, member, member_status: members::status(call.db, member), code_ends_at, binding })
}

fn is_live(code: Option<CodeState>, shown: &pay_code::Hash) -> bool {
    // Compared in any case, so that a card without a code answers no faster.
    let matches = pay_code::matches(code.and_then(|c| c.hash), shown);
    matches && code.and_then(|c| c.expires_at).is_some_and(|end| server::now() < end)
}

/// The length beyond which a shown code is not even parsed (see `pay_code::read`) is far below what a key may have.
const _: () = assert!(pay_code::MAX_CHARS < limits::KEY_CHARS);
