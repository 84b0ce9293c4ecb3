//! Rates by key: a bucket of tokens for each, that fills up again with time.
//!
//! A bucket is one number, the moment at which it will be full (the *generic cell rate algorithm*). A full one equals
//! none at all and is forgotten: the memory follows the rate of what is let in, not the number of keys.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;

/// A power of two: the number of values of four bits.
const SHARDS: usize = 1 << 4;
const SECOND: u64 = 1_000_000_000;
/// A shard with fewer buckets is not worth a search.
const FEW: usize = 256;

const fn shard_of(hash: u64) -> usize {
    // The table of the shard takes the other bits.
    (hash >> 60) as usize
}

/// The buckets of all keys.
pub(super) struct RateBuckets<K> {
    /// How long one token takes to come back, in nanoseconds.
    interval: u64,
    /// How long an empty bucket takes to be full.
    depth: u64,
    hasher: DefaultHashBuilder,
    shards: [Mutex<BucketShard<K>>; SHARDS],
}

struct BucketShard<K> {
    /// When each bucket with room will be full.
    full_at: HashMap<K, u64>,
    /// From this number of buckets on, the full ones are searched and forgotten.
    looked_through_at: usize,
}

impl<K: Copy + Eq + Hash> RateBuckets<K> {
    /// Buckets of `burst` tokens, into which `per_second` come back.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let interval = SECOND / u64::from(per_second.max(1));
        let shard = || Mutex::new(BucketShard { full_at: HashMap::new(), looked_through_at: FEW });
        Self {
            interval,
            depth: interval * u64::from(burst.max(1)),
            hasher: DefaultHashBuilder::default(),
            shards: std::array::from_fn(|_| shard()),
        }
    }

    /// Takes a token at this moment, in nanoseconds; how long to wait for one when there is none.
    pub(super) fn take(&self, key: K, now: u64) -> Result<(), u64> {
        let mut shard = self.shards[shard_of(self.hasher.hash_one(key))].lock();
        let full_at = shard.full_at.get(&key).copied().unwrap_or(now).max(now);
        let wait = (full_at + self.interval).saturating_sub(now + self.depth);
        if wait > 0 {
            return Err(wait);
        }
        shard.full_at.insert(key, full_at + self.interval);
        shard.forget_full(now);
        Ok(())
    }

    /// How many are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().full_at.len()).sum()
    }
}

impl<K: Copy + Eq + Hash> BucketShard<K> {
    /// Forgets full buckets, each time that there are twice as many as were left.
    fn forget_full(&mut self, now: u64) {
        if self.full_at.len() >= self.looked_through_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.looked_through_at = (2 * self.full_at.len()).max(FEW);
            self.full_at.shrink_to(self.looked_through_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_in_and_then_the_rate() {
        let buckets = RateBuckets::new(20, 100);
        assert_eq!((0..150).filter(|_| buckets.take(1, 0).is_ok()).count(), 100);
        assert_eq!(buckets.take(1, 0), Err(SECOND / 20));
        assert_eq!(buckets.take(1, SECOND / 20), Ok(()));
        let taken = (0..1_000).filter(|step| buckets.take(1, SECOND / 20 + step * SECOND / 100).is_ok());
        assert_eq!(taken.count(), 199, "ten seconds at 20 a second");
        assert_eq!((0..150).filter(|_| buckets.take(1, 60 * SECOND).is_ok()).count(), 100);
    }

    #[test]
    fn one_key_takes_nothing_from_another() {
        let buckets = RateBuckets::new(1, 1);
        assert!(buckets.take(1, 0).is_ok() && buckets.take(1, 0).is_err());
        assert!(buckets.take(2, 0).is_ok());
    }

    /// A million sessions, each used once, must not leave a million buckets forever.
    #[test]
    fn full_buckets_are_forgotten() {
        let buckets = RateBuckets::new(20, 100);
        let mut most = 0;
        for key in 0..1_000_000_u64 {
            buckets.take(key, key * 100_000).unwrap();
            most = buckets.len().max(most);
        }
        // 500 are not full at any moment: those of the last 50 ms.
        assert!(most <= SHARDS * FEW, "{most}");
    }
}
