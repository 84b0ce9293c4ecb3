//! What is recorded of the authority itself, and of sessions of many subjects.

use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer};

pub use tenure_protocol::credential::Role;

use super::{
    EndTrigger, EpochBegan, EventKind, KeyRotated, OwnerMatchCount, SessionSelector, SessionsSeen,
    WebhookCreated, WebhookDeleted, subject::EndMembers,
};
use crate::{
    id::{CredentialId, Generation, OwnerId, SessionId},
    policy::Policy,
    text::SealedText,
    time::Seconds,
};

/// A fact about the authority itself, or about sessions of many subjects.
///
/// Its JSON has the members of its kind and not the kind's name; sealed texts are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SystemEvent {
    /// The sessions of any subjects that a selection meets were ended in one step.
    SelectionRevoked(SelectionRevoked),
    /// Tokens of new generations were seen in use, so that the lost-reply rule no longer applies to them.
    TokensPresented(TokensPresented),
    /// Sessions were seen in use.
    SessionsSeen(SessionsSeen),
    /// An API key was admitted.
    CredentialIssued(CredentialIssued),
    /// An API key was withdrawn.
    CredentialRevoked(CredentialRevoked),
    /// The effective limits differ from those recorded before.
    PolicyChanged(PolicyChanged),
    /// A key seals or signs tokens from now on.
    KeyRotated(KeyRotated),
    /// A webhook was created.
    WebhookCreated(WebhookCreated),
    /// A webhook was deleted.
    WebhookDeleted(WebhookDeleted),
    /// The history was restored, and may lack what came after.
    EpochBegan(EpochBegan),
    /// An API key that was held is good again.
    CredentialConfirmed(CredentialConfirmed),
    /// The history is cut into segments of this size from now on.
    LogSegmented(LogSegmented),
}

impl SystemEvent {
    /// Which kind it is.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::SelectionRevoked(_) => EventKind::SelectionRevoked,
            Self::TokensPresented(_) => EventKind::TokensPresented,
            Self::SessionsSeen(_) => EventKind::SessionsSeen,
            Self::CredentialIssued(_) => EventKind::CredentialIssued,
            Self::CredentialRevoked(_) => EventKind::CredentialRevoked,
            Self::PolicyChanged(_) => EventKind::PolicyChanged,
            Self::KeyRotated(_) => EventKind::KeyRotated,
            Self::WebhookCreated(_) => EventKind::WebhookCreated,
            Self::WebhookDeleted(_) => EventKind::WebhookDeleted,
            Self::EpochBegan(_) => EventKind::EpochBegan,
            Self::CredentialConfirmed(_) => EventKind::CredentialConfirmed,
            Self::LogSegmented(_) => EventKind::LogSegmented,
        }
    }

    /// The sessions that it names one by one.
    pub fn sessions_named(&self) -> Vec<SessionId> {
        match self {
            Self::TokensPresented(event) => event.presented.iter().map(|mark| mark.session_id).collect(),
            Self::SessionsSeen(event) => event.seen.iter().map(|mark| mark.session_id).collect(),
            Self::SelectionRevoked(_)
            | Self::CredentialIssued(_)
            | Self::CredentialRevoked(_)
            | Self::PolicyChanged(_)
            | Self::KeyRotated(_)
            | Self::WebhookCreated(_)
            | Self::WebhookDeleted(_)
            | Self::EpochBegan(_)
            | Self::CredentialConfirmed(_)
            | Self::LogSegmented(_) => vec![],
        }
    }

    /// The fields of its kind that hold text about people, each with what is sealed there.
    pub fn texts(&self) -> Vec<(&'static str, Option<&SealedText>)> {
        match self {
            Self::SelectionRevoked(event) => vec![("reason", event.reason.as_ref())],
            Self::CredentialIssued(event) => vec![("name", event.name.as_ref())],
            Self::WebhookCreated(event) => vec![("name", event.name.as_ref())],
            Self::TokensPresented(_)
            | Self::SessionsSeen(_)
            | Self::CredentialRevoked(_)
            | Self::PolicyChanged(_)
            | Self::KeyRotated(_)
            | Self::WebhookDeleted(_)
            | Self::EpochBegan(_)
            | Self::CredentialConfirmed(_)
            | Self::LogSegmented(_) => vec![],
        }
    }
}

/// The first segment is about to be sealed; the size of segments is fixed from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct LogSegmented {
    /// How many events a segment holds, more or less.
    #[n(0)]
    pub segment_events: u64,
}

/// The sessions of any subjects that a selection meets were ended in one step: those active at that moment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SelectionRevoked {
    /// Which sessions of which subjects.
    #[n(0)]
    pub selector: Box<SessionSelector>,
    /// How many its decider saw.
    #[n(1)]
    pub matched: u32,
    /// Why, in the words of the one who revoked them.
    #[n(2)]
    pub reason: Option<SealedText>,
    /// How many its decider saw of each owner; `None` for more than 200 owners.
    #[n(3)]
    pub owners: Option<Vec<OwnerMatchCount>>,
    /// What ended them, where no caller asked for it; see [`SelectionRevoked::trigger`].
    #[n(4)]
    pub cause: Option<EndTrigger>,
}

impl SelectionRevoked {
    /// What ended the sessions.
    pub fn trigger(&self) -> EndTrigger {
        self.cause.unwrap_or(EndTrigger::Bulk)
    }
}

impl Serialize for SelectionRevoked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { selector, matched, reason: _, owners, cause: _ } = self;
        let shown = EndMembers {
            device_digest: None,
            except_session_id: None,
            oldest: None,
            matched: *matched,
            trigger: self.trigger(),
            selector: Some(selector),
            owners: owners.as_deref(),
        };
        shown.serialize(serializer)
    }
}

/// A token of a new generation was seen in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct PresentedToken {
    /// The session.
    #[n(0)]
    pub session_id: SessionId,
    /// The generation that was seen.
    #[n(1)]
    pub generation: Generation,
}

/// Tokens of new generations were seen in use.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct TokensPresented {
    /// Each once, in the order of their session ids.
    #[n(0)]
    pub presented: Vec<PresentedToken>,
}

/// An API key was admitted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct CredentialIssued {
    /// Its name in the API.
    #[n(0)]
    pub credential_id: CredentialId,
    /// What it may do.
    #[n(1)]
    pub role: Role,
    /// For whom, when it is an owner's.
    #[n(2)]
    pub owner_id: Option<OwnerId>,
    /// What people call it.
    #[n(3)]
    #[serde(skip)]
    pub name: Option<SealedText>,
    /// BLAKE3 of the key, which has 256 random bits. Not shown.
    #[cbor(n(4), with = "minicbor::bytes")]
    #[serde(skip)]
    pub key_hash: [u8; 32],
    /// How long it is good; `None`: until it is withdrawn.
    #[n(5)]
    pub expires_in: Option<Seconds>,
}

/// An API key was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRevoked {
    /// The key's name.
    #[n(0)]
    pub credential_id: CredentialId,
}

/// An API key that was held since a restore is good again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct CredentialConfirmed {
    /// The key's name.
    #[n(0)]
    pub credential_id: CredentialId,
}

/// The effective limits differ from those recorded before.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct PolicyChanged {
    /// The limits from now on.
    #[n(0)]
    #[serde(flatten)]
    pub policy: Policy,
}
