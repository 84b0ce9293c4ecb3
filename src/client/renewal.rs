//! When a session in a file is renewed: now, when it is due, or after its token was refused. How, so that a crash loses
//! nothing, is in [`pending_renewal`](super::pending_renewal).

use super::{
    call::Client,
    error::HoldError,
    file::{LockedSessionFile, SessionFile},
    grant::SessionGrant,
    pending_renewal::{SessionRenewal, attempt},
};
use tenure_protocol::Secret;

/// When to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RenewalReason {
    /// When it is time.
    Due,
    /// When a renewal was begun, to get its answer.
    Settled,
    /// In any case, if the file still has a token that was replaced: if nothing was begun there, another holder renewed
    /// the session, and to ask is how the authority hears of the second holder.
    Replaced,
}

/// Renews the session in a file now, or finishes the renewal that was begun there; the file then holds the new token.
///
/// While this fails for the moment, call it again: it is the same renewal. If another holder renewed the session a moment
/// ago, this waits for the moment that the authority names (`renewal.reuse_grace`), and looks once more.
pub async fn renew_file(client: &Client, file: &SessionFile) -> Result<SessionGrant, HoldError> {
    let locked = file.locked().await?;
    let grant = locked.read()?;
    let seen = grant.token.clone();
    let asked = renew(client, &locked, grant).await;
    drop(locked);
    let again_at = match &asked {
        Err(HoldError::Call(error)) => error.asks_once_more_at(),
        Ok(_) | Err(HoldError::File(_) | HoldError::UnknownSession { .. }) => None,
    };
    let Some(at) = again_at else { return asked };
    client.time().until(at).await;
    step(client, file, &seen, RenewalReason::Replaced).await
}

/// What the file holds once this process, or another one before it, has done what was wanted. `seen` is the token
/// that this process has: a different one in the file needs no further work.
pub(super) async fn step(
    client: &Client,
    file: &SessionFile,
    seen: &Secret,
    want: RenewalReason,
) -> Result<SessionGrant, HoldError> {
    let locked = file.locked().await?;
    let grant = locked.read()?;
    let is_wanted = match want {
        RenewalReason::Due => grant.is_due(client.time().now()),
        RenewalReason::Settled => grant.renewal_key.is_some(),
        RenewalReason::Replaced => true,
    };
    if grant.token != *seen || !is_wanted {
        return Ok(grant);
    }
    renew(client, &locked, grant).await
}

async fn renew(
    client: &Client,
    locked: &LockedSessionFile,
    grant: SessionGrant,
) -> Result<SessionGrant, HoldError> {
    let mut store = SessionRenewal::of(locked, grant);
    attempt(client, &mut store).await?;
    Ok(store.grant)
}
