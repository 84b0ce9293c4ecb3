//! The log: every event that the reader may see, with filters, live at its end.

use std::time::Duration;

use askama::Template;
use axum::{
    body::{Body, Bytes},
    http::{Method, header},
};
use futures_util::{StreamExt, stream::unfold};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::{MissedTickBehavior, interval};

use super::agents::{ActorItem, ItemPage};
use crate::console::{
    as_of::AsOf,
    form::query,
    request::SignedInRequest,
    response::{self, PageFrame, PageResult},
    words::PageTime,
};

/// Events per page.
const PER_PAGE: u64 = 50;
/// How often to check that a sign-in still entitles its streams to stay open.
const RECHECK: Duration = Duration::from_secs(2);

/// An event, as the API shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventItem {
    pub(super) position: u64,
    pub(super) recorded_at: PageTime,
    kind: String,
    subject_id: Option<String>,
    session_id: Option<String>,
    pub(super) actor: ActorItem,
    pub(super) data: Map<String, Value>,
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
    marked: u64,
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
    let has_filter = kinds.is_some() || subject.is_some() || session.is_some();
    let first = if has_filter { 0 } else { head.saturating_sub(PER_PAGE) };
    let after = after.unwrap_or(first).min(head);
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
    let mut found: ItemPage<EventItem> =
        visit.get(&format!("/v1/events{}", filters(after, Some("50")))).await?;
    let is_beyond = found.items.iter().any(|event| event.position > head);
    found.items.retain(|event| event.position <= head);
    let last = found.items.last().map_or(after, |event| event.position);
    let is_end = found.next_cursor.is_none() || is_beyond || last >= head;
    Ok(response::ok(&LogPage {
        frame: PageFrame::of(Some(visit), "Log", "/console/log").with(&["log.js", "as_of.js"]),
        kinds: kinds.unwrap_or_default(),
        subject: subject.unwrap_or_default(),
        session: session.unwrap_or_default(),
        marked: marked.unwrap_or_default(),
        older: (after > 0).then(|| filters(after.saturating_sub(PER_PAGE), None)),
        newer: (!is_end).then(|| filters(last, None)),
        tail: (is_end && !then.is_past())
            .then(|| filters(last.max(if has_filter { last } else { head.min(last) }), None)),
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
    Ok(axum::response::Response::from_parts(parts, while_signed_in(visit, body)))
}

/// Ends a stream soon after its sign-in has ended. Listening is not a use of the sign-in.
fn while_signed_in(visit: &SignedInRequest, body: Body) -> Body {
    let (console, id) = (visit.console().clone(), visit.holder().session.id);
    let is_live = move || {
        let authority = console.api.authority();
        authority.live().session(id).is_some_and(|session| session.is_live(authority.now()))
    };
    let mut ticks = interval(RECHECK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pieces =
        unfold((body.into_data_stream(), ticks, is_live), |(mut pieces, mut ticks, is_live)| async move {
            let piece = loop {
                tokio::select! {
                    piece = pieces.next() => break piece,
                    _ = ticks.tick() => if !is_live() { break None },
                }
            };
            piece.map(|piece: Result<Bytes, axum::Error>| (piece, (pieces, ticks, is_live)))
        });
    Body::from_stream(pieces)
}
