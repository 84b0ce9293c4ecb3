//! Counters in shards.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// As many threads count without meeting.
const SHARDS: usize = 16;
/// Two cache lines of 64 bytes, which some processors fetch together.
const PER_LINE: usize = 16;

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: usize = NEXT.fetch_add(1, Relaxed) % SHARDS;
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct CacheLine([AtomicU64; PER_LINE]);

/// A row of counters.
#[derive(Debug)]
pub(crate) struct ShardedCounters {
    lines: Box<[CacheLine]>,
    lines_per_shard: usize,
}

impl ShardedCounters {
    /// Starts this number of counters at zero.
    pub(crate) fn new(count: usize) -> Self {
        let lines_per_shard = count.div_ceil(PER_LINE);
        let lines = (0..lines_per_shard * SHARDS).map(|_| CacheLine::default()).collect();
        Self { lines, lines_per_shard }
    }

    /// Raises one of them.
    pub(crate) fn add(&self, index: usize, count: u64) {
        let line = SHARD.with(|shard| shard * self.lines_per_shard) + index / PER_LINE;
        self.lines[line].0[index % PER_LINE].fetch_add(count, Relaxed);
    }

    /// What one of them has come to.
    pub(crate) fn total(&self, index: usize) -> u64 {
        let own = self.lines.iter().skip(index / PER_LINE).step_by(self.lines_per_shard);
        own.map(|line| line.0[index % PER_LINE].load(Relaxed)).fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_is_added_up_and_each_counter_is_its_own() {
        let counters = ShardedCounters::new(40);
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| {
                    for index in 0..40 {
                        (0..100).for_each(|_| counters.add(index, index as u64));
                    }
                });
            }
        });
        for index in 0..40 {
            assert_eq!(counters.total(index), 2 * SHARDS as u64 * 100 * index as u64);
        }
    }

    #[test]
    fn shards_share_no_cache_line() {
        assert!(align_of::<CacheLine>() == 128 && size_of::<CacheLine>() == 128);
    }
}
