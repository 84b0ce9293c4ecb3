//! One event of a replay, and what it changed.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::cli::output::happened;
use tenure_audit::replay::{Step, diff::differences};
use tenure_core::{Stream, state::State};

/// The part of a state that an event of this stream can change, but for marks on sessions.
pub(super) fn part(state: &State, stream: &Stream) -> State {
    let subjects: HashMap<_, _> = match stream {
        Stream::System => HashMap::new(),
        Stream::Subject(id) => {
            state.subjects.get_key_value(id).map(|(id, is)| (id.clone(), is.clone())).into_iter().collect()
        }
    };
    State {
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
pub(super) fn told(step: Step<'_>, before: &State, behind: &State) -> Value {
    let commit = &step.stored.commit;
    let event = &commit.events[step.index];
    let subject = match &commit.stream {
        Stream::System => None,
        Stream::Subject(id) => Some(id),
    };
    let at = commit.recorded_at;
    let mut told = json!({
        "position": step.position, "recordedAt": at, "kind": event.kind().name(), "subjectId": subject,
        "sessionId": event.session_id(), "actor": commit.actor,
        "changes": differences((before, at), (behind, at)), "data": event,
    });
    told["what"] = happened::what(&told).into();
    // What an event holds is in the export; here are its words, and what it changed.
    told.as_object_mut().map(|told| told.remove("data"));
    told
}
