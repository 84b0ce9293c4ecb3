//! `/v1/sessions`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    OpenWord,
    usage::{ConstraintsView, NewConstraints, UsageView},
};
#[cfg(feature = "utoipa")]
use crate::session::EndTrigger;
use crate::{
    OnReuse, OwnerId, Position, Seconds, Secret, SessionId, SubjectId, Timestamp,
    session::{SessionMode, SessionStatus},
};

/// A session to create. Left out means: the general setting.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = NewSessionBody))]
pub struct NewSession {
    /// Who will hold it.
    pub subject_id: SubjectId,
    /// The length of every period in seconds; 300 to `session.ttl_max`.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<u32>))]
    pub ttl: Option<Seconds>,
    /// How often it may be renewed; 0 to `session.max_renewals_max`, 0 when sliding.
    pub max_renewals: Option<u32>,
    /// How long it may live in all, in seconds; from its ttl to `session.absolute_lifetime`.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<u32>))]
    pub absolute_lifetime: Option<Seconds>,
    /// How long after a renewal a veto is expected, in seconds; 300 to 86 400.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<u32>))]
    pub renewal_reject_window: Option<Seconds>,
    /// After how long without use it ends, in seconds; 60 to 86 400. By default `session.idle_timeout`; 1 800 when
    /// sliding.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<u32>))]
    pub idle_timeout: Option<Seconds>,
    /// `fixed` (the default), or `sliding`: refreshed by use behind a proxy, and never renewed.
    pub mode: Option<SessionMode>,
    /// What happens when a token of it comes back that a renewal had replaced: `reject` refuses it, `revoke` also ends
    /// the session once the newer token is shown, in either order. By default `renewal.on_reuse`.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<String>))]
    pub on_reuse: Option<OnReuse>,
    /// The name of the device that it belongs to; 1 to 128 characters.
    pub device: Option<String>,
    /// Up to 64 RFC 6749 scope tokens of up to 128 characters; 2 KiB in all, joined by blanks.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<Vec<String>>))]
    pub scopes: Vec<String>,
    /// A JSON object of up to 4 KiB.
    // As it was written: every number keeps its digits.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<Object>))]
    pub metadata: Option<Box<RawValue>>,
    /// The limits on its use.
    pub constraints: Option<NewConstraints>,
}

impl NewSession {
    /// A session of this subject with the authority's defaults, but for `onReuse`, which is `revoke`: the session ends
    /// when a token comes back that a renewal had replaced. A holder that keeps its renewal's key loses no session by
    /// that.
    pub const fn of(subject_id: SubjectId) -> Self {
        Self {
            subject_id,
            ttl: None,
            max_renewals: None,
            absolute_lifetime: None,
            renewal_reject_window: None,
            idle_timeout: None,
            mode: None,
            on_reuse: Some(OnReuse::Revoke),
            device: None,
            scopes: Vec::new(),
            metadata: None,
            constraints: None,
        }
    }
}

/// A session that was created, and its token. The token is shown here and nowhere else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct CreatedSession {
    /// The session.
    pub session_id: SessionId,
    /// Who holds it.
    pub subject_id: SubjectId,
    /// Its first token.
    #[serde(serialize_with = "Secret::serialize_exposed")]
    #[cfg_attr(feature = "utoipa", schema(value_type = String))]
    pub token: Secret,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its first period ends.
    pub expires_at: Timestamp,
    /// When it ends however often it is renewed.
    pub absolute_expires_at: Timestamp,
    /// When its holder should renew; null if no further renewal is possible.
    pub renew_at: Option<Timestamp>,
    /// How often it was renewed: 0.
    pub renewal_count: u32,
    /// How often it may be renewed.
    pub max_renewals: u32,
    /// What happens when a token of it comes back that a renewal had replaced: `reject` or `revoke`.
    // An authority older than this field does not say.
    #[serde(default)]
    #[cfg_attr(feature = "utoipa", schema(value_type = String, required = true))]
    pub on_reuse: OpenWord,
}

/// A session that was renewed, and its new token. The token is shown here and nowhere else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct RenewedSession {
    /// The session.
    pub session_id: SessionId,
    /// Its new token; the earlier one no longer works.
    #[serde(serialize_with = "Secret::serialize_exposed")]
    #[cfg_attr(feature = "utoipa", schema(value_type = String))]
    pub token: Secret,
    /// When the new period ends.
    pub expires_at: Timestamp,
    /// When its holder should renew next; null if no further renewal is possible.
    pub renew_at: Option<Timestamp>,
    /// How often it was renewed.
    pub renewal_count: u32,
    /// How often it may be renewed.
    pub max_renewals: u32,
    /// When it ends however often it is renewed.
    pub absolute_expires_at: Timestamp,
    /// `absoluteLifetime` when the period was cut at the session's absolute end.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<String>))]
    pub clamped_by: Option<OpenWord>,
}

/// A session, as of the moment that it says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct SessionView {
    /// The session.
    pub session_id: SessionId,
    /// Who holds it.
    pub subject_id: SubjectId,
    /// The name of its subject.
    pub subject_name: Option<String>,
    /// Who answers for its subject.
    pub owner_id: Option<OwnerId>,
    /// The name of the device that it belongs to.
    pub device: Option<String>,
    /// `sliding` is refreshed by use behind a proxy.
    #[cfg_attr(feature = "utoipa", schema(value_type = SessionMode))]
    pub mode: OpenWord,
    /// Whether its token works.
    pub status: SessionStatus,
    /// How often it was renewed.
    pub renewal_count: u32,
    /// How often it may be renewed.
    pub max_renewals: u32,
    /// How often it may still be renewed.
    pub renewals_left: u32,
    /// The length of every period, in seconds.
    pub ttl: Seconds,
    /// Seconds until it expires; 0 once it has ended.
    pub expires_in: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its period ends.
    pub expires_at: Timestamp,
    /// When it ends however often it is renewed.
    pub absolute_expires_at: Timestamp,
    /// When it was last renewed.
    pub renewed_at: Option<Timestamp>,
    /// When its holder should renew; null if no further renewal is possible.
    pub renew_at: Option<Timestamp>,
    /// After how long without use it ends, in seconds; null when it does not.
    pub idle_timeout: Option<Seconds>,
    /// When it was last used; null without `idleTimeout`.
    pub last_seen_at: Option<Timestamp>,
    /// When it was ended.
    pub revoked_at: Option<Timestamp>,
    /// What ended it.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<EndTrigger>))]
    pub revoked_trigger: Option<OpenWord>,
    /// Why, in the words of the caller who ended it.
    pub revoked_reason: Option<String>,
    /// What it is good for.
    pub scopes: Vec<String>,
    /// What was kept with it, digit for digit.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<Object>))]
    pub metadata: Option<Box<RawValue>>,
    /// The limits on its use; null when there are none.
    pub constraints: Option<ConstraintsView>,
    /// What it was used for.
    pub usage: UsageView,
    /// What happens when a token of it comes back that a renewal had replaced: `reject` or `revoke`. A session that
    /// began before it could ask for one of them follows the setting.
    #[cfg_attr(feature = "utoipa", schema(value_type = String))]
    pub on_reuse: OpenWord,
    /// The position that this reflects.
    pub as_of_position: Position,
    /// The time at which it was judged.
    pub as_of_time: Timestamp,
}

/// A session that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct RevokedSession {
    /// The session.
    pub session_id: SessionId,
    /// Always `REVOKED`.
    #[cfg_attr(feature = "utoipa", schema(value_type = String))]
    pub status: SessionStatus,
    /// When it ended.
    pub revoked_at: Timestamp,
    /// What ended it.
    #[cfg_attr(feature = "utoipa", schema(value_type = EndTrigger))]
    pub trigger: OpenWord,
    /// Whether there is a reason in the record of its end, or of the suspension that came with the request; null when
    /// the request gave none. False where there was no room to keep it: the session has ended all the same.
    pub reason_recorded: Option<bool>,
}

/// The events of a session's own stream: it has ended, or its subject was suspended or resumed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionNews {
    /// The event.
    pub position: Position,
    /// When.
    pub at: Timestamp,
    /// The session.
    pub session_id: SessionId,
    /// What ended it; null when it ended by itself, and of a suspension.
    pub trigger: Option<OpenWord>,
    /// When a suspension ends by itself.
    pub until: Option<Timestamp>,
}
