//! What the parts of requests and replies may be: lengths, ranges, words. Everything here is read from the constants
//! and tables by which requests are checked.

use std::{fmt::Display, ops::RangeInclusive};

use serde_json::{Map, Value, json};

use super::json_schema;
use crate::http::{
    reply::problem::INACTIVE, request::limits, sessions::access_tokens, webhooks::ShownOutcome,
};
use crate::notify::webhooks::{self, DeliveryOutcome, DeliveryStatus};
use tenure_core::{
    EventKind, NoticeKind, Policy,
    policy::{IDLE_TIMEOUT, OnReuse, REJECT_WINDOW, SHORTEST_TTL},
};

/// Text without control characters.
const PRINTABLE: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
/// RFC 6749, section 3.3.
const SCOPE_TOKEN: &str = r"^[!#-\[\]-~]+$";
/// Base64url without padding.
const CURSOR: &str = "^[A-Za-z0-9_-]*$";

/// The bounds of text: its number of characters, none of them a control character.
fn text(length: &RangeInclusive<usize>) -> Value {
    json!({ "minLength": length.start(), "maxLength": length.end(), "pattern": PRINTABLE })
}

/// Of a whole number.
fn whole<N: Copy + Into<u64>>(range: &RangeInclusive<N>) -> Value {
    let (least, most): (u64, u64) = ((*range.start()).into(), (*range.end()).into());
    json!({ "minimum": least, "maximum": most })
}

/// The bounds of a list: its number of items, and the bounds of each.
fn list(length: &RangeInclusive<usize>, each: &Value) -> Value {
    json!({ "minItems": length.start(), "maxItems": length.end(), "items": each })
}

/// Of text with fixed values.
fn one_of(words: &[&str]) -> Value {
    json!({ "enum": words })
}

/// A position, or a time in seconds: any number that every reader of JSON reads exactly.
fn count_from(least: u64) -> Value {
    whole(&(least..=*limits::TRANSACTIONS.end()))
}

/// A list in a query, with commas between.
fn listed(words: &[&str]) -> Value {
    let any = words.join("|");
    json!({ "pattern": format!("^({any})(,({any}))*$") })
}

/// Quotes around an idempotency key are not part of it: neither a lone pair of them nor more than one pair is.
fn idempotency_key() -> String {
    let most = limits::IDEMPOTENCY_KEY.end();
    let less = most - 1;
    format!(r#"^("[!-~]{{1,{most}}}"|[!-~]|[!#-~][!-~]{{0,{less}}}|[!-~]{{0,{less}}}[!#-~])$"#)
}

/// What is true of the members of schemas.
fn members(policy: &Policy) -> Vec<(&'static str, &'static str, Value)> {
    let allowed = |length| list(&limits::ALLOWED, &text(length));
    let inactive = INACTIVE.map(crate::http::reply::problem::ProblemCode::name);
    vec![
        ("SubjectBody", "name", text(&limits::NAME)),
        ("SubjectBody", "maxSessions", whole(&limits::MAX_SESSIONS)),
        ("SubjectBody", "maxSessionsPerDevice", whole(&limits::MAX_SESSIONS)),
        ("NewSessionBody", "ttl", whole(&(SHORTEST_TTL..=policy.ttl_max.0))),
        ("NewSessionBody", "maxRenewals", whole(&(0..=policy.max_renewals_max))),
        ("NewSessionBody", "absoluteLifetime", whole(&(SHORTEST_TTL..=policy.absolute_lifetime.0))),
        ("NewSessionBody", "renewalRejectWindow", whole(&REJECT_WINDOW)),
        ("NewSessionBody", "idleTimeout", whole(&IDLE_TIMEOUT)),
        ("NewSessionBody", "onReuse", one_of(&OnReuse::NAMES.map(|(name, _)| name))),
        ("NewSessionBody", "device", text(&limits::DEVICE)),
        ("NewSessionBody", "scopes", list(&limits::SCOPES, &scope())),
        ("ConstraintsBody", "maxTransactions", whole(&limits::TRANSACTIONS)),
        ("ConstraintsBody", "allowedOperations", allowed(&limits::OPERATION)),
        ("ConstraintsBody", "allowedDestinations", allowed(&limits::DESTINATION)),
        ("UsageBody", "operation", text(&limits::OPERATION)),
        ("UsageBody", "destination", text(&limits::DESTINATION)),
        ("IntrospectBody", "token", json!({})),
        ("IntrospectBody", "tokens", list(&limits::TOKENS, &json!({}))),
        ("IntrospectBody", "include", list(&(0..=1), &one_of(&["metadata"]))),
        ("IntrospectBody", "consistency", one_of(&["strict"])),
        ("AccessTokenBody", "ttl", whole(&access_tokens::TTL)),
        ("AccessTokenBody", "audience", text(&limits::AUDIENCE)),
        ("RevocationBody", "reason", text(&limits::REASON)),
        ("SelectorBody", "device", text(&limits::DEVICE)),
        ("EraseBody", "reason", text(&limits::REASON)),
        ("SuspendBody", "reason", text(&limits::REASON)),
        ("ResumeBody", "reason", text(&limits::REASON)),
        ("NewCredentialBody", "name", text(&limits::NAME)),
        ("NewCredentialBody", "expiresIn", whole(&limits::EXPIRES_IN)),
        ("NewWebhookBody", "url", webhook_url()),
        ("NewWebhookBody", "name", text(&limits::NAME)),
        ("NewWebhookBody", "kinds", list(&(1..=NoticeKind::ALL.len()), &json!({}))),
        ("NewWebhookBody", "secret", json!({ "pattern": webhooks::SECRET_PATTERN })),
        ("RedeliverBody", "from", count_from(1)),
        ("ClockBody", "advance", count_from(0)),
        ("SessionView", "onReuse", one_of(&OnReuse::NAMES.map(|(name, _)| name))),
        ("LiveToken", "active", json!({ "const": true })),
        ("DeadToken", "active", json!({ "const": false })),
        ("DeadToken", "code", one_of(&inactive)),
        ("RecordedEvent", "kind", one_of(&EventKind::names())),
        ("DeliveryView", "status", one_of(&DeliveryStatus::ALL.map(|(name, _)| name))),
        ("AttemptView", "outcome", one_of(&outcomes())),
        ("TestView", "outcome", one_of(&outcomes())),
        ("RevokedSession", "status", json!({ "const": "REVOKED" })),
        ("RenewalRejectedNotice", "cause", one_of(&["owner", "policy"])),
        ("ExpiringSoonNotice", "why", one_of(&["renewals", "absolute"])),
        ("ExpiredNotice", "cause", one_of(&["ttl", "idle", "absolute"])),
    ]
}

fn outcomes() -> Vec<&'static str> {
    let names = DeliveryOutcome::ALL.map(|(name, _)| name);
    names.into_iter().chain([ShownOutcome::FAILED]).collect()
}

fn scope() -> Value {
    json!({ "minLength": limits::SCOPE.start(), "maxLength": limits::SCOPE.end(), "pattern": SCOPE_TOKEN })
}

fn webhook_url() -> Value {
    json!({ "format": "uri", "maxLength": webhooks::LONGEST_URL, "pattern": r"^https?://[^\s#]+$" })
}

/// The bounds of a parameter of this name on this path; `None` if there are none.
fn parameter(path: &str, name: &str) -> Option<Value> {
    Some(match (path, name) {
        ("/v1/revocations/feed", "limit") => whole(&limits::FEED_PAGE),
        (_, "limit") => whole(&limits::PAGE),
        (_, "cursor") => json!({ "pattern": CURSOR }),
        (_, "device") => text(&limits::DEVICE),
        (_, "reason") => text(&limits::REASON),
        ("/v1/sessions", "status") => one_of(&["active", "expired", "revoked", "all"]),
        ("/v1/events", "kinds") => listed(&EventKind::names()),
        ("/v1/notices", "kinds") => listed(&NoticeKind::ALL.map(NoticeKind::name)),
        ("/v1/audit/proof", "position" | "size") | ("/v1/audit/export", "from" | "to") => count_from(1),
        ("/v1/audit/consistency", "from" | "to") => count_from(0),
        (_, "Idempotency-Key") => json!({ "pattern": idempotency_key() }),
        (_, _) => return None,
    })
}

/// Adds to the schemas what their members may be.
pub(super) fn bound_members(schemas: &mut Value, policy: &Policy) {
    for (schema, member, bounds) in members(policy) {
        let properties = schemas.get_mut(schema).and_then(|schema| schema.get_mut("properties"));
        let property = properties.and_then(|properties| properties.get_mut(member));
        add(property.unwrap_or_else(|| lost(schema, member)), bounds);
    }
}

fn lost(schema: impl Display, member: impl Display) -> ! {
    unreachable!("the table of bounds names {schema}.{member}, which is not described")
}

/// Adds to an operation what its parameters may be.
pub(super) fn bound_parameters(path: &str, operation: &mut Value) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for asked in parameters.into_iter().flatten() {
        let bounds = asked["name"].as_str().and_then(|name| parameter(path, name));
        add(&mut asked["schema"], bounds.unwrap_or_else(|| json!({})));
    }
}

/// Adds bounds to a schema; those of a list's items to its items. What may be null still may.
fn add(schema: &mut Value, bounds: Value) {
    let may_be_null = json_schema::may_be_null(schema);
    let Value::Object(bounds) = bounds else { return };
    for (name, mut value) in bounds {
        match (name.as_str(), value.as_array_mut()) {
            ("items", _) => add(&mut schema["items"], value),
            ("enum", Some(words)) => {
                words.extend(may_be_null.then_some(Value::Null));
                put(schema, name, value);
            }
            (_, _) => put(schema, name, value),
        }
    }
}

fn put(schema: &mut Value, name: String, value: Value) {
    if !schema.is_object() {
        *schema = Map::new().into();
    }
    schema[name] = value;
}
