//! What is said of a subject when it is registered. It is part of the format of the log, as `event` is.

use minicbor::{Decode, Encode};
use serde::Serialize;

use super::{id::OwnerId, policy::OnLimit, text::SealedText};

/// What is registered of a subject. A registration replaces the whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
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

/// What a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// A program that acts by itself.
    #[n(0)]
    Agent,
    /// A person.
    #[n(1)]
    User,
    /// A program that others call.
    #[n(2)]
    Service,
}
