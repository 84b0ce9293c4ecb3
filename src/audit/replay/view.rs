//! A session in an audit: the members of the HTTP reply that follow from the facts alone. Text about people is left
//! out, because it is sealed.

use serde::Serialize;

use tenure_core::{
    OwnerId, Position, Seconds, SessionId, SubjectId, Timestamp,
    budget::{Constraints, Usage},
    event::EndTrigger,
    policy::OnReuse,
    session::{Session, SessionStatus},
    state::AuthorityState,
    subject::Subject,
};

/// A session at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayedSession {
    /// Its name.
    pub session_id: SessionId,
    /// Who holds it.
    pub subject_id: SubjectId,
    /// Who answers for its holder.
    pub owner_id: Option<OwnerId>,
    /// How it is kept alive: `fixed` or `sliding`.
    pub mode: &'static str,
    /// What it is at that moment.
    pub status: SessionStatus,
    /// How often it was renewed.
    pub renewal_count: u32,
    /// How often it may be.
    pub max_renewals: u32,
    /// How often it still may be.
    pub renewals_left: u32,
    /// The length of every period.
    pub ttl: Seconds,
    /// Seconds until it expires; 0 once it has ended.
    pub expires_in: u64,
    /// When it began.
    pub created_at: Timestamp,
    /// The end of its period.
    pub expires_at: Timestamp,
    /// The moment after which it cannot live.
    pub absolute_expires_at: Timestamp,
    /// When it was last renewed.
    pub renewed_at: Option<Timestamp>,
    /// When its holder should renew; `None` if every further renewal would be refused.
    pub renew_at: Option<Timestamp>,
    /// After how long without use it ends.
    pub idle_timeout: Option<Seconds>,
    /// When it was last used; `None` without `idleTimeout`.
    pub last_seen_at: Option<Timestamp>,
    /// When it was ended.
    pub revoked_at: Option<Timestamp>,
    /// What ended it.
    pub revoked_trigger: Option<EndTrigger>,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// The limits on its use.
    pub constraints: Option<Constraints>,
    /// What it was used for.
    pub usage: Usage,
    /// What happens when a token of it comes back that a renewal had replaced; of a session that asked for nothing,
    /// because it could not yet, what the setting says then.
    pub on_reuse: Option<OnReuse>,
    /// The position that this reflects.
    pub as_of_position: Position,
    /// The moment at which expiry is judged.
    pub as_of_time: Timestamp,
}

impl ReplayedSession {
    /// A session of a subject, both of this state, at a moment.
    pub fn of(state: &AuthorityState, subject: &Subject, session: &Session, at: Timestamp) -> Self {
        let revocation = session.revocation();
        let setting = state.system.policy.as_ref().map(|policy| policy.on_reuse);
        Self {
            session_id: session.id,
            subject_id: subject.id.clone(),
            owner_id: subject.profile().and_then(|profile| profile.owner_id.clone()),
            mode: session.terms.mode.name(),
            status: session.status(at),
            renewal_count: session.renewal_count(),
            max_renewals: session.terms.max_renewals,
            renewals_left: session.renewals_left(),
            ttl: session.terms.ttl,
            expires_in: session.expires_in(at),
            created_at: session.created_at(),
            expires_at: session.expires_at(),
            absolute_expires_at: session.absolute_expires_at(),
            renewed_at: session.renewed_at(),
            renew_at: session.next_renewal(at),
            idle_timeout: session.terms.idle_timeout,
            last_seen_at: session.last_seen_at(),
            revoked_at: revocation.map(|revocation| revocation.at),
            revoked_trigger: revocation.map(|revocation| revocation.trigger),
            scopes: session.scopes().to_vec(),
            constraints: session.constraints().cloned(),
            usage: session.usage().clone(),
            on_reuse: session.terms.on_reuse.or(setting),
            as_of_position: state.position,
            as_of_time: at,
        }
    }
}
