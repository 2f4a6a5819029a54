//! Buckets: which of 64 parts of the whole a card belongs to, so that it can be found among many machines by its id alone. A
//! bucket is a number from 1 to 64; which machine has it is never in an id.
//!
//! The layout of a card's id, a UUID of version 7 (bit 0 is the first):
//!
//! ```text
//! bits   0.. 48   milliseconds since 1970, of a card that replaces another at least one more than that one has
//! bits  48.. 52   0111, the version
//! bits  52.. 64   random
//! bits  64.. 66   10, the variant
//! bits  66.. 90   random
//! bits  90.. 96   the bucket, less one
//! bits  96..128   the mark: the first 32 bits of SHA-256("mps card" || the first 96 bits)
//! ```
//!
//! Random bits: 36 for each millisecond, so that of a thousand cards in the same one no two are equal but once in 130,000 times
//! (and the primary key would refuse the second). An id that was made without a bucket carries the mark by accident once in
//! 4,294,967,296; of ten million such ids all carry none with 99.8 %.

use sha2::{Digest, Sha256};

pub type Id = [u8; 16];

/// How many there are.
pub const BUCKETS: u8 = 64;

/// The bytes before the mark, which it is made of.
const MARKED: usize = 12;
/// The byte that ends in the bucket.
const BUCKET_AT: usize = 11;
/// The bytes that are the time, and the last one that they hold.
const TIME: usize = 6;
const LAST_TIME: u64 = 0xFFFF_FFFF_FFFF;
/// The low six bits of a byte: a bucket, less one.
const BUCKET_MASK: u8 = BUCKETS - 1;

/// One of the 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(u8);

impl Bucket {
    /// From 1 to 64.
    pub fn new(number: u8) -> Option<Bucket> {
        (1..=BUCKETS).contains(&number).then_some(Bucket(number))
    }

    /// That of a member, for ever: the low six bits of the first byte of SHA-256 of the id's 16 bytes, and one.
    pub fn of_member(id: &Id) -> Bucket {
        Bucket::of_byte(Sha256::digest(id)[0])
    }

    /// By the low six bits of a byte: of a random one, any.
    pub fn of_byte(byte: u8) -> Bucket {
        Bucket((byte & BUCKET_MASK) + 1)
    }

    /// From 1 to 64.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A random id of version 7 as the id of a card of this bucket.
pub fn card_id(random: Id, bucket: Bucket) -> Id {
    let mut id = random;
    id[BUCKET_AT] = (id[BUCKET_AT] & !BUCKET_MASK) + (bucket.0 - 1);
    let mark = mark(&id);
    id[MARKED..].copy_from_slice(&mark);
    id
}

/// As [`card_id`], of the card that replaces another: its id is the greater one, also where the clock was set back since. Who goes from a
/// card to the one that replaced it locks both, in the order in which everybody locks cards.
pub fn successor_id(random: Id, bucket: Bucket, replaced: &Id) -> Id {
    let time = |id: &Id| u64::from_be_bytes(*id.first_chunk().expect("sixteen bytes")) >> 16;
    let mut id = random;
    let next = time(&random).max(time(replaced) + 1).min(LAST_TIME);
    id[..TIME].copy_from_slice(&next.to_be_bytes()[2..]);
    card_id(id, bucket)
}

/// The bucket that a card's id carries; `None` for one without the mark, which was made before there were buckets, or is no
/// card's.
pub fn of_card(id: &Id) -> Option<Bucket> {
    (id[MARKED..] == mark(id)).then(|| Bucket::of_byte(id[BUCKET_AT]))
}

fn mark(id: &Id) -> [u8; 4] {
    let digest = Sha256::new().chain_update(b"mps card").chain_update(&id[..MARKED]).finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> Id {
        u128::from_str_radix(text, 16).unwrap().to_be_bytes()
    }

    /// Computed by other means (sha256sum). What is here never changes: cards are found by it.
    #[test]
    fn members_are_in_these_buckets_for_ever() {
        for (member, bucket) in MEMBERS {
            assert_eq!(Bucket::of_member(&id(member)).number(), *bucket, "{member}");
        }
    }

    const MEMBERS: &[(&str, u8)] = &[
        ("00000000000000000000000000000000", 56),
        ("ffffffffffffffffffffffffffffffff", 27),
        ("018f3a5c7b2e7d4f8a1b2c3d4e5f6071", 29),
        ("6ba7b8109dad11d180b400c04fd430c8", 15),
        ("11111111222243338444555555555555", 26),
    ];

    /// As above.
    #[test]
    fn these_cards_have_these_ids_for_ever() {
        for (random, bucket, marked) in CARDS {
            let made = card_id(id(random), Bucket::new(*bucket).unwrap());
            assert_eq!(made, id(marked));
            assert_eq!(of_card(&made), Bucket::new(*bucket));
            assert_eq!(of_card(&id(random)), None, "{random}");
        }
    }

    const CARDS: &[(&str, u8, &str)] = &[
        ("019abcde12347abc9def0123456789ab", 1, "019abcde12347abc9def0100b27a6cea"),
        ("019abcde12347abc9def0123456789ab", 64, "019abcde12347abc9def013f3993b024"),
        ("018f3a5c7b2e7d4f8a1b2c3d4e5f6071", 17, "018f3a5c7b2e7d4f8a1b2c103c7fe29a"),
    ];

    #[test]
    fn after_the_last_time_there_is_none() {
        let bucket = Bucket::new(7).unwrap();
        let (first, last) = ([0; 16], [0xFF; 16]);
        assert_eq!(successor_id(first, bucket, &last)[..6], last[..6]);
        assert_eq!(successor_id(first, bucket, &id("fffffffffffe0000000000000000ffff"))[..6], last[..6]);
        assert_eq!(successor_id(last, bucket, &first)[..6], last[..6]);
        assert_eq!(successor_id(first, bucket, &first)[..6], [0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn there_are_sixty_four() {
        assert_eq!((Bucket::new(0), Bucket::new(65)), (None, None));
        let all: std::collections::BTreeSet<u8> = (0..=255).map(|b| Bucket::of_byte(b).number()).collect();
        assert_eq!((all.len(), all.first(), all.last()), (64, Some(&1), Some(&64)));
    }

    proptest! {
        #[test]
        fn a_marked_id_tells_its_bucket_and_stays_a_uuid_of_version_7(random in any::<Id>(), bucket in 1u8..=64) {
            let mut random = random;
            random[6] = (random[6] & 0x0F) | 0x70;
            random[8] = (random[8] & 0x3F) | 0x80;
            let made = card_id(random, Bucket::new(bucket).unwrap());
            prop_assert_eq!(of_card(&made).map(Bucket::number), Some(bucket));
            prop_assert_eq!((made[6] >> 4, made[8] >> 6), (7, 2));
            prop_assert_eq!(&made[..11], &random[..11]);
            prop_assert_eq!(made[11] >> 6, random[11] >> 6);
        }

        #[test]
        fn a_replacing_card_has_the_greater_id(random in any::<Id>(), old in any::<Id>(), ahead in 0u64..3, bucket in 1u8..=64) {
            let bucket = Bucket::new(bucket).unwrap();
            // Also of neighbours: the same millisecond, the one before, the one after.
            let time = u64::from_be_bytes([0, 0, random[0], random[1], random[2], random[3], random[4], random[5]]);
            let mut near = old;
            near[..6].copy_from_slice(&(time.max(1) + ahead - 1).min((1 << 48) - 2).to_be_bytes()[2..]);
            for old in [old, near] {
                let made = successor_id(random, bucket, &old);
                prop_assert!(made > old || old[..6] == [0xFF; 6]);
                prop_assert_eq!(of_card(&made), Some(bucket));
                prop_assert_eq!(&made[6..11], &random[6..11]);
                prop_assert_eq!(made == card_id(random, bucket), made[..6] == random[..6]);
                prop_assert!(made[..6] == random[..6] || random[..6] <= old[..6]);
            }
        }

        #[test]
        fn any_bit_that_changes_costs_the_mark(random in any::<Id>(), bucket in 1u8..=64, bit in 0usize..128) {
            let mut made = card_id(random, Bucket::new(bucket).unwrap());
            made[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(of_card(&made), None);
        }
    }
}
