//! The pending renewal of a session in a file: the one place that keeps it across a crash, for `tenure run`,
//! `tenure session renew` and the holders of this library.
//!
//! Every renewal takes the same steps, under the lock of its file: write the idempotency key, unless one is there from an
//! attempt that was cut off; ask; replace the token; only then use it. A crash between any two steps leaves the old token
//! with its key, which the authority answers again with a working token, or the new token without one.
//!
//! The key is random and never derived from the token: a thief who has the token must not be able to repeat the
//! holder's renewal and get the answer.
//!
//! | file | its pending renewal |
//! |---|---|
//! | session file ([`SessionFile`](super::SessionFile)) | `renewalKey` inside |
//! | token file ([`TokenFile`](super::TokenFile)) | `FILE.renewal` beside it, because the file holds nothing but the token |

use super::{
    call::{Client, fresh_key},
    error::{Error, HoldError},
    file::{FileError, LockedSessionFile},
    grant::SessionGrant,
};
use tenure_protocol::{Secret, SessionId, Timestamp, wire::RenewedSession};

/// A renewal whose key is on disk.
#[derive(Clone, Debug)]
pub(super) struct PendingRenewal {
    /// The session.
    pub session_id: SessionId,
    /// The token to be replaced.
    pub token: Secret,
    /// The same on every attempt to replace this token.
    pub key: String,
}

/// What a refusal says about a session that goes on. The renewal is over, and the next one has a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// The next one may be asked for from this moment on.
    From(Option<Timestamp>),
    /// There is no next one.
    NoMore,
}

/// A locked file that keeps a token and its pending renewal.
pub(super) trait RenewalStore {
    /// Begins a renewal, or takes up the one that was cut off. Its key is durable when this returns.
    fn begin(&mut self) -> Result<PendingRenewal, FileError>;

    /// Replaces the token, and forgets the key. The new token is durable when this returns, and is not used before.
    fn complete(&mut self, renewed: &RenewedSession) -> Result<(), FileError>;

    /// Forgets the key of a renewal that was refused while the session goes on.
    fn settle(&mut self, settled: RetryDecision) -> Result<(), FileError>;
}

/// One attempt. After a failure that leaves it open whether the renewal was granted, the key stays for the next one.
pub(super) async fn attempt(
    client: &Client,
    store: &mut impl RenewalStore,
) -> Result<RenewedSession, HoldError> {
    let pending = store.begin()?;
    let holder = client.clone().with_credential(pending.token);
    match holder.renew(pending.session_id, &pending.key).await {
        Ok(renewed) => {
            store.complete(&renewed)?;
            Ok(renewed)
        }
        Err(error) => {
            settled_by(&error).map_or(Ok(()), |settled| store.settle(settled))?;
            Err(error.into())
        }
    }
}

/// What an error settles; `None` if the session is over, or if it is unknown what was done.
pub(super) fn settled_by(error: &Error) -> Option<RetryDecision> {
    match error.code()? {
        "RENEWAL_TOO_EARLY" => Some(RetryDecision::From(error.retry_at())),
        "RENEWAL_LIMIT_REACHED" | "SESSION_ABSOLUTE_LIFETIME_EXCEEDED" => Some(RetryDecision::NoMore),
        // The key belongs to an earlier renewal: a file put back from a backup. The next try has a fresh one.
        "IDEMPOTENCY_KEY_REUSED" => Some(RetryDecision::From(None)),
        _ => None,
    }
}

/// A session file and what it holds.
#[derive(Debug)]
pub(super) struct SessionRenewal<'a> {
    locked: &'a LockedSessionFile,
    /// As it is in the file.
    pub(super) grant: SessionGrant,
}

impl<'a> SessionRenewal<'a> {
    pub(super) const fn of(locked: &'a LockedSessionFile, grant: SessionGrant) -> Self {
        Self { locked, grant }
    }

    fn keep(&mut self, grant: SessionGrant) -> Result<(), FileError> {
        self.locked.write(&grant)?;
        self.grant = grant;
        Ok(())
    }
}

impl RenewalStore for SessionRenewal<'_> {
    fn begin(&mut self) -> Result<PendingRenewal, FileError> {
        let key = self.grant.renewal_key.clone().unwrap_or_else(fresh_key);
        if self.grant.renewal_key.is_none() {
            self.keep(SessionGrant { renewal_key: Some(key.clone()), ..self.grant.clone() })?;
        }
        Ok(PendingRenewal { session_id: self.grant.session_id, token: self.grant.token.clone(), key })
    }

    fn complete(&mut self, renewed: &RenewedSession) -> Result<(), FileError> {
        self.keep(self.grant.renewed(renewed))
    }

    fn settle(&mut self, settled: RetryDecision) -> Result<(), FileError> {
        let renew_at = match settled {
            RetryDecision::From(at) => at.or(self.grant.renew_at),
            RetryDecision::NoMore => None,
        };
        self.keep(SessionGrant { renewal_key: None, renew_at, ..self.grant.clone() })
    }
}
