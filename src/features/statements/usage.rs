//! What a member did with all its cards, newest first. A personal card's movements are found along its chain; those with company
//! cards, which others use as well, month by month; and what waits for its money among the few that do. All of them merged.

use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::call::Call;
use crate::kernel::members;
use crate::kernel::months::{self, Presence};
use crate::ledger::cards::{self, Card};
use crate::ledger::chain::below_archived;
use crate::ledger::history::{self, Holder, Holding};
use crate::ledger::tx::{Place, Tx};
use crate::ledger::{late, lines, transactions};
use mps_domain::error::{Result, Token};
use mps_domain::month::Month;
use mps_domain::tx_no::TxId;

/// The lines of a member before a place.
pub struct Usage<'a> {
    call: &'a Call<'a>,
    member: Uuid,
    before: Place,
    chains: Vec<Chain>,
    /// What is known already and has not had its turn: the newest last.
    known: Vec<Tx>,
    companies: Vec<Uuid>,
    /// Months that may hold something of company cards, from here on back.
    months: std::iter::Peekable<Holding<'a>>,
    /// Whether something older is in a month that is archived.
    pub meets_archive: bool,
}

/// The movements of one card from `next` on back.
struct Chain {
    head: Option<Tx>,
}

impl<'a> Usage<'a> {
    pub fn before(call: &'a Call<'a>, member: Uuid, before: Place, limit: i64) -> Result<Usage<'a>> {
        let companies = members::bound_cards(call.db, member);
        let up_to = if companies.is_empty() { Timestamp(i64::MIN) } else { before.at };
        let months =
            history::holding(call.db, Holder::Member(member), call.month, Timestamp(i64::MIN), up_to).peekable();
        let (chains, known) = (Vec::new(), Vec::new());
        let mut usage = Usage { call, member, before, chains, known, companies, months, meets_archive: false };
        let personal = cards::all_personal_of(call.db, member);
        for card in &personal {
            let head = usage.newest_of(card)?;
            usage.chains.push(Chain { head });
        }
        let all: Vec<Uuid> = personal.iter().map(|card| card.id).chain(usage.companies.iter().copied()).collect();
        for card in all {
            usage.know(lines::pending_of(call.db, card));
        }
        for card in usage.companies.clone() {
            let places = late::of_card(call.db, card, member, Timestamp(i64::MIN), before, limit);
            usage.know(places.into_iter().filter_map(|place| lines::at(call.db, place)).collect());
        }
        Ok(usage)
    }

    /// Adds lines that are the member's to those that are known.
    fn know(&mut self, lines: Vec<Tx>) {
        let (member, before) = (self.member, self.before);
        self.known.extend(lines.into_iter().filter(|tx| tx.member_id == Some(member) && tx.place() < before));
        self.known.sort_unstable_by_key(Tx::place);
    }

    /// The next line.
    pub fn next(&mut self) -> Result<Option<Tx>> {
        let newest_of_chains = |usage: &Usage| {
            let places = usage.chains.iter().enumerate().filter_map(|(i, c)| c.head.as_ref().map(|tx| (tx.place(), i)));
            places.max()
        };
        let chain = newest_of_chains(self);
        // A month is looked into when nothing else is newer than all that it can hold.
        while let Some(month) = self.months.peek().copied() {
            let newest = chain.map(|(place, _)| place).max(self.known.last().map(Tx::place));
            if newest.is_some_and(|place| place.at.0 >= month.ends_at()) {
                break;
            }
            self.months.next();
            self.know(lines::of_member(self.call.db, month, self.member, &self.companies, self.before));
        }
        match chain {
            Some((place, i)) if self.known.last().is_none_or(|tx| tx.place() < place) => {
                let tx = self.chains[i].head.take().expect("its place was just seen");
                self.chains[i].head = self.load(tx.card_id, tx.prev_tx_id, tx.card_seq.unwrap_or(1))?;
                Ok(Some(tx))
            }
            _ => Ok(self.known.pop()),
        }
    }

    /// The movement that a card's chain names, where `seq` is its number or that of the one above it; where it is archived the next that
    /// is here, and where none is, `None`.
    fn load(&mut self, card: Uuid, id: Option<TxId>, seq: i64) -> Result<Option<Tx>> {
        let Some(id) = id else { return Ok(None) };
        match months::presence(self.call.db, id.month()) {
            Presence::Present => Ok(Some(transactions::find(self.call.db, id).ok_or(Token::TxNotFound)?)),
            Presence::Archived => match below_archived(self.call, id, card, seq) {
                Some((here, seq)) => self.load(card, Some(here), seq),
                None => {
                    self.meets_archive = true;
                    Ok(None)
                }
            },
            Presence::Never | Presence::Detached(_) => {
                months::readable(self.call.db, id.month())?;
                Err(Token::TxNotFound.into())
            }
        }
    }

    /// The newest movement of a personal card before the place. Where the card has gone on since, it is looked for from two sides,
    /// step by step: along the chain from its head, and month by month from the place; whichever finds it first.
    fn newest_of(&mut self, card: &Card) -> Result<Option<Tx>> {
        let before = self.before;
        let is_before = |at: Timestamp, id: TxId| Place { at, id: id.raw() } < before;
        let Some(last) = card.last_tx_id else { return Ok(None) };
        if card.last_posted_at.is_some_and(|at| is_before(at, last)) {
            return self.load(card.id, Some(last), card.card_seq);
        }
        let (mut here, mut far) = (Some(last), card.skip_tx_id);
        let mut month = Month::of(before.at.0);
        while let Some(id) = here {
            // By the long steps as long as they stay after it, then one by one.
            let skip = match far {
                Some(far) => self.link(far)?.filter(|link| !is_before(link.posted_at, far)).map(|link| (far, link)),
                None => None,
            };
            match skip {
                Some((at, link)) => (here, far) = (Some(at), link.skip),
                None => {
                    let Some(link) = self.link(id)? else { return self.newest_beside(card, id, month) };
                    if is_before(link.posted_at, id) {
                        return self.load(card.id, Some(id), 0);
                    }
                    (here, far) = (link.prev, None);
                }
            }
            if let Some(m) = month {
                if let Some(found) = self.newest_in(card, m) {
                    return self.load(card.id, Some(found), 0);
                }
                month = m.previous();
            }
        }
        Ok(None)
    }

    /// As [`Usage::newest_of`], where the chain leads to an archived movement: of the months that may hold one before it, from `month`
    /// on back.
    fn newest_beside(&mut self, card: &Card, archived: TxId, month: Option<Month>) -> Result<Option<Tx>> {
        let months =
            history::here_before(self.call.db, archived).into_iter().filter(|m| month.is_some_and(|from| *m <= from));
        let found = months.into_iter().find_map(|m| self.newest_in(card, m));
        self.meets_archive |= found.is_none();
        self.load(card.id, found, 0)
    }

    /// The newest movement of a personal card that was posted in a month, before the place.
    fn newest_in(&self, card: &Card, month: Month) -> Option<TxId> {
        let db = self.call.db;
        if months::presence(db, month) != Presence::Present {
            return None;
        }
        let lines = lines::of_member(db, month, self.member, &[card.id], self.before);
        let in_month = lines.first().map(Tx::place);
        let late = late::of_card(db, card.id, self.member, Timestamp(month.starts_at()), self.before, 1);
        in_month.max(late.first().copied()).and_then(|place| TxId::from_raw(place.id))
    }

    /// What a chain says of a movement; `None` where that is archived.
    fn link(&self, id: TxId) -> Result<Option<lines::Link>> {
        match months::presence(self.call.db, id.month()) {
            Presence::Present => Ok(Some(lines::link(self.call.db, id).ok_or(Token::TxNotFound)?)),
            Presence::Archived => Ok(None),
            Presence::Never | Presence::Detached(_) => {
                months::readable(self.call.db, id.month())?;
                Err(Token::TxNotFound.into())
            }
        }
    }
}
