//! One try of one renewal of a session in a file, in an order that loses nothing wherever it is cut off.
//!
//! 1. Take the lock. 2. Read the file: whoever was here before may have renewed. 3. Write the idempotency key, unless
//!    one is there: a renewal was begun, and this is its repeat. 4. Ask. 5. Write the new token. 6. Only now use it.
//!
//! Cut off before 4, the key is repeated and nothing was granted yet. Cut off after it, the key and the old token are
//! in the file, and no token of the new generation was used by anybody: the repeat is answered with one.

use super::{
    call::{Client, fresh_key},
    error::Error,
    file::{FileError, Locked, SessionFile},
    grant::Grant,
};
use tenure_protocol::Secret;

/// Why a session in a file was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The authority did not grant it, or did not answer.
    #[error(transparent)]
    Call(#[from] Error),
}

/// When to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RenewalReason {
    /// When it is time.
    Due,
    /// When a renewal was begun, to get its answer.
    Settled,
    /// In any case, if the file still has a token that was replaced: if nothing was begun there, somebody else renewed
    /// the session, and to ask is how the authority hears of the second holder.
    Replaced,
}

/// Renews the session in a file now, or finishes the renewal that was begun there; the file then holds the new token.
///
/// While this fails for the moment, call it again: it is the same renewal. If somebody else renewed the session a moment
/// ago, this waits for the moment that the authority names (`renewal.reuse_grace`), and looks once more.
pub async fn renew_file(client: &Client, file: &SessionFile) -> Result<Grant, HoldError> {
    let locked = file.locked().await?;
    let grant = locked.read()?;
    let seen = grant.token.clone();
    let asked = attempt(client, &locked, grant).await;
    drop(locked);
    let again_at = match &asked {
        Err(HoldError::Call(error)) => error.asks_once_more_at(),
        Ok(_) | Err(HoldError::File(_)) => None,
    };
    let Some(at) = again_at else { return asked };
    client.time().until(at).await;
    step(client, file, &seen, RenewalReason::Replaced).await
}

/// What the file holds after this process, or another one before it, did what was wanted. `seen` is the token that
/// this process has: another one in the file is news enough.
pub(super) async fn step(
    client: &Client,
    file: &SessionFile,
    seen: &Secret,
    want: RenewalReason,
) -> Result<Grant, HoldError> {
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
    attempt(client, &locked, grant).await
}

async fn attempt(client: &Client, locked: &Locked, grant: Grant) -> Result<Grant, HoldError> {
    let (grant, key) = begun(locked, grant)?;
    let holder = client.clone().with_credential(grant.token.clone());
    match holder.renew(grant.session_id, &key).await {
        Ok(renewed) => {
            let next = grant.renewed(&renewed);
            locked.write(&next)?;
            Ok(next)
        }
        Err(error) => {
            if let Some(next) = after_refusal(&grant, &error) {
                locked.write(&next)?;
            }
            Err(error.into())
        }
    }
}

/// The same grant with the key of its renewal, which is on disk when this returns.
fn begun(locked: &Locked, grant: Grant) -> Result<(Grant, String), FileError> {
    if let Some(key) = grant.renewal_key.clone() {
        return Ok((grant, key));
    }
    let key = fresh_key();
    let grant = Grant { renewal_key: Some(key.clone()), ..grant };
    locked.write(&grant)?;
    Ok((grant, key))
}

/// What a refusal makes of a grant whose session goes on; none when it does not, or when it is not known what was done.
pub(super) fn after_refusal(grant: &Grant, error: &Error) -> Option<Grant> {
    let nothing_begun = Grant { renewal_key: None, ..grant.clone() };
    match error.code()? {
        "RENEWAL_TOO_EARLY" => Some(Grant { renew_at: error.retry_at().or(grant.renew_at), ..nothing_begun }),
        "RENEWAL_LIMIT_REACHED" | "SESSION_ABSOLUTE_LIFETIME_EXCEEDED" => {
            Some(Grant { renew_at: None, ..nothing_begun })
        }
        // The key belongs to an earlier renewal: a file put back from a backup. The next try has a fresh one.
        "IDEMPOTENCY_KEY_REUSED" => Some(nothing_begun),
        _ => None,
    }
}
