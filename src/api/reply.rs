//! What goes back to a caller.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;

use crate::domain::Position;

use super::problem::Problem;

/// The header that names a request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const POSITION: HeaderName = HeaderName::from_static("x-tenure-position");

/// A granted request's answer.
pub(super) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Body,
    position: Option<Position>,
    no_store: bool,
    is_stream: bool,
}

impl Reply {
    /// A JSON document.
    pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Self {
        let body = serde_json::to_vec(document).expect("our own documents are always JSON");
        Self {
            status,
            content_type: "application/json",
            body: body.into(),
            position: None,
            no_store: false,
            is_stream: false,
        }
    }

    /// A JSON document, with status 200.
    pub(super) fn ok(document: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, document)
    }

    /// Text of some type.
    pub(super) fn text(content_type: &'static str, text: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body: text.into(),
            position: None,
            no_store: false,
            is_stream: false,
        }
    }

    /// What is made while it is sent. Nobody on the way may keep it, or hold it up to gather more.
    pub(super) fn stream(content_type: &'static str, body: Body) -> Self {
        Self { status: StatusCode::OK, content_type, body, position: None, no_store: true, is_stream: true }
    }

    /// Names the last event that the request appended.
    pub(super) fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }

    /// It holds or judges a token, so nobody may keep it.
    pub(super) fn no_store(mut self) -> Self {
        self.no_store = true;
        self
    }

    /// As HTTP.
    pub(super) fn into_response(self, request_id: HeaderValue) -> Response {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(REQUEST_ID, request_id);
        if self.no_store {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if self.is_stream {
            headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        }
        if let Some(position) = self.position {
            headers.insert(POSITION, position.0.into());
        }
        response
    }
}

/// A problem as HTTP. Problems judge a credential more often than not, so nobody may keep them.
pub(super) fn problem_response(problem: &Problem, request_id: HeaderValue) -> Response {
    let body = problem.body(request_id.to_str().unwrap_or_default()).to_string();
    let status = problem.code.status();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REQUEST_ID, request_id);
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if let Some(position) = problem.recorded {
        headers.insert(POSITION, position.0.into());
    }
    if let Some(allow) = problem.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
        headers.insert(header::ALLOW, allow);
    }
    response
}
