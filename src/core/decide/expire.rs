//! Record that sessions have ended by themselves.

use crate::{
    SubjectEvent, Timestamp,
    event::{SessionExpired, SubjectResumed},
    subject::Subject,
};

/// One event for each session whose end by itself is not recorded yet, and one for the
/// suspension if that has.
pub(super) fn record(subject: &Subject, at: Timestamp) -> Vec<SubjectEvent> {
    let ended = subject.sessions.iter().filter(|session| session.awaits_expiry(at));
    let resumed = SubjectEvent::SubjectResumed(SubjectResumed::BY_ITSELF);
    let resumed = subject.awaits_resumption(at).then_some(resumed);
    let expired = ended.take(MOST).map(|session| {
        SubjectEvent::SessionExpired(SessionExpired {
            session_id: session.id,
            expires_at: session.ends_at(),
            cause: session.expiry_cause(),
        })
    });
    resumed.into_iter().chain(expired).collect()
}

/// Maximum events of one sweep: they fit into a commit of any stream with room to spare. The sweeper asks again for
/// the rest.
const MOST: usize = 200;
