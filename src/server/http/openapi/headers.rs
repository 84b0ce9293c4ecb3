//! The headers of replies.

use axum::http::StatusCode;
use serde_json::{Value, json};

/// The headers, each with its name in the components.
const REQUEST_ID: (&str, &str) = ("x-request-id", "RequestId");
const TIME: (&str, &str) = ("x-tenure-time", "Time");
const POSITION: (&str, &str) = ("x-tenure-position", "Position");
const STALENESS: (&str, &str) = ("x-tenure-staleness-ms", "Staleness");
const RETRY_AFTER: (&str, &str) = ("Retry-After", "RetryAfter");
const CHALLENGE: (&str, &str) = ("WWW-Authenticate", "Challenge");

/// What the components say of them.
pub(super) fn components() -> Value {
    json!({
        REQUEST_ID.1: { "required": true, "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
            "description": "The request's id: the caller's own `x-request-id`, or one that was made for it." },
        TIME.1: { "required": true, "schema": { "type": "string", "format": "date-time" },
            "description": "The authority's time; on every reply that no cache may keep." },
        POSITION.1: { "required": false, "schema": { "type": "integer", "minimum": 1 },
            "description": "The position of the last event that the request appended; absent if it appended none." },
        STALENESS.1: { "required": false, "schema": { "type": "integer", "minimum": 0 },
            "description": "How old the state may be that the answer is of, in milliseconds; absent from a single node." },
        RETRY_AFTER.1: { "required": false, "schema": { "type": "integer", "minimum": 0 },
            "description": "After how many seconds to try again." },
        CHALLENGE.1: { "required": true, "schema": { "type": "string" },
            "description": "The expected scheme (RFC 6750)." },
    })
}

/// Adds to each response of an operation the headers that it has. A granted reply that caches may keep has no time: it
/// would be an old one.
pub(super) fn add_headers(operation: &mut Value, appends: bool, is_kept: bool) {
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        let timeless = is_kept && status == "200";
        let headers = of(status, appends).into_iter().filter(|header| *header != TIME || !timeless);
        for (name, component) in headers {
            response["headers"][name] = json!({ "$ref": format!("#/components/headers/{component}") });
        }
    }
}

fn of(status: &str, appends: bool) -> Vec<(&'static str, &'static str)> {
    let code = status.parse().ok().and_then(|code: u16| StatusCode::from_u16(code).ok());
    let code = code.expect("every response has a status");
    let mut headers = vec![REQUEST_ID, TIME];
    // A refusal may be recorded too.
    headers.extend((appends && (code.is_success() || code == StatusCode::FORBIDDEN)).then_some(POSITION));
    headers.extend((!appends && code.is_success()).then_some(STALENESS));
    headers.extend((code == StatusCode::UNAUTHORIZED).then_some(CHALLENGE));
    let is_busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&code);
    headers.extend(is_busy.then_some(RETRY_AFTER));
    headers
}
