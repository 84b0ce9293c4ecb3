//! What follows from a command: new facts, or a refusal.

mod create;
mod expire;
mod refresh;
mod register;
mod renew;
mod reuse;
mod revoke;
mod suspend;
mod system;
mod usage;

pub use create::check_terms;
pub use suspend::UNTIL_AHEAD;
pub use system::decide_system;

use super::{
    command::{Command, EndAndSuspend, EraseSubject},
    event::{SessionTerms, SubjectErased, SubjectEvent},
    observed::Observation,
    policy::Policy,
    refusal::{RecordedRefusal, Refusal},
    session::{Session, TokenFault},
    subject::Subject,
    time::{Seconds, Timestamp},
};

/// Decides a command against the state of its subject.
///
/// `at` is the moment of the decision, never before the last recorded one. An empty list means that what was
/// asked is already so: the caller is answered from the state, and nothing is appended.
///
/// # Errors
/// The refusal, with what is to be recorded of it. Refusals that record something have still changed
/// nothing about the session, but for the reuse rule, which may end it.
pub fn decide(
    policy: &Policy,
    subject: &Subject,
    command: &Command,
    observed: &Observation,
    at: Timestamp,
) -> Result<Vec<SubjectEvent>, RecordedRefusal> {
    match command {
        Command::RegisterSubject(command) => Ok(register::register(subject, command)?),
        Command::ChangeSubject(command) => Ok(register::change(subject, command)?),
        Command::CreateSession(command) => Ok(create::create(policy, subject, command, observed, at)?),
        Command::RenewSession(command) => renew::renew(policy, subject, *command, observed, at),
        Command::RefreshSession(command) => refresh::refresh(policy, subject, *command, at),
        Command::RevokeSession(command) => Ok(revoke::revoke(policy, subject, command, at)?),
        Command::RevokeSessions(command) => Ok(revoke::revoke_many(subject, command, at)?),
        Command::RecordUsage(command) => usage::record(policy, subject, command, at),
        Command::EndContested(command) => reuse::end_contested(policy, subject, *command, observed),
        Command::RecordExpiries => Ok(expire::record(subject, at)),
        Command::EraseSubject(command) => Ok(erase(subject, command, observed)?),
        Command::SuspendSubject(command) => Ok(suspend::suspend(subject, command, at)?),
        Command::ResumeSubject(command) => Ok(suspend::resume(subject, command, at)?),
        Command::EndAndSuspend(EndAndSuspend { end, suspension }) => {
            Ok(suspend::end_and_suspend(policy, subject, end, suspension, at)?)
        }
    }
}

fn erase(
    subject: &Subject,
    command: &EraseSubject,
    observed: &Observation,
) -> Result<Vec<SubjectEvent>, Refusal> {
    if !subject.is_registered() {
        return Err(Refusal::SubjectNotFound);
    }
    let erased = SubjectEvent::SubjectErased(SubjectErased { reason: command.reason.clone() });
    Ok(if observed.is_forgotten { vec![] } else { vec![erased] })
}

/// A period that begins now: where it ends, and when its holder should renew.
struct GrantPeriod {
    expires_at: Timestamp,
    renew_at: Option<Timestamp>,
}

impl GrantPeriod {
    /// The period is always the session's ttl, cut at its absolute end.
    fn starting(
        at: Timestamp,
        terms: SessionTerms,
        absolute: Timestamp,
        renewals_left: u32,
        jitter: u16,
    ) -> Self {
        let expires_at = at.plus(terms.ttl).min(absolute);
        let renewable = renewals_left > 0 && expires_at < absolute;
        Self { expires_at, renew_at: renewable.then(|| renewal_moment(at, terms.ttl, jitter)) }
    }
}

/// Between 50 % and 80 % of the period, so that a fleet does not renew at once. Half of the period in whole
/// seconds is never later than this, so a holder who keeps to it is never too early.
fn renewal_moment(start: Timestamp, ttl: Seconds, jitter: u16) -> Timestamp {
    let millis = i64::from(ttl.0) * 1000;
    start.plus_millis(millis / 2 + millis * 3 * i64::from(jitter) / (10 * i64::from(u16::MAX)))
}

fn owned_session<'a>(
    subject: &'a Subject,
    owner: Option<&super::OwnerId>,
    id: super::SessionId,
) -> Result<&'a Session, Refusal> {
    if is_foreign(subject, owner) {
        return Err(Refusal::SessionNotFound);
    }
    subject.session(id).ok_or(Refusal::SessionNotFound)
}

/// Whether the subject does not exist for this owner. Ownership follows the subject at once.
fn is_foreign(subject: &Subject, owner: Option<&super::OwnerId>) -> bool {
    owner.is_some_and(|owner| subject.profile().and_then(|own| own.owner_id.as_ref()) != Some(owner))
}

/// What a genuine token's fault is called outside of renew.
fn token_refusal(session: &Session, fault: TokenFault) -> Refusal {
    let caused_by = session.cause_of(fault);
    match fault {
        TokenFault::Revoked(trigger) => Refusal::SessionRevoked { caused_by, trigger },
        TokenFault::Suspended { position, until } => {
            Refusal::SubjectSuspended { caused_by: position, until, of_own_token: true }
        }
        TokenFault::Superseded => Refusal::TokenSuperseded { caused_by },
        TokenFault::Expired => Refusal::TokenExpired { caused_by },
        TokenFault::Idle => Refusal::SessionIdle { caused_by },
    }
}
