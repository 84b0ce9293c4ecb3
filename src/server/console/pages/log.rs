//! The log: every event that the reader may see, with filters, live at its end.

use askama::Template;
use axum::{
    body::Body,
    http::{Method, header},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tenure_core::{Position, event::Role};
use tenure_protocol::wire::{Page, RecordedEvent};

use crate::console::{
    as_of::AsOf,
    form::query,
    live_tail,
    names::ActorCell,
    request::SignedInRequest,
    response::{self, PageFailure, PageFrame, PageResult},
    words::{PageTime, SentencePart, sentence},
};

/// Events per page.
const PER_PAGE: u64 = 50;
/// The same.
const SHOWN: usize = 50;
/// How far back the newest events of some kinds, or of one owner, are sought: the next reach where the one before has
/// found few. What lies further back has a page of its own, so that none costs more the longer the log is.
const REACHES: [u64; 2] = [200, 2_000];
/// From this number on they are many.
const ENOUGH: usize = 20;

/// An event as the API shows it, with its members.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RecordedEvent")]
pub(super) struct EventItem {
    pub(super) record: RecordedEvent,
    pub(super) data: Map<String, Value>,
}

impl TryFrom<RecordedEvent> for EventItem {
    type Error = serde_json::Error;

    fn try_from(record: RecordedEvent) -> Result<Self, Self::Error> {
        Ok(Self { data: serde_json::from_str(record.data.get())?, record })
    }
}

impl EventItem {
    pub(super) const fn position(&self) -> u64 {
        self.record.position.0
    }

    /// What it says, in one line, without what says nothing.
    fn summary(&self) -> Vec<SentencePart> {
        let said = |(name, value): (&String, &Value)| match value {
            Value::Null | Value::Bool(false) => None,
            Value::String(text) => Some(format!("{name} {text}")),
            Value::Array(items) if items.is_empty() => None,
            Value::Bool(true) => Some(name.clone()),
            Value::Number(_) | Value::Array(_) | Value::Object(_) => Some(format!("{name} {value}")),
        };
        let said: Vec<_> =
            self.data.iter().filter(|(name, _)| *name != "sessionId").filter_map(said).collect();
        sentence(&said.join(" · "))
    }
}

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage<'a> {
    frame: PageFrame,
    rows: Vec<EventRow>,
    kinds: &'a str,
    subject: &'a str,
    session: &'a str,
    /// The event that the address names.
    marked: Position,
    /// Among how many of the newest events these were sought; `None` if that were all.
    sought: Option<u64>,
    older: Option<String>,
    newer: Option<String>,
    then: AsOf,
    /// Where the live tail begins; `None` unless this is the last page.
    tail: Option<String>,
}

/// An event, and who caused it.
struct EventRow {
    event: EventItem,
    by: ActorCell,
}

/// Which events are asked for.
struct EventFilter<'v> {
    kinds: Option<&'v str>,
    subject: Option<&'v str>,
    session: Option<&'v str>,
}

impl<'v> EventFilter<'v> {
    fn of(visit: &'v SignedInRequest) -> Self {
        let given = |name| visit.query().get(name);
        Self { kinds: given("kinds"), subject: given("subjectId"), session: given("sessionId") }
    }

    /// The query for events after a position, of the API with a limit, of this page with a moment.
    fn query(&self, after: &str, limit: Option<&str>, as_of: Option<&str>) -> String {
        query(&[
            ("after", Some(after)),
            ("kinds", self.kinds),
            ("subjectId", self.subject),
            ("sessionId", self.session),
            ("limit", limit),
            ("asOf", as_of),
        ])
    }

    /// How far back the newest ones are sought. A subject's story begins at its beginning; what only some events are is
    /// sought from the end.
    fn reaches(&self, visit: &SignedInRequest) -> &'static [u64] {
        match (self.subject.or(self.session), self.kinds.is_some() || visit.has_role(&[Role::Owner])) {
            (Some(_), _) => &[u64::MAX],
            (None, true) => &REACHES,
            (None, false) => &[PER_PAGE],
        }
    }
}

/// The events of a page.
struct FoundEvents {
    events: Vec<EventItem>,
    /// They are all that match after this position.
    from: u64,
    /// Up to this one.
    last: u64,
    /// Whether that is the end of the log, as it is or was.
    is_end: bool,
}

impl FoundEvents {
    /// The events after a position, or the newest ones; none behind the head.
    async fn read(
        visit: &SignedInRequest,
        filter: &EventFilter<'_>,
        after: Option<u64>,
        head: u64,
    ) -> Result<Self, PageFailure> {
        let reaches = filter.reaches(visit);
        let beginnings = match after {
            Some(after) => vec![after.min(head)],
            None => reaches.iter().map(|reach| head.saturating_sub(*reach)).collect(),
        };
        // Of the newest there may be more than are shown; the page before has the others.
        let limit = if after.is_none() && reaches == REACHES { "200" } else { "50" };
        let (mut from, mut found) = (0, Page::<EventItem> { items: vec![], next_cursor: None });
        for beginning in beginnings {
            from = beginning;
            found = visit
                .get(&format!("/v1/events{}", filter.query(&visit.named(from), Some(limit), None)))
                .await?;
            if found.items.len() >= ENOUGH || from == 0 {
                break;
            }
        }
        let Page { items: mut events, next_cursor } = found;
        let is_beyond = events.iter().any(|event| event.position() > head);
        events.retain(|event| event.position() <= head);
        let more = events.len().saturating_sub(SHOWN);
        if more > 0 {
            events.drain(..more);
            from = events.first().map_or(from, |first| first.position() - 1);
        }
        let last = events.last().map_or(from, EventItem::position);
        Ok(Self { events, from, last, is_end: next_cursor.is_none() || is_beyond || last >= head })
    }
}

/// The page: the newest events, or those after a position.
pub(super) async fn list(visit: &SignedInRequest) -> PageResult {
    let filter = EventFilter::of(visit);
    let number = |name| visit.query().get(name).and_then(|text: &str| text.parse::<u64>().ok());
    let then = AsOf::of(visit, &["kinds", "subjectId", "sessionId"]).await?;
    let head = then.position;
    let marked = number("position");
    let after = marked.map(|position| position.saturating_sub(PER_PAGE / 2)).or_else(|| number("after"));
    let FoundEvents { events, from, last, is_end } = FoundEvents::read(visit, &filter, after, head).await?;
    let is_sought = filter.reaches(visit) == REACHES;
    let back = if is_sought { REACHES[1] } else { PER_PAGE };
    let given = Some(&*then.given).filter(|given| !given.is_empty());
    let page_after = |after: u64| filter.query(&after.to_string(), None, given);
    let names = visit.names_of_holders(events.iter().map(|event| &event.record)).await?;
    let row = |event: EventItem| EventRow { by: visit.actor_cell(&event.record, &names), event };
    Ok(response::ok(&LogPage {
        frame: PageFrame::of(Some(visit), "Log", "/console/log").with(&["log.js", "as_of.js"]),
        kinds: filter.kinds.unwrap_or_default(),
        subject: filter.subject.unwrap_or_default(),
        session: filter.session.unwrap_or_default(),
        marked: Position(marked.unwrap_or_default()),
        sought: (is_sought && is_end).then(|| head - from).filter(|_| from > 0),
        older: (from > 0).then(|| page_after(from.saturating_sub(back))),
        newer: (!is_end).then(|| page_after(last)),
        tail: (is_end && !then.is_past()).then(|| page_after(head)),
        rows: events.into_iter().map(row).collect(),
        then,
    }))
}

/// Who caused the event at a position, for a row that the live tail added; nothing where this reader sees none there.
pub(super) async fn by(visit: &SignedInRequest) -> PageResult {
    let given = visit.query().get("position").and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    let asked = format!("/v1/events?limit=1&after={}", visit.named(given.saturating_sub(1)));
    let found: Page<EventItem> = visit.get(&asked).await?;
    let event = found.items.into_iter().find(|event| event.position() == given);
    let names = visit.names_of_holders(event.iter().map(|event| &event.record)).await?;
    Ok(response::json(&event.map(|event| visit.actor_cell(&event.record, &names))))
}

/// The live tail: the API's own stream of events, for as long as the sign-in lasts.
pub(super) async fn stream(visit: &SignedInRequest) -> PageResult {
    let given = |name| visit.query().get(name);
    let after = given("after").map(|after: &str| {
        after.parse::<u64>().map_or_else(|_| after.to_owned(), |after| visit.named(after))
    });
    let asked = query(&[
        ("after", after.as_deref()),
        ("kinds", given("kinds")),
        ("subjectId", given("subjectId")),
        ("sessionId", given("sessionId")),
    ]);
    let mut request =
        visit.request(Method::GET, &format!("/v1/events{asked}")).header(header::ACCEPT, "text/event-stream");
    if let Some(last) = visit.headers().get("last-event-id") {
        request = request.header("last-event-id", last);
    }
    let response = visit.reply(request.body(Body::empty())).await?;
    let (parts, body) = response.into_parts();
    Ok(axum::response::Response::from_parts(parts, live_tail::while_signed_in(visit, body)))
}
