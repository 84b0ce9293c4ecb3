//! Renew a session: the table of checks, row by row, in the order of the contract (section 3).
//!
//! Rows 1 and 2 (a genuine token, and its own session) are judged before the command is made.

use crate::{
    Policy, Position, SubjectEvent, Timestamp,
    command::RenewSession,
    event::{ExpiringSoon, RejectionCause, RejectionCode, RenewalRejected, SessionRenewed},
    observed::Observation,
    refusal::{RecordedRefusal, Refusal},
    session::{Session, TokenFault},
    subject::Subject,
};

use super::{
    GrantPeriod,
    reuse::{check_uncontested, mismatch},
};

pub(super) fn renew(
    policy: &Policy,
    subject: &Subject,
    command: RenewSession,
    observed: &Observation,
    at: Timestamp,
) -> Result<Vec<SubjectEvent>, RecordedRefusal> {
    let session = subject.session(command.session_id).ok_or(Refusal::SessionNotFound)?;
    if let Some(revocation) = session.revocation() {
        return Err(
            Refusal::SessionRevoked { caused_by: revocation.position, trigger: revocation.trigger }.into()
        );
    }
    if command.generation == session.generation() {
        check_uncontested(policy, session)?;
    }
    // Row 3a, also for a repeat. Nothing is recorded of it: rows 4 to 8 say of what a session was refused.
    if let Some(suspension) = subject.suspension_at(at) {
        let (caused_by, until) = (suspension.position, suspension.until);
        return Err(Refusal::SubjectSuspended { caused_by, until, of_own_token: true }.into());
    }
    if command.generation != session.generation() {
        return repeat_or_mismatch(policy, session, command, observed, at);
    }
    if is_key_of_latest_renewal(session, command) {
        return Err(Refusal::IdempotencyKeyReused { caused_by: session.granted() }.into());
    }
    check_rows_5_to_8(session, at)?;
    Ok(vec![renewed(session, command, at)])
}

/// Row 4, for a token of another generation than the current one: its holder may have lost the reply to the
/// renewal that replaced it, and repeats that renewal with its key.
///
/// No token of the new generation can have been presented then; a thief who replays a recorded request
/// after the holder went on comes too late.
fn repeat_or_mismatch(
    policy: &Policy,
    session: &Session,
    command: RenewSession,
    observed: &Observation,
    at: Timestamp,
) -> Result<Vec<SubjectEvent>, RecordedRefusal> {
    let presented = observed.is_presented || session.was_presented();
    let is_previous = command.generation.next() == session.generation();
    if is_previous && is_key_of_latest_renewal(session, command) && !presented {
        // The renewal was granted: the answer is the state. Rows 6 to 8 were judged then.
        return check_row_5(session, at).map(|()| vec![]);
    }
    Err(mismatch(policy, session, command, presented, at))
}

pub(super) fn is_key_of_latest_renewal(session: &Session, command: RenewSession) -> bool {
    let latest = session.renewal().and_then(|renewal| renewal.key_digest);
    command.key_digest.is_some() && command.key_digest == latest
}

fn check_rows_5_to_8(session: &Session, at: Timestamp) -> Result<(), RecordedRefusal> {
    check_row_5(session, at)?;
    let soon = session.expiring_soon(session.renewals_left(), at);
    if session.renewals_left() == 0 {
        return Err(refused(session, RejectionCode::RenewalLimitReached, soon, |caused_by| {
            Refusal::RenewalLimitReached { caused_by }
        }));
    }
    if session.expires_at() >= session.absolute_expires_at() {
        return Err(refused(session, RejectionCode::SessionAbsoluteLifetimeExceeded, soon, |caused_by| {
            Refusal::AbsoluteLifetimeExceeded { caused_by }
        }));
    }
    let retry_at = session.earliest_renewal();
    if at < retry_at {
        return Err(refused(session, RejectionCode::RenewalTooEarly, soon, |caused_by| {
            Refusal::RenewalTooEarly { retry_at, caused_by }
        }));
    }
    Ok(())
}

fn check_row_5(session: &Session, at: Timestamp) -> Result<(), RecordedRefusal> {
    if session.is_expired(at) {
        return Err(refused(session, RejectionCode::TokenExpired, None, |caused_by| Refusal::TokenExpired {
            caused_by,
        }));
    }
    if session.is_idle(at) {
        let caused_by = session.cause_of(TokenFault::Idle);
        return Err(refused(session, RejectionCode::SessionIdle, None, |_| Refusal::SessionIdle {
            caused_by,
        }));
    }
    Ok(())
}

/// A refusal is recorded once per session, generation and code, so that a retry loop cannot flood the log.
pub(super) fn refused(
    session: &Session,
    code: RejectionCode,
    expiring_soon: Option<ExpiringSoon>,
    refusal: impl FnOnce(Position) -> Refusal,
) -> RecordedRefusal {
    let event = SubjectEvent::RenewalRejected(RenewalRejected {
        session_id: session.id,
        generation: session.generation(),
        cause: RejectionCause::Policy,
        code: Some(code),
        expiring_soon,
        contested: false,
    });
    let is_known = session.refused.contains(code);
    RecordedRefusal {
        refusal: refusal(session.granted()),
        record: if is_known { vec![] } else { vec![event] },
    }
}

fn renewed(session: &Session, command: RenewSession, at: Timestamp) -> SubjectEvent {
    let left = session.renewals_left() - 1;
    let period =
        GrantPeriod::starting(at, *session.terms, session.absolute_expires_at(), left, command.jitter);
    SubjectEvent::SessionRenewed(SessionRenewed {
        session_id: session.id,
        generation: session.generation().next(),
        expires_at: period.expires_at,
        renew_at: period.renew_at,
        key_digest: command.key_digest,
        expiring_soon: session.expiring_soon(left, at),
    })
}
