//! Tables in parts of unequal sizes.
//!
//! A hash table doubles when it is full. In parts of one size all would double at the same time, and half of all room
//! would be unused after it. These are between one and two times as large as the smallest, so that at any time a few
//! of them have just doubled and others are nearly full.

/// How many parts there are.
pub(super) const SHARDS: usize = 64;
/// Hashes are told apart by this number of bits when their part is chosen.
const CHOICES: usize = 1_024;

/// The part of each choice: part `n` has a share of `SHARDS + n`.
static CHOSEN: [u8; CHOICES] = {
    let mut chosen = [0; CHOICES];
    let whole = SHARDS * SHARDS + SHARDS * (SHARDS - 1) / 2;
    let (mut shard, mut choice, mut number) = (0, 0, 0_u8);
    let mut behind = SHARDS;
    while choice < CHOICES {
        if choice * whole >= behind * CHOICES {
            shard += 1;
            number += 1;
            behind += SHARDS + shard;
        }
        chosen[choice] = number;
        choice += 1;
    }
    chosen
};

/// The part for what has this hash, by bits that no table in it uses.
pub(super) fn shard_of(hash: u64) -> usize {
    CHOSEN[(hash >> 32) as usize % CHOICES].into()
}

/// A hash of which these 32 bits alone are kept, as a table uses it: its lowest and its highest bits.
pub(super) fn spread(kept: u32) -> u64 {
    u64::from(kept) << 32 | u64::from(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_share_and_the_largest_is_twice_the_smallest() {
        let mut shares = [0_usize; SHARDS];
        (0..CHOICES as u64).for_each(|choice| shares[shard_of(choice << 32)] += 1);
        assert!(shares.iter().all(|share| (9..=23).contains(share)), "{shares:?}");
        assert!(shares[SHARDS - 1] > shares[0] * 7 / 4, "{shares:?}");
    }
}
