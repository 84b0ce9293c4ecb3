//! What the authority is asked for.

use serde::Serialize;
use serde_json::Value;

use tenure_protocol::{Amount, OwnerId, Seconds, SubjectId, limits::OnReuse};

/// A session that is asked for, to be renewed by whoever holds it. What is none is the authority's default.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewSession {
    /// Whose it is to be.
    pub subject_id: SubjectId,
    /// The length of every period.
    pub ttl: Option<Seconds>,
    /// How often it may be renewed.
    pub max_renewals: Option<u32>,
    /// How long it may live in all.
    pub absolute_lifetime: Option<Seconds>,
    /// How long after a renewal a veto is expected.
    pub renewal_reject_window: Option<Seconds>,
    /// After so long without a use it ends; an introspection of its token is a use, and so is a renewal.
    pub idle_timeout: Option<Seconds>,
    /// What happens when a token of it comes back that a renewal had replaced. None: the authority's default.
    pub on_reuse: Option<OnReuse>,
    /// The device that it belongs to.
    pub device: Option<String>,
    /// What it is to be good for.
    pub scopes: Vec<String>,
    /// A JSON object to keep with it.
    pub metadata: Option<Value>,
    /// Limits on its use, as the API names them.
    pub constraints: Option<Value>,
}

impl NewSession {
    /// A session of this subject, with the authority's defaults, but that it ends when two holders of it have shown
    /// themselves. A [`Holder`](super::Holder) loses no session by that: its renewals carry a key.
    pub const fn of(subject_id: SubjectId) -> Self {
        Self {
            subject_id,
            ttl: None,
            max_renewals: None,
            absolute_lifetime: None,
            renewal_reject_window: None,
            idle_timeout: None,
            on_reuse: Some(OnReuse::Revoke),
            device: None,
            scopes: Vec::new(),
            metadata: None,
            constraints: None,
        }
    }
}

/// A use of a session.
#[derive(Clone, Debug, Serialize)]
pub struct Use {
    operation: String,
    amount: Option<Amount>,
    destination: Option<String>,
}

impl Use {
    /// Does this, 1 to 128 characters.
    pub fn of(operation: impl Into<String>) -> Self {
        Self { operation: operation.into(), amount: None, destination: None }
    }

    /// Costs so much.
    #[must_use]
    pub fn amount(self, amount: Amount) -> Self {
        Self { amount: Some(amount), ..self }
    }

    /// Is done to this, 1 to 256 characters.
    #[must_use]
    pub fn destination(self, destination: impl Into<String>) -> Self {
        Self { destination: Some(destination.into()), ..self }
    }
}

/// Which sessions to list: those that are active, of all that the credential may see, 50 at a time.
#[derive(Clone, Debug, Default)]
pub struct Filter {
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

impl Filter {
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
