//! `tenure audit replay --compare`: the state rebuilt from the log against the one that answers requests.

use std::{collections::BTreeMap, ops::ControlFlow};

use serde_json::{Value, json};

use crate::cli::{
    commands::audit::{
        data_directory::expect_data, source::SourceArgs, trust::TrustedHeads, verification::ReadEnding,
    },
    connection::{client::ApiRequest, pages},
    context::GlobalArgs,
    environment,
    failure::CommandError,
    output::{Column, Output},
};
use tenure_audit::replay::{diff::differences, digest, view::ReplayedSession};
use tenure_core::{
    Position, SessionId, SubjectId, Timestamp,
    session::{OneTimeFact, Session},
    state::AuthorityState,
};
use tenure_server::node::snapshot;

const COLUMNS: &[Column] = &[
    Column::plain("WHAT", "what"),
    Column::plain("ID", "id"),
    Column::plain("FIELD", "field"),
    Column::plain("REPLAYED", "replayed"),
    Column::plain("LIVE", "live"),
];

pub(super) fn run(
    source: &SourceArgs,
    global: &GlobalArgs,
    trusted: &TrustedHeads,
) -> Result<(), CommandError> {
    let (compared, ending) = match source.data() {
        Some(data) => with_snapshot(data, source, global, trusted)?,
        None => with_server(source, global, trusted)?,
    };
    compared.report(global.output())?;
    ending.report(global.output());
    Ok(())
}

/// What was found.
#[derive(Default)]
struct StateComparison {
    position: Position,
    things: u64,
    digest: Option<String>,
    different: Vec<Value>,
}

impl StateComparison {
    fn report(self, output: Output) -> Result<(), CommandError> {
        let different = self.different.len();
        let document = json!({
            "asOfPosition": self.position, "compared": self.things, "stateDigest": self.digest,
            "items": self.different,
        });
        if different == 0 {
            let line = format!("{} compared up to position {}: the same.", self.things, self.position);
            return output.narrative(&document, &[line]);
        }
        output.list(&document, COLUMNS, environment::now())?;
        Err(CommandError::damaged(format!(
            "{different} members differ between the replay and the live state"
        )))
    }
}

/// A stopped server answers from what its log says; the snapshot is what it had in memory at its end.
fn with_snapshot(
    data: &std::path::Path,
    source: &SourceArgs,
    global: &GlobalArgs,
    trusted: &TrustedHeads,
) -> Result<(StateComparison, ReadEnding), CommandError> {
    expect_data(data)?;
    let none =
        || CommandError::Missing(format!("{}: is not there, or damaged", snapshot::path(data).display()));
    let live = snapshot::load(data).ok_or_else(none)?.state;
    let mut state = AuthorityState::default();
    let mut illegal = None;
    let ending = source.read(global, trusted, &mut |stored| {
        if stored.last() > live.position {
            return ControlFlow::Break(());
        }
        illegal = state.apply(&stored.commit).err();
        if illegal.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if let Some(illegal) = illegal {
        return Err(CommandError::damaged(illegal.to_string()));
    }
    take_out_evicted(&mut state, &live);
    let at = live.recorded_at;
    let mut different: Vec<_> = differences((&state, at), (&live, at))
        .into_iter()
        .map(|found| json!({"what": found.what, "id": found.id, "field": found.field, "replayed": found.before, "live": found.after}))
        .collect();
    if different.is_empty() && state.to_bytes() != live.to_bytes() {
        different.push(
            json!({"what": "state", "field": "digest", "replayed": digest(&state), "live": digest(&live)}),
        );
    }
    let things = (live.subjects.len() + live.holders.len()) as u64;
    Ok((StateComparison { position: live.position, things, digest: Some(digest(&state)), different }, ending))
}

/// Sessions that ended long before had left the memory that a snapshot is of, and are no difference.
fn take_out_evicted(state: &mut AuthorityState, live: &AuthorityState) {
    for (id, subject) in &mut state.subjects {
        let in_memory = live.subjects.get(id);
        subject.sessions.retain(|session| {
            let has_ended = session.said.contains(OneTimeFact::Expired) || session.revocation().is_some();
            !has_ended || in_memory.is_some_and(|subject| subject.session(session.id).is_some())
        });
    }
    let subjects = &state.subjects;
    let is_there = |id: &SessionId, whose: &SubjectId| {
        subjects.get(whose).is_some_and(|subject| subject.session(*id).is_some())
    };
    state.holders.retain(|id, whose| is_there(id, whose));
}

/// A running server goes on while it is asked, and says of each session which position it reflects: there it is
/// compared.
fn with_server(
    source: &SourceArgs,
    global: &GlobalArgs,
    trusted: &TrustedHeads,
) -> Result<(StateComparison, ReadEnding), CommandError> {
    let cli = global.context()?;
    let request = ApiRequest::get(&["v1", "sessions"]).query("status", Some("all")).query("limit", Some(200));
    let page = pages::whole(&cli, request, pages::by_cursor)?;
    let mut waiting = BTreeMap::<u64, Vec<&Value>>::new();
    for item in page["items"].as_array().into_iter().flatten() {
        waiting.entry(item["asOfPosition"].as_u64().unwrap_or(0)).or_default().push(item);
    }
    let mut compared = StateComparison::default();
    let mut state = AuthorityState::default();
    let mut illegal = None;
    let ending = source.read(global, trusted, &mut |stored| {
        if let Err(found) = state.apply(&stored.commit) {
            illegal = Some(found);
            return ControlFlow::Break(());
        }
        for item in waiting.remove(&state.position.0).into_iter().flatten() {
            compared.session(&state, item);
        }
        if waiting.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if let Some(illegal) = illegal {
        return Err(CommandError::damaged(illegal.to_string()));
    }
    match waiting.into_keys().next() {
        None => Ok((compared, ending)),
        Some(position) => Err(CommandError::damaged(format!(
            "the server answers as of position {position}, where no commit ends"
        ))),
    }
}

impl StateComparison {
    fn session(&mut self, state: &AuthorityState, live: &Value) {
        self.things += 1;
        self.position = state.position;
        let replayed = replayed(state, live);
        for (name, value) in replayed.as_object().into_iter().flatten() {
            if live[name] != *value {
                let id = &live["sessionId"];
                self.different
                    .push(json!({"what": "session", "id": id, "field": name, "replayed": value, "live": live[name]}));
            }
        }
    }
}

/// A use not recorded yet, which only the server knows.
fn with_use(session: &Session, live: &Value, at: Timestamp) -> Option<Session> {
    let seen_at = live["lastSeenAt"].as_str().and_then(Timestamp::parse)?;
    let is_later = session.last_seen_at().is_some_and(|recorded| recorded < seen_at) && seen_at <= at;
    is_later.then(|| session.seen_unrecorded(seen_at))
}

/// The session as the replay has it, at the moment that the live one was judged at.
fn replayed(state: &AuthorityState, live: &Value) -> Value {
    let id = live["sessionId"].as_str().and_then(|id| id.parse::<SessionId>().ok());
    let at = live["asOfTime"].as_str().and_then(Timestamp::parse).unwrap_or(state.recorded_at);
    let subject = id.and_then(|id| state.subjects.get(state.holders.get(&id)?));
    let session = id.and_then(|id| subject?.session(id));
    match (subject, session) {
        (Some(subject), Some(session)) => {
            let used = with_use(session, live, at);
            json!(ReplayedSession::of(state, subject, used.as_ref().unwrap_or(session), at))
        }
        (_, _) => json!({ "sessionId": null }),
    }
}
