//! One session: what it is, its timeline and story, and how it is ended.

use askama::Template;
use axum::http::Method;
use serde::Deserialize;
use tenure_audit::story::{LiveDetails, SessionStory, StoryEntry};
use tenure_core::{Position, Timestamp, event::Role, session::SessionStatus};
use tenure_protocol::{
    Amount,
    wire::{ConstraintsView, OpenWord, SessionView, UsageView},
};

use crate::console::{
    as_of::AsOf,
    form::{query, segment},
    request::SignedInRequest,
    response::{self, PageFailure, PageFrame, PageResult},
    timeline::{StoryWindow, TimelineView},
    words::{PageTime, SentencePart, plain, sentence},
};
use crate::http::StoryPart;

/// A session as the API shows it, with what a page needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "SessionView")]
pub(in crate::console) struct SessionItem {
    pub(in crate::console) session_id: String,
    pub(in crate::console) subject_id: String,
    pub(in crate::console) subject_name: Option<String>,
    pub(in crate::console) owner_id: Option<String>,
    pub(in crate::console) device: Option<String>,
    pub(in crate::console) mode: OpenWord,
    pub(in crate::console) status: SessionStatus,
    pub(in crate::console) renewal_count: u32,
    pub(in crate::console) max_renewals: u32,
    pub(in crate::console) renewals_left: u32,
    pub(in crate::console) ttl: u64,
    pub(in crate::console) created_at: PageTime,
    pub(in crate::console) expires_at: PageTime,
    pub(in crate::console) absolute_expires_at: PageTime,
    pub(in crate::console) renewed_at: Option<PageTime>,
    pub(in crate::console) renew_at: Option<PageTime>,
    pub(in crate::console) idle_timeout: Option<u64>,
    pub(in crate::console) last_seen_at: Option<PageTime>,
    pub(in crate::console) revoked_at: Option<PageTime>,
    pub(in crate::console) revoked_trigger: Option<OpenWord>,
    pub(in crate::console) revoked_reason: Option<String>,
    pub(in crate::console) scopes: Vec<String>,
    pub(in crate::console) constraints: Option<ConstraintsView>,
    pub(in crate::console) usage: UsageView,
    /// Until when a veto is expected. Not from the API, which gives it in notices.
    pub(in crate::console) veto_until: Option<PageTime>,
}

impl From<SessionView> for SessionItem {
    fn from(view: SessionView) -> Self {
        Self {
            session_id: view.session_id.to_string(),
            subject_id: view.subject_id.to_string(),
            subject_name: view.subject_name,
            owner_id: view.owner_id.map(|owner| owner.to_string()),
            device: view.device,
            mode: view.mode,
            status: view.status,
            renewal_count: view.renewal_count,
            max_renewals: view.max_renewals,
            renewals_left: view.renewals_left,
            ttl: view.ttl.0.into(),
            created_at: PageTime(view.created_at),
            expires_at: PageTime(view.expires_at),
            absolute_expires_at: PageTime(view.absolute_expires_at),
            renewed_at: view.renewed_at.map(PageTime),
            renew_at: view.renew_at.map(PageTime),
            idle_timeout: view.idle_timeout.map(|length| length.0.into()),
            last_seen_at: view.last_seen_at.map(PageTime),
            revoked_at: view.revoked_at.map(PageTime),
            revoked_trigger: view.revoked_trigger,
            revoked_reason: view.revoked_reason,
            scopes: view.scopes,
            constraints: view.constraints,
            usage: view.usage,
            veto_until: None,
        }
    }
}

impl SessionItem {
    pub(in crate::console) fn title(&self) -> &str {
        self.subject_name.as_deref().unwrap_or(&self.subject_id)
    }

    pub(in crate::console) fn short_id(&self) -> &str {
        self.session_id.rsplit('-').next().unwrap_or_default()
    }

    pub(in crate::console) fn is_active(&self) -> bool {
        self.status == SessionStatus::Active
    }

    /// Whether its latest renewal can be vetoed now.
    pub(in crate::console) fn is_vetoable(&self, now: Timestamp) -> bool {
        self.is_active() && self.veto_until.is_some_and(|until| now <= until.0)
    }

    /// Its status as a word of its own.
    pub(in crate::console) fn status_word(&self) -> &'static str {
        match self.status {
            SessionStatus::Active => "active",
            SessionStatus::Revoked => "ended",
            SessionStatus::Expired => "expired",
        }
    }

    /// The used part of its most used budget; `None` without a budget.
    pub(in crate::console) fn used_part(&self) -> Option<f64> {
        let constraints = self.constraints.as_ref()?;
        let part = |used: f64, most: f64| (most > 0.0).then(|| used / most);
        let amount = constraints.max_total_amount.as_ref();
        let amount = amount.and_then(|most| part(rough(&self.usage.total_amount), rough(most)));
        #[expect(clippy::cast_precision_loss, reason = "it is the length of a bar")]
        let count =
            constraints.max_transactions.and_then(|most| part(self.usage.transactions as f64, most as f64));
        amount.into_iter().chain(count).reduce(f64::max)
    }

    /// What is used of its budget, in words; `None` without one.
    pub(in crate::console) fn budget(&self) -> Option<String> {
        let constraints = self.constraints.as_ref()?;
        let most = constraints.max_total_amount.as_ref();
        let amount = most.map(|most| format!("{} of {most} used", self.usage.total_amount));
        let most = constraints.max_transactions;
        let count = most.map(|most| format!("{} of {most} uses", self.usage.transactions));
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
    at: PageTime,
    words: Vec<SentencePart>,
    /// Of a refusal.
    rule: Option<&'static str>,
}

impl StoryView {
    fn of(story: &SessionStory) -> Self {
        let chapter = |it: &StoryEntry| ChapterView {
            position: it.position.0,
            at: PageTime(it.recorded_at),
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
    session.veto_until = veto_until(visit, &session.session_id);
    Ok(session)
}

/// Until when a veto of the latest renewal of a session that the reader may see is expected.
pub(in crate::console) fn veto_until(visit: &SignedInRequest, id: &str) -> Option<PageTime> {
    visit.authority().live().session(id.parse().ok()?)?.veto_window_end().map(PageTime)
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
    let timeline = part.as_ref().map(|part| TimelineView::of(&part.story, &session, window, then.at.0));
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
        now: then.at.0,
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
    let Ok(id) = session.session_id.parse() else { return Ok(None) };
    let live = LiveDetails {
        reason: session.revoked_reason.clone(),
        last_seen_at: session.last_seen_at.map(|at| at.0),
    };
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
