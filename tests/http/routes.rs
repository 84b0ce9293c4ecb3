//! Every route of the table: whom it admits, how it is documented, and what every reply of it carries.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tenure::http::{PROXY_PATHS, RouteFacts, openapi_document, route_facts};

use crate::server::{Reply, Request, Server};

/// The contract, section 1: who may call what. `session` is the session's own token.
const MAY: &[(&str, &str, &[&str])] = &[
    ("PUT", "/v1/subjects/{subjectId}", &["admin", "issuer"]),
    ("PATCH", "/v1/subjects/{subjectId}", &["admin", "issuer"]),
    ("GET", "/v1/subjects/{subjectId}", &["admin", "issuer", "owner", "auditor"]),
    ("GET", "/v1/subjects", &["admin", "issuer", "owner", "auditor"]),
    ("POST", "/v1/subjects/{subjectId}/suspend", &["admin", "issuer", "owner"]),
    ("POST", "/v1/subjects/{subjectId}/resume", &["admin", "owner"]),
    ("DELETE", "/v1/subjects/{subjectId}/sessions", &["admin", "issuer", "owner"]),
    ("POST", "/v1/subjects/{subjectId}/erase", &["admin"]),
    ("GET", "/v1/subjects/{subjectId}/erasure", &["admin", "auditor"]),
    ("POST", "/v1/revocations", &["admin"]),
    ("GET", "/v1/revocations/feed", &["admin", "issuer", "verifier", "auditor"]),
    ("POST", "/v1/sessions", &["admin", "issuer"]),
    ("GET", "/v1/sessions", &["admin", "issuer", "owner", "auditor"]),
    ("GET", "/v1/sessions/{sessionId}", &["admin", "issuer", "owner", "auditor", "session"]),
    ("GET", "/v1/sessions/{sessionId}/events", &["session"]),
    ("PUT", "/v1/sessions/{sessionId}/renew", &["session"]),
    ("DELETE", "/v1/sessions/{sessionId}", &["admin", "issuer", "owner", "session"]),
    ("POST", "/v1/sessions/{sessionId}/usage", &["admin", "issuer", "session"]),
    ("POST", "/v1/introspect", &["admin", "issuer", "verifier"]),
    ("POST", "/v1/access-tokens", &["session"]),
    ("POST", "/v1/keys/rotate", &["admin"]),
    ("GET", "/v1/events", &["admin", "auditor", "owner"]),
    ("GET", "/v1/notices", &["admin", "auditor", "owner"]),
    ("GET", "/v1/audit/head", &["admin", "auditor", "owner"]),
    ("GET", "/v1/audit/proof", &["admin", "auditor", "owner"]),
    ("GET", "/v1/audit/consistency", &["admin", "auditor", "owner"]),
    ("GET", "/v1/audit/check", &["admin", "auditor"]),
    ("GET", "/v1/audit/export", &["admin", "auditor"]),
    ("POST", "/v1/credentials", &["admin"]),
    ("GET", "/v1/credentials", &["admin", "auditor"]),
    ("GET", "/v1/credentials/self", &["admin", "issuer", "owner", "verifier", "auditor"]),
    ("DELETE", "/v1/credentials/{credentialId}", &["admin"]),
    ("POST", "/v1/credentials/{credentialId}/confirm", &["admin"]),
    ("POST", "/v1/webhooks", &["admin", "owner"]),
    ("GET", "/v1/webhooks", &["admin", "auditor", "owner"]),
    ("GET", "/v1/webhooks/{webhookId}", &["admin", "auditor", "owner"]),
    ("DELETE", "/v1/webhooks/{webhookId}", &["admin", "owner"]),
    ("GET", "/v1/webhooks/{webhookId}/deliveries", &["admin", "auditor", "owner"]),
    ("POST", "/v1/webhooks/{webhookId}/redeliver", &["admin", "owner"]),
    ("POST", "/v1/webhooks/{webhookId}/test", &["admin", "owner"]),
    ("GET", "/v1/clock", &["admin"]),
    ("PUT", "/v1/clock", &["admin"]),
    ("POST", "/v1/cluster/handover", &["admin"]),
    ("POST", "/v1/sweep", &["admin"]),
    ("POST", "/v1/backup", &["admin"]),
    ("GET", "/metrics", &["admin", "auditor"]),
];
const PUBLIC: &[&str] = &["/healthz", "/readyz", "/openapi.json", "/v1/keys"];
const ROLES: [&str; 5] = ["admin", "issuer", "owner", "verifier", "auditor"];

fn admitted(facts: &RouteFacts) -> BTreeSet<&str> {
    let entry = MAY.iter().find(|(method, path, _)| *method == facts.method && *path == facts.path);
    entry.map(|(_, _, who)| who.iter().copied().collect()).unwrap_or_default()
}

/// A request on a route, without credential and body, about things that are not there.
pub(crate) fn request(server: &Server, facts: &RouteFacts, session: &str) -> Request {
    let target = facts.path.replace("{sessionId}", session).replace("{subjectId}", "nobody");
    let target = target.replace("{credentialId}", "none").replace("{webhookId}", "none");
    server.request(&facts.method, &target)
}

/// What the contract (section 0) says of every reply.
#[track_caller]
pub(crate) fn check_reply(reply: &Reply) {
    let id = reply.header("x-request-id").unwrap_or_else(|| panic!("no x-request-id: {reply:?}"));
    assert!(!id.is_empty());
    if reply.status < 400 {
        return;
    }
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
    let challenge = reply.header("www-authenticate");
    assert_eq!(challenge.is_some(), reply.status == 401, "{reply:?}");
    assert!(challenge.is_none_or(|challenge| challenge.starts_with(r#"Bearer realm="tenure""#)), "{reply:?}");
    if reply.body.is_empty() {
        // Only the reply to HEAD has none.
        return;
    }
    let body = reply.json();
    for name in ["type", "title", "status", "detail", "code", "retryable", "requestId", "retryAt", "causedBy"]
    {
        assert!(body.get(name).is_some(), "no {name}: {reply:?}");
    }
    assert_eq!((&body["status"], &body["requestId"]), (&json!(reply.status), &json!(id)), "{reply:?}");
    assert_eq!(reply.code() == "INVALID_REQUEST", body["errors"].is_array(), "{reply:?}");
    let limited = [429, 503].contains(&reply.status) && reply.code() != "POSITION_NOT_REACHED";
    assert!(!limited || reply.header("retry-after").is_some(), "{reply:?}");
}

#[test]
fn the_table_of_routes_is_that_of_the_contract() {
    let facts = route_facts();
    assert_eq!(facts.len(), MAY.len() + PUBLIC.len());
    for route in &facts {
        let mut who: BTreeSet<_> = route.roles.iter().copied().collect();
        if route.session_token {
            who.insert("session");
        }
        assert_eq!(who, admitted(route), "{} {}", route.method, route.path);
        assert_eq!(route.public, PUBLIC.contains(&route.path.as_str()), "{}", route.path);
    }
}

#[test]
fn without_a_credential_only_the_public_routes_answer() {
    let server = Server::start();
    for facts in route_facts() {
        let bare = request(&server, &facts, "x");
        if facts.public {
            bare.send().expect(200);
            continue;
        }
        let credentials: [&[u8]; 12] = [
            b"",
            b"Bearer",
            b"Bearer ",
            b"Bearer x",
            b"Basic YTpi",
            b"tnr_key_x",
            b"Bearer tnr_key_",
            b"Bearer tnr_sess_",
            b"Bearer tnr_key_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            b"Bearer tnr_sess_v4.local.AAAA",
            b"Bearer \xff\xfe",
            b"Token tnr_key_x",
        ];
        let replies = credentials.map(|text| bare.clone().header("authorization", text).send());
        for reply in replies.into_iter().chain([bare.send()]) {
            check_reply(&reply);
            reply.refused(401, "INVALID_TOKEN");
        }
    }
}

#[test]
fn each_role_may_do_exactly_what_the_contract_says() {
    let server = Server::start();
    let keys = ROLES.map(|role| (role, server.issue_key(role, (role == "owner").then_some("alice")).0));
    for (index, facts) in route_facts().iter().enumerate().filter(|(_, facts)| !facts.public) {
        let session = server.session(&format!("s{index}"), 1000);
        let who = admitted(facts);
        let own = ("session", session.token.clone());
        for (role, credential) in keys.iter().chain([&own]) {
            let reply = request(&server, facts, &session.id).bearer(credential).send();
            check_reply(&reply);
            let said = format!("{role}: {} {} {reply:?}", facts.method, facts.path);
            if who.contains(role) {
                assert!(reply.code() != "FORBIDDEN" && reply.status != 401, "{said}");
            } else {
                assert_eq!((reply.status, reply.code().as_str()), (403, "FORBIDDEN"), "{said}");
            }
        }
    }
}

/// Section 0: role (403) before size, media type and syntax (413, 415, 400).
#[test]
fn a_session_token_on_another_session_is_forbidden_whatever_comes_with_it() {
    let server = Server::start();
    let (own, other) = (server.session("a", 1000), server.session("b", 1000));
    let usage = format!("{}/usage", other.path());
    let too_large = "x".repeat(100_000);
    for (method, path) in [("POST", &usage), ("GET", &other.path()), ("DELETE", &other.path())] {
        let request = |path: &str| server.request(method, path).bearer(&own.token);
        for path in [path.clone(), path.replace(&other.id, "%FF"), format!("{path}?no=such")] {
            for body in ["", "{", too_large.as_str()] {
                request(&path).body(body).send().refused(403, "FORBIDDEN");
            }
        }
    }
    let own_usage = format!("{}/usage", own.path());
    server.post(&own_usage).bearer(&own.token).body("{").send().refused(415, "UNSUPPORTED_MEDIA_TYPE");
    server.get(&own.path()).bearer(&own.token).body("{").send().refused(400, "INVALID_REQUEST");
}

#[test]
fn the_scheme_may_be_written_in_any_case() {
    let server = Server::start();
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let value = format!("{scheme} {}", server.admin);
        server.get("/v1/sessions").header("authorization", value).send().expect(200);
    }
}

/// The first of two counted, and a proxy in front may have judged the second.
#[test]
fn two_credentials_are_none() {
    let server = Server::start();
    let own = format!("Bearer {}", server.admin);
    for other in [own.as_str(), "Bearer tnr_key_x", "Basic eDp5"] {
        for (first, second) in [(own.as_str(), other), (other, own.as_str())] {
            let request = server.get("/v1/sessions").header("authorization", first);
            request.header("authorization", second).send().refused(401, "INVALID_TOKEN");
        }
    }
}

#[test]
fn every_reply_has_the_id_of_its_request() {
    let server = Server::start();
    let with_id = |id: &str| server.get("/healthz").header("x-request-id", id).send();
    for own in ["a", "0b1c-2d3e", &"x".repeat(128)] {
        assert_eq!(with_id(own).header("x-request-id"), Some(own));
    }
    for unfit in ["", "two words", "tnr_key_abc", &"x".repeat(129), "\u{e4}"] {
        let reply = with_id(unfit);
        let id = reply.header("x-request-id").unwrap();
        assert!(id != unfit && id.len() == 36, "{reply:?}");
    }
    let ids: BTreeSet<_> =
        (0..20).map(|_| server.get("/healthz").send().header("x-request-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn the_open_api_document_has_every_route_and_no_other() {
    let document = Server::start().get("/openapi.json").send().expect(200).json();
    assert_eq!(document, openapi_document());
    let mut documented = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            documented.insert((method.to_uppercase(), path.clone()));
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            let placeholders = path.matches('{').count();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
            assert_eq!(in_path.count(), placeholders, "{method} {path}");
        }
    }
    let table = route_facts().into_iter().map(|facts| (facts.method, facts.path));
    // It stands for every method, and for every path below.
    let proxies = ("GET".to_owned(), PROXY_PATHS[0].to_owned());
    assert_eq!(documented, table.chain([proxies]).collect());
    check_references(&document, &document);
}

/// Every `$ref` leads somewhere.
fn check_references(document: &Value, at: &Value) {
    match at {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                assert!(
                    document.pointer(reference.trim_start_matches('#')).is_some(),
                    "{reference} leads nowhere"
                );
            }
            members.values().for_each(|value| check_references(document, value));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(document, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_documented_operation_says_whom_it_is_for_and_what_it_may_answer() {
    let document = openapi_document();
    for facts in route_facts() {
        let operation = &document["paths"][&facts.path][facts.method.to_lowercase()];
        let schemes: BTreeSet<_> = operation["security"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|scheme| scheme.as_object().unwrap().keys().cloned())
            .collect();
        let who = admitted(&facts);
        assert_eq!(schemes.contains("sessionToken"), who.contains("session"), "{operation}");
        assert_eq!(schemes.contains("apiKey"), who.iter().any(|role| *role != "session"), "{operation}");
        let statuses: BTreeSet<_> =
            operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
        assert!(
            facts.public || ["400", "401", "403"].iter().all(|status| statuses.contains(status)),
            "{operation}"
        );
    }
}

/// The documented properties of a route's request body.
fn body_properties(document: &Value, facts: &RouteFacts) -> Vec<String> {
    let operation = &document["paths"][&facts.path][facts.method.to_lowercase()];
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    schema["properties"].as_object().map(|members| members.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn every_documented_field_is_one() {
    let (server, document) = (Server::start(), openapi_document());
    let session = server.session("agent", 1000);
    let mut tried = 0;
    for facts in route_facts() {
        let credential = if facts.roles.is_empty() { &session.token } else { &server.admin };
        for property in body_properties(&document, &facts) {
            tried += 1;
            let reply =
                request(&server, &facts, "x").bearer(credential).json(&json!({ &property: [[]] })).send();
            let reply = reply.refused(400, "INVALID_REQUEST");
            let errors = reply.json()["errors"].as_array().unwrap().clone();
            let own: Vec<_> = errors.iter().filter(|error| error["field"] == property.as_str()).collect();
            assert!(!own.is_empty(), "{property}: {reply:?}");
            assert!(!reply.body.contains("is no field"), "{property}: {reply:?}");
        }
    }
    assert!(tried >= 20, "only {tried} fields are documented");
}

#[test]
fn every_documented_query_parameter_is_one() {
    let (server, document) = (Server::start(), openapi_document());
    let mut tried = 0;
    for facts in route_facts() {
        let operation = &document["paths"][&facts.path][facts.method.to_lowercase()];
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for name in
            parameters.iter().filter(|one| one["in"] == "query").map(|one| one["name"].as_str().unwrap())
        {
            tried += 1;
            let target = facts.path.replace("{sessionId}", "x").replace("{subjectId}", "x");
            let reply =
                server.request(&facts.method, &format!("{target}?{name}=%00")).bearer(&server.admin).send();
            assert!(!reply.body.contains("is no query parameter"), "{name}: {reply:?}");
        }
    }
    assert!(tried >= 20, "only {tried} parameters are documented");
}
