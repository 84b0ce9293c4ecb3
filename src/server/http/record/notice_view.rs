//! How a notice is described: the fields of every one, and those of its kind. `notify::notice` writes it.

use utoipa::ToSchema;

use tenure_core::{OwnerId, Position, SessionId, SubjectId, Timestamp, event::EndTrigger};
use tenure_protocol::wire::ActorView;

/// What a subscriber learns of an event.
#[derive(ToSchema)]
#[serde(tag = "kind")]
#[expect(dead_code, reason = "it documents what `notify::notice` writes")]
pub(crate) enum NoticeView {
    #[serde(rename = "SESSION_CREATED")]
    Created(CreatedNotice),
    #[serde(rename = "SESSION_RENEWED")]
    Renewed(RenewedNotice),
    #[serde(rename = "SESSION_RENEWAL_REJECTED")]
    RenewalRejected(RenewalRejectedNotice),
    #[serde(rename = "SESSION_REVOKED")]
    Revoked(RevokedNotice),
    #[serde(rename = "SESSION_EXPIRING_SOON")]
    ExpiringSoon(ExpiringSoonNotice),
    #[serde(rename = "SESSION_EXPIRED")]
    Expired(ExpiredNotice),
    #[serde(rename = "SUBJECT_SUSPENDED")]
    Suspended(SuspendedNotice),
    #[serde(rename = "SUBJECT_RESUMED")]
    Resumed(ResumedNotice),
}

/// What every notice has.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents what `notify::notice` writes")]
pub(crate) struct NoticeMembers {
    /// Its name: the position of its event, and its number among that event's notices.
    notice_id: String,
    position: Position,
    occurred_at: Timestamp,
    /// Null when it is about several sessions, or the subject itself.
    session_id: Option<SessionId>,
    /// Null when it is about sessions of several subjects.
    subject_id: Option<SubjectId>,
    subject_name: Option<String>,
    owner_id: Option<OwnerId>,
}

/// A session was created.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents what `notify::notice` writes")]
pub(crate) struct CreatedNotice {
    #[serde(flatten)]
    members: NoticeMembers,
    expires_at: Timestamp,
    absolute_expires_at: Timestamp,
    device: Option<String>,
}

/// A session was renewed.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents what `notify::notice` writes")]
pub(crate) struct RenewedNotice {
    #[serde(flatten)]
    members: NoticeMembers,
    renewal_count: u32,
    max_renewals: u32,
    expires_at: Timestamp,
    /// In words, such as `27d 12h`.
    remaining_absolute_life: String,
    /// Until when a veto is expected. It may be vetoed later, too.
    reject_window_expiry: Timestamp,
    /// Where its owner can veto after a sign-in; null without an owner, a public URL or a console.
    reject_url: Option<String>,
    /// Where its owner can veto this renewal without a sign-in, until `rejectWindowExpiry`. Only in the notices of that
    /// owner; null otherwise, and without `notices.veto_links`. A secret: who has it can veto.
    veto_url: Option<String>,
}

/// A renewal was refused by a rule, or vetoed by the owner.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents what `notify::notice` writes")]
pub(crate) struct RenewalRejectedNotice {
    #[serde(flatten)]
    members: NoticeMembers,
    renewal_count: u32,
    rejected_at: Timestamp,
    /// `owner` or `policy`.
    cause: String,
    /// The code of the rule; null for a veto.
    code: Option<String>,
    /// Whether two holders contest the session from now on: a replaced token came back, and not as a repeat of the
    /// renewal that replaced it.
    contested: bool,
}

/// A session was ended, or several at once.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents what `notify::notice` writes")]
pub(crate) struct RevokedNotice {
    #[serde(flatten)]
    members: NoticeMembers,
    trigger: EndTrigger,
    reason: Option<String>,
    /// Who did, as in an event.
    actor: ActorView,
    /// Which sessions were meant, see the catalogue of notices; null when it was a single one.
    #[schema(value_type = Option<Object>)]
    selector: Option<()>,
    /// How many there were of this owner; null when it was a single one, and when there were too many owners.
    matched: Option<u32>,
}

/// The end of a session is near.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents what `notify::notice` writes")]
pub(crate) struct ExpiringSoonNotice {
    #[serde(flatten)]
    members: NoticeMembers,
    renewals_left: u32,
    absolute_expires_at: Timestamp,
    /// `renewals` or `absolute`.
    why: String,
}

/// A session ended by itself.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents what `notify::notice` writes")]
pub(crate) struct ExpiredNotice {
    #[serde(flatten)]
    members: NoticeMembers,
    expires_at: Timestamp,
    /// `ttl`, `idle` or `absolute`.
    cause: String,
}

/// A subject was suspended.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents what `notify::notice` writes")]
pub(crate) struct SuspendedNotice {
    #[serde(flatten)]
    members: NoticeMembers,
    reason: Option<String>,
    /// When the suspension ends by itself; null when it does not.
    until: Option<Timestamp>,
    /// Who suspended it, as in an event.
    actor: ActorView,
}

/// A subject is no longer suspended.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents what `notify::notice` writes")]
pub(crate) struct ResumedNotice {
    #[serde(flatten)]
    members: NoticeMembers,
    reason: Option<String>,
    /// Always null.
    until: Option<Timestamp>,
    /// Who lifted the suspension, as in an event; the authority, if it had ended by itself.
    actor: ActorView,
}
