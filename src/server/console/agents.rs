//! Agents: every subject that the reader may see, and what is open about each.

use askama::Template;
use serde::Deserialize;
use tenure_core::{Timestamp, event::Role};

use super::{
    form::query,
    page::{self, Failure, Frame, Outcome},
    session::{SessionItem, veto_until},
    visit::Visit,
    words::When,
};

/// So many subjects on a page.
const PER_PAGE: &str = "50";
/// So many sessions of a subject are shown in its row.
const SESSIONS_SHOWN: usize = 3;

/// A list of the API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Items<T> {
    pub(super) items: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

/// A subject, as the API shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubjectItem {
    pub(super) subject_id: String,
    pub(super) name: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) owner_id: Option<String>,
    pub(super) max_sessions: Option<u32>,
    pub(super) max_sessions_per_device: Option<u32>,
    pub(super) on_limit: Option<String>,
    pub(super) on_device_limit: Option<String>,
    pub(super) suspension: Option<Suspension>,
    pub(super) active_sessions: usize,
    pub(super) created_at: When,
}

/// How a subject is suspended.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Suspension {
    pub(super) at: When,
    pub(super) by: Actor,
    pub(super) reason: Option<String>,
    pub(super) until: Option<When>,
}

/// Who did something.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Actor {
    pub(super) kind: String,
    pub(super) id: Option<String>,
}

impl Actor {
    pub(super) fn words(&self) -> String {
        match (&*self.kind, &self.id) {
            ("authority", _) => "the authority itself".to_owned(),
            ("link", Some(id)) => format!("the owner, by the link in notice {id}"),
            (kind, Some(id)) => format!("{kind} {id}"),
            (kind, None) => kind.to_owned(),
        }
    }
}

impl SubjectItem {
    pub(super) fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.subject_id)
    }

    pub(super) fn kind_or_unknown(&self) -> &str {
        self.kind.as_deref().unwrap_or("subject")
    }

    pub(super) fn is_sign_in(&self) -> bool {
        self.subject_id.starts_with("console:")
    }
}

/// A row of the page.
struct Row {
    subject: SubjectItem,
    sessions: Vec<SessionItem>,
    more: usize,
}

impl Row {
    fn next_renewal(&self) -> Option<When> {
        self.sessions.iter().filter_map(|session| session.renew_at).min()
    }

    fn last_renewal(&self) -> Option<When> {
        self.sessions.iter().filter_map(|session| session.renewed_at).max()
    }
}

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage<'a> {
    frame: Frame,
    rows: Vec<Row>,
    owner: &'a str,
    may_search: bool,
    may_veto: bool,
    mark: String,
    now: Timestamp,
    next: Option<String>,
}

/// The page.
pub(super) async fn list(visit: &Visit) -> Outcome {
    let (owner, cursor) = (visit.query().get("owner"), visit.query().get("cursor"));
    let asked = query(&[("ownerId", owner), ("cursor", cursor), ("limit", Some(PER_PAGE))]);
    let found: Items<SubjectItem> = visit.get(&format!("/v1/subjects{asked}")).await?;
    let mut rows = Vec::new();
    for subject in found.items.into_iter().filter(|subject| !subject.is_sign_in()) {
        rows.push(row(visit, subject).await?);
    }
    // What needs a person comes first.
    rows.sort_by_key(|row| !row.sessions.iter().any(|session| session.is_vetoable(visit.now())));
    let next = found.next_cursor.map(|cursor| query(&[("owner", owner), ("cursor", Some(&cursor))]));
    Ok(page::ok(&AgentsPage {
        frame: Frame::of(Some(visit), "Agents", "/console/agents"),
        rows,
        owner: owner.unwrap_or_default(),
        may_search: visit.has_role(&[Role::Admin, Role::Auditor, Role::Issuer]),
        may_veto: visit.has_role(&[Role::Admin, Role::Owner]),
        mark: visit.mark(),
        now: visit.now(),
        next,
    }))
}

async fn row(visit: &Visit, subject: SubjectItem) -> Result<Row, Failure> {
    if subject.active_sessions == 0 {
        return Ok(Row { subject, sessions: vec![], more: 0 });
    }
    let asked = query(&[("subjectId", Some(&subject.subject_id)), ("limit", Some("10"))]);
    let mut sessions = visit.get::<Items<SessionItem>>(&format!("/v1/sessions{asked}")).await?.items;
    for session in &mut sessions {
        session.veto_until = veto_until(visit, &session.session_id);
    }
    sessions.sort_by_key(|session| !session.is_vetoable(visit.now()));
    let more = subject.active_sessions.saturating_sub(SESSIONS_SHOWN);
    sessions.truncate(SESSIONS_SHOWN);
    Ok(Row { subject, sessions, more })
}
