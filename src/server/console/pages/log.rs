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
    request::SignedInRequest,
    response::{self, PageFrame, PageResult},
    words::PageTime,
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
    /// What it says, in one line, without what says nothing.
    fn summary(&self) -> String {
        let said = |(name, value): (&String, &Value)| match value {
            Value::Null => None,
            Value::String(text) => Some(format!("{name} {text}")),
            Value::Array(items) if items.is_empty() => None,
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Some(format!("{name} {value}"))
            }
        };
        self.data
            .iter()
            .filter(|(name, _)| *name != "sessionId")
            .filter_map(said)
            .collect::<Vec<_>>()
            .join(" · ")
    }
}

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage<'a> {
    frame: PageFrame,
    events: Vec<EventItem>,
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

/// The page: the newest events, or those after a position.
pub(super) async fn list(visit: &SignedInRequest) -> PageResult {
    let given = |name| visit.query().get(name);
    let (kinds, subject, session) = (given("kinds"), given("subjectId"), given("sessionId"));
    let number = |name| given(name).and_then(|text: &str| text.parse::<u64>().ok());
    let then = AsOf::of(visit, &["kinds", "subjectId", "sessionId"]).await?;
    let head = then.position;
    let marked = number("position");
    let after = marked.map(|position| position.saturating_sub(PER_PAGE / 2)).or_else(|| number("after"));
    let filters = |after: u64, limit: Option<&str>| {
        let after = after.to_string();
        query(&[
            ("after", Some(&after)),
            ("kinds", kinds),
            ("subjectId", subject),
            ("sessionId", session),
            ("limit", limit),
            ("asOf", Some(&*then.given).filter(|given| limit.is_none() && !given.is_empty())),
        ])
    };
    // One subject's story begins at its beginning; what only some events are is sought from the end.
    let reaches: &[u64] = match (subject.or(session), kinds.is_some() || visit.has_role(&[Role::Owner])) {
        (Some(_), _) => &[u64::MAX],
        (None, true) => &REACHES,
        (None, false) => &[PER_PAGE],
    };
    let back = if reaches == REACHES { REACHES[1] } else { PER_PAGE };
    let beginnings = match after {
        Some(after) => vec![after.min(head)],
        None => reaches.iter().map(|reach| head.saturating_sub(*reach)).collect(),
    };
    // Of the newest there may be more than are shown; the page before has the others.
    let limit = if after.is_none() && reaches == REACHES { "200" } else { "50" };
    let (mut from, mut found) = (0, Page::<EventItem> { items: vec![], next_cursor: None });
    for beginning in beginnings {
        from = beginning;
        found = visit.get(&format!("/v1/events{}", filters(from, Some(limit)))).await?;
        if found.items.len() >= ENOUGH || from == 0 {
            break;
        }
    }
    let is_beyond = found.items.iter().any(|event| event.record.position.0 > head);
    found.items.retain(|event| event.record.position.0 <= head);
    let more = found.items.len().saturating_sub(SHOWN);
    if more > 0 {
        found.items.drain(..more);
        from = found.items.first().map_or(from, |first| first.record.position.0 - 1);
    }
    let last = found.items.last().map_or(from, |event| event.record.position.0);
    let is_end = found.next_cursor.is_none() || is_beyond || last >= head;
    Ok(response::ok(&LogPage {
        frame: PageFrame::of(Some(visit), "Log", "/console/log").with(&["log.js", "as_of.js"]),
        kinds: kinds.unwrap_or_default(),
        subject: subject.unwrap_or_default(),
        session: session.unwrap_or_default(),
        marked: Position(marked.unwrap_or_default()),
        sought: (reaches == REACHES && is_end).then(|| head - from).filter(|_| from > 0),
        older: (from > 0).then(|| filters(from.saturating_sub(back), None)),
        newer: (!is_end).then(|| filters(last, None)),
        tail: (is_end && !then.is_past()).then(|| filters(head, None)),
        events: found.items,
        then,
    }))
}

/// The live tail: the API's own stream of events, for as long as the sign-in lasts.
pub(super) async fn stream(visit: &SignedInRequest) -> PageResult {
    let given = |name| visit.query().get(name);
    let asked = query(&[
        ("after", given("after")),
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
