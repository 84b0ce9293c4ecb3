//! The authority's own state: its API keys, the keys of its tokens and the limits in force.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{
    epoch::Epochs,
    event::Role,
    id::{CredentialId, OwnerId, Position, WebhookId},
    keys::KeyHistory,
    policy::Policy,
    text::SealedText,
    time::Timestamp,
    webhook::Webhook,
};

/// The state of the system stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SystemState {
    /// The last position of its stream; 0 for none.
    #[n(0)]
    pub version: Position,
    /// The limits in force; `None` before the first start.
    #[n(1)]
    pub policy: Option<Policy>,
    /// All API keys, withdrawn ones included.
    #[n(2)]
    pub credentials: BTreeMap<CredentialId, Credential>,
    /// The webhooks that there are.
    #[n(3)]
    #[cbor(default)]
    pub webhooks: BTreeMap<WebhookId, Webhook>,
    /// The keys that prove tokens, retired ones included.
    #[n(4)]
    #[cbor(default)]
    pub keys: KeyHistory,
    /// The epochs that began after the first one.
    #[n(5)]
    #[cbor(default)]
    pub epochs: Epochs,
    /// How many events a segment of the history holds; `None` before the first one is sealed.
    #[n(6)]
    pub segment_events: Option<u64>,
}

/// What is known of an API key; the key itself is not.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Credential {
    /// Its name in the API.
    #[n(0)]
    pub id: CredentialId,
    /// What it may do.
    #[n(1)]
    pub role: Role,
    /// For whom, when it is an owner's.
    #[n(2)]
    pub owner_id: Option<OwnerId>,
    /// What people call it.
    #[n(3)]
    pub name: Option<SealedText>,
    /// BLAKE3 of the key.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub key_hash: [u8; 32],
    /// When it was admitted.
    #[n(5)]
    pub created_at: Timestamp,
    /// When it was withdrawn.
    #[n(6)]
    pub revoked_at: Option<Timestamp>,
    /// When it stops being good; `None`: it has no end.
    #[n(7)]
    pub expires_at: Option<Timestamp>,
    /// The event that admitted or withdrew it, whichever was last.
    #[n(8)]
    #[cbor(default)]
    pub changed: Position,
    /// The event since which it is held: it opens nothing until it is confirmed.
    #[n(9)]
    pub held_since: Option<Position>,
}

impl Credential {
    /// Whether it opens anything at this moment. Its end is reached exactly when `now >= expires_at`.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.held_since.is_none() && self.is_in_force(now)
    }

    /// Whether it has neither been withdrawn nor ended; it may be held.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it is an admin's, in force and without an end.
    pub fn is_lasting_admin(&self) -> bool {
        let is_in_force = self.revoked_at.is_none() && self.held_since.is_none();
        self.role == Role::Admin && is_in_force && self.expires_at.is_none()
    }
}

impl SystemState {
    /// The limits in force. They are recorded before anything else is decided.
    pub fn policy_in_force(&self) -> &Policy {
        self.policy.as_ref().expect("a start records the policy first")
    }

    /// How many admin keys are in force that have no end. One of them there must always be.
    pub fn lasting_admins(&self) -> usize {
        self.credentials.values().filter(|credential| credential.is_lasting_admin()).count()
    }

    /// The last event that made or withdrew an admin key.
    pub fn admins_changed(&self) -> Position {
        let admins = self.credentials.values().filter(|credential| credential.role == Role::Admin);
        admins.map(|credential| credential.changed).max().unwrap_or_default()
    }
}
