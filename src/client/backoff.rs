//! How long to wait before the next try of what failed for the moment.

use std::time::Duration;

use tenure_protocol::entropy::{self, OsEntropy};

/// The first wait at its longest.
const FIRST: Duration = Duration::from_secs(1);
/// No wait is longer, but for one that the authority asks for: the shortest session has a minute from its latest
/// `renewAt` to its end.
const LONGEST: Duration = Duration::from_secs(20);
/// What the authority asks for by `Retry-After` is granted up to so much.
const LONGEST_WISH: Duration = Duration::from_mins(1);

/// The wait after so many failures in a row, with chance in it.
pub fn wait(failures: u32, wish: Option<Duration>) -> Duration {
    jittered(failures, entropy::jitter(&OsEntropy)).max(wish.unwrap_or_default().min(LONGEST_WISH))
}

/// Between half of the step and all of it: who failed together does not come back together.
fn jittered(failures: u32, jitter: u16) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let step = (FIRST * 2_u32.pow(doublings)).min(LONGEST);
    step / 2 + step / 2 * u32::from(jitter) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_twenty_seconds_and_are_spread_over_their_upper_half() {
        let steps = [1, 2, 3, 4, 5, 6, 99].map(|failures| jittered(failures, u16::MAX).as_secs());
        assert_eq!(steps, [1, 2, 4, 8, 16, 20, 20]);
        assert_eq!(jittered(6, 0), Duration::from_secs(10));
    }

    #[test]
    fn the_authority_may_ask_for_more_within_reason() {
        assert_eq!(wait(1, Some(Duration::from_secs(30))), Duration::from_secs(30));
        assert_eq!(wait(1, Some(Duration::from_hours(1))), LONGEST_WISH);
        assert!(wait(9, Some(Duration::from_secs(1))) >= Duration::from_secs(10));
    }
}
