//! `sec.check_heads`: whether heads and trees are as they were signed. A part of `audit.verify()`.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::features::receipts::heads::{self, Head};
use crate::features::receipts::key;
use crate::features::receipts::trees::{self, Kept, MOVEMENTS};
use mps_domain::money::Money;
use mps_domain::tree::{self, CHUNK_LEAVES, Hash, Label, Sum};
use pgrx::prelude::*;
use serde_json::{Value, json};

/// Rows fetched at once.
const PAGE: i64 = 64;

#[pg_extern(sql = false)]
fn check_heads() -> SetOfIterator<'static, String> {
    let found = Db::read(|db| {
        let mut found = Vec::new();
        let newest = chain(db, &mut found);
        if let Some(newest) = newest {
            movements(db, &newest, &mut found);
        }
        months(db, &mut found);
        found
    });
    SetOfIterator::new(found)
}

/// Goes along the heads; the newest of them.
fn chain(db: &Db, found: &mut Vec<String>) -> Option<Head> {
    let mut before: Option<Head> = None;
    loop {
        let from = before.as_ref().map_or(0, |h| h.head_no);
        let page = heads::after(db, from, PAGE);
        if page.is_empty() {
            return before;
        }
        for head in page {
            let number = before.as_ref().map_or(1, |h| h.head_no + 1);
            if head.head_no != number {
                found.push(format!("head {number} is missing"));
            } else if head.before() != before.as_ref().map(Head::fingerprint) {
                found.push(format!("head {} does not follow the one before it as that is now", head.head_no));
            }
            if !key::has_signed(&head.public_key, &head.text, &head.signature) || !head.is_as_it_says() {
                found.push(format!("head {} is not what was signed", head.head_no));
            }
            before = Some(head);
        }
    }
}

fn movements(db: &Db, newest: &Head, found: &mut Vec<String>) {
    let leaves = whole::<Hash>(db, MOVEMENTS, found);
    let told = trees::find(db, MOVEMENTS).map_or(0, |tree| tree.leaves);
    if leaves != told || leaves < newest.leaves {
        found.push(format!(
            "the tree of movements has {leaves} leaves, not the {} that it is to have",
            told.max(newest.leaves)
        ));
    } else if found.is_empty() {
        let root = tree::root(&mut Kept::<Hash>::of(db, MOVEMENTS), newest.leaves).unwrap_or_else(Hash::of_nothing);
        if newest.root() != Some(hex::encode(root.0)) {
            found.push(format!("the movements under head {} are not those that it was signed over", newest.head_no));
        }
    }
}

/// The balances of every month that a head has published.
fn months(db: &Db, found: &mut Vec<String>) {
    let published: Vec<(i32, i64)> = db.rows(
        "SELECT t.tree, t.head_no FROM audit.trees t WHERE t.tree > 0 AND t.head_no IS NOT NULL ORDER BY t.tree",
        &[],
        |r| (r.get(1), r.get(2)),
    );
    for (number, head_no) in published {
        let before = found.len();
        let leaves = whole::<Sum>(db, number, found);
        if found.len() > before {
            continue;
        }
        let root = tree::root(&mut Kept::<Sum>::of(db, number), leaves);
        let (cents, hash) = root.map_or((0, Hash::of_nothing()), |root| (root.cents, Hash(root.hash)));
        let name = format!("{:04}-{:02}", number / 100, number % 100);
        let total = Money::from_cents(cents as i64).to_string();
        let is: Value = json!([name, leaves, total, hex::encode(hash.0)]);
        if heads::find(db, head_no).and_then(|head| head.balances()) != Some(is) {
            found.push(format!("the balances of {name} are not those that head {head_no} published"));
        }
    }
}

/// How many leaves a tree has; every node that is kept is that of its leaves.
fn whole<L: Label>(db: &Db, number: i32, found: &mut Vec<String>) -> u64 {
    // The last full node of each level.
    let mut last: Vec<Option<L>> = vec![None; 64];
    let (mut leaves, mut next) = (0, 0);
    loop {
        let page: Vec<(i64, Vec<u8>)> = db.rows(
            "SELECT c.chunk_no, c.labels FROM audit.tree_chunks c \
             WHERE c.tree = $1 AND c.chunk_no >= $2 AND c.chunk_no < $3 ORDER BY c.chunk_no",
            &[p(number), p(next), p(next + PAGE)],
            |r| (r.get(1), r.get(2)),
        );
        if page.is_empty() {
            return leaves;
        }
        for (chunk, bytes) in page {
            let labels = tree::read_all::<L>(&bytes).filter(|labels| labels.len() as u64 <= CHUNK_LEAVES);
            let (Some(labels), true) = (labels, chunk == next && leaves == next as u64 * CHUNK_LEAVES) else {
                found.push(format!("tree {number}: leaves are missing or damaged from {leaves} on"));
                return leaves;
            };
            (next, leaves) = (chunk + 1, leaves + labels.len() as u64);
            if labels.len() as u64 == CHUNK_LEAVES {
                for (level, node, label) in tree::completed(chunk as u64, &labels, |level, _| {
                    last[level as usize].expect("a node to the left was completed")
                }) {
                    last[level as usize] = Some(label);
                    if trees::kept_node::<L>(db, number, level, node) != Some(label) {
                        found.push(format!("tree {number}: node {node} of level {level} is not that of its leaves"));
                    }
                }
            }
        }
    }
}
