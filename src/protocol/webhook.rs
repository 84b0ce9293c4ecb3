//! What webhooks deliver, and how it is written.

use minicbor::{Decode, Encode};
use serde::Serialize;

/// The kinds of notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NoticeKind {
    /// A session began.
    #[n(0)]
    SessionCreated,
    /// A session was renewed.
    #[n(1)]
    SessionRenewed,
    /// A renewal was refused by a rule, or vetoed by the owner.
    #[n(2)]
    SessionRenewalRejected,
    /// One session was ended, or several at once.
    #[n(3)]
    SessionRevoked,
    /// A session cannot live much longer; sent once.
    #[n(4)]
    SessionExpiringSoon,
    /// A session ended by itself.
    #[n(5)]
    SessionExpired,
    /// A subject was suspended.
    #[n(6)]
    SubjectSuspended,
    /// A subject is no longer suspended.
    #[n(7)]
    SubjectResumed,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::SessionCreated,
        Self::SessionRenewed,
        Self::SessionRenewalRejected,
        Self::SessionRevoked,
        Self::SessionExpiringSoon,
        Self::SessionExpired,
        Self::SubjectSuspended,
        Self::SubjectResumed,
    ];

    /// Its name, as in `kinds=` and in a notice.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SessionCreated => "SESSION_CREATED",
            Self::SessionRenewed => "SESSION_RENEWED",
            Self::SessionRenewalRejected => "SESSION_RENEWAL_REJECTED",
            Self::SessionRevoked => "SESSION_REVOKED",
            Self::SessionExpiringSoon => "SESSION_EXPIRING_SOON",
            Self::SessionExpired => "SESSION_EXPIRED",
            Self::SubjectSuspended => "SUBJECT_SUSPENDED",
            Self::SubjectResumed => "SUBJECT_RESUMED",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How a webhook's requests are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// The payload that Standard Webhooks recommends: type, timestamp, data.
    #[n(0)]
    Standard,
    /// A `CloudEvent` 1.0 in structured JSON.
    #[n(1)]
    CloudEvents,
    /// A message on a topic of ntfy.
    #[n(2)]
    Ntfy,
    /// A message in a channel of Discord.
    #[n(3)]
    Discord,
    /// A message of a Telegram bot.
    #[n(4)]
    Telegram,
    /// A message in a channel of Slack.
    #[n(5)]
    Slack,
}

impl WebhookFormat {
    /// Every format with its name in the API.
    pub const ALL: [(&str, Self); 6] = [
        ("standard", Self::Standard),
        ("cloudevents", Self::CloudEvents),
        ("ntfy", Self::Ntfy),
        ("discord", Self::Discord),
        ("telegram", Self::Telegram),
        ("slack", Self::Slack),
    ];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}
