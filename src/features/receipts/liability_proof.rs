//! `app.liability_proof`: that what cards held at the end of a month is in the published total.

use crate::engine::param::p;
use crate::engine::types::{Day, NumericOut, RawJsonb, Text, Timestamp, Uuid};
use crate::features::receipts::heads::{self, Head};
use crate::features::receipts::trees::{self, Kept, Tree};
use crate::features::receipts::{receipt, texts};
use crate::kernel::call::{Call, read};
use crate::kernel::{args, members};
use crate::ledger::cards::{self, Card};
use crate::ledger::standing::standing_at;
use mps_domain::card::CardType;
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::month::{DAY_MICROS, Month};
use mps_domain::tree::{self, CHUNK_LEAVES, Sum};
use pgrx::prelude::*;

/// What is said of one card: its number, what it held, the proof.
type Line = (String, Money, RawJsonb);

#[pg_extern(sql = false)]
fn liability_proof(
    p_month: Option<Day>,
    p_card_id: Option<Uuid>,
    p_card_type: Option<Text>,
) -> TableIterator<
    'static,
    (name!(card_no, String), name!(month, Day), name!(balance, NumericOut), name!(proof, RawJsonb)),
> {
    let (month, lines) = read(|call| {
        let user = call.caller.client()?;
        let month = month_of(args::required(p_month, "p_month")?)?;
        let cards = match (p_card_id, user) {
            (Some(id), _) => vec![cards::visible(call, args::card_type_or_personal(p_card_type)?, id)?],
            (None, Some(user)) => all_of(call, user),
            (None, None) => return Err(Error::new(Token::InvalidArgument, "p_card_id: a backend names the card")),
        };
        Ok((month, lines(call, month, &cards)?))
    });
    let first = Day((month.starts_at() / DAY_MICROS) as i32);
    TableIterator::new(lines.into_iter().map(move |(card_no, balance, proof)| (card_no, first, balance.into(), proof)))
}

fn month_of(day: Day) -> Result<Month> {
    let day = args::day(day, "p_month")?;
    Month::of(i64::from(day.0) * DAY_MICROS).ok_or_else(|| Error::new(Token::InvalidArgument, "p_month is beyond 2099"))
}

/// The cards of a user: its own, those that they replaced, and the company cards that it is bound to.
fn all_of(call: &Call, user: Uuid) -> Vec<Card> {
    let mut all = cards::all_personal_of(call.db, user);
    all.extend(
        members::bound_cards(call.db, user).into_iter().filter_map(|id| cards::find(call.db, CardType::Enterprise, id)),
    );
    all.sort_by(|a, b| a.card_no.cmp(&b.card_no));
    all
}

fn lines(call: &Call, month: Month, cards: &[Card]) -> Result<Vec<Line>> {
    let number = trees::of_month(month);
    let published = call.db.row(
        "SELECT t.head_no FROM audit.trees t WHERE t.tree = $1 AND t.head_no IS NOT NULL",
        &[p(number)],
        |r| r.get::<i64>(1),
    );
    let head = published.and_then(|no| heads::find(call.db, no)).ok_or_else(not_published)?;
    let tree = trees::find(call.db, number).ok_or_else(not_published)?;
    let mut lines = Vec::new();
    for card in cards {
        lines.extend(line(call, month, &tree, &head, card)?);
    }
    Ok(lines)
}

/// What a card held, and the proof; `None`: it had not moved by then.
fn line(call: &Call, month: Month, tree: &Tree, head: &Head, card: &Card) -> Result<Option<Line>> {
    let (seq, balance) = standing_at(call, card, Timestamp(month.ends_at() - 1))?;
    if seq == 0 {
        return Ok(None);
    }
    let leaf = texts::balance(&tree.secret, month, &card.card_no, seq, balance);
    let number = trees::of_month(month);
    let label = Sum::of_leaf(balance.cents() as u64, &leaf);
    let mut kept = Kept::<Sum>::of(call.db, number);
    let chunk: Option<i64> = call.db.row(
        "SELECT c.chunk_no FROM audit.tree_chunks c WHERE c.tree = $1 AND c.first_hash <= $2 ORDER BY c.first_hash DESC LIMIT 1",
        &[p(number), p(&label.hash[..])],
        |r| r.get(1),
    );
    let index = chunk.and_then(|chunk| {
        let within = kept.chunk(chunk as u64).iter().position(|other| *other == label)?;
        Some(chunk as u64 * CHUNK_LEAVES + within as u64)
    });
    let index = index.ok_or_else(|| {
        let why =
            format!("what {} held is not what was published for the month: app.verify_books() says more", card.card_no);
        Error::new(Token::StatusConflict, why)
    })?;
    let path = tree::path(&mut kept, index, tree.leaves);
    if path.iter().map(|l| l.cents).sum::<u64>() + label.cents != tree.total_cents as u64 {
        trees::damaged(number);
    }
    Ok(Some((card.card_no.clone(), balance, receipt("mps liability 1", &leaf, index, &path, head))))
}

fn not_published() -> Error {
    Error::new(Token::StatusConflict, "the month is not published; audit.seal() does it once the month is over")
}
