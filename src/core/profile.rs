//! A subject's registration. It is part of the format of the log, as `event` is.

use minicbor::{Decode, Encode};
use serde::Serialize;

pub use tenure_protocol::{subject::SubjectKind, wire::PartChange};

use super::{id::OwnerId, policy::OnLimit, text::SealedText};

/// What is registered of a subject. A registration replaces the whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct SubjectProfile {
    /// What people call it.
    #[n(0)]
    #[serde(skip)]
    pub name: Option<SealedText>,
    /// What it is.
    #[n(1)]
    pub kind: Option<SubjectKind>,
    /// Who answers for it.
    #[n(2)]
    pub owner_id: Option<OwnerId>,
    /// Instead of `limits.per_subject`.
    #[n(3)]
    pub max_sessions: Option<u32>,
    /// Instead of `limits.per_device`.
    #[n(4)]
    pub max_sessions_per_device: Option<u32>,
    /// Instead of `limits.on_limit`.
    #[n(5)]
    pub on_limit: Option<OnLimit>,
    /// Instead of `limits.on_device_limit`.
    #[n(6)]
    pub on_device_limit: Option<OnLimit>,
}

/// What is to change of a registration, part by part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileChanges {
    /// See [`SubjectProfile::name`].
    pub name: PartChange<SealedText>,
    /// See [`SubjectProfile::kind`].
    pub kind: PartChange<SubjectKind>,
    /// See [`SubjectProfile::owner_id`].
    pub owner_id: PartChange<OwnerId>,
    /// See [`SubjectProfile::max_sessions`].
    pub max_sessions: PartChange<u32>,
    /// See [`SubjectProfile::max_sessions_per_device`].
    pub max_sessions_per_device: PartChange<u32>,
    /// See [`SubjectProfile::on_limit`].
    pub on_limit: PartChange<OnLimit>,
    /// See [`SubjectProfile::on_device_limit`].
    pub on_device_limit: PartChange<OnLimit>,
}

impl ProfileChanges {
    /// The whole registration after these changes.
    pub fn applied_to(&self, known: &SubjectProfile) -> SubjectProfile {
        SubjectProfile {
            name: self.name.applied_to(known.name.as_ref()),
            kind: self.kind.applied_to(known.kind.as_ref()),
            owner_id: self.owner_id.applied_to(known.owner_id.as_ref()),
            max_sessions: self.max_sessions.applied_to(known.max_sessions.as_ref()),
            max_sessions_per_device: self
                .max_sessions_per_device
                .applied_to(known.max_sessions_per_device.as_ref()),
            on_limit: self.on_limit.applied_to(known.on_limit.as_ref()),
            on_device_limit: self.on_device_limit.applied_to(known.on_device_limit.as_ref()),
        }
    }
}

impl SubjectProfile {
    /// The same registration; where it names no owner or limit, the known ones.
    #[must_use]
    pub fn or_policy_of(self, known: &Self) -> Self {
        Self {
            owner_id: self.owner_id.or_else(|| known.owner_id.clone()),
            max_sessions: self.max_sessions.or(known.max_sessions),
            max_sessions_per_device: self.max_sessions_per_device.or(known.max_sessions_per_device),
            on_limit: self.on_limit.or(known.on_limit),
            on_device_limit: self.on_device_limit.or(known.on_device_limit),
            ..self
        }
    }

    /// The first field that only an admin may change from this registration to another: the owner, once there is one,
    /// and each limit, also an unset one.
    pub fn policy_change(&self, to: &Self) -> Option<&'static str> {
        let changed = [
            ("ownerId", self.owner_id.is_some() && self.owner_id != to.owner_id),
            ("maxSessions", self.max_sessions != to.max_sessions),
            ("maxSessionsPerDevice", self.max_sessions_per_device != to.max_sessions_per_device),
            ("onLimit", self.on_limit != to.on_limit),
            ("onDeviceLimit", self.on_device_limit != to.on_device_limit),
        ];
        changed.into_iter().find_map(|(field, is_changed)| is_changed.then_some(field))
    }
}
