//! `audit.trees`, and the leaves and nodes of each. What is full is never changed again.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::server::Raise;
use crate::engine::types::Timestamp;
use mps_domain::error::{Error, Token};
use mps_domain::month::Month;
use mps_domain::tree::{self, CHUNK_LEAVES, CHUNK_LEVEL, Hash, Label, Nodes};
use std::marker::PhantomData;

/// The number of the tree of all movements.
pub const MOVEMENTS: i32 = 0;

/// The number of a month's tree: yyyymm.
pub fn of_month(month: Month) -> i32 {
    month.suffix().parse().expect("digits")
}

pub struct Tree {
    pub leaves: u64,
    pub total_cents: i64,
    /// The event up to which movements are in it.
    pub through: i64,
    pub restore_why: Option<String>,
    pub secret: Vec<u8>,
}

pub fn find(db: &Db, number: i32) -> Option<Tree> {
    db.row(
        "SELECT t.leaves, t.total_cents, t.through_event, t.restore_why, t.secret FROM audit.trees t WHERE t.tree = $1",
        &[p(number)],
        |r| Tree {
            leaves: r.get::<i64>(1) as u64,
            total_cents: r.get(2),
            through: r.opt(3).unwrap_or(0),
            restore_why: r.opt(4),
            secret: r.get(5),
        },
    )
}

/// The nodes of a tree, as they are kept.
pub struct Kept<'a, L> {
    db: &'a Db,
    number: i32,
    chunk: Option<(u64, Vec<L>)>,
    label: PhantomData<L>,
}

impl<'a, L: Label> Kept<'a, L> {
    pub fn of(db: &'a Db, number: i32) -> Kept<'a, L> {
        Kept { db, number, chunk: None, label: PhantomData }
    }

    /// The leaves of a chunk.
    pub fn chunk(&mut self, chunk: u64) -> &[L] {
        if self.chunk.as_ref().is_none_or(|(kept, _)| *kept != chunk) {
            let labels: Option<Vec<u8>> = self.db.row(
                "SELECT c.labels FROM audit.tree_chunks c WHERE c.tree = $1 AND c.chunk_no = $2",
                &[p(self.number), p(chunk as i64)],
                |r| r.get(1),
            );
            let labels = labels.and_then(|bytes| tree::read_all(&bytes)).unwrap_or_else(|| damaged(self.number));
            self.chunk = Some((chunk, labels));
        }
        &self.chunk.as_ref().expect("read above").1
    }
}

impl<L: Label> Nodes<L> for Kept<'_, L> {
    fn node(&mut self, level: u32, number: u64) -> L {
        if level < CHUNK_LEVEL {
            let from = number << level;
            let within = (from % CHUNK_LEAVES) as usize;
            let tree = self.number;
            let labels = self.chunk(from / CHUNK_LEAVES).get(within..within + (1 << level));
            return tree::fold(labels.unwrap_or_else(|| damaged(tree)));
        }
        kept_node(self.db, self.number, level, number).unwrap_or_else(|| damaged(self.number))
    }
}

/// A full node, as it is kept.
pub fn kept_node<L: Label>(db: &Db, tree: i32, level: u32, number: u64) -> Option<L> {
    let label: Option<Vec<u8>> = db.row(
        "SELECT n.label FROM audit.tree_nodes n WHERE n.tree = $1 AND n.level = $2 AND n.node_no = $3",
        &[p(tree), p(level as i16), p(number as i64)],
        |r| r.get(1),
    );
    label.and_then(|bytes| L::read(&bytes))
}

/// What is asked of a tree cannot be answered from what is kept.
pub fn damaged(tree: i32) -> ! {
    Error::new(Token::StatusConflict, format!("a part of tree {tree} is missing or damaged: audit.verify() says more"))
        .raise()
}

/// Keeps the nodes that a full chunk completes.
pub fn complete<L: Label>(db: &Db, tree: i32, chunk: u64, labels: &[L]) {
    let before = |level, number| kept_node(db, tree, level, number).unwrap_or_else(|| damaged(tree));
    for (level, number, label) in tree::completed(chunk, labels, before) {
        let mut bytes = Vec::with_capacity(L::BYTES);
        label.write(&mut bytes);
        db.run_once(
            "INSERT INTO audit.tree_nodes (tree, level, node_no, label) VALUES ($1, $2, $3, $4)",
            &[p(tree), p(level as i16), p(number as i64), p(&bytes[..])],
        );
    }
}

/// Appends movements to their tree, which has `leaves` of them: hash, and when it was posted.
pub fn append(db: &Db, leaves: u64, new: &[(Hash, Timestamp)]) {
    let mut kept = Kept::<Hash>::of(db, MOVEMENTS);
    let (mut at, mut rest) = (leaves, new);
    while !rest.is_empty() {
        let (chunk, room) = (at / CHUNK_LEAVES, CHUNK_LEAVES - at % CHUNK_LEAVES);
        let (now, later) = rest.split_at(rest.len().min(room as usize));
        let mut bytes = Vec::with_capacity(now.len() * Hash::BYTES);
        now.iter().for_each(|(hash, _)| hash.write(&mut bytes));
        let first = now.iter().map(|(_, posted)| *posted).min().expect("not empty");
        let last = now.iter().map(|(_, posted)| *posted).max().expect("not empty");
        db.run_once(
            "INSERT INTO audit.tree_chunks AS c (tree, chunk_no, posted, labels) \
             VALUES ($1, $2, pg_catalog.tstzrange($3, $4, '[]'), $5) \
             ON CONFLICT (tree, chunk_no) DO UPDATE \
             SET posted = pg_catalog.range_merge(c.posted, excluded.posted), labels = c.labels || excluded.labels",
            &[p(MOVEMENTS), p(chunk as i64), p(first), p(last), p(&bytes[..])],
        );
        if now.len() as u64 == room {
            let full = kept.chunk(chunk).to_vec();
            complete(db, MOVEMENTS, chunk, &full);
        }
        (at, rest) = (at + now.len() as u64, later);
    }
}
