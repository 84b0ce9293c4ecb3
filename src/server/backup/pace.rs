//! Beside callers, a backup reads and writes no faster than this, and rests often: who renews meanwhile hardly waits
//! for it.

use std::time::{Duration, Instant};

use tenure_protocol::clock::stopwatch;
use tenure_threads::worker::StopSignal;

/// Nanoseconds for each thousand bytes: a third of a gigabyte a second.
const NANOS_A_THOUSAND: u64 = 3_000;
/// A rest is worth it from this length on.
const REST: Duration = Duration::from_micros(500);

/// What is read and written, held to a rate.
pub(super) struct BackupPace {
    since: Instant,
    due: Duration,
    nanos_a_thousand: u64,
}

impl BackupPace {
    /// Beside callers.
    pub(super) fn beside_callers() -> Self {
        Self { since: stopwatch(), due: Duration::ZERO, nanos_a_thousand: NANOS_A_THOUSAND }
    }

    /// As fast as the disk, where nobody waits.
    pub(super) fn unhindered() -> Self {
        Self { nanos_a_thousand: 0, ..Self::beside_callers() }
    }

    /// Notes that this many bytes pass. Time in which none did is not made up for.
    pub(super) fn passed(&mut self, bytes: u64) {
        self.due += Duration::from_nanos(bytes * self.nanos_a_thousand / 1_000);
        if self.due >= REST {
            let length = self.due.saturating_sub(self.since.elapsed());
            // Nobody ends it: it is shorter than any wait for the disk.
            let _ = StopSignal::default().pause(length);
            (self.since, self.due) = (stopwatch(), Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_beside_callers_takes_its_time_and_nothing_else_does() {
        let (mut pace, mut alone) = (BackupPace::beside_callers(), BackupPace::unhindered());
        let begun = stopwatch();
        for _ in 0..100 {
            pace.passed(100_000);
        }
        // Ten million bytes at a third of a gigabyte a second, but for a last part that is not worth a rest.
        assert!(begun.elapsed() >= Duration::from_millis(28));
        alone.passed(u64::MAX / 2);
        assert_eq!(alone.due, Duration::ZERO);
    }
}
