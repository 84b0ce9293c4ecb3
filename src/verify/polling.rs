//! How long a follower waits before it asks again.

use std::time::Duration;

use tenure_http_client::backoff::Backoff;

/// However long the authority was away, it is asked at least this often (or as often as `poll` says).
const LONGEST: Duration = Duration::from_secs(5);

/// The wait after this number of failures in a row. Each step is twice the one before, and up to half of it is
/// random, so that the verifiers of an authority that was away do not all come back at the same moment. Without a
/// failure the wait is the poll, less up to a tenth.
pub(super) fn wait(poll: Duration, failures: u32, jitter: u16) -> Duration {
    if failures == 0 {
        return poll.mul_f64(0.9 + 0.1 * f64::from(jitter) / f64::from(u16::MAX));
    }
    Backoff { first: poll, longest: LONGEST.max(poll) }.wait(failures, jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(1);

    #[test]
    fn a_poll_is_never_later_than_it_should_be() {
        assert_eq!(wait(POLL, 0, u16::MAX), POLL);
        assert_eq!(wait(POLL, 0, 0), Duration::from_millis(900));
    }

    #[test]
    fn failures_make_it_wait_longer_up_to_an_end() {
        let longest = [1, 2, 3, 4, 99].map(|failures| wait(POLL, failures, u16::MAX).as_secs());
        assert_eq!(longest, [1, 2, 4, 5, 5]);
        assert_eq!(wait(POLL, 99, 0), Duration::from_millis(2_500));
        assert_eq!(wait(Duration::from_mins(1), 9, u16::MAX), Duration::from_mins(1));
    }
}
