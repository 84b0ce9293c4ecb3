//! API keys: issue, recognise, withdraw.

use std::{path::Path, sync::Arc};

use crate::tokens::ApiKey;
use tenure_core::{
    CredentialId, Event, Position, SystemEvent, Timestamp, command::SystemCommand, event::CredentialIssued,
    system::Credential,
};
use tenure_log::StoredCommit;
use tenure_protocol::entropy::credential_id;
pub use tenure_protocol::wire::NewCredential;

use crate::authority::{
    Authority,
    pipeline::request::{CommandError, CommandRequest, RequestContext},
};

/// An API key that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuedCredential {
    /// Its name in the API.
    pub id: CredentialId,
    /// The event that says so.
    pub position: Position,
    /// Whether it is the key of an earlier request under the same idempotency key, and not the one that was drawn now.
    pub is_repeat: bool,
}

impl IssuedCredential {
    fn of(stored: &StoredCommit, is_repeat: bool) -> Option<Self> {
        let [Event::System(SystemEvent::CredentialIssued(issued))] = &stored.commit.events[..] else {
            return None;
        };
        Some(Self { id: issued.credential_id, position: stored.first, is_repeat })
    }
}

impl Authority {
    /// The credential of this key, unless it is unknown, was withdrawn or has ended. To ask is a use of it.
    pub fn credential(&self, key: &str) -> Option<Arc<Credential>> {
        let now = self.now();
        let known = self.live.system().credential(&ApiKey::hash(key)).filter(|known| known.is_good(now))?;
        self.key_uses.note(known.id, now);
        Some(known)
    }

    /// Whether this key would be good if it were not held since a restore.
    pub fn is_held(&self, key: &str) -> bool {
        let known = self.live.system().credential(&ApiKey::hash(key));
        known.is_some_and(|known| known.held_since.is_some() && known.is_in_force(self.now()))
    }

    /// Whether an API key that was good is so still.
    pub fn is_still_good(&self, id: CredentialId) -> bool {
        let system = self.live.system();
        system.system.credentials.get(&id).is_some_and(|known| known.is_good(self.now()))
    }

    /// The full hour before the last use of an API key; `None` if it was never used.
    pub fn last_use_of_key(&self, id: CredentialId) -> Option<Timestamp> {
        self.key_uses.hour_of(id)
    }

    /// How often the hour of a last use has changed.
    pub(crate) fn changes_of_key_uses(&self) -> u64 {
        self.key_uses.changes()
    }

    /// The last uses of API keys that other nodes are to know of, up to `most`.
    pub(crate) fn latest_uses_of_keys(&self, most: usize) -> Vec<(CredentialId, Timestamp)> {
        self.key_uses.latest(most)
    }

    /// Notes uses of API keys at another node.
    pub(crate) fn note_uses_of_keys(&self, uses: &[(CredentialId, Timestamp)]) {
        for (id, at) in uses {
            self.key_uses.note(*id, (*at).min(self.now()));
        }
    }

    /// Takes up what is saved in this data directory of the uses of API keys, and saves them there.
    pub fn keep_key_uses_in(&self, data: &Path) {
        self.key_uses.open(data);
    }

    /// Saves the uses of API keys, where an hour has changed. One that cannot be saved now is saved the next time.
    pub fn save_key_uses(&self) {
        if let Err(error) = self.key_uses.save() {
            tracing::warn!(%error, "when API keys were last used could not be saved");
        }
    }

    /// Admits a new API key, which the caller has drawn: only its hash is ever stored.
    ///
    /// # Errors
    /// Why it could not be recorded.
    pub async fn issue_credential(
        &self,
        context: RequestContext,
        key: &ApiKey,
        new: NewCredential,
    ) -> Result<IssuedCredential, CommandError> {
        let (_, command) = self.issuing(key, new)?;
        let done = self.submit(CommandRequest::System(command), context).await?;
        let issued = done.commit.as_deref().and_then(|stored| IssuedCredential::of(stored, done.is_repeat));
        Ok(issued.expect("issuing a key always records it"))
    }

    /// The same, for callers outside of an async runtime. [`RequestContext::idempotency`] counts for nothing here: a repeat
    /// would have another key.
    ///
    /// # Errors
    /// Why it could not be recorded.
    pub fn issue_credential_blocking(
        &self,
        context: RequestContext,
        key: &ApiKey,
        new: NewCredential,
    ) -> Result<(CredentialId, Timestamp), CommandError> {
        let (id, command) = self.issuing(key, new)?;
        let done = pollster::block_on(self.submit_unmarked(CommandRequest::System(command), context))?;
        Ok((id, done.at))
    }

    fn issuing(
        &self,
        key: &ApiKey,
        new: NewCredential,
    ) -> Result<(CredentialId, SystemCommand), CommandError> {
        let id = credential_id(&*self.entropy, self.now());
        let event = CredentialIssued {
            credential_id: id,
            role: new.role,
            owner_id: new.owner_id,
            name: new.name.as_deref().map(|name| self.seal_own("name", name)).transpose()?,
            key_hash: ApiKey::hash(key.expose()),
            expires_in: new.expires_in,
        };
        Ok((id, SystemCommand::IssueCredential(event)))
    }

    /// Withdraws an API key. Its next use is refused. The position is `None` if it was withdrawn before.
    ///
    /// # Errors
    /// [`Refusal::CredentialNotFound`](tenure_core::refusal::Refusal),
    /// [`Refusal::LastAdmin`](tenure_core::refusal::Refusal), or why it could not be recorded.
    pub async fn revoke_credential(
        &self,
        context: RequestContext,
        id: CredentialId,
    ) -> Result<Option<Position>, CommandError> {
        let (actor, correlation_id) = (context.actor.clone(), context.correlation_id.clone());
        let done = self.submit(CommandRequest::System(SystemCommand::RevokeCredential(id)), context).await?;
        self.end_sign_ins(RequestContext { actor, correlation_id, idempotency: None }, id).await;
        Ok(done.position())
    }

    /// Confirms an API key held since a restore. The position is `None` if it was not held.
    ///
    /// # Errors
    /// [`Refusal::CredentialNotFound`](tenure_core::refusal::Refusal), or why it could not be recorded.
    pub async fn confirm_credential(
        &self,
        context: RequestContext,
        id: CredentialId,
    ) -> Result<Option<Position>, CommandError> {
        let done = self.submit(CommandRequest::System(SystemCommand::ConfirmCredential(id)), context).await?;
        Ok(done.position())
    }
}
