//! Refresh a sliding session: its period begins again, under the same token.

use crate::{
    Policy, SubjectEvent, Timestamp, activity::SessionRefreshed, command::RefreshSession,
    refusal::RecordedRefusal, subject::Subject,
};

use super::{owned_session, reuse::check_uncontested, token_refusal};

/// Nothing when it is not due: of many requests at that moment the first one refreshes it.
pub(super) fn refresh(
    policy: &Policy,
    subject: &Subject,
    command: RefreshSession,
    at: Timestamp,
) -> Result<Vec<SubjectEvent>, RecordedRefusal> {
    let session = owned_session(subject, None, command.session_id)?;
    if command.generation == session.generation() {
        check_uncontested(policy, session)?;
    }
    let judged = session.judge(command.generation, subject.suspension(), at);
    judged.map_err(|fault| token_refusal(session, fault))?;
    let is_due = session.refresh_at().is_some_and(|due| at >= due);
    let expires_at = session.refreshed_until(at);
    if !policy.sliding_enabled || !is_due || expires_at <= session.expires_at() {
        return Ok(vec![]);
    }
    Ok(vec![SubjectEvent::SessionRefreshed(SessionRefreshed { session_id: session.id, expires_at })])
}
