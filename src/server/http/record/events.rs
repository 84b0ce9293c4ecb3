//! `GET /v1/events`: the facts, as they were recorded.

use std::{borrow::Cow, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use crate::notify::FeedCommit;
use tenure_core::{Event, EventKind, KindSet, OwnerId, Position, StreamId};
use tenure_log::StoredCommit;
use tenure_protocol::wire::{Page, RecordedEvent};

use super::{EventReader, RecordView, bulk_event::confine, kinds, parameters::RecordParameters, stream};
use crate::http::{
    api::ApiContext,
    reply::{
        HttpReply,
        actor_view::actor_view,
        problem::Problem,
        text::{TextOpener, kept_object},
    },
    request::{call::ApiCall, fields::RequestFields, page::ListName},
};

/// The members of an event. Metadata is shown with the digits and the order that it was given with, which no tree of
/// values keeps.
#[derive(Debug)]
struct EventData {
    members: Map<String, Value>,
    metadata: Option<Box<RawValue>>,
}

impl Serialize for EventData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        if let Some(metadata) = &self.metadata {
            map.serialize_entry("metadata", metadata)?;
        }
        map.end()
    }
}

/// The record as events of some kinds.
pub(crate) struct EventRecord(KindSet);

impl EventRecord {
    fn of(query: &mut RequestFields) -> Self {
        let kinds = kinds(query, &EventKind::ALL, EventKind::name);
        Self(kinds.map_or(KindSet::ALL, KindSet::from_iter))
    }
}

impl RecordView for EventRecord {
    const LIST: ListName = ListName::Events;

    type Place = Position;

    fn after(position: Position) -> Position {
        position
    }

    fn position(place: Position) -> Position {
        place
    }

    fn done(place: Position) -> Position {
        place
    }

    fn kinds(&self) -> KindSet {
        self.0
    }

    fn sought(&self, viewer: &EventReader, commit: &FeedCommit) -> Vec<(Position, Arc<str>)> {
        let stored = commit.stored();
        let has_any = stored.commit.events.iter().any(|event| self.0.has(event.kind()));
        if !has_any || !viewer.may_see(stored) {
            return vec![];
        }
        let written = match viewer.caller.owner() {
            Some(owner) if stored.commit.stream == StreamId::System => {
                Cow::Owned(written(&viewer.api, stored, Some(owner)))
            }
            Some(_) | None => {
                commit.written_events(&*viewer.api.authority, || written(&viewer.api, stored, None))
            }
        };
        let events = stored.positions().zip(&stored.commit.events).zip(written.iter());
        events
            .filter(|((position, event), _)| {
                let is_for_caller =
                    stored.commit.stream != StreamId::System || viewer.is_of_its_concern(event);
                self.0.has(event.kind()) && is_for_caller && viewer.is_about_sought(stored, event, *position)
            })
            .map(|((position, _), line)| (position, Arc::clone(line)))
            .collect()
    }
}

/// Recorded events, oldest first; an owner sees its own. With `Accept: text/event-stream` new ones follow.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "listEvents",
    params(RecordParameters),
    responses((status = 200, description = "One page, or the stream: each event has its position as `id` and the same JSON as `data`.",
        content((Page<RecordedEvent> = "application/json"), (String = "text/event-stream")))))]
pub(crate) async fn list(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let events = EventRecord::of(&mut query);
    stream::answer(call, query, events).await
}

/// The events of a commit, each as JSON; those of the authority itself as this owner reads them.
fn written(api: &ApiContext, stored: &StoredCommit, owner: Option<&OwnerId>) -> Vec<Arc<str>> {
    let events = stored.positions().enumerate();
    let events = events.map(|(index, position)| recorded_event(api, stored, (index, position), owner));
    events
        .map(|event| serde_json::to_string(&event).expect("our own documents are always JSON").into())
        .collect()
}

fn recorded_event(
    api: &ApiContext,
    stored: &StoredCommit,
    (index, position): (usize, Position),
    owner: Option<&OwnerId>,
) -> RecordedEvent {
    let commit = &stored.commit;
    let event = &commit.events[index];
    let subject_id = match &commit.stream {
        StreamId::System => None,
        StreamId::Subject(id) => Some(id.clone()),
    };
    let texts = TextOpener::of_stream(&api.authority, event.sealed_in(&commit.stream).clone());
    RecordedEvent {
        position,
        event_id: commit.id.event(u16::try_from(index).expect("a commit has fewer than 65 536 events")),
        recorded_at: commit.recorded_at,
        kind: event.kind().name().into(),
        version: event.kind().version(),
        subject_id,
        session_id: event.session_id(),
        actor: actor_view(&commit.actor),
        correlation_id: commit.correlation_id.clone(),
        data: data(event, &texts, owner),
        record_hash: stored.record_hashes[index].to_string(),
    }
}

/// The members of an event, its texts opened; null where a text was erased. Of the authority's own events an owner reads
/// what concerns it.
fn data(event: &Event, texts: &TextOpener<'_>, owner: Option<&OwnerId>) -> Box<RawValue> {
    let Ok(Value::Object(mut members)) = serde_json::to_value(event) else {
        unreachable!("every event is written as an object")
    };
    let mut metadata = None;
    for (field, text) in event.texts() {
        let opened = texts.open(field, text);
        if field == "metadata" {
            metadata = Some(opened.map_or_else(|| RawValue::NULL.to_owned(), kept_object));
        } else {
            members.insert(field.into(), opened.map_or(Value::Null, Value::String));
        }
    }
    if let Some(owner) = owner {
        confine(&mut members, owner);
    }
    to_raw_value(&EventData { members, metadata }).expect("our own documents are always JSON")
}
