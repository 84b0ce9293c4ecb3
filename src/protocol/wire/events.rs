//! `/v1/events`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{ActorView, OpenWord};
use crate::{EventId, Position, SessionId, SubjectId, Timestamp};

/// One fact.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct RecordedEvent {
    /// Its place in the log.
    pub position: Position,
    /// Its name, the same in every copy of the log.
    pub event_id: EventId,
    /// When.
    pub recorded_at: Timestamp,
    /// What kind of event.
    #[cfg_attr(feature = "utoipa", schema(value_type = String))]
    pub kind: OpenWord,
    /// The version of its kind.
    pub version: u8,
    /// Whose history it belongs to; null for the authority's own.
    pub subject_id: Option<SubjectId>,
    /// The session that it is about.
    pub session_id: Option<SessionId>,
    /// Who caused it.
    pub actor: ActorView,
    /// The request that caused it.
    pub correlation_id: Option<String>,
    /// What happened; its members are those of the kind, see the event catalogue.
    // As text, because metadata keeps its digits and its order, which no tree of values does.
    #[cfg_attr(feature = "utoipa", schema(value_type = Object))]
    pub data: Box<RawValue>,
    /// BLAKE3 of the stored bytes, hex.
    pub record_hash: String,
}
