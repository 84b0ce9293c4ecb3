//! Which items a list holds, and which page of it.

use tenure_protocol::{EpochPosition, OwnerId, SessionId, SubjectId, Timestamp};

/// The parameters that were given.
fn given<const N: usize>(all: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn text(value: Option<&impl ToString>) -> Option<String> {
    value.map(ToString::to_string)
}

/// Which page of a list: by default the first one, of 50 items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// How many items at a time, up to 200.
    pub limit: Option<u8>,
    /// Where to go on: the last page's `next_cursor`.
    pub cursor: Option<String>,
}

impl PageRequest {
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        given([("limit", text(self.limit.as_ref())), ("cursor", self.cursor.clone())])
    }
}

/// Which sessions to list: by default the active ones that the credential may see, 50 at a time.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// Only of this subject.
    pub subject_id: Option<SubjectId>,
    /// Only of this owner's subjects.
    pub owner_id: Option<OwnerId>,
    /// Those that have ended too.
    pub ended_too: bool,
    /// How many at a time, up to 200.
    pub limit: Option<u8>,
    /// Where to go on: the last page's `next_cursor`.
    pub cursor: Option<String>,
}

impl SessionFilter {
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        given([
            ("subjectId", text(self.subject_id.as_ref())),
            ("ownerId", text(self.owner_id.as_ref())),
            ("status", self.ended_too.then(|| "all".to_owned())),
            ("limit", text(self.limit.as_ref())),
            ("cursor", self.cursor.clone()),
        ])
    }
}

/// Which subjects to list: by default all that the credential may see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectFilter {
    /// Only of this owner.
    pub owner_id: Option<OwnerId>,
    /// Which page.
    pub page: PageRequest,
}

impl SubjectFilter {
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = self.page.query();
        query.extend(given([("ownerId", text(self.owner_id.as_ref()))]));
        query
    }
}

/// Which events to read: by default all that the credential may see, from the first one on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only what follows this position.
    pub after: Option<EpochPosition>,
    /// Instead of `after`: only what was recorded at this time or later.
    pub since: Option<Timestamp>,
    /// Only of these kinds, by their names in the event catalogue; all if there is none.
    pub kinds: Vec<String>,
    /// Only of this subject.
    pub subject_id: Option<SubjectId>,
    /// Only about this session.
    pub session_id: Option<SessionId>,
    /// Which page.
    pub page: PageRequest,
}

impl EventFilter {
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = self.page.query();
        query.extend(given([
            ("after", text(self.after.as_ref())),
            ("since", text(self.since.as_ref())),
            ("kinds", (!self.kinds.is_empty()).then(|| self.kinds.join(","))),
            ("subjectId", text(self.subject_id.as_ref())),
            ("sessionId", text(self.session_id.as_ref())),
        ]));
        query
    }
}
