//! The two names of a request: the one that its reply and the log lines carry, and the one that is recorded.
//!
//! Callers fill `x-request-id` with whatever helps them to find a request again, a person's name included. The history
//! is kept and cannot be edited, and what is in it outlives an erasure. So a caller's id is echoed and logged, and what
//! is recorded is always an id of our own, in which nobody can have written anything.

use axum::http::{HeaderMap, HeaderValue};

use crate::entropy;

use super::{
    Api, limits,
    reply::{REQUEST_ID, Stamp},
};

/// The names of a request.
#[derive(Clone, Debug)]
pub(super) struct RequestId {
    /// The caller's own, if it is fit to be shown; the recorded one otherwise.
    pub(super) shown: String,
    /// The `correlationId` of what the request appends.
    pub(super) recorded: String,
}

impl RequestId {
    /// Of a request with these headers.
    pub(super) fn of(api: &Api, headers: &HeaderMap) -> Self {
        let recorded = entropy::session_id(api.authority.entropy(), api.authority.now()).to_string();
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let Some(given) = given.filter(|id| is_fit(id)) else {
            return Self { shown: recorded.clone(), recorded };
        };
        // The one place that knows both.
        tracing::debug!(request_id = given, correlation_id = recorded, "a request has an id of its caller's");
        Self { shown: given.to_owned(), recorded }
    }

    /// What the reply to this request carries.
    pub(super) fn stamp(&self, api: &Api) -> Stamp {
        let request_id = HeaderValue::from_str(&self.shown);
        Stamp {
            request_id: request_id.expect("a request id is made of visible characters"),
            now: api.authority.now(),
        }
    }
}

/// 1 to 128 visible characters, and nothing that looks like a credential.
fn is_fit(id: &str) -> bool {
    limits::REQUEST_ID.contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_graphic())
        && !id.contains("tnr_")
}
