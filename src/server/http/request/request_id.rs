//! The two names of a request: one for its reply and the log lines, and one for the record.
//!
//! Callers fill `x-request-id` with anything that helps them to find a request again, including a person's name. The
//! history cannot be edited, and its content outlives an erasure. So a caller's id is echoed and logged, and the
//! recorded id is always one of our own, which no caller can have chosen.

use std::fmt;

use axum::http::{HeaderMap, HeaderValue};

use tenure_core::SessionId;
use tenure_protocol::entropy;

use super::limits;
use crate::http::{
    api::ApiContext,
    reply::{REQUEST_ID, ReplyStamp, ShownId},
};

/// The names of a request. Most are never written out: a reply carries one, and a log line or an event only now and then.
#[derive(Clone, Debug)]
pub(crate) struct RequestId {
    /// The caller's own, if it is fit to be shown.
    given: Option<HeaderValue>,
    /// The `correlationId` of what the request appends.
    pub(crate) recorded: SessionId,
}

impl RequestId {
    /// Of a request with these headers.
    pub(crate) fn of(api: &ApiContext, headers: &HeaderMap) -> Self {
        let recorded = entropy::session_id(api.authority.entropy(), api.authority.now());
        let given = headers.get(REQUEST_ID).filter(|id| is_fit(id)).cloned();
        let id = Self { given, recorded };
        if id.given.is_some() {
            // The one place that knows both.
            tracing::debug!(request_id = %id, correlation_id = %recorded, "a request has an id of its caller's");
        }
        id
    }

    /// What the reply to this request carries.
    pub(crate) fn stamp(&self, api: &ApiContext) -> ReplyStamp {
        let request_id = self.given.clone().map_or(ShownId::Own(self.recorded), ShownId::Given);
        let epochs = api.authority.live().system().system.epochs.clone();
        ReplyStamp { request_id, now: api.authority.now(), epochs }
    }
}

/// As it is shown.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.given.as_ref().and_then(|given| given.to_str().ok()) {
            Some(given) => f.write_str(given),
            None => self.recorded.fmt(f),
        }
    }
}

/// 1 to 128 visible characters, and nothing that looks like a credential.
fn is_fit(id: &HeaderValue) -> bool {
    let is_visible = |id: &&str| id.bytes().all(|byte| byte.is_ascii_graphic());
    let id = id.to_str().ok().filter(is_visible);
    id.is_some_and(|id| limits::REQUEST_ID.contains(&id.len()) && !id.contains("tnr_"))
}
