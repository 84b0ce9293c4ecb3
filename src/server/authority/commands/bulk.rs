//! Bulk revocation: the end of all matching active sessions, of any subject, as one event.

use std::sync::Arc;

use tenure_core::{
    Event, KeyId, OwnerId, Position, SessionId, SubjectId, SystemEvent, Timestamp,
    bulk::SessionSelector,
    command::{RevokeMatching, SystemCommand},
    refusal::{FieldError, Refusal},
};
use tenure_log::StoredCommit;

use crate::authority::{
    Authority,
    pipeline::request::{CommandError, CommandRequest, RequestContext},
    state::published::PublishedState,
};

/// Fewer are not worth sorting on the way.
const FIRST_OF: usize = 1_000;

/// The sessions meant: those that match every field given here; without a field, all.
#[derive(Clone, Debug, Default)]
pub struct SessionSelection {
    /// Those of subjects that this owner answers for.
    pub owner_id: Option<OwnerId>,
    /// Those of this subject.
    pub subject_id: Option<SubjectId>,
    /// Those of the device of this name.
    pub device: Option<String>,
    /// Those whose current token was issued before this moment, which is not in the future.
    pub issued_before: Option<Timestamp>,
    /// Those of whose current generation this key sealed a token.
    pub key_id: Option<KeyId>,
}

impl SessionSelection {
    /// Whether any criterion is set, so that it need not match all.
    pub const fn is_narrow(&self) -> bool {
        let Self { owner_id, subject_id, device, issued_before, key_id } = self;
        owner_id.is_some()
            || subject_id.is_some()
            || device.is_some()
            || issued_before.is_some()
            || key_id.is_some()
    }
}

/// A bulk revocation, asked for.
#[derive(Clone, Debug)]
pub struct BulkRequest {
    /// Which sessions.
    pub selection: SessionSelection,
    /// Why, in the caller's words.
    pub reason: String,
}

/// What a bulk revocation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkResult {
    /// How many sessions ended.
    pub matched: u32,
    /// Some of them, by id.
    pub sample: Vec<SessionId>,
    /// The event; `None` if no session matched.
    pub position: Option<Position>,
}

impl BulkResult {
    /// How many sessions the bulk revocation of a commit ended; `None` if the commit is something else.
    pub fn matched_of(stored: &StoredCommit) -> Option<u32> {
        stored.commit.events.iter().find_map(|event| {
            if let Event::System(SystemEvent::SelectionRevoked(revoked)) = event {
                Some(revoked.matched)
            } else {
                None
            }
        })
    }
}

impl Authority {
    /// Ends all active sessions that match, in one step and one event, however many there are.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a moment of the future, or why it could not be recorded.
    pub async fn revoke_matching(
        &self,
        context: RequestContext,
        asked: BulkRequest,
    ) -> Result<BulkResult, CommandError> {
        let selector = self.selector(&asked.selection)?;
        let reason = self.seal_own("reason", &asked.reason)?;
        let command = RevokeMatching { selector, reason };
        let done =
            self.submit(CommandRequest::System(SystemCommand::RevokeMatching(command)), context).await?;
        let matched = done.commit.as_deref().and_then(BulkResult::matched_of).unwrap_or(0);
        let position = done.position();
        let sample = match (position, done.commit) {
            (Some(position), Some(stored)) if done.is_repeat => {
                let repeater = stored.commit.actor.id.clone();
                self.repeats.ended(Arc::clone(&self.live), repeater, position).await?
            }
            _ => done.sample,
        };
        Ok(BulkResult { matched, sample, position })
    }

    /// The sessions that the event at this position ended, by id, up to `most` of them. Looks at every session. Those
    /// that have left memory are named as long as they are remembered.
    pub fn ended_by(&self, position: Position, most: usize) -> Vec<SessionId> {
        ended_by(&self.live, position, most)
    }

    /// What such a revocation would end now; it ends nothing. Looks at every session.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a moment of the future.
    pub fn matching(&self, selection: &SessionSelection) -> Result<BulkResult, CommandError> {
        self.matching_while(&|| true, selection)
    }

    /// The same, looking at no more sessions when it is not wanted any more. What it says is nothing then.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a moment of the future.
    pub fn matching_while(
        &self,
        is_wanted: &(dyn Fn() -> bool + Sync),
        selection: &SessionSelection,
    ) -> Result<BulkResult, CommandError> {
        let matched = self.live.matching_while(is_wanted, &self.selector(selection)?, self.now());
        Ok(BulkResult { matched: matched.count, sample: matched.sample().to_vec(), position: None })
    }

    fn selector(&self, selection: &SessionSelection) -> Result<SessionSelector, CommandError> {
        if selection.issued_before.is_some_and(|moment| moment > self.now()) {
            let fault = FieldError::new("selector.issuedBefore", "must not be in the future");
            return Err(Refusal::Invalid(vec![fault]).into());
        }
        let keys = &self.live.system().system.keys;
        Ok(SessionSelector {
            owner_id: selection.owner_id.clone(),
            subject_id: selection.subject_id.clone(),
            device_digest: selection.device.as_deref().map(|name| self.secrets.digests.device(name)),
            issued_before: selection.issued_before,
            sealed_by: selection.key_id.as_ref().map(|id| keys.sealing_of(id)),
        })
    }
}

/// The first sessions, by id, that the event at this position ended. Looks at every session.
pub(super) fn ended_by(live: &PublishedState, position: Position, most: usize) -> Vec<SessionId> {
    let mut ended = Vec::new();
    live.for_each_subject(|subject| {
        ended.extend(subject.ended_by(position));
        // A million may have ended, and few of them are named.
        if ended.len() >= 2 * most.max(FIRST_OF) {
            first_of(&mut ended, most);
        }
    });
    ended.extend(live.left_by(position).unwrap_or_default());
    first_of(&mut ended, most);
    ended
}

fn first_of(ended: &mut Vec<SessionId>, most: usize) {
    ended.sort_unstable();
    ended.dedup();
    ended.truncate(most);
}
