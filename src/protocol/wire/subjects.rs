//! `/v1/subjects`.

use serde::{Deserialize, Serialize};

use super::{ActorView, OpenWord};
#[cfg(feature = "utoipa")]
use crate::{OnLimit, subject::SubjectKind};
use crate::{OwnerId, Position, SubjectId, Timestamp};

/// A subject, as of the moment that it says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct SubjectView {
    /// The subject.
    pub subject_id: SubjectId,
    /// What people call it.
    pub name: Option<String>,
    /// What it is.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<SubjectKind>))]
    pub kind: Option<OpenWord>,
    /// Who answers for it.
    pub owner_id: Option<OwnerId>,
    /// Active sessions at most; null for the general limit.
    pub max_sessions: Option<u32>,
    /// Active sessions of one device at most; null for the general limit.
    pub max_sessions_per_device: Option<u32>,
    /// What happens at the limit; null for the general setting.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<OnLimit>))]
    pub on_limit: Option<OpenWord>,
    /// What happens at the limit of a device; null for the general setting.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<OnLimit>))]
    pub on_device_limit: Option<OpenWord>,
    /// Null when it is not suspended.
    pub suspension: Option<SuspensionView>,
    /// How many of its sessions are active.
    pub active_sessions: usize,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When its registration last changed.
    pub updated_at: Timestamp,
    /// The position that this reflects.
    pub as_of_position: Position,
    /// The time at which it was judged.
    pub as_of_time: Timestamp,
}

/// The suspension of a subject.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct SuspensionView {
    /// When it was recorded.
    pub at: Timestamp,
    /// Who suspended the subject.
    pub by: ActorView,
    /// Why.
    pub reason: Option<String>,
    /// When it ends by itself; null: not.
    pub until: Option<Timestamp>,
}
