//! What a verifier accepts, and how old its knowledge may be.

use std::time::Duration;

use tenure_protocol::Seconds;

/// What a verifier accepts, and how old its knowledge may be. Begin with [`VerifierConfig::of`] and change what
/// differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierConfig {
    /// The authority's name, exactly as tokens have it in `iss`: its `server.public_url`, or `tenure`.
    pub issuer: String,
    /// This service's name, exactly as tokens have it in `aud`. With a name only tokens that were made for it are
    /// taken; without one only tokens without an audience (RFC 7519, section 4.1.3).
    pub audience: Option<String>,
    /// How much earlier than `nbf` and `iat` say a token is taken. The end of a token has no such leeway. 5 s, as the
    /// authority's `access.clock_skew`.
    pub clock_skew: Seconds,
    /// The authority is asked this often. 1 s.
    pub poll: Duration,
    /// When the last complete answer was asked for longer ago than this, every token is refused. 10 s; at least twice
    /// the poll.
    pub staleness_bound: Duration,
    /// How many verified tokens are remembered, so that their signature is not verified again. 10 000, which take
    /// about 10 MB; 0 for none.
    pub remembered_tokens: usize,
    /// Maximum number of revocations kept apart; beyond it the oldest are widened. 1 000 000, which
    /// take about 100 MB.
    pub remembered_revocations: usize,
}

/// Rules that cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// Every answer would be too old before the next one.
    #[error("staleness_bound must be at least twice poll: {bound:?} is less than twice {poll:?}")]
    BoundBelowPoll {
        /// The bound.
        bound: Duration,
        /// The poll.
        poll: Duration,
    },
    /// The authority would be asked without a pause.
    #[error("poll must be at least 10 ms, not {0:?}")]
    PollTooShort(Duration),
}

impl VerifierConfig {
    /// The usual ones for tokens of this issuer.
    pub fn of(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: None,
            clock_skew: Seconds(5),
            poll: Duration::from_secs(1),
            staleness_bound: Duration::from_secs(10),
            remembered_tokens: 10_000,
            remembered_revocations: 1_000_000,
        }
    }

    /// The same, for tokens that were made for this service.
    #[must_use]
    pub fn for_audience(self, audience: impl Into<String>) -> Self {
        Self { audience: Some(audience.into()), ..self }
    }

    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        if self.poll < Duration::from_millis(10) {
            return Err(InvalidConfig::PollTooShort(self.poll));
        }
        if self.staleness_bound < self.poll * 2 {
            return Err(InvalidConfig::BoundBelowPoll { bound: self.staleness_bound, poll: self.poll });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_leaves_room_for_a_poll_that_fails() {
        let rules =
            |poll, staleness_bound| VerifierConfig { poll, staleness_bound, ..VerifierConfig::of("tenure") };
        let (second, two) = (Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!(VerifierConfig::of("tenure").check(), Ok(()));
        assert_eq!(rules(second, two).check(), Ok(()));
        assert!(matches!(rules(two, two).check(), Err(InvalidConfig::BoundBelowPoll { .. })));
        assert!(matches!(rules(Duration::ZERO, two).check(), Err(InvalidConfig::PollTooShort(_))));
    }
}
