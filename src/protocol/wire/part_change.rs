//! A member of a merge patch.

use serde::{Serialize, Serializer};

/// What becomes of one part of something, as a member of a merge patch (RFC 7396) says it.
///
/// ```
/// use tenure_protocol::wire::{PartChange, ProfilePatch};
///
/// let max_sessions = PartChange::To(Some(3));
/// let patch = ProfilePatch { name: PartChange::To(None), max_sessions, ..ProfilePatch::default() };
/// assert_eq!(serde_json::to_string(&patch)?, r#"{"name":null,"maxSessions":3}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PartChange<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It becomes this; `None` removes it.
    To(Option<T>),
}

impl<T> PartChange<T> {
    /// Whether the part stays as it is: then the patch does not name it.
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl<T: Clone> PartChange<T> {
    /// What the part is after the change.
    pub fn applied_to(&self, known: Option<&T>) -> Option<T> {
        match self {
            Self::Keep => known.cloned(),
            Self::To(value) => value.clone(),
        }
    }
}

/// Only what changes is written; a member that stays is skipped.
impl<T: Serialize> Serialize for PartChange<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep => serializer.serialize_none(),
            Self::To(value) => value.serialize(serializer),
        }
    }
}
