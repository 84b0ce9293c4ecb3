//! What the authority answers. Fields that this version does not know are passed over.

use serde::Deserialize;
use serde_json::Value;

use super::{secret::Secret, wire};
use tenure_protocol::{Amount, OwnerId, Seconds, SessionId, SubjectId, Timestamp};

/// A session that was created, and its first token.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Created {
    /// The session.
    #[serde(deserialize_with = "wire::parsed")]
    pub session_id: SessionId,
    /// Whose it is.
    #[serde(deserialize_with = "wire::parsed")]
    pub subject_id: SubjectId,
    /// Its token; no other answer shows it.
    #[serde(deserialize_with = "wire::secret")]
    pub token: Secret,
    /// When it was created.
    #[serde(deserialize_with = "wire::moment")]
    pub created_at: Timestamp,
    /// When its first period ends.
    #[serde(deserialize_with = "wire::moment")]
    pub expires_at: Timestamp,
    /// When it ends however often it is renewed.
    #[serde(deserialize_with = "wire::moment")]
    pub absolute_expires_at: Timestamp,
    /// When its holder should renew; none when it can not be renewed.
    #[serde(deserialize_with = "wire::moment_or_null")]
    pub renew_at: Option<Timestamp>,
    /// How often it was renewed: 0.
    pub renewal_count: u32,
    /// How often it may be.
    pub max_renewals: u32,
}

/// A session that was renewed, and its next token.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Renewed {
    /// The session.
    #[serde(deserialize_with = "wire::parsed")]
    pub session_id: SessionId,
    /// Its new token; the earlier one is dead.
    #[serde(deserialize_with = "wire::secret")]
    pub token: Secret,
    /// When the new period ends.
    #[serde(deserialize_with = "wire::moment")]
    pub expires_at: Timestamp,
    /// When it ends however often it is renewed.
    #[serde(deserialize_with = "wire::moment")]
    pub absolute_expires_at: Timestamp,
    /// When its holder should renew next; none when that would be refused for good.
    #[serde(deserialize_with = "wire::moment_or_null")]
    pub renew_at: Option<Timestamp>,
    /// How often it was renewed.
    pub renewal_count: u32,
    /// How often it may be.
    pub max_renewals: u32,
}

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Neither revoked nor expired.
    Active,
    /// It has ended by its period.
    Expired,
    /// It was ended.
    Revoked,
}

/// A session as the authority tells of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Session {
    /// The session.
    #[serde(deserialize_with = "wire::parsed")]
    pub session_id: SessionId,
    /// Whose it is.
    #[serde(deserialize_with = "wire::parsed")]
    pub subject_id: SubjectId,
    /// Who answers for its subject.
    #[serde(deserialize_with = "wire::parsed_or_null")]
    pub owner_id: Option<OwnerId>,
    /// The device that it belongs to.
    pub device: Option<String>,
    /// How it stands.
    pub status: Status,
    /// How often it was renewed.
    pub renewal_count: u32,
    /// How often it may be.
    pub max_renewals: u32,
    /// The length of every period.
    #[serde(deserialize_with = "wire::seconds")]
    pub ttl: Seconds,
    /// When it was created.
    #[serde(deserialize_with = "wire::moment")]
    pub created_at: Timestamp,
    /// When its period ends.
    #[serde(deserialize_with = "wire::moment")]
    pub expires_at: Timestamp,
    /// When it ends however often it is renewed.
    #[serde(deserialize_with = "wire::moment")]
    pub absolute_expires_at: Timestamp,
    /// When its holder should renew; none when that would be refused for good.
    #[serde(deserialize_with = "wire::moment_or_null")]
    pub renew_at: Option<Timestamp>,
    /// What happens when a token of it comes back that a renewal had replaced: `reject` or `revoke`. None: the authority
    /// is of an earlier version, and does not say.
    #[serde(default)]
    pub on_reuse: Option<String>,
    /// When it was revoked.
    #[serde(deserialize_with = "wire::moment_or_null")]
    pub revoked_at: Option<Timestamp>,
    /// What ended it, such as `renewal_rejected`.
    pub revoked_trigger: Option<String>,
    /// Why, in the words of whoever ended it.
    pub revoked_reason: Option<String>,
    /// What it is good for.
    pub scopes: Vec<String>,
    /// What else was kept with it.
    pub metadata: Option<Value>,
    /// The limits on its use.
    pub constraints: Option<Value>,
    /// What it was used for.
    pub usage: Usage,
}

/// What a session was used for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Usage {
    /// How often.
    pub transactions: u64,
    /// For how much in all.
    #[serde(deserialize_with = "wire::parsed")]
    pub total_amount: Amount,
    /// When last.
    #[serde(deserialize_with = "wire::moment_or_null")]
    pub last_at: Option<Timestamp>,
}

/// What a use is answered with.
#[derive(Debug, Deserialize)]
pub(super) struct Recorded {
    pub(super) usage: Usage,
}

/// What a token is.
#[derive(Clone, Debug)]
pub enum Judgement {
    /// It is good now.
    Live(Box<LiveToken>),
    /// It is not.
    Dead {
        /// `INVALID_TOKEN`, `SESSION_REVOKED`, `SUBJECT_SUSPENDED`, `TOKEN_SUPERSEDED`, `TOKEN_EXPIRED` or `SESSION_IDLE`.
        code: String,
    },
}

/// A token that is good now.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LiveToken {
    /// The session that it proves.
    #[serde(deserialize_with = "wire::parsed")]
    pub session_id: SessionId,
    /// Whose it is.
    #[serde(deserialize_with = "wire::parsed")]
    pub subject_id: SubjectId,
    /// Who answers for its subject.
    #[serde(deserialize_with = "wire::parsed_or_null")]
    pub owner_id: Option<OwnerId>,
    /// The device that it belongs to.
    pub device: Option<String>,
    /// What it is good for.
    pub scopes: Vec<String>,
    /// When its period ends.
    #[serde(deserialize_with = "wire::moment")]
    pub expires_at: Timestamp,
    /// How often the session was renewed.
    pub renewal_count: u32,
    /// Whether its holder should renew it by now.
    pub should_renew: bool,
}

/// A judgement as it comes: `active` says which fields there are.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Judged {
    Live(Box<LiveToken>),
    Dead { code: String },
}

impl From<Judged> for Judgement {
    fn from(judged: Judged) -> Self {
        match judged {
            Judged::Live(token) => Self::Live(token),
            Judged::Dead { code } => Self::Dead { code },
        }
    }
}

/// A session that has ended.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Revoked {
    /// The session.
    #[serde(deserialize_with = "wire::parsed")]
    pub session_id: SessionId,
    /// When it ended.
    #[serde(deserialize_with = "wire::moment")]
    pub revoked_at: Timestamp,
    /// What ended it, such as `self`.
    pub trigger: String,
}

/// A part of a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Where the next part begins; none at the end.
    pub next_cursor: Option<String>,
}
