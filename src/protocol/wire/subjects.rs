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

/// The last erasure of the text about a subject, and where it is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct ErasureView {
    /// The subject.
    pub subject_id: SubjectId,
    /// When it was recorded; the last time, if there was nothing left to be erased. Null when the log does not say.
    pub erased_at: Option<Timestamp>,
    /// The event that says so; null when the log lacks it.
    pub position: Option<Position>,
    /// Whether the key is destroyed everywhere that is known to have had it: on every node in `nodes`, and at the broker.
    pub done: bool,
    /// Of several nodes, each that holds keys, whether it is there or not, until an operator removes it; null until this
    /// is known. Empty where the authority has one node.
    pub nodes: Option<Vec<NodeErasureView>>,
    /// Whether the key is overwritten in the broker's stream; its own log of replication may have it, sealed, for some
    /// minutes more. Null where the authority has one node.
    pub broker_done: Option<bool>,
}

/// What one node has done of an erasure.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct NodeErasureView {
    /// The node's name.
    pub node: String,
    /// Where it is reached, or was.
    pub address: String,
    /// Whether the key is destroyed in its files.
    pub done: bool,
    /// Whether it is there: one that is away does its part when it is back.
    pub present: bool,
    /// It has done what every erasure up to this position asks for.
    pub erased_through: Position,
    /// When it said so, by its own clock.
    pub said_at: Timestamp,
}
