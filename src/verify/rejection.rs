//! Why a token is not taken.

use std::time::Duration;

/// Why a token is not taken. None of them quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The authority was never heard completely: which sessions it has revoked is not known yet.
    #[error("the verifier has not heard the authority yet")]
    NotReady,
    /// The authority was not heard for longer than the staleness bound: what it has revoked since is not known.
    #[error("the verifier has not heard the authority for {} s", age.as_secs())]
    Stale {
        /// How long ago the last complete answer was asked for.
        age: Duration,
    },
    /// The authority could not be asked, or gave no answer that can be understood.
    #[error("the authority gives no answer")]
    Unreachable {
        /// How long it wants to be left alone, in seconds, if it said so.
        retry_after: Option<u32>,
    },
    /// It is not a token of this kind.
    #[error("it is no token of this kind")]
    Malformed,
    /// It names a key that the authority does not show, or no longer shows.
    #[error("it is signed with a key that the authority does not have")]
    UnknownKey,
    /// It is not what was signed.
    #[error("its signature is wrong")]
    BadSignature,
    /// It is genuine, and says something that this version does not understand or allow.
    #[error("its claim {0} is missing or not understood")]
    UnfitClaim(&'static str),
    /// Another authority signed it.
    #[error("its issuer is another one")]
    WrongIssuer,
    /// It was made for another audience, or for none although one is required.
    #[error("it is meant for another audience")]
    WrongAudience,
    /// It does not count yet.
    #[error("it is not valid yet")]
    NotYetValid,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its session was ended.
    #[error("its session was revoked")]
    Revoked,
    /// Its subject is suspended.
    #[error("its subject is suspended")]
    Suspended,
    /// A session token that a renewal replaced.
    #[error("a newer token replaced it")]
    Superseded,
    /// Its session was not used for too long.
    #[error("its session was idle for too long")]
    Idle,
}

impl Rejection {
    /// Whether it says something about the verifier and nothing about the token: the same token may be taken later.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::NotReady | Self::Stale { .. } | Self::Unreachable { .. })
    }

    /// Whether a fresh answer of the authority might change the verdict: a key newer than the last answer, or a clock
    /// there that was moved.
    pub(super) const fn needs_fresh_answer(&self) -> bool {
        matches!(self, Self::UnknownKey | Self::NotYetValid)
    }
}
