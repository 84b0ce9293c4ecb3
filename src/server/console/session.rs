//! One session: what it is, its timeline and story, and how it is ended.

use askama::Template;
use axum::http::Method;
use serde::Deserialize;
use serde_json::Value;
use tenure_audit::story::{Live, Story};
use tenure_core::{Timestamp, event::Role};

use super::{
    as_of::AsOf,
    form::{query, segment},
    page::{self, Failure, Frame, Outcome},
    timeline::Timeline,
    visit::Visit,
    words::{When, plain},
};

/// A session, as the API shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionItem {
    pub(super) session_id: String,
    pub(super) subject_id: String,
    pub(super) subject_name: Option<String>,
    pub(super) owner_id: Option<String>,
    pub(super) device: Option<String>,
    pub(super) mode: String,
    pub(super) status: String,
    pub(super) renewal_count: u32,
    pub(super) max_renewals: u32,
    pub(super) renewals_left: u32,
    pub(super) ttl: u64,
    pub(super) created_at: When,
    pub(super) expires_at: When,
    pub(super) absolute_expires_at: When,
    pub(super) renewed_at: Option<When>,
    pub(super) renew_at: Option<When>,
    pub(super) idle_timeout: Option<u64>,
    pub(super) last_seen_at: Option<When>,
    pub(super) revoked_at: Option<When>,
    pub(super) revoked_trigger: Option<String>,
    pub(super) revoked_reason: Option<String>,
    pub(super) scopes: Vec<String>,
    pub(super) constraints: Option<Value>,
    pub(super) usage: Value,
    /// Until when a veto is expected. Not from the API, which gives it in notices.
    #[serde(skip)]
    pub(super) veto_until: Option<When>,
}

impl SessionItem {
    pub(super) fn title(&self) -> &str {
        self.subject_name.as_deref().unwrap_or(&self.subject_id)
    }

    pub(super) fn short_id(&self) -> &str {
        self.session_id.rsplit('-').next().unwrap_or_default()
    }

    pub(super) fn is_active(&self) -> bool {
        self.status == "ACTIVE"
    }

    /// Whether its latest renewal can be vetoed now.
    pub(super) fn is_vetoable(&self, now: Timestamp) -> bool {
        self.is_active() && self.veto_until.is_some_and(|until| now <= until.0)
    }

    /// Its status as a word of its own.
    pub(super) fn status_word(&self) -> &'static str {
        match &*self.status {
            "ACTIVE" => "active",
            "REVOKED" => "ended",
            _ => "expired",
        }
    }

    /// The used part of its most used budget; `None` without a budget.
    pub(super) fn used_part(&self) -> Option<f64> {
        let constraints = self.constraints.as_ref()?;
        let number = |value: &Value| value.as_str().map_or_else(|| value.as_f64(), |text| text.parse().ok());
        let part = |most: &str, used: &str| {
            let most = number(&constraints[most]).filter(|most| *most > 0.0)?;
            Some(number(&self.usage[used]).unwrap_or_default() / most)
        };
        let parts = [part("maxTotalAmount", "totalAmount"), part("maxTransactions", "transactions")];
        parts.into_iter().flatten().reduce(f64::max)
    }

    /// What is used of its budget, in words; `None` without one.
    pub(super) fn budget(&self) -> Option<String> {
        let constraints = self.constraints.as_ref()?;
        let amount = constraints["maxTotalAmount"]
            .as_str()
            .map(|most| format!("{} of {most} used", self.usage["totalAmount"].as_str().unwrap_or("0")));
        let count = constraints["maxTransactions"]
            .as_u64()
            .map(|most| format!("{} of {most} uses", self.usage["transactions"]));
        let told: Vec<_> = amount.into_iter().chain(count).collect();
        (!told.is_empty()).then(|| told.join(", "))
    }
}

#[derive(Template)]
#[template(path = "session.html")]
struct SessionPage {
    frame: Frame,
    session: SessionItem,
    /// `None` for readers without access to events.
    story: Option<Story>,
    timeline: Option<Timeline>,
    may_end: bool,
    may_veto: bool,
    mark: String,
    now: Timestamp,
    then: AsOf,
}

impl SessionPage {
    fn when(at: Timestamp) -> When {
        When(at)
    }
}

/// Reads a session as it was at a moment. The past has no windows in which anything could be done.
async fn read_then(visit: &Visit, id: &str, then: &AsOf) -> Result<SessionItem, Failure> {
    if !then.is_past() {
        return read(visit, id).await;
    }
    visit.get(&format!("/v1/sessions/{}{}", segment(id), then.query(&[]))).await
}

/// Reads a session, with the end of its veto window.
pub(super) async fn read(visit: &Visit, id: &str) -> Result<SessionItem, Failure> {
    let mut session: SessionItem = visit.get(&format!("/v1/sessions/{}", segment(id))).await?;
    session.veto_until = veto_until(visit, &session.session_id);
    Ok(session)
}

/// Until when a veto of the latest renewal of a session that the reader may see is expected.
pub(super) fn veto_until(visit: &Visit, id: &str) -> Option<When> {
    visit.authority().live().session(id.parse().ok()?)?.veto_window_end().map(When)
}

/// The page.
pub(super) async fn show(visit: &Visit, id: &str) -> Outcome {
    let then = AsOf::of(visit, &[]).await?;
    let session = read_then(visit, id, &then).await?;
    let story = story(visit, &session, &then).await?;
    let timeline = story.as_ref().map(|story| Timeline::of(story, &session, then.at.0));
    let title = format!("{} · {}", session.title(), session.status_word());
    Ok(page::ok(&SessionPage {
        frame: Frame::of(Some(visit), &title, "/console/agents").with(&["as_of.js"]),
        story,
        timeline,
        may_end: !then.is_past() && visit.has_role(&[Role::Admin, Role::Issuer, Role::Owner]),
        may_veto: !then.is_past() && visit.has_role(&[Role::Admin, Role::Owner]),
        mark: visit.mark(),
        now: then.at.0,
        then,
        session,
    }))
}

/// The session in sentences, for those who may read its events.
async fn story(visit: &Visit, session: &SessionItem, then: &AsOf) -> Result<Option<Story>, Failure> {
    if !visit.has_role(&[Role::Admin, Role::Auditor, Role::Owner]) {
        return Ok(None);
    }
    let Ok(id) = session.session_id.parse() else { return Ok(None) };
    let live =
        Live { reason: session.revoked_reason.clone(), last_seen_at: session.last_seen_at.map(|at| at.0) };
    let told = visit.console().api.story(&visit.credential, id, live, then.end()).await;
    let told = told?;
    Ok(told.map(|mut story| {
        for chapter in &mut story.chapters {
            chapter.words = plain(std::mem::take(&mut chapter.words));
        }
        story
    }))
}

/// Ends the session, as a veto of its latest renewal or not.
pub(super) async fn end(visit: &Visit, id: &str, is_veto: bool) -> Outcome {
    let suspend = visit.form().is_ticked("suspend").then_some("true");
    let asked = query(&[
        ("reason", visit.form().get("reason")),
        ("rejectRenewal", is_veto.then_some("true")),
        ("suspend", suspend),
    ]);
    let path = format!("/v1/sessions/{}{asked}", segment(id));
    visit.ask(Method::DELETE, &path, None).await?;
    Ok(page::redirect(&format!("/console/sessions/{}", segment(id))))
}
