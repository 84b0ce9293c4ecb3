//! One event of a replay, and what it changed.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::cli::output::event_text;
use tenure_audit::replay::{ReplayStep, diff::differences};
use tenure_core::{StreamId, state::AuthorityState};

/// The part of a state that an event of this stream can change, but for marks on sessions.
pub(super) fn part(state: &AuthorityState, stream: &StreamId) -> AuthorityState {
    let subjects: HashMap<_, _> = match stream {
        StreamId::System => HashMap::new(),
        StreamId::Subject(id) => {
            state.subjects.get_key_value(id).map(|(id, is)| (id.clone(), is.clone())).into_iter().collect()
        }
    };
    AuthorityState {
        scope: state.scope.clone(),
        position: state.position,
        recorded_at: state.recorded_at,
        system: state.system.clone(),
        subjects,
        holders: HashMap::new(),
        horizon: state.horizon,
    }
}

/// The event, and the difference between the state before it and behind it.
pub(super) fn document(step: ReplayStep<'_>, before: &AuthorityState, behind: &AuthorityState) -> Value {
    let commit = &step.stored.commit;
    let event = &commit.events[step.index];
    let subject = match &commit.stream {
        StreamId::System => None,
        StreamId::Subject(id) => Some(id),
    };
    let at = commit.recorded_at;
    let mut told = json!({
        "position": step.position, "recordedAt": at, "kind": event.kind().name(), "subjectId": subject,
        "sessionId": event.session_id(), "actor": commit.actor,
        "changes": differences((before, at), (behind, at)), "data": event,
    });
    told["what"] = event_text::what(&told).into();
    // What an event holds is in the export; here are its words, and what it changed.
    told.as_object_mut().map(|told| told.remove("data"));
    told
}
