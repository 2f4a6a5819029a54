//! Posting: the one place where a balance changes. A movement takes the next number in its card's sequence, a moment later
//! than the movement before it, and the balance after it; transaction, card, points and audit event are written together.

use crate::engine::server;
use crate::engine::types::{RawJsonb, Timestamp, Uuid};
use crate::kernel::call::Call;
use crate::kernel::months::Open;
use crate::ledger::cards::{self, Card};
use crate::ledger::points::{self, PointEntry};
use crate::ledger::transactions;
use crate::ledger::tx::Tx;
use mps_domain::card::{CardStatus, CardType};
use mps_domain::coupon;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::{Discount, Money};
use mps_domain::quote::{PointTerms, Reduction, Terms};
use mps_domain::tier::level_for;
use mps_domain::tx_no::{PayMethod, TxId, TxStatus, TxType};

/// Every so many movements one links back to the one that many before it; see `transactions.skip_tx_id`.
pub const SKIP_DISTANCE: i64 = 64;

/// A transaction asked for in this call, not posted yet; the rest of its columns is for the caller to fill in.
pub fn new_tx(call: &Call, id: TxId, tx_type: TxType, card: &Card, raw: Money, paid: Money) -> Tx {
    Tx {
        id,
        tx_type,
        status: TxStatus::Processing,
        created_at: call.at,
        posted_at: None,
        card_type: card.card_type,
        card_id: card.id,
        card_seq: None,
        prev_tx_id: None,
        skip_tx_id: None,
        refund_chain_id: None,
        member_id: card.member_id,
        processed_by: call.caller.uid,
        merchant_id: None,
        payment_method: PayMethod::Balance,
        raw_amount: raw,
        discount: Discount::NONE,
        final_amount: paid,
        balance_after: None,
        points_earned: 0,
        refunded_amount: None,
        refundable_left: None,
        original_tx_no: None,
        idempotency_key: None,
        external_order_id: None,
        gateway_trade_no: None,
        reason: None,
        failure_reason: None,
        tag: RawJsonb::empty(),
        excluded_amount: None,
        coupon_discount: None,
        member_coupon_id: None,
        points_base: None,
        points_bonus: None,
        campaigns: None,
        locked_version: None,
    }
}

/// Whether a movement was written, or the card turned out to have changed since it was read without a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Posted,
    /// Nothing was written: lock the card and read it again.
    CardChanged,
}

/// Posts a new transaction on a locked card: moves the balance, the points it earns, and writes all of it.
pub fn post(call: &Call, card: &mut Card, tx: &mut Tx) -> Result<()> {
    post_with(call, card, tx, nothing_beside)
}

/// As [`post`], with what a family writes beside it.
pub fn post_with(call: &Call, card: &mut Card, tx: &mut Tx, beside: impl FnOnce(&Tx) -> Result<()>) -> Result<()> {
    let outcome = try_post(call, card, tx, false, beside)?;
    assert_eq!(outcome, Outcome::Posted, "a locked card is written or an error");
    Ok(())
}

/// That a family writes nothing beside a posting.
pub fn nothing_beside(_: &Tx) -> Result<()> {
    Ok(())
}

/// As [`post_with`], also for a card that was read without a lock. The card is written first: with that the movement has its
/// place in the sequence, and nothing has to be taken back where it loses the race. `beside` is called once that is certain and
/// the movement is written, so that [`Outcome::CardChanged`] still says that nothing was.
pub fn try_post(
    call: &Call,
    card: &mut Card,
    tx: &mut Tx,
    spend_code: bool,
    beside: impl FnOnce(&Tx) -> Result<()>,
) -> Result<Outcome> {
    move_balance(card, tx)?;
    if tx.points_earned != 0 {
        move_points(card, tx.points_earned)?;
    }
    let level = settle_level(call, card);
    if !cards::save(call.db, card, spend_code)? {
        return Ok(Outcome::CardChanged);
    }
    transactions::insert(call.db, tx)?;
    if tx.points_earned != 0 {
        record_points(call, card, tx.points_earned, Some(&tx.tx_no()), tx.reason.as_deref());
    }
    audit_movement(call, card, tx, level);
    beside(tx)?;
    Ok(Outcome::Posted)
}

/// Posts a recharge that was recorded before and now has its money.
pub fn post_waiting(call: &Call, card: &mut Card, tx: &mut Tx) -> Result<()> {
    tx.card_id = card.id;
    move_balance(card, tx)?;
    let level = settle_level(call, card);
    save_locked(call, card)?;
    transactions::complete(call.db, tx)?;
    audit_movement(call, card, tx, level);
    Ok(())
}

/// Changes the points of a locked card by themselves and writes card and ledger. Returns the level, where that changed, as the audit
/// log has it.
pub fn post_points(
    call: &Call,
    card: &mut Card,
    change: i64,
    tx_no: Option<&str>,
    reason: Option<&str>,
) -> Result<Option<String>> {
    move_points(card, change)?;
    let level = settle_level(call, card);
    save_locked(call, card)?;
    record_points(call, card, change, tx_no, reason);
    Ok(level)
}

fn save_locked(call: &Call, card: &mut Card) -> Result<()> {
    let written = cards::save(call.db, card, false)?;
    assert!(written, "a locked card is written or an error");
    Ok(())
}

fn move_balance(card: &mut Card, tx: &mut Tx) -> Result<()> {
    let balance = card.balance.plus(tx.change()).ok_or(Token::BalanceLimit)?;
    if balance.is_negative() {
        return Err(Token::InsufficientBalance.into());
    }
    let posted_at = later_than(card.last_posted_at);
    card.card_seq += 1;
    tx.status = TxStatus::Completed;
    tx.card_seq = Some(card.card_seq);
    tx.prev_tx_id = card.last_tx_id;
    tx.posted_at = Some(posted_at);
    tx.balance_after = Some(balance);
    if card.card_seq % SKIP_DISTANCE == 0 {
        tx.skip_tx_id = card.skip_tx_id;
        card.skip_tx_id = Some(tx.id);
    }
    card.balance = balance;
    card.last_tx_id = Some(tx.id);
    card.last_posted_at = Some(posted_at);
    Ok(())
}

/// The clock, or the next microsecond after the card's last movement where the clock went back.
fn later_than(before: Option<Timestamp>) -> Timestamp {
    let now = server::now();
    before.map_or(now, |b| now.max(Timestamp(b.0 + 1)))
}

fn move_points(card: &mut Card, change: i64) -> Result<()> {
    card.points = card
        .points
        .checked_add(change)
        .ok_or_else(|| Error::new(Token::InvalidArgument, "the points would be out of range"))?;
    card.point_seq += 1;
    Ok(())
}

/// Writes the ledger's line for the change that the card has just had.
fn record_points(call: &Call, card: &Card, change: i64, tx_no: Option<&str>, reason: Option<&str>) {
    points::insert(
        call.db,
        call.month,
        &PointEntry {
            card_id: card.id,
            point_seq: card.point_seq,
            created_at: call.at,
            change,
            balance_after: card.points,
            level: card.level,
            tx_no,
            reason,
        },
    );
}

/// Level and discount of a personal card are always those of its points, under the levels of now. Returns them, as the audit log
/// has them, where they changed.
fn settle_level(call: &Call, card: &mut Card) -> Option<String> {
    if card.card_type == CardType::Enterprise {
        return None;
    }
    // Those of when the card was locked. One that was read without a lock is written only if nobody,
    // app.recompute_levels() included, has written it meanwhile, and nobody is waited for.
    let level = level_for(&call.config().levels, card.points);
    let changes = (level.level, level.discount) != (card.level, card.discount);
    (card.level, card.discount) = (level.level, level.discount);
    changes.then(|| card.noted_level())
}

/// What a charge is priced by, but for a coupon: the level of the points before it, or the fixed discount. Company cards earn no
/// points.
pub fn terms(call: &Call, card: &Card, raw_amount: Money, excluded: Money) -> Terms {
    let config = call.config();
    let (reduction, points) = match card.card_type {
        CardType::Personal => (
            Reduction::Level(level_for(&config.levels, card.points).discount),
            Some(PointTerms::plain(config.points_per_unit.0)),
        ),
        CardType::Enterprise => (Reduction::Company(card.discount), None),
    };
    Terms { raw_amount, excluded, reduction, coupon: None, points }
}

/// Short, because every movement has one, and yet enough to write the books anew from the log alone (`app.rebuild_from_log()`): the
/// card with its number of the movement, and of the rest what does not follow from that. With the amounts in it, a sealed log also
/// seals the balances: they are the sums of what moved.
fn audit_movement(call: &Call, card: &Card, tx: &Tx, level: Option<String>) {
    let when = |holds: bool, text: &dyn Fn() -> String| holds.then(text);
    let change = tx.change().to_string();
    let numbered = format!("{}/{}", card.card_no, card.card_seq);
    let rest = [
        ("at", tx.merchant_id.map(|id| id.to_string())),
        ("points", when(tx.points_earned != 0, &|| tx.points_earned.to_string())),
        ("original", tx.original_tx_no.clone()),
        ("member", tx.member_id.filter(|_| tx.member_id != card.member_id).map(|id| id.to_string())),
        ("method", when(tx.payment_method != PayMethod::Balance, &|| tx.payment_method.label().to_owned())),
        ("discount", when(tx.discount != Discount::NONE, &|| tx.discount.to_string())),
        ("raw", when(tx.raw_amount != tx.final_amount, &|| tx.raw_amount.to_string())),
        ("coupon", tx.member_coupon_id.map(coupon::number)),
        ("excluded", tx.excluded_amount.map(|amount| amount.to_string())),
        ("campaigns", tx.campaigns.as_ref().map(RawJsonb::to_text)),
        ("level", level),
    ];
    let mut context = Vec::with_capacity(rest.len() + 3);
    context.extend([("card", numbered.as_str()), ("change", change.as_str())]);
    context.extend(rest.iter().filter_map(|(key, text)| Some((*key, text.as_deref()?))));
    call.audit_texts(tx.tx_type.label(), "transaction", &tx.tx_no(), context);
}

/// Refuses a card that may not pay now.
pub fn ensure_usable(card: &Card) -> Result<()> {
    if card.status == CardStatus::Expired || card.expires_at.is_some_and(|t| t <= server::now()) {
        return Err(Token::CardExpired.into());
    }
    if card.status != CardStatus::Active {
        return Err(Error::new(Token::CardNotActive, format!("the card is {}", card.status.label())));
    }
    Ok(())
}

/// Locks the card that takes what belongs to a card: itself, or the one that replaced it, however often. The last lock of
/// whoever asks for it: settings and caller are those of now, then.
pub fn lock_successor(call: &Call, open: Open, card_type: CardType, id: Uuid) -> Result<Card> {
    // A replaced card never changes again, so the chain can be walked without holding the cards on the way; only the
    // last one must still be unreplaced once it is locked.
    let mut id = id;
    loop {
        let seen = cards::find(call.db, card_type, id).ok_or(Token::CardNotFound)?;
        if let Some(next) = seen.replaced_by {
            id = next;
            continue;
        }
        let card = cards::lock(open, card_type, id).ok_or(Token::CardNotFound)?;
        match card.replaced_by {
            Some(next) => id = next,
            None => {
                call.after_waiting()?;
                return Ok(card);
            }
        }
    }
}

/// Whether a card is another one or has, by however many replacements, taken over from it.
pub fn succeeds(call: &Call, card_type: CardType, asked: Uuid, found: Uuid) -> bool {
    let mut at = Some(asked);
    while let Some(id) = at {
        if id == found {
            return true;
        }
        at = cards::find(call.db, card_type, id).and_then(|card| card.replaced_by);
    }
    false
}

/// Refuses an amount that would lift a balance over the configured limit.
pub fn ensure_room(call: &Call, card: &Card, amount: Money) -> Result<()> {
    match card.balance.plus(amount) {
        Some(balance) if balance <= call.config().max_balance => Ok(()),
        _ => Err(Token::BalanceLimit.into()),
    }
}

/// Parses a stored transaction id.
pub fn stored_id(raw: i64) -> TxId {
    TxId::from_raw(raw).expect("stored ids are ours")
}
