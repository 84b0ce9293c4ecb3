//! A backup reads and writes no faster than this, and rests often: who renews meanwhile hardly waits for it.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

use tenure_protocol::clock::stopwatch;
use tenure_threads::worker::StopSignal;

/// Nanoseconds for each thousand bytes: half a gigabyte a second. A copied segment is read twice, so a copy takes a
/// quarter of a gigabyte a second.
const NANOS_A_THOUSAND: u64 = 2_000;
/// A rest is worth it from this length on.
const REST: Duration = Duration::from_micros(500);

/// What is read, held to a rate.
pub(super) struct BackupPace {
    since: Instant,
    due: Duration,
}

impl BackupPace {
    pub(super) fn begin() -> Self {
        Self { since: stopwatch(), due: Duration::ZERO }
    }

    /// Notes that this many bytes were read. Time in which nothing was is not made up for.
    pub(super) fn passed(&mut self, bytes: u64) {
        self.due += Duration::from_nanos(bytes * NANOS_A_THOUSAND / 1_000);
        if self.due >= REST {
            let length = self.due.saturating_sub(self.since.elapsed());
            // Nobody ends it: it is shorter than any wait for the disk.
            let _ = StopSignal::default().pause(length);
            *self = Self::begin();
        }
    }

    pub(super) const fn over<R>(&mut self, inner: R) -> PacedReader<'_, R> {
        PacedReader { inner, pace: self }
    }
}

/// Reads at a pace.
pub(super) struct PacedReader<'p, R> {
    inner: R,
    pace: &'p mut BackupPace,
}

impl<R: Read> Read for PacedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.pace.passed(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_takes_its_time_and_is_all_there() {
        let begun = stopwatch();
        let (mut pace, mut all) = (BackupPace::begin(), Vec::new());
        pace.over(io::repeat(7).take(10_000_000)).read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 10_000_000);
        // Ten million bytes at half a gigabyte a second, but for a last part that is not worth a rest.
        assert!(begun.elapsed() >= Duration::from_millis(18));
    }
}
