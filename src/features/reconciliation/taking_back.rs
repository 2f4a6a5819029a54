//! Money that a card was credited with, and that the gateway does not have, or has given back: taken from the card.

use crate::engine::param::p;
use crate::kernel::call::Call;
use crate::kernel::months::{self, Open};
use crate::ledger::tx::Tx;
use crate::ledger::{cards, posting, transactions};
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::tx_no::{self, TxStatus, TxType};

/// What a card gave back.
pub struct Taken {
    /// The adjustment; `None`: there was nothing on the card.
    pub tx_no: Option<String>,
    /// What the card did not cover.
    pub left: Money,
}

/// What gave a withdrawal's refund back to its card, which the gateway has paid all the same.
/// Error: `RECON_CONFLICT`, it was not given back.
pub fn returned(call: &Call, refund_no: &str) -> Result<Option<Tx>> {
    let sql = "SELECT w.returned_tx_no FROM app.withdrawals w WHERE w.refund_no = $1";
    let Some(number) = call.db.row(sql, &[p(refund_no)], |r| r.opt::<String>(1)) else { return Ok(None) };
    let Some((tx_type, id)) = number.as_deref().and_then(tx_no::read) else {
        let detail = "the card has paid for this refund: app.confirm_withdrawal() says that it is done";
        return Err(Error::new(Token::ReconConflict, detail));
    };
    if !months::readable(call.db, id.month())? {
        return Ok(None);
    }
    Ok(transactions::find(call.db, id).filter(|tx| tx.tx_type == tx_type && tx.status == TxStatus::Completed))
}

/// The recharge that has a number, if it is one that was credited.
pub fn credited(call: &Call, number: &str) -> Result<Option<Tx>> {
    let Some((TxType::Recharge, id)) = tx_no::read(number) else { return Ok(None) };
    if !months::readable(call.db, id.month())? {
        return Ok(None);
    }
    let found = transactions::find(call.db, id);
    Ok(found.filter(|tx| tx.tx_type == TxType::Recharge && tx.status == TxStatus::Completed))
}

/// Takes up to `amount` of a recharge from the card that has its money by now. `is_wanted` is asked once the card is locked: whether
/// nobody has done it meanwhile. Never more of a recharge than it had.
pub fn take(
    call: &Call,
    open: Open,
    recharge: &Tx,
    amount: Money,
    reason: &str,
    is_wanted: impl FnOnce() -> bool,
) -> Result<Option<Taken>> {
    let id = transactions::new_id(call.month)?;
    let mut card = posting::lock_successor(call, open, recharge.card_type, recharge.card_id)?;
    if !is_wanted() {
        return Ok(None);
    }
    let number = recharge.tx_no();
    // What a withdrawal gave back may have been taken off under the withdrawal's number, too.
    let sql = "SELECT (coalesce((SELECT pg_catalog.sum(-c.amount) FROM app.transaction_compensations c \
                                 WHERE c.tx_no = $1 OR c.tx_no = $2 AND c.amount < 0), 0) \
                       + coalesce((SELECT pg_catalog.sum(w.amount) FROM app.withdrawals w \
                                   WHERE w.source_tx_no = $1 AND w.status IN ('processing', 'completed')), 0))::numeric(14,2)";
    let before: Money =
        call.db.row(sql, &[p(number.as_str()), p(recharge.original_tx_no.as_deref())], |r| r.get(1)).expect("one row");
    if before.plus(amount).is_none_or(|sum| sum > recharge.final_amount) {
        let detail = format!("{before} of {number} was taken back already: say explained, if that was it");
        return Err(Error::new(Token::ReconConflict, detail));
    }
    let taken = amount.min(card.balance);
    let left = amount.minus(taken).expect("the smaller of two");
    if taken.is_zero() {
        // Who withdraws by an older view of the card must not miss that its source has nothing any more.
        cards::touch(call.db, card.card_type, card.id);
        return Ok(Some(Taken { tx_no: None, left }));
    }
    let change = taken.negated();
    let mut tx = posting::new_tx(call, id, TxType::Adjustment, &card, change, change);
    tx.member_id = card.member_id.or(recharge.member_id);
    tx.merchant_id = recharge.merchant_id;
    tx.original_tx_no = Some(number.clone());
    tx.reason = Some(reason.into());
    posting::post_with(call, &mut card, &mut tx, |tx| {
        transactions::insert_compensation(call.db, tx, &number, call.caller.uid, &call.caller.role, reason);
        Ok(())
    })?;
    Ok(Some(Taken { tx_no: Some(tx.tx_no()), left }))
}
