//! Real replies are as the OpenAPI document describes them: it names each of their fields, and requires those that
//! are always there (section 0).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tenure::http::openapi_document;

use crate::server::Server;

/// The members that a schema describes, and those that it requires.
fn members(document: &Value, schema: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        return members(document, document.pointer(reference.trim_start_matches('#')).unwrap());
    }
    let own = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
    let required = schema["required"].as_array().into_iter().flatten();
    let required: BTreeSet<_> = required.map(|name| name.as_str().unwrap().to_owned()).collect();
    let mut both = (own.collect::<BTreeSet<_>>(), required);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let (all, required) = members(document, part);
        both.0.extend(all);
        both.1.extend(required);
    }
    both
}

#[track_caller]
fn is_as_described(name: &str, reply: &Value) {
    let document = openapi_document();
    let schema = &document["components"]["schemas"][name];
    assert!(schema.is_object(), "{name} is not described");
    let (described, required) = members(&document, schema);
    let there: BTreeSet<_> = reply.as_object().unwrap().keys().cloned().collect();
    assert_eq!(there, described, "{name}");
    assert_eq!(there, required, "{name}");
}

#[test]
fn every_field_of_a_reply_is_described_as_always_there() {
    let server = Server::start();
    server.register("a", &json!({}));
    let body = json!({ "subjectId": "a", "constraints": { "maxTransactions": 3 } });
    let session = server.create(&body);
    let get = |path: &str| server.get(path).bearer(&server.admin).send().expect(200).json();
    let read = get(&session.path());
    is_as_described("SessionView", &read);
    is_as_described("ConstraintsView", &read["constraints"]);
    is_as_described("UsageView", &read["usage"]);
    is_as_described("SubjectView", &get("/v1/subjects/a"));
    is_as_described("RecordedEvent", &get("/v1/events?limit=1")["items"][0]);
    is_as_described("Page_SessionView", &get("/v1/sessions"));
    is_as_described("CredentialView", &get("/v1/credentials")["items"][0]);
    is_as_described("KeyView", &get("/v1/keys")["keys"][0]);
    is_as_described("HeadView", &get("/v1/audit/head"));
    let body = json!({ "selector": { "all": true }, "reason": "over" });
    server.post("/v1/revocations").bearer(&server.admin).json(&body).send().expect(200);
    let feed = get("/v1/revocations/feed");
    is_as_described("FeedPage", &feed);
    is_as_described("EndedSelection", &feed["items"][0]);
    is_as_described("SelectorView", &feed["items"][0]["selector"]);
}

/// The words in backticks behind these words of the page.
fn listed(page: &str, behind: &str) -> BTreeSet<String> {
    let (_, rest) = page.split_once(behind).unwrap_or_else(|| panic!("the page lacks {behind:?}"));
    let (sentence, _) = rest.split_once('.').unwrap();
    sentence.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The page said nothing of what a create answers with.
#[test]
fn the_page_lists_what_a_create_and_a_renewal_answer_with() {
    let server = Server::start();
    server.register("a", &json!({}));
    let body = json!({ "subjectId": "a" });
    let made = server.post("/v1/sessions").bearer(&server.admin).json(&body).send().expect(201).json();
    is_as_described("CreatedSession", &made);
    let page = include_str!("../../docs/http-api.md");
    let there = |reply: &Value| reply.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(listed(page, "The reply has the token, once:"), there(&made));
    server.advance(43_200);
    let path = format!("/v1/sessions/{}/renew", made["sessionId"].as_str().unwrap());
    let renewed = server.put(&path).bearer(made["token"].as_str().unwrap()).send().expect(200).json();
    is_as_described("RenewedSession", &renewed);
    assert_eq!(listed(page, "The reply has the new token, once:"), there(&renewed));
}

#[test]
fn of_a_live_token_only_the_metadata_may_be_missing() {
    let server = Server::start();
    let session = server.session("a", 3600);
    let live = server.introspect(&session.token).json();
    let document = openapi_document();
    let (described, required) = members(&document, &document["components"]["schemas"]["LiveToken"]);
    let there: BTreeSet<_> = live.as_object().unwrap().keys().cloned().collect();
    assert_eq!(there, required);
    assert_eq!(described.difference(&required).collect::<Vec<_>>(), ["metadata"]);
    let asked = json!({ "token": session.token, "include": ["metadata"] });
    let live = server.post("/v1/introspect").bearer(&server.admin).json(&asked).send().expect(200).json();
    assert_eq!(live.get("metadata"), Some(&Value::Null), "there is none, and it was asked for");
}

#[test]
fn what_a_request_may_leave_out_is_not_required() {
    let document = openapi_document();
    let required = |name: &str| {
        let schema = &document["components"]["schemas"][name];
        assert!(schema.is_object(), "{name} is not described");
        members(&document, schema).1
    };
    assert_eq!(required("NewSessionBody"), BTreeSet::from(["subjectId".to_owned()]));
    assert_eq!(required("SubjectBody"), BTreeSet::new());
    assert_eq!(required("ConstraintsBody"), BTreeSet::new());
}

#[test]
fn words_that_are_chosen_from_are_listed() {
    let document = openapi_document();
    let listed = |name: &str| document["components"]["schemas"][name]["enum"].clone();
    let triggers = [
        "manual_revoke",
        "renewal_rejected",
        "self",
        "evicted",
        "token_reuse",
        "subject_revoked",
        "bulk",
        "restore",
    ];
    assert_eq!(listed("Trigger"), json!(triggers));
    assert_eq!(listed("Mode"), json!(["fixed", "sliding"]));
    for schema in ["SessionView", "NewSessionBody"] {
        let mode = document["components"]["schemas"][schema]["properties"]["mode"].to_string();
        assert!(mode.contains("schemas/Mode"), "{schema}: {mode}");
    }
}

#[test]
fn every_kind_of_notice_is_described_with_its_own_members() {
    let server = Server::start();
    let session = server.session("a", 3600);
    server.renew(&session).send().refused(403, "RENEWAL_TOO_EARLY");
    server.advance(1800);
    let renewed = session.renewed(&server.renew(&session).send().expect(200));
    server.delete(&renewed.path()).bearer(&server.admin).send().expect(200);
    let ends = server.create(&json!({ "subjectId": "a", "ttl": 300, "maxRenewals": 1 }));
    server.advance(150);
    server.renew(&ends).send().expect(200);
    server.advance(300);
    for verb in ["suspend", "resume"] {
        let asked = server.post(&format!("/v1/subjects/a/{verb}")).bearer(&server.admin);
        asked.json(&json!({ "reason": "odd" })).send().expect(200);
    }
    let page = server.get("/v1/notices").bearer(&server.admin).send().expect(200).json();
    let document = openapi_document();
    let schema = &document["components"]["schemas"]["NoticeView"];
    let kinds = schema["oneOf"].as_array().unwrap();
    let mut seen = BTreeSet::new();
    for notice in page["items"].as_array().unwrap() {
        let kind = &notice["kind"];
        let of_kind = |schema: &&Value| {
            let place = schema["$ref"].as_str().unwrap().trim_start_matches('#');
            document.pointer(place).unwrap()["properties"]["kind"]["const"] == *kind
        };
        let described: Vec<_> = kinds.iter().filter(of_kind).collect();
        assert_eq!(described.len(), 1, "{kind}");
        let (all, required) = members(&document, described[0]);
        let there: BTreeSet<_> = notice.as_object().unwrap().keys().cloned().collect();
        assert_eq!((&there, &there), (&all, &required), "{kind}");
        seen.insert(kind.to_string());
    }
    assert_eq!(seen.len(), kinds.len(), "{seen:?}");
}

/// The codes that the document says of an operation and a status.
fn codes(document: &Value, method: &str, path: &str, status: &str) -> String {
    document["paths"][path][method]["responses"][status].to_string()
}

#[test]
fn every_route_says_that_it_may_be_busy_and_may_not_lead() {
    let document = openapi_document();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|_| path.starts_with("/v1/")) {
            let said = |status: &str| codes(&document, method, path, status);
            let is_said =
                ["OVERLOADED", "STORAGE_UNAVAILABLE", "STALE"].iter().all(|code| said("503").contains(code));
            assert!(is_said && said("421").contains("NOT_THE_LEADER"), "{method} {path}");
        }
    }
}

/// Who generates a client from the document did not hear of the refusals that suspensions bring.
#[test]
fn the_refusals_of_a_suspension_are_described_where_they_come() {
    let document = openapi_document();
    let said = |method: &str, path: &str, status: &str| codes(&document, method, path, status);
    for verb in ["suspend", "resume"] {
        let path = format!("/v1/subjects/{{subjectId}}/{verb}");
        assert!(said("post", &path, "404").contains("SUBJECT_NOT_FOUND"), "{path}");
    }
    for (method, path, status) in [
        ("post", "/v1/sessions", "403"),
        ("post", "/v1/sessions/{sessionId}/usage", "401"),
        ("post", "/v1/sessions/{sessionId}/usage", "403"),
        ("put", "/v1/sessions/{sessionId}/renew", "401"),
        ("get", "/v1/sessions/{sessionId}", "401"),
        ("delete", "/v1/sessions/{sessionId}", "401"),
        ("post", "/v1/access-tokens", "401"),
    ] {
        assert!(said(method, path, status).contains("SUBJECT_SUSPENDED"), "{method} {path} {status}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(!summary.contains('\n'), "{method} {path}: a table has one line for it");
        }
    }
}
