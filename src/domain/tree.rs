//! Merkle trees as RFC 6962 has them (leaves after 0x00, nodes after 0x01; the left part of a node is the largest full one), of which the
//! labels of leaves and of higher full nodes are kept. A tree of sums has the sum of what is below in every label as well.

use sha2::{Digest, Sha256};

/// Leaves are kept in chunks of so many, as one string of labels; full nodes are kept from a chunk's own upwards.
pub const CHUNK_LEAVES: u64 = 1 << CHUNK_LEVEL;

/// The level of a full chunk's node. A leaf is of level 0.
pub const CHUNK_LEVEL: u32 = 8;

/// What a leaf or a node is known by.
pub trait Label: Copy + Eq + std::fmt::Debug {
    /// How long it is when it is kept.
    const BYTES: usize;

    /// That of the node above two.
    fn join(left: Self, right: Self) -> Self;

    fn write(&self, out: &mut Vec<u8>);

    /// Reads what [`Label::write`] wrote; `None`: it is of another length.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// A label of a tree without sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// That of a leaf's text.
    pub fn of_leaf(text: &str) -> Hash {
        Hash(Sha256::new().chain_update([0]).chain_update(text).finalize().into())
    }

    /// Of no leaf at all.
    pub fn of_nothing() -> Hash {
        Hash(Sha256::digest([]).into())
    }
}

impl Label for Hash {
    const BYTES: usize = 32;

    fn join(left: Hash, right: Hash) -> Hash {
        Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn read(bytes: &[u8]) -> Option<Hash> {
        bytes.try_into().ok().map(Hash)
    }
}

/// A label of a tree of sums: what the leaves below it add up to, in cents, and a hash over both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    pub cents: u64,
    pub hash: [u8; 32],
}

impl Sum {
    /// That of a leaf.
    pub fn of_leaf(cents: u64, text: &str) -> Sum {
        Sum { cents, hash: Hash::of_leaf(text).0 }
    }
}

impl Label for Sum {
    const BYTES: usize = 40;

    fn join(left: Sum, right: Sum) -> Sum {
        let mut both = Vec::with_capacity(1 + 2 * Sum::BYTES);
        both.push(1);
        left.write(&mut both);
        right.write(&mut both);
        // No money that there is comes near; what is damaged has another root this way, too.
        let cents = left.cents.saturating_add(right.cents);
        Sum { cents, hash: Sha256::digest(&both).into() }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.cents.to_be_bytes());
        out.extend_from_slice(&self.hash);
    }

    fn read(bytes: &[u8]) -> Option<Sum> {
        let (cents, hash) = bytes.split_at_checked(8)?;
        Some(Sum { cents: u64::from_be_bytes(cents.try_into().ok()?), hash: hash.try_into().ok()? })
    }
}

/// Labels that are kept one after the other; `None`: there is a part of one at the end.
pub fn read_all<L: Label>(bytes: &[u8]) -> Option<Vec<L>> {
    bytes.chunks(L::BYTES).map(L::read).collect()
}

/// Where the labels of full nodes come from.
pub trait Nodes<L> {
    /// That of the full node of `2^level` leaves, the `number`th of its level.
    fn node(&mut self, level: u32, number: u64) -> L;
}

/// The label above a full row of labels: as many as a power of two.
pub fn fold<L: Label>(labels: &[L]) -> L {
    match labels {
        [one] => *one,
        _ => {
            let (left, right) = labels.split_at(labels.len() / 2);
            L::join(fold(left), fold(right))
        }
    }
}

/// The label above the leaves from `from` to before `to`, where `from` is where a node of that many begins.
fn above<L: Label>(nodes: &mut impl Nodes<L>, from: u64, to: u64) -> L {
    let count = to - from;
    if count.is_power_of_two() {
        let level = count.trailing_zeros();
        return nodes.node(level, from >> level);
    }
    let middle = from + left_part(count);
    L::join(above(nodes, from, middle), above(nodes, middle, to))
}

/// The largest power of two below a count of two or more.
fn left_part(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// The root of the first `size` leaves; `None` of none.
pub fn root<L: Label>(nodes: &mut impl Nodes<L>, size: u64) -> Option<L> {
    (size > 0).then(|| above(nodes, 0, size))
}

/// What leads from a leaf to the root of the first `size` leaves, from below: the label beside each node on the way.
pub fn path<L: Label>(nodes: &mut impl Nodes<L>, leaf: u64, size: u64) -> Vec<L> {
    assert!(leaf < size, "the leaf is in the tree");
    let mut beside = Vec::new();
    let (mut from, mut to) = (0, size);
    while to - from > 1 {
        let middle = from + left_part(to - from);
        if leaf < middle {
            beside.push(above(nodes, middle, to));
            to = middle;
        } else {
            beside.push(above(nodes, from, middle));
            from = middle;
        }
    }
    beside.reverse();
    beside
}

/// What shows that the first `old` leaves of a tree of `size` are those that another root was of (RFC 6962, 2.1.2).
pub fn consistency<L: Label>(nodes: &mut impl Nodes<L>, old: u64, size: u64) -> Vec<L> {
    assert!(0 < old && old <= size, "the older tree is a part of the tree");
    let mut beside = Vec::new();
    let (mut from, mut to) = (0, size);
    let mut is_whole = true;
    while old != to {
        let middle = from + left_part(to - from);
        if old <= middle {
            beside.push(above(nodes, middle, to));
            to = middle;
        } else {
            beside.push(above(nodes, from, middle));
            from = middle;
            is_whole = false;
        }
    }
    if !is_whole {
        beside.push(above(nodes, from, to));
    }
    beside.reverse();
    beside
}

/// The full nodes that a full chunk completes, from its own upwards: level, number, label. `before` is asked for the labels of full
/// nodes to the left.
pub fn completed<L: Label>(chunk: u64, labels: &[L], mut before: impl FnMut(u32, u64) -> L) -> Vec<(u32, u64, L)> {
    assert_eq!(labels.len() as u64, CHUNK_LEAVES, "a full chunk");
    let mut all = vec![(CHUNK_LEVEL, chunk, fold(labels))];
    let (mut level, mut number) = (CHUNK_LEVEL, chunk);
    while number % 2 == 1 {
        let label = L::join(before(level, number - 1), all[all.len() - 1].2);
        (level, number) = (level + 1, number / 2);
        all.push((level, number, label));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn hex(hash: Hash) -> String {
        hash.0.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Every full node from all leaves.
    struct All<L>(Vec<L>);

    impl<L: Label> Nodes<L> for All<L> {
        fn node(&mut self, level: u32, number: u64) -> L {
            let width = 1usize << level;
            let from = number as usize * width;
            fold(&self.0[from..from + width])
        }
    }

    /// As the RFC defines it, from the leaves alone.
    fn defined<L: Label>(leaves: &[L]) -> L {
        if let [one] = leaves {
            return *one;
        }
        let mut k = 1;
        while k * 2 < leaves.len() {
            k *= 2;
        }
        L::join(defined(&leaves[..k]), defined(&leaves[k..]))
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|n| Hash::of_leaf(&n.to_string())).collect()
    }

    #[test]
    fn hashes_are_those_of_the_rfc() {
        // Worked out with sha256sum: of nothing; of 0x00; of 0x00 "L123456"; of 0x01 and both of these.
        assert_eq!(hex(Hash::of_nothing()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let empty = Hash::of_leaf("");
        assert_eq!(hex(empty), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        let leaf = Hash::of_leaf("L123456");
        assert_eq!(hex(leaf), "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56");
        assert_eq!(hex(Hash::join(empty, leaf)), hex(fold(&[empty, leaf])));
        assert_ne!(Hash::join(empty, leaf), Hash::join(leaf, empty));
    }

    #[test]
    fn a_root_is_what_the_rfc_says_of_every_size() {
        for size in 1..70 {
            let all = leaves(size);
            assert_eq!(root(&mut All(all.clone()), size as u64), Some(defined(&all)), "{size}");
        }
        assert_eq!(root(&mut All(Vec::<Hash>::new()), 0), None);
    }

    /// Goes up a path by the rule of RFC 9162, 2.1.3.2, which this module does not use.
    fn climbed<L: Label>(leaf: L, mut number: u64, size: u64, beside: &[L]) -> Option<L> {
        let (mut last, mut here) = (size - 1, leaf);
        for label in beside {
            if last == 0 {
                return None;
            }
            if number % 2 == 1 || number == last {
                here = L::join(*label, here);
                while number.is_multiple_of(2) && number != 0 {
                    (number, last) = (number / 2, last / 2);
                }
            } else {
                here = L::join(here, *label);
            }
            (number, last) = (number / 2, last / 2);
        }
        (last == 0).then_some(here)
    }

    #[test]
    fn a_path_leads_to_the_root_from_every_leaf_of_every_size() {
        for size in 1..40u64 {
            let all = leaves(size as usize);
            for leaf in 0..size {
                let beside = path(&mut All(all.clone()), leaf, size);
                assert_eq!(climbed(all[leaf as usize], leaf, size, &beside), Some(defined(&all)), "{leaf} of {size}");
            }
        }
    }

    /// Both roots from a proof of consistency, by RFC 9162, 2.1.4.2.
    fn both_roots(old: u64, size: u64, old_root: Hash, proof: &[Hash]) -> Option<(Hash, Hash)> {
        if old == size {
            return proof.is_empty().then_some((old_root, old_root));
        }
        let mut rest = proof.iter().copied();
        let first = if old.is_power_of_two() { old_root } else { rest.next()? };
        let (mut number, mut last) = (old - 1, size - 1);
        while number % 2 == 1 {
            (number, last) = (number / 2, last / 2);
        }
        let (mut older, mut newer) = (first, first);
        for label in rest {
            if last == 0 {
                return None;
            }
            if number % 2 == 1 || number == last {
                (older, newer) = (Hash::join(label, older), Hash::join(label, newer));
                while number.is_multiple_of(2) && number != 0 {
                    (number, last) = (number / 2, last / 2);
                }
            } else {
                newer = Hash::join(newer, label);
            }
            (number, last) = (number / 2, last / 2);
        }
        (last == 0).then_some((older, newer))
    }

    #[test]
    fn an_older_tree_is_shown_to_be_a_part_of_every_later_one() {
        for size in 1..40u64 {
            let all = leaves(size as usize);
            for old in 1..=size {
                let older = defined(&all[..old as usize]);
                let proof = consistency(&mut All(all.clone()), old, size);
                assert_eq!(both_roots(old, size, older, &proof), Some((older, defined(&all))), "{old} of {size}");
            }
        }
    }

    /// What is kept, as it grows chunk by chunk.
    #[derive(Default)]
    struct Kept {
        leaves: Vec<Hash>,
        nodes: HashMap<(u32, u64), Hash>,
    }

    impl Nodes<Hash> for Kept {
        fn node(&mut self, level: u32, number: u64) -> Hash {
            if level >= CHUNK_LEVEL {
                return self.nodes[&(level, number)];
            }
            let from = (number << level) as usize;
            fold(&self.leaves[from..from + (1 << level)])
        }
    }

    #[test]
    fn what_is_kept_gives_the_same_roots() {
        let mut kept = Kept::default();
        for n in 0..CHUNK_LEAVES * 9 + 5 {
            kept.leaves.push(Hash::of_leaf(&n.to_string()));
            let count = kept.leaves.len() as u64;
            if count.is_multiple_of(CHUNK_LEAVES) {
                let labels = &kept.leaves[(count - CHUNK_LEAVES) as usize..];
                let done = completed(count / CHUNK_LEAVES - 1, labels, |level, number| kept.nodes[&(level, number)]);
                assert_eq!(done.len() as u32, 1 + (count / CHUNK_LEAVES).trailing_zeros());
                kept.nodes.extend(done.into_iter().map(|(level, number, label)| ((level, number), label)));
            }
            if n % 97 == 0 || count.is_multiple_of(CHUNK_LEAVES) {
                let whole = defined(&kept.leaves);
                assert_eq!(root(&mut kept, count), Some(whole), "{count}");
            }
        }
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_leaves_and_hold_every_cent(cents in prop::collection::vec(0..100_000_000u64, 1..200), at: usize) {
            let all: Vec<Sum> = cents.iter().enumerate().map(|(n, c)| Sum::of_leaf(*c, &n.to_string())).collect();
            let size = all.len() as u64;
            let whole = root(&mut All(all.clone()), size).unwrap();
            prop_assert_eq!(whole.cents, cents.iter().sum::<u64>());
            let leaf = at % all.len();
            let beside = path(&mut All(all.clone()), leaf as u64, size);
            prop_assert_eq!(climbed(all[leaf], leaf as u64, size, &beside), Some(whole));
            // A sum that is another one, with the same hash, leads to another root.
            let forged = Sum { cents: all[leaf].cents + 1, ..all[leaf] };
            prop_assert_ne!(climbed(forged, leaf as u64, size, &beside).unwrap().hash == whole.hash && size > 1, true);
        }

        #[test]
        fn what_is_written_is_read(cents: u64, hash: [u8; 32]) {
            let mut bytes = Vec::new();
            Sum { cents, hash }.write(&mut bytes);
            Hash(hash).write(&mut bytes);
            prop_assert_eq!(bytes.len(), Sum::BYTES + Hash::BYTES);
            prop_assert_eq!(Sum::read(&bytes[..Sum::BYTES]), Some(Sum { cents, hash }));
            prop_assert_eq!(Hash::read(&bytes[Sum::BYTES..]), Some(Hash(hash)));
            prop_assert_eq!(Sum::read(&bytes), None);
            prop_assert_eq!(Hash::read(&bytes), None);
            prop_assert_eq!(read_all::<Hash>(&bytes[..64]).unwrap().len(), 2);
            prop_assert_eq!(read_all::<Hash>(&bytes[..63]), None);
        }
    }
}
