//! Who may call. Deny is the default: a route says whom it admits, and no other caller gets in.

use std::sync::Arc;

use axum::http::{HeaderMap, header::AUTHORIZATION};

use crate::authority::{AuthenticatedSession, Authority, console_subject, is_console_subject};
use crate::tokens::{ApiKey, SessionToken};
use tenure_core::{
    Actor, CredentialId, OwnerId, SessionId, SubjectId, Timestamp, commit::ActorKind, event::Role,
    subject::Subject, system::Credential,
};

use crate::http::reply::problem::{Problem, ProblemCode};

/// Whom a route admits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccessRule {
    /// Holders of API keys with one of these roles.
    pub(crate) roles: &'static [Role],
    /// Holders of session tokens.
    pub(crate) session: SessionAccess,
    /// All callers, without a credential.
    pub(crate) public: bool,
    /// A caller from an address in `metrics.allow`.
    pub(crate) metrics_addresses: bool,
}

/// How a route takes a session token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionAccess {
    /// Not at all.
    No,
    /// As the credential of a session about itself, if the token is good now.
    Own,
    /// The same, but the current token of an ended session may come again, and that of a suspended subject too.
    OwnEvenEnded,
    /// As the credential of a session about itself, if the token is good now or only its subject is suspended.
    OwnEvenSuspended,
    /// As a genuine token, which the route's own rules judge.
    Unjudged,
}

/// For whom the console asks. No request from outside can have it.
#[derive(Clone)]
pub struct SignedIn(pub Arc<Credential>);

use Role::{Admin, Auditor, Issuer, Owner, Verifier};

impl AccessRule {
    const NOBODY: Self =
        Self { roles: &[], session: SessionAccess::No, public: false, metrics_addresses: false };
    /// All callers.
    pub(crate) const PUBLIC: Self = Self { public: true, ..Self::NOBODY };
    /// Admins.
    pub(crate) const ADMINS: Self = Self { roles: &[Admin], ..Self::NOBODY };
    /// Who issues subjects and sessions.
    pub(crate) const ISSUERS: Self = Self { roles: &[Admin, Issuer], ..Self::NOBODY };
    /// Who issues sessions, and the session itself.
    pub(crate) const ISSUERS_AND_ITSELF: Self = Self { session: SessionAccess::Own, ..Self::ISSUERS };
    /// Who reads subjects and sessions; an owner its own.
    pub(crate) const READERS: Self = Self { roles: &[Admin, Issuer, Owner, Auditor], ..Self::NOBODY };
    /// Readers, and the session itself.
    pub(crate) const READERS_AND_ITSELF: Self = Self { session: SessionAccess::Own, ..Self::READERS };
    /// Who ends sessions; an owner its own.
    pub(crate) const REVOKERS: Self = Self { roles: &[Admin, Issuer, Owner], ..Self::NOBODY };
    /// Who ends sessions, and the session itself.
    pub(crate) const REVOKERS_AND_ITSELF: Self =
        Self { session: SessionAccess::OwnEvenEnded, ..Self::REVOKERS };
    /// Who lifts suspensions; an owner those of its own subjects.
    pub(crate) const RESUMERS: Self = Self { roles: &[Admin, Owner], ..Self::NOBODY };
    /// Who judges tokens.
    pub(crate) const JUDGES: Self = Self { roles: &[Admin, Issuer, Verifier], ..Self::NOBODY };
    /// Who reads the ends of all sessions: who judges tokens, and who reads everything.
    pub(crate) const FOLLOWERS: Self = Self { roles: &[Admin, Issuer, Verifier, Auditor], ..Self::NOBODY };
    /// Who reads the record; an owner its own.
    pub(crate) const RECORD: Self = Self { roles: &[Admin, Auditor, Owner], ..Self::NOBODY };
    /// Who may create webhooks; an owner for itself.
    pub(crate) const SUBSCRIBERS: Self = Self { roles: &[Admin, Owner], ..Self::NOBODY };
    /// Who reads everything, and asks for proof of it.
    pub(crate) const AUDITORS: Self = Self { roles: &[Admin, Auditor], ..Self::NOBODY };
    /// Every API key.
    pub(crate) const KEYS: Self = Self { roles: &[Admin, Issuer, Owner, Verifier, Auditor], ..Self::NOBODY };
    /// Who reads the metrics.
    pub(crate) const METRICS: Self =
        Self { roles: &[Admin, Auditor], metrics_addresses: true, ..Self::NOBODY };
    /// The session itself, by an active token.
    pub(crate) const ITSELF: Self = Self { session: SessionAccess::Own, ..Self::NOBODY };
    /// The same, also while its subject is suspended.
    pub(crate) const ITSELF_EVEN_SUSPENDED: Self =
        Self { session: SessionAccess::OwnEvenSuspended, ..Self::NOBODY };
    /// The session, by a genuine token.
    pub(crate) const HOLDER: Self = Self { session: SessionAccess::Unjudged, ..Self::NOBODY };
    /// Anyone with a credential: for paths that do not exist.
    pub(crate) const ANYBODY_KNOWN: Self = Self {
        roles: &[Admin, Issuer, Owner, Verifier, Auditor],
        session: SessionAccess::Own,
        ..Self::NOBODY
    };
}

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// No one in particular, on a route open to all.
    Anyone,
    /// The holder of an API key.
    Key(Arc<Credential>),
    /// The holder of a session token.
    Session(AuthenticatedSession),
}

impl Caller {
    /// As it is recorded.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Anyone => Actor::AUTHORITY,
            Self::Key(key) => Actor { kind: ActorKind::Credential, id: Some(key.id.to_string()) },
            Self::Session(holder) => {
                Actor { kind: ActorKind::Session, id: Some(holder.session.id.to_string()) }
            }
        }
    }

    /// The id of its credential or session.
    pub(crate) fn id(&self) -> Option<[u8; 16]> {
        match self {
            Self::Key(key) => Some(*key.id.as_bytes()),
            Self::Session(holder) => Some(*holder.session.id.as_bytes()),
            Self::Anyone => None,
        }
    }

    /// Its API key.
    pub(crate) fn key_id(&self) -> Option<CredentialId> {
        match self {
            Self::Key(key) => Some(key.id),
            Self::Anyone | Self::Session(_) => None,
        }
    }

    /// The role of its API key.
    pub(crate) fn role(&self) -> Option<Role> {
        match self {
            Self::Key(key) => Some(key.role),
            Self::Anyone | Self::Session(_) => None,
        }
    }

    /// The owner to whose subjects it is confined.
    pub(crate) fn owner(&self) -> Option<&OwnerId> {
        match self {
            Self::Key(key) if key.role == Owner => key.owner_id.as_ref(),
            Self::Anyone | Self::Key(_) | Self::Session(_) => None,
        }
    }

    /// Whether its API key has neither been revoked since nor ended. A session's stream ends with the session.
    pub(crate) fn is_still_admitted(&self, authority: &Authority) -> bool {
        self.key_id().is_none_or(|id| authority.is_still_good(id))
    }

    /// Whether this subject exists for it.
    pub(crate) fn may_see(&self, subject: &Subject) -> bool {
        if is_console_subject(&subject.id) {
            return self.may_see_sign_ins(&subject.id);
        }
        self.owner()
            .is_none_or(|owner| subject.profile().and_then(|own| own.owner_id.as_ref()) == Some(owner))
    }

    /// Whether it may see the sign-ins to the console with some key: with its own, or everything.
    fn may_see_sign_ins(&self, id: &SubjectId) -> bool {
        match self {
            Self::Key(key) => matches!(key.role, Admin | Auditor) || console_subject(key) == *id,
            Self::Anyone | Self::Session(_) => false,
        }
    }

    /// A session token is for its own session only. What is wrong with it comes first: some that are no good were let
    /// in for the end of their own session.
    pub(crate) fn check_session(&self, id: Option<SessionId>, now: Timestamp) -> Result<(), Problem> {
        match self {
            Self::Session(holder) if Some(holder.session.id) != id => {
                holder.judge(now)?;
                Err(Problem::from(ProblemCode::Forbidden)
                    .saying("a session token is for its own session only"))
            }
            Self::Session(_) | Self::Anyone | Self::Key(_) => Ok(()),
        }
    }
}

/// The subjects of sign-ins to the console are the console's own: nothing is made, changed or suspended there by a
/// request of the API.
pub(crate) fn check_is_no_sign_in(id: &SubjectId) -> Result<(), Problem> {
    if is_console_subject(id) {
        let why = "subjects whose ids begin with console: are kept for sign-ins to the console";
        return Err(Problem::from(ProblemCode::Forbidden).saying(why));
    }
    Ok(())
}

/// Why a caller is not let in.
pub(crate) enum AccessError {
    /// There is no credential.
    Missing,
    /// There is one, and it is unknown.
    Wrong,
    /// It is known, and not good for this.
    Known(Problem),
}

/// The text behind `Authorization: Bearer`, the scheme's name in any case. With two lines it is unknown which one
/// counts, a proxy may have read the other: so they are no credential.
fn bearer(headers: &HeaderMap) -> Result<&str, AccessError> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let value = lines.next().ok_or(AccessError::Missing)?;
    if lines.next().is_some() {
        return Err(AccessError::Wrong);
    }
    let text = value.to_str().map_err(|_| AccessError::Wrong)?;
    let (scheme, credential) = text.split_once(' ').ok_or(AccessError::Wrong)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(credential.trim()) } else { Err(AccessError::Wrong) }
}

/// Whether a bearer is shown at all, good or not: RFC 6750 has no error code for a caller that shows none, also one
/// that tries another scheme.
pub(crate) fn shows_bearer(headers: &HeaderMap) -> bool {
    let shown = headers.get(AUTHORIZATION).map(|value| value.as_bytes().trim_ascii());
    shown.is_some_and(|shown| shown.len() > 7 && shown[..7].eq_ignore_ascii_case(b"bearer "))
}

/// The bearer token as presented.
pub(crate) fn shown(headers: &HeaderMap) -> Option<&str> {
    bearer(headers).ok()
}

/// Finds out who calls, and whether the route admits them.
pub(crate) fn admit(
    authority: &Authority,
    access: AccessRule,
    headers: &HeaderMap,
) -> Result<Caller, AccessError> {
    let credential = bearer(headers)?;
    if credential.starts_with(ApiKey::PREFIX) {
        let Some(key) = authority.credential(credential) else {
            return Err(if authority.is_held(credential) {
                AccessError::Known(unconfirmed())
            } else {
                AccessError::Wrong
            });
        };
        return admit_key(access, key).map_err(AccessError::Known);
    }
    if credential.starts_with(SessionToken::PREFIX) {
        let holder = authority.holder(credential).ok_or(AccessError::Wrong)?;
        return admit_holder(authority, access, holder);
    }
    Err(AccessError::Wrong)
}

/// The holder of an active API key, if the route admits its role.
pub(crate) fn admit_key(access: AccessRule, key: Arc<Credential>) -> Result<Caller, Problem> {
    if access.roles.contains(&key.role) {
        return Ok(Caller::Key(key));
    }
    Err(Problem { credential: Some(key.id), ..forbidden(access, Some(key.role)) })
}

/// The key is genuine, so to try it is not a guess.
fn unconfirmed() -> Problem {
    Problem::from(ProblemCode::InvalidToken)
        .saying("this API key is held since the authority was restored: an admin must confirm it first")
}

fn admit_holder(
    authority: &Authority,
    access: AccessRule,
    holder: AuthenticatedSession,
) -> Result<Caller, AccessError> {
    if access.session == SessionAccess::Unjudged {
        return Ok(Caller::Session(holder));
    }
    let may_end = access.session == SessionAccess::OwnEvenEnded;
    let may_repeat = may_end
        && holder.session.revocation().is_some()
        && holder.claims.generation == holder.session.generation();
    if !may_repeat {
        let passes_suspended = may_end || access.session == SessionAccess::OwnEvenSuspended;
        let now = authority.now();
        let judged = if passes_suspended { holder.judge_to_end(now) } else { holder.judge(now) };
        judged.map_err(|fault| AccessError::Known(fault.into()))?;
    }
    if access.session == SessionAccess::No {
        return Err(AccessError::Known(forbidden(access, None)));
    }
    Ok(Caller::Session(holder))
}

fn forbidden(access: AccessRule, role: Option<Role>) -> Problem {
    let detail = match role {
        None => "this needs an API key, not a session token".to_owned(),
        Some(_) if access.roles.is_empty() => "this needs the session's own token, not an API key".to_owned(),
        Some(role) => {
            let others: Vec<_> = access.roles.iter().map(|role| role.name()).collect();
            format!("this key has the role {}; this needs {}", role.name(), others.join(" or "))
        }
    };
    Problem::from(ProblemCode::Forbidden).saying(detail)
}

/// Checks for one of these roles, no matter which caller asks.
pub(in crate::http) fn check_role(caller: &Caller, roles: &'static [Role]) -> Result<(), Problem> {
    let access = AccessRule { roles, session: SessionAccess::No, public: false, metrics_addresses: false };
    match caller.role() {
        Some(role) if roles.contains(&role) => Ok(()),
        role => Err(forbidden(access, role)),
    }
}
