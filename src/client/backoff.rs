//! How long to wait before the next try of what failed for the moment.

use std::time::Duration;

use tenure_http_client::backoff::Backoff;
use tenure_protocol::entropy::{self, OsEntropy};

/// The shortest session has a minute from its latest `renewAt` to its end, so no wait is longer than a third of
/// that.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(20) };
/// The longest `Retry-After` respected.
const LONGEST_WISH: Duration = Duration::from_mins(1);

/// The randomized wait after this number of failures in a row.
pub fn wait(failures: u32, wish: Option<Duration>) -> Duration {
    let wish = wish.unwrap_or_default().min(LONGEST_WISH);
    BACKOFF.wait(failures, entropy::jitter(&OsEntropy)).max(wish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_may_ask_for_more_within_reason() {
        assert_eq!(wait(1, Some(Duration::from_secs(30))), Duration::from_secs(30));
        assert_eq!(wait(1, Some(Duration::from_hours(1))), LONGEST_WISH);
        assert!(wait(9, Some(Duration::from_secs(1))) >= Duration::from_secs(10));
    }
}
