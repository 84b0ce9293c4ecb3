//! Agents: every subject that the reader may see, and what is open about each.

use askama::Template;
use axum::http::Method;
use serde::Deserialize;
use tenure_core::{Timestamp, event::Role};

use super::session::SessionItem;
use crate::console::{
    as_of::AsOf,
    ask::shown,
    form::segment,
    request::SignedInRequest,
    response::{self, PageFailure, PageFrame, PageResult},
    search::{SearchResult, SessionSearch},
    words::PageTime,
};
use crate::http::{CardSession, SubjectCard};
use crate::projections::history::AsOfMoment;

/// Maximum sessions shown in a subject's row.
const SESSIONS_SHOWN: usize = 3;

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
pub(in crate::console) struct AgentRow {
    pub(in crate::console) subject: SubjectItem,
    /// Those whose renewals can be vetoed first, then the newest.
    pub(in crate::console) sessions: Vec<SessionItem>,
    more: usize,
    last_renewal: Option<PageTime>,
    next_renewal: Option<PageTime>,
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
    let subjects = subjects.into_iter().filter(|subject| !subject.is_sign_in());
    let subjects = subjects.map(|subject| subject.subject_id);
    let (mut rows, absent) = rows(visit, subjects, then.moment(), SESSIONS_SHOWN).await?;
    // What needs a person comes first.
    rows.sort_by_key(|row| !row.sessions.iter().any(|session| session.is_vetoable(visit.now())));
    Ok(response::ok(&AgentsPage {
        frame: PageFrame::of(Some(visit), "Agents", "/console/agents").with(&["live.js", "as_of.js"]),
        absent,
        rows,
        is_of_all: visit.has_role(&[Role::Admin, Role::Auditor, Role::Issuer]),
        may_veto: !then.is_past() && visit.has_role(&[Role::Admin, Role::Owner]),
        mark: visit.shown_mark(),
        now: then.at.0,
        next: next.map(|cursor| search.address(&cursor)),
        search,
        then,
    }))
}

/// The rows of these subjects, each with up to `most` of its active sessions, and how many of them did not exist at
/// that moment.
pub(in crate::console) async fn rows(
    visit: &SignedInRequest,
    subjects: impl Iterator<Item = String>,
    then: Option<AsOfMoment>,
    most: usize,
) -> Result<(Vec<AgentRow>, usize), PageFailure> {
    let ids: Vec<_> = subjects.filter_map(|id| id.parse().ok()).collect();
    let cards = visit.console().api.subject_cards(&visit.credential, ids, then, most).await?;
    let count = cards.len();
    let rows = cards.into_iter().flatten().map(row).collect::<Result<Vec<_>, _>>()?;
    let absent = count - rows.len();
    Ok((rows, absent))
}

fn row(card: SubjectCard) -> Result<AgentRow, PageFailure> {
    let subject: SubjectItem = shown(card.subject)?;
    let session = |found: CardSession| {
        let session: SessionItem = shown(found.session)?;
        Ok(SessionItem { veto_until: found.veto_until.map(PageTime), ..session })
    };
    let sessions = card.sessions.into_iter().map(session).collect::<Result<Vec<_>, PageFailure>>()?;
    Ok(AgentRow {
        more: subject.active_sessions.saturating_sub(sessions.len()),
        subject,
        sessions,
        last_renewal: card.last_renewal.map(PageTime),
        next_renewal: card.next_renewal.map(PageTime),
    })
}
