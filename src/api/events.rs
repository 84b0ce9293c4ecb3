//! `GET /v1/events`: the facts, as they were recorded.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    domain::{Actor, Event, EventId, EventKind, Position, SessionId, Stream, SubjectId, Timestamp},
    log::{StoredCommit, waiting_for_disk},
    projections::history,
};

use super::{
    Api,
    call::Call,
    fields::{Fields, parsed_object},
    moment::AskedMoment,
    page::{AskedPage, Page},
    problem::Problem,
    reply::Reply,
    session_view::Texts,
};

/// So many commits are looked at for one page; a rare kind may give a short page with a `nextCursor`.
const LOOKED_AT: usize = 20_000;
/// So many are read at a time.
const STRIDE: usize = 1_000;

/// One fact.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordedEvent {
    position: Position,
    event_id: EventId,
    recorded_at: Timestamp,
    kind: &'static str,
    version: u8,
    subject_id: Option<SubjectId>,
    session_id: Option<SessionId>,
    #[schema(value_type = Object)]
    actor: Actor,
    correlation_id: Option<String>,
    /// What happened; its members are those of the kind, see the event catalogue.
    #[schema(value_type = Object)]
    data: Value,
    /// BLAKE3 of the stored bytes, hex.
    record_hash: String,
}

struct Filter {
    kinds: Option<Vec<EventKind>>,
    subject: Option<SubjectId>,
    session: Option<SessionId>,
}

impl Filter {
    fn of(query: &mut Fields) -> Self {
        let kinds = query.raw_text("kinds").map(|list| {
            let named = list.split(',').map(|name| EventKind::from_name(name.trim()));
            named.collect::<Option<Vec<_>>>()
        });
        if matches!(kinds, Some(None)) {
            let known: Vec<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
            query.fault("kinds", format!("must be a comma-separated list of {}", known.join(", ")));
        }
        // An id that is no UUID is an unknown id: no event is about it.
        let session = query.raw_text("sessionId").map(|text| text.parse().unwrap_or(NO_SESSION));
        Self { kinds: kinds.flatten(), subject: query.id("subjectId"), session }
    }
}

/// Names no session: ids are UUIDv7.
const NO_SESSION: SessionId = SessionId::from_bytes([0; 16]);

/// The recorded events, oldest first; an owner's own.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "listEvents",
    params(("after" = Option<u64>, Query, description = "Only events after this position."),
        ("kinds" = Option<String>, Query, description = "Only these kinds, separated by commas."),
        ("subjectId" = Option<SubjectId>, Query, description = "Only those of this subject."),
        ("sessionId" = Option<String>, Query, description = "Only those about this session; none of what is no UUID."),
        ("limit" = Option<u32>, Query, description = "1 to 200, by default 50."),
        ("cursor" = Option<String>, Query, description = "The `nextCursor` of the page before."),
        ("minPosition" = Option<u64>, Query, description = "Wait until the answer reflects this position.")),
    responses((status = 200, description = "One page.", body = Page<RecordedEvent>)))]
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    let mut query = call.query()?;
    let after = query.whole("after", 0..=u64::MAX);
    let filter = Filter::of(&mut query);
    let waiting = AskedMoment::of_present(&mut query);
    let page = AskedPage::of(&mut query);
    let cursor: Option<u64> = page.parsed(&mut query);
    if after.is_some() && cursor.is_some() {
        query.fault("cursor", "must not be given together with after");
    }
    query.finish()?;
    let reading = waiting.resolve(&call.api).await?;
    let after = Position(cursor.or(after).unwrap_or(0));
    let search = Search { call: &call, filter, limit: page.limit, head: reading.moment.position };
    let found = waiting_for_disk(|| search.run(after))?;
    Ok(Reply::ok(&Page::new(found.events, found.next_after)))
}

struct Search<'a> {
    call: &'a Call,
    filter: Filter,
    limit: usize,
    head: Position,
}

struct Found {
    events: Vec<RecordedEvent>,
    next_after: Option<Position>,
}

impl Search<'_> {
    fn run(&self, after: Position) -> Result<Found, Problem> {
        let mut found = Found { events: Vec::new(), next_after: None };
        let mut at = after;
        let mut looked_at = 0;
        while at < self.head {
            let stride = self.stride(at)?;
            let Some(last) = stride.last() else { break };
            let end = last.last();
            for stored in &stride {
                if self.take(stored, after, &mut found) {
                    return Ok(found);
                }
            }
            at = end;
            looked_at += stride.len();
            if looked_at >= LOOKED_AT && at < self.head {
                found.next_after = Some(at);
                return Ok(found);
            }
        }
        Ok(found)
    }

    /// The next commits that may hold what is sought.
    fn stride(&self, after: Position) -> Result<Vec<StoredCommit>, Problem> {
        let api = &self.call.api;
        let log = api.authority.log();
        let holder = self.filter.session.and_then(|id| api.authority.live().session(id));
        let subject = match (&self.filter.session, &self.filter.subject) {
            (None, None) => return Ok(log.read(after, STRIDE)?),
            (Some(_), _) => holder.map(|session| session.subject.clone()),
            (None, Some(subject)) => Some(subject.clone()),
        };
        let Some(subject) = subject else { return Ok(vec![]) };
        let stream = Stream::Subject(subject);
        // The commit that `after` lies in began before it.
        let within = history::commit_at(log, after)?.filter(|stored| stored.last() > after);
        let within = within.filter(|stored| stored.commit.stream == stream);
        let firsts = api.projections.timeline(|timeline| timeline.commits(&stream, after, STRIDE));
        let mut stride: Vec<_> = within.into_iter().collect();
        for first in firsts {
            stride.extend(history::commit_at(log, first)?);
        }
        Ok(stride)
    }

    /// Takes what is sought from a commit; says whether the page is full.
    fn take(&self, stored: &StoredCommit, after: Position, found: &mut Found) -> bool {
        let may_see = self.may_see(&stored.commit.stream);
        for (index, position) in stored.positions().enumerate() {
            let event = &stored.commit.events[index];
            if position <= after
                || position > self.head
                || !may_see
                || !self.is_sought(event, stored, position)
            {
                continue;
            }
            if found.events.len() == self.limit {
                found.next_after = found.events.last().map(|event| event.position);
                return true;
            }
            found.events.push(recorded_event(&self.call.api, stored, index, position));
        }
        false
    }

    fn may_see(&self, stream: &Stream) -> bool {
        let caller = &self.call.caller;
        let is_confined = caller.owner().is_some();
        match stream {
            Stream::System => !is_confined && self.filter.subject.is_none(),
            Stream::Subject(id) => {
                self.filter.subject.as_ref().is_none_or(|sought| sought == id)
                    && (!is_confined
                        || self.call.api.authority.live().subject(id).is_some_and(|own| caller.may_see(&own)))
            }
        }
    }

    fn is_sought(&self, event: &Event, stored: &StoredCommit, position: Position) -> bool {
        let Filter { kinds, session, subject: _ } = &self.filter;
        kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.kind()))
            && session.is_none_or(|id| event.session_id() == Some(id) || self.ended_by(id, stored, position))
    }

    /// Whether an event about several sessions ended this one: it belongs to its story.
    fn ended_by(&self, id: SessionId, stored: &StoredCommit, position: Position) -> bool {
        let session = self.call.api.authority.live().session(id);
        session.is_some_and(|session| {
            stored.commit.stream == Stream::Subject(session.subject.clone())
                && session.revocation.as_ref().is_some_and(|revocation| revocation.position == position)
        })
    }
}

fn recorded_event(api: &Api, stored: &StoredCommit, index: usize, position: Position) -> RecordedEvent {
    let commit = &stored.commit;
    let event = &commit.events[index];
    let subject_id = match &commit.stream {
        Stream::System => None,
        Stream::Subject(id) => Some(id.clone()),
    };
    let texts = Texts::of_stream(&api.authority, commit.stream.clone());
    RecordedEvent {
        position,
        event_id: commit.id.event(u16::try_from(index).expect("a commit has fewer than 65 536 events")),
        recorded_at: commit.recorded_at,
        kind: event.kind().name(),
        version: event.kind().version(),
        subject_id,
        session_id: event.session_id(),
        actor: commit.actor.clone(),
        correlation_id: commit.correlation_id.clone(),
        data: Value::Object(data(event, &texts)),
        record_hash: stored.record_hashes[index].to_string(),
    }
}

/// The members of an event, its texts opened; null where a text was erased.
fn data(event: &Event, texts: &Texts<'_>) -> Map<String, Value> {
    let Ok(Value::Object(mut members)) = serde_json::to_value(event) else {
        unreachable!("every event is written as an object")
    };
    for (field, text) in event.texts() {
        let opened = texts.open(field, text);
        let value = if field == "metadata" {
            opened.map_or(Value::Null, |text| parsed_object(&text))
        } else {
            opened.map_or(Value::Null, Value::String)
        };
        members.insert(field.into(), value);
    }
    members
}
