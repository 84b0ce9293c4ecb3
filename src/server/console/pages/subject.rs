//! One subject: its sessions, its limits, its standing, and what can be done about it.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use serde_json::{Map, Value, json};
use tenure_core::{SessionId, Timestamp, event::Role};
use tenure_protocol::wire::{Page, SubjectView};

use super::{
    agents::{SubjectItem, is_sign_in},
    log::EventItem,
    session::{SessionItem, veto_until},
};
use crate::console::{
    as_of::AsOf,
    form::{query, segment},
    request::SignedInRequest,
    response::{self, PageFailure, PageFrame, PageResult},
    words::PageTime,
};

/// The width of the picture of its sessions, in its own units.
const WIDTH: f64 = 960.0;

/// The sessions of one device over time.
struct DeviceLane {
    name: String,
    bars: Vec<LaneBar>,
}

struct LaneBar {
    x: f64,
    width: f64,
    class: &'static str,
    title: String,
    session_id: SessionId,
}

#[derive(Template)]
#[template(path = "subject.html")]
struct SubjectPage {
    frame: PageFrame,
    subject: SubjectItem,
    sessions: Vec<SessionItem>,
    lanes: Vec<DeviceLane>,
    /// From when to when the lanes go.
    span: (Timestamp, Timestamp),
    has_more: bool,
    role: Role,
    mark: String,
    now: Timestamp,
    then: AsOf,
    /// Who answered for it, newest first; empty for readers without access to events.
    owners: Vec<OwnershipRow>,
    /// Behind which position there may be later ones.
    later_owners: Option<u64>,
}

/// Who answered for a subject from an event on.
struct OwnershipRow {
    position: u64,
    at: Timestamp,
    owner: Option<String>,
    by: String,
}

impl OwnershipRow {
    fn of(visit: &SignedInRequest, event: &EventItem) -> Self {
        let owner = event.data.get("ownerId").and_then(Value::as_str).map(str::to_owned);
        Self {
            position: event.position(),
            at: event.record.recorded_at,
            owner,
            by: visit.actor_words(&event.record.actor),
        }
    }
}

/// Which forms are on the page; the API judges what they send.
impl SubjectPage {
    fn may_suspend(&self) -> bool {
        let is_free = !self.then.is_past()
            && self.subject.view.suspension.is_none()
            && !is_sign_in(&self.subject.view.subject_id);
        is_free && matches!(self.role, Role::Admin | Role::Issuer | Role::Owner)
    }

    fn may_resume(&self) -> bool {
        !self.then.is_past()
            && self.subject.view.suspension.is_some()
            && matches!(self.role, Role::Admin | Role::Owner)
    }

    fn may_end(&self) -> bool {
        !self.then.is_past()
            && self.subject.view.active_sessions > 0
            && matches!(self.role, Role::Admin | Role::Issuer | Role::Owner)
    }

    fn may_erase(&self) -> bool {
        !self.then.is_past() && self.role == Role::Admin && !is_sign_in(&self.subject.view.subject_id)
    }
}

/// The page.
pub(super) async fn show(visit: &SignedInRequest, id: &str) -> PageResult {
    let then = AsOf::of(visit, &[]).await?;
    let subject: SubjectView = visit.get(&format!("/v1/subjects/{}{}", segment(id), then.query(&[]))).await?;
    let subject = SubjectItem::of(visit, subject);
    let asked = then.query(&[
        ("subjectId", Some(subject.view.subject_id.as_str())),
        ("status", Some("all")),
        ("limit", Some("100")),
    ]);
    let found: Page<SessionItem> = visit.get(&format!("/v1/sessions{asked}")).await?;
    let mut sessions = found.items;
    for session in sessions.iter_mut().filter(|_| !then.is_past()) {
        session.veto_until = veto_until(visit, session.view.session_id);
    }
    let span = span(&sessions, then.at);
    let (owners, later_owners) = owners(visit, &subject, &then).await?;
    Ok(response::ok(&SubjectPage {
        frame: PageFrame::of(Some(visit), subject.title(), "/console/agents").with(&["as_of.js"]),
        owners,
        later_owners,
        lanes: lanes(&sessions, span, then.at),
        span,
        has_more: found.next_cursor.is_some(),
        role: visit.role(),
        mark: visit.mark(),
        now: then.at,
        then,
        subject,
        sessions,
    }))
}

/// Registrations per request.
const REGISTRATIONS: &str = "200";
/// Maximum requests for them.
const STRIDES: usize = 10;

/// The owners of a subject, from its registrations; and behind which position there may be later ones.
async fn owners(
    visit: &SignedInRequest,
    subject: &SubjectItem,
    then: &AsOf,
) -> Result<(Vec<OwnershipRow>, Option<u64>), PageFailure> {
    if !visit.has_role(&[Role::Admin, Role::Auditor, Role::Owner]) {
        return Ok((vec![], None));
    }
    if let Some(only) = only_registration(visit, subject).await? {
        return Ok((vec![only], None));
    }
    let (mut owners, mut cursor) = (Vec::<OwnershipRow>::new(), None::<String>);
    let mut read_to = 0;
    for _ in 0..STRIDES {
        let asked = query(&[
            ("subjectId", Some(subject.view.subject_id.as_str())),
            ("kinds", Some("SubjectRegistered")),
            ("cursor", cursor.as_deref()),
            ("limit", Some(REGISTRATIONS)),
        ]);
        let found: Page<EventItem> = visit.get(&format!("/v1/events{asked}")).await?;
        read_to = found.items.last().map_or(read_to, EventItem::position);
        cursor = found.next_cursor.filter(|_| read_to < then.position);
        for event in found.items.into_iter().filter(|event| event.position() <= then.position) {
            let row = OwnershipRow::of(visit, &event);
            if owners.last().is_none_or(|last| last.owner != row.owner) {
                owners.push(row);
            }
        }
        if cursor.is_none() {
            break;
        }
    }
    owners.reverse();
    Ok((owners, cursor.map(|_| read_to)))
}

/// The registration of a subject that was registered once: its whole history need not be read for it. Two registrations
/// at the same moment are told apart by the owner.
async fn only_registration(
    visit: &SignedInRequest,
    subject: &SubjectItem,
) -> Result<Option<OwnershipRow>, PageFailure> {
    let id = &subject.view.subject_id;
    let known = visit.authority().live().subject(id).and_then(|subject| subject.registration());
    let Some(registration) = known.filter(|it| it.created_at == it.updated_at) else { return Ok(None) };
    let after = visit.named(registration.created.0.saturating_sub(1));
    let found: Page<EventItem> = visit.get(&format!("/v1/events?limit=1&after={after}")).await?;
    let first = found.items.into_iter().find(|event| event.record.position == registration.created);
    let owner = registration.standing.profile.owner_id.as_ref().map(ToString::to_string);
    Ok(first.as_ref().map(|first| OwnershipRow::of(visit, first)).filter(|row| row.owner == owner))
}

/// From the first beginning to the last end.
fn span(sessions: &[SessionItem], now: Timestamp) -> (Timestamp, Timestamp) {
    let start = sessions.iter().map(|session| session.view.created_at).min();
    let end = sessions.iter().map(|session| end_of(session, now)).max();
    (start.unwrap_or(now), end.unwrap_or(now))
}

/// One lane for each device, the sessions as bars from their beginning to their end.
fn lanes(sessions: &[SessionItem], (start, end): (Timestamp, Timestamp), now: Timestamp) -> Vec<DeviceLane> {
    let mut devices: BTreeMap<&str, Vec<LaneBar>> = BTreeMap::new();
    for session in sessions {
        let name = session.view.device.as_deref().unwrap_or("no device");
        devices.entry(name).or_default().push(lane_bar(session, start, end, now));
    }
    let lane = |(name, bars): (&str, Vec<LaneBar>)| DeviceLane { name: name.to_owned(), bars };
    devices.into_iter().map(lane).collect()
}

fn end_of(session: &SessionItem, now: Timestamp) -> Timestamp {
    let end = session.view.revoked_at.unwrap_or(session.view.expires_at);
    if session.is_active() { end.max(now) } else { end }
}

fn lane_bar(session: &SessionItem, start: Timestamp, end: Timestamp, now: Timestamp) -> LaneBar {
    #[expect(clippy::cast_precision_loss, reason = "a picture has a thousand places")]
    let place = |at: Timestamp| {
        let length = (end.as_millis() - start.as_millis()).max(1) as f64;
        ((at.as_millis() - start.as_millis()) as f64 / length * WIDTH).clamp(0.0, WIDTH).round()
    };
    let (x, last) = (place(session.view.created_at), place(end_of(session, now)));
    LaneBar {
        x,
        width: (last - x).max(3.0),
        class: session.status_word(),
        title: format!("{} from {}", session.status_word(), session.view.created_at.utc()),
        session_id: session.view.session_id,
    }
}

fn back(id: &str) -> Response {
    response::redirect(&format!("/console/subjects/{}", segment(id)))
}

fn reason_and(visit: &SignedInRequest, others: &[&str]) -> Value {
    let mut body = Map::new();
    for name in others.iter().chain(&["reason"]) {
        if let Some(text) = visit.form().get(name) {
            body.insert((*name).to_owned(), text.into());
        }
    }
    Value::Object(body)
}

/// Suspends it.
pub(super) async fn suspend(visit: &SignedInRequest, id: &str) -> PageResult {
    let path = format!("/v1/subjects/{}/suspend", segment(id));
    visit.ask(Method::POST, &path, Some(&reason_and(visit, &["until"]))).await?;
    Ok(back(id))
}

/// Lifts its suspension.
pub(super) async fn resume(visit: &SignedInRequest, id: &str) -> PageResult {
    let path = format!("/v1/subjects/{}/resume", segment(id));
    visit.ask(Method::POST, &path, Some(&reason_and(visit, &[]))).await?;
    Ok(back(id))
}

/// Ends all its sessions.
pub(super) async fn end_all(visit: &SignedInRequest, id: &str) -> PageResult {
    let asked = query(&[("reason", visit.form().get("reason")), ("device", visit.form().get("device"))]);
    visit.ask(Method::DELETE, &format!("/v1/subjects/{}/sessions{asked}", segment(id)), None).await?;
    Ok(back(id))
}

/// Makes all text about it unreadable. It cannot be undone, so its id is to be typed.
pub(super) async fn erase(visit: &SignedInRequest, id: &str) -> PageResult {
    let path = format!("/v1/subjects/{}/erase", segment(id));
    // The API checks permission first: a caller without it gets that answer, not one about a typing error.
    let is_typed = visit.form().get("confirm") == Some(id);
    if !is_typed && visit.has_role(&[Role::Admin]) {
        let why = "Type the subject's id into the field to erase all text about it. Nothing was erased.";
        return Err(PageFailure::of(StatusCode::BAD_REQUEST, "INVALID_REQUEST", why));
    }
    let reason = visit.form().get("reason").unwrap_or_default();
    visit.ask(Method::POST, &path, Some(&json!({ "reason": reason }))).await?;
    Ok(back(id))
}
