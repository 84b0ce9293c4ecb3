//! Which subjects a reader looks for: by their ids or the beginnings of them, by name, device, owner, and how they stand.

use tenure_core::SessionId;
use tenure_protocol::wire::{Page, SessionView, SubjectView};

use super::form::{query, segment};
use crate::console::{request::SignedInRequest, response::PageFailure};
use crate::http::ListName;

/// Subjects per page.
const PER_PAGE: usize = 50;
/// Sessions per page if subjects are found by their sessions: as many cards as fit in any case, since such a page cannot
/// go on behind a subject.
const BY_SESSION: usize = 10;
/// Subjects per request if only some of them match.
const STRIDE: &str = "200";
/// Maximum strides searched for one page.
const STRIDES: usize = 10;
/// Maximum strides of sessions, newest first, searched for an id.
const SESSION_STRIDES: usize = 5;
/// Fewer characters than these are the beginning of every session.
const SHORTEST: usize = 4;
/// Among any number of sessions, this many characters belong to one.
const TELLING: usize = 12;
/// Before a cursor in the list of all sessions, for a search that goes on among them.
const AMONG_SESSIONS: char = '~';

/// What is looked for.
pub(super) struct SessionSearch {
    /// A subject or a session, or the beginning of one; where there are few subjects, also a part of a name.
    pub(super) sought: String,
    pub(super) owner: String,
    pub(super) device: String,
    pub(super) status: String,
    cursor: Option<String>,
}

/// What was found.
pub(super) enum SearchResult {
    Subjects {
        subjects: Vec<SubjectView>,
        /// Where the search goes on.
        next: Option<String>,
        /// Whether it can go on behind any of them instead: they are in the order of their ids.
        is_ordered: bool,
    },
    /// It is one session.
    Session(SessionId),
}

impl SessionSearch {
    /// What can be asked about how a subject stands.
    pub(super) const STATUSES: [(&str, &str); 4] = [
        ("", "any"),
        ("live", "with live sessions"),
        ("idle", "without live sessions"),
        ("suspended", "suspended"),
    ];

    pub(super) fn is_of_status(&self, status: &str) -> bool {
        self.status == status
    }

    pub(super) fn of(visit: &SignedInRequest) -> Self {
        let text = |name| visit.query().get(name).unwrap_or_default().to_owned();
        Self {
            sought: text("q"),
            owner: text("owner"),
            device: text("device"),
            status: text("status"),
            cursor: visit.query().get("cursor").map(str::to_owned),
        }
    }

    pub(super) fn is_any(&self) -> bool {
        [&self.sought, &self.owner, &self.device, &self.status].iter().any(|text| !text.is_empty())
    }

    /// Of a page of the API, as it is asked for without a search.
    fn of_api(&self, cursor: Option<&str>, limit: &str) -> String {
        let owner = Some(&*self.owner).filter(|owner| !owner.is_empty());
        query(&[("ownerId", owner), ("cursor", cursor), ("limit", Some(limit))])
    }

    /// Where a list goes on behind this subject.
    pub(super) fn behind(subject: &str) -> String {
        ListName::Subjects.cursor(subject)
    }

    /// The address of the same search from another place on.
    pub(super) fn address(&self, cursor: &str) -> String {
        let texts =
            [("q", &self.sought), ("owner", &self.owner), ("device", &self.device), ("status", &self.status)];
        let pairs: Vec<(&str, Option<&str>)> = texts
            .iter()
            .map(|(name, text)| (*name, Some(text.as_str()).filter(|text| !text.is_empty())))
            .chain([("cursor", Some(cursor))])
            .collect();
        query(&pairs)
    }

    pub(super) async fn find(&self, visit: &SignedInRequest) -> Result<SearchResult, PageFailure> {
        if !self.device.is_empty() {
            return self.on_device(visit).await;
        }
        if let Some(cursor) = self.cursor.as_deref().and_then(|cursor| cursor.strip_prefix(AMONG_SESSIONS)) {
            return self.among_sessions(visit, Some(cursor.to_owned())).await;
        }
        if self.sought.is_empty() && self.status.is_empty() {
            let asked = self.of_api(self.cursor.as_deref(), "50");
            let found: Page<SubjectView> = visit.get(&format!("/v1/subjects{asked}")).await?;
            return Ok(SearchResult::Subjects {
                subjects: found.items,
                next: found.next_cursor,
                is_ordered: true,
            });
        }
        let (mut subjects, next) = self.walk(visit).await?;
        // A reader who types the whole id wants that one; it is on the first page alone.
        subjects.retain(|subject| subject.subject_id.as_str() != self.sought);
        if self.cursor.is_none() && !self.sought.is_empty() {
            let exact = known(visit.get(&format!("/v1/subjects/{}", segment(&self.sought))).await)?;
            let exact =
                exact.filter(|subject: &SubjectView| self.has_status(subject) && self.is_of_owner(subject));
            subjects.splice(0..0, exact);
        }
        if subjects.is_empty() && next.is_none() && self.may_be_a_session() {
            return self.session(visit).await;
        }
        Ok(SearchResult::Subjects { subjects, next, is_ordered: true })
    }

    /// Looks through the subjects by name. Of all subjects only those come into question whose ids begin so; of an
    /// owner's also those whose names or ids have it anywhere.
    async fn walk(&self, visit: &SignedInRequest) -> Result<(Vec<SubjectView>, Option<String>), PageFailure> {
        let is_of_few = !self.owner.is_empty() || visit.credential.owner_id.is_some();
        let begins = !is_of_few && !self.sought.is_empty();
        let first = begins.then(|| Self::behind(&self.sought));
        let mut cursor = self.cursor.clone().or(first);
        let mut found: Vec<SubjectView> = Vec::new();
        for _ in 0..STRIDES {
            let asked = self.of_api(cursor.as_deref(), STRIDE);
            let page: Page<SubjectView> = visit.get(&format!("/v1/subjects{asked}")).await?;
            cursor = page.next_cursor;
            for subject in page.items {
                if begins && !subject.subject_id.as_str().starts_with(&self.sought) {
                    return Ok((found, None));
                }
                if found.len() == PER_PAGE {
                    let last = found.last().map(|last| Self::behind(last.subject_id.as_str()));
                    return Ok((found, last));
                }
                if self.has_status(&subject) && (begins || self.is_in(&subject)) {
                    found.push(subject);
                }
            }
            if cursor.is_none() {
                break;
            }
        }
        Ok((found, cursor))
    }

    fn is_in(&self, subject: &SubjectView) -> bool {
        let sought = self.sought.to_lowercase();
        let name = subject.name.as_deref().unwrap_or_default();
        subject.subject_id.as_str().to_lowercase().contains(&sought) || name.to_lowercase().contains(&sought)
    }

    fn has_status(&self, subject: &SubjectView) -> bool {
        match &*self.status {
            "live" => subject.active_sessions > 0,
            "suspended" => subject.suspension.is_some(),
            "idle" => subject.active_sessions == 0,
            _ => true,
        }
    }

    fn is_of_owner(&self, subject: &SubjectView) -> bool {
        self.owner.is_empty() || subject.owner_id.as_ref().is_some_and(|owner| owner.as_str() == self.owner)
    }

    /// Those with a live session on the device.
    async fn on_device(&self, visit: &SignedInRequest) -> Result<SearchResult, PageFailure> {
        let owner = Some(&*self.owner).filter(|owner| !owner.is_empty());
        let cursor = self.cursor.as_deref();
        let limit = BY_SESSION.to_string();
        let asked = query(&[
            ("device", Some(&self.device)),
            ("ownerId", owner),
            ("limit", Some(&limit)),
            ("cursor", cursor),
        ]);
        let sessions: Page<SessionView> = visit.get(&format!("/v1/sessions{asked}")).await?;
        let mut subjects = subjects_of(visit, &sessions.items).await?;
        subjects.retain(|subject| self.has_status(subject) && self.is_in(subject));
        Ok(SearchResult::Subjects { subjects, next: sessions.next_cursor, is_ordered: false })
    }

    fn may_be_a_session(&self) -> bool {
        self.cursor.is_none()
            && self.sought.len() >= SHORTEST
            && self.sought.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
    }

    /// A session by its id, or by the beginning or the end of it.
    async fn session(&self, visit: &SignedInRequest) -> Result<SearchResult, PageFailure> {
        let sought = self.sought.to_lowercase();
        let exact: Option<SessionView> =
            known(visit.get(&format!("/v1/sessions/{}", segment(&sought))).await)?;
        match exact {
            Some(session) => Ok(SearchResult::Session(session.session_id)),
            None => self.among_sessions(visit, None).await,
        }
    }

    /// The subjects of the sessions whose ids begin or end so, newest first: of a page, and where it goes on.
    async fn among_sessions(
        &self,
        visit: &SignedInRequest,
        mut cursor: Option<String>,
    ) -> Result<SearchResult, PageFailure> {
        let is_first = cursor.is_none();
        let sought = self.sought.to_lowercase();
        let fits = |it: &SessionView| {
            let id = it.session_id.to_string();
            id.starts_with(&sought) || id.ends_with(&sought)
        };
        let mut met: Vec<SessionView> = Vec::new();
        for _ in 0..SESSION_STRIDES {
            let page = sessions(visit, cursor.as_deref(), STRIDE).await?;
            let fitting = page.items.iter().enumerate().filter(|(_, session)| fits(session));
            let room = BY_SESSION - met.len();
            // The page goes on behind the last one that has room on it.
            if let Some((last, _)) = fitting.clone().nth(room) {
                met.extend(page.items.iter().filter(|it| fits(it)).take(room).cloned());
                if last > 0 {
                    cursor = sessions(visit, cursor.as_deref(), &last.to_string()).await?.next_cursor;
                }
                break;
            }
            met.extend(fitting.map(|(_, session)| session.clone()));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        if let [only] = &met[..]
            && is_first
            && (cursor.is_none() || sought.len() >= TELLING)
        {
            return Ok(SearchResult::Session(only.session_id));
        }
        let mut subjects = subjects_of(visit, &met).await?;
        subjects.retain(|subject| self.has_status(subject) && self.is_of_owner(subject));
        Ok(SearchResult::Subjects {
            subjects,
            next: cursor.map(|cursor| format!("{AMONG_SESSIONS}{cursor}")),
            is_ordered: false,
        })
    }
}

/// A page of all sessions that the reader may see.
async fn sessions(
    visit: &SignedInRequest,
    cursor: Option<&str>,
    limit: &str,
) -> Result<Page<SessionView>, PageFailure> {
    let asked = query(&[("status", Some("all")), ("limit", Some(limit)), ("cursor", cursor)]);
    visit.get(&format!("/v1/sessions{asked}")).await
}

/// The subjects of these sessions, each once.
async fn subjects_of(
    visit: &SignedInRequest,
    sessions: &[SessionView],
) -> Result<Vec<SubjectView>, PageFailure> {
    let mut subjects: Vec<SubjectView> = Vec::new();
    for session in sessions {
        let id = &session.subject_id;
        if subjects.iter().all(|subject| subject.subject_id != *id) {
            subjects.push(visit.get(&format!("/v1/subjects/{}", segment(id.as_str()))).await?);
        }
    }
    Ok(subjects)
}

/// What exists; `None` for what does not exist for this reader.
pub(super) fn known<T>(asked: Result<T, PageFailure>) -> Result<Option<T>, PageFailure> {
    match asked {
        Ok(it) => Ok(Some(it)),
        Err(failure) if failure.status == axum::http::StatusCode::NOT_FOUND => Ok(None),
        Err(failure) => Err(failure),
    }
}
