//! What callers ask. Everything that a decision needs and cannot compute travels in the command: ids,
//! jitter, digests of secrets, sealed texts.

use super::{
    activity::Mode,
    budget::{Constraints, Use},
    bulk::{Matched, Selector},
    event::{CredentialIssued, Device, Presented, Profile, Seen, WebhookCreated},
    id::{CredentialId, Digest16, Generation, OwnerId, SessionId, WebhookId},
    keys::{KeyId, KeyUse, Retire},
    policy::Policy,
    text::SealedText,
    time::Seconds,
};

/// A request about one subject and its sessions.
#[derive(Clone, Debug)]
pub enum Command {
    /// Register a subject, or replace its registration.
    RegisterSubject(RegisterSubject),
    /// Begin a session.
    CreateSession(CreateSession),
    /// Extend a session's period and replace its token.
    RenewSession(RenewSession),
    /// Begin the period of a sliding session again, if that is due.
    RefreshSession(RefreshSession),
    /// End one session.
    RevokeSession(RevokeSession),
    /// End the active sessions of the subject, or of one of its devices.
    RevokeSessions(RevokeSessions),
    /// Use a session, within its constraints.
    RecordUsage(RecordUsage),
    /// Record which sessions of the subject have ended by themselves.
    RecordExpiries,
    /// Make all text about the subject unreadable.
    EraseSubject(EraseSubject),
}

/// A request about the authority itself.
#[derive(Clone, Debug)]
pub enum SystemCommand {
    /// Admit an API key.
    IssueCredential(CredentialIssued),
    /// Withdraw an API key.
    RevokeCredential(CredentialId),
    /// Let these limits apply from now on.
    SetPolicy(Policy),
    /// Remember that these tokens were presented.
    MarkPresented(Vec<Presented>),
    /// Record which key seals, for each use that has none recorded.
    AdmitKeys(Vec<(KeyUse, KeyId)>),
    /// Let another key seal from now on.
    RotateKey(RotateKey),
    /// Remember that these sessions were seen in use.
    MarkSeen(Vec<Seen>),
    /// Tell somebody by HTTP requests.
    CreateWebhook(WebhookCreated),
    /// Tell them no more.
    DeleteWebhook(DeleteWebhook),
    /// End the active sessions of all subjects that match.
    RevokeMatching(RevokeMatching),
}

/// End the active sessions of all subjects that match.
#[derive(Clone, Debug)]
pub struct RevokeMatching {
    /// Which.
    pub selector: Selector,
    /// Why, in the caller's words.
    pub reason: SealedText,
    /// How many there are at the moment of the decision; whoever holds the state of every subject counts them.
    pub matched: Matched,
}

/// Let another key seal from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateKey {
    /// What it is for.
    pub which: KeyUse,
    /// The new key, which is drawn and not in use yet.
    pub key_id: KeyId,
    /// What becomes of the key that it replaces.
    pub retire: Retire,
    /// How long the tokens of that key work on, when there is an overlap: `keys.overlap`.
    pub overlap: Option<Seconds>,
    /// How long they do where that is not set: the longest life of any of them.
    pub longest_ttl: Seconds,
}

/// Tell somebody by HTTP requests no more.
#[derive(Clone, Debug)]
pub struct DeleteWebhook {
    /// Which webhook.
    pub id: WebhookId,
    /// Who asks, when it is an owner; other owners' webhooks do not exist for it.
    pub owner: Option<OwnerId>,
}

/// Register a subject, or replace its registration.
#[derive(Clone, Debug)]
pub struct RegisterSubject {
    /// The whole registration.
    pub profile: Profile,
    /// Whether the caller may give an existing subject another owner.
    pub may_change_owner: bool,
}

/// Begin a session.
#[derive(Clone, Debug)]
pub struct CreateSession {
    /// Its future name.
    pub session_id: SessionId,
    /// The limits that it asks for.
    pub terms: AskedTerms,
    /// The device that it belongs to.
    pub device: Option<Device>,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// A JSON object of the creator's.
    pub metadata: Option<SealedText>,
    /// The limits on its use.
    pub constraints: Option<Box<Constraints>>,
    /// Places `renewAt` between 50 % (0) and 80 % (65 535) of the period.
    pub jitter: u16,
}

/// The limits that a session asks for; what it leaves open comes from the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskedTerms {
    /// The length of every period.
    pub ttl: Option<Seconds>,
    /// How often it may be renewed.
    pub max_renewals: Option<u32>,
    /// How long it may live in all.
    pub absolute_lifetime: Option<Seconds>,
    /// How long after a renewal a veto is expected.
    pub renewal_reject_window: Option<Seconds>,
    /// After how long without use it shall end.
    pub idle_timeout: Option<Seconds>,
    /// How it shall be kept alive.
    pub mode: Mode,
}

/// Extend a session's period and replace its token.
#[derive(Clone, Copy, Debug)]
pub struct RenewSession {
    /// The session; row 2 of the checks has found it to be the token's own.
    pub session_id: SessionId,
    /// The generation of the token.
    pub generation: Generation,
    /// A keyed digest of the request's idempotency key.
    pub key_digest: Option<Digest16>,
    /// Whether a token of the session's current generation was presented, though that is not recorded yet.
    pub seen_presented: bool,
    /// Places `renewAt`, as in [`CreateSession`].
    pub jitter: u16,
}

/// Begin the period of a sliding session again, if that is due.
#[derive(Clone, Copy, Debug)]
pub struct RefreshSession {
    /// The session.
    pub session_id: SessionId,
    /// The generation of the token that was shown.
    pub generation: Generation,
}

/// End one session.
#[derive(Clone, Debug)]
pub struct RevokeSession {
    /// The session.
    pub session_id: SessionId,
    /// Who asks.
    pub by: Revoker,
    /// Whether it is a veto of the latest renewal; left open, the window decides.
    pub reject_renewal: Option<bool>,
    /// Why, in the caller's words.
    pub reason: Option<SealedText>,
}

/// Who asks for the end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoker {
    /// An admin key.
    Admin,
    /// An issuer's key.
    Issuer,
    /// The key of this owner; other owners' sessions do not exist for it.
    Owner(OwnerId),
    /// The session itself, by a token of this generation.
    Own(Generation),
}

/// End the active sessions of a subject that match.
#[derive(Clone, Debug)]
pub struct RevokeSessions {
    /// Only those of this device.
    pub device: Option<Digest16>,
    /// All but this one.
    pub except: Option<SessionId>,
    /// Who asks, when it is an owner; other owners' subjects do not exist for it.
    pub owner: Option<OwnerId>,
    /// Why, in the caller's words.
    pub reason: Option<SealedText>,
}

/// Use a session, within its constraints.
#[derive(Clone, Debug)]
pub struct RecordUsage {
    /// The session.
    pub session_id: SessionId,
    /// The generation of its own token; none when an API key asks on its behalf.
    pub generation: Option<Generation>,
    /// What is done.
    pub wanted: Use,
}

/// Make all text about a subject unreadable.
#[derive(Clone, Debug)]
pub struct EraseSubject {
    /// Why, in the caller's words.
    pub reason: SealedText,
    /// Whether it was erased, and nothing was sealed about it since.
    pub is_forgotten: bool,
}
