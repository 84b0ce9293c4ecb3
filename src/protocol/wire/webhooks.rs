//! `/v1/webhooks`.

use serde::{Deserialize, Serialize};

use super::OpenWord;
use crate::{
    EpochPosition, OwnerId, Position, Secret, Timestamp, WebhookId,
    webhook::{NoticeKind, WebhookFormat},
};

/// A webhook to create.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = NewWebhookBody))]
pub struct NewWebhook {
    /// Where the requests go: https, without user, password or fragment. A secret.
    #[serde(serialize_with = "Secret::serialize_exposed")]
    #[cfg_attr(feature = "utoipa", schema(value_type = String))]
    pub url: Secret,
    /// What people call it.
    pub name: Option<String>,
    /// Only notices of these kinds; all by default.
    pub kinds: Option<Vec<NoticeKind>>,
    /// Only notices about this owner's subjects; an owner's webhooks are for itself.
    pub owner_id: Option<OwnerId>,
    /// How the requests are written; `standard` by default.
    pub format: Option<WebhookFormat>,
    /// `whsec_` and 24 to 64 bytes in base64; drawn by default. A secret.
    #[serde(serialize_with = "Secret::serialize_exposed_option")]
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<String>))]
    pub secret: Option<Secret>,
}

impl NewWebhook {
    /// A webhook that delivers all notices that the caller may see to this URL.
    pub const fn to(url: Secret) -> Self {
        Self { url, name: None, kinds: None, owner_id: None, format: None, secret: None }
    }
}

/// A deleted webhook.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct DeletedWebhook {
    /// Its name.
    pub webhook_id: WebhookId,
}

/// The position to start again from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = RedeliverBody))]
pub struct RedeliverRequest {
    /// The first position to deliver again.
    pub from: EpochPosition,
}

/// What is delivered again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct RedeliveryView {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The first position that is delivered again.
    pub from: Position,
    /// The last position there is now.
    pub to: Position,
}

/// How a test went.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = TestView))]
pub struct WebhookTestView {
    /// To an owner: `delivered` or `failed`.
    #[cfg_attr(feature = "utoipa", schema(value_type = String))]
    pub outcome: OpenWord,
    /// The status that came back, if one did; null to an owner whose test failed.
    pub http_status: Option<u16>,
}

/// A webhook.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct WebhookView {
    /// Its name in the API.
    pub webhook_id: WebhookId,
    /// What people call it; null if it has no name.
    pub name: Option<String>,
    /// Scheme and host; the rest is never shown.
    pub url: String,
    /// The kinds of notices that it delivers; null for all.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<Vec<NoticeKind>>))]
    pub kinds: Option<Vec<OpenWord>>,
    /// Whose subjects its notices are about; null for all.
    pub owner_id: Option<OwnerId>,
    /// How its requests are written.
    #[cfg_attr(feature = "utoipa", schema(value_type = WebhookFormat))]
    pub format: OpenWord,
    /// When it was created.
    pub created_at: Timestamp,
    /// How deliveries have been going; null while the account of them is not open.
    pub health: Option<WebhookHealthView>,
}

/// A webhook that was made. URL and secret are shown here and nowhere else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct CreatedWebhook {
    /// Its name in the API.
    pub webhook_id: WebhookId,
    /// What people call it; null if it has no name.
    pub name: Option<String>,
    /// The URL: whole now, scheme and host when the request is repeated.
    #[serde(serialize_with = "Secret::serialize_exposed")]
    #[cfg_attr(feature = "utoipa", schema(value_type = String))]
    pub url: Secret,
    /// The secret that signs the requests: shown now, and null when the request is repeated.
    #[serde(serialize_with = "Secret::serialize_exposed_option")]
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<String>))]
    pub secret: Option<Secret>,
    /// The kinds of notices that it delivers; null for all.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<Vec<NoticeKind>>))]
    pub kinds: Option<Vec<OpenWord>>,
    /// Whose subjects its notices are about; null for all.
    pub owner_id: Option<OwnerId>,
    /// How its requests are written.
    #[cfg_attr(feature = "utoipa", schema(value_type = WebhookFormat))]
    pub format: OpenWord,
    /// When it was created.
    pub created_at: Timestamp,
}

/// How deliveries to a webhook have been going. Tests of it are not counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct WebhookHealthView {
    /// When the receiver last took a notice; after a restart, of the deliveries that are still listed.
    pub last_success_at: Option<Timestamp>,
    /// The newest attempt that failed.
    pub last_failure: Option<AttemptView>,
    /// Attempts that failed since the receiver last took a notice.
    pub consecutive_failures: u32,
    /// When the first of them failed; null while none has.
    pub failing_since: Option<Timestamp>,
    /// Notices that are yet to be delivered.
    pub pending: usize,
    /// Notices that were given up; a redelivery sends them again.
    pub parked: usize,
    /// The pending notice that has waited longest.
    pub oldest_pending: Option<WaitingNotice>,
    /// When something is tried next; null if nothing waits.
    pub next_attempt_at: Option<Timestamp>,
}

/// A notice yet to be delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct WaitingNotice {
    /// The notice: a position and a number.
    pub notice_id: String,
    /// Since when it has waited.
    pub since: Timestamp,
}

/// What became of a notice.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct DeliveryView {
    /// The notice: a position and a number.
    pub notice_id: String,
    /// Whether it is pending, delivered or parked.
    #[cfg_attr(feature = "utoipa", schema(value_type = String))]
    pub status: OpenWord,
    /// The newest 20 attempts, oldest first.
    pub attempts: Vec<AttemptView>,
    /// When it is tried next; null unless it is pending.
    pub next_attempt_at: Option<Timestamp>,
}

/// An attempt to deliver a notice.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct AttemptView {
    /// When it ended.
    pub at: Timestamp,
    /// How it went. An owner reads `failed` where the word would name what the authority's network reaches.
    #[cfg_attr(feature = "utoipa", schema(value_type = String))]
    pub outcome: OpenWord,
    /// The status that came back, if one did.
    pub http_status: Option<u16>,
}
