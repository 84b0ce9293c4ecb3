//! What a request waits for before it is answered by a node that may be behind.

use std::time::Instant;

use axum::http::HeaderMap;
use tenure_protocol::clock::stopwatch;

use crate::http::{api::ApiContext, reply::problem::Problem, request::access::shown};

impl ApiContext {
    /// Waits until it is certain what this credential is, on a node that may merely not know it yet.
    ///
    /// # Errors
    /// That does not become certain in time.
    pub(in crate::http) async fn wait_for_credential(&self, headers: &HeaderMap) -> Result<(), Problem> {
        self.recall_shown(headers).await?;
        let Some(nodes) = self.nodes() else { return Ok(()) };
        let Some(shown) = shown(headers) else { return Ok(()) };
        if !self.authority.may_come_to_know(shown) {
            return Ok(());
        }
        nodes.wait_for(|| !self.authority.may_come_to_know(shown)).await
    }

    /// The same for a token to be checked.
    ///
    /// # Errors
    /// As above.
    pub(in crate::http) async fn wait_for_token(&self, token: &str) -> Result<(), Problem> {
        self.recall_token(token).await?;
        let Some(nodes) = self.nodes() else { return Ok(()) };
        if !self.authority.may_come_to_know(token) {
            return Ok(());
        }
        nodes.wait_for(|| !self.authority.may_come_to_know(token)).await
    }

    /// Waits until it is certain that this node's state is the newest; it is where there is only one.
    ///
    /// # Errors
    /// That does not become certain in time.
    pub(in crate::http) async fn confirm(&self, asked: Instant) -> Result<(), Problem> {
        match self.nodes() {
            None => Ok(()),
            Some(nodes) => nodes.confirm(asked).await,
        }
    }
}

/// When a request came, for [`ApiContext::confirm`].
pub(in crate::http) fn asked_now() -> Instant {
    stopwatch()
}
