//! Sessions: create, check, renew, revoke.

use crate::tokens::{SessionToken, TokenClaims};
use tenure_core::{
    Actor, Event, Generation, OwnerId, Position, SessionId, StreamId, SubjectEvent, SubjectId, Timestamp,
    budget::{Constraints, SessionUse, Usage},
    command::{
        Command, CreateSession, EndContested, RecordUsage, RefreshSession, RenewSession, RequestedTerms,
        RevokeSession, RevokeSessions, Revoker, SystemCommand,
    },
    decide::check_terms,
    event::{EndTrigger, SessionDevice},
    refusal::Refusal,
    session::{Session, TokenFault},
    subject::SharedSession,
    suspension::SubjectSuspension,
};
use tenure_log::StoredCommit;
use tenure_protocol::entropy::{jitter, session_id};

use super::{
    repeats::{created_by, ended_by},
    sealing::TextSealer,
};
use crate::authority::{
    Authority,
    pipeline::{
        batch::MARKS_PER_COMMIT,
        request::{CommandEffect, CommandError, CommandRequest, RequestContext, StateAfter},
    },
};

/// A session to create.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Whose it is to be.
    pub subject_id: SubjectId,
    /// The limits that it asks for.
    pub terms: RequestedTerms,
    /// The name of the device that it belongs to.
    pub device: Option<String>,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// A JSON object, as text.
    pub metadata: Option<String>,
    /// The limits on its use.
    pub constraints: Option<Constraints>,
}

impl NewSession {
    /// A session for this subject, with the limits of the policy.
    pub fn of(subject_id: SubjectId) -> Self {
        Self {
            subject_id,
            terms: RequestedTerms::default(),
            device: None,
            scopes: vec![],
            metadata: None,
            constraints: None,
        }
    }

    const fn has_text(&self) -> bool {
        self.device.is_some() || self.metadata.is_some()
    }
}

/// A session that was created or renewed, and the token that works from now on.
#[derive(Debug)]
pub struct GrantedSession {
    /// The session.
    pub session: SharedSession,
    /// Its token, shown to its holder only.
    pub token: SessionToken,
    /// The last event of the commit, also of one that is repeated.
    pub position: Option<Position>,
    /// Whether it was granted before, and this answers again.
    pub is_repeat: bool,
}

/// A use of a session, asked for.
#[derive(Clone, Debug)]
pub struct NewUse {
    /// The session.
    pub session_id: SessionId,
    /// The generation of its own token; `None` if an API key asks on its behalf.
    pub generation: Option<Generation>,
    /// What is done.
    pub wanted: SessionUse,
}

/// A use of a session that was recorded.
#[derive(Debug)]
pub struct RecordedUse {
    /// The session's usage after it.
    pub usage: Usage,
    /// The event that recorded it.
    pub position: Position,
}

/// A session's end, asked for.
#[derive(Clone, Debug)]
pub struct RevocationRequest {
    /// The session.
    pub session_id: SessionId,
    /// Who asks.
    pub by: Revoker,
    /// Whether it is a veto of the latest renewal; left open, the window decides.
    pub reject_renewal: Option<bool>,
    /// Why, in the caller's words.
    pub reason: Option<String>,
}

/// The end of all active sessions of a subject that match, asked for.
#[derive(Clone, Debug)]
pub struct SubjectRevocationRequest {
    /// The subject.
    pub subject_id: SubjectId,
    /// Only sessions of this device.
    pub device: Option<String>,
    /// All but this session.
    pub except: Option<SessionId>,
    /// Who asks, when it is an owner.
    pub owner: Option<OwnerId>,
    /// Why, in the caller's words.
    pub reason: Option<String>,
}

/// A session that has ended.
#[derive(Debug)]
pub struct SessionEnd {
    /// The session.
    pub session_id: SessionId,
    /// When it ended.
    pub at: Timestamp,
    /// What ended it.
    pub trigger: EndTrigger,
    /// Whether there is a reason in the record of its end.
    pub has_reason: bool,
    /// The last event of the commit; `None` if the session had ended before.
    pub position: Option<Position>,
}

/// Sessions that were ended in one step.
#[derive(Debug)]
pub struct SessionsEnd {
    /// Which, oldest first.
    pub session_ids: Vec<SessionId>,
    /// Whether there is a reason in the record of their end.
    pub has_reason: bool,
    /// The event that ended them; `None` if there were no sessions to end.
    pub position: Option<Position>,
}

/// The session behind a genuine token. Whether the token is good now is another question.
#[derive(Clone, Debug)]
pub struct AuthenticatedSession {
    /// What the token says.
    pub claims: TokenClaims,
    /// The session that it names.
    pub session: SharedSession,
    /// The suspension of its subject, which may have ended by itself.
    pub suspension: Option<SubjectSuspension>,
}

/// Uses of sessions are noted that could not be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnrecordedUses;

/// Why a token is not good now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InactiveToken {
    /// It is not one of our tokens.
    Invalid,
    /// It was one.
    Fault(TokenFault, Position),
}

impl AuthenticatedSession {
    /// Whether the token is good at this moment; if not, the first reason that applies.
    pub fn judge(&self, now: Timestamp) -> Result<(), InactiveToken> {
        self.judge_under(self.suspension.as_ref(), now)
    }

    /// Whether it is good to end its own session, which that of a suspended subject is.
    pub fn judge_to_end(&self, now: Timestamp) -> Result<(), InactiveToken> {
        self.judge_under(None, now)
    }

    fn judge_under(
        &self,
        suspension: Option<&SubjectSuspension>,
        now: Timestamp,
    ) -> Result<(), InactiveToken> {
        let judged = self.session.judge(self.claims.generation, suspension, now);
        judged.map_err(|fault| InactiveToken::Fault(fault, self.session.cause_of(fault)))
    }
}

impl RecordedUse {
    /// The use that a commit recorded; `None` if it recorded something else.
    pub fn of_commit(stored: &StoredCommit) -> Option<Self> {
        stored.positions().zip(&stored.commit.events).find_map(|(position, event)| {
            let Event::Subject(SubjectEvent::UsageRecorded(recorded)) = event else { return None };
            Some(Self { usage: recorded.usage(stored.commit.recorded_at), position })
        })
    }
}

impl Authority {
    /// The session behind a token; `None` if the token is not genuine, or if it belongs to a sign-in to the console,
    /// whose token works only in the console's cookie. To present a token anywhere ends the time in which the reply
    /// to the renewal that issued it counts as possibly lost.
    ///
    /// It looks into memory alone, so that it never waits. Of a genuine token whose session ended long ago there may be
    /// nothing: ask [`Authority::left_session_of`] before, and [`recall`](Authority::recall) the session that it
    /// names. Then it is found, and judged, for some seconds.
    pub fn holder(&self, token: &str) -> Option<AuthenticatedSession> {
        self.any_holder(token).filter(|holder| !holder.session.is_of_console())
    }

    /// The same of a sign-in to the console, and of nothing else.
    pub fn console_holder(&self, token: &str) -> Option<AuthenticatedSession> {
        self.any_holder(token).filter(|holder| holder.session.is_of_console())
    }

    fn any_holder(&self, token: &str) -> Option<AuthenticatedSession> {
        let claims = self.secrets.tokens.open(token, || self.now())?;
        let session = self.live.session(claims.session)?;
        if claims.generation > session.generation() {
            // Sealed by us, and yet of no event that we know.
            return None;
        }
        let is_granted_here = claims.grant.is_none_or(|grant| session.grant() == Some(grant));
        if claims.generation == session.generation() && !is_granted_here {
            // An older copy of the log was put back, and the session was renewed again: this token is of a renewal that
            // was lost, and a number must not make it good.
            return None;
        }
        if claims.generation == session.generation() {
            self.presented_tokens.note(&session);
        }
        let suspension = self.live.suspension(&session.subject);
        Some(AuthenticatedSession { claims, session, suspension })
    }

    /// Whether the tokens of a session can be opened: the key that sealed what it was granted last has not retired.
    pub fn has_open_tokens(&self, id: SessionId) -> bool {
        let Some(session) = self.live.session(id) else { return true };
        let system = self.live.system();
        system.system.keys.retired_sealer_of(session.granted(), self.now()).is_none()
    }

    /// The session behind an active token. Appends nothing; it counts as a use of the session.
    ///
    /// No active token's session ever leaves memory. To be told why another one is not active, rather than that it is
    /// [`InactiveToken::Invalid`], do what [`Authority::holder`] says before.
    pub fn introspect(&self, token: &str) -> Result<SharedSession, InactiveToken> {
        self.introspect_at(token, self.now())
    }

    /// The same for many tokens at one moment, which is [now](Self::now).
    pub(crate) fn introspect_at(&self, token: &str, now: Timestamp) -> Result<SharedSession, InactiveToken> {
        let holder = self.holder(token).ok_or(InactiveToken::Invalid)?;
        holder.judge(now)?;
        if holder.session.terms.idle_timeout.is_none() {
            Ok(holder.session)
        } else {
            Ok(self.used(&holder.session))
        }
    }

    /// Notes a use of a live session, and gives it is after that. Nothing changes of one without an
    /// `idleTimeout`.
    pub fn used(&self, session: &SharedSession) -> SharedSession {
        if session.terms.idle_timeout.is_none() {
            return session.clone();
        }
        if let Some(recorded) = self.live.recorded_session(session.id) {
            self.live.uses().note(&recorded, self.now());
        }
        self.live.session(session.id).unwrap_or_else(|| session.clone())
    }

    /// Waits until the uses of these sessions are recorded as far as a crash must not forget them: mostly they are,
    /// or need not be. What cannot be recorded stays noted.
    pub async fn keep_uses(&self, sessions: &[SessionId]) {
        let due = |id: &SessionId| self.live.uses().due(self.live.recorded_session(*id)?.as_ref());
        let due: Vec<_> = sessions.iter().filter_map(due).collect();
        if !due.is_empty() {
            let record = CommandRequest::System(SystemCommand::MarkSeen(due));
            if let Err(failure) = self.submit(record, RequestContext::of(Actor::AUTHORITY)).await {
                tracing::debug!(%failure, "uses of sessions could not be recorded yet");
            }
        }
    }

    /// Waits until the presented tokens known now are recorded; the sequencer does the same by itself every few
    /// seconds. What cannot be recorded stays noted.
    pub async fn keep_presentations(&self) {
        let pending = self.presented_tokens.pending(MARKS_PER_COMMIT);
        if pending.is_empty() {
            return;
        }
        let record = CommandRequest::System(SystemCommand::MarkPresented(pending.clone()));
        match self.submit(record, RequestContext::of(Actor::AUTHORITY)).await {
            Ok(_) => self.presented_tokens.recorded(&pending),
            Err(failure) => tracing::debug!(%failure, "presented tokens could not be recorded yet"),
        }
    }

    /// Before which moment sessions may have been used without a record of it, now that the authority has stopped.
    /// None: all uses are recorded. An error: any may not be.
    pub fn uses_forgotten_before(&self) -> Result<Option<Timestamp>, UnrecordedUses> {
        let is_recorded = self.health.are_uses_recorded();
        is_recorded.then(|| self.live.uses().forgotten_before()).ok_or(UnrecordedUses)
    }

    /// Begins the period of a sliding session again, if due; what it is then, and whether it was.
    /// [`RequestContext::idempotency`] counts for nothing here.
    ///
    /// # Errors
    /// The fault of the token, or why it could not be recorded.
    pub async fn refresh(
        &self,
        context: RequestContext,
        holder: &AuthenticatedSession,
    ) -> Result<Option<GrantedSession>, CommandError> {
        let id = holder.session.id;
        let command =
            Command::RefreshSession(RefreshSession { session_id: id, generation: holder.claims.generation });
        let done = self
            .submit_unmarked(CommandRequest::Subject(holder.session.subject.clone(), command), context)
            .await?;
        Ok(done.commit.is_some().then(|| self.granted(session_after(&done), &done)))
    }

    /// Ends the session of a token about to be used without a record, if two holders contest it: this one is the
    /// second. [`RequestContext::idempotency`] counts for nothing here.
    ///
    /// # Errors
    /// [`Refusal::SessionRevoked`] once it is ended, or why that could not be recorded.
    pub async fn check_uncontested(
        &self,
        context: &RequestContext,
        holder: &AuthenticatedSession,
    ) -> Result<(), CommandError> {
        self.end_if_contested(context, &holder.session, holder.claims.generation).await
    }

    /// What the decision about a renewal or a use does as well, if there is room on the disk for more than ends.
    async fn end_if_contested(
        &self,
        context: &RequestContext,
        session: &Session,
        shown: Generation,
    ) -> Result<(), CommandError> {
        if !session.ends_when_presented(self.live.system().system.policy_in_force()) {
            return Ok(());
        }
        let command = Command::EndContested(EndContested { session_id: session.id, shown: Some(shown) });
        self.submit_unmarked(CommandRequest::Subject(session.subject.clone(), command), context.clone())
            .await
            .map(drop)
    }

    /// A token of the session's generation. Tokens can be sealed again at any time, so none is ever stored.
    pub fn seal(&self, session: &tenure_core::session::Session) -> SessionToken {
        let (grant, generation) = (session.grant(), session.generation());
        self.secrets.tokens.seal_claims(TokenClaims { session: session.id, generation, grant })
    }

    /// The same holder, of its session as it is now.
    pub fn holder_again(&self, holder: &AuthenticatedSession) -> AuthenticatedSession {
        let session = self.live.session(holder.session.id).unwrap_or_else(|| holder.session.clone());
        let suspension = self.live.suspension(&session.subject);
        AuthenticatedSession { session, suspension, ..holder.clone() }
    }

    /// Creates a session.
    ///
    /// # Errors
    /// [`Refusal::SubjectNotFound`], [`Refusal::SessionLimitExceeded`], [`Refusal::Invalid`], or why it could
    /// not be recorded.
    pub async fn create_session(
        &self,
        context: RequestContext,
        new: NewSession,
    ) -> Result<GrantedSession, CommandError> {
        self.check_before_sealing(&new)?;
        let mut sealer = TextSealer::new(self, new.subject_id);
        let device = self.sealed_device(&mut sealer, new.device.as_deref())?;
        let id = session_id(&*self.entropy, self.now());
        let command = Command::CreateSession(CreateSession {
            session_id: id,
            terms: new.terms,
            device,
            scopes: new.scopes,
            metadata: sealer.seal("metadata", new.metadata.as_deref())?,
            constraints: new.constraints.map(Box::new),
            jitter: jitter(&*self.entropy),
        });
        let done = self.submit(sealer.ask(command), context).await?;
        self.check_repeat(&done)?;
        let begun = done.first_commit().and_then(created_by);
        Ok(self.granted(begun.map_or_else(|| session_after(&done), SharedSession::from), &done))
    }

    /// As with a renewal under its key, a repeat hands out no token of a subject suspended now.
    fn check_repeat(&self, done: &CommandEffect) -> Result<(), Refusal> {
        let suspension = done.first_commit().and_then(|stored| match &stored.commit.stream {
            StreamId::Subject(id) => self.live.suspension(id),
            StreamId::System => None,
        });
        match suspension.filter(|suspension| suspension.is_in_force(self.now())) {
            Some(suspension) => Err(suspension.refuses_create()),
            None => Ok(()),
        }
    }

    /// Nothing is sealed for a subject that does not exist or is suspended: its key would stay behind. The faults of
    /// fields come first. Where there is a key, the decision itself judges, and may be the repeat of an earlier one.
    fn check_before_sealing(&self, new: &NewSession) -> Result<(), Refusal> {
        let system = self.live.system();
        let policy = system.system.policy_in_force();
        let refusal = match self.live.recorded_subject(&new.subject_id) {
            None if policy.auto_register => return Ok(()),
            None => Refusal::SubjectNotFound,
            Some(_) if !new.has_text() || self.has_text_key(&new.subject_id) => return Ok(()),
            Some(subject) => match subject.suspension_at(self.now()) {
                None => return Ok(()),
                Some(suspension) => suspension.refuses_create(),
            },
        };
        check_terms(policy, new.terms)?;
        Err(refusal)
    }

    /// Renews the session of a genuine token: rows 3 to 8 of the checks. With a key, the renewal can be
    /// repeated with the same token if its reply is lost; [`RequestContext::idempotency`] counts for nothing here.
    ///
    /// # Errors
    /// The refusal of the first row that does not hold, or why it could not be recorded.
    pub async fn renew(
        &self,
        context: RequestContext,
        holder: &AuthenticatedSession,
        key: Option<&str>,
    ) -> Result<GrantedSession, CommandError> {
        let id = holder.session.id;
        let command = Command::RenewSession(RenewSession {
            session_id: id,
            generation: holder.claims.generation,
            key_digest: key.map(|key| self.secrets.digests.renewal_key(id, key)),
            jitter: jitter(&*self.entropy),
        });
        if holder.claims.generation == holder.session.generation() {
            self.check_uncontested(&context, holder).await?;
        }
        let done = self
            .submit_unmarked(CommandRequest::Subject(holder.session.subject.clone(), command), context)
            .await?;
        Ok(self.granted(session_after(&done), &done))
    }

    /// Records a use of a session, if the session is live and its constraints allow it: one step, so that of
    /// many uses at once no more are granted than the budget has room for.
    ///
    /// # Errors
    /// [`Refusal::SessionNotFound`]; [`Refusal::ConstraintViolated`]; the fault of the session's own token, or
    /// [`Refusal::SessionNotActive`] on its behalf; or why it could not be recorded.
    pub async fn record_usage(
        &self,
        context: RequestContext,
        asked: NewUse,
    ) -> Result<RecordedUse, CommandError> {
        let NewUse { session_id, generation, wanted } = asked;
        let session = self.known_session(session_id).await?;
        if let Some(shown) = generation.filter(|shown| *shown == session.generation()) {
            self.end_if_contested(&context, &session, shown).await?;
        }
        let command = Command::RecordUsage(RecordUsage { session_id, generation, wanted });
        let done = self.submit(CommandRequest::Subject(session.subject.clone(), command), context).await?;
        let recorded = done.commit.as_deref().and_then(RecordedUse::of_commit);
        Ok(recorded.expect("a granted use is recorded"))
    }

    /// Ends a session, or says how it had ended before.
    ///
    /// # Errors
    /// [`Refusal::SessionNotFound`], also for a foreign owner; [`Refusal::Invalid`] for a veto that cannot be
    /// one; the fault of the session's own token; or why it could not be recorded.
    pub async fn revoke(
        &self,
        context: RequestContext,
        asked: RevocationRequest,
    ) -> Result<SessionEnd, CommandError> {
        let session = self.known_session(asked.session_id).await?;
        let mut sealer = TextSealer::new(self, session.subject.clone());
        let command = Command::RevokeSession(RevokeSession {
            session_id: asked.session_id,
            by: asked.by,
            reject_renewal: asked.reject_renewal,
            reason: sealer.seal_reason(asked.reason.as_deref()),
        });
        let done = self.submit(sealer.ask(command), context).await?;
        self.revoked(&done, asked.session_id).await
    }

    /// Ends all active sessions of a subject that match, in one step and one event.
    ///
    /// # Errors
    /// [`Refusal::SubjectNotFound`], also for a foreign owner; or why it could not be recorded.
    pub async fn revoke_many(
        &self,
        context: RequestContext,
        asked: SubjectRevocationRequest,
    ) -> Result<SessionsEnd, CommandError> {
        self.live.subject(&asked.subject_id).ok_or(Refusal::SubjectNotFound)?;
        let mut sealer = TextSealer::new(self, asked.subject_id);
        let command = Command::RevokeSessions(RevokeSessions {
            device: asked.device.map(|name| self.secrets.digests.device(&name)),
            except: asked.except,
            owner: asked.owner,
            reason: sealer.seal_reason(asked.reason.as_deref()),
        });
        let done = self.submit(sealer.ask(command), context).await?;
        self.revoked_many(&done).await
    }

    fn sealed_device(
        &self,
        sealer: &mut TextSealer<'_>,
        name: Option<&str>,
    ) -> Result<Option<SessionDevice>, CommandError> {
        let text = sealer.seal("device", name)?;
        let digest = name.map(|name| self.secrets.digests.device(name));
        Ok(digest.zip(text).map(|(digest, name)| SessionDevice { digest, name }))
    }

    fn granted(&self, session: SharedSession, done: &CommandEffect) -> GrantedSession {
        let token = self.seal(&session);
        // Where nothing was appended, the reply of the renewal that the session is at was lost.
        let position = done.position().or_else(|| Some(session.granted()));
        let is_repeat = done.is_repeat || done.commit.is_none();
        GrantedSession { session, token, position, is_repeat }
    }

    /// How a session ended by a command, or had ended before.
    pub(crate) async fn revoked(
        &self,
        done: &CommandEffect,
        id: SessionId,
    ) -> Result<SessionEnd, CommandError> {
        let session = match done.first_commit().map(|stored| ended_by(stored, id)) {
            Some(Some(end)) => return Ok(end),
            // It had ended before, and that does not change.
            Some(None) => self.known_session(id).await?,
            None => session_after(done),
        };
        let revocation = session.revocation().expect("a granted revocation ends the session");
        Ok(SessionEnd {
            session_id: id,
            at: revocation.at,
            trigger: revocation.trigger,
            has_reason: revocation.reason.is_some(),
            position: done.position(),
        })
    }

    async fn revoked_many(&self, done: &CommandEffect) -> Result<SessionsEnd, CommandError> {
        let position = done.position();
        if let Some(end) = done.first_commit().and_then(|stored| self.all_still_known(stored)) {
            return Ok(end);
        }
        let subject = self.subject_after(done).await?;
        let session_ids = position.map_or_else(Vec::new, |at| subject.ended_by(at));
        let ended = session_ids.first().and_then(|id| subject.session(*id)?.revocation());
        let has_reason = ended.is_some_and(|end| end.reason.is_some());
        Ok(SessionsEnd { session_ids, has_reason, position })
    }
}

/// The session after a command that was decided now.
fn session_after(done: &CommandEffect) -> SharedSession {
    match &done.after {
        Some(StateAfter::Session(session)) => session.clone().into(),
        Some(StateAfter::Subject(_)) | None => unreachable!("it leaves the session that it was about"),
    }
}
