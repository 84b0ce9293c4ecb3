//! What callers ask. Everything that a decision needs and cannot compute travels in the command: ids,
//! jitter, digests of secrets, sealed texts.

use super::{
    activity::SessionMode,
    budget::{Constraints, SessionUse},
    bulk::SessionSelector,
    commit::Actor,
    event::{
        CredentialIssued, PresentedToken, ProfileChanges, Role, SessionDevice, SessionPurpose, SessionSeen,
        SubjectProfile, WebhookCreated,
    },
    id::{CredentialId, Digest16, Generation, OwnerId, Position, SessionId, WebhookId},
    keys::{KeyId, KeyUse, RetireMode},
    policy::{OnReuse, Policy},
    text::SealedText,
    time::{Seconds, Timestamp},
};

/// A request about one subject and its sessions.
#[derive(Clone, Debug)]
pub enum Command {
    /// Register a subject, or replace its registration.
    RegisterSubject(RegisterSubject),
    /// Change parts of a subject's registration.
    ChangeSubject(ChangeSubject),
    /// Begin a session.
    CreateSession(CreateSession),
    /// Extend a session's period and replace its token.
    RenewSession(RenewSession),
    /// Begin the next period of a sliding session, if due.
    RefreshSession(RefreshSession),
    /// End one session.
    RevokeSession(RevokeSession),
    /// End the active sessions of the subject, or of one of its devices.
    RevokeSessions(RevokeSessions),
    /// Use a session, within its constraints.
    RecordUsage(RecordUsage),
    /// End a session that two holders contest, now that both have shown themselves.
    EndContested(EndContested),
    /// Record which sessions of the subject have ended by themselves.
    RecordExpiries,
    /// Make all text about the subject unreadable.
    EraseSubject(EraseSubject),
    /// Suspend the subject.
    SuspendSubject(SuspendSubject),
    /// Lift the suspension of the subject.
    ResumeSubject(ResumeSubject),
    /// End one session and suspend the subject.
    EndAndSuspend(EndAndSuspend),
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
    MarkPresented(Vec<PresentedToken>),
    /// Record which key seals, for each use that has none recorded.
    AdmitKeys(Vec<(KeyUse, KeyId)>),
    /// Let another key seal from now on.
    RotateKey(RotateKey),
    /// Remember that these sessions were seen in use.
    MarkSeen(Vec<SessionSeen>),
    /// Create a webhook.
    CreateWebhook(WebhookCreated),
    /// Delete a webhook.
    DeleteWebhook(DeleteWebhook),
    /// End the active sessions of all subjects that match.
    RevokeMatching(RevokeMatching),
    /// Confirm a held API key.
    ConfirmCredential(CredentialId),
    /// Begin another epoch: end every session, and let other keys seal.
    BeginEpoch(Box<BeginEpoch>),
    /// Fix how many events a segment of the history holds.
    SegmentLog(u64),
}

impl Command {
    /// Whether it goes before creates and renewals when the authority is busy: whatever ends something does.
    pub const fn is_urgent(&self) -> bool {
        match self {
            Self::RevokeSession(_)
            | Self::RevokeSessions(_)
            | Self::EndContested(_)
            | Self::SuspendSubject(_)
            | Self::EndAndSuspend(_) => true,
            Self::RegisterSubject(_)
            | Self::ChangeSubject(_)
            | Self::CreateSession(_)
            | Self::RenewSession(_)
            | Self::RefreshSession(_)
            | Self::RecordUsage(_)
            | Self::RecordExpiries
            | Self::EraseSubject(_)
            | Self::ResumeSubject(_) => false,
        }
    }

    /// Whether it grants something new: a session, a longer or a different one, amounts, limits.
    pub const fn grants(&self) -> bool {
        match self {
            Self::RegisterSubject(_)
            | Self::ChangeSubject(_)
            | Self::CreateSession(_)
            | Self::RenewSession(_)
            | Self::RefreshSession(_)
            | Self::RecordUsage(_)
            | Self::ResumeSubject(_) => true,
            Self::RevokeSession(_)
            | Self::RevokeSessions(_)
            | Self::EndContested(_)
            | Self::SuspendSubject(_)
            | Self::EndAndSuspend(_)
            | Self::RecordExpiries
            | Self::EraseSubject(_) => false,
        }
    }

    /// The session that its decision looks at, whatever has become of it.
    pub const fn session_id(&self) -> Option<SessionId> {
        match self {
            Self::RenewSession(command) => Some(command.session_id),
            Self::RefreshSession(command) => Some(command.session_id),
            Self::RecordUsage(command) => Some(command.session_id),
            Self::RevokeSession(command) => Some(command.session_id),
            Self::EndAndSuspend(command) => Some(command.end.session_id),
            Self::EndContested(command) => Some(command.session_id),
            Self::RevokeSessions(command) => command.except,
            Self::RegisterSubject(_)
            | Self::ChangeSubject(_)
            | Self::CreateSession(_)
            | Self::RecordExpiries
            | Self::EraseSubject(_)
            | Self::SuspendSubject(_)
            | Self::ResumeSubject(_) => None,
        }
    }

    /// The one session whose state after it is its answer; `None` where that is the state of the subject.
    pub const fn answers_with(&self) -> Option<SessionId> {
        match self {
            Self::CreateSession(command) => Some(command.session_id),
            Self::RevokeSessions(_) => None,
            Self::RenewSession(_)
            | Self::RefreshSession(_)
            | Self::RecordUsage(_)
            | Self::RevokeSession(_)
            | Self::EndAndSuspend(_)
            | Self::EndContested(_)
            | Self::RegisterSubject(_)
            | Self::ChangeSubject(_)
            | Self::RecordExpiries
            | Self::EraseSubject(_)
            | Self::SuspendSubject(_)
            | Self::ResumeSubject(_) => self.session_id(),
        }
    }

    /// Whether it would change the owner of a subject registered like this: its sessions go along.
    pub fn moves(&self, known: &SubjectProfile) -> bool {
        let owner = match self {
            Self::RegisterSubject(command) if command.may_change_policy => command.profile.owner_id.clone(),
            // Who may not change the owner may name the first one.
            Self::RegisterSubject(command) => {
                known.owner_id.clone().or_else(|| command.profile.owner_id.clone())
            }
            Self::ChangeSubject(command) => command.changes.applied_to(known).owner_id,
            Self::CreateSession(_)
            | Self::RenewSession(_)
            | Self::RefreshSession(_)
            | Self::RevokeSession(_)
            | Self::RevokeSessions(_)
            | Self::RecordUsage(_)
            | Self::EndContested(_)
            | Self::RecordExpiries
            | Self::EraseSubject(_)
            | Self::SuspendSubject(_)
            | Self::ResumeSubject(_)
            | Self::EndAndSuspend(_) => return false,
        };
        owner != known.owner_id
    }

    /// Which uses of sessions its decision rests on.
    pub const fn rests_on(&self) -> ActivityDependency {
        match self {
            Self::RegisterSubject(_)
            | Self::ChangeSubject(_)
            | Self::EndContested(_)
            | Self::EraseSubject(_)
            | Self::SuspendSubject(_)
            | Self::ResumeSubject(_) => ActivityDependency::Nothing,
            Self::RenewSession(command) => ActivityDependency::One(command.session_id),
            Self::RefreshSession(command) => ActivityDependency::One(command.session_id),
            Self::RecordUsage(command) => ActivityDependency::One(command.session_id),
            Self::RevokeSession(command) => ActivityDependency::One(command.session_id),
            Self::EndAndSuspend(command) => ActivityDependency::One(command.end.session_id),
            Self::RecordExpiries => ActivityDependency::All,
            Self::CreateSession(_) | Self::RevokeSessions(_) => ActivityDependency::AllForGood,
        }
    }
}

impl SystemCommand {
    /// As [`Command::is_urgent`].
    pub const fn is_urgent(&self) -> bool {
        match self {
            // A key may be replaced because a thief has it.
            Self::RevokeCredential(_)
            | Self::RevokeMatching(_)
            | Self::RotateKey(_)
            | Self::BeginEpoch(_) => true,
            Self::IssueCredential(_)
            | Self::SetPolicy(_)
            | Self::MarkPresented(_)
            | Self::AdmitKeys(_)
            | Self::MarkSeen(_)
            | Self::CreateWebhook(_)
            | Self::DeleteWebhook(_)
            | Self::ConfirmCredential(_)
            | Self::SegmentLog(_) => false,
        }
    }

    /// As [`Command::grants`].
    pub const fn grants(&self) -> bool {
        match self {
            Self::IssueCredential(_) | Self::ConfirmCredential(_) => true,
            Self::RevokeCredential(_)
            | Self::RevokeMatching(_)
            | Self::RotateKey(_)
            | Self::BeginEpoch(_)
            | Self::SetPolicy(_)
            | Self::MarkPresented(_)
            | Self::AdmitKeys(_)
            | Self::MarkSeen(_)
            | Self::CreateWebhook(_)
            | Self::DeleteWebhook(_)
            | Self::SegmentLog(_) => false,
        }
    }

    /// Whether all sessions must be looked at to decide it.
    pub const fn is_bulk(&self) -> bool {
        matches!(self, Self::RevokeMatching(_) | Self::BeginEpoch(_))
    }
}

/// What a decision rests on in addition to the recorded facts: which sessions were recently used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityDependency {
    /// It does not.
    Nothing,
    /// The uses of this session.
    One(SessionId),
    /// The uses of all sessions of the subject.
    All,
    /// The same, and what it grants is not to be undone by a use that turns up later.
    AllForGood,
}

impl ActivityDependency {
    /// Whether it is about this session.
    pub fn concerns(self, id: SessionId) -> bool {
        match self {
            Self::Nothing => false,
            Self::One(one) => one == id,
            Self::All | Self::AllForGood => true,
        }
    }
}

/// End the active sessions of all subjects that match.
#[derive(Clone, Debug)]
pub struct RevokeMatching {
    /// Which.
    pub selector: SessionSelector,
    /// Why, in the caller's words.
    pub reason: SealedText,
}

/// Let another key seal from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateKey {
    /// What it is for.
    pub which: KeyUse,
    /// The new key, which is drawn and not in use yet.
    pub key_id: KeyId,
    /// What becomes of the key that it replaces.
    pub retire: RetireMode,
    /// How long the tokens of that key work on, when there is an overlap: `keys.overlap`. If unset, as long
    /// as any of them lives.
    pub overlap: Option<Seconds>,
}

/// Begin another epoch, because the history was restored and may lack what came after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginEpoch {
    /// Its number, above that of the present one.
    pub epoch: u32,
    /// Where the history ended.
    pub from: Position,
    /// Why.
    pub reason: String,
    /// The name under which the log signed its heads.
    pub previous_name: String,
    /// The head at the fork, signed under that name.
    pub previous_head: Option<String>,
    /// Whether API keys are held until they are confirmed.
    pub hold_credentials: bool,
    /// The keys that seal and sign from now on, drawn and not in use yet.
    pub keys: [(KeyUse, KeyId); 2],
}

/// Delete a webhook.
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
    pub profile: SubjectProfile,
    /// Whether the caller may change the owner and the limits of an existing subject.
    pub may_change_policy: bool,
}

/// Change parts of a subject's registration.
#[derive(Clone, Debug)]
pub struct ChangeSubject {
    /// What becomes of each part.
    pub changes: ProfileChanges,
    /// As in [`RegisterSubject`].
    pub may_change_policy: bool,
}

/// Begin a session.
#[derive(Clone, Debug)]
pub struct CreateSession {
    /// Its future name.
    pub session_id: SessionId,
    /// The limits that it asks for.
    pub terms: RequestedTerms,
    /// The device that it belongs to.
    pub device: Option<SessionDevice>,
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
pub struct RequestedTerms {
    /// The length of every period.
    pub ttl: Option<Seconds>,
    /// How often it may be renewed.
    pub max_renewals: Option<u32>,
    /// How long it may live in all.
    pub absolute_lifetime: Option<Seconds>,
    /// How long after a renewal a veto is expected.
    pub renewal_reject_window: Option<Seconds>,
    /// After how long without use it ends.
    pub idle_timeout: Option<Seconds>,
    /// How it is kept alive.
    pub mode: SessionMode,
    /// What happens when a token of it comes back that a renewal had replaced.
    pub on_reuse: Option<OnReuse>,
    /// What the authority makes it for; a caller cannot ask for that.
    pub purpose: Option<SessionPurpose>,
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
    /// Places `renewAt`, as in [`CreateSession`].
    pub jitter: u16,
}

/// Begin the period of a sliding session again, if due.
#[derive(Clone, Copy, Debug)]
pub struct RefreshSession {
    /// The session.
    pub session_id: SessionId,
    /// The generation of the token that was shown.
    pub generation: Generation,
}

/// End a session that two holders contest, if a token of its current generation was presented, or is shown now.
#[derive(Clone, Copy, Debug)]
pub struct EndContested {
    /// The session.
    pub session_id: SessionId,
    /// The generation of the presented token, if there is one.
    pub shown: Option<Generation>,
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
    /// An owner, by the link in the notice of a renewal.
    Link(VetoLink),
}

/// What the link in the notice of a renewal is good for: to veto that renewal, once, while it is the latest one and its
/// window is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VetoLink {
    /// The owner notified of the renewal. The link is void once the subject has another.
    pub owner: OwnerId,
    /// The generation that began with the renewal.
    pub generation: Generation,
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
    /// The generation of its own token; `None` if an API key asks on its behalf.
    pub generation: Option<Generation>,
    /// What is done.
    pub wanted: SessionUse,
}

/// Make all text about a subject unreadable.
#[derive(Clone, Debug)]
pub struct EraseSubject {
    /// Why, in the caller's words.
    pub reason: SealedText,
}

/// Who suspends or resumes a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspensionActor {
    /// The role of the caller's key: admin, issuer or owner.
    pub role: Role,
    /// The owner that it is bound to; other owners' subjects do not exist for it.
    pub owner: Option<OwnerId>,
    /// The caller, for the record.
    pub actor: Actor,
}

/// Suspend a subject, or replace its suspension.
#[derive(Clone, Debug)]
pub struct SuspendSubject {
    /// Who asks.
    pub by: SuspensionActor,
    /// When it ends by itself; `None`: never.
    pub until: Option<Timestamp>,
    /// Why, in the caller's words.
    pub reason: Option<SealedText>,
}

/// Lift the suspension of a subject.
#[derive(Clone, Debug)]
pub struct ResumeSubject {
    /// Who asks.
    pub by: SuspensionActor,
    /// Why, in the caller's words.
    pub reason: Option<SealedText>,
}

/// End a session, or find it ended, and suspend its subject in the same step.
#[derive(Clone, Debug)]
pub struct EndAndSuspend {
    /// The end.
    pub end: RevokeSession,
    /// The suspension.
    pub suspension: SuspendSubject,
}
