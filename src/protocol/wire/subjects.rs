//! `/v1/subjects`.

use serde::{Deserialize, Serialize};

use super::{ActorView, OpenWord, PartChange};
use crate::{OnLimit, OwnerId, Position, SubjectId, Timestamp, subject::SubjectKind};

/// What is registered of a subject. Left out means: the general setting, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = SubjectBody))]
pub struct NewProfile {
    /// What people call it; 1 to 128 characters.
    pub name: Option<String>,
    /// What it is.
    pub kind: Option<SubjectKind>,
    /// Who answers for it. Only an admin may change an existing one.
    pub owner_id: Option<OwnerId>,
    /// Active sessions at most; 1 to 10 000.
    pub max_sessions: Option<u32>,
    /// Active sessions of one device at most; 1 to 10 000.
    pub max_sessions_per_device: Option<u32>,
    /// What happens at the limit.
    pub on_limit: Option<OnLimit>,
    /// What happens at the limit of a device.
    pub on_device_limit: Option<OnLimit>,
}

/// What is to change of a subject's registration, as a merge patch (RFC 7396) of a [`NewProfile`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfilePatch {
    /// See [`NewProfile::name`].
    #[serde(skip_serializing_if = "PartChange::is_keep")]
    pub name: PartChange<String>,
    /// See [`NewProfile::kind`].
    #[serde(skip_serializing_if = "PartChange::is_keep")]
    pub kind: PartChange<SubjectKind>,
    /// See [`NewProfile::owner_id`].
    #[serde(skip_serializing_if = "PartChange::is_keep")]
    pub owner_id: PartChange<OwnerId>,
    /// See [`NewProfile::max_sessions`].
    #[serde(skip_serializing_if = "PartChange::is_keep")]
    pub max_sessions: PartChange<u32>,
    /// See [`NewProfile::max_sessions_per_device`].
    #[serde(skip_serializing_if = "PartChange::is_keep")]
    pub max_sessions_per_device: PartChange<u32>,
    /// See [`NewProfile::on_limit`].
    #[serde(skip_serializing_if = "PartChange::is_keep")]
    pub on_limit: PartChange<OnLimit>,
    /// See [`NewProfile::on_device_limit`].
    #[serde(skip_serializing_if = "PartChange::is_keep")]
    pub on_device_limit: PartChange<OnLimit>,
}

/// How a subject is suspended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = SuspendBody))]
pub struct SuspendRequest {
    /// 1 to 500 characters.
    pub reason: Option<String>,
    /// When the suspension ends by itself; it must lie in the future. Left out: it does not.
    pub until: Option<Timestamp>,
}

/// Why a subject is resumed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = ResumeBody))]
pub struct ResumeRequest {
    /// 1 to 500 characters.
    pub reason: Option<String>,
}

/// Why a subject is erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = EraseBody))]
pub struct EraseRequest {
    /// 1 to 500 characters. It is recorded, and no erasure takes it away: write nothing about people.
    pub reason: String,
}

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
