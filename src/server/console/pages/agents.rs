//! Agents: every subject that the reader may see, and what is open about each.

use askama::Template;
use axum::http::Method;
use serde::Deserialize;
use tenure_core::{Timestamp, event::Role};

use super::session::{SessionItem, veto_until};
use crate::console::{
    as_of::AsOf,
    form::segment,
    request::SignedInRequest,
    response::{self, PageFailure, PageFrame, PageResult},
    search::{SearchResult, SessionSearch, known},
    words::PageTime,
};

/// Maximum sessions shown in a subject's row.
const SESSIONS_SHOWN: usize = 3;

/// A list of the API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::console) struct ItemPage<T> {
    pub(in crate::console) items: Vec<T>,
    pub(in crate::console) next_cursor: Option<String>,
}

/// A subject, as the API shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::console) struct SubjectItem {
    pub(in crate::console) subject_id: String,
    pub(in crate::console) name: Option<String>,
    pub(in crate::console) kind: Option<String>,
    pub(in crate::console) owner_id: Option<String>,
    pub(in crate::console) max_sessions: Option<u32>,
    pub(in crate::console) max_sessions_per_device: Option<u32>,
    pub(in crate::console) on_limit: Option<String>,
    pub(in crate::console) on_device_limit: Option<String>,
    pub(in crate::console) suspension: Option<SuspensionItem>,
    pub(in crate::console) active_sessions: usize,
    pub(in crate::console) created_at: PageTime,
}

/// How a subject is suspended.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::console) struct SuspensionItem {
    pub(in crate::console) at: PageTime,
    pub(in crate::console) by: ActorItem,
    pub(in crate::console) reason: Option<String>,
    pub(in crate::console) until: Option<PageTime>,
}

/// Who did something.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::console) struct ActorItem {
    pub(in crate::console) kind: String,
    pub(in crate::console) id: Option<String>,
}

impl ActorItem {
    pub(in crate::console) fn words(&self) -> String {
        match (&*self.kind, &self.id) {
            ("authority", _) => "the authority itself".to_owned(),
            ("link", Some(id)) => format!("the owner, by the link in notice {id}"),
            (kind, Some(id)) => format!("{kind} {id}"),
            (kind, None) => kind.to_owned(),
        }
    }
}

impl SubjectItem {
    pub(in crate::console) fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.subject_id)
    }

    pub(in crate::console) fn kind_or_unknown(&self) -> &str {
        self.kind.as_deref().unwrap_or("subject")
    }

    pub(in crate::console) fn is_sign_in(&self) -> bool {
        self.subject_id.starts_with("console:")
    }
}

/// A row of the page.
struct AgentRow {
    subject: SubjectItem,
    sessions: Vec<SessionItem>,
    more: usize,
}

impl AgentRow {
    fn next_renewal(&self) -> Option<PageTime> {
        self.sessions.iter().filter_map(|session| session.renew_at).min()
    }

    fn last_renewal(&self) -> Option<PageTime> {
        self.sessions.iter().filter_map(|session| session.renewed_at).max()
    }
}

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    frame: PageFrame,
    rows: Vec<AgentRow>,
    /// Subjects of this page that were not there at the moment that it is about.
    absent: usize,
    search: SessionSearch,
    is_of_all: bool,
    may_veto: bool,
    mark: String,
    now: Timestamp,
    next: Option<String>,
    then: AsOf,
}

/// The page.
pub(in crate::console) async fn list(visit: &SignedInRequest) -> PageResult {
    let then = AsOf::of(visit, &["q", "owner", "device", "status", "cursor"]).await?;
    if then.is_past() && !visit.has_role(&[Role::Admin, Role::Auditor]) {
        // It says who may.
        visit.ask(Method::GET, &format!("/v1/subjects{}", then.query(&[])), None).await?;
    }
    let search = SessionSearch::of(visit);
    let (subjects, next) = match search.find(visit).await? {
        SearchResult::Subjects { subjects, next } => (subjects, next),
        SearchResult::Session(id) => {
            return Ok(response::redirect(&format!("/console/sessions/{}", segment(&id))));
        }
    };
    let mut rows = Vec::new();
    let subjects: Vec<_> = subjects.into_iter().filter(|subject| !subject.is_sign_in()).collect();
    let count = subjects.len();
    for subject in subjects {
        rows.extend(row(visit, subject, &then).await?);
    }
    // What needs a person comes first.
    rows.sort_by_key(|row| !row.sessions.iter().any(|session| session.is_vetoable(visit.now())));
    Ok(response::ok(&AgentsPage {
        frame: PageFrame::of(Some(visit), "Agents", "/console/agents").with(&["live.js", "as_of.js"]),
        absent: count - rows.len(),
        rows,
        is_of_all: visit.has_role(&[Role::Admin, Role::Auditor, Role::Issuer]),
        may_veto: !then.is_past() && visit.has_role(&[Role::Admin, Role::Owner]),
        mark: visit.mark(),
        now: then.at.0,
        next: next.map(|cursor| search.address(&cursor)),
        search,
        then,
    }))
}

/// The row of a subject; `None` if the subject did not exist at that moment.
async fn row(
    visit: &SignedInRequest,
    subject: SubjectItem,
    then: &AsOf,
) -> Result<Option<AgentRow>, PageFailure> {
    let subject = if then.is_past() {
        let path = format!("/v1/subjects/{}{}", segment(&subject.subject_id), then.query(&[]));
        let Some(subject) = known(visit.get(&path).await)? else { return Ok(None) };
        subject
    } else {
        subject
    };
    if subject.active_sessions == 0 {
        return Ok(Some(AgentRow { subject, sessions: vec![], more: 0 }));
    }
    let asked = then.query(&[("subjectId", Some(&subject.subject_id)), ("limit", Some("10"))]);
    let mut sessions = visit.get::<ItemPage<SessionItem>>(&format!("/v1/sessions{asked}")).await?.items;
    for session in sessions.iter_mut().filter(|_| !then.is_past()) {
        session.veto_until = veto_until(visit, &session.session_id);
    }
    sessions.sort_by_key(|session| !session.is_vetoable(visit.now()));
    let more = subject.active_sessions.saturating_sub(SESSIONS_SHOWN);
    sessions.truncate(SESSIONS_SHOWN);
    Ok(Some(AgentRow { subject, sessions, more }))
}
