//! How many commands one batch holds, and for how long it is decided.
//!
//! A large batch shares one sync of the disk among many callers, and keeps callers that come meanwhile waiting for all of it.
//! Under overload every batch is as large as it may be, so while ends come it may be small: as large as a sync of this
//! disk is worth. What is left over waits in the queue, which an end overtakes.

use std::time::{Duration, Instant};

/// Maximum commands per batch; a frame of the log holds about as many renewals.
pub(super) const BATCH: usize = 512;
/// The longest time spent on decisions before the disk is asked. Some decisions cost a hundred times what a renewal
/// does, and every caller of the batch waits for all of them.
pub(super) const DECIDING: Duration = Duration::from_millis(5);
/// The longest wait of something urgent for the others of its batch.
pub(super) const BESIDE_URGENT: Duration = Duration::from_millis(1);
/// Maximum commands per batch while ends come, for each millisecond that an append takes at least. To decide, encode and
/// publish that many takes about as long.
const WHILE_ENDS_COME: usize = 64;
/// For so long after an end others are expected.
const EXPECTED: Duration = Duration::from_secs(1);

/// What the size of the next batch depends on.
#[derive(Debug, Default)]
pub(crate) struct BatchSize {
    /// What an append costs however little it holds: the least of late.
    least_append: Duration,
    last_end: Option<Instant>,
}

impl BatchSize {
    /// Maximum commands in the next batch.
    pub(super) fn most(&self, now: Instant) -> usize {
        let is_expected = |end: Instant| now.saturating_duration_since(end) < EXPECTED;
        if self.last_end.is_some_and(is_expected) { self.small() } else { BATCH }
    }

    /// Maximum other commands in a batch with an end.
    pub(super) fn beside_urgent(&self) -> usize {
        self.small() / 2
    }

    fn small(&self) -> usize {
        let millis = usize::try_from(self.least_append.as_millis()).unwrap_or(usize::MAX);
        WHILE_ENDS_COME.saturating_mul(millis.max(1)).min(BATCH)
    }

    /// Some commands were decided now; of each, whether it goes before others, as an end does.
    pub(super) fn note_decided(&mut self, go_first: impl IntoIterator<Item = bool>, now: Instant) {
        if go_first.into_iter().any(|goes_first| goes_first) {
            self.last_end = Some(now);
        }
    }

    /// A batch was appended in this time. That an append has become slower is believed little by little: a large batch
    /// and a busy processor make it slower too.
    pub(super) fn note_append(&mut self, took: Duration) {
        let slower = self.least_append + self.least_append / 64 + Duration::from_micros(10);
        self.least_append = took.min(slower);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_protocol::clock::stopwatch;

    fn after(appends: &[(u64, usize)]) -> BatchSize {
        let mut size = BatchSize::default();
        for (millis, count) in appends {
            (0..*count).for_each(|_| size.note_append(Duration::from_millis(*millis)));
        }
        size
    }

    #[test]
    fn a_batch_is_small_while_ends_come_and_else_as_large_as_a_frame() {
        let (mut size, now) = (after(&[(1, 1_000)]), stopwatch());
        assert_eq!(size.most(now), BATCH);
        size.note_decided([false; 100], now);
        assert_eq!(size.most(now), BATCH, "none of these was an end");
        size.note_decided([false, true, false], now);
        assert_eq!((size.most(now), size.beside_urgent()), (64, 32));
        assert_eq!(size.most(now + EXPECTED), BATCH);
    }

    #[test]
    fn a_slow_disk_is_shared_by_more() {
        let small = |appends: &[(u64, usize)]| after(appends).small();
        assert_eq!(small(&[]), 64);
        assert_eq!(small(&[(4, 1_000)]), 256);
        assert_eq!(small(&[(100, 1_000)]), BATCH);
        assert_eq!(small(&[(1, 1_000), (40, 20)]), 64, "a few slow ones say nothing");
        assert_eq!(small(&[(40, 1_000), (1, 1)]), 64, "one fast one does");
    }
}
