//! One session: what it is, its timeline and story, and how it is ended.

use askama::Template;
use axum::http::Method;
use serde::Deserialize;
use tenure_audit::story::{LiveDetails, SessionStory, StoryEntry};
use tenure_core::{Position, SessionId, Timestamp, event::Role, session::SessionStatus};
use tenure_protocol::{Amount, wire::SessionView};

use crate::console::{
    as_of::AsOf,
    form::{query, segment},
    request::SignedInRequest,
    response::{self, PageFailure, PageFrame, PageResult},
    timeline::{StoryWindow, TimelineView},
    words::{PageTime, SentencePart, length, plain, sentence},
};
use crate::http::StoryPart;

/// A session as the API shows it, with what a page needs beside it.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "SessionView")]
pub(in crate::console) struct SessionItem {
    pub(in crate::console) view: SessionView,
    /// Until when a veto is expected. Not from the API, which gives it in notices.
    pub(in crate::console) veto_until: Option<Timestamp>,
}

impl From<SessionView> for SessionItem {
    fn from(view: SessionView) -> Self {
        Self { view, veto_until: None }
    }
}

impl SessionItem {
    pub(in crate::console) fn title(&self) -> &str {
        self.view.subject_name.as_deref().unwrap_or(self.view.subject_id.as_str())
    }

    /// The end of its id, which is unlike those of others.
    pub(in crate::console) fn short_id(&self) -> String {
        let id = self.view.session_id.to_string();
        id.rsplit('-').next().unwrap_or_default().to_owned()
    }

    /// The length of a period, in words.
    fn period(&self) -> String {
        length(u64::from(self.view.ttl.0))
    }

    /// After how long without use it ends, in words.
    fn idle_length(&self) -> Option<String> {
        self.view.idle_timeout.map(|idle| length(u64::from(idle.0)))
    }

    pub(in crate::console) fn is_active(&self) -> bool {
        self.view.status == SessionStatus::Active
    }

    /// Whether its latest renewal can be vetoed now.
    pub(in crate::console) fn is_vetoable(&self, now: Timestamp) -> bool {
        self.is_active() && self.veto_until.is_some_and(|until| now <= until)
    }

    /// Its status as a word of its own.
    pub(in crate::console) fn status_word(&self) -> &'static str {
        match self.view.status {
            SessionStatus::Active => "active",
            SessionStatus::Revoked => "ended",
            SessionStatus::Expired => "expired",
        }
    }

    /// The used part of its most used budget; `None` without a budget.
    pub(in crate::console) fn used_part(&self) -> Option<f64> {
        let constraints = self.view.constraints.as_ref()?;
        let part = |used: f64, most: f64| (most > 0.0).then(|| used / most);
        let amount = constraints.max_total_amount.as_ref();
        let amount = amount.and_then(|most| part(rough(&self.view.usage.total_amount), rough(most)));
        #[expect(clippy::cast_precision_loss, reason = "it is the length of a bar")]
        let count = constraints
            .max_transactions
            .and_then(|most| part(self.view.usage.transactions as f64, most as f64));
        amount.into_iter().chain(count).reduce(f64::max)
    }

    /// What is used of its budget, in words; `None` without one.
    pub(in crate::console) fn budget(&self) -> Option<String> {
        let constraints = self.view.constraints.as_ref()?;
        let most = constraints.max_total_amount.as_ref();
        let amount = most.map(|most| format!("{} of {most} spent", self.view.usage.total_amount));
        let most = constraints.max_transactions;
        let count = most.map(|most| format!("{} of {most} uses", self.view.usage.transactions));
        let told: Vec<_> = amount.into_iter().chain(count).collect();
        (!told.is_empty()).then(|| told.join(", "))
    }
}

/// About this much.
fn rough(amount: &Amount) -> f64 {
    amount.to_string().parse().unwrap_or_default()
}

#[derive(Template)]
#[template(path = "session.html")]
struct SessionPage {
    frame: PageFrame,
    session: SessionItem,
    /// The part of it that the page is about; `None` where there is none.
    story: Option<StoryView>,
    may_read: bool,
    timeline: Option<TimelineView>,
    /// The address of what happened before.
    older: Option<String>,
    /// The address without the events before a position; `None` if the page is that of the newest.
    newest: Option<String>,
    may_end: bool,
    may_veto: bool,
    mark: String,
    now: Timestamp,
    then: AsOf,
}

/// A part of a story, newest first.
struct StoryView {
    chapters: Vec<ChapterView>,
    next: Vec<Vec<SentencePart>>,
}

/// What happened at a position.
struct ChapterView {
    position: u64,
    at: Timestamp,
    words: Vec<SentencePart>,
    /// Of a refusal.
    rule: Option<&'static str>,
}

impl StoryView {
    fn of(story: &SessionStory) -> Self {
        let chapter = |it: &StoryEntry| ChapterView {
            position: it.position.0,
            at: it.recorded_at,
            words: sentence(&it.words),
            rule: it.because.as_ref().map(|because| because.rule),
        };
        Self {
            chapters: story.chapters.iter().rev().map(chapter).collect(),
            next: story.next.iter().map(|next| sentence(next)).collect(),
        }
    }
}

/// Reads a session as it was at a moment. The past has no windows in which anything could be done.
async fn read_then(visit: &SignedInRequest, id: &str, then: &AsOf) -> Result<SessionItem, PageFailure> {
    if !then.is_past() {
        return read(visit, id).await;
    }
    visit.get(&format!("/v1/sessions/{}{}", segment(id), then.query(&[]))).await
}

/// Reads a session, with the end of its veto window.
pub(in crate::console) async fn read(visit: &SignedInRequest, id: &str) -> Result<SessionItem, PageFailure> {
    let mut session: SessionItem = visit.get(&format!("/v1/sessions/{}", segment(id))).await?;
    session.veto_until = veto_until(visit, session.view.session_id);
    Ok(session)
}

/// Until when a veto of the latest renewal of a session that the reader may see is expected.
pub(in crate::console) fn veto_until(visit: &SignedInRequest, id: SessionId) -> Option<Timestamp> {
    visit.authority().live().session(id)?.veto_window_end()
}

/// The page.
pub(in crate::console) async fn show(visit: &SignedInRequest, id: &str) -> PageResult {
    let then = AsOf::of(visit, &[]).await?;
    let session = read_then(visit, id, &then).await?;
    let before = visit.query().get("before").and_then(|before| before.parse().ok()).map(Position);
    let part = story(visit, &session, &then, before).await?;
    let address = |before: Option<Position>| {
        let before = before.map(|before| before.to_string());
        let given = Some(&*then.given).filter(|given| !given.is_empty());
        format!("{}{}", then.path, query(&[("asOf", given), ("before", before.as_deref())]))
    };
    let older = part.as_ref().and_then(|part| part.older);
    let window = StoryWindow { is_newest: before.is_none(), is_first: older.is_none() };
    let timeline = part.as_ref().map(|part| TimelineView::of(&part.story, &session, window, then.at));
    let title = format!("{} · {}", session.title(), session.status_word());
    Ok(response::ok(&SessionPage {
        frame: PageFrame::of(Some(visit), &title, "/console/agents").with(&["as_of.js"]),
        older: older.map(|older| address(Some(older))),
        newest: before.map(|_| address(None)),
        story: part.map(|part| StoryView::of(&part.story)),
        may_read: visit.has_role(READERS),
        timeline,
        may_end: !then.is_past() && visit.has_role(&[Role::Admin, Role::Issuer, Role::Owner]),
        may_veto: !then.is_past() && visit.has_role(&[Role::Admin, Role::Owner]),
        mark: visit.mark(),
        now: then.at,
        then,
        session,
    }))
}

/// Who may read events, and so the story.
const READERS: &[Role] = &[Role::Admin, Role::Auditor, Role::Owner];

/// The session in sentences, for those who may read its events: the last part, or the last one before a position.
async fn story(
    visit: &SignedInRequest,
    session: &SessionItem,
    then: &AsOf,
    before: Option<Position>,
) -> Result<Option<StoryPart>, PageFailure> {
    if !visit.has_role(READERS) {
        return Ok(None);
    }
    let id = session.view.session_id;
    let live =
        LiveDetails { reason: session.view.revoked_reason.clone(), last_seen_at: session.view.last_seen_at };
    let mut part = visit.console().api.story(&visit.credential, id, live, then.end(), before).await?;
    for chapter in part.iter_mut().flat_map(|part| &mut part.story.chapters) {
        chapter.words = visit.with_names(&plain(std::mem::take(&mut chapter.words)));
    }
    Ok(part)
}

/// Ends the session, as a veto of its latest renewal or not.
pub(in crate::console) async fn end(visit: &SignedInRequest, id: &str, is_veto: bool) -> PageResult {
    let suspend = visit.form().is_ticked("suspend").then_some("true");
    let asked = query(&[
        ("reason", visit.form().get("reason")),
        ("rejectRenewal", is_veto.then_some("true")),
        ("suspend", suspend),
    ]);
    let path = format!("/v1/sessions/{}{asked}", segment(id));
    visit.ask(Method::DELETE, &path, None).await?;
    Ok(response::redirect(&format!("/console/sessions/{}", segment(id))))
}
