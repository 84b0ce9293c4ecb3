//! Asks the authority about a session token, each time.
//!
//! Nothing is remembered: a revocation counts at the next request. In return no request passes while the authority
//! cannot be asked.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

use super::{AuthorityConnection, Principal, Rejection, connection::AuthorityCallError};
use tenure_protocol::{
    token::SESSION_TOKEN_PREFIX,
    wire::{LiveToken, TokenStatus},
};

/// No session token is longer; nothing longer is sent on.
const LONGEST: usize = 2_048;
/// Maximum concurrent questions about tokens; others wait for their turn.
const ABREAST: usize = 256;
/// How long a token waits, for its turn and for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the authority about session tokens. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Introspection {
    connection: AuthorityConnection,
    turns: Arc<Semaphore>,
}

impl Introspection {
    /// By way of this connection.
    pub fn new(connection: AuthorityConnection) -> Self {
        Self { connection, turns: Arc::new(Semaphore::new(ABREAST)) }
    }

    /// Whether this session token counts now, and whose it is.
    ///
    /// # Errors
    /// Why it is not taken; [`Rejection::Unreachable`] when the authority does not say.
    pub async fn introspect(&self, token: &str) -> Result<Principal, Rejection> {
        if token.len() > LONGEST || !token.starts_with(SESSION_TOKEN_PREFIX) {
            return Err(Rejection::Malformed);
        }
        let asked = timeout(TIMEOUT, self.ask(token)).await;
        match asked.map_err(|_| Rejection::Unreachable { retry_after: None })?? {
            TokenStatus::Live(live) => Ok((*live).into()),
            TokenStatus::Dead(dead) => Err(reason(&dead.code)),
        }
    }

    async fn ask(&self, token: &str) -> Result<TokenStatus, Rejection> {
        let _turn = self.turns.acquire().await.expect("it is never closed");
        self.connection.introspect(token).await.map_err(|why| {
            tracing::warn!("the authority does not judge a token: {why}");
            let retry_after =
                if let AuthorityCallError::Status { retry_after, .. } = why { retry_after } else { None };
            Rejection::Unreachable { retry_after }
        })
    }
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Introspection({:?})", self.connection)
    }
}

impl From<LiveToken> for Principal {
    fn from(live: LiveToken) -> Self {
        Self {
            subject: live.subject_id,
            session: live.session_id,
            owner: live.owner_id,
            scopes: live.scopes.into(),
            expires_at: live.expires_at,
        }
    }
}

/// The authority's codes for tokens it refuses. An unknown code of a later version is a refusal too.
fn reason(code: &str) -> Rejection {
    match code {
        "SESSION_REVOKED" => Rejection::Revoked,
        "SUBJECT_SUSPENDED" => Rejection::Suspended,
        "TOKEN_SUPERSEDED" => Rejection::Superseded,
        "TOKEN_EXPIRED" => Rejection::Expired,
        "SESSION_IDLE" => Rejection::Idle,
        _ => Rejection::Malformed,
    }
}
