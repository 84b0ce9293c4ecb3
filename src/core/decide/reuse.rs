//! A token comes back that a renewal had replaced, and the session may end for it.
//!
//! A client that lost the reply of its renewal repeats it under its key, and has no newer token to show. So a replaced
//! token that asks for a renewal without that key *contests* the session, and the holder of the newer token is the
//! second holder: one of the two is a thief. In which order they come does not matter.

use crate::{
    Policy, SubjectEvent, Timestamp,
    command::{EndContested, RenewSession},
    event::{EndTrigger, RejectionCause, RejectionCode, RenewalRejected, SessionRevoked},
    observed::Observation,
    policy::OnReuse,
    refusal::{RecordedRefusal, Refusal},
    session::{OneTimeFact, Session},
    subject::Subject,
};

use super::{
    owned_session,
    renew::{is_key_of_latest_renewal, refused},
};

/// Row 4 refuses this token. `presented` says whether one of the current generation was shown.
pub(super) fn mismatch(
    policy: &Policy,
    session: &Session,
    command: RenewSession,
    presented: bool,
    at: Timestamp,
) -> RecordedRefusal {
    let answer = |retry_at| Refusal::RenewalMismatch { retry_at, caused_by: session.granted() };
    let plain =
        |retry_at| refused(session, RejectionCode::SessionRenewalMismatch, None, |_| answer(retry_at));
    // A token no older than the current one cannot have been replaced, nor issued.
    let is_replaced = command.generation < session.generation();
    if !is_replaced || session.on_reuse(policy) == OnReuse::Reject {
        return plain(None);
    }
    let is_previous = command.generation.next() == session.generation();
    if is_previous && let Some(over) = grace_over(policy, session).filter(|over| at < *over) {
        return plain(Some(over));
    }
    if is_key_of_latest_renewal(session, command) {
        return plain(None);
    }
    let mut record = contested(session);
    // The successor of an older token was presented for certain: it was renewed in its turn.
    if presented || !is_previous {
        record.push(ended(session));
    }
    RecordedRefusal { refusal: answer(None), record }
}

/// Until when a token of the previous generation is taken for that of a slow or crowded holder, not of a second one.
fn grace_over(policy: &Policy, session: &Session) -> Option<Timestamp> {
    Some(session.renewed_at()?.plus(policy.reuse_grace))
}

/// Recorded once in the life of a session, also where such a refusal is recorded that contested nothing.
fn contested(session: &Session) -> Vec<SubjectEvent> {
    if session.said.contains(OneTimeFact::Contested) {
        return vec![];
    }
    vec![SubjectEvent::RenewalRejected(RenewalRejected {
        session_id: session.id,
        generation: session.generation(),
        cause: RejectionCause::Policy,
        code: Some(RejectionCode::SessionRenewalMismatch),
        expiring_soon: None,
        contested: true,
    })]
}

const fn ended(session: &Session) -> SubjectEvent {
    SubjectEvent::SessionRevoked(SessionRevoked {
        session_id: session.id,
        trigger: EndTrigger::TokenReuse,
        reason: None,
    })
}

/// A token of the current generation is about to be used for something recorded, or handed out for it. If the
/// session is contested, its holder is the second one.
pub(super) fn check_uncontested(policy: &Policy, session: &Session) -> Result<(), RecordedRefusal> {
    if session.ends_when_presented(policy) {
        return Err(RecordedRefusal { refusal: Refusal::EndsForReuse, record: vec![ended(session)] });
    }
    Ok(())
}

/// Nothing, as long as only one of the two has shown itself.
pub(super) fn end_contested(
    policy: &Policy,
    subject: &Subject,
    command: EndContested,
    observed: &Observation,
) -> Result<Vec<SubjectEvent>, RecordedRefusal> {
    let session = owned_session(subject, None, command.session_id)?;
    let is_shown = command.shown == Some(session.generation());
    if is_shown || observed.is_presented || session.was_presented() {
        check_uncontested(policy, session)?;
    }
    Ok(vec![])
}
