//! The requests and replies of the API, each written once: the server serializes and describes the types that client,
//! verifier and command line deserialize.
//!
//! A reader ignores members that it does not know, and takes words from lists that may grow (`mode`, `trigger`, `state`)
//! as text ([`OpenWord`]), so that an older client understands a newer authority.

pub mod access;
pub mod actor;
pub mod audit;
pub mod credentials;
pub mod events;
pub mod introspection;
pub mod keys;
pub mod operation;
pub mod part_change;
pub mod revocations;
pub mod sessions;
pub mod subjects;
pub mod usage;
pub mod webhooks;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use self::{
    access::{AccessTokenView, NewAccessToken},
    actor::ActorView,
    audit::{CheckView, ConsistencyView, DifferenceView, HeadView, ProofView},
    credentials::{CredentialView, IssuedCredential, NewCredential},
    events::RecordedEvent,
    introspection::{DeadToken, IntrospectReply, IntrospectRequest, LiveToken, TokenStatus, TokenStatuses},
    keys::{KeyView, KeysView},
    part_change::PartChange,
    revocations::{EndedSelection, EndedSession, FeedHead, FeedItem, FeedPage, SelectorView},
    sessions::{CreatedSession, NewSession, RenewedSession, RevokedSession, SessionNews, SessionView},
    subjects::{
        EraseRequest, ErasureView, NewProfile, NodeErasureView, ProfilePatch, ResumeRequest, SubjectView,
        SuspendRequest, SuspensionView,
    },
    usage::{ConstraintsView, NewConstraints, NewUse, RecordedUsage, UsageView},
    webhooks::{
        AttemptView, CreatedWebhook, DeletedWebhook, DeliveryView, NewWebhook, RedeliverRequest,
        RedeliveryView, WaitingNotice, WebhookHealthView, WebhookTestView, WebhookView,
    },
};

/// A word of a list that may grow in a later version.
pub type OpenWord = Cow<'static, str>;

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Give it as `cursor` to get the next page; null when there is none.
    pub next_cursor: Option<String>,
}
