//! The OpenAPI 3.1 document, made from the table of routes and the table of errors.

mod bounds;
mod headers;
mod json_schema;
mod rules;
mod shape;

use std::collections::BTreeSet;

use axum::{body::Bytes, http::Method};
use parking_lot::Mutex;
use serde_json::{Value, json};
use utoipa::openapi::RefOr;

use tenure_core::Policy;

use self::json_schema::{may_be_null, references};
use super::{
    forward_auth,
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{
        access::SessionAccess,
        call::ApiCall,
        route::{BodyKind, Route},
    },
    routes::ROUTES,
};

/// What each tag is about.
const TAGS: [(&str, &str); 11] = [
    ("sessions", "Create, check, renew, use and end sessions."),
    ("subjects", "Who holds sessions."),
    ("revocations", "End many sessions at once, and follow what has ended."),
    ("keys", "The keys of tokens."),
    ("credentials", "API keys."),
    ("events", "The recorded facts."),
    ("notices", "What subscribers receive."),
    ("webhooks", "Notices by HTTP requests."),
    ("audit", "Signed heads, proofs and exports."),
    ("forward-auth", "For reverse proxies."),
    ("operation", "Health, metrics, the clock and this document."),
];

/// The document of a server with the default limits.
pub fn document() -> Value {
    under(&Policy::default())
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operation", operation_id = "openapi",
    responses((status = 200, description = "The OpenAPI 3.1 document.", body = Object)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn serve(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    let system = call.api.authority.live().system();
    let document = written(system.system.policy_in_force());
    Ok(HttpReply::shared("application/json", document).for_one_minute())
}

/// The document under these limits. It is written once for all who ask: anyone may, without a credential.
fn written(policy: &Policy) -> Bytes {
    static LAST: Mutex<Option<(Policy, Bytes)>> = Mutex::new(None);
    let mut last = LAST.lock();
    if let Some((_, document)) = last.as_ref().filter(|(known, _)| known == policy) {
        return document.clone();
    }
    let document = Bytes::from(under(policy).to_string());
    *last = Some((policy.clone(), document.clone()));
    document
}

/// The document of a server on which these limits are in force.
fn under(policy: &Policy) -> Value {
    let tags: Vec<_> =
        TAGS.iter().map(|(name, about)| json!({ "name": name, "description": about })).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tenure",
            "version": env!("CARGO_PKG_VERSION"),
            "description": env!("CARGO_PKG_DESCRIPTION"),
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/", "description": "The server that this document comes from." }],
        "tags": tags,
        "paths": paths(),
        "components": {
            "schemas": schemas(policy),
            "headers": headers::components(),
            "securitySchemes": {
                "apiKey": { "type": "http", "scheme": "bearer", "description": "An API key, tnr_key_…" },
                "proxyKey": { "type": "apiKey", "in": "header", "name": "X-Tenure-Key",
                    "description": "A proxy's API key, tnr_key_…" },
                "sessionToken": { "type": "http", "scheme": "bearer", "description": "A session token, tnr_sess_…" },
            },
        },
    })
}

fn paths() -> Value {
    let mut paths = json!({});
    for route in ROUTES.iter() {
        let path = &mut paths[&route.path];
        path[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    paths[forward_auth::PATH] = json!({ "get": forward_auth_operation() });
    paths
}

/// What a node says that cannot answer at present.
const BUSY: [ProblemCode; 3] = [ProblemCode::Overloaded, ProblemCode::Stale, ProblemCode::StorageUnavailable];

/// Every method is as `GET`, which stands for them.
fn forward_auth_operation() -> Value {
    let mut operation = serde_json::to_value(forward_auth::operation()).expect("an operation is JSON");
    operation["tags"] = json!(["forward-auth"]);
    operation["security"] = json!([{ "proxyKey": [] }, {}]);
    for code in [ProblemCode::Forbidden, ProblemCode::RateLimited, ProblemCode::NotTheLeader] {
        operation["responses"][code.status().as_u16().to_string()] = problem_response(code.name());
    }
    operation["responses"]["503"] = problem_response(&BUSY.map(ProblemCode::name).join(", "));
    headers::add_headers(&mut operation, true, false);
    operation
}

fn problem_response(codes: &str) -> Value {
    json!({
        "description": codes,
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = serde_json::to_value(&route.operation).expect("an operation is JSON");
    operation["tags"] = json!(route.tags);
    operation["security"] = security(route);
    operation["description"] = described(route, &operation).into();
    for (status, codes) in errors(route) {
        operation["responses"][status.to_string()] = problem_response(&codes.join(", "));
    }
    if appends(route) {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        operation["parameters"] = parameters.into_iter().chain([idempotency_key()]).collect();
    }
    bounds::bound_parameters(&route.path, &mut operation);
    headers::add_headers(&mut operation, appends(route), KEPT.contains(&route.path.as_str()));
    operation
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "The same key with the same request has one effect and gets the same answer.",
        "schema": { "type": "string" },
    })
}

const BACKUP: &str = "/v1/backup";
const WEBHOOK_REDELIVER: &str = "/v1/webhooks/{webhookId}/redeliver";
const WEBHOOK_TEST: &str = "/v1/webhooks/{webhookId}/test";

/// What caches may keep.
const KEPT: [&str; 2] = ["/v1/keys", "/openapi.json"];

fn appends(route: &Route) -> bool {
    let only_reads =
        ["/v1/introspect", "/v1/access-tokens", "/v1/clock", BACKUP, WEBHOOK_REDELIVER, WEBHOOK_TEST]
            .contains(&route.path.as_str());
    route.method != Method::GET && !only_reads
}

fn security(route: &Route) -> Value {
    let mut security = Vec::new();
    if !route.access.roles.is_empty() {
        security.push(json!({ "apiKey": [] }));
    }
    if route.access.session != SessionAccess::No {
        security.push(json!({ "sessionToken": [] }));
    }
    security.into()
}

/// The handler's own words, and whom the route admits.
fn described(route: &Route, operation: &Value) -> String {
    let roles: Vec<_> = route.access.roles.iter().map(|role| role.name()).collect();
    let session = (route.access.session != SessionAccess::No).then_some("the session's own token");
    let admitted: Vec<_> = roles.into_iter().chain(session).collect();
    let admitted = if route.access.public { "everybody".into() } else { admitted.join(", ") };
    match operation["description"].as_str() {
        Some(words) if !words.is_empty() => format!("{words}\n\nFor: {admitted}."),
        Some(_) | None => format!("For: {admitted}."),
    }
}

/// Whether a request names a position of the history, which may be of another epoch.
fn takes_position(route: &Route) -> bool {
    let parameters = json!(route.operation.parameters);
    let parameters = parameters.as_array().map(Vec::as_slice).unwrap_or_default();
    parameters.iter().any(|parameter| parameter["name"] == "minPosition")
}

/// The codes that a route may answer, by status.
fn errors(route: &Route) -> std::collections::BTreeMap<u16, Vec<&'static str>> {
    let mut by_status = std::collections::BTreeMap::<u16, Vec<&'static str>>::new();
    for code in codes(route) {
        by_status.entry(code.status().as_u16()).or_default().push(code.name());
    }
    by_status
}

/// Those of its kind of route, and its own.
fn codes(route: &Route) -> Vec<ProblemCode> {
    use ProblemCode::{
        Forbidden, IdempotencyKeyReused, InvalidRequest, InvalidToken, NotTheLeader, OutcomeUnknown,
        Overloaded, PayloadTooLarge, PositionBeyondEnd, PositionNotReached, RateLimited, SessionIdle,
        SessionRevoked, Stale, StorageUnavailable, SubjectSuspended, TokenExpired, TokenSuperseded,
        UnsupportedMediaType,
    };
    let mut codes = vec![InvalidRequest, PayloadTooLarge];
    if !route.access.public {
        codes.extend([InvalidToken, Forbidden, RateLimited]);
    }
    if !route.access.public && route.access.session != SessionAccess::Unjudged {
        codes.extend([SessionRevoked, SubjectSuspended, TokenSuperseded, TokenExpired, SessionIdle]);
    }
    if route.payload != BodyKind::None {
        codes.push(UnsupportedMediaType);
    }
    if appends(route) {
        codes.extend([IdempotencyKeyReused, Overloaded, StorageUnavailable]);
    } else if route.path.starts_with("/v1/") {
        codes.extend([StorageUnavailable, Overloaded]);
        if route.method == Method::GET {
            codes.push(PositionNotReached);
        }
    }
    // What one of several nodes says that cannot answer it.
    if route.path.starts_with("/v1/") {
        codes.extend([NotTheLeader, Stale]);
        if route.method != Method::GET {
            codes.push(OutcomeUnknown);
        }
    }
    if takes_position(route) {
        codes.push(PositionBeyondEnd);
    }
    codes.extend(own_codes(route));
    codes
}

/// What only this route may answer.
fn own_codes(route: &Route) -> &'static [ProblemCode] {
    use ProblemCode::{
        BackupConflict, ConstraintViolated, LastAdmin, NotFound, PositionBeyondEnd, RenewalLimitReached,
        RenewalTooEarly, RotationTooRecent, SessionAbsoluteLifetimeExceeded, SessionIdle,
        SessionLimitExceeded, SessionNotActive, SessionNotFound, SessionRenewalMismatch, SessionRevoked,
        StorageUnavailable, SubjectIsSuspended, SubjectNotFound, SubjectSuspended, TokenExpired,
        WebhookLimitExceeded, WebhookNotFound,
    };
    match (route.method.as_str(), route.path.as_str()) {
        ("POST", "/v1/sessions") => &[SubjectNotFound, SubjectIsSuspended, SessionLimitExceeded],
        (_, "/v1/sessions/{sessionId}/renew") => &[
            SessionRevoked,
            SubjectSuspended,
            TokenExpired,
            SessionIdle,
            SessionRenewalMismatch,
            RenewalLimitReached,
            SessionAbsoluteLifetimeExceeded,
            RenewalTooEarly,
        ],
        (_, "/v1/sessions/{sessionId}/usage") => {
            &[SessionNotFound, SubjectIsSuspended, ConstraintViolated, SessionNotActive]
        }
        (_, "/v1/sessions/{sessionId}") => &[SessionNotFound],
        ("GET", "/v1/sessions/{sessionId}/events") => &[PositionBeyondEnd],
        ("DELETE", "/v1/subjects/{subjectId}/sessions") => &[SubjectNotFound, SessionNotFound],
        ("GET" | "PATCH", "/v1/subjects/{subjectId}") | (_, "/v1/subjects/{subjectId}/erase") => {
            &[SubjectNotFound]
        }
        (_, "/v1/subjects/{subjectId}/erasure") => &[SubjectNotFound, NotFound],
        (_, "/v1/subjects/{subjectId}/suspend" | "/v1/subjects/{subjectId}/resume") => &[SubjectNotFound],
        (_, "/v1/credentials/{credentialId}") => &[NotFound, LastAdmin],
        (_, "/v1/credentials/{credentialId}/confirm") => &[NotFound],
        (_, "/v1/keys/rotate") => &[RotationTooRecent],
        (_, BACKUP) => &[BackupConflict, StorageUnavailable],
        ("POST", "/v1/webhooks") => &[WebhookLimitExceeded],
        (_, WEBHOOK_REDELIVER) => &[WebhookNotFound, PositionBeyondEnd, StorageUnavailable],
        ("GET", "/v1/webhooks/{webhookId}/deliveries") => &[WebhookNotFound, PositionBeyondEnd],
        (_, path) if path.starts_with("/v1/webhooks/") => &[WebhookNotFound],
        (_, "/v1/clock" | "/v1/cluster/handover") => &[NotFound],
        ("GET", "/readyz") => &[StorageUnavailable],
        (_, _) => &[],
    }
}

/// Every schema that an operation names, and the problem. What a reply has nothing to say of is null and never left
/// out, so what may be null is required there; of a request it may be left out.
fn schemas(policy: &Policy) -> Value {
    let mut found = Vec::new();
    for route in ROUTES.iter() {
        (route.schemas)(&mut found);
    }
    let mut schemas = json!({});
    let mut seen = BTreeSet::new();
    for (name, schema) in found {
        if seen.insert(name.clone()) {
            schemas[&name] = as_value(&schema);
        }
    }
    let asked = request_schemas(&schemas);
    for (name, schema) in schemas.as_object_mut().expect("it was written as an object") {
        if !asked.contains(name) {
            require_nullable(schema);
        }
    }
    // An authority of one node says nothing of others.
    schemas["ReadyView"]["required"] = json!(["alarms", "status"]);
    // It names itself what it always has: which further members there are is a matter of the code.
    schemas["Problem"] = problem_schema();
    shape::shape(&mut schemas, &asked);
    bounds::bound_members(&mut schemas, policy);
    rules::add_rules(&mut schemas);
    schemas
}

/// The names of the schemas that requests consist of.
fn request_schemas(schemas: &Value) -> BTreeSet<String> {
    let bodies = ROUTES.iter().map(|route| serde_json::to_value(&route.operation.request_body));
    let mut waiting: Vec<_> =
        bodies.flat_map(|body| references(&body.expect("an operation is JSON"))).collect();
    let mut asked = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if asked.insert(name.clone()) {
            waiting.extend(references(&schemas[&name]));
        }
    }
    asked
}

fn require_nullable(schema: &mut Value) {
    let properties = schema["properties"].as_object();
    let nullable: Vec<_> = properties.into_iter().flatten().filter(|(_, own)| may_be_null(own)).collect();
    let mut required: Vec<Value> = nullable.into_iter().map(|(name, _)| json!(name)).collect();
    if !required.is_empty() {
        required.extend(schema["required"].as_array().into_iter().flatten().cloned());
        let mut seen = BTreeSet::new();
        required.retain(|name| seen.insert(name.to_string()));
        schema["required"] = required.into();
    }
    for whole in ["allOf", "oneOf"] {
        schema.get_mut(whole).and_then(Value::as_array_mut).into_iter().flatten().for_each(require_nullable);
    }
}

fn as_value(schema: &RefOr<utoipa::openapi::Schema>) -> Value {
    serde_json::to_value(schema).expect("a schema is JSON")
}

fn problem_schema() -> Value {
    // A code may have a status for the token itself and another for those who ask on its behalf.
    let codes: BTreeSet<_> = ProblemCode::ALL.iter().map(|code| code.name()).collect();
    json!({
        "type": "object",
        "description": "RFC 9457 problem details. Some codes add members of their own.",
        "required": ["type", "title", "status", "detail", "code", "retryable", "requestId", "retryAt", "causedBy"],
        "properties": {
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "code": { "type": "string", "enum": codes },
            "retryable": { "type": "boolean" },
            "requestId": { "type": "string" },
            "retryAt": { "type": ["string", "null"], "format": "date-time" },
            "causedBy": { "type": ["integer", "null"] },
            "errors": { "type": "array", "items": { "type": "object", "required": ["field", "message"],
                "properties": { "field": { "type": "string" }, "message": { "type": "string" } } } },
            "activeCount": { "type": "integer" },
            "constraint": { "type": "string" },
            "end": { "type": "integer", "description": "The last position of the history. With POSITION_BEYOND_END." },
            "sessionStatus": { "type": "string" },
            "trigger": { "type": ["string", "null"], "description":
                "What ended the session of the token; null if it expired or was idle. With the 401 of an ended session." },
            "activeSessions": { "type": "array", "items": { "type": "object" } },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Anyone may ask for it, and writing it took the time of thousands of checks for each.
    #[test]
    fn the_document_is_written_once_for_all_and_again_for_other_limits() {
        let (usual, mut other) = (Policy::default(), Policy::default());
        other.max_renewals_max += 1;
        let first = written(&usual);
        assert_eq!(first.as_ptr(), written(&usual).as_ptr());
        assert_ne!(first, written(&other));
        assert_eq!(first, written(&usual));
    }
}
