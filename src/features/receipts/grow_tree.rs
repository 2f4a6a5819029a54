//! `audit.grow_tree`: takes movements that are sealed into the tree, in the order of the log.

use crate::engine::param::p;
use crate::engine::server;
use crate::engine::types::Timestamp;
use crate::features::receipts::alone;
use crate::features::receipts::texts::Movement;
use crate::features::receipts::trees::{self, MOVEMENTS, Tree};
use crate::kernel::call::{Call, maintain};
use crate::kernel::months;
use mps_domain::error::Result;
use mps_domain::money::Money;
use mps_domain::month::Month;
use mps_domain::tree::Hash;
use mps_domain::tx_no::{self, TxId, TxType};
use pgrx::prelude::*;
use std::collections::BTreeMap;

/// Events in one batch: short enough that another sealer need not wait long.
const BATCH_EVENTS: i64 = 10_000;

/// A movement's change and its leaf.
type Found = (Money, Hash, Timestamp);

#[pg_extern(sql = false)]
fn grow_tree() -> i64 {
    maintain(|call| {
        alone(call)?;
        let tree = found_or_begun(call);
        let events = next_events(call, tree.through);
        let Some((last, _)) = events.last() else { return Ok(0) };
        let movements: Vec<(TxType, TxId)> =
            events.iter().filter_map(|(_, number)| tx_no::parse(number.as_deref()?)).collect();
        let found = leaves(call, &tree.secret, &movements)?;
        let new: Vec<Found> = movements.iter().filter_map(|(_, id)| found.get(&id.raw()).copied()).collect();
        trees::append(call.db, tree.leaves, &new.iter().map(|(_, hash, posted)| (*hash, *posted)).collect::<Vec<_>>());
        let added: i64 = new.iter().map(|(change, ..)| change.cents()).sum();
        call.db.run_once(
            "UPDATE audit.trees SET leaves = leaves + $2, total_cents = total_cents + $3, through_event = $4 WHERE tree = $1",
            &[p(MOVEMENTS), p(new.len() as i64), p(added), p(*last)],
        );
        Ok(events.len() as i64)
    })
}

fn found_or_begun(call: &Call) -> Tree {
    trees::find(call.db, MOVEMENTS).unwrap_or_else(|| {
        let secret = server::random::<32>();
        call.db.run_once(
            "INSERT INTO audit.trees (tree, begun_at, through_event, secret) VALUES ($1, $2, 0, $3)",
            &[p(MOVEMENTS), p(call.at), p(&secret[..])],
        );
        trees::find(call.db, MOVEMENTS).expect("just made")
    })
}

/// The next events that are sealed: id, and of a movement its number.
fn next_events(call: &Call, through: i64) -> Vec<(i64, Option<String>)> {
    call.db.rows(
        "SELECT e.id, CASE WHEN e.object_type = 'transaction' \
                                AND e.action IN ('payment', 'refund', 'recharge', 'adjustment', 'withdrawal') THEN e.object_id END \
         FROM audit.event_log e \
         WHERE e.id > $1 AND e.id <= (SELECT s.last_id FROM audit.seals s ORDER BY s.seal_no DESC LIMIT 1) ORDER BY e.id LIMIT $2",
        &[p(through), p(BATCH_EVENTS)],
        |r| (r.get(1), r.opt(2)),
    )
}

/// The leaves of movements, of those that are here.
fn leaves(call: &Call, secret: &[u8], movements: &[(TxType, TxId)]) -> Result<BTreeMap<i64, Found>> {
    let mut by_month: BTreeMap<Month, Vec<i64>> = BTreeMap::new();
    for (_, id) in movements {
        by_month.entry(id.month()).or_default().push(id.raw());
    }
    let mut found = BTreeMap::new();
    for (month, ids) in by_month {
        // Archived: its receipts would prove what nobody can look at here any more.
        if months::readable(call.db, month).unwrap_or(false) {
            found.extend(leaves_of(call, secret, month, &ids));
        }
    }
    Ok(found)
}

fn leaves_of(call: &Call, secret: &[u8], month: Month, ids: &[i64]) -> Vec<(i64, Found)> {
    let list = format!("{{{}}}", ids.iter().map(i64::to_string).collect::<Vec<_>>().join(","));
    // Joined, and not `= ANY`: where there are no statistics yet that would go through the whole list for each row of the month.
    let found = call.db.rows_in(
        month,
        "SELECT t.id, t.tx_no, coalesce(c.card_no, e.card_no), t.card_seq, t.balance_after, t.posted_at, \
                CASE WHEN t.tx_type IN ('payment', 'withdrawal') THEN -t.final_amount ELSE t.final_amount END \
         FROM pg_catalog.unnest($1::bigint[]) AS i (id) JOIN app.transactions_{m} t ON t.id = i.id \
              LEFT JOIN app.personal_cards c ON c.id = t.card_id AND t.card_type = 'personal' \
              LEFT JOIN app.enterprise_cards e ON e.id = t.card_id AND t.card_type = 'enterprise' \
         WHERE t.posted_at IS NOT NULL AND (c.id IS NOT NULL OR e.id IS NOT NULL)",
        &[p(&list[..])],
        |r| {
            let (tx_no, card_no): (String, String) = (r.get(2), r.get(3));
            let posted_at = r.get(6);
            let change: Money = r.get(7);
            let movement = Movement {
                tx_no: &tx_no,
                card_no: &card_no,
                card_seq: r.get(4),
                change,
                balance_after: r.get(5),
                posted_at,
            };
            (r.get(1), (change, Hash::of_leaf(&movement.leaf(secret)), posted_at))
        },
    );
    if found.len() < ids.len() {
        let detail = format!("{} of {} movements of {}", ids.len() - found.len(), ids.len(), month.suffix());
        server::log("mps: sealed movements are not in app.transactions: there will be no receipts for them", &detail);
    }
    found
}
