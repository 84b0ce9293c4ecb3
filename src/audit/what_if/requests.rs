//! What was asked, as far as the record shows: a commit back into the requests that led to it.

use tenure_core::{
    Actor, Commit, Event, Generation, Policy, Seconds, SessionId, SessionMode, SubjectEvent, Timestamp,
    command::{
        Command, CreateSession, EndContested, EraseSubject, RecordUsage, RefreshSession, RegisterSubject,
        RenewSession, RequestedTerms, ResumeSubject, RevokeSession, RevokeSessions, Revoker, SuspendSubject,
        SuspensionActor,
    },
    event::{
        EndTrigger, RejectionCause, RejectionCode, RenewalRejected, Role, SessionCreated, SessionRenewed,
        SessionRevoked, SessionsRevoked, SubjectResumed,
    },
    observed::Observation,
    policy::OnReuse,
    session::{OneTimeFact, Session},
    subject::Subject,
};

/// The requests behind one commit.
pub(super) struct CommitRequests {
    pub(super) requests: Vec<ReplayedRequest>,
}

/// A request that can be asked again of another state.
pub(super) enum ReplayedRequest {
    /// As it was, whatever the state.
    Same(Command),
    /// A renewal: with the newest token that the holder has in that state, or with an older one.
    Renewal { command: RenewSession, token: ShownToken, is_presented: bool },
    /// The newer token of a contested session was shown: it ends where it is contested.
    BothShown(SessionId),
    /// A refresh by the newest token.
    Refresh(SessionId),
    /// The holder's own end of a session, with the newest token.
    Own(RevokeSession),
    /// The owner's veto: a plain end where there is no renewal to veto.
    Veto(RevokeSession),
}

/// Which token was shown.
#[derive(Clone, Copy)]
pub(super) enum ShownToken {
    /// The newest.
    Newest,
    /// The one that the latest renewal had replaced.
    Replaced,
    /// One that an earlier renewal had.
    Older,
    /// One that was refused and that did not end its session, where a replaced one would have.
    Harmless,
}

impl ReplayedRequest {
    /// The command to ask of this subject, and what is observed then; `None` if it is about a missing session.
    pub(super) fn command(&self, subject: &Subject) -> Option<(Command, Observation)> {
        let mut observed = Observation::default();
        let command = match self {
            Self::Same(command) => command.clone(),
            Self::Renewal { command, token, is_presented } => {
                let current = subject.session(command.session_id)?.generation();
                let generation = match token {
                    ShownToken::Newest => current,
                    ShownToken::Replaced if current > Generation::FIRST => Generation(current.0 - 1),
                    ShownToken::Older if current.0 > 2 => Generation(current.0 - 2),
                    // No renewal has replaced one, so it was another bad token.
                    ShownToken::Replaced | ShownToken::Older | ShownToken::Harmless => current.next(),
                };
                observed.is_presented = *is_presented;
                Command::RenewSession(RenewSession { generation, ..*command })
            }
            Self::BothShown(id) => {
                observed.is_presented = true;
                Command::EndContested(EndContested { session_id: *id, shown: None })
            }
            Self::Refresh(id) => {
                let generation = subject.session(*id)?.generation();
                Command::RefreshSession(RefreshSession { session_id: *id, generation })
            }
            Self::Own(command) => {
                let by = Revoker::Own(subject.session(command.session_id)?.generation());
                Command::RevokeSession(RevokeSession { by, reject_renewal: None, ..command.clone() })
            }
            Self::Veto(command) => {
                let reject_renewal = Some(subject.session(command.session_id)?.renewal().is_some());
                Command::RevokeSession(RevokeSession { reject_renewal, ..command.clone() })
            }
        };
        Some((command, observed))
    }
}

/// The requests behind a commit on a subject's stream. `subject` and `policy` are as they were before.
pub(super) fn asked(subject: &Subject, policy: Option<&Policy>, commit: &Commit) -> CommitRequests {
    let creates =
        commit.events.iter().any(|event| matches!(event, Event::Subject(SubjectEvent::SessionCreated(_))));
    let requests = commit.events.iter().filter_map(|event| match event {
        // A create for an unknown subject registers it by itself.
        Event::Subject(SubjectEvent::SubjectRegistered(_)) if creates => None,
        Event::Subject(SubjectEvent::SubjectRegistered(event)) => {
            Some(ReplayedRequest::Same(Command::RegisterSubject(RegisterSubject {
                profile: event.profile.clone(),
                may_change_policy: true,
            })))
        }
        Event::Subject(SubjectEvent::SessionCreated(event)) => {
            Some(create(event, policy, commit.recorded_at))
        }
        Event::Subject(SubjectEvent::SessionRenewed(event)) => {
            Some(renewal(event, subject, commit.recorded_at))
        }
        Event::Subject(SubjectEvent::RenewalRejected(event)) => {
            refused(event, subject.session(event.session_id)?, policy, commit)
        }
        Event::Subject(SubjectEvent::SessionRevoked(event)) => {
            ended(event, subject.session(event.session_id), commit)
        }
        Event::Subject(SubjectEvent::SessionsRevoked(event)) => all_ended(event, subject),
        Event::Subject(SubjectEvent::SubjectErased(event)) => {
            let reason = event.reason.clone();
            Some(ReplayedRequest::Same(Command::EraseSubject(EraseSubject { reason })))
        }
        Event::Subject(SubjectEvent::SubjectSuspended(event)) => {
            Some(ReplayedRequest::Same(Command::SuspendSubject(SuspendSubject {
                by: suspender(event.role, &event.by),
                until: event.until,
                reason: event.reason.clone(),
            })))
        }
        Event::Subject(SubjectEvent::SubjectResumed(event)) => resumed(event, commit),
        // Its token would be the current one; what matters is whether the session would have been live.
        Event::Subject(SubjectEvent::UsageRecorded(event)) => {
            Some(ReplayedRequest::Same(Command::RecordUsage(RecordUsage {
                session_id: event.session_id,
                generation: None,
                wanted: event.done(),
            })))
        }
        Event::Subject(SubjectEvent::SessionRefreshed(event)) => {
            Some(ReplayedRequest::Refresh(event.session_id))
        }
        // Whatever has ended there by then is recorded there, so that no later use of it says otherwise.
        Event::Subject(SubjectEvent::SessionExpired(_)) => {
            Some(ReplayedRequest::Same(Command::RecordExpiries))
        }
        Event::System(_) => None,
    });
    CommitRequests { requests: requests.collect() }
}

/// That a suspension had ended by itself is recorded by a sweep, or by the suspension that follows.
fn resumed(event: &SubjectResumed, commit: &Commit) -> Option<ReplayedRequest> {
    let reason = event.reason.clone();
    let suspends =
        commit.events.iter().any(|event| matches!(event, Event::Subject(SubjectEvent::SubjectSuspended(_))));
    match event.role {
        Some(role) => Some(ReplayedRequest::Same(Command::ResumeSubject(ResumeSubject {
            by: suspender(role, &event.by),
            reason,
        }))),
        None => (!suspends).then_some(ReplayedRequest::Same(Command::RecordExpiries)),
    }
}

/// That an owner answered for the subject then is in the record.
fn suspender(role: Role, actor: &Actor) -> SuspensionActor {
    SuspensionActor { role, owner: None, actor: actor.clone() }
}

/// A limit equal to the default of its time counts as left open.
fn create(event: &SessionCreated, policy: Option<&Policy>, at: Timestamp) -> ReplayedRequest {
    fn asked<T: PartialEq + Copy>(granted: T, default: Option<T>) -> Option<T> {
        (Some(granted) != default).then_some(granted)
    }
    let terms = event.terms;
    ReplayedRequest::Same(Command::CreateSession(CreateSession {
        session_id: event.session_id,
        terms: RequestedTerms {
            ttl: asked(terms.ttl, policy.map(|policy| policy.ttl)),
            max_renewals: asked(terms.max_renewals, policy.map(|policy| policy.max_renewals)),
            absolute_lifetime: asked(terms.absolute_lifetime, policy.map(|policy| policy.absolute_lifetime)),
            renewal_reject_window: asked(
                terms.renewal_reject_window,
                policy.map(|policy| policy.renewal_reject_window),
            ),
            idle_timeout: terms
                .idle_timeout
                .filter(|idle| Some(*idle) != usual_idle_timeout(policy, terms.mode)),
            mode: terms.mode,
            on_reuse: terms.on_reuse.filter(|asked| Some(*asked) != policy.map(|policy| policy.on_reuse)),
            purpose: terms.purpose,
        },
        device: event.device.clone(),
        scopes: event.scopes.clone(),
        metadata: event.metadata.clone(),
        constraints: event.constraints.clone(),
        jitter: jitter(at, event.renew_at, terms.ttl),
    }))
}

/// What a session of this mode gets that asks for no idle time.
fn usual_idle_timeout(policy: Option<&Policy>, mode: SessionMode) -> Option<Seconds> {
    policy.and_then(|policy| policy.usual_idle_timeout(mode))
}

/// The jitter that gave this moment, nearly: `renewAt` is advice and decides nothing.
fn jitter(start: Timestamp, renew_at: Option<Timestamp>, ttl: Seconds) -> u16 {
    let millis = i64::from(ttl.0) * 1000;
    let beyond_half = renew_at.map_or(0, |renew_at| renew_at.millis_since(start) - millis / 2);
    u16::try_from(beyond_half * 10 * i64::from(u16::MAX) / (millis * 3).max(1)).unwrap_or(0)
}

fn renewal(event: &SessionRenewed, subject: &Subject, at: Timestamp) -> ReplayedRequest {
    let ttl = subject.session(event.session_id).map_or(Seconds(1), |session| session.terms.ttl);
    let jitter = jitter(at, event.renew_at, ttl);
    shown(
        event.session_id,
        ShownToken::Newest,
        RenewSession { key_digest: event.key_digest, jitter, ..NOTHING },
    )
}

/// `session` is as it was before.
fn refused(
    event: &RenewalRejected,
    session: &Session,
    policy: Option<&Policy>,
    commit: &Commit,
) -> Option<ReplayedRequest> {
    let id = event.session_id;
    match (event.cause, event.code?) {
        (RejectionCause::Owner, _) => None,
        (RejectionCause::Policy, RejectionCode::SessionRenewalMismatch) => {
            // An event that ended it in the same commit is a consequence of this one, and asks nothing by itself.
            let was_ended = commit.events.iter().any(is_end_for_reuse);
            let in_grace = is_in_grace(session, policy, commit.recorded_at);
            let revokes = policy.is_some_and(|policy| session.on_reuse(policy) == OnReuse::Revoke);
            let token = match (event.contested || was_ended, in_grace) {
                (true, true) => ShownToken::Older,
                (false, false) if revokes => ShownToken::Harmless,
                (true, false) | (false, _) => ShownToken::Replaced,
            };
            Some(ReplayedRequest::Renewal { command: of(id), token, is_presented: was_ended })
        }
        (
            RejectionCause::Policy,
            RejectionCode::TokenExpired
            | RejectionCode::SessionIdle
            | RejectionCode::RenewalLimitReached
            | RejectionCode::SessionAbsoluteLifetimeExceeded
            | RejectionCode::RenewalTooEarly,
        ) => Some(shown(id, ShownToken::Newest, NOTHING)),
    }
}

/// Whether a token that the latest renewal had replaced was not yet under suspicion.
fn is_in_grace(session: &Session, policy: Option<&Policy>, at: Timestamp) -> bool {
    let over = session.renewed_at().zip(policy).map(|(renewed, policy)| renewed.plus(policy.reuse_grace));
    over.is_some_and(|over| at < over)
}

/// `session` is as it was before; `None` if it began in the same commit.
fn ended(event: &SessionRevoked, session: Option<&Session>, commit: &Commit) -> Option<ReplayedRequest> {
    let id = event.session_id;
    let command = RevokeSession {
        session_id: id,
        by: Revoker::Admin,
        reject_renewal: Some(false),
        reason: event.reason.clone(),
    };
    match event.trigger {
        // A consequence of a create in the same commit.
        EndTrigger::Evicted => None,
        EndTrigger::RenewalRejected => Some(ReplayedRequest::Veto(command)),
        // A consequence of a refusal, or of the newer token. Before sessions were contested, only of a refusal: where
        // that was recorded before, only the end is.
        EndTrigger::TokenReuse => {
            let is_told = commit
                .events
                .iter()
                .any(|event| matches!(event, Event::Subject(SubjectEvent::RenewalRejected(_))));
            let was_contested = session.is_some_and(|session| session.said.contains(OneTimeFact::Contested));
            let request = if was_contested { ReplayedRequest::BothShown(id) } else { reused(id) };
            (!is_told).then_some(request)
        }
        EndTrigger::Own => Some(ReplayedRequest::Own(command)),
        EndTrigger::ManualRevoke | EndTrigger::SubjectRevoked | EndTrigger::Bulk | EndTrigger::Restore => {
            Some(ReplayedRequest::Same(Command::RevokeSession(command)))
        }
    }
}

/// An exception that excepted nothing was granted once, and is refused today.
fn all_ended(event: &SessionsRevoked, subject: &Subject) -> Option<ReplayedRequest> {
    let command = RevokeSessions {
        device: event.device_digest,
        except: event.except_session_id.filter(|kept| subject.session(*kept).is_some()),
        owner: None,
        reason: event.reason.clone(),
    };
    (event.trigger != EndTrigger::Evicted).then_some(ReplayedRequest::Same(Command::RevokeSessions(command)))
}

fn is_end_for_reuse(event: &Event) -> bool {
    matches!(event, Event::Subject(SubjectEvent::SessionRevoked(event)) if event.trigger == EndTrigger::TokenReuse)
}

const fn shown(session_id: SessionId, token: ShownToken, command: RenewSession) -> ReplayedRequest {
    ReplayedRequest::Renewal { command: RenewSession { session_id, ..command }, token, is_presented: false }
}

/// A renewal by a token whose successor was presented.
const fn reused(session_id: SessionId) -> ReplayedRequest {
    ReplayedRequest::Renewal { command: of(session_id), token: ShownToken::Replaced, is_presented: true }
}

const fn of(session_id: SessionId) -> RenewSession {
    RenewSession { session_id, ..NOTHING }
}

const NOTHING: RenewSession = RenewSession {
    session_id: SessionId::from_bytes([0; 16]),
    generation: Generation::FIRST,
    key_digest: None,
    jitter: 0,
};
