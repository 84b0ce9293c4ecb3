//! Suspend a subject, and resume it.

use tenure_core::{
    Event, StreamId, SubjectEvent, SubjectId, Timestamp,
    command::{Command, EndAndSuspend, ResumeSubject, RevokeSession, SuspendSubject, SuspensionActor},
    refusal::Refusal,
    suspension::SubjectSuspension,
};

use super::sealing::TextSealer;
use crate::authority::{
    Authority, RegisteredSubject, RevocationRequest, SessionEnd,
    pipeline::request::{CommandEffect, CommandError, RequestContext},
};

/// The suspension of a subject, asked for.
#[derive(Clone, Debug)]
pub struct NewSuspension {
    /// The subject.
    pub subject_id: SubjectId,
    /// Who asks.
    pub by: SuspensionActor,
    /// When it ends by itself; `None`: never.
    pub until: Option<Timestamp>,
    /// Why, in the caller's words.
    pub reason: Option<String>,
}

impl Authority {
    /// Suspends a subject, or replaces its suspension.
    ///
    /// # Errors
    /// [`Refusal::SubjectNotFound`], also for a foreign owner; [`Refusal::SuspensionHeld`]; [`Refusal::Invalid`] for an
    /// end that has passed; or why it could not be recorded.
    pub async fn suspend_subject(
        &self,
        context: RequestContext,
        asked: NewSuspension,
    ) -> Result<RegisteredSubject, CommandError> {
        let NewSuspension { subject_id, by, until, reason } = asked;
        if reason.is_some() {
            let may =
                |known: &SubjectSuspension| known.may_be_lifted_by(by.role) || known.is_lengthened_by(until);
            self.check_before_first_text(&subject_id, may)?;
        }
        let mut sealer = TextSealer::new(self, subject_id);
        let reason = sealer.seal_reason(reason.as_deref());
        let command = Command::SuspendSubject(SuspendSubject { by, until, reason });
        self.registered(sealer.ask(command), context).await
    }

    /// Lifts the suspension of a subject.
    ///
    /// # Errors
    /// [`Refusal::SubjectNotFound`], also for a foreign owner; [`Refusal::SuspensionHeld`]; or why it could not be
    /// recorded.
    pub async fn resume_subject(
        &self,
        context: RequestContext,
        subject_id: SubjectId,
        by: SuspensionActor,
        reason: Option<&str>,
    ) -> Result<RegisteredSubject, CommandError> {
        if reason.is_some() {
            self.check_before_first_text(&subject_id, |known| known.may_be_lifted_by(by.role))?;
        }
        let reason = reason.filter(|_| self.may_have_use_of_text(&subject_id));
        let mut sealer = TextSealer::new(self, subject_id);
        let reason = sealer.seal("reason", reason)?;
        self.registered(sealer.ask(Command::ResumeSubject(ResumeSubject { by, reason })), context).await
    }

    /// Ends a session, or finds it ended, and suspends its subject without an end, all in one step.
    ///
    /// # Errors
    /// As [`Authority::revoke`].
    pub async fn revoke_and_suspend(
        &self,
        context: RequestContext,
        asked: RevocationRequest,
        by: SuspensionActor,
    ) -> Result<SessionEnd, CommandError> {
        let session = self.known_session(asked.session_id).await?;
        let mut sealer = TextSealer::new(self, session.subject.clone());
        let reason = sealer.seal_reason(asked.reason.as_deref());
        let end = RevokeSession {
            session_id: asked.session_id,
            by: asked.by,
            reject_renewal: asked.reject_renewal,
            reason: reason.clone(),
        };
        let suspension = SuspendSubject { by, until: None, reason };
        let command = Command::EndAndSuspend(EndAndSuspend { end, suspension });
        let done = self.submit(sealer.ask(command), context).await?;
        let revoked = self.revoked(&done, asked.session_id).await?;
        Ok(SessionEnd { has_reason: revoked.has_reason || suspends_with_reason(&done), ..revoked })
    }

    /// An unsuspended subject is not resumed, and no key is written for the reason.
    fn may_have_use_of_text(&self, id: &SubjectId) -> bool {
        let subject = self.live.subject(id);
        let is_suspended = subject.is_some_and(|subject| subject.suspension_at(self.now()).is_some());
        is_suspended || self.has_text_key(id)
    }

    /// Whether texts about this subject have a key.
    pub(crate) fn has_text_key(&self, id: &SubjectId) -> bool {
        self.secrets.texts.get(&StreamId::Subject(id.clone())).is_some()
    }

    /// The first text about a subject writes a key for it: not for a caller that will be refused. Where there is a key,
    /// the decision itself judges.
    fn check_before_first_text(
        &self,
        id: &SubjectId,
        may_replace: impl FnOnce(&SubjectSuspension) -> bool,
    ) -> Result<(), Refusal> {
        let subject = self.live.subject(id).ok_or(Refusal::SubjectNotFound)?;
        let has_key = self.has_text_key(id);
        match subject.suspension_at(self.now()) {
            Some(known) if !has_key && !may_replace(known) => {
                Err(Refusal::SuspensionHeld { is_admins: known.is_admins, caused_by: known.position })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A session that had ended before keeps the record of its end; the reason is then in that of the suspension.
fn suspends_with_reason(done: &CommandEffect) -> bool {
    let events = done.commit.iter().flat_map(|stored| &stored.commit.events);
    let mut suspensions = events.filter_map(|event| match event {
        Event::Subject(SubjectEvent::SubjectSuspended(suspended)) => Some(suspended),
        Event::Subject(_) | Event::System(_) => None,
    });
    suspensions.any(|suspended| suspended.reason.is_some())
}
