//! Which sessions a list holds.

use tenure_protocol::{OwnerId, SubjectId};

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
        let all = [
            ("subjectId", self.subject_id.as_ref().map(ToString::to_string)),
            ("ownerId", self.owner_id.as_ref().map(ToString::to_string)),
            ("status", self.ended_too.then(|| "all".to_owned())),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", self.cursor.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
