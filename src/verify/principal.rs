//! Whose request it is.

use std::sync::Arc;

use super::AccessClaims;
use tenure_protocol::{OwnerId, SessionId, SubjectId, Timestamp};

/// The holder of the token that a request was let in with: the part that access tokens and introspection both carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Who.
    pub subject: SubjectId,
    /// By which session.
    pub session: SessionId,
    /// The owner of the subject, if there is one and the authority was asked; access tokens do not name it.
    pub owner: Option<OwnerId>,
    /// What the session may be used for.
    pub scopes: Arc<[String]>,
    /// When the token stops counting.
    pub expires_at: Timestamp,
}

impl Principal {
    pub(super) fn of(claims: &AccessClaims) -> Self {
        Self {
            subject: claims.subject.clone(),
            session: claims.session,
            owner: None,
            scopes: Arc::clone(&claims.scopes),
            expires_at: claims.expires_at,
        }
    }

    /// Whether it has all of these scopes.
    pub fn has_scopes<S: AsRef<str>>(&self, wanted: &[S]) -> bool {
        wanted.iter().all(|wanted| self.scopes.iter().any(|scope| scope == wanted.as_ref()))
    }
}
