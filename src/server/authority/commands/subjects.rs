//! Subjects: register, change.

use tenure_core::{
    Position, StreamId, SubjectId, Timestamp,
    command::{ChangeSubject, Command, RegisterSubject},
    commit::EventMeta,
    event::{PartChange, ProfileChanges, SubjectProfile},
    refusal::Refusal,
    subject::SubjectRegistration,
};
use tenure_log::StoredCommit;
pub use tenure_protocol::wire::{NewProfile, ProfilePatch};

use super::sealing::TextSealer;
use crate::authority::{
    Authority,
    pipeline::request::{CommandError, CommandRequest, RequestContext},
};

/// A registered subject, after a change. After a repeat it is what it was after the first request.
#[derive(Debug)]
pub struct RegisteredSubject {
    /// The subject.
    pub id: SubjectId,
    /// What is registered of it.
    pub registration: SubjectRegistration,
    /// How many of its sessions are active.
    pub active_sessions: usize,
    /// The moment of the decision.
    pub at: Timestamp,
    /// The event; `None` if nothing had to change.
    pub position: Option<Position>,
}

impl RegisteredSubject {
    /// Whether it was not known before.
    pub fn is_new(&self) -> bool {
        self.position == Some(self.registration.created)
    }
}

impl Authority {
    /// Registers a subject, or replaces the whole of its registration.
    ///
    /// # Errors
    /// [`Refusal::PolicyChangeForbidden`](tenure_core::refusal::Refusal) unless `may_change_policy`, or why it
    /// could not be recorded.
    pub async fn register_subject(
        &self,
        context: RequestContext,
        id: SubjectId,
        new: NewProfile,
        may_change_policy: bool,
    ) -> Result<RegisteredSubject, CommandError> {
        let mut sealer = TextSealer::new(self, id);
        let profile = SubjectProfile {
            name: sealer.seal("name", new.name.as_deref())?,
            kind: new.kind,
            owner_id: new.owner_id,
            max_sessions: new.max_sessions,
            max_sessions_per_device: new.max_sessions_per_device,
            on_limit: new.on_limit,
            on_device_limit: new.on_device_limit,
        };
        let command = Command::RegisterSubject(RegisterSubject { profile, may_change_policy });
        self.registered(sealer.ask(command), context).await
    }

    /// Changes parts of a subject's registration.
    ///
    /// # Errors
    /// [`Refusal::SubjectNotFound`](tenure_core::refusal::Refusal), `PolicyChangeForbidden` unless `may_change_policy`; or why it could not
    /// be recorded.
    pub async fn change_subject(
        &self,
        context: RequestContext,
        id: SubjectId,
        patch: ProfilePatch,
        may_change_policy: bool,
    ) -> Result<RegisteredSubject, CommandError> {
        let mut sealer = TextSealer::new(self, id);
        let name = match patch.name {
            PartChange::Keep => PartChange::Keep,
            PartChange::To(name) => PartChange::To(sealer.seal("name", name.as_deref())?),
        };
        let changes = ProfileChanges {
            name,
            kind: patch.kind,
            owner_id: patch.owner_id,
            max_sessions: patch.max_sessions,
            max_sessions_per_device: patch.max_sessions_per_device,
            on_limit: patch.on_limit,
            on_device_limit: patch.on_device_limit,
        };
        let command = Command::ChangeSubject(ChangeSubject { changes, may_change_policy });
        self.registered(sealer.ask(command), context).await
    }

    pub(crate) async fn registered(
        &self,
        ask: CommandRequest,
        context: RequestContext,
    ) -> Result<RegisteredSubject, CommandError> {
        let done = self.submit(ask, context).await?;
        if let Some(registered) = done.first_commit().and_then(|stored| self.registered_by(stored)) {
            return Ok(registered);
        }
        let subject = self.live.uses().applied_to(self.subject_after(&done).await?);
        let registration = subject.registration().ok_or(Refusal::SubjectNotFound)?;
        let active_sessions = subject.active_count(done.at);
        let (at, position) = (done.at, done.position());
        Ok(RegisteredSubject { id: subject.id.clone(), registration, active_sessions, at, position })
    }

    /// A subject as a commit about it left it, if what has changed since is in memory.
    fn registered_by(&self, stored: &StoredCommit) -> Option<RegisteredSubject> {
        let StreamId::Subject(id) = &stored.commit.stream else { return None };
        let (position, at) = (stored.last(), stored.commit.recorded_at);
        let subject = self.live.subject(id)?;
        let now = subject.registration()?;
        let registration = self.live.registrations().at(id, position, &now)?;
        if self.live.has_left(id) && self.live.horizon().moment >= at {
            // Sessions that were active then may have left memory.
            return None;
        }
        let active_sessions = subject.active_count_after(EventMeta { position, at });
        let position = Some(position);
        Some(RegisteredSubject { id: id.clone(), registration, active_sessions, at, position })
    }
}
