//! Webhooks: where notices are delivered, of what, and in which format.

use minicbor::{Decode, Encode};
use serde::Serialize;

pub use tenure_protocol::webhook::{NoticeKind, WebhookFormat};

use super::{
    id::{OwnerId, Position, WebhookId},
    text::SealedText,
    time::Timestamp,
};

/// Maximum number of webhooks of an authority: each reads all notices and keeps its own account of deliveries.
pub const MOST: usize = 1_000;
/// Maximum webhooks of one owner.
pub const MOST_PER_OWNER: usize = 20;

/// A webhook was created. Its URL and signing secret are not in the log, but kept in the
/// directory of keys.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct WebhookCreated {
    /// Its name in the API.
    #[n(0)]
    pub webhook_id: WebhookId,
    /// Only notices about this owner's subjects; `None` for all.
    #[n(1)]
    pub owner_id: Option<OwnerId>,
    /// Only notices of these kinds; `None` for all.
    #[n(2)]
    pub kinds: Option<Vec<NoticeKind>>,
    /// How the requests are written.
    #[n(3)]
    pub format: WebhookFormat,
    /// Scheme and host of the URL. No more of it is ever shown.
    #[n(4)]
    pub host: String,
    /// What people call it.
    #[n(5)]
    #[serde(skip)]
    pub name: Option<SealedText>,
}

/// A webhook was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDeleted {
    /// Its name.
    #[n(0)]
    pub webhook_id: WebhookId,
}

/// What is known of a webhook; its URL and its secret are not.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Webhook {
    /// As it was asked for.
    #[n(0)]
    pub asked: WebhookCreated,
    /// The event that created it: only notices after it are delivered.
    #[n(1)]
    pub created: Position,
    /// When that was.
    #[n(2)]
    pub created_at: Timestamp,
}

impl Webhook {
    /// Its name.
    pub const fn id(&self) -> WebhookId {
        self.asked.webhook_id
    }

    /// Whether it delivers notices of this kind about a subject of this owner.
    pub fn wants(&self, kind: NoticeKind, owner: Option<&OwnerId>) -> bool {
        let is_kind = self.asked.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
        is_kind && self.asked.owner_id.as_ref().is_none_or(|own| owner == Some(own))
    }

    /// Whether it exists for a caller confined to an owner.
    pub fn is_visible_to(&self, owner: Option<&OwnerId>) -> bool {
        owner.is_none_or(|owner| self.asked.owner_id.as_ref() == Some(owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::from_name(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn a_format_is_written_as_it_is_named() {
        for (name, format) in WebhookFormat::ALL {
            assert_eq!((format.name(), serde_json::to_value(format).unwrap()), (name, name.into()));
        }
    }
}
