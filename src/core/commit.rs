//! Facts as they are recorded: one command, one commit of one or more events.

use minicbor::{Decode, Encode};
use serde::Serialize;

pub use tenure_protocol::actor::ActorKind;

use super::{
    event::Event,
    id::{CommitId, Digest16, Position, SubjectId},
    time::Timestamp,
};

/// Whose history a commit belongs to. Every rule about sessions is one atomic decision in one stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// The authority's own: credentials, policies, marks that concern many subjects.
    System,
    /// One subject and its sessions.
    Subject(SubjectId),
}

/// Who caused a commit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Actor {
    /// What kind of caller.
    #[n(0)]
    pub kind: ActorKind,
    /// The id of its credential, session or notice; `None` for the authority itself.
    #[n(1)]
    pub id: Option<String>,
}

impl Actor {
    /// The authority itself.
    pub const AUTHORITY: Self = Self { kind: ActorKind::Authority, id: None };
}

/// The mark of an idempotent request, by which its repeat is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct IdempotencyMark {
    /// A keyed digest of caller and key.
    #[n(0)]
    pub key: Digest16,
    /// A keyed digest of method, path, query and body.
    #[n(1)]
    pub request: Digest16,
}

/// One decision, whole or not at all: the unit of atomicity and of publishing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its name, unique over all streams.
    pub id: CommitId,
    /// Whose history it continues.
    pub stream: StreamId,
    /// The last position of this stream when it was decided; 0 for none. The log refuses it otherwise.
    pub expected: Position,
    /// When it was decided; never before the commit in front of it.
    pub recorded_at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// The request that caused it.
    pub correlation_id: Option<String>,
    /// The mark of an idempotent request.
    pub idempotency: Option<IdempotencyMark>,
    /// What happened; never empty.
    pub events: Vec<Event>,
}

/// What `evolve` must know in addition to an event: where and when it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventMeta {
    /// Its position.
    pub position: Position,
    /// When its commit was decided.
    pub at: Timestamp,
}
