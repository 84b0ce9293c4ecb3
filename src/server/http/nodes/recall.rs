//! Sessions that left memory are read back before a request about them is answered.

use axum::http::HeaderMap;
use tenure_core::SessionId;

use crate::http::{
    api::ApiContext,
    reply::problem::Problem,
    request::access::{Caller, shown},
};

impl ApiContext {
    /// Reads the session of this credential back, if it has left memory.
    ///
    /// # Errors
    /// Too many are being read, or the log cannot be read.
    pub(super) async fn recall_shown(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match shown(headers) {
            Some(shown) => self.recall_token(shown).await,
            None => Ok(()),
        }
    }

    /// The same of a token. A string of another kind is left to the code that judges tokens.
    ///
    /// # Errors
    /// As above.
    pub(in crate::http) async fn recall_token(&self, token: &str) -> Result<(), Problem> {
        let Some(id) = self.authority.left_session_of(token) else { return Ok(()) };
        Ok(self.authority.recall(id, *id.as_bytes()).await?)
    }

    /// The same of a session that a caller names.
    ///
    /// # Errors
    /// As above.
    pub(in crate::http) async fn recall(&self, id: SessionId, caller: &Caller) -> Result<(), Problem> {
        Ok(self.authority.recall(id, caller.id().unwrap_or_default()).await?)
    }
}
