//! Where the money on a card came from: its recharges and those of the cards that it took over from, the newest first.

use super::parts::{self, Status};
use crate::engine::param::p;
use crate::engine::types::Timestamp;
use crate::kernel::call::Call;
use crate::kernel::months::{self, Presence};
use crate::ledger::cards::{self, Card};
use crate::ledger::lines;
use crate::ledger::tx::Tx;
use mps_domain::card::CardType;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::month::{DAY_MICROS, Month};
use mps_domain::tx_no::{self, PayMethod, TxId, TxType};
use mps_domain::withdrawal;

/// So many movements are read at once.
const AT_ONCE: i64 = 256;
/// Gateways refund for a year after the payment, less what it takes to send it.
const REFUNDED_FOR: i64 = 360 * DAY_MICROS;
/// More refunds than anybody sends for one withdrawal.
pub const MOST: usize = 200;

/// What money came in by, and how much of it may still go out.
pub struct Source {
    /// `None`: in months that are archived.
    pub recharge: Option<Tx>,
    pub left: Money,
}

/// How what a source gives goes out, where it goes the way that it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The gateway refunds it.
    Gateway,
    /// Who has said that it came in gives it back.
    AtOnce,
    Transfer,
}

impl Source {
    pub fn method(&self) -> PayMethod {
        self.recharge.as_ref().map_or(PayMethod::Balance, |tx| tx.payment_method)
    }

    pub fn way(&self, now: Timestamp) -> Way {
        let Some(recharge) = &self.recharge else { return Way::Transfer };
        if recharge.payment_method == PayMethod::Cash {
            return Way::AtOnce;
        }
        match &recharge.gateway_trade_no {
            Some(_) if recharge.created_at.0 < now.0.saturating_sub(REFUNDED_FOR) => Way::Transfer,
            Some(_) => Way::Gateway,
            // A member's own that was trusted: its money is at a gateway, and nobody has said under which number.
            None if recharge.member_id.is_some() && recharge.processed_by == recharge.member_id => Way::Transfer,
            None => Way::AtOnce,
        }
    }
}

/// Sources of a locked card, newest first, as far as it takes to have `wanted`; all of them, where they have not so much.
/// Error: `INVALID_ARGUMENT`, it takes too many.
pub fn of(call: &Call, card: &Card, wanted: Money) -> Result<Vec<Source>> {
    let mut found =
        Found { call, wanted: wanted.cents(), sources: Vec::new(), before: card.balance, from_archived: Money::ZERO };
    let mut older = None;
    while found.walk(older.as_ref().unwrap_or(card))? && card.card_type == CardType::Personal {
        // A replaced card never changes again.
        older = cards::replaced_by(call.db, older.as_ref().unwrap_or(card).id);
        if older.is_none() {
            break;
        }
    }
    Ok(found.sources)
}

struct Found<'a> {
    call: &'a Call<'a>,
    /// In cents: what is still to be found.
    wanted: i64,
    sources: Vec<Source>,
    /// What was there before the oldest movement that was seen.
    before: Money,
    /// What movements that were seen have taken back of what came in before all of them.
    from_archived: Money,
}

impl Found<'_> {
    /// Goes back along a card's movements, until there is enough. Whether the card that it took over from is to be asked next. What is
    /// archived is a source by itself: what was there then, less what went out of that since.
    fn walk(&mut self, card: &Card) -> Result<bool> {
        let db = self.call.db;
        let mut next: Option<TxId> = card.last_tx_id;
        while let Some(id) = next {
            if is_archived(self.call, id) {
                self.add(None, self.before.minus(self.from_archived).unwrap_or(Money::ZERO))?;
                return Ok(false);
            }
            months::readable(db, id.month())?;
            let part = lines::chain_in_month(db, id, AT_ONCE);
            let lost = || Error::new(Token::TxNotFound, "a movement that the card's chain names is not there");
            next = part.last().ok_or_else(lost)?.prev_tx_id;
            for tx in part {
                if self.wanted <= 0 {
                    return Ok(false);
                }
                let before = tx.balance_after.and_then(|after| after.minus(tx.change()));
                self.before = before.unwrap_or(Money::ZERO);
                self.see(tx)?;
            }
        }
        Ok(self.wanted > 0)
    }

    fn see(&mut self, tx: Tx) -> Result<()> {
        let call = self.call;
        match tx.tx_type {
            TxType::Recharge => {
                let tx_no = tx.tx_no();
                let (corrected, withdrawn) = (corrected(call, &tx_no), parts::withdrawn_of(call.db, &tx_no));
                let left = withdrawal::left(tx.final_amount, corrected, withdrawn);
                self.add(Some(tx), left)?;
            }
            TxType::Withdrawal => {
                for part in parts::of(call.db, &tx.tx_no()) {
                    let source = part.source_tx_no.as_deref();
                    let is_old = source.is_none() || archived(call, source) == Some(TxType::Recharge);
                    if is_old && part.status != Status::Returned {
                        self.take_from_archived(part.amount);
                    }
                }
            }
            TxType::Adjustment => {
                let takes_back = match archived(call, tx.original_tx_no.as_deref()) {
                    Some(TxType::Recharge) => tx.final_amount.is_negative(),
                    // What came back of a withdrawal that nobody sees any more.
                    Some(TxType::Withdrawal) => parts::gave_back(call.db, &tx.tx_no()),
                    _ => false,
                };
                if takes_back {
                    self.take_from_archived(tx.final_amount.negated());
                }
            }
            TxType::Payment | TxType::Refund => {}
        }
        Ok(())
    }

    fn take_from_archived(&mut self, amount: Money) {
        self.from_archived = self.from_archived.plus(amount).unwrap_or(self.from_archived);
    }

    fn add(&mut self, recharge: Option<Tx>, left: Money) -> Result<()> {
        if !left.is_positive() {
            return Ok(());
        }
        if self.sources.len() == MOST {
            let why = format!("p_amount came in by more than {MOST} recharges: withdraw less at once");
            return Err(Error::new(Token::InvalidArgument, why));
        }
        self.wanted = self.wanted.saturating_sub(left.cents());
        self.sources.push(Source { recharge, left });
        Ok(())
    }
}

fn is_archived(call: &Call, id: TxId) -> bool {
    months::presence(call.db, id.month()) == Presence::Archived
}

/// What a number is of, where that lies in an archived month.
fn archived(call: &Call, tx_no: Option<&str>) -> Option<TxType> {
    let (tx_type, id) = tx_no::parse(tx_no?)?;
    is_archived(call, id).then_some(tx_type)
}

/// What corrections of a transaction come to, signed.
fn corrected(call: &Call, tx_no: &str) -> Money {
    let sql = "SELECT coalesce(pg_catalog.sum(k.amount), 0.00)::numeric(14,2) FROM app.transaction_compensations k WHERE k.tx_no = $1";
    call.db.row(sql, &[p(tx_no)], |r| r.get(1)).expect("one row")
}

/// The account at a gateway whose callback has credited a recharge, where one has.
pub fn account_of(call: &Call, recharge: &Tx) -> Option<String> {
    let posted = recharge.posted_at?;
    let month = Month::of(posted.0)?;
    if months::presence(call.db, month) != Presence::Present {
        return None;
    }
    let trade_no = recharge.gateway_trade_no.as_deref()?;
    let sql = "SELECT e.account FROM app.gateway_events_{m} e WHERE e.trade_no = $1 AND e.tx_no = $2 AND e.outcome = 'credited' LIMIT 1";
    call.db.row_in(month, sql, &[p(trade_no), p(recharge.tx_no().as_str())], |r| r.get(1))
}
