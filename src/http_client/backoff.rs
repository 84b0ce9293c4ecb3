//! How long to wait before the next try of a request that failed.

use std::time::Duration;

/// Waits that double from the first to the longest, each with randomness in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure, at its longest.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Backoff {
    /// The wait after this many failures in a row: between half of its step and all of it, so that callers who failed
    /// together do not come back together. `jitter` chooses where.
    #[must_use]
    pub fn wait(self, failures: u32, jitter: u16) -> Duration {
        let step = self.step(failures.max(1));
        step / 2 + step / 2 * u32::from(jitter) / u32::from(u16::MAX)
    }

    /// The same without randomness; none before the first failure.
    #[must_use]
    pub fn step(self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        self.first.saturating_mul(1 << doublings.min(16)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(20) };

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread_over_their_upper_half() {
        let steps = [1, 2, 3, 4, 5, 6, 99].map(|failures| BACKOFF.wait(failures, u16::MAX).as_secs());
        assert_eq!(steps, [1, 2, 4, 8, 16, 20, 20]);
        assert_eq!(BACKOFF.wait(6, 0), Duration::from_secs(10));
        assert_eq!([0, 1, 5, 6, 99].map(|failures| BACKOFF.step(failures).as_secs()), [0, 1, 16, 20, 20]);
    }
}
