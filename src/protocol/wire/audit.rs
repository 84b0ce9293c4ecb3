//! `/v1/audit`.

use serde::{Deserialize, Serialize};

use crate::SubjectId;

/// A signed head.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct HeadView {
    /// How many events it covers: the position of the last.
    pub size: u64,
    /// The RFC 6962 root over their record hashes, hex.
    pub root_hash: String,
    /// The head as a C2SP tlog-checkpoint, to be kept as it is.
    pub signed_head: String,
    /// What judges it: the *vkey* of C2SP signed-note. Take it from here once, and compare ever after.
    pub verifier_key: String,
    /// The epoch of the history: 1, and more after a restore that may have lost events. Each has a key of its own.
    pub epoch: u32,
}

/// The inclusion proof of an event under a signed head.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct ProofView {
    /// The event's position; its leaf has the index before it.
    pub position: u64,
    /// How many events the tree has.
    pub size: u64,
    /// SHA-256 of a zero byte and the event's record hash, hex.
    pub leaf_hash: String,
    /// The root of the tree, hex.
    pub root_hash: String,
    /// The inclusion proof of RFC 6962, section 2.1.1, from the leaf up, hex.
    pub hashes: Vec<String>,
}

/// The consistency proof between two heads.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct ConsistencyView {
    /// How many events the earlier tree has.
    pub from: u64,
    /// How many events the later tree has.
    pub to: u64,
    /// The root of the earlier, hex.
    pub from_root: String,
    /// The root of the later, hex.
    pub to_root: String,
    /// The consistency proof of RFC 6962, section 2.1.2, hex.
    pub hashes: Vec<String>,
}

/// What a comparison of the live state with the log found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct CheckView {
    /// The last position that was replayed.
    pub position: u64,
    /// How many subjects were compared.
    pub subjects: u64,
    /// How many sessions.
    pub sessions: u64,
    /// Whether memory and log say the same.
    pub agrees: bool,
    /// What they say differently.
    pub differences: Vec<DifferenceView>,
}

/// Something that memory and log say differently.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct DifferenceView {
    /// The subject; null for the authority's own state.
    pub subject_id: Option<SubjectId>,
    /// The position up to which the log was replayed.
    pub position: u64,
    /// BLAKE3 of the state's canonical bytes as the log gives them, hex; null if it knows no such subject.
    pub replayed: Option<String>,
    /// The same of the live state.
    pub live: Option<String>,
}
